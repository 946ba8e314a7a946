//! EXTENDED COPY (LID1) and RECEIVE COPY RESULTS (SPC-4 6.4, 6.17 to 6.20): blocks are copied within this unit by the target, so that
//! they never cross the network.
//!
//! A session sees one unit, so every descriptor must name this one. A list is carried out whole before its status is sent; nothing is
//! held back for later, and only of a list that was done is told what was copied.

use std::collections::VecDeque;

use super::super::wire::{be16, be32, be64, put};
use super::{Action, BLOCK, Job, Nexus, Sense, allocated};

/// Identification descriptor target descriptor (SPC-4 6.4.5.5), 32 bytes.
const TARGET: u8 = 0xe4;
/// Block device to block device segment descriptor (SPC-4 6.4.6.3), 28 bytes.
const BLOCKS: u8 = 0x02;
const HEADER: usize = 16;
const TARGET_LEN: usize = 32;
const SEGMENT_LEN: usize = 28;
const MAX_TARGETS: usize = 2;
const MAX_SEGMENTS: usize = 64;
/// Bytes of both lists together.
const MAX_LIST: usize = 2048;
/// Bytes that one segment copies.
const MAX_SEGMENT: u64 = 16 << 20;
/// Bytes that a list copies: an initiator that waits for its status still wants an answer to its pings.
const MAX_COPY: u64 = 64 << 20;
/// Lists whose end is remembered for a unit.
const KEPT: usize = 16;

/// A list that came to a good end; of one that did not, nothing is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    nexus: u64,
    list: u8,
    segments: u16,
    blocks: u32,
}

/// The last lists.
#[derive(Debug, Default)]
pub(super) struct Copies(VecDeque<Copied>);

impl Copies {
    /// A list of this session, by its identifier, was done.
    pub(super) fn put(&mut self, (nexus, list): (u64, u8), moves: &[(u64, u64, u64)]) {
        let blocks: u64 = moves.iter().map(|(_, _, len)| len / BLOCK).sum();
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let copied = Copied { nexus, list, segments: moves.len() as u16, blocks };
        self.0.retain(|o| (o.nexus, o.list) != (copied.nexus, copied.list));
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(copied);
    }

    fn take(&mut self, nexus: u64, list: u8) -> Option<Copied> {
        let at = self.0.iter().position(|o| (o.nexus, o.list) == (nexus, list))?;
        self.0.remove(at)
    }
}

/// EXTENDED COPY(LID1).
pub(super) fn extended_copy(_: &Nexus, cdb: &[u8; 16]) -> Action {
    match be32(cdb, 10) as usize {
        // Nothing to do is no error.
        0 => Action::GOOD,
        len if !(HEADER..=HEADER + MAX_LIST).contains(&len) => Sense::LIST_LENGTH.into(),
        len => Action::TakeExactly(len as u32),
    }
}

/// The list is there.
pub(super) fn extended_copy_list(nexus: &Nexus, _: &[u8; 16], data: &[u8]) -> Action {
    let (list, keep, moves) = match parse(nexus, data) {
        Ok(parsed) => parsed,
        Err(sense) => return sense.into(),
    };
    let keep = keep.then_some((nexus.id, list));
    Action::Run(Job::Copy { moves, keep, durable: super::block::write_through(nexus) })
}

/// From where, to where, how many bytes.
type Moves = Vec<(u64, u64, u64)>;

/// The list's identifier, whether its end is to be remembered, and what is to be copied.
fn parse(nexus: &Nexus, data: &[u8]) -> Result<(u8, bool, Moves), Sense> {
    let (targets, segments) = (usize::from(be16(data, 2)), be32(data, 8) as usize);
    if be32(data, 12) != 0 {
        return Err(Sense::LIST_FIELD);
    }
    // LIST ID USAGE 11b: no identifier, nothing is remembered; 10b: it is discarded; 01b is reserved (SPC-4 table 117).
    let usage = data.get(1).map_or(0, |flags| flags >> 3 & 3);
    let list = data.first().copied().unwrap_or(0);
    if usage == 1 || usage == 3 && list != 0 {
        return Err(Sense::LIST_FIELD);
    }
    if targets.saturating_add(segments) > MAX_LIST || HEADER + targets + segments > data.len() {
        return Err(Sense::LIST_LENGTH);
    }
    let (targets, rest) = data.get(HEADER..).unwrap_or_default().split_at(targets);
    let segments = rest.get(..segments).unwrap_or_default();
    if targets.first().is_some_and(|kind| *kind != TARGET) {
        return Err(Sense::COPY_TARGET_TYPE);
    }
    if !targets.len().is_multiple_of(TARGET_LEN) {
        return Err(Sense::LIST_LENGTH);
    }
    if targets.len() / TARGET_LEN > MAX_TARGETS {
        return Err(Sense::COPY_TARGETS);
    }
    for target in targets.chunks_exact(TARGET_LEN) {
        if target[0] != TARGET {
            return Err(Sense::COPY_TARGET_TYPE);
        }
        if !names(nexus, target) {
            return Err(Sense::COPY_UNREACHABLE);
        }
    }
    let known = targets.len() / TARGET_LEN;
    let (mut moves, mut rest) = (Vec::new(), segments);
    while !rest.is_empty() {
        if rest[0] != BLOCKS {
            return Err(Sense::COPY_SEGMENT_TYPE);
        }
        let segment = rest.get(..SEGMENT_LEN).ok_or(Sense::LIST_LENGTH)?;
        if usize::from(be16(segment, 2)) != SEGMENT_LEN - 4 {
            return Err(Sense::LIST_FIELD);
        }
        if moves.len() == MAX_SEGMENTS {
            return Err(Sense::COPY_SEGMENTS);
        }
        if usize::from(be16(segment, 4)) >= known || usize::from(be16(segment, 6)) >= known {
            return Err(Sense::COPY_NO_TARGET);
        }
        let len = u64::from(be16(segment, 10));
        let place = |lba| super::block::bytes(nexus, lba, len).map_err(|_| Sense::COPY_ABORTED);
        let (from, bytes) = place(be64(segment, 12))?;
        let (to, _) = place(be64(segment, 20))?;
        moves.push((from, to, bytes));
        rest = rest.get(SEGMENT_LEN..).unwrap_or_default();
    }
    let whole: u64 = moves.iter().map(|(_, _, len)| len).sum();
    if whole > MAX_COPY || moves.iter().any(|(_, _, len)| *len > MAX_SEGMENT) {
        return Err(Sense::COPY_ABORTED);
    }
    Ok((list, usage == 0, moves))
}

/// Whether a target descriptor names this unit, by one of the designators of its page 83, as a disk with blocks of this size.
fn names(nexus: &Nexus, target: &[u8]) -> bool {
    let designator = target.get(4..28).unwrap_or_default();
    let [set, kind, _, len, value @ ..] = designator else { return false };
    let Some(value) = value.get(..usize::from(*len)) else { return false };
    let disk = target[1] & 0x3f == 0 && be32(target, 28) & 0xff_ffff == BLOCK as u32;
    disk && super::inquiry::unit_designators(nexus).iter().any(|(s, k, v)| {
        // A descriptor has room for 20 bytes; of a longer designator it has those.
        (*s, *k) == (set & 0x0f, kind & 0x3f) && (v == value || v.len() > 20 && v.get(..20) == Some(value))
    })
}

/// RECEIVE COPY RESULTS: COPY STATUS and OPERATING PARAMETERS.
pub(super) fn receive_results(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let allocation = be32(cdb, 10);
    if cdb[1] & 0x1f == 0 {
        let Some(copied) = nexus.unit.state().copies.take(nexus.id, cdb[2]) else { return Sense::CDB_FIELD.into() };
        // Completed without errors.
        let mut data = vec![0, 0, 0, 8, 0x01];
        data.extend_from_slice(&copied.segments.to_be_bytes());
        // The count is in blocks (SPC-4 table 345).
        data.push(0xf1);
        data.extend_from_slice(&copied.blocks.to_be_bytes());
        return allocated(data, allocation);
    }
    let mut data = vec![0; 44];
    // SNLID: a list may have no identifier.
    data[4] = 0x01;
    put(&mut data, 8, &(MAX_TARGETS as u16).to_be_bytes());
    put(&mut data, 10, &(MAX_SEGMENTS as u16).to_be_bytes());
    put(&mut data, 12, &(MAX_LIST as u32).to_be_bytes());
    put(&mut data, 16, &(MAX_SEGMENT as u32).to_be_bytes());
    // One list at a time for a session.
    put(&mut data, 34, &1_u16.to_be_bytes());
    data[36] = 1;
    // The granularity is a power of two: a block.
    data[37] = 9;
    data[43] = 2;
    data.extend_from_slice(&[BLOCKS, TARGET]);
    let len = (data.len() - 4) as u32;
    put(&mut data, 0, &len.to_be_bytes());
    allocated(data, allocation)
}

/// VPD 8Fh, third-party copy (SPC-4 7.8.17).
pub(super) fn third_party_page() -> Vec<u8> {
    let mut page = Vec::new();
    let mut descriptor = |kind: u16, body: &[u8]| {
        let len = body.len().next_multiple_of(4);
        page.extend_from_slice(&kind.to_be_bytes());
        page.extend_from_slice(&(len as u16).to_be_bytes());
        page.extend_from_slice(body);
        page.resize(page.len() + len - body.len(), 0);
    };
    // Supported commands: EXTENDED COPY(LID1); RECEIVE COPY RESULTS for status and operating parameters.
    descriptor(0x0001, &[7, 0x83, 1, 0x00, 0x84, 2, 0x00, 0x03]);
    let mut limits = vec![0; 28];
    put(&mut limits, 4, &(MAX_TARGETS as u16).to_be_bytes());
    put(&mut limits, 6, &(MAX_SEGMENTS as u16).to_be_bytes());
    put(&mut limits, 8, &(MAX_LIST as u32).to_be_bytes());
    descriptor(0x0004, &limits);
    descriptor(0x0008, &[2, BLOCKS, TARGET]);
    // General copy operations: how many at once, the largest segment, and the granularity.
    let mut general = vec![0; 32];
    put(&mut general, 0, &1_u32.to_be_bytes());
    put(&mut general, 4, &1_u32.to_be_bytes());
    put(&mut general, 8, &(MAX_SEGMENT as u32).to_be_bytes());
    general[12] = 9;
    descriptor(0x8001, &general);
    page
}
