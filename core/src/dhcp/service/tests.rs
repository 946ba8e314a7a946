//! The service on a real wire: a veth pair in a namespace of the test's own, with a client or another server at its far end.

use std::net::SocketAddrV4;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::api::{EventKind, Reports, reports};
use crate::boot::PlanNetwork;
use crate::lab::{Boot, Lab, LeaseState, Mode, Network, Unknown};
use crate::net::bench::{Bench, ip};
use crate::net::watch::Watched;
use crate::net::{Direct, MacAddr, PacketUse, UdpSpec, interfaces};

/// A disk that takes its time.
#[derive(Default)]
struct Store(Arc<Disk>);

#[derive(Default)]
struct Disk {
    written: Mutex<Vec<LeaseRecord>>,
    commits: Mutex<usize>,
    broken: AtomicBool,
}

impl std::ops::Deref for Store {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.0
    }
}

impl LeaseStore for Store {
    fn commit(&self, records: Vec<LeaseRecord>, done: Done) {
        let disk = self.0.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            if disk.broken.load(Ordering::Relaxed) {
                return done.tell(Err(StoreError("no space left on device".into())));
            }
            disk.written.lock().unwrap().extend(records);
            *disk.commits.lock().unwrap() += 1;
            done.tell(Ok(()));
        });
    }
}

fn mac_of(name: &str) -> MacAddr {
    interfaces().unwrap().into_iter().find(|i| i.name == name).and_then(|i| i.mac).unwrap()
}

fn plan(mode: Mode) -> Arc<Plan> {
    let mut network = Network::on("left");
    network.unknown = Unknown::Boot(Boot::Wait);
    let lab = Lab { networks: vec![network], ..Lab::default() };
    let file = crate::boot::FirmwareFile { name: "undionly.kpxe".into(), path: "/x".into(), size: 1 };
    let network = PlanNetwork {
        index: 0,
        interface: "left".into(),
        ifindex: 2,
        mac: mac_of("left"),
        address: "192.168.77.1/24".parse().unwrap(),
        mode,
        foreign: false,
    };
    let firmware = [(crate::boot::Arch::Bios, file)].into();
    Arc::new(Plan { lab: Arc::new(lab), networks: vec![network], firmware, ..Plan::default() })
}

struct Wire {
    service: Service,
    store: Arc<Store>,
    reports: Reports,
    client: Watched,
}

/// Serves on `left`, with a client's packet socket on `right`.
async fn serve(mode: Mode) -> Wire {
    let (reporter, reports) = reports();
    let store = Arc::new(Store::default());
    let config = Config {
        plan: plan(mode),
        ports: Arc::new(Direct),
        reporter,
        store: store.clone(),
        leases: vec![],
        styles: <_>::default(),
        tap: <_>::default(),
    };
    let service = start(config).await.unwrap();
    let client = Watched::new(Direct.packet("right", PacketUse::DhcpListen).unwrap(), "right").unwrap();
    Wire { service, store, reports, client }
}

fn story(name: &str, story: impl AsyncFnOnce() + Send) {
    Bench::run(name, || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story());
    });
}

fn packet(mac: MacAddr, message: MessageType) -> Packet {
    let mut packet = Packet { xid: 7, flags: 0x8000, ..Packet::default() };
    packet.chaddr[..6].copy_from_slice(&mac.0);
    packet.set(code::MESSAGE_TYPE, [message as u8]);
    packet
}

impl Wire {
    fn send(&self, packet: &Packet) {
        let ends = ("0.0.0.0:68".parse().unwrap(), "255.255.255.255:67".parse().unwrap());
        let frame = frame::build((mac_of("right"), MacAddr::BROADCAST), ends, &packet.encode(&[], 1472)).unwrap();
        self.client.send(&frame).unwrap();
    }

    /// The next reply: its frame's destination, its IP destination, and the packet.
    async fn reply(&self) -> Option<(MacAddr, SocketAddrV4, Packet)> {
        self.reply_within(Duration::from_secs(20)).await
    }

    async fn reply_within(&self, wait: Duration) -> Option<(MacAddr, SocketAddrV4, Packet)> {
        let mut buffer = vec![0; 2048];
        loop {
            let len = timeout(wait, self.client.recv(&mut buffer)).await.ok()?.unwrap();
            let Some(udp) = frame::parse(&buffer[..len]) else { continue };
            if udp.source.port() == 67 {
                let to = MacAddr(buffer[..6].try_into().unwrap());
                return Some((to, udp.destination, Packet::decode(udp.payload).unwrap()));
            }
        }
    }

    async fn ask(&self, packet: &Packet) -> Option<Packet> {
        self.send(packet);
        self.reply().await.map(|(_, _, packet)| packet)
    }

    /// Whether half a second passes without a reply to it.
    async fn is_silent_to(&self, packet: &Packet) -> bool {
        self.send(packet);
        self.reply_within(Duration::from_millis(500)).await.is_none()
    }

    /// The kinds reported until one fits.
    async fn event(&mut self, fits: impl Fn(&EventKind) -> bool) -> EventKind {
        let found = timeout(Duration::from_secs(20), async {
            loop {
                if let Some(it) = self.reports.next().await.into_iter().find(|r| fits(&r.observation.kind)) {
                    return it.observation.kind;
                }
            }
        });
        found.await.expect("the event was not reported")
    }
}

fn select(mac: MacAddr, offer: &Packet) -> Packet {
    let mut request = packet(mac, MessageType::Request);
    request.set(code::REQUESTED, offer.yiaddr.octets());
    request.set(code::SERVER_ID, offer.option(code::SERVER_ID).unwrap());
    request
}

#[test]
fn a_client_gets_its_lease_and_the_disk_had_it_first() {
    story("dhcp-lease", async || {
        let wire = serve(Mode::Dhcp).await;
        let mac = mac_of("right");
        let offer = wire.ask(&packet(mac, MessageType::Discover)).await.unwrap();
        assert!(wire.store.written.lock().unwrap().is_empty());
        let ack = wire.ask(&select(mac, &offer)).await.unwrap();
        assert_eq!(ack.option(code::MESSAGE_TYPE), Some(&[5][..]));
        let written = wire.store.written.lock().unwrap().clone();
        assert_eq!((written[0].address, written[0].mac, written[0].state), (ack.yiaddr, mac, LeaseState::Bound));
        wire.service.stop().await;
    });
}

#[test]
fn a_client_without_the_broadcast_bit_is_framed_without_arp() {
    story("dhcp-frame", async || {
        let wire = serve(Mode::Dhcp).await;
        let mac = mac_of("right");
        wire.send(&Packet { flags: 0, ..packet(mac, MessageType::Discover) });
        let (to, ip, offer) = wire.reply().await.unwrap();
        assert_eq!((to, *ip.ip()), (mac, offer.yiaddr));
        wire.send(&packet(mac, MessageType::Discover));
        let (to, ip, _) = wire.reply().await.unwrap();
        assert_eq!((to, *ip.ip()), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST), "broadcast bit: also on Ethernet");
        wire.service.stop().await;
    });
}

#[test]
fn many_clients_at_once_share_a_write() {
    story("dhcp-group", async || {
        let wire = serve(Mode::Dhcp).await;
        let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
        let mut offers = vec![];
        for n in 0..40 {
            offers.push(wire.ask(&packet(mac(n), MessageType::Discover)).await.unwrap());
        }
        for (n, offer) in (0..40).zip(&offers) {
            wire.send(&select(mac(n), offer));
        }
        for _ in 0..40 {
            wire.reply().await.expect("an acknowledgement each");
        }
        assert_eq!(wire.store.written.lock().unwrap().len(), 40);
        assert!(*wire.store.commits.lock().unwrap() < 20);
        wire.service.stop().await;
    });
}

#[test]
fn a_full_disk_gives_no_address_and_says_so() {
    story("dhcp-full", async || {
        let mut wire = serve(Mode::Dhcp).await;
        let mac = mac_of("right");
        let offer = wire.ask(&packet(mac, MessageType::Discover)).await.unwrap();
        wire.store.broken.store(true, Ordering::Relaxed);
        assert!(wire.is_silent_to(&select(mac, &offer)).await);
        wire.event(|e| matches!(e, EventKind::ServiceFailed { error, .. } if error.contains("no space"))).await;
        wire.store.broken.store(false, Ordering::Relaxed);
        assert!(wire.ask(&select(mac, &offer)).await.is_some());
        wire.service.stop().await;
    });
}

#[test]
fn a_machine_that_has_an_address_of_its_own_keeps_it() {
    story("arp", async || {
        let mut wire = serve(Mode::Dhcp).await;
        let mac = MacAddr([2, 0, 0, 0, 0, 7]);
        let offer = wire.ask(&packet(mac, MessageType::Discover)).await.unwrap();
        // The kernel at the far end answers for it from now on.
        ip(&["addr", "add", &format!("{}/32", offer.yiaddr), "dev", "right"]);
        let again = wire.ask(&packet(mac, MessageType::Discover)).await.unwrap();
        assert_eq!(again.yiaddr, offer.yiaddr, "the offer waits for nobody");
        let kind = wire.event(|kind| matches!(kind, EventKind::DhcpConflict { .. })).await;
        assert_eq!(kind, EventKind::DhcpConflict { address: offer.yiaddr, used_by: mac_of("right"), withheld: true });
        let nak = wire.ask(&select(mac, &offer)).await.unwrap();
        assert_eq!(nak.option(code::MESSAGE_TYPE), Some(&[MessageType::Nak as u8][..]));
        let other = wire.ask(&packet(mac, MessageType::Discover)).await.unwrap();
        assert_ne!(other.yiaddr, offer.yiaddr);
        wire.service.stop().await;
    });
}

#[test]
fn another_servers_offer_is_heard_and_ours_stop() {
    story("dhcp-foreign", async || {
        let mut wire = serve(Mode::Dhcp).await;
        let mac = mac_of("right");
        assert!(wire.ask(&packet(mac, MessageType::Discover)).await.is_some());
        let mut offer = packet(mac, MessageType::Offer);
        (offer.op, offer.yiaddr) = (2, "192.168.77.200".parse().unwrap());
        offer.set(code::SERVER_ID, [192, 168, 77, 254]);
        let ends = ("192.168.77.254:67".parse().unwrap(), "255.255.255.255:68".parse().unwrap());
        let frame = frame::build((mac, MacAddr::BROADCAST), ends, &offer.encode(&[], 0)).unwrap();
        Direct.packet("right", PacketUse::Ipv4Send).unwrap().send(&frame).unwrap();
        let event = wire.event(|e| matches!(e, EventKind::ForeignDhcp { .. })).await;
        let server = "192.168.77.254".parse().unwrap();
        assert_eq!(event, EventKind::ForeignDhcp { interface: "left".into(), server, mac: Some(mac) });
        assert!(wire.is_silent_to(&packet(MacAddr([2, 0, 0, 0, 0, 9]), MessageType::Discover)).await);
        wire.service.stop().await;
    });
}

#[test]
fn a_probe_finds_another_server_takes_no_lease_and_does_not_hear_itself() {
    story("dhcp-probe", async || {
        let wire = serve(Mode::Dhcp).await;
        let patience = Duration::from_millis(600);
        let found = probe(&Direct, "right", 3, mac_of("right"), None, patience).await.unwrap();
        let server = ForeignServer { server: "192.168.77.1".parse().unwrap(), mac: Some(mac_of("left")) };
        assert_eq!(found, [server]);
        assert!(wire.store.written.lock().unwrap().is_empty());
        let ours = Some("192.168.77.1/24".parse().unwrap());
        assert_eq!(probe(&Direct, "left", 2, mac_of("left"), ours, patience).await.unwrap(), []);
        wire.service.stop().await;
        assert_eq!(probe(&Direct, "right", 3, mac_of("right"), None, patience).await.unwrap(), []);
    });
}

#[test]
fn a_port_that_is_taken_names_its_owner_and_a_proxy_listens_beside_it() {
    story("dhcp-taken", async || {
        let spec = UdpSpec {
            bind: "0.0.0.0:67".parse().unwrap(),
            interface: Some("left".into()),
            broadcast: true,
            packet_info: true,
        };
        let other = Direct.udp(&spec).unwrap();
        let (reporter, _reports) = reports();
        let store = Arc::new(Store::default());
        let config = Config {
            plan: plan(Mode::Dhcp),
            ports: Arc::new(Direct),
            reporter,
            store,
            leases: vec![],
            styles: <_>::default(),
            tap: <_>::default(),
        };
        let error = start(config).await.unwrap_err();
        assert!(matches!(error, NetError::Taken { port: 67, .. }), "{error}");

        let wire = serve(Mode::Proxy).await;
        let mut pxe = packet(mac_of("right"), MessageType::Discover);
        pxe.set(code::CLASS, *b"PXEClient:Arch:00000:UNDI:002001");
        let offer = wire.ask(&pxe).await.expect("an offer without an address");
        assert_eq!((offer.yiaddr, offer.file.as_slice()), (Ipv4Addr::UNSPECIFIED, &b"undionly.kpxe"[..]));
        wire.service.stop().await;
        drop(other);
    });
}

#[test]
fn a_stopped_service_has_given_its_ports_back_and_a_new_one_knows_the_mode() {
    story("dhcp-stop", async || {
        serve(Mode::Dhcp).await.service.stop().await;
        let wire = serve(Mode::Dhcp).await;
        let mac = mac_of("right");
        assert!(wire.ask(&packet(mac, MessageType::Discover)).await.is_some());
        wire.service.update(plan(Mode::Proxy));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(wire.is_silent_to(&packet(mac, MessageType::Discover)).await, "an OS is not a proxy's business");
        wire.service.stop().await;
    });
}
