//! Which lab is open, and the way to others: the name in the bar, the form, and the screen of a lab that could not be opened.

use std::path::{Path, PathBuf};

use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{Button, Key, Label, RichText, ScrollArea, Ui, ViewportCommand, vec2};

use super::View;
use super::dialogs::{buttons_ui, lost_jobs_ui, lost_title_ui, names_ui, title_ui};
use super::forms::{self, path_ui};
use crate::gui::action::{Action, PickFor, UiCommand};
use crate::gui::labs::{self, LabForm, Way};
use crate::gui::lang::{count, t};
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, danger_button_ui, primary_button_ui, weak_ui};
use crate::gui::widgets::{finding, icon, progress};

/// A path as it is shown.
const PATH: usize = 200;

/// The lab's name in the bar: a menu of the others.
pub(super) fn lab_ui(ui: &mut Ui, view: &mut View<'_>, recent: &[PathBuf]) {
    let lab = &view.shot.lab;
    // Beside it the servers' state must have room.
    if lab.as_os_str().is_empty() || ui.available_width() < 90.0 {
        return;
    }
    let name = labs::name(lab);
    let most = ((ui.available_width() - 40.0) / 8.0).clamp(4.0, 40.0);
    // Between 4 and 40.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let shown = clean_to(&name, most as usize);
    let button = Button::new(RichText::new(shown).color(theme::palette(ui).strong)).right_text("  ");
    let (menu, _) = MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(theme::MENU);
        for command in [UiCommand::OpenLab, UiCommand::NewLab] {
            let key = command.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
            let key = RichText::new(key).color(theme::palette(ui).weak);
            if ui.add(Button::new(command.text()).shortcut_text(key)).on_hover_text(command.tooltip()).clicked() {
                view.run(command);
            }
        }
        if !recent.is_empty() {
            ui.separator();
        }
        for lab in recent {
            if recent_ui(ui, lab) {
                view.push(Action::OpenLab(lab.clone(), Way::Open));
            }
        }
    });
    icon::paint_caret(ui.painter(), menu.rect.right_center() - vec2(10.0, 0.0), theme::palette(ui).weak);
    let menu = menu.accessible_name(t!("Lab {lab}", lab = name));
    menu.on_hover_text(t!("The lab that is open: {dir}", dir = clean_to(&lab.display().to_string(), PATH)));
}

/// One of the labs opened last, as a button.
fn recent_ui(ui: &mut Ui, lab: &Path) -> bool {
    let path = clean_to(&lab.display().to_string(), PATH);
    let button = Button::new(labs::name(lab)).min_size(vec2(0.0, 24.0));
    ui.add(button).on_hover_text(path).clicked()
}

/// Another process serves the lab: nothing ends with the window.
pub(crate) fn elsewhere_ui(ui: &mut Ui, view: &View<'_>) {
    if !labs::is_served_elsewhere(view.shot) {
        return;
    }
    ui.horizontal(|ui| {
        icon::tone_ui(ui, Tone::Quiet);
        let text = t!(
            "Served by another process (`bootyard serve`, process {pid}); closing this window leaves it running.",
            pid = view.shot.keeper.pid
        );
        ui.add(Label::new(RichText::new(text).color(theme::palette(ui).weak)).wrap());
    });
    ui.add_space(4.0);
}

/// The form that asks for a folder.
pub(super) fn form_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut LabForm) {
    let new = form.way == Way::New;
    title_ui(ui, if new { t!("New lab") } else { t!("Open a lab") });
    ui.label(if new {
        t!("A lab is a folder with all that belongs together: settings, disks, installers, boot files. It is made in an empty or a new folder.")
    } else {
        t!("A lab is the folder that has a lab.toml in it.")
    });
    ui.add_space(4.0);
    let hint = if new { "/path/to/a-new-folder" } else { "/path/to/lab" };
    let field = path_ui(ui, view, t!("Folder"), &mut form.path, hint, PickFor::Lab);
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    if !new && !form.recent.is_empty() {
        ui.add_space(theme::GAP);
        ui.label(RichText::new(t!("Opened last")).color(theme::palette(ui).weak));
        ScrollArea::vertical().id_salt("recent").max_height(160.0).show(ui, |ui| {
            for lab in &form.recent {
                ui.horizontal(|ui| {
                    if recent_ui(ui, lab) {
                        view.push(Action::CloseDialog);
                        view.push(Action::OpenLab(lab.clone(), Way::Open));
                    }
                    weak_ui(ui, clean_to(&lab.display().to_string(), PATH));
                });
            }
        });
    }
    let made = forms::file(&form.path, t!("Say which folder")).map(|dir| Action::OpenLab(dir, form.way));
    if let Err(problem) = &made {
        ui.add_space(4.0);
        ui.label(RichText::new(problem).color(theme::palette(ui).tone(Tone::Warn)));
    }
    buttons_ui(ui, view, |ui, view| {
        let pressed = primary_button_ui(ui, made.is_ok(), if new { t!("Make the lab") } else { t!("Open") }).clicked();
        if let (true, Ok(action)) = (pressed || enter, made) {
            // First, since what follows may open the next dialog.
            view.push(Action::CloseDialog);
            view.push(action);
        }
    });
}

/// Machines run from disks of the lab that is to be left.
pub(super) fn leave_ui(ui: &mut Ui, view: &mut View<'_>, (hosts, jobs): (&[String], &[String]), to: &Path, way: Way) {
    lost_title_ui(ui, hosts, jobs);
    if hosts.is_empty() {
        ui.label(t!("To open {lab}, this lab is closed first.", lab = labs::name(to)));
    } else {
        ui.label(count!(
            hosts.len(),
            "To open {lab}, this lab is closed first: it loses its disk at once.",
            "To open {lab}, this lab is closed first: they lose their disks at once.",
            lab = labs::name(to)
        ));
        names_ui(ui, hosts);
    }
    lost_jobs_ui(ui, jobs);
    buttons_ui(ui, view, |ui, view| {
        if danger_button_ui(ui, &t!("Stop and open {lab}", lab = labs::name(to))).clicked() {
            view.push(Action::OpenLabNow(to.to_owned(), way));
        }
    });
}

/// While another lab is being opened, and the old one closed.
pub(crate) fn moving_ui(ui: &mut Ui, to: &Path) {
    ui.add_space(120.0);
    ui.vertical_centered(|ui| {
        let doing = t!("Opening {lab}", lab = labs::name(to));
        progress::busy_ui(ui, progress::LARGE, &doing);
        ui.add_space(theme::GAP);
        ui.label(doing);
    });
}

/// A window without a lab: why, and what else could be opened.
pub(crate) fn shut_ui(ui: &mut Ui, view: &mut View<'_>, (dir, why): &(PathBuf, String), recent: &[PathBuf]) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add_space(48.0);
        let side = ((ui.available_width() - theme::MEASURE) / 2.0).max(0.0);
        ui.horizontal_top(|ui| {
            ui.add_space(side);
            ui.vertical(|ui| {
                ui.set_max_width(theme::MEASURE.min(ui.available_width()));
                ui.heading(t!("{lab} can't be opened here", lab = labs::name(dir)));
                ui.add_space(theme::GAP);
                finding::callout_ui(ui, Tone::Warn, why, |_| {});
                ui.add_space(theme::GAP);
                ui.horizontal_wrapped(|ui| {
                    if primary_button_ui(ui, true, t!("Try again")).clicked() {
                        view.push(Action::OpenLabNow(dir.clone(), Way::Any));
                    }
                    for command in [UiCommand::OpenLab, UiCommand::NewLab] {
                        if command_button_ui(ui, command).clicked() {
                            view.run(command);
                        }
                    }
                    if ui.button(t!("Quit")).clicked() {
                        ui.ctx().send_viewport_cmd(ViewportCommand::Close);
                    }
                });
                let others: Vec<_> = recent.iter().filter(|lab| *lab != dir).collect();
                if !others.is_empty() {
                    ui.add_space(theme::SECTION);
                    ui.label(RichText::new(t!("Opened last")).color(theme::palette(ui).weak));
                }
                for lab in others {
                    ui.horizontal(|ui| {
                        if recent_ui(ui, lab) {
                            view.push(Action::OpenLab(lab.clone(), Way::Open));
                        }
                        weak_ui(ui, clean_to(&lab.display().to_string(), PATH));
                    });
                }
            });
        });
    });
}
