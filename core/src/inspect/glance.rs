//! A first look at a file of which nothing is known: whether it divides or holds a file system as a disk does, and what is at the
//! beginning of what is packed in it. Little is read, however large it is.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::source::{Bytes, Window};
use super::unpack::Packing;
use super::{FileSystemKind, TableKind, guarded, table, volume};

/// What a glance may read.
const MOST_READ: u64 = 64 << 20;

/// What a file has of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glance {
    /// A partition table, with so many partitions.
    Partitions(TableKind, usize),
    /// A file system on the whole of it.
    FileSystem(FileSystemKind),
}

/// The beginning of what is packed in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// `gzip`.
    pub(crate) packing: &'static str,
    /// What came out; `None` where that packing is not read here.
    pub(crate) head: Option<Vec<u8>>,
}

impl Bytes for File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |meta| meta.len())
    }

    fn fill(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }
}

/// Looks for a partition table or a file system.
pub(crate) fn glance(file: &File) -> Option<Glance> {
    let window = Window::whole(file.try_clone().ok()?, MOST_READ, Arc::default());
    let table = table::read(&window);
    if table.kind != TableKind::None && !table.parts.is_empty() {
        return Some(Glance::Partitions(table.kind, table.parts.len()));
    }
    let volume = guarded(|| volume::detect(&window)).flatten()?;
    Some(Glance::FileSystem(volume.kind))
}

/// Unpacks at most `most` bytes; `None` for what is not packed as an initramfs or kernel may be.
///
/// # Errors
/// Those of reading the file. What is damaged has nothing at its beginning.
pub(crate) fn unpack(file: &File, head: &[u8], most: usize) -> io::Result<Option<Unpacked>> {
    let Some(packing) = Packing::of(head) else { return Ok(None) };
    let mut packed = file.try_clone()?;
    packed.seek(SeekFrom::Start(0))?;
    let packing_name = packing.name();
    let Ok(plain) = packing.reader(BufReader::new(packed)) else {
        return Ok(Some(Unpacked { packing: packing_name, head: None }));
    };
    let mut out = Vec::new();
    let mut plain = plain.take(most as u64);
    // What was read until an error is its beginning all the same.
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = plain.read(&mut piece) {
        out.extend_from_slice(piece.get(..len).unwrap_or_default());
    }
    Ok(Some(Unpacked { packing: packing_name, head: Some(out) }))
}
