//! Bootyard's DHCP server beside Kea, dnsmasq and ISC dhcpd of Debian: the same clients, in turns.
//!
//! `cargo bench -p bootyard-core --bench dhcp_vs_peers [-- --rows relay,direct,new --repeats N --seconds N --json]`, as root, for it
//! makes two network namespaces with a wire between them. Needs `kea-dhcp4-server`, `kea-admin` (perfdhcp), `dnsmasq-base` and
//! `isc-dhcp-server`. Every server is a process of its own; ours is this program started once more ([`ours`]) with the real
//! service over the real lab.db. Each figure is the best of the repeats; CPU time is the operating system's count for the whole
//! server process, the history's and the leases' writer included.
//!
//! * `relay`: `perfdhcp` plays a relay with 5,000 clients, in rising steps of exchanges a second; leases on the disk. Against Kea.
//! * `direct`: 250 PXE clients broadcast, 32 at a time, each as soon as it can; leases in memory. Against dnsmasq.
//! * `new`: 4,000 clients that nobody knows, 64 at a time; leases on the disk. Against ISC dhcpd.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "prints a table")]

mod clients;
mod ours;
mod peers;
mod perfdhcp;
mod report;
mod server;
mod wire;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clients::Load;
use report::{Best, Outcome, Row};
use server::{Kind, Server};
use wire::Wire;

/// Any error is told and ends the measurement.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    if let Some(folder) = std::env::var_os(ours::SERVE) {
        return match ours::serve(Path::new(&folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&*error),
        };
    }
    match Options::from_args().and_then(|options| measure(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("dhcp_vs_peers: {error}");
    ExitCode::FAILURE
}

/// What the command line says.
struct Options {
    rows: Vec<Row>,
    repeats: usize,
    /// Length of one step or run.
    seconds: u32,
    json: bool,
    peers: bool,
}

impl Options {
    fn from_args() -> Fallible<Self> {
        let mut options = Self { rows: Row::ALL.to_vec(), repeats: 3, seconds: 3, json: false, peers: true };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--rows" => {
                    let find = |name: &str| {
                        let row = Row::ALL.into_iter().find(|row| row.name() == name);
                        row.ok_or_else(|| format!("there is no row {name}; the rows are relay, direct and new"))
                    };
                    options.rows = value()?.split(',').map(find).collect::<Result<_, _>>()?;
                }
                "--repeats" => options.repeats = value()?.parse::<usize>()?.max(1),
                "--seconds" => options.seconds = value()?.parse::<u32>()?.max(1),
                "--json" => options.json = true,
                "--no-peers" => options.peers = false,
                // Cargo's own.
                "--bench" => {}
                _ => return Err(format!("`{arg}`: known are --rows, --repeats, --seconds, --json, --no-peers").into()),
            }
        }
        Ok(options)
    }
}

/// Runs the rows; whether each was good enough.
fn measure(options: &Options) -> Fallible<bool> {
    peers::present(&options.rows, options.peers)?;
    let wire = Wire::make()?;
    let shown = io::stderr().is_terminal();
    let mut outcomes = Vec::new();
    for row in &options.rows {
        let (mut own, mut other) = (Best::default(), Best::default());
        for repeat in 1..=options.repeats {
            if shown {
                eprint!("\r{}: {repeat} of {} \x1b[K", row.title(), options.repeats);
            }
            own.take(one(&wire, *row, Kind::Bootyard, options.seconds)?);
            if options.peers {
                other.take(one(&wire, *row, row.peer(), options.seconds)?);
            }
        }
        outcomes.push(Outcome { row: *row, ours: own, theirs: options.peers.then_some(other) });
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    if options.json {
        report::json(&outcomes)?;
    } else {
        report::table(&outcomes);
    }
    Ok(outcomes.iter().all(Outcome::passed))
}

/// One run of a row: a server with no leases yet, its clients, its CPU time.
fn one(wire: &Wire, row: Row, kind: Kind, seconds: u32) -> Fallible<report::Run> {
    let folder = tempfile::Builder::new().prefix("bootyard-bench-").tempdir_in(place(row))?;
    let server = Server::start(kind, wire, folder.path())?;
    let seconds = Duration::from_secs(seconds.into());
    let run = match row {
        Row::Relay => perfdhcp::steps(wire, &server, seconds)?,
        Row::Direct => {
            let crowd = clients::run(wire, &server, Load::Returning { clients: 250, outstanding: 32, lasts: seconds })?;
            let alone =
                clients::run(wire, &server, Load::Returning { clients: 250, outstanding: 1, lasts: seconds / 2 })?;
            report::Run { alone: Some(alone.offer), ..crowd }
        }
        Row::New => clients::run(wire, &server, Load::New { clients: 4000, outstanding: 64 })?,
    };
    server.stop()?;
    Ok(run)
}

/// Where the leases are: memory, or the disk on which this program was built.
fn place(row: Row) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if row == Row::Direct && memory.is_dir() { memory.to_owned() } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) }
}
