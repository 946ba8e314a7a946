//! The last boots of a machine below each other, in the same phases, and what took longer this time.

use std::sync::mpsc::Sender;

use bootyard_core::api::{HandleError, HostId, HostView, Reply, Stage};
use bootyard_core::hosts::{BootOutcome, BootRecord};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align2, Color32, CornerRadius, FontId, Rect, RichText, ScrollArea, Sense, Stroke, TextStyle, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};

use super::boots_model::{Boots as Model, Cell, Row, model, time};
use crate::gui::asking::{Asking, Told, read};
use crate::gui::clock;
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::weak_ui;
use crate::gui::widgets::{finding, icon};

/// Width of the column with the time, of the one with the total, and the least of the others.
const WHEN: f32 = 190.0;
const TOTAL: f32 = 104.0;
const PHASE: f32 = 96.0;
const HEIGHT: f32 = 38.0;

/// What is asked for again when it changes: whose, and how far it is.
type Of = (HostId, Stage, usize);

/// What the engine told.
#[derive(Debug, Default)]
pub(crate) struct Boots {
    asking: Asking<Of, Vec<BootRecord>>,
    told: Option<(HostId, Result<Model, String>)>,
}

impl Boots {
    /// Whether the boots of this machine are to be asked for now; then what comes goes into the sender.
    pub(crate) fn begin(&mut self, host: &HostView) -> Option<Sender<Told<Vec<BootRecord>>>> {
        let of = (host.id, host.stage, host.timeline.len());
        (self.asking.about() != Some(&of)).then(|| self.asking.begin(of))
    }

    /// Takes in what came.
    pub(crate) fn take(&mut self) {
        let Some(told) = self.asking.take() else { return };
        if let Some((host, _, _)) = self.asking.about() {
            self.told = Some((*host, told.map(|records| model(&records))));
        }
    }

    /// What the reply to [`bootyard_core::api::Command::Boots`] says.
    pub(crate) fn read(reply: Result<Reply, HandleError>) -> Told<Vec<BootRecord>> {
        read(reply, |reply| match reply {
            Reply::Boots { boots } => Some(boots),
            _ => None,
        })
    }

    /// The boots of this machine.
    pub(crate) fn ui(&self, ui: &mut Ui, host: HostId) {
        match self.told.as_ref().filter(|(of, _)| *of == host) {
            None => {
                weak_ui(ui, t!("Asking the engine…"));
            }
            Some((_, Err(error))) => finding::callout_ui(ui, Tone::Warn, error, |_| {}),
            Some((_, Ok(boots))) if boots.rows.is_empty() => {
                weak_ui(ui, t!("None yet. Each boot is remembered from its first packet on, the last twenty of them."));
            }
            Some((_, Ok(boots))) => boots_ui(ui, boots),
        }
    }
}

fn boots_ui(ui: &mut Ui, boots: &Model) {
    let p = theme::palette(ui);
    if !boots.verdict.is_empty() {
        ui.horizontal_top(|ui| {
            let tone = if boots.slower { Tone::Warn } else { Tone::Good };
            icon::tone_ui(ui, tone);
            ui.label(RichText::new(&boots.verdict).color(if boots.slower { p.tone(tone) } else { p.text }));
        });
        ui.add_space(4.0);
    }
    // A machine has a dozen phases at most.
    #[allow(clippy::cast_precision_loss)]
    let count = boots.phases.len().max(1) as f32;
    let phase = ((ui.available_width() - WHEN - TOTAL) / count).clamp(PHASE, 150.0);
    let width = WHEN + TOTAL + phase * count;
    ScrollArea::horizontal().id_salt("boots").auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        head_ui(ui, boots, width, phase);
        for (at, row) in boots.rows.iter().enumerate() {
            row_ui(ui, boots, row, at, (width, phase));
        }
    });
}

fn head_ui(ui: &mut Ui, boots: &Model, width: f32, phase: f32) {
    let (rect, _) = ui.allocate_exact_size(vec2(width, 24.0), Sense::hover());
    let (p, small) = (theme::palette(ui), TextStyle::Small.resolve(ui.style()));
    let mut x = rect.left();
    let titles = [(t!("Boot"), WHEN), (t!("In all"), TOTAL)].into_iter();
    for (text, wide) in titles.chain(boots.phases.iter().map(|of| (of.text(), phase))) {
        line_ui(ui, pos2(x, rect.center().y), text, &small, p.weak, wide - 6.0);
        x += wide;
    }
    ui.painter().hline(rect.x_range(), rect.bottom(), Stroke::new(1.0, p.line));
}

fn row_ui(ui: &mut Ui, boots: &Model, row: &Row, at: usize, (width, phase): (f32, f32)) {
    let (rect, response) = ui.allocate_exact_size(vec2(width, HEIGHT), Sense::hover());
    let (tone, word) = outcome(row);
    response.widget_info(|| WidgetInfo::labeled(Role::Row, true, label(boots, row, word)));
    let p = theme::palette(ui);
    let (small, body) = (TextStyle::Small.resolve(ui.style()), TextStyle::Body.resolve(ui.style()));
    if at % 2 == 1 {
        ui.painter().rect_filled(rect, CornerRadius::ZERO, p.stripe);
    }
    let (above, below) = (rect.top() + 12.0, rect.top() + 27.0);
    let mark = Rect::from_center_size(pos2(rect.left() + 8.0, above), Vec2::splat(12.0));
    icon::paint_tone(ui.painter(), mark, tone, p.tone(tone), p.ground);
    line_ui(ui, pos2(rect.left() + 20.0, above), &when(row), &body, p.strong, WHEN - 26.0);
    let about = if row.given.is_empty() { word.to_owned() } else { format!("{word} · {}", row.given) };
    line_ui(ui, pos2(rect.left() + 20.0, below), &about, &small, p.weak, WHEN - 26.0);
    let mut x = rect.left() + WHEN;
    cell_ui(ui, row.total.as_ref(), (x, above, below), TOTAL);
    x += TOTAL;
    for of in &boots.phases {
        cell_ui(ui, row.cells.get(of), (x, above, below), phase);
        x += phase;
    }
    response.on_hover_text(label(boots, row, word));
}

fn cell_ui(ui: &Ui, cell: Option<&Cell>, (x, above, below): (f32, f32, f32), width: f32) {
    let p = theme::palette(ui);
    let (small, body) = (TextStyle::Small.resolve(ui.style()), TextStyle::Body.resolve(ui.style()));
    let Some(cell) = cell else {
        line_ui(ui, pos2(x, above), "–", &body, p.weak, width);
        return;
    };
    let tone = match (cell.failed, cell.slower) {
        (true, _) => Some(Tone::Bad),
        (_, true) => Some(Tone::Warn),
        _ => None,
    };
    if let Some(tone) = tone {
        let ground = Rect::from_min_max(pos2(x - 4.0, above - 10.0), pos2(x + width - 8.0, below + 9.0));
        ui.painter().rect_filled(ground, CornerRadius::same(4), p.wash(tone));
    }
    let color = tone.map_or(p.text, |tone| p.tone(tone));
    line_ui(ui, pos2(x, above), &time(cell.millis), &body, color, width - 8.0);
    let note = note(cell);
    line_ui(ui, pos2(x, below), &note, &small, if tone.is_some() { color } else { p.weak }, width - 8.0);
}

/// What is said below a time: that it failed, what is usual where it took longer, what was moved.
fn note(cell: &Cell) -> String {
    match cell.usual.filter(|_| cell.slower) {
        _ if cell.failed => t!("failed").to_owned(),
        Some(usual) => t!("usually {usual}", usual = time(usual)),
        None if cell.bytes > 0 => say::bytes(cell.bytes),
        None if cell.retries > 0 => crate::gui::lang::count!(cell.retries, "{n} repeat", "{n} repeats"),
        None => String::new(),
    }
}

/// One line, cut where the room ends.
fn line_ui(ui: &Ui, at: eframe::egui::Pos2, text: &str, font: &FontId, color: Color32, width: f32) {
    use eframe::egui::text::{LayoutJob, TextFormat, TextWrapping};
    let format = TextFormat { font_id: font.clone(), color, ..TextFormat::default() };
    let mut job = LayoutJob::single_section(text.to_owned(), format);
    job.wrap = TextWrapping::truncate_at_width(width.max(1.0));
    let galley = ui.painter().layout_job(job);
    let rect = Align2::LEFT_CENTER.anchor_size(at, galley.size());
    ui.painter().galley(rect.min, galley, color);
}

fn outcome(row: &Row) -> (Tone, &'static str) {
    match row.outcome {
        BootOutcome::Arrived => (Tone::Good, t!("Arrived")),
        BootOutcome::Failed => (Tone::Bad, t!("Failed")),
        BootOutcome::Underway if row.given_up => (Tone::Quiet, t!("Given up")),
        BootOutcome::Underway => (Tone::Busy, t!("Under way")),
    }
}

/// `14:03:07`, with the day where that is another one.
fn when(row: &Row) -> String {
    let (began, today) = (row.began.to_zoned(clock::zone()), clock::now().to_zoned(clock::zone()));
    let form = if began.date() == today.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    began.strftime(form).to_string()
}

/// The row in a sentence.
fn label(boots: &Model, row: &Row, word: &str) -> String {
    let mut parts = vec![format!("{}, {word}", when(row))];
    if !row.given.is_empty() {
        parts.push(row.given.clone());
    }
    let said = |name: &str, cell: &Cell| {
        let usual =
            cell.usual.map(|usual| format!(", {}", t!("usually {usual}", usual = time(usual)))).unwrap_or_default();
        let failed = if cell.failed { format!(", {}", t!("failed")) } else { String::new() };
        format!("{name}: {}{usual}{failed}", time(cell.millis))
    };
    parts.extend(row.total.as_ref().map(|total| said(t!("In all"), total)));
    parts.extend(boots.phases.iter().filter_map(|phase| Some(said(phase.text(), row.cells.get(phase)?))));
    parts.join("; ")
}
