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
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use super::folders::{belongs, folders, remove};
use super::identity::{self, ImageIdentity, Stamp};
use super::pour::pour;
use super::store::{Hold, Store, Whose};
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
    /// The image on which the overlay in `folder` stands: the present one, opened as `present`, or a former generation, which
    /// `identify` knows or finds out.
    pub(super) fn base_of(
        &self,
        path: &Path,
        identity: &ImageIdentity,
        folder: &Path,
        present: Arc<Image>,
        identify: &dyn Fn(&Path) -> Result<ImageIdentity, DiskError>,
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
        let now = identify(&file)?;
        if now.blake3 == header.blake3 { Ok(base) } else { Err(changed()) }
    }

    /// The folder of an overlay.
    pub(super) fn folder_of(&self, disk: &Disk, whose: &Whose) -> Result<PathBuf, DiskError> {
        let stem = whose.key.stem();
        let mine: Vec<_> = folders(&self.overlays_dir(disk))
            .into_iter()
            .filter(|(path, fresh)| belongs(path, &stem) && whose.means(fresh.is_some()))
            .collect();
        let (disk, label) = (disk.name.to_string(), whose.key.to_string());
        let kept = mine.iter().find(|(_, fresh)| fresh.is_none());
        let newest = mine.iter().filter(|(_, fresh)| fresh.is_some()).max_by_key(|(_, fresh)| *fresh);
        match (kept, newest) {
            (Some((path, _)), None) | (None, Some((path, _))) => Ok(path.clone()),
            (None, None) => Err(DiskError::NoOverlay { disk, label }),
            (Some(_), Some(_)) => Err(DiskError::TwoOverlays { disk, label }),
        }
    }

    /// Opens an overlay for work on it.
    pub(super) fn held(&self, disk: &Disk, whose: &Whose, by: &'static str) -> Result<Held, DiskError> {
        let path = self.image_path(disk);
        let (folder, hold) = {
            // A login that has begun to open it is waited for.
            let _turn = self.lock_key(disk, &whose.key);
            let folder = self.folder_of(disk, whose)?;
            let hold = self.hold(&folder, by)?;
            (folder, hold)
        };
        let identify = |path: &Path| self.identify_once(path, &|_, _| {}, &AtomicBool::new(false));
        let (present, identity) = self.golden_with(&path, &|| identify(&path))?;
        let header = Overlay::header(&folder)?;
        let base = self.base_of(&path, &identity, &folder, present, &identify)?;
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
        whose: &Whose,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<ImageIdentity, DiskError> {
        let path = self.image_path(disk);
        if !path.starts_with(self.dir()) {
            return Err(DiskError::Outside { path });
        }
        let _image = self.hold(&path, "a commit or other work on this image")?;
        let held = self.held(disk, whose, "a commit")?;
        if !held.current {
            return Err(DiskError::Behind {
                path,
                overlay: held.folder.clone(),
                on: held.generation,
                at: held.identity.generation,
            });
        }
        let part = self.commit_part(disk);
        // Nobody else builds one while this image is held.
        let _ = fs::remove_file(&part);
        let (file, hash) =
            pour(&held.overlay, Some((held.base.file(), &|at| held.overlay.own(at))), &part, progress, cancel)?;
        let removed_if_left = Part(&part);
        let identity = if hash.to_hex().as_str() == held.identity.blake3 {
            // What it changed is what was there.
            drop(removed_if_left);
            held.identity.clone()
        } else {
            let stamp = Stamp::of(&file.metadata().map_err(DiskError::io("read", &part))?);
            // No login begins to hash the new one before its identity is written down.
            let turn = self.hashing_turn(&path);
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let former = self.swap(&path, &part, &held.identity)?;
            // Moved: the name is free again.
            std::mem::forget(removed_if_left);
            // Who has just opened it by its first name stands on it, though its overlay may not be there yet.
            self.open_now().golden.insert(former, Arc::downgrade(&held.base));
            identity::remember(self.dir(), &path, &hash, stamp)?
        };
        let Held { folder, overlay, base, _hold, .. } = held;
        drop(overlay);
        {
            let _turn = self.lock_key(disk, &whose.key);
            match remove(&self.overlays_dir(disk), &whose.key.stem(), &folder) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(DiskError::io("remove", &folder)(e)),
                _ => drop(_hold),
            }
            self.forget_unit(disk, &whose.key)?;
        }
        drop(base);
        self.drop_unused(&path);
        Ok(identity)
    }

    /// Gives the present image its second name, moves the new one over the first, and says what the second name is.
    fn swap(&self, path: &Path, part: &Path, identity: &ImageIdentity) -> Result<PathBuf, DiskError> {
        // Another file may have been put there while the new one was built.
        if identity::known(self.dir(), path)?.as_ref() != Some(identity) {
            return Err(DiskError::ChangedMeanwhile { path: path.to_owned() });
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        let sync = || File::open(dir).and_then(|d| d.sync_all()).map_err(DiskError::io("write", dir));
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let present = fs::metadata(path).map_err(DiskError::io("read", path))?;
        let mut number = identity.generation;
        let former = loop {
            let former = former_path(path, number);
            match fs::metadata(&former) {
                // Left by a commit that was cut short, as another name of the present image.
                Ok(there) if same(&there, &present) => {
                    fs::remove_file(&former).map_err(DiskError::io("remove", &former))?;
                    break former;
                }
                Ok(_) => number += 1,
                Err(_) => break former,
            }
        };
        let linked = fs::hard_link(path, &former);
        if let Err(error) = &linked {
            // A file system without links: two moves, and `recover` undoes the first if it was the last.
            let known = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported);
            if !known && error.raw_os_error() != Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) {
                return linked.map(|()| former.clone()).map_err(DiskError::io("link", &former));
            }
            fs::rename(path, &former).map_err(DiskError::io("move", path))?;
        }
        let moved = identity::transfer(self.dir(), &former, identity, Stamp::of(&present))
            .and_then(|()| sync())
            .and_then(|()| fs::rename(part, path).map_err(DiskError::io("move", part)));
        if moved.is_err() && linked.is_err() {
            let _the_next_start_does_it_else = fs::rename(&former, path);
        }
        moved?;
        sync()?;
        Ok(former)
    }

    /// Deletes the former generations of an image on which nothing stands any more.
    pub(super) fn drop_unused(&self, path: &Path) {
        // Of one outside the lab other labs may have overlays.
        if !path.starts_with(self.dir()) {
            return;
        }
        // Who is open is asked first: an overlay that comes to be meanwhile is seen among the folders.
        let open: Vec<bool> = {
            let former = former(path);
            let open = self.open_now();
            former.iter().map(|(_, f)| open.golden.get(f).is_some_and(|image| image.strong_count() > 0)).collect()
        };
        let former = former(path);
        if former.is_empty() || former.len() != open.len() {
            return;
        }
        let Some(stood_on) = self.stood_on() else { return };
        let own = identity::last(self.dir(), path).map(|identity| identity.uuid);
        let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        for ((_, file), open) in former.into_iter().zip(open) {
            // A commit that was cut short before its last step: the present image by another name.
            let another_name = inode(&file) == inode(path);
            // A file that only happens to be called so is somebody's.
            let identity = identity::last(self.dir(), &file).filter(|i| Some(i.uuid) == own);
            let unused = identity.is_some_and(|i| !open && !stood_on.contains(&i.blake3));
            if (another_name || unused) && fs::remove_file(&file).is_ok() {
                identity::forget(self.dir(), &file);
                self.open_now().golden.remove(&file);
            }
        }
    }

    /// The content hashes on which overlays stand, of whatever disk; `None` if one of them cannot be read.
    fn stood_on(&self) -> Option<Vec<String>> {
        let mut hashes = Vec::new();
        // A folder that cannot be read is not an empty one.
        for dir in fs::read_dir(self.dir()).ok()? {
            let dir = dir.ok()?.path();
            if dir.extension().is_none_or(|e| e != "overlays") {
                continue;
            }
            for overlay in fs::read_dir(&dir).ok()? {
                overlay.ok()?;
            }
            for (folder, _) in folders(&dir) {
                hashes.push(Overlay::header(&folder).ok()?.blake3);
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
            // Its identity stayed under its name when a commit moved it.
            let own = identity::last(self.dir(), &image).map(|identity| identity.uuid);
            if !image.exists()
                && let Some((_, newest)) = former(&image).pop()
                && own.is_some()
                && identity::last(self.dir(), &newest).is_none_or(|i| Some(i.uuid) == own)
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
