//! What a server wants to know of a client's message, each option read leniently: one that is malformed is as if absent.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::code;
use super::packet::{DecodeError, Packet};
use crate::net::MacAddr;

/// Option 53, RFC 2132 9.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// A client looks for servers.
    Discover = 1,
    /// A server proposes.
    Offer,
    /// A client chooses, verifies or extends.
    Request,
    /// A client found the address in use.
    Decline,
    /// A server agrees.
    Ack,
    /// A server refuses.
    Nak,
    /// A client gives its address back.
    Release,
    /// A client with an address asks for the rest.
    Inform,
}

impl MessageType {
    fn from_byte(byte: u8) -> Option<Self> {
        use MessageType::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};
        [Discover, Offer, Request, Decline, Ack, Nak, Release, Inform].into_iter().find(|t| *t as u8 == byte)
    }
}

/// Option 82's sub-options that change an answer (RFC 3046).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayInfo {
    /// Sub-option 5, RFC 3527: the link on which the client is.
    pub link: Option<Ipv4Addr>,
    /// Sub-option 11, RFC 5107: the server identifier to show to the client.
    pub server_id: Option<Ipv4Addr>,
    /// Sub-option 19, RFC 8357: answer to the port from which the relay sent.
    pub source_port: bool,
}

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// All of it.
    pub packet: Packet,
    /// The client's hardware address.
    pub mac: MacAddr,
    /// Option 53; `None` is BOOTP.
    pub message: Option<MessageType>,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server_id: Option<Ipv4Addr>,
    /// Option 51, seconds.
    pub lease_seconds: Option<u32>,
    /// Option 57, bytes of an IP datagram.
    pub max_size: Option<u16>,
    /// Option 82.
    pub relay: RelayInfo,
    /// Option 93, in the client's order.
    pub arch_codes: Vec<u16>,
    /// Option 97, unless it is one that many boards share.
    pub uuid: Option<Uuid>,
}

/// UUIDs that mainboards carry by the thousand; they identify nothing.
const BOGUS: [Uuid; 3] = [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x0300_0200_0400_0500_0006_0007_0008_0009)];

impl Request {
    /// Reads a client's message.
    ///
    /// # Errors
    /// [`DecodeError`] for what is malformed, for a reply, and for a sender that is no Ethernet station.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let packet = Packet::decode(bytes)?;
        if packet.op != 1 {
            return Err(DecodeError::Op(packet.op));
        }
        let [a, b, c, d, e, f, ..] = packet.chaddr;
        let mac = MacAddr([a, b, c, d, e, f]);
        if packet.hlen != 6 || mac.is_group() || mac == MacAddr::default() {
            return Err(DecodeError::Hardware);
        }
        let message = match packet.option(code::MESSAGE_TYPE) {
            None => None,
            Some([byte]) => Some(MessageType::from_byte(*byte).ok_or(DecodeError::MessageType)?),
            Some(_) => return Err(DecodeError::MessageType),
        };
        let number = |c| packet.option(c).and_then(|v| <[u8; 4]>::try_from(v).ok()).map(u32::from_be_bytes);
        let short = |c| packet.option(c).and_then(|v| <[u8; 2]>::try_from(v).ok()).map(u16::from_be_bytes);
        let given = |address: &Ipv4Addr| !address.is_unspecified();
        let arch_codes = packet.option(code::ARCH).unwrap_or_default().chunks_exact(2);
        Ok(Self {
            mac,
            message,
            requested: packet.address(code::REQUESTED).filter(given),
            server_id: packet.address(code::SERVER_ID).filter(given),
            lease_seconds: number(code::LEASE_TIME),
            max_size: short(code::MAX_SIZE),
            relay: relay(packet.option(code::RELAY).unwrap_or_default()),
            arch_codes: arch_codes.filter_map(|c| c.try_into().ok()).map(u16::from_be_bytes).collect(),
            uuid: packet.option(code::UUID).and_then(smbios_uuid),
            packet,
        })
    }

    /// Option 55.
    #[must_use]
    pub fn wanted(&self) -> &[u8] {
        self.packet.option(code::PARAMETERS).unwrap_or_default()
    }

    /// Whether the client asks for an option; one that lists nothing takes what it gets.
    #[must_use]
    pub fn wants(&self, option: u8) -> bool {
        self.packet.option(code::PARAMETERS).is_none_or(|list| list.contains(&option))
    }

    /// Option 60.
    #[must_use]
    pub fn class(&self) -> &[u8] {
        self.packet.option(code::CLASS).unwrap_or_default()
    }

    /// Whether option 77 names this class: RFC 3004's length-prefixed list, or the raw bytes that iPXE sends.
    #[must_use]
    pub fn has_user_class(&self, name: &[u8]) -> bool {
        let Some(value) = self.packet.option(code::USER_CLASS) else { return false };
        if value.starts_with(name) {
            return true;
        }
        let mut rest = value;
        while let [len, tail @ ..] = rest {
            let Some((class, tail)) = tail.split_at_checked(usize::from(*len)) else { return false };
            if class.starts_with(name) {
                return true;
            }
            rest = tail;
        }
        false
    }

    /// The sub-option numbers of option 175; `None` without it.
    #[must_use]
    pub fn ipxe_options(&self) -> Option<Vec<u8>> {
        self.packet.option(code::IPXE).map(|value| sub_options(value).map(|(c, _)| c).collect())
    }

    /// A sub-option of option 43.
    #[must_use]
    pub fn vendor_option(&self, number: u8) -> Option<&[u8]> {
        sub_options(self.packet.option(code::VENDOR)?).find(|(c, _)| *c == number).map(|(_, v)| v)
    }

    /// Option 12, made printable.
    #[must_use]
    pub fn host_name(&self) -> Option<String> {
        self.packet.option(code::HOST_NAME).and_then(printable)
    }
}

/// RFC 4578 2.3: type 0 and a UUID whose first three fields are little-endian, as SMBIOS keeps it; so it prints as iPXE's
/// `${uuid}` and the operating system's tools print it.
fn smbios_uuid(value: &[u8]) -> Option<Uuid> {
    let [0, rest @ ..] = value else { return None };
    let uuid = Uuid::from_bytes_le(rest.try_into().ok()?);
    (!BOGUS.contains(&uuid)).then_some(uuid)
}

fn relay(value: &[u8]) -> RelayInfo {
    let mut info = RelayInfo::default();
    let address = |v: &[u8]| <[u8; 4]>::try_from(v).ok().map(Ipv4Addr::from).filter(|a| !a.is_unspecified());
    for (number, value) in sub_options(value) {
        match number {
            5 => info.link = address(value),
            11 => info.server_id = address(value),
            19 => info.source_port = true,
            _ => {}
        }
    }
    info
}

/// Encapsulated options: no padding; ends at 255, at the end, or where a length lies.
fn sub_options(value: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while let [code::PAD, tail @ ..] = rest {
            rest = tail;
        }
        let [number, len, tail @ ..] = rest else { return None };
        if *number == code::END {
            return None;
        }
        let (value, tail) = tail.split_at_checked(usize::from(*len))?;
        rest = tail;
        Some((*number, value))
    })
}

/// A client's text made harmless: at most 64 characters, control characters replaced; `None` if nothing is left.
#[must_use]
pub fn printable(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text
        .trim_end_matches('\0')
        .chars()
        .take(64)
        .map(|c| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c })
        .collect();
    (!text.trim().is_empty()).then_some(text)
}

/// Characters that reorder or hide other text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
