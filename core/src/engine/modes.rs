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
use crate::lab::{Mode, Network};
use crate::net::{self, Interface, Ipv4Cidr, PortSet};

/// Another DHCP server is given this long to answer the probe: some look for three seconds whether an address is in use first.
const PROBE: Duration = Duration::from_secs(5);

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
    let PlanNetwork { interface, ifindex, mac, address, .. } = network;
    let probed = dhcp::service::probe(&*ports, &interface, ifindex, mac, Some(address), PROBE).await;
    let Ok(servers) = probed else {
        return;
    };
    for server in &servers {
        let (server, mac) = (server.server, server.mac);
        shared.report(None, EventKind::ForeignDhcp { interface: interface.clone(), server, mac });
    }
    let auto = shared.change_network(&interface, |network, configured, seen| {
        network.foreign = seen || !servers.is_empty();
        let auto = configured.is_some_and(|n| n.mode == Mode::Auto) && !servers.is_empty();
        if auto {
            network.mode = Mode::Proxy;
        }
        auto
    });
    if auto {
        let others = servers.iter().map(|s| s.server.to_string()).collect::<Vec<_>>().join(", ");
        let because = format!("another DHCP server answers here: {others}");
        shared.report(None, EventKind::ModeChosen { interface, mode: "proxy".into(), because });
    }
}

/// A server that was heard is there for so long, whatever it says to us: one that knows its machines by their reservations answers no
/// stranger. Twice as long after each time that it came back.
const SILENT: Duration = Duration::from_secs(600);
/// The longest of these.
const MOST_DOUBLED: u32 = 5;

/// Whether the other servers of an interface have been silent for long.
pub(super) fn is_silent(rivals: Rivals, now: Instant) -> bool {
    let patience = SILENT * 2_u32.pow(rivals.stood_back.saturating_sub(1).min(MOST_DOUBLED));
    rivals.heard.is_none_or(|heard| now.duration_since(heard) >= patience)
}

/// Beside another server that has been silent for long: where it does not answer a question either, twice, `auto` gives addresses again.
pub(super) async fn look_for_server(shared: Arc<Shared>, ports: Arc<dyn PortSet>, network: PlanNetwork) {
    let PlanNetwork { interface, ifindex, mac, address, .. } = network;
    for _ in 0..2 {
        // Through a cable that is out nobody answers.
        if !link(&interface, Duration::ZERO).await {
            return;
        }
        match dhcp::service::probe(&*ports, &interface, ifindex, mac, Some(address), PROBE).await {
            Ok(servers) if servers.is_empty() => {}
            Ok(servers) => {
                for server in servers {
                    let (interface, server, mac) = (interface.clone(), server.server, server.mac);
                    shared.report(None, EventKind::ForeignDhcp { interface, server, mac });
                }
                return;
            }
            // Without an answer to the question nothing changes.
            Err(_) => return,
        }
    }
    if !link(&interface, Duration::ZERO).await {
        return;
    }
    if let Some(gone) = shared.change(|state, plan| take_over(state, plan, &interface, Instant::now())) {
        let because = format!("{} answers no more, so this computer gives the addresses now", named(&gone));
        shared.report(None, EventKind::ModeChosen { interface, mode: "dhcp".into(), because });
    }
}

/// An `auto` network beside servers that are gone becomes `dhcp`; which they were.
fn take_over(state: &mut State, plan: &mut Plan, interface: &str, now: Instant) -> Option<Vec<Ipv4Addr>> {
    let lab = plan.lab.clone();
    let network = plan.networks.iter_mut().find(|n| n.interface == interface)?;
    let auto = lab.networks.get(network.index).is_some_and(|n| n.mode == Mode::Auto);
    let rivals = state.rivals.get(interface).copied().unwrap_or_default();
    if !auto || network.mode != Mode::Proxy || !is_silent(rivals, now) {
        return None;
    }
    (network.mode, network.foreign) = (Mode::Dhcp, false);
    Some(state.foreign.remove(interface).unwrap_or_default())
}

/// Another server gives addresses, which was not so when this network began: `auto` stands back. What was given is still renewed.
pub(super) fn stand_back(shared: &Shared) {
    for (interface, seen) in shared.change(yield_networks) {
        let because = format!("{} gives addresses here, too", named(&seen));
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
        let auto = lab.networks.get(network.index).is_some_and(|n| n.mode == Mode::Auto);
        if auto && network.mode == Mode::Dhcp {
            network.mode = Mode::Proxy;
            yielded.push((network.interface.clone(), seen.clone()));
            state.rivals.entry(network.interface.clone()).or_default().stood_back += 1;
        }
    }
    yielded
}

fn named(addresses: &[Ipv4Addr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if all.is_empty() { "another DHCP server".to_owned() } else { format!("the DHCP server {}", all.join(", ")) }
}

/// The mode in force, why, and the other servers that answered.
pub(super) async fn mode(
    ports: &Arc<dyn PortSet>,
    network: &Network,
    interface: &Interface,
    address: Ipv4Cidr,
) -> Result<(Mode, String, Vec<dhcp::service::ForeignServer>), String> {
    if network.mode == Mode::Proxy {
        return Ok((Mode::Proxy, "lab.toml says so".into(), Vec::new()));
    }
    let mac = interface.mac.unwrap_or_default();
    if network.mode == Mode::Auto {
        // What the probe sends never comes back into this computer.
        let bind = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67);
        let spec = net::UdpSpec { bind, interface: Some(interface.name.clone()), broadcast: true, packet_info: false };
        let ports = ports.clone();
        if let Err(net::NetError::Taken { owner, .. }) = blocking(move || ports.udp(&spec)).await? {
            return Ok((Mode::Proxy, format!("{owner} on this computer has the DHCP port"), Vec::new()));
        }
    }
    let servers = dhcp::service::probe(&**ports, &interface.name, interface.index, mac, Some(address), PROBE)
        .await
        .map_err(|e| e.to_string())?;
    let others: BTreeSet<String> = servers.iter().map(|s| s.server.to_string()).collect();
    let others = others.into_iter().collect::<Vec<_>>().join(", ");
    let found = match (network.mode, servers.is_empty()) {
        (Mode::Auto, true) => (Mode::Dhcp, "no other DHCP server answered the probe".to_owned()),
        (Mode::Auto, false) => (Mode::Proxy, format!("another DHCP server answers here: {others}")),
        (_, false) if !network.force => {
            return Err(format!(
                "another DHCP server answers on {}: {others}; use mode = \"auto\" or \"proxy\", or switch it off",
                interface.name
            ));
        }
        _ => (Mode::Dhcp, "lab.toml says so".to_owned()),
    };
    Ok((found.0, found.1, servers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

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
        assert_eq!(yield_networks(&mut state, &mut plan), [], "nobody was heard");
        let hear = |state: &mut State, at| {
            state.foreign.insert("eth0".into(), vec![server]);
            state.rivals.entry("eth0".into()).or_default().heard = Some(at);
        };
        hear(&mut state, start);
        assert_eq!(yield_networks(&mut state, &mut plan), [("eth0".to_owned(), vec![server])]);
        assert_eq!((plan.networks[0].mode, plan.networks[0].foreign), (Mode::Proxy, true));
        assert_eq!(yield_networks(&mut state, &mut plan), [], "once");
        assert_eq!(take_over(&mut state, &mut plan, "eth0", start + SILENT / 2), None);
        hear(&mut state, start + SILENT / 2);
        assert_eq!(take_over(&mut state, &mut plan, "eth0", start + SILENT), None, "it was heard meanwhile");
        let gone = start + SILENT / 2 + SILENT;
        assert_eq!(take_over(&mut state, &mut plan, "eth0", gone), Some(vec![server]));
        assert_eq!((plan.networks[0].mode, plan.networks[0].foreign), (Mode::Dhcp, false));
        assert_eq!(take_over(&mut state, &mut plan, "eth0", gone), None, "it gives the addresses already");
        // It comes back, and is believed to stay for longer.
        hear(&mut state, gone);
        assert_eq!(yield_networks(&mut state, &mut plan).len(), 1);
        assert_eq!(take_over(&mut state, &mut plan, "eth0", gone + SILENT), None);
        assert_eq!(take_over(&mut state, &mut plan, "eth0", gone + 2 * SILENT), Some(vec![server]));
    }

    #[test]
    fn what_lab_toml_says_is_not_changed() {
        for mode in [Mode::Dhcp, Mode::Proxy] {
            let (mut state, mut plan) = bench();
            let network = Network { mode, ..Network::on("eth0") };
            plan.lab = Arc::new(Lab { networks: vec![network], ..Lab::default() });
            plan.networks[0].mode = mode;
            state.foreign.insert("eth0".into(), vec![Ipv4Addr::new(192, 168, 2, 254)]);
            assert_eq!(yield_networks(&mut state, &mut plan), []);
            assert_eq!((plan.networks[0].mode, plan.networks[0].foreign), (mode, true));
            let late = Instant::now() + 100 * SILENT;
            assert_eq!(take_over(&mut state, &mut plan, "eth0", late), None);
            assert_eq!(plan.networks[0].mode, mode);
        }
    }
}
