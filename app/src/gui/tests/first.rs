//! The first start: looks by itself, tells the mode and its reason, and what is wrong in a line each; Start says why it can't be pressed.

use bootyard_core::doctor::{Row, State};

use super::check::{fix, proxy, row};
use super::sample::interface;
use super::*;

fn rivals(case: &str, seen: &str) -> Row {
    Row { case: case.into(), ..row("other-dhcp:enp3s0", State::Ok, seen) }
}

pub(super) fn report() -> Vec<Row> {
    let mut rows = vec![
        row("lab", State::Ok, "lab.toml is in order: 0 disks, 0 profiles, 0 machines."),
        row("privileges", State::Ok, "Ports below 1024 can be opened."),
        rivals(
            "auto",
            "Another DHCP server answers on enp3s0, 192.168.2.254; `auto` adds the boot information beside it.",
        ),
        row("port:udp-67@enp3s0", State::Ok, "UDP port 67 is free."),
        row("port:udp-69@enp3s0", State::Failed, "in.tftpd (pid 812), tftpd-hpa.service has UDP port 69 (TFTP)."),
        row("firewall:enp3s0", State::Warning, "The firewall drops UDP 4011 on enp3s0."),
        row("firmware:uefi-x64", State::Ok, "snponly.efi for UEFI x64 is in /usr/lib/ipxe."),
        row("space:lab", State::Ok, "/home/me/lab has 412.0 GiB free (83 %)."),
    ];
    rows[4].fix = fix("Stop in.tftpd", None, Some("sudo systemctl disable --now tftpd-hpa.service"));
    rows[5].fix = fix("Use ProxyDHCP on eth1", Some(proxy()), None);
    rows
}

pub(super) fn with_address() -> Snapshot {
    let space = Some(Space::of(412 << 30, 500 << 30));
    let wired = InterfaceView { speed: Some(2500), ..interface("enp3s0", "192.168.2.9/24") };
    let mut shot = Snapshot { space, lab: "/home/me/lab".into(), ..fresh() };
    shot.interfaces.retain(|i| i.name != "enp3s0");
    shot.interfaces.insert(0, wired);
    shot
}

#[test]
fn it_looks_by_itself_and_again_when_something_else_is_chosen() {
    let mut window = Window::over(with_address());
    assert!(window.sees("Asking on enp3s0 for other DHCP servers"));
    assert_eq!(window.looked(report()).as_deref(), Some("enp3s0"));
    window.wait_for("So it keeps giving the addresses");
    assert!(window.sees("1 thing would stop a boot"));
    window.sent_nothing();
    // A cable is pulled: what was found is no longer so.
    let mut pulled = with_address();
    pulled.interfaces[0].running = false;
    window.end.publish(pulled);
    window.frames();
    assert_eq!(window.looked(Vec::new()).as_deref(), Some("enp3s0"));
    window.wait_for("Nothing would stop a boot");
    window.click("wlp2s0");
    assert_eq!(window.looked(Vec::new()).as_deref(), Some("wlp2s0"));
    assert!(window.sees("wlp2s0 is Wi-Fi."));
}

#[test]
fn what_is_wrong_has_a_line_and_a_button_and_the_rest_a_tick() {
    let mut window = Window::over(with_address());
    window.looked(report());
    window.wait_for("in.tftpd (pid 812)");
    for tick in ["Privileges", "Ports", "Boot files", "Free space", "DHCP servers"] {
        assert!(window.harness.query_by_label(tick).is_some(), "{tick}");
    }
    assert!(!window.sees("sudo systemctl"), "details come when they are wanted");
    window.harness.get_by_label_contains("How to mend: in.tftpd").click();
    window.frames();
    assert!(window.sees("sudo systemctl disable --now tftpd-hpa.service"));
    window.click("Use ProxyDHCP on eth1");
    assert_eq!(window.done(), Command::Mend { act: proxy() });
    window.looked(Vec::new());
    window.wait_for("Nothing would stop a boot");
}

#[test]
fn the_mode_s_meaning_follows_what_was_heard() {
    let mut window = Window::over(with_address());
    window.looked(report());
    window.wait_for("So it keeps giving the addresses");
    window.click("DHCP server");
    assert!(window.sees("A DHCP server does not start beside it"));
    window.click("Automatic");
    window.click("Check now");
    window.looked(vec![rivals("none", "No other DHCP server answers on enp3s0.")]);
    window.wait_for("So addresses come from here, too");
    window.click("ProxyDHCP");
    assert!(window.sees("nobody would give addresses"));
}

#[test]
fn one_screen_has_all_that_a_person_has_to_know() {
    let mut window = Window::over(with_address());
    window.looked(report());
    window.wait_for("1 thing would stop a boot");
    for part in [
        "Link, 2.5 Gbit/s",
        "192.168.2.9/24",
        "412 GiB free",
        "lab",
        "Wi-Fi",
        "Default route",
        "never chosen by itself",
    ] {
        assert!(window.sees(part), "{part}");
    }
    window.click("Start");
    let confirm = Command::Confirm { interface: "enp3s0".into(), address: None, mode: Mode::Auto };
    assert_eq!(window.done(), confirm);
    assert_eq!(window.done(), Command::Start);
}

#[test]
fn start_says_why_it_cannot_be_pressed_and_is_in_sight_in_a_small_window() {
    let two = vec![interface("eth1", "10.0.0.1/24"), interface("eth2", "10.0.1.1/24")];
    let small = Snapshot { interfaces: two, ..with_address() };
    let mut window = Window::with(small, Theme::Light, [760.0, 480.0], 1.0, picture::Textures::default());
    assert_eq!(window.looked(report()), None);
    assert!(window.sees("Choose the interface that the machines hang on"));
    let start = window.harness.get_by_label("Start").rect();
    assert!(start.max.y < 480.0, "{start:?}");
    window.click("eth2");
    assert_eq!(window.looked(report()).as_deref(), Some("eth2"));
    window.click("Start");
    assert!(matches!(window.done(), Command::Confirm { interface, .. } if interface == "eth2"));
}

fn mode_of_start(window: &mut Window) -> Mode {
    window.harness.get_all_by_label("Start").last().unwrap().click();
    window.frames();
    let Command::Confirm { mode, .. } = window.done() else { panic!("it is confirmed first") };
    assert_eq!(window.done(), Command::Start);
    mode
}

#[test]
fn a_mode_that_was_written_elsewhere_is_not_taken_back_by_start() {
    let stopped = |configured: &str, seq| {
        let mut shot = Snapshot { engine: EngineState::Stopped, seq, ..bench(0) };
        shot.networks[0].configured = configured.into();
        shot
    };
    let mut window = Window::over(stopped("auto", 1));
    window.key(Modifiers::COMMAND, Key::Num4);
    assert!(window.sees("Gives boot information only"), "the form was drawn");
    window.end.publish(stopped("proxy", 2));
    window.frames();
    assert_eq!(mode_of_start(&mut window), Mode::Proxy);
    // What a person chose here is kept until it is written elsewhere.
    window.harness.get_by_role_and_label(Role::RadioButton, "DHCP server").click();
    window.frames();
    window.end.publish(stopped("proxy", 3));
    window.frames();
    assert_eq!(mode_of_start(&mut window), Mode::Dhcp);
    window.end.publish(stopped("auto", 4));
    window.frames();
    window.end.publish(stopped("proxy", 5));
    window.frames();
    assert_eq!(mode_of_start(&mut window), Mode::Proxy);
}

#[test]
fn what_is_being_brought_in_is_shown_at_the_first_start_too() {
    let mut window = Window::over(Snapshot { jobs: bench(0).jobs, ..with_address() });
    window.looked(report());
    assert!(window.sees("Importing fedora-41.qcow2"));
}

/// Writes pictures into the folder that BOOTYARD_PICTURES names.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib first::pictures -- --ignored"]
fn pictures() {
    let folder = std::env::var("BOOTYARD_PICTURES").expect("BOOTYARD_PICTURES names a folder");
    let sizes = [([1280.0, 800.0], 1.0, "1280"), ([760.0, 480.0], 1.0, "760"), ([640.0, 400.0], 2.0, "200")];
    for (theme, word) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        for (size, scale, what) in sizes {
            for (shot, state) in [(with_address(), "found"), (fresh(), "bare")] {
                let textures = picture::Textures::default();
                let mut window = Window::with(shot, theme, size, scale, textures.clone());
                if state == "found" {
                    window.looked(report());
                    window.wait_for("1 thing would stop a boot");
                }
                let path = std::path::Path::new(&folder).join(format!("first-{state}-{what}-{word}.png"));
                textures.save(&window.harness.ctx, window.harness.output(), &path);
            }
        }
    }
}
