//! From a recording.

use super::*;
use crate::api::ClientKind;
use crate::boot::Arch;
use crate::dhcp::wire::code;
use crate::trace::Packet;
use crate::trace::clip::Clipper;
use crate::trace::testing::{
    Ends, ROM, SERVER, arp, dhcp, dhcp_of, dhcp_up, login, login_answer, tcp, udp, unreachable,
};

fn told(packets: &[Packet]) -> Vec<EventKind> {
    kinds(record(packets).into_iter().map(|(_, o)| o).filter(|o| !o.kind.is_progress()).collect())
}

fn names(told: &[EventKind]) -> Vec<String> {
    told.iter().map(EventKind::name).collect()
}

const HEALTHY: [&str; 16] = [
    "dhcp-discover",
    "dhcp-offer",
    "dhcp-ack",
    "tftp-request",
    "tftp-aborted",
    "tftp-request",
    "tftp-done",
    "dhcp-discover",
    "dhcp-offer",
    "dhcp-ack",
    "http-request",
    "http-done",
    "http-request",
    "http-done",
    "iscsi-login",
    "iscsi-ended",
];

#[test]
fn a_boot_is_told_as_our_own_servers_tell_it() {
    let story = Story::healthy();
    let told = told(&story.packets);
    assert_eq!(names(&told), HEALTHY);
    let EventKind::DhcpDiscover { client, arch, .. } = &told[0] else { panic!() };
    assert_eq!((*client, *arch), (ClientKind::PxeRom, Some(Arch::UefiX64)));
    let ack = EventKind::DhcpAck {
        client: ClientKind::PxeRom,
        address: Some(CLIENT),
        file: Some("snponly.efi".into()),
        root_path: None,
        disk: None,
        lease_seconds: 1800,
    };
    assert_eq!(told[2], ack);
    assert!(matches!(told[4], EventKind::TftpAborted { probe: true, .. }), "a size probe is no failure: {:?}", told[4]);
    assert!(matches!(&told[6], EventKind::TftpDone { bytes: 2000, .. }), "{:?}", told[6]);
    let request = EventKind::HttpRequest {
        method: "GET".into(),
        path: "/media/debian/linux".into(),
        status: 200,
        agent: Some("iPXE/1.21".into()),
    };
    assert_eq!(told[12], request);
    assert!(matches!(told[13], EventKind::HttpDone { bytes: 5000, .. }), "{:?}", told[13]);
    let login = EventKind::IscsiLogin {
        initiator: "iqn.2010-04.org.ipxe:bench".into(),
        target: "iqn.x:disk".into(),
        disk: "iqn.x:disk".into(),
        firmware: true,
        session: 7,
    };
    assert_eq!(told[14], login);
    for (_, observation) in record(&story.packets) {
        assert_eq!(observation.who.and_then(|w| w.mac), Some(THEM), "{:?}", observation.kind);
    }
}

#[test]
fn what_our_own_capture_keeps_of_it_tells_the_same() {
    let mut clipper = Clipper::new(Ports::default(), vec![SERVER.into()]);
    let mut packets = Story::healthy().packets;
    for packet in &mut packets {
        packet.data = clipper.clip(&packet.data, packet.data.len()).unwrap().data;
    }
    assert_eq!(told(&packets), told(&Story::healthy().packets));
}

#[test]
fn lost_doubled_and_swapped_segments_change_nothing_that_is_told() {
    let story = Story::healthy();
    let mut packets = story.packets.clone();
    let tcp: Vec<usize> = (0..packets.len()).filter(|i| packets[*i].data[23] == 6).collect();
    for at in tcp.iter().rev().step_by(3) {
        packets.insert(*at, packets[*at].clone());
    }
    assert_eq!(told(&packets), told(&story.packets), "each third came twice");
    // A segment of the kernel's data is not in the recording.
    let mut packets = story.packets.clone();
    let hole = packets.iter().rposition(|p| p.data.len() == 54 + 1400).unwrap();
    packets.remove(hole);
    let told = names(&told(&packets));
    assert!(told.contains(&"iscsi-login".to_owned()), "{told:?}");
}

#[test]
fn a_refused_login_and_a_missing_file_are_told() {
    let mut story = Story::default();
    story.dora(ROM, "snponly.efi");
    story.add(1, udp(Ends::up(2000, 69), b"\0\x01none.efi\0octet\0"));
    story.add(1, udp(Ends::down(40000, 2000), b"\0\x05\0\x01not here\x1b\0"));
    let text = b"InitiatorName=iqn.i\0TargetName=iqn.t\0";
    story.exchange(50003, 3260, &login(text), &login_answer(0x0202, b""));
    let told = told(&story.packets);
    let failed = EventKind::TftpFailed { file: "none.efi".into(), code: 1, message: "not here\u{fffd}".into() };
    assert!(told.contains(&failed), "{told:?}");
    let refused = told.iter().find(|k| matches!(k, EventKind::IscsiRefused { .. })).unwrap();
    let EventKind::IscsiRefused { initiator, target, status, .. } = refused else { panic!() };
    assert_eq!((initiator.as_str(), target.as_str(), *status), ("iqn.i", "iqn.t", 0x0202));
}

#[test]
fn a_silent_server_a_closed_port_and_a_silent_client() {
    let rrq = |port| udp(Ends::up(port, 69), b"\0\x01a\0octet\0blksize\x001468\0");
    let mut story = Story::default();
    story.dora(ROM, "a").add(1, rrq(2000)).add(3000, rrq(2000));
    let silent = told(&story.packets);
    assert!(silent.contains(&unheard(ServiceKind::Tftp, 69, 1, false)), "{silent:?}");
    let mut story = Story::default();
    let asked = rrq(2000);
    story.dora(ROM, "a").add(1, asked.clone()).add(1, unreachable(&asked));
    assert!(told(&story.packets).contains(&unheard(ServiceKind::Tftp, 69, 1, true)));
    let mut story = Story::default();
    story.dora(ROM, "a").add(1, rrq(2000));
    for _ in 0..5 {
        story.add(1000, udp(Ends::down(40000, 2000), b"\0\x06blksize\x001468\0"));
    }
    let deaf = told(&story.packets);
    assert!(deaf.iter().any(|k| matches!(k, EventKind::TftpFailed { code: 0, .. })), "{deaf:?}");
}

#[test]
fn only_who_boots_is_told_to_meet_a_silent_server() {
    const LAPTOP: &[(u8, &[u8])] = &[(code::CLASS, b"MSFT 5.0")];
    let syn = |port| tcp(Ends::up(50010, port), 1, 0, "S", b"");
    let silent = |story: &mut Story, port| {
        story.add(1, syn(port)).add(3000, arp((THEM, CLIENT), (US, SERVER), 1));
        told(&story.packets).into_iter().filter(|k| matches!(k, EventKind::Unheard { .. })).collect::<Vec<_>>()
    };
    let nobody: [EventKind; 0] = [];
    assert_eq!(silent(&mut Story::default(), 80), nobody, "a station of which nothing is known");
    let mut laptop = Story::default();
    assert_eq!(silent(laptop.dora(LAPTOP, ""), 80), nobody, "a system that boots from nobody");
    assert_eq!(silent(Story::default().dora(ROM, "a"), 80), [unheard(ServiceKind::Http, 80, 1, false)]);
    let mut booted = Story::default();
    booted.dora(ROM, "a").dora(LAPTOP, "");
    assert_eq!(silent(&mut booted, 443), nobody, "the system that was booted goes where it likes");
    assert_eq!(silent(&mut booted, 3260), [unheard(ServiceKind::Iscsi, 3260, 1, false)], "and needs its disk");
}

#[test]
fn of_two_servers_the_first_serves_and_the_other_is_foreign() {
    let mut story = Story::default();
    let offer = |server: Ipv4Addr, last| {
        let mut offer = dhcp(2, 2, &[(code::SERVER_ID, &server.octets())]);
        (offer.yiaddr, offer.siaddr) = (Ipv4Addr::new(192, 168, 77, last), server);
        offer
    };
    story.add(1, dhcp_up(&dhcp(1, 1, ROM)));
    story.add(1, dhcp_of(&offer(SERVER, 20), US, SERVER));
    story.add(1, dhcp_of(&offer(STRANGER.1, 120), STRANGER.0, STRANGER.1));
    let told = told(&story.packets);
    assert_eq!(names(&told), ["dhcp-discover", "dhcp-offer", "foreign-offer"]);
    let EventKind::ForeignOffer { server, server_mac: mac, .. } = told[2] else { panic!() };
    assert_eq!((server, mac), (STRANGER.1, Some(STRANGER.0)));
}

#[test]
fn a_recording_that_begins_in_the_middle_is_read_from_the_next_head_on() {
    let story = Story::healthy();
    let from = story.packets.iter().position(|p| p.data.windows(12).any(|w| w == b"GET /media/d")).unwrap();
    let told = names(&told(&story.packets[from..]));
    assert_eq!(told, ["http-request", "http-done", "iscsi-login", "iscsi-ended"]);
}

#[test]
fn a_login_of_several_pdus_that_names_its_initiator_in_each_is_understood() {
    let mut story = Story::default();
    let first = login(b"InitiatorName=iqn.i\0TargetName=iqn.t\0AuthMethod=CHAP,None\0");
    let second = login(b"InitiatorName=iqn.i\0HeaderDigest=None\0");
    story.dora(ROM, "x").exchange(50003, 3260, &[first, second].concat(), &login_answer(0, b"MaxBurstLength=65536\0"));
    let told = told(&story.packets);
    let found = told.iter().find_map(|kind| match kind {
        EventKind::IscsiLogin { initiator, target, .. } => Some((initiator.as_str(), target.as_str())),
        _ => None,
    });
    assert_eq!(found, Some(("iqn.i", "iqn.t")), "{told:?}");
}
