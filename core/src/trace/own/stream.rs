//! A connection of a server's: the bytes that it reads and writes, as pieces with their numbers in the stream.

use std::net::SocketAddr;

use super::{Tap, What};
use crate::iscsi::wire::BHS;

/// A head of HTTP that is kept at most, and the text of a login.
const MAX_HEAD: usize = 16 << 10;

/// What is spoken in a connection: it decides what of its bytes is worth a copy. What may be kept in the end decides the
/// [`crate::trace::clip`]per, as for captured frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP: heads.
    Http,
    /// HTTP in TLS: nothing.
    Secure,
    /// iSCSI, told PDU by PDU: headers, and the text of logins and discoveries.
    Iscsi,
}

impl Speech {
    fn worth(self, bytes: &[u8]) -> &[u8] {
        let first = bytes.first().copied().unwrap_or_default();
        let most = match self {
            Self::Http if first.is_ascii_uppercase() => {
                let near = bytes.get(..MAX_HEAD).unwrap_or(bytes);
                near.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4)
            }
            Self::Http | Self::Secure => 0,
            Self::Iscsi if matches!(first & 0x3f, 0x03 | 0x04 | 0x23 | 0x24) => MAX_HEAD,
            Self::Iscsi => BHS,
        };
        bytes.get(..most).unwrap_or(bytes)
    }
}

/// What a piece of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// The client asks for a connection.
    Ask,
    /// It is accepted.
    Accept,
    /// Bytes, or none: an acknowledgement.
    Data,
    /// An end's last word.
    Finish,
    /// The connection is cut.
    Reset,
}

/// A run of bytes of one direction.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) act: Act,
    /// The number of its first byte.
    pub(super) seq: u32,
    /// What its sender has of the other.
    pub(super) ack: u32,
    /// The first of its bytes.
    pub(super) bytes: Vec<u8>,
    /// All of them.
    pub(super) len: usize,
}

#[derive(Debug)]
struct Flow {
    tap: Tap,
    local: SocketAddr,
    peer: SocketAddr,
    speech: Speech,
    /// The next byte's number of what comes and of what goes.
    next: (u32, u32),
    /// What no more comes and goes.
    ended: (bool, bool),
}

/// A connection that is told of, or none: then this is one word, and telling is one branch. Dropping it says that our end was closed.
#[derive(Debug, Default)]
pub struct Connection(Option<Box<Flow>>);

impl Connection {
    pub(super) fn accepted(tap: Tap, local: SocketAddr, peer: SocketAddr, speech: Speech) -> Self {
        let next = (fastrand::u32(..), fastrand::u32(..));
        let mut flow = Flow { tap, local, peer, speech, next, ended: (false, false) };
        flow.tell(false, Act::Ask, &[], 0);
        flow.tell(true, Act::Accept, &[], 0);
        flow.tell(false, Act::Data, &[], 0);
        Self(Some(Box::new(flow)))
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// `len` bytes were read, and they begin with these.
    pub fn received(&mut self, bytes: &[u8], len: usize) {
        if let Some(flow) = &mut self.0 {
            flow.data(false, bytes, len);
        }
    }

    /// `len` bytes were written, and they begin with these.
    pub fn sent(&mut self, bytes: &[u8], len: usize) {
        if let Some(flow) = &mut self.0 {
            flow.data(true, bytes, len);
        }
    }

    /// Our end is closed.
    pub fn finish(&mut self) {
        if let Some(flow) = &mut self.0 {
            flow.end(true, Act::Finish);
        }
    }

    /// The other end has closed its side.
    pub fn closed(&mut self) {
        if let Some(flow) = &mut self.0 {
            flow.end(false, Act::Finish);
        }
    }

    /// The connection was cut: by us where `outgoing`.
    pub fn reset(&mut self, outgoing: bool) {
        if let Some(flow) = &mut self.0 {
            flow.end(outgoing, Act::Reset);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Flow {
    fn data(&mut self, outgoing: bool, bytes: &[u8], len: usize) {
        if len > 0 {
            let worth = self.speech.worth(bytes);
            self.tell(outgoing, Act::Data, worth, len);
        }
    }

    fn end(&mut self, outgoing: bool, act: Act) {
        let ended = if outgoing { &mut self.ended.1 } else { &mut self.ended.0 };
        if !std::mem::replace(ended, true) {
            self.tell(outgoing, act, &[], 0);
        }
        if act == Act::Reset {
            self.ended = (true, true);
        }
    }

    fn tell(&mut self, outgoing: bool, act: Act, bytes: &[u8], len: usize) {
        let (own, others) = if outgoing { (&mut self.next.1, self.next.0) } else { (&mut self.next.0, self.next.1) };
        let seq = *own;
        // SYN and FIN count as a byte each (RFC 9293, section 3.4).
        let one = usize::from(matches!(act, Act::Ask | Act::Accept | Act::Finish));
        *own = own.wrapping_add(u32::try_from(len + one).unwrap_or(u32::MAX));
        let (local, peer, bytes) = (self.local, self.peer, bytes.to_vec());
        let piece = Piece { local, peer, act, seq, ack: others, bytes, len };
        self.tap.put(outgoing, What::Segment(Box::new(piece)));
    }
}
