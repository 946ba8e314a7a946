//! NTFS by the crate `ntfs`: enough to find Windows' registry and boot configuration.

use std::io::{self, Read, Seek, SeekFrom};

use ntfs::indexes::NtfsFileNameIndex;
use ntfs::{Ntfs, NtfsError, NtfsFile, NtfsReadSeek};

use super::source::Window;
use super::volume::{Entry, FileSystem, MOST_ENTRIES, Opened, missing};

/// An NTFS file system.
pub(super) struct NtfsVolume {
    ntfs: Ntfs,
    window: Window,
}

/// A window with a place in it.
struct Cursor {
    window: Window,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.window.len().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        self.window.read(buf.get_mut(..len).unwrap_or_default(), self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.window.len().checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn told(error: NtfsError) -> io::Error {
    match error {
        NtfsError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

impl NtfsVolume {
    /// # Errors
    /// It is damaged.
    pub(super) fn open(window: &Window) -> io::Result<Self> {
        let mut cursor = Cursor { window: window.clone(), at: 0 };
        let mut ntfs = Ntfs::new(&mut cursor).map_err(told)?;
        ntfs.read_upcase_table(&mut cursor).map_err(told)?;
        Ok(Self { ntfs, window: window.clone() })
    }

    fn cursor(&self) -> Cursor {
        Cursor { window: self.window.clone(), at: 0 }
    }

    /// The record's number of what is at a path.
    fn find(&self, path: &str) -> io::Result<u64> {
        let mut cursor = self.cursor();
        let root = self.ntfs.root_directory(&mut cursor).map_err(told)?.file_record_number();
        path.split('/').filter(|part| !part.is_empty()).try_fold(root, |at, part| {
            let folder = self.ntfs.file(&mut cursor, at).map_err(told)?;
            if !folder.is_directory() {
                return Err(missing(path));
            }
            let index = folder.directory_index(&mut cursor).map_err(told)?;
            let mut finder = index.finder();
            match NtfsFileNameIndex::find(&mut finder, &self.ntfs, &mut cursor, part) {
                Some(entry) => Ok(entry.map_err(told)?.file_reference().file_record_number()),
                None => Err(missing(path)),
            }
        })
    }

    /// A file's bytes from `at`, and the size of all of them.
    fn read_file(&self, record: u64, at: u64, buf: &mut [u8]) -> io::Result<(usize, u64)> {
        let mut cursor = self.cursor();
        let file = self.ntfs.file(&mut cursor, record).map_err(told)?;
        let Some(item) = data(&file, &mut cursor) else { return Ok((0, 0)) };
        let item = item.map_err(told)?;
        let attribute = item.to_attribute().map_err(told)?;
        let mut value = attribute.value(&mut cursor).map_err(told)?;
        let size = value.len();
        if buf.is_empty() || at >= size {
            return Ok((0, size));
        }
        value.seek(&mut cursor, SeekFrom::Start(at)).map_err(told)?;
        Ok((value.read(&mut cursor, buf).map_err(told)?, size))
    }
}

type Item<'n, 'f> = ntfs::NtfsAttributeItem<'n, 'f>;

fn data<'n, 'f>(file: &'f NtfsFile<'n>, cursor: &mut Cursor) -> Option<Result<Item<'n, 'f>, NtfsError>> {
    file.data(cursor, "")
}

impl FileSystem for NtfsVolume {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut cursor = self.cursor();
        let folder = self.ntfs.file(&mut cursor, self.find(path)?).map_err(told)?;
        if !folder.is_directory() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let index = folder.directory_index(&mut cursor).map_err(told)?;
        let mut iter = index.entries();
        let mut entries = Vec::new();
        while let Some(entry) = iter.next(&mut cursor) {
            let entry = entry.map_err(told)?;
            let Some(key) = entry.key() else { continue };
            let key = key.map_err(told)?;
            entries.push(Entry { name: key.name().to_string_lossy(), folder: key.is_directory() });
            if entries.len() > MOST_ENTRIES {
                break;
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &str) -> io::Result<Opened<'_>> {
        let record = self.find(path)?;
        if self.ntfs.file(&mut self.cursor(), record).map_err(told)?.is_directory() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (_, size) = self.read_file(record, 0, &mut [])?;
        Ok(Opened { size, reader: Box::new(FileReader { volume: self, record, at: 0 }) })
    }
}

struct FileReader<'a> {
    volume: &'a NtfsVolume,
    record: u64,
    at: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (len, _) = self.volume.read_file(self.record, self.at, buf)?;
        self.at += len as u64;
        Ok(len)
    }
}
