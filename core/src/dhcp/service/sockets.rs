//! The sockets of one network, and which of them a reply takes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::{Message, Readers, arp, frame};
use crate::boot::PlanNetwork;
use crate::dhcp::machine::{Destination, Reply};
use crate::lab::Mode;
use crate::net::watch::Watched;
use crate::net::{MacAddr, NetError, PacketSocket, PacketUse, PortSet, UdpSpec};

/// A socket that does not take a reply for this long loses it; the client asks again.
const PATIENCE: Duration = Duration::from_millis(200);
/// Larger than any frame or datagram that a client may send us.
const BUFFER: usize = 16 * 1024;

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
    /// Asks who has an address; absent where the system has no packet sockets.
    arp: Option<Arc<Watched>>,
}

impl Sockets {
    pub(super) fn open(
        ports: &dyn PortSet,
        index: usize,
        network: &PlanNetwork,
        messages: &mpsc::Sender<Message>,
        readers: &mut Readers,
    ) -> Result<Self, NetError> {
        let mut udp = |port| -> Result<Arc<UdpSocket>, NetError> {
            let socket = Arc::new(udp(ports, &network.interface, port)?);
            readers.spawn(read_udp(socket.clone(), index, port, messages.clone()));
            Ok(socket)
        };
        let server = match udp(67) {
            Ok(socket) => Some(socket),
            Err(NetError::Taken { .. }) if network.mode == Mode::Proxy => None,
            Err(error) => return Err(error),
        };
        let boot_server = udp(4011)?;
        let frames = supported(ports.packet(&network.interface, PacketUse::Ipv4Send))?;
        let listener = supported(ports.packet(&network.interface, PacketUse::DhcpListen))?;
        let arp = supported(ports.packet(&network.interface, PacketUse::ArpProbe))?;
        let arp = arp.map(|socket| Watched::new(socket, &network.interface)).transpose()?.map(Arc::new);
        if let Some(arp) = &arp {
            readers.spawn(hear_arp(arp.clone(), index, messages.clone()));
        }
        let overhears = server.is_none();
        if let Some(listener) = listener {
            let listener = Watched::new(listener, &network.interface)?;
            readers.spawn(listen(listener, index, (network.mac, overhears), messages.clone()));
        } else if overhears {
            let what = format!("hear DHCP requests on {} beside the server that owns port 67", network.interface);
            return Err(NetError::Unsupported(what));
        }
        let interface = network.interface.clone();
        let (address, mac) = (network.address.address, network.mac);
        Ok(Self { interface, address, mac, server, boot_server, frames, arp })
    }

    /// Sends a reply; what cannot be sent is lost, as any packet may be.
    pub(super) async fn send(&self, reply: &Reply) {
        if let (Some(arp), Some(address)) = (&self.arp, reply.probe) {
            // One that is lost costs what asking nobody costs.
            let _ = arp.send(&arp::probe(self.mac, address));
        }
        let (to_mac, to) = match reply.destination {
            Destination::Unicast(to) => return self.send_udp(reply, to).await,
            Destination::Broadcast => (MacAddr::BROADCAST, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)),
            Destination::Hardware { mac, ip } => (mac, SocketAddrV4::new(ip, 68)),
        };
        // A frame of our own has the source address that we mean, also on an interface with several.
        let from = SocketAddrV4::new(self.address, reply.from_port);
        let frame = frame::build((self.mac, to_mac), (from, to), &reply.bytes);
        let frames = self.frames.as_ref().filter(|_| reply.from_port == 67);
        let sent = frames.zip(frame).is_some_and(|(socket, frame)| socket.send(&frame).is_ok());
        if !sent {
            self.send_udp(reply, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)).await;
        }
    }

    async fn send_udp(&self, reply: &Reply, to: SocketAddrV4) {
        let socket = if reply.from_port == 4011 { Some(&self.boot_server) } else { self.server.as_ref() };
        if let Some(socket) = socket {
            let _ = tokio::time::timeout(PATIENCE, socket.send_to(&reply.bytes, to)).await;
        }
    }
}

/// A UDP socket for DHCP on an interface.
pub(super) fn udp(ports: &dyn PortSet, interface: &str, port: u16) -> Result<UdpSocket, NetError> {
    let socket = ports.udp(&UdpSpec {
        bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
        interface: Some(interface.to_owned()),
        broadcast: true,
        packet_info: true,
    })?;
    let watch = |source| NetError::Io { what: format!("watch UDP port {port}"), source };
    socket.set_nonblocking(true).map_err(watch)?;
    UdpSocket::from_std(socket).map_err(watch)
}

/// `None` where the system has no such thing; other errors stay errors.
pub(super) fn supported<T>(result: Result<T, NetError>) -> Result<Option<T>, NetError> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(NetError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_udp(socket: Arc<UdpSocket>, network: usize, port: u16, messages: mpsc::Sender<Message>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, std::net::SocketAddr::V4(source))) => {
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                if messages.send(Message::Packet { network, port, source, bytes }).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            // An interface that goes down and comes back says so here; an ICMP error of a client does too.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn hear_arp(socket: Arc<Watched>, network: usize, messages: mpsc::Sender<Message>) {
    let mut buffer = [0; 128];
    loop {
        let Ok(len) = socket.recv(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some((mac, address)) = buffer.get(..len).and_then(arp::answer) else { continue };
        if messages.send(Message::InUse { network, address, mac }).await.is_err() {
            return;
        }
    }
}

async fn listen(socket: Watched, network: usize, (ours, overhears): (MacAddr, bool), messages: mpsc::Sender<Message>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(len) = socket.recv(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(udp) = buffer.get(..len).and_then(frame::parse) else { continue };
        if udp.sender == ours {
            continue;
        }
        let bytes = udp.payload.to_vec();
        let message = match (udp.source.port(), udp.destination.port()) {
            (_, 67) if overhears && bytes.first() == Some(&1) => {
                Message::Packet { network, port: 67, source: udp.source, bytes }
            }
            (67, 67 | 68) if bytes.first() == Some(&2) => {
                Message::Heard { network, sender: udp.sender, source: *udp.source.ip(), bytes }
            }
            _ => continue,
        };
        if messages.send(message).await.is_err() {
            return;
        }
    }
}
