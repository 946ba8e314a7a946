//! Findings about a machine: checked for their proof and their order in time, and printed as a table of what was provoked, how, and what
//! was then said.
#![allow(clippy::print_stdout, reason = "prints a table")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::bootyard::{LabDir, Serve, is, time_of};
use crate::netns::Netns;

/// A machine whose findings are looked at, and where.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The bench.
    pub bench: &'a Netns,
    /// The lab.
    pub lab: &'a LabDir,
    /// Its engine.
    pub serve: &'a Serve,
    /// The machine.
    pub mac: &'a str,
    /// What its firmware is, for the table.
    pub firmware: &'a str,
}

/// A finding that says all, and whose events were told.
///
/// # Errors
/// What it lacks.
pub fn check_whole(serve: &Serve, finding: &Value) -> Result<()> {
    for part in ["seen", "means", "remedy", "certainty", "since"] {
        ensure!(finding[part].as_str().is_some_and(|text| !text.is_empty()), "no {part}: {finding}");
    }
    ensure!(!events_of(serve, finding)?.is_empty(), "it names no event: {finding}");
    Ok(())
}

/// The events that a finding names.
fn events_of(serve: &Serve, finding: &Value) -> Result<Vec<Value>> {
    let all = serve.events();
    let named = finding["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let find = |seq: &Value| {
        all.iter().find(|e| e["seq"] == *seq).cloned().with_context(|| format!("no event {seq}: {finding}"))
    };
    named.iter().map(find).collect()
}

impl Scene<'_> {
    /// Waits for a finding, checks it and prints a row of the table: `rule` is its number among the rules of the field.
    ///
    /// # Errors
    /// It did not come within `patience`, is not whole, or came before what it names.
    pub fn told(&self, rule: &str, how: &str, id: &str, patience: Duration) -> Result<Value> {
        let finding = self.lab.wait_for_finding_within(self.bench, self.mac, id, true, patience)?;
        check_whole(self.serve, &finding)?;
        let now = Timestamp::now();
        let since: Timestamp = finding["since"].as_str().context("since")?.parse()?;
        let times: Vec<Timestamp> = events_of(self.serve, &finding)?.iter().map(time_of).collect::<Result<_>>()?;
        // Events that came after it was told may stand with it as further proof.
        let last = times.into_iter().filter(|time| *time <= since).max();
        let last = last.with_context(|| format!("it was told before anything that it names: {finding}"))?;
        let (after, shown) = (since.duration_since(last).as_secs_f64(), now.duration_since(since).as_secs_f64());
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        println!(
            "{rule:<4} {:<10} {id:<20} +{after:>5.2} s ({shown:>4.1} s)  {how}\n     {} {} {} [{}]",
            self.firmware,
            text("seen"),
            text("means"),
            text("remedy"),
            text("certainty"),
        );
        Ok(finding)
    }

    /// Waits until a finding is gone.
    ///
    /// # Errors
    /// It did not go within `patience`.
    pub fn cured(&self, id: &str, how: &str, patience: Duration) -> Result<()> {
        self.lab.wait_for_finding_within(self.bench, self.mac, id, false, patience)?;
        println!("     cured: {how}");
        Ok(())
    }

    /// The number of the newest event, to wait for what comes behind it.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.serve.events().iter().filter_map(|e| e["seq"].as_u64()).max().unwrap_or_default()
    }

    /// The first event of this kind and machine behind `seq` that `wanted` accepts.
    ///
    /// # Errors
    /// None came within `patience`: with the last events.
    pub fn event(&self, seq: u64, kind: &str, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.any_event(seq, kind, patience, |e| is(e, kind, self.mac) && wanted(e))
    }

    /// The same of an event that is about no machine, or about any.
    ///
    /// # Errors
    /// As [`Scene::event`].
    pub fn any_event(
        &self,
        seq: u64,
        kind: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let until = Instant::now() + patience;
        loop {
            let events = self.serve.events();
            let of = |e: &&Value| e["kind"] == kind && e["seq"].as_u64().is_some_and(|n| n > seq) && wanted(e);
            if let Some(found) = events.iter().find(of) {
                return Ok(found.clone());
            }
            if Instant::now() >= until {
                let last: Vec<String> = events.iter().rev().take(20).rev().map(ToString::to_string).collect();
                bail!("no event `{kind}` after {} s; last events:\n{}", patience.as_secs(), last.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
