//! Pours what a device reads as into a new image file: sparse, hashed on the way, and shared with the file that it stands on where
//! the file system can do that.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::storage::punch;
use super::{Allocation, BlockDevice, DiskError, import};

/// Bytes at once.
const PIECE: u64 = 1 << 20;

/// The file under a device, and what of the device is otherwise than in that file: whether so at an offset, and for how many bytes.
pub(super) type Under<'a> = (&'a File, &'a dyn Fn(u64) -> (bool, u64));

/// Refuses what does not fit: all that is not a hole, or with `under` all that differs from a file whose blocks are shared.
pub(super) fn room_for(
    device: &dyn BlockDevice,
    under: Option<&dyn Fn(u64) -> (bool, u64)>,
    dir: &Path,
) -> Result<(), DiskError> {
    let mut needed = 0;
    let mut at = 0;
    while at < device.size() {
        let (what, mut run) = device.allocation(at).map_err(DiskError::io("read", dir))?;
        let mut counts = what == Allocation::Mapped;
        if let Some(under) = under {
            let (differs, len) = under(at);
            counts &= differs;
            run = run.min(len);
        }
        let run = run.clamp(super::SECTOR, device.size() - at);
        needed += if counts { run } else { 0 };
        at += run;
    }
    let (free, _) = import::room(dir)?;
    if free < needed { Err(DiskError::NoSpace { path: dir.to_owned(), needed, free }) } else { Ok(()) }
}

/// Makes the new file `part` of what `device` reads as. It is durable when this returns; an error leaves nothing behind, and never touches
/// a file that was there.
pub(super) fn pour(
    device: &dyn BlockDevice,
    under: Option<Under<'_>>,
    part: &Path,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<(File, blake3::Hash), DiskError> {
    let dir = part.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(DiskError::io("create", dir))?;
    let file = File::options().read(true).write(true).create_new(true).open(part).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            DiskError::InUse { path: part.to_owned(), by: "other work of this name".into() }
        }
        _ => DiskError::io("create", part)(e),
    })?;
    fill(&file, device, under, part, progress, cancel)
        .map(|hash| (file, hash))
        .inspect_err(|_| drop(fs::remove_file(part)))
}

fn fill(
    file: &File,
    device: &dyn BlockDevice,
    under: Option<Under<'_>>,
    part: &Path,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<blake3::Hash, DiskError> {
    let dir = part.parent().unwrap_or(Path::new("."));
    let under = under.filter(|(base, _)| rustix::fs::ioctl_ficlone(file, base).is_ok());
    room_for(device, under.map(|(_, differs)| differs), dir)?;
    let size = device.size();
    file.set_len(size).map_err(DiskError::io("write", part))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE as usize];
    let mut at = 0;
    while at < size {
        if cancel.load(Ordering::Relaxed) {
            return Err(DiskError::Cancelled);
        }
        let (what, run) = device.allocation(at).map_err(DiskError::io("read", part))?;
        let (differs, len) = under.map_or((true, size - at), |(_, differs)| differs(at));
        let len = run.min(len).min(PIECE).clamp(super::SECTOR, size - at);
        let piece = buffer.get_mut(..usize::try_from(len).unwrap_or_default()).unwrap_or_default();
        if what == Allocation::Mapped {
            device.read_at(piece, at).map_err(DiskError::io("read the disk for", part))?;
        } else {
            piece.fill(0);
        }
        hasher.update(piece);
        let zero = piece.iter().all(|byte| *byte == 0);
        let written = match (differs, zero, under.is_some()) {
            (false, ..) | (true, true, false) => Ok(()),
            (true, true, true) => match punch(file, at, len) {
                Ok(true) => Ok(()),
                Ok(false) => file.write_all_at(piece, at),
                Err(error) => Err(error),
            },
            (true, false, _) => file.write_all_at(piece, at),
        };
        written.map_err(DiskError::io("write", part))?;
        at += len;
        progress(at, size);
    }
    file.sync_all().map_err(DiskError::io("write", part))?;
    Ok(hasher.finalize())
}
