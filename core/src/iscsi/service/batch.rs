//! Gathers PDUs into one write. What stays in its file the kernel sends from there, behind its header.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;

use crate::disks::Extent;
use crate::iscsi::scsi::Buffers;
use crate::iscsi::wire::{Frame, Payload};
use crate::net::{send, send_file};
use crate::trace::own::Connection;

/// Bytes that wait at most: large reads go out as they come.
const FULL: usize = 1 << 20;
/// Frames that wait at most: three slices each must fit one `writev` (1024).
const MANY: usize = 340;
/// Up to so many bytes one copy costs less than to gather.
const FLAT: usize = 8 << 10;
/// Bytes read at a time of what the kernel cannot send by itself.
const PIECE: usize = 64 << 10;

/// Why not all was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// By the network.
    #[error("the connection was lost while sending: {0}")]
    Connection(#[from] io::Error),
    /// By the disk, after the header had said that the data follow.
    #[error("the disk could not be read at byte {offset}: {source}")]
    Disk { offset: u64, source: io::Error },
}

/// How what stayed in its file was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sent {
    /// As it is meant to be.
    Well,
    /// The kernel cannot send from this file: it was read and sent.
    Copied,
}

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

    /// PDUs that wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
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
    pub(super) fn flush(&mut self, to: &TcpStream, buffers: &mut Buffers) -> Result<Sent, Unsent> {
        if self.frames.is_empty() {
            return Ok(Sent::Well);
        }
        let result = match &mut self.frames[..] {
            // One answer to one command: what firmware and depth 1 are all about.
            [frame] => one(to, frame, &mut self.flat),
            _ => self.send(to),
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

    fn send(&mut self, to: &TcpStream) -> Result<Sent, Unsent> {
        let Self { frames, flat, .. } = self;
        let (mut sent, mut rest) = (Sent::Well, frames.as_slice());
        while !rest.is_empty() {
            let next = rest.iter().position(|frame| frame.stored().is_some());
            let (before, from) = rest.split_at(next.unwrap_or(rest.len()));
            gather(to, before, flat)?;
            let Some((frame, after)) = from.split_first() else { break };
            if let Some(extent) = frame.stored() {
                sent = sent.max(stored(to, frame, extent)?);
            }
            rest = after;
        }
        Ok(sent)
    }
}

/// Sends a single frame.
fn one(to: &TcpStream, frame: &mut Frame, flat: &mut Vec<u8>) -> Result<Sent, Unsent> {
    if let Some(extent) = frame.stored() {
        return stored(to, frame, extent);
    }
    if let Some(bytes) = frame.in_place() {
        send_all(to, bytes, false)?;
    } else {
        gather(to, std::slice::from_ref(frame), flat)?;
    }
    Ok(Sent::Well)
}

/// Sends a frame whose data are in a file.
fn stored(to: &TcpStream, frame: &Frame, extent: &Extent) -> Result<Sent, Unsent> {
    let [head, _, tail] = frame.parts();
    send_all(to, head, true)?;
    let sent = from_file(to, extent)?;
    send_all(to, tail, false)?;
    Ok(sent)
}

/// Sends what is in memory.
fn gather(to: &TcpStream, frames: &[Frame], flat: &mut Vec<u8>) -> io::Result<()> {
    if frames.iter().map(Frame::len).sum::<usize>() <= FLAT {
        flat.clear();
        frames.iter().flat_map(Frame::parts).for_each(|part| flat.extend_from_slice(part));
        return send_all(to, flat, false);
    }
    let mut slices: Vec<IoSlice<'_>> =
        frames.iter().flat_map(Frame::parts).filter(|part| !part.is_empty()).map(IoSlice::new).collect();
    write_all(to, &mut slices)
}

/// Sends bytes that stay in their file. Whatever keeps the kernel from it: where they can be read, they are read and sent.
fn from_file(to: &TcpStream, extent: &Extent) -> Result<Sent, Unsent> {
    let end = extent.offset + extent.len;
    let mut at = extent.offset;
    while at < end {
        match send_file(to, &extent.file, at, usize::try_from(end - at).unwrap_or(usize::MAX)) {
            Ok(sent @ 1..) => at += sent as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return copied(to, extent, at).map(|()| Sent::Copied),
        }
    }
    Ok(Sent::Well)
}

/// Reads and sends an extent from byte `at` of its file on.
fn copied(to: &TcpStream, extent: &Extent, mut at: u64) -> Result<(), Unsent> {
    let end = extent.offset + extent.len;
    let mut piece = vec![0; PIECE.min(usize::try_from(end - at).unwrap_or(PIECE))];
    while at < end {
        let len = piece.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let piece = piece.get_mut(..len).unwrap_or_default();
        extent.read_at(piece, at).map_err(|source| Unsent::Disk { offset: at, source })?;
        send_all(to, piece, false)?;
        at += len as u64;
    }
    Ok(())
}

/// Sends all of these bytes; with `more`, others follow at once.
fn send_all(to: &TcpStream, mut bytes: &[u8], more: bool) -> io::Result<()> {
    while !bytes.is_empty() {
        match send(to, bytes, more) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(mut to: &TcpStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
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
