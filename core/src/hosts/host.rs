//! One machine, folded from its events.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::progress::Meter;
use crate::api::{ClientKind, Event, EventKind, Progress, Stage, Step, StepState};
use crate::boot::Arch;
use crate::lab::Boot;

/// The timeline keeps the newest steps.
const MAX_STEPS: usize = 200;
/// A system whose last session ended and that does not come back within this time is off.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(20);

/// What an event changed, for those who persist or show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Something worth keeping in lab.db: address, identity, inventory.
    pub record: bool,
    /// A new boot began: findings of the last one are history.
    pub new_boot: bool,
}

/// See the module's text. Times are wall times of the events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// Address it holds.
    pub ip: Option<IpAddr>,
    /// Architecture that its firmware named.
    pub arch: Option<Arch>,
    /// Who spoke last.
    pub client: Option<ClientKind>,
    /// What it calls itself.
    pub hostname: Option<String>,
    /// What iPXE told.
    pub manufacturer: Option<String>,
    /// Model.
    pub product: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// iPXE's inventory came since the engine started.
    pub reported: bool,
    /// How far it is.
    pub stage: Stage,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The steps of this boot.
    pub timeline: Vec<Step>,
    /// First sight ever.
    pub first_seen: Option<Timestamp>,
    /// Last sign of life.
    pub last_seen: Option<Timestamp>,
    meter: Option<(String, Meter)>,
    sessions: Vec<(String, u16, bool)>,
    sessions_ended: Option<Timestamp>,
}

impl Host {
    /// What it loads now, and its name.
    #[must_use]
    pub fn activity(&self) -> Option<(&str, Progress)> {
        self.meter.as_ref().map(|(name, meter)| (name.as_str(), meter.progress()))
    }

    /// Runs from a disk of ours: its sessions would be cut by a stop.
    #[must_use]
    pub fn on_our_disk(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// iPXE runs on it, or is just being started: from the last byte of the boot file until a kernel or the local disk takes over.
    #[must_use]
    pub fn runs_ipxe(&self) -> bool {
        match self.stage {
            Stage::Ipxe | Stage::Script | Stage::Waiting | Stage::Loading | Stage::SanLogin => true,
            Stage::Firmware => self.timeline.last().is_some_and(|s| s.state == StepState::Done),
            _ => false,
        }
    }

    /// Takes in one event that is about this machine.
    pub fn apply(&mut self, event: &Event) -> Changed {
        let now = event.time;
        let mut changed = Changed::default();
        if self.first_seen.is_none() {
            self.first_seen = Some(now);
            changed.record = true;
        }
        self.last_seen = Some(now);
        match &event.kind {
            EventKind::DhcpDiscover { client, arch, hostname, secs, .. } => {
                changed = self.discover(now, *client, *arch, *secs, changed);
                if hostname.is_some() && self.hostname != *hostname {
                    self.hostname.clone_from(hostname);
                    changed.record = true;
                }
            }
            EventKind::DhcpOffer { .. } => {}
            EventKind::DhcpAck { client, address, file, root_path, .. } => {
                if let Some(address) = address {
                    changed.record |= self.ip != Some((*address).into());
                    self.ip = Some((*address).into());
                }
                self.acknowledged(now, *client, file.as_deref(), root_path.as_deref());
            }
            EventKind::DhcpNak { address, reason } => {
                self.note(now, self.stage, StepState::Failed, format!("{address} refused: {reason}"));
            }
            EventKind::DhcpRelease { address } if self.ip == Some((*address).into()) => {
                self.ip = None;
                changed.record = true;
            }
            EventKind::TftpRequest { file, .. } => self.load(now, Stage::Firmware, file, 0, 0),
            EventKind::TftpProgress { file, sent, total } => self.load(now, Stage::Firmware, file, *sent, *total),
            EventKind::TftpDone { file, bytes, .. } => self.loaded(now, Stage::Firmware, file, *bytes),
            EventKind::TftpAborted { file, probe, sent, .. } => {
                if *probe {
                    self.meter = None;
                } else {
                    self.lost(now, file, *sent, "the machine stopped the transfer");
                }
            }
            EventKind::TftpFailed { file, message, .. } if !is_optional(file) => {
                self.note(now, Stage::Firmware, StepState::Failed, format!("{file}: {message}"));
                self.enter(now, Stage::Failed);
            }
            EventKind::HttpProgress { path, sent, total } => self.load(now, http_stage(path), path, *sent, *total),
            EventKind::HttpDone { path, bytes, .. } if is_bulk(path) => {
                self.loaded(now, http_stage(path), path, *bytes);
            }
            EventKind::HttpAborted { path, sent, .. } if is_bulk(path) => {
                self.lost(now, path, *sent, "the machine closed the connection");
            }
            EventKind::HttpRequest { path, status, .. } if is_bulk(path) && !is_optional(path) => {
                if *status < 400 {
                    self.load(now, http_stage(path), path, 0, 0);
                } else {
                    self.note(now, http_stage(path), StepState::Failed, format!("{}: HTTP {status}", leaf(path)));
                }
            }
            EventKind::ScriptServed { boot, .. } => self.script(now, boot),
            EventKind::Inventory { serial, manufacturer, product, memory_mib, .. } => {
                self.reported = true;
                for (mine, told) in
                    [(&mut self.serial, serial), (&mut self.manufacturer, manufacturer), (&mut self.product, product)]
                {
                    if told.is_some() {
                        mine.clone_from(told);
                    }
                }
                self.memory_mib = memory_mib.or(self.memory_mib);
                changed.record = true;
            }
            EventKind::ScriptStep { step } => self.script_step(now, step),
            EventKind::ScriptError { step, code } => {
                self.note(now, self.stage, StepState::Failed, format!("{step} failed, code {code:08x}"));
                self.enter(now, Stage::Failed);
            }
            EventKind::AnswersServed { profile } => {
                self.step(now, Stage::Installing, format!("{profile}: answer file fetched"));
            }
            EventKind::InstallConsumed { profile, next, .. } => {
                self.step(now, Stage::Installing, format!("{profile} runs; next boot: {next}"));
            }
            EventKind::IscsiLogin { target, firmware, session, .. } => {
                self.sessions.push((target.clone(), *session, *firmware));
                self.sessions_ended = None;
                let stage = if *firmware { Stage::SanLogin } else { Stage::OsLogin };
                if self.stage != Stage::Running {
                    self.step(now, stage, target.clone());
                }
            }
            EventKind::IscsiProgress { target, session, read, written } => {
                self.san_progress(now, target, *session, read.saturating_add(*written));
            }
            EventKind::IscsiRefused { target, reason, .. } => {
                self.note(now, Stage::SanLogin, StepState::Failed, format!("{target}: {reason}"));
                self.enter(now, Stage::Failed);
            }
            EventKind::IscsiRedirected { target, to, .. } => {
                self.note(now, Stage::SanLogin, StepState::Done, format!("{target}: sent on to {to}"));
            }
            EventKind::IscsiEnded { target, session, .. } => {
                self.sessions.retain(|(t, s, _)| !(t == target && s == session));
                if self.sessions.is_empty() {
                    self.sessions_ended = Some(now);
                    self.meter = None;
                }
            }
            EventKind::IscsiError { target, message, .. } => {
                self.note(now, self.stage, StepState::Failed, format!("{target}: {message}"));
            }
            _ => {}
        }
        changed
    }

    /// Time passes: a system that logged out of its disk and did not come back is off. True when that changed something.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        let gone = self.sessions_ended.is_some_and(|at| now.duration_since(at) > GONE_AFTER);
        if gone && matches!(self.stage, Stage::OsLogin | Stage::Running) {
            self.close_step(now, StepState::Done);
            self.enter(now, Stage::Absent);
            self.sessions_ended = None;
            return true;
        }
        false
    }

    /// The engine stopped: whatever was going on is no longer known.
    pub fn engine_stopped(&mut self, now: Timestamp) {
        self.close_step(now, StepState::Done);
        self.meter = None;
        self.sessions.clear();
        self.sessions_ended = None;
    }

    fn discover(
        &mut self,
        now: Timestamp,
        client: ClientKind,
        arch: Option<Arch>,
        secs: u16,
        mut changed: Changed,
    ) -> Changed {
        let firmware = matches!(client, ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Bootp);
        let ipxe = matches!(client, ClientKind::Ipxe | ClientKind::Gpxe);
        let early = matches!(self.stage, Stage::Seen | Stage::Addressed | Stage::Firmware);
        let new_boot = (firmware && !(self.client == Some(client) && matches!(self.stage, Stage::Seen)))
            || (ipxe && !early && self.stage != Stage::Ipxe)
            || (self.stage == Stage::Absent);
        self.client = Some(client);
        if client != ClientKind::Os && arch.is_some() && self.arch != arch {
            self.arch = arch;
            changed.record = true;
        }
        if new_boot && client != ClientKind::Os {
            self.timeline.clear();
            self.meter = None;
            changed.new_boot = true;
        }
        let late = if secs > 0 && new_boot { format!(", {secs} s after its first try") } else { String::new() };
        match client {
            ClientKind::PxeRom => self.step(now, Stage::Seen, format!("PXE firmware asks{late}")),
            ClientKind::HttpBoot => self.step(now, Stage::Seen, format!("UEFI HTTP Boot asks{late}")),
            ClientKind::Bootp => self.step(now, Stage::Seen, format!("BOOTP client asks{late}")),
            // iPXE packs other things into `secs`: it says nothing about time.
            ClientKind::Ipxe => self.step(now, Stage::Ipxe, "iPXE asks".into()),
            ClientKind::Gpxe => self.step(now, Stage::Ipxe, "gPXE asks".into()),
            ClientKind::Os => self.system_asks(now),
        }
        changed
    }

    fn system_asks(&mut self, now: Timestamp) {
        match self.stage {
            Stage::Loading | Stage::SanLogin | Stage::Script => {
                self.step(now, Stage::OsStarted, "system asks for its address".into());
            }
            Stage::Absent | Stage::Local | Stage::Seen => {
                self.step(now, Stage::Running, "system asks for its address".into());
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, now: Timestamp, client: ClientKind, file: Option<&str>, root_path: Option<&str>) {
        let ip = self.ip.map_or_else(String::new, |ip| ip.to_string());
        match client {
            ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Bootp => {
                let text = match file {
                    Some(file) => format!("{ip} boots {}", leaf(file)),
                    None => format!("{ip} (no boot file)"),
                };
                self.step(now, Stage::Addressed, text.trim().to_owned());
            }
            ClientKind::Ipxe | ClientKind::Gpxe => {
                let what = root_path.or(file).map(leaf).unwrap_or_default();
                self.step(now, Stage::Ipxe, format!("{ip} {what}").trim().to_owned());
            }
            ClientKind::Os => {}
        }
    }

    fn script(&mut self, now: Timestamp, boot: &Boot) {
        match boot {
            Boot::Wait => self.step(now, Stage::Waiting, "waiting for a technician".into()),
            Boot::Menu => self.step(now, Stage::Waiting, "menu on its screen".into()),
            other => self.step(now, Stage::Script, other.to_string()),
        }
    }

    fn script_step(&mut self, now: Timestamp, step: &str) {
        match step {
            "local" => self.step(now, Stage::Local, "local disk".into()),
            "kernel-start" => self.step(now, Stage::OsStarted, "kernel started".into()),
            "san-start" => self.step(now, Stage::Script, "connects to its disk".into()),
            other => self.note(now, self.stage, StepState::Done, other.to_owned()),
        }
    }

    fn san_progress(&mut self, now: Timestamp, target: &str, session: u16, bytes: u64) {
        let system = self.sessions.iter().any(|(t, s, firmware)| t == target && *s == session && !firmware);
        match &mut self.meter {
            Some((name, meter)) if name == target => {
                meter.update(now, bytes, 0);
            }
            _ => self.meter = Some((target.to_owned(), Meter::start(now, bytes, 0))),
        }
        if let Some(step) = self.timeline.last_mut() {
            step.bytes = bytes;
        }
        let settled = self.since.is_some_and(|at| now.duration_since(at) > SignedDuration::from_secs(10));
        if system && settled && self.stage == Stage::OsLogin {
            self.step(now, Stage::Running, "runs from its disk".into());
        }
    }

    fn load(&mut self, now: Timestamp, stage: Stage, path: &str, sent: u64, total: u64) {
        let name = leaf(path);
        if self.meter.as_ref().is_none_or(|(n, _)| n != name) {
            self.meter = Some((name.to_owned(), Meter::start(now, 0, total)));
            self.step(now, stage, name.to_owned());
        }
        if let Some((_, meter)) = &mut self.meter {
            meter.update(now, sent, total);
        }
        if let Some(step) = self.timeline.iter_mut().rev().find(|s| s.text == name) {
            step.bytes = sent;
        }
    }

    fn loaded(&mut self, now: Timestamp, stage: Stage, path: &str, bytes: u64) {
        // Told late, when the machine is further already: its step is completed, the stage stays.
        let name = leaf(path);
        if self.stage != stage
            && let Some(step) = self.timeline.iter_mut().rev().find(|s| s.stage == stage && s.text == name)
        {
            step.bytes = bytes;
            return;
        }
        self.load(now, stage, path, bytes, bytes);
        self.meter = None;
        self.close_step(now, StepState::Done);
    }

    fn lost(&mut self, now: Timestamp, path: &str, sent: u64, why: &str) {
        self.meter = None;
        let name = leaf(path);
        if let Some(step) = self.timeline.iter_mut().rev().find(|s| s.text == name && s.state == StepState::Active) {
            step.bytes = sent;
            step.state = StepState::Failed;
            step.end = Some(now);
            step.text = format!("{name}: {why}");
        }
    }

    /// Begins a step, unless it is the one that goes on, and moves to its stage.
    fn step(&mut self, now: Timestamp, stage: Stage, text: String) {
        let same = self.timeline.last().is_some_and(|s| s.stage == stage && s.text == text);
        if !same {
            self.close_step(now, StepState::Done);
            self.push(Step { stage, start: now, end: None, text, state: StepState::Active, bytes: 0 });
        }
        self.enter(now, stage);
    }

    /// Something that took no time.
    fn note(&mut self, now: Timestamp, stage: Stage, state: StepState, text: String) {
        self.close_step(now, state);
        self.push(Step { stage, start: now, end: Some(now), text, state, bytes: 0 });
    }

    fn push(&mut self, step: Step) {
        if self.timeline.len() >= MAX_STEPS {
            self.timeline.remove(0);
        }
        self.timeline.push(step);
    }

    fn close_step(&mut self, now: Timestamp, state: StepState) {
        if let Some(last) = self.timeline.last_mut()
            && last.end.is_none()
        {
            last.end = Some(now);
            last.state = state;
        }
    }

    fn enter(&mut self, now: Timestamp, stage: Stage) {
        if self.stage != stage || self.since.is_none() {
            self.stage = stage;
            self.since = Some(now);
        }
    }
}

/// Files that iPXE asks for on the chance that they exist.
pub(crate) fn is_optional(file: &str) -> bool {
    leaf(file).eq_ignore_ascii_case("autoexec.ipxe")
}

/// Kernels, initrds and boot files: what deserves a bar. Scripts, marks and answers do not.
fn is_bulk(path: &str) -> bool {
    path.starts_with("/firmware/") || path.starts_with("/media/")
}

fn http_stage(path: &str) -> Stage {
    if path.starts_with("/firmware/") { Stage::Firmware } else { Stage::Loading }
}

fn leaf(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Source, VERSION};
    use crate::lab::{Install, InstallThen, IscsiBoot, IscsiVia};
    use crate::machine::Now;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    struct Story {
        host: Host,
        seconds: u64,
    }

    impl Story {
        fn new() -> Self {
            Self { host: Host::default(), seconds: 0 }
        }

        fn then(&mut self, kind: EventKind) -> Stage {
            self.seconds += 1;
            let time = Now::at(Duration::from_secs(self.seconds)).wall;
            let event =
                Event { v: VERSION, seq: self.seconds, time, host: None, mac: None, source: Source::Served, kind };
            self.host.apply(&event);
            self.host.stage
        }

        fn discover(&mut self, client: ClientKind) -> Stage {
            self.then(EventKind::DhcpDiscover {
                client,
                xid: 1,
                secs: 0,
                arch: Some(Arch::UefiX64),
                vendor: None,
                hostname: None,
                relay: None,
            })
        }

        fn ack(&mut self, client: ClientKind, file: &str) -> Stage {
            self.then(EventKind::DhcpAck {
                client,
                address: Some(Ipv4Addr::new(192, 168, 2, 20)),
                file: Some(file.into()),
                root_path: None,
                lease_seconds: 1800,
            })
        }

        fn reaches_script(&mut self) {
            assert_eq!(self.discover(ClientKind::PxeRom), Stage::Seen);
            assert_eq!(self.ack(ClientKind::PxeRom, "snponly.efi"), Stage::Addressed);
            let file = || "snponly.efi".to_owned();
            assert_eq!(self.then(EventKind::TftpRequest { file: file(), options: vec![] }), Stage::Firmware);
            self.then(EventKind::TftpAborted { file: file(), sent: 0, probe: true, message: "User aborted".into() });
            self.then(EventKind::TftpProgress { file: file(), sent: 500, total: 1000 });
            assert_eq!(self.then(EventKind::TftpDone { file: file(), bytes: 1000, millis: 3 }), Stage::Firmware);
            assert_eq!(self.discover(ClientKind::Ipxe), Stage::Ipxe);
            assert_eq!(self.ack(ClientKind::Ipxe, "http://192.168.2.1/boot/m/boot.ipxe"), Stage::Ipxe);
        }
    }

    fn install() -> Boot {
        Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Local })
    }

    #[test]
    fn an_installation_is_followed_from_firmware_to_installer() {
        let mut story = Story::new();
        story.reaches_script();
        let served = |boot: Boot| EventKind::ScriptServed { boot, dialect: "ipxe".into(), because: String::new() };
        assert_eq!(story.then(served(Boot::Wait)), Stage::Waiting);
        assert_eq!(story.then(served(install())), Stage::Script);
        let path = "/media/debian-12/kernel/linux".to_owned();
        let request = EventKind::HttpRequest { method: "GET".into(), path: path.clone(), status: 200, agent: None };
        assert_eq!(story.then(request), Stage::Loading);
        story.then(EventKind::HttpProgress { path: path.clone(), sent: 4_000_000, total: 8_000_000 });
        let (name, progress) = story.host.activity().unwrap();
        assert_eq!((name, progress.done, progress.total, progress.rate), ("linux", 4_000_000, 8_000_000, 4_000_000));
        assert_eq!(story.then(EventKind::HttpDone { path, bytes: 8_000_000, millis: 2000 }), Stage::Loading);
        assert_eq!(story.host.activity(), None);
        assert_eq!(story.then(EventKind::ScriptStep { step: "kernel-start".into() }), Stage::OsStarted);
        story.discover(ClientKind::Os);
        assert_eq!(story.then(EventKind::AnswersServed { profile: "debian-12".into() }), Stage::Installing);
        assert!(story.host.timeline.iter().all(|s| s.state != StepState::Failed), "a size probe is no failure");
        let steps = story.host.timeline.len();
        assert!(story.host.timeline[..steps - 1].iter().all(|s| s.end.is_some()));
    }

    #[test]
    fn an_iscsi_root_is_followed_to_the_running_system_and_to_its_end() {
        let mut story = Story::new();
        story.reaches_script();
        let iscsi = IscsiBoot { disk: "d".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None };
        story.then(EventKind::ScriptServed {
            boot: Boot::Iscsi(iscsi),
            dialect: "ipxe".into(),
            because: String::new(),
        });
        let login = |firmware, session| EventKind::IscsiLogin {
            initiator: "i".into(),
            target: "t".into(),
            disk: "d".into(),
            firmware,
            session,
        };
        let ended = |session| EventKind::IscsiEnded { target: "t".into(), session, reason: "logout".into() };
        assert_eq!(story.then(login(true, 1)), Stage::SanLogin);
        story.then(ended(1));
        assert_eq!(story.then(login(false, 2)), Stage::OsLogin);
        story.seconds += 20;
        let moved = EventKind::IscsiProgress { target: "t".into(), session: 2, read: 1 << 20, written: 0 };
        assert_eq!(story.then(moved), Stage::Running);
        assert!(story.host.on_our_disk());
        story.then(ended(2));
        let at = |s| Now::at(Duration::from_secs(s)).wall;
        assert!(!story.host.tick(at(story.seconds + 5)), "a reconnect is still possible");
        assert!(story.host.tick(at(story.seconds + 30)));
        assert_eq!(story.host.stage, Stage::Absent);
    }

    #[test]
    fn a_machine_that_starts_over_gets_a_new_timeline() {
        let mut story = Story::new();
        story.reaches_script();
        story.then(EventKind::ScriptError { step: "kernel".into(), code: 0x2d0c_618e });
        assert_eq!(story.host.stage, Stage::Failed);
        assert_eq!(story.discover(ClientKind::PxeRom), Stage::Seen);
        assert_eq!(story.host.timeline.len(), 1);
        story.discover(ClientKind::PxeRom);
        assert_eq!(story.host.timeline.len(), 1, "a retransmission is not another boot");
    }
}
