//! Disks: what a LUN reads and writes.
//!
//! [`BlockDevice`] is all that the iSCSI target knows of a disk. An image ([`Image`]) is a file; an overlay ([`Overlay`]) is a
//! private layer over one that stays untouched; [`Store`] finds, opens, locks and lists them. `identity` is how an image is
//! known again, `map` is an overlay's memory of what is its own and `atomic` its journal, `usage` asks who else has an image,
//! `import` brings files in and `format` tells what they are. The life of an image: `generations` (commit), `copy` (snapshot,
//! clone), `grow`, `compact`, `remove` (reset, delete).

mod atomic;
mod compact;
mod copy;
mod error;
mod export;
mod extended;
mod folders;
mod format;
mod generations;
mod grow;
mod identify;
mod identity;
mod image;
mod import;
mod map;
mod newborn;
mod overlay;
mod pour;
mod qemu;
mod remove;
mod size;
mod states;
mod storage;
mod store;
mod usage;
mod views;

pub use copy::CopyKind;
pub use error::DiskError;
pub use export::{export_part, export_to};
pub(crate) use format::{Format, described, detect};
pub use identify::Unidentified;
pub use identity::ImageIdentity;
pub use image::Image;
pub use overlay::Overlay;
pub use remove::{Deletion, Dependents};
pub use store::{OpenRequest, Opened, OverlayKey, Store, Whose};
pub use views::{DiskFacts, OverlayFacts};

use std::fs::File;
use std::io;
use std::sync::Arc;

/// Bytes of a device as they lie in a file, from which the kernel sends them without a copy.
#[derive(Debug, Clone)]
pub struct Extent {
    /// The file.
    pub file: Arc<File>,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl Extent {
    /// Fills `buf` from a byte of the file, for who cannot have it sent.
    ///
    /// # Errors
    /// The storage's; the end of the file.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        storage::read_exact(&self.file, buf, at)
    }
}

impl PartialEq for Extent {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.offset, self.len) == (other.offset, other.len)
    }
}

impl Eq for Extent {}

/// What GET LBA STATUS says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Has storage of its own.
    Mapped,
    /// Reads as zeroes and takes no space.
    Deallocated,
}

/// A disk as the target sees it. All offsets and lengths are in bytes and multiples of 512; a range past [`BlockDevice::size`] is
/// `InvalidInput` and changes nothing. Calls may come from several threads at once.
pub trait BlockDevice: Send + Sync + std::fmt::Debug {
    /// Size in bytes. May grow while open.
    fn size(&self) -> u64;

    /// Writes are refused.
    fn readonly(&self) -> bool;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// The storage's.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes `buf` at `offset`. Volatile until [`BlockDevice::flush`]. A full file system is `StorageFull` and leaves what was
    /// acknowledged before intact.
    ///
    /// # Errors
    /// The storage's.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// What the data are on, where only its one owner ever writes to it. `None` where others may write to it, too.
    fn medium(&self) -> Option<Medium> {
        None
    }

    /// Most bytes of a [`BlockDevice::write_atomic`]; 0 where there is none.
    fn atomic(&self) -> u32 {
        0
    }

    /// Writes `buf` at `offset`, as a whole or not at all, whatever happens meanwhile: an error, the end of the process, a cut of power.
    /// Durable when this returns. Whoever reads at the same time may see a part of it.
    ///
    /// # Errors
    /// The storage's; it is as before then, or refuses all else until it is opened again.
    fn write_atomic(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes every write that returned before this call durable.
    ///
    /// # Errors
    /// The storage's.
    fn flush(&self) -> io::Result<()>;

    /// Makes a range read as zeroes; frees its space where that is possible and `unmap` allows it.
    ///
    /// # Errors
    /// The storage's.
    fn zero(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()>;

    /// Where a range that is not empty lies as a whole, if that is one file, and if it may be sent from there: what the kernel has
    /// still to send are the file's own pages, so that a write to the range may change it on its way. A device that has atomic writes
    /// ([`BlockDevice::atomic`]) names nothing that any write can reach.
    fn extent(&self, _offset: u64, _len: u64) -> Option<Extent> {
        None
    }

    /// The allocation at `offset` and for how many bytes from there it is the same (at least 512).
    ///
    /// # Errors
    /// The storage's.
    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)>;
}

/// What the data of a device are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// One that takes the place of another has another name.
    pub name: String,
    /// It is the same at the next boot.
    pub lasts: bool,
}

/// Refuses a range that is not made of whole sectors or ends past `size`.
fn check_range(size: u64, offset: u64, len: u64) -> io::Result<()> {
    let end = offset.checked_add(len);
    if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) || end.is_none_or(|end| end > size) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{len} bytes at {offset} are not whole sectors within a disk of {size} bytes"),
        ));
    }
    Ok(())
}

/// Bytes of a sector; every size and range is a multiple of it.
const SECTOR: u64 = 512;

#[cfg(test)]
mod life_tests;
