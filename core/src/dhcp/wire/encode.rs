//! Writing a message: the order that old firmware relies on, splitting (RFC 3396), overload (RFC 2132 9.3), padding.

use super::code;
use super::packet::{COOKIE, FILE, HEADER, Packet, SNAME};

/// Old relays and BOOTP clients drop anything shorter (RFC 1542 2.1).
const SHORTEST: usize = 300;
/// What every client takes (RFC 2131 section 2: 576 bytes of IP datagram), without IP and UDP headers.
const SMALLEST_LIMIT: usize = 576 - 28;

impl Packet {
    /// The bytes on the wire, at most `limit` (of UDP payload, never taken as less than 548).
    ///
    /// Options come in this order: 53, 54, 51, those in `wanted` in its order (RFC 2132 9.8), the rest, 61, and 82 last
    /// (RFC 3046 2.1). What does not fit goes to an unused `file`, then to an unused `sname`; what fits nowhere is left out, last
    /// ones first.
    #[must_use]
    pub fn encode(&self, wanted: &[u8], limit: usize) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        put(&mut out, 0, &[self.op, self.htype, self.hlen, self.hops]);
        put(&mut out, 4, &self.xid.to_be_bytes());
        put(&mut out, 8, &self.secs.to_be_bytes());
        put(&mut out, 10, &self.flags.to_be_bytes());
        put(&mut out, 12, &self.ciaddr.octets());
        put(&mut out, 16, &self.yiaddr.octets());
        put(&mut out, 20, &self.siaddr.octets());
        put(&mut out, 24, &self.giaddr.octets());
        put(&mut out, 28, &self.chaddr);
        put(&mut out, SNAME.start, self.sname.get(..SNAME.len().min(self.sname.len())).unwrap_or_default());
        put(&mut out, FILE.start, self.file.get(..FILE.len().min(self.file.len())).unwrap_or_default());
        if self.plain {
            out.resize(SHORTEST, code::PAD);
            return out;
        }
        put(&mut out, 236, &COOKIE);

        let room = limit.max(SMALLEST_LIMIT) - HEADER;
        let ordered = self.ordered(wanted);
        let whole: usize = ordered.iter().map(|(_, v)| encoded_len(v)).sum();
        if whole < room {
            for (code, value) in ordered {
                write(&mut out, code, value);
            }
            out.push(code::END);
        } else {
            self.overload(&mut out, &ordered, room);
        }
        if out.len() < SHORTEST {
            out.resize(SHORTEST, code::PAD);
        }
        out
    }

    fn ordered(&self, wanted: &[u8]) -> Vec<(u8, &[u8])> {
        let first = [code::MESSAGE_TYPE, code::SERVER_ID, code::LEASE_TIME];
        let last = [code::CLIENT_ID, code::RELAY];
        let rank = |c: u8| {
            let place = |list: &[u8]| list.iter().position(|x| *x == c);
            if let Some(at) = place(&first) {
                (0, at)
            } else if let Some(at) = place(&last) {
                (3, at)
            } else if let Some(at) = place(wanted) {
                (1, at)
            } else {
                (2, 0)
            }
        };
        let mut list: Vec<_> = self
            .options
            .iter()
            .filter(|(c, _)| !matches!(*c, code::PAD | code::END | code::OVERLOAD))
            .map(|(c, v)| (*c, v.as_slice()))
            .collect();
        list.sort_by_key(|(c, _)| rank(*c)); // stable: the rest keeps the order in which it was set
        list
    }

    fn overload(&self, out: &mut Vec<u8>, ordered: &[(u8, &[u8])], room: usize) {
        let relay = ordered.iter().find(|(c, _)| *c == code::RELAY).map_or(0, |(_, v)| encoded_len(v));
        // Overload's own three bytes, END, and what the relay must get back.
        let main = room.saturating_sub(3 + 1 + relay);
        let mut regions = [
            Region { room: main, ..Region::default() },
            Region { room: if self.file.is_empty() { FILE.len() - 1 } else { 0 }, ..Region::default() },
            Region { room: if self.sname.is_empty() { SNAME.len() - 1 } else { 0 }, ..Region::default() },
        ];
        for (code, value) in ordered.iter().filter(|(c, _)| *c != code::RELAY) {
            let len = encoded_len(value);
            if let Some(region) = regions.iter_mut().find(|r| r.bytes.len() + len <= r.room) {
                write(&mut region.bytes, *code, value);
            }
        }
        let [options, file, sname] = regions;
        let bits = u8::from(!file.bytes.is_empty()) | u8::from(!sname.bytes.is_empty()) << 1;
        // Behind the message type, which some clients want first.
        let head = if ordered.first().is_some_and(|(c, _)| *c == code::MESSAGE_TYPE) { 3 } else { 0 };
        let (before, after) = options.bytes.split_at_checked(head).unwrap_or((&options.bytes, &[]));
        out.extend_from_slice(before);
        if bits != 0 {
            write(out, code::OVERLOAD, &[bits]);
        }
        out.extend_from_slice(after);
        if let Some((code, value)) = ordered.iter().find(|(c, _)| *c == code::RELAY)
            && out.len() + encoded_len(value) < HEADER + room
        {
            write(out, *code, value);
        }
        out.push(code::END);
        for (range, mut region) in [(FILE, file.bytes), (SNAME, sname.bytes)] {
            if !region.is_empty() {
                region.push(code::END);
                put(out, range.start, &region);
            }
        }
    }
}

#[derive(Default)]
struct Region {
    room: usize,
    bytes: Vec<u8>,
}

fn encoded_len(value: &[u8]) -> usize {
    value.len() + 2 * value.len().div_ceil(255).max(1)
}

fn write(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    if value.is_empty() {
        out.extend_from_slice(&[code, 0]);
    }
    for part in value.chunks(255) {
        out.push(code);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
