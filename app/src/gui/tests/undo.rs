//! The way back: what Undo and its key take back, when they ask, and when there is nothing to take back any more.

use super::*;

/// The `n`th machine alone is selected and gets its local disk.
fn local(window: &mut Window, n: u64) {
    window.click(&format!("52:54:00:00:00:{n:02}"));
    // A click selects it; one on what is selected already would not.
    window.key(Modifiers::NONE, Key::L);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(n)], to: Boot::Local });
    window.wait_for(&format!("pc-{n:02}: Local disk"));
}

/// Notes go after a while of the window's clock, of which each frame of a test is a quarter of a second: here it stands still.
fn still(mut window: Window) -> Window {
    window.harness.input_mut().time = Some(10.0);
    window
}

/// Clicks the one of this note, of so many.
fn undo_of(window: &mut Window, at: usize, all: usize) {
    for _ in 0..2000 {
        if window.harness.query_all_by_label("Undo").count() == all {
            break;
        }
        // Its answer is on its way.
        std::thread::sleep(Duration::from_millis(5));
        window.frames();
    }
    window.frames();
    assert_eq!(window.harness.query_all_by_label("Undo").count(), all);
    window.harness.get_all_by_label("Undo").nth(at).unwrap().click();
    window.frames();
}

#[test]
fn a_click_on_a_note_that_is_just_going_takes_nothing_else_back() {
    let mut window = still(Window::over(three_waiting()));
    local(&mut window, 1);
    window.harness.input_mut().time = Some(14.0);
    local(&mut window, 2);
    window.frames();
    assert_eq!(window.harness.query_all_by_label("Undo").count(), 2);
    window.harness.get_all_by_label("Undo").next().unwrap().click();
    // The first note's time is over with this frame.
    window.harness.input_mut().time = Some(18.5);
    window.frames();
    assert_eq!(window.harness.query_all_by_label("Undo").count(), 1);
    window.sent_nothing();
}

#[test]
fn the_key_says_what_it_takes_back_and_does_it_once() {
    let mut window = Window::over(three_waiting());
    local(&mut window, 2);
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(2)], to: Boot::Wait });
    window.wait_for("Taken back: pc-02: Local disk");
    assert_eq!(window.harness.query_all_by_label("Undo").count(), 0, "its note offers it no more");
    window.key(Modifiers::COMMAND, Key::Z);
    assert!(window.sees("Nothing to undo"));
    window.sent_nothing();
}

#[test]
fn what_has_no_way_back_ends_that_of_what_was_before() {
    let mut window = Window::over(three_waiting());
    local(&mut window, 1);
    // To wake a machine changes nothing.
    window.key(Modifiers::NONE, Key::O);
    assert_eq!(window.done(), Command::Wake { hosts: vec![HostId(1)] });
    window.wait_for("woken");
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: Boot::Wait });
    window.wait_for("Taken back");

    local(&mut window, 2);
    window.key(Modifiers::NONE, Key::Delete);
    window.click("Forget 1 machine");
    assert_eq!(window.done(), Command::Forget { host: HostId(2), entry: false });
    window.wait_for("pc-02 is forgotten");
    window.key(Modifiers::COMMAND, Key::Z);
    assert!(window.sees("Nothing to undo"));
    window.sent_nothing();

    // What was refused has changed nothing.
    local(&mut window, 3);
    window.key(Modifiers::NONE, Key::Delete);
    window.click("Forget 1 machine");
    let refused = CommandError::new("it runs from a disk of this lab");
    assert!(matches!(window.answer(Err(refused)), Command::Forget { .. }));
    window.wait_for("It runs from a disk");
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(3)], to: Boot::Wait });
}

#[test]
fn an_installation_of_one_machine_comes_back_only_after_a_question() {
    let installs = Arc::new(host(1, Stage::Waiting, install("debian-12")));
    let mut window = Window::over(Snapshot { hosts: vec![installs], ..bench(0) });
    local(&mut window, 1);
    window.click("Undo");
    window.wait_for("Install debian-12 on 1 machine?");
    window.sent_nothing();
    window.click("Erase and install 1 machine");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: install("debian-12") });

    let by_unknown = Arc::new(HostView { assigned: false, ..host(1, Stage::Waiting, install("debian-12")) });
    let unknown = Some(install("debian-12"));
    let mut window = Window::over(Snapshot { hosts: vec![by_unknown], unknown, ..bench(0) });
    local(&mut window, 1);
    window.key(Modifiers::COMMAND, Key::Z);
    window.wait_for("Install debian-12 on 1 machine?");
    window.sent_nothing();
    window.click("Erase and install 1 machine");
    assert_eq!(window.done(), Command::Unassign { hosts: vec![HostId(1)] });
}

#[test]
fn the_way_back_of_an_older_note_leaves_the_newer_one() {
    let mut window = still(Window::over(three_waiting()));
    local(&mut window, 1);
    local(&mut window, 2);
    undo_of(&mut window, 0, 2);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: Boot::Wait });
    window.wait_for("Given back to 1 machine");
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(2)], to: Boot::Wait });
}

#[test]
fn two_notes_that_say_the_same_have_each_their_way_back() {
    let mut window = still(Window::over(one_waiting()));
    local(&mut window, 1);
    let hosts = vec![Arc::new(host(1, Stage::Waiting, Boot::Local))];
    window.end.publish(Snapshot { hosts, ..bench(0) });
    window.key(Modifiers::NONE, Key::L);
    assert!(matches!(window.done(), Command::Assign { to: Boot::Local, .. }));
    undo_of(&mut window, 0, 2);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: Boot::Wait });
}
