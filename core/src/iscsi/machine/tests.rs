//! An initiator in memory against the machine.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::api::{EventKind, Who};
use crate::disks::{Allocation, BlockDevice, Segment};
use crate::iscsi::scsi::{BLOCK, Buffers, Identity, Unit, execute};
use crate::iscsi::wire::request::{DataOut, Login as LoginPdu, ScsiCommand, TaskManagement, Text};
use crate::iscsi::wire::request::{Logout, NopOut, Request as Pdu, Snack};
use crate::iscsi::wire::response::{Residual, Response};
use crate::iscsi::wire::{BHS, NO_TAG, Parsed, Payload, text};
use crate::lab::{Chap, Secret};
use crate::machine::Machine;

#[path = "initiators.rs"]
mod initiators;

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
    fn segments(&self, _: u64, len: u64) -> io::Result<Vec<Segment>> {
        Ok(vec![Segment::Zero { len }])
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
    let identity =
        Identity { target: "iqn.t".into(), serial: "s".into(), removable: false, readonly: false, atomic: 0 };
    Bench {
        connection: Connection::new(Now::at(Duration::ZERO), ends),
        unit: Unit::new(identity, SIZE as u64),
        disk: Disk { data: Mutex::new(vec![0; SIZE]), error: None },
        buffers: Buffers::default(),
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
                            self.login = Some(login);
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
                            self.connection.handle(now, Input::Authorized(ticket, answer));
                        }
                        Request::Open { grant, .. } => {
                            let nexus = grant.map(|_| self.unit.attach("i".into()));
                            self.connection.handle(now, Input::Opened(ticket, Ok(Opened { tsih: 9, nexus })));
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
        self.input(Input::Pdu(Raw { bhs: &bhs, ahs: &[], data }));
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

const NAMES: &str = "InitiatorName=iqn.i TargetName=iqn.T SessionType=Normal";

#[test]
fn a_login_without_authentication_goes_through_both_stages() {
    let mut b = bench();
    let (status, transit, keys) = b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP,None"));
    assert_eq!((status, transit), (0, true));
    assert_eq!(value(&keys, "AuthMethod").as_deref(), Some("None"));
    assert_eq!(value(&keys, "TargetPortalGroupTag").as_deref(), Some("1"));
    assert_eq!(b.login.as_ref().map(|l| (l.target.as_str(), l.firmware)), Some(("iqn.t", false)));
    let (status, transit, keys) =
        b.login(1, Some(3), "MaxBurstLength=262144 X-com.example=1 HeaderDigest=None MaxRecvDataSegmentLength=8192");
    assert_eq!((status, transit), (0, true));
    assert_eq!(value(&keys, "MaxBurstLength").as_deref(), Some("262144"));
    assert_eq!(value(&keys, "X-com.example").as_deref(), Some("NotUnderstood"));
    assert_eq!(value(&keys, "MaxRecvDataSegmentLength"), Some(MAX_RECV.to_string()));
    assert!(matches!(b.events[..], [EventKind::IscsiLogin { session: 9, .. }]));
    assert_eq!(b.connection.framing().max_data, MAX_RECV);
}

#[test]
fn ipxe_is_told_apart_by_its_session_identifier() {
    let mut b = bench();
    b.isid = IPXE_ISID;
    b.login(0, Some(1), &format!("{NAMES} AuthMethod=None"));
    assert!(b.login.is_some_and(|l| l.firmware));
}

#[test]
fn logins_that_break_the_rules_are_refused_with_their_status() {
    let refused = |stage, next, keys: &str| {
        let mut b = bench();
        let (status, ..) = b.login(stage, next, keys);
        assert!(b.closed && matches!(b.events[..], [EventKind::IscsiRefused { .. }]), "{keys}");
        status
    };
    assert_eq!(refused(0, Some(1), "TargetName=iqn.t"), 0x0207);
    assert_eq!(refused(0, Some(1), "InitiatorName=iqn.i"), 0x0207);
    assert_eq!(refused(0, Some(1), "InitiatorName=iqn.i SessionType=Odd"), 0x0209);
    // Keys out of order: an operational one in the security stage, and the reverse.
    assert_eq!(refused(0, Some(1), &format!("{NAMES} MaxBurstLength=512")), 0x0200);
    assert_eq!(refused(1, Some(3), &format!("{NAMES} AuthMethod=None")), 0x0200);
    assert_eq!(refused(1, Some(3), &format!("{NAMES} SendTargets=All")), 0x0200);
    // Stages out of order, and a text that is none.
    assert_eq!(refused(1, Some(1), NAMES), 0x0200);
    assert_eq!(refused(0, Some(2), NAMES), 0x0200);
    assert_eq!(refused(3, None, NAMES), 0x0200);
    assert_eq!(refused(0, Some(1), &format!("{NAMES} nonsense")), 0x0200);
    assert_eq!(refused(0, Some(1), &format!("{NAMES} SessionType=Normal")), 0x0200);
    let mut b = bench();
    b.refuse = Some(0x0202);
    assert_eq!(b.login(0, Some(1), NAMES).0, 0x0202);
}

#[test]
fn chap_both_ways_even_where_the_initiator_always_wants_to_go_on() {
    let mut b = bench();
    b.chap = Some(chap(Some("othersecret1")));
    let (_, transit, keys) = b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP,None"));
    assert_eq!((transit, value(&keys, "AuthMethod").as_deref()), (false, Some("CHAP")));
    let (_, transit, keys) = b.login(0, Some(1), "CHAP_A=7,5");
    assert_eq!((transit, value(&keys, "CHAP_A").as_deref()), (false, Some("7")));
    let question = text::binary(&value(&keys, "CHAP_C").unwrap()).unwrap();
    let id = value(&keys, "CHAP_I").unwrap().parse().unwrap();
    let algorithm = super::chap::Algorithm::choose("7").unwrap();
    let response = text::hex(&algorithm.respond(id, b"topsecret123", &question));
    let (status, transit, keys) =
        b.login(0, Some(1), &format!("CHAP_N=u CHAP_R={response} CHAP_I=5 CHAP_C=0b3q2+7w=="));
    assert_eq!((status, transit), (0, true));
    assert_eq!(value(&keys, "CHAP_N").as_deref(), Some("t"));
    let answer = algorithm.respond(5, b"othersecret1", &[0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(value(&keys, "CHAP_R"), Some(text::hex(&answer)));
    assert_eq!(b.login(1, Some(3), "MaxBurstLength=512").0, 0);
}

#[test]
fn a_chap_name_is_text_even_if_it_looks_like_a_number() {
    let attempt = |user: &str, given: &str, base64: bool| {
        let mut b = bench();
        b.chap = Some(Chap { user: user.into(), ..chap(None) });
        b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP"));
        let (_, _, keys) = b.login(0, Some(1), "CHAP_A=5");
        let challenge = text::binary(&value(&keys, "CHAP_C").unwrap()).unwrap();
        let id = value(&keys, "CHAP_I").unwrap().parse().unwrap();
        let response = super::chap::Algorithm::Md5.respond(id, b"topsecret123", &challenge);
        // A response may come in either form of a number.
        let response = if base64 { base64_of(&response) } else { text::hex(&response) };
        b.login(0, Some(1), &format!("CHAP_N={given} CHAP_R={response}")).0
    };
    for user in ["u", "0xu", "0bu", "0x75", "0bdQ=="] {
        assert_eq!(attempt(user, user, false), 0, "{user}");
        assert_eq!(attempt(user, user, true), 0, "{user}");
    }
    // Numbers of the same value are other names.
    for (user, given) in [("u", "0x75"), ("0x75", "u"), ("0x75", "0X75"), ("u", "0bdQ==")] {
        assert_eq!(attempt(user, given, false), 0x0201, "{user} {given}");
    }
}

fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "0b".to_owned();
    for three in bytes.chunks(3) {
        let bits = three.iter().chain(&[0, 0]).take(3).fold(0_u32, |n, &b| n << 8 | u32::from(b));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= three.len() { digit } else { '=' });
        }
    }
    text
}

#[test]
fn a_write_that_comes_after_its_abort_does_not_reach_the_disk() {
    use crate::iscsi::scsi::Job;
    let mut b = bench();
    let (one, other) = (b.unit.attach("one".into()), b.unit.attach("other".into()));
    let write = |nexus: &crate::iscsi::scsi::Nexus| {
        nexus.task(Job::Write { offset: 0, durable: false, verify: false }, nexus.epoch())
    };
    // Both are on their way to the disk when one of them resets the unit; only what follows is written.
    let (before, theirs) = (write(&one), write(&other));
    other.reset(crate::iscsi::scsi::Sense::RESET);
    for task in [&before, &theirs] {
        assert_eq!(execute(task, &[1; 512], &b.unit, &b.disk, &mut b.buffers), Done::Aborted);
    }
    assert!(b.disk.data.lock().unwrap()[..512].iter().all(|&byte| byte == 0));
    assert_eq!(execute(&write(&one), &[2; 512], &b.unit, &b.disk, &mut b.buffers), Done::Good);
}

#[test]
fn part_of_a_block_is_refused_not_torn_or_lost() {
    let mut b = bench();
    b.session("");
    b.start(write10(0, 1), true, 200, true, &[1; 200]);
    let Some((Response::Scsi { status, residual, .. }, sense)) = b.take().pop() else { panic!("no status") };
    assert_eq!((status, residual), (2, Residual::Over(312)));
    assert_eq!((sense[4], &sense[14..16]), (5, &[0x0e, 0x03][..]));
    // Whole blocks of a longer write are written.
    assert_eq!(b.command(write10(0, 2), true, 512, &[1; 512]).0, 0);
    assert_eq!(b.disk.data.lock().unwrap()[..1024], [[1; 512], [0; 512]].concat());
}

#[test]
fn a_cold_reset_is_answered_and_then_ends_the_session() {
    let mut b = bench();
    b.session("");
    let request = TaskManagement {
        immediate: true,
        function: 7,
        lun: [0; 8],
        itt: 5000,
        referenced: 0,
        cmd_sn: b.cmd_sn,
        exp_stat_sn: 0,
        ref_cmd_sn: 0,
        exp_data_sn: 0,
    };
    b.send(&Pdu::TaskManagement(request), &[]);
    assert!(matches!(b.take()[..], [(Response::TaskManagement { response: 0, itt: 5000, .. }, _)]));
    assert!(b.closed && b.ended_others);
    assert!(matches!(b.events.last(), Some(EventKind::IscsiEnded { .. })));
}

#[test]
fn chap_that_proves_nothing_is_refused() {
    let attempt = |mutual: Option<&str>, secret: &[u8], user: &str, back: &str| {
        let mut b = bench();
        b.chap = Some(chap(mutual));
        b.login(0, Some(1), &format!("{NAMES} AuthMethod=CHAP"));
        let (_, _, keys) = b.login(0, Some(1), "CHAP_A=5");
        let challenge = value(&keys, "CHAP_C").unwrap();
        let id = value(&keys, "CHAP_I").unwrap().parse().unwrap();
        let md5 = super::chap::Algorithm::Md5;
        let response = text::hex(&md5.respond(id, secret, &text::binary(&challenge).unwrap()));
        let back = back.replace("OURS", &challenge);
        b.login(0, Some(1), &format!("CHAP_N={user} CHAP_R={response} {back}")).0
    };
    assert_eq!(attempt(None, b"topsecret123", "u", ""), 0);
    assert_eq!(attempt(None, b"wrong", "u", ""), 0x0201);
    assert_eq!(attempt(None, b"topsecret123", "other", ""), 0x0201);
    assert_eq!(attempt(None, b"topsecret123", "u", "CHAP_I=1 CHAP_C=0x01"), 0x0201);
    assert_eq!(attempt(Some("othersecret1"), b"topsecret123", "u", "CHAP_I=1 CHAP_C=OURS"), 0x0201);
    assert_eq!(attempt(Some("topsecret123"), b"topsecret123", "u", "CHAP_I=1 CHAP_C=0x01"), 0x0201);
    for (stage, keys) in [(0, "AuthMethod=None"), (1, ""), (0, "CHAP_A=5 AuthMethod=None")] {
        let mut b = bench();
        b.chap = Some(chap(None));
        assert_eq!(b.login(stage, Some(3), &format!("{NAMES} {keys}")).0, 0x0201, "{keys}");
    }
}

#[test]
fn a_login_text_may_come_in_pieces_but_not_without_end() {
    let mut b = bench();
    let piece = |b: &mut Bench, more: bool, data: &[u8]| {
        let login = LoginPdu {
            transit: !more,
            more,
            stage: 1,
            next: 3,
            version_max: 0,
            version_min: 0,
            isid: b.isid,
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: 7,
            exp_stat_sn: 0,
        };
        b.send(&Pdu::Login(login), data);
        b.take().pop()
    };
    let half = piece(&mut b, true, b"InitiatorName=iqn.i\0Target");
    assert!(matches!(half, Some((Response::Login { transit: false, status: 0, .. }, _))));
    let whole = piece(&mut b, false, b"Name=iqn.t\0");
    assert!(matches!(whole, Some((Response::Login { transit: true, status: 0, tsih: 9, .. }, _))));
    let mut b = bench();
    let last = (0..20).map_while(|_| piece(&mut b, true, &[b'A'; 8000])).last();
    assert!(matches!(last, Some((Response::Login { status: 0x0200, .. }, _))));
}

#[test]
fn a_login_that_hangs_is_dropped_and_others_are_not_let_in_late() {
    let mut b = bench();
    b.now = LOGIN_TIMEOUT;
    b.input(Input::Tick);
    assert!(b.closed);
    let mut b = bench();
    b.send(&Pdu::NopOut(NopOut { immediate: true, lun: [0; 8], itt: 1, ttt: NO_TAG, cmd_sn: 0, exp_stat_sn: 0 }), &[]);
    assert!(b.closed && b.got.is_empty());
}

#[test]
fn reads_come_in_segments_with_the_status_in_the_last() {
    let mut b = bench();
    b.session("MaxRecvDataSegmentLength=1024 MaxBurstLength=2048");
    let pattern: Vec<u8> = (0..4096).map(|n| (n % 251) as u8).collect();
    b.disk.data.lock().unwrap()[512..4608].copy_from_slice(&pattern);
    b.start(read10(1, 8), false, 4096, true, &[]);
    let got = b.take();
    assert_eq!(got.len(), 4);
    let bytes: Vec<u8> = got.iter().flat_map(|(_, data)| data.clone()).collect();
    assert_eq!(bytes, pattern);
    for (n, (response, _)) in got.iter().enumerate() {
        let Response::DataIn { last, status, data_sn, offset, .. } = response else { panic!("{response:?}") };
        assert_eq!((*data_sn, *offset), (n as u32, n as u32 * 1024));
        // Bursts end after two of them.
        assert_eq!((*last, *status), (n % 2 == 1, (n == 3).then_some(0)));
    }
    // Expecting less and more than the command moves.
    b.start(read10(0, 2), false, 512, true, &[]);
    assert!(
        matches!(b.take()[..], [(Response::DataIn { residual: Residual::Over(512), .. }, ref data)] if data.len() == 512)
    );
    b.start(read10(0, 1), false, 700, true, &[]);
    assert!(matches!(b.take()[..], [(Response::DataIn { residual: Residual::Under(188), .. }, _)]));
}

#[test]
fn writes_take_immediate_unsolicited_and_solicited_data() {
    let mut b = bench();
    b.session("InitialR2T=No ImmediateData=Yes FirstBurstLength=1024 MaxBurstLength=1024");
    let pattern: Vec<u8> = (0..3072).map(|n| (n % 249) as u8).collect();
    let itt = b.start(write10(0, 6), true, 3072, false, &pattern[..512]);
    assert!(b.take().is_empty());
    b.data_out(itt, NO_TAG, 0, 512, true, &pattern[512..1024]);
    for offset in [1024_u32, 2048] {
        let Some((Response::R2t { ttt, offset: at, len, .. }, _)) = b.take().pop() else { panic!("no R2T") };
        assert_eq!((at, len), (offset, 1024));
        let at = offset as usize;
        b.data_out(itt, ttt, 0, offset, false, &pattern[at..at + 512]);
        assert!(b.got.is_empty());
        b.data_out(itt, ttt, 1, offset + 512, true, &pattern[at + 512..at + 1024]);
    }
    assert_eq!(b.status(), (0, None));
    assert_eq!(b.disk.data.lock().unwrap()[..3072], pattern);
}

#[test]
fn data_that_nobody_asked_for_fails_the_command_and_not_the_session() {
    // Unsolicited although InitialR2T=Yes.
    let mut b = bench();
    b.session("InitialR2T=Yes");
    let itt = b.start(write10(0, 2), true, 1024, false, &[]);
    b.data_out(itt, NO_TAG, 0, 0, true, &[1; 512]);
    assert_eq!(b.status(), (2, Some((0xb, 0x0c0c))));
    // More immediate data than FirstBurstLength.
    let mut b = bench();
    b.session("FirstBurstLength=512");
    assert_eq!(b.command(write10(0, 2), true, 1024, &[1; 1024]), (2, Some((0xb, 0x0c0c))));
    // Beyond what the R2T asked for, out of sequence, at a wrong place.
    for (data_sn, offset, len, code) in [(0, 0, 2048, 0x0c0d), (1, 0, 512, 0x4705), (0, 512, 512, 0x4705)] {
        let itt = b.start(write10(0, 2), true, 1024, true, &[]);
        let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
        b.data_out(itt, ttt, data_sn, offset, true, &vec![1; len]);
        assert_eq!(b.status(), (2, Some((0xb, code))));
    }
    // For a command that is not there: silently thrown away.
    b.data_out(999, 1, 0, 0, true, &[1; 512]);
    assert!(b.got.is_empty() && !b.closed);
    assert!(b.disk.data.lock().unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn what_cannot_be_done_is_said_in_sense_data() {
    let mut b = bench();
    b.session("");
    assert_eq!(b.command(read10(2048, 1), false, 512, &[]), (2, Some((5, 0x2100))));
    assert_eq!(b.command(read10(2047, 2), false, 1024, &[]), (2, Some((5, 0x2100))));
    assert_eq!(b.command(write10(u32::MAX, 1), true, 512, &[0; 512]), (2, Some((5, 0x2100))));
    let mut cdb = [0xff; 16];
    cdb[0] = 0x88;
    assert_eq!(b.command(cdb, false, 512, &[]), (2, Some((5, 0x2400))));
    cdb[1] = 0;
    assert_eq!(b.command(cdb, false, 512, &[]), (2, Some((5, 0x2100))));
    assert_eq!(b.command([0xff; 16], false, 0, &[]), (2, Some((5, 0x2000))));
    b.disk.error = Some(io::ErrorKind::StorageFull);
    assert_eq!(b.command(write10(3, 1), true, 512, &[1; 512]), (2, Some((7, 0x2707))));
    assert!(matches!(b.events.last(), Some(EventKind::IscsiError { lba: 3, .. })));
    b.disk.error = Some(io::ErrorKind::Other);
    assert_eq!(b.command(write10(0, 1), true, 512, &[1; 512]), (2, Some((3, 0x0c00))));
    assert_eq!(b.command(read10(0, 1), false, 512, &[]), (2, Some((3, 0x1100))));
    // Descriptor form after MODE SELECT sets D_SENSE.
    let mut select = [0; 16];
    (select[0], select[1], select[4]) = (0x15, 0x10, 16);
    let mut list = vec![0; 4];
    list.extend_from_slice(&[0x0a, 10, 0x04, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(b.command(select, true, 16, &list), (0, None));
    b.start(read10(2048, 1), false, 512, true, &[]);
    assert_eq!(b.take().pop().unwrap().1[2..6], [0x72, 5, 0x21, 0]);
}

#[test]
fn another_lun_answers_what_it_must_and_nothing_else() {
    let mut b = bench();
    b.session("");
    let mut ask = |opcode: u8, lun: [u8; 8]| {
        let mut cdb = [0; 16];
        (cdb[0], cdb[4], cdb[9]) = (opcode, 96, 96);
        let itt = b.itt();
        let command = ScsiCommand {
            immediate: false,
            last: true,
            read: true,
            write: false,
            attribute: 1,
            lun,
            itt,
            expected: 96,
            cmd_sn: b.cmd_sn,
            exp_stat_sn: 0,
            cdb,
        };
        b.cmd_sn += 1;
        b.send(&Pdu::Command(command), &[]);
        b.take().pop().unwrap()
    };
    let other = [0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(ask(0x12, other).1[0], 0x7f);
    assert_eq!(ask(0xa0, other).1.len(), 16);
    assert_eq!(ask(0x00, other).1[4], 5);
    assert_eq!(ask(0x12, [0xc1, 1, 0, 0, 0, 0, 0, 0]).1[0], 0x1e);
}

#[test]
fn commands_count_in_order_and_the_window_never_shrinks() {
    let mut b = bench();
    b.session("");
    let (cmd_sn, before) = (b.cmd_sn, b.connection.core.max_cmd_sn);
    for wrong in [cmd_sn - 1, cmd_sn + 1, cmd_sn + 1000] {
        b.cmd_sn = wrong;
        b.start(read10(0, 1), false, 512, true, &[]);
        assert!(b.take().is_empty(), "{wrong}");
    }
    b.cmd_sn = cmd_sn;
    b.start(write10(0, 1), true, 512, true, &[]);
    assert_eq!(b.connection.core.max_cmd_sn, before);
    assert_eq!(b.connection.core.exp_cmd_sn, cmd_sn + 1);
}

#[test]
fn tasks_are_aborted_and_what_still_comes_for_them_is_thrown_away() {
    let mut b = bench();
    b.session("");
    let manage = |b: &mut Bench, function, referenced, lun| {
        let request = TaskManagement {
            immediate: true,
            function,
            lun,
            itt: 5000,
            referenced,
            cmd_sn: b.cmd_sn,
            exp_stat_sn: 0,
            ref_cmd_sn: b.cmd_sn - 1,
            exp_data_sn: 0,
        };
        b.send(&Pdu::TaskManagement(request), &[]);
        match b.take().pop() {
            Some((Response::TaskManagement { response, .. }, _)) => response,
            other => panic!("{other:?}"),
        }
    };
    let itt = b.start(write10(0, 1), true, 512, true, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
    assert_eq!(manage(&mut b, 1, itt, [0; 8]), 0);
    b.data_out(itt, ttt, 0, 0, true, &[1; 512]);
    assert!(b.got.is_empty());
    assert_eq!(manage(&mut b, 1, itt, [0; 8]), 1);
    assert_eq!(manage(&mut b, 5, 0, [0, 1, 0, 0, 0, 0, 0, 0]), 2);
    assert_eq!(manage(&mut b, 8, 0, [0; 8]), 4);
    assert_eq!(manage(&mut b, 99, 0, [0; 8]), 255);
    // Another session's reset aborts what this one has begun.
    let itt = b.start(write10(0, 1), true, 512, true, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
    b.unit.attach("other".into()).reset(crate::iscsi::scsi::Sense::RESET);
    b.data_out(itt, ttt, 0, 0, true, &[1; 512]);
    assert!(b.got.is_empty());
    assert_eq!(b.command([0; 16], false, 0, &[]), (2, Some((6, 0x2903))));
    assert!(b.disk.data.lock().unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn pings_are_answered_and_signs_of_life_are_not() {
    let mut b = bench();
    b.session("");
    let nop = |itt| NopOut { immediate: true, lun: [0; 8], itt, ttt: NO_TAG, cmd_sn: 0, exp_stat_sn: 0 };
    b.send(&Pdu::NopOut(nop(3)), b"ping");
    assert!(matches!(&b.take()[..], [(Response::NopIn { itt: 3, ttt: NO_TAG, .. }, data)] if data == b"ping"));
    b.send(&Pdu::NopOut(nop(NO_TAG)), &[]);
    assert!(b.got.is_empty() && !b.closed);
}

#[test]
fn what_is_not_supported_is_rejected_but_firmware_only_sees_the_end() {
    let snack = Pdu::Snack(Snack { kind: 0, lun: [0; 8], itt: 1, ttt: 0, exp_stat_sn: 0, begin: 0, run: 0 });
    let mut b = bench();
    b.session("");
    b.send(&snack, &[]);
    assert!(matches!(&b.take()[..], [(Response::Reject { reason: 3, .. }, data)] if data.len() == BHS));
    let mut b = bench();
    b.isid = IPXE_ISID;
    b.session("");
    b.send(&snack, &[]);
    assert!(b.got.is_empty() && b.closed);
    assert!(matches!(b.events.last(), Some(EventKind::IscsiEnded { .. })));
}

#[test]
fn targets_are_listed_in_pieces_that_the_initiator_takes() {
    let mut b = bench();
    let keys = "InitiatorName=iqn.i SessionType=Discovery HeaderDigest=CRC32C,None MaxRecvDataSegmentLength=512";
    let (status, _, keys) = b.login(1, Some(3), keys);
    assert_eq!((status, value(&keys, "HeaderDigest").as_deref()), (0, Some("None")));
    let (mut listed, mut ttt, mut data) = (Vec::new(), NO_TAG, &b"SendTargets=All\0"[..]);
    loop {
        let request =
            Text { immediate: true, last: true, more: false, lun: [0; 8], itt: 4, ttt, cmd_sn: 0, exp_stat_sn: 0 };
        b.send(&Pdu::Text(request), data);
        let Some((Response::Text { last, ttt: next, .. }, piece)) = b.take().pop() else { panic!("no text") };
        assert!(piece.len() <= 512);
        listed.extend_from_slice(&piece);
        (ttt, data) = (next, &[]);
        if last {
            break;
        }
    }
    let text = String::from_utf8(listed).unwrap();
    assert_eq!(text.matches("TargetName=iqn.").count(), 200);
    assert_eq!(text.matches("TargetAddress=192.0.2.1:3260,1\0").count(), 200);
    // No commands in a discovery session.
    b.start([0; 16], false, 0, true, &[]);
    assert!(matches!(b.take()[..], [(Response::Reject { reason: 4, .. }, _)]));
}

#[test]
fn a_session_ends_with_its_logout_and_says_how_much_it_moved() {
    let mut b = bench();
    b.session("");
    assert_eq!(b.command(read10(0, 4), false, 2048, &[]).0, 0);
    assert_eq!(b.command(read10(0, 4), false, 2048, &[]).0, 0);
    let logout = Logout { immediate: true, reason: 0, itt: 6, cid: 0, cmd_sn: 0, exp_stat_sn: 0 };
    b.send(&Pdu::Logout(logout), &[]);
    assert!(matches!(b.take()[..], [(Response::Logout { response: 0, .. }, _)]));
    assert!(b.closed);
    let read = b.events.iter().filter_map(|e| match e {
        EventKind::IscsiProgress { read, .. } => Some(*read),
        _ => None,
    });
    // At most four a second: the second read is only told at the end.
    assert_eq!(read.collect::<Vec<_>>(), [2048, 4096]);
    assert!(matches!(b.events.last(), Some(EventKind::IscsiEnded { .. })));
}

#[test]
fn digests_are_checked_and_made() {
    let mut b = bench();
    b.login(1, Some(3), &format!("{NAMES} HeaderDigest=CRC32C DataDigest=CRC32C"));
    assert!(b.connection.framing().header_digest && b.connection.framing().data_digest);
    b.framing = b.connection.framing();
    assert_eq!(b.command([0; 16], false, 0, &[]).0, 2);
    b.input(Input::Broken(FrameError::DataDigest));
    assert!(b.closed);
}

#[test]
fn compare_and_write_writes_only_what_compared() {
    let mut b = bench();
    b.session("");
    let mut cdb = [0; 16];
    (cdb[0], cdb[13]) = (0x89, 1);
    let data = [vec![0; 512], vec![7; 512]].concat();
    assert_eq!(b.command(cdb, true, 1024, &data), (0, None));
    assert_eq!(b.command(cdb, true, 1024, &data), (2, Some((0xe, 0x1d00))));
    assert_eq!(b.disk.data.lock().unwrap()[..512], [7; 512]);
}

#[test]
fn a_reservation_keeps_others_out_until_its_session_ends() {
    let mut b = bench();
    b.session("");
    let other = b.unit.attach("other".into());
    let mut cdb = [0; 16];
    cdb[0] = 0x16;
    let _ = other.begin(&[0; 16]);
    assert_eq!(other.begin(&cdb), crate::iscsi::scsi::Action::Status(crate::iscsi::scsi::Status::Good));
    assert_eq!(b.command(read10(0, 1), false, 512, &[]).0, 0x18);
    drop(other);
    assert_eq!(b.command(read10(0, 1), false, 512, &[]).0, 0);
}

/// Any stream of bytes, cut as the service does.
fn feed(b: &mut Bench, stream: &[u8]) {
    let mut rest = stream;
    while !b.closed {
        match b.connection.framing().parse(rest) {
            Ok(Parsed::Pdu { raw, used }) => {
                b.input(Input::Pdu(raw));
                rest = &rest[used..];
            }
            Ok(Parsed::Need(_)) => return,
            Err(error) => b.input(Input::Broken(error)),
        }
        b.got.clear();
    }
}

fn any_pdu() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![0_u8, 1, 1, 1, 2, 3, 4, 5, 5, 6, 0x10, 0x3f]);
    (opcode, any::<[u8; 48]>(), prop::collection::vec(any::<u8>(), 0..600), 0_u32..4, any::<bool>()).prop_map(
        |(opcode, mut bhs, data, near, tame)| {
            bhs[0] = opcode | 0x40;
            bhs[4] = 0;
            if tame {
                // Within reach of real tasks, sizes and blocks.
                bhs[8..16].fill(0);
                bhs[16..20].copy_from_slice(&near.to_be_bytes());
                bhs[20..22].fill(0);
                bhs[40..43].fill(0);
            }
            let framing = Framing::login(u32::MAX);
            Frame::new(bhs, Payload::Owned(data), &framing).parts().concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_break_a_login(stream in prop::collection::vec(any_pdu(), 0..8)) {
        feed(&mut bench(), &stream.concat());
    }

    #[test]
    fn no_bytes_break_a_session(stream in prop::collection::vec(any_pdu(), 0..40)) {
        let mut b = bench();
        b.session("InitialR2T=No");
        feed(&mut b, &stream.concat());
        prop_assert!(b.connection.core.out.is_empty());
    }
}

#[test]
fn a_command_that_has_begun_never_waits_for_one_that_has_not() {
    let mut b = bench();
    b.session("InitialR2T=Yes ImmediateData=No MaxBurstLength=524288");
    let begun = b.start(write10(0, 2048), true, 1 << 20, true, &[]);
    let Some((Response::R2t { ttt, .. }, _)) = b.take().pop() else { panic!("no R2T") };
    for _ in 0..16 {
        b.start(write10(0, 2048), true, 1 << 20, true, &[]);
    }
    b.take();
    b.data_out(begun, ttt, 0, 0, false, &vec![1; 256 << 10]);
    b.data_out(begun, ttt, 1, 256 << 10, true, &vec![1; 256 << 10]);
    assert!(matches!(b.take().pop(), Some((Response::R2t { itt, offset: 524_288, .. }, _)) if itt == begun));
}
