//! Real firmware meets what goes wrong in practice: each finding is told with its proof, and goes when what it is about is mended. The
//! tests print the table of the rules of the field that are proven so, with the seconds from the last event that a finding names to the
//! finding, and from there to `bootyard hosts`; all rules are proven by exchanges in `core/src/diagnose/rules_tests`.
//!
//! * [`stops`]: ports that are closed, files that are not there, a target that refuses, an installer that goes round.
//! * [`beside`]: another DHCP server, with and without boot files of its own; offers that firmware ignores.
//! * [`disk`]: a system that cannot log in to its disk.
#![allow(clippy::print_stdout, reason = "prints a table")]

use std::time::Duration;

use anyhow::{Context, Result};
use bootyard_tests::findings::Scene;
use bootyard_tests::netns::Netns;
use bootyard_tests::qemu::{Firmware, Machine, Spec};
use bootyard_tests::run;

mod beside;
mod disk;
mod stops;

const OURS: &str = "192.168.77.1/24";
const DHCP: &str = "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"";
/// A firmware is at its first packet within this time, wherever the test runs.
const FIRMWARE: Duration = Duration::from_secs(150);
/// What comes next, comes within this time.
const SOON: Duration = Duration::from_secs(60);

fn power_on(scene: &Scene<'_>, name: &str) -> Result<Machine> {
    let firmware = if scene.firmware == "BIOS" { Firmware::Bios } else { Firmware::Uefi };
    let spec = Spec { firmware, mac: scene.mac, memory: 1024, name, serial: None };
    Machine::start(scene.bench, scene.lab.scratch(), &spec)
}

/// Waits for the script behind an event: from there on the firmware has done its part.
fn script(scene: &Scene<'_>, behind: u64) -> Result<()> {
    scene.event(behind, "script-served", FIRMWARE, |_| true)?;
    Ok(())
}

fn assign(scene: &Scene<'_>, to: &[&str]) -> Result<()> {
    run::stdout(&mut scene.lab.command(scene.bench, &[&["assign", scene.mac], to].concat())?)?;
    Ok(())
}

/// What iPXE told of a failed step, and the component of iPXE that it is from.
fn error_code(scene: &Scene<'_>, behind: u64, step: &str) -> Result<String> {
    let error = scene.event(behind, "script-error", SOON, |e| e["step"] == step)?;
    let code = format!("{:08x}", error["code"].as_u64().with_context(|| format!("no code: {error}"))?);
    let decoded = scene.lab.json(scene.bench, &["decode", "--json", &code])?;
    println!("     iPXE says {code}: {}", decoded["codes"][0]["meaning"]);
    Ok(decoded["codes"][0]["component"].as_str().unwrap_or_default().to_owned())
}

/// The firewall of the computer that serves.
struct Firewall<'a>(&'a Netns);

impl<'a> Firewall<'a> {
    fn new(bench: &'a Netns) -> Result<Self> {
        bench.tool("nft", &["add table ip wall; add chain ip wall in { type filter hook input priority 0; }"])?;
        Ok(Self(bench))
    }

    /// From now on these alone, as in `tcp dport 80`, are dropped.
    fn drops(&self, what: &[&str]) -> Result<()> {
        self.0.tool("nft", &["flush chain ip wall in"])?;
        for what in what {
            self.0.tool("nft", &[&format!("add rule ip wall in {what} drop")])?;
        }
        Ok(())
    }
}
