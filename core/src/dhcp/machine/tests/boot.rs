//! What firmware, iPXE and gPXE are given by the full server, and how they are told apart.

use super::*;
use crate::lab::{Disk, FirmwareRule, IscsiBoot, IscsiVia, Writes};

fn kind(packet: &Packet) -> (ClientKind, Option<Arch>) {
    classify(&Request::parse(&packet.encode(&[], 1472)).unwrap())
}

#[test]
fn each_program_is_known_by_what_it_sends() {
    assert_eq!(kind(&pxe(ALICE, 0)), (ClientKind::PxeRom, Some(Arch::Bios)));
    assert_eq!(kind(&pxe(ALICE, 7)), (ClientKind::PxeRom, Some(Arch::UefiX64)));
    assert_eq!(kind(&ipxe(ALICE, 7)), (ClientKind::Ipxe, Some(Arch::UefiX64)), "raw user class");
    let with = |option, value: &[u8]| {
        let mut packet = pxe(ALICE, 0);
        packet.set(option, value);
        kind(&packet).0
    };
    assert_eq!(with(code::USER_CLASS, b"\x04iPXE"), ClientKind::Ipxe, "RFC 3004");
    assert_eq!(with(code::USER_CLASS, b"\x03abc\x04iPXE"), ClientKind::Ipxe);
    assert_eq!(with(code::USER_CLASS, b"gPXE"), ClientKind::Gpxe);
    assert_eq!(with(code::USER_CLASS, b"\x04gPXE"), ClientKind::Gpxe);
    assert_eq!(with(code::USER_CLASS, b"\xffiPXE"), ClientKind::PxeRom, "a lying length names nothing");
    assert_eq!(with(code::IPXE, &[0x13, 1, 1]), ClientKind::Ipxe, "features alone");
    assert_eq!(with(code::IPXE, &[0xb1, 5, 1, 0x10, 0xec, 0x81, 0x39]), ClientKind::Gpxe, "bus-id alone");
    assert_eq!(with(code::CLASS, b"HTTPClient:Arch:00016:UNDI:003001"), ClientKind::HttpBoot);
    assert_eq!(with(code::CLASS, b"MSFT 5.0"), ClientKind::Os);
    assert_eq!(kind(&discover(ALICE)).0, ClientKind::Os);
    assert_eq!(kind(&packet(ALICE, None)).0, ClientKind::Bootp);
    let mut class_only = discover(ALICE);
    class_only.set(code::CLASS, *b"PXEClient:Arch:00007:UNDI:003016");
    assert_eq!(kind(&class_only), (ClientKind::PxeRom, Some(Arch::UefiX64)));
}

#[test]
fn a_bios_rom_gets_its_binary_by_every_way_it_may_look() {
    let mut b = Bench::new();
    let (_, offer) = b.send(&pxe(ALICE, 0)).unwrap();
    assert_eq!((offer.file.as_slice(), offer.siaddr), (&b"undionly.kpxe"[..], SERVER));
    assert_eq!(offer.option(code::BOOT_FILE), Some(&b"undionly.kpxe\0"[..]), "terminated for old ROMs");
    assert_eq!(offer.option(code::TFTP_SERVER), Some(&b"192.168.2.1\0"[..]));
    assert_eq!(offer.option(code::CLASS), Some(&b"PXEClient"[..]));
    assert_eq!(offer.option(code::VENDOR), Some(&[6, 1, 8, 255][..]), "no boot server discovery");
    assert_eq!(offer.option(code::UUID).map(<[u8]>::len), Some(17), "echoed");
    assert!(offer.option(code::IPXE).is_none());
    let mut request = pxe(ALICE, 0);
    request.set(code::MESSAGE_TYPE, [3]);
    request.set(code::REQUESTED, offer.yiaddr.octets());
    request.set(code::SERVER_ID, SERVER.octets());
    let (_, ack) = b.send(&request).unwrap();
    assert_eq!((message(&ack), ack.file.as_slice()), (MessageType::Ack, &b"undionly.kpxe"[..]));
}

#[test]
fn ipxe_and_gpxe_get_the_script_and_never_a_binary() {
    let url = b"http://192.168.2.1/boot/52-54-00-00-00-01/boot.ipxe";
    let mut gpxe = pxe(ALICE, 0);
    gpxe.set(code::IPXE, [0xb1, 5, 1, 0x10, 0xec, 0x81, 0x39]);
    for request in [ipxe(ALICE, 0), ipxe(ALICE, 7), gpxe] {
        let (_, offer) = Bench::new().send(&request).unwrap();
        assert_eq!((offer.file.as_slice(), offer.option(code::BOOT_FILE)), (&url[..], Some(&url[..])));
        assert_eq!(offer.option(code::IPXE), Some(&[0xb0, 1, 1][..]), "no ProxyDHCP to wait for");
        assert!(offer.option(code::VENDOR).is_none(), "no menu");
    }
}

#[test]
fn http_boot_gets_its_class_and_a_uri() {
    let mut request = pxe(ALICE, 16);
    request.set(code::CLASS, *b"HTTPClient:Arch:00016:UNDI:003001");
    let (_, offer) = Bench::new().send(&request).unwrap();
    assert_eq!(offer.option(code::CLASS), Some(&b"HTTPClient"[..]));
    assert_eq!(offer.option(code::BOOT_FILE), Some(&b"http://192.168.2.1/firmware/snponly.efi"[..]));
    assert!(offer.option(code::VENDOR).is_none());
}

#[test]
fn the_classic_root_path_has_an_empty_file() {
    let mut lab = lab();
    let name: crate::lab::Name = "server01".parse().unwrap();
    let iqn = "iqn.2001-04.com.server:x".to_owned();
    lab.disks = vec![Disk {
        name: name.clone(),
        image: "x.raw".into(),
        iqn,
        size: None,
        writes: Writes::Keep,
        chap: None,
        allow: vec![],
        readonly: false,
        removable: false,
        redirect: None,
    }];
    let boot = Boot::Iscsi(IscsiBoot { disk: name, profile: None, via: IscsiVia::RootPath, writes: None });
    lab.hosts = vec![Host { boot: Some(boot), ..host(ALICE) }];
    let (_, offer) = Bench::with(lab.clone(), Mode::Dhcp).send(&ipxe(ALICE, 0)).unwrap();
    assert!(offer.file.is_empty() && offer.option(code::BOOT_FILE).is_none());
    assert_eq!(offer.option(code::ROOT_PATH), Some(&b"iscsi:192.168.2.1:::0:iqn.2001-04.com.server:x"[..]));
    assert_eq!(offer.option(code::INITIATOR), Some(&b"iqn.2026-11.org.bootyard:host.52-54-00-00-00-01"[..]));
    let (_, offer) = Bench::with(lab, Mode::Proxy).send(&ipxe(ALICE, 0)).unwrap();
    assert!(offer.file.ends_with(b"boot.ipxe"), "iPXE drops a ProxyDHCP offer without a file");
}

#[test]
fn http_boot_is_offered_https_where_a_rule_says_so() {
    let mut lab = lab();
    let arch = Some(Arch::UefiX64Http);
    lab.firmware = vec![FirmwareRule { arch, mac_prefix: None, file: "snponly.efi".into(), https: true }];
    let offered = |lab: &Lab, mac| {
        let mut request = pxe(mac, 16);
        request.set(code::CLASS, *b"HTTPClient:Arch:00016:UNDI:003001");
        let offer = Bench::with(lab.clone(), Mode::Dhcp).send(&request).unwrap().1;
        String::from_utf8(offer.file).unwrap()
    };
    assert_eq!(offered(&lab, ALICE), "https://192.168.2.1/firmware/snponly.efi");
    lab.ports.https = 8443;
    assert_eq!(offered(&lab, ALICE), "https://192.168.2.1:8443/firmware/snponly.efi");
    lab.firmware[0].mac_prefix = Some(BOB.0[..6].to_vec());
    assert_eq!(offered(&lab, ALICE), "http://192.168.2.1/firmware/snponly.efi", "for those that the rule is for");
}

#[test]
fn firmware_that_we_have_no_file_for_gets_an_address_and_the_reason_is_said_once_a_minute() {
    for (arch, text) in [(11, "uefi-arm64"), (27, "uefi-riscv64"), (99, "number 99")] {
        let mut b = Bench::new();
        for _ in 0..3 {
            let (_, offer) = b.send(&pxe(ALICE, arch)).unwrap();
            assert!(!offer.yiaddr.is_unspecified() && offer.file.is_empty());
            assert!(offer.option(code::CLASS).is_none(), "no PXE offer without a file");
        }
        assert_eq!(b.silent_because().len(), 1);
        assert!(b.silent_because()[0].contains(text), "{:?}", b.silent_because());
        b.wait(61);
        b.send(&pxe(ALICE, arch));
        assert_eq!(b.silent_because().len(), 2);
    }
}

#[test]
fn a_boot_file_for_other_machines_is_not_given_and_that_is_said() {
    let mut lab = lab();
    lab.hosts = vec![Host { firmware: Some("ipxe-ia32.efi".into()), ..host(ALICE) }];
    let mut plan = (*plan_of(lab, Mode::Dhcp)).clone();
    for name in ["ipxe-ia32.efi", "own.bin"] {
        plan.files.insert(name.into(), format!("/x/{name}").into());
    }
    plan.runs_on.insert("ipxe-ia32.efi".into(), Arch::UefiIa32);
    let mut b = Bench::restored(Arc::new(plan.clone()), vec![]);
    let told = |b: &Bench| b.events.iter().filter(|e| matches!(e, EventKind::BootFileUnfit { .. })).count();
    let (_, offer) = b.send(&pxe(ALICE, 7)).unwrap();
    assert_eq!(offer.file, b"snponly.efi");
    b.send(&pxe(ALICE, 7));
    assert_eq!(told(&b), 1, "once a minute");
    b.wait(61);
    assert_eq!(b.send(&pxe(ALICE, 6)).unwrap().1.file, b"ipxe-ia32.efi", "who can run it gets it");
    assert_eq!(told(&b), 1);
    // What runs a file is not always known; then lab.toml is right.
    let mut hosts = plan.lab.hosts.clone();
    hosts[0].firmware = Some("own.bin".into());
    plan.lab = Arc::new(Lab { hosts, ..(*plan.lab).clone() });
    b.input(Input::Plan(Arc::new(plan)));
    assert_eq!(b.send(&pxe(ALICE, 7)).unwrap().1.file, b"own.bin");
}

#[test]
fn an_ignored_machine_gets_nothing_until_its_system_asks() {
    let mut lab = lab();
    lab.hosts = vec![Host { boot: Some(Boot::Ignore), ..host(ALICE) }];
    let mut b = Bench::with(lab, Mode::Dhcp);
    assert!(b.send(&pxe(ALICE, 0)).is_none());
    assert!(b.silent_because()[0].contains("ignore"));
    assert!(b.events.iter().any(|e| matches!(e, EventKind::DhcpDiscover { .. })), "listed all the same");
    let (_, offer) = b.send(&discover(ALICE)).unwrap();
    assert!(!offer.yiaddr.is_unspecified(), "nobody else gives it one");
}

#[test]
fn what_a_client_calls_itself_is_shown_without_its_control_characters() {
    let mut b = Bench::new();
    let mut request = discover(ALICE);
    request.set(code::HOST_NAME, b"\x1b[2Jpwn\xff\x00".to_vec());
    request.set(code::CLASS, b"x\n".to_vec());
    b.send(&request);
    let Some(EventKind::DhcpDiscover { hostname: Some(name), vendor: Some(vendor), .. }) = b.events.first() else {
        panic!("{:?}", b.events)
    };
    assert!(!name.chars().chain(vendor.chars()).any(char::is_control));
}
