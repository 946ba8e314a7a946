//! The sockets and the thread of DHCP: one thread owns the machine, reads the sockets and answers; the store's own commits leases.
//!
//! Leases are committed in groups: whatever waits while a write is on its way to the disk goes into the next one. A panic while
//! handling one packet costs that packet's answer, not the service.

mod arp;
mod core;
mod frame;
mod probe;
mod sockets;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::oneshot;

pub use probe::{ForeignServer, probe};

use self::core::{Core, Mailbox, Turn};
use self::sockets::Sockets;
use super::machine::DhcpMachine;
use super::wire::{MessageType, Packet, code};
use super::{Done, LeaseStore, StoreError};
use crate::api::{ProxyStyle, Reporter};
use crate::boot::Plan;
use crate::lab::LeaseRecord;
use crate::net::{NetError, PortSet, ready};
use crate::trace::own::Tap;

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
    /// Takes what is received and sent, where nobody captures it.
    pub tap: Tap,
}

/// DHCP in service. Dropping it stops it at once; [`Service::stop`] waits until it has stopped.
#[derive(Debug)]
pub struct Service {
    mailbox: Arc<Mailbox>,
    own_port: Vec<String>,
    /// Its other end goes with the thread.
    ended: oneshot::Receiver<()>,
}

/// Opens the ports of every network and serves.
///
/// # Errors
/// [`NetError`] of the first port that cannot be had. In mode `proxy` port 67 may belong to another server on this computer.
pub async fn start(config: Config) -> Result<Service, NetError> {
    let Config { plan, ports, reporter, store, leases, styles, tap } = config;
    let (mut sources, mut sockets) = (Vec::new(), Vec::new());
    for (index, network) in plan.networks.iter().enumerate() {
        sockets.push(Sockets::open(&*ports, index, network, &tap, &mut sources)?);
    }
    let own_port = sockets.iter().filter(|s| s.owns_port()).map(|s| s.interface.clone()).collect();
    let io = |source| NetError::Io { what: "start the thread of the DHCP server".to_owned(), source };
    let (waker, bell) = ready::waker().map_err(io)?;
    let mailbox = Arc::new(Mailbox::new(waker));
    let machine = DhcpMachine::new(plan, leases).with_styles(styles);
    let core =
        Core { machine, sources, sockets, store, mailbox: mailbox.clone(), bell, reporter, turn: Turn::default() };
    let (ends, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("dhcp".into()).spawn(move || {
        core.run();
        drop(ends);
    });
    thread.map_err(io)?;
    Ok(Service { mailbox, own_port, ended })
}

impl Service {
    /// Puts a new plan in force. Modes may differ; the networks must be the same.
    pub fn update(&self, plan: Arc<Plan>) {
        self.mailbox.post(|orders| orders.plan = Some(plan));
    }

    /// The interfaces on which port 67 is ours: on the others another server of this computer has it.
    #[must_use]
    pub fn own_port(&self) -> &[String] {
        &self.own_port
    }

    /// Stops serving and closes the ports. Leases whose writing had begun are on disk when this returns.
    pub async fn stop(mut self) {
        self.mailbox.post(|orders| orders.stop = true);
        // An error is the end, too.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.mailbox.post(|orders| orders.stop = true);
    }
}

/// What a frame carries to a DHCP client's or server's port; for the self-test.
pub(crate) fn udp_of_frame(frame: &[u8]) -> Option<&[u8]> {
    Some(frame::parse(frame)?.payload)
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod load_tests;
