//! The Debian 12 disk that boots from iSCSI on BIOS and UEFI, built once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::qemu::Machine;
use crate::run;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/debian-disk");

/// The disk, from the cache or built now (some two minutes). Never write to it: copy or overlay it.
///
/// # Errors
/// The recipe failed: with what it said.
pub fn debian() -> Result<PathBuf> {
    let hash = sha256(Path::new(RECIPE))?;
    let cache = run::target_dir()?.join("lab-cache");
    fs::create_dir_all(&cache)?;
    let disk = cache.join(format!("debian-12-{}.raw", hash.get(..16).unwrap_or(&hash)));
    // Two tests that need it at once: one builds, the other waits.
    let lock = fs::File::create(cache.join("lock"))?;
    lock.lock()?;
    if !disk.exists() {
        run::stdout(Command::new(RECIPE).arg(&disk)).context("the Debian disk could not be built")?;
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
            root: line("root")?,
            boots: line("boots")?.parse()?,
        })
    }
}
