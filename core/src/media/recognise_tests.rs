//! Files by what stands at their beginnings: the bytes are those of real ones (Debian 12's installer, kernel, iPXE, Xen 4.17).

use std::io::Write as _;
use std::path::PathBuf;

use flate2::write::GzEncoder;

use super::{Kind, recognise};
use crate::boot::Arch;
use crate::exchange::Format;
use crate::inspect::{FileSystemKind, TableKind};
use crate::lab::ProfileKind;

/// Bytes at places of a file that is otherwise zeroes.
fn file(len: usize, places: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, some) in places {
        bytes[*at..at + some.len()].copy_from_slice(some);
    }
    bytes
}

fn kind(name: &str, bytes: &[u8]) -> Kind {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    recognise(&path).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A PE header at 0xc0, as GNU's tools and iPXE's write it: machine, one section, an optional header of 240 bytes, subsystem.
fn pe(machine: u16, subsystem: u16, section: &[u8], rest: &[u8]) -> Vec<u8> {
    file(
        0x4000,
        &[
            (0, b"MZ"),
            (0x3c, &[0xc0]),
            (0xc0, b"PE\0\0"),
            (0xc4, &machine.to_le_bytes()),
            (0xc6, &[1]),
            (0xd4, &[0xf0]),
            (0xd8 + 68, &subsystem.to_le_bytes()),
            (0xd8 + 0xf0, section),
            (0x1000, rest),
        ],
    )
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// `linux` of Debian 12's installer: MZ, PE at 0x40, the boot sector's mark, the setup header of protocol 2.15.
fn bzimage() -> Vec<u8> {
    let setup: &[u8] = b"\xeb\x6aHdrS\x0f\x02\0\0\0\0\0\x10\xc0\x42";
    file(0x4000, &[(0, b"MZ"), (0x3c, &[0x40]), (0x40, b"PE\0\0\x64\x86\x04"), (0x1fe, b"\x55\xaa"), (0x200, setup)])
}

const CPIO: &[u8] = b"07070100000001000041ED0000000000000000000000026537DA5000000000000000000000000000000000000000000000000200000000.\0";

#[test]
fn kernels_whatever_they_are_called() {
    assert_eq!(kind("download (3)", &bzimage()), Kind::Kernel);
    let arm64 = file(0x4000, &[(0, b"MZ"), (0x38, b"ARM\x64"), (0x3c, &[0x40]), (0x40, b"PE\0\0\x64\xaa")]);
    assert_eq!(kind("Image", &arm64), Kind::Kernel);
    assert_eq!(kind("vmlinuz", &gzip(&arm64)), Kind::Kernel, "as Debian packs it for arm64");
    assert_eq!(kind("vmlinuz.efi", &file(512, &[(0, b"MZ\0\0zimg")])), Kind::Kernel);
    assert_eq!(kind("arch.efi", &pe(0x8664, 10, b".linux\0\0", b"")), Kind::Kernel, "a unified kernel image");
}

#[test]
fn xen_for_both_firmwares() {
    let elf =
        file(0x4000, &[(0, b"\x7fELF\x01\x01\x01"), (0x88, b"\x02\xb0\xad\x1b\x03"), (0x3000, b"Xen version 4.17")]);
    assert_eq!(kind("xen-4.17-amd64.gz", &gzip(&elf)), Kind::Xen { efi: false });
    assert_eq!(kind("xen", &elf), Kind::Xen { efi: false });
    let texts = [wide("Xen "), wide("\r\nEFI loader\r\n")].concat();
    assert_eq!(kind("xen-4.17-amd64.efi", &pe(0x8664, 10, b".buildid", &texts)), Kind::Xen { efi: true });
}

#[test]
fn initrds_packed_and_plain() {
    assert_eq!(kind("initrd", CPIO), Kind::Initrd);
    assert_eq!(kind("root.gz", &gzip(CPIO)), Kind::Initrd);
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(CPIO).unwrap();
    assert_eq!(kind("a.bin", &xz.finish().unwrap()), Kind::Initrd);
    // `zstd` of five zero digits and the rest of a member: a frame with one raw block.
    let mut zstd = b"\x28\xb5\x2f\xfd\x20".to_vec();
    zstd.push(u8::try_from(CPIO.len()).unwrap());
    zstd.extend(&u32::to_le_bytes((u32::try_from(CPIO.len()).unwrap() << 3) | 1)[..3]);
    zstd.extend(CPIO);
    assert_eq!(kind("b.bin", &zstd), Kind::Initrd);
    // Packed in a way that is read by kernels alone: then its name says it.
    assert_eq!(kind("initrd.img", b"BZh91AY&SY"), Kind::Initrd);
    assert_eq!(kind("notes.gz", &gzip(b"notes")), Kind::Packed { packing: "gzip", disk: false });
}

#[test]
fn what_firmware_loads() {
    let undionly: &[u8] = b"\xea\x05\x00\xc0\x07\x66\x9c\x66\x60\x0f\xa8\x0f\xa0\x06\x1e\x66hLRET";
    assert_eq!(kind("undionly.kpxe", undionly), Kind::Firmware { arch: Arch::Bios, ipxe: true });
    let pxelinux = file(4096, &[(0, b"\xea\x24\x7c\x00\x00\x90\x90\x90"), (3440, b"PXELINUX 6.04")]);
    assert_eq!(kind("pxelinux.0", &pxelinux), Kind::Firmware { arch: Arch::Bios, ipxe: false });
    let ipxe = pe(0x8664, 10, b".text\0\0\0", b"iPXE initialising devices");
    assert_eq!(kind("x", &ipxe), Kind::Firmware { arch: Arch::UefiX64, ipxe: true });
    let grub = pe(0xaa64, 10, b"mods\0\0\0\0", b"");
    assert_eq!(kind("grubnetaa64.efi", &grub), Kind::Firmware { arch: Arch::UefiArm64, ipxe: false });
    assert_eq!(kind("setup.exe", &pe(0x8664, 2, b".text\0\0\0", b"iPXE")), Kind::Unknown, "a program for Windows");
}

#[test]
fn disk_images_of_every_format() {
    let disk = |bytes: &[u8]| match kind("it", bytes) {
        Kind::Disk { format, table, file_system } => (format, table, file_system),
        other => panic!("{other:?}"),
    };
    assert_eq!(disk(b"QFI\xfb\0\0\0\x03"), ("a qcow2 image", None, None));
    assert_eq!(disk(b"KDMV\x01\0\0\0"), ("a VMDK image", None, None));
    assert_eq!(disk(b"vhdxfileQ\0E\0"), ("a VHDX image", None, None));
    assert_eq!(disk(&file(2048, &[(1536, b"conectix")])), ("a VHD image", None, None));
    // One active partition of type 0x83 from sector 2048.
    let entry: &[u8] = b"\x80\x20\x21\x00\x83\xfe\xff\xff\x00\x08\x00\x00\x00\x10\x00\x00";
    let mbr = file(4 << 20, &[(446, entry), (510, b"\x55\xaa")]);
    assert_eq!(disk(&mbr), ("a raw image", Some((TableKind::Mbr, 1)), None));
    let swap = file(1 << 20, &[(4086, b"SWAPSPACE2")]);
    assert_eq!(disk(&swap), ("a raw image", None, Some(FileSystemKind::Swap)));
    assert_eq!(
        kind("empty.img", &file(4096, &[])),
        Kind::Disk { format: "a raw image", table: None, file_system: None }
    );
    assert_eq!(kind("zeroes", &file(4096, &[])), Kind::Unknown);
    assert_eq!(kind("disk.img.gz", &gzip(&mbr)), Kind::Packed { packing: "gzip", disk: true });
    assert_eq!(
        kind("x.ova", &file(1024, &[(0, b"vm.vmdk"), (257, b"ustar")])),
        Kind::Packed { packing: "tar", disk: true }
    );
}

#[test]
fn media_and_recordings() {
    let iso = file(17 * 2048, &[(16 * 2048, b"\x01CD001\x01"), (16 * 2048 + 40, b"Debian 12.5.0 amd64 n           ")]);
    assert_eq!(kind("a", &iso), Kind::Iso { label: "Debian 12.5.0 amd64 n".into() });
    assert_eq!(kind("a", b"\xd4\xc3\xb2\xa1\x02\0\x04\0"), Kind::Recording);
    assert_eq!(kind("a", b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a"), Kind::Recording);
}

#[test]
fn answers_and_what_only_looks_like_them() {
    for (text, answers) in [
        ("# Debian\nd-i debian-installer/locale string en_US\n", ProfileKind::Preseed),
        ("lang en_US\nkeyboard us\nautopart\n%packages\n%end\n", ProfileKind::Kickstart),
        ("#cloud-config\nautoinstall:\n  version: 1\n", ProfileKind::Autoinstall),
    ] {
        assert_eq!(kind("a.txt", text.as_bytes()), Kind::Answers(answers));
    }
    for text in ["text\nis what this is\n", "see docs/a for more\n", "[section]\nkey=value\n", "a: b\n"] {
        assert_eq!(kind("notes.txt", text.as_bytes()), Kind::Unknown, "{text}");
    }
}

#[test]
fn configuration_of_other_servers() {
    for (name, text, format) in [
        ("a", "subnet 10.0.0.0 netmask 255.255.255.0 {\n  option routers 10.0.0.1;\n}\n", Format::Dhcpd),
        ("a", "# mine\ninterface=eth0\ndhcp-range=10.0.0.50,10.0.0.150,12h\nenable-tftp\n", Format::Dnsmasq),
        ("a", "{ \"Dhcp4\": { \"subnet4\": [ { \"subnet\": \"10.0.0.0/24\", \"pools\": [] } ] } }\n", Format::Kea),
        ("a", "<target iqn.2001-04.com.server:a>\n  backing-store /dev/vg/a\n</target>\n", Format::Tgt),
        ("boot.ipxe", "#!ipxe\nchain http://x/\n", Format::Script),
    ] {
        assert_eq!(kind(name, text.as_bytes()), Kind::Configuration(format), "{text}");
    }
    assert_eq!(kind("a.json", b"{ \"name\": \"x\" }\n"), Kind::Unknown);
}

#[test]
fn folders_and_what_is_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(recognise(dir.path()).unwrap(), Kind::Folder);
    std::fs::write(dir.path().join("lab.toml"), "version = 1\n").unwrap();
    assert_eq!(recognise(dir.path()).unwrap(), Kind::Lab);
    assert_eq!(kind("nothing", b""), Kind::Empty);
    assert_eq!(kind("a.bin", b"\x01\x02\x03"), Kind::Unknown);
    assert!(recognise(&PathBuf::from("/dev/null")).is_err());
    assert!(recognise(&dir.path().join("gone")).is_err());
}
