//! One machine: what is wrong with it first, what it gets, how its boot went, what it told of itself.

use bootyard_core::api::{HostId, HostView, Stage};
use eframe::egui::{Align, Button, Grid, Key, Layout, Modifiers, RichText, ScrollArea, Ui, vec2};

use super::boots::Boots;
use super::chain::{Chain, question_of};
use super::packets::{self, Packets};
use super::{View, direct, maintenance};
use crate::gui::action::{Action, Dialog, Screen, UiCommand};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::assign::Pick;
use crate::gui::widgets::field::{command_button_ui, fact_ui, section_ui, weak_ui};
use crate::gui::widgets::{assign, badge, decode, finding, progress, timeline};

/// Narrower than this, what can be done with a machine stands below its name.
const WIDE: f32 = 1060.0;

/// What the screen has beside the snapshot.
#[derive(Debug)]
pub(crate) struct Panes<'a> {
    /// Its packets.
    pub(crate) packets: &'a mut Packets,
    /// What it would be given.
    pub(crate) chain: &'a mut Chain,
    /// Its last boots.
    pub(crate) boots: &'a Boots,
}

/// The screen.
pub(crate) fn host_ui(ui: &mut Ui, view: &mut View<'_>, id: HostId, panes: Panes<'_>) {
    let Panes { packets, chain, boots } = panes;
    let shot = view.shot;
    let free = !ui.ctx().text_edit_focused() && ui.ctx().memory(|m| m.top_modal_layer().is_none());
    let free = free && !eframe::egui::Popup::is_any_open(ui.ctx());
    let escape = free && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
    let back = escape && !packets.back() && !chain.back();
    let Some(host) = targets::host(shot, id) else {
        ui.add_space(48.0);
        ui.vertical_centered(|ui| {
            ui.heading(t!("This machine is no longer in the list"));
            ui.add_space(theme::GAP);
            if ui.button(t!("Back to the machines")).clicked() || back {
                view.show(Screen::Hosts);
            }
        });
        return;
    };
    if header_ui(ui, view, host) || back {
        view.show(Screen::Hosts);
    }
    ui.add_space(theme::GAP);
    packets.ui(ui, view, host);
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        for f in &host.findings {
            finding::finding_ui(ui, f, Some(host.id), view.out);
        }
        decode::decode_ui(ui, host);
        if let Some(problem) = &host.boot_problem {
            finding::callout_ui(ui, Tone::Warn, problem, |_| {});
        }
        maintenance::callout_ui(ui, view, host);
        direct::callout_ui(ui, view, host);
        if let Some(p) = say::progress_now(host, view.now) {
            let what = host.activity.as_deref().map(|text| say::quoted(text, say::CLIENT_TEXT)).unwrap_or_default();
            ui.horizontal(|ui| {
                ui.label(&what);
                if p.total == 0 {
                    weak_ui(ui, say::progress(&p));
                } else {
                    progress::progress_ui(ui, &p, say::stage_tone(host.stage), &what);
                }
            });
        }
        section_ui(ui, t!("This boot"));
        if host.timeline.is_empty() {
            weak_ui(ui, t!("Nothing seen yet. Power it on and let it boot from the network."));
        } else {
            let model = timeline::model(&host.timeline, &host.findings, view.now);
            let clicked = timeline::timeline_ui(ui, &model, packets.step());
            if let Some((step, name)) = clicked.and_then(|(at, name)| Some((host.timeline.get(at)?, name))) {
                packets.choose(step, name);
            }
        }
        section_ui(ui, t!("What it gets next, and why"));
        chain.told_ui(ui, &question_of(host));
        section_ui(ui, t!("Its boots, compared"));
        boots.ui(ui, host.id);
        section_ui(ui, t!("About this machine"));
        inventory_ui(ui, view, host);
        ui.add_space(theme::SECTION);
    });
}

/// Returns whether Back was pressed.
fn header_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) -> bool {
    let name = say::host_name(host);
    let mut back = false;
    let wide = ui.available_width() >= WIDE;
    ui.horizontal(|ui| {
        back = ui.button(t!("Back")).on_hover_text(t!("To the machines (Esc)")).clicked();
        ui.add_space(4.0);
        ui.label(RichText::new(&name).heading().color(theme::palette(ui).strong));
        ui.add_space(4.0);
        if let Some(model) = say::host_model(host).filter(|_| !say::is_named(host)) {
            weak_ui(ui, model);
            ui.add_space(4.0);
        }
        badge::badge_ui(ui, say::stage_tone(host.stage), say::stage(host.stage), say::stage_meaning(host.stage));
        if let Some(since) = host.since.filter(|_| host.stage != Stage::Absent) {
            weak_ui(ui, t!("for {time}", time = say::seconds(view.since(since))));
        }
        if wide {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| actions_ui(ui, view, host, &name));
        }
    });
    if !wide {
        // Below the name where there is no room beside it.
        let size = vec2(ui.available_width(), 28.0);
        let layout = Layout::right_to_left(Align::Center);
        ui.allocate_ui_with_layout(size, layout, |ui| actions_ui(ui, view, host, &name));
    }
    back
}

/// What can be done with it, from the right to the left.
fn actions_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView, name: &str) {
    if ui.button(t!("Forget…")).on_hover_text(t!("Drop it from the list")).clicked() {
        view.push(Action::Ask(Dialog::Forget { hosts: vec![host.id], entry: false }));
    }
    packets::button_ui(ui, view);
    if command_button_ui(ui, UiCommand::Explain).clicked() {
        view.run(UiCommand::Explain);
    }
    if command_button_ui(ui, UiCommand::MachineSettings).clicked() {
        view.run(UiCommand::MachineSettings);
    }
    let shown = say::boot(&host.boot);
    let label = t!("{name} gets {boot}", name = name, boot = shown);
    if let Some(pick) = assign::assign_menu_ui(ui, view.shot, &shown, Some(&host.boot), 210.0, &label)
        && pick != Pick::Boot(host.boot.clone())
    {
        view.give(vec![host.id], pick);
    }
    weak_ui(ui, t!("Gets"));
}

fn inventory_ui(ui: &mut Ui, view: &View<'_>, host: &HostView) {
    let macs: Vec<String> = host.macs.iter().map(ToString::to_string).collect();
    let clock = |t: Option<jiff::Timestamp>| {
        let text = |t| t!("{clock} ({time} ago)", clock = say::clock(t), time = say::seconds(view.since(t)));
        t.map(text).unwrap_or_default()
    };
    let facts = [
        ("MAC", macs.join(", ")),
        (t!("Address"), host.ip.map(|ip| ip.to_string()).unwrap_or_default()),
        (t!("Firmware"), host.arch.map(|a| say::arch(a).to_owned()).unwrap_or_default()),
        (t!("Model"), say::host_model(host).unwrap_or_default()),
        (t!("Serial number"), host.serial.as_deref().map(say::clean).unwrap_or_default()),
        (t!("Memory"), host.memory_mib.map(|m| say::bytes(m.saturating_mul(1 << 20))).unwrap_or_default()),
        ("UUID", host.uuid.map(|u| u.to_string()).unwrap_or_default()),
        (t!("Group"), host.group.as_deref().map(say::clean).unwrap_or_default()),
        (t!("First seen"), clock(host.first_seen)),
        (t!("Last seen"), clock(host.last_seen)),
    ];
    ui.spacing_mut().interact_size.y = 18.0;
    Grid::new("inventory").num_columns(2).spacing([24.0, 5.0]).show(ui, |ui| {
        for (name, value) in facts.into_iter().filter(|(_, v)| !v.is_empty()) {
            fact_ui(ui, name);
            let copy = Button::new(RichText::new(&value)).frame(false);
            ui.scope(|ui| {
                ui.spacing_mut().button_padding = vec2(0.0, 1.0);
                let named = ui.add(copy).accessible_name(format!("{name}: {value}"));
                if named.on_hover_text(t!("Click to copy")).clicked() {
                    ui.ctx().copy_text(value.clone());
                }
            });
            ui.end_row();
        }
    });
}
