//! A file system that is full under the overlays: the machine that writes is told so in the disk's own words, nobody else suffers, nothing
//! acknowledged is lost, and as soon as there is room the writing goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bootyard_tests::bootyard::{LabDir, Serve, is};
use bootyard_tests::client::{self, Program, bytes, flush_cdb, good, log_in, read_cdb, unmap, write_cdb};
use bootyard_tests::disk::sha256;
use bootyard_tests::initiator::Initiator;
use bootyard_tests::ledger::{Ledger, blocks, golden};
use bootyard_tests::load::Load;
use bootyard_tests::netns::Netns;
use bootyard_tests::pxe_client::{Client, Kind};
use bootyard_tests::run;
use fastrand::Rng;

const WRITER: &str = "02:00:00:00:0e:01";
const READER: &str = "02:00:00:00:0e:02";
const LATE: &str = "02:00:00:00:0e:03";
/// Blocks of the golden image, and of the disk that is promised: more than the file system has.
const IMAGE: u64 = 16 << 11;
const DISK: u64 = 256 << 11;
/// MiB of the file system, and of the file whose deletion makes room.
const ROOM: u64 = 80;
const BALLAST: usize = 12;
/// How often a write that finds no room is tried again.
const STUBBORN: u32 = 3000;
/// SPACE ALLOCATION FAILED WRITE PROTECT.
const NO_SPACE: Option<(u8, u16)> = Some((7, 0x2707));

/// A file system of its own, on which a lab is.
struct Mount(PathBuf);

impl Mount {
    fn new(dir: &Path, kind: &str) -> Result<Self> {
        let at = dir.join("lab");
        fs::create_dir_all(&at)?;
        let mut mount = Command::new("mount");
        if kind == "tmpfs" {
            mount.args(["-t", "tmpfs", "-o", &format!("size={ROOM}M"), "bootyard-test"]);
        } else {
            let file = dir.join("lab.img");
            fs::File::create(&file)?.set_len(ROOM << 20)?;
            run::stdout(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&file))?;
            mount.args(["-t", kind, "-o", "loop"]).arg(&file);
        }
        run::stdout(mount.arg(&at))
            .context("a file system of its own is needed: as root, with loop devices for ext4")?;
        Ok(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run::stdout(Command::new("umount").arg(&self.0));
    }
}

/// The machine that writes until there is no room, and what it must find.
struct Writer {
    session: Initiator,
    load: Load,
    number: u64,
}

impl Writer {
    /// Writes so many blocks; the sense, if that failed.
    fn put(&mut self, lba: u64, count: u32) -> Result<Option<(u8, u16)>> {
        let numbers: Vec<u64> = (self.number..).take(usize::try_from(count)?).collect();
        self.number += u64::from(count);
        let answer = self.session.command(&write_cdb(lba, count, false), 0, &blocks(&numbers))?;
        if answer.status == 0 {
            self.load.ledger.written(lba, &numbers)?;
            return Ok(None);
        }
        ensure!(answer.sense.is_some(), "a failure without a reason: {answer:?}");
        self.load.ledger.unsure(lba, &numbers);
        Ok(answer.sense)
    }

    /// Writes from `lba` on, in ever smaller pieces, until not even one block more finds room. The first block that did not.
    fn fill(&mut self, mut lba: u64) -> Result<u64> {
        for count in [128, 8] {
            loop {
                ensure!(lba + u64::from(count) <= DISK, "the disk ended before the file system was full");
                match self.put(lba, count)? {
                    None => lba += u64::from(count),
                    sense => {
                        assert_eq!(sense, NO_SPACE, "at block {lba}");
                        break;
                    }
                }
            }
        }
        Ok(lba)
    }

    fn free(&mut self, lba: u64, count: u32) -> Result<()> {
        let (cdb, list) = unmap(lba, count);
        good(self.session.command(&cdb, 0, &list)?)?;
        self.load.ledger.written(lba, &vec![0; usize::try_from(count)?])
    }

    fn verify(&mut self) -> Result<()> {
        self.load.verify(&mut self.session)
    }
}

/// Reads at random until told to stop; how often.
fn read_on(session: &mut Initiator, ledger: &Ledger, stop: &AtomicBool) -> Result<u64> {
    let mut rng = Rng::with_seed(7);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let lba = rng.u64(0..IMAGE - 128);
        ledger.check(lba, &good(session.command(&read_cdb(lba, 128), bytes(128), &[])?)?)?;
        reads += 1;
        // One of many machines, not a load.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(reads)
}

/// On a file system of this kind; what went on, in a sentence.
fn full(kind: &str) -> Result<String> {
    let name = format!("full-{kind}");
    let _left_by_a_run_that_was_killed = run::stdout(Command::new("umount").arg(leftover(&name)?));
    let dir = run::scratch(&name)?;
    let _mount = Mount::new(&dir, kind)?;
    let bench = Netns::bench(&name, Some("192.168.77.1/24"))?;
    let mut lab = LabDir::at(dir, "mode = \"dhcp\"\nrange = \"192.168.77.20-192.168.77.40\"")?;
    let image = lab.path().join("disks/room.raw");
    fs::write(&image, blocks(&(0..IMAGE).map(golden).collect::<Vec<_>>()))?;
    let before = sha256(&image)?;
    lab.add("\n[[disk]]\nname = \"room\"\nimage = \"room.raw\"\nwrites = \"keep\"\nsize = \"256M\"\n")?;
    for (mac, host) in [(WRITER, "writer"), (READER, "reader"), (LATE, "late")] {
        lab.add_host(mac, host, r#"{ iscsi = "room" }"#)?;
    }
    let ballast = lab.path().join("ballast");
    fs::write(&ballast, vec![1; BALLAST << 20])?;
    let at = |tag: &str, mac: &str, last: u16| client::plug(&bench, tag, mac, last);
    let (writer_ns, reader_ns, late_ns) =
        (at("writer", WRITER, 101)?, at("reader", READER, 102)?, at("late", LATE, 103)?);
    let mut serve = Serve::start(&bench, &lab)?;

    let disk: Vec<u64> = (0..DISK).map(|lba| if lba < IMAGE { golden(lba) } else { 0 }).collect();
    let load = Load::new(Ledger::new(disk.clone()), 1, 0);
    let session = log_in(&writer_ns, WRITER, "room", Program::System)?;
    let mut writer = Writer { session, load, number: 1 << 48 };
    let mut reader = log_in(&reader_ns, READER, "room", Program::System)?;
    let mut readers = Ledger::new(disk);
    let own: Vec<u64> = (2 << 48..).take(128).collect();
    good(reader.command(&write_cdb(64, 128, false), 0, &blocks(&own))?)?;
    readers.written(64, &own)?;

    let stop = AtomicBool::new(false);
    let (reads, written) = std::thread::scope(|scope| -> Result<(u64, u64)> {
        let reading = scope.spawn(|| read_on(&mut reader, &readers, &stop));
        let written = while_others_read(&bench, &lab, &mut serve, &mut writer, &late_ns, &ballast);
        stop.store(true, Ordering::Relaxed);
        let Ok(reads) = reading.join() else { bail!("the reader panicked") };
        let written = written?;
        Ok((reads.context("the reader")?, written))
    })?;
    assert!(reads > 20, "only {reads} reads went on beside it");

    // Full, killed, started again: all that was acknowledged is there, and room is all that is missing.
    let next = writer.fill(0)?;
    serve.kill9()?;
    let mut serve = Serve::start(&bench, &lab)?;
    writer.session = log_in(&writer_ns, WRITER, "room", Program::System)?;
    writer.verify().context("after a kill while it was full")?;
    writer.free(0, 4 << 11)?;
    assert_eq!(writer.put(next, 128)?, None, "there is room again");
    writer.verify()?;
    let mut reader = log_in(&reader_ns, READER, "room", Program::System)?;
    readers.check(0, &good(reader.command(&read_cdb(0, 2048), bytes(2048), &[])?)?)?;
    assert!(serve.terminate()?.success(), "{}", serve.stderr());
    assert_eq!(sha256(&image)?, before, "the golden image changed");
    assert!(!serve.stderr().contains("panicked"), "{}", serve.stderr());
    Ok(format!("{kind}: {} MiB written until it was full, {reads} reads beside it", written >> 11))
}

/// Where a lab of this name is mounted.
fn leftover(name: &str) -> Result<PathBuf> {
    Ok(run::target_dir()?.join("lab").join(name).join("lab"))
}

/// Fills the file system and makes room again; so many blocks found room at first.
fn while_others_read(
    bench: &Netns,
    lab: &LabDir,
    serve: &mut Serve,
    writer: &mut Writer,
    late: &Netns,
    ballast: &Path,
) -> Result<u64> {
    let written = writer.fill(0)?;
    ensure!(written > IMAGE, "full after {written} blocks: that was no file system of {ROOM} MiB");
    let soon = Duration::from_secs(10);
    let event = serve.wait_for_event("the error", soon, |e| is(e, "iscsi-error", WRITER))?;
    ensure!(event["message"].as_str().is_some_and(|m| m.to_lowercase().contains("no space")), "{event}");
    writer.verify().context("while it is full")?;
    // What is its own already needs no room, nor does a flush.
    ensure!(writer.put(256, 128)?.is_none(), "a block of its own cannot be written any more");
    good(writer.session.command(&flush_cdb(), 0, &[])?)?;

    // A system tries again and again. What is told of it must not take the room that leases need.
    for _ in 0..STUBBORN {
        assert_eq!(writer.put(written, 8)?, NO_SPACE, "there is no room");
    }
    // Nobody new gets on the disk, which says why; addresses are still given.
    let refused = log_in(late, LATE, "room", Program::System).err().context("a new overlay began on a full disk")?;
    assert_eq!(client::refused(&refused), Some(0x0302), "{refused:#}");
    let event = serve.wait_for_event("the refusal", soon, |e| is(e, "iscsi-refused", LATE))?;
    ensure!(event["reason"].as_str().is_some_and(|r| r.contains("make room")), "{event}");
    let newcomer = Client::plug(bench, "new", "02:00:00:00:0e:09")?;
    let told = newcomer.boot(Kind::Os, true)?;
    ensure!(told.ack["yiaddr"].is_string(), "{told:?}");

    // Room is made; nothing is started again.
    fs::remove_file(ballast)?;
    ensure!(writer.put(written, 128)?.is_none(), "there is room and it is not used");
    log_in(late, LATE, "room", Program::System).context("there is room for a new overlay")?.logout()?;
    let next = writer.fill(written + 128)?;
    // A machine can make room itself.
    writer.free(IMAGE, 4 << 11)?;
    ensure!(writer.put(next, 1024)?.is_none(), "what was unmapped is not free");
    writer.verify().context("after room was made")?;
    let listed = run::stdout(&mut lab.command(bench, &["events"])?)?;
    ensure!(listed.to_lowercase().contains("no space"), "{listed}");
    Ok(written)
}

#[test]
fn a_full_tmpfs() -> Result<()> {
    println!("{}", full("tmpfs")?);
    Ok(())
}

#[test]
#[ignore = "needs loop devices: tests/run --long full-disk-ext4"]
fn a_full_ext4() -> Result<()> {
    println!("{}", full("ext4")?);
    Ok(())
}
