//! The packet sockets of router discovery, one a network, and the task that owns the machine.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::machine::{Input, NdpMachine, Output};
use crate::api::Reporter;
use crate::boot::Plan;
use crate::machine::{Machine, Now};
use crate::net::watch::Watched;
use crate::net::{MacAddr, NetError, PacketUse, PortSet};
use crate::trace::own::Tap;

/// Frames and stages that wait for the machine.
const QUEUE: usize = 1024;
/// Longer than any solicitation or advertisement in an Ethernet frame.
const BUFFER: usize = 2048;

/// What the service needs.
#[derive(Debug)]
pub struct Config {
    /// The plan in force; its networks are those that are served.
    pub plan: Arc<Plan>,
    /// Opens the packet sockets.
    pub ports: Arc<dyn PortSet>,
    /// Takes the events.
    pub reporter: Reporter,
    /// Takes what is received and sent, where nobody captures it.
    pub tap: Tap,
}

/// Answers in service. Dropping it stops it at once.
#[derive(Debug)]
pub struct Service {
    messages: mpsc::Sender<Message>,
    stop: watch::Sender<bool>,
    core: JoinHandle<()>,
}

#[derive(Debug)]
enum Message {
    Frame { network: usize, bytes: Vec<u8> },
    Stage { mac: MacAddr, ipxe: bool },
}

/// Opens the packet socket of every network and answers. Where the system has no packet sockets nobody is answered, which costs iPXE its
/// wait for a router and nothing else.
///
/// # Errors
/// [`NetError`] of the first socket that cannot be had.
pub async fn start(config: Config) -> Result<Service, NetError> {
    let (messages, inbox) = mpsc::channel(QUEUE);
    let mut sockets = Vec::new();
    for network in &config.plan.networks {
        sockets.push(match config.ports.packet(&network.interface, PacketUse::RouterDiscovery) {
            Ok(socket) => Some(Arc::new(Watched::new(socket, &network.interface)?)),
            Err(NetError::Unsupported(_)) => None,
            Err(error) => return Err(error),
        });
    }
    let readers: Vec<_> = sockets
        .iter()
        .enumerate()
        .filter_map(|(network, socket)| Some((network, socket.clone()?)))
        .map(|(network, socket)| tokio::spawn(read(socket, network, messages.clone(), config.tap.clone())))
        .collect();
    // A router that advertises only now and then makes itself known: beside one nothing is ever advertised.
    for (socket, network) in sockets.iter().zip(&config.plan.networks) {
        let Some(socket) = socket else { continue };
        let _no_link_no_router =
            socket.send(&super::wire::solicitation(network.mac, super::wire::link_local(network.mac)));
    }
    let (stop, stopped) = watch::channel(false);
    let machine = NdpMachine::new(config.plan);
    let core = tokio::spawn(async move {
        run(machine, &sockets, (&config.reporter, &config.tap), inbox, stopped).await;
        for reader in readers {
            reader.abort();
        }
    });
    Ok(Service { messages, stop, core })
}

impl Service {
    /// A machine entered its iPXE stage, or left it. Never waits: when the queue is full, the machine waits for its time-out instead.
    pub fn ipxe_stage(&self, mac: MacAddr, ipxe: bool) {
        let _ = self.messages.try_send(Message::Stage { mac, ipxe });
    }

    /// Stops answering and closes the sockets.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.core.await;
    }
}

async fn run(
    mut machine: NdpMachine,
    sockets: &[Option<Arc<Watched>>],
    (reporter, tap): (&Reporter, &Tap),
    mut inbox: mpsc::Receiver<Message>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let message = tokio::select! {
            // True: stop. An error: the service was dropped.
            _ = stopped.changed() => return,
            message = inbox.recv() => message,
        };
        match message {
            Some(Message::Frame { network, bytes }) => {
                machine.handle(Now::read(), Input::Frame { network, bytes: &bytes });
            }
            Some(Message::Stage { mac, ipxe }) => machine.handle(Now::read(), Input::Stage { mac, ipxe }),
            None => return,
        }
        while let Some(output) = machine.poll() {
            match output {
                Output::Send(reply) => {
                    // A lost answer is asked for again.
                    if let Some(Some(socket)) = sockets.get(reply.network)
                        && socket.send(&reply.frame).is_ok()
                    {
                        tap.frame(true, &reply.frame);
                    }
                }
                Output::Event(observation) => reporter.report(Now::read(), *observation),
                Output::SendRange { source, .. } => match source {},
                Output::Persist(_, nothing) => match nothing {},
            }
        }
    }
}

async fn read(socket: Arc<Watched>, network: usize, messages: mpsc::Sender<Message>, tap: Tap) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(len) => {
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                tap.frame(false, &bytes);
                if messages.send(Message::Frame { network, bytes }).await.is_err() {
                    return;
                }
            }
            // An interface that goes down and comes back says so here.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::api::reports;
    use crate::boot::PlanNetwork;
    use crate::lab::Mode;
    use crate::ndp::wire::{Heard, decode};
    use crate::net::bench::{Bench, ip};
    use crate::net::{Direct, interfaces};

    fn mac_of(name: &str) -> MacAddr {
        interfaces().unwrap().into_iter().find(|i| i.name == name).and_then(|i| i.mac).unwrap()
    }

    /// An advertisement heard on `right` within four seconds of its IPv6 starting anew, which is when Linux solicits.
    async fn advertised() -> Option<Heard> {
        ip(&["link", "set", "right", "down"]);
        ip(&["link", "set", "right", "up"]);
        let listener = Watched::new(Direct.packet("right", PacketUse::RouterDiscovery).unwrap(), "right").unwrap();
        let mut buffer = [0; 2048];
        let heard = async {
            loop {
                let len = listener.recv(&mut buffer).await.unwrap();
                if let Some(heard @ Heard::Advertisement { .. }) = decode(&buffer[..len]) {
                    return heard;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(4), heard).await.ok()
    }

    #[test]
    fn linux_is_answered_in_its_ipxe_stage_only() {
        Bench::run("ndp", || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let us = mac_of("left");
                let network = PlanNetwork {
                    index: 0,
                    interface: "left".into(),
                    ifindex: 2,
                    mac: us,
                    address: "192.168.77.1/24".parse().unwrap(),
                    mode: Mode::Dhcp,
                    foreign: false,
                };
                let plan = Arc::new(Plan { networks: vec![network], ..Plan::default() });
                let (reporter, _reports) = reports();
                let service =
                    start(Config { plan, ports: Arc::new(Direct), reporter, tap: <_>::default() }).await.unwrap();
                assert_eq!(advertised().await, None);
                service.ipxe_stage(mac_of("right"), true);
                assert_eq!(advertised().await, Some(Heard::Advertisement { mac: us, lifetime_seconds: 0 }));
                service.stop().await;
            });
        });
    }
}
