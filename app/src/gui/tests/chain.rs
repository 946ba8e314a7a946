//! Why a machine gets what it gets, and its boots compared: what is asked, what is shown, and that nobody is misled.

use super::*;
use bootyard_core::boot::Arch;

/// The machine's own screen, with what was looked up for it.
fn machine() -> Window {
    let mut window = Window::over(one_waiting());
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(window.look(), None);
    window
}

fn asked(window: &Window) -> Question {
    let questions = window.looked.iter().rev().filter_map(|c| match c {
        Command::Explain(question) => Some(question.clone()),
        _ => None,
    });
    questions.into_iter().next().expect("it was asked for")
}

fn of_pc_01() -> Question {
    Question { host: Some("52:54:00:00:00:01".into()), ..Question::default() }
}

#[test]
fn a_machine_s_screen_draws_its_chain_and_a_click_tells_what_decides() {
    let mut window = machine();
    assert_eq!(asked(&window), of_pc_01());
    let first = "1. PXE firmware asks, over DHCP: an address of the free part";
    assert!(window.sees(first) && window.sees("has no range, so its default holds"));
    assert!(window.sees("6. In the end: its boot loader"));
    assert!(!window.sees("60 vendor class: PXEClient"), "its values are below it when it is chosen");
    window.harness.get_by_label_contains(first).click();
    window.frames();
    assert!(window.sees("60 vendor class: PXEClient") && window.sees("next server: 192.168.77.1"));
    window.harness.get_by_label_contains("4. Script").click();
    window.frames();
    assert!(window.sees("sanboot iscsi:192.168.77.1") && window.sees("boot in [[host]] pc-01, line 41 of lab.toml"));
    window.key(Modifiers::NONE, Key::Escape);
    assert!(!window.sees("sanboot iscsi:") && window.sees("This boot"), "first the details, then the screen");
}

#[test]
fn any_machine_is_explained_by_what_is_chosen() {
    let mut window = Window::over(bench(0));
    window.key(Modifiers::NONE, Key::E);
    window.look();
    assert_eq!(asked(&window), Question::default());
    window.click("HTTP Boot");
    window.look();
    assert_eq!(asked(&window), Question { client: Some(ClientKind::HttpBoot), ..Question::default() });
    window.click("Architecture");
    window.click("UEFI ARM64");
    window.look();
    let both = Question { client: Some(ClientKind::HttpBoot), arch: Some(Arch::UefiArm64), ..Question::default() };
    assert_eq!(asked(&window), both);
    window.type_into("Machine: name or MAC; empty: any without an entry", "52:54:00:00:00:77");
    window.key(Modifiers::NONE, Key::Enter);
    window.look();
    assert_eq!(asked(&window), Question { host: Some("52:54:00:00:00:77".into()), ..both });
}

#[test]
fn a_refusal_of_the_engine_is_shown_in_place_of_the_chain() {
    let mut window = Window::over(bench(0));
    window.key(Modifiers::NONE, Key::E);
    let (command, back) = {
        let next = window.end.commands.recv();
        window.runtime.block_on(next).unwrap()
    };
    assert!(matches!(command, Command::Explain(_)));
    back.send(Err(CommandError::new("no network of lab.toml has an address; choose one"))).unwrap();
    window.wait_for("No network of lab.toml has an address");
    assert!(!window.sees("PXE firmware asks"));
}

#[test]
fn back_leads_to_where_one_came_from_and_a_machine_that_changed_is_asked_about_again() {
    let mut window = machine();
    window.click("Why does it get that?");
    window.look_if_asked();
    let before = window.looked.len();
    let mut shot = one_waiting();
    shot.seq = 99;
    window.end.publish(shot);
    // At most once a second; the harness's clock moves with its frames.
    window.harness.run_steps(90);
    window.look();
    assert!(window.looked.len() > before, "something happened, so it is asked again");
    assert_eq!(asked(&window), of_pc_01());
    window.key(Modifiers::NONE, Key::Escape);
    assert!(window.sees("This boot"), "back on the machine's screen");
}

#[test]
fn the_boots_are_compared_and_what_took_longer_is_said() {
    let window = machine();
    assert!(window.looked.contains(&Command::Boots { host: "52:54:00:00:00:01".into() }));
    assert!(window.sees("Kernel: 12.4 s, usually 3.1 s."));
    let rows = window.harness.query_all_by_role(Role::Row).count();
    assert_eq!(rows, 6);
    assert!(window.sees("Kernel: 12.4 s, usually 3.1 s; Initrds"), "the row says it to a screen reader");
}
