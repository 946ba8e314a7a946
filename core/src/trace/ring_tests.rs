use std::net::Ipv4Addr;

use super::*;
use crate::trace::testing::{
    CLIENT, Ends, ROUTER, SERVER, Story, THEM, US, arp, bpdu, dhcp, dhcp_down, packet, tcp, udp,
};

fn push(rings: &mut Rings, frame: Vec<u8>, bulk: bool) {
    let kept = Kept { data: frame.clone(), bulk };
    rings.push(packet(1, frame), kept, |mac| mac == US);
}

#[test]
fn bulk_does_not_push_out_talk_and_both_are_bounded() {
    let mut rings = Rings::default();
    push(&mut rings, udp(Ends::up(2000, 69), b"\0\x01first\0octet\0"), false);
    for n in 0..20_000_u32 {
        push(&mut rings, tcp(Ends::down(80, 50000), n, 1, "A", &[]), true);
    }
    let held = rings.of(&[THEM]);
    assert!(held.packets[0].data.windows(5).any(|w| w == b"first"), "the request is still there");
    let bytes: usize = held.packets.iter().map(Packet::cost).sum();
    assert!(bytes <= HOST_BYTES / 2 + 200 && held.gone > 10_000, "{bytes} {}", held.gone);
    assert_eq!(held.packets.len() as u64 + held.gone, 20_001);
    assert_eq!(rings.bytes(), bytes);
}

#[test]
fn all_machines_together_are_bounded_and_the_quiet_go_first() {
    let mut rings = Rings::default();
    let of = |n: u8| MacAddr([0x52, 0x54, 0, 0, 1, n]);
    let frame = |n: u8| {
        let mut frame = udp(Ends::up(2000, 69), &[n; 1400]);
        frame[6..12].copy_from_slice(&of(n).0);
        // Each has an address of its own.
        frame[29] = n;
        frame
    };
    for n in 0..200 {
        for _ in 0..400 {
            push(&mut rings, frame(n), false);
        }
        assert!(rings.bytes() <= ALL_BYTES);
    }
    assert!(rings.of(&[of(0)]).packets.is_empty(), "the first made room");
    assert!(!rings.of(&[of(199)]).packets.is_empty());
    assert!(rings.hosts.len() > 40);
}

#[test]
fn a_machine_s_packets_are_its_own_by_dhcp_by_address_and_by_hardware() {
    let mut rings = Rings::default();
    let story = Story::healthy();
    for p in &story.packets {
        let kept = Kept { data: p.data.clone(), bulk: false };
        rings.push(p.clone(), kept, |mac| mac == US);
    }
    push(&mut rings, bpdu(MacAddr([2, 9, 9, 9, 9, 9]), 15), false);
    // Its address, but the frame came through a router.
    let mut routed = udp(Ends::up(2009, 69), b"\0\x01routed\0octet\0");
    routed[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0xfe]);
    push(&mut rings, routed, false);
    let mut other = udp(Ends::up(2009, 69), b"\0\x01other\0octet\0");
    other[6..12].copy_from_slice(&[2, 7, 7, 7, 7, 7]);
    other[26..30].copy_from_slice(&[192, 168, 77, 99]);
    push(&mut rings, other, false);
    let held = rings.of(&[THEM]);
    assert_eq!(held.packets.len(), story.packets.len() + 2, "all of its own, the routed one and the bridge's");
    assert!(rings.of(&[MacAddr([2, 6, 6, 6, 6, 6])]).packets.is_empty(), "a stranger has not even the bridge's");
    assert_eq!((CLIENT.octets()[3], SERVER.octets()[3]), (20, 1));
}

#[test]
fn a_client_on_infiniband_is_nobody_whose_address_its_number_begins_with() {
    let mut rings = Rings::default();
    let story = Story::healthy();
    for p in &story.packets {
        rings.push(p.clone(), Kept { data: p.data.clone(), bulk: false }, |mac| mac == US);
    }
    let before = rings.of(&[THEM]).packets.len();
    // Its number begins with the bytes of a machine here; a relay passes on what it says, and it gets the address that this machine had.
    let of = |op, kind, options: &[(u8, &[u8])]| {
        let mut packet = dhcp(op, kind, options);
        (packet.htype, packet.hlen, packet.giaddr) = (32, 16, Ipv4Addr::new(192, 168, 77, 254));
        packet
    };
    let mut ack = of(2, 5, &[]);
    ack.yiaddr = CLIENT;
    let by_relay = |packet: &Dhcp, ends: Ends| udp(ends, &packet.encode(&[], 1472));
    let up = Ends { link: (ROUTER, US), ip: ([192, 168, 77, 254].into(), SERVER), port: (67, 67) };
    push(&mut rings, by_relay(&of(1, 1, &[]), up), false);
    push(&mut rings, by_relay(&ack, up.back()), false);
    push(&mut rings, dhcp_down(&ack), false);
    let routed = Ends { link: (ROUTER, US), ..Ends::up(2009, 69) };
    push(&mut rings, udp(routed, b"\0\x01routed\0octet\0"), false);
    assert_eq!(rings.of(&[THEM]).packets.len(), before, "nothing of it is this machine's");
    assert_eq!(rings.of(&[ROUTER]).packets.len(), 3, "what the relay sent and got is the relay's");
}

#[test]
fn stations_that_only_ask_who_has_an_address_push_out_no_machine_that_boots() {
    let mut rings = Rings::default();
    for p in &Story::healthy().packets {
        rings.push(p.clone(), Kept { data: p.data.clone(), bulk: false }, |mac| mac == US);
    }
    let before = rings.of(&[THEM]).packets.len();
    let station = |n: u16| {
        let [high, low] = n.to_be_bytes();
        MacAddr([2, 0xaa, 0, 0, high, low])
    };
    for n in 0..3000 {
        let ends = ((station(n), [192, 168, 77, 200].into()), (MacAddr([0; 6]), SERVER));
        push(&mut rings, arp(ends.0, ends.1, 1), false);
    }
    assert_eq!(rings.of(&[THEM]).packets.len(), before);
    assert!(!rings.of(&[station(2999)]).packets.is_empty(), "among themselves the newest stay");
    // Nor do those that ask for a file under ever new names.
    let asks = |n: u16| {
        let mut frame = udp(Ends::up(2000, 69), b"\0\x01f\0octet\0");
        frame[6..12].copy_from_slice(&station(n).0);
        frame[26..30].copy_from_slice(&[10, 9, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        frame
    };
    for n in 5000..8000 {
        push(&mut rings, asks(n), false);
    }
    assert_eq!(rings.of(&[THEM]).packets.len(), before);
    // Where all ask for something, one that is merely present has no place, and one that asks has the oldest's.
    push(&mut rings, arp((station(1), [192, 168, 77, 200].into()), (MacAddr([0; 6]), SERVER), 1), false);
    assert!(rings.of(&[station(1)]).packets.is_empty());
    assert!(rings.of(&[station(7000)]).packets.is_empty() && !rings.of(&[station(7999)]).packets.is_empty());
}
