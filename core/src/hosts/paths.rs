//! What a machine asks for, by its path.

use crate::api::{Source, Stage, StepPart};

/// Files that programs ask for on the chance that they exist: iPXE its script, shim its revocations and certificates, GRUB its lists.
pub(crate) fn is_optional(file: &str) -> bool {
    let leaf = leaf(file).to_ascii_lowercase();
    let of_shim = ["revocations", "shim_certificate"].iter().any(|start| leaf.starts_with(start));
    leaf == "autoexec.ipxe" || (of_shim && leaf.ends_with(".efi")) || leaf.ends_with(".lst")
}

/// Kernels, initrds and boot files: what deserves a bar. Scripts, marks and answers do not. Of another server's paths nothing is known.
pub(super) fn is_bulk(path: &str, source: Source) -> bool {
    path.starts_with("/firmware/")
        || path.starts_with("/media/")
        || (source == Source::Observed && !path.ends_with(".ipxe"))
}

pub(super) fn http_stage(path: &str) -> Stage {
    if path.starts_with("/firmware/") { Stage::Firmware } else { Stage::Loading }
}

/// Which file of a profile a path is of: `/media/PROFILE/PART/…`, as the boot script names them.
pub(super) fn part_of(path: &str) -> Option<StepPart> {
    let (_profile, rest) = path.strip_prefix("/media/")?.split_once('/')?;
    match rest.split_once('/')?.0 {
        "hypervisor" => Some(StepPart::Hypervisor),
        "kernel" => Some(StepPart::Kernel),
        "initrd" => Some(StepPart::Initrd),
        _ => None,
    }
}

pub(super) fn leaf(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
