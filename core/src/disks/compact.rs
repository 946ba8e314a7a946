//! Gives back the space of blocks that say nothing of their own.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::folders::folders;
use super::image::data_run;
use super::storage::punch;
use super::store::Store;
use super::{BlockDevice, DiskError, Image, Overlay, identity};
use crate::lab::{Disk, Writes};

/// What is looked at as a whole: file systems free no less.
const BLOCK: usize = 4096;

impl Store {
    /// Frees the space of an image's zeroes, and of overlays' blocks that are zero or the same as the image's. Overlays that a session has
    /// open are passed over. Gives the bytes given back; `progress` is given bytes done and in all.
    ///
    /// # Errors
    /// The image is missing or open for writing, the storage's, or it was cancelled. What was freed until then stays freed.
    pub fn compact(&self, disk: &Disk, progress: &dyn Fn(u64, u64), cancel: &AtomicBool) -> Result<u64, DiskError> {
        let path = self.image_path(disk);
        let _image = self.hold(&path, "a commit or other work on this image")?;
        let dir = self.overlays_dir(disk);
        let overlays: Vec<_> = folders(&dir).into_iter().map(|(folder, _)| folder).collect();
        let size = std::fs::metadata(&path).map_err(DiskError::io("open", &path))?.len();
        let total = size.saturating_mul(overlays.len() as u64 + 1);
        let mut freed = self.compact_image(disk, &|done, _| progress(done, total), cancel)?;
        for (n, folder) in (1..).zip(overlays) {
            let Ok(_hold) = self.hold(&folder, "the freeing of unused space") else { continue };
            let present = self.golden(&path)?;
            let identify = |path: &Path| self.identify_once(path, &|_, _| {}, cancel);
            let base = self.base_of(&path, &identify(&path)?, &folder, present, &identify)?;
            let overlay = Overlay::open(&folder, base, 0)?;
            freed += overlay
                .compact(&|done, _| progress((n * size + done).min(total), total), cancel)
                .map_err(DiskError::io("compact", &folder))?;
            if cancel.load(Ordering::Relaxed) {
                return Err(DiskError::Cancelled);
            }
        }
        progress(total, total);
        Ok(freed)
    }

    fn compact_image(&self, disk: &Disk, progress: &dyn Fn(u64, u64), cancel: &AtomicBool) -> Result<u64, DiskError> {
        let path = self.image_path(disk);
        // Whoever reads it sees the same bytes before and after; whoever writes it must not do so at the same time.
        let image = if disk.writes == Writes::Image && !disk.readonly {
            Arc::new(Image::open_exclusive(&path)?)
        } else {
            self.golden(&path)?
        };
        let before = identity::known(self.dir(), &path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(DiskError::io("open", &path))?;
        let io = |what: &'static str| DiskError::io(what, &path);
        let meta = file.metadata().map_err(io("read"))?;
        let (blocks, modified) = (meta.blocks(), meta.modified().map_err(io("read"))?);
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < image.size() {
            let (data, end) = data_run(&file, at, image.size()).map_err(io("read"))?;
            while data && at < end {
                if cancel.load(Ordering::Relaxed) {
                    return Err(DiskError::Cancelled);
                }
                let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                let piece = buffer.get_mut(..len).unwrap_or_default();
                file.read_exact_at(piece, at).map_err(io("read"))?;
                let mut start = None;
                let chunks = piece.chunks(BLOCK).map(|c| c.len() == BLOCK && c.iter().all(|b| *b == 0));
                for (n, zero) in chunks.chain([false]).enumerate() {
                    match (zero, start) {
                        (true, None) => start = Some(n),
                        (false, Some(from)) => {
                            let (from, to) = ((from * BLOCK) as u64, (n * BLOCK) as u64);
                            punch(&file, at + from, to - from).map_err(io("free space in"))?;
                            // Its content is what it was, and nobody needs to read it again before a login.
                            file.set_modified(modified).map_err(io("write"))?;
                            start = None;
                        }
                        _ => {}
                    }
                }
                at += len as u64;
                progress(at, image.size());
            }
            at = end.max(at);
        }
        file.sync_all().map_err(io("write"))?;
        let meta = file.metadata().map_err(io("read"))?;
        if let Some(identity) = before {
            // Its content is what it was: it need not be read again.
            identity::transfer(self.dir(), &path, &identity, identity::Stamp::of(&meta))?;
        }
        Ok(blocks.saturating_sub(meta.blocks()) * 512)
    }
}
