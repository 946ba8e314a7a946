//! A field for the error code on a machine's screen, and what it means.

use bootyard_core::api::HostView;
use bootyard_core::diagnose::codes;
use eframe::egui::{Id, RichText, Ui};

use super::field::text_field_ui;
use crate::gui::lang::t;
use crate::gui::say::sentence;
use crate::gui::theme;

/// The field for this machine's screen. What was typed is kept while the window is open.
pub(crate) fn decode_ui(ui: &mut Ui, host: &HostView) {
    let id = Id::unique(("code", host.id));
    let mut text = ui.data_mut(|data| data.get_temp::<String>(id)).unwrap_or_default();
    if text_field_ui(ui, t!("What does this code mean?"), &mut text, t!("4c0a6035, PXE-E53 or the whole line"), 320.0)
        .changed()
    {
        ui.data_mut(|data| data.insert_temp(id, text.clone()));
    }
    if text.trim().is_empty() {
        return;
    }
    let found = codes::read(&text, host.arch);
    if found.is_empty() {
        ui.label(RichText::new(t!("No code yet: give what the screen shows")).color(theme::palette(ui).weak));
    }
    for decoded in found {
        ui.label(sentence(&format!("{}: {}", decoded.code, decoded.meaning)));
        if !decoded.remedy.is_empty() {
            ui.label(RichText::new(sentence(&decoded.remedy)).color(theme::palette(ui).strong));
        }
    }
}
