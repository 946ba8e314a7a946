//! What is inside an image: its partitions, file systems, boot loaders and systems, and what would keep them from booting over iSCSI.
//!
//! Never mounts, never writes. An image may have been made by anybody: readers bound what they read, remember and how deep they go, and
//! a panic in one of them is a problem of its volume. In reading order: `source` is the disk's bytes with a bound on them, `table` the
//! partitions, `volume` a small trait for file systems with `fat`, `ext`, `xfs` and `ntfs` behind it; `loaders`, `linux` (with
//! `initramfs`, `cpio`, `unpack` and `network`) and `windows` (with `hive`) say what is on them. [`inspect`] puts it together,
//! [`troubles`] judges it for a way of booting, [`extract`] takes kernels out, and `cache` remembers it for an image.

mod cache;
mod cpio;
mod ext;
mod extract;
mod fat;
mod glance;
mod hive;
mod initramfs;
mod linux;
mod loaders;
mod network;
mod ntfs;
mod source;
mod table;
mod troubles;
mod unpack;
mod volume;
mod windows;
mod xfs;
mod xfs_dir;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use self::linux::On;
use self::source::{Bytes, Window};
use self::table::Table;
use self::volume::{FileSystem, Volume};
use crate::disks::BlockDevice;

pub use self::cache::InspectionCache;
pub(crate) use self::cache::Of;
pub use self::extract::{
    Choice, ExtractError, Extraction, RECORD, Record, RecordedFile, Stale, record_of, renew_record, take, taken_part,
    write_record,
};
pub(crate) use self::glance::{Glance, glance, unpack};
pub use self::initramfs::{Generator, Initramfs};
pub use self::linux::{Hypervisor, ImageFile, Kernel, LinuxSystem};
pub use self::loaders::{BiosLoader, BrokenBoot, EfiProgram, fallback_name};
pub use self::network::{NetworkSetter, NetworkTrouble};
pub use self::troubles::{Trouble, Way, troubles};
pub use self::windows::{WindowsService, WindowsSystem};

/// What an inspection may read: far more than any sound image needs, which is its initramfs and a few folders.
const MOST_READ: u64 = 16 << 30;
/// File systems that are read; further partitions are only listed. What is read of each takes memory.
const MOST_READABLE: usize = 16;
/// The form of an [`Inspection`]; one of another form is made anew.
const VERSION: u32 = 3;

/// What was found in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// Form of this.
    pub v: u32,
    /// Bytes of the disk.
    pub size: u64,
    /// What divides it.
    pub table: TableKind,
    /// Its parts, in the order of the table. A file system on the whole disk is number 0.
    pub partitions: Vec<Partition>,
    /// Numbers of partitions that share bytes, in pairs: whatever writes to one of them destroys the other, and neither is read.
    pub overlaps: Vec<[u32; 2]>,
    /// What a BIOS starts.
    pub bios: BiosLoader,
    /// What UEFI can start.
    pub efi: Vec<EfiProgram>,
    /// The Linux systems on it.
    pub linux: Vec<LinuxSystem>,
    /// The Windows systems on it.
    pub windows: Vec<WindowsSystem>,
}

impl Inspection {
    /// Whether nothing was ever put on it, as far as can be seen.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.table == TableKind::None
            && self.bios == BiosLoader::default()
            && self.partitions.iter().all(|p| p.file_system.is_none() && p.problem.is_none())
    }
}

/// What divides a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// Nothing.
    None,
    /// A master boot record.
    Mbr,
    /// A GUID partition table.
    Gpt,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Its number, from 1; 0 is the whole disk.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What the table says that it is for.
    pub role: PartitionRole,
    /// What it holds, where that is known.
    pub file_system: Option<FileSystemKind>,
    /// The file system's name.
    pub label: Option<String>,
    /// The file system's UUID, as fstab has it.
    pub uuid: Option<String>,
    /// Why its files could not be read.
    pub problem: Option<String>,
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionRole {
    /// Files.
    Data,
    /// The EFI system partition.
    Esp,
    /// The place of GRUB's core on a GPT.
    BiosBoot,
    /// Logical volumes.
    Lvm,
    /// Swap.
    Swap,
    /// Windows' own.
    MicrosoftReserved,
}

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSystemKind {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// NTFS.
    Ntfs,
    /// Btrfs: named, not read.
    Btrfs,
    /// A physical volume of LVM: named, not read.
    Lvm,
    /// Encrypted: named, not read.
    Luks,
    /// Encrypted by Windows: named, not read.
    BitLocker,
    /// Swap.
    Swap,
}

/// Looks into a disk. `stop` ends it early.
///
/// # Errors
/// It was stopped, or its bytes cannot be read. What is damaged in it is told in the result.
pub fn inspect(disk: Arc<dyn BlockDevice>, stop: &Arc<AtomicBool>) -> Result<Inspection, String> {
    inspect_bytes(disk, MOST_READ, stop)
}

fn inspect_bytes(bytes: impl Bytes + 'static, most: u64, stop: &Arc<AtomicBool>) -> Result<Inspection, String> {
    let disk = OpenDisk::open(bytes, most, Arc::clone(stop));
    if disk.window.ended() {
        return Err("it was stopped, or is too large to look into".into());
    }
    disk.window.bytes(0, 512).map_err(|e| format!("its first sector cannot be read: {e}"))?;
    let found = disk.inspection();
    // What was found till then is not what is in it, and nobody may remember it so.
    if stop.load(Ordering::Relaxed) { Err("it was stopped".into()) } else { Ok(found) }
}

/// A disk whose volumes are open.
struct OpenDisk {
    window: Window,
    table: Table,
    overlaps: Vec<[u32; 2]>,
    parts: Vec<OpenPart>,
}

/// A part of a disk, open if its files can be read.
struct OpenPart {
    part: table::Part,
    volume: Option<Volume>,
    problem: Option<String>,
}

impl OpenDisk {
    fn open(bytes: impl Bytes + 'static, most: u64, stop: Arc<AtomicBool>) -> Self {
        let window = Window::whole(bytes, most, stop);
        let mut table = table::read(&window);
        if table.kind == TableKind::None {
            let role = PartitionRole::Data;
            table.parts =
                vec![table::Part { number: 0, start: 0, size: window.len(), role, active: false, uuid: None }];
        }
        let overlaps = table::overlaps(&window, &table.parts);
        let mut readable = 0;
        let open = |part: &table::Part| {
            let within = window.part(part.start, part.size);
            let outside = within.as_ref().is_none_or(|w| w.len() < part.size);
            let many = readable >= MOST_READABLE;
            let other = overlaps.iter().find(|pair| pair.contains(&part.number));
            let other = other.map(|[a, b]| if *a == part.number { *b } else { *a });
            let mut volume =
                within.filter(|_| !many && other.is_none()).and_then(|w| guarded(|| volume::detect(&w)).flatten());
            let mut problem = outside.then(|| "it ends behind the disk's end: the image is cut off".to_owned());
            if let Some(other) = other {
                problem = Some(format!("it shares bytes with partition {other}, so neither is read"));
            }
            if many {
                problem.get_or_insert_with(|| format!("only the first {MOST_READABLE} file systems are read"));
            }
            readable += usize::from(volume.as_ref().is_some_and(|v| matches!(v.files, Some(Ok(_)))));
            if let Some(Err(error)) = volume.as_ref().and_then(|v| v.files.as_ref()) {
                problem = Some(error.clone());
            }
            if problem.is_some() && volume.as_ref().is_some_and(|v| matches!(v.files, Some(Err(_)))) {
                volume = volume.map(|v| Volume { files: None, ..v });
            }
            OpenPart { part: part.clone(), volume, problem }
        };
        let parts = table.parts.iter().map(open).collect();
        Self { window, table, overlaps, parts }
    }

    /// The file systems that can be read.
    fn readable(&self) -> Vec<(On<'_>, &OpenPart, &Volume)> {
        fn one<'a>(open: &'a OpenPart, disk: &'a Window) -> Option<(On<'a>, &'a OpenPart, &'a Volume)> {
            let OpenPart { part, volume: Some(volume), .. } = open else { return None };
            let files = volume.files.as_ref()?.as_ref().ok()?;
            Some((On { partition: part.number, files: &**files, disk: Some(disk) }, open, volume))
        }
        self.parts.iter().filter_map(|open| one(open, &self.window)).collect()
    }

    /// The files of a partition.
    fn files(&self, partition: u32) -> Option<&dyn FileSystem> {
        self.readable().into_iter().find(|(on, ..)| on.partition == partition).map(|(on, ..)| on.files)
    }

    fn inspection(&self) -> Inspection {
        let readable = self.readable();
        let volume_of = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or(("", word));
            let value = value.trim_matches('"');
            let same = |text: &Option<String>| text.as_deref().is_some_and(|t| t.eq_ignore_ascii_case(value));
            let is = |(on, open, volume): &&(On<'_>, &OpenPart, &Volume)| match key {
                "UUID" => same(&volume.uuid),
                "LABEL" => same(&volume.label),
                "PARTUUID" => same(&open.part.uuid),
                // `/dev/sda1` is what the disk is called on most machines.
                _ => {
                    let name = word.strip_prefix("/dev/").unwrap_or_default();
                    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
                    ["sd", "vd", "xvd", "hd"].iter().any(|d| name.starts_with(d)) && number == on.partition.to_string()
                }
            };
            readable.iter().find(is).map(|(on, ..)| *on)
        };
        let boots: Vec<On<'_>> = readable.iter().map(|(on, ..)| *on).collect();
        let mut problems: Vec<(u32, String)> = Vec::new();
        let (mut linux, mut windows, mut efi, mut bcd) = (Vec::new(), Vec::new(), Vec::new(), false);
        for (on, _, volume) in &readable {
            let looked = guarded(|| {
                bcd |= loaders::has_bcd(on.files);
                match volume.kind {
                    FileSystemKind::Fat => efi.extend(loaders::efi(on.files, on.partition)),
                    FileSystemKind::Ntfs => windows.extend(windows::find(on.files, on.partition)),
                    _ => linux.extend(linux::find(*on, &volume_of, &boots)),
                }
            });
            if looked.is_none() {
                problems
                    .push((on.partition, "reading it ended in an error of Bootyard itself; please report it".into()));
            }
        }
        for system in &mut windows {
            system.bcd = bcd;
        }
        let partition = |open: &OpenPart| Partition {
            number: open.part.number,
            start: open.part.start,
            size: open.part.size,
            role: open.part.role,
            file_system: open.volume.as_ref().map(|v| v.kind),
            label: open.volume.as_ref().and_then(|v| v.label.clone()),
            uuid: open.volume.as_ref().and_then(|v| v.uuid.clone()),
            problem: open
                .problem
                .clone()
                .or_else(|| problems.iter().find(|(n, _)| *n == open.part.number).map(|(_, text)| text.clone())),
        };
        Inspection {
            v: VERSION,
            size: self.window.len(),
            table: self.table.kind,
            partitions: self.parts.iter().map(partition).collect(),
            overlaps: self.overlaps.clone(),
            bios: loaders::bios(&self.window, &self.table),
            efi,
            linux,
            windows,
        }
    }
}

/// Runs a reader that may trust a number that it should not; `None`: it panicked.
fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

/// For fuzzing: partition tables.
#[doc(hidden)]
pub fn fuzz_table(data: &[u8]) {
    table::fuzz(data);
}

/// For fuzzing: an initramfs.
#[doc(hidden)]
pub fn fuzz_cpio(data: &[u8]) {
    cpio::fuzz(data);
}

/// For fuzzing: a file of the Windows registry.
#[doc(hidden)]
pub fn fuzz_hive(data: &[u8]) {
    hive::fuzz(data);
}

/// For fuzzing: a whole disk.
#[doc(hidden)]
pub fn fuzz_disk(data: &[u8]) {
    let most = 64 << 20;
    let found = inspect_bytes(data.to_vec(), most, &Arc::default());
    assert!(found.is_err() || data.len() >= 512);
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
