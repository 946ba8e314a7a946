//! State that the sessions of one logical unit share, and one session's view of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Action, BLOCK, Identity, Sense, Status, opcodes};

/// Unit attentions kept for a nexus; the oldest is dropped beyond that.
const MAX_ATTENTIONS: usize = 8;

/// One session's state at a unit.
#[derive(Debug, Default)]
pub(super) struct NexusState {
    pub(super) name: String,
    pub(super) attentions: VecDeque<Sense>,
    pub(super) prevents: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) nexuses: BTreeMap<u64, NexusState>,
    pub(super) mode: super::mode::Mode,
    pub(super) reserved_by: Option<u64>,
    pub(super) persistent: super::persist::Persistent,
    pub(super) ejected: bool,
    pub(super) copies: super::copy::Copies,
}

impl NexusState {
    pub(super) fn attention(&mut self, sense: Sense) {
        if self.attentions.len() == MAX_ATTENTIONS {
            self.attentions.pop_front();
        }
        if !self.attentions.contains(&sense) {
            self.attentions.push_back(sense);
        }
    }
}

impl State {
    /// Tells every nexus but one.
    pub(super) fn attention_others(&mut self, but: u64, sense: Sense) {
        for (_, nexus) in self.nexuses.iter_mut().filter(|(id, _)| **id != but) {
            nexus.attention(sense);
        }
    }
}

/// A logical unit.
#[derive(Debug)]
pub struct Unit {
    pub(super) identity: Identity,
    size: AtomicU64,
    state: Mutex<State>,
    next_nexus: AtomicU64,
    /// Counts resets: tasks begun before the last one are aborted.
    epoch: AtomicU64,
    /// Ordinary writes share it; what compares and writes at once holds it alone.
    pub(super) writers: RwLock<()>,
}

impl Unit {
    /// A unit of `size` bytes.
    #[must_use]
    pub fn new(identity: Identity, size: u64) -> Arc<Self> {
        Arc::new(Self {
            identity,
            size: AtomicU64::new(size),
            state: Mutex::default(),
            next_nexus: AtomicU64::new(1),
            epoch: AtomicU64::new(0),
            writers: RwLock::new(()),
        })
    }

    /// Begins a session's view; `name` is the initiator's with its ISID. Its first command learns of the power-on.
    #[must_use]
    pub fn attach(self: &Arc<Self>, name: String) -> Nexus {
        let id = self.next_nexus.fetch_add(1, Ordering::Relaxed);
        let nexus = NexusState { name: name.clone(), attentions: VecDeque::from([Sense::POWER_ON]), prevents: false };
        let mut state = self.state();
        // The first session powers it on: a boot never finds the drive empty because the one before has ejected it.
        if state.nexuses.is_empty() {
            state.ejected = false;
        }
        state.nexuses.insert(id, nexus);
        drop(state);
        Nexus { unit: self.clone(), id, name }
    }

    /// The disk has this size now. If it has grown, every session's next command learns of it; it never shrinks.
    pub fn resized(&self, size: u64) {
        if self.size.load(Ordering::Relaxed) < size && self.size.fetch_max(size, Ordering::AcqRel) < size {
            for nexus in self.state().nexuses.values_mut() {
                nexus.attention(Sense::CAPACITY_CHANGED);
            }
        }
    }

    /// Size in blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.size.load(Ordering::Relaxed) / BLOCK
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole after each statement, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write_protected(&self, state: &State) -> Option<Sense> {
        if self.identity.readonly {
            Some(Sense::READ_ONLY)
        } else if state.mode.software_protected {
            Some(Sense::SOFTWARE_PROTECTED)
        } else {
            None
        }
    }
}

/// One session's view of a unit; ends with it.
#[derive(Debug)]
pub struct Nexus {
    pub(super) unit: Arc<Unit>,
    pub(super) id: u64,
    pub(super) name: String,
}

impl Drop for Nexus {
    fn drop(&mut self) {
        let mut state = self.unit.state();
        state.nexuses.remove(&self.id);
        if state.reserved_by == Some(self.id) {
            state.reserved_by = None;
        }
    }
}

impl Nexus {
    /// The unit.
    #[must_use]
    pub fn unit(&self) -> &Arc<Unit> {
        &self.unit
    }

    /// Sense data are wanted in descriptor form.
    #[must_use]
    pub fn descriptor_sense(&self) -> bool {
        self.unit.state().mode.descriptor_sense
    }

    /// Counts resets of the unit, by whichever session.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.unit.epoch.load(Ordering::Acquire)
    }

    /// Begins a command to this unit.
    #[must_use]
    pub fn begin(&self, cdb: &[u8; 16]) -> Action {
        let Some(entry) = opcodes::find(cdb) else {
            return self.attention(cdb).unwrap_or(opcodes::unknown(cdb)).into();
        };
        if let Some(sense) = self.attention(cdb) {
            return sense.into();
        }
        {
            let state = self.unit.state();
            if state.reserved_by.is_some_and(|holder| holder != self.id) && !opcodes::despite_reservation(cdb) {
                return Action::Status(Status::ReservationConflict);
            }
            if state.persistent.conflicts(&self.name, cdb, entry.writes) {
                return Action::Status(Status::ReservationConflict);
            }
            if entry.medium && state.ejected {
                return Sense::NO_MEDIUM.into();
            }
            if entry.writes
                && let Some(sense) = self.unit.write_protected(&state)
            {
                return sense.into();
            }
        }
        (entry.begin)(self, cdb)
    }

    /// Goes on with a command that took data. `data` is what the initiator gave, which may be less than was wanted.
    #[must_use]
    pub fn data(&self, cdb: &[u8; 16], data: &[u8]) -> Action {
        match opcodes::find(cdb).and_then(|entry| entry.data) {
            Some(then) => then(self, cdb, data),
            None => Sense::OPCODE.into(),
        }
    }

    /// A reset of the unit (LUN RESET, TARGET WARM RESET, TARGET COLD RESET): aborts every session's tasks and takes back what
    /// they had set.
    pub fn reset(&self) {
        self.unit.epoch.fetch_add(1, Ordering::AcqRel);
        let mut state = self.unit.state();
        state.reserved_by = None;
        state.mode = super::mode::Mode::default();
        for nexus in state.nexuses.values_mut() {
            nexus.prevents = false;
        }
        state.attention_others(self.id, Sense::RESET);
        if let Some(own) = state.nexuses.get_mut(&self.id) {
            own.attentions.clear();
            own.attentions.push_back(Sense::RESET);
        }
    }

    /// Aborts every session's tasks: CLEAR TASK SET.
    pub fn clear_tasks(&self) {
        self.unit.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The attention that this command must report, once. INQUIRY, REPORT LUNS and REQUEST SENSE report none (SPC-4 5.14).
    fn attention(&self, cdb: &[u8; 16]) -> Option<Sense> {
        if matches!(cdb[0], 0x12 | 0xa0 | 0x03) {
            return None;
        }
        self.take_attention()
    }

    pub(super) fn take_attention(&self) -> Option<Sense> {
        self.unit.state().nexuses.get_mut(&self.id)?.attentions.pop_front()
    }
}

/// A command to a LUN that is not there (SPC-4 6.6.2, 6.33, 6.39): these three answer even so. `well_known`: the REPORT LUNS unit.
#[must_use]
pub fn elsewhere(cdb: &[u8; 16], well_known: bool) -> Action {
    match cdb[0] {
        0x12 => super::inquiry::absent(cdb, well_known),
        0xa0 => super::control::luns(cdb),
        0x00 if well_known => Action::GOOD,
        0x03 => {
            let sense = if well_known { Sense::NONE } else { Sense::LUN };
            super::allocated(sense.encode(cdb[1] & 1 != 0), u32::from(cdb[4]))
        }
        _ if well_known => Sense::OPCODE.into(),
        _ => Sense::LUN.into(),
    }
}
