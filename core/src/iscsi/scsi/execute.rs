//! What commands do with the disk: [`Reads`] for the initiator, and each [`Job`], carried out.

use std::ops::Range;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, PoisonError};
use std::{fmt, io};

use super::{BLOCK, Buffers, Job, MAX_TRANSFER, Sense, Task, Unit, persist, sanitize};
use crate::disks::{Allocation, BlockDevice, Extent};

/// Free bytes before what is read: its PDU's header goes there, and one run of bytes to the socket.
const HEADROOM: usize = 64;

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Done; nothing to send.
    Good,
    /// Done: these bytes of the buffer are for the initiator.
    Data(Arc<Vec<u8>>, Range<usize>),
    /// The initiator is to be sent these bytes from their file. Only [`Reads`] says so: who sends them knows whether that pays.
    Stored(Extent),
    /// Not done.
    Failed {
        /// For the initiator.
        sense: Sense,
        /// For people, where the storage failed.
        error: Option<String>,
    },
    /// Not done: another nexus holds a reservation.
    Conflict,
    /// Not done, and not answered: it was aborted before it began.
    Aborted,
}

/// The disk, as far as commands read it for the initiator. Nearly all that a booting machine asks for is reads of what is in memory:
/// they are done at once, where another job waits its turn in a queue.
pub trait Reads: fmt::Debug {
    /// Reads `len` bytes from `offset` on, which have been checked against the unit's size. `may_stay`: they may stay in their file
    /// ([`Done::Stored`]).
    fn read(&mut self, offset: u64, len: u32, may_stay: bool) -> Done;
}

/// Reads into buffers, always.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The unit that is read.
    pub unit: &'a Unit,
    /// Its disk.
    pub disk: &'a dyn BlockDevice,
    /// What is read goes here.
    pub buffers: &'a mut Buffers,
}

impl Reads for Reader<'_> {
    fn read(&mut self, offset: u64, len: u32, _: bool) -> Done {
        let len = len as usize;
        let mut buffer = self.buffers.take(HEADROOM + len);
        let range = HEADROOM..HEADROOM + len;
        match read_whole(self.unit, self.disk, buffer.get_mut(range.clone()).unwrap_or_default(), offset) {
            Ok(()) => Done::Data(self.buffers.share(buffer), range),
            Err(error) => {
                let (sense, error) = storage(&error, Sense::READ_ERROR);
                Done::Failed { sense, error }
            }
        }
    }
}

/// Runs a task's job, which has been checked against the unit's size. `data` is what the initiator gave for it.
pub fn execute(task: &Task, data: &[u8], unit: &Unit, disk: &dyn BlockDevice, buffers: &mut Buffers) -> Done {
    // Who preempts or resets waits for writers (`Job::Settle`): what comes later than that must not write.
    let share = || {
        let shared = unit.writers.read().unwrap_or_else(PoisonError::into_inner);
        (!task.begun.is_aborted(unit) && !unit.is_ordered()).then_some(shared)
    };
    let alone = || {
        let alone = unit.writers.write().unwrap_or_else(PoisonError::into_inner);
        (!task.begun.is_aborted(unit) && !unit.is_ordered()).then_some(alone)
    };
    let result = match &task.job {
        Job::Verify { offset, len, single } => {
            // An atomic write is in it as a whole or not at all.
            let _no_atomic_write = unit.writers.read().unwrap_or_else(PoisonError::into_inner);
            verify(disk, *offset, *len, data, *single, buffers)
        }
        Job::Flush => flush(disk, true),
        Job::Allocation { offset, room } => match allocation(disk, *offset, *room) {
            Ok(data) => {
                let len = data.len();
                return Done::Data(Arc::new(data), 0..len);
            }
            Err(error) => Err(storage(&error, Sense::READ_ERROR)),
        },
        Job::Remember { nexus, cdb } => return persist::carry_out(unit, *nexus, cdb, data),
        Job::Settle { power_on } => {
            unit.settle();
            if *power_on {
                return persist::power_on(unit);
            }
            Ok(())
        }
        Job::ExitFailure => return sanitize::exit_failure(unit),
        Job::WriteAtomic { offset } => {
            let Some(_alone) = alone() else { return stopped(task, unit) };
            // Odd already, if one before ended in a panic.
            let at_work = unit.atomic.load(Ordering::Relaxed) | 1;
            unit.atomic.store(at_work, Ordering::SeqCst);
            let written = disk.write_atomic(data, *offset).map_err(|error| storage(&error, Sense::WRITE_ERROR));
            unit.atomic.store(at_work + 1, Ordering::SeqCst);
            written
        }
        Job::Write { offset, durable, verify: back } => {
            let Some(shared) = share() else { return stopped(task, unit) };
            let written = write(disk, data, *offset);
            // Nobody who compares and writes waits for the disk's cache.
            drop(shared);
            written.and_then(|()| flush(disk, *durable)).and_then(|()| {
                let whole = data.len() as u64 / BLOCK * BLOCK;
                if *back { verify(disk, *offset, whole, data, false, buffers) } else { Ok(()) }
            })
        }
        Job::Zero { ranges, unmap, durable } => {
            let Some(shared) = share() else { return stopped(task, unit) };
            let zeroed = ranges.iter().try_for_each(|&(offset, len)| {
                disk.zero(offset, len, *unmap).map_err(|error| storage(&error, Sense::WRITE_ERROR))
            });
            drop(shared);
            zeroed.and_then(|()| flush(disk, *durable))
        }
        Job::WriteSame { offset, len, durable } => {
            let Some(shared) = share() else { return stopped(task, unit) };
            let written = write_same(disk, *offset, *len, data);
            drop(shared);
            written.and_then(|()| flush(disk, *durable))
        }
        Job::Copy { moves, keep, durable } => {
            moves
                .iter()
                .try_for_each(|&(from, to, len)| copy(&share, task, unit, disk, (from, to, len), buffers))
                .and_then(|()| flush(disk, *durable))
                .map(|()| {
                    if let Some(keep) = keep {
                        unit.state().copies.put(*keep, moves);
                    }
                })
                // The initiator is told that the copy was not done; people, why.
                .map_err(|(sense, error)| (Sense { key: 0xa, ..sense }, error))
        }
        Job::CompareAndWrite { offset, durable } => {
            let Some(_alone) = alone() else { return stopped(task, unit) };
            let (expected, new) = data.split_at(data.len() / 2);
            verify(disk, *offset, expected.len() as u64, expected, false, buffers)
                .and_then(|()| write(disk, new, *offset))
                .and_then(|()| flush(disk, *durable))
        }
        Job::OrWrite { offset, durable } => {
            let Some(_alone) = alone() else { return stopped(task, unit) };
            or_write(disk, *offset, data).and_then(|()| flush(disk, *durable))
        }
    };
    match result {
        Ok(()) => Done::Good,
        Err((sense, error)) => Done::Failed { sense, error },
    }
}

/// Why a task may not write: it is aborted, or everything is to be erased, or was meanwhile.
fn stopped(task: &Task, unit: &Unit) -> Done {
    if task.begun.is_aborted(unit) {
        return Done::Aborted;
    }
    Done::Failed { sense: sanitize::sense(unit, &unit.state()).unwrap_or(Sense::sanitizing(u16::MAX)), error: None }
}

/// Reads a range so that an atomic write is in it as a whole or not at all.
fn read_whole(unit: &Unit, disk: &dyn BlockDevice, into: &mut [u8], offset: u64) -> io::Result<()> {
    let before = unit.atomic.load(Ordering::Acquire);
    if before.is_multiple_of(2) {
        disk.read_at(into, offset)?;
        fence(Ordering::Acquire);
        if unit.atomic.load(Ordering::Relaxed) == before {
            return Ok(());
        }
    }
    let _no_atomic_write = unit.writers.read().unwrap_or_else(PoisonError::into_inner);
    disk.read_at(into, offset)
}

type Failure = (Sense, Option<String>);

/// What an initiator is told of the storage's error.
fn storage(error: &io::Error, otherwise: Sense) -> Failure {
    let sense = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Sense::NO_SPACE,
        io::ErrorKind::ReadOnlyFilesystem => Sense::READ_ONLY,
        io::ErrorKind::InvalidInput => return (Sense::RANGE, None),
        _ => otherwise,
    };
    let told = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!(
                "there is no room for what this machine writes ({error}); free some space where the disks are, and it goes on"
            )
        }
        _ => error.to_string(),
    };
    (sense, Some(told))
}

/// Whole blocks of what the initiator gave.
fn write(disk: &dyn BlockDevice, data: &[u8], offset: u64) -> Result<(), Failure> {
    let whole = data.len() - data.len() % BLOCK as usize;
    disk.write_at(data.get(..whole).unwrap_or_default(), offset).map_err(|error| storage(&error, Sense::WRITE_ERROR))
}

fn flush(disk: &dyn BlockDevice, wanted: bool) -> Result<(), Failure> {
    if wanted { disk.flush().map_err(|error| storage(&error, Sense::WRITE_ERROR)) } else { Ok(()) }
}

fn verify(
    disk: &dyn BlockDevice,
    offset: u64,
    len: u64,
    data: &[u8],
    single: bool,
    buffers: &mut Buffers,
) -> Result<(), Failure> {
    let chunk = if single { BLOCK } else { 1 << 20 };
    let mut buffer = buffers.take(chunk.min(len) as usize);
    let mut at = 0;
    let mut result = Ok(());
    while at < len && result.is_ok() {
        let n = chunk.min(len - at) as usize;
        let found = buffer.get_mut(..n).unwrap_or_default();
        let expected = if single { data.get(..n) } else { data.get(at as usize..).and_then(|d| d.get(..n)) };
        result = match disk.read_at(found, offset + at) {
            Err(error) => Err(storage(&error, Sense::READ_ERROR)),
            Ok(()) => match expected.and_then(|e| e.iter().zip(found.iter()).position(|(a, b)| a != b)) {
                Some(differs) => Err((Sense::miscompare(at + differs as u64), None)),
                None => Ok(()),
            },
        };
        at += n as u64;
    }
    buffers.give(buffer);
    result
}

fn write_same(disk: &dyn BlockDevice, offset: u64, len: u64, block: &[u8]) -> Result<(), Failure> {
    let chunk = block.repeat(((1 << 20) / BLOCK).min(len / BLOCK) as usize);
    let mut at = 0;
    while at < len {
        let n = (chunk.len() as u64).min(len - at);
        write(disk, chunk.get(..n as usize).unwrap_or_default(), offset + at)?;
        at += n;
    }
    Ok(())
}

/// Copies a range as if it were read whole before it is written: the pieces of an overlapping one go in the order that allows that. What
/// takes no space takes none in the copy.
fn copy<G>(
    share: &impl Fn() -> Option<G>,
    task: &Task,
    unit: &Unit,
    disk: &dyn BlockDevice,
    (from, to, len): (u64, u64, u64),
    buffers: &mut Buffers,
) -> Result<(), Failure> {
    const PIECE: u64 = 1 << 20;
    let mut buffer = buffers.take(PIECE.min(len) as usize);
    let backwards = from < to && to < from + len;
    let mut done = 0;
    let mut result = Ok(());
    while done < len && result.is_ok() {
        let piece = PIECE.min(len - done);
        let at = if backwards { len - done - piece } else { done };
        let buffer = buffer.get_mut(..piece as usize).unwrap_or_default();
        // A piece at a time: others write in between, or end it.
        let Some(_shared) = share() else {
            if let Done::Failed { sense, error } = stopped(task, unit) {
                result = Err((sense, error));
            }
            break;
        };
        result = disk.read_at(buffer, from + at).map_err(|error| storage(&error, Sense::READ_ERROR)).and_then(|()| {
            if buffer.iter().all(|byte| *byte == 0) {
                return disk.zero(to + at, piece, true).map_err(|error| storage(&error, Sense::WRITE_ERROR));
            }
            write(disk, buffer, to + at)
        });
        done += piece;
    }
    buffers.give(buffer);
    result
}

fn or_write(disk: &dyn BlockDevice, offset: u64, data: &[u8]) -> Result<(), Failure> {
    let mut there = vec![0; data.len() - data.len() % BLOCK as usize];
    disk.read_at(&mut there, offset).map_err(|error| storage(&error, Sense::READ_ERROR))?;
    there.iter_mut().zip(data).for_each(|(there, new)| *there |= new);
    write(disk, &there, offset)
}

/// LBA status descriptors (SBC-3 5.4.2): runs until the end of the disk or of the room, one at least, cut to the room.
fn allocation(disk: &dyn BlockDevice, offset: u64, room: u32) -> io::Result<Vec<u8>> {
    let (mut at, size) = (offset, disk.size());
    let descriptors = ((room.clamp(24, MAX_TRANSFER) - 8) / 16).min(1024);
    let mut data = vec![0; 8];
    for _ in 0..descriptors {
        if at >= size {
            break;
        }
        let (kind, run) = disk.allocation(at)?;
        let run = run.clamp(BLOCK, (size - at).max(BLOCK)).min(u64::from(u32::MAX) * BLOCK);
        data.extend_from_slice(&(at / BLOCK).to_be_bytes());
        data.extend_from_slice(&((run / BLOCK) as u32).to_be_bytes());
        data.extend_from_slice(&[u8::from(kind == Allocation::Deallocated), 0, 0, 0]);
        at += run;
    }
    let len = (data.len() - 4) as u32;
    data[..4].copy_from_slice(&len.to_be_bytes());
    data.truncate(room as usize);
    Ok(data)
}
