//! The settings' screen against the real engine on a lab of its own: what is typed, what the file says then, and what is liked.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bootyard_core::api::{EngineState, InterfaceView};
use bootyard_core::engine::{Engine, Options};
use bootyard_core::lab::{SettingChange, SettingEntry, SettingPlace, SettingValue, Settings};
use bootyard_core::lang::{Language, spoken};

use super::*;
use crate::gui::prefs::{self, Prefs};

const LAB: &str = "version = 1

# The bench in the cellar.
[network]
interface = \"none0\"
address = \"192.168.2.1/24\"
range = \"192.168.2.20-192.168.2.99\" # the rest is printers

[[network.subnet]]
subnet = \"10.1.0.0/24\"
range = \"10.1.0.20-10.1.0.99\"
router = \"10.1.0.1\"

[[profile]]
name = \"debian-12\"
kernel = \"linux\"
args = \"quiet\"

[[disk]]
name = \"gold\"
image = \"gold.raw\"
chap = { user = \"anna\", secret = \"twelve-bytes\" }

[[host]]
mac = \"52:54:00:00:00:01\"
name = \"pc-01\"
group = \"room-1\"
seat = [1, 2] # by the door
";

/// A window over an engine on a folder of its own.
struct Live {
    harness: Harness<'static, App>,
    engine: Option<Engine>,
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
}

impl Live {
    fn new() -> Self {
        Self::with(Theme::Light, [1280.0, 900.0], picture::Textures::default())
    }

    fn with(theme: Theme, size: [f32; 2], textures: picture::Textures) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lab.toml"), LAB).unwrap();
        for (folder, file) in [("media", "linux"), ("disks", "gold.raw")] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join(file), [1; 4096]).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let engine = runtime.block_on(Engine::open(dir.path(), Options::default())).unwrap();
        let (handle, on) = (engine.handle(), runtime.handle().clone());
        let prefs = Prefs::load_from(dir.path().join("config/window.json"));
        let mut harness = Harness::builder()
            .with_size(size)
            .with_theme(theme)
            .renderer(textures)
            .build_eframe(move |cc| App::liked(&cc.egui_ctx, handle, on, prefs));
        harness.run_steps(3);
        let mut live = Self { harness, engine: Some(engine), runtime, dir };
        live.key(Modifiers::COMMAND, Key::Comma);
        live
    }

    fn toml(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("lab.toml")).unwrap()
    }

    fn liked(&self) -> Prefs {
        Prefs::load_from(self.dir.path().join("config/window.json"))
    }

    fn frames(&mut self) {
        self.harness.run_steps(4);
    }

    fn key(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.frames();
    }

    fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.frames();
    }

    /// Writes into the field instead of what is there.
    fn fill(&mut self, label: &str, text: &str) {
        self.harness.get_by_role_and_label(Role::TextInput, label).focus();
        self.frames();
        self.key(Modifiers::COMMAND, Key::A);
        self.key(Modifiers::NONE, Key::Delete);
        self.harness.event(Event::Text(text.into()));
        self.frames();
    }

    fn sees(&self, part: &str) -> bool {
        self.harness.query_all_by_label_contains(part).next().is_some()
    }

    /// Draws until it is so.
    fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let patience = Instant::now();
        while !is(self) {
            assert!(patience.elapsed() < Duration::from_secs(20), "{what} never came: {}", self.toml());
            self.frames();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn shows(&mut self, part: &'static str) {
        self.until(part, |live| live.sees(part));
    }

    fn says(&mut self, line: &'static str) {
        self.until(line, |live| live.toml().contains(line));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.runtime.block_on(engine.close());
        }
    }
}

#[test]
fn a_lease_is_written_to_the_file_with_every_comment_and_undo_takes_it_back() {
    let mut live = Live::new();
    live.fill("Lease", "10m");
    live.key(Modifiers::NONE, Key::Enter);
    live.says("lease = \"10m\"");
    assert!(live.toml().contains("# the rest is printers"), "{}", live.toml());
    live.shows("Network none0: changed, and in force");
    live.click("Undo");
    live.until("the file as it was", |live| live.toml() == LAB);
}

#[test]
fn a_range_that_cannot_be_is_refused_in_the_words_of_the_file_s_reader_and_nothing_is_written() {
    let mut live = Live::new();
    live.fill("Addresses to give", "10.0.0.5-10.0.0.9");
    live.shows("The range 10.0.0.5-10.0.0.9 is not inside 192.168.2.0/24");
    live.key(Modifiers::NONE, Key::Enter);
    live.frames();
    assert_eq!(live.toml(), LAB);
    // Together with the address it is right.
    live.fill("Own address", "10.0.0.1/24");
    live.until("no problem", |live| !live.sees("is not inside"));
    live.click("Revert");
    assert!(!live.sees("10.0.0.1/24"));
    assert_eq!(live.toml(), LAB);
}

#[test]
fn what_is_typed_survives_an_edit_of_the_file_by_hand() {
    let mut live = Live::new();
    live.fill("Domain", "mine.example");
    let by_hand = LAB
        .replace("[[network.subnet]]", "domain = \"hand.example\"\nrouter = \"192.168.2.254\"\n\n[[network.subnet]]");
    std::fs::write(live.dir.path().join("lab.toml"), &by_hand).unwrap();
    live.shows("lab.toml was changed meanwhile and says hand.example");
    let value = |live: &Live, label: &str| live.harness.get_by_role_and_label(Role::TextInput, label).value();
    assert_eq!(value(&live, "Domain").as_deref(), Some("mine.example"));
    assert_eq!(value(&live, "Router").as_deref(), Some("192.168.2.254"), "what nobody edits is shown as it is");
    live.click("Apply");
    live.says("domain = \"mine.example\"");
}

#[test]
fn every_unknown_machine_is_erased_only_after_a_question() {
    let mut live = Live::new();
    live.click("Unknown machines");
    live.click("Unknown machines get Wait; nothing beside another DHCP server (default)");
    live.click("Install debian-12");
    live.shows("the disk of every machine that boots here");
    live.click("Apply");
    live.shows("Erase every unknown machine?");
    assert_eq!(live.toml(), LAB);
    live.click("Erase and install every unknown machine");
    live.says("unknown-erases-disks = true");
    live.says("unknown = { install = \"debian-12\", then = \"local\" }");
    live.shows("Every unknown machine is installed with debian-12");
    live.until("a way back", |live| live.harness.query_all_by_label("Undo").count() == 1);
    live.until("the end of the first way back", |live| live.harness.query_all_by_label("Undo").count() == 0);
    live.click("Unknown machines get Install debian-12");
    live.click("Local disk");
    live.click("Apply");
    live.says("unknown = \"local\"");
    assert!(!live.toml().contains("erases"), "{}", live.toml());
    live.until("the way back", |live| live.harness.query_all_by_label("Undo").count() == 1);
    // To undo that would erase again, so it is asked again.
    live.key(Modifiers::COMMAND, Key::Z);
    live.shows("Erase every unknown machine?");
    assert!(live.toml().contains("unknown = \"local\""));
}

#[test]
fn subnets_and_rules_are_added_and_removed() {
    let mut live = Live::new();
    live.click("Relayed subnets");
    live.click("Remove 10.1.0.0/24 behind none0");
    live.until("no subnet", |live| !live.toml().contains("10.1.0.0/24"));
    live.until("the form alone", |live| {
        live.harness.query_all_by_role_and_label(Role::TextInput, "Subnet").count() == 1
    });
    live.fill("Subnet", "10.2.0.0/24");
    live.shows("has no `range`");
    live.fill("Addresses to give", "10.2.0.20-10.2.0.99");
    live.until("no problem", |live| !live.sees("has no `range`"));
    live.click("Add");
    live.says("subnet = \"10.2.0.0/24\"");
    live.shows("Remove 10.2.0.0/24 behind none0");
}

#[test]
fn a_secret_is_replaced_and_never_shown() {
    let mut live = Live::new();
    live.click("Disks");
    assert!(!live.sees("twelve-bytes"));
    live.harness.get_by_role_and_label(Role::PasswordInput, "CHAP secret").focus();
    live.frames();
    live.harness.event(Event::Text("thirteen-byte".into()));
    live.frames();
    live.click("Apply");
    live.says("secret = \"thirteen-byte\"");
    live.shows("Undo does not bring back a secret");
    live.until("an empty field", |live| {
        let field = live.harness.get_by_role_and_label(Role::PasswordInput, "CHAP secret");
        field.value().is_none_or(|value| value.is_empty())
    });
    live.click("No CHAP any more");
    live.click("Apply");
    live.until("no login", |live| !live.toml().contains("chap"));
}

#[test]
fn a_machine_is_given_an_address_and_another_group_and_undo_takes_them_back() {
    let mut live = Live::new();
    live.click("Single machines");
    live.fill("Fixed address", "192.168.2.77");
    live.key(Modifiers::NONE, Key::Enter);
    live.says("address = \"192.168.2.77\"");
    live.shows("pc-01: changed, and in force");
    live.click("Undo");
    live.until("the file as it was", |live| live.toml() == LAB);
    // Its seat is one of the group that it leaves.
    live.fill("Group", "room-2");
    live.click("Apply");
    live.says("group = \"room-2\"");
    live.until("no seat", |live| !live.toml().contains("seat"));
    live.until("an empty field", |live| {
        let field = live.harness.get_by_role_and_label(Role::TextInput, "Seat");
        field.value().is_none_or(|value| value.is_empty())
    });
    live.until("a way back", |live| live.harness.query_all_by_label("Undo").count() == 1);
    live.key(Modifiers::COMMAND, Key::Z);
    live.says("seat = [1, 2]");
    live.says("group = \"room-1\"");
}

#[test]
fn what_a_machine_cannot_have_is_refused_in_the_words_of_the_file_s_reader() {
    let mut live = Live::new();
    live.click("Single machines");
    for (field, text, says) in [
        ("Fixed address", "10.9.9.9", "10.9.9.9 is in none of the lab's subnets"),
        ("Seat", "2 by 3", "must be [row, column]"),
        ("MAC", "52:54:00", "is not a MAC address"),
        ("MAC", "", "has no `mac`"),
        ("UUID", "4c4c", "is not a UUID"),
        ("Boot file", "gone.efi", "gone.efi"),
        ("Name", "PC 1", "is not a name"),
    ] {
        live.fill(field, text);
        live.until(says, |live| live.sees(says) && live.harness.query_all_by_label("Revert").count() == 1);
        live.key(Modifiers::NONE, Key::Enter);
        live.click("Revert");
    }
    assert_eq!(live.toml(), LAB);
}

#[test]
fn a_machine_with_another_network_card_is_still_the_same_one() {
    let mut live = Live::new();
    let id = |live: &Live| live.harness.state().shot_now().hosts[0].id;
    let before = id(&live);
    live.click("Single machines");
    live.fill("MAC", "52:54:00:00:00:02, 52:54:00:00:00:03");
    live.click("Apply");
    live.says("mac = [\"52:54:00:00:00:02\", \"52:54:00:00:00:03\"]");
    live.until("its new MAC", |live| live.harness.state().shot_now().hosts[0].macs.len() == 2);
    assert_eq!(id(&live), before);
    live.until("a way back", |live| live.harness.query_all_by_label("Undo").count() == 1);
    live.click("Undo");
    live.until("the file as it was", |live| live.toml() == LAB);
    assert_eq!(id(&live), before);
}

#[test]
fn a_machine_s_settings_are_reached_from_its_row_its_screen_and_by_a_key() {
    let mut window = Window::over(three_waiting());
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::ALT, Key::Enter);
    assert!(window.sees("Fixed address") && window.sees("It has no entry in lab.toml yet"));
    window.click("Open the machine");
    assert!(window.sees("This boot"));
    window.click("Machine settings…");
    assert!(window.sees("Fixed address"));
    window.key(Modifiers::COMMAND, Key::Num1);
    window.harness.get_by_label("52:54:00:00:00:02").click_secondary();
    window.frames();
    window.click("Machine settings…");
    assert_eq!(window.harness.get_by_label("Machine whose settings are shown").value().as_deref(), Some("pc-02"));
    window.type_into("Name", "left");
    let trial = window.answer(Ok(Reply::Settings { problems: Vec::new() }));
    let Command::Settings { changes, trial: true } = trial else { panic!("{trial:?}") };
    assert_eq!(changes[0].place(), &SettingPlace::Host { host: HostId(2) });
    // Several have no settings in common.
    window.key(Modifiers::COMMAND, Key::Num1);
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::ALT, Key::Enter);
    assert!(window.sees("Select one machine to change its settings"));
}

#[test]
fn what_is_liked_holds_at_once_and_is_there_again() {
    let mut live = Live::new();
    live.click("This window");
    live.click("Dark");
    live.until("the theme", |live| live.liked().theme == prefs::Theme::Dark);
    assert!(live.harness.ctx.global_style().visuals.dark_mode);
    live.click("150 %");
    live.until("the scale", |live| live.liked().scale == 150);
    live.frames();
    assert!((live.harness.ctx.zoom_factor() - 1.5).abs() < 0.01);
    live.key(Modifiers::COMMAND, Key::Minus);
    live.until("the smaller scale", |live| live.liked().scale == 125);
    live.key(Modifiers::COMMAND, Key::Num0);
    live.until("the desktop's scale", |live| live.liked().scale == 100);
    live.click("Tell the desktop what happens");
    live.until("no notifications", |live| !live.liked().notify);
    live.click("Deutsch");
    live.until("the language", |live| live.liked().language == Some(Language::German));
    assert_eq!(spoken(), Language::German);
    live.click("English");
    assert_eq!(spoken(), Language::English);
}

#[test]
fn what_cannot_be_kept_is_said() {
    let mut live = Live::new();
    // A file where the folder should be.
    std::fs::write(live.dir.path().join("config"), "").unwrap();
    live.click("This window");
    live.click("Dark");
    live.shows("What you like could not be kept");
}

#[test]
fn settings_and_what_is_liked_are_reached_by_keys_alone() {
    let mut window = Window::over(fake());
    window.key(Modifiers::COMMAND, Key::K);
    window.harness.event(Event::Text("theme: dark".into()));
    window.frames();
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.harness.ctx.global_style().visuals.dark_mode);
    window.key(Modifiers::COMMAND, Key::Comma);
    assert!(window.sees("Addresses to give"));
    window.key(Modifiers::COMMAND, Key::Num4);
    assert!(!window.sees("Addresses to give"));
}

/// A lab whose file says a lease.
pub(super) fn fake() -> Snapshot {
    let place = SettingPlace::Network { interface: "enp3s0".into() };
    let keys = [("lease.default".to_owned(), SettingValue::text("30m"))].into();
    let settings = Settings { entries: vec![SettingEntry { place, keys }] };
    let interfaces = vec![InterfaceView { confirmed: true, ..sample::interface("enp3s0", "192.168.2.1/24") }];
    let engine = EngineState::Running { since: sample::ago(60) };
    Snapshot { settings: Arc::new(settings), interfaces, engine, ..bench(1) }
}

/// A lab whose file says something of everything.
pub(super) fn full() -> Snapshot {
    let text = |key: &str, value: &str| (key.to_owned(), SettingValue::text(value));
    let list =
        |key: &str, all: &[&str]| (key.to_owned(), SettingValue::List(all.iter().map(|t| (*t).into()).collect()));
    let entry = |place, keys: Vec<(String, SettingValue)>| SettingEntry { place, keys: keys.into_iter().collect() };
    let interface = "enp3s0".to_owned();
    let subnet = SettingPlace::Subnet { interface: interface.clone(), subnet: "10.1.0.0/24".into() };
    let secret = ("chap.secret".to_owned(), SettingValue::Secret(bootyard_core::lab::NewSecret(None)));
    let install = SettingValue::Boot(sample::install("debian-12"));
    let erases = ("unknown-erases-disks".to_owned(), SettingValue::Flag(true));
    let entries = vec![
        entry(
            SettingPlace::Network { interface },
            vec![text("lease.default", "30m"), ("unknown".into(), install), erases],
        ),
        entry(
            subnet,
            vec![text("subnet", "10.1.0.0/24"), text("range", "10.1.0.20-10.1.0.200"), text("router", "10.1.0.1")],
        ),
        entry(
            SettingPlace::Firmware { arch: Some("uefi-x64".into()), mac: None },
            vec![text("arch", "uefi-x64"), text("file", "snponly.efi")],
        ),
        entry(SettingPlace::Profile { name: "debian-12".into() }, vec![text("args", "auto=true priority=critical")]),
        entry(SettingPlace::Profile { name: "xen".into() }, vec![]),
        entry(
            SettingPlace::Disk { name: "room-1".into() },
            vec![
                text("writes", "fresh"),
                list("allow", &["192.168.77.0/24", "iqn.2020-01.org.example:"]),
                text("chap.user", "anna"),
                secret,
            ],
        ),
        entry(SettingPlace::Disk { name: "windows".into() }, vec![]),
        entry(
            SettingPlace::Host { host: HostId(3) },
            vec![
                text("name", "pc-03"),
                text("group", "room-1"),
                ("seat".into(), SettingValue::Numbers(vec![1, 3])),
                text("mac", "52:54:00:00:00:03"),
                text("address", "192.168.77.30"),
            ],
        ),
    ];
    Snapshot { settings: Arc::new(Settings { entries }), ..bench(4) }
}

/// What is typed is refused while it is typed.
pub(super) fn refused(window: &mut Window) {
    window.key(Modifiers::COMMAND, Key::Comma);
    window.type_into("Addresses to give", "10.0.0.5-10.0.0.9");
    let message = "the range 10.0.0.5-10.0.0.9 is not inside 192.168.77.0/24".to_owned();
    let problem = bootyard_core::lab::SettingProblem { change: Some(0), message, error: true };
    window.answer(Ok(Reply::Settings { problems: vec![problem] }));
    window.wait_for("is not inside");
}

#[test]
fn a_refusal_leaves_what_was_typed_where_it_is() {
    let mut window = Window::over(fake());
    window.key(Modifiers::COMMAND, Key::Comma);
    window.type_into("Domain", "lab.example");
    let trial = window.answer(Ok(Reply::Settings { problems: Vec::new() }));
    assert!(matches!(trial, Command::Settings { trial: true, .. }));
    window.click("Apply");
    // A letter at a time may have been tried.
    let refused = || Err(CommandError::new("the disk is full"));
    let sent = loop {
        match window.answer(refused()) {
            Command::Settings { changes, trial: false } => break changes,
            _ => continue,
        }
    };
    let [SettingChange::Set { key, value, .. }] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((key.as_str(), value), ("domain", &Some(SettingValue::text("lab.example"))));
    window.wait_for("The disk is full");
    let field = window.harness.get_by_role_and_label(Role::TextInput, "Domain");
    assert_eq!(field.value().as_deref(), Some("lab.example"));
}

#[test]
fn a_refusal_leaves_a_secret_in_its_field_until_it_is_written_or_given_up() {
    let mut window = Window::over(full());
    window.key(Modifiers::COMMAND, Key::Comma);
    window.click("Disks");
    let typed = |window: &Window| {
        let field = window.harness.get_by_role_and_label(Role::PasswordInput, "CHAP secret");
        field.value().map_or(0, |dots| dots.chars().count())
    };
    let write = |window: &mut Window| {
        window.harness.get_by_role_and_label(Role::PasswordInput, "CHAP secret").focus();
        window.frames();
        window.harness.event(Event::Text("thirteen-byte".into()));
        window.frames();
        let trial = window.answer(Ok(Reply::Settings { problems: Vec::new() }));
        assert!(matches!(trial, Command::Settings { trial: true, .. }));
        window.frames();
    };
    write(&mut window);
    window.click("Apply");
    assert!(matches!(
        window.answer(Err(CommandError::new("the disk is full"))),
        Command::Settings { trial: false, .. }
    ));
    window.wait_for("The disk is full");
    assert_eq!(typed(&window), 13, "what nobody wrote down is not typed again");
    assert!(!window.sees("thirteen-byte"), "and is not shown");
    window.click("Apply");
    assert!(matches!(window.done(), Command::Settings { trial: false, .. }));
    window.wait_for("Undo does not bring back a secret");
    assert_eq!(typed(&window), 0, "it is in the file");
    write(&mut window);
    window.click("Revert");
    assert_eq!(typed(&window), 0);
    window.sent_nothing();
}

/// Writes pictures of every section into the folder that BOOTYARD_PICTURES names.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib settings::pictures -- --ignored"]
fn pictures() {
    let folder = PathBuf::from(std::env::var_os("BOOTYARD_PICTURES").unwrap());
    for (theme, name) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        let textures = picture::Textures::default();
        let mut live = Live::with(theme, [1280.0, 800.0], textures.clone());
        live.harness.ctx.set_theme(theme);
        live.fill("Addresses to give", "10.0.0.5-10.0.0.9");
        live.shows("is not inside");
        for section in ["", "Unknown machines", "Relayed subnets", "Ports", "Boot firmware", "Disks", "This window"] {
            if !section.is_empty() {
                live.click(section);
            }
            let file = format!("settings-{name}-{}.png", section.to_lowercase().replace(' ', "-"));
            textures.save(&live.harness.ctx, live.harness.output(), &folder.join(file));
        }
    }
}
