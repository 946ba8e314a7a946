//! Short notes at the lower right: what was done, with Undo where that is possible; what was refused.

use std::time::Duration;

use eframe::egui::{Align2, Area, Context, Id, Order, RichText, vec2};

use super::icon;
use crate::gui::action::{Action, Back, Undo};
use crate::gui::lang::t;
use crate::gui::theme::{self, Tone};

/// How long a note stays, in seconds of the window's clock.
const STAY: f64 = 8.0;
/// A refusal stays longer: it must be read.
const STAY_BAD: f64 = 20.0;
/// The most at a time.
const MOST: usize = 4;

#[derive(Debug)]
struct Toast {
    number: u64,
    tone: Tone,
    text: String,
    back: Option<Back>,
    until: f64,
}

/// The notes on show.
#[derive(Debug, Default)]
pub(crate) struct Toasts {
    list: Vec<Toast>,
    made: u64,
}

impl Toasts {
    /// Says a text. `now` is the window's clock in seconds.
    pub(crate) fn say(&mut self, now: f64, tone: Tone, text: impl Into<String>) {
        self.add(now, tone, text.into(), None);
    }

    /// Says what was done, with the way back, which is returned, too.
    pub(crate) fn undoable(&mut self, now: f64, text: impl Into<String>, undo: Undo) -> Back {
        let said = text.into();
        let back = Back { number: self.made + 1, said: said.clone(), undo };
        self.add(now, Tone::Good, said, Some(back.clone()));
        back
    }

    /// The way back was gone: the note has nothing more to offer.
    pub(crate) fn undone(&mut self, back: &Back) {
        self.list.retain(|t| t.number != back.number);
    }

    /// No way leads back any more; what was done is still said.
    pub(crate) fn without_undo(mut self) -> Self {
        self.list.iter_mut().for_each(|t| t.back = None);
        self
    }

    fn add(&mut self, now: f64, tone: Tone, text: String, back: Option<Back>) {
        // The same twice is said once, unless it has a way back: the two may lead to different things.
        self.list.retain(|t| t.back.is_some() || t.text != text);
        if self.list.len() == MOST {
            self.list.remove(0);
        }
        self.made += 1;
        let stay = if tone == Tone::Bad { STAY_BAD } else { STAY };
        self.list.push(Toast { number: self.made, tone, text, back, until: now + stay });
    }

    /// Draws them above everything but dialogs.
    pub(crate) fn show(&mut self, ctx: &Context, out: &mut Vec<Action>) {
        let now = ctx.input(|i| i.time);
        let Some(next) = self.list.iter().map(|t| t.until).reduce(f64::min) else { return };
        ctx.request_repaint_after(Duration::from_secs_f64((next - now).clamp(0.05, 60.0)));
        let mut closed = None;
        Area::new(Id::unique("toasts"))
            .anchor(Align2::RIGHT_BOTTOM, vec2(-16.0, -16.0))
            .order(Order::Foreground)
            .interactable(true)
            .show(ctx, |ui| {
                for toast in &self.list {
                    // A click is its own note's: when one before it goes, its place is another one's.
                    ui.push_id(toast.number, |ui| {
                        theme::callout_frame(ui, toast.tone).show(ui, |ui| {
                            ui.horizontal(|ui| {
                                icon::tone_ui(ui, toast.tone);
                                ui.scope(|ui| {
                                    ui.set_max_width(380.0);
                                    ui.label(RichText::new(&toast.text).color(theme::palette(ui).strong));
                                });
                                if let Some(back) = &toast.back
                                    && ui.button(t!("Undo")).clicked()
                                {
                                    out.push(Action::Undo(back.clone()));
                                    closed = Some(toast.number);
                                }
                                let dismiss = eframe::egui::Button::new(t!("Dismiss")).frame_when_inactive(false);
                                let dismiss =
                                    ui.add(dismiss).accessible_name(format!("{}: {}", t!("Dismiss"), toast.text));
                                if dismiss.clicked() {
                                    closed = Some(toast.number);
                                }
                            });
                        });
                    });
                }
            });
        // Last: whoever clicks now means what was seen until now, not the note that takes its place.
        self.list.retain(|t| t.until > now && Some(t.number) != closed);
    }
}
