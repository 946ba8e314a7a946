//! Against an object that has NetworkManager's D-Bus interface, over a connection of the test's own.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use zbus::{fdo, interface};

use super::*;

/// What a mock was asked.
type Log = Arc<Mutex<Vec<String>>>;

struct MockManager {
    log: Log,
}

#[interface(name = "org.freedesktop.NetworkManager")]
impl MockManager {
    async fn get_device_by_ip_iface(&self, name: &str) -> Result<OwnedObjectPath, NoDevice> {
        match name {
            "eth0" => Ok(OwnedObjectPath::try_from("/device").unwrap()),
            "br0" => Ok(OwnedObjectPath::try_from("/bridge").unwrap()),
            _ => Err(NoDevice::UnknownDevice("no such device".to_owned())),
        }
    }

    async fn add_and_activate_connection2(
        &self,
        connection: HashMap<String, HashMap<String, OwnedValue>>,
        device: OwnedObjectPath,
        specific: OwnedObjectPath,
        options: HashMap<String, OwnedValue>,
    ) -> fdo::Result<(OwnedObjectPath, OwnedObjectPath, HashMap<String, OwnedValue>)> {
        let text = |map: &HashMap<String, OwnedValue>, key: &str| map[key].downcast_ref::<String>().unwrap();
        let ipv4 = &connection["ipv4"];
        let data: Vec<HashMap<String, OwnedValue>> = ipv4["address-data"].try_clone().unwrap().try_into().unwrap();
        self.log.lock().unwrap().push(format!(
            "activate {} on {} for {} ({}, {}): {} {}/{} never-default={}, ipv6 {}",
            text(&connection["connection"], "type"),
            device.as_str(),
            specific.as_str(),
            text(&options, "persist"),
            text(&options, "bind-activation"),
            text(ipv4, "method"),
            text(&data[0], "address"),
            data[0]["prefix"].downcast_ref::<u32>().unwrap(),
            ipv4["never-default"].downcast_ref::<bool>().unwrap(),
            text(&connection["ipv6"], "method"),
        ));
        let path = |p: &str| OwnedObjectPath::try_from(p).unwrap();
        Ok((path("/settings/1"), path("/active/1"), HashMap::new()))
    }

    async fn deactivate_connection(&self, active: OwnedObjectPath) {
        self.log.lock().unwrap().push(format!("deactivate {}", active.as_str()));
    }
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.NetworkManager")]
enum NoDevice {
    #[zbus(error)]
    ZBus(zbus::Error),
    UnknownDevice(String),
}

struct MockDevice {
    managed: bool,
    kind: u32,
}

#[interface(name = "org.freedesktop.NetworkManager.Device")]
impl MockDevice {
    #[zbus(property)]
    async fn managed(&self) -> bool {
        self.managed
    }

    #[zbus(property)]
    async fn device_type(&self) -> u32 {
        self.kind
    }
}

/// An activation that goes through these states, one a look, and stays in the last.
struct MockActive {
    states: Mutex<Vec<u32>>,
}

#[interface(name = "org.freedesktop.NetworkManager.Connection.Active")]
impl MockActive {
    #[zbus(property)]
    async fn state(&self) -> u32 {
        let mut states = self.states.lock().unwrap();
        if states.len() > 1 { states.remove(0) } else { states[0] }
    }
}

/// Starts a mock in a thread; its end of the wire and its log.
fn mock(managed: bool, states: &[u32]) -> (UnixStream, Log) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let log = Log::default();
    let manager = MockManager { log: Arc::clone(&log) };
    let active = MockActive { states: Mutex::new(states.to_vec()) };
    let gone = Arc::clone(&log);
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            theirs.set_nonblocking(true).unwrap();
            let stream = tokio::net::UnixStream::from_std(theirs).unwrap();
            let guid = zbus::Guid::generate();
            let connection = zbus::connection::Builder::unix_stream(stream)
                .server(guid)
                .unwrap()
                .p2p()
                .serve_at(MANAGER, manager)
                .unwrap()
                .serve_at("/device", MockDevice { managed, kind: ETHERNET })
                .unwrap()
                .serve_at("/bridge", MockDevice { managed, kind: 13 })
                .unwrap()
                .serve_at("/active/1", active)
                .unwrap()
                .build()
                .await
                .unwrap();
            let mut messages = zbus::MessageStream::from(&connection);
            while let Some(Ok(_)) = std::future::poll_fn(|cx| {
                zbus::export::futures_core::Stream::poll_next(std::pin::Pin::new(&mut messages), cx)
            })
            .await
            {}
            gone.lock().unwrap().push("client gone".to_owned());
        });
    });
    (ours, log)
}

fn address() -> Ipv4Cidr {
    "192.168.2.1/24".parse().unwrap()
}

#[test]
fn a_managed_interface_gets_a_volatile_profile_that_ends_with_the_hold() {
    let (bus, log) = mock(true, &[1, 1, 2]);
    let hold = hold_on(Bus::Peer(bus), "eth0", address()).unwrap().unwrap();
    assert_eq!(hold.describe(), "192.168.2.1/24 on eth0, through NetworkManager");
    let activation = "activate 802-3-ethernet on /device for / (volatile, dbus-client): \
                      manual 192.168.2.1/24 never-default=true, ipv6 link-local";
    assert_eq!(*log.lock().unwrap(), [activation]);
    drop(hold);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while log.lock().unwrap().len() < 3 && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(log.lock().unwrap()[1..], ["deactivate /active/1", "client gone"]);
}

#[test]
fn an_address_that_a_pulled_cable_took_away_is_put_back() {
    // Activated; ended at the first look; activated again.
    let (bus, log) = mock(true, &[2, 4, 2]);
    let hold = hold_on(Bus::Peer(bus), "eth0", address()).unwrap().unwrap();
    let activations = || log.lock().unwrap().iter().filter(|entry| entry.starts_with("activate")).count();
    let until = std::time::Instant::now() + 20 * WATCH_EVERY;
    while activations() < 2 && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(activations(), 2, "{:?}", log.lock().unwrap());
    drop(hold);
}

#[test]
fn an_interface_that_networkmanager_leaves_alone_is_left_to_the_port_set() {
    let (bus, log) = mock(false, &[2]);
    assert!(hold_on(Bus::Peer(bus), "eth0", address()).unwrap().is_none());
    let (bus, _) = mock(true, &[2]);
    assert!(hold_on(Bus::Peer(bus), "unknown0", address()).unwrap().is_none());
    assert!(!log.lock().unwrap().iter().any(|entry| entry.starts_with("activate")));
}

#[test]
fn a_failed_activation_is_an_error_that_says_where_to_look() {
    let (bus, log) = mock(true, &[1, 4]);
    let error = hold_on(Bus::Peer(bus), "eth0", address()).unwrap_err().to_string();
    assert!(error.contains("eth0") && error.contains("journalctl"), "{error}");
    assert!(log.lock().unwrap().contains(&"deactivate /active/1".to_owned()));

    let (bus, log) = mock(true, &[2]);
    let error = hold_on(Bus::Peer(bus), "br0", address()).unwrap_err().to_string();
    assert!(error.contains("not plain Ethernet"), "{error}");
    assert!(!log.lock().unwrap().iter().any(|entry| entry.starts_with("activate")));
}

#[test]
fn a_bus_without_networkmanager_is_no_error() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(hold_on(Bus::Peer(ours), "eth0", address()).unwrap().is_none());
}
