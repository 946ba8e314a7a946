//! Two network namespaces with a wire between them: a server's side and its clients' side.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use bootyard_core::net::{Direct, PacketSocket, PacketUse, PortSet};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Fallible;

/// The server's interface.
pub(crate) const LEFT: &str = "left";
/// The clients' interface.
pub(crate) const RIGHT: &str = "right";
/// The server's address; the wire is 10.50.0.0/16.
pub(crate) const SERVER: &str = "10.50.0.1";
/// The relay's address.
pub(crate) const RELAY: &str = "10.50.0.2";
/// First and last address that is given.
pub(crate) const RANGE: (&str, &str) = ("10.50.16.0", "10.50.47.255");

/// The namespaces; dropping them takes them away.
#[derive(Debug)]
pub(crate) struct Wire {
    servers: String,
    clients: String,
}

impl Wire {
    pub(crate) fn make() -> Fallible<Self> {
        let pid = std::process::id();
        let wire = Self { servers: format!("bydhcp-{pid}-s"), clients: format!("bydhcp-{pid}-c") };
        for name in [&wire.servers, &wire.clients] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let (s, c) = (&wire.servers, &wire.clients);
        ip(&["-n", s, "link", "add", LEFT, "type", "veth", "peer", "name", RIGHT, "netns", c])?;
        for (name, end, address) in [(s, LEFT, SERVER), (c, RIGHT, RELAY)] {
            ip(&["-n", name, "addr", "add", &format!("{address}/16"), "dev", end])?;
            ip(&["-n", name, "link", "set", end, "up"])?;
        }
        Ok(wire)
    }

    /// A program on the server's side; the process is the program itself.
    pub(crate) fn server_side(&self, program: impl AsRef<Path>) -> Command {
        Self::inside(&self.servers, program.as_ref())
    }

    /// A program on the clients' side.
    pub(crate) fn client_side(&self, program: impl AsRef<Path>) -> Command {
        Self::inside(&self.clients, program.as_ref())
    }

    fn inside(name: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program);
        command
    }

    /// A socket for the frames of DHCP clients.
    pub(crate) fn client_socket(&self) -> Fallible<Box<dyn PacketSocket>> {
        let namespace = File::open(format!("/run/netns/{}", self.clients))?;
        let open = move || -> Result<Box<dyn PacketSocket>, String> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| e.to_string())?;
            Direct.packet(RIGHT, PacketUse::DhcpListen).map_err(|e| e.to_string())
        };
        // A thread of its own, for it stays in the namespace.
        let socket =
            std::thread::spawn(open).join().map_err(|_| "the thread that opens the clients' socket panicked")?;
        Ok(socket?)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.servers, &self.clients] {
            // Best effort at the end.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(args: &[&str]) -> Fallible<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("ip {}: {why}(this benchmark needs root)", args.join(" ")).into())
}
