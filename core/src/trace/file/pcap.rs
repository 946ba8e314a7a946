//! The older form: a header, then packets. Kernels and tools of the nineties wrote a variant with a longer header of each packet
//! (Kuznetzov's), which libpcap reads to this day.

use super::read::{Found, Order, time};
use super::{FileError, Recording};

const HEADER: usize = 24;
const RECORD: usize = 16;
/// Behind the rest of a packet's header in the variant: number of the interface, protocol, packet type, one byte to fill up.
const MORE: usize = 8;
/// Where the packet type is among them.
const PACKET_TYPE: usize = RECORD + 6;

pub(super) fn read(data: &[u8]) -> Result<Recording, FileError> {
    const MICROS: u32 = 0xa1b2_c3d4;
    const NANOS: u32 = 0xa1b2_3c4d;
    const MODIFIED: u32 = 0xa1b2_cd34;
    let orders = [Order { little: true }, Order { little: false }];
    let known = |order: &Order| matches!(order.word(data, 0), Some(MICROS | NANOS | MODIFIED));
    let order = orders.into_iter().find(known).ok_or(FileError::Unknown)?;
    let per_second: u64 = if order.word(data, 0) == Some(NANOS) { 1_000_000_000 } else { 1_000_000 };
    let modified = order.word(data, 0) == Some(MODIFIED);
    let header = if modified { RECORD + MORE } else { RECORD };
    let link = order.word(data, 20).ok_or(FileError::Damaged("its header is not whole"))?;
    let link = u16::try_from(link & 0xffff).unwrap_or(u16::MAX);
    let mut recording = Recording::default();
    let mut rest = data.get(HEADER..).unwrap_or_default();
    while !rest.is_empty() {
        let words = |at| order.word(rest, at).map(u64::from);
        let (Some(seconds), Some(part), Some(len), Some(original)) =
            (words(0), words(4), words(8), order.word(rest, 12))
        else {
            recording.cut = Some("it ends in the middle of a packet's header".to_owned());
            break;
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(bytes) = rest.get(header..).and_then(|b| b.get(..len)) else {
            recording.cut = Some("it ends in the middle of a packet".to_owned());
            break;
        };
        let ticks = seconds.saturating_mul(per_second).saturating_add(part);
        let time = time(ticks, u128::from(per_second));
        let outgoing = rest.get(PACKET_TYPE).filter(|_| modified).and_then(|kind| outgoing(*kind));
        if !recording.add(Found { link, time, original, data: bytes, outgoing, comments: Vec::new() }) {
            break;
        }
        rest = rest.get(header + len..).unwrap_or_default();
    }
    Ok(recording)
}

/// Which way a packet went, by Linux's packet type: to this computer or all, or to another one, or from here.
fn outgoing(packet_type: u8) -> Option<bool> {
    match packet_type {
        0..=2 => Some(false),
        4 => Some(true),
        _ => None,
    }
}
