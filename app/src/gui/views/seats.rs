//! The seating plan beside the table: cards by row and column, to be dragged or moved with Alt and the arrows; kept in lab.toml.

use std::collections::BTreeSet;

use bootyard_core::api::{Command, HostId, HostView, Snapshot};
use bootyard_core::lab::Seat;
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, Align2, Button, Color32, CornerRadius, DragAndDrop, Id, LayerId, Layout, Modifiers, Order, Painter, Popup,
    Rect, Response, ScrollArea, Sense, Stroke, StrokeKind, TextStyle, Ui, UiBuilder, WidgetInfo, pos2, vec2,
};

use super::View;
use super::hosts_cells::row_menu_ui;
use super::seats_model::{Moves, Plan};
use crate::gui::action::{Action, Screen, UiCommand};
use crate::gui::lang::{count, t};
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme;
use crate::gui::widgets::field::{heading_ui, weak_ui};
use crate::gui::widgets::{finding, icon};

/// Room between cards.
const BETWEEN: f32 = 6.0;

/// The card that is dragged.
#[derive(Debug, Clone, Copy)]
struct Dragged(HostId);

/// The groups of which there can be a plan: those of lab.toml, then none where machines are in none.
fn groups(shot: &Snapshot) -> Vec<Option<&str>> {
    let set: BTreeSet<Option<&str>> = shot.hosts.iter().map(|h| h.group.as_deref()).collect();
    let (none, some): (Vec<_>, Vec<_>) = set.into_iter().partition(Option::is_none);
    some.into_iter().chain(none).collect()
}

/// The plan that is shown: the chosen one, else that of the machine under the cursor, else the first.
pub(super) fn shown_group(shot: &Snapshot, chosen: Option<&Option<String>>, cursor: Option<HostId>) -> Option<String> {
    let groups = groups(shot);
    let there = |group: &Option<&str>| groups.contains(group);
    chosen
        .map(|c| c.as_deref())
        .filter(there)
        .or_else(|| shot.hosts.iter().find(|h| Some(h.id) == cursor).map(|h| h.group.as_deref()))
        .or_else(|| groups.first().copied())
        .flatten()
        .map(str::to_owned)
}

/// Writes moves to lab.toml, with the way back.
pub(super) fn send(view: &mut View<'_>, moves: Moves) {
    if moves.is_empty() {
        return;
    }
    let before = |(id, _): &(HostId, _)| (*id, targets::host(view.shot, *id).and_then(|h| h.seat));
    let undo = vec![Command::Seats { seats: moves.iter().map(before).collect() }];
    let who = moves.iter().take(1).map(|(id, _)| *id).collect::<Vec<_>>();
    let said = match (targets::names(view.shot, &who).as_slice(), moves.as_slice()) {
        ([one], [(_, Some(seat)), rest @ ..]) if rest.len() < 2 => {
            t!("{name}: row {row}, column {column}", name = one, row = seat.row, column = seat.column)
        }
        ([one], [(_, None)]) => t!("{name}: no seat", name = one),
        _ => count!(moves.len(), "{n} machine seated", "{n} machines seated"),
    };
    view.push(Action::SendAll(vec![Command::Seats { seats: moves }], said, undo));
}

/// What was clicked: a machine, with the keys that were held.
pub(super) type Click = (HostId, Modifiers);

/// The plan of `group`. `chosen` takes the group whose chip is clicked.
pub(super) fn seats_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    group: Option<&str>,
    selected: &BTreeSet<HostId>,
    chosen: &mut Option<Option<String>>,
) -> Option<Click> {
    let shot = view.shot;
    let plan = Plan::of(shot, group);
    head_ui(ui, view, &plan, group, chosen);
    let mut clicked = None;
    let mut moves = Moves::new();
    ScrollArea::both().id_salt("seats").auto_shrink([false, false]).show(ui, |ui| {
        if !plan.unseated.is_empty() {
            unseated_ui(ui, view, &plan, selected, &mut clicked, &mut moves);
            ui.add_space(theme::GAP);
        }
        weak_ui(ui, t!("Front"));
        grid_ui(ui, view, &plan, selected, &mut clicked, &mut moves);
    });
    ghost_ui(ui, shot);
    send(view, moves);
    clicked
}

fn head_ui(ui: &mut Ui, view: &mut View<'_>, plan: &Plan, group: Option<&str>, chosen: &mut Option<Option<String>>) {
    ui.horizontal(|ui| {
        heading_ui(ui, t!("Seating plan"));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if ui.button(t!("Close")).on_hover_text("S").clicked() {
                view.run(UiCommand::SeatingPlan);
            }
            let n = plan.unseated.len();
            let tip = t!("Gives every machine of the group without a place the next free one");
            if n > 0 && ui.button(t!("Seat {n}", n = n)).on_hover_text(tip).clicked() {
                send(view, plan.fill(view.shot));
            }
        });
    });
    let groups = groups(view.shot);
    if groups.len() > 1 {
        ui.horizontal_wrapped(|ui| {
            for other in groups {
                let text = other.unwrap_or(t!("No group"));
                if ui.add(Button::selectable(other == group, text)).clicked() {
                    *chosen = Some(other.map(str::to_owned));
                }
            }
        });
    } else if group.is_none() {
        weak_ui(ui, t!("Put machines into groups (G), and each has a plan of its own"));
    }
    ui.add_space(4.0);
}

fn unseated_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    plan: &Plan,
    selected: &BTreeSet<HostId>,
    clicked: &mut Option<Click>,
    moves: &mut Moves,
) {
    weak_ui(ui, t!("Not seated: drag to a place, or press Alt with an arrow"));
    let row = ui.horizontal_wrapped(|ui| {
        ui.set_max_width(ui.available_width().min(theme::MEASURE));
        for host in plan.unseated.iter().filter_map(|at| view.shot.hosts.get(*at)) {
            let button =
                Button::selectable(selected.contains(&host.id), say::host_name(host)).sense(Sense::click_and_drag());
            let response = ui.add(button);
            about_ui(view, host, &response, selected, clicked);
        }
    });
    if let Some(Dragged(id)) = row.response.dnd_release_payload::<Dragged>().as_deref()
        && plan.seated.values().filter_map(|at| view.shot.hosts.get(*at)).any(|h| h.id == *id)
    {
        moves.push((*id, None));
    }
}

fn grid_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    plan: &Plan,
    selected: &BTreeSet<HostId>,
    clicked: &mut Option<Click>,
    moves: &mut Moves,
) {
    // One more of each, to be put there.
    let (rows, columns) = ((plan.rows + 1).min(Seat::MOST), (plan.columns + 1).clamp(3, Seat::MOST));
    let step = theme::CARD + vec2(BETWEEN, BETWEEN);
    let size = vec2(step.x * f32::from(columns), step.y * f32::from(rows));
    let (area, _) = ui.allocate_exact_size(size, Sense::hover());
    for row in 1..=rows {
        for column in 1..=columns {
            let Some(seat) = Seat::at(row, column) else { continue };
            let at = area.min + vec2(step.x * f32::from(column - 1), step.y * f32::from(row - 1));
            let rect = Rect::from_min_size(at, theme::CARD);
            if !ui.is_rect_visible(rect) {
                continue;
            }
            let response = match plan.seated.get(&seat).and_then(|at| view.shot.hosts.get(*at)) {
                Some(host) => {
                    let response = card_ui(ui, view, host, seat, rect, selected.contains(&host.id));
                    about_ui(view, host, &response, selected, clicked);
                    response
                }
                None => free_ui(ui, rect, seat),
            };
            if let Some(dragged) = response.dnd_release_payload::<Dragged>() {
                moves.extend(plan.put(view.shot, dragged.0, seat));
            }
        }
    }
}

/// What a card and a chip have in common: clicks, the menu, and that they can be dragged.
fn about_ui(
    view: &mut View<'_>,
    host: &HostView,
    response: &Response,
    selected: &BTreeSet<HostId>,
    clicked: &mut Option<Click>,
) {
    response.dnd_set_drag_payload(Dragged(host.id));
    if response.double_clicked() {
        view.show(Screen::Host(host.id));
    } else if response.clicked() {
        *clicked = Some((host.id, response.ctx.input(|i| i.modifiers)));
    } else if response.secondary_clicked() && !selected.contains(&host.id) {
        *clicked = Some((host.id, Modifiers::NONE));
    }
    // A chip's place is another machine's when one before it gets a seat.
    Popup::context_menu(response).id(Id::unique(("seat-menu", host.id.0))).show(|ui| {
        let meant: Vec<HostId> = selected.iter().copied().collect();
        row_menu_ui(ui, view, host, &meant);
    });
}

fn card_ui(ui: &mut Ui, view: &View<'_>, host: &HostView, seat: Seat, rect: Rect, selected: bool) -> Response {
    let id = ui.scope_id().with(("seat", host.id.0));
    let response = ui.interact(rect, id, Sense::click_and_drag());
    let (name, state) = (say::host_name(host), say::stage(host.stage));
    response.widget_info(|| {
        let (row, column) = (seat.row, seat.column);
        let label =
            t!("{name}, {state}, row {row}, column {column}", name = name, state = state, row = row, column = column);
        WidgetInfo::selected(Role::ListBoxOption, true, selected, label)
    });
    let p = theme::palette(ui);
    let fill = if selected { p.chosen } else { p.panel };
    paint_card(ui, ui.painter(), rect, host, fill);
    let edge = if response.has_focus() || response.hovered() { p.strong } else { p.line };
    ui.painter().rect_stroke(rect, CornerRadius::same(theme::CORNER), Stroke::new(1.0, edge), StrokeKind::Inside);
    let mut tip = say::stage_meaning(host.stage).to_owned();
    if let Some((finding, _)) = finding::worst(&host.findings) {
        tip = say::sentence(&finding.seen);
    } else if let Some(progress) = say::progress_now(host, view.now) {
        tip = say::progress(&progress);
    }
    response.on_hover_text(format!("{name}: {tip}"))
}

fn paint_card(ui: &Ui, painter: &Painter, rect: Rect, host: &HostView, fill: Color32) {
    let p = theme::palette(ui);
    let tone = match finding::worst(&host.findings) {
        Some((_, tone)) => tone,
        None => say::stage_tone(host.stage),
    };
    let painter = painter.with_clip_rect(rect.intersect(painter.clip_rect()));
    let corner = CornerRadius::same(theme::CORNER);
    painter.rect_filled(rect, corner, fill);
    let side = Rect::from_min_size(rect.min, vec2(3.0, rect.height()));
    painter.rect_filled(side, CornerRadius::ZERO, p.tone(tone));
    let inner = rect.shrink2(vec2(9.0, 7.0));
    let body = TextStyle::Body.resolve(ui.style());
    let small = TextStyle::Small.resolve(ui.style());
    painter.text(inner.left_top(), Align2::LEFT_TOP, card_name(host), body, p.strong);
    let mark = Rect::from_min_size(inner.left_bottom() - vec2(0.0, theme::ICON), vec2(theme::ICON, theme::ICON));
    icon::paint_tone(&painter, mark, tone, p.tone(tone), fill);
    let word = say::stage(host.stage);
    painter.text(mark.right_center() + vec2(4.0, 0.0), Align2::LEFT_CENTER, word, small, p.text);
    if let Some(part) = host.progress.as_ref().and_then(say::fraction) {
        let bar = Rect::from_min_max(pos2(rect.left(), rect.bottom() - 3.0), rect.max);
        painter.rect_filled(bar, CornerRadius::ZERO, p.raised);
        let done = Rect::from_min_size(bar.min, vec2(bar.width() * part, bar.height()));
        painter.rect_filled(done, CornerRadius::ZERO, p.tone(tone));
    }
}

/// What fits on a card: the name, or the end of the hardware address, in which machines differ.
fn card_name(host: &HostView) -> String {
    let name = say::host_name(host);
    if say::is_named(host) || !name.is_ascii() || name.len() < 8 {
        return name;
    }
    format!("…{}", name.split_at(name.len() - 8).1)
}

/// A place that nobody has.
fn free_ui(ui: &mut Ui, rect: Rect, seat: Seat) -> Response {
    let response = ui.interact(rect, ui.scope_id().with(("free-seat", seat)), Sense::hover());
    let p = theme::palette(ui);
    let over = response.dnd_hover_payload::<Dragged>().is_some();
    if over || DragAndDrop::has_payload_of_type::<Dragged>(ui.ctx()) {
        let corner = CornerRadius::same(theme::CORNER);
        if over {
            ui.painter().rect_filled(rect, corner, p.chosen);
        }
        ui.painter().rect_stroke(rect, corner, Stroke::new(1.0, p.line), StrokeKind::Inside);
    } else {
        ui.painter().circle_filled(rect.center(), 1.5, p.line);
    }
    response
}

/// The card under the pointer while it is dragged.
fn ghost_ui(ui: &mut Ui, shot: &Snapshot) {
    let Some(dragged) = DragAndDrop::payload::<Dragged>(ui.ctx()) else { return };
    let Some(at) = ui.ctx().pointer_interact_pos() else { return };
    let Some(host) = targets::host(shot, dragged.0) else { return };
    let layer = LayerId::new(Order::Tooltip, Id::unique("dragged-seat"));
    let rect = Rect::from_center_size(at, theme::CARD);
    ui.scope_builder(UiBuilder::new().layer_id(layer).max_rect(rect), |ui| {
        ui.set_clip_rect(ui.ctx().content_rect());
        let p = theme::palette(ui);
        paint_card(ui, ui.painter(), rect, host, p.raised);
    });
}
