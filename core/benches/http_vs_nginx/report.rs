//! The table, for people and as JSON.

use serde_json::{Value, json};

use crate::Fallible;
use crate::load::{Row, Run, Work};

/// The best of several runs, each figure for itself: what disturbs a run only makes it worse.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Best {
    /// Requests a second.
    rate: f64,
    /// Bytes a second.
    bytes: f64,
    /// CPU seconds a request.
    cpu: f64,
    /// CPU seconds a byte.
    cpu_byte: f64,
}

impl Best {
    pub(crate) fn take(&mut self, run: &Run) {
        let first = self.bytes == 0.0;
        self.rate = self.rate.max(run.requests / run.seconds);
        self.bytes = self.bytes.max(run.bytes / run.seconds);
        let less = |old: f64, new: f64| if first { new } else { old.min(new) };
        self.cpu = less(self.cpu, run.cpu / run.requests);
        self.cpu_byte = less(self.cpu_byte, run.cpu / run.bytes);
    }

    /// MiB or thousands of requests a second.
    fn speed(&self, row: &Row) -> f64 {
        if row.work == Work::Small { self.rate / 1e3 } else { self.bytes / f64::from(1 << 20) }
    }

    /// CPU seconds a GiB or for 100,000 requests.
    fn cost(&self, row: &Row) -> f64 {
        if row.work == Work::Small { self.cpu * 1e5 } else { self.cpu_byte * f64::from(1 << 30) }
    }
}

/// What came of a row.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static Row,
    pub(crate) ours: Best,
    pub(crate) theirs: Best,
}

impl Outcome {
    /// How many times as fast.
    fn faster(&self) -> f64 {
        self.ours.speed(self.row) / self.theirs.speed(self.row)
    }

    /// How many times the CPU time.
    fn cpu(&self) -> f64 {
        self.ours.cost(self.row) / self.theirs.cost(self.row)
    }

    /// Good enough.
    pub(crate) fn passed(&self) -> bool {
        self.row.faster.is_none_or(|wanted| self.faster() >= wanted)
            && self.row.cpu.is_none_or(|most| self.cpu() <= most)
    }
}

pub(crate) fn table(outcomes: &[Outcome]) {
    println!(
        "{:<36} {:>12} {:>12} {:>7} {:>7}   {:>9} {:>9} {:>6} {:>7}",
        "", "Bootyard", "nginx", "faster", "wanted", "CPU ours", "nginx", "ratio", "at most"
    );
    for outcome in outcomes {
        let row = outcome.row;
        let (unit, cost) = if row.work == Work::Small { ("k/s", "s/100k") } else { ("MiB/s", "s/GiB") };
        let speed = |best: &Best| format!("{:.*} {unit}", usize::from(row.work == Work::Small), best.speed(row));
        let wanted = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        println!(
            "{:<36} {:>12} {:>12} {:>6.2}x {:>7}   {:>9.3} {:>9.3} {:>6.2} {:>7} {cost:<6} {}",
            row.title,
            speed(&outcome.ours),
            speed(&outcome.theirs),
            outcome.faster(),
            wanted(row.faster),
            outcome.ours.cost(row),
            outcome.theirs.cost(row),
            outcome.cpu(),
            wanted(row.cpu),
            if outcome.passed() { "PASS" } else { "short" }
        );
    }
}

pub(crate) fn json(outcomes: &[Outcome]) -> Fallible<()> {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let side = |best: &Best| {
                json!({
                    "requests-per-second": best.rate,
                    "bytes-per-second": best.bytes,
                    "cpu-seconds-per-100k": best.cpu * 1e5,
                    "cpu-seconds-per-gib": best.cpu_byte * f64::from(1 << 30),
                })
            };
            json!({
                "row": outcome.row.name,
                "title": outcome.row.title,
                "bootyard": side(&outcome.ours),
                "nginx": side(&outcome.theirs),
                "faster": outcome.faster(),
                "faster-wanted": outcome.row.faster,
                "cpu": outcome.cpu(),
                "cpu-at-most": outcome.row.cpu,
                "passed": outcome.passed(),
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
