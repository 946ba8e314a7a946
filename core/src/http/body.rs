//! The body of an answer. A file is read in large pieces: at once what the page cache has, on a thread what it has not.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::machine::{Deliveries, Version};
use super::stream::Unflushed;
use crate::api::{EventKind, Observation, Reporter, Who};
use crate::machine::Now;

/// Bytes of one piece: measured as the best compromise between system calls and cache.
const PIECE: usize = 256 * 1024;
/// Between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Files up to this many bytes have no progress events.
const SMALL: u64 = 64 * 1024;

/// Calls [`super::App::delivered`].
type Delivered = Box<dyn Fn(&Who, &str) + Send + Sync>;

/// Where the fate of file answers is written down.
pub(super) struct Ledger {
    reporter: Reporter,
    deliveries: Mutex<Deliveries>,
    delivered: Delivered,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    pub(super) fn new(reporter: Reporter, delivered: Delivered) -> Self {
        Self { reporter, deliveries: Mutex::default(), delivered }
    }

    pub(super) fn report(&self, who: &Who, kind: EventKind) {
        self.reporter.report(Now::read(), Observation::of(who.clone(), kind));
    }
}

/// One answer with bytes of a file: what, for whom, since when.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) ledger: Arc<Ledger>,
    pub(super) who: Who,
    pub(super) client: IpAddr,
    pub(super) path: String,
    pub(super) version: Version,
    pub(super) first: u64,
    /// The byte behind the last.
    pub(super) end: u64,
    pub(super) began: Duration,
}

impl Sent {
    /// The network has every byte.
    pub(super) fn flushed(self) {
        let bytes = self.end - self.first;
        let millis = u64::try_from(Now::read().boot.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX);
        self.ledger.report(&self.who, EventKind::HttpDone { path: self.path.clone(), bytes, millis });
        let whole = self.ledger.deliveries.lock().unwrap_or_else(PoisonError::into_inner).add(
            self.client,
            &self.path,
            &self.version,
            self.first,
            self.end,
        );
        if whole {
            (self.ledger.delivered)(&self.who, &self.path);
        }
    }

    /// The connection ended with bytes of this answer still here.
    pub(super) fn lost(self) {
        self.aborted(self.end);
    }

    fn aborted(&self, at: u64) {
        let (sent, total) = (at - self.first, self.end - self.first);
        self.ledger.report(&self.who, EventKind::HttpAborted { path: self.path.clone(), sent, total });
    }
}

/// What hyper sends.
#[derive(Debug)]
pub(super) enum Answer {
    /// In memory; taken once.
    Small(Bytes),
    /// Bytes of a file.
    File(FileBody),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Small(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Small(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::File(file) => file.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Small(bytes) => bytes.is_empty(),
            Self::File(file) => file.sent.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::File(file) => file.sent.as_ref().map_or(0, |sent| sent.end - file.at),
        })
    }
}

/// A buffer that goes back to its file's answer when the network has its bytes.
struct Piece {
    buf: Vec<u8>,
    len: usize,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.buf));
    }
}

/// A buffer and how many of its bytes were read.
type Read = io::Result<(Vec<u8>, usize)>;

/// Streams a range of a file.
#[derive(Debug)]
pub(super) struct FileBody {
    file: Arc<File>,
    at: u64,
    /// Gone when the last piece is given.
    sent: Option<Sent>,
    unflushed: Unflushed,
    told: Duration,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
    reading: Option<JoinHandle<Read>>,
}

impl FileBody {
    /// `sent` says which bytes; at least one.
    pub(super) fn new(file: File, sent: Sent, unflushed: Unflushed) -> Self {
        // Advice only.
        let _ = rustix::fs::fadvise(&file, sent.first, None, rustix::fs::Advice::Sequential);
        let (at, told) = (sent.first, sent.began);
        Self { file: Arc::new(file), at, sent: Some(sent), unflushed, told, pool: Arc::default(), reading: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(end) = self.sent.as_ref().map(|sent| sent.end) else { return Poll::Ready(None) };
        let want = usize::try_from(end - self.at).unwrap_or(PIECE).min(PIECE);
        let read = match &mut self.reading {
            Some(reading) => {
                let joined = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                joined.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
            None => match self.read(want) {
                Some(read) => read,
                None => return self.poll(cx),
            },
        };
        let (buf, len) = match read {
            Ok((_, 0)) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.at += len as u64;
        self.tell();
        let piece = Piece { buf, len, pool: self.pool.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    /// Reads what the page cache has; `None` when a thread had to be asked.
    fn read(&mut self, want: usize) -> Option<Read> {
        let mut buf = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if buf.len() < want {
            buf.resize(want, 0);
        }
        let at = self.at;
        let now = buf.get_mut(..want).map_or(Err(Errno::INVAL), |part| {
            rustix::io::preadv2(&self.file, &mut [io::IoSliceMut::new(part)], at, ReadWriteFlags::NOWAIT)
        });
        match now {
            Ok(len) if len > 0 => Some(Ok((buf, len))),
            // Nothing in the cache, the end of a file that became shorter, or a file system without this flag.
            _ => {
                let file = self.file.clone();
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    let len = file.read_at(buf.get_mut(..want).unwrap_or_default(), at)?;
                    Ok((buf, len))
                }));
                None
            }
        }
    }

    fn tell(&mut self) {
        let Some(sent) = &self.sent else { return };
        if self.at == sent.end {
            if let Some(sent) = self.sent.take() {
                self.unflushed.push(sent);
            }
            return;
        }
        let now = Now::read();
        if sent.version.size > SMALL && now.boot.saturating_sub(self.told) >= PROGRESS_EVERY {
            self.told = now.boot;
            let kind = EventKind::HttpProgress { path: sent.path.clone(), sent: self.at, total: sent.version.size };
            sent.ledger.report(&sent.who, kind);
        }
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        if let Some(sent) = &self.sent {
            sent.aborted(self.at);
        }
    }
}
