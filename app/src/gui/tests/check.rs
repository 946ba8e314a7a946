//! The check: what the doctor says is shown, and its fixes are done by the engine.

use bootyard_core::api::*;
use bootyard_core::doctor::{Act, Fix, Report, Row, State};
use bootyard_core::lab::Mode;
use eframe::egui::{Key, Modifiers, Theme};
use egui_kittest::kittest::Queryable as _;

use super::sample::bench;
use super::{Window, picture};

pub(super) fn row(id: &str, state: State, seen: &str) -> Row {
    let trouble = state != State::Ok;
    let text = |text: &str| if trouble { text.to_owned() } else { String::new() };
    Row {
        v: VERSION,
        id: id.into(),
        case: "case".into(),
        state,
        seen: seen.into(),
        means: text("Mode \"dhcp\" does not start beside it."),
        remedy: text("Use mode \"proxy\", which leaves the addresses to it, or switch it off."),
        fix: None,
    }
}

pub(super) fn fix(does: &str, act: Option<Act>, command: Option<&str>) -> Option<Fix> {
    let undo = command.map(|_| "sudo systemctl enable --now tftpd-hpa.service".to_owned());
    Some(Fix { does: does.into(), command: command.map(str::to_owned), undo, act })
}

pub(super) fn proxy() -> Act {
    Act::Mode { interface: "eth1".into(), mode: Mode::Proxy }
}

pub(super) fn report() -> Report {
    let mut rows = vec![
        row("lab", State::Ok, "lab.toml is in order: 2 disks, 1 profiles, 30 machines."),
        row("other-dhcp:eth1", State::Failed, "Another DHCP server answers on eth1: 192.168.2.254."),
        row("port:udp-69@eth1", State::Failed, "in.tftpd (pid 812), tftpd-hpa.service has UDP port 69 (TFTP)."),
        row("link:eth1", State::Warning, "eth1 has a link at 100 Mbit/s only."),
        row(
            "firewall:eth1",
            State::Unsupported("the firewall of macos is not read".into()),
            "The firewall is not looked at.",
        ),
        row("clock", State::Ok, "The clock says 2026-11-29 15:00 UTC."),
    ];
    rows[1].fix = fix("Use ProxyDHCP on eth1", Some(proxy()), None);
    rows[2].fix = fix("Stop in.tftpd", None, Some("sudo systemctl disable --now tftpd-hpa.service"));
    Report::new(rows)
}

fn well() -> Report {
    Report::new(vec![row("lab", State::Ok, "lab.toml is in order: 2 disks, 1 profiles, 30 machines.")])
}

#[test]
fn a_key_checks_and_a_click_mends_and_checks_again() {
    let stopped = Snapshot { engine: EngineState::Stopped, ..bench(3) };
    // High enough for all of it: what is scrolled away cannot be clicked.
    let mut window = Window::with(stopped, Theme::Dark, [1280.0, 1600.0], 1.0, picture::Textures::default());
    window.key(Modifiers::NONE, Key::F7);
    let asked = window.answer(Ok(Reply::Doctor { report: report() }));
    assert!(matches!(asked, Command::Doctor { self_test: false, .. }), "{asked:?}");
    window.wait_for("2 things would stop a boot");
    assert!(window.sees("1 thing to look at"));
    assert!(window.sees("Another DHCP server answers on eth1: 192.168.2.254."));
    assert!(window.sees("sudo systemctl disable --now tftpd-hpa.service"));
    // Read aloud, each says what it copies.
    window.harness.get_by_label("Copy command: sudo systemctl disable --now tftpd-hpa.service");
    assert!(window.sees("The firewall of macos is not read"));
    assert!(window.sees("2 checks are fine") && !window.sees("The clock says"));
    window.click("2 checks are fine");
    window.wait_for("The clock says");
    window.click("Use ProxyDHCP on eth1");
    assert_eq!(window.done(), Command::Mend { act: proxy() });
    let asked = window.answer(Ok(Reply::Doctor { report: well() }));
    assert!(matches!(asked, Command::Doctor { .. }));
    window.wait_for("Nothing would stop a boot");
    assert!(!window.sees("Another DHCP server answers"));
}

#[test]
fn one_look_at_a_time() {
    let mut window = Window::over(Snapshot { engine: EngineState::Stopped, ..bench(3) });
    window.key(Modifiers::NONE, Key::F7);
    window.key(Modifiers::NONE, Key::F7);
    assert!(matches!(window.answer(Ok(Reply::Doctor { report: well() })), Command::Doctor { .. }));
    window.wait_for("Nothing would stop a boot");
    window.sent_nothing();
}

fn testing(done: u64) -> Snapshot {
    let job = JobView {
        id: 12,
        kind: JobKind::SelfTest,
        what: "the self-test on enp3s0".into(),
        progress: Progress { done, total: 9, rate: 0 },
        state: JobState::Running,
        started: jiff::Timestamp::now(),
    };
    Snapshot { jobs: vec![job], seq: 50 + done, ..bench(3) }
}

fn tested() -> Report {
    Report::new(vec![
        row("lab", State::Ok, "lab.toml is in order: 2 disks, 1 profiles, 30 machines."),
        row("self-test:pxe-bios@eth1", State::Ok, "A PXE ROM on eth1 gets 10.0.0.9, then undionly.kpxe (70000 bytes)."),
        row("self-test:disk-lab@eth1", State::Failed, "The disk lab could not be logged in to: refused."),
    ])
}

#[test]
fn a_self_test_shows_how_far_it_is_and_what_a_machine_met() {
    let mut window = Window::with(bench(3), Theme::Dark, [1280.0, 1200.0], 1.0, picture::Textures::default());
    window.key(Modifiers::COMMAND, Key::Num4);
    window.click("Self-test");
    assert!(window.sees("Booting a machine that does not exist"));
    window.end.publish(testing(4));
    window.wait_for("4 of 9 tried");
    let asked = window.answer(Ok(Reply::Doctor { report: tested() }));
    assert!(matches!(asked, Command::Doctor { self_test: true, .. }), "{asked:?}");
    window.wait_for("The disk lab could not be logged in to");
    assert!(window.sees("A PXE ROM on eth1 gets 10.0.0.9") && window.sees("1 check is fine"));
}

#[test]
fn a_self_test_is_called_off_and_needs_servers() {
    let mut window = Window::over(testing(1));
    window.key(Modifiers::SHIFT, Key::F7);
    window.wait_for("1 of 9 tried");
    window.harness.get_all_by_label("Cancel the self-test").last().unwrap().click();
    window.frames();
    assert!(matches!(window.done(), Command::Doctor { self_test: true, .. }));
    assert_eq!(window.done(), Command::CancelJob { job: 12 });

    let mut window = Window::over(Snapshot { engine: EngineState::Stopped, ..bench(3) });
    window.key(Modifiers::COMMAND, Key::Num4);
    window.click("Self-test");
    window.sent_nothing();
}

/// Writes pictures into the folder that BOOTYARD_PICTURES names.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib check::pictures -- --ignored"]
fn pictures() {
    let folder = std::env::var("BOOTYARD_PICTURES").expect("BOOTYARD_PICTURES names a folder");
    for (theme, word) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        {
            let (snapshot, screen) = (Snapshot { engine: EngineState::Stopped, ..bench(3) }, "network");
            let textures = picture::Textures::default();
            let mut window = Window::with(snapshot, theme, [1280.0, 1000.0], 1.0, textures.clone());
            window.key(Modifiers::NONE, Key::F7);
            window.answer(Ok(Reply::Doctor { report: report() }));
            window.wait_for("2 things would stop a boot");
            let save = |window: &Window, name: &str| {
                let path = std::path::Path::new(&folder).join(format!("check-{name}-{word}.png"));
                textures.save(&window.harness.ctx, window.harness.output(), &path);
            };
            save(&window, screen);
            if screen == "network" {
                window.end.publish(testing(4));
                window.frames();
                window.key(Modifiers::SHIFT, Key::F7);
                save(&window, "testing");
                window.answer(Ok(Reply::Doctor { report: tested() }));
                window.wait_for("The disk lab could not");
                save(&window, "tested");
            }
        }
    }
}
