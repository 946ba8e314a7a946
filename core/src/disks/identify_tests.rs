//! Which images are read before they can be served, and which are left alone.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::{OpenRequest, OverlayKey};
use super::*;
use crate::api::HostId;
use crate::lab::Writes;

/// Larger than what is hashed while a login waits.
const SIZE: usize = 64 << 10;

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

fn store(dir: &Path) -> Store {
    Store::hashing_at_once(dir.to_owned(), 4096)
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.raw"), vec![0xaa; SIZE]).unwrap();
    let bench = Bench { store: store(dir.path()), dir };
    bench.grows_old();
    bench
}

fn lab(writes: &str, rest: &str) -> Lab {
    let disk = format!("[[disk]]\nname = \"a\"\nimage = \"a.raw\"\nwrites = \"{writes}\"\n");
    crate::lab::parse(&format!("version = 1\n{disk}{rest}")).unwrap()
}

fn given(writes: &str) -> String {
    format!("[[host]]\nmac = \"52:54:00:00:00:01\"\nboot = {{ iscsi = \"a\", writes = \"{writes}\" }}\n")
}

impl Bench {
    /// It was written long ago.
    fn grows_old(&self) {
        let image = File::options().write(true).open(self.dir.path().join("a.raw")).unwrap();
        image.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }

    fn named(&self, lab: &Lab) -> Vec<PathBuf> {
        self.store.unidentified(lab).into_iter().map(|image| image.path).collect()
    }

    fn open(&self, lab: &Lab, writes: Writes) -> Result<std::sync::Arc<dyn crate::disks::BlockDevice>, DiskError> {
        let disk = Disk { writes, ..lab.disks[0].clone() };
        self.store.open(&OpenRequest {
            disk: &disk,
            key: OverlayKey::Host(HostId(1)),
            label: "pc-1".into(),
            fresh_epoch: (writes == Writes::Fresh).then_some((1, true)),
        })
    }

    fn identify(&self, lab: &Lab) {
        for image in self.store.unidentified(lab) {
            self.store.identify_image(&image.path, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        }
    }
}

#[test]
fn an_image_is_read_where_any_machine_gets_it_through_an_overlay() {
    let bench = bench();
    let image = bench.dir.path().join("a.raw");
    for (lab, read) in [
        (lab("image", ""), false),
        (lab("image", &given("image")), false),
        // Made to be installed into, and now a whole classroom's.
        (lab("image", &given("fresh")), true),
        (lab("image", &given("keep")), true),
        (lab("fresh", ""), true),
        (lab("keep", &given("image")), true),
    ] {
        assert_eq!(bench.named(&lab), if read { vec![image.clone()] } else { vec![] }, "{lab:?}");
        assert_eq!(bench.store.needs_identity(&lab.disks[0], &lab), read);
        assert_eq!(bench.store.views(&lab)[0].problem.is_some(), read, "it is said why it cannot be served");
    }
    let lab = lab("image", &given("fresh"));
    assert!(matches!(bench.open(&lab, Writes::Fresh), Err(DiskError::NotReady { .. })));
    bench.identify(&lab);
    assert!(bench.named(&lab).is_empty());
    bench.open(&lab, Writes::Fresh).unwrap();
}

#[test]
fn an_image_that_is_written_is_read_when_it_is_still() {
    let bench = bench();
    let lab = lab("fresh", &given("image"));
    let maintained = bench.open(&lab, Writes::Image).unwrap();
    maintained.write_at(&[1; 512], 0).unwrap();
    bench.grows_old();
    assert!(bench.named(&lab).is_empty(), "a machine has it open");
    drop(maintained);
    assert_eq!(bench.named(&lab).len(), 1);
    // Another program writes into it.
    let image = File::options().write(true).open(bench.dir.path().join("a.raw")).unwrap();
    image.write_all_at(&[2; 512], 0).unwrap();
    assert!(bench.named(&lab).is_empty(), "it may go on");
    image.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    assert_eq!(bench.named(&lab).len(), 1, "the clock was wrong when it was written");
    let first = bench.store.unidentified(&lab);
    image.write_all_at(&[3; 512], 0).unwrap();
    bench.grows_old();
    assert_ne!(bench.store.unidentified(&lab), first, "what failed then need not fail now");
}

#[test]
fn a_former_generation_of_a_lab_that_was_copied_is_read_by_a_job_and_not_by_a_login() {
    let bench = bench();
    let lab = lab("keep", "");
    let disk = &lab.disks[0];
    let request = |id| OpenRequest { disk, key: OverlayKey::Host(HostId(id)), label: "pc".into(), fresh_epoch: None };
    bench.identify(&lab);
    for id in [1, 2] {
        bench.store.open(&request(id)).unwrap().write_at(&[id as u8; 512], 0).unwrap();
    }
    bench.store.commit(disk, &OverlayKey::Host(HostId(2)).into(), &|_, _| {}, &AtomicBool::new(false)).unwrap();
    let former = bench.dir.path().join("a.raw.g1");
    assert!(former.exists());
    let login = |store: &Store, id: u64| {
        let mut sector = [0; 512];
        store.open(&request(id)).map(|device| device.read_at(&mut sector, 0).map(|()| sector[0]).unwrap())
    };
    assert_eq!(login(&bench.store, 1).unwrap(), 1);

    // A copy: the same files under other inodes.
    for name in ["a.raw", "a.raw.g1"] {
        let (path, copy) = (bench.dir.path().join(name), bench.dir.path().join("copy"));
        fs::copy(&path, &copy).unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::rename(&copy, &path).unwrap();
    }
    let store = store(bench.dir.path());
    assert!(matches!(login(&store, 1), Err(DiskError::NotReady { .. })));
    let bench = Bench { store, ..bench };
    let mut named = bench.named(&lab);
    named.sort();
    assert_eq!(named, [bench.dir.path().join("a.raw"), former]);
    bench.store.identify(disk, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    assert!(matches!(login(&bench.store, 1), Err(DiskError::NotReady { .. })), "a login reads no large image");
    bench.identify(&lab);
    assert_eq!(login(&bench.store, 1).unwrap(), 1);
    assert!(bench.named(&lab).is_empty());
}
