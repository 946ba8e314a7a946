//! Data that the kernel sends from the disk's file: when, and what happens where it can't.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use super::*;
use crate::disks::{Extent, OpenRequest, OverlayKey, Store};
use crate::lab::Writes;

const SIZE: u64 = 1 << 20;
/// What the disk's file has, and what the disk says when it is read: who looks at the data knows where they came from.
const STORED: u8 = 0x11;
const READ: u8 = 0x22;

/// Has two contents. The first byte of the one is at this place of the file.
#[derive(Debug)]
struct TwoFaced(Arc<File>, u64);

impl BlockDevice for TwoFaced {
    fn size(&self) -> u64 {
        SIZE
    }
    fn readonly(&self) -> bool {
        true
    }
    fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<()> {
        buf.fill(READ);
        Ok(())
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn extent(&self, offset: u64, len: u64) -> Option<Extent> {
        Some(Extent { file: self.0.clone(), offset: self.1 + offset, len })
    }
    fn allocation(&self, _: u64) -> io::Result<(Allocation, u64)> {
        Ok((Allocation::Mapped, 512))
    }
}

fn sending(file: File, from: u64) -> (Service, Reports) {
    sharing(Arc::new(TwoFaced(Arc::new(file), from)))
}

fn file_of(len: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![STORED; usize::try_from(len).unwrap()]).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// An initiator with or without digests of its data.
struct Reader {
    initiator: Initiator,
    framing: Framing,
}

impl Reader {
    fn login(service: &Service, data_digest: bool) -> Self {
        let mut initiator = Initiator::connect(service);
        let keys = if data_digest { "DataDigest=CRC32C\0" } else { "" };
        assert_eq!(initiator.login_with(1, keys), 0);
        let mut reader = Self { initiator, framing: Framing { data_digest, ..Framing::login(u32::MAX) } };
        reader.ask(&[0], 0);
        reader.answer();
        reader
    }

    fn command(&mut self, cdb: &[u8], expected: u32) -> Vec<u8> {
        let command = self.initiator.request(cdb, false, expected);
        Frame::new(command.encode().unwrap(), Payload::None, &self.framing).parts().concat()
    }

    fn ask(&mut self, cdb: &[u8], expected: u32) {
        let bytes = self.command(cdb, expected);
        self.initiator.stream.write_all(&bytes).unwrap();
    }

    /// Data and status of a command; `None` at the end of the connection.
    fn answer(&mut self) -> Option<(Vec<u8>, u8)> {
        let mut all = Vec::new();
        loop {
            let buffer = &mut self.initiator.buffer;
            if let Parsed::Pdu { raw, used } = self.framing.parse(buffer.make_contiguous()).unwrap() {
                let status = match Response::decode(raw.bhs) {
                    Some(Response::DataIn { status, offset, .. }) => {
                        assert_eq!(offset as usize, all.len());
                        status
                    }
                    Some(Response::Scsi { status, .. }) => Some(status),
                    other => panic!("{other:?}"),
                };
                all.extend_from_slice(raw.data);
                buffer.drain(..used);
                if let Some(status) = status {
                    return Some((all, status));
                }
                continue;
            }
            let mut chunk = [0; 4096];
            match self.initiator.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.initiator.buffer.extend(&chunk[..n]),
            }
        }
    }

    fn read(&mut self, blocks: u16) -> Option<(Vec<u8>, u8)> {
        self.ask(&read(blocks), u32::from(blocks) * 512);
        self.answer()
    }

    fn write(&mut self, lba: u16, data: &[u8]) {
        let cdb = ten(0x2a, lba, u16::try_from(data.len() / 512).unwrap());
        let command = self.initiator.request(&cdb, true, u32::try_from(data.len()).unwrap());
        self.initiator.send(&command, data);
        assert_eq!(self.answer(), Some((Vec::new(), 0)));
    }
}

/// READ or WRITE of ten bytes.
fn ten(opcode: u8, lba: u16, blocks: u16) -> [u8; 10] {
    let ([from_high, from_low], [high, low]) = (lba.to_be_bytes(), blocks.to_be_bytes());
    [opcode, 0, 0, 0, from_high, from_low, 0, high, low, 0]
}

fn read(blocks: u16) -> [u8; 10] {
    ten(0x28, 4, blocks)
}

/// All of one kind, and no error.
fn of(byte: u8, blocks: usize) -> Option<(Vec<u8>, u8)> {
    Some((vec![byte; blocks * 512], 0))
}

#[test]
#[cfg(target_os = "linux")]
fn large_reads_are_sent_from_the_file_and_many_small_ones_in_one_copy() {
    let (service, _reports) = sending(file_of(SIZE), 0);
    let mut reader = Reader::login(&service, false);
    for (blocks, from) in [(1, READ), (7, READ), (8, STORED), (64, STORED), (1000, STORED)] {
        assert!(reader.read(blocks) == of(from, blocks.into()), "{blocks} blocks");
    }
    // Two together, and eight; what is alone is as before.
    for (blocks, many, from) in [(8, 2, READ), (32, 2, STORED), (32, 8, READ), (64, 8, STORED)] {
        let command: Vec<u8> = (0..many).flat_map(|_| reader.command(&read(blocks), u32::from(blocks) * 512)).collect();
        reader.initiator.stream.write_all(&command).unwrap();
        for n in 0..many {
            assert!(reader.answer() == of(from, blocks.into()), "{n} of {many} with {blocks} blocks");
        }
    }
    // Nobody has the digest of what stays in its file.
    let mut reader = Reader::login(&service, true);
    assert!(reader.read(64) == of(READ, 64));
    service.stop();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_file_that_cannot_be_read_ends_the_connection_and_is_read_otherwise_from_then_on() {
    // 100 blocks are missing at the end of what is asked for.
    let (service, mut reports) = sending(file_of(400 * 512), 0);
    let mut reader = Reader::login(&service, false);
    assert!(reader.read(300) == of(STORED, 300));
    // Its header says that all is well: there is no other way to take that back.
    assert!(reader.read(500).is_none());
    // The initiator comes back and asks again.
    let mut again = Reader::login(&service, false);
    assert!(again.read(500) == of(READ, 500));
    service.stop();
    let told = reports.next().await;
    let error = told.iter().find_map(|report| match &report.observation.kind {
        EventKind::IscsiError { lba, message, .. } => Some((*lba, message.clone())),
        _ => None,
    });
    let (lba, message) = error.expect("people are told");
    assert_eq!(lba, 400);
    assert!(message.starts_with("the disk could not be read at byte 204800"), "{message}");
}

#[test]
#[cfg(target_os = "linux")]
fn what_the_kernel_cannot_send_is_read_and_sent() {
    // Of this process's own memory there are no pages to send.
    let memory = vec![STORED; usize::try_from(SIZE).unwrap()];
    let start = memory.as_ptr().expose_provenance() as u64;
    let (service, _reports) = sending(File::open("/proc/self/mem").unwrap(), start);
    let mut reader = Reader::login(&service, false);
    assert!(reader.read(200) == of(STORED, 200), "the header was sent, and so are the data");
    assert!(reader.read(200) == of(READ, 200), "it is not tried again");
    let mut next = Reader::login(&service, false);
    assert!(next.read(200) == of(READ, 200), "nor for the next session");
    service.stop();
    drop(memory);
}

#[test]
fn what_is_read_is_what_was_written_wherever_it_lies() {
    const BLOCKS: u16 = 4096;
    let dir = tempfile::tempdir().unwrap();
    for writes in [Writes::Image, Writes::Keep] {
        let mut noise = 7_u32;
        let mut random = move || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 16) as u16
        };
        let mut model: Vec<u8> = (0..usize::from(BLOCKS) * 256).flat_map(|_| random().to_be_bytes()).collect();
        std::fs::write(dir.path().join("a.raw"), &model).unwrap();
        let store = Store::new(dir.path().to_owned());
        let disk = crate::lab::Disk::new("a".parse().unwrap(), "a.raw".into(), writes);
        let (key, label) = (OverlayKey::Initiator("iqn.i".into()), "one".into());
        let opened = store.open(&OpenRequest { disk: &disk, key, label, fresh_epoch: None }).unwrap();
        let (service, _reports) = sharing(opened);
        let mut reader = Reader::login(&service, false);
        for round in 0..300 {
            let blocks = 1 + random() % 100;
            let lba = random() % (BLOCKS - blocks);
            let data = vec![random() as u8; usize::from(blocks) * 512];
            reader.write(lba, &data);
            model[usize::from(lba) * 512..][..data.len()].copy_from_slice(&data);
            // A few at a time, small and large, of its own and of the image's.
            let asked: Vec<(u16, u16)> = (0..1 + random() % 6)
                .map(|_| (1 + random() % if random() % 2 == 0 { 16 } else { 300 }, random()))
                .map(|(blocks, at)| (at % (BLOCKS - blocks), blocks))
                .collect();
            let commands: Vec<u8> = asked
                .iter()
                .flat_map(|&(lba, blocks)| reader.command(&ten(0x28, lba, blocks), u32::from(blocks) * 512))
                .collect();
            reader.initiator.stream.write_all(&commands).unwrap();
            for (lba, blocks) in asked {
                let expected = &model[usize::from(lba) * 512..][..usize::from(blocks) * 512];
                let (data, status) = reader.answer().unwrap();
                assert!(status == 0 && data == expected, "{writes:?}, round {round}: {blocks} blocks from {lba}");
            }
        }
        service.stop();
    }
}
