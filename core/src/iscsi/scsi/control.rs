//! Commands about the unit as such: ready or not, sense, start and stop, removal, which LUNs there are.

use super::super::wire::{be16, be32};
use super::{Action, Nexus, Sense, allocated};

/// TEST UNIT READY: the table has checked all there is.
pub(super) fn test_unit_ready(_: &Nexus, _: &[u8; 16]) -> Action {
    Action::GOOD
}

/// REQUEST SENSE (SPC-4 6.39): a pending attention, else the state.
pub(super) fn request_sense(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let attention = nexus.take_attention();
    let state = nexus.unit.state();
    let sense = attention.unwrap_or(match super::sanitize::sense(&nexus.unit, &state) {
        Some(sense) => sense,
        None if state.ejected => Sense::NO_MEDIUM,
        None => Sense::NONE,
    });
    allocated(sense.encode(cdb[1] & 1 != 0), u32::from(cdb[4]))
}

/// START STOP UNIT (SBC-3 5.25).
pub(super) fn start_stop(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let (power, no_flush, eject, start) = (cdb[4] >> 4, cdb[4] & 4 != 0, cdb[4] & 2 != 0, cdb[4] & 1 != 0);
    // There is no motor: a power condition changes nothing, nor does a stop without LOEJ.
    if power != 0 {
        return Action::GOOD;
    }
    {
        let mut state = nexus.unit.state();
        if eject && nexus.unit.identity.removable {
            if state.nexuses.values().any(|n| n.prevents) {
                return Sense::PREVENTED.into();
            }
            let loads = start && state.ejected;
            state.ejected = !start;
            if loads {
                state.attention_others(nexus.id, Sense::MEDIUM_CHANGED);
            }
        }
    }
    if start || no_flush { Action::GOOD } else { Action::Run(super::Job::Flush) }
}

/// PREVENT ALLOW MEDIUM REMOVAL (SBC-3 5.15).
pub(super) fn prevent_allow(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    if cdb[4] & 3 > 1 {
        return Sense::CDB_FIELD.into();
    }
    if let Some(own) = nexus.unit.state().nexuses.get_mut(&nexus.id) {
        own.prevents = cdb[4] & 1 != 0;
    }
    Action::GOOD
}

/// REPORT LUNS (SPC-4 6.33): LUN 0, and the well-known unit where those are asked for.
pub(super) fn report_luns(_: &Nexus, cdb: &[u8; 16]) -> Action {
    luns(cdb)
}

pub(super) fn luns(cdb: &[u8; 16]) -> Action {
    const WELL_KNOWN: [u8; 8] = [0xc1, 0x01, 0, 0, 0, 0, 0, 0];
    let allocation = be32(cdb, 6);
    if allocation < 16 {
        return Sense::CDB_FIELD.into();
    }
    let luns: &[[u8; 8]] = match cdb[2] {
        0x00 => &[[0; 8]],
        0x01 => &[WELL_KNOWN],
        0x02 => &[[0; 8], WELL_KNOWN],
        0x10..=0x12 => &[],
        _ => return Sense::CDB_FIELD.into(),
    };
    let mut data = vec![0, 0, 0, (luns.len() * 8) as u8, 0, 0, 0, 0];
    data.extend(luns.iter().flatten());
    allocated(data, allocation)
}

/// The only target port group, and the only port in it (relative target port identifier).
pub(super) const PORT_GROUP: u16 = 1;
pub(super) const PORT: u16 = 1;

/// REPORT TARGET PORT GROUPS (SPC-4 6.37): all paths to a unit are equally good, for ever.
pub(super) fn port_groups(_: &Nexus, cdb: &[u8; 16]) -> Action {
    let mut groups = match cdb[1] >> 5 {
        0 => Vec::new(),
        // The extended header: implicit transitions take no time.
        1 => vec![0x10, 0, 0, 0],
        _ => return Sense::field(1).into(),
    };
    let (group, port) = (PORT_GROUP.to_be_bytes(), PORT.to_be_bytes());
    // Active/optimized, and no other state is supported; one port.
    groups.extend_from_slice(&[0x00, 0x01, group[0], group[1], 0, 0, 0, 1]);
    groups.extend_from_slice(&[0, 0, port[0], port[1]]);
    let mut data = (groups.len() as u32).to_be_bytes().to_vec();
    data.extend_from_slice(&groups);
    allocated(data, be32(cdb, 6))
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.36).
pub(super) fn task_functions(_: &Nexus, cdb: &[u8; 16]) -> Action {
    let allocation = be32(cdb, 6);
    if allocation < 4 {
        return Sense::field(6).into();
    }
    // ABORT TASK, ABORT TASK SET, CLEAR ACA, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET.
    let mut data = vec![0xfa, 0, 0, 0];
    if cdb[2] & 0x80 != 0 {
        data[3] = 12;
        data.resize(16, 0);
    }
    allocated(data, allocation)
}

/// READ DEFECT DATA 10 and 12 (SBC-3 5.18): a file has none.
pub(super) fn read_defects(_: &Nexus, cdb: &[u8; 16]) -> Action {
    let (data, allocation) = if cdb[0] == 0x37 {
        (vec![0, cdb[2] & 0x1f, 0, 0], u32::from(be16(cdb, 7)))
    } else {
        (vec![0, cdb[1] & 0x1f, 0, 0, 0, 0, 0, 0], be32(cdb, 6))
    };
    allocated(data, allocation)
}
