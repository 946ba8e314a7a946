//! The sockets of one network: what they hear, and which of them a reply takes.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{arp, frame};
use crate::boot::PlanNetwork;
use crate::dhcp::machine::{Destination, Reply};
use crate::lab::Mode;
use crate::net::{MacAddr, NetError, PacketSocket, PacketUse, PortSet, UdpSpec, ready};
use crate::trace::own::Tap;

/// A socket that does not take a reply for this long loses it; the client asks again.
const PATIENCE: Duration = Duration::from_millis(20);
/// Larger than any frame or datagram that a client may send us.
pub(super) const BUFFER: usize = 16 * 1024;
/// Room for what a room of machines that are switched on at once sends while leases are written, in bytes.
const BACKLOG: usize = 1 << 20;
/// A socket that fails is left alone for this long: an interface that goes down and comes back says so by an error.
const REST: Duration = Duration::from_millis(100);

/// Where packets come from.
#[derive(Debug)]
pub(super) struct Source {
    /// Index into the plan's networks.
    pub(super) network: usize,
    socket: Socket,
    rests_until: Option<Instant>,
    /// Our address there.
    address: Ipv4Addr,
    tap: Tap,
}

#[derive(Debug)]
enum Socket {
    Udp {
        port: u16,
        socket: Arc<UdpSocket>,
    },
    /// Other servers' packets; clients' too where another server on this computer owns port 67. Our own frames are not heard.
    Frames {
        socket: Box<dyn PacketSocket>,
        ours: MacAddr,
        overhears: bool,
    },
    /// Answers to our ARP probes.
    Arp(Arc<dyn PacketSocket>),
}

/// What was heard.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard<'a> {
    /// On a port of ours.
    Packet { port: u16, source: SocketAddrV4, bytes: &'a [u8] },
    /// Another server's reply.
    Reply { sender: MacAddr, source: Ipv4Addr, bytes: &'a [u8] },
    /// A machine answered at an address that we asked for.
    InUse { address: Ipv4Addr, mac: MacAddr },
    /// Nothing that concerns us.
    Other,
}

/// Through what replies leave.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) interface: String,
    pub(super) address: Ipv4Addr,
    pub(super) mac: MacAddr,
    /// Absent where another server on this computer owns port 67 (mode `proxy`).
    server: Option<Arc<UdpSocket>>,
    boot_server: Arc<UdpSocket>,
    /// Frames for clients without an address; absent where the system has no packet sockets.
    frames: Option<Box<dyn PacketSocket>>,
    /// Asks who has an address; absent there, too.
    arp: Option<Arc<dyn PacketSocket>>,
    tap: Tap,
}

impl Source {
    fn new(network: usize, socket: Socket, address: Ipv4Addr, tap: &Tap) -> Self {
        Self { network, socket, rests_until: None, address, tap: tap.clone() }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Udp { socket, .. } => socket.as_fd(),
            Socket::Frames { socket, .. } => socket.fd(),
            Socket::Arp(socket) => socket.fd(),
        }
    }

    /// How long it must not be read.
    pub(super) fn rests(&self) -> Option<Duration> {
        let left = self.rests_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// The next packet; `None` when there is none now.
    pub(super) fn hear<'b>(&mut self, buffer: &'b mut [u8]) -> Option<Heard<'b>> {
        let heard = match &self.socket {
            Socket::Udp { port, socket } => match socket.recv_from(buffer) {
                Ok((len, SocketAddr::V4(source))) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    // Who has no address yet asks all; the rest is taken to be meant for us alone.
                    let to = if source.ip().is_unspecified() { Ipv4Addr::BROADCAST } else { self.address };
                    self.tap.received(SocketAddrV4::new(to, *port).into(), source.into(), bytes);
                    Ok(Heard::Packet { port: *port, source, bytes })
                }
                Ok((_, SocketAddr::V6(_))) => Ok(Heard::Other),
                Err(error) => Err(error),
            },
            Socket::Frames { socket, ours, overhears } => match socket.recv(buffer) {
                Ok(len) => {
                    let frame = buffer.get(..len).unwrap_or_default();
                    self.tap.frame(false, frame);
                    Ok(overheard(frame, *ours, *overhears))
                }
                Err(error) => Err(error),
            },
            Socket::Arp(socket) => socket.recv(buffer).map(|len| {
                let frame = buffer.get(..len).unwrap_or_default();
                self.tap.frame(false, frame);
                let answer = arp::answer(frame);
                answer.map_or(Heard::Other, |(mac, address)| Heard::InUse { address, mac })
            }),
        };
        match heard {
            Ok(heard) => return Some(heard),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // An ICMP error of a client says something of that client alone, the rest something of the interface.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Some(Heard::Other),
            Err(_) => self.rests_until = Some(Instant::now() + REST),
        }
        None
    }
}

fn overheard(frame: &[u8], ours: MacAddr, overhears: bool) -> Heard<'_> {
    let Some(udp) = frame::parse(frame).filter(|udp| udp.sender != ours) else { return Heard::Other };
    match (udp.source.port(), udp.destination.port(), udp.payload.first()) {
        (_, 67, Some(1)) if overhears => Heard::Packet { port: 67, source: udp.source, bytes: udp.payload },
        (67, 67 | 68, Some(2)) => Heard::Reply { sender: udp.sender, source: *udp.source.ip(), bytes: udp.payload },
        _ => Heard::Other,
    }
}

impl Sockets {
    pub(super) fn open(
        ports: &dyn PortSet,
        index: usize,
        network: &PlanNetwork,
        tap: &Tap,
        sources: &mut Vec<Source>,
    ) -> Result<Self, NetError> {
        let source = |socket| Source::new(index, socket, network.address.address, tap);
        let mut open = |port| -> Result<Arc<UdpSocket>, NetError> {
            let socket = Arc::new(udp(ports, &network.interface, port)?);
            sources.push(source(Socket::Udp { port, socket: socket.clone() }));
            Ok(socket)
        };
        let server = match open(67) {
            Ok(socket) => Some(socket),
            Err(NetError::Taken { .. }) if network.mode == Mode::Proxy => None,
            Err(error) => return Err(error),
        };
        let boot_server = open(4011)?;
        let frames = supported(ports.packet(&network.interface, PacketUse::Ipv4Send))?;
        let overhears = server.is_none();
        let listening = if overhears { PacketUse::DhcpListen } else { PacketUse::DhcpReplies };
        if let Some(socket) = supported(ports.packet(&network.interface, listening))? {
            sources.push(source(Socket::Frames { socket, ours: network.mac, overhears }));
        } else if overhears {
            let what = format!("hear DHCP requests on {} beside the server that owns port 67", network.interface);
            return Err(NetError::Unsupported(what));
        }
        let arp: Option<Arc<dyn PacketSocket>> =
            supported(ports.packet(&network.interface, PacketUse::ArpProbe))?.map(Arc::from);
        sources.extend(arp.clone().map(|socket| source(Socket::Arp(socket))));
        let interface = network.interface.clone();
        let (address, mac) = (network.address.address, network.mac);
        Ok(Self { interface, address, mac, server, boot_server, frames, arp, tap: tap.clone() })
    }

    /// Whether port 67 is ours.
    pub(super) fn owns_port(&self) -> bool {
        self.server.is_some()
    }

    /// Sends a reply; what cannot be sent is lost, as any packet may be.
    pub(super) fn send(&self, reply: &Reply) {
        if let (Some(arp), Some(address)) = (&self.arp, reply.probe) {
            // One that is lost costs what asking nobody costs.
            let probe = arp::probe(self.mac, address);
            if arp.send(&probe).is_ok() {
                self.tap.frame(true, &probe);
            }
        }
        let (to_mac, to) = match reply.destination {
            Destination::Unicast(to) => return self.send_udp(reply, to),
            Destination::Broadcast => (MacAddr::BROADCAST, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)),
            Destination::Hardware { mac, ip } => (mac, SocketAddrV4::new(ip, 68)),
        };
        // A frame of our own has the source address that we mean, also on an interface with several.
        let from = SocketAddrV4::new(self.address, reply.from_port);
        let frame = frame::build((self.mac, to_mac), (from, to), &reply.bytes);
        let frames = self.frames.as_ref().filter(|_| reply.from_port == 67);
        let sent = frames.zip(frame.as_ref()).is_some_and(|(socket, frame)| socket.send(frame).is_ok());
        if sent {
            self.tap.frame(true, frame.as_deref().unwrap_or_default());
        } else {
            self.send_udp(reply, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
        }
    }

    fn send_udp(&self, reply: &Reply, to: SocketAddrV4) {
        let socket = if reply.from_port == 4011 { Some(&self.boot_server) } else { self.server.as_ref() };
        let Some(socket) = socket else { return };
        let mut sent = socket.send_to(&reply.bytes, to);
        let full = sent.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        if full && ready::writable(socket.as_fd(), PATIENCE) {
            sent = socket.send_to(&reply.bytes, to);
        }
        if sent.is_ok() {
            self.tap.sent(SocketAddrV4::new(self.address, reply.from_port).into(), to.into(), &reply.bytes);
        }
    }
}

/// A UDP socket for DHCP on an interface, which does not block.
pub(super) fn udp(ports: &dyn PortSet, interface: &str, port: u16) -> Result<UdpSocket, NetError> {
    let socket = ports.udp(&UdpSpec {
        bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
        interface: Some(interface.to_owned()),
        broadcast: true,
        packet_info: false,
    })?;
    let watch = |source| NetError::Io { what: format!("watch UDP port {port}"), source };
    socket.set_nonblocking(true).map_err(watch)?;
    // The system may give less, and what it gives is enough for a usual room.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BACKLOG);
    Ok(socket)
}

/// `None` where the system has no such thing; other errors stay errors.
pub(super) fn supported<T>(result: Result<T, NetError>) -> Result<Option<T>, NetError> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(NetError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
