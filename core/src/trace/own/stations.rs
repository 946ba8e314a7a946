//! Whose hardware address a frame has that no socket showed: of DHCP the client's, else as it was given, as the system knows it, as it was
//! claimed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::dhcp::wire::{Packet as Dhcp, code};
use crate::net::{self, MacAddr};
use crate::trace::observe::Watched;

/// Addresses that are remembered.
const MOST: usize = 4096;
/// The system's table is read so often for one address.
const FRESH: Duration = Duration::from_secs(2);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Stations {
    networks: Vec<Watched>,
    /// Who was given an address by us.
    given: HashMap<Ipv4Addr, MacAddr>,
    /// Who says that an address is theirs.
    claimed: HashMap<Ipv4Addr, MacAddr>,
    asked: HashMap<Ipv4Addr, (Option<MacAddr>, Instant)>,
}

impl Stations {
    pub(super) fn new(networks: Vec<Watched>) -> Self {
        Self { networks, given: HashMap::new(), claimed: HashMap::new(), asked: HashMap::new() }
    }

    /// This computer's, by its address.
    pub(super) fn ours(&self, local: Ipv4Addr) -> MacAddr {
        if local.is_broadcast() {
            return MacAddr::BROADCAST;
        }
        self.networks.iter().find(|network| network.address.address == local).map(|n| n.mac).unwrap_or_default()
    }

    /// A machine's. All zeroes where nobody knows: such frames are kept together, and are no machine's.
    pub(super) fn of(&mut self, peer: Ipv4Addr) -> MacAddr {
        if peer.is_broadcast() {
            return MacAddr::BROADCAST;
        }
        let given = self.given.get(&peer).copied();
        let known = given.or_else(|| self.neighbour(peer)).or_else(|| self.claimed.get(&peer).copied());
        known.unwrap_or_default()
    }

    /// A DHCP message passes: the client that its frame was from or to, unless a relay was between us.
    pub(super) fn dhcp(&mut self, outgoing: bool, peer: SocketAddr, payload: &[u8]) -> Option<MacAddr> {
        let message = Dhcp::decode(payload).ok()?;
        let IpAddr::V4(peer) = peer.ip() else { return None };
        let [a, b, c, d, e, f, ..] = message.chaddr;
        let client = MacAddr([a, b, c, d, e, f]);
        if !message.giaddr.is_unspecified() || message.hlen != 6 || client.is_group() {
            return None;
        }
        if outgoing && message.option(code::MESSAGE_TYPE) == Some(&[5]) && !message.yiaddr.is_unspecified() {
            remember(&mut self.given, message.yiaddr, client);
        }
        if !outgoing && !peer.is_unspecified() && message.ciaddr == peer {
            remember(&mut self.claimed, peer, client);
        }
        (!peer.is_broadcast()).then_some(client)
    }

    fn neighbour(&mut self, peer: Ipv4Addr) -> Option<MacAddr> {
        let now = Instant::now();
        if let Some((known, at)) = self.asked.get(&peer)
            && now.duration_since(*at) < FRESH
        {
            return *known;
        }
        let found = self.networks.iter().find_map(|network| net::neighbour(peer, &network.interface));
        remember(&mut self.asked, peer, (found, now));
        found
    }
}

fn remember<T>(map: &mut HashMap<Ipv4Addr, T>, address: Ipv4Addr, what: T) {
    if map.len() >= MOST && !map.contains_key(&address) {
        map.clear();
    }
    map.insert(address, what);
}
