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
use super::unit::{Kept, State};
use super::{Action, BLOCK, Begun, Done, Job, Nexus, Sense, Unit};
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
    /// Of 65536 parts.
    done: AtomicU16,
    /// It is to end and to be taken up later.
    stop: AtomicBool,
}

/// An operation that has begun.
#[derive(Debug)]
pub struct Sanitizing {
    /// Its thread.
    pub thread: JoinHandle<()>,
    /// What it comes to, for its command.
    pub done: Receiver<Done>,
}

/// Whether a unit can be sanitized: an order must not be lost, and must never come to another medium or another machine's data.
pub(super) fn is_offered(unit: &Unit) -> bool {
    unit.lasts() && unit.identity.medium.as_ref().is_some_and(|medium| medium.lasts)
}

/// What stands in the way of a command.
pub(super) fn refuses(unit: &Unit, state: &State, cdb: &[u8; 16]) -> Option<Sense> {
    let order = state.kept.order(&unit.identity)?;
    match cdb[0] {
        // INQUIRY, REPORT LUNS and REQUEST SENSE say what is going on.
        0x12 | 0xa0 | 0x03 => None,
        0x48 if order.failed => None,
        _ => sense(unit, state),
    }
}

/// What the unit says while there is an order.
pub(super) fn sense(unit: &Unit, state: &State) -> Option<Sense> {
    let order = state.kept.order(&unit.identity)?;
    let progress = unit.sanitizing.done.load(Ordering::Relaxed);
    Some(if order.failed { Sense::SANITIZE_FAILED } else { Sense::sanitizing(progress) })
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
    let failed = nexus.unit.state().kept.order(&nexus.unit.identity).cloned();
    match failed {
        // It was ordered so that only a successful one gives the unit back (SBC-3 4.11.4).
        Some(failed) if !failed.unrestricted && (unrestricted || action == EXIT_FAILURE_MODE) => Sense::field(1).into(),
        None if action == EXIT_FAILURE_MODE => Action::GOOD,
        _ if action == EXIT_FAILURE_MODE => Action::Run(Job::ExitFailure),
        _ if action == OVERWRITE => Action::TakeExactly(u32::from(len)),
        _ => {
            let order = Sanitize { action, passes: 1, unrestricted, ..order(nexus) };
            Action::Sanitize { order, immediate: cdb[1] & 0x80 != 0 }
        }
    }
}

/// An order for this unit's medium.
fn order(nexus: &Nexus) -> Sanitize {
    Sanitize {
        medium: nexus.unit.identity.medium.as_ref().map(|medium| medium.name.clone()).unwrap_or_default(),
        action: 0,
        pattern: Vec::new(),
        passes: 0,
        invert: false,
        unrestricted: false,
        failed: false,
    }
}

/// The list of an OVERWRITE is there.
pub(super) fn list(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
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
        ..order(nexus)
    };
    Action::Sanitize { order, immediate: cdb[1] & 0x80 != 0 }
}

/// EXIT FAILURE MODE.
pub(super) fn exit_failure(unit: &Unit) -> Done {
    let left = unit.remember(|kept| {
        kept.sanitize.take_if(|order| order.failed);
        Ok::<(), MemoryError>(())
    });
    match left {
        Ok(_) => Done::Good,
        Err(error) => Done::Failed { sense: Sense::INTERNAL, error: Some(error.to_string()) },
    }
}

/// Begins what was ordered, unless its command was aborted. `told` is for people.
///
/// # Errors
/// What its command is answered with: another one is under way, or it cannot be remembered.
pub fn start(
    unit: &Arc<Unit>,
    order: &Sanitize,
    begun: &Begun,
    disk: Arc<dyn BlockDevice>,
    told: impl FnOnce(String) + Send + 'static,
) -> Result<Sanitizing, Done> {
    // Whoever preempts or resets comes before this or after it.
    let ordered = unit.remember(|kept| {
        let aborted = begun.is_aborted(unit);
        if !aborted && kept.order(&unit.identity).is_none_or(|order| order.failed) {
            kept.sanitize = Some(order.clone());
            return Ok::<_, MemoryError>(None);
        }
        Ok(Some(aborted))
    });
    match ordered {
        Ok((mut state, None)) => {
            unit.sanitizing.done.store(0, Ordering::Relaxed);
            state.sanitizing = true;
        }
        Ok((_, Some(true))) => return Err(Done::Aborted),
        Ok((state, Some(false))) => {
            let sense = sense(unit, &state).unwrap_or(Sense::sanitizing(0));
            return Err(Done::Failed { sense, error: None });
        }
        Err(error) => return Err(Done::Failed { sense: Sense::INTERNAL, error: Some(error.to_string()) }),
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
    let order = {
        let mut state = unit.state();
        let order = state.kept.order(&unit.identity).filter(|order| !order.failed).cloned()?;
        if state.sanitizing || unit.sanitizing.stop.load(Ordering::Acquire) {
            return None;
        }
        state.sanitizing = true;
        order
    };
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

    /// A sanitize operation is at work.
    #[must_use]
    pub fn is_sanitizing(&self) -> bool {
        self.state().sanitizing
    }
}

fn spawn(
    unit: &Arc<Unit>,
    order: Sanitize,
    disk: Arc<dyn BlockDevice>,
    told: impl FnOnce(String) + Send + 'static,
) -> io::Result<Sanitizing> {
    let (sender, done) = channel();
    let unit = unit.clone();
    let thread = std::thread::Builder::new().name("iscsi-sanitize".into()).spawn(move || {
        let erased = catch_unwind(AssertUnwindSafe(|| {
            // What passed the checks before still writes.
            unit.settle();
            let erased = erase(&*disk, &order, &unit.sanitizing);
            // Whoever waits for the disk finds it closed when the unit says that it is over.
            drop(disk);
            erased
        }));
        let panicked = |_| Err(io::Error::other("an error inside Bootyard; please report it"));
        finish(&unit, erased.unwrap_or_else(panicked), &sender, told);
    })?;
    Ok(Sanitizing { thread, done })
}

fn finish(unit: &Unit, erased: io::Result<bool>, sender: &Sender<Done>, told: impl FnOnce(String)) {
    let done = erased.and_then(|erased| {
        if !erased {
            // Its order stays in the memory.
            unit.state().sanitizing = false;
            return Ok(false);
        }
        let forgotten = unit.remember(|kept| {
            kept.sanitize = None;
            Ok::<(), MemoryError>(())
        });
        let (mut state, ()) = forgotten.map_err(io::Error::other)?;
        state.sanitizing = false;
        Ok(true)
    });
    let answer = match done {
        Ok(true) => Done::Good,
        Ok(false) => return,
        Err(error) => {
            told(failed(unit, &error));
            Done::Failed { sense: Sense::SANITIZE_FAILED, error: None }
        }
    };
    // Its command may have been aborted, or not have waited.
    let _ = sender.send(answer);
}

/// Remembers that the operation failed; a sentence for people.
fn failed(unit: &Unit, error: &io::Error) -> String {
    let note = |kept: &mut Kept| kept.sanitize.iter_mut().for_each(|order| order.failed = true);
    let remembered = unit.remember(|kept| {
        note(kept);
        Ok::<(), MemoryError>(())
    });
    let mut state = remembered.map_or_else(
        |_| {
            // The file says that it is under way, and after a restart it begins anew; until then it has failed.
            let mut state = unit.state();
            note(&mut state.kept);
            unit.note_order(&state);
            state
        },
        |(state, ())| state,
    );
    state.sanitizing = false;
    format!(
        "the disk could not be sanitized: {error}; it refuses work until it is, unless its machine may give that up"
    )
}

/// Does it; whether it came to its end.
fn erase(disk: &dyn BlockDevice, order: &Sanitize, progress: &Progress) -> io::Result<bool> {
    let passes = if order.action == OVERWRITE { u64::from(order.passes.max(1)) } else { 1 };
    let mut block: Vec<u8> = order.pattern.iter().copied().cycle().take(BLOCK as usize).collect();
    // The last pass writes the pattern as it was given.
    if order.invert && passes.is_multiple_of(2) {
        invert(&mut block);
    }
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
            invert(&mut block);
        }
    }
    Ok(true)
}

fn invert(block: &mut [u8]) {
    block.iter_mut().for_each(|byte| *byte = !*byte);
}
