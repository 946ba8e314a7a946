//! Bootyard's iSCSI target beside Debian's tgt: the same clients, the same amount of work, in turns, LUNs in memory.
//!
//! `cargo bench -p bootyard-core --bench iscsi_vs_tgt [-- --rows NAME,… --repeats N --seconds N --json]`, as root, for tgtd's control
//! socket is root's. Needs `tgt`, `qemu-utils`, `qemu-block-extra` and `libiscsi-bin`. Both targets are processes of their own on
//! loopback; ours is this program started once more ([`ours`]) with the real store, image and overlay behind it. Each figure is the
//! best of the repeats; CPU time is the operating system's count for the whole target process.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "prints a table")]

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod ours;
mod report;
mod rows;
mod target;
mod tgt;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clients::read_back;
use common::{Best, Run};
use report::Outcome;
use rows::{Disk, Row};
use target::Target;

/// Bytes of each LUN.
const SIZE: usize = 512 << 20;

/// Any error is told and ends the measurement.
type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    common::main("iscsi_vs_tgt", ours::SERVE, ours::serve, || measure(&Options::from_args()?))
}

/// What the command line says.
struct Options {
    rows: Vec<&'static Row>,
    /// None: as many as each row has.
    repeats: Option<usize>,
    /// About how long tgt is to be busy with one run.
    seconds: u32,
    json: bool,
    tgt: bool,
}

impl Options {
    fn from_args() -> Fallible<Self> {
        let mut options = Self { rows: rows::ROWS.iter().collect(), repeats: None, seconds: 3, json: false, tgt: true };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--rows" => {
                    options.rows = common::pick(&value()?, &rows::ROWS.iter().collect::<Vec<_>>(), |row| row.name)?;
                }
                "--repeats" => options.repeats = Some(value()?.parse::<usize>()?.max(1)),
                "--seconds" => options.seconds = value()?.parse::<u32>()?.max(1),
                "--json" => options.json = true,
                "--no-tgt" => options.tgt = false,
                // Cargo's own.
                "--bench" => {}
                _ => return Err(format!("`{arg}`: known are --rows, --repeats, --seconds, --json, --no-tgt").into()),
            }
        }
        Ok(options)
    }
}

/// Runs the rows; whether each was good enough.
fn measure(options: &Options) -> Fallible<bool> {
    clients::present()?;
    let memory = Path::new("/dev/shm");
    let folder = tempfile::Builder::new().prefix("bootyard-bench-").tempdir_in(if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    })?;
    let noise = noise(SIZE);
    for name in ["golden.raw", "ours.raw", "tgt.raw"] {
        File::create(folder.path().join(name))?.write_all(&noise)?;
    }
    let ours = ours::start(folder.path())?;
    let theirs = if options.tgt {
        match tgt::start(folder.path()) {
            Ok(tgt) => Some(tgt),
            Err(error) => {
                eprintln!("tgt is not measured: {error}");
                None
            }
        }
    } else {
        eprintln!("tgt is not measured: --no-tgt");
        None
    };
    for target in [Some(&ours), theirs.as_ref()].into_iter().flatten() {
        check_read(target, &noise, folder.path())?;
    }
    drop(noise);

    let shown = io::stderr().is_terminal();
    let mut outcomes = Vec::new();
    for row in &options.rows {
        let (mut own, mut other) = (Best::default(), Best::default());
        let awake = row.awake.then(common::awake::Awake::begin).transpose();
        if let Err(error) = &awake {
            eprintln!("{}: processors sleep between requests: {error}", row.title);
        }
        let repeats = options.repeats.unwrap_or(row.repeats);
        for repeat in 1..=repeats {
            if shown {
                eprint!("\r{}: {repeat} of {repeats} \x1b[K", row.title);
            }
            own.take(&one(&ours, row, options.seconds)?);
            if let Some(theirs) = &theirs {
                other.take(&one(theirs, row, options.seconds)?);
            }
        }
        outcomes.push(Outcome { row, ours: own, theirs: theirs.as_ref().map(|_| other) });
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    for (target, file) in [(Some(&ours), "ours.raw"), (theirs.as_ref(), "tgt.raw")] {
        if let (Some(_), true) = (target, options.rows.iter().any(|row| row.writes())) {
            check_written(&folder.path().join(file))?;
        }
    }
    if options.json {
        report::json(&outcomes)?;
    } else {
        report::table(&outcomes);
    }
    // What was to be compared and could not be has not passed.
    let compared = theirs.is_some() || !options.tgt;
    Ok(compared && outcomes.iter().all(Outcome::passed))
}

/// One run of a row, with the target's CPU time for it.
fn one(target: &Target, row: &Row, seconds: u32) -> Fallible<Run> {
    let before = target.cpu()?;
    let mut run = row.run(&target.url(row.disk), seconds)?;
    run.cpu = target.cpu()?.saturating_sub(before).as_secs_f64();
    Ok(run)
}

/// Data are the image's and not zeroes served in haste: pieces of it are read from both disks and compared.
fn check_read(target: &Target, noise: &[u8], folder: &Path) -> Fallible<()> {
    const MIB: usize = 1 << 20;
    for disk in [Disk::Plain, Disk::Golden] {
        for at in [0, 37, SIZE / MIB - 8] {
            let read = read_back(&target.url(disk), at, 8, &folder.join("back.raw"))?;
            if noise.get(at * MIB..(at + 8) * MIB) != Some(&read[..]) {
                let problem = format!("{}: what was read at {at} MiB of {disk:?} is not what is there", target.name);
                return Err(problem.into());
            }
        }
    }
    Ok(())
}

/// A write row has left its pattern at the start of the file.
fn check_written(file: &Path) -> Fallible<()> {
    let mut block = [0; 4096];
    io::Read::read_exact(&mut File::open(file)?, &mut block)?;
    if block.iter().any(|byte| *byte != rows::PATTERN) {
        return Err(format!("{}: what was written is not there", file.display()).into());
    }
    Ok(())
}

/// Bytes that no compression and no accident makes.
fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
