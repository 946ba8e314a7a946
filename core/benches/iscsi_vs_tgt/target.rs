//! A target process: where its disks are and what CPU time it used.

use std::net::SocketAddr;
use std::process::Child;
use std::time::Duration;

use crate::Fallible;
use crate::rows::Disk;

/// Unit of times in `/proc/PID/stat`: `USER_HZ` is 100.
const TICK: Duration = Duration::from_millis(10);

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
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have gone by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
