//! The bar at the top: screens, network and mode, the servers, Start and Stop; and below it what concerns the whole lab.

use std::path::PathBuf;

use bootyard_core::api::{EngineState, Finding, JobState, NetworkView, Severity, Snapshot};
use bootyard_core::lab::Boot;
use eframe::egui::{Align, Button, Layout, RichText, ScrollArea, Ui, vec2};

use super::{View, images, labs};
use crate::gui::action::{Screen, UiCommand};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{primary_button_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon};

/// The bar.
pub(crate) fn top_ui(ui: &mut Ui, view: &mut View<'_>, screen: Screen, gone: bool, recent: &[PathBuf]) {
    ui.horizontal(|ui| {
        tabs_ui(ui, view, screen);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            engine_ui(ui, view, gone);
            ui.add_space(theme::GAP);
            labs::lab_ui(ui, view, recent);
        });
    });
    ui.add_space(2.0);
    ui.horizontal(|ui| status_ui(ui, view.shot));
}

fn tabs_ui(ui: &mut Ui, view: &mut View<'_>, screen: Screen) {
    let failed = view.shot.hosts.iter().filter(|h| finding::worst(&h.findings).is_some()).count();
    let wrong = view.shot.services.iter().filter(|s| s.error.is_some()).count();
    let tabs = [
        (UiCommand::ShowHosts, matches!(screen, Screen::Hosts | Screen::Host(_) | Screen::Chain), failed),
        (
            UiCommand::ShowImages,
            screen == Screen::Images,
            view.shot.disks.iter().filter(|d| d.problem.is_some()).count(),
        ),
        (UiCommand::ShowEvents, screen == Screen::Events, 0),
        (UiCommand::ShowNetwork, screen == Screen::Network, wrong),
        (UiCommand::ShowSettings, screen == Screen::Settings, 0),
    ];
    for (command, on, marked) in tabs {
        let key = command.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
        let mark = if marked > 0 { format!(", {}", t!("{n} to look at", n = marked)) } else { String::new() };
        let response = ui
            .add(Button::selectable(on, RichText::new(command.text()).size(theme::TAB)).min_size(vec2(0.0, 30.0)))
            .on_hover_text(format!("{}{mark} ({key})", command.tooltip()));
        if marked > 0 {
            let p = theme::palette(ui);
            ui.painter().circle_filled(response.rect.right_top() + vec2(-5.0, 6.0), 3.5, p.tone(Tone::Warn));
        }
        if response.clicked() {
            view.run(command);
        }
    }
}

fn engine_ui(ui: &mut Ui, view: &mut View<'_>, gone: bool) {
    let key = |ui: &Ui, c: UiCommand| c.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
    match &view.shot.engine {
        _ if gone => {
            badge::badge_ui(ui, Tone::Bad, t!("Engine gone"), t!("Start Bootyard again"));
        }
        EngineState::Running { since } => {
            let tip = format!("{} ({})", UiCommand::Stop.tooltip(), key(ui, UiCommand::Stop));
            if ui.add(Button::new(t!("Stop")).min_size(vec2(72.0, 28.0))).on_hover_text(tip).clicked() {
                view.run(UiCommand::Stop);
            }
            badge::badge_ui(ui, Tone::Good, t!("Serving"), &t!("Since {time}", time = say::clock(*since)));
        }
        EngineState::Starting => {
            if ui.add(Button::new(t!("Stop")).min_size(vec2(72.0, 28.0))).clicked() {
                view.run(UiCommand::Stop);
            }
            badge::badge_ui(
                ui,
                Tone::Busy,
                t!("Starting"),
                t!("Ports are opened, and other DHCP servers are looked for"),
            );
        }
        state => {
            let tip = format!("{} ({})", UiCommand::Start.tooltip(), key(ui, UiCommand::Start));
            let usable = !view.shot.networks.is_empty();
            let start = primary_button_ui(ui, usable, t!("Start")).on_hover_text(tip);
            if start.on_disabled_hover_text(t!("Choose the interface first")).clicked() {
                view.run(UiCommand::Start);
            }
            match state {
                EngineState::Failed { .. } => badge::badge_ui(ui, Tone::Bad, t!("Failed"), t!("The reason is below")),
                _ => badge::badge_ui(ui, Tone::Quiet, t!("Stopped"), t!("No machine is answered")),
            };
        }
    }
}

fn status_ui(ui: &mut Ui, shot: &Snapshot) {
    if shot.networks.is_empty() {
        weak_ui(ui, t!("No interface chosen"));
    }
    for network in &shot.networks {
        network_ui(ui, network);
    }
    if shot.services.is_empty() {
        return;
    }
    ui.separator();
    for service in &shot.services {
        let (tone, meaning) = match (&service.error, service.address.is_empty()) {
            (Some(error), _) => (Tone::Bad, say::sentence(error)),
            (None, false) => (Tone::Good, t!("Listens on {address}", address = say::clean(&service.address))),
            (None, true) => (Tone::Quiet, t!("Does not listen").to_owned()),
        };
        badge::badge_ui(ui, tone, say::service(service.service), &meaning);
        ui.add_space(4.0);
    }
}

fn network_ui(ui: &mut Ui, network: &NetworkView) {
    let p = theme::palette(ui);
    ui.label(RichText::new(say::clean_to(&network.interface, 20)).color(p.strong));
    ui.label(network.address.as_deref().map_or_else(|| t!("no address yet").to_owned(), say::clean));
    let mode = network.mode.as_deref().unwrap_or(&network.configured);
    let because = match &network.because {
        Some(because) => say::sentence(because),
        None if network.mode.is_none() => t!("The mode is settled at the start").into(),
        None => t!("As configured").into(),
    };
    weak_ui(ui, say::mode(mode)).on_hover_text(because);
    if network.pool > 0 {
        weak_ui(ui, t!("{n} of {all} addresses", n = network.leased, all = network.pool))
            .on_hover_text(t!("Leased now"));
    }
}

/// What concerns the whole lab; nothing while all is well.
pub(crate) fn banners_ui(ui: &mut Ui, view: &mut View<'_>, gone: bool) {
    if let EngineState::Failed { error } = &view.shot.engine {
        finding::callout_ui(ui, Tone::Bad, error, |ui| {
            ui.horizontal(|ui| {
                if ui.button(t!("Try again")).clicked() {
                    view.run(UiCommand::Start);
                }
                if ui.button(t!("Choose the network")).clicked() {
                    view.show(Screen::Network);
                }
            });
        });
    }
    lab_banners_ui(ui, view, gone);
}

/// The same without why it did not start.
pub(crate) fn lab_banners_ui(ui: &mut Ui, view: &mut View<'_>, gone: bool) {
    let shot = view.shot;
    if gone {
        finding::callout_ui(ui, Tone::Bad, t!("The engine has gone."), |ui| {
            ui.label(t!("Start Bootyard again; leases and overlays are kept."))
        });
    }
    if let Some(Boot::Install(install)) = &view.shot.unknown {
        let text =
            t!("Every unknown machine is installed with {profile}, which erases its disk.", profile = install.profile);
        finding::callout_ui(ui, Tone::Bad, &text, |ui| {
            ui.label(t!("To end this, take `unknown` out of lab.toml, or choose something else in the settings."));
        });
    }
    // Why the start failed is said once.
    let said = |f: &Finding| matches!(&shot.engine, EngineState::Failed { error } if f.seen.contains(error.as_str()));
    let findings = shot.findings.iter();
    let loud: Vec<_> = findings.filter(|f| f.severity >= Severity::Warning && !said(f)).collect();
    let mut shown = |ui: &mut Ui| {
        for finding in &loud {
            finding::finding_ui(ui, finding, None, view.out);
        }
    };
    if loud.len() > 2 {
        ScrollArea::vertical().id_salt("findings").max_height(170.0).show(ui, shown);
    } else {
        shown(ui);
    }
}

/// What is being brought in, for the screens that don't list it.
pub(crate) fn jobs_ui(ui: &mut Ui, shot: &Snapshot) {
    for job in shot.jobs.iter().filter(|j| j.state == JobState::Running) {
        ui.horizontal(|ui| {
            icon::tone_ui(ui, Tone::Busy);
            ui.label(images::doing(job.kind, &images::about(job)));
            weak_ui(ui, say::job(job));
        });
    }
}
