//! How a plain thread waits: for several sockets at once, for another thread's word, for a time.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Wakes the thread that waits on the other end. Cheap to clone; works in tasks and in threads.
#[derive(Debug, Clone)]
pub(crate) struct Waker(Arc<Line>);

#[derive(Debug)]
struct Line {
    pipe: PipeWriter,
    /// A byte is in the pipe: it never has more than one, so that writing never waits.
    rung: AtomicBool,
}

/// The end of the thread that waits.
#[derive(Debug)]
pub(crate) struct Bell {
    pipe: PipeReader,
    line: Arc<Line>,
}

/// A new pair.
pub(crate) fn waker() -> io::Result<(Waker, Bell)> {
    let (reader, writer) = io::pipe()?;
    let line = Arc::new(Line { pipe: writer, rung: AtomicBool::new(false) });
    Ok((Waker(line.clone()), Bell { pipe: reader, line }))
}

impl Waker {
    /// Ends the wait, or the next one if there is none now.
    pub(crate) fn wake(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // The reader's end is gone only when nobody waits any more.
            let _ = (&self.0.pipe).write(&[1]);
        }
    }
}

impl Bell {
    /// After a wait that it ended: the next word rings again.
    pub(crate) fn quiet(&self) {
        let _ = (&self.pipe).read(&mut [0]);
        self.line.rung.store(false, Ordering::Release);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Waits until one of the descriptors can be read, has failed or is closed, or `timeout` is over. Which ones, in their order.
pub(crate) fn wait(fds: &[BorrowedFd<'_>], timeout: Duration) -> Vec<bool> {
    let mut watched: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    // A signal ends the wait early, as if the time were over.
    let any = poll(&mut watched, Some(&timespec(timeout))).is_ok_and(|n| n > 0);
    watched.iter().map(|fd| any && !fd.revents().is_empty()).collect()
}

/// Waits until the descriptor can be written to, or `timeout` is over.
pub(crate) fn writable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut watched, Some(&timespec(timeout))).is_ok_and(|n| n > 0)
}

fn timespec(span: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(span.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_said_before_the_wait_ends_it_and_many_are_one() {
        let (waker, bell) = waker().unwrap();
        assert_eq!(wait(&[bell.as_fd()], Duration::ZERO), [false]);
        for _ in 0..100_000 {
            waker.wake();
        }
        assert_eq!(wait(&[bell.as_fd()], Duration::from_secs(60)), [true]);
        bell.quiet();
        assert_eq!(wait(&[bell.as_fd()], Duration::ZERO), [false]);
        let other = waker.clone();
        std::thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!(wait(&[bell.as_fd()], Duration::from_secs(60)), [true]);
    }
}
