//! What a machine would be given, stage by stage, and which setting decides: the same decisions as when it asks, told one after the
//! other.

use std::fmt::Write as _;
use std::sync::Arc;

use super::chain::{Explained, Link, Part, Setting, Value};
use super::decide::{named, rule, unfit};
use super::script::{
    Dialect, ScriptFor, fetches_answers, host_path, hypervisor_efi_path, hypervisor_path, initrd_path, kernel_args,
    kernel_path, profile_of, render,
};
use super::xen::{no_hypervisor_for, starts_xen_efi};
use super::{Arch, Because, BootFile, ClientFacts, Plan, PlanNetwork, base_url, decide, initiator_name};
use crate::api::ClientKind;
use crate::lab::{Boot, Disk, InstallThen, IscsiArgs, IscsiBoot, Lab, Mode, Profile, Secret, Writes};
use crate::lang::{Param, fill, sentence};

/// What stands for a secret.
const MASK: &str = "(secret)";
/// What stands for the token of an answer file.
const TOKEN: &str = "TOKEN";

/// The sentence of this id.
fn say(id: &str, params: &[Param<'_>]) -> String {
    fill(sentence("explain", id), params)
}

/// What decides: a sentence, and the setting.
type Why = (String, Option<Setting>);

/// What this machine would be given on this network. Secrets are masked.
#[must_use]
pub fn explain(plan: &Plan, network: &PlanNetwork, facts: &ClientFacts) -> Vec<Explained> {
    Teller { plan: &masked(plan), network, facts }.tell()
}

struct Teller<'a> {
    plan: &'a Plan,
    network: &'a PlanNetwork,
    facts: &'a ClientFacts,
}

impl Teller<'_> {
    fn tell(&self) -> Vec<Explained> {
        let decision = decide(self.plan, self.network, self.facts);
        let why = (assigned(&decision.because), self.assigned_by());
        let is_ipxe = matches!(self.facts.client, ClientKind::Ipxe | ClientKind::Gpxe);
        let first = if is_ipxe { Link::Ipxe } else { Link::Firmware };
        if matches!(decision.value.file, BootFile::Silence) {
            let ignored = || say("ignored", &[]);
            return vec![
                Explained { ends: true, ..link(first, "DHCP", ignored(), say("no-answer", &[]), &why) },
                Explained { ends: true, ..link(Link::System, "", ignored(), say("left-alone", &[]), &why) },
            ];
        }
        let mut out = Vec::new();
        if !is_ipxe {
            out.push(self.offer(&decision.value.file));
            out.extend(self.boot_file(&decision.value.file));
            if matches!(decision.value.file, BootFile::NoFirmware { .. }) {
                return out;
            }
        }
        let ipxe = ClientFacts { client: self.speaker(), ..self.facts.clone() };
        let given = decide(self.plan, self.network, &ipxe).value;
        out.push(self.ipxe(&given.file, &why));
        if let BootFile::Script { url } = &given.file {
            out.push(self.script(url, &given.boot, &why));
        }
        if !out.last().is_some_and(|last| last.ends) {
            out.extend(self.kernel(&given.boot));
            out.extend(self.disk(&given.boot));
            out.push(self.system(&given.boot, &why));
        }
        out
    }

    /// What asks once the firmware has done its part.
    fn speaker(&self) -> ClientKind {
        if self.facts.client == ClientKind::Gpxe { ClientKind::Gpxe } else { ClientKind::Ipxe }
    }

    /// Where its assignment stands.
    fn assigned_by(&self) -> Option<Setting> {
        let host = self.plan.host(self.facts.mac, self.facts.uuid).filter(|host| host.boot.is_some());
        host.and_then(|_| self.of_host("boot")).or_else(|| self.of_network("unknown"))
    }

    fn of_host(&self, key: &str) -> Option<Setting> {
        let host = self.plan.host(self.facts.mac, self.facts.uuid)?;
        let index = self.plan.lab.hosts.iter().position(|h| std::ptr::eq(h, host))?;
        let entry = host.name.as_ref().map_or_else(|| self.facts.mac.to_string(), ToString::to_string);
        Some(setting(Part::Host, index, entry, key))
    }

    fn of_network(&self, key: &str) -> Option<Setting> {
        let network = self.plan.lab.networks.get(self.network.index)?;
        Some(setting(Part::Network, self.network.index, network.interface.clone(), key))
    }

    fn of_disk(&self, disk: &Disk, key: &str) -> Option<Setting> {
        let index = self.plan.lab.disks.iter().position(|d| d.name == disk.name)?;
        Some(setting(Part::Disk, index, disk.name.to_string(), key))
    }

    fn of_profile(&self, profile: &Profile, key: &str) -> Option<Setting> {
        let index = self.plan.lab.profiles.iter().position(|p| p.name == profile.name)?;
        Some(setting(Part::Profile, index, profile.name.to_string(), key))
    }

    fn of_rule(&self, key: &str) -> Option<Setting> {
        let rule = rule(self.plan, self.facts.mac, self.facts.arch.unwrap_or(Arch::Bios))?;
        let index = self.plan.lab.firmware.iter().position(|r| std::ptr::eq(r, rule))?;
        Some(setting(Part::Firmware, index, rule.file.clone(), key))
    }

    /// The address that it is given, and what decides.
    fn address(&self) -> (String, String, Why) {
        let entry = self.plan.host(self.facts.mac, self.facts.uuid);
        let configured = self.plan.lab.networks.get(self.network.index);
        match (self.network.mode, entry.and_then(|h| h.address)) {
            (Mode::Proxy, _) => {
                let why = (say("because-proxy", &[]), self.of_network("mode"));
                (say("address-elsewhere-brief", &[]), say("address-elsewhere", &[]), why)
            }
            (_, Some(address)) => {
                let why = (say("because-address", &[]), self.of_host("address"));
                (address.to_string(), say("address-fixed", &[("address", &address)]), why)
            }
            _ => {
                let ranges =
                    configured.map(|n| n.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
                let range = ranges.filter(|r| !r.is_empty());
                let why = say(if range.is_some() { "because-range" } else { "because-no-range" }, &[]);
                let from = range.unwrap_or_else(|| say("free-part", &[]));
                let brief = say("address-of-pool-brief", &[]);
                (brief, say("address-of-pool", &[("from", &from)]), (why, self.of_network("range")))
            }
        }
    }

    fn offer(&self, file: &BootFile) -> Explained {
        let (brief, address, why) = self.address();
        let server = self.network.address.address;
        let what = match file {
            BootFile::Tftp { file } => say("file-tftp", &[("file", file), ("server", &server)]),
            BootFile::Http { url } => say("file-http", &[("url", url)]),
            BootFile::NoFirmware { arch } => say("file-none-for", &[("arch", arch)]),
            BootFile::Script { url } => say("file-script", &[("url", url)]),
            BootFile::RootPath { root_path, .. } => say("file-root-path", &[("root", root_path)]),
            BootFile::None | BootFile::Silence => say("file-none", &[]),
        };
        let gets = say("both", &[("address", &address), ("file", &what)]);
        link(Link::Firmware, "DHCP", brief, gets, &why)
    }

    fn boot_file(&self, file: &BootFile) -> Option<Explained> {
        let arch = self.facts.arch.unwrap_or(Arch::Bios);
        let (over, name, from) = match file {
            BootFile::Tftp { file } => ("TFTP", file.clone(), file.clone()),
            BootFile::Http { url } => {
                let over = if url.starts_with("https:") { "HTTPS" } else { "HTTP" };
                (over, url.split_once("/firmware/").map(|(_, name)| name.to_owned())?, url.clone())
            }
            BootFile::NoFirmware { arch } => {
                let why = (super::firmware_remedy(*arch), None);
                let nothing = link(Link::BootFile, "", say("no-file-brief", &[]), say("no-file", &[]), &why);
                return Some(Explained { ends: true, ..nothing });
            }
            _ => return None,
        };
        let chosen = self.plan.firmware.get(&arch.without_http()).filter(|f| f.name == name);
        let path = chosen.map(|f| &f.path).or_else(|| self.plan.files.get(&name));
        let mut gets = name.clone();
        let mut values = vec![
            Value::new(if over == "TFTP" { "file" } else { "URL" }, from),
            Value::new("server", self.network.address.address),
        ];
        if let Some(path) = path {
            values.push(Value::new("from", path.display()));
            let _infallible = write!(gets, " ({}", path.display());
            if let Some(size) = chosen.map(|f| f.size) {
                values.push(Value::new("bytes", size));
                let _infallible = write!(gets, ", {size} bytes");
            }
            gets.push(')');
        }
        Some(Explained { values, ..link(Link::BootFile, over, name, gets, &self.why_file(arch)) })
    }

    fn why_file(&self, arch: Arch) -> Why {
        let host = self.plan.host(self.facts.mac, self.facts.uuid).and_then(|h| h.firmware.clone());
        let of_rule = || Some(rule(self.plan, self.facts.mac, arch)?.file.clone());
        let by = || if host.is_some() { self.of_host("firmware") } else { self.of_rule("file") };
        match (&host, named(self.plan, self.facts)) {
            (_, Some(wanted)) if unfit(self.plan, self.facts, &wanted).is_some() => {
                (say("because-unfit", &[("file", &wanted), ("arch", &arch)]), by())
            }
            (Some(host), Some(wanted)) if *host == wanted => (say("because-firmware", &[]), by()),
            (None, Some(_)) => (say("because-rule", &[]), by()),
            _ => match host.clone().or_else(of_rule) {
                Some(missing) => (say("because-missing", &[("file", &missing), ("arch", &arch)]), by()),
                None => (say("because-best", &[("arch", &arch)]), None),
            },
        }
    }

    fn ipxe(&self, file: &BootFile, why: &Why) -> Explained {
        let (brief, gets) = match file {
            BootFile::Script { url } => (say("ipxe-script-brief", &[]), say("ipxe-script", &[("url", url)])),
            BootFile::RootPath { root_path, initiator } => (
                say("ipxe-root-path-brief", &[]),
                say("ipxe-root-path", &[("root", root_path), ("initiator", initiator)]),
            ),
            _ => (say("ipxe-nothing", &[]), say("ipxe-nothing", &[])),
        };
        link(Link::Ipxe, "DHCP", brief, gets, why)
    }

    /// Makes something of the script that it would be given.
    fn with<T>(&self, make: impl FnOnce(&ScriptFor<'_>) -> T) -> T {
        let host = self.plan.host(self.facts.mac, self.facts.uuid).and_then(|h| h.name.as_ref());
        let name = host.map_or_else(|| self.facts.mac.to_string(), ToString::to_string);
        let server = self.network.address.address;
        let gpxe = self.facts.client == ClientKind::Gpxe;
        make(&ScriptFor {
            plan: self.plan,
            dialect: if gpxe { Dialect::Gpxe } else { Dialect::Ipxe },
            base: &base_url(self.plan, server),
            server,
            mac: self.facts.mac,
            name: &name,
            ip: None,
            arch: self.facts.arch,
            token: Some(TOKEN),
            menu: false,
        })
    }

    fn script(&self, url: &str, boot: &Boot, why: &Why) -> Explained {
        let hidden = ["set password:hex ", "set reverse-password:hex "];
        let mask = |line: &str| match hidden.iter().find(|start| line.starts_with(**start)) {
            Some(start) => format!("{start}{MASK}\n"),
            None => format!("{line}\n"),
        };
        let text: String = self.with(|script| render(script, boot)).lines().map(mask).collect();
        let mut values = vec![Value::new("URL", url)];
        if self.facts.client != ClientKind::Gpxe {
            let base = base_url(self.plan, self.network.address.address);
            values.push(Value::new("then", format!("{base}{}/script.ipxe", host_path(self.facts.mac))));
        }
        let broken = self.plan.missing(boot).or_else(|| self.plan.unfit(boot, self.facts.arch)).is_some()
            || profile_of(self.plan, boot).is_some_and(|p| no_hypervisor_for(p, self.facts.arch));
        Explained { values, ends: broken, ..link(Link::Script, "HTTP", boot.to_string(), text, why) }
    }

    fn kernel(&self, boot: &Boot) -> Option<Explained> {
        let profile = profile_of(self.plan, boot)?;
        let base = base_url(self.plan, self.network.address.address);
        let arch = self.facts.arch;
        let url = |path: String| format!("{base}{path}");
        let mut values = Vec::new();
        let xen = if starts_xen_efi(profile, arch) { hypervisor_efi_path(profile) } else { hypervisor_path(profile) };
        values.extend(xen.map(|path| Value::new("hypervisor", url(path))));
        values.push(Value::new("kernel", url(kernel_path(profile))));
        let initrds = (0..profile.initrds.len()).filter_map(|index| initrd_path(profile, index));
        values.extend(initrds.map(|path| Value::new("initrd", url(path))));
        let root = match boot {
            Boot::Iscsi(iscsi) => self.plan.lab.disk(&iscsi.disk).map(|disk| (iscsi, disk)),
            _ => None,
        };
        // The token opens nothing, and a profile without answers has none.
        let args = self.with(|script| kernel_args(script, profile, root));
        if !args.is_empty() {
            values.push(Value::new("arguments", args));
        }
        let name = profile.kernel.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let gets = say("kernel", &[("kernel", &name), ("n", &profile.initrds.len()), ("profile", &profile.name)]);
        let why = (say("because-profile", &[("profile", &profile.name)]), self.of_profile(profile, "kernel"));
        Some(Explained { values, ..link(Link::Kernel, "HTTP", name, gets, &why) })
    }

    fn disk(&self, boot: &Boot) -> Option<Explained> {
        let iscsi: &IscsiBoot = match boot {
            Boot::Iscsi(iscsi) => iscsi,
            Boot::Install(install) => match &install.then {
                InstallThen::Iscsi(iscsi) => iscsi,
                InstallThen::Local => return None,
            },
            _ => return None,
        };
        let disk: &Disk = self.plan.lab.disk(&iscsi.disk)?;
        let writes = iscsi.writes.unwrap_or(disk.writes);
        let id = match (disk.readonly, writes) {
            (true, _) => "disk-read-only",
            (_, Writes::Keep) => "disk-keep",
            (_, Writes::Fresh) => "disk-fresh",
            (_, Writes::Image) => "disk-image",
        };
        let gets = say(id, &[("disk", &disk.name), ("iqn", &disk.iqn)]);
        let why = match (disk.readonly, iscsi.writes) {
            (true, _) => (say("because-read-only", &[]), self.of_disk(disk, "readonly")),
            (_, Some(_)) => (say("because-own-writes", &[]), self.assigned_by()),
            _ => (say("because-writes", &[]), self.of_disk(disk, "writes")),
        };
        let server = self.network.address.address;
        let mut values = vec![
            Value::new("target", &disk.iqn),
            Value::new("portal", format!("{server}:{}", self.plan.lab.ports.iscsi)),
            Value::new("LUN", 0),
            Value::new("initiator", initiator_name(self.facts.mac)),
            Value::new("image", disk.image.display()),
        ];
        if let Some(chap) = &disk.chap {
            values.push(Value::new("CHAP user", &chap.user));
        }
        values.extend(disk.redirect.map(|to| Value::new("sent on to", to)));
        Some(Explained { values, ..link(Link::Disk, "iSCSI", disk.name.to_string(), gets, &why) })
    }

    /// What runs in the end, and what it still gets from here.
    fn system(&self, boot: &Boot, why: &Why) -> Explained {
        let (id, mut values) = match boot {
            Boot::Local => ("system-local", Vec::new()),
            Boot::Wait => ("system-wait", Vec::new()),
            Boot::Menu => ("system-menu", Vec::new()),
            Boot::Ignore => ("system-ignore", Vec::new()),
            Boot::Iscsi(iscsi) => {
                let hooked = profile_of(self.plan, boot).is_some_and(|p| p.iscsi_args == Some(IscsiArgs::None));
                let id = if iscsi.profile.is_none() || hooked { "system-disk" } else { "system-direct" };
                (id, Vec::new())
            }
            Boot::Install(install) => {
                let answers = self.plan.lab.profile(&install.profile).filter(|p| fetches_answers(p));
                let answers = answers.and_then(|p| p.answers.as_ref());
                let next = Boot::from(install.then.clone());
                let mut values: Vec<Value> =
                    answers.map(|file| Value::new("answers", file.display())).into_iter().collect();
                values.push(Value::new("next boot", next));
                ("system-install", values)
            }
        };
        let runs_system = matches!(boot, Boot::Iscsi(_) | Boot::Install(_));
        if runs_system && self.network.mode != Mode::Proxy {
            values.push(Value::new("DHCP", say("system-address", &[])));
        }
        let brief = say(&format!("{id}-brief"), &[]);
        Explained { values, ..link(Link::System, "", brief, say(id, &[]), why) }
    }
}

fn link(stage: Link, over: &str, brief: String, gets: String, (because, setting): &Why) -> Explained {
    Explained {
        stage,
        over: over.to_owned(),
        brief,
        gets,
        because: because.clone(),
        setting: setting.clone(),
        values: Vec::new(),
        ends: false,
    }
}

/// Why it is assigned what it is.
fn assigned(because: &Because) -> String {
    match because {
        Because::HostEntry { host } => say("because-entry", &[("host", host)]),
        Because::Unknown { interface } => say("because-unknown", &[("interface", interface)]),
    }
}

fn setting(part: Part, index: usize, entry: String, key: &str) -> Setting {
    Setting { part, index, entry, key: key.to_owned(), line: None, absent: None }
}

/// The same plan without a secret in it.
fn masked(plan: &Plan) -> Plan {
    let mut lab = Lab::clone(&plan.lab);
    for chap in lab.disks.iter_mut().filter_map(|disk| disk.chap.as_mut()) {
        chap.secret = Secret::new(MASK.into());
        if let Some((_, secret)) = &mut chap.mutual {
            *secret = Secret::new(MASK.into());
        }
    }
    Plan { lab: Arc::new(lab), ..plan.clone() }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
