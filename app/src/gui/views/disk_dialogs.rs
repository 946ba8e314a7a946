//! The questions about a disk. What destroys says exactly what is lost, and its button is named by the act.

use bootyard_core::api::{Command, DiskAct, DiskView, ExportFormat, OverlayView, Snapshot};
use bootyard_core::lab::Writes;
use eframe::egui::{Key, Response, RichText, ScrollArea, Ui};

use super::View;
use super::dialogs::{buttons_ui, title_ui};
use super::disk_menu::{host, kind};
use super::disks_model::{sorted, sum};
use super::forms::{self, end_ui, path_ui};
use crate::gui::action::{Action, PickFor};
use crate::gui::disk_ask::{self, DiskAsk, DiskMenu, OverlayMenu, is_behind};
use crate::gui::lang::{count, t};
use crate::gui::say::{self, bytes};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{danger_button_ui, text_field_ui, weak_ui};

/// Height of a list of overlays; longer ones scroll.
const LIST: f32 = 240.0;

/// Draws the question that is open.
pub(super) fn ask_ui(ui: &mut Ui, view: &mut View<'_>, ask: &mut DiskAsk) {
    let shot = view.shot;
    let Some(disk) = shot.disks.iter().find(|d| d.name == ask.disk()) else {
        return gone_ui(ui, view, &t!("The disk {disk} is no longer here", disk = ask.disk()));
    };
    let overlay = ask.overlay().map(|id| disk.overlays.iter().find(|o| o.id == id));
    let Some(overlay) = overlay.map_or(Some(None), |found| found.map(Some)) else {
        return gone_ui(ui, view, t!("This overlay is no longer here"));
    };
    match ask {
        DiskAsk::Snapshot { name, .. } => snapshot_ui(ui, view, disk, overlay, name),
        DiskAsk::Clone { name, .. } => clone_ui(ui, view, disk, name),
        DiskAsk::Resize { size, .. } => resize_ui(ui, view, disk, size),
        DiskAsk::Export { path, format, .. } => export_ui(ui, view, disk, overlay, path, format),
        DiskAsk::Reset { chosen, .. } => reset_ui(ui, view, disk, chosen),
        DiskAsk::Commit { .. } => {
            if let Some(overlay) = overlay {
                commit_ui(ui, view, disk, overlay);
            }
        }
        DiskAsk::Delete { anyway, .. } => delete_ui(ui, view, disk, anyway),
    }
}

fn gone_ui(ui: &mut Ui, view: &mut View<'_>, text: &str) {
    title_ui(ui, text);
    ui.label(t!("It went while this was open. Nothing was done."));
    buttons_ui(ui, view, |_, _| {});
}

/// `lab`, or `lab as pc-03 sees it`.
fn source(disk: &DiskView, overlay: Option<&OverlayView>) -> String {
    overlay.map_or_else(|| disk.name.clone(), |o| t!("{disk} as {host} sees it", disk = disk.name, host = host(o)))
}

fn id(overlay: Option<&OverlayView>) -> Option<String> {
    overlay.map(|o| o.id.clone())
}

/// The field of a new disk's name: it has the focus from the start, and says what is wrong with the name while it is typed.
/// Whether Enter was pressed in it.
fn name_ui(ui: &mut Ui, name: &mut String) -> bool {
    ui.add_space(4.0);
    first_field_ui(ui, |ui| text_field_ui(ui, t!("Name: a-z, 0-9 and -"), name, "lab-before-update", 300.0))
}

fn first_field_ui(ui: &mut Ui, field: impl FnOnce(&mut Ui) -> Response) -> bool {
    let field = field(ui);
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    enter
}

fn new_name(name: &str, shot: &Snapshot) -> Result<String, String> {
    forms::name(name, shot.disks.iter().any(|d| d.name == name.trim()))
}

fn on_disk(disk: &DiskView, act: DiskAct) -> Command {
    Command::Disk { disk: disk.name.clone(), act }
}

fn snapshot_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, overlay: Option<&OverlayView>, name: &mut String) {
    let source = source(disk, overlay);
    title_ui(ui, &t!("Snapshot of {source}", source = source));
    ui.label(t!("A new disk that reads as it does now, whatever becomes of this one."));
    if overlay.is_none() && !disk.overlays.is_empty() {
        weak_ui(ui, t!("Of the image alone; what machines wrote over it is not in it."));
    }
    let enter = name_ui(ui, name);
    let made =
        why_not(disk, overlay, DiskMenu::Snapshot, OverlayMenu::Snapshot).and_then(|()| new_name(name, view.shot));
    let made = made.map(|name| {
        let said = t!("Taking snapshot {name} of {source}", name = name, source = source);
        (on_disk(disk, DiskAct::Snapshot { name, host: id(overlay) }), said)
    });
    end_ui(ui, view, t!("Take snapshot"), enter, made);
}

fn clone_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, name: &mut String) {
    title_ui(ui, &t!("Clone of {name}", name = disk.name));
    ui.label(t!("A copy of the image, independent of this one: up to {size} on disk.", size = bytes(disk.allocated)));
    let enter = name_ui(ui, name);
    let made = why_not(disk, None, DiskMenu::Clone, OverlayMenu::Snapshot).and_then(|()| new_name(name, view.shot));
    let made = made.map(|name| {
        let said = t!("Cloning {disk} to {name}", disk = disk.name, name = name);
        (on_disk(disk, DiskAct::Clone { name }), said)
    });
    end_ui(ui, view, t!("Clone"), enter, made);
}

fn why_not(disk: &DiskView, overlay: Option<&OverlayView>, act: DiskMenu, of: OverlayMenu) -> Result<(), String> {
    let why = overlay.map_or_else(|| act.why_not(disk), |overlay| of.why_not(disk, overlay));
    why.map_or(Ok(()), Err)
}

fn resize_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, size: &mut String) {
    title_ui(ui, &t!("Resize {name}", name = disk.name));
    ui.label(t!("It is {size} now. A disk only grows: it can't be made smaller again.", size = bytes(disk.size)));
    if disk.sessions > 0 {
        weak_ui(ui, t!("Machines that run from it are told of the new size."));
    }
    ui.add_space(4.0);
    let enter = first_field_ui(ui, |ui| text_field_ui(ui, t!("New size"), size, "100G", 160.0));
    let made = why_not(disk, None, DiskMenu::Resize, OverlayMenu::Snapshot).and_then(|()| larger(size, disk.size));
    let made = made.map(|size| {
        let said = t!("{name} grows to {size}", name = disk.name, size = bytes(size));
        (on_disk(disk, DiskAct::Resize { size }), said)
    });
    let act = made.as_ref().map_or_else(
        |_| t!("Resize").into(),
        |(command, _)| match command {
            Command::Disk { act: DiskAct::Resize { size }, .. } => t!("Resize to {size}", size = bytes(*size)),
            _ => t!("Resize").into(),
        },
    );
    end_ui(ui, view, &act, enter, made);
}

fn larger(text: &str, now: u64) -> Result<u64, String> {
    let size = disk_ask::parse_size(text)?;
    if size > now {
        Ok(size)
    } else {
        Err(t!("{size} is no more than the {now} that it is now", size = bytes(size), now = bytes(now)))
    }
}

fn export_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    disk: &DiskView,
    overlay: Option<&OverlayView>,
    path: &mut String,
    format: &mut Option<ExportFormat>,
) {
    let source = source(disk, overlay);
    title_ui(ui, &t!("Export {source}", source = source));
    ui.label(t!(
        "Written to a file as a disk of {size}. A file that is there already is not overwritten.",
        size = bytes(disk.size)
    ));
    ui.add_space(4.0);
    let hint = format!("/path/to/{}.qcow2", disk.name);
    let enter = first_field_ui(ui, |ui| path_ui(ui, view, t!("New file"), path, &hint, PickFor::Export));
    ui.add_space(4.0);
    ui.label(RichText::new(t!("Format")).color(theme::palette(ui).weak));
    let now = format.unwrap_or_else(|| disk_ask::format_of(path));
    for (choice, name, meaning) in [
        (ExportFormat::Raw, "Raw", t!("The bytes as they are; blocks of zeros take no space")),
        (ExportFormat::Qcow2, "QCOW2", t!("QEMU's format; only what was written takes space")),
    ] {
        ui.horizontal(|ui| {
            if ui.radio(now == choice, name).clicked() {
                *format = Some(choice);
            }
            weak_ui(ui, meaning);
        });
    }
    let made = why_not(disk, overlay, DiskMenu::Export, OverlayMenu::Export);
    let made = made.and_then(|()| forms::file(path, t!("Say which file to write"))).map(|to| {
        let said = t!("Exporting {source} to {to}", source = source, to = say::clean(&to.display().to_string()));
        (on_disk(disk, DiskAct::Export { to, format: now, host: id(overlay) }), said)
    });
    end_ui(ui, view, t!("Export"), enter, made);
}

/// The row at the end of what destroys.
fn danger_ui(ui: &mut Ui, view: &mut View<'_>, enabled: bool, act: &str, command: impl FnOnce() -> (Command, String)) {
    buttons_ui(ui, view, |ui, view| {
        let pressed = ui.add_enabled_ui(enabled, |ui| danger_button_ui(ui, act).clicked()).inner;
        if pressed && enabled {
            let (command, said) = command();
            view.send(command, said);
            view.push(Action::CloseDialog);
        }
    });
}

fn warn_ui(ui: &mut Ui, text: &str) {
    ui.add_space(4.0);
    ui.label(RichText::new(text).color(theme::palette(ui).tone(Tone::Warn)));
}

fn reset_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, chosen: &mut Vec<String>) {
    title_ui(ui, &t!("Reset overlays of {name}", name = disk.name));
    ui.label(t!("What these machines wrote is dropped. At the next boot they start from the image again."));
    ui.add_space(4.0);
    // One that was opened, or that went, meanwhile is not meant any more.
    chosen.retain(|id| disk.overlays.iter().any(|o| o.id == *id && !o.open));
    let list = sorted(&disk.overlays);
    if list.len() > 1 {
        ui.horizontal(|ui| {
            let mut choose = |ui: &mut Ui, text: &str, which: &dyn Fn(&OverlayView) -> bool| {
                if ui.button(text).clicked() {
                    *chosen = list.iter().filter(|o| !o.open && which(o)).map(|o| o.id.clone()).collect();
                }
            };
            choose(ui, t!("All"), &|_| true);
            choose(ui, t!("None"), &|_| false);
            if list.iter().any(|o| is_behind(disk, o)) {
                choose(ui, t!("On older generations"), &|o| is_behind(disk, o));
            }
        });
    }
    ScrollArea::vertical().id_salt("overlays-to-reset").max_height(LIST).auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        for overlay in &list {
            choice_ui(ui, overlay, chosen);
        }
    });
    let lost: Vec<&&OverlayView> = list.iter().filter(|o| chosen.contains(&o.id)).collect();
    let lost_bytes = bytes(sum(lost.iter().map(|o| **o)));
    match lost.len() {
        0 => warn_ui(ui, t!("Choose the overlays to reset")),
        _ => {
            let names: Vec<String> = lost.iter().map(|o| host(o)).collect();
            let names = say::names(&names, 6);
            warn_ui(ui, &t!("{size} written by {names} can't be brought back.", size = lost_bytes, names = names));
        }
    }
    let act = count!(lost.len(), "Reset {n} overlay", "Reset {n} overlays");
    danger_ui(ui, view, !lost.is_empty(), &act, || {
        let hosts = lost.iter().map(|o| o.id.clone()).collect();
        let said =
            count!(lost.len(), "Resetting {n} overlay of {disk}", "Resetting {n} overlays of {disk}", disk = disk.name);
        (on_disk(disk, DiskAct::Reset { hosts }), said)
    });
}

fn choice_ui(ui: &mut Ui, overlay: &OverlayView, chosen: &mut Vec<String>) {
    let mut on = chosen.contains(&overlay.id);
    let text = format!("{}, {}, {}", host(overlay), kind(overlay), bytes(overlay.bytes));
    if overlay.open {
        let text = t!("{overlay}: in use, shut it down first", overlay = text);
        ui.add_enabled_ui(false, |ui| ui.checkbox(&mut on, text));
    } else if ui.checkbox(&mut on, text).changed() {
        if on {
            chosen.push(overlay.id.clone());
        } else {
            chosen.retain(|id| *id != overlay.id);
        }
    }
}

fn commit_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, overlay: &OverlayView) {
    let (who, name) = (host(overlay), &disk.name);
    let (now, next) = (disk.generation, disk.generation.saturating_add(1));
    title_ui(ui, &t!("Commit {who}'s changes to {name}", who = who, name = name));
    ui.label(t!(
        "{host}'s {size} of changes become generation {next} of {disk}.",
        host = who,
        size = bytes(overlay.bytes),
        next = next,
        disk = name
    ));
    let kept: Vec<String> = sorted(&disk.overlays)
        .iter()
        .filter(|o| o.id != overlay.id && o.writes == Writes::Keep)
        .map(|o| host(o))
        .collect();
    let keeps: std::collections::HashSet<&String> = kept.iter().collect();
    let others = disk.assigned.iter().filter(|h| **h != overlay.host && !keeps.contains(h)).count();
    if others > 0 {
        ui.label(count!(
            others,
            "{n} machine gets it at its next boot; machines that run keep what they have.",
            "{n} machines get it at their next boot; machines that run keep what they have."
        ));
    }
    if !kept.is_empty() {
        ui.label(count!(
            kept.len(),
            "{n} machine stays where its own kept overlay stands until that is reset: {names}.",
            "{n} machines stay where its own kept overlay stands until that is reset: {names}.",
            names = say::names(&kept, 6)
        ));
    }
    if !disk.overlays.iter().any(|o| o.id != overlay.id && o.generation == now) {
        warn_ui(
            ui,
            &t!(
                "No other overlay stands on generation {now}, so it goes. To be able to go back, take a snapshot first.",
                now = now
            ),
        );
    }
    let why = OverlayMenu::Commit.why_not(disk, overlay);
    if let Some(why) = &why {
        warn_ui(ui, why);
    }
    danger_ui(ui, view, why.is_none(), &t!("Commit {who}'s changes", who = who), || {
        let act = DiskAct::Commit { host: overlay.id.clone() };
        (on_disk(disk, act), t!("Committing {who}'s changes to {name}", who = who, name = name))
    });
}

/// All of them by name, scrolled when there are many: what is lost is not summed up.
fn all_ui(ui: &mut Ui, id: &str, names: &[String]) {
    ScrollArea::vertical().id_salt(id).max_height(LIST / 2.0).auto_shrink([false, true]).show(ui, |ui| {
        ui.label(RichText::new(say::names(names, usize::MAX)).color(theme::palette(ui).strong));
    });
}

fn delete_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, anyway: &mut bool) {
    let name = &disk.name;
    title_ui(ui, &t!("Delete {name}?", name = name));
    let image = say::clean(&disk.image.display().to_string());
    if disk.size > 0 {
        ui.label(t!(
            "The image {image} with {size} goes. This can't be taken back.",
            image = image,
            size = bytes(disk.allocated)
        ));
    } else {
        ui.label(t!("Its image {image} is missing already; its entry in lab.toml goes.", image = image));
    }
    let shot = view.shot;
    let snapshots: Vec<String> = shot
        .disks
        .iter()
        .filter(|d| d.parent.as_ref().is_some_and(|(p, _)| p == name))
        .map(|d| d.name.clone())
        .collect();
    if !snapshots.is_empty() {
        weak_ui(ui, t!("What was taken from it stays: {snapshots}.", snapshots = say::names(&snapshots, 6)));
    }
    let list = sorted(&disk.overlays);
    let holding: Vec<&&OverlayView> = list.iter().filter(|o| o.bytes > 0).collect();
    let mut hangs: Vec<String> = Vec::new();
    if !holding.is_empty() {
        let each: Vec<String> =
            holding.iter().map(|o| format!("{} {}", host(o), bytes(o.bytes).replace(' ', "\u{a0}"))).collect();
        let size = bytes(sum(list.iter().copied()));
        warn_ui(
            ui,
            &count!(
                holding.len(),
                "Lost with it: {n} overlay, {size}:",
                "Lost with it: {n} overlays, {size}:",
                size = size
            ),
        );
        all_ui(ui, "overlays-lost", &each);
        hangs.push(count!(holding.len(), "{n} overlay", "{n} overlays"));
    }
    if !disk.assigned.is_empty() {
        let n = disk.assigned.len();
        warn_ui(
            ui,
            &count!(
                n,
                "{n} machine is assigned to it and will have no disk:",
                "{n} machines are assigned to it and will have no disk:"
            ),
        );
        all_ui(ui, "machines-without", &disk.assigned);
        hangs.push(count!(n, "{n} machine", "{n} machines"));
    }
    if !hangs.is_empty() {
        ui.add_space(6.0);
        let hangs = hangs.join(t!(" and "));
        ui.checkbox(anyway, t!("Delete it all the same, with {what} on it", what = hangs));
    }
    let why = DiskMenu::Delete.why_not(disk);
    if let Some(why) = &why {
        warn_ui(ui, why);
    }
    let enabled = why.is_none() && (hangs.is_empty() || *anyway);
    danger_ui(ui, view, enabled, &t!("Delete {name}", name = name), || {
        let act = DiskAct::Delete { anyway: !hangs.is_empty() };
        (on_disk(disk, act), t!("Deleting {name}", name = name))
    });
}
