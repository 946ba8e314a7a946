//! Who gives the addresses of a network: the mode that is found at the start, and how it follows other servers that come and go.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::serving::blocking;
use super::shared::Shared;
use super::state::{Rivals, State};
use crate::api::EventKind;
use crate::boot::{Plan, PlanNetwork};
use crate::dhcp;
use crate::lab::{Lab, Mode, Network};
use crate::lang;
use crate::net::{self, Interface, Ipv4Cidr, PortSet};

/// Another DHCP server is given this long to answer the probe: some look for three seconds whether an address is in use first.
const PROBE: Duration = Duration::from_secs(5);

/// Where nobody answered, it is asked once more after these pauses: a switch that looks for loops first (spanning tree) lets nothing
/// through for half a minute.
const ONCE_MORE: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(20)];

/// Whether the interface has a link, waiting for one until `patience` is over. A bridge is its ports', which come and go.
pub(super) async fn link(name: &str, patience: Duration) -> bool {
    let until = tokio::time::Instant::now() + patience;
    loop {
        let name = name.to_owned();
        let linked = blocking(move || {
            let running = net::interfaces().is_ok_and(|all| all.iter().any(|i| i.name == name && i.running));
            running || net::is_bridge(&name)
        })
        .await
        .unwrap_or(true);
        if linked || tokio::time::Instant::now() >= until {
            return linked;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The cable is in again: the network may be another one. Offers that were held back begin when nobody answers; beside another server
/// they stop, and `auto` becomes ProxyDHCP.
pub(super) async fn probe_again(shared: Arc<Shared>, ports: Arc<dyn PortSet>, network: PlanNetwork) {
    let mut pauses = ONCE_MORE.into_iter();
    while !somebody_answers(&shared, &*ports, &network).await
        && let Some(pause) = pauses.next()
    {
        tokio::time::sleep(pause).await;
    }
}

/// Asks who gives addresses, and follows the answer; whether there was one.
async fn somebody_answers(shared: &Shared, ports: &dyn PortSet, network: &PlanNetwork) -> bool {
    let PlanNetwork { interface, ifindex, mac, address, .. } = network;
    let servers = loop {
        match dhcp::service::probe(ports, interface, *ifindex, *mac, Some(*address), PROBE).await {
            Ok(servers) => break servers,
            // Offers are held back until it is known.
            Err(_) => tokio::time::sleep(PROBE).await,
        }
    };
    answered(shared, interface, &servers);
    let auto = shared.change_network(interface, |network, configured, seen| {
        network.foreign = seen || !servers.is_empty();
        let auto = configured.is_some_and(|n| n.mode == Mode::Auto) && !servers.is_empty();
        if auto {
            network.mode = Mode::Proxy;
        }
        auto
    });
    if auto {
        let others = servers.iter().map(|s| s.server.to_string()).collect::<Vec<_>>().join(", ");
        let because = said("other", &[("servers", &others)]);
        let (interface, mode) = (interface.clone(), "proxy".into());
        shared.report(None, EventKind::ModeChosen { interface, mode, because });
    }
    !servers.is_empty()
}

/// lab.toml names another mode for a network in service: it is settled as at the start, and the one in force stays until then.
/// `own_port`: port 67 is ours there.
pub(super) async fn settle(
    shared: Arc<Shared>,
    ports: Arc<dyn PortSet>,
    network: PlanNetwork,
    wanted: Network,
    own_port: bool,
) {
    let PlanNetwork { interface, ifindex, mac, address, .. } = network;
    let mut servers = None;
    let (mode, because) = match wanted.mode {
        Mode::Proxy => (Mode::Proxy, said("lab", &[])),
        Mode::Auto if !own_port => (Mode::Proxy, said("taken", &[])),
        asked => {
            let found = dhcp::service::probe(&*ports, &interface, ifindex, mac, Some(address), PROBE).await;
            let found = found.unwrap_or_default();
            answered(&shared, &interface, &found);
            let others = found.iter().map(|s| s.server.to_string()).collect::<Vec<_>>().join(", ");
            let heard = shared.state().foreign.get(&interface).is_some_and(|seen| !seen.is_empty());
            servers = Some(!found.is_empty());
            match asked {
                Mode::Auto if !found.is_empty() => (Mode::Proxy, said("other", &[("servers", &others)])),
                Mode::Auto if heard => (Mode::Proxy, said("heard", &[])),
                Mode::Auto => (Mode::Dhcp, said("nobody", &[])),
                _ => (Mode::Dhcp, said("lab", &[])),
            }
        }
    };
    let settled = shared.change_network(&interface, |network, configured, seen| {
        // It may have been changed again meanwhile.
        let still = configured.is_some_and(|n| n.mode == wanted.mode);
        if still {
            network.mode = mode;
            network.foreign = servers.map_or(network.foreign, |answered| seen || answered);
        }
        still
    });
    if settled {
        let mode = super::views::mode_name(mode).to_owned();
        shared.report(None, EventKind::ModeChosen { interface, mode, because });
    }
}

/// These servers answered a question of ours.
pub(super) fn answered(shared: &Shared, interface: &str, servers: &[dhcp::service::ForeignServer]) {
    if servers.is_empty() {
        return;
    }
    shared.state().rivals.entry(interface.to_owned()).or_default().answers = true;
    for server in servers {
        let (server, mac) = (server.server, server.mac);
        shared.report(None, EventKind::ForeignDhcp { interface: interface.to_owned(), server, mac });
    }
}

/// A server that was heard is there for so long, whatever it says to us: one that knows its machines by their reservations answers no
/// stranger. Twice as long after each time that it came back.
const SILENT: Duration = Duration::from_secs(600);
/// The longest of these.
const MOST_DOUBLED: u32 = 5;

/// Whether the other servers of an interface have been silent for long.
fn is_silent(rivals: Rivals, now: Instant) -> bool {
    let patience = SILENT * 2_u32.pow(rivals.stood_back.saturating_sub(1).min(MOST_DOUBLED));
    rivals.heard.is_none_or(|heard| now.duration_since(heard) >= patience)
}

/// Whether it is time to ask whether other servers are still there. `auto` takes over late, for a router that starts anew comes back.
/// Where lab.toml says `dhcp`, a person has decided who gives the addresses, and waits for the other server to be gone.
pub(super) fn wants_to_know(state: &State, lab: &Lab, network: &PlanNetwork, now: Instant) -> bool {
    let rivals = state.rivals.get(&network.interface).copied().unwrap_or_default();
    match network.mode {
        Mode::Proxy => is_auto(lab, network) && is_silent(rivals, now),
        Mode::Dhcp => state.foreign.get(&network.interface).is_some_and(|seen| !seen.is_empty()),
        Mode::Auto => false,
    }
}

fn is_auto(lab: &Lab, network: &PlanNetwork) -> bool {
    lab.networks.get(network.index).is_some_and(|n| n.mode == Mode::Auto)
}

/// Looks whether the other servers of a network still answer. Where they do not, twice, and that tells something, they are gone: `auto`
/// gives addresses again, and offers that were held back begin.
pub(super) async fn look_for_server(shared: Arc<Shared>, ports: Arc<dyn PortSet>, network: PlanNetwork) {
    let asked = Instant::now();
    let PlanNetwork { interface, ifindex, mac, address, .. } = network;
    for _ in 0..2 {
        // Through a cable that is out nobody answers.
        if !link(&interface, Duration::ZERO).await {
            return;
        }
        match dhcp::service::probe(&*ports, &interface, ifindex, mac, Some(address), PROBE).await {
            Ok(servers) if servers.is_empty() => {}
            Ok(servers) => return answered(&shared, &interface, &servers),
            // Without an answer to the question nothing changes.
            Err(_) => return,
        }
    }
    if !link(&interface, Duration::ZERO).await {
        return;
    }
    if let Some(gone) = shared.change(|state, plan| take_over(state, plan, &interface, asked, Instant::now())) {
        let because = said("gone", &[("server", &named(&gone.servers))]);
        shared.report(None, EventKind::ForeignDhcpGone { interface: interface.clone(), servers: gone.servers });
        if gone.mode_changed {
            shared.report(None, EventKind::ModeChosen { interface, mode: "dhcp".into(), because });
        }
    }
}

/// Servers that are gone.
#[derive(Debug, PartialEq, Eq)]
struct Gone {
    servers: Vec<Ipv4Addr>,
    /// Because of that we give addresses now.
    mode_changed: bool,
}

/// Nobody answered what was asked at `asked`: a network becomes ours alone if its servers are gone.
fn take_over(state: &mut State, plan: &mut Plan, interface: &str, asked: Instant, now: Instant) -> Option<Gone> {
    let lab = plan.lab.clone();
    let network = plan.networks.iter_mut().find(|n| n.interface == interface)?;
    if !wants_to_know(state, &lab, network, now) {
        return None;
    }
    let rivals = state.rivals.entry(interface.to_owned()).or_default();
    let fell_silent = rivals.answers && rivals.heard.is_none_or(|heard| heard < asked);
    if !fell_silent && !is_silent(*rivals, now) {
        return None;
    }
    rivals.answers = false;
    let mode_changed = network.mode == Mode::Proxy;
    (network.mode, network.foreign) = (Mode::Dhcp, false);
    Some(Gone { servers: state.foreign.remove(interface).unwrap_or_default(), mode_changed })
}

/// Another server gives addresses, which was not so when this network began: `auto` stands back. What was given is still renewed.
pub(super) fn stand_back(shared: &Shared) {
    for (interface, seen) in shared.change(yield_networks) {
        let because = said("gives-too", &[("server", &named(&seen))]);
        shared.report(None, EventKind::ModeChosen { interface, mode: "proxy".into(), because });
    }
}

/// Marks the networks on which others were heard; those that become `proxy` because of it, with the others.
fn yield_networks(state: &mut State, plan: &mut Plan) -> Vec<(String, Vec<Ipv4Addr>)> {
    let lab = plan.lab.clone();
    let mut yielded = Vec::new();
    for network in &mut plan.networks {
        let Some(seen) = state.foreign.get(&network.interface).filter(|seen| !seen.is_empty()) else { continue };
        network.foreign = true;
        if is_auto(&lab, network) && network.mode == Mode::Dhcp {
            network.mode = Mode::Proxy;
            yielded.push((network.interface.clone(), seen.clone()));
            state.rivals.entry(network.interface.clone()).or_default().stood_back += 1;
        }
    }
    yielded
}

/// Why a mode is in force.
fn said(key: &str, params: &[lang::Param<'_>]) -> String {
    lang::fill(lang::sentence("mode-because", key), params)
}

fn named(addresses: &[Ipv4Addr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if all.is_empty() { said("a-server", &[]) } else { said("the-server", &[("servers", &all.join(", "))]) }
}

/// The mode in force, why, and the other servers that answered.
pub(super) async fn mode(
    ports: &Arc<dyn PortSet>,
    network: &Network,
    interface: &Interface,
    address: Ipv4Cidr,
) -> Result<(Mode, String, Vec<dhcp::service::ForeignServer>), String> {
    if network.mode == Mode::Proxy {
        return Ok((Mode::Proxy, said("lab", &[]), Vec::new()));
    }
    let mac = interface.mac.unwrap_or_default();
    if network.mode == Mode::Auto {
        // What the probe sends never comes back into this computer.
        let bind = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67);
        let spec = net::UdpSpec { bind, interface: Some(interface.name.clone()), broadcast: true, packet_info: false };
        let ports = ports.clone();
        if let Err(net::NetError::Taken { owner, .. }) = blocking(move || ports.udp(&spec)).await? {
            return Ok((Mode::Proxy, said("port", &[("owner", &owner)]), Vec::new()));
        }
    }
    let servers = dhcp::service::probe(&**ports, &interface.name, interface.index, mac, Some(address), PROBE)
        .await
        .map_err(|e| e.to_string())?;
    let others: BTreeSet<String> = servers.iter().map(|s| s.server.to_string()).collect();
    let others = others.into_iter().collect::<Vec<_>>().join(", ");
    let found = match (network.mode, servers.is_empty()) {
        (Mode::Auto, true) => (Mode::Dhcp, said("nobody", &[])),
        (Mode::Auto, false) => (Mode::Proxy, said("other", &[("servers", &others)])),
        (_, false) if !network.force => {
            return Err(said("refused", &[("interface", &interface.name), ("servers", &others)]));
        }
        _ => (Mode::Dhcp, said("lab", &[])),
    };
    Ok((found.0, found.1, servers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> (State, Plan) {
        let lab =
            Arc::new(Lab { networks: vec![Network { mode: Mode::Auto, ..Network::on("eth0") }], ..Lab::default() });
        let network = PlanNetwork {
            index: 0,
            interface: "eth0".into(),
            ifindex: 2,
            mac: net::MacAddr([2, 0, 0, 0, 0, 1]),
            address: "192.168.2.1/24".parse().unwrap(),
            mode: Mode::Dhcp,
            foreign: false,
        };
        (State::new(0, Vec::new()), Plan { lab, networks: vec![network], ..Plan::default() })
    }

    #[test]
    fn auto_stands_back_at_once_and_takes_over_only_after_a_long_silence() {
        let (mut state, mut plan) = bench();
        let server = Ipv4Addr::new(192, 168, 2, 254);
        let start = Instant::now();
        let take_over = |state: &mut State, plan: &mut Plan, at| take_over(state, plan, "eth0", at, at);
        let gone_server = || Some(Gone { servers: vec![server], mode_changed: true });
        assert_eq!(yield_networks(&mut state, &mut plan), [], "nobody was heard");
        let hear = |state: &mut State, at| {
            state.foreign.insert("eth0".into(), vec![server]);
            state.rivals.entry("eth0".into()).or_default().heard = Some(at);
        };
        hear(&mut state, start);
        assert_eq!(yield_networks(&mut state, &mut plan), [("eth0".to_owned(), vec![server])]);
        assert_eq!((plan.networks[0].mode, plan.networks[0].foreign), (Mode::Proxy, true));
        assert_eq!(yield_networks(&mut state, &mut plan), [], "once");
        assert_eq!(take_over(&mut state, &mut plan, start + SILENT / 2), None);
        hear(&mut state, start + SILENT / 2);
        assert_eq!(take_over(&mut state, &mut plan, start + SILENT), None, "it was heard meanwhile");
        let gone = start + SILENT / 2 + SILENT;
        assert_eq!(take_over(&mut state, &mut plan, gone), gone_server());
        assert_eq!((plan.networks[0].mode, plan.networks[0].foreign), (Mode::Dhcp, false));
        assert_eq!(take_over(&mut state, &mut plan, gone), None, "it gives the addresses already");
        // It comes back, and is believed to stay for longer.
        hear(&mut state, gone);
        assert_eq!(yield_networks(&mut state, &mut plan).len(), 1);
        assert_eq!(take_over(&mut state, &mut plan, gone + SILENT), None);
        assert_eq!(take_over(&mut state, &mut plan, gone + 2 * SILENT), gone_server());
    }

    fn told(mode: Mode) -> (State, Plan) {
        let (mut state, mut plan) = bench();
        let network = Network { mode, ..Network::on("eth0") };
        plan.lab = Arc::new(Lab { networks: vec![network], ..Lab::default() });
        plan.networks[0].mode = mode;
        state.foreign.insert("eth0".into(), vec![Ipv4Addr::new(192, 168, 2, 254)]);
        (state, plan)
    }

    #[test]
    fn offers_that_were_held_back_begin_when_a_server_that_answered_falls_silent() {
        let (mut state, mut plan) = told(Mode::Dhcp);
        let start = Instant::now();
        yield_networks(&mut state, &mut plan);
        assert!(plan.networks[0].foreign);
        let rivals = |heard, answers| Rivals { heard: Some(heard), answers, stood_back: 0 };
        let second = Duration::from_secs(1);
        let asked = start + 60 * second;
        let mut then = |heard, answers| {
            state.rivals.insert("eth0".into(), rivals(heard, answers));
            take_over(&mut state, &mut plan, "eth0", asked, asked + 10 * second)
        };
        assert_eq!(then(start, false), None, "it may answer none but its own machines");
        assert_eq!(then(asked + second, true), None, "it was heard meanwhile");
        let servers = vec![Ipv4Addr::new(192, 168, 2, 254)];
        assert_eq!(then(start, true), Some(Gone { servers, mode_changed: false }));
        assert_eq!(then(start, true), None, "once");
        assert!(!plan.networks[0].foreign && state.foreign.is_empty());
    }

    #[test]
    fn what_lab_toml_says_is_not_changed() {
        for mode in [Mode::Dhcp, Mode::Proxy] {
            let (mut state, mut plan) = told(mode);
            assert_eq!(yield_networks(&mut state, &mut plan), []);
            assert_eq!((plan.networks[0].mode, plan.networks[0].foreign), (mode, true));
            let late = Instant::now() + 100 * SILENT;
            let gone = take_over(&mut state, &mut plan, "eth0", late, late);
            assert_eq!(gone.map(|gone| gone.mode_changed), (mode == Mode::Dhcp).then_some(false));
            assert_eq!(plan.networks[0].mode, mode);
        }
    }
}
