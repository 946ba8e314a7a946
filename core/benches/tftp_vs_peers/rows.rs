//! What is measured and what is asked for.

use std::time::Duration;

const MIB: usize = 1 << 20;

/// What is between server and client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A veth pair.
    Quiet,
    /// Two taps and a program between them that keeps each packet for [`DELAY`] and loses [`LOSS`] of them.
    Lossy,
}

/// How long a packet is on the lossy wire, each way.
pub(crate) const DELAY: Duration = Duration::from_millis(1);
/// Which part of the packets is lost, each way.
pub(crate) const LOSS: f64 = 0.01;

/// What is asked for against the best of the others in the same figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// So many times as fast at least, for this part of the CPU time at most.
    Faster(f64, f64),
    /// The median time of a transfer is this part of theirs at most.
    Median(f64),
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// For `--rows`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) wire: Wire,
    /// Of each transfer.
    pub(crate) bytes: usize,
    /// Transfers at once.
    pub(crate) clients: usize,
    pub(crate) block: u16,
    pub(crate) window: u16,
    /// Processors are kept from going to sleep meanwhile, for all servers.
    pub(crate) awake: bool,
    pub(crate) wanted: Wanted,
}

impl Row {
    /// How often the row is run. On the lossy wire about half of a server's transfers meet a loss that its timer of some seconds must
    /// mend, and half do not: the median of few transfers is a matter of luck.
    pub(crate) fn runs(&self, repeats: u64) -> u64 {
        match self.wire {
            Wire::Quiet => repeats,
            Wire::Lossy => repeats * 2,
        }
    }

    pub(crate) fn file(&self) -> String {
        format!("{}.bin", self.name)
    }
}

const fn quiet(name: &'static str, title: &'static str, mib: usize, block: u16, window: u16, wanted: Wanted) -> Row {
    Row { name, title, wire: Wire::Quiet, bytes: mib * MIB, clients: 1, block, window, awake: true, wanted }
}

/// The same row where processors may sleep. With few packets at a time both of a small machine fall asleep twice in each round, and
/// waking one costs (in a virtual machine) more than any server does: awake, a row measures the servers; asleep, the machine.
const fn asleep(name: &'static str, row: Row) -> Row {
    Row { name, title: "the same, processors may sleep between", awake: false, ..row }
}

const fn lossy(name: &'static str, title: &'static str, window: u16, part: f64) -> Row {
    let (wire, wanted) = (Wire::Lossy, Wanted::Median(part));
    Row { name, title, wire, bytes: MIB, clients: 9, block: 1468, window, awake: false, wanted }
}

const LOCK_STEP: Row = quiet("lock-step", "lock-step, blocks of 1468", 64, 1468, 1, Wanted::Faster(0.95, 1.15));
const WINDOW_4: Row = quiet("window-4", "window 4", 192, 1468, 4, Wanted::Faster(1.15, 0.8));

/// The acceptance table.
pub(crate) const ROWS: &[Row] = &[
    LOCK_STEP,
    asleep("lock-step-asleep", LOCK_STEP),
    quiet("lock-step-512", "lock-step, blocks of 512", 64, 512, 1, Wanted::Faster(0.95, 1.15)),
    WINDOW_4,
    asleep("window-4-asleep", WINDOW_4),
    quiet("window-16", "window 16", 256, 1468, 16, Wanted::Faster(1.3, 0.6)),
    Row { clients: 50, ..quiet("fifty", "fifty clients, window 4", 8, 1468, 4, Wanted::Faster(1.3, 0.6)) },
    lossy("loss-1", "1 ms and 1 % loss each way, lock-step", 1, 0.35),
    lossy("loss-4", "the same, window 4", 4, 0.15),
    lossy("loss-16", "the same, window 16", 16, 0.15),
];
