//! The frames of each machine, within bounds; see [`super`]'s text.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Packet;
use super::clip::Kept;
use super::view::{self, Body, Transport};
use crate::dhcp::wire::{Packet as Dhcp, code};
use crate::net::MacAddr;

/// Bytes of one machine's talk; of its bulk half of it.
pub const HOST_BYTES: usize = 512 << 10;
/// Bytes of all machines.
pub const ALL_BYTES: usize = 32 << 20;
/// Frames that belong to no machine: routers, bridges. Bytes.
pub const SHARED_BYTES: usize = 128 << 10;
/// Machines.
const MAX_HOSTS: usize = 512;
/// Addresses whose machine is known.
const MAX_ADDRESSES: usize = 8192;

/// A frame with its place in the order of arrival.
type Numbered = (u64, Packet);

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Numbered>,
    bytes: usize,
}

impl Queue {
    /// Bytes that the ring as a whole has more now; negative where more went than came.
    fn push(&mut self, packet: Numbered, most: usize, gone: &mut u64) -> isize {
        let before = self.bytes;
        self.bytes += packet.1.cost();
        self.packets.push_back(packet);
        while self.bytes > most {
            let Some((_, old)) = self.packets.pop_front() else { break };
            self.bytes -= old.cost();
            *gone += 1;
        }
        self.bytes.cast_signed() - before.cast_signed()
    }
}

/// What a frame says of its machine. The order is that in which machines keep their place: stations that only ask for addresses of
/// hardware, however many, push out none that boots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It is there.
    #[default]
    Present,
    /// It asks for something, as anybody can under any name.
    Asks,
    /// It was given something.
    Boots,
}

#[derive(Debug, Default)]
struct Host {
    talk: Queue,
    bulk: Queue,
    weight: Weight,
    used: u64,
    gone: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Rings {
    hosts: HashMap<MacAddr, Host>,
    shared: Queue,
    shared_gone: u64,
    bytes: usize,
    order: u64,
    by_ip: HashMap<IpAddr, MacAddr>,
    /// Frames that came while the kernel had no room for them.
    pub lost: u64,
}

/// The rings, shared with those who look at them.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Mutex<Rings>>);

impl Store {
    /// The rings. Held for moments.
    pub fn rings(&self) -> MutexGuard<'_, Rings> {
        // Whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Its frames and those that concern all machines, in order.
    pub packets: Vec<Packet>,
    /// Older frames of it that made room.
    pub gone: u64,
    /// Frames of any machine that there was no room for when they came.
    pub lost: u64,
}

impl Rings {
    /// Keeps a frame. `ours` tells this computer's hardware addresses.
    pub fn push(&mut self, mut packet: Packet, kept: Kept, ours: impl Fn(MacAddr) -> bool) {
        packet.data = kept.data;
        let host = self.machine_of(&packet, ours);
        self.order += 1;
        let order = self.order;
        let Some((mac, weight)) = host else {
            self.shared.push((order, packet), SHARED_BYTES, &mut self.shared_gone);
            return;
        };
        if !self.hosts.contains_key(&mac) && self.hosts.len() >= MAX_HOSTS && !self.make_room(weight) {
            return;
        }
        let host = self.hosts.entry(mac).or_default();
        host.used = order;
        host.weight = host.weight.max(weight);
        let grown = match kept.bulk {
            true => host.bulk.push((order, packet), HOST_BYTES / 2, &mut host.gone),
            false => host.talk.push((order, packet), HOST_BYTES, &mut host.gone),
        };
        self.bytes = self.bytes.saturating_add_signed(grown);
        while self.bytes > ALL_BYTES && self.drop_oldest(Some(mac)) {}
    }

    /// What is kept of the machine with these hardware addresses.
    #[must_use]
    pub fn of(&self, macs: &[MacAddr]) -> Held {
        let mut packets: Vec<&Numbered> = Vec::new();
        let mut gone = 0;
        for host in macs.iter().filter_map(|mac| self.hosts.get(mac)) {
            packets.extend(host.talk.packets.iter().chain(&host.bulk.packets));
            gone += host.gone;
        }
        if !packets.is_empty() {
            packets.extend(&self.shared.packets);
        }
        packets.sort_unstable_by_key(|(order, _)| *order);
        Held { packets: packets.into_iter().map(|(_, packet)| packet.clone()).collect(), gone, lost: self.lost }
    }

    /// Bytes that all machines' frames take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self { lost: self.lost, ..Self::default() };
    }

    /// For a machine of this weight; false where all others weigh more than its mere presence.
    fn make_room(&mut self, weight: Weight) -> bool {
        let least = self.hosts.values().map(|host| host.weight).min().unwrap_or_default();
        (weight > Weight::Present || least == Weight::Present) && self.drop_oldest(None)
    }

    /// Of the least weight the one that was quiet longest.
    fn drop_oldest(&mut self, but: Option<MacAddr>) -> bool {
        let others = self.hosts.iter().filter(|(mac, _)| Some(**mac) != but);
        let Some(mac) = others.min_by_key(|(_, host)| (host.weight, host.used)).map(|(mac, _)| *mac) else {
            return false;
        };
        if let Some(host) = self.hosts.remove(&mac) {
            self.bytes = self.bytes.saturating_sub(host.talk.bytes + host.bulk.bytes);
        }
        true
    }

    /// Whose frame it is: of DHCP the client's, else by an address that DHCP gave, else by the hardware address that is not ours.
    fn machine_of(&mut self, packet: &Packet, ours: impl Fn(MacAddr) -> bool) -> Option<(MacAddr, Weight)> {
        let view = view::read(&packet.data, packet.original as usize)?;
        let outgoing = packet.outgoing.unwrap_or_else(|| ours(view.from));
        let other = Some(if outgoing { view.to } else { view.from }).filter(|mac| !mac.is_group() && !ours(*mac));
        match view.body {
            Body::Ip { from, to, transport, .. } => {
                if let Some((client, address)) = dhcp_client(&transport) {
                    return match (client, address) {
                        (Some(client), None) => Some((client, Weight::Asks)),
                        (Some(client), Some(address)) => {
                            self.learn(address, client);
                            Some((client, Weight::Boots))
                        }
                        // It comes and goes by a relay, whose the frame is; what goes to all is no machine's. Who had the address
                        // before has it no more.
                        (None, address) => {
                            address.map(|address| self.by_ip.remove(&address));
                            Some((other.unwrap_or_default(), Weight::Asks))
                        }
                    };
                }
                let known = self.by_ip.get(if outgoing { &to } else { &from }).copied();
                let weight = if outgoing { Weight::Boots } else { Weight::Asks };
                match transport {
                    // A router's word is for all.
                    Transport::Icmp6(_) => None,
                    _ => Some((known.or(other)?, weight)),
                }
            }
            Body::Arp { sender, target, .. } if outgoing => {
                let asked = self.by_ip.get(&IpAddr::from(target.1)).copied().or(other);
                Some((asked.filter(|_| sender.1 != target.1)?, Weight::Present))
            }
            Body::Arp { .. } => Some((other?, Weight::Present)),
            Body::Bpdu(_) | Body::Other(_) => None,
        }
    }

    fn learn(&mut self, address: IpAddr, mac: MacAddr) {
        if self.by_ip.len() >= MAX_ADDRESSES {
            self.by_ip.clear();
        }
        self.by_ip.insert(address, mac);
    }
}

/// The client of a DHCP message, unless it is no Ethernet station (one on InfiniBand has a longer number, which begins like no MAC or
/// like another's), and the address that an ACK gives it.
fn dhcp_client(transport: &Transport<'_>) -> Option<(Option<MacAddr>, Option<IpAddr>)> {
    const PORTS: [u16; 3] = [67, 68, 4011];
    let Transport::Udp(udp) = transport else { return None };
    if !PORTS.contains(&udp.from) && !PORTS.contains(&udp.to) {
        return None;
    }
    let message = Dhcp::decode(udp.payload).ok()?;
    let [a, b, c, d, e, f, ..] = message.chaddr;
    let mac = MacAddr([a, b, c, d, e, f]);
    let client = Some(mac).filter(|mac| message.hlen == 6 && !mac.is_group() && *mac != MacAddr::default());
    let acknowledged = message.option(code::MESSAGE_TYPE) == Some(&[5]) && !message.yiaddr.is_unspecified();
    Some((client, acknowledged.then_some(message.yiaddr.into())))
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
