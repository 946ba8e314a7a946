//! What is done to disks, by commands: the classroom's maintenance, and what a deletion takes with it.

use std::time::Duration;

use super::bench::{A, B, Bench, IP_A, IP_B};
use super::gate::DiskGate;
use crate::api::{Command, DiskAct, EventKind, ExportFormat, HandleError, JobState, Reply};
use crate::boot::initiator_name;
use crate::iscsi::{Gate, LoginRequest};
use crate::net::MacAddr;

const HOSTS: &str = "[[host]]
mac = \"52:54:00:00:00:01\"
name = \"pc-1\"
boot = { iscsi = \"fresh\", writes = \"keep\" }

[[host]]
mac = \"52:54:00:00:00:02\"
name = \"pc-2\"
boot = { iscsi = \"fresh\" }
";

/// A machine boots: what it is given, its firmware's login, one byte read and another one written.
async fn boot(bench: &Bench, mac: MacAddr, ip: std::net::Ipv4Addr, write: u8) -> u8 {
    bench.addressed(mac, ip).await;
    let gate = DiskGate(bench.shared.clone());
    let target = crate::lab::derived_iqn(&"fresh".parse().unwrap());
    let login = LoginRequest { initiator: initiator_name(mac), target, peer: ip.into(), firmware: true };
    let shared = bench.shared.clone();
    let boot = crate::lab::Boot::Iscsi(crate::lab::IscsiBoot {
        disk: "fresh".parse().unwrap(),
        profile: None,
        via: crate::lab::IscsiVia::Script,
        writes: (mac == A).then_some(crate::lab::Writes::Keep),
    });
    let id = shared.state().directory.find(&crate::api::Who::mac(mac)).unwrap();
    shared.begin(id, &boot, super::boots::How::default()).await.unwrap();
    let work = move || {
        let grant = gate.authorize(&login).unwrap();
        let device = gate.open(&login, &grant).unwrap();
        let mut sector = [0; 512];
        device.read_at(&mut sector, 0).unwrap();
        device.write_at(&[write; 512], 0).unwrap();
        device.flush().unwrap();
        sector[0]
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn act(bench: &Bench, disk: &str, act: DiskAct) -> Result<Reply, HandleError> {
    bench.call(Command::Disk { disk: disk.into(), act }).await
}

/// Waits until a job has ended.
async fn ended(bench: &Bench, id: u64) -> JobState {
    for _ in 0..2400 {
        let state = bench.handle().snapshot().jobs.iter().find(|j| j.id == id).map(|j| j.state.clone());
        match state {
            Some(JobState::Running) | None => tokio::time::sleep(Duration::from_millis(25)).await,
            Some(ended) => return ended,
        }
    }
    panic!("the job does not end");
}

/// Waits until a job has ended well.
async fn done(bench: &Bench, reply: Reply) {
    let Reply::Job { id } = reply else { panic!("no job: {reply:?}") };
    assert_eq!(ended(bench, id).await, JobState::Done);
}

#[tokio::test]
async fn what_is_tried_on_one_machine_is_everybodys_after_the_commit() {
    let bench = Bench::new(HOSTS).await;
    assert_eq!(boot(&bench, A, IP_A, 50).await, 1);
    assert_eq!(boot(&bench, B, IP_B, 60).await, 1);
    // The classroom's machines are clean at each boot, the one in maintenance keeps what it changed.
    assert_eq!(boot(&bench, B, IP_B, 61).await, 1);
    assert_eq!(boot(&bench, A, IP_A, 51).await, 50);
    let reply = act(&bench, "fresh", DiskAct::Commit { host: "pc-1".into() }).await.unwrap();
    done(&bench, reply).await;
    assert_eq!(boot(&bench, B, IP_B, 62).await, 51);
    assert_eq!(boot(&bench, A, IP_A, 52).await, 51);
    let committed =
        |kind: &EventKind| matches!(kind, EventKind::DiskCommitted { generation: 2, of, .. } if of == "pc-1");
    assert!(bench.events().await.iter().any(|e| committed(&e.kind)));
}

#[tokio::test]
async fn a_deletion_names_what_goes_and_leaves_a_lab_that_reads() {
    let bench = Bench::new(HOSTS).await;
    assert_eq!(boot(&bench, A, IP_A, 50).await, 1);
    let refused = act(&bench, "fresh", DiskAct::Delete { anyway: false }).await.unwrap_err().to_string();
    assert!(refused.contains("pc-1") && refused.contains("pc-2") && refused.contains("lost"), "{refused}");
    let reply = act(&bench, "fresh", DiskAct::Delete { anyway: true }).await.unwrap();
    done(&bench, reply).await;
    let toml = bench.toml();
    assert!(!toml.contains("name = \"fresh\"") && toml.matches("boot = \"wait\"").count() == 2, "{toml}");
    assert!(bench.dir.path().join("disks/golden.raw").exists(), "another disk has this image, too");
    assert!(!bench.dir.path().join("disks/fresh.overlays").exists());
    let nothing = act(&bench, "fresh", DiskAct::Compact).await.unwrap_err().to_string();
    assert!(nothing.contains("no disk `fresh`"), "{nothing}");
}

#[tokio::test]
async fn a_disk_grows_in_lab_toml_and_never_shrinks() {
    let bench = Bench::new(HOSTS).await;
    let grown = act(&bench, "kept", DiskAct::Resize { size: 2 << 20 }).await.unwrap();
    done(&bench, grown).await;
    assert!(bench.toml().contains("size = \"2M\""), "{}", bench.toml());
    let refused = act(&bench, "kept", DiskAct::Resize { size: 1 << 20 }).await.unwrap_err().to_string();
    assert!(refused.contains("cannot shrink"), "{refused}");
    let copied = act(&bench, "kept", DiskAct::Snapshot { name: "before".into(), host: None }).await.unwrap();
    done(&bench, copied).await;
    bench.toml_says("name = \"before\"").await;
    assert!(bench.toml().contains("image = \"before.raw\""), "{}", bench.toml());
}

#[tokio::test]
async fn an_export_that_fails_removes_nothing_that_it_did_not_make() {
    let bench = Bench::new(HOSTS).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out.raw");
    // Whatever the name of what an export fills was or will be.
    let others = [to.clone(), folder.path().join(".out.raw.part")];
    std::fs::create_dir(&others[1]).unwrap();
    for file in [&others[0], &others[1].join("precious")] {
        std::fs::write(file, "precious").unwrap();
    }
    let export = || DiskAct::Export { to: to.clone(), format: ExportFormat::Raw, host: None };
    let Reply::Job { id } = act(&bench, "kept", export()).await.unwrap() else { panic!("no job") };
    let failed = ended(&bench, id).await;
    assert!(matches!(&failed, JobState::Failed { error } if error.contains("exists")), "{failed:?}");
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    std::fs::remove_file(&to).unwrap();
    let reply = act(&bench, "kept", export()).await.unwrap();
    done(&bench, reply).await;
    assert_eq!(std::fs::read(&to).unwrap(), vec![1; 1 << 20]);
    assert_eq!(std::fs::read(others[1].join("precious")).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_reset_drops_all_or_none_and_tells_whose() {
    let bench = Bench::new(HOSTS).await;
    assert_eq!(boot(&bench, A, IP_A, 50).await, 1);
    assert_eq!(boot(&bench, B, IP_B, 60).await, 1);
    let disk = bench.shared.state().lab.disk(&"fresh".parse().unwrap()).cloned().unwrap();
    let key = |mac| {
        let id = bench.shared.state().directory.find(&crate::api::Who::mac(mac)).unwrap();
        crate::disks::OverlayKey::Host(id)
    };
    let request = |mac| crate::disks::OpenRequest { disk: &disk, key: key(mac), label: "x".into(), fresh_epoch: None };
    let running = bench.shared.store.open(&request(B)).unwrap();
    let refused = act(&bench, "fresh", DiskAct::Reset { hosts: Vec::new() }).await.unwrap_err().to_string();
    assert!(refused.contains("shut that machine down"), "{refused}");
    assert_eq!(boot(&bench, A, IP_A, 50).await, 50, "nothing was dropped");
    drop(running);
    let reply = act(&bench, "fresh", DiskAct::Reset { hosts: Vec::new() }).await.unwrap();
    done(&bench, reply).await;
    let told = |kind: &EventKind| matches!(kind, EventKind::OverlaysReset { of, .. } if of.len() == 2);
    assert!(bench.events().await.iter().any(|e| told(&e.kind)));
    assert_eq!(boot(&bench, A, IP_A, 50).await, 1);
}
