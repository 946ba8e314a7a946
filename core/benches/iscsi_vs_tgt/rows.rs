//! What is measured and what is asked for.

use crate::Fallible;
use crate::clients::{perf, qemu};
use crate::common::Run;

/// The byte that is written.
pub(crate) const PATTERN: u8 = 0x5a;

/// Which LUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// An image of its own: read and written in place.
    Plain,
    /// The golden image. Ours: each initiator through a fresh overlay; tgt: one file for all.
    Golden,
}

/// How a row is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// `qemu-img bench`: so many MiB a second of `--seconds`, in requests of `size` bytes, `step` apart.
    Qemu { mib: u32, size: u32, step: u32, depth: u32, write: bool },
    /// `iscsi-perf`, random reads for `--seconds`, by so many processes at once.
    Perf { blocks: u32, depth: u32, sessions: u32 },
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// For `--rows`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) disk: Disk,
    work: Work,
    /// Processors are kept from going to sleep meanwhile, for both targets.
    pub(crate) awake: bool,
    /// How often each target does it.
    pub(crate) repeats: usize,
    /// None: the row is shown for what it tells and not judged.
    pub(crate) wanted: Option<Wanted>,
}

/// What a row has to come to.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// At least so many times as fast as tgt.
    pub(crate) faster: f64,
    /// At most this part of tgt's CPU time for the same work.
    pub(crate) cpu: f64,
}

const fn sequential(depth: u32, write: bool) -> Work {
    Work::Qemu { mib: if write { 512 } else { 1024 }, size: 1 << 20, step: 1 << 20, depth, write }
}

/// The acceptance table.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "seq-read-8",
        title: "sequential read 1 MiB, depth 8",
        disk: Disk::Plain,
        work: sequential(8, false),
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 1.8, cpu: 0.40 }),
    },
    Row {
        name: "seq-read-32",
        title: "sequential read 1 MiB, depth 32",
        disk: Disk::Plain,
        work: sequential(32, false),
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 1.8, cpu: 0.40 }),
    },
    Row {
        name: "rand-read-32",
        title: "random read 4 KiB, depth 32",
        disk: Disk::Plain,
        work: Work::Perf { blocks: 8, depth: 32, sessions: 1 },
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 2.0, cpu: 0.33 }),
    },
    // With one request at a time both processors of a small machine fall asleep twice in each, and to wake one takes longer than the
    // request, in a virtual machine several times as long. Bootyard's target asks the kernel to wake quickly while it moves much
    // (`net::QuickWaking`), which root may; tgt does not.
    Row {
        name: "rand-read-1",
        title: "random read 4 KiB, depth 1",
        disk: Disk::Plain,
        work: Work::Perf { blocks: 8, depth: 1, sessions: 1 },
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 1.5, cpu: 0.35 }),
    },
    // What the two programs themselves take, without that: what it costs to wake is left out for both. Two processors of a virtual machine
    // are now nearer to each other and now farther, a quarter more or less for either target, and a bare loop of recv, send and sendfile
    // is at 0.33 to 0.36 of tgt: it is shown for what it tells.
    Row {
        name: "rand-read-1-awake",
        title: "the same, processors kept awake for both",
        disk: Disk::Plain,
        work: Work::Perf { blocks: 8, depth: 1, sessions: 1 },
        awake: true,
        repeats: 15,
        wanted: None,
    },
    Row {
        name: "rand-write-32",
        title: "random write 4 KiB, depth 32",
        disk: Disk::Plain,
        // A step of a prime number of blocks comes to all places in no order that a cache could use.
        work: Work::Qemu { mib: 128, size: 4096, step: 4096 * 10007, depth: 32, write: true },
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 1.4, cpu: 0.60 }),
    },
    Row {
        name: "seq-write-8",
        title: "sequential write 1 MiB, depth 8",
        disk: Disk::Plain,
        work: sequential(8, true),
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 2.0, cpu: 0.50 }),
    },
    Row {
        name: "sessions-30",
        title: "30 sessions, random read 16 KiB, depth 4",
        disk: Disk::Golden,
        work: Work::Perf { blocks: 32, depth: 4, sessions: 30 },
        awake: false,
        repeats: 5,
        wanted: Some(Wanted { faster: 2.0, cpu: 0.35 }),
    },
];

impl Row {
    /// Does it once. The CPU time is left to the caller.
    pub(crate) fn run(&self, url: &str, seconds: u32) -> Fallible<Run> {
        match self.work {
            Work::Qemu { mib, size, step, depth, write } => {
                let count = (u64::from(mib) << 20) * u64::from(seconds) / u64::from(size);
                qemu(url, count, size, step, depth, write)
            }
            Work::Perf { blocks, depth, sessions } => perf(url, blocks, depth, sessions, seconds),
        }
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self.work, Work::Qemu { write: true, .. })
    }

    /// Told in MB/s and seconds a GiB, not in requests.
    pub(crate) fn large(&self) -> bool {
        matches!(self.work, Work::Qemu { size, .. } if size >= 1 << 20)
    }
}
