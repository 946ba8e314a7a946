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
pub mod direct;
#[cfg(target_os = "linux")]
pub mod helper;
mod interfaces;
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
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
#[cfg(unix)]
pub(crate) mod watch;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};

pub use addr::{AddrError, Ipv4Cidr, Ipv4Range, MacAddr};
pub use choose::{hold_address, port_set};
pub use clock::boot_time;
pub use direct::Direct;
#[cfg(target_os = "linux")]
pub use helper::Helper;
pub use interfaces::{interfaces, is_bridge, neighbour};
pub use memory::give_memory_back;
pub use privileges::{drop_privileges, free_space};
pub use segments::{MOST_BYTES, MOST_SEGMENTS, cut_sends, is_uncut};
#[cfg(unix)]
pub use send_file::{SENDS_FILES, send_file, send_more, unacknowledged};
pub use sleep::sleep_inhibit;

/// Firmware asks for DHCP and TFTP at their own ports, which are UDP; the TCP ones can be others.
fn elsewhere(protocol: &str) -> &'static str {
    if protocol == "TCP" { ", or choose another port in [ports]" } else { ", then start again" }
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
    /// The bridge that it is a port of: what arrives here belongs to the bridge, so only that can serve.
    pub bridge: Option<String>,
}
