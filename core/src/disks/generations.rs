//! The generations of an image: a host's overlay is committed and becomes the image, and the former image stays as long as overlays
//! stand on it.
//!
//! `server01.raw` is always the present one; a former one is `server01.raw.g3`. The new one is built aside. Then the present one gets
//! its second name by a hard link, and the new one is moved over the first: at any instant `server01.raw` is one of the two, whole. Hosts
//! that run on the former one have it open and keep it; so does an overlay that is opened again, for it names its image by its hash.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::folders::{belongs, folders, remove};
use super::identity::{self, ImageIdentity, Stamp};
use super::pour::pour;
use super::store::{Hold, OverlayKey, Store};
use super::{DiskError, Image, Overlay};
use crate::lab::Disk;

const COMMIT: &str = ".commit";

/// Where a former generation of an image is.
pub(super) fn former_path(image: &Path, generation: u64) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    image.with_file_name(format!("{name}.g{generation}"))
}

/// The former generations of an image that are still there, oldest first.
pub(super) fn former(image: &Path) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{}.g", image.file_name().unwrap_or_default().to_string_lossy());
    let mut found: Vec<(u64, PathBuf)> = entries(image.parent().unwrap_or(Path::new(".")))
        .filter_map(|(name, path)| Some((name.strip_prefix(&prefix)?.parse().ok()?, path)))
        .collect();
    found.sort_unstable();
    found
}

fn entries(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    all.filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())))
}

/// An overlay that is worked on, with what it stands on; sessions stay away meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) overlay: Overlay,
    pub(super) folder: PathBuf,
    pub(super) base: Arc<Image>,
    /// The present image's.
    pub(super) identity: ImageIdentity,
    pub(super) generation: u64,
    pub(super) current: bool,
    _hold: Hold,
}

impl Store {
    /// The image on which the overlay in `folder` stands: the present one, opened as `present`, or a former generation.
    pub(super) fn base_of(
        &self,
        path: &Path,
        identity: &ImageIdentity,
        folder: &Path,
        present: Arc<Image>,
    ) -> Result<Arc<Image>, DiskError> {
        let header = Overlay::header(folder)?;
        if header.blake3 == identity.blake3 {
            return Ok(present);
        }
        let changed = || DiskError::ImageChanged { path: path.to_owned(), overlay: folder.to_owned() };
        let named = |file: &Path| identity::last(self.dir(), file).is_some_and(|i| i.blake3 == header.blake3);
        let (_, file) = former(path).into_iter().find(|(_, file)| named(file)).ok_or_else(changed)?;
        let base = self.golden(&file)?;
        // What it was when it was put aside is not enough: a lab that was copied is looked at again.
        let now = self.identify_once(&file, &|_, _| {}, &AtomicBool::new(false))?;
        if now.blake3 == header.blake3 { Ok(base) } else { Err(changed()) }
    }

    /// The folder of a key's overlay: the kept one, else the newest fresh one.
    pub(super) fn folder_of(&self, disk: &Disk, key: &OverlayKey) -> Result<PathBuf, DiskError> {
        let stem = key.stem();
        let mine: Vec<_> =
            folders(&self.overlays_dir(disk)).into_iter().filter(|(path, _)| belongs(path, &stem)).collect();
        let kept = mine.iter().find(|(_, fresh)| fresh.is_none());
        let found = kept.or_else(|| mine.iter().max_by_key(|(_, fresh)| *fresh));
        found
            .map(|(path, _)| path.clone())
            .ok_or_else(|| DiskError::NoOverlay { disk: disk.name.to_string(), label: key.to_string() })
    }

    /// Opens a key's overlay for work on it.
    pub(super) fn held(&self, disk: &Disk, key: &OverlayKey, by: &'static str) -> Result<Held, DiskError> {
        let path = self.image_path(disk);
        let folder = self.folder_of(disk, key)?;
        let hold = self.hold(&folder, by)?;
        let present = self.golden(&path)?;
        let identity = self.identify_once(&path, &|_, _| {}, &AtomicBool::new(false))?;
        let header = Overlay::header(&folder)?;
        let base = self.base_of(&path, &identity, &folder, present)?;
        let overlay = Overlay::open(&folder, base.clone(), 0)?;
        let current = header.blake3 == identity.blake3;
        Ok(Held { overlay, folder, base, identity, generation: header.generation, current, _hold: hold })
    }

    /// The file that a commit of this disk fills; for a job's journal.
    #[must_use]
    pub fn commit_part(&self, disk: &Disk) -> PathBuf {
        let path = self.image_path(disk);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}{COMMIT}"))
    }

    /// What a host's overlay makes of the image becomes the image: its next generation, which every host gets at its next boot. Who runs
    /// on the former one keeps it. The overlay is dropped: what it held is the image's now. `progress` is given bytes done and in all.
    ///
    /// # Errors
    /// There is no overlay, a session has it open, the image has moved on since, or is written by a host; there is too little room; it
    /// was cancelled. Nothing has changed then.
    pub fn commit(
        &self,
        disk: &Disk,
        key: &OverlayKey,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<ImageIdentity, DiskError> {
        let path = self.image_path(disk);
        let _image = self.hold(&path, "a commit or other work on this image")?;
        let held = self.held(disk, key, "a commit")?;
        if !held.current {
            return Err(DiskError::Behind {
                path,
                overlay: held.folder.clone(),
                on: held.generation,
                at: held.identity.generation,
            });
        }
        let part = self.commit_part(disk);
        let _ = fs::remove_file(&part);
        let removed_if_left = Part(&part);
        let (file, hash) =
            pour(&held.overlay, Some((held.base.file(), &|at| held.overlay.own(at))), &part, progress, cancel)?;
        let former = former_path(&path, held.identity.generation);
        self.swap(&path, &former, &part, &held.identity)?;
        // Moved: the name is free again.
        std::mem::forget(removed_if_left);
        let stamp = Stamp::of(&file.metadata().map_err(DiskError::io("read", &path))?);
        let identity = identity::remember(self.dir(), &path, &hash, stamp)?;
        let Held { folder, overlay, _hold, .. } = held;
        drop(overlay);
        remove(&self.overlays_dir(disk), &key.stem(), &folder).map_err(DiskError::io("remove", &folder))?;
        drop(_hold);
        self.drop_unused(&path);
        Ok(identity)
    }

    /// Gives the present image its second name and moves the new one over the first.
    fn swap(&self, path: &Path, former: &Path, part: &Path, identity: &ImageIdentity) -> Result<(), DiskError> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let sync = || File::open(dir).and_then(|d| d.sync_all()).map_err(DiskError::io("write", dir));
        // The same number is left only by a commit that was cut short, as another name of the present image.
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let present = fs::metadata(path).map_err(DiskError::io("read", path))?;
        match fs::metadata(former) {
            Ok(there) if same(&there, &present) => fs::remove_file(former).map_err(DiskError::io("remove", former))?,
            Ok(_) => return Err(DiskError::Exists { path: former.to_owned() }),
            Err(_) => {}
        }
        let linked = fs::hard_link(path, former);
        if let Err(error) = &linked {
            // A file system without links: two moves, and `recover` undoes the first if it was the last.
            let known = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported);
            if !known && error.raw_os_error() != Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) {
                return linked.map_err(DiskError::io("link", former));
            }
            fs::rename(path, former).map_err(DiskError::io("move", path))?;
        }
        identity::transfer(self.dir(), former, identity, Stamp::of(&present))?;
        sync()?;
        fs::rename(part, path).map_err(DiskError::io("move", part))?;
        sync()
    }

    /// Deletes the former generations of an image on which nothing stands any more.
    pub(super) fn drop_unused(&self, path: &Path) {
        let former = former(path);
        if former.is_empty() {
            return;
        }
        let Some(stood_on) = self.stood_on() else { return };
        let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        for (_, file) in former {
            // A commit that was cut short before its last step: the present image by another name.
            if inode(&file) == inode(path) {
                let _ = fs::remove_file(&file);
                identity::forget(self.dir(), &file);
                continue;
            }
            let open = self.open_now().golden.get(&file).is_some_and(|image| image.strong_count() > 0);
            // One whose content is not known may be anybody's.
            let Some(identity) = identity::last(self.dir(), &file) else { continue };
            if !open && !stood_on.contains(&identity.blake3) && fs::remove_file(&file).is_ok() {
                identity::forget(self.dir(), &file);
                self.open_now().golden.remove(&file);
            }
        }
    }

    /// The content hashes on which overlays stand, of whatever disk; `None` if one of them cannot be read.
    fn stood_on(&self) -> Option<Vec<String>> {
        let mut hashes = Vec::new();
        for (name, dir) in entries(self.dir()) {
            if name.ends_with(".overlays") {
                for (folder, _) in folders(&dir) {
                    hashes.push(Overlay::header(&folder).ok()?.blake3);
                }
            }
        }
        Some(hashes)
    }

    /// After a crash: what a commit had built is taken away, an image that lost its name gets it back, and what nobody needs goes.
    pub(super) fn recover_generations(&self) {
        let mut images = Vec::new();
        for (name, path) in entries(self.dir()) {
            if name.starts_with('.') && name.ends_with(COMMIT) {
                let _ = fs::remove_file(&path);
            } else if let Some((image, number)) = name.rsplit_once(".g")
                && number.parse::<u64>().is_ok()
            {
                images.push(path.with_file_name(image));
            }
        }
        images.sort();
        images.dedup();
        for image in images {
            if !image.exists()
                && let Some((_, newest)) = former(&image).pop()
            {
                let _ = fs::rename(&newest, &image);
            }
            self.drop_unused(&image);
        }
    }
}

/// The file that is being built; removed unless it was moved away.
pub(super) struct Part<'a>(pub(super) &'a Path);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}
