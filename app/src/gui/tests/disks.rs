//! The life of a disk in the window: each act from its menu to the command that it sends.

use bootyard_core::lab::{IscsiBoot, Writes};

use super::sample::tree;
use super::*;

const PC_03: &str = "Actions on pc-03's kept overlay of lab";

fn images(shot: Snapshot) -> Window {
    let mut window = Window::over(shot);
    window.harness.set_size(eframe::egui::vec2(1280.0, 2400.0));
    window.key(Modifiers::COMMAND, Key::Num2);
    window
}

fn overlays(window: &mut Window) {
    // The total above the disks says the same.
    window.harness.get_all_by_label_contains("30 overlays, 52 GiB").last().unwrap().click();
    window.frames();
}

/// Opens the menu of this name and presses the item.
fn choose(window: &mut Window, menu: &str, item: &str) {
    window.click(menu);
    window.click(item);
}

fn on(disk: &str, act: DiskAct) -> Command {
    Command::Disk { disk: disk.into(), act }
}

fn clear(window: &mut Window) {
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::Delete);
}

fn type_(window: &mut Window, text: &str) {
    window.harness.event(Event::Text(text.into()));
    window.frames();
}

#[test]
fn disks_are_shown_as_the_tree_that_they_are() {
    let mut window = images(tree());
    let y = |label: &str| window.harness.get_by_label(label).rect().min;
    let (lab, before, exam) =
        (y("Actions on disk lab"), y("Actions on disk lab-before-update"), y("Actions on disk lab-exam"));
    assert!(lab.y < before.y && before.y < exam.y);
    for text in [
        "7 disks, 31 GiB on disk; 30 overlays",
        "Taken from lab, generation 2",
        "Generation 2, 1.1 GiB, kept because pc-04's overlay stands on it",
        "1 on an older generation",
        "Its image is being checked",
        "Committing pc-03 to lab",
        "No space left on /mnt/usb.",
        "Writes: Read-only",
    ] {
        assert!(window.sees(text), "{text}");
    }
    assert!(!window.sees("pc-17's fresh overlay"));
    overlays(&mut window);
    assert!(window.sees("pc-17's fresh overlay, 1.9 GiB, at rest"));
    assert!(window.sees("pc-09's fresh overlay, 1017 MiB, in use"));
    assert!(window.sees("Stands on generation 2, the image is at 3: reset it to get the new one"));
}

#[test]
fn no_disk_is_a_state_that_says_what_to_do() {
    let window = images(Snapshot { disks: vec![], ..bench(0) });
    assert!(window.sees("No disk yet. Add one"));
}

#[test]
fn a_snapshot_is_taken_by_keyboard_alone_and_a_bad_name_is_not_sent() {
    let mut window = images(tree());
    window.harness.get_by_label("Actions on disk lab").focus();
    window.frames();
    window.key(Modifiers::NONE, Key::Enter);
    window.harness.get_by_label("Snapshot…").focus();
    window.frames();
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("Snapshot of lab"));
    clear(&mut window);
    assert!(window.sees("Give it a name"));
    type_(&mut window, "lab exam");
    assert!(window.sees("is not a name"));
    window.key(Modifiers::NONE, Key::Enter);
    window.sent_nothing();
    clear(&mut window);
    type_(&mut window, "lab-exam");
    assert!(window.sees("lab-exam is taken"));
    type_(&mut window, "-2");
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(window.done(), on("lab", DiskAct::Snapshot { name: "lab-exam-2".into(), host: None }));
    window.wait_for("Taking snapshot lab-exam-2 of lab");
}

#[test]
fn tab_alone_reaches_a_disks_menu_and_its_first_act() {
    let mut window = images(tree());
    let mut found = false;
    for _ in 0..60 {
        window.key(Modifiers::NONE, Key::Tab);
        found = window.harness.get_by_label("Actions on disk lab").is_focused();
        if found {
            break;
        }
    }
    assert!(found);
    window.key(Modifiers::NONE, Key::Enter);
    for _ in 0..40 {
        window.key(Modifiers::NONE, Key::Tab);
        if window.harness.get_by_label("Clone…").is_focused() {
            window.key(Modifiers::NONE, Key::Enter);
            assert!(window.sees("Clone of lab"));
            return;
        }
    }
    panic!("the menu is not reached by Tab");
}

#[test]
fn a_machines_view_is_snapshot_and_exported() {
    let mut window = images(tree());
    overlays(&mut window);
    choose(&mut window, PC_03, "Snapshot…");
    assert!(window.sees("Snapshot of lab as pc-03 sees it"));
    window.click("Take snapshot");
    let host = Some("host-3.keep".to_owned());
    assert_eq!(window.done(), on("lab", DiskAct::Snapshot { name: "lab-pc-03-2".into(), host: host.clone() }));
    choose(&mut window, PC_03, "Export…");
    window.sent_nothing();
    type_(&mut window, "/mnt/usb/x.qcow2");
    window.harness.get_by_role_and_label(Role::Button, "Export").click();
    window.frames();
    let export = DiskAct::Export { to: "/mnt/usb/x.qcow2".into(), format: ExportFormat::Qcow2, host };
    assert_eq!(window.done(), on("lab", export));
}

#[test]
fn an_export_takes_the_format_of_the_name_until_one_is_chosen() {
    let mut window = images(tree());
    choose(&mut window, "Actions on disk lab", "Export…");
    type_(&mut window, "x.img");
    assert!(window.sees("Give x.img as a path from /"));
    clear(&mut window);
    type_(&mut window, "/x.img");
    window.click("QCOW2");
    window.harness.get_by_role_and_label(Role::Button, "Export").click();
    window.frames();
    let export = DiskAct::Export { to: "/x.img".into(), format: ExportFormat::Qcow2, host: None };
    assert_eq!(window.done(), on("lab", export));
}

#[test]
fn a_clone_and_a_larger_size_and_compact() {
    let mut window = images(tree());
    choose(&mut window, "Actions on disk lab", "Clone…");
    window.harness.get_by_role_and_label(Role::Button, "Clone").click();
    window.frames();
    assert_eq!(window.done(), on("lab", DiskAct::Clone { name: "lab-clone".into() }));
    choose(&mut window, "Actions on disk lab", "Resize…");
    assert!(window.sees("It is 32 GiB now"));
    type_(&mut window, "16G");
    assert!(window.sees("16 GiB is no more than the 32 GiB that it is now"));
    clear(&mut window);
    type_(&mut window, "100G");
    window.click("Resize to 100 GiB");
    assert_eq!(window.done(), on("lab", DiskAct::Resize { size: 100 << 30 }));
    choose(&mut window, "Actions on disk lab", "Compact");
    assert_eq!(window.done(), on("lab", DiskAct::Compact));
}

#[test]
fn a_reset_names_what_is_lost_and_leaves_out_what_runs() {
    let mut window = images(tree());
    choose(&mut window, "Actions on disk lab", "Reset overlays…");
    assert!(window.sees("Reset 28 overlays"));
    assert!(window.sees("pc-09, fresh, 1017 MiB: in use, shut it down first"));
    window.click("On older generations");
    assert!(window.sees("452 MiB written by pc-04 can't be brought back."));
    window.click("pc-03, kept, 1.2 GiB");
    window.click("Reset 2 overlays");
    let hosts = vec!["host-3.keep".into(), "host-4.keep".into()];
    assert_eq!(window.done(), on("lab", DiskAct::Reset { hosts }));
}

#[test]
fn a_commit_says_what_becomes_of_whom() {
    let mut window = images(tree());
    overlays(&mut window);
    choose(&mut window, PC_03, "Commit to the image…");
    assert!(window.sees("pc-03's 1.2 GiB of changes become generation 4 of lab."));
    assert!(window.sees("28 machines get it at their next boot; machines that run keep what they have."));
    assert!(window.sees("1 machine stays where its own kept overlay stands until that is reset: pc-04."));
    // Enter falls on Cancel.
    window.key(Modifiers::NONE, Key::Enter);
    window.sent_nothing();
    choose(&mut window, PC_03, "Commit to the image…");
    window.click("Commit pc-03's changes");
    assert_eq!(window.done(), on("lab", DiskAct::Commit { host: "host-3.keep".into() }));
}

#[test]
fn deleting_what_others_stand_on_takes_a_second_decision() {
    let mut shot = tree();
    for overlay in &mut shot.disks[0].overlays {
        overlay.open = false;
    }
    shot.disks[0].sessions = 0;
    let mut window = images(shot);
    choose(&mut window, "Actions on disk lab", "Delete…");
    assert!(window.sees("Lost with it: 30 overlays"));
    assert!(window.sees("30 machines are assigned to it and will have no disk:"));
    assert!(window.sees("What was taken from it stays: lab-before-update, lab-pc-03."));
    window.click("Delete lab");
    window.sent_nothing();
    window.click("Delete it all the same, with 30 overlays and 30 machines on it");
    window.click("Delete lab");
    assert_eq!(window.done(), on("lab", DiskAct::Delete { anyway: true }));
    choose(&mut window, "Actions on disk lab-exam", "Delete…");
    window.click("Delete lab-exam");
    assert_eq!(window.done(), on("lab-exam", DiskAct::Delete { anyway: false }));
}

#[test]
fn escape_sends_nothing_out_of_every_question() {
    let mut window = images(tree());
    overlays(&mut window);
    let menus = [
        ("Actions on disk lab", &["Snapshot…", "Clone…", "Resize…", "Export…", "Reset overlays…"][..]),
        ("Actions on disk lab-exam", &["Delete…"][..]),
        (PC_03, &["Commit to the image…", "Snapshot…", "Export…", "Reset…"][..]),
    ];
    for (menu, items) in menus {
        for item in items {
            choose(&mut window, menu, item);
            assert!(window.sees("Cancel"), "{item}");
            let open = window.harness.query_all_by_label("Cancel").count();
            assert_eq!(open, 1, "{item}");
            window.key(Modifiers::NONE, Key::Escape);
            if window.harness.query_all_by_label("Cancel").count() > 0 {
                // The first one only leaves the text field.
                window.key(Modifiers::NONE, Key::Escape);
            }
            assert_eq!(window.harness.query_all_by_label("Cancel").count(), 0, "{item}");
            window.sent_nothing();
        }
    }
}

#[test]
fn what_cannot_be_done_now_says_why() {
    let mut window = images(tree());
    window.click("Actions on disk lab");
    assert!(window.sees("Delete… (In use by pc-09, pc-10: shut them down first)"));
    window.key(Modifiers::NONE, Key::Escape);
    window.click("Actions on disk rescue");
    assert!(window.sees("Resize… (It is read-only)"));
    assert!(window.sees("Reset overlays… (No machine has an overlay on it)"));
    window.key(Modifiers::NONE, Key::Escape);
    overlays(&mut window);
    window.click("Actions on pc-09's fresh overlay of lab");
    assert!(window.sees("Commit to the image… (In use by pc-09: shut it down first)"));
    window.key(Modifiers::NONE, Key::Escape);
    window.click("Actions on pc-04's kept overlay of lab");
    assert!(window.sees("It stands on generation 2, and the image is at 3"));
}

#[test]
fn a_right_click_on_an_overlay_offers_the_same() {
    let mut window = images(tree());
    overlays(&mut window);
    window.harness.get_by_label("pc-03's kept overlay, 1.2 GiB, at rest").click_secondary();
    window.frames();
    window.click("Reset…");
    window.click("Reset 1 overlay");
    assert_eq!(window.done(), on("lab", DiskAct::Reset { hosts: vec!["host-3.keep".into()] }));
}

#[test]
fn a_disk_that_goes_while_it_is_asked_about_is_said() {
    let mut window = images(tree());
    choose(&mut window, "Actions on disk lab-exam", "Delete…");
    let mut shot = tree();
    shot.disks.retain(|d| d.name != "lab-exam");
    window.end.publish(shot);
    window.frames();
    assert!(window.sees("The disk lab-exam is no longer here"));
    window.click("Cancel");
    window.sent_nothing();
}

#[test]
fn one_machine_goes_into_maintenance_and_its_changes_are_committed() {
    let mut window = Window::over(tree());
    assert!(window.sees("pc-03 gets lab (maintenance)"));
    window.click("pc-01 gets Disk lab");
    window.click("Disk lab, in another way");
    window.click("Maintenance: keep what it changes");
    let Boot::Iscsi(lab) = iscsi("lab") else { panic!("not a disk") };
    let keep = Boot::Iscsi(IscsiBoot { writes: Some(Writes::Keep), ..lab });
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: keep });
    window.wait_for("pc-01: lab (maintenance)");
    window.click("pc-03");
    assert!(window.sees("Maintenance of lab: 1.2 GiB of changes are kept."));
    window.click("Commit to lab…");
    window.click("Commit pc-03's changes");
    assert_eq!(window.done(), on("lab", DiskAct::Commit { host: "host-3.keep".into() }));
    window.click("End maintenance");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(3)], to: iscsi("lab") });
}

#[test]
fn a_machines_own_menu_offers_maintenance_and_commit() {
    let mut window = Window::over(tree());
    window.harness.get_by_label("52:54:00:00:00:03").click_secondary();
    window.frames();
    window.click("Commit to lab…");
    assert!(window.sees("Commit pc-03's changes to lab"));
    window.key(Modifiers::NONE, Key::Escape);
    window.sent_nothing();
}

#[test]
fn hundreds_of_disks_and_overlays_draw() {
    let mut shot = tree();
    let base = shot.disks[0].clone();
    shot.disks[0].overlays = (0..500)
        .map(|n| OverlayView { id: format!("h-{n}.fresh"), host: format!("pc-{n}"), ..base.overlays[n % 30].clone() })
        .collect();
    for n in 0..300 {
        let parent = Some((if n == 0 { "lab".into() } else { format!("s-{}", n / 2) }, 1));
        shot.disks.push(DiskView { name: format!("s-{}", n + 1), parent, overlays: vec![], ..base.clone() });
    }
    let mut window = images(shot);
    window.harness.get_all_by_label_contains("500 overlays").last().unwrap().click();
    window.frames();
}

/// Writes pictures of what changed into the folder that BOOTYARD_PICTURES names.
#[test]
#[ignore = "for people to look at: BOOTYARD_PICTURES=DIR cargo test -p bootyard --lib disks::pictures -- --ignored"]
fn pictures() {
    let folder = std::env::var("BOOTYARD_PICTURES").expect("BOOTYARD_PICTURES names a folder");
    let textures = picture::Textures::default();
    let mut window = Window::with(tree(), Theme::Light, [1280.0, 1900.0], 1.0, textures.clone());
    let save = |window: &Window, what: &str| {
        textures.save(&window.harness.ctx, window.harness.output(), &std::path::Path::new(&folder).join(what));
    };
    window.key(Modifiers::COMMAND, Key::Num2);
    save(&window, "all-images.png");
    window.key(Modifiers::COMMAND, Key::Num1);
    window.harness.get_by_label("52:54:00:00:00:03").click_secondary();
    window.frames();
    save(&window, "all-context.png");
    drop(window);
    for (name, theme, size, scale) in [
        ("dark", Theme::Dark, [1280.0, 800.0], 1.0),
        ("light", Theme::Light, [1280.0, 800.0], 1.0),
        ("narrow", Theme::Light, [900.0, 700.0], 1.0),
        ("large", Theme::Dark, [1280.0, 800.0], 1.5),
    ] {
        let textures = picture::Textures::default();
        let mut window = Window::with(tree(), theme, size, scale, textures.clone());
        let save = |window: &Window, what: &str| {
            let path = std::path::Path::new(&folder).join(format!("{name}-{what}.png"));
            textures.save(&window.harness.ctx, window.harness.output(), &path);
        };
        save(&window, "hosts");
        window.click("pc-01 gets Disk lab");
        window.click("Disk lab, in another way");
        save(&window, "assign");
        window.key(Modifiers::NONE, Key::Escape);
        window.key(Modifiers::NONE, Key::Escape);
        window.click("pc-03");
        save(&window, "host");
        window.key(Modifiers::COMMAND, Key::Num2);
        save(&window, "images");
        window.click("Actions on disk lab");
        save(&window, "menu");
        for (item, what) in
            [("Snapshot…", "snapshot"), ("Resize…", "resize"), ("Export…", "export"), ("Reset overlays…", "reset")]
        {
            window.key(Modifiers::NONE, Key::Escape);
            choose(&mut window, "Actions on disk lab", item);
            save(&window, what);
            window.click("Cancel");
            window.frames();
            window.click("Actions on disk lab");
        }
        window.key(Modifiers::NONE, Key::Escape);
        overlays(&mut window);
        save(&window, "overlays");
        choose(&mut window, PC_03, "Commit to the image…");
        save(&window, "commit");
        window.click("Cancel");
        let mut shot = tree();
        shot.disks[0].sessions = 0;
        window.end.publish(shot);
        window.frames();
        choose(&mut window, "Actions on disk lab", "Delete…");
        save(&window, "delete");
    }
}
