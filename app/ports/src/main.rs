//! `bootyard-ports`: opens low ports and packet sockets and holds addresses for the window, which has no privileges.
//!
//! It is started by the window with one end of a conversation as its standard input, gives up every capability that it does not
//! need before it reads the first request, and ends with its parent.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "bootyard-ports: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run() -> io::Result<()> {
    use std::os::fd::AsFd;

    use bootyard_ports::{service, sys};

    let input = io::stdin();
    if !sys::is_message_socket(input.as_fd()) {
        return Err(io::Error::other(
            "this program is started by Bootyard's window, which talks to it over its standard input; run `bootyard` instead",
        ));
    }
    sys::confine()?;
    service::serve(input.as_fd())
}

#[cfg(not(target_os = "linux"))]
fn run() -> io::Result<()> {
    Err(io::Error::other("Bootyard opens its own ports on this system"))
}
