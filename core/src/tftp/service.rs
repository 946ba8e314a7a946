//! The TFTP server's listeners, one for each address, and its transfers: each has a thread and a port of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Root;
use super::ahead::Ahead;
use super::carrier::{Carrier, Signals, is_over};
use super::machine::Transfer;
use super::sizes::Sizes;
use super::source::Source;
use super::wire::{self, Packet, Request, code};
use crate::api::{Allowance, EventKind, Observation, Rate, Reporter, Who};
use crate::machine::Now;
use crate::net::{NetError, PortSet, UdpSpec};
use crate::trace::own::Tap;

/// Transfers at once.
const MAX_TRANSFERS: usize = 512;
/// Transfers at once to one address; more than one, because clones behind one address translator share it.
const MAX_PER_CLIENT: usize = 32;
/// Bytes of a transfer's stack; it needs little.
const STACK: usize = 256 * 1024;
/// Transfers of one client that are told, each with its end; those above are served and not told. A boot loader that fetches its
/// modules over TFTP asks for some hundred files.
const TOLD: Rate = Rate { burst: 400, per_second: 40 };
/// The same for all clients together.
const TOLD_TO_ALL: Rate = Rate { burst: 10_000, per_second: 1000 };
/// Refusals of one client that are told: enough for a boot loader that tries a dozen names for its configuration.
const REFUSALS: Rate = Rate { burst: 50, per_second: 5 };
/// The same for all clients together.
const REFUSALS_TO_ALL: Rate = Rate { burst: 1500, per_second: 50 };

/// What the server needs.
#[derive(Debug)]
pub struct Config<R> {
    /// Addresses to listen on, each with the interface whose packets it takes.
    pub binds: Vec<(SocketAddrV4, Option<String>)>,
    /// Opens the ports.
    pub ports: Arc<dyn PortSet>,
    /// Finds files.
    pub root: Arc<R>,
    /// Takes the events.
    pub reporter: Reporter,
    /// Takes what is received and sent, where nobody captures it.
    pub tap: Tap,
}

/// A running server. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Service {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
    /// Says nothing but that no transfer runs any more.
    transfers: mpsc::Receiver<()>,
}

impl Service {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Ends the listeners and all transfers; each client in a transfer is told so.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.listeners.join_next().await.is_some() {}
        while self.transfers.recv().await.is_some() {}
    }
}

/// Starts listening.
///
/// # Errors
/// [`NetError`] when a port can't be had; none is kept then.
pub async fn start<R: Root>(config: Config<R>) -> Result<Service, NetError> {
    let mut sockets = Vec::new();
    let mut addresses = Vec::new();
    for (bind, interface) in &config.binds {
        let spec = UdpSpec { bind: *bind, interface: interface.clone(), broadcast: false, packet_info: false };
        let socket = config.ports.udp(&spec)?;
        let io = |source| NetError::Io { what: format!("listen for TFTP on {bind}"), source };
        socket.set_nonblocking(true).map_err(io)?;
        let socket = UdpSocket::from_std(socket).map_err(io)?;
        let bound = socket.local_addr().map_err(io)?;
        addresses.push(bound);
        sockets.push((socket, *bind.ip(), bound));
    }
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        root: config.root,
        reporter: config.reporter,
        running: Mutex::default(),
        told: Allowance::new(TOLD, TOLD_TO_ALL),
        refusals: Allowance::new(REFUSALS, REFUSALS_TO_ALL),
        sizes: Sizes::default(),
        stopped,
        tap: config.tap,
    });
    let mut listeners = JoinSet::new();
    let (running, transfers) = mpsc::channel(1);
    for (socket, local, bound) in sockets {
        listeners.spawn(listen(shared.clone(), socket, (local, bound), running.clone()));
    }
    Ok(Service { addresses, stop, listeners, transfers })
}

/// A transfer that runs.
#[derive(Debug)]
struct Running {
    number: u64,
    request: Request,
    signals: Arc<Signals>,
}

#[derive(Debug, Default)]
struct Table {
    by_client: HashMap<(Ipv4Addr, SocketAddr), Running>,
    /// Threads by client, those that end because another request took their place included.
    threads: HashMap<IpAddr, usize>,
    number: u64,
}

impl Table {
    fn all_threads(&self) -> usize {
        self.threads.values().sum()
    }
}

#[derive(Debug)]
struct Shared<R> {
    root: Arc<R>,
    reporter: Reporter,
    running: Mutex<Table>,
    told: Allowance,
    refusals: Allowance,
    /// How large blocks may be for clients to which larger ones did not get.
    sizes: Sizes,
    stopped: watch::Receiver<bool>,
    tap: Tap,
}

impl<R> Shared<R> {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Each change of the table is one insertion or removal: a panic elsewhere leaves nothing half done.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a refusal, unless somebody floods us with them.
    fn refused(&self, peer: SocketAddr, file: String, code: u16, message: String) {
        let now = Now::read();
        if !self.refusals.take(now.boot, peer.ip()) {
            return;
        }
        let kind = EventKind::TftpFailed { file, code, message };
        self.reporter.report(now, Observation::of(Who::ip(peer.ip()), kind));
    }
}

/// Takes its transfer out of the table, however the thread ends.
struct Entry<R> {
    shared: Arc<Shared<R>>,
    key: (Ipv4Addr, SocketAddr),
    number: u64,
    signals: Arc<Signals>,
    _running: mpsc::Sender<()>,
}

impl<R> Drop for Entry<R> {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        if table.by_client.get(&self.key).is_some_and(|running| running.number == self.number) {
            table.by_client.remove(&self.key);
        }
        if let std::collections::hash_map::Entry::Occupied(mut threads) = table.threads.entry(self.key.1.ip()) {
            *threads.get_mut() -= 1;
            if *threads.get() == 0 {
                threads.remove();
            }
        }
        drop(table);
        self.signals.end();
    }
}

/// A name as it may be shown: no control characters, not endless.
fn shown(file: &[u8]) -> String {
    String::from_utf8_lossy(file).chars().filter(|c| !c.is_control()).take(255).collect()
}

/// Waits until the server is stopped or dropped.
async fn over(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server's handle is gone, which ends it too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// `local` is the address that is served, and `bound` where the socket is.
async fn listen<R: Root>(
    shared: Arc<Shared<R>>,
    socket: UdpSocket,
    (local, bound): (Ipv4Addr, SocketAddr),
    running: mpsc::Sender<()>,
) {
    let mut stopped = shared.stopped.clone();
    let mut buf = vec![0; 65536];
    loop {
        tokio::select! {
            () = over(&mut stopped) => break,
            received = socket.recv_from(&mut buf) => match received {
                Ok((len, peer)) => {
                    let packet = buf.get(..len).unwrap_or_default();
                    shared.tap.received(bound, peer, packet);
                    if let Some(answer) = request(&shared, &running, local, peer, packet) {
                        // A refusal that the network does not take is repeated with the client's next request.
                        if socket.send_to(&answer, peer).await.is_ok() {
                            shared.tap.sent(bound, peer, &answer);
                        }
                    }
                }
                // An ICMP error for an earlier answer; a lasting error must not become a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// Begins what a packet to the listening port asks for, or says what to answer.
fn request<R: Root>(
    shared: &Arc<Shared<R>>,
    running: &mpsc::Sender<()>,
    local: Ipv4Addr,
    peer: SocketAddr,
    packet: &[u8],
) -> Option<Vec<u8>> {
    let request = match wire::decode(packet) {
        Ok(Packet::Rrq(request)) => request,
        Ok(Packet::Wrq(request)) => {
            let message = "the client wanted to write; Bootyard's TFTP only reads".to_owned();
            shared.refused(peer, shown(&request.file), code::ACCESS, message);
            return Some(wire::error(code::ACCESS, "this server is read-only"));
        }
        // An error is never answered with an error.
        Ok(Packet::Error { .. }) => return None,
        Ok(_) => return Some(wire::error(code::UNKNOWN_TID, "no transfer at this port")),
        Err(error) => return Some(wire::error(code::ILLEGAL, &error.to_string())),
    };
    let key = (local, peer);
    let mut table = shared.table();
    let mut before = None;
    if let Some(known) = table.by_client.get(&key) {
        if known.request == request {
            known.signals.again();
            return None;
        }
        known.signals.replace();
        before = table.by_client.remove(&key).map(|known| known.signals);
    }
    for (_, known) in table.by_client.iter().filter(|((_, other), _)| other.ip() == peer.ip()) {
        if known.request.file == request.file {
            known.signals.elsewhere();
        }
    }
    let same = table.threads.get(&peer.ip()).copied().unwrap_or(0);
    if table.all_threads() >= MAX_TRANSFERS || same >= MAX_PER_CLIENT {
        drop(table);
        let message = format!("refused: {same} transfers to this client are running, and at most {MAX_PER_CLIENT} may");
        shared.refused(peer, shown(&request.file), code::UNDEFINED, message);
        return Some(wire::error(code::UNDEFINED, "too many transfers; try again later"));
    }
    *table.threads.entry(peer.ip()).or_default() += 1;
    table.number += 1;
    let number = table.number;
    let signals = Arc::new(Signals::default());
    let entry = Entry { shared: shared.clone(), key, number, signals: signals.clone(), _running: running.clone() };
    table.by_client.insert(key, Running { number, request: request.clone(), signals });
    drop(table);
    let file = shown(&request.file);
    let thread = thread::Builder::new().name("tftp".to_owned()).stack_size(STACK);
    if let Err(error) = thread.spawn(move || serve(&entry, &request, before)) {
        shared.refused(peer, file, code::UNDEFINED, format!("no thread for the transfer: {error}"));
        return Some(wire::error(code::UNDEFINED, "the server is out of threads; try again later"));
    }
    None
}

/// One transfer, from its request to its end; `before` is the transfer whose place it takes.
fn serve<R: Root>(entry: &Entry<R>, request: &Request, before: Option<Arc<Signals>>) {
    let (local, peer) = entry.key;
    if let Some(before) = before {
        before.wait_for_end();
    }
    if entry.signals.is_replaced() {
        return;
    }
    let file = shown(&request.file);
    let shared = &entry.shared;
    let socket = match std::net::UdpSocket::bind((local, 0)) {
        Ok(socket) => socket,
        Err(error) => {
            let message = format!("no port for the transfer on {local}: {error}");
            shared.refused(peer, file, code::UNDEFINED, message);
            return;
        }
    };
    let source = match find(&*shared.root, request, peer) {
        Ok(source) => source,
        Err((code, message)) => {
            let answer = wire::error(code, &message);
            if let (Ok(_), Ok(from)) = (socket.send_to(&answer, peer), socket.local_addr()) {
                shared.tap.sent(from, peer, &answer);
            }
            shared.refused(peer, file, code, message);
            return;
        }
    };
    if entry.signals.is_replaced() || is_over(&shared.stopped) {
        return;
    }
    let now = Now::read();
    let reporter = shared.told.take(now.boot, peer.ip()).then(|| shared.reporter.clone());
    let who = Who::ip(peer.ip());
    if let Some(reporter) = &reporter {
        let kind = EventKind::TftpRequest { file: file.clone(), options: request.options.clone() };
        reporter.report(now, Observation::of(who.clone(), kind));
        if wire::has_tail(&request.file) {
            reporter.report(now, Observation::of(who.clone(), EventKind::TftpNameTail { file: file.clone() }));
        }
    }
    let request = shared.sizes.limit(peer.ip(), request);
    let transfer = Transfer::new(who, file, source.total(), &request);
    let mut carrier = Carrier::new(socket, peer, Ahead::new(source), reporter, &shared.tap);
    carrier.run(transfer, &entry.signals, &shared.stopped, &|block| shared.sizes.too_large(peer.ip(), block));
}

/// Finds and opens what is asked for. An error has what the client is told.
fn find<R: Root>(root: &R, request: &Request, peer: SocketAddr) -> Result<Source, (u16, String)> {
    let Some(name) = wire::clean_name(&request.file) else {
        return Err((code::ACCESS, "the name leaves the served folder or is empty".to_owned()));
    };
    let missing = || (code::NOT_FOUND, format!("there is no file {name}"));
    let path = root.find(&name, peer.ip()).ok_or_else(missing)?;
    Source::open(&path, request.mode).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        io::ErrorKind::PermissionDenied => (code::ACCESS, format!("the server may not read {name}")),
        _ => (code::UNDEFINED, format!("{name} can't be opened: {error}")),
    })
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
