//! A whole BOOTP/DHCP message and the walk over its options.

use std::net::Ipv4Addr;

use super::code;

/// Fixed header, magic cookie included, in bytes.
pub(super) const HEADER: usize = 240;
pub(super) const SNAME: std::ops::Range<usize> = 44..108;
pub(super) const FILE: std::ops::Range<usize> = 108..236;
pub(super) const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Why bytes are not a DHCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than the fixed header.
    #[error("{0} bytes are too short for a DHCP message; expected at least 240")]
    Short(usize),
    /// Neither request nor reply.
    #[error("operation {0} is neither 1 (request) nor 2 (reply)")]
    Op(u8),
    /// More bytes of hardware address than the field has.
    #[error("a hardware address of {0} bytes does not fit its field of 16")]
    HardwareLength(u8),
    /// Not RFC 2131's options.
    #[error("the magic cookie is missing; expected 99.130.83.99")]
    Cookie,
    /// An option's length points behind its field.
    #[error("option {0} claims more bytes than there are")]
    Overrun(u8),
    /// Option 53 is not one of RFC 2131's.
    #[error("unknown DHCP message type")]
    MessageType,
    /// Not an Ethernet station.
    #[error("the hardware address is not that of an Ethernet station")]
    Hardware,
}

/// A BOOTP/DHCP message. Options are joined by RFC 3396 and each code is there once, in order of first appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// 1 request, 2 reply.
    pub op: u8,
    /// Hardware type; 1 is Ethernet.
    pub htype: u8,
    /// Bytes of `chaddr` in use, at most 16.
    pub hlen: u8,
    /// Relays passed.
    pub hops: u8,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began; iPXE puts telemetry here.
    pub secs: u16,
    /// Bit 15: answer by broadcast.
    pub flags: u16,
    /// The client's address, if it has one.
    pub ciaddr: Ipv4Addr,
    /// The address given.
    pub yiaddr: Ipv4Addr,
    /// Next server.
    pub siaddr: Ipv4Addr,
    /// Relay.
    pub giaddr: Ipv4Addr,
    /// Hardware address, padded.
    pub chaddr: [u8; 16],
    /// Server name up to its first NUL, at most 64 bytes; empty if it held options.
    pub sname: Vec<u8>,
    /// Boot file up to its first NUL, at most 128 bytes; empty if it held options.
    pub file: Vec<u8>,
    /// Code and value.
    pub options: Vec<(u8, Vec<u8>)>,
    /// RFC 951 without RFC 1497's cookie: nothing follows the header.
    pub plain: bool,
}

/// Bit 15 of `flags`.
pub(crate) const BROADCAST_FLAG: u16 = 0x8000;

impl Default for Packet {
    /// An empty Ethernet request.
    fn default() -> Self {
        Self {
            op: 1,
            htype: 1,
            hlen: 6,
            hops: 0,
            xid: 0,
            secs: 0,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: [0; 16],
            sname: Vec::new(),
            file: Vec::new(),
            options: Vec::new(),
            plain: false,
        }
    }
}

/// Big-endian reads over bytes whose length was checked; what is not there reads as zero.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..at + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
    }

    fn byte(&self, at: usize) -> u8 {
        u8::from_be_bytes(self.array(at))
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::from(self.array::<4>(at))
    }
}

impl Packet {
    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not a well-formed message; a missing END is tolerated.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() < HEADER {
            return Err(DecodeError::Short(bytes.len()));
        }
        let f = Fields(bytes);
        let (op, hlen) = (f.byte(0), f.byte(2));
        if !(1..=2).contains(&op) {
            return Err(DecodeError::Op(op));
        }
        if hlen > 16 {
            return Err(DecodeError::HardwareLength(hlen));
        }
        // RFC 951: before there were options, this field was a vendor's own, or nothing.
        let plain = op == 1 && f.array(236) == [0; 4];
        if !plain && f.array(236) != COOKIE {
            return Err(DecodeError::Cookie);
        }
        let mut walk = Walk::default();
        let region = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default();
        walk.over(if plain { &[] } else { region(HEADER..bytes.len()) })?;
        let overload = walk.take_overload();
        // RFC 3396 section 5: options, then file, then sname are one buffer.
        if overload & 1 != 0 {
            walk.over(region(FILE))?;
        }
        if overload & 2 != 0 {
            walk.over(region(SNAME))?;
        }
        walk.take_overload(); // one inside file or sname has no meaning
        let text = |range, used: bool| if used { Vec::new() } else { until_nul(region(range)) };
        Ok(Self {
            op,
            htype: f.byte(1),
            hlen,
            hops: f.byte(3),
            xid: u32::from_be_bytes(f.array(4)),
            secs: u16::from_be_bytes(f.array(8)),
            flags: u16::from_be_bytes(f.array(10)),
            ciaddr: f.address(12),
            yiaddr: f.address(16),
            siaddr: f.address(20),
            giaddr: f.address(24),
            chaddr: f.array(28),
            sname: text(SNAME, overload & 2 != 0),
            file: text(FILE, overload & 1 != 0),
            options: walk.options,
            plain,
        })
    }

    /// The value of an option.
    #[must_use]
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(c, _)| *c == code).map(|(_, v)| v.as_slice())
    }

    /// Sets an option, in the place of an earlier value.
    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.options.iter_mut().find(|(c, _)| *c == code) {
            Some(found) => found.1 = value,
            None => self.options.push((code, value)),
        }
    }

    /// An option that is one address.
    #[must_use]
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.option(code).and_then(|v| <[u8; 4]>::try_from(v).ok()).map(Ipv4Addr::from)
    }

    /// Whether the client wants its answer by broadcast.
    #[must_use]
    pub fn wants_broadcast(&self) -> bool {
        self.flags & BROADCAST_FLAG != 0
    }

    /// Options by number, for comparing.
    pub(super) fn sort(&mut self) {
        self.options.sort();
    }
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field.split(|b| *b == 0).next().unwrap_or_default().to_vec()
}

#[derive(Default)]
struct Walk {
    options: Vec<(u8, Vec<u8>)>,
}

impl Walk {
    fn over(&mut self, mut rest: &[u8]) -> Result<(), DecodeError> {
        loop {
            match rest {
                [] | [code::END, ..] => return Ok(()),
                [code::PAD, tail @ ..] => rest = tail,
                [code] => return Err(DecodeError::Overrun(*code)),
                [code, len, tail @ ..] => {
                    let Some((value, tail)) = tail.split_at_checked(usize::from(*len)) else {
                        return Err(DecodeError::Overrun(*code));
                    };
                    match self.options.iter_mut().find(|(c, _)| c == code) {
                        Some((_, joined)) => joined.extend_from_slice(value),
                        None => self.options.push((*code, value.to_vec())),
                    }
                    rest = tail;
                }
            }
        }
    }

    fn take_overload(&mut self) -> u8 {
        let Some(at) = self.options.iter().position(|(c, _)| *c == code::OVERLOAD) else { return 0 };
        match self.options.remove(at).1.as_slice() {
            [bits] => bits & 3,
            _ => 0,
        }
    }
}
