//! How fast a number grows: the rate over about the last second.

use jiff::{SignedDuration, Timestamp};

use crate::api::Progress;

/// Folds coalesced counters into a [`Progress`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Meter {
    since: Timestamp,
    at_since: u64,
    progress: Progress,
}

impl Meter {
    pub(super) fn start(now: Timestamp, done: u64, total: u64) -> Self {
        Self { since: now, at_since: done, progress: Progress { done, total, rate: 0 } }
    }

    pub(super) fn update(&mut self, now: Timestamp, done: u64, total: u64) -> Progress {
        if done < self.progress.done {
            *self = Self::start(now, done, total);
            return self.progress;
        }
        let millis = now.duration_since(self.since).as_millis();
        if let Ok(millis @ 200..) = u64::try_from(millis) {
            self.progress.rate = (done - self.at_since).saturating_mul(1000) / millis;
            if millis >= 1000 {
                self.since = now;
                self.at_since = done;
            }
        }
        self.progress.done = done;
        self.progress.total = total;
        self.progress
    }

    /// This computer's clock was set forward by so much.
    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        self.since = self.since.checked_add(by).unwrap_or(self.since);
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Now;
    use std::time::Duration;

    #[test]
    fn the_rate_follows_the_last_second_and_survives_a_restart_of_the_file() {
        let at = |ms| Now::at(Duration::from_millis(ms)).wall;
        let mut meter = Meter::start(at(0), 0, 10_000);
        assert_eq!(meter.update(at(100), 50, 10_000).rate, 0, "too early to tell");
        assert_eq!(meter.update(at(1000), 1000, 10_000).rate, 1000);
        assert_eq!(meter.update(at(2000), 5000, 10_000).rate, 4000);
        assert_eq!(meter.update(at(3000), 10, 10_000), Progress { done: 10, total: 10_000, rate: 0 });
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_rate_as_it_was() {
        let (at, hour) = (|ms| Now::at(Duration::from_millis(ms)).wall, SignedDuration::from_hours(1));
        let mut meter = Meter::start(at(0), 0, 10_000);
        assert_eq!(meter.update(at(1000), 1000, 10_000).rate, 1000);
        meter.clock_set(-hour);
        assert_eq!(meter.update(at(2000) - hour, 5000, 10_000).rate, 4000);
    }
}
