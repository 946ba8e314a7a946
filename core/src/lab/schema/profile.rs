//! `[[firmware]]` and `[[profile]]`: what machines load before anything runs on their disks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Name;
use crate::boot::Arch;

/// `[[firmware]]`: which boot file; the most specific rule wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareRule {
    /// For this architecture only.
    pub arch: Option<Arch>,
    /// For hardware addresses that begin so (1 to 6 bytes).
    pub mac_prefix: Option<Vec<u8>>,
    /// File below `firmware/` or of the system's.
    pub file: String,
    /// UEFI HTTP Boot loads it by HTTPS: for firmware that knows the lab's authority, and that refuses plain HTTP as most does.
    pub https: bool,
}

/// The form of an answer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileKind {
    /// Debian's.
    Preseed,
    /// Red Hat's.
    Kickstart,
    /// Ubuntu's.
    Autoinstall,
    /// No argument is added.
    None,
}

/// How an initramfs takes its iSCSI root. Arguments of a kernel can be read by every user of that machine, and with them a disk's CHAP secret;
/// an iBFT by its root alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IscsiArgs {
    /// By the arguments of open-iscsi's hook for initramfs-tools, `iscsi_target_name=…`; not with `ISCSI_AUTO`, which takes an iBFT alone.
    Debian,
    /// By dracut's arguments, `netroot=iscsi:…`.
    Dracut,
    /// By the iBFT that iPXE leaves, without arguments; not under Xen.
    None,
}

/// `[[profile]]`: something to install or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name.
    pub name: Name,
    /// Kernel, below `media/` or absolute.
    pub kernel: PathBuf,
    /// Initrds, likewise, in order.
    pub initrds: Vec<PathBuf>,
    /// Kernel arguments.
    pub args: String,
    /// Answer file, a template.
    pub answers: Option<PathBuf>,
    /// Its form; `None`: by the file's content.
    pub kind: Option<ProfileKind>,
    /// Only for these; empty: any.
    pub arch: Vec<Arch>,
    /// Xen, loaded first, as a multiboot kernel for BIOS.
    pub hypervisor: Option<PathBuf>,
    /// The same Xen as a program for UEFI.
    pub hypervisor_efi: Option<PathBuf>,
    /// Xen's arguments.
    pub hypervisor_args: String,
    /// How the initramfs takes an iSCSI root.
    pub iscsi_args: Option<IscsiArgs>,
}

/// The words of a profile that are taken out of an image with its kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProfileWords {
    /// The kernel's arguments.
    pub args: String,
    /// Xen's.
    pub hypervisor_args: String,
    /// How the initramfs takes its root.
    pub iscsi_args: Option<IscsiArgs>,
}

impl Profile {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let named = [&self.answers, &self.hypervisor, &self.hypervisor_efi];
        std::iter::once(&self.kernel).chain(&self.initrds).chain(named.into_iter().flatten())
    }

    /// Its words of this kind.
    #[must_use]
    pub fn words(&self) -> ProfileWords {
        ProfileWords {
            args: self.args.clone(),
            hypervisor_args: self.hypervisor_args.clone(),
            iscsi_args: self.iscsi_args,
        }
    }
}
