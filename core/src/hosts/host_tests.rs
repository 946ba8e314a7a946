use super::*;
use crate::api::{Source, VERSION};
use crate::hosts::{BootOutcome, BootRecord};
use crate::lab::{Install, InstallThen, IscsiBoot, IscsiVia};
use crate::machine::Now;
use std::net::Ipv4Addr;
use std::time::Duration;

struct Story {
    host: Host,
    seconds: u64,
}

impl Story {
    fn new() -> Self {
        Self { host: Host::default(), seconds: 0 }
    }

    fn then(&mut self, kind: EventKind) -> Stage {
        self.seconds += 1;
        let time = Now::at(Duration::from_secs(self.seconds)).wall;
        let event = Event { v: VERSION, seq: self.seconds, time, host: None, mac: None, source: Source::Served, kind };
        self.host.apply(&event);
        self.host.stage
    }

    fn discover(&mut self, client: ClientKind) -> Stage {
        self.then(EventKind::DhcpDiscover {
            client,
            xid: 1,
            secs: 0,
            arch: Some(Arch::UefiX64),
            vendor: None,
            hostname: None,
            relay: None,
        })
    }

    fn ack(&mut self, client: ClientKind, file: &str) -> Stage {
        self.then(EventKind::DhcpAck {
            client,
            address: Some(Ipv4Addr::new(192, 168, 2, 20)),
            file: Some(file.into()),
            root_path: None,
            disk: None,
            lease_seconds: 1800,
        })
    }

    fn reaches_script(&mut self) {
        assert_eq!(self.discover(ClientKind::PxeRom), Stage::Seen);
        assert_eq!(self.ack(ClientKind::PxeRom, "snponly.efi"), Stage::Addressed);
        let file = || "snponly.efi".to_owned();
        assert_eq!(self.then(EventKind::TftpRequest { file: file(), options: vec![] }), Stage::Firmware);
        self.then(EventKind::TftpAborted { file: file(), sent: 0, probe: true, message: "User aborted".into() });
        self.then(EventKind::TftpProgress { file: file(), sent: 500, total: 1000 });
        assert_eq!(self.then(EventKind::TftpDone { file: file(), bytes: 1000, millis: 3 }), Stage::Firmware);
        assert_eq!(self.discover(ClientKind::Ipxe), Stage::Ipxe);
        assert_eq!(self.ack(ClientKind::Ipxe, "http://192.168.2.1/boot/m/boot.ipxe"), Stage::Ipxe);
    }
}

fn install() -> Boot {
    Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Local })
}

#[test]
fn an_installation_is_followed_from_firmware_to_installer() {
    let mut story = Story::new();
    story.reaches_script();
    let served = |boot: Boot| EventKind::ScriptServed { boot, dialect: "ipxe".into(), because: String::new() };
    assert_eq!(story.then(served(Boot::Wait)), Stage::Waiting);
    assert_eq!(story.then(served(install())), Stage::Script);
    let path = "/media/debian-12/kernel/linux".to_owned();
    let request = EventKind::HttpRequest { method: "GET".into(), path: path.clone(), status: 200, agent: None };
    assert_eq!(story.then(request), Stage::Loading);
    story.then(EventKind::HttpProgress { path: path.clone(), sent: 4_000_000, total: 8_000_000 });
    let (name, progress) = story.host.activity().unwrap();
    assert_eq!((name, progress.done, progress.total, progress.rate), ("linux", 4_000_000, 8_000_000, 4_000_000));
    assert_eq!(story.then(EventKind::HttpDone { path, bytes: 8_000_000, millis: 2000 }), Stage::Loading);
    assert_eq!(story.host.activity(), None);
    assert_eq!(story.then(EventKind::ScriptStep { step: "kernel-start".into() }), Stage::OsStarted);
    story.discover(ClientKind::Os);
    assert_eq!(story.then(EventKind::AnswersServed { profile: "debian-12".into() }), Stage::Installing);
    assert!(story.host.timeline.iter().all(|s| s.state != StepState::Failed), "a size probe is no failure");
    let steps = story.host.timeline.len();
    assert!(story.host.timeline[..steps - 1].iter().all(|s| s.end.is_some()));
}

#[test]
fn an_iscsi_root_is_followed_to_the_running_system_and_to_its_end() {
    let mut story = Story::new();
    story.reaches_script();
    let iscsi = IscsiBoot { disk: "d".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None };
    story.then(EventKind::ScriptServed { boot: Boot::Iscsi(iscsi), dialect: "ipxe".into(), because: String::new() });
    let login = |firmware, session| EventKind::IscsiLogin {
        initiator: "i".into(),
        target: "t".into(),
        disk: "d".into(),
        firmware,
        session,
    };
    let ended = |session| EventKind::IscsiEnded { target: "t".into(), session, reason: "logout".into() };
    assert_eq!(story.then(login(true, 1)), Stage::SanLogin);
    story.then(ended(1));
    assert_eq!(story.then(login(false, 2)), Stage::OsLogin);
    story.seconds += 20;
    let moved = EventKind::IscsiProgress { target: "t".into(), session: 2, read: 1 << 20, written: 0 };
    assert_eq!(story.then(moved), Stage::Running);
    assert!(story.host.on_our_disk());
    story.then(ended(2));
    let at = |s| Now::at(Duration::from_secs(s)).wall;
    assert!(!story.host.tick(at(story.seconds + 5)), "a reconnect is still possible");
    assert!(story.host.tick(at(story.seconds + 30)));
    assert_eq!(story.host.stage, Stage::Absent);
}

#[test]
fn a_machine_that_waits_and_is_turned_off_is_gone() {
    let at = |s| Now::at(Duration::from_secs(s)).wall;
    let waits = |boot: Boot, client| {
        let mut story = Story::new();
        story.discover(client);
        let dialect = "ipxe".to_owned();
        assert_eq!(story.then(EventKind::ScriptServed { boot, dialect, because: String::new() }), Stage::Waiting);
        story
    };
    let asks = || EventKind::HttpRequest {
        method: "GET".into(),
        path: "/boot/52-54-00-00-00-01/wait.ipxe".into(),
        status: 200,
        agent: None,
    };
    let mut story = waits(Boot::Wait, ClientKind::Ipxe);
    for _ in 0..100 {
        story.seconds += 25;
        assert_eq!(story.then(asks()), Stage::Waiting);
        assert!(!story.host.fell_silent(at(story.seconds + 60)), "it asks again");
    }
    assert!(story.host.fell_silent(at(story.seconds + 121)));
    assert_eq!(story.host.stage, Stage::Absent);
    assert!(!waits(Boot::Wait, ClientKind::Gpxe).host.fell_silent(at(900)), "gPXE is held for ten minutes");
    assert!(!waits(Boot::Menu, ClientKind::Ipxe).host.fell_silent(at(86_400)), "nothing is heard of a menu");
}

#[test]
fn a_boot_that_ends_without_a_word_is_over_but_not_a_system_that_runs() {
    let at = |s| Now::at(Duration::from_secs(s)).wall;
    let mut story = Story::new();
    story.reaches_script();
    assert!(!story.host.fell_silent(at(story.seconds + 600)));
    assert!(story.host.fell_silent(at(story.seconds + 1000)));
    assert_eq!(story.host.stage, Stage::Absent);
    let mut installs = Story::new();
    installs.reaches_script();
    installs.then(EventKind::ScriptStep { step: "kernel-start".into() });
    assert!(!installs.host.fell_silent(at(86_400)), "an installer may be silent for hours");
}

#[test]
fn a_system_that_lets_its_address_go_is_gone() {
    let at = |s| Now::at(Duration::from_secs(s)).wall;
    let mut story = Story::new();
    assert_eq!(story.discover(ClientKind::Os), Stage::Running);
    for _ in 0..3 {
        story.ack(ClientKind::Os, "");
        assert!(!story.host.fell_silent(at(story.seconds + 1799)), "it has its address for half an hour");
        story.seconds += 900;
    }
    assert!(story.host.fell_silent(at(story.seconds + 901)));
    assert_eq!(story.host.stage, Stage::Absent);
    let mut elsewhere = Story::new();
    elsewhere.discover(ClientKind::Os);
    assert!(!elsewhere.host.fell_silent(at(86_400)), "what another server gave it is not known");
}

#[test]
fn a_system_that_does_not_come_back_after_a_stop_is_gone() {
    let mut story = Story::new();
    let login = |session| EventKind::IscsiLogin {
        initiator: "i".into(),
        target: "t".into(),
        disk: "d".into(),
        firmware: false,
        session,
    };
    let at = |s| Now::at(Duration::from_secs(s)).wall;
    story.then(login(1));
    story.host.engine_stopped(at(10));
    assert!(!story.host.tick(at(20)), "it may be started again");
    let mut back = Story { host: story.host.clone(), seconds: 20 };
    back.then(login(2));
    assert!(!back.host.tick(at(86_400)) && back.host.on_our_disk());
    assert!(story.host.tick(at(31)));
    assert_eq!(story.host.stage, Stage::Absent);
}

#[test]
fn a_direct_start_shows_each_link_of_its_chain() {
    let mut story = Story::new();
    story.reaches_script();
    let profile = Some("xen".parse().unwrap());
    let boot = Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile, via: IscsiVia::Script, writes: None });
    story.then(EventKind::ScriptServed { boot, dialect: "ipxe".into(), because: String::new() });
    let before = story.host.timeline.len();
    for path in ["hypervisor/xen-4.17", "kernel/vmlinuz-6.1", "initrd/0/initrd.img-6.1"] {
        let path = format!("/media/xen/{path}");
        let asked = EventKind::HttpRequest { method: "GET".into(), path: path.clone(), status: 200, agent: None };
        assert_eq!(story.then(asked), Stage::Loading);
        story.then(EventKind::HttpDone { path, bytes: 7_000_000, millis: 900 });
    }
    story.then(EventKind::ScriptStep { step: "kernel-start".into() });
    let login = |firmware, session| EventKind::IscsiLogin {
        initiator: "i".into(),
        target: "t".into(),
        disk: "d".into(),
        firmware,
        session,
    };
    assert_eq!(story.then(login(true, 1)), Stage::OsStarted, "the kernel asks the BIOS for its disks");
    for _ in 0..2 {
        assert_eq!(story.discover(ClientKind::Os), Stage::OsStarted);
        story.ack(ClientKind::Os, "");
    }
    assert_eq!(story.then(login(false, 2)), Stage::OsLogin);
    let chain: Vec<_> = story.host.timeline[before..].iter().map(|s| (s.stage, s.part, s.text.as_str())).collect();
    let loading = |part, text| (Stage::Loading, Some(part), text);
    assert_eq!(
        chain,
        [
            loading(StepPart::Hypervisor, "xen-4.17"),
            loading(StepPart::Kernel, "vmlinuz-6.1"),
            loading(StepPart::Initrd, "initrd.img-6.1"),
            (Stage::OsStarted, None, "kernel started"),
            (Stage::OsStarted, Some(StepPart::SystemAddress), "192.168.2.20 for the system"),
            (Stage::OsLogin, None, "t"),
        ]
    );
    let moved: Vec<_> = story.host.timeline[before..before + 3].iter().map(|s| s.bytes).collect();
    assert_eq!(moved, [7_000_000; 3], "each file with its own bytes");
    assert!(story.host.timeline.iter().rev().skip(1).all(|s| s.end.is_some()));
}

#[test]
fn what_is_repeated_and_when_nothing_comes_is_told_of_each_step() {
    let mut story = Story::new();
    story.discover(ClientKind::PxeRom);
    story.discover(ClientKind::PxeRom);
    story.discover(ClientKind::PxeRom);
    assert_eq!((story.host.timeline.len(), story.host.timeline[0].retries), (1, 2));
    story.ack(ClientKind::PxeRom, "snponly.efi");
    let file = || "snponly.efi".to_owned();
    story.then(EventKind::TftpRequest { file: file(), options: vec![] });
    story.then(EventKind::TftpAborted { file: file(), sent: 0, probe: true, message: "User aborted".into() });
    story.then(EventKind::TftpRequest { file: file(), options: vec![] });
    story.then(EventKind::TftpProgress { file: file(), sent: 500, total: 1000 });
    assert_eq!(story.host.timeline.last().unwrap().retries, 0, "it only asked for the size first");
    let before = story.seconds;
    story.seconds += 8;
    story.then(EventKind::TftpRequest { file: file(), options: vec![] });
    story.then(EventKind::TftpDone { file: file(), bytes: 1000, millis: 3 });
    let step = story.host.timeline.last().unwrap();
    let at = |s| Now::at(Duration::from_secs(s)).wall;
    assert_eq!((step.retries, &step.gaps[..]), (1, &[(at(before), at(before + 9))][..]));
    assert_eq!(step.seq, before - 3, "the event that began it");
}

#[test]
fn a_boot_is_remembered_from_its_first_packet_to_where_it_arrives() {
    let mut story = Story::new();
    story.reaches_script();
    assert_eq!(story.host.boot_record().unwrap().outcome, BootOutcome::Underway);
    story.then(EventKind::ScriptServed { boot: Boot::Local, dialect: "ipxe".into(), because: String::new() });
    assert_eq!(story.then(EventKind::ScriptStep { step: "local".into() }), Stage::Local);
    let record = story.host.boot_record().unwrap();
    assert_eq!((record.outcome, record.given.clone()), (BootOutcome::Arrived, Some(Boot::Local)));
    let took: Vec<_> = record.steps.iter().map(|s| (s.stage, s.at, s.millis, s.bytes)).collect();
    assert_eq!(took[0], (Stage::Seen, 0, Some(1000), 0));
    assert_eq!(took[2], (Stage::Firmware, 2000, Some(3000), 1000));
    assert_eq!(took.last().unwrap().2, None, "nobody sees its end");
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<BootRecord>(&json).unwrap(), record);
    story.discover(ClientKind::PxeRom);
    assert_eq!(story.host.boot_record().unwrap().given, None, "another boot");
    let mut system = Story::new();
    system.discover(ClientKind::Os);
    assert_eq!(system.host.boot_record(), None, "its boot was not seen");
}

#[test]
fn what_a_person_does_about_a_machine_is_no_sign_of_its_life() {
    let mut story = Story::new();
    assert_eq!(story.then(EventKind::WakeSent { interfaces: vec!["enp3s0".into()] }), Stage::Absent);
    story.then(EventKind::Assigned { to: Boot::Local, by: "window".into() });
    assert!(story.host.woken.is_some() && story.host.last_seen.is_none() && story.host.first_seen.is_none());
    story.discover(ClientKind::PxeRom);
    assert!(story.host.woken.is_none() && story.host.last_seen.is_some());
}

#[test]
fn a_machine_that_starts_over_gets_a_new_timeline() {
    let mut story = Story::new();
    story.reaches_script();
    story.then(EventKind::ScriptError { step: "kernel".into(), code: 0x2d0c_618e });
    assert_eq!(story.host.stage, Stage::Failed);
    assert_eq!(story.discover(ClientKind::PxeRom), Stage::Seen);
    assert_eq!(story.host.timeline.len(), 1);
    story.discover(ClientKind::PxeRom);
    assert_eq!(story.host.timeline.len(), 1, "a retransmission is not another boot");
}
