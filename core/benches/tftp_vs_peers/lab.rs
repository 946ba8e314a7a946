//! Two network namespaces and what is between them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use std::net::Ipv4Addr;

use crate::Fallible;

/// The server's address on the quiet wire.
pub(crate) const QUIET: Ipv4Addr = Ipv4Addr::new(10, 69, 1, 1);
/// The same on the lossy one.
pub(crate) const LOSSY: Ipv4Addr = Ipv4Addr::new(10, 69, 2, 1);

/// The namespaces; dropping it deletes them.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) server: String,
    pub(crate) client: String,
}

/// Runs `ip`.
pub(crate) fn ip(args: &[&str]) -> Fallible<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}, which only root can", args.join(" "), said.trim()).into())
}

impl Lab {
    pub(crate) fn new() -> Fallible<Self> {
        let id = std::process::id();
        let lab = Self { server: format!("bytftp-{id}-server"), client: format!("bytftp-{id}-client") };
        for name in [&lab.server, &lab.client] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let (server, client) = (lab.server.as_str(), lab.client.as_str());
        ip(&["-n", server, "link", "add", "quiet", "type", "veth", "peer", "name", "quiet", "netns", client])?;
        lab.up("quiet", "10.69.1")?;
        Ok(lab)
    }

    /// Gives both ends of a wire an address and brings them up.
    pub(crate) fn up(&self, wire: &str, net: &str) -> Fallible<()> {
        for (name, host) in [(&self.server, 1), (&self.client, 2)] {
            ip(&["-n", name, "address", "add", &format!("{net}.{host}/24"), "dev", wire])?;
            ip(&["-n", name, "link", "set", wire, "up"])?;
        }
        Ok(())
    }

    /// Does something in a thread inside a namespace.
    pub(crate) fn inside<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> Fallible<T> {
        let namespace = File::open(format!("/run/netns/{name}"))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            });
            thread.join().unwrap_or_else(|_| Err("a thread broke".into()))
        })
    }

    pub(crate) fn in_client<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Fallible<T> {
        Self::inside(&self.client, act)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.server, &self.client] {
            // What is left goes with the computer's next start.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}
