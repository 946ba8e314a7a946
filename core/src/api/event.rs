//! Events: the one stream that everything else is folded from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::boot::Arch;
use crate::lab::Boot;
use crate::net::MacAddr;

/// A machine, as lab.db numbers it. Never shown; names and MACs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub u64);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether we did it or only saw it on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// One of our services did or received it.
    Served,
    /// Seen in traffic that is not ours, or in a capture.
    Observed,
}

/// How much an event or finding asks of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Detail, for the timeline.
    Debug,
    /// An ordinary step.
    Info,
    /// Look at it when you can.
    Warning,
    /// A boot stopped, or will.
    Error,
}

/// What a service knows of a client. The engine makes a [`HostId`] of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Hardware address, from DHCP or the URL that we issued for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// SMBIOS UUID: option 97, or iPXE's `${uuid}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Source address of the packet or connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

impl Who {
    /// A client known by its hardware address.
    #[must_use]
    pub fn mac(mac: MacAddr) -> Self {
        Self { mac: Some(mac), ..Self::default() }
    }

    /// A client known by its address only.
    #[must_use]
    pub fn ip(ip: impl Into<IpAddr>) -> Self {
        Self { ip: Some(ip.into()), ..Self::default() }
    }
}

/// UUIDs that makers leave in place of a machine's own.
const BOGUS: [Uuid; 3] = [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x0300_0200_0400_0500_0006_0007_0008_0009)];

/// An SMBIOS UUID, unless it is a well-known one that many machines share.
#[must_use]
pub fn machine_uuid(uuid: Uuid) -> Option<Uuid> {
    (!BOGUS.contains(&uuid)).then_some(uuid)
}

/// What a service reports; the engine adds number, time and host.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The client, if one was involved.
    pub who: Option<Who>,
    /// What happened.
    pub kind: EventKind,
}

impl Observation {
    /// Something that concerns no one client.
    #[must_use]
    pub fn engine(kind: EventKind) -> Self {
        Self { who: None, kind }
    }

    /// Something that a client did, or that was done for it.
    #[must_use]
    pub fn of(who: Who, kind: EventKind) -> Self {
        Self { who: Some(who), kind }
    }
}

/// One entry of the stream. `seq` is a total order over the life of a lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of this form: [`super::VERSION`].
    pub v: u16,
    /// Grows by one from event to event.
    pub seq: u64,
    /// Wall time.
    pub time: Timestamp,
    /// The machine, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// The machine's hardware address, for readers without the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Served or observed.
    pub source: Source,
    /// What happened; its name is the JSON field `kind`.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Which program speaks DHCP: it decides what a client is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// A PXE ROM or UEFI's PXE client: option 60 `PXEClient`, no sign of iPXE.
    PxeRom,
    /// UEFI HTTP Boot: option 60 `HTTPClient`.
    HttpBoot,
    /// iPXE: user class `iPXE`, or option 175 with iPXE's features.
    Ipxe,
    /// gPXE: user class `gPXE`, or option 175 with a bus-id only.
    Gpxe,
    /// An operating system, or anything that asks for an address only.
    Os,
    /// BOOTP without option 53.
    Bootp,
}

/// The two forms of a ProxyDHCP offer (PXE 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyStyle {
    /// The offer names the boot file: discovery control 8 in option 43.
    File,
    /// The offer names no file and has no option 43; the client asks the boot server on port 4011 for it.
    BootServer,
}

impl ProxyStyle {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::File => Self::BootServer,
            Self::BootServer => Self::File,
        }
    }
}

/// One of the engine's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// DHCP on port 67.
    Dhcp,
    /// ProxyDHCP and boot server on port 4011.
    Pxe,
    /// Answers to iPXE's router solicitation.
    Ndp,
    /// TFTP on port 69.
    Tftp,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// The iSCSI target.
    Iscsi,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Bring an image into `disks/`.
    ImportDisk,
    /// Make an empty image.
    CreateDisk,
    /// Compute an image's identity.
    HashImage,
    /// Bring an installer's files into `media/`.
    ImportProfile,
    /// Copy a disk, or what a host sees of it, to a new one.
    CopyDisk,
    /// Make a host's overlay the image's next generation.
    CommitDisk,
    /// Write a disk to a file outside the lab.
    ExportDisk,
    /// Give back space that a disk does not need.
    CompactDisk,
    /// Delete a disk.
    DeleteDisk,
    /// Drop what machines wrote to a disk.
    ResetDisk,
    /// Make a disk larger.
    ResizeDisk,
    /// Look into an image.
    InspectDisk,
    /// Take a kernel out of an image.
    ExtractKernel,
    /// Boot a machine that does not exist; its progress counts what was tried, not bytes.
    SelfTest,
}

/// Why a client and our HTTPS server did not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpsRefusal {
    /// They have no version or method in common: the client's TLS is too old, as that of firmware without elliptic curves.
    NoCommonMethod,
    /// The client does not know the lab's authority.
    UnknownAuthority,
}

/// What can happen. Names and fields are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum EventKind {
    // --- the engine ---
    /// The engine serves.
    EngineStarted { interfaces: Vec<String> },
    /// The engine stopped serving, at somebody's wish or because of `error`.
    EngineStopped {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A server listens.
    ServiceUp { service: ServiceKind, address: SocketAddr },
    /// A server could not start or died.
    ServiceFailed { service: ServiceKind, error: String },
    /// DHCP mode on an interface: as told, or as found by probing.
    ModeChosen { interface: String, mode: String, because: String },
    /// Another DHCP server answers on this interface.
    ForeignDhcp {
        interface: String,
        server: Ipv4Addr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<MacAddr>,
    },
    /// The other servers of this interface answer no more.
    ForeignDhcpGone { interface: String, servers: Vec<Ipv4Addr> },
    /// Address added to (or taken from, `held` false) a bare interface.
    AddressHeld { interface: String, address: String, held: bool },
    /// lab.toml was read anew.
    LabChanged,
    /// lab.toml has problems; the last good one stays in force.
    LabBroken { problems: Vec<String> },
    /// A host's assignment changed. `by` is `window`, `command`, `menu`, `install-finished` …
    Assigned { to: Boot, by: String },

    /// A Wake-on-LAN packet for the host's addresses went out of these interfaces.
    WakeSent { interfaces: Vec<String> },

    /// A host's overlay became the image's next generation.
    DiskCommitted { disk: String, of: String, generation: u64 },
    /// A disk is larger now, in bytes.
    DiskResized { disk: String, size: u64 },
    /// Overlays were dropped.
    OverlaysReset { disk: String, of: Vec<String> },
    /// A disk was deleted.
    DiskDeleted { disk: String },

    // --- DHCP ---
    /// A DISCOVER (or BOOTP request) came.
    DhcpDiscover {
        client: ClientKind,
        xid: u32,
        secs: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arch: Option<Arch>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<Ipv4Addr>,
    },
    /// We offered. `address` is absent in ProxyDHCP.
    DhcpOffer {
        client: ClientKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Ipv4Addr>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        next_server: Ipv4Addr,
    },
    /// We acknowledged: DHCP, ProxyDHCP on 4011, or INFORM (`address` absent in the last two).
    DhcpAck {
        client: ClientKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Ipv4Addr>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root_path: Option<String>,
        /// The disk of the lab that the root-path names; absent where the answer is another server's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disk: Option<String>,
        lease_seconds: u32,
    },
    /// We refused an address.
    DhcpNak { address: Ipv4Addr, reason: String },
    /// A client gave its address back.
    DhcpRelease { address: Ipv4Addr },
    /// A client found its address in use; it is withheld.
    DhcpDecline { address: Ipv4Addr },
    /// A machine that has no lease of ours uses an address that we were to give; `withheld`: nobody gets it for a while.
    DhcpConflict { address: Ipv4Addr, used_by: MacAddr, withheld: bool },
    /// Firmware of this model ignored one form of ProxyDHCP offer; it gets this one from now on (`taken`: it went on with it).
    ProxyStyle { model: String, style: ProxyStyle, taken: bool },
    /// A boot file that lab.toml names for a machine is not given to it, because its firmware cannot run it.
    BootFileUnfit { file: String, made_for: Arch, arch: Arch },
    /// We saw a request and said nothing, for a reason that a person may want to know.
    DhcpSilent { client: ClientKind, reason: String },
    /// We saw a request and said nothing, because the machine is to be ignored.
    DhcpIgnored { client: ClientKind, reason: String },
    /// iPXE's router solicitation got its empty answer.
    RouterSolicitation {
        answered: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },

    // --- seen on the wire, whoever it was meant for ---
    /// Another server's OFFER, or ACK, to this machine. `address` is absent in a ProxyDHCP answer.
    ForeignOffer {
        server: Ipv4Addr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_mac: Option<MacAddr>,
        ack: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Ipv4Addr>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_server: Option<Ipv4Addr>,
    },
    /// The machine's REQUEST names another server: it took that one's offer.
    DhcpElsewhere { client: ClientKind, server: Ipv4Addr },
    /// Packets of the machine for one of our servers came, and the server never got them: something on this computer drops them.
    /// `refused`: this computer answered that nobody listens there.
    Unheard { service: ServiceKind, port: u16, packets: u32, refused: bool },
    /// Segments to this port of ours, or from it, were sent `packets` times without being acknowledged; `by_us`: ours were.
    TcpRetransmits { service: ServiceKind, port: u16, packets: u32, by_us: bool },
    /// Frames from the machine's address, which is on our network, come with the hardware address of a router.
    ViaGateway { address: Ipv4Addr, gateway: MacAddr },
    /// The port of the switch speaks the spanning tree protocol: it may be silent for `delay_seconds`, twice, after the link came up.
    SpanningTree { interface: String, bridge: MacAddr, delay_seconds: u16 },

    // --- TFTP ---
    /// A read request, with its options as sent.
    TftpRequest { file: String, options: Vec<(String, String)> },
    /// Progress; coalesced, not persisted.
    TftpProgress { file: String, sent: u64, total: u64 },
    /// The last block was acknowledged; or it was sent more than once and the client, which acknowledged what came before, has
    /// fallen silent, as firmware does that starts what it has got.
    TftpDone { file: String, bytes: u64, millis: u64 },
    /// The client ended it. `probe` is the size probe of a firmware, which is no error.
    TftpAborted { file: String, sent: u64, probe: bool, message: String },
    /// We refused or gave up.
    TftpFailed { file: String, code: u16, message: String },

    /// What was sent for a request was repeated `tries` times, and not one acknowledgement came: of the options (`block` 0) or of data.
    /// `next`: this machine gets blocks of at most so many bytes from now on.
    TftpUnanswered {
        file: String,
        block: u64,
        block_size: u16,
        tries: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u16>,
    },
    /// The name in a read request went on behind its end; it was served without that.
    TftpNameTail { file: String },

    // --- HTTP ---
    /// A request with its answer's status.
    HttpRequest {
        method: String,
        path: String,
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
    },
    /// Progress of a file; coalesced, not persisted.
    HttpProgress { path: String, sent: u64, total: u64 },
    /// The whole answer was sent.
    HttpDone { path: String, bytes: u64, millis: u64 },
    /// The client went away.
    HttpAborted { path: String, sent: u64, total: u64 },
    /// No HTTPS connection came about.
    HttpsRefused { why: HttpsRefusal, message: String },

    // --- the boot script ---
    /// A script was given; it begins a boot epoch unless it is `wait` or `menu`.
    ScriptServed { boot: Boot, dialect: String, because: String },
    /// What iPXE told of the machine.
    Inventory {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manufacturer: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        product: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asset: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory_mib: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chip: Option<String>,
    },
    /// A command of the script failed with iPXE's error number.
    ScriptError { step: String, code: u32 },
    /// What a machine is given cannot work as it stands. `flaw` is a stable word, `detail` what it is about.
    ScriptFlaw { flaw: String, detail: String },
    /// The script reached a named step: `local`, `kernel-start`, `san-start`, `shell`.
    ScriptStep { step: String },
    /// The host's answer file was rendered and fetched.
    AnswersServed { profile: String },
    /// An `install` was consumed; `boot` is now what follows.
    InstallConsumed { profile: String, next: Boot, because: String },

    // --- iSCSI ---
    /// A login reached the full-feature phase. `firmware`: iPXE's or the ROM's own initiator.
    IscsiLogin { initiator: String, target: String, disk: String, firmware: bool, session: u16 },
    /// A login was refused with this status (class and detail, as RFC 7143 11.13.5 numbers them).
    IscsiRefused { initiator: String, target: String, status: u16, reason: String },
    /// A login was sent on to another target, as `redirect` of lab.toml says.
    IscsiRedirected { initiator: String, target: String, to: std::net::SocketAddrV4 },
    /// A session ended: logout, reinstatement, connection lost.
    IscsiEnded { target: String, session: u16, reason: String },
    /// Bytes moved since login; coalesced, not persisted.
    IscsiProgress { target: String, session: u16, read: u64, written: u64 },
    /// A command ended in a medium or space error.
    IscsiError { target: String, lba: u64, message: String },
    /// A new private overlay stands on the image.
    OverlayCreated { disk: String, fresh: bool },

    /// What is known to keep machines from booting this disk, by stable words; none left: it is mended.
    ImageTrouble { disk: String, troubles: Vec<String> },

    // --- who it is ---
    /// A machine asks with this MAC and another UUID than the one that was known with it.
    OtherUuid { known: Uuid, seen: Uuid },

    // --- jobs ---
    /// A job began.
    JobStarted { job: u64, job_kind: JobKind, what: String },
    /// A job ended; `error` absent when it succeeded.
    JobEnded {
        job: u64,
        what: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

impl EventKind {
    /// A coalesced counter: not persisted, and the only kind that may be dropped.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        matches!(self, Self::TftpProgress { .. } | Self::HttpProgress { .. } | Self::IscsiProgress { .. })
    }

    /// Who knows of it: a server of ours, or whoever looks at the wire.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::ForeignOffer { .. }
            | Self::DhcpElsewhere { .. }
            | Self::Unheard { .. }
            | Self::TcpRetransmits { .. }
            | Self::ViaGateway { .. }
            | Self::SpanningTree { .. } => Source::Observed,
            _ => Source::Served,
        }
    }

    /// How much it asks of a person.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::ServiceFailed { .. }
            | Self::EngineStopped { error: Some(_) }
            | Self::LabBroken { .. }
            | Self::ScriptError { .. }
            | Self::IscsiRefused { .. }
            | Self::IscsiError { .. }
            | Self::TftpFailed { .. }
            | Self::HttpsRefused { .. }
            | Self::JobEnded { error: Some(_), .. } => Severity::Error,
            Self::ForeignDhcp { .. }
            | Self::Unheard { .. }
            | Self::ViaGateway { .. }
            | Self::TftpUnanswered { .. }
            | Self::ScriptFlaw { .. }
            | Self::DhcpNak { .. }
            | Self::DhcpDecline { .. }
            | Self::DhcpConflict { .. }
            | Self::BootFileUnfit { .. } => Severity::Warning,
            Self::HttpRequest { status, .. } if *status >= 400 => Severity::Warning,
            Self::TftpAborted { probe: false, .. } | Self::HttpAborted { .. } => Severity::Warning,
            Self::TftpAborted { probe: true, .. }
            | Self::HttpRequest { .. }
            | Self::RouterSolicitation { .. }
            | Self::DhcpIgnored { .. } => Severity::Debug,
            kind if kind.is_progress() => Severity::Debug,
            _ => Severity::Info,
        }
    }

    /// The stable name, as in the JSON field `kind`.
    #[must_use]
    pub fn name(&self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|v| v.get("kind").and_then(|k| k.as_str()).map(str::to_owned))
            .unwrap_or_default()
    }
}
