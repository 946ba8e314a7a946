//! The port set of a process that has the privileges itself: root, or a service with `CAP_NET_BIND_SERVICE`, `CAP_NET_RAW`
//! and `CAP_NET_ADMIN`. Without them its errors say what to run.

use std::net::{TcpListener, UdpSocket};

#[cfg(target_os = "linux")]
use super::helper::Helper;
#[cfg(target_os = "linux")]
use super::linux::{hold::DirectHold, ports};
use super::{AddressHold, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};

/// Opens everything itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

#[cfg(target_os = "linux")]
impl PortSet for Direct {
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
        ports::udp(spec)
    }

    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        ports::tcp(spec)
    }

    fn packet(&self, interface: &str, purpose: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        ports::packet(interface, purpose)
    }

    fn hold_address(&self, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        // The program stays privileged when this process gives that up, and outlives its crash.
        if let Some(helper) = Helper::programs().iter().find_map(|program| Helper::spawn(program).ok()) {
            return helper.hold_address(interface, address);
        }
        Ok(Box::new(DirectHold::take(interface, address)?))
    }
}

/// Elsewhere the ordinary sockets work as far as the system's own rules let them; what needs more is refused.
#[cfg(not(target_os = "linux"))]
impl PortSet for Direct {
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
        Err(unsupported(&format!("UDP port {} with its interface known", spec.bind.port())))
    }

    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        Err(unsupported(&format!("TCP port {} on one interface", spec.bind.port())))
    }

    fn packet(&self, interface: &str, _purpose: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        Err(unsupported(&format!("a packet socket on {interface}")))
    }

    fn hold_address(&self, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        Err(unsupported(&format!("holding {address} on {interface}")))
    }
}

#[cfg(not(target_os = "linux"))]
fn unsupported(what: &str) -> NetError {
    NetError::Unsupported(format!("{what}; the bench runs on Linux"))
}
