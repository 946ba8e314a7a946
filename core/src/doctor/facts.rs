//! What the checks look at, read once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::boot::{Plan, PlanNetwork};
use crate::lab::{Folder, Lab, Network};
use crate::net::{self, Interface, Ipv4Cidr, NetError, PortSet};

/// An engine that serves this lab now.
#[derive(Debug, Clone)]
pub struct Running {
    /// What is in force.
    pub plan: Arc<Plan>,
}

/// A network that is served, or would be.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its entry of lab.toml; one with every default where an interface was only named.
    pub network: Network,
    /// The interface, if this computer has it.
    pub interface: Option<Interface>,
    /// What is in force there while an engine serves.
    pub serving: Option<PlanNetwork>,
}

impl Place {
    /// Our address there: in force, else the interface's, else the one that it would get.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Cidr> {
        let own = self.interface.as_ref().map(|i| i.addresses.as_slice()).unwrap_or_default();
        let same = self.network.address.and_then(|w| own.iter().find(|a| a.address == w.address)).copied();
        self.serving.as_ref().map(|s| s.address).or(same).or_else(|| own.first().copied()).or(self.network.address)
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Facts {
    /// The lab's folder, even where it is no lab yet.
    pub dir: PathBuf,
    /// The lab, if there is one.
    pub folder: Option<Folder>,
    /// lab.toml as far as it can be read.
    pub lab: Lab,
    /// This computer's interfaces; empty where they cannot be listed.
    pub interfaces: Vec<Interface>,
    /// Where it is served, or would be.
    pub places: Vec<Place>,
    /// Opens ports and packet sockets.
    pub ports: Arc<dyn PortSet>,
    /// An engine that serves now; absent: none does.
    pub running: Option<Running>,
    /// For what is async.
    pub runtime: tokio::runtime::Handle,
    pub(super) cancel: Arc<AtomicBool>,
}

impl Facts {
    /// Reads what there is of the lab in `dir` and of this computer. `interface` is looked at in place of those that lab.toml names.
    /// Blocks for a moment; must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`NetError::NoInterface`] for an interface that is not there.
    pub fn read(
        dir: PathBuf,
        interface: Option<&str>,
        ports: Arc<dyn PortSet>,
        running: Option<Running>,
    ) -> Result<Self, NetError> {
        let folder = Folder::open(&dir).ok();
        let lab = match &running {
            Some(running) => (*running.plan.lab).clone(),
            None => folder.as_ref().map(Folder::readable).unwrap_or_default(),
        };
        let interfaces = net::interfaces().unwrap_or_default();
        let networks: Vec<Network> = match interface {
            None => lab.networks.clone(),
            Some(name) => {
                if !interfaces.iter().any(|i| i.name == name) {
                    return Err(NetError::NoInterface(name.to_owned()));
                }
                vec![lab.networks.iter().find(|n| n.interface == name).cloned().unwrap_or_else(|| Network::on(name))]
            }
        };
        let place = |network: Network| Place {
            interface: interfaces.iter().find(|i| i.name == network.interface).cloned(),
            serving: running
                .as_ref()
                .and_then(|r| r.plan.networks.iter().find(|n| n.interface == network.interface))
                .cloned(),
            network,
        };
        let places = networks.into_iter().map(place).collect();
        let (runtime, cancel) = (tokio::runtime::Handle::current(), Arc::default());
        Ok(Self { dir, folder, lab, interfaces, places, ports, running, runtime, cancel })
    }

    /// Whether nobody waits for the rows any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
