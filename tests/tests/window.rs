//! The window in an X server, as an ordinary user, driven by the names of its controls: a machine appears, its stages advance, and a click gives
//! it an installer or a disk that was dropped a moment before. The pictures of these moments are the README's.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{Installed, LabDir, NOBODY, Serve, is, seconds_between};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::window::{Desktop, Window};
use bootyard_tests::{installer, run, x11};
use serde_json::Value;

const MAC: &str = "52:54:00:00:05:01";

const OTHERS: [&str; 2] = ["02:00:00:00:05:11", "02:00:00:00:05:12"];

/// The stage in a machine's row: `52:54:00:00:05:01, Waiting, gets Wait`.
fn stage(window: &mut Window<'_>, machine: &str) -> Result<Option<String>> {
    let tree = window.tree()?;
    let begin = format!("{machine}, ");
    let row = tree.lines().filter_map(|l| l.split('\t').nth(1)).find_map(|name| name.strip_prefix(&begin));
    Ok(row.and_then(|r| r.split(',').next()).map(str::to_owned))
}

/// Follows a machine's row until it has one of these stages; adds each that it had on the way.
fn until(
    window: &mut Window<'_>,
    machine: &str,
    wanted: &[&str],
    seen: &mut BTreeSet<String>,
    timeout: Duration,
) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Some(stage) = stage(window, machine)? {
            seen.insert(stage.clone());
            if wanted.contains(&stage.as_str()) {
                return Ok(());
            }
        }
        let mut tree = || window.tree().unwrap_or_default();
        anyhow::ensure!(
            start.elapsed() < timeout,
            "the machine was never {wanted:?}, only {seen:?}; the window shows:\n{}",
            tree()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_click_boots_a_machine() -> Result<()> {
    let pictures = run::scratch("window")?;
    let bench = Netns::bench("window", Some("192.168.77.1/24"))?;
    let installed = Installed::new("window", true)?;
    let mut lab = LabDir::at(
        installed.user_dir(),
        "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\nrouter = \"192.168.77.1\"\ndns = [\"192.168.77.1\"]",
    )?;
    installer::add_profile(&mut lab)?;
    let empty = pictures.join("empty.raw");
    std::fs::File::create(&empty)?.set_len(64 << 20)?;
    lab.add_disk("server01", &empty, "keep")?;
    // A bench has more than one machine: two ROMs in software, and one that is off.
    lab.add_host(OTHERS[0], "pc-01", "\"wait\"")?;
    lab.add_host(OTHERS[1], "pc-02", "\"local\"")?;
    lab.add_host("02:00:00:00:05:13", "server01", "{ iscsi = \"server01\" }")?;
    lab.give_to(NOBODY)?;
    let desktop = Desktop::start(&bench, lab.scratch(), "1280x800")?;
    let mut window = Window::open(&bench, &desktop, &installed, &lab)?;

    // The first start on this computer: nothing is served until a person says where.
    window.wait_for("br0", Duration::from_secs(30))?;
    assert!(bench.tool("ss", &["-Hlun", "sport = :67"])?.is_empty(), "it serves before anybody said so");
    window.click("br0")?;
    window.click("Start")?;
    window.wait_for("Serving", Duration::from_secs(30))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", window.pid()))?;
    assert!(status.contains("CapEff:\t0000000000000000"), "the window has privileges:\n{status}");

    for (n, mac) in OTHERS.iter().enumerate() {
        let client = Client::plug(&bench, &format!("pc{n}"), mac)?;
        let told = client.boot(Kind::Rom, true)?;
        client.take(&told)?;
        client.ns.tool("curl", &["-fsS", "-o", "/dev/null", "tftp://192.168.77.1/undionly.kpxe"])?;
    }
    window.wait_for("pc-02, Firmware", Duration::from_secs(30))?;
    let spec = Spec { firmware: Firmware::Bios, mac: MAC, memory: 1024, name: "window", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    let mut seen = BTreeSet::new();
    until(&mut window, MAC, &["Waiting"], &mut seen, Duration::from_secs(120))?;
    window.picture(&pictures.join("waiting.png"))?;

    // One click for the list, one for the choice.
    window.click(&format!("{MAC} gets Wait"))?;
    window.wait_for("Install debian-12", Duration::from_secs(30))?;
    window.click("Install debian-12")?;
    until(&mut window, MAC, &["Loading"], &mut seen, Duration::from_secs(60))?;
    window.picture(&pictures.join("loading.png"))?;
    machine.wait_for("Linux version", Duration::from_secs(180))?;
    until(&mut window, MAC, &["Installing"], &mut seen, Duration::from_secs(300))?;
    machine.wait_for("ANSWERS-RAN", Duration::from_secs(120))?;
    window.picture(&pictures.join("installing.png"))?;

    for stage in ["Waiting", "Loading", "Installing"] {
        assert!(seen.contains(stage), "the window never showed {stage}, only {seen:?}");
    }

    // The machine that waited went on at once.
    let mut events = desktop.command(&bench, installed.program());
    lab.environment(&mut events);
    let text = run::stdout(events.args(["events", "--json", "--lab"]).arg(lab.path()))?;
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let click = events.iter().find(|e| is(e, "assigned", MAC)).context("no `assigned` event")?;
    let script = events.iter().find(|e| is(e, "script-served", MAC) && e["seq"].as_u64() > click["seq"].as_u64());
    let took = seconds_between(click, script.context("no script after the click")?)?;
    assert!(took < 1.0, "the machine waited {took:.1} s after the click");
    Ok(())
}

#[test]
fn a_lab_has_one_window_and_a_serve_is_shared() -> Result<()> {
    let bench = Netns::bench("windows", Some("192.168.77.1/24"))?;
    let installed = Installed::new("windows", true)?;
    let lab = LabDir::at(installed.user_dir(), "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    lab.give_to(NOBODY)?;
    let desktop = Desktop::start(&bench, lab.scratch(), "1280x800")?;
    let mut first = Window::open(&bench, &desktop, &installed, &lab)?;
    first.wait_for("Serve network boot", Duration::from_secs(30))?;

    // A second one is refused with a sentence, also where it could not have shown it.
    let mut second = desktop.command(&bench, installed.program());
    lab.environment(&mut second);
    let out = run::output(second.env_remove("DISPLAY").arg("--lab").arg(lab.path()))?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("is open in another window") && said.contains(&first.pid().to_string()), "{said}");
    first.wait_for("Serve network boot", Duration::from_secs(30))?;
    drop(first);

    // Over an engine that serves already it is another view of that one, and goes without it.
    let mut serve = Serve::start(&bench, &lab)?;
    let mut window = Window::open(&bench, &desktop, &installed, &lab)?;
    window.wait_for("Served by another process", Duration::from_secs(30))?;
    drop(window);
    lab.json(&bench, &["hosts", "--json"])?;
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    Ok(())
}

/// A disk whose boot sector does nothing: it jumps to itself, for ever.
fn idle_disk(path: &Path, mib: u64) -> Result<()> {
    let mut sector = [0; 512];
    sector[..64].fill(0x90);
    sector[64..66].copy_from_slice(&[0xeb, 0xfe]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(path, sector)?;
    std::fs::File::options().write(true).open(path)?.set_len(mib << 20)?;
    Ok(())
}

#[test]
fn a_dropped_disk_boots_a_machine_and_another_one_says_why_it_does_not() -> Result<()> {
    const NEW: &str = "52:54:00:00:05:02";
    let pictures = run::scratch("window-drop")?;
    let bench = Netns::bench("wdrop", Some("192.168.78.1/24"))?;
    let installed = Installed::new("window-drop", true)?;
    let mut lab = LabDir::at(
        installed.user_dir(),
        "mode = \"dhcp\"\nrange = \"192.168.78.20-192.168.78.40\"\nrouter = \"192.168.78.1\"",
    )?;
    // A disk of this size is none to a BIOS: iPXE reaches it, and can't start from it.
    let small = pictures.join("small.raw");
    idle_disk(&small, 4)?;
    lab.add_disk("small", &small, "keep")?;
    lab.add_host("52:54:00:00:05:03", "pc-small", "{ iscsi = \"small\" }")?;
    for (n, mac) in OTHERS.iter().enumerate() {
        lab.add_host(mac, &format!("pc-0{}", n + 1), "\"wait\"")?;
    }
    let image = lab.scratch().join("My Debian.img");
    idle_disk(&image, 64)?;
    lab.give_to(NOBODY)?;
    let mut desktop = Desktop::start(&bench, lab.scratch(), "1280x800")?;
    let notifications = desktop.take_notifications(&bench, lab.scratch())?;
    // Two ROMs in software; with them the switch has a link.
    let plug = |(n, mac): (usize, &&str)| Client::plug(&bench, &format!("pc{n}"), mac);
    let clients = OTHERS.iter().enumerate().map(plug).collect::<Result<Vec<_>>>()?;
    let mut window = Window::open(&bench, &desktop, &installed, &lab)?;
    let soon = Duration::from_secs(60);

    window.wait_for("br0", soon)?;
    window.click("br0")?;
    // What the check finds is in the picture.
    window.wait_for("label:Boot files", soon)?;
    window.picture(&pictures.join("first-start.png"))?;
    window.click("button:Start")?;
    window.wait_for("Serving", soon)?;
    let start = |mac, name| {
        let spec = Spec { firmware: Firmware::Bios, mac, memory: 128, name, serial: None };
        Machine::start(&bench, lab.scratch(), &spec)
    };
    let _new = start(NEW, "new")?;
    let _small = start("52:54:00:00:05:03", "small")?;
    for client in &clients {
        let told = client.boot(Kind::Rom, true)?;
        client.take(&told)?;
        client.ns.tool("curl", &["-fsS", "-o", "/dev/null", "tftp://192.168.78.1/undionly.kpxe"])?;
    }

    let _elsewhere = x11::Keyboard::take(desktop.display())?;
    // Dropped from a file manager; what it is shows while it hovers, and the form is filled.
    x11::drop_file(desktop.display(), &image, soon)?;
    window.wait_for("Add a disk", soon)?;
    window.picture(&pictures.join("add-disk.png"))?;
    window.click("button:Add disk")?;
    window.click("Images")?;
    window.wait_for("My Debian.img as my-debian", soon)?;
    window.wait_for("Actions on disk my-debian", soon)?;
    window.picture(&pictures.join("images.png"))?;

    // The machine that nobody knew gets it with two clicks.
    window.click("Machines")?;
    let mut seen = BTreeSet::new();
    until(&mut window, NEW, &["Waiting"], &mut seen, Duration::from_secs(120))?;
    window.click(&format!("{NEW} gets Wait"))?;
    window.wait_for("Disk my-debian", soon)?;
    window.click("Disk my-debian")?;
    until(&mut window, NEW, &["Disk login", "OS on disk", "Running"], &mut seen, Duration::from_secs(120))?;
    let overlays = std::fs::read_dir(lab.path().join("disks/my-debian.overlays"))?.count();
    assert!(overlays > 0, "it runs from the disk without an overlay of its own");

    // The other one fails where everything was reached: the sentence is in the window, and says what it can mean.
    until(&mut window, "pc-small", &["Failed"], &mut seen, Duration::from_secs(120))?;
    window.wait_for("1d852039", soon)?;
    window.picture(&pictures.join("machines.png"))?;
    window.click("button:pc-small")?;
    window.wait_for("This boot", soon)?;
    window.picture(&pictures.join("host.png"))?;

    // Somebody worked in another window, so the desktop was told, too.
    for line in ["My Debian.img as my-debian\t", "pc-small failed\tiPXE"] {
        let told = || std::fs::read_to_string(&notifications);
        let heard = run::wait_until(line, soon, || Ok(told()?.contains(line).then_some(())));
        heard.with_context(|| format!("the desktop was told:\n{}", told().unwrap_or_default()))?;
    }
    for (screen, shows, file) in [("Events", "Filter events", "events"), ("Network", "Servers", "network")] {
        window.click(screen)?;
        window.wait_for(shows, soon)?;
        window.picture(&pictures.join(file).with_extension("png"))?;
    }
    Ok(())
}
