//! What happened last, newest first.

use bootyard_core::api::{Event, Severity, Snapshot};
use eframe::egui::{Align, Button, Label, Layout, RichText, TextEdit, Ui, vec2};
use egui_extras::{Column, TableBuilder};

use super::View;
use crate::gui::event_text;
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme;
use crate::gui::widgets::badge;
use crate::gui::widgets::field::weak_ui;

/// What a person chose on this screen.
#[derive(Debug)]
pub(crate) struct Events {
    filter: String,
    least: Severity,
}

impl Default for Events {
    fn default() -> Self {
        Self { filter: String::new(), least: Severity::Info }
    }
}

impl Events {
    /// The screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        let needle = self.filter.trim().to_lowercase();
        let rows: Vec<(&Event, String, String)> = view
            .shot
            .recent
            .iter()
            .rev()
            .filter(|e| e.kind.severity() >= self.least)
            .map(|e| (e.as_ref(), who(view.shot, e), event_text::line(&e.kind)))
            .filter(|(_, who, line)| {
                needle.is_empty() || who.to_lowercase().contains(&needle) || line.to_lowercase().contains(&needle)
            })
            .collect();
        self.filter_ui(ui, rows.len());
        ui.add_space(2.0);
        if rows.is_empty() {
            ui.add_space(48.0);
            ui.vertical_centered(|ui| {
                if view.shot.recent.is_empty() {
                    ui.heading("Nothing has happened yet");
                    ui.label("Each packet that matters, each file and each login appears here.");
                } else {
                    ui.heading("No event matches");
                    if ui.button("Show all").clicked() {
                        *self = Self { least: Severity::Debug, ..Self::default() };
                    }
                }
            });
            return;
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        theme::quiet_lines(ui);
        table_ui(ui, &rows);
    }

    fn filter_ui(&mut self, ui: &mut Ui, shown: usize) {
        ui.horizontal(|ui| {
            for (least, text, tooltip) in [
                (Severity::Debug, "All", "Size probes and single requests, too"),
                (Severity::Info, "Steps", "What moves a machine on, and all that is worse"),
                (Severity::Warning, "Warnings", "What wants a look, and errors"),
                (Severity::Error, "Errors", "What stops a boot"),
            ] {
                if ui.add(Button::selectable(self.least == least, text)).on_hover_text(tooltip).clicked() {
                    self.least = least;
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let edit = TextEdit::singleline(&mut self.filter)
                    .hint_text("Filter")
                    .desired_width(240.0)
                    .margin(vec2(8.0, 5.0));
                ui.add(edit).accessible_name("Filter events");
                weak_ui(ui, say::count(shown, "event", "events"));
            });
        });
    }
}

fn who(shot: &Snapshot, event: &Event) -> String {
    let host = event.host.and_then(|id| targets::host(shot, id)).map(say::host_name);
    host.or_else(|| event.mac.map(|m| m.to_string())).unwrap_or_default()
}

fn table_ui(ui: &mut Ui, rows: &[(&Event, String, String)]) {
    TableBuilder::new(ui)
        .id_salt("events")
        .striped(true)
        .auto_shrink([false, false])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(70.0))
        .column(Column::exact(92.0))
        .column(Column::initial(150.0).at_least(80.0).clip(true).resizable(true))
        .column(Column::remainder().at_least(200.0).clip(true))
        .header(theme::HEADER, |mut row| {
            for text in ["Time", "Weight", "Machine", "What"] {
                row.col(|ui| {
                    ui.label(RichText::new(text).small().color(theme::palette(ui).weak));
                });
            }
        })
        .body(|body| {
            body.rows(26.0, rows.len(), |mut row| {
                let Some((event, who, line)) = rows.get(row.index()) else { return };
                let severity = event.kind.severity();
                row.col(|ui| {
                    ui.label(RichText::new(say::clock(event.time)).monospace());
                });
                row.col(|ui| {
                    badge::badge_ui(ui, say::severity_tone(severity), say::severity(severity), &event.kind.name());
                });
                row.col(|ui| {
                    ui.add(Label::new(who).truncate());
                });
                row.col(|ui| {
                    let p = theme::palette(ui);
                    let color = match severity {
                        Severity::Debug => p.weak,
                        Severity::Info => p.text,
                        severity => p.tone(say::severity_tone(severity)),
                    };
                    ui.add(Label::new(RichText::new(line).color(color)).truncate());
                });
            });
        });
}
