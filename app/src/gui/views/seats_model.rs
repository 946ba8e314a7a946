//! A group's seating plan: who stands where, and what a move changes. No drawing here.

use std::collections::BTreeMap;

use bootyard_core::api::{HostId, Snapshot};
use bootyard_core::lab::Seat;

use crate::gui::targets;

/// Columns that machines without a seat fill when nobody has one yet.
const COLUMNS: u8 = 6;

/// Who is put where, and who loses a place.
pub(crate) type Moves = Vec<(HostId, Option<Seat>)>;

/// The plan of one group.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Rows in use, from the front.
    pub(crate) rows: u8,
    /// Columns in use.
    pub(crate) columns: u8,
    /// Who is where: index into the snapshot's hosts.
    pub(crate) seated: BTreeMap<Seat, usize>,
    /// Who has no place: indices in the order of the snapshot.
    pub(crate) unseated: Vec<usize>,
}

impl Plan {
    /// The plan of this group, `None`: of the machines in none.
    pub(crate) fn of(shot: &Snapshot, group: Option<&str>) -> Self {
        let mut plan = Self::default();
        for (at, host) in shot.hosts.iter().enumerate().filter(|(_, h)| h.group.as_deref() == group) {
            match host.seat {
                // Two at one place: lab.toml is told to be wrong, and the second has none here.
                Some(seat) if !plan.seated.contains_key(&seat) => {
                    plan.rows = plan.rows.max(seat.row);
                    plan.columns = plan.columns.max(seat.column);
                    plan.seated.insert(seat, at);
                }
                _ => plan.unseated.push(at),
            }
        }
        plan
    }

    /// A machine goes there; who is there takes its place, or loses its own where the machine had none.
    pub(crate) fn put(&self, shot: &Snapshot, host: HostId, to: Seat) -> Moves {
        let from = targets::host(shot, host).and_then(|h| h.seat);
        if from == Some(to) {
            return Vec::new();
        }
        let there = self.seated.get(&to).and_then(|at| shot.hosts.get(*at)).map(|h| h.id).filter(|id| *id != host);
        std::iter::once((host, Some(to))).chain(there.map(|id| (id, from))).collect()
    }

    /// A machine goes one place on, rows and columns being the step; one without a place gets the first that is free.
    pub(crate) fn step(&self, shot: &Snapshot, host: HostId, rows: i8, columns: i8) -> Moves {
        let Some(from) = targets::host(shot, host).and_then(|h| h.seat) else {
            return self.free().next().map(|seat| (host, Some(seat))).into_iter().collect();
        };
        let to = from.row.checked_add_signed(rows).zip(from.column.checked_add_signed(columns));
        to.and_then(|(row, column)| Seat::at(row, column)).map(|to| self.put(shot, host, to)).unwrap_or_default()
    }

    /// Everybody without a place gets one, in the order of the list.
    pub(crate) fn fill(&self, shot: &Snapshot) -> Moves {
        let ids = self.unseated.iter().filter_map(|at| shot.hosts.get(*at)).map(|h| h.id);
        ids.zip(self.free()).map(|(id, seat)| (id, Some(seat))).collect()
    }

    /// Places that nobody has, row after row.
    fn free(&self) -> impl Iterator<Item = Seat> + '_ {
        let columns = if self.columns == 0 { COLUMNS } else { self.columns };
        let places = (1..=Seat::MOST).flat_map(move |row| (1..=columns).map(move |column| (row, column)));
        places.filter_map(|(row, column)| Seat::at(row, column)).filter(|seat| !self.seated.contains_key(seat))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bootyard_core::api::{HostView, Stage};
    use bootyard_core::lab::Boot;

    use super::*;
    use crate::gui::tests::sample;

    fn seat(row: u8, column: u8) -> Option<Seat> {
        Seat::at(row, column)
    }

    fn room() -> Snapshot {
        let host = |n, group: Option<&str>, seat| {
            let group = group.map(str::to_owned);
            Arc::new(HostView { group, seat, ..sample::host(n, Stage::Waiting, Boot::Wait) })
        };
        let room = Some("room");
        let hosts = vec![
            host(1, room, seat(1, 1)),
            host(2, room, seat(1, 3)),
            host(3, room, None),
            host(4, None, seat(9, 9)),
            host(5, room, seat(1, 1)),
        ];
        Snapshot { hosts, ..sample::bench(0) }
    }

    #[test]
    fn a_plan_is_as_large_as_its_seats_and_shows_everybody_of_the_group_once() {
        let plan = Plan::of(&room(), Some("room"));
        assert_eq!((plan.rows, plan.columns, plan.seated.len()), (1, 3, 2));
        assert_eq!(plan.unseated, [2, 4], "the second at one place has none");
    }

    #[test]
    fn who_is_in_the_way_changes_places() {
        let shot = room();
        let plan = Plan::of(&shot, Some("room"));
        let (one, two, three) = (HostId(1), HostId(2), HostId(3));
        assert_eq!(plan.put(&shot, one, Seat::at(1, 3).unwrap()), [(one, seat(1, 3)), (two, seat(1, 1))]);
        assert_eq!(plan.put(&shot, three, Seat::at(1, 3).unwrap()), [(three, seat(1, 3)), (two, None)]);
        assert_eq!(plan.put(&shot, one, Seat::at(1, 1).unwrap()), []);
        assert_eq!(plan.step(&shot, one, 1, 0), [(one, seat(2, 1))]);
        assert_eq!(plan.step(&shot, one, -1, 0), [], "the plan ends there");
        assert_eq!(plan.step(&shot, three, 0, 1), [(three, seat(1, 2))], "the first free place");
        assert_eq!(plan.fill(&shot), [(three, seat(1, 2)), (HostId(5), seat(2, 1))]);
    }
}
