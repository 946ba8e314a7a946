//! Debian on an iSCSI root, from firmware to multi-user: what a boot wrote is there at the next one with `keep`, is gone with `fresh`, and
//! never reaches the golden image.

use std::time::Duration;

use anyhow::Result;
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::disk::{self, Proof};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};

/// Boots the same disk twice and checks what each boot found.
fn twice(firmware: Firmware, writes: &str) -> Result<()> {
    let (name, mac) = match firmware {
        Firmware::Bios => ("bios", "52:54:00:00:04:01"),
        Firmware::Uefi | Firmware::UefiSecure => ("uefi", "52:54:00:00:04:02"),
    };
    let tag = format!("{name}-{writes}");
    let golden = disk::debian()?;
    let bench = Netns::bench(&tag, Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new(&format!("iscsi-{tag}"), "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    let image = lab.add_disk("debian", &golden, writes)?;
    let before = disk::sha256(&image)?;
    lab.add_host(mac, "bench-4", r#"{ iscsi = "debian" }"#)?;
    let mut serve = Serve::start(&bench, &lab)?;

    for boot in 1..=2 {
        let machine_name = format!("{name}-{boot}");
        let spec = Spec { firmware, mac, memory: 1024, name: &machine_name, serial: None };
        let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
        machine.wait_for("PROOF end", Duration::from_secs(420))?;
        let proof = Proof::of(&machine)?;
        assert_eq!(proof.multi_user, "active", "{proof:?}");
        assert_eq!(proof.firmware, name, "{proof:?}");
        assert!(proof.ibft_target.starts_with("iqn."), "{proof:?}");
        assert!(proof.root.contains("/dev/sda"), "{proof:?}");
        let expected = if writes == "keep" { boot } else { 1 };
        assert_eq!(proof.boots, expected, "boot {boot} with writes = {writes}: {proof:?}");
        lab.no_findings(&bench, mac)?;
        machine.wait_off(Duration::from_secs(120))?;
        let logins = serve.events().into_iter().filter(|e| is(e, "iscsi-login", mac)).count();
        assert!(
            logins >= 2 * usize::try_from(boot)?,
            "firmware and system log in at each boot; {logins} logins after {boot}"
        );
    }
    let firmware_login = |e: &serde_json::Value| is(e, "iscsi-login", mac) && e["firmware"] == true;
    serve.wait_for_event("login of the firmware", Duration::from_secs(30), firmware_login)?;
    serve.wait_for_event("iscsi-ended", Duration::from_secs(30), |e| is(e, "iscsi-ended", mac))?;
    assert!(serve.terminate()?.success());
    assert_eq!(before, disk::sha256(&image)?, "the golden image changed");
    Ok(())
}

#[test]
fn bios_keep() -> Result<()> {
    twice(Firmware::Bios, "keep")
}

#[test]
fn uefi_fresh() -> Result<()> {
    twice(Firmware::Uefi, "fresh")
}

#[test]
#[ignore = "long: tests/run --long iscsi-root-all"]
fn bios_fresh() -> Result<()> {
    twice(Firmware::Bios, "fresh")
}

#[test]
#[ignore = "long: tests/run --long iscsi-root-all"]
fn uefi_keep() -> Result<()> {
    twice(Firmware::Uefi, "keep")
}
