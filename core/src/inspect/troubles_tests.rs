use super::*;
use crate::inspect::{BiosLoader, EfiProgram, ImageFile, Kernel, LinuxSystem, NetworkSetter, NetworkTrouble, hive};

const SAN: Way = Way::San { arch: Some(Arch::Bios) };
const UEFI: Way = Way::San { arch: Some(Arch::UefiX64) };

fn file(path: &str) -> ImageFile {
    ImageFile { partition: 3, path: path.into(), size: 1, blake3: "00".into() }
}

/// An image as the lab's recipe makes it: boots from BIOS and from UEFI x64.
pub(in crate::inspect) fn good() -> Inspection {
    let initramfs = Initramfs {
        generator: Some(Generator::InitramfsTools),
        packing: "zstd".into(),
        files: 900,
        initiator: Some("iscsistart".into()),
        iscsi_tcp: true,
        iscsi_ibft: true,
        iscsi_auto: true,
        network_drivers: vec!["virtio_net".into()],
        ..Initramfs::default()
    };
    let kernel = Kernel {
        version: "6.1.0-18-amd64".into(),
        file: file("/boot/vmlinuz-6.1.0-18-amd64"),
        initrd: Some(file("/boot/initrd.img-6.1.0-18-amd64")),
        initramfs: Some(initramfs),
        initramfs_problem: None,
        args: "root=LABEL=root ro".into(),
        built_in: Vec::new(),
    };
    let system = LinuxSystem {
        partition: 3,
        boot_partition: None,
        name: "Debian".into(),
        id: "debian".into(),
        root: Some("LABEL=root".into()),
        kernels: vec![kernel],
        hypervisors: Vec::new(),
        network: Vec::new(),
        has_open_iscsi: true,
    };
    Inspection {
        v: 1,
        size: 1 << 30,
        table: TableKind::Gpt,
        partitions: Vec::new(),
        overlaps: Vec::new(),
        bios: BiosLoader { boot_code: true, name: Some("GRUB".into()), broken: None },
        efi: vec![EfiProgram { partition: 2, path: "/EFI/BOOT/BOOTX64.EFI".into(), arch: Some(Arch::UefiX64) }],
        linux: vec![system],
        windows: Vec::new(),
    }
}

fn ids(image: &Inspection, way: Way) -> Vec<String> {
    let found = troubles(image, way);
    for trouble in &found {
        for sentence in [trouble.seen(), trouble.means(), trouble.remedy()] {
            assert!(
                !sentence.is_empty() && !sentence.contains(['{', '}']) || sentence.contains("{config: disabled}"),
                "{trouble:?}: {sentence}"
            );
            assert!(!sentence.contains("  ") && sentence.is_ascii() | sentence.contains('…'), "{sentence}");
        }
    }
    found.into_iter().map(|t| t.id).collect()
}

fn changed(change: impl FnOnce(&mut Inspection)) -> Inspection {
    let mut image = good();
    change(&mut image);
    image
}

fn with_initramfs(change: impl FnOnce(&mut Initramfs, &mut String)) -> Inspection {
    changed(|image| {
        let kernel = &mut image.linux[0].kernels[0];
        change(kernel.initramfs.as_mut().unwrap(), &mut kernel.args);
    })
}

#[test]
fn a_good_image_has_none() {
    for way in [SAN, UEFI, Way::San { arch: None }, Way::San { arch: Some(Arch::UefiX64Http) }] {
        assert_eq!(ids(&good(), way), Vec::<String>::new(), "{way:?}");
    }
    let image = with_initramfs(|i, _| i.iscsi_auto = false);
    for hypervisor in [false, true] {
        assert_eq!(ids(&image, Way::Direct { args: IscsiArgs::Debian, ibft: false, hypervisor }), Vec::<String>::new());
    }
}

#[test]
fn a_firmware_finds_its_loader_or_is_told_what_is_wrong() {
    let uefi_only = changed(|i| i.bios = BiosLoader::default());
    assert_eq!(ids(&uefi_only, SAN), ["uefi-only"]);
    assert_eq!(ids(&uefi_only, UEFI), Vec::<String>::new());
    let none = changed(|i| {
        i.bios = BiosLoader::default();
        i.efi.clear();
    });
    assert_eq!(ids(&none, SAN), ["no-bios-loader"]);
    assert_eq!(ids(&none, UEFI), ["no-uefi-loader"]);
    assert_eq!(ids(&none, Way::San { arch: None }), ["no-boot-loader"]);
    let vendor = changed(|i| i.efi[0].path = "/EFI/debian/grubx64.efi".into());
    let [trouble] = &troubles(&vendor, UEFI)[..] else { panic!() };
    assert_eq!(trouble.id, "no-fallback-loader");
    assert!(
        trouble.seen().contains("\\EFI\\debian\\grubx64.efi and no \\EFI\\BOOT\\BOOTX64.EFI"),
        "{}",
        trouble.seen()
    );
    assert_eq!(ids(&good(), Way::San { arch: Some(Arch::UefiArm64) }), ["no-uefi-loader"]);
    assert_eq!(ids(&changed(|i| i.efi[0].arch = Some(Arch::UefiArm64)), UEFI), ["wrong-machine"]);
    assert_eq!(ids(&changed(|i| i.efi[0].arch = None), UEFI), ["no-program"]);
    assert_eq!(ids(&changed(|i| i.bios.broken = Some(BrokenBoot::NoCore)), SAN), ["no-grub-core"]);
    assert_eq!(ids(&changed(|i| i.bios.broken = Some(BrokenBoot::NoActivePartition)), SAN), ["no-active-partition"]);
    // A kernel that is started directly needs none.
    let direct = Way::Direct { args: IscsiArgs::Debian, ibft: true, hypervisor: false };
    assert_eq!(ids(&none, direct), Vec::<String>::new());
}

#[test]
fn an_initramfs_that_never_logs_in_is_told_with_what_its_generator_needs() {
    let generators = [
        (Generator::InitramfsTools, "initramfs-tools"),
        (Generator::Dracut, "dracut"),
        (Generator::Mkinitcpio, "mkinitcpio"),
        (Generator::Unknown, "unknown"),
    ];
    for (generator, name) in generators {
        let without = |change: fn(&mut Initramfs)| {
            with_initramfs(|i, args| {
                i.generator = Some(generator);
                args.push_str(" rd.iscsi.firmware=1");
                change(i);
            })
        };
        assert_eq!(ids(&without(|_| {}), SAN), Vec::<String>::new(), "{name}");
        assert_eq!(ids(&without(|i| i.initiator = None), SAN), [format!("no-iscsi-{name}")]);
        assert_eq!(ids(&without(|i| i.iscsi_tcp = false), SAN), [format!("no-iscsi-{name}")]);
        assert_eq!(ids(&without(|i| i.network_drivers.clear()), SAN), [format!("no-network-driver-{name}")]);
        assert_eq!(ids(&without(|i| i.iscsi_ibft = false), SAN), [format!("no-ibft-{name}")]);
    }
    let built_in = with_initramfs(|i, _| {
        (i.iscsi_tcp, i.iscsi_ibft) = (false, false);
        i.network_drivers.clear();
    });
    let built_in = Inspection {
        linux: vec![LinuxSystem {
            kernels: vec![Kernel {
                built_in: ["iscsi_tcp", "iscsi_ibft", "virtio_net"].map(str::to_owned).to_vec(),
                ..built_in.linux[0].kernels[0].clone()
            }],
            ..built_in.linux[0].clone()
        }],
        ..built_in
    };
    assert_eq!(ids(&built_in, SAN), Vec::<String>::new());
    let none = changed(|i| (i.linux[0].kernels[0].initramfs, i.linux[0].kernels[0].initrd) = (None, None));
    assert_eq!(ids(&none, SAN), ["no-initramfs"]);
    let unread = changed(|i| {
        i.linux[0].kernels[0].initramfs = None;
        i.linux[0].kernels[0].initramfs_problem = Some("lzo is not read here".into());
    });
    let [trouble] = &troubles(&unread, SAN)[..] else { panic!() };
    assert_eq!((trouble.id.as_str(), trouble.severity), ("initramfs-unread", Severity::Warning));
}

#[test]
fn who_must_ask_the_ibft_is_told_when_it_does_not() {
    assert_eq!(ids(&with_initramfs(|i, _| i.iscsi_auto = false), SAN), ["ibft-unasked-initramfs-tools"]);
    let by_argument = with_initramfs(|i, args| {
        i.iscsi_auto = false;
        args.push_str(" iscsi_auto");
    });
    assert_eq!(ids(&by_argument, SAN), Vec::<String>::new());
    let dracut = |words: &str, built_in: &str| {
        with_initramfs(|i, args| {
            (i.generator, i.iscsi_auto) = (Some(Generator::Dracut), false);
            i.built_in_args = built_in.into();
            args.push_str(words);
        })
    };
    assert_eq!(ids(&dracut("", ""), SAN), ["ibft-unasked-dracut"]);
    assert_eq!(ids(&dracut(" rd.iscsi.firmware=0", ""), SAN), ["ibft-unasked-dracut"]);
    for asked in [" rd.iscsi.firmware=1", " rd.iscsi.firmware", " rd.iscsi.ibft=1", " netroot=iscsi:@1::::x"] {
        assert_eq!(ids(&dracut(asked, ""), SAN), Vec::<String>::new(), "{asked}");
    }
    assert_eq!(ids(&dracut("", "rd.iscsi.firmware=1"), SAN), Vec::<String>::new());
}

#[test]
fn a_kernel_that_is_started_directly_must_not_wait_for_an_ibft() {
    let direct = |args, ibft, hypervisor| Way::Direct { args, ibft, hypervisor };
    assert_eq!(ids(&good(), direct(IscsiArgs::Debian, false, false)), ["iscsi-auto"]);
    assert_eq!(ids(&good(), direct(IscsiArgs::Debian, true, false)), Vec::<String>::new());
    assert_eq!(ids(&good(), direct(IscsiArgs::Debian, true, true)), ["iscsi-auto"], "Xen hides it");
    assert_eq!(ids(&good(), direct(IscsiArgs::None, true, true)), ["xen-ibft"]);
    assert_eq!(ids(&good(), direct(IscsiArgs::None, true, false)), Vec::<String>::new());
    let asked = with_initramfs(|i, args| {
        i.iscsi_auto = false;
        args.push_str(" iscsi_auto");
    });
    assert_eq!(ids(&asked, direct(IscsiArgs::Debian, false, true)), Vec::<String>::new(), "the boot loader's own way");
    let manual = with_initramfs(|i, _| i.iscsi_auto = false);
    let [trouble] = &troubles(&manual, direct(IscsiArgs::Dracut, false, false))[..] else { panic!() };
    assert_eq!(trouble.id, "iscsi-args");
    assert!(trouble.remedy().contains("iscsi-args = \"debian\""), "{}", trouble.remedy());
}

#[test]
fn what_takes_the_network_away_is_a_warning() {
    let setters = [
        NetworkSetter::CloudInit,
        NetworkSetter::NetworkManager,
        NetworkSetter::Netplan,
        NetworkSetter::Networkd,
        NetworkSetter::Ifupdown,
    ];
    for by in setters {
        let image =
            changed(|i| i.linux[0].network = vec![NetworkTrouble { by, file: "/etc/x".into(), what: "eth0".into() }]);
        assert_eq!(ids(&image, SAN), [format!("network-{}", by.as_str())]);
        assert_eq!(troubles(&image, UEFI)[0].severity, Severity::Warning);
    }
}

#[test]
fn windows_without_boot_code_is_not_helped_by_grub() {
    let windows = |table| {
        changed(|i| {
            (i.table, i.bios) = (table, BiosLoader::default());
            i.linux.clear();
            i.windows = vec![WindowsSystem { problem: Some("damaged".into()), ..WindowsSystem::default() }];
        })
    };
    for (table, id) in [(TableKind::Gpt, "windows-uefi-only"), (TableKind::Mbr, "windows-no-boot-code")] {
        assert_eq!(ids(&windows(table), SAN), [id, "windows-unread"]);
        assert_eq!(ids(&windows(table), UEFI), ["windows-unread"]);
        let remedy = troubles(&windows(table), SAN)[0].remedy();
        assert!(!remedy.contains("grub") && !remedy.contains("kernel"), "{remedy}");
    }
    let locked = changed(|i| {
        i.bios = BiosLoader::default();
        i.linux.clear();
        i.efi[0].path = "/EFI/Microsoft/Boot/bootmgfw.efi".into();
    });
    assert_eq!(ids(&locked, SAN), ["windows-uefi-only"], "its own partition is encrypted");
    let both = changed(|i| {
        i.bios = BiosLoader::default();
        i.windows = windows(TableKind::Gpt).windows;
    });
    assert_eq!(ids(&both, SAN), ["uefi-only", "windows-unread"]);
}

#[test]
fn windows_needs_its_drivers_at_boot() {
    use hive::maker::NewKey;
    let image = |bcd: bool, change: &dyn Fn(NewKey) -> NewKey| {
        let bytes = hive::tests::system(change);
        let mut system = crate::inspect::windows::read_system(&bytes).unwrap();
        system.bcd = bcd;
        changed(|i| {
            i.linux.clear();
            i.windows = vec![system];
        })
    };
    let card = |start, flags| {
        NewKey::new("e1dexpress")
            .number("Start", start)
            .number("BootFlags", flags)
            .number("Type", 1)
            .text("Group", "NDIS")
    };
    let msiscsi = |start| NewKey::new("MSiSCSI").number("Start", start);
    assert_eq!(ids(&image(true, &|s| s.with(card(3, 1)).with(msiscsi(3))), UEFI), Vec::<String>::new());
    assert_eq!(ids(&image(true, &|s| s.with(card(0, 0))), UEFI), Vec::<String>::new());
    assert_eq!(ids(&image(true, &|s| s.with(card(3, 0))), UEFI), ["windows-card"]);
    assert_eq!(ids(&image(true, &|s| s), UEFI), ["windows-no-card"]);
    assert_eq!(
        ids(&image(false, &|s| s.with(card(0, 0)).with(msiscsi(4))), UEFI),
        ["windows-msiscsi", "windows-no-bcd"]
    );
    let bare = image(true, &|_| {
        let service = |name: &str, start| NewKey::new(name).number("Start", start);
        NewKey::new("Services").with(service("NDIS", 0)).with(service("Tcpip", 1)).with(card(0, 0))
    });
    assert_eq!(ids(&bare, UEFI), ["windows-service", "windows-no-service"]);
    let unread = changed(|i| {
        i.windows = vec![WindowsSystem { problem: Some("damaged".into()), ..WindowsSystem::default() }];
    });
    assert_eq!(ids(&unread, UEFI), ["windows-unread"]);
}

#[test]
fn partitions_that_share_bytes_are_an_error_whichever_way_it_boots() {
    let damaged = changed(|i| i.overlaps = vec![[1, 3]]);
    let direct = Way::Direct { args: IscsiArgs::Debian, ibft: true, hypervisor: false };
    for way in [SAN, UEFI, direct] {
        assert_eq!(ids(&damaged, way), ["overlapping-partitions"]);
    }
    let trouble = &troubles(&damaged, SAN)[0];
    assert!(trouble.severity == Severity::Error && trouble.seen().contains("1 and 3"), "{}", trouble.seen());
}

#[test]
fn every_sentence_has_its_three_parts() {
    let text = include_str!("../../../assets/lang/en.toml");
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    let table = document["image"].as_table().unwrap();
    assert!(table.len() >= 35, "{}", table.len());
    for (id, sentences) in table {
        for part in ["seen", "means", "remedy"] {
            assert!(sentences.get(part).and_then(|s| s.as_str()).is_some(), "image.{id} has no {part}");
        }
    }
}
