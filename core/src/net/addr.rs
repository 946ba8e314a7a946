//! Addresses as types that cannot be wrong: hardware addresses and IPv4 networks and ranges.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet hardware address. Written `52:54:00:00:00:01`; `-` between the bytes and upper case are read too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The all-ones address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this is a group address (multicast or broadcast), which no station can have.
    #[must_use]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// As iPXE's `${mac:hexhyp}` writes it: `52-54-00-00-00-01`.
    #[must_use]
    pub fn hyphenated(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an address, network or range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// Not six hexadecimal bytes.
    #[error("`{0}` is not a MAC address; expected six bytes such as 52:54:00:00:00:01")]
    Mac(String),
    /// Not `a.b.c.d/n`.
    #[error("`{0}` is not a network; expected an address and a prefix length such as 192.168.2.0/24")]
    Cidr(String),
    /// Not `first-last`.
    #[error("`{0}` is not a range; expected two addresses such as 192.168.2.20-192.168.2.200")]
    Range(String),
    /// First address above the last.
    #[error("the range `{0}` ends before it begins; swap its two addresses")]
    RangeBackwards(String),
}

impl FromStr for MacAddr {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || AddrError::Mac(s.to_owned());
        let mut out = [0u8; 6];
        let mut parts = s.split([':', '-']);
        for byte in &mut out {
            let part = parts.next().ok_or_else(bad)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Self(out))
    }
}

/// The hardware address of the machine that the doctor's self-test plays: locally administered, so no card has it.
pub const SELF_TEST: MacAddr = MacAddr([0x02, 0x62, 0x79, 0x74, 0x65, 0x73]);

/// An IPv4 address with its prefix length: a network, or an interface's address in its network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    /// The address as written; not necessarily the network's first.
    pub address: Ipv4Addr,
    /// Bits of the network part, 0 to 32.
    pub prefix: u8,
}

impl Ipv4Cidr {
    /// The network mask.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// First address of the network.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & u32::from(self.mask()))
    }

    /// Last address of the network.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !u32::from(self.mask()))
    }

    /// Another address of the same network, as a machine there may have; the own one where there is no other.
    #[must_use]
    pub fn neighbour(self) -> Ipv4Addr {
        let first = u32::from(self.network()).saturating_add(1);
        let other = Ipv4Addr::from(if first == u32::from(self.address) { first.saturating_add(1) } else { first });
        if self.contains(other) && other != self.broadcast() { other } else { self.address }
    }

    /// Whether `ip` is in this network.
    #[must_use]
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        u32::from(ip) & u32::from(self.mask()) == u32::from(self.network())
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || AddrError::Cidr(s.to_owned());
        let (address, prefix) = s.split_once('/').ok_or_else(bad)?;
        let address = address.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > 32 {
            return Err(bad());
        }
        Ok(Self { address, prefix })
    }
}

/// An inclusive range of addresses, first not above last.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Range {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl Ipv4Range {
    /// A range from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`AddrError::RangeBackwards`] when `first` is above `last`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Result<Self, AddrError> {
        if first > last {
            return Err(AddrError::RangeBackwards(format!("{first}-{last}")));
        }
        Ok(Self { first, last })
    }

    /// First address.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Last address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        self.last
    }

    /// Whether `ip` is in the range.
    #[must_use]
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&ip)
    }

    /// How many addresses; at least one.
    #[must_use]
    pub fn count(self) -> u64 {
        u64::from(u32::from(self.last) - u32::from(self.first)) + 1
    }

    /// Every address in order.
    pub fn iter(self) -> impl Iterator<Item = Ipv4Addr> {
        (u32::from(self.first)..=u32::from(self.last)).map(Ipv4Addr::from)
    }
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Debug for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Range {
    type Err = AddrError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || AddrError::Range(s.to_owned());
        let (first, last) = s.split_once('-').ok_or_else(bad)?;
        let first = first.trim().parse().map_err(|_| bad())?;
        let last = last.trim().parse().map_err(|_| bad())?;
        Self::new(first, last).map_err(|_| AddrError::RangeBackwards(s.to_owned()))
    }
}

macro_rules! serde_as_text {
    ($($t:ty),*) => {$(
        impl Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(MacAddr, Ipv4Cidr, Ipv4Range);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_read_in_each_common_spelling_and_written_in_one() {
        for text in ["52:54:00:aB:00:01", "52-54-00-AB-00-01"] {
            assert_eq!(text.parse::<MacAddr>().unwrap().to_string(), "52:54:00:ab:00:01");
        }
        for bad in ["", "52:54:00:00:00", "52:54:00:00:00:01:02", "5254:00:00:00:01", "+2:54:00:00:00:01"] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn network_arithmetic_holds_at_the_edges() {
        let net: Ipv4Cidr = "192.168.2.1/24".parse().unwrap();
        assert_eq!(net.network(), Ipv4Addr::new(192, 168, 2, 0));
        assert_eq!(net.broadcast(), Ipv4Addr::new(192, 168, 2, 255));
        assert!(net.contains(Ipv4Addr::new(192, 168, 2, 77)) && !net.contains(Ipv4Addr::new(192, 168, 3, 1)));
        let all: Ipv4Cidr = "1.2.3.4/0".parse().unwrap();
        assert_eq!((all.mask(), all.broadcast()), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
        let one: Ipv4Cidr = "1.2.3.4/32".parse().unwrap();
        assert_eq!(one.network(), one.broadcast());
        assert!("1.2.3.4/33".parse::<Ipv4Cidr>().is_err());
    }

    #[test]
    fn a_range_says_which_way_round_it_goes() {
        let range: Ipv4Range = "10.0.0.9 - 10.0.0.11".parse().unwrap();
        assert_eq!(range.count(), 3);
        assert!(matches!("10.0.0.2-10.0.0.1".parse::<Ipv4Range>(), Err(AddrError::RangeBackwards(_))));
    }
}
