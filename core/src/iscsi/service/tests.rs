//! Sockets and threads, with an initiator of a few lines.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::api::{EventKind, Reports, reports};
use crate::disks::{Allocation, BlockDevice};
use crate::iscsi::wire::request::{Login, Request, ScsiCommand};
use crate::iscsi::wire::response::Response;
use crate::iscsi::wire::{Frame, Framing, Parsed, Payload};
use crate::iscsi::{Grant, LoginRequest, Refusal};
use crate::net::testing::Loopback;

mod data;
mod stored;

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    flushed: AtomicUsize,
}

/// Panics when block 7 is read.
#[derive(Debug)]
struct Disk(Arc<Counts>);

impl Drop for Disk {
    fn drop(&mut self) {
        // As slow as a real one may be: who comes next has to wait.
        std::thread::sleep(Duration::from_millis(50));
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl BlockDevice for Disk {
    fn size(&self) -> u64 {
        1 << 20
    }
    fn readonly(&self) -> bool {
        false
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        assert_ne!(offset, 7 * 512, "a bug in a disk");
        buf.fill(0);
        Ok(())
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.0.flushed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn allocation(&self, _: u64) -> io::Result<(Allocation, u64)> {
        Ok((Allocation::Mapped, 512))
    }
}

#[derive(Debug, Default)]
struct OneAtATime(Arc<Counts>);

impl Gate for OneAtATime {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        Ok(Grant {
            who: Who::ip(login.peer),
            disk: "d".into(),
            scope: "s".into(),
            chap: None,
            serial: login.target.clone(),
            removable: false,
            boot: None,
            memory: None,
        })
    }
    fn open(&self, _: &LoginRequest, _: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        if self.0.open.fetch_add(1, Ordering::SeqCst) > 0 {
            self.0.open.fetch_sub(1, Ordering::SeqCst);
            return Err(Refusal::new(0x0301, "in use"));
        }
        Ok(Arc::new(Disk(self.0.clone())))
    }
    fn targets(&self, _: &str, _: IpAddr) -> Vec<String> {
        Vec::new()
    }
}

/// One disk for all sessions.
#[derive(Debug)]
struct Shared(Arc<dyn BlockDevice>);

impl Gate for Shared {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        OneAtATime::default().authorize(login)
    }
    fn open(&self, _: &LoginRequest, _: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        Ok(self.0.clone())
    }
    fn targets(&self, _: &str, _: IpAddr) -> Vec<String> {
        Vec::new()
    }
}

fn serving() -> (Service, Arc<Counts>, Reports) {
    let gate = OneAtATime::default();
    let counts = gate.0.clone();
    let (service, reports) = serve(gate);
    (service, counts, reports)
}

fn sharing(disk: Arc<dyn BlockDevice>) -> (Service, Reports) {
    serve(Shared(disk))
}

fn serve<G: Gate>(gate: G) -> (Service, Reports) {
    let (reporter, reports) = reports();
    let binds = vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)];
    let config = Config { binds, ports: Arc::new(Loopback), gate: Arc::new(gate), reporter, tap: <_>::default() };
    (start(config).unwrap(), reports)
}

struct Initiator {
    stream: TcpStream,
    buffer: VecDeque<u8>,
    cmd_sn: u32,
}

impl Initiator {
    fn connect(service: &Service) -> Self {
        let stream = TcpStream::connect(service.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, buffer: VecDeque::new(), cmd_sn: 1 }
    }

    fn send(&mut self, request: &Request, data: &[u8]) {
        let payload = Payload::Owned(data.to_vec());
        let frame = Frame::new(request.encode().unwrap(), payload, &Framing::login(u32::MAX));
        self.stream.write_all(&frame.parts().concat()).unwrap();
    }

    /// The next PDU, or `None` at the end of the connection.
    fn receive(&mut self) -> Option<Response> {
        loop {
            let bytes = self.buffer.make_contiguous();
            if let Ok(Parsed::Pdu { raw, used }) = Framing::login(u32::MAX).parse(bytes) {
                let response = Response::decode(raw.bhs);
                self.buffer.drain(..used);
                return response;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.buffer.extend(&chunk[..n]),
            }
        }
    }

    fn login(&mut self, isid: u8) -> u16 {
        self.login_with(isid, "")
    }

    /// With further keys, each ended by a zero byte.
    fn login_with(&mut self, isid: u8, keys: &str) -> u16 {
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
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
        };
        let text = format!("InitiatorName=iqn.i\0TargetName=iqn.t\0{keys}");
        self.send(&Request::Login(login), text.as_bytes());
        match self.receive() {
            Some(Response::Login { status, .. }) => status,
            other => panic!("{other:?}"),
        }
    }

    fn command(&mut self, cdb: &[u8], write: bool, expected: u32, data: &[u8]) -> Option<Response> {
        let command = self.request(cdb, write, expected);
        self.send(&command, data);
        self.receive()
    }

    fn request(&mut self, cdb: &[u8], write: bool, expected: u32) -> Request {
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
        Request::Command(command)
    }
}

fn until(what: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < limit, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_second_login_replaces_the_first_after_it_has_let_go_of_its_disk() {
    let (service, counts, _reports) = serving();
    let mut first = Initiator::connect(&service);
    assert_eq!(first.login(1), 0);
    let mut second = Initiator::connect(&service);
    // The disk can be opened once: that this works shows that the older session was closed, and waited for.
    assert_eq!(second.login(1), 0);
    assert!(first.receive().is_none());
    // Another session of the same initiator does not replace it; the gate says no.
    assert_eq!(Initiator::connect(&service).login(2), 0x0301);
    assert_eq!(service.sessions().len(), 1);
    service.stop();
    assert_eq!(counts.open.load(Ordering::SeqCst), 0);
}

#[test]
fn another_port_is_opened_beside_the_former_and_sessions_go_on() {
    let (mut service, counts, _reports) = serving();
    let mut first = Initiator::connect(&service);
    assert_eq!(first.login(1), 0);
    service.listen_also(&Loopback, &[(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)]).unwrap();
    assert_eq!(service.addresses().len(), 2);
    assert!(first.command(&[0; 6], false, 0, &[]).is_some(), "it goes on");
    // The same initiator by the other port: its session is one and the same, so that its disk is let go of before.
    let stream = TcpStream::connect(service.addresses()[1]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut second = Initiator { stream, buffer: VecDeque::new(), cmd_sn: 1 };
    assert_eq!(second.login(1), 0);
    service.stop();
    assert_eq!(counts.open.load(Ordering::SeqCst), 0, "both ports end");
}

#[tokio::test]
async fn stopping_flushes_what_was_written_and_closes_every_disk() {
    let (service, counts, mut reports) = serving();
    let mut initiator = Initiator::connect(&service);
    assert_eq!(initiator.login(1), 0);
    let _attention = initiator.command(&[0], false, 0, &[]);
    let write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let written = initiator.command(&write, true, 512, &[1; 512]);
    assert!(matches!(written, Some(Response::Scsi { status: 0, .. })), "{written:?}");
    assert_eq!(counts.flushed.load(Ordering::SeqCst), 0);
    let idle = Initiator::connect(&service);
    service.stop();
    drop(idle);
    assert_eq!((counts.flushed.load(Ordering::SeqCst), counts.open.load(Ordering::SeqCst)), (1, 0));
    let events = reports.next().await;
    let last = &events.last().unwrap().observation.kind;
    assert!(matches!(last, EventKind::IscsiEnded { reason, .. } if reason == "the engine stopped"), "{last:?}");
}

#[test]
fn a_panic_ends_its_own_connection_and_no_other() {
    let (service, counts, _reports) = serving();
    let mut unlucky = Initiator::connect(&service);
    assert_eq!(unlucky.login(1), 0);
    let _attention = unlucky.command(&[0], false, 0, &[]);
    assert!(unlucky.command(&[0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0], false, 512, &[]).is_none());
    until(|| counts.open.load(Ordering::SeqCst) == 0 && service.sessions().is_empty());
    let mut next = Initiator::connect(&service);
    assert_eq!(next.login(1), 0);
    service.stop();
}

#[test]
fn what_a_session_moved_is_told_before_its_end_whatever_that_is() {
    for block in [7, 0] {
        let (service, counts, reports) = serving();
        let mut initiator = Initiator::connect(&service);
        assert_eq!(initiator.login(1), 0);
        let _attention = initiator.command(&[0], false, 0, &[]);
        for _ in 0..2 {
            assert!(initiator.command(&[0x28, 0, 0, 0, 0, 0, 0, 0, 4, 0], false, 2048, &[]).is_some());
        }
        // Block 7 brings on a panic.
        initiator.command(&[0x28, 0, 0, 0, 0, block, 0, 0, 1, 0], false, 512, &[]);
        drop(initiator);
        until(|| counts.open.load(Ordering::SeqCst) == 0 && service.sessions().is_empty());
        service.stop();
        let told: Vec<Option<u64>> = reports
            .waiting()
            .iter()
            .filter_map(|reported| match reported.observation.kind {
                EventKind::IscsiProgress { read, .. } => Some(Some(read)),
                EventKind::IscsiEnded { .. } => Some(None),
                _ => None,
            })
            .collect();
        let all = if block == 7 { 4096 } else { 4608 };
        assert!(told.ends_with(&[Some(all), None]), "{told:?}");
        assert_eq!(told.iter().filter(|told| told.is_none()).count(), 1, "{told:?}");
    }
}

#[test]
fn a_session_can_be_ended_from_here() {
    let (service, _counts, _reports) = serving();
    let mut initiator = Initiator::connect(&service);
    assert_eq!(initiator.login(1), 0);
    let tsih = service.sessions()[0].tsih;
    assert!(service.end(tsih));
    assert!(initiator.receive().is_none());
    until(|| service.sessions().is_empty());
    assert!(!service.end(tsih));
    service.stop();
}
