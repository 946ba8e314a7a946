//! The body of an answer as hyper takes it: for connections that the kernel can't copy a file to by itself. A file is read in large
//! pieces: at once what the page cache has, on a thread what it has not.

use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::file::Served;
use super::ledger::Delivery;
use super::stream::Unflushed;

/// Bytes of one piece: measured as the best compromise between system calls and cache.
const PIECE: usize = 256 * 1024;

/// What hyper sends.
#[derive(Debug)]
pub(super) enum Answer {
    /// In memory; taken once.
    Small(Bytes),
    /// Bytes of a file, from a copy; taken once.
    Short(Bytes, Box<Delivery>, Unflushed),
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
            Self::Short(bytes, ..) if bytes.is_empty() => Poll::Ready(None),
            Self::Short(bytes, delivery, unflushed) => {
                if let Some(sent) = delivery.advance(bytes.len()) {
                    unflushed.push(sent);
                }
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::File(file) => file.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Small(bytes) | Self::Short(bytes, ..) => bytes.is_empty(),
            Self::File(file) => file.delivery.left().1 == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Small(bytes) | Self::Short(bytes, ..) => bytes.len() as u64,
            Self::File(file) => file.delivery.left().1,
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

/// The file again, a buffer, and how many of its bytes were read.
type Read = (Served, Vec<u8>, io::Result<usize>);

/// Streams a range of a file.
#[derive(Debug)]
pub(super) struct FileBody {
    /// Away while a thread reads.
    served: Option<Served>,
    delivery: Delivery,
    unflushed: Unflushed,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
    reading: Option<JoinHandle<Read>>,
}

impl FileBody {
    pub(super) fn new(served: Served, delivery: Delivery, unflushed: Unflushed) -> Self {
        served.sequential(delivery.left().0);
        Self { served: Some(served), delivery, unflushed, pool: Arc::default(), reading: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let (at, left) = self.delivery.left();
        if left == 0 {
            return Poll::Ready(None);
        }
        let (buf, read) = loop {
            if let Some(reading) = &mut self.reading {
                let joined = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                match joined {
                    Ok((served, buf, read)) => {
                        self.served = Some(served);
                        break (buf, read);
                    }
                    Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                }
            }
            let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let Some(mut served) = self.served.take() else {
                return Poll::Ready(Some(Err(io::Error::other("a thread that read the file is gone"))));
            };
            let mut buf = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            if buf.len() < want {
                buf.resize(want, 0);
            }
            match served.read_known(buf.get_mut(..want).unwrap_or_default(), at) {
                Some(len) => {
                    self.served = Some(served);
                    break (buf, Ok(len));
                }
                // Nothing in memory, or the end of a file that became shorter.
                None => {
                    self.reading = Some(tokio::task::spawn_blocking(move || {
                        let read = served.file.read_at(buf.get_mut(..want).unwrap_or_default(), at);
                        (served, buf, read)
                    }));
                }
            }
        };
        // After the bytes were read: then they are this version's.
        let unchanged = self.served.as_mut().map_or(Ok(()), Served::unchanged);
        let len = match unchanged.and(read) {
            Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Ok(len) => len,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        if let Some(sent) = self.delivery.advance(len) {
            self.unflushed.push(sent);
        }
        let piece = Piece { buf, len, pool: self.pool.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }
}
