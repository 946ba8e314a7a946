//! File systems behind one small trait: list a folder, open a file. What a partition holds is told by its content.

use std::io::{self, Read};

use super::source::{Numbers, Window};
use super::table::guid;
use super::{FileSystemKind, ext, fat, ntfs, xfs};
use crate::lab::printable;

/// More entries of a folder than these are not looked at.
pub(super) const MOST_ENTRIES: usize = 20_000;
/// A path that leads through more links than these is a circle.
pub(super) const MOST_LINKS: usize = 16;

/// What is in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) folder: bool,
}

/// A file that is read from its beginning.
pub(super) struct Opened<'a> {
    pub(super) size: u64,
    pub(super) reader: Box<dyn Read + 'a>,
}

/// A file system that is only read. Paths begin with `/`; links are followed within it.
pub(super) trait FileSystem {
    /// What is in a folder, in no order; names that are no text are left out.
    ///
    /// # Errors
    /// `NotFound`; the disk's; `InvalidData` where the file system is damaged.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;

    /// Opens a regular file.
    ///
    /// # Errors
    /// As of [`FileSystem::list`].
    fn open(&self, path: &str) -> io::Result<Opened<'_>>;
}

impl dyn FileSystem + '_ {
    /// A whole file of at most `most` bytes.
    pub(super) fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let opened = self.open(path)?;
        if opened.size > most {
            return Err(damaged("a file is far larger than it should be"));
        }
        let mut bytes = Vec::new();
        opened.reader.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The text of a small file, whatever is no UTF-8 in it replaced; `None` where there is none.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(path, 1 << 20).ok()?).into_owned())
    }

    /// The names in a folder that match, sorted; none where there is no such folder. Names that could not be shown are left out.
    pub(super) fn names(&self, path: &str, wanted: impl Fn(&Entry) -> bool) -> Vec<String> {
        let all = self.list(path).unwrap_or_default().into_iter();
        let mut names: Vec<String> =
            all.filter(|e| printable(&e.name) == e.name && wanted(e)).map(|e| e.name).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is a file at this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.open(path).is_ok()
    }
}

/// For a file system that contradicts itself.
pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

pub(super) fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path} is not there"))
}

/// What a partition holds.
pub(super) struct Volume {
    pub(super) kind: FileSystemKind,
    pub(super) label: Option<String>,
    /// As `UUID=` in fstab has it.
    pub(super) uuid: Option<String>,
    /// To read it; `Err` says why it cannot be. `None` for what has no files, or is not read here.
    pub(super) files: Option<Result<Box<dyn FileSystem>, String>>,
}

/// Looks what a partition holds; `None` where nothing is known of it.
pub(super) fn detect(window: &Window) -> Option<Volume> {
    let head = window.bytes(0, 4096.min(usize::try_from(window.len()).unwrap_or(4096))).ok()?;
    let is = |at, text: &[u8]| head.some(at, text.len()) == Some(text);
    let plain = |kind| Some(Volume { kind, label: None, uuid: None, files: None });
    if is(0, b"XFSB") {
        let label = head.some(108, 12).and_then(text);
        let uuid = head.some(32, 16).map(dashed);
        return Some(opened(FileSystemKind::Xfs, label, uuid, xfs::Xfs::open(window).map(boxed)));
    }
    if head.le16(1024 + 56) == Some(0xef53) {
        let label = head.some(1024 + 120, 16).and_then(text);
        let uuid = head.some(1024 + 104, 16).map(dashed);
        return Some(opened(FileSystemKind::Ext, label, uuid, ext::Ext::open(window).map(boxed)));
    }
    if is(3, b"NTFS    ") {
        return Some(opened(FileSystemKind::Ntfs, None, None, ntfs::NtfsVolume::open(window).map(boxed)));
    }
    if is(3, b"-FVE-FS-") {
        return plain(FileSystemKind::BitLocker);
    }
    if is(0, b"LUKS\xba\xbe") {
        return plain(FileSystemKind::Luks);
    }
    if (0..4).any(|n| is(n * 512, b"LABELONE") && is(n * 512 + 24, b"LVM2 001")) {
        return plain(FileSystemKind::Lvm);
    }
    if is(4086, b"SWAPSPACE2") {
        return plain(FileSystemKind::Swap);
    }
    if window.bytes(65536 + 64, 8).is_ok_and(|magic| magic == b"_BHRfS_M") {
        return plain(FileSystemKind::Btrfs);
    }
    if let Some(fat) = fat::Fat::open(window) {
        let (label, uuid) = (fat.label(), Some(fat.serial()));
        return Some(opened(FileSystemKind::Fat, label, uuid, Ok(boxed(fat))));
    }
    None
}

fn boxed(files: impl FileSystem + 'static) -> Box<dyn FileSystem> {
    Box::new(files)
}

fn opened(
    kind: FileSystemKind,
    label: Option<String>,
    uuid: Option<String>,
    files: io::Result<Box<dyn FileSystem>>,
) -> Volume {
    Volume { kind, label, uuid, files: Some(files.map_err(|e| e.to_string())) }
}

/// A label: up to its first zero byte.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end)?).trim_end().to_owned();
    (!text.is_empty()).then(|| printable(&text))
}

/// A UUID whose bytes are in the order in which it is written.
fn dashed(bytes: &[u8]) -> String {
    let mut swapped = bytes.to_vec();
    for range in [0..4, 4..6, 6..8] {
        if let Some(field) = swapped.get_mut(range) {
            field.reverse();
        }
    }
    guid(&swapped)
}

/// Files in memory: what a test has instead of a disk.
#[cfg(test)]
#[derive(Debug, Default, Clone)]
pub(super) struct Tree(pub(super) std::collections::BTreeMap<String, Vec<u8>>);

#[cfg(test)]
impl Tree {
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
    }
}

#[cfg(test)]
impl FileSystem for Tree {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let inside = format!("{}/", path.trim_end_matches('/'));
        let mut found: Vec<Entry> = Vec::new();
        for name in self.0.keys().filter_map(|name| name.strip_prefix(&inside)) {
            let (name, folder) = name.split_once('/').map_or((name, false), |(first, _)| (first, true));
            if !found.iter().any(|e| e.name == name) {
                found.push(Entry { name: name.to_owned(), folder });
            }
        }
        if found.is_empty() { Err(missing(path)) } else { Ok(found) }
    }

    fn open(&self, path: &str) -> io::Result<Opened<'_>> {
        let bytes = self.0.get(path).ok_or_else(|| missing(path))?;
        Ok(Opened { size: bytes.len() as u64, reader: Box::new(&bytes[..]) })
    }
}
