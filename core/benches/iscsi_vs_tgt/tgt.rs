//! Debian's tgt, with a control socket and a port of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::target::Target;

const IQN: &str = "iqn.2026-11.org.example:tgt";

/// Starts it.
pub(crate) fn start(folder: &Path) -> Fallible<Target> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let control = (1024 + std::process::id() % 30_000).to_string();
    let log = folder.join("tgtd.log");
    let file = std::fs::File::create(&log)?;
    let child = Command::new("tgtd")
        .args(["-f", "-C", &control, "--iscsi", &format!("portal=127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .map_err(|_| "`tgtd` is missing: apt-get install tgt")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let disks = [(IQN.to_owned(), 1), (IQN.to_owned(), 2)];
    let target = Target { name: "tgt", child, address, disks };
    let until = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("tgtd did not start, which only root can: {said}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let admin = |args: &[&str]| -> Fallible<()> {
        let output =
            Command::new("tgtadm").args(["-C", &control, "--lld", "iscsi", "--tid", "1"]).args(args).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("tgtadm {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    };
    admin(&["--op", "new", "--mode", "target", "-T", IQN])?;
    for (lun, file) in [("1", "tgt.raw"), ("2", "golden.raw")] {
        let path = folder.join(file).display().to_string();
        admin(&["--op", "new", "--mode", "logicalunit", "--lun", lun, "-b", &path])?;
    }
    admin(&["--op", "bind", "--mode", "target", "-I", "ALL"])?;
    Ok(target)
}
