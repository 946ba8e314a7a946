//! Disks grow: overlays past the end of their image, which stays as it is; an image that is written into itself.

use std::sync::{Arc, Weak};

use super::store::Store;
use super::{DiskError, Image, Overlay, SECTOR};
use crate::lab::{Disk, Writes};

impl Store {
    /// Refuses a size below what machines see of a disk already.
    ///
    /// # Errors
    /// [`DiskError::Shrink`], [`DiskError::BadSize`], [`DiskError::Missing`].
    pub fn refuse_to_shrink(&self, disk: &Disk, size: u64) -> Result<(), DiskError> {
        let path = self.image_path(disk);
        if !size.is_multiple_of(SECTOR) {
            return Err(DiskError::BadSize { path, size });
        }
        let is = std::fs::metadata(&path).map_err(DiskError::io("open", &path))?.len();
        let shown = is.max(disk.size.unwrap_or(0));
        if size < shown {
            return Err(DiskError::Shrink { path, size: shown, wanted: size });
        }
        Ok(())
    }

    /// Makes a disk `size` bytes long. With `writes = image` the image grows; else the overlays that are open, and all others when
    /// they are opened next, by the `size` that lab.toml gives the disk. Sessions that have it open see the new size at once.
    ///
    /// # Errors
    /// It is larger already, no multiple of 512, read-only, or the storage's.
    pub fn grow(&self, disk: &Disk, size: u64) -> Result<(), DiskError> {
        self.refuse_to_shrink(disk, size)?;
        if disk.writes == Writes::Image {
            return self.grow_image(disk, size);
        }
        let dir = self.overlays_dir(disk);
        let open: Vec<Arc<Overlay>> = {
            let open = self.open_now();
            open.overlays
                .iter()
                .filter(|(folder, _)| folder.starts_with(&dir))
                .filter_map(|(_, o)| o.upgrade())
                .collect()
        };
        for overlay in open {
            overlay.grow(size).map_err(DiskError::io("enlarge", &dir))?;
        }
        Ok(())
    }

    fn grow_image(&self, disk: &Disk, size: u64) -> Result<(), DiskError> {
        let path = self.image_path(disk);
        let written: Option<Arc<Image>> = self.open_now().written.get(&path).map(|w| &w.image).and_then(Weak::upgrade);
        let image = match written {
            Some(image) => image,
            None => {
                self.refuse_under_overlays(&path, disk)?;
                Arc::new(Image::open_exclusive(&path)?)
            }
        };
        image.grow(size).map_err(DiskError::io("enlarge", &path))
    }
}
