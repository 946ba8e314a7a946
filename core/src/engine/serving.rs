//! Serving: from "start" to five servers that run, and back.
//!
//! A start that fails at any point takes back what it did: sockets are closed, a held address is returned.

use std::net::{IpAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::files::BootFiles;
use super::gate::DiskGate;
use super::modes;
use super::shared::Shared;
use super::web::Web;
use crate::api::{EventKind, ServiceKind};
use crate::boot::{Plan, PlanNetwork};
use crate::dhcp::{Done, LeaseStore, StoreError};
use crate::lab::{Lab, LeaseRecord, Mode, Network, ProfileKind, check_networks};
use crate::machine::Now;
use crate::media::{self, answers};
use crate::net::{self, AddressHold, Interface, MacAddr, PortSet};
use crate::{dhcp, http, iscsi, ndp, tftp};

/// An interface that was down until now is given this long to find its link.
const LINK: Duration = Duration::from_secs(8);

/// A network that was prepared: it has an address and a mode.
struct Prepared {
    network: PlanNetwork,
    hold: Option<Box<dyn AddressHold>>,
    /// Port 67 is ours there, so that `auto` may become `dhcp` when no other server is left.
    alone: bool,
}

/// The servers that run. Ended by [`Serving::stop`].
pub(super) struct Serving {
    dhcp: dhcp::service::Service,
    ndp: Arc<ndp::service::Service>,
    tftp: tftp::service::Service,
    http: http::service::Service,
    iscsi: iscsi::service::Service,
    holds: Vec<Box<dyn AddressHold>>,
    /// For a probe later on.
    pub(super) ports: Arc<dyn PortSet>,
    /// The interfaces on which port 67 is ours.
    pub(super) own_port: Vec<String>,
    /// Keeps the computer awake; undone when dropped.
    inhibit: Box<dyn Send + Sync>,
}

/// lab.db as the DHCP server sees it.
struct Leases(Arc<Shared>);

impl LeaseStore for Leases {
    fn commit(&self, records: Vec<LeaseRecord>, done: Done) {
        self.0.db.commit_leases_then(records, |result| done.tell(result.map_err(|e| StoreError(e.to_string()))));
    }
}

/// Runs blocking work away from the tasks. A panic in it is an error like any other.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("an internal task failed: {e}"))
}

/// Starts all servers on the networks of lab.toml.
///
/// # Errors
/// A sentence that names the thing and says what to do.
pub(super) async fn start(shared: Arc<Shared>, ports: Arc<dyn PortSet>, trust: bool) -> Result<Serving, String> {
    let (lab, confirmed) = {
        let state = shared.state();
        if let Some(problem) = state.problems.iter().find(|p| p.is_error()) {
            return Err(format!("{problem}; `bootyard check` shows all problems"));
        }
        (state.lab.clone(), (!trust).then(|| state.confirmed.clone()))
    };
    if lab.networks.is_empty() {
        return Err("no network interface is chosen; choose one in the window, or write [network] into lab.toml".into());
    }
    let wrong = {
        let shared = shared.clone();
        blocking(move || Ok::<_, net::NetError>(check_networks(&shared.folder, &net::interfaces()?))).await?
    };
    if let Some(problem) = wrong.map_err(|e| e.to_string())?.first() {
        return Err(format!("{problem}; `bootyard check` shows all problems"));
    }
    let mut networks = Vec::new();
    let mut holds = Vec::new();
    let mut own_port = Vec::new();
    let started = async {
        for (index, network) in lab.networks.iter().enumerate() {
            let prepared = prepare(&shared, &ports, index, network, confirmed.as_deref()).await?;
            own_port.extend(prepared.alone.then(|| prepared.network.interface.clone()));
            networks.push(prepared.network);
            holds.extend(prepared.hold);
        }
        shared.serve_networks(&lab, &networks)?;
        servers(&shared, &ports, &lab, &networks).await
    };
    let (dhcp, ndp, tftp, http, iscsi) = match started.await {
        Ok(servers) => servers,
        Err(error) => {
            let _holds_go_back = blocking(move || drop(holds)).await;
            return Err(error);
        }
    };
    for hold in &holds {
        let (interface, address) = held(&hold.describe());
        shared.report(None, EventKind::AddressHeld { interface, address, held: true });
    }
    let inhibit = blocking(|| net::sleep_inhibit("machines boot from this computer")).await?;
    let interfaces = networks.iter().map(|n| n.interface.clone()).collect();
    shared.report(None, EventKind::EngineStarted { interfaces });
    Ok(Serving { dhcp, ndp, tftp, http, iscsi, holds, ports, own_port, inhibit })
}

type Servers = (
    dhcp::service::Service,
    Arc<ndp::service::Service>,
    tftp::service::Service,
    http::service::Service,
    iscsi::service::Service,
);

async fn servers(
    shared: &Arc<Shared>,
    ports: &Arc<dyn PortSet>,
    lab: &Lab,
    networks: &[PlanNetwork],
) -> Result<Servers, String> {
    let failed = |service: ServiceKind| {
        move |error: net::NetError| {
            shared.report(None, EventKind::ServiceFailed { service, error: error.to_string() });
            error.to_string()
        }
    };
    let up = |service: ServiceKind, port: u16| {
        for network in networks {
            let address = SocketAddrV4::new(network.address.address, port).into();
            shared.report(None, EventKind::ServiceUp { service, address });
        }
    };
    let binds = |port: u16| -> Vec<(SocketAddrV4, Option<String>)> {
        networks.iter().map(|n| (SocketAddrV4::new(n.address.address, port), Some(n.interface.clone()))).collect()
    };
    let plan = shared.plan.borrow().clone();
    let reporter = shared.reporter.clone();

    // What machines ask for last is there first: a client that gets an address finds everything else in service.
    let iscsi = {
        let config = iscsi::service::Config {
            binds: binds(lab.ports.iscsi),
            ports: ports.clone(),
            gate: Arc::new(DiskGate(shared.clone())),
            reporter: reporter.clone(),
        };
        blocking(move || iscsi::service::start(config)).await?.map_err(failed(ServiceKind::Iscsi))?
    };
    let secure = {
        let folder = shared.folder.https();
        let addresses: Vec<IpAddr> = networks.iter().map(|n| n.address.address.into()).collect();
        let made = blocking(move || http::tls::Tls::open(&folder, addresses, Now::read().wall)).await;
        match made.and_then(|made| made.map_err(|e| e.to_string())) {
            Ok(tls) => Some(http::Secure { binds: binds(lab.ports.https), tls }),
            // Most machines never ask for it.
            Err(error) => {
                shared.report(None, EventKind::ServiceFailed { service: ServiceKind::Https, error });
                None
            }
        }
    };
    let http = http::service::start(http::service::Config {
        binds: binds(lab.ports.http),
        secure,
        ports: ports.clone(),
        app: Arc::new(Web(shared.clone())),
        reporter: reporter.clone(),
    })
    .await;
    let http = match http.map_err(failed(ServiceKind::Http)) {
        Ok(http) => http,
        Err(error) => {
            let _stopped = blocking(move || iscsi.stop()).await;
            return Err(error);
        }
    };
    let tftp = tftp::service::start(tftp::service::Config {
        binds: binds(69),
        ports: ports.clone(),
        root: Arc::new(BootFiles(shared.clone())),
        reporter: reporter.clone(),
    })
    .await;
    let tftp = match tftp.map_err(failed(ServiceKind::Tftp)) {
        Ok(tftp) => tftp,
        Err(error) => {
            http.stop().await;
            let _stopped = blocking(move || iscsi.stop()).await;
            return Err(error);
        }
    };
    let low = async {
        let ndp = ndp::service::start(ndp::service::Config {
            plan: plan.clone(),
            ports: ports.clone(),
            reporter: reporter.clone(),
        })
        .await
        .map_err(failed(ServiceKind::Ndp))?;
        let leases = shared.db.leases().map_err(|e| e.to_string())?;
        let styles = shared.db.proxy_styles().map_err(|e| e.to_string())?;
        let dhcp = dhcp::service::start(dhcp::service::Config {
            plan,
            ports: ports.clone(),
            reporter,
            store: Arc::new(Leases(shared.clone())),
            leases,
            styles,
        })
        .await
        .map_err(failed(ServiceKind::Dhcp));
        match dhcp {
            Ok(dhcp) => Ok((dhcp, Arc::new(ndp))),
            Err(error) => {
                ndp.stop().await;
                Err(error)
            }
        }
    };
    match low.await {
        Ok((dhcp, ndp)) => {
            up(ServiceKind::Iscsi, lab.ports.iscsi);
            up(ServiceKind::Http, lab.ports.http);
            match http.secure_failure() {
                Some(error) => {
                    let error = error.to_string();
                    shared.report(None, EventKind::ServiceFailed { service: ServiceKind::Https, error });
                }
                None if http.secure_addresses().is_empty() => {}
                None => up(ServiceKind::Https, lab.ports.https),
            }
            up(ServiceKind::Tftp, 69);
            up(ServiceKind::Dhcp, 67);
            up(ServiceKind::Pxe, 4011);
            Ok((dhcp, ndp, tftp, http, iscsi))
        }
        Err(error) => {
            tftp.stop().await;
            http.stop().await;
            let _stopped = blocking(move || iscsi.stop()).await;
            Err(error)
        }
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("holds", &self.holds).finish_non_exhaustive()
    }
}

impl Serving {
    /// A new plan is in force.
    pub(super) fn update(&self, plan: Arc<Plan>) {
        self.dhcp.update(plan);
    }

    /// The iSCSI sessions.
    pub(super) fn sessions(&self) -> Vec<iscsi::service::SessionInfo> {
        self.iscsi.sessions()
    }

    /// This machine entered or left iPXE.
    pub(super) fn ipxe_stage(&self, mac: MacAddr, ipxe: bool) {
        self.ndp.ipxe_stage(mac, ipxe);
    }

    /// Ends it all in order: no new machines, then no new files, then the disks.
    pub(super) async fn stop(self, shared: &Shared) {
        self.dhcp.stop().await;
        if let Some(ndp) = Arc::into_inner(self.ndp) {
            ndp.stop().await;
        }
        self.tftp.stop().await;
        self.http.stop().await;
        let (iscsi, holds, inhibit) = (self.iscsi, self.holds, self.inhibit);
        let described: Vec<String> = holds.iter().map(|h| h.describe()).collect();
        let _a_panic_was_reported_there = blocking(move || {
            iscsi.stop();
            drop(holds);
            drop(inhibit);
        })
        .await;
        for text in described {
            let (interface, address) = held(&text);
            shared.report(None, EventKind::AddressHeld { interface, address, held: false });
        }
    }
}

/// Interface and address of `ADDRESS on INTERFACE[, through …]`, as [`AddressHold::describe`] says it.
fn held(text: &str) -> (String, String) {
    let (address, rest) = text.split_once(" on ").unwrap_or((text, ""));
    (rest.split(',').next().unwrap_or_default().to_owned(), address.to_owned())
}

/// Checks one network and gives it an address and a mode.
async fn prepare(
    shared: &Arc<Shared>,
    ports: &Arc<dyn PortSet>,
    index: usize,
    network: &Network,
    confirmed: Option<&[MacAddr]>,
) -> Result<Prepared, String> {
    let name = network.interface.clone();
    let find = {
        let name = name.clone();
        move || -> Result<Interface, String> {
            let all = net::interfaces().map_err(|e| e.to_string())?;
            all.into_iter().find(|i| i.name == name).ok_or_else(|| net::NetError::NoInterface(name).to_string())
        }
    };
    let interface = blocking(find).await??;
    if let Some(bridge) = &interface.bridge {
        return Err(format!(
            "the interface {name} is a port of the bridge {bridge}, which takes what arrives there; serve on {bridge} instead: \
             choose it in the window, or write interface = \"{bridge}\" into [network]"
        ));
    }
    let mac = interface.mac.unwrap_or_default();
    if confirmed.is_some_and(|macs| !macs.contains(&mac)) {
        return Err(format!(
            "the interface {name} is not confirmed on this computer; open the window and choose it, or run `bootyard serve`"
        ));
    }
    let (address, hold) = match (interface.addresses.first(), network.address) {
        (Some(first), wanted) => {
            let same = wanted.and_then(|w| interface.addresses.iter().find(|a| a.address == w.address));
            (*same.unwrap_or(first), None)
        }
        (None, Some(wanted)) => {
            let (ports, name) = (ports.clone(), name.clone());
            let hold = blocking(move || net::hold_address(&*ports, &name, wanted)).await?;
            (wanted, Some(hold.map_err(|e| e.to_string())?))
        }
        (None, None) => {
            return Err(format!(
                "the interface {name} has no IPv4 address; give it one, or let Bootyard do so with `address` in [network]"
            ));
        }
    };
    let patience = if interface.up { Duration::ZERO } else { LINK };
    let linked = modes::link(&name, patience).await;
    match modes::mode(ports, network, &interface, address).await {
        Ok((mode, because, servers)) => {
            let word = super::views::mode_name(mode).to_owned();
            for server in &servers {
                let (server, mac) = (server.server, server.mac);
                shared.report(None, EventKind::ForeignDhcp { interface: name.clone(), server, mac });
            }
            shared.report(None, EventKind::ModeChosen { interface: name.clone(), mode: word, because });
            // Without a link nobody could answer: offers wait until the cable is in and the network was probed.
            let foreign = !servers.is_empty() || (mode == Mode::Dhcp && !network.force && !linked);
            let network = PlanNetwork { index, interface: name, ifindex: interface.index, mac, address, mode, foreign };
            // Whose port 67 another program has is never asked again: that server is on this computer.
            let alone = mode == Mode::Dhcp || !servers.is_empty();
            Ok(Prepared { network, hold, alone })
        }
        Err(error) => {
            let _goes_back = blocking(move || drop(hold)).await;
            Err(error)
        }
    }
}

/// The form of every answer file that lab.toml leaves to its content. Reads the files, so it blocks.
pub(super) fn with_kinds(mut lab: Lab, media: &Path) -> Lab {
    for profile in &mut lab.profiles {
        if profile.kind.is_none() {
            let text = profile.answers.as_ref().and_then(|a| answers::read(&media::resolve(media, a).ok()?).ok());
            profile.kind = Some(text.map_or(ProfileKind::None, |text| answers::kind_of(&text)));
        }
    }
    lab
}
