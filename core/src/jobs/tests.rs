//! What a person may rely on when something long runs.

use std::collections::BTreeMap;
use std::sync::mpsc;

use super::*;
use crate::api::reports;

#[derive(Default)]
struct Memory(Mutex<BTreeMap<u64, String>>);

impl Journal for Memory {
    fn put(&self, id: u64, json: &str) {
        self.0.lock().unwrap().insert(id, json.to_owned());
    }

    fn delete(&self, id: u64) {
        self.0.lock().unwrap().remove(&id);
    }

    fn all(&self) -> Vec<(u64, String)> {
        self.0.lock().unwrap().iter().map(|(id, json)| (*id, json.clone())).collect()
    }
}

fn jobs(journal: &Arc<Memory>) -> (Jobs, crate::api::Reports) {
    let (reporter, reports) = reports();
    (Jobs::new(reporter, journal.clone()), reports)
}

fn state_of(jobs: &Jobs, id: u64) -> JobState {
    for _ in 0..10_000 {
        let state = jobs.views().into_iter().find(|view| view.id == id).unwrap().state;
        if state != JobState::Running {
            return state;
        }
        thread::sleep(Duration::from_millis(2));
    }
    JobState::Running
}

#[tokio::test]
async fn a_job_is_told_of_when_it_starts_and_when_it_ends() {
    let (jobs, mut reports) = jobs(&Arc::default());
    let id = jobs.start(JobKind::ImportDisk, "a.raw".into(), |job| {
        job.progress(5, 10);
        Ok(())
    });
    assert_eq!(state_of(&jobs, id), JobState::Done);
    let view = &jobs.views()[0];
    assert_eq!((view.progress.done, view.progress.total, view.what.as_str()), (5, 10, "a.raw"));
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        kinds.extend(reports.next().await.into_iter().map(|r| r.observation.kind));
    }
    assert_eq!(kinds[0], EventKind::JobStarted { job: id, job_kind: JobKind::ImportDisk, what: "a.raw".into() });
    assert_eq!(kinds[1], EventKind::JobEnded { job: id, what: "a.raw".into(), error: None });
}

#[test]
fn a_panic_is_a_failed_job_and_no_more() {
    let (jobs, _reports) = jobs(&Arc::default());
    let id = jobs.start(JobKind::HashImage, "a".into(), |_| panic!("the floor is lava"));
    let JobState::Failed { error } = state_of(&jobs, id) else { panic!() };
    assert!(error.contains("the floor is lava"), "{error}");
    let next = jobs.start(JobKind::HashImage, "b".into(), |_| Ok(()));
    assert_eq!(state_of(&jobs, next), JobState::Done);
}

#[test]
fn a_cancelled_job_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("part");
    let journal = Arc::new(Memory::default());
    let (jobs, _reports) = jobs(&journal);
    let (made, is_made) = mpsc::sync_channel(1);
    let id = jobs.start(JobKind::ImportDisk, "a".into(), {
        let part = part.clone();
        move |job| {
            job.temporary(&part);
            fs::write(&part, "half").unwrap();
            made.send(()).unwrap();
            while !job.cancelled() {
                thread::sleep(Duration::from_millis(1));
            }
            Err("interrupted".into())
        }
    });
    is_made.recv().unwrap();
    assert_eq!(journal.all().len(), 1);
    assert!(jobs.cancel(id));
    assert_eq!(state_of(&jobs, id), JobState::Cancelled);
    assert!(!part.exists() && journal.all().is_empty());
    assert!(!jobs.cancel(id));
}

#[test]
fn the_next_start_undoes_what_a_crash_left() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("part");
    fs::write(&part, "half").unwrap();
    let journal = Arc::new(Memory::default());
    // Done but for its last word: lab.toml names it already.
    let home = dir.path().join("media/debian");
    fs::create_dir_all(&home).unwrap();
    let temporary = vec![part.clone(), home.clone()];
    let entry = Entry { kind: JobKind::ImportDisk, what: "a".into(), temporary };
    journal.put(7, &serde_json::to_string(&entry).unwrap());
    journal.put(8, "of another version");
    let (jobs, _reports) = jobs(&journal);
    assert_eq!(jobs.recover(|path| path == home), ["a"]);
    assert!(home.exists(), "machines are given what is in it");
    assert!(!part.exists() && journal.all().is_empty());
    assert!(jobs.start(JobKind::CreateDisk, "b".into(), |_| Ok(())) > 8);
}

#[test]
fn shutdown_cancels_all_and_waits_for_them() {
    let (jobs, _reports) = jobs(&Arc::default());
    let ids: Vec<_> = (0..3)
        .map(|n| {
            jobs.start(JobKind::HashImage, n.to_string(), |job| {
                while !job.cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
                Err("cancelled".into())
            })
        })
        .collect();
    assert!(jobs.shutdown());
    assert!(!jobs.busy());
    for id in ids {
        assert_eq!(state_of(&jobs, id), JobState::Cancelled);
    }
}

#[test]
fn the_list_of_ended_jobs_stays_short_and_never_drops_one_at_work() {
    let (jobs, _reports) = jobs(&Arc::default());
    let (stop, wait) = mpsc::sync_channel::<()>(1);
    let long = jobs.start(JobKind::HashImage, "long".into(), move |_| wait.recv().map_err(|e| e.to_string()));
    for n in 0..30 {
        let id = jobs.start(JobKind::CreateDisk, n.to_string(), |_| Ok(()));
        assert_eq!(state_of(&jobs, id), JobState::Done);
    }
    let views = jobs.views();
    assert_eq!(views.len(), SHOWN + 1);
    assert_eq!((views[0].id, &views[0].state), (long, &JobState::Running));
    stop.send(()).unwrap();
    assert_eq!(state_of(&jobs, long), JobState::Done);
}

#[test]
fn the_rate_is_over_the_last_second() {
    let second = Duration::from_secs(1);
    let job = Job {
        id: 1,
        what: String::new(),
        kind: JobKind::HashImage,
        started: Timestamp::UNIX_EPOCH,
        ended: None,
        state: JobState::Running,
        done: 3000,
        total: 0,
        samples: [(10 * second, 1000), (11 * second, 3000)].into(),
        cancel: Arc::default(),
        temporary: Vec::new(),
    };
    assert_eq!(job.view(11 * second).progress.rate, 2000);
    assert_eq!(job.view(20 * second).progress.rate, 0, "it stalls");
}
