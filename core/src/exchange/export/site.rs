//! The lab as DHCP servers see it: subnets, machines, and what each kind of client is given.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Export, ExportError, ExportFormat, Subject};
use crate::api::ClientKind;
use crate::boot::script::percent_encode;
use crate::boot::{BootFile, ClientFacts, Plan, PlanNetwork, decide, initiator_name};
use crate::lab::{Boot, Host, IscsiVia, Lease, Mode, Network, duration_text};
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// A MAC address that no machine has: what strangers are given is asked for it.
const STRANGER: MacAddr = MacAddr([0x02, 0xb0, 0x07, 0xff, 0xff, 0xfe]);

/// The architectures for which firmware asks, with option 93's number.
const ARCHES: [u16; 11] = [0, 6, 7, 9, 10, 11, 15, 16, 18, 19, 20];

/// A subnet.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The network's interface, and whether this is its own subnet.
    pub(super) interface: String,
    pub(super) own: bool,
    pub(super) subnet: Ipv4Cidr,
    pub(super) server: Ipv4Addr,
    pub(super) ranges: Vec<Ipv4Range>,
    pub(super) router: Option<Ipv4Addr>,
    pub(super) dns: Vec<Ipv4Addr>,
    pub(super) domain: Option<String>,
    pub(super) lease: Lease,
    pub(super) proxy: bool,
}

/// A boot file for firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) arch: u16,
    pub(super) http: bool,
    pub(super) name: String,
}

/// What iPXE and gPXE are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Script {
    /// A script's URL, without its last part: `http://…/boot/MAC/boot`.
    Url(String),
    /// Root-path and initiator's name.
    Root(String, String),
    /// Nothing.
    None,
}

/// A machine with an entry.
#[derive(Debug, Clone)]
pub(super) struct Machine<'a> {
    pub(super) host: &'a Host,
    /// One of its MAC addresses; each has an entry of its own.
    pub(super) mac: MacAddr,
    /// A name that no other machine has: its own, else made of its MAC.
    pub(super) name: String,
    pub(super) boot: Boot,
    pub(super) script: Script,
    /// Its own boot files, where they differ from those of all.
    pub(super) files: Option<Vec<File>>,
    /// The address that it is reserved.
    pub(super) address: Option<Ipv4Addr>,
}

pub(super) struct Site<'a> {
    pub(super) subject: &'a Subject<'a>,
    /// No disk is told of by root-path alone.
    scripts_only: bool,
    pub(super) plan: Plan,
    pub(super) network: PlanNetwork,
    pub(super) scopes: Vec<Scope>,
    pub(super) machines: Vec<Machine<'a>>,
    /// What machines without an entry get.
    pub(super) unknown: Boot,
    pub(super) script: Script,
    pub(super) files: Vec<File>,
}

impl<'a> Site<'a> {
    pub(super) fn new(subject: &'a Subject<'a>, format: ExportFormat, out: &mut Export) -> Result<Self, ExportError> {
        let lab = subject.lab;
        let first = lab.networks.first().ok_or(ExportError::NoNetwork)?;
        let mut scopes = Vec::new();
        let mut networks = Vec::new();
        for (index, network) in lab.networks.iter().enumerate() {
            let told = subject.addresses.get(index).copied().flatten();
            let own = told.ok_or_else(|| ExportError::NoAddress(network.interface.clone()))?;
            let server = subject.server.unwrap_or(own.address);
            scopes.extend(of_network(subject, network, own, server));
            networks.push(PlanNetwork {
                index,
                interface: network.interface.clone(),
                ifindex: 0,
                mac: MacAddr::default(),
                address: Ipv4Cidr { address: server, prefix: own.prefix },
                // Where we would ask whether another server is there, the one that is exported gives the addresses.
                mode: if network.mode == Mode::Proxy { Mode::Proxy } else { Mode::Dhcp },
                foreign: false,
            });
        }
        if lab.networks.len() > 1 {
            let text = format!(
                "files and scripts are named as machines on {} reach them; on other networks the server's address there is needed",
                first.interface
            );
            out.notes.push(text);
        }
        let network = networks.first().cloned().ok_or(ExportError::NoNetwork)?;
        let plan = Plan {
            lab: Arc::new(lab.clone()),
            networks,
            firmware: subject.firmware.by_arch.clone(),
            files: subject.firmware.files.clone(),
            runs_on: subject.firmware.runs_on.clone(),
            self_test: None,
        };
        let unknown = plan.unknown(&network);
        let mut site = Self {
            subject,
            // Kea cannot take a file back that a class of everybody gives.
            scripts_only: format == ExportFormat::Kea,
            plan,
            network,
            scopes,
            machines: Vec::new(),
            unknown,
            script: Script::None,
            files: Vec::new(),
        };
        site.script = site.script_of(STRANGER, &site.unknown, false);
        site.files = site.files_of(STRANGER);
        let mut names: BTreeSet<String> = lab.hosts.iter().filter_map(|h| Some(h.name.as_ref()?.to_string())).collect();
        for host in &lab.hosts {
            let mut first = true;
            for mac in &host.macs {
                if let Some(other) = site.machines.iter().find(|m| m.mac == *mac) {
                    let who = host.name.as_ref().map_or_else(|| "an entry".to_owned(), ToString::to_string);
                    out.notes.push(format!(
                        "{who}: {mac} is another entry's, too, {}; servers tell machines by it alone, so the first entry holds",
                        other.name
                    ));
                    continue;
                }
                let boot = host.boot.clone().unwrap_or_else(|| site.unknown.clone());
                let files = site.files_of(*mac);
                let name = host.name.as_ref().map_or_else(|| format!("host-{}", mac.hyphenated()), ToString::to_string);
                let name = if first && host.name.is_some() { name } else { free(&mut names, &name) };
                site.machines.push(Machine {
                    host,
                    mac: *mac,
                    name,
                    script: site.script_of(*mac, &boot, host.boot.is_some()),
                    boot,
                    files: (files != site.files).then_some(files),
                    address: host.address.filter(|_| first),
                });
                first = false;
            }
        }
        Ok(site)
    }

    /// Another server gives all addresses, so that a machine can be left unanswered.
    pub(super) fn beside(&self) -> bool {
        self.scopes.iter().all(|s| s.proxy)
    }

    /// `http://ADDRESS[:PORT]` of the production server.
    pub(super) fn base(&self) -> String {
        crate::boot::base_url(&self.plan, self.network.address.address)
    }

    /// `own`: it is this machine's own. What everybody is given is a script: a root-path would come with one initiator's name for all, and
    /// no server takes it back for a machine that is given something else. Beside another server iPXE takes no root-path.
    fn script_of(&self, mac: MacAddr, boot: &Boot, own: bool) -> Script {
        let by_root_path = own && !self.scripts_only && !self.scopes.iter().any(|s| s.proxy);
        let folder = if mac == STRANGER { "default".to_owned() } else { mac.hyphenated() };
        match boot {
            Boot::Ignore => Script::None,
            Boot::Iscsi(iscsi) if iscsi.via == IscsiVia::RootPath && iscsi.profile.is_none() && by_root_path => {
                match self.root_path(iscsi) {
                    Some(path) => Script::Root(path, initiator_name(mac)),
                    None => Script::None,
                }
            }
            _ => Script::Url(format!("{}/boot/{folder}/boot", self.base())),
        }
    }

    /// The root-path of a disk, with the LUN of the target that will serve it.
    pub(super) fn root_path(&self, iscsi: &crate::lab::IscsiBoot) -> Option<String> {
        let disk = self.plan.lab.disk(&iscsi.disk)?;
        let lun = self.subject.lun;
        let port = self.plan.lab.ports.iscsi;
        let (server, port) = match disk.redirect {
            Some(to) => (*to.ip(), to.port()),
            None => (self.network.address.address, port),
        };
        let port = if port == 3260 { String::new() } else { port.to_string() };
        let lun = if disk.redirect.is_some() { 0 } else { lun };
        Some(format!("iscsi:{server}::{port}:{lun:x}:{}", disk.iqn))
    }

    /// What firmware of each architecture is given.
    fn files_of(&self, mac: MacAddr) -> Vec<File> {
        let ask = |arch: u16| {
            let http = (15..=20).contains(&arch);
            let client = if http { ClientKind::HttpBoot } else { ClientKind::PxeRom };
            let facts = ClientFacts { mac, uuid: None, arch: crate::boot::Arch::from_code(arch), client };
            match decide(&self.plan, &self.network, &facts).value.file {
                BootFile::Tftp { file } => Some(File { arch, http: false, name: file }),
                BootFile::Http { url } => Some(File { arch, http: true, name: url }),
                _ => None,
            }
        };
        ARCHES.into_iter().filter_map(ask).collect()
    }

    /// The boot files go with it: into `tftp/`, and into `http/firmware/` for UEFI HTTP Boot.
    pub(super) fn firmware(&self, out: &mut Export) {
        for file in self.all_files() {
            // A URL ends in the name as a web server reads it.
            let mut served = self.plan.files.iter();
            let found = match file.name.split_once("/firmware/").filter(|_| file.http) {
                Some((_, path)) => served.find(|(name, _)| url_path(name) == path),
                None => self.plan.files.get_key_value(&file.name),
            };
            let Some((name, from)) = found else { continue };
            let to = std::path::Path::new(if file.http { "http/firmware" } else { "tftp" }).join(name);
            if !out.copies.iter().any(|(_, t)| *t == to) {
                out.copies.push((from.clone(), to));
            }
        }
    }

    /// The boot files of all, then those of single machines.
    pub(super) fn all_files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().chain(self.machines.iter().flat_map(|m| m.files.iter().flatten()))
    }

    pub(super) fn notes(&self, format: ExportFormat, out: &mut Export) {
        let server = self.network.address.address;
        if format == ExportFormat::Dnsmasq {
            out.notes.push(format!(
                "dnsmasq serves tftp/ by itself, from {}: put the folder there, or change `tftp-root`",
                self.subject.place.join("tftp").display()
            ));
            for scope in self.scopes.iter().filter(|s| !s.proxy && s.lease.max > s.lease.default) {
                out.notes.push(format!(
                    "{}: a lease is {} for every machine; dnsmasq knows no longer maximum ({} here) for those that ask for more",
                    scope.subnet,
                    duration_text(scope.lease.default),
                    duration_text(scope.lease.max)
                ));
            }
            if self.scopes.iter().any(|s| s.proxy) {
                let mut names: Vec<&str> = self.all_files().filter(|f| !f.http).map(|f| f.name.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names.into_iter().filter(|n| !n.contains('.')) {
                    out.notes.push(format!(
                        "{name}: beside another server dnsmasq has machines ask for {name}.0, because the name has no dot: copy the file to \
                         that name, too"
                    ));
                }
            }
            let named = self.machines.iter().filter(|m| m.host.name.is_some());
            for machine in named.filter(|m| super::dnsmasq::is_own_word(&m.name)) {
                out.notes.push(format!(
                    "{}: dnsmasq would take that name for a lease time or a word of its own, so it gives the machine none",
                    machine.name
                ));
            }
        } else {
            out.notes.push(format!("a TFTP server at {server} has to serve tftp/"));
        }
        out.notes.push(format!("a web server at {} has to serve http/", self.base()));
        if let Some((base, _)) =
            self.all_files().find(|f| f.name.starts_with("https://")).and_then(|f| f.name.split_once("/firmware/"))
        {
            out.notes.push(format!(
                "a web server at {base} has to serve http/firmware/, with a certificate that the machines' firmware trusts"
            ));
        }
        if self.scopes.iter().any(|s| s.proxy) && format != ExportFormat::Dnsmasq {
            out.notes.push("this server gives addresses: the lab is in proxy mode, beside another server, which dnsmasq alone can do".to_owned());
        }
        if self.subject.lab.firmware.iter().any(|r| r.mac_prefix.is_some()) {
            out.notes.push("[[firmware]] rules by `mac` hold for machines with an entry only".to_owned());
        }
        let installs = self.machines.iter().any(|m| matches!(m.boot, Boot::Install(_)))
            || matches!(self.unknown, Boot::Install(_));
        if installs {
            out.notes.push(
                "nobody marks an installation as done: scripts that install ask for the key I, and boot the local disk without it".to_owned(),
            );
        }
        if self.machines.iter().any(|m| m.boot == Boot::Ignore) || self.unknown == Boot::Ignore {
            let told = match format == ExportFormat::Dnsmasq && self.beside() {
                true => "machines that are ignored are not answered",
                false => "machines that are ignored get an address, and nothing to boot",
            };
            out.notes.push(told.to_owned());
        }
        if self.subject.lab.hosts.iter().any(|h| h.uuid.is_some()) {
            out.notes.push(
                "machines that share a MAC address cannot be told apart by UUID: the first entry of each holds"
                    .to_owned(),
            );
        }
        let disks = self.machines.iter().filter_map(|m| m.boot.any_disk()).next().is_some();
        if disks && self.subject.lun == 0 {
            out.notes
                .push("root-paths name LUN 0; for tgt, whose disks begin with LUN 1, export with --lun 1".to_owned());
        }
    }
}

/// A boot file's name as the path of its URL has it: see [`decide`].
fn url_path(name: &str) -> String {
    name.split('/').map(percent_encode).collect::<Vec<_>>().join("/")
}

fn of_network(subject: &Subject<'_>, network: &Network, own: Ipv4Cidr, server: Ipv4Addr) -> Vec<Scope> {
    let proxy = network.mode == Mode::Proxy;
    let plain = Ipv4Cidr { address: own.network(), prefix: own.prefix };
    let ranges = if network.ranges.is_empty() { inner(plain) } else { network.ranges.clone() };
    let mut never: Vec<Ipv4Addr> = vec![own.address, server];
    never.extend(network.router);
    never.extend(&network.dns);
    never.extend(subject.lab.hosts.iter().filter_map(|h| h.address));
    let first = Scope {
        interface: network.interface.clone(),
        own: true,
        subnet: plain,
        server,
        ranges: without(&ranges, &never),
        router: network.router,
        dns: network.dns.clone(),
        domain: network.domain.clone(),
        lease: network.lease,
        proxy,
    };
    let others = network.subnets.iter().map(|s| {
        let mut never = never.clone();
        never.extend(s.router);
        Scope {
            interface: network.interface.clone(),
            own: false,
            subnet: s.subnet,
            server,
            ranges: without(&s.ranges, &never),
            router: s.router,
            dns: if s.dns.is_empty() { network.dns.clone() } else { s.dns.clone() },
            domain: s.domain.clone().or_else(|| network.domain.clone()),
            lease: s.lease.unwrap_or(network.lease),
            proxy,
        }
    });
    std::iter::once(first).chain(others).collect()
}

/// The name, with a number where a machine has it already.
fn free(names: &mut BTreeSet<String>, name: &str) -> String {
    let numbered = (2u32..).map(|n| format!("{name}-{n}"));
    let free = std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|n| !names.contains(n))
        .unwrap_or_else(|| name.to_owned());
    names.insert(free.clone());
    free
}

/// All addresses of a subnet that machines can have.
fn inner(net: Ipv4Cidr) -> Vec<Ipv4Range> {
    let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
    let (first, last) = if net.prefix < 31 { (first.saturating_add(1), last.saturating_sub(1)) } else { (first, last) };
    Ipv4Range::new(first.into(), last.into()).into_iter().collect()
}

/// Ranges without some addresses: dhcpd would give a reserved one to others.
fn without(ranges: &[Ipv4Range], never: &[Ipv4Addr]) -> Vec<Ipv4Range> {
    let mut out = ranges.to_vec();
    for address in never {
        out = out
            .into_iter()
            .flat_map(|range| {
                if !range.contains(*address) {
                    return vec![range];
                }
                let at = u32::from(*address);
                let below = at.checked_sub(1).and_then(|n| Ipv4Range::new(range.first(), n.into()).ok());
                let above = at.checked_add(1).and_then(|n| Ipv4Range::new(n.into(), range.last()).ok());
                below.into_iter().chain(above).collect()
            })
            .collect();
    }
    out
}
