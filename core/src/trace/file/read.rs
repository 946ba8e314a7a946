//! What both forms have in common: the order of bytes, link types, bounds.

use jiff::Timestamp;

use super::{FileError, MAX_COMMENT, MAX_PACKET, MAX_PACKETS, Packet, Recording, pcap, pcapng};

/// Reads a recording of either form.
///
/// # Errors
/// [`FileError`]; a file that ends in the middle is none.
pub fn read(data: &[u8]) -> Result<Recording, FileError> {
    if pcapng::is(data) {
        return pcapng::read(data);
    }
    pcap::read(data)
}

/// Numbers in a file's own order of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) little: bool,
}

impl Order {
    pub(super) fn half(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    pub(super) fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    pub(super) fn long(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(if self.little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }
}

/// A time in units of which there are so many a second.
pub(super) fn time(ticks: u64, per_second: u128) -> Timestamp {
    let nanos = u128::from(ticks).saturating_mul(1_000_000_000) / per_second.max(1);
    let nanos = i128::from(u64::try_from(nanos).unwrap_or(u64::MAX));
    Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX)
}

/// The time so many seconds later, or earlier; where [`time`] gives no such time, the time itself.
pub(super) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    let nanos = i128::from(seconds) * 1_000_000_000 + time.as_nanosecond();
    let nanos = u64::try_from(nanos).ok();
    nanos.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok()).unwrap_or(time)
}

/// A comment within its bound.
pub(super) fn comment(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut end = text.len().min(MAX_COMMENT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// A packet as a file has it.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    pub(super) link: u16,
    pub(super) time: Timestamp,
    pub(super) original: u32,
    pub(super) data: &'a [u8],
    pub(super) outgoing: Option<bool>,
    pub(super) comments: Vec<String>,
}

impl Recording {
    /// Takes a packet in; false when there is no room for more.
    pub(super) fn add(&mut self, found: Found<'_>) -> bool {
        if self.packets.len() >= MAX_PACKETS {
            self.cut = Some(format!("only the first {MAX_PACKETS} packets were read"));
            return false;
        }
        let data = found.data.get(..found.data.len().min(MAX_PACKET)).unwrap_or_default();
        let Some((data, grown)) = ethernet(found.link, data) else {
            self.skipped += 1;
            return true;
        };
        let original = u32::try_from(i64::from(found.original).saturating_add(grown).max(0)).unwrap_or(u32::MAX);
        let original = original.max(u32::try_from(data.len()).unwrap_or(u32::MAX));
        let (time, outgoing, comments) = (found.time, found.outgoing, found.comments);
        self.packets.push(Packet { time, outgoing, original, data, comments });
        true
    }
}

// Link types of https://www.tcpdump.org/linktypes.html.
pub(super) const ETHERNET: u16 = 1;
const RAW: u16 = 101;
const LINUX_COOKED: u16 = 113;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_COOKED_2: u16 = 276;

/// The packet as an Ethernet frame, and by how many bytes it is longer now.
fn ethernet(link: u16, data: &[u8]) -> Option<(Vec<u8>, i64)> {
    let framed = |to: [u8; 6], from: [u8; 6], kind: [u8; 2], rest: &[u8]| {
        let frame = [&to[..], &from, &kind, rest].concat();
        let grown = i64::try_from(frame.len()).unwrap_or(0) - i64::try_from(data.len()).unwrap_or(0);
        (frame, grown)
    };
    let other = if data.first().is_some_and(|b| b >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    match link {
        ETHERNET => Some((data.to_vec(), 0)),
        RAW | IPV4 | IPV6 => Some(framed([0; 6], [0; 6], other, data)),
        // Packet type, hardware type, length of the address, address, protocol.
        LINUX_COOKED => {
            let kind = data.get(14..16)?.try_into().ok()?;
            let from = data.get(6..12)?.try_into().ok()?;
            Some(framed(cooked_to(data.get(1).copied()), from, kind, data.get(16..)?))
        }
        // Protocol, reserved, interface, hardware type, packet type, length of the address, address.
        LINUX_COOKED_2 => {
            let kind = data.get(..2)?.try_into().ok()?;
            let from = data.get(12..18)?.try_into().ok()?;
            Some(framed(cooked_to(data.get(10).copied()), from, kind, data.get(20..)?))
        }
        _ => None,
    }
}

/// The destination is not told but for a broadcast.
fn cooked_to(packet_type: Option<u8>) -> [u8; 6] {
    if packet_type == Some(1) { [0xff; 6] } else { [0; 6] }
}
