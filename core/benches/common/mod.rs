//! What all benchmarks share: how they begin, which rows they run, and a server process's CPU time.
#![allow(dead_code, reason = "each benchmark uses a part")]

pub(crate) mod awake;

use std::fmt::Display;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bootyard_core::net::{AddressHold, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};

/// Unit of times in `/proc/PID/stat`: `USER_HZ` is 100.
const TICK: Duration = Duration::from_millis(10);

/// Measures, or is the server that is measured where the environment variable `role` names its folder.
pub(crate) fn main<E: Display>(
    name: &str,
    role: &str,
    serve: impl FnOnce(&Path) -> Result<(), E>,
    measure: impl FnOnce() -> Result<bool, E>,
) -> ExitCode {
    let done = match std::env::var_os(role) {
        Some(folder) => serve(Path::new(&folder)).map(|()| true),
        None => measure(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rows that a list names, with commas between.
pub(crate) fn pick<T: Copy>(names: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let find = |wanted: &str| {
        all.iter().copied().find(|row| name(*row) == wanted).ok_or_else(|| {
            let all: Vec<&str> = all.iter().map(|row| name(*row)).collect();
            format!("there is no row {wanted}; the rows are {}", all.join(", "))
        })
    };
    names.split(',').map(find).collect()
}

/// User and system time of all threads of a process so far, those that have ended included.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Box<dyn std::error::Error>> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path)?;
    // The program's name is in brackets and may have anything in it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
        return Err(format!("{path} is not understood: {stat}").into());
    };
    Ok(TICK * u32::try_from(user + system)?)
}

/// One run of the same work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) requests: f64,
    pub(crate) bytes: f64,
    /// Wall time.
    pub(crate) seconds: f64,
    /// The server's CPU seconds.
    pub(crate) cpu: f64,
}

/// The best of several runs, each figure for itself: what disturbs a run only makes it worse.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Best {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Bytes a second.
    pub(crate) bytes: f64,
    /// CPU seconds a request.
    pub(crate) cpu: f64,
    /// CPU seconds a byte.
    pub(crate) cpu_byte: f64,
}

impl Best {
    pub(crate) fn take(&mut self, run: &Run) {
        let first = self.rate == 0.0;
        self.rate = self.rate.max(run.requests / run.seconds);
        self.bytes = self.bytes.max(run.bytes / run.seconds);
        let less = |old: f64, new: f64| if first { new } else { old.min(new) };
        self.cpu = less(self.cpu, run.cpu / run.requests);
        self.cpu_byte = less(self.cpu_byte, run.cpu / run.bytes);
    }
}

/// Opens ordinary TCP ports, and nothing else.
#[derive(Debug)]
pub(crate) struct Loopback;

fn none<T>(what: &str) -> Result<T, NetError> {
    Err(NetError::Unsupported(what.to_owned()))
}

impl PortSet for Loopback {
    fn udp(&self, _: &UdpSpec) -> Result<UdpSocket, NetError> {
        none("UDP")
    }

    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        let failed = |source| NetError::Io { what: format!("cannot listen on {}", spec.bind), source };
        let listener = TcpListener::bind(spec.bind).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(listener)
    }

    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        none("packets")
    }

    fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        none("addresses")
    }
}
