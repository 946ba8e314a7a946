//! Boot loaders: what a BIOS starts from the disk's first sector, and the programs that UEFI finds in its partition.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::TableKind;
use super::source::{Numbers, Window};
use super::table::Table;
use super::volume::FileSystem;
use crate::boot::{Arch, arch_of_machine, pe_machine};

/// Programs that are named.
const MOST_PROGRAMS: usize = 64;

/// What a BIOS finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BiosLoader {
    /// There is code in the first sector.
    pub boot_code: bool,
    /// Whose it is, where that is known: `GRUB`, `Windows`, `SYSLINUX`, `LILO`.
    pub name: Option<String>,
    /// The code that follows is missing: GRUB's core, or the active partition or its boot sector.
    pub broken: Option<BrokenBoot>,
}

impl BiosLoader {
    /// Whether a BIOS gets past the first sector.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.boot_code && self.broken.is_none()
    }
}

/// What the boot code of the first sector would not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BrokenBoot {
    /// GRUB's core.
    NoCore,
    /// No partition is active.
    NoActivePartition,
}

/// A program for UEFI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EfiProgram {
    /// The partition's number; 0 without partitions.
    pub partition: u32,
    /// Its path, as it is spelled there: `/EFI/BOOT/BOOTX64.EFI`.
    pub path: String,
    /// What runs it; `None`: it is no program for UEFI.
    pub arch: Option<Arch>,
}

/// The name under which UEFI looks for a loader on a disk that its settings do not know (UEFI specification 3.5.1.1).
#[must_use]
pub fn fallback_name(arch: Arch) -> Option<&'static str> {
    Some(match arch.without_http() {
        Arch::UefiIa32 => "BOOTIA32.EFI",
        Arch::UefiX64 => "BOOTX64.EFI",
        Arch::UefiArm32 => "BOOTARM.EFI",
        Arch::UefiArm64 => "BOOTAA64.EFI",
        Arch::UefiRiscv32 => "BOOTRISCV32.EFI",
        Arch::UefiRiscv64 => "BOOTRISCV64.EFI",
        Arch::UefiLoong32 => "BOOTLOONGARCH32.EFI",
        Arch::UefiLoong64 => "BOOTLOONGARCH64.EFI",
        _ => return None,
    })
}

/// Looks at the first sector and at what its code needs.
pub(super) fn bios(disk: &Window, table: &Table) -> BiosLoader {
    let Ok(first) = disk.bytes(0, 512) else { return BiosLoader::default() };
    let code = first.get(..440).unwrap_or_default();
    // A protective or empty MBR has nothing there but zeroes, some tools a lone jump.
    if code.iter().filter(|b| **b != 0).count() < 16 || first.get(510..) != Some(&[0x55, 0xaa][..]) {
        return BiosLoader::default();
    }
    let has = |text: &str| code.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text.as_bytes()));
    let name = if has("GRUB ") {
        Some("GRUB")
    } else if has("SYSLINUX") || has("isolinux") || has("Boot error") {
        Some("SYSLINUX")
    } else if has("LILO") {
        Some("LILO")
    } else if has("Invalid partition table") || has("BOOTMGR") {
        Some("Windows")
    } else {
        None
    };
    // Windows writes its code into the protective MBR, too, and from a GPT it starts by UEFI alone.
    if name == Some("Windows") && table.kind == TableKind::Gpt {
        return BiosLoader::default();
    }
    // GRUB's boot.img: where the core's first sector is.
    let core = || disk.bytes(first.le64(0x5c)?.checked_mul(512)?, 512).ok();
    let broken = match name {
        Some("GRUB") if core().is_none_or(|core| core.iter().all(|b| *b == 0)) => Some(BrokenBoot::NoCore),
        Some("Windows") if table.kind == TableKind::Mbr && !table.parts.iter().any(|p| p.active) => {
            Some(BrokenBoot::NoActivePartition)
        }
        _ => None,
    };
    BiosLoader { boot_code: true, name: name.map(str::to_owned), broken }
}

/// The programs for UEFI on a FAT volume, those that a firmware starts by itself first.
pub(super) fn efi(files: &dyn FileSystem, partition: u32) -> Vec<EfiProgram> {
    let mut found = Vec::new();
    let folder = |name: &str| {
        files.names("/", |e| e.folder && e.name.eq_ignore_ascii_case(name)).into_iter().next().map(|n| format!("/{n}"))
    };
    let Some(root) = folder("EFI") else { return found };
    for vendor in files.names(&root, |e| e.folder) {
        let home = format!("{root}/{vendor}");
        // Windows keeps its own one floor below.
        let boot = files.names(&home, |e| e.folder && e.name.eq_ignore_ascii_case("Boot"));
        for home in std::iter::once(home.clone()).chain(boot.iter().map(|b| format!("{home}/{b}"))) {
            for name in files.names(&home, |e| !e.folder && e.name.to_ascii_lowercase().ends_with(".efi")) {
                let path = format!("{home}/{name}");
                let arch = machine(files, &path).and_then(arch_of_machine);
                found.push(EfiProgram { partition, path, arch });
                if found.len() == MOST_PROGRAMS {
                    return found;
                }
            }
        }
    }
    found.sort_by_key(|p| !p.path.to_ascii_lowercase().starts_with("/efi/boot/"));
    found
}

fn machine(files: &dyn FileSystem, path: &str) -> Option<u16> {
    let mut head = Vec::new();
    files.open(path).ok()?.reader.take(4096).read_to_end(&mut head).ok()?;
    pe_machine(&head)
}

/// Whether Windows' boot configuration is on a volume.
pub(super) fn has_bcd(files: &dyn FileSystem) -> bool {
    ["/Boot/BCD", "/EFI/Microsoft/Boot/BCD"].iter().any(|path| files.has(path))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_windows_writes_before_a_gpt_starts_nothing() {
        let mut disk = vec![0; 1 << 20];
        disk[..440].fill(0x90);
        disk[0x163..0x17a].copy_from_slice(b"Invalid partition table");
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let of = |kind| bios(&Window::whole(disk.clone(), 1 << 20, Arc::default()), &Table { kind, parts: Vec::new() });
        assert_eq!(of(TableKind::Gpt), BiosLoader::default());
        let mbr = of(TableKind::Mbr);
        assert_eq!((mbr.boot_code, mbr.name.as_deref()), (true, Some("Windows")));
    }
}
