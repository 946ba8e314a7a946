//! The events that the window has seen: more than a snapshot carries, in order, each with its line.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bootyard_core::api::{Event, HostId, Severity, Snapshot};
use bootyard_core::lang::{Language, spoken};

use crate::gui::event_text;
use crate::gui::say;

/// Events that are kept; the oldest go first.
const MOST: usize = 5000;

/// An event and what is shown of it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) event: Arc<Event>,
    pub(super) text: String,
    /// The same in lower case, for the filter.
    searched: String,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<Line>,
    /// What the lines are in.
    language: Language,
}

impl Line {
    fn of(event: Arc<Event>) -> Self {
        let text = event_text::line(&event.kind);
        Self { event, searched: text.to_lowercase(), text }
    }
}

/// Which of them are shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// With this text, as it was typed.
    pub(super) text: String,
    /// At least this grave.
    pub(super) least: Severity,
    /// Of this machine.
    pub(super) host: Option<HostId>,
    /// None after this one: the list is held.
    pub(super) held: Option<u64>,
}

impl Default for Choice {
    fn default() -> Self {
        Self { text: String::new(), least: Severity::Info, host: None, held: None }
    }
}

impl Log {
    /// Takes in what is new in a snapshot. Cheap where nothing is.
    pub(super) fn take(&mut self, shot: &Snapshot) {
        if self.language != spoken() {
            self.language = spoken();
            self.lines.iter_mut().for_each(|line| *line = Line::of(line.event.clone()));
        }
        let last = self.last();
        let new = shot.recent.iter().rev().take_while(|event| last.is_none_or(|last| event.seq > last)).count();
        for event in shot.recent.iter().skip(shot.recent.len() - new) {
            self.lines.push_back(Line::of(event.clone()));
        }
        let surplus = self.lines.len().saturating_sub(MOST);
        self.lines.drain(..surplus);
    }

    /// The number of the newest.
    pub(super) fn last(&self) -> Option<u64> {
        self.lines.back().map(|line| line.event.seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// How many came after this one.
    pub(super) fn after(&self, seq: u64) -> usize {
        self.lines.len() - self.lines.partition_point(|line| line.event.seq <= seq)
    }

    /// Those that are shown, newest first.
    pub(super) fn shown(&self, choice: &Choice, names: &Names) -> Vec<&Line> {
        let needle = choice.text.trim().to_lowercase();
        let until = choice.held.map_or(self.lines.len(), |seq| self.lines.partition_point(|l| l.event.seq <= seq));
        self.lines
            .range(..until)
            .rev()
            .filter(|line| line.event.kind.severity() >= choice.least)
            .filter(|line| choice.host.is_none_or(|host| line.event.host == Some(host)))
            .filter(|line| needle.is_empty() || line.searched.contains(&needle) || names.has(&line.event, &needle))
            .collect()
    }
}

/// What machines are called now.
#[derive(Debug)]
pub(super) struct Names(HashMap<HostId, (String, String)>);

impl Names {
    pub(super) fn of(shot: &Snapshot) -> Self {
        let name = |host: &Arc<bootyard_core::api::HostView>| {
            let name = say::host_name(host);
            (host.id, (name.clone(), name.to_lowercase()))
        };
        Self(shot.hosts.iter().map(name).collect())
    }

    /// Whose event it is; empty where it is nobody's.
    pub(super) fn who(&self, event: &Event) -> String {
        let host = event.host.and_then(|id| self.0.get(&id)).map(|(name, _)| name.clone());
        host.or_else(|| event.mac.map(|mac| mac.to_string())).unwrap_or_default()
    }

    fn has(&self, event: &Event, needle: &str) -> bool {
        let named = event.host.and_then(|id| self.0.get(&id)).is_some_and(|(_, name)| name.contains(needle));
        named || event.mac.is_some_and(|mac| mac.to_string().contains(needle))
    }
}

#[cfg(test)]
mod tests {
    use bootyard_core::api::{EventKind, Source, VERSION};

    use super::*;

    fn shot(seqs: std::ops::Range<u64>) -> Snapshot {
        let event = |seq| {
            let kind = EventKind::LabChanged;
            let (time, source) = (jiff::Timestamp::UNIX_EPOCH, Source::Served);
            Arc::new(Event { v: VERSION, seq, time, host: Some(HostId(seq % 3)), mac: None, source, kind })
        };
        Snapshot { recent: seqs.map(event).collect(), ..Snapshot::default() }
    }

    #[test]
    fn snapshots_that_overlap_give_each_event_once_and_the_oldest_go() {
        let mut log = Log::default();
        for begin in (0..12_000).step_by(100) {
            log.take(&shot(begin..begin + 200));
            log.take(&shot(begin..begin + 200));
        }
        assert_eq!((log.len(), log.last()), (MOST, Some(12_099)));
        let all = Choice { least: Severity::Debug, ..Choice::default() };
        let names = Names::of(&Snapshot::default());
        let seqs: Vec<u64> = log.shown(&all, &names).iter().map(|line| line.event.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[0] == pair[1] + 1), "newest first, none twice, none missing");
        let held = Choice { held: Some(12_000), host: Some(HostId(0)), ..all };
        assert_eq!(log.after(12_000), 99);
        let shown = log.shown(&held, &names);
        assert_eq!(shown.first().map(|line| line.event.seq), Some(12_000));
        assert!(shown.iter().all(|line| line.event.host == Some(HostId(0))));
    }
}
