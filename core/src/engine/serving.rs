//! Serving: from "start" to five servers that run, and back.
//!
//! A start that fails at any point takes back what it did: sockets are closed, a held address is returned.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::files::BootFiles;
use super::gate::DiskGate;
use super::modes;
use super::shared::{Listening, Shared};
use super::web::Web;
use crate::api::{EventKind, Observation, ServiceKind};
use crate::boot::{Plan, PlanNetwork};
use crate::dhcp::{Done, LeaseStore, StoreError};
use crate::lab::{Lab, LeaseRecord, Mode, Network, Ports, ProfileKind, check_networks};
use crate::machine::Now;
use crate::media::{self, answers};
use crate::net::{self, AddressHold, Interface, MacAddr, PortSet};
use crate::trace::{self, own};
use crate::{dhcp, http, iscsi, ndp, tftp};

/// An interface that was down until now is given this long to find its link.
const LINK: Duration = Duration::from_secs(8);

/// A network that was prepared: it has an address and a mode.
struct Prepared {
    network: PlanNetwork,
    hold: Option<Box<dyn AddressHold>>,
}

/// The servers that run. Ended by [`Serving::stop`].
pub(super) struct Serving {
    dhcp: dhcp::service::Service,
    ndp: Arc<ndp::service::Service>,
    tftp: tftp::service::Service,
    /// The one that machines are told of is the last; the others have ports that machines were told of before.
    http: Vec<http::service::Service>,
    iscsi: iscsi::service::Service,
    /// Absent where not even a thread could be had.
    capture: Option<Capture>,
    /// Goes with every server, for the capture by their own sockets.
    tap: own::Tap,
    holds: Vec<Box<dyn AddressHold>>,
    /// For a probe later on.
    pub(super) ports: Arc<dyn PortSet>,
    /// The interfaces on which port 67 is ours, so that `auto` may become `dhcp` when no other server is left.
    pub(super) own_port: Vec<String>,
    /// Keeps the computer awake; undone when dropped.
    inhibit: Box<dyn Send + Sync>,
}

/// Who keeps the packets.
enum Capture {
    /// Packet sockets.
    Wire(trace::service::Service),
    /// Where the system has none, or gives none: what our own sockets saw.
    Sockets(own::service::Service),
}

/// lab.db as the DHCP server sees it.
struct Leases(Arc<Shared>);

impl LeaseStore for Leases {
    fn commit(&self, mut records: Vec<LeaseRecord>, done: Done) {
        // What the doctor's machine was given is not kept.
        records.retain(|record| record.mac != net::SELF_TEST);
        if records.is_empty() {
            return done.tell(Ok(()));
        }
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
    net::raise_open_files();
    let tap = own::Tap::default();
    let mut networks = Vec::new();
    let mut holds = Vec::new();
    let started = async {
        for (index, network) in lab.networks.iter().enumerate() {
            let prepared = prepare(&shared, &ports, index, network, confirmed.as_deref()).await?;
            networks.push(prepared.network);
            holds.extend(prepared.hold);
        }
        shared.serve_networks(&lab, &networks)?;
        servers(&shared, &ports, &lab, &networks, &tap).await
    };
    let (dhcp, ndp, tftp, http, iscsi) = match started.await {
        Ok(servers) => servers,
        Err(error) => {
            let _holds_go_back = blocking(move || drop(holds)).await;
            return Err(error);
        }
    };
    // After the servers: what comes while they start is not unheard.
    let capture = capturing(&shared, &ports, &lab, &networks, tap.clone()).await;
    for hold in &holds {
        let (interface, address) = held(&hold.describe());
        shared.report(None, EventKind::AddressHeld { interface, address, held: true });
    }
    let inhibit = blocking(|| net::sleep_inhibit("machines boot from this computer")).await?;
    let interfaces = networks.iter().map(|n| n.interface.clone()).collect();
    shared.report(None, EventKind::EngineStarted { interfaces });
    let own_port = dhcp.own_port().to_vec();
    Ok(Serving { dhcp, ndp, tftp, http: vec![http], iscsi, capture, tap, holds, ports, own_port, inhibit })
}

/// The capture. A bench works without it, so what stands in its way is told where packets are asked for; our own sockets' view takes its
/// place.
async fn capturing(
    shared: &Arc<Shared>,
    ports: &Arc<dyn PortSet>,
    lab: &Lab,
    networks: &[PlanNetwork],
    tap: own::Tap,
) -> Option<Capture> {
    let watched = |network: &PlanNetwork| trace::observe::Watched {
        interface: network.interface.clone(),
        mac: network.mac,
        address: network.address,
        router: lab.networks.get(network.index).and_then(|n| n.router),
    };
    let networks: Vec<_> = networks.iter().map(watched).collect();
    let config = trace::service::Config {
        networks: networks.clone(),
        tcp: lab.ports,
        ports: ports.clone(),
        reporter: shared.reporter.clone(),
        store: shared.packets.clone(),
    };
    let started = blocking(move || trace::service::start(config).map_err(|e| e.to_string())).await;
    let (capture, listening) = match started.and_then(|started| started) {
        Ok(capture) => (Some(Capture::Wire(capture)), Listening::Wire),
        Err(why) => {
            let config = own::service::Config { networks, tcp: lab.ports, tap, store: shared.packets.clone() };
            match own::service::start(config) {
                Ok(view) => (Some(Capture::Sockets(view)), Listening::Sockets(why)),
                Err(_) => (None, Listening::Nowhere(why)),
            }
        }
    };
    *shared.listening.lock().unwrap_or_else(PoisonError::into_inner) = listening;
    capture
}

/// Where a service listens: on every network's own address.
fn binds(networks: &[PlanNetwork], port: u16) -> Vec<(SocketAddrV4, Option<String>)> {
    networks.iter().map(|n| (SocketAddrV4::new(n.address.address, port), Some(n.interface.clone()))).collect()
}

/// Tells that a service listens there.
fn up(shared: &Shared, networks: &[PlanNetwork], service: ServiceKind, port: u16) {
    for network in networks {
        let address = SocketAddrV4::new(network.address.address, port).into();
        shared.report(None, EventKind::ServiceUp { service, address });
    }
}

/// What HTTPS shows for itself.
async fn authority(shared: &Shared, networks: &[PlanNetwork]) -> Result<http::tls::Tls, String> {
    let folder = shared.folder.https();
    let addresses: Vec<IpAddr> = networks.iter().map(|n| n.address.address.into()).collect();
    let made = blocking(move || http::tls::Tls::open(&folder, addresses, Now::read().wall)).await;
    made.and_then(|made| made.map_err(|e| e.to_string()))
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
    tap: &own::Tap,
) -> Result<Servers, String> {
    let failed = |service: ServiceKind| {
        move |error: net::NetError| {
            shared.report(None, EventKind::ServiceFailed { service, error: error.to_string() });
            error.to_string()
        }
    };
    let up = |service: ServiceKind, port: u16| up(shared, networks, service, port);
    let binds = |port: u16| binds(networks, port);
    let plan = shared.plan.borrow().clone();
    let reporter = shared.reporter.clone();

    // What machines ask for last is there first: a client that gets an address finds everything else in service.
    let iscsi = {
        let config = iscsi::service::Config {
            binds: binds(lab.ports.iscsi),
            ports: ports.clone(),
            gate: Arc::new(DiskGate(shared.clone())),
            reporter: reporter.clone(),
            tap: tap.clone(),
        };
        blocking(move || iscsi::service::start(config)).await?.map_err(failed(ServiceKind::Iscsi))?
    };
    let secure = match authority(shared, networks).await {
        Ok(tls) => Some(http::Secure { binds: binds(lab.ports.https), tls }),
        // Most machines never ask for it.
        Err(error) => {
            shared.report(None, EventKind::ServiceFailed { service: ServiceKind::Https, error });
            None
        }
    };
    let http = http::service::start(http::service::Config {
        binds: binds(lab.ports.http),
        secure,
        ports: ports.clone(),
        app: Arc::new(Web(shared.clone())),
        reporter: reporter.clone(),
        tap: tap.clone(),
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
        tap: tap.clone(),
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
            tap: tap.clone(),
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
            tap: tap.clone(),
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

    /// Opens those of these ports that are not open yet. The former ones stay open: machines were told of them, and run from them.
    ///
    /// # Errors
    /// The key of the port that cannot be had, and why.
    pub(super) async fn open_ports(
        &mut self,
        shared: &Arc<Shared>,
        plan: &Plan,
        wanted: Ports,
    ) -> Result<(), (&'static str, String)> {
        let former = plan.lab.ports;
        if former == wanted {
            return Ok(());
        }
        let networks = &plan.networks;
        let has = |addresses: &[SocketAddr], port: u16| addresses.iter().any(|a| a.port() == port);
        if !has(&self.iscsi.addresses(), wanted.iscsi) {
            let ports = self.ports.clone();
            self.iscsi.listen_also(&*ports, &binds(networks, wanted.iscsi)).map_err(|e| ("iscsi", e.to_string()))?;
        }
        let plain = !self.http.iter().any(|http| has(&http.addresses(), wanted.http));
        let secure =
            wanted.https != former.https && !self.http.iter().any(|http| has(&http.secure_addresses(), wanted.https));
        if plain || secure {
            let secure = match secure {
                true => {
                    let tls = authority(shared, networks).await.map_err(|error| ("https", error))?;
                    Some(http::Secure { binds: binds(networks, wanted.https), tls })
                }
                false => None,
            };
            let config = http::service::Config {
                binds: if plain { binds(networks, wanted.http) } else { Vec::new() },
                secure,
                ports: self.ports.clone(),
                app: Arc::new(Web(shared.clone())),
                reporter: shared.reporter.clone(),
                tap: self.tap.clone(),
            };
            let http = http::service::start(config).await.map_err(|e| ("http", e.to_string()))?;
            if let Some(error) = http.secure_failure().map(ToString::to_string) {
                http.stop().await;
                return Err(("https", error));
            }
            self.http.push(http);
        }
        for (service, before, now) in [
            (ServiceKind::Iscsi, former.iscsi, wanted.iscsi),
            (ServiceKind::Http, former.http, wanted.http),
            (ServiceKind::Https, former.https, wanted.https),
        ] {
            if before != now {
                up(shared, networks, service, now);
            }
        }
        let capture = self.capture.take();
        let _a_panic_ends_it_too = blocking(move || drop(capture)).await;
        let lab = Lab { ports: wanted, ..(*plan.lab).clone() };
        self.capture = capturing(shared, &self.ports, &lab, networks, self.tap.clone()).await;
        Ok(())
    }

    /// The iSCSI sessions.
    pub(super) fn sessions(&self) -> Vec<iscsi::service::SessionInfo> {
        self.iscsi.sessions()
    }

    /// A server, or somebody, told of something. What our own sockets saw has no observer: servers have told all of it.
    pub(super) fn told(&self, observation: &Observation) {
        if let Some(Capture::Wire(capture)) = &self.capture {
            capture.told(observation);
        }
    }

    /// This machine entered or left iPXE.
    pub(super) fn ipxe_stage(&self, mac: MacAddr, ipxe: bool) {
        self.ndp.ipxe_stage(mac, ipxe);
    }

    /// Ends it all in order: no new machines, then no new files, then the disks.
    pub(super) async fn stop(self, shared: &Shared) {
        // Ports that close are no news of the wire's, and how connections end is the last that sockets see.
        let (wire, sockets) = match self.capture {
            Some(Capture::Wire(wire)) => (Some(wire), None),
            Some(Capture::Sockets(sockets)) => (None, Some(sockets)),
            None => (None, None),
        };
        let _a_panic_ends_it_too = blocking(move || drop(wire)).await;
        self.dhcp.stop().await;
        if let Some(ndp) = Arc::into_inner(self.ndp) {
            ndp.stop().await;
        }
        self.tftp.stop().await;
        for http in self.http {
            http.stop().await;
        }
        let (iscsi, holds, inhibit) = (self.iscsi, self.holds, self.inhibit);
        let described: Vec<String> = holds.iter().map(|h| h.describe()).collect();
        let _a_panic_was_reported_there = blocking(move || {
            iscsi.stop();
            drop(sockets);
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
            modes::answered(shared, &name, &servers);
            shared.report(None, EventKind::ModeChosen { interface: name.clone(), mode: word, because });
            // Without a link nobody could answer: offers wait until the cable is in and the network was probed.
            let foreign = !servers.is_empty() || (mode == Mode::Dhcp && !network.force && !linked);
            let network = PlanNetwork { index, interface: name, ifindex: interface.index, mac, address, mode, foreign };
            Ok(Prepared { network, hold })
        }
        Err(error) => {
            let _goes_back = blocking(move || drop(hold)).await;
            Err(error)
        }
    }
}

/// The form of every answer file that lab.toml leaves to its content. Reads the files, so it blocks.
#[must_use]
pub(super) fn with_kinds(mut lab: Lab, media: &Path) -> Lab {
    for profile in &mut lab.profiles {
        if profile.kind.is_none() {
            let text = profile.answers.as_ref().and_then(|a| answers::read(&media::resolve(media, a).ok()?).ok());
            profile.kind = Some(text.map_or(ProfileKind::None, |text| answers::kind_of(&text)));
        }
    }
    lab
}
