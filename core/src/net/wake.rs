//! Wake-on-LAN: the magic packet that a card in a machine that is off listens for.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

use super::MacAddr;

/// Discard, which cards and their documents name; the card itself looks at the contents alone.
const PORT: u16 = 9;

/// Six bytes of ones, then the address sixteen times, as AMD's white paper of the magic packet (20213, 1995) has it.
#[must_use]
pub fn magic_packet(mac: MacAddr) -> [u8; 102] {
    let mut packet = [0xff; 102];
    for (at, byte) in packet.iter_mut().enumerate().skip(6) {
        *byte = mac.0[at % 6];
    }
    packet
}

/// Broadcasts a magic packet for each address out of this interface, which needs no privilege. `from`: our address there.
///
/// # Errors
/// The operating system's, with what was tried.
pub fn wake(interface: &str, from: Ipv4Addr, macs: &[MacAddr]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("no packet could be broadcast on {interface}: {error}");
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    // Else the system would choose the interface of the default route.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.bind_device(Some(interface.as_bytes())).map_err(failed)?;
    socket.set_broadcast(true).map_err(failed)?;
    socket.bind(&SocketAddr::from((from, 0)).into()).map_err(failed)?;
    let to = SocketAddr::from(SocketAddrV4::new(Ipv4Addr::BROADCAST, PORT)).into();
    for mac in macs {
        socket.send_to(&magic_packet(*mac), &to).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_packet_is_six_ones_and_sixteen_addresses() {
        let mac = MacAddr([0x52, 0x54, 0, 1, 2, 3]);
        let packet = magic_packet(mac);
        assert_eq!(packet[..6], [0xff; 6]);
        assert_eq!(packet[6..].chunks(6).filter(|c| *c == mac.0).count(), 16);
        assert_eq!(packet.len(), 6 + 16 * 6);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_leaves_through_the_interface_that_is_named() {
        use crate::net::bench::{Bench, ip};
        use crate::net::{Direct, PortSet, UdpSpec};
        Bench::run("wake", || {
            // A default route elsewhere must not take it.
            ip(&["link", "add", "uplink", "type", "veth", "peer", "name", "router"]);
            ip(&["addr", "add", "10.0.0.2/24", "dev", "uplink"]);
            ip(&["link", "set", "uplink", "up"]);
            ip(&["route", "add", "default", "via", "10.0.0.1"]);
            // Both ends of the wire are this one computer's, which takes its own address from outside for forged.
            std::fs::write("/proc/sys/net/ipv4/conf/right/accept_local", "1").unwrap();
            let bind = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT);
            let spec = UdpSpec { bind, interface: Some("right".into()), broadcast: true, packet_info: false };
            let card = Direct.udp(&spec).unwrap();
            card.set_nonblocking(false).unwrap();
            card.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
            let macs = [MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 8])];
            wake("left", Ipv4Addr::new(192, 168, 77, 1), &macs).unwrap();
            for mac in macs {
                let mut buf = [0; 200];
                let (len, sender) = card.recv_from(&mut buf).unwrap();
                assert_eq!((&buf[..len], sender.ip()), (&magic_packet(mac)[..], [192, 168, 77, 1].into()));
            }
            let gone = wake("nowhere", Ipv4Addr::UNSPECIFIED, &macs).unwrap_err();
            assert!(gone.contains("nowhere"), "{gone}");
        });
    }
}
