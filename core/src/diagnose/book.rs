//! The findings about one machine as they stand, and how a rule writes and cures them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{Certainty, Event, Finding, FindingAction};

/// A finding names at most this many events.
const MOST_EVENTS: usize = 12;
/// What the next boot alone does not cure: it is about what comes back from boot to boot.
const LASTING: [&str; 3] = ["nbp-not-started", "no-system-login", "reinstall-loop"];

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    by_id: BTreeMap<String, Finding>,
}

impl Book {
    /// Writes a finding down. One that is known already gets the new words and keeps its age and its proof.
    pub(super) fn raise(&mut self, at: Timestamp, mut finding: Finding) {
        if let Some(known) = self.by_id.get(&finding.id) {
            finding.since = known.since;
            let new = std::mem::replace(&mut finding.events, known.events.clone());
            finding.events.extend(new.into_iter().filter(|n| !known.events.contains(n)));
        }
        finding.events.truncate(MOST_EVENTS);
        finding.since.get_or_insert(at);
        self.by_id.insert(finding.id.clone(), finding);
    }

    /// Takes these findings out.
    pub(super) fn cure(&mut self, ids: &[&str]) {
        self.by_id.retain(|id, _| !ids.contains(&id.as_str()));
    }

    /// The machine starts over: what its last boot met is history.
    pub(super) fn new_boot(&mut self) {
        self.by_id.retain(|id, _| LASTING.contains(&id.as_str()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All of them, worst first.
    pub(super) fn list(&self) -> Vec<Finding> {
        let mut list: Vec<_> = self.by_id.values().cloned().collect();
        list.sort_by_key(|f| std::cmp::Reverse(f.severity));
        list
    }
}

impl Finding {
    /// How sure it is.
    pub(crate) fn sure(self, certainty: Certainty) -> Self {
        Self { certainty, ..self }
    }

    /// The events that prove it.
    pub(crate) fn proven_by(self, events: &[u64]) -> Self {
        Self { events: events.to_vec(), ..self }
    }

    /// What a button can do about it.
    pub(crate) fn cured_by(self, action: FindingAction) -> Self {
        Self { action: Some(action), ..self }
    }
}

/// A silence that means something if it lasts until `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// The event behind which something was to come.
    pub(super) behind: u64,
    /// Until when.
    pub(super) until: Timestamp,
}

impl Wait {
    /// For so many seconds behind this event.
    pub(super) fn behind(event: &Event, seconds: i64) -> Self {
        let until = event.time.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        Self { behind: event.seq, until }
    }

    /// Takes it if it has lasted.
    pub(super) fn over(slot: &mut Option<Self>, now: Timestamp) -> Option<u64> {
        slot.take_if(|wait| wait.until <= now).map(|wait| wait.behind)
    }
}
