//! One transfer to one client: option negotiation (RFC 2347 to 2349, 7440), windows, retransmission, and how it ends.
//!
//! The machine never sees the file. It says which blocks to send ([`Blocks`], a byte range cut into blocks); the service reads them.
//! Block numbers are kept whole (`u64`) inside and are folded to 16 bits on the wire, so a file of any length just rolls over.

use std::collections::VecDeque;
use std::time::Duration;

use super::wire::{self, Packet, Request, code};
use crate::api::{EventKind, Observation, Who};
use crate::machine::{Machine, Now, Output};

/// Largest window that is granted, in blocks.
const MAX_WINDOW: u64 = 64;
/// Largest window that is granted, in bytes: what a socket's send buffer takes at once.
const MAX_WINDOW_BYTES: u64 = 128 * 1024;
/// Block size without the option (RFC 1350).
const DEFAULT_BLOCK: u16 = 512;
/// Retransmissions of one thing before the client is given up.
const MAX_TRIES: u32 = 7;
/// First timeout, before a round trip is measured.
const FIRST_RTO: Duration = Duration::from_millis(500);
/// Bounds of the timeout: below, a busy firmware would be sent everything twice; above, a loss would look like a hang.
const RTO: std::ops::RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(5);
/// A silence after which a repeated request is a client that began again, not a late copy in the network.
const LATE_COPY: Duration = Duration::from_secs(1);
/// Between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// A run of DATA blocks; the bytes are those of the [`Output::SendRange`] that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Number of the first block on the wire; the others follow, 65535 by 0.
    pub first: u16,
    /// Bytes in each block but the file's last, which is shorter and may be empty.
    pub size: u16,
    /// How many blocks.
    pub count: u16,
}

/// What can happen to a transfer.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// The file is open: begin.
    Start,
    /// A packet from the client's port.
    Packet(&'a [u8]),
    /// The same request came again from the same port.
    Again,
    /// The deadline is due.
    Due,
    /// The file could not be read; the text says why.
    Broken(&'a str),
}

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    block: u16,
    window: u64,
    timeout: Option<Duration>,
    accepted: Vec<(String, String)>,
}

/// What the client asked for, as far as it can be granted. An option that is malformed is left out of the OACK, as RFC 2347 wants
/// for what a server does not support; values are only ever lowered.
fn negotiate(request: &Request, total: u64) -> Terms {
    let mut terms = Terms { block: DEFAULT_BLOCK, window: 1, timeout: None, accepted: Vec::new() };
    let mut window = None;
    for (name, value) in &request.options {
        let number = value.trim().parse::<u64>().ok();
        match (name.as_str(), number) {
            ("blksize", Some(size @ 8..)) => {
                terms.block = u16::try_from(size.min(65464)).unwrap_or(DEFAULT_BLOCK);
                terms.accepted.push((name.clone(), terms.block.to_string()));
            }
            ("tsize", Some(_)) => terms.accepted.push((name.clone(), total.to_string())),
            ("timeout", Some(seconds @ 1..=255)) => {
                terms.timeout = Some(Duration::from_secs(seconds));
                terms.accepted.push((name.clone(), seconds.to_string()));
            }
            ("windowsize", Some(blocks @ 1..=65535)) => {
                window = Some((terms.accepted.len(), blocks));
                terms.accepted.push((name.clone(), String::new()));
            }
            _ => {}
        }
    }
    if let Some((at, blocks)) = window {
        // The block size may stand behind the window in the request.
        terms.window = blocks.min(MAX_WINDOW).min((MAX_WINDOW_BYTES / u64::from(terms.block)).max(1));
        if let Some(entry) = terms.accepted.get_mut(at) {
            entry.1 = terms.window.to_string();
        }
    }
    terms
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// The OACK is sent; ACK 0 begins the data.
    Negotiating,
    Sending,
    Ended,
}

/// One transfer. See the module's text.
#[derive(Debug)]
pub struct Transfer {
    who: Who,
    file: String,
    total: u64,
    probes: bool,
    terms: Terms,
    state: State,
    began: Duration,
    /// Blocks acknowledged.
    acked: u64,
    /// Blocks sent of the current window, counted from the file's start.
    sent: u64,
    /// When the current window, or the OACK, was sent for the first time.
    sent_at: Duration,
    /// What is in flight was sent more than once: its round trip says nothing (Karn).
    resent: bool,
    /// A duplicate ACK has already made this window be sent again.
    gap_answered: bool,
    tries: u32,
    rtt: Option<(Duration, Duration)>,
    shortest_rtt: Option<Duration>,
    heard: Duration,
    due: Option<Duration>,
    progress_at: Duration,
    out: VecDeque<Output<Vec<u8>, Blocks>>,
}

impl Transfer {
    /// A transfer of `file` with `total` bytes (after netascii's conversion) to `who`, as `request` asked.
    #[must_use]
    pub fn new(who: Who, file: String, total: u64, request: &Request) -> Self {
        Self {
            who,
            file,
            total,
            probes: request.options.iter().any(|(name, _)| name == "tsize"),
            terms: negotiate(request, total),
            state: State::Idle,
            began: Duration::ZERO,
            acked: 0,
            sent: 0,
            sent_at: Duration::ZERO,
            resent: false,
            gap_answered: false,
            tries: 0,
            rtt: None,
            shortest_rtt: None,
            heard: Duration::ZERO,
            due: None,
            progress_at: Duration::ZERO,
            out: VecDeque::new(),
        }
    }

    /// Nothing more will happen.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Bytes of a full block.
    #[must_use]
    pub fn block_size(&self) -> u16 {
        self.terms.block
    }

    /// Blocks of the whole file: the last is shorter than the others (RFC 1350, section 6), so a multiple has an empty one.
    fn blocks(&self) -> u64 {
        self.total / u64::from(self.terms.block) + 1
    }

    fn bytes_acked(&self) -> u64 {
        self.acked.saturating_mul(u64::from(self.terms.block)).min(self.total)
    }

    fn event(&mut self, kind: EventKind) {
        self.out.push_back(Output::Event(Observation::of(self.who.clone(), kind)));
    }

    fn rto(&self) -> Duration {
        if let Some(asked) = self.terms.timeout {
            return asked;
        }
        let base = self.rtt.map_or(FIRST_RTO, |(smooth, deviation)| smooth + deviation * 4);
        let base = base.clamp(*RTO.start(), *RTO.end());
        (base * 2u32.saturating_pow(self.tries.min(8))).min(*RTO.end())
    }

    fn arm(&mut self, now: Now) {
        self.due = Some(now.boot + self.rto());
    }

    /// RFC 6298, section 2.
    fn measure(&mut self, now: Now) {
        let sample = now.boot.saturating_sub(self.sent_at);
        self.shortest_rtt = Some(self.shortest_rtt.map_or(sample, |known| known.min(sample)));
        if !self.resent {
            self.rtt = Some(match self.rtt {
                None => (sample, sample / 2),
                Some((smooth, deviation)) => ((smooth * 7 + sample) / 8, (deviation * 3 + smooth.abs_diff(sample)) / 4),
            });
        }
    }

    fn send_oack(&mut self) {
        let packet = wire::encode(&Packet::Oack(self.terms.accepted.clone()));
        self.out.push_back(Output::Send(packet));
    }

    /// Sends the window behind what is acknowledged.
    fn send_window(&mut self) {
        let count = (self.blocks() - self.acked).min(self.terms.window);
        self.sent = self.acked + count;
        let size = u64::from(self.terms.block);
        let offset = self.acked * size;
        let len = (count * size).min(self.total - offset);
        let first = ((self.acked + 1) & 0xffff) as u16;
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let source = Blocks { first, size: self.terms.block, count };
        self.out.push_back(Output::SendRange { source, offset, len });
    }

    fn next_window(&mut self, now: Now) {
        self.tries = 0;
        self.resent = false;
        self.gap_answered = false;
        self.sent_at = now.boot;
        self.send_window();
        self.arm(now);
    }

    fn begin(&mut self, now: Now) {
        self.acked = 0;
        self.sent = 0;
        self.began = now.boot;
        self.heard = now.boot;
        self.progress_at = now.boot;
        if self.terms.accepted.is_empty() {
            self.state = State::Sending;
            self.next_window(now);
        } else {
            self.state = State::Negotiating;
            self.tries = 0;
            self.resent = false;
            self.sent_at = now.boot;
            self.send_oack();
            self.arm(now);
        }
    }

    fn end(&mut self, kind: EventKind) {
        self.state = State::Ended;
        self.due = None;
        self.event(kind);
    }

    fn ack(&mut self, now: Now, block: u16) {
        match self.state {
            State::Negotiating if block == 0 => {
                self.measure(now);
                self.state = State::Sending;
                self.next_window(now);
            }
            State::Sending => {
                let ahead = u64::from(block.wrapping_sub((self.acked & 0xffff) as u16));
                if ahead == 0 {
                    self.duplicate(now);
                } else if ahead <= self.sent - self.acked {
                    self.measure(now);
                    self.acked += ahead;
                    self.progress(now);
                }
                // Anything else acknowledges what is long done, or what was never sent.
            }
            _ => {}
        }
    }

    /// RFC 1123, section 4.2.3.1: a duplicate ACK never makes DATA be sent again, or one delay doubles every packet that follows
    /// (the sorcerer's apprentice). In a window (RFC 7440, section 4) the same ACK is how a client says that the first block was
    /// lost. It is taken so once a window, and only if the client can have seen that window at all.
    fn duplicate(&mut self, now: Now) {
        let flight = now.boot.saturating_sub(self.sent_at);
        let seen = self.shortest_rtt.is_some_and(|rtt| flight >= rtt * 3 / 4);
        if self.terms.window > 1 && seen && !self.gap_answered && !self.resent {
            self.gap_answered = true;
            self.resent = true;
            self.send_window();
            self.arm(now);
        }
    }

    fn progress(&mut self, now: Now) {
        if self.acked == self.blocks() {
            let millis = u64::try_from(now.boot.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX);
            let kind = EventKind::TftpDone { file: self.file.clone(), bytes: self.total, millis };
            self.end(kind);
            return;
        }
        if now.boot.saturating_sub(self.progress_at) >= PROGRESS_EVERY {
            self.progress_at = now.boot;
            let (sent, total) = (self.bytes_acked(), self.total);
            self.event(EventKind::TftpProgress { file: self.file.clone(), sent, total });
        }
        self.next_window(now);
    }

    fn aborted(&mut self, code: u16, message: &str) {
        // A firmware asks for the size, is told, and ends it (codes 0 and 8); then it asks for the file.
        let probe = self.probes && self.acked == 0 && matches!(code, code::UNDEFINED | code::OPTION);
        let shown: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
        let message = if shown.is_empty() { format!("error {code}") } else { shown };
        let kind = EventKind::TftpAborted { file: self.file.clone(), sent: self.bytes_acked(), probe, message };
        self.end(kind);
    }

    fn due(&mut self, now: Now) {
        if self.due.is_none_or(|due| due > now.boot) {
            return;
        }
        if self.tries >= MAX_TRIES {
            let waits = match self.state {
                State::Negotiating => "the options that it asked for".to_owned(),
                _ => format!("block {} of {}", self.acked + 1, self.blocks()),
            };
            let message = format!(
                "{} did not acknowledge {waits} after {MAX_TRIES} repetitions; check the way back to it, a firewall before it, and \
                 the network's MTU (blocks of {} bytes)",
                self.who.ip.map_or_else(|| "the client".to_owned(), |ip| ip.to_string()),
                self.terms.block
            );
            self.out.push_back(Output::Send(wire::error(code::UNDEFINED, "no acknowledgement")));
            let kind = EventKind::TftpFailed { file: self.file.clone(), code: code::UNDEFINED, message };
            self.end(kind);
            return;
        }
        self.tries += 1;
        self.resent = true;
        if self.state == State::Negotiating {
            self.send_oack();
        } else {
            self.send_window();
        }
        self.arm(now);
    }
}

impl Machine for Transfer {
    type Input<'a> = Input<'a>;
    type Output = Output<Vec<u8>, Blocks>;

    fn handle(&mut self, now: Now, input: Input<'_>) {
        if self.ended() {
            return;
        }
        match input {
            Input::Start => self.begin(now),
            Input::Again => {
                // Before the first acknowledgement the timer repeats the answer anyway; a copy behind it may be late.
                if self.state != State::Idle && now.boot.saturating_sub(self.heard) >= LATE_COPY {
                    self.begin(now);
                }
            }
            Input::Packet(bytes) => match wire::decode(bytes) {
                Ok(Packet::Ack(block)) => {
                    self.heard = now.boot;
                    self.ack(now, block);
                }
                Ok(Packet::Error { code, message }) => self.aborted(code, &message),
                _ => {
                    let answer = wire::error(code::ILLEGAL, "expected an acknowledgement");
                    self.out.push_back(Output::Send(answer));
                    let message = "the client sent what is no acknowledgement".to_owned();
                    self.end(EventKind::TftpFailed { file: self.file.clone(), code: code::ILLEGAL, message });
                }
            },
            Input::Due => self.due(now),
            Input::Broken(why) => {
                self.out.push_back(Output::Send(wire::error(code::UNDEFINED, "the file can't be read")));
                let message = why.to_owned();
                self.end(EventKind::TftpFailed { file: self.file.clone(), code: code::UNDEFINED, message });
            }
        }
    }

    fn poll(&mut self) -> Option<Self::Output> {
        self.out.pop_front()
    }

    fn deadline(&self) -> Option<Duration> {
        self.due
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
