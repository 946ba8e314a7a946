//! What hosts get when they log in to their disks, and what a crash leaves.

use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::*;
use crate::api::HostId;

const SIZE: u64 = 1 << 20;

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let disks = dir.path().join("disks");
    fs::create_dir(&disks).unwrap();
    fs::write(disks.join("a.raw"), vec![0xaa; SIZE as usize]).unwrap();
    Bench { store: Store::new(disks), _dir: dir }
}

fn disk(writes: Writes) -> Disk {
    Disk::new("a".parse().unwrap(), "a.raw".into(), writes)
}

fn host(disk: &Disk, id: u64, fresh_epoch: Option<(u64, bool)>) -> OpenRequest<'_> {
    OpenRequest { disk, key: OverlayKey::Host(HostId(id)), label: format!("pc-{id}"), fresh_epoch }
}

fn byte(device: &Arc<dyn BlockDevice>, offset: u64) -> u8 {
    let mut buf = [0; 512];
    device.read_at(&mut buf, offset).unwrap();
    buf[0]
}

impl Bench {
    fn open(&self, req: &OpenRequest<'_>) -> Arc<dyn BlockDevice> {
        self.store.open(req).unwrap()
    }

    fn overlays(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.store.dir().join("a.overlays"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_kept_overlay_is_a_hosts_own_and_kept() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    let one = bench.open(&host(&disk, 1, None));
    let two = bench.open(&host(&disk, 2, None));
    one.write_at(&[1; 512], 0).unwrap();
    two.write_at(&[2; 512], 0).unwrap();
    assert_eq!((byte(&one, 0), byte(&two, 0), byte(&two, 512)), (1, 2, 0xaa));
    drop((one, two));
    assert_eq!(byte(&bench.open(&host(&disk, 1, None)), 0), 1);
    assert_eq!(fs::read(bench.store.dir().join("a.raw")).unwrap(), vec![0xaa; SIZE as usize]);
    assert_eq!(bench.overlays(), ["host-1.keep", "host-2.keep"]);
}

#[test]
fn two_sessions_of_a_host_share_one_overlay() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    let firmware = bench.open(&host(&disk, 1, None));
    let system = bench.open(&host(&disk, 1, None));
    assert!(Arc::ptr_eq(&firmware, &system));
    firmware.write_at(&[1; 512], 0).unwrap();
    drop(firmware);
    assert_eq!(byte(&system, 0), 1);
}

#[test]
fn a_fresh_overlay_lasts_as_long_as_its_epoch() {
    let bench = bench();
    let disk = disk(Writes::Fresh);
    let first = bench.store.open_noting(&host(&disk, 1, Some((5, true)))).unwrap();
    assert!(first.created);
    first.device.write_at(&[1; 512], 0).unwrap();
    let system = bench.store.open_noting(&host(&disk, 1, Some((5, false)))).unwrap();
    assert!(!system.created && Arc::ptr_eq(&first.device, &system.device));
    drop((first, system));

    // The engine is started again while the machine runs.
    let after = Store::new(bench.store.dir().to_owned());
    assert_eq!(byte(&after.open(&host(&disk, 1, Some((5, false)))).unwrap(), 0), 1);
    // Its system reconnects although a script was given meanwhile, and before anybody knows its epoch.
    assert_eq!(byte(&after.open(&host(&disk, 1, Some((6, false)))).unwrap(), 0), 1);
    assert_eq!(byte(&after.open(&host(&disk, 1, None)).unwrap(), 0), 1);

    let lingering = bench.open(&host(&disk, 1, Some((5, false))));
    let next = bench.open(&host(&disk, 1, Some((6, true))));
    assert_eq!(byte(&next, 0), 0xaa);
    lingering.write_at(&[9; 512], 0).unwrap();
    lingering.flush().unwrap();
    assert_eq!(byte(&next, 0), 0xaa);
    assert_eq!(bench.overlays(), ["host-1.fresh-6.2"]);
}

#[test]
fn a_fresh_boot_forgets_what_the_boot_before_had_reserved() {
    let bench = bench();
    let (keep, fresh) = (disk(Writes::Keep), disk(Writes::Fresh));
    let key = OverlayKey::Host(HostId(1));
    let memory = bench.store.unit_memory(&fresh, &key);
    let medium = |epoch| bench.open(&host(&fresh, 1, Some(epoch))).medium().unwrap().name;
    let first = medium((1, true));
    fs::write(&memory, "{}").unwrap();
    assert_eq!(medium((1, false)), first);
    assert!(memory.exists(), "the same boot");
    assert_ne!(medium((2, true)), first);
    assert!(!memory.exists());
    // What is reserved on a kept overlay is not the fresh one's to forget.
    bench.open(&host(&keep, 1, None));
    fs::write(&memory, "{}").unwrap();
    medium((3, true));
    assert!(memory.exists());
}

#[test]
fn changing_writes_to_fresh_and_back_keeps_what_was_kept() {
    let bench = bench();
    let (keep, fresh) = (disk(Writes::Keep), disk(Writes::Fresh));
    bench.open(&host(&keep, 1, None)).write_at(&[1; 512], 0).unwrap();
    assert_eq!(byte(&bench.open(&host(&fresh, 1, Some((1, true)))), 0), 0xaa);
    assert_eq!(byte(&bench.open(&host(&keep, 1, None)), 0), 1);
}

#[test]
fn an_image_that_changed_under_its_overlays_is_refused() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    bench.open(&host(&disk, 1, None)).write_at(&[1; 512], 0).unwrap();
    let image = bench.store.dir().join("a.raw");
    let before = fs::read(&image).unwrap();
    File::options().write(true).open(&image).unwrap().write_all_at(b"x", 70_000).unwrap();
    let error = bench.store.open(&host(&disk, 1, None)).unwrap_err();
    assert!(matches!(error, DiskError::ImageChanged { .. }), "{error}");
    assert_eq!(error.refusal_status(), 0x0301);
    let lab = Lab { disks: vec![disk.clone()], ..Lab::default() };
    assert!(bench.store.views(&lab)[0].problem.as_ref().unwrap().contains("has changed"));
    // The former content is put back: nothing was lost.
    fs::write(&image, before).unwrap();
    assert_eq!(byte(&bench.open(&host(&disk, 1, None)), 0), 1);
    // Another host starts on whatever the image is.
    bench.open(&host(&disk, 2, None));
}

#[test]
fn a_large_image_is_not_ready_until_it_is_identified() {
    let bench = bench();
    let store = Store::hashing_at_once(bench.store.dir().to_owned(), 4096);
    let disk = disk(Writes::Keep);
    let lab = Lab { disks: vec![disk.clone()], ..Lab::default() };
    let error = store.open(&host(&disk, 1, None)).unwrap_err();
    assert!(matches!(error, DiskError::NotReady { .. }));
    assert!(store.needs_identity(&disk, &lab));
    assert!(store.views(&lab)[0].problem.is_some());
    let cancelled = store.identify(&disk, &|_, _| {}, &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(cancelled, DiskError::Cancelled));
    store.identify(&disk, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    assert!(!store.needs_identity(&disk, &lab));
    assert_eq!(store.views(&lab)[0].problem, None);
    store.open(&host(&disk, 1, None)).unwrap();
}

#[test]
fn an_image_is_written_by_one_host_and_never_under_overlays() {
    let bench = bench();
    let image = disk(Writes::Image);
    let one = bench.open(&host(&image, 1, None));
    assert!(Arc::ptr_eq(&one, &bench.open(&host(&image, 1, None))), "its system logs in beside its firmware");
    let error = bench.store.open(&host(&image, 2, None)).unwrap_err();
    assert!(error.to_string().contains("pc-1"), "{error}");
    let keep = disk(Writes::Keep);
    assert!(matches!(bench.store.open(&host(&keep, 2, None)), Err(DiskError::InUse { .. })));
    one.write_at(&[1; 512], 0).unwrap();
    drop(one);

    let overlay = bench.open(&host(&keep, 2, None));
    assert_eq!(byte(&overlay, 0), 1);
    assert!(matches!(bench.store.open(&host(&image, 1, None)), Err(DiskError::HasOverlays { count: 1, .. })));
    // Another disk of the same image does not get round it.
    let other = Disk { name: "b".parse().unwrap(), ..image.clone() };
    assert!(matches!(bench.store.open(&host(&other, 1, None)), Err(DiskError::HasOverlays { .. })));
    drop(overlay);
    bench.store.reset(&keep, &OverlayKey::Host(HostId(2)).into()).unwrap();
    bench.open(&host(&other, 1, None));
}

#[test]
fn an_open_overlay_is_not_reset() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    let key = OverlayKey::Host(HostId(1));
    let open = bench.open(&host(&disk, 1, None));
    open.write_at(&[1; 512], 0).unwrap();
    assert!(matches!(bench.store.reset(&disk, &key.clone().into()), Err(DiskError::InUse { .. })));
    drop(open);
    bench.store.reset(&disk, &key.clone().into()).unwrap();
    bench.store.reset(&disk, &key.clone().into()).unwrap();
    assert_eq!(byte(&bench.open(&host(&disk, 1, None)), 0), 0xaa);
}

#[test]
fn a_strangers_name_never_becomes_a_path() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    let key = OverlayKey::Initiator("iqn.2001-04.com.example:../../../x".into());
    let req = OpenRequest { disk: &disk, key: key.clone(), label: "x".repeat(5000), fresh_epoch: None };
    bench.open(&req).write_at(&[1; 512], 0).unwrap();
    assert!(bench.overlays()[0].starts_with("initiator-"));
    let lab = Lab { disks: vec![disk.clone()], ..Lab::default() };
    assert_eq!(bench.store.views(&lab)[0].overlays[0].key, key);
}

#[test]
fn what_a_crash_left_half_made_is_cleared_away() {
    let bench = bench();
    let disk = disk(Writes::Fresh);
    drop(bench.open(&host(&disk, 1, Some((1, true)))));
    let dir = bench.store.overlays_dir(&disk);
    for rest in ["new-host-1", "gone-host-1"] {
        fs::create_dir(dir.join(rest)).unwrap();
        fs::write(dir.join(rest).join("data"), "half").unwrap();
    }
    // Between the new one's birth and the old one's end: the newer counts.
    let old = bench.open(&host(&disk, 1, Some((1, false))));
    old.write_at(&[7; 512], 0).unwrap();
    drop(old);
    let status =
        Command::new("cp").arg("-a").arg(dir.join("host-1.fresh-1.1")).arg(dir.join("host-1.fresh-1.2")).status();
    assert!(status.unwrap().success());
    let new = bench.open(&host(&disk, 1, Some((1, false))));
    new.write_at(&[8; 512], 0).unwrap();
    assert_eq!(byte(&bench.open(&host(&disk, 1, None)), 0), 8);
    assert_eq!(bench.overlays(), ["host-1.fresh-1.1", "host-1.fresh-1.2"]);
}

#[test]
fn views_say_what_is_there_and_what_is_wrong() {
    let bench = bench();
    let disk = disk(Writes::Keep);
    let missing = Disk { name: "m".parse().unwrap(), image: "m.raw".into(), ..disk.clone() };
    let foreign = Disk { name: "q".parse().unwrap(), image: "q.qcow2".into(), ..disk.clone() };
    fs::write(bench.store.dir().join("q.qcow2"), b"QFI\xfb and so on").unwrap();
    let lab = Lab { disks: vec![disk.clone(), missing.clone(), foreign.clone()], ..Lab::default() };
    let open = bench.open(&host(&disk, 1, None));
    open.write_at(&vec![1; 65536], 0).unwrap();
    open.flush().unwrap();
    let views = bench.store.views(&lab);
    assert_eq!((views[0].size, views[0].problem.as_deref()), (SIZE, None));
    let overlay = &views[0].overlays[0];
    assert!(overlay.open && overlay.bytes >= 65536 && overlay.host == "pc-1", "{overlay:?}");
    assert_eq!(views[1].size, 0);
    assert!(views[1].problem.as_ref().unwrap().contains("m.raw does not exist"));
    assert!(views[2].problem.as_ref().unwrap().contains("bootyard disks import"));
    drop(open);
    assert!(!bench.store.views(&lab)[0].overlays[0].open);
    assert_eq!(bench.store.open(&host(&missing, 1, None)).unwrap_err().refusal_status(), 0x0203);
    assert_eq!(bench.store.open(&host(&foreign, 1, None)).unwrap_err().refusal_status(), 0x0301);
}

#[test]
fn a_readonly_disk_is_the_image_and_takes_no_write() {
    let bench = bench();
    let disk = Disk { readonly: true, ..disk(Writes::Keep) };
    let one = bench.open(&host(&disk, 1, None));
    let two = bench.open(&host(&disk, 2, None));
    assert!(Arc::ptr_eq(&one, &two) && one.readonly());
    assert_eq!(one.write_at(&[1; 512], 0).unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn thirty_hosts_log_in_at_once() {
    let bench = bench();
    let disk = disk(Writes::Fresh);
    std::thread::scope(|scope| {
        for id in 0..30 {
            let (bench, disk) = (&bench, &disk);
            scope.spawn(move || {
                let firmware = bench.open(&host(disk, id, Some((1, true))));
                firmware.write_at(&[id as u8; 4096], 4096 * id).unwrap();
                let system = bench.open(&host(disk, id, Some((1, false))));
                assert!(Arc::ptr_eq(&firmware, &system));
                system.flush().unwrap();
            });
        }
    });
    assert_eq!(bench.overlays().len(), 30);
}

/// On real machinery: run as root with a loop device and QEMU at hand.
#[test]
#[ignore = "attaches a loop device and mounts a tmpfs"]
fn images_in_use_elsewhere_are_refused_and_a_full_file_system_loses_nothing() {
    let bench = bench();
    let image = disk(Writes::Image);
    let path = bench.store.dir().join("a.raw");
    let run = |command: &str| {
        let out = Command::new("sh").arg("-ec").arg(command).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    if Path::new("/dev/loop-control").exists() {
        let device = run(&format!("losetup --find --show {}", path.display()));
        let refused = bench.store.open(&host(&image, 1, None)).unwrap_err();
        run(&format!("losetup -d {device}"));
        assert!(refused.to_string().contains(&device), "{refused}");
    }

    let mut qemu = Command::new("qemu-io")
        .args(["-f", "raw"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its answer to a first command says that it has the image.
    qemu.stdin.as_mut().unwrap().write_all(b"length\n").unwrap();
    let mut said = String::new();
    std::io::BufReader::new(qemu.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("length") || said.contains("iB"), "{said}");
    let refused = bench.store.open(&host(&image, 1, None)).unwrap_err();
    drop(qemu.stdin.take());
    qemu.wait().unwrap();
    assert!(matches!(refused, DiskError::InUse { .. }), "{refused}");
    bench.open(&host(&image, 1, None));

    let small = bench.store.dir().join("small");
    fs::create_dir(&small).unwrap();
    run(&format!("mount -t tmpfs -o size=4m none {}", small.display()));
    let full = std::panic::catch_unwind(|| {
        let store = Store::new(small.clone());
        store.create(Path::new("a.raw"), 16 << 20).unwrap();
        let keep = disk(Writes::Keep);
        let overlay = store.open(&host(&keep, 1, None)).unwrap();
        overlay.write_at(&[1; 65536], 0).unwrap();
        let mut wrote = 1;
        let error = loop {
            match overlay.write_at(&[2; 65536], wrote * 65536) {
                Ok(()) => wrote += 1,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        let refused = store.open(&host(&keep, 2, None)).unwrap_err();
        assert_eq!(refused.refusal_status(), 0x0302, "{refused}");
        assert_eq!((byte(&overlay, 0), byte(&overlay, (wrote - 1) * 65536), byte(&overlay, wrote * 65536)), (1, 2, 0));
        overlay.zero(65536, 65536, true).unwrap();
        overlay.write_at(&[3; 4096], 15 << 20).unwrap();
        overlay.flush().unwrap();
        drop(overlay);
        let overlay = store.open(&host(&keep, 1, None)).unwrap();
        assert_eq!((byte(&overlay, 0), byte(&overlay, 65536), byte(&overlay, 15 << 20)), (1, 0, 3));
    });
    run(&format!("umount {}", small.display()));
    full.unwrap();
}
