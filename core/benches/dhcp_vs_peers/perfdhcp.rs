//! Kea's `perfdhcp` as a relay with many clients, in rising steps.
//!
//! A reply that reached perfdhcp and found its receive buffer full is not the server's loss: the kernel counts these, and they count
//! as served, for every server alike. An exchange that they end early is missing in the rate all the same, and the column `strict`
//! is without that allowance: where perfdhcp shares two processors with the server, it is perfdhcp that gives in first. So that this is
//! rare, perfdhcp is started with a roomy buffer; servers have what the system gives to all.

use std::time::Duration;

use crate::Fallible;
use crate::report::{Offer, Run};
use crate::server::Server;
use crate::wire::{RIGHT, SERVER, Wire};

/// Exchanges a second.
const STEPS: [u32; 17] = [
    1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 12_000, 14_000, 16_000, 18_000, 20_000, 25_000,
    30_000,
];
const CLIENTS: u32 = 5000;
/// Steps in a row that fail before the rest is taken to fail too.
const ENOUGH: u32 = 2;

/// What one step came to.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Exchanges completed.
    done: f64,
    /// Share of the exchanges begun that the server did not complete.
    dropped: f64,
    /// The same as perfdhcp counts it: with the replies for which it had no room.
    lost: f64,
    /// Exchanges completed a second.
    rate: f64,
}

/// Runs the steps. The speed is the highest step with less than one percent lost; the cost is that of the cheapest such step.
pub(crate) fn steps(wire: &Wire, server: &Server, lasts: Duration) -> Fallible<Run> {
    let mut run = Run { cpu: f64::INFINITY, ..Run::default() };
    let mut failed = 0;
    for rate in STEPS {
        let before = server.cpu()?;
        let step = step(wire, rate, lasts)?;
        let cpu = server.cpu()?.saturating_sub(before).as_secs_f64() / step.done.max(1.0);
        if std::env::var_os("BOOTYARD_BENCH_STEPS").is_some() {
            eprintln!("{rate}: {step:?}, {:.1} s/100k", cpu * 1e5);
        }
        run.most = run.most.max(step.rate);
        if step.lost < 0.01 && step.rate > 0.9 * f64::from(rate) {
            run.strict = f64::from(rate);
        }
        // perfdhcp itself may be too slow for a step; what it did not ask for was not served.
        if step.dropped < 0.01 && step.rate > 0.9 * f64::from(rate) {
            run.rate = f64::from(rate);
            run.cpu = run.cpu.min(cpu);
            failed = 0;
        } else {
            failed += 1;
            if failed == ENOUGH {
                break;
            }
        }
    }
    run.offer = Offer::default();
    Ok(run)
}

/// Where the kernel keeps how many bytes a new socket receives at most.
const DEFAULT: &str = "/proc/sys/net/core/rmem_default";

/// Sockets that are made meanwhile have room for a second of replies. It is a setting of the whole system, put back when this ends.
struct Roomy(Option<String>);

impl Roomy {
    fn make() -> Self {
        let before = std::fs::read_to_string(DEFAULT).ok();
        let made = before.is_some() && std::fs::write(DEFAULT, "33554432").is_ok();
        Self(before.filter(|_| made))
    }
}

impl Drop for Roomy {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = std::fs::write(DEFAULT, before);
        }
    }
}

/// Whether a server answers relayed clients within a second.
pub(crate) fn answers(wire: &Wire) -> Fallible<bool> {
    let mut command = wire.client_side("perfdhcp");
    let output = command.args(["-4", "-l", RIGHT, "-r", "20", "-R", "5", "-p", "1", SERVER]).output()?;
    Ok(numbers(&String::from_utf8_lossy(&output.stdout), "received packets:").iter().any(|n| *n > 0.0))
}

/// The numbers behind a label in perfdhcp's words: one for the offers, one for the acknowledgements.
fn numbers(text: &str, label: &str) -> Vec<f64> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix(label));
    values.filter_map(|v| v.split_whitespace().next()?.parse().ok()).collect()
}

/// Datagrams that found no room in a socket of the clients' side so far.
fn overflows(wire: &Wire) -> Fallible<f64> {
    let output = wire.client_side("cat").arg("/proc/net/snmp").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "RcvbufErrors").and_then(|(_, value)| value.parse().ok());
    found.ok_or_else(|| "the kernel does not count full receive buffers".into())
}

fn step(wire: &Wire, rate: u32, lasts: Duration) -> Fallible<Step> {
    let before = overflows(wire)?;
    let mut command = wire.client_side("perfdhcp");
    command.args(["-4", "-l", RIGHT, "-W", "500000", "-r", &rate.to_string(), "-R", &CLIENTS.to_string()]);
    command.args(["-p", &lasts.as_secs().to_string(), SERVER]);
    let roomy = Roomy::make();
    let output = command.output()?;
    drop(roomy);
    let text = String::from_utf8_lossy(&output.stdout);
    // 3 is "some were dropped", which is told below.
    if !matches!(output.status.code(), Some(0 | 3)) {
        return Err(format!("perfdhcp: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let (sent, received) = (numbers(&text, "sent packets:"), numbers(&text, "received packets:"));
    let (Some(begun), Some(done)) = (sent.first().copied(), received.get(1).copied()) else {
        return Err(format!("perfdhcp said something new: {text}").into());
    };
    // Its own figure counts the time in which it only waits for the last replies.
    let full = overflows(wire)? - before;
    let lost = (begun - done) / begun.max(1.0);
    let dropped = (begun - done - full).max(0.0) / begun.max(1.0);
    Ok(Step { done, dropped, lost, rate: done / lasts.as_secs_f64() })
}
