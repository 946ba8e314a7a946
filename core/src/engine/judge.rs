//! What images lack is told to diagnosis whenever it may have changed: after an import, a commit, the doctor, or a look into one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::inspect::{are_of_the_image, look};
use super::run::Run;
use super::shared::Shared;
use crate::api::{EventKind, JobKind, Observation, Reporter};
use crate::boot::Arch;
use crate::inspect::{Inspection, InspectionCache, Way, troubles};
use crate::lab::{Boot, Disk, Name, Unknown};
use crate::machine::Now;

/// When a judgement is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// Somebody asked, or the image is a new one.
    Always,
    /// It is another one than was told last.
    News,
}

/// What was told of each disk.
#[derive(Debug, Default)]
pub(super) struct Judged(Mutex<BTreeMap<String, Vec<String>>>);

impl Judged {
    /// Tells what keeps machines from booting a disk's image.
    pub(super) fn tell(&self, reporter: &Reporter, disk: &Name, found: &Inspection, when: Telling) {
        let troubles = known_troubles(found);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.insert(disk.to_string(), troubles.clone());
        if when == Telling::News && last.unwrap_or_default() == troubles {
            return;
        }
        drop(told);
        let kind = EventKind::ImageTrouble { disk: disk.to_string(), troubles };
        reporter.report(Now::read(), Observation::engine(kind));
    }
}

/// Tells what the doctor has found in the images of the disks that machines get. It remembers them where everybody finds them.
pub(super) fn after_doctor(shared: &Shared) {
    let lab = shared.state().lab.clone();
    let disk = |boot: &Boot| match boot {
        Boot::Iscsi(boot) => Some(boot.disk.clone()),
        _ => None,
    };
    let unknown = lab.networks.iter().filter_map(|network| match &network.unknown {
        Unknown::Boot(boot) => Some(boot),
        Unknown::ByMode => None,
    });
    let boots = lab.hosts.iter().filter_map(|host| host.boot.as_ref()).chain(unknown);
    let cache = InspectionCache::new(shared.store.dir());
    for name in boots.filter_map(disk).collect::<BTreeSet<_>>() {
        let Some(disk) = lab.disk(&name) else { continue };
        let found = cache.get(&name, &shared.store.image_path(disk), shared.store.generation(disk));
        if let Some(found) = found {
            shared.judged.tell(&shared.reporter, &name, &found, Telling::News);
        }
    }
}

impl Run {
    /// For a job that gives a disk another image: looks into that afterwards, as a job of its own. An engine that is there for one command
    /// only is not kept by it. Kernels that were taken out of an overlay that the job made the image are the image's then.
    pub(super) fn judge_afterwards(&self) -> impl FnOnce(Disk) + Send + 'static {
        let (jobs, shared, stays) = (self.jobs.clone(), self.shared.clone(), self.options.control);
        let taken = self.taken_of_overlays();
        move |disk| {
            are_of_the_image(&shared, &disk.name, &taken);
            if !stays {
                return;
            }
            jobs.start(JobKind::InspectDisk, disk.name.to_string(), move |job| {
                let found = look(&shared.store, &disk, None, &job.cancel_shared())?;
                shared.judged.tell(&shared.reporter, &disk.name, &found, Telling::Always);
                Ok(())
            });
        }
    }
}

/// What keeps machines from booting a disk, in the words that diagnosis knows: it is asked of a machine that has stopped, whose firmware
/// is known by then.
fn known_troubles(found: &Inspection) -> Vec<String> {
    // A machine installs into its own overlay, and boots from that: of a blank image beneath it nothing follows.
    if found.is_blank() {
        return Vec::new();
    }
    let ways = [Arch::Bios, Arch::UefiX64].map(|arch| Way::San { arch: Some(arch) });
    let ids = ways.into_iter().flat_map(|way| troubles(found, way));
    let words = ids.filter_map(|trouble| match trouble.id.as_str() {
        "no-bios-loader"
        | "uefi-only"
        | "windows-uefi-only"
        | "windows-no-boot-code"
        | "no-grub-core"
        | "no-active-partition" => Some("no-bios-loader"),
        "no-uefi-loader" | "no-fallback-loader" | "wrong-machine" | "no-program" => Some("no-uefi-loader"),
        id if id == "no-initramfs" || id.starts_with("no-iscsi") || id.starts_with("iscsid-lacks") => {
            Some("no-iscsi-initramfs")
        }
        _ => None,
    });
    let xen = found.linux.iter().any(|system| !system.hypervisors.is_empty());
    let windows = found.linux.is_empty() && !found.windows.is_empty();
    let of_system = xen.then_some("xen-hides-ibft").into_iter().chain(windows.then_some("windows"));
    words.chain(of_system).map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::bench::{A, B, Bench};
    use super::super::{Engine, Options};
    use super::*;
    use crate::api::{Command, DiskAct, Event, NewDisk, Snapshot};
    use crate::disks::{OpenRequest, OverlayKey};
    use crate::inspect::{BiosLoader, Record, TableKind, WindowsSystem, record_of, write_record};

    fn told(events: &[Arc<Event>], of: &str) -> Vec<Vec<String>> {
        let troubles = events.iter().filter_map(|event| match &event.kind {
            EventKind::ImageTrouble { disk, troubles } if disk == of => Some(troubles.clone()),
            _ => None,
        });
        troubles.collect()
    }

    fn empty(table: TableKind) -> Inspection {
        Inspection {
            v: 1,
            size: 1 << 30,
            table,
            partitions: vec![],
            overlaps: vec![],
            bios: BiosLoader::default(),
            efi: vec![],
            linux: vec![],
            windows: vec![],
        }
    }

    /// What is beneath the changes of machines that have no more than those.
    #[test]
    fn nothing_is_held_against_a_blank_image() {
        assert_eq!(known_troubles(&empty(TableKind::None)), Vec::<String>::new());
        assert_eq!(known_troubles(&empty(TableKind::Gpt)), ["no-bios-loader", "no-uefi-loader"]);
    }

    #[test]
    fn a_disk_with_windows_alone_is_known_as_that() {
        let mut found = empty(TableKind::Gpt);
        let is_windows = |found: &Inspection| known_troubles(found).iter().any(|word| word == "windows");
        assert!(!is_windows(&found));
        found.windows.push(WindowsSystem::default());
        assert!(is_windows(&found));
        assert!(known_troubles(&found).contains(&"no-bios-loader".to_owned()), "a GPT's Windows needs UEFI");
    }

    /// A boot sector with a loader that nobody knows, and nothing for UEFI.
    fn not_blank() -> Vec<u8> {
        let mut image = vec![0; 1 << 20];
        image[..440].fill(0x90);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        image
    }

    /// A kernel of an overlay is stale by what that overlay has; once it was committed, by what the image has.
    #[tokio::test]
    async fn what_was_taken_of_an_overlay_is_the_images_once_that_was_committed() {
        let profile = |name: &str| format!("[[profile]]\nname = \"{name}\"\nkernel = \"{name}/linux\"\n");
        let hosts = "[[host]]\nname = \"pc-1\"\nmac = \"52:54:00:00:00:01\"\n\
            [[host]]\nname = \"pc-2\"\nmac = \"52:54:00:00:00:02\"\n";
        let profiles = ["one", "other", "elsewhere"].map(profile).concat();
        let bench = Bench::new(&format!("{profiles}{hosts}")).await;
        let (shared, lab) = (&bench.shared, bench.shared.state().lab.clone());
        let media = shared.folder.media();
        let all = [("one", "kept", "pc-1"), ("other", "kept", "pc-2"), ("elsewhere", "fresh", "pc-1")];
        for (profile, disk, host) in all {
            let record = Record {
                v: 1,
                disk: disk.into(),
                host: Some(host.into()),
                system: "Test".into(),
                version: "6.1".into(),
                pinned: false,
                generation: 1,
                taken: jiff::Timestamp::UNIX_EPOCH,
                files: vec![],
                words: None,
            };
            std::fs::create_dir(media.join(profile)).unwrap();
            write_record(&media.join(profile), &record).unwrap();
        }
        for mac in [A, B] {
            bench.assign(mac, Boot::Wait).await;
        }
        let id = |mac| bench.handle().snapshot().hosts.iter().find(|h| h.macs.contains(&mac)).unwrap().id;
        let disk = |name: &str| lab.disk(&name.parse().unwrap()).unwrap();
        for (on, mac, fresh_epoch) in [("kept", A, None), ("kept", B, None), ("fresh", A, Some((1, true)))] {
            let (key, label) = (OverlayKey::Host(id(mac)), "pc".to_owned());
            let device = shared.store.open(&OpenRequest { disk: disk(on), key, label, fresh_epoch }).unwrap();
            device.write_at(&[7; 512], 0).unwrap();
        }
        let of = |profile: &str| record_of(&media, &profile.parse().unwrap()).unwrap().host;
        let act = DiskAct::Commit { host: "pc-1".into() };
        bench.call(Command::Disk { disk: "kept".into(), act }).await.unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while of("one").is_some() {
            assert!(std::time::Instant::now() < end, "{:?}", bench.handle().snapshot().jobs);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let record = record_of(&media, &"one".parse().unwrap()).unwrap();
        assert_eq!((record.version.as_str(), record.generation), ("6.1", shared.store.generation(disk("kept"))));
        let others = (of("other"), of("elsewhere"));
        assert_eq!(others, (Some("pc-2".into()), Some("pc-1".into())), "these overlays are still there");
    }

    #[tokio::test]
    async fn what_the_doctor_found_is_told_once() {
        let bench = Bench::new("[[host]]\nmac = \"52:54:00:00:00:01\"\nboot = { iscsi = \"kept\" }\n").await;
        let lab = bench.shared.state().lab.clone();
        let disk = lab.disk(&"kept".parse().unwrap()).unwrap();
        std::fs::write(bench.shared.store.image_path(disk), not_blank()).unwrap();
        after_doctor(&bench.shared);
        assert!(told(&bench.events().await, "kept").is_empty(), "it was not looked into");
        // As the doctor's check of images leaves it.
        look(&bench.shared.store, disk, None, &Arc::default()).unwrap();
        after_doctor(&bench.shared);
        after_doctor(&bench.shared);
        let told = told(&bench.events().await, "kept");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0], ["no-uefi-loader"]);
    }

    #[tokio::test]
    async fn an_image_is_judged_when_it_was_brought_in() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lab.toml"), "version = 1\n").unwrap();
        let from = dir.path().join("new.img");
        std::fs::write(&from, not_blank()).unwrap();
        let engine = Engine::open(dir.path(), Options { control: true, ..Options::default() }).await.unwrap();
        let handle = engine.handle();
        let new = NewDisk { name: "new".into(), from: Some(from), size: None, writes: crate::lab::Writes::Keep };
        handle.call(Command::AddDisk(new)).await.unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        let told = |shot: &Snapshot| told(&shot.recent, "new");
        while told(&handle.snapshot()).is_empty() {
            assert!(std::time::Instant::now() < end, "it was never judged: {:?}", handle.snapshot().jobs);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(told(&handle.snapshot())[0].contains(&"no-uefi-loader".to_owned()));
        engine.close().await;
    }
}
