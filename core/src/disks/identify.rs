//! When it is found out what an image is: at once where that is quick, else in a job before overlays on it are served.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::folders::folders;
use super::generations::former;
use super::identity::{self, ImageIdentity, Stamp};
use super::store::Store;
use super::{DiskError, Overlay, import};
use crate::lab::{Disk, Lab, Name};

/// An image that was written within this time may be written still, and is not read yet.
const STILL: Duration = Duration::from_secs(2);

/// An image, present or former, that has to be read before overlays on it can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unidentified {
    /// The disk.
    pub disk: Name,
    /// The image.
    pub path: PathBuf,
    /// What the file is like: reading it again comes to nothing else before that changes.
    pub(super) stamp: Stamp,
}

impl Store {
    /// The identity that holds now; computed at once where that is quick.
    pub(super) fn identity_now(&self, path: &Path) -> Result<ImageIdentity, DiskError> {
        if let Some(identity) = identity::known(self.dir(), path)? {
            return Ok(identity);
        }
        if !self.quick(fs::metadata(path).map_err(DiskError::io("open", path))?.len()) {
            return Err(DiskError::NotReady { path: path.to_owned() });
        }
        self.identify_once(path, &|_, _| {}, &AtomicBool::new(false))
    }

    /// The turn to find out and write down what an image is.
    pub(super) fn hashing_turn(&self, path: &Path) -> Arc<Mutex<()>> {
        let mut hashing = self.0.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        hashing.retain(|_, turn| Arc::strong_count(turn) > 1);
        hashing.entry(path.to_owned()).or_default().clone()
    }

    /// Hashes an image unless somebody has just done it: thirty hosts may be the first at once, and it gets one UUID.
    pub(super) fn identify_once(
        &self,
        path: &Path,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<ImageIdentity, DiskError> {
        let turn = self.hashing_turn(path);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        match identity::known(self.dir(), path)? {
            Some(identity) => Ok(identity),
            None => identity::compute(self.dir(), path, progress, cancel),
        }
    }

    /// Whether an image of this size is hashed while the login waits.
    pub(super) fn quick(&self, size: u64) -> bool {
        size < self.0.hashed_at_once
    }

    /// Whether the identity of a disk's image has to be computed before the disk can be served to all to whom `lab` gives it.
    #[must_use]
    pub fn needs_identity(&self, disk: &Disk, lab: &Lab) -> bool {
        lab.gives_overlays(disk) && matches!(identity::known(self.dir(), &self.image_path(disk)), Ok(None))
    }

    /// The images that have to be read before `lab` can be served: those that machines get through overlays, and former generations
    /// under overlays, which are known no more where a lab was copied. One that a machine writes into, or that somebody wrote a moment
    /// ago, is left until it is still.
    #[must_use]
    pub fn unidentified(&self, lab: &Lab) -> Vec<Unidentified> {
        lab.disks.iter().filter(|disk| lab.gives_overlays(disk)).flat_map(|disk| self.unidentified_of(disk)).collect()
    }

    fn unidentified_of(&self, disk: &Disk) -> Vec<Unidentified> {
        let image = self.image_path(disk);
        let mut images = vec![image.clone()];
        let unknown = |path: &Path| matches!(identity::known(self.dir(), path), Ok(None));
        let former: Vec<PathBuf> =
            former(&image).into_iter().map(|(_, file)| file).filter(|file| unknown(file)).collect();
        if !former.is_empty() {
            let headers = folders(&self.overlays_dir(disk)).into_iter();
            let stood_on: Vec<String> =
                headers.filter_map(|(folder, _)| Overlay::header(&folder).ok()).map(|header| header.blake3).collect();
            let needed = |file: &PathBuf| {
                identity::last(self.dir(), file).is_some_and(|identity| stood_on.contains(&identity.blake3))
            };
            images.extend(former.into_iter().filter(needed));
        }
        let found = images.into_iter().filter(|path| unknown(path) && !self.is_written(path)).filter_map(|path| {
            let meta = fs::metadata(&path).ok()?;
            // One from the future is as still as any other.
            let age = meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let still = age.is_none_or(|age| age >= STILL);
            (still && meta.is_file()).then(|| Unidentified { disk: disk.name.clone(), stamp: Stamp::of(&meta), path })
        });
        found.collect()
    }

    /// Whether a machine has this image open to write into it.
    fn is_written(&self, path: &Path) -> bool {
        self.open_now().written.get(path).is_some_and(|writer| writer.image.strong_count() > 0)
    }

    /// Computes the identity of a disk's image, if it is not known. `progress` is given bytes done and in all. Until it is done, a
    /// large image is [`DiskError::NotReady`].
    ///
    /// # Errors
    /// The image is missing or cannot be read, changed meanwhile, or somebody cancelled.
    pub fn identify(
        &self,
        disk: &Disk,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<ImageIdentity, DiskError> {
        self.identify_image(&self.image_path(disk), progress, cancel)
    }

    /// The same for an image that [`Store::unidentified`] has named.
    ///
    /// # Errors
    /// As of [`Store::identify`].
    pub fn identify_image(
        &self,
        path: &Path,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<ImageIdentity, DiskError> {
        import::refuse_foreign(path)?;
        self.identify_once(path, progress, cancel)
    }
}

#[cfg(test)]
#[path = "identify_tests.rs"]
mod tests;
