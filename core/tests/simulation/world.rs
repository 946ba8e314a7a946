//! The network and the clock: what is sent arrives later, twice or never, and time goes from one event to the next.

use std::collections::{BTreeMap, HashMap, HashSet};

use bootyard_core::lab::Mode;

use super::client::{Client, KINDS};
use super::server::{OTHER, OURS, Other, Server};
use super::wire::Datagram;

const MACHINES: u8 = 200;
/// Of a thousand packets so many are lost, and so many arrive twice.
const LOST: u32 = 20;
const DOUBLED: u32 = 10;
/// A packet takes so many microseconds: two that follow each other often change places.
const DELAY: std::ops::Range<u64> = 200..20_000;
/// Whoever is not there after so long does not arrive.
const END: u64 = 1_800_000_000;

#[derive(Debug)]
enum Event {
    Wake(usize),
    ServerWake,
    ToClient(usize, Datagram),
    ToServer(Datagram),
    ToOther(Datagram),
}

/// Everything. See the module's text.
pub struct World {
    now: u64,
    serial: u64,
    random: fastrand::Rng,
    events: BTreeMap<(u64, u64), Event>,
    clients: Vec<Client>,
    /// How many have not arrived.
    waiting: usize,
    by_mac: HashMap<[u8; 6], usize>,
    server: Server,
    other: Option<Other>,
    /// For each client and the server: the time for which it is to be woken.
    alarms: Vec<Option<u64>>,
    server_alarm: Option<u64>,
    sent: u64,
    lost: u64,
    doubled: u64,
}

impl World {
    pub fn new(seed: u64, mode: Mode) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let clients: Vec<Client> = (0..MACHINES)
            .map(|number| {
                let kind = &KINDS[random.usize(..KINDS.len())];
                Client::new(kind, number, random.u64(0..1_000_000), random.u64(..))
            })
            .collect();
        let mut world = Self {
            now: 0,
            serial: 0,
            by_mac: clients.iter().enumerate().map(|(index, client)| (client.mac, index)).collect(),
            alarms: vec![None; clients.len()],
            waiting: clients.len(),
            clients,
            server: Server::new(mode, &mut random),
            other: (mode == Mode::Proxy).then(Other::default),
            random,
            events: BTreeMap::new(),
            server_alarm: None,
            sent: 0,
            lost: 0,
            doubled: 0,
        };
        (0..world.clients.len()).for_each(|index| world.settle(index));
        world
    }

    pub fn run(&mut self) {
        // The servers end what they have begun: how they tell of it is checked, too.
        while self.waiting > 0 || self.server.is_busy() {
            let ((at, _), event) = self.events.pop_first().expect("somebody waits, so something is to come");
            assert!(at < END, "half an hour, and {}", self.missing());
            self.now = at;
            match event {
                Event::Wake(index) => {
                    // An alarm that was put off leaves its event behind.
                    if self.clients[index].timer == Some(at) {
                        self.clients[index].wake(at);
                        self.settle(index);
                    }
                }
                Event::ToClient(index, packet) => {
                    // An address that nobody has answers no ARP.
                    let client = &mut self.clients[index];
                    let here = packet.to.ip().is_broadcast() || packet.mac.is_some();
                    if client.arrived.is_none() && (here || client.address == Some(*packet.to.ip())) {
                        client.take(at, &packet);
                        self.waiting -= usize::from(client.arrived.is_some());
                        self.settle(index);
                    }
                }
                Event::ServerWake => {
                    self.server_alarm = None;
                    self.server.wake(at);
                    self.settle_server();
                }
                Event::ToServer(packet) => {
                    self.server.take(at, &packet);
                    self.settle_server();
                }
                Event::ToOther(packet) => {
                    let reply = self.other.as_mut().and_then(|other| other.take(&packet));
                    reply.into_iter().for_each(|reply| self.depart(&reply));
                }
            }
        }
    }

    fn missing(&self) -> String {
        self.clients
            .iter()
            .filter(|client| client.arrived.is_none())
            .map(Client::progress)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn push(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    fn settle(&mut self, index: usize) {
        for packet in std::mem::take(&mut self.clients[index].out) {
            self.depart(&packet);
        }
        let timer = self.clients[index].timer;
        if timer != self.alarms[index] {
            self.alarms[index] = timer;
            if let Some(at) = timer {
                self.push(at, Event::Wake(index));
            }
        }
    }

    fn settle_server(&mut self) {
        for packet in std::mem::take(&mut self.server.out) {
            self.depart(&packet);
        }
        if let Some(due) = self.server.deadline()
            && self.server_alarm.is_none_or(|set| due < set)
        {
            self.server_alarm = Some(due);
            self.push(due.max(self.now), Event::ServerWake);
        }
    }

    /// One packet is sent; a broadcast has its own fate on the way to each.
    fn depart(&mut self, packet: &Datagram) {
        self.sent += 1;
        let everybody = packet.to.ip().is_broadcast();
        match packet.to.port() {
            67 if everybody => {
                self.travel(Event::ToServer, packet);
                if self.other.is_some() {
                    self.travel(Event::ToOther, packet);
                }
            }
            _ if *packet.to.ip() == OURS => self.travel(Event::ToServer, packet),
            _ if *packet.to.ip() == OTHER => self.travel(Event::ToOther, packet),
            _ if everybody => {
                (0..self.clients.len()).for_each(|index| self.travel(|p| Event::ToClient(index, p), packet));
            }
            _ => {
                let by_address = || self.clients.iter().position(|client| client.address == Some(*packet.to.ip()));
                let to = packet.mac.map_or_else(by_address, |mac| self.by_mac.get(&mac).copied());
                if let Some(index) = to {
                    self.travel(|p| Event::ToClient(index, p), packet);
                }
            }
        }
    }

    fn travel(&mut self, arrives: impl Fn(Datagram) -> Event, packet: &Datagram) {
        let fate = self.random.u32(..1000);
        let copies = match fate {
            _ if fate < LOST => 0,
            _ if fate < LOST + DOUBLED => 2,
            _ => 1,
        };
        self.lost += u64::from(copies == 0);
        self.doubled += u64::from(copies == 2);
        for _ in 0..copies {
            let at = self.now + self.random.u64(DELAY);
            self.push(at, arrives(packet.clone()));
        }
    }

    /// What must be true of everybody who has arrived.
    pub fn check(&self) {
        assert!(self.lost > 0 && self.doubled > 0);
        let mut addresses = HashSet::new();
        for client in &self.clients {
            let (_, address, url) = client.arrived.as_ref().expect("it has arrived");
            let mac = client.mac.map(|byte| format!("{byte:02x}")).join("-");
            assert_eq!(*url, format!("http://{OURS}/boot/{mac}/boot.ipxe"));
            assert!(addresses.insert(*address), "{address} was given to two machines");
            assert_eq!(client.firmware_address, Some(*address), "iPXE got another address than the firmware");
            let name: &[u8] = match client.kind.arch {
                0 => b"undionly.kpxe",
                11 => b"arm64/snponly.efi",
                _ => b"snponly.efi",
            };
            assert_eq!(client.name, name, "the wrong file for {}", client.kind.name);
            assert!(client.content == self.server.files[name], "{} got other bytes than the file's", client.kind.name);
        }
        let all = if self.other.is_some() { 2 } else { 1 };
        assert!(addresses.iter().all(|address| address.octets()[2] == all), "an address of the other server's range");
    }

    pub fn summary(&self) -> String {
        let mut times: Vec<u64> = self.clients.iter().filter_map(|c| c.arrived.as_ref()).map(|(at, ..)| *at).collect();
        times.sort_unstable();
        let seconds = |micros: u64| format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10);
        let again: u32 = self.clients.iter().map(|client| client.begun_again).sum();
        format!(
            "{} arrived, half of them within {}, the slowest after {}; {} packets sent, {} lost, {} doubled; {again} began again",
            times.len(),
            seconds(times[times.len() / 2]),
            seconds(times[times.len() - 1]),
            self.sent,
            self.lost,
            self.doubled
        )
    }
}
