//! Machines with firmware that we did not write, under software emulation.
//!
//! KVM is never used: on some build machines it starts and then fails in real mode and on EDK2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netns::Netns;
use crate::run;

/// What the machine starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS with the network card's iPXE ROM (Debian's `ipxe-qemu`): it is iPXE from its first packet.
    Bios,
    /// EDK2 with its own PXE client and no ROM: a firmware that knows nothing of iPXE.
    Uefi,
    /// The same with Secure Boot on, and Microsoft's keys.
    UefiSecure,
}

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// Firmware.
    pub firmware: Firmware,
    /// Its hardware address.
    pub mac: &'a str,
    /// Memory in MiB.
    pub memory: u32,
    /// A name for its files and its tap (at most 8 characters).
    pub name: &'a str,
    /// The serial number in its SMBIOS, by which a test tells the system what to do.
    pub serial: Option<&'a str>,
}

/// A running machine. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    serial: PathBuf,
    name: String,
}

impl Machine {
    /// Plugs a machine into the bench's switch and powers it on. Its serial console goes to `DIR/NAME.serial`.
    ///
    /// # Errors
    /// QEMU or the firmware is missing.
    pub fn start(bench: &Netns, dir: &Path, spec: &Spec<'_>) -> Result<Self> {
        Self::start_with(bench, dir, spec, &[])
    }

    /// The same with more of QEMU's arguments.
    ///
    /// # Errors
    /// As [`Machine::start`].
    pub fn start_with(bench: &Netns, dir: &Path, spec: &Spec<'_>, more: &[&str]) -> Result<Self> {
        let tap = format!("tap-{}", spec.name);
        if !bench.ip(&["link", "show"])?.contains(&format!(" {tap}:")) {
            bench.tap(&tap)?;
        }
        let serial = dir.join(format!("{}.serial", spec.name));
        fs::write(&serial, "")?;
        let log = fs::File::create(dir.join(format!("{}.qemu.log", spec.name)))?;
        let mut command = bench.command("qemu-system-x86_64");
        command
            .args(["-accel", "tcg", "-nographic", "-no-reboot", "-monitor", "none", "-nodefaults", "-vga", "std"])
            .args(["-m", &spec.memory.to_string(), "-boot", "n"])
            .args(["-serial", &format!("file:{}", serial.display())])
            .args(["-netdev", &format!("tap,id=n0,ifname={tap},script=no,downscript=no")]);
        if let Some(serial) = spec.serial {
            command.args(["-smbios", &format!("type=1,serial={serial}")]);
        }
        match spec.firmware {
            Firmware::Bios => {
                command.args(["-device", &format!("virtio-net-pci,netdev=n0,mac={}", spec.mac)]);
            }
            Firmware::Uefi | Firmware::UefiSecure => {
                let secure = spec.firmware == Firmware::UefiSecure;
                let kind = if secure { ".ms" } else { "" };
                let of = |what: &str| {
                    let folder = "/usr/share/OVMF";
                    first_of(&[&format!("{folder}/OVMF_{what}_4M{kind}.fd"), &format!("{folder}/OVMF_{what}{kind}.fd")])
                };
                let (code, template) = (of("CODE")?, of("VARS")?);
                if secure {
                    // Its variables can be written in system management mode only.
                    command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
                }
                let vars = dir.join(format!("{}.vars.fd", spec.name));
                fs::copy(&template, &vars)?;
                command
                    .args(["-machine", if secure { "q35,smm=on" } else { "q35" }])
                    .arg("-drive")
                    .arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={}", code.display()))
                    .arg("-drive")
                    .arg(format!("if=pflash,format=raw,unit=1,file={}", vars.display()))
                    .args(["-device", &format!("virtio-net-pci,netdev=n0,mac={},romfile=", spec.mac)]);
            }
        }
        let child = command
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("could not start QEMU: is qemu-system-x86 installed?")?;
        Ok(Self { child, serial, name: spec.name.to_owned() })
    }

    /// What it printed so far, without terminal escapes.
    #[must_use]
    pub fn serial(&self) -> String {
        plain(&String::from_utf8_lossy(&fs::read(&self.serial).unwrap_or_default()))
    }

    /// Waits until it printed `text`.
    ///
    /// # Errors
    /// It did not in time, or ended before: with the last lines that it printed.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let serial = self.serial();
            if serial.contains(text) {
                return Ok(());
            }
            let trouble = match ended {
                Some(status) => format!("ended ({status})"),
                None if start.elapsed() > timeout => format!("had {} s", timeout.as_secs()),
                None => {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
            };
            bail!("{} {trouble} and never printed {text:?}; its last lines:\n{}", self.name, tail(&serial, 25));
        }
    }

    /// The rest of the first line that begins with `label`.
    #[must_use]
    pub fn line(&self, label: &str) -> Option<String> {
        self.serial().lines().find_map(|l| l.strip_prefix(label)).map(|l| l.trim().to_owned())
    }

    /// Waits until it has powered itself off.
    ///
    /// # Errors
    /// It still runs after `timeout`: with the last lines that it printed.
    pub fn wait_off(&mut self, timeout: Duration) -> Result<()> {
        let what = format!("{} to power off", self.name);
        if let Err(e) = run::wait_exit(&mut self.child, &what, timeout) {
            bail!("{e}; its last lines:\n{}", tail(&self.serial(), 25));
        }
        Ok(())
    }

    /// Pulls the plug.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn first_of(paths: &[&str]) -> Result<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|p| p.exists());
    found.with_context(|| format!("none of {paths:?} exists; install the package `ovmf`"))
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Without ANSI escapes and carriage returns: firmware paints its text.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
            '\u{1b}' => {
                chars.next();
            }
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painted_text_reads_as_text() {
        assert_eq!(
            plain("\u{1b}[2J\u{1b}[01;01HiPXE \u{1b}[1minitialising\u{1b}[0m\r\nok\u{1b}c!"),
            "iPXE initialising\nok!"
        );
    }

    #[test]
    fn the_tail_of_little_is_all_of_it() {
        assert_eq!(tail("a\n\nb\n", 5), "a\nb");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
    }
}
