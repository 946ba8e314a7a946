//! A bar of something that grows, with what is known of it written into it.

use bootyard_core::api::Progress;
use eframe::egui::accesskit::Role;
use eframe::egui::{Align2, CornerRadius, Rect, Response, Sense, Spinner, TextStyle, Ui, WidgetInfo, vec2};

use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme::{self, Tone};

/// Height of a bar, in points.
const HEIGHT: f32 = 18.0;

/// Size of the wheel where nothing else is on the screen, in points.
pub(crate) const LARGE: f32 = 28.0;

/// A wheel that turns while nobody knows how long it takes. `name` is what is done, for screen readers.
pub(crate) fn busy_ui(ui: &mut Ui, size: f32, name: &str) -> Response {
    ui.add(Spinner::new().size(size)).accessible_name(name)
}

/// A bar over the width that is left. `name` is what grows, for screen readers and the tooltip.
pub(crate) fn progress_ui(ui: &mut Ui, progress: &Progress, tone: Tone, name: &str) -> Response {
    let p = theme::palette(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width().max(60.0), HEIGHT), Sense::hover());
    let corner = CornerRadius::same(4);
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, corner, p.raised);
    let part = say::fraction(progress);
    if let Some(part) = part {
        let filled = Rect::from_min_size(rect.min, vec2(rect.width() * part, rect.height()));
        painter.rect_filled(filled, corner, p.fill(tone));
    }
    let font = TextStyle::Small.resolve(ui.style());
    let text = fitting(&painter, progress, rect.width() - 12.0, &font);
    painter.text(rect.left_center() + vec2(6.0, 0.0), Align2::LEFT_CENTER, &text, font, p.strong);
    let all = say::progress(progress);
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ProgressIndicator, true, format!("{name}: {all}"));
        info.value = part.map(|v| f64::from(v) * 100.0);
        info
    });
    response.on_hover_text(if name.is_empty() { all } else { format!("{name}: {all}") })
}

/// As much of the text as fits: the rate goes before the total, the total before the time left.
fn fitting(painter: &eframe::egui::Painter, progress: &Progress, width: f32, font: &eframe::egui::FontId) -> String {
    let left = say::seconds_left(progress).map(|s| t!("{time} left", time = say::seconds(s)));
    let percent = say::fraction(progress).map(|f| format!("{:.0} %", f * 100.0));
    let full = say::progress(progress);
    let middle = match (&percent, &left) {
        (Some(percent), Some(left)) => format!("{percent}, {left}"),
        _ => full.clone(),
    };
    let short = percent.unwrap_or_else(|| say::bytes(progress.done));
    let fits = |text: &String| {
        painter.layout_no_wrap(text.clone(), font.clone(), eframe::egui::Color32::PLACEHOLDER).size().x <= width
    };
    [full, middle].into_iter().find(fits).unwrap_or(short)
}
