//! RESERVE(6) and RELEASE(6) (SPC-2 7.21, 7.17): one session keeps the unit to itself. Ends with the session. Beside registrations for
//! persistent reservations they are as SPC-4 5.13.3 says.

use super::{Action, Nexus, Sense};

/// RESERVE(6). That another session holds it has been checked.
pub(super) fn reserve(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    // Third-party and extent reservations are obsolete.
    if cdb[1] & 0x11 != 0 {
        return Sense::CDB_FIELD.into();
    }
    let mut state = nexus.unit.state();
    if let Some(action) = state.kept.persistent.old_reservation(&nexus.name) {
        return action;
    }
    state.reserved_by = Some(nexus.id);
    Action::GOOD
}

/// RELEASE(6). Of another session's reservation: good, and nothing changes.
pub(super) fn release(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    if cdb[1] & 0x11 != 0 {
        return Sense::CDB_FIELD.into();
    }
    let mut state = nexus.unit.state();
    if let Some(action) = state.kept.persistent.old_reservation(&nexus.name) {
        return action;
    }
    if state.reserved_by == Some(nexus.id) {
        state.reserved_by = None;
    }
    Action::GOOD
}
