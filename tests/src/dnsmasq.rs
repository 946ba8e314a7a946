//! The DHCP server that is not ours: dnsmasq on a computer of its own, which gives addresses and no boot.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::run;

/// dnsmasq at 192.168.77.2, with the addresses from .50 to .60. Dropping it ends it.
#[derive(Debug)]
pub struct Dnsmasq {
    child: Option<Child>,
    dir: PathBuf,
    leases: PathBuf,
    router: Netns,
}

impl Dnsmasq {
    /// Its address.
    pub const ADDRESS: &str = "192.168.77.2";

    /// Plugs it into the bench and waits until it listens; `options` are more of its arguments. Its log goes to `DIR/dnsmasq.log`.
    ///
    /// # Errors
    /// It is not installed, or does not listen.
    pub fn start(bench: &Netns, dir: &Path, options: &[&str]) -> Result<Self> {
        let router = bench.plug("dnsmasq", "02:00:00:00:00:02")?;
        router.ip(&["address", "add", "192.168.77.2/24", "dev", "eth0"])?;
        let mut dnsmasq = Self { child: None, dir: dir.to_owned(), leases: dir.join("dnsmasq.leases"), router };
        dnsmasq.restart(options)?;
        Ok(dnsmasq)
    }

    /// Ends it and starts it with other options.
    ///
    /// # Errors
    /// As [`Dnsmasq::start`].
    pub fn restart(&mut self, options: &[&str]) -> Result<()> {
        self.stop();
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("dnsmasq.log"))?;
        let child = self
            .router
            .command("dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--log-dhcp", "--dhcp-option=6,192.168.77.2"])
            .args(["--interface=eth0", "--user=root", "--dhcp-range=192.168.77.50,192.168.77.60,1h", "--pid-file="])
            .arg(format!("--dhcp-leasefile={}", self.leases.display()))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("dnsmasq: is dnsmasq-base installed?")?;
        self.child = Some(child);
        run::wait_until("dnsmasq to listen", Duration::from_secs(30), || {
            Ok(self.router.tool("ss", &["-Hlun", "sport = :67"])?.contains(":67").then_some(()))
        })
    }

    /// Ends it; its computer stays plugged in.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it gave this machine an address.
    ///
    /// # Errors
    /// Its list of leases cannot be read.
    pub fn leased(&self, mac: &str) -> Result<bool> {
        Ok(fs::read_to_string(&self.leases)?.contains(mac))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}
