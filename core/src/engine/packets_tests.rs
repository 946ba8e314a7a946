use crate::api::{ClientKind, Source, VERSION};
use crate::trace::testing::Story;

use super::*;

#[test]
fn an_event_is_said_at_the_packet_that_is_nearest_and_at_none_that_is_far() {
    let mut packets = Story::healthy().packets;
    let base = packets[2].time.as_millisecond();
    let event = |millis: i64, kind| Event {
        v: VERSION,
        seq: 1,
        time: jiff::Timestamp::from_millisecond(base + millis).unwrap(),
        host: None,
        mac: None,
        source: Source::Served,
        kind,
    };
    let events = [
        event(0, EventKind::TftpRequest { file: "evil\u{1b}[2J".into(), options: vec![] }),
        event(-400_000, EventKind::LabChanged),
        event(0, EventKind::TftpProgress { file: "x".into(), sent: 1, total: 2 }),
    ];
    annotate(&mut packets, &events);
    let said: Vec<&String> = packets.iter().flat_map(|p| &p.comments).collect();
    assert_eq!(said, [&"tftp-request file=evil\u{fffd}[2J options=[]".to_owned()]);
    let request = packets.iter().find(|p| !p.comments.is_empty()).unwrap();
    assert!(decode(request).line.starts_with("read snponly.efi"), "at the request, not at the DHCP that is nearer");

    // Without a packet of its protocol nearby, at the nearest.
    let mut dhcp = Story::healthy().packets[..4].to_vec();
    annotate(&mut dhcp, &events[..1]);
    assert_eq!(dhcp[2].comments.len(), 1);
    let ack = EventKind::DhcpAck {
        client: ClientKind::PxeRom,
        address: None,
        file: None,
        root_path: None,
        disk: None,
        lease_seconds: 0,
    };
    annotate(&mut dhcp, &[event(0, ack)]);
    assert!(dhcp[3].outgoing == Some(true) && dhcp[3].comments.len() == 1, "what left, although what came is nearer");
}

#[test]
fn a_file_survives_the_way_over_the_control_socket() {
    let packets = Packets { count: 3, ..Packets::default() }.with_file(&[0, 0xab, 0xff]);
    assert_eq!(packets.pcapng, "00abff");
    let json = serde_json::to_string(&Reply::Packets(packets)).unwrap();
    let Ok(Reply::Packets(back)) = serde_json::from_str(&json) else { panic!("{json}") };
    assert_eq!((back.file(), back.count), (vec![0, 0xab, 0xff], 3));
    assert_eq!(Packets { pcapng: "zz".into(), ..back }.file(), Vec::<u8>::new());
}

#[tokio::test]
async fn a_boot_is_remembered_and_told_when_it_is_asked_for() {
    use crate::api::{Command, Who};
    use crate::engine::{Engine, Options};
    use crate::hosts::BootOutcome;
    use crate::lab::Boot;
    let dir = tempfile::tempdir().unwrap();
    let (engine, shared) = Engine::open_sharing(dir.path(), Options::default()).await.unwrap();
    let mac: crate::net::MacAddr = "52:54:00:00:00:07".parse().unwrap();
    let asks = || EventKind::DhcpDiscover {
        client: ClientKind::PxeRom,
        xid: 1,
        secs: 0,
        arch: None,
        vendor: None,
        hostname: None,
        relay: None,
    };
    let served = EventKind::ScriptServed { boot: Boot::Local, dialect: "ipxe".into(), because: String::new() };
    let boots = async |engine: &Engine| {
        let told = engine.handle().call(Command::Boots { host: mac.to_string() }).await;
        let Ok(Reply::Boots { boots }) = told else { panic!("{told:?}") };
        boots
    };
    for kind in [asks(), served, EventKind::ScriptStep { step: "local".into() }] {
        shared.report(Some(Who::mac(mac)), kind);
    }
    shared.reporter.settled().await;
    let first = boots(&engine).await;
    let shown: Vec<_> = first.iter().map(|boot| (boot.outcome, boot.given.clone(), boot.steps.len())).collect();
    assert_eq!(shown, [(BootOutcome::Arrived, Some(Boot::Local), 3)]);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    shared.report(Some(Who::mac(mac)), asks());
    shared.reporter.settled().await;
    let both = boots(&engine).await;
    assert_eq!((both.len(), both[0].outcome, both[0].steps.len()), (2, BootOutcome::Underway, 1));
    assert_eq!(both[1], first[0], "the one before stays as it was");
    let unknown = engine.handle().call(Command::Boots { host: "52:54:00:00:00:08".into() }).await;
    assert!(unknown.is_err(), "nobody becomes known by being asked about");
    engine.close().await;
}

#[tokio::test]
async fn whoever_asks_is_told_of_what_was_reported_before() {
    use crate::api::{Command, Who};
    use crate::engine::{Engine, Options};
    let dir = tempfile::tempdir().unwrap();
    let (engine, shared) = Engine::open_sharing(dir.path(), Options::default()).await.unwrap();
    for n in 0..40 {
        let mac = crate::net::MacAddr([2, 0, 0, 0, 0, n]);
        shared.report(Some(Who::mac(mac)), EventKind::ScriptStep { step: "local".into() });
        let told = engine.handle().call(Command::Boots { host: mac.to_string() }).await;
        assert!(told.is_ok(), "{n}: {told:?}");
    }
    engine.close().await;
}
