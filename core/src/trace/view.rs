//! A frame's headers, down to the payload of UDP and TCP. Frames may be cut short anywhere; lengths on the wire come from the headers.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::net::MacAddr;

/// A frame, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// Source.
    pub from: MacAddr,
    /// Destination.
    pub to: MacAddr,
    /// IEEE 802.1Q tag, if the frame still has it.
    pub vlan: Option<u16>,
    /// What it carries.
    pub body: Body<'a>,
}

/// What an Ethernet frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// ARP for Ethernet and IPv4 (RFC 826).
    Arp {
        /// 1 asks, 2 answers.
        operation: u16,
        /// The sender's hardware address and address.
        sender: (MacAddr, [u8; 4]),
        /// The target's.
        target: (MacAddr, [u8; 4]),
    },
    /// A bridge's protocol data unit (IEEE 802.1D), from its protocol identifier on.
    Bpdu(&'a [u8]),
    /// IPv4 or IPv6.
    Ip {
        /// Source.
        from: IpAddr,
        /// Destination.
        to: IpAddr,
        /// Hops left.
        ttl: u8,
        /// What it carries.
        transport: Transport<'a>,
    },
    /// Anything else, by its EtherType.
    Other(u16),
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// UDP.
    Udp(Datagram<'a>),
    /// TCP.
    Tcp(Segment<'a>),
    /// ICMP.
    Icmp(Icmp<'a>),
    /// ICMPv6.
    Icmp6(Icmp<'a>),
    /// Anything else, a fragment, or headers that make no sense; by the protocol's number.
    Other(u8),
}

/// A datagram of UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source port.
    pub from: u16,
    /// Destination port.
    pub to: u16,
    /// What there is of the payload.
    pub payload: &'a [u8],
    /// Bytes of payload on the wire.
    pub len: usize,
}

/// A segment of TCP (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Source port.
    pub from: u16,
    /// Destination port.
    pub to: u16,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Acknowledgement number, where the ACK bit is set.
    pub ack: Option<u32>,
    /// SYN.
    pub syn: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// Window, unscaled.
    pub window: u16,
    /// What there is of the payload.
    pub payload: &'a [u8],
    /// Bytes of payload on the wire.
    pub len: usize,
}

/// A message of ICMP or ICMPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What follows the checksum.
    pub rest: &'a [u8],
}

/// The packet that an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// 6 or 17.
    pub protocol: u8,
    /// Source and port.
    pub from: (IpAddr, u16),
    /// Destination and port.
    pub to: (IpAddr, u16),
}

/// EtherTypes.
pub(crate) const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
/// IEEE 802.3: smaller values are lengths.
const FIRST_TYPE: u16 = 0x0600;

pub(crate) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn mac(bytes: &[u8], at: usize) -> Option<MacAddr> {
    bytes.get(at..at + 6)?.try_into().ok().map(MacAddr)
}

/// Reads a frame of which `original` bytes were on the wire. `None` without a whole Ethernet header.
#[must_use]
pub fn read(frame: &[u8], original: usize) -> Option<View<'_>> {
    let (to, from, mut kind) = (mac(frame, 0)?, mac(frame, 6)?, half(frame, 12)?);
    let mut vlan = None;
    let mut at = 14;
    if kind == VLAN {
        vlan = half(frame, 14).map(|tag| tag & 0x0fff);
        kind = half(frame, 16)?;
        at = 18;
    }
    let rest = frame.get(at..).unwrap_or_default();
    let body = match kind {
        ARP => arp(rest).unwrap_or(Body::Other(kind)),
        length if length < FIRST_TYPE => match rest {
            [0x42, 0x42, 0x03, bpdu @ ..] => Body::Bpdu(bpdu),
            _ => Body::Other(kind),
        },
        _ => ip(frame, original).unwrap_or(Body::Other(kind)),
    };
    Some(View { from, to, vlan, body })
}

fn arp(bytes: &[u8]) -> Option<Body<'_>> {
    if bytes.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let address = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
    let sender = (mac(bytes, 8)?, address(14)?);
    let target = (mac(bytes, 18)?, address(24)?);
    Some(Body::Arp { operation: half(bytes, 6)?, sender, target })
}

fn ip(frame: &[u8], original: usize) -> Option<Body<'_>> {
    let sliced = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let cut = original.saturating_sub(frame.len());
    // Bytes of the IP payload on the wire: as the header says, or, where large-send offload leaves it 0, what was on the wire.
    let (from, to, ttl, protocol, len): (IpAddr, IpAddr, u8, u8, usize) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let told = usize::from(header.total_len()).checked_sub(usize::from(header.ihl()) * 4);
            let len = told.filter(|_| header.total_len() > 0).unwrap_or(ip.payload().payload.len() + cut);
            (header.source_addr().into(), header.destination_addr().into(), header.ttl(), header.protocol().0, len)
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let told = usize::from(header.payload_length());
            let len = if told > 0 { told } else { ip.payload().payload.len() + cut };
            let extensions = told.saturating_sub(cut).saturating_sub(ip.payload().payload.len());
            let protocol = ip.payload().ip_number.0;
            let len = len.saturating_sub(extensions);
            (header.source_addr().into(), header.destination_addr().into(), header.hop_limit(), protocol, len)
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let transport = match sliced.transport {
        Some(TransportSlice::Udp(udp)) => Transport::Udp(Datagram {
            from: udp.source_port(),
            to: udp.destination_port(),
            payload: udp.payload(),
            len: usize::from(udp.length()).saturating_sub(8).max(udp.payload().len()),
        }),
        Some(TransportSlice::Tcp(tcp)) => Transport::Tcp(Segment {
            from: tcp.source_port(),
            to: tcp.destination_port(),
            seq: tcp.sequence_number(),
            ack: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            window: tcp.window_size(),
            payload: tcp.payload(),
            len: len.saturating_sub(tcp.header_slice().len()).max(tcp.payload().len()),
        }),
        Some(TransportSlice::Icmpv4(icmp)) => Transport::Icmp(Icmp {
            kind: icmp.type_u8(),
            code: icmp.code_u8(),
            rest: icmp.slice().get(4..).unwrap_or_default(),
        }),
        Some(TransportSlice::Icmpv6(icmp)) => Transport::Icmp6(Icmp {
            kind: icmp.type_u8(),
            code: icmp.code_u8(),
            rest: icmp.slice().get(4..).unwrap_or_default(),
        }),
        _ => Transport::Other(protocol),
    };
    Some(Body::Ip { from, to, ttl, transport })
}

impl Icmp<'_> {
    /// ICMP type 3 "destination unreachable" (RFC 792): the packet that it is about.
    #[must_use]
    pub fn unreachable(&self) -> Option<Quoted> {
        if self.kind != 3 {
            return None;
        }
        let ip = self.rest.get(4..)?;
        let header = usize::from(ip.first()? & 15) * 4;
        let address = |at: usize| <[u8; 4]>::try_from(ip.get(at..at + 4)?).ok().map(IpAddr::from);
        Some(Quoted {
            protocol: *ip.get(9)?,
            from: (address(12)?, half(ip, header)?),
            to: (address(16)?, half(ip, header + 2)?),
        })
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
