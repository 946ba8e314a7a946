//! Text fields and buttons that always have a name.

use eframe::egui::{Button, Response, RichText, TextEdit, Ui, vec2};

use crate::gui::action::UiCommand;
use crate::gui::say;
use crate::gui::theme;

/// A label above a field of this width.
pub(crate) fn text_field_ui(ui: &mut Ui, label: &str, text: &mut String, hint: &str, width: f32) -> Response {
    let name = ui.label(RichText::new(label).color(theme::palette(ui).weak));
    ui.add(TextEdit::singleline(text).hint_text(hint.to_owned()).desired_width(width).margin(vec2(8.0, 5.0)))
        .labelled_by(name.id)
}

/// The one action of a screen or dialog.
pub(crate) fn primary_button_ui(ui: &mut Ui, enabled: bool, text: &str) -> Response {
    let p = theme::palette(ui);
    let button =
        if enabled { Button::new(RichText::new(text).color(p.on_accent)).fill(p.accent) } else { Button::new(text) };
    ui.add_enabled(enabled, button.min_size(vec2(88.0, 28.0)))
}

/// An action that takes something away.
pub(crate) fn danger_button_ui(ui: &mut Ui, text: &str) -> Response {
    let p = theme::palette(ui);
    let tone = p.tone(theme::Tone::Bad);
    ui.add(
        Button::new(RichText::new(text).color(p.strong))
            .fill(p.fill(theme::Tone::Bad))
            .stroke((1.0, tone))
            .min_size(vec2(88.0, 28.0)),
    )
}

/// A command's button, with its key in the tooltip.
pub(crate) fn command_button_ui(ui: &mut Ui, command: UiCommand) -> Response {
    let mut tooltip = command.tooltip().to_owned();
    if let Some(shortcut) = command.shortcut() {
        tooltip.push_str(&format!(" ({})", say::shortcut(ui.ctx(), &shortcut)));
    }
    ui.button(command.text()).on_hover_text(tooltip)
}

/// The same of a command that may be able to do nothing now, and says why.
pub(crate) fn command_or_why_ui(ui: &mut Ui, command: UiCommand, why: Option<&str>) -> Response {
    match why {
        None => command_button_ui(ui, command),
        Some(why) => ui.add_enabled(false, Button::new(command.text())).on_disabled_hover_text(why),
    }
}

/// Weak text in one line, cut where the room ends.
pub(crate) fn weak_ui(ui: &mut Ui, text: impl Into<String>) -> Response {
    let text = RichText::new(text.into()).color(theme::palette(ui).weak);
    ui.add(eframe::egui::Label::new(text).truncate())
}

/// The name of a fact, beside its value; never cut.
pub(crate) fn fact_ui(ui: &mut Ui, name: &str) {
    let text = RichText::new(name).color(theme::palette(ui).weak);
    ui.add(eframe::egui::Label::new(text).extend());
}

/// A section's heading.
pub(crate) fn section_ui(ui: &mut Ui, text: &str) {
    ui.add_space(theme::SECTION / 2.0);
    heading_ui(ui, text);
}

/// The same without the room above.
pub(crate) fn heading_ui(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).size(theme::TITLE).color(theme::palette(ui).strong));
}
