//! How an image is known again: a UUID, a generation and a BLAKE3 hash of its content, kept in a small file beside it.
//!
//! Hashing takes a while, so the file remembers for which size, modification time and inode the hash holds; another one of these
//! means reading the image again before it is served. The same content keeps its generation wherever it was copied to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DiskError;
use super::image::data_run;

/// What an overlay says of the image on which it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageIdentity {
    /// Stays with the image through all its generations.
    pub uuid: Uuid,
    /// Grows when the content was found changed.
    pub generation: u64,
    /// BLAKE3 of the content, in hexadecimal.
    pub blake3: String,
}

/// What must be the same for a hash to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Stamp {
    size: u64,
    modified_ns: i128,
    inode: u64,
}

impl Stamp {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Self { size: meta.size(), modified_ns, inode: meta.ino() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sidecar {
    v: u32,
    #[serde(flatten)]
    identity: ImageIdentity,
    stamp: Stamp,
    /// The image of which it is a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
}

/// Of which image another one is a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Parent {
    pub(super) uuid: Uuid,
    /// Its generation then.
    pub(super) generation: u64,
}

/// Where the identity of `image` is kept: beside it if it is in the lab, else in the lab under a name made of its path.
fn sidecar_path(dir: &Path, image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    if image.starts_with(dir) {
        return image.with_file_name(format!("{name}.id"));
    }
    let hash = blake3::hash(image.as_os_str().as_encoded_bytes()).to_hex();
    dir.join(format!("{name}-{}.id", hash.get(..8).unwrap_or_default()))
}

fn read_sidecar(dir: &Path, image: &Path) -> Option<Sidecar> {
    let text = fs::read(sidecar_path(dir, image)).ok()?;
    serde_json::from_slice(&text).ok().filter(|s: &Sidecar| s.v == 1)
}

/// The identity that holds for the image as it is now, if it is known.
pub(super) fn known(dir: &Path, image: &Path) -> Result<Option<ImageIdentity>, DiskError> {
    let stamp = Stamp::of(&fs::metadata(image).map_err(DiskError::io("open", image))?);
    Ok(read_sidecar(dir, image).filter(|s| s.stamp == stamp).map(|s| s.identity))
}

/// The identity that was last written down for an image, whether or not it still holds.
pub(super) fn last(dir: &Path, image: &Path) -> Option<ImageIdentity> {
    read_sidecar(dir, image).map(|s| s.identity)
}

/// Reads the image and writes down what it is. `progress` is given bytes done and in all.
pub(super) fn compute(
    dir: &Path,
    image: &Path,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<ImageIdentity, DiskError> {
    let io = || DiskError::io("read", image);
    let file = File::open(image).map_err(DiskError::io("open", image))?;
    let before = Stamp::of(&file.metadata().map_err(io())?);
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < before.size {
        let (data, end) = data_run(&file, at, before.size).map_err(io())?;
        if !data {
            buf.fill(0);
        }
        while at < end {
            if cancel.load(Ordering::Relaxed) {
                return Err(DiskError::Cancelled);
            }
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len());
            let piece = buf.get_mut(..len).unwrap_or_default();
            if data {
                file.read_exact_at(piece, at).map_err(io())?;
            }
            hasher.update(piece);
            at += len as u64;
            progress(at, before.size);
        }
    }
    let after = fs::metadata(image).map_err(io())?;
    if Stamp::of(&after) != before {
        return Err(DiskError::ChangedMeanwhile { path: image.to_owned() });
    }
    remember(dir, image, &hasher.finalize(), before)
}

/// Writes down a hash that was just computed over the image that has this stamp.
pub(super) fn remember(
    dir: &Path,
    image: &Path,
    hash: &blake3::Hash,
    stamp: Stamp,
) -> Result<ImageIdentity, DiskError> {
    let blake3 = hash.to_hex().to_string();
    let before = read_sidecar(dir, image);
    let parent = before.as_ref().and_then(|sidecar| sidecar.parent);
    let identity = match before {
        Some(Sidecar { identity, .. }) if identity.blake3 == blake3 => identity,
        Some(Sidecar { identity, .. }) => {
            ImageIdentity { uuid: identity.uuid, generation: identity.generation + 1, blake3 }
        }
        None => ImageIdentity { uuid: Uuid::new_v4(), generation: 1, blake3 },
    };
    write(dir, image, Sidecar { v: 1, identity, stamp, parent })
}

/// The image of which this one is a snapshot.
pub(super) fn parent(dir: &Path, image: &Path) -> Option<Parent> {
    read_sidecar(dir, image)?.parent
}

/// Writes down the parent of an image whose identity is known.
pub(super) fn adopt(dir: &Path, image: &Path, parent: Parent) -> Result<ImageIdentity, DiskError> {
    match read_sidecar(dir, image) {
        Some(sidecar) => write(dir, image, Sidecar { parent: Some(parent), ..sidecar }),
        None => Err(DiskError::NotReady { path: image.to_owned() }),
    }
}

/// Writes an identity down for an image that has it already under another path, or another stamp.
pub(super) fn transfer(dir: &Path, image: &Path, identity: &ImageIdentity, stamp: Stamp) -> Result<(), DiskError> {
    write(dir, image, Sidecar { v: 1, identity: identity.clone(), stamp, parent: parent(dir, image) }).map(|_| ())
}

fn write(dir: &Path, image: &Path, sidecar: Sidecar) -> Result<ImageIdentity, DiskError> {
    let path = sidecar_path(dir, image);
    write_whole(&path, &serde_json::to_vec(&sidecar).unwrap_or_default()).map_err(DiskError::io("write", &path))?;
    Ok(sidecar.identity)
}

/// Forgets an image that is removed or replaced.
pub(super) fn forget(dir: &Path, image: &Path) {
    let _ = fs::remove_file(sidecar_path(dir, image));
}

/// A file that is there in whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.part"));
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_keeps_its_generation_and_another_gets_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a.raw");
        fs::write(&image, vec![1; 4096]).unwrap();
        assert_eq!(known(dir.path(), &image).unwrap(), None);
        let go = AtomicBool::new(false);
        let first = compute(dir.path(), &image, &|_, _| {}, &go).unwrap();
        assert_eq!(first.blake3, blake3::hash(&[1; 4096]).to_hex().to_string());
        assert_eq!(known(dir.path(), &image).unwrap().as_ref(), Some(&first));

        fs::copy(&image, dir.path().join("b")).unwrap();
        fs::rename(dir.path().join("b"), &image).unwrap();
        assert_eq!(known(dir.path(), &image).unwrap(), None, "another inode");
        assert_eq!(compute(dir.path(), &image, &|_, _| {}, &go).unwrap(), first);

        fs::write(&image, vec![2; 4096]).unwrap();
        let second = compute(dir.path(), &image, &|_, _| {}, &go).unwrap();
        assert_eq!((second.uuid, second.generation), (first.uuid, 2));
    }

    #[test]
    fn holes_hash_as_the_zeroes_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a.raw");
        let file = File::create(&image).unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(b"in the middle", 1_500_000).unwrap();
        let hash = compute(dir.path(), &image, &|_, _| {}, &AtomicBool::new(false)).unwrap().blake3;
        assert_eq!(hash, blake3::hash(&fs::read(&image).unwrap()).to_hex().to_string());
    }
}
