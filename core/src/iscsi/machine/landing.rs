//! Where the data of a write come to lie: straight in the buffer that the disk is given.
//!
//! A service that sees the header of a PDU with much data asks [`super::Connection::landing`] for the place, reads the data from the
//! socket into it, and hands it in with [`super::Input::Landed`]. Nothing is decided before that: a PDU that turns out to be wrong is
//! refused exactly as one that came in one piece.

use std::ops::Range;

use super::super::wire::Raw;
use super::super::wire::request::Request as Pdu;
use super::command::Sequence;
use super::core::{Core, WINDOW};
use super::session::Session;
use crate::iscsi::scsi::{Buffers, Data, MAX_TRANSFER};

/// A buffer for the data segment of one PDU.
#[derive(Debug)]
pub struct Landing {
    buffer: Vec<u8>,
    range: Range<usize>,
}

impl Landing {
    /// The data segment, to be filled.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.range.clone()).unwrap_or_default()
    }
}

/// The data segment of a PDU that has come.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// In the service's buffer.
    Passing(&'a [u8]),
    /// Where it belongs.
    Landed(Landing),
}

impl Piece<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Passing(data) => data.len(),
            Self::Landed(landing) => landing.range.len(),
        }
    }
}

/// The data of a command, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    buffer: Vec<u8>,
    filled: usize,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    pub(super) fn into_data(self) -> Data {
        Data::new(self.buffer, self.filled)
    }

    /// Adds what is wanted of the next piece; `goal` bytes are wanted in all.
    pub(super) fn put(&mut self, piece: Piece<'_>, goal: usize, pool: &mut Buffers) {
        let wanted = goal.saturating_sub(self.filled).min(piece.len());
        match piece {
            Piece::Landed(landing) if landing.range.start == self.filled => {
                pool.give(std::mem::replace(&mut self.buffer, landing.buffer));
                self.filled += wanted;
            }
            // It was asked for at another place: nobody does that.
            Piece::Landed(mut landing) => {
                let data = landing.space().to_vec();
                self.put(Piece::Passing(&data), goal, pool);
            }
            Piece::Passing(data) => {
                if wanted > 0 && self.buffer.is_empty() {
                    self.buffer = pool.take(goal);
                }
                let to = self.buffer.get_mut(self.filled..self.filled + wanted);
                if let (Some(to), Some(from)) = (to, data.get(..wanted)) {
                    to.copy_from_slice(from);
                    self.filled += wanted;
                }
            }
        }
    }

    /// The buffer leaves, to be filled further; [`Gathered::put`] brings it back.
    fn landing(&mut self, len: usize) -> Option<Landing> {
        let range = self.filled..self.filled + len;
        (self.buffer.len() >= range.end).then(|| Landing { buffer: std::mem::take(&mut self.buffer), range })
    }
}

impl Session {
    /// Where the `len` bytes of this PDU's data belong, if that is clear.
    pub(super) fn landing(&mut self, core: &Core, raw: Raw<'_>, len: usize) -> Option<Landing> {
        if self.nexus.is_none() || self.open() > 2 * WINDOW as usize {
            return None;
        }
        let bytes = u32::try_from(len).ok()?;
        match Pdu::decode(raw.bhs) {
            Pdu::Command(command) if command.write && core.params.immediate_data => {
                let fits = command.expected <= MAX_TRANSFER && bytes <= command.expected.min(core.params.first_burst);
                let buffer = fits.then(|| self.pool.take(command.expected as usize))?;
                Some(Landing { buffer, range: 0..len })
            }
            Pdu::DataOut(pdu) => {
                let taking = self.taking.get_mut(&pdu.itt)?;
                let right = taking.refused.is_none()
                    && match taking.sequence {
                        Sequence::Unsolicited { end, .. } | Sequence::Solicited { end, .. } => {
                            u64::from(pdu.offset) + u64::from(bytes) <= u64::from(end.min(taking.goal))
                        }
                        Sequence::Queued => false,
                    }
                    && pdu.offset as usize == taking.data.len();
                if !right {
                    return None;
                }
                if taking.data.buffer.is_empty() {
                    taking.data.buffer = self.pool.take(taking.goal as usize);
                }
                taking.data.landing(len)
            }
            _ => None,
        }
    }
}
