//! What is wrong: what was seen, what it means, what to do.

use bootyard_core::api::{Finding, Severity};
use eframe::egui::{RichText, Ui};

use super::icon;
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};

/// Longest sentence of a finding, in characters: it quotes clients.
const SENTENCE: usize = 400;

/// A finding over the width that is left.
pub(crate) fn finding_ui(ui: &mut Ui, finding: &Finding) {
    let tone = say::severity_tone(finding.severity);
    callout_ui(ui, tone, &clean_to(&finding.seen, SENTENCE), |ui| {
        if !finding.means.is_empty() {
            ui.label(clean_to(&finding.means, SENTENCE));
        }
        if !finding.remedy.is_empty() {
            ui.label(RichText::new(clean_to(&finding.remedy, SENTENCE)).color(theme::palette(ui).strong));
        }
    });
}

/// A sentence with its tone, and what follows below it.
pub(crate) fn callout_ui<R>(ui: &mut Ui, tone: Tone, sentence: &str, more: impl FnOnce(&mut Ui) -> R) -> R {
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
                    ui.label(RichText::new(sentence).color(theme::palette(ui).strong));
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
