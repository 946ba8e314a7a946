//! `decide`: pure, and the only place where it is settled what a client gets.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::script::percent_encode;
use super::{Arch, Plan, PlanNetwork};
use crate::api::ClientKind;
use crate::lab::{Boot, FirmwareRule, IscsiBoot, IscsiVia, Mode};
use crate::lang::{fill, sentence};
use crate::net::MacAddr;

/// What is known of a client that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    /// Hardware address.
    pub mac: MacAddr,
    /// SMBIOS UUID, unless it is a well-known bogus one.
    pub uuid: Option<Uuid>,
    /// Architecture; a BIOS where the client names none.
    pub arch: Option<Arch>,
    /// Which program asks.
    pub client: ClientKind,
}

/// A value with the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision<T> {
    /// What.
    pub value: T,
    /// Why.
    pub because: Because,
}

/// Why a client gets what it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum Because {
    /// Its `[[host]]` entry says so.
    HostEntry {
        /// Name or MAC of the entry.
        host: String,
    },
    /// `unknown` of the network, or its default by mode.
    Unknown {
        /// The network's interface.
        interface: String,
    },
}

impl Because {
    /// It is what machines without an entry are given.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HostEntry { host } => f.write_str(&fill(sentence("because", "host"), &[("host", host)])),
            Self::Unknown { interface } => {
                f.write_str(&fill(sentence("because", "unknown"), &[("interface", interface)]))
            }
        }
    }
}

/// What a client is given at this step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "give", rename_all = "kebab-case")]
pub enum BootFile {
    /// No boot information (an operating system asks for an address).
    None,
    /// Nothing at all: it is to be ignored.
    Silence,
    /// A file over TFTP.
    Tftp {
        /// Its name.
        file: String,
    },
    /// A URI, for UEFI HTTP Boot.
    Http {
        /// The URI.
        url: String,
    },
    /// The script's URL, for iPXE and gPXE.
    Script {
        /// The URL.
        url: String,
    },
    /// `filename ""` and option 17.
    RootPath {
        /// The root-path, RFC 4173.
        root_path: String,
        /// The initiator name that we issue (option 203).
        initiator: String,
    },
    /// Its architecture has no boot file here.
    NoFirmware {
        /// The architecture.
        arch: Arch,
    },
}

/// A decision about a client: the assignment, and what that means at this step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// What the machine gets in the end.
    pub boot: Boot,
    /// What it gets now.
    pub file: BootFile,
    /// A boot file that lab.toml names for it and that its firmware cannot run: it is not given, whatever may come of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<Unfit>,
}

/// A boot file for another kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfit {
    /// Its name.
    pub file: String,
    /// What runs it.
    pub made_for: Arch,
    /// What the machine is.
    pub arch: Arch,
}

/// What this client gets from this network's server, and why.
#[must_use]
pub fn decide(plan: &Plan, network: &PlanNetwork, facts: &ClientFacts) -> Decision<Given> {
    let Decision { value: boot, because } = assignment(plan, network, facts.mac, facts.uuid);
    let file = file(plan, network, facts, &boot);
    let asks = matches!(file, BootFile::Tftp { .. } | BootFile::Http { .. } | BootFile::NoFirmware { .. });
    let unfit = named(plan, facts).filter(|_| asks).and_then(|name| unfit(plan, facts, &name));
    Decision { value: Given { boot, file, unfit }, because }
}

/// What the machine gets in the end, whatever program asks.
#[must_use]
pub fn assignment(plan: &Plan, network: &PlanNetwork, mac: MacAddr, uuid: Option<Uuid>) -> Decision<Boot> {
    if let Some(boot) = plan.self_test.as_ref().filter(|_| mac == crate::net::SELF_TEST) {
        return Decision { value: boot.clone(), because: Because::HostEntry { host: "the self-test".to_owned() } };
    }
    let host = plan.host(mac, uuid);
    if let Some(host) = host
        && let Some(boot) = &host.boot
    {
        let shown = host.name.as_ref().map_or_else(|| mac.to_string(), ToString::to_string);
        return Decision { value: boot.clone(), because: Because::HostEntry { host: shown } };
    }
    let interface = network.interface.clone();
    Decision { value: plan.unknown(network), because: Because::Unknown { interface } }
}

/// `http://ADDRESS[:PORT]` of our HTTP server on this network.
#[must_use]
pub fn base_url(plan: &Plan, server: Ipv4Addr) -> String {
    match plan.lab.ports.http {
        80 => format!("http://{server}"),
        port => format!("http://{}", SocketAddrV4::new(server, port)),
    }
}

/// `https://ADDRESS[:PORT]`, likewise.
fn secure_url(plan: &Plan, server: Ipv4Addr) -> String {
    match plan.lab.ports.https {
        443 => format!("https://{server}"),
        port => format!("https://{}", SocketAddrV4::new(server, port)),
    }
}

/// The initiator name that we issue to a machine: stable across boots, different for each.
#[must_use]
pub fn initiator_name(mac: MacAddr) -> String {
    format!("iqn.2026-11.org.bootyard:host.{}", mac.hyphenated())
}

/// RFC 4173 section 5: `iscsi:<server>:<protocol>:<port>:<LUN>:<target>`; LUN 0 and port 3260 are the defaults.
#[must_use]
pub fn root_path(plan: &Plan, server: Ipv4Addr, iscsi: &IscsiBoot) -> Option<String> {
    let disk = plan.lab.disk(&iscsi.disk)?;
    let port = match plan.lab.ports.iscsi {
        3260 => String::new(),
        port => port.to_string(),
    };
    Some(format!("iscsi:{server}::{port}:0:{}", disk.iqn))
}

fn file(plan: &Plan, network: &PlanNetwork, facts: &ClientFacts, boot: &Boot) -> BootFile {
    let server = network.address.address;
    match (facts.client, boot) {
        // In dhcp mode nobody else gives an ignored machine its address; a booted system still gets one.
        (ClientKind::Os, _) if network.mode == Mode::Dhcp => BootFile::None,
        (ClientKind::Os, _) | (_, Boot::Ignore) => BootFile::Silence,
        // Beside another server there is no root-path answer: iPXE drops a ProxyDHCP offer without a file.
        (ClientKind::Ipxe | ClientKind::Gpxe, Boot::Iscsi(iscsi))
            if iscsi.via == IscsiVia::RootPath && iscsi.profile.is_none() && network.mode != Mode::Proxy =>
        {
            match root_path(plan, server, iscsi) {
                Some(root_path) => BootFile::RootPath { root_path, initiator: initiator_name(facts.mac) },
                None => script(plan, server, facts.mac),
            }
        }
        (ClientKind::Ipxe | ClientKind::Gpxe, _) => script(plan, server, facts.mac),
        (ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Bootp, _) => firmware(plan, server, facts),
    }
}

fn script(plan: &Plan, server: Ipv4Addr, mac: MacAddr) -> BootFile {
    BootFile::Script { url: format!("{}/boot/{}/boot.ipxe", base_url(plan, server), mac.hyphenated()) }
}

fn firmware(plan: &Plan, server: Ipv4Addr, facts: &ClientFacts) -> BootFile {
    let arch = facts.arch.unwrap_or(Arch::Bios);
    let wanted = named(plan, facts)
        .filter(|name| unfit(plan, facts, name).is_none())
        .or_else(|| plan.firmware.get(&arch.without_http()).map(|f| f.name.clone()));
    match wanted {
        None => BootFile::NoFirmware { arch },
        Some(file) if arch.is_http() || facts.client == ClientKind::HttpBoot => {
            let path = file.split('/').map(percent_encode).collect::<Vec<_>>().join("/");
            let secure = rule(plan, facts.mac, arch).is_some_and(|rule| rule.https);
            let base = if secure { secure_url(plan, server) } else { base_url(plan, server) };
            BootFile::Http { url: format!("{base}/firmware/{path}") }
        }
        Some(file) => BootFile::Tftp { file },
    }
}

/// The boot file that lab.toml names for this machine, if it is there.
pub(super) fn named(plan: &Plan, facts: &ClientFacts) -> Option<String> {
    let host = plan.host(facts.mac, facts.uuid).and_then(|h| h.firmware.clone());
    let name = host.or_else(|| Some(rule(plan, facts.mac, facts.arch.unwrap_or(Arch::Bios))?.file.clone()));
    name.filter(|name| plan.files.contains_key(name))
}

/// Whether a machine's firmware cannot run this boot file: it would be loaded, fail without a word, and be asked for again.
pub(super) fn unfit(plan: &Plan, facts: &ClientFacts, name: &str) -> Option<Unfit> {
    let (made_for, arch) = (*plan.runs_on.get(name)?, facts.arch?.without_http());
    (made_for != arch).then(|| Unfit { file: name.to_owned(), made_for, arch })
}

/// The most specific `[[firmware]]` rule: the longest MAC prefix, then one that names the architecture.
pub(super) fn rule(plan: &Plan, mac: MacAddr, arch: Arch) -> Option<&FirmwareRule> {
    let fits = |r: &&FirmwareRule| {
        r.arch.is_none_or(|a| a == arch) && r.mac_prefix.as_ref().is_none_or(|p| mac.0.starts_with(p))
    };
    plan.lab.firmware.iter().filter(fits).max_by_key(|r| (r.mac_prefix.as_ref().map_or(0, Vec::len), r.arch.is_some()))
}
