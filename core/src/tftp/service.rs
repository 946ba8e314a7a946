//! The TFTP server's sockets and tasks: one listener for each address, one task and one port of its own for each transfer.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::Root;
use super::machine::{Blocks, Input, Transfer};
use super::source::Source;
use super::wire::{self, Packet, Request, code};
use crate::api::{EventKind, Observation, Reporter, Who};
use crate::machine::{Machine, Now, Output};
use crate::net::{NetError, PortSet, UdpSpec};

/// Transfers at once.
const MAX_TRANSFERS: usize = 512;
/// Transfers at once to one address; more than one, because clones behind one address translator share it.
const MAX_PER_CLIENT: usize = 32;
/// Refusals that are reported in a second; what is above is answered and not told.
const MAX_REFUSALS_TOLD: u32 = 50;

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
}

/// A running server. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Service {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
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
        addresses.push(socket.local_addr().map_err(io)?);
        sockets.push((socket, *bind.ip()));
    }
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        root: config.root,
        reporter: config.reporter,
        running: Mutex::default(),
        told: Mutex::new((Duration::ZERO, 0)),
        stopped,
    });
    let mut listeners = JoinSet::new();
    for (socket, local) in sockets {
        listeners.spawn(listen(shared.clone(), socket, local));
    }
    Ok(Service { addresses, stop, listeners })
}

/// A transfer that runs.
#[derive(Debug)]
struct Running {
    number: u64,
    request: Request,
    again: Arc<Notify>,
    task: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct Table {
    by_client: HashMap<(Ipv4Addr, SocketAddr), Running>,
    number: u64,
}

#[derive(Debug)]
struct Shared<R> {
    root: Arc<R>,
    reporter: Reporter,
    running: Mutex<Table>,
    told: Mutex<(Duration, u32)>,
    stopped: watch::Receiver<bool>,
}

impl<R> Shared<R> {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Each change of the table is one insertion or removal: a panic elsewhere leaves nothing half done.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a refusal, unless somebody floods us with them.
    fn refused(&self, peer: SocketAddr, file: String, code: u16, message: String) {
        let now = Now::read();
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if now.boot.saturating_sub(told.0) >= Duration::from_secs(1) {
                *told = (now.boot, 0);
            }
            told.1 += 1;
            if told.1 > MAX_REFUSALS_TOLD {
                return;
            }
        }
        let kind = EventKind::TftpFailed { file, code, message };
        self.reporter.report(now, Observation::of(Who::ip(peer.ip()), kind));
    }
}

/// Takes its transfer out of the table, however the task ends.
struct Entry<R> {
    shared: Arc<Shared<R>>,
    key: (Ipv4Addr, SocketAddr),
    number: u64,
}

impl<R> Drop for Entry<R> {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        if table.by_client.get(&self.key).is_some_and(|running| running.number == self.number) {
            table.by_client.remove(&self.key);
        }
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

async fn listen<R: Root>(shared: Arc<Shared<R>>, socket: UdpSocket, local: Ipv4Addr) {
    let mut stopped = shared.stopped.clone();
    let mut transfers = JoinSet::new();
    let mut buf = vec![0; 65536];
    loop {
        tokio::select! {
            () = over(&mut stopped) => break,
            Some(_) = transfers.join_next(), if !transfers.is_empty() => {}
            received = socket.recv_from(&mut buf) => match received {
                Ok((len, peer)) => {
                    let packet = buf.get(..len).unwrap_or_default();
                    if let Some(answer) = request(&shared, &mut transfers, local, peer, packet) {
                        // A refusal that the network does not take is repeated with the client's next request.
                        let _ = socket.send_to(&answer, peer).await;
                    }
                }
                // An ICMP error for an earlier answer; a lasting error must not become a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    while transfers.join_next().await.is_some() {}
}

/// Begins what a packet to the listening port asks for, or says what to answer.
fn request<R: Root>(
    shared: &Arc<Shared<R>>,
    transfers: &mut JoinSet<()>,
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
    if let Some(running) = table.by_client.get(&key) {
        if running.request == request {
            running.again.notify_one();
            return None;
        }
        if let Some(task) = &running.task {
            task.abort();
        }
        table.by_client.remove(&key);
    }
    let same = table.by_client.keys().filter(|(_, other)| other.ip() == peer.ip()).count();
    if table.by_client.len() >= MAX_TRANSFERS || same >= MAX_PER_CLIENT {
        drop(table);
        let message = format!("refused: {same} transfers to this client are running, and at most {MAX_PER_CLIENT} may");
        shared.refused(peer, shown(&request.file), code::UNDEFINED, message);
        return Some(wire::error(code::UNDEFINED, "too many transfers; try again later"));
    }
    table.number += 1;
    let number = table.number;
    let again = Arc::new(Notify::new());
    let entry = Entry { shared: shared.clone(), key, number };
    let running = Running { number, request: request.clone(), again: again.clone(), task: None };
    table.by_client.insert(key, running);
    // The task's entry takes the table's lock when it ends, so it may well begin while it is held here.
    let task = transfers.spawn(async move { serve(entry, request, again).await });
    if let Some(running) = table.by_client.get_mut(&key) {
        running.task = Some(task);
    }
    None
}

async fn serve<R: Root>(entry: Entry<R>, request: Request, again: Arc<Notify>) {
    let (local, peer) = entry.key;
    let file = shown(&request.file);
    let shared = &entry.shared;
    let socket = match UdpSocket::bind((local, 0)).await {
        Ok(socket) => socket,
        Err(error) => {
            let message = format!("no port for the transfer on {local}: {error}");
            shared.refused(peer, file, code::UNDEFINED, message);
            return;
        }
    };
    let found = find(shared.root.clone(), &request, peer).await;
    let source = match found {
        Ok(source) => source,
        Err((code, message)) => {
            let _ = socket.send_to(&wire::error(code, &message), peer).await;
            shared.refused(peer, file, code, message);
            return;
        }
    };
    let who = Who::ip(peer.ip());
    let kind = EventKind::TftpRequest { file: file.clone(), options: request.options.clone() };
    shared.reporter.report(Now::read(), Observation::of(who.clone(), kind));
    let transfer = Transfer::new(who, file, source.total(), &request);
    let mut carrier = Carrier { socket, peer, source, read: Vec::new(), packet: Vec::new() };
    carrier.run(transfer, &shared.reporter, &again, shared.stopped.clone()).await;
}

/// Finds and opens what is asked for, off the async threads. An error has what the client is told.
async fn find<R: Root>(root: Arc<R>, request: &Request, peer: SocketAddr) -> Result<Source, (u16, String)> {
    let Some(name) = wire::clean_name(&request.file) else {
        return Err((code::ACCESS, "the name leaves the served folder or is empty".to_owned()));
    };
    let mode = request.mode;
    let opened = tokio::task::spawn_blocking(move || {
        let missing = || (code::NOT_FOUND, format!("there is no file {name}"));
        let path = root.find(&name, peer.ip()).ok_or_else(missing)?;
        Source::open(&path, mode).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(),
            io::ErrorKind::PermissionDenied => (code::ACCESS, format!("the server may not read {name}")),
            _ => (code::UNDEFINED, format!("{name} can't be opened: {error}")),
        })
    });
    opened.await.unwrap_or_else(|_| Err((code::UNDEFINED, "the server failed to look the file up".to_owned())))
}

/// What carries out a transfer's outputs.
struct Carrier {
    socket: UdpSocket,
    peer: SocketAddr,
    source: Source,
    read: Vec<u8>,
    packet: Vec<u8>,
}

impl Carrier {
    async fn run(
        &mut self,
        mut transfer: Transfer,
        reporter: &Reporter,
        again: &Notify,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut buf = [0; 2048];
        transfer.handle(Now::read(), Input::Start);
        loop {
            while let Some(output) = transfer.poll() {
                match output {
                    // A packet that the network does not take is as good as lost: the timer repeats it.
                    Output::Send(packet) => drop(self.socket.send_to(&packet, self.peer).await),
                    Output::SendRange { source, offset, len } => {
                        if let Err(error) = self.send(source, offset, len).await {
                            transfer.handle(Now::read(), Input::Broken(&format!("reading the file failed: {error}")));
                        }
                    }
                    Output::Event(observation) => reporter.report(Now::read(), observation),
                    Output::Persist(_, never) => match never {},
                }
            }
            if transfer.ended() {
                return;
            }
            let now = Now::read();
            let wait = transfer.deadline().map_or(Duration::from_secs(30), |at| at.saturating_sub(now.boot));
            tokio::select! {
                biased;
                received = self.socket.recv_from(&mut buf) => if let Ok((len, from)) = received {
                    if from == self.peer {
                        transfer.handle(Now::read(), Input::Packet(buf.get(..len).unwrap_or_default()));
                    } else {
                        let answer = wire::error(code::UNKNOWN_TID, "this transfer is another client's");
                        let _ = self.socket.send_to(&answer, from).await;
                    }
                },
                () = again.notified() => transfer.handle(Now::read(), Input::Again),
                () = over(&mut stopped) => {
                    transfer.handle(Now::read(), Input::Broken("Bootyard stopped while the transfer ran"));
                }
                () = tokio::time::sleep(wait) => transfer.handle(Now::read(), Input::Due),
            }
        }
    }

    /// Reads a window at once and sends it block by block.
    async fn send(&mut self, blocks: Blocks, offset: u64, len: u64) -> io::Result<()> {
        // A window is at most 128 KiB and nearly always read ahead: a thread for it would cost more than the read.
        self.source.read(offset, usize::try_from(len).unwrap_or(usize::MAX), &mut self.read)?;
        let mut parts = self.read.chunks(usize::from(blocks.size));
        for at in 0..blocks.count {
            self.packet.clear();
            self.packet.extend_from_slice(&3u16.to_be_bytes());
            self.packet.extend_from_slice(&blocks.first.wrapping_add(at).to_be_bytes());
            self.packet.extend_from_slice(parts.next().unwrap_or_default());
            // As with a lost packet, the timer or the client's next ACK repeats it.
            let _ = self.socket.send_to(&self.packet, self.peer).await;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
