//! Everything long: id, kind, progress, cancel.
//!
//! A job is a closure on a thread of its own. It tells how far it is and asks whether it is still wanted; what it would leave behind
//! half done it names first ([`JobHandle::temporary`]), so that a failure removes it, and so does the next start of the engine after
//! a crash ([`Jobs::recover`]), out of the journal.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, fs, io, thread};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::{EventKind, JobKind, JobState, JobView, Observation, Progress, Reporter};
use crate::machine::Now;

/// Ended jobs are shown for this long, and no more than [`SHOWN`] of them.
const SHOWN_FOR: Duration = Duration::from_secs(300);
const SHOWN: usize = 20;
/// Progress tells watchers this often at most: 4 Hz.
const TICK: Duration = Duration::from_millis(250);
/// The rate is over so long.
const RATE_OVER: Duration = Duration::from_secs(1);
/// How long [`Jobs::shutdown`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the engine keeps what unfinished jobs have to undo. Entries are few and small.
pub trait Journal: Send + Sync {
    /// Keeps an entry, durably, before it returns; replaces one of the same id.
    fn put(&self, id: u64, json: &str);
    /// Drops an entry, if it is there.
    fn delete(&self, id: u64);
    /// All entries.
    fn all(&self) -> Vec<(u64, String)>;
}

/// An entry of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    kind: JobKind,
    what: String,
    temporary: Vec<PathBuf>,
}

#[derive(Debug)]
struct Job {
    id: u64,
    what: String,
    kind: JobKind,
    started: Timestamp,
    /// When it ended, on the clock that never jumps.
    ended: Option<Duration>,
    state: JobState,
    done: u64,
    total: u64,
    /// Bytes done at some instants of the last second or so.
    samples: VecDeque<(Duration, u64)>,
    cancel: Arc<AtomicBool>,
    /// What is in the way if it does not end well.
    temporary: Vec<PathBuf>,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    closing: bool,
}

struct Inner {
    reporter: Reporter,
    journal: Arc<dyn Journal>,
    state: Mutex<State>,
    /// Told when a job ends.
    ended: Condvar,
    next: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Consistent after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// The jobs of an engine. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jobs").field(&self.0.state().jobs).finish()
    }
}

impl Jobs {
    /// No jobs yet.
    #[must_use]
    pub fn new(reporter: Reporter, journal: Arc<dyn Journal>) -> Self {
        let next = journal.all().iter().map(|(id, _)| *id).max().unwrap_or(0) + 1;
        Self(Arc::new(Inner {
            reporter,
            journal,
            state: Mutex::default(),
            ended: Condvar::new(),
            next: AtomicU64::new(next),
            changed: watch::Sender::new(0),
        }))
    }

    /// Undoes what jobs of an engine that did not end well had left half done, and gives what each was. Call it before the first
    /// job is started. What is `in_force` stays: its job was done but for its last word.
    #[must_use]
    pub fn recover(&self, in_force: impl Fn(&Path) -> bool) -> Vec<String> {
        let mut undone = Vec::new();
        for (id, json) in self.0.journal.all() {
            // An entry that is not understood names nothing that could be undone.
            if let Ok(entry) = serde_json::from_str::<Entry>(&json) {
                let left: Vec<PathBuf> = entry.temporary.into_iter().filter(|path| !in_force(path)).collect();
                remove(&left);
                undone.push(entry.what);
            }
            self.0.journal.delete(id);
        }
        undone
    }

    /// Starts a job and gives its number. `what` names what it works on. The error that `work` gives is shown; a panic in it is one.
    pub fn start(
        &self,
        kind: JobKind,
        what: String,
        work: impl FnOnce(&JobHandle) -> Result<(), String> + Send + 'static,
    ) -> u64 {
        let inner = &self.0;
        let id = inner.next.fetch_add(1, Ordering::Relaxed);
        let cancel = Arc::new(AtomicBool::new(false));
        let now = Now::read();
        {
            let mut state = inner.state();
            cancel.store(state.closing, Ordering::Relaxed);
            state.jobs.push(Job {
                id,
                what: what.clone(),
                kind,
                started: now.wall,
                ended: None,
                state: JobState::Running,
                done: 0,
                total: 0,
                samples: VecDeque::new(),
                cancel: cancel.clone(),
                temporary: Vec::new(),
            });
        }
        inner
            .reporter
            .report(now, Observation::engine(EventKind::JobStarted { job: id, job_kind: kind, what: what.clone() }));
        inner.tell();

        let entry = Mutex::new(Entry { kind, what, temporary: Vec::new() });
        let handle = JobHandle { jobs: self.clone(), id, cancel, entry, told: Mutex::default() };
        let thread = thread::Builder::new().name(format!("job-{id}"));
        let jobs = self.clone();
        let spawned = thread.spawn(move || {
            let done = if handle.cancelled() {
                Err(String::new())
            } else {
                catch_unwind(AssertUnwindSafe(|| work(&handle))).unwrap_or_else(|panic| Err(told_by(&*panic)))
            };
            handle.end(done);
        });
        if let Err(e) = spawned {
            jobs.ended(id, JobState::Failed { error: format!("cannot start a thread: {e}") });
        }
        id
    }

    /// Asks a job to stop. `false`: there is none of that number at work.
    pub fn cancel(&self, id: u64) -> bool {
        let state = self.0.state();
        let job = state.jobs.iter().find(|job| job.id == id && job.ended.is_none());
        if let Some(job) = job {
            job.cancel.store(true, Ordering::Relaxed);
        }
        job.is_some()
    }

    /// Jobs at work and those that ended lately, oldest first.
    #[must_use]
    pub fn views(&self) -> Vec<JobView> {
        let now = Now::read().boot;
        let mut state = self.0.state();
        forget_old(&mut state.jobs, now);
        state.jobs.iter().map(|job| job.view(now)).collect()
    }

    /// Changes whenever [`Jobs::views`] has something new; at most 4 times a second for mere progress of one job.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Whether a job is at work.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.0.state().jobs.iter().any(|job| job.ended.is_none())
    }

    /// Cancels all jobs and waits until they have ended, 10 seconds at most. Blocks: not for an async task. `false`: some are still at
    /// work; what they leave is undone at the next start.
    pub fn shutdown(&self) -> bool {
        let mut state = self.0.state();
        state.closing = true;
        for job in &state.jobs {
            job.cancel.store(true, Ordering::Relaxed);
        }
        let at_work = |state: &mut State| state.jobs.iter().any(|job| job.ended.is_none());
        let waited = self.0.ended.wait_timeout_while(state, PATIENCE, at_work).unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    fn ended(&self, id: u64, ended: JobState) {
        let now = Now::read();
        let mut state = self.0.state();
        let Some(job) = state.jobs.iter_mut().find(|job| job.id == id) else { return };
        job.ended = Some(now.boot);
        job.samples.clear();
        job.state = ended;
        let error = match &job.state {
            JobState::Failed { error } => Some(error.clone()),
            JobState::Cancelled => Some("cancelled".into()),
            JobState::Running | JobState::Done => None,
        };
        let what = job.what.clone();
        forget_old(&mut state.jobs, now.boot);
        drop(state);
        self.0.reporter.report(now, Observation::engine(EventKind::JobEnded { job: id, what, error }));
        self.0.tell();
        self.0.ended.notify_all();
    }
}

impl Job {
    fn view(&self, now: Duration) -> JobView {
        let rate = match (self.samples.front(), self.samples.back()) {
            (Some((from, before)), Some((until, done)))
                if until > from && now.saturating_sub(*until) < 2 * RATE_OVER =>
            {
                let millis = (*until - *from).as_millis().max(1);
                u64::try_from(u128::from(done.saturating_sub(*before)) * 1000 / millis).unwrap_or(u64::MAX)
            }
            _ => 0,
        };
        JobView {
            id: self.id,
            kind: self.kind,
            what: self.what.clone(),
            progress: Progress { done: self.done, total: self.total, rate },
            state: self.state.clone(),
            started: self.started,
        }
    }
}

fn forget_old(jobs: &mut Vec<Job>, now: Duration) {
    jobs.retain(|job| job.ended.is_none_or(|ended| now.saturating_sub(ended) < SHOWN_FOR));
    let mut ends: Vec<_> = jobs.iter().filter_map(|job| job.ended.map(|at| (at, job.id))).collect();
    ends.sort_unstable();
    let too_many = ends.len().saturating_sub(SHOWN);
    let gone = ends.get(..too_many).unwrap_or_default();
    jobs.retain(|job| !gone.iter().any(|(_, id)| *id == job.id));
}

fn remove(paths: &[PathBuf]) {
    for path in paths {
        if let Err(e) = fs::remove_file(path)
            && e.kind() == io::ErrorKind::IsADirectory
        {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn told_by(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("an error in Bootyard itself: {}; please report it", text.unwrap_or("no text"))
}

/// A job's own end.
pub struct JobHandle {
    jobs: Jobs,
    id: u64,
    cancel: Arc<AtomicBool>,
    entry: Mutex<Entry>,
    told: Mutex<Duration>,
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl JobHandle {
    /// How far it is, in bytes; a `total` of 0 is unknown. Call it as often as you like.
    pub fn progress(&self, done: u64, total: u64) {
        let now = Now::read().boot;
        let mut state = self.jobs.0.state();
        if let Some(job) = state.jobs.iter_mut().find(|job| job.id == self.id) {
            (job.done, job.total) = (done, total);
            if job.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= TICK) {
                job.samples.push_back((now, done));
                while job.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_OVER) {
                    job.samples.pop_front();
                }
            }
        }
        drop(state);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(*told) >= TICK || done == total {
            *told = now;
            self.jobs.0.tell();
        }
    }

    /// Somebody does not want it any more.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The same as a flag for who takes one.
    #[must_use]
    pub fn cancel_flag(&self) -> &AtomicBool {
        &self.cancel
    }

    /// The same for who keeps it.
    #[must_use]
    pub fn cancel_shared(&self) -> Arc<AtomicBool> {
        self.cancel.clone()
    }

    /// Names a file or folder that is in the way if the job does not end well. Call it before making it; it is removed then, at the
    /// next start of the engine if need be.
    pub fn temporary(&self, path: &Path) {
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        entry.temporary.push(path.to_owned());
        if let Some(job) = self.jobs.0.state().jobs.iter_mut().find(|job| job.id == self.id) {
            job.temporary.push(path.to_owned());
        }
        if let Ok(json) = serde_json::to_string(&*entry) {
            self.jobs.0.journal.put(self.id, &json);
        }
    }

    fn end(self, done: Result<(), String>) {
        let entry = self.entry.into_inner().unwrap_or_else(PoisonError::into_inner);
        let state = match done {
            Ok(()) => JobState::Done,
            Err(_) if self.cancel.load(Ordering::Relaxed) => JobState::Cancelled,
            Err(error) => JobState::Failed { error },
        };
        if state != JobState::Done {
            // What another job names is that one's: this one failed because of it.
            let others = self.jobs.0.state();
            let busy = |path: &PathBuf| {
                others.jobs.iter().any(|job| job.id != self.id && job.ended.is_none() && job.temporary.contains(path))
            };
            let own: Vec<PathBuf> = entry.temporary.iter().filter(|path| !busy(path)).cloned().collect();
            drop(others);
            remove(&own);
        }
        if !entry.temporary.is_empty() {
            self.jobs.0.journal.delete(self.id);
        }
        self.jobs.ended(self.id, state);
    }
}

#[cfg(test)]
mod tests;
