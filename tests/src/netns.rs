//! Network namespaces: a bench with its own switch, and computers plugged into it.
//!
//! Names are `by-PID-TAG`, so that runs side by side do not meet and whatever a killed run left is known by its dead process and
//! cleared away by the next one.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run;

const PREFIX: &str = "by";

/// A namespace. Dropping it ends every process in it and deletes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// An empty namespace with its loopback up.
    ///
    /// # Errors
    /// No permission, or `ip` is missing.
    pub fn new(tag: &str) -> Result<Self> {
        static LEFTOVERS: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        LEFTOVERS.call_once(clear_leftovers);
        if run::tool("id", &["-u"])?.trim() != "0" {
            bail!("the lab needs root for network namespaces; run `sudo tests/run`, or as root");
        }
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{n}-{tag}", std::process::id());
        run::tool("ip", &["netns", "add", &name]).context("no network namespace can be made here")?;
        let ns = Self { name };
        ns.ip(&["link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// A namespace with a switch `br0`, which has `address` (in CIDR form) if one is given.
    ///
    /// # Errors
    /// As [`Netns::new`], or the kernel has no bridge.
    pub fn bench(tag: &str, address: Option<&str>) -> Result<Self> {
        let ns = Self::new(tag)?;
        ns.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0"])
            .context("the kernel has no bridge")?;
        // A bridge takes the lowest of its ports' addresses unless it was given its own.
        ns.ip(&["link", "set", "br0", "address", "02:00:00:00:00:01"])?;
        if let Some(address) = address {
            ns.ip(&["address", "add", address, "dev", "br0"])?;
        }
        ns.ip(&["link", "set", "br0", "up"])?;
        Ok(ns)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A tap on the switch, for a virtual machine.
    ///
    /// # Errors
    /// The kernel has no tun.
    pub fn tap(&self, name: &str) -> Result<()> {
        self.ip(&["tuntap", "add", name, "mode", "tap"]).context("the kernel has no tun/tap")?;
        self.ip(&["link", "set", name, "master", "br0", "up"])?;
        Ok(())
    }

    /// A computer of its own on the switch: a namespace whose `eth0` is plugged in, without an address.
    ///
    /// # Errors
    /// The kernel has no veth.
    pub fn plug(&self, tag: &str, mac: &str) -> Result<Self> {
        let peer = Self::new(tag)?;
        let port: String = format!("p-{tag}").chars().take(15).collect();
        self.ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &peer.name])?;
        self.ip(&["link", "set", &port, "master", "br0", "up"])?;
        peer.ip(&["link", "set", "eth0", "address", mac, "up"])?;
        Ok(peer)
    }

    /// `ip` inside.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        run::stdout(Command::new("ip").args(["-n", &self.name]).args(args))
    }

    /// A command inside; the process that starts is the program itself, so its number is the child's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Does something inside, on a thread of its own. A socket that is made there stays inside, whoever uses it.
    ///
    /// # Errors
    /// The work's, or the namespace is gone.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let link = File::open(format!("/run/netns/{}", self.name)).with_context(|| self.name.clone())?;
        let inside = || {
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).map_err(|_| anyhow!("a thread inside panicked"))?
    }

    /// A tool inside that must succeed; its standard output.
    ///
    /// # Errors
    /// As [`run::stdout`].
    pub fn tool(&self, program: &str, args: &[&str]) -> Result<String> {
        run::stdout(self.command(program).args(args))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends what runs in a namespace, then deletes it. Best effort: the next run tries again.
fn remove(name: &str) {
    for signal in ["-TERM", "-KILL"] {
        let pids = run::tool("ip", &["netns", "pids", name]).unwrap_or_default();
        let pids: Vec<&str> = pids.split_whitespace().collect();
        if pids.is_empty() {
            break;
        }
        let _ = run::output(Command::new("kill").arg(signal).args(pids));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let _ = run::tool("ip", &["netns", "delete", name]);
}

fn clear_leftovers() {
    for line in run::tool("ip", &["netns", "list"]).unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let mut parts = name.split('-');
        let ours = parts.next() == Some(PREFIX);
        if let Some(pid) = parts.next().and_then(|p| p.parse::<u32>().ok())
            && ours
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            remove(name);
        }
    }
}
