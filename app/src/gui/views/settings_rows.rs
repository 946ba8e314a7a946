//! One setting as it is drawn: name, field, what is wrong with it.

use bootyard_core::lab::{SettingValue, Settings};
use eframe::egui::{Align, Id, Key, Label, Layout, RichText, TextEdit, Ui, vec2};

use super::settings_fields::{Field, Form};
use super::settings_form::{Card, Drafts};
use crate::gui::lang::t;
use crate::gui::say::{clean, sentence};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::icon;

/// Width of the names.
const NAME: f32 = 200.0;
/// Width of the fields.
pub(super) const FIELD: f32 = 340.0;

/// A name beside what it names, which is given the name's id.
pub(super) fn labelled_ui(ui: &mut Ui, label: &str, tip: &str, content: impl FnOnce(&mut Ui, Id)) {
    ui.horizontal_top(|ui| {
        let row = Layout::left_to_right(Align::Center);
        let name = ui.allocate_ui_with_layout(vec2(NAME, 28.0), row, |ui| {
            ui.set_min_size(vec2(NAME, 28.0));
            let text = RichText::new(label).color(theme::palette(ui).weak);
            let name = ui.add(Label::new(text).wrap());
            if tip.is_empty() { name } else { name.on_hover_text(tip) }
        });
        let id = name.inner.id;
        ui.vertical(|ui| content(ui, id));
    });
}

/// A sentence below a field.
pub(super) fn problem_ui(ui: &mut Ui, text: &str, tone: Tone) {
    ui.horizontal_top(|ui| {
        ui.vertical(|ui| {
            ui.add_space(2.0);
            icon::tone_ui(ui, tone);
        });
        ui.add(Label::new(RichText::new(sentence(text)).color(theme::palette(ui).tone(tone))).wrap());
    });
}

/// Whether Enter was pressed in a field of this card, which then has lost the focus.
pub(super) fn entered(ui: &Ui) -> bool {
    let mark = ui.scope_id().with("entered");
    ui.ctx().data_mut(|data| data.remove_temp::<bool>(mark)).unwrap_or_default()
}

/// A setting.
pub(super) fn row_ui(ui: &mut Ui, drafts: &mut Drafts, settings: &Settings, card: &Card, field: &Field) {
    let mark = ui.scope_id().with("entered");
    match &field.form {
        Form::Flag => {
            labelled_ui(ui, "", "", |ui, _| {
                let written = settings.value(&card.place, field.key);
                let value = drafts.get(&card.place, field.key).map_or(written, |draft| draft.value.as_ref());
                let mut on = value == Some(&SettingValue::Flag(true));
                if ui.checkbox(&mut on, field.label).on_hover_text(field.tip).changed() {
                    let value = on.then_some(SettingValue::Flag(true));
                    drafts.put(settings, &card.place, field.key, on.to_string(), value);
                }
                notes_ui(ui, drafts, settings, card, field);
            });
        }
        Form::Words(words) => labelled_ui(ui, field.label, field.tip, |ui, _| {
            let written = settings.value(&card.place, field.key).map(SettingValue::shown);
            let drafted = drafts.get(&card.place, field.key).map(|draft| draft.value.as_ref().map(SettingValue::shown));
            let now = drafted.unwrap_or(written).unwrap_or_else(|| field.default.clone());
            let mut chosen = None;
            let mut list = |ui: &mut Ui| {
                for (word, name) in words {
                    if ui.radio(*word == now, *name).clicked() {
                        chosen = Some(*word);
                    }
                }
            };
            // Long names stand one below the other.
            match words.iter().any(|(_, name)| name.len() > 20) {
                true => list(ui),
                false => drop(ui.horizontal_wrapped(list)),
            }
            if let Some(word) = chosen {
                // What is so anyway is not written, unless it stands there.
                let stands = settings.value(&card.place, field.key).is_some() && !word.is_empty();
                let value = (word != field.default || stands).then(|| SettingValue::text(word));
                drafts.put(settings, &card.place, field.key, word.to_owned(), value);
            }
            notes_ui(ui, drafts, settings, card, field);
        }),
        Form::Text | Form::List | Form::Number | Form::Numbers | Form::Secret => {
            labelled_ui(ui, field.label, field.tip, |ui, name| {
                let written = settings.value(&card.place, field.key);
                let mut text = match drafts.get(&card.place, field.key) {
                    Some(draft) => draft.text.clone(),
                    None => written.map(SettingValue::shown).unwrap_or_default(),
                };
                let secret = field.form == Form::Secret;
                let hint = match (secret, written.is_some()) {
                    (true, true) => t!("Set; a new one replaces it").to_owned(),
                    (true, false) => t!("Not set").to_owned(),
                    (false, _) => clean(&field.default),
                };
                let edit = TextEdit::singleline(&mut text).hint_text(hint).password(secret).desired_width(FIELD);
                let response = ui.add(edit.margin(vec2(8.0, 5.0))).labelled_by(name).on_hover_text(field.tip);
                if response.has_focus() {
                    drafts.focused = Some((card.place.clone(), field.key.to_owned()));
                }
                if response.changed() {
                    // An emptied field of a secret that is set keeps it; there is a button to take it away.
                    if secret && text.is_empty() {
                        drafts.forget(&card.place, field.key);
                    } else {
                        let value = field.form.value(&text);
                        drafts.put(settings, &card.place, field.key, text, value);
                    }
                }
                if response.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter)) {
                    ui.ctx().data_mut(|data| data.insert_temp(mark, true));
                }
                notes_ui(ui, drafts, settings, card, field);
            });
        }
    }
}

/// What is to be said of a field: what is wrong with it, and that somebody else changed it.
fn notes_ui(ui: &mut Ui, drafts: &Drafts, settings: &Settings, card: &Card, field: &Field) {
    for (message, error) in drafts.problems(settings, card, Some(field.key)) {
        problem_ui(ui, &message, if error { Tone::Bad } else { Tone::Warn });
    }
    if let Some(now) = drafts.overtaken(settings, &card.place, field.key) {
        let now = if now.is_empty() { t!("nothing").to_owned() } else { clean(&now) };
        let text = t!("lab.toml was changed meanwhile and says {now}; Apply replaces that.", now = now);
        problem_ui(ui, &text, Tone::Warn);
    }
}
