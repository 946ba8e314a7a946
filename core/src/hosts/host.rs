//! One machine, folded from its events.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::paths::{http_stage, is_bulk, is_optional, leaf, part_of};
use super::progress::Meter;
use super::timeline::said;
use crate::api::{ClientKind, Event, EventKind, Progress, Stage, Step, StepPart, StepState};
use crate::boot::Arch;
use crate::lab::{Boot, IscsiBoot, IscsiVia};

/// A system whose last session ended and that does not come back within this time is off.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(20);

/// A waiting machine asks again every 25 s, one with gPXE every ten minutes: one that does not has left.
const WAITS_WITHIN: SignedDuration = SignedDuration::from_secs(120);
const GPXE_WAITS_WITHIN: SignedDuration = SignedDuration::from_secs(20 * 60);
/// A machine on the way to its system is heard at each step. What it does after so long a silence is nothing that is seen here.
const BOOTS_WITHIN: SignedDuration = SignedDuration::from_secs(15 * 60);

/// What an event changed, for those who persist or show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Something worth keeping in lab.db: address, identity, inventory.
    pub record: bool,
    /// A new boot began: findings of the last one are history.
    pub new_boot: bool,
    /// What is remembered of this boot is out of date.
    pub boot: bool,
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
    /// What it was given in this boot, once it asked.
    pub given: Option<Boot>,
    /// First sight ever.
    pub first_seen: Option<Timestamp>,
    /// Last sign of life.
    pub last_seen: Option<Timestamp>,
    /// It was to be woken then, and nothing came of it since.
    pub woken: Option<Timestamp>,
    pub(super) meter: Option<(String, Meter)>,
    pub(super) sessions: Vec<(String, u16, bool)>,
    pub(super) sessions_ended: Option<Timestamp>,
    /// Until when it has its address, where we gave it.
    leased: Option<Timestamp>,
    /// When it was heard before the event that is taken in.
    pub(super) heard: Option<Timestamp>,
    /// The number of that event.
    pub(super) at_event: u64,
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
        let before = (self.stage, self.timeline.len());
        (self.heard, self.at_event) = (self.last_seen, event.seq);
        let changed = self.take_in(event);
        Changed { boot: changed.new_boot || before != (self.stage, self.timeline.len()), ..changed }
    }

    fn take_in(&mut self, event: &Event) -> Changed {
        let now = event.time;
        let mut changed = Changed::default();
        // What a person does about a machine that is off is no sign of its life.
        match event.kind {
            EventKind::WakeSent { .. } => {
                self.woken = Some(now);
                return changed;
            }
            EventKind::Assigned { .. } => return changed,
            _ => {}
        }
        if self.first_seen.is_none() {
            self.first_seen = Some(now);
            changed.record = true;
        }
        self.last_seen = Some(now);
        self.woken = None;
        match &event.kind {
            EventKind::DhcpDiscover { client, arch, hostname, secs, .. } => {
                changed = self.discover(now, *client, *arch, *secs, changed);
                if hostname.is_some() && self.hostname != *hostname {
                    self.hostname.clone_from(hostname);
                    changed.record = true;
                }
            }
            EventKind::DhcpOffer { .. } => {}
            EventKind::DhcpAck { client, address, file, root_path, disk, lease_seconds } => {
                if let Some(disk) = disk.as_ref().and_then(|disk| disk.parse().ok()) {
                    self.given =
                        Some(Boot::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::RootPath, writes: None }));
                }
                if let Some(address) = address {
                    changed.record |= self.ip != Some((*address).into());
                    self.ip = Some((*address).into());
                    self.leased = now.checked_add(SignedDuration::from_secs((*lease_seconds).into())).ok();
                }
                self.acknowledged(now, *client, file.as_deref(), root_path.as_deref());
            }
            EventKind::DhcpNak { address, reason } => {
                self.note(
                    now,
                    self.stage,
                    StepState::Failed,
                    said("refused", &[("address", address), ("reason", reason)]),
                );
            }
            EventKind::DhcpRelease { address } if self.ip == Some((*address).into()) => {
                self.ip = None;
                changed.record = true;
            }
            EventKind::TftpRequest { file, .. } => {
                self.asks_again(file, false);
                self.load(now, Stage::Firmware, file, 0, 0);
            }
            EventKind::TftpUnanswered { tries, .. } => self.again(*tries),
            EventKind::TcpRetransmits { packets, .. } => self.again(*packets),
            EventKind::TftpProgress { file, sent, total } => self.load(now, Stage::Firmware, file, *sent, *total),
            EventKind::TftpDone { file, bytes, .. } => self.loaded(now, Stage::Firmware, file, *bytes),
            EventKind::TftpAborted { file, probe, sent, .. } => {
                if *probe {
                    self.meter = None;
                } else {
                    self.lost(now, file, *sent, "stopped");
                }
            }
            EventKind::TftpFailed { file, message, .. } if !is_optional(file) => {
                self.note(now, Stage::Firmware, StepState::Failed, format!("{file}: {message}"));
                self.enter(now, Stage::Failed);
            }
            EventKind::HttpProgress { path, sent, total } => self.load(now, http_stage(path), path, *sent, *total),
            EventKind::HttpDone { path, bytes, .. } if is_bulk(path, event.source) => {
                self.loaded(now, http_stage(path), path, *bytes);
            }
            EventKind::HttpAborted { path, sent, .. } if is_bulk(path, event.source) => {
                self.lost(now, path, *sent, "closed");
            }
            EventKind::HttpRequest { path, status, .. } if is_bulk(path, event.source) && !is_optional(path) => {
                if *status < 400 {
                    self.asks_again(path, true);
                    self.load(now, http_stage(path), path, 0, 0);
                } else {
                    self.note(now, http_stage(path), StepState::Failed, format!("{}: HTTP {status}", leaf(path)));
                    self.is_part(part_of(path));
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
                let code = format!("{code:08x}");
                let text = said("script-failed", &[("step", step), ("code", &code)]);
                self.note(now, self.stage, StepState::Failed, text);
                self.enter(now, Stage::Failed);
            }
            EventKind::AnswersServed { profile } => {
                self.step(now, Stage::Installing, said("answers", &[("profile", profile)]));
            }
            EventKind::InstallConsumed { profile, next, .. } => {
                self.step(now, Stage::Installing, said("installs", &[("profile", profile), ("next", next)]));
            }
            EventKind::IscsiLogin { target, firmware, session, .. } => {
                self.sessions.push((target.clone(), *session, *firmware));
                self.sessions_ended = None;
                let stage = if *firmware { Stage::SanLogin } else { Stage::OsLogin };
                // A kernel that was started directly asks the BIOS for its disks, and iPXE logs in once more for that.
                let behind = *firmware && self.stage == Stage::OsStarted;
                if self.stage != Stage::Running && !behind {
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
                let text = said("sent-on", &[("target", target), ("to", to)]);
                self.note(now, Stage::SanLogin, StepState::Done, text);
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
        let gone = self.sessions_ended.is_some_and(|at| now.duration_since(at) > GONE_AFTER)
            && matches!(self.stage, Stage::OsLogin | Stage::Running);
        if gone {
            self.is_gone(now);
        }
        gone
    }

    /// This computer's clock was set forward by so much: what silence is measured from is told by the new time. Steps keep the times at
    /// which they were seen.
    pub fn clock_set(&mut self, by: SignedDuration) {
        let Self { since, last_seen, woken, sessions_ended, leased, heard, meter, .. } = self;
        for at in [since, last_seen, woken, sessions_ended, leased, heard].into_iter().flatten() {
            *at = at.checked_add(by).unwrap_or(*at);
        }
        if let Some((_, meter)) = meter {
            meter.clock_set(by);
        }
    }

    /// A machine that has fallen silent where it would be heard, and of which nobody knows anything wrong, is off, too. True when it is.
    pub fn fell_silent(&mut self, now: Timestamp) -> bool {
        let silent = self.patience().zip(self.last_seen).is_some_and(|(most, heard)| now.duration_since(heard) > most);
        // A system renews its address long before it would lose it.
        let let_go = self.stage == Stage::Running && self.leased.is_some_and(|until| now > until);
        let silent = self.sessions.is_empty() && (silent || let_go);
        if silent {
            self.is_gone(now);
        }
        silent
    }

    fn is_gone(&mut self, now: Timestamp) {
        self.close_step(now, StepState::Done);
        self.enter(now, Stage::Absent);
        self.meter = None;
        self.sessions_ended = None;
    }

    /// How long it may be silent where it is now; `None`: a kernel that works, or somebody who looks at a menu, may be silent for ever.
    fn patience(&self) -> Option<SignedDuration> {
        match self.stage {
            Stage::Waiting if self.given == Some(Boot::Menu) => None,
            Stage::Waiting if self.client == Some(ClientKind::Gpxe) => Some(GPXE_WAITS_WITHIN),
            Stage::Waiting => Some(WAITS_WITHIN),
            Stage::Seen | Stage::Addressed | Stage::Firmware | Stage::Ipxe | Stage::Script | Stage::Loading => {
                Some(BOOTS_WITHIN)
            }
            _ => None,
        }
    }

    /// The engine stopped: whatever was going on is no longer known.
    pub fn engine_stopped(&mut self, now: Timestamp) {
        self.close_step(now, StepState::Done);
        self.meter = None;
        // Its system has lost its disk; where the engine is soon back, it logs in again.
        self.sessions_ended = (!self.sessions.is_empty()).then_some(now);
        self.sessions.clear();
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
            self.given = None;
            changed.new_boot = true;
        }
        if !new_boot && self.repeats(client) {
            self.again(1);
            return changed;
        }
        let asks = |who: &str| match said(who, &[]) {
            asks if secs > 0 && new_boot => said("late", &[("asks", &asks), ("secs", &secs)]),
            asks => asks,
        };
        match client {
            ClientKind::PxeRom => self.step(now, Stage::Seen, asks("pxe-asks")),
            ClientKind::HttpBoot => self.step(now, Stage::Seen, asks("http-boot-asks")),
            ClientKind::Bootp => self.step(now, Stage::Seen, asks("bootp-asks")),
            // iPXE packs other things into `secs`: it says nothing about time.
            ClientKind::Ipxe => self.step(now, Stage::Ipxe, said("ipxe-asks", &[])),
            ClientKind::Gpxe => self.step(now, Stage::Ipxe, said("gpxe-asks", &[])),
            ClientKind::Os => self.system_asks(now),
        }
        changed
    }

    /// Whether this program asked the same just before and was not answered since.
    fn repeats(&self, client: ClientKind) -> bool {
        let last = self.timeline.last().filter(|step| step.state == StepState::Active);
        match client {
            ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Bootp => {
                last.is_some_and(|step| step.stage == Stage::Seen)
            }
            ClientKind::Ipxe => {
                last.is_some_and(|step| step.stage == Stage::Ipxe && step.text == said("ipxe-asks", &[]))
            }
            ClientKind::Gpxe => {
                last.is_some_and(|step| step.stage == Stage::Ipxe && step.text == said("gpxe-asks", &[]))
            }
            ClientKind::Os => false,
        }
    }

    fn system_asks(&mut self, now: Timestamp) {
        match self.stage {
            Stage::Loading | Stage::SanLogin | Stage::Script | Stage::OsStarted => {
                let asked = self.timeline.last().is_some_and(|s| s.part == Some(StepPart::SystemAddress));
                // It asks again, or renews what it got: that is the same step.
                if !asked {
                    self.step(now, Stage::OsStarted, said("system-asks", &[]));
                    self.is_part(Some(StepPart::SystemAddress));
                }
            }
            Stage::Absent | Stage::Local | Stage::Seen => {
                self.step(now, Stage::Running, said("system-asks", &[]));
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, now: Timestamp, client: ClientKind, file: Option<&str>, root_path: Option<&str>) {
        let ip = self.ip.map_or_else(String::new, |ip| ip.to_string());
        match client {
            ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Bootp => {
                let text = match file {
                    Some(file) => said("boots", &[("address", &ip), ("file", &leaf(file))]),
                    None => said("no-file", &[("address", &ip)]),
                };
                self.step(now, Stage::Addressed, text.trim().to_owned());
            }
            ClientKind::Ipxe | ClientKind::Gpxe => {
                let what = root_path.or(file).map(leaf).unwrap_or_default();
                self.step(now, Stage::Ipxe, format!("{ip} {what}").trim().to_owned());
            }
            ClientKind::Os => {
                let last = self.timeline.last_mut().filter(|s| s.part == Some(StepPart::SystemAddress));
                if let Some(step) = last.filter(|s| s.state == StepState::Active) {
                    step.text = said("for-system", &[("address", &ip)]);
                    self.close_step(now, StepState::Done);
                }
            }
        }
    }

    fn script(&mut self, now: Timestamp, boot: &Boot) {
        self.given = Some(boot.clone());
        match boot {
            Boot::Wait => self.step(now, Stage::Waiting, said("waits", &[])),
            Boot::Menu => self.step(now, Stage::Waiting, said("menu", &[])),
            other => self.step(now, Stage::Script, other.to_string()),
        }
    }

    fn script_step(&mut self, now: Timestamp, step: &str) {
        match step {
            "local" => self.step(now, Stage::Local, said("local", &[])),
            "kernel-start" => self.step(now, Stage::OsStarted, said("kernel", &[])),
            "san-start" => self.step(now, Stage::Script, said("connects", &[])),
            other => self.note(now, self.stage, StepState::Done, other.to_owned()),
        }
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
