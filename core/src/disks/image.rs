//! A raw image file as a [`BlockDevice`]: golden, shared and read-only, or written by one host at a time.
//!
//! No mapping of the file: one that is truncated, or whose disk is pulled, then is a failed read of one host and not the end of all.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom, fallocate, fcntl_lock, flock, seek};
use rustix::io::Errno;

use super::storage::{open_quietly, punch, read_exact, write_zeroes};
use super::{Allocation, BlockDevice, DiskError, Extent, SECTOR, check_range, usage};

/// An open image. The operating system's lock on it is held as long as this lives.
#[derive(Debug)]
pub struct Image {
    file: Arc<File>,
    path: PathBuf,
    size: AtomicU64,
    readonly: bool,
    inode: (u64, u64),
    /// A flush failed: what the kernel still had may be lost, so none may succeed any more.
    lost: AtomicBool,
}

impl Image {
    /// Opens a golden image: shared, and nobody may write it meanwhile.
    ///
    /// # Errors
    /// It is missing, no whole raw image, or open for writing.
    pub fn open_shared(path: &Path) -> Result<Self, DiskError> {
        let file = regular(open_quietly(OpenOptions::new().read(true), path), path)?;
        Self::locked(file, path, true)
    }

    /// Opens an image to look into it, whoever has it: no lock, and what is read may change meanwhile.
    ///
    /// # Errors
    /// It is missing, or no whole raw image.
    pub fn peek(path: &Path) -> Result<Self, DiskError> {
        let file = regular(open_quietly(OpenOptions::new().read(true), path), path)?;
        Self::of(file, path, true)
    }

    /// Opens an image to be written: nobody else may have it open, be it a session, another program, a loop device or a mount.
    ///
    /// # Errors
    /// It is missing, no whole raw image, or in use.
    pub fn open_exclusive(path: &Path) -> Result<Self, DiskError> {
        usage::refuse_device(path)?;
        let file = regular(open_quietly(OpenOptions::new().read(true).write(true), path), path)?;
        let image = Self::locked(file, path, false)?;
        usage::refuse_attached(path)?;
        // QEMU and libvirt lock byte ranges instead of the file. This asks for all of them and lets go again at once.
        match fcntl_lock(&*image.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                fcntl_lock(&*image.file, FlockOperation::NonBlockingUnlock)
                    .map_err(|e| DiskError::io("unlock", path)(e.into()))?;
            }
            Err(Errno::AGAIN | Errno::ACCESS) => {
                return Err(DiskError::InUse {
                    path: path.to_owned(),
                    by: "another program, a virtual machine perhaps".into(),
                });
            }
            Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::INVAL) => {}
            Err(e) => return Err(DiskError::io("lock", path)(e.into())),
        }
        Ok(image)
    }

    fn locked(file: File, path: &Path, readonly: bool) -> Result<Self, DiskError> {
        let operation =
            if readonly { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
        let mut locked = flock(&file, operation);
        // A program that is just being started has copies of all descriptors until it runs: a lock let go a moment ago may seem held.
        for _ in 0..5 {
            if locked != Err(Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            locked = flock(&file, operation);
        }
        match locked {
            // A file system without locks cannot say that anybody else is there.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP) => {}
            Err(Errno::WOULDBLOCK) => {
                let by = if readonly { "a host that writes into it" } else { "other hosts or another program" };
                return Err(DiskError::InUse { path: path.to_owned(), by: by.into() });
            }
            Err(e) => return Err(DiskError::io("lock", path)(e.into())),
        }
        Self::of(file, path, readonly)
    }

    fn of(file: File, path: &Path, readonly: bool) -> Result<Self, DiskError> {
        let meta = file.metadata().map_err(DiskError::io("read", path))?;
        let size = meta.len();
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(DiskError::BadSize { path: path.to_owned(), size });
        }
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            size: AtomicU64::new(size),
            readonly,
            inode: (meta.dev(), meta.ino()),
            lost: AtomicBool::new(false),
        })
    }

    /// Its file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the file.
    pub(super) fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn len(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Makes it `size` bytes long; what is added reads as zeroes. It is durable when this returns.
    pub(super) fn grow(&self, size: u64) -> io::Result<()> {
        self.check_writable()?;
        if size > self.len() {
            self.file.set_len(size)?;
            self.file.sync_all()?;
            self.size.fetch_max(size, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Refuses what would write into one that is open read-only.
    fn check_writable(&self) -> io::Result<()> {
        if self.readonly {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the image is open read-only"));
        }
        Ok(())
    }
}

/// The opened file, if it is a regular one.
fn regular(opened: io::Result<File>, path: &Path) -> Result<File, DiskError> {
    let file = opened.map_err(DiskError::io("open", path))?;
    if !file.metadata().map_err(DiskError::io("read", path))?.is_file() {
        return Err(DiskError::NotAFile { path: path.to_owned() });
    }
    Ok(file)
}

/// Whether the byte at `offset` is data, and where that ends. A file system that has no holes says data.
pub(super) fn data_run(file: &File, offset: u64, size: u64) -> io::Result<(bool, u64)> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) if data > offset => Ok((false, data.min(size))),
        Ok(_) => match seek(file, SeekFrom::Hole(offset)) {
            Ok(hole) => Ok((true, hole.min(size).max(offset))),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((true, size)),
            Err(e) => Err(e.into()),
        },
        Err(Errno::NXIO) => Ok((false, size)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((true, size)),
        Err(e) => Err(e.into()),
    }
}

impl BlockDevice for Image {
    fn size(&self) -> u64 {
        self.len()
    }

    fn readonly(&self) -> bool {
        self.readonly
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(self.len(), offset, buf.len() as u64)?;
        read_exact(&self.file, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        check_range(self.len(), offset, buf.len() as u64)?;
        self.check_writable()?;
        self.file.write_all_at(buf, offset)
    }

    fn flush(&self) -> io::Result<()> {
        if self.readonly {
            return Ok(());
        }
        if self.lost.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier flush failed; what was written since may be lost"));
        }
        self.file.sync_data().inspect_err(|_| self.lost.store(true, Ordering::Release))
    }

    fn zero(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        check_range(self.len(), offset, len)?;
        self.check_writable()?;
        if len == 0 {
            return Ok(());
        }
        let done = if unmap {
            punch(&self.file, offset, len)?
        } else {
            fallocate(&*self.file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, offset, len).is_ok()
        };
        if done { Ok(()) } else { write_zeroes(&self.file, offset, len) }
    }

    fn extent(&self, offset: u64, len: u64) -> Option<Extent> {
        check_range(self.len(), offset, len).ok()?;
        (len > 0).then(|| Extent { file: self.file.clone(), offset, len })
    }

    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        check_range(self.len(), offset, SECTOR)?;
        let (data, end) = data_run(&self.file, offset, self.len())?;
        // The last partial sector of a run counts as mapped, whatever follows it.
        let len = end.saturating_sub(offset);
        let len = if data { len.next_multiple_of(SECTOR) } else { len / SECTOR * SECTOR };
        if len == 0 {
            return Ok((Allocation::Mapped, SECTOR));
        }
        Ok((if data { Allocation::Mapped } else { Allocation::Deallocated }, len.min(self.len() - offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(dir: &Path, size: u64) -> PathBuf {
        let path = dir.join("a.raw");
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    #[test]
    fn what_is_written_is_read_and_ranges_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let image = Image::open_exclusive(&image(dir.path(), 1 << 20)).unwrap();
        image.write_at(&[7; 1024], 4096).unwrap();
        let mut buf = [1; 2048];
        image.read_at(&mut buf, 3584).unwrap();
        assert_eq!((buf[511], buf[512], buf[1535], buf[1536]), (0, 7, 7, 0));
        image.flush().unwrap();
        for (offset, len) in [(1u64 << 20, 512usize), (100, 512), (0, 100), (u64::MAX - 511, 512)] {
            assert_eq!(
                image.write_at(&vec![0; len], offset).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{offset} {len}"
            );
        }
    }

    #[test]
    fn an_unmapped_range_reads_as_zeroes_and_is_deallocated() {
        let dir = tempfile::tempdir().unwrap();
        let image = Image::open_exclusive(&image(dir.path(), 1 << 20)).unwrap();
        image.write_at(&vec![7; 1 << 20], 0).unwrap();
        image.zero(65536, 131_072, true).unwrap();
        image.zero(512, 512, false).unwrap();
        let mut buf = vec![1; 131_072];
        image.read_at(&mut buf, 65536).unwrap();
        assert!(buf.iter().all(|b| *b == 0));
        image.read_at(&mut buf[..1536], 0).unwrap();
        assert_eq!((buf[511], buf[512], buf[1023], buf[1024]), (7, 0, 0, 7));
        let (what, len) = image.allocation(65536).unwrap();
        assert!(what == Allocation::Mapped || len == 131_072);
    }

    #[test]
    fn one_writes_or_many_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = image(dir.path(), 4096);
        let one = Image::open_shared(&path).unwrap();
        let two = Image::open_shared(&path).unwrap();
        assert!(matches!(Image::open_exclusive(&path), Err(DiskError::InUse { .. })));
        drop((one, two));
        let writer = Image::open_exclusive(&path).unwrap();
        assert!(matches!(Image::open_shared(&path), Err(DiskError::InUse { .. })));
        assert!(matches!(Image::open_exclusive(&path), Err(DiskError::InUse { .. })));
        drop(writer);
        Image::open_exclusive(&path).unwrap();
    }

    #[test]
    fn what_is_no_whole_image_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Image::open_shared(&image(dir.path(), 1000)), Err(DiskError::BadSize { size: 1000, .. })));
        assert!(matches!(Image::open_shared(&dir.path().join("none.raw")), Err(DiskError::Missing { .. })));
        assert!(matches!(Image::open_shared(dir.path()), Err(DiskError::NotAFile { .. })));
        assert!(matches!(Image::open_exclusive(Path::new("/dev/null")), Err(DiskError::NotAFile { .. })));
    }
}
