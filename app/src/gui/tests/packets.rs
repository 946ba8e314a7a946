//! The pane of a machine's packets, and the events: what is asked, what is shown, what goes into files.

use std::sync::Arc;

use bootyard_core::api::*;
use bootyard_core::lab::Boot;
use bootyard_core::trace::{Packet, file};
use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Theme};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use jiff::{SignedDuration, Timestamp};

use super::sample::{bench, host};
use super::{Window, picture};

const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEM: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

fn zero() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

fn at(millis: i64) -> Timestamp {
    zero() + SignedDuration::from_millis(millis)
}

fn udp(millis: i64, out: bool, ports: (u16, u16), payload: &[u8]) -> Packet {
    let (from, to) = if out { (US, THEM) } else { (THEM, US) };
    let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let ends: [u8; 8] = if out { [192, 168, 77, 1, 192, 168, 77, 21] } else { [192, 168, 77, 21, 192, 168, 77, 1] };
    let data = [
        &to[..],
        &from,
        &[8, 0, 0x45, 0],
        &length(28 + payload.len()),
        &[0, 0, 0, 0, 64, 17, 0, 0],
        &ends,
        &ports.0.to_be_bytes(),
        &ports.1.to_be_bytes(),
        &length(8 + payload.len()),
        &[0, 0],
        payload,
    ]
    .concat();
    let original = u32::try_from(data.len()).unwrap();
    Packet { time: at(millis), outgoing: Some(out), original, data, comments: Vec::new() }
}

fn arp(millis: i64) -> Packet {
    let data = [
        &[0xff; 6][..],
        &THEM,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &THEM,
        &[192, 168, 77, 21],
        &[0; 6],
        &[192, 168, 77, 1],
    ];
    let data = data.concat();
    Packet { time: at(millis), outgoing: Some(false), original: 42, data, comments: Vec::new() }
}

/// A boot: it asks who we are, then for its boot file, then for a file that is not there.
fn boot() -> Vec<Packet> {
    let mut ask = udp(1000, false, (2070, 69), b"\0\x01snponly.efi\0octet\0");
    ask.comments.push("tftp-request file=snponly.efi".into());
    vec![
        arp(900),
        ask,
        udp(1010, true, (40_001, 2070), b"\0\x03\0\x01first block"),
        udp(1020, false, (2070, 40_001), b"\0\x04\0\x01"),
        udp(5000, false, (2071, 69), b"\0\x01grubx64.efi\0octet\0"),
        udp(5001, true, (40_002, 2071), b"\0\x05\0\x01no such file\0"),
    ]
}

fn reply(packets: &[Packet]) -> Result<Reply, CommandError> {
    let told = Packets { count: packets.len(), gone: 7, ..Packets::default() };
    Ok(Reply::Packets(told.with_file(&file::write(packets, &["pc-01".to_owned()]))))
}

fn machine() -> Snapshot {
    let step = |stage, start, end: Option<i64>, text: &str| Step {
        stage,
        part: None,
        start: at(start),
        end: end.map(at),
        text: text.into(),
        state: if end.is_some() { StepState::Done } else { StepState::Failed },
        ..Step::default()
    };
    let mut one = host(1, Stage::Failed, Boot::Wait);
    one.timeline = vec![
        step(Stage::Firmware, 1005, Some(1500), "snponly.efi"),
        step(Stage::Ipxe, 1500, Some(4900), "iPXE 1.21.1"),
        step(Stage::Firmware, 5002, None, "grubx64.efi"),
    ];
    Snapshot { hosts: vec![Arc::new(one)], ..bench(0) }
}

fn asked() -> Command {
    Command::Packets { host: "52:54:00:00:00:01".into() }
}

/// The machine a moment after its last packet.
pub(super) fn just_now() -> Snapshot {
    crate::gui::clock::stop_here(at(9000));
    machine()
}

/// On its screen, with its packets, and with the fields of one of them.
pub(super) fn choose_one(window: &mut Window) {
    show(window);
    window.answer(reply(&boot()));
    window.wait_for("read snponly.efi");
    window.look();
    window.harness.get_by_label_contains("TFTP  read grubx64.efi").click();
    window.frames();
}

/// On its screen, of which there are no packets.
pub(super) fn find_none(window: &mut Window) {
    show(window);
    let absent = Packets { absent: Some("packet sockets need a right that is missing".into()), ..Packets::default() };
    window.answer(Ok(Reply::Packets(absent.with_file(&file::write(&[], &[])))));
    window.wait_for("No packets are captured");
    window.look();
}

fn show(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::F8);
}

/// The machine's screen with its packets.
pub(super) fn opened(textures: picture::Textures, theme: Theme) -> Window {
    let mut window = Window::with(machine(), theme, [1280.0, 900.0], 1.0, textures);
    show(&mut window);
    assert!(window.sees("Asking for its packets"));
    assert_eq!(window.answer(reply(&boot())), asked());
    window.wait_for("read snponly.efi");
    window
}

fn open() -> Window {
    opened(picture::Textures::default(), Theme::Dark)
}

#[test]
fn a_key_shows_the_packets_decoded_and_a_click_their_fields() {
    let mut window = open();
    assert!(window.sees("All 6") && window.sees("TFTP 5") && window.sees("ARP 1"));
    assert!(window.sees("7 older packets made room for these"));
    window.harness.get_by_label_contains("TFTP  read grubx64.efi").click();
    window.frames();
    assert!(window.sees("Copy the packet's fields") && window.sees("UDP: port 2071 to 69"));
    // Step by step with the keys, to the last one, which is an error.
    window.key(Modifiers::NONE, Key::ArrowDown);
    assert!(window.sees("UDP: port 40002 to 2071"));
    // Back: first the packet, then the screen.
    window.key(Modifiers::NONE, Key::Escape);
    assert!(!window.sees("Copy the packet's fields") && window.sees("This boot"));
    window.key(Modifiers::NONE, Key::Escape);
    assert!(!window.sees("This boot"));
}

#[test]
fn a_click_on_a_step_shows_its_packets_alone() {
    let mut window = open();
    window.harness.get_by_label_contains("snponly.efi, 495 ms").click();
    window.frames();
    assert!(window.sees("3 packets of the step snponly.efi"));
    assert!(!window.sees("read grubx64.efi"));
    window.click("Whole boot");
    assert!(window.sees("read grubx64.efi"));
}

#[test]
fn packets_are_filtered_by_protocol_and_text() {
    let mut window = open();
    window.click("ARP 1");
    assert!(!window.sees("read snponly.efi") && window.sees("192.168.77.21"));
    window.click("All 6");
    window.type_into("Filter packets", "GRUB");
    assert!(window.sees("read grubx64.efi") && !window.sees("read snponly.efi"));
    window.type_into("Filter packets", "no such thing");
    assert!(window.sees("No packet matches"));
    window.click("Show all");
    assert!(window.sees("read snponly.efi"));
}

#[test]
fn it_follows_until_it_is_held() {
    let mut window = open();
    let mut more = boot();
    more.push(udp(9000, false, (2072, 69), b"\0\x01another.efi\0octet\0"));
    // The window's clock goes on by its frames.
    let wait = |window: &mut Window| window.harness.run_steps(90);
    window.end.publish(Snapshot { seq: 90, ..machine() });
    wait(&mut window);
    assert_eq!(window.answer(reply(&more)), asked());
    window.wait_for("read another.efi");
    window.click("Pause packets");
    window.end.publish(Snapshot { seq: 91, ..machine() });
    wait(&mut window);
    window.sent_nothing();
    window.click("Follow packets");
    assert_eq!(window.answer(reply(&boot())), asked());
}

#[test]
fn what_is_missing_and_what_fails_is_said() {
    let mut window = Window::over(machine());
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::F8);
    let error = CommandError::new("the engine is busy");
    assert_eq!(window.answer(Err(error)), asked());
    window.wait_for("The engine is busy");
    window.click("Try again");
    let absent = Packets { absent: Some("packet sockets need a right that is missing".into()), ..Packets::default() };
    assert_eq!(window.answer(Ok(Reply::Packets(absent.with_file(&file::write(&[], &[]))))), asked());
    window.wait_for("No packets are captured: packet sockets need a right");
}

/// Clicks through the export; returns the file's bytes.
fn exported(window: &mut Window, button: &str, name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    window.click(button);
    window.type_into("New file", &path.display().to_string());
    window.harness.get_all_by_label("Export").last().unwrap().click();
    window.wait_for(&format!(" in {}", dir.path().display()));
    window.sent_nothing();
    std::fs::read(path).unwrap()
}

#[test]
fn packets_go_into_files_as_the_filter_shows_them() {
    let mut window = open();
    let whole = exported(&mut window, "Export packets…", "boot.pcapng");
    let read = file::read(&whole).unwrap();
    assert_eq!((read.packets, read.comments), (boot(), vec!["pc-01".to_owned()]));
    window.click("TFTP 5");
    let text = String::from_utf8(exported(&mut window, "Export packets…", "boot.txt")).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.contains("# tftp-request file=snponly.efi"), "{text}");
    let json: serde_json::Value =
        serde_json::from_slice(&exported(&mut window, "Export packets…", "boot.json")).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(5));
    assert_eq!((&json[0]["protocol"], &json[0]["outgoing"]), (&"TFTP".into(), &false.into()));
}

#[test]
fn a_file_that_is_there_is_left_and_said() {
    let mut window = open();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.txt");
    std::fs::write(&path, "mine").unwrap();
    window.click("Export packets…");
    window.type_into("New file", &path.display().to_string());
    window.harness.get_all_by_label("Export").last().unwrap().click();
    window.wait_for("it must not exist");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn events_are_filtered_by_machine_held_and_written() {
    let mut window = Window::over(bench(9));
    window.key(Modifiers::COMMAND, Key::Num3);
    assert!(window.sees("PXE firmware asks for an address"));
    window.click("Events of");
    // Of the list, where it is not scrolled out of sight, and not of a row.
    let in_list = |node: &egui_kittest::Node<'_>| node.accesskit_node().role() != Role::Label;
    let second = bench(9).hosts[1].clone();
    let name = crate::gui::say::host_name(&second);
    window.harness.get_all_by_label(&name).find(in_list).unwrap().click();
    window.frames();
    window.click("All");
    let of_it = bench(9).recent.iter().filter(|e| e.host == Some(second.id)).count();
    assert!(window.sees(&format!("{of_it} events")));
    let text = String::from_utf8(exported(&mut window, "Export events…", "events.txt")).unwrap();
    assert_eq!(text.lines().count(), of_it);
    let json = String::from_utf8(exported(&mut window, "Export events…", "events.json")).unwrap();
    let seqs: Vec<u64> = json.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().seq).collect();
    assert!(seqs.is_sorted() && seqs.len() == of_it, "{seqs:?}");

    window.key(Modifiers::NONE, Key::Space);
    let mut newer = bench(9);
    let event = Event { seq: 500, host: Some(second.id), ..(*newer.recent[199]).clone() };
    newer.recent.push(Arc::new(Event { kind: EventKind::DhcpRelease { address: [10, 0, 0, 9].into() }, ..event }));
    window.end.publish(Snapshot { seq: 500, ..newer });
    window.frames();
    assert!(!window.sees("Gave 10.0.0.9 back") && window.sees("1 newer"));
    window.key(Modifiers::NONE, Key::Space);
    assert!(window.sees("Gave 10.0.0.9 back"));
}
