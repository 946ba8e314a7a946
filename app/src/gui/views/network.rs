//! The first start on one screen; later the same as the network screen: interface, mode, servers, and what is wrong with them.

use bootyard_core::api::{EngineState, Snapshot};
use eframe::egui::{Grid, ScrollArea, Ui};

use super::View;
use super::images::firmware_ui;
use super::serve_form::ServeForm;
use super::top::banners_ui;
use crate::gui::action::UiCommand;
use crate::gui::say::{self, clean_to};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::badge;
use crate::gui::widgets::field::{command_button_ui, fact_ui, section_ui, weak_ui};

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
        ui.add(eframe::egui::Spinner::new().size(28.0));
        ui.add_space(theme::GAP);
        ui.label("Reading the lab");
    });
}

/// The first start.
pub(crate) fn first_start_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut ServeForm, gone: bool) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add_space(24.0);
        let side = ((ui.available_width() - theme::MEASURE - 80.0) / 2.0).max(0.0);
        ui.horizontal_top(|ui| {
            ui.add_space(side);
            ui.vertical(|ui| {
                ui.set_max_width((theme::MEASURE + 80.0).min(ui.available_width()));
                ui.heading("Serve network boot");
                ui.label("Choose the interface that the machines hang on. Nothing is answered before you press Start.");
                ui.add_space(theme::GAP);
                banners_ui(ui, view, gone);
                ui.add_space(theme::GAP);
                theme::card_frame(ui).show(ui, |ui| {
                    ui.set_min_width(ui.available_width());
                    form.ui(ui, view, "Start");
                });
                ui.add_space(theme::GAP);
                trouble_ui(ui, view.shot);
                ui.add_space(theme::GAP);
                weak_ui(ui, format!("Lab folder: {}", view.shot.lab.display()));
            });
        });
    });
}

/// What would stop a boot: servers that do not run, firmware that is missing.
fn trouble_ui(ui: &mut Ui, shot: &Snapshot) {
    let missing: Vec<_> = shot.firmware.iter().filter(|f| f.path.is_none()).cloned().collect();
    if !missing.is_empty() {
        section_ui(ui, "Missing boot firmware");
        firmware_ui(ui, &missing);
    }
    if shot.services.iter().any(|s| s.error.is_some()) {
        section_ui(ui, "Servers");
        services_ui(ui, shot);
    }
}

/// The network screen.
pub(crate) fn network_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut ServeForm) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        section_ui(ui, "Network");
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            match view.shot.engine {
                EngineState::Running { .. } | EngineState::Starting => in_force_ui(ui, view),
                _ => form.ui(ui, view, "Start"),
            }
        });
        section_ui(ui, "Servers");
        if view.shot.services.is_empty() {
            weak_ui(ui, "None runs.");
        }
        services_ui(ui, view.shot);
        section_ui(ui, "Boot firmware");
        firmware_ui(ui, &view.shot.firmware);
        section_ui(ui, "Lab");
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
                pool => format!("{} of {pool}", network.leased),
            };
            for (name, value) in [
                ("Interface", clean_to(&network.interface, 40)),
                ("Address", network.address.clone().unwrap_or_else(|| "none yet".into())),
                ("Mode", say::mode(mode).to_owned()),
                ("Because", network.because.as_deref().map(|b| clean_to(b, 300)).unwrap_or_default()),
                ("Addresses leased", leases),
                ("Other DHCP servers", foreign.join(", ")),
            ] {
                if !value.is_empty() {
                    fact_ui(ui, name);
                    ui.label(value);
                    ui.end_row();
                }
            }
        }
    });
    weak_ui(ui, "Stop serving to choose another interface or mode.");
}

fn services_ui(ui: &mut Ui, shot: &Snapshot) {
    Grid::new("services").num_columns(3).spacing([24.0, 6.0]).min_row_height(22.0).show(ui, |ui| {
        for service in &shot.services {
            ui.label(say::service(service.service));
            match &service.error {
                Some(error) => {
                    badge::badge_ui(ui, Tone::Bad, "Failed", "");
                    ui.label(clean_to(error, 300));
                }
                None if service.address.is_empty() => {
                    badge::badge_ui(ui, Tone::Quiet, "Off", "");
                    ui.label("");
                }
                None => {
                    badge::badge_ui(ui, Tone::Good, "Listens", "");
                    ui.label(clean_to(&service.address, 60));
                }
            }
            ui.end_row();
        }
    });
}
