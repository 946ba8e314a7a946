//! Commands that move or check blocks: READ, WRITE, WRITE AND VERIFY, VERIFY, COMPARE AND WRITE, ORWRITE, PRE-FETCH,
//! SYNCHRONIZE CACHE (SBC-3 5).

use super::super::wire::{be16, be24, be32, be64};
use super::{Action, BLOCK, Job, MAX_TRANSFER, Nexus, Sense};

/// Most blocks of one COMPARE AND WRITE.
pub(super) const MAX_COMPARE_AND_WRITE: u8 = 128;

/// Where a CDB of any length points to: first block and number of blocks.
pub(super) fn range(cdb: &[u8; 16]) -> (u64, u64) {
    match cdb[0] >> 5 {
        0 => (u64::from(be24(cdb, 1) & 0x1f_ffff), if cdb[4] == 0 { 256 } else { u64::from(cdb[4]) }),
        1 | 2 => (u64::from(be32(cdb, 2)), u64::from(be16(cdb, 7))),
        5 => (u64::from(be32(cdb, 2)), u64::from(be32(cdb, 6))),
        _ => (be64(cdb, 2), u64::from(be32(cdb, 10))),
    }
}

/// That a range is on the medium; as bytes.
pub(super) fn bytes(nexus: &Nexus, lba: u64, blocks: u64) -> Result<(u64, u64), Sense> {
    match lba.checked_add(blocks) {
        Some(end) if end <= nexus.unit.blocks() => Ok((lba * BLOCK, blocks * BLOCK)),
        _ => Err(Sense::RANGE),
    }
}

/// The range of a command that moves it whole.
fn transfer(nexus: &Nexus, cdb: &[u8; 16]) -> Result<(u64, u32), Sense> {
    // Protection information is not kept: a wish for it must not be ignored.
    if cdb[0] >> 5 != 0 && cdb[1] & 0xe0 != 0 {
        return Err(Sense::CDB_FIELD);
    }
    let (lba, blocks) = range(cdb);
    let (offset, len) = bytes(nexus, lba, blocks)?;
    match u32::try_from(len) {
        Ok(len) if len <= MAX_TRANSFER => Ok((offset, len)),
        _ => Err(Sense::CDB_FIELD),
    }
}

/// Status only after the data are durable: FUA, or the cache is off.
fn durable(nexus: &Nexus, cdb: &[u8; 16]) -> bool {
    cdb[0] >> 5 != 0 && cdb[1] & 0x08 != 0 || !nexus.unit.state().mode.write_cache
}

pub(super) fn write_through(nexus: &Nexus) -> bool {
    !nexus.unit.state().mode.write_cache
}

/// READ 6, 10, 12, 16.
pub(super) fn read(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    match transfer(nexus, cdb) {
        Ok((_, 0)) => Action::GOOD,
        Ok((offset, len)) => Action::Read { offset, len },
        Err(sense) => sense.into(),
    }
}

fn verifies(cdb: &[u8; 16]) -> bool {
    matches!(cdb[0], 0x2e | 0x8e | 0xae)
}

/// WRITE 6, 10, 12, 16, WRITE AND VERIFY 10, 12, 16, ORWRITE 16.
pub(super) fn write(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    // BYTCHK 10b is reserved, 11b is VERIFY's alone.
    if verifies(cdb) && cdb[1] & 0x04 != 0 {
        return Sense::CDB_FIELD.into();
    }
    match transfer(nexus, cdb) {
        Ok((_, 0)) => Action::GOOD,
        Ok((_, len)) => Action::Take(len),
        Err(sense) => sense.into(),
    }
}

/// The data of a write are there.
pub(super) fn written(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    let verify = verifies(cdb);
    // Part of a block: to write it would tear the block, not to write it and say nothing would lose it.
    if !(data.len() as u64).is_multiple_of(BLOCK) {
        return Sense::INFORMATION_UNIT.into();
    }
    match transfer(nexus, cdb) {
        // WRITE AND VERIFY reads the medium, so the data must be on it.
        Ok((offset, _)) => Action::Run(Job::Write { offset, durable: verify || durable(nexus, cdb), verify }),
        Err(sense) => sense.into(),
    }
}

/// The data of an ORWRITE are there.
pub(super) fn or_written(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    if !(data.len() as u64).is_multiple_of(BLOCK) {
        return Sense::INFORMATION_UNIT.into();
    }
    match transfer(nexus, cdb) {
        Ok((offset, _)) => Action::Run(Job::OrWrite { offset, durable: durable(nexus, cdb) }),
        Err(sense) => sense.into(),
    }
}

/// Most bytes that one VERIFY reads: nothing can interrupt it.
const MAX_VERIFY: u64 = 1 << 30;

/// VERIFY 10, 12, 16 (SBC-3 5.28): 0 reads, 1 compares, 3 compares with one block.
pub(super) fn verify(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    if cdb[1] & 0xe0 != 0 {
        return Sense::CDB_FIELD.into();
    }
    let (lba, blocks) = range(cdb);
    let (offset, len) = match bytes(nexus, lba, blocks) {
        Ok(range) => range,
        Err(sense) => return sense.into(),
    };
    match cdb[1] >> 1 & 3 {
        _ if len == 0 => Action::GOOD,
        0 if len <= MAX_VERIFY => Action::Run(Job::Verify { offset, len, single: false }),
        // Exactly: a good status says that all of it was compared.
        1 if len <= u64::from(MAX_TRANSFER) => Action::TakeExactly(len as u32),
        3 if len <= MAX_VERIFY => Action::TakeExactly(BLOCK as u32),
        _ => Sense::CDB_FIELD.into(),
    }
}

/// The data of a VERIFY are there.
pub(super) fn compared(nexus: &Nexus, cdb: &[u8; 16], _: &[u8]) -> Action {
    let (lba, blocks) = range(cdb);
    match bytes(nexus, lba, blocks) {
        Ok((offset, len)) => Action::Run(Job::Verify { offset, len, single: cdb[1] & 0x06 == 0x06 }),
        Err(sense) => sense.into(),
    }
}

/// COMPARE AND WRITE (SBC-3 5.2): twice the number of blocks in data.
pub(super) fn compare_and_write(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    if cdb[1] & 0xe0 != 0 || cdb[13] > MAX_COMPARE_AND_WRITE {
        return Sense::CDB_FIELD.into();
    }
    match bytes(nexus, be64(cdb, 2), u64::from(cdb[13])) {
        Ok((_, len)) => Action::TakeExactly(2 * len as u32),
        Err(sense) => sense.into(),
    }
}

/// The data of a COMPARE AND WRITE are there.
pub(super) fn compare_and_write_data(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    match bytes(nexus, be64(cdb, 2), u64::from(cdb[13])) {
        Ok((_, len)) if data.len() as u64 != 2 * len => Sense::CDB_FIELD.into(),
        Ok((offset, _)) => Action::Run(Job::CompareAndWrite { offset, durable: durable(nexus, cdb) }),
        Err(sense) => sense.into(),
    }
}

/// The range of a WRITE ATOMIC 16 (SBC-4 5.48).
fn atomic(nexus: &Nexus, cdb: &[u8; 16]) -> Result<(u64, u32), Sense> {
    // Protection information, and an ATOMIC BOUNDARY.
    if cdb[1] & 0xe0 != 0 {
        return Err(Sense::field(1));
    }
    if be16(cdb, 10) != 0 {
        return Err(Sense::field(10));
    }
    let (offset, len) = bytes(nexus, be64(cdb, 2), u64::from(be16(cdb, 12)))?;
    match u32::try_from(len) {
        Ok(len) if len <= nexus.unit.identity.atomic => Ok((offset, len)),
        _ => Err(Sense::field(12)),
    }
}

/// WRITE ATOMIC 16. Half of its data would be half of the write.
pub(super) fn write_atomic(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    match atomic(nexus, cdb) {
        Ok((_, 0)) => Action::GOOD,
        Ok((_, len)) => Action::TakeExactly(len),
        Err(sense) => sense.into(),
    }
}

/// The data of a WRITE ATOMIC 16 are there.
pub(super) fn atomic_written(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    match atomic(nexus, cdb) {
        Ok((_, len)) if data.len() != len as usize => Sense::CDB_FIELD.into(),
        Ok((offset, _)) => Action::Run(Job::WriteAtomic { offset }),
        Err(sense) => sense.into(),
    }
}

/// PRE-FETCH 10 and 16: the operating system reads ahead by itself.
pub(super) fn prefetch(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let (lba, blocks) = range(cdb);
    bytes(nexus, lba, blocks).map_or_else(Action::from, |_| Action::GOOD)
}

/// SYNCHRONIZE CACHE 10 and 16: the whole cache, whatever the range; the status comes when it is durable, IMMED or not.
pub(super) fn synchronize(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let (lba, blocks) = range(cdb);
    bytes(nexus, lba, blocks).map_or_else(Action::from, |_| Action::Run(Job::Flush))
}
