//! PERSISTENT RESERVE IN and OUT (SPC-4 5.13, 6.15, 6.16): registrations of I_T nexuses and one reservation. Kept as long as any
//! session has the unit open (no APTPL).

use std::collections::BTreeMap;

use super::super::wire::{be16, be32, be64};
use super::unit::State;
use super::{Action, Nexus, Sense, Status, allocated};

/// Who may do what to a unit. Nexuses go by their name, for a registration outlives its session.
#[derive(Debug, Default)]
pub(super) struct Persistent {
    generation: u32,
    keys: BTreeMap<String, u64>,
    /// Holder and type. With the types for all registrants each of these holds it.
    held: Option<(String, u8)>,
}

impl Persistent {
    fn is_holder(&self, name: &str) -> bool {
        match &self.held {
            Some((_, 7 | 8)) => self.keys.contains_key(name),
            Some((holder, _)) => holder == name,
            None => false,
        }
    }

    /// Whether a nexus must not do this (SPC-4 table 66).
    pub(super) fn conflicts(&self, name: &str, cdb: &[u8; 16], writes: bool) -> bool {
        let Some((_, kind)) = &self.held else { return false };
        if self.is_holder(name) || matches!(kind, 5..=8) && self.keys.contains_key(name) {
            return false;
        }
        let changes = writes || matches!(cdb[0], 0x35 | 0x91 | 0x15 | 0x55 | 0x1b);
        let reads =
            matches!(cdb[0], 0x08 | 0x28 | 0x88 | 0xa8 | 0x2f | 0x8f | 0xaf | 0x34 | 0x90 | 0x37 | 0xb7 | 0x1a | 0x5a)
                || cdb[0] == 0x9e && cdb[1] & 0x1f == 0x12;
        changes || reads && matches!(kind, 3 | 6 | 8)
    }
}

/// PERSISTENT RESERVE IN: READ KEYS, READ RESERVATION, REPORT CAPABILITIES, READ FULL STATUS.
pub(super) fn reserve_in(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let state = nexus.unit.state();
    let pr = &state.persistent;
    let mut body = Vec::new();
    match cdb[1] & 0x1f {
        0 => pr.keys.values().for_each(|key| body.extend_from_slice(&key.to_be_bytes())),
        1 => {
            if let Some((holder, kind)) = &pr.held {
                let key = if *kind >= 7 { 0 } else { pr.keys.get(holder).copied().unwrap_or(0) };
                body.extend_from_slice(&key.to_be_bytes());
                body.extend_from_slice(&[0, 0, 0, 0, 0, *kind, 0, 0]);
            }
        }
        2 => return allocated(vec![0, 8, 0x00, 0x80, 0xea, 0x01, 0, 0], u32::from(be16(cdb, 7))),
        _ => {
            for (name, key) in &pr.keys {
                let holder = pr.is_holder(name);
                let kind = pr.held.as_ref().map_or(0, |held| held.1);
                body.extend_from_slice(&key.to_be_bytes());
                body.extend_from_slice(&[
                    0,
                    0,
                    0,
                    0,
                    u8::from(holder),
                    if holder { kind } else { 0 },
                    0,
                    0,
                    0,
                    0,
                    0,
                    1,
                ]);
                // TransportID (SPC-4 7.6.4.6): name and ISID.
                let mut id = name.clone().into_bytes();
                id.push(0);
                id.resize(id.len().next_multiple_of(4).max(20), 0);
                body.extend_from_slice(&(id.len() as u32 + 4).to_be_bytes());
                body.extend_from_slice(&[0x45, 0]);
                body.extend_from_slice(&(id.len() as u16).to_be_bytes());
                body.extend_from_slice(&id);
            }
        }
    }
    let mut data = pr.generation.to_be_bytes().to_vec();
    data.extend_from_slice(&(body.len() as u32).to_be_bytes());
    data.extend_from_slice(&body);
    allocated(data, u32::from(be16(cdb, 7)))
}

/// PERSISTENT RESERVE OUT.
pub(super) fn reserve_out(_: &Nexus, cdb: &[u8; 16]) -> Action {
    match be32(cdb, 5) {
        24 => Action::TakeExactly(24),
        _ => Sense::LIST_LENGTH.into(),
    }
}

/// The list of a PERSISTENT RESERVE OUT is there.
pub(super) fn reserve_out_list(nexus: &Nexus, cdb: &[u8; 16], list: &[u8]) -> Action {
    let (key, new) = (be64(list, 0), be64(list, 8));
    let flags = list.get(20).copied().unwrap_or(0);
    let (action, scope, kind) = (cdb[1] & 0x1f, cdb[2] >> 4, cdb[2] & 0x0f);
    // SPEC_I_PT and APTPL are not offered; of one port, ALL_TG_PT is as good as not.
    if flags & 0x09 != 0 {
        return Sense::LIST_FIELD.into();
    }
    let mut state = nexus.unit.state();
    let own = state.persistent.keys.get(&nexus.name).copied();
    let registers = matches!(action, 0 | 6);
    let keyless = action == 6 || action == 0 && own.is_none() && key == 0;
    if !keyless && own != Some(key) {
        return Action::Status(Status::ReservationConflict);
    }
    if matches!(action, 1 | 2 | 4 | 5) && !registers && (scope != 0 || !matches!(kind, 1 | 3 | 5..=8)) {
        return Sense::CDB_FIELD.into();
    }
    match action {
        0 | 6 => register(&mut state, nexus, new),
        1 => match &state.persistent.held {
            Some((_, held)) if !state.persistent.is_holder(&nexus.name) || *held != kind => {
                return Action::Status(Status::ReservationConflict);
            }
            Some(_) => {}
            None => state.persistent.held = Some((nexus.name.clone(), kind)),
        },
        2 => {
            if state.persistent.is_holder(&nexus.name) {
                if state.persistent.held.as_ref().is_some_and(|held| held.1 != kind) {
                    return Sense::RELEASE.into();
                }
                state.persistent.held = None;
                if kind >= 5 {
                    state.attention_registered(&nexus.name, Sense::RELEASED_RESERVATIONS);
                }
            }
        }
        3 => {
            state.attention_registered(&nexus.name, Sense::PREEMPTED_RESERVATIONS);
            state.persistent.keys.clear();
            state.persistent.held = None;
            state.persistent.generation = state.persistent.generation.wrapping_add(1);
        }
        4 | 5 => return preempt(&mut state, nexus, new, kind),
        _ => return Sense::CDB_FIELD.into(),
    }
    Action::GOOD
}

fn register(state: &mut State, nexus: &Nexus, new: u64) {
    state.persistent.generation = state.persistent.generation.wrapping_add(1);
    if new != 0 {
        state.persistent.keys.insert(nexus.name.clone(), new);
        return;
    }
    let held = state.persistent.held.clone();
    state.persistent.keys.remove(&nexus.name);
    if let Some((holder, kind)) = held {
        let ends = if kind >= 7 { state.persistent.keys.is_empty() } else { holder == nexus.name };
        if ends {
            state.persistent.held = None;
            if matches!(kind, 5 | 6) {
                state.attention_registered(&nexus.name, Sense::RELEASED_RESERVATIONS);
            }
        }
    }
}

fn preempt(state: &mut State, nexus: &Nexus, victim: u64, kind: u8) -> Action {
    let holder = state.persistent.held.clone();
    let all = matches!(holder, Some((_, 7 | 8))) && victim == 0;
    if victim == 0 && !all {
        return Sense::LIST_FIELD.into();
    }
    let gone: Vec<String> = state
        .persistent
        .keys
        .iter()
        .filter(|(name, key)| **name != nexus.name && (all || **key == victim))
        .map(|(name, _)| name.clone())
        .collect();
    let takes = match &holder {
        Some((_, 7 | 8)) => all,
        Some((name, _)) => state.persistent.keys.get(name) == Some(&victim),
        None => false,
    };
    if gone.is_empty() && !takes {
        return Action::Status(Status::ReservationConflict);
    }
    for name in &gone {
        state.persistent.keys.remove(name);
        state.attention_named(name, Sense::PREEMPTED_REGISTRATIONS);
    }
    if takes {
        if holder.is_some_and(|held| held.1 != kind && held.1 >= 5) {
            state.attention_registered(&nexus.name, Sense::RELEASED_RESERVATIONS);
        }
        state.persistent.held = Some((nexus.name.clone(), kind));
    }
    state.persistent.generation = state.persistent.generation.wrapping_add(1);
    Action::GOOD
}

impl State {
    fn attention_named(&mut self, name: &str, sense: Sense) {
        for nexus in self.nexuses.values_mut().filter(|n| n.name == name) {
            nexus.attention(sense);
        }
    }

    /// Tells every registered nexus but one.
    fn attention_registered(&mut self, but: &str, sense: Sense) {
        let keys = &self.persistent.keys;
        for nexus in self.nexuses.values_mut().filter(|n| n.name != but && keys.contains_key(&n.name)) {
            nexus.attention(sense);
        }
    }
}
