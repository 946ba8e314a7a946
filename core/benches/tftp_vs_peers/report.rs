//! The tables, for people and as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Fallible;
use crate::client::Times;
use crate::rows::{Row, Wanted};

/// What one server did in a row: of several runs the best, each figure for itself, for what disturbs a run only makes it worse.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// MiB a second, all clients together.
    rate: f64,
    /// CPU seconds a GiB.
    cpu: f64,
    /// Seconds of each transfer of all runs.
    each: Vec<f64>,
}

impl Figures {
    pub(crate) fn of(row: &Row, times: &Times, cpu: Duration) -> Self {
        let mib = row.bytes as f64 * row.clients as f64 / f64::from(1 << 20);
        Self {
            rate: mib / times.wall.as_secs_f64(),
            cpu: cpu.as_secs_f64() / mib * 1024.0,
            each: times.each.iter().map(Duration::as_secs_f64).collect(),
        }
    }

    pub(crate) fn take(&mut self, run: Self) {
        self.rate = self.rate.max(run.rate);
        self.cpu = self.cpu.min(run.cpu);
        self.each.extend(run.each);
    }

    fn median(&self) -> f64 {
        let mut each = self.each.clone();
        each.sort_by(f64::total_cmp);
        each.get(each.len() / 2).copied().unwrap_or_default()
    }

    fn longest(&self) -> f64 {
        self.each.iter().copied().fold(0.0, f64::max)
    }
}

/// What came of a row.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static Row,
    /// Ours first.
    pub(crate) figures: Vec<(&'static str, Figures)>,
}

impl Outcome {
    /// Ours and the best of the others in one figure.
    fn best(&self, figure: impl Fn(&Figures) -> f64, high: bool) -> Option<(f64, f64, &'static str)> {
        let ((first, ours), others) = self.figures.split_first()?;
        if *first != "Bootyard" {
            return None;
        }
        let sign = if high { -1.0 } else { 1.0 };
        let better = |a: &(f64, &str), b: &(f64, &str)| (a.0 * sign).total_cmp(&(b.0 * sign));
        let (value, name) = others.iter().map(|(name, theirs)| (figure(theirs), *name)).min_by(better)?;
        Some((figure(ours), value, name))
    }

    /// Each figure that is asked for: its name, ours, the best of the others, whose it is, the limit, and whether it is a least.
    fn lines(&self) -> Vec<(&'static str, f64, f64, &'static str, f64, bool)> {
        let line = |name, figure: fn(&Figures) -> f64, limit, least| {
            self.best(figure, least).map(|(ours, theirs, whose)| (name, ours, theirs, whose, limit, least))
        };
        match self.row.wanted {
            Wanted::Faster(faster, cpu) => {
                [line("MiB/s", |f| f.rate, faster, true), line("CPU s/GiB", |f| f.cpu, cpu, false)]
            }
            Wanted::Median(part) => [line("median s", Figures::median, part, false), None],
        }
        .into_iter()
        .flatten()
        .collect()
    }

    /// Good enough, or not compared.
    pub(crate) fn passed(&self) -> bool {
        self.lines().into_iter().all(|(_, ours, theirs, _, limit, least)| is_met(ours / theirs, limit, least))
    }
}

fn is_met(ratio: f64, limit: f64, least: bool) -> bool {
    if least { ratio >= limit } else { ratio <= limit }
}

pub(crate) fn table(outcomes: &[Outcome]) {
    println!("{:<38} {:<10} {:>9} {:>9} {:<10} {:>6} {:>7}", "", "", "Bootyard", "best", "of", "ratio", "wanted");
    for outcome in outcomes {
        for (nth, (figure, ours, theirs, whose, limit, least)) in outcome.lines().into_iter().enumerate() {
            let title = if nth == 0 { outcome.row.title } else { "" };
            let (ratio, sign) = (ours / theirs, if least { ">=" } else { "<=" });
            let verdict = if is_met(ratio, limit, least) { "PASS" } else { "short" };
            println!(
                "{title:<38} {figure:<10} {ours:>9.2} {theirs:>9.2} {whose:<10} {ratio:>6.2} {sign} {limit:<4.2} {verdict}"
            );
        }
    }
    println!(
        "\nAll: MiB/s, CPU seconds a GiB; on the lossy wire median and longest seconds of a transfer, CPU seconds a GiB"
    );
    for outcome in outcomes {
        println!("{}", outcome.row.title);
        for (name, figures) in &outcome.figures {
            match outcome.row.wanted {
                Wanted::Faster(..) => println!("  {name:<10} {:>8.1} {:>8.2}", figures.rate, figures.cpu),
                Wanted::Median(_) => {
                    let (median, longest) = (figures.median(), figures.longest());
                    println!("  {name:<10} {median:>8.2} {longest:>8.2} {:>8.2}", figures.cpu);
                }
            }
        }
    }
}

pub(crate) fn json(outcomes: &[Outcome]) -> Fallible<()> {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let servers: Map<String, Value> = outcome
                .figures
                .iter()
                .map(|(name, figures)| {
                    let value = json!({
                        "mib-per-second": figures.rate,
                        "cpu-seconds-per-gib": figures.cpu,
                        "median-seconds": figures.median(),
                        "longest-seconds": figures.longest(),
                    });
                    ((*name).to_owned(), value)
                })
                .collect();
            let ratios: Vec<Value> = outcome
                .lines()
                .into_iter()
                .map(|(figure, ours, theirs, whose, limit, _)| {
                    json!({ "figure": figure, "ratio": ours / theirs, "wanted": limit, "best": whose })
                })
                .collect();
            let row = outcome.row;
            json!({ "row": row.name, "servers": servers, "ratios": ratios, "passed": outcome.passed() })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
