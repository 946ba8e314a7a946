//! The handle through which a window or a command line holds an engine: snapshots come down, commands go up.
//!
//! A handle is the same whether the engine runs in this process ([`crate::engine::Engine::handle`]) or answers on its control
//! socket (`crate::engine::control::connect`): both ends are channels.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{Command, CommandError, Event, Reply, Snapshot};

/// A command with the way back for its reply.
pub(crate) type Envelope = (Command, oneshot::Sender<Result<Reply, CommandError>>);

/// Why a command could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The engine's task ended, or its socket closed.
    #[error("the engine has gone; start Bootyard again")]
    Gone,
    /// The engine answered with an error.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// See the module's text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) changed: watch::Receiver<u64>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) commands: mpsc::Sender<Envelope>,
}

impl EngineHandle {
    /// The newest snapshot. Never blocks.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Changes whenever there is a newer snapshot.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Every event from now on. A reader that lags is told how many it missed.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Hands a command over without waiting; the receiver yields the reply. For the window.
    ///
    /// # Errors
    /// [`HandleError::Gone`] when the engine has gone or its queue is full.
    pub fn send(&self, command: Command) -> Result<oneshot::Receiver<Result<Reply, CommandError>>, HandleError> {
        let (tx, rx) = oneshot::channel();
        self.commands.try_send((command, tx)).map_err(|_| HandleError::Gone)?;
        Ok(rx)
    }

    /// Hands a command over and waits for its reply.
    ///
    /// # Errors
    /// [`HandleError::Gone`] when the engine has gone, [`HandleError::Refused`] with the engine's own words.
    pub async fn call(&self, command: Command) -> Result<Reply, HandleError> {
        let (tx, rx) = oneshot::channel();
        self.commands.send((command, tx)).await.map_err(|_| HandleError::Gone)?;
        Ok(rx.await.map_err(|_| HandleError::Gone)??)
    }

    /// A handle to no engine, with channels for the other end. What an engine, a socket client and tests build on.
    #[must_use]
    pub fn channel(first: Snapshot) -> (Self, HandleEnd) {
        let snapshot = Arc::new(ArcSwap::from_pointee(first));
        let (changed_tx, changed) = watch::channel(0);
        let (events, _) = broadcast::channel(4096);
        let (commands, commands_rx) = mpsc::channel(64);
        let end = HandleEnd {
            snapshot: snapshot.clone(),
            changed: changed_tx,
            events: events.clone(),
            commands: commands_rx,
        };
        (Self { snapshot, changed, events, commands }, end)
    }
}

/// The engine's end of a handle.
#[derive(Debug)]
pub struct HandleEnd {
    snapshot: Arc<ArcSwap<Snapshot>>,
    changed: watch::Sender<u64>,
    events: broadcast::Sender<Arc<Event>>,
    /// Commands as they come.
    pub commands: mpsc::Receiver<Envelope>,
}

impl HandleEnd {
    /// Makes a snapshot the newest.
    pub fn publish(&self, snapshot: Snapshot) {
        let seq = snapshot.seq;
        self.snapshot.store(Arc::new(snapshot));
        self.changed.send_modify(|v| *v = seq);
    }

    /// Passes an event to all who follow.
    pub fn emit(&self, event: Arc<Event>) {
        let _no_follower_is_fine = self.events.send(event);
    }
}
