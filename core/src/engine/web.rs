//! What a path means on our HTTP server: scripts, marks, installers, boot files and answers.
//!
//! | path | what |
//! | --- | --- |
//! | `/boot/MAC/boot.ipxe` | the entry script (for gPXE: the script itself) |
//! | `/boot/MAC/script.ipxe?…` | the script, with what iPXE tells of the machine |
//! | `/boot/MAC/wait.ipxe` | held until something is assigned |
//! | `/boot/MAC/choose.ipxe?to=` | the menu's choice |
//! | `/boot/MAC/xen.cfg` | Xen's configuration on UEFI, for the assignment that the script was made for |
//! | `/boot/MAC/step?name=`, `/boot/MAC/error?step=&code=` | how the script fares |
//! | `/media/PROFILE/…` | kernels, initrds, hypervisors |
//! | `/firmware/FILE` | boot files, for UEFI HTTP Boot |
//! | `/answers/MAC/TOKEN/FILE` | the host's answer file, for that host alone |
//! | `/https/ca.pem`, `/https/ca.der` | what a machine must know to trust us over HTTPS |
//!
//! Nothing here changes what a machine is assigned: the port on the wire has no control endpoint.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::boots::How;
use super::shared::{SETTLE, Shared};
use crate::api::{EventKind, HostId, Stage, Who, machine_uuid};
use crate::boot::script::{Dialect, ScriptFor, entry, fetches_answers, flaws, only_system_logs_in, render};
use crate::boot::{Plan, PlanNetwork, XEN_CONFIG, base_url, initiator_name, xen_config};
use crate::http::tls::{CA_DER, CA_PEM};
use crate::http::{App, AppBody, AppReply, AppRequest};
use crate::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Profile};
use crate::machine::Now;
use crate::media::{self, answers};
use crate::net::MacAddr;

/// A request of a waiting machine is held this long; then it asks again, which proves that it lives.
const HOLD: Duration = Duration::from_secs(25);
/// gPXE nests its scripts: it is held longer, so that it nests less.
const HOLD_GPXE: Duration = Duration::from_secs(600);

const TEXT: &str = "text/plain";

/// See the module's text.
#[derive(Debug)]
pub(super) struct Web(pub(super) Arc<Shared>);

/// A request under `/boot/MAC/` or `/answers/MAC/`, of a machine that may make it.
struct Caller {
    id: HostId,
    mac: MacAddr,
    who: Who,
    plan: Arc<Plan>,
    network: PlanNetwork,
    dialect: Dialect,
    base: String,
    server: Ipv4Addr,
    peer: IpAddr,
}

impl App for Web {
    async fn respond(&self, request: AppRequest) -> AppReply {
        let peer = request.peer.ip();
        let parts: Vec<String> = request.path.split('/').skip(1).map(str::to_owned).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            ["boot", mac, leaf] => self.boot(&request, mac, leaf).await,
            ["answers", mac, token, leaf] => self.answers(&request, mac, token, leaf).await,
            ["media", profile, ref rest @ ..] => self.reply(peer, self.media(profile, rest)),
            ["firmware", ref rest @ ..] => self.reply(peer, self.firmware(&rest.join("/"))),
            ["https", leaf @ (CA_PEM | CA_DER)] => self.reply(peer, AppBody::File(self.0.folder.https().join(leaf))),
            [""] => self.reply(peer, AppBody::Bytes(200, TEXT, b"Bootyard serves network boot here.\n".to_vec())),
            _ => self.reply(peer, AppBody::NotFound(format!("nothing is at {}", request.path))),
        }
    }

    fn delivered(&self, who: &Who, path: &str) {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let (["media", name, ..], Some(ip)) = (&parts[..], who.ip) else {
            return;
        };
        let plan = self.0.plan.borrow().clone();
        let Some(profile) = plan.lab.profiles.iter().find(|p| p.name.as_str() == *name) else {
            return;
        };
        // Where there is an answer file, that is the proof.
        if fetches_answers(profile) || !is_last(profile, &parts) {
            return;
        }
        if let Some(id) = self.0.client(ip) {
            self.0.consume(id, name, "kernel and initrd were delivered");
        }
    }
}

/// The last file that a machine loads to start this profile.
fn is_last(profile: &Profile, parts: &[&str]) -> bool {
    match profile.initrds.len() {
        0 => matches!(parts, ["media", _, "kernel", _]),
        count => matches!(parts, ["media", _, "initrd", index, _] if *index == (count - 1).to_string()),
    }
}

impl Web {
    fn reply(&self, peer: IpAddr, body: AppBody) -> AppReply {
        let who = match self.0.client(peer) {
            Some(id) => self.0.state().who(id, peer),
            None => Who::ip(peer),
        };
        AppReply { who, body }
    }

    /// The machine that asks, if it may ask under this MAC.
    async fn caller(&self, request: &AppRequest, mac: &str) -> Result<Caller, AppReply> {
        let peer = request.peer.ip();
        // Each of these requests may write to the disk and be told to the whole engine.
        if !self.0.asks.take(Now::read().boot, peer) {
            let busy = AppBody::Bytes(503, TEXT, b"too many requests; try again in a moment\n".to_vec());
            return Err(AppReply { who: Who::ip(peer), body: busy });
        }
        let Ok(mac) = mac.parse::<MacAddr>() else {
            return Err(self.reply(peer, AppBody::NotFound(format!("{mac} is not a MAC address"))));
        };
        // The ACK that gave this client its address may not be folded yet.
        let _late_is_no_error = tokio::time::timeout(SETTLE, self.0.reporter.settled()).await;
        let id =
            self.0.claimed(mac, peer).map_err(|why| AppReply { who: Who::ip(peer), body: AppBody::Forbidden(why) })?;
        let plan = self.0.plan.borrow().clone();
        let Some(network) = Shared::network(&plan, Some(request.local), peer).cloned() else {
            return Err(self.reply(peer, AppBody::Forbidden("no network is in service".into())));
        };
        let server = request.local;
        Ok(Caller {
            id,
            mac,
            who: Who { mac: Some(mac), uuid: None, ip: Some(peer) },
            base: base_url(&plan, server),
            plan,
            network,
            dialect: Dialect::of_agent(request.agent.as_deref()),
            server,
            peer,
        })
    }

    async fn boot(&self, request: &AppRequest, mac: &str, leaf: &str) -> AppReply {
        if request.method != "GET" {
            return self.reply(request.peer.ip(), AppBody::Bytes(405, TEXT, b"use GET\n".to_vec()));
        }
        let mut caller = match self.caller(request, mac).await {
            Ok(caller) => caller,
            Err(reply) => return reply,
        };
        let body = match (leaf, caller.dialect) {
            ("boot.ipxe", Dialect::Ipxe) => text(entry(&caller.base, caller.mac)),
            ("boot.ipxe", Dialect::Gpxe) => self.assigned(&caller).await,
            ("script.ipxe", _) => {
                self.inventory(&mut caller, &request.query);
                self.assigned(&caller).await
            }
            ("wait.ipxe", _) => self.wait(&mut caller, value(&request.query, "menu").is_some()).await,
            ("choose.ipxe", _) => self.choose(&caller, value(&request.query, "to").unwrap_or_default()).await,
            (XEN_CONFIG, _) => self.xen_config(&caller),
            ("step", _) => self.step(&caller, value(&request.query, "name").unwrap_or_default()),
            ("error", _) => self.error(&caller, &request.query),
            _ => AppBody::NotFound(format!("nothing is at {}", request.path)),
        };
        AppReply { who: caller.who, body }
    }

    /// What iPXE tells of the machine.
    fn inventory(&self, caller: &mut Caller, query: &[(String, String)]) {
        if query.is_empty() {
            return;
        }
        let told = |name: &str| value(query, name).map(printable).filter(|v| !v.is_empty());
        caller.who.uuid = told("uuid").and_then(|u| Uuid::parse_str(&u).ok()).and_then(machine_uuid);
        if caller.who.uuid.is_some() {
            // A dock: only now it is known which of the machines behind its MAC this is.
            caller.id = self.0.state().directory.resolve(&caller.who).unwrap_or(caller.id);
        }
        let inventory = EventKind::Inventory {
            serial: told("serial"),
            manufacturer: told("manufacturer"),
            product: told("product"),
            asset: told("asset"),
            memory_mib: told("memory").and_then(|m| m.parse().ok()),
            platform: told("platform"),
            version: told("version"),
            chip: told("chip"),
        };
        self.0.report(Some(caller.who.clone()), inventory);
    }

    /// The script of the host's assignment.
    async fn assigned(&self, caller: &Caller) -> AppBody {
        let Some(decision) = self.0.assignment(caller.id, &caller.network) else {
            return AppBody::NotFound("this machine was just forgotten; start it again".into());
        };
        let unassigned = decision.because.is_unknown();
        self.give(caller, &decision.value, &decision.because.to_string(), unassigned).await
    }

    /// A script for `boot`. Whatever is no waiting begins a boot epoch, which is on disk before the script leaves. `unassigned`: it is
    /// what machines without an entry are given.
    async fn give(&self, caller: &Caller, boot: &Boot, because: &str, unassigned: bool) -> AppBody {
        let mut token = None;
        if !matches!(boot, Boot::Wait | Boot::Menu) {
            let by_system = only_system_logs_in(&caller.plan, caller.dialect, boot);
            match self.0.begin(caller.id, boot, How { by_system, unassigned }).await {
                Ok(epoch) => token = epoch.install.map(|install| install.token),
                Err(error) => return AppBody::Bytes(503, TEXT, format!("{error}\n").into_bytes()),
            }
        }
        let kind = EventKind::ScriptServed {
            boot: boot.clone(),
            dialect: caller.dialect.as_str().to_owned(),
            because: because.to_owned(),
        };
        self.0.report(Some(caller.who.clone()), kind);
        self.flaws(caller, boot);
        self.script(caller, boot, token.as_deref(), false)
    }

    /// Tells of what cannot work in what is given.
    fn flaws(&self, caller: &Caller, boot: &Boot) {
        let arch = self.0.state().hosts.get(&caller.id).and_then(|t| t.host.arch);
        for (flaw, detail) in flaws(&caller.plan, &caller.network, boot, arch) {
            self.0.report(Some(caller.who.clone()), EventKind::ScriptFlaw { flaw: flaw.to_owned(), detail });
        }
    }

    fn script(&self, caller: &Caller, boot: &Boot, token: Option<&str>, menu: bool) -> AppBody {
        text(self.with(caller, boot, token, menu, |script| render(script, boot)))
    }

    /// What belongs to the script that the machine has: that of its installation on the way, or else of what it is assigned.
    fn xen_config(&self, caller: &Caller) -> AppBody {
        let install = self.0.state().boots.get(caller.id).and_then(|epoch| epoch.install.clone());
        let (boot, token) = match install {
            Some(i) => (Some(Boot::Install(Install { profile: i.profile, then: i.then })), Some(i.token)),
            None => (self.0.assignment(caller.id, &caller.network).map(|decision| decision.value), None),
        };
        let config =
            boot.and_then(|boot| self.with(caller, &boot, token.as_deref(), false, |script| xen_config(script, &boot)));
        config.map_or_else(|| AppBody::NotFound("this machine is given no Xen for UEFI".into()), text)
    }

    /// Makes something of what is known of this machine and of what it is given.
    fn with<T>(
        &self,
        caller: &Caller,
        boot: &Boot,
        token: Option<&str>,
        menu: bool,
        make: impl FnOnce(&ScriptFor<'_>) -> T,
    ) -> T {
        let (name, arch) = {
            let state = self.0.state();
            (state.shown_name(caller.id), state.hosts.get(&caller.id).and_then(|t| t.host.arch))
        };
        // The newest plan: a held request outlives the one that it came under.
        let plan = self.0.plan.borrow().clone();
        let token = token.filter(|_| match boot {
            Boot::Install(install) => plan.lab.profile(&install.profile).is_some_and(fetches_answers),
            _ => false,
        });
        make(&ScriptFor {
            plan: &plan,
            dialect: caller.dialect,
            base: &caller.base,
            server: caller.server,
            mac: caller.mac,
            name: &name,
            ip: Some(caller.peer),
            arch,
            token,
            menu,
        })
    }

    /// Holds the request until something is assigned, the wait times out, or the hold is over. `menu`: the machine has a menu and has
    /// chosen to wait; gPXE, which knows no menus, waits instead.
    async fn wait(&self, caller: &mut Caller, menu: bool) -> AppBody {
        let gpxe = caller.dialect == Dialect::Gpxe;
        let until = tokio::time::Instant::now() + if gpxe { HOLD_GPXE } else { HOLD };
        let mut plan = self.0.plan.subscribe();
        loop {
            // What is in force now, not what was when the request came.
            caller.plan = plan.borrow_and_update().clone();
            let Some(network) = Shared::network(&caller.plan, Some(caller.server), caller.peer).cloned() else {
                return AppBody::Bytes(503, TEXT, b"no network is in service\n".to_vec());
            };
            caller.network = network;
            let Some(decision) = self.0.assignment(caller.id, &caller.network) else {
                return AppBody::NotFound("this machine was just forgotten; start it again".into());
            };
            match decision.value {
                Boot::Wait => {}
                Boot::Menu if menu || gpxe => {}
                boot => {
                    let unassigned = decision.because.is_unknown();
                    return self.give(caller, &boot, &decision.because.to_string(), unassigned).await;
                }
            }
            let left = self.wait_left(caller);
            if left == Some(Duration::ZERO) {
                return self.give(caller, &Boot::Local, "nothing was assigned within `wait-timeout`", false).await;
            }
            self.waits(caller, &decision.because.to_string());
            let next = left.map_or(until, |left| until.min(tokio::time::Instant::now() + left));
            if tokio::time::timeout_at(next, plan.changed()).await.is_err() && next >= until {
                return self.script(caller, &Boot::Wait, None, menu);
            }
        }
    }

    /// A machine may wait since before the engine was started: only its request tells of it.
    fn waits(&self, caller: &Caller, because: &str) {
        let known = self.0.state().hosts.get(&caller.id).is_some_and(|t| t.host.stage == Stage::Waiting);
        if !known {
            let dialect = caller.dialect.as_str().to_owned();
            let kind = EventKind::ScriptServed { boot: Boot::Wait, dialect, because: because.to_owned() };
            self.0.report(Some(caller.who.clone()), kind);
        }
    }

    /// How long this machine may still wait; `None`: for ever.
    fn wait_left(&self, caller: &Caller) -> Option<Duration> {
        let timeout = caller.plan.lab.networks.get(caller.network.index)?.wait_timeout;
        if timeout.is_zero() {
            return None;
        }
        let state = self.0.state();
        let waits = state.hosts.get(&caller.id).filter(|tracked| tracked.host.stage == Stage::Waiting);
        let waited = waits.and_then(|waits| Some(Now::read().boot.saturating_sub(waits.entered?)));
        Some(timeout.saturating_sub(waited.unwrap_or_default()))
    }

    /// The menu's choice, which holds for this boot only. Only a machine that is given the menu may choose.
    async fn choose(&self, caller: &Caller, to: &str) -> AppBody {
        let decision = self.0.assignment(caller.id, &caller.network);
        if decision.is_none_or(|d| d.value != Boot::Menu) {
            return self.assigned(caller).await;
        }
        let iscsi = |name: &str| {
            let disk = caller.plan.lab.disks.iter().find(|d| d.name.as_str() == name)?.name.clone();
            Some(Boot::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None }))
        };
        let install = |name: &str| {
            let profile = caller.plan.lab.profiles.iter().find(|p| p.name.as_str() == name)?.name.clone();
            Some(Boot::Install(Install { profile, then: InstallThen::Local }))
        };
        let boot = match to.split_once(':') {
            Some(("iscsi", name)) => iscsi(name),
            Some(("install", name)) => install(name),
            _ if to == "local" => Some(Boot::Local),
            _ if to == "wait" => Some(Boot::Wait),
            _ => None,
        };
        match boot {
            Some(Boot::Wait) => {
                self.waits(caller, "chosen in the machine's menu");
                self.script(caller, &Boot::Wait, None, true)
            }
            Some(boot) => self.give(caller, &boot, "chosen in the machine's menu", false).await,
            None => AppBody::NotFound("the menu has no such entry".into()),
        }
    }

    fn step(&self, caller: &Caller, name: &str) -> AppBody {
        let ok = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if ok {
            self.0.report(Some(caller.who.clone()), EventKind::ScriptStep { step: name.to_owned() });
        }
        text("ok\n".into())
    }

    fn error(&self, caller: &Caller, query: &[(String, String)]) -> AppBody {
        let step = printable(value(query, "step").unwrap_or("script"));
        let code = value(query, "code").and_then(error_code).unwrap_or(0);
        self.0.report(Some(caller.who.clone()), EventKind::ScriptError { step, code });
        text("ok\n".into())
    }

    fn media(&self, profile: &str, rest: &[&str]) -> AppBody {
        let plan = self.0.plan.borrow().clone();
        let Some(profile) = plan.lab.profiles.iter().find(|p| p.name.as_str() == profile) else {
            return AppBody::NotFound(format!("there is no profile {} in lab.toml", printable(profile)));
        };
        let (file, asked) = match rest {
            ["kernel", leaf] => (Some(&profile.kernel), leaf),
            ["hypervisor", leaf] => (profile.hypervisor.as_ref(), leaf),
            ["hypervisor", "efi", leaf] => (profile.hypervisor_efi.as_ref(), leaf),
            ["initrd", index, leaf] => (index.parse::<usize>().ok().and_then(|i| profile.initrds.get(i)), leaf),
            _ => return AppBody::NotFound("a profile has kernel, initrd and hypervisor".into()),
        };
        let named = |file: &std::path::PathBuf| file.file_name().is_some_and(|n| n.to_string_lossy() == **asked);
        match file.filter(|f| named(f)).map(|f| media::resolve(&self.0.folder.media(), f)) {
            Some(Ok(path)) => AppBody::File(path),
            Some(Err(error)) => AppBody::Forbidden(error.to_string()),
            None => AppBody::NotFound(format!("the profile {} has no such file", profile.name)),
        }
    }

    fn firmware(&self, name: &str) -> AppBody {
        match super::files::find(&self.0.plan.borrow(), name) {
            Some(path) => AppBody::File(path),
            None => AppBody::NotFound("there is no such boot file here".into()),
        }
    }

    /// The answer file, for the host that was given its token, until that host's next boot.
    async fn answers(&self, request: &AppRequest, mac: &str, token: &str, leaf: &str) -> AppReply {
        let caller = match self.caller(request, mac).await {
            Ok(caller) => caller,
            Err(reply) => return reply,
        };
        let who = caller.who.clone();
        let install = self.0.state().boots.admits(caller.id, token).cloned();
        let Some(install) = install else {
            let why = "this answer file is another machine's, or of an installation that is over";
            return AppReply { who, body: AppBody::Forbidden(why.into()) };
        };
        let profile = caller.plan.lab.profile(&install.profile).cloned();
        let Some((profile, file)) = profile.and_then(|p| p.answers.clone().map(|a| (p, a))) else {
            return AppReply { who, body: AppBody::NotFound("the profile has no answer file any more".into()) };
        };
        match leaf {
            "preseed.cfg" | "ks.cfg" | "user-data" => {}
            "meta-data" => {
                let id = caller.mac.hyphenated();
                return AppReply { who, body: text(format!("instance-id: {id}\n")) };
            }
            "vendor-data" | "network-config" => return AppReply { who, body: text(String::new()) },
            _ => return AppReply { who, body: AppBody::NotFound("there is no such answer file".into()) },
        }
        let values = self.values(&caller, &install.then, token);
        let folder = self.0.folder.media();
        let rendered = tokio::task::spawn_blocking(move || {
            let path = media::resolve(&folder, &file)?;
            answers::render(&path, &answers::read(&path)?, &values)
        })
        .await;
        match rendered {
            Ok(Ok(rendered)) => {
                if request.method == "GET" {
                    let served = EventKind::AnswersServed { profile: profile.name.to_string() };
                    self.0.report(Some(who.clone()), served);
                    self.0.consume(caller.id, profile.name.as_str(), "its answer file was fetched");
                }
                AppReply { who, body: text(rendered) }
            }
            Ok(Err(error)) => AppReply { who, body: AppBody::Bytes(500, TEXT, format!("{error}\n").into_bytes()) },
            Err(_) => {
                AppReply { who, body: AppBody::Bytes(500, TEXT, b"the answer file could not be made\n".to_vec()) }
            }
        }
    }

    fn values(&self, caller: &Caller, then: &InstallThen, token: &str) -> answers::Values {
        let state = self.0.state();
        let entry = state.entry(caller.id).and_then(|i| state.lab.hosts.get(i));
        let hyphenated = caller.mac.hyphenated();
        let host = state.hosts.get(&caller.id).map(|t| &t.host);
        let target = match then {
            InstallThen::Iscsi(iscsi) => caller.plan.lab.disk(&iscsi.disk).map(|d| d.iqn.clone()),
            InstallThen::Local => None,
        };
        answers::Values {
            hostname: entry
                .and_then(|e| e.name.as_ref())
                .map_or_else(|| format!("host-{}", hyphenated.replace('-', "")), ToString::to_string),
            mac: caller.mac.to_string(),
            ip: Some(caller.peer),
            group: entry.and_then(|e| e.group.as_ref()).map(ToString::to_string),
            server: caller.server,
            base_url: caller.base.clone(),
            answers_url: format!("{}/answers/{hyphenated}/{token}", caller.base),
            serial: host.and_then(|h| h.serial.as_deref()).map(answers::harmless),
            uuid: state.directory.uuid(caller.id).map(|u| u.to_string()),
            initiator: initiator_name(caller.mac),
            target,
            domain: caller.plan.lab.networks.get(caller.network.index).and_then(|n| n.domain.clone()),
        }
    }
}

fn text(text: String) -> AppBody {
    AppBody::Bytes(200, TEXT, text.into_bytes())
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// A client's string for events and the window: one line, of bounded length.
fn printable(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(128).collect()
}

/// iPXE's `${errno}`: hexadecimal with `0x`, or a number.
fn error_code(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok().or_else(|| u32::from_str_radix(text, 16).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipxes_error_number_is_read_in_each_of_its_forms() {
        assert_eq!(error_code("0x2d0c618e"), Some(0x2d0c_618e));
        assert_eq!(error_code("755786126"), Some(0x2d0c_618e));
        assert_eq!(error_code("2d0c618e"), Some(0x2d0c_618e));
        assert_eq!(error_code(""), None);
    }

    #[test]
    fn only_the_last_file_proves_an_installer_without_answers() {
        let profile = Profile {
            name: "live".parse().unwrap(),
            kernel: "linux".into(),
            initrds: vec!["a.img".into(), "b.img".into()],
            args: String::new(),
            answers: None,
            kind: None,
            arch: vec![],
            hypervisor: None,
            hypervisor_efi: None,
            hypervisor_args: String::new(),
            iscsi_args: None,
        };
        assert!(!is_last(&profile, &["media", "live", "kernel", "linux"]));
        assert!(!is_last(&profile, &["media", "live", "initrd", "0", "a.img"]));
        assert!(is_last(&profile, &["media", "live", "initrd", "1", "b.img"]));
        let bare = Profile { initrds: vec![], ..profile };
        assert!(is_last(&bare, &["media", "live", "kernel", "linux"]));
    }
}
