//! Installers: their files below `media/`, and answer files rendered for one host.
//!
//! [`resolve`] turns a path of lab.toml into a file that may be served; [`answers`] tells an answer file's form by its content and
//! renders it. [`recognise`] tells what a file is that somebody brings, whatever its name.

pub mod answers;
mod recognise;
#[cfg(test)]
mod recognise_tests;

use std::path::{Component, Path, PathBuf};

use crate::lab::Profile;

pub use recognise::{Kind, recognise};

/// Why a file of a profile cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The path climbs out of `media/`.
    #[error("`{0}` leads out of the lab's media folder; use a path below it, or an absolute one")]
    Climbs(PathBuf),
    /// Not there, not a file, or not readable.
    #[error("{path}: {source}; put the file there or correct the profile")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// No bytes in it.
    #[error("{0} is empty; copy it again")]
    Empty(PathBuf),
    /// The answer file is no template.
    #[error("{path}:{line}: {message}")]
    Template {
        /// The file.
        path: PathBuf,
        /// Its line, from 1; 0 when unknown.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// The file that a path of lab.toml names: below `media`, or absolute.
///
/// # Errors
/// [`MediaError::Climbs`] for a path with `..`.
pub fn resolve(media: &Path, path: &Path) -> Result<PathBuf, MediaError> {
    if path.components().any(|c| matches!(c, Component::ParentDir)) {
        return Err(MediaError::Climbs(path.to_owned()));
    }
    Ok(media.join(path))
}

/// Bytes of a file that is to be served.
///
/// # Errors
/// [`MediaError`], when it is not a file with something in it.
pub fn size(path: &Path) -> Result<u64, MediaError> {
    let unreadable = |source| MediaError::Unreadable { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file")));
    }
    if meta.len() == 0 {
        return Err(MediaError::Empty(path.to_owned()));
    }
    Ok(meta.len())
}

/// Bytes that a machine loads at most to start this profile: kernel, initrds and hypervisor.
///
/// # Errors
/// The first file that cannot be served.
pub fn profile_size(media: &Path, profile: &Profile) -> Result<u64, MediaError> {
    let mut total = 0u64;
    for file in std::iter::once(&profile.kernel).chain(&profile.initrds) {
        total = total.saturating_add(size(&resolve(media, file)?)?);
    }
    // It loads the one for its firmware.
    let mut larger = 0;
    for file in profile.hypervisor.iter().chain(&profile.hypervisor_efi) {
        larger = size(&resolve(media, file)?)?.max(larger);
    }
    total = total.saturating_add(larger);
    if let Some(answers) = &profile.answers {
        size(&resolve(media, answers)?)?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_media_or_is_absolute() {
        let media = Path::new("/lab/media");
        assert_eq!(resolve(media, Path::new("debian/linux")).unwrap(), Path::new("/lab/media/debian/linux"));
        assert_eq!(resolve(media, Path::new("/srv/linux")).unwrap(), Path::new("/srv/linux"));
        assert!(matches!(resolve(media, Path::new("a/../../lab.toml")), Err(MediaError::Climbs(_))));
    }

    #[test]
    fn an_empty_kernel_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("linux");
        std::fs::write(&file, "").unwrap();
        assert!(size(&file).unwrap_err().to_string().contains("linux is empty"));
        assert!(size(&dir.path().join("no")).unwrap_err().to_string().contains("put the file there"));
    }
}
