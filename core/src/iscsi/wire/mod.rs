//! iSCSI's bytes (RFC 7143 11): frames with their digests and padding, basic header segments to typed structs and back, and the
//! key=value text of login and Text.
//!
//! [`frame`] cuts PDUs out of a stream and puts them together; [`request`] is what an initiator sends, [`response`] what a target
//! sends; [`text`] is the keys. Nothing here knows what a PDU means.

pub mod frame;
pub mod request;
pub mod response;
pub mod text;

pub use frame::{Frame, FrameError, Framing, Parsed, Payload, Raw};

/// Bytes of a basic header segment.
pub const BHS: usize = 48;

/// A basic header segment.
pub type Bhs = [u8; BHS];

/// The tag that names no task (RFC 7143 11.2.1.8).
pub const NO_TAG: u32 = 0xffff_ffff;

pub(crate) fn be16(b: &[u8], at: usize) -> u16 {
    b.get(at..at + 2).and_then(|s| s.try_into().ok()).map_or(0, u16::from_be_bytes)
}

pub(crate) fn be24(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 3).map_or(0, |s| s.iter().fold(0, |n, &x| n << 8 | u32::from(x)))
}

pub(crate) fn be32(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).and_then(|s| s.try_into().ok()).map_or(0, u32::from_be_bytes)
}

pub(crate) fn be64(b: &[u8], at: usize) -> u64 {
    b.get(at..at + 8).and_then(|s| s.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Writes `bytes` at `at`; what does not fit is left out.
pub(crate) fn put(b: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = b.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

/// For fuzzing: no input may panic, and what decodes must encode to what decodes the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((&options, mut rest)) = data.split_first() else { return };
    let framing = Framing { header_digest: options & 1 != 0, data_digest: options & 2 != 0, max_data: 16 * 1024 };
    while let Ok(Parsed::Pdu { raw, used }) = framing.parse(rest) {
        let request = request::Request::decode(raw.bhs);
        if let Some(bhs) = request.encode() {
            assert_eq!(request::Request::decode(&bhs), request);
        }
        if let Some(response) = response::Response::decode(raw.bhs) {
            assert_eq!(response::Response::decode(&response.encode()), Some(response));
        }
        if let Ok(pairs) = text::parse(raw.data) {
            let mut again = Vec::new();
            for (key, value) in &pairs {
                text::push(&mut again, key, value);
            }
            assert_eq!(text::parse(&again).ok(), Some(pairs));
        }
        rest = rest.get(used..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        #[test]
        fn bytes_never_panic(data: Vec<u8>) {
            super::fuzz(&data);
        }
    }
}
