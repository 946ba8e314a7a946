//! What is in the real Debian disk, its kernel taken out of it byte by byte, how it is told that the image has another one by now, and what
//! the doctor says of images that their machines cannot boot.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::{disk, run};
use serde_json::Value;

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
/// Where the recipe puts the partition of UEFI's loader and the root, in bytes.
const ESP_AT: u64 = 2 << 20;
const ROOT_AT: u64 = 10 << 20;

#[test]
fn the_debian_disk_is_sound_and_its_kernel_is_taken_out() -> Result<()> {
    let golden = disk::debian()?;
    let bench = Netns::bench("inspect", None)?;
    let mut lab = LabDir::new("inspect", NETWORK)?;
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

/// A machine, its disk, and what the doctor says of that.
struct Defect {
    disk: &'static str,
    mac: &'static str,
    firmware: Kind,
    told: &'static str,
}

const DEFECTS: [Defect; 4] = [
    Defect { disk: "no-iscsi", mac: "02:00:00:00:11:01", firmware: Kind::Rom, told: "no-iscsi-initramfs-tools" },
    Defect { disk: "no-fallback", mac: "02:00:00:00:11:02", firmware: Kind::Uefi, told: "no-fallback-loader" },
    Defect { disk: "no-bios", mac: "02:00:00:00:11:03", firmware: Kind::Rom, told: "uefi-only" },
    Defect { disk: "netplan", mac: "02:00:00:00:11:04", firmware: Kind::Uefi, told: "network-netplan" },
];

/// The case of the row of each disk, by the doctor.
fn cases(bench: &Netns, lab: &LabDir) -> Result<Vec<String>> {
    let out = lab.output(bench, &["doctor", "--json"])?;
    let report: Value = serde_json::from_slice(&out.stdout).with_context(|| format!("{out:?}"))?;
    let rows = report["rows"].as_array().context("rows")?;
    let of = |defect: &Defect| {
        let id = format!("image:{}", defect.disk);
        let row = rows.iter().find(|row| row["id"] == id).with_context(|| format!("no row {id} in {report:#}"))?;
        let told = row["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
        ensure!(told || row["state"] == "ok", "it does not say what to do: {row:#}");
        Ok(row["case"].as_str().unwrap_or_default().to_owned())
    };
    DEFECTS.iter().map(of).collect()
}

/// Damages each image as people's are damaged, so that the firmware's, the boot loader's, the initramfs's and the system's part fails.
fn damage(lab: &LabDir) -> Result<()> {
    let image = |name: &str| lab.path().join("disks").join(format!("{name}.raw"));
    let esp = |name: &str| format!("{}@@{ESP_AT}", image(name).display());
    let scratch = |name: &str| lab.scratch().join(name).display().to_string();

    // An initramfs of initramfs-tools that knows a network card and no iSCSI.
    let listing = run::stdout(Command::new("debugfs").args(["-R", "ls -p /boot"]).arg(root(&image("no-iscsi"))))?;
    let initrd = listing.split('/').find(|word| word.starts_with("initrd.img-")).context("an initrd")?.to_owned();
    let tree = lab.scratch().join("tree");
    for (path, text) in [("scripts/functions", ""), ("usr/lib/modules/k/kernel/drivers/net/virtio_net.ko", "")] {
        let file = tree.join(path);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(file, text)?;
    }
    let made = scratch("initrd");
    run::stdout(
        Command::new("sh")
            .current_dir(&tree)
            .args(["-c", &format!("find . | busybox cpio -o -H newc | gzip > {made}")]),
    )?;
    debugfs(&image("no-iscsi"), "-wR", &format!("rm /boot/{initrd}"))?;
    debugfs(&image("no-iscsi"), "-wR", &format!("write {made} /boot/{initrd}"))?;

    // GRUB where Debian's installer puts it, and not where firmware looks that has no entry for it.
    for request in [&["mmd", "::/EFI/debian"][..], &["mmove", "::/EFI/BOOT/BOOTX64.EFI", "::/EFI/debian/grubx64.efi"]] {
        let (program, args) = request.split_first().context("a program")?;
        run::stdout(Command::new(program).args(["-i", &esp("no-fallback")]).args(args))?;
    }

    // Without GRUB's boot sector; the rest of it, the table, stays.
    fs::OpenOptions::new().write(true).open(image("no-bios"))?.write_all_at(&[0; 440], 0)?;

    // Renewed by the system, the address of the disk's network goes for a moment.
    let plan = scratch("50.yaml");
    fs::write(&plan, "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n")?;
    debugfs(&image("netplan"), "-wR", "mkdir /etc/netplan")?;
    debugfs(&image("netplan"), "-wR", &format!("write {plan} /etc/netplan/50.yaml"))
}

#[test]
fn the_doctor_tells_which_images_their_machines_cannot_boot() -> Result<()> {
    let golden = disk::debian()?;
    let bench = Netns::bench("badimage", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("inspect-doctor", NETWORK)?;
    for defect in &DEFECTS {
        lab.add_disk(defect.disk, &golden, "keep")?;
        lab.add_host(defect.mac, defect.disk, &format!("{{ iscsi = \"{}\" }}", defect.disk))?;
    }
    assert_eq!(cases(&bench, &lab)?, ["fine"; DEFECTS.len()], "they boot as they are");

    // What firmware a machine has is known once it was seen.
    damage(&lab)?;
    let mut serve = Serve::start(&bench, &lab)?;
    for defect in &DEFECTS {
        Client::plug(&bench, defect.disk, defect.mac)?.boot(defect.firmware, true)?;
    }
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    let expected: Vec<_> = DEFECTS.iter().map(|defect| defect.told).collect();
    assert_eq!(cases(&bench, &lab)?, expected);

    // Mended as the rows say, or as good as that: two of them as they were before.
    let disks = lab.path().join("disks");
    let esp = format!("{}@@{ESP_AT}", disks.join("no-fallback.raw").display());
    let copy = ["::/EFI/debian/grubx64.efi", "::/EFI/BOOT/BOOTX64.EFI"];
    let (from, to) = (lab.scratch().join("grub.efi"), copy[1]);
    run::stdout(Command::new("mcopy").args(["-i", &esp, copy[0]]).arg(&from))?;
    run::stdout(Command::new("mcopy").args(["-i", &esp]).arg(&from).arg(to))?;
    debugfs(&disks.join("netplan.raw"), "-wR", "rm /etc/netplan/50.yaml")?;
    assert_eq!(cases(&bench, &lab)?, [expected[0], "fine", expected[2], "fine"]);
    Ok(())
}

/// An image's root, as e2fsprogs names it.
fn root(image: &Path) -> String {
    format!("{}?offset={ROOT_AT}", image.display())
}

fn debugfs(image: &Path, how: &str, request: &str) -> Result<()> {
    let out = run::output(Command::new("debugfs").args([how, request, &root(image)]))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    // It ends well whatever it did; only its version is on standard error otherwise.
    ensure!(out.status.success() && said.lines().count() <= 1, "debugfs {request}: {said}");
    Ok(())
}
