//! What lab.db remembers, as records; leases have theirs beside the lab's types.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::{HostId, Stage};
use crate::boot::Arch;
use crate::lab::schema::{InstallThen, Name, Writes};
use crate::net::MacAddr;

/// A machine, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostRecord {
    /// Its number in this lab.
    pub id: HostId,
    /// Hardware addresses.
    pub macs: Vec<MacAddr>,
    /// SMBIOS UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// What it calls itself (option 12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its last address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// As iPXE reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// As iPXE reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// As iPXE reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// As iPXE reports it, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// First packet ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// Last packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// How far it had come.
    pub last_stage: Stage,
}

/// A host's boot epoch: begun when its script, or the root-path, was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EpochRecord {
    /// The machine.
    pub host: HostId,
    /// Tells this epoch from the host's others.
    pub id: u64,
    /// The disk that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Name>,
    /// Where it writes, if this host's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<Writes>,
    /// The first firmware login has yet to make the overlay new.
    pub fresh: bool,
    /// No firmware logs in to the disk: the system's first login makes the overlay new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_system: bool,
    /// The installation that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<InstallRecord>,
}

/// An installation under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstallRecord {
    /// What is installed.
    pub profile: Name,
    /// What follows.
    pub then: InstallThen,
    /// Opens the answer file; a secret.
    pub token: String,
    /// The machine's network gives it to those without an entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unassigned: bool,
    /// The installer has proven to run.
    pub consumed: bool,
}

impl fmt::Debug for InstallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallRecord")
            .field("profile", &self.profile)
            .field("then", &self.then)
            .field("token", &"(secret)")
            .field("consumed", &self.consumed)
            .finish()
    }
}

/// An interface on which a person let this lab serve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfirmedInterface {
    /// Its hardware address.
    pub mac: MacAddr,
    /// The computer: [`this_machine`] there.
    pub machine: String,
}

/// A job of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its number.
    pub id: u64,
    /// Its state, as `jobs` wrote it.
    pub json: String,
}

/// Names this computer, so that a copied lab asks again: a hash of `/etc/machine-id`, which itself is not for other eyes
/// (machine-id(5)), else of the host's name.
#[must_use]
pub fn this_machine() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = match id.trim() {
        "" | "uninitialized" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        id => id.to_owned(),
    };
    let mut hasher = blake3::Hasher::new_derive_key("bootyard lab 2026 confirmed interface machine");
    hasher.update(id.as_bytes());
    hasher.finalize().to_hex().chars().take(32).collect()
}
