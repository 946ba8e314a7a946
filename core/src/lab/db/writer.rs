//! The one thread that writes: group commit, and what happens when the disk is full.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::reserve::Reserve;
use super::{DbError, EVENTS_KEPT, EpochRecord, HostRecord, tables};
use crate::api::{Event, HostId, ProxyStyle};
use crate::hosts::{BOOTS_KEPT, BootRecord};
use crate::lab::lease::LeaseRecord;
use crate::net::MacAddr;

/// After a failure, what nobody waits for is tried again this much later.
const RETRY: Duration = Duration::from_secs(5);

/// History is pruned each time that so many events were added.
const PRUNE_EVERY: usize = 1000;

/// Events in one transaction: some milliseconds, which a lease may have to wait.
const EVENTS_AT_ONCE: usize = 500;

/// Leases that the journal may hold before they are folded into their table, in bytes: what is written twice is then mostly what was
/// renewed meanwhile, and the reserve has room for both.
const JOURNAL: usize = 256 << 10;

/// The journal is folded when nothing was written for this long.
const IDLE: Duration = Duration::from_secs(2);

/// Who waits for a result.
pub(super) struct Answer(Box<dyn FnOnce(Result<(), DbError>) + Send>);

impl Answer {
    pub(super) fn new(give: impl FnOnce(Result<(), DbError>) + Send + 'static) -> Self {
        Self(Box::new(give))
    }

    fn give(self, result: Result<(), DbError>) {
        (self.0)(result);
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// What waits to be written. `None` deletes.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) leases: BTreeMap<Ipv4Addr, Option<LeaseRecord>>,
    pub(super) epochs: BTreeMap<HostId, Option<EpochRecord>>,
    pub(super) hosts: BTreeMap<HostId, Option<HostRecord>>,
    pub(super) boots: BTreeMap<(HostId, Timestamp), BootRecord>,
    pub(super) events: VecDeque<Arc<Event>>,
    pub(super) confirmed: BTreeSet<(MacAddr, String)>,
    pub(super) jobs: BTreeMap<u64, Option<String>>,
    pub(super) styles: BTreeMap<String, ProxyStyle>,
    /// Wait for leases and epochs.
    pub(super) vital_answers: Vec<Answer>,
    /// Wait for everything.
    pub(super) flush_answers: Vec<Answer>,
}

impl Pending {
    pub(super) fn put_leases(&mut self, leases: Vec<LeaseRecord>, answer: Answer) {
        self.leases.extend(leases.into_iter().map(|l| (l.address, Some(l))));
        self.vital_answers.push(answer);
    }

    /// Older boots of a machine than these would go as soon as they are written: where nothing can be, they must not pile up.
    pub(super) fn put_boot(&mut self, host: HostId, boot: BootRecord) {
        self.boots.insert((host, boot.began), boot);
        self.trim_boots(host);
    }

    fn trim_boots(&mut self, host: HostId) {
        let of = (host, Timestamp::MIN)..=(host, Timestamp::MAX);
        let over = self.boots.range(of.clone()).count().saturating_sub(BOOTS_KEPT);
        let oldest: Vec<_> = self.boots.range(of).take(over).map(|(key, _)| *key).collect();
        oldest.iter().for_each(|key| drop(self.boots.remove(key)));
    }

    fn is_vital(&self) -> bool {
        !self.leases.is_empty() || !self.epochs.is_empty() || !self.vital_answers.is_empty()
    }

    fn is_empty(&self) -> bool {
        !self.is_vital() && self.flush_answers.is_empty() && !self.has_rest()
    }

    fn has_rest(&self) -> bool {
        let small = !self.confirmed.is_empty() || !self.jobs.is_empty() || !self.styles.is_empty();
        small || !self.hosts.is_empty() || !self.boots.is_empty() || !self.events.is_empty()
    }

    /// Older events than these would be pruned as soon as they are written.
    pub(super) fn trim_events(&mut self) {
        let over = self.events.len().saturating_sub(EVENTS_KEPT);
        self.events.drain(..over);
    }

    /// Takes back what could not be written; what came meanwhile is newer.
    fn take_back(&mut self, old: Self) {
        for (id, host) in old.hosts {
            self.hosts.entry(id).or_insert(host);
        }
        for (began, boot) in old.boots {
            let dropped = self.hosts.get(&began.0).is_some_and(Option::is_none);
            if !dropped {
                self.boots.entry(began).or_insert(boot);
                self.trim_boots(began.0);
            }
        }
        for (id, job) in old.jobs {
            self.jobs.entry(id).or_insert(job);
        }
        for (model, style) in old.styles {
            self.styles.entry(model).or_insert(style);
        }
        self.confirmed.extend(old.confirmed);
        let newer = std::mem::replace(&mut self.events, old.events);
        self.events.extend(newer);
        self.trim_events();
    }
}

#[derive(Debug, Default)]
struct Mailbox {
    pending: Pending,
    closing: bool,
}

impl Mailbox {
    /// The next batch: all but what of the history is too much at once, and who waits for that.
    fn take(&mut self) -> Pending {
        let mut batch = std::mem::take(&mut self.pending);
        if batch.events.len() > EVENTS_AT_ONCE {
            self.pending.events = batch.events.split_off(EVENTS_AT_ONCE);
            self.pending.flush_answers = std::mem::take(&mut batch.flush_answers);
        }
        batch
    }
}

#[derive(Debug, Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    arrived: Condvar,
}

impl Shared {
    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        // Every change of the mailbox is whole, so a panic elsewhere leaves it in order.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's handle; dropping it writes what is left.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(conn: Connection, path: &Path, reserve: Reserve) -> Result<Self, DbError> {
        let shared = Arc::new(Shared::default());
        // What could not be folded when it was opened.
        let journal = tables::journal_bytes(&conn).map_err(|e| DbError::of("read", path, &e))?;
        let mut work = Work {
            conn,
            path: path.to_owned(),
            reserve,
            shared: shared.clone(),
            held_back_until: None,
            since_prune: 0,
            journal,
            fold_after: None,
        };
        let thread = std::thread::Builder::new().name("lab-db".into()).spawn(move || work.run()).map_err(|e| {
            DbError::Failed { what: "start the thread of", path: path.display().to_string(), detail: e.to_string() }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds to what waits; never waits itself, but for another who does the same.
    pub(super) fn queue(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.shared.mailbox().pending);
        self.shared.arrived.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.mailbox().closing = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    conn: Connection,
    path: PathBuf,
    reserve: Reserve,
    shared: Arc<Shared>,
    /// Until then only leases and epochs are written: the disk is full, or failed.
    held_back_until: Option<Instant>,
    since_prune: usize,
    /// Bytes of leases in the journal.
    journal: usize,
    /// The journal could not be folded; until then it grows.
    fold_after: Option<Instant>,
}

impl Work {
    fn run(&mut self) {
        while let Some((batch, last)) = self.next() {
            self.write(batch, last);
            if self.journal >= JOURNAL {
                self.fold();
            }
        }
        self.fold_after = None;
        self.fold();
        // Folds the log into the database, so that a copy of the folder is whole.
        let _ = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    /// Waits for something to write. `true` if it is the last batch.
    fn next(&mut self) -> Option<(Pending, bool)> {
        let shared = self.shared.clone();
        let mut mailbox = shared.mailbox();
        loop {
            let due = self.held_back_until.map(|until| until.saturating_duration_since(Instant::now()));
            let wait = due.filter(|d| !d.is_zero());
            let pending = &mailbox.pending;
            let ready = match wait {
                None => !pending.is_empty(),
                Some(_) => pending.is_vital() || !pending.flush_answers.is_empty(),
            };
            if ready || mailbox.closing && !pending.is_empty() {
                return Some((mailbox.take(), mailbox.closing));
            }
            if mailbox.closing {
                return None;
            }
            let idle = (self.journal > 0).then_some(IDLE);
            let Some(shortest) = [wait, idle].into_iter().flatten().min() else {
                mailbox = shared.arrived.wait(mailbox).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = shared.arrived.wait_timeout(mailbox, shortest).unwrap_or_else(PoisonError::into_inner);
            mailbox = waited.0;
            if waited.1.timed_out() && idle == Some(shortest) {
                drop(mailbox);
                self.fold();
                mailbox = shared.mailbox();
            }
        }
    }

    /// Puts the journal's leases into their table. What cannot be folded now stays in the journal, which is as good.
    fn fold(&mut self) {
        if self.journal == 0 || self.fold_after.is_some_and(|after| Instant::now() < after) {
            return;
        }
        match tables::fold(&mut self.conn) {
            Ok(()) => (self.journal, self.fold_after) = (0, None),
            Err(_) => self.fold_after = Some(Instant::now() + RETRY),
        }
    }

    fn write(&mut self, mut batch: Pending, last: bool) {
        let vital_answers = std::mem::take(&mut batch.vital_answers);
        let flush_answers = std::mem::take(&mut batch.flush_answers);
        let held_back = self.held_back_until.is_some_and(|until| Instant::now() < until);
        // Without the reserve the room that is left is for leases alone, but for the last attempt.
        let all = last || !held_back && (self.reserve.restored() || self.roomy());
        let mut vital = self.commit(&batch, all);
        let mut rest = if all { vital.clone() } else { Err(DbError::Full { path: self.shown() }) };
        if vital.is_err() && all {
            // Perhaps only the history is too much.
            vital = self.commit(&batch, false);
        }
        if vital.as_ref().is_err_and(may_be_full) && self.reserve.give_up() {
            vital = self.commit(&batch, false);
        }
        if !all && !batch.has_rest() {
            rest = vital.clone();
        }
        for answer in vital_answers {
            answer.give(vital.clone());
        }
        for answer in flush_answers {
            answer.give(vital.clone().and(rest.clone()));
        }
        if rest.is_ok() {
            self.held_back_until = None;
            self.prune(batch.events.len());
        } else if !last {
            if !held_back {
                self.held_back_until = Some(Instant::now() + RETRY);
            }
            let mut mailbox = self.shared.mailbox();
            mailbox.pending.take_back(batch);
            // Who waits for a history that is longer than one batch waits for this one too.
            for answer in mailbox.pending.flush_answers.drain(..) {
                answer.give(rest.clone());
            }
        }
    }

    fn commit(&mut self, batch: &Pending, all: bool) -> Result<(), DbError> {
        let mut write = || {
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let journal = tables::write_vital(&tx, batch)?;
            if all {
                tables::write_rest(&tx, batch)?;
            }
            tx.commit()?;
            Ok(journal)
        };
        self.journal += write().map_err(|e| DbError::of("write", &self.path, &e))?;
        Ok(())
    }

    fn prune(&mut self, added: usize) {
        self.since_prune += added;
        if self.since_prune >= PRUNE_EVERY {
            self.since_prune = 0;
            // Not pruned now, pruned later.
            let _ = tables::prune(&self.conn);
        }
    }

    /// A small disk may never have had room for the reserve; it can still keep a history while there is twice the log's size.
    fn roomy(&self) -> bool {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        rustix::fs::statvfs(dir).is_ok_and(|s| s.f_bavail.saturating_mul(s.f_frsize) >= 2 << 20)
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// SQLite reports a full disk as such when it writes, and as a failure when it enlarges its shared index.
fn may_be_full(error: &DbError) -> bool {
    matches!(error, DbError::Full { .. } | DbError::Failed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EventKind, Source};
    use crate::hosts::BootOutcome;
    use crate::machine::Now;

    #[test]
    fn while_nothing_can_be_written_the_last_boots_of_each_machine_wait() {
        let boot = |seconds| BootRecord {
            began: Now::at(Duration::from_secs(seconds)).wall,
            given: None,
            outcome: BootOutcome::Failed,
            steps: vec![],
        };
        let mut pending = Pending::default();
        pending.put_boot(HostId(2), boot(0));
        (1..=1000).for_each(|n| pending.put_boot(HostId(1), boot(n)));
        assert_eq!(pending.boots.len(), BOOTS_KEPT + 1);
        let failed = std::mem::take(&mut pending);
        (2001..=2010).for_each(|n| pending.put_boot(HostId(1), boot(n)));
        pending.take_back(failed);
        let kept: Vec<_> = pending.boots.keys().filter(|(host, _)| *host == HostId(1)).map(|(_, at)| *at).collect();
        assert_eq!(kept.len(), BOOTS_KEPT);
        assert_eq!((kept[0], kept[BOOTS_KEPT - 1]), (boot(991).began, boot(2010).began), "the newest");
        assert!(pending.boots.contains_key(&(HostId(2), boot(0).began)));
    }

    #[test]
    fn a_lease_never_waits_behind_a_long_history() {
        let mut mailbox = Mailbox::default();
        let event = Event {
            v: 1,
            seq: 0,
            time: Now::at(Duration::ZERO).wall,
            host: None,
            mac: None,
            source: Source::Served,
            kind: EventKind::LabChanged,
        };
        mailbox.pending.events = (1..=1200).map(|seq| Arc::new(Event { seq, ..event.clone() })).collect();
        let (lease, flush) = (Answer::new(drop), Answer::new(drop));
        mailbox.pending.flush_answers.push(flush);
        mailbox.pending.vital_answers.push(lease);
        let first = mailbox.take();
        assert_eq!((first.events.len(), first.vital_answers.len(), first.flush_answers.len()), (500, 1, 0));
        // What failed comes back in front.
        mailbox.pending.take_back(first);
        let again = mailbox.take();
        assert_eq!((again.events[0].seq, again.events[499].seq), (1, 500));
        assert_eq!(mailbox.take().events[0].seq, 501);
        let last = mailbox.take();
        assert_eq!((last.events.len(), last.flush_answers.len()), (200, 1));
        assert!(mailbox.pending.is_empty());
    }
}
