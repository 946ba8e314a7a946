//! The thread that hears: a packet socket a network, the clipper, the rings, the live observer.
//!
//! No server waits for it. It runs below their priority, takes what is there in turns and then lets some more come, because waking for
//! each packet of a fast transfer would cost more than the packets do. What the kernel has no room for meanwhile is counted.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use super::clip::{Clipper, Kept};
use super::observe::{Live, LiveInput, Output, Watched};
use super::ring::Store;
use super::{NICE, Packet};
use crate::api::{Observation, Reporter};
use crate::lab::Ports;
use crate::machine::{Machine, Now};
use crate::net::ready::{Bell, Waker, wait, waker};
use crate::net::{NetError, PacketSocket, PacketUse, PortSet};

/// Packets of one socket before the others have their turn.
const TURN: usize = 512;
/// After a turn with so many packets the thread rests a little.
const BUSY: usize = 16;
const REST: Duration = Duration::from_millis(4);
/// More than the kernel's filter lets through of any frame that is not small itself.
const BUFFER: usize = 16 << 10;
/// What servers told that waits; more is dropped, which costs a word too much at worst.
const MAX_TOLD: usize = 4096;
const LONG: Duration = Duration::from_secs(3600);
/// An interface that fails is left alone for so long.
const PAUSE: Duration = Duration::from_millis(200);

/// What the thread needs.
#[derive(Debug)]
pub struct Config {
    /// The networks in service.
    pub networks: Vec<Watched>,
    /// Our TCP ports.
    pub tcp: Ports,
    /// Opens the packet sockets.
    pub ports: Arc<dyn PortSet>,
    /// Takes the observer's events.
    pub reporter: Reporter,
    /// Takes the packets.
    pub store: Store,
}

#[derive(Debug, Default)]
struct Orders {
    told: Vec<Observation>,
    stop: bool,
}

/// A running capture. Dropping it ends it.
#[derive(Debug)]
pub struct Service {
    orders: Arc<Mutex<Orders>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Opens a packet socket on every network and begins.
///
/// # Errors
/// [`NetError`] of the first socket that cannot be had; [`NetError::Unsupported`] where there are none.
pub fn start(config: Config) -> Result<Service, NetError> {
    let Ports { http, https, iscsi } = config.tcp;
    let mut sockets = Vec::new();
    for network in &config.networks {
        sockets.push(config.ports.packet(&network.interface, PacketUse::Capture { http, https, iscsi })?);
    }
    let io = |source| NetError::Io { what: "start the capture".to_owned(), source };
    let (waker, bell) = waker().map_err(io)?;
    let orders = Arc::new(Mutex::new(Orders::default()));
    let core = Core {
        sockets,
        clipper: Clipper::watching(&config.networks, config.tcp),
        observer: Live::new(config.networks.clone(), config.tcp),
        networks: config.networks,
        tcp: config.tcp,
        reporter: config.reporter,
        store: config.store,
        orders: orders.clone(),
        bell,
        batch: Vec::new(),
    };
    let thread = std::thread::Builder::new().name("packets".into()).spawn(move || core.run()).map_err(io)?;
    Ok(Service { orders, waker, thread: Some(thread) })
}

impl Service {
    /// A server told of something; the observer need not.
    pub fn told(&self, observation: &Observation) {
        if !Live::listens_to(&observation.kind) {
            return;
        }
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.told.len() < MAX_TOLD {
            orders.told.push(observation.clone());
        }
        drop(orders);
        self.waker.wake();
    }

    /// Ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _a_panic_ends_it_too = thread.join();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's things.
struct Core {
    sockets: Vec<Box<dyn PacketSocket>>,
    networks: Vec<Watched>,
    clipper: Clipper,
    observer: Live,
    tcp: Ports,
    reporter: Reporter,
    store: Store,
    orders: Arc<Mutex<Orders>>,
    bell: Bell,
    /// What a turn keeps.
    batch: Vec<(Packet, Kept)>,
}

impl Core {
    fn run(mut self) {
        // Without the right to be nicer it runs as the servers do.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        let mut buffer = vec![0; BUFFER];
        loop {
            let ready = self.wait();
            let orders = std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner));
            if orders.stop {
                return;
            }
            let taken = self.turn(&orders.told, &ready, &mut buffer);
            if taken >= BUSY {
                std::thread::sleep(REST);
            }
        }
    }

    fn wait(&self) -> Vec<usize> {
        let due = self.observer.deadline().map(|d| d.saturating_sub(crate::net::boot_time()));
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.bell.as_fd()];
        fds.extend(self.sockets.iter().map(|socket| socket.fd()));
        let mut ready = wait(&fds, due.unwrap_or(LONG)).into_iter();
        if ready.next() == Some(true) {
            self.bell.quiet();
        }
        ready.enumerate().filter(|(_, ready)| *ready).map(|(at, _)| at).collect()
    }

    /// Takes what is there. A fault in reading a packet costs what was remembered of the others, not the capture.
    fn turn(&mut self, told: &[Observation], ready: &[usize], buffer: &mut [u8]) -> usize {
        let mut taken = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let now = Now::read();
            for observation in told {
                self.observer.handle(now, LiveInput::Told(observation));
            }
            for at in ready {
                taken += self.read(*at, buffer);
            }
            let now = Now::read();
            if self.observer.deadline().is_some_and(|due| now.boot >= due) {
                self.observer.handle(now, LiveInput::Tick);
            }
        }));
        if outcome.is_err() {
            self.clipper = Clipper::watching(&self.networks, self.tcp);
            self.observer = Live::new(self.networks.clone(), self.tcp);
        }
        let mut events = Vec::new();
        while let Some(Output::Event(event)) = self.observer.poll() {
            events.push(*event);
        }
        self.reporter.report_all(Now::read(), events);
        self.keep(ready);
        taken
    }

    fn read(&mut self, at: usize, buffer: &mut [u8]) -> usize {
        let Some(socket) = self.sockets.get(at) else { return 0 };
        for taken in 0..TURN {
            let captured = match socket.recv_captured(buffer) {
                Ok(captured) => captured,
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                        std::thread::sleep(PAUSE);
                    }
                    return taken;
                }
            };
            let bytes = buffer.get(..captured.len).unwrap_or_default();
            let (original, outgoing) = (captured.original, captured.outgoing);
            let frame = LiveInput::Frame { network: at, bytes, original, outgoing };
            self.observer.handle(Now::read(), frame);
            if let Some(kept) = self.clipper.clip(bytes, original) {
                let time = i64::try_from(captured.time.as_secs())
                    .ok()
                    .and_then(|seconds| Timestamp::new(seconds, captured.time.subsec_nanos().cast_signed()).ok());
                let packet = Packet {
                    time: time.filter(|_| !captured.time.is_zero()).unwrap_or_else(Timestamp::now),
                    outgoing: Some(outgoing),
                    original: u32::try_from(original).unwrap_or(u32::MAX),
                    data: Vec::new(),
                    comments: Vec::new(),
                };
                self.batch.push((packet, kept));
            }
        }
        TURN
    }

    fn keep(&mut self, ready: &[usize]) {
        let lost: u64 = ready.iter().filter_map(|at| self.sockets.get(*at)?.lost().ok()).sum();
        if self.batch.is_empty() && lost == 0 {
            return;
        }
        let ours: Vec<_> = self.networks.iter().map(|network| network.mac).collect();
        let mut rings = self.store.rings();
        rings.lost += lost;
        for (packet, kept) in self.batch.drain(..) {
            rings.push(packet, kept, |mac| ours.contains(&mac));
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "service_tests.rs"]
mod tests;
