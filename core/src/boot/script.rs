//! The boot script: what iPXE or gPXE is told to do, made anew for each request from the host's assignment.
//!
//! iPXE gets two scripts. The entry script ([`entry`]) is the same for all and sends what iPXE knows of the machine along with the
//! request for the second one ([`render`]), which does the work, marks its steps and reports its errors under `/boot/MAC/`.
//! gPXE knows neither `||` with labels nor `prompt`: it gets the second one at once, as a plain list of commands.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::{Arch, Plan, initiator_name, root_path};
use crate::lab::{Boot, Disk, InstallThen, IscsiArgs, IscsiBoot, Profile, ProfileKind, Writes};
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
fn kernel_args(script: &ScriptFor<'_>, profile: &Profile, root: Option<(&IscsiBoot, &Disk)>) -> String {
    let mut args: Vec<String> = vec![one_line(&profile.args)];
    if profile.hypervisor.is_none() {
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

/// The initiator's arguments as the profile's initramfs understands them. Secrets on a command line can be read on that machine.
fn root_args(script: &ScriptFor<'_>, profile: &Profile, disk: &Disk) -> Vec<String> {
    let server = script.server;
    let port = script.plan.lab.ports.iscsi;
    let initiator = initiator_name(script.mac);
    match profile.iscsi_args.unwrap_or(IscsiArgs::Debian) {
        IscsiArgs::None => Vec::new(),
        IscsiArgs::Debian => {
            let mut args = vec![
                format!("ISCSI_INITIATOR={initiator}"),
                format!("ISCSI_TARGET_NAME={}", disk.iqn),
                format!("ISCSI_TARGET_IP={server}"),
                format!("ISCSI_TARGET_PORT={port}"),
                "ip=dhcp".to_owned(),
            ];
            if let Some(chap) = &disk.chap {
                args.push(format!("ISCSI_USERNAME={} ISCSI_PASSWORD={}", chap.user, chap.secret.expose()));
                if let Some((user, secret)) = &chap.mutual {
                    args.push(format!("ISCSI_IN_USERNAME={user} ISCSI_IN_PASSWORD={}", secret.expose()));
                }
            }
            args
        }
        IscsiArgs::Dracut => {
            let login = disk.chap.as_ref().map_or_else(String::new, |chap| {
                let mutual = chap.mutual.as_ref().map_or_else(String::new, |(u, s)| format!(":{u}:{}", s.expose()));
                format!("{}:{}{mutual}@", chap.user, chap.secret.expose())
            });
            vec![
                format!("rd.iscsi.initiator={initiator}"),
                format!("netroot=iscsi:{login}{server}::{port}:0:{}", disk.iqn),
                format!("ip=dhcp BOOTIF=01-{}", script.mac.hyphenated()),
                "rd.neednet=1".to_owned(),
            ]
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Bytes as iPXE's `hex` setting type, so that no character of a secret means anything to the script.
fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

struct Ipxe<'a> {
    script: &'a ScriptFor<'a>,
    out: String,
}

impl<'a> Ipxe<'a> {
    fn new(script: &'a ScriptFor<'a>) -> Self {
        Self { script, out: String::from("#!ipxe\n") }
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.script.base)
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
        let profile = iscsi.profile.as_ref().and_then(|name| self.script.plan.lab.profile(name));
        match profile {
            None => {
                self.mark("san-start");
                self.san("sanboot", iscsi, disk);
                // A disk that ends its boot code comes back here.
                self.line("goto again");
            }
            Some(profile) => {
                // A system's login makes no overlay new, so `fresh` needs one of its firmware.
                let fresh = disk.writes == Writes::Fresh && !disk.readonly;
                if profile.iscsi_args == Some(IscsiArgs::None) || fresh {
                    self.san("sanhook --drive 0x80", iscsi, disk);
                }
                self.kernel(profile, Some((iscsi, disk)));
            }
        }
    }

    /// `sanboot` or `sanhook`, as the machine that we know it to be.
    fn san(&mut self, command: &str, iscsi: &IscsiBoot, disk: &Disk) {
        let initiator = initiator_name(self.script.mac);
        self.line("set step san");
        self.line(format!("set initiator-iqn {initiator}"));
        if let Some(chap) = &disk.chap {
            let (user, secret) = (hex(&chap.user), hex(chap.secret.expose()));
            self.line(format!("set username:hex {user}"));
            self.line(format!("set password:hex {secret}"));
            if let Some((user, secret)) = &chap.mutual {
                let (user, secret) = (hex(user), hex(secret.expose()));
                self.line(format!("set reverse-username:hex {user}"));
                self.line(format!("set reverse-password:hex {secret}"));
            }
        }
        if let Some(root) = root_path(self.script.plan, self.script.server, iscsi) {
            self.line(format!("{command} {root} || goto failed"));
        }
    }

    fn kernel(&mut self, profile: &Profile, root: Option<(&IscsiBoot, &Disk)>) {
        let args = kernel_args(self.script, profile, root);
        let kernel = self.url(&kernel_path(profile));
        self.line("set step kernel");
        if let Some(hypervisor) = hypervisor_path(profile) {
            let (hypervisor, with) = (self.url(&hypervisor), one_line(&profile.hypervisor_args));
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
        self.line("set step boot");
        self.mark("kernel-start");
        self.line("boot || goto failed");
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
        for profile in &plan.lab.profiles {
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
    match boot {
        Boot::Local | Boot::Ignore => line("exit".into()),
        Boot::Wait | Boot::Menu => {
            line(format!("echo {} waiting for a technician", script.name));
            line(format!("chain {}", own("wait.ipxe")));
        }
        Boot::Iscsi(iscsi) => {
            let disk = lab.disk(&iscsi.disk);
            let profile = iscsi.profile.as_ref().and_then(|name| lab.profile(name));
            if let Some((profile, disk)) = profile.zip(disk) {
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
mod tests {
    use super::*;
    use crate::lab::{Chap, Install, IscsiVia, Lab, Secret};
    use std::sync::Arc;

    fn plan() -> Plan {
        let profile = Profile {
            name: "debian-12".parse().unwrap(),
            kernel: "debian 12/linux".into(),
            initrds: vec!["debian-12/initrd.gz".into()],
            args: "auto=true\n  priority=critical".into(),
            answers: Some("debian-12.cfg".into()),
            kind: Some(ProfileKind::Preseed),
            arch: vec![],
            hypervisor: None,
            hypervisor_args: String::new(),
            iscsi_args: None,
        };
        let disk = Disk {
            name: "server01".parse().unwrap(),
            image: "server01.raw".into(),
            iqn: "iqn.2001-04.com.server:server01.vg00.lun0".into(),
            size: None,
            writes: Writes::Keep,
            chap: Some(Chap { user: "u".into(), secret: Secret::new("a ${b} || c".into()), mutual: None }),
            allow: vec![],
            readonly: false,
            removable: false,
            redirect: None,
        };
        Plan { lab: Arc::new(Lab { profiles: vec![profile], disks: vec![disk], ..Lab::default() }), ..Plan::default() }
    }

    fn script<'a>(plan: &'a Plan, dialect: Dialect) -> ScriptFor<'a> {
        ScriptFor {
            plan,
            dialect,
            base: "http://192.168.2.1",
            server: Ipv4Addr::new(192, 168, 2, 1),
            mac: "52:54:00:00:00:01".parse().unwrap(),
            name: "pc-1",
            ip: None,
            arch: None,
            token: Some("0123"),
            menu: false,
        }
    }

    fn install() -> Boot {
        Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Local })
    }

    fn iscsi() -> IscsiBoot {
        IscsiBoot { disk: "server01".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None }
    }

    #[test]
    fn an_installer_gets_its_files_and_its_answers() {
        let plan = plan();
        let text = render(&script(&plan, Dialect::Ipxe), &install());
        assert!(text.starts_with("#!ipxe\n"));
        assert!(
            text.contains(
                "kernel http://192.168.2.1/media/debian-12/kernel/linux auto=true priority=critical initrd=initrd.gz \
                 url=http://192.168.2.1/answers/52-54-00-00-00-01/0123/preseed.cfg || goto failed\n"
            ),
            "{text}"
        );
        assert!(text.contains("initrd http://192.168.2.1/media/debian-12/initrd/0/initrd.gz || goto failed\n"));
        let gpxe = render(&script(&plan, Dialect::Gpxe), &install());
        assert!(gpxe.starts_with("#!gpxe\nkernel http://192.168.2.1/media/debian-12/kernel/linux"));
        assert!(!gpxe.contains("||") && !gpxe.contains("goto"), "{gpxe}");
    }

    #[test]
    fn what_the_profile_says_itself_is_not_said_again() {
        let mut plan = plan();
        Arc::make_mut(&mut plan.lab).profiles[0].args = "url=http://elsewhere/p.cfg".into();
        assert_eq!(render(&script(&plan, Dialect::Ipxe), &install()).matches("url=").count(), 1);
    }

    #[test]
    fn a_secret_cannot_be_taken_for_a_command() {
        let plan = plan();
        let text = render(&script(&plan, Dialect::Ipxe), &Boot::Iscsi(iscsi()));
        assert!(text.contains("set password:hex 61:20:24:7b:62:7d:20:7c:7c:20:63\n"), "{text}");
        assert!(
            text.contains("sanboot iscsi:192.168.2.1::::iqn.2001-04.com.server:server01.vg00.lun0 || goto failed\n")
                || text.contains(
                    "sanboot iscsi:192.168.2.1:::0:iqn.2001-04.com.server:server01.vg00.lun0 || goto failed\n"
                )
        );
    }

    #[test]
    fn a_profile_for_another_firmware_is_not_started() {
        let mut plan = plan();
        Arc::make_mut(&mut plan.lab).profiles[0].arch = vec![Arch::Bios];
        let for_arch = |arch| render(&ScriptFor { arch, ..script(&plan, Dialect::Ipxe) }, &install());
        assert!(for_arch(Some(Arch::UefiX64)).contains("The profile debian-12 is not for uefi-x64 machines."));
        assert!(!for_arch(Some(Arch::UefiX64)).contains("kernel http"));
        assert!(for_arch(Some(Arch::BiosHttp)).contains("kernel http"));
        assert!(for_arch(None).contains("kernel http"), "what is not known is not refused");
    }

    #[test]
    fn every_jump_has_its_label() {
        let plan = plan();
        let then = InstallThen::Iscsi(iscsi());
        let gone = Boot::Install(Install { profile: "gone".parse().unwrap(), then: InstallThen::Local });
        let with_disk = Boot::Install(Install { profile: "debian-12".parse().unwrap(), then });
        for boot in
            [Boot::Local, Boot::Wait, Boot::Menu, Boot::Ignore, Boot::Iscsi(iscsi()), install(), gone, with_disk]
        {
            let text = render(&script(&plan, Dialect::Ipxe), &boot);
            for jump in text.split("goto ").skip(1) {
                let label = jump.split_whitespace().next().unwrap();
                assert!(text.lines().any(|l| l == format!(":{label}")), "{boot}: no :{label} in\n{text}");
            }
        }
        let text = entry("http://192.168.2.1", "52:54:00:00:00:01".parse().unwrap());
        assert!(text.lines().any(|l| l == ":local") && text.lines().any(|l| l == ":again"));
    }

    #[test]
    fn a_direct_kernel_boot_names_its_root_as_the_initramfs_wants_it() {
        let mut plan = plan();
        let boot = Boot::Iscsi(IscsiBoot { profile: Some("debian-12".parse().unwrap()), ..iscsi() });
        let debian = render(&ScriptFor { token: None, ..script(&plan, Dialect::Ipxe) }, &boot);
        assert!(
            debian.contains("ISCSI_TARGET_NAME=iqn.2001-04.com.server:server01.vg00.lun0 ISCSI_TARGET_IP=192.168.2.1")
        );
        Arc::make_mut(&mut plan.lab).profiles[0].iscsi_args = Some(IscsiArgs::Dracut);
        let dracut = render(&ScriptFor { token: None, ..script(&plan, Dialect::Ipxe) }, &boot);
        assert!(dracut.contains("rd.iscsi.initiator=iqn.2026-11.org.bootyard:host.52-54-00-00-00-01"), "{dracut}");
    }
}
