//! What is folded from events, and when silence means something.

use super::*;
use crate::api::Stage;

fn reported(who: Who, kind: EventKind) -> Reported {
    Reported { at: Now::at(Duration::from_secs(1)), observation: Observation::of(who, kind) }
}

fn discover(client: ClientKind) -> EventKind {
    EventKind::DhcpDiscover { client, xid: 1, secs: 0, arch: None, vendor: None, hostname: None, relay: None }
}

#[test]
fn a_machine_is_followed_by_its_address_once_it_was_given_one() {
    let mut state = State::new(7, vec![]);
    let mac: MacAddr = "52:54:00:00:00:01".parse().unwrap();
    let first = state.fold(reported(Who::mac(mac), discover(ClientKind::PxeRom)));
    assert_eq!(first.event.as_ref().unwrap().seq, 8);
    let ip = Ipv4Addr::new(192, 168, 2, 20);
    let ack = EventKind::DhcpAck {
        client: ClientKind::PxeRom,
        address: Some(ip),
        file: Some("snponly.efi".into()),
        root_path: None,
        disk: None,
        lease_seconds: 60,
    };
    state.fold(reported(Who::mac(mac), ack));
    let done = EventKind::TftpDone { file: "snponly.efi".into(), bytes: 1, millis: 1 };
    let folded = state.fold(reported(Who::ip(ip), done));
    assert_eq!(folded.event.unwrap().mac, Some(mac));
    assert_eq!(folded.ipxe, [(mac, true)], "its router solicitation may now be answered");
    let snapshot = state.snapshot(std::path::Path::new("/lab"));
    assert_eq!(snapshot.hosts.len(), 1);
    assert_eq!((snapshot.hosts[0].stage, snapshot.hosts[0].ip), (Stage::Firmware, Some(ip.into())));
}

#[test]
fn the_machine_that_the_doctor_plays_is_not_told_of() {
    let mut state = State::new(7, vec![]);
    state.set_plan(Arc::new(Plan { self_test: Some(Boot::Local), ..Plan::default() }));
    let ours = Ipv4Addr::new(192, 168, 2, 1);
    state.directory.resolve(&Who { mac: Some(SELF_TEST), uuid: None, ip: Some(ours.into()) });
    let done = EventKind::TftpDone { file: "snponly.efi".into(), bytes: 1, millis: 1 };
    for (who, kind) in [(Who::mac(SELF_TEST), discover(ClientKind::PxeRom)), (Who::ip(ours), done)] {
        let folded = state.fold(reported(who, kind));
        assert!(folded.event.is_none() && folded.record.is_none());
    }
    let mac: MacAddr = "52:54:00:00:00:01".parse().unwrap();
    let next = state.fold(reported(Who::mac(mac), discover(ClientKind::PxeRom)));
    assert_eq!(next.event.unwrap().seq, 8, "no number is left out");
    let snapshot = state.snapshot(std::path::Path::new("/lab"));
    assert_eq!(snapshot.hosts.iter().map(|h| h.macs[0]).collect::<Vec<_>>(), [mac]);
    state.set_plan(Arc::default());
    let late = state.fold(reported(Who::mac(SELF_TEST), discover(ClientKind::PxeRom)));
    assert!(late.event.is_none(), "what it caused is told a little later");
}

#[test]
fn a_machine_with_the_doctor_s_address_is_told_of_while_the_doctor_plays_none() {
    let mut state = State::new(7, vec![]);
    let folded = state.fold(reported(Who::mac(SELF_TEST), discover(ClientKind::PxeRom)));
    assert_eq!(folded.event.unwrap().mac, Some(SELF_TEST));
    assert_eq!(state.snapshot(std::path::Path::new("/lab")).hosts.len(), 1);
}

#[test]
fn an_unchanged_machine_is_not_drawn_anew() {
    let mut state = State::new(0, vec![]);
    for last in 1..=2 {
        state.fold(reported(Who::mac(MacAddr([2, 0, 0, 0, 0, last])), discover(ClientKind::PxeRom)));
    }
    let one = state.snapshot(std::path::Path::new("/lab"));
    state.fold(reported(Who::mac(MacAddr([2, 0, 0, 0, 0, 1])), discover(ClientKind::Ipxe)));
    let two = state.snapshot(std::path::Path::new("/lab"));
    assert!(!Arc::ptr_eq(&one.hosts[0], &two.hosts[0]));
    assert!(Arc::ptr_eq(&one.hosts[1], &two.hosts[1]));
}

#[test]
fn a_silence_becomes_a_finding_at_its_deadline() {
    let mut state = State::new(0, vec![]);
    let ack = asks_for_no_file(&mut state);
    let folder = std::path::Path::new("/lab");
    assert!(state.snapshot(folder).hosts[0].findings.is_empty());
    let due = Now::at(state.deadline().unwrap());
    assert!(!state.silence(Now::at(due.boot - Duration::from_millis(1))));
    assert!(state.silence(due));
    let finding = state.snapshot(folder).hosts[0].findings[0].clone();
    assert_eq!(
        (finding.id.as_str(), finding.events, finding.since),
        ("boot-file-not-asked", vec![ack.seq], Some(due.wall))
    );
    assert_eq!(state.deadline(), None);
}

/// A firmware that has its address and does not ask for its boot file yet; the last event.
fn asks_for_no_file(state: &mut State) -> Arc<Event> {
    let who = || Who::mac(MacAddr([2, 0, 0, 0, 0, 1]));
    state.fold(reported(who(), discover(ClientKind::PxeRom)));
    let ack = EventKind::DhcpAck {
        client: ClientKind::PxeRom,
        address: Some([192, 168, 2, 20].into()),
        file: Some("snponly.efi".into()),
        root_path: None,
        disk: None,
        lease_seconds: 60,
    };
    state.fold(reported(who(), ack)).event.unwrap()
}

#[test]
fn what_came_while_this_computer_slept_is_not_missed() {
    let mut state = State::new(0, vec![]);
    asks_for_no_file(&mut state);
    assert!(!state.silence(Now::at(Duration::from_secs(1))));
    assert!(!state.silence(Now::at(Duration::from_secs(3601))), "nobody has listened for the request");
    assert_eq!(state.deadline(), None);
    assert!(!state.silence(Now::at(Duration::from_secs(3602))));
}

#[test]
fn a_clock_that_is_set_makes_no_silence_longer_or_shorter() {
    for hours in [1, -1] {
        let mut state = State::new(0, vec![]);
        let given = asks_for_no_file(&mut state);
        let set = |boot| {
            let now = Now::at(boot);
            Now { wall: now.wall + jiff::SignedDuration::from_hours(hours), ..now }
        };
        assert!(!state.silence(Now::at(Duration::from_secs(1))));
        let due = state.deadline().unwrap();
        assert!(!state.silence(set(Duration::from_secs(2))));
        assert_eq!(state.deadline(), Some(due), "it is waited for as before");
        // What happens then is told by the new time, and measured from what happened before.
        let other = Who::mac(MacAddr([2, 0, 0, 0, 0, 2]));
        let observation = Observation::of(other, discover(ClientKind::PxeRom));
        let event = state.fold(Reported { at: set(due), observation }).event.unwrap();
        assert_eq!(event.time, set(due).wall);
        for second in 3..due.as_secs() {
            assert!(!state.silence(set(Duration::from_secs(second))));
        }
        assert!(!state.silence(set(due - Duration::from_millis(1))));
        assert!(state.silence(set(due)), "{hours} h");
        let shot = state.snapshot(std::path::Path::new("/lab"));
        let finding = &shot.hosts[0].findings[0];
        assert_eq!((finding.events.clone(), finding.since), (vec![given.seq], Some(set(due).wall)));
    }
}

#[test]
fn a_waiting_machine_is_not_gone_because_the_clock_was_set() {
    let mut state = State::new(0, vec![]);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let served = || {
        let (boot, dialect, because) = (Boot::Wait, "ipxe".to_owned(), String::new());
        EventKind::ScriptServed { boot, dialect, because }
    };
    state.fold(reported(Who::mac(mac), discover(ClientKind::Ipxe)));
    state.fold(reported(Who::mac(mac), served()));
    let set = |seconds, hours| {
        let now = Now::at(Duration::from_secs(seconds));
        Now { wall: now.wall + jiff::SignedDuration::from_hours(hours), ..now }
    };
    assert_eq!(state.tick(set(2, 1)), (false, vec![]), "an hour has not passed");
    let waits = &state.hosts.values().next().unwrap();
    assert_eq!((waits.host.since, waits.entered), (Some(set(1, 1).wall), Some(Duration::from_secs(1))));
    assert!(!state.tick(set(3, -1)).0);
    assert!(state.tick(set(180, -1)).0, "but three minutes have");
}

#[test]
fn a_waiting_machine_that_is_turned_off_leaves_its_stage_and_ipxe() {
    let mut state = State::new(0, vec![]);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    state.fold(reported(Who::mac(mac), discover(ClientKind::Ipxe)));
    let dialect = "ipxe".to_owned();
    let served = EventKind::ScriptServed { boot: Boot::Wait, dialect, because: String::new() };
    state.fold(reported(Who::mac(mac), served));
    let folder = std::path::Path::new("/lab");
    assert_eq!(state.tick(Now::at(Duration::from_secs(61))), (false, vec![]));
    assert_eq!(state.snapshot(folder).hosts[0].stage, Stage::Waiting);
    let (changed, ipxe) = state.tick(Now::at(Duration::from_secs(181)));
    assert!(changed && ipxe == [mac], "no router is told to it any more: {ipxe:?}");
    assert_eq!(state.snapshot(folder).hosts[0].stage, Stage::Absent);
}

#[test]
fn a_dock_that_went_to_another_machine_is_told_at_each_of_its_boots() {
    let mut state = State::new(0, vec![]);
    let who = |uuid| Who { uuid: Some(uuid::Uuid::from_u128(uuid)), ..Who::mac(MacAddr([2, 0, 0, 0, 0, 1])) };
    let mut asks = |uuid| state.fold(reported(who(uuid), discover(ClientKind::PxeRom))).also.map(|e| e.kind.clone());
    assert_eq!(asks(1), None);
    let other = EventKind::OtherUuid { known: uuid::Uuid::from_u128(1), seen: uuid::Uuid::from_u128(2) };
    assert_eq!((asks(2), asks(2), asks(1)), (Some(other.clone()), Some(other), None));
    let swapped = uuid::Uuid::from_bytes_le(*uuid::Uuid::from_u128(1).as_bytes()).as_u128();
    assert_eq!(asks(swapped), None, "the same number in the other order of bytes");
}
