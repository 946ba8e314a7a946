//! The thread that makes frames of what servers told, and keeps them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use super::frame::{self, Ends, MAX_SEGMENT, Made};
use super::stations::Stations;
use super::stream::{Act, Piece};
use super::{Heard, Tap, WAITING, What};
use crate::lab::Ports;
use crate::net::MacAddr;
use crate::trace::Packet;
use crate::trace::clip::{Clipper, Kept};
use crate::trace::observe::Watched;
use crate::trace::ring::Store;

/// Words before those who look at the rings have their turn.
const TURN: usize = 512;
/// After a turn with so many words the thread rests a little: to be woken for each would cost the servers more than telling does.
const BUSY: usize = 16;
const REST: Duration = Duration::from_millis(4);

/// What the thread needs.
#[derive(Debug)]
pub struct Config {
    /// The networks in service.
    pub networks: Vec<Watched>,
    /// Our TCP ports.
    pub tcp: Ports,
    /// What the servers tell; off until now.
    pub tap: Tap,
    /// Takes the packets.
    pub store: Store,
}

/// The thread that runs. Dropping it turns the tap off and ends it.
#[derive(Debug)]
pub struct Service {
    tap: Tap,
    thread: Option<JoinHandle<()>>,
}

/// Turns the tap on.
///
/// # Errors
/// There is no thread to be had, or the tap is in use.
pub fn start(config: Config) -> io::Result<Service> {
    let (sender, receiver) = sync_channel(WAITING);
    let tap = config.tap.clone();
    if tap.is_on() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    tap.0.queue.store(Some(Arc::new(sender)));
    let core = Core {
        clipper: Clipper::watching(&config.networks, config.tcp),
        stations: Stations::new(config.networks.clone()),
        networks: config.networks,
        tcp: config.tcp,
        tap: config.tap,
        store: config.store,
        batch: Vec::new(),
    };
    tap.0.on.store(true, Ordering::SeqCst);
    let mut service = Service { tap, thread: None };
    let thread = std::thread::Builder::new().name("own packets".into()).spawn(move || core.run(&receiver))?;
    service.thread = Some(thread);
    Ok(service)
}

impl Service {
    /// Ends the thread when what it was told is kept.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.tap.0.on.store(false, Ordering::SeqCst);
        if let Some(queue) = self.tap.0.queue.swap(None) {
            // A full queue is as good: the thread does not wait for more when it is over.
            let stop = Heard { time: Timestamp::UNIX_EPOCH, outgoing: false, what: What::Stop };
            let _ = queue.try_send(stop);
        }
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
    networks: Vec<Watched>,
    tcp: Ports,
    clipper: Clipper,
    stations: Stations,
    tap: Tap,
    store: Store,
    /// What a turn keeps.
    batch: Vec<(Packet, Kept)>,
}

impl Core {
    fn run(mut self, queue: &Receiver<Heard>) {
        // Without the right to be nicer it runs as the servers do.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), crate::trace::NICE);
        loop {
            let first = if self.tap.is_on() { queue.recv().ok() } else { queue.try_recv().ok() };
            let Some(first) = first else { return };
            let turn: Vec<Heard> = std::iter::once(first).chain(queue.try_iter().take(TURN - 1)).collect();
            let taken = turn.len();
            // A fault in one of them costs what was remembered of the others, not the view.
            if catch_unwind(AssertUnwindSafe(|| turn.into_iter().for_each(|heard| self.take(heard)))).is_err() {
                self.clipper = Clipper::watching(&self.networks, self.tcp);
                self.stations = Stations::new(self.networks.clone());
            }
            self.keep();
            if taken >= BUSY {
                std::thread::sleep(REST);
            }
        }
    }

    fn take(&mut self, heard: Heard) {
        self.tap.0.waiting.fetch_sub(heard.what.bytes(), Ordering::Relaxed);
        let Heard { time, outgoing, what } = heard;
        match what {
            What::Frame { bytes, len } => self.clip(time, outgoing, &Made { data: bytes, original: len }, false),
            What::Datagram { local, peer, bytes, len } => {
                let dhcp = [local.port(), peer.port()].iter().any(|port| matches!(port, 67 | 68 | 4011));
                let client = if dhcp { self.stations.dhcp(outgoing, peer, &bytes) } else { None };
                let Some(ends) = self.ends(outgoing, local, peer, client) else { return };
                if let Some(made) = frame::udp(ends, &bytes, len) {
                    self.clip(time, outgoing, &made, true);
                }
            }
            What::Segment(piece) => self.segments(time, outgoing, &piece),
            What::Stop => {}
        }
    }

    /// As many segments as the piece needs.
    fn segments(&mut self, time: Timestamp, outgoing: bool, piece: &Piece) {
        let Piece { local, peer, act, mut seq, ack, ref bytes, len } = *piece;
        let Some(ends) = self.ends(outgoing, local, peer, None) else { return };
        let mut at = 0;
        loop {
            let one = (len - at).min(MAX_SEGMENT);
            if let Some(made) = frame::tcp(ends, act, (seq, ack), bytes.get(at..).unwrap_or_default(), one) {
                self.clip(time, outgoing, &made, true);
            }
            at += one;
            seq = seq.wrapping_add(u32::try_from(one).unwrap_or(u32::MAX));
            if at >= len || act != Act::Data {
                return;
            }
        }
    }

    fn ends(&mut self, outgoing: bool, local: SocketAddr, peer: SocketAddr, client: Option<MacAddr>) -> Option<Ends> {
        let here = v4(local)?;
        let there = v4(peer)?;
        let link = (self.stations.ours(here), client.unwrap_or_else(|| self.stations.of(there)));
        let (ip, port) = ((here, there), (local.port(), peer.port()));
        let turn = |ends: Ends| Ends {
            link: (ends.link.1, ends.link.0),
            ip: (ends.ip.1, ends.ip.0),
            port: (ends.port.1, ends.port.0),
        };
        let ends = Ends { link, ip, port };
        Some(if outgoing { ends } else { turn(ends) })
    }

    /// `seal`: it is a frame of our making.
    fn clip(&mut self, time: Timestamp, outgoing: bool, made: &Made, seal: bool) {
        let Some(mut kept) = self.clipper.clip(&made.data, made.original) else { return };
        if seal {
            frame::seal(&mut kept.data, made.original);
        }
        let original = u32::try_from(made.original).unwrap_or(u32::MAX);
        let packet = Packet { time, outgoing: Some(outgoing), original, data: Vec::new(), comments: Vec::new() };
        self.batch.push((packet, kept));
    }

    fn keep(&mut self) {
        let lost = self.tap.0.lost.swap(0, Ordering::Relaxed);
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

fn v4(end: SocketAddr) -> Option<Ipv4Addr> {
    match end.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}
