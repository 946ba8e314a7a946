//! The doctor of an engine: looks beside whatever is going on, and mends what is in the lab's own folder.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::commands::wrong;
use super::judge;
use super::run::{Answer, Run};
use super::serving::{self, blocking};
use super::shared::Shared;
use crate::api::{CommandError, JobKind, Reply, Who};
use crate::boot::Plan;
use crate::doctor::self_test::{SelfTest, Stage};
use crate::doctor::{self, Act, Check, Facts, Report, Running};
use crate::jobs::{JobHandle, Jobs};
use crate::lab::{Boot, Folder};
use crate::lang;
use crate::net::{self, SELF_TEST};

/// So often the job of a self-test looks whether it is still wanted.
const TICK: Duration = Duration::from_millis(200);

impl Run {
    /// Looks, and answers when all checks have ended. Whoever stops waiting cancels it.
    pub(super) fn doctor(&self, interface: Option<String>, self_test: bool, mut answer: Answer) {
        let (shared, ports) = (self.shared.clone(), self.serving.as_ref().map(|s| s.ports.clone()));
        let jobs = self.jobs.clone();
        tokio::spawn(async move {
            let played = match self_test.then(|| Played::begin(&shared, &jobs)).transpose() {
                Ok(played) => played.map(Arc::new),
                Err(error) => return drop(answer.send(Err(error))),
            };
            let look = async {
                let running = ports.is_some().then(|| Running { plan: shared.plan.borrow().clone() });
                let ports = match ports {
                    Some(ports) => ports,
                    None => blocking(net::port_set).await.map_err(wrong)?,
                };
                let dir = shared.folder.dir().to_owned();
                let read = blocking(move || Facts::read(dir, interface.as_deref(), ports, running)).await;
                let facts = read.map_err(wrong)?.map_err(wrong)?;
                let mut checks = doctor::checks();
                checks.extend(played.clone().map(|played| Box::new(SelfTest(played)) as Box<dyn Check>));
                Ok::<Report, CommandError>(doctor::run(Arc::new(facts), checks).await)
            };
            let report = tokio::select! {
                report = look => report,
                () = answer.closed() => return,
            };
            // What it has found in images is diagnosis' to know, too.
            let _told_or_not = blocking(move || judge::after_doctor(&shared)).await;
            // Its last share forgets the machine, before anybody hears that it is over.
            drop(played);
            let _nobody_listens = answer.send(report.map(|report| Reply::Doctor { report }));
        });
    }

    /// Mends. What is in lab.toml changes by the same rules as any other edit.
    pub(super) async fn mend(&mut self, act: Act) -> Result<Reply, CommandError> {
        match act {
            Act::Mode { interface, mode } => self.put_network(interface, None, mode).await?,
            Act::Ports { http, https, iscsi } => {
                self.catch_up().await;
                let ports = [("http", http), ("https", https), ("iscsi", iscsi)];
                self.edit(move |document| document.set_ports(ports)).await?;
            }
            Act::Private => {
                let toml = self.shared.folder.toml();
                let set = move || std::fs::set_permissions(&toml, std::fs::Permissions::from_mode(0o600));
                serving::blocking(set).await.map_err(wrong)?.map_err(wrong)?;
            }
            Act::Folders => {
                let dir = self.shared.folder.dir().to_owned();
                let made = serving::blocking(move || Folder::open_or_create(&dir)).await;
                made.map_err(wrong)?.map_err(wrong)?;
            }
        }
        Ok(Reply::Done)
    }
}

/// The machine that the self-test plays, as long as it plays it. A job says how far it is and can call it off.
struct Played {
    shared: Arc<Shared>,
    cancelled: Arc<AtomicBool>,
    /// What was tried, of how much. Dropped at the end, with which the job ends.
    tried: mpsc::Sender<(u64, u64)>,
}

impl Played {
    /// There is one such machine: two self-tests would take each other's disks and profiles away.
    fn begin(shared: &Arc<Shared>, jobs: &Jobs) -> Result<Self, CommandError> {
        let begun = shared.change(|_, plan| {
            let free = plan.self_test.is_none();
            plan.self_test.get_or_insert(Boot::Wait);
            free
        });
        if !begun {
            return Err(wrong("a self-test is running already; wait until it has ended, two minutes at most"));
        }
        let on: Vec<String> = shared.plan.borrow().networks.iter().map(|n| n.interface.clone()).collect();
        let what = match on.as_slice() {
            [] => lang::sentence("job", "self-test").to_owned(),
            on => lang::fill(lang::sentence("job", "self-test-on"), &[("interfaces", &on.join(", "))]),
        };
        let cancelled = Arc::<AtomicBool>::default();
        let (tried, told) = mpsc::channel();
        let flag = cancelled.clone();
        jobs.start(JobKind::SelfTest, what, move |job| follow(job, &told, &flag));
        Ok(Self { shared: shared.clone(), cancelled, tried })
    }
}

/// The job's share of it: it shows how far the test is until that ends, and hands on that nobody wants it any more.
fn follow(job: &JobHandle, told: &mpsc::Receiver<(u64, u64)>, cancelled: &AtomicBool) -> Result<(), String> {
    loop {
        match told.recv_timeout(TICK) {
            Ok((done, of)) => job.progress(done, of),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if job.cancelled() => return Err("cancelled".into()),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        cancelled.fetch_or(job.cancelled(), Ordering::Relaxed);
    }
}

impl Stage for Played {
    fn give(&self, server: Ipv4Addr, boot: Boot) -> Arc<Plan> {
        self.shared.change(|state, plan| {
            // What it asks at our address comes from our address.
            let id = state.directory.resolve(&Who { mac: Some(SELF_TEST), uuid: None, ip: Some(server.into()) });
            if let Some(id) = id {
                state.hosts.entry(id).or_default();
            }
            plan.self_test = Some(boot);
        });
        self.shared.plan.borrow().clone()
    }

    fn tried(&self, done: u64, of: u64) {
        let _the_job_lives_as_long_as_this = self.tried.send((done, of));
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.shared.change(|state, plan| {
            plan.self_test = None;
            while let Some(id) = state.directory.find(&Who::mac(SELF_TEST)) {
                state.forget(id);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use crate::api::JobState;

    #[tokio::test]
    async fn one_self_test_runs_at_a_time() {
        let bench = Bench::new("").await;
        let jobs = jobs(&bench);
        let first = Played::begin(&bench.shared, &jobs).unwrap();
        let refused = Played::begin(&bench.shared, &jobs).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("running already"), "{refused}");
        drop(first);
        assert!(Played::begin(&bench.shared, &jobs).is_ok());
    }

    #[tokio::test]
    async fn its_job_shows_how_far_it_is_and_calls_it_off() {
        let bench = Bench::new("").await;
        let jobs = jobs(&bench);
        let view = || jobs.views().pop().unwrap();
        let until = |what: &dyn Fn() -> bool| {
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while !what() {
                assert!(std::time::Instant::now() < end, "in vain: {:?}", view());
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let played = Played::begin(&bench.shared, &jobs).unwrap();
        played.tried(3, 12);
        until(&|| (view().progress.done, view().progress.total) == (3, 12));
        assert!(view().kind == JobKind::SelfTest && !played.is_cancelled());
        assert!(jobs.cancel(view().id));
        until(&|| played.is_cancelled());
        drop(played);
        until(&|| view().state == JobState::Cancelled);
    }

    fn jobs(bench: &Bench) -> Jobs {
        Jobs::new(bench.shared.reporter.clone(), Arc::new(super::super::refresh::JobJournal(bench.shared.clone())))
    }
}
