//! The way of observations from the services to the engine.
//!
//! A state event is never dropped and reporting never waits, so the queue has no hard end; what bounds it is that progress, the
//! only frequent kind, is dropped while the engine is behind, and that every service limits what one client can cause.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Observation;
use crate::machine::Now;

/// Progress is dropped while this many observations wait.
const CROWDED: usize = 4096;

/// An observation with the time at which it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// When.
    pub at: Now,
    /// What.
    pub observation: Observation,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Reported>,
    reported: u64,
    folded: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
    folded: Notify,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        // The queue is consistent after every statement, so a panic elsewhere leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service's end. Cheap to clone; works in tasks and in threads.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<Shared>);

/// The engine's end.
#[derive(Debug)]
pub struct Reports(Arc<Shared>);

/// A new queue.
#[must_use]
pub fn reports() -> (Reporter, Reports) {
    let shared = Arc::new(Shared::default());
    (Reporter(shared.clone()), Reports(shared))
}

impl Reporter {
    /// Hands an observation to the engine. Never waits.
    pub fn report(&self, at: Now, observation: Observation) {
        self.report_all(at, [observation]);
    }

    /// Hands several observations of one moment to the engine, in order. Never waits.
    pub fn report_all(&self, at: Now, observations: impl IntoIterator<Item = Observation>) {
        let mut queue = self.0.queue();
        let before = queue.reported;
        for observation in observations {
            if !observation.kind.is_progress() || queue.waiting.len() < CROWDED {
                queue.reported += 1;
                queue.waiting.push_back(Reported { at, observation });
            }
        }
        let any = queue.reported > before;
        drop(queue);
        if any {
            self.0.arrived.notify_one();
        }
    }

    /// Waits until the engine has folded all that was reported before this call, so that a decision about a client sees what
    /// another service has just learnt of it.
    pub async fn settled(&self) {
        let until = self.0.queue().reported;
        loop {
            let folded = self.0.folded.notified();
            if self.0.queue().folded >= until {
                return;
            }
            folded.await;
        }
    }
}

impl Reports {
    /// Waits for observations and takes all that are there.
    pub async fn next(&mut self) -> Vec<Reported> {
        loop {
            let arrived = self.0.arrived.notified();
            let batch = self.waiting();
            if !batch.is_empty() {
                return batch;
            }
            arrived.await;
        }
    }

    /// Takes all that are there, which may be none.
    pub fn waiting(&self) -> Vec<Reported> {
        self.0.queue().waiting.drain(..).collect()
    }

    /// This many more observations are folded.
    pub fn folded(&mut self, count: usize) {
        self.0.queue().folded += count as u64;
        self.0.folded.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::EventKind;
    use std::time::Duration;

    #[tokio::test]
    async fn progress_gives_way_and_state_never_does() {
        let (reporter, mut reports) = reports();
        let now = Now::at(Duration::ZERO);
        let progress = EventKind::HttpProgress { path: "/x".into(), sent: 1, total: 2 };
        for _ in 0..CROWDED + 10 {
            reporter.report(now, Observation::engine(progress.clone()));
        }
        reporter.report(now, Observation::engine(EventKind::LabChanged));
        let batch = reports.next().await;
        assert_eq!(batch.len(), CROWDED + 1);
        assert_eq!(batch[CROWDED].observation.kind, EventKind::LabChanged);
    }

    #[tokio::test]
    async fn settled_waits_for_the_fold_of_what_came_before() {
        let (reporter, mut reports) = reports();
        reporter.settled().await;
        reporter.report(Now::at(Duration::ZERO), Observation::engine(EventKind::LabChanged));
        let waiting = tokio::spawn({
            let reporter = reporter.clone();
            async move { reporter.settled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let batch = reports.next().await;
        reports.folded(batch.len());
        waiting.await.unwrap();
    }
}
