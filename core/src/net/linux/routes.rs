//! What the kernel's tables below `/proc` say: default routes and neighbours. All is of the calling thread's network namespace.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use crate::net::{Ipv4Cidr, MacAddr};

/// Entry of the neighbour table that has a confirmed hardware address (`ATF_COM`).
const COMPLETE: u32 = 2;

/// Names of the interfaces that a default route leaves through, IPv4 or IPv6.
pub(in crate::net) fn default_route_interfaces() -> BTreeSet<String> {
    let v4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    let mut names: BTreeSet<String> = v4.lines().skip(1).filter_map(default_v4).map(str::to_owned).collect();
    names.extend(v6.lines().filter_map(default_v6).map(str::to_owned));
    names
}

fn default_v4(line: &str) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next()?;
    let destination = fields.next()?;
    let mask = fields.nth(5)?;
    (destination == "00000000" && mask == "00000000").then_some(name)
}

fn default_v6(line: &str) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let everything = fields.next()?.bytes().all(|b| b == b'0') && fields.next()? == "00";
    // The kernel's own "unreachable" entry is on loopback.
    fields.last().filter(|name| everything && *name != "lo")
}

/// The interface through which this computer reaches a network of its own: of several routes the one with the lowest metric, and of
/// equal ones the first, as the kernel chooses.
pub(in crate::net) fn way_to(network: Ipv4Cidr) -> Option<String> {
    way(&fs::read_to_string("/proc/thread-self/net/route").ok()?, network)
}

fn way(table: &str, network: Ipv4Cidr) -> Option<String> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, destination, _, _, _, _, metric, mask, ..] = fields.as_slice() else { return None };
        // In the order of bytes in memory.
        let address = |text: &str| u32::from_str_radix(text, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
        let same = address(destination)? == network.network()
            && u32::from(address(mask)?).count_ones() == u32::from(network.prefix);
        same.then_some((metric.parse::<u32>().ok()?, *name))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name.to_owned())
}

/// The hardware address that the kernel knows for an address on an interface.
pub(in crate::net) fn neighbour(ip: Ipv4Addr, interface: &str) -> Option<MacAddr> {
    let table = fs::read_to_string("/proc/thread-self/net/arp").ok()?;
    table.lines().skip(1).find_map(|line| neighbour_of(line, ip, interface))
}

fn neighbour_of(line: &str, ip: Ipv4Addr, interface: &str) -> Option<MacAddr> {
    let mut fields = line.split_ascii_whitespace();
    let address: Ipv4Addr = fields.next()?.parse().ok()?;
    let flags = u32::from_str_radix(fields.nth(1)?.trim_start_matches("0x"), 16).ok()?;
    let mac = fields.next()?.parse().ok()?;
    let name = fields.nth(1)?;
    (address == ip && name == interface && flags & COMPLETE != 0).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_default_route_counts() {
        assert_eq!(default_v4("wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0"), Some("wlan0"));
        assert_eq!(default_v4("wlan0\t0002A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0"), None);
        let zero = "0".repeat(32);
        let line = |len, name| format!("{zero} {len} {zero} 00 fe80{zero} 00000400 1 0 00000003 {name}");
        assert_eq!(default_v6(&line("00", "eth0")), Some("eth0"));
        assert_eq!(default_v6(&line("00", "lo")), None);
        assert_eq!(default_v6(&line("40", "eth0")), None);
    }

    #[test]
    fn of_two_ways_into_a_network_the_first_of_the_lowest_metric_is_taken() {
        // As the kernel of this processor prints 192.168.2.0/24.
        let number = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let route = |name: &str, metric: u32| {
            let (to, mask) = (number([192, 168, 2, 0]), number([255, 255, 255, 0]));
            format!("{name}\t{to}\t00000000\t0001\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
        };
        let network: Ipv4Cidr = "192.168.2.9/24".parse().unwrap();
        let table = |routes: &[String]| format!("Iface\tDestination\n{}", routes.concat());
        assert_eq!(way(&table(&[route("wlan0", 600), route("eth0", 100)]), network).as_deref(), Some("eth0"));
        assert_eq!(way(&table(&[route("wlan0", 0), route("eth0", 0)]), network).as_deref(), Some("wlan0"));
        assert_eq!(way(&table(&[route("wlan0", 0)]), "192.168.2.9/25".parse().unwrap()), None);
    }

    #[test]
    fn an_incomplete_neighbour_is_none() {
        let ip = Ipv4Addr::new(10, 0, 0, 9);
        let line = |flags| format!("10.0.0.9         0x1         {flags}         52:54:00:00:00:09     *        br0");
        assert_eq!(neighbour_of(&line("0x2"), ip, "br0"), Some(MacAddr([0x52, 0x54, 0, 0, 0, 9])));
        assert_eq!(neighbour_of(&line("0x6"), ip, "br0"), Some(MacAddr([0x52, 0x54, 0, 0, 0, 9])));
        assert_eq!(neighbour_of(&line("0x0"), ip, "br0"), None);
        assert_eq!(neighbour_of(&line("0x2"), ip, "br1"), None);
        assert_eq!(neighbour_of("10.0.0.9 0x1", ip, "br0"), None);
    }
}
