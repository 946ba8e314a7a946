//! Partition tables: MBR with its logical partitions, and GPT (UEFI specification 5).

use super::source::{Numbers, Window};
use super::{PartitionRole, TableKind};

/// More partitions than these are not looked at.
const MOST: usize = 128;
/// Logical partitions are a chain on the disk; a longer one is a circle.
const LONGEST_CHAIN: usize = 60;
const SECTOR: u64 = 512;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) kind: TableKind,
    pub(super) parts: Vec<Part>,
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u32,
    /// Bytes from the disk's beginning.
    pub(super) start: u64,
    /// Bytes.
    pub(super) size: u64,
    pub(super) role: PartitionRole,
    /// MBR: the one that the boot code starts.
    pub(super) active: bool,
    /// GPT: its own GUID, for PARTUUID.
    pub(super) uuid: Option<String>,
}

/// Reads the table of a disk. A disk without one is [`TableKind::None`].
pub(super) fn read(disk: &Window) -> Table {
    let nothing = Table { kind: TableKind::None, parts: Vec::new() };
    let Ok(first) = disk.bytes(0, 512) else { return nothing };
    let marked = first.get(510..) == Some(&[0x55, 0xaa][..]);
    let protective = marked && (0..4).any(|n| first.byte(446 + 16 * n + 4) == Some(0xee));
    if protective && let Some(parts) = gpt(disk) {
        return Table { kind: TableKind::Gpt, parts };
    }
    // A file system that takes the whole disk has a boot sector with the same mark.
    if !marked || whole(&first) {
        return nothing;
    }
    Table { kind: TableKind::Mbr, parts: mbr(disk, &first) }
}

fn whole(sector: &[u8]) -> bool {
    let is = |at, text: &[u8]| sector.some(at, text.len()) == Some(text);
    let named = is(3, b"NTFS    ") || is(3, b"EXFAT   ") || is(54, b"FAT") || is(82, b"FAT32");
    let entries = [446, 462, 478, 494];
    let empty = entries.iter().all(|at| sector.some(*at, 16).is_some_and(|entry| entry.iter().all(|b| *b == 0)));
    named && (empty || !entries.iter().all(|at| sound(sector, *at)))
}

/// Whether an entry of an MBR could be one.
fn sound(sector: &[u8], at: usize) -> bool {
    let (flag, kind, size) = (sector.byte(at), sector.byte(at + 4), sector.le32(at + 12));
    matches!(flag, Some(0 | 0x80)) && (kind == Some(0)) == (size == Some(0))
}

fn mbr(disk: &Window, first: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut extended = None;
    for number in 1..=4u32 {
        let at = 446 + 16 * (number as usize - 1);
        let Some((kind, start, size)) = entry(first, at) else { continue };
        if matches!(kind, 0x05 | 0x0f | 0x85) {
            extended.get_or_insert((start, size));
            continue;
        }
        parts.push(part(number, kind, start, size, first.byte(at) == Some(0x80)));
    }
    if let Some((base, _)) = extended {
        let mut next = base;
        for number in 5..5 + u32::try_from(LONGEST_CHAIN).unwrap_or(u32::MAX) {
            let Ok(sector) = disk.bytes(next, 512) else { break };
            if sector.get(510..) != Some(&[0x55, 0xaa][..]) {
                break;
            }
            if let Some((kind, start, size)) = entry(&sector, 446) {
                parts.push(part(number, kind, next.saturating_add(start), size, sector.byte(446) == Some(0x80)));
            }
            let Some((_, start, _)) = entry(&sector, 462) else { break };
            next = base.saturating_add(start);
        }
    }
    parts
}

/// Type, start and size in bytes.
fn entry(sector: &[u8], at: usize) -> Option<(u8, u64, u64)> {
    let kind = sector.byte(at + 4).filter(|kind| *kind != 0)?;
    let (start, size) = (sector.le32(at + 8)?, sector.le32(at + 12)?);
    (size > 0).then_some((kind, u64::from(start) * SECTOR, u64::from(size) * SECTOR))
}

fn part(number: u32, kind: u8, start: u64, size: u64, active: bool) -> Part {
    let role = match kind {
        0xef => PartitionRole::Esp,
        0x8e => PartitionRole::Lvm,
        0x82 => PartitionRole::Swap,
        _ => PartitionRole::Data,
    };
    Part { number, start, size, role, active, uuid: None }
}

fn gpt(disk: &Window) -> Option<Vec<Part>> {
    // Sectors of 4096 bytes are rare; the header says where it is.
    for sector in [512, 4096] {
        let last = (disk.len() / sector).checked_sub(1)?;
        for lba in [1, last] {
            if let Some(parts) = gpt_at(disk, sector, lba) {
                return Some(parts);
            }
        }
    }
    None
}

fn gpt_at(disk: &Window, sector: u64, lba: u64) -> Option<Vec<Part>> {
    let header = disk.bytes(lba.checked_mul(sector)?, 512).ok()?;
    let header_len = usize::try_from(header.le32(12)?).ok().filter(|len| (92..=512).contains(len))?;
    if header.get(..8)? != b"EFI PART" || header.le64(24)? != lba {
        return None;
    }
    let mut summed = header.get(..header_len)?.to_vec();
    summed.get_mut(16..20)?.fill(0);
    if crc32(&summed) != header.le32(16)? {
        return None;
    }
    let (count, size) = (header.le32(80)?.min(1024), usize::try_from(header.le32(84)?).ok()?);
    if !(128..=4096).contains(&size) {
        return None;
    }
    let table = header.le64(72)?.checked_mul(sector)?;
    let mut parts = Vec::new();
    for n in 0..count {
        let at = table.checked_add(u64::from(n) * size as u64)?;
        let Ok(entry) = disk.bytes(at, 128) else { break };
        let (first, last) = (entry.le64(32)?, entry.le64(40)?);
        if entry.get(..16)?.iter().all(|b| *b == 0) || last < first {
            continue;
        }
        let (Some(start), Some(size)) =
            (first.checked_mul(sector), (last - first).checked_add(1).and_then(|n| n.checked_mul(sector)))
        else {
            continue;
        };
        parts.push(Part {
            number: n + 1,
            start,
            size,
            role: role(&guid(entry.get(..16)?)),
            // Attribute 2, "legacy BIOS bootable".
            active: entry.le64(48)? & 4 != 0,
            uuid: Some(guid(entry.get(16..32)?)),
        });
        if parts.len() == MOST {
            break;
        }
    }
    Some(parts)
}

/// Numbers of partitions that share bytes. An ISO image that may also be written to a stick has such a table on purpose: its system
/// partition is a file of the ISO 9660 around it.
pub(super) fn overlaps(disk: &Window, parts: &[Part]) -> Vec<[u32; 2]> {
    // ECMA-119, section 8: the first volume descriptor, in sector 16 of 2048 bytes.
    let iso = disk.bytes(16 * 2048 + 1, 5).is_ok_and(|mark| mark == b"CD001");
    if iso {
        return Vec::new();
    }
    let share =
        |a: &Part, b: &Part| a.start < b.start.saturating_add(b.size) && b.start < a.start.saturating_add(a.size);
    let pairs = parts.iter().enumerate().flat_map(|(at, a)| parts[at + 1..].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| share(a, b)).map(|(a, b)| [a.number, b.number]).take(MOST).collect()
}

/// As it is written: the first three fields have their low byte first.
pub(super) fn guid(bytes: &[u8]) -> String {
    let hex = |range: &[u8]| range.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let swapped = |at: usize, len: usize| {
        let mut field = bytes.some(at, len).unwrap_or_default().to_vec();
        field.reverse();
        hex(&field)
    };
    let plain = |at, len| hex(bytes.some(at, len).unwrap_or_default());
    format!("{}-{}-{}-{}-{}", swapped(0, 4), swapped(4, 2), swapped(6, 2), plain(8, 2), plain(10, 6))
}

fn role(kind: &str) -> PartitionRole {
    match kind {
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" => PartitionRole::Esp,
        "21686148-6449-6e6f-744e-656564454649" => PartitionRole::BiosBoot,
        "e6d6d379-f507-44c2-a23c-238f2a3df928" => PartitionRole::Lvm,
        "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f" => PartitionRole::Swap,
        "e3c9e316-0b5c-4db8-817d-f92df00215ae" => PartitionRole::MicrosoftReserved,
        _ => PartitionRole::Data,
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// For fuzzing.
pub(super) fn fuzz(data: &[u8]) {
    let disk = Window::whole(data.to_vec(), 1 << 22, std::sync::Arc::default());
    let table = read(&disk);
    assert!(table.parts.len() <= MOST.max(LONGEST_CHAIN + 4));
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
