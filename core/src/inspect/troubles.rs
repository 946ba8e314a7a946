//! What would keep an image from booting in the way in which it is to boot. Pure: an [`Inspection`] in, ids with parameters out; the
//! sentences are in `assets/lang` as `image.ID`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::initramfs::{Generator, Initramfs};
use super::loaders::{BrokenBoot, fallback_name};
use super::{FileSystemKind, Inspection, Kernel, LinuxSystem, TableKind, WindowsSystem};
use crate::api::Severity;
use crate::boot::Arch;
use crate::lab::{IscsiArgs, printable};
use crate::lang;

/// How a machine boots from a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Its firmware starts the disk's boot loader (`sanboot`), and the system reads the iBFT.
    San {
        /// The firmware; `None`: not known yet.
        arch: Option<Arch>,
    },
    /// Its kernel comes over HTTP, and its initramfs logs in.
    Direct {
        /// How it is told where to.
        args: IscsiArgs,
        /// iPXE has hooked the disk before, so there is an iBFT.
        ibft: bool,
        /// Xen is loaded first; its dom0 cannot read an iBFT.
        hypervisor: bool,
    },
}

/// Something that keeps an image from booting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trouble {
    /// Stable id; its sentences are in `assets/lang`.
    pub id: String,
    /// Error: it will not boot. Warning: it may not, or not for long.
    pub severity: Severity,
    /// What the sentences are about.
    pub params: BTreeMap<String, String>,
}

impl Trouble {
    fn new(id: impl Into<String>, severity: Severity, params: &[(&str, &str)]) -> Self {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), printable(value))).collect();
        Self { id: id.into(), severity, params }
    }

    /// What was seen.
    #[must_use]
    pub fn seen(&self) -> String {
        self.sentence("seen")
    }

    /// What it means.
    #[must_use]
    pub fn means(&self) -> String {
        self.sentence("means")
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.sentence("remedy")
    }

    fn sentence(&self, part: &str) -> String {
        let params = self.params.iter().map(|(name, value)| {
            // Scripts know it as `what`; in a sentence that is something which the tables have.
            let name = if name == "what" { "which" } else { name.as_str() };
            (name, value as &dyn std::fmt::Display)
        });
        let params: Vec<lang::Param<'_>> = params.collect();
        lang::fill(lang::sentence(&format!("image.{}", self.id), part), &params)
    }
}

/// What would keep this image from booting in this way.
#[must_use]
pub fn troubles(image: &Inspection, way: Way) -> Vec<Trouble> {
    let mut found = Vec::new();
    if let Some([one, other]) = image.overlaps.first() {
        let (one, other) = (one.to_string(), other.to_string());
        found.push(Trouble::new("overlapping-partitions", Severity::Error, &[("one", &one), ("other", &other)]));
    }
    if let Way::San { arch } = way {
        found.extend(loader(image, arch));
        found.extend(image.windows.iter().flat_map(windows));
    }
    // Of several systems the first is the one that people boot; one without kernels is a rest or a container.
    if let Some(system) = image.linux.iter().find(|s| !s.kernels.is_empty()) {
        found.extend(linux(system, way));
    }
    found
}

fn loader(image: &Inspection, arch: Option<Arch>) -> Option<Trouble> {
    match arch {
        // Not known yet: whatever starts anything is right.
        None => {
            let any = image.bios.starts() || image.efi.iter().any(|p| p.arch.is_some());
            (!any).then(|| Trouble::new("no-boot-loader", Severity::Error, &[]))
        }
        Some(Arch::Bios | Arch::BiosHttp) => bios(image),
        Some(Arch::RaspberryPi) => None,
        Some(arch) => uefi(image, arch.without_http()),
    }
}

fn bios(image: &Inspection) -> Option<Trouble> {
    let by = image.bios.name.as_deref().unwrap_or_default();
    match image.bios.broken {
        Some(BrokenBoot::NoCore) => return Some(Trouble::new("no-grub-core", Severity::Error, &[])),
        Some(BrokenBoot::NoActivePartition) => {
            return Some(Trouble::new("no-active-partition", Severity::Error, &[("loader", by)]));
        }
        None if image.bios.boot_code => return None,
        None => {}
    }
    let uefi = image.efi.iter().any(|p| p.arch.is_some());
    let windows = image.linux.is_empty() && is_windows(image);
    let id = match image.table {
        TableKind::Gpt if windows => "windows-uefi-only",
        _ if windows => "windows-no-boot-code",
        TableKind::Gpt if uefi => "uefi-only",
        _ => "no-bios-loader",
    };
    Some(Trouble::new(id, Severity::Error, &[]))
}

/// Whether Windows is on it, be it that its files cannot be read.
fn is_windows(image: &Inspection) -> bool {
    !image.windows.is_empty()
        || image.partitions.iter().any(|p| p.file_system == Some(FileSystemKind::BitLocker))
        || image.efi.iter().any(|p| p.path.to_ascii_lowercase().starts_with("/efi/microsoft/"))
}

fn uefi(image: &Inspection, arch: Arch) -> Option<Trouble> {
    let file = fallback_name(arch)?;
    let named =
        image.efi.iter().find(|p| p.path.to_ascii_lowercase() == format!("/efi/boot/{}", file.to_ascii_lowercase()));
    let file = format!("\\EFI\\BOOT\\{file}");
    let arch_name = arch.to_string();
    let mut params = vec![("file", file.as_str()), ("arch", arch_name.as_str())];
    let is = named.and_then(|p| p.arch).map(|a| a.to_string());
    match (named, &is) {
        (Some(program), _) if program.arch == Some(arch) => None,
        (Some(_), Some(is)) => {
            params.push(("is", is));
            Some(Trouble::new("wrong-machine", Severity::Error, &params))
        }
        (Some(_), None) => Some(Trouble::new("no-program", Severity::Error, &params)),
        (None, _) => {
            let other = image.efi.iter().find(|p| p.arch == Some(arch)).map(|p| p.path.replace('/', "\\"));
            Some(match &other {
                Some(other) => {
                    params.push(("other", other));
                    Trouble::new("no-fallback-loader", Severity::Error, &params)
                }
                None => Trouble::new("no-uefi-loader", Severity::Error, &params),
            })
        }
    }
}

fn linux(system: &LinuxSystem, way: Way) -> Vec<Trouble> {
    let mut found: Vec<Trouble> = system.kernels.first().map(|k| kernel(system, k, way)).unwrap_or_default();
    found.extend(system.network.iter().map(|trouble| {
        let params = [("system", system.name.as_str()), ("file", &trouble.file), ("what", &trouble.what)];
        Trouble::new(format!("network-{}", trouble.by.as_str()), Severity::Warning, &params)
    }));
    found
}

/// The same for one kernel of a system.
#[must_use]
pub(super) fn kernel(system: &LinuxSystem, kernel: &Kernel, way: Way) -> Vec<Trouble> {
    let params = [("system", system.name.as_str()), ("kernel", kernel.version.as_str())];
    let Some(initramfs) = &kernel.initramfs else {
        return vec![match &kernel.initramfs_problem {
            Some(problem) => {
                Trouble::new("initramfs-unread", Severity::Warning, &[&params[..], &[("problem", problem)]].concat())
            }
            None => Trouble::new("no-initramfs", Severity::Error, &params),
        }];
    };
    let generator = initramfs.generator.unwrap_or(Generator::Unknown);
    if !initramfs.has_iscsi(&kernel.built_in) {
        return vec![Trouble::new(by_generator("no-iscsi", generator), Severity::Error, &params)];
    }
    let mut found = Vec::new();
    if let (Generator::Dracut, Some(file)) = (generator, &initramfs.iscsid_lacks) {
        let more = [("file", file.as_str())];
        found.push(Trouble::new("iscsid-lacks-dracut", Severity::Error, &[&params[..], &more].concat()));
    }
    let card = |m: &String| !m.starts_with("iscsi");
    if initramfs.network_drivers.is_empty() && !kernel.built_in.iter().any(card) {
        found.push(Trouble::new(by_generator("no-network-driver", generator), Severity::Error, &params));
    }
    let ibft = has_ibft(kernel);
    match way {
        Way::San { .. } => {
            if !ibft {
                found.push(Trouble::new(by_generator("no-ibft", generator), Severity::Error, &params));
            }
            if !asks_ibft(initramfs, generator, &kernel.args) {
                found.push(Trouble::new(by_generator("ibft-unasked", generator), Severity::Error, &params));
            }
        }
        Way::Direct { args: IscsiArgs::None, hypervisor: true, .. } => {
            found.push(Trouble::new("xen-ibft", Severity::Error, &params));
        }
        Way::Direct { args: IscsiArgs::None, .. } => {
            if !ibft {
                found.push(Trouble::new(by_generator("no-ibft", generator), Severity::Error, &params));
            }
        }
        Way::Direct { args, ibft: there, hypervisor } => {
            // What its boot loader says is not said here: the profile has its own arguments.
            if initramfs.iscsi_auto && (!there || hypervisor) {
                found.push(Trouble::new("iscsi-auto", Severity::Error, &params));
            }
            if iscsi_args(generator).is_some_and(|fitting| fitting != args) {
                let (has, needs) = (word(args), iscsi_args(generator).map_or("", word));
                let more = [("has", has), ("needs", needs), ("generator", generator.as_str())];
                found.push(Trouble::new("iscsi-args", Severity::Error, &[&params[..], &more].concat()));
            }
        }
    }
    found
}

/// Whether a kernel can read an iBFT.
pub(super) fn has_ibft(kernel: &Kernel) -> bool {
    kernel.initramfs.as_ref().is_some_and(|i| i.iscsi_ibft) || kernel.built_in.iter().any(|m| m == "iscsi_ibft")
}

/// Whether its initramfs, one of open-iscsi for Debian, looks for an iBFT and at no arguments. One that only its boot loader's
/// `iscsi_auto` would make do so is given arguments: that word does not reach a kernel that is started directly.
pub(super) fn prefers_ibft(kernel: &Kernel) -> bool {
    kernel.initramfs.as_ref().is_some_and(|i| i.iscsi_auto)
}

fn by_generator(id: &str, generator: Generator) -> String {
    let end = match generator {
        Generator::InitramfsTools => "initramfs-tools",
        Generator::Dracut => "dracut",
        Generator::Mkinitcpio => "mkinitcpio",
        Generator::Unknown => "unknown",
    };
    format!("{id}-{end}")
}

/// How the initramfs of a generator takes its root, as `iscsi-args` has it.
#[must_use]
pub(super) fn iscsi_args(generator: Generator) -> Option<IscsiArgs> {
    match generator {
        Generator::InitramfsTools => Some(IscsiArgs::Debian),
        Generator::Dracut => Some(IscsiArgs::Dracut),
        Generator::Mkinitcpio | Generator::Unknown => None,
    }
}

fn word(args: IscsiArgs) -> &'static str {
    match args {
        IscsiArgs::Debian => "debian",
        IscsiArgs::Dracut => "dracut",
        IscsiArgs::None => "none",
    }
}

/// Whether one of the arguments begins so.
fn has_word(args: &str, starts: &[&str]) -> bool {
    args.split_whitespace().any(|arg| {
        let arg = arg.to_ascii_lowercase();
        starts.iter().any(|start| arg.starts_with(start))
    })
}

/// Whether an initramfs looks at the iBFT by itself, or is told a target.
fn asks_ibft(initramfs: &Initramfs, generator: Generator, args: &str) -> bool {
    match generator {
        Generator::InitramfsTools => initramfs.iscsi_auto || has_word(args, &["iscsi_auto", "iscsi_target_name="]),
        Generator::Dracut => {
            let all = format!("{args} {}", initramfs.built_in_args);
            // A switch that is off is written with a value of 0.
            let on = |key: &str| {
                all.split_whitespace()
                    .any(|a| a == key || a.strip_prefix(key).is_some_and(|v| v.starts_with('=') && v != "=0"))
            };
            on("rd.iscsi.firmware") || on("rd.iscsi.ibft") || has_word(&all, &["netroot=iscsi:", "iscsi_firmware"])
        }
        Generator::Mkinitcpio | Generator::Unknown => true,
    }
}

fn windows(system: &WindowsSystem) -> Vec<Trouble> {
    if let Some(problem) = &system.problem {
        return vec![Trouble::new("windows-unread", Severity::Warning, &[("problem", problem)])];
    }
    let mut found = Vec::new();
    let set = system.control_set.as_str();
    for name in ["NDIS", "Tcpip", "iScsiPrt"] {
        match system.service(name) {
            None => found.push(Trouble::new("windows-no-service", Severity::Error, &[("service", name), ("set", set)])),
            Some(service) if !service.at_boot() => {
                let start = service.start.map_or_else(|| "no value".to_owned(), |s| s.to_string());
                let params = [("service", name), ("start", start.as_str()), ("set", set)];
                found.push(Trouble::new("windows-service", Severity::Error, &params));
            }
            Some(_) => {}
        }
    }
    if !system.cards.iter().any(super::WindowsService::at_boot) {
        let names: Vec<&str> = system.cards.iter().take(6).map(|c| c.name.as_str()).collect();
        let (id, names) =
            if names.is_empty() { ("windows-no-card", String::new()) } else { ("windows-card", names.join(", ")) };
        found.push(Trouble::new(id, Severity::Error, &[("cards", names.as_str()), ("set", set)]));
    }
    if system.service("MSiSCSI").is_some_and(|s| s.start == Some(4)) {
        found.push(Trouble::new("windows-msiscsi", Severity::Warning, &[("set", set)]));
    }
    if !system.bcd {
        found.push(Trouble::new("windows-no-bcd", Severity::Error, &[]));
    }
    found
}

#[cfg(test)]
#[path = "troubles_tests.rs"]
pub(super) mod tests;
