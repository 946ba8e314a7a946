//! Images that people bring, made by tools that are not ours.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;
use crate::disks::Store;

fn qemu_img(args: &[&str]) -> bool {
    match Command::new("qemu-img").args(args).output() {
        Ok(output) => {
            assert!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        // A computer without it cannot make these files.
        Err(_) => false,
    }
}

fn go() -> AtomicBool {
    AtomicBool::new(false)
}

fn sparse_source(dir: &Path) -> PathBuf {
    let path = dir.join("source.img");
    let file = File::create(&path).unwrap();
    file.set_len(16 << 20).unwrap();
    file.write_all_at(&[0x55; 100_000], 5_000_000).unwrap();
    file.write_all_at(b"the end", (16 << 20) - 7).unwrap();
    path
}

#[test]
fn an_import_is_the_same_and_as_sparse() {
    let dir = tempfile::tempdir().unwrap();
    let from = sparse_source(dir.path());
    let store = Store::new(dir.path().join("disks"));
    let told = std::cell::Cell::new((0, 0));
    let path = store.import(&from, "one", &|done, total| told.set((done, total)), &go()).unwrap();
    assert_eq!(path, dir.path().join("disks/one.raw"));
    assert_eq!(told.get(), (16 << 20, 16 << 20));
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 4 << 20);
    assert_eq!(fs::read(&path).unwrap(), fs::read(&from).unwrap());
    let known = identity::known(store.dir(), &path).unwrap().unwrap();
    assert_eq!(known.blake3, blake3::hash(&fs::read(&from).unwrap()).to_hex().to_string());
    qemu_img(&["compare", "-f", "raw", "-F", "raw", from.to_str().unwrap(), path.to_str().unwrap()]);
    assert!(matches!(store.import(&from, "one", &|_, _| {}, &go()), Err(DiskError::Exists { .. })));
    assert!(matches!(store.import(&from, "../x", &|_, _| {}, &go()), Err(DiskError::Name(_))));
}

#[test]
fn an_image_of_odd_length_is_filled_up_to_a_sector() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("odd");
    fs::write(&from, vec![3; 1000]).unwrap();
    let store = Store::new(dir.path().join("disks"));
    let path = store.import(&from, "odd", &|_, _| {}, &go()).unwrap();
    let content = fs::read(&path).unwrap();
    assert_eq!((content.len(), content[999], content[1000]), (1024, 3, 0));
    let known = identity::known(store.dir(), &path).unwrap().unwrap();
    assert_eq!(known.blake3, blake3::hash(&content).to_hex().to_string());
}

#[test]
fn a_cancelled_import_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let from = sparse_source(dir.path());
    let store = Store::new(dir.path().join("disks"));
    let cancel = go();
    let cancelled =
        store.import(&from, "one", &|done, _| cancel.store(done > 10 << 20, Ordering::Relaxed), &cancel).unwrap_err();
    assert!(matches!(cancelled, DiskError::Cancelled));
    assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 0);
    fs::write(store.import_part("one"), "after a crash").unwrap();
    store.recover(None);
    assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 0);
}

/// What virtualization programs write.
const FOREIGN: [(&str, &str); 7] = [
    ("vmdk", ""),
    ("vmdk", "subformat=monolithicFlat"),
    ("vmdk", "subformat=streamOptimized"),
    ("vhdx", ""),
    ("vpc", "force_size=on"),
    ("vpc", "subformat=fixed,force_size=on"),
    ("vdi", ""),
];

#[test]
fn foreign_formats_are_imported_as_their_disks() {
    let dir = tempfile::tempdir().unwrap();
    let source = sparse_source(dir.path());
    let content = fs::read(&source).unwrap();
    let store = Store::new(dir.path().join("disks"));
    for (format, options) in FOREIGN {
        let file = dir.path().join(format!("a disk.{format}"));
        let mut args = vec!["convert", "-f", "raw", "-O", format];
        if !options.is_empty() {
            args.extend(["-o", options]);
        }
        args.extend([source.to_str().unwrap(), file.to_str().unwrap()]);
        if !qemu_img(&args) {
            return;
        }
        let what = format!("{format} {options}");
        let told = std::cell::Cell::new((0, 0));
        let path = store.import(&file, "x", &|done, total| told.set((done, total)), &go()).unwrap();
        assert_eq!(told.get(), (16 << 20, 16 << 20), "{what}");
        assert!(fs::read(&path).unwrap() == content, "{what}");
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 4 << 20, "{what} is not sparse");
        let known = identity::known(store.dir(), &path).unwrap().unwrap();
        assert_eq!(known.blake3, blake3::hash(&content).to_hex().to_string(), "{what}");
        store.entered(&"x".parse().unwrap());
        store.delete(&store_disk("x"), &crate::lab::Lab::default()).unwrap();
        // Where nobody else can read it, what to do is said, and nothing is left behind.
        let refused = import_with(store.dir(), &file, "x", &|_, _| {}, &go(), OsStr::new("/nowhere")).unwrap_err();
        assert!(refused.to_string().contains("qemu-utils"), "{what}: {refused}");
        assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 0, "{what}");
        // Cancelled in either pass.
        for at in [1, 9 << 20] {
            let cancel = go();
            let stop = |done: u64, _: u64| cancel.store(done >= at, Ordering::Relaxed);
            let cancelled = store.import(&file, "x", &stop, &cancel);
            assert!(matches!(cancelled, Err(DiskError::Cancelled)), "{what}: {cancelled:?}");
            assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 0, "{what}");
        }
        fs::remove_file(&file).unwrap();
    }
}

fn store_disk(name: &str) -> crate::lab::Disk {
    crate::lab::Disk::new(name.parse().unwrap(), format!("{name}.raw").into(), crate::lab::Writes::Keep)
}

#[test]
fn a_foreign_image_never_brings_another_file_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("disks"));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let secret = path("secret");
    fs::write(&secret, vec![7; 1 << 20]).unwrap();
    fs::create_dir(path("in")).unwrap();
    // A VMDK description may name any file as its content.
    let flat = path("in/flat.vmdk");
    if !qemu_img(&["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", &flat, "1M"]) {
        return;
    }
    let text = fs::read_to_string(&flat).unwrap();
    fs::write(&flat, text.replace("flat-flat.vmdk", "../secret")).unwrap();
    let refused = store.import(Path::new(&flat), "x", &|_, _| {}, &go()).unwrap_err();
    assert!(refused.to_string().contains("own folder"), "{refused}");
    // Nor by a link, nor by something that is no file and would be waited for without end.
    fs::write(&flat, &text).unwrap();
    fs::remove_file(path("in/flat-flat.vmdk")).unwrap();
    std::os::unix::fs::symlink(&secret, path("in/flat-flat.vmdk")).unwrap();
    let refused = store.import(Path::new(&flat), "x", &|_, _| {}, &go()).unwrap_err();
    assert!(refused.to_string().contains("own folder"), "{refused}");
    fs::remove_file(path("in/flat-flat.vmdk")).unwrap();
    assert!(Command::new("mkfifo").arg(path("in/flat-flat.vmdk")).status().unwrap().success());
    let refused = store.import(Path::new(&flat), "x", &|_, _| {}, &go()).unwrap_err();
    assert!(refused.to_string().contains("own folder"), "{refused}");
    // A VHD that is only the difference to another one, which nothing but its type says.
    let vhd = path("in/difference.vhd");
    assert!(qemu_img(&["create", "-q", "-f", "vpc", &vhd, "1M"]));
    let file = File::options().write(true).open(&vhd).unwrap();
    let end = file.metadata().unwrap().len() - 512;
    for footer in [0, end] {
        file.write_all_at(&[0, 0, 0, 4], footer + 60).unwrap();
    }
    let refused = store.import(Path::new(&vhd), "x", &|_, _| {}, &go()).unwrap_err();
    assert!(refused.to_string().contains("differs"), "{refused}");
    let base = path("base.vmdk");
    assert!(qemu_img(&["create", "-q", "-f", "vmdk", &base, "1M"]));
    let child = path("in/child.vmdk");
    assert!(qemu_img(&["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", &base, &child]));
    let refused = store.import(Path::new(&child), "x", &|_, _| {}, &go()).unwrap_err();
    assert!(matches!(refused, DiskError::Format { .. }), "{refused}");
    // And damaged ones end in a sentence.
    for format in ["vhdx", "vpc", "vdi", "vmdk"] {
        let file = path(&format!("in/damaged.{format}"));
        assert!(qemu_img(&["create", "-q", "-f", format, &file, "1M"]));
        let mut bytes = fs::read(&file).unwrap();
        let from = bytes.len().min(64);
        let until = bytes.len().min(70_000);
        bytes[from..until].iter_mut().for_each(|b| *b ^= 0xff);
        fs::write(&file, bytes).unwrap();
        if store.import(Path::new(&file), "x", &|_, _| {}, &go()).is_ok() {
            // What was turned over was not looked at.
            store.not_entered(&"x".parse().unwrap());
        }
    }
    let left: Vec<_> = fs::read_dir(store.dir()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".id")), "{left:?}");
}

#[test]
fn a_qcow2_image_is_imported_as_its_disk() {
    let dir = tempfile::tempdir().unwrap();
    let raw = sparse_source(dir.path());
    let raw = raw.to_str().unwrap();
    let store = Store::new(dir.path().join("disks"));
    let image = dir.path().join("a.qcow2");
    let image = image.to_str().unwrap();
    for (n, options) in [
        &["-c"][..],
        &["-o", "cluster_size=4k"],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=2M,lazy_refcounts=on"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "extended_l2=on"],
    ]
    .iter()
    .enumerate()
    {
        let mut args = vec!["convert", "-f", "raw", "-O", "qcow2"];
        args.extend_from_slice(options);
        args.extend([raw, image]);
        if !qemu_img(&args) {
            return;
        }
        match store.import(Path::new(image), &format!("q{n}"), &|_, _| {}, &go()) {
            Ok(path) => {
                assert!(fs::metadata(&path).unwrap().blocks() * 512 < 8 << 20);
                qemu_img(&["compare", "-f", "raw", "-F", "raw", raw, path.to_str().unwrap()]);
            }
            // What is newer than the reader is said, with the way out, and leaves nothing behind.
            Err(refused) => {
                assert!(n >= 4, "{options:?}: {refused}");
                assert!(refused.to_string().contains("qemu-img convert -f qcow2 -O raw"), "{refused}");
                assert!(
                    !store.dir().join(format!("q{n}.raw")).exists() && !store.import_part(&format!("q{n}")).exists()
                );
            }
        }
    }
}

#[test]
fn a_qcow2_image_never_brings_another_file_along() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, vec![0x5e; 1 << 20]).unwrap();
    let secret = secret.to_str().unwrap();
    let store = Store::new(dir.path().join("disks"));
    let image = dir.path().join("a.qcow2");
    let image = image.to_str().unwrap();
    let data = format!("data_file={secret}.data,data_file_raw=on");
    for args in [
        &["create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image][..],
        &["create", "-q", "-f", "qcow2", "-o", &data, image, "1M"],
    ] {
        if !qemu_img(args) {
            return;
        }
        let refused = store.import(Path::new(image), "x", &|_, _| {}, &go()).unwrap_err();
        assert!(matches!(refused, DiskError::Format { .. }), "{refused}");
        assert!(!store.dir().join("x.raw").exists());
    }
}

#[test]
fn damaged_qcow2_images_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let raw = sparse_source(dir.path());
    let image = dir.path().join("a.qcow2");
    let (raw, image) = (raw.to_str().unwrap(), image.to_str().unwrap());
    if !qemu_img(&["convert", "-f", "raw", "-O", "qcow2", raw, image]) {
        return;
    }
    let whole = fs::read(image).unwrap();
    let store = Store::new(dir.path().join("disks"));
    let mut luck = fastrand::Rng::with_seed(1);
    for _ in 0..60 {
        let mut broken = whole.clone();
        for _ in 0..4 {
            let at = luck.usize(4..104);
            broken[at] = luck.u8(..);
        }
        broken.truncate(luck.usize(100..whole.len()));
        fs::write(image, &broken).unwrap();
        // It may even be readable; it must end, in one way or the other, without a trace of a failure.
        match store.import(Path::new(image), "x", &|done, _| assert!(done < 1 << 40), &AtomicBool::new(true)) {
            Err(_) => assert_eq!(fs::read_dir(store.dir()).into_iter().flatten().count(), 0),
            Ok(path) => fs::remove_file(path).unwrap(),
        }
    }
}

#[test]
fn compressed_files_and_media_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("disks"));
    for (content, said) in [
        (&b"\x1f\x8b\x08\0rest"[..], "gzip -dc"),
        (&b"\xfd7zXZ\0rest"[..], "xz -dc"),
        (&b"\x28\xb5\x2f\xfdrest"[..], "zstd -dc"),
    ] {
        let file = dir.path().join("a.img.x");
        fs::write(&file, content).unwrap();
        let refused = store.import(&file, "x", &|_, _| {}, &go()).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let iso = dir.path().join("a.iso");
    let mut content = vec![0; 20 * 2048];
    content[32769..32774].copy_from_slice(b"CD001");
    fs::write(&iso, content).unwrap();
    assert!(matches!(store.import(&iso, "x", &|_, _| {}, &go()), Err(DiskError::Format { .. })));
    let missing = store.import(&dir.path().join("none"), "x", &|_, _| {}, &go()).unwrap_err();
    assert!(matches!(missing, DiskError::Missing { .. }));
    assert!(matches!(store.import(Path::new("/dev/null"), "x", &|_, _| {}, &go()), Err(DiskError::NotAFile { .. })));
}

#[test]
fn an_empty_disk_is_made_once_and_of_whole_sectors() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("disks"));
    store.create(Path::new("e.raw"), 1 << 30).unwrap();
    assert_eq!(fs::metadata(store.dir().join("e.raw")).unwrap().len(), 1 << 30);
    assert!(matches!(store.create(Path::new("e.raw"), 512), Err(DiskError::Exists { .. })));
    assert!(matches!(store.create(Path::new("f.raw"), 1000), Err(DiskError::BadSize { .. })));
}
