//! `bootyard disks …`: all that can be done to disks. What destroys asks first, or wants `--yes`.

#[path = "inspect.rs"]
mod inspect;

use std::path::{Path, PathBuf};

use std::io::{IsTerminal, Write};

use bootyard_core::api::{Command, DiskAct, DiskView, ExportFormat, JobState, JobView, NewDisk, Reply, Snapshot};
use bootyard_core::lab::{Writes, parse_size};
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
    /// Write what a disk holds, or what a host sees of it, into a new file
    Export {
        /// The disk
        disk: String,
        /// The file, which must not exist
        file: PathBuf,
        /// With this host's overlay: a MAC, a name, or the overlay's id
        #[arg(long)]
        host: Option<String>,
        /// The file's format; by its name otherwise
        #[arg(long, value_enum)]
        format: Option<FormatArg>,
    },
    /// Make a new disk with a copy of the image
    Clone {
        /// The disk
        disk: String,
        /// The new one's name
        name: String,
    },
    /// Make a new disk of what a disk holds now, or of what a host sees of it
    Snapshot {
        /// The disk
        disk: String,
        /// The new one's name
        name: String,
        /// With this host's overlay: a MAC, a name, or the overlay's id
        #[arg(long)]
        host: Option<String>,
    },
    /// Drop overlays: their hosts start from the image again
    Reset {
        /// The disk
        disk: String,
        /// Whose: MACs, names, or overlays' ids
        #[arg(required_unless_present = "all")]
        hosts: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "hosts")]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Make what a host changed the image's next generation, for all hosts from their next boot on
    Commit {
        /// The disk
        disk: String,
        /// Whose overlay: a MAC, a name, or the overlay's id
        host: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Make a disk larger; machines that run from it are told
    Resize {
        /// The disk
        disk: String,
        /// Its new size: bytes, or with K, M, G, T (powers of 1024)
        size: String,
    },
    /// Give back the space of what is zero or the same as in the image
    Compact {
        /// The disk
        disk: String,
    },
    /// Look into a disk: systems, boot loaders, and what would keep it from booting
    Inspect {
        /// The disk
        disk: String,
        /// With this host's overlay: a MAC, a name, or the overlay's id
        #[arg(long)]
        host: Option<String>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take kernel, initramfs and Xen out of a disk, for machines that start them directly
    ///
    /// `bootyard assign HOST iscsi DISK --profile PROFILE` starts them then: they come over HTTP, and the system's root is on the disk. How
    /// its initramfs is told of the disk stands in the profile as `iscsi-args`: debian and dracut by the kernel's arguments, none by the
    /// iBFT that iPXE leaves. Kernel arguments can be read by every user of that machine, and with them the CHAP secret of a disk that has
    /// one: where a disk boots by its own boot loader, that is the better way. Arguments that are wanted otherwise are edited in lab.toml;
    /// `ip=` there gives a fixed address in place of DHCP. A renewal leaves alone what was edited.
    Extract {
        /// The disk
        disk: String,
        /// The profile to make, or to renew
        #[arg(long, value_name = "PROFILE")]
        into: String,
        /// With this host's overlay: a MAC, a name, or the overlay's id
        #[arg(long)]
        host: Option<String>,
        /// This kernel; the newest otherwise
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete a disk with its image and its overlays
    Delete {
        /// The disk
        disk: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatArg {
    /// The bytes as they are, sparse
    Raw,
    /// QEMU's
    Qcow2,
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
        Sub::Export { disk, file, host, format } => {
            let by_name = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("qcow2"));
            let format = match format {
                Some(FormatArg::Qcow2) => ExportFormat::Qcow2,
                None if by_name => ExportFormat::Qcow2,
                Some(FormatArg::Raw) | None => ExportFormat::Raw,
            };
            let to = std::path::absolute(&file)?;
            let done = format!("{disk} was written to {}", to.display());
            act(lab, disk, DiskAct::Export { to, format, host }, &done)
        }
        Sub::Clone { disk, name } => {
            let done = format!("disk {name} is ready");
            act(lab, disk, DiskAct::Clone { name }, &done)
        }
        Sub::Snapshot { disk, name, host } => {
            let done = format!("disk {name} is ready");
            act(lab, disk, DiskAct::Snapshot { name, host }, &done)
        }
        Sub::Reset { disk, hosts, all: _, yes } => {
            ask(lab, &disk, yes, |view| {
                let of = overlays_of(view, &hosts);
                let whose = if of.is_empty() { hosts.join(", ") } else { of.join(", ") };
                format!("what these wrote to {} will be lost: {whose}", view.name)
            })?;
            act(lab, disk, DiskAct::Reset { hosts }, "the overlays were dropped")
        }
        Sub::Commit { disk, host, yes } => {
            ask(lab, &disk, yes, |view| {
                let next = view.generation + 1;
                format!("what {host} changed becomes generation {next} of {}, which all its machines get", view.name)
            })?;
            let done = format!("what {host} changed is in {disk} now");
            act(lab, disk, DiskAct::Commit { host }, &done)
        }
        Sub::Resize { disk, size } => {
            let size = parse_size(&size).map_err(Failure::Usage)?;
            let done = format!("{disk} has {size} bytes");
            act(lab, disk, DiskAct::Resize { size }, &done)
        }
        Sub::Compact { disk } => act(lab, disk, DiskAct::Compact, "unused space was given back"),
        Sub::Inspect { disk, host, json } => inspect::inspect(lab, disk, host, json),
        Sub::Extract { disk, into, host, kernel, json } => inspect::extract(lab, &disk, &into, host, kernel, json),
        Sub::Delete { disk, yes } => {
            ask(lab, &disk, yes, |view| {
                let mut lost = format!("the disk {} with {} bytes will be deleted", view.name, view.allocated);
                if !view.overlays.is_empty() {
                    lost.push_str(&format!(", and what these wrote: {}", overlays_of(view, &[]).join(", ")));
                }
                if !view.older.is_empty() {
                    lost.push_str(&format!(", and {} former generations of its image", view.older.len()));
                }
                if !view.assigned.is_empty() {
                    lost.push_str(&format!("; these would wait instead: {}", view.assigned.join(", ")));
                }
                lost
            })?;
            let done = format!("disk {disk} was deleted");
            act(lab, disk, DiskAct::Delete { anyway: true }, &done)
        }
    }
}

fn list(lab: &Path, json: bool) -> Outcome {
    let session = Session::existing(lab)?;
    let snapshot = session.handle().snapshot();
    if json {
        output::json(&snapshot.disks)?;
    } else {
        let mut rows = Vec::new();
        let is_child =
            |d: &&DiskView| d.parent.as_ref().is_some_and(|(p, _)| snapshot.disks.iter().any(|o| o.name == *p));
        for root in snapshot.disks.iter().filter(|d| !is_child(d)) {
            rows_of(&snapshot, root, 0, &mut rows);
        }
        output::table(&["NAME", "BYTES", "ON DISK", "WRITES", "GENERATION", "SESSIONS", "TARGET", "PROBLEM"], &rows);
        for stale in snapshot.profiles.iter().filter_map(|p| p.stale.as_ref()) {
            output::line(&output::safe(stale));
        }
    }
    session.end();
    Ok(())
}

/// A disk with what stands on it, and the snapshots of it.
fn rows_of(all: &Snapshot, disk: &DiskView, depth: usize, rows: &mut Vec<Vec<String>>) {
    let indent = "  ".repeat(depth);
    rows.push(vec![
        format!("{indent}{}", disk.name),
        disk.size.to_string(),
        disk.allocated.to_string(),
        if disk.readonly { "no".into() } else { disk.writes.to_string() },
        disk.generation.to_string(),
        disk.sessions.to_string(),
        disk.iqn.clone(),
        disk.problem.clone().unwrap_or_default(),
    ]);
    let beneath = |name: String, bytes: u64, writes: String, generation: u64, open: &str| {
        let open = open.to_owned();
        vec![name, String::new(), bytes.to_string(), writes, generation.to_string(), open, String::new(), String::new()]
    };
    for older in &disk.older {
        let name = format!("{indent}  former image");
        rows.push(beneath(name, older.allocated, String::new(), older.generation, ""));
    }
    for overlay in &disk.overlays {
        let name = format!("{indent}  {} ({})", overlay.host, overlay.id);
        let open = if overlay.open { "in use" } else { "" };
        rows.push(beneath(name, overlay.bytes, overlay.writes.to_string(), overlay.generation, open));
    }
    // A chain of parents has no circle: a snapshot is younger than what it was taken from. A damaged one ends here all the same.
    if depth < 32 {
        let children = |d: &&DiskView| d.name != disk.name && d.parent.as_ref().is_some_and(|(p, _)| *p == disk.name);
        for child in all.disks.iter().filter(children) {
            rows_of(all, child, depth + 1, rows);
        }
    }
}

/// Adds a disk and stays until its job has ended.
fn add(lab: &Path, disk: NewDisk) -> Outcome {
    let done = format!("disk {} is ready", disk.name);
    let session = Session::any(lab)?;
    let reply = session.call(Command::AddDisk(disk))?;
    finish(session, &reply, &done)
}

/// Does something to a disk and stays until it is done.
fn act(lab: &Path, disk: String, act: DiskAct, done: &str) -> Outcome {
    let session = Session::any(lab)?;
    let reply = session.call(Command::Disk { disk, act })?;
    finish(session, &reply, done)
}

/// The same, after a person has said yes to what `lost` says of the disk.
fn ask(lab: &Path, disk: &str, yes: bool, lost: impl FnOnce(&DiskView) -> String) -> Outcome {
    if yes {
        return Ok(());
    }
    let session = Session::any(lab)?;
    let snapshot = session.handle().snapshot();
    session.end();
    let Some(view) = snapshot.disks.iter().find(|d| d.name == disk) else {
        return Err(Failure::Failed(anyhow::anyhow!("there is no disk `{disk}`; `bootyard disks list` names them")));
    };
    let lost = output::safe(&lost(view));
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{lost}; nobody is there to say yes, so say --yes")));
    }
    let mut err = std::io::stderr().lock();
    let _asked = write!(err, "{lost}. Go on? [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Failed(anyhow::anyhow!("nothing was done"))),
    }
}

fn overlays_of<'a>(disk: &'a DiskView, words: &[String]) -> Vec<&'a str> {
    let meant =
        |o: &&bootyard_core::api::OverlayView| words.is_empty() || words.contains(&o.host) || words.contains(&o.id);
    disk.overlays.iter().filter(meant).map(|o| o.host.as_str()).collect()
}

/// Stays until a job has ended, and shows how far it is.
fn finish(session: Session, reply: &Reply, done: &str) -> Outcome {
    let ended = wait(&session, reply);
    session.end();
    ended?;
    output::line(done);
    Ok(())
}

/// The same for who goes on with the session.
fn wait(session: &Session, reply: &Reply) -> Outcome {
    let Reply::Job { id } = *reply else { return Ok(()) };
    let handle = session.handle();
    let shown = std::io::stderr().is_terminal();
    let ended = session.block_on(async {
        let mut changed = handle.changed();
        loop {
            match handle.snapshot().jobs.iter().find(|j| j.id == id) {
                Some(job) if job.state == JobState::Running && shown => progress(job),
                Some(JobView { state: JobState::Running, .. }) | None => {}
                Some(ended) => return Ok(ended.state.clone()),
            }
            tokio::select! {
                result = changed.changed() => if result.is_err() { return Err(Failure::NoEngine) },
                _ = tokio::signal::ctrl_c() => { handle.call(Command::CancelJob { job: id }).await?; }
            }
        }
    })?;
    if shown {
        let _cleared = write!(std::io::stderr(), "\r\x1b[K");
    }
    match ended {
        JobState::Failed { error } => Err(Failure::Failed(anyhow::anyhow!(error))),
        JobState::Cancelled => Err(Failure::Failed(anyhow::anyhow!("cancelled; nothing was left behind"))),
        JobState::Done | JobState::Running => Ok(()),
    }
}

/// One line that is written over.
fn progress(job: &JobView) {
    let p = &job.progress;
    let percent = p.done.saturating_mul(100).checked_div(p.total).unwrap_or(0);
    let left = match p.rate {
        0 => String::new(),
        rate => format!(", {} MiB/s, {} s left", rate >> 20, p.total.saturating_sub(p.done) / rate),
    };
    let _to_a_terminal = write!(std::io::stderr(), "\r\x1b[K{percent} % of {} MiB{left}", p.total >> 20);
}

/// A name from a file's: lower case, what is not allowed becomes a hyphen.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().map(|s| s.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    name.trim_matches('-').chars().take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_becomes_a_disk_name() {
        assert_eq!(name_of(Path::new("/tmp/Windows 11_Pro.qcow2")), "windows-11-pro");
    }
}
