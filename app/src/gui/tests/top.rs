//! The bar at the top in narrow windows and at large scales: it folds, and nothing of it overlaps or is cut.

use bootyard_core::lang::{Language, speak_here};
use eframe::egui::Rect;
use egui_kittest::kittest::NodeT as _;

use super::*;

/// The narrowest: the window's least width at 200 % is 380 points.
const WIDTHS: [f32; 5] = [380.0, 420.0, 640.0, 900.0, 1280.0];

fn window(shot: Snapshot, width: f32, scale: f32) -> Window {
    Window::with(shot, Theme::Dark, [width, 700.0], scale, picture::Textures::default())
}

/// Two networks, a lab with a long name, and things that are to be looked at.
fn full(engine: EngineState) -> Snapshot {
    let mut shot = Snapshot { engine, lab: "/labs/the-long-room-on-the-second-floor".into(), ..bench(3) };
    let second = NetworkView { interface: "enx00e04c680001".into(), mode: None, ..shot.networks[0].clone() };
    shot.networks.push(second);
    shot
}

/// What the bar shows, by name: all that stands above the filter of the machines.
fn controls(window: &Window, filter: &str) -> Vec<(String, Rect)> {
    let filter = window.harness.get_by_role_and_label(Role::TextInput, filter);
    let (below, mut shown) = (filter.rect().top() - 4.0, Vec::new());
    for node in window.harness.root().children_recursive() {
        let inner = node.accesskit_node();
        let name = inner.label().or_else(|| inner.value()).filter(|name| !name.is_empty());
        let is_control = [Role::Button, Role::Label].contains(&inner.role());
        if let Some(name) = name.filter(|_| is_control && node.rect().bottom() < below) {
            shown.push((name, node.rect()));
        }
    }
    shown
}

fn fits(window: &Window, filter: &str, what: &str, width: f32) -> Vec<String> {
    let controls = controls(window, filter);
    let inside = Rect::from_min_max([0.0, 0.0].into(), [width, 700.0].into());
    for (at, (name, rect)) in controls.iter().enumerate() {
        assert!(inside.contains_rect(*rect), "{what}: {name} at {rect} is outside");
        assert!(rect.width() > 8.0 && rect.height() > 8.0, "{what}: {name} at {rect} is cut");
        for (other, beside) in &controls[..at] {
            let both = rect.intersect(*beside);
            assert!(both.width() < 0.5 || both.height() < 0.5, "{what}: {name} at {rect} lies on {other} at {beside}");
        }
    }
    controls.into_iter().map(|(name, _)| name).collect()
}

/// The bar of this state in a window as wide, in the language that is spoken.
fn checked(state: &EngineState, [screen, filter]: [&str; 2], width: f32, scale: f32) {
    let what = format!("{screen}, {state:?}, {width} points, scale {scale}");
    let names = fits(&window(full(state.clone()), width, scale), filter, &what, width);
    for part in [screen, "the-long-room", "enp3s0", "enx00e04c680001", "DHCP", "iSCSI"] {
        assert!(names.iter().any(|name| name.contains(part)), "{what}: {part} is not among {names:?}");
    }
}

#[test]
fn nothing_of_the_bar_overlaps_or_is_cut_at_any_width_and_scale() {
    let running = EngineState::Running { since: jiff::Timestamp::now() };
    let failed = EngineState::Failed { error: "Port 67 is taken by dnsmasq.".into() };
    let english = ["Machines", "Filter machines"];
    let german = ["Rechner", "Rechner filtern"];
    for (language, names) in [(Language::English, english), (Language::German, german)] {
        speak_here(language);
        for (width, scale) in WIDTHS.into_iter().map(|width| (width, 1.0)).chain([(420.0, 2.0), (640.0, 2.0)]) {
            checked(&running, names, width, scale);
        }
        for state in [&EngineState::Starting, &EngineState::Stopped, &failed] {
            [380.0, 640.0].into_iter().for_each(|width| checked(state, names, width, 1.0));
        }
    }
    speak_here(Language::English);
}

#[test]
fn where_it_is_narrow_the_screens_are_a_menu() {
    let mut window = window(bench(30), 420.0, 1.0);
    window.click("Screen: Machines");
    window.click("Events");
    assert!(window.sees("Filter events") && window.sees("Screen: Events"));
    window.click("Stop");
    assert!(window.sees("Stop and cut them off"));
}
