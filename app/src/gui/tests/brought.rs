//! Files dropped onto the window, over a real engine: recognised by their content, each put where it belongs.

use super::labs::Real;
use super::*;

fn bzimage() -> Vec<u8> {
    let mut bytes = vec![0; 0x4000];
    bytes[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes
}

const UNDIONLY: &[u8] = b"\xea\x05\x00\xc0\x07\x66\x9c\x66\x60\x0f\xa8\x0f\xa0\x06\x1e\x66hLRET";

#[test]
fn what_hovers_is_told_before_it_is_let_go() {
    let mut real = Real::new();
    let (disk, text) = (real.file("thing.bin", b"QFI\xfb\0\0\0\x03"), real.file("notes.txt", b"hello\n"));
    real.hover(&[disk, text.clone()]);
    real.wait_for("thing.bin: a qcow2 disk image; becomes a disk");
    assert!(real.sees("notes.txt: not recognised; can't be used") && real.sees("Let go to bring 2 files in"));
    real.hover(&[text]);
    real.wait_for("Nothing here can be used");
    real.hover(&[]);
    assert!(!real.sees("Nothing here can be used"));
}

#[test]
fn several_files_go_where_each_belongs() {
    let mut real = Real::new();
    let files = [
        real.file("download (1)", &bzimage()),
        real.file("b.bin", b"07070100000001"),
        real.file("answers.txt", b"d-i debian-installer/locale string en_US\n"),
        real.file("disk.bin", b"KDMV\x01\0\0\0"),
    ];
    real.drop_(&files);
    real.wait_for("Add a profile");
    let value = |real: &Real, label: &str| real.value(label);
    assert!(value(&real, "Kernel").ends_with("download (1)"), "{}", value(&real, "Kernel"));
    assert!(value(&real, "Initrds, one a line").ends_with("b.bin"));
    assert!(value(&real, "Answer file, if there is one").ends_with("answers.txt"));
    // One more, into the form that is open.
    let more = real.file("c.bin", b"07070100000002");
    real.drop_(&[more]);
    real.until("a second initrd", |real| {
        real.value("Initrds, one a line").ends_with("b.bin\n") || real.value("Initrds, one a line").ends_with("c.bin")
    });
    real.click("Cancel");
    real.wait_for("Add a disk");
    assert!(value(&real, "Image file").ends_with("disk.bin"));
}

#[test]
fn a_boot_file_is_copied_into_the_lab_and_found_there() {
    let mut real = Real::new();
    let file = real.file("undionly.kpxe", UNDIONLY);
    real.drop_(&[file]);
    real.wait_for("machines of that kind are given it from their next boot on");
    real.click("Add boot file");
    real.wait_for("undionly.kpxe added to firmware/");
    let kept = real.dir.path().join("first/firmware/undionly.kpxe");
    assert_eq!(std::fs::read(&kept).unwrap(), UNDIONLY);
    let found = |real: &Real| {
        let shot = real.snapshot();
        shot.firmware.iter().any(|f| f.path.as_deref().is_some_and(|p| p.ends_with("first/firmware/undionly.kpxe")))
    };
    real.until("the engine's view of it", found);
}

#[test]
fn what_cannot_be_used_says_what_to_do() {
    let mut real = Real::new();
    let mut iso = vec![0; 17 * 2048];
    iso[16 * 2048..16 * 2048 + 7].copy_from_slice(b"\x01CD001\x01");
    iso[16 * 2048 + 40..16 * 2048 + 55].copy_from_slice(b"Fedora-S-dvd-41");
    let files = [
        real.file("a.iso", &iso),
        real.file("dhcpd.conf", b"subnet 10.0.0.0 netmask 255.255.255.0 {\n  option routers 10.0.0.1;\n}\n"),
        real.file("x.bin", b"\x01\x02\x03"),
    ];
    real.drop_(&files);
    real.wait_for("3 files need something first");
    assert!(
        real.sees("images/pxeboot/vmlinuz") && real.sees("bootyard import") && real.sees("Disk images (raw, qcow2")
    );
    real.click("Close");
    assert!(!real.sees("images/pxeboot/vmlinuz"));
}

#[test]
fn more_files_than_are_taken_at_a_time_are_told() {
    let mut real = Real::new();
    let mut files = vec![real.file("disk.bin", b"KDMV\x01\0\0\0")];
    let recording = real.file("a.pcap", b"\xd4\xc3\xb2\xa1\x02\0");
    files.extend(std::iter::repeat_n(recording.clone(), crate::gui::brought::MOST + 1));
    real.hover(&files);
    real.wait_for("At most 200 files are taken at a time; the last 2 are left out.");
    real.hover(&[]);
    // Nothing but these has to be told of them.
    let mut disks = vec![real.file("disk.bin", b"KDMV\x01\0\0\0")];
    let kernel = real.file("linux", &bzimage());
    disks.extend(std::iter::repeat_n(kernel, crate::gui::brought::MOST + 1));
    real.drop_(&disks);
    real.wait_for("Add a profile");
    real.click("Cancel");
    real.wait_for("Add a disk");
    real.click("Cancel");
    real.wait_for("2 files were left out");
    assert!(real.sees("the last 2 are left out. Drop what is left out again."));
}

#[test]
fn a_recording_is_told_machine_by_machine() {
    let mut real = Real::new();
    let recording = include_bytes!("../../../../core/fuzz/corpus/trace-file/boot.pcapng");
    let file = real.file("from a colleague", recording);
    real.drop_(&[file]);
    real.wait_for("machine boots");
    real.click("Close");
    let damaged = real.file("cut.pcap", b"\xd4\xc3\xb2\xa1\x02\0");
    real.drop_(&[damaged]);
    real.wait_for("The recording is damaged");
}

#[test]
fn a_folder_that_is_a_lab_is_opened() {
    let mut real = Real::new();
    let other = real.dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("lab.toml"), "version = 1\n").unwrap();
    real.drop_(&[other]);
    real.wait_for("Lab other");
}

#[test]
fn paths_do_the_same_where_nothing_can_be_dropped() {
    let mut real = Real::new();
    let file = real.file("a.bin", b"vhdxfileQ\0E\0");
    real.key(Modifiers::COMMAND, Key::I);
    real.type_(&file.display().to_string());
    real.harness_click_last("Add files");
    real.wait_for("Add a disk");
    assert!(real.value("Image file").ends_with("a.bin"));
}
