//! Where the headers of iSCSI begin in a connection, and how much behind them may be kept.
//!
//! A login's text is kept without its CHAP values, and so is that of a discovery; nothing else is but headers. What a PDU is made of
//! depends on what was agreed at the login: with digests (RFC 7143, sections 11.2.1.1 and 13.1) four bytes follow a header, and four
//! the data. Whoever did not know of them would take data for headers, and a disk's bytes for a login's text.

use crate::iscsi::wire::{BHS, be24};

/// Bytes of a digest: CRC32C.
const DIGEST: usize = 4;

/// What both directions of a connection have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Session {
    /// The login is over.
    full: bool,
    /// It is there to ask for the names of targets: no disk's data comes in it.
    discovery: bool,
    header_digest: bool,
    data_digest: bool,
    /// Part of the login was not seen.
    unknown: bool,
}

/// A header with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pdu {
    /// Bytes of it all, digests and padding included.
    pub(super) len: usize,
    /// Its data is text that may be kept.
    pub(super) text: bool,
}

impl Session {
    /// The PDU that this header begins. `None`: no header of this place looks so, or what was agreed is not known.
    pub(super) fn pdu(&self, bhs: &[u8]) -> Option<Pdu> {
        let opcode = bhs.first()? & 0x3f;
        let additional = usize::from(*bhs.get(4)?) * 4;
        let data = (be24(bhs, 5) as usize).next_multiple_of(4);
        let plain = BHS + additional + data;
        if !self.full {
            // Nothing but a login comes before its end, and none has digests.
            return matches!(opcode, 0x03 | 0x23).then_some(Pdu { len: plain, text: true });
        }
        let known = matches!(opcode, 0x00..=0x02 | 0x04..=0x06 | 0x20..=0x22 | 0x24..=0x26 | 0x31 | 0x32 | 0x3f);
        if !known || self.unknown {
            return None;
        }
        let digests =
            if self.header_digest { DIGEST } else { 0 } + if self.data_digest && data > 0 { DIGEST } else { 0 };
        Some(Pdu { len: plain + digests, text: self.discovery && matches!(opcode, 0x04 | 0x24) })
    }

    /// Takes in a PDU of the login, of which `text` was seen; `whole`: all of it.
    pub(super) fn login(&mut self, bhs: &[u8], text: &[u8], whole: bool) {
        if self.full {
            return;
        }
        // Whoever speaks last about a key chooses: one value is a choice or an offer of just that, several are an offer.
        for item in text.split(|b| *b == 0) {
            let item = String::from_utf8_lossy(item);
            match item.split_once('=') {
                Some(("HeaderDigest", value)) if !value.contains(',') => self.header_digest = value == "CRC32C",
                Some(("DataDigest", value)) if !value.contains(',') => self.data_digest = value == "CRC32C",
                Some(("SessionType", value)) => self.discovery = value == "Discovery",
                _ => {}
            }
        }
        self.unknown |= !whole;
        let (opcode, flags) = (bhs.first().copied().unwrap_or(0) & 0x3f, bhs.get(1).copied().unwrap_or(0));
        let accepted = bhs.get(36) == Some(&0);
        // Section 11.13.3: the target's transit to the full feature phase.
        self.full = opcode == 0x23 && accepted && flags & 0x83 == 0x83;
    }

    /// Data without a login before it was seen: the login was missed.
    pub(super) fn missed_login(&mut self) {
        if !self.full {
            (self.full, self.unknown) = (true, true);
        }
    }
}

/// RFC 7143, section 11: a header of a command, of data or of their answers, with nothing set that is reserved.
pub(super) fn is_plausible(bhs: &[u8]) -> bool {
    let opcode = bhs.first().copied().unwrap_or(0xff);
    let known = matches!(opcode & 0xbf, 0x00 | 0x01 | 0x05 | 0x20 | 0x21 | 0x25 | 0x31);
    let reserved = match opcode & 0x3f {
        0x01 => bhs.get(2..4),
        0x05 | 0x31 => bhs.get(2..4),
        0x25 => bhs.get(2..3),
        _ => None,
    };
    known && bhs.get(4) == Some(&0) && be24(bhs, 5) <= 1 << 20 && reserved.is_none_or(|r| r.iter().all(|b| *b == 0))
}

/// Writes over the values of all keys that begin with `CHAP_` (RFC 7143, section 12.1.3).
pub(super) fn hide_chap(text: &mut [u8], mask: u8) {
    for item in text.split_mut(|b| *b == 0) {
        if item.to_ascii_uppercase().starts_with(b"CHAP_")
            && let Some(equals) = item.iter().position(|b| *b == b'=')
        {
            item.get_mut(equals + 1..).unwrap_or_default().fill(mask);
        }
    }
}
