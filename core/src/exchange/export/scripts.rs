//! Static scripts in place of those that the engine makes: one for each machine, in iPXE's language and in gPXE's, and the answer files.

use std::net::IpAddr;
use std::path::PathBuf;

use super::site::{Machine, Script, Site};
use super::{Export, OutFile};
use crate::boot::initiator_name;
use crate::boot::script::{Dialect, ScriptFor, answers_name, fetches_answers, hex, kernel_args, percent_encode};
use crate::lab::{Boot, Disk, InstallThen, IscsiBoot, Profile, Writes};
use crate::media::answers;
use crate::net::MacAddr;

/// Stands where the engine has a token of its own for each installation.
const TOKEN: &str = "export";

pub(super) fn write(site: &Site<'_>, out: &mut Export) {
    for machine in &site.machines {
        if matches!(machine.script, Script::Url(_)) {
            let folder = machine.mac.hyphenated();
            pair(site, &machine.boot, machine.mac, &machine.name, &folder, out);
            answer_file(site, machine, out);
        }
    }
    if matches!(site.script, Script::Url(_)) {
        pair(site, &site.unknown, MacAddr::default(), "This machine", "default", out);
    }
    for profile in &site.plan.lab.profiles {
        if profile.hypervisor_efi.is_some() {
            out.notes.push(format!(
                "profile {}: `hypervisor-efi` is left out; Xen on UEFI wants a configuration for each machine, which these scripts do not have",
                profile.name
            ));
        }
        let files = std::iter::once(&profile.kernel).chain(&profile.initrds).chain(profile.hypervisor.iter());
        for file in files {
            let to = PathBuf::from("http/media").join(below_media(profile, file));
            let Ok(from) = crate::media::resolve(site.subject.media, file) else { continue };
            if !out.copies.iter().any(|(_, t)| *t == to) {
                out.copies.push((from, to));
            }
        }
    }
}

/// A file's name below `http/media/`: as below `media/`; one from elsewhere is in its profile's folder.
fn below_media(profile: &Profile, file: &std::path::Path) -> PathBuf {
    if file.is_relative() {
        return file.to_owned();
    }
    PathBuf::from(profile.name.as_str()).join(file.file_name().unwrap_or_default())
}

fn pair(site: &Site<'_>, boot: &Boot, mac: MacAddr, name: &str, folder: &str, out: &mut Export) {
    for dialect in [Dialect::Ipxe, Dialect::Gpxe] {
        let mut writer = Writer { site, dialect, mac, secret: false, left_out: Vec::new(), out: String::new() };
        writer.script(boot, name);
        let secret = writer.secret;
        out.notes.append(&mut writer.left_out);
        let path = PathBuf::from(format!("http/boot/{folder}/boot.{}", dialect.as_str()));
        out.files.push(OutFile { path, text: writer.out, secret });
    }
}

struct Writer<'s, 'a> {
    site: &'s Site<'a>,
    dialect: Dialect,
    /// Zeroes for machines without an entry, which say their own.
    mac: MacAddr,
    secret: bool,
    /// Notes of what it does not have.
    left_out: Vec<String>,
    out: String,
}

impl Writer<'_, '_> {
    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    /// A command whose failure ends the script; gPXE ends it by itself.
    fn run(&mut self, command: &str) {
        let end = if self.dialect == Dialect::Ipxe { " || exit" } else { "" };
        self.line(format!("{command}{end}"));
    }

    fn script(&mut self, boot: &Boot, name: &str) {
        self.line(format!("#!{}", self.dialect.as_str()));
        let ipxe = self.dialect == Dialect::Ipxe;
        match boot {
            Boot::Iscsi(iscsi) => {
                self.line("# bootyard boot straight");
                self.iscsi(iscsi);
            }
            Boot::Install(install) => {
                self.line("# bootyard boot straight");
                if let Some(profile) = self.site.plan.lab.profile(&install.profile) {
                    if ipxe {
                        self.line(format!(
                            "prompt --key i --timeout 15000 Press I to install {} on {name}: erases its disk; else the local disk follows \
                             && goto install ||",
                            profile.name
                        ));
                        self.line("exit");
                        self.line(":install");
                        if let InstallThen::Iscsi(then) = &install.then {
                            self.san("sanhook --drive 0x80", then);
                        }
                        self.kernel(profile, None);
                    } else {
                        self.line(format!(
                            "echo gPXE asks for no key: {} is not installed by this script",
                            profile.name
                        ));
                        self.line("exit");
                    }
                }
            }
            Boot::Local | Boot::Ignore => {
                self.line("# bootyard boot local");
                self.local();
            }
            Boot::Wait => {
                self.line("# bootyard boot wait");
                self.line(format!("echo {name} waits for an assignment"));
                if ipxe {
                    self.line("prompt --key l --timeout 60000 Press L for the local disk; asking again in a minute && goto local ||");
                    self.line(format!("chain --replace --autofree {} ||", self.url("boot.ipxe")));
                    self.line(":local");
                }
                self.local();
            }
            Boot::Menu => {
                self.line("# bootyard boot menu");
                if ipxe {
                    self.menu(name);
                }
                self.local();
            }
        }
    }

    fn url(&self, leaf: &str) -> String {
        let folder = if self.mac == MacAddr::default() { "default".to_owned() } else { self.mac.hyphenated() };
        format!("{}/boot/{folder}/{leaf}", self.site.base())
    }

    fn local(&mut self) {
        if self.dialect == Dialect::Ipxe {
            self.line("iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||");
        }
        self.line("exit");
    }

    fn menu(&mut self, name: &str) {
        let lab = std::sync::Arc::clone(&self.site.plan.lab);
        // Everybody on the network can read the script for machines without an entry.
        let (disks, hidden): (Vec<&Disk>, Vec<&Disk>) =
            lab.disks.iter().partition(|d| d.chap.is_none() || self.mac != MacAddr::default());
        for disk in hidden {
            self.left_out.push(format!(
                "{}: it is not in the menu for machines without an entry, which would show its CHAP secret to everybody",
                disk.name
            ));
        }
        self.line(format!("menu {name}"));
        for profile in &lab.profiles {
            self.line(format!("item install-{0} Install {0} (erases the disk)", profile.name));
        }
        for disk in &disks {
            self.line(format!("item iscsi-{0} Disk {0} over the network", disk.name));
        }
        self.line("item local Local disk");
        self.line("choose --default local to && goto ${to} || goto local");
        for profile in &lab.profiles {
            self.line(format!(":install-{}", profile.name));
            self.kernel(profile, None);
        }
        for disk in &disks {
            self.line(format!(":iscsi-{}", disk.name));
            let via = crate::lab::IscsiVia::Script;
            self.san("sanboot", &IscsiBoot { disk: disk.name.clone(), profile: None, via, writes: None });
        }
        self.line(":local");
    }

    fn iscsi(&mut self, iscsi: &IscsiBoot) {
        let lab = std::sync::Arc::clone(&self.site.plan.lab);
        let profile = iscsi.profile.as_ref().and_then(|name| lab.profile(name));
        match (profile, lab.disk(&iscsi.disk)) {
            (Some(profile), Some(disk)) => {
                let fresh = disk.writes == Writes::Fresh && !disk.readonly;
                if fresh || profile.iscsi_args == Some(crate::lab::IscsiArgs::None) {
                    self.san("sanhook --drive 0x80", iscsi);
                }
                self.kernel(profile, Some((iscsi, disk)));
            }
            _ => self.san("sanboot", iscsi),
        }
    }

    fn san(&mut self, command: &str, iscsi: &IscsiBoot) {
        let lab = std::sync::Arc::clone(&self.site.plan.lab);
        if self.mac != MacAddr::default() {
            self.line(format!("set initiator-iqn {}", initiator_name(self.mac)));
        }
        if let Some(chap) = lab.disk(&iscsi.disk).and_then(|d| d.chap.as_ref()) {
            self.secret = true;
            self.line(format!("set username:hex {}", hex(&chap.user)));
            self.line(format!("set password:hex {}", hex(chap.secret.expose())));
            if let Some((user, secret)) = chap.mutual.as_ref().filter(|_| self.dialect == Dialect::Ipxe) {
                self.line(format!("set reverse-username:hex {}", hex(user)));
                self.line(format!("set reverse-password:hex {}", hex(secret.expose())));
            }
        }
        if let Some(path) = self.site.root_path(iscsi) {
            self.run(&format!("{command} {path}"));
        }
    }

    fn kernel(&mut self, profile: &Profile, root: Option<(&IscsiBoot, &Disk)>) {
        let base = self.site.base();
        let server = self.site.network.address.address;
        let script = ScriptFor {
            plan: &self.site.plan,
            dialect: self.dialect,
            base: &base,
            server,
            mac: self.mac,
            name: "",
            ip: None,
            arch: None,
            token: (self.mac != MacAddr::default()).then_some(TOKEN),
            menu: false,
        };
        self.secret |= root.is_some_and(|(_, disk)| disk.chap.is_some());
        let args = kernel_args(&script, profile, root);
        let url = |path: &std::path::Path| {
            let path = below_media(profile, path);
            let parts: Vec<String> = path.iter().map(|p| percent_encode(&p.to_string_lossy())).collect();
            format!("{base}/media/{}", parts.join("/"))
        };
        self.line(format!("# bootyard profile {}", profile.name));
        let kernel = format!("{} {args}", url(&profile.kernel));
        let load = match &profile.hypervisor {
            Some(hypervisor) => {
                self.run(&format!("kernel {} {}", url(hypervisor), profile.hypervisor_args));
                self.run(&format!("module {kernel}"));
                "module"
            }
            None => {
                self.run(&format!("kernel {}", kernel.trim_end()));
                "initrd"
            }
        };
        for initrd in &profile.initrds {
            self.run(&format!("{load} {}", url(initrd)));
        }
        self.run("boot");
    }
}

/// The answer file of a machine that is installed, as the engine would render it.
fn answer_file(site: &Site<'_>, machine: &Machine<'_>, out: &mut Export) {
    let Boot::Install(install) = &machine.boot else { return };
    let Some(profile) = site.plan.lab.profile(&install.profile) else { return };
    let (Some(file), true) = (&profile.answers, fetches_answers(profile)) else { return };
    let path = match crate::media::resolve(site.subject.media, file) {
        Ok(path) => path,
        Err(error) => return out.notes.push(format!("{}: {error}", machine.name)),
    };
    let text = match answers::read(&path) {
        Ok(text) => text,
        Err(error) => return out.notes.push(format!("{}: {error}", machine.name)),
    };
    let kind = profile.kind.unwrap_or_else(|| answers::kind_of(&text));
    let Some(leaf) = answers_name(kind) else { return };
    let folder = format!("answers/{}/{TOKEN}", machine.mac.hyphenated());
    let base = site.base();
    let then = match &install.then {
        InstallThen::Iscsi(iscsi) => site.plan.lab.disk(&iscsi.disk).map(|d| d.iqn.clone()),
        InstallThen::Local => None,
    };
    let values = answers::Values {
        hostname: machine.name.clone(),
        mac: machine.mac.to_string(),
        ip: machine.address.map(IpAddr::V4),
        group: machine.host.group.as_ref().map(ToString::to_string),
        server: site.network.address.address,
        answers_url: format!("{base}/{folder}"),
        base_url: base,
        serial: None,
        uuid: machine.host.uuid.map(|u| u.to_string()),
        initiator: initiator_name(machine.mac),
        target: then,
        domain: site.scopes.first().and_then(|s| s.domain.clone()),
    };
    match answers::render(&path, &text, &values) {
        Ok(text) => {
            let leaf = if leaf.is_empty() { "user-data" } else { leaf };
            out.files.push(OutFile { path: PathBuf::from("http").join(&folder).join(leaf), text, secret: true });
            if leaf == "user-data" {
                let path = PathBuf::from("http").join(&folder).join("meta-data");
                out.files.push(OutFile { path, text: String::new(), secret: true });
            }
        }
        Err(error) => out.notes.push(format!("{}: {error}", machine.name)),
    }
}
