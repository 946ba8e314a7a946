//! Our server, in a process of its own: this program, started with the folder of the files in its environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bootyard_core::api::{Who, reports};
use bootyard_core::http::{App, AppBody, AppReply, AppRequest, Config, start as start_service, start_portable};

use crate::Fallible;
use crate::server::Server;

/// Names the folder to serve from; without it this is the measuring program.
pub(crate) const SERVE: &str = "BOOTYARD_BENCH_SERVE_HTTP";
/// Set where the kernel's `sendfile` is not used.
const PORTABLE: &str = "BOOTYARD_BENCH_PORTABLE";

/// Starts it.
pub(crate) fn start(folder: &Path, portable: bool) -> Fallible<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    if portable {
        command.env(PORTABLE, "1");
    }
    let mut child = command
        .env(SERVE, folder)
        // Open as long as this process lives: its end is the child's.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("the server has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse().map_err(|_| format!("Bootyard's server did not start; it said `{line}`"))?;
    Ok(Server { name: if portable { "Bootyard (portable)" } else { "Bootyard" }, child, address })
}

/// Serves until its standard input ends.
pub(crate) fn serve(folder: &Path) -> Fallible<()> {
    let portable = std::env::var_os(PORTABLE).is_some();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let service = runtime.block_on(async {
        let (reporter, mut reports) = reports();
        // As the engine does.
        tokio::spawn(async move {
            loop {
                reports.next().await;
            }
        });
        let config = Config {
            binds: vec![(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)],
            secure: None,
            ports: Arc::new(crate::common::Loopback),
            app: Arc::new(Folder(folder.to_owned())),
            reporter,
            tap: <_>::default(),
        };
        if portable { start_portable(config).await } else { start_service(config).await }
    })?;
    let address: SocketAddr = service.addresses().first().copied().ok_or("the server listens nowhere")?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(service.stop());
    Ok(())
}

/// Serves a folder.
struct Folder(PathBuf);

impl App for Folder {
    async fn respond(&self, request: AppRequest) -> AppReply {
        AppReply { who: Who::default(), body: AppBody::File(self.0.join(request.path.trim_start_matches('/'))) }
    }

    fn delivered(&self, _: &Who, _: &str) {}
}
