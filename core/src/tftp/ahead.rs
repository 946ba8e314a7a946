//! Reads a transfer's file ahead, so that a window of a few blocks costs no read of its own, and makes the packets of a window.

use std::io;

use super::machine::Blocks;
use super::source::Source;

/// Bytes that are read at once. More would only drive out of the processor's cache what is sent next.
const AHEAD: u64 = 64 * 1024;

/// A file and a piece of it.
#[derive(Debug)]
pub(super) struct Ahead {
    source: Source,
    at: u64,
    piece: Vec<u8>,
}

impl Ahead {
    pub(super) fn new(source: Source) -> Self {
        Self { source, at: 0, piece: Vec::new() }
    }

    /// Makes `packets` the DATA packets of `blocks`, one behind the other; all but the last are 4 bytes longer than a block.
    pub(super) fn packets(&mut self, blocks: Blocks, offset: u64, len: u64, packets: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = self.bytes(offset, len)?;
        packets.clear();
        for nth in 0..blocks.count {
            let (block, after) = rest.split_at(rest.len().min(blocks.size.into()));
            rest = after;
            packets.extend_from_slice(&[0, 3]);
            packets.extend_from_slice(&blocks.first.wrapping_add(nth).to_be_bytes());
            packets.extend_from_slice(block);
        }
        Ok(())
    }

    /// Reads what comes behind a window of `len` bytes at `offset`, if it is not here yet: while the client takes what it was sent, the
    /// disk's time costs nothing.
    pub(super) fn prepare(&mut self, offset: u64, len: u64) {
        let next = offset.saturating_add(len);
        let left = self.source.total().saturating_sub(next);
        if left > 0 {
            // What can't be read is told when it is to be sent.
            let _ = self.bytes(next, len.min(left));
        }
    }

    fn bytes(&mut self, offset: u64, len: u64) -> io::Result<&[u8]> {
        let end = self.at + self.piece.len() as u64;
        if offset < self.at || offset + len > end {
            let more = len.max(AHEAD).min(self.source.total().saturating_sub(offset)).max(len);
            self.at = offset;
            let more = usize::try_from(more).map_err(|_| io::ErrorKind::InvalidInput)?;
            if let Err(error) = self.source.read(offset, more, &mut self.piece) {
                self.piece.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        self.piece.get(from..to).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tftp::wire::{Mode, Packet, decode};

    #[test]
    fn windows_are_cut_from_pieces_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let whole: Vec<u8> = (0..300_000u32).map(|i| (i / 7) as u8).collect();
        std::fs::write(&path, &whole).unwrap();
        let mut ahead = Ahead::new(Source::open(&path, Mode::Octet).unwrap());
        let mut packets = Vec::new();
        for first in [0u64, 3, 6, 3, 60, 61, 0, 290] {
            let (offset, len) = (first * 1000, 10_000u64.min(300_000 - first * 1000));
            let blocks = Blocks { first: first as u16 + 1, size: 1000, count: 11 };
            ahead.packets(blocks, offset, len, &mut packets).unwrap();
            let mut got = Vec::new();
            for (nth, packet) in packets.chunks(1004).enumerate() {
                let Ok(Packet::Data { block, data }) = decode(packet) else { panic!("no DATA") };
                assert_eq!(u64::from(block), first + 1 + nth as u64);
                got.extend_from_slice(data);
            }
            assert_eq!(got, whole[offset as usize..(offset + len) as usize]);
        }
        assert!(ahead.packets(Blocks { first: 1, size: 1000, count: 1 }, 299_500, 1000, &mut packets).is_err());
    }

    #[test]
    fn what_comes_next_is_read_before_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let whole: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
        std::fs::write(&path, &whole).unwrap();
        let mut ahead = Ahead::new(Source::open(&path, Mode::Octet).unwrap());
        let (size, mut packets) = (1468_u16, Vec::new());
        let one = u64::from(size);
        let mut sent = Vec::new();
        for nth in 0..whole.len().div_ceil(size.into()) as u64 {
            let (offset, len) = (nth * one, one.min(whole.len() as u64 - nth * one));
            let holds = |ahead: &Ahead| ahead.at <= offset && offset + len <= ahead.at + ahead.piece.len() as u64;
            assert!(nth == 0 || holds(&ahead), "block {nth} is read only now");
            ahead.packets(Blocks { first: nth as u16 + 1, size, count: 1 }, offset, len, &mut packets).unwrap();
            sent.extend_from_slice(&packets[4..]);
            ahead.prepare(offset, len);
        }
        assert_eq!(sent, whole);
        // A block that is sent again is one of those before.
        ahead.packets(Blocks { first: 1, size, count: 1 }, 0, one, &mut packets).unwrap();
        assert_eq!(packets[4..], whole[..size.into()]);
    }
}
