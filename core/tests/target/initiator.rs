//! An initiator of a few lines that says exactly what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bootyard_core::iscsi::wire::request::{DataOut, Login, Logout, Request, ScsiCommand, TaskManagement};
use bootyard_core::iscsi::wire::response::Response;
use bootyard_core::iscsi::wire::{Frame, Framing, Parsed, Payload};

use super::PREFIX;

pub struct Initiator {
    stream: TcpStream,
    buffer: Vec<u8>,
    cmd_sn: u32,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u8,
    /// Sense key and code.
    pub sense: Option<(u8, u16)>,
    pub data: Vec<u8>,
}

pub const CONFLICT: u8 = 0x18;

impl Initiator {
    /// Logs in to a disk as `iqn.…:name`, with an ISID that ends in `isid`; the status of the login, if that is no success.
    pub fn login(address: SocketAddr, disk: &str, name: &str, isid: u8) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut new = Self { stream, buffer: Vec::new(), cmd_sn: 1 };
        let login = Login {
            transit: true,
            more: false,
            stage: 1,
            next: 3,
            version_max: 0,
            version_min: 0,
            isid: [0x80, 0, 0, 0, 0, isid],
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        };
        let keys = format!("InitiatorName={PREFIX}{name}\0TargetName={PREFIX}{disk}\0");
        new.send(&Request::Login(login), keys.as_bytes());
        match new.receive() {
            Some((Response::Login { status: 0, .. }, _)) => Ok(new),
            Some((Response::Login { status, .. }, _)) => Err(status),
            other => panic!("{other:?}"),
        }
    }

    /// Logs in, and takes the news of the power-on.
    pub fn open(address: SocketAddr, disk: &str, name: &str, isid: u8) -> Self {
        let mut new = Self::login(address, disk, name, isid).unwrap();
        assert_eq!(new.command(&[0; 6], 0, &[]).sense, Some((6, 0x2900)));
        new
    }

    fn send(&mut self, request: &Request, data: &[u8]) {
        let payload = if data.is_empty() { Payload::None } else { Payload::Owned(data.to_vec()) };
        let frame = Frame::new(request.encode().unwrap(), payload, &Framing::login(u32::MAX));
        self.stream.write_all(&frame.parts().concat()).unwrap();
    }

    /// The next PDU, or `None` at the end of the connection.
    pub fn receive(&mut self) -> Option<(Response, Vec<u8>)> {
        loop {
            if let Ok(Parsed::Pdu { raw, used }) = Framing::login(u32::MAX).parse(&self.buffer) {
                let response = Response::decode(raw.bhs).unwrap();
                let data = raw.data.to_vec();
                self.buffer.drain(..used);
                return Some((response, data));
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Sends a command, whose task tag is given back: it takes `expected` bytes of data, `now` of them at once, or gives as many.
    pub fn start(&mut self, cdb: &[u8], write: bool, expected: u32, now: &[u8]) -> u32 {
        let mut whole = [0; 16];
        whole[..cdb.len()].copy_from_slice(cdb);
        let command = ScsiCommand {
            immediate: false,
            last: true,
            read: !write && expected > 0,
            write,
            attribute: 1,
            lun: [0; 8],
            itt: self.cmd_sn,
            expected,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            cdb: whole,
        };
        self.cmd_sn += 1;
        self.send(&Request::Command(command), now);
        self.cmd_sn - 1
    }

    /// The data of an R2T.
    pub fn give(&mut self, itt: u32, ttt: u32, data: &[u8]) {
        let pdu = DataOut { last: true, lun: [0; 8], itt, ttt, exp_stat_sn: 0, data_sn: 0, offset: 0 };
        self.send(&Request::DataOut(pdu), data);
    }

    /// What the only command under way comes to.
    pub fn answer(&mut self) -> Answer {
        let mut all = Vec::new();
        loop {
            match self.receive().expect("an answer") {
                (Response::DataIn { status, .. }, data) => {
                    all.extend(data);
                    if let Some(status) = status {
                        return Answer { status, sense: None, data: all };
                    }
                }
                (Response::Scsi { status, .. }, data) => {
                    let sense = data.get(2..).filter(|s| s.len() >= 14);
                    let sense = sense.map(|s| (s[2] & 0xf, u16::from_be_bytes([s[12], s[13]])));
                    return Answer { status, sense, data: all };
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// One command to its end: takes at most `expected` bytes, or gives `data`, all at once.
    pub fn command(&mut self, cdb: &[u8], expected: u32, data: &[u8]) -> Answer {
        let write = !data.is_empty();
        self.start(cdb, write, if write { data.len() as u32 } else { expected }, data);
        self.answer()
    }

    /// A task management function; its response.
    pub fn manage(&mut self, function: u8, referenced: u32) -> u8 {
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
        self.send(&Request::TaskManagement(request), &[]);
        match self.receive() {
            Some((Response::TaskManagement { response, .. }, _)) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn logout(mut self) {
        let logout =
            Logout { immediate: true, reason: 0, itt: 0x8000_0001, cid: 0, cmd_sn: self.cmd_sn, exp_stat_sn: 0 };
        self.send(&Request::Logout(logout), &[]);
        while self.receive().is_some() {}
    }

    /// PERSISTENT RESERVE OUT with a list of the usual length.
    pub fn reserve_out(&mut self, action: u8, kind: u8, key: u64, new: u64, flags: u8) -> Answer {
        let mut list = [key.to_be_bytes(), new.to_be_bytes(), [0; 8]].concat();
        list[20] = flags;
        self.command(&[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], 0, &list)
    }

    /// PERSISTENT RESERVE IN.
    pub fn reserve_in(&mut self, action: u8) -> Vec<u8> {
        let answer = self.command(&[0x5e, action, 0, 0, 0, 0, 0, 0x10, 0, 0], 4096, &[]);
        assert_eq!(answer.status, 0, "{answer:?}");
        answer.data
    }

    /// READ KEYS.
    pub fn keys(&mut self) -> Vec<u64> {
        let data = self.reserve_in(0);
        data[8..].chunks_exact(8).map(|key| u64::from_be_bytes(key.try_into().unwrap())).collect()
    }

    /// READ RESERVATION: key and type.
    pub fn reservation(&mut self) -> Option<(u64, u8)> {
        let data = self.reserve_in(1);
        (data.len() == 24).then(|| (u64::from_be_bytes(data[8..16].try_into().unwrap()), data[21]))
    }
}
