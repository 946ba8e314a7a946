//! Asks whether another DHCP server answers, before we give addresses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{foreign_server, frame, sockets};
use crate::dhcp::wire::{BROADCAST_FLAG, MessageType, Packet, code};
use crate::net::watch::Watched;
use crate::net::{Ipv4Cidr, MacAddr, NetError, PacketUse, PortSet};

/// How often we ask within the patience.
const TRIES: u32 = 2;
/// Enough servers: more than these are a flood, and one is as good a reason.
const MOST: usize = 32;

/// A DHCP server that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignServer {
    /// Its identifier (option 54), else its source address.
    pub server: Ipv4Addr,
    /// The sender of its frame: itself, or a relay.
    pub mac: Option<MacAddr>,
}

/// Broadcasts a DISCOVER on the interface and lists the servers that offer an address within `patience`. The first answer does not end
/// the wait: a second server may be slower; 32 servers do. No REQUEST follows, so no lease comes of it. We are not among them:
/// neither `address` nor frames from `mac` count.
///
/// # Errors
/// [`NetError`] when the sockets cannot be had or nothing can be sent.
pub async fn probe(
    ports: &dyn PortSet,
    interface: &str,
    ifindex: u32,
    mac: MacAddr,
    address: Option<Ipv4Cidr>,
    patience: Duration,
) -> Result<Vec<ForeignServer>, NetError> {
    let io =
        |source| NetError::Io { what: format!("ask for DHCP servers on {interface} (interface {ifindex})"), source };
    let xid = fastrand::u32(1..);
    let discover = discover(xid, mac);
    let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);

    let frames = sockets::supported(ports.packet(interface, PacketUse::DhcpListen))?;
    let frames = frames.map(|socket| Watched::new(socket, interface)).transpose()?;
    let udp = if frames.is_none() {
        Some(tokio::net::UdpSocket::from_std(sockets::udp(ports, interface, 68)?).map_err(io)?)
    } else {
        None
    };

    let mut found = BTreeMap::new();
    let start = Instant::now();
    let mut buffer = vec![0; 4096];
    'asked: for attempt in 1..=TRIES {
        match (&frames, &udp) {
            (Some(frames), _) => {
                let frame = frame::build((mac, MacAddr::BROADCAST), (from, to), &discover).unwrap_or_default();
                frames.send(&frame).map_err(io)?;
            }
            (None, Some(udp)) => {
                udp.send_to(&discover, to).await.map_err(io)?;
            }
            (None, None) => {}
        }
        let until = start + patience * attempt / TRIES;
        loop {
            let heard = match (&frames, &udp) {
                (Some(frames), _) => {
                    let Ok(len) = timeout_at(until, frames.recv(&mut buffer)).await else { break };
                    let frame = buffer.get(..len.map_err(io)?).and_then(frame::parse);
                    frame.filter(|f| f.source.port() == 67).map(|f| (f.payload, *f.source.ip(), Some(f.sender)))
                }
                (None, Some(udp)) => {
                    let Ok(received) = timeout_at(until, udp.recv_from(&mut buffer)).await else { break };
                    let (len, source) = received.map_err(io)?;
                    match source {
                        std::net::SocketAddr::V4(s) => Some((buffer.get(..len).unwrap_or_default(), *s.ip(), None)),
                        std::net::SocketAddr::V6(_) => None,
                    }
                }
                (None, None) => break,
            };
            let Some((bytes, source, sender)) = heard else { continue };
            let ours = sender == Some(mac);
            let answer = Packet::decode(bytes).is_ok_and(|p| p.xid == xid);
            if let Some(server) = foreign_server(bytes, source)
                && answer
                && !ours
                && address.is_none_or(|a| a.address != server)
            {
                found.insert(server, sender);
                if found.len() >= MOST {
                    break 'asked;
                }
            }
        }
    }
    Ok(found.into_iter().map(|(server, mac)| ForeignServer { server, mac }).collect())
}

/// What an ordinary client would ask first.
fn discover(xid: u32, mac: MacAddr) -> Vec<u8> {
    let mut packet = Packet { xid, flags: BROADCAST_FLAG, ..Packet::default() };
    if let Some(place) = packet.chaddr.get_mut(..6) {
        place.copy_from_slice(&mac.0);
    }
    packet.set(code::MESSAGE_TYPE, [MessageType::Discover as u8]);
    packet.set(code::PARAMETERS, [code::SUBNET_MASK, code::ROUTER, code::DNS, code::DOMAIN]);
    packet.encode(&[], 0)
}
