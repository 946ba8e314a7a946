//! `[[disk]]`.

use std::fmt;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Name, Secret};
use crate::lab::derived_iqn;
use crate::net::Ipv4Cidr;

/// Where a disk's writes go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writes {
    /// A private overlay for each host, kept.
    #[default]
    Keep,
    /// A private overlay for each host, new at each boot.
    Fresh,
    /// Into the image itself, one host at a time.
    Image,
}

impl fmt::Display for Writes {
    /// The word of lab.toml.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Fresh => "fresh",
            Self::Image => "image",
        })
    }
}

/// CHAP of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chap {
    /// The initiator's name.
    pub user: String,
    /// Its secret.
    pub secret: Secret,
    /// Mutual CHAP: our name and secret.
    pub mutual: Option<(String, Secret)>,
}

/// Who may log in besides the hosts assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// From this network (a single address is a /32).
    Net(Ipv4Cidr),
    /// Initiator names that begin so: `iqn.`, `eui.` or `naa.`.
    Initiator(String),
}

/// `[[disk]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Name.
    pub name: Name,
    /// Image, below `disks/` or absolute.
    pub image: PathBuf,
    /// Target name; always set, derived from the name by default.
    pub iqn: String,
    /// Bytes that machines see, a multiple of 512: at least those of the image, which it extends by zeroes. `None`: the image's.
    pub size: Option<u64>,
    /// Where writes go.
    pub writes: Writes,
    /// CHAP.
    pub chap: Option<Chap>,
    /// Who may log in besides the hosts assigned.
    pub allow: Vec<Allow>,
    /// No writes at all.
    pub readonly: bool,
    /// A removable medium.
    pub removable: bool,
    /// Whoever logs in is sent there: the disk has moved to another target.
    pub redirect: Option<SocketAddrV4>,
}

impl Disk {
    /// A disk of this image with the name's own target, and all else as it is where lab.toml says nothing.
    #[must_use]
    pub fn new(name: Name, image: PathBuf, writes: Writes) -> Self {
        Self {
            iqn: derived_iqn(&name),
            name,
            image,
            size: None,
            writes,
            chap: None,
            allow: Vec::new(),
            readonly: false,
            removable: false,
            redirect: None,
        }
    }
}
