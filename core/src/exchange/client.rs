//! The clients that boot, as far as conditions can tell them apart, and sets of them.
//!
//! Every format has its own way to tell a PXE ROM from iPXE and one architecture from another. Instead of a list of known phrases, each
//! condition is evaluated for each of these clients, with the options that they send (RFC 4578, iPXE's and gPXE's own). What
//! depends on anything else is unknown.

use crate::api::ClientKind;

/// A client that may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// Which program.
    pub(super) kind: ClientKind,
    /// Option 93.
    pub(super) arch: Option<u16>,
}

const fn client(kind: ClientKind, arch: u16) -> Client {
    Client { kind, arch: Some(arch) }
}

/// All of them.
pub(super) const CLIENTS: [Client; 19] = [
    client(ClientKind::PxeRom, 0),
    client(ClientKind::PxeRom, 6),
    client(ClientKind::PxeRom, 7),
    client(ClientKind::PxeRom, 9),
    client(ClientKind::PxeRom, 10),
    client(ClientKind::PxeRom, 11),
    client(ClientKind::HttpBoot, 15),
    client(ClientKind::HttpBoot, 16),
    client(ClientKind::HttpBoot, 18),
    client(ClientKind::HttpBoot, 19),
    client(ClientKind::HttpBoot, 20),
    client(ClientKind::Ipxe, 0),
    client(ClientKind::Ipxe, 6),
    client(ClientKind::Ipxe, 7),
    client(ClientKind::Ipxe, 9),
    client(ClientKind::Ipxe, 10),
    client(ClientKind::Ipxe, 11),
    client(ClientKind::Gpxe, 0),
    Client { kind: ClientKind::Os, arch: None },
];

/// What a client sends as an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// Not at all.
    Absent,
    /// These bytes.
    Bytes(Vec<u8>),
    /// It sends it, with bytes that differ.
    Present,
    /// It may or may not.
    Unknown,
}

impl Client {
    /// Whether it runs scripts.
    #[must_use]
    pub(super) fn scripts(self) -> bool {
        matches!(self.kind, ClientKind::Ipxe | ClientKind::Gpxe)
    }

    /// Whether it is a machine's own firmware.
    #[must_use]
    pub(super) fn is_firmware(self) -> bool {
        matches!(self.kind, ClientKind::PxeRom | ClientKind::HttpBoot)
    }

    /// An option of its requests.
    #[must_use]
    pub(super) fn option(self, code: u16) -> Field {
        let Some(arch) = self.arch else {
            return match code {
                93 | 94 | 175 | 77 | 60 => Field::Absent,
                _ => Field::Unknown,
            };
        };
        match code {
            60 if self.kind == ClientKind::HttpBoot => {
                Field::Bytes(format!("HTTPClient:Arch:{arch:05}:UNDI:003001").into_bytes())
            }
            60 => Field::Bytes(format!("PXEClient:Arch:{arch:05}:UNDI:003001").into_bytes()),
            93 => Field::Bytes(arch.to_be_bytes().to_vec()),
            94 | 97 => Field::Present,
            77 => match self.kind {
                ClientKind::Ipxe => Field::Bytes(b"iPXE".to_vec()),
                ClientKind::Gpxe => Field::Bytes(b"gPXE".to_vec()),
                _ => Field::Absent,
            },
            175 => {
                if self.scripts() {
                    Field::Present
                } else {
                    Field::Absent
                }
            }
            _ => Field::Unknown,
        }
    }

    /// A part of option 175: `gpxe.bus-id`, `ipxe.http` and the like.
    #[must_use]
    pub(super) fn encapsulated(self, outer: u16, code: u16) -> Field {
        match (outer, self.kind, code) {
            // bus-id, version, iscsi, http, tftp, dns: every build has these.
            (175, ClientKind::Ipxe | ClientKind::Gpxe, 177 | 235 | 17 | 19 | 21 | 22) => Field::Present,
            (175, ClientKind::Ipxe | ClientKind::Gpxe, _) => Field::Unknown,
            (175, _, _) => Field::Absent,
            _ => Field::Unknown,
        }
    }
}

/// A set of [`CLIENTS`], and those of which it is not known whether they belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct When {
    yes: u32,
    unknown: u32,
}

impl When {
    /// Everybody.
    pub(super) const ALWAYS: Self = Self { yes: (1 << CLIENTS.len()) - 1, unknown: 0 };

    /// From a condition: what it says of each client, `None` for what cannot be known.
    #[must_use]
    pub(super) fn of(mut says: impl FnMut(Client) -> Option<bool>) -> Self {
        let mut when = Self::default();
        for (n, client) in CLIENTS.iter().enumerate() {
            match says(*client) {
                Some(true) => when.yes |= 1 << n,
                Some(false) => {}
                None => when.unknown |= 1 << n,
            }
        }
        when
    }

    /// Both.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        let never = |w: Self| !(w.yes | w.unknown);
        let no = never(self) | never(other);
        let yes = self.yes & other.yes;
        Self { yes, unknown: Self::ALWAYS.yes & !no & !yes }
    }

    /// The others.
    #[must_use]
    pub(super) fn not(self) -> Self {
        Self { yes: Self::ALWAYS.yes & !(self.yes | self.unknown), unknown: self.unknown }
    }

    /// Either.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// Whether it can be told for every client.
    #[must_use]
    pub(super) fn is_known(self) -> bool {
        self.unknown == 0
    }

    /// Whether everybody belongs to it.
    #[must_use]
    pub(super) fn is_always(self) -> bool {
        self == Self::ALWAYS
    }

    /// Whether nobody does.
    #[must_use]
    pub(super) fn is_never(self) -> bool {
        self.yes | self.unknown == 0
    }

    /// Whether this client belongs to it.
    #[must_use]
    pub(super) fn has(self, client: Client) -> bool {
        CLIENTS.iter().position(|c| *c == client).is_some_and(|n| self.yes & (1 << n) != 0)
    }

    /// Its clients.
    #[cfg(test)]
    pub(super) fn iter(self) -> impl Iterator<Item = Client> {
        CLIENTS.into_iter().filter(move |c| self.has(*c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_stays_so_unless_the_other_side_decides() {
        let rom = When::of(|c| Some(c.kind == ClientKind::PxeRom));
        let riddle = When::of(|_| None);
        assert!(!rom.and(riddle).is_known());
        assert!(rom.and(riddle).iter().next().is_none());
        assert!(!rom.and(riddle).has(CLIENTS[0]) && !rom.and(riddle).not().has(CLIENTS[0]));
        assert!(rom.and(riddle).not().has(CLIENTS[11]), "iPXE is no ROM, whatever the riddle");
        assert!(rom.or(rom.not()).is_always());
    }
}
