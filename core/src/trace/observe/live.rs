//! Beside our servers: what they cannot know.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Output;
use super::dhcp::{self, Message};
use super::gateway::Gateway;
use super::names::Names;
use super::retransmits::Retransmits;
use super::unanswered::{Asked, Unanswered};
use crate::api::{Allowance, ClientKind, EventKind, Observation, Rate, ServiceKind, Who};
use crate::dhcp::wire::MessageType;
use crate::lab::Ports;
use crate::machine::{Machine, Now};
use crate::net::{Ipv4Cidr, MacAddr};
use crate::trace::decode::configuration;
use crate::trace::view::{self, Body, Datagram, Segment, Transport};

/// A network that we serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The interface.
    pub interface: String,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Our address there.
    pub address: Ipv4Cidr,
    /// The router that lab.toml names.
    pub router: Option<Ipv4Addr>,
}

/// What happens to it.
#[derive(Debug)]
pub enum LiveInput<'a> {
    /// A frame passed on a network.
    Frame {
        /// Index into the networks.
        network: usize,
        /// What there is of it.
        bytes: &'a [u8],
        /// Its length on the wire.
        original: usize,
        /// This computer sent it.
        outgoing: bool,
    },
    /// A server of ours told of something.
    Told(&'a Observation),
    /// Time has passed.
    Tick,
}

/// The same offer is told once in this time.
const OFFER_AGAIN: Duration = Duration::from_secs(10);
/// A bridge is told once in this time.
const BRIDGE_AGAIN: Duration = Duration::from_secs(3600);
/// A machine that our server decided to leave alone is left alone for so long: the server says it once a minute.
const LEFT_ALONE: Duration = Duration::from_secs(150);
const MAX_REMEMBERED: usize = 1024;
/// Bridges that are told of in [`BRIDGE_AGAIN`].
const MAX_BRIDGES: usize = 256;
/// Offers and ACKs of one other server that are told: a rack that is switched on at once causes fewer.
const OFFERS: Rate = Rate { burst: 200, per_second: 5 };
/// Of all other servers together; their addresses can be invented, and so can the machines that they answer.
const OFFERS_OF_ALL: Rate = Rate { burst: 500, per_second: 10 };
/// Bridges of one network.
const BRIDGES: Rate = Rate { burst: 16, per_second: 1 };
/// Bridges of all networks.
const BRIDGES_OF_ALL: Rate = Rate { burst: 64, per_second: 4 };

/// See [`super`]'s text.
#[derive(Debug)]
pub struct Live {
    networks: Vec<Watched>,
    ports: Ports,
    names: Names,
    unanswered: Unanswered,
    retransmits: Retransmits,
    gateways: Vec<Gateway>,
    offers: HashMap<(MacAddr, Ipv4Addr, bool), Duration>,
    bridges: HashMap<(usize, MacAddr), Duration>,
    left_alone: HashMap<MacAddr, Duration>,
    offers_told: Allowance,
    bridges_told: Allowance,
    out: VecDeque<Observation>,
}

impl Live {
    /// Watches these networks. Servers listen on `ports`, and on UDP 69 and 4011.
    #[must_use]
    pub fn new(networks: Vec<Watched>, ports: Ports) -> Self {
        let gateways = networks.iter().map(|_| Gateway::default()).collect();
        Self {
            networks,
            ports,
            names: Names::default(),
            unanswered: Unanswered::default(),
            retransmits: Retransmits::default(),
            gateways,
            offers: HashMap::new(),
            bridges: HashMap::new(),
            left_alone: HashMap::new(),
            offers_told: Allowance::new(OFFERS, OFFERS_OF_ALL),
            bridges_told: Allowance::new(BRIDGES, BRIDGES_OF_ALL),
            out: VecDeque::new(),
        }
    }

    /// Whether a server's word of this kind is of use here.
    #[must_use]
    pub fn listens_to(kind: &EventKind) -> bool {
        matches!(
            kind,
            EventKind::TftpRequest { .. }
                | EventKind::TftpFailed { .. }
                | EventKind::TftpAborted { .. }
                | EventKind::DhcpSilent { .. }
                | EventKind::DhcpIgnored { .. }
                | EventKind::DhcpAck { address: None, .. }
        )
    }

    fn frame(&mut self, now: Now, network: usize, bytes: &[u8], original: usize, outgoing: bool) {
        let Some(view) = view::read(bytes, original) else { return };
        let Some(here) = self.networks.get(network).cloned() else { return };
        let outgoing = outgoing || view.from == here.mac;
        match view.body {
            Body::Arp { sender, .. } if !outgoing => self.arp(network, &here, sender),
            Body::Bpdu(bpdu) if !outgoing => self.bpdu(now, network, &here, bpdu),
            Body::Ip { from, to, transport, .. } => {
                if let Transport::Udp(udp) = transport
                    && let Some(message) = dhcp::read(&udp)
                {
                    self.dhcp(now, &here, view.from, outgoing, (from, to), &udp, &message);
                    return;
                }
                if !outgoing {
                    let told = self.gateways.get_mut(network).and_then(|gateway| {
                        gateway.frame(now.boot, here.address, (from, view.from), self.names.by_dhcp(from))
                    });
                    self.tell_of(from, told);
                }
                match transport {
                    Transport::Udp(udp) => self.udp(now, &here, outgoing, (from, to), &udp),
                    Transport::Tcp(tcp) => self.tcp(now, &here, outgoing, (from, to), &tcp),
                    Transport::Icmp(icmp) if outgoing => {
                        if let Some(quoted) = icmp.unreachable().filter(|q| q.to.0 == here.address.address) {
                            let told = self.unanswered.refused(quoted.from, quoted.to.1);
                            self.tell(told);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn arp(&mut self, network: usize, here: &Watched, (mac, address): (MacAddr, [u8; 4])) {
        let address = Ipv4Addr::from(address);
        self.names.seen(address.into(), mac);
        if here.router == Some(address)
            && let Some(gateway) = self.gateways.get_mut(network)
        {
            gateway.is_router(mac);
        }
    }

    fn bpdu(&mut self, now: Now, network: usize, here: &Watched, bpdu: &[u8]) {
        let Some(told) = configuration(bpdu) else { return };
        let again = self.bridges.get(&(network, told.bridge)).is_some_and(|at| now.boot < *at + BRIDGE_AGAIN);
        if again {
            return;
        }
        if self.bridges.len() >= MAX_BRIDGES {
            self.bridges.retain(|_, at| now.boot < *at + BRIDGE_AGAIN);
        }
        if self.bridges.len() >= MAX_BRIDGES || !self.bridges_told.take(now.boot, here.address.address.into()) {
            return;
        }
        self.bridges.insert((network, told.bridge), now.boot);
        let (interface, bridge, delay_seconds) = (here.interface.clone(), told.bridge, told.delay_seconds);
        self.out.push_back(Observation::engine(EventKind::SpanningTree { interface, bridge, delay_seconds }));
    }

    #[allow(clippy::too_many_arguments, reason = "a frame's own parts")]
    fn dhcp(
        &mut self,
        now: Now,
        here: &Watched,
        sender: MacAddr,
        outgoing: bool,
        (from, to): (IpAddr, IpAddr),
        udp: &Datagram<'_>,
        message: &Message,
    ) {
        if let Some((address, mac)) = message.given() {
            self.names.given(address.into(), mac);
        }
        if message.packet.op == 1 {
            let firmware = matches!(message.client, Some(ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Ipxe));
            if firmware && message.kind == Some(MessageType::Discover) {
                self.rebooted(message.mac);
            }
            let asks_us = udp.to == 4011 && to == IpAddr::from(here.address.address) && !outgoing;
            let left = self.left_alone.get(&message.mac).is_some_and(|at| now.boot < *at + LEFT_ALONE);
            if asks_us && message.kind == Some(MessageType::Request) && !left {
                self.names.seen(from, message.mac);
                let asked = Asked { service: ServiceKind::Pxe, port: 4011, client: from };
                let told = self.unanswered.asked(now.boot, asked, udp.from);
                self.tell(told);
            }
            return;
        }
        if outgoing {
            if udp.from == 4011 {
                self.unanswered.heard(to, ServiceKind::Pxe);
            }
            return;
        }
        // We ask ourselves who else answers: that is no machine's.
        if self.networks.iter().any(|network| network.mac == message.mac) {
            return;
        }
        let Some(server) =
            message.server(from).filter(|server| self.networks.iter().all(|n| n.address.address != *server))
        else {
            return;
        };
        let ack = message.kind == Some(MessageType::Ack);
        if !ack && message.kind != Some(MessageType::Offer) {
            return;
        }
        let key = (message.mac, server, ack);
        if self.offers.get(&key).is_some_and(|at| now.boot < *at + OFFER_AGAIN) {
            return;
        }
        if self.offers.len() >= MAX_REMEMBERED {
            self.offers.retain(|_, at| now.boot < *at + OFFER_AGAIN);
            if self.offers.len() >= MAX_REMEMBERED {
                return;
            }
        }
        if !self.offers_told.take(now.boot, server.into()) {
            return;
        }
        self.offers.insert(key, now.boot);
        let who = Who { mac: Some(message.mac), uuid: message.uuid, ip: None };
        self.out.push_back(Observation::of(who, message.foreign_offer(server, Some(sender), ack)));
    }

    /// What a machine that starts anew left behind in connections is not worth a word.
    fn rebooted(&mut self, mac: MacAddr) {
        for ip in self.names.all_of(mac) {
            self.retransmits.forget(ip);
        }
    }

    fn udp(&mut self, now: Now, here: &Watched, outgoing: bool, (from, to): (IpAddr, IpAddr), udp: &Datagram<'_>) {
        const READ: u16 = 1;
        if outgoing {
            // Whatever a server sends to a client's port is an answer to it, an error included.
            if matches!(view::half(udp.payload, 0), Some(3..=6)) {
                self.unanswered.heard(to, ServiceKind::Tftp);
            }
        } else if udp.to == 69 && to == IpAddr::from(here.address.address) && view::half(udp.payload, 0) == Some(READ) {
            let asked = Asked { service: ServiceKind::Tftp, port: 69, client: from };
            let told = self.unanswered.asked(now.boot, asked, udp.from);
            self.tell(told);
        }
    }

    fn service_of(&self, port: u16) -> Option<ServiceKind> {
        let Ports { http, https, iscsi } = self.ports;
        let known = [(http, ServiceKind::Http), (https, ServiceKind::Https), (iscsi, ServiceKind::Iscsi)];
        known.into_iter().find(|(p, _)| *p == port).map(|(_, service)| service)
    }

    fn tcp(&mut self, now: Now, here: &Watched, outgoing: bool, ends: (IpAddr, IpAddr), tcp: &Segment<'_>) {
        let (ours, client, port) = if outgoing { (ends.0, ends.1, tcp.from) } else { (ends.1, ends.0, tcp.to) };
        // What this computer only passes on, as a router does, is somebody else's.
        if ours != IpAddr::from(here.address.address) {
            return;
        }
        let Some(service) = self.service_of(port) else { return };
        if tcp.syn && tcp.ack.is_none() && !outgoing {
            let asked = Asked { service, port, client };
            let told = self.unanswered.asked(now.boot, asked, tcp.from);
            self.tell(told);
        } else if outgoing && tcp.rst {
            let told = self.unanswered.refused((client, tcp.to), port);
            self.tell(told);
        } else if outgoing {
            self.unanswered.heard(client, service);
            if tcp.syn {
                // A new connection to the same server: an older one of this machine was left behind.
                self.retransmits.forget_others(client, port, tcp.to);
            }
        }
        if let Some(packets) = self.retransmits.segment(now.boot, ends.0, ends.1, tcp)
            // A SYN that nobody answers is told of as such.
            && (outgoing || !tcp.syn)
        {
            self.tell_of(client, Some(EventKind::TcpRetransmits { service, port, packets, by_us: outgoing }));
        }
    }

    fn told(&mut self, now: Now, observation: &Observation) {
        let who = observation.who.as_ref();
        let ip = who.and_then(|who| who.ip);
        match &observation.kind {
            EventKind::TftpRequest { .. } | EventKind::TftpFailed { .. } | EventKind::TftpAborted { .. } => {
                if let Some(ip) = ip {
                    self.unanswered.heard(ip, ServiceKind::Tftp);
                }
            }
            // Of the boot server's port.
            EventKind::DhcpAck { address: None, .. } => {
                for ip in who.and_then(|who| who.mac).map(|mac| self.names.all_of(mac)).unwrap_or_default() {
                    self.unanswered.heard(ip, ServiceKind::Pxe);
                }
            }
            EventKind::DhcpSilent { .. } | EventKind::DhcpIgnored { .. } => {
                if let Some(mac) = who.and_then(|who| who.mac) {
                    if self.left_alone.len() >= MAX_REMEMBERED {
                        self.left_alone.retain(|_, at| now.boot < *at + LEFT_ALONE);
                    }
                    self.left_alone.insert(mac, now.boot);
                    for ip in self.names.all_of(mac) {
                        self.unanswered.heard(ip, ServiceKind::Pxe);
                    }
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, told: Option<(IpAddr, EventKind)>) {
        if let Some((client, kind)) = told {
            self.tell_of(client, Some(kind));
        }
    }

    fn tell_of(&mut self, client: IpAddr, kind: Option<EventKind>) {
        if let Some(kind) = kind {
            self.out.push_back(Observation::of(self.names.who(client), kind));
        }
    }
}

impl Machine for Live {
    type Input<'a> = LiveInput<'a>;
    type Output = Output;

    fn handle(&mut self, now: Now, input: LiveInput<'_>) {
        match input {
            LiveInput::Frame { network, bytes, original, outgoing } => {
                self.frame(now, network, bytes, original, outgoing);
            }
            LiveInput::Told(observation) => self.told(now, observation),
            LiveInput::Tick => {}
        }
        for told in self.unanswered.tick(now.boot) {
            self.tell(Some(told));
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front().map(Box::new).map(Output::Event)
    }

    fn deadline(&self) -> Option<Duration> {
        self.unanswered.deadline()
    }
}
