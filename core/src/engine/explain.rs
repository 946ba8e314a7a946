//! What a machine would be given now, and why: `boot::explain`, with the values of the DHCP server's own replies and the lines of
//! lab.toml. Nothing is changed by it, and nobody becomes known.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::commands::wrong;
use super::run::{Answer, Run};
use super::serving::blocking;
use super::shared::Shared;
use super::state::State;
use crate::api::{ClientKind, HostId, Question, Reply, Who};
use crate::boot::{Arch, ClientFacts, Explained, Explanation, Link, Plan, PlanNetwork, Value, explain};
use crate::dhcp::rehearsal::{Told, rehearse};
use crate::lab::{Lab, Mode, locate};
use crate::lang::{fill, sentence};
use crate::net::MacAddr;
use crate::trace::decode::{Field, dhcp_fields};

/// Stands for any machine without an entry: a local address that no card has.
const ANYBODY: MacAddr = MacAddr([0x02, b'n', b'o', b'b', b'o', b'd']);
/// What its address is shown as.
const ITS_MAC: &str = "MAC";
/// Fields of a DHCP message that say nothing of what is given.
const NOISE: [&str; 4] = ["transaction", "hardware address", "secs", "broadcast"];

impl Run {
    /// Explains beside the loop, which goes on.
    pub(super) async fn explain(&mut self, question: Question, answer: Answer) {
        self.catch_up().await;
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let told = blocking(move || tell(&shared, &question)).await.and_then(|told| told);
            let told = told.map(|chain| Reply::Explained { chain: Box::new(chain) });
            let _nobody_listens = answer.send(told.map_err(wrong));
        });
    }
}

/// The machine that is asked about.
#[derive(Debug, Default)]
struct Subject {
    id: Option<HostId>,
    mac: Option<MacAddr>,
}

fn tell(shared: &Shared, question: &Question) -> Result<Explanation, String> {
    let (plan, facts, name, network, serving, mac) = {
        let state = shared.state();
        let subject = subject(&state, question.host.as_deref())?;
        let host = subject.id.and_then(|id| state.hosts.get(&id)).map(|tracked| &tracked.host);
        let serving = !state.plan.networks.is_empty();
        let plan = if serving { state.plan.clone() } else { Arc::new(would_be(&state)?) };
        let network = network(&plan, question.interface.as_deref(), host.and_then(|h| h.ip))?;
        let arch = question.arch.or_else(|| host.and_then(|h| h.arch)).unwrap_or(Arch::Bios);
        let client = question.client.unwrap_or(match arch.is_http() {
            true => ClientKind::HttpBoot,
            false => ClientKind::PxeRom,
        });
        let arch = as_asked(arch, question.client);
        let facts = ClientFacts {
            mac: subject.mac.unwrap_or(ANYBODY),
            uuid: subject.id.and_then(|id| state.directory.uuid(id)),
            arch: Some(arch),
            client,
        };
        let name = subject.id.map(|id| state.shown_name(id));
        (plan, facts, name, network, serving, subject.mac)
    };
    let Some(here) = plan.networks.get(network).cloned() else {
        return Err("this network was taken out of service just now; try again".into());
    };
    let mut stages = explain(&plan, &here, &facts);
    let leases = shared.db.leases().map_err(|e| e.to_string())?;
    let styles = shared.db.proxy_styles().map_err(|e| e.to_string())?;
    for stage in stages.iter_mut().filter(|s| matches!(s.stage, Link::Firmware | Link::Ipxe)) {
        let client = match (stage.stage, facts.client) {
            (Link::Firmware, client) | (_, client @ ClientKind::Gpxe) => client,
            _ => ClientKind::Ipxe,
        };
        let asks = ClientFacts { client, ..facts.clone() };
        put_values(stage, &rehearse(plan.clone(), network, &asks, leases.clone(), styles.clone()));
    }
    if let Ok(text) = shared.folder.read_text() {
        locate(&text, &plan.lab, stages.iter_mut().filter_map(|s| s.setting.as_mut()));
    }
    if mac.is_none() {
        stages.iter_mut().for_each(anonymous);
    }
    Ok(Explanation {
        mac,
        name,
        arch: facts.arch.unwrap_or(Arch::Bios),
        client: facts.client,
        interface: here.interface.clone(),
        server: here.address.address,
        mode: if here.mode == Mode::Proxy { "proxy" } else { "dhcp" }.to_owned(),
        serving,
        stages,
    })
}

/// A MAC, known or not, or the name of a machine that is known.
fn subject(state: &State, word: Option<&str>) -> Result<Subject, String> {
    let Some(word) = word else { return Ok(Subject::default()) };
    if let Ok(mac) = word.parse::<MacAddr>() {
        return Ok(Subject { id: state.directory.find(&Who::mac(mac)), mac: Some(mac) });
    }
    let configured = state.lab.hosts.iter().position(|h| h.name.as_ref().is_some_and(|n| n.as_str() == word));
    let by_entry = configured.and_then(|at| state.configured.get(at).copied());
    let calls_itself = |id: &HostId| state.hosts.get(id).is_some_and(|t| t.host.hostname.as_deref() == Some(word));
    let id = by_entry.or_else(|| state.hosts.keys().copied().filter(calls_itself).min());
    let mac = id.and_then(|id| state.directory.macs(id).first().copied());
    match mac {
        Some(mac) => Ok(Subject { id, mac: Some(mac) }),
        None => {
            let shown = crate::lab::printable(word);
            Err(format!("no machine is called {shown}; name one of `bootyard hosts`, or give a MAC"))
        }
    }
}

/// The plan as it would be if serving began: `auto` as it is while no other server answers.
fn would_be(state: &State) -> Result<Plan, String> {
    if let Some(problem) = state.problems.iter().find(|p| p.is_error()) {
        return Err(format!("{problem}; `bootyard check` shows all problems"));
    }
    let lab: &Lab = &state.lab;
    let networks = lab.networks.iter().enumerate().filter_map(|(index, network)| {
        let interface = state.interfaces.iter().find(|i| i.name == network.interface);
        let address = interface.and_then(|i| i.addresses.first().copied()).or(network.address)?;
        Some(PlanNetwork {
            index,
            interface: network.interface.clone(),
            ifindex: 0,
            mac: MacAddr::default(),
            address,
            mode: if network.mode == Mode::Proxy { Mode::Proxy } else { Mode::Dhcp },
            foreign: false,
        })
    });
    Ok(Plan { lab: state.lab.clone(), networks: networks.collect(), ..Plan::clone(&state.plan) })
}

/// Which network of the plan: the one that is named, that of its address, the first.
fn network(plan: &Plan, interface: Option<&str>, ip: Option<IpAddr>) -> Result<usize, String> {
    if let Some(interface) = interface {
        let found = plan.networks.iter().position(|n| n.interface == interface);
        return found.ok_or_else(|| {
            let shown = crate::lab::printable(interface);
            format!("{shown} is no network of lab.toml that has an address; name another interface")
        });
    }
    let ip: Option<Ipv4Addr> = match ip {
        Some(IpAddr::V4(ip)) => Some(ip),
        _ => None,
    };
    let of_ip = ip.and_then(|ip| plan.networks.iter().position(|n| n.address.contains(ip)));
    of_ip
        .or_else(|| (!plan.networks.is_empty()).then_some(0))
        .ok_or_else(|| "no network of lab.toml has an address; choose one in the window or with `address`".to_owned())
}

/// What the firmware names as its architecture when it asks in this way.
fn as_asked(arch: Arch, client: Option<ClientKind>) -> Arch {
    let plain = arch.without_http();
    match client {
        // A Raspberry Pi's loader has no HTTP Boot, so there is no name for it.
        Some(ClientKind::HttpBoot) => {
            Arch::ALL.into_iter().find(|a| a.is_http() && a.without_http() == plain).unwrap_or(arch)
        }
        Some(ClientKind::PxeRom | ClientKind::Bootp) => plain,
        _ => arch,
    }
}

/// What the server's own replies say; and where it makes none, why.
fn put_values(stage: &mut Explained, told: &Told) {
    for (port, bytes) in &told.replies {
        let from = if *port == 67 { String::new() } else { format!("port {port}: ") };
        for field in dhcp_fields(bytes).iter().filter(|f| !NOISE.contains(&f.name.as_str())) {
            flatten(&from, field, &mut stage.values);
        }
    }
    if let Some(reason) = told.reason.as_ref().filter(|_| told.replies.is_empty() && !stage.ends) {
        stage.because = fill(sentence("explain", "because-held-back"), &[("reason", reason)]);
        stage.setting = None;
        stage.ends = true;
    }
}

fn flatten(prefix: &str, field: &Field, into: &mut Vec<Value>) {
    let name = format!("{prefix}{}", field.name);
    if field.fields.is_empty() {
        into.push(Value::new(&name, &field.value));
    }
    for part in &field.fields {
        flatten(&format!("{name}: "), part, into);
    }
}

/// Without the address that stands for any machine.
fn anonymous(stage: &mut Explained) {
    let (colons, hyphens) = (ANYBODY.to_string(), ANYBODY.hyphenated());
    let values = stage.values.iter_mut().map(|v| &mut v.value);
    for text in [&mut stage.brief, &mut stage.gets, &mut stage.because].into_iter().chain(values) {
        *text = text.replace(&colons, ITS_MAC).replace(&hyphens, ITS_MAC);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Command;
    use crate::boot::{Part, Setting};
    use crate::engine::{Engine, Options};

    const LAB: &str = "version = 1\n[network]\ninterface = \"nosuch0\"\naddress = \"192.168.9.1/24\"\nunknown = \"wait\"\n\
                       [[disk]]\nname = \"d\"\nimage = \"d.raw\"\n\
                       [[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"pc-1\"\nboot = { iscsi = \"d\" }\n";

    async fn ask(question: Question) -> Result<Explanation, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lab.toml"), LAB).unwrap();
        std::fs::create_dir_all(dir.path().join("firmware")).unwrap();
        let engine = Engine::open(dir.path(), Options::default()).await.unwrap();
        let before = engine.handle().snapshot().hosts.len();
        let reply = engine.handle().call(Command::Explain(question)).await;
        assert_eq!(engine.handle().snapshot().hosts.len(), before, "nobody becomes known by being asked about");
        engine.close().await;
        match reply {
            Ok(Reply::Explained { chain }) => Ok(*chain),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn a_machine_is_explained_with_the_line_that_decides_and_the_values_of_the_offer() {
        let question = Question { host: Some("pc-1".into()), client: Some(ClientKind::Ipxe), ..Question::default() };
        let told = ask(question).await.unwrap();
        assert_eq!((told.mac, told.name.as_deref()), ("52:54:00:00:00:01".parse().ok(), Some("pc-1")));
        assert!(!told.serving && told.mode == "dhcp");
        let ipxe = &told.stages[0];
        let expected = Setting {
            part: Part::Host,
            index: 0,
            entry: "pc-1".into(),
            key: "boot".into(),
            line: Some(12),
            absent: Some(false),
        };
        assert_eq!(ipxe.setting, Some(expected));
        let value = |name: &str| ipxe.values.iter().find(|v| v.name == name).map(|v| v.value.as_str());
        assert_eq!(value("next server"), Some("192.168.9.1"));
        assert_eq!(value("67 boot file"), Some("http://192.168.9.1/boot/52-54-00-00-00-01/boot.ipxe"));
    }

    #[tokio::test]
    async fn any_machine_is_explained_without_an_address_of_its_own() {
        let told = ask(Question { client: Some(ClientKind::Gpxe), ..Question::default() }).await.unwrap();
        assert_eq!(told.mac, None);
        let text = serde_json::to_string(&told).unwrap();
        assert!(text.contains("/boot/MAC/boot.ipxe") && !text.contains("6e-6f"), "{text}");
        assert_eq!(told.stages[0].setting.as_ref().map(|s| s.key.as_str()), Some("unknown"));
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_an_error_that_says_what_to_do() {
        let refused = ask(Question { host: Some("nobody".into()), ..Question::default() }).await.unwrap_err();
        assert!(refused.contains("no machine is called nobody"), "{refused}");
    }

    #[test]
    fn the_architecture_is_that_of_the_way_in_which_it_asks() {
        let asked = |arch, client| as_asked(arch, Some(client));
        assert_eq!(asked(Arch::UefiX64, ClientKind::HttpBoot), Arch::UefiX64Http);
        assert_eq!(asked(Arch::UefiX64Http, ClientKind::HttpBoot), Arch::UefiX64Http);
        assert_eq!(asked(Arch::UefiArm64Http, ClientKind::PxeRom), Arch::UefiArm64);
        assert_eq!(asked(Arch::RaspberryPi, ClientKind::HttpBoot), Arch::RaspberryPi);
        assert_eq!(as_asked(Arch::UefiX64Http, None), Arch::UefiX64Http);
    }
}
