//! Questions before what can't be taken back. The act is named on the button.

use bootyard_core::api::{Command, HostId, Snapshot};
use bootyard_core::lab::Name;
use eframe::egui::{Button, Context, Id, Key, Modal, Response, RichText, ScrollArea, Ui, vec2};

use super::View;
use super::{disk_dialogs, forms, palette};
use crate::gui::action::{Action, Dialog};
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
        Dialog::Install { hosts, to } => {
            let n = say::count(hosts.len(), "machine", "machines");
            title_ui(ui, &format!("{} on {n}?", say::boot(to)));
            let whose = if hosts.len() == 1 { "Its disk is erased" } else { "Their disks are erased" };
            ui.label(format!("{whose} when the installer runs. This can't be taken back."));
            names_ui(ui, &targets::names(view.shot, hosts));
            buttons_ui(ui, view, |ui, view| {
                if danger_button_ui(ui, &format!("Erase and install {n}")).clicked() {
                    view.push(Action::AssignNow(hosts.clone(), to.clone()));
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Assign { hosts } => choose_ui(ui, view, hosts),
        Dialog::Stop { hosts } => {
            let n = say::count(hosts.len(), "machine runs", "machines run");
            title_ui(ui, &format!("{n} from disks of this lab"));
            ui.label(format!("{} when it stops.", lose(hosts)));
            names_ui(ui, hosts);
            buttons_ui(ui, view, |ui, view| {
                if danger_button_ui(ui, if hosts.len() == 1 { "Stop and cut it off" } else { "Stop and cut them off" })
                    .clicked()
                {
                    view.push(Action::StopNow);
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Close { hosts } => {
            let n = say::count(hosts.len(), "machine runs", "machines run");
            title_ui(ui, &format!("{n} from disks of this lab"));
            let whom = if hosts.len() == 1 { "it" } else { "them" };
            ui.label(format!("Keep serving: the window is minimised, and nothing changes for {whom}."));
            ui.label(format!("Stop: {} at once.", lose(hosts).to_lowercase()));
            names_ui(ui, hosts);
            buttons_ui(ui, view, |ui, view| {
                if primary_button_ui(ui, true, "Keep serving").clicked() {
                    view.push(Action::KeepServing);
                    view.push(Action::CloseDialog);
                }
                if danger_button_ui(ui, "Stop and close").clicked() {
                    view.push(Action::StopAndQuit);
                    view.push(Action::CloseDialog);
                }
            });
        }
        Dialog::Rename { host, name } => rename_ui(ui, view, *host, name),
        Dialog::Forget { hosts, entry } => forget_ui(ui, view, hosts, entry),
        Dialog::AddDisk(form) => forms::disk_ui(ui, view, form),
        Dialog::AddProfile(form) => forms::profile_ui(ui, view, form),
        Dialog::Disk(ask) => disk_dialogs::ask_ui(ui, view, ask),
        Dialog::Palette { filter } => palette::palette_ui(ui, view, filter),
    }
}

fn lose(hosts: &[String]) -> &'static str {
    if hosts.len() == 1 { "It loses its disk" } else { "They lose their disks" }
}

/// A dialog's title.
pub(super) fn title_ui(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).size(theme::TITLE).color(theme::palette(ui).strong));
    ui.add_space(4.0);
}

/// The row at a dialog's end; Cancel is always there, and returned.
pub(super) fn buttons_ui(ui: &mut Ui, view: &mut View<'_>, acts: impl FnOnce(&mut Ui, &mut View<'_>)) -> Response {
    ui.add_space(theme::GAP);
    let row = ui.horizontal(|ui| {
        acts(ui, view);
        let cancel = ui.add(Button::new("Cancel").min_size(vec2(0.0, 28.0)));
        if cancel.clicked() {
            view.push(Action::CloseDialog);
        }
        cancel.on_hover_text("Esc")
    });
    row.inner
}

fn names_ui(ui: &mut Ui, names: &[String]) {
    ui.add_space(4.0);
    ui.label(RichText::new(say::names(names, 12)).color(theme::palette(ui).strong));
}

fn choose_ui(ui: &mut Ui, view: &mut View<'_>, hosts: &[HostId]) {
    let names = targets::names(view.shot, hosts);
    title_ui(
        ui,
        &format!(
            "What {} gets",
            if let [one] = names.as_slice() { one.clone() } else { format!("each of {} machines", names.len()) }
        ),
    );
    if names.len() > 1 {
        weak_ui(ui, say::names(&names, 12));
    }
    ui.add_space(4.0);
    if let Some(boot) = assign::assign_list_ui(ui, view.shot, only_boot(view.shot, hosts).as_ref(), true) {
        view.assign(hosts.to_vec(), boot);
    }
}

fn only_boot(shot: &Snapshot, hosts: &[HostId]) -> Option<bootyard_core::lab::Boot> {
    let [only] = hosts else { return None };
    targets::host(shot, *only).map(|h| h.boot.clone())
}

fn rename_ui(ui: &mut Ui, view: &mut View<'_>, host: HostId, name: &mut String) {
    let was = targets::host(view.shot, host).map(say::host_name).unwrap_or_default();
    title_ui(ui, &format!("Name of {was}"));
    let field = text_field_ui(ui, "Name: a-z, 0-9 and -; empty takes it away", name, "pc-01", 300.0);
    // Enter takes the focus from the field, so this is asked before it is given back.
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    let text = name.trim().to_owned();
    let problem = if text.is_empty() { None } else { text.parse::<Name>().err().map(|e| e.to_string()) };
    if let Some(problem) = &problem {
        ui.label(RichText::new(problem).color(theme::palette(ui).tone(theme::Tone::Bad)));
    }
    buttons_ui(ui, view, |ui, view| {
        let pressed = primary_button_ui(ui, problem.is_none(), "Rename").clicked();
        if pressed || (enter && problem.is_none()) {
            let said = if text.is_empty() { format!("{was} has no name now") } else { format!("{was} is now {text}") };
            view.send(Command::Rename { host, name: text.clone() }, said);
            view.push(Action::CloseDialog);
        }
    });
}

fn forget_ui(ui: &mut Ui, view: &mut View<'_>, hosts: &[HostId], entry: &mut bool) {
    let n = say::count(hosts.len(), "machine", "machines");
    title_ui(ui, &format!("Forget {n}?"));
    ui.label("Dropped from the list with timeline and history. A machine that boots again appears again.");
    names_ui(ui, &targets::names(view.shot, hosts));
    let configured = view.shot.hosts.iter().any(|h| h.configured && hosts.contains(&h.id));
    if configured {
        ui.add_space(4.0);
        ui.checkbox(entry, "Take the entry out of lab.toml, too: name, address and assignment");
    }
    buttons_ui(ui, view, |ui, view| {
        if danger_button_ui(ui, &format!("Forget {n}")).clicked() {
            for host in hosts {
                let name = targets::host(view.shot, *host).map(say::host_name).unwrap_or_default();
                view.send(Command::Forget { host: *host, entry: *entry }, format!("{name} is forgotten"));
            }
            view.push(Action::CloseDialog);
        }
    });
}
