//! The initiators: `qemu-img bench` and `iscsi-perf`, both of Debian.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Fallible;
use crate::common::Run;
use crate::rows::PATTERN;

/// That the programs are installed.
pub(crate) fn present() -> Fallible<()> {
    for (program, package) in [("qemu-img", "qemu-utils qemu-block-extra"), ("iscsi-perf", "libiscsi-bin")] {
        if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err(format!("`{program}` is missing: apt-get install {package}").into());
        }
    }
    Ok(())
}

fn output(command: &mut Command) -> Fallible<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {text}{error}").into());
    }
    Ok(text)
}

/// `qemu-img bench`.
pub(crate) fn qemu(url: &str, count: u64, size: u32, step: u32, depth: u32, write: bool) -> Fallible<Run> {
    let mut command = Command::new("qemu-img");
    command.args(["bench", "-f", "raw", "-t", "none"]);
    for (option, value) in [("-c", count), ("-d", depth.into()), ("-s", size.into()), ("-S", step.into())] {
        command.args([option, &value.to_string()]);
    }
    if write {
        command.args(["-w", &format!("--pattern={PATTERN}")]);
    }
    let text = output(command.arg(url))?;
    let seconds = text
        .split("completed in ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .ok_or_else(|| format!("qemu-img said no time: {text}"))?;
    let requests = count as f64;
    Ok(Run { requests, bytes: requests * f64::from(size), seconds, cpu: 0.0 })
}

/// `iscsi-perf` with random reads, so many processes at once, each with an initiator name of its own.
pub(crate) fn perf(url: &str, blocks: u32, depth: u32, sessions: u32, seconds: u32) -> Fallible<Run> {
    let start = |n: u32| -> std::io::Result<Child> {
        Command::new("iscsi-perf")
            .args(["-i", &format!("iqn.2026-11.org.example:bench-{n}"), "-r"])
            .args(["-m", &depth.to_string(), "-b", &blocks.to_string(), "-t", &seconds.to_string(), url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    let started: Vec<Child> = (0..sessions).map(start).collect::<Result<_, _>>()?;
    let mut rate = 0.0;
    for child in started {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // The line is overwritten as the seconds pass; the last one counts.
        let average =
            text.rsplit("iops average ").next().and_then(|t| t.split_whitespace().next()?.parse::<f64>().ok());
        rate += average
            .ok_or_else(|| format!("iscsi-perf said no rate: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    }
    let requests = rate * f64::from(seconds);
    Ok(Run { requests, bytes: requests * f64::from(blocks) * 512.0, seconds: seconds.into(), cpu: 0.0 })
}

/// So many MiB from a place of a LUN, in MiB.
pub(crate) fn read_back(url: &str, at: usize, mib: usize, into: &Path) -> Fallible<Vec<u8>> {
    let mut command = Command::new("qemu-img");
    command.args(["dd", "-f", "raw", "-O", "raw", "bs=1M", &format!("skip={at}"), &format!("count={}", at + mib)]);
    command.args([format!("if={url}"), format!("of={}", into.display())]);
    output(&mut command)?;
    let bytes = std::fs::read(into)?;
    std::fs::remove_file(into)?;
    Ok(bytes)
}
