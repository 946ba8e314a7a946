//! DHCP: our walker against dhcproto's, and the machine under whatever clients send.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bootyard_core::boot::{Arch, FirmwareFile, Plan, PlanNetwork};
use bootyard_core::dhcp::wire::{DecodeError, Packet, code};
use bootyard_core::dhcp::{Destination, DhcpMachine, Input, Output};
use bootyard_core::lab::{Boot, Lab, LeaseRecord, LeaseState, Mode, Network, Unknown};
use bootyard_core::machine::{Machine, Now, Ticket};
use bootyard_core::net::MacAddr;
use dhcproto::v4::borrowed::Message as Borrowed;
use dhcproto::v4::{DhcpOption, Message, OptionCode};
use dhcproto::{Decodable, Decoder};

/// Options that dhcproto cannot be asked about: in a build with debug assertions it panics where their length is not the right one
/// (80, 81, 94, 151 to 157), and it takes an option 121 whose prefix is no network for sure.
const PANICS: [u8; 11] = [80, 81, 94, 121, 151, 152, 153, 154, 155, 156, 157];

/// Where dhcproto reads a message, we read the same. Known differences, with their reasons:
///
/// * What is no DHCP message (operation, hlen over 16, cookie) and an option that claims more than there is we refuse; dhcproto's
///   reader goes by without a word or stops there, and what follows is lost.
/// * dhcproto does not look at option 52. Where it says something, the fields hold more options; it is not kept as an option.
/// * RFC 3396 has parts of an option that are not adjacent joined as well. dhcproto's iterator gives them one by one, and we join
///   them here; its typed reader keeps the last, and those are not compared.
/// * Its typed reader takes numbers from longer values. We keep all bytes, so theirs must be the beginning of ours.
pub(crate) fn oracle(data: &[u8]) {
    let ours = match Packet::decode(data) {
        Ok(packet) if !packet.plain => packet,
        Err(DecodeError::Short(_)) => {
            assert!(Borrowed::new(data).is_err(), "dhcproto reads what we find too short");
            return;
        }
        _ => return,
    };
    let Ok(theirs) = Borrowed::new(data) else { panic!("we read what dhcproto finds too short") };
    let mut joined: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut parted = Vec::new();
    for option in theirs.opts() {
        let code = u8::from(option.code());
        match joined.iter_mut().find(|(known, _)| *known == code) {
            Some((_, value)) => {
                parted.push(code);
                value.extend_from_slice(option.data());
            }
            None => joined.push((code, option.data().to_vec())),
        }
    }
    let overloads = joined.iter().any(|(c, v)| *c == code::OVERLOAD && matches!(v[..], [bits] if bits & 3 != 0));
    if !overloads {
        joined.retain(|(c, _)| *c != code::OVERLOAD);
        assert_eq!(ours.options, joined, "ours (left) and dhcproto's options differ");
        assert_eq!((&ours.sname[..], &ours.file[..]), (theirs.sname(), theirs.fname()));
    }
    let addresses = (theirs.ciaddr(), theirs.yiaddr(), theirs.siaddr(), theirs.giaddr());
    assert_eq!((ours.ciaddr, ours.yiaddr, ours.siaddr, ours.giaddr), addresses);
    let numbers = (u8::from(theirs.opcode()), u8::from(theirs.htype()), theirs.hlen(), theirs.hops());
    assert_eq!((ours.op, ours.htype, ours.hlen, ours.hops), numbers);
    assert_eq!((ours.xid, ours.secs, ours.flags), (theirs.xid(), theirs.secs(), u16::from(theirs.flags())));
    assert_eq!(&ours.chaddr[..usize::from(ours.hlen)], theirs.chaddr());
    if !overloads && !joined.iter().any(|(c, _)| PANICS.contains(c)) {
        typed(&ours, data, &parted);
    }
}

/// The options whose type keeps what was there.
fn typed(ours: &Packet, data: &[u8], parted: &[u8]) {
    let Ok(theirs) = Message::decode(&mut Decoder::new(data)) else { return };
    for (code, option) in theirs.opts().iter() {
        let code = u8::from(*code);
        let Some(value) = ours.option(code).filter(|_| !parted.contains(&code)) else { continue };
        let exact: Option<Vec<u8>> = match option {
            DhcpOption::ClassIdentifier(v)
            | DhcpOption::ClientIdentifier(v)
            | DhcpOption::TFTPServerName(v)
            | DhcpOption::BootfileName(v)
            | DhcpOption::UserClass(v)
            | DhcpOption::VendorExtensions(v)
            | DhcpOption::ClientMachineIdentifier(v) => Some(v.clone()),
            DhcpOption::Unknown(v) => Some(v.data().to_vec()),
            DhcpOption::Hostname(v) | DhcpOption::DomainName(v) | DhcpOption::RootPath(v) => {
                Some(v.as_bytes().to_vec())
            }
            DhcpOption::ParameterRequestList(v) => Some(v.iter().map(|c: &OptionCode| u8::from(*c)).collect()),
            _ => None,
        };
        if let Some(exact) = exact {
            assert_eq!(value, exact, "option {code}");
        }
        let begins = match option {
            DhcpOption::RequestedIpAddress(v)
            | DhcpOption::ServerIdentifier(v)
            | DhcpOption::SubnetMask(v)
            | DhcpOption::SubnetSelection(v) => v.octets().to_vec(),
            DhcpOption::AddressLeaseTime(v) | DhcpOption::Renewal(v) | DhcpOption::Rebinding(v) => {
                v.to_be_bytes().to_vec()
            }
            DhcpOption::MaxMessageSize(v) => v.to_be_bytes().to_vec(),
            DhcpOption::MessageType(v) => vec![u8::from(*v)],
            _ => continue,
        };
        assert!(value.starts_with(&begins), "option {code}: {value:?} and {begins:?}");
    }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 20);
const LAST: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 25);

fn plan(mode: Mode) -> Option<Arc<Plan>> {
    let mut network = Network::on("br0");
    network.ranges = vec!["192.168.2.20-192.168.2.25".parse().ok()?];
    network.unknown = Unknown::Boot(Boot::Wait);
    let file = FirmwareFile { name: "undionly.kpxe".into(), path: "/x".into(), size: 1 };
    let in_service = PlanNetwork {
        index: 0,
        interface: "br0".into(),
        ifindex: 2,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        address: "192.168.2.1/24".parse().ok()?,
        mode,
        foreign: false,
    };
    Some(Arc::new(Plan {
        lab: Arc::new(Lab { networks: vec![network], ..Lab::default() }),
        networks: vec![in_service],
        firmware: [(Arch::Bios, file)].into(),
        ..Plan::default()
    }))
}

/// The machine with a disk that answers when told, and who holds what by the records that are on it.
struct Bench {
    machine: DhcpMachine,
    mode: Mode,
    now: Duration,
    writing: VecDeque<(Ticket, Vec<LeaseRecord>)>,
    held: HashMap<Ipv4Addr, LeaseRecord>,
    /// What the disk has had of each machine: an ACK may have nothing else.
    durable: HashMap<MacAddr, Vec<Ipv4Addr>>,
}

impl Bench {
    fn give(&mut self, input: Input<'_>) {
        let committing = matches!(input, Input::Committed(..));
        self.machine.handle(Now::at(self.now), input);
        let mut replies = 0;
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(reply) => {
                    replies += 1;
                    self.sent(&reply.bytes, reply.destination, committing);
                }
                Output::Persist(ticket, records) => self.writing.push_back((ticket, records)),
                Output::Event(_) => {}
                Output::SendRange { source, .. } => match source {},
            }
        }
        assert!(replies <= 1, "one request, one reply");
    }

    fn sent(&mut self, bytes: &[u8], destination: Destination, committing: bool) {
        assert!((300..=1472).contains(&bytes.len()), "a reply of {} bytes", bytes.len());
        // BOOTP without a cookie has no reply that the decoder would take: it reads requests of that kind alone.
        let Ok(reply) = Packet::decode(bytes) else {
            assert_eq!(bytes.get(236..240), Some(&[0; 4][..]), "a reply that nobody can read");
            return;
        };
        assert_eq!(reply.op, 2);
        if let Destination::Unicast(to) = destination {
            assert!(!to.ip().is_unspecified(), "a reply to nobody");
        }
        let kind = reply.option(code::MESSAGE_TYPE).map(<[u8]>::to_vec);
        if kind == Some(vec![6]) {
            assert!(self.mode == Mode::Dhcp, "a NAK beside another server");
        }
        if reply.yiaddr.is_unspecified() || kind == Some(vec![2]) {
            return;
        }
        let mac = MacAddr(std::array::from_fn(|n| reply.chaddr[n]));
        let known = self.durable.get(&mac).is_some_and(|all| all.contains(&reply.yiaddr));
        assert!(committing && known, "{} is given to {mac} before it is on disk", reply.yiaddr);
    }

    /// The oldest write ends.
    fn commit(&mut self, ok: bool) {
        let Some((ticket, records)) = self.writing.pop_front() else { return };
        for record in records {
            // Whoever gives an address back does not use it any more, written down or not.
            if ok || record.state != LeaseState::Bound {
                self.record(record);
            }
        }
        self.give(Input::Committed(ticket, ok));
    }

    fn record(&mut self, record: LeaseRecord) {
        let live = !matches!(record.state, LeaseState::Released | LeaseState::Declined);
        if !live {
            self.held.remove(&record.address);
            return;
        }
        assert!((FIRST..=LAST).contains(&record.address), "{} is not in the range", record.address);
        let now = Now::at(self.now).wall;
        if let Some(other) = self.held.get(&record.address)
            && other.mac != record.mac
        {
            assert!(other.expires <= now, "{record:?} though it is held: {other:?}");
        }
        self.durable.entry(record.mac).or_default().push(record.address);
        self.held.insert(record.address, record);
    }
}

/// Takes bytes off the front; what is not there reads as zero.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (front, after) = rest.split_at(rest.len().min(N));
    *rest = after;
    std::array::from_fn(|n| front.get(n).copied().unwrap_or(0))
}

/// Whatever clients send, in whatever order and however slow or broken the disk is. One byte for the mode, then steps: what, who, and
/// which address; 13 and more bring a packet of their own.
pub(crate) fn machine(data: &[u8]) {
    let mut rest = data;
    let [first] = take(&mut rest);
    let mode = if first & 1 == 0 { Mode::Dhcp } else { Mode::Proxy };
    let Some(start) = plan(mode) else { return };
    let mut bench = Bench {
        machine: DhcpMachine::new(start, Vec::new()),
        mode,
        now: Duration::from_secs(1000),
        writing: VecDeque::new(),
        held: HashMap::new(),
        durable: HashMap::new(),
    };
    let at_once = first & 2 == 0;
    while !rest.is_empty() {
        step(&mut bench, &mut rest);
        while at_once && !bench.writing.is_empty() {
            bench.commit(true);
        }
        if let Some(due) = bench.machine.deadline().filter(|due| *due <= bench.now) {
            bench.give(Input::Tick);
            assert!(bench.machine.deadline() != Some(due), "a deadline that does not go away");
        }
    }
}

fn step(bench: &mut Bench, rest: &mut &[u8]) {
    let [what, who, which] = take(rest);
    let address = Ipv4Addr::new(192, 168, 2, 15 + which % 16);
    let mac = MacAddr([0x52, 0x54, 0, 0, 0, who & 7]);
    let mut packet = Packet { xid: u32::from(who), ..Packet::default() };
    packet.chaddr = std::array::from_fn(|n| mac.0.get(n).copied().unwrap_or(0));
    packet.flags = if who & 0x80 == 0 { 0 } else { 0x8000 };
    match who >> 4 & 3 {
        1 => packet.set(code::CLASS, *b"PXEClient:Arch:00000:UNDI:002001"),
        2 => packet.set(code::USER_CLASS, *b"iPXE"),
        3 => packet.set(code::CLIENT_ID, [1, who, which]),
        _ => {}
    }
    if who & 8 != 0 {
        packet.giaddr = Ipv4Addr::new(192, 168, 2, 250);
    }
    let message = |packet: &mut Packet, kind: u8| packet.set(code::MESSAGE_TYPE, [kind]);
    match what & 15 {
        0 => message(&mut packet, 1),
        1 => {
            message(&mut packet, 3);
            packet.set(code::SERVER_ID, SERVER.octets());
            packet.set(code::REQUESTED, address.octets());
        }
        2 => {
            message(&mut packet, 3);
            packet.set(code::REQUESTED, address.octets());
        }
        3 => {
            message(&mut packet, 3);
            packet.ciaddr = address;
        }
        4 => {
            message(&mut packet, 4);
            packet.set(code::SERVER_ID, SERVER.octets());
            packet.set(code::REQUESTED, address.octets());
        }
        5 => {
            message(&mut packet, 7);
            packet.ciaddr = address;
        }
        6 => {
            message(&mut packet, 8);
            packet.ciaddr = address;
        }
        7 => packet.ciaddr = address,
        8 => {
            bench.now += Duration::from_secs(u64::from(who) * u64::from(which));
            return;
        }
        9 => return bench.commit(who & 1 == 0),
        10 => return bench.give(Input::InUse { network: 0, address, mac }),
        11 => return bench.give(Input::Foreign { network: 0, server: address }),
        12 => {
            bench.mode = if who & 1 == 0 { Mode::Dhcp } else { Mode::Proxy };
            if let Some(plan) = plan(bench.mode) {
                bench.give(Input::Plan(plan));
            }
            return;
        }
        _ => {
            // As it comes, or as the options of a packet that is right.
            let (bytes, after) = rest.split_at(usize::from(which).min(rest.len()));
            *rest = after;
            let bytes = match what & 16 {
                0 => bytes.to_vec(),
                _ => [packet.encode(&[], 0).get(..240).unwrap_or_default(), bytes].concat(),
            };
            return send(bench, what, address, &bytes);
        }
    }
    send(bench, what, address, &packet.encode(&[], 1472));
}

fn send(bench: &mut Bench, what: u8, address: Ipv4Addr, bytes: &[u8]) {
    let port = if what & 0x40 == 0 { 67 } else { 4011 };
    let source = SocketAddrV4::new(if what & 0x20 == 0 { Ipv4Addr::UNSPECIFIED } else { address }, 68);
    bench.give(Input::Packet { network: 0, port, source, bytes });
}
