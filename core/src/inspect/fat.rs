//! FAT12, FAT16 and FAT32 with long names, read-only (Microsoft's "FAT: General Overview of On-Disk Format", 1.03). Small enough to
//! be our own: no chain of clusters can be longer than the file system has clusters, whatever its table says.

use std::io::{self, Read};

use super::source::{Numbers, Window};
use super::volume::{Entry, FileSystem, MOST_ENTRIES, Opened, damaged, missing};

/// Bytes of a directory entry.
const ENTRY: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// A FAT file system.
#[derive(Debug)]
pub(super) struct Fat {
    window: Window,
    width: Width,
    /// Bytes of a cluster.
    cluster: u64,
    /// Where the first table is.
    table: u64,
    /// FAT12 and FAT16: where the root directory is, and its bytes.
    root: (u64, u64),
    /// FAT32: the root directory's first cluster.
    root_cluster: u32,
    /// Where cluster 2 is.
    data: u64,
    /// Clusters, the two numbers that no cluster has included.
    clusters: u32,
    head: Vec<u8>,
}

/// A file or folder.
#[derive(Debug, Clone)]
struct Node {
    name: String,
    short: String,
    folder: bool,
    first: u32,
    size: u32,
}

impl Fat {
    /// `None`: this is no FAT.
    pub(super) fn open(window: &Window) -> Option<Self> {
        let head = window.bytes(0, 512).ok()?;
        if head.get(510..)? != [0x55, 0xaa] || !matches!(head.byte(0)?, 0xeb | 0xe9) {
            return None;
        }
        let sector = u64::from(head.le16(11)?);
        let per_cluster = head.byte(13)?;
        let reserved = u64::from(head.le16(14)?);
        let tables = u64::from(head.byte(16)?);
        if ![512, 1024, 2048, 4096].contains(&sector) || !per_cluster.is_power_of_two() || reserved == 0 {
            return None;
        }
        if !(1..=2).contains(&tables) {
            return None;
        }
        let root_entries = u64::from(head.le16(17)?);
        let sectors = match head.le16(19)? {
            0 => u64::from(head.le32(32)?),
            small => u64::from(small),
        };
        let table_sectors = match head.le16(22)? {
            0 => u64::from(head.le32(36)?),
            small => u64::from(small),
        };
        let root_bytes = (root_entries * ENTRY as u64).next_multiple_of(sector);
        let table = reserved * sector;
        let root_at = table + tables * table_sectors * sector;
        let data = root_at + root_bytes;
        let cluster = sector * u64::from(per_cluster);
        let count = (sectors * sector).checked_sub(data)? / cluster;
        let width = match count {
            0 => return None,
            1..4085 => Width::Fat12,
            4085..65525 => Width::Fat16,
            _ => Width::Fat32,
        };
        Some(Self {
            window: window.clone(),
            width,
            cluster,
            table,
            root: (root_at, root_bytes),
            root_cluster: if width == Width::Fat32 { head.le32(44)? } else { 0 },
            data,
            clusters: u32::try_from(count + 2).ok()?,
            head,
        })
    }

    pub(super) fn label(&self) -> Option<String> {
        let at = if self.width == Width::Fat32 { 71 } else { 43 };
        let label = String::from_utf8_lossy(self.head.some(at, 11)?).trim().to_owned();
        (!label.is_empty() && label != "NO NAME").then_some(label)
    }

    /// As `UUID=` in fstab has it.
    pub(super) fn serial(&self) -> String {
        let at = if self.width == Width::Fat32 { 67 } else { 39 };
        let serial = self.head.le32(at).unwrap_or_default();
        format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
    }

    /// The cluster behind this one; `None` at the end of a chain.
    fn next(&self, cluster: u32) -> io::Result<Option<u32>> {
        let wide = u64::from(cluster);
        let next = match self.width {
            Width::Fat12 => {
                let both = self.window.bytes(self.table + wide * 3 / 2, 2)?.le16(0).unwrap_or_default();
                u32::from(if cluster % 2 == 1 { both >> 4 } else { both & 0xfff })
            }
            Width::Fat16 => u32::from(self.window.bytes(self.table + wide * 2, 2)?.le16(0).unwrap_or_default()),
            Width::Fat32 => self.window.bytes(self.table + wide * 4, 4)?.le32(0).unwrap_or_default() & 0x0fff_ffff,
        };
        Ok((2..self.clusters).contains(&next).then_some(next))
    }

    fn cluster_at(&self, cluster: u32) -> io::Result<u64> {
        let index = cluster.checked_sub(2).filter(|_| cluster < self.clusters);
        Ok(self.data
            + u64::from(index.ok_or_else(|| damaged("a file begins outside of the file system"))?) * self.cluster)
    }

    /// A directory's bytes; cluster 0 is the root.
    fn directory(&self, first: u32) -> io::Result<Vec<u8>> {
        let mut cluster = match (first, self.width) {
            (0, Width::Fat12 | Width::Fat16) => {
                return self.window.bytes(self.root.0, usize::try_from(self.root.1).unwrap_or_default());
            }
            (0, Width::Fat32) => self.root_cluster,
            _ => first,
        };
        let mut bytes = Vec::new();
        let most = MOST_ENTRIES * ENTRY;
        while bytes.len() < most {
            let len = usize::try_from(self.cluster).unwrap_or_default();
            bytes.extend(self.window.bytes(self.cluster_at(cluster)?, len)?);
            match self.next(cluster)? {
                Some(next) => cluster = next,
                None => break,
            }
        }
        Ok(bytes)
    }

    fn nodes(&self, first: u32) -> io::Result<Vec<Node>> {
        let bytes = self.directory(first)?;
        let mut nodes = Vec::new();
        // Long names stand before their entry, the last part first.
        let mut long: Vec<u16> = Vec::new();
        for entry in bytes.chunks_exact(ENTRY) {
            let (lead, attributes) = (entry.byte(0).unwrap_or_default(), entry.byte(11).unwrap_or_default());
            match (lead, attributes) {
                (0, _) => break,
                (0xe5, _) => long.clear(),
                (_, 0x0f) => {
                    if lead & 0x40 != 0 {
                        long.clear();
                    }
                    let parts = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30].iter();
                    let mut part: Vec<u16> = parts.filter_map(|at| entry.le16(*at)).collect();
                    part.extend(std::mem::take(&mut long));
                    long = part;
                    // Twenty entries are the longest name.
                    long.truncate(260);
                }
                (_, volume) if volume & 0x08 != 0 => long.clear(),
                _ => {
                    let short = short_name(entry);
                    let end = long.iter().position(|unit| *unit == 0).unwrap_or(long.len());
                    let name = String::from_utf16_lossy(long.get(..end).unwrap_or_default());
                    long.clear();
                    if short == "." || short == ".." {
                        continue;
                    }
                    let high = if self.width == Width::Fat32 { entry.le16(20).unwrap_or_default() } else { 0 };
                    nodes.push(Node {
                        name: if name.is_empty() { short.clone() } else { name },
                        short,
                        folder: attributes & 0x10 != 0,
                        first: u32::from(high) << 16 | u32::from(entry.le16(26).unwrap_or_default()),
                        size: entry.le32(28).unwrap_or_default(),
                    });
                }
            }
        }
        Ok(nodes)
    }

    fn find(&self, path: &str) -> io::Result<Node> {
        let root = Node { name: String::new(), short: String::new(), folder: true, first: 0, size: 0 };
        path.split('/').filter(|part| !part.is_empty()).try_fold(root, |at, part| {
            let same = |n: &Node| n.name.eq_ignore_ascii_case(part) || n.short.eq_ignore_ascii_case(part);
            if !at.folder {
                return Err(missing(path));
            }
            self.nodes(at.first)?.into_iter().find(same).ok_or_else(|| missing(path))
        })
    }
}

fn short_name(entry: &[u8]) -> String {
    let part = |at, len| {
        let text: String = entry.some(at, len).unwrap_or_default().iter().map(|b| char::from(*b)).collect();
        text.trim_end().to_owned()
    };
    let (stem, extension) = (part(0, 8), part(8, 3));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

impl FileSystem for Fat {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let folder = self.find(path)?;
        if !folder.folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let nodes = self.nodes(folder.first)?;
        Ok(nodes.into_iter().map(|n| Entry { name: n.name, folder: n.folder }).collect())
    }

    fn open(&self, path: &str) -> io::Result<Opened<'_>> {
        let node = self.find(path)?;
        if node.folder {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let size = u64::from(node.size);
        let reader = Chain { fat: self, cluster: (size > 0).then_some(node.first), within: 0, left: size };
        Ok(Opened { size, reader: Box::new(reader) })
    }
}

/// A file's bytes along its clusters. As it ends with the file's size, no circle is endless.
struct Chain<'a> {
    fat: &'a Fat,
    cluster: Option<u32>,
    within: u64,
    left: u64,
}

impl Read for Chain<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        if self.within == self.fat.cluster {
            let next = self.cluster.map(|cluster| self.fat.next(cluster)).transpose()?.flatten();
            (self.cluster, self.within) = (next, 0);
        }
        let cluster = self.cluster.ok_or_else(|| damaged("a file ends before its size"))?;
        let len = (buf.len() as u64).min(self.left).min(self.fat.cluster - self.within);
        let now = buf.get_mut(..usize::try_from(len).unwrap_or_default()).unwrap_or_default();
        self.fat.window.read(now, self.fat.cluster_at(cluster)? + self.within)?;
        self.within += len;
        self.left -= len;
        Ok(now.len())
    }
}
