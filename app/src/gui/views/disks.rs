//! The disks of the lab as the tree that they are: images, their snapshots below them, former generations, and what machines
//! wrote over them.

use bootyard_core::api::{DiskView, JobKind, JobState, OverlayView, Snapshot};
use bootyard_core::lab::Writes;
use eframe::egui::accesskit::Role;
use eframe::egui::{
    Align, CollapsingHeader, Label, Layout, Pos2, Rect, Response, RichText, Sense, Stroke, Ui, UiBuilder, WidgetInfo,
    pos2, vec2,
};

use super::View;
use super::disk_menu::{disk_button_ui, disk_menu_ui, host, kind, overlay_button_ui, overlay_menu_ui};
use super::disks_model::{DEEPEST, older, origin, sorted, sum, total, tree};
use super::images::assigned_ui;
use crate::gui::disk_ask::{is_behind, users};
use crate::gui::lang::{count, t};
use crate::gui::say::{self, bytes};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::weak_ui;
use crate::gui::widgets::{badge, finding, icon};

/// How far a snapshot is indented below what it was taken from.
const INDENT: f32 = 26.0;
/// Height of a line with a menu.
const LINE: f32 = 26.0;
/// Up to this many overlays are open from the start.
const FEW: usize = 4;

/// All of them.
pub(super) fn disks_ui(ui: &mut Ui, view: &mut View<'_>) {
    let shot = view.shot;
    if shot.disks.is_empty() {
        weak_ui(ui, t!("No disk yet. Add one, or drop an image file onto this window."));
        return;
    }
    weak_ui(ui, total(shot));
    // Where the last card of each depth ended: its snapshots' lines begin there.
    let mut ends = [Pos2::ZERO; DEEPEST + 1];
    for place in tree(&shot.disks) {
        let Some(disk) = shot.disks.get(place.at) else { continue };
        let depth = u8::try_from(place.depth).unwrap_or(u8::MAX);
        let mut room = ui.available_rect_before_wrap();
        room.min.x += f32::from(depth) * INDENT;
        let card = ui.scope_builder(UiBuilder::new().max_rect(room).id_salt(("disk", &disk.name)), |ui| {
            card_ui(ui, view, disk, place.depth > 0);
        });
        let card = card.response.rect;
        if let Some(from) = place.depth.checked_sub(1).and_then(|above| ends.get(above)) {
            line_ui(ui, *from, card);
        }
        if let Some(end) = ends.get_mut(place.depth) {
            *end = card.left_bottom();
        }
    }
}

/// From below the parent's card to this one's first line.
fn line_ui(ui: &Ui, from: Pos2, card: Rect) {
    let stroke = Stroke::new(1.5, theme::palette(ui).line);
    let (x, y) = (from.x + INDENT / 2.0, card.top() + 10.0 + LINE / 2.0);
    ui.painter().line_segment([pos2(x, from.y), pos2(x, y)], stroke);
    ui.painter().line_segment([pos2(x, y), pos2(card.left(), y)], stroke);
}

fn card_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, below: bool) {
    theme::card_frame(ui).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        let checked = is_checked(view.shot, disk);
        let line = line_of_ui(ui, &about(disk));
        line.response.context_menu(|ui| disk_menu_ui(ui, view, disk));
        line.show(ui, |ui| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                disk_button_ui(ui, view, disk);
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| facts_ui(ui, disk, checked));
            });
        });
        if let Some(origin) = origin(disk, below) {
            weak_ui(ui, origin);
        }
        assigned_ui(ui, &disk.assigned);
        weak_ui(ui, say::clean_to(&format!("{}  ·  {}", disk.image.display(), disk.iqn), 240));
        match &disk.problem {
            Some(_) if checked => {
                let text = t!("Its image is being checked; it is served as soon as that is done");
                finding::callout_ui(ui, Tone::Busy, text, |_| {});
            }
            Some(problem) => finding::callout_ui(ui, Tone::Bad, problem, |_| {}),
            None => {}
        }
        for line in older(disk) {
            weak_ui(ui, line);
        }
        if !disk.overlays.is_empty() {
            overlays_ui(ui, view, disk);
        }
    });
}

fn facts_ui(ui: &mut Ui, disk: &DiskView, checked: bool) {
    icon::tone_ui(ui, tone(disk, checked));
    ui.label(RichText::new(&disk.name).strong());
    if disk.size > 0 {
        ui.label(bytes(disk.size));
        ui.label(RichText::new(t!("{size} on disk", size = bytes(disk.allocated))).color(theme::palette(ui).weak));
    }
    if disk.generation > 0 {
        ui.separator();
        let text =
            RichText::new(t!("Generation {generation}", generation = disk.generation)).color(theme::palette(ui).weak);
        ui.label(text).on_hover_text(t!("A commit makes the next one"));
    }
    ui.separator();
    let (word, meaning) = if disk.readonly {
        (t!("Read-only"), t!("Machines can't change it"))
    } else {
        (say::writes(disk.writes), say::writes_meaning(disk.writes))
    };
    ui.label(RichText::new(t!("Writes: {word}", word = word)).color(theme::palette(ui).weak)).on_hover_text(meaning);
    ui.separator();
    if disk.sessions > 0 {
        let n = usize::try_from(disk.sessions).unwrap_or(usize::MAX);
        let who = t!("Logged in now: {names}", names = say::names(&users(disk), 12));
        badge::badge_ui(ui, Tone::Good, &count!(n, "{n} session", "{n} sessions"), &who);
    } else {
        weak_ui(ui, t!("Not in use"));
    }
}

fn about(disk: &DiskView) -> String {
    let mut text = t!("Disk {disk}", disk = disk.name);
    if disk.size > 0 {
        text.push_str(&format!(", {}", bytes(disk.size)));
    }
    if disk.generation == 0 {
        return text;
    }
    t!("{disk}, generation {n}", disk = text, n = disk.generation)
}

fn tone(disk: &DiskView, checked: bool) -> Tone {
    match (&disk.problem, disk.sessions) {
        (Some(_), _) if checked => Tone::Busy,
        (Some(_), _) => Tone::Bad,
        (None, 0) => Tone::Quiet,
        (None, _) => Tone::Good,
    }
}

/// Whether its image is being hashed right now.
fn is_checked(shot: &Snapshot, disk: &DiskView) -> bool {
    let of = |kind, state: &JobState| kind == JobKind::HashImage && *state == JobState::Running;
    shot.jobs.iter().any(|j| j.what == disk.name && of(j.kind, &j.state))
}

/// A line over the whole width that takes the secondary click; what is drawn into it lies above.
struct Line {
    rect: Rect,
    response: Response,
}

fn line_of_ui(ui: &mut Ui, name: &str) -> Line {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), LINE), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Row, true, name));
    Line { rect, response }
}

impl Line {
    fn show(&self, ui: &mut Ui, draw: impl FnOnce(&mut Ui)) {
        let layout = Layout::left_to_right(Align::Center);
        ui.scope_builder(UiBuilder::new().max_rect(self.rect).layout(layout), draw);
    }
}

fn overlays_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView) {
    let size = bytes(sum(&disk.overlays));
    let mut title = count!(disk.overlays.len(), "{n} overlay, {size}", "{n} overlays, {size}", size = size);
    let behind = disk.overlays.iter().filter(|o| is_behind(disk, o)).count();
    if behind > 0 {
        title = t!("{overlays}, {n} on an older generation", overlays = title, n = behind);
    }
    let header = CollapsingHeader::new(title).id_salt(("overlays", &disk.name));
    header.default_open(disk.overlays.len() <= FEW).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        for overlay in sorted(&disk.overlays) {
            ui.push_id(&overlay.id, |ui| overlay_ui(ui, view, disk, overlay));
        }
    });
}

fn overlay_ui(ui: &mut Ui, view: &mut View<'_>, disk: &DiskView, overlay: &OverlayView) {
    let state = if overlay.open { t!("in use") } else { t!("at rest") };
    let name = t!(
        "{host}'s {kind} overlay, {size}, {state}",
        host = host(overlay),
        kind = kind(overlay),
        size = bytes(overlay.bytes),
        state = state
    );
    let line = line_of_ui(ui, &name);
    if !ui.is_rect_visible(line.rect) && disk.overlays.len() > 100 {
        return;
    }
    line.response.context_menu(|ui| overlay_menu_ui(ui, view, disk, overlay));
    line.show(ui, |ui| {
        cell_ui(ui, 112.0, |ui| ui.add(Label::new(host(overlay)).truncate()));
        cell_ui(ui, 74.0, |ui| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(bytes(overlay.bytes))).response
        });
        cell_ui(ui, 52.0, |ui| weak_ui(ui, kind(overlay)).on_hover_text(meaning(overlay)));
        cell_ui(ui, 78.0, |ui| {
            if overlay.open {
                badge::badge_ui(ui, Tone::Good, t!("In use"), t!("A session has it open"))
            } else {
                weak_ui(ui, t!("At rest"))
            }
        });
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            overlay_button_ui(ui, view, disk, overlay);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| stands_ui(ui, disk, overlay));
        });
    });
}

fn meaning(overlay: &OverlayView) -> &'static str {
    match overlay.writes {
        Writes::Fresh => t!("New at each boot"),
        _ => t!("Kept until it is reset or committed"),
    }
}

fn stands_ui(ui: &mut Ui, disk: &DiskView, overlay: &OverlayView) {
    if is_behind(disk, overlay) {
        let (on, at) = (overlay.generation, disk.generation);
        let text = t!("Stands on generation {on}, the image is at {at}: reset it to get the new one", on = on, at = at);
        ui.add(Label::new(RichText::new(text).color(theme::palette(ui).tone(Tone::Warn))).truncate());
    } else if overlay.generation > 0 {
        weak_ui(ui, t!("Generation {generation}", generation = overlay.generation));
    }
}

/// A cell of a fixed width.
fn cell_ui(ui: &mut Ui, width: f32, draw: impl FnOnce(&mut Ui) -> Response) {
    ui.allocate_ui_with_layout(vec2(width, LINE), Layout::left_to_right(Align::Center), |ui| {
        ui.set_min_width(width);
        draw(ui);
    });
}
