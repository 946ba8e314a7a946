//! Boot files that a person brings: copied into the lab's `firmware/`, where they come before the system's.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::commands::wrong;
use super::run::Run;
use super::serving::blocking;
use crate::api::{CommandError, Reply};
use crate::boot::Arch;
use crate::media::{Kind, recognise};

/// No boot file is larger: firmware loads it into little memory.
const LARGEST: u64 = 64 << 20;

impl Run {
    /// Copies it; the next look at the folder, a second later at most, takes it into force.
    pub(super) async fn add_firmware(&self, from: PathBuf) -> Result<Reply, CommandError> {
        let folder = self.shared.folder.firmware();
        let name = blocking(move || bring(&from, &folder)).await.map_err(wrong)?.map_err(wrong)?;
        Ok(Reply::Firmware { name })
    }
}

fn bring(from: &Path, folder: &Path) -> Result<String, String> {
    let fail = |what: &Path, error: io::Error| format!("{}: {error}", what.display());
    let Kind::Firmware { arch, ipxe } = recognise(from).map_err(|e| fail(from, e))? else {
        return Err(format!("{} is no program that firmware loads from the network", from.display()));
    };
    let name = name_of(from, arch, ipxe).ok_or_else(|| {
        format!("{} has a name that firmware can't ask for; use letters, digits, `.`, `_` and `-`", from.display())
    })?;
    let size = fs::metadata(from).map_err(|e| fail(from, e))?.len();
    if size > LARGEST {
        return Err(format!("{} is larger than 64 MiB; no firmware loads that", from.display()));
    }
    let target = folder.join(&name);
    if target.exists() {
        let same = fs::read(from).ok().zip(fs::read(&target).ok()).is_some_and(|(new, old)| new == old);
        return if same {
            Ok(name)
        } else {
            Err(format!("{} is there already and is another one; take it away or rename it first", target.display()))
        };
    }
    fs::create_dir_all(folder).map_err(|e| fail(folder, e))?;
    // Nobody is ever served half a file.
    let incoming = folder.join(format!(".incoming-{}", uuid::Uuid::new_v4().simple()));
    let copied = copy(from, &incoming).and_then(|()| fs::rename(&incoming, &target));
    copied.map_err(|e| {
        let _nothing_there_is_fine = fs::remove_file(&incoming);
        fail(&target, e)
    })?;
    Ok(name)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, mut out) = (File::open(from)?, File::options().write(true).create_new(true).open(to)?);
    io::copy(&mut source, &mut out)?;
    out.sync_all()
}

/// The name under which it is kept: its own, with the ending by which a build of iPXE is found if it has lost that.
fn name_of(from: &Path, arch: Arch, ipxe: bool) -> Option<String> {
    let name = from.file_name()?.to_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.starts_with('.') || name.len() > 100 || !name.chars().all(plain) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let ends = |all: &[&str]| all.iter().any(|end| lower.ends_with(end));
    let missing = match arch {
        Arch::Bios if !ends(&[".kpxe", ".kkpxe", ".kkkpxe", ".pxe"]) => ".kpxe",
        Arch::Bios => "",
        _ if !ends(&[".efi"]) => ".efi",
        _ => "",
    };
    Some(if ipxe { format!("{name}{missing}") } else { name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_file_is_copied_once_and_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let (from, firmware) = (dir.path().join("undionly.kpxe"), dir.path().join("firmware"));
        let mut bytes = vec![0xea, 0x05, 0x00, 0xc0, 0x07, 1, 2, 3];
        fs::write(&from, &bytes).unwrap();
        assert_eq!(bring(&from, &firmware).unwrap(), "undionly.kpxe");
        assert_eq!(fs::read(firmware.join("undionly.kpxe")).unwrap(), bytes);
        assert_eq!(bring(&from, &firmware).unwrap(), "undionly.kpxe", "the same again is nothing new");
        bytes.push(4);
        fs::write(&from, &bytes).unwrap();
        assert!(bring(&from, &firmware).unwrap_err().contains("is another one"));
        assert_eq!(fs::read_dir(&firmware).unwrap().count(), 1, "nothing is left of what was refused");
        fs::write(&from, "a text").unwrap();
        assert!(bring(&from, &firmware).unwrap_err().contains("no program that firmware loads"));
    }

    #[test]
    fn a_build_of_ipxe_gets_back_the_ending_by_which_it_is_found() {
        let name = |file: &str, arch, ipxe| name_of(Path::new(file), arch, ipxe);
        assert_eq!(name("/d/snponly.efi", Arch::UefiX64, true).as_deref(), Some("snponly.efi"));
        assert_eq!(name("/d/snponly", Arch::UefiX64, true).as_deref(), Some("snponly.efi"));
        assert_eq!(name("/d/undionly.0", Arch::Bios, true).as_deref(), Some("undionly.0.kpxe"));
        assert_eq!(name("/d/pxelinux.0", Arch::Bios, false).as_deref(), Some("pxelinux.0"));
        assert_eq!(name("/d/sn ponly.efi", Arch::UefiX64, true), None);
    }
}
