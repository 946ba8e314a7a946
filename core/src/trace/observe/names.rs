//! Which machine has an address: what DHCP gave comes first, then what ARP or the frame itself says.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::api::Who;
use crate::net::MacAddr;

/// Addresses that are remembered.
const MAX: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Names {
    given: HashMap<IpAddr, MacAddr>,
    seen: HashMap<IpAddr, MacAddr>,
}

impl Names {
    /// DHCP gave this address to this machine.
    pub(super) fn given(&mut self, ip: IpAddr, mac: MacAddr) {
        put(&mut self.given, ip, mac);
    }

    /// A machine says that the address is its own, by ARP or as a frame's source.
    pub(super) fn seen(&mut self, ip: IpAddr, mac: MacAddr) {
        if !mac.is_group() && mac != MacAddr::default() && !ip.is_unspecified() {
            put(&mut self.seen, ip, mac);
        }
    }

    /// Nobody has it any more.
    pub(super) fn gone(&mut self, ip: IpAddr) {
        self.given.remove(&ip);
        self.seen.remove(&ip);
    }

    /// Whose it is.
    pub(super) fn of(&self, ip: IpAddr) -> Option<MacAddr> {
        self.given.get(&ip).or_else(|| self.seen.get(&ip)).copied()
    }

    /// Whose DHCP made it, whatever its frames say.
    pub(super) fn by_dhcp(&self, ip: IpAddr) -> Option<MacAddr> {
        self.given.get(&ip).copied()
    }

    /// The addresses of a machine.
    pub(super) fn all_of(&self, mac: MacAddr) -> Vec<IpAddr> {
        let of = |map: &HashMap<IpAddr, MacAddr>| -> Vec<IpAddr> {
            map.iter().filter(|(_, owner)| **owner == mac).map(|(ip, _)| *ip).collect()
        };
        [of(&self.given), of(&self.seen)].concat()
    }

    /// The client at this address.
    pub(super) fn who(&self, ip: IpAddr) -> Who {
        Who { mac: self.of(ip), uuid: None, ip: Some(ip) }
    }
}

fn put(map: &mut HashMap<IpAddr, MacAddr>, ip: IpAddr, mac: MacAddr) {
    if map.len() >= MAX && !map.contains_key(&ip) {
        map.clear();
    }
    map.insert(ip, mac);
}
