//! An iSCSI login as a firmware's, and the first blocks of the disk.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use crate::iscsi::wire::request::{Login, Logout, Request, ScsiCommand};
use crate::iscsi::wire::response::Response;
use crate::iscsi::wire::{Frame, Framing, Parsed, Payload};

const PATIENCE: Duration = Duration::from_secs(5);
/// Largest data segment that we say we take: the default (RFC 7143 13.12).
const MAX_DATA: u32 = 8192;

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Failure {
    /// The login was refused: class in the high byte, detail in the low one.
    Refused(u16),
    /// A command ended with this SCSI status.
    Status(u8),
    Io(io::Error),
    /// Something that no target should say.
    Odd(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => {
                let meaning = crate::lang::sentence("iscsi-status", &format!("{status:04x}"));
                write!(f, "the login was refused with status {status:04x}: {}", meaning.trim_end_matches('.'))
            }
            Self::Status(status) => write!(f, "a command ended with SCSI status {status:#04x}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Odd(what) => write!(f, "the target answered {what}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    /// Bytes of the disk.
    pub(super) size: u64,
    /// Bytes that came of its beginning.
    pub(super) first: usize,
}

/// Logs in, reads the capacity and the first 4 KiB, and logs out.
pub(super) fn first_blocks(portal: SocketAddrV4, initiator: &str, target: &str) -> Result<Read, Failure> {
    let stream = TcpStream::connect_timeout(&SocketAddr::V4(portal), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut session = Session { stream, buffer: Vec::new(), cmd_sn: 1 };
    session.login(initiator, target)?;
    // READ CAPACITY(10): the last block and a block's length (SBC-4 5.20).
    let capacity = session.command(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)?;
    let word = |at: usize| -> Result<u64, Failure> {
        let bytes = capacity.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(Failure::Odd("too few bytes"))?;
        Ok(u32::from_be_bytes(bytes).into())
    };
    let (last, block) = (word(0)?, word(4)?);
    let size = last.saturating_add(1).saturating_mul(block);
    let blocks = 4096u64.checked_div(block).unwrap_or(0).clamp(1, last.saturating_add(1));
    let count = u8::try_from(blocks).map_err(|_| Failure::Odd("a block length of no disk"))?;
    let expected =
        u32::try_from(blocks.saturating_mul(block)).map_err(|_| Failure::Odd("a block length of no disk"))?;
    let first = session.command(&[0x28, 0, 0, 0, 0, 0, 0, 0, count, 0], expected)?.len();
    session.logout()?;
    if first as u64 != u64::from(expected) {
        return Err(Failure::Odd("fewer bytes than were asked for"));
    }
    Ok(Read { size, first })
}

struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
    cmd_sn: u32,
}

impl Session {
    fn login(&mut self, initiator: &str, target: &str) -> Result<(), Failure> {
        let login = Login {
            transit: true,
            more: false,
            stage: 1,
            next: 3,
            version_max: 0,
            version_min: 0,
            // Random form (RFC 7143 11.12.5).
            isid: [0x80, 0, 0, 0x73, 0x74, 1],
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        };
        let text = format!("InitiatorName={initiator}\0TargetName={target}\0SessionType=Normal\0");
        self.send(&Request::Login(login), text.as_bytes())?;
        match self.receive()?.0 {
            Response::Login { status: 0, .. } => Ok(()),
            Response::Login { status, .. } => Err(Failure::Refused(status)),
            _ => Err(Failure::Odd("a login with something else")),
        }
    }

    fn command(&mut self, cdb: &[u8], expected: u32) -> Result<Vec<u8>, Failure> {
        let mut whole = [0; 16];
        if let Some(place) = whole.get_mut(..cdb.len()) {
            place.copy_from_slice(cdb);
        }
        let command = ScsiCommand {
            immediate: false,
            last: true,
            read: true,
            write: false,
            attribute: 1,
            lun: [0; 8],
            itt: self.cmd_sn,
            expected,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            cdb: whole,
        };
        self.cmd_sn += 1;
        self.send(&Request::Command(command), &[])?;
        let mut all = Vec::new();
        loop {
            match self.receive()? {
                (Response::DataIn { status, .. }, data) => {
                    all.extend(data);
                    match status {
                        None => {}
                        Some(0) => return Ok(all),
                        Some(status) => return Err(Failure::Status(status)),
                    }
                }
                (Response::Scsi { status: 0, .. }, _) => return Ok(all),
                (Response::Scsi { status: 2, .. }, _) if all.is_empty() && self.cmd_sn == 2 => {
                    // A unit attention at the first command is no fault (SAM-5 5.14); it is asked again.
                    return self.command(cdb, expected);
                }
                (Response::Scsi { status, .. }, _) => return Err(Failure::Status(status)),
                (Response::NopIn { .. }, _) => {}
                _ => return Err(Failure::Odd("a command with something else")),
            }
        }
    }

    fn logout(&mut self) -> Result<(), Failure> {
        let logout =
            Logout { immediate: true, reason: 0, itt: 0x8000_0001, cid: 0, cmd_sn: self.cmd_sn, exp_stat_sn: 0 };
        self.send(&Request::Logout(logout), &[])?;
        match self.receive()?.0 {
            Response::Logout { .. } => Ok(()),
            _ => Err(Failure::Odd("a logout with something else")),
        }
    }

    fn send(&mut self, request: &Request, data: &[u8]) -> Result<(), Failure> {
        let payload = if data.is_empty() { Payload::None } else { Payload::Owned(data.to_vec()) };
        let bhs = request.encode().ok_or(Failure::Odd("nothing"))?;
        self.stream.write_all(&Frame::new(bhs, payload, &Framing::login(MAX_DATA)).parts().concat())?;
        Ok(())
    }

    fn receive(&mut self) -> Result<(Response, Vec<u8>), Failure> {
        let framing = Framing::login(MAX_DATA.saturating_mul(32));
        loop {
            let parsed = framing.parse(&self.buffer).map_err(|_| Failure::Odd("bytes that are no iSCSI"))?;
            if let Parsed::Pdu { raw, used } = parsed {
                let response = Response::decode(raw.bhs).ok_or(Failure::Odd("an unknown PDU"))?;
                let data = raw.data.to_vec();
                self.buffer.drain(..used);
                return Ok((response, data));
            }
            let mut chunk = [0; 16_384];
            match self.stream.read(&mut chunk)? {
                0 => return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
                n => self.buffer.extend(chunk.get(..n).unwrap_or_default()),
            }
        }
    }
}
