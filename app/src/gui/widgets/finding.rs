//! What is wrong: what was seen, what it means, what to do.

use bootyard_core::api::{Command, Finding, FindingAction, HostId, Place, Severity};
use bootyard_core::diagnose;
use eframe::egui::{RichText, Ui};

use super::icon;
use crate::gui::action::{Action, Screen};
use crate::gui::lang::{count, t};
use crate::gui::say::{self, sentence};
use crate::gui::theme::{self, Tone};

/// A finding over the width that is left, with how sure it is, what proves it, and its button. `host`: the machine that it is about.
pub(crate) fn finding_ui(ui: &mut Ui, finding: &Finding, host: Option<HostId>, out: &mut Vec<Action>) {
    let tone = say::severity_tone(finding.severity);
    callout_ui(ui, tone, &finding.seen, |ui| {
        if !finding.means.is_empty() {
            ui.label(sentence(&finding.means));
        }
        if !finding.remedy.is_empty() {
            ui.label(RichText::new(sentence(&finding.remedy)).color(theme::palette(ui).strong));
        }
        ui.horizontal_wrapped(|ui| {
            if let Some((text, action)) = button(finding, host)
                && ui.button(text).clicked()
            {
                out.push(action);
            }
            ui.label(RichText::new(proof(finding)).color(theme::palette(ui).weak));
        });
    });
}

/// `likely · since 14:03:22 · events 12, 15`.
fn proof(finding: &Finding) -> String {
    let mut parts = vec![say::capital(diagnose::certainty(finding.certainty))];
    parts.extend(finding.since.map(|at| t!("since {time}", time = say::clock(at))));
    if !finding.events.is_empty() {
        let numbers: Vec<String> = finding.events.iter().map(ToString::to_string).collect();
        let list = numbers.join(", ");
        parts.push(count!(numbers.len(), "event {numbers}", "events {numbers}", numbers = list));
    }
    parts.join(" · ")
}

fn button(finding: &Finding, host: Option<HostId>) -> Option<(String, Action)> {
    let action = finding.action.as_ref()?;
    let (to, does) = match (action, host) {
        (FindingAction::Assign { to }, Some(host)) => (say::boot(to), Action::Assign(vec![host], to.clone())),
        (FindingAction::OtherFirmware, Some(host)) => {
            let said = t!("It gets another build of iPXE at its next boot").to_owned();
            (String::new(), Action::Send(Command::OtherFirmware { host }, said))
        }
        (FindingAction::StartDirectly { disk }, Some(host)) => {
            (String::new(), Action::StartDirectly(vec![host], disk.clone()))
        }
        (FindingAction::Show { place: Place::Network }, _) => (String::new(), Action::Show(Screen::Network)),
        (FindingAction::Show { place: Place::Images }, _) => (String::new(), Action::Show(Screen::Images)),
        (_, None) => return None,
    };
    Some((diagnose::action(action, &to), does))
}

/// A sentence, made harmless, with its tone, and what follows below it.
pub(crate) fn callout_ui<R>(ui: &mut Ui, tone: Tone, text: &str, more: impl FnOnce(&mut Ui) -> R) -> R {
    theme::callout_frame(ui, tone)
        .show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.horizontal_top(|ui| {
                ui.add_space(1.0);
                ui.vertical(|ui| {
                    ui.add_space(2.0);
                    icon::tone_ui(ui, tone);
                });
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 3.0;
                    ui.label(RichText::new(sentence(text)).color(theme::palette(ui).strong));
                    more(ui)
                })
                .inner
            })
            .inner
        })
        .inner
}

/// The worst finding's tone, for a mark in a row.
pub(crate) fn worst(findings: &[Finding]) -> Option<(&Finding, Tone)> {
    let worst = findings.iter().max_by_key(|f| f.severity)?;
    (worst.severity >= Severity::Warning).then(|| (worst, say::severity_tone(worst.severity)))
}
