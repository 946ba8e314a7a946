//! Packets and events in words and as JSON, and files for them: the command line prints what the window writes.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use bootyard_core::api::{Event, Packets};
use bootyard_core::trace::Packet;
use bootyard_core::trace::decode::{Decoded, Field};
use serde::Serialize;

use crate::gui::lang::t;

/// A packet as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct PacketJson<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing: Option<bool>,
    length: u32,
    comments: &'a [String],
    #[serde(flatten)]
    decoded: &'a Decoded,
}

/// As JSON, with every field.
pub(crate) fn packet_json<'a>(packet: &'a Packet, decoded: &'a Decoded) -> PacketJson<'a> {
    PacketJson {
        time: packet.time.to_string(),
        outgoing: packet.outgoing,
        length: packet.original,
        comments: &packet.comments,
        decoded,
    }
}

/// As one line: time (UTC), who to whom, what.
pub(crate) fn packet_line(packet: &Packet, decoded: &Decoded) -> String {
    let Decoded { protocol, from, to, line, .. } = decoded;
    let time = packet.time.strftime("%H:%M:%S%.6f");
    safe(&format!("{time}  {from} > {to}  {protocol}  {line}"))
}

/// As lines: [`packet_line`], what is said of it, and every field where `verbose`.
pub(crate) fn packet_lines(packet: &Packet, decoded: &Decoded, verbose: bool) -> Vec<String> {
    let mut lines = vec![packet_line(packet, decoded)];
    lines.extend(packet.comments.iter().map(|comment| safe(&format!("                 # {comment}"))));
    if verbose {
        decoded.fields.iter().for_each(|field| branch(field, 1, &mut lines));
    }
    lines
}

fn branch(field: &Field, depth: usize, lines: &mut Vec<String>) {
    lines.push(safe(&format!("{}{}: {}", "    ".repeat(depth), field.name, field.value)));
    field.fields.iter().for_each(|part| branch(part, depth + 1, lines));
}

/// What is missing in the packets of a machine.
pub(crate) fn missing(packets: &Packets) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = &packets.absent {
        notes.push(t!("no packets are captured: {why}", why = why));
    } else if packets.count == 0 {
        notes.push(t!("no packets of this machine were seen since the engine started").to_owned());
    }
    notes.extend(packets.sockets.clone());
    if packets.gone > 0 {
        notes.push(t!("{n} older packets made room for these", n = packets.gone));
    }
    if packets.lost > 0 {
        notes.push(t!("{n} packets came faster than they could be taken", n = packets.lost));
    }
    notes
}

/// An event as one line: time (UTC), kind, machine, fields.
pub(crate) fn event_line(event: &Event) -> String {
    let mut fields = serde_json::to_value(event).unwrap_or_default();
    let mut text = format!("{}  {:<20}", event.time.strftime("%H:%M:%S%.3f"), event.kind.name());
    if let Some(mac) = event.mac {
        text.push_str(&format!(" {mac}"));
    }
    if let Some(map) = fields.as_object_mut() {
        for known in ["v", "seq", "time", "host", "mac", "source", "kind"] {
            map.remove(known);
        }
        for (name, value) in map {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!(" {name}={}", safe(&value)));
        }
    }
    text
}

/// A client's string, made harmless for a terminal.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Writes a file that must not be there, for its owner alone: it tells much of a network. What could not be written whole is removed.
pub(crate) fn write_new(to: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut file = new.with_context(|| format!("cannot write {}; it must not exist", to.display()))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        drop(file);
        let _is_told_below = std::fs::remove_file(to);
    }
    written.with_context(|| format!("cannot write {}", to.display()))
}

/// The same in the place of a file that may be there: the old one stays until the new one is whole.
pub(crate) fn write_over(to: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut beside = to.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = Path::new(&beside);
    write_new(beside, bytes)?;
    std::fs::rename(beside, to).with_context(|| {
        let _is_told_here = std::fs::remove_file(beside);
        format!("cannot write {}", to.display())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_its_owner_s_alone_and_none_is_written_over_unless_that_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("boot.pcapng");
        write_new(&to, b"first").unwrap();
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_new(&to, b"second").is_err());
        assert_eq!(std::fs::read(&to).unwrap(), b"first");
        write_over(&to, b"third").unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"third");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
