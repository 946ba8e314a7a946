//! What a file is that somebody brings: by its content, and by its name only where the content says nothing. Little of it is read, and
//! none of it is trusted.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::answers;
use crate::boot::{Arch, arch_of_machine, pe_machine};
use crate::disks::{self, Format as Image};
use crate::exchange::{self, Format};
use crate::inspect::{self, FileSystemKind, Glance, TableKind};
use crate::lab::ProfileKind;

/// Bytes at the beginning that tell most kinds.
const HEAD: usize = 64 << 10;
/// Bytes of a program that are searched for its name.
const PROGRAM: u64 = 8 << 20;
/// A BIOS boot file is loaded below 640 KiB.
const LARGEST_NBP: u64 = 640 << 10;
/// What a sector has.
const SECTOR: u64 = 512;
/// Where an ISO image has its name (ECMA-119 8.4: sector 16, byte 40).
const ISO_NAME: u64 = 16 * 2048 + 40;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A disk image that can be imported.
    Disk {
        /// `a qcow2 image`.
        format: &'static str,
        /// What divides it, and how many parts, where that shows without converting it.
        table: Option<(TableKind, usize)>,
        /// The file system on the whole of it.
        file_system: Option<FileSystemKind>,
    },
    /// A Linux kernel, or what is started as one.
    Kernel,
    /// Xen, for a BIOS or for UEFI.
    Xen {
        /// A program for UEFI.
        efi: bool,
    },
    /// An initial file system for a kernel.
    Initrd,
    /// Answers for an installer.
    Answers(ProfileKind),
    /// A program that firmware loads from the network.
    Firmware {
        /// What runs it.
        arch: Arch,
        /// A build of iPXE: found and given by itself.
        ipxe: bool,
    },
    /// Configuration of another server.
    Configuration(Format),
    /// Packets.
    Recording,
    /// A medium.
    Iso {
        /// The name that it has.
        label: String,
    },
    /// Packed or bundled: to be unpacked first.
    Packed {
        /// `gzip`.
        packing: &'static str,
        /// A disk image is in it.
        disk: bool,
    },
    /// A folder that is a lab.
    Lab,
    /// Another folder.
    Folder,
    /// Nothing in it.
    Empty,
    /// None of these.
    Unknown,
}

/// Looks at a file. Blocks for a moment: not for a frame.
///
/// # Errors
/// It is not there, not readable, or no file of bytes (a device, a pipe).
pub fn recognise(path: &Path) -> io::Result<Kind> {
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Ok(if path.join("lab.toml").is_file() { Kind::Lab } else { Kind::Folder });
    }
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device or a pipe, and no file"));
    }
    if meta.len() == 0 {
        return Ok(Kind::Empty);
    }
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    let looked = Looked { file: &file, head: &head, len: meta.len(), name: path };
    looked.kind()
}

/// A file whose beginning was read.
struct Looked<'a> {
    file: &'a File,
    head: &'a [u8],
    len: u64,
    name: &'a Path,
}

impl Looked<'_> {
    fn kind(&self) -> io::Result<Kind> {
        if is_recording(self.head) {
            return Ok(Kind::Recording);
        }
        if is_kernel(self.head) {
            return Ok(Kind::Kernel);
        }
        if self.head.starts_with(b"MZ")
            && let Some(kind) = self.program()?
        {
            return Ok(kind);
        }
        if self.is_bios_loader() {
            let ipxe = !contains(self.head, b"PXELINUX");
            return Ok(Kind::Firmware { arch: Arch::Bios, ipxe });
        }
        if is_cpio(self.head) {
            return Ok(Kind::Initrd);
        }
        if self.head.starts_with(b"\x7fELF") {
            return Ok(if is_multiboot(self.head) && self.mentions(&[b"Xen version"])? {
                Kind::Xen { efi: false }
            } else {
                Kind::Unknown
            });
        }
        match disks::detect(self.file)? {
            Image::Raw => {}
            Image::Iso => return self.iso(),
            Image::Packed("a zip file", _) => return Ok(Kind::Packed { packing: "zip", disk: false }),
            // Looked into below.
            Image::Packed(..) => {}
            format => {
                return Ok(Kind::Disk { format: disks::described(format), table: None, file_system: None });
            }
        }
        if let Some(packed) = inspect::unpack(self.file, self.head, HEAD)? {
            return Ok(self.packed(packed.packing, packed.head.as_deref()));
        }
        if is_tar(self.head) {
            return Ok(Kind::Packed { packing: "tar", disk: contains(self.head, b".vmdk") });
        }
        if let Some(text) = text(self.head) {
            return Ok(of_text(self.name, text));
        }
        Ok(self.raw())
    }

    /// A program for UEFI, or one for something else.
    fn program(&self) -> io::Result<Option<Kind>> {
        let Some(arch) = pe_machine(self.head).and_then(arch_of_machine) else { return Ok(None) };
        // Microsoft's PE format, "Windows Subsystem": 10 is a UEFI application.
        if subsystem(self.head) != Some(10) {
            return Ok(Some(Kind::Unknown));
        }
        // A unified kernel image has the kernel in a section of its own.
        if sections(self.head).any(|name| name == *b".linux\0\0") {
            return Ok(Some(Kind::Kernel));
        }
        if self.mentions(&[&wide("EFI loader"), &wide("Xen ")])? {
            return Ok(Some(Kind::Xen { efi: true }));
        }
        Ok(Some(Kind::Firmware { arch, ipxe: self.mentions(&[b"iPXE"])? }))
    }

    /// iPXE's prefix jumps to 07c0:0005, PXELINUX's to itself.
    fn is_bios_loader(&self) -> bool {
        let ipxe = self.head.starts_with(b"\xea\x05\x00\xc0\x07");
        let pxelinux = self.head.first() == Some(&0xea) && contains(self.head, b"PXELINUX");
        self.len <= LARGEST_NBP && (ipxe || pxelinux)
    }

    fn packed(&self, packing: &'static str, plain: Option<&[u8]>) -> Kind {
        match plain {
            Some(plain) if is_cpio(plain) => Kind::Initrd,
            Some(plain) if is_kernel(plain) => Kind::Kernel,
            Some(plain) if plain.starts_with(b"\x7fELF") && is_multiboot(plain) => Kind::Xen { efi: false },
            Some(plain) => {
                let bootable = plain.get(510..512) == Some(b"\x55\xaa");
                Kind::Packed { packing, disk: bootable || is_image_name(self.name) }
            }
            // Not read here; a kernel may.
            None if is_initrd_name(self.name) => Kind::Initrd,
            None => Kind::Packed { packing, disk: is_image_name(self.name) },
        }
    }

    fn iso(&self) -> io::Result<Kind> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(ISO_NAME))?;
        let mut name = [0; 32];
        let label = match file.read_exact(&mut name) {
            Ok(()) => String::from_utf8_lossy(&name).trim_matches(['\0', ' ']).to_owned(),
            Err(_) => String::new(),
        };
        Ok(Kind::Iso { label: crate::lab::printable(&label) })
    }

    /// What has no mark of its own: a disk as it is, if anything.
    fn raw(&self) -> Kind {
        let format = "a raw image";
        let whole = self.len.is_multiple_of(SECTOR);
        match inspect::glance(self.file) {
            Some(Glance::Partitions(table, count)) if whole => {
                Kind::Disk { format, table: Some((table, count)), file_system: None }
            }
            Some(Glance::FileSystem(kind)) if whole => Kind::Disk { format, table: None, file_system: Some(kind) },
            _ if is_initrd_name(self.name) => Kind::Initrd,
            _ if whole && is_image_name(self.name) => Kind::Disk { format, table: None, file_system: None },
            _ => Kind::Unknown,
        }
    }

    /// Whether all of these stand in its beginning of some megabytes.
    fn mentions(&self, all: &[&[u8]]) -> io::Result<bool> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.take(PROGRAM).read_to_end(&mut bytes)?;
        Ok(all.iter().all(|text| contains(&bytes, text)))
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len().max(1)).any(|w| w == text)
}

/// As UEFI programs have their texts.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn at(bytes: &[u8], offset: usize, text: &[u8]) -> bool {
    bytes.get(offset..).is_some_and(|rest| rest.starts_with(text))
}

/// pcap with either order and precision (draft-ietf-opsawg-pcap), pcapng (draft-ietf-opsawg-pcapng).
fn is_recording(head: &[u8]) -> bool {
    let pcap: [&[u8]; 4] = [b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1"];
    let order = at(head, 8, b"\x1a\x2b\x3c\x4d") || at(head, 8, b"\x4d\x3c\x2b\x1a");
    pcap.iter().any(|magic| head.starts_with(magic)) || (head.starts_with(b"\x0a\x0d\x0d\x0a") && order)
}

/// Linux, `Documentation/arch`: x86/boot.rst (`HdrS`), arm64/booting.rst and riscv/boot-image-header.rst (at 0x38), the 32-bit zImage of
/// ARM, and the EFI zboot image.
fn is_kernel(head: &[u8]) -> bool {
    let x86 = at(head, 0x202, b"HdrS") && at(head, 0x1fe, b"\x55\xaa");
    let image = at(head, 0x38, b"ARM\x64") || at(head, 0x38, b"RSC\x05");
    let zboot = head.starts_with(b"MZ") && at(head, 4, b"zimg");
    x86 || image || zboot || at(head, 0x24, b"\x18\x28\x6f\x01")
}

/// Archives of the form `newc`, with or without checksums.
fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"070701") || head.starts_with(b"070702")
}

/// A header in the first 8 KiB, aligned to 4 (Multiboot 3.1), or of the second version in the first 32 KiB, aligned to 8.
fn is_multiboot(head: &[u8]) -> bool {
    let has = |most: usize, step: usize, magic: u32| {
        head.get(..most.min(head.len()))
            .unwrap_or_default()
            .chunks_exact(step)
            .any(|c| c.starts_with(&magic.to_le_bytes()))
    };
    has(8 << 10, 4, 0x1bad_b002) || has(32 << 10, 8, 0xe852_50d6)
}

fn is_tar(head: &[u8]) -> bool {
    at(head, 257, b"ustar")
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// Where the PE header begins.
fn pe(head: &[u8]) -> Option<usize> {
    pe_machine(head)?;
    usize::try_from(u32::from_le_bytes(*head.get(0x3c..)?.first_chunk()?)).ok()
}

fn subsystem(head: &[u8]) -> Option<u16> {
    half(head, pe(head)?.checked_add(24 + 68)?)
}

/// The names of a PE image's sections.
fn sections(head: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    let table = || {
        let pe = pe(head)?;
        let count = usize::from(half(head, pe.checked_add(6)?)?);
        let start = pe.checked_add(24)?.checked_add(usize::from(half(head, pe.checked_add(20)?)?))?;
        Some((start, count))
    };
    let (start, count) = table().unwrap_or((0, 0));
    (0..count.min(96)).map_while(move |n| head.get(start + 40 * n..)?.first_chunk().copied())
}

/// The beginning as text, if it is that.
fn text(head: &[u8]) -> Option<&str> {
    if head.contains(&0) {
        return None;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut within a character.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Answers and configuration look like much else, so each must show a word of its own.
fn of_text(name: &Path, text: &str) -> Kind {
    let start = text.trim_start();
    if start.starts_with("#!ipxe") || start.starts_with("#!gpxe") {
        return Kind::Configuration(Format::Script);
    }
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let begins = |words: &[&str]| lines().filter(|l| words.iter().any(|w| l.starts_with(w))).count();
    let kind = answers::kind_of(text);
    let sure = match kind {
        ProfileKind::Preseed => lines().any(|l| {
            let mut words = l.split_whitespace().skip(1);
            words.next().is_some_and(|question| question.contains('/'))
                && words.next().is_some_and(|of| {
                    ["string", "boolean", "select", "multiselect", "password", "note", "text", "seen"].contains(&of)
                })
        }),
        ProfileKind::Kickstart => {
            let words =
                ["%packages", "rootpw", "bootloader", "clearpart", "autopart", "lang ", "keyboard ", "timezone "];
            begins(&words) > 1
        }
        ProfileKind::Autoinstall => true,
        ProfileKind::None => false,
    };
    if sure {
        return Kind::Answers(kind);
    }
    match exchange::format_of(name, text) {
        Some(Format::Kea) if text.contains("Dhcp4") || text.contains("Dhcp6") => Kind::Configuration(Format::Kea),
        Some(Format::Dhcpd) if begins(&["subnet ", "host ", "option ", "shared-network ", "group", "class "]) > 0 => {
            Kind::Configuration(Format::Dhcpd)
        }
        Some(Format::Dnsmasq) if begins(&["dhcp-", "pxe-", "enable-tftp", "tftp-", "interface="]) > 0 => {
            Kind::Configuration(Format::Dnsmasq)
        }
        Some(Format::Tgt) if text.contains("<target") => Kind::Configuration(Format::Tgt),
        _ => Kind::Unknown,
    }
}

fn lower_name(name: &Path) -> String {
    name.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// As systems name what they pack in ways of their own.
fn is_initrd_name(name: &Path) -> bool {
    lower_name(name).starts_with("initr")
}

/// `.img`, `.raw`, also before the ending of a packed file.
fn is_image_name(name: &Path) -> bool {
    let name = lower_name(name);
    [".img", ".raw", ".qcow2", ".vmdk", ".vhd", ".vhdx", ".dd"]
        .iter()
        .any(|end| name.ends_with(end) || name.contains(&format!("{end}.")))
}
