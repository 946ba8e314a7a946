//! A kernel that is started directly, its root on an iSCSI disk: how the initramfs of Debian and dracut's log in, from BIOS and UEFI, and what
//! that saves against the disk's own boot loader. Some ten minutes in all: `tests/run --long direct-boot`.

#![allow(clippy::print_stdout, reason = "prints a table")]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is, seconds_between};
use bootyard_tests::disk::{self, Initramfs, Proof};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use jiff::Timestamp;
use serde_json::{Value, json};

const CHAP: &str = "chap = { user = \"bench-user\", secret = \"a-secret.of=16+\" }\n";

/// A bench with the disk of that initramfs (`None`: the one that wants an iBFT), which a machine is given.
struct Room {
    bench: Netns,
    lab: LabDir,
    mac: &'static str,
    firmware: Firmware,
}

/// One boot, from power-on to power-off.
struct Booted {
    proof: Proof,
    /// Seconds from power-on until multi-user was reached and told.
    whole: f64,
    /// Seconds from the script to the kernel's first line, to a fifth of a second.
    kernel: f64,
    /// Seconds from the script to the system's login.
    login: f64,
    /// The machine's timeline while the system ran.
    timeline: Vec<Value>,
    /// Everything that the machine printed.
    console: String,
}

impl Room {
    fn new(tag: &str, firmware: Firmware, initramfs: Option<Initramfs>, chap: bool) -> Result<Self> {
        let golden = initramfs.map_or_else(disk::debian, disk::debian_with)?;
        let bench = Netns::bench(tag, Some("192.168.77.1/24"))?;
        let mut lab =
            LabDir::new(&format!("direct-{tag}"), "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
        lab.add_disk("debian", &golden, "keep")?;
        if chap {
            lab.add(CHAP)?;
        }
        let mac = if firmware == Firmware::Bios { "52:54:00:00:06:01" } else { "52:54:00:00:06:02" };
        lab.add_host(mac, "bench-6", "{ iscsi = \"debian\" }")?;
        Ok(Self { bench, lab, mac, firmware })
    }

    /// Takes the kernel out, and gives it to the machine. What lab.toml says of the profile comes back.
    fn directly(&self) -> Result<String> {
        self.lab.json(&self.bench, &["disks", "extract", "debian", "--into", "direct", "--json"])?;
        let out = self.lab.output(&self.bench, &["assign", "bench-6", "iscsi", "debian", "--profile", "direct"])?;
        anyhow::ensure!(out.status.success(), "{out:?}");
        let toml = fs::read_to_string(self.lab.toml())?;
        assert!(toml.contains("boot = { iscsi = \"debian\", profile = \"direct\" }"), "{toml}");
        Ok(toml)
    }

    fn boot(&self, name: &str, serve: &mut Serve) -> Result<Booted> {
        let seen = serve.events().len();
        let spec = Spec { firmware: self.firmware, mac: self.mac, memory: 1024, name, serial: None };
        let start = Instant::now();
        let mut machine = Machine::start(&self.bench, self.lab.scratch(), &spec)?;
        machine.wait_for("Linux version", Duration::from_secs(300))?;
        let kernel = json!({ "time": Timestamp::now() });
        machine.wait_for("PROOF end", Duration::from_secs(420))?;
        let whole = start.elapsed().as_secs_f64();
        let proof = Proof::of(&machine)?;
        assert_eq!(proof.multi_user, "active", "{proof:?}");
        assert!(proof.root.contains("/dev/sda"), "{proof:?}");
        self.lab.no_findings(&self.bench, self.mac)?;
        let timeline = self.timeline()?;
        machine.wait_off(Duration::from_secs(120))?;
        let events = serve.events().split_off(seen);
        let first = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
            events.iter().find(|e| wanted(e)).cloned().with_context(|| format!("no {what} in this boot"))
        };
        let script = first("script", &|e| is(e, "script-served", self.mac))?;
        let login = first("login of the system", &|e| is(e, "iscsi-login", self.mac) && e["firmware"] == false)?;
        let (kernel, login) = (seconds_between(&script, &kernel)?, seconds_between(&script, &login)?);
        Ok(Booted { proof, whole, kernel, login, timeline, console: machine.serial() })
    }

    fn timeline(&self) -> Result<Vec<Value>> {
        let hosts = self.lab.json(&self.bench, &["hosts", "--json"])?;
        let host = hosts.as_array().and_then(|hosts| hosts.iter().find(|h| h["name"] == "bench-6"));
        Ok(host.context("the machine is in the list")?["timeline"].as_array().cloned().unwrap_or_default())
    }
}

/// What the timeline shows from the script on: the stage, or what of it the step is.
fn chain(booted: &Booted) -> Vec<String> {
    let word = |step: &Value| step["part"].as_str().or(step["stage"].as_str()).unwrap_or_default().to_owned();
    let words = booted.timeline.iter().map(word);
    words.skip_while(|word| word != "script").filter(|word| word != "script" && word != "running").collect()
}

/// The disk's own boot loader, twice, then its kernel directly, twice: side by side.
fn beside_the_boot_loader(tag: &str, firmware: Firmware) -> Result<()> {
    let room = Room::new(tag, firmware, None, false)?;
    let mut serve = Serve::start(&room.bench, &room.lab)?;
    let mut boot = |n: u32| -> Result<Booted> {
        let booted = room.boot(&format!("{tag}-{n}"), &mut serve)?;
        assert_eq!(booted.proof.boots, n, "what a boot wrote is there");
        Ok(booted)
    };
    let loader = [boot(1)?, boot(2)?];
    for booted in &loader {
        assert!(chain(booted).iter().all(|word| word != "kernel"), "{:?}", chain(booted));
    }
    let toml = room.directly()?;
    assert!(toml.contains("iscsi-args = \"none\""), "an initramfs that wants an iBFT gets one: {toml}");
    let direct = [boot(3)?, boot(4)?];
    let wanted = ["san-login", "kernel", "initrd", "os-started", "system-address", "os-login"];
    for booted in &direct {
        assert!(booted.proof.ibft_target.starts_with("iqn."), "{:?}", booted.proof);
        assert_eq!(chain(booted), wanted, "{:?}", booted.timeline);
    }
    println!(
        "{tag}: seconds from the script to the kernel's first line, to the system's login, and from power-on to multi-user:"
    );
    let show =
        |name: &str, [kernel, login, whole]: [f64; 3]| println!("  {name:<12} {kernel:>6.1} {login:>6.1} {whole:>6.1}");
    let of = |booted: &Booted| [booted.kernel, booted.login, booted.whole];
    let mean = |[a, b]: &[Booted; 2]| {
        let (a, b) = (of(a), of(b));
        std::array::from_fn(|n| f64::midpoint(a[n], b[n]))
    };
    for (name, booted) in [("boot loader", &loader), ("directly", &direct)] {
        booted.iter().for_each(|one| show(name, of(one)));
    }
    let (before, after): ([f64; 3], [f64; 3]) = (mean(&loader), mean(&direct));
    show("saved", std::array::from_fn(|n| before[n] - after[n]));
    assert!(serve.terminate()?.success());
    Ok(())
}

/// A login by the kernel's arguments alone, with CHAP; a second boot sees what the first one wrote.
fn by_arguments(tag: &str, firmware: Firmware, initramfs: Initramfs, boots: u32) -> Result<()> {
    let room = Room::new(tag, firmware, Some(initramfs), true)?;
    let mut serve = Serve::start(&room.bench, &room.lab)?;
    let toml = room.directly()?;
    let (word, secret) = match initramfs {
        Initramfs::Arguments => ("debian", "iscsi_password=a-secret.of=16+"),
        Initramfs::Dracut => ("dracut", "rd.iscsi.password=a-secret.of=16+"),
    };
    assert!(toml.contains(&format!("iscsi-args = \"{word}\"")), "{toml}");
    for boot in 1..=boots {
        let booted = room.boot(&format!("{tag}-{boot}"), &mut serve)?;
        assert_eq!(booted.proof.boots, boot, "{:?}", booted.proof);
        assert_eq!(booted.proof.ibft_target, "", "there is no iBFT");
        let wanted = ["kernel", "initrd", "os-started", "system-address", "os-login"];
        assert_eq!(chain(&booted), wanted, "{:?}", booted.timeline);
        assert!(booted.console.contains(secret), "the machine's kernel says its own arguments");
        println!("{tag}: {:.1} s to multi-user, {:.1} s from the script to the login", booted.whole, booted.login);
    }
    assert!(!serve.saw(|e| is(e, "iscsi-login", room.mac) && e["firmware"] == true), "the firmware has no part in it");
    let told = serve.events().iter().map(Value::to_string).collect::<String>();
    assert!(!told.contains("a-secret"), "a secret is in no event");
    assert!(serve.terminate()?.success());
    Ok(())
}

#[test]
fn bios_by_arguments_with_chap() -> Result<()> {
    by_arguments("bios-args", Firmware::Bios, Initramfs::Arguments, 1)
}

#[test]
fn bios_beside_the_boot_loader() -> Result<()> {
    beside_the_boot_loader("bios", Firmware::Bios)
}

#[test]
fn uefi_beside_the_boot_loader() -> Result<()> {
    beside_the_boot_loader("uefi", Firmware::Uefi)
}

#[test]
fn uefi_by_arguments_with_chap() -> Result<()> {
    by_arguments("uefi-arg", Firmware::Uefi, Initramfs::Arguments, 2)
}

#[test]
fn bios_by_dracut_with_chap() -> Result<()> {
    by_arguments("bios-dra", Firmware::Bios, Initramfs::Dracut, 2)
}
