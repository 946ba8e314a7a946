//! Every command of the window by its name, with its key.

use std::path::PathBuf;

use bootyard_core::api::HostId;
use eframe::egui::{Button, Key, RichText, Ui, vec2};

use super::View;
use super::dialogs::title_ui;
use crate::gui::action::{Action, UiCommand};
use crate::gui::labs::{self, Way};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme;
use crate::gui::widgets::field::{text_field_ui, weak_ui};

/// The list. `meant` are the machines that a command would be about. What can do nothing now stands last, and says why.
pub(super) fn palette_ui(ui: &mut Ui, view: &mut View<'_>, filter: &mut String, meant: &[HostId], recent: &[PathBuf]) {
    title_ui(ui, t!("All commands"));
    let field =
        text_field_ui(ui, t!("Search"), filter, t!("Type a part of a command, Enter runs the first"), f32::INFINITY);
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    ui.add_space(4.0);
    let needle = filter.trim().to_lowercase();
    let fits =
        |c: &UiCommand| c.text().to_lowercase().contains(&needle) || c.tooltip().to_lowercase().contains(&needle);
    let mut list: Vec<(UiCommand, Option<&str>)> = UiCommand::ALL
        .into_iter()
        .filter(|c| *c != UiCommand::Palette && fits(c))
        .map(|c| (c, c.why_not(view.shot, meant)))
        .collect();
    list.sort_by_key(|(_, why)| why.is_some());
    let fits = |lab: &&PathBuf| {
        let said = t!("Open lab {lab}", lab = labs::name(lab)).to_lowercase();
        said.contains(&needle) || lab.display().to_string().to_lowercase().contains(&needle)
    };
    let labs: Vec<&PathBuf> = recent.iter().filter(fits).collect();
    let none = list.is_empty();
    if none && labs.is_empty() {
        weak_ui(ui, t!("No command matches."));
    }
    for (at, (command, why)) in list.into_iter().enumerate() {
        let p = theme::palette(ui);
        let key = command.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
        let button = Button::selectable(false, command.text())
            .shortcut_text(RichText::new(key).color(p.weak))
            .min_size(vec2(ui.available_width(), 26.0));
        let response = ui.add_enabled(why.is_none(), button).on_hover_text(command.tooltip());
        let response = response.on_disabled_hover_text(why.unwrap_or_default());
        if why.is_none() && (response.clicked() || (at == 0 && enter && !needle.is_empty())) {
            view.push(Action::CloseDialog);
            view.run(command);
        }
    }
    for (at, lab) in labs.into_iter().enumerate() {
        let text = t!("Open lab {lab}", lab = labs::name(lab));
        let button = Button::selectable(false, text).min_size(vec2(ui.available_width(), 26.0));
        let response = ui.add(button).on_hover_text(say::clean_to(&lab.display().to_string(), 200));
        if response.clicked() || (none && at == 0 && enter && !needle.is_empty()) {
            view.push(Action::CloseDialog);
            view.push(Action::OpenLab(lab.clone(), Way::Open));
        }
    }
}
