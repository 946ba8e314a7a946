//! Xen before a profile's kernel. On BIOS it is a multiboot kernel, and the script has all command lines. On UEFI it is a program that reads
//! its configuration, dom0's kernel and its initrd as files from where it was started: iPXE shows it the images that it has loaded, by name.

use std::fmt::Write;

use super::Arch;
use super::script::{ScriptFor, kernel_args, one_line, profile_of};
use crate::lab::{Boot, Profile};

/// The configuration's name, also below `/boot/MAC/`.
pub const XEN_CONFIG: &str = "xen.cfg";
pub(super) const XEN: &str = "xen.efi";
pub(super) const DOM0_KERNEL: &str = "dom0-kernel";
pub(super) const DOM0_INITRD: &str = "dom0-initrd";

/// The profile's kernel is a dom0.
pub(super) fn under_xen(profile: &Profile) -> bool {
    profile.hypervisor.is_some() || profile.hypervisor_efi.is_some()
}

/// The profile's kernel is a dom0, and there is no Xen for this machine's firmware, which is known.
pub(super) fn no_hypervisor_for(profile: &Profile, arch: Option<Arch>) -> bool {
    let has = |arch: Arch| if arch.is_uefi() { &profile.hypervisor_efi } else { &profile.hypervisor };
    under_xen(profile) && arch.is_some_and(|arch| has(arch).is_none())
}

/// Its Xen is the program for UEFI. Where the firmware is not known, whatever there is.
pub(super) fn starts_xen_efi(profile: &Profile, arch: Option<Arch>) -> bool {
    under_xen(profile) && arch.map_or(profile.hypervisor.is_none(), Arch::is_uefi)
}

/// Xen's configuration for UEFI (Xen, `docs/misc/efi.pandoc`), which has what multiboot has on its command lines: as private to the
/// machine as its script. `None`: it is given no Xen.
#[must_use]
pub fn xen_config(script: &ScriptFor<'_>, boot: &Boot) -> Option<String> {
    let profile = profile_of(script.plan, boot).filter(|profile| profile.hypervisor_efi.is_some())?;
    let root = match boot {
        Boot::Iscsi(iscsi) => Some((iscsi, script.plan.lab.disk(&iscsi.disk)?)),
        _ => None,
    };
    let args = kernel_args(script, profile, root);
    let mut out = format!("[global]\ndefault=dom0\n\n[dom0]\noptions={}\n", one_line(&profile.hypervisor_args));
    let _infallible = writeln!(out, "kernel={DOM0_KERNEL} {args}");
    if !profile.initrds.is_empty() {
        let _infallible = writeln!(out, "ramdisk={DOM0_INITRD}");
    }
    Some(out)
}
