//! Tells people how much sessions move, four times a second at most; and the operating system to wake quickly while that is much.
//!
//! One thread does it for all of them. A session that did it by itself would have to wake up in time to tell its last bytes, and so set
//! a timer with each wait for a command, which costs more than to count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::{EventKind, Observation, Reporter, Who};
use crate::iscsi::machine::Moved;
use crate::machine::Now;
use crate::net::QuickWaking;

/// A session's progress is told at most this often.
const EVERY: Duration = Duration::from_millis(250);
/// From so many bytes in that time on machines boot, and wait for each block: less is what systems write down while they run.
const MUCH: u64 = 256 << 10;

/// What is to be told of one session.
#[derive(Debug)]
struct Told {
    target: String,
    who: Who,
    moved: Arc<Moved>,
    /// Bytes read and written when they were told last.
    last: (u64, u64),
}

#[derive(Debug, Default)]
struct Inner {
    /// By target session identifying handle.
    sessions: BTreeMap<u16, Told>,
    over: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Progress {
    reporter: Reporter,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// The thread waits until it is woken: nothing moves.
    resting: AtomicBool,
}

/// A session whose progress is told; its last bytes when this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    progress: Arc<Progress>,
    session: u16,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let told = self.progress.inner().sessions.remove(&self.session);
        if let Some(mut told) = told {
            told.tell(self.session, &self.progress.reporter);
        }
    }
}

impl Told {
    /// Tells of what has moved since the last time; how many bytes that are.
    fn tell(&mut self, session: u16, reporter: &Reporter) -> u64 {
        let (read, written) = self.moved.bytes();
        let before = std::mem::replace(&mut self.last, (read, written));
        let bytes = (read - before.0).saturating_add(written - before.1);
        if bytes > 0 {
            let kind = EventKind::IscsiProgress { target: self.target.clone(), session, read, written };
            reporter.report(Now::read(), Observation::of(self.who.clone(), kind));
        }
        bytes
    }
}

impl Progress {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { reporter, inner: Mutex::default(), changed: Condvar::new(), resting: AtomicBool::new(false) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins.
    pub(super) fn count(self: &Arc<Self>, session: u16, target: String, who: Who, moved: Arc<Moved>) -> Counted {
        let told = Told { target, who, moved, last: (0, 0) };
        self.inner().sessions.insert(session, told);
        Counted { progress: self.clone(), session }
    }

    /// A session has moved bytes.
    pub(super) fn moved(&self) {
        if self.resting.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let _inner = self.inner();
        self.resting.store(false, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Tells until [`Progress::stop`].
    pub(super) fn run(&self, mut waking: QuickWaking) {
        let mut quickly = false;
        let mut inner = self.inner();
        while !inner.over {
            let moved: u64 = inner.sessions.iter_mut().map(|(session, told)| told.tell(*session, &self.reporter)).sum();
            let any = moved > 0;
            if quickly != (moved >= MUCH) {
                quickly = !quickly;
                waking.want(quickly);
            }
            let resting = self.resting.load(Ordering::Relaxed);
            if !any && resting {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // A session that moves at this very moment may not see it yet: it is looked at once more before the thread sleeps.
            self.resting.store(!any, Ordering::Relaxed);
            inner = self.changed.wait_timeout(inner, EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        self.inner().over = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::api::{Reports, reports};

    /// The bytes read that are told next.
    fn next(reports: &Reports) -> u64 {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            match &reports.waiting()[..] {
                [] => {}
                [reported] => match &reported.observation.kind {
                    EventKind::IscsiProgress { session: 3, read, written: 7, target } if target == "iqn.t" => {
                        return *read;
                    }
                    other => panic!("{other:?}"),
                },
                several => panic!("it is told more often than it moved: {several:?}"),
            }
            assert!(Instant::now() < limit, "nothing is told");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_moves_is_told_whether_the_thread_rests_or_not_and_the_last_of_it_at_the_end() {
        let (reporter, reports) = reports();
        let progress = Arc::new(Progress::new(reporter));
        let device = tempfile::NamedTempFile::new().unwrap();
        let waking = device.reopen().unwrap();
        let wishes = || std::fs::read(device.path()).unwrap().len() / size_of::<i32>();
        let thread = {
            let progress = progress.clone();
            std::thread::spawn(move || progress.run(QuickWaking::over(waking)))
        };
        let moved = Arc::<Moved>::default();
        moved.written(7);
        moved.read(1);
        let counted = progress.count(3, "iqn.t".into(), Who::default(), moved.clone());
        progress.moved();
        assert_eq!(next(&reports), 1);
        // The session did not see that the thread was about to rest.
        moved.read(10);
        assert_eq!(next(&reports), 11);
        // It looks twice and finds nothing: now it rests indeed.
        std::thread::sleep(EVERY * 8);
        assert!(progress.resting.load(Ordering::Relaxed));
        moved.read(100);
        std::thread::sleep(EVERY * 2);
        assert!(reports.waiting().is_empty(), "nobody woke it");
        assert_eq!(wishes(), 0, "a few bytes are no reason to keep processors awake");
        progress.moved();
        assert_eq!(next(&reports), 111);
        moved.read(MUCH);
        assert_eq!(next(&reports), 111 + MUCH);
        let limit = Instant::now() + Duration::from_secs(30);
        // From then on, and no more when nothing has moved for a while.
        while wishes() < 2 {
            assert!(Instant::now() < limit, "{} wishes", wishes());
            std::thread::sleep(Duration::from_millis(5));
        }
        moved.read(1000);
        drop(counted);
        assert_eq!(next(&reports), 1111 + MUCH);
        progress.stop();
        thread.join().unwrap();
        assert!(reports.waiting().is_empty());
    }
}
