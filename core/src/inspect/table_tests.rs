use std::sync::Arc;

use super::*;
use crate::inspect::cpio::tests::piped;

fn table(bytes: Vec<u8>) -> Table {
    read(&Window::whole(bytes, 1 << 30, Arc::default()))
}

/// What sfdisk makes of a script on an empty disk of so many MiB.
fn made(mib: usize, script: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len((mib as u64) << 20).unwrap();
    piped("sfdisk", &["--quiet", path.to_str().unwrap()], "fdisk", script.as_bytes());
    std::fs::read(path).unwrap()
}

const GPT: &str = "label: gpt\n\
    start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n\
    start=4096, size=4096, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=12345678-9ABC-DEF0-1234-56789ABCDEF0\n\
    start=8192, size=4096, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n";

#[test]
fn a_gpt_is_read_and_its_backup_when_the_first_is_lost() {
    let good = made(8, GPT);
    let mut lost = good.clone();
    lost[512..1024].fill(0);
    let mut lying = good.clone();
    lying[512 + 80] = 1;
    for disk in [good.clone(), lost, lying] {
        let table = table(disk);
        assert_eq!(table.kind, TableKind::Gpt);
        let parts: Vec<_> = table.parts.iter().map(|p| (p.number, p.start >> 20, p.size >> 20, p.role)).collect();
        let (bios, esp, data) = (PartitionRole::BiosBoot, PartitionRole::Esp, PartitionRole::Data);
        assert_eq!(parts, [(1, 1, 1, bios), (2, 2, 2, esp), (3, 4, 2, data)]);
        assert_eq!(table.parts[1].uuid.as_deref(), Some("12345678-9abc-def0-1234-56789abcdef0"));
    }
}

#[test]
fn an_mbr_has_logical_partitions_and_an_active_one() {
    let disk = made(
        16,
        "label: dos\nstart=2048, size=2048, type=83, bootable\nstart=4096, size=20480, type=5\n\
         start=6144, size=2048, type=8e\nstart=12288, size=2048, type=82\n",
    );
    let table = table(disk);
    let parts: Vec<_> = table.parts.iter().map(|p| (p.number, p.start >> 20, p.size >> 20, p.role, p.active)).collect();
    assert_eq!(
        parts,
        [
            (1, 1, 1, PartitionRole::Data, true),
            (5, 3, 1, PartitionRole::Lvm, false),
            (6, 6, 1, PartitionRole::Swap, false)
        ]
    );
    assert_eq!(table.kind, TableKind::Mbr);
}

#[test]
fn a_chain_of_logical_partitions_that_is_a_circle_ends() {
    let mut disk = made(16, "label: dos\nstart=2048, size=20480, type=5\nstart=4096, size=2048, type=83\n");
    // The next table is this one.
    let at = 2048 * 512 + 462;
    disk[at + 4] = 5;
    disk[at + 8..at + 16].copy_from_slice(&[0, 0, 0, 0, 0, 8, 0, 0]);
    assert_eq!(table(disk).parts.len(), LONGEST_CHAIN);
}

#[test]
fn a_file_system_on_the_whole_disk_is_no_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len(4 << 20).unwrap();
    piped("mkfs.fat", &[path.to_str().unwrap()], "dosfstools", b"");
    assert_eq!(table(std::fs::read(path).unwrap()).kind, TableKind::None);
    assert_eq!(table(vec![0; 4096]).kind, TableKind::None);
    assert_eq!(table(vec![0; 100]).kind, TableKind::None);
}

proptest::proptest! {
    #[test]
    fn a_damaged_table_is_told_and_nothing_else(at: Vec<(u16, u8)>, cut: u16) {
        // The parts that matter of the disk above.
        let mut bytes = vec![0; 34 * 512];
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes[450] = 0xee;
        bytes[458] = 1;
        for (index, byte) in at {
            let index = usize::from(index) % bytes.len();
            bytes[index] = byte;
        }
        fuzz(&bytes);
        fuzz(&bytes[..usize::from(cut) % bytes.len()]);
    }
}

#[test]
fn partitions_that_share_bytes_are_found_and_an_iso_for_sticks_is_none() {
    // sfdisk refuses to make one: the second entry is moved into the first.
    let mut disk = made(16, "label: dos\nstart=2048, size=8192, type=83\nstart=12288, size=2048, type=ef\n");
    let pairs = |disk: &[u8]| {
        let window = Window::whole(disk.to_vec(), 1 << 30, Arc::default());
        let table = read(&window);
        overlaps(&window, &table.parts)
    };
    assert!(pairs(&disk).is_empty());
    let second = 446 + 16 + 8;
    disk[second..second + 4].copy_from_slice(&10_239u32.to_le_bytes());
    assert_eq!(pairs(&disk), [[1, 2]], "one sector is enough");
    disk[second..second + 4].copy_from_slice(&10_240u32.to_le_bytes());
    assert!(pairs(&disk).is_empty(), "one behind the other is well");
    disk[second..second + 4].copy_from_slice(&4096u32.to_le_bytes());
    disk[16 * 2048 + 1..][..5].copy_from_slice(b"CD001");
    assert!(pairs(&disk).is_empty());
}
