//! What stops a machine at a server of ours: D2, D8, D16, D21, D29, and what iPXE reports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::findings::Scene;
use bootyard_tests::installer;
use bootyard_tests::netns::Netns;

use crate::{DHCP, FIRMWARE, Firewall, OURS, SOON, assign, error_code, power_on, script};

/// A disk with a first block that a BIOS starts and that does nothing for ever.
pub(crate) fn idle_disk(path: &Path) -> Result<()> {
    let mut sector = vec![0_u8; 512];
    // hlt, and back to it.
    sector[..3].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::write(path, sector)?;
    fs::OpenOptions::new().write(true).open(path)?.set_len(8 << 20)?;
    Ok(())
}

/// A BIOS machine on its way to its disk; the secret of that is changed when iPXE has been told it.
#[test]
fn closed_ports_and_a_wrong_secret() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:01";
    let bench = Netns::bench("fports", Some(OURS))?;
    let mut lab = LabDir::new("firmware-ports", DHCP)?;
    idle_disk(&lab.path().join("disks/d.raw"))?;
    lab.add("\n[[disk]]\nname = \"d\"\nimage = \"d.raw\"\nchap = { user = \"u\", secret = \"firstfirstfirst\" }\n")?;
    lab.add_host(MAC, "bench-1", "{ iscsi = \"d\" }")?;
    let serve = Serve::start(&bench, &lab)?;
    let wall = Firewall::new(&bench)?;
    wall.drops(&["tcp dport 80", "tcp dport 3260"])?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "BIOS" };
    let _machine = power_on(&scene, "ports")?;

    let said = scene.told("D16", "this computer's firewall drops TCP 80", "port-closed", FIRMWARE)?;
    ensure!(said["seen"].to_string().contains("80"), "{said}");
    wall.drops(&["tcp dport 3260"])?;
    scene.cured("port-closed", "the port is opened, and the machine goes on by itself", SOON)?;

    let said = scene.told("D16", "it drops TCP 3260", "port-closed", SOON)?;
    ensure!(said["seen"].to_string().contains("3260"), "{said}");
    let behind = scene.now();
    lab.replace("firstfirstfirst", "secondsecondsecond")?;
    scene.any_event(behind, "lab-changed", SOON, |_| true)?;
    wall.drops(&[])?;
    let said = scene.told("D21", "the secret was changed after iPXE had been told it", "iscsi-refused", SOON)?;
    ensure!(said["seen"].to_string().contains("0201"), "{said}");
    let component = error_code(&scene, behind, "san")?;
    ensure!(component == "iscsi", "{component}");
    scene.told("-", "iPXE reports its error", "script-error", SOON)?;
    scene.cured("iscsi-refused", "iPXE asks for its script again, and is told the new one", SOON)?;
    scene.cured("script-error", "the same", SOON)?;
    lab.no_findings(&bench, MAC)
}

/// A BIOS machine connects while its target gets another name.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn an_unknown_target() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:02";
    let bench = Netns::bench("ftarget", Some(OURS))?;
    let mut lab = LabDir::new("firmware-target", DHCP)?;
    idle_disk(&lab.path().join("disks/d.raw"))?;
    lab.add("\n[[disk]]\nname = \"d\"\nimage = \"d.raw\"\niqn = \"iqn.2026-11.test:before\"\n")?;
    lab.add_host(MAC, "bench-1", "{ iscsi = \"d\" }")?;
    let serve = Serve::start(&bench, &lab)?;
    let wall = Firewall::new(&bench)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "BIOS" };
    wall.drops(&["tcp dport 3260"])?;
    let _machine = power_on(&scene, "target")?;
    scene.told("D16", "the firewall drops TCP 3260", "port-closed", FIRMWARE)?;
    let behind = scene.now();
    lab.replace("iqn.2026-11.test:before", "iqn.2026-11.test:behind")?;
    scene.any_event(behind, "lab-changed", SOON, |_| true)?;
    wall.drops(&[])?;
    let said = scene.told("D21", "the target was renamed after iPXE had been told of it", "iscsi-refused", SOON)?;
    ensure!(said["seen"].to_string().contains("0203"), "{said}");
    let component = error_code(&scene, behind, "san")?;
    ensure!(component == "iscsi", "{component}");
    let cure = "iPXE asks again, and is told the new name";
    scene.cured("iscsi-refused", cure, SOON)?;
    scene.cured("script-error", cure, SOON)?;
    lab.no_findings(&bench, MAC)
}

/// A kernel that is not there; then one that runs and reports nothing, so that it is given again and again.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn a_missing_kernel_and_an_installer_that_goes_round() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:03";
    let bench = Netns::bench("fround", Some(OURS))?;
    let mut lab = LabDir::new("firmware-round", DHCP)?;
    let (kernel, _) = installer::files()?;
    let ours = lab.path().join("media/linux");
    fs::copy(&kernel, &ours)?;
    fs::write(lab.path().join("media/p.cfg"), "d-i nothing string x\n")?;
    // Without an initramfs it finds no root, and starts the machine anew.
    lab.add(
        "\n[[profile]]\nname = \"p\"\nkernel = \"linux\"\ninitrd = []\nargs = \"console=ttyS0 panic=1\"\n\
         answers = \"p.cfg\"\nkind = \"preseed\"\n",
    )?;
    lab.add_host(MAC, "bench-1", "{ install = \"p\", then = \"local\" }")?;
    let serve = Serve::start(&bench, &lab)?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "BIOS" };
    fs::rename(&ours, lab.path().join("media/linux.away"))?;
    let mut machine = power_on(&scene, "round-1")?;
    let said = scene.told("-", "the kernel's file is not there", "http-refused", FIRMWARE)?;
    ensure!(said["seen"].to_string().contains("404"), "{said}");
    let component = error_code(&scene, 0, "kernel")?;
    ensure!(component.starts_with("http"), "{component}");
    scene.told("-", "iPXE reports its error", "script-error", SOON)?;
    fs::rename(lab.path().join("media/linux.away"), &ours)?;
    scene.cured("http-refused", "the file is there again, and iPXE tries again", SOON)?;
    scene.cured("script-error", "the same", SOON)?;
    lab.no_findings(&bench, MAC)?;

    machine.wait_for("Kernel panic", FIRMWARE)?;
    machine.wait_off(SOON)?;
    let machine = power_on(&scene, "round-2")?;
    scene.told("D29", "the installer's kernel panics, and is given again", "reinstall-loop", FIRMWARE)?;
    drop(machine);
    assign(&scene, &["local"])?;
    scene.cured("reinstall-loop", "its local disk is assigned", SOON)?;
    let behind = scene.now();
    let _machine = power_on(&scene, "round-3")?;
    scene.event(behind, "script-step", FIRMWARE, |e| e["step"] == "local")?;
    lab.no_findings(&bench, MAC)
}

/// UEFI cannot reach TFTP, and the file that lab.toml names for it is for another architecture.
#[test]
#[ignore = "long: tests/run --long firmware-findings-all"]
fn uefi_with_tftp_closed_and_an_unfit_file() -> Result<()> {
    const MAC: &str = "52:54:00:00:0f:04";
    const BESIDE: &str = "52:54:00:00:0f:05";
    let bench = Netns::bench("ftftp", Some(OURS))?;
    let mut lab = LabDir::new("firmware-tftp", DHCP)?;
    foreign_program(&lab.path().join("firmware/other.efi"))?;
    lab.add("\n[[firmware]]\narch = \"uefi-x64\"\nfile = \"other.efi\"\n")?;
    lab.add_host(MAC, "bench-1", "\"wait\"")?;
    lab.add_host(BESIDE, "bench-2", "\"wait\"")?;
    let serve = Serve::start(&bench, &lab)?;
    let wall = Firewall::new(&bench)?;
    wall.drops(&["udp dport 69"])?;
    let scene = Scene { bench: &bench, lab: &lab, serve: &serve, mac: MAC, firmware: "UEFI x64" };
    // Who needs no TFTP boots well beside it.
    let beside = Scene { mac: BESIDE, firmware: "BIOS", ..scene };
    let healthy = power_on(&beside, "beside")?;
    script(&beside, 0)?;
    drop(healthy);
    let _machine = power_on(&scene, "tftp")?;
    let how = "lab.toml names a program for arm64; the firmware gets another";
    scene.told("D2", how, "boot-file-unfit", FIRMWARE)?;
    scene.told("D8", "the firewall drops UDP 69", "tftp-unheard", SOON)?;
    lab.no_findings(&bench, BESIDE)?;
    let behind = scene.now();
    wall.drops(&[])?;
    scene.cured("tftp-unheard", "the port is opened, and the firmware asks again by itself", SOON)?;
    script(&scene, behind)?;
    scene.cured("boot-file-unfit", "it runs what it was given instead", SOON)?;
    lab.no_findings(&bench, MAC)
}

/// iPXE's program for x64 with arm64's number in its header.
fn foreign_program(path: &Path) -> Result<()> {
    let mut program = fs::read("/usr/lib/ipxe/snponly.efi").context("is `ipxe` installed?")?;
    let at = program.get(0x3c..0x40).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).context("no PE header")?;
    let machine = program.get_mut(at as usize + 4..at as usize + 6).context("no PE header")?;
    machine.copy_from_slice(&0xaa64_u16.to_le_bytes());
    fs::write(path, program)?;
    Ok(())
}
