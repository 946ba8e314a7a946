//! Files of packets: pcapng out, pcapng and pcap in.
//!
//! Both forms are read here rather than by a library: what comes in may be anything, and must end in an error or in packets within
//! bounds, whatever it says of its lengths. Sources: draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap.

mod pcap;
mod pcapng;
mod read;

use std::io::Read as _;
use std::path::Path;

pub use pcapng::write;
pub use read::read;

use super::Packet;

/// The largest file that is opened, in bytes.
pub const MAX_FILE: u64 = 512 << 20;
/// Packets that are read of a file.
const MAX_PACKETS: usize = 2_000_000;
/// Bytes of one packet.
const MAX_PACKET: usize = 256 << 10;
/// Bytes of a comment, and comments of a packet or section.
const MAX_COMMENT: usize = 4096;
const MAX_COMMENTS: usize = 32;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// As Ethernet frames, in the file's order.
    pub packets: Vec<Packet>,
    /// What is said of the whole.
    pub comments: Vec<String>,
    /// It ends in the middle, or has more than is read: in words.
    pub cut: Option<String>,
    /// Packets of link types that are not understood.
    pub skipped: u64,
}

/// Why a file is not one of packets.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Neither form.
    #[error("this is no recording of packets; expected pcap or pcapng, as tcpdump and Wireshark write them")]
    Unknown,
    /// The form is right, what is in it is not.
    #[error("the recording is damaged: {0}")]
    Damaged(&'static str),
    /// Too large.
    #[error("the recording is larger than {} MiB; cut it, for example with `editcap -c 1000000`", MAX_FILE >> 20)]
    TooLarge,
}

/// Reads a file of either form.
///
/// # Errors
/// [`FileError`].
pub fn open(path: &Path) -> Result<Recording, FileError> {
    let io = |source| FileError::Io { path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut data = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut data).map_err(io)?;
    if data.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge);
    }
    read(&data)
}

#[cfg(test)]
#[path = "../file_tests.rs"]
mod tests;
