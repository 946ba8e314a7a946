//! The PDUs of iSCSI in a segment.

use super::{Field, Said, hex, text};
use crate::iscsi::wire::request::Request;
use crate::iscsi::wire::response::Response;
use crate::iscsi::wire::{BHS, Bhs, be24, text as keys};
use crate::trace::view::Segment;

/// PDUs of one segment that are told.
const MOST: usize = 16;

/// Whether this begins a login (RFC 7143, section 11.12): there is no other way to know a target on another port.
pub(super) fn is_login(payload: &[u8]) -> bool {
    const KEY: &[u8] = b"InitiatorName=";
    payload.first() == Some(&0x43) && payload.get(BHS..).is_some_and(|t| t.windows(KEY.len()).any(|w| w == KEY))
}

pub(super) fn pdus(tcp: &Segment<'_>) -> Option<Said> {
    let mut told: Vec<Field> = Vec::new();
    let mut rest = tcp.payload;
    while let Some((bhs, after)) = rest.split_first_chunk::<BHS>() {
        if told.len() == MOST {
            break;
        }
        let Some((line, mut fields)) = pdu(bhs) else { break };
        let length = usize::from(bhs[4]) * 4 + be24(bhs, 5) as usize;
        fields.push(Field::new("data", format!("{} bytes", be24(bhs, 5))));
        let data = after.get(..length.min(after.len())).unwrap_or_default();
        if matches!(bhs[0] & 0x3f, 0x03 | 0x04 | 0x23 | 0x24) {
            fields.extend(text_keys(data.get(..(be24(bhs, 5) as usize).min(data.len())).unwrap_or_default()));
        }
        told.push(Field::with("PDU", line, fields));
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let lines: Vec<&str> = told.iter().map(|pdu| pdu.value.as_str()).collect();
    let line = lines.join("; ");
    (!told.is_empty()).then_some(Said { protocol: "iSCSI", line, fields: told })
}

fn text_keys(data: &[u8]) -> Vec<Field> {
    keys::parse(data)
        .unwrap_or_default()
        .iter()
        .map(|(key, value)| Field::new(&text(key.as_bytes()), text(value.as_bytes())))
        .collect()
}

fn pdu(bhs: &Bhs) -> Option<(String, Vec<Field>)> {
    match Request::decode(bhs) {
        Request::Unknown(_) => Response::decode(bhs).map(|response| answer(&response)),
        request => Some(asked(&request)),
    }
}

fn stage(number: u8) -> &'static str {
    match number {
        0 => "security negotiation",
        1 => "operational negotiation",
        3 => "full feature phase",
        _ => "unknown",
    }
}

fn asked(request: &Request) -> (String, Vec<Field>) {
    match request {
        Request::Login(login) => {
            let to = if login.transit { format!(", on to {}", stage(login.next)) } else { String::new() };
            let fields = vec![
                Field::new("ISID", hex(&login.isid)),
                Field::new("TSIH", login.tsih),
                Field::new("CmdSN", login.cmd_sn),
            ];
            (format!("login, {}{to}", stage(login.stage)), fields)
        }
        Request::Command(command) => {
            let (name, place) = cdb(&command.cdb);
            let fields = vec![
                Field::new("task tag", format!("{:#010x}", command.itt)),
                Field::new("LUN", hex(&command.lun)),
                Field::new("CDB", hex(&command.cdb)),
                Field::new("expected", format!("{} bytes", command.expected)),
                Field::new("CmdSN", command.cmd_sn),
            ];
            (format!("{name}{place}"), fields)
        }
        Request::DataOut(data) => {
            let fields = vec![Field::new("task tag", format!("{:#010x}", data.itt)), Field::new("offset", data.offset)];
            (format!("data out at {}", data.offset), fields)
        }
        Request::NopOut(nop) => ("ping".to_owned(), vec![Field::new("task tag", format!("{:#010x}", nop.itt))]),
        Request::TaskManagement(task) => {
            let fields = vec![Field::new("referenced task", format!("{:#010x}", task.referenced))];
            (format!("task management, function {}", task.function), fields)
        }
        Request::Text(_) => ("text".to_owned(), Vec::new()),
        Request::Logout(logout) => ("logout".to_owned(), vec![Field::new("reason", logout.reason)]),
        Request::Snack(_) => ("asks for numbers again".to_owned(), Vec::new()),
        Request::Unknown(opcode) => (format!("opcode {opcode:#04x}"), Vec::new()),
    }
}

fn answer(response: &Response) -> (String, Vec<Field>) {
    let tag = |itt: &u32| Field::new("task tag", format!("{itt:#010x}"));
    match response {
        Response::Login { transit, stage: now, next, tsih, status, .. } => {
            let line = match status {
                0 if *transit && *next == 3 => format!("login accepted, session {tsih}"),
                0 => format!("login goes on, {}", stage(*now)),
                refused => format!("login refused, status {refused:04x}"),
            };
            (line, vec![Field::new("status", format!("{status:04x}")), Field::new("TSIH", tsih)])
        }
        Response::Scsi { status, itt, .. } => {
            let word = match status {
                0 => "good",
                2 => "check condition",
                8 => "busy",
                0x18 => "reservation conflict",
                _ => "other",
            };
            (format!("status {status:#04x}, {word}"), vec![tag(itt)])
        }
        Response::DataIn { itt, offset, status, .. } => {
            let end = if status.is_some() { ", the last" } else { "" };
            (format!("data in at {offset}{end}"), vec![tag(itt)])
        }
        Response::R2t { itt, offset, len, .. } => (format!("ready for {len} bytes at {offset}"), vec![tag(itt)]),
        Response::NopIn { itt, .. } => ("ping".to_owned(), vec![tag(itt)]),
        Response::TaskManagement { response, itt, .. } => {
            (format!("task management answered, {response}"), vec![tag(itt)])
        }
        Response::Text { itt, .. } => ("text".to_owned(), vec![tag(itt)]),
        Response::Logout { response, itt, .. } => (format!("logged out, {response}"), vec![tag(itt)]),
        Response::Reject { reason, .. } => (format!("rejects a PDU, reason {reason}"), Vec::new()),
    }
}

/// A command's name (SPC-4, SBC-3) and the blocks that it is about.
fn cdb(cdb: &[u8; 16]) -> (String, String) {
    let word = |at: usize| cdb.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    let half = |at: usize| cdb.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes);
    let place = match cdb[0] {
        0x28 | 0x2a | 0x2f | 0x35 => Some((u64::from(word(2)), u32::from(half(7)))),
        0x88 | 0x8a | 0x8f | 0x91 | 0x93 => Some((u64::from(word(2)) << 32 | u64::from(word(6)), word(10))),
        0xa8 | 0xaa => Some((u64::from(word(2)), word(6))),
        _ => None,
    };
    let name = match cdb[0] {
        0x00 => "TEST UNIT READY",
        0x03 => "REQUEST SENSE",
        0x08 => "READ(6)",
        0x0a => "WRITE(6)",
        0x12 => "INQUIRY",
        0x15 | 0x55 => "MODE SELECT",
        0x1a | 0x5a => "MODE SENSE",
        0x1b => "START STOP UNIT",
        0x25 => "READ CAPACITY(10)",
        0x28 => "READ(10)",
        0x2a => "WRITE(10)",
        0x2f => "VERIFY(10)",
        0x35 | 0x91 => "SYNCHRONIZE CACHE",
        0x41 | 0x93 => "WRITE SAME",
        0x42 => "UNMAP",
        0x5e => "PERSISTENT RESERVE IN",
        0x5f => "PERSISTENT RESERVE OUT",
        0x83 => "EXTENDED COPY",
        0x88 => "READ(16)",
        0x8a => "WRITE(16)",
        0x8f => "VERIFY(16)",
        0x9e => "READ CAPACITY(16)",
        0xa0 => "REPORT LUNS",
        0xa3 => "MAINTENANCE IN",
        0xa8 => "READ(12)",
        0xaa => "WRITE(12)",
        other => return (format!("command {other:#04x}"), String::new()),
    };
    (name.to_owned(), place.map_or_else(String::new, |(lba, blocks)| format!(" {blocks} blocks at {lba}")))
}
