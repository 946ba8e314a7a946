//! Our server, in a process of its own: this program, started on the server's side of the wire with its folder in the environment.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bootyard_core::api::reports;
use bootyard_core::boot::{Arch, FirmwareFile, Plan, PlanNetwork};
use bootyard_core::dhcp::{Config, Done, LeaseStore, StoreError};
use bootyard_core::lab::{Db, LeaseRecord, Mode};
use bootyard_core::net::{Direct, interfaces};

use crate::Fallible;
use crate::wire::{LEFT, RANGE, SERVER, Wire};

/// Names the folder of lab.db; without it this is the measuring program.
pub(crate) const SERVE: &str = "BOOTYARD_BENCH_SERVE_DHCP";

/// Ours, ready to be started.
pub(crate) fn command(wire: &Wire, folder: &Path) -> Fallible<Command> {
    let mut command = wire.server_side(std::env::current_exe()?);
    command.env(SERVE, folder);
    Ok(command)
}

/// Serves until its standard input ends. What the service reports is taken and let go: the window's and the history's work is not
/// this benchmark's.
pub(crate) fn serve(folder: &Path) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let db = Db::open(&folder.join("lab.db"))?;
    let (reporter, mut reported) = reports();
    runtime.spawn(async move {
        loop {
            let count = reported.next().await.len();
            reported.folded(count);
        }
    });
    let config = Config {
        plan: Arc::new(plan()?),
        ports: Arc::new(Direct),
        reporter,
        store: Arc::new(Leases(db.clone())),
        leases: db.leases()?,
        styles: std::collections::HashMap::new(),
        tap: <_>::default(),
    };
    let service = runtime.block_on(bootyard_core::dhcp::start(config))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(service.stop());
    Ok(())
}

/// lab.db as the engine gives it to the service.
struct Leases(Db);

impl LeaseStore for Leases {
    fn commit(&self, records: Vec<LeaseRecord>, done: Done) {
        self.0.commit_leases_then(records, |result| done.tell(result.map_err(|e| StoreError(e.to_string()))));
    }
}

fn plan() -> Fallible<Plan> {
    let (first, last) = RANGE;
    let text = format!(
        "version = 1\n[network]\ninterface = \"{LEFT}\"\nmode = \"dhcp\"\nrange = \"{first}-{last}\"\nrouter = \"{SERVER}\"\n\
         lease = \"30m\"\nunknown = \"wait\"\n"
    );
    let lab = bootyard_core::lab::parse(&text).map_err(|problems| format!("{problems:?}"))?;
    let interface = interfaces()?.into_iter().find(|i| i.name == LEFT).ok_or("the wire is not there")?;
    let network = PlanNetwork {
        index: 0,
        interface: LEFT.to_owned(),
        ifindex: interface.index,
        mac: interface.mac.unwrap_or_default(),
        address: *interface.addresses.first().ok_or("the wire has no address")?,
        mode: Mode::Dhcp,
        foreign: false,
    };
    let file = FirmwareFile { name: "undionly.kpxe".to_owned(), path: "undionly.kpxe".into(), size: 1 };
    Ok(Plan { lab: Arc::new(lab), networks: vec![network], firmware: [(Arch::Bios, file)].into(), ..Plan::default() })
}
