//! Room for what machines will write: the 5 % below which no new overlay starts, and what the overlays to come may take.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{About, Check, Facts, Row, State};
use crate::lab::{Boot, Disk, Writes};
use crate::lang::Param;
use crate::net::free_space;

/// What a system writes at its first boots where nothing is known of it, in bytes; less for a small image.
const FIRST_BOOTS: u64 = 1 << 30;

pub(super) struct Space;

impl Check for Space {
    fn name(&self) -> &'static str {
        "space"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let Some(folder) = &facts.folder else { return Vec::new() };
        let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
        let disks = folder.disks();
        let coming = to_come(facts, &disks);
        if !disks.is_dir() || device(&disks) == device(folder.dir()) {
            return vec![of("lab", folder.dir(), coming, facts)];
        }
        vec![of("lab", folder.dir(), (0, 0), facts), of("disks", &disks, coming, facts)]
    }
}

fn of(what: &str, dir: &Path, (count, to_come): (usize, u64), facts: &Facts) -> Row {
    let about = About("space", what);
    let shown = dir.display();
    let (free, total) = match free_space(dir) {
        Ok(space) => space,
        Err(error) => return about.row("unknown", State::Unknown, &[("dir", &shown), ("error", &error)]),
    };
    let (gib, percent) = (human(free), free.saturating_mul(100) / total.max(1));
    let needed = human(to_come);
    let words: [Param<'_>; 5] =
        [("dir", &shown), ("free", &gib), ("percent", &percent), ("needed", &needed), ("count", &count)];
    let overlays = facts.lab.disks.iter().any(|d| d.writes != Writes::Image && !d.readonly);
    if free.saturating_mul(20) < total {
        // Without a disk there is nothing to write but the lab's own records.
        let state = if overlays || free == 0 { State::Failed } else { State::Warning };
        return about.row("low", state, &words);
    }
    match free.saturating_sub(to_come).saturating_mul(20) < total {
        true if to_come > 0 => about.row("tight", State::Warning, &words),
        _ => about.row("enough", State::Ok, &words),
    }
}

/// Overlays of machines that have none yet: how many, and their bytes, as large as those of the same disk are on average.
fn to_come(facts: &Facts, disks: &Path) -> (usize, u64) {
    let assigned = |disk: &Disk| {
        facts.lab.hosts.iter().filter(|h| matches!(&h.boot, Some(Boot::Iscsi(boot)) if boot.disk == disk.name)).count()
    };
    let (mut count, mut bytes) = (0, 0u64);
    for disk in facts.lab.disks.iter().filter(|d| d.writes != Writes::Image && !d.readonly) {
        let there = overlays(&disks.join(format!("{}.overlays", disk.name)));
        let missing = assigned(disk).saturating_sub(there.len());
        let image = fs::metadata(disks.join(&disk.image)).map_or(0, |m| m.len());
        let each = match there.len() as u64 {
            0 => FIRST_BOOTS.min(image / 4),
            n => there.iter().sum::<u64>() / n,
        };
        count += missing;
        bytes = bytes.saturating_add(each.saturating_mul(missing as u64));
    }
    (count, bytes)
}

/// Bytes that each overlay takes: each is a folder with its data.
fn overlays(dir: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let data = entries.flatten().filter_map(|e| fs::metadata(e.path().join("data")).ok());
    data.map(|meta| meta.blocks().saturating_mul(512)).collect()
}

fn human(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        b if b >= GIB => format!("{}.{} GiB", b / GIB, b % GIB * 10 / GIB),
        b => format!("{} MiB", b / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_as_people_say_them() {
        assert_eq!((human(0), human(3 << 29), human(700 << 20)), ("0 MiB".into(), "1.5 GiB".into(), "700 MiB".into()));
    }
}
