//! ProxyDHCP beside another server, and the boot server on port 4011.

use super::*;

fn bench() -> Bench {
    let mut lab = lab();
    lab.networks[0].unknown = crate::lab::Unknown::Boot(Boot::Wait);
    Bench::with(lab, Mode::Proxy)
}

#[test]
fn a_bios_rom_is_offered_its_file_and_no_address() {
    let mut b = bench();
    let (reply, offer) = b.send(&pxe(ALICE, 0)).unwrap();
    assert_eq!(reply.destination, Destination::Broadcast);
    assert_eq!((message(&offer), offer.yiaddr), (MessageType::Offer, Ipv4Addr::UNSPECIFIED));
    assert_eq!((offer.siaddr, offer.file.as_slice()), (SERVER, &b"undionly.kpxe"[..]));
    assert_eq!(offer.option(code::CLASS), Some(&b"PXEClient"[..]));
    assert_eq!(offer.option(code::VENDOR), Some(&[6, 1, 8, 255][..]));
    assert_eq!(offer.flags, BROADCAST_FLAG);
    assert!(offer.option(code::LEASE_TIME).is_none() && offer.option(code::SUBNET_MASK).is_none());
    assert!(b.records.is_empty());
}

#[test]
fn a_uefi_is_sent_to_port_4011_and_answered_there() {
    let mut b = bench();
    let (_, offer) = b.send(&pxe(ALICE, 7)).unwrap();
    assert!(offer.file.is_empty() && offer.option(code::VENDOR).is_none() && offer.option(code::BOOT_FILE).is_none());
    assert_eq!(offer.siaddr, SERVER);
    let mut request = pxe(ALICE, 7);
    request.set(code::MESSAGE_TYPE, [3]);
    request.ciaddr = ip("192.168.2.50");
    for source in ["192.168.2.50:68", "192.168.2.50:4011"] {
        let (reply, ack) = b.send_to(4011, source, &request).unwrap();
        assert_eq!((reply.from_port, reply.destination), (4011, Destination::Unicast(source.parse().unwrap())));
        assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            (ack.siaddr, ack.file.as_slice(), ack.sname.as_slice()),
            (SERVER, &b"snponly.efi"[..], &b"192.168.2.1"[..])
        );
        assert_eq!(ack.option(code::CLASS), Some(&b"PXEClient"[..]));
        assert!(ack.option(code::UUID).is_some());
    }
}

#[test]
fn ipxe_finds_the_script_in_the_offer_itself() {
    let mut b = bench();
    let (_, offer) = b.send(&ipxe(ALICE, 7)).unwrap();
    assert_eq!(offer.option(code::CLASS), Some(&b"PXEClient"[..]), "else iPXE takes it for no proxy");
    assert_eq!(offer.siaddr, SERVER);
    assert!(offer.file.starts_with(b"http://192.168.2.1/boot/"));
    assert!(offer.option(code::IPXE).is_none(), "no-pxedhcp in it would make iPXE drop it");
}

#[test]
fn http_boot_is_offered_a_uri() {
    let mut request = pxe(ALICE, 16);
    request.set(code::CLASS, *b"HTTPClient:Arch:00016:UNDI:003001");
    let (_, offer) = bench().send(&request).unwrap();
    assert_eq!(offer.option(code::CLASS), Some(&b"HTTPClient"[..]));
    assert!(offer.option(code::BOOT_FILE).is_some_and(|url| url.starts_with(b"http://")));
}

#[test]
fn systems_requests_and_bootp_are_the_other_servers() {
    let mut b = bench();
    assert!(b.send(&discover(ALICE)).is_none());
    assert!(b.send(&packet(ALICE, None)).is_none());
    let mut request = pxe(ALICE, 0);
    request.set(code::MESSAGE_TYPE, [3]);
    request.set(code::SERVER_ID, [192, 168, 2, 9]);
    assert!(b.send(&request).is_none());
    for asking in [renewing(ALICE, ip("192.168.2.20")), rebooting(ALICE, ip("10.0.0.1"))] {
        assert!(b.send(&asking).is_none(), "never a NAK");
    }
    assert!(b.records.is_empty());
}

#[test]
fn a_machine_without_assignment_is_listed_and_never_answered() {
    let mut b = Bench::with(lab(), Mode::Proxy);
    assert!(b.send(&pxe(ALICE, 0)).is_none());
    assert!(b.events.iter().any(|e| matches!(e, EventKind::DhcpDiscover { .. })));
    assert!(b.silent_because()[0].contains("no assignment"));
    let mut request = pxe(ALICE, 7);
    request.set(code::MESSAGE_TYPE, [3]);
    assert!(b.send_to(4011, "192.168.2.50:68", &request).is_none());
}

#[test]
fn a_network_may_change_its_mode_while_it_serves() {
    let mut b = Bench::new();
    assert!(!b.send(&pxe(ALICE, 0)).unwrap().1.yiaddr.is_unspecified());
    let mut lab = lab();
    lab.networks[0].unknown = crate::lab::Unknown::Boot(Boot::Wait);
    b.input(Input::Plan(plan_of(lab, Mode::Proxy)));
    assert!(b.send(&pxe(ALICE, 0)).unwrap().1.yiaddr.is_unspecified());
}

/// What an offer's form is.
fn style(offer: &Packet) -> ProxyStyle {
    let vendor = offer.option(code::VENDOR).is_some();
    assert_eq!(vendor, !offer.file.is_empty(), "a file without option 43, or the other way round, is neither form");
    if vendor { ProxyStyle::File } else { ProxyStyle::BootServer }
}

fn styles(b: &Bench) -> Vec<(ProxyStyle, bool)> {
    let told = |e: &EventKind| match e {
        EventKind::ProxyStyle { style, taken, .. } => Some((*style, *taken)),
        _ => None,
    };
    b.events.iter().filter_map(told).collect()
}

#[test]
fn firmware_that_ignores_one_form_of_offer_gets_the_other_and_its_model_from_then_on() {
    use ProxyStyle::{BootServer, File};
    let mut b = bench();
    let mut got = Vec::new();
    // EDK2's timeouts: 4, 8, 16 and 32 seconds.
    for wait in [4, 8, 16, 32] {
        got.push(style(&b.send(&pxe(ALICE, 7)).unwrap().1));
        assert_eq!(
            style(&b.send(&pxe(ALICE, 7)).unwrap().1),
            *got.last().unwrap(),
            "a copy of a packet is no repetition"
        );
        b.wait(wait);
    }
    assert_eq!(got, [BootServer, BootServer, File, File]);
    assert_eq!(styles(&b), [(File, false)]);
    // It takes the other server's address, which it does only when it has what it wants.
    let mut request = pxe(ALICE, 7);
    request.set(code::MESSAGE_TYPE, [3]);
    request.set(code::SERVER_ID, [192, 168, 2, 254]);
    assert!(b.send(&request).is_none());
    assert_eq!(styles(&b), [(File, false), (File, true)]);
    // Another machine of the model; one of another maker.
    assert_eq!(style(&b.send(&pxe(BOB, 7)).unwrap().1), File);
    assert_eq!(style(&b.send(&pxe(MacAddr([2, 0, 0, 0, 0, 1]), 7)).unwrap().1), BootServer);
    assert_eq!(style(&b.send(&pxe(BOB, 0)).unwrap().1), File, "a BIOS of its own");
}

#[test]
fn a_machine_that_goes_on_at_once_changes_nothing() {
    let mut b = bench();
    for (arch, usual) in [(7, ProxyStyle::BootServer), (0, ProxyStyle::File)] {
        for _ in 0..5 {
            assert_eq!(style(&b.send(&pxe(ALICE, arch)).unwrap().1), usual);
            b.wait(2);
            let mut request = pxe(ALICE, arch);
            request.set(code::MESSAGE_TYPE, [3]);
            request.ciaddr = ip("192.168.2.50");
            assert!(b.send_to(4011, "192.168.2.50:68", &request).is_some());
            b.wait(60);
        }
    }
    assert_eq!(styles(&b), []);
}

#[test]
fn what_earlier_runs_found_is_known_and_a_third_form_there_is_not() {
    let model = format!("PXEClient:Arch:00007:UNDI:003016 {:02x}:{:02x}:{:02x}", ALICE.0[0], ALICE.0[1], ALICE.0[2]);
    let mut b = bench();
    let machine = DhcpMachine::new(plan_of(lab(), Mode::Proxy), vec![]);
    b.machine = machine.with_styles([(model, ProxyStyle::File)].into());
    b.machine.handle(b.now, Input::Plan(bench().machine.plan.clone()));
    let mut got = Vec::new();
    for _ in 0..7 {
        got.push(style(&b.send(&pxe(ALICE, 7)).unwrap().1));
        b.wait(4);
    }
    use ProxyStyle::{BootServer, File};
    assert_eq!(got, [File, File, BootServer, BootServer, File, File, BootServer], "one after the other");
    for n in 0..10_000_u32 {
        let [_, x, y, z] = n.to_be_bytes();
        b.send(&pxe(MacAddr([2, 9, 9, x, y, z]), 7));
    }
    b.wait(4);
    assert!(b.send(&pxe(BOB, 7)).is_some(), "forged machines cost no more than memory for some");
}

#[test]
fn beside_another_server_a_lease_of_ours_is_still_renewed_and_none_is_new() {
    let mut b = Bench::new();
    let address = b.dora(ALICE);
    let plan = plan_of(lab(), Mode::Proxy);
    b.input(Input::Plan(plan));
    let (reply, ack) = b.send(&renewing(ALICE, address)).unwrap();
    assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, address));
    assert_eq!(reply.destination, Destination::Unicast(SocketAddrV4::new(address, 68)));
    assert!(b.send(&discover(BOB)).is_none() && b.send(&renewing(BOB, ip("192.168.2.29"))).is_none());
    assert!(b.send(&selecting(BOB, ip("192.168.2.29"))).is_none());
    // Who was offered an address before that server was heard takes it; who gives his back is heard.
    const CAROL: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 3]);
    b.input(Input::Plan(plan_of(lab(), Mode::Dhcp)));
    let offered = b.send(&discover(CAROL)).unwrap().1.yiaddr;
    b.input(Input::Plan(plan_of(lab(), Mode::Proxy)));
    let (_, ack) = b.send(&selecting(CAROL, offered)).unwrap();
    assert_eq!((message(&ack), ack.yiaddr), (MessageType::Ack, offered));
    let release = Packet { ciaddr: offered, ..packet(CAROL, Some(MessageType::Release)) };
    b.send(&release);
    assert_eq!(state_of(&b, offered), Some(LeaseState::Released));
    // It goes, and this server gives addresses again, at once.
    b.input(Input::Foreign { network: 0, server: ip("192.168.2.254") });
    b.input(Input::Plan(plan_of(lab(), Mode::Dhcp)));
    assert_ne!(b.dora(BOB), address);
}
