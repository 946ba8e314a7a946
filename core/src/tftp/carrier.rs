//! Carries one transfer in a thread of its own: waits for its packets and its timer, and sends what the machine says.
//!
//! A transfer in lock-step is one packet in and one packet out, so what costs is waking up; a thread that blocks in one receive wakes
//! with fewer system calls than any loop over many sockets. A window is one send, cut into its packets by the kernel where it can.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::ahead::Ahead;
use super::machine::{Blocks, Input, Transfer};
use super::wire::{self, code};
use crate::api::Reporter;
use crate::machine::{Machine, Now, Output};
use crate::net::{MOST_BYTES, MOST_SEGMENTS, cut_sends, is_uncut};
use crate::trace::own::Tap;

/// The longest wait for a packet: so late are signals and the end of the server heard at most.
const LISTEN: Duration = Duration::from_millis(100);
/// Waits are made multiples of this, so that the timeout in the socket need not be changed for each; kernels count no finer anyway.
const TICK: u64 = 4;

/// The smallest block with which sends are cut by the kernel: it cuts an OACK or an ERROR just as well, and these are shorter.
const CUT_FROM: u16 = 512;

/// What the listener and a transfer's thread have to say to each other.
#[derive(Debug, Default)]
pub(super) struct Signals {
    again: AtomicBool,
    replaced: AtomicBool,
    elsewhere: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Signals {
    /// The same request came again.
    pub(super) fn again(&self) {
        self.again.store(true, Ordering::Release);
    }

    /// Another request came from the same port: end.
    pub(super) fn replace(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// The client asked for the same file from another port.
    pub(super) fn elsewhere(&self) {
        self.elsewhere.store(true, Ordering::Release);
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// The thread has ended, and what it had to tell is told.
    pub(super) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
    }

    /// Waits for [`Signals::end`].
    pub(super) fn wait_for_end(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self.end.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The server was stopped or dropped.
pub(super) fn is_over(stopped: &watch::Receiver<bool>) -> bool {
    // It is changed once, to stop; an error means that the server's handle is gone.
    stopped.has_changed().unwrap_or(true)
}

/// What carries out a transfer's outputs.
pub(super) struct Carrier {
    socket: UdpSocket,
    peer: SocketAddr,
    file: Ahead,
    /// None for a client that has caused too many events.
    reporter: Option<Reporter>,
    packets: Vec<u8>,
    /// Sends are cut by the kernel.
    cut: bool,
    /// The receive timeout that the socket has.
    wait: Duration,
    /// Where the socket is and whom its packets are told, if anybody.
    tap: Option<(Tap, SocketAddr)>,
}

impl Carrier {
    pub(super) fn new(socket: UdpSocket, peer: SocketAddr, file: Ahead, reporter: Option<Reporter>, tap: &Tap) -> Self {
        let tap = tap.is_on().then(|| Some((tap.clone(), socket.local_addr().ok()?))).flatten();
        Self { socket, peer, file, reporter, packets: Vec::new(), cut: false, wait: Duration::ZERO, tap }
    }

    /// Runs a transfer to its end.
    ///
    /// `too_large` is told the size of blocks that do not get to the client.
    pub(super) fn run(
        &mut self,
        mut transfer: Transfer,
        signals: &Signals,
        stopped: &watch::Receiver<bool>,
        too_large: &dyn Fn(u16),
    ) {
        let mut buf = [0; 600];
        let (window, block) = (transfer.window(), transfer.block_size());
        self.cut = window > 1 && block >= CUT_FROM && cut_sends(&self.socket, block.saturating_add(4)).is_ok();
        let mut now = Now::read();
        transfer.handle(now, Input::Start);
        loop {
            self.carry_out(&mut transfer, now);
            if transfer.ended() {
                return;
            }
            let received = self.receive(&mut buf, &transfer, now);
            now = Now::read();
            if let (Some((tap, local)), Ok((len, from))) = (&self.tap, &received) {
                tap.received(*local, *from, buf.get(..*len).unwrap_or_default());
            }
            match received {
                Ok((len, from)) if from == self.peer => {
                    transfer.handle(now, Input::Packet(buf.get(..len).unwrap_or_default()));
                }
                Ok((_, stranger)) => {
                    let answer = wire::error(code::UNKNOWN_TID, "this transfer is another client's");
                    if let (Ok(_), Some((tap, local))) = (self.socket.send_to(&answer, stranger), &self.tap) {
                        tap.sent(*local, stranger, &answer);
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                // An ICMP error for an earlier packet; a lasting one must not become a busy loop.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            if transfer.deadline().is_some_and(|due| due <= now.boot) {
                transfer.handle(now, Input::Due);
                if let Some(block) = transfer.too_large() {
                    too_large(block);
                }
            }
            if signals.again.load(Ordering::Relaxed) && signals.again.swap(false, Ordering::Acquire) {
                transfer.handle(now, Input::Again);
            }
            if signals.elsewhere.load(Ordering::Relaxed) {
                transfer.handle(now, Input::Elsewhere);
            }
            if signals.is_replaced() {
                transfer.handle(now, Input::Replaced);
            }
            if is_over(stopped) {
                transfer.handle(now, Input::Broken("Bootyard stopped while the transfer ran"));
            }
        }
    }

    fn receive(&mut self, buf: &mut [u8], transfer: &Transfer, now: Now) -> io::Result<(usize, SocketAddr)> {
        let wait = transfer.deadline().map_or(LISTEN, |due| due.saturating_sub(now.boot)).min(LISTEN);
        let millis = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(TICK);
        let wait = Duration::from_millis(millis.next_multiple_of(TICK).max(TICK));
        if wait != self.wait {
            self.socket.set_read_timeout(Some(wait))?;
            self.wait = wait;
        }
        self.socket.recv_from(buf)
    }

    fn carry_out(&mut self, transfer: &mut Transfer, now: Now) {
        while let Some(output) = transfer.poll() {
            match output {
                // A packet that the network does not take is as good as lost: the timer repeats it.
                Output::Send(packet) => drop(self.send_one(&packet)),
                Output::SendRange { source, offset, len } => {
                    if let Err(error) = self.send(source, offset, len) {
                        transfer.handle(now, Input::Broken(&format!("reading the file failed: {error}")));
                    }
                }
                Output::Event(observation) => {
                    if let Some(reporter) = &self.reporter {
                        reporter.report(now, *observation);
                    }
                }
                Output::Persist(_, never) => match never {},
            }
        }
    }

    /// Sends a window: in one piece if the kernel cuts it, else packet by packet.
    fn send(&mut self, blocks: Blocks, offset: u64, len: u64) -> io::Result<()> {
        self.file.packets(blocks, offset, len, &mut self.packets)?;
        let one = usize::from(blocks.size) + 4;
        let at_once = (MOST_BYTES / one).clamp(1, MOST_SEGMENTS);
        let packets = std::mem::take(&mut self.packets);
        for run in packets.chunks(one * at_once) {
            if self.cut && run.len() > one {
                match self.socket.send_to(run, self.peer) {
                    Err(error) if is_uncut(&error) => self.cut_no_more(),
                    // As with a lost packet, the timer or the client's next ACK repeats it.
                    sent => {
                        if sent.is_ok() && self.tap.is_some() {
                            run.chunks(one).for_each(|packet| self.tell(packet));
                        }
                        continue;
                    }
                }
            }
            for packet in run.chunks(one) {
                let _ = self.send_one(packet);
            }
        }
        self.packets = packets;
        self.file.prepare(offset, len);
        Ok(())
    }

    /// Sends one packet. Where sends are to be cut, the kernel may refuse even one that needs no cutting, because of a way whose MTU is
    /// below a block.
    fn send_one(&mut self, packet: &[u8]) -> io::Result<usize> {
        let sent = match self.socket.send_to(packet, self.peer) {
            Err(error) if self.cut && is_uncut(&error) => {
                self.cut_no_more();
                self.socket.send_to(packet, self.peer)
            }
            sent => sent,
        };
        if sent.is_ok() {
            self.tell(packet);
        }
        sent
    }

    /// A packet has gone.
    fn tell(&self, packet: &[u8]) {
        if let Some((tap, local)) = &self.tap {
            tap.sent(*local, self.peer, packet);
        }
    }

    fn cut_no_more(&mut self) {
        self.cut = false;
        // It was possible before; where it is not undone, sends fail as lost packets do.
        let _ = cut_sends(&self.socket, 0);
    }
}
