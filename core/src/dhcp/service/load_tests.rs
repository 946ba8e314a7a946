//! What must hold while a server is busy: a process that is killed has lost no lease that a client heard of, and hostile packets
//! take nothing from the others.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::api::reports;
use crate::boot::PlanNetwork;
use crate::lab::{Boot, Db, Lab, LeaseState, Mode, Network, Unknown};
use crate::net::bench::Bench;
use crate::net::{Direct, MacAddr, PacketSocket, PacketUse, interfaces, ready};

/// Names the folder of lab.db to the child.
const FOLDER: &str = "DHCP_LOAD_TEST";
/// Exchanges under way at once.
const CROWD: u32 = 32;

/// lab.db, as the engine gives it to the service.
struct Leases(Db);

impl LeaseStore for Leases {
    fn commit(&self, records: Vec<LeaseRecord>, done: Done) {
        self.0.commit_leases_then(records, |result| done.tell(result.map_err(|e| StoreError(e.to_string()))));
    }
}

#[test]
#[ignore = "a part of the others: it serves until it is killed"]
fn part_serve() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut network = Network::on("left");
    network.unknown = Unknown::Boot(Boot::Wait);
    let lab = Lab { networks: vec![network], ..Lab::default() };
    let left = interfaces().unwrap().into_iter().find(|i| i.name == "left").unwrap();
    let network = PlanNetwork {
        index: 0,
        interface: "left".into(),
        ifindex: left.index,
        mac: left.mac.unwrap(),
        address: "10.60.0.1/16".parse().unwrap(),
        mode: Mode::Dhcp,
        foreign: false,
    };
    let plan = Arc::new(Plan { lab: Arc::new(lab), networks: vec![network], ..Plan::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = Db::open(&folder.join("lab.db")).unwrap();
    let (reporter, _reports) = reports();
    let leases = db.leases().unwrap();
    let config = Config {
        plan,
        ports: Arc::new(Direct),
        reporter,
        store: Arc::new(Leases(db)),
        leases,
        styles: <_>::default(),
        tap: <_>::default(),
    };
    let service = runtime.block_on(start(config)).unwrap();
    println!("serving");
    // It may also be told to end in order.
    let _ = std::io::stdin().read_line(&mut String::new());
    runtime.block_on(service.stop());
}

/// A server in a process of its own.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    /// Open to the end: the test program that it is says how it went.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["dhcp::service::load_tests::part_serve", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let serves = output.by_ref().lines().any(|line| line.unwrap().contains("serving"));
        assert!(serves, "the server did not start");
        let input = child.stdin.take();
        Self { child, input, _output: output }
    }

    fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn mac(n: u32) -> MacAddr {
    let [a, b, c, d] = n.to_be_bytes();
    MacAddr([2, 0x60, a, b, c, d])
}

/// The clients' end of the wire.
struct Clients {
    socket: Box<dyn PacketSocket>,
    acked: HashMap<MacAddr, Ipv4Addr>,
}

impl Clients {
    fn plug() -> Self {
        Self { socket: Direct.packet("right", PacketUse::DhcpListen).unwrap(), acked: HashMap::new() }
    }

    fn send(&self, sender: MacAddr, bytes: &[u8]) {
        let ends = ("0.0.0.0:68".parse().unwrap(), "255.255.255.255:67".parse().unwrap());
        let frame = frame::build((sender, MacAddr::BROADCAST), ends, bytes).unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while let Err(error) = self.socket.send(&frame) {
            assert!(Instant::now() < until, "{error}");
            std::thread::yield_now();
        }
    }

    fn say(&self, mac: MacAddr, message: MessageType, options: &[(u8, Vec<u8>)]) {
        self.send(mac, &packet(mac, message, options));
    }

    /// The replies that are there within `patience`: the client, the type, the packet.
    fn hear(&self, patience: Duration) -> Vec<(MacAddr, u8, Packet)> {
        ready::wait(&[self.socket.fd()], patience);
        let mut buffer = [0; 2048];
        let mut heard = Vec::new();
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let Some(udp) = frame::parse(&buffer[..len]).filter(|u| u.source.port() == 67) else { continue };
            let reply = Packet::decode(udp.payload).unwrap();
            let mac = MacAddr(reply.chaddr[..6].try_into().unwrap());
            // BOOTP's has none.
            let kind = reply.option(code::MESSAGE_TYPE).map_or(0, |t| t[0]);
            heard.push((mac, kind, reply));
        }
        heard
    }

    fn take_in(&mut self, heard: Vec<(MacAddr, u8, Packet)>) -> usize {
        let mut acks = 0;
        for (mac, kind, reply) in heard {
            match kind {
                2 => {
                    let server = reply.option(code::SERVER_ID).unwrap().to_vec();
                    let options = [(code::REQUESTED, reply.yiaddr.octets().to_vec()), (code::SERVER_ID, server)];
                    self.say(mac, MessageType::Request, &options);
                }
                5 => {
                    acks += 1;
                    if let Some(before) = self.acked.insert(mac, reply.yiaddr) {
                        assert_eq!(before, reply.yiaddr, "{mac} has another address now");
                    }
                }
                other => panic!("{mac} heard {other}"),
            }
        }
        acks
    }

    /// New clients from `first` on, a crowd at a time, until so many have their lease. The rest is under way then.
    fn boot(&mut self, first: u32, count: usize) -> u32 {
        let mut next = first;
        for _ in 0..CROWD {
            self.say(mac(next), MessageType::Discover, &[]);
            next += 1;
        }
        let (mut acked, until) = (0, Instant::now() + Duration::from_secs(60));
        while acked < count {
            assert!(Instant::now() < until, "{acked} of {count} have a lease");
            let heard = self.hear(Duration::from_millis(100));
            let acks = self.take_in(heard);
            acked += acks;
            for _ in 0..acks {
                self.say(mac(next), MessageType::Discover, &[]);
                next += 1;
            }
        }
        next
    }

    fn check(&self, folder: &Path) {
        let db = Db::open_readonly(&folder.join("lab.db")).unwrap();
        let kept: HashMap<MacAddr, Ipv4Addr> = db
            .leases()
            .unwrap()
            .into_iter()
            .filter(|l| l.state == LeaseState::Bound)
            .map(|l| (l.mac, l.address))
            .collect();
        for (mac, address) in &self.acked {
            assert_eq!(kept.get(mac), Some(address), "the lease of {mac} is lost");
        }
    }
}

fn packet(mac: MacAddr, message: MessageType, options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut packet = Packet { xid: 7, flags: 0x8000, ..Packet::default() };
    packet.chaddr[..6].copy_from_slice(&mac.0);
    packet.set(code::MESSAGE_TYPE, [message as u8]);
    packet.set(code::PARAMETERS, [1, 3, 6, 15, 51, 54]);
    for (code, value) in options {
        packet.set(*code, value.clone());
    }
    packet.encode(&[], 1472)
}

fn wide_wire() {
    crate::net::bench::ip(&["addr", "add", "10.60.0.1/16", "dev", "left"]);
}

#[test]
fn kill_9_under_load_loses_no_lease_that_a_client_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    Bench::run("dhcp-kill", || {
        wide_wire();
        let mut clients = Clients::plug();
        let mut next = 1;
        for round in 0..3 {
            let server = Server::start(folder.path());
            next = clients.boot(next, 400);
            server.kill9();
            // What had left before is in the socket's queue: the client hears of it.
            let heard = clients.hear(Duration::from_millis(200));
            for (mac, kind, reply) in heard {
                if kind == 5 {
                    clients.acked.insert(mac, reply.yiaddr);
                }
            }
            clients.check(folder.path());
            assert!(clients.acked.len() >= 400 * (round + 1));
        }
        // All of them come again, and each has its own.
        let server = Server::start(folder.path());
        for mac in clients.acked.keys().copied().collect::<Vec<_>>() {
            let address = clients.acked[&mac].octets().to_vec();
            clients.say(mac, MessageType::Request, &[(code::REQUESTED, address)]);
            let heard = clients.hear(Duration::from_secs(5));
            clients.take_in(heard);
        }
        let distinct: std::collections::HashSet<_> = clients.acked.values().collect();
        assert_eq!(distinct.len(), clients.acked.len(), "an address was given twice");
        server.stop();
        clients.check(folder.path());
    });
}

#[test]
fn three_thousand_mutated_packets_lose_no_lease_and_stop_no_exchange() {
    let folder = tempfile::tempdir().unwrap();
    Bench::run("dhcp-mutated", || {
        wide_wire();
        let server = Server::start(folder.path());
        let mut clients = Clients::plug();
        let next = clients.boot(1, 40);
        let before = clients.acked.clone();
        let mut random = fastrand::Rng::with_seed(4);
        let stranger = MacAddr([2, 0x66, 0, 0, 0, 1]);
        let kinds = [
            MessageType::Discover,
            MessageType::Request,
            MessageType::Decline,
            MessageType::Release,
            MessageType::Inform,
        ];
        let addresses: Vec<Ipv4Addr> = before.values().copied().collect();
        for n in 0..3000 {
            let victim = addresses[random.usize(..addresses.len())].octets().to_vec();
            let options = [
                (code::REQUESTED, victim),
                (code::SERVER_ID, vec![10, 60, 0, 1]),
                (code::CLASS, b"PXEClient:Arch:00007:UNDI:003016".to_vec()),
                (code::RELAY, vec![5, 4, 10, 60, 0, 0]),
            ];
            let mut bytes = packet(stranger, kinds[n % kinds.len()], &options);
            for _ in 0..=random.usize(..8) {
                // Everything but the hardware address, for a forged one is its owner's word.
                let at = random.usize(..bytes.len());
                if !(28..34).contains(&at) {
                    bytes[at] = random.u8(..);
                }
            }
            if random.u8(..8) == 0 {
                bytes.truncate(random.usize(..bytes.len()));
            }
            clients.send(stranger, &bytes);
            if n % 50 == 0 {
                // Replies to the stranger are its own business.
                clients.hear(Duration::ZERO);
            }
        }
        // The others renew, and a new machine boots.
        let until = Instant::now() + Duration::from_secs(30);
        let mut renewed = HashMap::new();
        while renewed.len() < before.len() {
            assert!(Instant::now() < until, "{} of {} could renew", renewed.len(), before.len());
            for (mac, address) in before.iter().filter(|(mac, _)| !renewed.contains_key(*mac)) {
                clients.say(*mac, MessageType::Request, &[(code::REQUESTED, address.octets().to_vec())]);
            }
            for (mac, kind, reply) in clients.hear(Duration::from_millis(500)) {
                if let (true, Some(address)) = (mac != stranger, before.get(&mac)) {
                    assert_eq!((kind, reply.yiaddr), (5, *address), "{mac}");
                    renewed.insert(mac, reply.yiaddr);
                }
            }
        }
        while clients.hear(Duration::from_millis(100)).iter().any(|(mac, ..)| *mac == stranger) {}
        clients.boot(next + CROWD, 10);
        server.stop();
        clients.check(folder.path());
    });
}
