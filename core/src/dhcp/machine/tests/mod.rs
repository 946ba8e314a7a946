//! The machine, told as stories: a bench with one network, clients that send real packets, a disk that answers when told.

mod boot;
mod conflict;
mod limits;
mod properties;
mod proxy;
mod relay;
mod states;
mod table;

use super::*;
use crate::boot::FirmwareFile;
use crate::dhcp::wire::{BROADCAST_FLAG, MessageType, code};
use crate::lab::{Boot, Host, Lab, LeaseState, Network};

pub(super) const ALICE: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
pub(super) const BOB: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);

pub(super) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn lab() -> Lab {
    let mut network = Network::on("br0");
    network.ranges = vec!["192.168.2.20-192.168.2.29".parse().unwrap()];
    network.router = Some(ip("192.168.2.254"));
    network.dns = vec![ip("192.168.2.253")];
    network.domain = Some("bench.lan".into());
    Lab { networks: vec![network], ..Lab::default() }
}

pub(super) fn host(mac: MacAddr) -> Host {
    Host {
        macs: vec![mac],
        uuid: None,
        name: None,
        group: None,
        seat: None,
        address: None,
        firmware: None,
        boot: Some(Boot::Wait),
    }
}

pub(super) fn plan_of(lab: Lab, mode: Mode) -> Arc<Plan> {
    let file = |name: &str| FirmwareFile { name: name.into(), path: format!("/x/{name}").into(), size: 1 };
    let firmware = [(Arch::Bios, file("undionly.kpxe")), (Arch::UefiX64, file("snponly.efi"))].into();
    let network = PlanNetwork {
        index: 0,
        interface: "br0".into(),
        ifindex: 2,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        address: "192.168.2.1/24".parse().unwrap(),
        mode,
        foreign: false,
    };
    Arc::new(Plan { lab: Arc::new(lab), networks: vec![network], firmware, ..Plan::default() })
}

/// A bench: the machine, its clock, and its disk, which writes at once unless `disk` is false.
pub(super) struct Bench {
    pub(super) machine: DhcpMachine,
    pub(super) now: Now,
    pub(super) disk: Option<bool>,
    pub(super) records: Vec<LeaseRecord>,
    pub(super) events: Vec<EventKind>,
    /// The addresses that the events said are their machine's.
    pub(super) bound: Vec<std::net::IpAddr>,
    pub(super) replies: Vec<(Reply, Packet)>,
    pub(super) tickets: Vec<Ticket>,
}

impl Bench {
    pub(super) fn with(lab: Lab, mode: Mode) -> Self {
        Self::restored(plan_of(lab, mode), vec![])
    }

    pub(super) fn restored(plan: Arc<Plan>, leases: Vec<LeaseRecord>) -> Self {
        Self {
            machine: DhcpMachine::new(plan, leases),
            now: Now::at(Duration::from_secs(1000)),
            disk: Some(true),
            records: vec![],
            events: vec![],
            bound: vec![],
            replies: vec![],
            tickets: vec![],
        }
    }

    pub(super) fn new() -> Self {
        Self::with(lab(), Mode::Dhcp)
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        self.machine.handle(self.now, input);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(reply) => {
                    let packet = decode(&reply.bytes);
                    assert!(reply.bytes.len() >= 300, "RFC 1542 2.1");
                    self.replies.push((reply, packet));
                }
                Output::Persist(ticket, records) => {
                    self.records.extend(records);
                    match self.disk {
                        Some(ok) => self.machine.handle(self.now, Input::Committed(ticket, ok)),
                        None => self.tickets.push(ticket),
                    }
                }
                Output::Event(observation) => {
                    self.bound.extend(observation.who.and_then(|who| who.ip));
                    self.events.push(observation.kind);
                }
                Output::SendRange { source, .. } => match source {},
            }
        }
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        let boot = self.now.boot + Duration::from_secs(seconds);
        self.now = Now::at(boot);
    }

    /// Sends to port 67 and returns the one reply, if there is one.
    pub(super) fn send(&mut self, packet: &Packet) -> Option<(Reply, Packet)> {
        self.send_to(67, "0.0.0.0:68", packet)
    }

    pub(super) fn send_to(&mut self, port: u16, source: &str, packet: &Packet) -> Option<(Reply, Packet)> {
        self.replies.clear();
        let bytes = packet.encode(&[], 1472);
        self.input(Input::Packet { network: 0, port, source: source.parse().unwrap(), bytes: &bytes });
        assert!(self.replies.len() <= 1, "one request, one reply");
        self.replies.pop()
    }

    /// DISCOVER and REQUEST; the address.
    pub(super) fn dora(&mut self, mac: MacAddr) -> Ipv4Addr {
        let (_, offer) = self.send(&discover(mac)).expect("an offer");
        assert_eq!(message(&offer), MessageType::Offer);
        let (_, ack) = self.send(&selecting(mac, offer.yiaddr)).expect("an acknowledgement");
        assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, offer.yiaddr));
        ack.yiaddr
    }

    pub(super) fn silent_because(&self) -> Vec<&str> {
        let reason = |e: &'_ EventKind| matches!(e, EventKind::DhcpSilent { .. } | EventKind::DhcpIgnored { .. });
        self.events
            .iter()
            .filter(|e| reason(e))
            .map(|e| match e {
                EventKind::DhcpSilent { reason, .. } | EventKind::DhcpIgnored { reason, .. } => reason.as_str(),
                _ => "",
            })
            .collect()
    }
}

/// A reply, those without options included.
fn decode(bytes: &[u8]) -> Packet {
    let mut request = bytes.to_vec();
    if request[236..240] == [0; 4] {
        request[0] = 1;
    }
    Packet::decode(&request).unwrap()
}

pub(super) fn message(packet: &Packet) -> MessageType {
    let [byte] = packet.option(code::MESSAGE_TYPE).expect("option 53") else { panic!("one byte") };
    [MessageType::Offer, MessageType::Ack, MessageType::Nak].into_iter().find(|m| *m as u8 == *byte).unwrap()
}

pub(super) fn packet(mac: MacAddr, message: Option<MessageType>) -> Packet {
    let mut packet = Packet { xid: 0x1234_5678, ..Packet::default() };
    packet.chaddr[..6].copy_from_slice(&mac.0);
    if let Some(message) = message {
        packet.set(code::MESSAGE_TYPE, [message as u8]);
    }
    packet
}

pub(super) fn discover(mac: MacAddr) -> Packet {
    packet(mac, Some(MessageType::Discover))
}

pub(super) fn selecting(mac: MacAddr, address: Ipv4Addr) -> Packet {
    let mut packet = rebooting(mac, address);
    packet.set(code::SERVER_ID, SERVER.octets());
    packet
}

pub(super) fn rebooting(mac: MacAddr, address: Ipv4Addr) -> Packet {
    let mut packet = packet(mac, Some(MessageType::Request));
    packet.set(code::REQUESTED, address.octets());
    packet
}

pub(super) fn renewing(mac: MacAddr, address: Ipv4Addr) -> Packet {
    Packet { ciaddr: address, ..packet(mac, Some(MessageType::Request)) }
}

/// A PXE ROM's DISCOVER.
pub(super) fn pxe(mac: MacAddr, arch: u16) -> Packet {
    let mut packet = discover(mac);
    packet.set(code::CLASS, format!("PXEClient:Arch:{arch:05}:UNDI:003016"));
    packet.set(code::ARCH, arch.to_be_bytes());
    packet.set(code::UUID, [&[0][..], &[7; 16]].concat());
    packet.set(code::PARAMETERS, [1, 3, 43, 54, 60, 66, 67, 97]);
    packet
}

/// iPXE's DISCOVER: the ROM's with the raw user class and features.
pub(super) fn ipxe(mac: MacAddr, arch: u16) -> Packet {
    let mut packet = pxe(mac, arch);
    packet.set(code::USER_CLASS, *b"iPXE");
    packet.set(code::IPXE, [0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0x13, 1, 1, 0xeb, 3, 1, 21, 1]);
    packet
}

pub(super) fn is_ack(events: &[EventKind]) -> bool {
    events.iter().any(|e| matches!(e, EventKind::DhcpAck { .. }))
}

pub(super) fn state_of(bench: &Bench, address: Ipv4Addr) -> Option<LeaseState> {
    bench.records.iter().rev().find(|r| r.address == address).map(|r| r.state)
}
