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
    let (from_ip, to_ip) = (source.ip().octets(), destination.ip().octets());
    let mut frame = Vec::with_capacity(14 + usize::from(total));
    for part in [&to.0[..], &from.0, &ETHERTYPE_IPV4] {
        frame.extend_from_slice(part);
    }
    let [total_high, total_low] = total.to_be_bytes();
    frame.extend_from_slice(&[0x45, 0, total_high, total_low, 0, 0, 0, 0, 64, UDP, 0, 0]);
    frame.extend_from_slice(&from_ip);
    frame.extend_from_slice(&to_ip);
    let check = checksum(0, frame.get(14..)?);
    frame.get_mut(24..26)?.copy_from_slice(&check.to_be_bytes());

    for field in [source.port(), destination.port(), udp_len, 0] {
        frame.extend_from_slice(&field.to_be_bytes());
    }
    frame.extend_from_slice(payload);
    // The pseudo header: both addresses (they are the 8 bytes in front of the UDP header), protocol and length.
    let pseudo = u64::from(UDP) + u64::from(udp_len);
    // RFC 768: a sum of zero is sent as all ones, because zero means "none".
    let check = match checksum(pseudo, frame.get(26..)?) {
        0 => u16::MAX,
        sum => sum,
    };
    frame.get_mut(40..42)?.copy_from_slice(&check.to_be_bytes());
    Some(frame)
}

/// The Internet checksum (RFC 1071) of what was summed before and of bytes at an even place.
fn checksum(before: u64, bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    // The carries of 32-bit words fold into the same 16 bits as those of 16-bit words.
    let mut sum = words.iter().fold(before, |sum, word| sum + u64::from(u32::from_be_bytes(*word)));
    let mut last = [0; 4];
    if let Some(place) = last.get_mut(..rest.len()) {
        place.copy_from_slice(rest);
    }
    sum += u64::from(u32::from_be_bytes(last));
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
        // As RFC 1071 says it: 16 bits at a time.
        let sum = |bytes: &[u8]| {
            let pairs = bytes.chunks(2).map(|p| u32::from(p[0]) << 8 | p.get(1).map_or(0, |b| u32::from(*b)));
            let sum: u32 = pairs.sum();
            (sum & 0xffff) + (sum >> 16)
        };
        assert_eq!(sum(&frame[14..34]), 0xffff);
        assert_eq!(sum(&[&frame[26..34], &[0, 17, 0, 11], &frame[34..]].concat()), 0xffff);
        assert_eq!(checksum(0, &[0xff; 65_528]), 0, "all carries come back");
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
