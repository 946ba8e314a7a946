//! ARP probes (RFC 5227 2.1.1): whether somebody has an address that is about to be given. Nobody waits for the answer.

use std::net::Ipv4Addr;

use crate::net::MacAddr;

const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Ethernet and IPv4, with their lengths.
const KIND: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// The frame that asks, from our interface. It names no sender's address, so that nobody learns a wrong one from it.
pub(super) fn probe(ours: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let parts: [&[u8]; 9] = [
        &MacAddr::BROADCAST.0,
        &ours.0,
        &ETHERTYPE,
        &KIND,
        &REQUEST,
        &ours.0,
        &Ipv4Addr::UNSPECIFIED.octets(),
        &MacAddr::default().0,
        &address.octets(),
    ];
    parts.concat()
}

/// Who has which address, by the answer to a probe: it names nobody as its target (RFC 5227 2.1.1).
pub(super) fn answer(frame: &[u8]) -> Option<(MacAddr, Ipv4Addr)> {
    let arp = frame.get(12..)?.strip_prefix(&ETHERTYPE)?.strip_prefix(&KIND)?.strip_prefix(&REPLY)?;
    let (mac, rest) = arp.split_first_chunk()?;
    let (address, rest) = rest.split_first_chunk::<4>()?;
    let target = rest.get(6..10)?;
    (target == Ipv4Addr::UNSPECIFIED.octets()).then(|| (MacAddr(*mac), Ipv4Addr::from(*address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_names_nobody_and_its_answer_is_read() {
        let (ours, theirs) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 9]));
        let address = Ipv4Addr::new(10, 0, 0, 7);
        let mut frame = probe(ours, address);
        assert_eq!(frame.len(), 42);
        assert_eq!((&frame[28..32], &frame[38..42]), (&[0; 4][..], &address.octets()[..]));
        assert_eq!(answer(&frame), None, "a question is no answer");
        frame[21] = 2;
        frame[22..28].copy_from_slice(&theirs.0);
        frame[28..32].copy_from_slice(&address.octets());
        assert_eq!(answer(&frame), None, "an answer to somebody else's question");
        frame[38..42].fill(0);
        assert_eq!(answer(&frame), Some((theirs, address)));
        for len in 0..42 {
            assert_eq!(answer(&frame[..len]), None);
        }
    }
}
