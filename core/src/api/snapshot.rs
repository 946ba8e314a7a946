//! The snapshot: all that the window and `bootyard hosts` show, as of one event.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{ClientKind, Event, HostId, JobKind, ServiceKind, Severity};
use crate::boot::Arch;
use crate::lab::{Boot, IscsiArgs, Seat, Settings, Writes};
use crate::net::MacAddr;

/// The state of the whole lab after event `seq`. Immutable; shared by `Arc`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Version of this form.
    pub v: u16,
    /// The last event folded in.
    pub seq: u64,
    /// The lab's folder.
    pub lab: PathBuf,
    /// Serving or not.
    pub engine: EngineState,
    /// Interfaces of this computer that could serve.
    pub interfaces: Vec<InterfaceView>,
    /// The networks of lab.toml with the mode in force.
    pub networks: Vec<NetworkView>,
    /// The servers.
    pub services: Vec<ServiceView>,
    /// The machines, in order of first sight; configured ones first.
    pub hosts: Vec<Arc<HostView>>,
    /// Disks of lab.toml.
    pub disks: Vec<DiskView>,
    /// Profiles of lab.toml.
    pub profiles: Vec<ProfileView>,
    /// Boot firmware by architecture.
    pub firmware: Vec<FirmwareView>,
    /// What is wrong with no one host in particular, worst first.
    pub findings: Vec<Finding>,
    /// Jobs that run or ended lately.
    pub jobs: Vec<JobView>,
    /// The last events, oldest first; at most a few hundred.
    pub recent: Vec<Arc<Event>>,
    /// What a machine without an assignment gets. `None` while no lab is loaded.
    pub unknown: Option<Boot>,
    /// What is written in lab.toml of what a person changes.
    #[serde(default)]
    pub settings: Arc<Settings>,
    /// Whose engine it is.
    #[serde(default)]
    pub keeper: Keeper,
    /// Room where the lab is; `None` where it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
}

/// What kind of process an engine belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeeperKind {
    /// A command that needs it for a moment.
    #[default]
    Command,
    /// `bootyard serve`.
    Serve,
    /// A window.
    Window,
}

/// The process that an engine belongs to. Another one that holds a handle to it may go without ending it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Keeper {
    /// What it is.
    pub kind: KeeperKind,
    /// Its number.
    pub pid: u32,
}

/// Room on the disk of a lab. Told in steps, so that it is no news each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Space {
    /// Free bytes, as for an ordinary user.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

impl Space {
    /// Below this much of 100 no new overlay starts.
    const LEAST: u64 = 5;

    /// From exact numbers, in steps of 256 MiB, or of 16 MiB where little is left.
    #[must_use]
    pub fn of(free: u64, total: u64) -> Self {
        let step: u64 = if free >= 4 << 30 { 256 << 20 } else { 16 << 20 };
        Self { free: free / step * step, total }
    }

    /// Whether machines that need a new overlay are refused their disk.
    #[must_use]
    pub fn is_low(self) -> bool {
        self.free.saturating_mul(100) < self.total.saturating_mul(Self::LEAST)
    }
}

/// Whether the engine serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum EngineState {
    /// Not serving.
    #[default]
    Stopped,
    /// Probing, opening ports.
    Starting,
    /// Serving.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Could not start, or stopped by itself.
    Failed {
        /// What was wrong and what to do.
        error: String,
    },
}

/// A network interface of this computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InterfaceView {
    /// The operating system's name for it.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its IPv4 addresses with prefix, `192.168.2.1/24`.
    pub addresses: Vec<String>,
    /// Administratively up.
    pub up: bool,
    /// Has link.
    pub running: bool,
    /// Wi-Fi.
    pub wireless: bool,
    /// Point-to-point, tunnel or other virtual link that no machine boots from.
    pub virtual_link: bool,
    /// The default route leaves through it.
    pub default_route: bool,
    /// Mbit/s of its link, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<u32>,
    /// The bridge that it is a port of; machines on it boot through that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// A person said on this laptop that this interface may serve.
    pub confirmed: bool,
}

/// A `[network]` of lab.toml with what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkView {
    /// Interface.
    pub interface: String,
    /// Our address there, once known.
    pub address: Option<String>,
    /// `dhcp`, `proxy` or `auto` as configured.
    pub configured: String,
    /// `dhcp` or `proxy` in force; `None` while stopped or probing.
    pub mode: Option<String>,
    /// Why that mode.
    pub because: Option<String>,
    /// Addresses to give: how many, and how many are leased.
    pub pool: u64,
    /// Leased now.
    pub leased: u64,
    /// Other DHCP servers seen.
    pub foreign: Vec<Ipv4Addr>,
}

/// One server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceView {
    /// Which.
    pub service: ServiceKind,
    /// Where it listens; empty when it does not.
    pub address: String,
    /// Why it does not.
    pub error: Option<String>,
}

/// How far a machine's boot has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Known from lab.toml or history; not seen since the engine started.
    #[default]
    Absent,
    /// A first packet came.
    Seen,
    /// Holds an address.
    Addressed,
    /// Firmware fetches or has its boot file.
    Firmware,
    /// iPXE runs.
    Ipxe,
    /// iPXE has its script.
    Script,
    /// Waits for a technician.
    Waiting,
    /// Loads kernel and initrds.
    Loading,
    /// Its firmware is logged in to its disk.
    SanLogin,
    /// The kernel was started.
    OsStarted,
    /// The operating system is logged in to its disk.
    OsLogin,
    /// The installer works.
    Installing,
    /// Boots its local disk; no more is seen of it.
    Local,
    /// The operating system runs.
    Running,
    /// Stopped; see the findings.
    Failed,
}

/// A number that grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 when unknown.
    pub total: u64,
    /// Bytes a second, over the last second or so.
    pub rate: u64,
}

/// How a step of the timeline ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Going on.
    #[default]
    Active,
    /// Done.
    Done,
    /// Ended in an error.
    Failed,
}

/// What of its stage a step is, where a stage has several: a system that is started directly loads one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepPart {
    /// Loads Xen.
    Hypervisor,
    /// Loads the kernel.
    Kernel,
    /// Loads an initrd.
    Initrd,
    /// The system that was started asks for its address and gets it.
    SystemAddress,
}

/// One step of a host's timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// Stage it belongs to.
    pub stage: Stage,
    /// What of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<StepPart>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// A short text: file, address, target.
    pub text: String,
    /// How it stands.
    pub state: StepState,
    /// Bytes moved in it.
    pub bytes: u64,
    /// How often something had to be asked for or sent again in it.
    #[serde(default)]
    pub retries: u32,
    /// When nothing came of a transfer for seconds, from and to; the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<(Timestamp, Timestamp)>,
    /// The number of the event with which it began: a finding that rests on an event from this one to the next step's is about it.
    #[serde(default)]
    pub seq: u64,
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It fits what was seen; other things do, too.
    Possible,
    /// Little else looks like this.
    Likely,
    /// What was seen says so itself.
    #[default]
    Certain,
}

/// A screen of the window that a finding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Interface, mode and servers.
    Network,
    /// Disks, profiles and boot files.
    Images,
}

/// What a button can do about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum FindingAction {
    /// The machine gets this from now on: [`super::Command::Assign`].
    Assign { to: Boot },
    /// The machine gets another build of iPXE: [`super::Command::OtherFirmware`].
    OtherFirmware,
    /// The machine starts the kernel of this disk directly: [`super::Command::StartDirectly`].
    StartDirectly { disk: String },
    /// Look here; what to change is there.
    Show { place: Place },
}

/// What is wrong, what it means and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Stable id; its sentences are in `assets/lang`.
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// What was seen.
    pub seen: String,
    /// What it means.
    pub means: String,
    /// What to do.
    pub remedy: String,
    /// How sure that is.
    #[serde(default)]
    pub certainty: Certainty,
    /// The events that prove it, by number, oldest first; none where something else than an event does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<u64>,
    /// What a button can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<FindingAction>,
    /// Since when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostView {
    /// Internal number.
    pub id: HostId,
    /// Hardware addresses; the first is shown.
    pub macs: Vec<MacAddr>,
    /// SMBIOS UUID.
    pub uuid: Option<Uuid>,
    /// Name of lab.toml, or what the machine calls itself.
    pub name: Option<String>,
    /// The name is that of lab.toml.
    #[serde(default)]
    pub named: bool,
    /// Group of lab.toml.
    pub group: Option<String>,
    /// Its place in the group's seating plan.
    #[serde(default)]
    pub seat: Option<Seat>,
    /// Who made its network card, or what its virtual machine runs on.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Has an entry of its own in lab.toml.
    pub configured: bool,
    /// Address it holds.
    pub ip: Option<IpAddr>,
    /// Architecture its firmware named.
    pub arch: Option<Arch>,
    /// Who speaks now.
    pub client: Option<ClientKind>,
    /// What iPXE told.
    pub manufacturer: Option<String>,
    /// Model.
    pub product: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// What it gets.
    pub boot: Boot,
    /// That is its own entry's; else it is what a machine without an assignment gets.
    #[serde(default)]
    pub assigned: bool,
    /// The profile or disk to which `boot` refers is missing or broken.
    pub boot_problem: Option<String>,
    /// How far it is.
    pub stage: Stage,
    /// Since when it is at this stage.
    pub since: Option<Timestamp>,
    /// What it loads now.
    pub progress: Option<Progress>,
    /// What the progress is of: a file's or a target's name.
    pub activity: Option<String>,
    /// The steps of this boot, oldest first.
    pub timeline: Vec<Step>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// First sight ever.
    pub first_seen: Option<Timestamp>,
    /// Last sign of life.
    pub last_seen: Option<Timestamp>,
    /// A Wake-on-LAN packet was sent to it then, and nothing came of it yet.
    #[serde(default)]
    pub woken: Option<Timestamp>,
}

/// One host's overlay of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OverlayView {
    /// Names it in commands; stable.
    pub id: String,
    /// Whose, as it is shown. Several machines may call themselves the same.
    pub host: String,
    /// Which machine that is, where it is one of the lab's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<HostId>,
    /// `keep` or `fresh`.
    pub writes: Writes,
    /// The generation of the image on which it stands.
    pub generation: u64,
    /// Bytes of its own.
    pub bytes: u64,
    /// A session has it open.
    pub open: bool,
}

/// A disk of lab.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskView {
    /// Name.
    pub name: String,
    /// Image file.
    pub image: PathBuf,
    /// Target name.
    pub iqn: String,
    /// Size in bytes; 0 when the image is missing.
    pub size: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
    /// Where writes go.
    pub writes: Writes,
    /// Read-only.
    pub readonly: bool,
    /// Who logs in must prove who it is by CHAP.
    #[serde(default)]
    pub chap: bool,
    /// Hosts (by shown name) assigned to it.
    pub assigned: Vec<String>,
    /// Sessions open.
    pub sessions: u32,
    /// The overlays on it.
    pub overlays: Vec<OverlayView>,
    /// Why it cannot be served.
    pub problem: Option<String>,
    /// Generation of the image; 0 while its identity is not known.
    pub generation: u64,
    /// The disk of which it is a snapshot, by its present name; and that one's generation then.
    pub parent: Option<(String, u64)>,
    /// Former generations that are kept because overlays stand on them.
    pub older: Vec<GenerationView>,
}

/// A former generation of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GenerationView {
    /// Its number.
    pub generation: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
}

/// A profile of lab.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProfileView {
    /// Name.
    pub name: String,
    /// Kernel file.
    pub kernel: PathBuf,
    /// Initrd files.
    pub initrds: Vec<PathBuf>,
    /// Answer file.
    pub answers: Option<PathBuf>,
    /// Arguments.
    pub args: String,
    /// Bytes to load: kernel and initrds.
    pub size: u64,
    /// Hosts assigned to it.
    pub assigned: Vec<String>,
    /// Why it cannot be served.
    pub problem: Option<String>,
    /// Xen, which is loaded first.
    #[serde(default)]
    pub hypervisor: Option<PathBuf>,
    /// How its initramfs takes an iSCSI root.
    #[serde(default)]
    pub iscsi_args: Option<IscsiArgs>,
    /// The disk from which its kernel was taken.
    #[serde(default)]
    pub taken_from: Option<String>,
    /// Its arguments are others than those that were taken out with the kernel: a person's, which a renewal leaves alone.
    #[serde(default)]
    pub edited: bool,
    /// Why that is no longer the kernel that the disk would start, and what to do.
    #[serde(default)]
    pub stale: Option<String>,
}

/// The boot file for an architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FirmwareView {
    /// Architecture.
    pub arch: Arch,
    /// Name under which it is served, `snponly.efi`.
    pub file: String,
    /// Where it was found; `None`: missing.
    pub path: Option<PathBuf>,
    /// How to get it when it is missing.
    pub remedy: Option<String>,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum JobState {
    /// At work.
    Running,
    /// Ended well.
    Done,
    /// Cancelled by somebody.
    Cancelled,
    /// Ended in an error.
    Failed {
        /// What was wrong.
        error: String,
    },
}

/// Something long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobView {
    /// Number, for cancelling.
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// To what.
    pub what: String,
    /// How far.
    pub progress: Progress,
    /// How it stands.
    pub state: JobState,
    /// Since when.
    pub started: Timestamp,
}
