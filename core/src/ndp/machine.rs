//! Whom to answer: machines in their iPXE stage, and nobody where a router advertises.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::wire::{self, Heard};
use crate::api::{Allowance, EventKind, Observation, Rate, Who};
use crate::boot::Plan;
use crate::machine::{Machine, Now, Output as MachineOutput};
use crate::net::MacAddr;

/// A router that advertised is taken to be there for at least this long (RFC 4861 6.2.1: it repeats itself within 30 minutes).
const ROUTER_MEMORY: Duration = Duration::from_secs(30 * 60);
/// Machines in their iPXE stage that are remembered; a bench has tens.
const MOST: usize = 4096;

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Index into [`Plan::networks`].
    pub network: usize,
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
}

/// What can happen to an [`NdpMachine`].
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A frame came.
    Frame {
        /// Index into [`Plan::networks`].
        network: usize,
        /// All of it.
        bytes: &'a [u8],
    },
    /// A machine entered its iPXE stage, or left it.
    Stage {
        /// The machine.
        mac: MacAddr,
        /// Whether it is in it.
        ipxe: bool,
    },
    /// A router other than us advertises.
    RouterSeen {
        /// Index into [`Plan::networks`].
        network: usize,
        /// Its lifetime as a default router, seconds.
        lifetime_seconds: u16,
    },
    /// A new plan is in force; its networks are the same.
    Plan(Arc<Plan>),
}

/// What the machine wants done.
pub type Output = MachineOutput<Reply>;

/// See the module's text.
#[derive(Debug)]
pub struct NdpMachine {
    plan: Arc<Plan>,
    ipxe: BTreeSet<MacAddr>,
    routers: HashMap<usize, Duration>,
    told: Allowance,
    out: VecDeque<Output>,
}

impl NdpMachine {
    /// Nobody is in the iPXE stage and no router was heard.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let told = Allowance::new(Rate { burst: 20, per_second: 1 }, Rate { burst: 1000, per_second: 50 });
        Self { plan, ipxe: BTreeSet::new(), routers: HashMap::new(), told, out: VecDeque::new() }
    }

    fn frame(&mut self, now: Now, network: usize, bytes: &[u8]) {
        let Some(us) = self.plan.networks.get(network).map(|n| n.mac) else { return };
        match wire::decode(bytes) {
            Some(Heard::Advertisement { mac, lifetime_seconds }) if mac != us => {
                self.router(now, network, lifetime_seconds);
            }
            Some(Heard::Solicitation { mac, source }) if self.ipxe.contains(&mac) => {
                // A solicitor with a global address has a router already; `::` has no address yet.
                if !source.is_unicast_link_local() && !source.is_unspecified() {
                    return;
                }
                // iPXE asks a handful of times; whoever asks without end is left without an answer.
                if !self.told.take(now.boot, wire::link_local(mac).into()) {
                    return;
                }
                let router = self.routers.get(&network).is_some_and(|until| now.boot < *until);
                let reason = router.then(|| "an IPv6 router advertises on this network".to_owned());
                if !router {
                    let frame = wire::advertisement(us, mac, source);
                    self.out.push_back(Output::Send(Reply { network, frame }));
                }
                let who = Who { mac: Some(mac), ip: None, uuid: None };
                let kind = EventKind::RouterSolicitation { answered: !router, reason };
                self.out.push_back(Output::Event(Box::new(Observation::of(who, kind))));
            }
            _ => {}
        }
    }

    fn router(&mut self, now: Now, network: usize, lifetime_seconds: u16) {
        let memory = Duration::from_secs(lifetime_seconds.into()).max(ROUTER_MEMORY);
        self.routers.insert(network, now.boot + memory);
    }
}

impl Machine for NdpMachine {
    type Input<'a> = Input<'a>;
    type Output = MachineOutput<Reply, Infallible, Infallible>;

    fn handle(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Frame { network, bytes } => self.frame(now, network, bytes),
            Input::Stage { mac, ipxe: true } if self.ipxe.len() < MOST => {
                self.ipxe.insert(mac);
            }
            Input::Stage { ipxe: true, .. } => {}
            Input::Stage { mac, ipxe: false } => {
                self.ipxe.remove(&mac);
            }
            Input::RouterSeen { network, lifetime_seconds } => self.router(now, network, lifetime_seconds),
            Input::Plan(plan) => self.plan = plan,
        }
    }

    fn poll(&mut self) -> Option<Self::Output> {
        self.out.pop_front()
    }

    fn deadline(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::super::wire::{link_local, tests::solicitation};
    use super::*;
    use crate::boot::PlanNetwork;
    use crate::lab::Mode;

    const US: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
    const CLIENT: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 9]);
    const ROUTER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 0xfe]);

    fn machine() -> NdpMachine {
        let network = PlanNetwork {
            index: 0,
            interface: "br0".into(),
            ifindex: 1,
            mac: US,
            address: "192.168.2.1/24".parse().unwrap(),
            mode: Mode::Dhcp,
            foreign: false,
        };
        NdpMachine::new(Arc::new(Plan { networks: vec![network], ..Plan::default() }))
    }

    fn at(seconds: u64) -> Now {
        Now::at(Duration::from_secs(seconds))
    }

    /// What a solicitation brings: the answers' destinations, and whether the event says "answered".
    fn solicit(machine: &mut NdpMachine, now: Now, source: Ipv6Addr) -> (Vec<[u8; 6]>, Vec<bool>) {
        machine.handle(now, Input::Frame { network: 0, bytes: &solicitation(CLIENT, source) });
        let (mut sent, mut events) = (vec![], vec![]);
        while let Some(output) = machine.poll() {
            match output {
                Output::Send(reply) => sent.push(reply.frame[..6].try_into().unwrap()),
                Output::Event(o) => match o.kind {
                    EventKind::RouterSolicitation { answered, .. } => events.push(answered),
                    other => panic!("{other:?}"),
                },
                _ => {}
            }
        }
        (sent, events)
    }

    #[test]
    fn only_a_machine_in_its_ipxe_stage_is_answered() {
        let mut m = machine();
        assert_eq!(solicit(&mut m, at(0), link_local(CLIENT)), (vec![], vec![]));
        m.handle(at(1), Input::Stage { mac: CLIENT, ipxe: true });
        assert_eq!(solicit(&mut m, at(1), link_local(CLIENT)), (vec![CLIENT.0], vec![true]));
        assert_eq!(solicit(&mut m, at(1), Ipv6Addr::UNSPECIFIED), (vec![CLIENT.0], vec![true]), "framed to it alone");
        assert_eq!(solicit(&mut m, at(1), "2001:db8::1".parse().unwrap()), (vec![], vec![]));
        m.handle(at(2), Input::Stage { mac: CLIENT, ipxe: false });
        assert_eq!(solicit(&mut m, at(2), link_local(CLIENT)), (vec![], vec![]));
    }

    #[test]
    fn nobody_is_answered_while_a_router_advertises() {
        let mut m = machine();
        m.handle(at(0), Input::Stage { mac: CLIENT, ipxe: true });
        let advert = wire::advertisement(ROUTER, CLIENT, Ipv6Addr::UNSPECIFIED);
        m.handle(at(1), Input::Frame { network: 0, bytes: &advert });
        assert_eq!(solicit(&mut m, at(2), link_local(CLIENT)), (vec![], vec![false]));
        assert_eq!(solicit(&mut m, at(1799), link_local(CLIENT)), (vec![], vec![false]));
        assert_eq!(solicit(&mut m, at(1802), link_local(CLIENT)), (vec![CLIENT.0], vec![true]));
        m.handle(at(2000), Input::RouterSeen { network: 0, lifetime_seconds: 9000 });
        assert_eq!(solicit(&mut m, at(10_999), link_local(CLIENT)), (vec![], vec![false]));
    }

    #[test]
    fn our_own_advertisement_is_no_router() {
        let mut m = machine();
        m.handle(at(0), Input::Stage { mac: CLIENT, ipxe: true });
        let advert = wire::advertisement(US, CLIENT, Ipv6Addr::UNSPECIFIED);
        m.handle(at(0), Input::Frame { network: 0, bytes: &advert });
        assert_eq!(solicit(&mut m, at(1), link_local(CLIENT)), (vec![CLIENT.0], vec![true]));
    }
}
