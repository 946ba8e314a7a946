//! The journal of atomic writes: a write that is there as a whole or not at all, through a killed process and a cut of power (SBC-4
//! 4.29).
//!
//! Blocks of an overlay are written at their place, and a cut of power in the middle tears such a write. An atomic one therefore goes to
//! the journal first, whole and durable, then to its place, and when it is durable there the entry is made void. What is found in the
//! journal when the overlay is opened is written to its place once more.
//!
//! ```text
//! atomic:   magic (8) | CRC-32C of the rest (4) | bytes (4) | offset on the disk (8) | …     4096 bytes, then the bytes
//! ```
//! Numbers are little endian. There is one entry; its turn is held until it is void.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::storage::Storage;

/// Most bytes of one atomic write.
const MOST: u32 = 256 << 10;
const HEAD: usize = 4096;
/// Bytes of the file.
const LEN: u64 = HEAD as u64 + MOST as u64;
const MAGIC: &[u8; 8] = b"BYATOMIC";

/// An overlay's journal. See the module's text.
#[derive(Debug)]
pub(super) struct Journal {
    file: Box<dyn Storage>,
    /// One atomic write at a time.
    pub(super) turn: Mutex<()>,
    /// The file has its space: a full file system stops a write at its place, and never the note of it.
    ready: bool,
    /// An entry was made void, and a cut of power could bring it back.
    void: AtomicBool,
    /// An entry stays that would undo what is written from now on.
    broken: AtomicBool,
}

/// An entry that is not void yet. One that is dropped so stays: its write is finished when the overlay is opened again.
#[derive(Debug)]
pub(super) struct Entry<'a>(&'a Journal);

impl Entry<'_> {
    /// Makes it void: for a killed process at once, for a cut of power with the next [`Journal::settle`].
    pub(super) fn make_void(self) -> io::Result<()> {
        self.0.make_void()?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.broken.store(true, Ordering::Release);
    }
}

impl Journal {
    /// On a file that may be too short yet; where it cannot be made longer, nothing is written atomically.
    pub(super) fn new(file: Box<dyn Storage>) -> Self {
        let ready = file.reserve(LEN).and_then(|()| file.set_len(LEN)).is_ok();
        // A killed process may have made its last entry void, and nobody has made that durable.
        Self { file, turn: Mutex::new(()), ready, void: ready.into(), broken: false.into() }
    }

    /// Most bytes of an entry; 0 where there can be none.
    pub(super) fn most(&self) -> u32 {
        if self.ready { MOST } else { 0 }
    }

    /// The write that was under way when the overlay was used last: its offset on the disk, and its bytes.
    pub(super) fn entry(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut head = [0; HEAD];
        match self.file.read_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Some((crc, len, offset)) = decode(&head) else { return Ok(None) };
        let mut data = vec![0; len as usize];
        self.file.read_at(&mut data, HEAD as u64)?;
        // A torn entry is one whose write had not begun yet.
        Ok((checksum(len, offset, &data) == crc).then_some((offset, data)))
    }

    /// Enters a write. It is durable when this returns.
    pub(super) fn enter(&self, offset: u64, data: &[u8]) -> io::Result<Entry<'_>> {
        self.check()?;
        let len =
            u32::try_from(data.len()).ok().filter(|len| *len <= self.most()).ok_or(io::ErrorKind::InvalidInput)?;
        // The head is void, so that these bytes are nothing yet.
        self.file.write_at(data, HEAD as u64)?;
        let mut head = [0; HEAD];
        let fields: [&[u8]; 4] =
            [MAGIC, &checksum(len, offset, data).to_le_bytes(), &len.to_le_bytes(), &offset.to_le_bytes()];
        for (to, from) in head.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        let entry = Entry(self);
        match self.file.write_at(&head, 0).and_then(|()| self.file.sync()) {
            Ok(()) => Ok(entry),
            // Whether it is on the disk is not known.
            Err(error) => entry.make_void().and(Err(error)),
        }
    }

    fn make_void(&self) -> io::Result<()> {
        self.file.write_at(&[0; 512], 0)?;
        self.void.store(true, Ordering::Release);
        Ok(())
    }

    /// What the journal had was done once more.
    pub(super) fn done(&self) -> io::Result<()> {
        self.make_void()?;
        self.settle()
    }

    /// Refuses to go on over an entry that stays.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("an atomic write is half done; it is finished when the disk is opened again"));
        }
        Ok(())
    }

    /// Whatever is void stays so. Part of each flush: what was written over an atomic write must not be undone by its entry.
    pub(super) fn settle(&self) -> io::Result<()> {
        self.check()?;
        if self.void.swap(false, Ordering::AcqRel) { self.file.sync() } else { Ok(()) }
    }
}

fn checksum(len: u32, offset: u64, data: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&len.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &offset.to_le_bytes()), data)
}

/// Checksum, bytes and offset of an entry.
fn decode(head: &[u8; HEAD]) -> Option<(u32, u32, u64)> {
    let (magic, rest) = head.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (offset, _) = rest.split_first_chunk::<8>()?;
    let len = u32::from_le_bytes(*len);
    (magic == MAGIC && len <= MOST).then(|| (u32::from_le_bytes(*crc), len, u64::from_le_bytes(*offset)))
}
