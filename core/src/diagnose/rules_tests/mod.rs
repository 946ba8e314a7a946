//! The table of rules: each with how it is provoked and what is then said; and the boots on which nothing may be said.

mod events;
mod healthy;
mod provoked;
mod recorded;
mod tale;

use std::collections::BTreeSet;

use self::tale::Tale;
use crate::api::{EventKind, FindingAction, Place};
use crate::lang::{Language, made_in, said, sentence, speak_here};

/// A rule of the field, by its number.
struct Row {
    rule: &'static str,
    /// How it is provoked here; and the parts of `tests/run` that do it with the whole program, and with real firmware.
    how: &'static str,
    whole_program: Option<&'static str>,
    firmware: Option<&'static str>,
    tale: Tale,
    /// What is then said; nothing where the rule is that nothing is.
    says: &'static [&'static str],
    /// What cures it, on top.
    cure: Option<Tale>,
}

/// Findings that are no rule of the field but what our own servers say of a request.
const OWN: [&str; 13] = [
    "tftp-failed",
    "http-refused",
    "no-boot-file",
    "dhcp-nak",
    "script-error",
    "iscsi-error",
    "firmware-missing",
    "service-failed",
    "lab-broken",
    "foreign-dhcp",
    "restart-needed",
    "lab-not-read",
    "lab-not-written",
];

#[test]
fn every_rule_is_provoked_says_all_and_is_cured() {
    let rows = provoked::rows();
    let mut rules = BTreeSet::new();
    println!("{:<5} {:<24} {:<14} {:<22} how", "rule", "finding", "whole program", "real firmware");
    for row in &rows {
        let parts = [row.whole_program, row.firmware].map(|part| part.unwrap_or("-"));
        println!("{:<5} {:<24} {:<14} {:<22} {}", row.rule, row.says.join(" "), parts[0], parts[1], row.how);
        rules.insert(row.rule);
        let said = row.tale.findings();
        let ids: Vec<&str> = said.iter().map(|f| f.id.as_str()).collect();
        let expected: BTreeSet<&str> = row.says.iter().copied().collect();
        assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), expected, "{}: {}", row.rule, row.how);
        for finding in &said {
            let texts = [&finding.seen, &finding.means, &finding.remedy];
            for text in texts {
                assert!(!text.is_empty() && !text.contains(['{', '}']), "{}: {text:?}", finding.id);
            }
            println!("      {} {} {}", finding.seen, finding.means, finding.remedy);
            assert!(!finding.events.is_empty(), "{} names no event", finding.id);
            assert!(finding.events.iter().all(|seq| row.tale.has(*seq)), "{} names {:?}", finding.id, finding.events);
            assert!(finding.since.is_some(), "{}", finding.id);
        }
        if let Some(cure) = &row.cure {
            let left = row.tale.clone().and(cure).findings();
            let left: Vec<_> = left.iter().filter(|f| expected.contains(f.id.as_str())).map(|f| &f.id).collect();
            assert!(left.is_empty(), "{}: {left:?} is not cured", row.rule);
        }
    }
    for number in 1..=32 {
        assert!(rules.contains(format!("D{number}").as_str()), "D{number} has no provocation");
    }
    for row in rows.iter().filter(|row| !row.says.is_empty()) {
        assert!(row.cure.is_some(), "{}: {} has no cure", row.rule, row.how);
    }
}

/// A finding is made in English, and a German window says all of it in German.
#[test]
fn every_finding_is_said_in_german() {
    let mut lost = Vec::new();
    for row in provoked::rows() {
        let english = row.tale.findings();
        let german = made_in(Language::German, || row.tale.findings());
        speak_here(Language::German);
        for (english, german) in english.iter().zip(&german) {
            let texts = |f: &crate::api::Finding| [f.seen.clone(), f.means.clone(), f.remedy.clone()];
            for (english, german) in texts(english).into_iter().zip(texts(german)) {
                // Meanings of iPXE's codes stand in a table of their own, in English.
                if said(&english) != said(&german) {
                    lost.push((row.rule, said(&english).into_owned(), german));
                }
            }
        }
        speak_here(Language::English);
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// The tests of these parts, by the files in which they wait for findings.
const FIRMWARE: [&str; 3] = [
    include_str!("../../../../tests/tests/firmware_findings/stops.rs"),
    include_str!("../../../../tests/tests/firmware_findings/beside.rs"),
    include_str!("../../../../tests/tests/firmware_findings/disk.rs"),
];

#[test]
fn what_is_said_to_be_proven_with_firmware_is_waited_for_there() {
    let rows = provoked::rows();
    let proven: Vec<&Row> =
        rows.iter().filter(|row| row.firmware.is_some_and(|part| part.starts_with("firmware-findings"))).collect();
    for row in &proven {
        for id in row.says {
            let waited = format!("\"{id}\"");
            assert!(FIRMWARE.iter().any(|test| test.contains(&waited)), "{}: nobody waits for {id}", row.rule);
        }
    }
    let tests = FIRMWARE.concat();
    let told = tests.split(".told(").skip(1).filter_map(|call| call.split('"').nth(1)).filter(|rule| *rule != "-");
    for rule in told {
        assert!(proven.iter().any(|row| row.rule == rule), "no row says that {rule} is proven with firmware");
    }
}

/// A finding in `assets/lang` that no row provokes would be said by nobody, or untested.
#[test]
fn every_finding_belongs_to_a_rule() {
    let said: BTreeSet<&str> = provoked::rows().iter().flat_map(|row| row.says.iter().copied()).collect();
    for id in crate::lang::finding_ids() {
        assert!(said.contains(id.as_str()) || OWN.contains(&id.as_str()), "no row says {id}");
    }
}

/// The rules fire within a second of being knowable: the deadline is asked for, and what it tells is there then and not before.
#[test]
fn silence_speaks_at_its_deadline() {
    for row in provoked::rows() {
        let (last, end) = row.tale.ends();
        if last == end || row.says.is_empty() {
            continue;
        }
        let expected: BTreeSet<String> = row.says.iter().map(|s| (*s).to_owned()).collect();
        let at = |ms| row.tale.clone().until(ms).findings().into_iter().map(|f| f.id).collect::<BTreeSet<_>>();
        assert_ne!(at(last), expected, "{}: said before the silence", row.rule);
        let due = row.tale.deadline().unwrap_or_else(|| panic!("{} has no deadline", row.rule));
        assert_eq!(at(due), expected, "{}: {}", row.rule, row.how);
        assert_ne!(at(due - 1), expected, "{}: {}", row.rule, row.how);
    }
}

/// An image is looked into because a machine stopped: what was said of it is then said anew, with what is known.
#[test]
fn a_look_into_the_image_explains_what_was_said() {
    let row = provoked::rows().into_iter().find(|row| row.how.starts_with("a BIOS reads a kernel's worth")).unwrap();
    let before = row.tale.findings();
    assert!(!before[0].means.contains("Xen"), "{before:?}");
    let found = EventKind::ImageTrouble { disk: "d".into(), troubles: vec!["xen-hides-ibft".into()] };
    let later = Tale::at(row.tale.ends().1 + 5000).then(found).silence(60_000);
    let after = row.tale.clone().and(&later).findings();
    assert_eq!((after.len(), after[0].id.as_str()), (1, "no-system-login"));
    assert!(after[0].means.contains("Xen") && after[0].remedy.contains("extract d "), "{after:?}");
}

/// Windows has no kernel that could be started directly, and no open-iscsi to install.
#[test]
fn nobody_is_told_to_start_windows_directly() {
    let row = provoked::rows().into_iter().find(|row| row.how.starts_with("a BIOS reads a kernel's worth")).unwrap();
    let (said, directly) = (row.tale.findings(), FindingAction::StartDirectly { disk: "d".into() });
    assert_eq!(said[0].action, Some(directly), "of a Linux, or what is not known");
    let found = EventKind::ImageTrouble { disk: "d".into(), troubles: vec!["windows".into()] };
    let said = Tale::new().then(found).and(&row.tale).findings();
    assert_eq!((said.len(), said[0].id.as_str()), (1, "no-system-login"));
    assert_eq!(said[0].action, Some(FindingAction::Show { place: Place::Images }));
    assert!(said[0].means.contains("Windows") && said[0].remedy.contains("inspect d "), "{said:?}");
    assert!(!said[0].remedy.contains("open-iscsi"), "{said:?}");
}

#[test]
fn nothing_is_said_of_a_healthy_boot() {
    for (name, tale) in healthy::all() {
        if let Some((seq, finding)) = tale.every_finding().first() {
            panic!("{name}: at event {seq}: {} {:?}", finding.id, finding.seen);
        }
    }
}

/// What one rule's provocation leaves behind must not trip another in the boots that follow: the machine is mended and boots well.
#[test]
fn a_provoked_machine_that_then_boots_well_has_no_finding() {
    for row in provoked::rows() {
        let well = healthy::after(row.tale.ends().1 + 600_000);
        let left = row.tale.clone().and(&well).findings();
        let left: Vec<_> = left.iter().map(|f| f.id.as_str()).collect();
        assert!(left.is_empty(), "{}: {}: {left:?}", row.rule, row.how);
    }
}

#[test]
fn certainty_has_a_word() {
    for word in ["possible", "likely", "certain"] {
        assert!(!sentence("certainty", word).is_empty());
    }
}
