//! The way back: what Undo takes back, what it asks first, and what ends it.

use std::collections::BTreeSet;

use bootyard_core::api::{Command, HostId};
use bootyard_core::lab::SettingChange;
use eframe::egui::Context;

use super::{Answer, App};
use crate::gui::action::{Back, Dialog, Undo};
use crate::gui::lang::{count, t};
use crate::gui::targets;

impl App {
    /// Gives back what was; an installation asks here, too, of one machine as well: who takes something back does not choose it.
    /// `by_key`: nothing that was clicked says what is taken back.
    pub(super) fn undo(&mut self, ctx: &Context, back: Back, by_key: bool) {
        self.last_undo.take_if(|last| last.number == back.number);
        let unknown = targets::unknown_install(&self.shot);
        let (ask, now): (Undo, Undo) = back.undo.into_iter().partition(|c| match c {
            Command::Assign { to, .. } => targets::erases(to),
            Command::Unassign { .. } => unknown.is_some(),
            Command::Settings { changes, .. } => changes.iter().any(SettingChange::installs_unknown),
            _ => false,
        });
        if !now.is_empty() {
            let hosts: BTreeSet<HostId> = now.iter().flat_map(about).collect();
            let said = match hosts.len() {
                _ if by_key => t!("Taken back: {what}", what = back.said),
                0 => t!("Given back").to_owned(),
                n => count!(n, "Given back to {n} machine", "Given back to {n} machines"),
            };
            self.carry_out(ctx, now, Answer { said, ..Answer::default() });
        }
        for command in ask {
            match command {
                Command::Assign { hosts, to } => self.ask_next(Dialog::Install { hosts, to, as_unknown: false }),
                Command::Unassign { hosts } => {
                    if let Some(to) = unknown.clone() {
                        self.ask_next(Dialog::Install { hosts, to, as_unknown: true });
                    }
                }
                Command::Settings { changes, .. } => self.change_settings(ctx, changes, t!("Given back").to_owned()),
                _ => {}
            }
        }
    }
}

/// Whether a command without a way back changes something, so that what was done before it is not the last thing any more. `Unassign`
/// is only sent to take something back, after a question.
pub(super) fn ends(command: &Command) -> bool {
    !matches!(
        command,
        Command::Start
            | Command::Stop
            | Command::Wake { .. }
            | Command::CancelJob { .. }
            | Command::Unassign { .. }
            | Command::Ping
            | Command::Doctor { .. }
            | Command::Explain(_)
            | Command::Packets { .. }
            | Command::History { .. }
            | Command::Boots { .. }
            | Command::Settings { trial: true, .. }
    )
}

/// The machines that a command of an undo is about.
fn about(command: &Command) -> Vec<HostId> {
    match command {
        Command::Assign { hosts, .. } | Command::Unassign { hosts } | Command::Group { hosts, .. } => hosts.clone(),
        Command::Seats { seats } => seats.iter().map(|(host, _)| *host).collect(),
        Command::Rename { host, .. } => vec![*host],
        _ => Vec::new(),
    }
}
