//! The boot script: what iPXE or gPXE is told to do, made anew for each request from the host's assignment.
//!
//! iPXE gets two scripts. The entry script ([`entry`]) is the same for all and sends what iPXE knows of the machine along with the
//! request for the second one ([`render`]), which does the work, marks its steps and reports its errors under `/boot/MAC/`.
//! gPXE knows neither `||` with labels nor `prompt`: it gets the second one at once, as a plain list of commands.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::xen::{DOM0_INITRD, DOM0_KERNEL, XEN, XEN_CONFIG, no_hypervisor_for, starts_xen_efi, under_xen};
use super::{Arch, Plan, PlanNetwork, initiator_name, root_path};
use crate::lab::{Boot, Disk, InstallThen, IscsiArgs, IscsiBoot, Mode, Profile, ProfileKind, Writes};
use crate::net::MacAddr;

/// Which program runs the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `#!ipxe`.
    Ipxe,
    /// `#!gpxe`.
    Gpxe,
}

impl Dialect {
    /// From the `User-Agent` of the request: `iPXE/1.21.1`, `gPXE/1.0.1`.
    #[must_use]
    pub fn of_agent(agent: Option<&str>) -> Self {
        if agent.is_some_and(|a| a.to_ascii_lowercase().starts_with("gpxe")) { Self::Gpxe } else { Self::Ipxe }
    }

    /// The word for events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipxe => "ipxe",
            Self::Gpxe => "gpxe",
        }
    }
}

/// What a script is made for.
#[derive(Debug, Clone)]
pub struct ScriptFor<'a> {
    /// The plan in force.
    pub plan: &'a Plan,
    /// Who runs it.
    pub dialect: Dialect,
    /// `http://ADDRESS[:PORT]` of our server as this client reaches it.
    pub base: &'a str,
    /// Our address as this client reaches it.
    pub server: Ipv4Addr,
    /// The machine.
    pub mac: MacAddr,
    /// The machine's name or, without one, its MAC; printable.
    pub name: &'a str,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its architecture, once its firmware named it.
    pub arch: Option<Arch>,
    /// The rest of the answer file's path: `/answers/MAC/TOKEN`, for a profile with answers.
    pub token: Option<&'a str>,
    /// The machine has chosen in its menu to wait: the menu alone does not end that.
    pub menu: bool,
}

/// The path under which this machine's script, marks and errors are.
#[must_use]
pub fn host_path(mac: MacAddr) -> String {
    format!("/boot/{}", mac.hyphenated())
}

/// The path of a profile's kernel.
#[must_use]
pub fn kernel_path(profile: &Profile) -> String {
    format!("/media/{}/kernel/{}", profile.name, leaf(&profile.kernel))
}

/// The path of a profile's hypervisor, if it has one.
#[must_use]
pub fn hypervisor_path(profile: &Profile) -> Option<String> {
    Some(format!("/media/{}/hypervisor/{}", profile.name, leaf(profile.hypervisor.as_deref()?)))
}

/// The path of a profile's hypervisor for UEFI, if it has one.
#[must_use]
pub fn hypervisor_efi_path(profile: &Profile) -> Option<String> {
    Some(format!("/media/{}/hypervisor/efi/{}", profile.name, leaf(profile.hypervisor_efi.as_deref()?)))
}

/// The path of a profile's initrd number `index`.
#[must_use]
pub fn initrd_path(profile: &Profile, index: usize) -> Option<String> {
    Some(format!("/media/{}/initrd/{index}/{}", profile.name, leaf(profile.initrds.get(index)?)))
}

/// Whether the machine is told to fetch this profile's answer file from us: the profile has one, and its own arguments name no other.
#[must_use]
pub fn fetches_answers(profile: &Profile) -> bool {
    let own: &[&str] = match profile.kind {
        Some(ProfileKind::Preseed) => &["url=", "preseed/url=", "preseed/file=", "file="],
        Some(ProfileKind::Kickstart) => &["inst.ks=", "ks="],
        Some(ProfileKind::Autoinstall) => &["ds=", "cloud-config-url="],
        Some(ProfileKind::None) | None => return false,
    };
    profile.answers.is_some() && !says(profile, own)
}

fn says(profile: &Profile, keys: &[&str]) -> bool {
    profile.args.split_whitespace().any(|arg| keys.iter().any(|k| arg.starts_with(k)))
}

/// The name of the answer file in its URL, by form. An autoinstall's is a folder for cloud-init.
#[must_use]
pub fn answers_name(kind: ProfileKind) -> Option<&'static str> {
    match kind {
        ProfileKind::Preseed => Some("preseed.cfg"),
        ProfileKind::Kickstart => Some("ks.cfg"),
        ProfileKind::Autoinstall => Some(""),
        ProfileKind::None => None,
    }
}

fn leaf(path: &Path) -> String {
    percent_encode(&path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default())
}

/// Encodes one path segment (RFC 3986 section 2.3's unreserved characters stay).
#[must_use]
pub fn percent_encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~+,@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The first script of an iPXE: asks for the second one and tells of the machine. `${…:uristring}` encodes whatever SMBIOS says.
#[must_use]
pub fn entry(base: &str, mac: MacAddr) -> String {
    let url = format!("{base}{}", host_path(mac));
    let told = [
        ("uuid", "uuid"),
        ("serial", "serial:uristring"),
        ("manufacturer", "manufacturer:uristring"),
        ("product", "product:uristring"),
        ("asset", "asset:uristring"),
        ("memory", "memsize"),
        ("platform", "platform"),
        ("version", "version:uristring"),
        ("chip", "net0/chip:uristring"),
        ("buildarch", "buildarch"),
    ];
    let query: Vec<String> = told.iter().map(|(name, setting)| format!("{name}=${{{setting}}}")).collect();
    let script = format!("{url}/script.ipxe?{}", query.join("&"));
    format!(
        "#!ipxe\n\
         :again\n\
         chain --replace --autofree {script} ||\n\
         echo The boot script did not come from {base}: ${{errno}}\n\
         prompt --key l --timeout 5000 Press L for the local disk, another key to try again now && goto local ||\n\
         goto again\n\
         :local\n\
         exit\n"
    )
}

/// What cannot work in what a machine is given: a stable word and what it is about.
#[must_use]
pub fn flaws(plan: &Plan, network: &PlanNetwork, boot: &Boot, arch: Option<Arch>) -> Vec<(&'static str, String)> {
    let (lonely, missing) = (without_router(plan, network, boot), missing_initrds(plan, boot, arch));
    let no_xen = profile_of(plan, boot).filter(|profile| no_hypervisor_for(profile, arch));
    let missing = missing.into_iter().map(|name| ("initrd-argument", format!("initrd={}", printable(&name))));
    let no_xen = no_xen.map(|profile| ("no-hypervisor", profile.name.to_string()));
    lonely.map(|target| ("no-gateway", target.to_string())).into_iter().chain(missing).chain(no_xen).collect()
}

/// The profile whose kernel is started.
pub(super) fn profile_of<'a>(plan: &'a Plan, boot: &Boot) -> Option<&'a Profile> {
    let name = match boot {
        Boot::Install(install) => &install.profile,
        Boot::Iscsi(iscsi) => iscsi.profile.as_ref()?,
        _ => return None,
    };
    plan.lab.profile(name)
}

/// The other computer to which the disk is redirected, where no router leads to it.
fn without_router(plan: &Plan, network: &PlanNetwork, boot: &Boot) -> Option<Ipv4Addr> {
    let Boot::Iscsi(iscsi) = boot else { return None };
    let target = *plan.lab.disk(&iscsi.disk)?.redirect?.ip();
    let configured = plan.lab.networks.get(network.index)?;
    // Beside another server it is that one's to name a router, as it is the relays' subnets' own.
    let ours = network.mode == Mode::Dhcp && configured.router.is_none() && configured.subnets.is_empty();
    (ours && !network.address.contains(target)).then_some(target)
}

/// A kernel that UEFI starts wants each initrd that its arguments name.
fn missing_initrds(plan: &Plan, boot: &Boot, arch: Option<Arch>) -> Vec<String> {
    let Some(profile) = profile_of(plan, boot).filter(|profile| !under_xen(profile)) else {
        return Vec::new();
    };
    if !arch.is_some_and(Arch::is_uefi) {
        return Vec::new();
    }
    let loaded: Vec<String> = profile.initrds.iter().map(|path| leaf(path)).collect();
    let named = profile.args.split_whitespace().filter_map(|arg| arg.strip_prefix("initrd="));
    named.filter(|name| !loaded.iter().any(|l| l == name)).map(str::to_owned).collect()
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The script that does the work.
#[must_use]
pub fn render(script: &ScriptFor<'_>, boot: &Boot) -> String {
    match script.dialect {
        Dialect::Ipxe => Ipxe::new(script).render(boot),
        Dialect::Gpxe => gpxe(script, boot),
    }
}

/// The kernel's arguments for this machine: the profile's own, each initrd by name (EFI kernels need it), where the answers are,
/// how to reach an iSCSI root, in that order; nothing is added that the profile says already.
pub(crate) fn kernel_args(script: &ScriptFor<'_>, profile: &Profile, root: Option<(&IscsiBoot, &Disk)>) -> String {
    let mut args: Vec<String> = vec![one_line(&profile.args)];
    if !under_xen(profile) {
        args.extend(profile.initrds.iter().map(|path| format!("initrd={}", leaf(path))));
    }
    args.extend(answers_args(script, profile));
    if let Some((_, disk)) = root {
        args.extend(root_args(script, profile, disk));
    }
    args.retain(|a| !a.is_empty());
    args.join(" ")
}

fn answers_args(script: &ScriptFor<'_>, profile: &Profile) -> Vec<String> {
    let (Some(token), Some(kind), true) = (script.token, profile.kind, fetches_answers(profile)) else {
        return Vec::new();
    };
    let Some(name) = answers_name(kind) else {
        return Vec::new();
    };
    let url = format!("{}/answers/{}/{token}/{name}", script.base, script.mac.hyphenated());
    match kind {
        ProfileKind::Preseed => vec![format!("url={url}")],
        ProfileKind::Kickstart => vec![format!("inst.ks={url}")],
        ProfileKind::Autoinstall => {
            let auto = (!says(profile, &["autoinstall"])).then(|| "autoinstall".to_owned());
            auto.into_iter().chain([format!("ds=nocloud-net;s={url}")]).collect()
        }
        ProfileKind::None => Vec::new(),
    }
}

/// The initiator's arguments as the profile's initramfs understands them, without those that the profile gives itself. Secrets on a
/// command line can be read on that machine.
///
/// Debian and Ubuntu: open-iscsi's `README.Debian`, and initramfs-tools(7) for `ip` and `BOOTIF`. dracut: dracut.cmdline(7); a login has its
/// own arguments there, which leave `netroot` free of it. Which characters a login may have, the lab's reader has checked.
fn root_args(script: &ScriptFor<'_>, profile: &Profile, disk: &Disk) -> Vec<String> {
    let server = script.server;
    let port = script.plan.lab.ports.iscsi;
    let initiator = initiator_name(script.mac);
    let (mut args, login) = match profile.iscsi_args.unwrap_or(IscsiArgs::Debian) {
        IscsiArgs::None => return Vec::new(),
        IscsiArgs::Debian => {
            let args = vec![
                format!("iscsi_initiator={initiator}"),
                format!("iscsi_target_name={}", disk.iqn),
                format!("iscsi_target_ip={server}"),
                format!("iscsi_target_port={port}"),
            ];
            (args, ["iscsi_username", "iscsi_password", "iscsi_in_username", "iscsi_in_password"])
        }
        IscsiArgs::Dracut => {
            let args = vec![
                format!("rd.iscsi.initiator={initiator}"),
                format!("netroot=iscsi:{server}::{port}:0:{}", disk.iqn),
                "rd.neednet=1".to_owned(),
            ];
            (args, ["rd.iscsi.username", "rd.iscsi.password", "rd.iscsi.in.username", "rd.iscsi.in.password"])
        }
    };
    // The card that booted, by its address: another one may be in another network.
    args.extend(["ip=dhcp".to_owned(), format!("BOOTIF=01-{}", script.mac.hyphenated())]);
    args.extend(login.into_iter().zip(login_words(disk)).map(|(key, word)| format!("{key}={word}")));
    args.retain(|arg| !arg.split_once('=').is_some_and(|(key, _)| gives(profile, key)));
    args
}

/// Whether a profile's own arguments have this key; open-iscsi's are known in capitals, too.
fn gives(profile: &Profile, key: &str) -> bool {
    let mut keys = profile.args.split_whitespace().filter_map(|arg| arg.split_once('='));
    keys.any(|(own, _)| own.eq_ignore_ascii_case(key))
}

/// Who logs in to a disk, and with mutual CHAP who answers: user and secret, user and secret.
fn login_words(disk: &Disk) -> Vec<&str> {
    let Some(chap) = &disk.chap else { return Vec::new() };
    let mutual = chap.mutual.iter().flat_map(|(user, secret)| [user.as_str(), secret.expose()]);
    [chap.user.as_str(), chap.secret.expose()].into_iter().chain(mutual).collect()
}

/// The profile whose kernel is started directly.
fn direct<'p>(plan: &'p Plan, iscsi: &IscsiBoot) -> Option<&'p Profile> {
    plan.lab.profile(iscsi.profile.as_ref()?)
}

/// Whether no firmware logs in to the disk of this boot, but its system alone: gPXE knows no `sanhook`, and starts what it attaches.
#[must_use]
pub fn only_system_logs_in(plan: &Plan, dialect: Dialect, boot: &Boot) -> bool {
    let starts_kernel = match boot {
        Boot::Iscsi(iscsi) => direct(plan, iscsi).is_some(),
        Boot::Install(install) => matches!(install.then, InstallThen::Iscsi(_)),
        Boot::Local | Boot::Wait | Boot::Menu | Boot::Ignore => false,
    };
    dialect == Dialect::Gpxe && starts_kernel
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Bytes as iPXE's `hex` setting type, so that no character of a secret means anything to the script.
pub(crate) fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

struct Ipxe<'a> {
    script: &'a ScriptFor<'a>,
    out: String,
    /// Settings that were made for words.
    settings: usize,
    /// A disk of ours is hooked as the first one.
    hooked: bool,
}

impl<'a> Ipxe<'a> {
    fn new(script: &'a ScriptFor<'a>) -> Self {
        Self { script, out: String::from("#!ipxe\n"), settings: 0, hooked: false }
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.script.base)
    }

    /// Arguments as words that iPXE hands on. What would end its command or begin a comment comes out of a setting: those are filled in
    /// when a line is divided already.
    fn words(&mut self, text: &str) -> String {
        let words: Vec<String> = text
            .split(' ')
            .map(|word| {
                if !matches!(word, "||" | "&&" | ";") && !word.starts_with('#') {
                    return word.to_owned();
                }
                self.settings += 1;
                let setting = format!("word{}", self.settings);
                self.line(format!("set {setting}:hex {}", hex(word)));
                format!("${{{setting}:string}}")
            })
            .collect();
        words.join(" ")
    }

    fn own(&self, rest: &str) -> String {
        format!("{}{}/{rest}", self.script.base, host_path(self.script.mac))
    }

    /// Tells the engine of a step. It must not hold up the boot, nor leave an image behind that `boot` would take for a kernel.
    fn mark(&mut self, step: &str) {
        let url = self.own(&format!("step?name={step}"));
        self.line(format!("imgfetch --name mark {url} ||"));
        self.line("imgfree mark ||");
    }

    fn render(mut self, boot: &Boot) -> String {
        let plan = self.script.plan;
        if let Some((profile, arch)) = plan.unfit(boot, self.script.arch).zip(self.script.arch) {
            self.problem(&format!("The profile {profile} is not for {arch} machines."));
            return self.out;
        }
        if let Some(profile) = profile_of(plan, boot).filter(|p| no_hypervisor_for(p, self.script.arch)) {
            let firmware = if self.script.arch.is_some_and(Arch::is_uefi) { "UEFI" } else { "BIOS" };
            self.problem(&format!("The profile {} has no Xen for {firmware}.", profile.name));
            return self.out;
        }
        match boot {
            Boot::Ignore => self.line("exit"),
            Boot::Local => {
                self.line("goto local");
                self.local();
            }
            Boot::Wait => self.wait(),
            Boot::Menu => self.menu(),
            Boot::Iscsi(iscsi) => match plan.lab.disk(&iscsi.disk) {
                Some(disk) => {
                    self.iscsi(iscsi, disk);
                    self.failed();
                    self.local();
                }
                None => self.problem(&format!("The disk {} is not in this lab.", iscsi.disk)),
            },
            Boot::Install(install) => match plan.lab.profile(&install.profile) {
                Some(profile) => {
                    let then = match &install.then {
                        InstallThen::Iscsi(iscsi) => plan.lab.disk(&iscsi.disk).map(|disk| (iscsi, disk)),
                        InstallThen::Local => None,
                    };
                    if let Some((iscsi, disk)) = then {
                        self.san("sanhook --drive 0x80", iscsi, disk);
                    }
                    self.kernel(profile, None);
                    self.failed();
                    self.local();
                }
                None => self.problem(&format!("The profile {} is not in this lab.", install.profile)),
            },
        }
        self.out
    }

    fn iscsi(&mut self, iscsi: &IscsiBoot, disk: &Disk) {
        match direct(self.script.plan, iscsi) {
            None => {
                self.mark("san-start");
                self.san("sanboot", iscsi, disk);
                // A disk that ends its boot code comes back here.
                self.line("goto again");
            }
            Some(profile) => {
                // A system's login makes no overlay new, so `fresh` needs one of its firmware.
                let fresh = iscsi.writes.unwrap_or(disk.writes) == Writes::Fresh && !disk.readonly;
                if profile.iscsi_args == Some(IscsiArgs::None) || fresh {
                    self.san("sanhook --drive 0x80", iscsi, disk);
                }
                self.kernel(profile, Some((iscsi, disk)));
            }
        }
    }

    /// `sanboot` or `sanhook`, as the machine that we know it to be.
    fn san(&mut self, command: &str, iscsi: &IscsiBoot, disk: &Disk) {
        self.hooked |= command.starts_with("sanhook");
        let initiator = initiator_name(self.script.mac);
        self.line("set step san");
        self.line(format!("set initiator-iqn {initiator}"));
        let login = ["username", "password", "reverse-username", "reverse-password"];
        let words = login_words(disk);
        for (setting, word) in login.iter().zip(&words) {
            self.line(format!("set {setting}:hex {}", hex(word)));
        }
        // iPXE keeps its settings from script to script, and with a login left of another disk it would insist that this one answers.
        for setting in login.iter().skip(words.len()) {
            self.line(format!("clear {setting} ||"));
        }
        if let Some(root) = root_path(self.script.plan, self.script.server, iscsi) {
            self.line(format!("{command} {root} || goto failed"));
        }
    }

    fn kernel(&mut self, profile: &Profile, root: Option<(&IscsiBoot, &Disk)>) {
        let args = kernel_args(self.script, profile, root);
        let kernel = self.url(&kernel_path(profile));
        self.line("set step kernel");
        if starts_xen_efi(profile, self.script.arch) {
            self.xen_efi(profile);
            return;
        }
        let args = self.words(&args);
        if let Some(hypervisor) = hypervisor_path(profile) {
            let (hypervisor, with) = (self.url(&hypervisor), self.words(&one_line(&profile.hypervisor_args)));
            self.line(format!("kernel {hypervisor} {with} || goto failed"));
            self.line(format!("module {kernel} {args} || goto failed"));
        } else {
            self.line(format!("kernel {kernel} {args} || goto failed"));
        }
        self.line("set step initrd");
        let load = if profile.hypervisor.is_some() { "module" } else { "initrd" };
        for index in 0..profile.initrds.len() {
            if let Some(path) = initrd_path(profile, index) {
                let url = self.url(&path);
                self.line(format!("{load} {url} || goto failed"));
            }
        }
        self.start("boot");
    }

    fn xen_efi(&mut self, profile: &Profile) {
        let Some(hypervisor) = hypervisor_efi_path(profile).map(|path| self.url(&path)) else { return };
        let (kernel, config) = (self.url(&kernel_path(profile)), self.own(XEN_CONFIG));
        self.line(format!("kernel --name {XEN} {hypervisor} -cfg={XEN_CONFIG} || goto failed"));
        self.line(format!("imgfetch --name {XEN_CONFIG} {config} || goto failed"));
        self.line(format!("imgfetch --name {DOM0_KERNEL} {kernel} || goto failed"));
        self.line("set step initrd");
        if let Some(path) = initrd_path(profile, 0) {
            let url = self.url(&path);
            self.line(format!("imgfetch --name {DOM0_INITRD} {url} || goto failed"));
        }
        self.start(&format!("boot {XEN}"));
    }

    fn start(&mut self, boot: &str) {
        self.line("set step boot");
        self.mark("kernel-start");
        self.line(format!("{boot} || goto failed"));
    }

    /// Reports the error of `${step}`, shows it, and tries again: what was wrong may have been mended or assigned away meanwhile.
    fn failed(&mut self) {
        let report = self.own("error?step=${step}&code=${code}");
        let again = self.own("script.ipxe");
        self.line(":failed");
        self.line("set code ${errno}");
        self.line(format!("imgfetch --name mark {report} ||"));
        self.line("imgfree mark ||");
        self.line("echo");
        self.line("echo Bootyard: step ${step} failed, https://ipxe.org/${code}");
        self.line(":again");
        self.line(
            "prompt --key l --timeout 10000 Press L for the local disk; trying again in 10 seconds && goto local ||",
        );
        self.line("sanunhook --drive 0x80 ||");
        self.line("imgfree ||");
        self.line(format!("chain --replace --autofree {again} || goto again"));
    }

    /// BIOS: the first disk; else, and where that fails, the firmware's next boot device.
    fn local(&mut self) {
        self.line(":local");
        self.mark("local");
        if self.hooked {
            self.line("sanunhook --drive 0x80 ||");
        }
        self.line("iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||");
        self.line("exit");
    }

    /// One request is held until something is assigned. Ctrl-C ends it at once, which is how the key for the local disk is reached.
    fn wait(&mut self) {
        let held = self.own(if self.script.menu { "wait.ipxe?menu=1" } else { "wait.ipxe" });
        let name = self.script.name;
        let ip = self.script.ip.map_or_else(|| "${net0/ip}".to_owned(), |ip| ip.to_string());
        self.line("echo");
        self.line(format!("echo {name}  {ip}"));
        self.line("echo waiting for a technician (Ctrl-C: local disk)");
        self.line(":wait");
        self.line(format!("chain --replace --autofree {held} ||"));
        self.line(
            "prompt --key l --timeout 3000 Press L for the local disk; waiting goes on in 3 seconds && goto local ||",
        );
        self.line("goto wait");
        self.local();
    }

    fn menu(&mut self) {
        let plan = self.script.plan;
        self.line(format!("menu Bootyard: {}", self.script.name));
        // A kernel for a disk's own system installs nothing.
        for profile in plan.lab.profiles.iter().filter(|p| p.iscsi_args.is_none()) {
            self.line(format!("item install:{0} Install {0} (erases the disk)", profile.name));
        }
        for disk in &plan.lab.disks {
            self.line(format!("item iscsi:{0} Disk {0} over the network", disk.name));
        }
        self.line("item wait Wait for a technician");
        self.line("item local Local disk");
        self.line("choose --default local to && goto chosen ||");
        self.line("goto local");
        self.line(":chosen");
        let choose = self.own("choose.ipxe?to=${to}");
        self.line(format!("chain --replace --autofree {choose} ||"));
        self.line("prompt --timeout 3000 The choice could not be sent ||");
        self.local();
    }

    fn problem(&mut self, text: &str) {
        let again = self.own("script.ipxe");
        self.line(":problem");
        self.line(format!("echo {text} Assign something else to {}.", self.script.name));
        self.line(
            "prompt --key l --timeout 10000 Press L for the local disk; asking again in 10 seconds && goto local ||",
        );
        self.line(format!("chain --replace --autofree {again} || goto problem"));
        self.local();
    }
}

/// gPXE stops a script at its first error and has neither labels nor keys.
fn gpxe(script: &ScriptFor<'_>, boot: &Boot) -> String {
    let mut out = String::from("#!gpxe\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    let own = |rest: &str| format!("{}{}/{rest}", script.base, host_path(script.mac));
    let lab = &script.plan.lab;
    if let Some(profile) = script.plan.unfit(boot, script.arch) {
        line(format!("echo The profile {profile} is not for this machine"));
        line("exit".into());
        return out;
    }
    // There is no gPXE for UEFI.
    if let Some(profile) = profile_of(script.plan, boot).filter(|p| no_hypervisor_for(p, Some(Arch::Bios))) {
        line(format!("echo The profile {} has no Xen for BIOS", profile.name));
        line("exit".into());
        return out;
    }
    match boot {
        Boot::Local | Boot::Ignore => line("exit".into()),
        Boot::Wait | Boot::Menu => {
            line(format!("echo {} waiting for a technician", script.name));
            line(format!("chain {}", own("wait.ipxe")));
        }
        Boot::Iscsi(iscsi) => {
            let disk = lab.disk(&iscsi.disk);
            if let Some((profile, disk)) = direct(script.plan, iscsi).zip(disk) {
                gpxe_kernel(script, profile, Some((iscsi, disk))).into_iter().for_each(line);
            } else if let Some(root) = root_path(script.plan, script.server, iscsi) {
                line(format!("set initiator-iqn {}", initiator_name(script.mac)));
                if let Some(chap) = disk.and_then(|d| d.chap.as_ref()) {
                    line(format!("set username:hex {}", hex(&chap.user)));
                    line(format!("set password:hex {}", hex(chap.secret.expose())));
                }
                line(format!("sanboot {root}"));
            } else {
                line("exit".into());
            }
        }
        Boot::Install(install) => {
            if let Some(profile) = lab.profile(&install.profile) {
                gpxe_kernel(script, profile, None).into_iter().for_each(line);
            } else {
                line("exit".into());
            }
        }
    }
    out
}

fn gpxe_kernel(script: &ScriptFor<'_>, profile: &Profile, root: Option<(&IscsiBoot, &Disk)>) -> Vec<String> {
    let args = kernel_args(script, profile, root);
    let kernel = format!("{}{} {args}", script.base, kernel_path(profile));
    let (mut lines, load) = match hypervisor_path(profile) {
        Some(hypervisor) => {
            let with = one_line(&profile.hypervisor_args);
            (vec![format!("kernel {}{hypervisor} {with}", script.base), format!("module {kernel}")], "module")
        }
        None => (vec![format!("kernel {kernel}")], "initrd"),
    };
    let initrds = (0..profile.initrds.len()).filter_map(|index| initrd_path(profile, index));
    lines.extend(initrds.map(|path| format!("{load} {}{path}", script.base)));
    lines.push("boot".into());
    lines
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
