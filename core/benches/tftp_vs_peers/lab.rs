//! Two network namespaces and what is between them.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Fallible;

/// The server's address on the quiet wire.
pub(crate) const QUIET: Ipv4Addr = Ipv4Addr::new(10, 69, 1, 1);
/// The same on the lossy one.
pub(crate) const LOSSY: Ipv4Addr = Ipv4Addr::new(10, 69, 2, 1);

/// Machines that can be clients at once.
const CLIENTS: u8 = 50;

/// The clients' addresses beside a server's.
pub(crate) fn clients(server: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [a, b, c, d] = server.octets();
    (1..=CLIENTS).map(move |nth| Ipv4Addr::new(a, b, c, d + nth))
}

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
        lab.up("quiet", QUIET)?;
        Ok(lab)
    }

    /// Gives the server's end of a wire its address, the other end the clients', and brings both up.
    pub(crate) fn up(&self, wire: &str, server: Ipv4Addr) -> Fallible<()> {
        let own = |address: Ipv4Addr, name| ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", wire]);
        own(server, &self.server)?;
        for client in clients(server) {
            own(client, &self.client)?;
        }
        for name in [&self.server, &self.client] {
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
