//! What takes away: resetting overlays, deleting a disk; and what would go with it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Weak;

use serde::{Deserialize, Serialize};

use super::folders::{belongs, clear_rests, folders, remove};
use super::generations::former;
use super::store::{Hold, Store, Whose};
use super::{DiskError, Overlay, OverlayFacts, OverlayKey, identity};
use crate::lab::{Disk, Lab, Name, Writes};

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

/// What is being deleted is put aside under a name that begins so, in the disks' folder.
const ASIDE: &str = ".gone-";
/// That a disk is to be deleted is written down under a name that begins so, before its entry in lab.toml goes.
const NOTE: &str = ".deleting-";

/// What the next start has to know of a deletion that a crash cut short.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Note {
    v: u32,
    /// The disk's image, as lab.toml named it, if it goes, too.
    image: Option<PathBuf>,
}

/// A disk that is about to go; see [`Store::begin_deletion`].
#[derive(Debug)]
pub struct Deletion {
    disk: Disk,
    image_stays: bool,
    closed: Closed,
    noted: Noted,
    _holds: Vec<Hold>,
}

/// No login opens this disk as long as this lives.
#[derive(Debug)]
struct Closed {
    store: Store,
    overlays: PathBuf,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.store.open_now().deleting.remove(&self.overlays);
    }
}

/// The note. It is taken back in the end, or where nothing came of it; what is still to be done is kept for the next start.
#[derive(Debug)]
struct Noted {
    path: PathBuf,
    kept: bool,
}

impl Noted {
    fn write(store: &Store, disk: &Disk, image_stays: bool) -> Result<Self, DiskError> {
        let path = store.dir().join(format!("{NOTE}{}", disk.name));
        let note = Note { v: 1, image: (!image_stays).then(|| disk.image.clone()) };
        let noted = Self { path, kept: false };
        let created = fs::create_dir_all(store.dir()).and_then(|()| File::create(&noted.path));
        let written = created.and_then(|mut file| {
            file.write_all(&serde_json::to_vec(&note).unwrap_or_default())?;
            file.sync_all()?;
            File::open(store.dir())?.sync_all()
        });
        written.map_err(DiskError::io("write", &noted.path))?;
        Ok(noted)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Deletion {
    /// Its entry in lab.toml is gone: if it is not carried out now, the next start does it.
    pub fn decided(&mut self) {
        self.noted.kept = true;
    }

    /// Puts all of it aside at once, then deletes it. An image that another disk has, too, or that lies outside the lab, stays.
    ///
    /// # Errors
    /// A file cannot be removed; the next start tries again.
    pub fn carry_out(mut self) -> Result<(), DiskError> {
        self.decided();
        let Self { disk, image_stays, closed, mut noted, _holds } = self;
        let store = &closed.store;
        let path = store.image_path(&disk);
        store.put_away(&store.overlays_dir(&disk), (!image_stays).then_some(path.as_path()))?;
        noted.kept = false;
        if image_stays {
            store.drop_unused(&path);
        }
        Ok(())
    }
}

fn remove_whatever(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

impl Store {
    /// The key of an overlay that [`OverlayFacts::id`] names.
    #[must_use]
    pub fn key_of(&self, lab: &Lab, disk: &Disk, id: &str) -> Option<Whose> {
        let facts = self.views(lab).into_iter().find(|facts| facts.name == disk.name)?;
        facts.overlays.into_iter().find(|overlay| overlay.id == id).map(|o| Whose { key: o.key, kind: Some(o.writes) })
    }

    /// What depends on a disk.
    #[must_use]
    pub fn dependents(&self, disk: &Disk, lab: &Lab) -> Dependents {
        let all = self.views(lab);
        let Some(facts) = all.iter().find(|facts| facts.name == disk.name) else { return Dependents::default() };
        let uuid = facts.identity.as_ref().map(|identity| identity.uuid);
        let child = |f: &&super::DiskFacts| f.parent.is_some_and(|(parent, _)| Some(parent) == uuid);
        Dependents {
            overlays: facts.overlays.clone(),
            older: facts.older.clone(),
            snapshots: all.iter().filter(child).map(|f| f.name.to_string()).collect(),
            sharers: self.sharers(disk, lab),
        }
    }

    /// Deletes the overlays that `whose` means; its next login starts from the image. Nothing happens where there is none.
    ///
    /// # Errors
    /// A session has one open, or it cannot be removed.
    pub fn reset(&self, disk: &Disk, whose: &Whose) -> Result<(), DiskError> {
        let dir = self.overlays_dir(disk);
        let stem = whose.key.stem();
        {
            let _turn = self.lock_key(disk, &whose.key);
            clear_rests(&dir, &stem);
            let meant = |path: &Path, fresh: bool| belongs(path, &stem) && whose.means(fresh);
            let mine = folders(&dir).into_iter().filter(|(path, fresh)| meant(path, fresh.is_some()));
            let mine: Vec<_> = mine.map(|(path, _)| path).collect();
            // All of them first: it goes as a whole or not at all.
            let holds = mine.iter().map(|path| self.hold(path, "a reset")).collect::<Result<Vec<_>, _>>()?;
            for path in &mine {
                remove(&dir, &stem, path).map_err(DiskError::io("remove", path))?;
            }
            drop(holds);
            self.forget_unit(disk, &whose.key)?;
        }
        self.drop_unused(&self.image_path(disk));
        Ok(())
    }

    /// What was reserved, or failed to be sanitized, was the disk that is gone. Where there still is one, nothing is forgotten.
    pub(super) fn forget_unit(&self, disk: &Disk, key: &OverlayKey) -> Result<(), DiskError> {
        let (dir, stem) = (self.overlays_dir(disk), key.stem());
        let image_in_use = disk.writes == Writes::Image && self.refuse_if_open(disk).is_err();
        if image_in_use || folders(&dir).iter().any(|(path, _)| belongs(path, &stem)) {
            return Ok(());
        }
        self.forget_memory(disk, key)
    }

    /// The next session finds nothing reserved, and nothing ordered.
    pub(super) fn forget_memory(&self, disk: &Disk, key: &OverlayKey) -> Result<(), DiskError> {
        let memory = self.unit_memory(disk, key);
        match fs::remove_file(&memory) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(DiskError::io("remove", &memory)(error)),
            _ => Ok(()),
        }
    }

    /// Begins to delete a disk: from here on no login opens it and no other work begins on its image. Its entry in lab.toml is the
    /// caller's to remove then, before [`Deletion::decided`] and [`Deletion::carry_out`]. After a crash between them the next start
    /// carries it out. Blocks until logins that have begun have ended.
    ///
    /// # Errors
    /// A session has any of it open, or other work is at it. Nothing has changed then.
    pub fn begin_deletion(&self, disk: &Disk, lab: &Lab) -> Result<Deletion, DiskError> {
        let path = self.image_path(disk);
        let overlays = self.overlays_dir(disk);
        let mut holds = vec![self.hold(&path, "its deletion")?];
        self.open_now().deleting.insert(overlays.clone());
        let closed = Closed { store: self.clone(), overlays };
        self.await_openings();
        self.refuse_if_open(disk)?;
        for (folder, _) in folders(&closed.overlays) {
            holds.push(self.hold(&folder, "its deletion")?);
        }
        // One outside the lab was not made by it.
        let image_stays = !path.starts_with(self.dir())
            || !self.sharers(disk, lab).is_empty()
            || self.others_stand_on(&path, &closed.overlays);
        let noted = Noted::write(self, disk, image_stays)?;
        Ok(Deletion { disk: disk.clone(), image_stays, closed, noted, _holds: holds })
    }

    /// Puts overlays, and an image with its former generations, aside at once, and then deletes them.
    fn put_away(&self, overlays: &Path, image: Option<&Path>) -> Result<(), DiskError> {
        let mut gone = vec![overlays.to_owned()];
        if let Some(image) = image {
            gone.extend(former(image).into_iter().map(|(_, file)| file));
            gone.push(image.to_owned());
        }
        let mut aside = Vec::new();
        for file in gone.into_iter().filter(|file| file.symlink_metadata().is_ok()) {
            let to = self.dir().join(format!("{ASIDE}{}", uuid::Uuid::new_v4().simple()));
            fs::rename(&file, &to).map_err(DiskError::io("remove", &file))?;
            identity::forget(self.dir(), &file);
            aside.push(to);
        }
        aside.iter().try_for_each(|file| remove_whatever(file).map_err(DiskError::io("remove", file)))
    }

    /// Deletes a disk at once.
    ///
    /// # Errors
    /// As of [`Store::begin_deletion`] and [`Deletion::carry_out`].
    pub fn delete(&self, disk: &Disk, lab: &Lab) -> Result<(), DiskError> {
        self.begin_deletion(disk, lab)?.carry_out()
    }

    /// Other disks with the same image, by whatever path they name it.
    fn sharers(&self, disk: &Disk, lab: &Lab) -> Vec<String> {
        let real = |disk: &Disk| {
            let path = self.image_path(disk);
            fs::canonicalize(&path).unwrap_or(path)
        };
        let image = real(disk);
        let others = lab.disks.iter().filter(|other| other.name != disk.name && real(other) == image);
        others.map(|other| other.name.to_string()).collect()
    }

    /// Whether overlays in other folders than `own` stand on this image or a former one of it: of a disk that lab.toml no longer names.
    fn others_stand_on(&self, path: &Path, own: &Path) -> bool {
        let Some(identity) = identity::last(self.dir(), path) else { return false };
        let dirs = fs::read_dir(self.dir()).into_iter().flatten().flatten().map(|entry| entry.path());
        dirs.filter(|dir| dir != own && dir.extension().is_some_and(|e| e == "overlays"))
            .flat_map(|dir| folders(&dir))
            .any(|(folder, _)| Overlay::header(&folder).is_ok_and(|header| header.image == identity.uuid))
    }

    /// Goes on with deletions that a crash cut short, once lab.toml does not name their disks any more, and removes what they had put
    /// aside. `None`: lab.toml cannot be read, so that nobody knows.
    pub(super) fn recover_deletions(&self, lab: Option<&Lab>) {
        for entry in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(ASIDE) {
                let _what_cannot_go_now_goes_next_time = remove_whatever(&path);
            } else if let (Some(disk), Some(lab)) = (name.strip_prefix(NOTE), lab) {
                let note = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
                if let (Some(note), Ok(disk)) = (note.filter(|note| note.v == 1), disk.parse::<Name>())
                    && lab.disk(&disk).is_none()
                    && self.finish_deletion(&disk, &note, lab).is_err()
                {
                    continue;
                }
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn finish_deletion(&self, disk: &Name, note: &Note, lab: &Lab) -> Result<(), DiskError> {
        let gone = Disk::new(disk.clone(), note.image.clone().unwrap_or_default(), Writes::Keep);
        let (path, overlays) = (self.image_path(&gone), self.overlays_dir(&gone));
        // Another disk may have been given the image since.
        let image_goes = note.image.is_some() && path.starts_with(self.dir()) && self.sharers(&gone, lab).is_empty();
        self.put_away(&overlays, image_goes.then_some(path.as_path()))
    }

    /// Refuses while a session has an overlay open that `whose` means, or something long works on it.
    ///
    /// # Errors
    /// [`DiskError::InUse`].
    pub fn refuse_if_held(&self, disk: &Disk, whose: &Whose) -> Result<(), DiskError> {
        let stem = whose.key.stem();
        let mine = folders(&self.overlays_dir(disk)).into_iter();
        mine.filter(|(path, fresh)| belongs(path, &stem) && whose.means(fresh.is_some()))
            .try_for_each(|(path, _)| self.hold(&path, "a check").map(drop))
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
