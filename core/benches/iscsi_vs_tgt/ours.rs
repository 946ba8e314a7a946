//! Our target, in a process of its own: this program, started with the folder of the images in its environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bootyard_core::api::{Who, reports};
use bootyard_core::disks::{BlockDevice, OpenRequest, OverlayKey, Store};
use bootyard_core::iscsi::{Config, Gate, Grant, LoginRequest, Refusal, start as start_service};
use bootyard_core::lab::{Disk, Lab, Writes};

use crate::Fallible;
use crate::target::Target;

/// Names the folder to serve from; without it this is the measuring program.
pub(crate) const SERVE: &str = "BOOTYARD_BENCH_SERVE";

/// Starts it.
pub(crate) fn start(folder: &Path) -> Fallible<Target> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(SERVE, folder)
        // Open as long as this process lives: its end is the child's.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("the target has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse().map_err(|_| format!("Bootyard's target did not start; it said `{line}`"))?;
    let lab = lab(folder)?;
    let disk = |at: usize| lab.disks.get(at).map(|disk| (disk.iqn.clone(), 0)).ok_or("a disk is missing");
    Ok(Target { name: "Bootyard", child, address, disks: [disk(0)?, disk(1)?] })
}

fn lab(folder: &Path) -> Fallible<Lab> {
    let folder = folder.display();
    let text = format!(
        "version = 1\n\
         [[disk]]\nname = \"plain\"\nimage = \"{folder}/ours.raw\"\nwrites = \"image\"\n\
         [[disk]]\nname = \"golden\"\nimage = \"{folder}/golden.raw\"\nwrites = \"fresh\"\n"
    );
    bootyard_core::lab::parse(&text).map_err(|problems| format!("{problems:?}").into())
}

/// Serves until its standard input ends.
pub(crate) fn serve(folder: &Path) -> Fallible<()> {
    let lab = lab(folder)?;
    let store = Store::new(folder.join("disks"));
    std::fs::create_dir_all(folder.join("disks"))?;
    for disk in lab.disks.iter().filter(|disk| disk.writes != Writes::Image) {
        store.identify(disk, &|_, _| {}, &AtomicBool::new(false))?;
    }
    let (reporter, _reports) = reports();
    let service = start_service(Config {
        binds: vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)],
        ports: Arc::new(crate::common::Loopback),
        gate: Arc::new(Everybody { disks: lab.disks, store }),
        reporter,
        tap: <_>::default(),
    })?;
    let address: SocketAddr = service.addresses().first().copied().ok_or("the target listens nowhere")?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    service.stop();
    Ok(())
}

/// Lets everybody in, each to an overlay of its own.
struct Everybody {
    disks: Vec<Disk>,
    store: Store,
}

impl Everybody {
    fn disk(&self, target: &str) -> Result<&Disk, Refusal> {
        let found = self.disks.iter().find(|disk| disk.iqn == target);
        found.ok_or_else(|| Refusal::new(0x0203, format!("there is no target {target}")))
    }
}

impl Gate for Everybody {
    fn authorize(&self, login: &LoginRequest) -> Result<Grant, Refusal> {
        let disk = self.disk(&login.target)?;
        Ok(Grant {
            who: Who::ip(login.peer),
            disk: disk.name.to_string(),
            scope: login.initiator.clone(),
            chap: None,
            serial: login.initiator.clone(),
            removable: false,
            boot: None,
            memory: None,
        })
    }

    fn open(&self, login: &LoginRequest, _: &Grant) -> Result<Arc<dyn BlockDevice>, Refusal> {
        let disk = self.disk(&login.target)?;
        let request = OpenRequest {
            disk,
            key: OverlayKey::Initiator(login.initiator.clone()),
            label: login.initiator.clone(),
            fresh_epoch: (disk.writes == Writes::Fresh).then_some((0, true)),
        };
        let refuse = |error: bootyard_core::disks::DiskError| Refusal::new(error.refusal_status(), error.to_string());
        self.store.open(&request).map_err(refuse)
    }

    fn targets(&self, _: &str, _: IpAddr) -> Vec<String> {
        self.disks.iter().map(|disk| disk.iqn.clone()).collect()
    }
}
