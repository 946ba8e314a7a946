//! The servers: the crate's machines with a slow disk and files in memory, and another maker's DHCP server.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bootyard_core::api::{EventKind, Who};
use bootyard_core::boot::{Arch, FirmwareFile, Plan, PlanNetwork};
use bootyard_core::dhcp::{Destination, DhcpMachine, Input, Output};
use bootyard_core::lab::{Boot, Lab, LeaseRecord, Mode, Network, Unknown};
use bootyard_core::machine::{Machine as _, Now, Output as MachineOutput, Ticket};
use bootyard_core::net::MacAddr;
use bootyard_core::tftp::machine::{Input as TftpInput, Transfer};
use bootyard_core::tftp::wire::{self as tftp, Packet, Request};

use super::wire::{ACK, DISCOVER, Datagram, Dhcp, NAK, OFFER, REQUEST};

pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
/// The disk takes so many microseconds.
pub const DISK: u64 = 5_000;

/// Virtual time as the machines know it.
pub fn at(micros: u64) -> Now {
    Now::at(Duration::from_secs(1000) + Duration::from_micros(micros))
}

fn micros(boot: Duration) -> u64 {
    u64::try_from(boot.saturating_sub(Duration::from_secs(1000)).as_micros()).unwrap() + 1
}

/// One network with as many addresses as there are machines.
fn plan(mode: Mode) -> Plan {
    let mut network = Network::on("br0");
    network.ranges = vec!["10.77.1.1-10.77.1.200".parse().unwrap()];
    network.unknown = Unknown::Boot(Boot::Wait);
    let file = |name: &str| FirmwareFile { name: name.into(), path: format!("/x/{name}").into(), size: 1 };
    let firmware = [
        (Arch::Bios, file("undionly.kpxe")),
        (Arch::UefiX64, file("snponly.efi")),
        (Arch::UefiArm64, file("arm64/snponly.efi")),
    ];
    let network_in_service = PlanNetwork {
        index: 0,
        interface: "br0".into(),
        ifindex: 2,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        address: "10.77.0.1/16".parse().unwrap(),
        mode,
        foreign: false,
    };
    Plan {
        lab: Arc::new(Lab { networks: vec![network], ..Lab::default() }),
        networks: vec![network_in_service],
        firmware: firmware.into(),
        ..Plan::default()
    }
}

/// A transfer as the service runs it: by the client's port, from a port of its own.
struct Running {
    transfer: Transfer,
    request: Request,
    port: u16,
    due: Option<u64>,
}

/// Bootyard. See the module's text.
pub struct Server {
    dhcp: DhcpMachine,
    pub files: HashMap<Vec<u8>, Vec<u8>>,
    transfers: HashMap<SocketAddrV4, Running>,
    /// The transfers by their deadlines.
    due: BTreeSet<(u64, SocketAddrV4)>,
    next_port: u16,
    writing: Vec<(u64, Ticket, Vec<LeaseRecord>)>,
    durable: HashSet<([u8; 6], Ipv4Addr)>,
    pub out: Vec<Datagram>,
}

impl Server {
    pub fn new(mode: Mode, random: &mut fastrand::Rng) -> Self {
        // The second is a multiple of its blocks, so an empty one ends it; the third rounds to nothing.
        let sizes = [("undionly.kpxe", 60 * 1024), ("snponly.efi", 1468 * 42), ("arm64/snponly.efi", 61_001)];
        let mut content = |len: usize| std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        Self {
            dhcp: DhcpMachine::new(Arc::new(plan(mode)), Vec::new()),
            files: sizes.map(|(name, size)| (name.as_bytes().to_vec(), content(size))).into(),
            transfers: HashMap::new(),
            due: BTreeSet::new(),
            next_port: 20_000,
            writing: Vec::new(),
            durable: HashSet::new(),
            out: Vec::new(),
        }
    }

    pub fn take(&mut self, now: u64, packet: &Datagram) {
        match packet.to.port() {
            port @ (67 | 4011) => {
                let input = Input::Packet { network: 0, port, source: packet.from, bytes: &packet.bytes };
                self.dhcp.handle(at(now), input);
                self.drain(now);
            }
            69 => self.asked(now, packet),
            port => {
                if self.transfers.get(&packet.from).is_some_and(|running| running.port == port) {
                    self.transfer(now, packet.from, TftpInput::Packet(&packet.bytes));
                }
            }
        }
    }

    /// Transfers run or leases are being written.
    pub fn is_busy(&self) -> bool {
        !self.transfers.is_empty() || !self.writing.is_empty()
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<u64> {
        let transfer = self.due.first().map(|(at, _)| *at);
        let written = self.writing.iter().map(|(at, ..)| *at).min();
        [transfer, written, self.dhcp.deadline().map(micros)].into_iter().flatten().min()
    }

    pub fn wake(&mut self, now: u64) {
        let (done, writing) = std::mem::take(&mut self.writing).into_iter().partition(|(at, ..)| *at <= now);
        self.writing = writing;
        for (_, ticket, records) in done {
            self.durable.extend(records.iter().map(|record| (record.mac.0, record.address)));
            self.dhcp.handle(at(now), Input::Committed(ticket, true));
            self.drain(now);
        }
        if self.dhcp.deadline().is_some_and(|due| micros(due) <= now) {
            self.dhcp.handle(at(now), Input::Tick);
            self.drain(now);
        }
        while let Some((_, client)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.transfer(now, client, TftpInput::Due);
        }
    }

    fn drain(&mut self, now: u64) {
        while let Some(output) = self.dhcp.poll() {
            match output {
                Output::Send(reply) => {
                    let message = Dhcp::read(&reply.bytes);
                    assert_ne!(message.kind(), NAK, "a NAK: {message:?}");
                    if message.kind() == ACK && !message.yiaddr.is_unspecified() {
                        let known = self.durable.contains(&(message.mac, message.yiaddr));
                        assert!(known, "{message:?} was sent before its lease was on disk");
                    }
                    let (to, mac) = match reply.destination {
                        Destination::Broadcast => (SocketAddrV4::new(Ipv4Addr::BROADCAST, 68), None),
                        Destination::Unicast(to) => (to, None),
                        Destination::Hardware { mac, ip } => (SocketAddrV4::new(ip, 68), Some(mac.0)),
                    };
                    let from = SocketAddrV4::new(OURS, reply.from_port);
                    self.out.push(Datagram { from, to, mac, bytes: reply.bytes.into() });
                }
                Output::Persist(ticket, records) => self.writing.push((now + DISK, ticket, records)),
                Output::Event(_) => {}
                Output::SendRange { source, .. } => match source {},
            }
        }
    }

    fn asked(&mut self, now: u64, packet: &Datagram) {
        let Ok(Packet::Rrq(request)) = tftp::decode(&packet.bytes) else { panic!("no request: {packet:?}") };
        if let Some(running) = self.transfers.get(&packet.from) {
            if running.request == request {
                return self.transfer(now, packet.from, TftpInput::Again);
            }
            self.transfer(now, packet.from, TftpInput::Replaced);
        }
        let same = |(client, running): &(&SocketAddrV4, &Running)| {
            client.ip() == packet.from.ip() && running.request.file == request.file
        };
        let mut elsewhere: Vec<_> = self.transfers.iter().filter(same).map(|(client, _)| *client).collect();
        // The map's order is another one in each run.
        elsewhere.sort();
        for client in elsewhere {
            self.transfer(now, client, TftpInput::Elsewhere);
        }
        let total = self.files.get(&request.file).expect("the client asks for what it was offered").len();
        let name = String::from_utf8(request.file.clone()).unwrap();
        let transfer = Transfer::new(Who::ip(*packet.from.ip()), name, total as u64, &request);
        self.next_port += 1;
        self.transfers.insert(packet.from, Running { transfer, request, port: self.next_port, due: None });
        self.transfer(now, packet.from, TftpInput::Start);
    }

    fn transfer(&mut self, now: u64, client: SocketAddrV4, input: TftpInput<'_>) {
        let Some(running) = self.transfers.get_mut(&client) else { return };
        let from = SocketAddrV4::new(OURS, running.port);
        let mut send = |bytes: Vec<u8>| self.out.push(Datagram { from, to: client, mac: None, bytes: bytes.into() });
        running.transfer.handle(at(now), input);
        while let Some(output) = running.transfer.poll() {
            match output {
                MachineOutput::Send(bytes) => send(bytes),
                MachineOutput::SendRange { source, offset, len } => {
                    let file = &self.files[&running.request.file];
                    let range = &file[usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap()];
                    for nth in 0..source.count {
                        let start = (usize::from(nth) * usize::from(source.size)).min(range.len());
                        let data = &range[start..range.len().min(start + usize::from(source.size))];
                        send(tftp::encode(&Packet::Data { block: source.first.wrapping_add(nth), data }));
                    }
                }
                MachineOutput::Event(observation) => match observation.kind {
                    EventKind::TftpFailed { message, .. } => {
                        panic!("everybody has its file, but this is told: {message}")
                    }
                    EventKind::TftpAborted { probe, .. } => assert!(probe, "a size probe reads as an abort"),
                    _ => {}
                },
                MachineOutput::Persist(_, never) => match never {},
            }
        }
        if let Some(due) = running.due.take() {
            self.due.remove(&(due, client));
        }
        if running.transfer.ended() {
            self.transfers.remove(&client);
        } else if let Some(due) = running.transfer.deadline().map(micros) {
            running.due = Some(due);
            self.due.insert((due, client));
        }
    }
}

/// Gives addresses and nothing else, as a router does.
#[derive(Default)]
pub struct Other {
    given: HashMap<[u8; 6], Ipv4Addr>,
}

impl Other {
    pub fn take(&mut self, packet: &Datagram) -> Option<Datagram> {
        if packet.to.port() != 67 {
            return None;
        }
        let asked = Dhcp::read(&packet.bytes);
        let kind = match asked.kind() {
            DISCOVER => OFFER,
            REQUEST if asked.address(54) == Some(OTHER) => ACK,
            _ => return None,
        };
        let next = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 2, 1)) + u32::try_from(self.given.len()).unwrap());
        let mut reply = Dhcp::new(2, kind, asked.xid, asked.mac);
        reply.yiaddr = *self.given.entry(asked.mac).or_insert(next);
        reply.options.insert(1, vec![255, 255, 0, 0]);
        reply.options.insert(51, 3600u32.to_be_bytes().to_vec());
        reply.options.insert(54, OTHER.octets().to_vec());
        let (ip, mac) = if asked.broadcast { (Ipv4Addr::BROADCAST, None) } else { (reply.yiaddr, Some(asked.mac)) };
        let (from, to) = (SocketAddrV4::new(OTHER, 67), SocketAddrV4::new(ip, 68));
        Some(Datagram { from, to, mac, bytes: reply.write() })
    }
}
