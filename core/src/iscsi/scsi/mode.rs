//! MODE SENSE and MODE SELECT 6 and 10 (SPC-4 6.11 to 6.14), with the pages that initiators read.

use super::super::wire::{be16, be32, put};
use super::unit::State;
use super::{Action, BLOCK, Nexus, Sense, allocated};

/// What MODE SELECT changes, for all sessions of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mode {
    /// Caching page, WCE.
    pub(super) write_cache: bool,
    /// Control page, D_SENSE.
    pub(super) descriptor_sense: bool,
    /// Control page, SWP.
    pub(super) software_protected: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Self { write_cache: true, descriptor_sense: false, software_protected: false }
    }
}

const PAGES: [u8; 4] = [0x01, 0x08, 0x0a, 0x1c];

/// A page with these values; `None` if there is no such page.
fn page(code: u8, mode: &Mode) -> Option<Vec<u8>> {
    let mut b = vec![
        0;
        match code {
            0x01 | 0x0a | 0x1c => 12,
            0x08 => 20,
            _ => return None,
        }
    ];
    b[0] = code;
    b[1] = (b.len() - 2) as u8;
    match code {
        0x08 => b[2] = if mode.write_cache { 0x04 } else { 0 },
        0x0a => {
            b[2] = if mode.descriptor_sense { 0x04 } else { 0 };
            // Tasks may be reordered without restriction.
            b[3] = 0x10;
            b[4] = if mode.software_protected { 0x08 } else { 0 };
        }
        _ => {}
    }
    Some(b)
}

/// Which bits of a page MODE SELECT may change.
fn changeable(code: u8) -> Option<Vec<u8>> {
    let mut b = page(code, &Mode::default())?;
    b.iter_mut().skip(2).for_each(|byte| *byte = 0);
    match code {
        0x08 => b[2] = 0x04,
        0x0a => {
            b[2] = 0x04;
            b[4] = 0x08;
        }
        _ => {}
    }
    Some(b)
}

/// MODE SENSE.
pub(super) fn sense(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let ten = cdb[0] == 0x5a;
    let (control, code, subpage) = (cdb[2] >> 6, cdb[2] & 0x3f, cdb[3]);
    let allocation = if ten { u32::from(be16(cdb, 7)) } else { u32::from(cdb[4]) };
    if control == 3 {
        return Sense::SAVING.into();
    }
    let state = nexus.unit.state();
    let one = |code| match control {
        1 => changeable(code),
        2 => page(code, &Mode::default()),
        _ => page(code, &state.mode),
    };
    let pages = match (code, subpage) {
        (0x3f, 0 | 0xff) => PAGES.into_iter().filter_map(one).flatten().collect(),
        (_, 0) => match one(code) {
            Some(page) => page,
            None => return Sense::CDB_FIELD.into(),
        },
        _ => return Sense::CDB_FIELD.into(),
    };
    let specific = 0x10 | if nexus.unit.write_protected(&state).is_some() { 0x80 } else { 0 };
    let long = ten && cdb[1] & 0x10 != 0;
    let descriptor = if cdb[1] & 0x08 != 0 { Vec::new() } else { descriptor(nexus.unit.blocks(), long) };
    let mut data = if ten {
        vec![0, 0, 0, specific, u8::from(long), 0, 0, descriptor.len() as u8]
    } else {
        vec![0, 0, specific, descriptor.len() as u8]
    };
    data.extend_from_slice(&descriptor);
    data.extend_from_slice(&pages);
    if ten {
        let len = (data.len() - 2) as u16;
        put(&mut data, 0, &len.to_be_bytes());
    } else {
        data[0] = (data.len() - 1) as u8;
    }
    allocated(data, allocation)
}

/// SBC-3 6.4.2: number of blocks and their length.
fn descriptor(blocks: u64, long: bool) -> Vec<u8> {
    let size = (BLOCK as u32).to_be_bytes();
    if long {
        let mut b = blocks.to_be_bytes().to_vec();
        b.extend_from_slice(&[0; 4]);
        b.extend_from_slice(&size);
        return b;
    }
    let mut b = u32::try_from(blocks).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    b.extend_from_slice(&size);
    b
}

/// MODE SELECT.
pub(super) fn select(_: &Nexus, cdb: &[u8; 16]) -> Action {
    // SP: nothing is saved. Without PF the pages are of a vendor's form.
    if cdb[1] & 0x01 != 0 || cdb[1] & 0x10 == 0 {
        return Sense::CDB_FIELD.into();
    }
    match if cdb[0] == 0x55 { u32::from(be16(cdb, 7)) } else { u32::from(cdb[4]) } {
        0 => Action::GOOD,
        len => Action::Take(len),
    }
}

/// The list of a MODE SELECT is there.
pub(super) fn selected(nexus: &Nexus, cdb: &[u8; 16], data: &[u8]) -> Action {
    let mut state = nexus.unit.state();
    match apply(cdb[0] == 0x55, data, &state) {
        Ok(mode) => {
            if mode != state.mode {
                state.mode = mode;
                state.attention_others(nexus.id, Sense::MODE_CHANGED);
            }
            Action::GOOD
        }
        Err(sense) => sense.into(),
    }
}

fn apply(ten: bool, data: &[u8], state: &State) -> Result<Mode, Sense> {
    let header = if ten { 8 } else { 4 };
    if data.len() < header {
        return Err(Sense::LIST_LENGTH);
    }
    let descriptor = if ten { usize::from(be16(data, 6)) } else { usize::from(data[3]) };
    let mut rest = data.get(header + descriptor..).ok_or(Sense::LIST_LENGTH)?;
    if descriptor >= 8 {
        // The block length is the last three bytes of either form of descriptor.
        let size = be32(data, header + descriptor - 4) & 0xff_ffff;
        if u64::from(size) != BLOCK {
            return Err(Sense::LIST_FIELD);
        }
    }
    let mut mode = state.mode.clone();
    while !rest.is_empty() {
        let code = rest[0] & 0x3f;
        let (Some(current), Some(mask)) = (page(code, &state.mode), changeable(code)) else {
            return Err(Sense::LIST_FIELD);
        };
        let new = rest.get(..current.len()).ok_or(Sense::LIST_LENGTH)?;
        if new[1] != current[1] || rest[0] & 0x40 != 0 {
            return Err(Sense::LIST_FIELD);
        }
        for ((new, current), mask) in new.iter().zip(&current).zip(&mask).skip(2) {
            if (new ^ current) & !mask != 0 {
                return Err(Sense::LIST_FIELD);
            }
        }
        match code {
            0x08 => mode.write_cache = new[2] & 0x04 != 0,
            0x0a => {
                mode.descriptor_sense = new[2] & 0x04 != 0;
                mode.software_protected = new[4] & 0x08 != 0;
            }
            _ => {}
        }
        rest = rest.get(current.len()..).unwrap_or_default();
    }
    Ok(mode)
}
