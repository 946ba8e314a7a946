//! A kernel is taken out of a disk by a command, and taken again once the image has another one.

use std::fs;
use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use super::bench::{A, B, Bench};
use crate::api::{Command, DiskAct, EventKind, HandleError, HostId, JobState, Reply};
use crate::inspect::{InspectionCache, Stale, record_of};
use crate::lab::{Boot, IscsiBoot, IscsiVia, Name, Writes};

/// An initramfs of one file, as cpio has it.
fn initrd(name: &str) -> Vec<u8> {
    let member = |name: &str| {
        let fields = [0, 0o100_644, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() + 1, 0];
        let mut bytes = b"070701".to_vec();
        bytes.extend(fields.iter().flat_map(|f| format!("{f:08x}").into_bytes()));
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    [member(name), member("TRAILER!!!")].concat()
}

/// The disk's image becomes one with these kernels: a file system on the whole disk.
fn image(bench: &Bench, kernels: &[&str]) {
    image_with(bench, kernels, "LABEL=x");
}

/// The same, its root named so.
fn image_with(bench: &Bench, kernels: &[&str], named: &str) {
    let root = bench.dir.path().join("root");
    let _none_yet = fs::remove_dir_all(&root);
    for folder in ["etc", "boot"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("etc/os-release"), "PRETTY_NAME=Test\nID=test\n").unwrap();
    fs::write(root.join("etc/fstab"), format!("{named} / ext4 defaults 0 0\n")).unwrap();
    for version in kernels {
        fs::write(root.join(format!("boot/vmlinuz-{version}")), format!("kernel {version}")).unwrap();
        fs::write(root.join(format!("boot/initrd.img-{version}")), initrd("scripts/functions")).unwrap();
    }
    let part = bench.dir.path().join("part");
    fs::File::create(&part).unwrap().set_len(16 << 20).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let made = Program::new("mkfs.ext4").args(["-q", "-F", "-d", &text(&root), &text(&part)]).output();
    assert!(made.expect("apt-get install e2fsprogs").status.success());
    fs::rename(part, bench.dir.path().join("disks/golden.raw")).unwrap();
}

async fn extract(bench: &Bench, profile: &str, kernel: Option<&str>) -> Result<JobState, HandleError> {
    let act = DiskAct::Extract { profile: profile.into(), host: None, kernel: kernel.map(str::to_owned) };
    ended(bench, bench.call(Command::Disk { disk: "kept".into(), act }).await?).await
}

/// How the job of this reply ended.
async fn ended(bench: &Bench, reply: Reply) -> Result<JobState, HandleError> {
    let Reply::Job { id } = reply else { panic!("no job: {reply:?}") };
    for _ in 0..2400 {
        let state = bench.handle().snapshot().jobs.iter().find(|j| j.id == id).map(|j| j.state.clone());
        match state {
            Some(JobState::Running) | None => tokio::time::sleep(Duration::from_millis(25)).await,
            Some(ended) => return Ok(ended),
        }
    }
    panic!("the job does not end");
}

fn files(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(bench.dir.path().join("media/direct")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_kernel_is_taken_out_and_renewed_in_place() {
    let bench = Bench::new("# kept by everybody\n").await;
    image(&bench, &["6.1"]);
    let media = bench.dir.path().join("media");
    let name: Name = "direct".parse().unwrap();
    assert_eq!(extract(&bench, "direct", None).await.unwrap(), JobState::Done);
    bench.toml_says("kernel = \"direct/vmlinuz-6.1\"").await;
    let toml = bench.toml();
    for line in [
        "initrd = [\"direct/initrd.img-6.1\"]",
        "args = \"root=LABEL=x\"",
        "iscsi-args = \"debian\"",
        "# kept by everybody",
    ] {
        assert!(toml.contains(line), "{line}: {toml}");
    }
    assert_eq!(files(&bench), ["extracted.json", "initrd.img-6.1", "vmlinuz-6.1"]);
    let record = record_of(&media, &name).unwrap();
    assert_eq!((record.disk.as_str(), record.version.as_str(), record.pinned), ("kept", "6.1", false));

    // A person's own words in the entry stay when it is renewed.
    fs::write(
        bench.dir.path().join("lab.toml"),
        toml.replace("args = \"root=LABEL=x\"", "args = \"root=LABEL=x debug\" # mine"),
    )
    .unwrap();
    image(&bench, &["6.1", "6.10"]);
    let act = DiskAct::Inspect { host: None };
    let Reply::Inspected { found } = bench.call(Command::Disk { disk: "kept".into(), act }).await.unwrap() else {
        panic!()
    };
    let told = |e: &std::sync::Arc<crate::api::Event>| match &e.kind {
        EventKind::ImageTrouble { disk, troubles } if disk == "kept" => Some(troubles.clone()),
        _ => None,
    };
    let troubles = bench.events().await.iter().find_map(told).expect("what diagnosis is to know");
    assert!(troubles.contains(&"no-uefi-loader".to_owned()) && troubles.contains(&"no-bios-loader".to_owned()));
    assert_eq!(record.stale(&found), Some(Stale::Newer { version: "6.10".into() }));
    let disks = bench.dir.path().join("disks");
    assert!(InspectionCache::new(&disks).get(&"kept".parse().unwrap(), &disks.join("golden.raw"), 0).is_some());
    assert_eq!(extract(&bench, "direct", None).await.unwrap(), JobState::Done);
    bench.toml_says("kernel = \"direct/vmlinuz-6.10\"").await;
    assert!(bench.toml().contains("args = \"root=LABEL=x debug\" # mine"), "{}", bench.toml());
    assert_eq!(files(&bench), ["extracted.json", "initrd.img-6.10", "vmlinuz-6.10"], "the former ones are gone");
    assert_eq!(record_of(&media, &name).unwrap().stale(&found), None);
    let names: Vec<_> = fs::read_dir(&media)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| n.to_string_lossy().starts_with('.'))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn arguments_follow_the_image_unless_a_person_wrote_them() {
    let bench = Bench::new("").await;
    image_with(&bench, &["6.1"], "LABEL=x");
    assert_eq!(extract(&bench, "direct", None).await.unwrap(), JobState::Done);
    bench.toml_says("args = \"root=LABEL=x\"").await;
    image_with(&bench, &["6.1"], "LABEL=y");
    assert_eq!(extract(&bench, "direct", None).await.unwrap(), JobState::Done);
    bench.toml_says("args = \"root=LABEL=y\"").await;
    let edited = |bench: &Bench| bench.handle().snapshot().profiles.iter().any(|p| p.name == "direct" && p.edited);
    assert!(!edited(&bench));

    let toml = bench
        .toml()
        .replace("root=LABEL=y", "root=LABEL=mine")
        .replace("iscsi-args = \"debian\"", "iscsi-args = \"none\"");
    fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    image_with(&bench, &["6.1"], "LABEL=z");
    assert_eq!(extract(&bench, "direct", None).await.unwrap(), JobState::Done);
    bench.toml_says("iscsi-args = \"none\"").await;
    assert!(bench.toml().contains("root=LABEL=mine") && !bench.toml().contains("LABEL=z"), "{}", bench.toml());
    assert!(edited(&bench), "it is shown that they are others");
}

#[tokio::test]
async fn a_click_gives_machines_the_disks_own_kernel_which_is_taken_out_where_it_must() {
    let bench = Bench::new("").await;
    image(&bench, &["6.1"]);
    let disk: Name = "kept".parse().unwrap();
    let own = IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: Some(Writes::Keep) };
    bench.assign(A, Boot::Iscsi(own)).await;
    bench.assign(B, Boot::Wait).await;
    let id = |mac| bench.handle().snapshot().hosts.iter().find(|h| h.macs.contains(&mac)).unwrap().id;
    let click = |hosts: Vec<HostId>| bench.call(Command::StartDirectly { hosts, disk: "kept".into() });

    let reply = click(vec![id(A)]).await.unwrap();
    assert_eq!(ended(&bench, reply).await.unwrap(), JobState::Done);
    bench.toml_says("boot = { iscsi = \"kept\", profile = \"kept\", writes = \"keep\" }").await;
    let by_window = |e: &std::sync::Arc<crate::api::Event>| matches!(&e.kind, EventKind::Assigned { to: Boot::Iscsi(to), .. } if to.profile.is_some());
    assert!(bench.events().await.iter().any(by_window));

    // What is at hand is given at once; a newer kernel is taken out first, for those who asked.
    assert_eq!(click(vec![id(B)]).await.unwrap(), Reply::Hosts { count: 1 });
    bench.toml_says("boot = { iscsi = \"kept\", profile = \"kept\" }").await;
    image(&bench, &["6.1", "6.10"]);
    let reply = click(vec![id(B)]).await.unwrap();
    assert_eq!(ended(&bench, reply).await.unwrap(), JobState::Done);
    bench.toml_says("kernel = \"kept/vmlinuz-6.10\"").await;

    // What cannot be done leaves everybody what they had.
    fs::write(bench.dir.path().join("disks/golden.raw"), vec![0; 1 << 20]).unwrap();
    let reply = bench.call(Command::StartDirectly { hosts: vec![id(A)], disk: "fresh".into() }).await.unwrap();
    let JobState::Failed { error } = ended(&bench, reply).await.unwrap() else {
        panic!("there is nothing to take out")
    };
    assert!(error.contains("no Linux system"), "{error}");
    assert!(!bench.toml().contains("iscsi = \"fresh\""), "{}", bench.toml());
    let refused =
        bench.call(Command::StartDirectly { hosts: vec![], disk: "gone".into() }).await.unwrap_err().to_string();
    assert!(refused.contains("no disk `gone`"), "{refused}");
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_the_profiles() {
    let bench = Bench::new("[[disk]]\nname = \"live\"\nimage = \"golden.raw\"\n").await;
    image(&bench, &["6.1"]);
    bench.assign(A, Boot::Wait).await;
    let hosts = vec![bench.handle().snapshot().hosts.iter().find(|h| h.macs.contains(&A)).unwrap().id];
    let reply = bench.call(Command::StartDirectly { hosts, disk: "live".into() }).await.unwrap();
    assert_eq!(ended(&bench, reply).await.unwrap(), JobState::Done);
    bench.toml_says("boot = { iscsi = \"live\", profile = \"live-kernel\" }").await;
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_overwritten() {
    let bench = Bench::new("").await;
    image(&bench, &["6.1"]);
    let refused = extract(&bench, "live", None).await.unwrap_err().to_string();
    assert!(refused.contains("there already"), "{refused}");
    fs::create_dir(bench.dir.path().join("media/mine")).unwrap();
    let refused = extract(&bench, "mine", None).await.unwrap_err().to_string();
    assert!(refused.contains("media/mine"), "{refused}");
    let JobState::Failed { error } = extract(&bench, "other", Some("5.0")).await.unwrap() else { panic!() };
    assert!(error.contains("5.0") && error.contains("6.1"), "{error}");
    assert!(!bench.dir.path().join("media/other").exists() && !bench.toml().contains("other"));
    let act = DiskAct::Inspect { host: Some("nobody".into()) };
    assert!(bench.call(Command::Disk { disk: "kept".into(), act }).await.is_err());
}
