//! What can be asked of a disk and of an overlay: the acts of their menus, why one can't be done now, and the forms behind them.

use bootyard_core::api::{DiskView, ExportFormat, OverlayView};
use bootyard_core::lab::Writes;

use super::lang::t;
use super::say;

/// A question about a disk that is open, and what was filled in so far. Disks and overlays are meant by name and id: the
/// snapshot may change under an open dialog.
#[derive(Debug, Clone)]
pub(super) enum DiskAsk {
    /// A new disk from what this one, or an overlay of it, reads as.
    Snapshot {
        /// The disk.
        disk: String,
        /// Whose overlay.
        overlay: Option<String>,
        /// Name of the new one.
        name: String,
    },
    /// A copy that is nobody's child.
    Clone {
        /// The disk.
        disk: String,
        /// Name of the copy.
        name: String,
    },
    /// Make it larger.
    Resize {
        /// The disk.
        disk: String,
        /// As typed, `100G`.
        size: String,
    },
    /// Write it to a file.
    Export {
        /// The disk.
        disk: String,
        /// Whose overlay.
        overlay: Option<String>,
        /// The file.
        path: String,
        /// `None`: as the file's name says.
        format: Option<ExportFormat>,
    },
    /// Drop overlays.
    Reset {
        /// The disk.
        disk: String,
        /// Ids of the chosen ones.
        chosen: Vec<String>,
    },
    /// An overlay becomes the image.
    Commit {
        /// The disk.
        disk: String,
        /// The overlay's id.
        overlay: String,
    },
    /// Delete it.
    Delete {
        /// The disk.
        disk: String,
        /// Although something hangs on it.
        anyway: bool,
    },
}

impl DiskAsk {
    /// The disk that it is about.
    pub(super) fn disk(&self) -> &str {
        match self {
            Self::Snapshot { disk, .. }
            | Self::Clone { disk, .. }
            | Self::Resize { disk, .. }
            | Self::Export { disk, .. }
            | Self::Reset { disk, .. }
            | Self::Commit { disk, .. }
            | Self::Delete { disk, .. } => disk,
        }
    }

    /// The overlay that it is about.
    pub(super) fn overlay(&self) -> Option<&str> {
        match self {
            Self::Snapshot { overlay, .. } | Self::Export { overlay, .. } => overlay.as_deref(),
            Self::Commit { overlay, .. } => Some(overlay),
            _ => None,
        }
    }
}

/// An act of a disk's menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskMenu {
    Snapshot,
    Clone,
    Resize,
    Compact,
    Export,
    Reset,
    Delete,
}

impl DiskMenu {
    /// As the menu lists them.
    pub(super) const ALL: [Self; 7] =
        [Self::Snapshot, Self::Clone, Self::Resize, Self::Compact, Self::Export, Self::Reset, Self::Delete];

    /// In the menu.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Snapshot => t!("Snapshot…"),
            Self::Clone => t!("Clone…"),
            Self::Resize => t!("Resize…"),
            Self::Compact => t!("Compact"),
            Self::Export => t!("Export…"),
            Self::Reset => t!("Reset overlays…"),
            Self::Delete => t!("Delete…"),
        }
    }

    /// Under the pointer.
    pub(super) fn tooltip(self) -> &'static str {
        match self {
            Self::Snapshot => t!("A new disk that reads as this one does now, and remembers from which it was taken"),
            Self::Clone => t!("A new disk with a copy of the image, independent of this one"),
            Self::Resize => t!("Make it larger; a machine that runs from it is told"),
            Self::Compact => t!("Give back the space of blocks that are zero, or the same as the image's"),
            Self::Export => t!("Write what it reads as into a file outside the lab"),
            Self::Reset => t!("Drop what machines wrote; they start from the image again"),
            Self::Delete => t!("Delete the disk, its image and its overlays"),
        }
    }

    /// Why it can't be done now.
    pub(super) fn why_not(self, disk: &DiskView) -> Option<String> {
        if self == Self::Delete {
            return (disk.sessions > 0).then(|| in_use(&users(disk)));
        }
        if self == Self::Reset {
            if disk.overlays.is_empty() {
                return Some(t!("No machine has an overlay on it").into());
            }
            return disk.overlays.iter().all(|o| o.open).then(|| in_use(&users(disk)));
        }
        if let Some(problem) = &disk.problem {
            return Some(say::sentence(problem));
        }
        // Where machines write into the image itself, nothing can read it as a whole while one does.
        let written = disk.writes == Writes::Image && !disk.readonly && disk.sessions > 0;
        match self {
            Self::Resize | Self::Compact if disk.readonly => Some(t!("It is read-only").into()),
            Self::Snapshot | Self::Clone | Self::Export | Self::Compact if written => Some(in_use(&users(disk))),
            _ => None,
        }
    }
}

/// An act of an overlay's menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverlayMenu {
    Commit,
    Snapshot,
    Export,
    Reset,
}

impl OverlayMenu {
    /// As the menu lists them.
    pub(super) const ALL: [Self; 4] = [Self::Commit, Self::Snapshot, Self::Export, Self::Reset];

    /// In the menu.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Commit => t!("Commit to the image…"),
            Self::Snapshot => t!("Snapshot…"),
            Self::Export => t!("Export…"),
            Self::Reset => t!("Reset…"),
        }
    }

    /// Under the pointer.
    pub(super) fn tooltip(self) -> &'static str {
        match self {
            Self::Commit => t!("What this machine changed becomes the image's next generation"),
            Self::Snapshot => t!("A new disk that reads as this machine sees it"),
            Self::Export => t!("Write what this machine sees into a file outside the lab"),
            Self::Reset => t!("Drop what this machine wrote; it starts from the image again"),
        }
    }

    /// Why it can't be done now.
    pub(super) fn why_not(self, disk: &DiskView, overlay: &OverlayView) -> Option<String> {
        if overlay.open {
            return Some(in_use(&[say::clean_to(&overlay.host, 40)]));
        }
        if self == Self::Reset {
            return None;
        }
        if let Some(problem) = &disk.problem {
            return Some(say::sentence(problem));
        }
        if self == Self::Commit {
            if disk.readonly {
                return Some(t!("The disk is read-only").into());
            }
            if is_behind(disk, overlay) {
                return Some(t!(
                    "It stands on generation {on}, and the image is at {at}: what came since would be lost. Take a snapshot of it, \
                     or reset it",
                    on = overlay.generation,
                    at = disk.generation
                ));
            }
        }
        None
    }
}

/// Whether it stands on an earlier generation than the image's.
pub(super) fn is_behind(disk: &DiskView, overlay: &OverlayView) -> bool {
    disk.generation > 0 && overlay.generation < disk.generation
}

/// Who has it open, by name.
pub(super) fn users(disk: &DiskView) -> Vec<String> {
    let open: Vec<String> = disk.overlays.iter().filter(|o| o.open).map(|o| say::clean_to(&o.host, 40)).collect();
    if !open.is_empty() || disk.sessions == 0 {
        open
    } else {
        disk.assigned.iter().map(|h| say::clean_to(h, 40)).collect()
    }
}

fn in_use(users: &[String]) -> String {
    match users {
        [] => t!("In use by a machine: shut it down first").into(),
        [one] => t!("In use by {name}: shut it down first", name = one),
        many => t!("In use by {names}: shut them down first", names = say::names(many, 4)),
    }
}

/// Bytes of a size as people type it: `100G`, `1.5 TiB`. Units are binary.
///
/// # Errors
/// A sentence that says what was expected.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || t!("Say the size with its unit, such as 100G").to_owned();
    let text = say::with_point(text.trim());
    let at = text.find(|c: char| c.is_ascii_alphabetic() || c == ' ').ok_or_else(bad)?;
    let (number, unit) = text.split_at(at);
    let unit = unit.trim().to_ascii_lowercase();
    let letter = unit.trim_end_matches('b').trim_end_matches('i');
    let shift: u32 = match letter {
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.len() > 3 || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(bad());
    }
    let scale = 10u128.pow(u32::try_from(part.len()).unwrap_or(0));
    let digits: u128 = format!("{whole}{part}").parse().map_err(|_| bad())?;
    let size = digits.checked_mul(1 << shift).ok_or_else(bad)? / scale / 512 * 512;
    u64::try_from(size).ok().filter(|s| i64::try_from(*s).is_ok()).ok_or_else(|| t!("No disk is that large").into())
}

/// The format that a file's name asks for; raw when it says nothing.
pub(super) fn format_of(path: &str) -> ExportFormat {
    let qcow2 = std::path::Path::new(path.trim()).extension().is_some_and(|e| e.eq_ignore_ascii_case("qcow2"));
    if qcow2 { ExportFormat::Qcow2 } else { ExportFormat::Raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_people_type_it() {
        assert_eq!(parse_size("100G"), Ok(100 << 30));
        assert_eq!(parse_size(" 64 GiB "), Ok(64 << 30));
        assert_eq!(parse_size("1.5t"), Ok(3 << 39));
        assert_eq!(parse_size("512mb"), Ok(512 << 20));
        for bad in ["", "100", "G", "1,5G", "-1G", "1.2.3G", "x", "99999999999T", "1 parsec", "1.2345G", ".5G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_format_follows_the_name() {
        assert_eq!(format_of("/d/lab.QCOW2"), ExportFormat::Qcow2);
        assert_eq!(format_of("/d/lab.img"), ExportFormat::Raw);
        assert_eq!(format_of(""), ExportFormat::Raw);
    }
}
