//! The sockets and tasks of DHCP: one task owns the machine, one reads each socket, one commits leases.
//!
//! Leases are committed in groups: whatever waits while a write is on its way to the disk goes into the next one. A panic while
//! handling one packet costs that packet's answer, not the service.

mod arp;
mod frame;
mod probe;
mod sockets;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use probe::{ForeignServer, probe};

use self::sockets::Sockets;
use super::machine::{DhcpMachine, Input, OncePerMinute, Output};
use super::wire::{MessageType, Packet, code};
use super::{LeaseStore, StoreError};
use crate::api::{EventKind, Observation, ProxyStyle, Reporter, ServiceKind};
use crate::boot::Plan;
use crate::lab::LeaseRecord;
use crate::machine::{Machine, Now, Ticket};
use crate::net::{MacAddr, NetError, PortSet};

/// Packets and results that wait for the machine.
const QUEUE: usize = 1024;
/// Tickets in one write of leases.
const GROUP: usize = 512;

/// What the service needs.
#[expect(missing_debug_implementations, reason = "a lease store has nothing to show")]
pub struct Config {
    /// The plan in force; its networks are those that are served.
    pub plan: Arc<Plan>,
    /// Opens the ports.
    pub ports: Arc<dyn PortSet>,
    /// Takes the events.
    pub reporter: Reporter,
    /// Makes leases durable.
    pub store: Arc<dyn LeaseStore>,
    /// The leases of an earlier run.
    pub leases: Vec<LeaseRecord>,
    /// Which form of ProxyDHCP offer models of firmware take, by what earlier runs have found.
    pub styles: HashMap<String, ProxyStyle>,
}

/// DHCP in service. Dropping it stops it at once; [`Service::stop`] waits until it has stopped.
#[derive(Debug)]
pub struct Service {
    plan: watch::Sender<Arc<Plan>>,
    stop: watch::Sender<bool>,
    core: JoinHandle<()>,
}

/// Opens the ports of every network and serves.
///
/// # Errors
/// [`NetError`] of the first port that cannot be had. In mode `proxy` port 67 may belong to another server on this computer.
pub async fn start(config: Config) -> Result<Service, NetError> {
    let Config { plan, ports, reporter, store, leases, styles } = config;
    let (messages, inbox) = mpsc::channel(QUEUE);
    let mut sockets = Vec::new();
    // From here on, so that an error for the second network closes the first one's ports.
    let mut readers = Readers::default();
    for (index, network) in plan.networks.iter().enumerate() {
        sockets.push(Sockets::open(&*ports, index, network, &messages, &mut readers)?);
    }
    let (writes, waiting) = mpsc::channel(QUEUE * 4);
    let committer = tokio::spawn(commit(store, waiting, messages, reporter.clone()));
    let (stop, stopped) = watch::channel(false);
    let (plans, new_plans) = watch::channel(plan.clone());
    let core = Core {
        machine: DhcpMachine::new(plan, leases).with_styles(styles),
        sockets,
        writes,
        reporter,
        foreign: <_>::default(),
    };
    let core = tokio::spawn(async move {
        core.run(inbox, new_plans, stopped).await;
        drop(readers);
        // The core's end of `writes` is gone: what was accepted is written, then the committer ends.
        let _ = committer.await;
    });
    Ok(Service { plan: plans, stop, core })
}

impl Service {
    /// Puts a new plan in force. Modes may differ; the networks must be the same.
    pub fn update(&self, plan: Arc<Plan>) {
        self.plan.send_replace(plan);
    }

    /// Stops serving and closes the ports. Leases whose writing had begun are on disk when this returns.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.core.await;
    }
}

/// What the readers and the committer tell the core.
#[derive(Debug)]
enum Message {
    Packet { network: usize, port: u16, source: SocketAddrV4, bytes: Vec<u8> },
    Heard { network: usize, sender: MacAddr, source: Ipv4Addr, bytes: Vec<u8> },
    Committed(Vec<Ticket>, bool),
    InUse { network: usize, address: Ipv4Addr, mac: MacAddr },
}

/// The tasks that read the sockets; they end with it.
#[derive(Debug, Default)]
struct Readers(Vec<JoinHandle<()>>);

impl Readers {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

struct Core {
    machine: DhcpMachine,
    sockets: Vec<Sockets>,
    writes: mpsc::Sender<(Ticket, Vec<LeaseRecord>)>,
    reporter: Reporter,
    foreign: OncePerMinute<(usize, Ipv4Addr)>,
}

impl Core {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut plans: watch::Receiver<Arc<Plan>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        loop {
            let now = Now::read();
            let wait = self.machine.deadline().map_or(Duration::from_secs(3600), |d| d.saturating_sub(now.boot));
            tokio::select! {
                // True: stop. An error: the service was dropped.
                _ = stopped.changed() => return,
                changed = plans.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let plan = plans.borrow_and_update().clone();
                    self.handle(Input::Plan(plan));
                }
                message = inbox.recv() => match message {
                    Some(message) => self.take_in(message),
                    None => return,
                },
                () = tokio::time::sleep(wait) => self.handle(Input::Tick),
            }
            self.carry_out().await;
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Packet { network, port, source, bytes } => {
                self.handle(Input::Packet { network, port, source, bytes: &bytes });
            }
            Message::Committed(tickets, ok) => {
                for ticket in tickets {
                    self.handle(Input::Committed(ticket, ok));
                }
            }
            Message::InUse { network, address, mac } => self.handle(Input::InUse { network, address, mac }),
            Message::Heard { network, sender, source, bytes } => self.heard(network, sender, source, &bytes),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let machine = &mut self.machine;
        let handled = std::panic::catch_unwind(AssertUnwindSafe(move || machine.handle(Now::read(), input)));
        if handled.is_err() {
            let error = "a request could not be handled because of a fault in Bootyard; the server goes on".to_owned();
            self.report(EventKind::ServiceFailed { service: ServiceKind::Dhcp, error });
        }
    }

    /// Another server's packet: one that gives an address is worth knowing.
    fn heard(&mut self, network: usize, sender: MacAddr, source: Ipv4Addr, bytes: &[u8]) {
        let Some(server) = foreign_server(bytes, source) else { return };
        let ours = self.sockets.iter().any(|s| s.address == server || s.mac == sender);
        let Some(sockets) = self.sockets.get(network).filter(|_| !ours) else { return };
        let interface = sockets.interface.clone();
        self.handle(Input::Foreign { network, server });
        if self.foreign.first(Now::read(), (network, server)) {
            self.report(EventKind::ForeignDhcp { interface, server, mac: Some(sender) });
        }
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(reply) => {
                    if let Some(sockets) = self.sockets.get(reply.network) {
                        sockets.send(&reply).await;
                    }
                }
                Output::Persist(ticket, records) => {
                    if self.writes.try_send((ticket, records)).is_err() {
                        self.handle(Input::Committed(ticket, false));
                    }
                }
                Output::Event(observation) => self.reporter.report(Now::read(), observation),
                Output::SendRange { source, .. } => match source {},
            }
        }
    }

    fn report(&self, kind: EventKind) {
        self.reporter.report(Now::read(), Observation::engine(kind));
    }
}

/// The server that gives an address in this reply: an OFFER or ACK with one.
fn foreign_server(bytes: &[u8], source: Ipv4Addr) -> Option<Ipv4Addr> {
    let packet = Packet::decode(bytes).ok()?;
    let gives = [[MessageType::Offer as u8], [MessageType::Ack as u8]];
    let message = packet.option(code::MESSAGE_TYPE)?;
    if packet.op != 2 || packet.yiaddr.is_unspecified() || !gives.iter().any(|g| g == message) {
        return None;
    }
    Some(packet.address(code::SERVER_ID).unwrap_or(source))
}

/// Writes leases in groups and tells the core which tickets are done.
async fn commit(
    store: Arc<dyn LeaseStore>,
    mut waiting: mpsc::Receiver<(Ticket, Vec<LeaseRecord>)>,
    core: mpsc::Sender<Message>,
    reporter: Reporter,
) {
    let mut reported = OncePerMinute::default();
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        let (tickets, records): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let result = store.commit(records.into_iter().flatten().collect()).await;
        if let Err(StoreError(why)) = &result
            && reported.first(Now::read(), ())
        {
            let error = format!("no address is given because leases cannot be written: {why}");
            let kind = EventKind::ServiceFailed { service: ServiceKind::Dhcp, error };
            reporter.report(Now::read(), Observation::engine(kind));
        }
        // At the stop nobody listens any more; what was accepted is written all the same.
        let _ = core.send(Message::Committed(tickets, result.is_ok())).await;
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
