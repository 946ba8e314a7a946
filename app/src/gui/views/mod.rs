//! One file a screen. A view reads the snapshot, draws, and pushes what a person wants into [`View::out`].

pub(super) mod boots;
pub(super) mod boots_model;
pub(super) mod brought;
pub(super) mod chain;
pub(super) mod check;
pub(super) mod dialogs;
pub(super) mod direct;
pub(super) mod disk_dialogs;
pub(super) mod disk_menu;
pub(super) mod disks;
pub(super) mod disks_model;
pub(super) mod events;
pub(super) mod events_model;
pub(super) mod first;
pub(super) mod forms;
pub(super) mod host;
pub(super) mod hosts;
pub(super) mod hosts_cells;
pub(super) mod hosts_model;
pub(super) mod images;
pub(super) mod keys;
pub(super) mod labs;
pub(super) mod machine_dialogs;
pub(super) mod maintenance;
pub(super) mod network;
pub(super) mod packets;
pub(super) mod palette;
pub(super) mod save;
pub(super) mod seats;
pub(super) mod seats_model;
pub(super) mod serve_form;
pub(super) mod settings;
pub(super) mod settings_fields;
pub(super) mod settings_form;
pub(super) mod settings_rows;
pub(super) mod settings_window;
pub(super) mod top;

use bootyard_core::api::{Command, HostId, Snapshot};
use bootyard_core::lab::Boot;
use jiff::Timestamp;

use super::action::{Action, Screen, UiCommand};
use super::widgets::assign::Pick;

/// What a view is given.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// What is so.
    pub(super) shot: &'a Snapshot,
    /// Tells this snapshot from every other that the window has had.
    pub(super) number: u64,
    /// Wall time of this frame.
    pub(super) now: Timestamp,
    /// What a person wants.
    pub(super) out: &'a mut Vec<Action>,
}

impl View<'_> {
    fn push(&mut self, action: Action) {
        self.out.push(action);
    }

    fn run(&mut self, command: UiCommand) {
        self.push(Action::Run(command));
    }

    fn send(&mut self, command: Command, said: impl Into<String>) {
        self.push(Action::Send(command, said.into()));
    }

    fn assign(&mut self, hosts: Vec<HostId>, to: Boot) {
        self.push(Action::Assign(hosts, to));
    }

    /// What was clicked in a list of what machines can get.
    fn give(&mut self, hosts: Vec<HostId>, pick: Pick) {
        self.push(match pick {
            Pick::Boot(boot) => Action::Assign(hosts, boot),
            Pick::Directly(disk) => Action::StartDirectly(hosts, disk),
        });
    }

    fn show(&mut self, screen: Screen) {
        self.push(Action::Show(screen));
    }

    /// Seconds since then.
    fn since(&self, then: Timestamp) -> i64 {
        self.now.duration_since(then).as_secs().max(0)
    }
}
