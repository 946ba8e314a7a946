//! PERSISTENT RESERVE IN and OUT (SPC-4 5.13, 6.15, 6.16): registrations of I_T nexuses and one reservation.
//!
//! Nexuses go by the name of their initiator port, iSCSI name and ISID, for a registration outlives its session. A command that changes
//! something is a job ([`super::Job::Remember`]): [`apply`] says what it comes to, [`carry_out`] makes it so, in the unit's memory first.

use super::super::wire::{be16, be32, be64};
use super::memory::{Held, MemoryError, Registration, Reservations};
use super::{Action, Done, Job, Nexus, Sense, Status, Unit, allocated};

/// Nexuses that one unit registers.
const MOST: usize = 256;
/// Bytes of a parameter list without TransportIDs.
const LIST: u32 = 24;
/// Bytes of a TransportID of iSCSI: its header, a name of at most 223 bytes, the ISID, and padding.
const TRANSPORT_ID: u32 = 4 + 244;

/// Types of reservations (SPC-4 table 215).
mod kind {
    pub(super) const EXCLUSIVE: u8 = 3;
    pub(super) const WRITE_REGISTRANTS: u8 = 5;
    pub(super) const EXCLUSIVE_REGISTRANTS: u8 = 6;
    pub(super) const WRITE_ALL: u8 = 7;
    pub(super) const EXCLUSIVE_ALL: u8 = 8;
}

/// There is such a type of reservation.
pub(super) fn is_type(kind: u8) -> bool {
    matches!(kind, 1 | 3 | 5..=8)
}

/// Each registered nexus holds such a reservation.
fn is_everybodys(kind: u8) -> bool {
    matches!(kind, kind::WRITE_ALL | kind::EXCLUSIVE_ALL)
}

/// Who may do what to a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Persistent {
    generation: u32,
    /// Bit APTPL of the last registration: all of this outlives a loss of power.
    aptpl: bool,
    table: Reservations,
}

impl From<Reservations> for Persistent {
    fn from(table: Reservations) -> Self {
        Self { generation: 0, aptpl: true, table }
    }
}

impl Persistent {
    pub(super) fn is_empty(&self) -> bool {
        self.table.registrations.is_empty()
    }

    /// What a loss of power must not take.
    pub(super) fn remembered(&self) -> Option<Reservations> {
        (self.aptpl && !self.is_empty()).then(|| self.table.clone())
    }

    fn key(&self, name: &str) -> Option<u64> {
        self.table.registrations.get(name).map(|r| r.key)
    }

    fn is_holder(&self, name: &str) -> bool {
        match &self.table.held {
            Some(held) if is_everybodys(held.kind) => self.key(name).is_some(),
            Some(held) => held.holder == name,
            None => false,
        }
    }

    /// Registered, and the reservation is of a type that lets all registered nexuses in.
    fn is_let_in(&self, name: &str) -> bool {
        self.table.held.as_ref().is_some_and(|held| held.kind >= kind::WRITE_REGISTRANTS) && self.key(name).is_some()
    }

    /// Whether a nexus must not do this (SPC-4 table 66, SBC-3 table 13).
    pub(super) fn conflicts(&self, name: &str, cdb: &[u8; 16], writes: bool) -> bool {
        let Some(held) = &self.table.held else { return false };
        if self.is_holder(name) || self.is_let_in(name) {
            return false;
        }
        let changes = writes
            || match cdb[0] {
                // MODE SELECT, SYNCHRONIZE CACHE.
                0x15 | 0x55 | 0x35 | 0x91 => true,
                // START STOP UNIT: only to start is harmless.
                0x1b => cdb[4] & 0xf0 != 0 || cdb[4] & 1 == 0,
                // PREVENT ALLOW MEDIUM REMOVAL.
                0x1e => cdb[4] & 3 != 0,
                _ => false,
            };
        // READ, VERIFY, PRE-FETCH, READ DEFECT DATA, MODE SENSE, GET LBA STATUS.
        let reads = match cdb[0] {
            0x08 | 0x28 | 0x88 | 0xa8 | 0x2f | 0x8f | 0xaf | 0x34 | 0x90 | 0x37 | 0xb7 | 0x1a | 0x5a => true,
            0x9e => cdb[1] & 0x1f == 0x12,
            _ => false,
        };
        changes || reads && matches!(held.kind, kind::EXCLUSIVE | kind::EXCLUSIVE_REGISTRANTS | kind::EXCLUSIVE_ALL)
    }

    /// What RESERVE(6) and RELEASE(6) come to, which otherwise go on as in SPC-2 (SPC-4 5.13.3: CRH).
    pub(super) fn old_reservation(&self, name: &str) -> Option<Action> {
        if self.is_holder(name) || self.is_let_in(name) {
            return Some(Action::GOOD);
        }
        (!self.is_empty()).then_some(Action::Status(Status::ReservationConflict))
    }
}

/// PERSISTENT RESERVE IN: READ KEYS, READ RESERVATION, REPORT CAPABILITIES, READ FULL STATUS.
pub(super) fn reserve_in(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let allocation = u32::from(be16(cdb, 7));
    let state = nexus.unit.state();
    // SPC-2 5.5.1: the two kinds of reservation exclude each other, even for one who holds both.
    if state.reserved_by.is_some() {
        return Action::Status(Status::ReservationConflict);
    }
    let pr = &state.kept.persistent;
    let mut body = Vec::new();
    match cdb[1] & 0x1f {
        0 => pr.table.registrations.values().for_each(|r| body.extend_from_slice(&r.key.to_be_bytes())),
        1 => {
            if let Some(held) = &pr.table.held {
                let key = if is_everybodys(held.kind) { 0 } else { pr.key(&held.holder).unwrap_or(0) };
                body.extend_from_slice(&key.to_be_bytes());
                body.extend_from_slice(&[0, 0, 0, 0, 0, held.kind, 0, 0]);
            }
        }
        2 => {
            // CRH and ATP_C; PTPL_C and PTPL_A where there is a file; TMV with all six types.
            let lasts = u8::from(nexus.unit.lasts());
            let active = u8::from(pr.aptpl && nexus.unit.lasts());
            return allocated(vec![0, 8, 0x14 | lasts, 0x80 | active, 0xea, 0x01, 0, 0], allocation);
        }
        _ => {
            for (name, registration) in &pr.table.registrations {
                let kind = pr.table.held.as_ref().filter(|_| pr.is_holder(name)).map(|held| held.kind);
                let flags = if registration.all_ports { 0x02 } else { 0 } | u8::from(kind.is_some());
                body.extend_from_slice(&registration.key.to_be_bytes());
                body.extend_from_slice(&[0, 0, 0, 0, flags, kind.unwrap_or(0), 0, 0, 0, 0, 0, 1]);
                let id = transport_id(name);
                body.extend_from_slice(&(id.len() as u32).to_be_bytes());
                body.extend_from_slice(&id);
            }
        }
    }
    let mut data = pr.generation.to_be_bytes().to_vec();
    data.extend_from_slice(&(body.len() as u32).to_be_bytes());
    data.extend_from_slice(&body);
    allocated(data, allocation)
}

/// SPC-4 7.6.4.6: the form with name and ISID.
fn transport_id(name: &str) -> Vec<u8> {
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    text.resize(text.len().next_multiple_of(4).max(20), 0);
    let mut id = vec![0x45, 0];
    id.extend_from_slice(&(text.len() as u16).to_be_bytes());
    id.extend_from_slice(&text);
    id
}

/// The name in a TransportID; `None` for one of another form, which names no initiator port.
fn initiator_port(id: &[u8]) -> Option<String> {
    let text = id.get(4..4 + usize::from(be16(id, 2)))?;
    let text = text.split(|&b| b == 0).next()?;
    let name = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
    (id[0] == 0x45 && name.contains(",i,0x")).then_some(name)
}

/// PERSISTENT RESERVE OUT.
pub(super) fn reserve_out(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let (action, len) = (cdb[1] & 0x1f, be32(cdb, 5));
    // As in `reserve_in`.
    if nexus.unit.state().reserved_by.is_some() {
        return Action::Status(Status::ReservationConflict);
    }
    match action {
        // A longer list with SPEC_I_PT is refused for that bit.
        0 if (LIST..=8192).contains(&len) => Action::TakeExactly(len),
        7 if (LIST + 4..=LIST + TRANSPORT_ID).contains(&len) => Action::TakeExactly(len),
        _ if len == LIST && action != 7 => Action::TakeExactly(len),
        _ => Sense::LIST_LENGTH.into(),
    }
}

/// The list of a PERSISTENT RESERVE OUT is there.
pub(super) fn reserve_out_list(nexus: &Nexus, cdb: &[u8; 16], _: &[u8]) -> Action {
    Action::Run(Job::Remember { nexus: nexus.id, cdb: *cdb })
}

/// Does it.
pub(super) fn carry_out(unit: &Unit, nexus: u64, cdb: &[u8; 16], list: &[u8]) -> Done {
    let Some(name) = unit.state().nexuses.get(&nexus).map(|n| n.name.clone()) else { return Done::Aborted };
    let lasts = unit.lasts();
    let changed = unit.remember(|kept| apply(&mut kept.persistent, &name, cdb, list, lasts));
    let effects = match changed {
        Ok((mut state, effects)) => {
            for (name, sense) in &effects.attentions {
                for nexus in state.nexuses.values_mut().filter(|n| n.name == *name) {
                    nexus.attention(*sense);
                }
            }
            effects.aborts.iter().for_each(|name| state.abort_named(name));
            effects
        }
        Err(Refused::Conflict) => return Done::Conflict,
        Err(Refused::Check(sense)) => return Done::Failed { sense, error: None },
        Err(Refused::Memory(error)) => return Done::Failed { sense: Sense::INTERNAL, error: Some(error.to_string()) },
    };
    if effects.settle {
        unit.settle();
    }
    Done::Good
}

/// The unit is treated as after a loss of power: what is not to outlive one is gone.
pub(super) fn power_on(unit: &Unit) -> Done {
    let forgotten = unit.remember(|kept| {
        if !kept.persistent.aptpl {
            kept.persistent = Persistent::default();
        }
        kept.persistent.generation = 0;
        Ok::<(), MemoryError>(())
    });
    match forgotten {
        Ok((mut state, ())) => {
            state.ejected = false;
            Done::Good
        }
        Err(error) => Done::Failed { sense: Sense::INTERNAL, error: Some(error.to_string()) },
    }
}

/// What else a change brings about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Effects {
    attentions: Vec<(String, Sense)>,
    /// Whose tasks are aborted.
    aborts: Vec<String>,
    /// The status waits until those are over.
    settle: bool,
}

/// Why nothing changes.
#[derive(Debug)]
enum Refused {
    Conflict,
    Check(Sense),
    Memory(MemoryError),
}

impl From<MemoryError> for Refused {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

impl From<Sense> for Refused {
    fn from(sense: Sense) -> Self {
        Self::Check(sense)
    }
}

type Applied = Result<Effects, Refused>;

/// What a PERSISTENT RESERVE OUT by the nexus `name` comes to; where it is refused, `pr` may have changed. `lasts`: APTPL is offered.
fn apply(pr: &mut Persistent, name: &str, cdb: &[u8; 16], list: &[u8], lasts: bool) -> Applied {
    let (key, new) = (be64(list, 0), be64(list, 8));
    let flags = list.get(20).copied().unwrap_or(0);
    let (action, scope, kind) = (cdb[1] & 0x1f, cdb[2] >> 4, cdb[2] & 0x0f);
    let registers = matches!(action, 0 | 6);
    let (spec_i_pt, all_ports) = (registers && flags & 0x08 != 0, flags & 0x04 != 0);
    let aptpl = if action == 7 { list.get(17).copied().unwrap_or(0) } else { flags } & 0x01 != 0;
    // SIP_C is 0, and PTPL_C may be. The bits mean nothing to other service actions (SPC-4 6.16.3).
    if spec_i_pt || (registers || action == 7) && aptpl && !lasts {
        return Err(Sense::LIST_FIELD.into());
    }
    if action != 7 && list.len() != LIST as usize {
        return Err(Sense::LIST_LENGTH.into());
    }
    let own = pr.key(name);
    let keyless = action == 6 || action == 0 && own.is_none() && key == 0;
    if !keyless && own != Some(key) {
        return Err(Refused::Conflict);
    }
    if matches!(action, 1 | 2 | 4 | 5) && (scope != 0 || !is_type(kind)) {
        return Err(Sense::CDB_FIELD.into());
    }
    match action {
        0 | 6 => register(pr, name, Registration { key: new, all_ports }, aptpl),
        1 => match &pr.table.held {
            Some(held) if !pr.is_holder(name) || held.kind != kind => Err(Refused::Conflict),
            Some(_) => Ok(Effects::default()),
            None => {
                pr.table.held = Some(Held { holder: name.to_owned(), kind });
                Ok(Effects::default())
            }
        },
        2 => release(pr, name, kind),
        3 => {
            let effects = pr.tell_others(name, Sense::PREEMPTED_RESERVATIONS);
            pr.table = Reservations::default();
            pr.count();
            Ok(effects)
        }
        4 | 5 => preempt(pr, name, new, kind, action == 5),
        7 => move_reservation(pr, name, new, list, aptpl),
        _ => Err(Sense::CDB_FIELD.into()),
    }
}

impl Persistent {
    fn count(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// An attention for every registered nexus but one.
    fn tell_others(&self, but: &str, sense: Sense) -> Effects {
        let others = self.table.registrations.keys().filter(|name| *name != but);
        Effects { attentions: others.map(|name| (name.clone(), sense)).collect(), ..Effects::default() }
    }

    fn insert(&mut self, name: &str, registration: Registration) -> Result<(), Refused> {
        if self.table.registrations.len() >= MOST && self.key(name).is_none() {
            return Err(Sense::REGISTRATIONS.into());
        }
        self.table.registrations.insert(name.to_owned(), registration);
        Ok(())
    }
}

fn register(pr: &mut Persistent, name: &str, registration: Registration, aptpl: bool) -> Applied {
    if registration.key == 0 && pr.key(name).is_none() {
        return Ok(Effects::default());
    }
    pr.count();
    pr.aptpl = aptpl;
    if registration.key != 0 {
        pr.insert(name, registration)?;
        return Ok(Effects::default());
    }
    let held = pr.table.held.clone();
    pr.table.registrations.remove(name);
    let Some(held) = held else { return Ok(Effects::default()) };
    let ends = if is_everybodys(held.kind) { pr.is_empty() } else { held.holder == name };
    if !ends {
        return Ok(Effects::default());
    }
    pr.table.held = None;
    // SPC-4 5.13.11.2.2: those who have lost their way in.
    Ok(match held.kind {
        kind::WRITE_REGISTRANTS | kind::EXCLUSIVE_REGISTRANTS => pr.tell_others(name, Sense::RELEASED_RESERVATIONS),
        _ => Effects::default(),
    })
}

fn release(pr: &mut Persistent, name: &str, kind: u8) -> Applied {
    if !pr.is_holder(name) {
        return Ok(Effects::default());
    }
    if pr.table.held.as_ref().is_some_and(|held| held.kind != kind) {
        return Err(Sense::RELEASE.into());
    }
    pr.table.held = None;
    if kind >= kind::WRITE_REGISTRANTS {
        return Ok(pr.tell_others(name, Sense::RELEASED_RESERVATIONS));
    }
    Ok(Effects::default())
}

/// SPC-4 5.13.11.2.3 to 5.13.11.2.6.
fn preempt(pr: &mut Persistent, name: &str, victim: u64, kind: u8, abort: bool) -> Applied {
    let held = pr.table.held.clone();
    let everybodys = held.as_ref().is_some_and(|held| is_everybodys(held.kind));
    let all = everybodys && victim == 0;
    if victim == 0 && !all {
        return Err(Sense::LIST_FIELD.into());
    }
    if !all && pr.table.registrations.values().all(|r| r.key != victim) {
        return Err(Refused::Conflict);
    }
    let others = pr.table.registrations.iter().filter(|(other, r)| *other != name && (all || r.key == victim));
    let gone: Vec<String> = others.map(|(other, _)| other.clone()).collect();
    let takes = all || !everybodys && held.as_ref().is_some_and(|held| pr.key(&held.holder) == Some(victim));
    let mut effects = Effects::default();
    for other in &gone {
        pr.table.registrations.remove(other);
        effects.attentions.push((other.clone(), Sense::PREEMPTED_REGISTRATIONS));
    }
    if takes {
        if held.is_some_and(|held| held.kind != kind) {
            effects.attentions.extend(pr.tell_others(name, Sense::RELEASED_RESERVATIONS).attentions);
        }
        pr.table.held = Some(Held { holder: name.to_owned(), kind });
    }
    if abort {
        effects.aborts = gone;
        effects.settle = true;
    }
    pr.count();
    Ok(effects)
}

/// REGISTER AND MOVE (SPC-4 5.13.8, 6.16.4).
fn move_reservation(pr: &mut Persistent, name: &str, new: u64, list: &[u8], aptpl: bool) -> Applied {
    let Some(held) = pr.table.held.clone() else { return Err(Sense::CDB_FIELD.into()) };
    if is_everybodys(held.kind) || held.holder != name {
        return Err(Refused::Conflict);
    }
    let unregister = list.get(17).copied().unwrap_or(0) & 0x02 != 0;
    let (port, len) = (be16(list, 18), be32(list, 20) as usize);
    let id = list.get(24..).filter(|id| id.len() == len && len.is_multiple_of(4)).ok_or(Sense::LIST_LENGTH)?;
    let Some(to) = initiator_port(id).filter(|to| new != 0 && port == 1 && to != name) else {
        return Err(Sense::LIST_FIELD.into());
    };
    pr.insert(&to, Registration { key: new, all_ports: false })?;
    if unregister {
        pr.table.registrations.remove(name);
    }
    pr.table.held = Some(Held { holder: to, kind: held.kind });
    pr.aptpl = aptpl;
    pr.count();
    Ok(Effects::default())
}

#[cfg(test)]
#[path = "persist_tests.rs"]
mod tests;
