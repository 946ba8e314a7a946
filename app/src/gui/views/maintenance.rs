//! A machine that keeps what it changes on a disk that is otherwise new at each boot, until that is committed to the image.

use bootyard_core::api::{DiskView, HostView, OverlayView, Snapshot};
use bootyard_core::lab::{Boot, IscsiBoot, Writes};
use eframe::egui::{Button, Ui};

use super::View;
use super::disk_menu::item_ui;
use crate::gui::action::{Action, Dialog};
use crate::gui::disk_ask::{DiskAsk, OverlayMenu};
use crate::gui::lang::t;
use crate::gui::say::bytes;
use crate::gui::targets;
use crate::gui::theme::Tone;
use crate::gui::widgets::assign;
use crate::gui::widgets::finding;

/// What maintenance does.
fn meaning() -> &'static str {
    t!("Its changes outlive the boot, and can be committed to the image for all the others")
}
/// The way back.
fn end() -> &'static str {
    t!("End maintenance")
}

/// The machine's kept overlays, each with its disk.
fn kept<'a>(shot: &'a Snapshot, host: &HostView) -> Vec<(&'a DiskView, &'a OverlayView)> {
    let of = |o: &&OverlayView| o.writes == Writes::Keep && o.of == Some(host.id);
    shot.disks.iter().filter_map(|d| Some((d, d.overlays.iter().find(of)?))).collect()
}

/// The disk on which it is in maintenance.
fn in_maintenance(host: &HostView) -> Option<&IscsiBoot> {
    match &host.boot {
        Boot::Iscsi(iscsi) if iscsi.writes == Some(Writes::Keep) => Some(iscsi),
        _ => None,
    }
}

fn ended(iscsi: &IscsiBoot) -> Boot {
    Boot::Iscsi(IscsiBoot { writes: None, ..iscsi.clone() })
}

fn ask_commit(view: &mut View<'_>, disk: &DiskView, overlay: &OverlayView) {
    let ask = DiskAsk::Commit { disk: disk.name.clone(), overlay: overlay.id.clone() };
    view.push(Action::Ask(Dialog::Disk(ask)));
}

/// The items of a machine's menu.
pub(super) fn items_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    let shot = view.shot;
    if let Some(to) = targets::maintenance(shot, &host.boot)
        && item_ui(ui, assign::maintenance(), meaning(), None)
    {
        view.assign(vec![host.id], to);
    }
    for (disk, overlay) in kept(shot, host) {
        let text = t!("Commit to {name}…", name = disk.name);
        if item_ui(ui, &text, OverlayMenu::Commit.tooltip(), OverlayMenu::Commit.why_not(disk, overlay)) {
            ask_commit(view, disk, overlay);
        }
    }
    if let Some(iscsi) = in_maintenance(host)
        && item_ui(ui, end(), t!("It gets the disk as all the others do"), None)
    {
        view.assign(vec![host.id], ended(iscsi));
    }
}

/// On the machine's own screen: what it keeps, and the ways on.
pub(super) fn callout_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    let Some(iscsi) = in_maintenance(host) else { return };
    let shot = view.shot;
    let found = kept(shot, host).into_iter().find(|(d, _)| d.name == iscsi.disk.as_str());
    let text = match found {
        Some((_, overlay)) => {
            t!("Maintenance of {disk}: {size} of changes are kept", disk = iscsi.disk, size = bytes(overlay.bytes))
        }
        None => t!("Maintenance of {disk}: what it changes from its next boot on is kept", disk = iscsi.disk),
    };
    finding::callout_ui(ui, Tone::Ask, &text, |ui| {
        ui.add_space(4.0);
        ui.horizontal(|ui| {
            if let Some((disk, overlay)) = found {
                let button = Button::new(t!("Commit to {name}…", name = disk.name));
                let why = OverlayMenu::Commit.why_not(disk, overlay);
                let response = ui.add_enabled(why.is_none(), button).on_hover_text(OverlayMenu::Commit.tooltip());
                if response.clicked() {
                    ask_commit(view, disk, overlay);
                }
                if let Some(why) = why {
                    response.on_disabled_hover_text(why);
                }
            }
            if ui.button(end()).on_hover_text(t!("It gets the disk as all the others do")).clicked() {
                view.assign(vec![host.id], ended(iscsi));
            }
        });
    });
}
