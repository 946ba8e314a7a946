//! The file operations that an overlay is made of, behind a trait, so that a test can cut the power between any two of them.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};

/// A file. Positions and lengths are in bytes. What was written is seen by later reads at once, and durable after `sync`.
pub(super) trait Storage: Send + Sync + Debug {
    /// Fills `buf`; the end of the file before that is an error.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buf`.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Frees the space of a range where that is possible; what it reads as afterwards is not promised.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes it so long; what is added reads as zeroes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves the space of so many bytes, where the file system can.
    fn reserve(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

/// Fills `buf`; the end of the file before that is an error.
pub(super) fn read_exact(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match rustix::io::pread(file, &mut *buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buf = buf.get_mut(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Storage for Arc<File> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        read_exact(self, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(buf, offset)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        punch(self, offset, len).map(|_| ())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match fallocate(&**self, FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Opens a file whose reads need not be noted in its time of access: that costs at each of them. Only its owner may ask for it.
pub(super) fn open_quietly(options: &OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    match options.clone().custom_flags(libc::O_NOATIME).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        opened => return opened,
    }
    options.open(path)
}

/// Makes a hole, which reads as zeroes. `false` where the file system has no holes; the range is as it was then.
pub(super) fn punch(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes zeroes, a piece at a time.
pub(super) fn write_zeroes(file: &File, mut offset: u64, mut len: u64) -> io::Result<()> {
    static ZEROES: [u8; 128 * 1024] = [0; 128 * 1024];
    while len > 0 {
        let piece = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROES.len());
        file.write_all_at(ZEROES.get(..piece).unwrap_or(&ZEROES), offset)?;
        offset += piece as u64;
        len -= piece as u64;
    }
    Ok(())
}
