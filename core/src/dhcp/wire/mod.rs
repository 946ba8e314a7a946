//! DHCP bytes to types and back (RFC 2131, 2132, 3396).
//!
//! The walk over a packet and the writing of a reply are ours, because order, overload and duplicates matter to old firmware and
//! because whatever arrives is hostile. [`Packet`] is the whole message; [`Request`] is what a server wants to know of one.

pub mod code;
mod encode;
mod packet;
mod request;

pub(crate) use packet::BROADCAST_FLAG;
pub use packet::{DecodeError, Packet};
pub use request::{MessageType, RelayInfo, Request, printable};

/// For fuzzing: nothing in `data` may make the codec panic, and what was decoded must survive encoding.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let _ = Request::parse(data);
    let Ok(packet) = Packet::decode(data) else { return };
    let mut same = Packet::decode(&packet.encode(&[], usize::MAX)).unwrap_or_else(|_| packet.clone());
    same.sort();
    let mut before = packet;
    before.sort();
    assert_eq!(before, same, "a packet changed on its way through encode and decode");
}

#[cfg(test)]
mod tests;
