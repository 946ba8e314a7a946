//! The bar at the top: screens, network and mode, the servers, Start and Stop; and below it what concerns the whole lab.
//!
//! Where the window is narrow the bar folds ([`Fold`]): nothing of it overlaps or is cut.

use std::path::PathBuf;

use bootyard_core::api::{EngineState, Finding, JobState, NetworkView, Severity, Snapshot};
use bootyard_core::lab::Boot;
use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{
    Align, Button, FontId, Label, Layout, Rect, Response, RichText, ScrollArea, Sense, TextStyle, Ui, vec2,
};

use super::{View, images, labs};
use crate::gui::action::{Screen, UiCommand};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{primary_button_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon};

/// How much of the bar stands in its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    /// The screens in one menu, and the button of Start and Stop.
    Button,
    /// The same with the engine's state.
    Menu,
    /// The screens side by side, and the engine's state.
    Tabs,
    /// The lab's name, too.
    All,
}

/// The bar.
pub(crate) fn top_ui(ui: &mut Ui, view: &mut View<'_>, screen: Screen, gone: bool, recent: &[PathBuf]) {
    let tabs = tabs(view.shot, screen);
    let engine = Engine::of(view.shot, gone);
    let fold = fold(ui, &tabs, engine);
    ui.horizontal(|ui| {
        if fold >= Fold::Tabs {
            tabs_ui(ui, view, &tabs);
        } else {
            menu_ui(ui, view, &tabs);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            engine_ui(ui, view, engine);
            if fold >= Fold::Menu {
                state_ui(ui, view.shot, engine);
            }
            if fold == Fold::All {
                ui.add_space(theme::GAP);
                labs::lab_ui(ui, view, recent);
            }
        });
    });
    ui.add_space(2.0);
    // What has no room in a line goes on in the next one.
    ui.horizontal_wrapped(|ui| {
        if fold < Fold::All {
            labs::lab_ui(ui, view, recent);
        }
        if fold < Fold::Menu {
            state_ui(ui, view.shot, engine);
        }
        status_ui(ui, view.shot, fold, engine);
    });
}

/// Room that the lab's name needs at least.
const LAB: f32 = 120.0;

/// The most of the bar for which the first line has room.
fn fold(ui: &Ui, tabs: &[Tab], engine: Engine) -> Fold {
    let (room, gap, pad) = (ui.available_width(), ui.spacing().item_spacing.x, 2.0 * ui.spacing().button_padding.x);
    let of = |text: &str, size: f32| width(ui, text, size);
    let body = TextStyle::Body.resolve(ui.style()).size;
    let all_tabs: f32 = tabs.iter().map(|tab| of(tab.command.text(), theme::TAB) + pad + gap).sum();
    let menu = tabs.iter().find(|tab| tab.on).map_or(0.0, |tab| of(tab.command.text(), theme::TAB) + pad + CARET + gap);
    let button = engine.button().map_or(0.0, |(text, least)| (of(text, body) + pad).max(least) + gap);
    let state = theme::ICON + 6.0 + of(engine.word().1, body) + gap;
    if all_tabs + button + state + theme::GAP + LAB <= room {
        Fold::All
    } else if all_tabs + button + state <= room {
        Fold::Tabs
    } else if menu + button + state <= room {
        Fold::Menu
    } else {
        Fold::Button
    }
}

/// How wide a text of this size is.
fn width(ui: &Ui, text: &str, size: f32) -> f32 {
    let (font, color) = (FontId::proportional(size), theme::palette(ui).text);
    ui.painter().layout_no_wrap(text.to_owned(), font, color).size().x
}

/// Room for the caret behind a menu's name.
const CARET: f32 = 20.0;

/// A screen's name in the bar.
#[derive(Debug, Clone, Copy)]
struct Tab {
    command: UiCommand,
    on: bool,
    /// So many things on it are to be looked at.
    marked: usize,
}

fn tabs(shot: &Snapshot, screen: Screen) -> [Tab; 5] {
    let failed = shot.hosts.iter().filter(|h| finding::worst(&h.findings).is_some()).count();
    let wrong = shot.services.iter().filter(|s| s.error.is_some()).count();
    let unfit = shot.disks.iter().filter(|d| d.problem.is_some()).count();
    let tab = |command, on, marked| Tab { command, on, marked };
    [
        tab(UiCommand::ShowHosts, matches!(screen, Screen::Hosts | Screen::Host(_) | Screen::Chain), failed),
        tab(UiCommand::ShowImages, screen == Screen::Images, unfit),
        tab(UiCommand::ShowEvents, screen == Screen::Events, 0),
        tab(UiCommand::ShowNetwork, screen == Screen::Network, wrong),
        tab(UiCommand::ShowSettings, screen == Screen::Settings, 0),
    ]
}

impl Tab {
    fn tip(self, ui: &Ui) -> String {
        let key = self.command.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
        let mark = if self.marked > 0 { format!(", {}", t!("{n} to look at", n = self.marked)) } else { String::new() };
        format!("{}{mark} ({key})", self.command.tooltip())
    }
}

/// At a corner of what has something to be looked at.
fn mark_ui(ui: &Ui, rect: Rect) {
    ui.painter().circle_filled(rect.right_top() + vec2(-5.0, 6.0), MARK, theme::palette(ui).tone(Tone::Warn));
}

/// Radius of the mark.
const MARK: f32 = 3.5;

fn tabs_ui(ui: &mut Ui, view: &mut View<'_>, tabs: &[Tab]) {
    for tab in tabs {
        let text = RichText::new(tab.command.text()).size(theme::TAB);
        let response = ui.add(Button::selectable(tab.on, text).min_size(vec2(0.0, 30.0)));
        let response = response.on_hover_text(tab.tip(ui));
        if tab.marked > 0 {
            mark_ui(ui, response.rect);
        }
        if response.clicked() {
            view.run(tab.command);
        }
    }
}

/// The screens in a menu that is called after the one that is shown.
fn menu_ui(ui: &mut Ui, view: &mut View<'_>, tabs: &[Tab]) {
    let Some(on) = tabs.iter().find(|tab| tab.on) else { return };
    let text = RichText::new(on.command.text()).size(theme::TAB);
    // Room for the caret, which is painted.
    let button = Button::new(text).right_text("  ").min_size(vec2(0.0, 30.0));
    let (menu, _) = MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(theme::MENU);
        for tab in tabs {
            let key = tab.command.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
            let key = RichText::new(key).color(theme::palette(ui).weak);
            let button = Button::selectable(tab.on, tab.command.text()).shortcut_text(key);
            let response = ui.add(button.min_size(vec2(0.0, 28.0))).accessible_name(tab.command.text());
            let response = response.on_hover_text(tab.tip(ui));
            if tab.marked > 0 {
                // Beside the name: the key stands at the other end.
                let name = width(ui, tab.command.text(), TextStyle::Body.resolve(ui.style()).size);
                let at = response.rect.left_center() + vec2(ui.spacing().button_padding.x + name + 10.0, 0.0);
                ui.painter().circle_filled(at, MARK, theme::palette(ui).tone(Tone::Warn));
            }
            if response.clicked() {
                view.run(tab.command);
            }
        }
    });
    if tabs.iter().any(|tab| tab.marked > 0 && !tab.on) {
        mark_ui(ui, menu.rect);
    }
    icon::paint_caret(ui.painter(), menu.rect.right_center() - vec2(10.0, 0.0), theme::palette(ui).weak);
    menu.accessible_name(t!("Screen: {name}", name = on.command.text())).on_hover_text(t!("To the other screens"));
}

/// What the engine does, as far as the bar tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Gone,
    Running,
    Starting,
    Failed,
    Stopped,
}

impl Engine {
    fn of(shot: &Snapshot, gone: bool) -> Self {
        match &shot.engine {
            _ if gone => Self::Gone,
            EngineState::Running { .. } => Self::Running,
            EngineState::Starting => Self::Starting,
            EngineState::Failed { .. } => Self::Failed,
            EngineState::Stopped => Self::Stopped,
        }
    }

    /// What its button says, and how wide that is at least.
    fn button(self) -> Option<(&'static str, f32)> {
        match self {
            Self::Gone => None,
            Self::Running | Self::Starting => Some((t!("Stop"), STOP)),
            Self::Failed | Self::Stopped => Some((t!("Start"), START)),
        }
    }

    fn word(self) -> (Tone, &'static str) {
        match self {
            Self::Gone => (Tone::Bad, t!("Engine gone")),
            Self::Running => (Tone::Good, t!("Serving")),
            Self::Starting => (Tone::Busy, t!("Starting")),
            Self::Failed => (Tone::Bad, t!("Failed")),
            Self::Stopped => (Tone::Quiet, t!("Stopped")),
        }
    }
}

/// Widths of the buttons.
const STOP: f32 = 72.0;
const START: f32 = 88.0;

fn engine_ui(ui: &mut Ui, view: &mut View<'_>, engine: Engine) {
    let tip = |ui: &Ui, command: UiCommand| {
        let key = command.shortcut().map(|s| say::shortcut(ui.ctx(), &s)).unwrap_or_default();
        format!("{} ({key})", command.tooltip())
    };
    let Some((text, least)) = engine.button() else { return };
    if matches!(engine, Engine::Running | Engine::Starting) {
        let tip = tip(ui, UiCommand::Stop);
        if ui.add(Button::new(text).min_size(vec2(least, 28.0))).on_hover_text(tip).clicked() {
            view.run(UiCommand::Stop);
        }
        return;
    }
    let tip = tip(ui, UiCommand::Start);
    let usable = !view.shot.networks.is_empty();
    let start = primary_button_ui(ui, usable, text).on_hover_text(tip);
    if start.on_disabled_hover_text(t!("Choose the interface first")).clicked() {
        view.run(UiCommand::Start);
    }
}

fn state_ui(ui: &mut Ui, shot: &Snapshot, engine: Engine) {
    let meaning = match (engine, &shot.engine) {
        (Engine::Gone, _) => t!("Start Bootyard again").to_owned(),
        (_, EngineState::Running { since }) => t!("Since {time}", time = say::clock(*since)),
        (_, EngineState::Starting) => t!("Ports are opened, and other DHCP servers are looked for").to_owned(),
        (_, EngineState::Failed { .. }) => t!("The reason is below").to_owned(),
        (_, EngineState::Stopped) => t!("No machine is answered").to_owned(),
    };
    let (tone, word) = engine.word();
    badge::badge_ui(ui, tone, word, &meaning);
}

/// Networks and servers, in a line that goes on in the next one where there is no room: nothing of it is cut.
fn status_ui(ui: &mut Ui, shot: &Snapshot, fold: Fold, engine: Engine) {
    if shot.networks.is_empty() {
        whole_ui(ui, t!("No interface chosen"));
    }
    for network in &shot.networks {
        network_ui(ui, network, fold >= Fold::Tabs);
    }
    // Those of an engine that has gone went with it.
    if shot.services.is_empty() || engine == Engine::Gone {
        return;
    }
    divider_ui(ui);
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

/// Between networks and servers.
fn divider_ui(ui: &mut Ui) {
    let (rect, _) = ui.allocate_exact_size(vec2(6.0, 18.0), Sense::hover());
    ui.painter().vline(rect.center().x, rect.y_range(), (1.0, theme::palette(ui).line));
}

/// Weak text that is never cut.
fn whole_ui(ui: &mut Ui, text: impl Into<String>) -> Response {
    let text = RichText::new(text.into()).color(theme::palette(ui).weak);
    ui.add(Label::new(text).extend())
}

/// `leases`: how many addresses are leased, too, which the network's own screen shows as well.
fn network_ui(ui: &mut Ui, network: &NetworkView, leases: bool) {
    let p = theme::palette(ui);
    let name = RichText::new(say::clean_to(&network.interface, 20)).color(p.strong);
    ui.add(Label::new(name).extend());
    let address = network.address.as_deref().map_or_else(|| t!("no address yet").to_owned(), say::clean);
    ui.add(Label::new(address).extend());
    let mode = network.mode.as_deref().unwrap_or(&network.configured);
    let because = match &network.because {
        Some(because) => say::sentence(because),
        None if network.mode.is_none() => t!("The mode is settled at the start").into(),
        None => t!("As configured").into(),
    };
    whole_ui(ui, say::mode(mode)).on_hover_text(because);
    if leases && network.pool > 0 {
        whole_ui(ui, t!("{n} of {all} addresses", n = network.leased, all = network.pool))
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
    let said = |f: &Finding| matches!(&shot.engine, EngineState::Failed { error } if f.seen.contains(error));
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
