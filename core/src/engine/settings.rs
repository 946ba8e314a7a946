//! Settings of lab.toml that are changed while it is served: tried, written, and followed by what runs.
//!
//! Most of them are in force with the next plan. Ports are opened beside the former ones, which stay until serving stops, because
//! machines were told of them; and a network whose mode is changed is probed as at the start. Only another interface or address
//! waits for the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::modes;
use super::run::Run;
use super::serving::blocking;
use crate::api::{CommandError, HostId, Reply, Stage};
use crate::boot::PlanNetwork;
use crate::lab::{
    Document, HostRef, Lab, LabError, Mode, Network, SettingChange, SettingPlace, SettingProblem, SettingSurroundings,
    parse,
};
use crate::net::MacAddr;

/// Why what runs cannot follow: the key, and a sentence.
type Stuck = (&'static str, String);

impl Run {
    /// Makes the changes, or only says what is wrong with them.
    pub(super) async fn settings(&mut self, changes: Vec<SettingChange>, trial: bool) -> Result<Reply, CommandError> {
        self.catch_up().await;
        self.refuse_if_broken()?;
        let hosts = self.host_refs(&changes)?;
        let refs = hosts.clone();
        let interfaces = self.shared.state().interfaces.clone();
        let (shared, tried) = (self.shared.clone(), changes.clone());
        let judge = move |document: &mut Document| {
            let around = SettingSurroundings { folder: &shared.folder, interfaces: &interfaces, hosts: &hosts };
            document.change_settings(&tried, &around)
        };
        let (shared, try_it) = (self.shared.clone(), judge.clone());
        let trying = blocking(move || -> Result<(Vec<SettingProblem>, String), LabError> {
            let mut document = Document::parse(&shared.folder.read_text()?)?;
            let problems = try_it(&mut document)?;
            Ok((problems, document.text().to_owned()))
        });
        let (mut problems, text) = trying.await.map_err(CommandError::new)?.map_err(CommandError::new)?;
        if trial {
            return Ok(Reply::Settings { problems });
        }
        if let Some(refused) = refusal(&changes, &problems) {
            return Err(CommandError::new(refused));
        }
        let mut before = Vec::new();
        if let Ok(lab) = parse(&text) {
            if let Err((key, why)) = self.make_ready(&lab).await {
                return Err(CommandError::new(format!("`{key}`: {why}")));
            }
            before = self.readdress(&changes, &refs, &lab);
        }
        let edited = self
            .edit(move |document| {
                let found = judge(document)?;
                match found.iter().any(|problem| problem.error) {
                    true => Err(LabError::NoEntry),
                    false => Ok(()),
                }
            })
            .await;
        if let Err(refused) = edited {
            let mut state = self.shared.state();
            before.into_iter().for_each(|(id, macs, uuid)| state.directory.readdress(id, macs, uuid));
            return Err(refused);
        }
        self.merge_doubles(before.into_iter().map(|(id, ..)| id));
        problems.retain(|problem| !problem.error);
        Ok(Reply::Settings { problems })
    }

    /// The entries of the machines that the changes are about.
    fn host_refs(&self, changes: &[SettingChange]) -> Result<BTreeMap<HostId, HostRef>, CommandError> {
        let ids = changes.iter().filter_map(|change| match change.place() {
            SettingPlace::Host { host } => Some(*host),
            _ => None,
        });
        let gone = || CommandError::new("this machine was forgotten meanwhile; select it again");
        ids.map(|id| Ok((id, self.host_ref(id).ok_or_else(gone)?))).collect()
    }

    /// Machines whose MAC or UUID a person is about to change in `lab` stay the machines that they are: what they keep on disks bears
    /// their number. Gives back what they had.
    fn readdress(&self, changes: &[SettingChange], refs: &BTreeMap<HostId, HostRef>, lab: &Lab) -> Vec<Known> {
        let mut state = self.shared.state();
        let mut before = Vec::new();
        for (id, index) in entries_after(changes, refs, state.lab.hosts.len()) {
            let Some(entry) = lab.hosts.get(index) else { continue };
            let former = match refs.get(&id) {
                Some(HostRef::Entry(index)) => state.lab.hosts.get(*index).map(|h| h.macs.clone()),
                Some(HostRef::New { mac, .. }) => Some(vec![*mac]),
                None => None,
            };
            let (had, former) = (state.directory.macs(id).to_vec(), former.unwrap_or_default());
            // What it was seen with besides is still its own.
            let besides = had.iter().filter(|mac| !former.contains(mac) && !entry.macs.contains(mac));
            let macs = entry.macs.iter().chain(besides).copied().collect();
            let known = state.directory.uuid(id);
            let changed = |key: &str| changes.iter().any(|c| c.key() == Some(key) && is_of(c, id));
            let uuid = if changed("uuid") { entry.uuid } else { known };
            state.directory.readdress(id, macs, uuid);
            before.push((id, had, known));
        }
        before
    }

    /// A stranger that was seen under the address that a machine has been given is that machine: its row would stay for ever as it is. One
    /// that runs from a disk keeps its own until it is forgotten.
    fn merge_doubles(&self, machines: impl Iterator<Item = HostId>) {
        let mut merged = Vec::new();
        {
            let mut state = self.shared.state();
            for id in machines {
                for double in state.directory.doubles(id) {
                    let stage = state.hosts.get(&double).map(|tracked| tracked.host.stage);
                    if stage.is_none_or(|stage| !RUNS.contains(&stage)) {
                        state.directory.merge(double, id);
                        state.forget(double);
                        merged.push(double);
                    }
                }
            }
        }
        for double in merged {
            self.shared.db.delete_host(double);
            self.shared.db.delete_epoch(double);
        }
    }

    /// Opens what a lab.toml needs that is to be in force while the servers run.
    async fn make_ready(&mut self, lab: &Lab) -> Result<(), Stuck> {
        let plan = self.shared.plan.borrow().clone();
        let Some(serving) = &mut self.serving else { return Ok(()) };
        for (network, new) in remoded(&plan.networks, &plan.lab, lab) {
            if new.mode == Mode::Dhcp && !serving.own_port.contains(&network.interface) {
                let why = "another program on this computer has the DHCP port; stop that program, then serving, and start again";
                return Err(("mode", why.to_owned()));
            }
        }
        serving.open_ports(&self.shared, &plan, lab.ports).await
    }

    /// What runs follows a lab.toml that is about to be in force, as far as it can.
    pub(super) async fn follow(&mut self, lab: &Lab) {
        if self.make_ready(lab).await.is_err() {
            // The finding that a new start is needed says so.
            return;
        }
        let Some(serving) = &self.serving else { return };
        let plan = self.shared.plan.borrow().clone();
        let changed = remoded(&plan.networks, &plan.lab, lab);
        if changed.is_empty() && plan.lab.ports == lab.ports {
            return;
        }
        self.shared.change_plan(|plan| {
            let mut now = (*plan.lab).clone();
            now.ports = lab.ports;
            for (network, new) in &changed {
                if let Some(old) = now.networks.get_mut(network.index) {
                    (old.mode, old.force) = (new.mode, new.force);
                }
            }
            plan.lab = Arc::new(now);
        });
        for (network, new) in changed {
            let own_port = serving.own_port.contains(&network.interface);
            tokio::spawn(modes::settle(self.shared.clone(), serving.ports.clone(), network, new, own_port));
        }
    }
}

/// Stages in which a machine may have a session or an installation under its number.
const RUNS: [Stage; 6] =
    [Stage::Loading, Stage::SanLogin, Stage::OsStarted, Stage::OsLogin, Stage::Installing, Stage::Running];

/// A machine with its hardware addresses and its UUID.
type Known = (HostId, Vec<MacAddr>, Option<Uuid>);

fn is_of(change: &SettingChange, host: HostId) -> bool {
    matches!(change.place(), SettingPlace::Host { host: of } if *of == host)
}

/// The machines whose MAC or UUID is changed, each with the number of its entry afterwards. `count`: the entries before.
fn entries_after(changes: &[SettingChange], refs: &BTreeMap<HostId, HostRef>, count: usize) -> BTreeMap<HostId, usize> {
    let mut all = BTreeMap::new();
    let mut next = count;
    for change in changes {
        let SettingChange::Set { place: SettingPlace::Host { host }, value, .. } = change else { continue };
        match refs.get(host) {
            Some(HostRef::Entry(index)) => {
                all.insert(*host, *index);
            }
            // It is appended with the first key that is written.
            Some(HostRef::New { .. }) if value.is_some() && !all.contains_key(host) => {
                all.insert(*host, next);
                next += 1;
            }
            _ => {}
        }
    }
    let identity = |id: &HostId| changes.iter().any(|c| is_of(c, *id) && matches!(c.key(), Some("mac" | "uuid")));
    all.retain(|id, _| identity(id));
    all
}

/// The networks in service whose mode, or `force`, is another one in `new`; those that are other networks by then are left out.
fn remoded(serving: &[PlanNetwork], old: &Lab, new: &Lab) -> Vec<(PlanNetwork, Network)> {
    let changed = |network: &PlanNetwork| {
        let before = old.networks.get(network.index)?;
        let now = new.networks.iter().find(|n| n.interface == network.interface)?;
        let same = before.address == now.address && (before.mode, before.force) != (now.mode, now.force);
        same.then(|| (network.clone(), now.clone()))
    };
    serving.iter().filter_map(changed).collect()
}

/// The sentence for whoever sent changes that cannot be made: each with the key that it is about.
fn refusal(changes: &[SettingChange], problems: &[SettingProblem]) -> Option<String> {
    let said = |problem: &SettingProblem| {
        let key = problem.change.and_then(|number| changes.get(number)).and_then(SettingChange::key);
        match key {
            Some(key) if !problem.message.contains(&format!("`{key}`")) => format!("`{key}`: {}", problem.message),
            _ => problem.message.clone(),
        }
    };
    let errors: Vec<String> = problems.iter().filter(|problem| problem.error).map(said).collect();
    (!errors.is_empty()).then(|| errors.join("\n"))
}

#[cfg(test)]
mod tests;
