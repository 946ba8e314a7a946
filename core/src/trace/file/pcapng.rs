//! The newer form: blocks, with options, among them comments.

use super::read::{ETHERNET, Found, Order, comment, later, time};
use super::{FileError, MAX_COMMENT, MAX_COMMENTS, Packet, Recording};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;
const MAGIC: u32 = 0x1a2b_3c4d;
/// Block type, length, and the length again at the end.
const FRAME: usize = 12;
const MAX_INTERFACES: usize = 4096;

// Options.
const END: u16 = 0;
const COMMENT: u16 = 1;
/// Of a section: the program.
const PROGRAM: u16 = 4;
/// Of an interface: units of its times.
const RESOLUTION: u16 = 9;
/// Of an interface: seconds to add to its times.
const OFFSET: u16 = 14;
/// Of a packet: which way it went.
const FLAGS: u16 = 2;

pub(super) fn is(data: &[u8]) -> bool {
    data.starts_with(&SECTION.to_be_bytes())
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link: u16,
    /// Most bytes of a packet; 0 without a bound.
    snap: u32,
    per_second: u128,
    /// Seconds to add to its times.
    offset: i64,
}

pub(super) fn read(data: &[u8]) -> Result<Recording, FileError> {
    let mut recording = Recording::default();
    let mut order = Order { little: true };
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        if is(rest) {
            order = match (Order { little: true }.word(rest, 8), Order { little: false }.word(rest, 8)) {
                (Some(MAGIC), _) => Order { little: true },
                (_, Some(MAGIC)) => Order { little: false },
                _ => return Err(FileError::Damaged("a section does not say in which order its bytes are")),
            };
        }
        let (Some(kind), Some(len)) = (order.word(rest, 0), order.word(rest, 4)) else {
            recording.cut = Some("it ends in the middle of a block".to_owned());
            break;
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len < FRAME || !len.is_multiple_of(4) {
            return Err(FileError::Damaged("a block's length makes no sense"));
        }
        let Some(body) = rest.get(8..len - 4) else {
            recording.cut = Some("it ends in the middle of a block".to_owned());
            break;
        };
        let added = match kind {
            SECTION => {
                interfaces.clear();
                let said = comments(order, body.get(16..).unwrap_or_default());
                let room = MAX_COMMENTS.saturating_sub(recording.comments.len());
                recording.comments.extend(said.into_iter().take(room));
                true
            }
            INTERFACE => {
                if interfaces.len() >= MAX_INTERFACES {
                    return Err(FileError::Damaged("it has more interfaces than any computer"));
                }
                let interface =
                    interface(order, body).ok_or(FileError::Damaged("an interface's block is too short"))?;
                interfaces.push(interface);
                true
            }
            ENHANCED => enhanced(order, body, &interfaces).is_none_or(|found| recording.add(found)),
            SIMPLE => simple(order, body, &interfaces).is_none_or(|found| recording.add(found)),
            _ => true,
        };
        if !added {
            break;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    Ok(recording)
}

/// The options of a block: number and value.
fn options(order: Order, bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (number, len) = (order.half(rest, 0)?, usize::from(order.half(rest, 2)?));
        if number == END {
            return None;
        }
        let value = rest.get(4..4 + len)?;
        rest = rest.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

fn comments(order: Order, bytes: &[u8]) -> Vec<String> {
    let all = options(order, bytes).filter(|(number, _)| *number == COMMENT);
    all.take(MAX_COMMENTS).map(|(_, value)| comment(value)).collect()
}

fn interface(order: Order, body: &[u8]) -> Option<Interface> {
    let (link, snap) = (order.half(body, 0)?, order.word(body, 4)?);
    let told = options(order, body.get(8..)?).find(|(number, _)| *number == RESOLUTION);
    let per_second = match told.and_then(|(_, value)| value.first().copied()) {
        Some(power) if power & 0x80 != 0 => 1_u128.checked_shl(u32::from(power & 0x7f)).unwrap_or(u128::MAX),
        Some(power) => 10_u128.checked_pow(u32::from(power)).unwrap_or(u128::MAX),
        None => 1_000_000,
    };
    let told = options(order, body.get(8..)?).find(|(number, _)| *number == OFFSET);
    let offset = told.and_then(|(_, value)| order.long(value, 0)).unwrap_or(0).cast_signed();
    Some(Interface { link, snap, per_second, offset })
}

fn enhanced<'a>(order: Order, body: &'a [u8], interfaces: &[Interface]) -> Option<Found<'a>> {
    let interface = interfaces.get(usize::try_from(order.word(body, 0)?).ok()?)?;
    let ticks = u64::from(order.word(body, 4)?) << 32 | u64::from(order.word(body, 8)?);
    let (len, original) = (usize::try_from(order.word(body, 12)?).ok()?, order.word(body, 16)?);
    let rest = body.get(20..)?;
    let data = rest.get(..len)?;
    let after = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    let flags = options(order, after).find(|(number, _)| *number == FLAGS).and_then(|(_, v)| order.word(v, 0));
    let outgoing = match flags.unwrap_or(0) & 3 {
        1 => Some(false),
        2 => Some(true),
        _ => None,
    };
    let time = later(time(ticks, interface.per_second), interface.offset);
    Some(Found { link: interface.link, time, original, data, outgoing, comments: comments(order, after) })
}

/// A simple packet has no time; it belongs to the first interface.
fn simple<'a>(order: Order, body: &'a [u8], interfaces: &[Interface]) -> Option<Found<'a>> {
    let interface = interfaces.first()?;
    let original = order.word(body, 0)?;
    let most = if interface.snap == 0 { original } else { original.min(interface.snap) };
    let rest = body.get(4..)?;
    let data = rest.get(..usize::try_from(most).ok()?.min(rest.len()))?;
    let time = jiff::Timestamp::UNIX_EPOCH;
    Some(Found { link: interface.link, time, original, data, outgoing: None, comments: Vec::new() })
}

/// Packets as a file of one section and one interface, with what is said of the whole and of each packet. Times in nanoseconds.
#[must_use]
pub fn write(packets: &[Packet], about: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + packets.iter().map(|p| p.data.len() + 64).sum::<usize>());
    // Little endian, version 1.0, a section of unknown length.
    let mut body = [&MAGIC.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    put_comments(&mut body, about);
    put_option(&mut body, PROGRAM, concat!("Bootyard ", env!("CARGO_PKG_VERSION")).as_bytes());
    end(&mut body);
    put_block(&mut out, SECTION, &body);

    let mut body = [&ETHERNET.to_le_bytes()[..], &[0; 6]].concat();
    put_option(&mut body, RESOLUTION, &[9]);
    end(&mut body);
    put_block(&mut out, INTERFACE, &body);

    for packet in packets {
        let nanos = u64::try_from(packet.time.as_nanosecond()).unwrap_or(0);
        let (high, low) = (u32::try_from(nanos >> 32).unwrap_or(u32::MAX), u32::try_from(nanos & 0xffff_ffff));
        let len = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        let words = [0, high, low.unwrap_or(0), len, packet.original];
        let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        body.extend_from_slice(&packet.data);
        pad(&mut body);
        put_comments(&mut body, &packet.comments);
        if let Some(outgoing) = packet.outgoing {
            put_option(&mut body, FLAGS, &(if outgoing { 2_u32 } else { 1 }).to_le_bytes());
        }
        end(&mut body);
        put_block(&mut out, ENHANCED, &body);
    }
    out
}

fn put_block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = u32::try_from(body.len() + FRAME).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&len);
    out.extend_from_slice(body);
    out.extend_from_slice(&len);
}

fn put_comments(body: &mut Vec<u8>, comments: &[String]) {
    for text in comments.iter().take(MAX_COMMENTS) {
        debug_assert!(MAX_COMMENT <= usize::from(u16::MAX));
        put_option(body, COMMENT, comment(text.as_bytes()).as_bytes());
    }
}

fn put_option(body: &mut Vec<u8>, number: u16, value: &[u8]) {
    body.extend_from_slice(&number.to_le_bytes());
    body.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

fn end(body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
