//! Bootyard's TFTP server beside Debian's tftpd-hpa, atftpd and dnsmasq and the crate `tftpd`: one client of our own for all, in turns.
//!
//! `cargo bench -p bootyard-core --bench tftp_vs_peers [-- --rows NAME,… --servers NAME,… --repeats N --json]`, as root, for the
//! servers and the client are in network namespaces of their own. A server that is not installed is left out, and that is said
//! ([`servers`] tells where they are looked for). The client compares every byte that it is given with the file. Each figure of a
//! quiet wire is the best of the repeats, each one of a wire that loses packets is the median of all transfers (these rows take half an
//! hour, for the others wait for seconds; `--rows` chooses); CPU time is the
//! operating system's count for all processes of the server (its control group).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "prints a table")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod lab;
mod ours;
mod report;
mod rows;
mod servers;
mod tap;
mod wire;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use lab::Lab;
use report::{Figures, Outcome};
use rows::{Row, Wire};
use servers::Server;

/// Any error is told and ends the measurement.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    common::main("tftp_vs_peers", ours::SERVE, ours::serve, || measure(&Options::from_args()?))
}

/// What the command line says.
struct Options {
    rows: Vec<&'static Row>,
    servers: Option<Vec<String>>,
    repeats: u64,
    json: bool,
}

impl Options {
    fn from_args() -> Fallible<Self> {
        let mut options = Self { rows: rows::ROWS.iter().collect(), servers: None, repeats: 3, json: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--rows" => {
                    options.rows = common::pick(&value()?, &rows::ROWS.iter().collect::<Vec<_>>(), |row| row.name)?;
                }
                "--servers" => options.servers = Some(value()?.split(',').map(str::to_owned).collect()),
                "--repeats" => options.repeats = value()?.parse::<u64>()?.max(1),
                "--json" => options.json = true,
                // Cargo's own.
                "--bench" => {}
                _ => return Err(format!("`{arg}`: known are --rows, --servers, --repeats, --json").into()),
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
    let servers: Vec<Server> = servers::present()
        .into_iter()
        .filter(|server| options.servers.as_ref().is_none_or(|only| only.iter().any(|name| name == server.name)))
        .collect();
    let largest = options.rows.iter().map(|row| row.bytes).max().unwrap_or_default();
    let noise = noise(largest);
    for row in &options.rows {
        std::fs::write(folder.path().join(row.file()), noise.get(..row.bytes).unwrap_or_default())?;
    }
    let lab = Lab::new()?;
    let shown = io::stderr().is_terminal();
    let mut outcomes = Vec::new();
    for row in &options.rows {
        let mut figures: Vec<(&'static str, Figures)> = Vec::new();
        let repeats = row.runs(options.repeats);
        let awake = row.awake.then(common::awake::Awake::begin).transpose();
        if let Err(error) = &awake {
            eprintln!("{}: processors sleep between blocks: {error}", row.title);
        }
        for repeat in 1..=repeats {
            for server in &servers {
                if shown {
                    eprint!("\r{}: {repeat} of {repeats}, {} \x1b[K", row.title, server.name);
                }
                let run = one(&lab, server, row, folder.path(), &noise, repeat)
                    .map_err(|error| format!("{}, {}: {error}", row.title, server.name))?;
                match figures.iter_mut().find(|(name, _)| *name == server.name) {
                    Some((_, known)) => known.take(run),
                    None => figures.push((server.name, run)),
                }
            }
        }
        outcomes.push(Outcome { row, figures });
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

/// One run of a row with a server that is started for it.
fn one(lab: &Lab, server: &Server, row: &Row, folder: &Path, noise: &[u8], repeat: u64) -> Fallible<Figures> {
    let (address, _wire) = match row.wire {
        Wire::Quiet => (lab::QUIET, None),
        // The same losses for every server, others in each repeat.
        Wire::Lossy => (lab::LOSSY, Some(wire::Wire::start(lab, repeat)?)),
    };
    let running = server.start(lab, address, folder)?;
    lab.in_client(|| client::until_it_answers(address))??;
    let before = running.cpu()?;
    let load = client::Load { row, address, content: noise.get(..row.bytes).unwrap_or_default() };
    let times = lab.in_client(|| load.run())??;
    let cpu = running.cpu()?.saturating_sub(before);
    Ok(Figures::of(row, &times, cpu))
}

/// Bytes that no accident makes.
fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
