//! Who else has an image: loop devices and what is mounted from them.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::DiskError;

/// Refuses block and character devices before they are opened: an opened tape or watchdog has effects.
pub(super) fn refuse_device(path: &Path) -> Result<(), DiskError> {
    let kind = fs::metadata(path).map_err(DiskError::io("open", path))?.file_type();
    if kind.is_block_device() || kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
        return Err(DiskError::NotAFile { path: path.to_owned() });
    }
    Ok(())
}

/// Refuses an image that is the backing of a loop device, and names where that is mounted.
pub(super) fn refuse_attached(path: &Path) -> Result<(), DiskError> {
    let real = fs::canonicalize(path).map_err(DiskError::io("open", path))?;
    let Ok(devices) = fs::read_dir("/sys/block") else { return Ok(()) };
    for device in devices.flatten() {
        let Ok(backing) = fs::read_to_string(device.path().join("loop/backing_file")) else { continue };
        if Path::new(backing.trim_end_matches('\n')) == real {
            let name = device.file_name().to_string_lossy().into_owned();
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let by = match mounted_at(&mounts, &name) {
                Some(at) => format!("/dev/{name}, mounted at {at}"),
                None => format!("/dev/{name}"),
            };
            return Err(DiskError::InUse { path: path.to_owned(), by });
        }
    }
    Ok(())
}

/// Where a block device or a partition of it is mounted (proc_pid_mountinfo(5): field 5, and the second after the hyphen).
fn mounted_at(mountinfo: &str, device: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let source = right.split(' ').nth(1)?.strip_prefix("/dev/")?;
        let ours = source == device || source.strip_prefix(device).is_some_and(|rest| rest.starts_with('p'));
        ours.then(|| left.split(' ').nth(4).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_loop_device_or_its_partition_is_named() {
        let text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    40 22 7:0 / /mnt/image rw,relatime shared:1 - ext4 /dev/loop1p2 rw\n";
        assert_eq!(mounted_at(text, "loop1").as_deref(), Some("/mnt/image"));
        assert_eq!(mounted_at(text, "loop10"), None);
        assert_eq!(mounted_at(text, "loop"), None);
    }
}
