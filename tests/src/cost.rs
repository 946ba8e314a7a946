//! What a process costs: memory and processor time, as the kernel counts them.

use std::fs;

use anyhow::{Context, Result};

use crate::run;

/// A process's cost at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Memory now, KiB (VmRSS).
    pub kib: u64,
    /// The most so far, or since [`forget_peak`], KiB (VmHWM).
    pub peak_kib: u64,
    /// Processor time so far, user's and kernel's, in seconds.
    pub cpu: f64,
}

impl Cost {
    /// Of a process that runs.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |label: &str| -> Result<u64> {
            let value = status.lines().find_map(|l| l.strip_prefix(label)?.trim().strip_suffix(" kB"));
            Ok(value.with_context(|| format!("no {label}"))?.parse()?)
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program is in parentheses and may hold anything; utime and stime are fields 14 and 15.
        let (_, rest) = stat.rsplit_once(") ").context("stat")?;
        let ticks: Vec<f64> = rest.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        let hertz: f64 = run::tool("getconf", &["CLK_TCK"])?.trim().parse()?;
        Ok(Self { kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")?, cpu: ticks.iter().sum::<f64>() / hertz })
    }
}

/// From now on the peak is that of what follows.
///
/// # Errors
/// The process is somebody else's.
pub fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}
