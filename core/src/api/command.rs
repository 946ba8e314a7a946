//! Commands: what the window and the command line ask of the engine.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{ClientKind, Event, HostId};
use super::snapshot::HostView;
use crate::boot::{Arch, Explanation};
use crate::doctor::{Act, Report};
use crate::hosts::BootRecord;
use crate::inspect::Inspection;
use crate::lab::{Boot, Mode, Seat, SettingChange, SettingProblem, Writes};

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
    /// These hosts have no assignment of their own any more: they get what a machine without one gets. Written to lab.toml.
    Unassign { hosts: Vec<HostId> },
    /// These hosts start the kernel of this disk directly from now on, their root on their own overlay of it. The reply is
    /// [`Reply::Hosts`] where a profile with that kernel is at hand, and [`Reply::Job`] where it is taken out first.
    StartDirectly {
        hosts: Vec<HostId>,
        /// The disk's name.
        disk: String,
    },
    /// Name a host (an empty name takes it away). Written to lab.toml.
    Rename { host: HostId, name: String },
    /// Give a host another build of iPXE than it has: one with drivers of its own for one that uses the firmware's, or the other way
    /// round. Written to lab.toml as its `firmware`.
    OtherFirmware { host: HostId },
    /// Put hosts into a group (an empty name takes them out). Written to lab.toml.
    Group { hosts: Vec<HostId>, group: String },
    /// Give hosts their places in the seating plan, or take them away. Written to lab.toml.
    Seats { seats: Vec<(HostId, Option<Seat>)> },
    /// Turn machines on with Wake-on-LAN, through the interfaces that are served. Answered when the packets are sent: whether a machine
    /// heard them shows when it boots.
    Wake { hosts: Vec<HostId> },
    /// The same by what the command line takes: MAC, name or `group:NAME`.
    WakeNamed { hosts: Vec<String> },
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
    /// Copy a boot file into `firmware/`, where it comes before the system's. Answered by [`Reply::Firmware`].
    AddFirmware {
        /// The file.
        from: PathBuf,
    },
    /// Look for what would stop a boot: see [`crate::doctor`]. Answered by [`Reply::Doctor`]; whoever stops waiting cancels it.
    Doctor {
        /// This interface in place of lab.toml's.
        #[serde(default)]
        interface: Option<String>,
        /// Boots a machine that does not exist from our own servers, too; they must run.
        #[serde(default)]
        self_test: bool,
    },
    /// Mend what the doctor found, as far as the program can do it. Answered when it is done.
    Mend { act: Act },
    /// Cancel a job.
    CancelJob { job: u64 },
    /// The packets that are kept of a machine: MAC or name. Answered by [`Reply::Packets`].
    Packets { host: String },
    /// What lab.db remembers of a machine: MAC or name. Answered by [`Reply::History`].
    History { host: String },
    /// Change settings of lab.toml, all or none. What is in service follows at once; leases and sessions stay.
    Settings {
        /// What.
        changes: Vec<SettingChange>,
        /// Only say what would be wrong with them: the reply is [`Reply::Settings`], and nothing is written.
        #[serde(default)]
        trial: bool,
    },
    /// What a machine, real or not, would be given at each link of its boot, and why. Changes nothing. Answered by
    /// [`Reply::Explained`].
    Explain(Question),
    /// The last boots of a machine: MAC or name. Answered by [`Reply::Boots`].
    Boots { host: String },
    /// Read lab.toml again.
    Reload,
    /// Do nothing; the reply shows that the engine lives.
    Ping,
}

/// Which machine is explained, as it would ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Question {
    /// MAC or name; `None`: any machine without an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its architecture; `None`: the one that it named when it was seen, else BIOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Which program asks first; `None`: its firmware, over HTTP where its architecture says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKind>,
    /// On which interface; `None`: that of its address, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
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
    /// Look into it. The reply is [`Reply::Inspected`].
    Inspect {
        /// With this host's overlay; `None`: the image alone.
        #[serde(default)]
        host: Option<String>,
    },
    /// Take a kernel, its initramfs and Xen out of it, and make a profile of them, or renew the one that was made so before.
    Extract {
        /// The profile's name.
        profile: String,
        /// With this host's overlay; `None`: the image alone.
        #[serde(default)]
        host: Option<String>,
        /// The kernel's version; `None`: the newest.
        #[serde(default)]
        kernel: Option<String>,
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
    /// Xen, where the kernel runs under it: for a BIOS, for UEFI, or both. Told apart by their content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hypervisors: Vec<PathBuf>,
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
    /// A boot file is in `firmware/` under this name.
    Firmware {
        /// The name.
        name: String,
    },
    /// Packets of a machine.
    Packets(Packets),
    /// A machine as it is, and its last events, oldest first.
    History {
        /// As it is shown.
        host: Arc<HostView>,
        /// At most a few thousand.
        events: Vec<Event>,
    },
    /// A machine's boot, link by link.
    Explained {
        /// It.
        chain: Box<Explanation>,
    },
    /// A machine's last boots.
    Boots {
        /// The newest first.
        boots: Vec<BootRecord>,
    },
    /// What was found in an image.
    Inspected {
        /// It.
        found: Box<Inspection>,
    },
    /// What the reader of lab.toml says of settings that were tried, or what it warns of where they are written.
    Settings {
        /// Nothing, where all is well.
        problems: Vec<SettingProblem>,
    },
    /// What the doctor found.
    Doctor {
        /// The rows.
        report: Report,
    },
}

/// The packets of a machine: the last of its boots, within the bounds of [`crate::trace`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Packets {
    /// A pcapng file in hexadecimal, at most a few MiB of it.
    pub pcapng: String,
    /// Its packets.
    pub count: usize,
    /// Older packets of this machine that made room for newer ones.
    pub gone: u64,
    /// Packets of any machine that came faster than they could be taken.
    pub lost: u64,
    /// Why none are captured, where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// Where they are what our own sockets saw and not what was on the wire: that, and why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<String>,
}

impl Packets {
    /// The file's bytes; empty when it is damaged.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let digits: Option<Vec<u8>> =
            self.pcapng.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        digits.unwrap_or_default().chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// With these bytes as its file.
    #[must_use]
    pub fn with_file(mut self, file: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
        self.pcapng = file.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        self
    }
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
