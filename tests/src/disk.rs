//! The Debian 12 disk that boots from iSCSI on BIOS and UEFI, built once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::qemu::Machine;
use crate::run;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/debian-disk");
const OTHER_INITRAMFS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/other-initramfs");

/// The disk, from the cache or built now (some two minutes). Never write to it: copy or overlay it.
///
/// # Errors
/// The recipe failed: with what it said.
pub fn debian() -> Result<PathBuf> {
    of_recipe(None)
}

/// The same whose boot loader starts Xen, and whose initramfs looks for an iBFT only where it is told to.
///
/// # Errors
/// As [`debian`].
pub fn debian_xen() -> Result<PathBuf> {
    of_recipe(Some("xen"))
}

fn of_recipe(variant: Option<&str>) -> Result<PathBuf> {
    let hash = sha256(Path::new(RECIPE))?;
    let of = variant.map(|variant| format!("{variant}-")).unwrap_or_default();
    built(&format!("debian-12-{of}{}.raw", hash.get(..16).unwrap_or(&hash)), |disk| {
        run::stdout(Command::new(RECIPE).arg(disk).args(variant)).context("the Debian disk could not be built")?;
        Ok(())
    })
}

/// How the initramfs of the disk takes its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initramfs {
    /// open-iscsi's hook for initramfs-tools, by the kernel's arguments and without `ISCSI_AUTO`.
    Arguments,
    /// dracut.
    Dracut,
}

/// The same disk with another initramfs, from the cache or built now (a minute, and packages from the network for dracut).
///
/// # Errors
/// As [`debian`].
pub fn debian_with(initramfs: Initramfs) -> Result<PathBuf> {
    let golden = debian()?;
    let kind = match initramfs {
        Initramfs::Arguments => "arguments",
        Initramfs::Dracut => "dracut",
    };
    let hash = sha256(Path::new(OTHER_INITRAMFS))?;
    let of = golden.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    built(&format!("{of}-{kind}-{}.raw", hash.get(..16).unwrap_or(&hash)), |disk| {
        run::stdout(Command::new(OTHER_INITRAMFS).arg(disk).arg(&golden).arg(kind))
            .with_context(|| format!("the Debian disk could not be given its other initramfs ({kind})"))?;
        Ok(())
    })
}

/// A file of the cache, which `build` makes where it is not there yet.
fn built(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = run::target_dir()?.join("lab-cache");
    fs::create_dir_all(&cache)?;
    let disk = cache.join(name);
    // Two tests that need it at once: one builds, the other waits.
    let lock = fs::File::create(cache.join("lock"))?;
    lock.lock()?;
    if !disk.exists() {
        build(&disk)?;
    }
    Ok(disk)
}

/// A file's SHA-256, as `sha256sum` prints it.
///
/// # Errors
/// It cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let line = run::stdout(Command::new("sha256sum").arg(path))?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

/// What the disk's system prints of itself before it powers off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// State of systemd's `multi-user.target`.
    pub multi_user: String,
    /// Target name in `/sys/firmware/ibft`.
    pub ibft_target: String,
    /// Initiator name in `/sys/firmware/ibft`.
    pub ibft_initiator: String,
    /// `bios` or `uefi`.
    pub firmware: String,
    /// `xen PV` in a dom0; empty without a hypervisor that says so.
    pub hypervisor: String,
    /// Device, file system and model of the root.
    pub root: String,
    /// How often this disk has booted, by a counter in its own root file system.
    pub boots: u32,
}

impl Proof {
    /// Read from a machine's serial console.
    ///
    /// # Errors
    /// It has not printed all of it.
    pub fn of(machine: &Machine) -> Result<Self> {
        let line = |label: &str| {
            machine.line(&format!("PROOF {label}:")).with_context(|| format!("no line `PROOF {label}` on the console"))
        };
        Ok(Self {
            multi_user: line("multi-user")?,
            ibft_target: line("ibft-target")?,
            ibft_initiator: line("ibft-initiator")?,
            firmware: line("firmware")?,
            hypervisor: line("hypervisor")?,
            root: line("root")?,
            boots: line("boots")?.parse()?,
        })
    }
}
