//! The network interfaces of this computer, and who is known behind them.

use std::net::Ipv4Addr;

use super::{Interface, MacAddr, NetError};

/// Every interface, in the system's order. Those of the calling thread's network namespace.
///
/// # Errors
/// [`NetError::Io`], or [`NetError::Unsupported`] on a system that we can't ask.
#[cfg(target_os = "linux")]
pub fn interfaces() -> Result<Vec<Interface>, NetError> {
    use bootyard_ports::link;

    use super::Ipv4Cidr;
    use super::linux::routes;

    let io = |source| NetError::Io { what: "cannot list the network interfaces".to_owned(), source };
    let addresses = link::addresses().map_err(io)?;
    let default_routes = routes::default_route_interfaces();
    let links = link::links().map_err(io)?;
    Ok(links
        .into_iter()
        .map(|link| Interface {
            index: link.index,
            mac: link.mac.map(MacAddr),
            addresses: addresses
                .iter()
                .filter(|a| a.index == link.index)
                .map(|a| Ipv4Cidr { address: a.address, prefix: a.prefix })
                .collect(),
            up: link.is_up(),
            running: link.is_running(),
            wireless: is_wireless(&link.name),
            virtual_link: !link.is_ethernet(),
            default_route: default_routes.contains(&link.name),
            speed: if link.is_running() { speed_of(&link.name) } else { None },
            bridge: bridge_of(&link.name),
            name: link.name,
        })
        .collect())
}

/// Wi-Fi looks like Ethernet in all but its class folder.
#[cfg(target_os = "linux")]
fn is_wireless(name: &str) -> bool {
    let class = std::path::Path::new("/sys/class/net").join(name);
    class.join("wireless").exists() || class.join("phy80211").exists()
}

/// Mbit/s; minus one, or an error, where the driver does not know.
#[cfg(target_os = "linux")]
fn speed_of(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(std::path::Path::new("/sys/class/net").join(name).join("speed")).ok()?;
    text.trim().parse::<u32>().ok().filter(|speed| *speed > 0 && *speed < u32::MAX)
}

/// The bridge of a port.
#[cfg(target_os = "linux")]
fn bridge_of(name: &str) -> Option<String> {
    let master = std::fs::read_link(std::path::Path::new("/sys/class/net").join(name).join("brport/bridge")).ok()?;
    Some(master.file_name()?.to_string_lossy().into_owned())
}

/// Whether the interface is a bridge, whose link is that of its ports.
#[must_use]
pub fn is_bridge(name: &str) -> bool {
    cfg!(target_os = "linux") && std::path::Path::new("/sys/class/net").join(name).join("bridge").is_dir()
}

/// The interface through which this computer reaches a network of its own; `None`: it has no way there, or does not tell.
#[cfg(target_os = "linux")]
#[must_use]
pub fn way_to(network: super::Ipv4Cidr) -> Option<String> {
    super::linux::routes::way_to(network)
}

/// See the other; not known here.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn way_to(_network: super::Ipv4Cidr) -> Option<String> {
    None
}

/// The hardware address that this computer has learned for an address on an interface.
#[cfg(target_os = "linux")]
#[must_use]
pub fn neighbour(ip: Ipv4Addr, interface: &str) -> Option<MacAddr> {
    super::linux::routes::neighbour(ip, interface)
}

/// Every interface.
///
/// # Errors
/// [`NetError::Unsupported`].
#[cfg(not(target_os = "linux"))]
pub fn interfaces() -> Result<Vec<Interface>, NetError> {
    Err(NetError::Unsupported("listing network interfaces; the bench runs on Linux".to_owned()))
}

/// The hardware address that this computer has learned for an address on an interface.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn neighbour(_ip: Ipv4Addr, _interface: &str) -> Option<MacAddr> {
    None
}
