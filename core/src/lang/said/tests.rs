use std::collections::BTreeSet;

use super::*;
use crate::lang::tests::{numbers, typed};
use crate::lang::{Language, finding, made_in, speak_here, text_with};

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

fn german(text: &str) -> String {
    let _german = German::spoken();
    said(text).into_owned()
}

#[test]
fn errors_are_said_in_german_with_what_they_are_about() {
    let name = "Pool 3".parse::<crate::lab::Name>().unwrap_err().to_string();
    for (english, expected) in [
        (
            name.as_str(),
            "`Pool 3` ist kein Name; 1 bis 63 Zeichen aus a-z, 0-9 und - verwenden, ohne Bindestrich am Anfang oder Ende",
        ),
        (
            "there is a disk `room-1` already; choose another name",
            "es gibt schon eine Disk `room-1`; einen anderen Namen wählen",
        ),
        // What was the cause is said, too, and a path keeps its blanks, colons and words.
        (
            "cannot read /srv/my disks/a: b.raw: No such file or directory (os error 2)",
            "Lesen gescheitert: /srv/my disks/a: b.raw: Datei oder Verzeichnis nicht gefunden (Systemfehler 2)",
        ),
        (
            "cannot open the folder /srv/read the disk for: Permission denied (os error 13)",
            "Öffnen des Ordners gescheitert: /srv/read the disk for: keine Berechtigung (Systemfehler 13)",
        ),
        (
            "cannot listen on UDP port 67 of 0.0.0.0: Network is down (os error 100)",
            "Lauschen am UDP-Port 67 von 0.0.0.0 gescheitert: das Netz ist nicht in Betrieb (Systemfehler 100)",
        ),
        (
            "no permission to open a packet socket on br0; run `sudo usermod -aG bootyard $USER` and log in again",
            "keine Berechtigung: Öffnen eines Paket-Sockets an br0; `sudo usermod -aG bootyard $USER` ausführen und neu anmelden",
        ),
        (
            "UDP port 67 on 0.0.0.0 is taken by dnsmasq (pid 812), dnsmasq.service, of the package dnsmasq-base; stop it, \
             then start again",
            "der UDP-Port 67 an 0.0.0.0 ist belegt durch dnsmasq (PID 812), dnsmasq.service, aus dem Paket dnsmasq-base; das \
             anhalten, dann neu starten",
        ),
        (
            "TCP port 80 on 0.0.0.0 is taken by another program; stop it, or choose another port in [ports]",
            "der TCP-Port 80 an 0.0.0.0 ist belegt durch ein anderes Programm; das anhalten oder in [ports] einen anderen Port \
             wählen",
        ),
        (
            "/d/x.vmdk is a VMDK image; it cannot be read: it names ../y, which is no plain file in its own folder",
            "/d/x.vmdk ist ein VMDK-Image; es lässt sich nicht lesen: es nennt ../y, was keine einfache Datei in seinem eigenen \
             Ordner ist",
        ),
        (
            "the disk lab is in use: pc-01, pc-02 would get nothing and wait; what pc-01 wrote would be lost (512 bytes); delete \
             it anyway, or reset and reassign first",
            "die Disk lab ist in Gebrauch: pc-01, pc-02 bekäme nichts und würde warten; was pc-01 geschrieben hat, ginge verloren \
             (512 Bytes); sie trotzdem löschen oder erst zurücksetzen und neu zuweisen",
        ),
        ("cancelled", "abgebrochen"),
        (
            "/srv/no lab is not a lab: it has no lab.toml; `bootyard --lab /srv/no lab` makes one there",
            "/srv/no lab ist kein Lab: es hat keine lab.toml; `bootyard --lab /srv/no lab` legt dort eines an",
        ),
        (
            "cannot write /srv/a b.pcapng; it must not exist: File exists (os error 17)",
            "Schreiben gescheitert: /srv/a b.pcapng; die Datei darf nicht schon da sein: die Datei ist schon da (Systemfehler 17)",
        ),
        // Several, one a line.
        (
            "`a`: `x` is not a time; expected a number with s, m, h or d such as 30m\n`b`: `y` is not a time; expected a number \
             with s, m, h or d such as 30m",
            "`a`: `x` ist keine Zeit; erwartet wird eine Zahl mit s, m, h oder d wie 30m\n`b`: `y` ist keine Zeit; erwartet wird \
             eine Zahl mit s, m, h oder d wie 30m",
        ),
    ] {
        assert_eq!(german(english), expected);
        assert_eq!(said(english), english, "English is said as it is");
    }
}

/// What the reader of lab.toml says, from a file that has much wrong.
#[test]
fn the_problems_of_lab_toml_are_said_in_german() {
    let text = "version = 1\n[network]\ninterface = 'br0'\nrnage = '10.0.0.1-10.0.0.9'\nlease = 30\nmode = 'dchp'\n\
                [[host]]\nmac = '52:54:00:00:00:01'\nboot = { iscsi = 'gone' }\n[[host]]\nmac = '52:54:00:00:00:01'\nname = 'A b'\n\
                [[disk]]\nname = 'a'\nimage = '../a'\n[[disk]]\nname = 'b'\nimage = 'b.raw'\nsize = '8Q'\nfoo = 1\n\
                [[disk]]\nname = 'c'\nimage = 'c.raw'\niqn = 'iqn.2001-04.com.Example:c'\n\
                [[profile]]\nname = 'p'\nkernel = 'k'\ninitrd = 7\n";
    let problems = crate::lab::parse(text).unwrap_err();
    assert!(problems.len() > 8, "{problems:#?}");
    let mut all = String::new();
    for problem in &problems {
        let said = german(&problem.to_string());
        assert_ne!(said, problem.to_string());
        all.push_str(&said);
        all.push('\n');
    }
    for part in [
        "lab.toml:4: unbekannter Schlüssel `rnage` in [network]; ist `range` gemeint?",
        "`mode` kann nicht `dchp` sein; es ist eines von",
        "ist `dhcp` gemeint?",
        "zwei Rechner haben die MAC-Adresse 52:54:00:00:00:01 (Zeile 8); einen entfernen",
        "`../a` steigt mit `..` hinaus; erwartet wird eine Datei unter disks/ oder ein absoluter Pfad",
        "`8Q` ist keine Größe",
        "hat Großbuchstaben; iSCSI-Namen sind klein geschrieben; `iqn.2001-04.com.example:c` schreiben",
        "`A b` ist kein Name",
        "`initrd` muss ein Text oder eine Liste von Texten sein und nicht ein Wert der Art integer",
    ] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
    for english in [" the ", " is ", " must ", " expected ", "did you mean"] {
        assert!(!all.contains(english), "{english:?} is in\n{all}");
    }
    // A reference to what is not there is looked at once the rest is in order.
    let text = "version = 1\n[[host]]\nmac = '52:54:00:00:00:01'\nboot = { iscsi = 'gone' }\n[[disk]]\nname = 'a'\nimage = 'a'\n\
                [[disk]]\nname = 'a'\nimage = 'b'\n";
    let said: Vec<String> = crate::lab::parse(text).unwrap_err().iter().map(|p| german(&p.to_string())).collect();
    assert_eq!(
        said,
        [
            "lab.toml:4: die Disk `gone` gibt es nicht; [[disk]] mit diesem Namen anlegen",
            "lab.toml:8: zwei Disks haben iqn iqn.2026-11.org.bootyard:a (Zeile 5) gemeinsam; jeder Eintrag braucht seinen eigenen Wert",
            "lab.toml:9: zwei Disks haben name a (Zeile 6) gemeinsam; jeder Eintrag braucht seinen eigenen Wert",
        ]
    );
}

#[test]
fn a_text_that_no_table_has_stays_as_it_is() {
    for text in [
        "",
        "br0",
        "read",
        "Pool 3",
        "something that nobody says here",
        // What was tried is unknown, and a sentence in two languages would be none.
        "cannot frobnicate /x: No such thing",
        // A short form fits it, and it is another sentence.
        "machine learning is empty",
        "start again with something else",
        "it has not been seen before",
        // It can be read in two ways that say different things.
        "/a is in use by b is in use by c; end that first",
        "{path} {what} {",
    ] {
        assert_eq!(german(text), text);
    }
    // The part that is known is said, the other stays.
    assert_eq!(german("frobnicate: the file is missing"), "frobnicate: die Datei fehlt");
    assert_eq!(german("not TOML: unquoted string"), "kein TOML: unquoted string");
    let long = "the file is missing; ".repeat(1000);
    assert_eq!(german(&long), long);
}

/// A client chooses what is in a name or a message.
#[test]
fn a_text_made_to_be_read_in_many_ways_costs_little() {
    let begun = std::time::Instant::now();
    for text in [
        "disk a: ".repeat(200),
        "the disk a: cannot read b: ".repeat(100),
        " is in use by ".repeat(200),
        "; partition 1: ".repeat(300),
        "(pid 1), of the package x ".repeat(200),
    ] {
        german(&text);
    }
    // A debug build on a busy computer, tables included.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn a_parameter_that_is_an_error_is_said_in_the_same_language() {
    let error = "cannot write /lab/lab.toml: No space left on device (os error 28)";
    let made = |id, name| finding(id, crate::api::Severity::Error, &[("service", &"TFTP"), (name, &error)]).seen;
    assert_eq!(made("service-failed", "error"), format!("TFTP does not run: {error}."));
    let _german = German::spoken();
    assert_eq!(made("service-failed", "error"), format!("TFTP does not run: {error}."), "scripts read it");
    let german = "Schreiben gescheitert: /lab/lab.toml: kein Platz mehr auf der Platte (Systemfehler 28)";
    assert_eq!(said(&made("service-failed", "error")), format!("TFTP läuft nicht: {german}."));
    assert_eq!(text_with("Stopped serving: {error}", &[("error", &error)]), format!("Betrieb angehalten: {german}"));
    // The name of a machine is a name.
    assert_eq!(text_with("{name}", &[("name", &"read")]), "read");
}

#[test]
fn a_finding_is_said_anew_when_the_language_changes() {
    let params: [crate::lang::Param<'_>; 2] = [("file", &"snponly.efi"), ("seconds", &30)];
    let made = || finding("boot-file-not-asked", crate::api::Severity::Error, &params);
    let english = made();
    let german = {
        let _german = German::spoken();
        let german = made_in(Language::German, made);
        assert_eq!(said(&english.seen), german.seen);
        assert_eq!(said(&english.remedy), german.remedy);
        assert_eq!(said(&german.seen), german.seen);
        german
    };
    assert_ne!(english.seen, german.seen);
    assert_eq!(said(&german.seen), english.seen);
    assert_eq!(said(&german.means), english.means);
    assert_eq!(said(&german.remedy), english.remedy);
    // Several in a row, of which one begins as a short form does.
    assert_eq!(said(&format!("{} {}", german.means, german.remedy)), format!("{} {}", english.means, english.remedy));
}

/// A sentence with something for each of its parameters.
fn plain(text: &str) -> String {
    let mut out = text.to_owned();
    for hole in Template::new(text).holes.iter().flat_map(|hole| hole.split('+')) {
        // A word that no text has; what was tried has one of the table.
        let value = match hole {
            _ if KNOWN.contains(&hole) => "make the folder",
            "id" => "7",
            _ => "qx7",
        };
        out = out.replace(&format!("{{{hole}}}"), value);
    }
    out
}

/// What the engine says is English, and a German window says all of it in German.
#[test]
fn every_sentence_of_the_engine_is_found_again() {
    // Drawn by the window itself, in its own language.
    let drawn = ["certainty.", "finding-action."];
    let _german = German::spoken();
    let mut lost = Vec::new();
    for (id, english) in SENTENCES.iter().filter(|(id, _)| !drawn.iter().any(|table| id.starts_with(table))) {
        let template = Template::new(english);
        // What is a parameter as a whole is a sentence of its own.
        if template.letters() == 0 || SENTENCES_GERMAN[id] == *english {
            continue;
        }
        // One text with two ids has two ways to say it.
        let same = SENTENCES.iter().filter(|(_, other)| plain(other) == plain(english));
        let expected: Vec<String> = same.map(|(id, _)| plain(&SENTENCES_GERMAN[id])).collect();
        let german = said(&plain(english)).into_owned();
        if !expected.contains(&german) {
            lost.push((id, english, german));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Every sentence of the tables with parameters is recognised by itself.
#[test]
fn every_form_is_found_again() {
    let _german = German::spoken();
    let mut lost = Vec::new();
    for (english, german) in errors() {
        let template = Template::new(english);
        // A word has a place in others.
        if !english.contains(' ') {
            continue;
        }
        assert!(template.holes.is_empty() || template.is_telling(), "{english} could be anything");
        let expected = plain(german).replace("make the folder", "Anlegen des Ordners");
        if said(&plain(english)) != expected {
            lost.push((english, said(&plain(english)).into_owned()));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn the_german_of_an_error_has_its_parameters_and_what_is_typed() {
    let holes = |text: &str| -> BTreeSet<String> { Template::new(text).holes.into_iter().collect() };
    assert!(errors().len() > 500, "{}", errors().len());
    for (english, german) in errors() {
        assert_eq!(holes(english), holes(german), "{english}");
        assert_eq!(typed(english), typed(german), "{german}");
        assert_eq!(numbers(english), numbers(german), "{german}");
        assert!(!german.trim().is_empty(), "{english}");
    }
}
