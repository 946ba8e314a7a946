//! BIOS with Debian's iPXE ROM: the real Debian installer loads over HTTP and works by the answer file that is this host's alone; then its
//! assignment is what follows, so that it is not installed again.

use std::time::Duration;

use anyhow::Result;
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::installer;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};

const MAC: &str = "52:54:00:00:01:01";

#[test]
fn the_debian_installer_runs_by_its_answers() -> Result<()> {
    let bench = Netns::bench("bios", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new(
        "installer-bios",
        "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\nrouter = \"192.168.77.1\"\ndns = [\"192.168.77.1\"]",
    )?;
    installer::add_profile(&mut lab)?;
    lab.add_host(MAC, "bench-1", r#"{ install = "debian-12", then = "local" }"#)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let spec = Spec { firmware: Firmware::Bios, mac: MAC, memory: 1024, name: "bios", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;

    serve.wait_for_event("script-served", Duration::from_secs(120), |e| is(e, "script-served", MAC))?;
    let got = |path: &'static str| {
        move |e: &serde_json::Value| is(e, "http-done", MAC) && e["path"].to_string().contains(path)
    };
    serve.wait_for_event("kernel over HTTP", Duration::from_secs(120), got("linux"))?;
    serve.wait_for_event("initrd over HTTP", Duration::from_secs(180), got("initrd"))?;
    machine.wait_for("Linux version", Duration::from_secs(120))?;
    serve.wait_for_event("answers-served", Duration::from_secs(300), |e| is(e, "answers-served", MAC))?;
    machine.wait_for("ANSWERS-RAN", Duration::from_secs(120))?;

    // Nobody but this host is given its answers, and it is not installed twice.
    let consumed =
        serve.wait_for_event("install-consumed", Duration::from_secs(30), |e| is(e, "install-consumed", MAC))?;
    assert_eq!(consumed["next"], "local", "{consumed}");
    let toml = std::fs::read_to_string(lab.toml())?;
    assert!(toml.contains(r#"boot = "local""#), "lab.toml still says:\n{toml}");
    assert!(!serve.saw(|e| is(e, "tftp-request", MAC)), "a ROM that is iPXE has no use for TFTP");
    lab.no_findings(&bench, MAC)?;
    Ok(())
}
