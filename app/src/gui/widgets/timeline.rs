//! A boot as bars over time. In three parts, so that each can be tested: the model (steps to numbers), the layout (numbers to
//! rectangles), the paint.

use bootyard_core::api::{Finding, Stage, Step, StepState};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Label, Rangef, Rect, RichText, Sense, Shape, Stroke, TextStyle, Ui,
    WidgetInfo, pos2, vec2,
};
use jiff::Timestamp;

use super::icon;
use crate::gui::lang::{count, t};
use crate::gui::say;
use crate::gui::theme::{self, Tone};

/// A pause between two steps that is shown, in milliseconds.
const PAUSE: i64 = 500;
/// Narrower than this, a bar's end says its time alone.
const ROOMY: f32 = 720.0;
/// A rate over less time than this says nothing, in milliseconds.
const RATE_AFTER: i64 = 50;

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
    /// When its step began, by which it is named.
    of: Timestamp,
    /// Repetitions.
    retries: u32,
    /// When nothing came of it, from and to.
    gaps: Vec<(i64, i64)>,
    /// Nothing was heard between the step before and this one, from then on.
    pause: Option<i64>,
    /// What is wrong with it.
    said: Vec<(Tone, String)>,
}

impl Bar {
    /// Bytes a second, where that says something.
    fn rate(&self) -> Option<u64> {
        let millis = self.end - self.start;
        let millis = u64::try_from(millis).ok().filter(|_| millis >= RATE_AFTER && self.bytes > 0)?;
        self.bytes.saturating_mul(1000).checked_div(millis)
    }

    /// What is said at its end: its time, and with `room` what moved in it and what was in its way.
    fn told(&self, room: bool) -> String {
        let mut parts = vec![say::span(self.end - self.start)];
        if room && self.bytes > 0 {
            parts.push(say::bytes(self.bytes));
            parts.extend(self.rate().map(|rate| format!("{}/s", say::bytes(rate))));
        }
        if room && self.retries > 0 {
            parts.push(count!(self.retries, "{n} repeat", "{n} repeats"));
        }
        parts.join(", ")
    }

    /// Pauses within it and before it, in words.
    fn pauses(&self) -> Option<String> {
        let before =
            self.pause.map(|from| t!("nothing heard for {time} before it", time = say::span(self.start - from)));
        let within: i64 = self.gaps.iter().map(|(from, to)| to - from).sum();
        let within = (within > 0).then(|| t!("nothing came for {time} of it", time = say::span(within)));
        let all: Vec<String> = before.into_iter().chain(within).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// All bars and the span that they share.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    bars: Vec<Bar>,
    /// Milliseconds that the axis shows.
    span: i64,
}

/// Steps to bars, each with the findings that rest on an event of it. A step that goes on for long does not squeeze the others: the axis
/// ends a quarter after the last that ended.
pub(crate) fn model(steps: &[Step], findings: &[Finding], now: Timestamp) -> Model {
    let Some(zero) = steps.iter().map(|s| s.start).min() else { return Model::default() };
    let at = |t: Timestamp| say::millis_between(zero, t).max(0);
    let about = about(steps, findings);
    let mut before: Option<i64> = None;
    let bars: Vec<Bar> = steps
        .iter()
        .enumerate()
        .map(|(n, step)| Bar {
            stage: say::step(step),
            text: text(step),
            tone: match step.state {
                StepState::Active => Tone::Busy,
                StepState::Done => Tone::Good,
                StepState::Failed => Tone::Bad,
            },
            start: at(step.start),
            end: at(step.end.unwrap_or(now)).max(at(step.start)),
            open: step.end.is_none() && step.state == StepState::Active,
            bytes: step.bytes,
            of: step.start,
            retries: step.retries,
            gaps: step.gaps.iter().map(|(from, to)| (at(*from), at(*to))).collect(),
            pause: std::mem::replace(&mut before, step.end.map(&at)).filter(|end| at(step.start) - end >= PAUSE),
            said: about
                .iter()
                .filter(|(of, _)| *of == n)
                .map(|(_, finding)| (say::severity_tone(finding.severity), say::sentence(&finding.seen)))
                .collect(),
        })
        .collect();
    let ended = bars.iter().map(|b| if b.open { b.start } else { b.end }).max().unwrap_or(0);
    let all = bars.iter().map(|b| b.end).max().unwrap_or(0);
    Model { span: all.min(ended + ended / 4 + 2000).max(1), bars }
}

/// Which step each finding is about: the one in which the last event is that proves it, else the last that failed.
fn about<'f>(steps: &[Step], findings: &'f [Finding]) -> Vec<(usize, &'f Finding)> {
    let of = |finding: &'f Finding| {
        let seq = finding.events.last().copied();
        let by_event = seq.and_then(|seq| steps.iter().rposition(|step| step.seq > 0 && step.seq <= seq));
        let failed = || steps.iter().rposition(|step| step.state == StepState::Failed);
        Some((by_event.or_else(failed)?, finding))
    };
    findings.iter().filter_map(of).collect()
}

/// Where a bar stands on an axis of this width; at least two points wide.
pub(crate) fn place(bar: &Bar, span: i64, x: Rangef) -> Rangef {
    let (min, max) = (scale(bar.start, span, x), scale(bar.end, span, x));
    let max = max.max(min + 2.0);
    if max > x.max { Rangef::new((x.max - (max - min)).max(x.min), x.max) } else { Rangef::new(min, max) }
}

/// Draws it over the width that is left; the step that began at `chosen` is marked. Returns the place of a step that was clicked, and
/// its name.
pub(crate) fn timeline_ui(ui: &mut Ui, model: &Model, chosen: Option<Timestamp>) -> Option<(usize, String)> {
    let mut clicked = None;
    let p = theme::palette(ui);
    let full = ui.available_width();
    let room = full >= ROOMY;
    let text_width = if room { (full * 0.36).clamp(180.0, 400.0) } else { (full * 0.5).clamp(120.0, 260.0) };
    let end_width = if room { 220.0 } else { 76.0 };
    let small = TextStyle::Small.resolve(ui.style());
    axis_ui(ui, model.span, full, text_width, end_width, &small);
    for (at, bar) in model.bars.iter().enumerate() {
        let (row, response) = ui.allocate_exact_size(vec2(full, 26.0), Sense::CLICK);
        let marked = chosen == Some(bar.of);
        let label = label(bar);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, marked, &label));
        let response = response.on_hover_ui(|ui| {
            ui.label(&label);
            ui.label(RichText::new(t!("Click for its packets")).color(p.weak));
        });
        if response.clicked() {
            clicked = Some((at, if bar.text.is_empty() { bar.stage.to_owned() } else { bar.text.clone() }));
        }
        let x = Rangef::new(row.left() + text_width, (row.right() - end_width).max(row.left() + text_width + 20.0));
        let range = place(bar, model.span, x);
        let painter = ui.painter();
        if marked || response.hovered() || response.has_focus() {
            painter.rect_filled(row, CornerRadius::same(3), if marked { p.chosen } else { p.stripe });
        }
        painter.hline(row.x_range(), row.bottom(), Stroke::new(1.0, p.stripe));
        let mark = Rect::from_center_size(pos2(row.left() + 8.0, row.center().y), vec2(12.0, 12.0));
        icon::paint_tone(painter, mark, bar.tone, p.tone(bar.tone), p.ground);
        painter.text(pos2(row.left() + 22.0, row.center().y), Align2::LEFT_CENTER, bar.stage, small.clone(), p.weak);
        let bar_rect = Rect::from_x_y_ranges(range, Rangef::new(row.top() + 7.0, row.bottom() - 7.0));
        if let Some(from) = bar.pause {
            let from = scale(from, model.span, x);
            let y = row.center().y;
            painter.extend(Shape::dashed_line(
                &[pos2(from, y), pos2(range.min, y)],
                Stroke::new(1.0, p.weak),
                3.0,
                3.0,
            ));
        }
        let fill = if bar.tone == Tone::Good { p.fill(bar.tone) } else { p.tone(bar.tone) };
        painter.rect_filled(bar_rect, CornerRadius::same(3), fill);
        for (from, to) in &bar.gaps {
            gap_ui(ui, bar_rect, Rangef::new(scale(*from, model.span, x), scale(*to, model.span, x)), fill);
        }
        let painter = ui.painter();
        if bar.open && bar.end > model.span {
            icon::paint_onward(painter, bar_rect.right_center(), p.tone(bar.tone), p.ground);
        }
        let right = pos2(x.max + 10.0, row.center().y);
        let color = match bar.tone {
            Tone::Bad => p.tone(Tone::Bad),
            _ if bar.retries > 0 || !bar.gaps.is_empty() => p.tone(Tone::Warn),
            _ => p.text,
        };
        painter.text(right, Align2::LEFT_CENTER, bar.told(room), small.clone(), color);
        let stage_width = if room { 96.0 } else { 84.0 };
        let text_rect = Rect::from_x_y_ranges(Rangef::new(row.left() + stage_width, x.min - 8.0), row.y_range());
        let text = RichText::new(&bar.text).color(if bar.tone == Tone::Bad { p.tone(Tone::Bad) } else { p.text });
        ui.scope_builder(eframe::egui::UiBuilder::new().max_rect(text_rect), |ui| {
            ui.with_layout(eframe::egui::Layout::left_to_right(eframe::egui::Align::Center), |ui| {
                ui.add(Label::new(text).truncate());
            });
        });
        ui.advance_cursor_after_rect(row);
        if let Some(pauses) = bar.pauses().filter(|_| room) {
            note_ui(ui, Tone::Warn, &say::sentence(&pauses), p.weak);
        }
        for (tone, said) in &bar.said {
            note_ui(ui, *tone, said, p.tone(*tone));
        }
    }
    clicked
}

/// A step in a sentence.
fn label(bar: &Bar) -> String {
    let mut label = format!("{}: {}, {}", bar.stage, bar.text, bar.told(true));
    if let Some(pauses) = bar.pauses() {
        label.extend([", ", &pauses]);
    }
    label = match bar.tone {
        Tone::Bad => t!("{step}, failed", step = label),
        Tone::Busy => t!("{step}, goes on", step = label),
        _ => label,
    };
    for (_, said) in &bar.said {
        label.extend([". ", said]);
    }
    label
}

/// What is to be said of a step, below it.
fn note_ui(ui: &mut Ui, tone: Tone, text: &str, color: Color32) {
    ui.horizontal_top(|ui| {
        ui.add_space(22.0);
        icon::tone_ui(ui, tone);
        ui.add(Label::new(RichText::new(text).small().color(color)).wrap());
    });
}

/// A part of a bar in which nothing came: hollow, with a line through it.
fn gap_ui(ui: &Ui, bar: Rect, x: Rangef, fill: Color32) {
    let p = theme::palette(ui);
    let x = Rangef::new(x.min.max(bar.left()), x.max.max(x.min + 3.0).min(bar.right()));
    let rect = Rect::from_x_y_ranges(x, bar.y_range().expand(1.0));
    ui.painter().rect_filled(rect, CornerRadius::ZERO, p.ground);
    let y = rect.center().y;
    let line = [pos2(rect.left(), y), pos2(rect.right(), y)];
    ui.painter().extend(Shape::dashed_line(&line, Stroke::new(1.5, fill), 3.0, 3.0));
}

/// Where a time stands on an axis.
fn scale(at: i64, span: i64, x: Rangef) -> f32 {
    // Milliseconds of a boot are far below 2^24 parts of the axis.
    #[allow(clippy::cast_precision_loss)]
    let part = at.min(span) as f32 / span.max(1) as f32;
    x.min + part * x.span()
}

fn axis_ui(ui: &mut Ui, span: i64, full: f32, text_width: f32, end_width: f32, font: &FontId) {
    let p = theme::palette(ui);
    let (row, _) = ui.allocate_exact_size(vec2(full, 18.0), Sense::hover());
    let x = Rangef::new(row.left() + text_width, (row.right() - end_width).max(row.left() + text_width + 20.0));
    let step = tick(span);
    let mut at = 0;
    while at <= span {
        let px = scale(at, span, x);
        ui.painter().text(pos2(px, row.center().y), Align2::CENTER_CENTER, tick_text(at), font.clone(), p.weak);
        at += step;
    }
}

/// What the step says of itself; where that is a file or a target it stays as it is.
fn text(step: &Step) -> String {
    let text = say::quoted(&step.text, say::CLIENT_TEXT);
    match step.stage {
        Stage::Seen
        | Stage::Ipxe
        | Stage::Waiting
        | Stage::Script
        | Stage::OsStarted
        | Stage::Local
        | Stage::Running => say::capital(&text),
        _ => text,
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
        _ if at % 60_000 == 0 => format!("{} min", at / 60_000),
        _ => format!("{}:{:02} min", at / 60_000, at / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootyard_core::api::Stage;

    fn step(start: i64, end: Option<i64>, state: StepState) -> Step {
        let at = |s| Timestamp::from_second(1_767_225_600 + s).unwrap();
        Step {
            stage: Stage::Firmware,
            part: None,
            start: at(start),
            end: end.map(at),
            text: "snponly.efi".into(),
            state,
            ..Step::default()
        }
    }

    fn now(s: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + s).unwrap()
    }

    #[test]
    fn a_step_of_hours_leaves_the_seconds_before_it_readable() {
        let m = model(&[step(0, Some(8), StepState::Done), step(8, None, StepState::Active)], &[], now(7200));
        assert_eq!(m.span, 12_000);
        let x = Rangef::new(0.0, 120.0);
        assert_eq!(place(&m.bars[0], m.span, x), Rangef::new(0.0, 80.0));
        assert_eq!(place(&m.bars[1], m.span, x), Rangef::new(80.0, 120.0));
        assert_eq!(m.bars[1].end - m.bars[1].start, 7_192_000);
    }

    #[test]
    fn a_step_without_length_is_still_seen_inside_the_axis() {
        let m = model(&[step(0, Some(5), StepState::Done), step(5, Some(5), StepState::Failed)], &[], now(5));
        let range = place(&m.bars[1], m.span, Rangef::new(10.0, 110.0));
        assert_eq!((range.min, range.max), (108.0, 110.0));
    }

    #[test]
    fn nothing_happened_yet_and_clocks_that_jump_are_no_trouble() {
        assert_eq!(model(&[], &[], now(0)), Model::default());
        let m = model(&[step(10, None, StepState::Active)], &[], now(0));
        assert_eq!(m.bars[0].end, 0);
        assert!(m.span >= 1);
        for span in [1, 999, 60_000, 86_400_000 * 30] {
            assert!(span / tick(span) <= 6);
        }
    }

    #[test]
    fn a_finding_stands_at_the_step_in_which_it_was_proven_and_pauses_are_told() {
        let with = |seq, step| Step { seq, ..step };
        let steps = [
            with(4, step(0, Some(5), StepState::Done)),
            with(
                9,
                Step {
                    retries: 2,
                    bytes: 3 << 20,
                    gaps: vec![(now(10), now(14))],
                    ..step(8, Some(20), StepState::Done)
                },
            ),
            with(12, step(20, Some(21), StepState::Failed)),
        ];
        let finding = |events: &[u64]| Finding { events: events.into(), ..crate::gui::tests::sample::trouble() };
        let m = model(&steps, &[finding(&[3, 10]), finding(&[])], now(30));
        let said: Vec<usize> = m.bars.iter().map(|b| b.said.len()).collect();
        assert_eq!(said, [0, 1, 1], "by its event, and else at what failed");
        assert_eq!(m.bars[1].told(true), "12.0 s, 3.0 MiB, 256 KiB/s, 2 repeats");
        assert_eq!(m.bars[1].told(false), "12.0 s");
        let pauses = m.bars[1].pauses().unwrap();
        assert_eq!(pauses, "nothing heard for 3.0 s before it, nothing came for 4.0 s of it");
        assert!(label(&m.bars[2]).contains("failed. iPXE stopped"), "{}", label(&m.bars[2]));
    }
}
