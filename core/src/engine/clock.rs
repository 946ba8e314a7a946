//! This computer's clock, and how far somebody set it meanwhile.
//!
//! Events bear wall time, which people read. How long a thing has lasted is told by the clock that never jumps: an hour by which a
//! laptop's clock was wrong is no hour of silence. So diagnosis is given events as if nobody had set the clock since the first of them,
//! and what it says is shown by the clock as it is now.

use std::borrow::Cow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{Event, Finding};
use crate::machine::Now;

/// The two clocks are read one after the other, and what is told of a packet has the time at which it came: less is no step.
const STEP: SignedDuration = SignedDuration::from_millis(500);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Clock {
    first: Option<Now>,
    /// How far it was set forward since then.
    set: SignedDuration,
}

impl Clock {
    /// It is `now`: how far the clock was set forward since it was looked at last.
    pub(super) fn look(&mut self, now: Now) -> SignedDuration {
        let first = *self.first.get_or_insert(now);
        let passed = signed(now.boot).saturating_sub(signed(first.boot));
        let set = now.wall.duration_since(first.wall).saturating_sub(passed);
        let by = set.saturating_sub(self.set);
        if by.abs() < STEP {
            return SignedDuration::ZERO;
        }
        self.set = set;
        by
    }

    /// A time that the clock shows as it would be, had nobody set it.
    pub(super) fn steady(&self, shown: Timestamp) -> Timestamp {
        moved(shown, -self.set)
    }

    /// The event at its steady time.
    pub(super) fn steadied<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        match self.set.is_zero() {
            true => Cow::Borrowed(event),
            false => Cow::Owned(Event { time: self.steady(event.time), ..event.clone() }),
        }
    }

    /// When a steady time comes, by the clock that never jumps.
    pub(super) fn boot(&self, steady: Timestamp) -> Duration {
        let first = self.first.unwrap_or(Now { boot: Duration::ZERO, wall: steady });
        let boot = signed(first.boot).saturating_add(steady.duration_since(first.wall));
        Duration::try_from(boot).unwrap_or_default()
    }

    /// Findings with the times that the clock shows.
    pub(super) fn show(&self, findings: &mut [Finding]) {
        for since in findings.iter_mut().filter_map(|finding| finding.since.as_mut()) {
            *since = moved(*since, self.set);
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_taken_out_of_what_is_measured() {
        let mut clock = Clock::default();
        let at = |boot, step| {
            let now = Now::at(Duration::from_secs(boot));
            Now { wall: moved(now.wall, SignedDuration::from_millis(step)), ..now }
        };
        assert_eq!(clock.look(at(10, 0)), SignedDuration::ZERO);
        assert_eq!(clock.look(at(20, 300)), SignedDuration::ZERO, "the two are not read at once");
        assert_eq!(clock.look(at(3610, 0)), SignedDuration::ZERO, "an hour in which this computer slept did pass");
        for (step, by) in [(3_600_000, 3_600_000), (3_600_010, 0), (-7_200_000, -10_800_000)] {
            assert_eq!(clock.look(at(3620, step)), SignedDuration::from_millis(by));
        }
        let steady = clock.steady(at(3630, -7_200_000).wall);
        assert_eq!((steady, clock.boot(steady)), (at(3630, 0).wall, Duration::from_secs(3630)));
    }
}
