//! The plan: all that bears on what a client is given, as of one state of lab.toml and of the network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::Arch;
use crate::lab::{Boot, Host, Lab, Mode, Name, Unknown};
use crate::net::{Ipv4Cidr, MacAddr};

/// See the module's text. Made by the engine whenever lab.toml or a network's mode changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// lab.toml, checked.
    pub lab: Arc<Lab>,
    /// The networks in service, in the order of `lab.networks`.
    pub networks: Vec<PlanNetwork>,
    /// The boot file of each architecture, without HTTP variants; missing where none was found.
    pub firmware: BTreeMap<Arch, FirmwareFile>,
    /// Every other boot file by the name under which it is served: `firmware/` and the system's.
    pub files: BTreeMap<String, PathBuf>,
    /// What runs a boot file, by its name, where that is known.
    pub runs_on: BTreeMap<String, Arch>,
    /// What the machine of the self-test gets while that runs.
    pub self_test: Option<Boot>,
}

/// A network in service.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanNetwork {
    /// Index into `lab.networks`.
    pub index: usize,
    /// Interface name.
    pub interface: String,
    /// The operating system's number of the interface.
    pub ifindex: u32,
    /// Hardware address of the interface.
    pub mac: MacAddr,
    /// Our address there: next-server, server identifier, and the host of every URL.
    pub address: Ipv4Cidr,
    /// The mode in force: never [`Mode::Auto`].
    pub mode: Mode,
    /// Another server answers here: new offers are held back in `dhcp` mode without `force`.
    pub foreign: bool,
}

/// A boot file that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareFile {
    /// Name under which TFTP and HTTP serve it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

impl Plan {
    /// The entry of lab.toml for a machine: `uuid` decides among sharers of one MAC, else the MAC alone.
    #[must_use]
    pub fn host(&self, mac: MacAddr, uuid: Option<uuid::Uuid>) -> Option<&Host> {
        let of_mac = || self.lab.hosts.iter().filter(|h| h.macs.contains(&mac));
        of_mac().find(|h| h.uuid.is_some() && h.uuid == uuid).or_else(|| of_mac().find(|h| h.uuid.is_none())).or_else(
            || match uuid {
                // A client that names no UUID (an operating system's DHCP) is a lone owner of the MAC all the same.
                None if of_mac().count() == 1 => of_mac().next(),
                _ => None,
            },
        )
    }

    /// The network in which a client with this address is: its own, or behind a relay in one of its subnets.
    #[must_use]
    pub fn network_of(&self, ip: Ipv4Addr) -> Option<&PlanNetwork> {
        let behind_relay = |network: &&PlanNetwork| {
            let configured = self.lab.networks.get(network.index);
            configured.is_some_and(|n| n.subnets.iter().any(|s| s.subnet.contains(ip)))
        };
        let direct = self.networks.iter().find(|network| network.address.contains(ip));
        direct.or_else(|| self.networks.iter().find(behind_relay))
    }

    /// The profile or disk names that `boot` needs and that lab.toml lacks.
    #[must_use]
    pub fn missing(&self, boot: &Boot) -> Option<Name> {
        match boot {
            Boot::Iscsi(i) if self.lab.disk(&i.disk).is_none() => Some(i.disk.clone()),
            Boot::Iscsi(i) => i.profile.clone().filter(|p| self.lab.profile(p).is_none()),
            Boot::Install(i) if self.lab.profile(&i.profile).is_none() => Some(i.profile.clone()),
            _ => None,
        }
    }

    /// The profile that `boot` starts and that is not made for this architecture.
    #[must_use]
    pub fn unfit(&self, boot: &Boot, arch: Option<Arch>) -> Option<Name> {
        let name = match boot {
            Boot::Install(install) => &install.profile,
            Boot::Iscsi(iscsi) => iscsi.profile.as_ref()?,
            _ => return None,
        };
        let made_for = &self.lab.profile(name)?.arch;
        let arch = arch?.without_http();
        let fits = made_for.is_empty() || made_for.iter().any(|a| a.without_http() == arch);
        (!fits).then(|| name.clone())
    }

    /// What a machine without an assignment gets on this network.
    #[must_use]
    pub fn unknown(&self, network: &PlanNetwork) -> Boot {
        match self.lab.networks.get(network.index).map(|n| &n.unknown) {
            Some(Unknown::Boot(boot)) => boot.clone(),
            _ if network.mode == Mode::Proxy => Boot::Ignore,
            _ => Boot::Wait,
        }
    }
}
