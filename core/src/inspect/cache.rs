//! What was found in an image, kept beside the images until the image is another one: another size, time of change, inode or generation.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Inspection, VERSION};
use crate::lab::{Lab, Name};

/// What must be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Of {
    size: u64,
    modified_ns: i128,
    inode: u64,
    generation: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    of: Of,
    found: Inspection,
}

/// The inspections of a lab's images.
#[derive(Debug, Clone)]
pub struct InspectionCache(PathBuf);

impl InspectionCache {
    /// In this folder, `disks/` of a lab.
    #[must_use]
    pub fn new(disks: &Path) -> Self {
        Self(disks.join(".inspected"))
    }

    fn file(&self, disk: &Name) -> PathBuf {
        self.0.join(format!("{disk}.json"))
    }

    /// What tells this image from any other, as it is now; `None`: it is not there.
    pub(crate) fn of(image: &Path, generation: u64) -> Option<Of> {
        let meta = fs::metadata(image).ok()?;
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Some(Of { size: meta.size(), modified_ns, inode: meta.ino(), generation })
    }

    /// What was found in this image as it is now, if it was looked into.
    #[must_use]
    pub fn get(&self, disk: &Name, image: &Path, generation: u64) -> Option<Inspection> {
        let kept: Kept = serde_json::from_slice(&fs::read(self.file(disk)).ok()?).ok()?;
        (kept.found.v == VERSION && Self::of(image, generation)? == kept.of).then_some(kept.found)
    }

    /// Looks into an image by `look`, unless that was done. One that changed meanwhile is not remembered.
    ///
    /// # Errors
    /// Those of `look`.
    pub fn get_or(
        &self,
        disk: &Name,
        image: &Path,
        generation: u64,
        look: impl FnOnce() -> Result<Inspection, String>,
    ) -> Result<Inspection, String> {
        if let Some(found) = self.get(disk, image, generation) {
            return Ok(found);
        }
        let before = Self::of(image, generation);
        let found = look()?;
        if let Some(of) = Self::of(image, generation).filter(|of| Some(of) == before.as_ref()) {
            // What is not kept is only found again.
            let _kept_or_not = self.put(disk, &Kept { of, found: found.clone() });
        }
        Ok(found)
    }

    fn put(&self, disk: &Name, kept: &Kept) -> std::io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let part = self.0.join(format!(".{disk}.part"));
        let mut file = private(&part)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        drop(file);
        fs::rename(&part, self.file(disk))
    }

    /// Drops what was kept of disks that are no more.
    pub fn prune(&self, lab: &Lab) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if !lab.disks.iter().any(|d| d.name.as_str() == name) {
                let _gone_or_not = fs::remove_file(path);
            }
        }
    }
}

/// A new or emptied file that its owner alone may read: what is in an image is nobody else's to know.
pub(super) fn private(path: &Path) -> std::io::Result<fs::File> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
