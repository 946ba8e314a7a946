//! The engine's loop: folds observations into the state, publishes snapshots, carries out commands.
//!
//! It never waits for a server: starting and stopping run as tasks beside it, because a server that ends may itself wait until the
//! loop has folded what it reported.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cards::Again;
use super::modes;
use super::packets::LookUp;
use super::refresh::{self, AnswerFiles, Refreshed};
use super::serving::{self, Serving};
use super::shared::{Request, Shared, epoch_record};
use super::{Options, record};
use crate::api::{
    Command, CommandError, DiskAct, EngineState, EventKind, HandleEnd, HostId, JobState, JobView, Observation, Reply,
    Reported, Reports,
};
use crate::boot::PlanNetwork;
use crate::disks::Unidentified;
use crate::jobs::Jobs;
use crate::lab::{Lab, Mode, Problem};
use crate::machine::Now;
use crate::net;

/// Snapshots are at least this far apart.
const PUBLISH_EVERY: Duration = Duration::from_millis(60);
/// How often a network beside another server is asked whether that is still there.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Interfaces, files and lab.toml are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who waits for the end of a start or stop.
pub(super) type Answer = oneshot::Sender<Result<Reply, CommandError>>;

/// A start or a stop on its way.
#[derive(Debug)]
pub(super) enum Transition {
    Start(JoinHandle<Result<Serving, String>>),
    Stop(JoinHandle<()>),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: Jobs,
    pub(super) options: Options,
    pub(super) serving: Option<Serving>,
    transition: Option<Transition>,
    waiting: Vec<Answer>,
    /// Installations that prove to run and could not be written to lab.toml.
    pub(super) unwritten: Vec<Request>,
    /// Who wants an end of what is still being started.
    stop_next: Vec<Answer>,
    end: HandleEnd,
    reports: Reports,
    requests: mpsc::Receiver<Request>,
    /// Whether the interfaces in service had a link when they were last looked at.
    linked: HashMap<String, bool>,
    /// Who asks there whether another server is to be heard since it has one again.
    probes: HashMap<String, JoinHandle<()>>,
    /// When it was last asked whether another server is still there.
    asked: HashMap<String, Instant>,
    pub(super) dirty: bool,
    pub(super) stamp: Option<crate::lab::Stamp>,
    /// The stamp of one that is being written, as it was at the last look.
    changing: Option<Option<crate::lab::Stamp>>,
    refreshing: Option<Refreshing>,
    /// The jobs that found out, or find out, what an image is, by its path: their numbers, and what the image was like.
    pub(super) hashing: HashMap<PathBuf, (u64, Unidentified)>,
    pub(super) again: Option<Again>,
    answers: Option<AnswerFiles>,
    /// They have changed since lab.toml was read.
    other_answers: bool,
}

/// A look at files that is on its way.
#[derive(Debug)]
struct Refreshing {
    task: JoinHandle<Result<Refreshed, String>>,
    /// The jobs when it began.
    jobs: Vec<JobView>,
    /// What was in force then.
    lab: Arc<Lab>,
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        end: HandleEnd,
        reports: Reports,
        requests: mpsc::Receiver<Request>,
        options: Options,
    ) -> Self {
        let jobs = Jobs::new(shared.reporter.clone(), Arc::new(refresh::JobJournal(shared.clone())));
        Self {
            shared,
            jobs,
            options,
            serving: None,
            transition: None,
            waiting: Vec::new(),
            unwritten: Vec::new(),
            stop_next: Vec::new(),
            end,
            reports,
            requests,
            linked: HashMap::new(),
            probes: HashMap::new(),
            asked: HashMap::new(),
            dirty: true,
            stamp: None,
            changing: None,
            refreshing: None,
            hashing: HashMap::new(),
            again: None,
            answers: None,
            other_answers: false,
        }
    }

    /// Reads the lab for the first time and publishes the first snapshot.
    pub(super) async fn load(&mut self) {
        let shared = self.shared.clone();
        let recovered = serving::blocking(move || shared.store.recover(shared.folder.read().ok().as_ref())).await;
        if let Err(error) = recovered {
            self.shared.state().storage_problem = Some(error);
        }
        self.reload(false).await;
        let in_force = self.files_in_force();
        let _undone = self.jobs.recover(in_force);
        if let Ok(refreshed) = refresh::run(self.shared.clone(), Vec::new(), self.options.control).await {
            self.refreshed(refreshed);
        }
        self.publish();
    }

    /// Whether a file or folder is one of `media/` that lab.toml names, or holds one. Of a lab that cannot be read, all may be.
    fn files_in_force(&self) -> impl Fn(&Path) -> bool + use<> {
        let media = self.shared.folder.media();
        let named = self.shared.folder.read().ok().map(|lab| {
            let files = lab.profiles.iter().flat_map(|profile| profile.files().map(|file| media.join(file)));
            files.collect::<Vec<_>>()
        });
        move |path| match &named {
            Some(named) => named.iter().any(|file| file.starts_with(path)),
            None => path.starts_with(&media),
        }
    }

    /// Runs until `closed` resolves.
    pub(super) async fn run(mut self, mut closed: oneshot::Receiver<()>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut published = Instant::now();
        let mut jobs_changed = self.jobs.changed();
        let mut plan = self.shared.plan.subscribe();
        loop {
            let silence = self.shared.state().deadline();
            tokio::select! {
                batch = self.reports.next() => self.fold(batch),
                () = until(silence), if silence.is_some() => {
                    self.dirty |= self.shared.state().silence(Now::read());
                }
                Some((command, answer)) = self.end.commands.recv() => self.command(command, answer).await,
                Some(request) = self.requests.recv() => self.request(request).await,
                ended = ended(&mut self.transition), if self.transition.is_some() => self.transitioned(ended),
                refreshed = looked(&mut self.refreshing), if self.refreshing.is_some() => self.looked(refreshed).await,
                Ok(()) = jobs_changed.changed() => self.jobs_changed().await,
                Ok(()) = plan.changed() => {
                    let plan = plan.borrow_and_update().clone();
                    if let Some(serving) = &self.serving {
                        serving.update(plan);
                    }
                    self.dirty = true;
                }
                _ = look.tick() => self.look().await,
                () = tokio::time::sleep_until(published + PUBLISH_EVERY), if self.dirty => {
                    self.publish();
                    published = Instant::now();
                }
                _ = &mut closed => break,
            }
        }
        self.close().await;
    }

    fn publish(&mut self) {
        self.dirty = false;
        let snapshot = self.shared.state().snapshot(self.shared.folder.dir());
        self.end.publish(snapshot);
    }

    /// Folds what was reported, in order.
    fn fold(&mut self, batch: Vec<Reported>) {
        let count = batch.len();
        let mut events = Vec::new();
        let mut records: Vec<HostId> = Vec::new();
        let mut ipxe = Vec::new();
        let mut foreign = false;
        {
            let mut state = self.shared.state();
            for reported in batch {
                if let Some(serving) = &self.serving {
                    serving.told(&reported.observation);
                }
                let folded = state.fold(reported);
                records.extend(folded.record);
                if let Some((id, boot)) = folded.boot {
                    self.shared.db.put_boot(id, boot);
                }
                ipxe.extend(folded.ipxe);
                foreign |= folded.foreign;
                if let Some(epoch) = folded.epoch.and_then(|id| Some((id, state.boots.get(id)?))) {
                    // Queued now; the login that follows waits for it.
                    drop(self.shared.db.put_epoch(epoch_record(epoch.0, epoch.1)));
                }
                for gone in folded.gone {
                    self.shared.db.delete_host(gone);
                    self.shared.db.delete_epoch(gone);
                }
                if let Some(EventKind::ProxyStyle { model, style, taken: true }) =
                    folded.event.as_ref().map(|e| &e.kind)
                {
                    self.shared.db.put_proxy_style(model.clone(), *style);
                }
                for event in folded.event.into_iter().chain(folded.also) {
                    self.end.emit(event.clone());
                    if !event.kind.is_progress() {
                        events.push(event);
                    }
                }
            }
            records.sort_unstable();
            records.dedup();
            for id in records {
                if let Some(record) = record(&state, id) {
                    self.shared.db.put_host(record);
                }
            }
        }
        if let Some(serving) = &self.serving {
            for (mac, on) in ipxe {
                serving.ipxe_stage(mac, on);
            }
        }
        if foreign {
            modes::stand_back(&self.shared);
        }
        if !events.is_empty() {
            self.shared.db.append_events(events);
        }
        self.reports.folded(count);
        self.dirty = true;
    }

    /// Looks at what changes without telling: time, lab.toml, interfaces, files.
    async fn look(&mut self) {
        let (changed, ipxe) = self.shared.state().tick(Now::read());
        self.dirty |= changed;
        if let Some(serving) = &self.serving {
            ipxe.into_iter().for_each(|mac| serving.ipxe_stage(mac, false));
        }
        self.follow_file(Glance::Look).await;
        if self.other_answers && self.shared.folder.stamp() == self.stamp {
            self.other_answers = false;
            self.reload(false).await;
        }
        self.retry().await;
        self.refresh();
    }

    /// Takes over a lab.toml that somebody has written. One that another file took the place of is whole; one that is written in place
    /// may be half of what it will be, and the half may be valid, so it has to stand still from one look to the next.
    async fn follow_file(&mut self, glance: Glance) {
        let stamp = self.shared.folder.stamp();
        if stamp == self.stamp {
            self.changing = None;
            return;
        }
        let in_place = matches!((stamp, self.stamp), (Some(new), Some(old)) if new.is_same_file(old));
        if in_place && (glance == Glance::Between || self.changing.replace(stamp) != Some(stamp)) {
            return;
        }
        self.changing = None;
        self.reload(true).await;
    }

    /// Begins a look at files beside the loop, unless one is on its way.
    fn refresh(&mut self) {
        if self.refreshing.is_none() {
            let sessions = self.serving.as_ref().map(Serving::sessions).unwrap_or_default();
            let (jobs, lab) = (self.jobs.views(), self.shared.state().lab.clone());
            let task = tokio::spawn(refresh::run(self.shared.clone(), sessions, self.options.control));
            self.refreshing = Some(Refreshing { task, jobs, lab });
        }
    }

    /// A look at files has ended. One that may have missed what a job made counts for nothing.
    async fn looked(&mut self, refreshed: Option<Refreshed>) {
        let Some(began) = self.refreshing.take() else { return };
        let (views, shown) = (self.jobs.views(), self.shared.state().jobs.clone());
        let to_show = views.iter().any(|job| ended_since(job, &shown));
        if to_show {
            // What it made may be in lab.toml.
            self.follow_file(Glance::Between).await;
        }
        let other_lab = !Arc::ptr_eq(&began.lab, &self.shared.state().lab);
        if (to_show && other_lab) || views.iter().any(|job| ended_since(job, &began.jobs)) {
            self.refresh();
            return;
        }
        if let Some(refreshed) = refreshed {
            self.refreshed(refreshed);
        }
        self.dirty |= shown != views;
        self.shared.state().jobs = views;
    }

    fn refreshed(&mut self, refreshed: Refreshed) {
        // What a profile's answers are called to its kernel is told by what is in them.
        let before = self.answers.replace(refreshed.answers.clone());
        self.other_answers |= before.is_some_and(|before| before != refreshed.answers);
        let (changed, firmware, unasked) = refresh::apply(&self.shared, refreshed);
        self.dirty |= changed;
        if let Some(found) = firmware {
            self.shared.change_plan(|plan| {
                (plan.firmware, plan.files, plan.runs_on) = (found.by_arch, found.files, found.runs_on);
            });
        }
        self.identify(unasked.hash);
        self.inspect_taken(unasked.inspect);
        self.follow_cards();
        self.follow_links();
        self.follow_servers();
    }

    /// The servers are being started or stopped.
    pub(super) fn is_changing(&self) -> bool {
        self.transition.is_some()
    }

    /// A server beside which `auto` stands back, or because of which offers are held back, may go.
    fn follow_servers(&mut self) {
        let Some(serving) = &self.serving else {
            self.asked.clear();
            return;
        };
        let now = Instant::now();
        let networks: Vec<PlanNetwork> = {
            let state = self.shared.state();
            let wanted = |n: &&PlanNetwork| {
                serving.own_port.contains(&n.interface)
                    && modes::wants_to_know(&state, &state.plan.lab, n, now.into_std())
            };
            state.plan.networks.iter().filter(wanted).cloned().collect()
        };
        for network in networks {
            let asked = self.asked.entry(network.interface.clone()).or_insert(now);
            if now.duration_since(*asked) >= ASK_EVERY {
                *asked = now;
                tokio::spawn(modes::look_for_server(self.shared.clone(), serving.ports.clone(), network));
            }
        }
    }

    /// A cable that was out and is in again may be in another network: it is probed anew.
    fn follow_links(&mut self) {
        let Some(serving) = &self.serving else {
            self.linked.clear();
            self.probes.drain().for_each(|(_, probe)| probe.abort());
            return;
        };
        let networks: Vec<(PlanNetwork, bool)> = {
            let state = self.shared.state();
            let running = |n: &PlanNetwork| state.interfaces.iter().any(|i| i.name == n.interface && i.running);
            state.plan.networks.iter().filter(|n| n.mode == Mode::Dhcp).map(|n| (n.clone(), running(n))).collect()
        };
        for (network, running) in networks {
            let before = self.linked.insert(network.interface.clone(), running);
            if before.is_some_and(|before| before != running) {
                // It may be put into another network: offers wait until that was asked.
                self.shared.change_network(&network.interface, |network, _, _| network.foreign = true);
                // What was asked in the network before says nothing of this one.
                if let Some(probe) = self.probes.remove(&network.interface) {
                    probe.abort();
                }
            }
            if running && (before == Some(false) || (before.is_none() && network.foreign)) {
                let (interface, ports) = (network.interface.clone(), serving.ports.clone());
                let probe = tokio::spawn(modes::probe_again(self.shared.clone(), ports, network));
                self.probes.insert(interface, probe);
            }
        }
    }

    /// Shows how the jobs stand. One that ended is shown as ended only when what it made is shown, too: see [`Run::looked`].
    async fn jobs_changed(&mut self) {
        let shown = self.shared.state().jobs.clone();
        let mut views = self.jobs.views();
        if views.iter().any(|job| ended_since(job, &shown)) {
            self.follow_file(Glance::Between).await;
            self.refresh();
            views.retain_mut(|job| match shown.iter().find(|before| before.id == job.id) {
                Some(before) if ended_since(job, &shown) => {
                    job.clone_from(before);
                    true
                }
                Some(_) => true,
                None => job.state == JobState::Running,
            });
        }
        self.shared.state().jobs = views;
        self.dirty = true;
    }

    /// Reads lab.toml anew. A broken one is shown; what was in force stays in force.
    pub(super) async fn reload(&mut self, tell: bool) {
        self.stamp = self.shared.folder.stamp();
        let shared = self.shared.clone();
        let read = serving::blocking(move || {
            let lab = shared.folder.read()?;
            let text = shared.folder.read_text().unwrap_or_default();
            Ok::<_, Vec<Problem>>((serving::with_kinds(lab, &shared.folder.media()), text))
        })
        .await;
        match read {
            Ok(Ok((lab, text))) => {
                self.follow(&lab).await;
                self.shared.take_lab(lab);
                self.shared.take_settings(&text);
                if tell {
                    self.shared.report(None, EventKind::LabChanged);
                }
            }
            Ok(Err(problems)) => {
                let texts = problems.iter().filter(|p| p.is_error()).map(ToString::to_string).collect();
                self.shared.state().problems = problems;
                self.shared.report(None, EventKind::LabBroken { problems: texts });
            }
            Err(error) => self.shared.state().storage_problem = Some(error),
        }
        self.dirty = true;
    }

    /// Starts serving, and answers when that is done.
    pub(super) fn start(&mut self, answer: Answer) {
        match (&self.serving, &self.transition) {
            (Some(_), _) => {
                let _nobody_listens = answer.send(Ok(Reply::Done));
                return;
            }
            (None, Some(Transition::Start(_))) => {
                self.waiting.push(answer);
                return;
            }
            (None, Some(Transition::Stop(_))) => {
                let _nobody_listens =
                    answer.send(Err(CommandError::new("the servers are just stopping; try again in a moment")));
                return;
            }
            (None, None) => {}
        }
        self.waiting.push(answer);
        self.shared.state().engine = EngineState::Starting;
        self.dirty = true;
        let (shared, trust) = (self.shared.clone(), self.options.trust_interfaces);
        self.transition = Some(Transition::Start(tokio::spawn(async move {
            let ports = serving::blocking(net::port_set).await?;
            serving::start(shared, ports, trust).await
        })));
    }

    /// Stops serving, and answers when that is done.
    pub(super) fn stop(&mut self, answer: Answer) {
        match (self.serving.take(), &self.transition) {
            (Some(serving), _) => {
                self.waiting.push(answer);
                let shared = self.shared.clone();
                self.transition = Some(Transition::Stop(tokio::spawn(async move { serving.stop(&shared).await })));
            }
            (None, Some(Transition::Stop(_))) => self.waiting.push(answer),
            (None, Some(Transition::Start(_))) => self.stop_next.push(answer),
            (None, None) => {
                let _nobody_listens = answer.send(Ok(Reply::Done));
            }
        }
    }

    fn transitioned(&mut self, ended: Ended) {
        self.transition = None;
        let outcome = match ended {
            Ended::Started(Ok(serving)) => {
                serving.update(self.shared.plan.borrow().clone());
                self.serving = Some(*serving);
                Ok(Reply::Done)
            }
            Ended::Started(Err(error)) => {
                self.shared.serve_nothing();
                let told = self.tried_again(&error);
                self.shared.report(None, EventKind::EngineStopped { error: (!told).then(|| error.clone()) });
                Err(CommandError::new(error))
            }
            Ended::Stopped => {
                self.shared.serve_nothing();
                self.shared.report(None, EventKind::EngineStopped { error: None });
                Ok(Reply::Done)
            }
        };
        for answer in self.waiting.drain(..) {
            let _nobody_listens = answer.send(outcome.clone());
        }
        for answer in std::mem::take(&mut self.stop_next) {
            self.stop(answer);
        }
        self.dirty = true;
    }

    /// The end: whatever runs is stopped, whatever is queued is written.
    async fn close(mut self) {
        let (shared, serving) = (self.shared.clone(), self.serving.take());
        let mut ending = match self.transition.take() {
            Some(Transition::Stop(stop)) => Some(stop),
            Some(Transition::Start(start)) => Some(tokio::spawn(async move {
                if let Ok(Ok(serving)) = start.await {
                    serving.stop(&shared).await;
                }
            })),
            None => serving.map(|serving| tokio::spawn(async move { serving.stop(&shared).await })),
        };
        if ending.is_some() {
            // What the servers report at their end still counts, and their end may wait for it.
            loop {
                tokio::select! {
                    batch = self.reports.next() => self.fold(batch),
                    _stopped = joined(&mut ending) => break,
                }
            }
            self.shared.report(None, EventKind::EngineStopped { error: None });
            let batch = self.reports.next().await;
            self.fold(batch);
        }
        let jobs = self.jobs.clone();
        let _bounded = serving::blocking(move || jobs.shutdown()).await;
        if let Err(error) = self.shared.db.flush().await {
            self.shared.state().storage_problem = Some(error.to_string());
        }
        self.publish();
    }

    /// Reports something that a person did to a machine.
    pub(super) fn report_of(&self, id: HostId, kind: EventKind) {
        let who = {
            let state = self.shared.state();
            crate::api::Who { mac: state.directory.macs(id).first().copied(), uuid: state.directory.uuid(id), ip: None }
        };
        self.shared.reporter.report(Now::read(), Observation::of(who, kind));
    }

    async fn command(&mut self, command: Command, answer: Answer) {
        // Whoever asks after something was reported is told of it: the two come by different ways, and either may be looked at first.
        let before = self.reports.waiting();
        if !before.is_empty() {
            self.fold(before);
        }
        match command {
            Command::Start => self.start(answer),
            Command::Stop => {
                self.again = None;
                self.stop(answer);
            }
            Command::Packets { host } => self.look_up(&host, LookUp::Packets, answer).await,
            Command::History { host } => self.look_up(&host, LookUp::History, answer).await,
            Command::Boots { host } => self.look_up(&host, LookUp::Boots, answer).await,
            Command::Explain(question) => self.explain(question, answer).await,
            // It takes seconds, and others need not wait for it.
            Command::Disk { disk, act: DiskAct::Inspect { host } } => self.look_into(&disk, host, answer).await,
            Command::AddFirmware { from } => self.add_firmware(from, answer),
            // It takes seconds, and nothing else waits for it.
            Command::Doctor { interface, self_test } => self.doctor(interface, self_test, answer),
            other => {
                let outcome = self.carry_out(other).await;
                // Whoever looks after the answer sees what it speaks of.
                self.publish();
                let _nobody_listens = answer.send(outcome);
            }
        }
    }
}

/// When lab.toml is glanced at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glance {
    /// At a look, which comes a while after the one before.
    Look,
    /// At any moment between two.
    Between,
}

/// Whether this job has ended, and was at work among `before`, or came and ended since.
fn ended_since(job: &JobView, before: &[JobView]) -> bool {
    let known = before.iter().find(|known| known.id == job.id);
    job.state != JobState::Running && known.is_none_or(|known| known.state == JobState::Running)
}

/// Sleeps until it is so long after the start. What is due now takes a moment all the same: a clock may be just behind what was asked for.
async fn until(at: Option<Duration>) {
    let left = at.map(|at| at.saturating_sub(Now::read().boot));
    tokio::time::sleep(left.unwrap_or_default().clamp(Duration::from_millis(1), LOOK_EVERY)).await;
}

enum Ended {
    Started(Result<Box<Serving>, String>),
    Stopped,
}

async fn ended(transition: &mut Option<Transition>) -> Ended {
    match transition {
        Some(Transition::Start(task)) => Ended::Started(match task.await {
            Ok(started) => started.map(Box::new),
            Err(error) => Err(format!("starting failed inside the program: {error}")),
        }),
        Some(Transition::Stop(task)) => {
            let _a_panic_stops_it_too = task.await;
            Ended::Stopped
        }
        None => std::future::pending().await,
    }
}

async fn looked(refreshing: &mut Option<Refreshing>) -> Option<Refreshed> {
    match refreshing {
        // Of one that failed inside the program the next will tell.
        Some(refreshing) => (&mut refreshing.task).await.ok()?.ok(),
        None => std::future::pending().await,
    }
}

async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    match task {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
