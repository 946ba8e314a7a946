//! Option negotiation: what of a request is granted (RFC 2347 to 2349, 7440).

use std::time::Duration;

use super::wire::Request;

/// Largest window that is granted, in blocks.
const MAX_WINDOW: u64 = 64;
/// Largest window that is granted, in bytes: what a socket's send buffer takes at once.
const MAX_WINDOW_BYTES: u64 = 128 * 1024;
/// Block size without the option (RFC 1350).
const DEFAULT_BLOCK: u16 = 512;
/// The longest timeout that is granted. RFC 2349 lets a server take the client's value or leave it, not lower it; with a longer one
/// too few repetitions would fit before a silent client is given up.
const MAX_TIMEOUT: u64 = 20;

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// Bytes of a full block.
    pub(super) block: u16,
    /// Blocks between two acknowledgements.
    pub(super) window: u64,
    /// The client's own timeout.
    pub(super) timeout: Option<Duration>,
    /// Names and values of the OACK, in the request's order.
    pub(super) accepted: Vec<(String, String)>,
}

/// What to try where blocks of this size are not acknowledged: what fits into an Ethernet frame without fragments, then what every
/// way passes (RFC 1350's own). `None`: there is nothing smaller.
pub(super) fn smaller(block: u16) -> Option<u16> {
    match block {
        1469.. => Some(1468),
        513..=1468 => Some(DEFAULT_BLOCK),
        _ => None,
    }
}

/// What the client asked for, as far as it can be granted. An option that is malformed is left out of the OACK, as RFC 2347 wants
/// for what a server does not support; values are only ever lowered.
pub(super) fn negotiate(request: &Request, total: u64) -> Terms {
    let mut terms = Terms { block: DEFAULT_BLOCK, window: 1, timeout: None, accepted: Vec::new() };
    let mut window = None;
    for (name, value) in &request.options {
        let number = value.trim().parse::<u64>().ok();
        match (name.as_str(), number) {
            ("blksize", Some(size @ 8..)) => {
                terms.block = u16::try_from(size.min(65464)).unwrap_or(DEFAULT_BLOCK);
                terms.accepted.push((name.clone(), terms.block.to_string()));
            }
            ("tsize", Some(_)) => terms.accepted.push((name.clone(), total.to_string())),
            ("timeout", Some(seconds @ 1..=MAX_TIMEOUT)) => {
                terms.timeout = Some(Duration::from_secs(seconds));
                terms.accepted.push((name.clone(), seconds.to_string()));
            }
            ("windowsize", Some(blocks @ 1..=65535)) => {
                window = Some((terms.accepted.len(), blocks));
                terms.accepted.push((name.clone(), String::new()));
            }
            _ => {}
        }
    }
    if let Some((at, blocks)) = window {
        // The block size may stand behind the window in the request.
        terms.window = blocks.min(MAX_WINDOW).min((MAX_WINDOW_BYTES / u64::from(terms.block)).max(1));
        if let Some(entry) = terms.accepted.get_mut(at) {
            entry.1 = terms.window.to_string();
        }
    }
    terms
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
