//! An iSCSI initiator of a few lines that says exactly what a test wants. It uses the target's own wire types, which the conformance
//! tests check with other people's initiators.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use bootyard_core::iscsi::wire::request::{DataOut, Login, Logout, NopOut, Request, ScsiCommand, TaskManagement};
use bootyard_core::iscsi::wire::response::{Numbers, Response};
use bootyard_core::iscsi::wire::{Frame, Framing, NO_TAG, Parsed, Payload};

/// So many bytes may go with a command when nothing else was agreed on: FirstBurstLength's default (RFC 7143 13.14).
pub const FIRST_BURST: usize = 65536;

/// A logged-in session of one connection.
#[derive(Debug)]
pub struct Initiator {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were read already.
    read: usize,
    cmd_sn: u32,
    max_cmd_sn: u32,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// SCSI status.
    pub status: u8,
    /// Sense key and code.
    pub sense: Option<(u8, u16)>,
    /// What was read.
    pub data: Vec<u8>,
}

/// Why there is no session.
#[derive(Debug)]
pub enum LoginError {
    /// The connection broke.
    Io(io::Error),
    /// The target said no with this status: class in the high byte, detail in the low one.
    Refused(u16),
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the login broke off: {error}"),
            Self::Refused(status) => write!(f, "the login was refused with status {status:04x}"),
        }
    }
}

impl std::error::Error for LoginError {}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn protocol(what: impl fmt::Debug) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected: {what:?}"))
}

fn over() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl Initiator {
    /// Logs in. `keys` is further text for the login, each `Key=value` followed by a zero byte.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn login(
        stream: TcpStream,
        initiator: &str,
        target: &str,
        isid: [u8; 6],
        keys: &str,
    ) -> Result<Self, LoginError> {
        let mut new = Self { stream, buffer: Vec::new(), read: 0, cmd_sn: 1, max_cmd_sn: 1 };
        let login = Login {
            transit: true,
            more: false,
            stage: 1,
            next: 3,
            version_max: 0,
            version_min: 0,
            isid,
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        };
        let text = format!("InitiatorName={initiator}\0TargetName={target}\0{keys}");
        new.send(&Request::Login(login), text.as_bytes())?;
        match new.receive()? {
            Some((Response::Login { status: 0, .. }, _)) => Ok(new),
            Some((Response::Login { status, .. }, _)) => Err(LoginError::Refused(status)),
            None => Err(over().into()),
            other => Err(protocol(other).into()),
        }
    }

    /// A second handle on the connection, to break it from elsewhere.
    ///
    /// # Errors
    /// The operating system's.
    pub fn stream(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    fn send(&mut self, request: &Request, data: &[u8]) -> io::Result<()> {
        let payload = if data.is_empty() { Payload::None } else { Payload::Owned(data.to_vec()) };
        let bhs = request.encode().ok_or_else(|| protocol(request))?;
        self.stream.write_all(&Frame::new(bhs, payload, &Framing::login(u32::MAX)).parts().concat())
    }

    /// The next PDU, or `None` at the end of the connection.
    ///
    /// # Errors
    /// The connection's, or it is no PDU of a target.
    pub fn receive(&mut self) -> io::Result<Option<(Response, Vec<u8>)>> {
        loop {
            let waiting = self.buffer.get(self.read..).unwrap_or_default();
            match Framing::login(u32::MAX).parse(waiting).map_err(protocol)? {
                Parsed::Pdu { raw, used } => {
                    let response = Response::decode(raw.bhs).ok_or_else(|| protocol(raw.bhs))?;
                    let data = raw.data.to_vec();
                    self.read += used;
                    self.max_cmd_sn = numbers(&response).max_cmd_sn;
                    return Ok(Some((response, data)));
                }
                Parsed::Need(_) => {
                    self.buffer.drain(..self.read);
                    self.read = 0;
                }
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(n) => self.buffer.extend(chunk.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the target's command window has room (RFC 7143 4.2.2.1).
    #[must_use]
    pub fn may_start(&self) -> bool {
        self.max_cmd_sn.wrapping_sub(self.cmd_sn).cast_signed() >= 0
    }

    /// Sends a command, whose task tag is given back: it takes `expected` bytes of data, `now` of them at once, or gives as many.
    ///
    /// # Errors
    /// The connection's.
    pub fn start(&mut self, cdb: &[u8], write: bool, expected: u32, now: &[u8]) -> io::Result<u32> {
        let mut whole = [0; 16];
        whole.get_mut(..cdb.len()).ok_or_else(|| protocol(cdb))?.copy_from_slice(cdb);
        let itt = self.cmd_sn;
        let command = ScsiCommand {
            immediate: false,
            last: true,
            read: !write && expected > 0,
            write,
            attribute: 1,
            lun: [0; 8],
            itt,
            expected,
            cmd_sn: itt,
            exp_stat_sn: 0,
            cdb: whole,
        };
        self.cmd_sn += 1;
        self.send(&Request::Command(command), now)?;
        Ok(itt)
    }

    /// The data that an R2T asks for, which begin at `offset` of the command's.
    ///
    /// # Errors
    /// The connection's.
    pub fn give(&mut self, itt: u32, ttt: u32, offset: u32, data: &[u8]) -> io::Result<()> {
        let pdu = DataOut { last: true, lun: [0; 8], itt, ttt, exp_stat_sn: 0, data_sn: 0, offset };
        self.send(&Request::DataOut(pdu), data)
    }

    /// Answers a NOP-In.
    ///
    /// # Errors
    /// The connection's.
    pub fn pong(&mut self, lun: [u8; 8], ttt: u32) -> io::Result<()> {
        let pdu = NopOut { immediate: true, lun, itt: NO_TAG, ttt, cmd_sn: self.cmd_sn, exp_stat_sn: 0 };
        self.send(&Request::NopOut(pdu), &[])
    }

    /// What the only command under way comes to; `data` is what it gives when it is asked for it.
    ///
    /// # Errors
    /// The connection's, its end included.
    pub fn answer(&mut self, data: &[u8]) -> io::Result<Answer> {
        let mut all = Vec::new();
        loop {
            match self.receive()?.ok_or_else(over)? {
                (Response::DataIn { status, .. }, data) => {
                    all.extend(data);
                    if let Some(status) = status {
                        return Ok(Answer { status, sense: None, data: all });
                    }
                }
                (Response::Scsi { status, .. }, segment) => {
                    return Ok(Answer { status, sense: sense(&segment), data: all });
                }
                (Response::R2t { itt, ttt, offset, len, .. }, _) => {
                    let wanted = part(data, offset, len).ok_or_else(|| protocol((offset, len)))?;
                    self.give(itt, ttt, offset, wanted)?;
                }
                (Response::NopIn { lun, ttt, .. }, _) if ttt != NO_TAG => self.pong(lun, ttt)?,
                other => return Err(protocol(other)),
            }
        }
    }

    /// One command to its end: takes at most `expected` bytes, or gives `data`, at once as far as that is allowed.
    ///
    /// # Errors
    /// The connection's, its end included.
    pub fn command(&mut self, cdb: &[u8], expected: u32, data: &[u8]) -> io::Result<Answer> {
        let write = !data.is_empty();
        let len = u32::try_from(data.len()).map_err(protocol)?;
        let now = data.get(..data.len().min(FIRST_BURST)).unwrap_or_default();
        self.start(cdb, write, if write { len } else { expected }, now)?;
        self.answer(data)
    }

    /// A task management function; its response.
    ///
    /// # Errors
    /// The connection's, its end included.
    pub fn manage(&mut self, function: u8, referenced: u32) -> io::Result<u8> {
        let request = TaskManagement {
            immediate: true,
            function,
            lun: [0; 8],
            itt: 0x8000_0000,
            referenced,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            ref_cmd_sn: self.cmd_sn.wrapping_sub(1),
            exp_data_sn: 0,
        };
        self.send(&Request::TaskManagement(request), &[])?;
        match self.receive()? {
            Some((Response::TaskManagement { response, .. }, _)) => Ok(response),
            None => Err(over()),
            other => Err(protocol(other)),
        }
    }

    /// Logs out and waits until the target has closed the connection.
    ///
    /// # Errors
    /// The connection's.
    pub fn logout(mut self) -> io::Result<()> {
        let logout =
            Logout { immediate: true, reason: 0, itt: 0x8000_0001, cid: 0, cmd_sn: self.cmd_sn, exp_stat_sn: 0 };
        self.send(&Request::Logout(logout), &[])?;
        while self.receive()?.is_some() {}
        Ok(())
    }
}

/// A part of a command's data, as an R2T names it.
#[must_use]
pub fn part(data: &[u8], offset: u32, len: u32) -> Option<&[u8]> {
    let offset = usize::try_from(offset).ok()?;
    data.get(offset..offset.checked_add(usize::try_from(len).ok()?)?)
}

/// Sense key and code of the data segment of a SCSI Response, in fixed form.
#[must_use]
pub fn sense(segment: &[u8]) -> Option<(u8, u16)> {
    match segment.get(2..)? {
        [_, _, key, _, _, _, _, _, _, _, _, _, code, qualifier, ..] => {
            Some((key & 0xf, u16::from_be_bytes([*code, *qualifier])))
        }
        _ => None,
    }
}

fn numbers(response: &Response) -> Numbers {
    match response {
        Response::NopIn { at, .. }
        | Response::Scsi { at, .. }
        | Response::TaskManagement { at, .. }
        | Response::Login { at, .. }
        | Response::Text { at, .. }
        | Response::DataIn { at, .. }
        | Response::Logout { at, .. }
        | Response::R2t { at, .. }
        | Response::Reject { at, .. } => *at,
    }
}
