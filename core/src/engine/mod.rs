//! Starts, supervises and stops it all; the only module that knows all the others.
//!
//! * [`state`] is what is folded from events, behind one lock; [`boots`], [`clock`] and [`views`] are parts of it.
//! * [`run`] is the loop: observations in, snapshots out, commands carried out ([`commands`], [`machines`], [`settings`]).
//! * [`serving`] starts and stops the servers; [`web`], [`gate`] and [`files`] answer what they ask: what does this path mean, who
//!   may use this disk, where is this boot file. [`firmware`] takes in boot files that a person brings.
//! * [`explain`] answers with what a machine would be given, and why.
//! * [`packets`] answers with what was captured of a machine, and [`recorded`] folds a recording as if it were happening here.
//! * [`control`] is the socket through which another process of the lab's owner holds the same handle.

mod alarms;
mod boots;
mod cards;
mod clock;
mod commands;
pub mod control;
mod direct;
mod disks;
mod doctor;
mod explain;
mod files;
mod firmware;
mod gate;
mod inspect;
mod judge;
mod machines;
mod modes;
mod packets;
pub mod recorded;
mod refresh;
mod run;
mod serving;
mod settings;
mod shared;
mod state;
mod views;
mod web;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod commands_tests;
#[cfg(test)]
mod disks_tests;
#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod inspect_tests;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod own_tests;
#[cfg(test)]
mod web_tests;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api::{EngineHandle, HostId, Keeper, KeeperKind, Snapshot, reports};
use crate::disks::Store;
use crate::lab::{Db, DbError, Folder, HostRecord, LabError, LeaseState, Lock, this_machine};

use self::run::Run;
use self::shared::Shared;
use self::state::{State, Tracked};

/// How an engine is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The interfaces that lab.toml names are confirmed by whoever started this (`bootyard serve`).
    pub trust_interfaces: bool,
    /// Answer on the control socket.
    pub control: bool,
    /// What kind of process it belongs to, for others that come by that socket.
    pub keeper: KeeperKind,
}

/// Why an engine could not open its lab.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// lab.db.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] control::ControlError),
}

/// An engine on one lab. It serves only after [`crate::api::Command::Start`].
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    close: oneshot::Sender<()>,
    run: JoinHandle<()>,
    control: Option<control::Server>,
}

impl Engine {
    /// Opens the lab in `dir`, making it if it is not there, and locks it. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`EngineError`]; a broken lab.toml is none: it is shown, and nothing can be started on it.
    pub async fn open(dir: &Path, options: Options) -> Result<Self, EngineError> {
        Self::open_sharing(dir, options).await.map(|(engine, _)| engine)
    }

    /// The same, with what its loop and its servers share.
    async fn open_sharing(dir: &Path, options: Options) -> Result<(Self, Arc<Shared>), EngineError> {
        let (run, shared, handle, lock) = prepare(dir, options).await?;
        let (close, closed) = oneshot::channel();
        let control = match options.control {
            true => Some(control::Server::start(dir, handle.clone())?),
            false => None,
        };
        let run = tokio::spawn(hold(lock, run.run(closed)));
        Ok((Self { handle, close, run, control }, shared))
    }

    /// The handle for a window or a command line.
    #[must_use]
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Stops serving, writes what is left to write and lets go of the lab.
    pub async fn close(self) {
        drop(self.control);
        let _already_gone_is_fine = self.close.send(());
        let _a_panic_ends_it_too = self.run.await;
    }
}

/// An engine's loop that has read its lab and does not run yet, what it shares, the handle to it, and the lab's lock.
async fn prepare(dir: &Path, options: Options) -> Result<(Run, Arc<Shared>, EngineHandle, Lock), EngineError> {
    let folder = Folder::open_or_create(dir)?;
    let lock = folder.lock()?;
    let db = Db::open(&folder.db())?;
    let (reporter, reports) = reports();
    let (requests, requests_rx) = mpsc::channel(1024);
    let mut state = restore(&db)?;
    state.keeper = Keeper { kind: options.keeper, pid: std::process::id() };
    let store = Store::new(folder.disks());
    let (handle, end) = EngineHandle::channel(Snapshot::default());
    let shared = Arc::new(Shared::new(state, folder, db, store, reporter, requests));
    let mut run = Run::new(shared.clone(), end, reports, requests_rx, options);
    run.load().await;
    Ok((run, shared, handle, lock))
}

/// The lab is this engine's until its loop has ended, also where the [`Engine`] is dropped without [`Engine::close`].
async fn hold(_lock: Lock, run: impl Future<Output = ()>) {
    run.await;
}

/// What lab.db remembers.
fn restore(db: &Db) -> Result<State, DbError> {
    let mut state = State::new(db.last_seq()?, db.recent_events(200)?);
    let machine = this_machine();
    state.confirmed = db.confirmed()?.into_iter().filter(|c| c.machine == machine).map(|c| c.mac).collect();
    state.directory.reserve(db.last_host()?);
    for record in db.hosts()? {
        let id = record.id;
        state.directory.restore(id, record.macs.clone(), record.uuid);
        if let Some(ip) = record.ip {
            state.directory.bind_ip(ip, id);
        }
        let mut tracked = Tracked::default();
        let host = &mut tracked.host;
        host.ip = record.ip;
        host.arch = record.arch;
        host.hostname = record.hostname;
        host.manufacturer = record.manufacturer;
        host.product = record.product;
        host.serial = record.serial;
        host.memory_mib = record.memory_mib;
        host.first_seen = record.first_seen;
        host.last_seen = record.last_seen;
        state.hosts.insert(id, tracked);
    }
    for lease in db.leases()? {
        let who = crate::api::Who { mac: Some(lease.mac), uuid: lease.uuid, ip: None };
        if lease.state == LeaseState::Bound
            && let Some(id) = state.directory.find(&who)
        {
            state.directory.bind_ip(lease.address.into(), id);
        }
    }
    for record in db.epochs()? {
        let (id, epoch) = shared::epoch_of(record);
        state.boots.restore(id, epoch);
    }
    state.unread = db.unread();
    Ok(state)
}

/// What lab.db keeps of a machine.
fn record(state: &State, id: HostId) -> Option<HostRecord> {
    let host = &state.hosts.get(&id)?.host;
    Some(HostRecord {
        id,
        macs: state.directory.macs(id).to_vec(),
        uuid: state.directory.uuid(id),
        hostname: host.hostname.clone(),
        ip: host.ip,
        arch: host.arch,
        manufacturer: host.manufacturer.clone(),
        product: host.product.clone(),
        serial: host.serial.clone(),
        memory_mib: host.memory_mib,
        first_seen: host.first_seen,
        last_seen: host.last_seen,
        last_stage: host.stage,
    })
}
