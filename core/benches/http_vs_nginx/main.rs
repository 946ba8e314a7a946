//! Bootyard's HTTP server beside Debian's nginx: the same load on the same files, in turns.
//!
//! `cargo bench -p bootyard-core --bench http_vs_nginx [-- --rows NAME,… --repeats N --seconds N --json]`. Needs `nginx-light` (or any
//! other nginx of Debian's) and `wrk`. All servers are processes of their own on loopback, the files in memory; nginx has one worker,
//! `sendfile` and `tcp_nopush`. Ours is this program started once more ([`ours`]), with the runtime that `bootyard serve` has; the rows
//! named `portable` measure the way without the kernel's `sendfile`. Each figure is the best of the repeats; CPU time is the operating
//! system's count for the whole server.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "prints a table")]

#[path = "../common/mod.rs"]
mod common;
mod load;
mod nginx;
mod ours;
mod report;
mod server;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use common::{Best, Run};
use load::Row;
use report::Outcome;
use server::Server;

/// Bytes of the large file.
const SIZE: usize = 1 << 30;

/// Any error is told and ends the measurement.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    common::main("http_vs_nginx", ours::SERVE, ours::serve, || measure(&Options::from_args()?))
}

/// What the command line says.
struct Options {
    rows: Vec<&'static Row>,
    repeats: usize,
    /// Of one run.
    seconds: u32,
    json: bool,
}

impl Options {
    fn from_args() -> Fallible<Self> {
        let mut options = Self { rows: load::ROWS.iter().collect(), repeats: 3, seconds: 4, json: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--rows" => {
                    options.rows = common::pick(&value()?, &load::ROWS.iter().collect::<Vec<_>>(), |row| row.name)?;
                }
                "--repeats" => options.repeats = value()?.parse::<usize>()?.max(1),
                "--seconds" => options.seconds = value()?.parse::<u32>()?.max(1),
                "--json" => options.json = true,
                // Cargo's own.
                "--bench" => {}
                _ => return Err(format!("`{arg}`: known are --rows, --repeats, --seconds, --json").into()),
            }
        }
        Ok(options)
    }
}

/// Runs the rows; whether each was good enough.
fn measure(options: &Options) -> Fallible<bool> {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::Builder::new().prefix("bootyard-bench-").tempdir_in(if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    })?;
    let mut noise = vec![0; SIZE];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    File::create(folder.path().join(load::LARGE))?.write_all(&noise)?;
    File::create(folder.path().join(load::SMALL))?.write_all(noise.get(..1024).unwrap_or_default())?;
    let direct = ours::start(folder.path(), false)?;
    let portable = ours::start(folder.path(), true)?;
    let nginx = nginx::start(folder.path())?;
    for server in [&direct, &portable, &nginx] {
        server.check(&noise)?;
    }
    drop(noise);

    let shown = io::stderr().is_terminal();
    let mut outcomes = Vec::new();
    for row in &options.rows {
        let own = if row.portable { &portable } else { &direct };
        let (mut ours, mut theirs) = (Best::default(), Best::default());
        for repeat in 1..=options.repeats {
            if shown {
                eprint!("\r{}: {repeat} of {} \x1b[K", row.title, options.repeats);
            }
            // Whoever is first finds another machine than who is second.
            if repeat % 2 == 1 {
                ours.take(&one(own, row, options.seconds, folder.path())?);
                theirs.take(&one(&nginx, row, options.seconds, folder.path())?);
            } else {
                theirs.take(&one(&nginx, row, options.seconds, folder.path())?);
                ours.take(&one(own, row, options.seconds, folder.path())?);
            }
        }
        outcomes.push(Outcome { row, ours, theirs });
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

/// One run of a row, with the server's CPU time for it.
fn one(server: &Server, row: &Row, seconds: u32, folder: &Path) -> Fallible<Run> {
    let before = server.cpu()?;
    let mut run = load::run(row, server.address, seconds, folder)?;
    run.cpu = server.cpu()?.saturating_sub(before).as_secs_f64();
    Ok(run)
}
