//! DHCP messages of any server, and what a recording tells of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use uuid::Uuid;

use crate::api::{ClientKind, EventKind, Who};
use crate::boot::Arch;
use crate::dhcp::machine::classify;
use crate::dhcp::wire::{MessageType, Packet, Request, code, printable};
use crate::lab::Lab;
use crate::net::MacAddr;
use crate::trace::view::Datagram;

/// A message, with what is of interest here.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) packet: Packet,
    pub(super) mac: MacAddr,
    pub(super) kind: Option<MessageType>,
    /// Of a request.
    pub(super) client: Option<ClientKind>,
    pub(super) arch: Option<Arch>,
    pub(super) uuid: Option<Uuid>,
    requested: Option<Ipv4Addr>,
    /// Of a request: the server whose offer it takes.
    chosen: Option<Ipv4Addr>,
    hostname: Option<String>,
    class: Option<String>,
}

const KINDS: [MessageType; 8] = [
    MessageType::Discover,
    MessageType::Offer,
    MessageType::Request,
    MessageType::Decline,
    MessageType::Ack,
    MessageType::Nak,
    MessageType::Release,
    MessageType::Inform,
];

/// Reads a datagram to or from DHCP's ports. `None`: it is no message, or of no Ethernet station.
pub(super) fn read(udp: &Datagram<'_>) -> Option<Message> {
    const PORTS: [u16; 3] = [67, 68, 4011];
    if !PORTS.contains(&udp.from) && !PORTS.contains(&udp.to) {
        return None;
    }
    let packet = Packet::decode(udp.payload).ok()?;
    let [a, b, c, d, e, f, ..] = packet.chaddr;
    let mac = MacAddr([a, b, c, d, e, f]);
    if packet.hlen != 6 || mac.is_group() || mac == MacAddr::default() {
        return None;
    }
    let number = packet.option(code::MESSAGE_TYPE).and_then(|v| v.first().copied());
    let kind = KINDS.into_iter().find(|kind| Some(*kind as u8) == number);
    let mut message = Message {
        packet,
        mac,
        kind,
        client: None,
        arch: None,
        uuid: None,
        requested: None,
        chosen: None,
        hostname: None,
        class: None,
    };
    if let Ok(request) = Request::parse(udp.payload) {
        let (client, arch) = classify(&request);
        (message.client, message.arch) = (Some(client), arch);
        (message.uuid, message.requested, message.chosen) = (request.uuid, request.requested, request.server_id);
        (message.hostname, message.class) = (request.host_name(), printable(request.class()));
    }
    Some(message)
}

fn set(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_unspecified()).then_some(address)
}

impl Message {
    /// The address that an ACK gives.
    pub(super) fn given(&self) -> Option<(Ipv4Addr, MacAddr)> {
        let acknowledged = self.packet.op == 2 && self.kind == Some(MessageType::Ack);
        acknowledged.then(|| set(self.packet.yiaddr)).flatten().map(|address| (address, self.mac))
    }

    /// The server of an answer: option 54, else who sent it.
    pub(super) fn server(&self, from: IpAddr) -> Option<Ipv4Addr> {
        let sender = match from {
            IpAddr::V4(from) => set(from),
            IpAddr::V6(_) => None,
        };
        self.packet.address(code::SERVER_ID).and_then(set).or(sender)
    }

    fn file(&self) -> Option<String> {
        let option = self.packet.option(code::BOOT_FILE).filter(|v| !v.is_empty());
        // 200 characters: a URL may be longer than what a name may be elsewhere.
        let text = String::from_utf8_lossy(option.unwrap_or(&self.packet.file)).into_owned();
        let shown: String = text.trim_end_matches('\0').chars().take(200).collect();
        let safe: String = shown.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        // A URL may have a name and a password, which are no matter for events.
        (!safe.is_empty()).then(|| Lab::arguments_without_secrets(&safe).0)
    }

    pub(super) fn foreign_offer(&self, server: Ipv4Addr, mac: Option<MacAddr>, ack: bool) -> EventKind {
        let (address, next_server) = (set(self.packet.yiaddr), set(self.packet.siaddr));
        EventKind::ForeignOffer { server, server_mac: mac, ack, address, file: self.file(), next_server }
    }
}

/// Transactions that are followed.
const MAX: usize = 4096;

/// A client's exchange.
#[derive(Debug)]
struct Exchange {
    client: ClientKind,
    uuid: Option<Uuid>,
    /// The first server that offered an address: it is taken for the one that serves this boot.
    server: Option<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
    used: Duration,
}

/// What a recording tells of DHCP.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    by_xid: HashMap<(MacAddr, u32), Exchange>,
}

impl Exchanges {
    pub(super) fn message(
        &mut self,
        now: Duration,
        from: IpAddr,
        sender: MacAddr,
        udp: &Datagram<'_>,
        message: &Message,
    ) -> Option<(Who, EventKind)> {
        let key = (message.mac, message.packet.xid);
        if message.packet.op == 1 {
            return self.request(now, key, message);
        }
        let exchange = self.by_xid.get_mut(&key);
        let client = exchange.as_ref().map_or(ClientKind::Os, |exchange| exchange.client);
        let uuid = exchange.as_ref().and_then(|exchange| exchange.uuid);
        let who = Who { mac: Some(message.mac), uuid, ip: None };
        let server = message.server(from)?;
        let (address, file) = (set(message.packet.yiaddr), message.file());
        let next_server = set(message.packet.siaddr).unwrap_or(server);
        let kind = match message.kind {
            // BOOTP answers with what others call an ACK.
            None => {
                let root_path = self::root(message);
                EventKind::DhcpAck { client, address, file, root_path, disk: None, lease_seconds: 0 }
            }
            Some(MessageType::Offer) => {
                let known = exchange.and_then(|exchange| match address {
                    Some(_) => Some(*exchange.server.get_or_insert(server)),
                    None => None,
                });
                match known {
                    Some(first) if first != server => message.foreign_offer(server, Some(sender), false),
                    _ => EventKind::DhcpOffer { client, address, file, next_server },
                }
            }
            Some(MessageType::Ack) => {
                let seconds = message.packet.option(code::LEASE_TIME).and_then(|v| <[u8; 4]>::try_from(v).ok());
                let lease_seconds = seconds.map_or(0, u32::from_be_bytes);
                let address = address.filter(|_| udp.from != 4011);
                EventKind::DhcpAck { client, address, file, root_path: root(message), disk: None, lease_seconds }
            }
            Some(MessageType::Nak) => {
                let address = exchange.and_then(|e| e.requested).unwrap_or(Ipv4Addr::UNSPECIFIED);
                let reason = message.packet.option(code::MESSAGE).and_then(printable);
                EventKind::DhcpNak { address, reason: reason.unwrap_or_else(|| format!("{server} refused it")) }
            }
            _ => return None,
        };
        Some((who, kind))
    }

    fn request(&mut self, now: Duration, key: (MacAddr, u32), message: &Message) -> Option<(Who, EventKind)> {
        let client = message.client?;
        let who = Who { mac: Some(message.mac), uuid: message.uuid, ip: None };
        if self.by_xid.len() >= MAX
            && !self.by_xid.contains_key(&key)
            && let Some(oldest) = self.by_xid.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| *key)
        {
            self.by_xid.remove(&oldest);
        }
        let fresh = Exchange { client, uuid: message.uuid, server: None, requested: None, used: now };
        let exchange = self.by_xid.entry(key).or_insert(fresh);
        exchange.used = now;
        exchange.client = client;
        exchange.requested = message.requested.or(set(message.packet.ciaddr)).or(exchange.requested);
        if let Some(chosen) = message.chosen.filter(|_| message.kind == Some(MessageType::Request)) {
            exchange.server = Some(chosen);
        }
        let kind = match message.kind {
            None | Some(MessageType::Discover) => EventKind::DhcpDiscover {
                client,
                xid: message.packet.xid,
                secs: message.packet.secs,
                arch: message.arch,
                vendor: message.class.clone(),
                hostname: message.hostname.clone(),
                relay: set(message.packet.giaddr),
            },
            Some(MessageType::Decline) => EventKind::DhcpDecline { address: message.requested? },
            Some(MessageType::Release) => EventKind::DhcpRelease { address: set(message.packet.ciaddr)? },
            _ => return None,
        };
        Some((who, kind))
    }
}

fn root(message: &Message) -> Option<String> {
    let value = message.packet.option(code::ROOT_PATH)?;
    let text = String::from_utf8_lossy(value);
    let shown: String =
        text.trim_end_matches('\0').chars().take(300).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    (!shown.is_empty()).then(|| Lab::arguments_without_secrets(&shown).0)
}
