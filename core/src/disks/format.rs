//! What a file is, and how the formats that an import takes are read.
//!
//! Raw and qcow2 are read here; of a qcow2 image its own file alone, never another that it names: it may have been made by anybody.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, Mapping};

use super::image::data_run;
use super::qemu::{self, Foreign, QemuImg};
use super::{DiskError, SECTOR};

/// What a file is, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Raw,
    /// QEMU's own.
    Qcow2,
    /// A disk image that `qemu-img` knows by this name.
    Qemu(&'static str, &'static str),
    Iso,
    /// A compressed file and the command that unpacks it.
    Packed(&'static str, &'static str),
}

/// Formats by what is at their beginning.
const MAGICS: [(&[u8], Format); 9] = [
    (b"QFI\xfb", Format::Qcow2),
    (b"KDMV", Format::Qemu("vmdk", "a VMDK image")),
    (b"# Disk DescriptorFile", Format::Qemu("vmdk", "the description of a VMDK image")),
    (b"vhdxfile", Format::Qemu("vhdx", "a VHDX image")),
    (b"conectix", Format::Qemu("vpc", "a VHD image")),
    (b"\x1f\x8b\x08", Format::Packed("a gzip file", "gzip -dc")),
    (b"\xfd7zXZ\0", Format::Packed("an xz file", "xz -dc")),
    (b"\x28\xb5\x2f\xfd", Format::Packed("a zstd file", "zstd -dc")),
    (b"PK\x03\x04", Format::Packed("a zip file", "unzip -p")),
];

/// Tells a file's format by its content.
pub(crate) fn detect(file: &File) -> io::Result<Format> {
    let read = |offset, buf: &mut [u8]| match file.read_exact_at(buf, offset) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    };
    let mut head = [0; 32];
    let len = file.metadata()?.len();
    if !read(0, head.get_mut(..usize::try_from(len.min(32)).unwrap_or(32)).unwrap_or_default())? {
        return Ok(Format::Raw);
    }
    if let Some((_, format)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(*format);
    }
    // VirtualBox's text varies; its signature is at 64 (VDI 1.1).
    let mut vdi = [0; 4];
    if read(64, &mut vdi)? && vdi == 0xbeda_107f_u32.to_le_bytes() {
        return Ok(Format::Qemu("vdi", "a VDI image"));
    }
    // ECMA-119 8.1: the first volume descriptor is in sector 16.
    let mut iso = [0; 5];
    if read(16 * 2048 + 1, &mut iso)? && iso == *b"CD001" {
        return Ok(Format::Iso);
    }
    // A fixed VHD is raw with a footer.
    let mut footer = [0; 8];
    if len > SECTOR && read(len - SECTOR, &mut footer)? && footer == *b"conectix" {
        return Ok(Format::Qemu("vpc", "a VHD image"));
    }
    Ok(Format::Raw)
}

/// What a format is called.
pub(crate) fn described(format: Format) -> &'static str {
    match format {
        Format::Raw => "a raw image",
        Format::Qcow2 => "a qcow2 image",
        Format::Qemu(_, text) | Format::Packed(text, _) => text,
        Format::Iso => "an ISO image",
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+,:@".contains(&b));
    if plain && !text.starts_with('-') { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Why a file of a format cannot be served as it is, with what to do.
pub(super) fn refusal(path: &Path, format: Format) -> Option<DiskError> {
    let raw = quoted(&path.with_extension("raw"));
    let source = quoted(path);
    let (format, remedy) = match format {
        Format::Raw => return None,
        Format::Qcow2 => ("a qcow2 image", format!("import it: bootyard disks import {source}")),
        Format::Qemu(_, text) => {
            (text, format!("import it: bootyard disks import {source}"))
        }
        Format::Iso => (
            "an ISO image, which is a medium and no disk",
            "add it as an installer; to give it to machines as a disk all the same, copy it to disks/ and set `readonly = true`"
                .into(),
        ),
        Format::Packed(text, command) => (text, format!("unpack it first: {command} {source} > {raw}")),
    };
    Some(DiskError::Format { path: path.to_owned(), format, remedy })
}

/// An image that is imported.
pub(super) enum Source {
    Raw(File),
    Qcow2(Box<FormatAccess<imago::file::File>>),
    /// Whatever `qemu-img` knows.
    Foreign(Box<Foreign>),
}

impl Source {
    /// Opens a file of this format; one that needs another file is refused. `search` is where `qemu-img` is looked for.
    pub(super) fn open(
        path: &Path,
        file: File,
        format: Format,
        search: &OsStr,
        cancel: &AtomicBool,
    ) -> Result<Self, DiskError> {
        match format {
            Format::Raw => Ok(Self::Raw(file)),
            Format::Qcow2 => {
                let opened = imago::file::File::try_from(file)
                    .and_then(|file| Qcow2::<imago::file::File>::builder(file).open(DenyImplicitOpenGate::default()));
                match opened {
                    Ok(image) => Ok(Self::Qcow2(Box::new(FormatAccess::new(image)))),
                    Err(e) => Err(unreadable(path, &e)),
                }
            }
            Format::Qemu(name, _) => match QemuImg::find(search) {
                Some(program) => Ok(Self::Foreign(Box::new(program.open(path, format, name, cancel)?))),
                None => Err(qemu::missing(path, format)),
            },
            other => Err(refusal(path, other).unwrap_or(DiskError::NotAFile { path: path.to_owned() })),
        }
    }

    /// Bytes of the disk.
    pub(super) fn size(&self) -> io::Result<u64> {
        match self {
            Self::Raw(file) => Ok(file.metadata()?.len()),
            Self::Qcow2(image) => Ok(image.size()),
            Self::Foreign(foreign) => Ok(foreign.size),
        }
    }

    /// Whether the byte at `offset` is data, and where that ends; what is no data is zeroes.
    pub(super) fn run(&self, offset: u64, size: u64) -> io::Result<(bool, u64)> {
        match self {
            Self::Raw(file) => data_run(file, offset, size),
            Self::Qcow2(image) => {
                let (mapping, len) = image.get_mapping(offset, size - offset)?;
                if len == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image ends before its disk does"));
                }
                Ok((!matches!(mapping, Mapping::Zero { .. }), offset.saturating_add(len).min(size)))
            }
            Self::Foreign(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.read_exact_at(buf, offset),
            Self::Qcow2(image) => image.read(buf, offset),
            Self::Foreign(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Bytes that a copy takes; fewer than that when cancelled.
    pub(super) fn needs(&self, size: u64, cancel: &AtomicBool) -> io::Result<u64> {
        if let Self::Raw(file) = self {
            return Ok(size.min(file.metadata()?.blocks().saturating_mul(512)));
        }
        if let Self::Foreign(foreign) = self {
            return Ok(foreign.needs);
        }
        let (mut at, mut needs) = (0, 0);
        while at < size && !cancel.load(Ordering::Relaxed) {
            let (data, end) = self.run(at, size)?;
            needs += if data { end - at } else { 0 };
            at = end;
        }
        Ok(needs)
    }

    /// The file, if its bytes are the disk's.
    pub(super) fn plain(&self) -> Option<&File> {
        match self {
            Self::Raw(file) => Some(file),
            Self::Qcow2(_) | Self::Foreign(_) => None,
        }
    }

    /// What a failed read means for a person.
    pub(super) fn failed(&self, path: &Path, e: io::Error) -> DiskError {
        match self {
            Self::Raw(_) | Self::Foreign(_) => DiskError::io("read", path)(e),
            Self::Qcow2(_) => unreadable(path, &e),
        }
    }
}

/// A qcow2 image that has a backing or data file, is encrypted, damaged, or newer than what is known here.
fn unreadable(path: &Path, e: &io::Error) -> DiskError {
    let (source, raw) = (quoted(path), quoted(&path.with_extension("raw")));
    DiskError::Format {
        path: path.to_owned(),
        format: "a qcow2 image that cannot be read by itself",
        remedy: format!(
            "{e}; if you trust what it refers to, convert it: qemu-img convert -f qcow2 -O raw {source} {raw}"
        ),
    }
}
