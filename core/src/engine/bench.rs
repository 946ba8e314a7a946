//! An engine on a lab of its own, with a network that exists in its plan alone: no sockets, no privileges.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::shared::Shared;
use super::web::Web;
use super::{Engine, EngineError, Options};
use crate::api::{ClientKind, Command, EngineHandle, Event, EventKind, HandleError, Reply, Who};
use crate::boot::PlanNetwork;
use crate::http::{App, AppBody, AppRequest};
use crate::lab::{Boot, LabError, Mode};
use crate::net::MacAddr;

pub(super) const A: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
pub(super) const B: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
pub(super) const IP_A: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 21);
pub(super) const IP_B: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 22);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);

/// A network, an installer with and one without an answer file, a disk of each kind.
pub(super) const LAB: &str = "version = 1
[network]
interface = \"bench0\"
address = \"192.168.2.1/24\"
mode = \"dhcp\"

[[profile]]
name = \"debian\"
kernel = \"linux\"
initrd = [\"initrd.gz\"]
answers = \"debian.cfg\"

[[profile]]
name = \"live\"
kernel = \"linux\"
initrd = [\"initrd.gz\"]

[[disk]]
name = \"kept\"
image = \"golden.raw\"

[[disk]]
name = \"fresh\"
image = \"golden.raw\"
writes = \"fresh\"
allow = [\"iqn.2020-01.org.example:\"]
";

pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) engine: Engine,
    pub(super) shared: Arc<Shared>,
}

impl Bench {
    /// `hosts` is the rest of lab.toml.
    pub(super) async fn new(hosts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["media", "disks"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("media/linux"), "kernel").unwrap();
        std::fs::write(dir.path().join("media/initrd.gz"), "initrd").unwrap();
        std::fs::write(dir.path().join("media/debian.cfg"), "d-i netcfg/get_hostname string {{ hostname }}\n").unwrap();
        std::fs::write(dir.path().join("disks/golden.raw"), vec![1; 1 << 20]).unwrap();
        std::fs::write(dir.path().join("lab.toml"), format!("{LAB}\n{hosts}")).unwrap();
        Self::open(dir).await
    }

    async fn open(dir: TempDir) -> Self {
        let mut tries = 0;
        let (engine, shared) = loop {
            match Engine::open_sharing(dir.path(), Options::default()).await {
                // A lock that was given back here is held for a moment by a child that another test starts just then.
                Err(EngineError::Lab(LabError::InUse { .. })) if tries < 100 => tries += 1,
                opened => break opened.unwrap(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let network = PlanNetwork {
            index: 0,
            interface: "bench0".into(),
            ifindex: 1,
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            address: "192.168.2.1/24".parse().unwrap(),
            mode: Mode::Dhcp,
            foreign: false,
        };
        shared.change_plan(|plan| plan.networks = vec![network]);
        Self { dir, engine, shared }
    }

    /// The engine ends and another opens the same folder.
    pub(super) async fn reopened(self) -> Self {
        let Self { dir, engine, shared } = self;
        drop(shared);
        engine.close().await;
        Self::open(dir).await
    }

    pub(super) fn handle(&self) -> EngineHandle {
        self.engine.handle()
    }

    pub(super) async fn call(&self, command: Command) -> Result<Reply, HandleError> {
        self.handle().call(command).await
    }

    pub(super) async fn assign(&self, mac: MacAddr, to: Boot) {
        self.call(Command::AssignNamed { hosts: vec![mac.to_string()], to }).await.unwrap();
    }

    pub(super) fn toml(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("lab.toml")).unwrap()
    }

    /// A machine is given an address, as the DHCP server tells it.
    pub(super) async fn addressed(&self, mac: MacAddr, ip: Ipv4Addr) {
        self.acknowledged(mac, ip, None).await;
    }

    pub(super) async fn acknowledged(&self, mac: MacAddr, ip: Ipv4Addr, root_path: Option<&str>) {
        let ack = EventKind::DhcpAck {
            client: ClientKind::Ipxe,
            address: Some(ip),
            file: None,
            root_path: root_path.map(str::to_owned),
            disk: None,
            lease_seconds: 600,
        };
        self.shared.report(Some(Who { ip: Some(ip.into()), ..Who::mac(mac) }), ack);
        self.shared.reporter.settled().await;
    }

    /// What iPXE at this address gets: status and text; a file is `200` and its path.
    pub(super) async fn get(&self, ip: Ipv4Addr, url: &str) -> (u16, String) {
        self.get_as(ip, url, "iPXE/1.21.1").await
    }

    pub(super) async fn get_as(&self, ip: Ipv4Addr, url: &str, agent: &str) -> (u16, String) {
        answer(&self.shared, ip, url, agent).await
    }

    /// The events so far, oldest first.
    pub(super) async fn events(&self) -> Vec<Arc<Event>> {
        self.shared.reporter.settled().await;
        self.call(Command::Ping).await.unwrap();
        self.handle().snapshot().recent.clone()
    }

    /// Waits until lab.toml says this.
    pub(super) async fn toml_says(&self, text: &str) {
        for _ in 0..1000 {
            if self.toml().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("lab.toml does not say `{text}`:\n{}", self.toml());
    }
}

pub(super) async fn answer(shared: &Arc<Shared>, ip: Ipv4Addr, url: &str, agent: &str) -> (u16, String) {
    answer_at(shared, SERVER, ip, url, agent).await
}

/// The same at another address of ours.
pub(super) async fn answer_at(
    shared: &Arc<Shared>,
    local: Ipv4Addr,
    ip: Ipv4Addr,
    url: &str,
    agent: &str,
) -> (u16, String) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let pairs = query.split('&').filter_map(|p| p.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned()));
    let request = AppRequest {
        method: "GET".into(),
        path: path.to_owned(),
        query: pairs.collect(),
        body: Vec::new(),
        peer: (IpAddr::V4(ip), 40_000).into(),
        local,
        agent: Some(agent.to_owned()),
    };
    match Web(shared.clone()).respond(request).await.body {
        AppBody::Bytes(status, _, bytes) => (status, String::from_utf8(bytes).unwrap()),
        AppBody::File(path) => (200, path.display().to_string()),
        AppBody::NotFound(text) => (404, text),
        AppBody::Forbidden(text) => (403, text),
    }
}

/// The path of `path` on our server in a script.
pub(super) fn path_in(script: &str, beginning: &str) -> String {
    let from = script.find(beginning).unwrap_or_else(|| panic!("no {beginning} in\n{script}"));
    script[from..].split_whitespace().next().unwrap().to_owned()
}
