//! Images that their machines cannot boot: for each disk that is assigned, what is in it, judged by the way in which it is to boot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Check, Facts, Row, State, row};
use crate::api::{Severity, VERSION};
use crate::disks::{OverlayFacts, Store};
use crate::inspect::{BiosLoader, Inspection, InspectionCache, TableKind, Trouble, Way, inspect, record_of, troubles};
use crate::lab::{Boot, Disk, IscsiArgs, IscsiBoot, Profile, Writes};
use crate::lang::Param;

pub(super) struct Images;

impl Check for Images {
    fn name(&self) -> &'static str {
        "image"
    }

    /// An initramfs is read as a whole.
    fn limit(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let mut rows = Vec::new();
        self.tell(facts, &mut |row| rows.push(row));
        rows
    }

    /// Each disk's when it was looked into: the first of many large ones are not lost with the last.
    fn tell(&self, facts: &Facts, tell: &mut dyn FnMut(Row)) {
        let Some(folder) = &facts.folder else { return };
        let store = Store::new(folder.disks());
        let views = store.views(&facts.lab);
        for Assigned { disk, profile, own } in assigned(facts) {
            let name = disk.name.as_str();
            let found = match found(facts, &store, disk) {
                Ok(found) => found,
                Err(why) => {
                    tell(row("image", name, "unread", State::Unknown, &[("disk", &name), ("why", &why)]));
                    continue;
                }
            };
            let way = way(disk, profile);
            let what = profile.map_or_else(|| name.to_owned(), |p| format!("{name}/{}", p.name));
            let all = troubles(&found, way);
            let kept = |o: &OverlayFacts| o.writes == Writes::Keep;
            let changed = own && views.iter().any(|v| v.name == disk.name && v.overlays.iter().any(kept));
            if all.is_empty() {
                tell(row("image", &what, "fine", State::Ok, &[("disk", &name)]));
            }
            if own && !changed && blank(&found) {
                tell(row("image", &what, "blank", State::Warning, &[("disk", &name)]));
            } else {
                for trouble in &all {
                    tell(if changed { of_image_alone(&what, name, trouble) } else { of(&what, trouble) });
                }
            }
            let record = profile.and_then(|p| Some((p, record_of(&folder.media(), &p.name)?)));
            if let Some((profile, record)) = record.filter(|(_, r)| r.disk == name && r.host.is_none())
                && let Some(stale) = record.stale(&found)
            {
                let why = stale.said(&record, &profile.name);
                tell(row("image", &what, "stale", State::Warning, &[("why", &why)]));
            }
        }
    }
}

/// A disk that machines get.
struct Assigned<'a> {
    disk: &'a Disk,
    profile: Option<&'a Profile>,
    /// All of them keep their own changes to it.
    own: bool,
}

/// Disks that machines get, each way in which they do once.
fn assigned(facts: &Facts) -> Vec<Assigned<'_>> {
    let lab = &facts.lab;
    let boots = lab.hosts.iter().filter_map(|host| match &host.boot {
        Some(Boot::Iscsi(boot)) => Some(boot),
        _ => None,
    });
    let mut seen = BTreeSet::new();
    let all: Vec<&IscsiBoot> = boots.collect();
    let once = |boot: &&IscsiBoot| seen.insert((boot.disk.to_string(), boot.profile.as_ref().map(ToString::to_string)));
    let boots: Vec<&IscsiBoot> = all.iter().copied().filter(once).collect();
    // One that is served elsewhere, or missing, is another check's to say.
    let there = |disk: &&Disk| disk.redirect.is_none();
    let one = |boot: &IscsiBoot| {
        let disk = lab.disk(&boot.disk).filter(there)?;
        let profile = match &boot.profile {
            None => None,
            Some(name) => Some(lab.profile(name)?),
        };
        let mut same = all.iter().filter(|b| b.disk == boot.disk && b.profile == boot.profile);
        let own = !disk.readonly && same.all(|b| b.writes.unwrap_or(disk.writes) == Writes::Keep);
        Some(Assigned { disk, profile, own })
    };
    boots.into_iter().filter_map(one).collect()
}

fn found(facts: &Facts, store: &Store, disk: &Disk) -> Result<Inspection, String> {
    let (cache, image, generation) =
        (InspectionCache::new(store.dir()), store.image_path(disk), store.generation(disk));
    let read = || {
        let device = store.peek(disk, None).map_err(|e| e.to_string())?;
        inspect(device, &facts.cancel)
    };
    // An administrator who looks at another one's lab leaves nothing there that its owner could not replace.
    let own = fs::metadata(store.dir()).is_ok_and(|m| m.uid() == rustix::process::geteuid().as_raw());
    match own {
        true => cache.get_or(&disk.name, &image, generation, read),
        false => cache.get(&disk.name, &image, generation).map_or_else(read, Ok),
    }
}

/// Whether nothing was ever put on it, as far as can be seen.
fn blank(found: &Inspection) -> bool {
    found.table == TableKind::None
        && found.bios == BiosLoader::default()
        && found.partitions.iter().all(|p| p.file_system.is_none() && p.problem.is_none())
}

/// As the script does it: see `boot::script`. Which firmware a machine has is known only once it was seen.
fn way(disk: &Disk, profile: Option<&Profile>) -> Way {
    let Some(profile) = profile else { return Way::San { arch: None } };
    let args = profile.iscsi_args.unwrap_or(IscsiArgs::Debian);
    let fresh = disk.writes == Writes::Fresh && !disk.readonly;
    Way::Direct {
        args,
        ibft: args == IscsiArgs::None || fresh,
        hypervisor: profile.hypervisor.is_some() || profile.hypervisor_efi.is_some(),
    }
}

fn of(what: &str, trouble: &Trouble) -> Row {
    let state = if trouble.severity == Severity::Error { State::Failed } else { State::Warning };
    let (seen, means, remedy) = (trouble.seen(), trouble.means(), trouble.remedy());
    Row { v: VERSION, id: format!("image:{what}"), case: trouble.id.clone(), state, seen, means, remedy, fix: None }
}

/// Of the image beneath the machines' own changes, which may have mended it.
fn of_image_alone(what: &str, disk: &str, trouble: &Trouble) -> Row {
    let (seen, means, remedy) = (trouble.seen(), trouble.means(), trouble.remedy());
    let words: [Param<'_>; 4] = [("seen", &seen), ("means", &means), ("remedy", &remedy), ("disk", &disk)];
    Row { case: trouble.id.clone(), ..row("image", what, "alone", State::Warning, &words) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::HostId;
    use crate::disks::{OpenRequest, OverlayKey};

    #[tokio::test]
    async fn each_disk_that_a_machine_gets_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let lab = "version = 1\n[[disk]]\nname = \"empty\"\nimage = \"empty.raw\"\n\
            [[disk]]\nname = \"gone\"\nimage = \"gone.raw\"\n[[disk]]\nname = \"unused\"\nimage = \"empty.raw\"\n\
            [[host]]\nmac = \"52:54:00:00:00:01\"\nboot = { iscsi = \"empty\" }\n\
            [[host]]\nmac = \"52:54:00:00:00:02\"\nboot = { iscsi = \"empty\" }\n\
            [[host]]\nmac = \"52:54:00:00:00:03\"\nboot = { iscsi = \"gone\" }\n";
        fs::write(dir.path().join("lab.toml"), lab).unwrap();
        fs::create_dir(dir.path().join("disks")).unwrap();
        fs::write(dir.path().join("disks/empty.raw"), vec![0; 1 << 20]).unwrap();
        let facts = Facts::read(dir.path().to_owned(), None, Arc::new(crate::net::Direct), None).unwrap();
        let rows = Images.look(&facts);
        let told: Vec<_> = rows.iter().map(|r| (r.id.as_str(), r.case.as_str(), &r.state)).collect();
        let expected = [("image:empty", "blank", &State::Warning), ("image:gone", "unread", &State::Unknown)];
        assert_eq!(told, expected);
        assert!(rows[1].seen.contains("gone.raw"), "{rows:?}");
    }

    #[tokio::test]
    async fn what_machines_have_changed_of_their_own_is_not_judged_by_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let lab = "version = 1\n[[disk]]\nname = \"kept\"\nimage = \"kept.raw\"\n\
            [[disk]]\nname = \"fresh\"\nimage = \"fresh.raw\"\nwrites = \"fresh\"\n\
            [[disk]]\nname = \"mixed\"\nimage = \"mixed.raw\"\n\
            [[host]]\nmac = \"52:54:00:00:00:01\"\nboot = { iscsi = \"kept\" }\n\
            [[host]]\nmac = \"52:54:00:00:00:02\"\nboot = { iscsi = \"fresh\" }\n\
            [[host]]\nmac = \"52:54:00:00:00:03\"\nboot = { iscsi = \"mixed\" }\n\
            [[host]]\nmac = \"52:54:00:00:00:04\"\nboot = { iscsi = \"mixed\", writes = \"fresh\" }\n";
        fs::write(dir.path().join("lab.toml"), lab).unwrap();
        let disks = dir.path().join("disks");
        fs::create_dir(&disks).unwrap();
        for image in ["kept.raw", "fresh.raw", "mixed.raw"] {
            fs::write(disks.join(image), vec![0; 1 << 20]).unwrap();
        }
        let facts = Facts::read(dir.path().to_owned(), None, Arc::new(crate::net::Direct), None).unwrap();
        let store = Store::new(disks);
        for name in ["kept", "mixed"] {
            let disk = facts.lab.disks.iter().find(|d| d.name.as_str() == name).unwrap();
            let (key, label) = (OverlayKey::Host(HostId(1)), "pc".to_owned());
            store.open(&OpenRequest { disk, key, label, fresh_epoch: None }).unwrap();
        }
        let rows = Images.look(&facts);
        let told: Vec<_> = rows.iter().map(|r| (r.id.as_str(), r.case.as_str(), &r.state)).collect();
        let expected = [
            ("image:kept", "no-boot-loader", &State::Warning),
            ("image:fresh", "no-boot-loader", &State::Failed),
            ("image:mixed", "no-boot-loader", &State::Failed),
        ];
        assert_eq!(told, expected);
        assert!(rows[0].seen.contains("No boot loader") && rows[0].seen.contains("own changes"), "{rows:?}");
    }
}
