//! The contract that every protocol machine keeps.
//!
//! A machine decides what to do and does nothing itself: it has no socket, no clock and no disk, so that a test drives it in
//! microseconds, a capture replays through it, and a fuzzer feeds it bytes. Its service runs this loop:
//!
//! 1. [`Machine::handle`] with an input: a packet, a due timer, a finished ticket, a new plan.
//! 2. [`Machine::poll`] until it says `None`; carry out each [`Output`] in order.
//! 3. Sleep until the next input or [`Machine::deadline`], whichever is first; a due deadline is an input too.
//!
//! What must be on disk before a reply leaves is a [`Output::Persist`]: the machine keeps the reply back until the service hands
//! the same [`Ticket`] to `handle` as done.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Observation;

/// The only clock. A machine never asks the operating system for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary start that never jumps back and counts suspended time: what timers use.
    pub boot: Duration,
    /// Wall time: what is shown and what leases persist.
    pub wall: Timestamp,
}

impl Now {
    /// Reads the operating system's clocks. For services and the engine; machines are given a `Now`.
    #[must_use]
    pub fn read() -> Self {
        Self { boot: crate::net::boot_time(), wall: Timestamp::now() }
    }

    /// A fixed instant for tests: `boot` seconds after start, wall time moved by the same amount from 2026-01-01.
    #[must_use]
    pub fn at(boot: Duration) -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
        let wall = start.checked_add(jiff::SignedDuration::try_from(boot).unwrap_or_default()).unwrap_or(start);
        Self { boot, wall }
    }
}

/// Names one thing that must be on disk before what depends on it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a machine wants done. `S` is what it sends, `R` where bulk data comes from, `P` what it persists.
#[derive(Debug, Clone, PartialEq)]
pub enum Output<S, R = std::convert::Infallible, P = std::convert::Infallible> {
    /// Send this now.
    Send(S),
    /// Send `len` bytes from `offset` (both in bytes) of `source`, without the machine seeing them.
    SendRange {
        /// Where the bytes are.
        source: R,
        /// First byte.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Make this durable, then hand the ticket back to `handle`.
    Persist(Ticket, P),
    /// Something happened that hosts, findings, the window and the history are folded from. Boxed: outputs are moved about, and most
    /// are no events.
    Event(Box<Observation>),
}

/// See the module's text for the loop.
pub trait Machine {
    /// What can happen to it.
    type Input<'a>;
    /// What it wants done: an [`Output`] with this machine's types.
    type Output;

    /// Takes in one thing that happened at `now`.
    fn handle(&mut self, now: Now, input: Self::Input<'_>);
    /// The next thing to do, or `None` when all is said.
    fn poll(&mut self) -> Option<Self::Output>;
    /// The [`Now::boot`] at which `handle` must be called even if nothing happens.
    fn deadline(&self) -> Option<Duration>;
}
