//! Clients behind a relay agent.

use super::*;
use crate::lab::Subnet;

fn bench() -> Bench {
    let mut lab = lab();
    lab.networks[0].subnets = vec![Subnet {
        subnet: "10.1.0.0/24".parse().unwrap(),
        ranges: vec!["10.1.0.20-10.1.0.30".parse().unwrap()],
        router: Some(ip("10.1.0.1")),
        dns: vec![],
        domain: None,
        lease: None,
    }];
    Bench::with(lab, Mode::Dhcp)
}

fn relayed(mut packet: Packet, sub_options: &[u8]) -> Packet {
    packet.giaddr = ip("10.1.0.1");
    packet.hops = 1;
    packet.set(code::RELAY, [&[1, 4, b'e', b't', b'h', b'0'], sub_options].concat());
    packet
}

#[test]
fn the_relays_address_picks_the_subnet_and_gets_the_reply_with_its_option_last() {
    let mut b = bench();
    let (reply, offer) = b.send_to(67, "10.1.0.1:67", &relayed(discover(ALICE), &[])).unwrap();
    assert_eq!(reply.destination, Destination::Unicast("10.1.0.1:67".parse().unwrap()));
    assert!(offer.yiaddr >= ip("10.1.0.20") && offer.yiaddr <= ip("10.1.0.30"));
    assert_eq!(offer.address(code::ROUTER), Some(ip("10.1.0.1")));
    assert_eq!(offer.address(code::DNS), Some(ip("192.168.2.253")), "the network's own");
    assert_eq!(offer.options.last().map(|(c, v)| (*c, v.len())), Some((code::RELAY, 6)), "RFC 3046 2.2");
    let (_, ack) = b.send(&relayed(selecting(ALICE, offer.yiaddr), &[])).unwrap();
    assert_eq!(message(&ack), MessageType::Ack);
    let (reply, ack) = b.send(&renewing(ALICE, offer.yiaddr)).unwrap();
    assert_eq!(message(&ack), MessageType::Ack, "a renewal comes without the relay");
    assert_eq!(reply.destination, Destination::Unicast(SocketAddrV4::new(offer.yiaddr, 68)));
}

#[test]
fn a_refusal_through_a_relay_has_the_broadcast_bit() {
    let mut b = bench();
    let (reply, nak) = b.send(&relayed(rebooting(ALICE, ip("192.168.2.20")), &[])).unwrap();
    assert_eq!(message(&nak), MessageType::Nak);
    assert_eq!(nak.flags, BROADCAST_FLAG, "4.3.2 MUST");
    assert_eq!(reply.destination, Destination::Unicast("10.1.0.1:67".parse().unwrap()));
}

#[test]
fn link_and_subnet_selection_come_before_giaddr() {
    let mut b = bench();
    let mut link = relayed(discover(ALICE), &[5, 4, 10, 1, 0, 0]);
    link.giaddr = ip("172.16.0.1");
    let (reply, offer) = b.send(&link).unwrap();
    assert_eq!(offer.yiaddr.octets()[..3], [10, 1, 0], "RFC 3527");
    assert_eq!(reply.destination, Destination::Unicast("172.16.0.1:67".parse().unwrap()));
    let mut selection = relayed(discover(BOB), &[]);
    selection.giaddr = ip("172.16.0.1");
    selection.set(code::SUBNET_SELECTION, [10, 1, 0, 0]);
    assert_eq!(b.send(&selection).unwrap().1.yiaddr.octets()[..3], [10, 1, 0], "RFC 3011");
}

#[test]
fn a_relay_may_stand_in_for_us_and_choose_its_port() {
    let mut b = bench();
    let request = relayed(discover(ALICE), &[11, 4, 10, 1, 0, 1, 19, 2, 0, 0]);
    let (reply, offer) = b.send_to(67, "10.1.0.1:5000", &request).unwrap();
    assert_eq!(offer.address(code::SERVER_ID), Some(ip("10.1.0.1")), "RFC 5107");
    assert_eq!(reply.destination, Destination::Unicast("10.1.0.1:5000".parse().unwrap()), "RFC 8357");
    let mut select = relayed(selecting(ALICE, offer.yiaddr), &[11, 4, 10, 1, 0, 1]);
    select.set(code::SERVER_ID, [10, 1, 0, 1]);
    assert!(b.send(&select).is_some());
}

#[test]
fn a_subnet_that_lab_toml_does_not_describe_is_named() {
    let mut b = bench();
    let mut stranger = discover(ALICE);
    stranger.giaddr = ip("172.16.0.1");
    assert!(b.send(&stranger).is_none());
    assert!(b.silent_because()[0].contains("172.16.0.1"));
}
