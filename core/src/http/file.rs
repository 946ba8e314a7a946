//! A served file: opened, read from the page cache at once and from the disk on a thread, and held against what it was.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::machine::Version;
use crate::net::Stamp;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// The kernel reads ahead, and drops what nobody asks for, in pieces of about this size.
const PROBE: usize = 128 * 1024;

/// A file with the version that an answer is about.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) file: File,
    pub(super) version: Version,
    stamp: Stamp,
    /// Its file system keeps everything in memory.
    memory: bool,
    /// Bytes that were read in last, from the first to the one behind the last.
    read_in: (u64, u64),
}

/// The file system without a disk that was met last: it is not asked again what it is.
static MEMORY: AtomicU64 = AtomicU64::new(u64::MAX);

/// Opens a file to be served, on a thread if its name has to be read from the disk.
pub(super) async fn open(path: PathBuf) -> io::Result<Served> {
    match open_known(&path) {
        Some(opened) => opened,
        None => tokio::task::spawn_blocking(move || open_any(&path)).await.map_err(io::Error::other)?,
    }
}

/// Never waits for a pipe's other end.
const OPENED: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens what the kernel knows the way to without asking a disk; `None` if it does not.
fn open_known(path: &Path) -> Option<io::Result<Served>> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, ResolveFlags, openat2};
        match openat2(CWD, path, OPENED, Mode::empty(), ResolveFlags::CACHED) {
            Ok(file) => Some(Served::new(file.into())),
            Err(error @ (Errno::NOENT | Errno::ACCESS)) => Some(Err(error.into())),
            // Not in memory, or a kernel before 5.12.
            Err(_) => None,
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

fn open_any(path: &Path) -> io::Result<Served> {
    Served::new(rustix::fs::open(path, OPENED, Mode::empty())?.into())
}

impl Served {
    fn new(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is no regular file"));
        }
        let stamp = Stamp::of(&meta);
        let version = Version::new(stamp.size, stamp.modified, stamp.changed, meta.ino());
        let memory = meta.dev() == MEMORY.load(Ordering::Relaxed);
        Ok(Self { file, version, stamp, memory, read_in: (0, 0) })
    }

    /// Bytes from here on are asked for in order. Advice only.
    pub(super) fn sequential(&self, from: u64) {
        let _ = rustix::fs::fadvise(&self.file, from, None, rustix::fs::Advice::Sequential);
    }

    /// Whether the file is still the one that the answer's head describes.
    ///
    /// # Errors
    /// If it is not: bytes of two versions must not become one answer.
    pub(super) fn unchanged(&mut self) -> io::Result<()> {
        let now = Stamp::of(&self.file.metadata()?);
        if self.stamp.rewritten(&now) {
            return Err(io::Error::other("the file was changed while it was sent"));
        }
        self.stamp = now;
        Ok(())
    }

    /// Reads what is in memory; `None` if nothing is, or the file ends before `at`.
    pub(super) fn read_known(&mut self, buf: &mut [u8], at: u64) -> Option<usize> {
        let flags = if self.memory { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT };
        match rustix::io::preadv2(&self.file, &mut [io::IoSliceMut::new(buf)], at, flags) {
            Ok(0) => None,
            Ok(len) => Some(len),
            Err(Errno::OPNOTSUPP) if !self.memory && in_memory(&self.file) => {
                self.memory = true;
                if let Ok(meta) = self.file.metadata() {
                    MEMORY.store(meta.dev(), Ordering::Relaxed);
                }
                self.read_known(buf, at)
            }
            Err(_) => None,
        }
    }

    /// Whether the bytes of this range are likely to be in memory: its last and one in each [`PROBE`] are, or they were read in just now,
    /// for those file systems that can't tell.
    pub(super) fn known(&mut self, at: u64, len: usize) -> bool {
        let end = at + len as u64;
        if self.memory || (self.read_in.0 <= at && end <= self.read_in.1) {
            return true;
        }
        // From the end: what is not there yet is mostly what comes last.
        let probes = std::iter::once(end.saturating_sub(1)).chain((at..end).step_by(PROBE).skip(1)).chain([at]);
        let mut byte = [0];
        for probe in probes {
            if self.read_known(&mut byte, probe).is_none() {
                return false;
            }
            if self.memory {
                return true;
            }
        }
        true
    }

    /// How much of a range is best sent at once: of what was read in, not beyond.
    pub(super) fn reach(&self, at: u64, len: usize) -> usize {
        let (first, end) = self.read_in;
        if first <= at && at < end { usize::try_from(end - at).unwrap_or(len).min(len) } else { len }
    }

    /// Has a thread bring this range into memory.
    ///
    /// # Errors
    /// The disk's. A file that ends before is none.
    pub(super) async fn read_in(mut self, at: u64, len: usize) -> io::Result<Self> {
        let reading = tokio::task::spawn_blocking(move || {
            let mut buf = vec![0; len.min(PIECE)];
            let end = at + len as u64;
            let mut from = at;
            while from < end {
                match self.file.read_at(&mut buf, from)? {
                    0 => break,
                    read => from += read as u64,
                }
            }
            self.read_in = (at, end);
            Ok(self)
        });
        reading.await.map_err(io::Error::other)?
    }
}

/// Whether a file is on a file system that has no disk. Such ones do not know how not to wait.
#[cfg(target_os = "linux")]
fn in_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|fs| matches!(u64::try_from(fs.f_type), Ok(TMPFS | RAMFS)))
}

#[cfg(not(target_os = "linux"))]
fn in_memory(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn what_is_written_into_a_file_is_seen_and_a_new_name_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"first").unwrap();
        let mut served = open(path.clone()).await.unwrap();
        std::fs::hard_link(&path, dir.path().join("second-name")).unwrap();
        served.unchanged().unwrap();
        std::fs::write(dir.path().join("new"), b"other").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        served.unchanged().unwrap();
        let mut file = File::options().write(true).open(dir.path().join("second-name")).unwrap();
        // Older kernels count times in ticks.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let before = file.metadata().unwrap();
        file.write_all(b"F").unwrap();
        assert!(served.unchanged().is_err(), "same size, other bytes");
        // As a copying program does that keeps times.
        file.set_modified(before.modified().unwrap()).unwrap();
        assert!(served.unchanged().is_err(), "its time was put back");
        assert_ne!(open(path).await.unwrap().version, served.version);
    }

    #[tokio::test]
    async fn only_regular_files_are_served_and_none_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path().to_owned()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(open(dir.path().join("no")).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(open(pipe).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn memory_is_read_at_once_on_disks_and_without() {
        for parent in [std::env::temp_dir(), "/dev/shm".into()] {
            if !parent.is_dir() {
                continue;
            }
            let dir = tempfile::tempdir_in(parent).unwrap();
            std::fs::write(dir.path().join("f"), b"0123456789").unwrap();
            let mut served = open(dir.path().join("f")).await.unwrap();
            let mut buf = [0; 4];
            assert!(served.known(0, 10));
            assert_eq!((served.read_known(&mut buf, 8), &buf[..2]), (Some(2), &b"89"[..]));
            assert_eq!(served.read_known(&mut buf, 10), None);
        }
    }

    #[tokio::test]
    async fn what_was_read_in_is_known_even_where_the_file_system_can_t_tell() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), vec![1; 1 << 20]).unwrap();
        let served = open(dir.path().join("f")).await.unwrap();
        let mut served = served.read_in(1000, 600_000).await.unwrap();
        assert_eq!(served.read_in, (1000, 601_000));
        assert!(served.known(2000, 599_000));
        assert_eq!((served.reach(600_000, 5000), served.reach(601_000, 5000), served.reach(0, 9)), (1000, 5000, 9));
        // Behind the end is no error: the answer's own check finds a file that became shorter.
        assert!(served.read_in(1 << 20, 10).await.is_ok());
    }
}
