//! The filter of a capture: of all that passes an interface, only what concerns boots comes up, and of bulk data only its headers.
//!
//! Both directions: ARP, DHCP and ProxyDHCP, TFTP with its transfers' own ports, TCP of three ports of this computer, "destination
//! unreachable", router discovery, spanning tree. Frames of a tagged VLAN do not come up: that is another network.

use crate::frame::{
    ARP, ETHERTYPE, ICMPV6, IP4_FRAGMENT, IP4_PROTOCOL, IP6_NEXT, IP6_PAYLOAD, IPV4, IPV6, ROUTER_ADVERT,
    ROUTER_SOLICIT, UDP, ancillary, and, give, ip4_header_length, jump, load_byte, load_byte_after_header, load_half,
    load_half_after_header, load_word,
};
use crate::sys::Instruction;

/// The TCP ports of this computer whose traffic is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpPorts {
    /// HTTP.
    pub http: u16,
    /// HTTP over TLS.
    pub https: u16,
    /// iSCSI.
    pub iscsi: u16,
}

impl TcpPorts {
    /// All three.
    #[must_use]
    pub fn all(self) -> [u16; 3] {
        [self.http, self.https, self.iscsi]
    }
}

/// What comes up of a segment of TCP: all headers at their longest, and a request's head or a login's text.
const SEGMENT: u32 = 14 + 60 + 60 + 2048;
/// What comes up of a block of TFTP data: its headers.
const BLOCK: u32 = 14 + 60 + 8 + 4;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UNREACHABLE: u32 = 3;
const UNREACHABLE_V6: u32 = 1;
/// LLC's service access points of IEEE 802.1D's BPDUs, both sides.
const SPANNING_TREE: u32 = 0x4242;
/// Above this the field is a protocol, not a length (IEEE 802.3).
const LONGEST: u32 = 1500;
const UDP_PORTS: [u16; 4] = [67, 68, 69, 4011];
// TFTP's operations in a transfer (RFC 1350, RFC 2347).
const DATA: u32 = 3;
const REST: [u32; 3] = [4, 5, 6];

/// A step of a program with jumps to names.
enum Step {
    Do(Instruction),
    /// To the place when the value is this, or has one of these bits, or is above it.
    Equal(u32, &'static str),
    AnyBit(u32, &'static str),
    Above(u32, &'static str),
    /// To the place in any case.
    Goto(&'static str),
    Place(&'static str),
}

/// The program, for these ports.
pub(crate) fn filter(ports: TcpPorts) -> Vec<Instruction> {
    use Step::{Above, AnyBit, Do, Equal, Goto, Place};
    let mut steps = vec![
        Do(load_word(ancillary(libc::SKF_AD_VLAN_TAG))),
        Do(and(0x0fff)),
        Equal(0, "untagged"),
        Goto("drop"),
        Place("untagged"),
        Do(load_half(ETHERTYPE)),
        Equal(u32::from(ARP), "keep"),
        Equal(u32::from(IPV4), "ipv4"),
        Equal(u32::from(IPV6), "ipv6"),
        Above(LONGEST, "drop"),
        Do(load_half(14)),
        Equal(SPANNING_TREE, "keep"),
        Goto("drop"),
        Place("ipv6"),
        Do(load_byte(IP6_NEXT)),
        Equal(u32::from(ICMPV6), "icmpv6"),
        Goto("drop"),
        Place("icmpv6"),
        Do(load_byte(IP6_PAYLOAD)),
        Equal(u32::from(ROUTER_SOLICIT), "keep"),
        Equal(u32::from(ROUTER_ADVERT), "keep"),
        Equal(UNREACHABLE_V6, "keep"),
        Goto("drop"),
        Place("ipv4"),
        Do(load_half(IP4_FRAGMENT)),
        AnyBit(0x1fff, "drop"),
        Do(ip4_header_length(14)),
        Do(load_byte(IP4_PROTOCOL)),
        Equal(u32::from(UDP), "udp"),
        Equal(u32::from(TCP), "tcp"),
        Equal(u32::from(ICMP), "icmp"),
        Goto("drop"),
        Place("icmp"),
        Do(load_byte_after_header(14)),
        Equal(UNREACHABLE, "keep"),
        Goto("drop"),
        Place("udp"),
    ];
    for at in [14, 16] {
        steps.push(Do(load_half_after_header(at)));
        steps.extend(UDP_PORTS.map(|port| Equal(u32::from(port), "keep")));
    }
    steps.push(Do(load_half_after_header(14 + 8)));
    steps.push(Equal(DATA, "block"));
    steps.extend(REST.map(|operation| Equal(operation, "keep")));
    steps.extend([
        Goto("drop"),
        Place("block"),
        Do(give(BLOCK)),
        // Our own port is the source of what leaves and the destination of what comes to us.
        Place("tcp"),
        Do(load_word(ancillary(libc::SKF_AD_PKTTYPE))),
        Equal(u32::from(libc::PACKET_OUTGOING), "leaves"),
        Equal(u32::from(libc::PACKET_HOST), "comes"),
        Goto("drop"),
        Place("leaves"),
        Do(load_half_after_header(14)),
        Goto("port"),
        Place("comes"),
        Do(load_half_after_header(16)),
        Place("port"),
    ]);
    steps.extend(ports.all().map(|port| Equal(u32::from(port), "segment")));
    steps.extend([Place("drop"), Do(give(0)), Place("segment"), Do(give(SEGMENT)), Place("keep"), Do(give(u32::MAX))]);
    assemble(&steps)
}

/// Turns names into distances. All jumps are forward; a program in which one is not, or is too far, would be a mistake of this file, which
/// its tests find: it drops everything.
fn assemble(steps: &[Step]) -> Vec<Instruction> {
    let mut places = Vec::new();
    let mut length = 0_usize;
    for step in steps {
        match step {
            Step::Place(name) => places.push((*name, length)),
            _ => length += 1,
        }
    }
    let mut code: Vec<Instruction> = Vec::with_capacity(length);
    for step in steps {
        let (kind, value, name) = match step {
            Step::Place(_) => continue,
            Step::Do(instruction) => {
                code.push(*instruction);
                continue;
            }
            Step::Equal(value, name) => (libc::BPF_JEQ, *value, *name),
            Step::AnyBit(value, name) => (libc::BPF_JSET, *value, *name),
            Step::Above(value, name) => (libc::BPF_JGT, *value, *name),
            Step::Goto(name) => (libc::BPF_JA, 0, *name),
        };
        let target = places.iter().find(|(known, _)| *known == name).map(|(_, at)| *at);
        let Some(distance) = target.and_then(|at| u8::try_from(at.checked_sub(code.len() + 1)?).ok()) else {
            return vec![give(0)];
        };
        code.push(jump(kind, value, distance));
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: TcpPorts = TcpPorts { http: 80, https: 443, iscsi: 3260 };

    /// What the kernel would do: how many bytes come up.
    fn run(program: &[Instruction], frame: &[u8], vlan: u32, kind: u8) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_usize, 0_usize);
        loop {
            let i = program[at];
            at += 1;
            let (code, k) = (u32::from(i.code), i.k);
            let load = |from: usize, len: usize| {
                frame.get(from..from + len).map(|b| b.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)))
            };
            let from = k as usize;
            let loaded = match code & 0x07 {
                libc::BPF_LD => {
                    let len = match code & 0x18 {
                        libc::BPF_W => 4,
                        libc::BPF_H => 2,
                        _ => 1,
                    };
                    let known = match code & 0xe0 {
                        libc::BPF_ABS if k == ancillary(libc::SKF_AD_VLAN_TAG) => Some(vlan),
                        libc::BPF_ABS if k == ancillary(libc::SKF_AD_PKTTYPE) => Some(u32::from(kind)),
                        libc::BPF_ABS => load(from, len),
                        _ => load(x + from, len),
                    };
                    Some(known)
                }
                libc::BPF_LDX => {
                    x = load(from, 1).map_or(0, |b| (b as usize & 15) * 4);
                    None
                }
                libc::BPF_ALU => Some(Some(a & k)),
                libc::BPF_RET => return k,
                _ => {
                    let taken = match code & 0xf0 {
                        libc::BPF_JA => {
                            at += from;
                            continue;
                        }
                        libc::BPF_JEQ => a == k,
                        libc::BPF_JGT => a > k,
                        _ => a & k != 0,
                    };
                    at += usize::from(if taken { i.jt } else { i.jf });
                    None
                }
            };
            match loaded {
                Some(Some(value)) => a = value,
                Some(None) => return 0,
                None => {}
            }
        }
    }

    fn ip4(protocol: u8, header: usize, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 14 + header];
        frame[12] = 8;
        frame[14] = 0x40 | u8::try_from(header / 4).unwrap();
        frame[23] = protocol;
        frame.extend_from_slice(payload);
        frame
    }

    fn ports(from: u16, to: u16, rest: &[u8]) -> Vec<u8> {
        [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 4], rest].concat()
    }

    fn kept(frame: &[u8], kind: u8) -> u32 {
        run(&filter(PORTS), frame, 0, kind)
    }

    #[test]
    fn only_what_concerns_boots_comes_up() {
        let (us, out, other) = (libc::PACKET_HOST, libc::PACKET_OUTGOING, libc::PACKET_OTHERHOST);
        let udp = |from, to, data: &[u8]| ip4(17, 20, &ports(from, to, data));
        let tcp = |from, to| ip4(6, 20, &ports(from, to, &[0; 12]));
        for (from, to) in [(68, 67), (67, 68), (2000, 69), (68, 4011), (4011, 68)] {
            assert_eq!(kept(&udp(from, to, &[]), us), u32::MAX, "{from} to {to}");
        }
        assert_eq!(kept(&udp(5353, 5353, &[0, 9]), us), 0, "no port and no operation of ours");
        assert_eq!(kept(&udp(40000, 2000, &[0, 3, 0, 1, 7]), out), BLOCK, "a block of a transfer");
        for operation in 4..=6 {
            assert_eq!(kept(&udp(2000, 40000, &[0, operation]), us), u32::MAX, "{operation}");
        }
        assert_eq!(kept(&udp(2000, 40000, &[1, 4]), us), 0);
        for header in [20, 24, 60] {
            assert_eq!(kept(&ip4(17, header, &ports(68, 67, &[])), us), u32::MAX, "header of {header} bytes");
        }
        for port in PORTS.all() {
            assert_eq!(kept(&tcp(50000, port), us), SEGMENT);
            assert_eq!(kept(&tcp(port, 50000), out), SEGMENT);
            assert_eq!(kept(&tcp(port, 50000), us), 0, "somebody else's server");
            assert_eq!(kept(&tcp(50000, port), out), 0, "somebody else's server");
            assert_eq!(kept(&tcp(50000, port), other), 0, "to somebody else");
        }
        assert_eq!(kept(&tcp(50000, 22), us), 0);
        assert_eq!(kept(&ip4(1, 20, &[3, 3]), out), u32::MAX);
        assert_eq!(kept(&ip4(1, 20, &[8, 0]), us), 0, "no pings");
        let mut fragment = udp(68, 67, &[]);
        fragment[21] = 1;
        assert_eq!(kept(&fragment, us), 0);
    }

    #[test]
    fn neighbours_routers_and_bridges_are_heard_and_other_networks_are_not() {
        let us = libc::PACKET_MULTICAST;
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(kept(&arp, us), u32::MAX);
        assert_eq!(run(&filter(PORTS), &arp, 5, us), 0, "on a tagged VLAN");
        let mut bpdu = vec![0; 60];
        bpdu[12..17].copy_from_slice(&[0, 38, 0x42, 0x42, 3]);
        assert_eq!(kept(&bpdu, us), u32::MAX);
        bpdu[14] = 0xaa;
        assert_eq!(kept(&bpdu, us), 0, "another protocol over LLC");
        bpdu[12..16].copy_from_slice(&[0x88, 0xcc, 0x42, 0x42]);
        assert_eq!(kept(&bpdu, us), 0, "LLDP");
        let mut v6 = vec![0; 80];
        v6[12..14].copy_from_slice(&[0x86, 0xdd]);
        v6[20] = 58;
        for (kind, up) in [(133, u32::MAX), (134, u32::MAX), (1, u32::MAX), (135, 0), (128, 0)] {
            v6[54] = kind;
            assert_eq!(kept(&v6, us), up, "{kind}");
        }
        v6[20] = 6;
        assert_eq!(kept(&v6, us), 0);
        for len in 0..14 {
            assert_eq!(kept(&arp[..len], us), 0, "{len} bytes");
        }
    }
}
