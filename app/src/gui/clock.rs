//! The time of day that the window shows, and where: the computer's, and a standing one in pictures.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Now.
#[cfg(not(test))]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// Where this computer is.
#[cfg(not(test))]
pub(super) fn zone() -> TimeZone {
    TimeZone::system()
}

#[cfg(test)]
pub(super) use stopped::{now, stop_here, zone};

#[cfg(test)]
mod stopped {
    use std::cell::Cell;

    use super::{TimeZone, Timestamp};

    thread_local! {
        static AT: Cell<Option<Timestamp>> = const { Cell::new(None) };
    }

    /// Now; on a thread on which the clock was stopped, then.
    pub(crate) fn now() -> Timestamp {
        AT.get().unwrap_or_else(Timestamp::now)
    }

    /// Where this computer is; where the clock was stopped, Greenwich.
    pub(crate) fn zone() -> TimeZone {
        if AT.get().is_some() { TimeZone::UTC } else { TimeZone::system() }
    }

    /// From here on this thread sees one moment.
    pub(crate) fn stop_here(at: Timestamp) {
        AT.set(Some(at));
    }
}
