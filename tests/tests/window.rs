//! The window in an X server, as an ordinary user: a machine appears, its stages advance, a click gives it an installer, and it boots that.
//! The picture of that moment is the README's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{Installed, LabDir, NOBODY, is, seconds_between};
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::window::{Desktop, Window};
use bootyard_tests::{installer, run};
use serde_json::Value;

const MAC: &str = "52:54:00:00:05:01";

const OTHERS: [&str; 2] = ["02:00:00:00:05:11", "02:00:00:00:05:12"];

/// The stage in the machine's row: `52:54:00:00:05:01, Waiting, gets Wait`.
fn stage(window: &mut Window<'_>) -> Result<Option<String>> {
    let tree = window.tree()?;
    let row = tree.lines().filter_map(|l| l.split('\t').nth(1)).find_map(|name| name.strip_prefix(&format!("{MAC}, ")));
    Ok(row.and_then(|r| r.split(',').next()).map(str::to_owned))
}

/// Follows the machine's row until it has one of these stages; adds each that it had on the way.
fn until(window: &mut Window<'_>, wanted: &[&str], seen: &mut BTreeSet<String>, timeout: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Some(stage) = stage(window)? {
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
    window.wait_for("pc-02, Firmware", Duration::from_secs(10))?;
    let spec = Spec { firmware: Firmware::Bios, mac: MAC, memory: 1024, name: "window", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    let mut seen = BTreeSet::new();
    until(&mut window, &["Waiting"], &mut seen, Duration::from_secs(120))?;
    window.picture(&pictures.join("waiting.png"))?;

    // One click for the list, one for the choice.
    window.click(&format!("{MAC} gets Wait"))?;
    window.wait_for("Install debian-12", Duration::from_secs(5))?;
    window.click("Install debian-12")?;
    until(&mut window, &["Loading"], &mut seen, Duration::from_secs(60))?;
    window.picture(&pictures.join("loading.png"))?;
    machine.wait_for("Linux version", Duration::from_secs(180))?;
    until(&mut window, &["Installing"], &mut seen, Duration::from_secs(300))?;
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
