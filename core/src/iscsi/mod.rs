//! The iSCSI target (RFC 7143), written for this project.
//!
//! [`wire`] is bytes, [`machine`] one connection, [`scsi`] the logical unit, [`service`] sockets and threads: the target has its own, so
//! that a slow disk never delays a DHCP reply.
//!
//! [`Gate`] decides who may log in to what; the engine implements it, so this module knows neither hosts nor labs. A disk is a
//! [`crate::disks::BlockDevice`].

pub mod machine;
pub mod scsi;
pub mod service;
pub mod wire;

use std::net::{IpAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;

use crate::api::Who;
use crate::disks::BlockDevice;
use crate::lab::Chap;

pub use self::service::{Config, Service, SessionInfo, start};

/// A login as far as it has come when access is decided: at its first PDU with an initiator name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// `InitiatorName`.
    pub initiator: String,
    /// `TargetName`, in lower case.
    pub target: String,
    /// Source address.
    pub peer: IpAddr,
    /// Looks like iPXE's or a ROM's initiator, not an operating system's.
    pub firmware: bool,
}

/// Access to a disk.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The machine, for events.
    pub who: Who,
    /// Name of the disk, for events.
    pub disk: String,
    /// Scope of session reinstatement: the host or the foreign initiator. Sessions of the same scope, initiator and ISID replace
    /// each other; those of different scopes never do.
    pub scope: String,
    /// The boot epoch, where the client is a machine that we know: its sessions of an earlier one are dead, though nobody closed them.
    pub boot: Option<u64>,
    /// Must be passed before anything else is told.
    pub chap: Option<Chap>,
    /// Serial number for VPD 0x80 and 0x83: stable for this host and disk, different from every other's.
    pub serial: String,
    /// A removable medium.
    pub removable: bool,
    /// The file in which the unit keeps what must outlive a restart: reservations with APTPL, a sanitize under way. `None`: it
    /// offers neither.
    pub memory: Option<PathBuf>,
}

/// Why a login was refused: the status that the initiator gets, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// RFC 7143 11.13.5: class in the high byte, detail in the low one: 0x0201, 0x0202, 0x0203, 0x0301, 0x0302.
    pub status: u16,
    /// What was wrong and what to do.
    pub reason: String,
    /// Where the target is instead, for the statuses 0x0101 and 0x0102.
    pub redirect: Option<SocketAddrV4>,
}

impl Refusal {
    /// A refusal with this status, for this reason.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), redirect: None }
    }

    /// "Target moved temporarily": log in there instead, and ask here again the next time.
    #[must_use]
    pub fn moved(to: SocketAddrV4) -> Self {
        Self { status: 0x0101, reason: format!("sent on to {to}, as lab.toml says"), redirect: Some(to) }
    }
}

/// Decides who may log in to what.
pub trait Gate: Send + Sync + 'static {
    /// Called at the first PDU of a normal session.
    ///
    /// # Errors
    /// [`Refusal`].
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal>;

    /// Opens the disk for a session whose login succeeded (CHAP included). Called from the connection's own thread: it may block.
    /// The device is closed when the last clone of the `Arc` is dropped.
    ///
    /// # Errors
    /// [`Refusal`], for a missing image, a lack of space, an image in use.
    fn open(&self, login: &LoginRequest, grant: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal>;

    /// The targets that this peer may see, for SendTargets.
    fn targets(&self, initiator: &str, peer: IpAddr) -> Vec<String>;
}
