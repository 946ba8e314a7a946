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
pub(super) const MOST: u32 = 256 << 10;
const HEAD: usize = 4096;
const MAGIC: &[u8; 8] = b"BYATOMIC";

/// An overlay's journal. See the module's text.
#[derive(Debug)]
pub(super) struct Journal {
    file: Box<dyn Storage>,
    /// One atomic write at a time.
    pub(super) turn: Mutex<()>,
    /// The file has its size and its space.
    ready: AtomicBool,
    /// An entry was made void, and a cut of power could bring it back.
    void: AtomicBool,
    /// An entry could not be made void, and would undo what is written from now on.
    broken: AtomicBool,
}

impl Journal {
    /// On a file that may be empty. `len`: its bytes.
    pub(super) fn new(file: Box<dyn Storage>, len: u64) -> Self {
        let ready = len >= HEAD as u64 + u64::from(MOST);
        // A killed process may have made its last entry void, and nobody has made that durable.
        Self { file, turn: Mutex::new(()), ready: ready.into(), void: ready.into(), broken: false.into() }
    }

    /// The write that was under way when the overlay was used last: its offset on the disk, and its bytes.
    pub(super) fn entry(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        if !self.ready.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.file.read_at(&mut head, 0)?;
        let Some((crc, len, offset)) = decode(&head) else { return Ok(None) };
        let mut data = vec![0; len as usize];
        self.file.read_at(&mut data, HEAD as u64)?;
        // A torn entry is one whose write had not begun yet.
        Ok((checksum(len, offset, &data) == crc).then_some((offset, data)))
    }

    /// Enters a write. It is durable when this returns. The one before must be void, and durable at its place.
    pub(super) fn enter(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let len = u32::try_from(data.len()).ok().filter(|len| *len <= MOST).ok_or(io::ErrorKind::InvalidInput)?;
        if !self.ready.load(Ordering::Relaxed) {
            let whole = HEAD as u64 + u64::from(MOST);
            self.file.set_len(whole)?;
            // A full file system is to stop a write here, where nothing has been changed yet.
            self.file.reserve(whole)?;
            self.ready.store(true, Ordering::Relaxed);
        }
        // Whether a failed one is on the disk is not known.
        self.put(offset, len, data).or_else(|error| self.make_void().and(Err(error)))
    }

    fn put(&self, offset: u64, len: u32, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, HEAD as u64)?;
        let mut head = [0; HEAD];
        let fields: [&[u8]; 4] =
            [MAGIC, &checksum(len, offset, data).to_le_bytes(), &len.to_le_bytes(), &offset.to_le_bytes()];
        for (to, from) in head.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        self.file.write_at(&head, 0)?;
        self.file.sync()
    }

    /// Makes the entry void: for a killed process at once, for a cut of power with the next [`Journal::settle`].
    pub(super) fn make_void(&self) -> io::Result<()> {
        self.file.write_at(&[0; 512], 0).inspect_err(|_| self.give_up())?;
        self.void.store(true, Ordering::Release);
        Ok(())
    }

    /// The entry stays, and nothing more may be promised until it has been done.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Whatever is void stays so. Part of each flush: what was written over an atomic write must not be undone by its entry.
    pub(super) fn settle(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("an atomic write is half done; it is finished when the disk is opened again"));
        }
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
