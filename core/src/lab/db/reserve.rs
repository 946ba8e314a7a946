//! A megabyte held back on the disk, given up when it is full.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes: room for the write-ahead log, which is folded in at half a megabyte, and for some thousand leases.
const SIZE: usize = 1 << 20;

/// Free bytes beyond which the reserve is taken again: well above it, so that it is not given and taken in turns.
const PLENTY: u64 = 16 << 20;

/// `lab.db.reserve`.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// The reserve of a database; taken if there is room for it.
    pub(super) fn of(db: &Path) -> Self {
        let mut name = db.as_os_str().to_owned();
        name.push(".reserve");
        let mut reserve = Self { path: name.into(), held: false };
        reserve.held = fs::metadata(&reserve.path).is_ok_and(|m| m.len() >= SIZE as u64) || reserve.take();
        reserve
    }

    /// Gives the space to whoever needs it; `false` if there was none.
    pub(super) fn give_up(&mut self) -> bool {
        let had = std::mem::take(&mut self.held);
        had && fs::remove_file(&self.path).is_ok()
    }

    /// Whether it is there, after trying to take it where the disk has plenty of room.
    pub(super) fn restored(&mut self) -> bool {
        if !self.held {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            let free = rustix::fs::statvfs(dir).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
            self.held = free >= PLENTY && self.take();
        }
        self.held
    }

    fn take(&self) -> bool {
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
            // Not a hole, and nothing that a file system could compress away.
            let mut noise = vec![0; SIZE];
            fastrand::fill(&mut noise);
            file.write_all(&noise)?;
            file.sync_all()
        };
        let taken: std::io::Result<()> = write();
        if taken.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        taken.is_ok()
    }
}
