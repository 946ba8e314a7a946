//! A machine from its power button to the script: firmware's DHCP, its TFTP, then iPXE's own DHCP.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::load::{Load, Manner, Step as Loaded, TIMEOUT, TRIES};
use super::wire::{ACK, DISCOVER, Datagram, Dhcp, NAK, OFFER, REQUEST};

const SECOND: u64 = 1_000_000;
/// Between the boot file's last byte and iPXE's first DISCOVER.
const IPXE_STARTS: u64 = SECOND / 2;
/// iPXE waits so long for ProxyDHCP once it has an address.
const IPXE_PATIENCE: u64 = 2 * SECOND;
/// Firmware's (PXE 2.1, EDK2) and iPXE's timeouts, in seconds: after the last it gives up.
const FIRMWARE: &[u64] = &[4, 8, 16, 32];
const IPXE: &[u64] = &[1, 2, 4, 8, 10];

/// Which ProxyDHCP offers a firmware takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Both,
    /// Only those that send it to port 4011.
    BootServer,
    /// Only those that name the file.
    File,
}

/// A kind of machine.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub arch: u8,
    /// Version of the network driver in option 60: tells models apart.
    pub undi: u16,
    pub broadcast: bool,
    pub takes: Takes,
    /// The port from which it asks port 4011.
    pub asks_from: u16,
    pub manner: Manner,
}

pub const KINDS: [Kind; 7] = [
    kind("BIOS", 0, 2001, true, Takes::Both, 68, 1456, 1, false),
    kind("BIOS by frame", 0, 2002, false, Takes::Both, 68, 1456, 1, true),
    kind("UEFI", 7, 3016, false, Takes::Both, 68, 1468, 4, true),
    kind("UEFI in lock-step", 7, 3001, true, Takes::Both, 4011, 1468, 1, true),
    kind("UEFI, 4011 only", 9, 3010, false, Takes::BootServer, 4011, 1468, 4, false),
    kind("UEFI, file only", 7, 3002, false, Takes::File, 68, 1468, 4, true),
    kind("UEFI on ARM", 11, 3000, true, Takes::Both, 68, 1024, 8, true),
];

#[allow(clippy::too_many_arguments, reason = "a table")]
const fn kind(
    name: &'static str,
    arch: u8,
    undi: u16,
    broadcast: bool,
    takes: Takes,
    asks_from: u16,
    block: usize,
    window: u64,
    always: bool,
) -> Kind {
    Kind { name, arch, undi, broadcast, takes, asks_from, manner: Manner { block, window, always } }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Off,
    Discover,
    Request,
    BootServer,
    Probe,
    Load,
    /// The boot file was started.
    Chain,
    IpxeDiscover,
    IpxeRequest,
    Arrived,
}

/// One machine. See the module's text.
#[derive(Debug)]
pub struct Client {
    pub kind: &'static Kind,
    pub mac: [u8; 6],
    /// The address that it answers to at present.
    pub address: Option<Ipv4Addr>,
    /// What it got as firmware and as iPXE.
    pub firmware_address: Option<Ipv4Addr>,
    pub arrived: Option<(u64, Ipv4Addr, String)>,
    /// What it loaded.
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    /// Times that it gave up and began again with its first DISCOVER.
    pub begun_again: u32,
    pub timer: Option<u64>,
    pub out: Vec<Datagram>,
    random: fastrand::Rng,
    step: Step,
    xid: u32,
    began: u64,
    tries: usize,
    offer: Option<Dhcp>,
    proxy: Option<Dhcp>,
    load: Option<Load>,
}

fn is_pxe(offer: &Dhcp) -> bool {
    offer.options.get(&60).is_some_and(|class| class.starts_with(b"PXEClient"))
}

/// PXE 2.1, option 43: discovery control with bit 3.
fn names_file(offer: &Dhcp) -> bool {
    offer.options.get(&43).is_some_and(|vendor| vendor.starts_with(&[6, 1, 8])) && !offer.file.is_empty()
}

impl Client {
    pub fn new(kind: &'static Kind, number: u8, power_on: u64, seed: u64) -> Self {
        Self {
            kind,
            mac: [0x52, 0x54, 0, 0x10, kind.arch, number],
            address: None,
            firmware_address: None,
            arrived: None,
            name: Vec::new(),
            content: Vec::new(),
            begun_again: 0,
            timer: Some(power_on),
            out: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            step: Step::Off,
            xid: 0,
            began: power_on,
            tries: 0,
            offer: None,
            proxy: None,
            load: None,
        }
    }

    pub fn progress(&self) -> String {
        format!(
            "a {} is at {:?} after {} tries: {:?} {:?}",
            self.kind.name, self.step, self.tries, self.offer, self.proxy
        )
    }

    fn ipxe(&self) -> bool {
        matches!(self.step, Step::IpxeDiscover | Step::IpxeRequest)
    }

    fn send(&mut self, from: u16, to: SocketAddrV4, bytes: impl Into<std::rc::Rc<[u8]>>) {
        let from = SocketAddrV4::new(self.address.unwrap_or(Ipv4Addr::UNSPECIFIED), from);
        self.out.push(Datagram { from, to, mac: None, bytes: bytes.into() });
    }

    fn message(&self, now: u64, kind: u8) -> Dhcp {
        let mut message = Dhcp::new(1, kind, self.xid, self.mac);
        message.secs = u16::try_from((now - self.began) / SECOND).unwrap();
        message.broadcast = self.kind.broadcast && !self.ipxe();
        let class = format!("PXEClient:Arch:{:05}:UNDI:{:06}", self.kind.arch, self.kind.undi);
        let mut uuid = vec![0; 17];
        uuid[1..7].copy_from_slice(&self.mac);
        message.options.extend([
            (55, vec![1, 3, 6, 12, 15, 43, 54, 60, 66, 67, 97]),
            (57, 1472u16.to_be_bytes().to_vec()),
            (60, class.into_bytes()),
            (93, vec![0, self.kind.arch]),
            (94, vec![1, 3, 16]),
            (97, uuid),
        ]);
        if self.ipxe() {
            // iPXE names itself without RFC 3004's length, and has a client identifier that the firmware did not have.
            message.options.insert(77, b"iPXE".to_vec());
            message.options.insert(175, vec![0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0x13, 1, 1, 0x21, 1, 1]);
            message.options.insert(61, [&[1][..], &self.mac].concat());
        }
        message
    }

    fn say(&mut self, now: u64) {
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        match self.step {
            Step::Discover | Step::IpxeDiscover => {
                let message = self.message(now, DISCOVER);
                self.send(68, everybody, message.write());
            }
            Step::Request | Step::IpxeRequest => {
                let mut message = self.message(now, REQUEST);
                let offer = self.offer.as_ref().unwrap();
                message.options.insert(50, offer.yiaddr.octets().to_vec());
                message.options.insert(54, offer.options[&54].clone());
                self.send(68, everybody, message.write());
            }
            Step::BootServer => {
                let mut message = self.message(now, REQUEST);
                message.ciaddr = self.address.unwrap();
                let server = self.boot_server();
                self.send(self.kind.asks_from, SocketAddrV4::new(server, 4011), message.write());
            }
            _ => {
                let load = self.load.as_mut().unwrap();
                let (port, to, bytes) = (load.port, load.server, load.again());
                self.send(port, to, bytes);
            }
        }
        let seconds = match self.step {
            Step::Probe | Step::Load => TIMEOUT / SECOND,
            Step::BootServer => 4,
            Step::IpxeDiscover | Step::IpxeRequest => IPXE[self.tries],
            _ => FIRMWARE[self.tries],
        };
        self.timer = Some(now + seconds * SECOND);
    }

    fn begin(&mut self, now: u64, step: Step) {
        self.step = step;
        self.tries = 0;
        if matches!(step, Step::Discover | Step::IpxeDiscover) {
            (self.offer, self.proxy, self.address, self.load) = (None, None, None, None);
            self.xid = self.random.u32(..);
            self.began = now;
        }
        if matches!(step, Step::Probe | Step::Load) {
            let server = self.boot_server();
            let port = 1024 + self.random.u16(0..60_000);
            self.load = Some(Load::new(server, port, &self.name, self.kind.manner, step == Step::Probe));
        }
        self.say(now);
    }

    fn begin_again(&mut self, now: u64) {
        self.begun_again += 1;
        self.begin(now, Step::Discover);
    }

    /// The timer is due.
    pub fn wake(&mut self, now: u64) {
        self.timer = None;
        let most = match self.step {
            Step::Off => return self.begin(now, Step::Discover),
            Step::Chain => return self.begin(now, Step::IpxeDiscover),
            Step::Arrived => return,
            // The address was there, and no ProxyDHCP came: iPXE goes on without, but here that has no script.
            Step::Discover if self.chosen() => return self.begin(now, Step::Request),
            Step::IpxeDiscover if self.ipxe_chosen(now) => return self.begin(now, Step::IpxeRequest),
            Step::IpxeDiscover | Step::IpxeRequest => IPXE.len(),
            Step::Probe | Step::Load => TRIES as usize,
            _ => FIRMWARE.len(),
        };
        self.tries += 1;
        if self.tries >= most { self.begin_again(now) } else { self.say(now) }
    }

    /// An address, and where to go on from it.
    fn chosen(&self) -> bool {
        let complete = self.offer.as_ref().is_some_and(|offer| is_pxe(offer) && !offer.file.is_empty());
        complete || (self.offer.is_some() && self.proxy.is_some())
    }

    fn ipxe_chosen(&self, now: u64) -> bool {
        let Some(offer) = &self.offer else { return false };
        let no_pxedhcp = offer.options.get(&175).is_some_and(|own| own.windows(3).any(|o| o == [0xb0, 1, 1]));
        no_pxedhcp || self.proxy.is_some() || now >= self.began + IPXE_PATIENCE
    }

    /// The offer that has the boot information.
    fn boots_by(&self) -> &Dhcp {
        self.proxy.as_ref().or(self.offer.as_ref()).unwrap()
    }

    fn boot_server(&self) -> Ipv4Addr {
        self.boots_by().siaddr
    }

    /// A packet for this machine.
    pub fn take(&mut self, now: u64, packet: &Datagram) {
        let port = packet.to.port();
        if self.load.as_ref().is_some_and(|load| load.port == port) {
            return self.loaded(now, packet);
        }
        if port != 68 && (self.step != Step::BootServer || port != self.kind.asks_from) {
            return;
        }
        if Dhcp::mac_of(&packet.bytes) != Some(self.mac) {
            return;
        }
        let message = Dhcp::read(&packet.bytes);
        assert_ne!(message.kind(), NAK, "a NAK: {message:?}");
        if message.xid != self.xid || message.op != 2 {
            return;
        }
        match (self.step, message.kind()) {
            (Step::Discover | Step::IpxeDiscover, OFFER) => self.offered(now, message),
            (Step::Request | Step::IpxeRequest, ACK) if packet.from.port() == 67 => self.acknowledged(now, &message),
            (Step::BootServer, ACK) if packet.from.port() == 4011 && !message.file.is_empty() => {
                self.name = message.file;
                self.begin(now, Step::Probe);
            }
            _ => {}
        }
    }

    fn offered(&mut self, now: u64, message: Dhcp) {
        let takes = self.kind.takes;
        if !message.yiaddr.is_unspecified() {
            let before = self.offer.get_or_insert(message.clone());
            assert_eq!(before.yiaddr, message.yiaddr, "an offer changes over its repetitions");
        } else if !is_pxe(&message) {
            panic!("neither an address nor a ProxyDHCP offer: {message:?}");
        } else if self.ipxe() || takes == Takes::Both || (takes == Takes::File) == names_file(&message) {
            self.proxy = Some(message);
        }
        // A UEFI waits for more until its timer is due; a ROM and iPXE go on.
        match self.step {
            Step::Discover if self.kind.arch == 0 && self.chosen() => self.begin(now, Step::Request),
            Step::IpxeDiscover if self.ipxe_chosen(now) => self.begin(now, Step::IpxeRequest),
            _ => {}
        }
    }

    fn acknowledged(&mut self, now: u64, message: &Dhcp) {
        let offer = self.offer.as_ref().unwrap();
        assert_eq!(
            (message.yiaddr, message.address(54)),
            (offer.yiaddr, offer.address(54)),
            "the ACK is not of the offer"
        );
        self.address = Some(message.yiaddr);
        if self.step == Step::IpxeRequest {
            let url = match &self.proxy {
                Some(proxy) => proxy.options.get(&67).unwrap_or(&proxy.file),
                None => message.options.get(&67).unwrap_or(&message.file),
            };
            if url.is_empty() {
                // Its ProxyDHCP offers were lost: it drops to its shell and tries again.
                return self.begin_again(now);
            }
            self.arrived = Some((now, message.yiaddr, String::from_utf8(url.clone()).unwrap()));
            self.step = Step::Arrived;
            self.timer = None;
            return;
        }
        self.firmware_address = self.address;
        let by = self.boots_by();
        if names_file(by) {
            self.name = by.file.clone();
            self.begin(now, Step::Probe);
        } else {
            self.begin(now, Step::BootServer);
        }
    }

    fn loaded(&mut self, now: u64, packet: &Datagram) {
        let load = self.load.as_mut().unwrap();
        let (bytes, done) = match load.take(packet.from, &packet.bytes) {
            Loaded::Idle => return,
            Loaded::Answer(bytes) => (bytes, false),
            Loaded::Done(bytes) => (bytes, true),
        };
        let (port, to) = (load.port, load.server);
        self.tries = 0;
        self.timer = Some(now + TIMEOUT);
        self.send(port, to, bytes);
        if !done {
            return;
        }
        let load = self.load.take().unwrap();
        if self.step == Step::Probe {
            return self.begin(now, Step::Load);
        }
        assert_eq!(load.size, Some(load.got.len()), "the size that was told is another one than came");
        self.content = load.got;
        self.address = None;
        self.step = Step::Chain;
        self.timer = Some(now + IPXE_STARTS);
    }
}
