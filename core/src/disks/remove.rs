//! What takes away: resetting overlays, deleting a disk; and what would go with it.

use std::fs;
use std::sync::Weak;

use super::folders::{belongs, clear_rests, folders, remove};
use super::generations::former;
use super::store::{OverlayKey, Store};
use super::{DiskError, OverlayFacts, identity};
use crate::lab::{Disk, Lab};

/// What depends on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependents {
    /// The overlays on it.
    pub overlays: Vec<OverlayFacts>,
    /// Former generations that are kept: number, and bytes that each takes.
    pub older: Vec<(u64, u64)>,
    /// Disks that are snapshots of it. They stand by themselves and stay.
    pub snapshots: Vec<String>,
    /// Other disks with the same image, which then stays.
    pub sharers: Vec<String>,
}

impl Store {
    /// The key of an overlay that [`OverlayFacts::id`] names.
    #[must_use]
    pub fn key_of(&self, lab: &Lab, disk: &Disk, id: &str) -> Option<OverlayKey> {
        let facts = self.views(lab).into_iter().find(|facts| facts.name == disk.name)?;
        facts.overlays.into_iter().find(|overlay| overlay.id == id).map(|overlay| overlay.key)
    }

    /// What depends on a disk.
    #[must_use]
    pub fn dependents(&self, disk: &Disk, lab: &Lab) -> Dependents {
        let all = self.views(lab);
        let Some(facts) = all.iter().find(|facts| facts.name == disk.name) else { return Dependents::default() };
        let uuid = facts.identity.as_ref().map(|identity| identity.uuid);
        let child = |f: &&super::DiskFacts| f.parent.is_some_and(|(parent, _)| Some(parent) == uuid);
        let sharer = |other: &&Disk| other.name != disk.name && other.image == disk.image;
        Dependents {
            overlays: facts.overlays.clone(),
            older: facts.older.clone(),
            snapshots: all.iter().filter(child).map(|f| f.name.to_string()).collect(),
            sharers: lab.disks.iter().filter(sharer).map(|d| d.name.to_string()).collect(),
        }
    }

    /// Deletes the overlays that a disk has for `key`; its next login starts from the image. Nothing happens where there is none.
    ///
    /// # Errors
    /// A session has one open, or it cannot be removed.
    pub fn reset(&self, disk: &Disk, key: &OverlayKey) -> Result<(), DiskError> {
        let dir = self.overlays_dir(disk);
        let stem = key.stem();
        {
            let _turn = self.lock_key(disk, key);
            clear_rests(&dir, &stem);
            let mine: Vec<_> =
                folders(&dir).into_iter().map(|(path, _)| path).filter(|path| belongs(path, &stem)).collect();
            // All of them first: it goes as a whole or not at all.
            let holds = mine.iter().map(|path| self.hold(path, "a reset")).collect::<Result<Vec<_>, _>>()?;
            for path in &mine {
                remove(&dir, &stem, path).map_err(DiskError::io("remove", path))?;
            }
            drop(holds);
        }
        self.drop_unused(&self.image_path(disk));
        Ok(())
    }

    /// Deletes a disk: its overlays, its image, that one's former generations. An image that another disk has, too, stays. Its
    /// entry in lab.toml is the caller's to remove, before this.
    ///
    /// # Errors
    /// A session has any of it open, or it cannot be removed; what was removed until then is gone.
    pub fn delete(&self, disk: &Disk, lab: &Lab) -> Result<(), DiskError> {
        let path = self.image_path(disk);
        let _image = self.hold(&path, "its deletion")?;
        self.refuse_if_open(disk)?;
        let dir = self.overlays_dir(disk);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(DiskError::io("remove", &dir)(e)),
            _ => {}
        }
        if lab.disks.iter().any(|other| other.name != disk.name && self.image_path(other) == path) {
            self.drop_unused(&path);
            return Ok(());
        }
        let files = former(&path).into_iter().map(|(_, file)| file).chain([path.clone()]);
        for file in files {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(DiskError::io("remove", &file)(e)),
                _ => identity::forget(self.dir(), &file),
            }
        }
        Ok(())
    }

    /// Refuses while a session has an overlay of `key` open, or something long works on it.
    ///
    /// # Errors
    /// [`DiskError::InUse`].
    pub fn refuse_if_held(&self, disk: &Disk, key: &OverlayKey) -> Result<(), DiskError> {
        let stem = key.stem();
        let mine = folders(&self.overlays_dir(disk)).into_iter().map(|(path, _)| path);
        mine.filter(|path| belongs(path, &stem)).try_for_each(|path| self.hold(&path, "a check").map(drop))
    }

    /// Refuses while a session has the image or an overlay of a disk open.
    ///
    /// # Errors
    /// [`DiskError::InUse`].
    pub fn refuse_if_open(&self, disk: &Disk) -> Result<(), DiskError> {
        let path = self.image_path(disk);
        let dir = self.overlays_dir(disk);
        let open = self.open_now();
        let overlay = open.overlays.iter().find(|(folder, o)| folder.starts_with(&dir) && o.strong_count() > 0);
        let golden = open.golden.get(&path).and_then(Weak::upgrade).is_some();
        let written = open.written.get(&path).is_some_and(|writer| writer.image.strong_count() > 0);
        // Another disk's overlays keep the same golden image open; they say so by their own folder.
        let in_use = |path: &std::path::Path| DiskError::InUse {
            path: path.to_owned(),
            by: "a machine that runs from it: shut that machine down first".into(),
        };
        match overlay {
            Some((folder, _)) => Err(in_use(folder)),
            None if written || golden && disk.readonly => Err(in_use(&path)),
            None => Ok(()),
        }
    }
}
