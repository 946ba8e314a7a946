//! Snapshots and clones: a new image that reads as a disk does, or as one host sees it; and the reading of such a view for an export.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{fs, io};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::generations::{Held, Part};
use super::identity::{self, Parent, Stamp};
use super::newborn::appear;
use super::pour::{Under, pour};
use super::store::{Store, Whose};
use super::{Allocation, BlockDevice, DiskError, Image, import};
use crate::lab::{Disk, Name};

/// What a copy remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// From which image it was taken.
    Snapshot,
    /// Nothing.
    Clone,
}

/// What a disk reads as, held still: no session changes it meanwhile.
#[derive(Debug)]
enum View {
    Image(Arc<Image>),
    Overlay(Box<Held>),
}

impl View {
    fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Image(image) => &**image,
            Self::Overlay(held) => &held.overlay,
        }
    }
}

impl BlockDevice for View {
    fn size(&self) -> u64 {
        self.device().size()
    }

    fn readonly(&self) -> bool {
        true
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.device().read_at(buf, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        self.device().allocation(offset)
    }
}

impl Store {
    fn view(&self, disk: &Disk, whose: Option<&Whose>, by: &'static str) -> Result<View, DiskError> {
        let path = self.image_path(disk);
        match whose {
            Some(whose) => Ok(View::Overlay(Box::new(self.held(disk, whose, by)?))),
            None => {
                import::refuse_foreign(&path)?;
                Ok(View::Image(self.golden(&path)?))
            }
        }
    }

    /// What a disk reads as: its image, or with `whose` what that overlay makes of it. It stays so while this lives: a login to that
    /// overlay is refused meanwhile, and nobody may write the image.
    ///
    /// # Errors
    /// There is no such overlay, a session has it open, the image is missing or being written.
    pub fn reader(&self, disk: &Disk, whose: Option<&Whose>) -> Result<Arc<dyn BlockDevice>, DiskError> {
        Ok(Arc::new(self.view(disk, whose, "an export")?))
    }

    /// The same to look into. An image is read as it happens to be, by any writer's side, and nobody is kept from it; only an overlay
    /// is held meanwhile.
    ///
    /// # Errors
    /// As of [`Store::reader`]; an image that is being written is none.
    pub fn peek(&self, disk: &Disk, whose: Option<&Whose>) -> Result<Arc<dyn BlockDevice>, DiskError> {
        if whose.is_some() {
            return Ok(Arc::new(self.view(disk, whose, "an inspection")?));
        }
        let path = self.image_path(disk);
        import::refuse_foreign(&path)?;
        Ok(Arc::new(Image::peek(&path)?))
    }

    /// The generation of a disk's image as it is now; 0 where that is not known.
    #[must_use]
    pub fn generation(&self, disk: &Disk) -> u64 {
        identity::known(self.dir(), &self.image_path(disk)).ok().flatten().map_or(0, |identity| identity.generation)
    }

    /// The file that a copy of this name fills; for a job's journal.
    #[must_use]
    pub fn copy_part(&self, name: &str) -> PathBuf {
        import::part_path(self.dir(), name)
    }

    /// Makes the image `NAME.raw` of what a disk reads as, or with `whose` of what that overlay makes of it, and gives its path. `progress`
    /// is given bytes done and in all. One that fails or is cancelled leaves nothing behind; of one that is done, [`Store::entered`] or
    /// [`Store::not_entered`] is told next.
    ///
    /// # Errors
    /// As of [`Store::reader`]; the name is taken, there is too little room, or it was cancelled.
    pub fn copy(
        &self,
        disk: &Disk,
        whose: Option<&Whose>,
        name: &str,
        kind: CopyKind,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<PathBuf, DiskError> {
        let name: Name = name.parse()?;
        let path = self.dir().join(format!("{name}.raw"));
        if path.symlink_metadata().is_ok() {
            return Err(DiskError::Exists { path });
        }
        let view = self.view(disk, whose, "a snapshot")?;
        let parent = match (kind, &view) {
            (CopyKind::Clone, _) => None,
            (CopyKind::Snapshot, View::Overlay(held)) => {
                Some(Parent { uuid: held.identity.uuid, generation: held.generation })
            }
            (CopyKind::Snapshot, View::Image(_)) => {
                let identity = self.identify_once(&self.image_path(disk), &|_, _| {}, cancel)?;
                Some(Parent { uuid: identity.uuid, generation: identity.generation })
            }
        };
        let part = self.copy_part(name.as_str());
        let whole = |at| (false, view.size().saturating_sub(at));
        let own = |at| match &view {
            View::Image(_) => whole(at),
            View::Overlay(held) => held.overlay.own(at),
        };
        let under: Option<Under<'_>> = match &view {
            View::Image(image) => Some((image.file(), &own)),
            View::Overlay(held) => Some((held.base.file(), &own)),
        };
        let (file, hash) = pour(&view, under, &part, progress, cancel)?;
        let removed_if_left = Part(&part);
        appear(&part, &path, self.dir(), || {
            let stamp = Stamp::of(&file.metadata().map_err(DiskError::io("read", &path))?);
            identity::remember(self.dir(), &path, &hash, stamp)?;
            parent.map_or(Ok(()), |parent| identity::adopt(self.dir(), &path, parent).map(|_| ()))
        })?;
        std::mem::forget(removed_if_left);
        Ok(path)
    }
}

/// Moves a file to a name that must be free.
pub(super) fn move_anew(from: &Path, to: &Path) -> Result<(), DiskError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(DiskError::Exists { path: to.to_owned() }),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to).map_err(DiskError::io("create", to)),
        Err(e) => Err(DiskError::io("create", to)(e.into())),
    }
}
