//! What a person asks for, and what of it outlives the engine.

use std::time::Duration;

use super::bench::{A, B, Bench, IP_A};
use super::boots::PendingInstall;
use super::shared::Request;
use super::{Engine, Options, control};
use crate::api::{Command, EngineState, HandleError, HostId, JobState, NewProfile, Reply};
use crate::doctor::Act;
use crate::lab::{Boot, InstallThen, Mode, Seat};

fn refused(outcome: Result<Reply, HandleError>) -> String {
    match outcome {
        Err(HandleError::Refused(error)) => error.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn an_assignment_is_written_and_shown() {
    let bench = Bench::new("").await;
    bench.assign(A, Boot::Local).await;
    assert!(bench.toml().contains("mac = \"52:54:00:00:00:01\"\nboot = \"local\""), "{}", bench.toml());
    let snapshot = bench.handle().snapshot();
    assert_eq!(
        (snapshot.hosts.len(), &snapshot.hosts[0].boot),
        (1, &Boot::Local),
        "the answer comes after the picture"
    );
    let nobody = Command::AssignNamed { hosts: vec!["nobody".into()], to: Boot::Local };
    assert!(refused(bench.call(nobody).await).contains("no machine or group is called `nobody`"));
}

#[tokio::test]
async fn an_assignment_is_taken_back_and_the_machine_gets_what_unknown_says() {
    let entry = "[[host]]\nmac = \"52:54:00:00:00:01\" # the teacher's\nname = \"pc-1\"\n";
    let bench = Bench::new(entry).await;
    bench.addressed(B, [192, 168, 2, 22].into()).await;
    bench.events().await;
    let shown = || {
        let shot = bench.handle().snapshot();
        let of = |n: usize| (shot.hosts[n].boot.clone(), shot.hosts[n].assigned);
        (shot.hosts.iter().map(|h| h.id).collect::<Vec<HostId>>(), of(0), of(1))
    };
    let before = bench.toml();
    let (ids, ..) = shown();
    assert_eq!(shown(), (ids.clone(), (Boot::Wait, false), (Boot::Wait, false)));
    bench.call(Command::Assign { hosts: ids[..1].to_vec(), to: Boot::Local }).await.unwrap();
    assert_eq!(shown(), (ids.clone(), (Boot::Local, true), (Boot::Wait, false)));
    // The second one has no entry, and needs none for this.
    bench.call(Command::Unassign { hosts: ids.clone() }).await.unwrap();
    assert_eq!(bench.toml(), before);
    assert_eq!(shown(), (ids, (Boot::Wait, false), (Boot::Wait, false)));
    let gone = Command::Unassign { hosts: vec![HostId(99)] };
    assert!(refused(bench.call(gone).await).contains("forgotten meanwhile"));
}

#[tokio::test]
async fn a_persons_own_edit_is_taken_in_before_an_entry_is_changed() {
    let bench = Bench::new("[[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"pc-1\"\n").await;
    let id = bench.handle().snapshot().hosts[0].id;
    // Another entry is put above: the machine is the second one now.
    let other = "[[host]]\nmac = \"52:54:00:00:00:02\"\nname = \"pc-2\"\n\n[[host]]\nmac = \"52:54:00:00:00:01\"";
    let toml = bench.toml().replace("[[host]]\nmac = \"52:54:00:00:00:01\"", other);
    std::fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    bench.call(Command::Assign { hosts: vec![id], to: Boot::Wait }).await.unwrap();
    assert!(bench.toml().contains("name = \"pc-1\"\nboot = \"wait\""), "{}", bench.toml());
}

#[tokio::test]
async fn on_a_broken_lab_nothing_starts_nothing_is_written_and_the_last_good_one_stays() {
    let bench = Bench::new("[[host]]\nmac = \"52:54:00:00:00:01\"\nboot = \"local\"\n").await;
    let good = bench.toml();
    let broken = good.replace("version = 1\n", "version = 1\nverzion = 2\n");
    std::fs::write(bench.dir.path().join("lab.toml"), &broken).unwrap();
    assert!(refused(bench.call(Command::Reload).await).contains("lab.toml:2"));
    assert!(refused(bench.call(Command::Start).await).contains("lab.toml:2"));
    bench.events().await;
    assert!(matches!(&bench.handle().snapshot().engine, EngineState::Failed { .. }));
    let to = Command::AssignNamed { hosts: vec![A.to_string()], to: Boot::Wait };
    refused(bench.call(to).await);
    assert_eq!(bench.toml(), broken, "a broken file is mended by a person");
    assert_eq!(bench.handle().snapshot().hosts[0].boot, Boot::Local);
    std::fs::write(bench.dir.path().join("lab.toml"), good).unwrap();
    bench.assign(A, Boot::Wait).await;
}

#[tokio::test]
async fn machines_are_put_into_groups_and_given_seats() {
    let bench = Bench::new("[[host]]\nmac = \"52:54:00:00:00:01\" # by the window\n").await;
    bench.addressed(B, [192, 168, 2, 22].into()).await;
    bench.events().await;
    let ids: Vec<HostId> = bench.handle().snapshot().hosts.iter().map(|h| h.id).collect();
    bench.call(Command::Group { hosts: ids.clone(), group: "room-1".into() }).await.unwrap();
    let seats = vec![(ids[0], Seat::at(1, 1)), (ids[1], Seat::at(1, 2))];
    bench.call(Command::Seats { seats }).await.unwrap();
    let shot = bench.handle().snapshot();
    let of = |n: usize| (shot.hosts[n].group.as_deref(), shot.hosts[n].seat.map(<[u8; 2]>::from));
    assert_eq!((of(0), of(1)), ((Some("room-1"), Some([1, 1])), (Some("room-1"), Some([1, 2]))));
    assert!(bench.toml().contains("\"52:54:00:00:00:01\" # by the window\ngroup = \"room-1\""), "{}", bench.toml());
    bench.call(Command::Group { hosts: ids.clone(), group: String::new() }).await.unwrap();
    assert!(!bench.toml().contains("seat") && !bench.toml().contains("group"), "{}", bench.toml());
    assert!(refused(bench.call(Command::Group { hosts: ids, group: "Room 1".into() }).await).contains("not a name"));
}

#[tokio::test]
async fn nobody_is_woken_by_an_engine_that_does_not_serve() {
    let bench = Bench::new("").await;
    bench.shared.change_plan(|plan| plan.networks.clear());
    let why = refused(bench.call(Command::WakeNamed { hosts: vec![A.to_string()] }).await);
    assert!(why.contains("start serving first"), "{why}");
}

#[tokio::test]
async fn a_lab_from_another_computer_takes_the_interface_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version = 1\n\n[network]\ninterface = \"gone0\"   # the old laptop's\nlease = \"10m\"\n";
    std::fs::write(dir.path().join("lab.toml"), text).unwrap();
    let engine = Engine::open(dir.path(), Options::default()).await.unwrap();
    // Some interface of this computer, whatever it is called; one without a hardware address can't be chosen.
    let interfaces = engine.handle().snapshot().interfaces.clone();
    let interface =
        interfaces.iter().find(|i| i.mac.is_some()).expect("an interface with a hardware address").name.clone();
    let confirm = Command::Confirm { interface: interface.clone(), address: None, mode: crate::lab::Mode::Auto };
    engine.handle().call(confirm).await.unwrap();
    let toml = std::fs::read_to_string(dir.path().join("lab.toml")).unwrap();
    assert!(toml.contains(&format!("interface = \"{interface}\"   # the old laptop's\n")), "{toml}");
    assert_eq!(toml.matches("[network]").count(), 1, "{toml}");
    assert!(toml.contains("lease = \"10m\""), "what a person wrote for the network stays: {toml}");
    engine.close().await;
}

#[tokio::test]
async fn a_start_without_a_network_says_what_to_do_and_a_stop_of_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options::default()).await.unwrap();
    assert!(refused(engine.handle().call(Command::Start).await).contains("choose one in the window"));
    assert_eq!(engine.handle().call(Command::Stop).await.unwrap(), Reply::Done);
    engine.close().await;
}

#[tokio::test]
async fn with_other_networks_in_the_file_the_rest_of_it_is_in_force() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    let toml = bench.toml().replace("192.168.2.1/24", "192.168.3.1/24");
    std::fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    bench.assign(A, Boot::Local).await;
    let snapshot = bench.handle().snapshot();
    assert!(snapshot.findings.iter().any(|f| f.id == "restart-needed"), "{:?}", snapshot.findings);
    let (_, script) = bench.get(IP_A, "/boot/52-54-00-00-00-01/script.ipxe").await;
    assert!(!script.contains("technician"), "{script}");
    bench.assign(A, Boot::Wait).await;
    assert!(bench.handle().snapshot().findings.iter().any(|f| f.id == "restart-needed"), "an edit does not hide it");
}

#[tokio::test]
async fn what_was_seen_is_there_again_and_numbers_go_on() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    let seq = bench.events().await.last().unwrap().seq;
    let before = bench.handle().snapshot().hosts[0].clone();
    let bench = bench.reopened().await;
    let snapshot = bench.handle().snapshot();
    assert_eq!((snapshot.hosts[0].id, snapshot.hosts[0].ip), (before.id, Some(IP_A.into())));
    assert_eq!(snapshot.recent.last().unwrap().seq, seq);
    bench.addressed(A, IP_A).await;
    assert_eq!(bench.events().await.last().unwrap().seq, seq + 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_lab_from_opening() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, [192, 168, 2, 22].into()).await;
    bench.events().await;
    let Bench { dir, engine, shared } = bench;
    drop(shared);
    engine.close().await;
    let db = rusqlite::Connection::open(dir.path().join("lab.db")).unwrap();
    db.execute_batch("UPDATE hosts SET record = '{' WHERE id = 1").unwrap();
    drop(db);
    let engine = Engine::open(dir.path(), Options::default()).await.unwrap();
    let snapshot = engine.handle().snapshot();
    assert_eq!(snapshot.hosts.iter().map(|h| h.macs[0]).collect::<Vec<_>>(), [B]);
    let told = snapshot.findings.iter().find(|f| f.id == "lab-not-read").expect("it is told");
    assert!(told.seen.contains("(1): hosts 1: "), "{}", told.seen);
    engine.close().await;
}

#[tokio::test]
async fn a_forgotten_machines_number_is_nobody_elses() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    bench.events().await;
    let id = bench.handle().snapshot().hosts[0].id;
    bench.call(Command::Forget { host: id, entry: false }).await.unwrap();
    assert!(bench.handle().snapshot().hosts.is_empty());
    let bench = bench.reopened().await;
    bench.addressed(B, IP_A).await;
    bench.events().await;
    assert_eq!(bench.handle().snapshot().hosts[0].id, HostId(id.0 + 1), "its overlays may still be there");
}

#[tokio::test]
async fn another_process_of_the_owner_commands_the_same_engine() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), Options { control: true, ..Options::default() }).await.unwrap();
    assert!(Engine::open(dir.path(), Options::default()).await.unwrap_err().to_string().contains("in use by process"));
    let remote = control::connect(dir.path()).await.unwrap().unwrap();
    let to = Command::AssignNamed { hosts: vec![A.to_string()], to: Boot::Local };
    assert_eq!(remote.call(to).await.unwrap(), Reply::Hosts { count: 1 });
    assert_eq!(remote.snapshot().hosts[0].boot, Boot::Local);
    engine.close().await;
    let gone = tokio::time::timeout(Duration::from_secs(20), remote.call(Command::Ping)).await.unwrap();
    assert!(matches!(gone, Err(HandleError::Gone)), "{gone:?}");
    assert!(control::connect(dir.path()).await.unwrap().is_none());
    Engine::open(dir.path(), Options::default()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_profile_that_was_brought_in_by_half_is_no_obstacle_to_the_next_try() {
    let bench = Bench::new("").await;
    let from = tempfile::tempdir().unwrap();
    let [kernel, initrd] = ["linux", "initrd.gz"].map(|name| from.path().join(name));
    std::fs::write(&kernel, b"kernel").unwrap();
    let add = || {
        let (name, args, answers) = ("debian-13".to_owned(), String::new(), None);
        let new = NewProfile {
            name,
            kernel: kernel.clone(),
            initrds: vec![initrd.clone()],
            args,
            answers,
            hypervisors: Vec::new(),
        };
        bench.call(Command::AddProfile(new))
    };
    let ended = async |id: u64| {
        for _ in 0..1000 {
            let jobs = bench.handle().snapshot().jobs.clone();
            let state = jobs.iter().find(|job| job.id == id).map(|job| job.state.clone());
            if let Some(state) = state.filter(|state| *state != JobState::Running) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the job never ended");
    };
    let Reply::Job { id } = add().await.unwrap() else { panic!("no job") };
    assert!(matches!(ended(id).await, JobState::Failed { error } if error.contains("initrd.gz")));
    assert!(!bench.dir.path().join("media/debian-13").exists(), "its kernel went with the rest");
    std::fs::write(&initrd, b"initrd").unwrap();
    let Reply::Job { id } = add().await.unwrap() else { panic!("no job") };
    assert_eq!(ended(id).await, JobState::Done);
    bench.toml_says("kernel = \"debian-13/linux\"").await;
    assert!(bench.dir.path().join("media/debian-13/initrd.gz").exists());
}

fn has_not_written(bench: &Bench) -> bool {
    bench.handle().snapshot().findings.iter().any(|f| f.id == "lab-not-written")
}

/// Waits until the loop has taken in what was sent to it.
async fn requested(bench: &Bench, request: Request) {
    bench.shared.requests.send(request).await.unwrap();
    while bench.shared.requests.capacity() < bench.shared.requests.max_capacity() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.events().await;
}

#[tokio::test]
async fn what_could_not_be_written_is_told_until_something_can() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    let (disk, profile) = ("kept".parse().unwrap(), "live".parse().unwrap());
    requested(&bench, Request::Direct { hosts: vec![HostId(99)], disk, profile }).await;
    assert!(has_not_written(&bench), "the machine that it was for is forgotten");
    bench.assign(A, Boot::Local).await;
    assert!(!has_not_written(&bench));
}

#[tokio::test]
async fn an_installation_of_a_forgotten_machine_is_not_tried_for_ever() {
    let bench = Bench::new("").await;
    let (profile, then) = ("debian".parse().unwrap(), InstallThen::Local);
    let install = PendingInstall { profile, then, token: String::new(), unassigned: false, consumed: true };
    requested(&bench, Request::Consume { host: HostId(99), install, because: String::new() }).await;
    assert!(!has_not_written(&bench));
}

#[tokio::test]
async fn what_mends_a_network_that_is_looked_at_serves_no_second_one() {
    let bench = Bench::new("").await;
    let act = Act::Mode { interface: "other0".into(), mode: Mode::Proxy };
    bench.call(Command::Mend { act }).await.unwrap();
    let toml = bench.toml();
    assert_eq!(toml.matches("[network]").count(), 1, "{toml}");
    assert!(toml.contains("interface = \"other0\"\naddress = \"192.168.2.1/24\"\nmode = \"proxy\"\n"), "{toml}");
}
