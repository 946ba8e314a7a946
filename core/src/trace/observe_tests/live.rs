//! Beside our servers.

use super::*;
use crate::dhcp::wire::code;
use crate::trace::testing::{
    Ends, IPXE, ROM, ROUTER, SERVER, arp, bpdu, dhcp, dhcp_of, dhcp_up, tcp, udp, unreachable,
};

const RRQ: &[u8] = b"\0\x01snponly.efi\0octet\0";

#[test]
fn a_healthy_boot_is_not_worth_a_word() {
    let mut bench = Bench::new();
    assert_eq!(bench.play(&Story::healthy()), vec![]);
    assert_eq!(bench.wait(SECOND * 120), vec![]);
    // Nor is the next one of the same machine.
    assert_eq!(bench.play(&Story::healthy()), vec![]);
}

#[test]
fn a_request_that_nobody_answers_is_told_after_two_seconds_and_again_when_it_doubles() {
    let mut bench = Bench::new();
    let mut story = Story::default();
    story.dora(ROM, "snponly.efi");
    assert_eq!(bench.play(&story), vec![]);
    assert_eq!(bench.frame(&udp(Ends::up(2000, 69), RRQ)), vec![]);
    assert_eq!(bench.wait(SECOND * 19 / 10), vec![], "it is not two seconds yet");
    let told = bench.wait(SECOND / 5);
    assert_eq!(told, vec![Observation::of(them(), unheard(ServiceKind::Tftp, 69, 1, false))]);
    // From another port, as firmware asks again.
    assert_eq!(kinds(bench.frame(&udp(Ends::up(2001, 69), RRQ))), vec![unheard(ServiceKind::Tftp, 69, 2, false)]);
    assert_eq!(bench.frame(&udp(Ends::up(2001, 69), RRQ)), vec![]);
    assert_eq!(kinds(bench.frame(&udp(Ends::up(2001, 69), RRQ))), vec![unheard(ServiceKind::Tftp, 69, 4, false)]);
}

#[test]
fn an_answer_on_the_wire_or_the_server_s_own_word_is_enough() {
    let mut bench = Bench::new();
    bench.frame(&udp(Ends::up(2000, 69), RRQ));
    bench.frame(&udp(Ends::down(40000, 2000), b"\0\x05\0\x01no\0"));
    bench.frame(&udp(Ends::up(2001, 69), RRQ));
    bench.told(Who::ip(CLIENT), EventKind::TftpRequest { file: "snponly.efi".into(), options: vec![] });
    assert_eq!(bench.wait(SECOND * 10), vec![]);
}

#[test]
fn a_closed_port_is_told_at_once() {
    let mut bench = Bench::new();
    let asked = udp(Ends::up(2000, 69), RRQ);
    bench.frame(&asked);
    assert_eq!(kinds(bench.frame(&unreachable(&asked))), vec![unheard(ServiceKind::Tftp, 69, 1, true)]);
    let syn = Ends::up(50000, 3260);
    bench.frame(&tcp(syn, 1, 0, "S", &[]));
    let told = bench.frame(&tcp(syn.back(), 0, 2, "RA", &[]));
    assert_eq!(kinds(told), vec![unheard(ServiceKind::Iscsi, 3260, 1, true)]);
    assert_eq!(bench.wait(SECOND * 10), vec![], "and once");
}

#[test]
fn a_reset_of_an_older_connection_says_nothing_of_the_next_one() {
    let mut bench = Bench::new();
    bench.frame(&tcp(Ends::up(50000, 80), 1, 0, "S", &[]));
    assert_eq!(bench.frame(&tcp(Ends::down(80, 49999), 9, 0, "R", &[])), vec![]);
    bench.frame(&tcp(Ends::down(80, 50000), 1, 2, "SA", &[]));
    assert_eq!(bench.wait(SECOND * 10), vec![]);
}

#[test]
fn a_connection_that_is_dropped_and_one_that_is_accepted() {
    let mut bench = Bench::new();
    let (dropped, taken) = (Ends::up(50000, 80), Ends::up(50001, 443));
    bench.frame(&tcp(dropped, 1, 0, "S", &[]));
    bench.frame(&tcp(taken, 1, 0, "S", &[]));
    bench.frame(&tcp(taken.back(), 1, 2, "SA", &[]));
    bench.wait(SECOND);
    bench.frame(&tcp(dropped, 1, 0, "S", &[]));
    let told = bench.wait(SECOND * 2);
    assert_eq!(kinds(told), vec![unheard(ServiceKind::Http, 80, 2, false)]);
    // Later it is accepted after all, and asked again it is another story.
    bench.frame(&tcp(dropped, 1, 0, "S", &[]));
    bench.frame(&tcp(dropped.back(), 1, 2, "SA", &[]));
    assert_eq!(bench.wait(SECOND * 10), vec![]);
}

#[test]
fn other_ports_and_other_computers_are_none_of_ours() {
    let mut bench = Bench::new();
    bench.frame(&tcp(Ends::up(50000, 22), 1, 0, "S", &[]));
    let mut elsewhere = Ends::up(2000, 69);
    elsewhere.ip.1 = STRANGER.1;
    bench.frame(&udp(elsewhere, RRQ));
    let mut to_wds = Ends::up(68, 4011);
    to_wds.ip.1 = STRANGER.1;
    bench.frame(&udp(to_wds, &dhcp(1, 3, ROM).encode(&[], 1472)));
    assert_eq!(bench.wait(SECOND * 10), vec![]);
}

#[test]
fn a_connection_elsewhere_that_this_computer_only_routes_is_none_of_ours() {
    let mut bench = Bench::new();
    let mut elsewhere = Ends::up(50000, 443);
    elsewhere.ip.1 = Ipv4Addr::new(192, 0, 2, 7);
    bench.frame(&tcp(elsewhere, 1, 0, "S", &[]));
    assert_eq!(bench.wait(SECOND * 10), vec![], "that nobody answers there");
    // It leaves with our hardware address.
    assert_eq!(bench.frame(&tcp(elsewhere.back(), 0, 2, "RA", &[])), vec![]);
    bench.frame(&tcp(elsewhere, 1, 0, "S", &[]));
    bench.frame(&tcp(elsewhere.back(), 1, 2, "SA", &[]));
    for _ in 0..10 {
        assert_eq!(bench.frame(&tcp(elsewhere, 2, 2, "A", b"lost again and again")), vec![]);
        assert_eq!(bench.frame(&tcp(elsewhere.back(), 2, 2, "A", b"and back")), vec![]);
    }
}

#[test]
fn the_boot_server_s_port_is_watched_unless_the_machine_is_left_alone() {
    let mut bench = Bench::new();
    let request = dhcp(1, 3, ROM).encode(&[], 1472);
    let asked = udp(Ends::up(68, 4011), &request);
    bench.frame(&asked);
    let told = bench.wait(SECOND * 3);
    assert_eq!(told, vec![Observation::of(them(), unheard(ServiceKind::Pxe, 4011, 1, false))]);
    bench.frame(&udp(Ends::down(4011, 68), &dhcp(2, 5, &[]).encode(&[], 1472)));
    assert_eq!(bench.wait(SECOND * 100), vec![]);
    let reason = String::new();
    bench.told(Who::mac(THEM), EventKind::DhcpIgnored { client: crate::api::ClientKind::PxeRom, reason });
    bench.frame(&asked);
    assert_eq!(bench.wait(SECOND * 10), vec![]);
}

#[test]
fn another_server_s_offer_is_told_with_what_is_in_it() {
    let mut bench = Bench::new();
    bench.frame(&dhcp_up(&dhcp(1, 1, ROM)));
    let server = STRANGER.1;
    let mut offer = dhcp(2, 2, &[(code::SERVER_ID, &server.octets()), (code::BOOT_FILE, b"pxelinux.0\0")]);
    (offer.yiaddr, offer.siaddr) = (Ipv4Addr::new(192, 168, 77, 120), server);
    let frame = dhcp_of(&offer, STRANGER.0, server);
    let told = bench.frame(&frame);
    let expected = EventKind::ForeignOffer {
        server,
        server_mac: Some(STRANGER.0),
        ack: false,
        address: Some(offer.yiaddr),
        file: Some("pxelinux.0".into()),
        next_server: Some(server),
    };
    assert_eq!(told, vec![Observation::of(Who::mac(THEM), expected)]);
    assert_eq!(bench.frame(&frame), vec![], "once");
    // The answer to our own question is for no machine.
    let mut probe = offer.clone();
    probe.chaddr[..6].copy_from_slice(&US.0);
    assert_eq!(bench.frame(&dhcp_of(&probe, STRANGER.0, server)), vec![]);
    // Ours, heard as it leaves, and ours with another hardware address are no other server's.
    let ours = dhcp(2, 2, &[(code::SERVER_ID, &SERVER.octets())]);
    assert_eq!(bench.frame(&dhcp_of(&ours, US, SERVER)), vec![]);
    assert_eq!(bench.frame(&dhcp_of(&ours, STRANGER.0, SERVER)), vec![]);
}

#[test]
fn what_is_sent_again_and_again_is_told_and_a_burst_that_was_lost_is_not() {
    let mut bench = Bench::new();
    let (up, down) = (Ends::up(50000, 3260), Ends::down(3260, 50000));
    bench.frame(&tcp(up, 0, 0, "S", &[]));
    bench.frame(&tcp(down, 0, 1, "SA", &[]));
    bench.frame(&tcp(up, 1, 1, "A", &[]));
    let data = |seq| tcp(down, seq, 1, "A", &[7; 100]);
    // Ten segments, all lost once; each is sent again once or twice.
    for _ in 0..3 {
        for n in 0..10 {
            assert_eq!(bench.frame(&data(1 + n * 100)), vec![]);
        }
    }
    bench.frame(&tcp(up, 1, 1001, "A", &[]));
    // A keep-alive's byte is acknowledged already.
    for _ in 0..10 {
        assert_eq!(bench.frame(&tcp(down, 1000, 1, "A", &[0])), vec![]);
    }
    // The same segment, four times.
    for _ in 0..3 {
        assert_eq!(bench.frame(&data(1001)), vec![]);
    }
    let event = |packets| EventKind::TcpRetransmits { service: ServiceKind::Iscsi, port: 3260, packets, by_us: true };
    assert_eq!(kinds(bench.frame(&data(1001))), vec![event(4)]);
    let told: Vec<_> = (0..8).flat_map(|_| kinds(bench.frame(&data(1001)))).collect();
    assert_eq!(told, vec![event(8)]);
    bench.frame(&tcp(up, 1, 1101, "A", &[]));
    assert_eq!(bench.frame(&data(1101)), vec![], "acknowledged: it counts anew");
}

#[test]
fn a_client_that_is_not_acknowledged_and_one_that_boots_anew() {
    let (up, down) = (Ends::up(50000, 80), Ends::down(80, 50000));
    let begin = |bench: &mut Bench| {
        bench.frame(&tcp(up, 0, 0, "S", &[]));
        bench.frame(&tcp(down, 0, 1, "SA", &[]));
        bench.frame(&tcp(up, 1, 1, "A", &[]));
    };
    let mut bench = Bench::new();
    begin(&mut bench);
    let told: Vec<_> = (0..5).flat_map(|_| kinds(bench.frame(&tcp(up, 1, 1, "A", b"GET /")))).collect();
    let event = EventKind::TcpRetransmits { service: ServiceKind::Http, port: 80, packets: 4, by_us: false };
    assert_eq!(told, vec![event]);

    let mut bench = Bench::new();
    bench.play(Story::default().dora(ROM, "snponly.efi"));
    begin(&mut bench);
    for _ in 0..3 {
        bench.frame(&tcp(down, 1, 1, "A", &[1]));
    }
    bench.frame(&dhcp_up(&dhcp(1, 1, IPXE)));
    for _ in 0..10 {
        assert_eq!(bench.frame(&tcp(down, 1, 1, "A", &[1])), vec![], "what it left behind is nobody's");
    }
}

#[test]
fn frames_that_come_through_a_router_are_told_once() {
    let mut bench = Bench::new();
    bench.play(Story::default().dora(ROM, "snponly.efi"));
    let router = Ipv4Addr::new(192, 168, 77, 254);
    let mut through = Ends::up(50000, 3260);
    through.link.0 = ROUTER;
    assert_eq!(bench.frame(&tcp(through, 1, 0, "A", &[])), vec![], "who that is, nobody knows yet");
    bench.frame(&arp((ROUTER, router), (US, SERVER), 2));
    let told = bench.frame(&tcp(through, 1, 0, "A", &[]));
    assert_eq!(kinds(told), vec![EventKind::ViaGateway { address: CLIENT, gateway: ROUTER }]);
    assert_eq!(bench.frame(&tcp(through, 2, 0, "A", &[])), vec![]);
    // A machine of another network comes through the router, as it should.
    let mut far = through;
    far.ip.0 = Ipv4Addr::new(10, 0, 0, 7);
    assert_eq!(bench.frame(&tcp(far, 1, 0, "A", &[])), vec![]);
    assert_eq!(bench.frame(&tcp(Ends::up(50001, 3260), 1, 0, "A", &[])), vec![], "its own frame");
}

#[test]
fn a_bridge_is_told_once() {
    let mut bench = Bench::new();
    let kind = EventKind::SpanningTree { interface: "br0".into(), bridge: STRANGER.0, delay_seconds: 15 };
    assert_eq!(kinds(bench.frame(&bpdu(STRANGER.0, 15))), vec![kind]);
    assert_eq!(bench.frame(&bpdu(STRANGER.0, 15)), vec![]);
}

#[test]
fn whoever_forges_requests_fills_nothing() {
    let mut bench = Bench::new();
    for n in 0..70_000_u32 {
        let mut ends = Ends::up(2000, 69);
        ends.ip.0 = Ipv4Addr::from(0xc0a8_0000 + n);
        bench.frame(&udp(ends, RRQ));
    }
    let told = bench.wait(SECOND * 3);
    assert!((1..=512).contains(&told.len()), "{}", told.len());
}

#[test]
fn whoever_forges_offers_and_bridges_is_told_of_a_little() {
    let mut bench = Bench::new();
    let forged = |n: u32| {
        let server = Ipv4Addr::from(0x0a00_0000 + n);
        let mut offer = dhcp(2, 2, &[(code::SERVER_ID, &server.octets())]);
        offer.chaddr[2..6].copy_from_slice(&n.to_be_bytes());
        dhcp_of(&offer, STRANGER.0, server)
    };
    let told: usize = (0..20_000).map(|n| bench.frame(&forged(n)).len()).sum();
    assert_eq!(told, 500);
    bench.wait(SECOND * 60);
    assert_eq!(bench.frame(&forged(7)).len(), 1, "and again when it is over");

    let bridge = |n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        bpdu(MacAddr([2, 0, 0, b, c, d]), 15)
    };
    let told: usize = (0..20_000).map(|n| bench.frame(&bridge(n)).len()).sum();
    assert_eq!(told, 16);
    let mut more = 0;
    for n in 0..2000 {
        bench.wait(SECOND);
        more += bench.frame(&bridge(30_000 + n)).len();
    }
    assert_eq!(more, 256 - 16, "so many in an hour");
    bench.wait(SECOND * 3600);
    assert_eq!(bench.frame(&bridge(30_000)).len(), 1);
}

#[test]
fn a_password_in_another_server_s_url_is_in_no_event() {
    let mut bench = Bench::new();
    let server = Ipv4Addr::new(192, 168, 77, 9);
    let url: &[u8] = b"http://me:s3cr3t@192.168.77.9/boot.ipxe";
    let mut offer = dhcp(2, 2, &[(code::SERVER_ID, &server.octets()), (code::BOOT_FILE, url)]);
    offer.yiaddr = CLIENT;
    let told = bench.frame(&dhcp_of(&offer, MacAddr([2, 0, 0, 0, 0, 9]), server));
    let [Observation { kind: EventKind::ForeignOffer { file: Some(file), .. }, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(file.ends_with("@192.168.77.9/boot.ipxe") && !file.contains("s3cr3t"), "{file}");
}
