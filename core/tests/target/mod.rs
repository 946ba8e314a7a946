//! A target on loopback with disks in memory, for tests with other people's initiators.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "code of tests")]

pub mod initiator;
pub mod stored;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

use bootyard_core::api::{Reports, Who, reports};
use bootyard_core::disks::{Allocation, BlockDevice, Medium};
use bootyard_core::iscsi::{Config, Gate, Grant, LoginRequest, Refusal, Service, start};
use bootyard_core::lab::{Chap, Secret};
use bootyard_core::net::{AddressHold, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};

const CLUSTER: u64 = 4096;
/// Bytes of each disk.
pub const SIZE: u64 = 64 << 20;

/// A disk in memory that knows what was written.
#[derive(Debug, Default)]
pub struct Memory {
    size: AtomicU64,
    readonly: bool,
    clusters: RwLock<BTreeMap<u64, Vec<u8>>>,
    /// How long a write takes.
    pub lag: Mutex<Duration>,
    /// How many writes of a MiB or more may still be done, the others wait; `None`: all.
    pub permits: Mutex<Option<u32>>,
    permitted: Condvar,
    /// Writes fail.
    pub broken: AtomicBool,
    pub medium: Mutex<String>,
}

impl Memory {
    pub fn new(size: u64, readonly: bool) -> Arc<Self> {
        Arc::new(Self { size: AtomicU64::new(size), readonly, ..Self::default() })
    }

    /// Lets so many more large writes through, or all.
    pub fn permit(&self, more: Option<u32>) {
        let mut permits = self.permits.lock().unwrap();
        *permits = more.map(|more| permits.unwrap_or(0) + more);
        self.permitted.notify_all();
    }

    fn wait_for_permit(&self) {
        let mut permits = self.permits.lock().unwrap();
        while *permits == Some(0) {
            permits = self.permitted.wait(permits).unwrap();
        }
        *permits = permits.map(|left| left - 1);
    }

    pub fn grow(&self, size: u64) {
        self.size.store(size, Ordering::SeqCst);
    }

    fn check(&self, offset: u64, len: u64) -> io::Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size() && offset.is_multiple_of(512) && len.is_multiple_of(512) => Ok(()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
        let mut at = offset;
        std::iter::from_fn(move || {
            if at >= offset + len {
                return None;
            }
            let n = (CLUSTER - at % CLUSTER).min(offset + len - at);
            let piece = (at / CLUSTER, (at - offset) as usize, (at % CLUSTER) as usize..(at % CLUSTER + n) as usize);
            at += n;
            Some(piece)
        })
    }
}

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        self.size.load(Ordering::SeqCst)
    }

    fn readonly(&self) -> bool {
        self.readonly
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(offset, buf.len() as u64)?;
        let clusters = self.clusters.read().unwrap();
        for (cluster, at, range) in Self::pieces(offset, buf.len() as u64) {
            let into = &mut buf[at..at + range.len()];
            match clusters.get(&cluster) {
                Some(data) => into.copy_from_slice(&data[range]),
                None => into.fill(0),
            }
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.check(offset, buf.len() as u64)?;
        let lag = *self.lag.lock().unwrap();
        std::thread::sleep(lag);
        if buf.len() >= 1 << 20 {
            self.wait_for_permit();
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("a bad sector"));
        }
        let mut clusters = self.clusters.write().unwrap();
        for (cluster, at, range) in Self::pieces(offset, buf.len() as u64) {
            let data = clusters.entry(cluster).or_insert_with(|| vec![0; CLUSTER as usize]);
            let len = range.len();
            data[range].copy_from_slice(&buf[at..at + len]);
        }
        Ok(())
    }

    fn medium(&self) -> Option<Medium> {
        Some(Medium { name: self.medium.lock().unwrap().clone(), lasts: true })
    }

    fn atomic(&self) -> u32 {
        256 << 10
    }

    /// In two halves, between which time passes: who reads must not see that.
    fn write_atomic(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let half = buf.len() / 1024 * 512;
        self.write_at(&buf[..half], offset)?;
        std::thread::yield_now();
        self.write_at(&buf[half..], offset + half as u64)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.check(offset, len)?;
        let mut clusters = self.clusters.write().unwrap();
        for (cluster, _, range) in Self::pieces(offset, len) {
            if unmap && range.len() == CLUSTER as usize {
                clusters.remove(&cluster);
            } else if let Some(data) = clusters.get_mut(&cluster) {
                data[range].fill(0);
            }
        }
        Ok(())
    }

    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        let clusters = self.clusters.read().unwrap();
        let mapped = |at: u64| clusters.contains_key(&(at / CLUSTER));
        let kind = mapped(offset);
        let mut end = (offset / CLUSTER + 1) * CLUSTER;
        while end < self.size() && mapped(end) == kind {
            end += CLUSTER;
        }
        Ok((if kind { Allocation::Mapped } else { Allocation::Deallocated }, end.min(self.size()) - offset))
    }
}

/// Lets everybody in to a few disks.
#[derive(Debug, Default)]
pub struct Open {
    pub disks: Mutex<BTreeMap<String, Arc<Memory>>>,
    /// Where the units' memories are.
    pub folder: Option<PathBuf>,
}

pub const PREFIX: &str = "iqn.2026-11.org.example:";

impl Gate for Open {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        let disk = login.target.strip_prefix(PREFIX).unwrap_or_default();
        if !self.disks.lock().unwrap().contains_key(disk) {
            return Err(Refusal::new(0x0203, format!("there is no target {}", login.target)));
        }
        let chap = Chap {
            user: disk.strip_prefix("chap-").unwrap_or("user").into(),
            secret: Secret::new("topsecret123".into()),
            mutual: Some(("target".into(), Secret::new("othersecret1".into()))),
        };
        Ok(Grant {
            who: Who::ip(login.peer),
            disk: disk.into(),
            scope: "everybody".into(),
            chap: disk.starts_with("chap").then_some(chap),
            serial: format!("serial-{disk}"),
            removable: disk.starts_with("removable"),
            boot: None,
            memory: self.folder.as_ref().map(|folder| folder.join(disk)),
        })
    }

    fn open(&self, _: &LoginRequest, grant: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        let disks = self.disks.lock().unwrap();
        disks.get(&grant.disk).map(|disk| disk.clone() as Arc<dyn BlockDevice>).ok_or(Refusal::new(0x0301, "gone"))
    }

    fn targets(&self, _: &str, _: IpAddr) -> Vec<String> {
        self.disks.lock().unwrap().keys().map(|disk| format!("{PREFIX}{disk}")).collect()
    }
}

/// Opens ordinary ports on loopback.
#[derive(Debug)]
pub struct Loopback;

impl PortSet for Loopback {
    fn udp(&self, _: &UdpSpec) -> Result<UdpSocket, NetError> {
        Err(NetError::Unsupported("UDP".into()))
    }

    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        let io = |source| NetError::Io { what: "listen".into(), source };
        let listener = TcpListener::bind(spec.bind).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        Ok(listener)
    }

    fn packet(&self, _: &str, _: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        Err(NetError::Unsupported("packets".into()))
    }

    fn hold_address(&self, _: &str, _: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        Err(NetError::Unsupported("addresses".into()))
    }
}

/// A target with the disks `thin`, `removable`, `readonly`, `slow` and `chap`, on `port` of loopback (0: any free one).
pub fn target(port: u16) -> (Service, SocketAddr, Reports) {
    serve(Arc::new(Open::default().with_disks()), port)
}

/// The same with units that remember what they must, in files of this folder.
pub fn remembering(folder: &Path) -> (Service, SocketAddr, Reports) {
    serve(Arc::new(Open { folder: Some(folder.to_owned()), ..Open::default() }.with_disks()), 0)
}

impl Open {
    fn with_disks(self) -> Self {
        for disk in ["thin", "removable", "readonly", "slow", "chap", "chap-u", "chap-0xu", "chap-0bu"] {
            let memory = Memory::new(SIZE, disk == "readonly");
            if disk == "slow" {
                *memory.lag.lock().unwrap() = Duration::from_millis(150);
            }
            self.disks.lock().unwrap().insert(disk.into(), memory);
        }
        self
    }
}

/// A target that lets in whom this gate does.
pub fn serve<G: Gate>(gate: Arc<G>, port: u16) -> (Service, SocketAddr, Reports) {
    let (reporter, reports) = reports();
    let config = Config {
        binds: vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), None)],
        ports: Arc::new(Loopback),
        gate,
        reporter,
        tap: <_>::default(),
    };
    let service = start(config).expect("the target starts");
    let address = service.addresses()[0];
    (service, address, reports)
}
