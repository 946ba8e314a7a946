//! What the sockets of our own servers saw, where no packet socket can be had: the frames that must have carried it, in the same rings.
//!
//! * A [`Tap`] goes with every server. It does nothing until [`service::start`] turns it on, and then takes copies of what matters into a
//!   bounded queue: no server waits for it, and what does not fit is counted as lost.
//! * [`Connection`] numbers the bytes of a connection, so that they become segments of a stream.
//! * [`frame`] makes frames, [`stations`] finds out whose hardware address belongs in them, [`service`] is the thread that does so and
//!   has each frame clipped and kept as one that was captured.
//!
//! Times, bytes and their order are what happened. Headers below UDP and the numbers, the handshakes and the acknowledgements of TCP are
//! made up; whatever the kernel does by itself (ARP, repeats, refusals) is missing, and so is what never reached a server.

mod frame;
pub mod service;
mod stations;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

pub use stream::{Connection, Speech};

/// Words that wait for the thread.
const WAITING: usize = 8192;
/// The bytes in them.
const WAITING_BYTES: usize = 4 << 20;
/// Bytes of a datagram of TFTP's data that say which one it is.
const BLOCK_HEADER: usize = 4;
/// Larger datagrams are kept by their beginning.
const MAX_KEPT: usize = 2048;

/// What a person is told of such packets, with the reason for them.
#[must_use]
pub fn about(why: &str) -> String {
    format!(
        "these packets are what Bootyard's own sockets received and sent, because nothing can be captured here ({why}): ARP, \
         other computers' traffic and what the kernel repeated are not among them, and the handshakes of connections are made up"
    )
}

/// Something that a socket of ours received or sent.
#[derive(Debug)]
struct Heard {
    time: Timestamp,
    outgoing: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A frame of `len` bytes, through a packet socket that has another use.
    Frame { bytes: Vec<u8>, len: usize },
    /// A datagram of `len` bytes, of which these are kept.
    Datagram { local: SocketAddr, peer: SocketAddr, bytes: Vec<u8>, len: usize },
    /// A piece of a connection.
    Segment(Box<stream::Piece>),
    /// The thread has nothing more to do.
    Stop,
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame { bytes, .. } | Self::Datagram { bytes, .. } => bytes.len(),
            Self::Segment(piece) => piece.bytes.len(),
            Self::Stop => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Line {
    on: AtomicBool,
    queue: ArcSwapOption<SyncSender<Heard>>,
    /// Bytes in the queue.
    waiting: AtomicUsize,
    lost: AtomicU64,
}

/// See the module's text. Cheap to clone; the default one is on while a [`service`] that was started with it runs.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Line>);

impl Tap {
    /// Whether anybody listens. Whoever would have to prepare something asks first.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// A datagram came to a socket of ours. `local` is where it was sent to, as far as that is known.
    pub fn received(&self, local: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        if self.is_on() {
            self.datagram(false, local, peer, payload);
        }
    }

    /// A socket of ours has sent a datagram.
    pub fn sent(&self, local: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        if self.is_on() {
            self.datagram(true, local, peer, payload);
        }
    }

    /// A packet socket with another use has received or sent a frame.
    pub fn frame(&self, outgoing: bool, frame: &[u8]) {
        if self.is_on() {
            let bytes = frame.get(..MAX_KEPT).unwrap_or(frame).to_vec();
            self.put(outgoing, What::Frame { bytes, len: frame.len() });
        }
    }

    /// A connection that was accepted just now. Without anybody who listens it is not followed.
    #[must_use]
    pub fn connection(&self, local: SocketAddr, peer: SocketAddr, speech: Speech) -> Connection {
        if self.is_on() { Connection::accepted(self.clone(), local, peer, speech) } else { Connection::default() }
    }

    fn datagram(&self, outgoing: bool, local: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        let most = if payload.starts_with(&[0, 3]) { BLOCK_HEADER } else { MAX_KEPT };
        let bytes = payload.get(..most).unwrap_or(payload).to_vec();
        self.put(outgoing, What::Datagram { local, peer, bytes, len: payload.len() });
    }

    /// Never waits.
    fn put(&self, outgoing: bool, what: What) {
        let queue = self.0.queue.load();
        let Some(queue) = queue.as_ref().filter(|_| self.is_on()) else { return };
        let bytes = what.bytes();
        let before = self.0.waiting.fetch_add(bytes, Ordering::Relaxed);
        let heard = Heard { time: Timestamp::now(), outgoing, what };
        if before + bytes > WAITING_BYTES || queue.try_send(heard).is_err() {
            self.0.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
