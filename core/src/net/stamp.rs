//! What tells two states of one open file apart.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file's state: two that differ mean that its bytes may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Last write: seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    /// Last change of its bytes or of what is known about it, likewise.
    pub(crate) changed: (i64, i64),
    links: u64,
}

impl Stamp {
    /// As it is now.
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            links: meta.nlink(),
        }
    }

    /// The bytes may be others `now`. A file whose name was given to another, or got a second one, is still itself.
    pub(crate) fn rewritten(&self, now: &Self) -> bool {
        (self.size, self.modified) != (now.size, now.modified)
            || (self.changed != now.changed && self.links == now.links)
    }
}
