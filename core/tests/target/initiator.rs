//! The shared initiator of a few lines, for tests in which nothing may go wrong with its connection.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bootyard_core::iscsi::wire::response::Response;

use super::PREFIX;
pub use wire::Answer;
use wire::LoginError;

#[path = "../../../tests/src/initiator.rs"]
mod wire;

pub struct Initiator(wire::Initiator);

pub const CONFLICT: u8 = 0x18;

impl Initiator {
    /// Logs in to a disk as `iqn.…:name`, with an ISID that ends in `isid`; the status of the login, if that is no success.
    pub fn login(address: SocketAddr, disk: &str, name: &str, isid: u8) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (name, disk) = (format!("{PREFIX}{name}"), format!("{PREFIX}{disk}"));
        match wire::Initiator::login(stream, &name, &disk, [0x80, 0, 0, 0, 0, isid], "") {
            Ok(session) => Ok(Self(session)),
            Err(LoginError::Refused(status)) => Err(status),
            Err(other) => panic!("{other}"),
        }
    }

    /// Logs in, and takes the news of the power-on.
    pub fn open(address: SocketAddr, disk: &str, name: &str, isid: u8) -> Self {
        let mut new = Self::login(address, disk, name, isid).unwrap();
        assert_eq!(new.command(&[0; 6], 0, &[]).sense, Some((6, 0x2900)));
        new
    }

    /// The next PDU, or `None` at the end of the connection.
    pub fn receive(&mut self) -> Option<(Response, Vec<u8>)> {
        self.0.receive().unwrap()
    }

    /// Sends a command, whose task tag is given back: it takes `expected` bytes of data, `now` of them at once, or gives as many.
    pub fn start(&mut self, cdb: &[u8], write: bool, expected: u32, now: &[u8]) -> u32 {
        self.0.start(cdb, write, expected, now).unwrap()
    }

    /// The data of an R2T.
    pub fn give(&mut self, itt: u32, ttt: u32, data: &[u8]) {
        self.0.give(itt, ttt, 0, data).unwrap();
    }

    /// What the only command under way comes to.
    pub fn answer(&mut self) -> Answer {
        self.0.answer(&[]).unwrap()
    }

    /// One command to its end: takes at most `expected` bytes, or gives `data`, all at once.
    pub fn command(&mut self, cdb: &[u8], expected: u32, data: &[u8]) -> Answer {
        self.0.command(cdb, expected, data).unwrap()
    }

    /// A task management function; its response.
    pub fn manage(&mut self, function: u8, referenced: u32) -> u8 {
        self.0.manage(function, referenced).unwrap()
    }

    pub fn logout(self) {
        self.0.logout().unwrap();
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
