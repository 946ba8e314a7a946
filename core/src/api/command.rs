//! Commands: what the window and the command line ask of the engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::event::HostId;
use crate::lab::{Boot, Mode, Writes};

/// A wish. Answered by a [`Reply`]; its effects show in the next snapshots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Command {
    /// Begin to serve. Needs a confirmed interface.
    Start,
    /// Stop serving; sessions are ended in order.
    Stop,
    /// A person says that this interface may serve, on this laptop: writes it to lab.toml and remembers its MAC.
    /// `address` is put on the interface while the engine runs, if it is bare.
    Confirm {
        interface: String,
        #[serde(default)]
        address: Option<String>,
        mode: Mode,
    },
    /// What the hosts get from now on. Written to lab.toml.
    Assign { hosts: Vec<HostId>, to: Boot },
    /// The same by what the command line takes: MAC, name or `group:NAME`.
    AssignNamed { hosts: Vec<String>, to: Boot },
    /// Name a host (an empty name takes it away). Written to lab.toml.
    Rename { host: HostId, name: String },
    /// Drop a machine from the list; its entry in lab.toml stays unless `entry`.
    Forget { host: HostId, entry: bool },
    /// Add a disk by importing a file, or an empty one.
    AddDisk(NewDisk),
    /// Something to a disk. What takes long is a job.
    Disk {
        /// The disk's name.
        disk: String,
        /// What.
        act: DiskAct,
    },
    /// Add a profile from files.
    AddProfile(NewProfile),
    /// Cancel a job.
    CancelJob { job: u64 },
    /// Read lab.toml again.
    Reload,
    /// Do nothing; the reply shows that the engine lives.
    Ping,
}

/// A disk to add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewDisk {
    /// Name, `[a-z0-9-]`.
    pub name: String,
    /// File to import; `None`: an empty disk of `size` bytes.
    pub from: Option<PathBuf>,
    /// Bytes, a multiple of 512; for an empty disk.
    pub size: Option<u64>,
    /// Where writes go.
    pub writes: Writes,
}

/// What is done to a disk. A host is a MAC, a name, or an overlay's id as [`super::OverlayView`] has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum DiskAct {
    /// A new disk that reads as this one does now, or as `host` sees it, and that remembers from which it was taken.
    Snapshot {
        /// Its name.
        name: String,
        /// Whose overlay; `None`: the image alone.
        #[serde(default)]
        host: Option<String>,
    },
    /// A new disk with a copy of the image, which is nobody's child.
    Clone {
        /// Its name.
        name: String,
    },
    /// Drop overlays: these hosts start from the image again.
    Reset {
        /// Whose; empty: all.
        hosts: Vec<String>,
    },
    /// What this host's overlay makes of the image becomes the image: its next generation, which everybody else gets at the next boot.
    Commit {
        /// Whose.
        host: String,
    },
    /// Make it larger. A machine that runs from it is told.
    Resize {
        /// Bytes, a multiple of 512.
        size: u64,
    },
    /// Give back the space of blocks that are zero, or the same as the image's.
    Compact,
    /// Write what it reads as into a file outside the lab.
    Export {
        /// The file, which must not exist.
        to: PathBuf,
        /// Its format.
        format: ExportFormat,
        /// Whose overlay; `None`: the image alone.
        #[serde(default)]
        host: Option<String>,
    },
    /// Delete the disk, its image and its overlays. Refused, naming them, while hosts are assigned to it or overlays hold data, unless
    /// `anyway`; always refused while a session has it open.
    Delete {
        /// Even so.
        anyway: bool,
    },
}

/// Formats that an export writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// The bytes as they are, sparse.
    Raw,
    /// QEMU's.
    Qcow2,
}

/// A profile to add. The files are copied below `media/NAME/` unless they are there already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewProfile {
    /// Name, `[a-z0-9-]`.
    pub name: String,
    /// Kernel file.
    pub kernel: PathBuf,
    /// Initrd files.
    pub initrds: Vec<PathBuf>,
    /// Kernel arguments.
    pub args: String,
    /// Answer file.
    pub answers: Option<PathBuf>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// Done; this many hosts were meant.
    Hosts {
        /// How many.
        count: usize,
    },
    /// A job began.
    Job {
        /// Its number.
        id: u64,
    },
}

/// Why a command was not carried out: a sentence that names the thing and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CommandError {
    /// The sentence.
    pub message: String,
}

impl CommandError {
    /// From any error's text.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string() }
    }
}
