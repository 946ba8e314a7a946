//! What would stop a boot here, said before the first machine is switched on: one file a check.
//!
//! A [`Check`] looks at one thing and makes [`Row`]s of it; [`run`] runs all of them at once, each on a thread of its own and with a
//! limit of its own, so that none waits for another. What a check had told before its limit is shown all the same. What they look at is in [`Facts`], which is read once. A check asks the
//! operating system and reads files; it changes nothing, but that what was found in images is remembered. What can be mended
//! comes as a [`Fix`].

mod address;
mod clock;
mod db;
mod facts;
mod firewall;
mod firmware;
mod folder;
mod images;
mod kernel;
mod lab;
mod link;
mod portal;
mod ports;
mod privileges;
mod profiles;
mod rivals;
mod row;
pub(crate) mod self_test;
mod sleep;
mod space;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub use facts::{Facts, Place, Running};
pub(crate) use row::{About, row, shell_word};
pub use row::{Act, Fix, Report, Row, State};

/// How long a check may take that says nothing else.
const LIMIT: Duration = Duration::from_secs(5);

/// One thing that is looked at. It may block: it has a thread of its own.
pub trait Check: Send + Sync {
    /// Its name: the first part of its rows' ids, and the table of `assets/lang` with their sentences.
    fn name(&self) -> &'static str;

    /// How long it may take. What takes longer is one row that says so.
    fn limit(&self) -> Duration {
        LIMIT
    }

    /// Looks. No row means that it does not apply here. What takes long asks [`Facts::is_cancelled`] now and then, and tells each row
    /// when it is found ([`Check::tell`]).
    fn look(&self, facts: &Facts) -> Vec<Row>;

    /// Looks, and tells each row as soon as it is found: what was told before the limit is kept.
    fn tell(&self, facts: &Facts, tell: &mut dyn FnMut(Row)) {
        self.look(facts).into_iter().for_each(tell);
    }
}

/// Every check, in the order in which their rows are shown.
#[must_use]
pub fn checks() -> Vec<Box<dyn Check>> {
    vec![
        Box::new(lab::LabFile),
        Box::new(folder::Parts),
        Box::new(privileges::Privileges),
        Box::new(link::Link),
        Box::new(address::Address),
        Box::new(rivals::Rivals),
        Box::new(ports::Ports),
        Box::new(firewall::Firewall),
        Box::new(kernel::Settings),
        Box::new(portal::Portal),
        Box::new(firmware::Boot),
        Box::new(profiles::Profiles),
        Box::new(images::Images),
        Box::new(space::Space),
        Box::new(db::Database),
        Box::new(clock::Clock),
        Box::new(sleep::Sleep),
    ]
}

/// Tells the checks that nobody waits for them any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the checks side by side. Dropping the future cancels them.
pub async fn run(facts: Arc<Facts>, checks: Vec<Box<dyn Check>>) -> Report {
    let waiting = Waiting(facts.cancel.clone());
    let start = Instant::now();
    let begun: Vec<_> = checks
        .into_iter()
        .map(|check| {
            let (name, limit) = (check.name(), check.limit());
            (name, start + limit, begin(check, facts.clone()))
        })
        .collect();
    let mut rows = Vec::new();
    for (name, until, Begun { found, end }) in begun {
        let unfinished = match timeout_at(until, end).await {
            Ok(Ok(())) => None,
            // It panicked, or there was no thread for it.
            Ok(Err(_)) => Some("broken"),
            Err(_) => Some("late"),
        };
        rows.append(&mut lock(&found));
        rows.extend(unfinished.map(|case| row::unfinished(name, case)));
    }
    drop(waiting);
    Report::new(rows)
}

/// One check on its way.
struct Begun {
    /// What it has told so far.
    found: Arc<Mutex<Vec<Row>>>,
    /// Told when it has ended.
    end: oneshot::Receiver<()>,
}

/// Whole after every push.
fn lock(found: &Mutex<Vec<Row>>) -> MutexGuard<'_, Vec<Row>> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that hangs in the operating system is left behind: it holds no lock of ours.
fn begin(check: Box<dyn Check>, facts: Arc<Facts>) -> Begun {
    let (done, end) = oneshot::channel();
    let found = Arc::<Mutex<Vec<Row>>>::default();
    let told = found.clone();
    let thread = std::thread::Builder::new().name(format!("check {}", check.name()));
    // Without a thread the sender is dropped, which is told as a check that broke.
    let _ = thread.spawn(move || {
        check.tell(&facts, &mut |row| lock(&told).push(row));
        // What it holds goes before anybody hears of its end.
        drop((check, facts));
        done.send(())
    });
    Begun { found, end }
}

#[cfg(test)]
mod tests;
