//! Who may log in to which disk, and whose writes it finds there.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::bench::{A, B, Bench, IP_A, IP_B};
use super::gate::DiskGate;
use crate::api::Command;
use crate::boot::initiator_name;
use crate::iscsi::{Gate, LoginRequest, Refusal};
use crate::lab::{Boot, IscsiBoot, IscsiVia};

const HOSTS: &str = "[[host]]
mac = \"52:54:00:00:00:01\"
boot = { iscsi = \"kept\" }
";

fn login(disk: &str, ip: Ipv4Addr, initiator: &str) -> LoginRequest {
    let target = crate::lab::derived_iqn(&disk.parse().unwrap());
    LoginRequest { initiator: initiator.to_owned(), target, peer: ip.into(), firmware: true }
}

fn iscsi(disk: &str) -> Boot {
    Boot::Iscsi(IscsiBoot { disk: disk.parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None })
}

/// Logs in as an iSCSI thread does.
async fn try_login(bench: &Bench, login: LoginRequest) -> Result<String, Refusal> {
    let gate = DiskGate(bench.shared.clone());
    tokio::task::spawn_blocking(move || gate.authorize(&login).map(|grant| grant.scope)).await.unwrap()
}

/// Logs in, gives the first byte of the disk, and writes another one.
async fn use_disk(bench: &Bench, login: LoginRequest, write: u8) -> u8 {
    let gate = DiskGate(bench.shared.clone());
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

#[tokio::test]
async fn only_the_machine_that_is_assigned_gets_in() {
    let bench = Bench::new(HOSTS).await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, IP_B).await;
    let ours = try_login(&bench, login("kept", IP_A, &initiator_name(A))).await.unwrap();
    assert_eq!(
        try_login(&bench, login("kept", IP_A, "iqn.1993-08.org.debian:clone")).await,
        Ok(ours),
        "clones share a name"
    );
    let refused = try_login(&bench, login("kept", IP_B, &initiator_name(B))).await.unwrap_err();
    assert_eq!(refused.status, 0x0202);
    assert!(refused.reason.contains("is not assigned to the disk kept"), "{}", refused.reason);
    let refused = try_login(&bench, login("kept", IP_B, &initiator_name(A))).await.unwrap_err();
    assert_eq!(refused.status, 0x0202);
    assert!(refused.reason.contains("look for two machines with one address"), "{}", refused.reason);
    assert_eq!(try_login(&bench, login("none", IP_A, "iqn.a")).await.unwrap_err().status, 0x0203);
}

#[tokio::test]
async fn a_stranger_gets_in_where_allow_says_so() {
    let bench = Bench::new("").await;
    let stranger = Ipv4Addr::new(10, 9, 9, 9);
    assert!(try_login(&bench, login("fresh", stranger, "iqn.2020-01.org.example:x")).await.is_ok());
    assert!(try_login(&bench, login("fresh", stranger, "iqn.2021-01.org.example:x")).await.is_err());
    assert!(try_login(&bench, login("kept", stranger, "iqn.2020-01.org.example:x")).await.is_err());
}

#[tokio::test]
async fn a_running_machine_keeps_its_disk_until_its_next_boot() {
    let bench = Bench::new(HOSTS).await;
    bench.addressed(A, IP_A).await;
    bench.get(IP_A, "/boot/52-54-00-00-00-01/script.ipxe").await;
    bench.assign(A, crate::lab::Boot::Local).await;
    assert!(try_login(&bench, login("kept", IP_A, "iqn.a")).await.is_ok());
    bench.get(IP_A, "/boot/52-54-00-00-00-01/script.ipxe").await;
    assert!(try_login(&bench, login("kept", IP_A, "iqn.a")).await.is_err());
}

#[tokio::test]
async fn a_kept_overlay_is_there_again_at_the_next_boot_and_in_the_next_engine() {
    let mut bench = Bench::new(HOSTS).await;
    bench.addressed(A, IP_A).await;
    let name = initiator_name(A);
    assert_eq!(use_disk(&bench, login("kept", IP_A, &name), 2).await, 1);
    bench.get(IP_A, "/boot/52-54-00-00-00-01/script.ipxe").await;
    assert_eq!(use_disk(&bench, login("kept", IP_A, &name), 3).await, 2);
    bench = bench.reopened().await;
    bench.addressed(A, IP_A).await;
    assert_eq!(use_disk(&bench, login("kept", IP_A, &name), 4).await, 3);
}

#[tokio::test]
async fn a_fresh_overlay_is_new_at_the_first_firmware_login_after_a_script_and_never_else() {
    let mut bench = Bench::new(&HOSTS.replace("kept", "fresh")).await;
    bench.addressed(A, IP_A).await;
    let script = "/boot/52-54-00-00-00-01/script.ipxe";
    let firmware = || login("fresh", IP_A, &initiator_name(A));
    let system = || LoginRequest { firmware: false, ..firmware() };
    bench.get(IP_A, script).await;
    assert_eq!(use_disk(&bench, firmware(), 2).await, 1);
    assert_eq!(use_disk(&bench, system(), 3).await, 2, "the system finds what its firmware left");
    assert_eq!(use_disk(&bench, firmware(), 4).await, 3, "a reconnect is no boot");
    bench = bench.reopened().await;
    bench.addressed(A, IP_A).await;
    assert_eq!(use_disk(&bench, firmware(), 5).await, 4, "nor is a restart of the engine");
    bench.get(IP_A, script).await;
    assert_eq!(use_disk(&bench, firmware(), 6).await, 1, "a script is");
}

/// gPXE starts a disk's kernel without a login of its own.
#[tokio::test]
async fn where_no_firmware_logs_in_the_systems_first_login_makes_a_fresh_overlay_new() {
    let mut bench = Bench::new(&HOSTS.replace("\"kept\"", "\"fresh\", profile = \"live\"")).await;
    bench.addressed(A, IP_A).await;
    let system = || LoginRequest { firmware: false, ..login("fresh", IP_A, &initiator_name(A)) };
    let (entry, gpxe) = ("/boot/52-54-00-00-00-01/boot.ipxe", "gPXE/1.0.1");
    let (_, script) = bench.get_as(IP_A, entry, gpxe).await;
    assert!(script.contains("kernel ") && !script.contains("san"), "{script}");
    assert_eq!(use_disk(&bench, system(), 2).await, 1);
    assert_eq!(use_disk(&bench, system(), 3).await, 2, "a reconnect is no boot");
    bench.get_as(IP_A, entry, gpxe).await;
    bench = bench.reopened().await;
    bench.addressed(A, IP_A).await;
    assert_eq!(use_disk(&bench, system(), 4).await, 1, "the script is, whichever engine gave it");
    assert_eq!(use_disk(&bench, system(), 5).await, 4);
    // iPXE logs in itself: what its system does makes nothing new.
    bench.get(IP_A, "/boot/52-54-00-00-00-01/script.ipxe").await;
    assert_eq!(use_disk(&bench, system(), 6).await, 5);
    assert_eq!(use_disk(&bench, login("fresh", IP_A, &initiator_name(A)), 7).await, 1);
}

#[tokio::test]
async fn a_root_path_begins_a_boot_as_a_script_does() {
    let bench = Bench::new(&HOSTS.replace("\"kept\"", "\"fresh\", via = \"root-path\"")).await;
    let root = format!("iscsi:192.168.2.1::::{}", crate::lab::derived_iqn(&"fresh".parse().unwrap()));
    let firmware = || login("fresh", IP_A, &initiator_name(A));
    for _ in 0..2 {
        bench.acknowledged(A, IP_A, Some(&root)).await;
        assert_eq!(use_disk(&bench, firmware(), 2).await, 1);
        assert_eq!(use_disk(&bench, firmware(), 2).await, 2);
    }
}

#[tokio::test]
async fn a_machine_is_not_forgotten_with_what_it_keeps() {
    let bench = Bench::new("").await;
    for (mac, ip, disk) in [(A, IP_A, "kept"), (B, IP_B, "fresh")] {
        bench.addressed(mac, ip).await;
        bench.assign(mac, iscsi(disk)).await;
        use_disk(&bench, login(disk, ip, &initiator_name(mac)), 7).await;
    }
    let shot = bench.handle().snapshot();
    let forget = |n: usize| bench.call(Command::Forget { host: shot.hosts[n].id, entry: true });
    let refused = forget(0).await.unwrap_err().to_string();
    assert!(refused.contains("would not find what it wrote on the disk kept again"), "{refused}");
    assert!(bench.toml().contains(&A.to_string()), "nothing is done by half");
    forget(1).await.expect("what it wrote would be dropped at its next boot anyway");
}

#[tokio::test]
async fn a_disk_that_moved_sends_its_machines_on_and_nobody_else() {
    let moved = "[[disk]]
name = \"moved\"
image = \"golden.raw\"
redirect = \"192.168.2.9:3261\"

[[host]]
mac = \"52:54:00:00:00:01\"
boot = { iscsi = \"moved\" }
";
    let bench = Bench::new(moved).await;
    bench.addressed(A, IP_A).await;
    bench.addressed(B, IP_B).await;
    let sent = try_login(&bench, login("moved", IP_A, &initiator_name(A))).await.unwrap_err();
    assert_eq!((sent.status, sent.redirect), (0x0101, Some("192.168.2.9:3261".parse().unwrap())));
    // Where it is now is told to no stranger.
    let refused = try_login(&bench, login("moved", IP_B, &initiator_name(B))).await.unwrap_err();
    assert_eq!((refused.status, refused.redirect), (0x0202, None));
}

#[tokio::test]
async fn a_machine_without_an_entry_writes_where_its_network_says_by_a_root_path_too() {
    let bench = Bench::new("").await;
    bench.shared.change_plan(|plan| {
        let lab = Arc::make_mut(&mut plan.lab);
        let given = IscsiBoot {
            disk: "kept".parse().unwrap(),
            profile: None,
            via: IscsiVia::RootPath,
            writes: Some(crate::lab::Writes::Fresh),
        };
        lab.networks[0].unknown = crate::lab::Unknown::Boot(Boot::Iscsi(given));
    });
    let root = format!("iscsi:192.168.2.1::::{}", crate::lab::derived_iqn(&"kept".parse().unwrap()));
    for _ in 0..2 {
        bench.acknowledged(A, IP_A, Some(&root)).await;
        assert_eq!(use_disk(&bench, login("kept", IP_A, &initiator_name(A)), 2).await, 1, "each boot is clean");
        assert_eq!(use_disk(&bench, login("kept", IP_A, &initiator_name(A)), 2).await, 2);
    }
}

#[tokio::test]
async fn a_system_that_came_by_a_root_path_keeps_its_disk_whatever_is_edited_meanwhile() {
    let bench = Bench::new(&HOSTS.replace("\"kept\"", "\"fresh\", via = \"root-path\"")).await;
    let root = format!("iscsi:192.168.2.1::::{}", crate::lab::derived_iqn(&"fresh".parse().unwrap()));
    bench.acknowledged(A, IP_A, Some(&root)).await;
    assert_eq!(use_disk(&bench, login("fresh", IP_A, &initiator_name(A)), 2).await, 1);
    let toml = bench.toml().replace("writes = \"fresh\"", "writes = \"keep\"");
    std::fs::write(bench.dir.path().join("lab.toml"), toml).unwrap();
    bench.call(Command::Reload).await.unwrap();
    let system = LoginRequest { firmware: false, ..login("fresh", IP_A, "iqn.1993-08.org.debian:01:a") };
    assert_eq!(use_disk(&bench, system, 3).await, 2, "it runs from its fresh overlay until it boots again");
    bench.acknowledged(A, IP_A, Some(&root)).await;
    assert_eq!(use_disk(&bench, login("fresh", IP_A, &initiator_name(A)), 4).await, 1, "and now it has a kept one");
    bench.acknowledged(A, IP_A, Some(&root)).await;
    assert_eq!(use_disk(&bench, login("fresh", IP_A, &initiator_name(A)), 5).await, 4);
}
