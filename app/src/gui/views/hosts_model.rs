//! Which machines the table shows, in which order, and which of them are selected. No drawing here.

use std::collections::BTreeSet;

use bootyard_core::api::{HostId, HostView, Snapshot, Stage};

use crate::gui::say;

/// A chip above the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Group {
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

impl Group {
    /// As the chips stand.
    pub(crate) const ALL: [Self; 5] = [Self::All, Self::Waiting, Self::Booting, Self::Running, Self::Failed];

    /// On the chip.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Waiting => "Waiting",
            Self::Booting => "Booting",
            Self::Running => "Running",
            Self::Failed => "Failed",
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
    /// Where it is.
    Address,
    /// What it gets.
    Assignment,
}

/// What a person chose in the table.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// Text that rows must contain.
    pub(crate) filter: String,
    /// Chip.
    pub(crate) group: Group,
    /// Order.
    pub(crate) sort: Sort,
    /// Selected machines; some may be filtered out.
    pub(crate) selected: BTreeSet<HostId>,
    /// Where a range begins.
    anchor: Option<HostId>,
    /// The row that the arrows move from.
    cursor: Option<HostId>,
}

impl Choice {
    /// Indices into `shot.hosts`, as shown.
    pub(crate) fn rows(&self, shot: &Snapshot) -> Vec<usize> {
        let needle = self.filter.trim().to_lowercase();
        let mut rows: Vec<usize> = shot
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, h)| self.group.has(h) && (needle.is_empty() || matches(h, &needle)))
            .map(|(at, _)| at)
            .collect();
        let host = |at: &usize| shot.hosts.get(*at);
        match self.sort {
            Sort::FirstSeen => {}
            Sort::Stage => rows.sort_by_key(|at| std::cmp::Reverse(host(at).map(|h| h.stage))),
            Sort::Name => rows.sort_by_cached_key(|at| host(at).map(|h| say::host_name(h).to_lowercase())),
            Sort::Address => rows.sort_by_key(|at| host(at).map(|h| (h.ip.is_none(), h.ip))),
            Sort::Assignment => rows.sort_by_cached_key(|at| host(at).map(|h| say::boot(&h.boot))),
        }
        rows
    }

    /// Forgets machines that are gone.
    pub(crate) fn prune(&mut self, shot: &Snapshot) {
        if !self.selected.is_empty() {
            self.selected.retain(|id| shot.hosts.iter().any(|h| h.id == *id));
        }
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

fn matches(host: &HostView, needle: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(needle);
    host.name.as_deref().is_some_and(has)
        || host.macs.iter().any(|m| has(&m.to_string()))
        || host.ip.is_some_and(|ip| has(&ip.to_string()))
        || host.group.as_deref().is_some_and(has)
        || host.product.as_deref().is_some_and(has)
        || host.serial.as_deref().is_some_and(has)
        || has(say::stage(host.stage))
        || has(&say::boot(&host.boot))
        || host.arch.is_some_and(|a| has(say::arch(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
