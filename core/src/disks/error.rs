//! What can be wrong with a disk, each with what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a disk was not opened, imported or reset.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The image file is not there.
    #[error("the image {path} does not exist; import one or correct `image` in lab.toml")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Not a regular file.
    #[error("{path} is not a regular file; Bootyard serves image files only, never block devices")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Not a whole number of sectors.
    #[error(
        "{path} is {size} bytes long, which is no multiple of 512; it is not a whole raw image, copy or convert it again"
    )]
    BadSize {
        /// The image.
        path: PathBuf,
        /// Its bytes.
        size: u64,
    },
    /// Somebody else has it.
    #[error("{path} is in use by {by}; end that first")]
    InUse {
        /// The image or overlay.
        path: PathBuf,
        /// Who.
        by: String,
    },
    /// Overlays stand on an image that was to be written.
    #[error(
        "{path} cannot be written: {count} overlays stand on it, the first is {first}; reset them first or use another `writes`"
    )]
    HasOverlays {
        /// The image.
        path: PathBuf,
        /// How many.
        count: usize,
        /// One of them.
        first: PathBuf,
    },
    /// Its identity is not known yet.
    #[error("the image {path} is still being read to learn its identity; it is served as soon as that job is done")]
    NotReady {
        /// The image.
        path: PathBuf,
    },
    /// The image is not the one on which the overlay was made.
    #[error(
        "the image {path} has changed since the overlay {overlay} was made on it; put the former image back, or reset the overlay, which drops what its host wrote"
    )]
    ImageChanged {
        /// The image.
        path: PathBuf,
        /// The overlay's folder.
        overlay: PathBuf,
    },
    /// An image changed while it was read.
    #[error("{path} changed while it was read; stop what writes to it and try again")]
    ChangedMeanwhile {
        /// The image.
        path: PathBuf,
    },
    /// An overlay cannot be trusted.
    #[error(
        "{path} is damaged ({why}) and was left as it is; restore the overlay's folder from a backup, or reset the overlay, which drops what its host wrote"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// Too little room.
    #[error("{path} has {free} bytes free and {needed} are needed; make room there")]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// A format that is not served.
    #[error("{path} is {format}; {remedy}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: &'static str,
        /// What to do.
        remedy: String,
    },
    /// There is one of that name.
    #[error("{path} exists already; choose another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not a name.
    #[error(transparent)]
    Name(#[from] crate::lab::NameError),
    /// There is no overlay to work on.
    #[error("{label} has no overlay on the disk {disk}: it has not written anything to it since it was reset")]
    NoOverlay {
        /// The disk.
        disk: String,
        /// Whose.
        label: String,
    },
    /// Two overlays are meant.
    #[error(
        "{label} has a kept and a fresh overlay on the disk {disk}; name one of them by its id, as `bootyard disks list` shows it"
    )]
    TwoOverlays {
        /// The disk.
        disk: String,
        /// Whose.
        label: String,
    },
    /// Not the lab's own.
    #[error("{path} lies outside the lab's folder of disks, and other labs may stand on it; import it first")]
    Outside {
        /// The image.
        path: PathBuf,
    },
    /// Its image has moved on.
    #[error(
        "the overlay {overlay} stands on generation {on}, and {path} is at {at} by now: committing it would undo what others committed; reset it, or save it with a snapshot"
    )]
    Behind {
        /// The image.
        path: PathBuf,
        /// The overlay's folder.
        overlay: PathBuf,
        /// Its generation.
        on: u64,
        /// The image's.
        at: u64,
    },
    /// Disks only grow.
    #[error(
        "{path} has {size} bytes and cannot shrink to {wanted}: what is at its end would be lost; copy what it holds to a smaller disk instead"
    )]
    Shrink {
        /// The image.
        path: PathBuf,
        /// Bytes.
        size: u64,
        /// Bytes asked for.
        wanted: u64,
    },
    /// Somebody cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The operating system said no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// `read`, `create` …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
}

impl DiskError {
    /// The status of a refused login, class and detail as RFC 7143 11.13.5 numbers them.
    #[must_use]
    pub fn refusal_status(&self) -> u16 {
        match self {
            Self::Missing { .. } => 0x0203,
            Self::NoSpace { .. } => 0x0302,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => 0x0302,
            Self::Damaged { .. } | Self::Io { .. } => 0x0300,
            _ => 0x0301,
        }
    }

    /// For `map_err`: what was done to which path.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if source.kind() == io::ErrorKind::NotFound && what == "open" {
                Self::Missing { path }
            } else {
                Self::Io { what, path, source }
            }
        }
    }
}
