//! What an initramfs can do: who made it, and whether it can bring up a network and log in to an iSCSI target.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::cpio;

/// Drivers that are named.
const MOST_DRIVERS: usize = 200;

/// Who made an initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// Debian, Ubuntu.
    InitramfsTools,
    /// Fedora, RHEL, SUSE.
    Dracut,
    /// Arch.
    Mkinitcpio,
    /// Another one.
    Unknown,
}

impl Generator {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InitramfsTools => "initramfs-tools",
            Self::Dracut => "dracut",
            Self::Mkinitcpio => "mkinitcpio",
            Self::Unknown => "an unknown generator",
        }
    }
}

/// What an initramfs has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Initramfs {
    /// Who made it.
    pub generator: Option<Generator>,
    /// How it is packed: `zstd`; empty where it is not.
    pub packing: String,
    /// Files in it.
    pub files: u32,
    /// The program that logs in: `iscsistart`, `iscsiroot`, `iscsid`.
    pub initiator: Option<String>,
    /// The driver `iscsi_tcp`.
    pub iscsi_tcp: bool,
    /// The driver `iscsi_ibft`, which shows the iBFT.
    pub iscsi_ibft: bool,
    /// initramfs-tools: `ISCSI_AUTO` is set, so it logs in to what the iBFT names, and to nothing else.
    pub iscsi_auto: bool,
    /// dracut: the arguments that are built in.
    pub built_in_args: String,
    /// Network drivers.
    pub network_drivers: Vec<String>,
    /// Other iSCSI drivers: of network cards that log in themselves.
    pub other_iscsi_drivers: Vec<String>,
    /// A program with which the unit of `iscsid` begins and which is not there, so that it does not start: Debian's, with dracut.
    #[serde(default)]
    pub iscsid_lacks: Option<String>,
}

impl Initramfs {
    /// Reads all of it; only names and a few small files count. `pay` is told of unpacked bytes and may end it.
    ///
    /// # Errors
    /// It is damaged, or packed in a way that is not read; those of `pay`.
    pub(super) fn read(packed: impl Read, pay: &dyn Fn(u64) -> io::Result<()>) -> io::Result<Self> {
        let mut found = Self::default();
        let (mut generator, mut of_open_iscsi) = (None, Vec::new());
        let packing = cpio::walk(packed, pay, &mut |name, _, content| {
            found.files += 1;
            generator = generator.or_else(|| made_by(name));
            if name.contains("/open-iscsi/") && of_open_iscsi.len() < 16 {
                of_open_iscsi.extend(name.rsplit('/').next().map(str::to_owned));
            }
            found.member(name, content)
        })?;
        // Below /lib or /usr/lib: that is one folder.
        found.iscsid_lacks = found.iscsid_lacks.take().filter(|path| {
            path.contains("/open-iscsi/") && !of_open_iscsi.iter().any(|leaf| path.ends_with(&format!("/{leaf}")))
        });
        found.packing = packing.map(|p| p.name().to_owned()).unwrap_or_default();
        found.generator = Some(generator.unwrap_or(Generator::Unknown));
        found.network_drivers.sort_unstable();
        found.network_drivers.dedup();
        Ok(found)
    }

    fn member(&mut self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        let leaf = name.rsplit('/').next().unwrap_or(name);
        if matches!(leaf, "iscsistart" | "iscsiroot" | "iscsid") && name.contains("bin/") {
            // The one that is called first: dracut's script starts the other two.
            let rank = |program: &str| ["iscsid", "iscsistart", "iscsiroot"].iter().position(|p| *p == program);
            if self.initiator.as_deref().and_then(rank) < rank(leaf) {
                self.initiator = Some(leaf.to_owned());
            }
        }
        if let Some(module) = module(leaf) {
            match module.as_str() {
                "iscsi_tcp" => self.iscsi_tcp = true,
                "iscsi_ibft" => self.iscsi_ibft = true,
                "ib_iser" | "bnx2i" | "cxgb3i" | "cxgb4i" | "be2iscsi" | "qla4xxx" | "qedi" => {
                    self.other_iscsi_drivers.push(module);
                }
                _ if name.contains("/drivers/net/")
                    && !NO_CARDS.contains(&module.as_str())
                    && self.network_drivers.len() < MOST_DRIVERS =>
                {
                    self.network_drivers.push(module);
                }
                _ => {}
            }
        }
        match name {
            "etc/iscsi.initramfs" | "etc/iscsi/iscsi.initramfs" => {
                let text = small(content)?;
                self.iscsi_auto |= setting(&text, "ISCSI_AUTO").is_some_and(|value| !value.is_empty());
            }
            _ if name.ends_with("/systemd/system/iscsid.service") => {
                let text = small(content)?;
                self.iscsid_lacks = setting(&text, "ExecStartPre").and_then(|words| {
                    // A `-` before it says that it may fail.
                    words.split_whitespace().next().filter(|path| path.starts_with('/')).map(str::to_owned)
                });
            }
            _ if name.starts_with("etc/cmdline.d/") && leaf.ends_with(".conf") => {
                let text = small(content)?;
                let args = [self.built_in_args.as_str(), text.trim()].join(" ");
                self.built_in_args = args.trim().chars().take(4096).collect();
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it can log in over TCP, given the drivers that are part of its kernel.
    #[must_use]
    pub fn has_iscsi(&self, built_in: &[String]) -> bool {
        let driver =
            self.iscsi_tcp || !self.other_iscsi_drivers.is_empty() || built_in.iter().any(|m| m == "iscsi_tcp");
        self.initiator.is_some() && driver
    }
}

/// Below `drivers/net` and no driver of a card.
const NO_CARDS: [&str; 14] = [
    "mii",
    "mdio",
    "libphy",
    "phylink",
    "fixed_phy",
    "mdio_devres",
    "fwnode_mdio",
    "of_mdio",
    "net_failover",
    "dummy",
    "bonding",
    "macvlan",
    "veth",
    "tun",
];

fn made_by(name: &str) -> Option<Generator> {
    let bare = name.strip_prefix("usr/").unwrap_or(name);
    if bare.starts_with("lib/dracut/") || bare.starts_with("lib/dracut-") || bare == "bin/dracut-pre-pivot" {
        return Some(Generator::Dracut);
    }
    match name {
        "conf/initramfs.conf" | "scripts/init-top/ORDER" | "scripts/functions" => Some(Generator::InitramfsTools),
        "init_functions" | "buildconfig" => Some(Generator::Mkinitcpio),
        _ => None,
    }
}

/// The name of a module's file, as the kernel has it.
pub(super) fn module(leaf: &str) -> Option<String> {
    let bare = [".xz", ".zst", ".gz"].iter().find_map(|end| leaf.strip_suffix(end)).unwrap_or(leaf);
    Some(bare.strip_suffix(".ko")?.replace('-', "_"))
}

fn small(content: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    content.take(16 << 10).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A shell-like setting, the last one that counts, without its quotes.
pub(super) fn setting(text: &str, key: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let value = line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
        Some(value.trim_matches(['"', '\'']).to_owned())
    })
}

#[cfg(test)]
#[path = "initramfs_tests.rs"]
mod tests;
