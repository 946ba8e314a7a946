//! What the window keeps from frame to frame is never older than what it shows: a change is seen in the next frame.

use super::*;

fn shows(window: &Window, names: [bool; 3]) -> bool {
    (1..=3).zip(names).all(|(n, there)| window.sees(&format!("pc-0{n}, ")) == there)
}

#[test]
fn a_filter_and_a_machine_that_changes_are_seen_in_the_next_frame() {
    let mut shot = three_waiting();
    let mut window = Window::over(shot.clone());
    assert!(shows(&window, [true; 3]));
    window.type_into("Filter machines", "loading");
    assert!(window.sees("No machine matches"));
    // No event told of it: the number of the last one is the same.
    Arc::make_mut(&mut shot.hosts[1]).stage = Stage::Loading;
    window.end.publish(shot.clone());
    window.harness.step();
    window.harness.step();
    assert!(shows(&window, [false, true, false]));
    shot.hosts[2] = Arc::new(host(3, Stage::Loading, Boot::Local));
    window.end.publish(shot.clone());
    window.harness.step();
    window.harness.step();
    assert!(shows(&window, [false, true, true]));
    window.click("Clear");
    assert!(shows(&window, [true; 3]));
}

#[test]
fn what_is_selected_is_counted_anew_when_a_machine_is_gone_or_keeps_something() {
    let mut shot = three_waiting();
    shot.disks.clear();
    let mut window = Window::over(shot.clone());
    window.key(Modifiers::COMMAND, Key::A);
    assert!(window.sees("3 machines selected"));
    let disabled = |window: &Window| {
        use egui_kittest::kittest::NodeT as _;
        window.harness.get_by_role_and_label(Role::Button, "Reset disk…").accesskit_node().is_disabled()
    };
    assert!(disabled(&window), "nothing is kept");
    shot.disks = vec![sample::disk("room-1", 0, vec![sample::overlay(3, false)])];
    window.end.publish(shot.clone());
    window.frames();
    assert!(!disabled(&window), "pc-03 keeps something now");
    shot.hosts.pop();
    window.end.publish(shot.clone());
    window.frames();
    assert!(window.sees("2 machines selected") && disabled(&window));
    window.key(Modifiers::NONE, Key::ArrowDown);
    assert!(window.sees("1 machine selected"));
}
