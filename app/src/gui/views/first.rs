//! The first start on one screen: the interface, the mode, the lab and its room, and what would stop a boot; Start is always in sight.

use std::path::PathBuf;

use bootyard_core::api::EngineState;
use eframe::egui::{CentralPanel, Label, Panel, RichText, ScrollArea, Ui};

use super::check::Check;
use super::serve_form::ServeForm;
use super::top::{jobs_ui, lab_banners_ui};
use super::{View, labs, network};
use crate::gui::action::{Action, UiCommand};
use crate::gui::labs as lab_names;
use crate::gui::lang::t;
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, primary_button_ui, section_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon, progress};

/// Room for what is read on this screen.
const WIDTH: f32 = theme::MEASURE + 80.0;

/// The screen.
pub(crate) fn first_start_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    form: &mut ServeForm,
    check: &mut Check,
    gone: bool,
    recent: &[PathBuf],
) {
    Panel::bottom("start").frame(theme::bar_frame(ui)).show(ui, |ui| {
        in_the_middle_ui(ui, |ui| start_ui(ui, view, form, check));
    });
    CentralPanel::default().frame(theme::screen_frame(ui)).show(ui, |ui| {
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            in_the_middle_ui(ui, |ui| {
                ui.add_space(4.0);
                head_ui(ui, view, recent);
                if let EngineState::Failed { error } = &view.shot.engine {
                    finding::callout_ui(ui, Tone::Bad, error, |ui| {
                        ui.label(t!("Nothing is served. Mend it, or choose otherwise below, then press Start again."));
                    });
                    ui.add_space(theme::GAP);
                }
                labs::elsewhere_ui(ui, view);
                lab_banners_ui(ui, view, gone);
                jobs_ui(ui, view.shot);
                theme::card_frame(ui).show(ui, |ui| {
                    ui.set_min_width(ui.available_width());
                    form.fields_ui(ui, view, Some(check));
                });
                ui.add_space(theme::GAP);
                theme::card_frame(ui).show(ui, |ui| {
                    ui.set_min_width(ui.available_width());
                    lab_ui(ui, view);
                });
                ui.add_space(theme::GAP);
                theme::card_frame(ui).show(ui, |ui| {
                    ui.set_min_width(ui.available_width());
                    check.compact_ui(ui, view);
                });
                servers_ui(ui, view);
                ui.add_space(theme::GAP);
            });
        });
    });
}

/// A column of the width that is read with ease, in the middle of what there is.
fn in_the_middle_ui(ui: &mut Ui, content: impl FnOnce(&mut Ui)) {
    let side = ((ui.available_width() - WIDTH) / 2.0).max(0.0);
    ui.horizontal_top(|ui| {
        ui.add_space(side);
        ui.vertical(|ui| {
            ui.set_max_width(WIDTH.min(ui.available_width()));
            content(ui);
        });
    });
}

fn head_ui(ui: &mut Ui, view: &mut View<'_>, recent: &[PathBuf]) {
    ui.horizontal(|ui| {
        ui.heading(t!("Serve network boot"));
        ui.with_layout(eframe::egui::Layout::right_to_left(eframe::egui::Align::Center), |ui| {
            labs::lab_ui(ui, view, recent);
        });
    });
    let text = t!("Choose the interface that the machines hang on. Nothing is answered before you press Start.");
    ui.add(Label::new(text).wrap());
    ui.add_space(theme::GAP);
}

/// Start, and why it can't be pressed or what would go wrong.
fn start_ui(ui: &mut Ui, view: &mut View<'_>, form: &ServeForm, check: &Check) {
    let busy = view.shot.engine == EngineState::Starting;
    let ready = form.ready(view.shot);
    ui.horizontal(|ui| {
        let start = primary_button_ui(ui, ready.is_ok() && !busy, t!("Start"));
        if busy {
            let doing = t!("Ports are opened, and other DHCP servers are looked for");
            progress::busy_ui(ui, theme::ICON, doing);
            weak_ui(ui, doing);
            return;
        }
        match ready {
            Err(problem) => {
                start.on_disabled_hover_text(&problem);
                icon::tone_ui(ui, Tone::Ask);
                ui.add(Label::new(problem).wrap());
            }
            Ok(action) => {
                if start.clicked() {
                    view.push(action);
                }
                match check.summary() {
                    Some((tone, text)) => {
                        badge::badge_ui(ui, tone, &text, "");
                    }
                    None => {
                        weak_ui(ui, t!("Then switch on a machine that boots from the network; it appears by itself"));
                    }
                }
            }
        }
    });
}

/// The lab's folder and the room that it has.
fn lab_ui(ui: &mut Ui, view: &mut View<'_>) {
    let p = theme::palette(ui);
    let lab = &view.shot.lab;
    ui.label(RichText::new(t!("Lab folder")).color(p.weak));
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(lab_names::name(lab)).strong());
        let path = clean_to(&lab.display().to_string(), 200);
        ui.add(Label::new(RichText::new(&path).color(p.weak)).truncate()).on_hover_text(&path);
    });
    ui.horizontal_wrapped(|ui| {
        if let Some(space) = view.shot.space {
            let free = t!("{free} free", free = say::bytes(space.free));
            let (tone, meaning) = match space.is_low() {
                true => {
                    (Tone::Warn, t!("Below 5 % no machine gets a new overlay; free some, or use a lab on another disk"))
                }
                false => (Tone::Good, t!("Room for images and what machines write")),
            };
            badge::badge_ui(ui, tone, &free, meaning);
            ui.add_space(theme::GAP);
        }
        for command in [UiCommand::OpenLab, UiCommand::NewLab] {
            if command_button_ui(ui, command).clicked() {
                view.push(Action::Run(command));
            }
        }
    });
}

/// Servers that do not run, unless that is what the start failed of.
fn servers_ui(ui: &mut Ui, view: &View<'_>) {
    let said = |e: &String| matches!(&view.shot.engine, EngineState::Failed { error } if error == e);
    if view.shot.services.iter().any(|s| s.error.as_ref().is_some_and(|e| !said(e))) {
        section_ui(ui, t!("Servers"));
        network::services_ui(ui, view.shot);
    }
}
