//! Our server, in a process of its own: this program, started with the folder of the files in its environment.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootyard_core::api::reports;
use bootyard_core::net::{AddressHold, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};
use bootyard_core::tftp::{Config, Root, start};

use crate::Fallible;

/// Names the folder to serve from; without it this is the measuring program.
pub(crate) const SERVE: &str = "BOOTYARD_BENCH_SERVE";
/// The address to listen on.
pub(crate) const ADDRESS: &str = "BOOTYARD_BENCH_ADDRESS";

/// Serves until its standard input ends.
pub(crate) fn serve(folder: &Path) -> Fallible<()> {
    let address: Ipv4Addr = std::env::var(ADDRESS)?.parse()?;
    let (reporter, mut reports) = reports();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let config = Config {
        binds: vec![(SocketAddrV4::new(address, 69), None)],
        ports: Arc::new(Plain),
        root: Arc::new(Folder(folder.to_owned())),
        reporter,
        tap: <_>::default(),
    };
    let service = runtime.block_on(start(config))?;
    // What is told is taken in, as the engine does.
    runtime.spawn(async move { while !reports.next().await.is_empty() {} });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(service.stop());
    Ok(())
}

/// Files by their names.
#[derive(Debug)]
struct Folder(PathBuf);

impl Root for Folder {
    fn find(&self, name: &str, _: IpAddr) -> Option<PathBuf> {
        Some(self.0.join(name)).filter(|path| path.is_file())
    }
}

/// Opens ordinary ports.
#[derive(Debug)]
struct Plain;

fn none<T>(what: &str) -> Result<T, NetError> {
    Err(NetError::Unsupported(what.to_owned()))
}

impl PortSet for Plain {
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
        let failed = |source| NetError::Io { what: format!("cannot listen on {}", spec.bind), source };
        let socket = UdpSocket::bind(spec.bind).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(socket)
    }

    fn tcp(&self, _: &TcpSpec) -> Result<TcpListener, NetError> {
        none("TCP")
    }

    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        none("packets")
    }

    fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        none("addresses")
    }
}
