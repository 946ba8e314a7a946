//! Home: every machine, how far it is, and what it gets.

use bootyard_core::api::{EngineState, HostId, HostView, Snapshot, Stage};
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Button, Context, Id, Key, Label, Layout, Modifiers, Panel, RichText, ScrollArea, Sense, TextEdit, Ui,
    UiBuilder, WidgetInfo, vec2,
};
use egui_extras::{Column, TableBuilder, TableRow};

use super::View;
use super::hosts_cells::{name_ui, now_ui, row_menu_ui};
use super::hosts_model::{Choice, Group, Sort};
use crate::gui::action::{Action, Screen, UiCommand};
use crate::gui::say;
use crate::gui::theme;
use crate::gui::widgets::field::{command_button_ui, primary_button_ui, weak_ui};
use crate::gui::widgets::{assign, badge};

/// Rows that Page Up and Page Down move.
const PAGE: isize = 15;

/// What a person chose on this screen.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Filter, order, selection.
    pub(crate) choice: Choice,
    focus_filter: bool,
    scroll_to: Option<usize>,
}

impl Hosts {
    /// Puts the cursor into the filter field at the next frame.
    pub(crate) fn find(&mut self) {
        self.focus_filter = true;
    }

    /// Selects all that the filter shows.
    pub(crate) fn select_all(&mut self, shot: &Snapshot) {
        let shown = ids(shot, &self.choice.rows(shot));
        self.choice.all(&shown);
    }

    /// The screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        self.choice.prune(view.shot);
        let rows = self.choice.rows(view.shot);
        let shown = ids(view.shot, &rows);
        self.keys(ui.ctx(), view, &shown);
        self.filter_ui(ui, view.shot, &shown);
        ui.add_space(2.0);
        if !self.choice.selected.is_empty() {
            Panel::bottom("selection")
                .frame(theme::card_frame(ui))
                .show_separator_line(false)
                .show(ui, |ui| self.selection_ui(ui, view));
        }
        if view.shot.hosts.is_empty() {
            empty_ui(ui, view);
        } else if rows.is_empty() {
            nothing_matches_ui(ui, &mut self.choice);
        } else {
            // The table's lines reach as far as its clip rectangle does: not into the bar of the selection.
            let room = ui.available_rect_before_wrap();
            ui.scope_builder(UiBuilder::new().max_rect(room), |ui| {
                ui.shrink_clip_rect(room.expand2(vec2(f32::from(theme::PAD), 0.0)));
                ui.spacing_mut().item_spacing.y = 0.0;
                theme::quiet_lines(ui);
                self.table_ui(ui, view, &rows, &shown);
            });
        }
    }

    fn keys(&mut self, ctx: &Context, view: &mut View<'_>, shown: &[HostId]) {
        let busy = ctx.memory(|m| m.top_modal_layer().is_some()) || eframe::egui::Popup::is_any_open(ctx);
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
                self.scroll_to = self.choice.step(shown, 0, false);
            }
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
        let focused = ctx.memory(|m| m.focused().is_some());
        for (key, by) in steps {
            if focused {
                break;
            }
            for (modifiers, extend) in [(Modifiers::SHIFT, true), (Modifiers::NONE, false)] {
                if ctx.input_mut(|i| i.consume_key(modifiers, key)) {
                    self.scroll_to = self.choice.step(shown, by, extend);
                }
            }
        }
        if !focused
            && let Some(id) = self.choice.cursor()
            && ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Enter))
        {
            view.show(Screen::Host(id));
        }
        if !self.choice.selected.is_empty() && ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
            self.choice.selected.clear();
        }
    }

    fn filter_ui(&mut self, ui: &mut Ui, shot: &Snapshot, shown: &[HostId]) {
        ui.horizontal(|ui| {
            for group in Group::ALL {
                let n = shot.hosts.iter().filter(|h| group.has(h)).count();
                let text = format!("{} {n}", group.text());
                let chip = Button::selectable(self.choice.group == group, text);
                if ui.add_enabled(n > 0 || group == self.choice.group || group == Group::All, chip).clicked() {
                    self.choice.group = group;
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let hint = format!("Filter ({})", ui.ctx().format_shortcut(&filter_key()));
                let edit = TextEdit::singleline(&mut self.choice.filter)
                    .id(filter_id())
                    .hint_text(hint)
                    .desired_width(240.0)
                    .margin(vec2(8.0, 5.0));
                let response = ui.add(edit).accessible_name("Filter machines");
                if std::mem::take(&mut self.focus_filter) {
                    response.request_focus();
                }
                if response.has_focus() && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
                    self.choice.filter.clear();
                    response.surrender_focus();
                }
                if !self.choice.filter.is_empty() {
                    if ui.button("Clear").clicked() {
                        self.choice.filter.clear();
                    }
                    weak_ui(ui, format!("{} of {}", shown.len(), shot.hosts.len()));
                }
            });
        });
    }

    fn selection_ui(&self, ui: &mut Ui, view: &mut View<'_>) {
        let selected = self.choice.selected(view.shot);
        ui.horizontal(|ui| {
            let text = say::count(selected.len(), "machine selected", "machines selected");
            ui.label(RichText::new(text).color(theme::palette(ui).strong));
            ui.add_space(theme::GAP);
            let same = same_boot(view.shot, &selected);
            if let Some(boot) =
                assign::assign_menu_ui(ui, view.shot, "Assign…", same.as_ref(), 110.0, "Assign the selected machines")
            {
                view.assign(selected.clone(), boot);
            }
            for command in [UiCommand::AssignLocal, UiCommand::AssignWait] {
                if command_button_ui(ui, command).clicked() {
                    view.run(command);
                }
            }
            ui.separator();
            if let [only] = selected.as_slice() {
                if ui.button("Open").on_hover_text("Its timeline and what it told of itself (Enter)").clicked() {
                    view.show(Screen::Host(*only));
                }
                if command_button_ui(ui, UiCommand::Rename).clicked() {
                    view.run(UiCommand::Rename);
                }
            }
            if command_button_ui(ui, UiCommand::Forget).clicked() {
                view.run(UiCommand::Forget);
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                weak_ui(ui, "Arrows move, Shift extends, Enter opens, A assigns, Esc clears");
            });
        });
    }

    fn table_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, rows: &[usize], shown: &[HostId]) {
        let columns = columns(ui.available_width());
        let mut table = TableBuilder::new(ui)
            .id_salt(("hosts", columns.len()))
            .striped(true)
            .sense(Sense::CLICK)
            .auto_shrink([false, false])
            .cell_layout(Layout::left_to_right(Align::Center));
        for column in &columns {
            table = table.column(column.width());
        }
        if let Some(row) = self.scroll_to.take() {
            table = table.scroll_to_row(row, None);
        }
        table.header(theme::HEADER, |mut row| self.header_ui(&mut row, &columns)).body(|body| {
            body.rows(theme::ROW, rows.len(), |mut row| {
                let host = rows.get(row.index()).and_then(|at| view.shot.hosts.get(*at));
                if let Some(host) = host {
                    self.row_ui(&mut row, view, host, shown, &columns);
                }
            });
        });
    }

    fn header_ui(&mut self, row: &mut TableRow<'_, '_>, columns: &[Cell]) {
        for column in columns {
            let (text, sort) = column.title();
            row.col(|ui| {
                let p = theme::palette(ui);
                let Some(sort) = sort else {
                    ui.label(RichText::new(text).small().color(p.weak));
                    return;
                };
                let on = self.choice.sort == sort;
                let text = RichText::new(text).small().color(if on { p.strong } else { p.weak });
                let text = if on { text.underline() } else { text };
                ui.spacing_mut().button_padding.x = 0.0;
                let tooltip = if on { "Back to the order of first sight" } else { "Sort by this" };
                if ui.add(Button::new(text).frame(false)).on_hover_text(tooltip).clicked() {
                    self.choice.sort = if on { Sort::FirstSeen } else { sort };
                }
            });
        }
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
                ui.push_id(host.id.0, |ui| {
                    let clicked = cell_ui(ui, view, host, &name, *column, columns.contains(&Cell::Mac));
                    on_name = on_name.or(clicked);
                });
            });
        }
        let response = row.response();
        response.widget_info(|| {
            let label = format!("{name}, {}, gets {}", say::stage(host.stage), say::boot(&host.boot));
            WidgetInfo::selected(Role::Row, true, selected, label)
        });
        if response.secondary_clicked() && !selected {
            self.choice.click(shown, host.id, false, false);
        }
        response.context_menu(|ui| row_menu_ui(ui, view, host));
        let modifiers = response.ctx.input(|i| i.modifiers);
        if on_name == Some(Modifiers::NONE) || response.double_clicked() {
            view.show(Screen::Host(host.id));
        } else if response.clicked() || on_name.is_some() {
            self.choice.click(shown, host.id, modifiers.command, modifiers.shift);
        }
    }
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    State,
    Machine,
    Mac,
    Address,
    Firmware,
    Gets,
    Now,
    AtStage,
}

/// The columns for which a table of this width has room; what the machine's own screen shows, too, goes first.
fn columns(width: f32) -> Vec<Cell> {
    use Cell::*;
    [
        (State, 0.0),
        (Machine, 0.0),
        (Mac, 1060.0),
        (Address, 860.0),
        (Firmware, 980.0),
        (Gets, 0.0),
        (Now, 0.0),
        (AtStage, 0.0),
    ]
    .into_iter()
    .filter(|(_, least)| width >= *least)
    .map(|(cell, _)| cell)
    .collect()
}

impl Cell {
    fn title(self) -> (&'static str, Option<Sort>) {
        match self {
            Self::State => ("State", Some(Sort::Stage)),
            Self::Machine => ("Machine", Some(Sort::Name)),
            Self::Mac => ("MAC", None),
            Self::Address => ("Address", Some(Sort::Address)),
            Self::Firmware => ("Firmware", None),
            Self::Gets => ("Gets", Some(Sort::Assignment)),
            Self::Now => ("Now", None),
            Self::AtStage => ("At stage", None),
        }
    }

    fn width(self) -> Column {
        let resizable = |w: f32| Column::initial(w).at_least(60.0).clip(true).resizable(true);
        match self {
            Self::State => resizable(112.0),
            Self::Machine => resizable(180.0),
            Self::Mac => resizable(130.0),
            Self::Address => resizable(108.0),
            Self::Firmware => resizable(90.0),
            Self::Gets => resizable(192.0).at_least(120.0),
            Self::Now => Column::remainder().at_least(140.0).clip(true),
            Self::AtStage => Column::exact(84.0).clip(true),
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
        Cell::State => {
            badge::badge_ui(ui, say::stage_tone(host.stage), say::stage(host.stage), say::stage_meaning(host.stage));
        }
        Cell::Machine => return name_ui(ui, host, name, beside_mac),
        Cell::Mac => {
            let mac = RichText::new(say::host_mac(host)).monospace().color(theme::palette(ui).weak);
            ui.add(Label::new(mac).truncate());
        }
        Cell::Address => {
            ui.add(Label::new(host.ip.map(|ip| ip.to_string()).unwrap_or_default()).truncate());
        }
        Cell::Firmware => {
            weak_ui(ui, host.arch.map(say::arch).unwrap_or_default());
        }
        Cell::Gets => {
            let width = ui.available_width() - 4.0;
            let shown = say::boot(&host.boot);
            let label = format!("{name} gets {shown}");
            if let Some(boot) = assign::assign_menu_ui(ui, view.shot, &shown, Some(&host.boot), width, &label)
                && boot != host.boot
            {
                view.assign(vec![host.id], boot);
            }
        }
        Cell::Now => now_ui(ui, host, view.now),
        Cell::AtStage => {
            if let Some(since) = host.since.filter(|_| host.stage != Stage::Absent) {
                weak_ui(ui, say::seconds(view.since(since)));
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

fn ids(shot: &Snapshot, rows: &[usize]) -> Vec<HostId> {
    rows.iter().filter_map(|at| shot.hosts.get(*at)).map(|h| h.id).collect()
}

fn same_boot(shot: &Snapshot, selected: &[HostId]) -> Option<bootyard_core::lab::Boot> {
    let mut boots = shot.hosts.iter().filter(|h| selected.contains(&h.id)).map(|h| &h.boot);
    let first = boots.next()?;
    boots.all(|b| b == first).then(|| first.clone())
}

fn nothing_matches_ui(ui: &mut Ui, choice: &mut Choice) {
    ui.add_space(48.0);
    ui.vertical_centered(|ui| {
        ui.heading("No machine matches");
        ui.label("The filter and the chosen group leave none.");
        ui.add_space(theme::GAP);
        if ui.button("Show all").clicked() {
            choice.filter.clear();
            choice.group = Group::All;
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
                ui.heading(format!("Power on a machine on {}", on.join(" or ")));
                ui.add_space(theme::GAP);
                ui.label("Let it boot from the network (PXE, often F12 at power-on).");
                ui.label("It appears here with its first packet.");
            }
            EngineState::Starting => {
                ui.add(eframe::egui::Spinner::new().size(28.0));
                ui.add_space(theme::GAP);
                ui.heading("Starting");
                ui.label("Ports are opened, and other DHCP servers are looked for.");
            }
            EngineState::Stopped => {
                ui.heading("Nothing is served yet");
                ui.add_space(theme::GAP);
                ui.label("Press Start, then power on a machine. It appears here with its first packet.");
                ui.add_space(theme::GAP);
                if primary_button_ui(ui, true, "Start serving").clicked() {
                    view.push(Action::Run(UiCommand::Start));
                }
            }
            EngineState::Failed { .. } => {
                ui.heading("The engine did not start");
                ui.add_space(theme::GAP);
                ui.label("The reason is above. Mend it, then try again.");
                ui.add_space(theme::GAP);
                if primary_button_ui(ui, true, "Try again").clicked() {
                    view.push(Action::Run(UiCommand::Start));
                }
            }
        });
    });
}
