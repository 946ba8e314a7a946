//! Where the time goes from a machine's first DISCOVER to its script: each step with its seconds, for BIOS and UEFI, with our addresses and
//! beside dnsmasq's. Prints a table; `tests/run boot-times` shows it.

use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::bootyard::{LabDir, Serve, is, seconds_between};
use bootyard_tests::dnsmasq::Dnsmasq;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use serde_json::Value;

/// What is no step of a boot, or comes with each piece of a transfer.
const NOISE: [&str; 4] = ["tftp-progress", "http-progress", "stage-changed", "inventory"];

/// Boots a machine until it has its script; its events from the first on.
fn boot(firmware: Firmware, proxy: bool) -> Result<Vec<Value>> {
    let (kind, mac) = match firmware {
        Firmware::Bios => ("bios", "52:54:00:00:07:01"),
        Firmware::Uefi | Firmware::UefiSecure => ("uefi", "52:54:00:00:07:02"),
    };
    let mode = if proxy { "proxy" } else { "dhcp" };
    let bench = Netns::bench(&format!("t{kind}{mode}"), Some("192.168.77.1/24"))?;
    let range = if proxy { "" } else { "\nrange = \"192.168.77.20-192.168.77.40\"" };
    let mut lab = LabDir::new(&format!("boot-times-{kind}-{mode}"), &format!("mode = \"{mode}\"{range}"))?;
    lab.add_host(mac, kind, "\"wait\"")?;
    let _dnsmasq = if proxy { Some(Dnsmasq::start(&bench, lab.scratch(), &["--no-ping"])?) } else { None };
    let mut serve = Serve::start(&bench, &lab)?;
    let spec = Spec { firmware, mac, memory: 512, name: kind, serial: None };
    let _machine = Machine::start(&bench, lab.scratch(), &spec)?;
    serve.wait_for_event("script-served", Duration::from_secs(120), |e| is(e, "script-served", mac))?;
    lab.no_findings(&bench, mac)?;
    let steps = serve.events().into_iter().filter(|e| e["mac"] == mac && NOISE.iter().all(|noise| e["kind"] != *noise));
    Ok(steps.collect())
}

/// An event in a few words.
fn words(event: &Value) -> String {
    let named = ["client", "file", "path", "method", "address", "dialect"];
    let detail = named.iter().filter_map(|key| event[*key].as_str()).collect::<Vec<_>>().join(" ");
    format!("{} {detail}", event["kind"].as_str().unwrap_or_default())
}

#[expect(clippy::print_stdout, reason = "a table of the test run, for people")]
fn show(title: &str, steps: &[Value]) -> Result<f64> {
    let first = steps.first().context("no event of the machine")?;
    println!("\n{title}\n   at s    step s");
    let mut before = first;
    for step in steps {
        println!("{:7.2}   {:7.2}  {}", seconds_between(first, step)?, seconds_between(before, step)?, words(step));
        before = step;
    }
    let nbp = steps.iter().find(|e| e["kind"] == "tftp-request");
    let from = nbp.unwrap_or(first);
    seconds_between(from, before)
}

#[test]
fn each_step_has_its_time() -> Result<()> {
    let mut last = Vec::new();
    for (firmware, name) in [(Firmware::Bios, "BIOS with iPXE in its ROM"), (Firmware::Uefi, "UEFI (EDK2)")] {
        for proxy in [false, true] {
            let title = format!("{name}, {}", if proxy { "beside dnsmasq" } else { "our addresses" });
            let steps = boot(firmware, proxy)?;
            assert!(steps.iter().any(|e| e["kind"] == "dhcp-discover"), "{title}: {steps:?}");
            last.push((show(&title, &steps)?, title));
        }
    }
    for (seconds, title) in last {
        told(seconds, &title);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a table of the test run, for people")]
fn told(seconds: f64, title: &str) {
    println!(
        "{seconds:7.2} s from the request for the boot file (the first DISCOVER without one) to the script: {title}"
    );
}
