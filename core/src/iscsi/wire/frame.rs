//! Frames: where a PDU ends, its digests (RFC 7143 13.1, CRC32C) and its padding to four bytes.

use std::ops::Range;
use std::sync::Arc;

use super::{BHS, Bhs, be24, put};
use crate::disks::Extent;

/// What both ends agreed on that changes how a PDU looks in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Four bytes of CRC32C follow the headers.
    pub header_digest: bool,
    /// Four bytes of CRC32C follow the data.
    pub data_digest: bool,
    /// The longest data segment that we take, in bytes: our MaxRecvDataSegmentLength.
    pub max_data: u32,
}

/// One PDU as it lies in the buffer. Digests are checked, padding is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Basic header.
    pub bhs: &'a Bhs,
    /// Additional header segments.
    pub ahs: &'a [u8],
    /// Data segment.
    pub data: &'a [u8],
}

/// What is at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The PDU is not complete before the buffer holds this many bytes.
    Need(usize),
    /// A PDU.
    Pdu {
        /// Its parts.
        raw: Raw<'a>,
        /// Its bytes, digests and padding included.
        used: usize,
    },
}

/// A stream that cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The data segment is longer than agreed.
    #[error("a data segment of {len} bytes; at most {max} were agreed on (MaxRecvDataSegmentLength)")]
    TooLong {
        /// Bytes that the header announces.
        len: u32,
        /// Bytes agreed on.
        max: u32,
    },
    /// The header's CRC32C is wrong.
    #[error("the header digest is wrong: the network or a driver damages packets")]
    HeaderDigest,
    /// The data's CRC32C is wrong.
    #[error("the data digest is wrong: the network or a driver damages packets")]
    DataDigest,
}

impl Framing {
    /// Login: no digests, segments of at most `max_data`.
    #[must_use]
    pub fn login(max_data: u32) -> Self {
        Self { header_digest: false, data_digest: false, max_data }
    }

    /// The headers at the start of `buf` if [`Framing::parse`] needs more and `least` bytes of data or more belong to them, which may
    /// be read to anywhere: no digest, no padding. Their bytes, and how many of data follow them.
    #[must_use]
    pub fn head<'a>(&self, buf: &'a [u8], least: usize) -> Option<(Raw<'a>, usize, usize)> {
        let (bhs, _) = buf.split_first_chunk::<BHS>()?;
        let len = be24(bhs, 5) as usize;
        let header = BHS + if self.header_digest { 4 } else { 0 };
        let plain = bhs[4] == 0 && !self.data_digest && len.is_multiple_of(4) && len <= self.max_data as usize;
        (plain && len >= least && buf.len() >= header).then_some((Raw { bhs, ahs: &[], data: &[] }, header, len))
    }

    /// Looks at the start of `buf`.
    ///
    /// # Errors
    /// [`FrameError`]; the connection must end, for nobody knows where the next PDU begins.
    pub fn parse<'a>(&self, buf: &'a [u8]) -> Result<Parsed<'a>, FrameError> {
        let Some((bhs, _)) = buf.split_first_chunk::<BHS>() else { return Ok(Parsed::Need(BHS)) };
        let data_len = be24(bhs, 5);
        let header = BHS + usize::from(bhs[4]) * 4;
        let data_at = header + if self.header_digest { 4 } else { 0 };
        // Until the digest is checked, the lengths may be damaged: look at it before at them.
        if self.header_digest {
            let Some((head, digest)) = buf.get(..data_at).and_then(|b| b.split_last_chunk::<4>()) else {
                return Ok(Parsed::Need(data_at));
            };
            if crc32c::crc32c(head).to_le_bytes() != *digest {
                return Err(FrameError::HeaderDigest);
            }
        }
        if data_len > self.max_data {
            return Err(FrameError::TooLong { len: data_len, max: self.max_data });
        }
        let len = data_len as usize;
        let padded = len.next_multiple_of(4);
        let digest = if self.data_digest && len > 0 { 4 } else { 0 };
        let used = data_at + padded + digest;
        let (Some(ahs), Some(data)) = (buf.get(BHS..header), buf.get(data_at..used)) else {
            return Ok(Parsed::Need(used));
        };
        let (padded, digest) = data.split_at(padded);
        if !digest.is_empty() && crc32c::crc32c(padded).to_le_bytes() != *digest {
            return Err(FrameError::DataDigest);
        }
        let data = padded.get(..len).unwrap_or_default();
        Ok(Parsed::Pdu { raw: Raw { bhs, ahs, data }, used })
    }
}

/// A data segment to send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payload {
    /// None.
    #[default]
    None,
    /// Bytes made for this PDU.
    Owned(Vec<u8>),
    /// A part of a buffer that several PDUs share: what was read from a disk goes to the socket without a further copy.
    Shared(Arc<Vec<u8>>, Range<usize>),
    /// Bytes that stay in their file: only where they need no digest.
    Stored(Extent),
}

impl Payload {
    /// The bytes that are in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None | Self::Stored(_) => &[],
            Self::Owned(bytes) => bytes,
            Self::Shared(buffer, range) => buffer.get(range.clone()).unwrap_or_default(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Stored(extent) => usize::try_from(extent.len).unwrap_or(usize::MAX),
            _ => self.bytes().len(),
        }
    }
}

/// A PDU ready for the stream: three runs of bytes, so that a service gathers many into one vectored write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    head: [u8; BHS + 4],
    head_len: u8,
    payload: Payload,
    tail: [u8; 8],
    tail_len: u8,
}

impl Frame {
    /// Puts a PDU together: sets the data length in the header, adds digests and padding.
    #[must_use]
    pub fn new(mut bhs: Bhs, payload: Payload, framing: &Framing) -> Self {
        let data = payload.bytes();
        let bytes = payload.len();
        debug_assert!(bytes == data.len() || !framing.data_digest, "nobody has the digest of what stays in its file");
        let len = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
        put(&mut bhs, 5, &len[1..]);
        let mut head = [0; BHS + 4];
        head[..BHS].copy_from_slice(&bhs);
        let mut head_len = BHS as u8;
        if framing.header_digest {
            head[BHS..].copy_from_slice(&crc32c::crc32c(&bhs).to_le_bytes());
            head_len += 4;
        }
        let mut tail = [0; 8];
        let padding = bytes.next_multiple_of(4) - bytes;
        let mut tail_len = padding;
        if framing.data_digest && !data.is_empty() {
            let crc = crc32c::crc32c_append(crc32c::crc32c(data), &tail[..padding]);
            put(&mut tail, padding, &crc.to_le_bytes());
            tail_len += 4;
        }
        Self { head, head_len, payload, tail, tail_len: tail_len as u8 }
    }

    /// Header, data as far as they are in memory, padding and digest, in this order.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 3] {
        [
            self.head.get(..usize::from(self.head_len)).unwrap_or_default(),
            self.payload.bytes(),
            self.tail.get(..usize::from(self.tail_len)).unwrap_or_default(),
        ]
    }

    /// Where its data are, if not in memory.
    #[must_use]
    pub fn stored(&self) -> Option<&Extent> {
        if let Payload::Stored(extent) = &self.payload { Some(extent) } else { None }
    }

    /// All of it as one run of bytes, if nobody else reads its buffer, there is room before the data for the header, and nothing follows
    /// them.
    pub fn in_place(&mut self) -> Option<&[u8]> {
        let Payload::Shared(buffer, range) = &mut self.payload else { return None };
        let head = self.head.get(..usize::from(self.head_len))?;
        let start = range.start.checked_sub(head.len())?;
        if self.tail_len > 0 {
            return None;
        }
        let buffer = Arc::get_mut(buffer)?;
        buffer.get_mut(start..range.start)?.copy_from_slice(head);
        buffer.get(start..range.end)
    }

    /// Bytes in the stream.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len() + usize::from(self.tail_len)
    }

    /// Never: a PDU has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The data segment, so that its buffer can be used again.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_parsed_as_it_was_made_whatever_the_digests() {
        for (header_digest, data_digest) in [(false, false), (true, false), (false, true), (true, true)] {
            let framing = Framing { header_digest, data_digest, max_data: 100 };
            for len in [0_usize, 1, 3, 4, 5, 100] {
                let data: Vec<u8> = (0..len as u8).collect();
                let frame =
                    Frame::new([7; BHS].map(|b| if b == 7 { 0 } else { b }), Payload::Owned(data.clone()), &framing);
                let bytes = frame.parts().concat();
                assert_eq!(bytes.len(), frame.len());
                let Ok(Parsed::Pdu { raw, used }) = framing.parse(&bytes) else { panic!("not parsed") };
                assert_eq!((raw.data, used), (&data[..], bytes.len()));
                for short in 0..bytes.len() {
                    assert!(matches!(framing.parse(&bytes[..short]), Ok(Parsed::Need(n)) if n > short));
                }
            }
        }
    }

    #[test]
    fn a_header_goes_before_the_data_only_where_there_is_room_and_nobody_reads() {
        let plain = Framing { header_digest: false, data_digest: false, max_data: 100 };
        let digests = Framing { data_digest: true, ..plain };
        let bhs = [0x25, 0x80, 0, 0, 0, 0, 0, 0].into_iter().chain([7; 40]).collect::<Vec<u8>>().try_into().unwrap();
        let make = |framing: &Framing, at: usize, len: usize| {
            let buffer = Arc::new((0..=255).collect::<Vec<u8>>());
            (Frame::new(bhs, Payload::Shared(buffer.clone(), at..at + len), framing), buffer)
        };
        let (mut frame, buffer) = make(&plain, 64, 8);
        assert_eq!(frame.in_place(), None, "the buffer has another owner");
        drop(buffer);
        let whole = frame.parts().concat();
        assert_eq!(frame.in_place(), Some(&whole[..]));
        for (framing, at, len) in [(&plain, BHS - 1, 8), (&plain, 64, 7), (&digests, 64, 8)] {
            let (mut frame, _) = make(framing, at, len);
            let whole = frame.parts().concat();
            assert_eq!(frame.in_place(), None);
            assert_eq!(frame.parts().concat(), whole, "and it is as it was");
        }
    }

    #[test]
    fn damage_is_seen() {
        let framing = Framing { header_digest: true, data_digest: true, max_data: 100 };
        let bytes = Frame::new([0; BHS], Payload::Owned(vec![1, 2, 3]), &framing).parts().concat();
        for at in 0..BHS {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let wrong = framing.parse(&damaged);
            // A longer AHS moves the digest out of the buffer.
            assert!(matches!(wrong, Err(FrameError::HeaderDigest) | Ok(Parsed::Need(_))), "{at}: {wrong:?}");
        }
        let mut damaged = bytes;
        damaged[BHS + 5] ^= 1;
        assert_eq!(framing.parse(&damaged), Err(FrameError::DataDigest));
    }

    #[test]
    fn a_length_beyond_the_agreed_one_is_refused_at_once() {
        let mut bhs = [0; BHS];
        bhs[5..8].copy_from_slice(&[0, 0x20, 1]);
        assert_eq!(Framing::login(8192).parse(&bhs), Err(FrameError::TooLong { len: 8193, max: 8192 }));
    }

    #[test]
    fn crc32c_is_that_of_rfc_7143() {
        // RFC 7143 appendix A.4: 32 bytes of zeroes.
        assert_eq!(crc32c::crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    }
}
