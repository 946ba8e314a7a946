//! ext2, ext3 and ext4 by the crate `ext4-view`, which replays a journal in memory. What it would take on trust is checked before.

use std::error::Error;
use std::io::{self, Read};

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType};

use super::source::{Numbers, Window};
use super::volume::{Entry, FileSystem, MOST_ENTRIES, Opened, damaged};

/// An ext file system.
pub(super) struct Ext(Ext4);

struct Reader(Window);

impl Ext4Read for Reader {
    fn read(&mut self, start_byte: u64, dst: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        self.0.read(dst, start_byte).map_err(Into::into)
    }
}

impl Ext {
    /// # Errors
    /// It is damaged, or of a kind that is not read.
    pub(super) fn open(window: &Window) -> io::Result<Self> {
        // Memory is reserved by these numbers: they must fit the partition.
        let head = window.bytes(1024, 1024)?;
        let shift = head.le32(24).filter(|shift| *shift <= 6).ok_or_else(|| damaged("its blocks have an odd size"))?;
        let block = 1024u64 << shift;
        let wide = head.le32(96).unwrap_or_default() & 0x80 != 0;
        let high = if wide { head.le32(0x150).unwrap_or_default() } else { 0 };
        let blocks = u64::from(high) << 32 | u64::from(head.le32(4).unwrap_or_default());
        let per_group = u64::from(head.le32(32).unwrap_or_default());
        if blocks.checked_mul(block).is_none_or(|bytes| bytes > window.len()) {
            return Err(damaged("it is larger than its partition"));
        }
        if !(256..=8 * block).contains(&per_group) || head.le32(40).unwrap_or_default() == 0 {
            return Err(damaged("its groups have an odd size"));
        }
        Ext4::load(Box::new(Reader(window.clone()))).map(Self).map_err(told)
    }
}

fn told(error: Ext4Error) -> io::Error {
    error.into()
}

impl FileSystem for Ext {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in self.0.read_dir(path).map_err(told)?.take(MOST_ENTRIES) {
            let entry = entry.map_err(told)?;
            let Ok(name) = entry.file_name().as_str().map(str::to_owned) else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let folder = entry.file_type().is_ok_and(|kind| kind == FileType::Directory);
            entries.push(Entry { name, folder });
        }
        Ok(entries)
    }

    fn open(&self, path: &str) -> io::Result<Opened<'_>> {
        let file = self.0.open(path).map_err(told)?;
        let size = file.metadata().len();
        Ok(Opened { size, reader: Box::new(FileReader { file, left: size }) })
    }
}

struct FileReader {
    file: ext4_view::File,
    left: u64,
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        let len = self.file.read_bytes(buf).map_err(told)?;
        self.left = self.left.saturating_sub(len as u64);
        Ok(len)
    }
}
