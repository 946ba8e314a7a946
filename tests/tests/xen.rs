//! Debian as Xen's dom0 on an iSCSI root: the hypervisor, the kernel and its initramfs are taken out of the disk and come over HTTP, and dom0
//! logs in by its arguments, for it sees no iBFT. And what is said of a machine whose disk starts Xen by itself.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::disk::{self, Proof};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use serde_json::{Value, json};

/// MiB: Xen, a dom0 of 768 and what the firmware keeps.
const MEMORY: u32 = 1536;
/// Some 110 s on an idle machine.
const TO_MULTI_USER: Duration = Duration::from_secs(600);

/// Boots twice, and checks what each boot found and left.
fn dom0(firmware: Firmware, chap: Option<&str>) -> Result<()> {
    let (name, mac) = match firmware {
        Firmware::Bios => ("bios", "52:54:00:00:06:01"),
        Firmware::Uefi | Firmware::UefiSecure => ("uefi", "52:54:00:00:06:02"),
    };
    let golden = disk::debian_xen()?;
    let bench = Netns::bench(&format!("xen-{name}"), Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new(&format!("xen-{name}"), "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    let image = lab.add_disk("debian", &golden, "keep")?;
    if let Some(secret) = chap {
        lab.add(&format!("chap = {{ user = \"bench\", secret = \"{secret}\" }}\n"))?;
    }
    let before = disk::sha256(&image)?;
    let taken = lab.json(&bench, &["disks", "extract", "debian", "--into", "xen", "--json"])?;
    assert_eq!(taken["troubles"], json!([]), "{taken}");
    // What was taken out was written into lab.toml; what is added now stands behind it.
    let toml = fs::read_to_string(lab.toml())?;
    let host = format!(
        "\n[[host]]\nmac = \"{mac}\"\nname = \"bench-6\"\nboot = {{ iscsi = \"debian\", profile = \"xen\" }}\n"
    );
    fs::write(lab.toml(), toml + &host)?;
    let mut serve = Serve::start(&bench, &lab)?;

    for boot in 1..=2 {
        let machine_name = format!("{name}-{boot}");
        let spec = Spec { firmware, mac, memory: MEMORY, name: &machine_name, serial: None };
        let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
        machine.wait_for("PROOF end", TO_MULTI_USER)?;
        let proof = Proof::of(&machine)?;
        assert_eq!(proof.multi_user, "active", "{proof:?}");
        assert_eq!(proof.hypervisor, "xen PV", "{proof:?}");
        assert_eq!(proof.firmware, name, "{proof:?}");
        assert_eq!(proof.ibft_target, "", "dom0 sees none, which is why it was told: {proof:?}");
        assert!(proof.root.contains("/dev/sda"), "{proof:?}");
        assert_eq!(proof.boots, boot, "what a boot wrote is there at the next: {proof:?}");
        lab.no_findings(&bench, mac)?;
        machine.wait_off(Duration::from_secs(180))?;
        let logins = serve.events().into_iter().filter(|e| is(e, "iscsi-login", mac)).count();
        assert!(logins >= usize::try_from(boot)?, "dom0 logs in at each boot; {logins} logins after {boot}");
    }
    let by_firmware = |e: &Value| is(e, "iscsi-login", mac) && e["firmware"] == true;
    assert!(!serve.saw(by_firmware), "the disk is for dom0 alone");
    assert!(serve.terminate()?.success());
    assert_eq!(before, disk::sha256(&image)?, "the golden image changed");
    if let Some(secret) = chap {
        let told = fs::read_to_string(lab.scratch().join("events.jsonl"))?;
        assert!(!told.contains(secret), "a secret is in no event");
    }
    Ok(())
}

#[test]
#[ignore = "long: tests/run --long xen"]
fn from_bios() -> Result<()> {
    dom0(Firmware::Bios, None)
}

#[test]
#[ignore = "long: tests/run --long xen"]
fn from_uefi_with_chap() -> Result<()> {
    dom0(Firmware::Uefi, Some("s3cret-s3cret"))
}

#[test]
#[ignore = "long: tests/run --long xen"]
fn a_disk_that_starts_xen_by_itself_is_told() -> Result<()> {
    let mac = "52:54:00:00:06:03";
    let golden = disk::debian_xen()?;
    let bench = Netns::bench("xen-ibft", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("xen-ibft", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add_disk("debian", &golden, "keep")?;
    lab.add_host(mac, "bench-6", "{ iscsi = \"debian\" }")?;
    let mut serve = Serve::start(&bench, &lab)?;
    let spec = Spec { firmware: Firmware::Bios, mac, memory: MEMORY, name: "xen-ibft", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    machine.wait_for("Command line: root=LABEL=bootyard-root", TO_MULTI_USER)?;
    // Nobody logs in for 90 s behind the first packet of dom0, or behind the end of the firmware's session. The image is looked into then.
    let deadline = Instant::now() + Duration::from_secs(400);
    let found = loop {
        let findings = lab.findings(&bench, mac)?;
        let told = |f: &&Value| f["id"] == "no-system-login" && f["means"].as_str().is_some_and(|m| m.contains("Xen"));
        if let Some(found) = findings.iter().find(told) {
            break found.clone();
        }
        anyhow::ensure!(Instant::now() < deadline, "nothing was said of Xen: {findings:#?}");
        std::thread::sleep(Duration::from_secs(1));
    };
    assert!(found["means"].as_str().is_some_and(|m| m.contains("iBFT")), "{found}");
    let remedy = found["remedy"].as_str().context("a sentence")?;
    assert!(remedy.contains("disks extract debian"), "{found}");
    assert!(!machine.serial().contains("PROOF end"));
    assert!(serve.terminate()?.success());
    Ok(())
}
