//! Questions before what can't be taken back. The act is named on the button.

use bootyard_core::api::{Command, HostId, Snapshot};
use bootyard_core::lab::Name;
use bootyard_core::lang::said;
use eframe::egui::{Button, Context, Id, Key, Modal, RichText, ScrollArea, Ui, vec2};

use super::View;
use super::{brought, disk_dialogs, forms, keys, labs, machine_dialogs, palette, save};
use crate::gui::action::{Action, Dialog};
use crate::gui::lang::{count, t};
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme;
use crate::gui::widgets::assign;
use crate::gui::widgets::field::{danger_button_ui, primary_button_ui, text_field_ui, weak_ui};

/// Draws the dialog that is open.
pub(crate) fn dialog_ui(ctx: &Context, view: &mut View<'_>, dialog: &mut Dialog) {
    let before = view.out.len();
    let room = ctx.content_rect().size() - vec2(60.0, 100.0);
    let modal = Modal::new(Id::unique("dialog")).backdrop_color(theme::backdrop()).frame(theme::dialog_frame(ctx));
    let response = modal.show(ctx, |ui| {
        ui.set_width(theme::DIALOG.min(room.x));
        ScrollArea::vertical().max_height(room.y).min_scrolled_height(room.y).show(ui, |ui| inner_ui(ui, view, dialog));
    });
    if response.should_close() {
        // Before what was chosen, which may open the next dialog.
        view.out.insert(before, Action::CloseDialog);
    }
}

fn inner_ui(ui: &mut Ui, view: &mut View<'_>, dialog: &mut Dialog) {
    match dialog {
        Dialog::Install { hosts, to, as_unknown } => {
            let n = hosts.len();
            title_ui(ui, &count!(n, "{boot} on {n} machine?", "{boot} on {n} machines?", boot = say::boot(to)));
            ui.label(if n == 1 {
                t!("Its disk is erased when the installer runs. This can't be taken back.")
            } else {
                t!("Their disks are erased when the installer runs. This can't be taken back.")
            });
            names_ui(ui, &targets::names(view.shot, hosts));
            buttons_ui(ui, view, |ui, view| {
                if danger_button_ui(ui, &count!(n, "Erase and install {n} machine", "Erase and install {n} machines"))
                    .clicked()
                {
                    let hosts = hosts.clone();
                    view.push(match as_unknown {
                        true => Action::Send(Command::Unassign { hosts }, t!("Given back").to_owned()),
                        false => Action::AssignNow(hosts, to.clone()),
                    });
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Assign { hosts } => choose_ui(ui, view, hosts),
        Dialog::Stop { hosts } => {
            let one = hosts.len() == 1;
            running_title_ui(ui, hosts.len());
            ui.label(if one {
                t!("It loses its disk when it stops.")
            } else {
                t!("They lose their disks when it stops.")
            });
            names_ui(ui, hosts);
            buttons_ui(ui, view, |ui, view| {
                let act = if one { t!("Stop and cut it off") } else { t!("Stop and cut them off") };
                if danger_button_ui(ui, act).clicked() {
                    view.push(Action::StopNow);
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Close { hosts, jobs } => {
            lost_title_ui(ui, hosts, jobs);
            match hosts.len() {
                0 => {}
                1 => {
                    ui.label(t!("Keep serving: the window is minimised, and nothing changes for it."));
                    ui.label(t!("Stop: it loses its disk at once."));
                    names_ui(ui, hosts);
                }
                _ => {
                    ui.label(t!("Keep serving: the window is minimised, and nothing changes for them."));
                    ui.label(t!("Stop: they lose their disks at once."));
                    names_ui(ui, hosts);
                }
            }
            lost_jobs_ui(ui, jobs);
            let (stay, go) = match hosts.is_empty() {
                true => (t!("Minimise and go on"), t!("Cancel it and close")),
                false => (t!("Keep serving"), t!("Stop and close")),
            };
            buttons_ui(ui, view, |ui, view| {
                if primary_button_ui(ui, true, stay).clicked() {
                    view.push(Action::KeepServing);
                    view.push(Action::CloseDialog);
                }
                if danger_button_ui(ui, go).clicked() {
                    view.push(Action::StopAndQuit);
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Rename { host, name } => rename_ui(ui, view, *host, name),
        Dialog::Group { hosts, name } => machine_dialogs::group_ui(ui, view, hosts, name),
        Dialog::ResetDisks { hosts } => machine_dialogs::reset_ui(ui, view, hosts),
        Dialog::Forget { hosts, entry } => machine_dialogs::forget_ui(ui, view, hosts, entry),
        Dialog::AddDisk(form) => forms::disk_ui(ui, view, form),
        Dialog::AddProfile(form) => forms::profile_ui(ui, view, form),
        Dialog::Save(form) => save::save_ui(ui, view, form),
        Dialog::Disk(ask) => disk_dialogs::ask_ui(ui, view, ask),
        Dialog::EraseUnknown { changes, said } => {
            title_ui(ui, t!("Erase every unknown machine?"));
            ui.label(t!(
                "Every machine that boots here and that nobody has assigned anything is installed at once, without a question at its screen. Its disk is erased; that can't be taken back."
            ));
            let profiles: Vec<String> = targets::installed(changes);
            names_ui(ui, &profiles);
            buttons_ui(ui, view, |ui, view| {
                if danger_button_ui(ui, t!("Erase and install every unknown machine")).clicked() {
                    view.push(Action::SettingsNow(changes.clone(), said.clone()));
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Palette { filter, meant, recent } => palette::palette_ui(ui, view, filter, meant, recent),
        Dialog::Keys => keys::keys_ui(ui, view),
        Dialog::Lab(form) => labs::form_ui(ui, view, form),
        Dialog::Leave { hosts, jobs, to, way } => labs::leave_ui(ui, view, (hosts, jobs), to, *way),
        Dialog::AddFiles { paths } => brought::files_ui(ui, view, paths),
        Dialog::AddFirmware { files } => brought::firmware_ui(ui, view, files),
        Dialog::Notes { notes, left } => brought::notes_ui(ui, view, notes, *left),
        Dialog::Recording(recording) => brought::recording_ui(ui, view, recording),
    }
}

/// What ends with the window or its lab.
pub(super) fn lost_title_ui(ui: &mut Ui, hosts: &[String], jobs: &[String]) {
    if hosts.is_empty() {
        title_ui(ui, &count!(jobs.len(), "{n} task is not done", "{n} tasks are not done"));
    } else {
        running_title_ui(ui, hosts.len());
    }
}

pub(super) fn lost_jobs_ui(ui: &mut Ui, jobs: &[String]) {
    if !jobs.is_empty() {
        ui.label(t!("What is not done is cancelled. Nothing half-made stays, and what it was made of is not changed:"));
        names_ui(ui, jobs);
    }
}

fn running_title_ui(ui: &mut Ui, n: usize) {
    title_ui(ui, &count!(n, "{n} machine runs from disks of this lab", "{n} machines run from disks of this lab"));
}

/// A dialog's title.
pub(super) fn title_ui(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).size(theme::TITLE).color(theme::palette(ui).strong));
    ui.add_space(4.0);
}

/// The row at a dialog's end; Cancel is always there, and has the focus where nothing above took it: a keyboard is in the dialog from
/// the start, and what it does by accident takes nothing away.
pub(super) fn buttons_ui(ui: &mut Ui, view: &mut View<'_>, acts: impl FnOnce(&mut Ui, &mut View<'_>)) {
    ui.add_space(theme::GAP);
    ui.horizontal(|ui| {
        acts(ui, view);
        let cancel = ui.add(Button::new(t!("Cancel")).min_size(vec2(0.0, 28.0)));
        if cancel.clicked() {
            view.push(Action::CloseDialog);
        }
        if ui.memory(|m| m.focused().is_none()) {
            cancel.request_focus();
        }
        cancel.on_hover_text("Esc");
    });
}

pub(super) fn names_ui(ui: &mut Ui, names: &[String]) {
    ui.add_space(4.0);
    ui.label(RichText::new(say::names(names, 12)).color(theme::palette(ui).strong));
}

fn choose_ui(ui: &mut Ui, view: &mut View<'_>, hosts: &[HostId]) {
    let names = targets::names(view.shot, hosts);
    let title = match names.as_slice() {
        [one] => t!("What {name} gets", name = one),
        many => t!("What each of {n} machines gets", n = many.len()),
    };
    title_ui(ui, &title);
    if names.len() > 1 {
        weak_ui(ui, say::names(&names, 12));
    }
    ui.add_space(4.0);
    if let Some(pick) = assign::assign_list_ui(ui, view.shot, only_boot(view.shot, hosts).as_ref(), true) {
        view.give(hosts.to_vec(), pick);
    }
}

fn only_boot(shot: &Snapshot, hosts: &[HostId]) -> Option<bootyard_core::lab::Boot> {
    let [only] = hosts else { return None };
    targets::host(shot, *only).map(|h| h.boot.clone())
}

fn rename_ui(ui: &mut Ui, view: &mut View<'_>, host: HostId, name: &mut String) {
    let was = targets::host(view.shot, host).map(say::host_name).unwrap_or_default();
    title_ui(ui, &t!("Name of {was}", was = was));
    let field = text_field_ui(ui, t!("Name: a-z, 0-9 and -; empty takes it away"), name, "pc-01", 300.0);
    // Enter takes the focus from the field, so this is asked before it is given back.
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    let text = name.trim().to_owned();
    let problem = if text.is_empty() { None } else { text.parse::<Name>().err().map(|e| e.to_string()) };
    if let Some(problem) = &problem {
        ui.label(RichText::new(said(problem)).color(theme::palette(ui).tone(theme::Tone::Bad)));
    }
    buttons_ui(ui, view, |ui, view| {
        let pressed = primary_button_ui(ui, problem.is_none(), t!("Rename")).clicked();
        if pressed || (enter && problem.is_none()) {
            let said = if text.is_empty() {
                t!("{was} has no name now", was = was)
            } else {
                t!("{was} is now {text}", was = was, text = text)
            };
            let before = targets::host(view.shot, host).filter(|h| h.named).and_then(|h| h.name.clone());
            let undo = Command::Rename { host, name: before.unwrap_or_default() };
            view.push(Action::SendAll(vec![Command::Rename { host, name: text.clone() }], said, vec![undo]));
            view.push(Action::CloseDialog);
        }
    });
}
