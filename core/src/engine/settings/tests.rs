use std::time::Duration;

use super::super::bench::{A, B, Bench, IP_A, IP_B};
use crate::api::{Command, CommandError, HandleError, Reply};
use crate::lab::{Boot, SettingChange, SettingPlace, SettingValue, Unknown};

fn network() -> SettingPlace {
    SettingPlace::Network { interface: "bench0".into() }
}

fn set(place: SettingPlace, key: &str, value: SettingValue) -> SettingChange {
    SettingChange::Set { place, key: key.into(), value: Some(value) }
}

async fn change(bench: &Bench, changes: Vec<SettingChange>) -> Result<Reply, HandleError> {
    bench.call(Command::Settings { changes, trial: false }).await
}

#[tokio::test]
async fn what_is_changed_is_in_force_at_once_and_nobody_loses_anything() {
    let bench = Bench::new("[[host]]\nmac = \"52:54:00:00:00:09\" # spare\n").await;
    bench.addressed(A, IP_A).await;
    bench.events().await;
    let before = bench.handle().snapshot();
    let lease = set(network(), "lease.default", SettingValue::text("10m"));
    let unknown = set(network(), "unknown", SettingValue::Boot(Boot::Local));
    change(&bench, vec![lease, unknown]).await.unwrap();
    let plan = bench.shared.plan.borrow().clone();
    assert_eq!(plan.lab.networks[0].lease.default, Duration::from_secs(600));
    assert_eq!(plan.lab.networks[0].unknown, Unknown::Boot(Boot::Local));
    assert_eq!(plan.unknown(&plan.networks[0]), Boot::Local);
    assert!(bench.toml().contains("lease = \"10m\"") && bench.toml().contains("# spare"), "{}", bench.toml());
    let after = bench.handle().snapshot();
    assert_eq!(after.settings.value(&network(), "lease.default"), Some(&SettingValue::text("10m")));
    let of = |shot: &crate::api::Snapshot| shot.hosts.iter().map(|h| (h.id, h.ip)).collect::<Vec<_>>();
    assert_eq!(of(&after), of(&before), "machines and their addresses stay");
    assert_eq!(after.networks[0].leased, before.networks[0].leased);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_key_and_a_trial_writes_nothing() {
    let bench = Bench::new("").await;
    let before = bench.toml();
    let wrong = set(network(), "range", SettingValue::text("10.0.0.5-10.0.0.9"));
    let Err(HandleError::Refused(CommandError { message })) = change(&bench, vec![wrong.clone()]).await else {
        panic!("it was taken")
    };
    assert!(message.contains("`range`") && message.contains("not inside 192.168.2.0/24"), "{message}");
    let tried = bench.call(Command::Settings { changes: vec![wrong], trial: true }).await.unwrap();
    let Reply::Settings { problems } = tried else { panic!("{tried:?}") };
    assert!(problems.len() == 1 && problems[0].change == Some(0) && problems[0].error, "{problems:?}");
    let right = set(network(), "range", SettingValue::text("192.168.2.50-192.168.2.60"));
    let tried = bench.call(Command::Settings { changes: vec![right], trial: true }).await.unwrap();
    assert_eq!(tried, Reply::Settings { problems: Vec::new() });
    assert_eq!(bench.toml(), before);
}

#[tokio::test]
async fn a_persons_own_edit_is_shown_and_not_overwritten() {
    let bench = Bench::new("").await;
    let toml = bench.toml().replace("mode = \"dhcp\"", "mode = \"dhcp\"\ndomain = \"hand.example\" # mine");
    std::fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    change(&bench, vec![set(network(), "lease.default", SettingValue::text("10m"))]).await.unwrap();
    assert!(bench.toml().contains("domain = \"hand.example\" # mine"), "{}", bench.toml());
    let settings = bench.handle().snapshot().settings.clone();
    assert_eq!(settings.value(&network(), "domain"), Some(&SettingValue::text("hand.example")));
}

#[tokio::test]
async fn on_a_broken_file_nothing_is_changed_and_undo_gives_the_file_back() {
    let bench = Bench::new("").await;
    let before = bench.toml();
    let changes = vec![set(network(), "lease.default", SettingValue::text("10m"))];
    let undo = bench.handle().snapshot().settings.undo(&changes);
    change(&bench, changes.clone()).await.unwrap();
    change(&bench, undo).await.unwrap();
    assert_eq!(bench.toml(), before);
    std::fs::write(bench.dir.path().join("lab.toml"), before.replace("version", "verzion")).unwrap();
    assert!(change(&bench, changes).await.is_err());
}

#[tokio::test]
async fn what_waits_for_the_next_start_is_said_and_keeps_nothing_else_back() {
    let bench = Bench::new("").await;
    let address = set(network(), "address", SettingValue::text("192.168.2.9/24"));
    change(&bench, vec![address]).await.unwrap();
    let says_so = |bench: &Bench| bench.handle().snapshot().findings.iter().any(|f| f.id == "restart-needed");
    assert!(says_so(&bench));
    let disk = SettingPlace::Disk { name: "kept".into() };
    change(&bench, vec![set(disk, "writes", SettingValue::text("fresh"))]).await.unwrap();
    let plan = bench.shared.plan.borrow().clone();
    assert_eq!(plan.lab.disks[0].writes, crate::lab::Writes::Fresh);
    assert_eq!(plan.lab.networks[0].address, Some("192.168.2.1/24".parse().unwrap()), "in force until then");
    let back = set(network(), "address", SettingValue::text("192.168.2.1/24"));
    change(&bench, vec![back]).await.unwrap();
    assert!(!says_so(&bench));
}

#[tokio::test]
async fn a_machine_that_gets_another_network_card_keeps_its_number_and_undo_gives_the_old_one_back() {
    let bench = Bench::new("[[host]]\nmac = \"52:54:00:00:00:01\" # the left one\nname = \"pc-01\"\n").await;
    bench.addressed(B, IP_B).await;
    bench.events().await;
    let named = |shot: &crate::api::Snapshot| {
        let host = shot.hosts.iter().find(|h| h.name.as_deref() == Some("pc-01")).unwrap();
        (host.id, host.macs.clone())
    };
    let (id, macs) = named(&bench.handle().snapshot());
    assert_eq!(macs, [A]);
    let host = SettingPlace::Host { host: id };
    let changes = vec![set(host.clone(), "mac", SettingValue::text(B.to_string()))];
    let undo = bench.handle().snapshot().settings.undo(&changes);
    let toml = bench.toml();
    change(&bench, changes).await.unwrap();
    let shot = bench.handle().snapshot();
    assert_eq!(named(&shot), (id, vec![B]));
    assert_eq!(shot.hosts.len(), 1, "the stranger that was seen under it is this machine: {:?}", shot.hosts);
    assert_eq!(bench.shared.state().directory.holder(IP_B.into()), Some(id));
    assert!(bench.toml().contains("mac = \"52:54:00:00:00:02\" # the left one"), "{}", bench.toml());
    change(&bench, undo).await.unwrap();
    assert_eq!((named(&bench.handle().snapshot()), bench.toml()), ((id, vec![A]), toml));
    // What is refused changes nobody.
    let wrong = vec![set(host, "mac", SettingValue::text("01:00:5e:00:00:01"))];
    assert!(change(&bench, wrong).await.is_err());
    assert_eq!(named(&bench.handle().snapshot()), (id, vec![A]));
}

#[tokio::test]
async fn a_stranger_gets_an_entry_with_its_first_setting_and_stays_the_same_machine() {
    let bench = Bench::new("").await;
    bench.addressed(A, IP_A).await;
    bench.events().await;
    let id = bench.handle().snapshot().hosts[0].id;
    let host = SettingPlace::Host { host: id };
    let name = set(host.clone(), "name", SettingValue::text("pc-07"));
    let address = set(host.clone(), "address", SettingValue::text("192.168.2.77"));
    change(&bench, vec![name, address]).await.unwrap();
    let shot = bench.handle().snapshot();
    assert_eq!((shot.hosts.len(), shot.hosts[0].id, shot.hosts[0].name.as_deref()), (1, id, Some("pc-07")));
    assert_eq!(shot.settings.value(&host, "address"), Some(&SettingValue::text("192.168.2.77")));
    let plan = bench.shared.plan.borrow().clone();
    assert_eq!(plan.lab.hosts[0].address, Some([192, 168, 2, 77].into()), "in force at once");
}
