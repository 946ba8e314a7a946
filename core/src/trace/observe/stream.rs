//! One direction of a connection, put in order: heads with their bytes, data only counted, holes where the recording has none.

use std::collections::BTreeMap;

use crate::trace::view::Segment;

/// Segments that came before their turn.
const MAX_LATER: usize = 64;
/// Bytes of a head, or of a PDU with its text, that are waited for.
const MAX_HEAD: usize = 64 << 10;

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    bytes: Vec<u8>,
    /// On the wire; more than there are bytes where the recording cut it.
    len: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Stream {
    next: Option<u32>,
    later: BTreeMap<u32, Piece>,
    /// What nobody took yet.
    head: Vec<u8>,
    /// Bytes on the wire behind `head` that the recording does not have.
    missing: u64,
    /// Bytes of data to pass over before the next head, and those that were passed over.
    left: u64,
    passed: u64,
    /// Where heads begin is not known; found again where a segment looks like one.
    lost: bool,
    /// It was closed.
    pub(super) ended: bool,
}

impl Stream {
    /// A segment of this direction. `begins` knows a head by its look.
    pub(super) fn segment(&mut self, tcp: &Segment<'_>, begins: fn(&[u8]) -> bool) {
        if tcp.syn {
            *self = Self { next: Some(tcp.seq.wrapping_add(1)), ..Self::default() };
            return;
        }
        self.ended |= tcp.fin || tcp.rst;
        if tcp.len == 0 {
            return;
        }
        if self.next.is_none() {
            // The recording begins in the middle.
            (self.next, self.lost) = (Some(tcp.seq), true);
        }
        self.later.insert(tcp.seq, Piece { bytes: tcp.payload.to_vec(), len: tcp.len as u64 });
        self.take(begins);
        if self.later.len() > MAX_LATER {
            self.lose();
            let next = self.next.unwrap_or(0);
            self.next = self.later.keys().copied().min_by_key(|seq| seq.wrapping_sub(next));
            self.take(begins);
        }
    }

    fn take(&mut self, begins: fn(&[u8]) -> bool) {
        while let Some(next) = self.next {
            let due = self.later.keys().copied().find(|seq| next.wrapping_sub(*seq) < 1 << 31);
            let Some((seq, piece)) = due.and_then(|seq| Some((seq, self.later.remove(&seq)?))) else { return };
            let known = u64::from(next.wrapping_sub(seq));
            if known >= piece.len {
                continue;
            }
            self.next = Some(seq.wrapping_add(u32::try_from(piece.len).unwrap_or(u32::MAX)));
            let from = usize::try_from(known).unwrap_or(usize::MAX);
            self.append(piece.bytes.get(from..).unwrap_or_default(), piece.len - known, begins);
        }
    }

    fn append(&mut self, bytes: &[u8], len: u64, begins: fn(&[u8]) -> bool) {
        if self.lost {
            if !begins(bytes) {
                return;
            }
            (self.lost, self.left) = (false, 0);
        }
        let passed = self.left.min(len);
        self.left -= passed;
        self.passed = self.passed.saturating_add(passed);
        let rest = bytes.get(usize::try_from(passed).unwrap_or(usize::MAX)..).unwrap_or_default();
        let more = len - passed;
        if more == 0 {
            return;
        }
        if self.missing > 0 {
            self.missing = self.missing.saturating_add(more);
        } else if rest.is_empty() || self.head.len() + rest.len() > MAX_HEAD {
            self.lose();
        } else {
            self.head.extend_from_slice(rest);
            self.missing = more - rest.len() as u64;
        }
    }

    /// Forgets where heads begin.
    pub(super) fn lose(&mut self) {
        self.head.clear();
        (self.missing, self.left, self.lost) = (0, 0, true);
    }

    /// What is there of the next head.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The head does not end in what is there, and the rest will not come.
    pub(super) fn is_cut(&self) -> bool {
        self.missing > 0
    }

    /// `head` bytes are understood, and `data` bytes follow them that are only counted.
    pub(super) fn consume(&mut self, head: usize, data: u64) {
        self.head.drain(..head.min(self.head.len()));
        let here = usize::try_from(data).unwrap_or(usize::MAX).min(self.head.len());
        self.head.drain(..here);
        let after = data - here as u64;
        let gone = after.min(self.missing);
        self.missing -= gone;
        (self.left, self.passed) = (after - gone, here as u64 + gone);
        if self.missing > 0 && self.head.is_empty() {
            self.lose();
        }
    }

    /// Bytes of data that are still to come, and those that came, of what follows the last head.
    pub(super) fn data(&self) -> (u64, u64) {
        (self.left, self.passed)
    }
}
