//! Beside a DHCP server that is not ours: dnsmasq gives the addresses, Bootyard as ProxyDHCP the boot, and never an address.

use std::time::Duration;

use anyhow::Result;
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::installer;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};

const MAC: &str = "52:54:00:00:03:01";

/// `auto` must find dnsmasq by itself.
#[test]
fn beside_dnsmasq_only_the_boot_is_ours() -> Result<()> {
    let bench = Netns::bench("proxy", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("installer-proxy", "mode = \"auto\"")?;
    installer::add_profile(&mut lab)?;
    lab.add("\n[[firmware]]\narch = \"uefi-x64\"\nfile = \"snponly.efi\"\n")?;
    lab.add_host(MAC, "bench-3", r#"{ install = "debian-12", then = "local" }"#)?;

    let dnsmasq = Dnsmasq::start(&bench, lab.scratch(), &[])?;
    let mut serve = Serve::start(&bench, &lab)?;
    let mode = serve.wait_for("mode-chosen", Duration::from_secs(30))?;
    assert_eq!(mode["mode"], "proxy", "{mode}");
    let spec = Spec { firmware: Firmware::Uefi, mac: MAC, memory: 1024, name: "proxy", serial: None };
    let mut machine = Machine::start(&bench, lab.scratch(), &spec)?;

    let nbp = |e: &serde_json::Value| is(e, "tftp-request", MAC) && e["file"] == "snponly.efi";
    serve.wait_for_event("tftp-request for snponly.efi", Duration::from_secs(120), nbp)?;
    serve.wait_for_event("script-served", Duration::from_secs(90), |e| is(e, "script-served", MAC))?;
    machine.wait_for("Linux version", Duration::from_secs(240))?;
    serve.wait_for_event("answers-served", Duration::from_secs(300), |e| is(e, "answers-served", MAC))?;
    machine.wait_for("ANSWERS-RAN", Duration::from_secs(120))?;

    assert!(
        !serve.saw(|e| !e["address"].is_null() && (e["kind"] == "dhcp-offer" || e["kind"] == "dhcp-ack")),
        "an address was ours"
    );
    assert!(dnsmasq.leased(MAC)?, "the address was not dnsmasq's");
    lab.no_findings(&bench, MAC)?;
    Ok(())
}
