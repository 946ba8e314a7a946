//! What the window shows of disks: sizes, overlays, and what is wrong.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::folders::folders;
use super::map::Header;
use super::store::{OverlayKey, Store};
use super::{DiskError, ImageIdentity, Overlay, SECTOR, generations, identity, import};
use crate::lab::{Disk, Lab, Writes};

/// What is known of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// Its name.
    pub name: crate::lab::Name,
    /// Bytes; 0 when the image is missing.
    pub size: u64,
    /// Bytes that the image takes.
    pub allocated: u64,
    /// The overlays on it.
    pub overlays: Vec<OverlayFacts>,
    /// Why it cannot be served, or not to all.
    pub problem: Option<String>,
    /// The image's identity, where it is known.
    pub identity: Option<ImageIdentity>,
    /// The image of which this one is a snapshot: its UUID and generation.
    pub parent: Option<(uuid::Uuid, u64)>,
    /// Former generations that are kept because overlays stand on them: number, and bytes that each takes.
    pub older: Vec<(u64, u64)>,
}

/// What is known of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayFacts {
    /// Names it in commands: stays the same from boot to boot.
    pub id: String,
    /// `keep` or `fresh`.
    pub writes: Writes,
    /// The image's generation on which it stands.
    pub generation: u64,
    /// The name shown for its host when it was made.
    pub host: String,
    /// Whose.
    pub key: OverlayKey,
    /// Bytes that it takes.
    pub bytes: u64,
    /// A session has it open.
    pub open: bool,
}

/// Headers of overlays by the folder in which they are, as of that folder's last change.
pub(super) type ViewCache = HashMap<PathBuf, (SystemTime, Vec<(PathBuf, Result<Header, String>)>)>;

pub(super) fn facts(store: &Store, lab: &Lab, disk: &Disk, cache: &mut ViewCache) -> DiskFacts {
    let path = store.image_path(disk);
    let (size, allocated, mut problem) = match fs::metadata(&path) {
        Ok(meta) => (meta.len(), meta.blocks() * 512, image_problem(store, lab, disk, &path, &meta)),
        Err(e) => (0, 0, Some(DiskError::io("open", &path)(e).to_string())),
    };
    let current = identity::known(store.dir(), &path).ok().flatten();
    let former = generations::former(&path);
    let dir = store.overlays_dir(disk);
    let mut overlays = Vec::new();
    for (folder, header) in headers(&dir, cache) {
        let bytes = ["data", "map", "live", "atomic"]
            .iter()
            .filter_map(|name| fs::metadata(folder.join(name)).ok())
            .map(|meta| meta.blocks() * 512)
            .sum();
        match header {
            Ok(header) => {
                let former_has = |(_, file): &(u64, PathBuf)| {
                    identity::last(store.dir(), file).is_some_and(|identity| identity.blake3 == header.blake3)
                };
                if current.as_ref().is_some_and(|current| current.blake3 != header.blake3)
                    && !former.iter().any(former_has)
                {
                    problem.get_or_insert_with(|| {
                        DiskError::ImageChanged { path: path.clone(), overlay: folder.clone() }.to_string()
                    });
                }
                let writes = if header.epoch.is_some() { Writes::Fresh } else { Writes::Keep };
                overlays.push(OverlayFacts {
                    id: header.key.id(writes),
                    writes,
                    generation: header.generation,
                    host: header.label.clone(),
                    key: header.key.clone(),
                    bytes,
                    open: store.is_open(folder),
                });
            }
            Err(why) => {
                problem.get_or_insert_with(|| why.clone());
            }
        }
    }
    overlays.sort_by(|a, b| a.key.cmp(&b.key));
    DiskFacts {
        name: disk.name.clone(),
        size: size.max(if size > 0 && !disk.readonly { disk.size.unwrap_or(0) } else { 0 }),
        allocated,
        overlays,
        problem,
        identity: current,
        parent: identity::parent(store.dir(), &path).map(|parent| (parent.uuid, parent.generation)),
        older: former
            .iter()
            .map(|(generation, file)| (*generation, fs::metadata(file).map_or(0, |meta| meta.blocks() * 512)))
            .collect(),
    }
}

fn image_problem(store: &Store, lab: &Lab, disk: &Disk, path: &Path, meta: &fs::Metadata) -> Option<String> {
    let size = meta.len();
    if !meta.is_file() {
        return Some(DiskError::NotAFile { path: path.to_owned() }.to_string());
    }
    if let Err(foreign) = import::refuse_foreign(path) {
        return Some(foreign.to_string());
    }
    if size == 0 || !size.is_multiple_of(SECTOR) {
        return Some(DiskError::BadSize { path: path.to_owned(), size }.to_string());
    }
    let waits = store.needs_identity(disk, lab) && !store.quick(size);
    waits.then(|| DiskError::NotReady { path: path.to_owned() }.to_string())
}

fn headers<'a>(dir: &Path, cache: &'a mut ViewCache) -> &'a [(PathBuf, Result<Header, String>)] {
    let Ok(changed) = fs::metadata(dir).and_then(|meta| meta.modified()) else {
        cache.remove(dir);
        return &[];
    };
    let entry = cache.entry(dir.to_owned()).or_insert((SystemTime::UNIX_EPOCH, Vec::new()));
    // A change within the clock's last tick may have come after the folder was read.
    let settled = changed.elapsed().is_ok_and(|age| age.as_millis() > 100);
    if entry.0 != changed || !settled {
        let read = folders(dir).into_iter().map(|(folder, _)| {
            let header = Overlay::header(&folder).map_err(|e| e.to_string());
            (folder, header)
        });
        *entry = (changed, read.collect());
    }
    &entry.1
}
