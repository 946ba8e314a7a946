//! Thirty machines boot at once from one golden image.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bootyard_tests::bootyard::{LabDir, Serve};
use bootyard_tests::disk;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::run;
use bootyard_tests::trace::{self, Step};

const NETWORK: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/boot-trace.txt");

/// Makes `tests/recipes/boot-trace.txt` anew: what a Debian 12 asks of its root disk from the firmware's first read to its power-off.
#[test]
#[ignore = "changes the recorded boot; cargo test -p bootyard-tests --test fleet -- --ignored record"]
fn record_the_boot() -> Result<()> {
    let mac = "52:54:00:00:05:01";
    let golden = disk::debian()?;
    let bench = Netns::bench("record", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("fleet-record", NETWORK)?;
    lab.add_disk("debian", &golden, "fresh")?;
    lab.add_host(mac, "bench-5", r#"{ iscsi = "debian" }"#)?;
    let mut serve = Serve::start(&bench, &lab)?;

    let capture = lab.scratch().join("boot.pcap");
    let mut tcpdump = bench
        .command("tcpdump")
        .args(["-i", "br0", "-n", "-U", "-Z", "root", "-B", "65536", "-w"])
        .arg(&capture)
        .arg("tcp dst port 3260")
        .stderr(Stdio::null())
        .spawn()
        .context("could not start tcpdump: is it installed?")?;
    run::wait_until("tcpdump's file", Duration::from_secs(10), || Ok(capture.exists().then_some(())))?;

    let spec = Spec { firmware: Firmware::Bios, mac, memory: 1024, name: "record", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;
    machine.wait_for("PROOF end", Duration::from_secs(600))?;
    machine.wait_off(Duration::from_secs(120))?;
    run::stdout(Command::new("kill").args(["-INT", &tcpdump.id().to_string()]))?;
    run::wait_exit(&mut tcpdump, "tcpdump to end", Duration::from_secs(10))?;
    assert!(serve.terminate()?.success(), "{}", serve.stderr());

    let steps = trace::of_capture(&fs::read(&capture)?)?;
    let count = |wanted: fn(&Step) -> bool| steps.iter().filter(|(step, _)| wanted(step)).count();
    let reads = count(|s| matches!(s, Step::Read { .. }));
    let (logins, writes) = (count(|s| matches!(s, Step::Login { .. })), count(|s| matches!(s, Step::Write { .. })));
    ensure!(logins >= 2 && reads > 100 && writes > 0, "{logins} logins, {reads} reads, {writes} writes: that was no boot");
    let size = fs::metadata(&golden)?.len();
    let about = format!(
        "What Debian 12 on a disk of {size} bytes asked of it from BIOS to power-off:\n\
         {logins} logins, {reads} reads, {writes} writes. Made by the test record_the_boot of tests/tests/fleet.rs.\n\
         KIND LBA BLOCKS MILLISECONDS-SINCE-THE-LINE-BEFORE; L login (1: the firmware's), R read, W write, F flush."
    );
    fs::write(TRACE, trace::format(&about, &steps)?)?;
    Ok(())
}
