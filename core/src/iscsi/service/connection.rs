//! One connection's thread: what it reads, hands to the machine and sends. [`held`] is what a logged-in session has besides.

mod held;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Shared;
use super::batch::{Batch, Sent, Unsent};
use crate::api::{EventKind, Observation, Who};
use crate::iscsi::Gate;
use crate::iscsi::machine::{Connection, Ends, Input, Landing, Outgoing, Output, Request};
use crate::iscsi::scsi::{BLOCK, Buffers, Done, Job, Task};
use crate::iscsi::wire::{BHS, Parsed, Raw};
use crate::machine::{Machine, Now, Ticket};
use crate::net::{boot_time, give_memory_back};
use crate::trace::own;
use held::{Disk, Held};

/// Input buffer at first, and once a session's data fill it.
const SMALL: usize = 16 << 10;
const LARGE: usize = 128 << 10;
/// Data of a PDU from this many bytes on are read straight to their place.
const LANDING: usize = 16 << 10;
/// After this time without a PDU a session gives its buffers back.
const IDLE: Duration = Duration::from_secs(1);
/// With so many bytes in them it does not: to be woken for that costs a timer with every wait.
const MODEST: usize = 64 << 10;
/// So much may the wall time of an event be late.
const WALL: Duration = Duration::from_millis(10);
/// How often a command that waits for a sanitize operation looks for its end.
const SANITIZING: Duration = Duration::from_millis(50);
/// A wait that ends so early is never worth a system call to make it longer.
const EARLY: Duration = Duration::from_millis(250);

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
        let panicked = worker.as_mut().and_then(|w| w.session.as_mut());
        let told = |held: &mut Held| {
            held.counted = None;
            (held.target.clone(), held.seat.tsih)
        };
        let (target, session) = panicked.map(told).unwrap_or_default();
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
    give_memory_back();
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
    /// When something came last, and whether it has buffers since.
    heard: Duration,
    busy: bool,
    /// Bytes that have come behind the PDU at hand.
    behind: usize,
    /// Commands whose sanitize operation goes on.
    waiting: Vec<(Ticket, Receiver<Done>)>,
    /// When the clock on the wall was read.
    walled: Duration,
    /// Is told what is read and written.
    tap: own::Connection,
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
            heard: now.boot,
            busy: false,
            behind: 0,
            waiting: Vec::new(),
            walled: now.boot,
            tap: shared.tap.connection(local, peer, own::Speech::Iscsi),
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
        // After much data comes a header, and after that perhaps more of them, which are best read to their place.
        let mut header_next = false;
        let mut filled_up = false;
        loop {
            let need = loop {
                let Some(connection) = &mut self.connection else { return Ok(()) };
                let filled = buffer.get(start..end).unwrap_or_default();
                let framing = connection.framing();
                match framing.parse(filled) {
                    Ok(Parsed::Need(need)) => {
                        let head = framing.head(filled, LANDING);
                        let landing =
                            head.and_then(|(raw, at, len)| Some((raw, at, len, connection.landing(raw, len)?)));
                        let Some((raw, at, len, landing)) = landing else { break need };
                        self.tap.received(filled, at + len);
                        self.land(raw, landing, filled.get(at..).unwrap_or_default())?;
                        (start, end) = (0, 0);
                        header_next = true;
                    }
                    Ok(Parsed::Pdu { raw, used }) => {
                        self.tap.received(filled.get(..used).unwrap_or_default(), used);
                        self.behind = filled.len().saturating_sub(used);
                        let mut disk = Disk {
                            held: self.session.as_ref(),
                            buffers: &mut self.buffers,
                            others: self.batch.len() + self.behind / BHS,
                        };
                        connection.handle(self.now, Input::Pdu(raw, &mut disk));
                        start += used;
                    }
                    Err(error) => {
                        self.tap.received(filled, filled.len());
                        connection.handle(self.now, Input::Broken(error));
                    }
                }
                if self.drain()? {
                    return Ok(());
                }
            };
            self.flush()?;
            if self.session.is_some() {
                self.shared.progress.moved();
            }
            if start < end {
                buffer.copy_within(start..end, 0);
            }
            (start, end) = (0, end - start);
            let wanted = need.max(if filled_up && self.session.is_some() { LARGE } else { SMALL });
            if buffer.len() < wanted {
                buffer.resize(wanted.next_power_of_two(), 0);
            }
            let until = if std::mem::take(&mut header_next) && end == 0 { need } else { buffer.len() };
            let may_rest = end == 0 && self.spare() + buffer.len() > MODEST;
            match self.read(buffer.get_mut(end..until).unwrap_or_default(), false, may_rest)? {
                Some(n) => {
                    end += n;
                    filled_up = end == buffer.len();
                }
                None => {
                    buffer = vec![0; SMALL];
                    filled_up = false;
                    give_memory_back();
                }
            }
        }
    }

    /// Reads the rest of a PDU's data to their place; `there` has come already.
    fn land(&mut self, raw: Raw<'_>, mut landing: Landing, there: &[u8]) -> End {
        // Who sends much may wait for what was said before.
        self.flush()?;
        let (first, mut rest) = landing.space().split_at_mut_checked(there.len()).unwrap_or_default();
        first.copy_from_slice(there);
        while !rest.is_empty() {
            if let Some(n) = self.read(rest, true, false)? {
                rest = rest.get_mut(n..).unwrap_or_default();
            }
        }
        if let Some(connection) = &mut self.connection {
            let mut disk = Disk { held: self.session.as_ref(), buffers: &mut self.buffers, others: self.batch.len() };
            connection.handle(self.now, Input::Landed(raw, landing, &mut disk));
        }
        Ok(())
    }

    /// Bytes that only speed wants.
    fn spare(&self) -> usize {
        self.buffers.bytes() + self.batch.spare() + self.connection.as_ref().map_or(0, Connection::spare)
    }

    /// Reads the clock; that of the wall, which only people see, not for every PDU.
    fn tick(&mut self) {
        let boot = boot_time();
        if boot.saturating_sub(self.walled) < WALL {
            self.now.boot = boot;
        } else {
            self.now = Now::read();
            self.walled = boot;
        }
    }

    /// When [`Worker::read`] must come back if nothing arrives. Changed only where it matters: too early does no harm.
    fn set_timeout(&mut self, may_rest: bool) -> End {
        let deadline = self.connection.as_ref().and_then(Machine::deadline);
        let sanitizing = !self.waiting.is_empty();
        let wanted = deadline.is_some() || may_rest || sanitizing;
        let early = if sanitizing { SANITIZING } else { EARLY };
        if self.timeout.is_some() == wanted && self.timeout.is_none_or(|old| old <= early) {
            return Ok(());
        }
        let deadline = deadline.map(|at| at.saturating_sub(boot_time()).max(Duration::from_millis(1)));
        let idle = may_rest.then_some(IDLE);
        let timeout = deadline.into_iter().chain(idle).chain(sanitizing.then_some(SANITIZING)).min();
        let early = matches!((timeout, self.timeout), (Some(new), Some(old)) if old <= new);
        if !early && self.timeout != timeout {
            self.stream.set_read_timeout(timeout).map_err(|error| error.to_string())?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// Waits for bytes, for all of them where `whole` says so; sees to deadlines meanwhile. `None` if none came for a while and memory
    /// was given back, which `may_rest` allows.
    fn read(&mut self, into: &mut [u8], whole: bool, may_rest: bool) -> Result<Option<usize>, String> {
        loop {
            if !self.waiting.is_empty() {
                self.sanitized();
                self.drain()?;
                self.flush()?;
            }
            self.set_timeout(may_rest && self.busy)?;
            match recv(self.stream, &mut *into, if whole { RecvFlags::WAITALL } else { RecvFlags::empty() }) {
                Ok((0, _)) => {
                    self.tap.closed();
                    return Err("the initiator closed the connection".into());
                }
                Ok((n, _)) => {
                    self.tick();
                    (self.heard, self.busy) = (self.now.boot, true);
                    if let Some(Held { unit: Some(unit), disk: Some(disk), .. }) = &self.session {
                        unit.resized(disk.size());
                    }
                    return Ok(Some(n));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::TIMEDOUT) => {
                    if self.nothing_came(may_rest)? {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    self.tap.reset(false);
                    return Err(format!("the connection was lost: {}", std::io::Error::from(error)));
                }
            }
        }
    }

    /// Sees to deadlines; whether memory was given back.
    #[cold]
    fn nothing_came(&mut self, may_rest: bool) -> Result<bool, String> {
        self.tick();
        self.handle(Input::Tick);
        if self.drain()? {
            return Err("the login took too long".into());
        }
        self.flush()?;
        let rested = self.now.boot.saturating_sub(self.heard) >= IDLE && self.session.is_some();
        if !(may_rest && self.busy && rested) {
            return Ok(false);
        }
        self.busy = false;
        self.buffers.clear();
        self.batch.rest();
        if let Some(connection) = &mut self.connection {
            connection.rest();
        }
        Ok(true)
    }

    fn handle(&mut self, input: Input<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.handle(self.now, input);
        }
    }

    /// Carries out what the machine wants; whether the connection is over.
    fn drain(&mut self) -> Result<bool, String> {
        while let Some(output) = self.connection.as_mut().and_then(Machine::poll) {
            if self.carry_out(output)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Carries out one of them; whether the connection is over.
    fn carry_out(&mut self, output: Output) -> Result<bool, String> {
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
            Output::Persist(ticket, request) => {
                // What is done already is told before anything that may take long.
                let quick =
                    matches!(&request, Request::Run { job: Task { job: Job::Write { durable: false, .. }, .. }, .. });
                if !quick {
                    self.flush()?;
                }
                self.answer(ticket, request);
            }
            Output::Event(observation) => {
                if matches!(observation.kind, EventKind::IscsiEnded { .. }) {
                    self.ended.push(*observation);
                } else {
                    self.shared.reporter.report(self.now, *observation);
                }
            }
            Output::SendRange { source, .. } => match source {},
        }
        Ok(false)
    }

    fn flush(&mut self) -> End {
        if self.tap.is_on() {
            self.batch.tell(&mut self.tap);
        }
        let sent = self.batch.flush(self.stream, &mut self.buffers);
        match sent {
            Ok(Sent::Well) => return Ok(()),
            Ok(Sent::Copied) | Err(Unsent::Disk { .. }) => self.send_stored_no_more(),
            Err(Unsent::Connection(_)) => {}
        }
        sent.map(|_| ()).map_err(|error| {
            let reason = error.to_string();
            if let (Unsent::Disk { offset, .. }, Some(held)) = (&error, &self.session) {
                let kind =
                    EventKind::IscsiError { target: held.target.clone(), lba: offset / BLOCK, message: reason.clone() };
                self.shared.reporter.report(self.now, Observation::of(held.who.clone(), kind));
            }
            reason
        })
    }

    fn answer(&mut self, ticket: Ticket, request: Request) {
        match request {
            Request::Authorize(login) => {
                let answer = self.shared.gate.authorize(&login).map(Box::new);
                self.handle(Input::Authorized(ticket, answer));
            }
            Request::Open { login, grant, isid } => {
                let answer = self.open(&login, grant.map(|grant| *grant), isid);
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
            Request::Sanitize { order, begun, immediate } => {
                if let Some(done) = self.sanitize(ticket, &order, &begun, immediate) {
                    self.handle(Input::Done(ticket, done));
                }
            }
            Request::Run { job, data } => {
                let done = self.execute(&job, &data);
                if let Some(connection) = &mut self.connection {
                    connection.recycle(data);
                }
                self.handle(Input::Done(ticket, done));
            }
        }
    }
}
