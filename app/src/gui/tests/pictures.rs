//! Every view of the window in both themes: painted as it was when its picture was kept, and made of controls that have names.
//!
//! A view that looks otherwise now fails with `NAME.new.png` and `NAME.diff.png` beside the kept picture. What is as it should be is accepted:
//!
//!     BOOTYARD_UPDATE_PICTURES=1 cargo test -p bootyard --lib looks_as_it_did

use std::fs;
use std::path::{Path, PathBuf};

use bootyard_core::engine::recorded;
use bootyard_core::exchange::Format;
use bootyard_core::inspect::TableKind;
use bootyard_core::lang::{Language, speak_here};
use bootyard_core::media::Kind;
use bootyard_core::trace::file;
use eframe::egui::HoveredFile;
use eframe::egui::accesskit::Action;
use egui_kittest::kittest::NodeT as _;

use super::machines::rooms;
use super::sample::tree;
use super::*;
use crate::gui::brought::{Brought, Folded, Recording};
use crate::gui::clock;

/// A channel may differ by so much: other processors round otherwise.
const TOLERANCE: u8 = 24;
/// So many pixels may differ by more. A bar that is one point longer differs in eighteen.
const PIXELS: usize = 12;

/// A view: what the lab is, how large the window, and how a person gets there.
struct Scene {
    name: &'static str,
    size: [f32; 2],
    lab: fn() -> Snapshot,
    go: fn(&mut Window),
}

const WIDE: [f32; 2] = [1280.0, 800.0];
const SMALL: [f32; 2] = [900.0, 600.0];
const NARROW: [f32; 2] = [420.0, 600.0];

const SCENES: [Scene; 51] = [
    Scene { name: "first-start", size: WIDE, lab: first::with_address, go: looked },
    Scene { name: "loading", size: SMALL, lab: Snapshot::default, go: |_| {} },
    Scene { name: "machines", size: WIDE, lab: rooms, go: two_selected },
    Scene { name: "machines-none", size: SMALL, lab: || bench(0), go: |_| {} },
    Scene { name: "machines-stopped", size: SMALL, lab: stopped, go: |_| {} },
    Scene { name: "machines-no-match", size: SMALL, lab: || bench(3), go: no_match },
    Scene { name: "machines-engine-gone", size: SMALL, lab: || bench(3), go: engine_goes },
    Scene { name: "machines-narrow", size: NARROW, lab: || bench(12), go: |_| {} },
    Scene { name: "machines-narrow-menu", size: NARROW, lab: || bench(3), go: |w| w.click("Screen: Machines") },
    Scene { name: "machines-failed-start", size: SMALL, lab: failed_start, go: |_| {} },
    Scene { name: "seats", size: WIDE, lab: rooms, go: |w| w.key(Modifiers::NONE, Key::S) },
    Scene { name: "host", size: [1280.0, 1150.0], lab: stuck, go: first_machine },
    Scene { name: "host-refused", size: SMALL, lab: silent, go: answers_nothing },
    Scene { name: "host-gone", size: SMALL, lab: || bench(1), go: forgotten },
    Scene { name: "packets", size: WIDE, lab: packets::just_now, go: packets::choose_one },
    Scene { name: "packets-none", size: SMALL, lab: packets::just_now, go: packets::find_none },
    Scene { name: "chain", size: WIDE, lab: stuck, go: chain_of_first },
    Scene { name: "images", size: WIDE, lab: tree, go: |w| w.key(Modifiers::COMMAND, Key::Num2) },
    Scene { name: "images-none", size: SMALL, lab: no_images, go: |w| w.key(Modifiers::COMMAND, Key::Num2) },
    Scene { name: "events", size: SMALL, lab: || bench(9), go: events },
    Scene { name: "events-none", size: SMALL, lab: nothing_happened, go: |w| w.key(Modifiers::COMMAND, Key::Num3) },
    Scene { name: "network-stopped", size: SMALL, lab: stopped, go: |w| w.key(Modifiers::COMMAND, Key::Num4) },
    Scene { name: "network", size: WIDE, lab: || bench(3), go: checked },
    Scene { name: "settings", size: SMALL, lab: settings::fake, go: |w| w.key(Modifiers::COMMAND, Key::Comma) },
    Scene { name: "settings-no-network", size: SMALL, lab: no_network, go: |w| w.key(Modifiers::COMMAND, Key::Comma) },
    Scene { name: "settings-refused", size: SMALL, lab: settings::full, go: settings::refused },
    Scene { name: "settings-unknown", size: SMALL, lab: settings::full, go: |w| section(w, "Unknown machines") },
    Scene { name: "settings-subnets", size: WIDE, lab: settings::full, go: |w| section(w, "Relayed subnets") },
    Scene { name: "settings-firmware", size: SMALL, lab: settings::full, go: |w| section(w, "Boot firmware") },
    Scene { name: "settings-machine", size: SMALL, lab: settings::full, go: settings_of_third },
    Scene { name: "settings-disk", size: WIDE, lab: settings::full, go: |w| section(w, "Disks") },
    Scene { name: "settings-profile", size: SMALL, lab: settings::full, go: |w| section(w, "Profiles") },
    Scene { name: "settings-window", size: SMALL, lab: settings::full, go: |w| section(w, "This window") },
    Scene { name: "lab-menu", size: SMALL, lab: || bench(3), go: lab_menu },
    Scene { name: "lab-open", size: SMALL, lab: || bench(3), go: lab_open },
    Scene { name: "lab-new", size: SMALL, lab: || bench(3), go: |w| w.key(Modifiers::COMMAND, Key::N) },
    Scene { name: "lab-shut", size: SMALL, lab: Snapshot::default, go: lab_shut },
    Scene { name: "files-hover", size: SMALL, lab: || bench(3), go: files_hover },
    Scene { name: "files-image", size: SMALL, lab: || bench(3), go: files_image },
    Scene { name: "files-notes", size: SMALL, lab: || bench(3), go: files_notes },
    Scene { name: "files-left", size: SMALL, lab: || bench(3), go: files_left },
    Scene { name: "files-recording", size: SMALL, lab: || bench(3), go: files_recording },
    Scene { name: "assign", size: SMALL, lab: three_waiting, go: assign },
    Scene { name: "install", size: SMALL, lab: three_waiting, go: install_three },
    Scene { name: "add-disk", size: SMALL, lab: || bench(3), go: |w| w.key(Modifiers::COMMAND, Key::D) },
    Scene { name: "add-profile", size: SMALL, lab: || bench(3), go: |w| w.key(Modifiers::COMMAND, Key::P) },
    Scene { name: "stop", size: SMALL, lab: || bench(30), go: |w| w.click("Stop") },
    Scene { name: "palette", size: SMALL, lab: || bench(3), go: |w| w.key(Modifiers::COMMAND, Key::K) },
    Scene { name: "close", size: WIDE, lab: || bench(30), go: Window::close },
    Scene { name: "close-unfinished", size: WIDE, lab: || Snapshot { disks: vec![], ..bench(30) }, go: Window::close },
    Scene { name: "keys", size: WIDE, lab: || bench(3), go: |w| w.key(Modifiers::NONE, Key::F1) },
];

fn looked(window: &mut Window) {
    window.looked(first::report());
    window.wait_for("1 thing would stop a boot");
}

fn failed_start() -> Snapshot {
    let error = "Port 67 is taken by dnsmasq. Stop it, then press Start again.".to_owned();
    Snapshot { engine: EngineState::Failed { error }, ..bench(3) }
}

fn no_images() -> Snapshot {
    Snapshot { disks: vec![], profiles: vec![], jobs: vec![], ..bench(3) }
}

/// A machine that stopped, with a finding and a timeline that has retries and a gap.
fn stuck() -> Snapshot {
    let mut machine = host(1, Stage::Failed, iscsi("room-1"));
    machine.timeline = sample::hosts(15).last().unwrap().timeline.clone();
    machine.findings = vec![sample::trouble()];
    let step = &mut machine.timeline[2];
    step.retries = 3;
    let at = |ms| step.start + jiff::SignedDuration::from_millis(ms);
    step.gaps = vec![(at(300), at(700))];
    Snapshot { hosts: vec![Arc::new(machine)], ..bench(0) }
}

fn stopped() -> Snapshot {
    Snapshot { engine: EngineState::Stopped, services: vec![], jobs: vec![], ..bench(0) }
}

/// A machine that lab.toml has, and that nobody has seen.
fn silent() -> Snapshot {
    let mut machine = host(1, Stage::Absent, Boot::Local);
    (machine.first_seen, machine.last_seen, machine.since) = (None, None, None);
    Snapshot { hosts: vec![Arc::new(machine)], jobs: vec![], ..bench(0) }
}

fn nothing_happened() -> Snapshot {
    Snapshot { recent: vec![], jobs: vec![], ..bench(3) }
}

fn no_network() -> Snapshot {
    Snapshot { networks: vec![], services: vec![], engine: EngineState::Stopped, ..bench(0) }
}

fn no_match(window: &mut Window) {
    window.key(Modifiers::COMMAND, Key::F);
    window.harness.event(Event::Text("no such machine".into()));
    window.frames();
}

fn engine_goes(window: &mut Window) {
    let (_, other) = EngineHandle::channel(Snapshot::default());
    drop(std::mem::replace(&mut window.end, other));
    window.wait_for("The engine has gone");
}

/// Its screen, for which the engine answers nothing.
fn answers_nothing(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    for _ in 0..200 {
        while let Ok((_, back)) = window.end.commands.try_recv() {
            let _asked_again = back.send(Err(CommandError::new("the engine is busy with an import; ask again")));
        }
        window.frames();
        if window.harness.query_all_by_label_contains("The engine is busy").count() == 2 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it waits for an answer still");
}

fn forgotten(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    window.end.publish(Snapshot { seq: 9, ..bench(0) });
    window.wait_for("no longer in the list");
}

fn section(window: &mut Window, name: &str) {
    window.key(Modifiers::COMMAND, Key::Comma);
    window.click(name);
}

fn settings_of_third(window: &mut Window) {
    for _ in 0..3 {
        window.key(Modifiers::NONE, Key::ArrowDown);
    }
    window.key(Modifiers::ALT, Key::Enter);
}

const LABS: [&str; 3] = ["/srv/labs/room-12", "/home/anna/labs/exam-2026", "/media/usb/rescue"];

fn lab_menu(window: &mut Window) {
    window.harness.state_mut().opened_before(&LABS);
    window.click("Lab lab");
}

fn lab_open(window: &mut Window) {
    window.harness.state_mut().opened_before(&LABS);
    window.key(Modifiers::COMMAND, Key::O);
}

fn lab_shut(window: &mut Window) {
    let why = "The lab /srv/labs/room-12 is open in another window (process 4711). Go on there, or close it first.";
    window.harness.state_mut().opened_before(&LABS);
    window.harness.state_mut().shut_out(LABS[0], why);
}

/// Files of three kinds hover over the window; of their paths only the names show.
fn files_hover(window: &mut Window) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        HoveredFile { path: Some(path), ..HoveredFile::default() }
    };
    window.harness.input_mut().hovered_files = vec![
        file("room-1.qcow2", b"QFI\xfb\0\0\0\x03"),
        file("preseed.cfg", b"d-i debian-installer/locale string en_US\n"),
        file("notes.txt", b"hello\n"),
    ];
    window.wait_for("notes.txt: not recognised");
}

fn drop_files(window: &mut Window, files: Vec<(&str, Kind)>, left: usize) {
    let brought =
        |(name, kind): (&str, Kind)| Brought { path: Path::new("/home/anna/Downloads").join(name), kind: Ok(kind) };
    let ctx = window.harness.ctx.clone();
    window.harness.state_mut().dropped(&ctx, files.into_iter().map(brought).collect(), left);
    window.frames();
}

fn files_image(window: &mut Window) {
    let table = Some((TableKind::Gpt, 3));
    drop_files(
        window,
        vec![("Debian 12 generic.qcow2", Kind::Disk { format: "a qcow2 image", table, file_system: None })],
        0,
    );
}

/// Another server's configuration, and what has to be unpacked first.
fn files_notes(window: &mut Window) {
    drop_files(
        window,
        vec![
            ("dhcpd.conf", Kind::Configuration(Format::Dhcpd)),
            ("Fedora-Server-dvd-x86_64-41.iso", Kind::Iso { label: "Fedora-S-dvd-x86_64-41".into() }),
            ("thesis.pdf", Kind::Unknown),
        ],
        0,
    );
}

/// A whole folder at once.
fn files_left(window: &mut Window) {
    drop_files(window, vec![("thesis.pdf", Kind::Unknown)], 23);
}

fn files_recording(window: &mut Window) {
    let read = file::read(include_bytes!("../../../../core/fuzz/corpus/trace-file/boot.pcapng")).unwrap();
    let folded = Folded { packets: read.packets.len(), cut: read.cut, folded: recorded::fold(&read.packets) };
    let path = "/home/anna/Downloads/pc-04 does not boot.pcapng".into();
    window.harness.state_mut().recorded(Recording { path, folded: Ok(Box::new(folded)) });
    window.frames();
}

fn two_selected(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::SHIFT, Key::ArrowDown);
}

fn first_machine(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    window.look();
    window.type_into("What does this code mean?", "Connection timed out (http://ipxe.org/4c0a6035)");
}

fn chain_of_first(window: &mut Window) {
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    window.look();
    window.key(Modifiers::NONE, Key::E);
    window.look_if_asked();
}

fn events(window: &mut Window) {
    window.key(Modifiers::COMMAND, Key::Num3);
    window.key(Modifiers::NONE, Key::Space);
}

fn checked(window: &mut Window) {
    window.key(Modifiers::NONE, Key::F7);
    window.answer(Ok(Reply::Doctor { report: check::report() }));
    window.wait_for("2 things would stop a boot");
}

fn assign(window: &mut Window) {
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::A);
}

fn install_three(window: &mut Window) {
    assign(window);
    window.key(Modifiers::NONE, Key::Num1);
}

impl Scene {
    /// Goes there; what moves has come to rest.
    fn open(&self, theme: Theme, textures: &picture::Textures) -> Window {
        speak_here(Language::English);
        clock::stop_here("2026-03-02T14:03:07Z".parse().unwrap());
        let mut window = Window::with((self.lab)(), theme, self.size, 1.0, textures.clone());
        window.harness.ctx.all_styles_mut(|style| style.visuals.text_cursor.blink = false);
        (self.go)(&mut window);
        window.harness.run_steps(4);
        window
    }

    fn paint(&self, theme: Theme) -> eframe::egui::ColorImage {
        let textures = picture::Textures::default();
        let window = self.open(theme, &textures);
        picture::few_colors(&textures.paint(&window.harness.ctx, window.harness.output()))
    }
}

const THEMES: [(Theme, &str); 2] = [(Theme::Light, "light"), (Theme::Dark, "dark")];

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gui/tests/pictures")
}

/// Compares with the kept picture; what is wrong, where something is.
fn compare(scene: &Scene, theme: Theme, word: &str) -> Option<String> {
    let file = |kind: &str| kept().join(format!("{}-{word}{kind}.png", scene.name));
    let now = scene.paint(theme);
    let old = picture::read(&file(""));
    for kind in [".new", ".diff"] {
        let _there_is_none = fs::remove_file(file(kind));
    }
    let (differs, shown) = old.as_ref().map_or((usize::MAX, None), |old| {
        let (count, shown) = picture::difference(old, &now, TOLERANCE);
        (count, Some(shown))
    });
    if differs <= PIXELS {
        return None;
    }
    if std::env::var_os("BOOTYARD_UPDATE_PICTURES").is_some() {
        picture::write(&now, &file(""));
        return None;
    }
    picture::write(&now, &file(".new"));
    let Some(shown) = shown else { return Some(format!("{} is missing", file("").display())) };
    picture::write(&picture::few_colors(&shown), &file(".diff"));
    Some(format!("{}: {differs} pixels differ", file("").display()))
}

#[test]
fn every_view_looks_as_it_did() {
    // The painter is slow where it is not optimised: all processors share the views.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    let all: Vec<(&Scene, Theme, &str)> =
        SCENES.iter().flat_map(|scene| THEMES.map(|(theme, word)| (scene, theme, word))).collect();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((scene, theme, word)) = all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    wrong.lock().unwrap().extend(compare(scene, *theme, word));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "look at the .new.png and .diff.png beside these:\n{}\nWhere all of it is meant: \
         BOOTYARD_UPDATE_PICTURES=1 cargo test -p bootyard --lib looks_as_it_did",
        wrong.join("\n")
    );
}

#[test]
fn no_picture_is_kept_of_a_view_that_is_gone() {
    let known: Vec<String> =
        SCENES.iter().flat_map(|scene| THEMES.map(|(_, word)| format!("{}-{word}.png", scene.name))).collect();
    for file in fs::read_dir(kept()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let aside = name.ends_with(".new.png") || name.ends_with(".diff.png");
        assert!(aside || known.contains(&name), "no view is called {name}");
    }
}

#[test]
fn a_difference_is_counted_and_shown() {
    use eframe::egui::{Color32, ColorImage};
    let old = ColorImage::filled([8, 4], Color32::from_rgb(20, 20, 20));
    let mut new = old.clone();
    new[(3, 2)] = Color32::from_rgb(20, 20, 20 + TOLERANCE);
    assert_eq!(picture::difference(&old, &new, TOLERANCE).0, 0);
    new[(3, 2)] = Color32::from_rgb(20, 20, 21 + TOLERANCE);
    let (count, shown) = picture::difference(&old, &new, TOLERANCE);
    assert_eq!((count, shown[(3, 2)]), (1, Color32::RED));
    assert_eq!(picture::difference(&old, &ColorImage::filled([8, 3], Color32::from_rgb(20, 20, 20)), 0).0, 8);
    let dir = tempfile::tempdir().unwrap();
    picture::write(&new, &dir.path().join("a.png"));
    assert_eq!(picture::read(&dir.path().join("a.png")).unwrap().pixels, new.pixels);
}

/// What a screen reader would be told nothing about, or nonsense.
fn unsaid(window: &Window) -> Vec<String> {
    let private = |c: char| matches!(u32::from(c), 0xe000..=0xf8ff | 0xf_0000..=0x10_ffff);
    let mut wrong = Vec::new();
    for node in window.harness.root().children_recursive() {
        let node = node.accesskit_node();
        let (role, label, value) = (node.role(), node.label().unwrap_or_default(), node.value().unwrap_or_default());
        if label.chars().chain(value.chars()).any(private) {
            wrong.push(format!("{role:?} {label:?} has a glyph in its name"));
        }
        // What only holds others, and scroll bars, are told by their role.
        let only_role =
            [Role::GenericContainer, Role::Unknown, Role::Window, Role::ScrollView, Role::ScrollBar, Role::Pane];
        let has_role = !only_role.contains(&role);
        let operated = node.data().supports_action(Action::Focus) || node.data().supports_action(Action::Click);
        let named = !label.trim().is_empty() || (role == Role::Label && !value.trim().is_empty());
        if has_role && operated && !named {
            wrong.push(format!("{role:?} at {:?} has no name; its value is {value:?}", node.bounding_box()));
        }
        let part = node.numeric_value().is_none_or(|part| (0.0..=100.0).contains(&part));
        if role == Role::ProgressIndicator && !(named && part) {
            wrong.push(format!("progress {label:?} says not of what, or goes beyond its end"));
        }
    }
    wrong
}

#[test]
fn every_control_of_every_view_has_a_name() {
    let mut wrong = Vec::new();
    for scene in &SCENES {
        let window = scene.open(Theme::Dark, &picture::Textures::default());
        wrong.extend(unsaid(&window).into_iter().map(|what| format!("{}: {what}", scene.name)));
        if scene.name == "machines" {
            let part = window.harness.get_by_label("initrd.gz: 21 MiB of 36 MiB at 11 MiB/s, 1 s left");
            let percent = part.accesskit_node().numeric_value().unwrap();
            assert!((58.0..59.0).contains(&percent), "{percent}");
            assert!(window.harness.query_all_by_role(Role::Row).count() > 10, "the machines are rows");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes a picture of each view into the folder that BOOTYARD_PICTURES names.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib pictures -- --ignored"]
fn pictures() {
    let dir = PathBuf::from(std::env::var_os("BOOTYARD_PICTURES").unwrap());
    for scene in &SCENES {
        for (theme, word) in THEMES {
            picture::write(&scene.paint(theme), &dir.join(format!("{}-{word}.png", scene.name)));
        }
    }
}
