//! The clock: leases, certificates and the journal of a lab depend on it.

use std::fs;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use super::{About, Check, Facts, Row, State};

/// Files this far in the future were not written by a clock that was a little fast.
const AHEAD: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

pub(super) struct Clock;

impl Check for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let files = facts.folder.as_ref().map(|f| [f.db(), f.toml(), f.https()]);
        let newest = files.into_iter().flatten().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
        vec![judge(Timestamp::now(), newest.and_then(|t: SystemTime| Timestamp::try_from(t).ok()))]
    }
}

/// `newest` is when the lab was last written.
fn judge(now: Timestamp, newest: Option<Timestamp>) -> Row {
    let about = About("clock", "");
    let shown = now.strftime("%Y-%m-%d %H:%M UTC");
    // This program is younger than that.
    let before_us = date(2026, 1, 1).to_zoned(TimeZone::UTC).is_ok_and(|first| now < first.timestamp());
    if before_us {
        return about.row("past", State::Failed, &[("now", &shown)]);
    }
    match newest.filter(|newest| newest.duration_since(now) > AHEAD) {
        Some(newest) => about.row(
            "backward",
            State::Warning,
            &[("now", &shown), ("written", &newest.strftime("%Y-%m-%d %H:%M UTC"))],
        ),
        None => about.row("fine", State::Ok, &[("now", &shown)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_lab_or_the_program_is_told() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(judge(at("1970-01-01T00:02:00Z"), None).state, State::Failed);
        let now = at("2027-03-01T12:00:00Z");
        assert_eq!(judge(now, Some(at("2027-03-01T12:05:00Z"))).state, State::Ok);
        let told = judge(now, Some(at("2027-04-01T12:00:00Z")));
        assert_eq!(told.state, State::Warning);
        assert!(told.seen.contains("2027-04-01"), "{told:?}");
    }
}
