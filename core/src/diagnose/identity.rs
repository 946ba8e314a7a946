//! Who the machine is: D30 to D32.

use std::net::Ipv4Addr;

use super::around::Around;
use super::book::Book;
use super::findings::Rules;
use crate::api::{Certainty, ClientKind, Event, EventKind, Severity};
use crate::boot::Arch;
use crate::lang::finding;

/// Address blocks of the Raspberry Pi's makers (IEEE's register).
const PI: [[u8; 3]; 6] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
    [0x28, 0xcd, 0xc1],
];

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    /// The address that another server gave it in this boot.
    given: Option<(Ipv4Addr, Ipv4Addr, u64)>,
}

impl Rules for Identity {
    fn apply(&mut self, event: &Event, _around: &Around, book: &mut Book) {
        if matches!(event.kind, EventKind::DhcpDiscover { client: ClientKind::PxeRom | ClientKind::HttpBoot, .. }) {
            // What tells of another UUID follows at once.
            book.cure(&["other-uuid"]);
        }
        match &event.kind {
            EventKind::DhcpDiscover { client: ClientKind::PxeRom, arch: Some(Arch::Bios), .. } => {
                let pi = event.mac.is_some_and(|mac| PI.iter().any(|oui| mac.0.starts_with(oui)));
                if pi {
                    let mac = event.mac.map(|mac| mac.to_string()).unwrap_or_default();
                    let said = finding("pi-says-bios", Severity::Warning, &[("mac", &mac)]);
                    book.raise(event.time, said.proven_by(&[event.seq]));
                }
            }
            EventKind::DhcpDiscover { client: ClientKind::Ipxe, .. } => book.cure(&["pi-says-bios"]),
            EventKind::OtherUuid { known, seen } => {
                let said = finding("other-uuid", Severity::Warning, &[("known", known), ("new", seen)]);
                book.raise(event.time, said.sure(Certainty::Likely).proven_by(&[event.seq]));
            }
            EventKind::ForeignOffer { server, ack: true, address: Some(address), .. } => {
                let before = self.given.filter(|(by, was, _)| by == server && was != address);
                if let Some((_, was, seq)) = before {
                    let params: [(&str, &dyn std::fmt::Display); 3] =
                        [("server", server), ("one", &was), ("two", address)];
                    let said = finding("two-leases", Severity::Warning, &params).sure(Certainty::Likely);
                    book.raise(event.time, said.proven_by(&[seq, event.seq]));
                }
                self.given = Some((*server, *address, event.seq));
            }
            _ => {}
        }
    }

    fn new_boot(&mut self) {
        self.given = None;
    }
}
