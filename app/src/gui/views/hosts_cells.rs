//! The cells of the machines' table that are more than a text, and a row's menu.

use bootyard_core::api::{Finding, HostView, Severity, Stage};
use eframe::egui::{Button, Label, Modifiers, RichText, TextStyle, Ui};
use jiff::Timestamp;

use super::{View, maintenance};
use crate::gui::action::{Screen, UiCommand};
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, weak_ui};
use crate::gui::widgets::{finding, progress};

/// The name, which opens the machine; returns the modifiers of a click. A machine without a name shows its model where a column
/// of its own has the MAC (`beside_mac`).
pub(super) fn name_ui(ui: &mut Ui, host: &HostView, name: &str, beside_mac: bool) -> Option<Modifiers> {
    let p = theme::palette(ui);
    ui.spacing_mut().button_padding.x = 0.0;
    let text = if say::is_named(host) {
        RichText::new(name).color(p.strong)
    } else if !beside_mac {
        RichText::new(name).color(p.strong).text_style(TextStyle::Monospace)
    } else if let Some(model) = say::host_model(host) {
        RichText::new(model).color(p.text)
    } else {
        RichText::new("No name yet").color(p.weak)
    };
    let response = ui.add(Button::new(text).frame(false).truncate());
    let mut about: Vec<String> = Vec::new();
    about.extend(say::host_model(host));
    about.extend(host.serial.as_ref().map(|s| format!("serial {}", say::clean(s))));
    about.push("Click to open".into());
    let response = response.on_hover_text(about.join(", "));
    response.clicked().then(|| ui.input(|i| i.modifiers))
}

/// The same commands as below the table, and what can be copied.
pub(super) fn row_menu_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    if ui.button("Open").clicked() {
        view.show(Screen::Host(host.id));
    }
    for command in
        [UiCommand::Assign, UiCommand::AssignLocal, UiCommand::AssignWait, UiCommand::Rename, UiCommand::Forget]
    {
        if command_button_ui(ui, command).clicked() {
            view.run(command);
        }
    }
    maintenance::items_ui(ui, view, host);
    ui.separator();
    if ui.button("Copy MAC").clicked() {
        ui.ctx().copy_text(say::host_mac(host));
    }
    if let Some(ip) = host.ip
        && ui.button("Copy address").clicked()
    {
        ui.ctx().copy_text(ip.to_string());
    }
}

/// What goes on: what is wrong first, then what grows, then what it does.
pub(super) fn now_ui(ui: &mut Ui, host: &HostView, now: Timestamp) {
    let silent = say::is_silent(host, now);
    let worst = finding::worst(&host.findings);
    let stopped = |f: &Finding| f.severity == Severity::Error || host.stage == Stage::Failed;
    let activity = host.activity.as_deref().map(say::clean).unwrap_or_default();
    match (worst, &host.progress) {
        (Some((worst, tone)), progress) if stopped(worst) || progress.is_none() => finding_line_ui(ui, worst, tone),
        // A session has no end to reach: a bar would stay empty.
        (_, Some(p)) if p.total == 0 => {
            let target = activity.starts_with("iqn.").then(|| activity.rsplit(':').next()).flatten();
            let what = target.map_or_else(|| activity.clone(), |disk| format!("Disk {disk}"));
            weak_ui(ui, format!("{what}: {}", say::traffic(p, silent)));
        }
        (_, Some(p)) => {
            ui.add_space(0.0);
            progress::progress_ui(ui, p, say::stage_tone(host.stage), &activity);
        }
        _ => match &host.boot_problem {
            Some(problem) => {
                let text = RichText::new(say::sentence(problem)).color(theme::palette(ui).tone(Tone::Warn));
                ui.add(Label::new(text).truncate());
            }
            None if activity.is_empty() && host.stage != Stage::Absent => {
                weak_ui(ui, say::stage_meaning(host.stage));
            }
            None => {
                weak_ui(ui, activity);
            }
        },
    }
}

fn finding_line_ui(ui: &mut Ui, finding: &Finding, tone: Tone) {
    let p = theme::palette(ui);
    let seen = say::sentence(&finding.seen);
    let text = RichText::new(seen.clone()).color(p.tone(tone));
    ui.add(Label::new(text).truncate().show_tooltip_when_elided(false)).on_hover_ui(|ui| {
        ui.label(RichText::new(&seen).color(theme::palette(ui).strong));
        ui.label(say::sentence(&finding.means));
        ui.label(say::sentence(&finding.remedy));
    });
}
