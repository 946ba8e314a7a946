//! State that the sessions of one logical unit share, and one session's view of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::memory::{Memory, MemoryError, Remembered, Sanitize};
use super::persist::Persistent;
use super::{Action, BLOCK, Begun, Identity, Job, Sense, Status, Task, opcodes};

/// Unit attentions kept for a nexus; the oldest is dropped beyond that.
const MAX_ATTENTIONS: usize = 8;

/// One session's state at a unit.
#[derive(Debug, Default)]
pub(super) struct NexusState {
    pub(super) name: String,
    pub(super) attentions: VecDeque<Sense>,
    pub(super) prevents: bool,
    /// Another session has cleared the task set, and this one has not looked yet which tasks it has lost.
    cleared: bool,
    /// Counts what aborted this session's tasks alone.
    aborts: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) nexuses: BTreeMap<u64, NexusState>,
    pub(super) mode: super::mode::Mode,
    pub(super) reserved_by: Option<u64>,
    pub(super) kept: Kept,
    pub(super) ejected: bool,
    pub(super) copies: super::copy::Copies,
    /// A sanitize operation has a thread.
    pub(super) sanitizing: bool,
}

/// What outlives the sessions. [`Unit::remember`] changes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) persistent: Persistent,
    pub(super) sanitize: Option<Sanitize>,
}

impl Kept {
    /// What was ordered of this unit's medium.
    pub(super) fn order(&self, identity: &Identity) -> Option<&Sanitize> {
        self.sanitize
            .as_ref()
            .filter(|order| identity.medium.as_ref().is_some_and(|medium| medium.name == order.medium))
    }

    fn remembered(&self) -> Remembered {
        Remembered { reservations: self.persistent.remembered(), sanitize: self.sanitize.clone() }
    }
}

impl From<Remembered> for Kept {
    fn from(remembered: Remembered) -> Self {
        let persistent = remembered.reservations.map(Persistent::from).unwrap_or_default();
        Self { persistent, sanitize: remembered.sanitize }
    }
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
    /// What this nexus is to be told next.
    fn take_attention(&mut self, nexus: u64) -> Option<Sense> {
        self.nexuses.get_mut(&nexus)?.attentions.pop_front()
    }

    /// Tells every nexus but one.
    pub(super) fn attention_others(&mut self, but: u64, sense: Sense) {
        for (_, nexus) in self.nexuses.iter_mut().filter(|(id, _)| **id != but) {
            nexus.attention(sense);
        }
    }

    /// What a reset takes back (SAM-5 6.3.3).
    fn reset(&mut self) {
        self.reserved_by = None;
        self.mode = super::mode::Mode::default();
        for nexus in self.nexuses.values_mut() {
            nexus.prevents = false;
        }
    }

    /// Aborts the tasks of the sessions with this name.
    pub(super) fn abort_named(&mut self, name: &str) {
        for nexus in self.nexuses.values_mut().filter(|n| n.name == name) {
            nexus.aborts.fetch_add(1, Ordering::AcqRel);
            nexus.prevents = false;
        }
    }
}

/// A logical unit.
#[derive(Debug)]
pub struct Unit {
    pub(super) identity: Identity,
    size: AtomicU64,
    state: Mutex<State>,
    /// Held while what outlives the sessions changes; taken before `state`, never after it.
    memory: Mutex<Memory>,
    lasts: bool,
    next_nexus: AtomicU64,
    /// Counts resets: tasks begun before the last one are aborted.
    epoch: AtomicU64,
    pub(super) sanitizing: super::sanitize::Progress,
    /// Whether there is an order to sanitize the medium, done or not: nobody writes then.
    ordered: AtomicBool,
    /// Odd while an atomic write is at work, another number after each: a reader that saw it change reads again.
    pub(super) atomic: AtomicU64,
    /// Ordinary writes share it; what compares and writes at once holds it alone.
    pub(super) writers: RwLock<()>,
}

impl Unit {
    /// A unit of `size` bytes that forgets everything with its last `Arc`.
    #[must_use]
    pub fn new(identity: Identity, size: u64) -> Arc<Self> {
        Self::with_memory(identity, size, Memory::volatile())
    }

    /// A unit of `size` bytes that has been here before.
    #[must_use]
    pub fn with_memory(identity: Identity, size: u64, memory: Memory) -> Arc<Self> {
        let state = State { kept: memory.remembered().into(), ..State::default() };
        Self::of(identity, size, state, memory)
    }

    fn of(identity: Identity, size: u64, state: State, memory: Memory) -> Arc<Self> {
        let ordered = state.kept.order(&identity).is_some();
        Arc::new(Self {
            identity,
            size: AtomicU64::new(size),
            state: Mutex::new(state),
            lasts: memory.lasts(),
            memory: Mutex::new(memory),
            next_nexus: AtomicU64::new(1),
            epoch: AtomicU64::new(0),
            sanitizing: Default::default(),
            ordered: ordered.into(),
            atomic: AtomicU64::new(0),
            writers: RwLock::new(()),
        })
    }

    /// The same unit under another identity, with what it keeps. For one that no session has open.
    #[must_use]
    pub fn renewed(&self, identity: Identity, size: u64) -> Arc<Self> {
        let memory = std::mem::replace(&mut *self.memory(), Memory::volatile());
        let state = State { kept: self.state().kept.clone(), ..State::default() };
        Self::of(identity, size, state, memory)
    }

    /// Identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// No session has it open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state().nexuses.is_empty()
    }

    /// No session has it open, and its disk was reset since: nothing that it knows holds any more.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.is_idle() && !self.is_sanitizing() && self.memory().is_gone()
    }

    /// No session has it open, and this is another medium in its place: a new disk, on which nothing is reserved.
    #[must_use]
    pub fn is_replaced(&self, by: &Identity) -> bool {
        let other = matches!((&self.identity.medium, &by.medium), (Some(old), Some(new)) if old != new);
        other && self.is_idle() && !self.is_sanitizing()
    }

    /// It knows what would be lost with it.
    #[must_use]
    pub fn keeps(&self) -> bool {
        let state = self.state();
        !state.kept.persistent.is_empty() || state.kept.sanitize.is_some()
    }

    /// What it keeps outlives a restart: without that, neither APTPL nor SANITIZE are offered.
    pub(super) fn lasts(&self) -> bool {
        self.lasts
    }

    /// Begins a session's view; `name` is the initiator's with its ISID. Its first command learns of the power-on.
    #[must_use]
    pub fn attach(self: &Arc<Self>, name: String) -> Nexus {
        let id = self.next_nexus.fetch_add(1, Ordering::Relaxed);
        let aborts = Arc::new(AtomicU64::new(0));
        let nexus = NexusState {
            name: name.clone(),
            attentions: VecDeque::from([Sense::POWER_ON]),
            prevents: false,
            cleared: false,
            aborts: aborts.clone(),
        };
        self.state().nexuses.insert(id, nexus);
        Nexus { unit: self.clone(), id, name, aborts }
    }

    /// The disk has this size now. If it has grown, every session's next command learns of it; it never shrinks.
    pub fn resized(&self, size: u64) {
        if self.size.load(Ordering::Relaxed) < size && self.size.fetch_max(size, Ordering::AcqRel) < size {
            for nexus in self.state().nexuses.values_mut() {
                nexus.attention(Sense::CAPACITY_CHANGED);
            }
        }
    }

    /// The first session comes; the disk has this size.
    pub fn power_on(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// Changes what outlives the sessions. The change is in the file before anybody sees it, and one is made after the other, so that
    /// none is lost. Where `change` fails, nothing has changed. Gives the state, still locked, for what else belongs to the change.
    pub(super) fn remember<T, E: From<MemoryError>>(
        &self,
        change: impl FnOnce(&mut Kept) -> Result<T, E>,
    ) -> Result<(MutexGuard<'_, State>, T), E> {
        let mut memory = self.memory();
        let mut kept = self.state().kept.clone();
        let result = change(&mut kept)?;
        memory.save(&kept.remembered())?;
        let mut state = self.state();
        state.kept = kept;
        self.note_order(&state);
        Ok((state, result))
    }

    /// After each change of what was ordered, under the lock of the state in which it is.
    pub(super) fn note_order(&self, state: &State) {
        self.ordered.store(state.kept.order(&self.identity).is_some(), Ordering::SeqCst);
    }

    /// Everything is to be erased, or could not be: nobody writes.
    pub(super) fn is_ordered(&self) -> bool {
        self.ordered.load(Ordering::SeqCst)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic while it is held leaves the file as it was or as it was to be, and the memory knows that it does not know.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every write under way has ended. What began before the last abort writes no more after this.
    pub(super) fn settle(&self) {
        drop(self.writers.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// [`Nexus::epoch`] for a task.
    pub(super) fn epoch(&self, aborts: &AtomicU64) -> u64 {
        self.epoch.load(Ordering::Acquire).wrapping_add(aborts.load(Ordering::Acquire))
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
    aborts: Arc<AtomicU64>,
}

impl Drop for Nexus {
    fn drop(&mut self) {
        let mut state = self.unit.state();
        state.nexuses.remove(&self.id);
        if state.reserved_by == Some(self.id) {
            state.reserved_by = None;
        }
        // The last one turns the power off: the next boot finds the medium in the drive. Only reservations stay (SPC-4 5.13.1).
        if state.nexuses.is_empty() {
            state.reset();
            state.ejected = false;
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

    /// Counts what aborts this session's tasks: resets of the unit, by whichever session, and its being preempted.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.unit.epoch(&self.aborts)
    }

    /// A job for a command that began at this epoch.
    #[must_use]
    pub fn task(&self, job: Job, epoch: u64) -> Task {
        Task { job, begun: self.begun(epoch) }
    }

    /// For a command that began at this epoch.
    #[must_use]
    pub fn begun(&self, epoch: u64) -> Begun {
        Begun { aborts: self.aborts.clone(), epoch }
    }

    /// Begins a command to this unit.
    #[must_use]
    pub fn begin(&self, cdb: &[u8; 16]) -> Action {
        let Some(entry) = opcodes::find(&self.unit, cdb) else {
            let attention = self.attention(&mut self.unit.state(), cdb);
            return attention.unwrap_or(opcodes::unknown(&self.unit, cdb)).into();
        };
        {
            let mut state = self.unit.state();
            if let Some(sense) = self.attention(&mut state, cdb) {
                return sense.into();
            }
            if state.reserved_by.is_some_and(|holder| holder != self.id) && !opcodes::despite_reservation(cdb) {
                return Action::Status(Status::ReservationConflict);
            }
            if state.kept.persistent.conflicts(&self.name, cdb, entry.writes) {
                return Action::Status(Status::ReservationConflict);
            }
            if let Some(sense) = super::sanitize::refuses(&self.unit, &state, cdb) {
                return sense.into();
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
        match opcodes::find(&self.unit, cdb).and_then(|entry| entry.data) {
            Some(then) => then(self, cdb, data),
            None => Sense::OPCODE.into(),
        }
    }

    /// A reset of the unit (LUN RESET, TARGET WARM RESET, TARGET COLD RESET): aborts every session's tasks, takes back what they had
    /// set, and tells them with `sense`. [`super::Job::Settle`] waits until the tasks are at work no more.
    pub fn reset(&self, sense: Sense) {
        self.unit.epoch.fetch_add(1, Ordering::AcqRel);
        let mut state = self.unit.state();
        state.reset();
        state.attention_others(self.id, sense);
        if let Some(own) = state.nexuses.get_mut(&self.id) {
            own.attentions.clear();
            own.attentions.push_back(sense);
        }
    }

    /// Aborts every session's tasks: CLEAR TASK SET. Others that lose one are told.
    pub fn clear_tasks(&self) {
        self.unit.epoch.fetch_add(1, Ordering::AcqRel);
        for (_, nexus) in self.unit.state().nexuses.iter_mut().filter(|(id, _)| **id != self.id) {
            nexus.cleared = true;
        }
    }

    /// This session has dropped its aborted tasks; whether there were any.
    pub fn swept(&self, lost: bool) {
        if let Some(own) = self.unit.state().nexuses.get_mut(&self.id)
            && std::mem::take(&mut own.cleared)
            && lost
        {
            own.attention(Sense::CLEARED);
        }
    }

    /// The attention that this command must report, once. INQUIRY, REPORT LUNS and REQUEST SENSE report none (SPC-4 5.14).
    fn attention(&self, state: &mut State, cdb: &[u8; 16]) -> Option<Sense> {
        if matches!(cdb[0], 0x12 | 0xa0 | 0x03) {
            return None;
        }
        state.take_attention(self.id)
    }

    pub(super) fn take_attention(&self) -> Option<Sense> {
        self.unit.state().take_attention(self.id)
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
