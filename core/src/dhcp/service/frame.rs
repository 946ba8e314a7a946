//! UDP in IPv4 in Ethernet, for clients that cannot answer ARP yet and for hearing other servers.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::net::MacAddr;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// A UDP packet with the frame's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Udp<'a> {
    pub(super) sender: MacAddr,
    pub(super) source: SocketAddrV4,
    pub(super) destination: SocketAddrV4,
    pub(super) payload: &'a [u8],
}

/// Reads a frame; `None` for anything but a whole, unfragmented UDP packet.
pub(super) fn parse(frame: &[u8]) -> Option<Udp<'_>> {
    let (ethernet, ip) = frame.split_at_checked(14)?;
    let (sender, kind) = (ethernet.get(6..12)?, ethernet.get(12..14)?);
    if kind != ETHERTYPE_IPV4 {
        return None;
    }
    let first = *ip.first()?;
    let (header, total) = (usize::from(first & 0xf) * 4, usize::from(be16(ip, 2)?));
    let fragment = be16(ip, 6)? & 0x3fff; // more-fragments bit and offset
    if first >> 4 != 4 || header < 20 || fragment != 0 || ip.get(9) != Some(&UDP) {
        return None;
    }
    let datagram = ip.get(header..total)?;
    let length = usize::from(be16(datagram, 4)?);
    let address = |at| ip.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(Ipv4Addr::from);
    Some(Udp {
        sender: MacAddr(sender.try_into().ok()?),
        source: SocketAddrV4::new(address(12)?, be16(datagram, 0)?),
        destination: SocketAddrV4::new(address(16)?, be16(datagram, 2)?),
        payload: datagram.get(8..length)?,
    })
}

/// Writes a frame. `None` when the payload is too long for an IPv4 packet.
pub(super) fn build(
    (from, to): (MacAddr, MacAddr),
    (source, destination): (SocketAddrV4, SocketAddrV4),
    payload: &[u8],
) -> Option<Vec<u8>> {
    let udp_len = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let total = udp_len.checked_add(20)?;
    let mut ip = [0u8; 20];
    let mut fields = vec![(0, vec![0x45]), (2, total.to_be_bytes().to_vec()), (8, vec![64, UDP])];
    fields.extend([(12, source.ip().octets().to_vec()), (16, destination.ip().octets().to_vec())]);
    for (at, bytes) in fields {
        ip.get_mut(at..at + bytes.len())?.copy_from_slice(&bytes);
    }
    let check = checksum(&[&ip]);
    ip.get_mut(10..12)?.copy_from_slice(&check.to_be_bytes());

    let mut udp = Vec::with_capacity(usize::from(udp_len));
    udp.extend_from_slice(&source.port().to_be_bytes());
    udp.extend_from_slice(&destination.port().to_be_bytes());
    udp.extend_from_slice(&udp_len.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    let pseudo = [&source.ip().octets()[..], &destination.ip().octets(), &[0, UDP], &udp_len.to_be_bytes()].concat();
    // RFC 768: a sum of zero is sent as all ones, because zero means "none".
    let check = match checksum(&[&pseudo, &udp]) {
        0 => u16::MAX,
        sum => sum,
    };
    udp.get_mut(6..8)?.copy_from_slice(&check.to_be_bytes());
    Some([&to.0[..], &from.0, &ETHERTYPE_IPV4, &ip, &udp].concat())
}

/// The Internet checksum (RFC 1071) of parts of which all but the last are even in length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let pair = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
            sum += u32::from(u16::from_be_bytes(pair));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_as_it_was_written_and_its_sums_are_zero() {
        let (from, to) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::BROADCAST);
        let source: SocketAddrV4 = "192.168.2.1:67".parse().unwrap();
        let destination: SocketAddrV4 = "255.255.255.255:68".parse().unwrap();
        let frame = build((from, to), (source, destination), b"odd").unwrap();
        let read = parse(&frame).unwrap();
        assert_eq!(read, Udp { sender: from, source, destination, payload: b"odd" });
        assert_eq!(checksum(&[&frame[14..34]]), 0);
        let pseudo = [&frame[26..34], &[0, 17, 0, 11]].concat();
        assert_eq!(checksum(&[&pseudo, &frame[34..]]), 0);
    }

    #[test]
    fn no_cut_or_lying_frame_is_taken_for_a_packet() {
        let end = "10.0.0.1:67".parse().unwrap();
        let frame = build((MacAddr::default(), MacAddr::BROADCAST), (end, end), &[7; 300]).unwrap();
        for cut in 0..frame.len() {
            assert_eq!(parse(&frame[..cut]), None);
        }
        for at in 12..frame.len().min(42) {
            for value in 0..=255 {
                let mut lying = frame.clone();
                lying[at] = value;
                let _ = parse(&lying);
            }
        }
    }
}
