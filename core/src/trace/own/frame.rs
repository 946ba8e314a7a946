//! Frames of UDP and TCP in IPv4 in Ethernet, for payloads of which only the beginning is known.

use std::net::Ipv4Addr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, TcpHeader, TcpOptionElement, UdpHeader};

use super::stream::Act;
use crate::net::MacAddr;

const ETHERNET: usize = 14;
const IP: usize = 20;
/// What a segment carries at most, as segments are captured that the network card cuts: 45 of Ethernet's.
pub(super) const MAX_SEGMENT: usize = 45 * 1448;
const TTL: u8 = 64;
/// As large as can be, with [`SCALE`]: how much an end takes is not known, and nothing must look as if it took no more.
const WINDOW: u16 = u16::MAX;
/// RFC 7323, section 2.3: the largest.
const SCALE: u8 = 14;

/// Where a frame goes: link, network, ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) link: (MacAddr, MacAddr),
    pub(super) ip: (Ipv4Addr, Ipv4Addr),
    pub(super) port: (u16, u16),
}

/// A frame as far as it is known, with its length on the wire. The checksum of what it carries is 0 until [`seal`].
#[derive(Debug)]
pub(super) struct Made {
    pub(super) data: Vec<u8>,
    pub(super) original: usize,
}

/// A datagram of `len` bytes that begins with these. `None`: there is no such datagram.
pub(super) fn udp(ends: Ends, bytes: &[u8], len: usize) -> Option<Made> {
    let length = u16::try_from(len + UdpHeader::LEN).ok()?;
    let (source_port, destination_port) = ends.port;
    let header = UdpHeader { source_port, destination_port, length, checksum: 0 }.to_bytes();
    around(ends, IpNumber::UDP, &header, bytes, len)
}

/// A segment of `len` bytes that begins with these.
pub(super) fn tcp(ends: Ends, act: Act, (seq, ack): (u32, u32), bytes: &[u8], len: usize) -> Option<Made> {
    let mut header = TcpHeader::new(ends.port.0, ends.port.1, seq, WINDOW);
    header.syn = matches!(act, Act::Ask | Act::Accept);
    header.fin = act == Act::Finish;
    header.rst = act == Act::Reset;
    header.psh = len > 0;
    header.ack = act != Act::Ask;
    header.acknowledgment_number = if header.ack { ack } else { 0 };
    if header.syn {
        header.set_options(&[TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::WindowScale(SCALE)]).ok()?;
    }
    around(ends, IpNumber::TCP, &header.to_bytes(), bytes, len)
}

fn around(ends: Ends, protocol: IpNumber, header: &[u8], bytes: &[u8], len: usize) -> Option<Made> {
    let carried = u16::try_from(header.len() + len).ok()?;
    let (from, to) = ends.ip;
    let mut ip = Ipv4Header::new(carried, TTL, protocol, from.octets(), to.octets()).ok()?;
    ip.header_checksum = ip.calc_header_checksum();
    let link = Ethernet2Header { source: ends.link.0.0, destination: ends.link.1.0, ether_type: EtherType::IPV4 };
    let bytes = bytes.get(..len).unwrap_or(bytes);
    let data = [&link.to_bytes()[..], &ip.to_bytes(), header, bytes].concat();
    Some(Made { data, original: ETHERNET + IP + header.len() + len })
}

/// Sets the checksum of a frame of [`udp`] or [`tcp`], of which all is there. What is cut has none that anybody could hold against it.
pub(super) fn seal(frame: &mut [u8], original: usize) {
    if frame.len() != original {
        return;
    }
    let Some((head, carried)) = frame.split_at_mut_checked(ETHERNET + IP) else { return };
    let (Some(&protocol), Some(addresses)) = (head.get(ETHERNET + 9), head.last_chunk::<8>()) else { return };
    let at = match IpNumber(protocol) {
        IpNumber::UDP => 6,
        IpNumber::TCP => 16,
        _ => return,
    };
    let Ok(len) = u16::try_from(carried.len()) else { return };
    let Some(place) = carried.get_mut(at..at + 2) else { return };
    place.fill(0);
    let sum = Sum16BitWords::new().add_8bytes(*addresses).add_2bytes([0, protocol]).add_2bytes(len.to_be_bytes());
    // Zero means "none" in UDP (RFC 768), and is the same sum in both.
    let sum = sum.add_slice(carried).to_ones_complement_with_no_zero().to_be();
    if let Some(place) = carried.get_mut(at..at + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}
