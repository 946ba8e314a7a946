//! Formats that are read by QEMU's `qemu-img`, where it is installed: VHD, VHDX, VDI, and VMDK in several files.
//!
//! Such an image may have been made by anybody: it is looked at first, and one that names anything but a plain file in its own folder is
//! refused before the program sees it. The program is given an absolute path and a format, so that no name is taken for a protocol; it
//! ends when it is cancelled, and with this process.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::DiskError;
use super::format::{Format, refusal};

/// A `qemu-img` that can be run.
#[derive(Debug, Clone)]
pub(super) struct QemuImg(PathBuf);

/// What it says of an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
    #[serde(default)]
    actual_size: u64,
    #[serde(default)]
    backing_filename: Option<String>,
    #[serde(default)]
    format_specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Specific {
    #[serde(default)]
    data: serde_json::Value,
}

/// An image that it reads.
#[derive(Debug)]
pub(super) struct Foreign {
    program: QemuImg,
    path: PathBuf,
    format: Format,
    name: &'static str,
    /// Bytes of the disk.
    pub(super) size: u64,
    /// Bytes that a copy takes, by its word.
    pub(super) needs: u64,
}

impl QemuImg {
    /// The one on this `PATH`.
    pub(super) fn find(path: &std::ffi::OsStr) -> Option<Self> {
        std::env::split_paths(path).map(|dir| dir.join("qemu-img")).find(|program| program.is_file()).map(Self)
    }

    /// Looks at an image.
    pub(super) fn open(
        self,
        path: &Path,
        format: Format,
        name: &'static str,
        cancel: &AtomicBool,
    ) -> Result<Foreign, DiskError> {
        let path = std::path::absolute(path).map_err(DiskError::io("open", path))?;
        let unreadable = |why: String| DiskError::Format {
            path: path.clone(),
            format: super::format::described(format),
            remedy: format!("it cannot be read: {why}"),
        };
        if name == "vmdk" {
            plain_extents(&path).map_err(unreadable)?;
        }
        if name == "vpc" && is_differencing(&path).map_err(DiskError::io("read", &path))? {
            return Err(unreadable("it holds only what differs from another image; merge the two first".into()));
        }
        let mut command = Command::new(&self.0);
        command.args(["info", "--output=json", "-f", name]).arg(&path);
        let (ended, output, error) = self.run(command, &|_| {}, cancel)?;
        if !ended {
            return Err(unreadable(first_line(&error)));
        }
        let info: Info = serde_json::from_slice(&output).map_err(|e| unreadable(e.to_string()))?;
        if let Some(other) = info.backing_filename {
            return Err(unreadable(format!("it needs {other}; merge the two first, or import that one")));
        }
        let kind = info.format_specific.as_ref().and_then(|s| s.data.get("create-type")).and_then(|t| t.as_str());
        // What is compressed takes less than the disk will.
        let known = info.actual_size > 0 && kind != Some("streamOptimized");
        let needs = if known { info.actual_size.min(info.virtual_size) } else { info.virtual_size };
        Ok(Foreign { program: self, path: path.clone(), format, name, size: info.virtual_size, needs })
    }

    /// Runs it to its end: whether that was a good one, what it printed, and what it complained of. `progress` is given thousandths.
    fn run(
        &self,
        mut command: Command,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<(bool, Vec<u8>, Vec<u8>), DiskError> {
        bootyard_ports::sys::end_with_parent(&mut command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(DiskError::io("run", &self.0))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (told, hears) = std::sync::mpsc::sync_channel(16);
        let output = std::thread::spawn(move || {
            gather(out, &mut |text| {
                if let Some(thousandths) = thousandths(text) {
                    let _nobody_needs_every_one = told.try_send(thousandths);
                }
            })
        });
        let complaint = std::thread::spawn(move || gather(err, &mut |_| {}));
        let ended = loop {
            match child.try_wait() {
                Ok(None) => {}
                ended => break ended,
            }
            if let Ok(thousandths) = hears.recv_timeout(Duration::from_millis(50)) {
                progress(thousandths);
            }
            if cancel.load(Ordering::Relaxed) {
                let _it_may_have_ended = child.kill();
                let _ = child.wait();
                return Err(DiskError::Cancelled);
            }
        };
        let good = ended.map_err(DiskError::io("run", &self.0))?.is_some_and(|status| status.success());
        Ok((good, output.join().unwrap_or_default(), complaint.join().unwrap_or_default()))
    }
}

/// Reads to the end and keeps the first mebibyte.
fn gather(from: Option<impl Read>, each: &mut dyn FnMut(&[u8])) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    let Some(mut from) = from else { return all };
    while let Ok(n) = from.read(&mut piece) {
        let piece = piece.get(..n).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        each(piece);
        if all.len() < 1 << 20 {
            all.extend_from_slice(piece);
        }
    }
    all
}

/// Longest description of a VMDK, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// The part of a VMDK that is text, where there is one: the file itself, or what the sparse header points to (Virtual Disk Format 5.0).
fn vmdk_text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut head = [0; 512];
    file.read_exact_at(&mut head, 0)
        .or_else(|e| if e.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(e) })?;
    let word = |at: usize| head.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (from, len) = if head.starts_with(b"KDMV") { (word(28) * 512, word(36) * 512) } else { (0, u64::MAX) };
    // As much as QEMU reads of it, and a byte more.
    let mut text = vec![0; usize::try_from(len.min(MAX_TEXT + 1)).unwrap_or_default()];
    let mut filled = 0;
    while filled < text.len() {
        match file.read_at(text.get_mut(filled..).unwrap_or_default(), from + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    text.truncate(filled);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// That a VMDK names nothing but plain files beside it.
fn plain_extents(path: &Path) -> Result<(), String> {
    let text = vmdk_text(path).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_TEXT {
        return Err("its description is longer than a mebibyte".into());
    }
    let extents = text.lines().filter(|line| {
        let first = line.split_whitespace().next().unwrap_or_default();
        ["RW", "RDONLY", "NOACCESS"].iter().any(|access| first.eq_ignore_ascii_case(access))
    });
    for line in extents {
        let name = line.split('"').nth(1).unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        let file = path.with_file_name(name);
        let beside = !name.contains(['/', '\\']) && name != "..";
        if !beside || !std::fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file()) {
            return Err(format!("it names {name}, which is no plain file in its own folder"));
        }
    }
    Ok(())
}

/// Whether a VHD holds only the difference to another one: disk type 4 in its footer, of which dynamic ones have a copy at the beginning
/// (Virtual Hard Disk Image Format Specification).
fn is_differencing(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    for at in [0, len.saturating_sub(512)] {
        let mut footer = [0; 64];
        if file.read_exact_at(&mut footer, at).is_ok()
            && footer.starts_with(b"conectix")
            && footer[60..64] == [0, 0, 0, 4]
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Foreign {
    /// Writes it as raw into the file at `to`, which is there, empty and as long as the disk. `progress` is given thousandths.
    pub(super) fn convert(&self, to: &Path, progress: &dyn Fn(u64), cancel: &AtomicBool) -> Result<(), DiskError> {
        let failed = |why: String| DiskError::Format {
            path: self.path.clone(),
            format: super::format::described(self.format),
            remedy: format!("qemu-img could not convert it: {why}"),
        };
        let mut command = Command::new(&self.program.0);
        command
            .args(["convert", "-p", "-n", "-S", "4k", "-f", self.name, "-O", "raw", "--target-is-zero"])
            .arg(&self.path)
            .arg(std::path::absolute(to).map_err(DiskError::io("open", to))?);
        let (good, _, complaint) = self.program.run(command, progress, cancel)?;
        let why = first_line(&complaint);
        match good {
            true => Ok(()),
            false if why.contains("No space left") => {
                Err(DiskError::io("write", to)(io::ErrorKind::StorageFull.into()))
            }
            false => Err(failed(why)),
        }
    }
}

/// The last number of `    (12.34/100%)`.
fn thousandths(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    let number = text.rsplit('(').find_map(|part| part.split_once("/100%"))?.0;
    let percent: f64 = number.trim().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some((percent * 10.0) as u64)
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").trim();
    line.strip_prefix("qemu-img: ").unwrap_or(line).chars().take(300).collect()
}

/// Why a format needs the program, where there is none.
pub(super) fn missing(path: &Path, format: Format) -> DiskError {
    let refused = refusal(path, format);
    match refused {
        Some(DiskError::Format { path, format, .. }) => DiskError::Format {
            path,
            format,
            remedy: "it is read by QEMU's qemu-img, which is not installed here: install the package qemu-utils (Debian, Ubuntu), \
                     qemu-img (Fedora) or qemu-tools (SUSE), and import it again"
                .into(),
        },
        other => other.unwrap_or_else(|| DiskError::io("read", path)(io::ErrorKind::Unsupported.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_progress_is_read() {
        assert_eq!(thousandths(b"    (0.00/100%)\r    (12.34/100%)\r"), Some(123));
        assert_eq!(thousandths(b"    (100.00/100%)\r\n"), Some(1000));
        assert_eq!(thousandths(b"(x/100%)"), None);
        assert_eq!(thousandths(&[0xff, 0xfe]), None);
    }

    #[test]
    fn its_own_words_are_given() {
        assert_eq!(first_line(b"\nqemu-img: Could not open 'x'\nmore"), "Could not open 'x'");
        assert_eq!(first_line(b""), "it gave no reason");
    }
}
