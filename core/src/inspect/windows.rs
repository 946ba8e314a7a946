//! A Windows system: what its registry says of the drivers that a boot from iSCSI needs from the first moment on.

use serde::{Deserialize, Serialize};

use super::hive::{Hive, Key};
use super::volume::FileSystem;

/// The registry's file of drivers and services; larger ones are not read.
const SYSTEM: &str = "/Windows/System32/config/SYSTEM";
const LARGEST_HIVE: u64 = 128 << 20;
/// Network drivers that are named.
const MOST_CARDS: usize = 200;
/// BootFlags: CM_SERVICE_NETWORK_BOOT_LOAD. The boot loader takes the driver along when it was itself loaded over the network.
const NETWORK_BOOT: u32 = 1;

/// A driver or service of Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowsService {
    /// Its key's name.
    pub name: String,
    /// When it starts: 0 boot, 1 system, 2 automatic, 3 on demand, 4 never.
    pub start: Option<u32>,
    /// `BootFlags`.
    pub boot_flags: u32,
}

impl WindowsService {
    /// Whether the boot loader loads it when it boots over the network.
    #[must_use]
    pub fn at_boot(&self) -> bool {
        self.start == Some(0) || self.start.is_some_and(|s| s < 4) && self.boot_flags & NETWORK_BOOT != 0
    }
}

/// A Windows system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowsSystem {
    /// The partition's number; 0 without partitions.
    pub partition: u32,
    /// The control set in force: `ControlSet001`.
    pub control_set: String,
    /// The services that a boot from iSCSI needs, as far as they are there: `NDIS`, `Tcpip`, `iScsiPrt`, `MSiSCSI`.
    pub services: Vec<WindowsService>,
    /// Drivers of network cards.
    pub cards: Vec<WindowsService>,
    /// There is a boot configuration (BCD) somewhere on the disk.
    pub bcd: bool,
    /// Why the registry could not be read.
    pub problem: Option<String>,
}

impl WindowsSystem {
    /// A service by its name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&WindowsService> {
        self.services.iter().find(|s| s.name.eq_ignore_ascii_case(name))
    }
}

/// Looks for a Windows system on a volume.
pub(super) fn find(files: &dyn FileSystem, partition: u32) -> Option<WindowsSystem> {
    let opened = files.open(SYSTEM).ok()?;
    let too_large = opened.size > LARGEST_HIVE;
    drop(opened);
    let read = || {
        if too_large {
            return Err(format!("its registry {SYSTEM} is larger than any is"));
        }
        let bytes = files.read(SYSTEM, LARGEST_HIVE).map_err(|e| format!("its registry {SYSTEM}: {e}"))?;
        read_system(&bytes).ok_or_else(|| format!("its registry {SYSTEM} is damaged"))
    };
    let system = read().unwrap_or_else(|problem| WindowsSystem { problem: Some(problem), ..WindowsSystem::default() });
    Some(WindowsSystem { partition, ..system })
}

/// What the file SYSTEM says. `None`: it is no hive, or has no control set.
pub(super) fn read_system(bytes: &[u8]) -> Option<WindowsSystem> {
    let hive = Hive::new(bytes)?;
    let current = hive.key("Select")?.number("Current")?;
    let control_set = format!("ControlSet{current:03}");
    let services = hive.key(&format!("{control_set}\\Services"))?;
    let mut system = WindowsSystem { control_set, ..WindowsSystem::default() };
    for key in services.children() {
        let Some(name) = key.name() else { continue };
        if ["ndis", "tcpip", "iscsiprt", "msiscsi"].contains(&name.to_ascii_lowercase().as_str()) {
            system.services.push(service(&key, name));
        } else if is_card(&key) && system.cards.len() < MOST_CARDS {
            system.cards.push(service(&key, name));
        }
    }
    Some(system)
}

/// A kernel driver of the group of network cards. Protocols and filters have groups of their own; a few that stand in this one drive no card.
fn is_card(key: &Key<'_>) -> bool {
    const NO_CARDS: [&str; 12] = [
        "ndis",
        "ndiscap",
        "ndisuio",
        "ndiswan",
        "ndisvirtualbus",
        "kdnic",
        "mslbfoprovider",
        "netbt",
        "rasl2tp",
        "raspptp",
        "rassstp",
        "tunnel",
    ];
    let group = key.text("Group").is_some_and(|group| group.eq_ignore_ascii_case("NDIS"));
    let named = key.name().map(|name| name.to_ascii_lowercase());
    group && key.number("Type") == Some(1) && named.is_some_and(|n| !NO_CARDS.contains(&n.as_str()))
}

fn service(key: &Key<'_>, name: String) -> WindowsService {
    WindowsService { name, start: key.number("Start"), boot_flags: key.number("BootFlags").unwrap_or_default() }
}
