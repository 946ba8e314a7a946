//! ARP, spanning tree, ICMP and ICMPv6's router discovery.

use std::net::Ipv4Addr;

use super::{Field, Said};
use crate::net::MacAddr;
use crate::trace::view::{self, Icmp};

pub(super) fn arp(operation: u16, sender: (MacAddr, [u8; 4]), target: (MacAddr, [u8; 4])) -> Said {
    let (from, to) = (Ipv4Addr::from(sender.1), Ipv4Addr::from(target.1));
    let line = match operation {
        1 if from.is_unspecified() => format!("is somebody at {to}? ({} may take it)", sender.0),
        1 if from == to => format!("{} says that it is at {from}", sender.0),
        1 => format!("who is at {to}? tell {from}"),
        2 => format!("{from} is at {}", sender.0),
        other => format!("operation {other}"),
    };
    let fields = vec![
        Field::new("operation", operation),
        Field::with("sender", from, vec![Field::new("hardware address", sender.0)]),
        Field::with("target", to, vec![Field::new("hardware address", target.0)]),
    ];
    Said { protocol: "ARP", line, fields }
}

/// A configuration message of spanning tree, or RSTP's, which begins like it (IEEE 802.1D, 9.3.1 and 9.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// 0 or 2.
    pub(crate) version: u8,
    /// The hardware address in the identifier of the bridge that sent it.
    pub(crate) bridge: MacAddr,
    /// The root's.
    pub(crate) root: MacAddr,
    /// The port's number.
    pub(crate) port: u16,
    /// How long a port listens, and as long learns, in seconds.
    pub(crate) delay_seconds: u16,
}

pub(crate) fn configuration(bpdu: &[u8]) -> Option<Configuration> {
    let [0, 0, version, kind, ..] = bpdu else { return None };
    if !matches!(kind, 0 | 2) {
        return None;
    }
    let mac = |at: usize| bpdu.get(at..at + 6)?.try_into().ok().map(MacAddr);
    Some(Configuration {
        version: *version,
        root: mac(7)?,
        bridge: mac(19)?,
        port: view::half(bpdu, 25)?,
        // In 1/256 s.
        delay_seconds: view::half(bpdu, 33)? >> 8,
    })
}

pub(super) fn bpdu(bytes: &[u8]) -> Said {
    let Some(told) = configuration(bytes) else {
        let line = if bytes.get(3) == Some(&0x80) { "topology changed" } else { "not understood" };
        return Said { protocol: "STP", line: line.to_owned(), fields: Vec::new() };
    };
    let line = format!("bridge {} waits {} s twice before a port forwards", told.bridge, told.delay_seconds);
    let fields = vec![
        Field::new("version", told.version),
        Field::new("root", told.root),
        Field::new("bridge", told.bridge),
        Field::new("port", told.port & 0x0fff),
        Field::new("forward delay", format!("{} s", told.delay_seconds)),
    ];
    Said { protocol: "STP", line, fields }
}

pub(super) fn icmp(icmp: &Icmp<'_>) -> Said {
    let why = match (icmp.kind, icmp.code) {
        (3, 0) => "network unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "too long, and may not be cut",
        (3, 9 | 10 | 13) => "prohibited by a filter",
        (3, _) => "unreachable",
        (11, _) => "too many hops",
        (8, _) => "echo request",
        (0, _) => "echo reply",
        _ => "",
    };
    let mut fields = vec![Field::new("type", icmp.kind), Field::new("code", icmp.code)];
    let mut line = if why.is_empty() { format!("type {}, code {}", icmp.kind, icmp.code) } else { why.to_owned() };
    if let Some(quoted) = icmp.unreachable() {
        let protocol = match quoted.protocol {
            6 => "TCP",
            17 => "UDP",
            _ => "port",
        };
        line.push_str(&format!(": {protocol} {} of {}", quoted.to.1, quoted.to.0));
        fields.push(Field::new(
            "about",
            format!("{}:{} to {}:{}", quoted.from.0, quoted.from.1, quoted.to.0, quoted.to.1),
        ));
    }
    Said { protocol: "ICMP", line, fields }
}

/// RFC 4861, sections 4.1 and 4.2.
pub(super) fn icmp6(icmp: &Icmp<'_>) -> Said {
    let mut fields = vec![Field::new("type", icmp.kind), Field::new("code", icmp.code)];
    let line = match icmp.kind {
        133 => "is there a router?".to_owned(),
        134 => {
            let lifetime = view::half(icmp.rest, 2).unwrap_or_default();
            let flags = icmp.rest.get(1).copied().unwrap_or_default();
            fields.push(Field::new("lifetime", format!("{lifetime} s")));
            fields.push(Field::new("addresses by DHCPv6", flags & 0x80 != 0));
            match lifetime {
                0 => "no router here".to_owned(),
                seconds => format!("a router, for {seconds} s"),
            }
        }
        1 => "unreachable".to_owned(),
        135 => "who is there?".to_owned(),
        136 => "I am there".to_owned(),
        other => format!("type {other}"),
    };
    Said { protocol: "ICMPv6", line, fields }
}
