//! An overlay against a plain vector of bytes, through kills and cuts of power, on simulated files; `files` has the tests on real ones.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::api::HostId;
use crate::disks::OverlayKey;

#[path = "overlay_files_tests.rs"]
mod files;

const SECTOR: usize = 512;

/// A file of which the "disk" has only what was synced, and of what came since perhaps some sectors.
#[derive(Debug, Clone)]
struct Sim(Arc<Mutex<SimFile>>, Fuse);

/// How many more writes and syncs of the machine's files are done before the process or the power is gone.
type Fuse = Arc<std::sync::atomic::AtomicI64>;

const INTACT: i64 = i64::MAX / 2;

#[derive(Debug)]
struct SimFile {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors as written since the last sync, in order; the kernel may have put any of them on the disk at any time.
    pending: Vec<(usize, [u8; SECTOR])>,
    full: bool,
    /// Only what was written before has room.
    tight: bool,
    written: BTreeSet<usize>,
}

impl Sim {
    fn new(len: u64) -> Self {
        let bytes = vec![0; usize::try_from(len.next_multiple_of(512)).unwrap()];
        let file = SimFile {
            cached: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
            full: false,
            tight: false,
            written: BTreeSet::new(),
        };
        Self(Arc::new(Mutex::new(file)), Arc::new(INTACT.into()))
    }

    fn with_fuse(self, fuse: &Fuse) -> Self {
        Self(self.0, fuse.clone())
    }

    fn burn(&self) -> io::Result<()> {
        if self.1.fetch_sub(1, Ordering::Relaxed) <= 0 { Err(io::Error::other("gone")) } else { Ok(()) }
    }

    /// Each sector keeps its durable content or gets any of its pending ones.
    fn cut_power(&self, luck: &mut impl FnMut() -> u64) {
        let mut file = self.0.lock().unwrap();
        let pending = std::mem::take(&mut file.pending);
        for (sector, content) in pending {
            if luck().is_multiple_of(3) {
                file.durable[sector * SECTOR..][..SECTOR].copy_from_slice(&content);
            }
        }
        file.cached = file.durable.clone();
    }
}

impl Storage for Sim {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let file = self.0.lock().unwrap();
        buf.copy_from_slice(file.cached.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.burn()?;
        let mut file = self.0.lock().unwrap();
        if file.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = usize::try_from(offset).unwrap();
        let sectors = at / SECTOR..(at + buf.len()).div_ceil(SECTOR);
        if file.tight && !sectors.clone().all(|sector| file.written.contains(&sector)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.written.extend(sectors);
        file.cached[at..at + buf.len()].copy_from_slice(buf);
        for sector in at / SECTOR..(at + buf.len()).div_ceil(SECTOR) {
            let content = file.cached[sector * SECTOR..][..SECTOR].try_into().unwrap();
            file.pending.push((sector, content));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.burn()?;
        let mut file = self.0.lock().unwrap();
        let len = usize::try_from(len.next_multiple_of(512)).unwrap();
        file.cached.resize(len, 0);
        file.durable.resize(len, 0);
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write_at(&vec![0; usize::try_from(len).unwrap()], offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.burn()?;
        let mut file = self.0.lock().unwrap();
        file.durable = file.cached.clone();
        file.pending.clear();
        Ok(())
    }
}

/// An image in memory.
#[derive(Debug)]
struct Golden(Vec<u8>);

impl BlockDevice for Golden {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn readonly(&self) -> bool {
        true
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(self.size(), offset, buf.len() as u64)?;
        buf.copy_from_slice(&self.0[usize::try_from(offset).unwrap()..][..buf.len()]);
        Ok(())
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        panic!("an overlay wrote its image");
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        panic!("an overlay wrote its image");
    }
    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        Ok((Allocation::Mapped, self.size() - offset))
    }
}

fn golden(sectors: usize) -> Arc<Golden> {
    Arc::new(Golden((0..sectors).flat_map(|n| [0x80 | (n % 101) as u8; SECTOR]).collect()))
}

fn header(size: u64) -> Header {
    Header {
        image: uuid::Uuid::nil(),
        generation: 1,
        blake3: "00".repeat(32),
        size,
        block: BLOCK,
        epoch: None,
        key: OverlayKey::Host(HostId(1)),
        label: "one".into(),
    }
}

/// What a sector may read as.
type May = Vec<[u8; SECTOR]>;

/// The machine on which a simulated overlay runs.
struct Bench {
    base: Arc<Golden>,
    data: Sim,
    map: Sim,
    live: Sim,
    journal: Sim,
    fuse: Fuse,
    boot: u32,
    /// Bytes that its host sees; grows.
    size: u64,
    overlay: Option<Overlay>,
    /// An interrupted atomic write: from which sector on, what these could read as before, and with what they were written.
    whole: Option<(usize, Vec<May>, u8)>,
    /// What each sector may read as: its flushed content and all that came since; the last is what it reads as without a cut.
    model: Vec<May>,
}

impl Bench {
    fn new(sectors: usize) -> Self {
        let base = golden(sectors);
        let size = base.size();
        let (map, live) = file_sizes(size);
        let fuse: Fuse = Arc::new(INTACT.into());
        let mut bench = Self {
            data: Sim::new(size).with_fuse(&fuse),
            map: Sim::new(map).with_fuse(&fuse),
            live: Sim::new(live).with_fuse(&fuse),
            journal: Sim::new(0).with_fuse(&fuse),
            fuse,
            boot: 0,
            size,
            overlay: None,
            whole: None,
            model: base.0.chunks(SECTOR).map(|s| vec![s.try_into().unwrap()]).collect(),
            base,
        };
        Map::create(&bench.map, &bench.live, &header(size), "").unwrap();
        for file in [&bench.data, &bench.map, &bench.live] {
            file.sync().unwrap();
        }
        bench.open();
        bench
    }

    fn open(&mut self) {
        let size = self.size;
        let (data, map, live) = (Box::new(self.data.clone()), Box::new(self.map.clone()), Box::new(self.live.clone()));
        let boot = format!("boot {}", self.boot);
        let journal = Journal::new(Box::new(self.journal.clone()));
        let overlay = Overlay::over(self.base.clone(), data, map, live, journal, &header(size), boot).unwrap();
        overlay.finish_atomic().unwrap();
        self.overlay = Some(overlay);
    }

    fn overlay(&self) -> &Overlay {
        self.overlay.as_ref().unwrap()
    }

    /// The process or the power is gone after this many more operations on the files, in the middle of what is being done.
    fn interrupt(&mut self, after: i64, doing: &Step) {
        self.fuse.store(after, Ordering::Relaxed);
        let (sectors, content, done) = match *doing {
            Step::Write(at, len, byte) => {
                let done = self.overlay().write_at(&vec![byte; len * SECTOR], (at * SECTOR) as u64);
                (at..at + len, byte, done)
            }
            Step::Zero(at, len) => {
                (at..at + len, 0, self.overlay().zero((at * SECTOR) as u64, (len * SECTOR) as u64, true))
            }
            Step::Atomic(at, len, byte) => {
                let former = self.model[at..at + len].to_vec();
                let done = self.overlay().write_atomic(&vec![byte; len * SECTOR], (at * SECTOR) as u64);
                if done.is_ok() {
                    self.model.iter_mut().for_each(|m| *m = vec![*m.last().unwrap()]);
                } else {
                    self.whole = Some((at, former, byte));
                }
                (at..at + len, byte, done)
            }
            Step::Grow(by) => {
                let size = self.size + (by * SECTOR) as u64;
                // It is as large as before where it could not be done; what the files got too much is nobody's.
                if self.overlay().grow(size).is_ok() {
                    self.grown(size);
                }
                (0..0, 0, Ok(()))
            }
            Step::Compact => {
                let _whatever_was_freed = self.overlay().compact(&|_, _| {}, &AtomicBool::new(false));
                (0..0, 0, Ok(()))
            }
            _ => {
                let done = self.overlay().flush();
                if done.is_ok() {
                    self.model.iter_mut().for_each(|m| *m = vec![*m.last().unwrap()]);
                }
                (0..0, 0, done)
            }
        };
        for may in &mut self.model[sectors] {
            may.push([content; SECTOR]);
            if done.is_err() {
                // Not acknowledged: the former content is as right.
                let former = may[may.len() - 2];
                may.push(former);
            }
        }
        self.fuse.store(INTACT, Ordering::Relaxed);
    }

    fn grown(&mut self, size: u64) {
        self.size = size;
        self.model.resize(usize::try_from(size).unwrap() / SECTOR, vec![[0; SECTOR]]);
    }

    fn kill(&mut self) {
        // The page cache stays, and nothing of the process runs any more.
        std::mem::forget(self.overlay.take());
        self.open();
        self.check_whole();
    }

    /// All of an interrupted atomic write is there, or nothing of it.
    fn check_whole(&mut self) {
        let Some((at, former, byte)) = self.whole.take() else { return };
        let is = self.read_all();
        let mut is = is.chunks(SECTOR).skip(at).take(former.len()).zip(&former);
        let (new, old) =
            (is.clone().all(|(is, _)| is == [byte; SECTOR]), is.all(|(is, may)| may.iter().any(|m| m == is)));
        assert!(new || old, "an atomic write of {} sectors at {at} is torn", former.len());
    }

    fn cut_power(&mut self, mut luck: impl FnMut() -> u64) {
        std::mem::forget(self.overlay.take());
        for file in [&self.data, &self.map, &self.live, &self.journal] {
            file.cut_power(&mut luck);
        }
        self.boot += 1;
        self.open();
        self.check_whole();
        let all = self.read_all();
        for (n, (is, may)) in all.chunks(SECTOR).zip(&mut self.model).enumerate() {
            assert!(
                may.iter().any(|m| m == is),
                "sector {n} reads as {} after a power cut, may be {:?}",
                is[0],
                may.iter().map(|m| m[0]).collect::<Vec<_>>()
            );
            // It stays what it is until written again; not flushed, though, so the next cut may not change it either.
            *may = vec![is.try_into().unwrap()];
        }
    }

    fn read_all(&self) -> Vec<u8> {
        let mut all = vec![0xff; usize::try_from(self.size).unwrap()];
        self.overlay().read_at(&mut all, 0).unwrap();
        all
    }

    fn check(&self) {
        for (n, (is, may)) in self.read_all().chunks(SECTOR).zip(&self.model).enumerate() {
            assert_eq!(is[0], may.last().unwrap()[0], "sector {n}");
            assert!(is == may.last().unwrap(), "sector {n}");
        }
    }

    fn write(&mut self, sector: usize, count: usize, byte: u8) {
        self.overlay().write_at(&vec![byte; count * SECTOR], (sector * SECTOR) as u64).unwrap();
        self.model[sector..sector + count].iter_mut().for_each(|m| m.push([byte; SECTOR]));
    }

    fn zero(&mut self, sector: usize, count: usize) {
        self.overlay().zero((sector * SECTOR) as u64, (count * SECTOR) as u64, true).unwrap();
        self.model[sector..sector + count].iter_mut().for_each(|m| m.push([0; SECTOR]));
    }

    fn flush(&mut self) {
        self.overlay().flush().unwrap();
        self.model.iter_mut().for_each(|m| *m = vec![*m.last().unwrap()]);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize, u8),
    Zero(usize, usize),
    Atomic(usize, usize, u8),
    Flush,
    /// Write what the image has there.
    Restore(usize, usize),
    /// By so many sectors.
    Grow(usize),
    Compact,
    Close,
    Kill,
    CutPower(u64),
    Full(usize, usize),
    /// After so many operations, in the middle of this; by a cut of power with this luck, or by a kill.
    Interrupted(i64, Box<Step>, Option<u64>),
}

/// A disk whose last block is a short one.
const SECTORS: usize = 8 * 40 + 3;

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..SECTORS, 1..40usize).prop_map(|(at, len)| (at, len.min(SECTORS - at)));
    let interruptible = prop_oneof![
        (range(), 1..=127u8).prop_map(|((at, len), byte)| Step::Write(at, len, byte)),
        range().prop_map(|(at, len)| Step::Zero(at, len)),
        (range(), 1..=127u8).prop_map(|((at, len), byte)| Step::Atomic(at, len, byte)),
        Just(Step::Flush),
        (1..60usize).prop_map(Step::Grow),
        Just(Step::Compact),
    ];
    prop_oneof![
        8 => (range(), 1..=127u8).prop_map(|((at, len), byte)| Step::Write(at, len, byte)),
        4 => range().prop_map(|(at, len)| Step::Zero(at, len)),
        3 => (range(), 1..=127u8).prop_map(|((at, len), byte)| Step::Atomic(at, len, byte)),
        2 => Just(Step::Flush),
        1 => (1..60usize).prop_map(Step::Grow),
        1 => Just(Step::Compact),
        // What the image says, so that there is something to give back.
        2 => range().prop_map(|(at, len)| Step::Restore(at, len)),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::CutPower),
        1 => range().prop_map(|(at, len)| Step::Full(at, len)),
        6 => (0..14i64, interruptible, prop::option::of(any::<u64>()))
            .prop_map(|(after, step, power)| Step::Interrupted(after, Box::new(step), power)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_overlay_is_a_disk_through_kills_and_power_cuts(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(SECTORS);
        for step in steps {
            match step {
                Step::Write(at, len, byte) => bench.write(at, len, byte),
                Step::Zero(at, len) => bench.zero(at, len),
                Step::Atomic(at, len, byte) => {
                    bench.overlay().write_atomic(&vec![byte; len * SECTOR], (at * SECTOR) as u64).unwrap();
                    bench.model[at..at + len].iter_mut().for_each(|m| m.push([byte; SECTOR]));
                    bench.model.iter_mut().for_each(|m| *m = vec![*m.last().unwrap()]);
                }
                Step::Flush => bench.flush(),
                Step::Grow(by) => {
                    let size = bench.size + (by * SECTOR) as u64;
                    bench.overlay().grow(size).unwrap();
                    bench.grown(size);
                }
                Step::Compact => {
                    bench.overlay().compact(&|_, _| {}, &AtomicBool::new(false)).unwrap();
                    bench.model.iter_mut().for_each(|m| *m = vec![*m.last().unwrap()]);
                }
                Step::Restore(at, len) => {
                    let content = bench.base.0[at * SECTOR..][..len * SECTOR].to_vec();
                    bench.overlay().write_at(&content, (at * SECTOR) as u64).unwrap();
                    for (may, sector) in bench.model[at..].iter_mut().zip(content.chunks(SECTOR)) {
                        may.push(sector.try_into().unwrap());
                    }
                }
                Step::Close => {
                    bench.overlay = None;
                    bench.model.iter_mut().for_each(|m| *m = vec![*m.last().unwrap()]);
                    bench.open();
                }
                Step::Kill => bench.kill(),
                Step::CutPower(seed) => {
                    let mut luck = fastrand::Rng::with_seed(seed);
                    bench.cut_power(|| luck.u64(..));
                }
                Step::Interrupted(after, doing, power) => {
                    bench.interrupt(after, &doing);
                    match power {
                        Some(seed) => {
                            let mut luck = fastrand::Rng::with_seed(seed);
                            bench.cut_power(|| luck.u64(..));
                        }
                        None => {
                            bench.kill();
                            // Of what was not acknowledged either is right, and it is that from now on.
                            for (is, may) in bench.read_all().chunks(SECTOR).zip(&mut bench.model) {
                                let [.., before, last] = &may[..] else { continue };
                                if is != last && is == before {
                                    may.push(is.try_into().unwrap());
                                }
                            }
                        }
                    }
                }
                Step::Full(at, len) => {
                    bench.data.0.lock().unwrap().full = true;
                    let full = bench.overlay().write_at(&vec![1; len * SECTOR], (at * SECTOR) as u64).unwrap_err();
                    prop_assert_eq!(full.kind(), io::ErrorKind::StorageFull);
                    bench.data.0.lock().unwrap().full = false;
                }
            }
            bench.check();
        }
    }

    #[test]
    fn runs_and_allocation_agree_with_what_is_read(steps in prop::collection::vec(step(), 1..30), at in 0..SECTORS) {
        let mut bench = Bench::new(SECTORS);
        for step in steps {
            match step {
                Step::Write(at, len, byte) => bench.write(at, len, byte),
                Step::Zero(at, len) => bench.zero(at, len),
                _ => {}
            }
        }
        let (what, len) = bench.overlay().allocation((at * SECTOR) as u64).unwrap();
        prop_assert!(len >= 512 && len.is_multiple_of(512));
        let all = bench.read_all();
        let run = &all[at * SECTOR..][..usize::try_from(len).unwrap()];
        if what == Allocation::Deallocated {
            prop_assert!(run.iter().all(|b| *b == 0));
        }
        let (mut at, end) = (0, all.len() as u64);
        while at < end {
            let (_, stop) = bench.overlay().run(at, end);
            prop_assert!(at < stop && stop <= end);
            at = stop;
        }
    }
}

#[test]
fn a_power_cut_before_any_flush_leaves_the_image_and_never_zeroes() {
    for seed in 0..50 {
        let mut bench = Bench::new(80);
        bench.write(3, 1, 7);
        bench.write(16, 24, 8);
        let mut luck = fastrand::Rng::with_seed(seed);
        bench.cut_power(|| luck.u64(..));
        assert_eq!(bench.read_all(), bench.base.0);
    }
}

#[test]
fn a_page_of_the_map_that_was_torn_leaves_the_one_before_and_is_mended() {
    // Far enough apart that one page of the map speaks of both in different sectors.
    let (near, far) = (10 * 8, 2900 * 8);
    let mut torn = 0;
    for seed in 0..4 {
        let mut luck = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::new(3000 * 8);
        bench.write(near, 8, 1);
        bench.flush();
        bench.write(near + 8, 8, 2);
        bench.write(far, 8, 3);
        // Data is synced, the page written, its sync not done any more.
        bench.interrupt(2, &Step::Flush);
        torn += usize::from(bench.map.0.lock().unwrap().pending.len() > 1);
        bench.cut_power(|| luck.u64(..));
        bench.overlay = None;
        bench.cut_power(|| luck.u64(..));
        bench.check();
    }
    assert!(torn > 0);
}

#[test]
fn a_failed_flush_is_never_forgotten() {
    #[derive(Debug)]
    struct Broken(Sim, AtomicBool);
    impl Storage for Broken {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_at(buf, offset)
        }
        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
            self.0.write_at(buf, offset)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
            self.0.discard(offset, len)
        }
        fn sync(&self) -> io::Result<()> {
            // The kernel tells of a lost page once, and says that all is well from then on.
            if self.1.swap(false, Ordering::Relaxed) { Err(io::Error::other("lost")) } else { Ok(()) }
        }
    }
    let base = golden(80);
    let size = base.size();
    let (map_len, live_len) = file_sizes(size);
    let (data, map, live) = (Sim::new(size), Sim::new(map_len), Sim::new(live_len));
    Map::create(&map, &live, &header(size), "").unwrap();
    // Each time in the same boot of the kernel.
    let open = |breaks: bool| {
        let data = Box::new(Broken(data.clone(), AtomicBool::new(breaks)));
        let (map, live) = (Box::new(map.clone()), Box::new(live.clone()));
        let journal = Journal::new(Box::new(Sim::new(0)));
        Overlay::over(base.clone(), data, map, live, journal, &header(size), "boot".into()).unwrap()
    };
    let read = |overlay: &Overlay, sector: u64| {
        let mut buf = [0; 512];
        overlay.read_at(&mut buf, sector * 512).unwrap();
        buf[0]
    };
    let overlay = open(false);
    overlay.write_at(&[1; 512], 0).unwrap();
    overlay.flush().unwrap();
    drop(overlay);
    let overlay = open(true);
    overlay.write_at(&[2; 512], 8 * 512).unwrap();
    assert!(overlay.flush().is_err());
    overlay.write_at(&[3; 512], 16 * 512).unwrap();
    assert!(overlay.flush().is_err());
    drop(overlay);
    // Of what was not flushed nobody knows what the kernel has lost, the sectors beside it among that: they are the image's again.
    data.write_at(&[0; 4096], 8 * 512).unwrap();
    let overlay = open(false);
    let image = |sector: u64| 0x80 | sector as u8;
    assert_eq!([read(&overlay, 0), read(&overlay, 1)], [1, image(1)]);
    for sector in [8, 9, 16, 17] {
        assert_eq!(read(&overlay, sector), image(sector), "{sector}");
    }
    overlay.write_at(&[4; 512], 9 * 512).unwrap();
    overlay.flush().unwrap();
    drop(overlay);
    let overlay = open(false);
    assert_eq!([8, 9, 10].map(|sector| read(&overlay, sector)), [image(8), 4, image(10)]);
}

#[test]
fn an_atomic_write_that_finds_no_room_changes_nothing() {
    let mut bench = Bench::new(SECTORS);
    bench.write(0, 16, 1);
    bench.flush();
    bench.data.0.lock().unwrap().tight = true;
    let full = bench.overlay().write_atomic(&[2; 24 * SECTOR], 4 * SECTOR as u64).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    bench.check();
    // It is not in the way of what comes then.
    bench.write(4, 4, 3);
    bench.kill();
    bench.check();
    bench.flush();
    bench.cut_power(|| 1);
    bench.check();
    bench.data.0.lock().unwrap().tight = false;
    bench.overlay().write_atomic(&[2; 24 * SECTOR], 4 * SECTOR as u64).unwrap();
    bench.model[4..28].iter_mut().for_each(|m| *m = vec![[2; SECTOR]]);
    bench.cut_power(|| 1);
    bench.check();
}

#[test]
fn after_a_write_that_could_not_be_finished_nothing_is_written_over_it() {
    let mut bench = Bench::new(SECTORS);
    bench.write(0, 16, 1);
    bench.flush();
    for after in 2..12 {
        // The journal is written and synced; then the disk fails, and is well again.
        let former = bench.model[4..28].to_vec();
        bench.fuse.store(after, Ordering::Relaxed);
        let done = bench.overlay().write_atomic(&[9; 24 * SECTOR], 4 * SECTOR as u64);
        bench.fuse.store(INTACT, Ordering::Relaxed);
        match done {
            Ok(()) => bench.model[4..28].iter_mut().for_each(|m| *m = vec![[9; SECTOR]]),
            Err(_) => bench.whole = Some((4, former, 9)),
        }
        if bench.overlay().write_at(&[3; 4 * SECTOR], 6 * SECTOR as u64).is_ok() {
            // Acknowledged: it is there, whatever the journal says.
            bench.whole = None;
            bench.kill();
            assert_eq!(bench.read_all()[6 * SECTOR..][..4 * SECTOR], [3; 4 * SECTOR], "{after}");
        } else {
            assert!(bench.overlay().write_atomic(&[4; SECTOR], 0).is_err(), "{after}");
            assert!(bench.overlay().flush().is_err(), "{after}");
            bench.kill();
        }
        bench.model = bench.read_all().chunks(SECTOR).map(|s| vec![s.try_into().unwrap()]).collect();
        bench.flush();
    }
}
