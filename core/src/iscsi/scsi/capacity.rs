//! READ CAPACITY 10 and 16 (SBC-3 5.16, 5.17).

use super::super::wire::{be32, be64};
use super::{Action, BLOCK, Nexus, Sense, allocated};

/// READ CAPACITY(10).
pub(super) fn capacity10(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    // An address without PMI is an error.
    if cdb[8] & 1 == 0 && be32(cdb, 2) != 0 {
        return Sense::CDB_FIELD.into();
    }
    let last = u32::try_from(nexus.unit.blocks().saturating_sub(1)).unwrap_or(u32::MAX);
    let mut data = last.to_be_bytes().to_vec();
    data.extend_from_slice(&(BLOCK as u32).to_be_bytes());
    Action::Data(data)
}

/// READ CAPACITY(16): thin, and what was unmapped reads as zeroes.
pub(super) fn capacity16(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    if cdb[14] & 1 == 0 && be64(cdb, 2) != 0 {
        return Sense::CDB_FIELD.into();
    }
    let mut data = nexus.unit.blocks().saturating_sub(1).to_be_bytes().to_vec();
    data.extend_from_slice(&(BLOCK as u32).to_be_bytes());
    data.extend_from_slice(&[0, 0, 0xc0, 0]);
    data.resize(32, 0);
    allocated(data, be32(cdb, 10))
}
