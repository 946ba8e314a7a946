//! The target's sockets and threads.
//!
//! One thread accepts for each address ([`accept`]), one serves each connection with plain blocking reads and writes
//! ([`connection`]): a read that the page cache can answer is fastest where it is asked for. [`registry`] knows the sessions:
//! reinstatement, handles, the units that sessions share. [`batch`] gathers replies into one write; [`progress`] tells people how much
//! is moved.

mod accept;
mod batch;
mod connection;
mod progress;
mod registry;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use self::progress::Progress;
use self::registry::Registry;
use super::Gate;
use crate::api::{Reporter, Who};
use crate::machine::Now;
use crate::net::{NetError, PortSet, QuickWaking, TcpSpec, suit_a_lan};
use crate::trace::own::Tap;

/// What the target needs.
#[derive(Debug)]
pub struct Config<G> {
    /// Where to listen, and on which interface only.
    pub binds: Vec<(SocketAddrV4, Option<String>)>,
    /// Opens the ports.
    pub ports: Arc<dyn PortSet>,
    /// Decides who may log in.
    pub gate: Arc<G>,
    /// Takes the events.
    pub reporter: Reporter,
    /// Takes what is received and sent, where nobody captures it.
    pub tap: Tap,
}

/// A session, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// Its handle.
    pub tsih: u16,
    /// `InitiatorName`.
    pub initiator: String,
    /// `TargetName`.
    pub target: String,
    /// Name of the disk.
    pub disk: String,
    /// The machine.
    pub who: Who,
    /// Source address.
    pub peer: SocketAddr,
    /// iPXE's or a ROM's.
    pub firmware: bool,
    /// When its login succeeded.
    pub since: Now,
}

/// What all threads share.
pub(super) struct Shared<G> {
    gate: Arc<G>,
    reporter: Reporter,
    registry: Arc<Registry>,
    progress: Arc<Progress>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tap: Tap,
    /// Targets from whose files the kernel could not send: they are read.
    unsendable: Mutex<BTreeSet<String>>,
}

/// Accepts on a listener until the pipe says that it is over.
type Accept = dyn Fn(&TcpListener, &PipeReader) + Send + Sync;

/// A running target.
pub struct Service {
    addresses: Vec<SocketAddr>,
    registry: Arc<Registry>,
    wakers: Vec<PipeWriter>,
    accepting: Vec<JoinHandle<()>>,
    progress: Arc<Progress>,
    telling: Option<JoinHandle<()>>,
    connections: Arc<dyn Fn() -> Vec<JoinHandle<()>> + Send + Sync>,
    accept: Arc<Accept>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Opens the ports and begins to serve.
///
/// # Errors
/// [`NetError`], with the owner of a taken port.
#[allow(clippy::needless_pass_by_value, reason = "a configuration is used up")]
pub fn start<G: Gate>(config: Config<G>) -> Result<Service, NetError> {
    let registry = Arc::new(Registry::default());
    let progress = Arc::new(Progress::new(config.reporter.clone()));
    let shared = Arc::new(Shared {
        gate: config.gate.clone(),
        reporter: config.reporter.clone(),
        registry: registry.clone(),
        progress: progress.clone(),
        threads: Mutex::default(),
        tap: config.tap,
        unsendable: Mutex::default(),
    });
    let connections = {
        let shared = shared.clone();
        Arc::new(move || std::mem::take(&mut *shared.threads()))
    };
    let accept = Arc::new(move |listener: &TcpListener, asleep: &PipeReader| accept::accept(&shared, listener, asleep));
    let telling = {
        let (progress, waking) = (progress.clone(), QuickWaking::open());
        let thread = std::thread::Builder::new().name("iscsi-progress".into()).spawn(move || progress.run(waking));
        thread.map_err(|source| NetError::Io { what: "cannot start a thread for iSCSI".to_owned(), source })?
    };
    let mut service = Service {
        addresses: Vec::new(),
        registry,
        wakers: Vec::new(),
        accepting: Vec::new(),
        progress,
        telling: Some(telling),
        connections,
        accept,
    };
    match service.listen_also(&*config.ports, &config.binds) {
        Ok(()) => Ok(service),
        Err(error) => {
            service.stop();
            Err(error)
        }
    }
}

impl<G> Shared<G> {
    fn unsendable(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.unsendable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Listens at these addresses, too. Sessions are the same whichever address they come by.
    ///
    /// # Errors
    /// [`NetError`], with the owner of a taken port; none of them is kept then.
    pub fn listen_also(
        &mut self,
        ports: &dyn PortSet,
        binds: &[(SocketAddrV4, Option<String>)],
    ) -> Result<(), NetError> {
        let mut opened = Vec::new();
        for (bind, interface) in binds {
            let listener = ports.tcp(&TcpSpec { bind: SocketAddr::V4(*bind), interface: interface.clone() })?;
            suit_a_lan(&listener);
            opened.push((listener, *bind));
        }
        opened.into_iter().try_for_each(|(listener, bind)| self.listen(listener, bind))
    }

    fn listen(&mut self, listener: TcpListener, bind: SocketAddrV4) -> Result<(), NetError> {
        let failed = |source| NetError::Io { what: format!("cannot listen for iSCSI on {bind}"), source };
        self.addresses.push(listener.local_addr().map_err(failed)?);
        let (asleep, waker) = std::io::pipe().map_err(failed)?;
        let accept = self.accept.clone();
        let thread = std::thread::Builder::new()
            .name("iscsi-accept".into())
            .spawn(move || accept(&listener, &asleep))
            .map_err(failed)?;
        self.wakers.push(waker);
        self.accepting.push(thread);
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The sessions that are logged in to a disk.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.registry.sessions()
    }

    /// Ends a session; its initiator may log in again. Whether there was one.
    pub fn end(&self, tsih: u16) -> bool {
        self.registry.end(tsih)
    }

    /// Ends it all. Blocks until every disk is flushed and closed.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        for mut waker in self.wakers.drain(..) {
            // That the thread has gone already is as good.
            let _ = waker.write_all(&[0]);
        }
        for thread in self.accepting.drain(..) {
            let _ = thread.join();
        }
        self.registry.stop();
        loop {
            let threads = (self.connections)();
            if threads.is_empty() {
                break;
            }
            for thread in threads {
                let _ = thread.join();
            }
        }
        self.progress.stop();
        if let Some(thread) = self.telling.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.halt();
    }
}

#[cfg(test)]
mod tests;
