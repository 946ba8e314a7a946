//! A boot ROM's TFTP client (RFC 1350, 2347 to 2349, 7440): it puts a file together and checks every step.

use std::net::{Ipv4Addr, SocketAddrV4};

/// EDK2's timeout, in microseconds, and its tries.
pub const TIMEOUT: u64 = 4_000_000;
pub const TRIES: u32 = 6;

/// How a client asks, and answers a block that is not the next one.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub block: usize,
    /// Blocks between two acknowledgements; 1 is not asked for.
    pub window: u64,
    /// Says each time what it has, as EDK2 does; else once for each gap, as RFC 7440 has it.
    pub always: bool,
}

/// What a packet led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Idle,
    /// This is to be sent, and it goes on.
    Answer(Vec<u8>),
    /// This is to be sent, and it is over.
    Done(Vec<u8>),
}

/// One transfer, or the probe for a file's size before it.
#[derive(Debug)]
pub struct Load {
    pub port: u16,
    pub server: SocketAddrV4,
    pub size: Option<usize>,
    pub got: Vec<u8>,
    name: Vec<u8>,
    manner: Manner,
    probe: bool,
    agreed: bool,
    blocks: u64,
    acked: u64,
    told: bool,
}

fn ack(block: u64) -> Vec<u8> {
    let [.., high, low] = block.to_be_bytes();
    vec![0, 4, high, low]
}

impl Load {
    pub fn new(server: Ipv4Addr, port: u16, name: &[u8], manner: Manner, probe: bool) -> Self {
        Self {
            port,
            server: SocketAddrV4::new(server, 69),
            size: None,
            got: Vec::new(),
            name: name.to_vec(),
            manner,
            probe,
            agreed: false,
            blocks: 0,
            acked: 0,
            told: false,
        }
    }

    pub fn request(&self) -> Vec<u8> {
        let mut bytes = [&[0, 1][..], &self.name, b"\0octet\0tsize\x000\0"].concat();
        bytes.extend(format!("blksize\0{}\0", self.manner.block).bytes());
        if self.manner.window > 1 && !self.probe {
            bytes.extend(format!("windowsize\0{}\0", self.manner.window).bytes());
        }
        bytes
    }

    /// What is said again after a silence.
    pub fn again(&mut self) -> Vec<u8> {
        self.acked = self.blocks;
        if self.agreed { ack(self.blocks) } else { self.request() }
    }

    pub fn take(&mut self, from: SocketAddrV4, bytes: &[u8]) -> Step {
        if from.ip() != self.server.ip() || (self.agreed && from.port() != self.server.port()) {
            return Step::Idle;
        }
        match bytes {
            [0, 6, options @ ..] => self.agree(from, options),
            [0, 3, high, low, data @ ..] => self.data(u16::from_be_bytes([*high, *low]), data),
            _ => panic!("{bytes:?} from {from} breaks off a transfer that goes on"),
        }
    }

    fn agree(&mut self, from: SocketAddrV4, options: &[u8]) -> Step {
        if self.agreed {
            return if self.blocks == 0 { Step::Answer(ack(0)) } else { Step::Idle };
        }
        let text = String::from_utf8(options.to_vec()).unwrap();
        let words: Vec<&str> = text.split_terminator('\0').collect();
        for pair in words.chunks(2) {
            let value: usize = pair[1].parse().unwrap();
            match pair[0] {
                "tsize" => self.size = Some(value),
                "blksize" => assert_eq!(value, self.manner.block),
                "windowsize" if !self.probe => assert_eq!(value as u64, self.manner.window),
                other => panic!("{other} was not asked for (RFC 2347)"),
            }
        }
        assert!(self.size.is_some() && words.len() >= 4, "{words:?}");
        self.server = from;
        self.agreed = true;
        if self.probe { Step::Done(b"\0\x05\0\x08User aborted the transfer\0".to_vec()) } else { Step::Answer(ack(0)) }
    }

    fn data(&mut self, number: u16, data: &[u8]) -> Step {
        if self.probe {
            return Step::Idle;
        }
        assert!(self.agreed, "DATA before the OACK's acknowledgement");
        let ahead = number.wrapping_sub((self.blocks & 0xffff) as u16);
        if ahead != 1 {
            let gap = (2..0x8000).contains(&ahead);
            let tell = self.manner.always || ahead == 0 || (gap && !self.told);
            self.told |= gap;
            return if tell { Step::Answer(self.again()) } else { Step::Idle };
        }
        assert!(data.len() <= self.manner.block);
        self.got.extend_from_slice(data);
        self.blocks += 1;
        self.told = false;
        if data.len() < self.manner.block {
            return Step::Done(ack(self.blocks));
        }
        if self.blocks - self.acked == self.manner.window { Step::Answer(self.again()) } else { Step::Idle }
    }
}
