//! The folders of a disk's overlays: their names, how one comes to be and how it goes.
//!
//! The overlays of the disk NAME are folders in `disks/NAME.overlays/`: `host-12.keep`, or `host-12.fresh-EPOCH.N` for an overlay of
//! that boot epoch; of several, the one with the highest numbers counts. A folder is made as `new-…` and moved to its name when it is
//! durable, and moved to `gone-…` before it is deleted, so that a crash leaves none that is half there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::map::Header;
use super::{DiskError, Overlay};

/// Which of a key's fresh overlays a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fresh {
    pub(super) epoch: u64,
    pub(super) number: u64,
}

/// Makes an overlay's folder: durable first, then under its name.
pub(super) fn make(dir: &Path, stem: &str, folder: &Path, header: &Header) -> Result<(), DiskError> {
    let new = dir.join(format!("new-{stem}"));
    let made = Overlay::create(&new, header).and_then(|()| {
        let moved = || {
            fs::rename(&new, folder)?;
            File::open(dir)?.sync_all()?;
            // The folder of the overlays may be new itself.
            dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        };
        moved().map_err(DiskError::io("create", folder))
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    made
}

/// Takes an overlay's folder away at once, then deletes it.
pub(super) fn remove(dir: &Path, stem: &str, folder: &Path) -> std::io::Result<()> {
    let gone = dir.join(format!("gone-{stem}"));
    if gone.exists() {
        fs::remove_dir_all(&gone)?;
    }
    fs::rename(folder, &gone)?;
    fs::remove_dir_all(&gone)
}

/// Removes what a crash left of a key's overlays that were being made or deleted.
pub(super) fn clear_rests(dir: &Path, stem: &str) {
    for rest in ["new", "gone"] {
        let _ = fs::remove_dir_all(dir.join(format!("{rest}-{stem}")));
    }
}

/// The overlays in a folder, those of an epoch with it.
pub(super) fn folders(dir: &Path) -> Vec<(PathBuf, Option<Fresh>)> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let (_, kind) = name.to_str()?.split_once('.')?;
            let fresh = match kind.strip_prefix("fresh-") {
                None => (kind == "keep").then_some(None)?,
                Some(numbers) => {
                    let (epoch, number) = numbers.split_once('.')?;
                    Some(Fresh { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
                }
            };
            Some((entry.path(), fresh))
        })
        .collect()
}

pub(super) fn belongs(folder: &Path, stem: &str) -> bool {
    let name = folder.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.split_once('.').is_some_and(|(before, _)| before == stem)
}
