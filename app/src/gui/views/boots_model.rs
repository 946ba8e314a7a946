//! The boots of a machine, compared: each in the same phases, what is usual, and what took longer. No drawing here.

use std::collections::BTreeMap;

use bootyard_core::api::{Stage, StepPart};
use bootyard_core::hosts::{BootOutcome, BootRecord, BootStep};
use bootyard_core::lab::Boot;
use jiff::Timestamp;

use crate::gui::lang::t;
use crate::gui::say;

/// A phase is slower than usual if it takes half as long again, and by so many milliseconds.
const SLOWER_BY: u64 = 1000;

/// A part of a boot that has its own column, in the order of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The firmware asks for its address.
    Firmware,
    /// It loads its boot file.
    BootFile,
    /// iPXE asks.
    Ipxe,
    /// It has its script.
    Script,
    /// It waits for a technician; that is nobody's fault.
    Waiting,
    /// It loads Xen.
    Hypervisor,
    /// It loads the kernel.
    Kernel,
    /// It loads initrds.
    Initrd,
    /// It loads what is not known more precisely.
    Loading,
    /// The firmware logs in to the disk.
    DiskLogin,
    /// The kernel starts.
    OsStart,
    /// The system asks for its address.
    OsAddress,
}

impl Phase {
    fn of(step: &BootStep) -> Option<Self> {
        Some(match (step.stage, step.part) {
            (Stage::Seen | Stage::Addressed, _) => Self::Firmware,
            (Stage::Firmware, _) => Self::BootFile,
            (Stage::Ipxe, _) => Self::Ipxe,
            (Stage::Script, _) => Self::Script,
            (Stage::Waiting, _) => Self::Waiting,
            (Stage::Loading, Some(StepPart::Hypervisor)) => Self::Hypervisor,
            (Stage::Loading, Some(StepPart::Kernel)) => Self::Kernel,
            (Stage::Loading, Some(StepPart::Initrd)) => Self::Initrd,
            (Stage::Loading, _) => Self::Loading,
            (Stage::SanLogin, _) => Self::DiskLogin,
            (Stage::OsStarted, Some(StepPart::SystemAddress)) => Self::OsAddress,
            (Stage::OsStarted, _) => Self::OsStart,
            _ => return None,
        })
    }

    /// Above its column.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Firmware => t!("Firmware DHCP"),
            Self::BootFile => t!("Boot file"),
            Self::Ipxe => t!("iPXE DHCP"),
            Self::Script => t!("Script"),
            Self::Waiting => t!("Waiting"),
            Self::Hypervisor => t!("Hypervisor"),
            Self::Kernel => t!("Kernel"),
            Self::Initrd => t!("Initrds"),
            Self::Loading => t!("Loading"),
            Self::DiskLogin => t!("Disk login"),
            Self::OsStart => t!("OS start"),
            Self::OsAddress => t!("OS address"),
        }
    }
}

/// A phase of one boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// How long, in milliseconds.
    pub(crate) millis: u64,
    /// What is usual, where that is known.
    pub(crate) usual: Option<u64>,
    /// Longer than usual, by enough to matter.
    pub(crate) slower: bool,
    /// Ended in an error.
    pub(crate) failed: bool,
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// Repetitions.
    pub(crate) retries: u32,
}

/// One boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// When.
    pub(crate) began: Timestamp,
    /// What it was given, as the window says it.
    pub(crate) given: String,
    /// How it ended.
    pub(crate) outcome: BootOutcome,
    /// From the first packet to where it arrived, without what it waited for a person; `None` where it did not arrive.
    pub(crate) total: Option<Cell>,
    /// Its phases.
    pub(crate) cells: BTreeMap<Phase, Cell>,
    /// A later boot began while this one was under way.
    pub(crate) given_up: bool,
}

/// All boots, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Boots {
    /// A row each.
    pub(crate) rows: Vec<Row>,
    /// The columns that any of them has.
    pub(crate) phases: Vec<Phase>,
    /// What took longer in the newest one, in a sentence.
    pub(crate) verdict: String,
    /// Whether that is a complaint.
    pub(crate) slower: bool,
}

/// The records, which come the newest first.
pub(crate) fn model(records: &[BootRecord]) -> Boots {
    let mut rows: Vec<Row> = records.iter().map(row).collect();
    for at in 0..rows.len() {
        let Some((this, earlier)) = records.get(at).zip(records.get(at + 1..)) else { continue };
        let usual = usual(this.given.as_ref(), earlier);
        let Some(row) = rows.get_mut(at) else { continue };
        row.given_up = at > 0 && row.outcome == BootOutcome::Underway;
        for (phase, cell) in row.cells.iter_mut().filter(|(phase, _)| **phase != Phase::Waiting) {
            compare(cell, usual.phases.get(phase).copied());
        }
        if let Some(total) = &mut row.total {
            compare(total, usual.total);
        }
    }
    let mut phases: Vec<Phase> = rows.iter().flat_map(|row| row.cells.keys().copied()).collect();
    phases.sort_unstable();
    phases.dedup();
    let (verdict, slower) = rows.first().map(verdict).unwrap_or_default();
    Boots { rows, phases, verdict, slower }
}

fn compare(cell: &mut Cell, usual: Option<u64>) {
    cell.usual = usual;
    cell.slower = usual.is_some_and(|usual| cell.millis > usual + usual / 2 && cell.millis > usual + SLOWER_BY);
}

fn row(record: &BootRecord) -> Row {
    let mut cells: BTreeMap<Phase, Cell> = BTreeMap::new();
    for step in &record.steps {
        let Some(phase) = Phase::of(step) else { continue };
        let cell = cells.entry(phase).or_default();
        cell.millis += step.millis.unwrap_or(0);
        cell.bytes = cell.bytes.saturating_add(step.bytes);
        cell.retries = cell.retries.saturating_add(step.retries);
        cell.failed |= step.failed;
    }
    let total = arrived(record).map(|millis| Cell { millis, ..Cell::default() });
    Row {
        began: record.began,
        given: record.given.as_ref().map(say::boot).unwrap_or_default(),
        outcome: record.outcome,
        total,
        cells,
        given_up: false,
    }
}

/// Milliseconds until it arrived, without what it waited for a person.
fn arrived(record: &BootRecord) -> Option<u64> {
    let there =
        |step: &&BootStep| matches!(step.stage, Stage::OsLogin | Stage::Running | Stage::Installing | Stage::Local);
    let end = record.steps.iter().find(there)?.at;
    let waits = record.steps.iter().filter(|step| step.stage == Stage::Waiting && step.at < end);
    let waited: u64 = waits.filter_map(|step| step.millis).sum();
    (record.outcome == BootOutcome::Arrived).then(|| end.saturating_sub(waited))
}

#[derive(Debug, Default)]
struct Usual {
    phases: BTreeMap<Phase, u64>,
    total: Option<u64>,
}

/// The median of those that arrived and were given the same.
fn usual(given: Option<&Boot>, earlier: &[BootRecord]) -> Usual {
    let alike = earlier.iter().filter(|r| r.outcome == BootOutcome::Arrived);
    // As long as it was given nothing, it is compared with all.
    let alike: Vec<&BootRecord> = alike.filter(|r| given.is_none() || r.given.as_ref() == given).collect();
    let mut times: BTreeMap<Phase, Vec<u64>> = BTreeMap::new();
    for record in &alike {
        for (phase, cell) in row(record).cells {
            times.entry(phase).or_default().push(cell.millis);
        }
    }
    let phases = times.into_iter().filter_map(|(phase, all)| Some((phase, median(all)?))).collect();
    Usual { phases, total: median(alike.iter().filter_map(|r| arrived(r)).collect()) }
}

fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

/// What took longer in a boot, and whether something did.
fn verdict(row: &Row) -> (String, bool) {
    let mut slower: Vec<(Phase, Cell)> =
        row.cells.iter().filter(|(_, cell)| cell.slower).map(|(phase, cell)| (*phase, *cell)).collect();
    slower.sort_by_key(|(_, cell)| std::cmp::Reverse(cell.millis - cell.usual.unwrap_or(0)));
    let mut parts = Vec::new();
    if let Some(failed) = row.cells.iter().find(|(_, cell)| cell.failed).map(|(phase, _)| phase)
        && row.outcome == BootOutcome::Failed
    {
        parts.push(t!("It stopped at {phase}.", phase = failed.text()));
    }
    for (phase, cell) in slower.iter().take(3) {
        let (took, usual) = (time(cell.millis), time(cell.usual.unwrap_or(0)));
        parts.push(t!("{phase}: {took}, usually {usual}.", phase = phase.text(), took = took, usual = usual));
    }
    match row.total {
        Some(Cell { millis, usual: Some(usual), .. }) => {
            let (took, usual_text) = (time(millis), time(usual));
            let text = if slower.is_empty() && millis + SLOWER_BY < usual && millis + millis / 4 < usual {
                t!("Faster than usual: {took} in all, usually {usual}.", took = took, usual = usual_text)
            } else if slower.is_empty() {
                t!("As usual: {took} in all, usually {usual}.", took = took, usual = usual_text)
            } else {
                t!("In all {took}, usually {usual}.", took = took, usual = usual_text)
            };
            parts.push(text);
        }
        Some(Cell { millis, .. }) => parts.push(t!(
            "{took} in all; no earlier boot with the same assignment arrived, so there is nothing to compare it with.",
            took = time(millis)
        )),
        None => {}
    }
    (parts.join(" "), !slower.is_empty() || row.outcome == BootOutcome::Failed)
}

/// Milliseconds as the window says them.
pub(crate) fn time(millis: u64) -> String {
    say::span(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gui::tests::sample::{iscsi, remembered};

    #[test]
    fn what_took_longer_this_time_is_said_in_a_sentence() {
        let usual = |n| remembered(n, iscsi("room-1"), &[900, 1700, 1500, 3100, 6000]);
        let slow = remembered(9, iscsi("room-1"), &[900, 1700, 1500, 12_400, 6000]);
        let boots = model(&[slow, usual(3), usual(2), usual(1)]);
        assert_eq!(boots.verdict, "Kernel: 12.4 s, usually 3.1 s. In all 22.5 s, usually 13.2 s.");
        assert!(boots.slower);
        assert_eq!(boots.phases, [Phase::Firmware, Phase::BootFile, Phase::Ipxe, Phase::Kernel, Phase::Initrd]);
        let kernel = boots.rows[0].cells[&Phase::Kernel];
        assert_eq!((kernel.millis, kernel.usual, kernel.slower), (12_400, Some(3100), true));
        assert!(!boots.rows[0].cells[&Phase::Initrd].slower);
    }

    #[test]
    fn only_boots_that_were_given_the_same_and_arrived_are_compared() {
        let times = [900, 1700, 1500, 3100, 6000];
        let other = remembered(1, iscsi("other"), &[1, 1, 1, 1, 1]);
        let failed = BootRecord { outcome: BootOutcome::Failed, ..remembered(2, iscsi("room-1"), &[1, 1, 1, 1, 1]) };
        let alone = model(&[remembered(3, iscsi("room-1"), &times), failed.clone(), other.clone()]);
        assert!(alone.verdict.contains("nothing to compare it with"), "{}", alone.verdict);
        assert!(!alone.slower);
        let usual = remembered(0, iscsi("room-1"), &times);
        let again = model(&[remembered(3, iscsi("room-1"), &times), failed, other, usual]);
        assert_eq!(again.verdict, "As usual: 13.2 s in all, usually 13.2 s.");
    }

    #[test]
    fn waiting_for_a_person_counts_nowhere_and_a_boot_that_another_followed_was_given_up() {
        let times = [900, 1700, 1500, 3100, 6000];
        let mut waited = remembered(3, iscsi("room-1"), &times);
        let later = |step: &BootStep| BootStep { at: step.at + 600_000, ..step.clone() };
        waited.steps = [
            waited.steps[..3].to_vec(),
            vec![BootStep { stage: Stage::Waiting, at: 4100, millis: Some(600_000), ..BootStep::default() }],
            waited.steps[3..].iter().map(later).collect(),
        ]
        .concat();
        let under_way = BootRecord { outcome: BootOutcome::Underway, ..remembered(2, iscsi("room-1"), &times) };
        let boots = model(&[waited, under_way, remembered(1, iscsi("room-1"), &times)]);
        assert_eq!(boots.rows[0].total.map(|t| t.millis), Some(13_200));
        assert!(!boots.slower && boots.rows[1].given_up && boots.rows[1].total.is_none());
    }
}
