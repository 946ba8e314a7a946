//! Sanitize operations and atomic writes, as sessions see them.
#![allow(clippy::unwrap_used, reason = "code of tests")]

mod target;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bootyard_core::disks::BlockDevice;
use bootyard_core::iscsi::Service;
use bootyard_core::iscsi::wire::response::Response;
use target::initiator::{Answer, Initiator};
use target::stored::{SIZE, Stored, stored};
use target::{Memory, Open, remembering, serve};

const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const READY: [u8; 6] = [0; 6];
const IN_PROGRESS: Option<(u8, u16)> = Some((2, 0x041b));
const FAILED: Option<(u8, u16)> = Some((3, 0x3103));
const IMMEDIATE: u8 = 0x80;
/// The machine may give a failed one up.
const UNRESTRICTED: u8 = 0x20;

/// A small disk with units that remember, at a target that is started as often as one likes.
struct Bench {
    folder: tempfile::TempDir,
    disk: Arc<Memory>,
    gate: Arc<Open>,
}

impl Bench {
    /// An operation takes so many steps and waits then; `None`: all of them.
    fn new(steps: Option<u32>) -> Self {
        let disk = Memory::new(16 << 20, false);
        disk.write_at(&vec![7; 16 << 20], 0).unwrap();
        *disk.permits.lock().unwrap() = steps;
        let folder = tempfile::tempdir().unwrap();
        let gate = Open { folder: Some(folder.path().to_owned()), ..Open::default() };
        gate.disks.lock().unwrap().insert("d".into(), disk.clone());
        Self { folder, disk, gate: Arc::new(gate) }
    }

    fn start(&self) -> (Service, std::net::SocketAddr) {
        let (service, address, _) = serve(self.gate.clone(), 0);
        (service, address)
    }

    fn all(&self) -> Vec<u8> {
        let mut all = vec![1; 16 << 20];
        self.disk.read_at(&mut all, 0).unwrap();
        all
    }
}

fn erase(flags: u8) -> [u8; 10] {
    [0x48, 0x02 | flags, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn exit_failure_mode(initiator: &mut Initiator) -> Answer {
    initiator.command(&[0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[])
}

/// OVERWRITE with a pattern of two bytes; gives its task tag.
fn overwrite(initiator: &mut Initiator, flags: u8, passes: u8) -> u32 {
    let list = [passes, 0, 0, 2, 0xab, 0xcd];
    initiator.start(&[0x48, 0x01 | flags, 0, 0, 0, 0, 0, 0, 6, 0], true, 6, &list)
}

/// What REQUEST SENSE says of the progress.
fn progress(initiator: &mut Initiator) -> Option<u16> {
    let sense = initiator.command(&[0x03, 0, 0, 0, 18, 0], 18, &[]).data;
    assert!(matches!((sense[2], sense[12], sense[13]), (0, 0, 0) | (2, 4, 0x1b)), "{sense:x?}");
    (sense[2] == 2).then(|| u16::from_be_bytes([sense[16], sense[17]]))
}

fn wait(initiator: &mut Initiator) {
    wait_until(|| initiator.command(&READY, 0, &[]).sense != IN_PROGRESS);
}

#[test]
fn others_are_told_of_it_while_it_lasts_and_nothing_ends_it() {
    let bench = Bench::new(Some(2));
    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    let mut b = Initiator::open(address, "d", "b", 1);
    // One whose data are not there yet when it begins.
    let late = b.start(&WRITE, true, 512, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.receive() else { panic!("no R2T") };
    let itt = overwrite(&mut a, 0, 1);
    wait_until(|| progress(&mut a).is_some_and(|done| done > 0));
    b.give(late, ttt, &[1; 512]);
    assert_eq!(b.answer().sense, IN_PROGRESS, "nobody writes over it");
    // The other commands of its own session are answered.
    assert_eq!(a.command(&READ, 512, &[]).sense, IN_PROGRESS);
    let first = progress(&mut a).unwrap();
    assert_eq!(a.command(&[0x12, 0, 0, 0, 96, 0], 96, &[]).status, 0);
    assert_eq!(b.command(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], 16, &[]).status, 0);
    assert_eq!(b.command(&erase(IMMEDIATE), 0, &[]).sense, IN_PROGRESS, "one at a time");
    // ABORT TASK, LOGICAL UNIT RESET, then the end of its session.
    assert_eq!(a.manage(1, itt), 0);
    assert_eq!(b.manage(5, 0), 0);
    assert_eq!(a.command(&READY, 0, &[]).sense, Some((6, 0x2903)));
    bench.disk.permit(Some(3));
    wait_until(|| progress(&mut a).is_some_and(|now| now > first));
    assert_eq!(a.command(&READY, 0, &[]).sense, IN_PROGRESS);
    drop(a);
    assert_eq!(b.command(&READY, 0, &[]).sense, Some((6, 0x2903)));
    assert_eq!(b.command(&READY, 0, &[]).sense, IN_PROGRESS);
    bench.disk.permit(None);
    wait(&mut b);
    assert_eq!(progress(&mut b), None);
    assert!(bench.all().chunks(2).all(|bytes| bytes == [0xab, 0xcd]));
    assert_eq!(b.command(&WRITE, 0, &[1; 512]).status, 0);
    service.stop();
}

/// A minute is for a machine that is busy with other things.
fn wait_until(mut is: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(std::time::Instant::now() < until, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn its_command_is_answered_at_its_end_or_at_once() {
    let bench = Bench::new(None);
    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    // Three passes, each the inverse of the one before.
    overwrite(&mut a, 0, 0x83);
    assert_eq!(a.answer().status, 0);
    assert!(bench.all().chunks(2).all(|bytes| bytes == [0xab, 0xcd]));
    overwrite(&mut a, 0, 0x82);
    assert_eq!(a.answer().status, 0);
    assert!(bench.all().chunks(2).all(|bytes| bytes == [0xab, 0xcd]), "the last pass is not inverted");
    *bench.disk.permits.lock().unwrap() = Some(0);
    overwrite(&mut a, IMMEDIATE, 1);
    assert_eq!(a.answer().status, 0);
    assert_eq!(a.command(&READY, 0, &[]).sense, IN_PROGRESS);
    bench.disk.permit(None);
    wait(&mut a);
    assert_eq!(a.command(&erase(0), 0, &[]).status, 0);
    assert!(bench.all().iter().all(|byte| *byte == 0));
    service.stop();
}

#[test]
fn it_goes_on_after_a_restart() {
    let bench = Bench::new(Some(3));
    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    overwrite(&mut a, IMMEDIATE, 1);
    assert_eq!(a.answer().status, 0);
    wait_until(|| progress(&mut a).is_some_and(|done| done > 0));
    drop(a);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| service.stop());
        while !stopping.is_finished() {
            // It ends with the piece at which it is.
            std::thread::sleep(Duration::from_millis(200));
            bench.disk.permit(Some(1));
        }
    });
    assert!(bench.folder.path().join("d").exists());
    assert!(bench.all().contains(&7), "it was interrupted");

    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    assert_eq!(a.command(&READY, 0, &[]).sense, IN_PROGRESS);
    bench.disk.permit(None);
    wait(&mut a);
    assert!(bench.all().chunks(2).all(|bytes| bytes == [0xab, 0xcd]));
    assert!(!bench.folder.path().join("d").exists(), "there is nothing to remember");
    service.stop();
}

#[test]
fn another_medium_is_none_of_its_business() {
    let bench = Bench::new(Some(3));
    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    overwrite(&mut a, IMMEDIATE, 1);
    assert_eq!(a.answer().status, 0);
    drop(a);
    // Nobody has it open any more, and the disk in its place is another one.
    wait_until(|| service.sessions().is_empty());
    let other = Memory::new(16 << 20, false);
    other.write_at(&vec![8; 16 << 20], 0).unwrap();
    *other.medium.lock().unwrap() = "another".into();
    bench.gate.disks.lock().unwrap().insert("d".into(), other.clone());
    let mut a = Initiator::open(address, "d", "a", 1);
    assert_eq!(a.command(&WRITE, 0, &[1; 512]).status, 0);
    bench.disk.permit(None);
    assert_eq!(a.command(&erase(0), 0, &[]).status, 0);
    assert_eq!(a.command(&WRITE, 0, &[1; 512]).status, 0);
    drop(a);
    service.stop();
    let mut all = vec![1; 1024];
    other.read_at(&mut all, 0).unwrap();
    assert_eq!(all, [[1; 512], [0; 512]].concat());
}

#[test]
fn who_was_preempted_sanitizes_nothing() {
    let bench = Bench::new(None);
    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    let mut b = Initiator::open(address, "d", "b", 1);
    assert_eq!(a.reserve_out(0, 0, 0, 0xa, 0).status, 0);
    assert_eq!(b.reserve_out(0, 0, 0, 0xb, 0).status, 0);
    assert_eq!(a.reserve_out(1, 5, 0xa, 0, 0).status, 0);
    // Its list comes after it was preempted and aborted.
    let late = a.start(&[0x48, 0x01, 0, 0, 0, 0, 0, 0, 6, 0], true, 6, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = a.receive() else { panic!("no R2T") };
    assert_eq!(b.reserve_out(5, 5, 0xb, 0xa, 0).status, 0);
    a.give(late, ttt, &[1, 0, 0, 2, 0xab, 0xcd]);
    assert_eq!(a.command(&READY, 0, &[]).sense.map(|sense| sense.0), Some(6));
    assert_eq!(b.command(&READY, 0, &[]).status, 0);
    assert!(bench.all().iter().all(|byte| *byte == 7));
    service.stop();
}

#[test]
fn a_failed_one_keeps_the_unit_from_work_as_it_was_ordered() {
    let bench = Bench::new(None);
    bench.disk.broken.store(true, Ordering::SeqCst);
    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    overwrite(&mut a, 0, 1);
    assert_eq!(a.answer().sense, FAILED);
    assert_eq!(a.command(&READ, 512, &[]).sense, FAILED);
    assert_eq!(exit_failure_mode(&mut a).sense, Some((5, 0x2400)), "only a successful one gives it back");
    assert_eq!(a.command(&erase(UNRESTRICTED), 0, &[]).sense, Some((5, 0x2400)));
    drop(a);
    service.stop();

    let (service, address) = bench.start();
    let mut a = Initiator::open(address, "d", "a", 1);
    assert_eq!(a.command(&READ, 512, &[]).sense, FAILED, "a restart mends nothing");
    assert_eq!(a.command(&erase(0), 0, &[]).status, 0);
    assert_eq!(a.command(&READ, 512, &[]).data, [0; 512]);
    // The other order: its machine may give it up.
    overwrite(&mut a, UNRESTRICTED, 1);
    assert_eq!(a.answer().sense, FAILED);
    assert_eq!(a.command(&READ, 512, &[]).sense, FAILED);
    assert_eq!(exit_failure_mode(&mut a).status, 0);
    assert_eq!(a.command(&READ, 512, &[]).status, 0);
    assert_eq!(exit_failure_mode(&mut a).status, 0, "no failure, nothing to do");
    service.stop();
}

#[test]
fn what_is_not_in_a_memory_is_not_offered() {
    let (service, address, _reports) = target::target(0);
    let mut a = Initiator::open(address, "thin", "a", 1);
    assert_eq!(a.command(&erase(0), 0, &[]).sense, Some((5, 0x2000)));
    let report = |a: &mut Initiator, opcode: u8, action: u8| {
        a.command(&[0xa3, 0x0c, 3, opcode, 0, action, 0, 0, 1, 0, 0, 0], 256, &[]).data
    };
    assert_eq!(report(&mut a, 0x48, 2)[1], 1);
    assert_eq!(report(&mut a, 0x9c, 0)[1], 3, "its disk writes atomically");
    service.stop();
    let folder = tempfile::tempdir().unwrap();
    let (service, address, _reports) = remembering(folder.path());
    let mut a = Initiator::open(address, "thin", "a", 1);
    assert_eq!(report(&mut a, 0x48, 2)[1], 3);
    service.stop();
}

#[test]
fn an_overlay_that_was_sanitized_shows_nothing_of_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let image = || blake3::hash(&std::fs::read(folder.path().join("kept.raw")).unwrap());
    let (service, address, _reports) = stored(folder.path());
    let before = image();
    let mut a = Initiator::open(address, "kept", "a", 1);
    assert_eq!(a.command(&WRITE, 0, &[1; 512]).status, 0);
    assert_eq!(a.command(&erase(0), 0, &[]).status, 0);
    drop(a);
    service.stop();
    assert!(!Stored::new(folder.path()).memory().exists());
    let (service, address, _reports) = stored(folder.path());
    let mut a = Initiator::open(address, "kept", "a", 1);
    for block in (0..SIZE / 512).step_by(128) {
        let block = (block as u32).to_be_bytes();
        let read = [0x28, 0, block[0], block[1], block[2], block[3], 0, 0, 128, 0];
        assert!(a.command(&read, 128 * 512, &[]).data.iter().all(|byte| *byte == 0));
    }
    service.stop();
    assert_eq!(image(), before, "its image is untouched");
}

fn write_atomic(blocks: u16) -> [u8; 16] {
    let blocks = blocks.to_be_bytes();
    [0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, blocks[0], blocks[1], 0, 0]
}

/// Says so when it is dropped, in a panic too.
struct Done<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn an_atomic_write_is_read_as_a_whole_or_not_at_all() {
    let bench = Bench::new(None);
    let (service, address) = bench.start();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            let mut a = Initiator::open(address, "d", "a", 1);
            for n in 0..200_u8 {
                assert_eq!(a.command(&write_atomic(64), 0, &[n; 64 * 512]).status, 0);
            }
        });
        for name in ["b", "c"] {
            let done = &done;
            scope.spawn(move || {
                let mut b = Initiator::open(address, "d", name, 1);
                while !done.load(Ordering::SeqCst) {
                    let data = b.command(&[0x28, 0, 0, 0, 0, 8, 0, 0, 64, 0], 64 * 512, &[]).data;
                    assert!(data.iter().all(|byte| *byte == data[0]), "half of a write was read");
                }
            });
        }
    });
    service.stop();
}

#[test]
fn an_atomic_write_wants_all_of_its_data_and_no_boundaries() {
    let folder = tempfile::tempdir().unwrap();
    let (service, address, _reports) = stored(folder.path());
    let mut a = Initiator::open(address, "kept", "a", 1);
    assert_eq!(a.command(&write_atomic(4), 0, &[5; 4 * 512]).status, 0);
    assert_eq!(a.command(&write_atomic(4), 0, &[6; 512]).sense, Some((5, 0x2400)), "a part of it is not it");
    let mut bounded = write_atomic(4);
    bounded[11] = 2;
    assert_eq!(a.command(&bounded, 0, &[6; 4 * 512]).sense, Some((5, 0x2400)));
    let limits = a.command(&[0x12, 1, 0xb0, 0, 64, 0], 64, &[]).data;
    let most = u32::from_be_bytes(limits[44..48].try_into().unwrap());
    assert_eq!(most, 512);
    a.start(&write_atomic(513), true, 513 * 512, &[]);
    assert_eq!(a.answer().sense, Some((5, 0x2400)));
    assert_eq!(
        a.command(&[0x28, 0, 0, 0, 0, 8, 0, 0, 5, 0], 5 * 512, &[]).data,
        [[5; 2048].as_slice(), &[0xaa; 512]].concat()
    );
    service.stop();
}
