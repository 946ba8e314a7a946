//! The files of each profile: that a kernel is a kernel, for which processor, and that an initrd is an archive that a kernel takes.
//! That they are there at all is [`super::lab`]'s to say.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use super::{Check, Facts, Row, State, row};
use crate::boot::{Arch, pe_machine};
use crate::lab::Profile;
use crate::lang::{Param, sentence};
use crate::media;

/// As much of a file as its kind is told by.
const HEAD: u64 = 4096;
/// iPXE starts any file that fits into the memory below 640 KiB, from 0x7c00 on, as a boot program of a BIOS: such have no mark.
const LARGEST_NBP: u64 = 0xa_0000 - 0x7c00;
/// What a kernel is, by the ids of `kernel-kind`.
const X86: &str = "linux-x86";
const ARM: &str = "linux-arm64";
const RISCV: &str = "linux-riscv";
const PACKED: &str = "packed";

pub(super) struct Profiles;

impl Check for Profiles {
    fn name(&self) -> &'static str {
        "profile"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let Some(folder) = &facts.folder else { return Vec::new() };
        let media = folder.media();
        facts.lab.profiles.iter().flat_map(|profile| of(profile, &media)).collect()
    }
}

fn of(profile: &Profile, media: &Path) -> Vec<Row> {
    let name = profile.name.as_str();
    let mut rows = Vec::new();
    let mut seen = None;
    let mut unpacks = true;
    if let Some((file, head)) = read(media, &profile.kernel) {
        let what = format!("{name}/kernel");
        let words: [Param<'_>; 2] = [("profile", &name), ("file", &file)];
        let found = kernel(&head);
        unpacks = matches!(&found, Kernel::For(_, X86 | ARM | RISCV) | Kernel::Compressed) && !takes_any(&file, &head);
        match found {
            Kernel::For(runs_on, kind) => {
                let unfit = |arch: &&Arch| !runs_on.contains(&arch.without_http());
                match profile.arch.iter().find(unfit) {
                    Some(arch) => {
                        let list = runs_on.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(", ");
                        let [a, b] = words;
                        rows.push(row(
                            "profile",
                            &what,
                            "kernel-arch",
                            State::Failed,
                            &[a, b, ("arch", arch), ("made_for", &list)],
                        ));
                    }
                    None => seen = Some(sentence("kernel-kind", kind)),
                }
            }
            Kernel::Compressed => seen = Some(sentence("kernel-kind", PACKED)),
            Kernel::Page => rows.push(row("profile", &what, "page", State::Failed, &words)),
            Kernel::Unknown if may_be_nbp(profile, media) => {
                rows.push(row("profile", &what, "boot-program", State::Warning, &words));
            }
            Kernel::Unknown => rows.push(row("profile", &what, "no-kernel", State::Failed, &words)),
        }
    }
    let mut archives = 0usize;
    for (index, path) in profile.initrds.iter().enumerate() {
        let Some((file, head)) = read(media, path) else { continue };
        let what = format!("{name}/initrd-{index}");
        let words: [Param<'_>; 2] = [("profile", &name), ("file", &file)];
        match archive(&head) {
            Some("page") => rows.push(row("profile", &what, "page", State::Failed, &words)),
            Some(_) => archives += 1,
            None if !unpacks => archives += 1,
            None => rows.push(row("profile", &what, "no-archive", State::Warning, &words)),
        }
    }
    if let (true, Some(kind)) = (rows.is_empty(), seen) {
        let words: [Param<'_>; 3] = [("profile", &name), ("kind", &kind), ("archives", &archives)];
        rows.push(row("profile", name, "fine", State::Ok, &words));
    }
    rows
}

/// Whether it is a loader with a Linux kernel's header that takes files of any kind: wimboot and memdisk.
fn takes_any(file: &str, head: &[u8]) -> bool {
    let has = |text: &[u8]| head.windows(text.len()).any(|some| some.eq_ignore_ascii_case(text));
    let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
    [b"wimboot", b"memdisk"].iter().any(|loader| has(*loader))
        || ["wimboot", "memdisk"].iter().any(|loader| name.contains(loader))
}

fn may_be_nbp(profile: &Profile, media: &Path) -> bool {
    let size = || fs::metadata(media::resolve(media, &profile.kernel).ok()?).ok();
    (profile.arch.is_empty() || profile.arch.contains(&Arch::Bios)) && size().is_some_and(|m| m.len() <= LARGEST_NBP)
}

/// The file as lab.toml names it, and its beginning.
fn read(media: &Path, path: &Path) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    File::open(media::resolve(media, path).ok()?).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    (!head.is_empty()).then(|| (path.display().to_string(), head))
}

#[derive(Debug, PartialEq, Eq)]
enum Kernel {
    /// What runs it, and what it is, by an id of `kernel-kind`.
    For(Vec<Arch>, &'static str),
    /// Packed, so that its processor is not seen.
    Compressed,
    /// A web page: an error that was saved in its place.
    Page,
    Unknown,
}

/// By the boot protocols: Linux' for x86 (`HdrS` at 0x202), arm64's and RISC-V's image headers (0x38, 0x30), UEFI's PE, ELF for
/// what a multiboot loader starts, and iPXE's scripts.
fn kernel(head: &[u8]) -> Kernel {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    let pe = pe_machine(head).and_then(|machine| match machine {
        0x014c => Some(Arch::UefiIa32),
        0x8664 => Some(Arch::UefiX64),
        0xaa64 => Some(Arch::UefiArm64),
        0x5064 => Some(Arch::UefiRiscv64),
        0x6264 => Some(Arch::UefiLoong64),
        _ => None,
    });
    if at(0x202, b"HdrS") {
        let efi = match pe {
            Some(arch) => vec![Arch::Bios, arch],
            None => vec![Arch::Bios],
        };
        return Kernel::For(efi, X86);
    }
    if at(0x38, b"ARM\x64") {
        return Kernel::For(vec![Arch::UefiArm64], ARM);
    }
    if at(0x30, b"RISCV\0\0\0") {
        return Kernel::For(vec![Arch::UefiRiscv64], RISCV);
    }
    if let Some(arch) = pe {
        return Kernel::For(vec![arch], "uefi");
    }
    if at(0, b"\x7fELF") {
        return Kernel::For(vec![Arch::Bios, Arch::UefiX64], "elf");
    }
    if at(0, b"#!ipxe") {
        return Kernel::For(Arch::ALL.to_vec(), "script");
    }
    match archive(head) {
        Some("page") => Kernel::Page,
        Some("gzip" | "zstd" | "xz" | "lz4" | "lzma" | "bzip2") => Kernel::Compressed,
        _ => Kernel::Unknown,
    }
}

/// What packs an archive that a kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst of Linux), by its magic.
fn archive(head: &[u8]) -> Option<&'static str> {
    let magics: [(&[u8], &'static str); 11] = [
        (b"\x1f\x8b", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"BZh", "bzip2"),
        (b"\x5d\0\0", "lzma"),
        (b"\x89LZO", "lzo"),
        (b"070701", "cpio"),
        (b"070702", "cpio"),
        (b"070707", "cpio"),
        (b"\xc7\x71", "cpio"),
    ];
    if let Some((_, name)) = magics.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(name);
    }
    let text =
        head.iter().copied().skip_while(u8::is_ascii_whitespace).take(9).collect::<Vec<_>>().to_ascii_lowercase();
    (text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml")).then_some("page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_by_their_boot_protocol() {
        let mut linux = vec![0; 0x400];
        linux[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(kernel(&linux), Kernel::For(vec![Arch::Bios], X86));
        linux[..2].copy_from_slice(b"MZ");
        linux[0x3c] = 0x80;
        linux[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(kernel(&linux), Kernel::For(vec![Arch::Bios, Arch::UefiX64], X86));
        let mut arm = vec![0; 0x80];
        arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert!(matches!(kernel(&arm), Kernel::For(archs, _) if archs == [Arch::UefiArm64]));
        assert_eq!(kernel(b"\n <!DOCTYPE html><title>404"), Kernel::Page);
        assert_eq!(kernel(b"\x1f\x8b\x08"), Kernel::Compressed);
        assert_eq!(kernel(b"kernel"), Kernel::Unknown);
    }

    #[test]
    fn loaders_take_files_of_any_kind_and_a_bios_starts_small_programs() {
        let dir = tempfile::tempdir().unwrap();
        let mut linux = vec![0; 0x400];
        linux[0x202..0x206].copy_from_slice(b"HdrS");
        fs::write(dir.path().join("linux"), &linux).unwrap();
        fs::write(dir.path().join("wimboot"), &linux).unwrap();
        linux.extend(b"MEMDISK 6.04");
        fs::write(dir.path().join("renamed"), &linux).unwrap();
        fs::write(dir.path().join("small"), [0xea; 512]).unwrap();
        fs::write(dir.path().join("large"), vec![0xea; 1 << 20]).unwrap();
        fs::write(dir.path().join("image"), b"hsqs").unwrap();
        let told = |kernel: &str, arch: &str| {
            let toml = format!(
                "version = 1\n[[profile]]\nname = \"a\"\nkernel = \"{kernel}\"\ninitrd = [\"image\"]\n{arch}\n"
            );
            let lab = crate::lab::parse(&toml).unwrap();
            of(&lab.profiles[0], dir.path()).iter().map(|r| (r.case.clone(), r.state.clone())).collect::<Vec<_>>()
        };
        assert_eq!(told("linux", ""), [("no-archive".to_owned(), State::Warning)]);
        assert_eq!(told("wimboot", ""), [("fine".to_owned(), State::Ok)]);
        assert_eq!(told("renamed", ""), [("fine".to_owned(), State::Ok)]);
        assert_eq!(told("small", ""), [("boot-program".to_owned(), State::Warning)]);
        assert_eq!(told("small", "arch = [\"uefi-x64\"]"), [("no-kernel".to_owned(), State::Failed)]);
        assert_eq!(told("large", ""), [("no-kernel".to_owned(), State::Failed)]);
    }

    #[test]
    fn archives_are_told_by_their_magic() {
        assert_eq!(archive(b"070701000"), Some("cpio"));
        assert_eq!(archive(b"\x28\xb5\x2f\xfd.."), Some("zstd"));
        assert_eq!(archive(b"hsqs"), None, "squashfs is no initrd");
        assert_eq!(archive(b""), None);
    }
}
