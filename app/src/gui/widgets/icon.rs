//! Icons, painted as shapes: no glyph font, no name that leaks to a screen reader. Each tone has its own shape, so that nobody
//! needs to tell colours apart.

use eframe::egui::epaint::PathShape;
use eframe::egui::{Color32, Painter, Pos2, Rect, Sense, Shape, Stroke, Ui, Vec2, pos2, vec2};

use crate::gui::theme::{self, Tone};

/// A tone's icon at the cursor. Silent: the text beside it says the same.
pub(crate) fn tone_ui(ui: &mut Ui, tone: Tone) {
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(theme::ICON), Sense::hover());
    paint_tone(ui.painter(), rect, tone, theme::palette(ui).tone(tone), theme::palette(ui).ground);
}

/// Paints it: ring, triangle, question, tick, exclamation, cross.
pub(crate) fn paint_tone(painter: &Painter, rect: Rect, tone: Tone, color: Color32, ground: Color32) {
    let (c, r) = (rect.center(), rect.width().min(rect.height()) / 2.0);
    let line = Stroke::new(1.6, ground);
    match tone {
        Tone::Quiet => {
            painter.circle_stroke(c, r - 2.5, Stroke::new(1.5, color));
        }
        Tone::Busy => {
            let s = r * 0.78;
            polygon(painter, &[c + vec2(-s * 0.7, -s), c + vec2(s, 0.0), c + vec2(-s * 0.7, s)], color);
        }
        Tone::Ask => {
            polygon(painter, &[c - vec2(0.0, r), c + vec2(r, 0.0), c + vec2(0.0, r), c - vec2(r, 0.0)], color);
            painter.circle_filled(c, r * 0.28, ground);
        }
        Tone::Good => {
            painter.circle_filled(c, r - 0.5, color);
            let points = vec![c + vec2(-r * 0.45, 0.0), c + vec2(-r * 0.1, r * 0.38), c + vec2(r * 0.48, -r * 0.35)];
            painter.add(Shape::line(points, line));
        }
        Tone::Warn => {
            let top = c - vec2(0.0, r * 0.9);
            polygon(painter, &[top, c + vec2(r, r * 0.8), c + vec2(-r, r * 0.8)], color);
            painter.line_segment([c + vec2(0.0, -r * 0.3), c + vec2(0.0, r * 0.2)], line);
            painter.circle_filled(c + vec2(0.0, r * 0.52), 0.9, ground);
        }
        Tone::Bad => {
            painter.circle_filled(c, r - 0.5, color);
            let d = r * 0.36;
            painter.line_segment([c + vec2(-d, -d), c + vec2(d, d)], line);
            painter.line_segment([c + vec2(-d, d), c + vec2(d, -d)], line);
        }
    }
}

fn polygon(painter: &Painter, points: &[Pos2], color: Color32) {
    painter.add(Shape::Path(PathShape::convex_polygon(points.to_vec(), color, Stroke::NONE)));
}

/// A small triangle that says that a menu opens.
pub(crate) fn paint_caret(painter: &Painter, center: Pos2, color: Color32) {
    let points =
        [pos2(center.x - 4.0, center.y - 2.0), pos2(center.x + 4.0, center.y - 2.0), pos2(center.x, center.y + 3.0)];
    polygon(painter, &points, color);
}

/// A small triangle beside the title of the column by which a table is sorted.
pub(crate) fn paint_order(painter: &Painter, center: Pos2, descending: bool, color: Color32) {
    let tip = if descending { 3.0 } else { -3.0 };
    let points = [center + vec2(-3.5, -tip), center + vec2(3.5, -tip), center + vec2(0.0, tip)];
    polygon(painter, &points, color);
}

/// A triangle beside what opens and closes: down while it is open, to the right while it is closed.
pub(crate) fn paint_fold(painter: &Painter, center: Pos2, open: bool, color: Color32) {
    if open {
        paint_caret(painter, center, color);
    } else {
        polygon(painter, &[center + vec2(-2.5, -4.0), center + vec2(3.0, 0.0), center + vec2(-2.5, 4.0)], color);
    }
}

/// Cuts a bar's right end into an arrow: it goes on beyond what is shown.
pub(crate) fn paint_onward(painter: &Painter, end: Pos2, color: Color32, ground: Color32) {
    painter.rect_filled(Rect::from_center_size(end, vec2(16.0, 14.0)), 0.0, ground);
    for at in [-14.0, -8.0, -2.0] {
        let tip = end + vec2(at + 8.0, 0.0);
        let line = vec![tip + vec2(-5.0, -5.0), tip, tip + vec2(-5.0, 5.0)];
        painter.add(Shape::line(line, Stroke::new(2.0, color)));
    }
}
