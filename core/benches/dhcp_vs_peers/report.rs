//! The table, for people and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Fallible;
use crate::server::Kind;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Relay,
    Direct,
    New,
}

impl Row {
    pub(crate) const ALL: [Self; 3] = [Self::Relay, Self::Direct, Self::New];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Direct => "direct",
            Self::New => "new",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Relay => "relay, 5,000 clients, best step < 1 % lost",
            Self::Direct => "direct, 250 PXE clients, 32 at a time",
            Self::New => "new leases on a disk, 64 at a time",
        }
    }

    pub(crate) fn peer(self) -> Kind {
        match self {
            Self::Relay => Kind::Kea,
            Self::Direct => Kind::Dnsmasq,
            Self::New => Kind::Dhcpd,
        }
    }

    /// How many times as fast as the peer it must be, and at which part of its CPU time.
    fn wanted(self) -> (f64, f64) {
        match self {
            Self::Relay => (1.5, 0.35),
            Self::Direct => (1.5, 0.7),
            Self::New => (5.0, f64::INFINITY),
        }
    }
}

/// What became of the offers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offer {
    /// From a DISCOVER to its OFFER.
    pub(crate) p50: Duration,
    pub(crate) naks: usize,
    pub(crate) timeouts: usize,
}

/// One run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    /// Exchanges a second.
    pub(crate) rate: f64,
    /// Exchanges a second where any number may be lost.
    pub(crate) most: f64,
    /// `relay`: exchanges a second where perfdhcp's own losses count too.
    pub(crate) strict: f64,
    /// CPU seconds an exchange.
    pub(crate) cpu: f64,
    pub(crate) offer: Offer,
    /// With one client at a time.
    pub(crate) alone: Option<Offer>,
}

/// The best of several runs, each figure for itself: what disturbs a run only makes it worse. What went wrong is added up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Best {
    best: Option<Run>,
    worst_rate: f64,
}

impl Best {
    pub(crate) fn take(&mut self, run: Run) {
        let Some(best) = &mut self.best else {
            self.best = Some(run);
            self.worst_rate = run.rate;
            return;
        };
        self.worst_rate = self.worst_rate.min(run.rate);
        best.rate = best.rate.max(run.rate);
        best.most = best.most.max(run.most);
        best.strict = best.strict.max(run.strict);
        best.cpu = best.cpu.min(run.cpu);
        let add = |a: Offer, b: Offer| Offer {
            p50: a.p50.min(b.p50),
            naks: a.naks + b.naks,
            timeouts: a.timeouts + b.timeouts,
        };
        best.offer = add(best.offer, run.offer);
        best.alone = best.alone.zip(run.alone).map(|(a, b)| add(a, b));
    }

    fn run(&self) -> Run {
        self.best.unwrap_or_default()
    }
}

/// What came of a row.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) row: Row,
    pub(crate) ours: Best,
    /// None where no peer was measured.
    pub(crate) theirs: Option<Best>,
}

impl Outcome {
    /// How many times as fast, and which part of the CPU time.
    fn ratios(&self) -> Option<(f64, f64)> {
        let ours = self.ours.run();
        self.theirs.map(|theirs| (ours.rate / theirs.run().rate, ours.cpu / theirs.run().cpu))
    }

    /// Good enough, or not compared.
    pub(crate) fn passed(&self) -> bool {
        let (faster, cpu) = self.row.wanted();
        let offer = self.ours.run().offer;
        let lost = offer.naks + offer.timeouts > 0;
        let slower = |theirs: Best| self.row == Row::Direct && offer.p50 > theirs.run().offer.p50;
        !lost && self.ratios().is_none_or(|(f, c)| f >= faster && c <= cpu) && !self.theirs.is_some_and(slower)
    }

    fn verdict(&self) -> &'static str {
        match (self.theirs, self.passed()) {
            (_, false) => "short",
            (None, true) => "not compared",
            (Some(_), true) => "PASS",
        }
    }
}

pub(crate) fn table(outcomes: &[Outcome]) {
    println!(
        "{:<44} {:<15} {:>8} {:>17} {:>8} {:>8} {:>8} {:>9} {:>5} {:>8}",
        "", "", "DORA/s", "(worst, most)", "strict", "s/100k", "p50 us", "alone us", "NAKs", "timeouts"
    );
    for outcome in outcomes {
        for (name, best) in [(Kind::Bootyard.name(), Some(outcome.ours)), (outcome.row.peer().name(), outcome.theirs)] {
            let Some(best) = best else { continue };
            let run = best.run();
            let micros = |offer: Offer| match offer.p50.as_micros() {
                0 => "-".to_owned(),
                micros => micros.to_string(),
            };
            println!(
                "{:<44} {name:<15} {:>8.0} {:>17} {:>8} {:>8.2} {:>8} {:>9} {:>5} {:>8}",
                outcome.row.title(),
                run.rate,
                format!("({:.0}, {:.0})", best.worst_rate, run.most),
                if run.strict > 0.0 { format!("{:.0}", run.strict) } else { "-".to_owned() },
                run.cpu * 1e5,
                micros(run.offer),
                run.alone.map_or("-".to_owned(), micros),
                run.offer.naks + run.alone.map_or(0, |a| a.naks),
                run.offer.timeouts + run.alone.map_or(0, |a| a.timeouts),
            );
        }
        let (faster, cpu) = outcome.row.wanted();
        let cpu = if cpu.is_finite() { format!("{cpu:.2}") } else { "any".to_owned() };
        if let Some((f, c)) = outcome.ratios() {
            println!(
                "    {f:.2} x as fast (wanted {faster:.1}) at {c:.2} of its CPU (wanted {cpu}): {}",
                outcome.verdict()
            );
        }
    }
}

pub(crate) fn json(outcomes: &[Outcome]) -> Fallible<()> {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let offer = |offer: Offer| {
                json!({ "p50-seconds": offer.p50.as_secs_f64(), "naks": offer.naks, "timeouts": offer.timeouts })
            };
            let side = |best: Best| {
                let run = best.run();
                json!({
                    "exchanges-per-second": run.rate,
                    "exchanges-per-second-worst": best.worst_rate,
                    "exchanges-per-second-any-loss": run.most,
                    "exchanges-per-second-strict": run.strict,
                    "cpu-seconds-per-100k": run.cpu * 1e5,
                    "offer": offer(run.offer),
                    "offer-alone": run.alone.map(offer),
                })
            };
            json!({
                "row": outcome.row.name(),
                "title": outcome.row.title(),
                "bootyard": side(outcome.ours),
                "peer": outcome.row.peer().name(),
                "theirs": outcome.theirs.map(side),
                "faster": outcome.ratios().map(|r| r.0),
                "faster-wanted": outcome.row.wanted().0,
                "cpu": outcome.ratios().map(|r| r.1),
                "cpu-wanted": Some(outcome.row.wanted().1).filter(|c| c.is_finite()),
                "passed": outcome.theirs.map(|_| outcome.passed()),
            })
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
