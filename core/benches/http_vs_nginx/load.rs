//! What is measured, what is asked for, and Debian's `wrk`, which makes the load.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::common::Run;
use crate::{Fallible, SIZE};

/// The large file.
pub(crate) const LARGE: &str = "large.img";
/// The one of 1 KiB.
pub(crate) const SMALL: &str = "small.bin";

/// What each request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The large file.
    Full,
    /// 1 MiB of it, anywhere.
    Ranges,
    /// The small file.
    Small,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// For `--rows`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    connections: u32,
    /// Without the kernel's `sendfile`.
    pub(crate) portable: bool,
    /// At least so many times as fast as nginx.
    pub(crate) faster: Option<f64>,
    /// At most so many times nginx's CPU time for the same work.
    pub(crate) cpu: Option<f64>,
}

/// The acceptance table.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "full",
        title: "1 GiB files, 30 clients",
        work: Work::Full,
        connections: 30,
        portable: false,
        faster: Some(1.0),
        cpu: Some(1.2),
    },
    Row {
        name: "full-1",
        title: "1 GiB files, one client",
        work: Work::Full,
        connections: 1,
        portable: false,
        faster: Some(1.0),
        cpu: Some(1.2),
    },
    Row {
        name: "ranges",
        title: "ranges of 1 MiB, 30 clients",
        work: Work::Ranges,
        connections: 30,
        portable: false,
        faster: Some(0.92),
        cpu: Some(1.2),
    },
    Row {
        name: "small",
        title: "1 KiB files, keep-alive, 30 clients",
        work: Work::Small,
        connections: 30,
        portable: false,
        faster: Some(1.4),
        cpu: None,
    },
    Row {
        name: "portable-full",
        title: "1 GiB files, no sendfile",
        work: Work::Full,
        connections: 30,
        portable: true,
        faster: None,
        cpu: Some(5.0),
    },
    Row {
        name: "portable-ranges",
        title: "ranges of 1 MiB, no sendfile",
        work: Work::Ranges,
        connections: 30,
        portable: true,
        faster: None,
        cpu: Some(5.0),
    },
];

/// Told at the end, as `wrk`'s own summary is for people.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RUN %d %d %d %d\n", summary.requests, summary.bytes, summary.duration,
    e.connect + e.read + e.write + e.status))
end
"#;

/// Loads a server for so many seconds.
pub(crate) fn run(row: &Row, address: SocketAddr, seconds: u32, folder: &Path) -> Fallible<Run> {
    let (file, request) = match row.work {
        Work::Full => (LARGE, String::new()),
        Work::Small => (SMALL, String::new()),
        Work::Ranges => {
            let pieces = SIZE >> 20;
            let text = format!(
                "request = function()\n  local at = math.random(0, {pieces} - 1) * 1048576\n  \
                 return wrk.format(nil, nil, {{[\"Range\"] = string.format(\"bytes=%d-%d\", at, at + 1048575)}})\nend\n"
            );
            (LARGE, text)
        }
    };
    let script = folder.join("load.lua");
    std::fs::write(&script, request + DONE)?;
    let output = Command::new("wrk")
        .args(["-t1", "--timeout", "60s", "-c", &row.connections.to_string(), "-d", &seconds.to_string(), "-s"])
        .arg(&script)
        .arg(format!("http://{address}/{file}"))
        .output()
        .map_err(|_| "`wrk` is missing: apt-get install wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text
        .lines()
        .find_map(|line| line.strip_prefix("RUN "))
        .map(|line| line.split_whitespace().filter_map(|n| n.parse().ok()).collect())
        .unwrap_or_default();
    match numbers[..] {
        [requests, bytes, micros, 0.0] if bytes > 0.0 => {
            Ok(Run { requests: requests.max(1.0), bytes, seconds: micros / 1e6, cpu: 0.0 })
        }
        _ => Err(format!("wrk on http://{address}/{file}: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
