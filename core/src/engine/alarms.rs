//! When the silence of which machine will mean something.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::api::HostId;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_host: HashMap<HostId, Timestamp>,
    in_order: BTreeSet<(Timestamp, HostId)>,
}

impl Alarms {
    /// This machine's next one; `None`: it has none.
    pub(super) fn set(&mut self, host: HostId, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.by_host.insert(host, at),
            None => self.by_host.remove(&host),
        };
        if let Some(before) = before {
            self.in_order.remove(&(before, host));
        }
        self.in_order.extend(at.map(|at| (at, host)));
    }

    /// The first of all.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// The machines whose time has come.
    pub(super) fn due(&self, now: Timestamp) -> Vec<HostId> {
        self.in_order.iter().take_while(|(at, _)| *at <= now).map(|(_, host)| *host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_one_and_the_first_is_told() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut alarms = Alarms::default();
        alarms.set(HostId(1), Some(at(20)));
        alarms.set(HostId(2), Some(at(10)));
        alarms.set(HostId(1), Some(at(5)));
        assert_eq!((alarms.first(), alarms.due(at(5)), alarms.due(at(4))), (Some(at(5)), vec![HostId(1)], vec![]));
        alarms.set(HostId(1), None);
        assert_eq!((alarms.first(), alarms.due(at(99))), (Some(at(10)), vec![HostId(2)]));
    }
}
