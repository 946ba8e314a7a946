//! What happened to one machine, as the engine would fold it: events with their times, and the silence behind them.

use std::time::Duration;

use crate::api::{Event, EventKind, Finding, HostId, Source, VERSION};
use crate::diagnose::{Findings, LabFindings};
use crate::hosts::Host;
use crate::machine::Now;
use crate::net::MacAddr;

pub(super) const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

/// See the module's text. Times are milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Tale {
    events: Vec<(u64, EventKind)>,
    mac: MacAddr,
    clock: u64,
    end: Option<u64>,
}

impl Tale {
    /// Begins with an engine that has been serving for a while.
    pub(super) fn new() -> Self {
        let started = EventKind::EngineStarted { interfaces: vec!["br0".into()] };
        Self { events: vec![(0, started)], mac: MAC, clock: 3_600_000, end: None }
    }

    /// Goes on at this time.
    pub(super) fn at(clock: u64) -> Self {
        Self { events: Vec::new(), mac: MAC, clock, end: None }
    }

    /// Of a machine with this MAC.
    pub(super) fn of(self, mac: MacAddr) -> Self {
        Self { mac, ..self }
    }

    /// So much later.
    pub(super) fn wait(mut self, ms: u64) -> Self {
        self.clock += ms;
        self
    }

    /// This happens, a few milliseconds later.
    pub(super) fn then(mut self, kind: EventKind) -> Self {
        self.clock += 5;
        self.events.push((self.clock, kind));
        self
    }

    /// This happens at this time.
    pub(super) fn exactly(mut self, at: u64, kind: EventKind) -> Self {
        self.clock = at;
        self.events.push((at, kind));
        self
    }

    /// Nothing more for so long.
    pub(super) fn silence(mut self, ms: u64) -> Self {
        self.end = Some(self.clock + ms);
        self
    }

    /// It is looked at at this time.
    pub(super) fn until(mut self, ms: u64) -> Self {
        self.end = Some(ms);
        self
    }

    /// Another tale follows, behind the silence of this one.
    pub(super) fn and(mut self, other: &Self) -> Self {
        let from = self.ends().1;
        let first = other.events.first().map_or(0, |(at, _)| *at);
        let shift = if first <= from { from + 1000 - first.min(from) } else { 0 };
        self.events.extend(other.events.iter().map(|(at, kind)| (at + shift, kind.clone())));
        self.clock = self.events.last().map_or(from, |(at, _)| *at);
        self.end = other.end.map(|end| end + shift);
        self
    }

    /// When the last event was, and when it is looked at.
    pub(super) fn ends(&self) -> (u64, u64) {
        let last = self.events.last().map_or(self.clock, |(at, _)| *at);
        (last, self.end.unwrap_or(last))
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        seq >= 1 && usize::try_from(seq).is_ok_and(|n| n <= self.events.len())
    }

    /// What is known at the end.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.fold(|_, _| {}).list()
    }

    /// The deadline behind the last event.
    pub(super) fn deadline(&self) -> Option<u64> {
        let (last, _) = self.ends();
        let at = self.clone().until(last).fold(|_, _| {}).deadline()?;
        let start = Now::at(Duration::ZERO).wall;
        u64::try_from(at.duration_since(start).as_millis()).ok()
    }

    /// Every finding that was there at any time, with the event at which it was seen.
    pub(super) fn every_finding(&self) -> Vec<(u64, Finding)> {
        let mut all = Vec::new();
        self.fold(|seq, findings| all.extend(findings.list().into_iter().map(|f| (seq, f))));
        all
    }

    fn fold(&self, mut look: impl FnMut(u64, &Findings)) -> Findings {
        let (mut lab, mut host, mut findings) = (LabFindings::default(), Host::default(), Findings::default());
        let wall = |ms| Now::at(Duration::from_millis(ms)).wall;
        let mut seq = 0;
        for (at, kind) in &self.events {
            while findings.deadline().is_some_and(|due| due <= wall(*at)) {
                let due = findings.deadline().unwrap();
                findings.due(due, lab.around());
                look(seq, &findings);
            }
            seq += 1;
            let event = Event {
                v: VERSION,
                seq,
                time: wall(*at),
                host: Some(HostId(1)),
                mac: Some(self.mac),
                source: Source::Served,
                kind: kind.clone(),
            };
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event, "it crosses to other programs: {json}");
            let of_lab = matches!(
                event.kind,
                EventKind::EngineStarted { .. } | EventKind::SpanningTree { .. } | EventKind::ImageTrouble { .. }
            );
            if !of_lab {
                if host.apply(&event).new_boot {
                    findings.clear();
                }
                findings.apply(&event, lab.around());
            }
            lab.apply(&event);
            look(seq, &findings);
        }
        let end = wall(self.ends().1);
        while findings.deadline().is_some_and(|due| due <= end) {
            let due = findings.deadline().unwrap();
            findings.due(due, lab.around());
            look(seq, &findings);
        }
        findings
    }
}
