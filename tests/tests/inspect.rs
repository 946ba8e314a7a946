//! What is in the real Debian disk, its kernel taken out of it byte by byte, and how it is told that the image has another one by now.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::LabDir;
use bootyard_tests::netns::Netns;
use bootyard_tests::{disk, run};
use serde_json::Value;

/// Where the recipe puts the root, in bytes.
const ROOT_AT: u64 = 10 << 20;

#[test]
fn the_debian_disk_is_sound_and_its_kernel_is_taken_out() -> Result<()> {
    let golden = disk::debian()?;
    let bench = Netns::bench("inspect", None)?;
    let mut lab = LabDir::new("inspect", "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.add("\n# Nobody loses this line.\n")?;
    let image = lab.add_disk("debian", &golden, "keep")?;

    let found = lab.json(&bench, &["disks", "inspect", "debian", "--json"])?;
    let system = &found["image"]["linux"][0];
    assert!(system["name"].as_str().is_some_and(|n| n.contains("bookworm")), "{system}");
    let initramfs = &system["kernels"][0]["initramfs"];
    assert_eq!(
        (&initramfs["generator"], &initramfs["iscsi-auto"], &initramfs["iscsi-ibft"]),
        (&"initramfs-tools".into(), &true.into(), &true.into()),
        "{initramfs}"
    );
    for way in ["BIOS", "UEFI x64"] {
        assert_eq!(found["troubles"][way], Value::Array(Vec::new()), "a disk that boots has no troubles ({way})");
    }
    assert_eq!(found["troubles"]["kernel directly"], Value::Array(Vec::new()), "it wants an iBFT, and gets one");

    let taken = lab.json(&bench, &["disks", "extract", "debian", "--into", "direct", "--json"])?;
    let version = taken["kernel"].as_str().context("a version")?.to_owned();
    assert_eq!(taken["iscsi-args"], "none", "{taken}");
    let toml = fs::read_to_string(lab.toml())?;
    for line in [
        "# Nobody loses this line.".to_owned(),
        format!("kernel = \"direct/vmlinuz-{version}\""),
        format!("initrd = [\"direct/initrd.img-{version}\"]"),
        "iscsi-args = \"none\"".to_owned(),
        "root=LABEL=bootyard-root".to_owned(),
    ] {
        assert!(toml.contains(&line), "{line} is missing in {toml}");
    }
    let media = lab.path().join("media/direct");
    for name in [format!("vmlinuz-{version}"), format!("initrd.img-{version}")] {
        let by_debugfs = lab.scratch().join(&name);
        debugfs(&image, "-R", &format!("dump /boot/{name} {}", by_debugfs.display()))?;
        assert_eq!(disk::sha256(&media.join(&name))?, disk::sha256(&by_debugfs)?, "{name}");
    }
    let left: Vec<_> = fs::read_dir(lab.path().join("media"))?.flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["direct"], "nothing half-made is left");
    let out = lab.output(&bench, &["check"])?;
    assert!(!String::from_utf8_lossy(&out.stdout).contains("disks extract"), "it is the image's kernel: {out:?}");

    // A new initramfs in the image: what was taken out is no longer the image's.
    let other = lab.scratch().join("other");
    fs::write(&other, "another initramfs")?;
    debugfs(&image, "-wR", &format!("rm /boot/initrd.img-{version}"))?;
    debugfs(&image, "-wR", &format!("write {} /boot/initrd.img-{version}", other.display()))?;
    let out = lab.output(&bench, &["check"])?;
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(said.contains("bootyard disks extract debian --into direct"), "{said}");

    // What is there already is another's, and a wrong name says what there is.
    fs::create_dir(lab.path().join("media/mine"))?;
    let out = lab.output(&bench, &["disks", "extract", "debian", "--into", "mine"])?;
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let out = lab.output(&bench, &["disks", "extract", "debian", "--into", "other", "--kernel", "1.2.3"])?;
    assert!(String::from_utf8_lossy(&out.stderr).contains(&version), "{out:?}");
    Ok(())
}

fn debugfs(image: &std::path::Path, how: &str, request: &str) -> Result<()> {
    let device = format!("{}?offset={ROOT_AT}", image.display());
    let out = run::output(Command::new("debugfs").args([how, request, &device]))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    // It ends well whatever it did; only its version is on standard error otherwise.
    anyhow::ensure!(out.status.success() && said.lines().count() <= 1, "debugfs {request}: {said}");
    Ok(())
}
