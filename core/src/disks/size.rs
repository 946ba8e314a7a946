//! The size to which an overlay has grown: a small file in its folder, written whole, so that growing never risks the map's header.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{DiskError, SECTOR};

const NAME: &str = "size";

/// The size that was last written down, in bytes; 0 where the overlay never grew.
pub(super) fn read(folder: &Path) -> Result<u64, DiskError> {
    let path = folder.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(size) if size.is_multiple_of(SECTOR) => Ok(size),
            _ => Err(DiskError::Damaged { path, why: "it holds no size in bytes".into() }),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(DiskError::io("read", &path)(e)),
    }
}

/// Writes it down; it is durable when this returns.
pub(super) fn write(folder: &Path, size: u64) -> io::Result<()> {
    let temporary = folder.join("size.part");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(size.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(NAME))?;
    fs::File::open(folder)?.sync_all()
}
