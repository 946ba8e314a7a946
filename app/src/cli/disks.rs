//! `bootyard disks list|create|import`.

use std::path::{Path, PathBuf};

use bootyard_core::api::{Command, JobState, NewDisk, Reply};
use bootyard_core::lab::Writes;
use clap::{Subcommand, ValueEnum};

use super::session::Session;
use super::{Failure, Outcome, output};

/// What to do with disks.
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// The disks, their sizes and overlays
    List {
        /// One JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make an empty disk
    Create {
        /// Its name
        name: String,
        /// Its size: bytes, or with K, M, G, T (powers of 1024)
        size: String,
        /// Where writes go
        #[arg(long, value_enum, default_value_t = WritesArg::Image)]
        writes: WritesArg,
    },
    /// Bring an image in: raw, or what qemu-img reads
    Import {
        /// The file
        file: PathBuf,
        /// The disk's name; the file's otherwise
        #[arg(long)]
        name: Option<String>,
        /// Where writes go
        #[arg(long, value_enum, default_value_t = WritesArg::Keep)]
        writes: WritesArg,
    },
}

/// `writes` of lab.toml.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WritesArg {
    /// A private overlay for each host, kept
    Keep,
    /// A private overlay for each host, new at each boot
    Fresh,
    /// Into the image itself, one host at a time
    Image,
}

impl From<WritesArg> for Writes {
    fn from(arg: WritesArg) -> Self {
        match arg {
            WritesArg::Keep => Self::Keep,
            WritesArg::Fresh => Self::Fresh,
            WritesArg::Image => Self::Image,
        }
    }
}

pub(super) fn run(lab: &Path, command: Sub) -> Outcome {
    match command {
        Sub::List { json } => list(lab, json),
        Sub::Create { name, size, writes } => {
            let size = parse_size(&size).map_err(Failure::Usage)?;
            add(lab, NewDisk { name, from: None, size: Some(size), writes: writes.into() })
        }
        Sub::Import { file, name, writes } => {
            let name = name.unwrap_or_else(|| name_of(&file));
            let from = Some(std::path::absolute(&file)?);
            add(lab, NewDisk { name, from, size: None, writes: writes.into() })
        }
    }
}

fn list(lab: &Path, json: bool) -> Outcome {
    let session = Session::any(lab)?;
    let snapshot = session.handle().snapshot();
    if json {
        output::json(&snapshot.disks)?;
    } else {
        let rows: Vec<Vec<String>> = snapshot
            .disks
            .iter()
            .map(|d| {
                vec![
                    d.name.clone(),
                    d.size.to_string(),
                    d.allocated.to_string(),
                    serde_json::to_value(d.writes).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
                    d.overlays.len().to_string(),
                    d.sessions.to_string(),
                    d.iqn.clone(),
                    d.problem.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["NAME", "BYTES", "ON DISK", "WRITES", "OVERLAYS", "SESSIONS", "TARGET", "PROBLEM"], &rows);
    }
    session.end();
    Ok(())
}

/// Adds a disk and stays until its job has ended.
fn add(lab: &Path, disk: NewDisk) -> Outcome {
    let name = disk.name.clone();
    let session = Session::any(lab)?;
    let handle = session.handle();
    let Reply::Job { id } = session.call(Command::AddDisk(disk))? else {
        session.end();
        return Ok(());
    };
    let ended = session.block_on(async {
        let mut changed = handle.changed();
        loop {
            let state = handle.snapshot().jobs.iter().find(|j| j.id == id).map(|j| j.state.clone());
            match state {
                Some(JobState::Running) | None => {}
                Some(ended) => return Ok(ended),
            }
            tokio::select! {
                result = changed.changed() => if result.is_err() { return Err(Failure::NoEngine) },
                _ = tokio::signal::ctrl_c() => { handle.call(Command::CancelJob { job: id }).await?; }
            }
        }
    })?;
    session.end();
    match ended {
        JobState::Failed { error } => Err(Failure::Failed(anyhow::anyhow!(error))),
        JobState::Cancelled => Err(Failure::Failed(anyhow::anyhow!("cancelled; nothing was left behind"))),
        JobState::Done | JobState::Running => {
            output::line(&format!("disk {name} is ready"));
            Ok(())
        }
    }
}

/// A name from a file's: lower case, what is not allowed becomes a hyphen.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().map(|s| s.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    name.trim_matches('-').chars().take(63).collect()
}

/// Bytes from `8G`, `512M`, `4096`.
fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size; expected bytes, or a number with K, M, G or T such as 8G");
    let upper = text.trim().to_ascii_uppercase();
    let upper = upper.trim_end_matches("IB").trim_end_matches('B');
    let (digits, shift) = match upper.as_bytes().last() {
        Some(b'K') => (&upper[..upper.len() - 1], 10),
        Some(b'M') => (&upper[..upper.len() - 1], 20),
        Some(b'G') => (&upper[..upper.len() - 1], 30),
        Some(b'T') => (&upper[..upper.len() - 1], 40),
        _ => (upper, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("8G"), Ok(8 << 30));
        assert_eq!(parse_size("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "G", "-1G", "0", "99999999999T", "8X"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_name_becomes_a_disk_name() {
        assert_eq!(name_of(Path::new("/tmp/Windows 11_Pro.qcow2")), "windows-11-pro");
    }
}
