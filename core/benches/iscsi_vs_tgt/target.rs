//! A target process: where its disks are and what CPU time it used.

use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use crate::Fallible;
use crate::rows::Disk;

/// A target that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// Target name and LUN of [`Disk::Plain`] and [`Disk::Golden`].
    pub(crate) disks: [(String, u64); 2],
}

impl Target {
    pub(crate) fn url(&self, disk: Disk) -> String {
        let [plain, golden] = &self.disks;
        let (iqn, lun) = match disk {
            Disk::Plain => plain,
            Disk::Golden => golden,
        };
        format!("iscsi://{}/{iqn}/{lun}", self.address)
    }

    /// User and system time of all its threads so far, those that have ended included.
    pub(crate) fn cpu(&self) -> Fallible<Duration> {
        crate::common::cpu(self.child.id())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have gone by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
