//! The seam to the operating system, and the address types.
//!
//! Whatever differs by operating system or needs a privilege is behind [`PortSet`] and the free functions here, and may answer
//! [`NetError::Unsupported`]. Two port sets exist: [`direct`], for a process that may do it itself, and `helper`, which asks
//! `bootyard-ports`; [`port_set`] chooses.

mod addr;
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(crate) mod bench;
mod choose;
mod clock;
mod congestion;
pub mod direct;
mod files;
#[cfg(target_os = "linux")]
pub mod helper;
mod interfaces;
mod latency;
#[cfg(target_os = "linux")]
mod linux;
mod memory;
#[cfg(target_os = "linux")]
mod networkmanager;
mod privileges;
#[cfg(unix)]
pub(crate) mod ready;
mod segments;
#[cfg(unix)]
mod send_file;
mod sleep;
mod stamp;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
mod vendor;
mod wake;
#[cfg(unix)]
pub(crate) mod watch;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};

pub use addr::{AddrError, Ipv4Cidr, Ipv4Range, MacAddr, SELF_TEST};
pub use choose::{hold_address, port_set};
pub use clock::boot_time;
pub(crate) use congestion::suit_a_lan;
pub use direct::Direct;
pub use files::raise_open_files;
#[cfg(target_os = "linux")]
pub use helper::Helper;
pub use interfaces::{interfaces, is_bridge, neighbour, way_to};
pub use latency::QuickWaking;
pub use memory::give_memory_back;
pub use privileges::{drop_privileges, free_space};
pub use segments::{MOST_BYTES, MOST_SEGMENTS, cut_sends, is_uncut};
#[cfg(unix)]
pub use send_file::{SENDS_FILES, send, send_file, unacknowledged};
pub use sleep::{can_inhibit_sleep, sleep_inhibit};
pub(crate) use stamp::Stamp;
pub use vendor::vendor;
pub use wake::{magic_packet, wake};

/// Firmware asks for DHCP and TFTP at their own ports, which are UDP; the TCP ones can be others.
fn elsewhere(protocol: &str) -> &'static str {
    if protocol == "TCP" { ", or choose another port in [ports]" } else { ", then start again" }
}

/// Who has a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its process, if that can be known.
    pub pid: Option<u32>,
    /// The program's name.
    pub name: Option<String>,
    /// Whose it is, where no more is known.
    pub user: Option<String>,
    /// The service of systemd that it belongs to.
    pub unit: Option<String>,
    /// The package that it is from.
    pub package: Option<String>,
}

impl Owner {
    /// Name and number, as in "dnsmasq (pid 123)".
    fn in_short(&self) -> String {
        match (&self.name, self.pid, &self.user) {
            (Some(name), Some(pid), _) => format!("{name} (pid {pid})"),
            (_, _, Some(user)) => format!("another program of user {user} (`sudo ss -tulpn` names it)"),
            _ => "another program".to_owned(),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.in_short())?;
        if let Some(unit) = &self.unit {
            write!(f, ", {unit}")?;
        }
        match &self.package {
            Some(package) => write!(f, ", of the package {package}"),
            None => Ok(()),
        }
    }
}

/// The programs that have a port to which a bind at `address` collides. Reads all processes, so it blocks for a moment.
#[must_use]
pub fn port_owners(protocol: &str, address: std::net::IpAddr, port: u16) -> Vec<Owner> {
    #[cfg(target_os = "linux")]
    return linux::owner::owners(protocol, address, port);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (protocol, address, port);
        Vec::new()
    }
}

/// Why the operating system did not give what was asked. Each text names the thing and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Somebody else listens there.
    #[error("{protocol} port {port} on {address} is taken by {owner}; stop it{}", elsewhere(protocol))]
    Taken {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where.
        address: Ipv4Addr,
        /// Which port.
        port: u16,
        /// Program name and process number if they can be known, else "another program".
        owner: String,
    },
    /// The privilege is missing.
    #[error("no permission to {what}; {remedy}")]
    NoPrivilege {
        /// What was tried.
        what: String,
        /// The command that mends it.
        remedy: String,
    },
    /// No such interface.
    #[error("there is no network interface `{0}` on this computer; `ip link` lists them")]
    NoInterface(String),
    /// A rule of safety forbids it.
    #[error("{0}")]
    Refused(String),
    /// Not on this operating system.
    #[error("not supported on this system: {0}")]
    Unsupported(String),
    /// Anything else.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// A UDP port to open. The socket comes non-blocking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSpec {
    /// Where to listen; `0.0.0.0` with an interface for DHCP, which must hear broadcasts.
    pub bind: SocketAddrV4,
    /// Only packets of this interface (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// May send to 255.255.255.255.
    pub broadcast: bool,
    /// Tells each packet's destination address and interface (`IP_PKTINFO`).
    pub packet_info: bool,
}

/// A TCP port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSpec {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Only connections that come in on this interface (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
}

/// What a packet socket is for; each is a closed set of frames that it may receive and send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketUse {
    /// Sends IPv4 frames to a client that has no address yet; receives nothing.
    Ipv4Send,
    /// Receives and sends ICMPv6 router solicitations and advertisements.
    RouterDiscovery,
    /// Receives UDP packets to ports 67 and 68: other DHCP servers' answers.
    DhcpListen,
    /// Sends ARP probes (RFC 5227), which name no sender, and receives ARP's answers.
    ArpProbe,
    /// Receives other DHCP servers' answers alone, for a server that hears the requests on its own port.
    DhcpReplies,
    /// Receives the packets of DHCP both ways, this computer's own included: for the self-test.
    DhcpWatch,
    /// Receives what concerns boots, this computer's own frames included; of TCP these ports of ours, and little more than headers.
    Capture {
        /// HTTP.
        http: u16,
        /// HTTP over TLS.
        https: u16,
        /// iSCSI.
        iscsi: u16,
    },
}

/// What is known of a captured frame beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// Bytes that were given.
    pub len: usize,
    /// Bytes on the wire.
    pub original: usize,
    /// This computer sent it.
    pub outgoing: bool,
    /// Wall time, since 1970.
    pub time: std::time::Duration,
}

/// A raw link-layer socket on one interface: whole Ethernet frames both ways, non-blocking.
pub trait PacketSocket: Send + Sync + std::fmt::Debug {
    /// Sends one Ethernet frame, header included.
    ///
    /// # Errors
    /// The operating system's.
    fn send(&self, frame: &[u8]) -> std::io::Result<()>;

    /// Receives one frame; its length. `WouldBlock` when there is none.
    ///
    /// # Errors
    /// The operating system's.
    fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize>;

    /// The same for [`PacketUse::Capture`], with what the system knows of the frame.
    ///
    /// # Errors
    /// The operating system's; `Unsupported` for a socket of another use.
    fn recv_captured(&self, _buf: &mut [u8]) -> std::io::Result<Captured> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Frames that there was no room for since this was last asked.
    ///
    /// # Errors
    /// The operating system's; `Unsupported` where it does not count.
    fn lost(&self) -> std::io::Result<u64> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// For waiting until it can be read.
    #[cfg(unix)]
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
}

/// Whatever must be undone at the end: dropping it takes the address back.
pub trait AddressHold: Send + Sync + std::fmt::Debug {
    /// What is held, for the window.
    fn describe(&self) -> String;
}

/// Opens what an ordinary process may not.
pub trait PortSet: Send + Sync + std::fmt::Debug {
    /// A UDP socket.
    ///
    /// # Errors
    /// [`NetError`], with the owner of a taken port.
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError>;

    /// A listening TCP socket, non-blocking.
    ///
    /// # Errors
    /// [`NetError`], with the owner of a taken port.
    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError>;

    /// A packet socket.
    ///
    /// # Errors
    /// [`NetError`].
    fn packet(&self, interface: &str, purpose: PacketUse) -> Result<Box<dyn PacketSocket>, NetError>;

    /// Puts an address on a bare interface (and brings it up) until the hold is dropped or this process ends, however it ends.
    ///
    /// # Errors
    /// [`NetError`].
    fn hold_address(&self, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError>;
}

/// A network interface of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// The operating system's number.
    pub index: u32,
    /// Hardware address.
    pub mac: Option<MacAddr>,
    /// IPv4 addresses.
    pub addresses: Vec<Ipv4Cidr>,
    /// Administratively up.
    pub up: bool,
    /// Has link.
    pub running: bool,
    /// Wi-Fi.
    pub wireless: bool,
    /// Tunnel, point-to-point, loopback: no machine boots from it.
    pub virtual_link: bool,
    /// The default route leaves through it.
    pub default_route: bool,
    /// Mbit/s of its link, where the driver tells.
    pub speed: Option<u32>,
    /// The bridge that it is a port of: what arrives here belongs to the bridge, so only that can serve.
    pub bridge: Option<String>,
}
