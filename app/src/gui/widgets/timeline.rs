//! A boot as bars over time. In three parts, so that each can be tested: the model (steps to numbers), the layout (numbers to
//! rectangles), the paint.

use bootyard_core::api::{Step, StepState};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align2, CornerRadius, FontId, Label, Rangef, Rect, RichText, Sense, Stroke, TextStyle, Ui, WidgetInfo, pos2, vec2,
};
use jiff::Timestamp;

use super::icon;
use crate::gui::say;
use crate::gui::theme::{self, Tone};

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    stage: &'static str,
    text: String,
    tone: Tone,
    /// Milliseconds from the first step's start.
    start: i64,
    end: i64,
    /// Goes on: the bar is open at its end.
    open: bool,
    bytes: u64,
}

/// All bars and the span that they share.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    bars: Vec<Bar>,
    /// Milliseconds that the axis shows.
    span: i64,
}

/// Steps to bars. A step that goes on for long does not squeeze the others: the axis ends a quarter after the last that ended.
pub(crate) fn model(steps: &[Step], now: Timestamp) -> Model {
    let Some(zero) = steps.iter().map(|s| s.start).min() else { return Model::default() };
    let at = |t: Timestamp| say::millis_between(zero, t).max(0);
    let bars: Vec<Bar> = steps
        .iter()
        .map(|step| Bar {
            stage: say::stage(step.stage),
            text: say::clean(&step.text),
            tone: match step.state {
                StepState::Active => Tone::Busy,
                StepState::Done => Tone::Good,
                StepState::Failed => Tone::Bad,
            },
            start: at(step.start),
            end: at(step.end.unwrap_or(now)).max(at(step.start)),
            open: step.end.is_none() && step.state == StepState::Active,
            bytes: step.bytes,
        })
        .collect();
    let ended = bars.iter().map(|b| if b.open { b.start } else { b.end }).max().unwrap_or(0);
    let all = bars.iter().map(|b| b.end).max().unwrap_or(0);
    Model { span: all.min(ended + ended / 4 + 2000).max(1), bars }
}

/// Where a bar stands on an axis of this width; at least two points wide.
pub(crate) fn place(bar: &Bar, span: i64, x: Rangef) -> Rangef {
    // Milliseconds of a boot are far below 2^24 parts of the axis.
    #[allow(clippy::cast_precision_loss)]
    let at = |t: i64| x.min + (t.min(span) as f32 / span.max(1) as f32) * x.span();
    let (min, max) = (at(bar.start), at(bar.end));
    let max = max.max(min + 2.0);
    if max > x.max { Rangef::new((x.max - (max - min)).max(x.min), x.max) } else { Rangef::new(min, max) }
}

/// Draws it over the width that is left.
pub(crate) fn timeline_ui(ui: &mut Ui, model: &Model) {
    let p = theme::palette(ui);
    let full = ui.available_width();
    let (text_width, end_width) = ((full * 0.42).clamp(180.0, 400.0), 150.0);
    let small = TextStyle::Small.resolve(ui.style());
    axis_ui(ui, model.span, full, text_width, end_width, &small);
    for bar in &model.bars {
        let (row, response) = ui.allocate_exact_size(vec2(full, 26.0), Sense::hover());
        let time = say::span(bar.end - bar.start);
        let moved = if bar.bytes > 0 { format!(", {}", say::bytes(bar.bytes)) } else { String::new() };
        let state = match bar.tone {
            Tone::Bad => ", failed",
            Tone::Busy => ", goes on",
            _ => "",
        };
        response.widget_info(|| {
            WidgetInfo::labeled(Role::ListItem, true, format!("{}: {}, {time}{moved}{state}", bar.stage, bar.text))
        });
        let x = Rangef::new(row.left() + text_width, (row.right() - end_width).max(row.left() + text_width + 20.0));
        let range = place(bar, model.span, x);
        let painter = ui.painter();
        painter.hline(row.x_range(), row.bottom(), Stroke::new(1.0, p.stripe));
        let mark = Rect::from_center_size(pos2(row.left() + 8.0, row.center().y), vec2(12.0, 12.0));
        icon::paint_tone(painter, mark, bar.tone, p.tone(bar.tone), p.ground);
        painter.text(pos2(row.left() + 22.0, row.center().y), Align2::LEFT_CENTER, bar.stage, small.clone(), p.weak);
        let bar_rect = Rect::from_x_y_ranges(range, Rangef::new(row.top() + 7.0, row.bottom() - 7.0));
        painter.rect_filled(
            bar_rect,
            CornerRadius::same(3),
            if bar.tone == Tone::Good { p.fill(bar.tone) } else { p.tone(bar.tone) },
        );
        if bar.open && bar.end > model.span {
            icon::paint_onward(painter, bar_rect.right_center(), p.tone(bar.tone), p.ground);
        }
        let right = pos2(x.max + 10.0, row.center().y);
        let color = if bar.tone == Tone::Bad { p.tone(Tone::Bad) } else { p.text };
        painter.text(right, Align2::LEFT_CENTER, format!("{time}{moved}"), small.clone(), color);
        let text_rect = Rect::from_x_y_ranges(Rangef::new(row.left() + 96.0, x.min - 8.0), row.y_range());
        let text = RichText::new(&bar.text).color(if bar.tone == Tone::Bad { p.tone(Tone::Bad) } else { p.text });
        ui.scope_builder(eframe::egui::UiBuilder::new().max_rect(text_rect), |ui| {
            ui.with_layout(eframe::egui::Layout::left_to_right(eframe::egui::Align::Center), |ui| {
                ui.add(Label::new(text).truncate());
            });
        });
        ui.advance_cursor_after_rect(row);
    }
}

fn axis_ui(ui: &mut Ui, span: i64, full: f32, text_width: f32, end_width: f32, font: &FontId) {
    let p = theme::palette(ui);
    let (row, _) = ui.allocate_exact_size(vec2(full, 18.0), Sense::hover());
    let x = Rangef::new(row.left() + text_width, (row.right() - end_width).max(row.left() + text_width + 20.0));
    let step = tick(span);
    let mut at = 0;
    while at <= span {
        // As in `place`.
        #[allow(clippy::cast_precision_loss)]
        let px = x.min + (at as f32 / span as f32) * x.span();
        ui.painter().text(pos2(px, row.center().y), Align2::CENTER_CENTER, tick_text(at), font.clone(), p.weak);
        at += step;
    }
}

/// Milliseconds between ticks: at most six of a round size.
fn tick(span: i64) -> i64 {
    const ROUND: [i64; 12] =
        [100, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000];
    ROUND.into_iter().find(|r| span / r <= 6).unwrap_or_else(|| (span / 6).max(1))
}

fn tick_text(at: i64) -> String {
    match at {
        0 => "0".into(),
        1..1000 => format!("{at} ms"),
        1000..60_000 => format!("{} s", at / 1000),
        _ => format!("{} min", at / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootyard_core::api::Stage;

    fn step(start: i64, end: Option<i64>, state: StepState) -> Step {
        let at = |s| Timestamp::from_second(1_767_225_600 + s).unwrap();
        Step { stage: Stage::Firmware, start: at(start), end: end.map(at), text: "snponly.efi".into(), state, bytes: 0 }
    }

    fn now(s: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + s).unwrap()
    }

    #[test]
    fn a_step_of_hours_leaves_the_seconds_before_it_readable() {
        let m = model(&[step(0, Some(8), StepState::Done), step(8, None, StepState::Active)], now(7200));
        assert_eq!(m.span, 12_000);
        let x = Rangef::new(0.0, 120.0);
        assert_eq!(place(&m.bars[0], m.span, x), Rangef::new(0.0, 80.0));
        assert_eq!(place(&m.bars[1], m.span, x), Rangef::new(80.0, 120.0));
        assert_eq!(m.bars[1].end - m.bars[1].start, 7_192_000);
    }

    #[test]
    fn a_step_without_length_is_still_seen_inside_the_axis() {
        let m = model(&[step(0, Some(5), StepState::Done), step(5, Some(5), StepState::Failed)], now(5));
        let range = place(&m.bars[1], m.span, Rangef::new(10.0, 110.0));
        assert_eq!((range.min, range.max), (108.0, 110.0));
    }

    #[test]
    fn nothing_happened_yet_and_clocks_that_jump_are_no_trouble() {
        assert_eq!(model(&[], now(0)), Model::default());
        let m = model(&[step(10, None, StepState::Active)], now(0));
        assert_eq!(m.bars[0].end, 0);
        assert!(m.span >= 1);
        for span in [1, 999, 60_000, 86_400_000 * 30] {
            assert!(span / tick(span) <= 6);
        }
    }
}
