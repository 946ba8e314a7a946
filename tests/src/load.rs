//! A machine that works on its disk: several commands under way at once, each block written with a number of its own, and a ledger of
//! what the disk must hold when the connection breaks in the middle of it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use bootyard_core::iscsi::wire::NO_TAG;
use bootyard_core::iscsi::wire::response::Response;
use fastrand::Rng;

use crate::client::{SECTOR, bytes, flush_cdb, good, read_cdb, unmap, write_cdb, write_same_cdb};
use crate::initiator::{Initiator, part, sense};
use crate::ledger::{Ledger, block, blocks};

/// Commands under way at once.
const DEPTH: usize = 6;
/// Blocks of the longest command.
const LONGEST: u32 = 128;

/// A command under way.
#[derive(Debug)]
struct Running {
    lba: u64,
    count: u32,
    /// What it makes of its blocks; nothing for one that reads or flushes.
    numbers: Vec<u64>,
    /// What it gives when it is asked to.
    data: Vec<u8>,
    /// What was read so far.
    read: Vec<u8>,
}

/// How many commands of what kind came to their end, and how many did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Acknowledged commands that changed the disk.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Reads, checked.
    pub reads: u64,
    /// Commands without an answer.
    pub cut: u64,
}

/// Why work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Told,
    /// The connection broke.
    Broken,
}

/// See the module's text.
#[derive(Debug)]
pub struct Load {
    /// What the disk must hold.
    pub ledger: Ledger,
    /// What was done so far.
    pub count: Count,
    rng: Rng,
    next: u64,
    running: HashMap<u32, Running>,
}

impl Load {
    /// On a disk that holds this; `tag`, not zero, tells the numbers of one load from those of another.
    #[must_use]
    pub fn new(ledger: Ledger, tag: u16, seed: u64) -> Self {
        let next = u64::from(tag) << 48 | 1;
        Self { ledger, count: Count::default(), rng: Rng::with_seed(seed), next, running: HashMap::new() }
    }

    /// Works until told to stop, or until the connection breaks: what had no answer then is unsure in the ledger.
    ///
    /// # Errors
    /// What was read is wrong, a command failed, or an answer did not come.
    pub fn work(&mut self, session: &mut Initiator, stop: &AtomicBool) -> Result<End> {
        let mut broken = false;
        loop {
            let more = !broken && !stop.load(Ordering::Relaxed);
            while more && !broken && self.running.len() < DEPTH && session.may_start() {
                broken = broke(self.begin(session))?;
            }
            if self.running.is_empty() && !broken {
                return Ok(End::Told);
            }
            // Though nothing can be sent any more, what was acknowledged before may still be read.
            let (response, data) = match session.receive() {
                Ok(Some(pdu)) => pdu,
                Ok(None) => break,
                Err(error) => {
                    broke(Err(error))?;
                    break;
                }
            };
            broken |= broke(self.received(session, response, &data)?)?;
        }
        self.give_up();
        Ok(End::Broken)
    }

    /// Whatever is under way will have no answer.
    fn give_up(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            self.count.cut += 1;
            self.ledger.unsure(running.lba, &running.numbers);
        }
    }

    /// Reads the whole disk: each block is what was acknowledged or one of what nobody said anything about, and stays that.
    ///
    /// # Errors
    /// A block is something else.
    pub fn verify(&mut self, session: &mut Initiator) -> Result<()> {
        let mut lba = 0;
        for piece in pieces(self.ledger.len()) {
            let data = good(session.command(&read_cdb(lba, piece), bytes(piece), &[])?)?;
            self.ledger.settle(lba, &data)?;
            lba += u64::from(piece);
        }
        Ok(())
    }

    /// A range that no command under way touches.
    fn place(&mut self) -> (u64, u32) {
        loop {
            let count = if self.rng.bool() { self.rng.u32(1..=16) } else { self.rng.u32(1..=LONGEST) };
            let lba = self.rng.u64(0..=self.ledger.len() - u64::from(count));
            // Some places are hot, so that what is the overlay's own already is written again.
            let lba = if self.rng.u8(0..4) == 0 { lba % 2048 } else { lba };
            let apart = |r: &Running| r.lba + u64::from(r.count) <= lba || lba + u64::from(count) <= r.lba;
            if self.running.values().all(apart) {
                return (lba, count);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn begin(&mut self, session: &mut Initiator) -> io::Result<()> {
        let (lba, count) = self.place();
        let mut running = Running { lba, count, numbers: Vec::new(), data: Vec::new(), read: Vec::new() };
        let length = usize::try_from(count).unwrap_or_default();
        let started = match self.rng.u8(0..100) {
            0..70 => {
                running.numbers = (0..count).map(|_| self.number()).collect();
                running.data = blocks(&running.numbers);
                let fua = self.rng.u8(0..10) == 0;
                // All of it at once, a part of it, or only when it is asked for.
                let now = [running.data.len(), self.rng.usize(0..=length) * SECTOR, 0];
                let now = running.data.get(..now[self.rng.usize(0..3)]).unwrap_or_default();
                session.start(&write_cdb(lba, count, fua), true, bytes(count), now)
            }
            70..76 => {
                running.numbers = vec![0; length];
                let (cdb, list) = unmap(lba, count);
                let started = session.start(&cdb, true, 24, &list);
                running.data = list;
                started
            }
            76..82 => {
                let unmap = self.rng.bool();
                let number = if unmap { 0 } else { self.number() };
                running.numbers = vec![number; length];
                running.data = block(number).to_vec();
                session.start(&write_same_cdb(lba, count, unmap), true, 512, &running.data)
            }
            82..88 => {
                running.count = 0;
                session.start(&flush_cdb(), false, 0, &[])
            }
            _ => session.start(&read_cdb(lba, count), false, bytes(count), &[]),
        };
        // A command of which nobody knows whether it was sent has a tag of its own.
        let tag = started.as_ref().copied().unwrap_or(NO_TAG);
        self.running.insert(tag, running);
        started.map(|_| ())
    }

    /// The outer error is a wrong answer, the inner one the connection's.
    fn received(&mut self, session: &mut Initiator, response: Response, segment: &[u8]) -> Result<io::Result<()>> {
        let itt = match &response {
            Response::NopIn { lun, ttt, .. } if *ttt != NO_TAG => return Ok(session.pong(*lun, *ttt)),
            Response::R2t { itt, .. } | Response::DataIn { itt, .. } | Response::Scsi { itt, .. } => *itt,
            other => bail!("unexpected: {other:?}"),
        };
        let running = self.running.get_mut(&itt).with_context(|| format!("no command for {response:?}"))?;
        let status = match response {
            Response::R2t { ttt, offset, len, .. } => {
                let data = part(&running.data, offset, len).context("an R2T beyond the data")?;
                return Ok(session.give(itt, ttt, offset, data));
            }
            Response::DataIn { status, .. } => {
                running.read.extend_from_slice(segment);
                status
            }
            Response::Scsi { status, .. } => Some(status),
            other => bail!("unexpected: {other:?}"),
        };
        let Some(status) = status else { return Ok(Ok(())) };
        let running = self.running.remove(&itt).context("it was there")?;
        ensure!(status == 0, "status {status:#x}, sense {:x?} of {running:?}", sense(segment));
        if !running.numbers.is_empty() {
            self.ledger.written(running.lba, &running.numbers)?;
            self.count.writes += 1;
        } else if running.count > 0 {
            ensure!(running.read.len() == running.count as usize * SECTOR, "{} bytes were read", running.read.len());
            self.ledger.check(running.lba, &running.read)?;
            self.count.reads += 1;
        } else {
            self.count.flushes += 1;
        }
        Ok(Ok(()))
    }
}

/// The pieces in which so many blocks are read.
fn pieces(blocks: u64) -> impl Iterator<Item = u32> {
    const PIECE: u32 = 2048;
    let whole = blocks / u64::from(PIECE);
    let rest = u32::try_from(blocks % u64::from(PIECE)).unwrap_or_default();
    (0..whole).map(|_| PIECE).chain((rest > 0).then_some(rest))
}

/// Whether the connection broke, as it does when its other end is killed.
fn broke(done: io::Result<()>) -> Result<bool> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match done {
        Ok(()) => Ok(false),
        Err(e) if matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof) => Ok(true),
        Err(e) => Err(e).context("the target does not answer"),
    }
}
