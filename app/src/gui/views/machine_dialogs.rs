//! Questions about the machines that are selected: their group, what they keep on disks, and whether they stay in the list.

use std::collections::BTreeMap;

use bootyard_core::api::{Command, DiskAct, HostId};
use bootyard_core::lab::Name;
use bootyard_core::lang::said;
use eframe::egui::{Button, Key, RichText, Ui};

use super::View;
use super::dialogs::{buttons_ui, names_ui, title_ui};
use crate::gui::action::Action;
use crate::gui::lang::{count, t};
use crate::gui::say::{self, bytes};
use crate::gui::targets;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{danger_button_ui, primary_button_ui, text_field_ui, weak_ui};

/// Which group they are to be in.
pub(super) fn group_ui(ui: &mut Ui, view: &mut View<'_>, hosts: &[HostId], name: &mut String) {
    title_ui(ui, &count!(hosts.len(), "Group of {n} machine", "Group of {n} machines"));
    let field = text_field_ui(ui, t!("Group: a-z, 0-9 and -; empty for none"), name, "room-1", 300.0);
    let enter = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
    let mut known: Vec<&str> = view.shot.hosts.iter().filter_map(|h| h.group.as_deref()).collect();
    known.sort_unstable();
    known.dedup();
    if !known.is_empty() {
        ui.horizontal_wrapped(|ui| {
            weak_ui(ui, t!("There is"));
            for group in known {
                if ui.add(Button::selectable(name == group, group)).clicked() {
                    group.clone_into(name);
                }
            }
        });
    }
    names_ui(ui, &targets::names(view.shot, hosts));
    let text = name.trim().to_owned();
    let problem = if text.is_empty() { None } else { text.parse::<Name>().err().map(|e| e.to_string()) };
    if let Some(problem) = &problem {
        ui.label(RichText::new(said(problem)).color(theme::palette(ui).tone(Tone::Bad)));
    }
    buttons_ui(ui, view, |ui, view| {
        let act = if text.is_empty() { t!("Take out of the group") } else { t!("Put into the group") };
        let pressed = primary_button_ui(ui, problem.is_none(), act).clicked();
        if (pressed || enter) && problem.is_none() {
            let said = if text.is_empty() {
                count!(hosts.len(), "{n} machine: no group", "{n} machines: no group")
            } else {
                count!(hosts.len(), "{n} machine: group {group}", "{n} machines: group {group}", group = text)
            };
            let undo = targets::earlier_groups(view.shot, hosts);
            view.push(Action::SendAll(vec![Command::Group { hosts: hosts.to_vec(), group: text.clone() }], said, undo));
            view.push(Action::CloseDialog);
        }
    });
}

/// What they wrote on disks of the lab is dropped.
pub(super) fn reset_ui(ui: &mut Ui, view: &mut View<'_>, hosts: &[HostId]) {
    let (open, lost): (Vec<_>, Vec<_>) =
        targets::overlays(view.shot, hosts).into_iter().partition(|(_, overlay)| overlay.open);
    title_ui(ui, &count!(lost.len(), "Reset {n} disk?", "Reset {n} disks?"));
    ui.label(t!("What these machines wrote is dropped. At the next boot they start from the image again."));
    ui.add_space(4.0);
    for (disk, overlay) in &lost {
        weak_ui(
            ui,
            t!(
                "{host} on {disk}: {size}",
                host = say::clean_to(&overlay.host, 40),
                disk = say::clean(&disk.name),
                size = bytes(overlay.bytes)
            ),
        );
    }
    if !lost.is_empty() {
        let total = lost.iter().map(|(_, o)| o.bytes).fold(0, u64::saturating_add);
        warn_ui(ui, &t!("{size} can't be brought back.", size = bytes(total)));
    }
    if !open.is_empty() {
        let names: Vec<String> = open.iter().map(|(_, o)| say::clean_to(&o.host, 40)).collect();
        warn_ui(
            ui,
            &t!(
                "Left as they are, for they run from them: {names}. Shut them down first.",
                names = say::names(&names, 6)
            ),
        );
    }
    buttons_ui(ui, view, |ui, view| {
        if lost.is_empty() || !danger_button_ui(ui, &count!(lost.len(), "Reset {n} disk", "Reset {n} disks")).clicked()
        {
            return;
        }
        let mut by_disk: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (disk, overlay) in &lost {
            by_disk.entry(&disk.name).or_default().push(overlay.id.clone());
        }
        let commands = by_disk.into_iter();
        let commands =
            commands.map(|(disk, hosts)| Command::Disk { disk: disk.to_owned(), act: DiskAct::Reset { hosts } });
        let said = count!(lost.len(), "Resetting {n} disk", "Resetting {n} disks");
        view.push(Action::SendAll(commands.collect(), said, Vec::new()));
        view.push(Action::CloseDialog);
    });
}

/// They leave the list.
pub(super) fn forget_ui(ui: &mut Ui, view: &mut View<'_>, hosts: &[HostId], entry: &mut bool) {
    title_ui(ui, &count!(hosts.len(), "Forget {n} machine?", "Forget {n} machines?"));
    ui.label(t!("Dropped from the list with timeline and history. A machine that boots again appears again."));
    names_ui(ui, &targets::names(view.shot, hosts));
    if targets::hosts(view.shot, hosts).any(|h| h.configured) {
        ui.add_space(4.0);
        ui.checkbox(entry, t!("Take the entry out of lab.toml, too: name, address and assignment"));
    }
    buttons_ui(ui, view, |ui, view| {
        if danger_button_ui(ui, &count!(hosts.len(), "Forget {n} machine", "Forget {n} machines")).clicked() {
            let said = match targets::names(view.shot, hosts).as_slice() {
                [one] => t!("{name} is forgotten", name = one),
                names => t!("{names} are forgotten", names = say::names(names, 3)),
            };
            let commands = hosts.iter().map(|host| Command::Forget { host: *host, entry: *entry });
            view.push(Action::SendAll(commands.collect(), said, Vec::new()));
            view.push(Action::CloseDialog);
        }
    });
}

fn warn_ui(ui: &mut Ui, text: &str) {
    ui.add_space(4.0);
    ui.label(RichText::new(text).color(theme::palette(ui).tone(Tone::Warn)));
}
