//! Brings image files into the lab.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::statvfs;

use super::format::{Format, Source, detect, refusal};
use super::identity::{self, Stamp};
use super::newborn::appear;
use super::{DiskError, SECTOR};
use crate::lab::Name;

/// Refuses to serve a file as a raw image that is of another format: its machines would see its headers.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), DiskError> {
    super::usage::refuse_device(path)?;
    let file = File::open(path).map_err(DiskError::io("open", path))?;
    if !file.metadata().map_err(DiskError::io("read", path))?.is_file() {
        return Err(DiskError::NotAFile { path: path.to_owned() });
    }
    match detect(&file).map_err(DiskError::io("read", path))? {
        Format::Iso => Ok(()),
        format => refusal(path, format).map_or(Ok(()), Err),
    }
}

/// Bytes free and bytes in all of the file system of a folder, or of its nearest parent that exists.
pub(super) fn room(dir: &Path) -> Result<(u64, u64), DiskError> {
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(dir);
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let stat = statvfs(there).map_err(|e| DiskError::io("ask for the room of", dir)(e.into()))?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// The temporary file of an import; removed unless it was moved away.
struct Part<'a>(&'a Path);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

const PART: &str = ".raw.part";

/// Where an import is until it is whole.
pub(super) fn part_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}{PART}"))
}

pub(super) fn import(
    dir: &Path,
    from: &Path,
    name: &str,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<PathBuf, DiskError> {
    import_with(dir, from, name, progress, cancel, &std::env::var_os("PATH").unwrap_or_default())
}

/// The same; `search` is where other programs are looked for.
fn import_with(
    dir: &Path,
    from: &Path,
    name: &str,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
    search: &OsStr,
) -> Result<PathBuf, DiskError> {
    let name: Name = name.parse()?;
    super::usage::refuse_device(from)?;
    let file = File::open(from).map_err(DiskError::io("open", from))?;
    let meta = file.metadata().map_err(DiskError::io("read", from))?;
    if !meta.is_file() {
        return Err(DiskError::NotAFile { path: from.to_owned() });
    }
    let format = detect(&file).map_err(DiskError::io("read", from))?;
    let source = Source::open(from, file, format, search, cancel)?;
    let size = source.size().map_err(|e| source.failed(from, e))?;
    if size == 0 {
        return Err(DiskError::BadSize { path: from.to_owned(), size });
    }
    let path = dir.join(format!("{name}.raw"));
    if path.symlink_metadata().is_ok() {
        return Err(DiskError::Exists { path });
    }
    fs::create_dir_all(dir).map_err(DiskError::io("create", dir))?;
    let part_path = part_path(dir, name.as_str());
    // What a crash left was removed at the start of the engine: one that is there is being filled.
    let target =
        File::options().read(true).write(true).create_new(true).open(&part_path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                DiskError::InUse { path: part_path.clone(), by: "another import of this name".into() }
            }
            _ => DiskError::io("create", &part_path)(e),
        })?;
    let part = Part(&part_path);
    // One that shares the source's blocks takes no room and no time to write.
    let shares = source.plain().is_some_and(|file| rustix::fs::ioctl_ficlone(&target, file).is_ok());
    // First of all, so that the size that a hostile image claims ends here and not in a walk through it.
    target.set_len(size.next_multiple_of(SECTOR)).map_err(DiskError::io("write", &part_path))?;
    let needed = source.needs(size, cancel).map_err(|e| source.failed(from, e))?;
    let (free, _) = room(dir)?;
    if !shares && free < needed {
        return Err(DiskError::NoSpace { path: dir.to_owned(), needed, free });
    }
    let copied = match &source {
        Source::Foreign(foreign) => {
            // Two passes: it is written by another program, and then read for its hash.
            foreign.convert(&part_path, &|thousandths| progress(size / 1000 * thousandths / 2, size), cancel)?;
            let whole = target.try_clone().map_err(DiskError::io("open", &part_path))?;
            let second = |done: u64, _: u64| progress(size / 2 + done / 2, size);
            copy(&Source::Raw(whole), &target, true, size, &second, cancel)
        }
        _ => copy(&source, &target, shares, size, progress, cancel),
    };
    let hash = copied.map_err(|e| match e {
        CopyError::Cancelled => DiskError::Cancelled,
        CopyError::Read(e) => source.failed(from, e),
        CopyError::Write(e) => DiskError::io("write", &part_path)(e),
    })?;
    let after = fs::metadata(from).map_err(DiskError::io("read", from))?;
    if Stamp::of(&after) != Stamp::of(&meta) {
        return Err(DiskError::ChangedMeanwhile { path: from.to_owned() });
    }
    target.sync_all().map_err(DiskError::io("write", &part_path))?;
    appear(&part_path, &path, dir, || {
        let stamp = Stamp::of(&target.metadata().map_err(DiskError::io("read", &path))?);
        identity::remember(dir, &path, &hash, stamp).map(|_| ())
    })?;
    // It keeps this name until it has its entry.
    std::mem::forget(part);
    Ok(path)
}

enum CopyError {
    Cancelled,
    Read(io::Error),
    Write(io::Error),
}

/// Copies data and leaves holes; hashes all. The copy is filled up to a whole sector. `shares`: it has the data already.
fn copy(
    source: &Source,
    target: &File,
    shares: bool,
    size: u64,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<blake3::Hash, CopyError> {
    let whole = size.next_multiple_of(SECTOR);
    target.set_len(whole).map_err(CopyError::Write)?;
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let (data, end) = source.run(at, size).map_err(CopyError::Read)?;
        if !data {
            buf.fill(0);
        }
        while at < end {
            if cancel.load(Ordering::Relaxed) {
                return Err(CopyError::Cancelled);
            }
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
            let piece = buf.get_mut(..len).unwrap_or_default();
            if data {
                source.read_at(piece, at).map_err(CopyError::Read)?;
                // A file system without holes gets them where the data has them.
                if !shares && piece.iter().any(|b| *b != 0) {
                    target.write_all_at(piece, at).map_err(CopyError::Write)?;
                }
            }
            hasher.update(piece);
            at += len as u64;
            progress(at, size);
        }
    }
    let fill = usize::try_from(whole - size).unwrap_or_default();
    hasher.update([0; SECTOR as usize].get(..fill).unwrap_or_default());
    Ok(hasher.finalize())
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
