//! What the engine's loop, the HTTP server and the iSCSI threads share, and the one answer to "which machine is this?".

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::boots::{Epoch, How, PendingInstall};
use super::judge::Judged;
use super::state::State;
use crate::api::{Allowance, EventKind, HostId, Observation, Rate, Reporter, Who};
use crate::boot::{Decision, Plan, PlanNetwork, assignment};
use crate::disks::Store;
use crate::lab::{
    Boot, Db, Document, EpochRecord, Folder, Install, InstallRecord, InstallThen, Lab, LabError, Mode, Name, Network,
    Stamp, settings_of,
};
use crate::machine::Now;
use crate::net::{self, MacAddr};
use crate::trace;

/// Requests of one client for scripts, marks and answers.
const ASKS: Rate = Rate { burst: 100, per_second: 10 };
/// The same of all clients together.
const ALL_ASKS: Rate = Rate { burst: 5000, per_second: 500 };

/// A decision about a client waits this long for what other services have just learnt of it.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// What a service or a job asks of the engine's loop, because it writes lab.toml.
#[derive(Debug)]
pub(super) enum Request {
    /// An installation has proven to run.
    Consume {
        /// The machine.
        host: HostId,
        /// What it installs and what follows.
        install: PendingInstall,
        /// How it was proven.
        because: String,
    },
    /// A disk's kernel was taken out for these machines.
    Direct {
        /// The machines.
        hosts: Vec<HostId>,
        /// The disk.
        disk: Name,
        /// The profile that was made of it.
        profile: Name,
    },
}

/// Where packets come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Listening {
    /// The wire.
    #[default]
    Wire,
    /// Our own sockets, because of this.
    Sockets(String),
    /// Nowhere, because of this.
    Nowhere(String),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// The plan in force; whoever holds a request open for a waiting machine looks at it.
    pub(super) plan: watch::Sender<Arc<Plan>>,
    pub(super) folder: Folder,
    pub(super) db: Db,
    pub(super) store: Store,
    pub(super) reporter: Reporter,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) runtime: tokio::runtime::Handle,
    /// What was on the wire.
    pub(super) packets: trace::ring::Store,
    /// Where these packets come from.
    pub(super) listening: Mutex<Listening>,
    /// What was told of the disks' images.
    pub(super) judged: Judged,
    /// How often a client may ask for scripts and answers: far above what a machine needs that boots again and again.
    pub(super) asks: Allowance,
    /// Held from the reading of lab.toml to its writing, by the loop and by jobs that end.
    editing: Mutex<()>,
}

impl Shared {
    pub(super) fn new(
        state: State,
        folder: Folder,
        db: Db,
        store: Store,
        reporter: Reporter,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        let plan = watch::Sender::new(state.plan.clone());
        let runtime = tokio::runtime::Handle::current();
        Self {
            state: Mutex::new(state),
            plan,
            folder,
            db,
            store,
            reporter,
            requests,
            runtime,
            packets: trace::ring::Store::default(),
            listening: Mutex::default(),
            judged: Judged::default(),
            asks: Allowance::new(ASKS, ALL_ASKS),
            editing: Mutex::new(()),
        }
    }

    /// The state. Held for moments only: never across a wait, a file or a socket.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock can only come from a defect; going on with what is there beats stopping thirty machines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Edits lab.toml: a broken file is never edited, an edit never breaks one, and what a person saves meanwhile stays. Blocks.
    ///
    /// An edit that names an entry by its number gives the `stamp` of the file in which it counted.
    pub(super) fn edit(
        &self,
        stamp: Option<&Stamp>,
        edit: impl FnOnce(&mut Document) -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let _editing = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.folder.stamp();
        if stamp.is_some() && read.as_ref() != stamp {
            return Err(LabError::Overtaken);
        }
        let mut document = Document::parse(&self.folder.read_text()?)?;
        edit(&mut document)?;
        self.folder.write_toml_over(document.text(), read.as_ref())
    }

    /// Reports that something happened, to this client or to none.
    pub(super) fn report(&self, who: Option<Who>, kind: EventKind) {
        self.reporter.report(Now::read(), Observation { who, kind });
    }

    /// Changes the plan in force.
    pub(super) fn change_plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        self.change(|_, plan| change(plan))
    }

    /// Changes state and plan together: no change is made of a plan that another has just replaced.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, &mut Plan) -> T) -> T {
        let mut state = self.state();
        let mut plan = (*state.plan).clone();
        let told = change(&mut state, &mut plan);
        state.set_plan(Arc::new(plan));
        // Under the lock, so that whoever waits for a change sees the newest last. Nobody looks at the state with a plan borrowed.
        self.plan.send_replace(state.plan.clone());
        told
    }

    /// Changes a network in service. `change` is given it, its entry of lab.toml, and whether another DHCP server was seen there.
    pub(super) fn change_network<T: Default>(
        &self,
        interface: &str,
        change: impl FnOnce(&mut PlanNetwork, Option<&Network>, bool) -> T,
    ) -> T {
        self.change(|state, plan| {
            let seen = state.foreign.contains_key(interface);
            let lab = plan.lab.clone();
            match plan.networks.iter_mut().find(|n| n.interface == interface) {
                Some(network) => {
                    let configured = lab.networks.get(network.index);
                    change(network, configured, seen)
                }
                None => T::default(),
            }
        })
    }

    /// Takes a lab.toml that was just read in force. Other networks or ports than those in service wait for the next start.
    pub(super) fn take_lab(&self, lab: Lab) {
        self.change(|state, plan| {
            let lab = Arc::new(lab);
            state.restart_needed = !adopt(plan, &lab);
            state.problems.clear();
            state.set_lab(lab);
        });
    }

    /// Shows what the text says from which that lab.toml was read.
    pub(super) fn take_settings(&self, text: &str) {
        let (lab, hosts) = {
            let state = self.state();
            (state.lab.clone(), state.configured.clone())
        };
        let settings = Arc::new(settings_of(text, &lab, &hosts));
        self.state().settings = settings;
    }

    /// Puts networks in service that were prepared under `lab`.
    pub(super) fn serve_networks(&self, lab: &Lab, networks: &[PlanNetwork]) -> Result<(), String> {
        self.change(|state, plan| {
            plan.networks = rematch(lab, &state.lab, networks)
                .ok_or("the networks of lab.toml changed while they were being started; start again")?;
            plan.lab = state.lab.clone();
            Ok(())
        })
    }

    /// Nothing is in service any more: all of lab.toml is in force.
    pub(super) fn serve_nothing(&self) {
        self.change(|state, plan| {
            plan.networks = Vec::new();
            plan.lab = state.lab.clone();
            state.restart_needed = false;
        });
    }

    /// The network through which a client at `peer` reaches our address `local`.
    pub(super) fn network(plan: &Plan, local: Option<Ipv4Addr>, peer: IpAddr) -> Option<&PlanNetwork> {
        let by_local = local.and_then(|local| plan.networks.iter().find(|n| n.address.address == local));
        let IpAddr::V4(peer) = peer else {
            return by_local;
        };
        by_local.or_else(|| plan.network_of(peer)).or_else(|| plan.networks.first())
    }

    /// The machine at `peer`: the holder of the address. Beside another server, which may have given the address to somebody else
    /// since, the neighbour table comes first.
    pub(super) fn client(&self, peer: IpAddr) -> Option<HostId> {
        let (holder, asked) = {
            let state = self.state();
            let network = state.plan.networks.iter().find(|n| matches!(peer, IpAddr::V4(p) if n.address.contains(p)));
            (state.directory.holder(peer), network.map(|n| (n.interface.clone(), n.mode)))
        };
        if let (Some(holder), None | Some((_, Mode::Dhcp))) = (holder, &asked) {
            return Some(holder);
        }
        let (IpAddr::V4(ip), Some((interface, _))) = (peer, asked) else {
            return holder;
        };
        match net::neighbour(ip, &interface) {
            Some(mac) => self.state().directory.resolve(&Who { mac: Some(mac), uuid: None, ip: Some(peer) }),
            None => holder,
        }
    }

    /// The machine at `peer`, which says that its hardware address is `mac`. A claim that what is known contradicts is refused;
    /// where nothing is known (a client behind a router) it is taken, because a MAC can be forged anyway.
    pub(super) fn claimed(&self, mac: MacAddr, peer: IpAddr) -> Result<HostId, String> {
        let known = self.client(peer);
        let mut state = self.state();
        let who = Who { mac: Some(mac), uuid: None, ip: Some(peer) };
        match known {
            Some(id) if state.directory.macs(id).contains(&mac) => Ok(id),
            Some(id) => Err(format!("{peer} is {}'s address, not {mac}'s", state.shown_name(id))),
            None if mac.is_group() => Err(format!("{mac} is no machine's address")),
            None => state.directory.resolve(&who).ok_or_else(|| format!("{mac} is not known here")),
        }
    }

    /// What this machine gets from this network, and why.
    pub(super) fn assignment(&self, id: HostId, network: &PlanNetwork) -> Option<Decision<Boot>> {
        let state = self.state();
        let mac = *state.directory.macs(id).first()?;
        let mut decision = assignment(&state.plan, network, mac, state.directory.uuid(id));
        if let (Some(owed), Boot::Install(install)) = (state.owed.get(&id), &decision.value)
            && owed.profile == install.profile
        {
            decision.value = owed.then.clone().into();
        }
        Some(decision)
    }

    /// With the disk's own `writes` where the host has none.
    fn with_writes(&self, mut boot: Boot) -> Boot {
        let (Boot::Iscsi(iscsi) | Boot::Install(Install { then: InstallThen::Iscsi(iscsi), .. })) = &mut boot else {
            return boot;
        };
        if iscsi.writes.is_none() {
            iscsi.writes = self.state().lab.disk(&iscsi.disk).map(|disk| disk.writes);
        }
        boot
    }

    /// Begins a boot epoch: this machine is given `boot` now. Ready when that is on disk.
    pub(super) async fn begin(&self, id: HostId, boot: &Boot, how: How) -> Result<Epoch, String> {
        // What lab.toml says of the disk now holds until the next boot, whatever is edited meanwhile.
        let boot = self.with_writes(boot.clone());
        let epoch = self.state().boots.begin(id, &boot, how);
        self.keep_epoch(id, &epoch).await?;
        Ok(epoch)
    }

    /// Writes an epoch to lab.db.
    pub(super) async fn keep_epoch(&self, id: HostId, epoch: &Epoch) -> Result<(), String> {
        if self.state().is_self_test(id) {
            return Ok(());
        }
        let kept = self.db.put_epoch(epoch_record(id, epoch)).await;
        kept.map_err(|e| e.to_string())
    }

    /// The installation of this host has proven to run; only the first proof counts.
    pub(super) fn consume(&self, id: HostId, profile: &str, because: &str) {
        let Some(install) = self.state().boots.consume(id, profile) else {
            return;
        };
        let request = Request::Consume { host: id, install, because: because.to_owned() };
        if self.requests.try_send(request).is_err() {
            self.report(None, EventKind::LabBroken { problems: vec!["too many installations end at once".into()] });
        }
    }
}

/// Puts `lab` in force for the networks in service. False when it names other networks or ports: these stay as they are, and all
/// else in the file is in force.
fn adopt(plan: &mut Plan, lab: &Arc<Lab>) -> bool {
    match rematch(&plan.lab, lab, &plan.networks) {
        Some(networks) => {
            plan.networks = networks;
            plan.lab = lab.clone();
            true
        }
        None => {
            let in_force = |old: &Network| match lab.networks.iter().find(|new| new.interface == old.interface) {
                // At another address its ranges would be others', too.
                Some(new) if new.address == old.address => Network { mode: old.mode, force: old.force, ..new.clone() },
                _ => old.clone(),
            };
            let networks = plan.lab.networks.iter().map(in_force).collect();
            plan.lab = Arc::new(Lab { networks, ports: plan.lab.ports, ..(**lab).clone() });
            false
        }
    }
}

/// The networks in service, matched anew to the entries of a changed lab.toml. `None` when other networks or ports are named than
/// those in service.
fn rematch(old: &Lab, new: &Lab, serving: &[PlanNetwork]) -> Option<Vec<PlanNetwork>> {
    if serving.is_empty() {
        return Some(Vec::new());
    }
    let identity = |n: &Network| (n.interface.clone(), n.address, n.mode, n.force);
    let same = old.ports == new.ports
        && old.networks.len() == new.networks.len()
        && old.networks.iter().all(|n| new.networks.iter().any(|m| identity(m) == identity(n)));
    if !same {
        return None;
    }
    serving
        .iter()
        .map(|n| {
            let index = new.networks.iter().position(|m| m.interface == n.interface)?;
            Some(PlanNetwork { index, ..n.clone() })
        })
        .collect()
}

/// An epoch as lab.db keeps it.
pub(super) fn epoch_record(host: HostId, epoch: &Epoch) -> EpochRecord {
    let install = epoch.install.as_ref().map(|install| InstallRecord {
        profile: install.profile.clone(),
        then: install.then.clone(),
        token: install.token.clone(),
        unassigned: install.unassigned,
        consumed: install.consumed,
    });
    EpochRecord {
        host,
        id: epoch.id,
        disk: epoch.disk.clone(),
        writes: epoch.writes,
        fresh: epoch.fresh,
        by_system: epoch.by_system,
        install,
    }
}

/// The same, read back.
pub(super) fn epoch_of(record: EpochRecord) -> (HostId, Epoch) {
    let install = record.install.map(|install| PendingInstall {
        profile: install.profile,
        then: install.then,
        token: install.token,
        unassigned: install.unassigned,
        consumed: install.consumed,
    });
    let EpochRecord { host, id, disk, writes, fresh, by_system, .. } = record;
    (host, Epoch { id, disk, writes, fresh, by_system, install })
}
