//! The life of an image: commits and their generations, snapshots, growth, the giving back of space, deletion; and crashes within.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::generations::{former, former_path};
use super::*;
use crate::api::HostId;
use crate::lab::{Disk, Lab, Writes};

const SIZE: u64 = 1 << 20;
static GO: AtomicBool = AtomicBool::new(false);

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let disks = dir.path().join("disks");
    fs::create_dir(&disks).unwrap();
    fs::write(disks.join("a.raw"), vec![0xaa; SIZE as usize]).unwrap();
    Bench { store: Store::new(disks), dir }
}

fn disk(writes: Writes) -> Disk {
    Disk::new("a".parse().unwrap(), "a.raw".into(), writes)
}

fn lab(disks: &[&Disk]) -> Lab {
    Lab { disks: disks.iter().map(|d| (*d).clone()).collect(), ..Lab::default() }
}

fn key(id: u64) -> Whose {
    OverlayKey::Host(HostId(id)).into()
}

fn byte(device: &dyn BlockDevice, offset: u64) -> u8 {
    let mut buf = [0; 512];
    device.read_at(&mut buf, offset).unwrap();
    assert!(buf.iter().all(|b| *b == buf[0]));
    buf[0]
}

impl Bench {
    /// The same folder after the process has ended, however it did.
    fn again(&mut self) {
        self.store = Store::new(self.store.dir().to_owned());
        self.store.recover(None);
    }

    fn login(&self, disk: &Disk, id: u64, fresh_epoch: Option<(u64, bool)>) -> Result<Arc<dyn BlockDevice>, DiskError> {
        self.store.open(&OpenRequest { disk, key: key(id).key, label: format!("pc-{id}"), fresh_epoch })
    }

    fn keep(&self, id: u64) -> Arc<dyn BlockDevice> {
        self.login(&disk(Writes::Keep), id, None).unwrap()
    }

    fn commit(&self, id: u64) -> Result<ImageIdentity, DiskError> {
        self.store.commit(&disk(Writes::Keep), &key(id), &|_, _| {}, &GO)
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.store.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn image(&self) -> Vec<u8> {
        fs::read(self.store.dir().join("a.raw")).unwrap()
    }
}

#[test]
fn what_a_host_changed_becomes_the_image_and_others_get_it_when_they_start_anew() {
    let mut bench = bench();
    bench.keep(1).write_at(&[1; 4096], 4096).unwrap();
    bench.keep(1).zero(8192, 4096, true).unwrap();
    let running = bench.keep(2);
    running.write_at(&[2; 512], 0).unwrap();
    let classroom = disk(Writes::Fresh);
    let fresh = bench.login(&classroom, 3, Some((1, true))).unwrap();
    fresh.write_at(&[3; 512], 0).unwrap();

    let made = bench.commit(1).unwrap();
    assert_eq!(made.generation, 2);
    let image = bench.image();
    assert_eq!((image[0], image[4096], image[8191], image[8192], image[12288]), (0xaa, 1, 1, 0, 0xaa));
    assert_eq!(image.len() as u64, SIZE);
    assert_eq!(blake3::hash(&image).to_hex().to_string(), made.blake3);
    // Its own overlay is gone, and it sees the same.
    assert!(!bench.files().contains(&"a.overlays/host-1.keep".into()));
    assert_eq!(byte(&*bench.keep(1), 4096), 1);
    // A machine that runs goes on with what it had, and so does a kept overlay that is opened again, the engine's restart included.
    assert_eq!((byte(&*running, 0), byte(&*running, 4096)), (2, 0xaa));
    assert_eq!((byte(&*fresh, 0), byte(&*fresh, 4096)), (3, 0xaa));
    drop((running, fresh));
    bench.again();
    assert_eq!((byte(&*bench.keep(2), 0), byte(&*bench.keep(2), 4096)), (2, 0xaa));
    let same_boot = bench.login(&classroom, 3, Some((1, false))).unwrap();
    assert_eq!((byte(&*same_boot, 0), byte(&*same_boot, 4096)), (3, 0xaa));
    drop(same_boot);
    assert_eq!(former(&bench.store.dir().join("a.raw")).len(), 1, "kept for those two");
    let facts = &bench.store.views(&lab(&[&disk(Writes::Keep)]))[0];
    assert_eq!((facts.problem.clone(), facts.older.len(), facts.identity.as_ref().unwrap().generation), (None, 1, 2));
    // The next boot is clean and new.
    let next = bench.login(&classroom, 3, Some((2, true))).unwrap();
    assert_eq!((byte(&*next, 0), byte(&*next, 4096)), (0xaa, 1));
    assert_eq!(former(&bench.store.dir().join("a.raw")).len(), 1, "one still stands on it");
    bench.store.reset(&disk(Writes::Keep), &key(2)).unwrap();
    assert_eq!(former(&bench.store.dir().join("a.raw")).len(), 0, "and now none does");
    assert_eq!(byte(&*bench.keep(2), 4096), 1);
}

#[test]
fn a_commit_never_undoes_another_and_never_takes_a_disk_from_under_a_machine() {
    let bench = bench();
    let one = bench.keep(1);
    one.write_at(&[1; 512], 0).unwrap();
    let error = bench.commit(1).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("shut"), "{error}");
    drop(one);
    bench.keep(2).write_at(&[2; 512], 512).unwrap();
    bench.commit(1).unwrap();
    let error = bench.commit(2).unwrap_err();
    assert!(matches!(error, DiskError::Behind { on: 1, at: 2, .. }), "{error}");
    assert_eq!(byte(&*bench.keep(2), 512), 2, "what it wrote is still its own");
    assert!(matches!(bench.commit(9).unwrap_err(), DiskError::NoOverlay { .. }));
    // A login in the middle of a commit waits until it is over, and says why.
    let asked = std::cell::Cell::new(false);
    bench.keep(1).write_at(&[3; 512], 1024).unwrap();
    let during = |_: u64, _: u64| {
        if !asked.replace(true) {
            let refused = bench.login(&disk(Writes::Keep), 1, None).unwrap_err();
            assert!(refused.to_string().contains("a commit"), "{refused}");
            assert_eq!(refused.refusal_status(), 0x0301);
            assert_eq!(byte(&*bench.keep(7), 0), 1, "all others go on");
        }
    };
    bench.store.commit(&disk(Writes::Keep), &key(1), &during, &GO).unwrap();
    assert!(asked.get());
    assert_eq!(byte(&*bench.keep(1), 1024), 3);
}

#[test]
fn a_commit_that_is_cancelled_or_has_no_room_changes_nothing() {
    let bench = bench();
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    let cancel = AtomicBool::new(false);
    let stop = |_: u64, _: u64| cancel.store(true, Ordering::Relaxed);
    // More than one piece, so that there is a moment at which to stop.
    bench.store.grow(&disk(Writes::Keep), 4 << 20).unwrap();
    let larger = Disk { size: Some(4 << 20), ..disk(Writes::Keep) };
    drop(bench.login(&larger, 1, None).unwrap());
    let before = bench.files();
    let error = bench.store.commit(&disk(Writes::Keep), &key(1), &stop, &cancel).unwrap_err();
    assert!(matches!(error, DiskError::Cancelled), "{error}");
    assert_eq!(bench.files(), before);
    assert_eq!(byte(&*bench.keep(1), 0), 1);
}

/// What is on the disk after each step of a commit, as a crash would leave it.
#[test]
fn a_commit_that_a_crash_cut_short_leaves_the_old_image_or_the_new_one() {
    for step in 0..4 {
        let mut bench = bench();
        bench.keep(1).write_at(&[1; 512], 0).unwrap();
        bench.keep(2).write_at(&[2; 512], 0).unwrap();
        let path = bench.store.dir().join("a.raw");
        let part = bench.store.commit_part(&disk(Writes::Keep));
        let folder = bench.store.folder_of(&disk(Writes::Keep), &key(1)).unwrap();
        let spare = bench.dir.path().join("spare");
        let copied = std::process::Command::new("cp").arg("-r").arg(&folder).arg(&spare).status().unwrap();
        assert!(copied.success());
        match step {
            // While it was built.
            0 => fs::write(&part, vec![1; 4096]).unwrap(),
            // After the second name, with and without a file system that has them.
            1 => {
                fs::write(&part, vec![1; 4096]).unwrap();
                fs::hard_link(&path, former_path(&path, 1)).unwrap();
            }
            2 => {
                fs::write(&part, vec![1; 4096]).unwrap();
                fs::rename(&path, former_path(&path, 1)).unwrap();
            }
            // After the last move, before the overlay went.
            _ => {
                bench.commit(1).unwrap();
                fs::rename(&spare, &folder).unwrap();
                fs::remove_file(bench.store.dir().join("a.raw.id")).unwrap();
                let identity = identity::last(bench.store.dir(), &former_path(&path, 1)).unwrap();
                // As it was written before the move.
                let stamp = identity::Stamp::of(&fs::metadata(former_path(&path, 1)).unwrap());
                identity::transfer(bench.store.dir(), &path, &identity, stamp).unwrap();
            }
        }
        bench.again();
        assert!(!part.exists(), "step {step}");
        let image = bench.image();
        assert_eq!(image.len() as u64, SIZE, "step {step}");
        assert_eq!((image[0], image[512]), (if step == 3 { 1 } else { 0xaa }, 0xaa), "step {step}");
        assert_eq!((byte(&*bench.keep(1), 0), byte(&*bench.keep(2), 0)), (1, 2), "step {step}");
        assert_eq!(former(&path).len(), usize::from(step == 3), "step {step}: nothing is left over");
        if step < 3 {
            assert_eq!(bench.commit(1).unwrap().generation, 2, "step {step}: the next try goes through");
        }
    }
}

#[test]
fn a_disk_grows_past_its_image_for_those_who_run_and_those_who_come() {
    // An image that ends within a block.
    for sectors in [2048, 2051] {
        let mut bench = bench();
        let size = sectors * 512;
        fs::write(bench.store.dir().join("a.raw"), vec![0xaa; size as usize]).unwrap();
        let running = bench.keep(1);
        running.write_at(&[1; 512], size - 512).unwrap();
        drop(bench.keep(2));
        bench.store.grow(&disk(Writes::Keep), 4 << 20).unwrap();
        assert_eq!(running.size(), 4 << 20);
        assert_eq!((byte(&*running, size - 512), byte(&*running, size), byte(&*running, (4 << 20) - 512)), (1, 0, 0));
        running.write_at(&[5; 512], (4 << 20) - 512).unwrap();
        running.write_at(&[6; 512], size).unwrap();
        drop(running);
        bench.again();
        let larger = Disk { size: Some(4 << 20), ..disk(Writes::Keep) };
        // By itself, because it had grown; the other one because lab.toml says so.
        let running = bench.keep(1);
        assert_eq!((running.size(), byte(&*running, (4 << 20) - 512), byte(&*running, size)), (4 << 20, 5, 6));
        let other = bench.login(&larger, 2, None).unwrap();
        assert_eq!((other.size(), byte(&*other, size - 512), byte(&*other, size)), (4 << 20, 0xaa, 0));
        let new = bench.login(&larger, 3, None).unwrap();
        assert_eq!((new.size(), byte(&*new, 2 << 20)), (4 << 20, 0));
        assert_eq!(bench.image(), vec![0xaa; size as usize], "the image stays as it was");
        drop((running, other, new));
        // Committed, it is the image that is as long.
        bench.store.commit(&larger, &key(1), &|_, _| {}, &GO).unwrap();
        let image = bench.image();
        assert_eq!((image.len(), image[size as usize], image[(4 << 20) - 1]), (4 << 20, 6, 5));
        let error = bench.store.grow(&larger, 1 << 20).unwrap_err();
        assert!(matches!(error, DiskError::Shrink { .. }), "{error}");
        let before = bench.login(&larger, 2, None).unwrap();
        assert_eq!((before.size(), byte(&*before, size)), (4 << 20, 0), "on its own generation still");
    }
}

#[test]
fn an_image_that_is_written_into_grows_itself_open_or_not() {
    let bench = bench();
    let disk = disk(Writes::Image);
    bench.store.grow(&disk, 2 << 20).unwrap();
    let running = bench.login(&disk, 1, None).unwrap();
    assert_eq!(running.size(), 2 << 20);
    bench.store.grow(&disk, 3 << 20).unwrap();
    assert_eq!((running.size(), byte(&*running, (3 << 20) - 512)), (3 << 20, 0));
    running.write_at(&[1; 512], (3 << 20) - 512).unwrap();
    assert_eq!(bench.image().len(), 3 << 20);
}

#[test]
fn a_snapshot_is_what_a_host_sees_and_knows_where_it_is_from() {
    let bench = bench();
    let parent = disk(Writes::Keep);
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    let path = bench.store.copy(&parent, Some(&key(1)), "b", CopyKind::Snapshot, &|_, _| {}, &GO).unwrap();
    let plain = bench.store.copy(&parent, None, "c", CopyKind::Clone, &|_, _| {}, &GO).unwrap();
    let mut expected = vec![0xaa; SIZE as usize];
    assert_eq!(fs::read(&plain).unwrap(), expected);
    expected[..512].fill(1);
    assert_eq!(fs::read(&path).unwrap(), expected);
    let named =
        |name: &str| Disk { name: name.parse().unwrap(), image: format!("{name}.raw").into(), ..disk(Writes::Keep) };
    let (b, c) = (named("b"), named("c"));
    let all = lab(&[&parent, &b, &c]);
    let facts = bench.store.views(&all);
    let uuid = |n: usize| facts[n].identity.as_ref().unwrap().uuid;
    assert_eq!((facts[1].parent, facts[2].parent), (Some((uuid(0), 1)), None));
    assert!(uuid(0) != uuid(1) && uuid(1) != uuid(2) && uuid(0) != uuid(2), "each an image of its own");
    assert_eq!(bench.store.dependents(&parent, &all).snapshots, ["b"]);
    let again = bench.store.copy(&parent, None, "c", CopyKind::Clone, &|_, _| {}, &GO).unwrap_err();
    assert!(matches!(again, DiskError::Exists { .. }), "{again}");
    // The overlay is its host's again.
    assert_eq!(byte(&*bench.keep(1), 0), 1);
}

#[test]
fn what_is_exported_stands_still() {
    let bench = bench();
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    let view = bench.store.reader(&disk(Writes::Keep), Some(&key(1))).unwrap();
    assert!(view.readonly() && view.write_at(&[0; 512], 0).is_err());
    assert_eq!((byte(&*view, 0), byte(&*view, 512)), (1, 0xaa));
    let refused = bench.login(&disk(Writes::Keep), 1, None).unwrap_err();
    assert!(refused.to_string().contains("an export"), "{refused}");
    drop(view);
    bench.keep(1);
}

#[test]
fn space_that_says_nothing_is_given_back() {
    let mut bench = bench();
    let mut image = vec![0xaa; SIZE as usize];
    image[256 << 10..512 << 10].fill(0);
    fs::write(bench.store.dir().join("a.raw"), &image).unwrap();
    let one = bench.keep(1);
    one.write_at(&vec![1; 128 << 10], 0).unwrap();
    one.write_at(&vec![0xaa; 64 << 10], 0).unwrap();
    one.write_at(&vec![0; 64 << 10], 576 << 10).unwrap();
    drop(one);
    let running = bench.keep(2);
    running.write_at(&vec![0xaa; 64 << 10], 0).unwrap();
    let before = bench.store.views(&lab(&[&disk(Writes::Keep)]))[0].identity.clone();
    let freed = bench.store.compact(&disk(Writes::Keep), &|_, _| {}, &GO).unwrap();
    assert_eq!(freed, (64 + 64 + 256) << 10);
    assert_eq!(bench.image(), image);
    assert_eq!(bench.store.views(&lab(&[&disk(Writes::Keep)]))[0].identity, before, "not read again");
    drop(running);
    bench.again();
    let one = bench.keep(1);
    assert_eq!((byte(&*one, 0), byte(&*one, 64 << 10), byte(&*one, 576 << 10)), (0xaa, 1, 0));
    let data = fs::metadata(bench.store.dir().join("a.overlays/host-1.keep/data")).unwrap();
    assert!(data.blocks() * 512 <= 68 << 10, "{}", data.blocks() * 512);
}

#[test]
fn a_disk_that_is_deleted_leaves_nothing_and_takes_nothing_that_is_used() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    let running = bench.keep(1);
    running.write_at(&[1; 512], 0).unwrap();
    let named = bench.store.dependents(&disk, &lab(&[&disk]));
    assert_eq!(named.overlays.len(), 1);
    assert!(matches!(bench.store.delete(&disk, &lab(&[])).unwrap_err(), DiskError::InUse { .. }));
    assert_eq!(byte(&*running, 0), 1);
    drop(running);
    let sharer = Disk { name: "b".parse().unwrap(), ..disk.clone() };
    // Whatever the path by which it names it.
    let elsewhere = bench.dir.path().join("link");
    std::os::unix::fs::symlink(bench.store.dir(), &elsewhere).unwrap();
    let by_link = Disk { image: elsewhere.join("a.raw"), ..disk.clone() };
    bench.store.delete(&sharer, &lab(&[&by_link])).unwrap();
    assert_eq!(bench.image().len() as u64, SIZE, "another disk has it, too");
    bench.keep(2).write_at(&[1; 512], 0).unwrap();
    bench.commit(1).unwrap();
    // Other work on the image is not pulled out from under.
    let busy = std::cell::Cell::new(false);
    bench.keep(3).write_at(&[1; 512], 0).unwrap();
    let during = |_: u64, _: u64| {
        busy.set(true);
        assert!(matches!(bench.store.begin_deletion(&disk, &lab(&[])).unwrap_err(), DiskError::InUse { .. }));
    };
    bench.store.compact(&disk, &during, &GO).unwrap();
    assert!(busy.get() && bench.image().len() as u64 == SIZE);
    let deletion = bench.store.begin_deletion(&disk, &lab(&[])).unwrap();
    let refused = bench.login(&disk, 3, None).unwrap_err();
    assert!(refused.to_string().contains("its deletion"), "{refused}");
    deletion.carry_out().unwrap();
    assert_eq!(bench.files(), Vec::<String>::new());
    // One that a crash cut short is finished at the next start.
    fs::write(bench.store.dir().join(".gone-1"), "x").unwrap();
    fs::create_dir(bench.store.dir().join(".gone-2")).unwrap();
    bench.store.recover(None);
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn no_login_gets_in_while_a_disk_is_deleted() {
    let bench = bench();
    for writes in [Writes::Keep, Writes::Fresh, Writes::Image] {
        let disk = disk(writes);
        let deletion = bench.store.begin_deletion(&disk, &lab(&[])).unwrap();
        for disk in [&disk, &Disk { readonly: true, ..disk.clone() }] {
            let refused = bench.login(disk, 7, Some((1, true))).unwrap_err();
            assert!(refused.to_string().contains("its deletion"), "{writes:?}: {refused}");
        }
        drop(deletion);
        assert!(bench.files().iter().all(|file| file.starts_with("a.raw")), "nothing was made: {:?}", bench.files());
    }
    drop(bench.login(&disk(Writes::Image), 7, None).unwrap());
    let reading = bench.login(&Disk { readonly: true, ..disk(Writes::Image) }, 7, None).unwrap();
    let refused = bench.store.begin_deletion(&Disk { readonly: true, ..disk(Writes::Image) }, &lab(&[])).unwrap_err();
    assert!(matches!(refused, DiskError::InUse { .. }), "{refused}");
    assert_eq!(byte(&*reading, 0), 0xaa);
}

#[test]
fn a_deletion_that_a_crash_cut_short_is_carried_out_when_its_entry_is_gone_and_else_not() {
    let mut bench = bench();
    let disk = disk(Writes::Keep);
    bench.keep(2).write_at(&[2; 512], 0).unwrap();
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    bench.commit(1).unwrap();
    let files = bench.files();
    assert!(files.contains(&"a.raw.g1".to_owned()), "{files:?}");
    let sharer = Disk { name: "b".parse().unwrap(), ..disk.clone() };
    let crash = |bench: &mut Bench, lab: Option<&Lab>| {
        // The process is gone before anything is carried out.
        std::mem::forget(bench.store.begin_deletion(&disk, &Lab::default()).unwrap());
        assert!(bench.store.dir().join(".deleting-a").exists());
        bench.store = Store::new(bench.store.dir().to_owned());
        bench.store.recover(lab);
    };
    crash(&mut bench, Some(&lab(&[&disk])));
    assert_eq!(bench.files(), files, "it still has its entry");
    crash(&mut bench, None);
    assert!(bench.store.dir().join(".deleting-a").exists(), "nobody knows whether it has");
    fs::write(bench.store.dir().join(".deleting-a"), "{\"v\":1,\"im").unwrap();
    bench.store.recover(Some(&lab(&[])));
    assert_eq!(bench.files(), files, "the crash came before its entry could go");
    crash(&mut bench, Some(&lab(&[&sharer])));
    let left = bench.files();
    assert!(left.contains(&"a.raw".to_owned()) && !left.contains(&"a.overlays".to_owned()), "{left:?}");
    crash(&mut bench, Some(&lab(&[])));
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn an_overlay_is_named_by_its_id() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    drop(bench.keep(4));
    let lab = lab(&[&disk]);
    let id = bench.store.views(&lab)[0].overlays[0].id.clone();
    assert_eq!(id, "host-4.keep");
    assert_eq!(bench.store.key_of(&lab, &disk, &id), Some(Whose { kind: Some(Writes::Keep), ..key(4) }));
    assert_eq!(bench.store.key_of(&lab, &disk, "host-5.keep"), None);
}

#[test]
fn of_two_overlays_of_a_host_the_one_is_meant_that_is_named() {
    let bench = bench();
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    let fresh = disk(Writes::Fresh);
    bench.login(&fresh, 1, Some((1, true))).unwrap().write_at(&[2; 512], 0).unwrap();
    let either = bench.store.copy(&fresh, Some(&key(1)), "b", CopyKind::Clone, &|_, _| {}, &GO).unwrap_err();
    assert!(matches!(either, DiskError::TwoOverlays { .. }), "{either}");
    for (kind, name, content) in [(Writes::Keep, "k", 1), (Writes::Fresh, "f", 2)] {
        let whose = Whose { kind: Some(kind), ..key(1) };
        let path = bench.store.copy(&fresh, Some(&whose), name, CopyKind::Clone, &|_, _| {}, &GO).unwrap();
        assert_eq!(fs::read(path).unwrap()[0], content);
    }
    bench.store.reset(&fresh, &Whose { kind: Some(Writes::Fresh), ..key(1) }).unwrap();
    assert_eq!(byte(&*bench.keep(1), 0), 1, "the other one stays");
    bench.store.reset(&fresh, &key(1)).unwrap();
    assert_eq!(byte(&*bench.keep(1), 0), 0xaa);
}

#[test]
fn a_commit_of_nothing_new_is_none_and_the_next_goes_through() {
    let bench = bench();
    bench.keep(1).write_at(&[0xaa; 512], 0).unwrap();
    bench.keep(2).write_at(&[2; 512], 0).unwrap();
    assert_eq!(bench.commit(1).unwrap().generation, 1);
    assert_eq!(former(&bench.store.dir().join("a.raw")).len(), 0);
    assert_eq!(bench.commit(2).unwrap().generation, 2);
    assert_eq!(bench.image()[0], 2);
}

#[test]
fn a_machine_that_boots_while_an_image_is_committed_stands_on_one_of_the_two() {
    let mut bench = bench();
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    // Opened by its first name before the swap, with an overlay that comes to be after it.
    let old = bench.store.golden(&bench.store.dir().join("a.raw")).unwrap();
    bench.commit(1).unwrap();
    assert_eq!(former(&bench.store.dir().join("a.raw")).len(), 1, "somebody has it open");
    let new = bench.keep(2);
    assert_eq!(byte(&*new, 0), 1);
    new.write_at(&[2; 512], 512).unwrap();
    drop((old, new));
    bench.again();
    let two = bench.keep(2);
    assert_eq!((byte(&*two, 0), byte(&*two, 512)), (1, 2));
    assert_eq!(former(&bench.store.dir().join("a.raw")).len(), 0, "nothing stands on it");
}

#[test]
fn files_that_are_only_called_like_a_former_generation_stay() {
    let mut bench = bench();
    for name in ["a.raw.g7", "win.g2"] {
        fs::write(bench.store.dir().join(name), "somebody's").unwrap();
    }
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    bench.commit(1).unwrap();
    bench.again();
    assert!(bench.files().contains(&"a.raw.g7".into()) && bench.files().contains(&"win.g2".into()));
    let outside = Disk { image: bench.dir.path().join("outside.raw"), ..disk(Writes::Keep) };
    fs::write(&outside.image, vec![0xaa; SIZE as usize]).unwrap();
    bench.login(&outside, 3, None).unwrap().write_at(&[1; 512], 0).unwrap();
    let refused = bench.store.commit(&outside, &key(3), &|_, _| {}, &GO).unwrap_err();
    assert!(matches!(refused, DiskError::Outside { .. }), "{refused}");
}

#[test]
fn a_folder_that_cannot_be_read_is_no_reason_to_delete_what_it_stands_on() {
    let bench = bench();
    bench.keep(1).write_at(&[1; 512], 0).unwrap();
    bench.keep(2).write_at(&[2; 512], 0).unwrap();
    bench.commit(1).unwrap();
    let dir = bench.store.overlays_dir(&disk(Writes::Keep));
    let aside = bench.dir.path().join("aside");
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "not a folder").unwrap();
    bench.store.drop_unused(&bench.store.dir().join("a.raw"));
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    assert_eq!(byte(&*bench.keep(2), 0), 2);
}

#[test]
fn a_classroom_that_starts_during_a_commit_gets_in() {
    for _ in 0..10 {
        let bench = bench();
        bench.keep(1).write_at(&[1; 512], 0).unwrap();
        let errors: Vec<String> = std::thread::scope(|scope| {
            let login = |id: u64| {
                let bench = &bench;
                move || {
                    std::thread::sleep(std::time::Duration::from_micros(400 * (id - 10)));
                    bench.login(&disk(Writes::Keep), id, None).err().map(|e| e.to_string())
                }
            };
            let hosts: Vec<_> = (10..34).map(|id| scope.spawn(login(id))).collect();
            let commit = bench.commit(1).err().map(|e| format!("commit: {e}"));
            hosts.into_iter().filter_map(|h| h.join().unwrap()).chain(commit).collect()
        });
        assert_eq!(errors, Vec::<String>::new());
    }
}

#[test]
fn an_image_is_looked_into_while_it_is_written_and_nobody_is_kept_from_it() {
    let bench = bench();
    let (kept, written) = (disk(Writes::Keep), disk(Writes::Image));
    let writer = bench.login(&written, 1, None).unwrap();
    assert!(bench.store.reader(&kept, None).is_err());
    assert_eq!(byte(&*bench.store.peek(&kept, None).unwrap(), 0), 0xaa);
    drop(writer);
    let looking = bench.store.peek(&kept, None).unwrap();
    assert!(bench.login(&written, 1, None).is_ok());
    drop(looking);
}
