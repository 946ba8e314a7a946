//! What an explanation consists of: the links of a machine's boot, each with what it is given and the setting that decides.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Arch;
use crate::api::ClientKind;
use crate::net::MacAddr;

/// A link of the chain, in the order of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// The firmware asks for an address and for what to boot.
    Firmware,
    /// The firmware fetches its boot file.
    BootFile,
    /// iPXE asks again.
    Ipxe,
    /// iPXE fetches its script.
    Script,
    /// iPXE fetches kernel and initrds.
    Kernel,
    /// The machine logs in to its disk.
    Disk,
    /// What runs in the end.
    System,
}

impl Link {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::BootFile => "boot-file",
            Self::Ipxe => "ipxe",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Disk => "disk",
            Self::System => "system",
        }
    }
}

/// The kind of entry in lab.toml that a setting is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `[network]`.
    Network,
    /// `[[firmware]]`.
    Firmware,
    /// `[[profile]]`.
    Profile,
    /// `[[disk]]`.
    Disk,
    /// `[[host]]`.
    Host,
}

/// A setting of lab.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setting {
    /// The kind of its entry.
    pub part: Part,
    /// Which of that kind, from 0.
    pub index: usize,
    /// What the entry is called: a name, a MAC, an interface, a file.
    pub entry: String,
    /// Its key.
    pub key: String,
    /// Its line, from 1; where the key is not there, its entry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The key is not there: its default holds. `None` while nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<bool>,
}

/// A value that a link is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// `next-server`, `67 boot file`, `target` …
    pub name: String,
    /// As it is given.
    pub value: String,
}

impl Value {
    /// A named value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl std::fmt::Display) -> Self {
        Self { name: name.into(), value: value.to_string() }
    }
}

/// One link of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explained {
    /// Which.
    pub stage: Link,
    /// The protocol by which it is given; empty where there is none.
    pub over: String,
    /// What it is given in a word or two: an address, a file, a disk.
    pub brief: String,
    /// What it is given: a sentence, or the text of the script.
    pub gets: String,
    /// What decides.
    pub because: String,
    /// The setting that decides, where it is one of lab.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<Setting>,
    /// What it is given, value by value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    /// The boot does not get beyond this.
    #[serde(default)]
    pub ends: bool,
}

/// The path of a machine, real or not, through its boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// Its hardware address; `None`: any machine without an entry.
    #[serde(default)]
    pub mac: Option<MacAddr>,
    /// Its name in this lab.
    #[serde(default)]
    pub name: Option<String>,
    /// The architecture that it names.
    pub arch: Arch,
    /// Which program asks first.
    pub client: ClientKind,
    /// The interface on which it is answered.
    pub interface: String,
    /// Our address there.
    pub server: Ipv4Addr,
    /// `dhcp` or `proxy`.
    pub mode: String,
    /// It is so now; otherwise it would be so if the lab were served.
    pub serving: bool,
    /// The links, in order.
    pub stages: Vec<Explained>,
}
