//! One transfer to one client: windows, retransmission, and how it ends.
//!
//! The machine never sees the file. It says which blocks to send ([`Blocks`], a byte range cut into blocks); the service reads them.
//! Block numbers are kept whole (`u64`) inside and are folded to 16 bits on the wire, so a file of any length just rolls over.

use std::collections::VecDeque;
use std::time::Duration;

use super::terms::{Terms, negotiate, smaller};
use super::timer::Timer;
use super::wire::{self, Packet, Request, code};
use crate::api::{EventKind, Observation, Who};
use crate::machine::{Machine, Now, Output};

/// Retransmissions of one thing before the client is given up.
const MAX_TRIES: u32 = 16;
/// Unanswered repetitions of the end of the file, and the time that they take at least, after which the client is taken to have it:
/// see [`Transfer::parting`].
const PARTING: (u32, Duration) = (2, Duration::from_secs(1));
/// The end is repeated so often, and for so long, once it is taken to have arrived: a firmware that waits asks again within 4 s.
const PARTED: (u32, Duration) = (6, Duration::from_secs(6));
/// Repetitions of the first thing sent, after which it is told that nothing comes back.
const UNANSWERED: u32 = 3;
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
    /// The client asked for something else from the same port.
    Replaced,
    /// The client asked for the same file from another port.
    Elsewhere,
    /// The file could not be read; the text says why.
    Broken(&'a str),
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
    /// Some of what is in flight was sent more than once: its round trip says nothing (Karn).
    resent: bool,
    /// The last block that was ever sent.
    highest: u64,
    /// The last block that was sent more than once; 0 for the OACK. Acknowledgements of these may come more than once, too.
    twice: Option<u64>,
    /// Repetitions of what is waited for.
    tries: u32,
    /// The client asked for the file from another port, too.
    elsewhere: bool,
    /// The end was told though its acknowledgement is still waited for.
    told_done: bool,
    /// That the client does not answer was told.
    told_unanswered: bool,
    timer: Timer,
    heard: Duration,
    due: Option<Duration>,
    progress_at: Duration,
    out: VecDeque<Output<Vec<u8>, Blocks>>,
}

impl Transfer {
    /// A transfer of `file` with `total` bytes (after netascii's conversion) to `who`, as `request` asked.
    #[must_use]
    pub fn new(who: Who, file: String, total: u64, request: &Request) -> Self {
        let terms = negotiate(request, total);
        Self {
            who,
            file,
            total,
            probes: request.options.iter().any(|(name, _)| name == "tsize"),
            timer: Timer::new(terms.timeout),
            terms,
            state: State::Idle,
            began: Duration::ZERO,
            acked: 0,
            sent: 0,
            sent_at: Duration::ZERO,
            resent: false,
            highest: 0,
            twice: None,
            tries: 0,
            elsewhere: false,
            told_done: false,
            told_unanswered: false,
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

    /// Most blocks that are sent at once.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.terms.window
    }

    /// Blocks of the whole file: the last is shorter than the others (RFC 1350, section 6), so a multiple has an empty one.
    fn blocks(&self) -> u64 {
        self.total / u64::from(self.terms.block) + 1
    }

    fn bytes_acked(&self) -> u64 {
        self.acked.saturating_mul(u64::from(self.terms.block)).min(self.total)
    }

    fn event(&mut self, kind: EventKind) {
        self.out.push_back(Output::Event(Box::new(Observation::of(self.who.clone(), kind))));
    }

    fn arm(&mut self, now: Now) {
        self.due = Some((now.boot + self.timer.rto()).min(self.sent_at + self.timer.give_up()));
    }

    /// The client has all but the end, which was sent.
    ///
    /// Its last ACK is the one that nobody repeats: RFC 1350, section 6, only encourages a client to wait for a DATA that comes
    /// again, and firmware does not; it starts what it has. So if that ACK is lost, repetitions of the end stay unanswered by a
    /// client that boots, and that must not read as a failure. A client that acknowledged no data at all proves nothing of the
    /// kind: its packets may all have been too large for the way.
    fn parting(&self) -> bool {
        self.state == State::Sending && self.acked > 0 && self.sent == self.blocks()
    }

    fn measure(&mut self, now: Now) {
        self.timer.measure(now.boot.saturating_sub(self.sent_at), self.resent);
    }

    fn send_oack(&mut self) {
        let packet = wire::encode(&Packet::Oack(self.terms.accepted.clone()));
        self.out.push_back(Output::Send(packet));
    }

    /// Sends the window behind what is acknowledged.
    fn send_window(&mut self) {
        self.resent = self.acked < self.highest;
        self.send(self.acked);
    }

    /// Sends what is behind `from` of the window that begins behind what is acknowledged.
    fn send(&mut self, from: u64) {
        let to = self.blocks().min(self.acked + self.terms.window);
        self.sent = to;
        let count = u16::try_from(to.saturating_sub(from)).unwrap_or(u16::MAX);
        if count == 0 {
            return;
        }
        if from < self.highest {
            self.twice = self.twice.max(Some(self.highest.min(to)));
        }
        self.highest = self.highest.max(to);
        let size = u64::from(self.terms.block);
        let offset = from * size;
        let len = (u64::from(count) * size).min(self.total - offset);
        let first = ((from + 1) & 0xffff) as u16;
        self.out.push_back(Output::SendRange { source: Blocks { first, size: self.terms.block, count }, offset, len });
    }

    fn next_window(&mut self, now: Now) {
        self.tries = 0;
        self.timer.progressed();
        self.sent_at = now.boot;
        if self.acked < self.sent && self.twice.is_some_and(|twice| self.acked <= twice) {
            // This may be no gap but the answer to a block that came twice, and what is behind it may be on its way or there. Sent
            // again, it would be answered again: a client whose window ends elsewhere than ours would get all that follows twice.
            // It gets the rest of its window, and with that both windows end together.
            self.resent = true;
            self.send(self.sent);
        } else {
            self.send_window();
        }
        self.arm(now);
    }

    fn begin(&mut self, now: Now) {
        if self.state != State::Idle {
            self.twice = self.twice.max(Some(0));
        }
        self.acked = 0;
        self.sent = 0;
        self.told_done = false;
        self.began = now.boot;
        self.heard = now.boot;
        self.progress_at = now.boot;
        if self.terms.accepted.is_empty() {
            self.state = State::Sending;
            self.next_window(now);
        } else {
            self.state = State::Negotiating;
            self.tries = 0;
            self.resent = self.twice.is_some();
            self.sent_at = now.boot;
            self.send_oack();
            self.arm(now);
        }
    }

    fn end(&mut self, kind: EventKind) {
        self.close();
        self.event(kind);
    }

    fn close(&mut self) {
        self.state = State::Ended;
        self.due = None;
    }

    /// Tells once that the client has the file since `at`.
    fn tell_done(&mut self, at: Duration) {
        if !self.told_done {
            self.told_done = true;
            let millis = u64::try_from(at.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX);
            self.event(EventKind::TftpDone { file: self.file.clone(), bytes: self.total, millis });
        }
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
    /// lost. It is taken so only if the client can have seen that window at all, and only if it answers what was sent once: what
    /// was sent twice is acknowledged twice, by some clients once for every block of it. Where that leaves a gap unseen, the timer
    /// is there.
    fn duplicate(&mut self, now: Now) {
        let flight = now.boot.saturating_sub(self.sent_at);
        if self.terms.window > 1
            && self.timer.may_be_answered(flight)
            && self.twice.is_none_or(|twice| self.acked > twice)
        {
            self.send_window();
            self.arm(now);
        }
    }

    fn progress(&mut self, now: Now) {
        if self.acked == self.blocks() {
            self.close();
            self.tell_done(now.boot);
            return;
        }
        // It lives and lacks something: its end is yet to come.
        self.told_done = false;
        if now.boot.saturating_sub(self.progress_at) >= PROGRESS_EVERY {
            self.progress_at = now.boot;
            let (sent, total) = (self.bytes_acked(), self.total);
            self.event(EventKind::TftpProgress { file: self.file.clone(), sent, total });
        }
        self.next_window(now);
    }

    fn aborted(&mut self, code: u16, message: &str) {
        if self.parting() && self.resent && code == code::UNKNOWN_TID {
            // The client is done with a transfer whose end was repeated to it.
            self.close();
            self.tell_done(self.sent_at);
            return;
        }
        // A firmware asks for the size, is told, and ends it (codes 0 and 8); then it asks for the file.
        let probe = self.probes && self.acked == 0 && matches!(code, code::UNDEFINED | code::OPTION);
        let shown: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
        let message = if shown.is_empty() { format!("error {code}") } else { shown };
        let kind = EventKind::TftpAborted { file: self.file.clone(), sent: self.bytes_acked(), probe, message };
        self.end(kind);
    }

    /// The size of block that this client did not acknowledge one of, though it heard the options: the next try gets smaller ones.
    #[must_use]
    pub fn too_large(&self) -> Option<u16> {
        (self.told_unanswered && self.acked == 0 && self.state != State::Negotiating).then_some(self.terms.block)
    }

    fn unanswered(&mut self) {
        let negotiating = self.state == State::Negotiating;
        let (block, block_size) = (u64::from(!negotiating), self.terms.block);
        let next = if negotiating { None } else { smaller(block_size) };
        let (file, tries) = (self.file.clone(), self.tries);
        self.event(EventKind::TftpUnanswered { file, block, block_size, tries, next });
    }

    fn due(&mut self, now: Now) {
        if self.due.is_none_or(|due| due > now.boot) {
            return;
        }
        let silence = now.boot.saturating_sub(self.sent_at);
        if self.parting() && self.tries >= PARTING.0 && silence >= PARTING.1 {
            // Told before the repetitions have run out: by then the machine may be far ahead.
            self.tell_done(self.sent_at);
        }
        if self.told_done && self.tries >= PARTED.0 && silence >= PARTED.1 {
            self.close();
            return;
        }
        if self.tries >= MAX_TRIES || silence >= self.timer.give_up() {
            if self.told_done {
                self.close();
                return;
            }
            if self.probes && self.elsewhere && self.state == State::Negotiating {
                // It had the size and went on, and the packet that said so was lost.
                return self.aborted(code::OPTION, "it asked for the file from another port");
            }
            let waits = match self.state {
                State::Negotiating => "the options that it asked for".to_owned(),
                _ => format!("block {} of {}", self.acked + 1, self.blocks()),
            };
            let message = format!(
                "{} did not acknowledge {waits} after {} repetitions; check the way back to it, a firewall before it, and \
                 the network's MTU (blocks of {} bytes)",
                self.who.ip.map_or_else(|| "the client".to_owned(), |ip| ip.to_string()),
                self.tries,
                self.terms.block
            );
            self.out.push_back(Output::Send(wire::error(code::UNDEFINED, "no acknowledgement")));
            let kind = EventKind::TftpFailed { file: self.file.clone(), code: code::UNDEFINED, message };
            self.end(kind);
            return;
        }
        self.tries += 1;
        self.timer.passed();
        // A size probe whose end was lost is no silence.
        let probe = self.probes && self.elsewhere;
        if self.tries == UNANSWERED && self.acked == 0 && !probe && !self.told_unanswered {
            self.told_unanswered = true;
            self.unanswered();
        }
        if self.state == State::Negotiating {
            self.resent = true;
            self.twice = self.twice.max(Some(0));
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
                // Noise, or a cheap forgery: neither ends a transfer that its client wants.
                Err(_) => {}
                Ok(_) => {
                    let answer = wire::error(code::ILLEGAL, "expected an acknowledgement");
                    self.out.push_back(Output::Send(answer));
                    let message = "the client sent what is no acknowledgement".to_owned();
                    self.end(EventKind::TftpFailed { file: self.file.clone(), code: code::ILLEGAL, message });
                }
            },
            Input::Due => self.due(now),
            Input::Replaced if self.parting() => {
                // It has this file and asks for its next.
                self.close();
                self.tell_done(self.sent_at);
            }
            Input::Elsewhere => self.elsewhere = true,
            Input::Replaced => self.aborted(code::UNDEFINED, "the client asked for something else from the same port"),
            Input::Broken(_) if self.told_done => self.close(),
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

#[cfg(test)]
#[path = "lossy_tests.rs"]
mod lossy_tests;
