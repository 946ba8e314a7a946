//! Serving: from "start" to five servers that run, and back.
//!
//! A start that fails at any point takes back what it did: sockets are closed, a held address is returned.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::files::BootFiles;
use super::gate::DiskGate;
use super::shared::Shared;
use super::web::Web;
use crate::api::{EventKind, ServiceKind};
use crate::boot::{Plan, PlanNetwork};
use crate::dhcp::{LeaseStore, StoreError};
use crate::lab::{Lab, LeaseRecord, Mode, Network, ProfileKind};
use crate::media::{self, answers};
use crate::net::{self, AddressHold, Interface, Ipv4Cidr, MacAddr, PortSet};
use crate::{dhcp, http, iscsi, ndp, tftp};

/// Another DHCP server is given this long to answer the probe.
const PROBE: Duration = Duration::from_secs(3);

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
    http: http::service::Service,
    iscsi: iscsi::service::Service,
    holds: Vec<Box<dyn AddressHold>>,
    /// Keeps the computer awake; undone when dropped.
    inhibit: Box<dyn Send + Sync>,
}

/// lab.db as the DHCP server sees it.
struct Leases(Arc<Shared>);

impl LeaseStore for Leases {
    fn commit(
        &self,
        records: Vec<LeaseRecord>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>> {
        Box::pin(async move { self.0.db.commit_leases(records).await.map_err(|e| StoreError(e.to_string())) })
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
    let mut networks = Vec::new();
    let mut holds = Vec::new();
    for (index, network) in lab.networks.iter().enumerate() {
        let prepared = prepare(&shared, &ports, index, network, confirmed.as_deref()).await?;
        networks.push(prepared.network);
        holds.extend(prepared.hold);
    }
    let plan = {
        let (lab, networks, media) = (lab.clone(), networks.clone(), shared.folder.media());
        let mut plan = blocking(move || make_plan(&lab, networks, &media)).await?;
        let now = shared.plan.borrow();
        plan.firmware.clone_from(&now.firmware);
        plan.files.clone_from(&now.files);
        plan
    };
    shared.set_plan(plan);
    let started = servers(&shared, &ports, &lab, &networks).await;
    let (dhcp, ndp, tftp, http, iscsi) = match started {
        Ok(servers) => servers,
        Err(error) => {
            let _holds_go_back = blocking(move || drop(holds)).await;
            return Err(error);
        }
    };
    for hold in &holds {
        let (interface, address) = hold
            .describe()
            .split_once(' ')
            .map_or_else(|| (String::new(), hold.describe()), |(a, b)| (a.to_owned(), b.to_owned()));
        shared.report(None, EventKind::AddressHeld { interface, address, held: true });
    }
    let inhibit = blocking(|| net::sleep_inhibit("machines boot from this computer")).await?;
    let interfaces = networks.iter().map(|n| n.interface.clone()).collect();
    shared.report(None, EventKind::EngineStarted { interfaces });
    Ok(Serving { dhcp, ndp, tftp, http, iscsi, holds, inhibit })
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
    let http = http::service::start(http::service::Config {
        binds: binds(lab.ports.http),
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
        let dhcp = dhcp::service::start(dhcp::service::Config {
            plan,
            ports: ports.clone(),
            reporter,
            store: Arc::new(Leases(shared.clone())),
            leases,
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
        for held in described {
            let (interface, address) = held.split_once(' ').unwrap_or(("", &held));
            let (interface, address) = (interface.to_owned(), address.to_owned());
            shared.report(None, EventKind::AddressHeld { interface, address, held: false });
        }
    }
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
    match mode(ports, network, &interface, address).await {
        Ok((mode, because, servers)) => {
            let word = super::views::mode_name(mode).to_owned();
            for server in &servers {
                let (server, mac) = (server.server, server.mac);
                shared.report(None, EventKind::ForeignDhcp { interface: name.clone(), server, mac });
            }
            shared.report(None, EventKind::ModeChosen { interface: name.clone(), mode: word, because });
            let foreign = !servers.is_empty();
            let network = PlanNetwork { index, interface: name, ifindex: interface.index, mac, address, mode, foreign };
            Ok(Prepared { network, hold })
        }
        Err(error) => {
            let _goes_back = blocking(move || drop(hold)).await;
            Err(error)
        }
    }
}

/// The mode in force, why, and the other servers that answered.
async fn mode(
    ports: &Arc<dyn PortSet>,
    network: &Network,
    interface: &Interface,
    address: Ipv4Cidr,
) -> Result<(Mode, String, Vec<dhcp::service::ForeignServer>), String> {
    if network.mode == Mode::Proxy {
        return Ok((Mode::Proxy, "lab.toml says so".into(), Vec::new()));
    }
    let mac = interface.mac.unwrap_or_default();
    let servers = dhcp::service::probe(&**ports, &interface.name, interface.index, mac, Some(address), PROBE)
        .await
        .map_err(|e| e.to_string())?;
    let others: BTreeSet<String> = servers.iter().map(|s| s.server.to_string()).collect();
    let others = others.into_iter().collect::<Vec<_>>().join(", ");
    let found = match (network.mode, servers.is_empty()) {
        (Mode::Auto, true) => (Mode::Dhcp, "no other DHCP server answered the probe".to_owned()),
        (Mode::Auto, false) => (Mode::Proxy, format!("another DHCP server answers here: {others}")),
        (_, false) if !network.force => {
            return Err(format!(
                "another DHCP server answers on {}: {others}; use mode = \"auto\" or \"proxy\", or switch it off",
                interface.name
            ));
        }
        _ => (Mode::Dhcp, "lab.toml says so".to_owned()),
    };
    Ok((found.0, found.1, servers))
}

/// The plan of these networks, without boot files. Reads the answer files, so it blocks.
pub(super) fn make_plan(lab: &Lab, networks: Vec<PlanNetwork>, media: &Path) -> Plan {
    let mut lab = lab.clone();
    for profile in &mut lab.profiles {
        if profile.kind.is_none() {
            let text = profile.answers.as_ref().and_then(|a| answers::read(&media::resolve(media, a).ok()?).ok());
            profile.kind = Some(text.map_or(ProfileKind::None, |text| answers::kind_of(&text)));
        }
    }
    Plan { lab: Arc::new(lab), networks, ..Plan::default() }
}

/// The networks in service, matched anew to the entries of a changed lab.toml. `None` when other networks or ports are named than
/// those in service: these take effect at the next start.
pub(super) fn rematch(old: &Lab, new: &Lab, serving: &[PlanNetwork]) -> Option<Vec<PlanNetwork>> {
    let identity = |n: &Network| (n.interface.clone(), n.address, n.mode, n.force);
    let same = old.ports == new.ports
        && old.networks.len() == new.networks.len()
        && old.networks.iter().all(|n| new.networks.iter().any(|m| identity(m) == identity(n)));
    if !same {
        return None;
    }
    serving
        .iter()
        .map(|n| {
            let index = new.networks.iter().position(|m| m.interface == n.interface)?;
            Some(PlanNetwork { index, ..n.clone() })
        })
        .collect()
}
