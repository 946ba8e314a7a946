//! What a process that was started as root gives up, and two questions to the operating system about the lab's place.

use std::io;
use std::path::Path;

use super::NetError;

/// Becomes the owner of the lab folder for good, when this process is root and the folder is another user's. Every thread
/// changes. Call it after the ports are open and the addresses held: both stay.
///
/// # Errors
/// [`NetError`]; the process must not go on then. [`NetError::Refused`] when this process itself would have to renew an address,
/// because `bootyard-ports` is not installed.
#[cfg(target_os = "linux")]
pub fn drop_privileges(lab: &Path) -> Result<(), NetError> {
    use std::os::unix::fs::MetadataExt;

    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let failed = |source| NetError::Io { what: format!("cannot become the owner of {}", lab.display()), source };
    let owner = std::fs::metadata(lab).map_err(failed)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    if super::linux::hold::needs_privileges() {
        return Err(NetError::Refused(
            "bootyard-ports is missing, which keeps the interface's address when root is given up; \
             install it beside bootyard, give the interface its address yourself, or let root own the lab folder"
                .to_owned(),
        ));
    }
    bootyard_ports::sys::become_user(owner.uid(), owner.gid()).map_err(failed)
}

/// There is nothing to give up that this program could have used.
///
/// # Errors
/// None on this system.
#[cfg(not(target_os = "linux"))]
pub fn drop_privileges(_lab: &Path) -> Result<(), NetError> {
    Ok(())
}

/// Free and total bytes of the file system that holds `path`; free as for an ordinary user, without root's reserve.
///
/// # Errors
/// The operating system's.
#[cfg(unix)]
pub fn free_space(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// Free and total bytes.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(unix))]
pub fn free_space(_path: &Path) -> io::Result<(u64, u64)> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_no_more_free_than_it_has() {
        let (free, total) = free_space(Path::new("/")).unwrap();
        assert!(free <= total && total > 0);
        assert!(free_space(Path::new("/no/such/place")).is_err());
    }
}
