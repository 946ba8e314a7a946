//! The table, for people and as JSON.

use serde_json::{Value, json};

use crate::Fallible;
use crate::clients::Run;
use crate::rows::Row;

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
        let first = self.rate == 0.0;
        self.rate = self.rate.max(run.requests / run.seconds);
        self.bytes = self.bytes.max(run.bytes / run.seconds);
        let less = |old: f64, new: f64| if first { new } else { old.min(new) };
        self.cpu = less(self.cpu, run.cpu / run.requests);
        self.cpu_byte = less(self.cpu_byte, run.cpu / run.bytes);
    }

    /// MB/s or requests a second.
    fn speed(&self, row: &Row) -> f64 {
        if row.large() { self.bytes / 1e6 } else { self.rate }
    }

    /// CPU seconds a GiB or for 100,000 requests.
    fn cost(&self, row: &Row) -> f64 {
        if row.large() { self.cpu_byte * f64::from(1 << 30) } else { self.cpu * 1e5 }
    }
}

/// What came of a row.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static Row,
    pub(crate) ours: Best,
    /// None where tgt was not measured.
    pub(crate) theirs: Option<Best>,
}

impl Outcome {
    /// How many times as fast, and which part of the CPU time.
    fn ratios(&self) -> Option<(f64, f64)> {
        self.theirs.map(|theirs| (self.ours.rate / theirs.rate, self.ours.cpu / theirs.cpu))
    }

    /// Good enough, or not compared.
    pub(crate) fn passed(&self) -> bool {
        self.ratios().is_none_or(|(faster, cpu)| faster >= self.row.faster && cpu <= self.row.cpu)
    }

    fn verdict(&self) -> &'static str {
        match self.theirs {
            None => "not compared",
            Some(_) if self.passed() => "PASS",
            Some(_) => "short",
        }
    }
}

pub(crate) fn table(outcomes: &[Outcome]) {
    println!(
        "{:<42} {:>12} {:>12} {:>7} {:>6}   {:>9} {:>9} {:>6} {:>6}",
        "", "Bootyard", "tgt", "faster", "wanted", "CPU ours", "CPU tgt", "ratio", "wanted"
    );
    for outcome in outcomes {
        let row = outcome.row;
        let (unit, cost) = if row.large() { ("MB/s", "s/GiB") } else { ("IOPS", "s/100k") };
        let speed = |best: Best| format!("{:.0} {unit}", best.speed(row));
        let theirs = outcome.theirs.map_or("-".to_owned(), speed);
        let theirs_cost = outcome.theirs.map_or("-".to_owned(), |best| format!("{:.2}", best.cost(row)));
        let (faster, cpu) = outcome
            .ratios()
            .map_or(("-".to_owned(), "-".to_owned()), |(faster, cpu)| (format!("{faster:.2}x"), format!("{cpu:.2}")));
        println!(
            "{:<42} {:>12} {theirs:>12} {faster:>7} {:>5.1}x   {:>9.2} {theirs_cost:>9} {cpu:>6} {:>6.2} {cost:<6} {}",
            row.title,
            speed(outcome.ours),
            row.faster,
            outcome.ours.cost(row),
            row.cpu,
            outcome.verdict()
        );
    }
}

pub(crate) fn json(outcomes: &[Outcome]) -> Fallible<()> {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let row = outcome.row;
            let side = |best: Best| {
                json!({
                    "requests-per-second": best.rate,
                    "bytes-per-second": best.bytes,
                    "cpu-seconds-per-100k": best.cpu * 1e5,
                    "cpu-seconds-per-gib": best.cpu_byte * f64::from(1 << 30),
                })
            };
            json!({
                "row": row.name,
                "title": row.title,
                "bootyard": side(outcome.ours),
                "tgt": outcome.theirs.map(side),
                "faster": outcome.ratios().map(|r| r.0),
                "faster-wanted": row.faster,
                "cpu": outcome.ratios().map(|r| r.1),
                "cpu-wanted": row.cpu,
                "passed": outcome.theirs.map(|_| outcome.passed()),
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
