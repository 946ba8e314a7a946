//! The ports that machines ask at: free, ours, or whose.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use super::{About, Act, Check, Facts, Fix, Place, Row, State, shell_word};
use crate::lab::Mode;
use crate::lang::{self, Param};
use crate::net::{NetError, Owner, TcpSpec, UdpSpec, port_owners};

/// Where a web server may be moved to, in order.
const HTTP: [u16; 4] = [8080, 8088, 8000, 8880];
const HTTPS: [u16; 3] = [8443, 9443, 4443];
const ISCSI: [u16; 3] = [3261, 3262, 3263];
/// It is on this computer: an answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Ports;

impl Check for Ports {
    fn name(&self) -> &'static str {
        "port"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        facts.places.iter().flat_map(|place| of(facts, place)).collect()
    }
}

/// A port that we need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needed {
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    /// What machines ask for there.
    pub(super) service: &'static str,
}

/// Every port that machines reach us at.
pub(super) fn needed(facts: &Facts) -> [Needed; 6] {
    let ports = facts.lab.ports;
    let of = |protocol, port, service| Needed { protocol, port, service };
    [
        of("UDP", 67, "DHCP"),
        of("UDP", 69, "TFTP"),
        of("UDP", 4011, "PXE"),
        of("TCP", ports.http, "HTTP"),
        of("TCP", ports.https, "HTTPS"),
        of("TCP", ports.iscsi, "iSCSI"),
    ]
}

fn of(facts: &Facts, place: &Place) -> Vec<Row> {
    let Some(interface) = &place.interface else { return Vec::new() };
    needed(facts).iter().map(|needed| port(facts, place, &interface.name, *needed)).collect()
}

fn port(facts: &Facts, place: &Place, interface: &str, needed: Needed) -> Row {
    let Needed { protocol, port, service } = needed;
    let what = format!("{}-{port}@{interface}", protocol.to_lowercase());
    let about = About("port", &what);
    let words: [Param<'_>; 4] =
        [("protocol", &protocol), ("port", &port), ("service", &service), ("interface", &interface)];
    if let Some(serving) = &place.serving {
        // The engine starts without HTTPS where that port is another's.
        let address = serving.address.address;
        let at = if service == "HTTPS" { https(address, port, facts.lab.ports.http) } else { Https::Ours };
        return match at {
            Https::Ours => about.row("ours", State::Ok, &words),
            Https::Another => taken(facts, place, interface, Some(address), needed, &about),
            Https::Silent => about.row("silent", State::Warning, &words),
        };
    }
    let address = place.interface.as_ref().and_then(|i| i.addresses.first()).and(place.address()).map(|a| a.address);
    match open(facts, interface, address, needed) {
        Ok(()) => about.row("free", State::Ok, &words),
        Err(NetError::Taken { .. }) => taken(facts, place, interface, address, needed, &about),
        Err(NetError::NoPrivilege { .. }) => {
            // The tables can be read by everybody. They do not tell of which interface a socket is.
            let owners = port_owners(protocol, address.unwrap_or(Ipv4Addr::UNSPECIFIED).into(), port);
            if owners.is_empty() {
                about.row("unseen", State::Ok, &words)
            } else {
                taken(facts, place, interface, address, needed, &about)
            }
        }
        Err(NetError::Unsupported(why)) => about.row("untried", State::Unsupported(why), &words),
        Err(error) => {
            let [a, b, c, d] = words;
            about.row("untried", State::Unknown, &[a, b, c, d, ("error", &error)])
        }
    }
}

/// Who is at the port for HTTPS while an engine, this process, serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Https {
    Ours,
    Another,
    Silent,
}

fn https(address: Ipv4Addr, port: u16, http: u16) -> Https {
    let ours = |owners: &[Owner]| owners.iter().any(|owner| owner.pid == Some(std::process::id()));
    let owners = port_owners("TCP", address.into(), port);
    if ours(&owners) {
        return Https::Ours;
    }
    // A program with capabilities of its file, and one on another system, does not see whose ports are: HTTP's is ours for sure.
    let blind = || owners.iter().all(|o| o.pid.is_none()) && !ours(&port_owners("TCP", address.into(), http));
    if !owners.is_empty() && !blind() {
        return Https::Another;
    }
    match TcpStream::connect_timeout(&(address, port).into(), PATIENCE) {
        Ok(_) => Https::Ours,
        Err(_) => Https::Silent,
    }
}

/// Opens it as the engine would, and closes it.
fn open(facts: &Facts, interface: &str, address: Option<Ipv4Addr>, needed: Needed) -> Result<(), NetError> {
    // DHCP's are open on every address; of a bare interface nothing else can be said.
    let ip = match needed.port {
        67 | 4011 => Ipv4Addr::UNSPECIFIED,
        _ => address.unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    let (bind, interface) = (SocketAddrV4::new(ip, needed.port), Some(interface.to_owned()));
    match needed.protocol {
        "UDP" => {
            facts.ports.udp(&UdpSpec { bind, interface, broadcast: needed.port == 67, packet_info: false }).map(drop)
        }
        _ => facts.ports.tcp(&TcpSpec { bind: SocketAddr::V4(bind), interface }).map(drop),
    }
}

fn taken(
    facts: &Facts,
    place: &Place,
    interface: &str,
    address: Option<Ipv4Addr>,
    needed: Needed,
    about: &About<'_>,
) -> Row {
    let Needed { protocol, port, service } = needed;
    let owners = port_owners(protocol, address.unwrap_or(Ipv4Addr::UNSPECIFIED).into(), port);
    let owner = match owners.len() {
        0 => lang::sentence("doctor-words", "another-program").to_owned(),
        _ => owners.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    };
    let (stop, undo) = stop(&owners, protocol, port);
    let words: [Param<'_>; 6] = [
        ("protocol", &protocol),
        ("port", &port),
        ("service", &service),
        ("interface", &interface),
        ("owner", &owner),
        ("stop", &stop),
    ];
    let by_command = {
        let fix = Fix::command("stop", &[("owner", &owner)], stop.clone());
        match undo {
            Some(undo) => fix.undone_by(undo),
            None => fix,
        }
    };
    let elsewhere = |candidates: &[u16]| {
        let needed = |port| Needed { port, ..needed };
        candidates.iter().copied().find(|port| open(facts, interface, address, needed(*port)).is_ok())
    };
    let moved = |to: Option<u16>, act: fn(u16) -> Act| match to {
        Some(to) => {
            Fix { command: Some(stop.clone()), ..Fix::act("move", &[("service", &service), ("to", &to)], act(to)) }
        }
        None => by_command.clone(),
    };
    match (service, place.network.mode) {
        ("DHCP", Mode::Proxy) => about.row("beside", State::Ok, &words),
        ("DHCP", Mode::Auto) => about.row("yields", State::Warning, &words).with(by_command),
        ("HTTP", _) => about.row("moveable", State::Failed, &words).with(moved(elsewhere(&HTTP), |to| Act::Ports {
            http: Some(to),
            https: None,
            iscsi: None,
        })),
        // Most machines never ask for it, and the engine starts without.
        ("HTTPS", _) => about.row("https", State::Warning, &words).with(moved(elsewhere(&HTTPS), |to| Act::Ports {
            http: None,
            https: Some(to),
            iscsi: None,
        })),
        ("iSCSI", _) => about.row("moveable", State::Failed, &words).with(moved(elsewhere(&ISCSI), |to| Act::Ports {
            http: None,
            https: None,
            iscsi: Some(to),
        })),
        _ => about.row("taken", State::Failed, &words).with(by_command),
    }
}

/// The command that stops the owners, and the one that starts them again where that can be known.
fn stop(owners: &[Owner], protocol: &str, port: u16) -> (String, Option<String>) {
    let list = if protocol == "UDP" { "-lunp" } else { "-ltnp" };
    let units: Vec<&str> = owners.iter().filter_map(|o| o.unit.as_deref()).collect();
    if !units.is_empty() {
        let units = units.iter().map(|u| shell_word(u)).collect::<Vec<_>>().join(" ");
        return (format!("sudo systemctl disable --now {units}"), Some(format!("sudo systemctl enable --now {units}")));
    }
    let pids: Vec<String> = owners.iter().filter_map(|o| Some(o.pid?.to_string())).collect();
    match pids.is_empty() {
        false => (format!("sudo kill {}", pids.join(" ")), None),
        true => (format!("sudo ss {list} 'sport = :{port}'"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_ours_only_where_somebody_listens() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(https(Ipv4Addr::LOCALHOST, port, port), Https::Ours);
        drop(listener);
        assert_eq!(https(Ipv4Addr::LOCALHOST, port, port), Https::Silent);
    }

    #[test]
    fn a_service_is_stopped_by_its_unit_and_another_program_by_its_number() {
        let owner = |pid, unit: Option<&str>| Owner {
            pid,
            name: pid.map(|_| "dnsmasq".to_owned()),
            user: None,
            unit: unit.map(str::to_owned),
            package: None,
        };
        let (command, undo) = stop(&[owner(Some(7), Some("dnsmasq.service"))], "UDP", 67);
        assert_eq!(command, "sudo systemctl disable --now dnsmasq.service");
        assert_eq!(undo.as_deref(), Some("sudo systemctl enable --now dnsmasq.service"));
        assert_eq!(stop(&[owner(Some(7), None), owner(Some(9), None)], "UDP", 67).0, "sudo kill 7 9");
        assert_eq!(stop(&[owner(None, None)], "TCP", 80).0, "sudo ss -ltnp 'sport = :80'");
    }
}
