//! What the loop does between two looks, and what it does not wait for.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::bench::LAB;
use super::super::{Engine, prepare};
use super::*;
use crate::api::{JobKind, NewDisk};
use crate::inspect::{Record, write_record};
use crate::lab::{Boot, IscsiBoot, IscsiVia, ProfileKind, Writes};

/// A loop that has read this lab.toml and stands still.
async fn standing(dir: &Path, toml: &str) -> Run {
    fs::write(dir.join("lab.toml"), toml).unwrap();
    prepare(dir, Options::default()).await.unwrap().0
}

/// A job comes and ends, and the loop is told.
async fn job_ends(run: &mut Run) {
    run.jobs.start(JobKind::CreateDisk, "new".into(), |_| Ok(()));
    while run.jobs.busy() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.jobs_changed().await;
}

fn machines(run: &Run) -> usize {
    run.shared.state().lab.hosts.len()
}

#[tokio::test]
async fn a_job_that_ends_while_somebody_writes_lab_toml_takes_no_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let one = "version = 1\n[[host]]\nmac = \"52:54:00:00:00:01\"\n";
    let mut run = standing(dir.path(), one).await;
    assert_eq!(machines(&run), 1);
    let (two, toml) = (one.to_owned() + &one[12..].replace(":01", ":02"), dir.path().join("lab.toml"));
    // Written in place, and as far as it has come it is valid: the machine is gone.
    fs::write(&toml, "version = 1\n").unwrap();
    job_ends(&mut run).await;
    job_ends(&mut run).await;
    assert_eq!(machines(&run), 1, "between two looks nobody knows that it is whole");
    run.follow_file(Glance::Look).await;
    assert_eq!(machines(&run), 1, "it has just changed");
    fs::write(&toml, &two).unwrap();
    run.follow_file(Glance::Look).await;
    job_ends(&mut run).await;
    assert_eq!(machines(&run), 1, "it changes still");
    run.follow_file(Glance::Look).await;
    assert_eq!(machines(&run), 2, "it stood still from one look to the next");
    // What takes the place of another file is whole.
    let new = dir.path().join("new.toml");
    fs::write(&new, one).unwrap();
    fs::rename(&new, &toml).unwrap();
    job_ends(&mut run).await;
    assert_eq!(machines(&run), 1);
}

#[tokio::test]
async fn a_job_is_shown_as_ended_with_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = standing(dir.path(), "version = 1\n").await;
    let shown = |run: &Run| {
        let state = run.shared.state();
        (state.jobs.iter().map(|job| job.state.clone()).collect::<Vec<_>>(), state.disks.len())
    };
    // A look that began before: it cannot have seen what comes now.
    run.refresh();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    run.jobs.start(JobKind::CreateDisk, "new".into(), move |_| ends.recv().map_err(|e| e.to_string()));
    run.jobs_changed().await;
    assert_eq!(shown(&run), (vec![JobState::Running], 0));
    let toml = "version = 1\n[[disk]]\nname = \"new\"\nimage = \"new.raw\"\n";
    run.shared.folder.write_toml(toml).unwrap();
    end.send(()).unwrap();
    while run.jobs.busy() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.jobs_changed().await;
    assert_eq!(shown(&run), (vec![JobState::Running], 0), "its disk was not looked at");
    let first = looked(&mut run.refreshing).await;
    run.looked(first).await;
    assert_eq!(shown(&run), (vec![JobState::Running], 0), "that look was too early");
    let second = looked(&mut run.refreshing).await;
    run.looked(second).await;
    assert_eq!(shown(&run), (vec![JobState::Done], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_while_images_are_looked_at_holds_up_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lab.toml"), LAB).unwrap();
    let (disks, live) = (dir.path().join("disks"), dir.path().join("media/live"));
    fs::create_dir_all(&live).unwrap();
    fs::create_dir_all(&disks).unwrap();
    fs::write(disks.join("golden.raw"), vec![1; 1 << 20]).unwrap();
    // A profile whose kernel was taken out of a machine's overlay: nothing is compared with it, but the image is looked into.
    let record = Record {
        v: 1,
        disk: "kept".into(),
        host: Some("pc-1".into()),
        system: String::new(),
        version: String::new(),
        pinned: false,
        generation: 0,
        taken: jiff::Timestamp::UNIX_EPOCH,
        files: Vec::new(),
        words: None,
    };
    write_record(&live, &record).unwrap();
    let engine = Engine::open(dir.path(), Options { control: true, ..Options::default() }).await.unwrap();
    let handle = engine.handle();
    let ended = |kind| handle.snapshot().jobs.iter().any(|job| job.kind == kind && job.state != JobState::Running);
    for _ in 0..2000 {
        if ended(JobKind::InspectDisk) && ended(JobKind::HashImage) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(ended(JobKind::InspectDisk), "{:?}", handle.snapshot().jobs);
    // What is read of a pipe comes when somebody writes into it: a disk that hangs.
    let (pipe, known) = (disks.join("pipe"), disks.join(".inspected/kept.json"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::rename(&pipe, &known).unwrap();
    let read = known.clone();
    let opened = tokio::task::spawn_blocking(move || File::options().write(true).open(read)).await;
    let patience = Duration::from_secs(20);
    let answered = tokio::time::timeout(patience, handle.call(Command::Ping)).await;
    // Nor does the end of a job wait for it.
    let mut events = handle.events();
    let new = NewDisk { name: "new".into(), from: None, size: Some(1 << 20), writes: Writes::Keep };
    let add = tokio::time::timeout(patience, handle.call(Command::AddDisk(new))).await;
    let job_ended = async {
        while let Ok(event) = events.recv().await {
            if matches!(&event.kind, EventKind::JobEnded { what, .. } if what == "new") {
                return;
            }
        }
    };
    let told = tokio::time::timeout(patience, job_ended).await;
    let pings = async {
        for _ in 0..50 {
            handle.call(Command::Ping).await.unwrap();
        }
    };
    let still = tokio::time::timeout(patience, pings).await;
    fs::remove_file(known).unwrap();
    drop(opened);
    assert!(answered.is_ok(), "what is known of an image is not read by the loop");
    assert!(matches!(add, Ok(Ok(_))) && told.is_ok(), "{add:?}");
    assert!(still.is_ok(), "the loop does not wait for what a job made to be looked at");
    engine.close().await;
}

#[tokio::test]
async fn an_image_that_could_not_be_read_is_tried_again_when_it_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disks/room.raw");
    fs::create_dir_all(image.parent().unwrap()).unwrap();
    // No raw image: it says what it is, and is not read as one.
    let write = |sectors: usize| {
        let mut content = vec![0; sectors * 512];
        content[..4].copy_from_slice(b"QFI\xfb");
        fs::write(&image, content).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(&image).unwrap().set_modified(long_ago).unwrap();
    };
    write(2);
    let toml = "version = 1\n[[disk]]\nname = \"room\"\nimage = \"room.raw\"\nwrites = \"fresh\"\n";
    let mut run = standing(dir.path(), toml).await;
    let lab = run.shared.state().lab.clone();
    let mut tried = 0;
    for (sectors, tries) in [(2, 1), (2, 1), (4, 2), (4, 2)] {
        if tries > tried {
            write(sectors);
        }
        let found = run.shared.store.unidentified(&lab);
        assert_eq!(found.len(), 1);
        run.identify(found);
        while run.jobs.busy() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tried = run.jobs.views().len();
        assert_eq!(tried, tries, "{:?}", run.jobs.views());
        assert!(run.jobs.views().iter().all(|job| matches!(job.state, JobState::Failed { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_made_to_be_installed_into_is_a_whole_rooms_once_it_is_assigned_so() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disks/room.raw");
    fs::create_dir_all(image.parent().unwrap()).unwrap();
    // As large as no login waits for.
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    fs::write(dir.path().join("lab.toml"), "version = 1\n[[disk]]\nname = \"room\"\nimage = \"room.raw\"\nwrites = \"image\"\n[[host]]\nmac = \"52:54:00:00:00:01\"\n").unwrap();
    let engine = Engine::open(dir.path(), Options { control: true, ..Options::default() }).await.unwrap();
    let handle = engine.handle();
    let host = handle.snapshot().hosts[0].id;
    assert_eq!(handle.snapshot().disks[0].problem, None, "nobody needs to know what it is");
    let boot = Boot::Iscsi(IscsiBoot {
        disk: "room".parse().unwrap(),
        profile: None,
        via: IscsiVia::Script,
        writes: Some(Writes::Fresh),
    });
    handle.call(Command::Assign { hosts: vec![host], to: boot }).await.unwrap();
    let hashed = || {
        let shot = handle.snapshot();
        let done = |job: &JobView| job.kind == JobKind::HashImage && job.state == JobState::Done;
        shot.jobs.iter().any(done) && shot.disks[0].problem.is_none() && shot.disks[0].generation == 1
    };
    for _ in 0..2400 {
        if hashed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{:?} {:?}", handle.snapshot().jobs, handle.snapshot().disks);
}

#[tokio::test]
async fn a_profile_that_lab_toml_names_is_not_taken_for_the_rest_of_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let media = dir.path().join("media");
    for name in ["debian", "half"] {
        fs::create_dir_all(media.join(name)).unwrap();
        fs::write(media.join(name).join("linux"), "kernel").unwrap();
    }
    let named = "version = 1\n[[profile]]\nname = \"debian\"\nkernel = \"debian/linux\"\n";
    let run = standing(dir.path(), named).await;
    let in_force = run.files_in_force();
    assert!(in_force(&media.join("debian")) && in_force(&media.join("debian/linux")));
    assert!(!in_force(&media.join("half")) && !in_force(&media.join("half/linux")));
    fs::write(dir.path().join("lab.toml"), "no lab").unwrap();
    let in_force = run.files_in_force();
    assert!(in_force(&media.join("half")), "nobody knows what the lab names");
    assert!(!in_force(&dir.path().join("disks/.a.raw.part")));
}

#[tokio::test]
async fn answers_that_come_after_their_profile_are_known_for_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let media = dir.path().join("media");
    fs::create_dir_all(&media).unwrap();
    let toml = "version = 1\n[[profile]]\nname = \"d\"\nkernel = \"linux\"\nanswers = \"d.cfg\"\n";
    let mut run = standing(dir.path(), toml).await;
    let kind = |run: &Run| run.shared.plan.borrow().lab.profiles[0].kind;
    for (content, expected) in [
        (None, Some(ProfileKind::None)),
        (Some("d-i netcfg/get_hostname string pc\n"), Some(ProfileKind::Preseed)),
        (Some("#version=RHEL9\ninstall\nrootpw x\n%packages\n%end\n"), Some(ProfileKind::Kickstart)),
    ] {
        if let Some(content) = content {
            let file = media.join("d.cfg");
            fs::write(&file, content).unwrap();
            // Two of them within the clock's tick would look alike.
            let at = std::time::SystemTime::now() + Duration::from_secs(content.len() as u64);
            fs::File::options().write(true).open(&file).unwrap().set_modified(at).unwrap();
        }
        run.refresh();
        let seen = looked(&mut run.refreshing).await;
        run.looked(seen).await;
        run.look().await;
        assert_eq!(kind(&run), expected, "{content:?}");
        let seen = looked(&mut run.refreshing).await;
        run.looked(seen).await;
    }
}
