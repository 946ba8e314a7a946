//! DHCP as a client writes and reads it (RFC 951, 2131, 2132), without the code of the server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

/// A UDP datagram on its way.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    /// The frame's address, where it is not found by ARP.
    pub mac: Option<[u8; 6]>,
    pub bytes: Rc<[u8]>,
}

/// What is read of a message, or written to one.
#[derive(Debug, Clone)]
pub struct Dhcp {
    pub op: u8,
    pub xid: u32,
    pub secs: u16,
    pub broadcast: bool,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub mac: [u8; 6],
    pub file: Vec<u8>,
    pub options: BTreeMap<u8, Vec<u8>>,
}

pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;

impl Dhcp {
    pub fn new(op: u8, kind: u8, xid: u32, mac: [u8; 6]) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self {
            op,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: none,
            yiaddr: none,
            siaddr: none,
            mac,
            file: Vec::new(),
            options: [(53, vec![kind])].into(),
        }
    }

    pub fn kind(&self) -> u8 {
        self.options.get(&53).map_or(0, |value| value[0])
    }

    pub fn address(&self, option: u8) -> Option<Ipv4Addr> {
        let four: [u8; 4] = self.options.get(&option)?.as_slice().try_into().ok()?;
        Some(four.into())
    }

    /// The hardware address alone: what a network card's filter looks at before anything else.
    pub fn mac_of(bytes: &[u8]) -> Option<[u8; 6]> {
        bytes.get(28..34)?.try_into().ok()
    }

    /// Strict: what a client could misread is a mistake of the server.
    pub fn read(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 300, "{} bytes: too short for old clients (RFC 1542, section 2.1)", bytes.len());
        assert_eq!((&bytes[1..3], &bytes[236..240]), (&[1, 6][..], &[99, 130, 83, 99][..]), "type, length and cookie");
        let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap());
        let mut options = BTreeMap::new();
        let mut rest = &bytes[240..];
        while rest[0] != 255 {
            if rest[0] == 0 {
                rest = &rest[1..];
                continue;
            }
            let (code, value) = (rest[0], &rest[2..2 + usize::from(rest[1])]);
            assert_ne!(code, 52, "nothing here is so long that it must overload the fields");
            assert!(options.insert(code, value.to_vec()).is_none(), "option {code} comes twice");
            rest = &rest[2 + value.len()..];
        }
        let end = bytes[108..236].iter().position(|b| *b == 0).expect("the file's name ends inside its field");
        Self {
            op: bytes[0],
            xid: u32::from_be_bytes(bytes[4..8].try_into().unwrap()),
            secs: u16::from_be_bytes(bytes[8..10].try_into().unwrap()),
            broadcast: bytes[10] & 0x80 != 0,
            ciaddr: address(12),
            yiaddr: address(16),
            siaddr: address(20),
            mac: Self::mac_of(bytes).unwrap(),
            file: bytes[108..108 + end].to_vec(),
            options,
        }
    }

    pub fn write(&self) -> Rc<[u8]> {
        let mut bytes = vec![0; 240];
        bytes[..3].copy_from_slice(&[self.op, 1, 6]);
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        bytes[10] = if self.broadcast { 0x80 } else { 0 };
        for (at, address) in [(12, self.ciaddr), (16, self.yiaddr), (20, self.siaddr)] {
            bytes[at..at + 4].copy_from_slice(&address.octets());
        }
        bytes[28..34].copy_from_slice(&self.mac);
        bytes[108..108 + self.file.len()].copy_from_slice(&self.file);
        bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
        for (code, value) in &self.options {
            bytes.extend([*code, u8::try_from(value.len()).unwrap()]);
            bytes.extend(value);
        }
        bytes.push(255);
        bytes.resize(bytes.len().max(300), 0);
        bytes.into()
    }
}
