//! RFC 2131's states, clause by clause.

use super::*;
use crate::machine::Machine;

#[test]
fn discover_offer_request_ack() {
    let mut b = Bench::new();
    let mut request = discover(ALICE);
    request.set(code::CLIENT_ID, [1, 2, 3]);
    request.set(code::PARAMETERS, [6, 3, 1, 15, 28]);
    let (reply, offer) = b.send(&request).unwrap();
    assert_eq!(reply.destination, Destination::Hardware { mac: ALICE, ip: offer.yiaddr }, "4.1: no broadcast bit");
    assert_eq!((offer.op, offer.xid, offer.ciaddr, offer.secs), (2, 0x1234_5678, Ipv4Addr::UNSPECIFIED, 0));
    assert_eq!(offer.address(code::SERVER_ID), Some(SERVER));
    assert_eq!(offer.option(code::LEASE_TIME), Some(&1800u32.to_be_bytes()[..]));
    assert_eq!(offer.option(code::RENEWAL), Some(&900u32.to_be_bytes()[..]), "4.4.5: T1 is half");
    assert_eq!(offer.option(code::REBINDING), Some(&1575u32.to_be_bytes()[..]), "4.4.5: T2 is 7/8");
    assert_eq!(offer.address(code::SUBNET_MASK), Some(ip("255.255.255.0")));
    assert_eq!(offer.address(code::ROUTER), Some(ip("192.168.2.254")));
    assert_eq!(offer.address(code::DNS), Some(ip("192.168.2.253")));
    assert_eq!(offer.address(code::BROADCAST), Some(ip("192.168.2.255")));
    assert_eq!(offer.option(code::DOMAIN), Some(&b"bench.lan"[..]));
    assert_eq!(offer.option(code::CLIENT_ID), Some(&[1, 2, 3][..]), "RFC 6842");
    let order: Vec<u8> = offer.options.iter().map(|(c, _)| *c).collect();
    assert_eq!(order[..8], [53, 54, 51, 6, 3, 1, 15, 28], "53 first, then as the client lists them");
    assert!(b.records.is_empty(), "an offer is no lease");

    let (_, ack) = b.send(&selecting(ALICE, offer.yiaddr)).unwrap();
    assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, offer.yiaddr));
    assert_eq!(state_of(&b, offer.yiaddr), Some(LeaseState::Bound));
    assert!(is_ack(&b.events));
}

#[test]
fn the_lease_is_on_disk_before_the_client_hears_of_it() {
    let mut b = Bench::new();
    let (_, offer) = b.send(&discover(ALICE)).unwrap();
    b.disk = None;
    assert!(b.send(&selecting(ALICE, offer.yiaddr)).is_none());
    assert!(!is_ack(&b.events));
    let ticket = b.tickets.pop().unwrap();
    b.input(Input::Committed(ticket, true));
    assert_eq!(message(&b.replies[0].1), MessageType::Ack);
    assert!(is_ack(&b.events));
}

#[test]
fn a_lease_that_cannot_be_written_is_not_given() {
    let mut b = Bench::new();
    let (_, offer) = b.send(&discover(ALICE)).unwrap();
    b.disk = Some(false);
    assert!(b.send(&selecting(ALICE, offer.yiaddr)).is_none());
    assert!(b.silent_because()[0].contains("lab.db"));
    b.disk = Some(true);
    assert!(b.send(&selecting(ALICE, offer.yiaddr)).is_some(), "the client repeats, the disk has room again");
}

#[test]
fn an_offer_is_the_same_for_each_repetition_and_nobody_elses() {
    let mut b = Bench::new();
    let first = b.send(&discover(ALICE)).unwrap().1.yiaddr;
    b.wait(16);
    assert_eq!(b.send(&discover(ALICE)).unwrap().1.yiaddr, first);
    let mut bob = discover(BOB);
    bob.set(code::REQUESTED, first.octets());
    assert_ne!(b.send(&bob).unwrap().1.yiaddr, first);
}

#[test]
fn forty_at_once_get_forty_addresses() {
    let mut lab = lab();
    lab.networks[0].ranges = vec!["192.168.2.20-192.168.2.59".parse().unwrap()];
    let mut b = Bench::with(lab, Mode::Dhcp);
    let mac = |i| MacAddr([2, 0, 0, 0, 1, i]);
    let offered: Vec<_> = (0..40).map(|i| b.send(&discover(mac(i))).unwrap().1.yiaddr).collect();
    for (i, address) in offered.iter().enumerate() {
        let (_, ack) = b.send(&selecting(mac(i as u8), *address)).unwrap();
        assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, *address));
    }
    let distinct: std::collections::BTreeSet<_> = offered.into_iter().collect();
    assert_eq!(distinct.len(), 40);
}

#[test]
fn a_wished_address_is_given_if_it_is_free_and_ours_to_give() {
    let mut b = Bench::new();
    for (wish, granted) in [("192.168.2.25", true), ("192.168.2.1", false), ("10.0.0.1", false)] {
        let mut request = discover(MacAddr([2, 0, 0, 0, 2, wish.len() as u8]));
        request.set(code::REQUESTED, ip(wish).octets());
        assert_eq!(b.send(&request).unwrap().1.yiaddr == ip(wish), granted, "{wish}");
    }
}

#[test]
fn selecting_another_server_is_met_with_silence_and_frees_the_offer() {
    let mut b = Bench::new();
    let address = b.send(&discover(ALICE)).unwrap().1.yiaddr;
    let mut other = selecting(ALICE, ip("192.168.2.77"));
    other.set(code::SERVER_ID, [192, 168, 2, 9]);
    assert!(b.send(&other).is_none());
    let mut bob = discover(BOB);
    bob.set(code::REQUESTED, address.octets());
    assert_eq!(b.send(&bob).unwrap().1.yiaddr, address);
}

#[test]
fn init_reboot_of_a_known_client_is_acknowledged_of_an_unknown_one_unanswered() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let (_, ack) = b.send(&rebooting(ALICE, address)).unwrap();
    assert_eq!(message(&ack), MessageType::Ack);
    let free = if address == ip("192.168.2.28") { "192.168.2.29" } else { "192.168.2.28" };
    assert!(b.send(&rebooting(BOB, ip(free))).is_none(), "4.3.2: no record, so silence");
}

#[test]
fn init_reboot_on_the_wrong_network_is_refused_by_broadcast() {
    let mut b = Bench::new();
    let (reply, nak) = b.send(&rebooting(BOB, ip("10.9.9.9"))).unwrap();
    assert_eq!(message(&nak), MessageType::Nak);
    assert_eq!(reply.destination, Destination::Broadcast, "4.3.2: the client may have the wrong address");
    assert_eq!((nak.yiaddr, nak.ciaddr), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
    assert!(nak.option(code::LEASE_TIME).is_none());
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    for request in [rebooting(BOB, address), selecting(BOB, address), renewing(BOB, address)] {
        assert_eq!(message(&b.send(&request).unwrap().1), MessageType::Nak);
    }
}

#[test]
fn renewing_and_rebinding_extend_and_are_answered_at_the_address() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    b.wait(900);
    let before = b.records.last().unwrap().expires;
    let (reply, ack) = b.send(&renewing(ALICE, address)).unwrap();
    assert_eq!((message(&ack), ack.ciaddr, ack.yiaddr), (MessageType::Ack, address, address));
    assert_eq!(reply.destination, Destination::Unicast(SocketAddrV4::new(address, 68)), "4.1: ciaddr");
    assert!(b.records.last().unwrap().expires > before);
    let free = if address == ip("192.168.2.28") { "192.168.2.29" } else { "192.168.2.28" };
    assert!(b.send(&renewing(BOB, ip(free))).is_none(), "a stranger's rebinding is not ours to judge");
}

#[test]
fn the_broadcast_bit_is_obeyed() {
    let mut b = Bench::new();
    let request = Packet { flags: BROADCAST_FLAG, ..discover(ALICE) };
    let (reply, offer) = b.send(&request).unwrap();
    assert_eq!((reply.destination, offer.flags), (Destination::Broadcast, BROADCAST_FLAG));
}

#[test]
fn a_discover_with_a_ciaddr_is_answered_as_one_without() {
    let mut b = Bench::new();
    let (reply, offer) = b.send(&Packet { ciaddr: ip("192.168.2.99"), ..discover(ALICE) }).unwrap();
    assert_eq!(offer.ciaddr, Ipv4Addr::UNSPECIFIED);
    assert!(matches!(reply.destination, Destination::Hardware { .. }));
}

#[test]
fn inform_gets_parameters_and_no_lease() {
    let mut b = Bench::new();
    let inform = Packet { ciaddr: ip("192.168.2.200"), ..packet(ALICE, Some(MessageType::Inform)) };
    let (reply, ack) = b.send_to(67, "192.168.2.200:68", &inform).unwrap();
    assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, Ipv4Addr::UNSPECIFIED));
    assert!(ack.option(code::LEASE_TIME).is_none() && ack.option(code::RENEWAL).is_none(), "4.3.5");
    assert!(ack.option(code::ROUTER).is_some());
    assert_eq!(reply.destination, Destination::Unicast("192.168.2.200:68".parse().unwrap()));
    let without = packet(ALICE, Some(MessageType::Inform));
    let (reply, _) = b.send_to(67, "192.168.2.200:68", &without).unwrap();
    assert_eq!(reply.destination, Destination::Unicast("192.168.2.200:68".parse().unwrap()), "the packet's source");
    let far = Packet { ciaddr: ip("8.8.8.8"), ..packet(ALICE, Some(MessageType::Inform)) };
    assert!(b.send(&far).is_none(), "no reflector");
}

#[test]
fn an_address_that_a_packet_merely_claims_becomes_nobodys() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    b.bound.clear();
    // Another machine says that it has Alice's address: as news, as a renewal, and in a DISCOVER.
    for kind in [MessageType::Inform, MessageType::Request, MessageType::Discover] {
        b.send(&Packet { ciaddr: address, ..packet(BOB, Some(kind)) });
    }
    assert!(!b.events.is_empty());
    assert!(!b.bound.contains(&address.into()), "scripts and disks of {address} would go to another machine");
}

#[test]
fn a_released_address_waits_for_its_machine_and_goes_to_others_last() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let release = Packet { ciaddr: address, ..packet(ALICE, Some(MessageType::Release)) };
    assert!(b.send(&release).is_none());
    assert_eq!(state_of(&b, address), Some(LeaseState::Released));
    for i in 0..9 {
        assert_ne!(b.dora(MacAddr([2, 0, 0, 0, 3, i])), address);
    }
    assert_eq!(b.send(&discover(ALICE)).unwrap().1.yiaddr, address, "sticky");
    b.wait(61);
    assert_eq!(b.send(&discover(BOB)).unwrap().1.yiaddr, address, "the only one left");
}

#[test]
fn a_declined_address_is_withheld_for_ten_minutes() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let mut decline = packet(ALICE, Some(MessageType::Decline));
    decline.set(code::REQUESTED, address.octets());
    decline.set(code::SERVER_ID, SERVER.octets());
    assert!(b.send(&decline).is_none());
    assert_eq!(state_of(&b, address), Some(LeaseState::Declined));
    assert_ne!(b.dora(ALICE), address);
    for i in 0..8 {
        assert_ne!(b.dora(MacAddr([2, 0, 0, 0, 3, i])), address);
    }
    assert!(b.send(&discover(BOB)).is_none(), "all others are taken");
    assert!(b.silent_because().last().unwrap().contains("are taken"));
    b.wait(601);
    assert_eq!(b.send(&discover(BOB)).unwrap().1.yiaddr, address);
}

#[test]
fn only_the_holder_can_release_or_decline() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let mut decline = packet(BOB, Some(MessageType::Decline));
    decline.set(code::REQUESTED, address.octets());
    b.send(&decline);
    b.send(&Packet { ciaddr: address, ..packet(BOB, Some(MessageType::Release)) });
    assert_eq!(state_of(&b, address), Some(LeaseState::Bound));
    assert!(b.send(&rebooting(ALICE, address)).is_some());
}

#[test]
fn a_machine_has_one_lease_whatever_its_client_identifier() {
    let mut b = Bench::new();
    let mut addresses = vec![];
    for id in [&[1u8, 2][..], &[255, 9, 9, 9], &[]] {
        let mut request = discover(ALICE);
        request.set(code::CLIENT_ID, id);
        addresses.push(b.send(&request).unwrap().1.yiaddr);
        b.dora(ALICE);
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 1);
}

#[test]
fn the_client_may_ask_for_another_lease_time_up_to_the_maximum() {
    let mut b = Bench::new();
    for (wish, given) in [(3600u32, 3600u32), (u32::MAX, 86_400), (1, 60)] {
        let mut request = discover(ALICE);
        request.set(code::LEASE_TIME, wish.to_be_bytes());
        let (_, offer) = b.send(&request).unwrap();
        assert_eq!(offer.option(code::LEASE_TIME), Some(&given.to_be_bytes()[..]));
    }
}

#[test]
fn leases_outlive_a_restart_and_a_clock_that_jumps_back() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let records = b.records.clone();
    let mut after = Bench::restored(plan_of(lab(), Mode::Dhcp), records);
    after.now.wall = b.now.wall.checked_sub(jiff::SignedDuration::from_hours(24 * 365)).unwrap();
    assert_eq!(message(&after.send(&rebooting(ALICE, address)).unwrap().1), MessageType::Ack);
    let mut bob = discover(BOB);
    bob.set(code::REQUESTED, address.octets());
    assert_ne!(after.send(&bob).unwrap().1.yiaddr, address);
    after.wait(600);
    after.now.wall = after.now.wall.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap();
    assert_eq!(message(&after.send(&renewing(ALICE, address)).unwrap().1), MessageType::Ack);
}

#[test]
fn a_lease_ends_when_its_time_is_over_and_stays_its_owners_favourite() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    b.wait(1801);
    assert_eq!(b.send(&discover(ALICE)).unwrap().1.yiaddr, address);
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    b.wait(1);
    for i in 0..9 {
        b.dora(MacAddr([2, 0, 0, 0, 3, i]));
    }
    assert!(b.send(&discover(BOB)).is_none());
    b.wait(1801);
    assert_eq!(b.send(&discover(BOB)).unwrap().1.yiaddr, address, "the one unused for longest");
}

#[test]
fn a_reserved_address_is_its_hosts_alone() {
    let mut lab = lab();
    let reserved = ip("192.168.2.22");
    lab.hosts = vec![Host { address: Some(reserved), ..host(ALICE) }];
    let mut b = Bench::with(lab, Mode::Dhcp);
    let mut bob = discover(BOB);
    bob.set(code::REQUESTED, reserved.octets());
    assert_ne!(b.send(&bob).unwrap().1.yiaddr, reserved);
    assert_eq!(b.dora(ALICE), reserved);
    assert_eq!(message(&b.send(&rebooting(ALICE, ip("192.168.2.29"))).unwrap().1), MessageType::Nak);
}

#[test]
fn a_new_reservation_moves_a_machine_at_its_next_boot_not_while_it_runs() {
    let mut b = Bench::new();
    let old = b.dora(ALICE);
    let mut lab = lab();
    lab.hosts = vec![Host { address: Some(ip("192.168.2.200")), ..host(ALICE) }];
    b.input(Input::Plan(plan_of(lab, Mode::Dhcp)));
    assert_eq!(message(&b.send(&renewing(ALICE, old)).unwrap().1), MessageType::Ack, "its disk hangs on the address");
    assert_eq!(message(&b.send(&rebooting(ALICE, old)).unwrap().1), MessageType::Nak);
    assert_eq!(b.dora(ALICE), ip("192.168.2.200"));
    assert_eq!(state_of(&b, old), Some(LeaseState::Released));
}

#[test]
fn sharers_of_a_mac_are_told_apart_by_uuid_and_an_os_without_one_keeps_its_address() {
    let uuid = |n: u128| uuid::Uuid::from_u128(n);
    let mut lab = lab();
    lab.hosts = vec![
        Host { uuid: Some(uuid(1)), address: Some(ip("192.168.2.21")), ..host(ALICE) },
        Host { uuid: Some(uuid(2)), address: Some(ip("192.168.2.22")), ..host(ALICE) },
    ];
    let mut b = Bench::with(lab, Mode::Dhcp);
    let with = |mut packet: Packet, n| {
        packet.set(code::UUID, [&[0][..], &uuid(n).to_bytes_le()].concat());
        packet
    };
    for (n, address) in [(1, "192.168.2.21"), (2, "192.168.2.22")] {
        assert_eq!(b.send(&with(discover(ALICE), n)).unwrap().1.yiaddr, ip(address));
        assert!(b.send(&with(selecting(ALICE, ip(address)), n)).is_some());
    }
    assert_eq!(b.send(&discover(ALICE)).unwrap().1.yiaddr, ip("192.168.2.22"), "the last one here");
    assert_eq!(message(&b.send(&rebooting(ALICE, ip("192.168.2.21"))).unwrap().1), MessageType::Ack);
}

#[test]
fn a_machine_whose_uuid_is_taken_out_of_lab_toml_keeps_the_address_that_it_runs_with() {
    let uuid = uuid::Uuid::from_u128(1);
    let mut lab = lab();
    lab.hosts = vec![Host { uuid: Some(uuid), ..host(ALICE) }];
    let mut b = Bench::with(lab.clone(), Mode::Dhcp);
    let with = |mut packet: Packet| {
        packet.set(code::UUID, [&[0][..], &uuid.to_bytes_le()].concat());
        packet
    };
    let address = b.send(&with(discover(ALICE))).unwrap().1.yiaddr;
    assert!(b.send(&with(selecting(ALICE, address))).is_some());
    for hosts in [vec![host(ALICE)], Vec::new()] {
        lab.hosts = hosts;
        b.input(Input::Plan(plan_of(lab.clone(), Mode::Dhcp)));
        let (_, ack) = b.send(&renewing(ALICE, address)).unwrap();
        assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, address), "it runs from its disk");
        assert_eq!(b.send(&with(discover(ALICE))).unwrap().1.yiaddr, address, "its firmware finds it, too");
        assert_eq!(b.send(&discover(ALICE)).unwrap().1.yiaddr, address);
    }
    assert_ne!(b.send(&discover(BOB)).unwrap().1.yiaddr, address);
}

#[test]
fn without_a_range_the_free_part_of_the_subnet_is_given() {
    let mut lab = lab();
    lab.networks[0].ranges.clear();
    let mut b = Bench::with(lab, Mode::Dhcp);
    let given: std::collections::BTreeSet<_> = (0..251).map(|i| b.dora(MacAddr([2, 0, 0, 0, 4, i]))).collect();
    assert_eq!(given.len(), 251);
    for never in ["192.168.2.0", "192.168.2.1", "192.168.2.253", "192.168.2.254", "192.168.2.255"] {
        assert!(!given.contains(&ip(never)), "{never}");
    }
}

#[test]
fn bootp_gets_an_address_and_a_file_without_dhcp_options() {
    let mut b = Bench::new();
    let (_, reply) = b.send(&packet(ALICE, None)).unwrap();
    assert!(!reply.yiaddr.is_unspecified());
    assert_eq!((reply.file.as_slice(), reply.siaddr), (&b"undionly.kpxe"[..], SERVER));
    assert!(reply.option(code::MESSAGE_TYPE).is_none() && reply.option(code::LEASE_TIME).is_none());
    assert_eq!(state_of(&b, reply.yiaddr), Some(LeaseState::Bound));
}

#[test]
fn bootp_of_before_there_were_options_is_answered_in_kind() {
    let mut b = Bench::new();
    let mut bytes = packet(ALICE, None).encode(&[], 0);
    bytes[236..].fill(0);
    b.input(Input::Packet { network: 0, port: 67, source: "0.0.0.0:68".parse().unwrap(), bytes: &bytes });
    let (reply, packet) = b.replies.pop().unwrap();
    assert_eq!(reply.bytes.len(), 300, "RFC 951: the whole structure");
    assert!(reply.bytes[236..].iter().all(|byte| *byte == 0), "a client that knows no options gets none");
    assert_eq!((packet.file.as_slice(), packet.siaddr), (&b"undionly.kpxe"[..], SERVER));
    assert_eq!(state_of(&b, packet.yiaddr), Some(LeaseState::Bound));
    // Another cookie is neither.
    bytes[236] = 99;
    b.replies.clear();
    b.input(Input::Packet { network: 0, port: 67, source: "0.0.0.0:68".parse().unwrap(), bytes: &bytes });
    assert!(b.replies.is_empty());
}

#[test]
fn another_server_stops_offers_and_refusals_but_not_renewals() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    b.input(Input::Foreign { network: 0, server: ip("192.168.2.9") });
    assert!(b.send(&discover(BOB)).is_none());
    assert!(b.silent_because()[0].contains("192.168.2.9"));
    assert!(b.send(&rebooting(BOB, ip("10.0.0.1"))).is_none(), "no NAK for the other server's client");
    assert_eq!(message(&b.send(&renewing(ALICE, address)).unwrap().1), MessageType::Ack);
    b.wait(601);
    assert!(b.send(&discover(BOB)).is_some(), "it has gone");

    let mut lab = lab();
    lab.networks[0].force = true;
    let mut forced = Bench::with(lab, Mode::Dhcp);
    forced.input(Input::Foreign { network: 0, server: ip("192.168.2.9") });
    assert!(forced.send(&discover(BOB)).is_some());
}

#[test]
fn what_is_no_request_of_a_station_is_unanswered() {
    let mut b = Bench::new();
    assert!(b.send(&Packet { op: 2, ..discover(ALICE) }).is_none());
    assert!(b.send(&discover(MacAddr::BROADCAST)).is_none());
    assert!(b.send(&discover(MacAddr::default())).is_none());
    assert!(b.send(&packet(ALICE, Some(MessageType::Request))).is_none(), "neither 50 nor ciaddr");
    let mut unknown = discover(ALICE);
    unknown.set(code::MESSAGE_TYPE, [99]);
    assert!(b.send(&unknown).is_none());
    let mut bytes = discover(ALICE).encode(&[], 0);
    bytes[2] = 17;
    b.input(Input::Packet { network: 0, port: 67, source: "0.0.0.0:68".parse().unwrap(), bytes: &bytes });
    b.input(Input::Packet { network: 9, port: 67, source: "0.0.0.0:68".parse().unwrap(), bytes: &bytes });
    assert!(b.replies.is_empty() && b.machine.poll().is_none());
}

#[test]
fn a_lab_toml_that_is_changed_takes_no_lease_away() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let mut lab = lab();
    lab.networks[0].lease = crate::lab::Lease { default: Duration::from_secs(600), max: Duration::from_secs(3600) };
    lab.networks[0].domain = Some("other.lan".into());
    b.input(Input::Plan(plan_of(lab, Mode::Dhcp)));
    let (_, ack) = b.send(&renewing(ALICE, address)).unwrap();
    assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, address));
    assert_eq!(ack.option(code::LEASE_TIME), Some(&600_u32.to_be_bytes()[..]), "the new time holds from here on");
    let (_, offer) = b.send(&discover(BOB)).unwrap();
    assert_ne!(offer.yiaddr, address, "nobody else gets it");
}
