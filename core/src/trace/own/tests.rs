//! Frames that are made of what sockets saw, read as any others.

use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::service::{Config, Service, start};
use super::*;
use crate::api::EventKind;
use crate::dhcp::wire::code;
use crate::lab::Ports;
use crate::net::MacAddr;
use crate::trace::decode::decode;
use crate::trace::observe::{Watched, record};
use crate::trace::ring::{Held, Store};
use crate::trace::testing::{self, CLIENT, ROM, SERVER, THEM, US, login, login_answer};
use crate::trace::view::{self, Body, Segment, Transport};
use crate::trace::{Packet, file};

/// A view that runs.
struct Bench {
    tap: Tap,
    store: Store,
    service: Service,
}

impl Bench {
    fn new() -> Self {
        let (tap, store) = (Tap::default(), Store::default());
        let network =
            Watched { interface: "none".into(), mac: US, address: "192.168.77.1/24".parse().unwrap(), router: None };
        let config = Config { networks: vec![network], tcp: Ports::default(), tap: tap.clone(), store: store.clone() };
        Self { tap, store, service: start(config).unwrap() }
    }

    /// The machine is given its address.
    fn lease(&self) {
        let mut ack = testing::dhcp(2, 5, &[(code::SERVER_ID, &SERVER.octets())]);
        ack.yiaddr = CLIENT;
        let all = (std::net::Ipv4Addr::BROADCAST, 68).into();
        self.tap.sent(ours(67), all, &ack.encode(&[], 1472));
    }

    fn connection(&self, port: u16, speech: Speech) -> Connection {
        self.tap.connection(ours(port), theirs(50_000), speech)
    }

    /// What is kept of the machine in the end.
    fn held(self) -> Held {
        self.service.stop();
        self.store.rings().of(&[THEM])
    }
}

fn ours(port: u16) -> SocketAddr {
    (SERVER, port).into()
}

fn theirs(port: u16) -> SocketAddr {
    (CLIENT, port).into()
}

fn lines(packets: &[Packet]) -> Vec<String> {
    packets.iter().map(|packet| decode(packet).line).collect()
}

fn segment(packet: &Packet) -> Option<Segment<'_>> {
    match view::read(&packet.data, packet.original as usize)?.body {
        Body::Ip { transport: Transport::Tcp(tcp), .. } => Some(tcp),
        _ => None,
    }
}

/// Sums are right where all of a frame is there, and what is said of lengths is.
fn assert_sound(packets: &[Packet]) {
    for packet in packets {
        let line = decode(packet).line;
        assert!(packet.data.len() <= packet.original as usize, "{line}");
        let ip = packet.data.get(14..34).unwrap();
        let header = etherparse::Ipv4Header::from_slice(ip).unwrap().0;
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "{line}");
        assert_eq!(u32::from(header.total_len) + 14, packet.original, "{line}");
        if packet.data.len() < packet.original as usize {
            continue;
        }
        let sliced = SlicedPacket::from_ethernet(&packet.data).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("{line}") };
        match sliced.transport.as_ref().unwrap() {
            TransportSlice::Udp(udp) => {
                let sum = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload()).unwrap();
                assert_eq!(udp.checksum(), sum, "{line}");
            }
            TransportSlice::Tcp(tcp) => {
                let sum = tcp.to_header().calc_checksum_ipv4(&ip.header().to_header(), tcp.payload()).unwrap();
                assert_eq!(tcp.checksum(), sum, "{line}");
            }
            _ => panic!("{line}"),
        }
    }
}

/// Each direction's bytes follow each other, and nobody acknowledges what did not come.
fn assert_continuous(packets: &[Packet]) {
    let mut next = [None, None];
    let mut count = 0;
    for packet in packets {
        let Some(tcp) = segment(packet) else { continue };
        count += 1;
        let way = usize::from(packet.outgoing == Some(true));
        if let Some(due) = next[way] {
            assert_eq!(tcp.seq, due, "{}", decode(packet).line);
        }
        if let Some(ack) = tcp.ack {
            assert_eq!(Some(ack), next[1 - way], "{}", decode(packet).line);
        }
        let one = u32::from(tcp.syn) + u32::from(tcp.fin);
        next[way] = Some(tcp.seq.wrapping_add(u32::try_from(tcp.len).unwrap() + one));
    }
    assert!(count > 0, "no segments");
}

#[test]
fn dhcp_and_tftp_are_the_machine_s_in_order_and_read_as_what_they_are() {
    let bench = Bench::new();
    let (any, all) = ((std::net::Ipv4Addr::UNSPECIFIED, 68), (std::net::Ipv4Addr::BROADCAST, 67));
    bench.tap.received(all.into(), any.into(), &testing::dhcp(1, 1, ROM).encode(&[], 1472));
    bench.lease();
    bench.tap.received(ours(69), theirs(2001), b"\0\x01snponly.efi\0octet\0blksize\x001468\0");
    let block = |number: u8, len: usize| [&[0, 3, 0, number][..], &vec![0xee; len]].concat();
    bench.tap.sent(ours(40_001), theirs(2001), b"\0\x06blksize\x001468\0");
    for (number, len) in [(1, 1468), (2, 532)] {
        bench.tap.received(ours(40_001), theirs(2001), &[0, 4, 0, number - 1]);
        bench.tap.sent(ours(40_001), theirs(2001), &block(number, len));
    }
    bench.tap.received(ours(40_001), theirs(2001), &[0, 4, 0, 2]);
    // What is not a transfer is nobody's business.
    bench.tap.received(ours(9999), theirs(9999), b"something else");
    let held = bench.held();
    assert_sound(&held.packets);
    let lines = lines(&held.packets);
    assert_eq!(lines.len(), 9, "{lines:#?}");
    assert!(lines[0].starts_with("DISCOVER of 52:54:00:00:00:01, PXE firmware"), "{}", lines[0]);
    assert!(lines[1].starts_with("agrees to") || lines[1].contains("192.168.77.20"), "{}", lines[1]);
    assert!(lines[2].starts_with("read snponly.efi"), "{}", lines[2]);
    let data = &held.packets[5];
    assert_eq!((data.data.len(), data.original), (42 + 4, 42 + 4 + 1468), "a block is kept by its header");
    let links: Vec<_> = held
        .packets
        .iter()
        .map(|p| view::read(&p.data, p.original as usize).unwrap())
        .map(|v| (v.from, v.to))
        .collect();
    assert_eq!((links[0], links[1]), ((THEM, MacAddr::BROADCAST), (US, MacAddr::BROADCAST)));
    assert!(links[2..].iter().all(|link| *link == (THEM, US) || *link == (US, THEM)), "{links:?}");
    let told: Vec<String> = record(&held.packets).into_iter().map(|(_, told)| told.kind.name()).collect();
    for kind in ["dhcp-discover", "dhcp-ack", "tftp-request", "tftp-done"] {
        assert!(told.iter().any(|name| name == kind), "{kind} is not in {told:?}");
    }
}

#[test]
fn a_connection_s_requests_and_files_are_a_stream_that_can_be_followed() {
    const SENT: usize = 300_000;
    let bench = Bench::new();
    bench.lease();
    let mut connection = bench.connection(80, Speech::Http);
    let secret =
        "GET /answers/52-54-00-00-00-01/s3cr3t-t0ken/x.cfg HTTP/1.1\r\nHost: x\r\nAuthorization: s3cr3t\r\n\r\n";
    connection.received(secret.as_bytes(), secret.len());
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ns3cr3t-words";
    connection.sent(answer, answer.len());
    let asked = b"GET /media/debian/linux HTTP/1.1\r\nUser-Agent: iPXE/1.21\r\n\r\n";
    connection.received(asked, asked.len());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SENT}\r\n\r\n");
    connection.sent(head.as_bytes(), head.len());
    connection.sent(&[], SENT);
    connection.closed();
    connection.closed();
    drop(connection);
    let held = bench.held();
    assert_sound(&held.packets);
    assert_continuous(&held.packets);
    let bytes = file::write(&held.packets, &[]);
    assert!(!bytes.windows(6).any(|w| w == b"s3cr3t"), "a secret was kept");
    let all = lines(&held.packets);
    assert_eq!(all[1..4], ["asks for a connection", "connection accepted", &all[3]], "{all:#?}");
    assert_eq!(all.iter().filter(|line| line.starts_with("ends its side")).count(), 2, "{all:#?}");
    let told: Vec<EventKind> = record(&held.packets).into_iter().map(|(_, told)| told.kind).collect();
    let done = |kind: &EventKind| matches!(kind, EventKind::HttpDone { path, bytes, .. } if path == "/media/debian/linux" && *bytes == SENT as u64);
    assert!(told.iter().any(done), "{told:?}");
}

#[test]
fn a_cut_connection_ends_once_and_one_in_tls_is_lengths_alone() {
    let bench = Bench::new();
    bench.lease();
    let mut connection = bench.connection(443, Speech::Secure);
    connection.received(b"GET /s3cr3t HTTP/1.1\r\n\r\n", 24);
    connection.reset(true);
    connection.closed();
    drop(connection);
    let held = bench.held();
    assert_sound(&held.packets);
    assert_continuous(&held.packets);
    let all = lines(&held.packets);
    assert!(all[4].starts_with("24 bytes from"), "{all:#?}");
    assert_eq!(all[5..], ["refuses or ends the connection at once (RST)"], "{all:#?}");
    assert!(!file::write(&held.packets, &[]).windows(6).any(|w| w == b"s3cr3t"));
}

#[test]
fn a_login_is_kept_without_its_secret_and_a_disk_by_its_headers() {
    let bench = Bench::new();
    bench.lease();
    let mut connection = bench.connection(3260, Speech::Iscsi);
    let asked = login(b"InitiatorName=iqn.a\0TargetName=iqn.x:disk\0CHAP_R=0xfeedbeef\0SessionType=Normal\0");
    connection.received(&asked, asked.len());
    let told = login_answer(0, b"TargetPortalGroupTag=1\0");
    connection.sent(&told, told.len());
    let mut bhs = [0; 48];
    bhs[0] = 0x25;
    let data = testing::pdu(bhs, &[0x5a; 200_000]);
    for _ in 0..3 {
        // As a batch tells it: the header, and how long it all is.
        connection.sent(&data[..48], data.len());
    }
    drop(connection);
    let held = bench.held();
    assert_sound(&held.packets);
    assert_continuous(&held.packets);
    let bytes = file::write(&held.packets, &[]);
    let has = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
    assert!(has(b"TargetName=iqn.x:disk") && !has(b"feedbeef") && !has(&[0x5a; 4]));
    let told: Vec<EventKind> = record(&held.packets).into_iter().map(|(_, told)| told.kind).collect();
    let read = |kind: &EventKind| matches!(kind, EventKind::IscsiProgress { read: 600_000, .. });
    assert!(told.iter().any(read), "{told:?}");
}

#[test]
fn a_tap_that_is_off_takes_nothing_and_one_that_is_full_makes_nobody_wait() {
    const MANY: u64 = 100_000;
    let off = Tap::default();
    off.received(ours(69), theirs(2001), b"\0\x01f\0octet\0");
    assert!(!off.is_on() && !off.connection(ours(80), theirs(1), Speech::Http).is_on());
    let bench = Bench::new();
    bench.lease();
    bench.tap.received(ours(69), theirs(2001), b"\0\x01f\0octet\0");
    for _ in 0..MANY {
        bench.tap.sent(ours(40_001), theirs(2001), &[0, 3, 0, 9]);
    }
    let tap = bench.tap.clone();
    let held = bench.held();
    assert_eq!(
        held.packets.len() as u64 + held.gone + held.lost,
        MANY + 2,
        "each is kept, has made room or is counted"
    );
    assert!(!tap.is_on());
    tap.sent(ours(40_001), theirs(2001), &[0, 3, 0, 9]);
    assert_eq!(tap.0.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn the_view_is_there_while_it_runs() {
    let bench = Bench::new();
    bench.lease();
    let end = Instant::now() + Duration::from_secs(20);
    while bench.store.rings().of(&[THEM]).packets.is_empty() {
        assert!(Instant::now() < end, "nothing is kept");
        std::thread::sleep(Duration::from_millis(5));
    }
    bench.service.stop();
}
