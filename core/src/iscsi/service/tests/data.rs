//! Data on their way: straight to their place, past a disk that hangs, and what a session at rest keeps.

use std::io::Write;
use std::sync::{Condvar, Mutex};

use super::*;
use crate::iscsi::wire::request::DataOut;

const SIZE: usize = 1 << 20;
/// Reading this block lasts until [`Memory::release`].
const HANGS: u64 = 9;

/// A disk in memory, one block of which hangs.
#[derive(Debug)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    hangs: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Memory {
    fn release(&self) {
        self.hangs.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn hanging(&self) -> bool {
        self.hangs.lock().unwrap().0
    }
}

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        SIZE as u64
    }
    fn readonly(&self) -> bool {
        false
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset == HANGS * 512 {
            let mut hangs = self.hangs.lock().unwrap();
            hangs.0 = true;
            while !hangs.1 {
                hangs = self.changed.wait(hangs).unwrap();
            }
        }
        buf.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..][..buf.len()]);
        Ok(())
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.bytes.lock().unwrap()[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn allocation(&self, _: u64) -> io::Result<(Allocation, u64)> {
        Ok((Allocation::Mapped, 512))
    }
}

fn in_memory() -> (Service, Arc<Memory>) {
    let disk =
        Arc::new(Memory { bytes: Mutex::new(vec![0; SIZE]), hangs: Mutex::default(), changed: Condvar::default() });
    let (service, _reports) = sharing(disk.clone());
    (service, disk)
}

fn session(service: &Service, isid: u8) -> Initiator {
    let mut initiator = Initiator::connect(service);
    assert_eq!(initiator.login(isid), 0);
    let _attention = initiator.command(&[0], false, 0, &[]);
    initiator
}

fn read(lba: u8, blocks: u16) -> [u8; 10] {
    let [high, low] = blocks.to_be_bytes();
    [0x28, 0, 0, 0, 0, lba, 0, high, low, 0]
}

fn good(response: Option<&Response>) -> bool {
    matches!(response, Some(Response::Scsi { status: 0, .. } | Response::DataIn { status: Some(0), .. }))
}

#[test]
fn a_disk_that_hangs_stalls_only_the_session_that_asked() {
    let (service, disk) = in_memory();
    let mut stuck = session(&service, 1);
    let mut other = session(&service, 2);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| stuck.command(&read(HANGS as u8, 1), false, 512, &[]));
        until(|| disk.hanging());
        // The same disk and unit, a session that is there already and one that comes now, reads and writes.
        assert!(good(other.command(&read(0, 1), false, 512, &[]).as_ref()));
        let mut third = session(&service, 3);
        let write = [0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0];
        assert!(good(third.command(&write, true, 512, &[7; 512]).as_ref()));
        assert_eq!(service.sessions().len(), 3);
        assert!(!waiting.is_finished());
        disk.release();
        assert!(good(waiting.join().unwrap().as_ref()));
    });
    service.stop();
}

/// Sends a PDU in pieces, with a pause after each.
fn dribble(initiator: &mut Initiator, request: &Request, data: &[u8], cuts: &[usize]) {
    let framing = Framing::login(u32::MAX);
    let frame = Frame::new(request.encode().unwrap(), Payload::Owned(data.to_vec()), &framing);
    let bytes = frame.parts().concat();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        initiator.stream.write_all(&bytes[from..to]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        from = to;
    }
}

fn write_command(initiator: &mut Initiator, expected: u32) -> Request {
    let mut cdb = [0; 16];
    cdb[0] = 0x2a;
    cdb[7..9].copy_from_slice(&((expected / 512) as u16).to_be_bytes());
    let (itt, cmd_sn) = (initiator.cmd_sn, initiator.cmd_sn);
    initiator.cmd_sn += 1;
    Request::Command(ScsiCommand {
        immediate: false,
        last: true,
        read: false,
        write: true,
        attribute: 1,
        lun: [0; 8],
        itt,
        expected,
        cmd_sn,
        exp_stat_sn: 0,
        cdb,
    })
}

#[test]
fn data_come_to_their_place_however_the_network_cuts_them() {
    let (service, disk) = in_memory();
    let mut initiator = session(&service, 1);
    let noise: Vec<u8> = (0..200_704_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (immediate, solicited) = noise.split_at(60_000);
    let (first, rest) = solicited.split_at(100_000);
    let (second, third) = rest.split_at(512);
    // Cut within a header, after it, and within the data.
    for cuts in [vec![], vec![10], vec![48], vec![48, 49, 30_000], vec![1, 20_000]] {
        disk.bytes.lock().unwrap().fill(0);
        let command = write_command(&mut initiator, noise.len() as u32);
        dribble(&mut initiator, &command, immediate, &cuts);
        let Some(Response::R2t { itt, ttt, offset: 60_000, .. }) = initiator.receive() else { panic!("no R2T") };
        let mut offset = 60_000;
        for (data_sn, data) in [first, second, third].into_iter().enumerate() {
            let out =
                DataOut { last: data_sn == 2, lun: [0; 8], itt, ttt, exp_stat_sn: 0, data_sn: data_sn as u32, offset };
            let cuts: &[usize] = if data.len() > 40_000 { &cuts } else { &[] };
            dribble(&mut initiator, &Request::DataOut(out), data, cuts);
            offset += data.len() as u32;
        }
        let status = initiator.receive();
        assert!(good(status.as_ref()), "{cuts:?}: {status:?}");
        assert!(disk.bytes.lock().unwrap()[..noise.len()] == noise, "{cuts:?}: other data were written");
    }
    service.stop();
}

#[test]
fn much_data_for_the_wrong_place_fail_the_command_and_nothing_is_written() {
    let (service, disk) = in_memory();
    let mut initiator = session(&service, 1);
    for (skew, ahead) in [(512_i64, 0), (-512, 0), (0, 1)] {
        let command = write_command(&mut initiator, 65_536);
        initiator.send(&command, &[1; 32_768]);
        let Some(Response::R2t { itt, ttt, offset, .. }) = initiator.receive() else { panic!("no R2T") };
        let offset = (i64::from(offset) + skew) as u32;
        let out = DataOut { last: true, lun: [0; 8], itt, ttt, exp_stat_sn: 0, data_sn: ahead, offset };
        initiator.send(&Request::DataOut(out), &[1; 32_768]);
        let status = initiator.receive();
        assert!(matches!(status, Some(Response::Scsi { status: 2, .. })), "{status:?}");
    }
    assert!(disk.bytes.lock().unwrap().iter().all(|byte| *byte == 0));
    // The session goes on.
    assert!(good(initiator.command(&read(0, 1), false, 512, &[]).as_ref()));
    service.stop();
}

/// Resident memory of this process, bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
#[cfg(target_os = "linux")]
fn a_session_at_rest_keeps_less_than_half_a_mebibyte() {
    const SESSIONS: u8 = 100;
    let (service, _disk) = in_memory();
    let before = resident();
    let mut all: Vec<Initiator> = (0..SESSIONS).map(|isid| session(&service, isid)).collect();
    for initiator in &mut all {
        let command = write_command(initiator, 65_536);
        initiator.send(&command, &[1; 65_536]);
        assert!(good(initiator.receive().as_ref()));
        let data = initiator.command(&read(0, 512), false, 262_144, &[]);
        let mut last = data;
        while !good(last.as_ref()) {
            last = initiator.receive();
        }
        initiator.buffer = VecDeque::new();
    }
    // Other tests run in this process meanwhile; the limit has room for them.
    let limit = u64::from(SESSIONS) << 19;
    until(|| resident().saturating_sub(before) < limit);
    service.stop();
}
