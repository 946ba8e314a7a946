//! Which frames a packet socket may receive, as a filter in the kernel, and which it may send.
//!
//! The kernel offers no filter for what a packet socket sends, so [`Purpose::may_send`] is called by the sender itself. A process
//! that ignores it can send any frame on that one interface.

use crate::capture::{self, TcpPorts};
use crate::sys::Instruction;

/// What a packet socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sends DHCP replies to a client that has no address yet; receives nothing.
    Ipv4Send,
    /// Receives and sends ICMPv6 router solicitations and advertisements.
    RouterDiscovery,
    /// Receives UDP packets to ports 67 and 68; sends a DHCP client's packets.
    DhcpListen,
    /// Asks by ARP whether an address is in use (RFC 5227 2.1.1); receives the answers.
    ArpProbe,
    /// Receives DHCP servers' replies; sends nothing. A server is not woken by requests that its own port gets anyway.
    DhcpReplies,
    /// Receives what concerns boots, both ways, and of TCP these ports of this computer; sends nothing.
    Capture(TcpPorts),
    /// Receives the packets of DHCP both ways, those that this computer sends included; sends nothing.
    DhcpWatch,
}

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const ROUTER_SOLICIT: u8 = 133;
pub(crate) const ROUTER_ADVERT: u8 = 134;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
/// `op` of RFC 951's replies.
const BOOTREPLY: u32 = 2;

// Offsets into an Ethernet frame without a VLAN tag.
pub(crate) const ETHERTYPE: u32 = 12;
pub(crate) const IP4_FRAGMENT: u32 = 14 + 6;
pub(crate) const IP4_PROTOCOL: u32 = 14 + 9;
const ARP_OPERATION: u32 = 14 + 6;
const ARP_SENDER: u32 = 14 + 14;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
pub(crate) const IP6_NEXT: u32 = 14 + 6;
pub(crate) const IP6_PAYLOAD: u32 = 14 + 40;

impl Purpose {
    /// The Ethernet protocol that the socket is bound to; 0 receives nothing.
    #[must_use]
    pub fn protocol(self) -> u16 {
        match self {
            Self::Ipv4Send => 0,
            Self::RouterDiscovery => IPV6,
            Self::ArpProbe => ARP,
            // Only a socket for all protocols sees the VLAN tag that the kernel takes off, and a DHCP server on a tagged VLAN
            // is no rival on the untagged one.
            Self::DhcpListen | Self::DhcpReplies | Self::DhcpWatch | Self::Capture(_) => libc::ETH_P_ALL as u16,
        }
    }

    /// The group addresses whose frames the hardware must let through.
    pub(crate) fn groups(self) -> &'static [[u8; 6]] {
        match self {
            // All nodes and all routers, RFC 4291 section 2.7.1 and RFC 2464 section 7.
            Self::RouterDiscovery => &[[0x33, 0x33, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 2]],
            // And IEEE 802.1D's bridges.
            Self::Capture(_) => &[[0x33, 0x33, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 2], [0x01, 0x80, 0xc2, 0, 0, 0]],
            Self::Ipv4Send | Self::DhcpListen | Self::ArpProbe | Self::DhcpReplies | Self::DhcpWatch => &[],
        }
    }

    /// Whether this computer's own frames come up, too.
    pub(crate) fn hears_own(self) -> bool {
        matches!(self, Self::Capture(_) | Self::DhcpWatch)
    }

    /// The filter for what it receives.
    pub(crate) fn filter(self) -> Vec<Instruction> {
        match self {
            Self::Capture(ports) => capture::filter(ports),
            Self::Ipv4Send => vec![give(0)],
            Self::RouterDiscovery => vec![
                load_half(ETHERTYPE),
                unless_equal(u32::from(IPV6), 7),
                load_byte(IP6_NEXT),
                unless_equal(u32::from(ICMPV6), 5),
                load_byte(IP6_PAYLOAD),
                if_equal(u32::from(ROUTER_SOLICIT), 1),
                unless_equal(u32::from(ROUTER_ADVERT), 2),
                load_word(ancillary(libc::SKF_AD_PKTTYPE)),
                // PACKET_OTHERHOST also marks frames of a VLAN that is not ours.
                unless_equal(u32::from(libc::PACKET_OTHERHOST), 1),
                give(0),
                give(u32::MAX),
            ],
            Self::ArpProbe => vec![
                load_half(ARP_OPERATION),
                unless_equal(u32::from(ARP_REPLY), 3),
                load_word(ancillary(libc::SKF_AD_PKTTYPE)),
                if_equal(u32::from(libc::PACKET_OTHERHOST), 1),
                give(u32::MAX),
                give(0),
            ],
            Self::DhcpListen | Self::DhcpWatch => vec![
                load_word(ancillary(libc::SKF_AD_VLAN_TAG)),
                and(0x0fff),
                unless_equal(0, 11),
                load_half(ETHERTYPE),
                unless_equal(u32::from(IPV4), 9),
                load_byte(IP4_PROTOCOL),
                unless_equal(u32::from(UDP), 7),
                load_half(IP4_FRAGMENT),
                if_any_bit(0x1fff, 5),
                ip4_header_length(14),
                load_half_after_header(14 + 2),
                if_equal(u32::from(DHCP_SERVER), 1),
                unless_equal(u32::from(DHCP_CLIENT), 1),
                give(u32::MAX),
                give(0),
            ],
            Self::DhcpReplies => vec![
                load_word(ancillary(libc::SKF_AD_VLAN_TAG)),
                and(0x0fff),
                unless_equal(0, 12),
                load_half(ETHERTYPE),
                unless_equal(u32::from(IPV4), 10),
                load_byte(IP4_PROTOCOL),
                unless_equal(u32::from(UDP), 8),
                load_half(IP4_FRAGMENT),
                if_any_bit(0x1fff, 6),
                ip4_header_length(14),
                load_half_after_header(14),
                unless_equal(u32::from(DHCP_SERVER), 3),
                load_byte_after_header(14 + 8),
                unless_equal(BOOTREPLY, 1),
                give(u32::MAX),
                give(0),
            ],
        }
    }

    /// Whether this frame is one of those that the socket exists for.
    #[must_use]
    pub fn may_send(self, frame: &[u8]) -> bool {
        match self {
            Self::Ipv4Send => udp_ports(frame).is_some_and(|(from, _)| from == DHCP_SERVER),
            Self::DhcpListen => udp_ports(frame) == Some((DHCP_CLIENT, DHCP_SERVER)),
            // Without a sender's address it changes nobody's table.
            Self::ArpProbe => {
                half(frame, ETHERTYPE) == Some(ARP)
                    && half(frame, ARP_OPERATION) == Some(ARP_REQUEST)
                    && frame.get(ARP_SENDER as usize..ARP_SENDER as usize + 4) == Some(&[0; 4])
            }
            Self::DhcpReplies | Self::DhcpWatch | Self::Capture(_) => false,
            Self::RouterDiscovery => {
                half(frame, ETHERTYPE) == Some(IPV6)
                    && byte(frame, IP6_NEXT) == Some(ICMPV6)
                    && matches!(byte(frame, IP6_PAYLOAD), Some(ROUTER_SOLICIT | ROUTER_ADVERT))
            }
        }
    }
}

/// The Ethernet protocol that a frame names.
#[must_use]
pub fn ethertype(frame: &[u8]) -> u16 {
    half(frame, ETHERTYPE).unwrap_or(0)
}

/// Source and destination port of an IPv4 UDP frame that is not a later fragment.
fn udp_ports(frame: &[u8]) -> Option<(u16, u16)> {
    let first = byte(frame, 14)?;
    let header = u32::from(first & 0x0f) * 4;
    let udp = half(frame, ETHERTYPE)? == IPV4
        && first >> 4 == 4
        && header >= 20
        && byte(frame, IP4_PROTOCOL)? == UDP
        && half(frame, IP4_FRAGMENT)? & 0x1fff == 0;
    udp.then_some((half(frame, 14 + header)?, half(frame, 16 + header)?))
}

fn byte(frame: &[u8], at: u32) -> Option<u8> {
    frame.get(at as usize).copied()
}

fn half(frame: &[u8], at: u32) -> Option<u16> {
    let at = at as usize;
    frame.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

// Classic BPF. A load past the frame's end ends the program with 0, which drops the frame.

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}

pub(crate) fn load_byte(at: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at, 0, 0)
}

pub(crate) fn load_half(at: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, at, 0, 0)
}

pub(crate) fn load_word(at: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

pub(crate) fn ip4_header_length(at: u32) -> Instruction {
    instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, at, 0, 0)
}

pub(crate) fn load_half_after_header(at: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, at, 0, 0)
}

pub(crate) fn load_byte_after_header(at: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, at, 0, 0)
}

pub(crate) fn and(mask: u32) -> Instruction {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask, 0, 0)
}

/// Skips `skip` instructions when the value is `value`.
fn if_equal(value: u32, skip: u8) -> Instruction {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip, 0)
}

/// Skips `skip` instructions when the value is not `value`.
fn unless_equal(value: u32, skip: u8) -> Instruction {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, skip)
}

/// A conditional jump of this kind over `distance` instructions; `BPF_JA` jumps in any case.
pub(crate) fn jump(kind: u32, value: u32, distance: u8) -> Instruction {
    match kind {
        libc::BPF_JA => instruction(libc::BPF_JMP | libc::BPF_JA, u32::from(distance), 0, 0),
        kind => instruction(libc::BPF_JMP | kind | libc::BPF_K, value, distance, 0),
    }
}

fn if_any_bit(mask: u32, skip: u8) -> Instruction {
    instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, mask, skip, 0)
}

/// Ends: this many bytes of the frame are given to the socket.
pub(crate) fn give(bytes: u32) -> Instruction {
    instruction(libc::BPF_RET | libc::BPF_K, bytes, 0, 0)
}

/// Where the kernel keeps what it knows about a frame beside its bytes.
pub(crate) fn ancillary(what: i32) -> u32 {
    (libc::SKF_AD_OFF + what) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp_frame(from: u16, to: u16) -> Vec<u8> {
        let mut frame = vec![0u8; 14 + 20 + 8];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = 17;
        frame[34..36].copy_from_slice(&from.to_be_bytes());
        frame[36..38].copy_from_slice(&to.to_be_bytes());
        frame
    }

    fn advert(kind: u8) -> Vec<u8> {
        let mut frame = vec![0u8; 14 + 40 + 16];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[14] = 0x60;
        frame[20] = 58;
        frame[54] = kind;
        frame
    }

    #[test]
    fn each_purpose_sends_its_own_frames_only() {
        assert!(Purpose::Ipv4Send.may_send(&udp_frame(67, 68)));
        assert!(!Purpose::Ipv4Send.may_send(&udp_frame(53, 68)));
        assert!(Purpose::DhcpListen.may_send(&udp_frame(68, 67)));
        assert!(!Purpose::DhcpListen.may_send(&udp_frame(67, 68)), "the probe never plays the server");
        assert!(!Purpose::DhcpReplies.may_send(&udp_frame(68, 67)));
        assert!(!Purpose::DhcpWatch.may_send(&udp_frame(68, 67)) && !Purpose::DhcpWatch.may_send(&udp_frame(67, 68)));
        assert!(Purpose::RouterDiscovery.may_send(&advert(134)));
        assert!(!Purpose::RouterDiscovery.may_send(&advert(136)), "no neighbour advertisements");
        assert!(!Purpose::RouterDiscovery.may_send(&udp_frame(67, 68)));
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        arp[21] = 1;
        assert!(Purpose::ArpProbe.may_send(&arp));
        for (at, value, what) in
            [(21, 2, "an answer"), (28, 10, "a request that names a sender"), (13, 0, "other protocols")]
        {
            let mut other = arp.clone();
            other[at] = value;
            assert!(!Purpose::ArpProbe.may_send(&other), "{what}");
        }
    }

    #[test]
    fn a_short_frame_a_fragment_and_a_lying_header_length_are_not_sent() {
        let good = udp_frame(67, 68);
        for len in 0..38 {
            assert!(!Purpose::Ipv4Send.may_send(&good[..len]), "{len}");
        }
        let mut fragment = good.clone();
        fragment[21] = 1;
        assert!(!Purpose::Ipv4Send.may_send(&fragment));
        for first in [0x44, 0x40, 0x65, 0x4f] {
            let mut lying = good.clone();
            lying[14] = first;
            assert!(!Purpose::Ipv4Send.may_send(&lying), "{first:#x}");
        }
    }
}
