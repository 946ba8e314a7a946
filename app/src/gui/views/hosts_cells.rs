//! The cells of the machines' table that are more than a text, and a row's menu.

use bootyard_core::api::{Finding, HostId, HostView, Severity, Stage};
use eframe::egui::{
    Align2, Button, CornerRadius, FontId, Label, Modifiers, Rect, RichText, TextStyle, Ui, Vec2, pos2, vec2,
};
use jiff::Timestamp;

use super::hosts_model::{Chip, Sum};
use super::{View, direct, maintenance};
use crate::gui::action::{Screen, UiCommand};
use crate::gui::lang::{count, t};
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, command_or_why_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon, progress};

/// A line, and a smaller one below it where there is more to say.
pub(super) fn two_lines_ui(ui: &mut Ui, above: RichText, below: &str) {
    if below.is_empty() {
        ui.add(Label::new(above).truncate());
        return;
    }
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        ui.add_space(ABOVE);
        ui.add(Label::new(above).truncate());
        small_ui(ui, below);
    });
}

/// What moves two lines to the middle of a row.
const ABOVE: f32 = 4.0;

fn small_ui(ui: &mut Ui, text: &str) {
    ui.add(Label::new(RichText::new(text).small().color(theme::palette(ui).weak)).truncate());
}

/// How far it is, and since when; or when it was last heard of.
pub(super) fn state_ui(ui: &mut Ui, host: &HostView, now: Timestamp) {
    let ago = |then: Timestamp| say::seconds(now.duration_since(then).as_secs());
    let below = match (host.stage, host.since, host.last_seen) {
        (Stage::Absent, _, Some(seen)) => t!("{time} ago", time = ago(seen)),
        (Stage::Absent, _, None) => String::new(),
        (_, Some(since), _) => ago(since),
        _ => String::new(),
    };
    let (tone, word, meaning) = (say::stage_tone(host.stage), say::stage(host.stage), say::stage_meaning(host.stage));
    if below.is_empty() {
        badge::badge_ui(ui, tone, word, meaning);
        return;
    }
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        ui.add_space(ABOVE);
        badge::badge_ui(ui, tone, word, meaning);
        ui.horizontal(|ui| {
            ui.spacing_mut().interact_size.y = 0.0;
            ui.spacing_mut().item_spacing.x = 0.0;
            ui.add_space(theme::ICON + 6.0);
            small_ui(ui, &below);
        });
    });
}

/// The name, which opens the machine; returns the modifiers of a click. A machine without a name shows its model where a column
/// of its own has the MAC (`beside_mac`).
pub(super) fn name_ui(ui: &mut Ui, host: &HostView, name: &str, beside_mac: bool) -> Option<Modifiers> {
    let p = theme::palette(ui);
    ui.spacing_mut().button_padding = vec2(0.0, 0.0);
    let model = say::host_model(host);
    let (text, below) = if say::is_named(host) {
        (RichText::new(name).color(p.strong), model.clone())
    } else if !beside_mac {
        (RichText::new(name).color(p.strong).text_style(TextStyle::Monospace), model.clone())
    } else if let Some(model) = &model {
        (RichText::new(model).color(p.text), None)
    } else {
        (RichText::new(t!("No name yet")).color(p.weak), None)
    };
    let button = |ui: &mut Ui| {
        ui.spacing_mut().interact_size.y = 0.0;
        ui.add(Button::new(text).frame(false).truncate())
    };
    let response = match &below {
        None => button(ui),
        Some(below) => {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.add_space(ABOVE);
                let response = button(ui);
                small_ui(ui, below);
                response
            })
            .inner
        }
    };
    let mut about: Vec<String> = Vec::new();
    about.extend(model);
    about.extend(host.serial.as_ref().map(|s| t!("serial {number}", number = say::clean(s))));
    about.push(t!("Click to open").into());
    let response = response.on_hover_text(about.join(", "));
    response.clicked().then(|| ui.input(|i| i.modifiers))
}

/// A section's line, painted over the width of the table; the row below it takes the clicks and has the name.
pub(super) fn section_line_ui(ui: &Ui, sum: &Sum) {
    let p = theme::palette(ui);
    let (rect, painter) = (ui.max_rect(), ui.painter());
    painter.rect_filled(rect, 0.0, p.panel);
    let middle = rect.center().y;
    icon::paint_fold(painter, pos2(rect.left() + 10.0, middle), sum.open, p.weak);
    let (body, small) = (TextStyle::Body.resolve(ui.style()), TextStyle::Small.resolve(ui.style()));
    let mut x = rect.left() + 24.0;
    let text = |x: f32, text: String, font: &FontId, color| {
        painter.text(pos2(x, middle), Align2::LEFT_CENTER, text, font.clone(), color).right()
    };
    x = text(x, say::clean_to(sum.section.text(), 40), &body, p.strong) + 12.0;
    x = text(x, count!(sum.machines.len(), "{n} machine", "{n} machines"), &small, p.weak) + 14.0;
    let tones = [Tone::Ask, Tone::Busy, Tone::Good, Tone::Bad];
    let chips = Chip::ALL.into_iter().skip(1);
    for ((n, tone), chip) in sum.states.into_iter().zip(tones).zip(chips).filter(|((n, _), _)| *n > 0) {
        let mark = Rect::from_center_size(pos2(x + theme::ICON / 2.0, middle), Vec2::splat(theme::ICON));
        icon::paint_tone(painter, mark, tone, p.tone(tone), p.panel);
        x = text(mark.right() + 5.0, chip.count(n), &small, p.text) + 12.0;
    }
    if sum.rate > 0 {
        text(x, format!("{}/s", say::bytes(sum.rate)), &small, p.weak);
    }
}

/// The commands of machines, in a menu.
pub(super) fn commands_ui(ui: &mut Ui, view: &mut View<'_>, meant: &[HostId]) {
    for command in UiCommand::OF_MACHINES {
        if command_or_why_ui(ui, command, command.why_not(view.shot, meant)).clicked() {
            view.run(command);
        }
    }
}

/// The same commands as below the table, of the selection to which this machine belongs; what can be copied is its own.
pub(super) fn row_menu_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView, meant: &[HostId]) {
    if ui.button(t!("Open")).clicked() {
        view.show(Screen::Host(host.id));
    }
    if command_button_ui(ui, UiCommand::Explain).clicked() {
        view.run(UiCommand::Explain);
    }
    commands_ui(ui, view, meant);
    direct::items_ui(ui, view, host);
    maintenance::items_ui(ui, view, host);
    ui.separator();
    if ui.button(t!("Copy MAC")).clicked() {
        ui.ctx().copy_text(say::host_mac(host));
    }
    if let Some(ip) = host.ip
        && ui.button(t!("Copy address")).clicked()
    {
        ui.ctx().copy_text(ip.to_string());
    }
}

/// What goes on: what is wrong first, then what grows, then what it does.
pub(super) fn now_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    let worst = finding::worst(&host.findings);
    let stopped = |f: &Finding| f.severity == Severity::Error || host.stage == Stage::Failed;
    let activity = host.activity.as_deref().map(|text| say::quoted(text, say::CLIENT_TEXT)).unwrap_or_default();
    match (worst, say::progress_now(host, view.now)) {
        (Some((worst, tone)), progress) if stopped(worst) || progress.is_none() => {
            if chip_ui(ui, worst, tone) {
                view.show(Screen::Host(host.id));
            }
        }
        // A session has no end to reach: a bar would stay empty.
        (_, Some(p)) if p.total == 0 => {
            let target = activity.starts_with("iqn.").then(|| activity.rsplit(':').next()).flatten();
            let what = target.map_or_else(|| activity.clone(), |disk| t!("Disk {disk}", disk = disk));
            weak_ui(ui, format!("{what}: {}", say::progress(&p)));
        }
        (_, Some(p)) => {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.add_space(ABOVE);
                progress::progress_ui(ui, &p, say::stage_tone(host.stage), &activity);
                small_ui(ui, &activity);
            });
        }
        _ => match &host.boot_problem {
            Some(problem) => {
                let text = RichText::new(say::sentence(problem)).color(theme::palette(ui).tone(Tone::Warn));
                ui.add(Label::new(text).truncate());
            }
            None => {
                let ago = |at| say::seconds(view.since(at));
                let woken = host.woken.map(|at| t!("Woken {time} ago, nothing heard yet", time = ago(at)));
                let meaning = || (host.stage != Stage::Absent).then(|| say::stage_meaning(host.stage).to_owned());
                let own = Some(activity).filter(|a| !a.is_empty());
                weak_ui(ui, woken.or(own).or_else(meaning).unwrap_or_default());
            }
        },
    }
}

/// What is wrong with it, as a chip that opens the machine; true when it was clicked.
fn chip_ui(ui: &mut Ui, finding: &Finding, tone: Tone) -> bool {
    let p = theme::palette(ui);
    let seen = say::sentence(&finding.seen);
    // Room for the icon before the text, which is painted.
    let button = Button::new(RichText::new(format!("      {seen}")).color(p.text))
        .truncate()
        .fill(p.wash(tone))
        .stroke((1.0, p.tone(tone)))
        .corner_radius(CornerRadius::same(12));
    let response = ui.add(button).accessible_name(&seen);
    let mark = pos2(response.rect.left() + 16.0, response.rect.center().y);
    icon::paint_tone(
        ui.painter(),
        Rect::from_center_size(mark, Vec2::splat(theme::ICON)),
        tone,
        p.tone(tone),
        p.wash(tone),
    );
    let response = response.on_hover_ui(|ui| {
        ui.label(RichText::new(&seen).color(theme::palette(ui).strong));
        ui.label(say::sentence(&finding.means));
        ui.label(say::sentence(&finding.remedy));
    });
    response.clicked()
}
