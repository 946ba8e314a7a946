//! What the desktop is told while the window is hidden: a machine failed, something long ended, all machines of a group are up.
//!
//! [`Watch`] compares the lab with what it was when it was looked at last. It knows no desktop and no clock: who calls it decides
//! when to look, so that thirty machines that fail at once make one notice that names their number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bootyard_core::api::{HostId, HostView, JobKind, JobState, JobView, Snapshot, Stage};
use jiff::Timestamp;

use super::lang::{count, t};
use super::views::images;
use super::{say, targets};

/// At most this many assignments of several machines are followed.
const TOGETHER: usize = 16;

/// Names in one notice.
const NAMES: usize = 3;

/// What is said, in one line and a few more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// The line.
    pub(super) title: String,
    /// More about it; may be empty.
    pub(super) body: String,
}

/// What happened from one look to the next.
#[derive(Debug, Default)]
struct News<'a> {
    failed: Vec<&'a HostView>,
    ended: Vec<&'a JobView>,
    /// Groups, and by the empty name machines that were assigned together: how many each has.
    up: Vec<(String, usize)>,
}

impl News<'_> {
    fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.ended.is_empty() && self.up.is_empty()
    }
}

/// Machines that were assigned in one act.
#[derive(Debug)]
struct Together {
    hosts: HashSet<HostId>,
    at: Timestamp,
}

/// The lab as it was looked at last, and what was told of it.
#[derive(Debug)]
pub(super) struct Watch {
    base: Arc<Snapshot>,
    together: Vec<Together>,
    /// The finding with which a machine was said to have failed. Said again only after it was up: a machine that tries for ever would not
    /// leave anybody in peace.
    told: HashMap<HostId, String>,
}

impl Watch {
    /// Begins with this.
    pub(super) fn new(base: Arc<Snapshot>) -> Self {
        Self { base, together: Vec::new(), told: HashMap::new() }
    }

    /// These machines were assigned in one act. What they were waited for before no longer holds; with `boots`, they are waited for now.
    pub(super) fn assigned(&mut self, hosts: &[HostId], boots: bool, at: Timestamp) {
        for set in &mut self.together {
            set.hosts.retain(|host| !hosts.contains(host));
        }
        self.together.retain(|set| set.hosts.len() > 1);
        if boots && hosts.len() > 1 {
            if self.together.len() == TOGETHER {
                self.together.remove(0);
            }
            self.together.push(Together { hosts: hosts.iter().copied().collect(), at });
        }
    }

    /// Whether there would be something to say.
    pub(super) fn has_news(&self, shot: &Snapshot) -> bool {
        !self.news(shot).is_empty()
    }

    /// What there is to say. The next look compares with this one.
    pub(super) fn take(&mut self, shot: Arc<Snapshot>) -> Vec<Notice> {
        let news = self.news(&shot);
        let notices = say_all(&news);
        let told: Vec<(HostId, String)> = news.failed.iter().map(|host| (host.id, finding_of(host))).collect();
        self.told.extend(told);
        self.together.retain(|set| !is_complete(set, &shot));
        for host in shot.hosts.iter().filter(|host| is_up(host.stage)) {
            self.told.remove(&host.id);
        }
        self.base = shot;
        notices
    }

    fn news<'a>(&self, shot: &'a Snapshot) -> News<'a> {
        // Before its first snapshot came nothing was known, so nothing has changed.
        if self.base.v == 0 {
            return News::default();
        }
        let before: HashMap<HostId, &Arc<HostView>> = self.base.hosts.iter().map(|host| (host.id, host)).collect();
        let stage = |id: HostId| before.get(&id).map(|host| host.stage);
        let failed = shot
            .hosts
            .iter()
            .filter(|host| host.stage == Stage::Failed && stage(host.id) != Some(Stage::Failed))
            .filter(|host| self.told.get(&host.id) != Some(&finding_of(host)))
            .map(AsRef::as_ref)
            .collect();

        let ended = ended(&self.base, shot)
            .filter(|job| match job.state {
                // These come by themselves: with each start, and after an import.
                JobState::Done => !matches!(job.kind, JobKind::HashImage | JobKind::InspectDisk),
                JobState::Failed { .. } => true,
                JobState::Running | JobState::Cancelled => false,
            })
            .collect();

        let mut groups: BTreeMap<&str, Vec<&HostView>> = BTreeMap::new();
        for host in &shot.hosts {
            if let Some(group) = &host.group {
                groups.entry(group).or_default().push(host);
            }
        }
        groups.retain(|_, hosts| {
            let came = |host: &&HostView| stage(host.id).is_some_and(|stage| !is_up(stage));
            hosts.len() > 1 && hosts.iter().all(|host| is_up(host.stage)) && hosts.iter().any(came)
        });
        let sets: Vec<HashSet<HostId>> =
            groups.values().map(|hosts| hosts.iter().map(|host| host.id).collect()).collect();
        let mut up: Vec<(String, usize)> =
            groups.iter().map(|(group, hosts)| (say::clean_to(group, 40), hosts.len())).collect();
        let others = self.together.iter().filter(|set| !sets.contains(&set.hosts) && is_complete(set, shot));
        up.extend(others.map(|set| (String::new(), set.hosts.len())));
        News { failed, ended, up }
    }
}

/// What has failed from one snapshot to the next, each by itself: what the window says where it is seen.
pub(super) fn failed_jobs(before: &Snapshot, shot: &Snapshot) -> Vec<Notice> {
    if before.v == 0 {
        return Vec::new();
    }
    ended(before, shot).filter(|job| matches!(job.state, JobState::Failed { .. })).map(say_job).collect()
}

/// Jobs that are not under way any more, or that began and ended from one snapshot to the next.
fn ended<'a>(before: &Snapshot, shot: &'a Snapshot) -> impl Iterator<Item = &'a JobView> + use<'a> {
    let running = |job: &&JobView| job.state == JobState::Running;
    let over: HashSet<u64> = before.jobs.iter().filter(|job| !running(job)).map(|job| job.id).collect();
    shot.jobs.iter().filter(move |job| !running(job) && !over.contains(&job.id))
}

/// All machines of an act came up after it.
fn is_complete(set: &Together, shot: &Snapshot) -> bool {
    set.hosts.iter().all(|id| {
        targets::host(shot, *id)
            .is_some_and(|host| is_up(host.stage) && host.since.is_some_and(|since| since >= set.at))
    })
}

/// Where a boot is meant to arrive.
fn is_up(stage: Stage) -> bool {
    matches!(stage, Stage::Running | Stage::OsLogin | Stage::Local)
}

fn finding_of(host: &HostView) -> String {
    host.findings.iter().max_by_key(|finding| finding.severity).map(|finding| finding.id.clone()).unwrap_or_default()
}

/// The first sentence about a machine that failed.
fn why(host: &HostView) -> Option<String> {
    let finding = host.findings.iter().max_by_key(|finding| finding.severity)?;
    let said = say::sentence(&finding.seen);
    Some(said.split_once(". ").map_or(said.clone(), |(first, _)| format!("{first}.")))
}

fn say_all(news: &News<'_>) -> Vec<Notice> {
    let mut list = Vec::new();
    list.extend(say_failed(&news.failed));
    match news.ended.as_slice() {
        [] => {}
        [job] => list.push(say_job(job)),
        jobs => {
            let bad = jobs.iter().filter(|job| matches!(job.state, JobState::Failed { .. })).count();
            let lines: Vec<String> = jobs.iter().take(NAMES).map(|job| say_job(job).title).collect();
            let title = if bad == 0 {
                count!(jobs.len(), "{n} task is done", "{n} tasks are done")
            } else {
                t!("{n} tasks ended, {bad} of them failed", n = jobs.len(), bad = bad)
            };
            list.push(Notice { title, body: lines.join("\n") });
        }
    }
    list.extend(news.up.iter().map(|(group, n)| {
        let title = if group.is_empty() {
            t!("All {n} machines that were assigned together are up", n = n)
        } else {
            t!("All {n} machines of {group} are up", n = n, group = group)
        };
        Notice { title, body: String::new() }
    }));
    list
}

fn say_failed(failed: &[&HostView]) -> Option<Notice> {
    match failed {
        [] => None,
        [host] => Some(Notice {
            title: t!("{name} failed", name = say::host_name(host)),
            body: why(host).unwrap_or_default(),
        }),
        hosts => {
            let names: Vec<String> = hosts.iter().map(|host| say::host_name(host)).collect();
            let mut body = say::names(&names, NAMES);
            // One cause is said, several are for the window.
            let causes: HashSet<String> = hosts.iter().map(|host| finding_of(host)).collect();
            if let (1, Some(why)) = (causes.len(), hosts.iter().find_map(|host| why(host))) {
                body = format!("{body}\n{why}");
            }
            Some(Notice { title: count!(hosts.len(), "{n} machine failed", "{n} machines failed"), body })
        }
    }
}

fn say_job(job: &JobView) -> Notice {
    let what = images::about(job);
    match &job.state {
        JobState::Failed { error } => {
            Notice { title: t!("Failed: {act}", act = images::act(job.kind, &what)), body: say::sentence(error) }
        }
        _ => Notice { title: images::done(job.kind, &what), body: say::job_done(job) },
    }
}

#[cfg(test)]
mod tests {
    use bootyard_core::api::Progress;
    use bootyard_core::lab::Boot;
    use jiff::SignedDuration;

    use super::super::tests::sample::{ago, bench, host, iscsi, trouble};
    use super::*;

    /// Machines at these stages, numbered from 1; those that failed have a finding.
    fn lab(stages: &[Stage]) -> Snapshot {
        let one = |(n, stage): (u64, &Stage)| {
            let mut host = host(n, *stage, iscsi("room-1"));
            if *stage == Stage::Failed {
                host.findings = vec![trouble()];
            }
            Arc::new(host)
        };
        Snapshot { hosts: (1..).zip(stages).map(one).collect(), jobs: vec![], ..bench(0) }
    }

    fn in_group(mut shot: Snapshot) -> Snapshot {
        for host in &mut shot.hosts {
            Arc::make_mut(host).group = Some("room-101".into());
        }
        shot
    }

    fn with_job(id: u64, kind: JobKind, state: JobState) -> Snapshot {
        let progress = Progress { done: 8 << 30, total: 8 << 30, rate: 0 };
        Snapshot {
            jobs: vec![JobView { id, kind, what: "fedora".into(), progress, state, started: ago(60) }],
            ..lab(&[])
        }
    }

    fn titles(notices: &[Notice]) -> Vec<&str> {
        notices.iter().map(|notice| notice.title.as_str()).collect()
    }

    /// What is said when the lab went from one to the next.
    fn said(before: Snapshot, after: Snapshot) -> Vec<Notice> {
        Watch::new(Arc::new(before)).take(Arc::new(after))
    }

    #[test]
    fn a_machine_that_failed_is_told_with_the_first_sentence_about_it() {
        let told = said(lab(&[Stage::Loading]), lab(&[Stage::Failed]));
        let [notice] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(notice.title, "pc-01 failed");
        assert_eq!(notice.body, "iPXE stopped at `initrd`: no answer came in time (error 4c0a6035).");
        assert_eq!(said(lab(&[Stage::Failed]), lab(&[Stage::Failed])), []);
        assert_eq!(said(lab(&[Stage::Failed]), lab(&[Stage::Waiting])), []);
    }

    #[test]
    fn thirty_that_fail_at_once_are_one_notice_that_names_their_number() {
        let told = said(lab(&[Stage::Loading; 30]), lab(&[Stage::Failed; 30]));
        let [notice] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(notice.title, "30 machines failed");
        assert!(notice.body.starts_with("pc-01, pc-02, pc-03 and 27 more\niPXE stopped"), "{notice:?}");
    }

    #[test]
    fn what_fails_for_ever_is_told_once_until_it_was_up() {
        let mut watch = Watch::new(Arc::new(lab(&[Stage::Loading])));
        let mut at = |stage| watch.take(Arc::new(lab(&[stage]))).len();
        assert_eq!(at(Stage::Failed), 1);
        assert_eq!((at(Stage::Seen), at(Stage::Failed)), (0, 0));
        assert_eq!((at(Stage::OsLogin), at(Stage::Failed)), (0, 1));
    }

    #[test]
    fn what_was_so_when_the_lab_was_opened_is_no_news() {
        assert_eq!(said(Snapshot::default(), lab(&[Stage::Failed; 3])), []);
        // A machine that was not known before is.
        assert_eq!(titles(&said(lab(&[]), lab(&[Stage::Failed]))), ["pc-01 failed"]);
    }

    #[test]
    fn the_end_of_something_long_is_told_and_that_of_a_check_only_when_it_failed() {
        let ended = |kind, state| said(with_job(1, kind, JobState::Running), with_job(1, kind, state));
        let failed = || JobState::Failed { error: "no space left on the disk".into() };
        let told = ended(JobKind::ImportDisk, JobState::Done);
        assert_eq!(told, [Notice { title: "Imported fedora".into(), body: "8.0 GiB".into() }]);
        let told = ended(JobKind::ImportDisk, failed());
        let [notice] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(
            (notice.title.as_str(), notice.body.as_str()),
            ("Failed: Import fedora", "No space left on the disk.")
        );
        assert_eq!(ended(JobKind::ImportDisk, JobState::Cancelled), []);
        assert_eq!(ended(JobKind::HashImage, JobState::Done), []);
        assert_eq!(ended(JobKind::InspectDisk, JobState::Done), []);
        assert_eq!(ended(JobKind::HashImage, failed()).len(), 1);
        // Begun and done from one look to the next.
        assert_eq!(said(lab(&[]), with_job(9, JobKind::CopyDisk, JobState::Done)).len(), 1);
        assert_eq!(
            said(with_job(9, JobKind::CopyDisk, JobState::Done), with_job(9, JobKind::CopyDisk, JobState::Done)),
            []
        );
    }

    #[test]
    fn several_ends_are_one_notice() {
        let jobs = |state: JobState| {
            let one = with_job(1, JobKind::ImportDisk, state).jobs.remove(0);
            let two = JobView { id: 2, state: JobState::Failed { error: "gone".into() }, ..one.clone() };
            Snapshot { jobs: if one.state == JobState::Running { vec![one] } else { vec![one, two] }, ..lab(&[]) }
        };
        let told = said(jobs(JobState::Running), jobs(JobState::Done));
        assert_eq!(titles(&told), ["2 tasks ended, 1 of them failed"]);
    }

    #[test]
    fn a_group_is_told_when_its_last_machine_is_up() {
        let group = |stages: &[Stage]| in_group(lab(stages));
        let (up, late) = (Stage::OsLogin, Stage::SanLogin);
        assert_eq!(titles(&said(group(&[up, late]), group(&[up, up]))), ["All 2 machines of room-101 are up"]);
        assert_eq!(said(group(&[late, late]), group(&[up, late])), []);
        assert_eq!(said(group(&[up, up]), group(&[up, up])), []);
        // A group of one says nothing that the machine does not.
        assert_eq!(said(group(&[late]), group(&[up])), []);
        // Nobody came up because a machine left the group.
        assert_eq!(said(group(&[up, up, late]), group(&[up, up])), []);
    }

    #[test]
    fn machines_that_were_assigned_together_are_told_when_all_came_up_after_it() {
        let (up, ids) = (Stage::OsLogin, [HostId(1), HostId(2)]);
        let since = |mut shot: Snapshot, at: Timestamp| {
            for host in &mut shot.hosts {
                Arc::make_mut(host).since = Some(at);
            }
            shot
        };
        let now = ago(100);
        let (earlier, later) = (now - SignedDuration::from_secs(9), now + SignedDuration::from_secs(9));
        let mut watch = Watch::new(Arc::new(since(lab(&[up, up]), earlier)));
        watch.assigned(&ids, true, now);
        assert!(!watch.has_news(&since(lab(&[up, up]), earlier)), "they have not booted since");
        assert_eq!(watch.take(Arc::new(since(lab(&[Stage::Loading, up]), later))), []);
        let shot = Arc::new(since(lab(&[up, up]), later));
        assert_eq!(titles(&watch.take(shot.clone())), ["All 2 machines that were assigned together are up"]);
        assert_eq!(watch.take(shot.clone()), []);

        // Taken back: nobody waits for them.
        watch.assigned(&ids, true, now);
        watch.assigned(&ids, false, now);
        assert_eq!(watch.take(shot), []);
        // A group's own sentence is enough.
        let mut watch = Watch::new(Arc::new(in_group(lab(&[Stage::Loading, up]))));
        watch.assigned(&ids, true, now);
        let told = watch.take(Arc::new(since(in_group(lab(&[up, up])), later)));
        assert_eq!(titles(&told), ["All 2 machines of room-101 are up"]);
    }

    #[test]
    fn what_a_machine_calls_itself_is_made_harmless() {
        let mut shot = lab(&[Stage::Failed]);
        Arc::make_mut(&mut shot.hosts[0]).name = Some("a\u{202e}b\n".into());
        assert_eq!(titles(&said(lab(&[]), shot)), ["a?b? failed"]);
        assert_eq!(
            said(lab(&[]), Snapshot { hosts: vec![Arc::new(host(1, Stage::Waiting, Boot::Wait))], ..lab(&[]) }),
            []
        );
    }
}
