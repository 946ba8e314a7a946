use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::api::{EventKind, Source, Stage};
use crate::hosts::BootOutcome;
use crate::lab::schema::InstallThen;
use crate::lab::{LeaseState, Name};
use crate::machine::Now;

fn lease(n: u8, state: LeaseState) -> LeaseRecord {
    LeaseRecord {
        address: Ipv4Addr::new(192, 168, 2, n),
        mac: MacAddr([0x52, 0x54, 0, 0, 0, n]),
        uuid: n.is_multiple_of(2).then(|| Uuid::from_u128(u128::from(n))),
        hostname: Some("h\"'ü".into()),
        state,
        expires: Now::at(Duration::from_millis(1500)).wall,
    }
}

fn event(seq: u64) -> Arc<Event> {
    let kind = EventKind::EngineStarted { interfaces: vec!["eth0".into()] };
    Arc::new(Event {
        v: 1,
        seq,
        time: Now::at(Duration::ZERO).wall,
        host: Some(HostId(3)),
        mac: None,
        source: Source::Served,
        kind,
    })
}

fn host(id: u64) -> HostRecord {
    HostRecord {
        id: HostId(id),
        macs: vec![MacAddr([2, 0, 0, 0, 0, 1])],
        uuid: Some(Uuid::from_u128(7)),
        hostname: None,
        ip: Some("192.168.2.3".parse().unwrap()),
        arch: Some(crate::boot::Arch::UefiX64),
        manufacturer: None,
        product: Some("p".into()),
        serial: None,
        memory_mib: Some(2048),
        first_seen: Some(Now::at(Duration::ZERO).wall),
        last_seen: None,
        last_stage: Stage::Installing,
    }
}

fn epoch(host: u64) -> EpochRecord {
    let profile: Name = "debian-12".parse().unwrap();
    let install =
        InstallRecord { profile, then: InstallThen::Local, token: "t0ken".into(), unassigned: false, consumed: false };
    EpochRecord {
        by_system: true,
        host: HostId(host),
        id: u64::MAX,
        disk: Some("d".parse().unwrap()),
        writes: Some(crate::lab::Writes::Keep),
        fresh: true,
        install: Some(install),
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    let db = Db::open(&path).unwrap();
    let leases = vec![lease(1, LeaseState::Bound), lease(2, LeaseState::Released), lease(10, LeaseState::Declined)];
    db.commit_leases(leases.clone()).await.unwrap();
    assert_eq!(db.leases().unwrap(), leases, "durable when answered, without a flush");
    db.put_epoch(epoch(3)).await.unwrap();
    db.put_host(host(3));
    db.put_host(host(4));
    db.delete_host(HostId(4));
    db.put_job(9, "{}".into());
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    db.confirm(mac, this_machine());
    db.confirm(mac, this_machine());
    let (file, server) = (crate::api::ProxyStyle::File, crate::api::ProxyStyle::BootServer);
    db.put_proxy_style("PXEClient 52:54:00".into(), server);
    db.put_proxy_style("PXEClient 52:54:00".into(), file);
    let progress = EventKind::HttpProgress { path: "/".into(), sent: 1, total: 2 };
    db.append_events(vec![event(1), event(2), Arc::new(Event { kind: progress, ..(*event(3)).clone() })]);
    drop(db);

    let db = Db::open(&path).unwrap();
    assert_eq!(db.leases().unwrap(), leases);
    assert_eq!(db.epochs().unwrap(), [epoch(3)]);
    assert_eq!(db.hosts().unwrap(), [host(3)]);
    assert_eq!(db.jobs().unwrap(), [JobRecord { id: 9, json: "{}".into() }]);
    assert_eq!(db.proxy_styles().unwrap(), [("PXEClient 52:54:00".to_owned(), file)].into());
    assert_eq!(db.confirmed().unwrap(), [ConfirmedInterface { mac, machine: this_machine() }]);
    assert_eq!(db.recent_events(10).unwrap(), [(*event(1)).clone(), (*event(2)).clone()]);
    assert_eq!(db.recent_events(1).unwrap()[0].seq, 2);
    assert_eq!(db.last_seq().unwrap(), 2);
    db.forget_lease(leases[0].address);
    db.delete_epoch(HostId(3));
    db.delete_job(9);
    db.flush().await.unwrap();
    assert_eq!(db.leases().unwrap(), leases[1..]);
    assert!(db.epochs().unwrap().is_empty() && db.jobs().unwrap().is_empty());
}

#[tokio::test]
async fn the_journal_of_leases_is_folded_when_it_is_long_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    let db = Db::open(&path).unwrap();
    let rows = |table: &str| {
        let conn = Connection::open(&path).unwrap();
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u32>(0)).unwrap()
    };
    let all: Vec<_> = (0..=u8::MAX).map(|n| lease(n, LeaseState::Bound)).collect();
    db.commit_leases(all.clone()).await.unwrap();
    assert_eq!((rows("lease_journal"), rows("leases")), (1, 0), "a commit is one row");
    for _ in 0..60 {
        db.commit_leases(all.clone()).await.unwrap();
    }
    assert!(rows("lease_journal") < 40);
    assert_eq!(rows("leases"), 256);
    assert_eq!(db.leases().unwrap(), all);
    db.commit_leases(vec![lease(2, LeaseState::Released)]).await.unwrap();
    db.forget_lease(all[3].address);
    db.flush().await.unwrap();
    let after = db.leases().unwrap();
    assert_eq!((after.len(), after[2].state), (255, LeaseState::Released), "the journal wins");
    drop(db);
    assert_eq!((rows("lease_journal"), rows("leases")), (0, 255));
    assert_eq!(Db::open(&path).unwrap().leases().unwrap(), after);
}

#[test]
fn lab_db_is_for_its_owner_s_eyes() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("lab.db")).unwrap();
    db.put_host(host(1));
    for name in ["lab.db", "lab.db-wal", "lab.db.reserve"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!format!("{:?}", epoch(1)).contains("t0ken"));
}

#[tokio::test]
async fn many_who_wait_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("lab.db")).unwrap();
    let tasks: Vec<_> = (0..200u8).map(|n| tokio::spawn(db.commit_leases(vec![lease(n, LeaseState::Bound)]))).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(db.leases().unwrap().len(), 200);
}

#[tokio::test]
async fn a_record_that_replaces_another_wins_in_the_same_commit() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("lab.db")).unwrap();
    let first = db.commit_leases(vec![lease(1, LeaseState::Bound)]);
    let second = db.commit_leases(vec![lease(1, LeaseState::Released)]);
    second.await.unwrap();
    first.await.unwrap();
    assert_eq!(db.leases().unwrap(), [lease(1, LeaseState::Released)]);
}

#[tokio::test]
async fn history_is_pruned_and_its_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    let db = Db::open(&path).unwrap();
    db.append_events((1..=5).map(event).collect());
    db.append_events((EVENTS_KEPT as u64..EVENTS_KEPT as u64 + 1003).map(event).collect());
    db.flush().await.unwrap();
    // Pruning follows the answer.
    db.flush().await.unwrap();
    let events = db.recent_events(usize::MAX).unwrap();
    assert_eq!((events.len(), events[0].seq), (1003, EVENTS_KEPT as u64));
    assert_eq!(db.last_seq().unwrap(), EVENTS_KEPT as u64 + 1002);
}

#[test]
fn a_newer_or_damaged_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    drop(Db::open(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(Db::open(&path), Err(DbError::Newer { found: 99, .. })));
    assert!(matches!(Db::open_readonly(&path).unwrap_err(), DbError::Newer { .. }));

    let noise = vec![0x5a; 20_000];
    fs::write(&path, &noise).unwrap();
    for result in [Db::open(&path), Db::open_readonly(&path)] {
        let error = result.unwrap_err();
        assert!(matches!(error, DbError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), noise);
}

#[tokio::test]
async fn a_second_reader_sees_what_the_engine_wrote_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    assert!(matches!(Db::open_readonly(&path).unwrap_err(), DbError::Missing(_)));
    let db = Db::open(&path).unwrap();
    db.put_host(host(1));
    db.flush().await.unwrap();
    let reader = Db::open_readonly(&path).unwrap();
    assert_eq!(reader.hosts().unwrap(), [host(1)]);
    reader.put_host(host(2));
    assert!(matches!(reader.flush().await, Err(DbError::NotWritable { .. })));
    drop(db);
    assert_eq!(reader.hosts().unwrap(), [host(1)]);
}

#[test]
fn this_computer_has_a_name_that_is_not_its_machine_id() {
    let name = this_machine();
    assert_eq!((name.len(), &name), (32, &this_machine()));
    if let Ok(id) = fs::read_to_string("/etc/machine-id") {
        assert_ne!(id.trim(), name);
    }
}

/// This test program again, running one of the tests below that are parts of others.
fn child(part: &str, dir: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([part, "--exact", "--ignored", "--nocapture"]).env("LAB_DB_TEST", dir);
    command
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os("LAB_DB_TEST").map(PathBuf::from)
}

#[test]
fn a_killed_process_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = child("lab::db::tests::part_commit_until_killed", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let answered = lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("answered ")?.parse::<u8>().ok());
    let last = answered.take_while(|n| *n < 50).last().unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let db = Db::open(&dir.path().join("lab.db")).unwrap();
    let leases = db.leases().unwrap();
    for n in 0..=last {
        assert!(leases.contains(&lease(n, LeaseState::Bound)), "{n}");
    }
}

#[tokio::test]
#[ignore = "a part of a_killed_process_loses_nothing_that_was_answered"]
async fn part_commit_until_killed() {
    let Some(dir) = child_dir() else { return };
    let db = Db::open(&dir.join("lab.db")).unwrap();
    for n in 0..=u8::MAX {
        db.commit_leases(vec![lease(n, LeaseState::Bound)]).await.unwrap();
        println!("answered {n}");
    }
    std::thread::sleep(Duration::from_secs(60));
}

/// Where user namespaces are allowed, on a file system of three megabytes.
#[test]
fn leases_survive_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let inner = child("lab::db::tests::part_fill_the_disk", dir.path());
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=3m tmpfs \"$LAB_DB_TEST\" && echo mounted && exec \"$@\"");
    command.arg("sh").arg(inner.get_program()).args(inner.get_args()).env("LAB_DB_TEST", dir.path());
    let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else {
        println!("skipped: there is no unshare");
        return;
    };
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let status = child.wait().unwrap();
    if !out.contains("mounted") {
        println!("skipped: no mount in a user namespace here");
        return;
    }
    assert!(status.success(), "{out}");
    assert!(out.contains("1 passed"), "{out}");
}

#[tokio::test]
#[ignore = "a part of leases_survive_a_full_disk"]
async fn part_fill_the_disk() {
    let Some(dir) = child_dir() else { return };
    let db = Db::open(&dir.join("lab.db")).unwrap();
    assert!(dir.join("lab.db.reserve").exists());
    // Somebody else fills the disk to the last byte.
    let mut junk = fs::File::create(dir.join("junk")).unwrap();
    while std::io::Write::write(&mut junk, &[1; 512]).is_ok() {}
    db.append_events((1..2000).map(event).collect());
    let full = tokio::time::timeout(Duration::from_secs(20), db.flush()).await.unwrap();
    assert!(matches!(full, Err(DbError::Full { .. })), "{full:?}");
    for n in 0..100 {
        db.commit_leases(vec![lease(n, LeaseState::Bound)]).await.unwrap();
    }
    assert!(!dir.join("lab.db.reserve").exists());
    assert_eq!(db.leases().unwrap().len(), 100);
    // With room again, what was held back is written too.
    fs::remove_file(dir.join("junk")).unwrap();
    drop(db);
    let db = Db::open(&dir.join("lab.db")).unwrap();
    assert_eq!((db.leases().unwrap().len(), db.last_seq().unwrap()), (100, 1999));
}

fn boot(second: i64) -> BootRecord {
    let began = jiff::Timestamp::from_second(1_767_225_600 + second).unwrap();
    let step = crate::hosts::BootStep { stage: Stage::Loading, millis: Some(900), bytes: 7, ..Default::default() };
    BootRecord { began, given: Some(crate::lab::Boot::Local), outcome: BootOutcome::Arrived, steps: vec![step] }
}

#[tokio::test]
async fn the_last_boots_of_a_machine_are_kept_and_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("lab.db")).unwrap();
    db.put_host(host(3));
    for second in 0..30 {
        db.put_boot(HostId(3), BootRecord { outcome: BootOutcome::Underway, ..boot(second) });
        db.put_boot(HostId(3), boot(second));
        db.flush().await.unwrap();
    }
    db.put_boot(HostId(4), boot(0));
    db.flush().await.unwrap();
    let kept: Vec<_> = (10..30).rev().map(boot).collect();
    assert_eq!(db.boots_of(HostId(3)).unwrap(), kept);
    db.put_boot(HostId(3), boot(99));
    db.delete_host(HostId(3));
    db.flush().await.unwrap();
    assert_eq!(db.boots_of(HostId(3)).unwrap(), []);
    assert_eq!(db.boots_of(HostId(4)).unwrap(), [boot(0)]);
}

#[tokio::test]
async fn a_lab_from_before_boots_were_remembered_is_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    let db = Db::open(&path).unwrap();
    db.put_host(host(3));
    db.commit_leases(vec![lease(1, LeaseState::Bound)]).await.unwrap();
    db.flush().await.unwrap();
    drop(db);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE boots; PRAGMA user_version = 4").unwrap();
    let db = Db::open(&path).unwrap();
    assert_eq!((db.hosts().unwrap(), db.leases().unwrap()), (vec![host(3)], vec![lease(1, LeaseState::Bound)]));
    assert_eq!(db.boots_of(HostId(3)).unwrap(), []);
    db.put_boot(HostId(3), boot(1));
    db.flush().await.unwrap();
    assert_eq!(db.boots_of(HostId(3)).unwrap(), [boot(1)]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.db");
    let db = Db::open(&path).unwrap();
    for n in [3, 4] {
        db.put_host(host(n));
        db.put_epoch(epoch(n)).await.unwrap();
    }
    db.commit_leases(vec![lease(1, LeaseState::Bound), lease(2, LeaseState::Bound)]).await.unwrap();
    let [mac, other] = [8, 9].map(|n| MacAddr([2, 0, 0, 0, 0, n]));
    db.confirm(mac, this_machine());
    db.confirm(other, this_machine());
    db.flush().await.unwrap();
    drop(db);
    let spoil = "UPDATE hosts SET record = '{' WHERE id = 3;
        UPDATE epochs SET record = x'00ff' WHERE host = 4;
        UPDATE leases SET expires = 'soon' WHERE address = '192.168.2.1';
        UPDATE confirmed SET mac = 'mine' WHERE mac LIKE '%08';";
    Connection::open(&path).unwrap().execute_batch(spoil).unwrap();
    for db in [Db::open(&path).unwrap(), Db::open_readonly(&path).unwrap()] {
        assert_eq!(db.unread(), Vec::<String>::new());
        assert_eq!((db.hosts().unwrap(), db.epochs().unwrap()), (vec![host(4)], vec![epoch(3)]));
        assert_eq!(db.leases().unwrap(), [lease(2, LeaseState::Bound)]);
        assert_eq!(db.confirmed().unwrap(), [ConfirmedInterface { mac: other, machine: this_machine() }]);
        db.hosts().unwrap();
        let unread = db.unread();
        let named = ["confirmed mine: ", "epochs 4: ", "hosts 3: ", "leases 192.168.2.1: "];
        assert_eq!(unread.len(), named.len(), "{unread:?}");
        assert!(unread.iter().zip(named).all(|(told, name)| told.starts_with(name)), "{unread:?}");
    }
}
