//! Where the fate of answers is written down: what of a file each client was sent, and which of it is told.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::machine::{Deliveries, Version};
use crate::api::{Allowance, EventKind, Observation, Rate, Reporter, Who};
use crate::machine::Now;

/// Between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Files up to this many bytes have no progress events.
const SMALL: u64 = 64 * 1024;

/// Answers of which one client is told, each with its end. An installer that fetches packages, or a disk that is read over HTTP in
/// small ranges, may exceed it; a machine that boots does not.
const TOLD: Rate = Rate { burst: 500, per_second: 50 };
/// The same for all clients together.
const TOLD_TO_ALL: Rate = Rate { burst: 10_000, per_second: 1000 };
/// Refusals among them.
const REFUSALS: Rate = Rate { burst: 50, per_second: 5 };
/// The same for all clients together.
const REFUSALS_TO_ALL: Rate = Rate { burst: 1000, per_second: 100 };
/// The same refusal of the same client is told once in this time.
pub(super) const SAME_REFUSAL: Duration = Duration::from_secs(1);
/// Refusals that are remembered for that.
const MAX_REFUSALS: usize = 256;

/// Calls [`super::App::delivered`].
type Delivered = Box<dyn Fn(&Who, &str) + Send + Sync>;

/// See the module's text.
pub(super) struct Ledger {
    reporter: Reporter,
    deliveries: Mutex<Deliveries>,
    delivered: Delivered,
    told: Allowance,
    refused: Allowance,
    refusals: Mutex<VecDeque<Refusal>>,
}

/// A refusal that was told.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    at: Duration,
    client: IpAddr,
    status: u16,
    path: String,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    pub(super) fn new(reporter: Reporter, delivered: Delivered) -> Self {
        Self {
            reporter,
            deliveries: Mutex::default(),
            delivered,
            told: Allowance::new(TOLD, TOLD_TO_ALL),
            refused: Allowance::new(REFUSALS, REFUSALS_TO_ALL),
            refusals: Mutex::default(),
        }
    }

    /// A request came: whether it and how it ends are told.
    pub(super) fn begins(&self, client: IpAddr) -> bool {
        self.told.take(Now::read().boot, client)
    }

    /// A request was refused: whether that is told.
    pub(super) fn refuses(&self, client: IpAddr, status: u16, path: &str) -> bool {
        let now = Now::read().boot;
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |one: &Refusal| now.saturating_sub(one.at) < SAME_REFUSAL;
        while refusals.len() >= MAX_REFUSALS || refusals.front().is_some_and(|one| !fresh(one)) {
            refusals.pop_front();
        }
        if refusals.iter().any(|one| (one.client, one.status, one.path.as_str()) == (client, status, path)) {
            return false;
        }
        refusals.push_back(Refusal { at: now, client, status, path: path.to_owned() });
        drop(refusals);
        self.refused.take(now, client)
    }

    pub(super) fn report(&self, who: &Who, kind: EventKind) {
        self.reporter.report(Now::read(), Observation::of(who.clone(), kind));
    }
}

/// One answer with bytes of a file: what, for whom, since when.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) ledger: Arc<Ledger>,
    /// Its events are told; what it delivers counts either way.
    pub(super) told: bool,
    pub(super) who: Who,
    pub(super) client: IpAddr,
    pub(super) path: String,
    pub(super) version: Version,
    pub(super) first: u64,
    /// The byte behind the last.
    pub(super) end: u64,
    pub(super) began: Duration,
}

impl Sent {
    fn report(&self, kind: EventKind) {
        if self.told {
            self.ledger.report(&self.who, kind);
        }
    }

    /// The network has every byte.
    pub(super) fn flushed(self) {
        let bytes = self.end - self.first;
        if self.told {
            let millis = u64::try_from(Now::read().boot.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX);
            self.report(EventKind::HttpDone { path: self.path.clone(), bytes, millis });
        }
        let whole = self.ledger.deliveries.lock().unwrap_or_else(PoisonError::into_inner).add(
            self.client,
            &self.path,
            &self.version,
            self.first,
            self.end,
        );
        if whole {
            (self.ledger.delivered)(&self.who, &self.path);
        }
    }

    /// The connection ended with bytes of this answer still here.
    pub(super) fn lost(self) {
        self.aborted(self.end);
    }

    fn aborted(&self, at: u64) {
        let (sent, total) = (at - self.first, self.end - self.first);
        self.report(EventKind::HttpAborted { path: self.path.clone(), sent, total });
    }
}

/// An answer's bytes of a file while they are sent. Dropped before its end it tells that it was aborted.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Gone when the last byte is handed on.
    sent: Option<Sent>,
    /// The next byte.
    at: u64,
    told: Duration,
}

impl Delivery {
    pub(super) fn new(sent: Sent) -> Self {
        Self { at: sent.first, told: sent.began, sent: Some(sent) }
    }

    /// The next byte of the file, and how many are left.
    pub(super) fn left(&self) -> (u64, u64) {
        (self.at, self.sent.as_ref().map_or(0, |sent| sent.end - self.at))
    }

    /// So many more bytes were handed on; the answer, when these were its last.
    pub(super) fn advance(&mut self, bytes: usize) -> Option<Sent> {
        self.at += bytes as u64;
        let sent = self.sent.as_ref()?;
        if self.at >= sent.end {
            return self.sent.take();
        }
        if sent.told && sent.version.size > SMALL {
            let now = Now::read().boot;
            if now.saturating_sub(self.told) >= PROGRESS_EVERY {
                self.told = now;
                let kind = EventKind::HttpProgress { path: sent.path.clone(), sent: self.at, total: sent.version.size };
                sent.report(kind);
            }
        }
        None
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(sent) = &self.sent {
            sent.aborted(self.at);
        }
    }
}
