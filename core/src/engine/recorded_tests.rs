use crate::api::Stage;
use crate::trace::testing::{Ends, ROM, ROUTER, SERVER, Story, THEM, US, arp, udp};

use super::*;

#[test]
fn a_recording_has_its_machine_with_its_timeline_and_no_findings() {
    let recorded = fold(&Story::healthy().packets);
    let [host] = &recorded.hosts[..] else { panic!("{:?}", recorded.hosts) };
    assert_eq!((host.macs[0], host.ip, host.arch), (THEM, Some([192, 168, 77, 20].into()), Some(Arch::UefiX64)));
    assert!(host.is("52:54:00:00:00:01") && host.is("192.168.77.20") && !host.is("192.168.77.21"));
    assert_eq!(host.stage, Stage::SanLogin);
    let texts: Vec<&str> = host.timeline.iter().map(|s| s.text.as_str()).collect();
    for step in
        ["PXE firmware asks", "192.168.77.20 boots snponly.efi", "snponly.efi", "iPXE asks", "linux", "iqn.x:disk"]
    {
        assert!(texts.contains(&step), "{step} is not in {texts:?}");
    }
    assert_eq!((host.findings.len(), recorded.findings.len()), (0, 0), "{:?}", host.findings);
    assert!(host.events.iter().all(|e| e.source == Source::Observed && e.mac == Some(THEM)));
}

#[test]
fn files_of_anybody_s_server_have_a_step_too() {
    let mut story = Story::default();
    story.dora(ROM, "x");
    let answer = [&b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"[..], &[1; 3000]].concat();
    story.exchange(50000, 80, b"GET /netboot/vmlinuz?x=1 HTTP/1.1\r\n\r\n", &answer);
    let recorded = fold(&story.packets);
    let step = recorded.hosts[0].timeline.iter().find(|s| s.text == "vmlinuz").expect("a step");
    assert_eq!((step.stage, step.bytes), (Stage::Loading, 3000));
}

#[test]
fn a_missing_file_is_a_finding_as_it_is_here() {
    let mut story = Story::default();
    story.dora(ROM, "none.efi").add(1, udp(Ends::up(2000, 69), b"\0\x01none.efi\0octet\0"));
    story.add(1, udp(Ends::down(40000, 2000), b"\0\x05\0\x01not here\0"));
    let recorded = fold(&story.packets);
    assert_eq!(recorded.hosts[0].findings[0].id, "tftp-failed");
}

#[test]
fn a_silence_counts_while_any_packets_come_and_the_end_of_the_recording_is_none() {
    let found = |story: &Story| fold(&story.packets).hosts[0].findings.iter().map(|f| f.id.clone()).collect::<Vec<_>>();
    let mut story = Story::default();
    story.dora(ROM, "snponly.efi");
    assert_eq!(found(&story), Vec::<String>::new());
    let router = [192, 168, 77, 254].into();
    story.add(14_000, arp((ROUTER, router), (US, SERVER), 2));
    assert_eq!(found(&story), Vec::<String>::new(), "it may still ask");
    story.add(2000, arp((ROUTER, router), (US, SERVER), 2));
    assert_eq!(found(&story), ["boot-file-not-asked"]);

    // What is told at the end, when nothing more came, does not make a silence of it either.
    let mut story = Story::default();
    story.dora(ROM, "snponly.efi").add(1, crate::trace::testing::tcp(Ends::up(50000, 3260), 1, 0, "S", &[]));
    let found = found(&story);
    assert!(!found.contains(&"boot-file-not-asked".to_owned()), "{found:?}");
}

#[test]
fn events_folded_again_have_the_silence_that_the_engine_heard() {
    let mut story = Story::default();
    let events: Vec<Event> =
        fold(&story.dora(ROM, "x").packets).hosts[0].events.iter().map(|event| (**event).clone()).collect();
    let last = events.last().unwrap();
    let later = |seq, seconds, kind| {
        let time = last.time + jiff::SignedDuration::from_secs(seconds);
        Arc::new(Event { seq: last.seq + seq, time, host: None, mac: None, kind, ..last.clone() })
    };
    let stopped = |seq, seconds| later(seq, seconds, EventKind::EngineStopped { error: None });
    let started = |seq, seconds| later(seq, seconds, EventKind::EngineStarted { interfaces: vec![] });
    let found = |all: &[Arc<Event>]| refold(&events, all).1.iter().map(|f| f.id.clone()).collect::<Vec<_>>();
    let none = Vec::<String>::new();
    assert_eq!(found(&[]), none);
    assert_eq!(found(&[stopped(1, 20)]), ["boot-file-not-asked"]);
    assert_eq!(found(&[stopped(1, 10), started(2, 20), stopped(3, 40)]), none, "it was stopped too soon");
    assert_eq!(found(&[started(1, 20), stopped(2, 40)]), none, "it ended without a word");
}

#[test]
fn of_more_machines_than_anybody_has_those_that_were_quiet_longest_are_left_out() {
    const MACHINES: u32 = 4_200;
    let mut story = Story::default();
    for number in 0..MACHINES {
        let mut packet = crate::trace::testing::dhcp(1, 1, ROM);
        packet.chaddr[2..6].copy_from_slice(&number.to_be_bytes());
        packet.options.retain(|(number, _)| *number != crate::dhcp::wire::code::UUID);
        story.add(1, crate::trace::testing::dhcp_up(&packet));
    }
    let recorded = fold(&story.packets);
    assert!(recorded.hosts.iter().all(|host| !host.macs.is_empty()), "a machine without an address");
    assert_eq!(recorded.hosts.len() as u64 + recorded.left_out, u64::from(MACHINES));
    assert!(recorded.left_out > 0 && recorded.missing().is_some_and(|m| m.contains("left out")));
}
