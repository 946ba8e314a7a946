//! The window in German: each screen says German, nothing that the table has is left in English, and every control keeps its name
//! (which the harness asks for in each frame).

use std::collections::HashSet;

use bootyard_core::lang::{Language, speak_here};
use egui_kittest::kittest::NodeT as _;

use super::machines::rooms;
use super::sample;
use super::tables::german;
use super::{Window, one_failed, picture, three_waiting};
use bootyard_core::api::*;
use bootyard_core::lab::Boot;
use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Theme};

/// Speaks German on this thread until it is dropped.
struct German;

impl German {
    fn spoken() -> Self {
        speak_here(Language::German);
        Self
    }
}

impl Drop for German {
    fn drop(&mut self) {
        speak_here(Language::English);
    }
}

/// Everything that is on the screen or read aloud, what is typed left out.
fn texts(window: &Window) -> Vec<String> {
    let nodes = window.harness.root().children_recursive();
    nodes
        .filter(|node| node.accesskit_node().role() != Role::TextInput)
        .flat_map(|node| [node.accesskit_node().label(), node.accesskit_node().value()])
        .flatten()
        .collect()
}

/// What stands between the parameters of a text.
fn parts(text: &str) -> Vec<&str> {
    let mut rest = text;
    let mut parts = Vec::new();
    while let Some((before, after)) = rest.split_once('{') {
        parts.push(before);
        rest = after.split_once('}').map_or("", |(_, tail)| tail);
    }
    parts.push(rest);
    parts
}

/// Whether it was made of this text: all its parts in their order, from the beginning to the end.
fn is_made_of(said: &str, parts: &[&str]) -> bool {
    let (Some((first, more)), Some(last)) = (parts.split_first(), parts.last()) else { return false };
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    if more.is_empty() {
        return rest.is_empty();
    }
    for part in more {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    said.ends_with(last)
}

/// Nothing of it is an English text for which there is German.
fn all_german(window: &Window, screen: &str) {
    let table = german();
    let in_german: HashSet<&String> = table.values().collect();
    let letters = |parts: &[&str]| parts.iter().flat_map(|p| p.chars()).filter(|c| c.is_alphabetic()).count();
    let english: Vec<(&String, Vec<&str>)> = table
        .iter()
        .filter(|(english, german)| english != german && !in_german.contains(english))
        .map(|(english, _)| (english, parts(english)))
        .filter(|(_, parts)| parts.len() == 1 || letters(parts) > 7)
        .collect();
    let left: Vec<(String, &String)> = texts(window)
        .into_iter()
        .filter_map(|said| {
            let (english, _) = english.iter().find(|(_, parts)| is_made_of(&said, parts))?;
            Some((said, *english))
        })
        .collect();
    assert!(left.is_empty(), "{screen} says in English: {left:#?}");
}

fn sees_all(window: &Window, screen: &str, words: &[&str]) {
    let said = texts(window);
    for word in words {
        assert!(
            window.sees(word) || said.iter().any(|text| text.contains(word)),
            "{screen} does not say {word:?}, but {said:#?}"
        );
    }
    all_german(window, screen);
}

#[test]
fn every_screen_is_german() {
    let _german = German::spoken();
    let mut window = Window::over(sample::fresh());
    sees_all(&window, "first start", &["Netzwerk-Boot bereitstellen", "Schnittstelle", "Starten", "Lab-Ordner"]);
    drop(window);
    window = Window::over(rooms());
    window.key(Modifiers::NONE, Key::ArrowDown);
    sees_all(
        &window,
        "machines",
        &["Rechner ausgewählt", "Zustand", "Bekommt", "Aufwecken", "Anhalten", "Rechner filtern"],
    );
    window.key(Modifiers::NONE, Key::S);
    sees_all(&window, "seats", &["Sitzplan", "Vorne"]);
    window.key(Modifiers::COMMAND, Key::Num2);
    sees_all(&window, "images", &["Profil hinzufügen…", "Boot-Firmware"]);
    window.key(Modifiers::COMMAND, Key::Num3);
    sees_all(&window, "events", &["Ereignisse filtern", "Ereignisse von", "Schritte"]);
    window.key(Modifiers::COMMAND, Key::Num4);
    sees_all(&window, "network", &["Jetzt prüfen", "Selbsttest", "Server"]);
    window.key(Modifiers::COMMAND, Key::K);
    sees_all(&window, "palette", &["Alle Befehle", "lab.toml neu lesen"]);
    window.key(Modifiers::NONE, Key::Escape);
    window.key(Modifiers::NONE, Key::F1);
    sees_all(&window, "keys", &["Tasten", "Strg+K", "Umschalt+F5"]);
}

#[test]
fn a_window_that_is_open_changes_its_language() {
    let mut window = Window::over(rooms());
    window.key(Modifiers::COMMAND, Key::Num3);
    assert!(window.sees("Filter events"));
    let _german = German::spoken();
    window.frames();
    sees_all(&window, "events", &["Ereignisse filtern"]);
    speak_here(Language::English);
    window.frames();
    assert!(window.sees("Filter events"));
}

#[test]
fn the_menu_of_labs_names_keys_as_they_are_written_in_german() {
    let _german = German::spoken();
    let mut window = Window::over(rooms());
    window.click("Lab lab");
    let said = texts(&window);
    assert!(
        said.iter().any(|text| text.contains("Strg+")) && !said.iter().any(|text| text.contains("Ctrl")),
        "{said:#?}"
    );
}

#[test]
fn one_machine_is_german() {
    let _german = German::spoken();
    let mut window = Window::over(one_failed().0);
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    sees_all(&window, "machine", &["Was bedeutet dieser Code?", "Seriennummer", "Dieser Boot", "Wahrscheinlich"]);
    window.type_into("Was bedeutet dieser Code?", "PXE-E61");
    assert!(window.sees("Die Netzwerkkarte hat keinen Link."));
}

#[test]
fn dialogs_are_german_and_what_they_do_is_the_same() {
    let _german = German::spoken();
    let mut window = Window::over(three_waiting());
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::A);
    sees_all(&window, "assign", &["Was jeder von 3 Rechnern bekommt", "Disk room-1"]);
    window.click("debian-12 installieren");
    sees_all(&window, "install", &["Das lässt sich nicht rückgängig machen.", "Abbrechen"]);
    window.click("3 Rechner löschen und installieren");
    assert!(matches!(window.done(), Command::Assign { hosts, .. } if hosts.len() == 3));
    window.wait_for("Rückgängig");
    all_german(&window, "toast");
    window.key(Modifiers::COMMAND, Key::D);
    sees_all(&window, "disk", &["Eine leere Disk anlegen", "Die Image-Datei wählen"]);
    window.key(Modifiers::NONE, Key::Escape);
    window.key(Modifiers::COMMAND, Key::P);
    sees_all(&window, "profile", &["Kernel-Argumente", "Den Kernel wählen"]);
}

/// The engine refuses in English, wherever it runs.
#[test]
fn a_refused_command_is_said_in_german() {
    let _german = German::spoken();
    let mut window = Window::over(three_waiting());
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::A);
    window.click("debian-12 installieren");
    window.click("3 Rechner löschen und installieren");
    let refused = "cannot write /srv/lab 1/lab.toml: No space left on device (os error 28)";
    let command = window.answer(Err(CommandError::new(refused)));
    assert!(matches!(command, Command::Assign { .. }), "{command:?}");
    window.wait_for("Schreiben gescheitert: /srv/lab 1/lab.toml: kein Platz mehr auf der Platte (Systemfehler 28).");
    assert!(!window.sees("No space left"));
}

#[test]
fn a_start_that_failed_and_a_name_that_is_none_are_said_in_german() {
    let _german = German::spoken();
    let mut shot = rooms();
    shot.engine = EngineState::Failed {
        error: "UDP port 67 on 192.168.2.1 is taken by dnsmasq (pid 812); stop it, then start again".into(),
    };
    let mut window = Window::over(shot);
    assert!(
        window
            .sees("Der UDP-Port 67 an 192.168.2.1 ist belegt durch dnsmasq (PID 812); das anhalten, dann neu starten."),
        "{:#?}",
        texts(&window)
    );
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::F2);
    window.harness.event(eframe::egui::Event::Text("Ä".into()));
    window.frames();
    assert!(window.sees("ist kein Name; 1 bis 63 Zeichen"), "{:#?}", texts(&window));
}

#[test]
fn a_finding_is_said_anew_in_the_language_that_is_chosen() {
    let english = Finding {
        seen: "Another DHCP server answers on br0: 192.168.2.254.".into(),
        means: "Machines may get its address and its boot file; new offers of ours are held back.".into(),
        ..sample::trouble()
    };
    let mut failed = sample::host(1, Stage::Failed, Boot::Wait);
    failed.findings = vec![english];
    let mut window = Window::over(Snapshot { hosts: vec![std::sync::Arc::new(failed)], ..sample::bench(0) });
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("answers on br0: 192.168.2.254") && window.sees("Machines may get its address"));
    let _german = German::spoken();
    window.frames();
    let said = texts(&window);
    assert!(
        said.iter().any(|text| text.contains("anderer DHCP-Server") && text.contains("192.168.2.254.")),
        "{said:#?}"
    );
    assert!(said.iter().any(|text| text.contains("Rechner bekommen womöglich seine Adresse")), "{said:#?}");
    assert!(!window.sees("answers on br0") && !window.sees("Machines may get its address"));
}

#[test]
fn numbers_have_a_comma_in_german() {
    use crate::gui::{disk_ask, say};
    assert_eq!(disk_ask::parse_size("1,5G").ok(), None);
    let _german = German::spoken();
    assert_eq!(say::bytes(1536), "1,5 KiB");
    assert_eq!(say::span(2340), "2,3 s");
    assert_eq!(disk_ask::parse_size("1,5 GiB"), Ok(3 << 29));
    let far = Progress { done: 10 << 20, total: 30 << 20, rate: 10 << 20 };
    assert_eq!(say::progress(&far), "10 MiB von 30 MiB mit 10 MiB/s, noch 2 s");
}

/// Writes pictures of the German window into the folder that BOOTYARD_PICTURES names: German is longer, so look for what is cut.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib german::pictures -- --ignored"]
fn pictures() {
    let _german = German::spoken();
    let dir = std::path::PathBuf::from(std::env::var_os("BOOTYARD_PICTURES").unwrap());
    for (size, name) in [([1280.0, 800.0], "wide"), ([1000.0, 700.0], "narrow")] {
        let textures = picture::Textures::default();
        let start = |shot: Snapshot| Window::with(shot, Theme::Light, size, 1.0, textures.clone());
        let save = |window: &Window, what: &str| {
            let path = dir.join(format!("german-{name}-{what}.png"));
            textures.save(&window.harness.ctx, window.harness.output(), &path);
        };
        save(&start(sample::fresh()), "first");
        let mut window = start(rooms());
        window.key(Modifiers::NONE, Key::ArrowDown);
        save(&window, "hosts");
        window.key(Modifiers::NONE, Key::S);
        window.harness.run_steps(8);
        save(&window, "seats");
        for (key, what) in [(Key::Num3, "events"), (Key::Num4, "network"), (Key::K, "palette"), (Key::F1, "keys")] {
            window.key(Modifiers::NONE, Key::Escape);
            window.key(if key == Key::F1 { Modifiers::NONE } else { Modifiers::COMMAND }, key);
            save(&window, what);
        }
        drop(window);
        let mut window = start(sample::tree());
        window.key(Modifiers::COMMAND, Key::Num2);
        save(&window, "images");
        window.key(Modifiers::COMMAND, Key::D);
        save(&window, "disk");
        drop(window);
        let mut window = start(one_failed().0);
        window.key(Modifiers::NONE, Key::ArrowDown);
        window.key(Modifiers::NONE, Key::Enter);
        save(&window, "host");
        let hosts = (1..=3).map(|n| std::sync::Arc::new(sample::host(n, Stage::Waiting, Boot::Wait))).collect();
        let mut window = start(Snapshot { hosts, ..sample::bench(0) });
        window.key(Modifiers::COMMAND, Key::A);
        window.key(Modifiers::NONE, Key::A);
        save(&window, "assign");
    }
}
