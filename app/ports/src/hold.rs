//! Keeps an IPv4 address on a bare interface, and leaves nothing behind however this process ends.
//!
//! The address has a lifetime of [`LIFETIME_S`] seconds and is renewed every [`RENEW_EVERY`]: after a crash, when nobody renews
//! it, the kernel itself takes it back. What was found is what is left: a link that was down goes down again.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::Refusal;
use crate::link::{self, Add, Address, Link};

/// How long the kernel keeps an address that nobody renews.
pub const LIFETIME_S: u32 = 60;

/// How often a holder renews, in time for two misses.
pub const RENEW_EVERY: Duration = Duration::from_secs(20);

/// Networks that a bench may use (RFC 1918, RFC 2544): an address of somebody else's would cut this computer off from them.
const BENCH_NETWORKS: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];

/// An address that is on an interface because we put it there; dropping it takes it back.
#[derive(Debug)]
pub struct Held {
    at: Address,
    lifetime_s: u32,
    brought_up: bool,
}

impl Held {
    /// Puts the address on the interface and brings it up.
    ///
    /// # Errors
    /// [`Refusal::Rule`] when [`check`] finds something; else the operating system's.
    pub fn take(interface: &str, address: Ipv4Addr, prefix: u8, lifetime_s: u32) -> Result<Self, Refusal> {
        let link = check(interface, address, prefix)?;
        let at = Address { index: link.index, address, prefix };
        let io = Refusal::os(format!("give {interface} the address {address}/{prefix}"));
        let take = || {
            link::add_address(at, lifetime_s, Add::New)?;
            let mut held = Self { at, lifetime_s, brought_up: false };
            if !link.is_up() {
                link::set_up(link.index, true)?;
                held.brought_up = true;
            }
            Ok(held)
        };
        take().map_err(io)
    }

    /// Begins the lifetime again.
    ///
    /// # Errors
    /// The operating system's, as when the interface was unplugged.
    pub fn renew(&self) -> io::Result<()> {
        link::add_address(self.at, self.lifetime_s, Add::Renew)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whatever fails here is gone already: the interface was unplugged, or somebody removed the address.
        let _ = link::remove_address(self.at);
        let in_use = link::addresses().is_ok_and(|all| all.iter().any(|a| a.index == self.at.index));
        if self.brought_up && !in_use {
            let _ = link::set_up(self.at.index, false);
        }
    }
}

/// Whether the address may be put on the interface: a bench network's host address, the interface bare and not the one that
/// leads out, and the network not reached through another interface already.
///
/// # Errors
/// [`Refusal`] with the reason.
pub fn check(interface: &str, address: Ipv4Addr, prefix: u8) -> Result<Link, Refusal> {
    let rule = |text: String| Err(Refusal::Rule(text));
    let network = Network::of(address, prefix);
    if !(8..=30).contains(&prefix) || address == network.first() || address == network.last() {
        return rule(format!(
            "{address}/{prefix} is not a host's address in its network; choose one such as 192.168.2.1/24"
        ));
    }
    if !BENCH_NETWORKS.iter().any(|(first, bits)| prefix >= *bits && Network::of(*first, *bits).contains(address)) {
        return rule(format!(
            "{address}/{prefix} is not in a private network; choose an address such as 192.168.2.1/24"
        ));
    }
    let io = |e| Refusal::Os { what: "list the network interfaces".to_owned(), source: e };
    let links = link::links().map_err(io)?;
    let Some(link) = links.iter().find(|l| l.name == interface) else {
        return Err(Refusal::NoInterface(interface.to_owned()));
    };
    if !link.is_ethernet() {
        return rule(format!("{interface} is not an Ethernet interface; choose one that has a cable"));
    }
    for other in link::addresses().map_err(io)? {
        if other.index == link.index {
            return rule(format!(
                "{interface} already has the address {}/{}; remove `address` for it from lab.toml, or take that one away",
                other.address, other.prefix
            ));
        }
        if network.overlaps(Network::of(other.address, other.prefix)) {
            let name = links.iter().find(|l| l.index == other.index).map_or("another interface", |l| l.name.as_str());
            return rule(format!(
                "{address}/{prefix} overlaps {}/{} of {name}; choose another network for {interface} in lab.toml",
                other.address, other.prefix
            ));
        }
    }
    if leads_out(interface) {
        return rule(format!("the default route leaves through {interface}; choose the interface of the bench"));
    }
    Ok(link.clone())
}

/// Whether an IPv4 default route leaves through the interface.
fn leads_out(interface: &str) -> bool {
    let routes = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    routes.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.next() == Some(interface) && fields.next() == Some("00000000") && fields.nth(5) == Some("00000000")
    })
}

#[derive(Clone, Copy)]
struct Network {
    first: u32,
    prefix: u8,
}

impl Network {
    fn of(address: Ipv4Addr, prefix: u8) -> Self {
        Self { first: u32::from(address) & mask(prefix), prefix }
    }

    fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    fn last(self) -> Ipv4Addr {
        (self.first | !mask(self.prefix)).into()
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.first
    }

    fn overlaps(self, other: Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_address_of_a_private_network_is_held() {
        let reason = |text: &str| {
            let (address, prefix) = text.split_once('/').unwrap();
            check("no-such-link", address.parse().unwrap(), prefix.parse().unwrap()).unwrap_err()
        };
        for bad in ["192.168.2.0/24", "192.168.2.255/24", "192.168.2.1/32", "192.168.2.1/31", "10.0.0.1/7", "1.2.3.4/0"]
        {
            assert!(matches!(reason(bad), Refusal::Rule(text) if text.contains("host's address")), "{bad}");
        }
        for bad in ["8.8.8.8/24", "127.0.0.2/8", "224.0.0.5/24", "192.168.2.1/15", "172.32.0.1/16", "255.255.255.1/24"]
        {
            assert!(matches!(reason(bad), Refusal::Rule(text) if text.contains("private")), "{bad}");
        }
        for good in ["192.168.2.1/24", "10.1.2.3/8", "172.31.0.1/30", "198.19.0.1/16"] {
            assert!(matches!(reason(good), Refusal::NoInterface(_)), "{good}");
        }
    }
}
