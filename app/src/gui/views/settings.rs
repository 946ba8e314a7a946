//! The settings: all of lab.toml that a person would change, and what the window alone is about.
//!
//! Each card is applied as a whole. While something is typed the engine is asked what the reader of lab.toml would say to it
//! ([`SettingsForm::begin`]), and that stands below the field.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use bootyard_core::api::{EngineState, HostId, Snapshot};
use bootyard_core::lab::{Boot, SettingChange, SettingPlace, SettingValue, Settings};
use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{Button, ComboBox, RichText, ScrollArea, Ui, vec2};

use super::View;
use super::settings_fields::fields;
use super::settings_form::{Card, Drafts, Told};
use super::settings_rows::{entered, problem_ui, row_ui};
use super::settings_window::window_ui;
use crate::gui::action::{Action, Screen, UiCommand};
use crate::gui::lang::t;
use crate::gui::prefs::Prefs;
use crate::gui::say::{self, clean};
use crate::gui::targets;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, heading_ui, primary_button_ui, weak_ui};
use crate::gui::widgets::icon;

/// Width of the list of sections.
const SECTIONS: f32 = 190.0;

/// A part of the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Section {
    #[default]
    Network,
    Unknown,
    Subnets,
    Ports,
    Firmware,
    Machines,
    Disks,
    Profiles,
    Window,
    File,
}

impl Section {
    const ALL: [Self; 10] = [
        Self::Network,
        Self::Unknown,
        Self::Subnets,
        Self::Ports,
        Self::Firmware,
        Self::Machines,
        Self::Disks,
        Self::Profiles,
        Self::Window,
        Self::File,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Network => t!("Addresses"),
            Self::Unknown => t!("Unknown machines"),
            Self::Subnets => t!("Relayed subnets"),
            Self::Ports => t!("Ports"),
            Self::Firmware => t!("Boot firmware"),
            Self::Machines => t!("Single machines"),
            Self::Disks => t!("Disks"),
            Self::Profiles => t!("Profiles"),
            Self::Window => t!("This window"),
            Self::File => t!("The file lab.toml"),
        }
    }

    /// Whether a card is one of this section's.
    fn has(self, card: &Card) -> bool {
        match (&card.place, self) {
            (SettingPlace::Network { .. }, Self::Network) => !card.unknown,
            (SettingPlace::Network { .. }, Self::Unknown) => card.unknown,
            (place, section) => {
                matches!(
                    (place, section),
                    (SettingPlace::Subnet { .. }, Self::Subnets)
                        | (SettingPlace::Ports, Self::Ports)
                        | (SettingPlace::Firmware { .. }, Self::Firmware)
                        | (SettingPlace::Host { .. }, Self::Machines)
                        | (SettingPlace::Disk { .. }, Self::Disks)
                        | (SettingPlace::Profile { .. }, Self::Profiles)
                )
            }
        }
    }
}

/// What a person does with the settings.
#[derive(Debug, Default)]
pub(crate) struct SettingsForm {
    section: Section,
    drafts: Drafts,
    /// The disk and the profile whose settings are shown; the first one by default.
    disk: Option<String>,
    profile: Option<String>,
    /// The machine whose settings are shown; the first one by default.
    machine: Option<HostId>,
}

impl SettingsForm {
    /// Takes in what the engine said of what was typed.
    pub(crate) fn take(&mut self, shot: &Snapshot) {
        self.drafts.take(&shot.settings, |host| targets::host(shot, host).is_some());
    }

    /// The engine wrote these.
    pub(crate) fn written(&mut self, changes: &[SettingChange]) {
        self.drafts.written(changes);
    }

    /// Shows what lab.toml says of this machine.
    pub(crate) fn about(&mut self, host: HostId) {
        (self.section, self.machine) = (Section::Machines, Some(host));
    }

    /// What to ask the engine next, and where to send what comes of it.
    pub(crate) fn begin(&mut self, settings: &Arc<Settings>) -> Option<(Vec<SettingChange>, Sender<Told>)> {
        self.drafts.begin(settings)
    }

    /// The screen.
    pub(crate) fn ui(&mut self, ui: &mut Ui, view: &mut View<'_>, prefs: &Prefs) {
        self.drafts.focused = None;
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width(SECTIONS);
                self.sections_ui(ui, view.shot);
            });
            ui.separator();
            ui.vertical(|ui| {
                ScrollArea::vertical().id_salt(self.section).auto_shrink([false, false]).show(ui, |ui| {
                    ui.set_max_width((theme::MEASURE + 120.0).min(ui.available_width()));
                    self.section_ui(ui, view, prefs);
                    ui.add_space(theme::SECTION);
                });
            });
        });
    }

    fn sections_ui(&mut self, ui: &mut Ui, shot: &Snapshot) {
        for section in Section::ALL {
            let waits = self.drafts.waits(&shot.settings, |card| section.has(card));
            let text = match waits {
                true => t!("{section}, not applied yet", section = section.text()),
                false => section.text().to_owned(),
            };
            let button = Button::selectable(self.section == section, text).min_size(vec2(SECTIONS, 28.0));
            if ui.add(button).clicked() {
                self.section = section;
            }
            if section == Section::Profiles {
                ui.separator();
            }
        }
    }

    fn section_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, prefs: &Prefs) {
        let shot = view.shot;
        heading_ui(ui, self.section.text());
        let of = |is: fn(&SettingPlace) -> bool| -> Vec<SettingPlace> {
            shot.settings.entries.iter().map(|entry| entry.place.clone()).filter(is).collect()
        };
        let networks = of(|place| matches!(place, SettingPlace::Network { .. }));
        match self.section {
            Section::Network | Section::Unknown | Section::Subnets if networks.is_empty() => no_network_ui(ui, view),
            Section::Network => {
                note_ui(ui, t!("What is changed here holds at once: leases stay, and no machine is cut off."));
                networks.into_iter().for_each(|place| self.card_ui(ui, view, &Card::of(place)));
            }
            Section::Unknown => {
                note_ui(ui, t!("What a machine gets that nobody has assigned anything."));
                for place in networks {
                    self.unknown_ui(ui, view, &Card { place, unknown: true });
                }
            }
            Section::Subnets => {
                note_ui(ui, t!("Machines behind a DHCP relay, such as a router, get addresses of their own subnet."));
                let subnets = of(|place| matches!(place, SettingPlace::Subnet { .. }));
                subnets.into_iter().for_each(|place| self.card_ui(ui, view, &Card::of(place)));
                for place in networks {
                    let SettingPlace::Network { interface } = place else { continue };
                    let new = SettingPlace::Subnet { interface, subnet: String::new() };
                    self.card_ui(ui, view, &Card::of(new));
                }
            }
            Section::Ports => {
                note_ui(
                    ui,
                    t!(
                        "Another port is opened at once. The former one stays open until serving stops: machines were told of it."
                    ),
                );
                self.card_ui(ui, view, &Card::of(SettingPlace::Ports));
            }
            Section::Firmware => {
                note_ui(
                    ui,
                    t!(
                        "Which boot file a machine gets. The most specific rule wins: its own, then its MAC, then its architecture."
                    ),
                );
                let rules = of(|place| matches!(place, SettingPlace::Firmware { .. }));
                rules.into_iter().for_each(|place| self.card_ui(ui, view, &Card::of(place)));
                self.card_ui(ui, view, &Card::of(SettingPlace::Firmware { arch: None, mac: None }));
            }
            Section::Machines => {
                note_ui(ui, t!("What lab.toml says of one machine. It holds from the machine's next boot."));
                self.machine_ui(ui, view);
            }
            Section::Disks => {
                note_ui(
                    ui,
                    t!("A machine that runs from a disk goes on as it is; what is changed holds from its next login."),
                );
                let names = of(|place| matches!(place, SettingPlace::Disk { .. }));
                let chosen = choice_ui(ui, &names, &mut self.disk, t!("The lab has no disk yet."));
                chosen.into_iter().for_each(|place| self.card_ui(ui, view, &Card::of(place)));
            }
            Section::Profiles => {
                note_ui(ui, t!("What is changed holds from a machine's next boot."));
                let names = of(|place| matches!(place, SettingPlace::Profile { .. }));
                let chosen = choice_ui(ui, &names, &mut self.profile, t!("The lab has no profile yet."));
                chosen.into_iter().for_each(|place| self.card_ui(ui, view, &Card::of(place)));
            }
            Section::Window => window_ui(ui, view, prefs),
            Section::File => file_ui(ui, view),
        }
    }

    /// One machine, and which.
    fn machine_ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        let shot = view.shot;
        let Some(first) = shot.hosts.first() else {
            weak_ui(ui, t!("No machine is known yet."));
            return;
        };
        let chosen = self.machine.map_or(Some(first.as_ref()), |id| targets::host(shot, id));
        let name = chosen.map(say::host_name).unwrap_or_default();
        ui.horizontal_wrapped(|ui| {
            let list = ComboBox::from_id_salt("machine").width(260.0).height(420.0).selected_text(name);
            let list = list.show_ui(ui, |ui| {
                for host in &shot.hosts {
                    let on = chosen.is_some_and(|chosen| chosen.id == host.id);
                    if ui.add(Button::selectable(on, say::host_name(host))).clicked() {
                        self.machine = Some(host.id);
                    }
                }
            });
            list.response.accessible_name(t!("Machine whose settings are shown"));
            if let Some(host) = chosen
                && ui
                    .button(t!("Open the machine"))
                    .on_hover_text(t!("Its boots, and what it told of itself"))
                    .clicked()
            {
                view.show(Screen::Host(host.id));
            }
        });
        ui.add_space(4.0);
        match chosen {
            Some(host) => self.card_ui(ui, view, &Card::of(SettingPlace::Host { host: host.id })),
            None => {
                weak_ui(ui, t!("This machine is no longer in the list"));
            }
        }
    }

    fn card_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, card: &Card) {
        let title = title(&card.place, view.shot);
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.push_id(&card.place, |ui| {
                if let Some(title) = &title {
                    ui.label(RichText::new(title).strong());
                }
                if matches!(card.place, SettingPlace::Host { .. }) && view.shot.settings.entry(&card.place).is_none() {
                    weak_ui(ui, t!("It has no entry in lab.toml yet; what is applied here makes one."));
                }
                for field in fields(&card.place, view.shot) {
                    row_ui(ui, &mut self.drafts, &view.shot.settings, card, &field);
                }
                self.foot_ui(ui, view, card, title.as_deref().unwrap_or(Section::Ports.text()));
            });
        });
        ui.add_space(theme::GAP);
    }

    /// What a network's unknown machines get.
    fn unknown_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, card: &Card) {
        let title = title(&card.place, view.shot).unwrap_or_default();
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            ui.push_id(&card.place, |ui| {
                ui.label(RichText::new(&title).strong());
                self.boot_ui(ui, view.shot, card);
                let wait = super::settings_fields::waiting();
                row_ui(ui, &mut self.drafts, &view.shot.settings, card, &wait);
                self.foot_ui(ui, view, card, &title);
            });
        });
        ui.add_space(theme::GAP);
    }

    fn boot_ui(&mut self, ui: &mut Ui, shot: &Snapshot, card: &Card) {
        let settings = &shot.settings;
        let draft = self.drafts.get(&card.place, "unknown").map(|draft| draft.value.clone());
        let now = draft.unwrap_or_else(|| settings.value(&card.place, "unknown").cloned());
        let shown = match &now {
            Some(SettingValue::Boot(boot)) => say::boot(boot),
            _ => by_mode().to_owned(),
        };
        let mut chosen: Option<Option<Boot>> = None;
        super::settings_rows::labelled_ui(ui, t!("An unknown machine gets"), "", |ui, _| {
            let button = Button::new(shown.as_str()).min_size(vec2(super::settings_rows::FIELD, 26.0));
            let (response, _) = MenuButton::from_button(button).ui(ui, |ui| {
                ui.set_width(theme::MENU);
                if ui.button(by_mode()).clicked() {
                    chosen = Some(None);
                }
                for target in targets::targets(shot) {
                    let response = ui.add_enabled(target.problem.is_none(), Button::new(say::boot(&target.boot)));
                    let response = response
                        .on_disabled_hover_text(target.problem.as_deref().map(say::sentence).unwrap_or_default());
                    if response.clicked() {
                        chosen = Some(Some(target.boot));
                    }
                }
            });
            icon::paint_caret(ui.painter(), response.rect.right_center() - vec2(12.0, 0.0), theme::palette(ui).weak);
            response.accessible_name(t!("Unknown machines get {what}", what = shown)).on_hover_text(t!(
                "Waiting machines show in the list and boot at once when something is assigned to them"
            ));
            if let Some(SettingValue::Boot(boot @ Boot::Install(_))) = &now {
                let what = say::boot(boot);
                let erases = t!(
                    "{what}: the disk of every machine that boots here and is not in the list is erased",
                    what = what
                );
                problem_ui(ui, &erases, Tone::Bad);
            }
            for (message, error) in self.drafts.problems(settings, card, Some("unknown")) {
                problem_ui(ui, &message, if error { Tone::Bad } else { Tone::Warn });
            }
        });
        if let Some(boot) = chosen {
            let value = boot.map(SettingValue::Boot);
            self.drafts.put(settings, &card.place, "unknown", String::new(), value);
        }
    }

    /// What is wrong with a card as a whole, and its buttons.
    fn foot_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, card: &Card, what: &str) {
        let shot = view.shot;
        let settings = &shot.settings;
        for (message, error) in self.drafts.problems(settings, card, None) {
            problem_ui(ui, &message, if error { Tone::Bad } else { Tone::Warn });
        }
        let changes = self.drafts.changes(settings, card);
        let fit = self.drafts.is_fit(settings, card);
        let enter = entered(ui);
        ui.add_space(4.0);
        ui.horizontal(|ui| {
            let text = if card.is_new() { t!("Add") } else { t!("Apply") };
            let apply = primary_button_ui(ui, fit, text).on_hover_text(t!("Write it to lab.toml (Enter)"));
            let why = if changes.is_empty() { t!("Nothing was changed") } else { t!("Something above can't be so") };
            if apply.on_disabled_hover_text(why).clicked() || (enter && fit) {
                let said = match card.is_new() {
                    true => t!("Added to lab.toml, and in force").to_owned(),
                    false => t!("{what}: changed, and in force", what = what),
                };
                view.push(Action::Settings(changes.clone(), said));
            }
            if !changes.is_empty() && ui.button(t!("Revert")).on_hover_text(t!("Back to what the file says")).clicked()
            {
                self.drafts.revert(card);
            }
            let removable = matches!(card.place, SettingPlace::Subnet { .. } | SettingPlace::Firmware { .. });
            if removable && !card.is_new() {
                let button = ui.button(t!("Remove")).on_hover_text(t!("Take it out of lab.toml"));
                if button.accessible_name(t!("Remove {what}", what = what)).clicked() {
                    let remove = SettingChange::Remove { place: card.place.clone() };
                    view.push(Action::Settings(vec![remove], t!("{what}: removed", what = what)));
                }
            }
            self.chap_ui(ui, settings, card);
        });
    }

    /// A login that is no longer asked for takes all its keys along.
    fn chap_ui(&mut self, ui: &mut Ui, settings: &Settings, card: &Card) {
        let set = |key: &str| settings.value(&card.place, key).is_some();
        if set("chap.secret") && ui.button(t!("No CHAP any more")).clicked() {
            for key in ["chap.user", "chap.secret", "chap.mutual-user", "chap.mutual-secret"] {
                if set(key) {
                    self.drafts.put(settings, &card.place, key, String::new(), None);
                }
            }
        }
    }
}

fn by_mode() -> &'static str {
    t!("Wait; nothing beside another DHCP server (default)")
}

fn note_ui(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).color(theme::palette(ui).weak));
    ui.add_space(4.0);
}

fn no_network_ui(ui: &mut Ui, view: &mut View<'_>) {
    weak_ui(ui, t!("No interface is chosen yet."));
    if ui.button(t!("Choose the interface")).clicked() {
        view.show(Screen::Network);
    }
}

/// What a card is about; nothing where its section says it.
fn title(place: &SettingPlace, shot: &Snapshot) -> Option<String> {
    Some(match place {
        SettingPlace::Network { interface } => t!("Network {interface}", interface = clean(interface)),
        SettingPlace::Subnet { interface, subnet } if subnet.is_empty() => {
            t!("A new subnet behind {interface}", interface = clean(interface))
        }
        SettingPlace::Subnet { interface, subnet } => {
            t!("{subnet} behind {interface}", subnet = clean(subnet), interface = clean(interface))
        }
        SettingPlace::Firmware { arch: None, mac: None } => t!("A new rule").to_owned(),
        SettingPlace::Firmware { arch, mac } => {
            let both: Vec<String> = arch.iter().chain(mac).map(|text| clean(text)).collect();
            t!("Rule for {which}", which = both.join(", "))
        }
        SettingPlace::Disk { name } => t!("Disk {name}", name = clean(name)),
        SettingPlace::Profile { name } => t!("Profile {name}", name = clean(name)),
        SettingPlace::Host { host } => say::host_name(targets::host(shot, *host)?),
        SettingPlace::Ports => return None,
    })
}

/// One of several entries, by name.
fn choice_ui(ui: &mut Ui, places: &[SettingPlace], chosen: &mut Option<String>, none: &str) -> Option<SettingPlace> {
    let name = |place: &SettingPlace| match place {
        SettingPlace::Disk { name } | SettingPlace::Profile { name } => name.clone(),
        _ => String::new(),
    };
    let Some(first) = places.first() else {
        weak_ui(ui, none);
        return None;
    };
    let on = places.iter().find(|place| Some(name(place)) == *chosen).unwrap_or(first);
    let mut picked = on.clone();
    ui.horizontal_wrapped(|ui| {
        for place in places {
            if ui.add(Button::selectable(place == on, clean(&name(place)))).clicked() {
                picked = place.clone();
                *chosen = Some(name(place));
            }
        }
    });
    ui.add_space(4.0);
    Some(picked)
}

/// Where the file is, for whoever rather writes it.
fn file_ui(ui: &mut Ui, view: &mut View<'_>) {
    let path = view.shot.lab.join("lab.toml").display().to_string();
    note_ui(
        ui,
        t!(
            "Everything of this lab that a person decides stands in one file. What is written there by hand holds at once, too; comments stay."
        ),
    );
    theme::card_frame(ui).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        ui.label(RichText::new(clean(&path)).monospace());
        ui.horizontal(|ui| {
            if ui.button(t!("Copy the path")).clicked() {
                ui.ctx().copy_text(path.clone());
            }
            if command_button_ui(ui, UiCommand::Reload).clicked() {
                view.run(UiCommand::Reload);
            }
        });
        let waits = view.shot.findings.iter().any(|finding| finding.id == "restart-needed");
        if waits && matches!(view.shot.engine, EngineState::Running { .. }) {
            problem_ui(
                ui,
                t!("Another interface or address holds when serving is stopped and started again"),
                Tone::Warn,
            );
        }
    });
}
