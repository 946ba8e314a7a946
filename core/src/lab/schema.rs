//! lab.toml as types that cannot be wrong. The reader (`lab::read`) makes them of text and reports every problem with its line;
//! nothing outside `lab` sees unchecked values.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::boot::Arch;
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// A name of the lab: `[a-z0-9-]`, 1 to 63 characters, no hyphen at an end.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name; use 1 to 63 of a-z, 0-9 and -, with no hyphen first or last")]
pub struct NameError(pub String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let ok = (1..=63).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !s.starts_with('-')
            && !s.ends_with('-');
        if ok { Ok(Self(s.to_owned())) } else { Err(NameError(s.to_owned())) }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret: never printed, never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the protocol that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The whole of lab.toml, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lab {
    /// `[network]` or `[[network]]`, one an interface.
    pub networks: Vec<Network>,
    /// `[ports]`.
    pub ports: Ports,
    /// `[[firmware]]`.
    pub firmware: Vec<FirmwareRule>,
    /// `[[profile]]`; names are unique.
    pub profiles: Vec<Profile>,
    /// `[[disk]]`; names and IQNs are unique.
    pub disks: Vec<Disk>,
    /// `[[host]]`; MACs are unique but for hosts told apart by `uuid`.
    pub hosts: Vec<Host>,
}

impl Lab {
    /// The profile of this name.
    #[must_use]
    pub fn profile(&self, name: &Name) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == *name)
    }

    /// The disk of this name.
    #[must_use]
    pub fn disk(&self, name: &Name) -> Option<&Disk> {
        self.disks.iter().find(|d| d.name == *name)
    }
}

/// How an interface gives addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Full DHCP server; refuses to start beside another unless `force`.
    Dhcp,
    /// ProxyDHCP: boot information only.
    Proxy,
    /// `proxy` if another DHCP server answers a probe, else `dhcp`.
    #[default]
    Auto,
}

/// What a machine without an assignment gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Unknown {
    /// `wait` in dhcp mode, `ignore` beside another server.
    #[default]
    ByMode,
    /// As written; an `install` only together with `unknown-erases-disks = true`.
    Boot(Boot),
}

/// Lease times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Given when the client asks for none.
    pub default: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { default: Duration::from_secs(30 * 60), max: Duration::from_secs(24 * 3600) }
    }
}

/// One `[network]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Interface name.
    pub interface: String,
    /// Put on the interface while serving, if it is bare.
    pub address: Option<Ipv4Cidr>,
    /// How it gives addresses.
    pub mode: Mode,
    /// Serve in `dhcp` mode even beside another server.
    pub force: bool,
    /// Addresses to give; empty: the free part of the interface's own subnet.
    pub ranges: Vec<Ipv4Range>,
    /// Option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Lease times.
    pub lease: Lease,
    /// What a machine without an assignment gets.
    pub unknown: Unknown,
    /// How long `wait` waits before the local disk follows; zero: for ever.
    pub wait_timeout: Duration,
    /// Subnets behind relays.
    pub subnets: Vec<Subnet>,
}

impl Network {
    /// A network with every default.
    #[must_use]
    pub fn on(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            address: None,
            mode: Mode::Auto,
            force: false,
            ranges: Vec::new(),
            router: None,
            dns: Vec::new(),
            domain: None,
            lease: Lease::default(),
            unknown: Unknown::ByMode,
            wait_timeout: Duration::ZERO,
            subnets: Vec::new(),
        }
    }
}

/// `[[network.subnet]]`: addresses for clients behind a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet.
    pub subnet: Ipv4Cidr,
    /// Addresses to give.
    pub ranges: Vec<Ipv4Range>,
    /// Option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 6; the network's own when empty.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Lease times; the network's own by default.
    pub lease: Option<Lease>,
}

/// `[ports]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
    /// iSCSI.
    pub iscsi: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { http: 80, https: 443, iscsi: 3260 }
    }
}

/// `[[firmware]]`: which boot file; the most specific rule wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareRule {
    /// For this architecture only.
    pub arch: Option<Arch>,
    /// For hardware addresses that begin so (1 to 6 bytes).
    pub mac_prefix: Option<Vec<u8>>,
    /// File below `firmware/` or of the system's.
    pub file: String,
}

/// The form of an answer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileKind {
    /// Debian's.
    Preseed,
    /// Red Hat's.
    Kickstart,
    /// Ubuntu's.
    Autoinstall,
    /// No argument is added.
    None,
}

/// How an initramfs takes its iSCSI root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IscsiArgs {
    /// open-iscsi's initramfs-tools hook.
    Debian,
    /// dracut.
    Dracut,
    /// The iBFT alone.
    None,
}

/// `[[profile]]`: something to install or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name.
    pub name: Name,
    /// Kernel, below `media/` or absolute.
    pub kernel: PathBuf,
    /// Initrds, likewise, in order.
    pub initrds: Vec<PathBuf>,
    /// Kernel arguments.
    pub args: String,
    /// Answer file, a template.
    pub answers: Option<PathBuf>,
    /// Its form; `None`: by the file's content.
    pub kind: Option<ProfileKind>,
    /// Only for these; empty: any.
    pub arch: Vec<Arch>,
    /// Xen, loaded first.
    pub hypervisor: Option<PathBuf>,
    /// Xen's arguments.
    pub hypervisor_args: String,
    /// How the initramfs takes an iSCSI root.
    pub iscsi_args: Option<IscsiArgs>,
}

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
            iqn: super::derived_iqn(&name),
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

/// `[[host]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Hardware addresses; at least one.
    pub macs: Vec<MacAddr>,
    /// Tells sharers of one MAC apart.
    pub uuid: Option<Uuid>,
    /// Name.
    pub name: Option<Name>,
    /// Group.
    pub group: Option<Name>,
    /// Reserved address.
    pub address: Option<Ipv4Addr>,
    /// Boot file.
    pub firmware: Option<String>,
    /// What it gets; `None`: as an unknown machine.
    pub boot: Option<Boot>,
}

/// What a host gets: `boot` of lab.toml. JSON has the same form as TOML: `"local"`, `"wait"`, `"menu"`, `"ignore"`,
/// `{ iscsi = "disk" }` or `{ install = "profile", then = … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BootForm", into = "BootForm")]
pub enum Boot {
    /// Its own disk.
    Local,
    /// Waits for a technician.
    #[default]
    Wait,
    /// A menu on its screen.
    Menu,
    /// Listed, never answered.
    Ignore,
    /// A disk over iSCSI.
    Iscsi(IscsiBoot),
    /// An installer.
    Install(Install),
}

/// `{ iscsi = "server01" }`, with `profile` to start that profile's kernel directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IscsiBoot {
    /// The disk.
    #[serde(rename = "iscsi")]
    pub disk: Name,
    /// Its kernel comes over HTTP, its root is the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Name>,
    /// How iPXE is told of the disk.
    #[serde(default, skip_serializing_if = "IscsiVia::is_script")]
    pub via: IscsiVia,
    /// For this host only, instead of the disk's: `keep` or `image` to try changes that are then committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<Writes>,
}

/// How iPXE is told of its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IscsiVia {
    /// By a script with `sanboot`: errors come back to the engine.
    #[default]
    Script,
    /// By the classic DHCP answer: `filename ""` and option 17, without a script.
    RootPath,
}

impl IscsiVia {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_script(&self) -> bool {
        *self == Self::Script
    }
}

/// `{ install = "debian-12", then = "local" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Install {
    /// The profile.
    #[serde(rename = "install")]
    pub profile: Name,
    /// What follows when the installer has proven to run.
    #[serde(default)]
    pub then: InstallThen,
}

/// What follows an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ThenForm", into = "ThenForm")]
pub enum InstallThen {
    /// The local disk.
    #[default]
    Local,
    /// A disk over iSCSI.
    Iscsi(IscsiBoot),
}

impl From<InstallThen> for Boot {
    fn from(then: InstallThen) -> Self {
        match then {
            InstallThen::Local => Self::Local,
            InstallThen::Iscsi(iscsi) => Self::Iscsi(iscsi),
        }
    }
}

impl Boot {
    /// The disk that it serves, now.
    #[must_use]
    pub fn disk(&self) -> Option<&Name> {
        match self {
            Self::Iscsi(iscsi) => Some(&iscsi.disk),
            _ => None,
        }
    }

    /// The disk that it serves, now or after an installation.
    #[must_use]
    pub fn any_disk(&self) -> Option<&Name> {
        self.any_iscsi().map(|iscsi| &iscsi.disk)
    }

    /// How it serves a disk, now or after an installation.
    #[must_use]
    pub fn any_iscsi(&self) -> Option<&IscsiBoot> {
        match self {
            Self::Iscsi(iscsi) | Self::Install(Install { then: InstallThen::Iscsi(iscsi), .. }) => Some(iscsi),
            _ => None,
        }
    }
}

impl fmt::Display for Boot {
    /// As `bootyard assign` takes it: `install debian-12`, `iscsi server01`, `local` …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Wait => f.write_str("wait"),
            Self::Menu => f.write_str("menu"),
            Self::Ignore => f.write_str("ignore"),
            Self::Iscsi(IscsiBoot { disk, writes: Some(writes), .. }) => write!(f, "iscsi {disk}, writes {writes}"),
            Self::Iscsi(IscsiBoot { disk, .. }) => write!(f, "iscsi {disk}"),
            Self::Install(Install { profile, .. }) => write!(f, "install {profile}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BootWord {
    Local,
    Wait,
    Menu,
    Ignore,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BootForm {
    Word(BootWord),
    Iscsi(IscsiBoot),
    Install(Install),
}

impl From<BootForm> for Boot {
    fn from(form: BootForm) -> Self {
        match form {
            BootForm::Word(BootWord::Local) => Self::Local,
            BootForm::Word(BootWord::Wait) => Self::Wait,
            BootForm::Word(BootWord::Menu) => Self::Menu,
            BootForm::Word(BootWord::Ignore) => Self::Ignore,
            BootForm::Iscsi(iscsi) => Self::Iscsi(iscsi),
            BootForm::Install(install) => Self::Install(install),
        }
    }
}

impl From<Boot> for BootForm {
    fn from(boot: Boot) -> Self {
        match boot {
            Boot::Local => Self::Word(BootWord::Local),
            Boot::Wait => Self::Word(BootWord::Wait),
            Boot::Menu => Self::Word(BootWord::Menu),
            Boot::Ignore => Self::Word(BootWord::Ignore),
            Boot::Iscsi(iscsi) => Self::Iscsi(iscsi),
            Boot::Install(install) => Self::Install(install),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LocalWord {
    Local,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ThenForm {
    Local(LocalWord),
    Iscsi(IscsiBoot),
}

impl From<ThenForm> for InstallThen {
    fn from(form: ThenForm) -> Self {
        match form {
            ThenForm::Local(LocalWord::Local) => Self::Local,
            ThenForm::Iscsi(iscsi) => Self::Iscsi(iscsi),
        }
    }
}

impl From<InstallThen> for ThenForm {
    fn from(then: InstallThen) -> Self {
        match then {
            InstallThen::Local => Self::Local(LocalWord::Local),
            InstallThen::Iscsi(iscsi) => Self::Iscsi(iscsi),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_has_one_form_in_json_and_toml() {
        let disk: Name = "server01".parse().unwrap();
        let iscsi = IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None };
        for (boot, json) in [
            (Boot::Wait, r#""wait""#),
            (Boot::Iscsi(iscsi.clone()), r#"{"iscsi":"server01"}"#),
            (
                Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Iscsi(iscsi) }),
                r#"{"install":"debian-12","then":{"iscsi":"server01"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&boot).unwrap(), json);
            assert_eq!(serde_json::from_str::<Boot>(json).unwrap(), boot);
        }
    }

    #[test]
    fn a_name_is_refused_before_it_can_be_wrong() {
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("room-1".parse::<Name>().is_ok());
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "(secret)");
    }
}
