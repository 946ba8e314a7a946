//! XFS, version 5, read-only: superblock, inodes, extents as list and as tree, links ("XFS Algorithms & Data Structures"). Its log is
//! not replayed: what an unclean end left only there is not seen. Directories are in `xfs_dir`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read};

use super::source::{Numbers, Window};
use super::volume::{Entry, FileSystem, MOST_LINKS, Opened, damaged, missing};
use super::xfs_dir;

/// More extents of a file than these are not looked at.
const MOST_EXTENTS: usize = 100_000;
/// A tree of extents is no deeper, XFS_BTREE_MAXLEVELS.
const DEEPEST: u16 = 9;
/// Where a directory's leaves begin: XFS_DIR2_LEAF_OFFSET.
const LEAVES_AT: u64 = 1 << 35;
/// Features that change nothing for who reads: file types in directories, sparse inodes, a UUID for metadata, wide times, wide counts of
/// extents, exchanges of extents, pointers to parents.
const KNOWN: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80;

/// An XFS file system.
#[derive(Debug)]
pub(super) struct Xfs {
    window: Window,
    pub(super) block: u64,
    blocks: u64,
    root: u64,
    group_blocks: u64,
    groups: u64,
    group_bits: u32,
    inode_size: usize,
    inodes_bits: u32,
    pub(super) dir_block: u64,
    pub(super) ftype: bool,
    /// Folders by their inode's number: the same few are asked for again and again.
    folders: RefCell<HashMap<u64, Vec<(String, u64)>>>,
}

/// A run of blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The file's block.
    pub(super) offset: u64,
    /// Where it is, in bytes of the file system; `None`: reads as zeroes.
    at: Option<u64>,
    /// Blocks.
    len: u64,
}

impl Extent {
    /// The file's block behind it.
    pub(super) fn last(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// An inode.
#[derive(Debug)]
pub(super) struct Inode {
    kind: Kind,
    pub(super) size: u64,
    pub(super) data: Data,
}

/// Where an inode's data are.
#[derive(Debug)]
pub(super) enum Data {
    /// In the inode.
    Local(Vec<u8>),
    /// By their offset.
    Extents(Vec<Extent>),
}

impl Xfs {
    /// # Errors
    /// It is damaged, or of a kind that is not read.
    pub(super) fn open(window: &Window) -> io::Result<Self> {
        let head = window.bytes(0, 512)?;
        Self::of(window, &head).ok_or_else(|| damaged("its superblock contradicts itself"))?
    }

    fn of(window: &Window, head: &[u8]) -> Option<io::Result<Self>> {
        if head.be16(100)? & 0xf != 5 {
            return Some(Err(io::Error::new(io::ErrorKind::Unsupported, "XFS of the old version 4 is not read")));
        }
        let incompatible = head.be32(216)?;
        if incompatible & !KNOWN != 0 {
            let text = format!("XFS with features that are not known here ({incompatible:#x})");
            return Some(Err(io::Error::new(io::ErrorKind::Unsupported, text)));
        }
        let block_bits = u32::from(head.byte(120)?);
        let (block, blocks) = (u64::from(head.be32(4)?), head.be64(8)?);
        let (group_blocks, groups) = (u64::from(head.be32(84)?), u64::from(head.be32(88)?));
        let (group_bits, inodes_bits) = (u32::from(head.byte(124)?), u32::from(head.byte(123)?));
        let inode_size = usize::from(head.be16(104)?);
        let dir_bits = u32::from(head.byte(192)?);
        let sound = (9..=16).contains(&block_bits)
            && block == 1 << block_bits
            && blocks.checked_mul(block)? <= window.len()
            && group_bits <= 31
            && group_blocks > 0
            && group_blocks <= 1 << group_bits
            && blocks <= groups.checked_mul(group_blocks)?
            && (256..=2048).contains(&inode_size)
            && inode_size.is_power_of_two()
            && inodes_bits <= block_bits
            && (inode_size as u64) << inodes_bits == block
            && dir_bits <= 16 - block_bits;
        sound.then(|| {
            Ok(Self {
                window: window.clone(),
                block,
                blocks,
                root: head.be64(56).unwrap_or_default(),
                group_blocks,
                groups,
                group_bits,
                inode_size,
                inodes_bits,
                dir_block: block << dir_bits,
                ftype: incompatible & 1 != 0,
                folders: RefCell::default(),
            })
        })
    }

    /// Where a block is that is numbered by its group, in bytes.
    fn block_at(&self, number: u64) -> Option<u64> {
        let (group, within) = (number >> self.group_bits, number & ((1 << self.group_bits) - 1));
        let linear = group.checked_mul(self.group_blocks)?.checked_add(within)?;
        (group < self.groups && within < self.group_blocks && linear < self.blocks).then(|| linear * self.block)
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let index = number & ((1 << self.inodes_bits) - 1);
        let at = self.block_at(number >> self.inodes_bits).ok_or_else(|| damaged("an inode lies outside"))?;
        let bytes = self.window.bytes(at + index * self.inode_size as u64, self.inode_size)?;
        self.inode_of(&bytes).ok_or_else(|| damaged("an inode contradicts itself"))?
    }

    fn inode_of(&self, bytes: &[u8]) -> Option<io::Result<Inode>> {
        if bytes.get(..2)? != b"IN" || bytes.byte(4)? != 3 {
            return None;
        }
        let kind = match bytes.be16(2)? & 0o170_000 {
            0o100_000 => Kind::File,
            0o040_000 => Kind::Folder,
            0o120_000 => Kind::Link,
            _ => Kind::Other,
        };
        let size = bytes.be64(56)?;
        let wide = bytes.be64(120)? & 0x10 != 0;
        let count = if wide { bytes.be64(24)? } else { u64::from(bytes.be32(76)?) };
        let fork_end = match usize::from(bytes.byte(82)?) * 8 {
            0 => bytes.len(),
            offset => 176 + offset,
        };
        let fork = bytes.get(176..fork_end)?;
        let data = match bytes.byte(5)? {
            1 => Data::Local(fork.get(..usize::try_from(size).ok()?)?.to_vec()),
            2 => {
                let count = usize::try_from(count).ok()?.min(fork.len() / 16);
                Data::Extents(fork.chunks_exact(16).take(count).filter_map(|r| self.extent(r)).collect())
            }
            3 => match self.tree(fork) {
                Ok(extents) => Data::Extents(extents),
                Err(error) => return Some(Err(error)),
            },
            _ => Data::Extents(Vec::new()),
        };
        Some(Ok(Inode { kind, size, data }))
    }

    fn extent(&self, record: &[u8]) -> Option<Extent> {
        let (high, low) = (record.be64(0)?, record.be64(8)?);
        let len = low & 0x1f_ffff;
        let start = (high & 0x1ff) << 43 | low >> 21;
        // A run stays within its group.
        let (first, _last) = (self.block_at(start)?, self.block_at(start.checked_add(len.checked_sub(1)?)?)?);
        let unwritten = high >> 63 == 1;
        Some(Extent { offset: high >> 9 & ((1 << 54) - 1), at: (!unwritten).then_some(first), len })
    }

    /// Extents as a tree, whose root is in the inode.
    fn tree(&self, root: &[u8]) -> io::Result<Vec<Extent>> {
        let wrong = || damaged("a tree of extents contradicts itself");
        let (level, count) = root.be16(0).zip(root.be16(2)).ok_or_else(wrong)?;
        let most = root.len().saturating_sub(4) / 16;
        if level == 0 || level > DEEPEST || usize::from(count) > most {
            return Err(wrong());
        }
        let pointer = |n: usize| root.be64(4 + most * 8 + n * 8);
        let mut extents = Vec::new();
        for n in 0..usize::from(count) {
            self.branch(pointer(n).ok_or_else(wrong)?, level - 1, &mut extents)?;
        }
        Ok(extents)
    }

    fn branch(&self, block: u64, level: u16, extents: &mut Vec<Extent>) -> io::Result<()> {
        let wrong = || damaged("a tree of extents contradicts itself");
        let at = self.block_at(block).ok_or_else(wrong)?;
        let bytes = self.window.bytes(at, usize::try_from(self.block).unwrap_or_default())?;
        if bytes.get(..4) != Some(b"BMA3") || bytes.be16(4) != Some(level) {
            return Err(wrong());
        }
        let count = usize::from(bytes.be16(6).unwrap_or_default());
        let rest = bytes.get(72..).unwrap_or_default();
        if level == 0 {
            extents.extend(rest.chunks_exact(16).take(count).filter_map(|record| self.extent(record)));
        } else {
            let most = rest.len() / 16;
            for n in 0..count.min(most) {
                self.branch(rest.be64(most * 8 + n * 8).ok_or_else(wrong)?, level - 1, extents)?;
            }
        }
        if extents.len() > MOST_EXTENTS {
            return Err(damaged("a file has more pieces than is read"));
        }
        Ok(())
    }

    /// Fills `buf` with a file's bytes from `offset`; what is in no extent reads as zeroes.
    pub(super) fn read_extents(&self, extents: &[Extent], offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (mut offset, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let block = offset / self.block;
            // In the order of their offsets: a sound file's are.
            let index = extents.partition_point(|e| e.offset <= block);
            let covers = |e: &&Extent| block.checked_sub(e.offset).is_some_and(|within| within < e.len);
            let here = index.checked_sub(1).and_then(|n| extents.get(n)).filter(covers);
            let until = match here {
                Some(extent) => extent.last().saturating_mul(self.block),
                None => extents.get(index).map_or(u64::MAX, |next| next.offset.saturating_mul(self.block)),
            };
            let len = usize::try_from(until.saturating_sub(offset)).unwrap_or(usize::MAX).clamp(1, rest.len());
            let (now, after) = rest.split_at_mut(len);
            match here.and_then(|e| Some((e.at?, e.offset))) {
                Some((at, first)) => self.window.read(now, at + (offset - first * self.block))?,
                None => now.fill(0),
            }
            offset += len as u64;
            rest = after;
        }
        Ok(())
    }

    /// The names in a folder and the numbers of their inodes.
    fn folder(&self, number: u64) -> io::Result<Vec<(String, u64)>> {
        if let Some(known) = self.folders.borrow().get(&number) {
            return Ok(known.clone());
        }
        let inode = self.inode(number)?;
        if inode.kind != Kind::Folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let names = match &inode.data {
            Data::Local(bytes) => xfs_dir::short(bytes, self.ftype),
            Data::Extents(extents) => {
                let until = LEAVES_AT.min(inode.size).max(self.dir_block);
                xfs_dir::blocks(self, extents, until)?
            }
        };
        let mut folders = self.folders.borrow_mut();
        if folders.len() > 64 {
            folders.clear();
        }
        folders.insert(number, names.clone());
        Ok(names)
    }

    fn find(&self, path: &str) -> io::Result<u64> {
        // What is left of the way, the next step at the end.
        let steps = |path: &str| -> Vec<String> {
            path.split('/').rev().filter(|s| !s.is_empty() && *s != ".").map(str::to_owned).collect()
        };
        let mut todo = steps(path);
        let mut at = vec![self.root];
        let mut links = 0;
        while let Some(step) = todo.pop() {
            if step == ".." {
                at.truncate(at.len().saturating_sub(1).max(1));
                continue;
            }
            let here = at.last().copied().unwrap_or(self.root);
            let names = self.folder(here)?;
            let (_, number) = names.iter().find(|(name, _)| *name == step).ok_or_else(|| missing(path))?;
            let inode = self.inode(*number)?;
            if inode.kind == Kind::Link {
                links += 1;
                if links > MOST_LINKS {
                    return Err(damaged("a path leads in a circle"));
                }
                let target = self.link(&inode)?;
                if target.starts_with('/') {
                    at.truncate(1);
                }
                todo.extend(steps(&target));
                if todo.len() > 256 {
                    return Err(damaged("a path leads in a circle"));
                }
            } else {
                at.push(*number);
            }
        }
        at.last().copied().ok_or_else(|| missing(path))
    }

    fn link(&self, inode: &Inode) -> io::Result<String> {
        let size = usize::try_from(inode.size).unwrap_or(usize::MAX);
        let bytes = match &inode.data {
            Data::Local(bytes) => bytes.clone(),
            Data::Extents(_) if size > 1024 => return Err(damaged("a link is too long")),
            Data::Extents(extents) => {
                // One block with a header holds all that a link may have.
                let mut block = vec![0; 56 + size];
                self.read_extents(extents, 0, &mut block)?;
                if block.get(..4) != Some(b"XSLM") {
                    return Err(damaged("a link is not one"));
                }
                block.split_off(56)
            }
        };
        String::from_utf8(bytes).map_err(|_| damaged("a link is no text"))
    }
}

impl FileSystem for Xfs {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let names = self.folder(self.find(path)?)?;
        let entry = |(name, number): (String, u64)| {
            let folder = self.inode(number).is_ok_and(|inode| inode.kind == Kind::Folder);
            Entry { name, folder }
        };
        Ok(names.into_iter().filter(|(name, _)| name != "." && name != "..").map(entry).collect())
    }

    fn open(&self, path: &str) -> io::Result<Opened<'_>> {
        let inode = self.inode(self.find(path)?)?;
        match inode.kind {
            Kind::File => {}
            Kind::Folder => return Err(io::ErrorKind::IsADirectory.into()),
            Kind::Link | Kind::Other => return Err(io::ErrorKind::InvalidInput.into()),
        }
        let size = inode.size;
        Ok(Opened { size, reader: Box::new(FileReader { xfs: self, inode, at: 0 }) })
    }
}

struct FileReader<'a> {
    xfs: &'a Xfs,
    inode: Inode,
    at: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.inode.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = buf.len().min(left).min(1 << 20);
        let now = buf.get_mut(..len).unwrap_or_default();
        match &self.inode.data {
            Data::Local(bytes) => {
                let from = usize::try_from(self.at).unwrap_or(usize::MAX);
                now.copy_from_slice(bytes.some(from, len).ok_or(io::ErrorKind::UnexpectedEof)?);
            }
            Data::Extents(extents) => self.xfs.read_extents(extents, self.at, now)?,
        }
        self.at += len as u64;
        Ok(len)
    }
}
