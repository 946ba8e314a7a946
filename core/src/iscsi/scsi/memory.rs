//! What a logical unit must remember through a restart, and the file that it is in.
//!
//! The file is written whole or not at all, and is there only while there is something to remember. A damaged one is refused, never
//! taken for an empty one: whether another machine had the disk to itself is not known then, and to let everybody in could
//! destroy a shared file system. No cut of power makes one, so this is a case for a person.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The form of the file.
const VERSION: u32 = 1;
/// A file that is larger is none of ours.
const MOST: u64 = 4 << 20;

/// Why a unit's memory cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file system says no.
    #[error("cannot {what} {path}, in which a disk keeps its reservations: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we write.
    #[error(
        "{path} is damaged ({why}): nobody knows any more which machines have reserved this disk; if none uses it now, delete the file"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version wrote it.
    #[error("{path} has the form {version}, which only a later version of Bootyard reads; use that one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        version: u32,
    },
}

/// What must outlive a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Registrations with APTPL, and the reservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations: Option<Reservations>,
    /// A sanitize operation that has not ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sanitize: Option<Sanitize>,
}

/// Persistent reservations (SPC-4 5.13).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservations {
    /// By the name of the initiator port: iSCSI name and ISID.
    pub registrations: BTreeMap<String, Registration>,
    /// The reservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// A registered nexus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its reservation key.
    pub key: u64,
    /// ALL_TG_PT: registered for every target port.
    #[serde(default)]
    pub all_ports: bool,
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Who made it. With the types for all registrants, each of these holds it.
    pub holder: String,
    /// Its type, SPC-4 table 215.
    pub kind: u8,
}

/// A sanitize operation (SBC-3 4.11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sanitize {
    /// [`crate::disks::BlockDevice::medium`]: another one is none of its business.
    #[serde(default)]
    pub medium: String,
    /// Service action of the command that began it.
    pub action: u8,
    /// What OVERWRITE writes into each block, again and again until it is full.
    #[serde(default)]
    pub pattern: Vec<u8>,
    /// How often OVERWRITE does that.
    #[serde(default)]
    pub passes: u8,
    /// Each pass of OVERWRITE writes the inverse of what the one before wrote.
    #[serde(default)]
    pub invert: bool,
    /// AUSE: the unit may be used after a failure.
    #[serde(default)]
    pub unrestricted: bool,
    /// It has failed; otherwise it is under way.
    #[serde(default)]
    pub failed: bool,
}

#[derive(Serialize, Deserialize)]
struct Whole {
    version: u32,
    #[serde(flatten)]
    remembered: Remembered,
}

/// The file, and what is in it.
#[derive(Debug, Default)]
pub struct Memory {
    path: Option<PathBuf>,
    /// `None` after an error: the file may hold one or the other.
    saved: Option<Remembered>,
}

impl Memory {
    /// Memory that a restart wipes: neither APTPL nor SANITIZE are offered.
    #[must_use]
    pub fn volatile() -> Self {
        Self { path: None, saved: Some(Remembered::default()) }
    }

    /// Reads what the file says; one that is not there says nothing.
    ///
    /// # Errors
    /// [`MemoryError`]: it cannot be read, or is not ours.
    pub fn open(path: &Path) -> Result<Self, MemoryError> {
        let text = match fs::metadata(path)
            .and_then(|meta| if meta.len() > MOST { Err(io::ErrorKind::FileTooLarge.into()) } else { fs::read(path) })
        {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(MemoryError::Io { what: "read", path: path.into(), source }),
        };
        let remembered = match text {
            Some(text) => parse(path, &text)?,
            None => Remembered::default(),
        };
        Ok(Self { path: Some(path.into()), saved: Some(remembered) })
    }

    /// Whether it outlives a restart.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.path.is_some()
    }

    /// Somebody has deleted the file with what was to be remembered: the disk is a new one.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let kept = self.saved.as_ref().is_some_and(|saved| *saved != Remembered::default());
        kept && self.path.as_ref().is_some_and(|path| matches!(path.try_exists(), Ok(false)))
    }

    /// What was read or saved last.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        self.saved.clone().unwrap_or_default()
    }

    /// Makes this what is found after a restart. It is durable when this returns.
    ///
    /// # Errors
    /// [`MemoryError::Io`]; the file then has the old or the new content.
    pub fn save(&mut self, next: &Remembered) -> Result<(), MemoryError> {
        if self.saved.as_ref() == Some(next) {
            return Ok(());
        }
        if let Some(path) = &self.path {
            self.saved = None;
            let empty = *next == Remembered::default();
            let result = if empty { remove(path) } else { write(path, next) };
            result.map_err(|source| MemoryError::Io { what: "write", path: path.clone(), source })?;
        }
        self.saved = Some(next.clone());
        Ok(())
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Remembered, MemoryError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let damaged = |error: serde_json::Error| MemoryError::Damaged { path: path.into(), why: error.to_string() };
    // The version first: what a later one means is not for us to judge.
    match serde_json::from_slice(text).map_err(damaged)? {
        Version { version: VERSION } => {}
        Version { version } => return Err(MemoryError::Newer { path: path.into(), version }),
    }
    let whole: Whole = serde_json::from_slice(text).map_err(damaged)?;
    if let Some(reservations) = &whole.remembered.reservations {
        let known = |held: &Held| {
            super::persist::is_type(held.kind) && reservations.registrations.contains_key(&held.holder)
                || held.kind >= 7 && !reservations.registrations.is_empty()
        };
        if reservations.held.as_ref().is_some_and(|held| !known(held)) {
            let why = "its reservation has no registered holder".to_owned();
            return Err(MemoryError::Damaged { path: path.into(), why });
        }
    }
    Ok(whole.remembered)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn write(path: &Path, next: &Remembered) -> io::Result<()> {
    let text = serde_json::to_vec(&Whole { version: VERSION, remembered: next.clone() })?;
    let folder = folder(path);
    make(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.part"));
    let mut file = File::create(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Makes a folder that stays: its entry in the one above is durable, too.
fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => File::open(self::folder(folder))?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => File::open(folder(path))?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved() -> Remembered {
        let name = "iqn.2026-11.org.example:a,i,0x800000000001".to_owned();
        let registrations = BTreeMap::from([(name.clone(), Registration { key: u64::MAX, all_ports: true })]);
        Remembered {
            reservations: Some(Reservations { registrations, held: Some(Held { holder: name, kind: 5 }) }),
            sanitize: None,
        }
    }

    #[test]
    fn what_was_saved_is_found_again_and_nothing_to_remember_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.overlays/host-1.unit");
        let mut memory = Memory::open(&path).unwrap();
        assert_eq!(memory.remembered(), Remembered::default());
        memory.save(&Remembered::default()).unwrap();
        assert!(!path.parent().unwrap().exists(), "nothing is made for nothing");
        memory.save(&reserved()).unwrap();
        assert_eq!(Memory::open(&path).unwrap().remembered(), reserved());
        memory.save(&Remembered::default()).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0, "no temporary file stays");
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_name_and_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.unit");
        let holderless = r#"{"version":1,"reservations":{"registrations":{},"held":{"holder":"x","kind":5}}}"#;
        for text in ["", "{", "{}", "\0\0\0\0", r#"{"version":1,"reservations":3}"#, holderless] {
            fs::write(&path, text).unwrap();
            let error = Memory::open(&path).unwrap_err();
            assert!(matches!(error, MemoryError::Damaged { .. }), "{text}: {error}");
            assert!(error.to_string().contains("a.unit") && error.to_string().contains("delete"));
        }
        fs::write(&path, r#"{"version":2,"reservations":3}"#).unwrap();
        assert!(matches!(Memory::open(&path), Err(MemoryError::Newer { version: 2, .. })));
    }

    #[test]
    fn an_error_is_told_and_what_follows_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/below/a.unit");
        let mut memory = Memory::open(&path).unwrap();
        assert!(memory.save(&reserved()).is_err());
        fs::create_dir(dir.path().join("gone")).unwrap();
        memory.save(&reserved()).unwrap();
        assert_eq!(Memory::open(&path).unwrap().remembered(), reserved());
    }
}
