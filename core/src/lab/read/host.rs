//! `[[host]]`.

use uuid::Uuid;

use super::boot;
use super::fields::{Fields, Reader};
use super::profile::{firmware_file, name};
use crate::lab::problem::Problem;
use crate::lab::schema::{Host, Seat};
use crate::net::MacAddr;

pub(super) fn host(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Host> {
    let known = ["mac", "uuid", "name", "group", "seat", "address", "firmware", "boot"];
    reader.only(fields, "[[host]]", &known);
    reader.required(fields, "[[host]]", "mac", "\"52:54:00:00:00:01\"");
    let macs = macs(reader, fields);
    let uuid = uuid(reader, fields);
    let name = name(reader, fields, "name");
    if let Some(name) = &name
        && name.as_str().parse::<MacAddr>().is_ok()
    {
        let line = fields.line(reader, "name");
        reader.error(line, format!("`name`: `{name}` reads as a MAC address; commands would mistake it"));
    }
    let group = self::name(reader, fields, "group");
    let seat = seat(reader, fields);
    let address = reader.address(fields, "address");
    let firmware = firmware_file(reader, fields, "firmware");
    let boot = boot::boot(reader, fields, "boot");
    if macs.is_empty() || fields.has("uuid") && uuid.is_none() {
        return None;
    }
    Some(Host { macs, uuid, name, group, seat, address, firmware, boot })
}

fn macs(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<MacAddr> {
    let texts = reader.strings(fields, "mac");
    if texts.is_empty() && fields.item("mac").is_some_and(toml_edit::Item::is_array) {
        let line = fields.line(reader, "mac");
        reader.error(line, "`mac` is an empty list; a host has at least one MAC address");
    }
    let mut out = Vec::new();
    for (text, line) in texts {
        let Some(mac) = reader.typed::<MacAddr>(text, line, "mac") else { continue };
        if mac.is_group() {
            reader.error(line, format!("`mac`: {mac} is a group address, which no machine can have"));
        } else if mac == MacAddr::default() {
            reader.error(line, "`mac`: 00:00:00:00:00:00 is no machine's address");
        } else if out.contains(&mac) {
            reader.error(line, format!("`mac`: {mac} stands twice in this host"));
        } else {
            out.push(mac);
        }
    }
    out
}

fn seat(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Seat> {
    let item = fields.item("seat")?;
    let numbers = item.as_array().map(|array| array.iter().map(|v| v.as_integer().and_then(|n| u8::try_from(n).ok())));
    let numbers: Option<Vec<u8>> = numbers.and_then(Iterator::collect);
    let seat = match numbers.as_deref() {
        Some([row, column]) => Seat::at(*row, *column),
        _ => None,
    };
    if seat.is_none() {
        let line = fields.line(reader, "seat");
        reader.error(line, format!("`seat` must be [row, column], each from 1 to {}, such as [2, 3]", Seat::MOST));
    }
    seat
}

fn uuid(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Uuid> {
    let text = reader.string(fields, "uuid")?;
    let line = fields.line(reader, "uuid");
    match Uuid::try_parse(text) {
        Ok(uuid) if uuid.is_nil() || uuid.is_max() => {
            reader.problem(
                Problem::error(line, format!("`uuid`: {uuid} is what boards without a number of their own report"))
                    .suggest("leave it out"),
            );
            None
        }
        Ok(uuid) => Some(uuid),
        Err(_) => {
            reader.error(
                line,
                format!("`{text}` is not a UUID; expected 32 digits such as 4c4c4544-0042-3510-8052-b4c04f4e4e32"),
            );
            None
        }
    }
}
