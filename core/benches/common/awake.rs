//! Keeps the processors of this computer from sleeping, as `tuned`'s profile for latency does.

use std::fs::File;
use std::io::{self, Write};

/// Where Linux takes the longest latency that is bearable, in microseconds; it holds as long as the file is open.
const LATENCY: &str = "/dev/cpu_dma_latency";

/// No processor sleeps as long as this lives.
#[derive(Debug)]
pub(crate) struct Awake(#[allow(dead_code, reason = "held open")] File);

impl Awake {
    pub(crate) fn begin() -> io::Result<Self> {
        let mut file = File::options().write(true).open(LATENCY)?;
        file.write_all(&0_i32.to_ne_bytes())?;
        Ok(Self(file))
    }
}
