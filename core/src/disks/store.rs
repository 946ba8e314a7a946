//! Finds, opens, locks, resets and makes the disks of a lab.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::folders::{belongs, clear_rests, folders, make, remove};
use super::identity::{self, ImageIdentity};
use super::map::{BLOCK, Header};
use super::views::ViewCache;
use super::{BlockDevice, DiskError, DiskFacts, Image, Overlay, SECTOR, import, newborn, views};
use crate::api::HostId;
use crate::lab::{Disk, Lab, Writes};

/// An image below this many bytes is hashed while the login waits.
const HASHED_AT_ONCE: u64 = 64 << 20;
/// No new overlay starts below one part in this many of the file system.
const RESERVE: u64 = 20;

/// Whose an overlay is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverlayKey {
    /// A machine's.
    Host(HostId),
    /// A stranger's that `allow` let in: the initiator name.
    Initiator(String),
}

impl std::fmt::Display for OverlayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(id) => write!(f, "machine {id}"),
            Self::Initiator(name) => f.write_str(name),
        }
    }
}

/// An overlay that somebody means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Whose.
    pub key: OverlayKey,
    /// `keep` or `fresh`, where there may be both.
    pub kind: Option<Writes>,
}

impl From<OverlayKey> for Whose {
    fn from(key: OverlayKey) -> Self {
        Self { key, kind: None }
    }
}

impl Whose {
    /// Whether an overlay of this kind, fresh or kept, is meant.
    pub(super) fn means(&self, fresh: bool) -> bool {
        self.kind.is_none_or(|kind| (kind == Writes::Fresh) == fresh)
    }
}

impl OverlayKey {
    /// Names this key's overlay of a kind in commands.
    #[must_use]
    pub fn id(&self, writes: Writes) -> String {
        format!("{}.{}", self.stem(), if writes == Writes::Fresh { "fresh" } else { "keep" })
    }

    /// How its folders begin. An initiator's name is a stranger's text and is never part of a path.
    pub(super) fn stem(&self) -> String {
        match self {
            Self::Host(id) => format!("host-{id}"),
            Self::Initiator(name) => {
                let hash = blake3::hash(name.as_bytes()).to_hex();
                format!("initiator-{}", hash.get(..24).unwrap_or_default())
            }
        }
    }
}

/// A wish to open a disk.
#[derive(Debug, Clone)]
pub struct OpenRequest<'a> {
    /// The disk of lab.toml.
    pub disk: &'a Disk,
    /// For whom.
    pub key: OverlayKey,
    /// The name shown for it.
    pub label: String,
    /// For `writes = fresh`: the boot epoch, and whether this is the first login of it. `None` where no epoch is known: the newest
    /// overlay is opened again. That an epoch's first login came must be recorded before it is opened: `true` drops what was written.
    pub fresh_epoch: Option<(u64, bool)>,
}

/// What came of a wish.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The disk.
    pub device: Arc<dyn BlockDevice>,
    /// A new overlay was made.
    pub created: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) image: Weak<Image>,
    key: OverlayKey,
    label: String,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) golden: HashMap<PathBuf, Weak<Image>>,
    pub(super) written: HashMap<PathBuf, Writer>,
    pub(super) overlays: HashMap<PathBuf, Weak<Overlay>>,
    /// Overlays' folders and images that something long works on, and what that is.
    held: HashMap<PathBuf, &'static str>,
    /// The overlays' folders of disks that are being deleted: no login opens these disks any more.
    pub(super) deleting: HashSet<PathBuf>,
}

impl Open {
    /// Refuses a disk that is being deleted; `overlays` is its overlays' folder.
    fn refuse_deleting(&self, overlays: &Path, image: &Path) -> Result<(), DiskError> {
        if self.deleting.contains(overlays) {
            return Err(DiskError::InUse { path: image.to_owned(), by: "its deletion".into() });
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    dir: PathBuf,
    pub(super) hashed_at_once: u64,
    open: Mutex<Open>,
    /// Openings of one overlay come one after the other; those of different ones need not wait.
    keys: [Mutex<()>; 64],
    /// A turn for each image that is being hashed.
    pub(super) hashing: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
    views: Mutex<ViewCache>,
}

/// The disks of a lab. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Store(pub(super) Arc<Inner>);

/// See [`Store::hold`].
#[derive(Debug)]
pub(super) struct Hold {
    store: Store,
    path: PathBuf,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.store.open_now().held.remove(&self.path);
    }
}

impl Store {
    /// The disks in this folder, `disks/` of a lab.
    #[must_use]
    pub fn new(disks_dir: PathBuf) -> Self {
        Self::hashing_at_once(disks_dir, HASHED_AT_ONCE)
    }

    pub(super) fn hashing_at_once(disks_dir: PathBuf, hashed_at_once: u64) -> Self {
        Self(Arc::new(Inner {
            dir: disks_dir,
            hashed_at_once,
            open: Mutex::default(),
            keys: std::array::from_fn(|_| Mutex::new(())),
            hashing: Mutex::default(),
            views: Mutex::default(),
        }))
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Where a disk's image is.
    #[must_use]
    pub fn image_path(&self, disk: &Disk) -> PathBuf {
        self.0.dir.join(&disk.image)
    }

    /// Where a disk's overlays are.
    #[must_use]
    pub fn overlays_dir(&self, disk: &Disk) -> PathBuf {
        self.0.dir.join(format!("{}.overlays", disk.name))
    }

    /// Where the logical unit of this disk and key keeps what outlives a restart.
    #[must_use]
    pub fn unit_memory(&self, disk: &Disk, key: &OverlayKey) -> PathBuf {
        self.overlays_dir(disk).join(format!("{}.unit", key.stem()))
    }

    /// Keeps sessions away from an overlay's folder, or other work from an image, as long as the guard lives.
    ///
    /// # Errors
    /// A session has the overlay open, or other work is at it.
    pub(super) fn hold(&self, path: &Path, by: &'static str) -> Result<Hold, DiskError> {
        let in_use = |by: &str| DiskError::InUse { path: path.to_owned(), by: by.to_owned() };
        let mut open = self.open_now();
        if open.overlays.get(path).is_some_and(|overlay| overlay.strong_count() > 0) {
            return Err(in_use("a session of its host: shut that machine down first"));
        }
        if let Some(by) = open.held.get(path) {
            return Err(in_use(by));
        }
        open.held.insert(path.to_owned(), by);
        Ok(Hold { store: self.clone(), path: path.to_owned() })
    }

    pub(super) fn open_now(&self) -> MutexGuard<'_, Open> {
        // The maps are consistent after every statement.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_key(&self, disk: &Disk, key: &OverlayKey) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (disk.name.as_str(), key).hash(&mut hasher);
        let [first, ..] = &self.0.keys;
        let index = usize::try_from(hasher.finish() % self.0.keys.len() as u64).unwrap_or_default();
        self.0.keys.get(index).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the openings of overlays that have begun have ended.
    pub(super) fn await_openings(&self) {
        self.0.keys.iter().for_each(|key| drop(key.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Opens a disk for a login.
    ///
    /// # Errors
    /// See [`DiskError`]; [`DiskError::refusal_status`] is what the login is refused with.
    pub fn open(&self, req: &OpenRequest<'_>) -> Result<Arc<dyn BlockDevice>, DiskError> {
        self.open_noting(req).map(|opened| opened.device)
    }

    /// The same, and whether a new overlay was made for it.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub fn open_noting(&self, req: &OpenRequest<'_>) -> Result<Opened, DiskError> {
        let path = self.image_path(req.disk);
        import::refuse_foreign(&path)?;
        if req.disk.readonly {
            let device = self.golden(&path)?;
            // Either a deletion sees that it is open, or it is seen here.
            self.open_now().refuse_deleting(&self.overlays_dir(req.disk), &path)?;
            return Ok(Opened { device, created: false });
        }
        match req.disk.writes {
            Writes::Image => Ok(Opened { device: self.exclusive(&path, req)?, created: false }),
            Writes::Keep | Writes::Fresh => self.overlay(&path, req),
        }
    }

    /// The one shared opening of a golden image.
    pub(super) fn golden(&self, path: &Path) -> Result<Arc<Image>, DiskError> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path).map_err(DiskError::io("open", path))?;
        let mut open = self.open_now();
        if let Some(image) = open.golden.get(path).and_then(Weak::upgrade)
            && image.inode() == (meta.dev(), meta.ino())
            && image.size() == meta.len()
        {
            return Ok(image);
        }
        let image = Arc::new(Image::open_shared(path)?);
        open.golden.retain(|_, image| image.strong_count() > 0);
        open.golden.insert(path.to_owned(), Arc::downgrade(&image));
        Ok(image)
    }

    /// The golden image with the identity that `identify` gives, of one and the same file: a commit may put another one in its place
    /// between the two.
    pub(super) fn golden_with(
        &self,
        path: &Path,
        identify: &dyn Fn() -> Result<ImageIdentity, DiskError>,
    ) -> Result<(Arc<Image>, ImageIdentity), DiskError> {
        use std::os::unix::fs::MetadataExt;
        loop {
            let base = self.golden(path)?;
            let identity = identify()?;
            let now = fs::metadata(path).map_err(DiskError::io("open", path))?;
            if base.inode() == (now.dev(), now.ino()) {
                return Ok((base, identity));
            }
        }
    }

    /// The image itself, for one host at a time.
    fn exclusive(&self, path: &Path, req: &OpenRequest<'_>) -> Result<Arc<Image>, DiskError> {
        let mut open = self.open_now();
        open.refuse_deleting(&self.overlays_dir(req.disk), path)?;
        if let Some(writer) = open.written.get(path)
            && let Some(image) = writer.image.upgrade()
        {
            if writer.key == req.key {
                return Ok(image);
            }
            return Err(DiskError::InUse { path: path.to_owned(), by: writer.label.clone() });
        }
        self.refuse_under_overlays(path, req.disk)?;
        let image = Arc::new(Image::open_exclusive(path)?);
        let writer = Writer { image: Arc::downgrade(&image), key: req.key.clone(), label: req.label.clone() };
        open.written.retain(|_, writer| writer.image.strong_count() > 0);
        open.written.insert(path.to_owned(), writer);
        Ok(image)
    }

    /// An image is read-only while overlays stand on it, whichever disk they are of.
    pub(crate) fn refuse_under_overlays(&self, path: &Path, disk: &Disk) -> Result<(), DiskError> {
        let last = identity::last(&self.0.dir, path);
        let own = self.overlays_dir(disk);
        let mut standing: Vec<PathBuf> = Vec::new();
        for folder in fs::read_dir(&self.0.dir).into_iter().flatten().flatten().map(|e| e.path()) {
            if folder.extension().is_none_or(|e| e != "overlays") {
                continue;
            }
            standing.extend(folders(&folder).into_iter().map(|(path, _)| path).filter(|overlay| {
                match (&last, Overlay::header(overlay)) {
                    // The same content under another UUID (imported again, moved) carries it as well.
                    (Some(last), Ok(header)) => header.image == last.uuid || header.blake3 == last.blake3,
                    // What stands on it is not known, so what is its own is taken to.
                    _ => folder == own,
                }
            }));
        }
        standing.sort();
        match standing.first() {
            None => Ok(()),
            Some(first) => {
                Err(DiskError::HasOverlays { path: path.to_owned(), count: standing.len(), first: first.clone() })
            }
        }
    }

    fn overlay(&self, path: &Path, req: &OpenRequest<'_>) -> Result<Opened, DiskError> {
        // Open before its identity is asked for: nobody can write the image from here on.
        let (base, identity) = self.golden_with(path, &|| self.identity_now(path))?;
        let size = base.size().max(req.disk.size.unwrap_or(0));
        let dir = self.overlays_dir(req.disk);
        let stem = req.key.stem();
        let _turn = self.lock_key(req.disk, &req.key);
        self.open_now().refuse_deleting(&dir, path)?;
        clear_rests(&dir, &stem);
        let fresh = req.disk.writes == Writes::Fresh;
        let mine: Vec<_> = folders(&dir).into_iter().filter(|(path, _)| belongs(path, &stem)).collect();
        let found = if fresh {
            let newest = mine.iter().filter(|(_, f)| f.is_some()).max_by_key(|(_, f)| *f);
            match req.fresh_epoch {
                Some((epoch, true)) => {
                    let open = self.open_now();
                    newest.filter(|(path, f)| {
                        f.is_some_and(|f| f.epoch == epoch)
                            && open.overlays.get(path).is_some_and(|o| o.strong_count() > 0)
                    })
                }
                Some((epoch, false)) => {
                    mine.iter().filter(|(_, f)| f.is_some_and(|f| f.epoch == epoch)).max_by_key(|(_, f)| *f).or(newest)
                }
                None => newest,
            }
        } else {
            mine.iter().find(|(_, f)| f.is_none())
        };
        if let Some((folder, _)) = found {
            let base = self.base_of(path, &identity, folder, base, &|former| self.identity_now(former))?;
            let size = base.size().max(req.disk.size.unwrap_or(0));
            return Ok(Opened { device: self.open_folder(folder, base, size)?, created: false });
        }

        let number = mine.iter().filter_map(|(_, f)| *f).map(|f| f.number).max().unwrap_or(0) + 1;
        if let Err(full) = self.refuse_without_room(&dir) {
            // What this boot drops anyway may be what fills the disk.
            let dropped = fresh && matches!(req.fresh_epoch, Some((_, true)));
            let obsolete =
                mine.iter().filter(|(old, f)| dropped && f.is_some() && !self.is_open(old) && !self.is_held(old));
            let mut freed = false;
            for (old, _) in obsolete {
                remove(&dir, &stem, old).map_err(DiskError::io("remove", old))?;
                freed = true;
            }
            if !freed {
                return Err(full);
            }
            self.refuse_without_room(&dir)?;
        }
        let epoch = fresh.then(|| req.fresh_epoch.map_or(0, |(epoch, _)| epoch));
        let header = Header {
            image: identity.uuid,
            generation: identity.generation,
            blake3: identity.blake3,
            size,
            block: BLOCK,
            epoch,
            key: req.key.clone(),
            label: req.label.chars().take(255).collect(),
        };
        if fresh && mine.iter().all(|(_, f)| f.is_some()) {
            // What the former boots reserved goes with what they wrote.
            self.forget_memory(req.disk, &req.key)?;
        }
        let name = match epoch {
            Some(epoch) => format!("{stem}.fresh-{epoch}.{number}"),
            None => format!("{stem}.keep"),
        };
        let folder = dir.join(name);
        make(&dir, &stem, &folder, &header)?;
        let device = self.open_folder(&folder, base, size)?;
        if fresh {
            // The new one is durable; the former ones go.
            for (old, _) in mine.iter().filter(|(old, f)| f.is_some() && old.exists() && !self.is_held(old)) {
                remove(&dir, &stem, old).map_err(DiskError::io("remove", old))?;
            }
            self.drop_unused(path);
        }
        Ok(Opened { device, created: true })
    }

    /// The one opening of an overlay that all its sessions share.
    fn open_folder(&self, folder: &Path, base: Arc<Image>, size: u64) -> Result<Arc<Overlay>, DiskError> {
        {
            let open = self.open_now();
            if let Some(by) = open.held.get(folder) {
                return Err(DiskError::InUse { path: folder.to_owned(), by: (*by).to_owned() });
            }
            if let Some(overlay) = open.overlays.get(folder).and_then(Weak::upgrade) {
                return Ok(overlay);
            }
        }
        let overlay = Arc::new(Overlay::open(folder, base, size)?);
        let mut open = self.open_now();
        // Work on it may have begun meanwhile.
        if let Some(by) = open.held.get(folder) {
            return Err(DiskError::InUse { path: folder.to_owned(), by: (*by).to_owned() });
        }
        open.overlays.retain(|_, overlay| overlay.strong_count() > 0);
        open.overlays.insert(folder.to_owned(), Arc::downgrade(&overlay));
        Ok(overlay)
    }

    pub(super) fn refuse_without_room(&self, dir: &Path) -> Result<(), DiskError> {
        let (free, total) = import::room(&self.0.dir)?;
        let needed = total / RESERVE;
        if free < needed {
            return Err(DiskError::NoSpace { path: dir.to_owned(), needed, free });
        }
        Ok(())
    }

    /// Whether something long works on this.
    fn is_held(&self, path: &Path) -> bool {
        self.open_now().held.contains_key(path)
    }

    /// Whether a session has the overlay of this folder open.
    pub(super) fn is_open(&self, folder: &Path) -> bool {
        self.open_now().overlays.get(folder).is_some_and(|overlay| overlay.strong_count() > 0)
    }

    /// Makes an empty image, sparse where that is possible. A relative path is below the disks' folder.
    ///
    /// # Errors
    /// The size is zero or no multiple of 512, the file exists, or it cannot be made.
    pub fn create(&self, path: &Path, size: u64) -> Result<(), DiskError> {
        let path = self.0.dir.join(path);
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(DiskError::BadSize { path, size });
        }
        fs::create_dir_all(&self.0.dir).map_err(DiskError::io("create", &self.0.dir))?;
        if path.symlink_metadata().is_ok() {
            return Err(DiskError::Exists { path });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!(".{name}.part"));
        let file = File::create_new(&part).map_err(DiskError::io("create", &part))?;
        let made = file.set_len(size).and_then(|()| file.sync_all()).map_err(DiskError::io("create", &path));
        made.and_then(|()| newborn::appear(&part, &path, &self.0.dir, || Ok(()))).inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })
    }

    /// Brings an image into the lab as `NAME.raw` and gives its path. Holes stay holes; it is hashed on the way. `progress` is given
    /// bytes done and in all. One that fails or is cancelled leaves nothing behind; of one that is done, [`Store::entered`] or
    /// [`Store::not_entered`] is told next.
    ///
    /// # Errors
    /// The format is not served, there is too little room, the name is taken, the source changed meanwhile, or it was cancelled.
    pub fn import(
        &self,
        from: &Path,
        name: &str,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<PathBuf, DiskError> {
        import::import(&self.0.dir, from, name, progress, cancel)
    }

    /// The file that an import of this name fills; for a job's journal.
    #[must_use]
    pub fn import_part(&self, name: &str) -> PathBuf {
        import::part_path(&self.0.dir, name)
    }

    /// Finishes or undoes what a crash interrupted. For the start of the engine that owns the lab. `None`: lab.toml cannot be read.
    pub fn recover(&self, lab: Option<&Lab>) {
        newborn::clear_rests(&self.0.dir, lab);
        self.recover_deletions(lab);
        self.recover_generations();
    }

    /// What the disks of a lab are like. Cheap enough for every few seconds.
    #[must_use]
    pub fn views(&self, lab: &Lab) -> Vec<DiskFacts> {
        let mut cache = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        lab.disks.iter().map(|disk| views::facts(self, lab, disk, &mut cache)).collect()
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
