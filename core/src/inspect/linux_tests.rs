use super::*;
use crate::inspect::cpio::archive;
use crate::inspect::volume::Tree;

const RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";

fn initrd() -> Vec<u8> {
    archive(&[
        ("scripts/functions", b""),
        ("usr/sbin/iscsistart", b""),
        ("usr/lib/modules/k/kernel/drivers/scsi/iscsi_tcp.ko", b""),
    ])
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::of(files);
    for path in ["/boot/initrd.img-6.1.0-9-amd64", "/boot/initrd.img-6.1.0-10-amd64"] {
        tree.0.insert(path.to_owned(), initrd());
    }
    tree
}

fn alone(tree: &Tree) -> LinuxSystem {
    find(On { partition: 1, files: tree, disk: None }, &|_| None, &[]).unwrap()
}

#[test]
fn kernels_are_sorted_by_their_numbers_and_have_their_initramfs_and_arguments() {
    let grub = "menuentry 'Debian' {\n\tlinux\t/boot/vmlinuz-6.1.0-10-amd64 root=UUID=1 ro quiet $vt_handoff\n}\n\
        menuentry 'recovery' {\n  linux /boot/vmlinuz-6.1.0-10-amd64 root=UUID=1 ro single\n}\n\
        menuentry 'Xen' {\n multiboot2 /boot/xen-4.17-amd64.gz placeholder dom0_mem=1G ${xen_rm_opts}\n\
        module2 /boot/vmlinuz-6.1.0-10-amd64 placeholder root=UUID=1 ro\n}\n";
    let system = alone(&tree(&[
        ("/etc/os-release", RELEASE),
        ("/etc/fstab", "# a comment\nUUID=1 / ext4 defaults 0 1\n"),
        ("/boot/vmlinuz-6.1.0-9-amd64", "nine"),
        ("/boot/vmlinuz-6.1.0-10-amd64", "ten"),
        ("/boot/xen-4.17-amd64.gz", "xen"),
        ("/boot/xen-4.17-amd64.efi", "efi"),
        ("/boot/xen-4.17-amd64.config", "config"),
        ("/boot/grub/grub.cfg", grub),
    ]));
    assert_eq!((system.name.as_str(), system.id.as_str()), ("Debian GNU/Linux 12 (bookworm)", "debian"));
    assert_eq!((system.root.as_deref(), system.boot_partition), (Some("UUID=1"), None));
    let versions: Vec<_> = system.kernels.iter().map(|k| k.version.as_str()).collect();
    assert_eq!(versions, ["6.1.0-10-amd64", "6.1.0-9-amd64"]);
    let newest = &system.kernels[0];
    assert_eq!(newest.args, "root=UUID=1 ro quiet", "the first entry that names it counts");
    assert_eq!(newest.file.blake3, blake3::hash(b"ten").to_hex().as_str());
    assert_eq!(newest.initrd.as_ref().unwrap().blake3, blake3::hash(&initrd()).to_hex().as_str());
    assert!(newest.initramfs.as_ref().unwrap().has_iscsi(&[]));
    assert_eq!(system.kernels[1].args, "root=UUID=1", "no entry names it: what fstab says is left");
    let xen: Vec<_> = system.hypervisors.iter().map(|x| (x.version.as_str(), x.args.as_str())).collect();
    assert_eq!(xen, [("4.17-amd64", "dom0_mem=1G")]);
}

#[test]
fn a_boot_partition_is_found_by_fstab_and_without_it() {
    let root = Tree::of(&[
        ("/usr/lib/os-release", "NAME=Fedora\nID=fedora"),
        ("/etc/fstab", "LABEL=b /boot xfs defaults 0 0"),
    ]);
    let mut boot = Tree::of(&[
        ("/vmlinuz-6.8.5-301.fc40.x86_64", "kernel"),
        (
            "/loader/entries/m-6.8.5.conf",
            "title Fedora\nversion 6.8.5-301.fc40.x86_64\nlinux /vmlinuz-6.8.5-301.fc40.x86_64\n\
          initrd /initramfs-6.8.5-301.fc40.x86_64.img $tuned_initrd\noptions $kernelopts $tuned_params rhgb\n",
        ),
        ("/grub2/grubenv", "# GRUB Environment Block\nkernelopts=root=UUID=2 ro\n"),
    ]);
    boot.0.insert("/initramfs-6.8.5-301.fc40.x86_64.img".into(), initrd());
    let (root, boot) = (On { partition: 3, files: &root, disk: None }, On { partition: 2, files: &boot, disk: None });
    let by_label = |word: &str| (word == "LABEL=b").then_some(boot);
    for system in [find(root, &by_label, &[]), find(root, &|_| None, &[root, boot])] {
        let system = system.unwrap();
        assert_eq!(system.boot_partition, Some(2));
        let [kernel] = &system.kernels[..] else { panic!("{:?}", system.kernels) };
        assert_eq!((kernel.version.as_str(), kernel.args.as_str()), ("6.8.5-301.fc40.x86_64", "root=UUID=2 ro rhgb"));
        assert_eq!((kernel.file.partition, kernel.file.path.as_str()), (2, "/vmlinuz-6.8.5-301.fc40.x86_64"));
        assert!(kernel.initrd.is_some() && kernel.initramfs.is_some(), "{kernel:?}");
    }
}

#[test]
fn what_is_no_system_is_none_and_a_damaged_initramfs_is_told() {
    assert!(find(On { partition: 1, files: &Tree::of(&[("/home/a", "")]), disk: None }, &|_| None, &[]).is_none());
    let mut files = tree(&[("/etc/os-release", RELEASE), ("/boot/vmlinuz-6.1.0-9-amd64", "nine")]);
    files.0.insert("/boot/initrd.img-6.1.0-9-amd64".into(), b"not an archive at all".repeat(20));
    let kernel = alone(&files).kernels.remove(0);
    assert!(kernel.initramfs.is_none() && kernel.initrd.is_some());
    assert!(kernel.initramfs_problem.unwrap().contains("cpio"));
}

#[test]
fn versions_are_compared_by_their_numbers() {
    let upstream = ["linux", "linux-lts", "5.10.0", "6.1.0-rc2", "6.1.0-rc10", "6.1.0", "6.9.0", "6.10.0"];
    let debian = [
        "6.1~rc7-amd64",
        "6.1-rc8-amd64",
        "6.1-amd64",
        "6.1.0-9-amd64",
        "6.1.0-10",
        "6.1.0-10-amd64",
        "6.1.0-10-cloud-amd64",
        "6.12.9+bpo-amd64",
        "6.12.12+bpo-amd64",
    ];
    let ubuntu =
        ["5.15.0-91-generic", "5.15.0-101-generic", "6.9.0-060900rc7-generic", "6.9.0-060900-generic", "6.9.1-generic"];
    let rhel_7 = ["3.10.0-957.el7.x86_64", "3.10.0-1160.el7.x86_64", "3.10.0-1160.71.1.el7.x86_64"];
    let rhel_8 = [
        "4.18.0-553.el8_9.x86_64",
        "4.18.0-553.el8_10.x86_64",
        "4.18.0-553.5.1.el8_10.x86_64",
        "4.18.0-553.16.1.el8_10.x86_64",
    ];
    let fedora = ["6.9.0-0.rc7.58.fc41.x86_64", "6.9.0-64.fc41.x86_64", "6.9.4-200.fc40.x86_64"];
    for sorted in [&upstream[..], &debian, &ubuntu, &rhel_7, &rhel_8, &fedora] {
        for (n, older) in sorted.iter().enumerate() {
            for newer in &sorted[n + 1..] {
                assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
                assert_eq!(compare(newer, older), Ordering::Greater, "{older} {newer}");
            }
        }
    }
    for version in ["", "6.1", "6.1-", "ä-6~"] {
        assert_eq!(compare(version, version), Ordering::Equal);
    }
    assert_eq!(compare("6.01", "6.1"), Ordering::Equal);
}

#[test]
fn the_release_of_a_kernel_for_x86_is_in_its_header() {
    let mut head = vec![0; 0x1000];
    head[0x202..0x206].copy_from_slice(b"HdrS");
    head[0x20e..0x210].copy_from_slice(&0x600u16.to_le_bytes());
    head[0x800..0x815].copy_from_slice(b"6.1.0-18-amd64 (build");
    assert_eq!(release(&head).as_deref(), Some("6.1.0-18-amd64"));
    head[0x20e..0x210].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(release(&head), None);
}

/// Of a file that is all holes nothing is read of the disk, however large it is.
#[test]
fn what_is_hashed_counts_whether_or_not_the_disk_was_read() {
    let mut files = Tree::of(&[("/etc/os-release", RELEASE)]);
    for number in 1..=8 {
        files.0.insert(format!("/boot/vmlinuz-6.1.{number}"), vec![0; 1 << 20]);
    }
    let count = |most: u64| {
        let disk = Window::whole(vec![0; 512], most, std::sync::Arc::default());
        find(On { partition: 1, files: &files, disk: Some(&disk) }, &|_| None, &[]).unwrap().kernels.len()
    };
    assert_eq!((count(64 << 20), count(3 << 20)), (8, 3));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let disk = Window::whole(vec![0; 512], 64 << 20, stop);
    let stopped = find(On { partition: 1, files: &files, disk: Some(&disk) }, &|_| None, &[]).unwrap();
    assert!(stopped.kernels.is_empty(), "it goes on although nobody wants it");
}
