//! Who gives the addresses of a network: the mode that is found at the start, and how it follows other servers that come and go.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use super::serving::blocking;
use super::shared::Shared;
use crate::api::EventKind;
use crate::boot::PlanNetwork;
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

/// Beside another server that may have gone: where nobody answers any more, twice, `auto` gives addresses again.
pub(super) async fn look_for_server(shared: Arc<Shared>, ports: Arc<dyn PortSet>, network: PlanNetwork) {
    let PlanNetwork { interface, ifindex, mac, address, .. } = network;
    for _ in 0..2 {
        match dhcp::service::probe(&*ports, &interface, ifindex, mac, Some(address), PROBE).await {
            Ok(servers) if servers.is_empty() => {}
            // Without an answer to the question nothing changes.
            _ => return,
        }
    }
    let alone = shared.change(|state, plan| {
        let lab = plan.lab.clone();
        let network = plan.networks.iter_mut().find(|n| n.interface == interface)?;
        let auto = lab.networks.get(network.index).is_some_and(|n| n.mode == Mode::Auto);
        let gone =
            (auto && network.mode == Mode::Proxy).then(|| state.foreign.remove(&interface).unwrap_or_default())?;
        (network.mode, network.foreign) = (Mode::Dhcp, false);
        Some(gone)
    });
    if let Some(gone) = alone {
        let because = format!("{} answers no more, so this computer gives the addresses now", named(&gone));
        shared.report(None, EventKind::ModeChosen { interface, mode: "dhcp".into(), because });
    }
}

/// Another server gives addresses, which was not so when this network began: `auto` stands back. What was given is still renewed.
pub(super) fn stand_back(shared: &Shared) {
    let proxied = shared.change(|state, plan| {
        let lab = plan.lab.clone();
        let mut proxied = Vec::new();
        for network in &mut plan.networks {
            let Some(seen) = state.foreign.get(&network.interface).filter(|seen| !seen.is_empty()) else { continue };
            network.foreign = true;
            let auto = lab.networks.get(network.index).is_some_and(|n| n.mode == Mode::Auto);
            if auto && network.mode == Mode::Dhcp {
                network.mode = Mode::Proxy;
                proxied.push((network.interface.clone(), seen.clone()));
            }
        }
        proxied
    });
    for (interface, seen) in proxied {
        let because = format!("{} gives addresses here, too", named(&seen));
        shared.report(None, EventKind::ModeChosen { interface, mode: "proxy".into(), because });
    }
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
