//! One connection of the target, without socket and clock; of the disk it has what it is handed with a PDU, to read ([`Reads`]).
//!
//! [`Connection`] takes in PDUs and what its [`Request`]s came to, and says what to send and to do. A connection is first a
//! [`login`] ([`keys`] is the negotiation, [`chap`] the authentication) and then a [`session`] (full-feature phase: [`command`] is
//! SCSI commands and their data, [`landing`] where these come to lie, [`control`] the rest). [`core`] is what both share: numbers, framing and the queue of outputs.

mod chap;
mod command;
mod control;
mod core;
mod keys;
mod landing;
mod login;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::keys::Params;
pub use self::landing::Landing;
use self::{core::Core, login::Login, session::Session};
use super::scsi::{Begun, Data, Done, Nexus, Reads, Sanitize, Task};
use super::wire::{Frame, FrameError, Framing, Raw};
use super::{Grant, LoginRequest, Refusal};
use crate::machine::{self, Now, Ticket};

/// Longest data segment that we take in full-feature phase, bytes: what we declare.
pub const MAX_RECV: u32 = 256 << 10;
/// Longest data segment during login (RFC 7143 13.12).
const MAX_LOGIN_RECV: u32 = 8192;
/// A login that takes longer is dropped.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// A discovery session that takes longer is dropped.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// The ends of a connection, and what the machine cannot make by itself.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The initiator.
    pub peer: SocketAddr,
    /// Our own address, as SendTargets tells it.
    pub local: SocketAddr,
    /// Random bytes for one CHAP identifier and challenge.
    pub entropy: [u8; 33],
}

/// What can happen to a connection.
#[derive(Debug)]
pub enum Input<'a> {
    /// A PDU came. What it reads from the disk, it reads at once.
    Pdu(Raw<'a>, &'a mut dyn Reads),
    /// A PDU came, its data in the place that [`Connection::landing`] gave; here it has none.
    Landed(Raw<'a>, Landing, &'a mut dyn Reads),
    /// What came is no PDU.
    Broken(FrameError),
    /// Answer to [`Request::Authorize`]. Boxed: inputs are moved about, and most are PDUs.
    Authorized(Ticket, Result<Box<Grant>, Refusal>),
    /// Answer to [`Request::Open`].
    Opened(Ticket, Result<Opened, Refusal>),
    /// Answer to [`Request::Targets`].
    Targets(Ticket, Vec<String>),
    /// Answer to [`Request::Run`].
    Done(Ticket, Done),
    /// The deadline is due.
    Tick,
    /// The connection is gone, for this reason.
    Gone(&'a str),
}

/// A session that the service has made room for.
#[derive(Debug)]
pub struct Opened {
    /// Target session identifying handle; not 0.
    pub tsih: u16,
    /// The unit; none in a discovery session.
    pub nexus: Option<Nexus>,
    /// Counts what it moves.
    pub moved: Arc<Moved>,
}

/// Bytes that a session's commands have read and written: the session counts, the service tells people.
#[derive(Debug, Default)]
pub struct Moved {
    read: AtomicU64,
    written: AtomicU64,
}

impl Moved {
    /// Bytes read and bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    // Only its session counts, so nothing is lost between the two.
    pub(in crate::iscsi) fn read(&self, bytes: u64) {
        self.read.store(self.read.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    pub(in crate::iscsi) fn written(&self, bytes: u64) {
        self.written.store(self.written.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }
}

/// What the service must find out or do; it answers with the ticket.
#[derive(Debug)]
pub enum Request {
    /// Ask [`super::Gate::authorize`].
    Authorize(Box<LoginRequest>),
    /// End an older session of the same name, get a handle, open the disk. Without a grant: a discovery session.
    Open {
        /// Who.
        login: Box<LoginRequest>,
        /// The gate's answer.
        grant: Option<Box<Grant>>,
        /// Initiator's part of the session's name.
        isid: [u8; 6],
    },
    /// Ask [`super::Gate::targets`].
    Targets {
        /// `InitiatorName`.
        initiator: String,
    },
    /// The unit was reset cold: end the other sessions that have it open. Wants no answer; what is to be sent before goes first.
    EndOthers,
    /// Begin a sanitize operation ([`super::scsi::start_sanitize`]) and answer at once (`immediate`) or at its end, as of a job; other
    /// commands go on meanwhile.
    Sanitize {
        /// Which.
        order: Sanitize,
        /// By which command.
        begun: Begun,
        /// The status does not wait.
        immediate: bool,
    },
    /// Carry out a job with this data.
    Run {
        /// What, for which command.
        job: Task,
        /// The initiator's data for it; [`Connection::recycle`] takes them back.
        data: Data,
    },
}

/// What is sent.
#[derive(Debug, PartialEq)]
pub enum Outgoing {
    /// A PDU.
    Pdu(Frame),
    /// Nothing more: close when all before is sent.
    Close,
}

/// What a connection wants done.
pub type Output = machine::Output<Outgoing, std::convert::Infallible, Request>;

#[derive(Debug)]
enum Phase {
    Login(Box<Login>),
    Full(Box<Session>),
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    core: Core,
    phase: Phase,
    login_until: Duration,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(now: Now, ends: Ends) -> Self {
        Self {
            core: Core::new(now, ends),
            phase: Phase::Login(Box::default()),
            login_until: now.boot.saturating_add(LOGIN_TIMEOUT),
        }
    }

    /// How the stream is cut into PDUs from here on. May change with each PDU handled.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.core.receiving
    }

    /// Where the `len` bytes of a PDU's data are best read to, known by its headers. The next input must be it
    /// ([`Input::Landed`]), or the end, or a tick. `None`: it must be handed in as a whole.
    pub fn landing(&mut self, raw: Raw<'_>, len: usize) -> Option<Landing> {
        match &mut self.phase {
            Phase::Full(session) => session.landing(&self.core, raw, len),
            _ => None,
        }
    }

    /// Takes back the data of a job that was run, so that their buffer is used again.
    pub fn recycle(&mut self, data: Data) {
        if let Phase::Full(session) = &mut self.phase {
            session.pool.give(data.into_buffer());
        }
    }

    /// Bytes of memory that only speed wants.
    #[must_use]
    pub fn spare(&self) -> usize {
        if let Phase::Full(session) = &self.phase { session.pool.bytes() } else { 0 }
    }

    /// Nothing has come for a while: lets go of memory that only speed wants.
    pub fn rest(&mut self) {
        if let Phase::Full(session) = &mut self.phase {
            session.pool.clear();
        }
    }

    fn pdu(&mut self, raw: Raw<'_>, landed: Option<Landing>, disk: &mut dyn Reads) {
        match &mut self.phase {
            Phase::Login(login) => login.pdu(&mut self.core, raw),
            Phase::Full(session) => session.pdu(&mut self.core, raw, landed, disk),
            Phase::Closed => {}
        }
    }

    fn gone(&mut self, reason: &str) {
        if let Phase::Full(session) = &mut self.phase {
            session.end(&mut self.core, reason);
        }
        self.core.closing = true;
    }
}

impl machine::Machine for Connection {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input<'_>) {
        self.core.now = now;
        match (input, &mut self.phase) {
            (_, Phase::Closed) => {}
            (Input::Pdu(raw, disk), _) => self.pdu(raw, None, disk),
            (Input::Landed(raw, landing, disk), _) => self.pdu(raw, Some(landing), disk),
            (Input::Broken(error), _) => self.gone(&error.to_string()),
            (Input::Gone(reason), _) => self.gone(reason),
            (Input::Authorized(ticket, answer), Phase::Login(login)) => {
                login.authorized(&mut self.core, ticket, answer);
            }
            (Input::Opened(ticket, answer), Phase::Login(login)) => {
                if let Some(session) = login.opened(&mut self.core, ticket, answer) {
                    self.phase = Phase::Full(Box::new(session));
                }
            }
            (Input::Targets(ticket, targets), Phase::Full(session)) => {
                session.targets(&mut self.core, ticket, &targets);
            }
            (Input::Done(ticket, done), Phase::Full(session)) => session.done(&mut self.core, ticket, done),
            (Input::Tick, Phase::Full(session)) if session.nexus.is_none() => {
                if now.boot >= self.login_until.saturating_add(DISCOVERY_TIMEOUT) {
                    self.core.closing = true;
                }
            }
            (Input::Tick, Phase::Login(_)) => {
                if now.boot >= self.login_until {
                    self.core.closing = true;
                }
            }
            (Input::Authorized(..) | Input::Opened(..) | Input::Targets(..) | Input::Done(..) | Input::Tick, _) => {}
        }
        if self.core.closing && !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            self.core.out.push_back(Output::Send(Outgoing::Close));
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.core.out.pop_front()
    }

    fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Login(_) => Some(self.login_until),
            Phase::Full(session) if session.nexus.is_none() => Some(self.login_until.saturating_add(DISCOVERY_TIMEOUT)),
            Phase::Full(_) | Phase::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests;
