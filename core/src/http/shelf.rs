//! Short files that are asked for again and again (scripts, certificates, answer files of a classroom), kept in memory while they are what
//! they were: one question about the name in place of opening, reading and closing.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;

use super::file::{self, Served};
use super::machine::Version;
use crate::machine::Now;
use crate::net::Stamp;

/// Bytes of a file that is kept.
const SHORT: u64 = 16 * 1024;
/// Bytes of all that are kept.
const MOST: usize = 4 << 20;
/// A copy is used so long. Who writes through a mapping leaves no trace in a file's times: such bytes are this old at most.
const FRESH: Duration = Duration::from_secs(1);
/// A file that was changed more recently is not kept: where times come in coarse ticks, the next change may show the same.
const SETTLED: Duration = Duration::from_millis(100);

/// A file that is to be sent.
#[derive(Debug)]
pub(super) enum Opened {
    /// From its bytes on the disk.
    File(Box<Served>),
    /// From a copy.
    Short(Version, Bytes),
}

/// The copies.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Copies>);

#[derive(Debug, Default)]
struct Copies {
    of: HashMap<PathBuf, Copy>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Copy {
    /// When it was read, in time since the machine's start.
    read: Duration,
    known: Known,
    version: Version,
    bytes: Bytes,
}

/// By what a file is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    device: u64,
    inode: u64,
    stamp: Stamp,
}

impl Known {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), stamp: Stamp::of(meta) }
    }
}

impl Shelf {
    /// Opens a file, or finds its copy.
    ///
    /// # Errors
    /// As [`file::open`].
    pub(super) async fn open(&self, path: PathBuf) -> std::io::Result<Opened> {
        let now = Now::read();
        if let Some(copy) = self.copy(&path, now.boot) {
            return Ok(Opened::Short(copy.version, copy.bytes));
        }
        let mut served = file::open(path.clone()).await?;
        match read(&mut served, now) {
            Some(copy) => {
                self.keep(path, &copy);
                Ok(Opened::Short(copy.version, copy.bytes))
            }
            None => Ok(Opened::File(Box::new(served))),
        }
    }

    /// The copy of a file that is what it was. The name is in memory: it was resolved within the last second.
    fn copy(&self, path: &Path, now: Duration) -> Option<Copy> {
        let copy = self.lock().of.get(path).cloned()?;
        let fresh = now.saturating_sub(copy.read) < FRESH;
        (fresh && std::fs::metadata(path).is_ok_and(|meta| Known::of(&meta) == copy.known)).then_some(copy)
    }

    fn keep(&self, path: PathBuf, copy: &Copy) {
        let mut copies = self.lock();
        if copies.bytes + copy.bytes.len() > MOST {
            copies.of.retain(|_, old| copy.read.saturating_sub(old.read) < FRESH);
            copies.bytes = copies.of.values().map(|old| old.bytes.len()).sum();
        }
        if copies.bytes + copy.bytes.len() <= MOST {
            copies.bytes += copy.bytes.len();
            if let Some(old) = copies.of.insert(path, copy.clone()) {
                copies.bytes -= old.bytes.len();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Copies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy of a short file that is in memory and was not changed just now.
fn read(served: &mut Served, now: Now) -> Option<Copy> {
    let size = served.version.size;
    let meta = served.file.metadata().ok().filter(|_| (1..=SHORT).contains(&size))?;
    let changed = Duration::new(u64::try_from(meta.ctime()).ok()?, u32::try_from(meta.ctime_nsec()).ok()?);
    let wall = Duration::try_from(now.wall.duration_since(jiff::Timestamp::UNIX_EPOCH)).ok()?;
    // A change in the future is that of another clock.
    wall.checked_sub(changed).filter(|age| *age >= SETTLED)?;
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    if served.read_known(&mut bytes, 0) != Some(bytes.len()) {
        return None;
    }
    served.unchanged().ok()?;
    Some(Copy { read: now.boot, known: Known::of(&meta), version: served.version.clone(), bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn text(opened: Opened) -> Option<String> {
        match opened {
            Opened::Short(version, bytes) => {
                assert_eq!(version.size, bytes.len() as u64);
                Some(String::from_utf8(bytes.to_vec()).unwrap())
            }
            Opened::File(_) => None,
        }
    }

    #[tokio::test]
    async fn a_copy_is_used_until_the_file_is_another_or_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let shelf = Shelf::default();
        fs::write(&path, "first").unwrap();
        assert_eq!(text(shelf.open(path.clone()).await.unwrap()), None, "changed a moment ago");
        std::thread::sleep(SETTLED);
        let asked = std::time::Instant::now();
        assert_eq!(text(shelf.open(path.clone()).await.unwrap()).as_deref(), Some("first"));
        // What leaves no trace is seen by nobody for a while: this shows that it was the copy.
        let before = fs::metadata(&path).unwrap();
        if shelf.copy(&path, Now::read().boot).is_none() {
            assert!(asked.elapsed() >= FRESH, "no copy was kept");
        }
        fs::write(&path, "other").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
        assert_eq!(text(shelf.open(path.clone()).await.unwrap()), None, "same size and time, but changed");
        std::thread::sleep(SETTLED);
        assert_eq!(text(shelf.open(path.clone()).await.unwrap()).as_deref(), Some("other"));
        let new = dir.path().join("new");
        fs::write(&new, "third").unwrap();
        std::thread::sleep(SETTLED);
        fs::rename(&new, &path).unwrap();
        assert!(text(shelf.open(path.clone()).await.unwrap()).is_none_or(|t| t == "third"));
        fs::remove_file(&path).unwrap();
        assert!(shelf.open(path).await.is_err());
    }

    #[tokio::test]
    async fn a_copy_grows_old_and_all_of_them_stay_few() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::default();
        let short = vec![7; usize::try_from(SHORT).unwrap()];
        let count = MOST / short.len() + 5;
        let paths: Vec<_> = (0..count).map(|n| dir.path().join(n.to_string())).collect();
        for path in &paths {
            fs::write(path, &short).unwrap();
        }
        fs::write(dir.path().join("long"), vec![7; short.len() + 1]).unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        std::thread::sleep(SETTLED);
        let start = Now::read();
        for path in &paths {
            assert!(matches!(shelf.open(path.clone()).await.unwrap(), Opened::Short(..)));
        }
        let bytes = shelf.lock().of.values().map(|copy| copy.bytes.len()).sum::<usize>();
        assert_eq!(shelf.lock().bytes, bytes);
        assert!(bytes <= MOST);
        let late = Now::read().boot + FRESH;
        assert!(late > start.boot && paths.iter().all(|path| shelf.copy(path, late).is_none()));
        for name in ["long", "empty"] {
            assert!(matches!(shelf.open(dir.path().join(name)).await.unwrap(), Opened::File(_)), "{name}");
        }
    }
}
