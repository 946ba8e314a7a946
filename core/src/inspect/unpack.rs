//! Streams that may be compressed: gzip, xz, zstd and lz4, told by their first bytes. Each decoder's memory is bounded.

use std::io::{self, BufRead, Read};

use super::volume::damaged;

/// Most memory that a dictionary may ask for.
const LARGEST_DICTIONARY: u64 = 128 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    /// As kernels take it, without a frame.
    Bzip2,
    Lzma,
    Lzo,
}

impl Packing {
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 9] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\x02\x21\x4c\x18", Self::Lz4),
            (b"\x04\x22\x4d\x18", Self::Lz4),
            (b"BZh", Self::Bzip2),
            (b"\x5d\0\0", Self::Lzma),
            (b"\x89LZO", Self::Lzo),
            (b"\x1f\x9e", Self::Gzip),
        ];
        magics.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| *packing)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
        }
    }

    /// A reader of what was packed.
    pub(super) fn reader<'a>(self, packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(LARGEST_DICTIONARY, 0).map_err(io::Error::from)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Self::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(packed);
                Box::new(decoder.map_err(|_| damaged("this is no sound zstd"))?)
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
            Self::Bzip2 | Self::Lzma | Self::Lzo => {
                let text = format!("{} is not read here", self.name());
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        })
    }
}
