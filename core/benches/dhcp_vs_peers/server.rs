//! A server process: how it is started, when it is ready, what CPU time it used.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::wire::Wire;
use crate::{Fallible, clients, ours, peers, perfdhcp};

/// Unit of times in `/proc/PID/stat`: `USER_HZ` is 100.
const TICK: Duration = Duration::from_millis(10);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bootyard,
    Kea,
    Dnsmasq,
    Dhcpd,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bootyard => "Bootyard",
            Self::Kea => "Kea, 2 threads",
            Self::Dnsmasq => "dnsmasq",
            Self::Dhcpd => "ISC dhcpd",
        }
    }
}

/// A server that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    kind: Kind,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it with its leases in `folder` and waits until it answers.
    pub(crate) fn start(kind: Kind, wire: &Wire, folder: &Path) -> Fallible<Self> {
        let mut command = match kind {
            Kind::Bootyard => ours::command(wire, folder)?,
            Kind::Kea => peers::kea(wire, folder)?,
            Kind::Dnsmasq => peers::dnsmasq(wire, folder)?,
            Kind::Dhcpd => peers::dhcpd(wire, folder)?,
        };
        let log = folder.join("log");
        let file = File::create(&log)?;
        // Ours serves until its input ends; the others do not read it.
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        let mut server = Self { kind, child: command.spawn()?, log };
        let until = Instant::now() + Duration::from_secs(10);
        while !server.answers(wire)? {
            if Instant::now() > until || server.child.try_wait()?.is_some() {
                return Err(format!("{} does not answer; it said: {}", kind.name(), server.said()).into());
            }
        }
        Ok(server)
    }

    /// Kea answers relays alone with the sockets that are its fastest.
    fn answers(&self, wire: &Wire) -> Fallible<bool> {
        if self.kind == Kind::Kea { perfdhcp::answers(wire) } else { clients::answers(wire) }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// User and system time of all its threads so far, those that have ended included.
    pub(crate) fn cpu(&self) -> Fallible<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path)?;
        // The program's name is in brackets and may have anything in it.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
            return Err(format!("{path} is not understood: {stat}").into());
        };
        Ok(TICK * u32::try_from(user + system)?)
    }

    /// Ends it, and says so if it had ended already.
    pub(crate) fn stop(mut self) -> Fallible<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended ({status}): {}", self.kind.name(), self.said()).into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have gone by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
