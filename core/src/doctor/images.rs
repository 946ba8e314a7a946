//! Images that their machines cannot boot: for each disk that is assigned, what is in it, judged by the way in which it is to boot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Check, Facts, Row, State, row};
use crate::api::{Severity, VERSION};
use crate::boot::Arch;
use crate::disks::{OverlayFacts, Store};
use crate::inspect::{Inspection, InspectionCache, Trouble, Way, inspect, record_of, troubles};
use crate::lab::{
    Boot, Db, Disk, Host, HostRecord, Install, InstallThen, IscsiArgs, IscsiBoot, Lab, Profile, Unknown, Writes,
};
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
        let machines = Db::open_readonly(&folder.db()).and_then(|db| db.hosts()).unwrap_or_default();
        for Assigned { disk, profile, own, archs } in assigned(facts, &machines) {
            let name = disk.name.as_str();
            let found = match found(facts, &store, disk) {
                Ok(found) => found,
                Err(why) => {
                    tell(row("image", name, "unread", State::Unknown, &[("disk", &name), ("why", &why)]));
                    continue;
                }
            };
            let what = profile.map_or_else(|| name.to_owned(), |p| format!("{name}/{}", p.name));
            let mut all: Vec<Trouble> = Vec::new();
            for trouble in ways(disk, profile, &archs).into_iter().flat_map(|way| troubles(&found, way)) {
                if !all.contains(&trouble) {
                    all.push(trouble);
                }
            }
            let kept = |o: &OverlayFacts| o.writes == Writes::Keep;
            let changed = own && views.iter().any(|v| v.name == disk.name && v.overlays.iter().any(kept));
            if all.is_empty() {
                tell(row("image", &what, "fine", State::Ok, &[("disk", &name)]));
            }
            if own && !changed && found.is_blank() {
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
        to_be_filled(facts, &store).into_iter().for_each(tell);
    }
}

/// Of disks that installers are to write to, and machines boot from afterwards: what is in them now does not matter.
fn to_be_filled(facts: &Facts, store: &Store) -> Vec<Row> {
    let lab = &facts.lab;
    let boots = lab.hosts.iter().filter_map(|host| host.boot.as_ref()).chain(strangers(lab));
    let thens: Vec<&IscsiBoot> = boots
        .filter_map(|boot| match boot {
            Boot::Install(Install { then: InstallThen::Iscsi(then), .. }) => Some(then),
            _ => None,
        })
        .collect();
    let one = |disk: &Disk| {
        let mut of = thens.iter().filter(|then| then.disk == disk.name).peekable();
        of.peek()?;
        let fresh = of.any(|then| then.writes.unwrap_or(disk.writes) == Writes::Fresh);
        let (case, state, why) = match store.peek(disk, None) {
            Err(error) => ("unread", State::Unknown, error.to_string()),
            Ok(_) if disk.readonly => ("installer-readonly", State::Failed, String::new()),
            Ok(_) if fresh => ("installer-fresh", State::Failed, String::new()),
            Ok(_) => ("installer", State::Ok, String::new()),
        };
        let name = disk.name.as_str();
        Some(row("image", &format!("installer:{name}"), case, state, &[("disk", &name), ("why", &why)]))
    };
    lab.disks.iter().filter(|disk| disk.redirect.is_none()).filter_map(one).collect()
}

/// What machines get that lab.toml does not know.
fn strangers(lab: &Lab) -> impl Iterator<Item = &Boot> {
    lab.networks.iter().filter_map(|network| match &network.unknown {
        Unknown::Boot(boot) => Some(boot),
        Unknown::ByMode => None,
    })
}

/// A disk that machines get.
struct Assigned<'a> {
    disk: &'a Disk,
    profile: Option<&'a Profile>,
    /// All of them keep their own changes to it.
    own: bool,
    /// What firmware they have, as far as they were seen.
    archs: BTreeSet<Arch>,
}

/// Disks that machines get, each way in which they do once. `machines` are those that lab.db knows.
fn assigned<'f>(facts: &'f Facts, machines: &[HostRecord]) -> Vec<Assigned<'f>> {
    let lab = &facts.lab;
    let entry = |machine: &HostRecord| {
        let is = |h: &&Host| {
            h.macs.iter().any(|mac| machine.macs.contains(mac)) && (h.uuid.is_none() || h.uuid == machine.uuid)
        };
        lab.hosts.iter().find(is)
    };
    let boots = lab.hosts.iter().filter_map(|host| host.boot.as_ref());
    let iscsi = |boot: &'f Boot| match boot {
        Boot::Iscsi(boot) => Some(boot),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    let strangers: Vec<&IscsiBoot> = strangers(lab).filter_map(iscsi).collect();
    let all: Vec<&IscsiBoot> = boots.filter_map(iscsi).chain(strangers.iter().copied()).collect();
    let gets = |machine: &HostRecord, boot: &IscsiBoot| match entry(machine).and_then(|host| host.boot.as_ref()) {
        Some(Boot::Iscsi(own)) => own.disk == boot.disk && own.profile == boot.profile,
        Some(_) => false,
        None => strangers.iter().any(|s| s.disk == boot.disk && s.profile == boot.profile),
    };
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
        let archs = machines.iter().filter(|m| gets(m, boot)).filter_map(|m| m.arch).collect();
        Some(Assigned { disk, profile, own, archs })
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

/// As the script does it: see `boot::script`. Which firmware a machine has is known only once it was seen.
fn ways(disk: &Disk, profile: Option<&Profile>, archs: &BTreeSet<Arch>) -> Vec<Way> {
    match profile {
        Some(profile) => vec![direct(disk, profile)],
        None if archs.is_empty() => vec![Way::San { arch: None }],
        None => archs.iter().map(|arch| Way::San { arch: Some(*arch) }).collect(),
    }
}

fn direct(disk: &Disk, profile: &Profile) -> Way {
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

    /// A disk that an installer is to fill may be blank, but it must be there, and what is written must stay.
    #[tokio::test]
    async fn a_disk_that_follows_an_installation_is_looked_at_as_what_it_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let mut lab = "version = 1\n[[profile]]\nname = \"p\"\nkernel = \"linux\"\n\
            [[disk]]\nname = \"blank\"\nimage = \"blank.raw\"\n[[disk]]\nname = \"gone\"\nimage = \"gone.raw\"\n\
            [[disk]]\nname = \"fresh\"\nimage = \"blank.raw\"\nwrites = \"fresh\"\n\
            [[disk]]\nname = \"shut\"\nimage = \"blank.raw\"\nreadonly = true\n\
            [[disk]]\nname = \"elsewhere\"\nimage = \"none.raw\"\nredirect = \"192.0.2.1:3260\"\n"
            .to_owned();
        let thens = [
            "{ iscsi = \"blank\" }",
            "{ iscsi = \"blank\" }",
            "{ iscsi = \"gone\" }",
            "{ iscsi = \"fresh\" }",
            "{ iscsi = \"shut\" }",
            "{ iscsi = \"elsewhere\" }",
            "\"local\"",
        ];
        for (n, then) in thens.iter().enumerate() {
            lab += &format!("[[host]]\nmac = \"52:54:00:00:00:0{n}\"\nboot = {{ install = \"p\", then = {then} }}\n");
        }
        fs::write(dir.path().join("lab.toml"), &lab).unwrap();
        fs::create_dir(dir.path().join("disks")).unwrap();
        fs::write(dir.path().join("disks/blank.raw"), vec![0; 1 << 20]).unwrap();
        let facts = Facts::read(dir.path().to_owned(), None, Arc::new(crate::net::Direct), None).unwrap();
        let rows = Images.look(&facts);
        let told: Vec<_> = rows.iter().map(|r| (r.id.as_str(), r.case.as_str(), &r.state)).collect();
        let expected = [
            ("image:installer:blank", "installer", &State::Ok),
            ("image:installer:gone", "unread", &State::Unknown),
            ("image:installer:fresh", "installer-fresh", &State::Failed),
            ("image:installer:shut", "installer-readonly", &State::Failed),
        ];
        assert_eq!(told, expected, "{lab}");
        assert!(rows[1].seen.contains("gone.raw") && rows[2].seen.starts_with("What machines write"), "{rows:?}");
        // The machine keeps what the disk would throw away.
        fs::write(
            dir.path().join("lab.toml"),
            lab.replace("iscsi = \"fresh\"", "iscsi = \"fresh\", writes = \"keep\""),
        )
        .unwrap();
        let facts = Facts::read(dir.path().to_owned(), None, Arc::new(crate::net::Direct), None).unwrap();
        assert!(Images.look(&facts).iter().any(|r| r.id == "image:installer:fresh" && r.state == State::Ok));
    }

    /// A boot sector of GRUB's and nothing for UEFI: who starts it depends on the machine's firmware, which is known once it was seen.
    #[tokio::test]
    async fn an_image_is_judged_by_the_firmware_of_the_machines_that_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let lab = "version = 1\n[network]\ninterface = \"nosuch0\"\nunknown = { iscsi = \"all\" }\n\
            [[disk]]\nname = \"one\"\nimage = \"one.raw\"\nreadonly = true\n\
            [[disk]]\nname = \"all\"\nimage = \"all.raw\"\nreadonly = true\n\
            [[host]]\nmac = \"52:54:00:00:00:01\"\nboot = { iscsi = \"one\" }\n\
            [[host]]\nmac = \"52:54:00:00:00:02\"\nboot = { iscsi = \"one\" }\n";
        fs::write(dir.path().join("lab.toml"), lab).unwrap();
        fs::create_dir(dir.path().join("disks")).unwrap();
        let mut image = vec![0; 1 << 20];
        image[..440].fill(0x90);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        for name in ["one.raw", "all.raw"] {
            fs::write(dir.path().join("disks").join(name), &image).unwrap();
        }
        let told = || {
            let facts = Facts::read(dir.path().to_owned(), None, Arc::new(crate::net::Direct), None).unwrap();
            let rows = Images.look(&facts);
            rows.iter().map(|r| format!("{} {} {:?}", r.id, r.case, r.state)).collect::<Vec<_>>()
        };
        assert_eq!(told(), ["image:one fine Ok", "image:all fine Ok"], "nobody was seen yet");
        let db = Db::open(&dir.path().join("lab.db")).unwrap();
        let seen = |last, arch| HostRecord {
            id: HostId(last),
            macs: vec![format!("52:54:00:00:00:0{last}").parse().unwrap()],
            uuid: None,
            hostname: None,
            ip: None,
            arch: Some(arch),
            manufacturer: None,
            product: None,
            serial: None,
            memory_mib: None,
            first_seen: None,
            last_seen: None,
            last_stage: crate::api::Stage::default(),
        };
        db.put_host(seen(1, Arch::Bios));
        db.put_host(seen(3, Arch::UefiX64));
        db.flush().await.unwrap();
        assert_eq!(told(), ["image:one fine Ok", "image:all no-uefi-loader Failed"], "the third has no entry");
        db.put_host(seen(2, Arch::UefiX64Http));
        db.flush().await.unwrap();
        assert_eq!(told(), ["image:one no-uefi-loader Failed", "image:all no-uefi-loader Failed"]);
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
