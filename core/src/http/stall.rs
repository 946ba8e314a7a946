//! Lets go of a client that takes nothing, and not of one that takes little.
//!
//! A connection that can be written to again tells that a third of its buffer has gone, which takes a slow client minutes. So what the
//! client has acknowledged meanwhile counts.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::net::unacknowledged;

/// Who takes fewer bytes than this in the time given holds a place for nothing.
const LEAST: u64 = 4096;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Stall {
    within: Duration,
    waiting: Option<(Pin<Box<Sleep>>, Option<u64>)>,
}

impl Stall {
    pub(super) fn new(within: Duration) -> Self {
        Self { within, waiting: None }
    }

    /// Bytes went.
    pub(super) fn moved(&mut self) {
        self.waiting = None;
    }

    /// None go now: ready with an error when that has been so for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, connection: &TcpStream) -> Poll<io::Error> {
        let queued = || unacknowledged(connection.as_fd());
        let (sleep, before) = self.waiting.get_or_insert_with(|| (Box::pin(tokio::time::sleep(self.within)), queued()));
        while sleep.as_mut().poll(cx).is_ready() {
            let now = queued();
            let taken = before.zip(now).map_or(0, |(before, now)| before.saturating_sub(now));
            if taken < LEAST {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            *before = now;
            sleep.as_mut().reset(Instant::now() + self.within);
        }
        Poll::Pending
    }
}
