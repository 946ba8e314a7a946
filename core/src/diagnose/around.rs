//! What a machine's rules must know of the lab around it: since when we serve, what the switch speaks, what is wrong with disks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{Event, EventKind};

/// Interfaces and disks that are remembered.
const MOST: usize = 256;

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// Since when we serve.
    pub(super) started: Option<Timestamp>,
    /// The longest delay of a spanning tree that was seen, in seconds, with the event that told of it.
    pub(super) tree: Option<(u16, u64)>,
    /// What is known to keep machines from booting a disk, with the event that told of it.
    pub(super) troubles: BTreeMap<String, (Vec<String>, u64)>,
}

impl Around {
    /// Takes in one event, whomever it is about.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::EngineStarted { .. } => self.started = Some(event.time),
            EventKind::EngineStopped { .. } => (self.started, self.tree) = (None, None),
            EventKind::SpanningTree { delay_seconds, .. } if self.tree.is_none_or(|(d, _)| d <= *delay_seconds) => {
                self.tree = Some((*delay_seconds, event.seq));
            }
            EventKind::ImageTrouble { disk, troubles } if troubles.is_empty() => drop(self.troubles.remove(disk)),
            EventKind::ImageTrouble { disk, troubles }
                if self.troubles.len() < MOST || self.troubles.contains_key(disk) =>
            {
                self.troubles.insert(disk.clone(), (troubles.clone(), event.seq));
            }
            // What was committed may well have mended it.
            EventKind::DiskDeleted { disk } | EventKind::DiskCommitted { disk, .. } => drop(self.troubles.remove(disk)),
            _ => {}
        }
    }

    /// The event that told of this trouble of a disk.
    pub(super) fn trouble(&self, disk: &str, trouble: &str) -> Option<u64> {
        let (troubles, seq) = self.troubles.get(disk)?;
        troubles.iter().any(|t| t == trouble).then_some(*seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Source, VERSION};

    fn told(around: &mut Around, kind: EventKind) {
        let time = Timestamp::UNIX_EPOCH;
        around.apply(&Event { v: VERSION, seq: 1, time, host: None, mac: None, source: Source::Served, kind });
    }

    fn trouble(disk: &str, trouble: &str) -> EventKind {
        EventKind::ImageTrouble { disk: disk.into(), troubles: vec![trouble.into()] }
    }

    #[test]
    fn a_disk_that_is_known_is_followed_even_when_no_other_can_be_remembered() {
        let mut around = Around::default();
        for n in 0..=MOST {
            told(&mut around, trouble(&format!("d{n}"), "no-bios-loader"));
        }
        assert_eq!(around.trouble(&format!("d{MOST}"), "no-bios-loader"), None);
        told(&mut around, trouble("d0", "no-uefi-loader"));
        assert_eq!(around.trouble("d0", "no-bios-loader"), None);
        assert_eq!(around.trouble("d0", "no-uefi-loader"), Some(1));
    }

    #[test]
    fn of_a_disk_that_was_written_to_nothing_is_known() {
        let mut around = Around::default();
        told(&mut around, trouble("d", "no-uefi-loader"));
        told(&mut around, EventKind::DiskCommitted { disk: "d".into(), of: "pc-1".into(), generation: 2 });
        assert_eq!(around.trouble("d", "no-uefi-loader"), None);
    }
}
