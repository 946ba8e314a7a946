//! Every command of the window by its name, with its key.

use eframe::egui::{Button, Key, RichText, Ui, vec2};

use super::View;
use super::dialogs::title_ui;
use crate::gui::action::{Action, UiCommand};
use crate::gui::theme;
use crate::gui::widgets::field::{text_field_ui, weak_ui};

/// The list.
pub(super) fn palette_ui(ui: &mut Ui, view: &mut View<'_>, filter: &mut String) {
    title_ui(ui, "All commands");
    let field = text_field_ui(ui, "Search", filter, "Type a part of a command, Enter runs the first", f32::INFINITY);
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    ui.add_space(4.0);
    let needle = filter.trim().to_lowercase();
    let fits =
        |c: &UiCommand| c.text().to_lowercase().contains(&needle) || c.tooltip().to_lowercase().contains(&needle);
    let list: Vec<UiCommand> = UiCommand::ALL.into_iter().filter(|c| *c != UiCommand::Palette && fits(c)).collect();
    if list.is_empty() {
        weak_ui(ui, "No command matches.");
    }
    for (at, command) in list.iter().enumerate() {
        let p = theme::palette(ui);
        let key = command.shortcut().map(|s| ui.ctx().format_shortcut(&s)).unwrap_or_default();
        let button = Button::selectable(false, command.text())
            .shortcut_text(RichText::new(key).color(p.weak))
            .min_size(vec2(ui.available_width(), 26.0));
        let clicked = ui.add(button).on_hover_text(command.tooltip()).clicked();
        if clicked || (at == 0 && enter && !needle.is_empty()) {
            view.push(Action::CloseDialog);
            view.run(*command);
        }
    }
}
