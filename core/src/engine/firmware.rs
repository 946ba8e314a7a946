//! Boot files that a person brings: copied into the lab's `firmware/`, where they come before the system's.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::commands::wrong;
use super::run::{Answer, Run};
use super::serving::blocking;
use crate::api::Reply;
use crate::boot::Arch;
use crate::media::{Kind, recognise};

/// No boot file is larger: firmware loads it into little memory.
const LARGEST: u64 = 64 << 20;

impl Run {
    /// Copies it beside the loop, and answers when it is there for good; the next look at the folder, a second later at most, takes it
    /// into force.
    pub(super) fn add_firmware(&self, from: PathBuf, answer: Answer) {
        let folder = self.shared.folder.firmware();
        tokio::spawn(async move {
            let brought = blocking(move || bring(&from, &folder)).await.and_then(|brought| brought);
            let _nobody_listens = answer.send(brought.map(|name| Reply::Firmware { name }).map_err(wrong));
        });
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
    let is_same = || fs::read(from).ok().zip(fs::read(&target).ok()).is_some_and(|(new, old)| new == old);
    let is_another =
        || format!("{} is there already and is another one; take it away or rename it first", target.display());
    if target.exists() {
        return if is_same() { Ok(name) } else { Err(is_another()) };
    }
    fs::create_dir_all(folder).map_err(|e| fail(folder, e))?;
    // Nobody is ever served half a file.
    let incoming = folder.join(format!(".incoming-{}", uuid::Uuid::new_v4().simple()));
    let brought =
        copy(from, &incoming).map_err(|e| fail(&target, e)).and_then(|()| match move_anew(&incoming, &target) {
            // Another command has just brought one of that name.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !is_same() => Err(is_another()),
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(fail(&target, e)),
            _ => Ok(()),
        });
    let _moved_is_fine = fs::remove_file(&incoming);
    brought?;
    durable(folder).map_err(|e| fail(folder, e))?;
    Ok(name)
}

/// Moves a file to a name that must be free.
fn move_anew(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        moved => Ok(moved?),
    }
}

/// What was moved into this folder is there after a power cut, too; the folder may be new itself.
fn durable(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
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
    use std::time::Duration;

    use rustix::fs::{FileType, Mode, mknodat};

    use super::super::bench::Bench;
    use super::*;
    use crate::api::Command;

    /// What a boot file of a BIOS begins with.
    const LOADER: [u8; 8] = [0xea, 0x05, 0x00, 0xc0, 0x07, 1, 2, 3];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_disk_that_hangs_while_a_boot_file_comes_holds_up_nobody_else() {
        let bench = Bench::new("").await;
        let from = bench.dir.path().join("undionly.kpxe");
        fs::write(&from, LOADER).unwrap();
        // What is read of a pipe comes when somebody writes into it: a disk that hangs.
        let standing = bench.dir.path().join("firmware/undionly.kpxe");
        mknodat(CWD, &standing, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let handle = bench.handle();
        let add = tokio::spawn(async move { handle.call(Command::AddFirmware { from }).await });
        let opened = tokio::task::spawn_blocking(move || File::options().write(true).open(standing)).await;
        let answered = tokio::time::timeout(Duration::from_secs(20), bench.call(Command::Ping)).await;
        // Nothing more comes of it: it is another file.
        drop(opened);
        assert!(answered.is_ok(), "the loop goes on");
        assert!(add.await.unwrap().unwrap_err().to_string().contains("is another one"));
        let from = bench.dir.path().join("snponly.kpxe");
        fs::write(&from, LOADER).unwrap();
        let reply = bench.call(Command::AddFirmware { from }).await.unwrap();
        assert_eq!(reply, Reply::Firmware { name: "snponly.kpxe".into() });
        assert_eq!(fs::read(bench.dir.path().join("firmware/snponly.kpxe")).unwrap(), LOADER);
    }

    #[test]
    fn a_boot_file_does_not_take_the_place_of_one_that_came_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let [new, standing] = ["new", "standing"].map(|name| dir.path().join(name));
        fs::write(&new, "new").unwrap();
        fs::write(&standing, "standing").unwrap();
        assert_eq!(move_anew(&new, &standing).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&standing).unwrap(), b"standing");
    }

    #[test]
    fn a_boot_file_is_copied_once_and_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let (from, firmware) = (dir.path().join("undionly.kpxe"), dir.path().join("firmware"));
        let mut bytes = LOADER.to_vec();
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
