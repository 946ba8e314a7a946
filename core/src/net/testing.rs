//! For tests: the ports of an ordinary process, and an interface.

use std::net::{TcpListener, UdpSocket};

use super::{AddressHold, Interface, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};

/// Opens ordinary sockets; meant for loopback. What needs a privilege is unsupported.
#[derive(Debug)]
pub(crate) struct Loopback;

fn io(what: &str) -> impl Fn(std::io::Error) -> NetError {
    move |source| NetError::Io { what: what.to_owned(), source }
}

impl PortSet for Loopback {
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
        let socket = UdpSocket::bind(spec.bind).map_err(io("bind"))?;
        socket.set_nonblocking(true).map_err(io("make a socket non-blocking"))?;
        Ok(socket)
    }
    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        let listener = TcpListener::bind(spec.bind).map_err(io("bind"))?;
        listener.set_nonblocking(true).map_err(io("make a socket non-blocking"))?;
        Ok(listener)
    }
    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        Err(NetError::Unsupported("packet sockets in this test".into()))
    }
    fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        Err(NetError::Unsupported("held addresses in this test".into()))
    }
}

/// A wired interface that is up.
pub(crate) fn interface(name: &str, addresses: &[&str]) -> Interface {
    Interface {
        name: name.into(),
        index: 2,
        mac: None,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        up: true,
        running: true,
        wireless: false,
        virtual_link: false,
        default_route: false,
        speed: None,
        bridge: None,
    }
}
