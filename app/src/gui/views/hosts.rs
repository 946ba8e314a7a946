//! Home: every machine, how far it is, and what it gets.

use bootyard_core::api::{EngineState, HostId, HostView, Snapshot};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Button, Context, Id, Key, Layout, Margin, Modifiers, Panel, Popup, Rangef, Rect, RichText, ScrollArea,
    Sense, TextEdit, TextStyle, Ui, UiBuilder, WidgetInfo, vec2,
};
use egui_extras::{Column, TableBuilder, TableRow};

use super::hosts_cells::{commands_ui, name_ui, now_ui, row_menu_ui, section_line_ui, state_ui, two_lines_ui};
use super::hosts_model::{Chip, Choice, List, Row, Sort, Sum};
use super::seats_model::Plan;
use super::{View, seats};
use crate::gui::action::{Action, Screen, UiCommand};
use crate::gui::clock;
use crate::gui::lang::{count, t};
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme;
use crate::gui::widgets::assign::Pick;
use crate::gui::widgets::field::{command_button_ui, command_or_why_ui, primary_button_ui, weak_ui};
use crate::gui::widgets::{assign, icon, progress};

/// Rows that Page Up and Page Down move.
const PAGE: isize = 12;
/// In less room the filter stands below the choice of states.
const TWO_LINES: f32 = 760.0;
/// In a narrower table what a machine gets is left out, which its own screen shows, too.
const NARROW: f32 = 560.0;

/// What a person chose on this screen.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Filter, order, selection.
    pub(crate) choice: Choice,
    focus_filter: bool,
    scroll_to: Option<usize>,
    /// The seating plan is shown.
    plan: bool,
    /// The group whose plan a person chose, `Some(None)`: of no group.
    plan_of: Option<Option<String>>,
}

impl Hosts {
    /// Puts the cursor into the filter field at the next frame.
    pub(crate) fn find(&mut self) {
        self.focus_filter = true;
    }

    /// Shows the seating plan, or not.
    pub(crate) fn toggle_plan(&mut self) {
        self.plan = !self.plan;
    }

    /// Selects all that the filter shows.
    pub(crate) fn select_all(&mut self, shot: &Snapshot) {
        let shown = self.choice.list(shot, clock::now()).shown;
        self.choice.all(&shown);
    }

    /// The screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        self.choice.prune(view.shot, view.number);
        let list = self.choice.lines(view.shot, view.number, view.now);
        self.keys(ui.ctx(), view, &list);
        self.filter_ui(ui, view, &list);
        ui.add_space(2.0);
        if !self.choice.selected.is_empty() {
            Panel::bottom("selection")
                .frame(theme::card_frame(ui))
                .show_separator_line(false)
                .show(ui, |ui| self.selection_ui(ui, view));
        }
        if self.plan && !view.shot.hosts.is_empty() {
            self.plan_ui(ui, view, &list.shown);
        }
        if view.shot.hosts.is_empty() {
            empty_ui(ui, view);
        } else if list.rows.is_empty() {
            nothing_matches_ui(ui, &mut self.choice);
        } else {
            // The table's lines reach as far as its clip rectangle does: not into the bar of the selection.
            let room = ui.available_rect_before_wrap();
            ui.scope_builder(UiBuilder::new().max_rect(room), |ui| {
                ui.shrink_clip_rect(room.expand2(vec2(f32::from(theme::PAD), 0.0)));
                ui.spacing_mut().item_spacing.y = 0.0;
                theme::quiet_lines(ui);
                self.table_ui(ui, view, &list);
            });
        }
    }

    fn plan_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, shown: &[HostId]) {
        let width = ui.available_width();
        Panel::right("seats")
            .frame(theme::card_frame(ui).outer_margin(Margin { left: theme::PAD / 2, ..Margin::ZERO }))
            .show_separator_line(false)
            .default_size(width * 0.42)
            .size_range(220.0..=(width - 320.0).max(240.0))
            .show(ui, |ui| {
                let group = seats::shown_group(view.shot, self.plan_of.as_ref(), self.choice.cursor());
                let clicked = seats::seats_ui(ui, view, group.as_deref(), &self.choice.selected, &mut self.plan_of);
                if let Some((id, held)) = clicked {
                    self.choice.click(shown, id, held.command, held.shift);
                }
            });
    }

    fn keys(&mut self, ctx: &Context, view: &mut View<'_>, list: &List) {
        let busy = ctx.memory(|m| m.top_modal_layer().is_some()) || Popup::is_any_open(ctx);
        if busy {
            return;
        }
        if ctx.text_edit_focused() {
            // From the filter straight into the rows.
            let into = ctx.input_mut(|i| {
                i.consume_key(Modifiers::NONE, Key::ArrowDown) || i.consume_key(Modifiers::NONE, Key::Enter)
            });
            if into && ctx.memory(|m| m.has_focus(filter_id())) {
                ctx.memory_mut(|m| m.surrender_focus(filter_id()));
                self.step(list, 0, false);
            }
            return;
        }
        self.seat_keys(ctx, view);
        let steps = [
            (Key::ArrowDown, 1),
            (Key::ArrowUp, -1),
            (Key::PageDown, PAGE),
            (Key::PageUp, -PAGE),
            (Key::Home, isize::MIN / 2),
            (Key::End, isize::MAX / 2),
        ];
        if ctx.memory(|m| m.focused().is_none()) {
            for (key, by) in steps {
                for (modifiers, extend) in [(Modifiers::SHIFT, true), (Modifiers::NONE, false)] {
                    if ctx.input_mut(|i| i.consume_key(modifiers, key)) {
                        self.step(list, by, extend);
                    }
                }
            }
            for (key, open) in [(Key::ArrowLeft, false), (Key::ArrowRight, true)] {
                if ctx.input_mut(|i| i.consume_key(Modifiers::NONE, key)) {
                    let of_cursor = |sum: &&Sum| self.choice.cursor().is_some_and(|id| sum.machines.contains(&id));
                    if let Some(sum) = list.sections.iter().find(of_cursor) {
                        self.choice.fold(&sum.section, open);
                    }
                }
            }
            if let Some(id) = self.choice.cursor()
                && ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Enter))
            {
                view.show(Screen::Host(id));
            }
        }
        if !self.choice.selected.is_empty() && ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
            self.choice.selected.clear();
        }
    }

    fn step(&mut self, list: &List, by: isize, extend: bool) {
        self.scroll_to = self.choice.step(&list.shown, by, extend).map(|at| list.line_of(at));
    }

    /// Alt with an arrow moves the machine under the cursor in its plan.
    fn seat_keys(&mut self, ctx: &Context, view: &mut View<'_>) {
        if !self.plan {
            return;
        }
        let steps =
            [(Key::ArrowUp, (-1, 0)), (Key::ArrowDown, (1, 0)), (Key::ArrowLeft, (0, -1)), (Key::ArrowRight, (0, 1))];
        for (key, (rows, columns)) in steps {
            if let Some(id) = self.choice.cursor()
                && ctx.input_mut(|i| i.consume_key(Modifiers::ALT, key))
            {
                let group = targets::host(view.shot, id).and_then(|h| h.group.clone());
                let plan = Plan::of(view.shot, group.as_deref());
                seats::send(view, plan.step(view.shot, id, rows, columns));
            }
        }
    }

    fn filter_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, list: &List) {
        // Beside each other where there is room for both.
        if ui.available_width() < TWO_LINES {
            ui.horizontal_wrapped(|ui| self.chips_ui(ui, view.shot));
            ui.horizontal(|ui| self.find_ui(ui, view, list));
        } else {
            ui.horizontal(|ui| {
                self.chips_ui(ui, view.shot);
                self.find_ui(ui, view, list);
            });
        }
    }

    fn chips_ui(&mut self, ui: &mut Ui, shot: &Snapshot) {
        for chip in Chip::ALL {
            let n = shot.hosts.iter().filter(|h| chip.has(h)).count();
            let text = format!("{} {n}", chip.text());
            let button = Button::selectable(self.choice.chip == chip, text);
            if ui.add_enabled(n > 0 || chip == self.choice.chip || chip == Chip::All, button).clicked() {
                self.choice.chip = chip;
            }
        }
    }

    /// The filter, and what else stands at the right.
    fn find_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, list: &List) {
        let shot = view.shot;
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let hint = t!("Filter ({key})", key = say::shortcut(ui.ctx(), &filter_key()));
            let edit = TextEdit::singleline(&mut self.choice.filter)
                .id(filter_id())
                .hint_text(hint)
                .desired_width(240.0)
                .margin(vec2(8.0, 5.0));
            let response = ui.add(edit).accessible_name(t!("Filter machines"));
            if std::mem::take(&mut self.focus_filter) {
                response.request_focus();
            }
            if response.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
                self.choice.filter.clear();
                response.surrender_focus();
            }
            if !self.choice.filter.is_empty() {
                if ui.button(t!("Clear")).clicked() {
                    self.choice.filter.clear();
                }
                weak_ui(ui, t!("{n} of {all}", n = list.matching, all = shot.hosts.len()));
            } else if !shot.hosts.is_empty() {
                let plan = UiCommand::SeatingPlan;
                let button = Button::selectable(self.plan, plan.text());
                if ui.add(button).on_hover_text(format!("{} (S)", plan.tooltip())).clicked() {
                    view.run(plan);
                }
                if ui.available_width() > 190.0 && command_button_ui(ui, UiCommand::Explain).clicked() {
                    view.run(UiCommand::Explain);
                }
            }
        });
    }

    fn selection_ui(&self, ui: &mut Ui, view: &mut View<'_>) {
        let selected = self.choice.selected(view.shot);
        ui.horizontal_wrapped(|ui| {
            let text = count!(selected.len(), "{n} machine selected", "{n} machines selected");
            ui.label(RichText::new(text).color(theme::palette(ui).strong));
            ui.add_space(theme::GAP);
            let same = targets::same(view.shot, &selected, |h| h.boot.clone());
            if let Some(pick) = assign::assign_menu_ui(
                ui,
                view.shot,
                t!("Assign…"),
                same.as_ref(),
                110.0,
                t!("Assign the selected machines"),
            ) {
                view.give(selected.clone(), pick);
            }
            if let [only] = selected.as_slice()
                && ui.button(t!("Open")).on_hover_text(t!("Its timeline and what it told of itself (Enter)")).clicked()
            {
                view.show(Screen::Host(*only));
            }
            // Each of these is about all of them, and the first has a menu of its own here.
            let aside = [UiCommand::Assign, UiCommand::MachineSettings];
            for command in UiCommand::OF_MACHINES.into_iter().filter(|c| !aside.contains(c)) {
                if command_or_why_ui(ui, command, command.why_not(view.shot, &selected)).clicked() {
                    view.run(command);
                }
            }
            let hint = t!("Esc selects nothing, F1 has the keys");
            let font = TextStyle::Body.resolve(ui.style());
            let room = ui.painter().layout_no_wrap(hint.to_owned(), font, theme::palette(ui).weak).size().x;
            if ui.available_size_before_wrap().x > room {
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| weak_ui(ui, hint));
            }
        });
    }

    fn table_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, list: &List) {
        let columns = columns(ui.available_width());
        let span = ui.max_rect().x_range();
        let mut table = TableBuilder::new(ui)
            .id_salt(("hosts", columns.len()))
            .striped(true)
            .sense(Sense::CLICK)
            .auto_shrink([false, false])
            .cell_layout(Layout::left_to_right(Align::Center));
        for column in &columns {
            table = table.column(column.width(span.span()));
        }
        if let Some(row) = self.scroll_to.take() {
            table = table.scroll_to_row(row, None);
        }
        table.header(theme::HEADER, |mut row| self.header_ui(&mut row, &columns)).body(|body| {
            body.rows(theme::MACHINE_ROW, list.rows.len(), |mut row| match list.rows.get(row.index()) {
                Some(Row::Section(at)) => {
                    if let Some(sum) = list.sections.get(*at) {
                        self.section_ui(&mut row, view, sum, columns.len(), span);
                    }
                }
                Some(Row::Machine(at)) => {
                    if let Some(host) = view.shot.hosts.get(*at) {
                        self.row_ui(&mut row, view, host, &list.shown, &columns);
                    }
                }
                None => {}
            });
        });
    }

    fn header_ui(&mut self, row: &mut TableRow<'_, '_>, columns: &[Cell]) {
        for column in columns {
            row.col(|ui| {
                ui.spacing_mut().button_padding.x = 0.0;
                for (at, (text, sort)) in column.titles().into_iter().enumerate() {
                    if at > 0 {
                        ui.label(RichText::new("/").small().color(theme::palette(ui).weak));
                    }
                    self.title_ui(ui, text, sort);
                }
            });
        }
    }

    fn title_ui(&mut self, ui: &mut Ui, text: &str, sort: Sort) {
        let p = theme::palette(ui);
        let on = self.choice.sort == sort;
        let rich = RichText::new(text).small().color(if on { p.strong } else { p.weak });
        let response = ui.add(Button::new(if on { rich.underline() } else { rich }).frame(false));
        if on {
            let (at, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
            icon::paint_order(ui.painter(), at.center(), self.choice.descending, p.strong);
        }
        let tooltip = match (on, self.choice.descending) {
            (false, _) => t!("Sort by this"),
            (true, false) => t!("Sort by this, the other way round"),
            (true, true) => t!("Back to the order of first sight"),
        };
        if response.on_hover_text(tooltip).clicked() {
            self.choice.sort_by(sort);
        }
    }

    /// A section's line: its name, how its machines are, and how fast they load.
    fn section_ui(&mut self, row: &mut TableRow<'_, '_>, view: &mut View<'_>, sum: &Sum, columns: usize, span: Rangef) {
        let mut painted = None;
        for _ in 0..columns {
            row.col(|ui| {
                if painted.is_none() {
                    let (rect, clip) = (ui.max_rect(), ui.clip_rect());
                    let rect = Rect::from_x_y_ranges(span, rect.y_range());
                    let clip = Rect::from_x_y_ranges(span, clip.y_range());
                    painted = Some((ui.new_child(UiBuilder::new().max_rect(rect)), clip));
                }
            });
        }
        // After the cells, which have grounds of their own.
        if let Some((mut ui, clip)) = painted {
            ui.set_clip_rect(clip);
            section_line_ui(&ui, sum);
        }
        let all = sum.machines.iter().all(|id| self.choice.selected.contains(id));
        let response = row.response();
        response.widget_info(|| {
            let state = if sum.open { t!("open") } else { t!("closed") };
            let n = count!(sum.machines.len(), "{n} machine", "{n} machines");
            WidgetInfo::selected(Role::Row, true, all, format!("{}, {n}, {state}", sum.section.text()))
        });
        let response = response.on_hover_text(t!("Click to close or open; Ctrl-click selects its machines"));
        if response.secondary_clicked() || (response.clicked() && response.ctx.input(|i| i.modifiers.command)) {
            self.choice.all(&sum.machines);
        } else if response.clicked() {
            self.choice.fold(&sum.section, !sum.open);
        }
        let menu = Popup::context_menu(&response).id(Id::unique(("section-menu", &sum.section)));
        menu.show(|ui| commands_ui(ui, view, &sum.machines));
    }

    fn row_ui(
        &mut self,
        row: &mut TableRow<'_, '_>,
        view: &mut View<'_>,
        host: &HostView,
        shown: &[HostId],
        columns: &[Cell],
    ) {
        let selected = self.choice.selected.contains(&host.id);
        row.set_selected(selected);
        let name = say::host_name(host);
        let mut on_name = None;
        for column in columns {
            row.col(|ui| {
                // The machine's own wherever its row is: a menu that is open stays its menu, and the focus stays with it.
                let id = Id::unique(("machine-cell", host.id.0, *column));
                ui.scope_builder(UiBuilder::new().scope_id(id), |ui| {
                    let clicked = cell_ui(ui, view, host, &name, *column, columns.contains(&Cell::Mac));
                    on_name = on_name.or(clicked);
                });
            });
        }
        let response = row.response();
        response.widget_info(|| {
            let (state, boot) = (say::stage(host.stage), say::boot(&host.boot));
            let label = t!("{name}, {state}, gets {boot}", name = name, state = state, boot = boot);
            WidgetInfo::selected(Role::Row, true, selected, label)
        });
        if response.secondary_clicked() && !selected {
            self.choice.click(shown, host.id, false, false);
        }
        // Not the row's, whose next machine it would be about when the list moves.
        let menu = Popup::context_menu(&response).id(Id::unique(("machine-menu", host.id.0)));
        menu.show(|ui| row_menu_ui(ui, view, host, &self.choice.selected(view.shot)));
        let modifiers = response.ctx.input(|i| i.modifiers);
        if on_name == Some(Modifiers::NONE) || response.double_clicked() {
            view.show(Screen::Host(host.id));
        } else if response.clicked() || on_name.is_some() {
            self.choice.click(shown, host.id, modifiers.command, modifiers.shift);
        }
    }
}

/// A column of the table; most have two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cell {
    State,
    Machine,
    Mac,
    Address,
    Gets,
    Now,
    Boot,
}

/// The columns for which a table of this width has room; what the machine's own screen shows, too, goes first.
fn columns(width: f32) -> Vec<Cell> {
    use Cell::*;
    [(State, 0.0), (Machine, 0.0), (Mac, 900.0), (Address, 760.0), (Gets, NARROW), (Now, 0.0), (Boot, 1060.0)]
        .into_iter()
        .filter(|(_, least)| width >= *least)
        .map(|(cell, _)| cell)
        .collect()
}

impl Cell {
    /// What stands above it, and the order that a click makes.
    fn titles(self) -> Vec<(&'static str, Sort)> {
        match self {
            Self::State => vec![(t!("State"), Sort::Stage), (t!("since"), Sort::AtStage)],
            Self::Machine => vec![(t!("Machine"), Sort::Name), (t!("model"), Sort::Model)],
            Self::Mac => vec![("MAC", Sort::Mac), (t!("maker"), Sort::Maker)],
            Self::Address => vec![(t!("Address"), Sort::Address), (t!("firmware"), Sort::Firmware)],
            Self::Gets => vec![(t!("Gets"), Sort::Assignment)],
            Self::Now => vec![(t!("Now"), Sort::Now)],
            Self::Boot => vec![(t!("Here for"), Sort::Boot)],
        }
    }

    /// In a table of this width.
    fn width(self, table: f32) -> Column {
        let resizable = |w: f32| Column::initial(w).at_least(60.0).clip(true).resizable(true);
        match self {
            Self::State if table < NARROW => resizable(104.0),
            Self::Machine if table < NARROW => resizable(128.0),
            Self::Now if table < NARROW => Column::remainder().at_least(60.0).clip(true),
            Self::State => resizable(118.0),
            Self::Machine => resizable(190.0),
            Self::Mac => resizable(138.0),
            Self::Address => resizable(124.0),
            Self::Gets => resizable(192.0).at_least(120.0),
            Self::Now => Column::remainder().at_least(140.0).clip(true),
            Self::Boot => Column::exact(80.0).clip(true),
        }
    }
}

/// One cell; returns the modifiers of a click on the machine's name.
fn cell_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    host: &HostView,
    name: &str,
    column: Cell,
    beside_mac: bool,
) -> Option<Modifiers> {
    match column {
        Cell::State => state_ui(ui, host, view.now),
        Cell::Machine => return name_ui(ui, host, name, beside_mac),
        Cell::Mac => {
            let mac = RichText::new(say::host_mac(host)).monospace().color(theme::palette(ui).weak);
            two_lines_ui(ui, mac, host.vendor.as_deref().unwrap_or_default());
        }
        Cell::Address => {
            let address = RichText::new(host.ip.map(|ip| ip.to_string()).unwrap_or_default());
            two_lines_ui(ui, address, host.arch.map(say::arch).unwrap_or_default());
        }
        Cell::Gets => {
            let width = ui.available_width() - 4.0;
            let shown = say::boot(&host.boot);
            let label = t!("{name} gets {boot}", name = name, boot = shown);
            if let Some(pick) = assign::assign_menu_ui(ui, view.shot, &shown, Some(&host.boot), width, &label)
                && pick != Pick::Boot(host.boot.clone())
            {
                view.give(vec![host.id], pick);
            }
        }
        Cell::Now => now_ui(ui, view, host),
        Cell::Boot => {
            if let Some(began) = say::boot_began(host) {
                let text = say::seconds(view.since(began));
                weak_ui(ui, text).on_hover_text(t!("Its boot began at {time}", time = say::clock(began)));
            }
        }
    }
    None
}

fn filter_id() -> Id {
    Id::unique("hosts-filter")
}

fn filter_key() -> eframe::egui::KeyboardShortcut {
    UiCommand::Find.shortcut().unwrap_or(eframe::egui::KeyboardShortcut::new(Modifiers::COMMAND, Key::F))
}

fn nothing_matches_ui(ui: &mut Ui, choice: &mut Choice) {
    ui.add_space(48.0);
    ui.vertical_centered(|ui| {
        ui.heading(t!("No machine matches"));
        ui.label(t!("The filter and the chosen group leave none."));
        ui.add_space(theme::GAP);
        if ui.button(t!("Show all")).clicked() {
            choice.filter.clear();
            choice.chip = Chip::All;
        }
    });
}

/// No machine yet: what to do next depends on the engine.
fn empty_ui(ui: &mut Ui, view: &mut View<'_>) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add_space(72.0);
        ui.vertical_centered(|ui| match &view.shot.engine {
            EngineState::Running { .. } => {
                let on: Vec<String> = view.shot.networks.iter().map(|n| say::clean(&n.interface)).collect();
                ui.heading(t!("Power on a machine on {interfaces}", interfaces = on.join(t!(" or "))));
                ui.add_space(theme::GAP);
                ui.label(t!("Let it boot from the network (PXE, often F12 at power-on)."));
                ui.label(t!("It appears here with its first packet."));
            }
            EngineState::Starting => {
                progress::busy_ui(ui, progress::LARGE, t!("Starting"));
                ui.add_space(theme::GAP);
                ui.heading(t!("Starting"));
                ui.label(t!("Ports are opened, and other DHCP servers are looked for."));
            }
            EngineState::Stopped => {
                ui.heading(t!("Nothing is served yet"));
                ui.add_space(theme::GAP);
                ui.label(t!("Press Start, then power on a machine. It appears here with its first packet."));
                ui.add_space(theme::GAP);
                if primary_button_ui(ui, true, t!("Start serving")).clicked() {
                    view.push(Action::Run(UiCommand::Start));
                }
            }
            EngineState::Failed { .. } => {
                ui.heading(t!("The engine did not start"));
                ui.add_space(theme::GAP);
                ui.label(t!("The reason is above. Mend it, then try again."));
                ui.add_space(theme::GAP);
                if primary_button_ui(ui, true, t!("Try again")).clicked() {
                    view.push(Action::Run(UiCommand::Start));
                }
            }
        });
    });
}
