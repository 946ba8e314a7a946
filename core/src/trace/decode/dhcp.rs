//! DHCP messages with their options by name (RFC 2132, RFC 4578, RFC 3046, RFC 3004; iPXE's own in option 175).

use std::net::Ipv4Addr;

use super::{Field, Said, hex, text};
use crate::api::ClientKind;
use crate::boot::Arch;
use crate::dhcp::machine::classify;
use crate::dhcp::wire::{Packet, Request, code};

/// How an option's value reads.
#[derive(Clone, Copy)]
enum Form {
    Addresses,
    Text,
    Seconds,
    Number,
    Hex,
}

/// An option's name and form.
fn known(number: u8) -> Option<(&'static str, Form)> {
    use Form::{Addresses, Hex, Number, Seconds, Text};
    Some(match number {
        1 => ("subnet mask", Addresses),
        2 => ("time offset", Number),
        3 => ("router", Addresses),
        4 => ("time server", Addresses),
        6 => ("DNS server", Addresses),
        7 => ("log server", Addresses),
        12 => ("host name", Text),
        13 => ("boot file size", Number),
        15 => ("domain name", Text),
        17 => ("root path", Text),
        18 => ("extensions path", Text),
        26 => ("interface MTU", Number),
        28 => ("broadcast address", Addresses),
        33 => ("static routes", Addresses),
        40 => ("NIS domain", Text),
        42 => ("NTP server", Addresses),
        43 => ("vendor options", Hex),
        44 => ("NetBIOS name server", Addresses),
        50 => ("requested address", Addresses),
        51 => ("lease time", Seconds),
        53 => ("message type", Number),
        54 => ("server identifier", Addresses),
        55 => ("requested parameters", Hex),
        56 => ("message", Text),
        57 => ("maximum size", Number),
        58 => ("renewal time", Seconds),
        59 => ("rebinding time", Seconds),
        60 => ("vendor class", Text),
        61 => ("client identifier", Hex),
        66 => ("TFTP server", Text),
        67 => ("boot file", Text),
        77 => ("user class", Text),
        81 => ("client FQDN", Hex),
        82 => ("relay agent", Hex),
        93 => ("client architecture", Hex),
        94 => ("network interface", Hex),
        97 => ("machine UUID", Hex),
        116 => ("auto-configure", Number),
        118 => ("subnet selection", Addresses),
        119 => ("search domains", Hex),
        121 => ("classless routes", Hex),
        128 => ("TFTP server (128)", Hex),
        150 => ("TFTP server address", Addresses),
        175 => ("iPXE options", Hex),
        201 => ("iSCSI target", Text),
        203 => ("initiator name", Text),
        208 => ("PXELINUX magic", Hex),
        209 => ("configuration file", Text),
        210 => ("path prefix", Text),
        211 => ("reboot time", Seconds),
        249 => ("classless routes (Microsoft)", Hex),
        252 => ("proxy autodiscovery", Text),
        _ => return None,
    })
}

fn shown(form: Form, value: &[u8]) -> String {
    let number = || value.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    match form {
        Form::Addresses if !value.is_empty() && value.len().is_multiple_of(4) => {
            let all = value.chunks_exact(4).filter_map(|c| <[u8; 4]>::try_from(c).ok()).map(Ipv4Addr::from);
            all.take(16).map(|a| a.to_string()).collect::<Vec<_>>().join(", ")
        }
        Form::Text => text(value.strip_suffix(&[0]).unwrap_or(value)),
        Form::Seconds if value.len() == 4 => match number() {
            0xffff_ffff => "for ever".to_owned(),
            seconds => format!("{seconds} s"),
        },
        Form::Number if (1..=4).contains(&value.len()) => number().to_string(),
        _ => hex(value),
    }
}

fn option(number: u8, value: &[u8]) -> Field {
    let (name, form) = known(number).unwrap_or(("option", Form::Hex));
    let label = format!("{number} {name}");
    let (words, parts) = match number {
        code::MESSAGE_TYPE => (value.first().map_or("?", |t| message_name(*t)).to_owned(), Vec::new()),
        code::ARCH => (architectures(value), Vec::new()),
        code::UUID => (uuid(value), Vec::new()),
        code::PARAMETERS => (value.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), Vec::new()),
        code::VENDOR => (String::new(), subs(value, pxe)),
        code::IPXE => (String::new(), subs(value, ipxe)),
        code::RELAY => (String::new(), subs(value, relay)),
        94 => (interface(value), Vec::new()),
        _ => (shown(form, value), Vec::new()),
    };
    // Where an option with parts has none that can be read, its bytes are shown.
    let words = if words.is_empty() && parts.is_empty() { hex(value) } else { words };
    Field::with(&label, words, parts)
}

fn subs(value: &[u8], named: impl Fn(u8, &[u8]) -> (String, String)) -> Vec<Field> {
    let mut rest = value;
    let mut fields = Vec::new();
    loop {
        match rest {
            [code::PAD, tail @ ..] => rest = tail,
            [number, len, tail @ ..] if *number != code::END => {
                let Some((value, tail)) = tail.split_at_checked(usize::from(*len)) else {
                    fields.push(Field::new(&number.to_string(), "longer than the option that it is in"));
                    return fields;
                };
                let (name, words) = named(*number, value);
                fields.push(Field::new(&format!("{number} {name}"), words));
                rest = tail;
            }
            _ => return fields,
        }
    }
}

/// Option 43 in PXE's form (PXE 2.1, table 2-1).
fn pxe(number: u8, value: &[u8]) -> (String, String) {
    let name = match number {
        1 => "multicast address",
        2 => "multicast client port",
        3 => "multicast server port",
        4 => "multicast time-out",
        5 => "multicast delay",
        6 => "discovery control",
        7 => "discovery multicast address",
        8 => "boot servers",
        9 => "menu",
        10 => "menu prompt",
        71 => "boot item",
        _ => "",
    };
    let words = match (number, value) {
        (6, [bits]) => {
            let all = [(1, "no broadcast"), (2, "no multicast"), (4, "listed servers only"), (8, "file by name")];
            let set: Vec<&str> = all.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect();
            format!("{bits} ({})", set.join(", "))
        }
        (1 | 7, _) => shown(Form::Addresses, value),
        (8, _) => boot_servers(value),
        (9, _) => menu(value),
        (10, [seconds, prompt @ ..]) => format!("{} ({seconds} s)", text(prompt)),
        _ => hex(value),
    };
    (name.to_owned(), words)
}

fn boot_servers(value: &[u8]) -> String {
    let mut rest = value;
    let mut all = Vec::new();
    while let [a, b, count, tail @ ..] = rest {
        let Some((addresses, tail)) = tail.split_at_checked(usize::from(*count) * 4) else { break };
        all.push(format!("type {}: {}", u16::from_be_bytes([*a, *b]), shown(Form::Addresses, addresses)));
        rest = tail;
    }
    all.join("; ")
}

fn menu(value: &[u8]) -> String {
    let mut rest = value;
    let mut all = Vec::new();
    while let [a, b, len, tail @ ..] = rest {
        let Some((words, tail)) = tail.split_at_checked(usize::from(*len)) else { break };
        all.push(format!("{}: {}", u16::from_be_bytes([*a, *b]), text(words)));
        rest = tail;
    }
    all.join("; ")
}

/// Option 175 (iPXE's `dhcp.h`).
fn ipxe(number: u8, value: &[u8]) -> (String, String) {
    let name = match number {
        0x01 => "priority",
        0x08 => "keep-san",
        0x09 => "skip-san-boot",
        0x10 => "feature PXE",
        0x11 => "feature iSCSI",
        0x12 => "feature AoE",
        0x13 => "feature HTTP",
        0x14 => "feature HTTPS",
        0x15 => "feature TFTP",
        0x16 => "feature FTP",
        0x17 => "feature DNS",
        0x18 => "feature bzImage",
        0x19 => "feature multiboot",
        0x1a => "feature SLAM",
        0x1b => "feature SRP",
        0x20 => "feature NBI",
        0x21 => "feature PXE image",
        0x22 => "feature ELF",
        0x23 => "feature COMBOOT",
        0x24 => "feature EFI",
        0x25 => "feature FCoE",
        0x26 => "feature VLAN",
        0x27 => "feature menu",
        0x28 => "feature SDI",
        0x29 => "feature NFS",
        0x51 => "scriptlet",
        0x55 => "syslogs",
        0x5a => "trust",
        0x5b => "certificate",
        0x5c => "private key",
        0x5d => "cross-signing",
        176 => "no-pxedhcp",
        177 => "bus-id",
        178 => "use-cached",
        187 => "san-retry",
        188 => "san-filename",
        189 => "san-drive",
        190 => "username",
        191 => "password",
        192 => "reverse-username",
        193 => "reverse-password",
        235 => "version",
        _ => "",
    };
    let words = match (number, value) {
        (0x5c | 191 | 193, _) => "(secret)".to_owned(),
        (0x51 | 0x55 | 0x5d | 188 | 190 | 192, _) => text(value),
        (177, [kind, a, b, c, d]) => format!("type {kind}, vendor {a:02x}{b:02x}, device {c:02x}{d:02x}"),
        (235, [major, minor, patch]) => format!("{major}.{minor}.{patch}"),
        (_, [one]) => one.to_string(),
        _ => hex(value),
    };
    (name.to_owned(), words)
}

/// Option 82 (RFC 3046; RFC 3527, RFC 5107, RFC 8357).
fn relay(number: u8, value: &[u8]) -> (String, String) {
    let (name, words) = match number {
        1 => ("circuit", text(value)),
        2 => ("remote", text(value)),
        5 => ("link", shown(Form::Addresses, value)),
        6 => ("subscriber", text(value)),
        11 => ("server identifier", shown(Form::Addresses, value)),
        19 => ("source port", String::new()),
        _ => ("", hex(value)),
    };
    (name.to_owned(), words)
}

fn architectures(value: &[u8]) -> String {
    let codes = value.chunks_exact(2).filter_map(|c| c.try_into().ok()).map(u16::from_be_bytes);
    let named = |code: u16| Arch::from_code(code).map_or_else(|| code.to_string(), |arch| format!("{code} ({arch})"));
    codes.take(16).map(named).collect::<Vec<_>>().join(", ")
}

fn interface(value: &[u8]) -> String {
    match value {
        [1, major, minor] => format!("UNDI {major}.{minor}"),
        _ => hex(value),
    }
}

fn uuid(value: &[u8]) -> String {
    let bytes = value.strip_prefix(&[0]).and_then(|rest| <[u8; 16]>::try_from(rest).ok());
    bytes.map_or_else(|| hex(value), |bytes| uuid::Uuid::from_bytes_le(bytes).to_string())
}

fn message_name(kind: u8) -> &'static str {
    match kind {
        1 => "DISCOVER",
        2 => "OFFER",
        3 => "REQUEST",
        4 => "DECLINE",
        5 => "ACK",
        6 => "NAK",
        7 => "RELEASE",
        8 => "INFORM",
        _ => "unknown message",
    }
}

fn client_name(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::PxeRom => "PXE firmware",
        ClientKind::HttpBoot => "UEFI HTTP Boot",
        ClientKind::Ipxe => "iPXE",
        ClientKind::Gpxe => "gPXE",
        ClientKind::Os => "a system",
        ClientKind::Bootp => "BOOTP",
    }
}

pub(super) fn message(payload: &[u8]) -> Said {
    let packet = match Packet::decode(payload) {
        Ok(packet) => packet,
        Err(error) => {
            let line = format!("not understood: {error}");
            return Said { protocol: "DHCP", line, fields: Vec::new() };
        }
    };
    let kind = match packet.option(code::MESSAGE_TYPE) {
        Some([kind]) => message_name(*kind),
        _ if packet.op == 1 => "BOOTP request",
        _ => "BOOTP reply",
    };
    let mac = hardware(&packet);
    let mut line = format!("{kind} {} {mac}", if packet.op == 1 { "of" } else { "to" });
    if let Ok(request) = Request::parse(payload) {
        let (client, arch) = classify(&request);
        line.push_str(&format!(", {}", client_name(client)));
        line.extend(arch.map(|arch| format!(" {arch}")));
        line.extend(request.requested.map(|address| format!(", wants {address}")));
        line.extend(request.server_id.map(|server| format!(" of {server}")));
        if packet.secs > 0 {
            line.push_str(&format!(", secs {}", packet.secs));
        }
    }
    if packet.op == 2 {
        let told = [(packet.yiaddr, "address"), (packet.siaddr, "next server")];
        for (address, what) in told.iter().filter(|(address, _)| !address.is_unspecified()) {
            line.push_str(&format!(", {what} {address}"));
        }
        let file = packet.option(code::BOOT_FILE).unwrap_or(&packet.file);
        if !file.is_empty() {
            line.push_str(&format!(", file {}", text(file.strip_suffix(&[0]).unwrap_or(file))));
        }
        if let Some(root) = packet.option(code::ROOT_PATH) {
            line.push_str(&format!(", root path {}", text(root)));
        }
    }
    Said { protocol: "DHCP", line, fields: fields(&packet, mac) }
}

fn hardware(packet: &Packet) -> String {
    let len = usize::from(packet.hlen).min(packet.chaddr.len());
    let bytes = packet.chaddr.get(..len).unwrap_or_default();
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn fields(packet: &Packet, mac: String) -> Vec<Field> {
    let mut fields = vec![
        Field::new("transaction", format!("{:#010x}", packet.xid)),
        Field::new("hardware address", mac),
        Field::new("secs", packet.secs),
        Field::new("broadcast", packet.wants_broadcast()),
    ];
    let addresses = [
        ("client address", packet.ciaddr),
        ("your address", packet.yiaddr),
        ("next server", packet.siaddr),
        ("relay", packet.giaddr),
    ];
    let given = addresses.iter().filter(|(_, address)| !address.is_unspecified());
    fields.extend(given.map(|(name, address)| Field::new(name, address)));
    for (name, value) in [("server name", &packet.sname), ("file", &packet.file)] {
        if !value.is_empty() {
            fields.push(Field::new(name, text(value)));
        }
    }
    fields.extend(packet.options.iter().map(|(number, value)| option(*number, value)));
    fields
}
