//! One connection's thread.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::registry::{Key, Seat};
use super::{SessionInfo, Shared};
use crate::api::{EventKind, Observation, Who};
use crate::disks::BlockDevice;
use crate::iscsi::machine::{Connection, Ends, Input, Opened, Outgoing, Output, Request};
use crate::iscsi::scsi::{Buffers, Done, Identity, Job, Task, Unit, execute};
use crate::iscsi::wire::Parsed;
use crate::iscsi::{Gate, Grant, LoginRequest, Refusal};
use crate::machine::{Machine, Now, Ticket};

/// Input buffer at first, and once a session moves data.
const SMALL: usize = 16 << 10;
const LARGE: usize = 128 << 10;

/// Serves a connection until it ends, however that is.
#[allow(clippy::needless_pass_by_value, reason = "the stream is closed at the end")]
pub(super) fn serve<G: Gate>(shared: &Arc<Shared<G>>, stream: TcpStream, peer: SocketAddr, id: u64) {
    let mut worker = None;
    let served = catch_unwind(AssertUnwindSafe(|| {
        if let Some(worker) = Worker::new(shared, &stream, peer, id, &mut worker) {
            worker.run();
        }
    }));
    if served.is_err() {
        let panicked = worker.as_ref().and_then(|w| w.session.as_ref());
        let (target, session) = panicked.map(|s| (s.target.clone(), s.seat.tsih)).unwrap_or_default();
        let reason = "an error inside Bootyard ended this connection; please report it".to_owned();
        let kind = EventKind::IscsiEnded { target, session, reason };
        shared.reporter.report(Now::read(), Observation::of(Who::ip(peer.ip()), kind));
    }
    // Closing may write to the disk, whose code may panic too.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if let Some(worker) = worker {
            worker.close();
        }
    }));
    let _ = stream.shutdown(Shutdown::Both);
    shared.registry.disconnected(id);
}

/// What a logged-in session holds.
struct Held {
    target: String,
    who: Who,
    disk: Option<Arc<dyn BlockDevice>>,
    unit: Option<Arc<Unit>>,
    /// Something was written since the last flush.
    dirty: bool,
    seat: Seat,
}

struct Worker<'a, G> {
    shared: &'a Shared<G>,
    stream: &'a TcpStream,
    peer: SocketAddr,
    id: u64,
    connection: Option<Connection>,
    session: Option<Held>,
    batch: Batch,
    buffers: Buffers,
    now: Now,
    /// The session's last words, told when its disk is closed.
    ended: Vec<Observation>,
    timeout: Option<Duration>,
}

/// How a connection came to its end.
type End = Result<(), String>;

impl<'a, G: Gate> Worker<'a, G> {
    fn new<'w>(
        shared: &'a Shared<G>,
        stream: &'a TcpStream,
        peer: SocketAddr,
        id: u64,
        slot: &'w mut Option<Self>,
    ) -> Option<&'w mut Self> {
        let mut entropy = [0; 33];
        getrandom::fill(&mut entropy).ok()?;
        let local = stream.local_addr().ok()?;
        let now = Now::read();
        Some(slot.insert(Self {
            shared,
            stream,
            peer,
            id,
            connection: Some(Connection::new(now, Ends { peer, local, entropy })),
            session: None,
            batch: Batch::default(),
            buffers: Buffers::default(),
            now,
            ended: Vec::new(),
            timeout: None,
        }))
    }

    fn run(&mut self) {
        let end = self.pump();
        let reason = match (self.shared.registry.reason(self.id), end) {
            (Some(reason), _) => reason.to_owned(),
            (None, Err(reason)) => reason,
            (None, Ok(())) => return,
        };
        self.handle(Input::Gone(&reason));
        // There may be nobody to read it any more.
        let _ = self.drain();
    }

    /// Reads, handles, writes, until the connection is done.
    fn pump(&mut self) -> End {
        let mut buffer = vec![0; SMALL];
        let (mut start, mut end) = (0, 0);
        loop {
            let need = loop {
                let Some(connection) = &mut self.connection else { return Ok(()) };
                let filled = buffer.get(start..end).unwrap_or_default();
                match connection.framing().parse(filled) {
                    Ok(Parsed::Need(need)) => break need,
                    Ok(Parsed::Pdu { raw, used }) => {
                        connection.handle(self.now, Input::Pdu(raw));
                        start += used;
                    }
                    Err(error) => connection.handle(self.now, Input::Broken(error)),
                }
                if self.drain()? {
                    return Ok(());
                }
            };
            self.flush()?;
            if start > 0 {
                buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
            }
            let wanted = need.max(if self.session.is_some() { LARGE } else { SMALL });
            if buffer.len() < wanted {
                buffer.resize(wanted.next_power_of_two(), 0);
            }
            end += self.read(buffer.get_mut(end..).unwrap_or_default())?;
        }
    }

    /// Waits for bytes; sees to deadlines meanwhile.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, String> {
        loop {
            let deadline = self.connection.as_ref().and_then(Machine::deadline);
            let timeout = deadline.map(|at| at.saturating_sub(Now::read().boot).max(Duration::from_millis(1)));
            // Changed only where it matters: a timeout that comes too early does no harm.
            let early =
                matches!((timeout, self.timeout), (Some(new), Some(old)) if old <= new.max(Duration::from_millis(250)));
            if timeout.is_some() != self.timeout.is_some() || timeout.is_some() && !early {
                self.stream.set_read_timeout(timeout).map_err(|error| error.to_string())?;
                self.timeout = timeout;
            }
            let mut stream = self.stream;
            match stream.read(into) {
                Ok(0) => return Err("the initiator closed the connection".into()),
                Ok(n) => {
                    self.now = Now::read();
                    if let Some(Held { unit: Some(unit), disk: Some(disk), .. }) = &self.session {
                        unit.resized(disk.size());
                    }
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    self.now = Now::read();
                    self.handle(Input::Tick);
                    if self.drain()? {
                        return Err("the login took too long".into());
                    }
                    self.flush()?;
                }
                Err(error) => return Err(format!("the connection was lost: {error}")),
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.handle(self.now, input);
        }
    }

    /// Carries out what the machine wants; whether the connection is over.
    fn drain(&mut self) -> Result<bool, String> {
        while let Some(output) = self.connection.as_mut().and_then(Machine::poll) {
            match output {
                Output::Send(Outgoing::Pdu(frame)) => {
                    if self.batch.push(frame) {
                        self.flush()?;
                    }
                }
                Output::Send(Outgoing::Close) => {
                    self.flush()?;
                    return Ok(true);
                }
                Output::Persist(ticket, request) => self.answer(ticket, request),
                Output::Event(observation) => {
                    if matches!(observation.kind, EventKind::IscsiEnded { .. }) {
                        self.ended.push(observation);
                    } else {
                        self.shared.reporter.report(self.now, observation);
                    }
                }
                Output::SendRange { source, .. } => match source {},
            }
        }
        Ok(false)
    }

    fn flush(&mut self) -> End {
        let mut stream = self.stream;
        self.batch
            .flush(&mut stream, &mut self.buffers)
            .map_err(|error| format!("the connection was lost while sending: {error}"))
    }

    fn answer(&mut self, ticket: Ticket, request: Request) {
        match request {
            Request::Authorize(login) => {
                let answer = self.shared.gate.authorize(&login);
                self.handle(Input::Authorized(ticket, answer));
            }
            Request::Open { login, grant, isid } => {
                let answer = self.open(&login, grant, isid);
                self.handle(Input::Opened(ticket, answer));
            }
            Request::Targets { initiator } => {
                let targets = self.shared.gate.targets(&initiator, self.peer.ip());
                self.handle(Input::Targets(ticket, targets));
            }
            Request::EndOthers => {
                // A connection that is lost with this answer is closing anyway.
                let _ = self.flush();
                if let Some(held) = &self.session {
                    self.shared.registry.end_others(held.seat.tsih);
                }
            }
            Request::Run { job, data } => {
                let done = self.execute(&job, &data);
                self.handle(Input::Done(ticket, done));
            }
        }
    }

    fn execute(&mut self, task: &Task, data: &[u8]) -> Done {
        let Some(held) = &mut self.session else { return Done::Good };
        let (Some(disk), Some(unit)) = (&held.disk, &held.unit) else { return Done::Good };
        match &task.job {
            Job::Read { .. }
            | Job::Verify { .. }
            | Job::Allocation { .. }
            | Job::Remember { .. }
            | Job::Settle { .. } => {}
            Job::Flush => held.dirty = false,
            _ => held.dirty = true,
        }
        execute(task, data, unit, disk.as_ref(), &mut self.buffers)
    }

    /// Makes room for a session and opens its disk.
    fn open(&mut self, login: &LoginRequest, grant: Option<Grant>, isid: [u8; 6]) -> Result<Opened, Refusal> {
        let registry = &self.shared.registry;
        let Some(grant) = grant else {
            let seat = registry.seat(self.id, None)?;
            let tsih = seat.tsih;
            let who = Who::ip(self.peer.ip());
            self.session = Some(Held { target: String::new(), who, disk: None, unit: None, dirty: false, seat });
            return Ok(Opened { tsih, nexus: None });
        };
        let key =
            Key { scope: grant.scope.clone(), initiator: login.initiator.clone(), isid, target: login.target.clone() };
        let seat = registry.seat(self.id, Some(key))?;
        let disk = self.shared.gate.open(login, &grant)?;
        let identity = Identity {
            target: login.target.clone(),
            serial: grant.serial.clone(),
            removable: grant.removable,
            readonly: disk.readonly(),
        };
        let unit = registry.unit(seat.tsih, identity, disk.size(), grant.memory.as_deref())?;
        let isid: String = isid.iter().map(|b| format!("{b:02x}")).collect();
        let name = format!("{},i,0x{isid}", login.initiator.to_ascii_lowercase());
        let nexus = unit.attach(name);
        let tsih = seat.tsih;
        self.now = Now::read();
        registry.opened(SessionInfo {
            tsih,
            initiator: login.initiator.clone(),
            target: login.target.clone(),
            disk: grant.disk,
            who: grant.who.clone(),
            peer: self.peer,
            firmware: login.firmware,
            since: self.now,
        });
        self.session = Some(Held {
            target: login.target.clone(),
            who: grant.who,
            disk: Some(disk),
            unit: Some(unit),
            dirty: false,
            seat,
        });
        Ok(Opened { tsih, nexus: Some(nexus) })
    }

    /// Lets go of everything, the seat last: who waits for it may open the disk.
    fn close(mut self) {
        self.connection = None;
        let now = Now::read();
        if let Some(Held { target, who, disk, unit, dirty, seat }) = self.session.take() {
            drop(unit);
            if let Some(disk) = disk {
                if dirty && let Err(error) = disk.flush() {
                    let message = format!("the last writes could not be made durable: {error}");
                    let kind = EventKind::IscsiError { target, lba: 0, message };
                    self.shared.reporter.report(now, Observation::of(who, kind));
                }
                drop(disk);
            }
            drop(seat);
        }
        for observation in self.ended.drain(..) {
            self.shared.reporter.report(now, observation);
        }
    }
}
