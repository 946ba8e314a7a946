//! Router solicitations and advertisements in ICMPv6, IPv6 and Ethernet (RFC 4861 4.1 and 4.2).

use std::net::Ipv6Addr;

use crate::net::MacAddr;

const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// RFC 4861 6.1: any other hop limit means that a router forwarded it.
const HOP_LIMIT: u8 = 255;
const ETHERNET: usize = 14;
const IPV6: usize = 40;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// RFC 2464 section 7.
const ALL_ROUTERS_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 2]);

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A station looks for routers.
    Solicitation {
        /// The frame's sender.
        mac: MacAddr,
        /// Its address; `::` while it has none.
        source: Ipv6Addr,
    },
    /// A router advertises.
    Advertisement {
        /// The frame's sender.
        mac: MacAddr,
        /// Seconds for which it is a default router; 0: it is none, but it is there.
        lifetime_seconds: u16,
    },
}

/// Reads a frame; `None` for anything but a valid solicitation or advertisement (RFC 4861 6.1.1 and 6.1.2).
#[must_use]
pub fn decode(frame: &[u8]) -> Option<Heard> {
    let mac = MacAddr(frame.get(6..12)?.try_into().ok()?);
    let ip = frame.get(ETHERNET..)?;
    let valid = frame.get(12..14)? == ETHERTYPE_IPV6
        && ip.first()? >> 4 == 6
        && ip.get(6) == Some(&ICMPV6)
        && ip.get(7) == Some(&HOP_LIMIT)
        && !mac.is_group();
    if !valid {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(ip.get(4..6)?.try_into().ok()?));
    let source = Ipv6Addr::from(<[u8; 16]>::try_from(ip.get(8..24)?).ok()?);
    let destination = Ipv6Addr::from(<[u8; 16]>::try_from(ip.get(24..40)?).ok()?);
    let icmp = ip.get(IPV6..IPV6 + length)?;
    if icmp.get(1) != Some(&0) || checksum(source, destination, icmp) != 0 {
        return None;
    }
    match *icmp.first()? {
        SOLICITATION if icmp.len() >= 8 => Some(Heard::Solicitation { mac, source }),
        ADVERTISEMENT if icmp.len() >= 16 => {
            let lifetime_seconds = u16::from_be_bytes(icmp.get(6..8)?.try_into().ok()?);
            Some(Heard::Advertisement { mac, lifetime_seconds })
        }
        _ => None,
    }
}

/// The frame of an advertisement that offers nothing, from us to one station: lifetime 0, no prefix, no flags. A solicitor without
/// an address is reached at all nodes' address (RFC 4861 6.2.6), framed to it alone.
#[must_use]
pub fn advertisement(from: MacAddr, to: MacAddr, solicitor: Ipv6Addr) -> Vec<u8> {
    let source = link_local(from);
    let destination = if solicitor.is_unspecified() { ALL_NODES } else { solicitor };
    // Hop limit, flags, lifetime, reachable time and retransmission time: all "unspecified by this router".
    let mut icmp = vec![ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend_from_slice(&[1, 1]); // source link-layer address
    icmp.extend_from_slice(&from.0);
    let sum = checksum(source, destination, &icmp).to_be_bytes();
    if let Some(place) = icmp.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    let length = u16::try_from(icmp.len()).unwrap_or_default().to_be_bytes();
    let header = [&[0x60, 0, 0, 0][..], &length, &[ICMPV6, HOP_LIMIT]].concat();
    [&to.0[..], &from.0, &ETHERTYPE_IPV6, &header, &source.octets(), &destination.octets(), &icmp].concat()
}

/// The frame of a solicitation, to all routers, with the sender's hardware address unless it has no address yet (RFC 4861 4.1).
#[must_use]
pub fn solicitation(from: MacAddr, source: Ipv6Addr) -> Vec<u8> {
    let mut icmp = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    if !source.is_unspecified() {
        icmp.extend_from_slice(&[1, 1]); // source link-layer address
        icmp.extend_from_slice(&from.0);
    }
    let sum = checksum(source, ALL_ROUTERS, &icmp).to_be_bytes();
    if let Some(place) = icmp.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    let length = u16::try_from(icmp.len()).unwrap_or_default().to_be_bytes();
    let header = [&[0x60, 0, 0, 0][..], &length, &[ICMPV6, HOP_LIMIT]].concat();
    [&ALL_ROUTERS_MAC.0[..], &from.0, &ETHERTYPE_IPV6, &header, &source.octets(), &ALL_ROUTERS.octets(), &icmp].concat()
}

/// The link-local address of a hardware address: modified EUI-64 (RFC 4291 appendix A).
#[must_use]
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from(octets)
}

/// The checksum of RFC 4443 2.3; over a message that carries its own, zero.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8]) -> u16 {
    let length = u32::try_from(icmp.len()).unwrap_or_default().to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, ICMPV6]].concat();
    let mut sum = 0u32;
    for pair in pseudo.chunks(2).chain(icmp.chunks(2)) {
        let pair = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
        sum += u32::from(u16::from_be_bytes(pair));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// For fuzzing: no frame may make the reader panic, and our own advertisement is always a valid one.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Some(Heard::Solicitation { mac, source }) = decode(data) {
        let us = MacAddr([2, 0, 0, 0, 0, 1]);
        let answer = decode(&advertisement(us, mac, source));
        assert_eq!(answer, Some(Heard::Advertisement { mac: us, lifetime_seconds: 0 }), "an invalid advertisement");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) use super::solicitation;

    #[test]
    fn the_answer_offers_nothing_and_goes_to_one_station() {
        let (us, them) = (MacAddr([0x52, 0x54, 0, 0, 0, 1]), MacAddr([0x52, 0x54, 0, 0, 0, 9]));
        let frame = advertisement(us, them, link_local(them));
        assert_eq!(frame[..6], them.0);
        assert_eq!(decode(&frame), Some(Heard::Advertisement { mac: us, lifetime_seconds: 0 }));
        assert_eq!(frame[21], 255, "hop limit");
        assert_eq!(frame.len(), 14 + 40 + 16 + 8, "no prefix");
        assert_eq!(frame[14 + 40 + 5], 0, "no flags");
        assert_eq!(link_local(us), "fe80::5054:ff:fe00:1".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn cut_forwarded_and_damaged_frames_are_nothing() {
        let mac = MacAddr([0x52, 0x54, 0, 0, 0, 9]);
        let frame = solicitation(mac, link_local(mac));
        assert_eq!(decode(&frame), Some(Heard::Solicitation { mac, source: link_local(mac) }));
        for cut in 0..frame.len() {
            assert_eq!(decode(&frame[..cut]), None, "{cut}");
        }
        for (at, value) in [(21, 64), (54, 135), (55, 1), (60, 9), (19, 200)] {
            let mut damaged = frame.clone();
            damaged[at] = value;
            assert_eq!(decode(&damaged), None, "byte {at}");
        }
    }
}
