//! What happened last, newest first: filtered by machine, weight and text, held while it is read, and written to a file.

use bootyard_core::api::{HostId, Severity, Snapshot};
use eframe::egui::{Align, Button, ComboBox, Key, Label, Layout, Modifiers, RichText, TextEdit, Ui, vec2};
use egui_extras::{Column, TableBuilder};

use super::View;
use super::events_model::{Choice, Line, Log, Names};
use crate::gui::action::{Action, Dialog};
use crate::gui::lang::{count, t};
use crate::gui::save::{SaveForm, What};
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme;
use crate::gui::widgets::badge;
use crate::gui::widgets::field::weak_ui;

const ROW: f32 = 26.0;

/// What was seen, and what a person chose on this screen.
#[derive(Debug, Default)]
pub(crate) struct Events {
    log: Log,
    choice: Choice,
    to_top: bool,
}

impl Events {
    /// Takes in what is new.
    pub(crate) fn take(&mut self, shot: &Snapshot) {
        self.log.take(shot);
    }

    /// Whether the list is held now; turns it round.
    fn turn(&mut self) {
        self.choice.held = if self.choice.held.is_some() { None } else { self.log.last() };
        self.to_top = self.choice.held.is_none();
    }

    /// The screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        let names = Names::of(view.shot);
        let ctx = ui.ctx();
        let free = ctx.memory(|m| m.focused().is_none() && m.top_modal_layer().is_none());
        if free
            && !eframe::egui::Popup::is_any_open(ctx)
            && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Space))
        {
            self.turn();
        }
        self.filter_ui(ui, view, &names);
        ui.add_space(2.0);
        let rows = self.log.shown(&self.choice, &names);
        if rows.is_empty() {
            let nothing = self.log.is_empty();
            ui.add_space(48.0);
            ui.vertical_centered(|ui| {
                if nothing {
                    ui.heading(t!("Nothing has happened yet"));
                    ui.label(t!("Each packet that matters, each file and each login appears here."));
                } else {
                    ui.heading(t!("No event matches"));
                    if ui.button(t!("Show all")).clicked() {
                        self.choice = Choice { least: Severity::Debug, ..Choice::default() };
                    }
                }
            });
            return;
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        theme::quiet_lines(ui);
        table_ui(ui, &rows, &names, std::mem::take(&mut self.to_top));
    }

    fn filter_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, names: &Names) {
        ui.horizontal(|ui| {
            for (least, text, tooltip) in [
                (Severity::Debug, t!("All"), t!("Size probes and single requests, too")),
                (Severity::Info, t!("Steps"), t!("What moves a machine on, and all that is worse")),
                (Severity::Warning, t!("Warnings"), t!("What wants a look, and errors")),
                (Severity::Error, t!("Errors"), t!("What stops a boot")),
            ] {
                if ui.add(Button::selectable(self.choice.least == least, text)).on_hover_text(tooltip).clicked() {
                    self.choice.least = least;
                }
            }
            host_ui(ui, view.shot, &mut self.choice.host);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let shown = self.log.shown(&self.choice, names);
                let export = ui.add_enabled(!shown.is_empty(), Button::new(t!("Export…")));
                let export =
                    export.accessible_name(t!("Export events…")).on_hover_text(t!("Write what is shown to a file"));
                if export.on_disabled_hover_text(t!("No event is shown")).clicked() {
                    let oldest_first = shown.iter().rev().map(|line| line.event.clone()).collect();
                    let all = count!(self.log.len(), "{n} event", "{n} events");
                    let part_of = (shown.len() < self.log.len()).then_some(all);
                    let form = SaveForm::new(What::Events(oldest_first), part_of);
                    view.push(Action::Ask(Dialog::Save(form)));
                }
                let count = shown.len();
                let (text, name, tooltip) = match self.choice.held {
                    None => (t!("Pause"), t!("Pause events"), t!("Hold the list while it is read (Space)")),
                    Some(_) => (
                        t!("Follow"),
                        t!("Follow events"),
                        t!("Take in what came meanwhile, and go to the newest (Space)"),
                    ),
                };
                if ui.button(text).accessible_name(name).on_hover_text(tooltip).clicked() {
                    self.turn();
                }
                let edit = TextEdit::singleline(&mut self.choice.text)
                    .hint_text(t!("Filter"))
                    .desired_width(200.0)
                    .margin(vec2(8.0, 5.0));
                let field = ui.add(edit).accessible_name(t!("Filter events"));
                if field.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
                    self.choice.text.clear();
                    field.surrender_focus();
                }
                let newer = self.choice.held.map(|seq| self.log.after(seq)).filter(|newer| *newer > 0);
                let text = match newer {
                    Some(newer) => {
                        count!(count, "{n} event, {newer} newer", "{n} events, {newer} newer", newer = newer)
                    }
                    None => count!(count, "{n} event", "{n} events"),
                };
                weak_ui(ui, text);
            });
        });
    }
}

/// Of which machine.
fn host_ui(ui: &mut Ui, shot: &Snapshot, chosen: &mut Option<HostId>) {
    let all = t!("Every machine");
    let now = chosen.and_then(|id| targets::host(shot, id)).map_or_else(|| all.to_owned(), say::host_name);
    let combo = ComboBox::from_id_salt("events-of").selected_text(now).width(150.0).truncate().show_ui(ui, |ui| {
        ui.selectable_value(chosen, None, all);
        for host in &shot.hosts {
            ui.selectable_value(chosen, Some(host.id), say::host_name(host));
        }
    });
    combo.response.accessible_name(t!("Events of"));
}

fn table_ui(ui: &mut Ui, rows: &[&Line], names: &Names, to_top: bool) {
    let mut table = TableBuilder::new(ui)
        .id_salt("events")
        .striped(true)
        .auto_shrink([false, false])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(70.0))
        .column(Column::exact(92.0))
        .column(Column::initial(150.0).at_least(80.0).clip(true).resizable(true))
        .column(Column::remainder().at_least(200.0).clip(true));
    if to_top {
        table = table.vertical_scroll_offset(0.0);
    }
    table
        .header(theme::HEADER, |mut row| {
            for text in [t!("Time"), t!("Weight"), t!("Machine"), t!("What")] {
                row.col(|ui| {
                    ui.label(RichText::new(text).small().color(theme::palette(ui).weak));
                });
            }
        })
        .body(|body| {
            body.rows(ROW, rows.len(), |mut row| {
                let Some(line) = rows.get(row.index()) else { return };
                let severity = line.event.kind.severity();
                row.col(|ui| {
                    ui.label(RichText::new(say::clock(line.event.time)).monospace());
                });
                row.col(|ui| {
                    let name = line.event.kind.name();
                    badge::badge_ui(ui, say::severity_tone(severity), say::severity(severity), &name);
                });
                row.col(|ui| {
                    ui.add(Label::new(names.who(&line.event)).truncate());
                });
                row.col(|ui| {
                    let p = theme::palette(ui);
                    let color = match severity {
                        Severity::Debug => p.weak,
                        Severity::Info => p.text,
                        severity => p.tone(say::severity_tone(severity)),
                    };
                    ui.add(Label::new(RichText::new(&line.text).color(color)).truncate());
                });
            });
        });
}
