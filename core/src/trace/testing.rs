//! For tests: frames, and a whole boot made of them.
#![allow(clippy::unwrap_used, reason = "code of tests")]

use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::PacketBuilder;
use jiff::Timestamp;

use super::Packet;
use crate::dhcp::wire::{Packet as Dhcp, code};
use crate::iscsi::wire::request::{Login, Request};
use crate::iscsi::wire::response::{Numbers, Response};
use crate::iscsi::wire::{Frame, Framing, Payload};
use crate::net::MacAddr;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 20);
pub(crate) const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const THEM: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
pub(crate) const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

/// Where a frame goes: link, network, ports.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) link: (MacAddr, MacAddr),
    pub(crate) ip: (Ipv4Addr, Ipv4Addr),
    pub(crate) port: (u16, u16),
}

impl Ends {
    /// From the client to the server.
    pub(crate) fn up(from: u16, to: u16) -> Self {
        Self { link: (THEM, US), ip: (CLIENT, SERVER), port: (from, to) }
    }

    /// From the server to the client.
    pub(crate) fn down(from: u16, to: u16) -> Self {
        Self { link: (US, THEM), ip: (SERVER, CLIENT), port: (from, to) }
    }

    pub(crate) fn back(self) -> Self {
        let turn = |(a, b)| (b, a);
        Self { link: (self.link.1, self.link.0), ip: (self.ip.1, self.ip.0), port: turn(self.port) }
    }
}

pub(crate) fn udp(ends: Ends, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ends.link.0.0, ends.link.1.0)
        .ipv4(ends.ip.0.octets(), ends.ip.1.octets(), 64)
        .udp(ends.port.0, ends.port.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// Flags are letters: S, A, F, R.
pub(crate) fn tcp(ends: Ends, seq: u32, ack: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2(ends.link.0.0, ends.link.1.0)
        .ipv4(ends.ip.0.octets(), ends.ip.1.octets(), 64)
        .tcp(ends.port.0, ends.port.1, seq, 1024);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(ack),
            'F' => builder.fin(),
            _ => builder.rst(),
        };
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

pub(crate) fn arp(sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr), operation: u16) -> Vec<u8> {
    let to = if operation == 1 { MacAddr::BROADCAST } else { target.0 };
    let mut frame = [&to.0[..], &sender.0.0, &[8, 6, 0, 1, 8, 0, 6, 4], &operation.to_be_bytes()].concat();
    frame.extend([&sender.0.0[..], &sender.1.octets(), &target.0.0, &target.1.octets()].concat());
    frame
}

/// A bridge's configuration message.
pub(crate) fn bpdu(bridge: MacAddr, delay: u16) -> Vec<u8> {
    let mut frame = [&[0x01, 0x80, 0xc2, 0, 0, 0][..], &bridge.0, &[0, 38, 0x42, 0x42, 3]].concat();
    let mut body = vec![0, 0, 0, 0, 0, 0x80, 0];
    body.extend(bridge.0);
    body.extend([0, 0, 0, 0, 0x80, 0]);
    body.extend(bridge.0);
    body.extend([0x80, 1, 0, 0, 20, 0, 2, 0]);
    body.extend((delay << 8).to_be_bytes());
    frame.extend(body);
    frame.resize(60, 0);
    frame
}

/// "Port unreachable" from the server about a datagram or segment of the client's.
pub(crate) fn unreachable(about: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(US.0, THEM.0)
        .ipv4(SERVER.octets(), CLIENT.octets(), 64)
        .icmpv4_raw(3, 3, [0; 4])
        .write(&mut frame, about.get(14..14 + 28).unwrap())
        .unwrap();
    frame
}

pub(crate) fn dhcp(op: u8, kind: u8, options: &[(u8, &[u8])]) -> Dhcp {
    let mut packet = Dhcp { op, xid: 0x1234, ..Dhcp::default() };
    packet.chaddr[..6].copy_from_slice(&THEM.0);
    packet.set(code::MESSAGE_TYPE, [kind]);
    for (number, value) in options {
        packet.set(*number, *value);
    }
    packet
}

pub(crate) fn dhcp_up(packet: &Dhcp) -> Vec<u8> {
    let ends =
        Ends { link: (THEM, MacAddr::BROADCAST), ip: (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), port: (68, 67) };
    udp(ends, &packet.encode(&[], 1472))
}

pub(crate) fn dhcp_down(packet: &Dhcp) -> Vec<u8> {
    dhcp_of(packet, US, SERVER)
}

/// A server's answer to all.
pub(crate) fn dhcp_of(packet: &Dhcp, mac: MacAddr, server: Ipv4Addr) -> Vec<u8> {
    let ends = Ends { link: (mac, MacAddr::BROADCAST), ip: (server, Ipv4Addr::BROADCAST), port: (67, 68) };
    udp(ends, &packet.encode(&[], 1472))
}

pub(crate) const ROM: &[(u8, &[u8])] = &[
    (code::CLASS, b"PXEClient:Arch:00007:UNDI:003016"),
    (code::ARCH, &[0, 7]),
    (code::UUID, &[0, 0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]),
];
pub(crate) const IPXE: &[(u8, &[u8])] =
    &[(code::USER_CLASS, b"iPXE"), (code::ARCH, &[0, 7]), (code::IPXE, &[0x13, 1, 1])];

/// A login's PDU with its text.
pub(crate) fn login(text: &[u8]) -> Vec<u8> {
    let login = Login {
        transit: true,
        more: false,
        stage: 1,
        next: 3,
        version_max: 0,
        version_min: 0,
        isid: [0x40, 0, 0x27, 0x23, 0, 1],
        tsih: 0,
        itt: 1,
        cid: 0,
        cmd_sn: 1,
        exp_stat_sn: 0,
    };
    pdu(Request::Login(login).encode().unwrap(), text)
}

pub(crate) fn login_answer(status: u16, text: &[u8]) -> Vec<u8> {
    let at = Numbers { stat_sn: 1, exp_cmd_sn: 1, max_cmd_sn: 8 };
    let isid = [0x40, 0, 0x27, 0x23, 0, 1];
    let (transit, more, stage, next, tsih, itt) = (status == 0, false, 1, 3, 7, 1);
    pdu(Response::Login { transit, more, stage, next, isid, tsih, itt, at, status }.encode(), text)
}

pub(crate) fn pdu(bhs: [u8; 48], data: &[u8]) -> Vec<u8> {
    Frame::new(bhs, Payload::Owned(data.to_vec()), &Framing::login(u32::MAX)).parts().concat()
}

/// A packet at so many milliseconds.
pub(crate) fn packet(millis: u64, data: Vec<u8>) -> Packet {
    let time = Timestamp::from_millisecond(1_767_225_600_000 + i64::try_from(millis).unwrap()).unwrap();
    let outgoing = Some(data.get(6..12) == Some(&US.0[..]));
    Packet { time, outgoing, original: u32::try_from(data.len()).unwrap(), data, comments: Vec::new() }
}

/// A story: frames with the time from one to the next.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) at: Duration,
    pub(crate) packets: Vec<Packet>,
}

impl Story {
    pub(crate) fn add(&mut self, millis: u64, frame: Vec<u8>) -> &mut Self {
        self.at += Duration::from_millis(millis);
        self.packets.push(packet(u64::try_from(self.at.as_millis()).unwrap(), frame));
        self
    }

    /// A whole connection in which the client asks once and the server answers once; then both end.
    pub(crate) fn exchange(&mut self, port: u16, to: u16, asked: &[u8], answer: &[u8]) -> &mut Self {
        let (up, down) = (Ends::up(port, to), Ends::down(to, port));
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let (mine, theirs) = (1000 + len(asked), 5000 + len(answer));
        self.add(1, tcp(up, 999, 0, "S", &[])).add(1, tcp(down, 4999, 1000, "SA", &[]));
        self.add(1, tcp(up, 1000, 5000, "A", &[])).add(1, tcp(up, 1000, 5000, "A", asked));
        let mut seq = 5000;
        for part in answer.chunks(1400) {
            self.add(1, tcp(down, seq, mine, "A", part));
            seq += len(part);
            self.add(1, tcp(up, mine, seq, "A", &[]));
        }
        self.add(1, tcp(down, theirs, mine, "FA", &[])).add(1, tcp(up, mine, theirs + 1, "FA", &[]));
        self.add(1, tcp(down, theirs + 1, mine + 1, "A", &[]))
    }

    /// UEFI firmware to iPXE, over TFTP and HTTP, to a login at its disk: as it should be.
    pub(crate) fn healthy() -> Self {
        let mut story = Self::default();
        story.dora(ROM, "snponly.efi");
        let (up, down) = (Ends::up(2000, 69), Ends::down(40000, 2000));
        let up_tid = Ends::up(2000, 40000);
        // The size first, as EDK2 does.
        let probe = b"\0\x01snponly.efi\0octet\0tsize\x000\0blksize\x001468\0";
        story.add(2, udp(up, probe)).add(1, udp(down, b"\0\x06tsize\x002000\0blksize\x001468\0"));
        story.add(1, udp(up_tid, b"\0\x05\0\x08User aborted\0"));
        let (up, down, up_tid) = (Ends::up(2001, 69), Ends::down(40001, 2001), Ends::up(2001, 40001));
        story.add(2, udp(up, b"\0\x01snponly.efi\0octet\0blksize\x001468\0"));
        story.add(1, udp(down, b"\0\x06blksize\x001468\0")).add(1, udp(up_tid, &[0, 4, 0, 0]));
        for (block, len) in [(1_u8, 1468), (2, 532)] {
            let data = [&[0, 3, 0, block][..], &vec![0xee; len]].concat();
            story.add(1, udp(down, &data)).add(1, udp(up_tid, &[0, 4, 0, block]));
        }
        story.dora(IPXE, "http://192.168.77.1/boot/52-54-00-00-00-01/boot.ipxe");
        let script = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n#!ipxe\nexit\n";
        story.exchange(50001, 80, b"GET /boot/boot.ipxe HTTP/1.1\r\nUser-Agent: iPXE/1.21\r\n\r\n", script);
        let kernel = [&b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"[..], &[0x55; 5000]].concat();
        story.exchange(50002, 80, b"GET /media/debian/linux HTTP/1.1\r\nUser-Agent: iPXE/1.21\r\n\r\n", &kernel);
        let text = b"InitiatorName=iqn.2010-04.org.ipxe:bench\0TargetName=iqn.x:disk\0SessionType=Normal\0";
        story.exchange(50003, 3260, &login(text), &login_answer(0, b"TargetPortalGroupTag=1\0"));
        story
    }

    pub(crate) fn dora(&mut self, client: &[(u8, &[u8])], file: &str) -> &mut Self {
        let server = SERVER.octets();
        let reply = |kind| {
            let mut packet = dhcp(2, kind, &[(code::SERVER_ID, &server), (code::LEASE_TIME, &[0, 0, 7, 8])]);
            (packet.yiaddr, packet.siaddr) = (CLIENT, SERVER);
            packet.set(code::BOOT_FILE, file.as_bytes());
            packet
        };
        let address = CLIENT.octets();
        let request = [client, &[(code::SERVER_ID, &server[..]), (code::REQUESTED, &address)]].concat();
        self.add(50, dhcp_up(&dhcp(1, 1, client))).add(1, dhcp_down(&reply(2)));
        self.add(5, dhcp_up(&dhcp(1, 3, &request))).add(1, dhcp_down(&reply(5)))
    }
}
