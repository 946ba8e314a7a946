//! Formats that are read by QEMU's `qemu-img`, where it is installed: VHD, VHDX, VDI, and VMDK in several files.
//!
//! Such an image may have been made by anybody: it is looked at first, and one that names another file outside its own folder is refused.
//! The program is given an absolute path and a format, so that no name is taken for a protocol, and ends with its output's reader.

use std::io::{self, Read};
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
    pub(super) fn open(self, path: &Path, format: Format, name: &'static str) -> Result<Foreign, DiskError> {
        let path = std::path::absolute(path).map_err(DiskError::io("open", path))?;
        let unreadable = |why: String| DiskError::Format {
            path: path.clone(),
            format: super::format::described(format),
            remedy: format!("qemu-img cannot read it: {why}"),
        };
        let output = Command::new(&self.0)
            .args(["info", "--output=json", "-f", name])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .map_err(DiskError::io("run", &self.0))?;
        if !output.status.success() {
            return Err(unreadable(first_line(&output.stderr)));
        }
        let info: Info = serde_json::from_slice(&output.stdout).map_err(|e| unreadable(e.to_string()))?;
        if let Some(other) = info.backing_filename {
            return Err(unreadable(format!("it needs {other}; merge the two first, or import that one")));
        }
        let extents = info.format_specific.as_ref().and_then(|s| s.data.get("extents")).and_then(|e| e.as_array());
        for extent in extents.into_iter().flatten() {
            let file = extent.get("filename").and_then(|f| f.as_str()).unwrap_or_default();
            if Path::new(file).parent() != path.parent() {
                return Err(unreadable(format!("it names {file}, which is not in its own folder")));
            }
        }
        let needs = if info.actual_size > 0 { info.actual_size.min(info.virtual_size) } else { info.virtual_size };
        Ok(Foreign { program: self, path: path.clone(), format, name, size: info.virtual_size, needs })
    }
}

impl Foreign {
    /// Writes it as raw into the file at `to`, which is there, empty and as long as the disk. `progress` is given thousandths.
    pub(super) fn convert(&self, to: &Path, progress: &dyn Fn(u64), cancel: &AtomicBool) -> Result<(), DiskError> {
        let failed = |why: String| DiskError::Format {
            path: self.path.clone(),
            format: super::format::described(self.format),
            remedy: format!("qemu-img could not convert it: {why}"),
        };
        let mut child = Command::new(&self.program.0)
            .args(["convert", "-p", "-n", "-S", "4k", "-f", self.name, "-O", "raw", "--target-is-zero"])
            .arg(&self.path)
            .arg(std::path::absolute(to).map_err(DiskError::io("open", to))?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(DiskError::io("run", &self.program.0))?;
        let (out, mut err) = (child.stdout.take(), child.stderr.take());
        let (told, hears) = std::sync::mpsc::sync_channel(16);
        // Its reader: the pipe is closed when this process ends, however that is, and it ends at its next word.
        let reader = std::thread::spawn(move || {
            let Some(mut out) = out else { return };
            let mut text = [0; 256];
            while let Ok(n) = out.read(&mut text) {
                if n == 0 {
                    return;
                }
                if let Some(thousandths) = text.get(..n).and_then(thousandths) {
                    let _nobody_needs_every_one = told.try_send(thousandths);
                }
            }
        });
        let ended = loop {
            match hears.recv_timeout(Duration::from_millis(50)) {
                Ok(thousandths) => progress(thousandths),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break child.wait(),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
            if cancel.load(Ordering::Relaxed) {
                let _it_may_have_ended = child.kill();
                let _ = child.wait();
                let _ = reader.join();
                return Err(DiskError::Cancelled);
            }
        };
        let _ = reader.join();
        if ended.map_err(DiskError::io("run", &self.program.0))?.success() {
            return Ok(());
        }
        let mut why = Vec::new();
        if let Some(err) = &mut err {
            let _what_it_said = err.take(4096).read_to_end(&mut why);
        }
        Err(failed(first_line(&why)))
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
