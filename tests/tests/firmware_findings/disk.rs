//! A system without iSCSI in its initramfs: D22.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::disk::debian;
use bootyard_tests::findings::Scene;
use bootyard_tests::netns::Netns;
use bootyard_tests::run;

use crate::{DHCP, FIRMWARE, OURS, SOON, assign, power_on};

/// Where the recipe of the Debian disk puts the root file system, in bytes.
const ROOT: u64 = 10 << 20;

/// What the firmware read is silent for so long before it is told.
const SILENCE: Duration = Duration::from_secs(240);

/// Takes what connects to iSCSI out of the initramfs of a Debian disk.
fn without_iscsi(image: &Path, scratch: &Path) -> Result<()> {
    let file_system = format!("{}?offset={ROOT}", image.display());
    let debugfs = |request: &str| run::tool("debugfs", &["-w", "-R", request, &file_system]);
    let listed = debugfs("ls -p /boot")?;
    let name = listed.split('/').find(|part| part.starts_with("initrd.img-")).context("no initramfs in /boot")?;
    let (packed, tree) = (scratch.join("initrd"), scratch.join("initrd.d"));
    fs::create_dir_all(&tree)?;
    debugfs(&format!("dump /boot/{name} {}", packed.display()))?;
    let pipe = |script: &str| {
        run::stdout(
            Command::new("bash")
                .args(["-euo", "pipefail", "-c", script, "-", &packed.display().to_string()])
                .current_dir(&tree),
        )
    };
    pipe("zstd -dcq \"$1\" | busybox cpio -idm 2> /dev/null")?;
    pipe(
        "find . -name '*iscsi*' -exec rm -r {} +; sed -i /iscsi/d scripts/local-top/ORDER scripts/local-bottom/ORDER",
    )?;
    pipe("find . | busybox cpio -o -H newc 2> /dev/null | zstd -q -f -o \"$1\"")?;
    debugfs(&format!("rm /boot/{name}"))?;
    debugfs(&format!("write {} /boot/{name}", packed.display()))?;
    ensure!(debugfs("ls -p /boot")?.contains(name), "the initramfs was not written back");
    Ok(())
}

fn goes_nowhere(firmware: &str, mac: &str, tag: &str) -> Result<()> {
    let good = debian()?;
    let bench = Netns::bench(tag, Some(OURS))?;
    let mut lab = LabDir::new(&format!("firmware-{tag}"), DHCP)?;
    let bare = lab.add_disk("bare", &good, "fresh")?;
    without_iscsi(&bare, lab.scratch())?;
    lab.add_disk("debian", &good, "fresh")?;
    lab.add_host(mac, "bench-1", "{ iscsi = \"bare\" }")?;
    let serve = Serve::start(&bench, &lab)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac, firmware };
    let mut machine = power_on(&scene, "bare-1")?;
    machine.wait_for("Linux version", 2 * FIRMWARE)?;
    // The initramfs waits half a minute for its root, and starts the machine anew.
    machine.wait_off(2 * FIRMWARE)?;
    scene.told("D22", "a kernel whose initramfs has no iSCSI", "no-system-login", SILENCE)?;
    let inspected = lab.json(&bench, &["disks", "inspect", "bare", "--json"])?;
    ensure!(inspected.to_string().contains("iscsi"), "{inspected}");
    let behind = scene.now();
    let machine = power_on(&scene, "bare-2")?;
    scene.event(behind, "dhcp-discover", FIRMWARE, |_| true)?;
    scene.told("D22", "and the machine begins anew; its image was looked into", "no-system-login", SOON)?;
    drop(machine);

    assign(&scene, &["iscsi", "debian"])?;
    scene.cured("no-system-login", "another disk is assigned", SOON)?;
    let mut machine = power_on(&scene, "well")?;
    machine.wait_for("PROOF end", Duration::from_secs(420))?;
    lab.no_findings(&bench, mac)
}

#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn a_bios_machine_goes_nowhere() -> Result<()> {
    goes_nowhere("BIOS", "52:54:00:00:0f:21", "fbare")
}

#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn a_uefi_machine_goes_nowhere() -> Result<()> {
    goes_nowhere("UEFI x64", "52:54:00:00:0f:22", "fbareefi")
}
