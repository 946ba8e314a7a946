//! The real Debian installer, from the package `debian-installer-12-netboot-amd64`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::bootyard::LabDir;

const IMAGES: &str = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64";

/// Kernel and initrd.
///
/// # Errors
/// The package is missing.
pub fn files() -> Result<(PathBuf, PathBuf)> {
    let (kernel, initrd) = (Path::new(IMAGES).join("linux"), Path::new(IMAGES).join("initrd.gz"));
    if !kernel.exists() || !initrd.exists() {
        bail!("{IMAGES} is missing; install the package `debian-installer-12-netboot-amd64`");
    }
    Ok((kernel, initrd))
}

/// Puts the installer into the lab as profile `debian-12`, with an answer file that makes it say a word and power off: the proof is
/// that it ran with its own answers, not an hour of partitioning under emulation.
///
/// # Errors
/// The package is missing, or the file system's.
pub fn add_profile(lab: &mut LabDir) -> Result<()> {
    let (kernel, initrd) = files()?;
    let media = lab.path().join("media/debian-12");
    fs::create_dir_all(&media)?;
    for (from, name) in [(&kernel, "linux"), (&initrd, "initrd.gz")] {
        fs::copy(from, media.join(name))?;
    }
    fs::write(
        lab.path().join("media/debian-12.cfg"),
        "#_preseed_V1\n\
         d-i preseed/early_command string echo ANSWERS-RAN > /dev/ttyS0; sync; poweroff -f\n",
    )?;
    lab.add(
        r#"
[[profile]]
name = "debian-12"
kernel = "debian-12/linux"
initrd = ["debian-12/initrd.gz"]
args = "auto=true priority=critical console=ttyS0 DEBIAN_FRONTEND=text netcfg/choose_interface=auto"
answers = "debian-12.cfg"
arch = ["bios", "uefi-x64"]
"#,
    )
}

/// The system's iPXE binaries, where the lab's `firmware/` shall not be empty.
///
/// # Errors
/// The package `ipxe` is missing.
pub fn link_firmware(lab: &LabDir) -> Result<()> {
    for name in ["undionly.kpxe", "ipxe.efi", "snponly.efi"] {
        let from = Path::new("/usr/lib/ipxe").join(name);
        if !from.exists() {
            bail!("{} is missing; install the package `ipxe`", from.display());
        }
        symlink(&from, lab.path().join("firmware").join(name))?;
    }
    Ok(())
}
