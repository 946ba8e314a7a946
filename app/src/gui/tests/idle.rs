//! A window in which nothing changes asks for no frame: it costs nothing.

use super::*;

/// How long after the last frame the window wants the next one.
fn next_frame(window: &Window) -> Duration {
    let output = window.harness.output();
    output.viewport_output.values().map(|v| v.repaint_delay).min().unwrap_or(Duration::MAX)
}

fn settled(shot: Snapshot) -> Window {
    let mut window = Window::over(shot);
    // Animations end, and the tooltip that could have come would be there.
    window.harness.run_steps(60);
    window
}

#[test]
fn no_frame_is_asked_for_while_nothing_changes() {
    let absent = (1..=500).map(|n| Arc::new(host(n, Stage::Absent, Boot::Local))).collect();
    let mut window = settled(Snapshot { hosts: absent, ..bench(0) });
    for key in [Key::Num1, Key::Num2, Key::Num3, Key::Num4] {
        window.key(Modifiers::COMMAND, key);
        window.harness.run_steps(60);
        assert_eq!(next_frame(&window), Duration::MAX, "{key:?}");
    }
}

#[test]
fn times_on_the_screen_grow_once_a_second_and_no_oftener() {
    let mut window = settled(bench(30));
    assert!(next_frame(&window) >= Duration::from_millis(900), "{:?}", next_frame(&window));
    window.key(Modifiers::NONE, Key::S);
    window.harness.run_steps(60);
    assert!(next_frame(&window) >= Duration::from_millis(900), "{:?}", next_frame(&window));
}

#[test]
fn a_newer_snapshot_asks_for_a_frame() {
    let window = settled(bench(0));
    assert!(!window.harness.ctx.has_requested_repaint());
    window.end.publish(bench(1));
    for _ in 0..2000 {
        if window.harness.ctx.has_requested_repaint() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was asked for");
}
