//! The bytes of a disk for readers that trust none of them: cached, and no more of them than an inspection may cost.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disks::BlockDevice;

/// Bytes of a piece of the cache; a multiple of every sector's size.
const PIECE: u64 = 64 << 10;
/// Pieces that are kept: 4 MiB.
const PIECES: usize = 64;
/// What a read costs at least, so that many small ones end as well.
const LEAST: u64 = 256;

/// What is read. A disk, or in tests its bytes.
pub(super) trait Bytes: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;
    /// Fills `buf` from `offset`. The range is made of whole pieces, or ends where the bytes end.
    fn fill(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Bytes for Arc<dyn BlockDevice> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn fill(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(buf, offset)
    }
}

impl Bytes for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn fill(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let piece = from.checked_add(buf.len()).and_then(|end| self.get(from..end));
        buf.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A disk that is looked into.
struct Source {
    bytes: Box<dyn Bytes>,
    size: u64,
    /// The pieces last used, the newest at the end.
    cache: Mutex<Vec<(u64, Vec<u8>)>>,
    /// Bytes that may still be asked for.
    left: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Source {
    fn pay(&self, cost: u64) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let paid = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        paid.map(drop).map_err(|_| io::Error::other("reading it takes far longer than any sound disk would"))
    }

    fn read(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        self.pay((buf.len() as u64).max(LEAST))?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        while !buf.is_empty() {
            let index = offset / PIECE;
            if let Some(at) = cache.iter().position(|(known, _)| *known == index) {
                let piece = cache.remove(at);
                cache.push(piece);
            } else {
                let start = index * PIECE;
                let len = usize::try_from(self.size.saturating_sub(start).min(PIECE)).unwrap_or_default();
                let mut piece = if cache.len() < PIECES { Vec::new() } else { cache.remove(0).1 };
                piece.clear();
                piece.resize(len, 0);
                self.bytes.fill(&mut piece, start)?;
                cache.push((index, piece));
            }
            let within = usize::try_from(offset % PIECE).unwrap_or_default();
            let have = cache.last().and_then(|(_, piece)| piece.get(within..)).unwrap_or_default();
            let len = have.len().min(buf.len());
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, rest) = buf.split_at_mut(len);
            now.copy_from_slice(have.get(..len).unwrap_or_default());
            buf = rest;
            offset += len as u64;
        }
        Ok(())
    }
}

/// A part of a disk, or all of it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Window {
    source: Arc<Source>,
    start: u64,
    len: u64,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("start", &self.start).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Window {
    /// All of a disk, of which at most `most` bytes may be asked for. `stop` ends it.
    pub(super) fn whole(bytes: impl Bytes + 'static, most: u64, stop: Arc<AtomicBool>) -> Self {
        let size = bytes.size();
        let (cache, left) = (Mutex::new(Vec::new()), AtomicU64::new(most));
        Self { source: Arc::new(Source { bytes: Box::new(bytes), size, cache, left, stop }), start: 0, len: size }
    }

    /// `len` bytes from `start`, less where it ends before; `None` where nothing is left.
    pub(super) fn part(&self, start: u64, len: u64) -> Option<Self> {
        let len = len.min(self.len.checked_sub(start)?);
        let start = self.start.checked_add(start)?;
        (len > 0).then(|| Self { source: self.source.clone(), start, len })
    }

    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `offset`.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read(buf, self.start + offset)
    }

    /// `len` bytes from `offset`.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        // Nobody gets memory for what is not there.
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buf = vec![0; len];
        self.read(&mut buf, offset)?;
        Ok(buf)
    }

    /// Counts bytes that were unpacked from what was read: few bytes may become very many.
    pub(super) fn pay(&self, bytes: u64) -> io::Result<()> {
        self.source.pay(bytes)
    }

    /// Why everything fails from now on, if it does: cancelled, or too much was read.
    pub(super) fn ended(&self) -> bool {
        self.source.stop.load(Ordering::Relaxed) || self.source.left.load(Ordering::Relaxed) < LEAST
    }
}

/// Numbers out of bytes; `None` where these end before.
pub(super) trait Numbers {
    /// The bytes.
    fn some(&self, at: usize, len: usize) -> Option<&[u8]>;

    fn le16(&self, at: usize) -> Option<u16> {
        self.some(at, 2)?.try_into().map(u16::from_le_bytes).ok()
    }
    fn le32(&self, at: usize) -> Option<u32> {
        self.some(at, 4)?.try_into().map(u32::from_le_bytes).ok()
    }
    fn le64(&self, at: usize) -> Option<u64> {
        self.some(at, 8)?.try_into().map(u64::from_le_bytes).ok()
    }
    fn be16(&self, at: usize) -> Option<u16> {
        self.some(at, 2)?.try_into().map(u16::from_be_bytes).ok()
    }
    fn be32(&self, at: usize) -> Option<u32> {
        self.some(at, 4)?.try_into().map(u32::from_be_bytes).ok()
    }
    fn be64(&self, at: usize) -> Option<u64> {
        self.some(at, 8)?.try_into().map(u64::from_be_bytes).ok()
    }
    fn byte(&self, at: usize) -> Option<u8> {
        self.some(at, 1)?.first().copied()
    }
}

impl Numbers for [u8] {
    fn some(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.get(at..at.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(bytes: Vec<u8>, most: u64) -> Window {
        Window::whole(bytes, most, Arc::default())
    }

    #[test]
    fn a_part_ends_where_it_ends() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let all = window(bytes.clone(), 1 << 20);
        assert_eq!(all.bytes(65_000, 70_000).unwrap(), bytes[65_000..135_000]);
        let part = all.part(100, 50).unwrap();
        assert_eq!(part.bytes(10, 40).unwrap(), bytes[110..150]);
        assert_eq!(part.bytes(10, 41).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(part.bytes(u64::MAX, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(all.part(199_999, 50).unwrap().len(), 1);
        assert!(all.part(200_000, 1).is_none() && all.part(u64::MAX, u64::MAX).is_none());
    }

    #[test]
    fn no_disk_costs_more_than_it_may_and_anybody_can_stop_it() {
        let all = window(vec![7; 1 << 20], 10 * LEAST);
        assert_eq!((0..100).filter(|n| all.bytes(*n, 1).is_ok()).count(), 10);
        assert!(all.ended());
        let stop = Arc::new(AtomicBool::new(false));
        let all = Window::whole(vec![7; 1 << 20], 1 << 20, stop.clone());
        assert!(all.bytes(0, 1).is_ok() && !all.ended());
        stop.store(true, Ordering::Relaxed);
        assert!(all.bytes(0, 1).is_err() && all.ended());
    }
}
