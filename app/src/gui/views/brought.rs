//! What files hover, and the dialogs about those that were dropped: boot files to add, what can't be used as it is, a recording told.

use std::path::PathBuf;

use bootyard_core::api::Command;
use bootyard_core::boot::Arch;
use bootyard_core::engine::recorded::RecordedHost;
use eframe::egui::{
    Align2, Area, Button, CollapsingHeader, Context, Grid, Id, Label, LayerId, Order, RichText, ScrollArea, TextEdit,
    Ui, Vec2, vec2,
};

use super::View;
use super::dialogs::{buttons_ui, title_ui};
use super::forms::file;
use crate::gui::action::{Action, PickFor};
use crate::gui::brought::{self, Brought, Hint, Note, Recording};
use crate::gui::lang::{count, t};
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{fact_ui, primary_button_ui, weak_ui};
use crate::gui::widgets::{finding, timeline};

/// So many files are named while they hover.
const NAMED: usize = 8;

/// Over everything while files hover: what each is, and what becomes of it.
pub(crate) fn hint_ui(ctx: &Context, hint: Hint<'_>) {
    let rect = ctx.content_rect();
    let below = LayerId::new(Order::Foreground, Id::unique("drop-ground"));
    ctx.layer_painter(below).rect_filled(rect, 0.0, theme::hover_backdrop());
    let title = match hint.found {
        Some(found) if found.iter().all(|f| brought::is_useless(&f.kind)) => t!("Nothing here can be used").to_owned(),
        _ => count!(hint.count, "Let go to bring {n} file in", "Let go to bring {n} files in"),
    };
    let mut lines = Vec::new();
    match hint.found {
        None => lines.push(t!("Looking at what it is").to_owned()),
        Some(found) => {
            let line = |file: &Brought| {
                let (name, what) = (brought::shown(&file.path), brought::what(&file.kind));
                format!("{name}: {what}; {}", brought::becomes(&file.kind))
            };
            lines.extend(found.iter().take(NAMED).map(line));
            if found.len() > NAMED {
                lines.push(count!(found.len() - NAMED, "and {n} more", "and {n} more"));
            }
            if hint.left > 0 {
                lines.push(left_out(hint.left));
            }
        }
    }
    let area = Area::new(Id::unique("drop-hint")).order(Order::Tooltip).anchor(Align2::CENTER_CENTER, Vec2::ZERO);
    area.interactable(false).show(ctx, |ui| {
        ui.set_max_width((rect.width() - 40.0).min(theme::MEASURE + 80.0));
        ui.vertical_centered(|ui| {
            ui.label(RichText::new(title).heading().color(theme::over_backdrop()));
            ui.add_space(theme::GAP);
            for line in lines {
                ui.add(Label::new(RichText::new(line).color(theme::over_backdrop())).wrap());
            }
        });
    });
}

/// The form that takes files by their paths, where no file dialog of the desktop opens.
pub(super) fn files_ui(ui: &mut Ui, view: &mut View<'_>, paths: &mut String) {
    title_ui(ui, t!("Add files"));
    ui.label(t!(
        "Each is recognised by its content and goes where it belongs. They may be dropped onto this window, too."
    ));
    ui.add_space(4.0);
    let label = ui.label(RichText::new(t!("Files, one a line")).color(theme::palette(ui).weak));
    ui.horizontal_top(|ui| {
        let width = ui.available_width() - 100.0;
        let edit = TextEdit::multiline(paths).hint_text("/path/to/disk.qcow2").desired_rows(4);
        let field = ui.add(edit.desired_width(width).margin(vec2(8.0, 5.0))).labelled_by(label.id);
        if ui.memory(|m| m.focused().is_none()) {
            field.request_focus();
        }
        if ui.button(t!("Browse…")).accessible_name(t!("Browse for files")).clicked() {
            view.push(Action::Pick(PickFor::Files));
        }
    });
    weak_ui(ui, brought::accepted()).on_hover_text(brought::accepted());
    let lines = paths.lines().map(str::trim).filter(|line| !line.is_empty());
    let made = lines.map(|line| file(line, "")).collect::<Result<Vec<PathBuf>, String>>();
    let made = made.and_then(|files| if files.is_empty() { Err(t!("Say which files").to_owned()) } else { Ok(files) });
    if let Err(problem) = &made {
        ui.label(RichText::new(problem).color(theme::palette(ui).tone(Tone::Warn)));
    }
    buttons_ui(ui, view, |ui, view| {
        let pressed = primary_button_ui(ui, made.is_ok(), t!("Add files")).clicked();
        if let (true, Ok(files)) = (pressed, made) {
            view.push(Action::CloseDialog);
            view.push(Action::Bring(files));
        }
    });
}

/// Boot files are copied into the lab.
pub(super) fn firmware_ui(ui: &mut Ui, view: &mut View<'_>, files: &[(PathBuf, Arch, bool)]) {
    title_ui(ui, t!("Add boot firmware"));
    ui.label(t!("Copied into the lab's folder firmware/, where it comes before the system's own."));
    ui.add_space(4.0);
    for (path, arch, ipxe) in files {
        ui.label(RichText::new(brought::shown(path)).color(theme::palette(ui).strong));
        ui.add(Label::new(brought::firmware_meaning(*arch, *ipxe)).wrap());
    }
    buttons_ui(ui, view, |ui, view| {
        let add = primary_button_ui(ui, true, &count!(files.len(), "Add boot file", "Add {n} boot files"));
        // It takes nothing away: Enter does it.
        if ui.memory(|m| m.focused().is_none()) {
            add.request_focus();
        }
        if add.clicked() {
            let commands = files.iter().map(|(path, ..)| Command::AddFirmware { from: path.clone() }).collect();
            let names: Vec<String> = files.iter().map(|(path, ..)| brought::shown(path)).collect();
            view.push(Action::SendAll(
                commands,
                t!("{names} added to firmware/", names = names.join(", ")),
                Vec::new(),
            ));
            view.push(Action::CloseDialog);
        }
    });
}

/// Those that are beyond what is taken at a time.
fn left_out(left: usize) -> String {
    count!(
        left,
        "At most {most} files are taken at a time; the last one is left out.",
        "At most {most} files are taken at a time; the last {n} are left out.",
        most = brought::MOST
    )
}

/// Files that can't be used as they are, and how many were not looked at.
pub(super) fn notes_ui(ui: &mut Ui, view: &mut View<'_>, notes: &[Note], left: usize) {
    if notes.is_empty() {
        title_ui(ui, &count!(left, "{n} file was left out", "{n} files were left out"));
    } else {
        title_ui(ui, &count!(notes.len(), "{n} file needs something first", "{n} files need something first"));
    }
    if left > 0 {
        ui.label(format!("{} {}", left_out(left), t!("Drop what is left out again.")));
    }
    ScrollArea::vertical().id_salt("notes").max_height(360.0).show(ui, |ui| {
        for note in notes {
            ui.add_space(4.0);
            ui.label(RichText::new(&note.name).color(theme::palette(ui).strong));
            ui.add(Label::new(&note.text).wrap());
            if let Some(command) = &note.command {
                ui.horizontal_wrapped(|ui| {
                    let shown = say::clean_to(command, 600);
                    ui.add(Label::new(RichText::new(&shown).monospace()).wrap().selectable(true));
                    let copy = t!("Copy command");
                    if ui.button(copy).accessible_name(format!("{copy}: {shown}")).clicked() {
                        ui.ctx().copy_text(command.clone());
                    }
                });
            }
        }
    });
    close_ui(ui, view);
}

/// A dialog that only tells has one button.
fn close_ui(ui: &mut Ui, view: &mut View<'_>) {
    ui.add_space(theme::GAP);
    let button = Button::new(t!("Close")).min_size(vec2(88.0, 28.0));
    let close = ui.horizontal(|ui| ui.add(button)).inner.on_hover_text("Esc");
    if ui.memory(|m| m.focused().is_none()) {
        close.request_focus();
    }
    if close.clicked() {
        view.push(Action::CloseDialog);
    }
}

/// What happened in a recording, machine by machine.
pub(super) fn recording_ui(ui: &mut Ui, view: &mut View<'_>, recording: &Recording) {
    title_ui(ui, &brought::shown(&recording.path));
    match &recording.folded {
        Err(why) => finding::callout_ui(ui, Tone::Bad, why, |_| {}),
        Ok(folded) => {
            let machines = count!(folded.folded.hosts.len(), "{n} machine boots", "{n} machines boot");
            weak_ui(
                ui,
                count!(folded.packets, "{n} packet; {machines}", "{n} packets; {machines}", machines = machines),
            );
            if let Some(cut) = &folded.cut {
                finding::callout_ui(ui, Tone::Warn, cut, |_| {});
            }
            for found in &folded.folded.findings {
                finding::finding_ui(ui, found, None, view.out);
            }
            if folded.folded.hosts.is_empty() {
                ui.label(t!("No machine boots in this recording."));
            }
            let one = folded.folded.hosts.len() == 1;
            for (at, host) in folded.folded.hosts.iter().enumerate() {
                CollapsingHeader::new(of_machine(host)).id_salt(("recorded", at)).default_open(one || at == 0).show(
                    ui,
                    |ui| {
                        for found in &host.findings {
                            finding::finding_ui(ui, found, None, view.out);
                        }
                        let model = timeline::model(&host.timeline, &host.findings, view.now);
                        timeline::timeline_ui(ui, &model, None);
                        inventory_ui(ui, at, host);
                    },
                );
            }
        }
    }
    close_ui(ui, view);
}

fn of_machine(host: &RecordedHost) -> String {
    let mac = host.macs.first().map(ToString::to_string).unwrap_or_default();
    let name = host.name.as_deref().map(|name| say::clean_to(name, 40)).unwrap_or_default();
    format!("{}: {}", [name, mac].join(" ").trim(), say::stage(host.stage))
}

fn inventory_ui(ui: &mut Ui, at: usize, host: &RecordedHost) {
    Grid::new(("inventory", at)).num_columns(2).show(ui, |ui| {
        for (name, value) in [
            (t!("Address"), host.ip.map(|ip| ip.to_string())),
            (t!("Firmware"), host.arch.map(|a| say::arch(a).to_owned())),
        ] {
            if let Some(value) = value {
                fact_ui(ui, name);
                ui.label(value);
                ui.end_row();
            }
        }
    });
}
