//! The pane with a machine's packets: a line each, what the chosen one says field by field, a filter, and the way into a file.
//!
//! It asks the engine while it is open: at once, and, while it follows, again when something happened, at most once a second.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use bootyard_core::api::{HostId, HostView, Step};
use bootyard_core::trace::decode::Field;
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Button, CollapsingHeader, Key, Label, Layout, Modifiers, Panel, RichText, ScrollArea, Sense, TextEdit, Ui,
    WidgetInfo, vec2,
};
use egui_extras::{Column, TableBuilder};

use super::View;
use crate::gui::action::{Action, Dialog, UiCommand};
use crate::gui::asking::{Asking, Told};
use crate::gui::lang::{count, t};
use crate::gui::packets::{Choice, Chosen, Kept, Line, OfStep, protocol_of};
use crate::gui::save::{SaveForm, What};
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, weak_ui};
use crate::gui::widgets::{finding, progress};
use crate::told;

/// Seconds between two looks while it follows.
const AGAIN: f64 = 1.0;
/// Rows that PageUp and PageDown move.
const PAGE: isize = 15;
const ROW: f32 = 22.0;

/// What a person chose in it, and what the engine gave.
#[derive(Debug)]
pub(crate) struct Packets {
    open: bool,
    host: Option<HostId>,
    /// With the window's clock and the snapshot's number then.
    asking: Asking<(f64, u64), Kept>,
    kept: Option<Arc<Kept>>,
    error: Option<String>,
    follow: bool,
    choice: Choice,
    /// The step whose protocol is to be chosen once the packets are there.
    narrow: Option<Step>,
    /// The places of those shown, and for which choice.
    shown: Vec<usize>,
    shown_for: Option<Choice>,
    /// The place of the one whose fields are shown.
    selected: Option<usize>,
    scroll_to: Option<usize>,
}

impl Default for Packets {
    fn default() -> Self {
        Self {
            open: false,
            host: None,
            asking: Asking::default(),
            kept: None,
            error: None,
            follow: true,
            choice: Choice::default(),
            narrow: None,
            shown: Vec::new(),
            shown_for: None,
            selected: None,
            scroll_to: None,
        }
    }
}

impl Packets {
    /// Shows it, or hides it.
    pub(crate) fn toggle(&mut self) {
        self.open = !self.open;
    }

    /// Shows it.
    pub(crate) fn show(&mut self) {
        self.open = true;
    }

    /// Whether the packets of this machine, whose screen is shown, are to be asked for now; then what comes goes into the sender.
    pub(crate) fn begin(&mut self, host: HostId, now: f64, seq: u64) -> Option<Sender<Told<Kept>>> {
        if self.host != Some(host) {
            // Of another machine: nothing of it is kept but how the pane is used.
            *self = Self { open: self.open, follow: self.follow, host: Some(host), ..Self::default() };
        }
        let due = self.asking.about().is_none_or(|(at, of)| self.follow && *of != seq && now - at >= AGAIN);
        (self.open && !self.asking.waits() && due).then(|| self.asking.begin((now, seq)))
    }

    /// Takes in what came.
    pub(crate) fn take(&mut self) {
        let Some(told) = self.asking.take() else { return };
        match told {
            Ok(kept) => {
                self.error = None;
                self.selected = self.selected.and_then(|at| {
                    let was = &self.kept.as_ref()?.lines.get(at)?.packet;
                    kept.lines.iter().position(|l| l.packet.time == was.time && l.packet.data == was.data)
                });
                if let Some(step) = self.narrow.take() {
                    self.choice.protocol = protocol_of(&step, &kept);
                }
                self.kept = Some(Arc::new(kept));
                self.shown_for = None;
                if self.follow && self.selected.is_none() {
                    self.scroll_to = Some(usize::MAX);
                }
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// When the step that is chosen began.
    pub(crate) fn step(&self) -> Option<jiff::Timestamp> {
        self.choice.step.as_ref().filter(|_| self.open).map(|step| step.start)
    }

    /// Shows the packets of this step, or of all again.
    pub(crate) fn choose(&mut self, step: &Step, text: String) {
        let chosen = OfStep::of(step, text);
        if self.open && self.choice.step.as_ref().is_some_and(|step| step.start == chosen.start) {
            (self.choice.step, self.choice.protocol) = (None, None);
        } else {
            self.open = true;
            let protocol = self.kept.as_ref().and_then(|kept| protocol_of(step, kept));
            // Packets that have not come yet are told from the others when they have.
            self.narrow = self.kept.is_none().then(|| step.clone());
            self.choice = Choice { step: Some(chosen), protocol, ..Choice::default() };
            self.selected = None;
            self.scroll_to = Some(0);
        }
    }

    /// Takes a step back, as Escape does; false where there is none.
    pub(crate) fn back(&mut self) -> bool {
        if !self.open || self.selected.take().is_some() {
            return self.open;
        }
        let step = self.choice.step.take().is_some();
        if step {
            self.choice.protocol = None;
        }
        step
    }

    /// The pane, at the lower end of what is left of the screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
        if !self.open {
            return;
        }
        self.renew(host);
        let most = (ui.available_height() - 120.0).max(160.0);
        Panel::bottom("packets")
            .resizable(true)
            .default_size(300.0_f32.min(most))
            .size_range(140.0..=most)
            .frame(theme::pane_frame(ui))
            .show(ui, |ui| {
                ui.set_min_height(ui.available_height());
                self.head_ui(ui, view, host);
                self.notes_ui(ui);
                self.body_ui(ui);
            });
    }

    /// What is shown follows what was chosen, what came, and the timeline.
    fn renew(&mut self, host: &HostView) {
        if let Some(step) = &self.choice.step {
            // A step that goes on ends later; one of a boot that is over is no step any more.
            let now = host.timeline.iter().find(|s| s.start == step.start);
            self.choice.step = now.map(|now| OfStep::of(now, step.text.clone()));
        }
        let Some(kept) = self.kept.clone() else { return };
        if self.shown_for.as_ref() != Some(&self.choice) {
            self.shown = self.choice.shown(&kept);
            self.shown_for = Some(self.choice.clone());
            self.selected = self.selected.filter(|at| self.shown.binary_search(at).is_ok());
        }
    }

    fn head_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
        let kept = self.kept.clone().unwrap_or_default();
        ui.horizontal(|ui| {
            ui.label(RichText::new(t!("Packets")).size(theme::TITLE).color(theme::palette(ui).strong));
            let all = Button::selectable(self.choice.protocol.is_none(), t!("All {n}", n = kept.lines.len()));
            if ui.add(all).clicked() {
                self.choice.protocol = None;
            }
            for (protocol, count) in kept.protocols().into_iter().take(7) {
                let chip = Button::selectable(self.choice.protocol == Some(protocol), format!("{protocol} {count}"));
                if ui.add(chip).clicked() {
                    self.choice.protocol = (self.choice.protocol != Some(protocol)).then_some(protocol);
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let close = ui.button(t!("Close")).accessible_name(t!("Close the packets"));
                if close.on_hover_text(key(ui, t!("Hide the packets"), UiCommand::Packets)).clicked() {
                    self.open = false;
                }
                let any = !self.shown.is_empty();
                let export = ui.add_enabled(any, Button::new(t!("Export…"))).accessible_name(t!("Export packets…"));
                let export =
                    export.on_hover_text(t!("Write what is shown to a file: for Wireshark, as text or as JSON"));
                if export.on_disabled_hover_text(t!("No packet is shown")).clicked() {
                    view.push(Action::Ask(Dialog::Save(self.save(host))));
                }
                let (text, name, tooltip) = match self.follow {
                    true => (t!("Pause"), t!("Pause packets"), t!("Leave the list as it is")),
                    false => (t!("Follow"), t!("Follow packets"), t!("Take in what comes, and show the newest")),
                };
                if ui.button(text).accessible_name(name).on_hover_text(tooltip).clicked() {
                    self.follow = !self.follow;
                    if self.follow {
                        self.asking.forget();
                        self.selected = None;
                    }
                }
                let edit = TextEdit::singleline(&mut self.choice.text)
                    .hint_text(t!("Filter"))
                    .desired_width(150.0)
                    .margin(vec2(8.0, 4.0));
                let field = ui.add(edit).accessible_name(t!("Filter packets"));
                if field.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
                    self.choice.text.clear();
                    field.surrender_focus();
                }
                if self.asking.waits() && self.kept.is_some() {
                    progress::busy_ui(ui, theme::ICON, t!("Asking for its packets"));
                }
            });
        });
    }

    fn save(&self, host: &HostView) -> SaveForm {
        let kept = self.kept.clone().unwrap_or_default();
        let part_of = (self.shown.len() < kept.lines.len()).then(|| {
            count!(kept.lines.len(), "{n} packet of {host}", "{n} packets of {host}", host = say::host_name(host))
        });
        SaveForm::new(What::Packets(Chosen { kept, which: self.shown.clone() }), part_of)
    }

    /// What is left out, and what is missing.
    fn notes_ui(&mut self, ui: &mut Ui) {
        if let Some(step) = &self.choice.step {
            let (n, step) = (self.shown.len(), &step.text);
            let text = count!(n, "{n} packet of the step {step}", "{n} packets of the step {step}", step = step);
            ui.horizontal(|ui| {
                ui.label(RichText::new(text).color(theme::palette(ui).strong));
                if ui.button(t!("Whole boot")).on_hover_text(t!("Every packet again (Esc)")).clicked() {
                    (self.choice.step, self.choice.protocol) = (None, None);
                }
            });
        }
        // With nothing to show they are said in its place.
        let missing = self.kept.iter().filter(|kept| !kept.lines.is_empty()).flat_map(|kept| &kept.missing);
        for note in missing {
            weak_ui(ui, say::sentence(note));
        }
        if let Some(error) = self.error.clone() {
            let mut again = false;
            finding::callout_ui(ui, Tone::Bad, &error, |ui| again = ui.button(t!("Try again")).clicked());
            if again {
                self.error = None;
                self.asking.forget();
            }
        }
    }

    fn body_ui(&mut self, ui: &mut Ui) {
        let Some(kept) = self.kept.clone() else {
            if self.error.is_none() {
                middle_ui(ui, |ui| {
                    progress::busy_ui(ui, progress::LARGE, t!("Asking for its packets"));
                    ui.label(t!("Asking for its packets"));
                });
            }
            return;
        };
        if kept.lines.is_empty() {
            middle_ui(ui, |ui| {
                for note in &kept.missing {
                    ui.label(say::sentence(note));
                }
            });
            return;
        }
        if self.shown.is_empty() {
            middle_ui(ui, |ui| {
                ui.label(t!("No packet matches"));
                if ui.button(t!("Show all")).clicked() {
                    self.choice = Choice::default();
                }
            });
            return;
        }
        self.keys(ui);
        let selected = self.selected.and_then(|at| kept.lines.get(at));
        if let Some(line) = selected {
            let most = (ui.available_width() - 420.0).max(220.0);
            Panel::right("packet-fields")
                .resizable(true)
                .default_size(400.0_f32.min(most))
                .size_range(220.0..=most)
                .frame(theme::pane_frame(ui))
                .show(ui, |ui| fields_ui(ui, line));
        }
        self.table_ui(ui, &kept);
    }

    fn keys(&mut self, ui: &Ui) {
        let ctx = ui.ctx();
        let busy = ctx.memory(|m| m.top_modal_layer().is_some() || m.focused().is_some());
        if busy || eframe::egui::Popup::is_any_open(ctx) {
            return;
        }
        let steps = [
            (Key::ArrowDown, 1),
            (Key::ArrowUp, -1),
            (Key::PageDown, PAGE),
            (Key::PageUp, -PAGE),
            (Key::Home, isize::MIN / 2),
            (Key::End, isize::MAX / 2),
        ];
        for (key, by) in steps {
            if ctx.input_mut(|i| i.consume_key(Modifiers::NONE, key)) {
                self.step_by(by);
            }
        }
    }

    fn step_by(&mut self, by: isize) {
        let last = self.shown.len().saturating_sub(1);
        let now = self.selected.and_then(|at| self.shown.binary_search(&at).ok());
        let row = match now {
            Some(row) => row.saturating_add_signed(by).min(last),
            None if by < 0 => last,
            None => 0,
        };
        self.selected = self.shown.get(row).copied();
        self.scroll_to = Some(row);
    }

    fn table_ui(&mut self, ui: &mut Ui, kept: &Kept) {
        ui.spacing_mut().item_spacing.y = 0.0;
        theme::quiet_lines(ui);
        let mut table = TableBuilder::new(ui)
            .id_salt(("packets", self.host.map(|host| host.0)))
            .striped(true)
            .sense(Sense::CLICK)
            .auto_shrink([false, false])
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(92.0))
            .column(Column::exact(36.0))
            .column(Column::initial(150.0).at_least(60.0).clip(true).resizable(true))
            .column(Column::initial(150.0).at_least(60.0).clip(true).resizable(true))
            .column(Column::exact(66.0).clip(true))
            .column(Column::remainder().at_least(120.0).clip(true));
        if let Some(row) = self.scroll_to.take() {
            table = table.scroll_to_row(row.min(self.shown.len().saturating_sub(1)), None);
        }
        let mut clicked = None;
        let table = table.header(theme::HEADER, |mut row| {
            for text in [t!("Time"), "", t!("From"), t!("To"), t!("Protocol"), t!("What")] {
                row.col(|ui| {
                    ui.label(RichText::new(text).small().color(theme::palette(ui).weak));
                });
            }
        });
        table.body(|body| {
            body.rows(ROW, self.shown.len(), |mut row| {
                let Some(at) = self.shown.get(row.index()).copied() else { return };
                let Some(line) = kept.lines.get(at) else { return };
                row.set_selected(self.selected == Some(at));
                cells_ui(&mut row, line);
                let response = row.response();
                let selected = self.selected == Some(at);
                response.widget_info(|| {
                    let label = told::packet_line(&line.packet, &line.decoded);
                    WidgetInfo::selected(Role::Row, true, selected, label)
                });
                if response.clicked() {
                    clicked = Some(at);
                }
            });
        });
        if let Some(at) = clicked {
            self.selected = (self.selected != Some(at)).then_some(at);
        }
    }
}

fn key(ui: &Ui, text: &str, command: UiCommand) -> String {
    command.shortcut().map_or_else(|| text.into(), |key| format!("{text} ({})", say::shortcut(ui.ctx(), &key)))
}

fn middle_ui(ui: &mut Ui, inner: impl FnOnce(&mut Ui)) {
    ui.add_space((ui.available_height() / 2.0 - 30.0).max(8.0));
    ui.vertical_centered(inner);
}

fn cells_ui(row: &mut egui_extras::TableRow<'_, '_>, line: &Line) {
    let Line { packet, decoded, .. } = line;
    row.col(|ui| {
        ui.label(RichText::new(say::clock_millis(packet.time)).monospace());
    });
    row.col(|ui| {
        weak_ui(
            ui,
            match packet.outgoing {
                Some(true) => t!("out"),
                Some(false) => t!("in"),
                None => "",
            },
        );
    });
    for end in [&decoded.from, &decoded.to] {
        row.col(|ui| {
            ui.add(Label::new(RichText::new(clean_to(end, 60)).monospace()).truncate());
        });
    }
    row.col(|ui| {
        ui.label(decoded.protocol);
    });
    row.col(|ui| {
        // What we say of it is as short as a word: the rest is beside it when it is chosen.
        let said = packet.comments.first().map(|c| c.split(' ').next().unwrap_or_default());
        let text = clean_to(&decoded.line, 300);
        let text = said.map_or(text.clone(), |said| format!("{text}  [{}]", clean_to(said, 40)));
        let p = theme::palette(ui);
        let color = if said.is_some() { p.strong } else { p.text };
        ui.add(Label::new(RichText::new(text).color(color)).truncate());
    });
}

/// Field by field, and what we say of it.
fn fields_ui(ui: &mut Ui, line: &Line) {
    let Line { packet, decoded, .. } = line;
    ui.horizontal(|ui| {
        ui.label(RichText::new(decoded.protocol).color(theme::palette(ui).strong));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let copy = ui.button(t!("Copy")).accessible_name(t!("Copy the packet's fields"));
            if copy.on_hover_text(t!("Every field as text")).clicked() {
                ui.ctx().copy_text(told::packet_lines(packet, decoded, true).join("\n"));
            }
        });
    });
    ScrollArea::vertical().id_salt("fields").auto_shrink([false, false]).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.spacing_mut().interact_size.y = 18.0;
        ui.add(Label::new(clean_to(&decoded.line, 400)).wrap());
        for comment in &packet.comments {
            let text = RichText::new(clean_to(comment, 600)).color(theme::palette(ui).tone(Tone::Busy));
            ui.add(Label::new(text).wrap().selectable(true));
        }
        ui.add_space(4.0);
        let last = decoded.fields.len().saturating_sub(1);
        for (at, field) in decoded.fields.iter().enumerate() {
            ui.push_id(at, |ui| {
                if field.fields.is_empty() {
                    // Below the names of those that can be opened.
                    ui.horizontal_top(|ui| {
                        ui.add_space(ui.spacing().indent);
                        field_ui(ui, field, false);
                    });
                } else {
                    field_ui(ui, field, at == last);
                }
            });
        }
    });
}

fn field_ui(ui: &mut Ui, field: &Field, open: bool) {
    let text = format!("{}: {}", clean_to(&field.name, 80), clean_to(&field.value, 400));
    if field.fields.is_empty() {
        ui.add(Label::new(text).wrap().selectable(true));
        return;
    }
    CollapsingHeader::new(text).default_open(open).show(ui, |ui| {
        for (at, part) in field.fields.iter().enumerate() {
            ui.push_id(at, |ui| field_ui(ui, part, true));
        }
    });
}

/// The button that shows them.
pub(super) fn button_ui(ui: &mut Ui, view: &mut View<'_>) {
    if command_button_ui(ui, UiCommand::Packets).clicked() {
        view.run(UiCommand::Packets);
    }
}
