//! One machine, folded from its events.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::progress::Meter;
use crate::api::{ClientKind, Event, EventKind, Progress, Source, Stage, Step, StepPart, StepState};
use crate::boot::Arch;
use crate::lab::{Boot, IscsiBoot, IscsiVia};
use crate::lang;

/// The timeline keeps the newest steps.
const MAX_STEPS: usize = 200;
/// A transfer of which nothing came for so long has a gap.
const GAP: SignedDuration = SignedDuration::from_secs(2);
/// Gaps of a step that are told.
const MAX_GAPS: usize = 8;
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
    meter: Option<(String, Meter)>,
    sessions: Vec<(String, u16, bool)>,
    sessions_ended: Option<Timestamp>,
    /// When it was heard before the event that is taken in.
    heard: Option<Timestamp>,
    /// The number of that event.
    at_event: u64,
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
            EventKind::DhcpAck { client, address, file, root_path, disk, .. } => {
                if let Some(disk) = disk.as_ref().and_then(|disk| disk.parse().ok()) {
                    self.given =
                        Some(Boot::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::RootPath, writes: None }));
                }
                if let Some(address) = address {
                    changed.record |= self.ip != Some((*address).into());
                    self.ip = Some((*address).into());
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

    /// A machine that has fallen silent where it would be heard, and of which nobody knows anything wrong, is off, too. True when it is.
    pub fn fell_silent(&mut self, now: Timestamp) -> bool {
        let silent = self.sessions.is_empty()
            && self.patience().zip(self.last_seen).is_some_and(|(most, heard)| now.duration_since(heard) > most);
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

    /// Something had to be repeated in the step that goes on.
    fn again(&mut self, times: u32) {
        if let Some(step) = self.timeline.last_mut().filter(|step| step.state == StepState::Active) {
            step.retries = step.retries.saturating_add(times);
        }
    }

    /// A file is asked for that is being loaded: from its beginning again, `moving` only where something of it came already.
    fn asks_again(&mut self, path: &str, moving: bool) {
        let loads = |(name, meter): &(String, Meter)| name == leaf(path) && (!moving || meter.progress().done > 0);
        if self.meter.as_ref().is_some_and(loads) {
            self.again(1);
        }
    }

    /// A transfer goes on, or ends: nothing came of it since the machine was heard last.
    fn note_gap(&mut self, now: Timestamp, name: &str) {
        let Some(heard) = self.heard.filter(|heard| now.duration_since(*heard) > GAP) else { return };
        let last = self.timeline.last_mut().filter(|s| s.state == StepState::Active && s.text == name);
        if let Some(step) = last.filter(|step| step.gaps.len() < MAX_GAPS) {
            step.gaps.push((heard.max(step.start), now));
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

    fn san_progress(&mut self, now: Timestamp, target: &str, session: u16, bytes: u64) {
        if self.stage == Stage::Loading {
            // The disk is only held for the system; what counts is the file that comes over HTTP.
            return;
        }
        let system = self.sessions.iter().any(|(t, s, firmware)| t == target && *s == session && !firmware);
        match &mut self.meter {
            Some((name, meter)) if name == target => {
                meter.update(now, bytes, 0);
            }
            _ => self.meter = Some((target.to_owned(), Meter::start(now, bytes, 0))),
        }
        if let Some(step) = self.timeline.last_mut().filter(|s| s.part.is_none()) {
            step.bytes = bytes;
        }
        let settled = self.since.is_some_and(|at| now.duration_since(at) > SignedDuration::from_secs(10));
        if system && settled && self.stage == Stage::OsLogin {
            self.step(now, Stage::Running, said("runs", &[]));
        }
    }

    fn load(&mut self, now: Timestamp, stage: Stage, path: &str, sent: u64, total: u64) {
        let name = leaf(path);
        if self.meter.as_ref().is_none_or(|(n, _)| n != name) {
            self.meter = Some((name.to_owned(), Meter::start(now, 0, total)));
            self.step(now, stage, name.to_owned());
            self.is_part(part_of(path));
        } else {
            self.note_gap(now, name);
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
        self.note_gap(now, name);
        if let Some(step) = self.timeline.iter_mut().rev().find(|s| s.text == name && s.state == StepState::Active) {
            step.bytes = sent;
            step.state = StepState::Failed;
            step.end = Some(now);
            step.text = said(why, &[("file", &name)]);
        }
    }

    /// Begins a step, unless it is the one that goes on, and moves to its stage.
    fn step(&mut self, now: Timestamp, stage: Stage, text: String) {
        let same = self.timeline.last().is_some_and(|s| s.stage == stage && s.text == text);
        if !same {
            self.close_step(now, StepState::Done);
            self.push(Step { stage, start: now, text, ..Step::default() });
        }
        self.enter(now, stage);
    }

    /// Something that took no time.
    fn note(&mut self, now: Timestamp, stage: Stage, state: StepState, text: String) {
        self.close_step(now, state);
        self.push(Step { stage, start: now, end: Some(now), text, state, ..Step::default() });
    }

    /// What of its stage the newest step is.
    fn is_part(&mut self, part: Option<StepPart>) {
        if let Some(last) = self.timeline.last_mut() {
            last.part = part;
        }
    }

    fn push(&mut self, step: Step) {
        if self.timeline.len() >= MAX_STEPS {
            self.timeline.remove(0);
        }
        self.timeline.push(Step { seq: self.at_event, ..step });
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

/// Files that programs ask for on the chance that they exist: iPXE its script, shim its revocations and certificates, GRUB its lists.
pub(crate) fn is_optional(file: &str) -> bool {
    let leaf = leaf(file).to_ascii_lowercase();
    let of_shim = ["revocations", "shim_certificate"].iter().any(|start| leaf.starts_with(start));
    leaf == "autoexec.ipxe" || (of_shim && leaf.ends_with(".efi")) || leaf.ends_with(".lst")
}

/// Kernels, initrds and boot files: what deserves a bar. Scripts, marks and answers do not. Of another server's paths nothing is known.
fn is_bulk(path: &str, source: Source) -> bool {
    path.starts_with("/firmware/")
        || path.starts_with("/media/")
        || (source == Source::Observed && !path.ends_with(".ipxe"))
}

fn http_stage(path: &str) -> Stage {
    if path.starts_with("/firmware/") { Stage::Firmware } else { Stage::Loading }
}

/// Which file of a profile a path is of: `/media/PROFILE/PART/…`, as the boot script names them.
fn part_of(path: &str) -> Option<StepPart> {
    let (_profile, rest) = path.strip_prefix("/media/")?.split_once('/')?;
    match rest.split_once('/')?.0 {
        "hypervisor" => Some(StepPart::Hypervisor),
        "kernel" => Some(StepPart::Kernel),
        "initrd" => Some(StepPart::Initrd),
        _ => None,
    }
}

fn leaf(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a step of the timeline says, by its id.
fn said(key: &str, params: &[lang::Param<'_>]) -> String {
    lang::fill(lang::sentence("step", key), params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::VERSION;
    use crate::hosts::{BootOutcome, BootRecord};
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
                disk: None,
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
    fn a_machine_that_waits_and_is_turned_off_is_gone() {
        let at = |s| Now::at(Duration::from_secs(s)).wall;
        let waits = |boot: Boot, client| {
            let mut story = Story::new();
            story.discover(client);
            let dialect = "ipxe".to_owned();
            assert_eq!(story.then(EventKind::ScriptServed { boot, dialect, because: String::new() }), Stage::Waiting);
            story
        };
        let asks = || EventKind::HttpRequest {
            method: "GET".into(),
            path: "/boot/52-54-00-00-00-01/wait.ipxe".into(),
            status: 200,
            agent: None,
        };
        let mut story = waits(Boot::Wait, ClientKind::Ipxe);
        for _ in 0..100 {
            story.seconds += 25;
            assert_eq!(story.then(asks()), Stage::Waiting);
            assert!(!story.host.fell_silent(at(story.seconds + 60)), "it asks again");
        }
        assert!(story.host.fell_silent(at(story.seconds + 121)));
        assert_eq!(story.host.stage, Stage::Absent);
        assert!(!waits(Boot::Wait, ClientKind::Gpxe).host.fell_silent(at(900)), "gPXE is held for ten minutes");
        assert!(!waits(Boot::Menu, ClientKind::Ipxe).host.fell_silent(at(86_400)), "nothing is heard of a menu");
    }

    #[test]
    fn a_boot_that_ends_without_a_word_is_over_but_not_a_system_that_runs() {
        let at = |s| Now::at(Duration::from_secs(s)).wall;
        let mut story = Story::new();
        story.reaches_script();
        assert!(!story.host.fell_silent(at(story.seconds + 600)));
        assert!(story.host.fell_silent(at(story.seconds + 1000)));
        assert_eq!(story.host.stage, Stage::Absent);
        let mut installs = Story::new();
        installs.reaches_script();
        installs.then(EventKind::ScriptStep { step: "kernel-start".into() });
        assert!(!installs.host.fell_silent(at(86_400)), "an installer may be silent for hours");
    }

    #[test]
    fn a_system_that_does_not_come_back_after_a_stop_is_gone() {
        let mut story = Story::new();
        let login = |session| EventKind::IscsiLogin {
            initiator: "i".into(),
            target: "t".into(),
            disk: "d".into(),
            firmware: false,
            session,
        };
        let at = |s| Now::at(Duration::from_secs(s)).wall;
        story.then(login(1));
        story.host.engine_stopped(at(10));
        assert!(!story.host.tick(at(20)), "it may be started again");
        let mut back = Story { host: story.host.clone(), seconds: 20 };
        back.then(login(2));
        assert!(!back.host.tick(at(86_400)) && back.host.on_our_disk());
        assert!(story.host.tick(at(31)));
        assert_eq!(story.host.stage, Stage::Absent);
    }

    #[test]
    fn a_direct_start_shows_each_link_of_its_chain() {
        let mut story = Story::new();
        story.reaches_script();
        let profile = Some("xen".parse().unwrap());
        let boot = Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile, via: IscsiVia::Script, writes: None });
        story.then(EventKind::ScriptServed { boot, dialect: "ipxe".into(), because: String::new() });
        let before = story.host.timeline.len();
        for path in ["hypervisor/xen-4.17", "kernel/vmlinuz-6.1", "initrd/0/initrd.img-6.1"] {
            let path = format!("/media/xen/{path}");
            let asked = EventKind::HttpRequest { method: "GET".into(), path: path.clone(), status: 200, agent: None };
            assert_eq!(story.then(asked), Stage::Loading);
            story.then(EventKind::HttpDone { path, bytes: 7_000_000, millis: 900 });
        }
        story.then(EventKind::ScriptStep { step: "kernel-start".into() });
        let login = |firmware, session| EventKind::IscsiLogin {
            initiator: "i".into(),
            target: "t".into(),
            disk: "d".into(),
            firmware,
            session,
        };
        assert_eq!(story.then(login(true, 1)), Stage::OsStarted, "the kernel asks the BIOS for its disks");
        for _ in 0..2 {
            assert_eq!(story.discover(ClientKind::Os), Stage::OsStarted);
            story.ack(ClientKind::Os, "");
        }
        assert_eq!(story.then(login(false, 2)), Stage::OsLogin);
        let chain: Vec<_> = story.host.timeline[before..].iter().map(|s| (s.stage, s.part, s.text.as_str())).collect();
        let loading = |part, text| (Stage::Loading, Some(part), text);
        assert_eq!(
            chain,
            [
                loading(StepPart::Hypervisor, "xen-4.17"),
                loading(StepPart::Kernel, "vmlinuz-6.1"),
                loading(StepPart::Initrd, "initrd.img-6.1"),
                (Stage::OsStarted, None, "kernel started"),
                (Stage::OsStarted, Some(StepPart::SystemAddress), "192.168.2.20 for the system"),
                (Stage::OsLogin, None, "t"),
            ]
        );
        let moved: Vec<_> = story.host.timeline[before..before + 3].iter().map(|s| s.bytes).collect();
        assert_eq!(moved, [7_000_000; 3], "each file with its own bytes");
        assert!(story.host.timeline.iter().rev().skip(1).all(|s| s.end.is_some()));
    }

    #[test]
    fn what_is_repeated_and_when_nothing_comes_is_told_of_each_step() {
        let mut story = Story::new();
        story.discover(ClientKind::PxeRom);
        story.discover(ClientKind::PxeRom);
        story.discover(ClientKind::PxeRom);
        assert_eq!((story.host.timeline.len(), story.host.timeline[0].retries), (1, 2));
        story.ack(ClientKind::PxeRom, "snponly.efi");
        let file = || "snponly.efi".to_owned();
        story.then(EventKind::TftpRequest { file: file(), options: vec![] });
        story.then(EventKind::TftpAborted { file: file(), sent: 0, probe: true, message: "User aborted".into() });
        story.then(EventKind::TftpRequest { file: file(), options: vec![] });
        story.then(EventKind::TftpProgress { file: file(), sent: 500, total: 1000 });
        assert_eq!(story.host.timeline.last().unwrap().retries, 0, "it only asked for the size first");
        let before = story.seconds;
        story.seconds += 8;
        story.then(EventKind::TftpRequest { file: file(), options: vec![] });
        story.then(EventKind::TftpDone { file: file(), bytes: 1000, millis: 3 });
        let step = story.host.timeline.last().unwrap();
        let at = |s| Now::at(Duration::from_secs(s)).wall;
        assert_eq!((step.retries, &step.gaps[..]), (1, &[(at(before), at(before + 9))][..]));
        assert_eq!(step.seq, before - 3, "the event that began it");
    }

    #[test]
    fn a_boot_is_remembered_from_its_first_packet_to_where_it_arrives() {
        let mut story = Story::new();
        story.reaches_script();
        assert_eq!(story.host.boot_record().unwrap().outcome, BootOutcome::Underway);
        story.then(EventKind::ScriptServed { boot: Boot::Local, dialect: "ipxe".into(), because: String::new() });
        assert_eq!(story.then(EventKind::ScriptStep { step: "local".into() }), Stage::Local);
        let record = story.host.boot_record().unwrap();
        assert_eq!((record.outcome, record.given.clone()), (BootOutcome::Arrived, Some(Boot::Local)));
        let took: Vec<_> = record.steps.iter().map(|s| (s.stage, s.at, s.millis, s.bytes)).collect();
        assert_eq!(took[0], (Stage::Seen, 0, Some(1000), 0));
        assert_eq!(took[2], (Stage::Firmware, 2000, Some(3000), 1000));
        assert_eq!(took.last().unwrap().2, None, "nobody sees its end");
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<BootRecord>(&json).unwrap(), record);
        story.discover(ClientKind::PxeRom);
        assert_eq!(story.host.boot_record().unwrap().given, None, "another boot");
        let mut system = Story::new();
        system.discover(ClientKind::Os);
        assert_eq!(system.host.boot_record(), None, "its boot was not seen");
    }

    #[test]
    fn what_a_person_does_about_a_machine_is_no_sign_of_its_life() {
        let mut story = Story::new();
        assert_eq!(story.then(EventKind::WakeSent { interfaces: vec!["enp3s0".into()] }), Stage::Absent);
        story.then(EventKind::Assigned { to: Boot::Local, by: "window".into() });
        assert!(story.host.woken.is_some() && story.host.last_seen.is_none() && story.host.first_seen.is_none());
        story.discover(ClientKind::PxeRom);
        assert!(story.host.woken.is_none() && story.host.last_seen.is_some());
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
