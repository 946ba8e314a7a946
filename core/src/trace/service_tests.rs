//! On a real wire.

use std::net::UdpSocket;
use std::time::Instant;

use super::*;
use crate::api::{EventKind, ServiceKind, reports};
use crate::net::bench::{Bench, ip};
use crate::net::{Direct, MacAddr, interfaces};

fn mac_of(name: &str) -> MacAddr {
    interfaces().unwrap().into_iter().find(|i| i.name == name).and_then(|i| i.mac).unwrap()
}

/// Waits until it is so.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn both_directions_are_kept_and_a_closed_port_is_told() {
    Bench::run("capture", || {
        // The machine's end of the wire is in the same namespace, so its packets take the wire only by a route of their own.
        ip(&["netns", "add", "by-capture-peer"]);
        ip(&["link", "set", "right", "netns", "by-capture-peer"]);
        let inside = |args: &[&str]| ip(&[&["-n", "by-capture-peer"], args].concat());
        inside(&["link", "set", "right", "up"]);
        inside(&["address", "add", "192.168.77.20/24", "dev", "right"]);
        let theirs: MacAddr = {
            let shown = inside(&["-o", "link", "show", "right"]);
            shown.split_whitespace().skip_while(|w| *w != "link/ether").nth(1).unwrap().parse().unwrap()
        };
        let network = Watched {
            interface: "left".into(),
            mac: mac_of("left"),
            address: "192.168.77.1/24".parse().unwrap(),
            router: None,
        };
        let (reporter, mut reports) = reports();
        let store = Store::default();
        let config = Config {
            networks: vec![network],
            tcp: Ports::default(),
            ports: Arc::new(Direct),
            reporter,
            store: store.clone(),
        };
        let capture = start(config).unwrap();
        let peer = |script: &str| {
            let args = ["netns", "exec", "by-capture-peer", "bash", "-c", script];
            assert!(std::process::Command::new("ip").args(args).status().unwrap().success());
        };
        // Nobody listens on UDP 69 here: the kernel says so.
        peer("printf '\\0\\001f\\0octet\\0' > /dev/udp/192.168.77.1/69");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), reports.next()).await });
        let told = told.expect("an event");
        let unheard = EventKind::Unheard { service: ServiceKind::Tftp, port: 69, packets: 1, refused: true };
        assert_eq!(told[0].observation.kind, unheard);
        // A server on another port is none of ours; one on 3260 is.
        let listener = std::net::TcpListener::bind("192.168.77.1:3260").unwrap();
        let _other = UdpSocket::bind("192.168.77.1:5353").unwrap();
        peer("printf x > /dev/udp/192.168.77.1/5353; exec 3<>/dev/tcp/192.168.77.1/3260; echo hello >&3");
        drop(listener.accept().unwrap());
        let held = until("packets of both directions", || {
            let held = store.rings().of(&[theirs]);
            let both = [true, false].iter().all(|way| held.packets.iter().any(|p| p.outgoing == Some(*way)));
            let closed = held.packets.iter().any(|p| crate::trace::decode::decode(p).line.starts_with("ends its side"));
            (both && closed).then_some(held)
        });
        let lines: Vec<String> = held.packets.iter().map(|p| crate::trace::decode::decode(p).line).collect();
        for line in
            ["read f", "port unreachable: UDP 69 of 192.168.77.1", "asks for a connection", "connection accepted"]
        {
            assert!(lines.iter().any(|l| l == line), "{line} is not in {lines:#?}");
        }
        assert!(!lines.iter().any(|l| l.contains("5353")), "{lines:#?}");
        assert_eq!(held.lost, 0);
        let age = Timestamp::now().duration_since(held.packets[0].time);
        assert!(age.as_secs() < 60, "packets have the time at which they came: {age:?}");
        capture.stop();
        ip(&["netns", "del", "by-capture-peer"]);
    });
}
