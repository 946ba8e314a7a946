//! A recording from anywhere, as the events of the boots in it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use super::Output;
use super::dhcp::{self, Exchanges};
use super::names::Names;
use super::retransmits::Retransmits;
use super::stations::Stations;
use super::tcp::Connections;
use super::tftp::Transfers;
use super::unanswered::{Asked, Unanswered};
use crate::api::{EventKind, Observation, ServiceKind};
use crate::machine::{Machine, Now};
use crate::net::MacAddr;
use crate::trace::Packet;
use crate::trace::decode::configuration;
use crate::trace::view::{self, Body, Segment, Transport};

/// After the last packet so much time passes, in which nothing came.
const SILENCE: Duration = Duration::from_secs(30);
/// Bridges that are told of.
const MAX_BRIDGES: usize = 64;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Recorder {
    names: Names,
    stations: Stations,
    exchanges: Exchanges,
    transfers: Transfers,
    connections: Connections,
    unanswered: Unanswered,
    retransmits: Retransmits,
    bridges: Vec<MacAddr>,
    out: VecDeque<Observation>,
}

/// The events of a recording, in order.
#[must_use]
pub fn record(packets: &[Packet]) -> Vec<(Now, Observation)> {
    let mut recorder = Recorder::default();
    let mut told = Vec::new();
    let Some(first) = packets.first().map(|packet| packet.time) else { return told };
    let mut drain = |recorder: &mut Recorder, now: Now| {
        while let Some(Output::Event(observation)) = recorder.poll() {
            told.push((now, *observation));
        }
    };
    let mut last = Duration::ZERO;
    for packet in packets {
        // Times of several interfaces may be out of order; a machine's clock never goes back.
        let boot = Duration::try_from(packet.time.duration_since(first)).unwrap_or_default().max(last);
        while let Some(due) = recorder.deadline().filter(|due| *due < boot && *due > last) {
            last = due;
            let now = at(first, due);
            recorder.handle(now, None);
            drain(&mut recorder, now);
        }
        last = boot;
        let now = at(first, boot);
        recorder.handle(now, Some(packet));
        drain(&mut recorder, now);
    }
    let now = at(first, last + SILENCE);
    recorder.handle(now, None);
    for (client, kind) in recorder.connections.finish() {
        recorder.tell(client, kind);
    }
    drain(&mut recorder, now);
    told
}

fn at(first: Timestamp, boot: Duration) -> Now {
    let passed = jiff::SignedDuration::try_from(boot).unwrap_or_default();
    Now { boot, wall: first.checked_add(passed).unwrap_or(first) }
}

impl Recorder {
    fn tell(&mut self, client: IpAddr, kind: EventKind) {
        self.out.push_back(Observation::of(self.names.who(client), kind));
    }

    fn packet(&mut self, now: Now, packet: &Packet) {
        let Some(view) = view::read(&packet.data, packet.original as usize) else { return };
        match view.body {
            Body::Arp { sender, .. } => self.names.seen(IpAddr::from(sender.1), sender.0),
            Body::Bpdu(bpdu) => {
                if let Some(told) = configuration(bpdu)
                    && !self.bridges.contains(&told.bridge)
                    && self.bridges.len() < MAX_BRIDGES
                {
                    self.bridges.push(told.bridge);
                    let (bridge, delay_seconds) = (told.bridge, told.delay_seconds);
                    let kind = EventKind::SpanningTree { interface: "the recording".into(), bridge, delay_seconds };
                    self.out.push_back(Observation::engine(kind));
                }
            }
            Body::Ip { from, to, transport, .. } => self.ip(now, view.from, (from, to), &transport),
            Body::Other(_) => {}
        }
    }

    fn ip(&mut self, now: Now, sender: MacAddr, (from, to): (IpAddr, IpAddr), transport: &Transport<'_>) {
        match transport {
            Transport::Udp(udp) => {
                if let Some(message) = dhcp::read(udp) {
                    if let Some((address, mac)) = message.given() {
                        self.names.given(address.into(), mac);
                    }
                    if let Some(client) = message.client.filter(|_| message.packet.op == 1) {
                        self.stations.asked(message.mac, client);
                    }
                    if message.packet.op == 1 && udp.to == 4011 && !to.is_multicast() {
                        self.names.seen(from, message.mac);
                        self.stations.boots(message.mac);
                        let asked = Asked { service: ServiceKind::Pxe, port: 4011, client: from };
                        self.asked(now, asked, udp.from);
                    } else if udp.from == 4011 {
                        self.unanswered.heard(to, ServiceKind::Pxe);
                    }
                    if let Some((who, kind)) = self.exchanges.message(now.boot, from, sender, udp, &message) {
                        if let EventKind::DhcpRelease { address } = &kind {
                            self.names.gone((*address).into());
                        }
                        self.out.push_back(Observation::of(who, kind));
                    }
                    return;
                }
                let ends = (SocketAddr::new(from, udp.from), SocketAddr::new(to, udp.to));
                let read = view::half(udp.payload, 0) == Some(1);
                if udp.to == 69 && read {
                    self.names.seen(from, sender);
                    self.stations.boots(self.names.of(from).unwrap_or(sender));
                    self.asked(now, Asked { service: ServiceKind::Tftp, port: 69, client: from }, udp.from);
                } else if matches!(view::half(udp.payload, 0), Some(3 | 5 | 6)) {
                    self.unanswered.heard(to, ServiceKind::Tftp);
                }
                for (client, kind) in self.transfers.datagram(now.boot, ends.0, ends.1, udp) {
                    self.tell(client, kind);
                }
            }
            Transport::Tcp(tcp) => self.tcp(now, sender, (from, to), tcp),
            Transport::Icmp(icmp) => {
                if let Some(quoted) = icmp.unreachable()
                    && let Some((client, kind)) = self.unanswered.refused(quoted.from, quoted.to.1)
                {
                    self.tell(client, kind);
                }
            }
            _ => {}
        }
    }

    fn tcp(&mut self, now: Now, sender: MacAddr, (from, to): (IpAddr, IpAddr), tcp: &Segment<'_>) {
        let asks = tcp.syn && tcp.ack.is_none();
        let service = |port| match port {
            3260 => Some(ServiceKind::Iscsi),
            443 => Some(ServiceKind::Https),
            80 => Some(ServiceKind::Http),
            _ => None,
        };
        if asks {
            if self.names.of(from).is_none() {
                self.names.seen(from, sender);
            }
            if let Some(service) = service(tcp.to)
                && self.stations.is_step(self.names.of(from), service)
            {
                self.asked(now, Asked { service, port: tcp.to, client: from }, tcp.from);
            }
        } else if let Some(service) = service(tcp.from) {
            if tcp.rst {
                if let Some((client, kind)) = self.unanswered.refused((to, tcp.to), tcp.from) {
                    self.tell(client, kind);
                }
            } else {
                self.unanswered.heard(to, service);
                if tcp.syn {
                    self.retransmits.forget_others(to, tcp.from, tcp.to);
                }
            }
        }
        let ends = (SocketAddr::new(from, tcp.from), SocketAddr::new(to, tcp.to));
        for (client, kind) in self.connections.segment(now.boot, ends.0, ends.1, tcp) {
            self.tell(client, kind);
        }
        if let Some(packets) = self.retransmits.segment(now.boot, from, to, tcp)
            && !asks
        {
            let known = [(tcp.from, true), (tcp.to, false)];
            if let Some((port, by_us)) = known.into_iter().find(|(port, _)| service(*port).is_some())
                && let Some(service) = service(port)
            {
                let client = if by_us { to } else { from };
                if !self.stations.is_step(self.names.of(client), service) {
                    return;
                }
                self.tell(client, EventKind::TcpRetransmits { service, port, packets, by_us });
            }
        }
    }

    fn asked(&mut self, now: Now, asked: Asked, from: u16) {
        if let Some((client, kind)) = self.unanswered.asked(now.boot, asked, from) {
            self.tell(client, kind);
        }
    }
}

impl Machine for Recorder {
    /// A packet, or that time has passed.
    type Input<'a> = Option<&'a Packet>;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Option<&Packet>) {
        if let Some(packet) = input {
            self.packet(now, packet);
        }
        for (client, kind) in self.unanswered.tick(now.boot) {
            self.tell(client, kind);
        }
        for (client, kind) in self.transfers.tick(now.boot) {
            self.tell(client, kind);
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front().map(Box::new).map(Output::Event)
    }

    fn deadline(&self) -> Option<Duration> {
        self.unanswered.deadline()
    }
}
