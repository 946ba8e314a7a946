//! Gathers PDUs into one vectored write.

use std::io::{self, IoSlice, Write};

use crate::iscsi::scsi::Buffers;
use crate::iscsi::wire::{Frame, Payload};
use crate::trace::own::Connection;

/// Bytes that wait at most: large reads go out as they come.
const FULL: usize = 1 << 20;
/// Frames that wait at most: three slices each must fit one `writev` (1024).
const MANY: usize = 340;
/// Up to so many bytes one copy costs less than to gather.
const FLAT: usize = 8 << 10;

/// PDUs that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Batch {
    frames: Vec<Frame>,
    bytes: usize,
    flat: Vec<u8>,
}

impl Batch {
    /// Adds one; whether it is time to [`Batch::flush`].
    pub(super) fn push(&mut self, frame: Frame) -> bool {
        self.bytes += frame.len();
        self.frames.push(frame);
        self.bytes >= FULL || self.frames.len() >= MANY
    }

    /// Tells what waits, PDU by PDU.
    pub(super) fn tell(&self, told: &mut Connection) {
        for frame in &self.frames {
            let [head, ..] = frame.parts();
            // The text of a login, and of a discovery, says more than its header.
            match head.first().map(|opcode| opcode & 0x3f) {
                Some(0x23 | 0x24) => told.sent(&frame.parts().concat(), frame.len()),
                _ => told.sent(head, frame.len()),
            }
        }
    }

    /// Bytes of memory that only speed wants.
    pub(super) fn spare(&self) -> usize {
        self.frames.capacity() * size_of::<Frame>() + self.flat.capacity()
    }

    /// Lets go of them.
    pub(super) fn rest(&mut self) {
        self.frames = Vec::new();
        self.flat = Vec::new();
    }

    /// Sends all and gives the buffers back.
    pub(super) fn flush(&mut self, to: &mut impl Write, buffers: &mut Buffers) -> io::Result<()> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let single = if let [frame] = &mut self.frames[..] { frame.in_place() } else { None };
        let result = if let Some(bytes) = single {
            to.write_all(bytes)
        } else if self.bytes <= FLAT {
            self.flat.clear();
            self.frames.iter().flat_map(Frame::parts).for_each(|part| self.flat.extend_from_slice(part));
            to.write_all(&self.flat)
        } else {
            let mut slices: Vec<IoSlice<'_>> =
                self.frames.iter().flat_map(|f| f.parts()).filter(|part| !part.is_empty()).map(IoSlice::new).collect();
            write_all(to, &mut slices)
        };
        self.bytes = 0;
        for frame in self.frames.drain(..) {
            // Several PDUs share a buffer: the last of them is its only owner.
            if let Payload::Shared(buffer, _) = frame.into_payload() {
                buffers.give_shared(buffer);
            }
        }
        result
    }
}

fn write_all(to: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match to.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
