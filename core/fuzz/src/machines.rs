//! Targets that drive a machine, with everything around it in memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bootyard_core::api::{EventKind, Who};
use bootyard_core::disks::{Allocation, BlockDevice};
use bootyard_core::iscsi::Grant;
use bootyard_core::iscsi::machine::{Connection, Ends, Input, Landing, Opened, Outgoing, Request};
use bootyard_core::iscsi::scsi::{Buffers, Identity, Reader, Unit, execute};
use bootyard_core::iscsi::wire::request::{Login, Request as Pdu};
use bootyard_core::iscsi::wire::{Parsed, Raw};
use bootyard_core::machine::{Machine, Now, Output};
use bootyard_core::tftp::machine::{Input as TftpInput, Transfer};
use bootyard_core::tftp::wire::{Packet, decode};

const SECTOR: u64 = 512;
const SIZE: usize = 64 * 1024;

/// A disk in memory.
#[derive(Debug)]
struct Disk(Mutex<Vec<u8>>);

impl Disk {
    fn with<T>(&self, offset: u64, len: u64, act: impl FnOnce(&mut [u8]) -> T) -> io::Result<T> {
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut data = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (offset, end) = (usize::try_from(offset).unwrap_or(SIZE), usize::try_from(end).unwrap_or(usize::MAX));
        Ok(act(data.get_mut(offset..end).ok_or(io::ErrorKind::InvalidInput)?))
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
        self.with(offset, buf.len() as u64, |part| buf.copy_from_slice(part))
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.with(offset, buf.len() as u64, |part| part.copy_from_slice(buf))
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, offset: u64, len: u64, _: bool) -> io::Result<()> {
        self.with(offset, len, |part| part.fill(0))
    }
    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        self.with(offset, SECTOR, |_| (Allocation::Mapped, SECTOR))
    }
}

/// The end that serves a connection.
struct Target {
    connection: Connection,
    unit: std::sync::Arc<Unit>,
    disk: Disk,
    buffers: Buffers,
    closed: bool,
}

impl Target {
    fn give(&mut self, now: Now, input: Input<'_>) {
        self.connection.handle(now, input);
        self.outputs(now);
    }

    fn pdu(&mut self, now: Now, raw: Raw<'_>, landing: Option<Landing>) {
        let mut disk = Reader { unit: &self.unit, disk: &self.disk, buffers: &mut self.buffers };
        let input = match landing {
            Some(landing) => Input::Landed(raw, landing, &mut disk),
            None => Input::Pdu(raw, &mut disk),
        };
        self.connection.handle(now, input);
        self.outputs(now);
    }

    fn outputs(&mut self, now: Now) {
        while let Some(output) = self.connection.poll() {
            assert!(!self.closed, "something follows the end of the connection");
            let answer = match output {
                Output::Send(Outgoing::Pdu(frame)) => {
                    let bytes: usize = frame.parts().iter().map(|part| part.len()).sum();
                    assert!(bytes >= 48 && bytes.is_multiple_of(4), "a PDU of {bytes} bytes");
                    continue;
                }
                Output::Send(Outgoing::Close) => {
                    self.closed = true;
                    continue;
                }
                Output::Event(_) => continue,
                Output::SendRange { source, .. } => match source {},
                Output::Persist(ticket, Request::Authorize(_)) => Input::Authorized(ticket, Ok(Box::new(grant()))),
                Output::Persist(ticket, Request::Open { grant, .. }) => {
                    let nexus = grant.map(|_| self.unit.attach("iqn.i".into()));
                    Input::Opened(ticket, Ok(Opened { tsih: 9, nexus, moved: std::sync::Arc::default() }))
                }
                Output::Persist(ticket, Request::Targets { .. }) => Input::Targets(ticket, vec!["iqn.t".into(); 20]),
                Output::Persist(_, Request::EndOthers) => continue,
                // Without a memory it is never offered.
                Output::Persist(_, Request::Sanitize { .. }) => panic!("a sanitize operation without a memory"),
                Output::Persist(ticket, Request::Run { job, data }) => {
                    Input::Done(ticket, execute(&job, &data, &self.unit, &self.disk, &mut self.buffers))
                }
            };
            self.connection.handle(now, answer);
        }
    }
}

fn grant() -> Grant {
    Grant {
        who: Who::default(),
        disk: "d".into(),
        scope: "s".into(),
        chap: None,
        serial: "s".into(),
        removable: false,
        memory: None,
        boot: None,
    }
}

/// One connection. The first byte: 1 begins it after a login, 2 lets a long time pass after each PDU, 4 has
/// data land in their place. The rest is the stream.
pub(crate) fn iscsi(data: &[u8]) {
    let Some((&options, mut stream)) = data.split_first() else { return };
    let any = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ends = Ends { peer: (any, 40000).into(), local: (any, 3260).into(), entropy: [7; 33] };
    let identity = Identity {
        target: "iqn.t".into(),
        serial: "s".into(),
        removable: false,
        readonly: false,
        medium: None,
        atomic: 0,
    };
    let mut now = Duration::ZERO;
    let mut target = Target {
        connection: Connection::new(Now::at(now), ends),
        unit: Unit::new(identity, SIZE as u64),
        disk: Disk(Mutex::new(vec![0; SIZE])),
        buffers: Buffers::default(),
        closed: false,
    };
    if options & 1 != 0 {
        let login = Login {
            transit: true,
            more: false,
            stage: 1,
            next: 3,
            version_max: 0,
            version_min: 0,
            isid: [0x80, 1, 2, 3, 0, 0],
            tsih: 0,
            itt: 0,
            cid: 0,
            cmd_sn: 0,
            exp_stat_sn: 0,
        };
        let keys = b"InitiatorName=iqn.i\0TargetName=iqn.t\0SessionType=Normal\0InitialR2T=No\0ImmediateData=Yes\0";
        if let Some(bhs) = Pdu::Login(login).encode() {
            target.pdu(Now::at(now), Raw { bhs: &bhs, ahs: &[], data: keys }, None);
        }
        assert!(!target.closed && target.connection.framing().max_data > 8192, "the login failed");
    }
    loop {
        match target.connection.framing().parse(stream) {
            Ok(Parsed::Pdu { raw, used }) => {
                let bare = Raw { data: &[], ..raw };
                let lands = options & 4 != 0 && raw.ahs.is_empty() && !raw.data.is_empty();
                match lands.then(|| target.connection.landing(bare, raw.data.len())).flatten() {
                    Some(mut landing) => {
                        landing.space().copy_from_slice(raw.data);
                        target.pdu(Now::at(now), bare, Some(landing));
                    }
                    None => target.pdu(Now::at(now), raw, None),
                }
                stream = stream.get(used..).unwrap_or_default();
            }
            Ok(Parsed::Need(_)) => break,
            Err(error) => {
                target.give(Now::at(now), Input::Broken(error));
                break;
            }
        }
        if options & 2 != 0 {
            now += Duration::from_secs(4);
            target.give(Now::at(now), Input::Tick);
        }
        if target.closed {
            break;
        }
    }
    target.give(Now::at(now), Input::Gone("the stream ended"));
    assert!(target.closed && target.connection.deadline().is_none());
}

/// One transfer. Two bytes: the file's size; then a request packet with its length before it; then what happens: tens of milliseconds
/// that pass, and 0 for a due timer, 1 for the request again, 2 for another request, 3 for a broken file, or 4 more than the length
/// of the packet that follows.
pub(crate) fn tftp(data: &[u8]) {
    let [high, low, len, rest @ ..] = data else { return };
    let Some((packet, mut rest)) = rest.split_at_checked(usize::from(*len)) else { return };
    let Ok(Packet::Rrq(request)) = decode(packet) else { return };
    let total = u64::from(u16::from_be_bytes([*high, *low]));
    let mut transfer = Transfer::new(Who::ip(Ipv4Addr::LOCALHOST), "f".into(), total, &request);
    let mut now = Duration::ZERO;
    let mut ends = 0;
    let mut give = |transfer: &mut Transfer, now: Duration, input: TftpInput<'_>| {
        transfer.handle(Now::at(now), input);
        while let Some(output) = transfer.poll() {
            match output {
                Output::Send(packet) => assert!(matches!(decode(&packet), Ok(Packet::Oack(_) | Packet::Error { .. }))),
                Output::SendRange { source, offset, len } => {
                    let most = u64::from(source.size) * u64::from(source.count);
                    assert!((1..=64).contains(&source.count) && len <= most && offset + len <= total);
                }
                Output::Event(observation) => {
                    let progress = matches!(observation.kind, EventKind::TftpProgress { .. });
                    ends += u32::from(!progress);
                }
                Output::Persist(_, never) => match never {},
            }
        }
    };
    give(&mut transfer, now, TftpInput::Start);
    while let [wait, what, after @ ..] = rest {
        now += Duration::from_millis(u64::from(*wait) * 10);
        rest = after;
        let input = match what {
            0 => TftpInput::Due,
            1 => TftpInput::Again,
            2 => TftpInput::Replaced,
            3 => TftpInput::Broken("it is gone"),
            len => {
                let len = usize::from(len - 4).min(rest.len());
                let (packet, after) = rest.split_at(len);
                rest = after;
                TftpInput::Packet(packet)
            }
        };
        give(&mut transfer, now, input);
    }
    let silent = now;
    while let Some(due) = transfer.deadline() {
        now = now.max(due);
        give(&mut transfer, now, TftpInput::Due);
        assert!(now <= silent + Duration::from_secs(61), "a silent client is never given up");
    }
    assert!(transfer.ended() && ends >= 1, "it must end, and tell how");
}
