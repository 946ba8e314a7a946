//! The menus of a disk and of an overlay: every act, and under the pointer why one can't be done now.

use bootyard_core::api::{Command, DiskAct, DiskView, OverlayView};
use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{Button, Ui, vec2};

use super::View;
use crate::gui::action::{Action, Dialog};
use crate::gui::disk_ask::{DiskAsk, DiskMenu, OverlayMenu};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme;
use crate::gui::widgets::icon;

/// Width of a menu.
const WIDTH: f32 = 190.0;

/// The button that opens a disk's menu.
pub(super) fn disk_button_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView) {
    let label = t!("Actions on disk {name}", name = disk.name);
    menu_button_ui(ui, t!("Actions"), 92.0, &label, |ui| disk_menu_ui(ui, view, disk));
}

/// The button that opens an overlay's menu.
pub(super) fn overlay_button_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, overlay: &OverlayView) {
    let label = t!(
        "Actions on {host}'s {kind} overlay of {disk}",
        host = host(overlay),
        kind = kind(overlay),
        disk = disk.name
    );
    menu_button_ui(ui, "", 30.0, &label, |ui| overlay_menu_ui(ui, view, disk, overlay));
}

fn menu_button_ui(ui: &mut Ui, text: &str, width: f32, label: &str, list: impl FnOnce(&mut Ui)) {
    let button = Button::new(text).right_text("  ").min_size(vec2(width, 22.0));
    let (response, _) = MenuButton::from_button(button).ui(ui, list);
    let right = if text.is_empty() { width / 2.0 } else { 14.0 };
    icon::paint_caret(ui.painter(), response.rect.right_center() - vec2(right, 0.0), theme::palette(ui).weak);
    response.accessible_name(label).on_hover_text(label);
}

/// A disk's menu; the same at the button and under the pointer.
pub(super) fn disk_menu_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView) {
    ui.set_width(WIDTH);
    for act in DiskMenu::ALL {
        if matches!(act, DiskMenu::Reset) {
            ui.separator();
        }
        if item_ui(ui, act.text(), act.tooltip(), act.why_not(disk)) {
            run(view, disk, act);
        }
    }
}

fn run(view: &mut View<'_>, disk: &DiskView, act: DiskMenu) {
    let name = disk.name.clone();
    let ask = match act {
        DiskMenu::Snapshot => DiskAsk::Snapshot { name: free_name(view, &name, "snapshot"), disk: name, overlay: None },
        DiskMenu::Clone => DiskAsk::Clone { name: free_name(view, &name, "clone"), disk: name },
        DiskMenu::Resize => DiskAsk::Resize { disk: name, size: String::new() },
        DiskMenu::Export => DiskAsk::Export { disk: name, overlay: None, path: String::new(), format: None },
        DiskMenu::Reset => {
            let chosen = disk.overlays.iter().filter(|o| !o.open).map(|o| o.id.clone()).collect();
            DiskAsk::Reset { disk: name, chosen }
        }
        DiskMenu::Delete => DiskAsk::Delete { disk: name, anyway: false },
        // Nothing is lost by it and nothing is to be chosen, so it asks nothing.
        DiskMenu::Compact => {
            let said = t!("Compacting {name}", name = name);
            return view.send(Command::Disk { disk: name, act: DiskAct::Compact }, said);
        }
    };
    view.push(Action::Ask(Dialog::Disk(ask)));
}

/// An overlay's menu.
pub(super) fn overlay_menu_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, overlay: &OverlayView) {
    ui.set_width(WIDTH);
    for act in OverlayMenu::ALL {
        if matches!(act, OverlayMenu::Reset) {
            ui.separator();
        }
        if item_ui(ui, act.text(), act.tooltip(), act.why_not(disk, overlay)) {
            let (name, id) = (disk.name.clone(), overlay.id.clone());
            let ask = match act {
                OverlayMenu::Commit => DiskAsk::Commit { disk: name, overlay: id },
                OverlayMenu::Snapshot => {
                    let proposed = free_name(view, &name, &overlay.host);
                    DiskAsk::Snapshot { disk: name, overlay: Some(id), name: proposed }
                }
                OverlayMenu::Export => {
                    DiskAsk::Export { disk: name, overlay: Some(id), path: String::new(), format: None }
                }
                OverlayMenu::Reset => DiskAsk::Reset { disk: name, chosen: vec![id] },
            };
            view.push(Action::Ask(Dialog::Disk(ask)));
        }
    }
}

/// One item; whether it was pressed. A disabled one says why to the pointer, and to a screen reader in its name.
pub(super) fn item_ui(ui: &mut Ui, text: &str, tooltip: &str, why_not: Option<String>) -> bool {
    let button = Button::new(text).min_size(vec2(0.0, 26.0)).right_text("");
    match why_not {
        None => {
            let pressed = ui.add(button).accessible_name(text).on_hover_text(tooltip).clicked();
            if pressed {
                ui.close();
            }
            pressed
        }
        Some(why) => {
            ui.add_enabled(false, button).accessible_name(format!("{text} ({why})")).on_disabled_hover_text(why);
            false
        }
    }
}

/// A name that no disk has yet: `lab-snapshot`, `lab-snapshot-2`; empty when it can't be made.
fn free_name(view: &View<'_>, disk: &str, what: &str) -> String {
    let base = super::forms::derived_name(std::path::Path::new(&format!("{disk}-{what}")));
    let taken: std::collections::HashSet<&str> = view.shot.disks.iter().map(|d| d.name.as_str()).collect();
    let names = std::iter::once(base.clone()).chain((2..1000).map(|n| format!("{base}-{n}")));
    names.into_iter().find(|n| n.len() <= 63 && !taken.contains(n.as_str())).unwrap_or_default()
}

/// An overlay's host, made harmless.
pub(super) fn host(overlay: &OverlayView) -> String {
    say::clean_to(&overlay.host, 40)
}

/// `kept` or `fresh`.
pub(super) fn kind(overlay: &OverlayView) -> &'static str {
    match overlay.writes {
        bootyard_core::lab::Writes::Fresh => t!("fresh"),
        _ => t!("kept"),
    }
}
