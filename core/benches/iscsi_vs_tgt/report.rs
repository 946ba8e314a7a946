//! The table, for people and as JSON.

use serde_json::{Value, json};

use crate::Fallible;
use crate::common::Best;
use crate::rows::Row;

/// MB/s or requests a second.
fn speed(best: &Best, row: &Row) -> f64 {
    if row.large() { best.bytes / 1e6 } else { best.rate }
}

/// CPU seconds a GiB or for 100,000 requests.
fn cost(best: &Best, row: &Row) -> f64 {
    if row.large() { best.cpu_byte * f64::from(1 << 30) } else { best.cpu * 1e5 }
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

    /// Whether it is good enough, by the figures as they are shown: the third decimal is noise. None where it is not compared or not
    /// judged.
    fn judged(&self) -> Option<bool> {
        let ((faster, cpu), wanted) = (self.ratios()?, self.row.wanted.as_ref()?);
        let hundredths = |figure: f64| (figure * 100.0).round();
        Some(hundredths(faster) >= hundredths(wanted.faster) && hundredths(cpu) <= hundredths(wanted.cpu))
    }

    /// Nothing is wrong with it.
    pub(crate) fn passed(&self) -> bool {
        self.judged() != Some(false)
    }

    fn verdict(&self) -> &'static str {
        match self.judged() {
            Some(true) => "PASS",
            Some(false) => "short",
            None if self.theirs.is_none() => "not compared",
            None => "not judged",
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
        let (unit, per) = if row.large() { ("MB/s", "s/GiB") } else { ("IOPS", "s/100k") };
        let shown = |best: Best| format!("{:.0} {unit}", speed(&best, row));
        let theirs = outcome.theirs.map_or("-".to_owned(), shown);
        let theirs_cost = outcome.theirs.map_or("-".to_owned(), |best| format!("{:.2}", cost(&best, row)));
        let (faster, cpu) = outcome
            .ratios()
            .map_or(("-".to_owned(), "-".to_owned()), |(faster, cpu)| (format!("{faster:.2}x"), format!("{cpu:.2}")));
        let (faster_wanted, cpu_wanted) = row.wanted.as_ref().map_or(("-".to_owned(), "-".to_owned()), |wanted| {
            (format!("{:.1}x", wanted.faster), format!("{:.2}", wanted.cpu))
        });
        println!(
            "{:<42} {:>12} {theirs:>12} {faster:>7} {faster_wanted:>6}   {:>9.2} {theirs_cost:>9} {cpu:>6} {cpu_wanted:>6} {per:<6} {}",
            row.title,
            shown(outcome.ours),
            cost(&outcome.ours, row),
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
                "faster-wanted": row.wanted.as_ref().map(|wanted| wanted.faster),
                "cpu": outcome.ratios().map(|r| r.1),
                "cpu-wanted": row.wanted.as_ref().map(|wanted| wanted.cpu),
                "passed": outcome.judged(),
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
