//! Whole disks, made with the system's own tools: nothing is mounted for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cpio::archive;
use super::cpio::tests::piped;
use super::*;
use crate::disks::Image;

/// Runs a tool that must succeed.
fn tool(program: &str, package: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}: apt-get install {package}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Bytes that no compression and no hole makes small, and the same each time.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(1..)).collect()
}

fn initrd() -> Vec<u8> {
    let modules = "usr/lib/modules/6.1.0-18-amd64/kernel/drivers";
    let early = archive(&[("kernel/x86/microcode/GenuineIntel.bin", &noise(4096, 1))]);
    let main = archive(&[
        ("scripts/functions", b""),
        ("usr/sbin/iscsistart", &noise(20_000, 2)),
        ("etc/iscsi.initramfs", b"ISCSI_AUTO=true\n"),
        (&format!("{modules}/scsi/iscsi_tcp.ko"), b""),
        (&format!("{modules}/firmware/iscsi_ibft.ko"), b""),
        (&format!("{modules}/net/virtio_net.ko"), b""),
    ]);
    [early, piped("zstd", &["-q"], "zstd", &main)].concat()
}

/// A Linux system's files.
fn linux(root: &Path) {
    write(root, "/usr/lib/os-release", "PRETTY_NAME=\"Debian 12\"\nID=debian\n");
    fs::create_dir_all(root.join("etc")).unwrap();
    std::os::unix::fs::symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    write(root, "/etc/fstab", "LABEL=rootfs / auto defaults 0 1\n");
    write(root, "/boot/vmlinuz-6.1.0-18-amd64", noise(3 << 20, 3));
    write(root, "/boot/initrd.img-6.1.0-18-amd64", initrd());
    write(root, "/boot/xen-4.17-amd64.gz", piped("gzip", &["-n"], "gzip", &noise(1 << 20, 4)));
    write(root, "/boot/grub/grub.cfg", "linux /boot/vmlinuz-6.1.0-18-amd64 root=LABEL=rootfs ro\n");
    // Enough for every kind of directory.
    for n in 0..300 {
        write(root, &format!("/srv/many/a-file-with-a-rather-long-name-{n:04}"), n.to_string());
    }
}

/// A disk with GRUB's look in its first sector, an ESP and a root of this kind.
fn disk(dir: &Path, root_kind: &str) -> std::path::PathBuf {
    let (root, image, part) = (dir.join("root"), dir.join(format!("{root_kind}.raw")), dir.join("part"));
    if !root.exists() {
        linux(&root);
    }
    fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
    let script = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n\
        start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n\
        start=16384, size=786432, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n";
    piped("sfdisk", &["--quiet", image.to_str().unwrap()], "fdisk", script.as_bytes());
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    fs::File::create(&part).unwrap().set_len(786_432 * 512).unwrap();
    match root_kind {
        "xfs" => {
            // A prototype takes a folder since xfsprogs 6.13; before, it lists each file.
            let listed = dir.join("proto");
            fs::write(&listed, proto(&root)).unwrap();
            tool("mkfs.xfs", "xfsprogs", &["-q", "-f", "-L", "rootfs", "-p", &file(&listed), &file(&part)]);
        }
        kind => {
            let kind = format!("mkfs.{kind}");
            tool(&kind, "e2fsprogs", &["-q", "-F", "-L", "rootfs", "-d", &file(&root), &file(&part)]);
        }
    }
    put(&image, &part, 16384 * 512);
    // The ESP: a program's header is enough of a program.
    let mut program = vec![0; 512];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x80;
    program[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
    write(dir, "BOOTX64.EFI", &program);
    let esp = format!("{}@@{}", file(&image), 4096 * 512);
    tool("mformat", "mtools", &["-i", &esp, "-T", "8192", "-h", "64", "-s", "32", "::"]);
    tool("mmd", "mtools", &["-i", &esp, "::/EFI", "::/EFI/BOOT", "::/EFI/A vendor with a long name"]);
    let program = file(&dir.join("BOOTX64.EFI"));
    tool("mcopy", "mtools", &["-i", &esp, &program, "::/EFI/BOOT/BOOTX64.EFI"]);
    tool("mcopy", "mtools", &["-i", &esp, &program, "::/EFI/A vendor with a long name/grub of it.efi"]);
    let mut first = vec![0x90; 440];
    first[0x5c..0x64].copy_from_slice(&2048u64.to_le_bytes());
    first[0x180..0x185].copy_from_slice(b"GRUB ");
    let grub = dir.join("grub");
    fs::write(&grub, &first).unwrap();
    put(&image, &grub, 0);
    fs::write(&grub, noise(512, 5)).unwrap();
    put(&image, &grub, 2048 * 512);
    image
}

/// Copies a file into an image, holes left out.
fn put(image: &Path, from: &Path, at: u64) {
    let (of, from) = (format!("of={}", image.display()), format!("if={}", from.display()));
    let seek = format!("seek={at}");
    tool("dd", "coreutils", &[&from, &of, "bs=1M", &seek, "oflag=seek_bytes", "conv=notrunc,sparse", "status=none"]);
}

/// The prototype that mkfs.xfs makes these files of.
fn proto(root: &Path) -> String {
    fn folder(path: &Path, out: &mut String) {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, path, kind) = (entry.file_name(), entry.path(), entry.file_type().unwrap());
            let name = name.to_str().unwrap();
            if kind.is_dir() {
                out.push_str(&format!("{name} d--755 0 0\n"));
                folder(&path, out);
                out.push_str("$\n");
            } else if kind.is_symlink() {
                out.push_str(&format!("{name} l--777 0 0 {}\n", fs::read_link(&path).unwrap().display()));
            } else {
                out.push_str(&format!("{name} ---644 0 0 {}\n", path.display()));
            }
        }
    }
    let mut out = String::from("/\n0 0\nd--755 0 0\n");
    folder(root, &mut out);
    out.push_str("$\n");
    out
}

fn look(image: &Path) -> Inspection {
    inspect(Arc::new(Image::open_shared(image).unwrap()), &Arc::default()).unwrap()
}

#[test]
fn a_system_is_read_from_every_file_system_and_its_kernel_is_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, expected) in [
        ("ext2", FileSystemKind::Ext),
        ("ext3", FileSystemKind::Ext),
        ("ext4", FileSystemKind::Ext),
        ("xfs", FileSystemKind::Xfs),
    ] {
        let image = disk(dir.path(), kind);
        let found = look(&image);
        assert_eq!(found.table, TableKind::Gpt);
        let parts: Vec<_> = found.partitions.iter().map(|p| (p.number, p.file_system, p.problem.clone())).collect();
        assert_eq!(parts, [(1, None, None), (2, Some(FileSystemKind::Fat), None), (3, Some(expected), None)], "{kind}");
        assert_eq!(found.partitions[2].label.as_deref(), Some("rootfs"));
        assert!(found.bios.starts() && found.bios.name.as_deref() == Some("GRUB"));
        let efi: Vec<_> = found.efi.iter().map(|p| (p.path.as_str(), p.arch)).collect();
        let x64 = Some(crate::boot::Arch::UefiX64);
        assert_eq!(efi, [("/EFI/BOOT/BOOTX64.EFI", x64), ("/EFI/A vendor with a long name/grub of it.efi", x64)]);
        let [system] = &found.linux[..] else { panic!("{kind}: {:?}", found.linux) };
        assert_eq!((system.name.as_str(), system.partition), ("Debian 12", 3));
        let kernel = &system.kernels[0];
        assert_eq!(kernel.file.blake3, blake3::hash(&noise(3 << 20, 3)).to_hex().as_str(), "{kind}");
        assert_eq!(kernel.args, "root=LABEL=rootfs ro");
        let initramfs = kernel.initramfs.as_ref().unwrap();
        assert!(initramfs.has_iscsi(&[]) && initramfs.iscsi_auto && initramfs.packing == "zstd", "{initramfs:?}");
        for arch in [crate::boot::Arch::Bios, crate::boot::Arch::UefiX64] {
            assert_eq!(troubles(&found, Way::San { arch: Some(arch) }), []);
        }
        taken_out(dir.path(), &image, &found);
    }
}

fn taken_out(dir: &Path, image: &Path, found: &Inspection) {
    let what = Extraction::choose(found, &Choice::default()).unwrap();
    let part = dir.join(".p.part");
    let open = || Arc::new(Image::open_shared(image).unwrap());
    let heard = std::sync::Mutex::new((0, 0));
    let files = take(open(), &what, &part, &|done, all| *heard.lock().unwrap() = (done, all), &Arc::default()).unwrap();
    let names: Vec<_> = files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64", "xen-4.17-amd64"]);
    assert_eq!(fs::read(part.join(names[0])).unwrap(), noise(3 << 20, 3));
    assert_eq!(fs::read(part.join(names[1])).unwrap(), initrd());
    assert_eq!(fs::read(part.join(names[2])).unwrap(), noise(1 << 20, 4), "it is unpacked");
    let (done, all) = *heard.lock().unwrap();
    assert_eq!((done, all), (what.size(), what.size()));
    let mut other = what.clone();
    other.kernel.blake3 = "0".repeat(64);
    let changed = take(open(), &other, &part, &|_, _| {}, &Arc::default());
    assert!(matches!(changed, Err(ExtractError::Changed(_))), "{changed:?}");
    assert!(!part.exists(), "nothing half-made is left");
    let stopped = take(open(), &what, &part, &|_, _| {}, &Arc::new(AtomicBool::new(true)));
    assert!(stopped.is_err() && !part.exists());
}

#[test]
fn every_file_of_a_large_folder_is_found_and_links_lead_on() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["ext4", "xfs"] {
        let image = disk(dir.path(), kind);
        let open = OpenDisk::open(fs::read(&image).unwrap(), MOST_READ, Arc::default());
        let files = open.files(3).unwrap();
        let names = files.names("/srv/many", |_| true);
        assert_eq!(names.len(), 300, "{kind}");
        assert_eq!(files.text("/srv/many/a-file-with-a-rather-long-name-0217").unwrap(), "217");
        assert!(files.text("/etc/os-release").unwrap().starts_with("PRETTY_NAME"));
        assert!(files.text("/etc/../etc/./os-release").is_some() && files.text("/etc/absent").is_none());
        assert!(files.open("/etc").is_err() && files.list("/etc/fstab").is_err());
    }
}

#[test]
fn windows_is_found_on_ntfs() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("w.raw");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let file = image.to_str().unwrap().to_owned();
    tool("mkntfs", "ntfs-3g", &["-q", "-F", "-Q", "-L", "Windows", &file]);
    let hive = noise(700_000, 9);
    write(dir.path(), "SYSTEM", &hive);
    // It makes no folders, so the file is in the root.
    tool("ntfscp", "ntfs-3g", &["-q", "-f", &file, dir.path().join("SYSTEM").to_str().unwrap(), "SYSTEM"]);
    let open = OpenDisk::open(fs::read(&image).unwrap(), MOST_READ, Arc::default());
    let files = open.files(0).unwrap();
    assert!(files.names("/", |e| !e.folder).contains(&"SYSTEM".to_owned()));
    assert_eq!(files.read("/system", 1 << 20).unwrap(), hive, "whatever its case");
    assert!(files.open("/$Extend").is_err() && files.open("/Windows/System32/config/SYSTEM").is_err());
    let found = look(&image);
    assert_eq!(found.partitions[0].file_system, Some(FileSystemKind::Ntfs));
    assert!(found.windows.is_empty());

    let mut tree = volume::Tree::default();
    tree.0.insert("/Windows/System32/config/SYSTEM".into(), super::hive::tests::system(|s| s));
    let found = windows::find(&tree, 3).unwrap();
    assert_eq!((found.partition, found.control_set.as_str(), found.problem), (3, "ControlSet002", None));
    tree.0.insert("/Windows/System32/config/SYSTEM".into(), b"regf, or not".to_vec());
    assert!(windows::find(&tree, 3).unwrap().problem.unwrap().contains("damaged"));
}

#[test]
fn what_is_not_read_is_named() {
    let put = |at: usize, magic: &[u8]| {
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        inspect_bytes(bytes, MOST_READ, &Arc::default()).unwrap().partitions.remove(0).file_system
    };
    let mut lvm = b"LABELONE".to_vec();
    lvm.resize(24, 0);
    lvm.extend(b"LVM2 001");
    assert_eq!(put(512, &lvm), Some(FileSystemKind::Lvm));
    assert_eq!(put(0, b"LUKS\xba\xbe\0\x02"), Some(FileSystemKind::Luks));
    assert_eq!(put(65600, b"_BHRfS_M"), Some(FileSystemKind::Btrfs));
    assert_eq!(put(4086, b"SWAPSPACE2"), Some(FileSystemKind::Swap));
    assert_eq!(put(3, b"-FVE-FS-"), Some(FileSystemKind::BitLocker));
    assert_eq!(put(0, b"nothing"), None);
}

/// Damage at the places that matter, the same each time: a boot sector, superblocks, folders, trees, and cuts.
#[test]
fn damaged_disks_are_told_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    for kind in ["ext4", "xfs"] {
        let mut bytes = fs::read(disk(dir.path(), kind)).unwrap();
        bytes.truncate(200 << 20);
        // Where there is anything but zeroes.
        let used: Vec<usize> =
            (0..bytes.len()).step_by(512).filter(|at| bytes[*at..at + 512].iter().any(|b| *b != 0)).collect();
        // A kernel's own bytes are nobody's structure.
        let structure: Vec<usize> = used.iter().copied().filter(|at| bytes[*at..at + 512].contains(&0)).collect();
        for _ in 0..60 {
            let mut undo = Vec::new();
            for _ in 0..random.usize(1..200) {
                let at = structure[random.usize(..structure.len())] + random.usize(..512);
                undo.push((at, bytes[at]));
                bytes[at] = random.u8(..);
            }
            let disk = Arc::new(Shared(Arc::new(std::mem::take(&mut bytes))));
            let most = 256 << 20;
            let _told = inspect_bytes(Shared(disk.0.clone()), most, &Arc::default());
            let whole = Arc::try_unwrap(disk).ok().and_then(|shared| Arc::try_unwrap(shared.0).ok());
            bytes = whole.unwrap();
            for (at, byte) in undo.into_iter().rev() {
                bytes[at] = byte;
            }
        }
    }
}

/// Bytes that are lent.
struct Shared(Arc<Vec<u8>>);

impl Bytes for Shared {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn fill(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.fill(buf, offset)
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_disk_is_it_is_told(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4096)) {
        fuzz_disk(&bytes);
    }
}

#[test]
fn no_more_file_systems_are_read_than_a_sound_disk_has() {
    let dir = tempfile::tempdir().unwrap();
    let fat = dir.path().join("fat");
    tool("mformat", "mtools", &["-i", fat.to_str().unwrap(), "-C", "-T", "2048", "-h", "16", "-s", "32", "::"]);
    let image = dir.path().join("disk");
    fs::File::create(&image).unwrap().set_len(20 << 20).unwrap();
    let lines = (1..19).map(|n| format!("start={}, size=2048, type=L\n", n * 2048)).collect::<String>();
    piped("sfdisk", &["--quiet", image.to_str().unwrap()], "fdisk", format!("label: gpt\n{lines}").as_bytes());
    for n in 1..19 {
        put(&image, &fat, n << 20);
    }
    let found = look(&image);
    let read = found.partitions.iter().filter(|p| p.file_system == Some(FileSystemKind::Fat)).count();
    assert_eq!((found.partitions.len(), read), (18, MOST_READABLE));
    assert!(found.partitions[17].problem.as_ref().is_some_and(|p| p.contains("only the first 16")), "{found:?}");
}

#[test]
fn a_superblock_of_xfs_whose_numbers_are_no_logarithms_is_refused() {
    let opened = |inodes_bits: u8| {
        let mut head = vec![0; 1 << 16];
        let fields: [(usize, &[u8]); 8] = [
            (4, &4096u32.to_be_bytes()),
            (8, &1u64.to_be_bytes()),
            (84, &1u32.to_be_bytes()),
            (88, &1u32.to_be_bytes()),
            (100, &5u16.to_be_bytes()),
            (104, &512u16.to_be_bytes()),
            (120, &[12, 9, 0, inodes_bits]),
            (216, &1u32.to_be_bytes()),
        ];
        for (at, bytes) in fields {
            head[at..at + bytes.len()].copy_from_slice(bytes);
        }
        xfs::Xfs::open(&Window::whole(head, 1 << 20, Arc::default())).map(drop)
    };
    assert!(opened(3).is_ok());
    for bits in [4, 64, 67, 255] {
        assert!(opened(bits).is_err(), "{bits}");
    }
}
