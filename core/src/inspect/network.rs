//! Settings of an installed system that take the network away while its disk hangs on it: whoever configures the interface anew when the
//! system starts, without knowing that it is in use. Only what does so by itself is told.

use serde::{Deserialize, Serialize};

use super::initramfs::Generator;
use super::volume::FileSystem;

/// Files of one kind that are looked at.
const MOST_FILES: usize = 64;

/// Something that would take the network away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkTrouble {
    /// Who.
    pub by: NetworkSetter,
    /// The file that says so.
    pub file: String,
    /// The interface or connection that it is about, as the file has it.
    pub what: String,
}

/// Programs that configure networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkSetter {
    /// cloud-init.
    CloudInit,
    /// NetworkManager.
    NetworkManager,
    /// netplan.
    Netplan,
    /// systemd-networkd.
    Networkd,
    /// ifupdown's `/etc/network/interfaces`.
    Ifupdown,
}

impl NetworkSetter {
    /// The end of its sentence's id.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudInit => "cloud-init",
            Self::NetworkManager => "network-manager",
            Self::Netplan => "netplan",
            Self::Networkd => "networkd",
            Self::Ifupdown => "ifupdown",
        }
    }
}

/// Looks for them.
pub(super) fn troubles(root: &dyn FileSystem, generator: Option<Generator>) -> Vec<NetworkTrouble> {
    let mut found = Vec::new();
    found.extend(cloud_init(root, generator));
    found.extend(netplan(root));
    found.extend(networkd(root));
    found.extend(network_manager(root));
    found.extend(ifupdown(root));
    found
}

fn files(root: &dyn FileSystem, folder: &str, end: &str) -> Vec<(String, String)> {
    let names = root.names(folder, |e| !e.folder && e.name.ends_with(end));
    let one = |name: String| {
        let path = format!("{folder}/{name}");
        root.text(&path).map(|text| (path, text))
    };
    names.into_iter().take(MOST_FILES).filter_map(one).collect()
}

/// Lines without comments and blanks.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// cloud-init takes over what the initramfs of Debian and Ubuntu has configured, as that leaves a note in `/run`; of an iBFT, and of what
/// dracut did, it knows nothing and writes a configuration of its own.
fn cloud_init(root: &dyn FileSystem, generator: Option<Generator>) -> Option<NetworkTrouble> {
    let installed = root.has("/usr/bin/cloud-init") && !root.has("/etc/cloud/cloud-init.disabled");
    if !installed || generator == Some(Generator::InitramfsTools) {
        return None;
    }
    let mut settings = files(root, "/etc/cloud/cloud.cfg.d", ".cfg");
    settings.extend(root.text("/etc/cloud/cloud.cfg").map(|text| ("/etc/cloud/cloud.cfg".to_owned(), text)));
    let disabled = |text: &str| {
        let dense: String = lines(text).collect::<Vec<_>>().join(" ").split_whitespace().collect();
        dense.contains("network:{config:disabled") || dense.contains("network:config:disabled")
    };
    let off = settings.iter().any(|(_, text)| disabled(text));
    (!off).then(|| NetworkTrouble {
        by: NetworkSetter::CloudInit,
        file: "/etc/cloud/cloud.cfg".to_owned(),
        what: String::new(),
    })
}

/// An interface without `critical: true` is released and asked for anew.
fn netplan(root: &dyn FileSystem) -> Vec<NetworkTrouble> {
    let mut found = Vec::new();
    for (file, text) in files(root, "/etc/netplan", ".yaml") {
        let manager =
            text.lines().any(|l| l.trim().strip_prefix("renderer:").is_some_and(|r| r.trim() == "NetworkManager"));
        if !manager {
            found.extend(uncritical(&text).map(|what| NetworkTrouble { by: NetworkSetter::Netplan, file, what }));
        }
    }
    found
}

/// The first interface below `ethernets:` that is not critical. YAML is read by its indentation, as netplan's own files are written.
fn uncritical(text: &str) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty() && !l.trim().starts_with('#')).collect();
    let start = lines.iter().position(|l| l.trim() == "ethernets:")?;
    let outer = indent(lines.get(start)?);
    let block: Vec<&str> = lines.iter().skip(start + 1).take_while(|l| indent(l) > outer).copied().collect();
    let inner = indent(block.first()?);
    let mut current: Option<(String, bool)> = None;
    for line in block {
        if indent(line) == inner {
            if let Some((name, false)) = current {
                return Some(name);
            }
            // An interface in one line: `eth0: {dhcp4: true}`.
            let (name, rest) = line.trim().split_once(':')?;
            let dense: String = rest.split_whitespace().collect();
            current = Some((name.trim_matches(['"', '\'']).to_owned(), dense.contains("critical:true")));
        } else if let Some((_, critical)) = &mut current {
            let dense: String = line.split_whitespace().collect();
            *critical |= matches!(dense.as_str(), "critical:true" | "critical:yes");
        }
    }
    current.filter(|(_, critical)| !critical).map(|(name, _)| name)
}

/// Files for systemd-networkd, where that runs, without `KeepConfiguration=`.
fn networkd(root: &dyn FileSystem) -> Option<NetworkTrouble> {
    let wants = "/etc/systemd/system/multi-user.target.wants";
    if root.names(wants, |e| e.name == "systemd-networkd.service").is_empty() {
        return None;
    }
    files(root, "/etc/systemd/network", ".network").into_iter().find_map(|(file, text)| {
        let set = |key: &str| {
            lines(&text).filter_map(|l| l.strip_prefix(key)).last().map(|v| v.trim_start_matches([' ', '=']))
        };
        let keeps = set("KeepConfiguration").is_some_and(|v| !matches!(v, "no" | "false"))
            || set("CriticalConnection").is_some_and(|v| matches!(v, "yes" | "true"));
        let addresses = set("DHCP").is_some_and(|v| !matches!(v, "no" | "false")) || set("Address").is_some();
        let what = set("Name").unwrap_or_default().to_owned();
        let other = matches!(what.as_str(), "lo") || what.starts_with("ve-") || what.starts_with("vb-");
        (addresses && !keeps && !other).then_some(NetworkTrouble { by: NetworkSetter::Networkd, file, what })
    })
}

/// A connection for Ethernet that takes the address away. One that configures it like the boot did is no harm: NetworkManager leaves a
/// configured interface as it is.
fn network_manager(root: &dyn FileSystem) -> Option<NetworkTrouble> {
    files(root, "/etc/NetworkManager/system-connections", "").into_iter().find_map(|(file, text)| {
        let mut section = "";
        let mut set = std::collections::HashMap::new();
        for line in lines(&text) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name;
            } else if let Some((key, value)) = line.split_once('=') {
                set.insert((section, key.trim()), value.trim());
            }
        }
        let get = |section, key| set.get(&(section, key)).copied().unwrap_or_default();
        let ethernet = matches!(get("connection", "type"), "ethernet" | "802-3-ethernet");
        let drops = matches!(get("ipv4", "method"), "disabled" | "link-local" | "shared");
        let by_itself = get("connection", "autoconnect") != "false";
        let what = get("connection", "id").to_owned();
        (ethernet && drops && by_itself).then_some(NetworkTrouble { by: NetworkSetter::NetworkManager, file, what })
    })
}

/// An interface that ifupdown brings up by itself with addresses.
fn ifupdown(root: &dyn FileSystem) -> Option<NetworkTrouble> {
    if !root.has("/usr/sbin/ifup") && !root.has("/sbin/ifup") {
        return None;
    }
    let mut all = files(root, "/etc/network/interfaces.d", "");
    all.extend(root.text("/etc/network/interfaces").map(|text| ("/etc/network/interfaces".to_owned(), text)));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut by_itself = Vec::new();
    for (_, text) in &all {
        for line in lines(text).map(words) {
            if line.first().is_some_and(|w| w == "auto" || w.starts_with("allow-")) {
                by_itself.extend(line.into_iter().skip(1));
            }
        }
    }
    all.iter().find_map(|(file, text)| {
        let stanza = lines(text).map(words).find(|line| {
            let [word, name, family, method, ..] = &line[..] else { return false };
            word == "iface"
                && name != "lo"
                && family.starts_with("inet")
                && method != "manual"
                && method != "loopback"
                && by_itself.contains(name)
        })?;
        let what = stanza.get(1).cloned().unwrap_or_default();
        Some(NetworkTrouble { by: NetworkSetter::Ifupdown, file: file.clone(), what })
    })
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
