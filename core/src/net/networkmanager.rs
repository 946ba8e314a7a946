//! An address through NetworkManager, where that manages the interface: it would take away one that we set beside it.
//!
//! The profile exists in NetworkManager's memory only and is bound to our connection to the bus, so it disappears with this
//! process, however that ends. The D-Bus interface is that of NetworkManager 1.16 and later, `org.freedesktop.NetworkManager`.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use zbus::Connection;
use zbus::names::InterfaceName;
use zbus::proxy::{MethodFlags, Proxy};
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};

use super::{AddressHold, Ipv4Cidr, NetError};

const SERVICE: &str = "org.freedesktop.NetworkManager";
const MANAGER: &str = "/org/freedesktop/NetworkManager";

/// NM_DEVICE_TYPE_ETHERNET and _VETH, which take an Ethernet profile.
const ETHERNET: u32 = 1;
const VETH: u32 = 20;
/// NM_ACTIVE_CONNECTION_STATE_ACTIVATED and _DEACTIVATING; the states above are ends too.
const ACTIVATED: u32 = 2;
const DEACTIVATING: u32 = 3;

/// How long the bus may take for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long NetworkManager may take to set an address on a link that has carrier.
const ACTIVATION: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often an address that is held is looked after.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Where NetworkManager is found.
#[derive(Debug)]
enum Bus {
    System,
    #[cfg(test)]
    Peer(std::os::unix::net::UnixStream),
}

/// Holds the address through NetworkManager; `None` when that does not run here or leaves the interface to others.
///
/// Blocks until the address is there; so does the drop.
///
/// # Errors
/// [`NetError`] when it manages the interface and does not do it.
pub(super) fn hold(interface: &str, address: Ipv4Cidr) -> Result<Option<Box<dyn AddressHold>>, NetError> {
    hold_on(Bus::System, interface, address)
}

fn hold_on(bus: Bus, interface: &str, address: Ipv4Cidr) -> Result<Option<Box<dyn AddressHold>>, NetError> {
    let (started, outcome) = sync_channel(1);
    let (stop, stopped) = oneshot::channel();
    let name = interface.to_owned();
    // The connection to the bus needs someone who drives it for as long as the address is held.
    let thread = std::thread::Builder::new()
        .name(format!("hold {interface}"))
        .spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(keep(bus, &name, address, &started, stopped)),
            Err(source) => {
                let _ = started.send(Err(NetError::Io { what: "cannot talk to the system bus".to_owned(), source }));
            }
        })
        .map_err(|source| NetError::Io { what: "cannot talk to the system bus".to_owned(), source })?;
    let hold = NmHold {
        text: format!("{address} on {interface}, through NetworkManager"),
        stop: Some(stop),
        thread: Some(thread),
    };
    Ok(wait(&outcome)?.then(|| Box::new(hold) as Box<dyn AddressHold>))
}

fn wait(outcome: &Receiver<Result<bool, NetError>>) -> Result<bool, NetError> {
    outcome.recv().unwrap_or(Ok(false))
}

/// Reports whether the address is held, then keeps it until told to stop. NetworkManager ends a connection some time after the cable is
/// pulled, and ours would never come back by itself.
async fn keep(
    bus: Bus,
    interface: &str,
    address: Ipv4Cidr,
    started: &SyncSender<Result<bool, NetError>>,
    stopped: oneshot::Receiver<()>,
) {
    let Some(manager) = Manager::find(bus).await else {
        let _ = started.send(Ok(false));
        return;
    };
    match manager.hold(interface, address).await {
        Ok(Some(active)) => {
            let _ = started.send(Ok(true));
            let mut active = Some(active);
            let watch = async {
                loop {
                    tokio::time::sleep(WATCH_EVERY).await;
                    let lives = match &active {
                        Some(active) => manager.wait_active(active).await.is_ok(),
                        None => false,
                    };
                    if !lives {
                        active = manager.hold(interface, address).await.ok().flatten();
                    }
                }
            };
            // An activation that is half done at the stop goes with our connection to the bus.
            tokio::select! {
                _ = stopped => {}
                () = watch => {}
            }
            if let Some(active) = active {
                manager.deactivate(&active).await;
            }
        }
        Ok(None) => {
            let _ = started.send(Ok(false));
        }
        Err(e) => {
            let text = format!("NetworkManager did not give {interface} the address {address}: {e}");
            let _ = started.send(Err(NetError::Refused(text)));
        }
    }
}

/// Why NetworkManager did not do it.
#[derive(Debug, thiserror::Error)]
enum NmError {
    #[error("{0}")]
    Bus(#[from] zbus::Error),
    #[error("it does not answer; `systemctl status NetworkManager` may say why")]
    Silent,
    #[error("it gave up; is the cable plugged in? `journalctl -u NetworkManager` says more")]
    GaveUp,
    #[error("it manages this interface and it is not plain Ethernet; give it the address there")]
    NotEthernet,
}

impl NmError {
    /// NetworkManager does not run, or does not know the interface.
    fn is_absence(&self) -> bool {
        let Self::Bus(zbus::Error::MethodError(name, _, _)) = self else { return false };
        let names = [
            "org.freedesktop.DBus.Error.ServiceUnknown",
            "org.freedesktop.DBus.Error.NameHasNoOwner",
            "org.freedesktop.NetworkManager.UnknownDevice",
        ];
        names.contains(&name.as_str())
    }
}

struct Manager {
    connection: Connection,
}

type Settings<'a> = HashMap<&'a str, HashMap<&'a str, Value<'a>>>;

impl Manager {
    async fn find(bus: Bus) -> Option<Self> {
        let connecting = async {
            match bus {
                Bus::System => Connection::system().await,
                #[cfg(test)]
                Bus::Peer(stream) => {
                    stream.set_nonblocking(true)?;
                    let stream = tokio::net::UnixStream::from_std(stream)?;
                    zbus::connection::Builder::unix_stream(stream).p2p().build().await
                }
            }
        };
        let connection = tokio::time::timeout(ANSWER, connecting).await.ok()?.ok()?;
        Some(Self { connection })
    }

    /// The active connection that gives the address; `None` when the interface is not NetworkManager's.
    async fn hold(&self, interface: &str, address: Ipv4Cidr) -> Result<Option<OwnedObjectPath>, NmError> {
        let device: OwnedObjectPath = match self.call(MANAGER, SERVICE, "GetDeviceByIpIface", &(interface,)).await {
            Ok(device) => device,
            Err(e) if e.is_absence() => return Ok(None),
            Err(e) => return Err(e),
        };
        let kind = "org.freedesktop.NetworkManager.Device";
        if !bool::try_from(self.property(&device, kind, "Managed").await?).unwrap_or(false) {
            return Ok(None);
        }
        let device_type = u32::try_from(self.property(&device, kind, "DeviceType").await?).unwrap_or(0);
        if ![ETHERNET, VETH].contains(&device_type) {
            return Err(NmError::NotEthernet);
        }
        let options: HashMap<&str, Value<'_>> =
            HashMap::from([("persist", "volatile".into()), ("bind-activation", "dbus-client".into())]);
        let any = ObjectPath::from_static_str_unchecked("/");
        let profile = profile(interface, address);
        let arguments = (profile, &device, any, options);
        let (_, active, _): (OwnedObjectPath, OwnedObjectPath, HashMap<String, OwnedValue>) =
            self.call(MANAGER, SERVICE, "AddAndActivateConnection2", &arguments).await?;
        let activated = tokio::time::timeout(ACTIVATION, self.wait_active(&active)).await;
        match activated.unwrap_or(Err(NmError::GaveUp)) {
            Ok(()) => Ok(Some(active)),
            Err(e) => {
                self.deactivate(&active).await;
                Err(e)
            }
        }
    }

    async fn wait_active(&self, active: &ObjectPath<'_>) -> Result<(), NmError> {
        loop {
            let state = match self.property(active, "org.freedesktop.NetworkManager.Connection.Active", "State").await {
                Ok(value) => u32::try_from(value).unwrap_or(0),
                // The object goes away with a failed activation.
                Err(NmError::Bus(zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => return Err(NmError::GaveUp),
                Err(e) => return Err(e),
            };
            match state {
                ACTIVATED => return Ok(()),
                DEACTIVATING.. => return Err(NmError::GaveUp),
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn deactivate(&self, active: &ObjectPath<'_>) {
        // When it fails the profile goes with our connection to the bus, to which it is bound.
        let _ = self.call::<()>(MANAGER, SERVICE, "DeactivateConnection", &(active,)).await;
    }

    async fn property(&self, path: &ObjectPath<'_>, interface: &str, name: &str) -> Result<OwnedValue, NmError> {
        let interface = InterfaceName::try_from(interface).map_err(zbus::Error::from)?;
        self.call(path, "org.freedesktop.DBus.Properties", "Get", &(interface, name)).await
    }

    /// One call that never starts NetworkManager and never waits for ever.
    async fn call<T>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        arguments: &(impl serde::Serialize + zbus::zvariant::DynamicType + Sync),
    ) -> Result<T, NmError>
    where
        T: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let calling = async {
            let proxy: Proxy<'_> = Proxy::new(&self.connection, SERVICE, path, interface).await?;
            // A person at the window may be asked for a password; an answer takes as long as that.
            let flags = MethodFlags::NoAutoStart | MethodFlags::AllowInteractiveAuth;
            let answer = proxy.call_with_flags(method, flags, arguments).await?;
            answer.ok_or(zbus::Error::InvalidReply)
        };
        match tokio::time::timeout(ANSWER * 6, calling).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(NmError::Silent),
        }
    }
}

/// A profile for this interface alone: the address, no route out, link-local IPv6 for the answer to router solicitations.
fn profile(interface: &str, address: Ipv4Cidr) -> Settings<'_> {
    let mut connection: HashMap<&str, Value<'_>> = HashMap::from([
        ("id", format!("Bootyard bench on {interface}").into()),
        ("uuid", uuid::Uuid::new_v4().to_string().into()),
        ("type", "802-3-ethernet".into()),
        ("interface-name", interface.into()),
        ("autoconnect", false.into()),
    ]);
    // A profile of one's own needs less permission than one for everybody.
    if let Ok(user) = std::env::var("USER")
        && !rustix::process::geteuid().is_root()
    {
        connection.insert("permissions", vec![format!("user:{user}:")].into());
    }
    let data: HashMap<&str, Value<'_>> =
        HashMap::from([("address", address.address.to_string().into()), ("prefix", u32::from(address.prefix).into())]);
    HashMap::from([
        ("connection", connection),
        (
            "ipv4",
            HashMap::from([
                ("method", "manual".into()),
                ("address-data", vec![data].into()),
                ("never-default", true.into()),
                ("may-fail", false.into()),
            ]),
        ),
        ("ipv6", HashMap::from([("method", "link-local".into())])),
    ])
}

/// An address that NetworkManager holds for us.
#[derive(Debug)]
struct NmHold {
    text: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AddressHold for NmHold {
    fn describe(&self) -> String {
        self.text.clone()
    }
}

impl Drop for NmHold {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "networkmanager_tests.rs"]
mod tests;
