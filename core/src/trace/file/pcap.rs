//! The older form: a header, then packets.

use super::read::{Found, Order, time};
use super::{FileError, Recording};

const HEADER: usize = 24;
const RECORD: usize = 16;

pub(super) fn read(data: &[u8]) -> Result<Recording, FileError> {
    const MICROS: u32 = 0xa1b2_c3d4;
    const NANOS: u32 = 0xa1b2_3c4d;
    let orders = [Order { little: true }, Order { little: false }];
    let known = |order: &Order| matches!(order.word(data, 0), Some(MICROS | NANOS));
    let order = orders.into_iter().find(known).ok_or(FileError::Unknown)?;
    let per_second: u64 = if order.word(data, 0) == Some(NANOS) { 1_000_000_000 } else { 1_000_000 };
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
        let Some(bytes) = rest.get(RECORD..).and_then(|b| b.get(..len)) else {
            recording.cut = Some("it ends in the middle of a packet".to_owned());
            break;
        };
        let ticks = seconds.saturating_mul(per_second).saturating_add(part);
        let time = time(ticks, u128::from(per_second));
        if !recording.add(Found { link, time, original, data: bytes, outgoing: None, comments: Vec::new() }) {
            break;
        }
        rest = rest.get(RECORD + len..).unwrap_or_default();
    }
    Ok(recording)
}
