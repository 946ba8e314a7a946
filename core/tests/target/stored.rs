//! The same target on real files: a host's overlay of a golden image, and the file of its unit's memory.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bootyard_core::api::{HostId, Reports};
use bootyard_core::disks::{BlockDevice, OpenRequest, OverlayKey, Store};
use bootyard_core::iscsi::{Gate, Grant, LoginRequest, Refusal, Service};
use bootyard_core::lab::{Disk, Writes};

use super::{Memory, Open, PREFIX, serve};

pub const SIZE: u64 = 8 << 20;

/// Gives everybody the one overlay of the disk `kept`.
#[derive(Debug)]
pub struct Stored {
    open: Open,
    store: Store,
    disk: Disk,
}

impl Stored {
    /// In `folder`, which keeps what is in it.
    pub fn new(folder: &Path) -> Self {
        let image = folder.join("kept.raw");
        if !image.exists() {
            std::fs::write(&image, vec![0xaa; SIZE as usize]).unwrap();
        }
        let text = format!("version = 1\n[[disk]]\nname = \"kept\"\nimage = \"kept.raw\"\niqn = \"{PREFIX}kept\"\n");
        let disk = bootyard_core::lab::parse(&text).unwrap().disks.remove(0);
        let open = Open::default();
        open.disks.lock().unwrap().insert("kept".into(), Memory::new(0, false));
        Self { open, store: Store::new(folder.to_owned()), disk }
    }

    pub fn reset(&self) {
        self.store.reset(&self.disk, &OverlayKey::Host(HostId(1)).into()).unwrap();
    }

    pub fn memory(&self) -> PathBuf {
        self.store.unit_memory(&self.disk, &OverlayKey::Host(HostId(1)))
    }
}

impl Gate for Stored {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        Ok(Grant { memory: Some(self.memory()), ..self.open.authorize(login)? })
    }

    fn open(&self, _: &LoginRequest, _: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        let key = OverlayKey::Host(HostId(1));
        let request = OpenRequest { disk: &self.disk, key, label: "pc".into(), fresh_epoch: None };
        Ok(self.store.open(&request).unwrap())
    }

    fn targets(&self, initiator: &str, peer: IpAddr) -> Vec<String> {
        self.open.targets(initiator, peer)
    }
}

/// A target with the disk `kept` of this folder.
pub fn stored(folder: &Path) -> (Service, SocketAddr, Reports) {
    serve(Arc::new(Stored::new(folder)), 0)
}

/// Has the disks of [`super::target`] as overlays of one golden image; but for the slow one and those with CHAP, which are in memory.
#[derive(Debug)]
pub struct Overlays {
    open: Open,
    store: Store,
}

impl Overlays {
    /// In `folder`.
    pub fn new(folder: &Path) -> Self {
        // Neither zeroes nor holes: what a test finds deallocated it has deallocated itself.
        std::fs::write(folder.join("golden.raw"), vec![0xaa; super::SIZE as usize]).unwrap();
        let this = Self {
            open: Open { folder: Some(folder.to_owned()), ..Open::default() }.with_disks(),
            store: Store::new(folder.to_owned()),
        };
        let thin = this.disk(&format!("{PREFIX}thin")).unwrap();
        this.store.identify(&thin, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        this
    }

    fn disk(&self, target: &str) -> Option<Disk> {
        let name = target.strip_prefix(PREFIX).filter(|name| ["thin", "removable", "readonly"].contains(name))?;
        let mut disk = Disk::new(name.parse().unwrap(), "golden.raw".into(), Writes::Keep);
        disk.readonly = name == "readonly";
        Some(disk)
    }
}

impl Gate for Overlays {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        let grant = self.open.authorize(login)?;
        let Some(disk) = self.disk(&login.target) else { return Ok(grant) };
        Ok(Grant { memory: Some(self.store.unit_memory(&disk, &OverlayKey::Host(HostId(1)))), ..grant })
    }

    fn open(&self, login: &LoginRequest, grant: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        let Some(disk) = self.disk(&login.target) else { return self.open.open(login, grant) };
        let key = OverlayKey::Host(HostId(1));
        let request = OpenRequest { disk: &disk, key, label: "pc".into(), fresh_epoch: None };
        self.store.open(&request).map_err(|error| Refusal::new(error.refusal_status(), error.to_string()))
    }

    fn targets(&self, initiator: &str, peer: IpAddr) -> Vec<String> {
        self.open.targets(initiator, peer)
    }
}
