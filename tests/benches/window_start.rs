//! How long the window takes to show itself, and what it costs while nothing happens.
//!
//! `packaging/run --version`, which builds the program, then `cargo bench -p bootyard-tests --bench window_start`. The release binary is
//! started several times in an X server, on a lab of ten machines and a disk; the first start warms the page cache and is not counted. A
//! first frame is there when the middle of the screen, which is black without it, has another colour. Then nothing happens for a
//! while: what the process takes of the processor in that time is told, and what it holds of the memory. A graphics card's driver is in
//! software here, and its memory is the process's: what comes of mapped files (the driver's libraries among them) is told apart.
#![allow(clippy::print_stdout, reason = "prints a table")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bootyard_tests::bootyard::{Installed, LabDir, NOBODY};
use bootyard_tests::cost::Cost;
use bootyard_tests::netns::Netns;
use bootyard_tests::window::{Desktop, Window};
use bootyard_tests::x11::Screen;

const STARTS: usize = 7;
/// With the status line's clock and the looks at what is plugged in.
const STILL: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let bench = Netns::bench("winstart", Some("192.168.79.1/24"))?;
    let installed = Installed::new("window-start", true)?;
    let mut lab = LabDir::at(installed.user_dir(), "mode = \"dhcp\"\nrange = \"192.168.79.20-192.168.79.40\"")?;
    for n in 1..=10 {
        lab.add_host(&format!("52:54:00:00:06:{n:02x}"), &format!("pc-{n:02}"), "\"wait\"")?;
    }
    lab.give_to(NOBODY)?;
    let desktop = Desktop::start(&bench, lab.scratch(), "1280x800")?;
    let mut times = Vec::new();
    for n in 0..=STARTS {
        let screen = Screen::of(desktop.display())?;
        let start = Instant::now();
        let window = Window::open(&bench, &desktop, &installed, &lab)?;
        while screen.middle()? == 0 {
            if start.elapsed() > Duration::from_secs(30) {
                bail!("no window within 30 s; see {}", lab.scratch().join("window.log").display());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = start.elapsed();
        if n > 0 {
            times.push(took);
        }
        if n == STARTS {
            still(window.pid())?;
        }
        drop(window);
        while screen.middle()? != 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
    println!(
        "first frame: {} ms at least, {} ms in the middle, {} ms at most, of {STARTS} warm starts",
        ms(times.first()),
        ms(times.get(STARTS / 2)),
        ms(times.last())
    );
    Ok(())
}

/// What a process takes while nothing happens.
fn still(pid: u32) -> Result<()> {
    // What the start left behind has come to rest.
    std::thread::sleep(Duration::from_secs(5));
    let before = Cost::of(pid)?.cpu;
    std::thread::sleep(STILL);
    let took = Cost::of(pid)?.cpu - before;
    println!("still: {:.0} ms of the processor in {} s", took * 1000.0, STILL.as_secs());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |key: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    };
    println!("resident: {} MiB of its own, {} MiB of mapped files", mib("RssAnon")?, mib("RssFile")?);
    Ok(())
}
