//! UEFI with EDK2's own PXE client: TFTP `snponly.efi`, then iPXE, then the Debian installer; and iPXE does not dawdle on the way.

use std::time::Duration;

use anyhow::Result;
use bootyard_tests::bootyard::{LabDir, Serve, is, seconds_between};
use bootyard_tests::installer;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use serde_json::Value;

const MAC: &str = "52:54:00:00:02:01";
/// From the firmware's request for its boot file to iPXE's request for the script. The usual recipe takes 18 s.
const BUDGET: f64 = 5.0;

#[test]
fn edk2_becomes_ipxe_becomes_the_installer() -> Result<()> {
    let bench = Netns::bench("uefi", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new(
        "installer-uefi",
        "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"\nrouter = \"192.168.77.1\"\ndns = [\"192.168.77.1\"]",
    )?;
    installer::add_profile(&mut lab)?;
    lab.add("\n[[firmware]]\narch = \"uefi-x64\"\nfile = \"snponly.efi\"\n")?;
    lab.add_host(MAC, "bench-2", r#"{ install = "debian-12", then = "local" }"#)?;
    let mut serve = Serve::start(&bench, &lab)?;
    let spec = Spec { firmware: Firmware::Uefi, mac: MAC, memory: 1024, name: "uefi", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;

    let nbp = |e: &Value| is(e, "tftp-request", MAC) && e["file"] == "snponly.efi";
    let request = serve.wait_for_event("tftp-request for snponly.efi", Duration::from_secs(120), nbp)?;
    serve.wait_for_event("tftp-done", Duration::from_secs(60), |e| is(e, "tftp-done", MAC))?;
    let script = serve.wait_for_event("script-served", Duration::from_secs(60), |e| is(e, "script-served", MAC))?;
    let took = seconds_between(&request, &script)?;
    // EDK2's size probe comes first: it is one aborted transfer and no failure.
    assert!(!serve.saw(|e| is(e, "tftp-failed", MAC)), "a firmware's size probe was taken for an error");
    assert!(took < BUDGET, "from the boot file's request to the script took {took:.1} s; the budget is {BUDGET} s");

    machine.wait_for("Linux version", Duration::from_secs(240))?;
    serve.wait_for_event("answers-served", Duration::from_secs(300), |e| is(e, "answers-served", MAC))?;
    machine.wait_for("ANSWERS-RAN", Duration::from_secs(120))?;
    serve.wait_for_event("install-consumed", Duration::from_secs(30), |e| is(e, "install-consumed", MAC))?;
    lab.no_findings(&bench, MAC)?;
    Ok(())
}
