//! Beside a DHCP server that is not ours: dnsmasq gives the addresses, Bootyard as ProxyDHCP the boot, and never an address.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::{installer, run};

const MAC: &str = "52:54:00:00:03:01";

/// `auto` must find dnsmasq by itself.
#[test]
fn beside_dnsmasq_only_the_boot_is_ours() -> Result<()> {
    let bench = Netns::bench("proxy", Some("192.168.77.1/24"))?;
    let mut lab = LabDir::new("installer-proxy", "mode = \"auto\"")?;
    installer::add_profile(&mut lab)?;
    lab.add("\n[[firmware]]\narch = \"uefi-x64\"\nfile = \"snponly.efi\"\n")?;
    lab.add_host(MAC, "bench-3", r#"{ install = "debian-12", then = "local" }"#)?;

    let router = bench.plug("dnsmasq", "02:00:00:00:00:02")?;
    router.ip(&["address", "add", "192.168.77.2/24", "dev", "eth0"])?;
    let leases = lab.scratch().join("dnsmasq.leases");
    let mut dnsmasq = router
        .command("dnsmasq")
        .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--log-dhcp", "--dhcp-option=6,192.168.77.2"])
        .args(["--interface=eth0", "--user=root", "--dhcp-range=192.168.77.50,192.168.77.60,1h", "--pid-file="])
        .arg(format!("--dhcp-leasefile={}", leases.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(lab.scratch().join("dnsmasq.log"))?)
        .spawn()
        .context("dnsmasq: is dnsmasq-base installed?")?;
    run::wait_until("dnsmasq to listen", Duration::from_secs(10), || {
        Ok(router.tool("ss", &["-Hlun", "sport = :67"])?.contains(":67").then_some(()))
    })?;

    let mut serve = Serve::start(&bench, &lab)?;
    let mode = serve.wait_for("mode-chosen", Duration::from_secs(15))?;
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
    assert!(std::fs::read_to_string(&leases)?.contains(MAC), "the address was not dnsmasq's");
    dnsmasq.kill()?;
    dnsmasq.wait()?;
    Ok(())
}
