//! SANITIZE (SBC-3 4.11, 5.22): nothing that was on the medium can be read from it any more.
//!
//! The operation has a thread of its own, and is not its command's: no abort, no reset and no lost connection ends it, and until it has
//! ended the unit answers nearly everything with SANITIZE IN PROGRESS. What was ordered is in the unit's memory before it begins, so
//! that after a restart it begins anew, and a failed one is not forgotten.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::super::wire::be16;
use super::memory::{MemoryError, Sanitize};
use super::unit::State;
use super::{Action, BLOCK, Done, Job, Nexus, Sense, Unit};
use crate::disks::BlockDevice;

/// Service actions.
pub(super) const OVERWRITE: u8 = 0x01;
pub(super) const BLOCK_ERASE: u8 = 0x02;
pub(super) const CRYPTOGRAPHIC_ERASE: u8 = 0x03;
pub(super) const EXIT_FAILURE_MODE: u8 = 0x1f;

/// Bytes of OVERWRITE's list before its pattern.
const HEAD: u16 = 4;
/// Written or erased at one time; between two of them it can be stopped.
const PIECE: u64 = 1 << 20;

/// How far a unit's operation is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// It has a thread.
    running: AtomicBool,
    /// Of 65536 parts.
    done: AtomicU16,
    /// It is to end and to be taken up later.
    stop: AtomicBool,
}

/// An operation that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Its thread.
    pub thread: JoinHandle<()>,
    /// What it comes to, for its command.
    pub done: Receiver<Done>,
}

/// What stands in the way of a command.
pub(super) fn refuses(unit: &Unit, state: &State, cdb: &[u8; 16]) -> Option<Sense> {
    let sanitize = state.kept.sanitize.as_ref()?;
    match cdb[0] {
        // INQUIRY, REPORT LUNS and REQUEST SENSE say what is going on.
        0x12 | 0xa0 | 0x03 => None,
        0x48 if sanitize.failed => None,
        _ => Some(sense(unit, sanitize)),
    }
}

/// For REQUEST SENSE.
pub(super) fn sense(unit: &Unit, sanitize: &Sanitize) -> Sense {
    if sanitize.failed {
        Sense::SANITIZE_FAILED
    } else {
        Sense::sanitizing(unit.sanitizing.done.load(Ordering::Relaxed))
    }
}

/// SANITIZE.
pub(super) fn begin(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let (action, unrestricted, len) = (cdb[1] & 0x1f, cdb[1] & 0x20 != 0, be16(cdb, 7));
    // ZNR is for zones.
    if let Some(reserved) = (2..=6).find(|byte| cdb.get(*byte) != Some(&0)) {
        return Sense::field(reserved as u16).into();
    }
    if cdb[1] & 0x40 != 0 {
        return Sense::field(1).into();
    }
    let most = HEAD + BLOCK as u16;
    let len_fits = if action == OVERWRITE { (HEAD + 1..=most).contains(&len) } else { len == 0 };
    if !len_fits {
        return Sense::field(7).into();
    }
    let failed = nexus.unit.state().kept.sanitize.clone();
    match failed {
        // It was ordered so that only a successful one gives the unit back (SBC-3 4.11.4).
        Some(failed) if !failed.unrestricted && (unrestricted || action == EXIT_FAILURE_MODE) => Sense::field(1).into(),
        None if action == EXIT_FAILURE_MODE => Action::GOOD,
        _ if action == EXIT_FAILURE_MODE => Action::Run(Job::ExitFailure),
        _ if action == OVERWRITE => Action::TakeExactly(u32::from(len)),
        _ => {
            let order = Sanitize { action, pattern: Vec::new(), passes: 1, invert: false, unrestricted, failed: false };
            Action::Sanitize { order, immediate: cdb[1] & 0x80 != 0 }
        }
    }
}

/// The list of an OVERWRITE is there.
pub(super) fn list(_: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    let Some((&[flags, _, high, low], pattern)) = data.split_first_chunk() else { return Sense::CDB_FIELD.into() };
    let (passes, len) = (flags & 0x1f, u16::from_be_bytes([high, low]));
    // The suite wants them told as fields of the CDB.
    if passes == 0 || flags & 0x60 != 0 || len == 0 || usize::from(len) != pattern.len() {
        return Sense::CDB_FIELD.into();
    }
    let order = Sanitize {
        action: OVERWRITE,
        pattern: pattern.to_vec(),
        passes,
        invert: flags & 0x80 != 0,
        unrestricted: cdb[1] & 0x20 != 0,
        failed: false,
    };
    Action::Sanitize { order, immediate: cdb[1] & 0x80 != 0 }
}

/// EXIT FAILURE MODE.
pub(super) fn exit_failure(unit: &Unit) -> Done {
    let left = unit.remember(|kept| {
        kept.sanitize.take_if(|sanitize| sanitize.failed);
        Ok::<(), MemoryError>(())
    });
    match left {
        Ok(_) => Done::Good,
        Err(error) => Done::Failed { sense: Sense::INTERNAL, error: Some(error.to_string()) },
    }
}

/// Begins what was ordered. `told` is for people.
///
/// # Errors
/// What its command is answered with: another one is under way, or it cannot be remembered.
pub fn start(
    unit: &Arc<Unit>,
    order: &Sanitize,
    disk: Arc<dyn BlockDevice>,
    told: impl FnOnce(String) + Send + 'static,
) -> Result<Begun, Done> {
    enum Refused {
        Busy,
        Memory(MemoryError),
    }
    impl From<MemoryError> for Refused {
        fn from(error: MemoryError) -> Self {
            Self::Memory(error)
        }
    }
    let begun = unit.remember(|kept| {
        if kept.sanitize.as_ref().is_some_and(|sanitize| !sanitize.failed) {
            return Err(Refused::Busy);
        }
        kept.sanitize = Some(order.clone());
        Ok(())
    });
    match begun {
        Ok((_state, ())) => {
            unit.sanitizing.done.store(0, Ordering::Relaxed);
            unit.sanitizing.running.store(true, Ordering::SeqCst);
        }
        Err(Refused::Busy) => {
            let sense = Sense::sanitizing(unit.sanitizing.done.load(Ordering::Relaxed));
            return Err(Done::Failed { sense, error: None });
        }
        Err(Refused::Memory(error)) => {
            return Err(Done::Failed { sense: Sense::INTERNAL, error: Some(error.to_string()) });
        }
    }
    spawn(unit, order.clone(), disk, told).map_err(|error| {
        let message = failed(unit, &error);
        Done::Failed { sense: Sense::SANITIZE_FAILED, error: Some(message) }
    })
}

/// Takes up what a restart has interrupted.
pub fn resume(
    unit: &Arc<Unit>,
    disk: &Arc<dyn BlockDevice>,
    told: impl FnOnce(String) + Send + 'static,
) -> Option<JoinHandle<()>> {
    let order = unit.state().kept.sanitize.clone().filter(|sanitize| !sanitize.failed)?;
    if unit.sanitizing.stop.load(Ordering::Acquire) || unit.sanitizing.running.swap(true, Ordering::SeqCst) {
        return None;
    }
    match spawn(unit, order, disk.clone(), told) {
        Ok(begun) => Some(begun.thread),
        Err(error) => {
            failed(unit, &error);
            None
        }
    }
}

impl Unit {
    /// Ends an operation that is under way, to be taken up when the disk is opened again.
    pub fn stop_sanitizing(&self) {
        self.sanitizing.stop.store(true, Ordering::Release);
    }

    /// A sanitize operation is at work: nobody else may write.
    pub fn is_sanitizing(&self) -> bool {
        self.sanitizing.running.load(Ordering::SeqCst)
    }
}

fn spawn(
    unit: &Arc<Unit>,
    order: Sanitize,
    disk: Arc<dyn BlockDevice>,
    told: impl FnOnce(String) + Send + 'static,
) -> io::Result<Begun> {
    let (sender, done) = channel();
    let unit = unit.clone();
    let thread = std::thread::Builder::new().name("iscsi-sanitize".into()).spawn(move || {
        // What passed the checks before still writes.
        unit.settle();
        let erased = catch_unwind(AssertUnwindSafe(|| erase(&*disk, &order, &unit.sanitizing)))
            .unwrap_or_else(|_| Err(io::Error::other("an error inside Bootyard; please report it")));
        // Whoever waits for the disk finds it closed when the unit says that it is over.
        drop(disk);
        finish(&unit, erased, &sender, told);
    })?;
    Ok(Begun { thread, done })
}

fn finish(unit: &Unit, erased: io::Result<bool>, sender: &Sender<Done>, told: impl FnOnce(String)) {
    let done = match erased {
        // Its order stays in the memory.
        Ok(false) => {
            unit.sanitizing.running.store(false, Ordering::SeqCst);
            return;
        }
        Ok(true) => unit
            .remember(|kept| {
                kept.sanitize = None;
                Ok::<(), MemoryError>(())
            })
            .map(drop)
            .map_err(io::Error::other),
        Err(error) => Err(error),
    };
    let answer = match done {
        Ok(()) => Done::Good,
        Err(error) => {
            told(failed(unit, &error));
            Done::Failed { sense: Sense::SANITIZE_FAILED, error: None }
        }
    };
    unit.sanitizing.running.store(false, Ordering::SeqCst);
    // Its command may have been aborted, or not have waited.
    let _ = sender.send(answer);
}

/// Remembers that the operation failed; a sentence for people.
fn failed(unit: &Unit, error: &io::Error) -> String {
    let remembered = unit.remember(|kept| {
        kept.sanitize.iter_mut().for_each(|sanitize| sanitize.failed = true);
        Ok::<(), MemoryError>(())
    });
    if remembered.is_err() {
        // The file says that it is under way, and after a restart it begins anew; until then it has failed.
        unit.state().kept.sanitize.iter_mut().for_each(|sanitize| sanitize.failed = true);
    }
    unit.sanitizing.running.store(false, Ordering::SeqCst);
    format!("the disk could not be sanitized: {error}; it refuses work until that is done, or its machine gives it up")
}

/// Does it; whether it came to its end.
fn erase(disk: &dyn BlockDevice, order: &Sanitize, progress: &Progress) -> io::Result<bool> {
    let passes = if order.action == OVERWRITE { u64::from(order.passes.max(1)) } else { 1 };
    let mut block: Vec<u8> = order.pattern.iter().copied().cycle().take(BLOCK as usize).collect();
    for pass in 0..passes {
        let piece = block.repeat((PIECE / BLOCK) as usize);
        let mut at = 0;
        while at < disk.size() {
            if progress.stop.load(Ordering::Acquire) {
                return Ok(false);
            }
            let len = PIECE.min(disk.size() - at);
            match piece.get(..len as usize) {
                Some(piece) if order.action == OVERWRITE => disk.write_at(piece, at)?,
                // What the target never gives out again, it has no key to lose for.
                _ => disk.zero(at, len, true)?,
            }
            at += len;
            let whole = u128::from(disk.size().max(1)) * u128::from(passes);
            let parts = (u128::from(pass) * u128::from(disk.size()) + u128::from(at)) * 65536 / whole;
            progress.done.store(u16::try_from(parts).unwrap_or(u16::MAX), Ordering::Relaxed);
        }
        disk.flush()?;
        if order.invert {
            block.iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    Ok(true)
}
