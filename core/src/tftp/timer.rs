//! When a transfer sends again what was not acknowledged: RFC 6298 over the round trips of its windows.

use std::ops::RangeInclusive;
use std::time::Duration;

/// First timeout, before a round trip is measured.
const FIRST: Duration = Duration::from_millis(500);
/// Bounds of the timeout (RFC 1123, section 4.2.3.1, wants an adaptive one): below, every hiccup of a client would be sent a window
/// twice; above, a loss would look like a hang.
const BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(5);
/// What a doubled timeout is at most when it outlives the loss that it is from: see [`Timer::rto`].
const HELD: Duration = Duration::from_millis(200);
/// The longest silence about one thing that was sent, with our own timeout.
const GIVE_UP: Duration = Duration::from_secs(30);
/// The same in repetitions of a timeout that the client asked for.
const GIVE_UP_AFTER: u32 = 3;

/// One transfer's.
#[derive(Debug)]
pub(super) struct Timer {
    /// The client's own timeout (RFC 2349).
    asked: Option<Duration>,
    /// Smoothed round trip and its deviation.
    rtt: Option<(Duration, Duration)>,
    shortest: Option<Duration>,
    /// How often the timeout was doubled since a round trip was last measured.
    backoff: u32,
}

impl Timer {
    pub(super) fn new(asked: Option<Duration>) -> Self {
        Self { asked, rtt: None, shortest: None, backoff: 0 }
    }

    /// Takes in the time between what was sent and its acknowledgement; what was `resent` says nothing of the round trip (Karn).
    pub(super) fn measure(&mut self, sample: Duration, resent: bool) {
        self.shortest = Some(self.shortest.map_or(sample, |known| known.min(sample)));
        if !resent {
            self.backoff = 0;
            self.rtt = Some(match self.rtt {
                None => (sample, sample / 2),
                Some((smooth, deviation)) => ((smooth * 7 + sample) / 8, (deviation * 3 + smooth.abs_diff(sample)) / 4),
            });
        }
    }

    /// No answer can have come in a time that is clearly shorter than any round trip so far.
    pub(super) fn may_be_answered(&self, flight: Duration) -> bool {
        self.shortest.is_some_and(|rtt| flight >= rtt * 3 / 4)
    }

    /// The timeout. It doubles with each repetition, and what it has become holds until a round trip is measured again, for one that
    /// has grown longer than the timeout would never be (RFC 6298, section 5). On a wire that loses much, few are measured, so that
    /// it holds up to [`HELD`] only.
    pub(super) fn rto(&self) -> Duration {
        let measured = self.rtt.map_or(FIRST, |(smooth, deviation)| smooth + deviation * 4);
        let doubled = measured.clamp(*BOUNDS.start(), *BOUNDS.end()) * 2u32.saturating_pow(self.backoff.min(10));
        self.asked.unwrap_or(doubled.min(*BOUNDS.end()))
    }

    /// The timeout has passed in silence.
    pub(super) fn passed(&mut self) {
        self.backoff += 1;
    }

    /// Something new was acknowledged.
    pub(super) fn progressed(&mut self) {
        while self.backoff > 0 && self.rto() > HELD {
            self.backoff -= 1;
        }
    }

    /// How long a client may be silent.
    pub(super) fn give_up(&self) -> Duration {
        self.asked.map_or(GIVE_UP, |asked| GIVE_UP.max(asked * GIVE_UP_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// RFC 6298, sections 2.2 and 2.3.
    #[test]
    fn the_timeout_follows_the_round_trip() {
        let mut timer = Timer::new(None);
        assert_eq!(timer.rto(), ms(500));
        timer.measure(ms(80), false);
        assert_eq!(timer.rto(), ms(80 + 4 * 40));
        for _ in 0..100 {
            timer.measure(ms(80), false);
        }
        assert!((ms(80)..ms(81)).contains(&timer.rto()), "{:?}", timer.rto());
        for _ in 0..100 {
            timer.measure(Duration::from_micros(50), false);
        }
        assert_eq!(timer.rto(), ms(10), "never shorter");
    }

    /// RFC 6298, sections 5.5 and 5.7; Karn's rule.
    #[test]
    fn it_doubles_and_what_was_sent_twice_measures_nothing() {
        let mut timer = Timer::new(None);
        timer.measure(ms(10), false);
        assert_eq!(timer.rto(), ms(30));
        for expected in [60, 120, 240, 480, 960, 1920, 3840, 5000, 5000] {
            timer.passed();
            assert_eq!(timer.rto(), ms(expected));
        }
        timer.measure(ms(4000), true);
        timer.progressed();
        assert_eq!(timer.rto(), ms(120), "held, in bounds");
        timer.measure(ms(10), false);
        assert!(timer.rto() <= ms(30));
    }

    /// RFC 2349: the client's own timeout is kept as it is.
    #[test]
    fn what_the_client_asked_for_stays() {
        let mut timer = Timer::new(Some(ms(3000)));
        timer.measure(ms(10), false);
        timer.passed();
        assert_eq!((timer.rto(), timer.give_up()), (ms(3000), ms(30_000)));
        assert_eq!(Timer::new(Some(ms(20_000))).give_up(), ms(60_000));
    }
}
