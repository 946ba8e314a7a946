//! The direct port set against the kernel, each story in a network namespace of its own.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::bench::{Bench, ip};
use super::*;

fn dhcp_port(interface: &str) -> UdpSpec {
    UdpSpec {
        bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67),
        interface: Some(interface.to_owned()),
        broadcast: true,
        packet_info: true,
    }
}

fn mac_of(name: &str) -> MacAddr {
    interfaces().unwrap().into_iter().find(|i| i.name == name).unwrap().mac.unwrap()
}

/// An Ethernet frame with a broadcast IPv4 UDP packet from 0.0.0.0, without a UDP checksum.
fn udp_frame(from: (MacAddr, u16), to: (MacAddr, u16), data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&to.0.0);
    frame.extend_from_slice(&from.0.0);
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&(28 + data.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 1, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let sum = frame[14..34].chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum::<u32>();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&from.1.to_be_bytes());
    frame.extend_from_slice(&to.1.to_be_bytes());
    frame.extend_from_slice(&(8 + data.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(data);
    frame
}

/// Waits for a frame that ends in `data`.
fn hears(socket: &dyn PacketSocket, data: &[u8]) -> bool {
    hears_within(Duration::from_secs(20), socket, data)
}

/// Whether a second passes without such a frame.
fn is_deaf_to(socket: &dyn PacketSocket, data: &[u8]) -> bool {
    !hears_within(Duration::from_secs(1), socket, data)
}

fn hears_within(time: Duration, socket: &dyn PacketSocket, data: &[u8]) -> bool {
    let until = Instant::now() + time;
    let mut buf = [0; 2048];
    while Instant::now() < until {
        match socket.recv(&mut buf) {
            Ok(len) if buf[..len].ends_with(data) => return true,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => panic!("{e}"),
        }
    }
    false
}

/// What is to succeed once a port is free: for a moment a child of another test, between its fork and its exec, has a copy of what was
/// closed here.
fn in_time<T, E>(mut open: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match open() {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}

/// What comes to a socket that does not wait by itself.
fn received(socket: &UdpSocket, buf: &mut [u8]) -> (usize, std::net::SocketAddr) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match socket.recv_from(buf) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other.unwrap(),
        }
    }
}

#[test]
fn a_broadcast_reaches_the_socket_of_its_interface_and_a_taken_port_names_its_owner() {
    Bench::run("udp", || {
        let right = Direct.udp(&dhcp_port("right")).unwrap();
        let left = Direct.udp(&dhcp_port("left")).expect("another interface's port 67 is another port");
        let client = Direct.packet("left", PacketUse::DhcpListen).unwrap();
        client.send(&udp_frame((mac_of("left"), 68), (MacAddr::BROADCAST, 67), b"hello")).unwrap();
        let mut buf = [0; 64];
        assert_eq!(received(&right, &mut buf), (5, "0.0.0.0:68".parse().unwrap()));
        assert_eq!(left.recv_from(&mut buf).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

        let pid = std::process::id();
        match Direct.udp(&dhcp_port("right")) {
            Err(NetError::Taken { protocol: "UDP", port: 67, owner, .. }) => {
                assert!(owner.contains(&format!("(pid {pid})")), "{owner}");
            }
            other => panic!("{other:?}"),
        }
        // Whoever shares addresses willingly, as dnsmasq does, still counts as an owner.
        drop((left, right));
        let sharer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        sharer.set_reuse_address(true).unwrap();
        in_time(|| sharer.bind(&"0.0.0.0:67".parse::<std::net::SocketAddr>().unwrap().into())).unwrap();
        assert!(matches!(Direct.udp(&dhcp_port("right")), Err(NetError::Taken { .. })));
        assert!(matches!(Direct.udp(&dhcp_port("nowhere")), Err(NetError::NoInterface(name)) if name == "nowhere"));
    });
}

#[test]
fn a_tcp_port_listens_once_and_again_right_after_its_connections_ended() {
    Bench::run("tcp", || {
        let spec = TcpSpec { bind: "192.168.77.1:80".parse().unwrap(), interface: None };
        let listener = Direct.tcp(&spec).unwrap();
        let error = Direct.tcp(&spec).unwrap_err().to_string();
        assert!(error.starts_with("TCP port 80 on 192.168.77.1 is taken by ") && error.contains("(pid "), "{error}");
        let client = std::net::TcpStream::connect("192.168.77.1:80").unwrap();
        listener.set_nonblocking(false).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop((server, listener));
        drop(client);
        let again = in_time(|| Direct.tcp(&spec));
        again.expect("a connection in TIME_WAIT does not keep the port");
    });
}

#[test]
fn a_dhcp_listener_hears_dhcp_and_nothing_else() {
    Bench::run("hear", || {
        let (left, right) = (mac_of("left"), mac_of("right"));
        let listener = Direct.packet("right", PacketUse::DhcpListen).unwrap();
        let server = Direct.packet("left", PacketUse::Ipv4Send).unwrap();
        // Frames for other hosts are heard too: a rival's unicast reply is still a rival's.
        server.send(&udp_frame((left, 67), (MacAddr([2, 0, 0, 0, 0, 9]), 68), b"offer")).unwrap();
        assert!(hears(&*listener, b"offer"));
        listener.send(&udp_frame((right, 68), (MacAddr::BROADCAST, 67), b"ours")).unwrap();
        assert!(is_deaf_to(&*listener, b"ours"), "our own frames are not heard");

        let other = UdpSocket::bind("192.168.77.1:5000").unwrap();
        ip(&["neigh", "add", "192.168.77.2", "lladdr", &right.to_string(), "dev", "left"]);
        other.send_to(b"not for us", "192.168.77.2:69").unwrap();
        assert!(is_deaf_to(&*listener, b"not for us"));
        other.send_to(b"for us", "192.168.77.2:68").unwrap();
        assert!(hears(&*listener, b"for us"));

        let mut tagged = udp_frame((left, 67), (MacAddr::BROADCAST, 68), b"tagged");
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        let raw = bootyard_ports::open::packet("left", bootyard_ports::frame::Purpose::Ipv4Send).unwrap();
        let index = bootyard_ports::sys::interface_index("left").unwrap();
        bootyard_ports::sys::send_link(raw.as_fd(), index, 0x8100, &tagged).unwrap();
        assert!(is_deaf_to(&*listener, b"tagged"), "a tagged VLAN is another network");
        tagged[15] = 0;
        bootyard_ports::sys::send_link(raw.as_fd(), index, 0x8100, &tagged).unwrap();
        assert!(hears(&*listener, b"tagged"), "VLAN 0 is only a priority");
    });
}

#[test]
fn a_socket_for_replies_hears_no_request_and_sends_nothing() {
    Bench::run("replies", || {
        let (left, right) = (mac_of("left"), mac_of("right"));
        let listener = Direct.packet("right", PacketUse::DhcpReplies).unwrap();
        let server = Direct.packet("left", PacketUse::Ipv4Send).unwrap();
        let client = Direct.packet("left", PacketUse::DhcpListen).unwrap();
        server.send(&udp_frame((left, 67), (right, 67), b"\x01relayed")).unwrap();
        client.send(&udp_frame((left, 68), (MacAddr::BROADCAST, 67), b"\x02odd")).unwrap();
        let reply = udp_frame((left, 67), (MacAddr::BROADCAST, 68), b"\x02reply");
        server.send(&reply).unwrap();
        let mut buffer = [0; 128];
        let len = listener.recv(&mut buffer).unwrap();
        assert!(buffer[..len].ends_with(b"\x02reply"), "it is the first that was heard");
        assert!(listener.recv(&mut buffer).is_err());
        assert!(listener.send(&reply).is_err());
    });
}

#[test]
fn only_a_socket_that_watches_hears_what_this_computer_sends_itself() {
    Bench::run("watch", || {
        let (left, right) = (mac_of("left"), mac_of("right"));
        let watcher = Direct.packet("left", PacketUse::DhcpWatch).unwrap();
        let deaf = Direct.packet("left", PacketUse::DhcpListen).unwrap();
        let sender = Direct.packet("left", PacketUse::Ipv4Send).unwrap();
        let reply = udp_frame((left, 67), (right, 68), b"reply");
        sender.send(&reply).unwrap();
        assert!(hears(&*watcher, b"reply"));
        assert!(deaf.recv(&mut [0; 64]).is_err());
        assert!(watcher.send(&reply).is_err(), "it sends nothing");
    });
}

#[test]
fn a_packet_socket_sends_its_own_kind_of_frame_only() {
    Bench::run("send", || {
        let (left, right) = (mac_of("left"), mac_of("right"));
        let watcher = Direct.packet("right", PacketUse::DhcpListen).unwrap();
        let sender = Direct.packet("left", PacketUse::Ipv4Send).unwrap();
        sender.send(&udp_frame((left, 67), (right, 68), b"reply")).unwrap();
        assert!(hears(&*watcher, b"reply"));
        assert!(sender.recv(&mut [0; 64]).is_err(), "it receives nothing");
        let error = sender.send(&udp_frame((left, 53), (right, 68), b"dns")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn router_discovery_hears_solicitations_and_advertisements() {
    Bench::run("ra", || {
        let discovery = |name| Direct.packet(name, PacketUse::RouterDiscovery).unwrap();
        let (left, right) = (discovery("left"), discovery("right"));
        let mut advert = vec![0x33, 0x33, 0, 0, 0, 1];
        advert.extend_from_slice(&mac_of("left").0);
        advert.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 58, 255]);
        advert.extend_from_slice(&[0; 32]);
        advert.extend_from_slice(&[134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        left.send(&advert).unwrap();
        assert!(hears(&*right, &advert));
        let of_type =
            |kind: u8| advert.iter().enumerate().map(|(i, b)| if i == 54 { kind } else { *b }).collect::<Vec<_>>();
        left.send(&of_type(133)).unwrap();
        assert!(hears(&*right, &of_type(133)));
        assert!(left.send(&of_type(128)).is_err(), "it is there for router discovery alone");
        assert!(is_deaf_to(&*left, &advert), "our own frames are not heard");
    });
}

#[test]
fn interfaces_tell_what_a_bench_needs_to_know() {
    Bench::run("list", || {
        ip(&["link", "add", "br0", "type", "bridge"]);
        ip(&["tuntap", "add", "tun0", "mode", "tun"]);
        ip(&["tuntap", "add", "tap0", "mode", "tap"]);
        ip(&["route", "add", "default", "via", "192.168.77.254", "dev", "left"]);
        let all = interfaces().unwrap();
        let find = |name: &str| all.iter().find(|i| i.name == name).unwrap();
        assert!(find("lo").virtual_link && find("tun0").virtual_link);
        assert!(!find("br0").virtual_link && !find("tap0").virtual_link && !find("left").virtual_link);
        assert_eq!(find("left").addresses, ["192.168.77.1/24".parse().unwrap()]);
        assert!(find("left").up && find("left").running && !find("br0").up);
        assert!(find("left").default_route && !find("right").default_route);
        assert!(find("left").mac.is_some() && find("tun0").mac.is_none() && !find("left").wireless);

        ip(&["neigh", "add", "192.168.77.5", "lladdr", "52:54:00:00:00:05", "dev", "left"]);
        let known = Ipv4Addr::new(192, 168, 77, 5);
        assert_eq!(neighbour(known, "left"), Some(MacAddr([0x52, 0x54, 0, 0, 0, 5])));
        assert_eq!(neighbour(known, "right"), None);
    });
}
