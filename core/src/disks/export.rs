//! Writes what a disk reads as into a file outside the lab: raw and sparse, or qcow2.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder};

use super::copy::move_anew;
use super::generations::Part;
use super::pour::room_for;
use super::{Allocation, BlockDevice, DiskError};
use crate::api::ExportFormat;

/// Bytes at once.
const PIECE: u64 = 1 << 20;
/// Less than this is not left out as zeroes: qcow2's cluster.
const GRAIN: usize = 64 << 10;

/// A file that an export to `to` may fill; for a job's journal. Nobody else's has its name.
#[must_use]
pub fn export_part(to: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(format!(".{}.part", uuid::Uuid::new_v4().simple()));
    to.with_file_name(name)
}

/// Writes what `source` reads as into `part` ([`export_part`]), which becomes the new file `to` when it is whole. `progress` is given
/// bytes done and in all. One that fails or is cancelled leaves nothing behind.
///
/// # Errors
/// The file exists, its folder is missing or has too little room, the storage's, or it was cancelled.
pub fn export_to(
    source: &dyn BlockDevice,
    to: &Path,
    part: &Path,
    format: ExportFormat,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<(), DiskError> {
    if to.symlink_metadata().is_ok() {
        return Err(DiskError::Exists { path: to.to_owned() });
    }
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !fs::metadata(folder).map_err(DiskError::io("open the folder", folder))?.is_dir() {
        return Err(DiskError::io("open the folder", folder)(io::ErrorKind::NotADirectory.into()));
    }
    room_for(source, None, folder)?;
    let file = File::options().read(true).write(true).create_new(true).open(part);
    let file = file.map_err(DiskError::io("create", part))?;
    let removed_if_left = Part(part);
    let sink = Sink::new(&file, format, source.size()).map_err(DiskError::io("write", part))?;
    let mut buffer = vec![0; PIECE as usize];
    let (mut at, size) = (0, source.size());
    while at < size {
        if cancel.load(Ordering::Relaxed) {
            return Err(DiskError::Cancelled);
        }
        let (what, run) = source.allocation(at).map_err(DiskError::io("read the disk for", to))?;
        if what == Allocation::Deallocated {
            // As new as the file is, it reads as zeroes there.
            at = at.saturating_add(run).min(size);
            progress(at, size);
            continue;
        }
        let len = run.min(PIECE).min(size - at);
        let piece = buffer.get_mut(..usize::try_from(len).unwrap_or_default()).unwrap_or_default();
        source.read_at(piece, at).map_err(DiskError::io("read the disk for", to))?;
        for (n, grain) in piece.chunks(GRAIN).enumerate() {
            if grain.iter().any(|byte| *byte != 0) {
                sink.write(grain, at + (n * GRAIN) as u64).map_err(DiskError::io("write", part))?;
            }
        }
        at += len;
        progress(at, size);
    }
    sink.finish().and_then(|()| file.sync_all()).map_err(DiskError::io("write", part))?;
    move_anew(part, to)?;
    std::mem::forget(removed_if_left);
    File::open(folder).and_then(|d| d.sync_all()).map_err(DiskError::io("write", folder))
}

/// The file in its format.
enum Sink<'a> {
    Raw(&'a File),
    Qcow2(Box<FormatAccess<imago::file::File>>),
}

impl<'a> Sink<'a> {
    fn new(file: &'a File, format: ExportFormat, size: u64) -> io::Result<Self> {
        if format == ExportFormat::Raw {
            file.set_len(size)?;
            return Ok(Self::Raw(file));
        }
        let storage = imago::file::File::try_from(file.try_clone()?)?;
        let image = Qcow2::<imago::file::File>::create_builder(storage)
            .size(size)
            .create_open(DenyImplicitOpenGate::default(), |image| {
                Ok(Qcow2::builder(image).backing(None).write(true))
            })?;
        Ok(Self::Qcow2(Box::new(FormatAccess::new(image))))
    }

    fn write(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.write_all_at(buf, offset),
            Self::Qcow2(image) => image.write(buf, offset),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Raw(_) => Ok(()),
            Self::Qcow2(image) => image.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::disks::Image;

    static GO: AtomicBool = AtomicBool::new(false);

    fn image(dir: &Path) -> Image {
        let path = dir.join("a.raw");
        let file = File::create(&path).unwrap();
        file.set_len((9 << 20) + 512).unwrap();
        file.write_all_at(&[7; 100_000], 0).unwrap();
        file.write_all_at(&[8; 512], 5 << 20).unwrap();
        file.write_all_at(&[9; 512], 9 << 20).unwrap();
        Image::open_shared(&path).unwrap()
    }

    fn qemu_img(args: &[&str]) -> String {
        let output = Command::new("qemu-img").args(args).output().expect("apt-get install qemu-utils");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{args:?}: {text}");
        text
    }

    #[test]
    fn qemu_reads_what_was_exported_and_it_is_sparse() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let source = image(dir.path());
        for (format, name) in [(ExportFormat::Raw, "raw"), (ExportFormat::Qcow2, "qcow2")] {
            let to = dir.path().join(format!("out.{name}"));
            export_to(&source, &to, &export_part(&to), format, &|_, _| {}, &GO).unwrap();
            let (a, b) = (source.path().to_str().unwrap(), to.to_str().unwrap());
            qemu_img(&["compare", "-f", "raw", "-F", name, a, b]);
            if format == ExportFormat::Qcow2 {
                qemu_img(&["check", "-f", "qcow2", b]);
            }
            assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20, "{name}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn an_export_replaces_nothing_and_a_cancelled_one_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let source = image(dir.path());
        let to = dir.path().join("out.raw");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &to).unwrap();
        let there = export_to(&source, &to, &export_part(&to), ExportFormat::Raw, &|_, _| {}, &GO).unwrap_err();
        assert!(matches!(there, DiskError::Exists { .. }), "{there}");
        fs::remove_file(&to).unwrap();
        let cancel = AtomicBool::new(false);
        let stop = |_: u64, _: u64| cancel.store(true, Ordering::Relaxed);
        for format in [ExportFormat::Raw, ExportFormat::Qcow2] {
            cancel.store(false, Ordering::Relaxed);
            let cancelled = export_to(&source, &to, &export_part(&to), format, &stop, &cancel).unwrap_err();
            assert!(matches!(cancelled, DiskError::Cancelled), "{cancelled}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        let no = dir.path().join("no/out");
        let nowhere = export_to(&source, &no, &export_part(&no), ExportFormat::Raw, &|_, _| {}, &GO).unwrap_err();
        assert!(nowhere.to_string().contains("/no"), "{nowhere}");
    }
}
