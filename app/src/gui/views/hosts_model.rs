//! Which machines the table shows, in which order, and which of them are selected. No drawing here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use bootyard_core::api::{HostId, HostView, Severity, Snapshot, Stage};
use bootyard_core::lang::{Language, said, spoken};
use jiff::Timestamp;

use super::disks_model::natural;
use crate::gui::lang::t;
use crate::gui::say;

/// A chip above the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Chip {
    /// Every machine.
    #[default]
    All,
    /// Those that want a person.
    Waiting,
    /// Those on their way.
    Booting,
    /// Those that arrived.
    Running,
    /// Those that stopped.
    Failed,
}

impl Chip {
    /// As the chips stand.
    pub(crate) const ALL: [Self; 5] = [Self::All, Self::Waiting, Self::Booting, Self::Running, Self::Failed];

    /// On the chip.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::All => t!("All"),
            Self::Waiting => t!("Waiting"),
            Self::Booting => t!("Booting"),
            Self::Running => t!("Running"),
            Self::Failed => t!("Failed"),
        }
    }

    /// So many of it.
    pub(crate) fn count(self, n: usize) -> String {
        match self {
            Self::All => t!("{n} in all", n = n),
            Self::Waiting => t!("{n} waiting", n = n),
            Self::Booting => t!("{n} booting", n = n),
            Self::Running => t!("{n} running", n = n),
            Self::Failed => t!("{n} failed", n = n),
        }
    }

    /// Whether a machine belongs to it.
    pub(crate) fn has(self, host: &HostView) -> bool {
        match self {
            Self::All => true,
            Self::Waiting => host.stage == Stage::Waiting,
            Self::Booting => !matches!(
                host.stage,
                Stage::Absent | Stage::Waiting | Stage::Running | Stage::OsLogin | Stage::Local | Stage::Failed
            ),
            Self::Running => matches!(host.stage, Stage::Running | Stage::OsLogin | Stage::Local),
            Self::Failed => host.stage == Stage::Failed,
        }
    }
}

/// By what the table is sorted; within equals, in order of first sight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The snapshot's own order.
    #[default]
    FirstSeen,
    /// How far.
    Stage,
    /// What it is called.
    Name,
    /// Its hardware address.
    Mac,
    /// Who made its network card.
    Maker,
    /// Where it is.
    Address,
    /// What it is.
    Model,
    /// What its firmware is made for.
    Firmware,
    /// What it gets.
    Assignment,
    /// What is wrong first, then how much of its transfer is left.
    Now,
    /// Since when it is at its stage, the latest first.
    AtStage,
    /// When its boot began, the latest first.
    Boot,
}

/// A part of the table with a line of its own above it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Section {
    /// A group of lab.toml.
    Group(String),
    /// The machines of no group, where there are groups.
    Ungrouped,
    /// Those that are done or were not heard of for long.
    Gone,
}

impl Section {
    /// On its line.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Group(name) => name,
            Self::Ungrouped => t!("No group"),
            Self::Gone => t!("Gone and finished"),
        }
    }
}

/// What a section's line says of its machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Which.
    pub(crate) section: Section,
    /// Its machines are shown.
    pub(crate) open: bool,
    /// Machines of it that the filter leaves, in the order of the table.
    pub(crate) machines: Vec<HostId>,
    /// How many of them are in each state, as [`Chip::ALL`] without the first.
    pub(crate) states: [usize; 4],
    /// Bytes a second that they load, all together.
    pub(crate) rate: u64,
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// The line of a section: index into [`List::sections`].
    Section(usize),
    /// A machine: index into the snapshot's.
    Machine(usize),
}

/// The table's lines from the first to the last.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// All lines.
    pub(crate) rows: Vec<Row>,
    /// The sections; none where all machines are in one.
    pub(crate) sections: Vec<Sum>,
    /// Machines that have a line, in its order.
    pub(crate) shown: Vec<HostId>,
    /// Machines that the filter leaves, in open sections or closed ones.
    pub(crate) matching: usize,
}

impl List {
    /// The line of the machine that is the `at`th of those shown.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        let machines = self.rows.iter().enumerate().filter(|(_, row)| matches!(row, Row::Machine(_)));
        machines.map(|(line, _)| line).nth(at).unwrap_or(0)
    }
}

/// What a person chose: chip, filter, order, selection.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// The chip.
    pub(crate) chip: Chip,
    /// The text.
    pub(crate) filter: String,
    /// The order.
    pub(crate) sort: Sort,
    /// The other way round.
    pub(crate) descending: bool,
    /// The selected machines.
    pub(crate) selected: BTreeSet<HostId>,
    /// Sections that a person closed.
    closed: BTreeSet<Section>,
    /// A person opened or closed the machines that are gone; they are shown where nobody else is.
    gone: Option<bool>,
    /// Where Shift begins.
    anchor: Option<HostId>,
    /// The row that the arrows move from.
    cursor: Option<HostId>,
    /// The snapshot that the selection was last held against.
    pruned: Option<u64>,
    searched: Searched,
    /// The lines as they were last made, and of what.
    made: Option<(Of, Rc<List>)>,
}

/// All that the table's lines depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Of {
    /// The snapshot, by the number that the window gave it: two with the same last event may differ.
    number: u64,
    /// A machine is out of the way after some time.
    second: i64,
    language: Language,
    chip: Chip,
    filter: String,
    sort: (Sort, bool),
    closed: BTreeSet<Section>,
    gone: Option<bool>,
}

/// What the filter looks at, of each machine that has not changed since.
#[derive(Debug, Default)]
struct Searched {
    language: Language,
    texts: HashMap<HostId, (Arc<HostView>, String)>,
}

impl Searched {
    /// Forgets what is not to be used any more: texts of another language, machines that are gone.
    fn renew(&mut self, shot: &Snapshot) {
        let language = spoken();
        if self.language != language {
            self.texts.clear();
            self.language = language;
        }
        if self.texts.len() > shot.hosts.len() {
            let there: HashSet<HostId> = shot.hosts.iter().map(|h| h.id).collect();
            self.texts.retain(|id, _| there.contains(id));
        }
    }

    /// Whether a machine has all of these words, which are in lower case.
    fn has(&mut self, host: &Arc<HostView>, needles: &[String]) -> bool {
        if needles.is_empty() {
            return true;
        }
        // What is held cannot be another machine's view at the same place in memory.
        let text = match self.texts.entry(host.id) {
            std::collections::hash_map::Entry::Occupied(entry) if Arc::ptr_eq(&entry.get().0, host) => {
                &entry.into_mut().1
            }
            entry => {
                let new = (host.clone(), searched(host));
                match entry {
                    std::collections::hash_map::Entry::Occupied(mut old) => {
                        old.insert(new);
                        &old.into_mut().1
                    }
                    std::collections::hash_map::Entry::Vacant(place) => &place.insert(new).1,
                }
            }
        };
        needles.iter().all(|needle| text.contains(needle.as_str()))
    }
}

impl Choice {
    /// The table's lines of the snapshot with this number: those of the last frame, where nothing that they depend on is another.
    pub(crate) fn lines(&mut self, shot: &Snapshot, number: u64, now: Timestamp) -> Rc<List> {
        let of = Of {
            number,
            second: now.as_second(),
            language: spoken(),
            chip: self.chip,
            filter: self.filter.clone(),
            sort: (self.sort, self.descending),
            closed: self.closed.clone(),
            gone: self.gone,
        };
        if let Some((_, list)) = self.made.as_ref().filter(|(made, _)| *made == of) {
            return list.clone();
        }
        let list = Rc::new(self.list(shot, now));
        self.made = Some((of, list.clone()));
        list
    }

    /// The same, made anew.
    pub(crate) fn list(&mut self, shot: &Snapshot, now: Timestamp) -> List {
        let needles: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        self.searched.renew(shot);
        let (chip, searched) = (self.chip, &mut self.searched);
        let fitting = shot.hosts.iter().enumerate().filter(|(_, h)| chip.has(h) && searched.has(h, &needles));
        let mut order: Vec<usize> = fitting.map(|(at, _)| at).collect();
        self.sort(shot, &mut order);
        let mut list = List { matching: order.len(), ..List::default() };
        let mut parts: BTreeMap<Section, Vec<usize>> = BTreeMap::new();
        for at in order {
            let Some(host) = shot.hosts.get(at) else { continue };
            let section = match &host.group {
                Some(group) => Section::Group(group.clone()),
                None if is_gone(host, now) => Section::Gone,
                None => Section::Ungrouped,
            };
            parts.entry(section).or_default().push(at);
        }
        let grouped = parts.keys().any(|s| matches!(s, Section::Group(_)));
        let alone = parts.len() == 1;
        for (section, part) in parts {
            let with_line = section == Section::Gone || grouped;
            let open = match section {
                // What was searched for, and all that there is, is not hidden.
                Section::Gone => self.gone.unwrap_or(alone) || !needles.is_empty(),
                _ => !self.closed.contains(&section),
            };
            if with_line {
                list.rows.push(Row::Section(list.sections.len()));
                list.sections.push(sum(shot, section, open, &part, now));
            }
            if open || !with_line {
                list.shown.extend(part.iter().filter_map(|at| shot.hosts.get(*at)).map(|h| h.id));
                list.rows.extend(part.into_iter().map(Row::Machine));
            }
        }
        list
    }

    fn sort(&self, shot: &Snapshot, order: &mut [usize]) {
        let host = |at: &usize| shot.hosts.get(*at);
        match self.sort {
            Sort::FirstSeen => {}
            Sort::Stage => order.sort_by_key(|at| std::cmp::Reverse(host(at).map(|h| h.stage))),
            Sort::Name => order.sort_by_cached_key(|at| host(at).map(|h| natural(&say::host_name(h)))),
            Sort::Mac => order.sort_by_key(|at| host(at).and_then(|h| h.macs.first()).map(|m| m.0)),
            Sort::Maker => order.sort_by_key(|at| host(at).map(|h| (h.vendor.is_none(), h.vendor.as_deref()))),
            Sort::Address => order.sort_by_key(|at| host(at).map(|h| (h.ip.is_none(), h.ip))),
            Sort::Model => {
                order.sort_by_cached_key(|at| {
                    host(at).map(|h| say::host_model(h).map_or((true, String::new()), |m| (false, m)))
                });
            }
            Sort::Firmware => order.sort_by_key(|at| host(at).and_then(|h| h.arch).map(say::arch)),
            Sort::Assignment => order.sort_by_cached_key(|at| host(at).map(|h| say::boot(&h.boot))),
            Sort::Now => order.sort_by_key(|at| host(at).map(|h| urgency(h))),
            Sort::AtStage => order.sort_by_key(|at| std::cmp::Reverse(host(at).and_then(|h| h.since))),
            Sort::Boot => order.sort_by_key(|at| std::cmp::Reverse(host(at).and_then(|h| say::boot_began(h)))),
        }
        if self.descending {
            order.reverse();
        }
    }

    /// A click on a column's title: by it, by it the other way round, as it was at first.
    pub(crate) fn sort_by(&mut self, sort: Sort) {
        (self.sort, self.descending) = match (self.sort == sort, self.descending) {
            (false, _) => (sort, false),
            (true, false) => (sort, true),
            (true, true) => (Sort::FirstSeen, false),
        };
    }

    /// Opens a section, or closes it.
    pub(crate) fn fold(&mut self, section: &Section, open: bool) {
        match section {
            Section::Gone => self.gone = Some(open),
            section if open => {
                self.closed.remove(section);
            }
            section => {
                self.closed.insert(section.clone());
            }
        }
    }

    /// Forgets machines that are gone.
    pub(crate) fn prune(&mut self, shot: &Snapshot, number: u64) {
        if self.selected.is_empty() || self.pruned == Some(number) {
            return;
        }
        self.pruned = Some(number);
        let there: HashSet<HostId> = shot.hosts.iter().map(|h| h.id).collect();
        self.selected.retain(|id| there.contains(id));
    }

    /// A click on a row. Ctrl adds or takes away, Shift takes the rows from the last click to here.
    pub(crate) fn click(&mut self, shown: &[HostId], id: HostId, ctrl: bool, shift: bool) {
        if shift {
            self.range_to(shown, id, ctrl);
        } else if ctrl {
            if !self.selected.remove(&id) {
                self.selected.insert(id);
            }
            self.anchor = Some(id);
        } else {
            self.selected = [id].into();
            self.anchor = Some(id);
        }
        self.cursor = Some(id);
    }

    fn range_to(&mut self, shown: &[HostId], id: HostId, keep: bool) {
        let at = |id: HostId| shown.iter().position(|s| *s == id);
        let to = at(id).unwrap_or(0);
        let from = self.anchor.and_then(at).unwrap_or(to);
        if !keep {
            self.selected.clear();
        }
        self.selected.extend(shown.iter().skip(from.min(to)).take(from.abs_diff(to) + 1));
    }

    /// An arrow key: `by` rows down, `extend` with Shift. Returns the row to scroll to.
    pub(crate) fn step(&mut self, shown: &[HostId], by: isize, extend: bool) -> Option<usize> {
        let last = shown.len().checked_sub(1)?;
        let here = self.cursor.and_then(|c| shown.iter().position(|s| *s == c));
        let to = match here {
            Some(here) => here.saturating_add_signed(by).min(last),
            None if by < 0 => last,
            None => 0,
        };
        let id = *shown.get(to)?;
        if extend {
            self.range_to(shown, id, false);
            self.anchor = self.anchor.or(Some(id));
            self.cursor = Some(id);
        } else {
            self.click(shown, id, false, false);
        }
        Some(to)
    }

    /// Selects all that are shown.
    pub(crate) fn all(&mut self, shown: &[HostId]) {
        self.selected = shown.iter().copied().collect();
    }

    /// Selected machines in the order of the list.
    pub(crate) fn selected(&self, shot: &Snapshot) -> Vec<HostId> {
        shot.hosts.iter().map(|h| h.id).filter(|id| self.selected.contains(id)).collect()
    }

    /// The row that Enter opens.
    pub(crate) fn cursor(&self) -> Option<HostId> {
        self.cursor.filter(|c| self.selected.contains(c)).or_else(|| self.selected.first().copied())
    }
}

/// After so many seconds without a sign of life a machine that is off, or on its own disk, is out of the way.
const GONE_AFTER: i64 = 600;

/// Whether nobody waits for it: it is off or runs from its own disk, and was not heard of for long. Machines of a group have their
/// place there; those that lab.toml names and that never came are still expected; those with something wrong are to be looked at.
fn is_gone(host: &HostView, now: Timestamp) -> bool {
    let idle = matches!(host.stage, Stage::Absent | Stage::Local) && host.findings.is_empty();
    let heard = [host.last_seen, host.woken].into_iter().flatten().max();
    idle && match heard {
        Some(heard) => now.duration_since(heard).as_secs() > GONE_AFTER,
        None => !host.configured,
    }
}

fn sum(shot: &Snapshot, section: Section, open: bool, part: &[usize], now: Timestamp) -> Sum {
    let hosts = || part.iter().filter_map(|at| shot.hosts.get(*at));
    let states =
        [Chip::Waiting, Chip::Booting, Chip::Running, Chip::Failed].map(|chip| hosts().filter(|h| chip.has(h)).count());
    let loading = hosts().filter(|h| Chip::Booting.has(h)).filter_map(|h| say::progress_now(h, now));
    let rate = loading.map(|p| p.rate).sum();
    Sum { section, open, machines: hosts().map(|h| h.id).collect(), states, rate }
}

/// What is wrong first, then transfers with the longest time left, then the rest.
fn urgency(host: &HostView) -> (u8, std::cmp::Reverse<i64>) {
    let left = host.progress.as_ref().and_then(say::seconds_left);
    let rank = match host.findings.iter().map(|f| f.severity).max() {
        Some(Severity::Error) => 0,
        Some(Severity::Warning) => 1,
        _ if host.boot_problem.is_some() => 1,
        _ if left.is_some() => 2,
        _ => 3,
    };
    (rank, std::cmp::Reverse(left.unwrap_or(0)))
}

/// All that the filter looks at, in lower case. A word has no line end in it, so it is found in one of them or in none.
fn searched(host: &HostView) -> String {
    let mut all: Vec<&str> = Vec::new();
    let told = [&host.name, &host.vendor, &host.group, &host.manufacturer, &host.product, &host.serial, &host.activity];
    all.extend(told.into_iter().filter_map(|text| text.as_deref()));
    all.push(say::stage(host.stage));
    all.extend(host.arch.map(say::arch));
    let findings: Vec<_> = host.findings.iter().map(|f| said(&f.seen)).collect();
    all.extend(findings.iter().map(|seen| &**seen));
    let mut text = all.join("\n");
    let made = host.macs.iter().map(ToString::to_string).chain(host.ip.map(|ip| ip.to_string()));
    for more in made.chain([say::boot(&host.boot)]) {
        text.push('\n');
        text.push_str(&more);
    }
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::gui::tests::sample;
    use bootyard_core::lab::Boot;
    use jiff::SignedDuration;
    use std::sync::Arc;

    fn shot(hosts: Vec<HostView>) -> Snapshot {
        Snapshot { hosts: hosts.into_iter().map(Arc::new).collect(), ..sample::bench(0) }
    }

    fn in_group(n: u64, group: &str, stage: Stage) -> HostView {
        HostView { group: Some(group.into()), ..sample::host(n, stage, Boot::Wait) }
    }

    fn names(list: &List, shot: &Snapshot) -> Vec<String> {
        let text = |row: &Row| match row {
            Row::Section(n) => format!("# {}", list.sections[*n].section.text()),
            Row::Machine(at) => say::host_name(&shot.hosts[*at]),
        };
        list.rows.iter().map(text).collect()
    }

    #[test]
    fn groups_are_sections_that_close_and_say_how_their_machines_are() {
        let mut loading = in_group(2, "room-1", Stage::Loading);
        loading.progress = Some(bootyard_core::api::Progress { done: 1, total: 9, rate: 300 });
        let hosts = vec![
            sample::host(9, Stage::Waiting, Boot::Wait),
            in_group(3, "room-2", Stage::Failed),
            in_group(1, "room-1", Stage::Running),
            loading,
        ];
        let shot = shot(hosts);
        let mut choice = Choice { sort: Sort::Name, ..Choice::default() };
        let now = Timestamp::now();
        let list = choice.list(&shot, now);
        assert_eq!(names(&list, &shot), ["# room-1", "pc-01", "pc-02", "# room-2", "pc-03", "# No group", "pc-09"]);
        assert_eq!((list.sections[0].states, list.sections[0].rate), ([0, 1, 1, 0], 300));
        assert_eq!(list.line_of(2), 4);
        choice.fold(&Section::Group("room-1".into()), false);
        let list = choice.list(&shot, now);
        assert_eq!(names(&list, &shot)[..3], ["# room-1", "# room-2", "pc-03"]);
        assert_eq!(list.sections[0].machines, [HostId(1), HostId(2)], "closed, they can still be meant all together");
        assert_eq!((list.shown.len(), list.matching), (2, 4));
    }

    #[test]
    fn machines_that_nobody_waits_for_are_out_of_the_way_and_are_found_when_searched() {
        let now = Timestamp::now();
        let at = |minutes| Some(now - SignedDuration::from_mins(minutes));
        let host = |n, stage, last_seen| HostView { last_seen, ..sample::host(n, stage, Boot::Local) };
        let expected = host(1, Stage::Absent, None);
        let stranger = HostView { configured: false, ..host(2, Stage::Absent, None) };
        let wrong = HostView { findings: vec![sample::trouble()], ..host(6, Stage::Absent, at(60)) };
        let seated = HostView { group: Some("room".into()), ..host(7, Stage::Absent, at(60)) };
        let hosts = vec![
            expected,
            stranger,
            host(3, Stage::Absent, at(2)),
            host(4, Stage::Absent, at(60)),
            host(5, Stage::Local, at(60)),
            wrong,
            seated,
            host(8, Stage::Running, at(60)),
        ];
        let shot = shot(hosts);
        let mut choice = Choice::default();
        let list = choice.list(&shot, now);
        assert_eq!(list.sections.last().unwrap().machines, [HostId(2), HostId(4), HostId(5)]);
        assert!(!list.shown.contains(&HostId(4)) && list.shown.contains(&HostId(1)));
        choice.filter = "pc-04".into();
        assert_eq!(choice.list(&shot, now).shown, [HostId(4)]);
        let alone = Snapshot { hosts: vec![shot.hosts[3].clone()], ..sample::bench(0) };
        assert_eq!(Choice::default().list(&alone, now).shown, [HostId(4)], "nobody else is there");
    }

    #[test]
    fn a_title_sorts_one_way_then_the_other_then_not_and_numbers_count() {
        let shot = shot([10, 2, 1].map(|n| sample::host(n, Stage::Waiting, Boot::Wait)).into());
        let mut choice = Choice::default();
        let now = Timestamp::now();
        let mut ids = |sort| {
            choice.sort_by(sort);
            choice.list(&shot, now).shown.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(Sort::Name), [1, 2, 10]);
        assert_eq!(ids(Sort::Name), [10, 2, 1]);
        assert_eq!(ids(Sort::Name), [10, 2, 1], "as they came");
        assert_eq!(ids(Sort::Mac), [1, 2, 10]);
        assert!(natural("pc-2") < natural("pc-10") && natural("a9b2") < natural("a9b10"));
    }

    #[test]
    fn a_filter_has_words_that_must_all_be_there() {
        let shot = shot(vec![sample::host(1, Stage::Waiting, Boot::Wait), sample::host(2, Stage::Loading, Boot::Wait)]);
        let found =
            |filter: &str| Choice { filter: filter.into(), ..Choice::default() }.list(&shot, Timestamp::now()).shown;
        assert_eq!(found("dell load"), [HostId(2)]);
        assert_eq!(found("optiplex"), [HostId(1), HostId(2)]);
        assert!(found("dell solaris").is_empty());
    }

    fn ids(n: u64) -> Vec<HostId> {
        (1..=n).map(HostId).collect()
    }

    #[test]
    fn shift_takes_a_range_in_the_order_shown_and_ctrl_single_rows() {
        let shown = vec![HostId(5), HostId(2), HostId(9), HostId(1)];
        let mut choice = Choice::default();
        choice.click(&shown, HostId(2), false, false);
        choice.click(&shown, HostId(1), false, true);
        assert_eq!(choice.selected, [HostId(2), HostId(9), HostId(1)].into());
        choice.click(&shown, HostId(9), true, false);
        assert_eq!(choice.selected, [HostId(2), HostId(1)].into());
        choice.click(&shown, HostId(5), false, false);
        assert_eq!(choice.selected, [HostId(5)].into());
    }

    #[test]
    fn arrows_move_and_shift_extends_and_shrinks() {
        let shown = ids(4);
        let mut choice = Choice::default();
        assert_eq!(choice.step(&shown, 1, false), Some(0));
        assert_eq!(choice.step(&shown, 1, true), Some(1));
        assert_eq!(choice.step(&shown, 1, true), Some(2));
        assert_eq!(choice.selected.len(), 3);
        assert_eq!(choice.step(&shown, -1, true), Some(1));
        assert_eq!(choice.selected, [HostId(1), HostId(2)].into());
        assert_eq!(choice.step(&shown, 100, false), Some(3));
        assert_eq!(choice.step(&[], 1, false), None);
    }

    #[test]
    fn lines_are_kept_from_frame_to_frame_and_never_shown_when_something_changed() {
        let (one, two) = (sample::host(1, Stage::Waiting, Boot::Wait), sample::host(2, Stage::Loading, Boot::Wait));
        let mut shot = shot(vec![one, two]);
        let mut choice = Choice::default();
        let now = Timestamp::now();
        let first = choice.lines(&shot, 1, now);
        assert!(Rc::ptr_eq(&first, &choice.lines(&shot, 1, now)));
        choice.filter = "loading".into();
        assert_eq!(choice.lines(&shot, 1, now).shown, [HostId(2)], "another filter");
        // The same last event, and another state: time passed, or a job made something.
        Arc::make_mut(&mut shot.hosts[0]).stage = Stage::Loading;
        assert_eq!(choice.lines(&shot, 2, now).shown, [HostId(1), HostId(2)], "another snapshot");
        Arc::make_mut(&mut shot.hosts[1]).stage = Stage::Failed;
        assert_eq!(choice.lines(&shot, 3, now).shown, [HostId(1)]);
        choice.filter.clear();
        choice.sort_by(Sort::Name);
        choice.sort_by(Sort::Name);
        assert_eq!(choice.lines(&shot, 3, now).shown, [HostId(2), HostId(1)], "another order");
        choice.chip = Chip::Failed;
        assert_eq!(choice.lines(&shot, 3, now).shown, [HostId(2)], "another chip");
        shot.hosts.remove(1);
        choice.chip = Chip::All;
        choice.filter = "pc".into();
        assert_eq!(choice.lines(&shot, 4, now).shown, [HostId(1)], "one that is gone");
        assert!(choice.searched.texts.len() <= 1, "is forgotten, too");
    }

    #[test]
    fn a_machine_is_out_of_the_way_when_its_time_has_come_though_nothing_happened() {
        let now = Timestamp::now();
        let seen = Some(now - SignedDuration::from_secs(GONE_AFTER - 1));
        let off = HostView { last_seen: seen, ..sample::host(1, Stage::Absent, Boot::Local) };
        let shot = shot(vec![off, sample::host(2, Stage::Running, Boot::Local)]);
        let mut choice = Choice::default();
        assert_eq!(choice.lines(&shot, 1, now).shown.len(), 2);
        assert_eq!(choice.lines(&shot, 1, now + SignedDuration::from_secs(5)).shown, [HostId(2)]);
    }
}
