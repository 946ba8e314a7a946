//! The table of commands: which there are, what they need, who carries them out. REPORT SUPPORTED OPERATION CODES reads it too.

use super::super::wire::{be16, be32};
use super::{
    Action, Nexus, Sense, Unit, allocated, block, capacity, control, copy, inquiry, mode, persist, reserve, sanitize,
    thin,
};

type Begin = fn(&Nexus, &[u8; 16]) -> Action;
type Data = fn(&Nexus, &[u8; 16], &[u8]) -> Action;

/// A command.
pub(super) struct Entry {
    opcode: u8,
    /// For opcodes that are several commands.
    service_action: Option<u16>,
    /// CDB usage data (SPC-4 6.35.3): which bits are looked at. Its length is the CDB's.
    usage: &'static [u8],
    /// Needs a medium that is loaded and started.
    pub(super) medium: bool,
    /// Changes the medium.
    pub(super) writes: bool,
    pub(super) begin: Begin,
    pub(super) data: Option<Data>,
    /// Which units have it, where not all do.
    offered: Option<fn(&Unit) -> bool>,
}

impl Entry {
    fn is_offered(&self, unit: &Unit) -> bool {
        self.offered.is_none_or(|offered| offered(unit))
    }
}

/// How an opcode tells its service actions apart.
fn service_action(cdb: &[u8; 16]) -> Option<u16> {
    match cdb[0] {
        0x48 | 0x5e | 0x5f | 0x9e | 0x9f | 0xa3 | 0xa4 | 0x83 | 0x84 => Some(u16::from(cdb[1] & 0x1f)),
        _ => None,
    }
}

/// The command of a CDB.
pub(super) fn find(unit: &Unit, cdb: &[u8; 16]) -> Option<&'static Entry> {
    let action = service_action(cdb);
    let first = usize::from(FIRST[usize::from(cdb[0])]);
    let mut of_opcode = COMMANDS.get(first..).unwrap_or_default().iter().take_while(|e| e.opcode == cdb[0]);
    of_opcode.find(|e| e.service_action == action && e.is_offered(unit))
}

/// Where in the table the commands of each opcode begin; its end where there are none.
static FIRST: [u8; 256] = {
    let mut first = [COMMANDS.len() as u8; 256];
    let mut at = COMMANDS.len();
    while at > 0 {
        at -= 1;
        first[COMMANDS[at].opcode as usize] = at as u8;
    }
    first
};

/// Why a CDB is no command: its opcode, or its service action.
pub(super) fn unknown(unit: &Unit, cdb: &[u8; 16]) -> Sense {
    if COMMANDS.iter().any(|e| e.opcode == cdb[0] && e.is_offered(unit)) { Sense::field(1) } else { Sense::OPCODE }
}

/// Commands that another session's RESERVE does not stop (SPC-2 5.5.1).
pub(super) fn despite_reservation(cdb: &[u8; 16]) -> bool {
    matches!(cdb[0], 0x12 | 0xa0 | 0x03 | 0x17 | 0x57) || cdb[0] == 0x1e && cdb[4] & 1 == 0
}

const fn plain(opcode: u8, usage: &'static [u8], begin: Begin) -> Entry {
    Entry { opcode, service_action: None, usage, medium: false, writes: false, begin, data: None, offered: None }
}

const fn action(opcode: u8, sa: u16, usage: &'static [u8], begin: Begin) -> Entry {
    Entry { service_action: Some(sa), ..plain(opcode, usage, begin) }
}

const fn medium(opcode: u8, usage: &'static [u8], begin: Begin) -> Entry {
    Entry { medium: true, ..plain(opcode, usage, begin) }
}

const fn write(opcode: u8, usage: &'static [u8], begin: Begin, data: Data) -> Entry {
    Entry { writes: true, data: Some(data), ..medium(opcode, usage, begin) }
}

const fn persistent_out(sa: u16, usage: &'static [u8]) -> Entry {
    Entry { data: Some(persist::reserve_out_list), ..action(0x5f, sa, usage, persist::reserve_out) }
}

/// What is lost on the way is not lost for ever: the unit remembers what was ordered.
const fn sanitizes(sa: u8, usage: &'static [u8]) -> Entry {
    Entry {
        service_action: Some(sa as u16),
        offered: Some(sanitize::is_offered),
        ..write(0x48, usage, sanitize::begin, sanitize::list)
    }
}

const LBA8: u8 = 0xff;

/// Those of one opcode stand together.
static COMMANDS: &[Entry] = &[
    medium(0x00, &[0x00, 0, 0, 0, 0, 0x07], control::test_unit_ready),
    plain(0x03, &[0x03, 0x01, 0, 0, 0xff, 0x07], control::request_sense),
    medium(0x08, &[0x08, 0x1f, LBA8, LBA8, 0xff, 0x07], block::read),
    write(0x0a, &[0x0a, 0x1f, LBA8, LBA8, 0xff, 0x07], block::write, block::written),
    plain(0x12, &[0x12, 0x01, 0xff, 0xff, 0xff, 0x07], inquiry::inquiry),
    Entry { data: Some(mode::selected), ..plain(0x15, &[0x15, 0x11, 0, 0, 0xff, 0x07], mode::select) },
    plain(0x16, &[0x16, 0, 0, 0, 0, 0x07], reserve::reserve),
    plain(0x17, &[0x17, 0, 0, 0, 0, 0x07], reserve::release),
    plain(0x1a, &[0x1a, 0x08, 0xff, 0xff, 0xff, 0x07], mode::sense),
    plain(0x1b, &[0x1b, 0x01, 0, 0x0f, 0xf7, 0x07], control::start_stop),
    plain(0x1e, &[0x1e, 0, 0, 0, 0x03, 0x07], control::prevent_allow),
    medium(0x25, &[0x25, 0x01, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0x07], capacity::capacity10),
    medium(0x28, &[0x28, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], block::read),
    write(0x2a, &[0x2a, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], block::write, block::written),
    write(0x2e, &[0x2e, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], block::write, block::written),
    Entry {
        data: Some(block::compared),
        ..medium(0x2f, &[0x2f, 0xf6, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], block::verify)
    },
    medium(0x34, &[0x34, 0x02, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], block::prefetch),
    medium(0x35, &[0x35, 0x02, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], block::synchronize),
    medium(0x37, &[0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0x07], control::read_defects),
    write(0x41, &[0x41, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x07], thin::write_same, thin::write_same_data),
    write(0x42, &[0x42, 0x01, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0x07], thin::unmap, thin::unmap_list),
    sanitizes(sanitize::OVERWRITE, &[0x48, 0xa1, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07]),
    sanitizes(sanitize::BLOCK_ERASE, &[0x48, 0xa2, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07]),
    sanitizes(sanitize::CRYPTOGRAPHIC_ERASE, &[0x48, 0xa3, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07]),
    sanitizes(sanitize::EXIT_FAILURE_MODE, &[0x48, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07]),
    Entry { data: Some(mode::selected), ..plain(0x55, &[0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07], mode::select) },
    plain(0x5a, &[0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0x07], mode::sense),
    action(0x5e, 0x00, &[0x5e, 0x00, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07], persist::reserve_in),
    action(0x5e, 0x01, &[0x5e, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07], persist::reserve_in),
    action(0x5e, 0x02, &[0x5e, 0x02, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07], persist::reserve_in),
    action(0x5e, 0x03, &[0x5e, 0x03, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07], persist::reserve_in),
    persistent_out(0x00, &[0x5f, 0x00, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x01, &[0x5f, 0x01, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x02, &[0x5f, 0x02, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x03, &[0x5f, 0x03, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x04, &[0x5f, 0x04, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x05, &[0x5f, 0x05, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x06, &[0x5f, 0x06, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    persistent_out(0x07, &[0x5f, 0x07, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]),
    Entry {
        service_action: Some(0),
        ..write(
            0x83,
            &[0x83, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07],
            copy::extended_copy,
            copy::extended_copy_list,
        )
    },
    action(
        0x84,
        0x00,
        &[0x84, 0x00, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07],
        copy::receive_results,
    ),
    action(
        0x84,
        0x03,
        &[0x84, 0x03, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07],
        copy::receive_results,
    ),
    medium(0x88, &[0x88, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07], block::read),
    write(
        0x89,
        &[0x89, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0xff, 0x1f, 0x07],
        block::compare_and_write,
        block::compare_and_write_data,
    ),
    write(
        0x8a,
        &[0x8a, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
        block::write,
        block::written,
    ),
    write(
        0x8b,
        &[0x8b, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
        block::write,
        block::or_written,
    ),
    write(
        0x8e,
        &[0x8e, 0xf2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
        block::write,
        block::written,
    ),
    Entry {
        data: Some(block::compared),
        ..medium(
            0x8f,
            &[0x8f, 0xf6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
            block::verify,
        )
    },
    medium(
        0x90,
        &[0x90, 0x02, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
        block::prefetch,
    ),
    medium(
        0x91,
        &[0x91, 0x02, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
        block::synchronize,
    ),
    write(
        0x93,
        &[0x93, 0xf9, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x1f, 0x07],
        thin::write_same,
        thin::write_same_data,
    ),
    Entry {
        offered: Some(|unit| unit.identity.atomic > 0),
        ..write(
            0x9c,
            &[0x9c, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0xff, 0xff, 0x1f, 0x07],
            block::write_atomic,
            block::atomic_written,
        )
    },
    Entry {
        medium: true,
        ..action(
            0x9e,
            0x10,
            &[0x9e, 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x01, 0x07],
            capacity::capacity16,
        )
    },
    Entry {
        medium: true,
        ..action(
            0x9e,
            0x12,
            &[0x9e, 0x12, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0x07],
            thin::get_lba_status,
        )
    },
    plain(0xa0, &[0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07], control::report_luns),
    action(0xa3, 0x0a, &[0xa3, 0xea, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07], control::port_groups),
    action(0xa3, 0x0c, &[0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x07], report),
    action(0xa3, 0x0d, &[0xa3, 0x0d, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07], control::task_functions),
    medium(0xa8, &[0xa8, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x07], block::read),
    write(
        0xaa,
        &[0xaa, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x07],
        block::write,
        block::written,
    ),
    write(
        0xae,
        &[0xae, 0xf2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x07],
        block::write,
        block::written,
    ),
    Entry {
        data: Some(block::compared),
        ..medium(0xaf, &[0xaf, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x07], block::verify)
    },
    medium(0xb7, &[0xb7, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07], control::read_defects),
];

/// REPORT SUPPORTED OPERATION CODES (SPC-4 6.35).
fn report(nexus: &Nexus, cdb: &[u8; 16]) -> Action {
    let with_timeouts = cdb[2] & 0x80 != 0;
    let (opcode, sa, allocation) = (cdb[3], be16(cdb, 4), be32(cdb, 6));
    let commands = || COMMANDS.iter().filter(|entry| entry.is_offered(&nexus.unit));
    // No timeout is worth naming: all are zero.
    const TIMEOUTS: [u8; 12] = [0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let one = |entry: Option<&Entry>| {
        let Some(entry) = entry else { return vec![0, 0x01, 0, 0] };
        let mut b = vec![0, 0x03 | if with_timeouts { 0x80 } else { 0 }, 0, entry.usage.len() as u8];
        b.extend_from_slice(entry.usage);
        if with_timeouts {
            b.extend_from_slice(&TIMEOUTS);
        }
        b
    };
    let data = match cdb[2] & 7 {
        0 => {
            let mut b = vec![0; 4];
            for entry in commands() {
                let sa = entry.service_action.unwrap_or(0).to_be_bytes();
                let flags = u8::from(entry.service_action.is_some()) | if with_timeouts { 2 } else { 0 };
                b.extend_from_slice(&[entry.opcode, 0, sa[0], sa[1], 0, flags, 0, entry.usage.len() as u8]);
                if with_timeouts {
                    b.extend_from_slice(&TIMEOUTS);
                }
            }
            let len = (b.len() - 4) as u32;
            b[..4].copy_from_slice(&len.to_be_bytes());
            b
        }
        1 => {
            if commands().any(|e| e.opcode == opcode && e.service_action.is_some()) {
                return Sense::field(2).into();
            }
            one(commands().find(|e| e.opcode == opcode))
        }
        2 => {
            if commands().any(|e| e.opcode == opcode && e.service_action.is_none()) {
                return Sense::field(2).into();
            }
            one(commands().find(|e| e.opcode == opcode && e.service_action == Some(sa)))
        }
        3 => one(commands().find(|e| e.opcode == opcode && e.service_action.unwrap_or(0) == sa)),
        _ => return Sense::field(2).into(),
    };
    allocated(data, allocation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_an_opcode_stand_together_and_are_found_by_it() {
        assert!(COMMANDS.len() < 256);
        for opcode in 0..=255 {
            let first = usize::from(FIRST[usize::from(opcode)]);
            let together = COMMANDS[first..].iter().take_while(|e| e.opcode == opcode).count();
            assert_eq!(together, COMMANDS.iter().filter(|e| e.opcode == opcode).count(), "{opcode:#04x}");
        }
    }
}
