//! One machine: what is wrong with it first, what it gets, how its boot went, what it told of itself.

use bootyard_core::api::{HostId, HostView, Stage};
use eframe::egui::{Align, Button, Grid, Key, Layout, Modifiers, RichText, ScrollArea, Ui, vec2};

use super::{View, maintenance};
use crate::gui::action::{Action, Dialog, Screen};
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{fact_ui, section_ui, weak_ui};
use crate::gui::widgets::{assign, badge, finding, progress, timeline};

/// The screen.
pub(crate) fn host_ui(ui: &mut Ui, view: &mut View<'_>, id: HostId) {
    let shot = view.shot;
    let free = !ui.ctx().text_edit_focused() && ui.ctx().memory(|m| m.top_modal_layer().is_none());
    let free = free && !eframe::egui::Popup::is_any_open(ui.ctx());
    let back = free && ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
    let Some(host) = targets::host(shot, id) else {
        ui.add_space(48.0);
        ui.vertical_centered(|ui| {
            ui.heading("This machine is no longer in the list");
            if ui.button("Back to the machines").clicked() || back {
                view.show(Screen::Hosts);
            }
        });
        return;
    };
    if header_ui(ui, view, host) || back {
        view.show(Screen::Hosts);
    }
    ui.add_space(theme::GAP);
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        for f in &host.findings {
            finding::finding_ui(ui, f);
        }
        if let Some(problem) = &host.boot_problem {
            finding::callout_ui(ui, Tone::Warn, problem, |_| {});
        }
        maintenance::callout_ui(ui, view, host);
        if let Some(p) = &host.progress {
            let what = host.activity.as_deref().map(say::clean).unwrap_or_default();
            ui.horizontal(|ui| {
                ui.label(&what);
                if p.total == 0 {
                    weak_ui(ui, say::traffic(p, say::is_silent(host, view.now)));
                } else {
                    progress::progress_ui(ui, p, say::stage_tone(host.stage), &what);
                }
            });
        }
        section_ui(ui, "This boot");
        if host.timeline.is_empty() {
            weak_ui(ui, "Nothing seen yet. Power it on and let it boot from the network.");
        } else {
            timeline::timeline_ui(ui, &timeline::model(&host.timeline, view.now));
        }
        section_ui(ui, "About this machine");
        inventory_ui(ui, view, host);
        ui.add_space(theme::SECTION);
    });
}

/// Returns whether Back was pressed.
fn header_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) -> bool {
    let name = say::host_name(host);
    let mut back = false;
    ui.horizontal(|ui| {
        back = ui.button("Back").on_hover_text("To the machines (Esc)").clicked();
        ui.add_space(4.0);
        ui.label(RichText::new(&name).heading().color(theme::palette(ui).strong));
        ui.add_space(4.0);
        if let Some(model) = say::host_model(host).filter(|_| !say::is_named(host)) {
            weak_ui(ui, model);
            ui.add_space(4.0);
        }
        badge::badge_ui(ui, say::stage_tone(host.stage), say::stage(host.stage), say::stage_meaning(host.stage));
        if let Some(since) = host.since.filter(|_| host.stage != Stage::Absent) {
            weak_ui(ui, format!("for {}", say::seconds(view.since(since))));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if ui.button("Forget…").on_hover_text("Drop it from the list").clicked() {
                view.push(Action::Ask(Dialog::Forget { hosts: vec![host.id], entry: false }));
            }
            if ui.button("Rename…").on_hover_text("Its name is written to lab.toml").clicked() {
                let name = host.name.clone().unwrap_or_default();
                view.push(Action::Ask(Dialog::Rename { host: host.id, name }));
            }
            let shown = say::boot(&host.boot);
            let label = format!("{name} gets {shown}");
            if let Some(boot) = assign::assign_menu_ui(ui, view.shot, &shown, Some(&host.boot), 210.0, &label)
                && boot != host.boot
            {
                view.assign(vec![host.id], boot);
            }
            weak_ui(ui, "Gets");
        });
    });
    back
}

fn inventory_ui(ui: &mut Ui, view: &View<'_>, host: &HostView) {
    let macs: Vec<String> = host.macs.iter().map(ToString::to_string).collect();
    let clock = |t: Option<jiff::Timestamp>| {
        t.map(|t| format!("{} ({} ago)", say::clock(t), say::seconds(view.since(t)))).unwrap_or_default()
    };
    let facts = [
        ("MAC", macs.join(", ")),
        ("Address", host.ip.map(|ip| ip.to_string()).unwrap_or_default()),
        ("Firmware", host.arch.map(|a| say::arch(a).to_owned()).unwrap_or_default()),
        ("Model", say::host_model(host).unwrap_or_default()),
        ("Serial number", host.serial.as_deref().map(say::clean).unwrap_or_default()),
        ("Memory", host.memory_mib.map(|m| say::bytes(m.saturating_mul(1 << 20))).unwrap_or_default()),
        ("UUID", host.uuid.map(|u| u.to_string()).unwrap_or_default()),
        ("Group", host.group.as_deref().map(say::clean).unwrap_or_default()),
        ("First seen", clock(host.first_seen)),
        ("Last seen", clock(host.last_seen)),
    ];
    ui.spacing_mut().interact_size.y = 18.0;
    Grid::new("inventory").num_columns(2).spacing([24.0, 5.0]).show(ui, |ui| {
        for (name, value) in facts.into_iter().filter(|(_, v)| !v.is_empty()) {
            fact_ui(ui, name);
            let copy = Button::new(RichText::new(&value)).frame(false);
            ui.scope(|ui| {
                ui.spacing_mut().button_padding = vec2(0.0, 1.0);
                let named = ui.add(copy).accessible_name(format!("{name}: {value}"));
                if named.on_hover_text("Click to copy").clicked() {
                    ui.ctx().copy_text(value.clone());
                }
            });
            ui.end_row();
        }
    });
}
