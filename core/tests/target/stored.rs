//! The same target on real files: a host's overlay of a golden image, and the file of its unit's memory.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootyard_core::api::{HostId, Reports};
use bootyard_core::disks::{BlockDevice, OpenRequest, OverlayKey, Store};
use bootyard_core::iscsi::{Gate, Grant, LoginRequest, Refusal, Service};
use bootyard_core::lab::Disk;

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
