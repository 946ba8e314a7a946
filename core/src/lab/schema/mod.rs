//! lab.toml as types that cannot be wrong. The reader (`lab::read`) makes them of text and reports every problem with its line;
//! nothing outside `lab` sees unchecked values.

mod boot;
mod disk;
mod host;
mod names;
mod network;
mod profile;

pub use boot::{Boot, Install, InstallThen, IscsiBoot, IscsiVia};
pub use disk::{Allow, Chap, Disk, Writes};
pub use host::{Host, Seat};
pub use names::{Name, NameError, Secret};
pub use network::{Lease, Mode, Network, Ports, Subnet, Unknown};
pub use profile::{FirmwareRule, IscsiArgs, Profile, ProfileKind, ProfileWords};

/// The whole of lab.toml, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lab {
    /// `[network]` or `[[network]]`, one an interface.
    pub networks: Vec<Network>,
    /// `[ports]`.
    pub ports: Ports,
    /// `[[firmware]]`.
    pub firmware: Vec<FirmwareRule>,
    /// `[[profile]]`; names are unique.
    pub profiles: Vec<Profile>,
    /// `[[disk]]`; names and IQNs are unique.
    pub disks: Vec<Disk>,
    /// `[[host]]`; MACs are unique but for hosts told apart by `uuid`.
    pub hosts: Vec<Host>,
}

impl Lab {
    /// The profile of this name.
    #[must_use]
    pub fn profile(&self, name: &Name) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == *name)
    }

    /// The disk of this name.
    #[must_use]
    pub fn disk(&self, name: &Name) -> Option<&Disk> {
        self.disks.iter().find(|d| d.name == *name)
    }

    /// Whether a machine may get this disk through an overlay of its own: all do, or it is assigned so to one.
    #[must_use]
    pub fn gives_overlays(&self, disk: &Disk) -> bool {
        let hosts = self.hosts.iter().filter_map(|host| host.boot.as_ref());
        let unknown = self.networks.iter().filter_map(|network| match &network.unknown {
            Unknown::Boot(boot) => Some(boot),
            Unknown::ByMode => None,
        });
        let mut given = hosts.chain(unknown).filter_map(Boot::any_iscsi).filter(|iscsi| iscsi.disk == disk.name);
        let overlay = |writes: Writes| writes != Writes::Image;
        !disk.readonly && (overlay(disk.writes) || given.any(|iscsi| iscsi.writes.is_some_and(overlay)))
    }
}
