//! The table of machines: groups, the seating plan, and what is done to many at once.

use bootyard_core::lab::Seat;

use super::*;

fn room() -> Snapshot {
    let seated = |n: u64, stage, seat| {
        let group = Some("room-1".to_owned());
        Arc::new(HostView { group, seat, ..host(n, stage, Boot::Wait) })
    };
    let hosts = vec![
        seated(1, Stage::Running, Seat::at(1, 1)),
        seated(2, Stage::Loading, Seat::at(1, 2)),
        seated(3, Stage::Failed, None),
        Arc::new(host(9, Stage::Waiting, Boot::Wait)),
    ];
    Snapshot { hosts, ..bench(0) }
}

#[test]
fn a_group_is_a_section_that_closes_and_its_machines_are_woken_together() {
    let mut window = Window::over(room());
    assert!(window.sees("room-1, 3 machines, open"));
    assert!(window.sees("No group, 1 machine, open"));
    window.click("room-1, 3 machines, open");
    assert!(window.sees("room-1, 3 machines, closed") && !window.sees("pc-02, Loading, gets Wait"));
    window.harness.get_by_label("room-1, 3 machines, closed").click_secondary();
    window.frames();
    assert!(window.sees("3 machines selected"));
    let wakes = window.harness.query_all_by_label("Wake").count();
    assert_eq!(wakes, 2, "in the menu and in the bar");
    window.key(Modifiers::NONE, Key::Escape);
    window.key(Modifiers::NONE, Key::O);
    assert_eq!(window.done(), Command::Wake { hosts: vec![HostId(1), HostId(2), HostId(3)] });
    window.wait_for("woken");
}

#[test]
fn a_keyboard_closes_and_opens_the_section_of_the_machine_it_is_on() {
    let mut window = Window::over(room());
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::ArrowLeft);
    assert!(window.sees("room-1, 3 machines, closed"));
    window.key(Modifiers::NONE, Key::ArrowRight);
    assert!(window.sees("room-1, 3 machines, open"));
}

#[test]
fn machines_are_put_into_a_group_and_undo_gives_group_and_seat_back() {
    let mut window = Window::over(room());
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::G);
    window.harness.event(Event::Text("x".into()));
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(window.done(), Command::Group { hosts: vec![HostId(1)], group: "room-1x".into() });
    window.wait_for("1 machine: group room-1x");
    window.click("Undo");
    assert_eq!(window.done(), Command::Group { hosts: vec![HostId(1)], group: "room-1".into() });
    assert_eq!(window.done(), Command::Seats { seats: vec![(HostId(1), Seat::at(1, 1))] });
}

#[test]
fn a_seating_plan_shows_who_is_where_and_a_keyboard_moves_them() {
    let mut window = Window::over(room());
    window.key(Modifiers::NONE, Key::S);
    assert!(window.sees("pc-01, Running, row 1, column 1") && window.sees("pc-02, Loading, row 1, column 2"));
    assert!(window.sees("Not seated"));
    window.click("pc-02, Loading, row 1, column 2");
    assert!(window.sees("1 machine selected"));
    window.harness.ctx.memory_mut(|m| m.stop_text_input());
    window.key(Modifiers::ALT, Key::ArrowLeft);
    let swapped = vec![(HostId(2), Seat::at(1, 1)), (HostId(1), Seat::at(1, 2))];
    assert_eq!(window.done(), Command::Seats { seats: swapped });
    window.click("Seat 1");
    assert_eq!(window.done(), Command::Seats { seats: vec![(HostId(3), Seat::at(2, 1))] });
}

#[test]
fn a_card_is_dragged_to_its_place() {
    let mut window = Window::over(room());
    window.key(Modifiers::NONE, Key::S);
    let at = window.harness.get_by_label("pc-01, Running, row 1, column 1").rect().center();
    let to = at + crate::gui::theme::CARD * eframe::egui::vec2(0.0, 1.2);
    window.harness.drag_at(at);
    window.frames();
    window.harness.hover_at(at + eframe::egui::vec2(0.0, 20.0));
    window.frames();
    window.harness.hover_at(to);
    window.frames();
    window.harness.drop_at(to);
    window.frames();
    assert_eq!(window.done(), Command::Seats { seats: vec![(HostId(1), Seat::at(2, 1))] });
    window.wait_for("pc-01: row 2, column 1");
}

#[test]
fn reset_names_what_is_lost_and_leaves_disks_in_use_alone() {
    let mut window = Window::over(bench(30));
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::R);
    assert!(window.sees("pc-24 on room-1") && window.sees("they run from them: pc-09, pc-10"));
    window.sent_nothing();
    window.click("Reset 1 disk");
    let act = DiskAct::Reset { hosts: vec!["host-24.keep".into()] };
    assert_eq!(window.done(), Command::Disk { disk: "room-1".into(), act });
}

#[test]
fn undo_of_a_first_name_takes_it_away_again() {
    let calls_itself = HostView { name: Some("DESKTOP-7".into()), named: false, ..host(1, Stage::Waiting, Boot::Wait) };
    let mut window = Window::over(Snapshot { hosts: vec![Arc::new(calls_itself)], ..bench(0) });
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::F2);
    window.key(Modifiers::COMMAND, Key::A);
    window.harness.event(Event::Text("pc-01".into()));
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(window.done(), Command::Rename { host: HostId(1), name: "pc-01".into() });
    window.wait_for("is now pc-01");
    window.click("Undo");
    assert_eq!(window.done(), Command::Rename { host: HostId(1), name: String::new() });
}

#[test]
fn undo_of_a_first_assignment_takes_it_away_again() {
    let by_unknown = HostView { assigned: false, ..host(1, Stage::Waiting, Boot::Wait) };
    let hosts = vec![Arc::new(by_unknown), Arc::new(host(2, Stage::Waiting, Boot::Wait))];
    let mut window = Window::over(Snapshot { hosts, ..bench(0) });
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::L);
    assert!(matches!(window.done(), Command::Assign { to: Boot::Local, .. }));
    window.wait_for("Undo");
    window.click("Undo");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(2)], to: Boot::Wait });
    assert_eq!(window.done(), Command::Unassign { hosts: vec![HostId(1)] });
    window.wait_for("Given back to 2 machines");
}

#[test]
fn undo_asks_where_it_would_give_several_back_to_an_installation_of_unknown_machines() {
    let of = |n| Arc::new(HostView { assigned: false, ..host(n, Stage::Waiting, install("debian-12")) });
    let unknown = Some(install("debian-12"));
    let mut window = Window::over(Snapshot { hosts: vec![of(1), of(2)], unknown, ..bench(0) });
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::L);
    assert!(matches!(window.done(), Command::Assign { to: Boot::Local, .. }));
    window.wait_for("Undo");
    window.click("Undo");
    window.wait_for("Install debian-12 on 2 machines?");
    window.sent_nothing();
    window.click("Erase and install 2 machines");
    assert_eq!(window.done(), Command::Unassign { hosts: vec![HostId(1), HostId(2)] });
}

#[test]
fn undo_asks_for_each_installation_that_it_would_bring_back() {
    let of = |n, boot| Arc::new(host(n, Stage::Waiting, boot));
    let hosts = vec![
        of(1, install("debian-12")),
        of(2, install("debian-12")),
        of(3, install("fedora-41")),
        of(4, install("fedora-41")),
    ];
    let mut window = Window::over(Snapshot { hosts, ..bench(0) });
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::L);
    assert!(matches!(window.done(), Command::Assign { to: Boot::Local, .. }));
    window.wait_for("Undo");
    window.click("Undo");
    for (hosts, profile) in [([1, 2], "debian-12"), ([3, 4], "fedora-41")] {
        window.wait_for(&format!("Install {profile} on 2 machines?"));
        window.sent_nothing();
        window.click("Erase and install 2 machines");
        let (hosts, to) = (hosts.map(HostId).to_vec(), install(profile));
        assert_eq!(window.done(), Command::Assign { hosts, to });
    }
}

#[test]
fn a_clone_that_calls_itself_the_same_keeps_what_it_wrote() {
    let mut shot = bench(30);
    // No name of lab.toml: what it calls itself is what its image says, and that is pc-24's.
    let clone = HostView { name: Some("pc-24".into()), configured: false, ..host(41, Stage::Waiting, Boot::Wait) };
    shot.hosts.push(Arc::new(clone));
    let ids = |id| crate::gui::targets::overlays(&shot, &[HostId(id)]).len();
    assert_eq!((ids(24), ids(41)), (1, 0));
    assert!(crate::gui::targets::keeps(&shot, &[HostId(24)]) && !crate::gui::targets::keeps(&shot, &[HostId(41)]));
}

/// These machines in this order, at the same places of the table.
fn waiting(order: &[u64]) -> Snapshot {
    let hosts = order.iter().map(|n| Arc::new(host(*n, Stage::Waiting, Boot::Wait))).collect();
    Snapshot { hosts, ..bench(0) }
}

/// What was copied, if anything was.
fn copied(window: &Window) -> Option<String> {
    window.harness.output().platform_output.commands.iter().find_map(|command| match command {
        eframe::egui::OutputCommand::CopyText(text) => Some(text.clone()),
        _ => None,
    })
}

#[test]
fn a_machine_s_menu_stays_its_own_when_the_list_moves_and_goes_with_it() {
    let mut window = Window::over(waiting(&[1, 2, 3]));
    window.harness.get_by_label("52:54:00:00:00:02").click_secondary();
    window.frames();
    assert!(window.sees("Copy MAC"));
    window.end.publish(waiting(&[3, 1, 9, 2]));
    window.frames();
    window.harness.get_by_label("Copy MAC").click();
    window.harness.step();
    assert_eq!(copied(&window).as_deref(), Some("52:54:00:00:00:02"));

    window.frames();
    window.harness.get_by_label("52:54:00:00:00:02").click_secondary();
    window.frames();
    assert!(window.sees("Copy MAC"));
    window.end.publish(waiting(&[3, 1, 9, 4]));
    window.frames();
    assert!(!window.sees("Copy MAC"), "its machine is gone, and another is where it was");
}

#[test]
fn a_list_of_what_a_machine_gets_is_its_own_when_the_list_moves() {
    let mut window = Window::over(waiting(&[1, 2, 3]));
    window.click("pc-02 gets Wait");
    window.end.publish(waiting(&[2, 1, 3]));
    window.frames();
    window.click("Install debian-12");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(2)], to: install("debian-12") });
    window.click("pc-02 gets Wait");
    window.end.publish(waiting(&[1, 3]));
    window.frames();
    assert!(window.harness.query_by_label("Install debian-12").is_none());
}

#[test]
fn what_a_command_cannot_do_is_said_before_it_is_tried() {
    let mut window = Window::over(Snapshot { engine: EngineState::Stopped, ..room() });
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::O);
    window.wait_for("start serving first");
    window.key(Modifiers::NONE, Key::R);
    window.wait_for("Nothing that they wrote is kept");
    window.sent_nothing();
}

/// A screen of 2280 x 1440 at 300 %: the smallest window that there is.
#[test]
fn at_three_hundred_percent_what_one_needs_is_still_in_the_window() {
    let mut window = Window::with(bench(30), Theme::Light, [760.0, 480.0], 3.0, super::picture::Textures::default());
    window.key(Modifiers::NONE, Key::ArrowDown);
    let screen = window.harness.ctx.content_rect();
    for (role, label) in [
        (Role::TextInput, "Filter machines"),
        (Role::Button, "Stop"),
        (Role::Button, "pc-01"),
        (Role::Button, "pc-01 gets Wait"),
        (Role::Button, "Wake"),
        (Role::Button, "Forget…"),
    ] {
        let rect = window.harness.get_by_role_and_label(role, label).rect();
        assert!(screen.contains_rect(rect), "{label} is at {rect:?}, outside of {screen:?}");
    }
}

#[test]
fn f1_has_every_key() {
    let mut window = Window::over(room());
    window.key(Modifiers::NONE, Key::F1);
    assert!(window.sees("Seating plan") && window.sees("Wake") && window.sees("Move the selection"));
    window.key(Modifiers::NONE, Key::Escape);
    assert!(!window.sees("Move the selection"));
}

#[test]
fn a_silent_transfer_has_no_rate_and_no_time_left() {
    let loading = |seconds| {
        let progress = Some(Progress { done: 100 << 20, total: 400 << 20, rate: 11 << 20 });
        let (last_seen, group) = (Some(sample::ago(seconds)), Some("room-1".to_owned()));
        let machine = HostView { progress, last_seen, group, ..host(1, Stage::Loading, Boot::Wait) };
        Snapshot { hosts: vec![Arc::new(machine)], jobs: vec![], ..bench(0) }
    };
    let rates = |shot: &Snapshot| {
        let list = super::super::views::hosts_model::Choice::default().list(shot, now());
        list.sections.iter().map(|sum| sum.rate).collect::<Vec<_>>()
    };
    assert_eq!(rates(&loading(0)), [11 << 20]);
    assert_eq!(rates(&loading(60)), [0]);
    let mut window = Window::over(loading(0));
    assert!(window.sees("100 MiB of 400 MiB at 11 MiB/s, 27 s left"));
    window.end.publish(loading(60));
    window.frames();
    let tells_rate = |window: &Window| window.sees("11 MiB/s") || window.sees("s left");
    assert!(window.sees("100 MiB of 400 MiB") && !tells_rate(&window));
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("This boot") && window.sees("100 MiB of 400 MiB") && !tells_rate(&window));
}

#[test]
fn machines_that_are_gone_are_folded_away_and_opened_by_a_click() {
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2);
    let gone = HostView { last_seen: Some(long_ago), ..host(5, Stage::Absent, Boot::Local) };
    let mut shot = three_waiting();
    shot.hosts.push(Arc::new(gone));
    let mut window = Window::over(shot);
    assert!(window.sees("Gone and finished, 1 machine, closed") && !window.sees("pc-05, Absent"));
    window.click("Gone and finished, 1 machine, closed");
    assert!(window.sees("pc-05, Absent"));
}

#[test]
fn a_woken_machine_says_since_when_nothing_was_heard() {
    let woken = HostView { woken: Some(jiff::Timestamp::now()), ..host(1, Stage::Absent, Boot::Local) };
    let window = Window::over(Snapshot { hosts: vec![Arc::new(woken)], ..bench(0) });
    assert!(window.sees("nothing heard yet"));
}

/// A lab with two rooms and some machines in none, at every stage.
pub(super) fn rooms() -> Snapshot {
    let mut shot = bench(40);
    for (at, machine) in (0u8..).zip(shot.hosts.iter_mut()) {
        let machine = Arc::make_mut(machine);
        if at < 32 {
            machine.group = Some(if at < 16 { "room-101".into() } else { "room-102".into() });
            machine.seat = Seat::at(at % 16 / 4 + 1, at % 4 + 1).filter(|_| at % 16 < 14);
        }
        if machine.stage == Stage::Absent {
            machine.last_seen = Some(sample::ago(3 * 3600));
        }
    }
    shot
}
