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
    // A physical block is 2^3 logical ones, 4 KiB, as overlays work; removable media are what they are: 512 bytes.
    let physical = if nexus.unit.identity.removable { 0 } else { 3 };
    let mut data = nexus.unit.blocks().saturating_sub(1).to_be_bytes().to_vec();
    data.extend_from_slice(&(BLOCK as u32).to_be_bytes());
    data.extend_from_slice(&[0, physical, 0xc0, 0]);
    data.resize(32, 0);
    allocated(data, be32(cdb, 10))
}
