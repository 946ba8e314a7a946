//! The table, for people and as JSON.

use serde_json::{Value, json};

use crate::Fallible;
use crate::common::Best;
use crate::load::{Row, Work};

/// MiB or thousands of requests a second.
fn speed(best: &Best, row: &Row) -> f64 {
    if row.work == Work::Small { best.rate / 1e3 } else { best.bytes / f64::from(1 << 20) }
}

/// CPU seconds a GiB or for 100,000 requests.
fn cost(best: &Best, row: &Row) -> f64 {
    if row.work == Work::Small { best.cpu * 1e5 } else { best.cpu_byte * f64::from(1 << 30) }
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
        speed(&self.ours, self.row) / speed(&self.theirs, self.row)
    }

    /// How many times the CPU time.
    fn cpu(&self) -> f64 {
        cost(&self.ours, self.row) / cost(&self.theirs, self.row)
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
        let (unit, per) = if row.work == Work::Small { ("k/s", "s/100k") } else { ("MiB/s", "s/GiB") };
        let shown = |best: &Best| format!("{:.*} {unit}", usize::from(row.work == Work::Small), speed(best, row));
        let wanted = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        println!(
            "{:<36} {:>12} {:>12} {:>6.2}x {:>7}   {:>9.3} {:>9.3} {:>6.2} {:>7} {per:<6} {}",
            row.title,
            shown(&outcome.ours),
            shown(&outcome.theirs),
            outcome.faster(),
            wanted(row.faster),
            cost(&outcome.ours, row),
            cost(&outcome.theirs, row),
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
