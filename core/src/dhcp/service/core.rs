//! The thread that owns the machine: it reads the sockets, sends the replies and hands leases to the store.
//!
//! It takes what is there, up to [`TURN`] packets of each socket, and only then hands over the events, the replies and the leases of
//! the turn: under load a turn is one commit and one word to the engine, and a lone client waits for nothing. The engine has its word
//! before the client has its reply, because the client's next step is a question to another service.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::sockets::{BUFFER, Heard, Sockets, Source};
use super::{Done, LeaseStore, StoreError, foreign_server};
use crate::api::{EventKind, Observation, Reporter, ServiceKind};
use crate::boot::Plan;
use crate::dhcp::machine::{DhcpMachine, Input, OncePerMinute, Output, Reply};
use crate::lab::LeaseRecord;
use crate::machine::{Machine, Now, Ticket};
use crate::net::MacAddr;
use crate::net::ready::{Bell, Waker, wait};

/// Packets of one socket before the others have their turn, and before leases are handed to the store.
const TURN: usize = 32;
/// Commits handed to the store: one that is being written and the next. What comes meanwhile waits here, and goes as one.
const UNDER_WAY: usize = 2;
/// The longest sleep; nothing depends on it.
const LONG: Duration = Duration::from_secs(3600);

/// What others tell the thread.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) plan: Option<Arc<Plan>>,
    pub(super) stop: bool,
    committed: Vec<(Vec<Ticket>, Result<(), StoreError>)>,
}

/// The others' end of it.
#[derive(Debug)]
pub(super) struct Mailbox {
    orders: Mutex<Orders>,
    waker: Waker,
}

impl Mailbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { orders: Mutex::default(), waker }
    }

    pub(super) fn post(&self, write: impl FnOnce(&mut Orders)) {
        // Orders are whole after every statement, so a panic elsewhere leaves them in order.
        write(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.waker.wake();
    }

    fn take(&self) -> Orders {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // A stop stays.
        let stop = orders.stop;
        std::mem::replace(&mut *orders, Orders { stop, ..Orders::default() })
    }
}

/// The thread's things.
pub(super) struct Core {
    pub(super) machine: DhcpMachine,
    pub(super) sources: Vec<Source>,
    pub(super) sockets: Vec<Sockets>,
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) bell: Bell,
    pub(super) reporter: Reporter,
    pub(super) turn: Turn,
}

/// What a turn gathers, and what is remembered between turns.
#[derive(Debug, Default)]
pub(super) struct Turn {
    tickets: Vec<Ticket>,
    records: Vec<LeaseRecord>,
    events: Vec<Observation>,
    replies: Vec<Reply>,
    /// Commits that the store has not told of.
    under_way: usize,
    foreign: OncePerMinute<(usize, Ipv4Addr)>,
    unwritten: OncePerMinute<()>,
}

impl Core {
    /// Serves until it is told to stop; then waits for the leases that are being written.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let ready = self.wait();
            let orders = self.mailbox.take();
            if orders.stop {
                return self.finish(orders);
            }
            self.follow(orders);
            for source in ready {
                self.read(source, &mut buffer);
            }
            let now = Now::read();
            if self.machine.deadline().is_some_and(|due| now.boot >= due) {
                self.handle(now, Input::Tick);
            }
            self.hand_over(now);
        }
    }

    /// Waits for something to do; which sources can be read.
    fn wait(&self) -> Vec<usize> {
        let due = self.machine.deadline().map(|d| d.saturating_sub(crate::net::boot_time()));
        let (mut timeout, mut awake) = (due.unwrap_or(LONG), Vec::with_capacity(self.sources.len()));
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.bell.as_fd()];
        for (at, source) in self.sources.iter().enumerate() {
            if let Some(rests) = source.rests() {
                timeout = timeout.min(rests);
            } else {
                awake.push(at);
                fds.push(source.fd());
            }
        }
        let mut ready = wait(&fds, timeout).into_iter();
        if ready.next() == Some(true) {
            self.bell.quiet();
        }
        awake.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(at, _)| at).collect()
    }

    fn follow(&mut self, orders: Orders) {
        if let Some(plan) = orders.plan {
            self.handle(Now::read(), Input::Plan(plan));
        }
        for (tickets, result) in orders.committed {
            self.committed(tickets, result);
        }
    }

    fn committed(&mut self, tickets: Vec<Ticket>, result: Result<(), StoreError>) {
        self.turn.under_way -= 1;
        let now = Now::read();
        for ticket in tickets {
            self.handle(now, Input::Committed(ticket, result.is_ok()));
        }
        if let Err(StoreError(why)) = result
            && self.turn.unwritten.first(now, ())
        {
            let error = format!("no address is given because leases cannot be written: {why}");
            self.report(EventKind::ServiceFailed { service: ServiceKind::Dhcp, error });
        }
    }

    /// One socket's turn.
    fn read(&mut self, at: usize, buffer: &mut [u8]) {
        for _ in 0..TURN {
            let Some(source) = self.sources.get_mut(at) else { return };
            let network = source.network;
            match source.hear(buffer) {
                Some(Heard::Packet { port, source, bytes }) => {
                    self.handle(Now::read(), Input::Packet { network, port, source, bytes });
                }
                Some(Heard::Reply { sender, source, bytes }) => self.heard(network, sender, source, bytes),
                Some(Heard::InUse { address, mac }) => {
                    self.handle(Now::read(), Input::InUse { network, address, mac });
                }
                Some(Heard::Other) => {}
                None => return,
            }
        }
    }

    /// A panic in the machine costs what it was given, not the service.
    fn handle(&mut self, now: Now, input: Input<'_>) {
        let machine = &mut self.machine;
        let handled = std::panic::catch_unwind(AssertUnwindSafe(move || machine.handle(now, input)));
        if handled.is_err() {
            let error = "a request could not be handled because of a fault in Bootyard; the server goes on".to_owned();
            self.report(EventKind::ServiceFailed { service: ServiceKind::Dhcp, error });
        }
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(reply) => self.turn.replies.push(reply),
                Output::Persist(ticket, records) => {
                    self.turn.tickets.push(ticket);
                    self.turn.records.extend(records);
                }
                Output::Event(observation) => self.turn.events.push(*observation),
                Output::SendRange { source, .. } => match source {},
            }
        }
    }

    /// Another server's packet: one that gives an address is worth knowing.
    fn heard(&mut self, network: usize, sender: MacAddr, source: Ipv4Addr, bytes: &[u8]) {
        let Some(server) = foreign_server(bytes, source) else { return };
        let ours = self.sockets.iter().any(|s| s.address == server || s.mac == sender);
        let Some(sockets) = self.sockets.get(network).filter(|_| !ours) else { return };
        let interface = sockets.interface.clone();
        let now = Now::read();
        self.handle(now, Input::Foreign { network, server });
        if self.turn.foreign.first(now, (network, server)) {
            self.report(EventKind::ForeignDhcp { interface, server, mac: Some(sender) });
        }
    }

    fn report(&mut self, kind: EventKind) {
        self.turn.events.push(Observation::engine(kind));
    }

    /// Ends a turn: its events go to the engine, its replies to the wire, its leases to the store.
    fn hand_over(&mut self, now: Now) {
        self.reporter.report_all(now, self.turn.events.drain(..));
        for reply in self.turn.replies.drain(..) {
            if let Some(sockets) = self.sockets.get(reply.network) {
                sockets.send(&reply);
            }
        }
        if !self.turn.tickets.is_empty() && self.turn.under_way < UNDER_WAY {
            let tickets = std::mem::take(&mut self.turn.tickets);
            let records = std::mem::take(&mut self.turn.records);
            let mailbox = self.mailbox.clone();
            self.turn.under_way += 1;
            let told = move |result| mailbox.post(|orders| orders.committed.push((tickets, result)));
            self.store.commit(records, Done::new(told));
        }
    }

    /// What was accepted is written, and its clients are told, before the ports go.
    fn finish(mut self, orders: Orders) {
        self.follow(orders);
        self.hand_over(Now::read());
        while self.turn.under_way > 0 {
            if wait(&[self.bell.as_fd()], LONG) == [true] {
                self.bell.quiet();
            }
            let orders = self.mailbox.take();
            self.follow(orders);
            self.hand_over(Now::read());
        }
    }
}
