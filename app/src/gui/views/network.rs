//! The network screen: interface, mode, servers, and what is wrong with them.

use bootyard_core::api::{EngineState, Snapshot};
use eframe::egui::{Grid, Label, ScrollArea, Ui};

use super::View;
use super::check::Check;
use super::images::firmware_ui;
use super::serve_form::ServeForm;
use crate::gui::action::UiCommand;
use crate::gui::lang::t;
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, fact_ui, section_ui, weak_ui};
use crate::gui::widgets::{badge, progress};

/// Whether nobody has yet said which interface may serve on this computer.
pub(crate) fn is_first_start(shot: &Snapshot) -> bool {
    let confirmed = |name: &str| shot.interfaces.iter().any(|i| i.confirmed && i.name == name);
    matches!(shot.engine, EngineState::Stopped | EngineState::Failed { .. })
        && !shot.networks.iter().any(|n| confirmed(&n.interface))
}

/// Whether the engine has said nothing yet.
pub(crate) fn is_loading(shot: &Snapshot) -> bool {
    shot.unknown.is_none() && shot.interfaces.is_empty() && shot.engine == EngineState::Stopped
}

/// Before the first snapshot.
pub(crate) fn loading_ui(ui: &mut Ui) {
    ui.add_space(120.0);
    ui.vertical_centered(|ui| {
        progress::busy_ui(ui, progress::LARGE, t!("Reading the lab"));
        ui.add_space(theme::GAP);
        ui.label(t!("Reading the lab"));
    });
}

/// The network screen.
pub(crate) fn network_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut ServeForm, check: &Check) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        section_ui(ui, t!("Network"));
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            match view.shot.engine {
                EngineState::Running { .. } | EngineState::Starting => in_force_ui(ui, view),
                _ => form.ui(ui, view, t!("Start")),
            }
        });
        check.ui(ui, view);
        section_ui(ui, t!("Servers"));
        if view.shot.services.is_empty() {
            weak_ui(ui, t!("None runs."));
        } else {
            services_ui(ui, view.shot);
        }
        section_ui(ui, t!("Boot firmware"));
        firmware_ui(ui, &view.shot.firmware);
        section_ui(ui, t!("Lab"));
        ui.horizontal(|ui| {
            weak_ui(ui, view.shot.lab.display().to_string());
            if command_button_ui(ui, UiCommand::Reload).clicked() {
                view.run(UiCommand::Reload);
            }
        });
        ui.add_space(theme::SECTION);
    });
}

fn in_force_ui(ui: &mut Ui, view: &View<'_>) {
    Grid::new("networks").num_columns(2).spacing([24.0, 5.0]).show(ui, |ui| {
        for network in &view.shot.networks {
            let mode = network.mode.as_deref().unwrap_or(&network.configured);
            let foreign: Vec<String> = network.foreign.iter().map(ToString::to_string).collect();
            let leases = match network.pool {
                0 => String::new(),
                pool => t!("{n} of {all}", n = network.leased, all = pool),
            };
            for (name, value) in [
                (t!("Interface"), clean_to(&network.interface, 40)),
                (t!("Address"), network.address.clone().unwrap_or_else(|| t!("none yet").into())),
                (t!("Mode"), say::mode(mode).to_owned()),
                (t!("Because"), network.because.as_deref().map(say::sentence).unwrap_or_default()),
                (t!("Addresses leased"), leases),
                (t!("Other DHCP servers"), foreign.join(", ")),
            ] {
                if !value.is_empty() {
                    fact_ui(ui, name);
                    ui.add(Label::new(value).wrap());
                    ui.end_row();
                }
            }
        }
    });
    weak_ui(ui, t!("Stop serving to choose another interface; the mode is changed in the settings."));
}

pub(super) fn services_ui(ui: &mut Ui, shot: &Snapshot) {
    Grid::new("services").num_columns(3).spacing([24.0, 6.0]).min_row_height(22.0).show(ui, |ui| {
        for service in &shot.services {
            ui.label(say::service(service.service));
            match &service.error {
                Some(error) => {
                    badge::badge_ui(ui, Tone::Bad, t!("Failed"), "");
                    ui.add(Label::new(say::sentence(error)).wrap());
                }
                None if service.address.is_empty() => {
                    badge::badge_ui(ui, Tone::Quiet, t!("Off"), "");
                    ui.label("");
                }
                None => {
                    badge::badge_ui(ui, Tone::Good, t!("Listens"), "");
                    ui.label(clean_to(&service.address, 60));
                }
            }
            ui.end_row();
        }
    });
}
