//! A frame as a line and as a tree of named fields. What a machine says is made printable here.

mod dhcp;
mod iscsi;
mod link;
mod web;

use std::net::{IpAddr, SocketAddr};

pub(crate) use link::configuration;

use serde::Serialize;

use super::Packet;
use super::view::{self, Body, Segment, Transport, View};

/// A named value with what it consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value in words.
    pub value: String,
    /// Its parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

impl Field {
    fn new(name: &str, value: impl std::fmt::Display) -> Self {
        Self { name: name.to_owned(), value: value.to_string(), fields: Vec::new() }
    }

    fn with(name: &str, value: impl std::fmt::Display, fields: Vec<Self>) -> Self {
        Self { name: name.to_owned(), value: value.to_string(), fields }
    }
}

/// A frame in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decoded {
    /// The protocol that says the most: `DHCP`, `TFTP`, `HTTP` …
    pub protocol: &'static str,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// What it says.
    pub line: String,
    /// Layer by layer.
    pub fields: Vec<Field>,
}

/// The fields of a DHCP message alone.
pub(crate) fn dhcp_fields(payload: &[u8]) -> Vec<Field> {
    dhcp::message(payload).fields
}

/// Most characters of a text of a machine's in a line.
const SHOWN: usize = 120;

/// A machine's text: what has no picture is shown as such, and it is no longer than [`SHOWN`].
pub(crate) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn printable(c: char) -> char {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if c.is_control() || invisible { '\u{fffd}' } else { c }
}

/// Bytes in hexadecimal, at most 64 of them.
fn hex(bytes: &[u8]) -> String {
    const MOST: usize = 64;
    let mut text: String = bytes.iter().take(MOST).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > MOST {
        text.push('…');
    }
    text
}

/// What a protocol says: its name, a line, its fields.
struct Said {
    protocol: &'static str,
    line: String,
    fields: Vec<Field>,
}

/// Reads a frame. Anything is read; what makes no sense is said to be so.
#[must_use]
pub fn decode(packet: &Packet) -> Decoded {
    let original = packet.original as usize;
    let Some(view) = view::read(&packet.data, original) else {
        let line = format!("{original} bytes that are no Ethernet frame");
        return Decoded { protocol: "?", from: String::new(), to: String::new(), line, fields: Vec::new() };
    };
    let mut fields = vec![frame(packet), ethernet(&view)];
    let (mut from, mut to) = (view.from.to_string(), view.to.to_string());
    let said = match view.body {
        Body::Arp { operation, sender, target } => link::arp(operation, sender, target),
        Body::Bpdu(bpdu) => link::bpdu(bpdu),
        Body::Ip { from: source, to: target, ttl, transport } => {
            (from, to) = ends(source, target, &transport);
            fields.push(Field::with(
                if source.is_ipv4() { "IPv4" } else { "IPv6" },
                format!("{source} to {target}"),
                vec![Field::new("time to live", ttl)],
            ));
            carried(&transport, &mut fields)
        }
        Body::Other(kind) => {
            let line = format!("a frame of type {kind:#06x}, {original} bytes");
            Said { protocol: "Ethernet", line, fields: Vec::new() }
        }
    };
    if !said.fields.is_empty() {
        fields.push(Field::with(said.protocol, &said.line, said.fields));
    }
    Decoded { protocol: said.protocol, from, to, line: said.line, fields }
}

fn frame(packet: &Packet) -> Field {
    let way = match packet.outgoing {
        Some(true) => "sent by this computer",
        Some(false) => "received",
        None => "not known",
    };
    let kept = packet.data.len();
    let cut = if kept < packet.original as usize { format!(", {kept} of them kept") } else { String::new() };
    let mut parts = vec![Field::new("time", packet.time), Field::new("way", way)];
    parts.extend(packet.comments.iter().map(|c| Field::new("comment", text(c.as_bytes()))));
    Field::with("frame", format!("{} bytes{cut}", packet.original), parts)
}

fn ethernet(view: &View<'_>) -> Field {
    let parts = view.vlan.map(|vlan| Field::new("VLAN", vlan)).into_iter().collect();
    Field::with("Ethernet", format!("{} to {}", view.from, view.to), parts)
}

fn ends(source: IpAddr, target: IpAddr, transport: &Transport<'_>) -> (String, String) {
    let ports = match transport {
        Transport::Udp(udp) => Some((udp.from, udp.to)),
        Transport::Tcp(tcp) => Some((tcp.from, tcp.to)),
        _ => None,
    };
    match ports {
        Some((from, to)) => (SocketAddr::new(source, from).to_string(), SocketAddr::new(target, to).to_string()),
        None => (source.to_string(), target.to_string()),
    }
}

fn carried(transport: &Transport<'_>, fields: &mut Vec<Field>) -> Said {
    match transport {
        Transport::Udp(udp) => {
            fields.push(Field::with(
                "UDP",
                format!("port {} to {}", udp.from, udp.to),
                vec![Field::new("length", udp.len)],
            ));
            let ports = [udp.from, udp.to];
            if ports.iter().any(|port| matches!(port, 67 | 68 | 4011)) {
                return dhcp::message(udp.payload);
            }
            web::tftp(udp).unwrap_or_else(|| Said {
                protocol: "UDP",
                line: format!("{} bytes", udp.len),
                fields: Vec::new(),
            })
        }
        Transport::Tcp(tcp) => {
            fields.push(segment(tcp));
            let pdu = [tcp.from, tcp.to].contains(&3260) || iscsi::is_login(tcp.payload);
            let said = if pdu { iscsi::pdus(tcp) } else { web::http(tcp.payload) };
            said.unwrap_or_else(|| plain_segment(tcp))
        }
        Transport::Icmp(icmp) => link::icmp(icmp),
        Transport::Icmp6(icmp) => link::icmp6(icmp),
        Transport::Other(protocol) => {
            Said { protocol: "IP", line: format!("protocol {protocol}, or a fragment"), fields: Vec::new() }
        }
    }
}

fn flags(tcp: &Segment<'_>) -> String {
    let all = [(tcp.syn, "SYN"), (tcp.fin, "FIN"), (tcp.rst, "RST"), (tcp.ack.is_some(), "ACK")];
    let set: Vec<&str> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    set.join(" ")
}

fn segment(tcp: &Segment<'_>) -> Field {
    let mut parts = vec![
        Field::new("flags", flags(tcp)),
        Field::new("sequence number", tcp.seq),
        Field::new("window", tcp.window),
        Field::new("length", tcp.len),
    ];
    parts.extend(tcp.ack.map(|ack| Field::new("acknowledges", ack)));
    Field::with("TCP", format!("port {} to {}", tcp.from, tcp.to), parts)
}

fn plain_segment(tcp: &Segment<'_>) -> Said {
    let line = match (tcp.syn, tcp.fin, tcp.rst, tcp.len) {
        (true, _, _, _) if tcp.ack.is_some() => "connection accepted".to_owned(),
        (true, ..) => "asks for a connection".to_owned(),
        (_, _, true, _) => "refuses or ends the connection at once (RST)".to_owned(),
        (_, true, _, _) => "ends its side of the connection".to_owned(),
        (_, _, _, 0) => format!("acknowledges up to {}", tcp.ack.unwrap_or_default()),
        (_, _, _, len) => format!("{len} bytes from {}", tcp.seq),
    };
    Said { protocol: "TCP", line, fields: Vec::new() }
}

#[cfg(test)]
#[path = "../decode_tests.rs"]
mod tests;
