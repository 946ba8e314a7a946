//! An image between the last byte of its making and its entry in lab.toml.
//!
//! It is made as `.NAME.raw.part`. Whole, it gets the name `NAME.raw` beside that one, which it keeps until it has its entry: so the
//! start after a crash knows an image that nobody was told of from one that somebody put there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::copy::move_anew;
use super::{DiskError, Store, identity, import};
use crate::lab::{Disk, Lab, Name};

/// Gives an image that is whole its name, which must be free, and lets `note` write down what it is.
pub(super) fn appear(
    part: &Path,
    path: &Path,
    dir: &Path,
    note: impl FnOnce() -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    match fs::hard_link(part, path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(DiskError::Exists { path: path.to_owned() }),
        // A file system without links: a crash before the entry leaves an image that nobody names.
        Err(_) => move_anew(part, path)?,
    }
    identity::forget(dir, path);
    let noted =
        note().and_then(|()| fs::File::open(dir).and_then(|d| d.sync_all()).map_err(DiskError::io("write", dir)));
    if noted.is_err() {
        undo(dir, part, path);
    }
    noted
}

fn undo(dir: &Path, part: &Path, path: &Path) {
    let _ = fs::remove_file(path);
    identity::forget(dir, path);
    let _ = fs::remove_file(part);
}

impl Store {
    /// The image of this name has its entry in lab.toml.
    pub fn entered(&self, name: &Name) {
        let _the_next_start_does_it_else = fs::remove_file(import::part_path(self.dir(), name.as_str()));
    }

    /// The image of this name gets no entry: it goes.
    pub fn not_entered(&self, name: &Name) {
        let path = self.dir().join(format!("{name}.raw"));
        undo(self.dir(), &import::part_path(self.dir(), name.as_str()), &path);
    }
}

/// Removes what was being made when the program ended, and what was whole and has no entry. `None`: lab.toml cannot be read, so that
/// nobody knows who has one.
pub(super) fn clear_rests(dir: &Path, lab: Option<&Lab>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".part")) else { continue };
        let (part, path) = (entry.path(), dir.join(name));
        let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino()));
        let made = inode(&part).ok().filter(|made| inode(&path).is_ok_and(|is| is == *made));
        // However lab.toml spells its path, it is the same file; where one cannot be looked at, it may be that.
        let entry = |disk: &Disk| match inode(&dir.join(&disk.image)) {
            Ok(is) => Some(is) == made,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        let nobodys = lab.is_some_and(|lab| !lab.disks.iter().any(entry));
        if name.ends_with(".raw") && made.is_some() && nobodys {
            undo(dir, &part, &path);
        } else if name.ends_with(".raw") || name.ends_with(".id") {
            let _ = fs::remove_file(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn an_image_without_its_entry_goes_at_the_next_start_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("disks"));
        let from = dir.path().join("from.raw");
        fs::write(&from, vec![7; 1 << 20]).unwrap();
        let lab = |disks: &str| crate::lab::parse(&format!("version = 1\n{disks}")).unwrap();
        let named = lab("[[disk]]\nname = \"one\"\nimage = \"one.raw\"\n");
        let files = || {
            let mut all: Vec<_> = fs::read_dir(store.dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
            all.sort();
            all
        };
        for (known, stays) in [(Some(&named), true), (None, true), (Some(&lab("")), false)] {
            let name: Name = "one".parse().unwrap();
            store.import(&from, "one", &|_, _| {}, &AtomicBool::new(false)).unwrap();
            fs::write(store.dir().join(".one.raw.id.part"), "cut short").unwrap();
            store.recover(known);
            assert_eq!(files(), if stays { vec!["one.raw", "one.raw.id"] } else { vec![] });
            store.not_entered(&name);
            assert!(files().is_empty());
        }
        // By whatever name lab.toml calls it.
        store.import(&from, "one", &|_, _| {}, &AtomicBool::new(false)).unwrap();
        store.recover(Some(&lab("[[disk]]\nname = \"other\"\nimage = \"./one.raw\"\n")));
        assert_eq!(files(), ["one.raw", "one.raw.id"]);
        store.not_entered(&"one".parse().unwrap());
        // Somebody's own file, beside the rest of an import of the same name.
        fs::write(store.dir().join("one.raw"), vec![8; 512]).unwrap();
        fs::write(store.import_part("one"), vec![7; 512]).unwrap();
        store.recover(Some(&lab("")));
        assert_eq!(files(), ["one.raw"]);
        assert!(matches!(
            store.import(&from, "one", &|_, _| {}, &AtomicBool::new(false)),
            Err(DiskError::Exists { .. })
        ));
        assert_eq!(fs::read(store.dir().join("one.raw")).unwrap(), vec![8; 512]);
    }
}
