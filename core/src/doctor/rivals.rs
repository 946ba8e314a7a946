//! Other DHCP servers on the wire, asked as a machine would ask.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{About, Act, Check, Facts, Fix, Place, Row, State};
use crate::dhcp;
use crate::dhcp::service::ForeignServer;
use crate::lab::Mode;
use crate::lang::Param;
use crate::net::{NetError, port_owners};

/// A server may look for three seconds whether an address is in use before it offers it (dnsmasq, ISC dhcpd), and the probe asks twice.
const PATIENCE: Duration = Duration::from_secs(5);
/// More servers than these are counted only.
const SHOWN: usize = 8;

pub(super) struct Rivals;

impl Check for Rivals {
    fn name(&self) -> &'static str {
        "other-dhcp"
    }

    fn limit(&self) -> Duration {
        3 * PATIENCE
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        // All networks are asked at once; their rows come in the order of lab.toml.
        let asked: Vec<_> = facts.places.iter().map(|place| (place, ask(facts, place))).collect();
        asked.into_iter().filter_map(|(place, asked)| of(facts, place, asked)).collect()
    }
}

type Answer = Result<Vec<ForeignServer>, NetError>;

/// Asks on this network, beside others; `None` where nobody could answer.
fn ask(facts: &Facts, place: &Place) -> Option<JoinHandle<Answer>> {
    let interface = place.interface.as_ref().filter(|i| i.running && !i.virtual_link)?;
    let (name, index, mac) = (interface.name.clone(), interface.index, interface.mac?);
    let (ports, address) = (facts.ports.clone(), place.address());
    let probe = async move { dhcp::service::probe(&*ports, &name, index, mac, address, PATIENCE).await };
    Some(facts.runtime.spawn(probe))
}

fn of(facts: &Facts, place: &Place, asked: Option<JoinHandle<Answer>>) -> Option<Row> {
    let interface = place.interface.as_ref()?;
    let name = &interface.name;
    let about = About("other-dhcp", name);
    interface.mac.filter(|_| !interface.virtual_link)?;
    if !interface.running {
        return Some(about.row("no-link", State::Unknown, &[("interface", name)]));
    }
    let answer = facts.runtime.block_on(asked?).unwrap_or_else(|broken| {
        let what = format!("ask for DHCP servers on {name}");
        Err(NetError::Io { what, source: std::io::Error::other(broken) })
    });
    let servers = match answer {
        Ok(servers) => servers,
        Err(NetError::Unsupported(why)) => return Some(about.row("not-asked", State::Unsupported(why), &[])),
        Err(error) => return Some(about.row("not-asked", State::Unknown, &[("interface", name), ("error", &error)])),
    };
    let list = listed(&servers);
    let params: [Param<'_>; 2] = [("interface", name), ("servers", &list)];
    Some(match place.network.mode {
        // One on this computer does not hear what this computer sends.
        Mode::Proxy if servers.is_empty() && !another_here(place) => {
            let act = Act::Mode { interface: name.clone(), mode: Mode::Auto };
            about.row("nobody", State::Failed, &params).with(Fix::act("auto", &[("interface", name)], act))
        }
        _ if servers.is_empty() => about.row("none", State::Ok, &params),
        Mode::Proxy => about.row("beside", State::Ok, &params),
        Mode::Auto => about.row("auto", State::Ok, &params),
        Mode::Dhcp if place.network.force => about.row("forced", State::Warning, &params),
        Mode::Dhcp => {
            let act = Act::Mode { interface: name.clone(), mode: Mode::Proxy };
            about.row("refused", State::Failed, &params).with(Fix::act("proxy", &[("interface", name)], act))
        }
    })
}

fn listed(servers: &[ForeignServer]) -> String {
    let one = |s: &ForeignServer| match s.mac {
        Some(mac) => format!("{} ({mac})", s.server),
        None => s.server.to_string(),
    };
    let list = servers.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ");
    match servers.len().saturating_sub(SHOWN) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

/// Whether another program of this computer has the port of a DHCP server.
fn another_here(place: &Place) -> bool {
    let address = place.address().map_or(Ipv4Addr::UNSPECIFIED, |a| a.address);
    port_owners("UDP", address.into(), 67).iter().any(|owner| owner.pid != Some(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_servers_the_rest_is_counted() {
        let servers = |count: u8| -> Vec<ForeignServer> {
            (1..=count).map(|n| ForeignServer { server: [10, 0, 0, n].into(), mac: None }).collect()
        };
        assert_eq!(listed(&servers(2)), "10.0.0.1, 10.0.0.2");
        assert!(listed(&servers(8)).ends_with("10.0.0.8"));
        assert!(listed(&servers(32)).ends_with("10.0.0.8 and 24 more"));
    }
}
