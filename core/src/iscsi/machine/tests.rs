//! An initiator in memory against the machine.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::api::{EventKind, Who};
use crate::disks::{Allocation, BlockDevice};
use crate::iscsi::scsi::{BLOCK, Buffers, Identity, Reader, Unit, execute};
use crate::iscsi::wire::request::{DataOut, Login as LoginPdu, ScsiCommand, TaskManagement, Text};
use crate::iscsi::wire::request::{Logout, NopOut, Request as Pdu, Snack};
use crate::iscsi::wire::response::{Residual, Response};
use crate::iscsi::wire::{BHS, NO_TAG, Parsed, Payload, text};
use crate::lab::{Chap, Secret};
use crate::machine::Machine;

mod commands;
mod initiators;
mod login;

const NAMES: &str = "InitiatorName=iqn.i TargetName=iqn.T SessionType=Normal";
const SIZE: usize = 1 << 20;
const IPXE_ISID: [u8; 6] = [0x40, 0x00, 0x27, 0x23, 0, 0];

#[derive(Debug)]
struct Disk {
    data: Mutex<Vec<u8>>,
    error: Option<io::ErrorKind>,
}

impl Disk {
    fn range(&self, offset: u64, len: usize) -> io::Result<std::ops::Range<usize>> {
        if let Some(kind) = self.error {
            return Err(kind.into());
        }
        let end = offset as usize + len;
        if end > SIZE || !offset.is_multiple_of(BLOCK) || !(len as u64).is_multiple_of(BLOCK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(offset as usize..end)
    }
}

impl BlockDevice for Disk {
    fn size(&self) -> u64 {
        SIZE as u64
    }
    fn readonly(&self) -> bool {
        false
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let range = self.range(offset, buf.len())?;
        buf.copy_from_slice(&self.data.lock().unwrap()[range]);
        Ok(())
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let range = self.range(offset, buf.len())?;
        self.data.lock().unwrap()[range].copy_from_slice(buf);
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, offset: u64, len: u64, _: bool) -> io::Result<()> {
        let range = self.range(offset, len as usize)?;
        self.data.lock().unwrap()[range].fill(0);
        Ok(())
    }
    fn allocation(&self, _: u64) -> io::Result<(Allocation, u64)> {
        Ok((Allocation::Mapped, BLOCK))
    }
}

/// Both ends of one connection.
struct Bench {
    connection: Connection,
    unit: Arc<Unit>,
    disk: Disk,
    buffers: Buffers,
    moved: Arc<Moved>,
    now: Duration,
    chap: Option<Chap>,
    refuse: Option<u16>,
    redirect: Option<std::net::SocketAddrV4>,
    /// What the target sent.
    got: Vec<(Response, Vec<u8>)>,
    events: Vec<EventKind>,
    closed: bool,
    ended_others: bool,
    cmd_sn: u32,
    next_itt: u32,
    isid: [u8; 6],
    login: Option<LoginRequest>,
    framing: Framing,
}

fn bench() -> Bench {
    let ends = Ends {
        peer: "192.0.2.9:40000".parse().unwrap(),
        local: "192.0.2.1:3260".parse().unwrap(),
        entropy: std::array::from_fn(|i| i as u8 + 1),
    };
    let identity = Identity {
        target: "iqn.t".into(),
        serial: "s".into(),
        removable: false,
        readonly: false,
        medium: None,
        atomic: 0,
    };
    Bench {
        connection: Connection::new(Now::at(Duration::ZERO), ends),
        unit: Unit::new(identity, SIZE as u64),
        disk: Disk { data: Mutex::new(vec![0; SIZE]), error: None },
        buffers: Buffers::default(),
        moved: Arc::default(),
        now: Duration::ZERO,
        chap: None,
        refuse: None,
        redirect: None,
        got: Vec::new(),
        events: Vec::new(),
        closed: false,
        ended_others: false,
        cmd_sn: 7,
        next_itt: 1,
        isid: [0x80, 1, 2, 3, 0, 0],
        login: None,
        framing: Framing::login(u32::MAX),
    }
}

fn pairs(data: &[u8]) -> Vec<(String, String)> {
    text::parse(data).unwrap()
}

fn value(pairs: &[(String, String)], key: &str) -> Option<String> {
    pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
}

impl Bench {
    fn now(&self) -> Now {
        Now::at(self.now)
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.connection.handle(now, input);
        self.outputs();
    }

    fn pdu(&mut self, raw: Raw<'_>) {
        let now = self.now();
        let mut disk = Reader { unit: &self.unit, disk: &self.disk, buffers: &mut self.buffers };
        self.connection.handle(now, Input::Pdu(raw, &mut disk));
        self.outputs();
    }

    fn outputs(&mut self) {
        while let Some(output) = self.connection.poll() {
            match output {
                Output::Send(Outgoing::Pdu(frame)) => {
                    let bytes = frame.parts().concat();
                    let Ok(Parsed::Pdu { raw, .. }) = self.framing.parse(&bytes) else { panic!("unreadable PDU") };
                    self.got.push((Response::decode(raw.bhs).unwrap(), raw.data.to_vec()));
                }
                Output::Send(Outgoing::Close) => self.closed = true,
                Output::Event(observation) => self.events.push(observation.kind),
                Output::SendRange { source, .. } => match source {},
                Output::Persist(ticket, request) => {
                    let now = self.now();
                    match request {
                        Request::Authorize(login) => {
                            self.login = Some(*login);
                            let answer = match self.refuse {
                                Some(status) => {
                                    Err(self.redirect.map_or_else(|| Refusal::new(status, "no"), Refusal::moved))
                                }
                                None => Ok(Grant {
                                    who: Who::default(),
                                    disk: "d".into(),
                                    scope: "s".into(),
                                    chap: self.chap.clone(),
                                    serial: "s".into(),
                                    removable: false,
                                    boot: None,
                                    memory: None,
                                }),
                            };
                            self.connection.handle(now, Input::Authorized(ticket, answer.map(Box::new)));
                        }
                        Request::Open { grant, .. } => {
                            let nexus = grant.map(|_| self.unit.attach("i".into()));
                            self.connection.handle(
                                now,
                                Input::Opened(ticket, Ok(Opened { tsih: 9, nexus, moved: self.moved.clone() })),
                            );
                        }
                        Request::Targets { .. } => {
                            let targets = (0..200).map(|n| format!("iqn.2026-11.org.example:{n}")).collect();
                            self.connection.handle(now, Input::Targets(ticket, targets));
                        }
                        Request::EndOthers => self.ended_others = true,
                        Request::Sanitize { .. } => self.connection.handle(now, Input::Done(ticket, Done::Good)),
                        Request::Run { job, data } => {
                            let done = execute(&job, &data, &self.unit, &self.disk, &mut self.buffers);
                            self.connection.handle(now, Input::Done(ticket, done));
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, pdu: &Pdu, data: &[u8]) {
        let bhs = pdu.encode().unwrap();
        self.pdu(Raw { bhs: &bhs, ahs: &[], data });
    }

    fn take(&mut self) -> Vec<(Response, Vec<u8>)> {
        std::mem::take(&mut self.got)
    }

    /// One login request; the answer's status, whether it steps on, and its keys.
    fn login(&mut self, stage: u8, next: Option<u8>, keys: &str) -> (u16, bool, Vec<(String, String)>) {
        let login = LoginPdu {
            transit: next.is_some(),
            more: false,
            stage,
            next: next.unwrap_or(0),
            version_max: 0,
            version_min: 0,
            isid: self.isid,
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 100,
        };
        self.send(&Pdu::Login(login), keys.replace(' ', "\0").as_bytes());
        match self.take().pop() {
            Some((Response::Login { transit, status, .. }, data)) => (status, transit, pairs(&data)),
            other => panic!("no login response: {other:?}"),
        }
    }

    /// A session with these operational keys.
    fn session(&mut self, keys: &str) {
        let (status, transit, _) =
            self.login(1, Some(3), &format!("InitiatorName=iqn.i TargetName=iqn.t SessionType=Normal {keys}"));
        assert_eq!((status, transit), (0, true));
        // The first command learns of the power-on.
        let (status, sense) = self.command([0; 16], false, 0, &[]);
        assert_eq!((status, sense), (2, Some((6, 0x2900))));
    }

    fn itt(&mut self) -> u32 {
        self.next_itt += 1;
        self.next_itt
    }

    fn start(&mut self, cdb: [u8; 16], write: bool, expected: u32, last: bool, immediate: &[u8]) -> u32 {
        let itt = self.itt();
        let command = ScsiCommand {
            immediate: false,
            last,
            read: !write && expected > 0,
            write,
            attribute: 1,
            lun: [0; 8],
            itt,
            expected,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            cdb,
        };
        self.cmd_sn += 1;
        self.send(&Pdu::Command(command), immediate);
        itt
    }

    /// One command with immediate data only; its status and sense key and code.
    fn command(&mut self, cdb: [u8; 16], write: bool, expected: u32, data: &[u8]) -> (u8, Option<(u8, u16)>) {
        self.start(cdb, write, expected, true, data);
        self.status()
    }

    fn status(&mut self) -> (u8, Option<(u8, u16)>) {
        let got = self.take();
        match got.last() {
            Some((Response::Scsi { status, .. }, data)) => {
                let sense = data.get(2..).filter(|s| s.len() >= 14).map(|s| (s[2], u16::from_be_bytes([s[12], s[13]])));
                (*status, sense)
            }
            Some((Response::DataIn { status: Some(status), .. }, _)) => (*status, None),
            other => panic!("no status: {other:?}"),
        }
    }

    fn data_out(&mut self, itt: u32, ttt: u32, data_sn: u32, offset: u32, last: bool, data: &[u8]) {
        let pdu = DataOut { last, lun: [0; 8], itt, ttt, exp_stat_sn: 0, data_sn, offset };
        self.send(&Pdu::DataOut(pdu), data);
    }
}

fn read10(lba: u32, blocks: u16) -> [u8; 16] {
    rw10(0x28, lba, blocks)
}

fn write10(lba: u32, blocks: u16) -> [u8; 16] {
    rw10(0x2a, lba, blocks)
}

fn rw10(opcode: u8, lba: u32, blocks: u16) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[2..6].copy_from_slice(&lba.to_be_bytes());
    cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

fn chap(mutual: Option<&str>) -> Chap {
    Chap {
        user: "u".into(),
        secret: Secret::new("topsecret123".into()),
        mutual: mutual.map(|secret| ("t".into(), Secret::new(secret.into()))),
    }
}
