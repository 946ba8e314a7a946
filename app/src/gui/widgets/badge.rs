//! A state: icon, colour and word together.

use eframe::egui::accesskit::Role;
use eframe::egui::{Align2, Response, Sense, TextStyle, Ui, WidgetInfo, vec2};

use super::icon;
use crate::gui::theme::{self, Tone};

/// A badge of this tone and word; `meaning` is its tooltip.
pub(crate) fn badge_ui(ui: &mut Ui, tone: Tone, word: &str, meaning: &str) -> Response {
    let p = theme::palette(ui);
    let font = TextStyle::Body.resolve(ui.style());
    let galley = ui.painter().layout_no_wrap(word.to_owned(), font.clone(), p.tone(tone));
    let size = vec2(theme::ICON + 6.0 + galley.size().x, galley.size().y.max(theme::ICON));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let mut icon_rect = rect;
    icon_rect.set_width(theme::ICON);
    icon::paint_tone(ui.painter(), icon_rect, tone, p.tone(tone), p.ground);
    ui.painter().text(rect.left_center() + vec2(theme::ICON + 6.0, 0.0), Align2::LEFT_CENTER, word, font, p.tone(tone));
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, word));
    if meaning.is_empty() { response } else { response.on_hover_text(meaning) }
}
