//! The dialog that asks where packets or events are written to.

use eframe::egui::{Key, RichText, Ui};

use super::View;
use super::dialogs::title_ui;
use super::forms::{self, end_with_ui, path_ui};
use crate::gui::action::{Action, PickFor};
use crate::gui::lang::t;
use crate::gui::save::{Format, Save, SaveForm, What};
use crate::gui::theme;
use crate::gui::widgets::field::weak_ui;

/// Draws it.
pub(super) fn save_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut SaveForm) {
    title_ui(ui, &t!("Export {what}", what = form.what.count()));
    if let Some(all) = &form.part_of {
        ui.label(t!("What the filter shows, of {all}.", all = all));
    }
    let (name, pick) = match form.what {
        What::Packets(_) => ("boot", PickFor::SavePackets),
        What::Events(_) => ("events", PickFor::SaveEvents),
    };
    let hint = format!("/path/to/{name}.{}", form.format().extension());
    let field = path_ui(ui, view, t!("New file"), &mut form.path, &hint, pick);
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    ui.add_space(4.0);
    ui.label(RichText::new(t!("Format")).color(theme::palette(ui).weak));
    let now = form.format();
    for format in form.what.formats() {
        let (name, meaning) = about(*format, &form.what);
        ui.horizontal(|ui| {
            if ui.radio(now == *format, name).clicked() {
                form.format = Some(*format);
            }
            weak_ui(ui, meaning);
        });
    }
    weak_ui(ui, t!("For your eyes alone at first (mode 0600): it tells much of a network."));
    let made = forms::file(&form.path, t!("Say which file to write")).map(|to| {
        let over = form.agreed.as_deref() == Some(form.path.as_str());
        Action::Save(Save { what: form.what.clone(), format: now, to, over })
    });
    end_with_ui(ui, view, t!("Export"), enter, made);
}

fn about(format: Format, what: &What) -> (&'static str, &'static str) {
    match (format, what) {
        (Format::Pcapng, _) => ("pcapng", t!("For Wireshark; our events and findings are its comments")),
        (Format::Text, _) => (t!("Text"), t!("A line each, for people")),
        (Format::Json, What::Packets(_)) => ("JSON", t!("One array, with every field of every packet")),
        (Format::Json, What::Events(_)) => ("JSON", t!("An object a line, with every field")),
    }
}
