//! INQUIRY (SPC-4 6.6) and its vital product data (SPC-4 7.8, SBC-3 6.6).

use super::super::wire::{be16, put};
use super::{Action, BLOCK, MAX_TRANSFER, Nexus, Sense, allocated, block, control, sanitize, thin};

const VENDOR: &[u8; 8] = b"BOOTYARD";
const PRODUCT: &[u8; 16] = b"Virtual disk    ";
const PAGES: [u8; 8] = [0x00, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2];

/// INQUIRY to LUN 0.
pub(super) fn inquiry(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let allocation = u32::from(be16(cdb, 3));
    if cdb[1] & 1 == 0 {
        if cdb[2] != 0 {
            return Sense::CDB_FIELD.into();
        }
        return allocated(standard(0x00, nexus.unit.identity.removable), allocation);
    }
    let page = match cdb[2] {
        0x00 => PAGES.to_vec(),
        0x80 => nexus.unit.identity.serial(),
        0x83 => designators(nexus),
        0x86 => extended(),
        0x8f => super::copy::third_party_page(),
        0xb0 => limits(nexus.unit.identity.atomic),
        // SBC-3 6.6.2: a medium that does not rotate.
        0xb1 => {
            let mut page = vec![0; 60];
            page[1] = 1;
            // WABEREQ and WACEREQ: what was erased may be read, and is zeroes.
            page[3] = if sanitize::is_offered(&nexus.unit) { 0x50 } else { 0 };
            page
        }
        // SBC-3 6.6.4: thin; UNMAP and both WRITE SAMEs unmap; what is unmapped reads as zeroes.
        0xb2 => vec![0, 0xe4, 0x02, 0],
        _ => return Sense::CDB_FIELD.into(),
    };
    let mut data = vec![0x00, cdb[2]];
    data.extend_from_slice(&(page.len() as u16).to_be_bytes());
    data.extend_from_slice(&page);
    allocated(data, allocation)
}

/// INQUIRY to a LUN that is not there.
pub(super) fn absent(cdb: &[u8; 16], well_known: bool) -> Action {
    if cdb[1] & 1 != 0 || cdb[2] != 0 {
        return Sense::CDB_FIELD.into();
    }
    allocated(standard(if well_known { 0x1e } else { 0x7f }, false), u32::from(be16(cdb, 3)))
}

fn standard(peripheral: u8, removable: bool) -> Vec<u8> {
    let mut b = vec![0; 96];
    b[0] = peripheral;
    b[1] = if removable { 0x80 } else { 0 };
    b[2] = 0x06;
    b[3] = 0x12;
    b[4] = 91;
    if peripheral == 0 {
        // TPGS: implicit, REPORT TARGET PORT GROUPS tells; 3PC: copies by itself.
        b[5] = 0x18;
    }
    b[7] = 0x02;
    put(&mut b, 8, VENDOR);
    put(&mut b, 16, PRODUCT);
    put(&mut b, 32, b"0001");
    // SAM-5, iSCSI, SPC-4, SBC-3: the standards claimed.
    for (i, version) in [0x00a0_u16, 0x0960, 0x0460, 0x04c0].into_iter().enumerate() {
        put(&mut b, 58 + 2 * i, &version.to_be_bytes());
    }
    b
}

fn designators(nexus: &Nexus) -> Vec<u8> {
    let identity = &nexus.unit.identity;
    let mut page = Vec::new();
    let mut designator = |code_set: u8, kind: u8, value: &[u8]| {
        page.extend_from_slice(&[0x50 | code_set, 0x80 | kind, 0, value.len() as u8]);
        page.extend_from_slice(value);
    };
    // The unit. Protocol identifier and PIV are allowed with both.
    for (set, kind, value) in unit_designators(nexus) {
        designator(set, kind, &value);
    }
    // The port: its number, its group and its name; and the target's name.
    let (group, port) = (control::PORT_GROUP.to_be_bytes(), control::PORT.to_be_bytes());
    designator(1, 0x14, &[0, 0, port[0], port[1]]);
    designator(1, 0x15, &[0, 0, group[0], group[1]]);
    let padded = |name: String| {
        let mut name = name.into_bytes();
        name.push(0);
        name.resize(name.len().next_multiple_of(4), 0);
        name
    };
    let target: String = identity.target.chars().take(223).collect();
    designator(3, 0x18, &padded(format!("{target},t,0x0001")));
    designator(3, 0x28, &padded(target));
    page
}

/// The unit's own designators, by code set and type: NAA, then vendor with serial number.
pub(super) fn unit_designators(nexus: &Nexus) -> [(u8, u8, Vec<u8>); 2] {
    let identity = &nexus.unit.identity;
    let mut t10 = VENDOR.to_vec();
    t10.extend_from_slice(&identity.serial());
    [(1, 0x03, identity.naa().to_vec()), (2, 0x01, t10)]
}

/// SPC-4 7.8.7.
fn extended() -> Vec<u8> {
    let mut page = vec![0; 60];
    // Head of queue, ordered and simple tasks; a volatile cache; attentions are for one LUN.
    page[1] = 0x07;
    page[2] = 0x01;
    page[3] = 0x01;
    page
}

/// SBC-3 6.6.3.
fn limits(atomic: u32) -> Vec<u8> {
    let blocks = (u64::from(MAX_TRANSFER) / BLOCK) as u32;
    // Overlays work in units of 4 KiB.
    let unit = 8_u32;
    let mut page = vec![0; 60];
    page[1] = block::MAX_COMPARE_AND_WRITE;
    put(&mut page, 2, &(unit as u16).to_be_bytes());
    put(&mut page, 4, &blocks.to_be_bytes());
    put(&mut page, 8, &2048_u32.to_be_bytes());
    put(&mut page, 16, &thin::MAX_UNMAP_BLOCKS.to_be_bytes());
    put(&mut page, 20, &thin::MAX_UNMAP_DESCRIPTORS.to_be_bytes());
    put(&mut page, 24, &unit.to_be_bytes());
    put(&mut page, 28, &0x8000_0000_u32.to_be_bytes());
    put(&mut page, 32, &thin::MAX_WRITE_SAME.to_be_bytes());
    // MAXIMUM ATOMIC TRANSFER LENGTH; any alignment and granularity, no boundaries within (SBC-4 6.6.4).
    put(&mut page, 40, &(u64::from(atomic) / BLOCK).to_be_bytes()[4..]);
    page
}
