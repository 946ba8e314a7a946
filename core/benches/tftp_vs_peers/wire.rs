//! A wire that takes its time and loses packets: two taps and a thread between them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lab::{self, Lab};
use crate::rows::{DELAY, LOSS};
use crate::{Fallible, tap};

/// Dropping it takes the wire away.
#[derive(Debug)]
pub(crate) struct Wire {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// A wire that loses what `seed` says.
    pub(crate) fn start(lab: &Lab, seed: u64) -> Fallible<Self> {
        let server = Lab::inside(&lab.server, || tap::open("lossy"))??;
        let client = Lab::inside(&lab.client, || tap::open("lossy"))??;
        lab.up("lossy", lab::LOSSY)?;
        let over = Arc::new(AtomicBool::new(false));
        let mut ends = [End::new(server, seed), End::new(client, seed + 1000)];
        let until = over.clone();
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                carry(&mut ends);
            }
        });
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One end and what came in there.
struct End {
    tap: File,
    random: fastrand::Rng,
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
}

impl End {
    fn new(tap: File, seed: u64) -> Self {
        Self { tap, random: fastrand::Rng::with_seed(seed), on_the_way: VecDeque::new() }
    }

    fn take_in(&mut self) {
        let mut buf = [0; 2048];
        while let Ok(len) = self.tap.read(&mut buf) {
            let frame = buf.get(..len).unwrap_or_default();
            // IPv4 with UDP: what asks for addresses and neighbours is not lost.
            let udp = frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17);
            if !udp || self.random.f64() >= LOSS {
                self.on_the_way.push_back((Instant::now() + DELAY, frame.to_vec()));
            }
        }
    }

    /// Gives what has arrived to the other end.
    fn deliver(&mut self, other: &mut File) {
        let now = Instant::now();
        while let Some((_, frame)) = self.on_the_way.pop_front_if(|(at, _)| *at <= now) {
            // A full queue loses it, as a card does.
            let _ = other.write(&frame);
        }
    }
}

/// Waits for a frame or an arrival and does what is due.
fn carry([a, b]: &mut [End; 2]) {
    let next = [&*a, &*b].into_iter().filter_map(|end| end.on_the_way.front().map(|(at, _)| *at)).min();
    let idle = Duration::from_millis(50);
    let wait = next.map_or(idle, |at| at.saturating_duration_since(Instant::now())).min(idle);
    let wait = Timespec::try_from(wait).ok();
    let mut fds = [
        PollFd::from_borrowed_fd(a.tap.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(b.tap.as_fd(), PollFlags::IN),
    ];
    // An interrupted wait is only a shorter one.
    let _ = poll(&mut fds, wait.as_ref());
    a.take_in();
    b.take_in();
    a.deliver(&mut b.tap);
    b.deliver(&mut a.tap);
}
