//! The engine's state: everything that is folded from events, and the picture that is shown of it.
//!
//! It lives behind one lock. Nothing here waits, reads a file or talks to a service: the HTTP server and the iSCSI threads ask it
//! who a client is while a machine boots.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::alarms::Alarms;
use super::boots::{Boots, How, PendingInstall};
use super::clock::Clock;
use super::views;
use crate::api::{
    ClientKind, DiskView, EngineState, Event, EventKind, Finding, FirmwareView, HostId, HostView, InterfaceView,
    JobView, Keeper, Observation, ProfileView, Reported, ServiceKind, ServiceView, Severity, Snapshot, Space, VERSION,
    Who,
};
use crate::boot::Plan;
use crate::diagnose::{Findings, LabFindings};
use crate::hosts::{BootRecord, Directory, Host};
use crate::lab::{Boot, IscsiBoot, IscsiVia, Lab, Problem, Settings};
use crate::lang::finding;
use crate::machine::Now;
use crate::net::{Interface, MacAddr, SELF_TEST};

/// What the self-test caused may be told so long after its end.
const SELF_TEST_ECHOES: Duration = Duration::from_secs(10);
/// Silence is looked at each second. Where more than this has gone by, this computer slept: nobody has listened, and what was waited for
/// is not known not to have come.
const SLEPT: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);
/// Of what could not be read of lab.db so many are named.
const UNREAD: usize = 3;
/// The snapshot carries this many of the last events.
const RECENT: usize = 400;

/// A machine with what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    pub(super) host: Host,
    pub(super) findings: Findings,
    /// Since when it is in its stage, by the clock that never jumps.
    pub(super) entered: Option<Duration>,
}

/// What an event changed that others must act on.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// The event, numbered.
    pub(super) event: Option<Arc<Event>>,
    /// What it told besides.
    pub(super) also: Option<Arc<Event>>,
    /// This machine's record in lab.db is out of date.
    pub(super) record: Option<HostId>,
    /// This machine entered or left iPXE.
    pub(super) ipxe: Vec<(MacAddr, bool)>,
    /// Another DHCP server was seen on a network that did not know it.
    pub(super) foreign: bool,
    /// What is to be remembered of this machine's boot.
    pub(super) boot: Option<(HostId, BootRecord)>,
    /// A boot epoch of this machine began.
    pub(super) epoch: Option<HostId>,
    /// These machines made room for others.
    pub(super) gone: Vec<HostId>,
}

/// Other DHCP servers on an interface.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rivals {
    /// When one was heard last.
    pub(super) heard: Option<Instant>,
    /// How often `auto` stood back because of one.
    pub(super) stood_back: u32,
    /// The last question of ours was answered: silence after the next one tells that they are gone.
    pub(super) answers: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct State {
    pub(super) lab: Arc<Lab>,
    pub(super) problems: Vec<Problem>,
    pub(super) plan: Arc<Plan>,
    pub(super) directory: Directory,
    pub(super) boots: Boots,
    pub(super) hosts: HashMap<HostId, Tracked>,
    /// Installations that proved to run while lab.toml could not be rewritten: the machine gets what follows all the same.
    pub(super) owed: HashMap<HostId, PendingInstall>,
    /// The machines of `lab.hosts`, in its order.
    pub(super) configured: Vec<HostId>,
    pub(super) engine: EngineState,
    pub(super) because: HashMap<String, String>,
    pub(super) foreign: HashMap<String, Vec<Ipv4Addr>>,
    /// When one was last heard there, and how often `auto` stood back because of one.
    pub(super) rivals: HashMap<String, Rivals>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) confirmed: Vec<MacAddr>,
    pub(super) disks: Vec<DiskView>,
    pub(super) profiles: Vec<ProfileView>,
    pub(super) firmware: Vec<FirmwareView>,
    pub(super) jobs: Vec<JobView>,
    /// lab.toml names other networks or ports than those in service.
    pub(super) restart_needed: bool,
    /// What lab.toml says, key by key.
    pub(super) settings: Arc<Settings>,
    /// What is wrong with the folder, as long as the engine has it.
    pub(super) storage_problem: Option<String>,
    /// What of lab.db could not be read at the start.
    pub(super) unread: Vec<String>,
    /// What could not be written to lab.toml; until something can.
    pub(super) not_written: Option<String>,
    /// Whose engine it is.
    pub(super) keeper: Keeper,
    /// Room where the lab is.
    pub(super) space: Option<Space>,
    services: BTreeMap<ServiceKind, ServiceView>,
    pub(super) lab_findings: LabFindings,
    alarms: Alarms,
    clock: Clock,
    /// When silence was looked at last.
    listened: Option<Timestamp>,
    /// When the doctor's self-test ended last.
    self_tested: Option<Instant>,
    seq: u64,
    recent: VecDeque<Arc<Event>>,
    views: HashMap<HostId, Arc<HostView>>,
}

impl State {
    /// A state before any event; the next event gets the number after `seq`.
    pub(super) fn new(seq: u64, recent: Vec<Event>) -> Self {
        Self {
            lab: Arc::default(),
            problems: Vec::new(),
            plan: Arc::default(),
            directory: Directory::default(),
            boots: Boots::default(),
            hosts: HashMap::new(),
            owed: HashMap::new(),
            configured: Vec::new(),
            engine: EngineState::Stopped,
            because: HashMap::new(),
            foreign: HashMap::new(),
            rivals: HashMap::new(),
            interfaces: Vec::new(),
            confirmed: Vec::new(),
            disks: Vec::new(),
            profiles: Vec::new(),
            firmware: Vec::new(),
            jobs: Vec::new(),
            restart_needed: false,
            settings: Arc::default(),
            storage_problem: None,
            unread: Vec::new(),
            not_written: None,
            services: BTreeMap::new(),
            lab_findings: LabFindings::default(),
            alarms: Alarms::default(),
            clock: Clock::default(),
            listened: None,
            self_tested: None,
            seq,
            recent: recent.into_iter().map(Arc::new).collect(),
            views: HashMap::new(),
            keeper: Keeper::default(),
            space: None,
        }
    }

    /// Takes lab.toml in force. Machines of its entries become known.
    pub(super) fn set_lab(&mut self, lab: Arc<Lab>) {
        self.configured = self.directory.configure(&lab);
        for id in &self.configured {
            self.hosts.entry(*id).or_default();
        }
        self.lab = lab;
        self.views.clear();
    }

    /// Takes the plan in force.
    pub(super) fn set_plan(&mut self, plan: Arc<Plan>) {
        if self.plan.self_test.is_some() && plan.self_test.is_none() {
            self.self_tested = Some(Instant::now());
        }
        self.plan = plan;
        self.views.clear();
    }

    /// The index into `lab.hosts` of this machine's entry.
    pub(super) fn entry(&self, id: HostId) -> Option<usize> {
        self.configured.iter().position(|c| *c == id)
    }

    /// The machine as people call it: name, else what it calls itself, else MAC.
    pub(super) fn shown_name(&self, id: HostId) -> String {
        let named = self.entry(id).and_then(|i| self.lab.hosts.get(i)?.name.as_ref().map(ToString::to_string));
        named
            .or_else(|| self.directory.macs(id).first().map(ToString::to_string))
            .unwrap_or_else(|| format!("host {id}"))
    }

    /// `who` for an event about this machine.
    pub(super) fn who(&self, id: HostId, ip: IpAddr) -> Who {
        Who { mac: self.directory.macs(id).first().copied(), uuid: self.directory.uuid(id), ip: Some(ip) }
    }

    /// Takes in what a service saw or did.
    pub(super) fn fold(&mut self, reported: Reported) -> Folded {
        let other = self.other_uuid(&reported.observation);
        let (at, who) = (reported.at, reported.observation.who.clone());
        let mut folded = self.fold_one(reported);
        if let Some(kind) = other {
            folded.also = self.fold_one(Reported { at, observation: Observation { who, kind } }).event;
        }
        folded
    }

    /// A PXE firmware that asks with a known MAC and another UUID than was known with it.
    fn other_uuid(&self, observation: &Observation) -> Option<EventKind> {
        let EventKind::DhcpDiscover { client: ClientKind::PxeRom | ClientKind::HttpBoot, .. } = observation.kind else {
            return None;
        };
        let who = observation.who.as_ref()?;
        let (known, seen) = (self.directory.uuid(self.directory.find(who)?)?, who.uuid?);
        // Some firmware has the first parts in the other order of bytes than its SMBIOS.
        let swapped = uuid::Uuid::from_bytes_le(*known.as_bytes());
        (seen != known && seen != swapped).then_some(EventKind::OtherUuid { known, seen })
    }

    fn fold_one(&mut self, reported: Reported) -> Folded {
        let Reported { at, mut observation } = reported;
        hide_token(&mut observation.kind);
        let id = observation.who.as_ref().and_then(|who| self.directory.resolve(who));
        self.bind(id, &observation.kind);
        let mut folded = Folded { gone: self.directory.take_gone(), ..Folded::default() };
        for gone in &folded.gone {
            self.forget(*gone);
        }
        if id.is_some_and(|id| self.is_self_test(id)) {
            // It is no machine: nobody is told, and nothing is kept of it.
            return folded;
        }
        self.look_at_clock(at);
        self.seq += 1;
        let event = Arc::new(Event {
            v: VERSION,
            seq: self.seq,
            time: at.wall,
            host: id,
            mac: id.and_then(|id| self.directory.macs(id).first().copied()).or(observation.who.and_then(|w| w.mac)),
            source: observation.kind.source(),
            kind: observation.kind,
        });
        let steady = self.clock.steadied(&event);
        if let Some(id) = id {
            folded.epoch = self.given_root_path(id, &event.kind).then_some(id);
            let tracked = self.hosts.entry(id).or_default();
            let (before, since) = (tracked.host.runs_ipxe(), tracked.host.since);
            let changed = tracked.host.apply(&event);
            if tracked.host.since != since {
                tracked.entered = Some(at.boot);
            }
            if changed.new_boot {
                tracked.findings.clear();
            }
            tracked.findings.apply(&steady, self.lab_findings.around());
            self.alarms.set(id, tracked.findings.deadline());
            let after = tracked.host.runs_ipxe();
            folded.record = changed.record.then_some(id);
            folded.boot = changed.boot.then(|| tracked.host.boot_record()).flatten().map(|boot| (id, boot));
            if before != after {
                folded.ipxe = self.directory.macs(id).iter().map(|mac| (*mac, after)).collect();
            }
            self.views.remove(&id);
        }
        let troubled = matches!(event.kind, EventKind::ImageTrouble { .. });
        self.lab_findings.apply(&steady);
        if troubled {
            self.views.clear();
        }
        folded.foreign = self.engine_event(&event);
        if !event.kind.is_progress() {
            self.recent.push_back(event.clone());
            while self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
        folded.event = Some(event);
        folded
    }

    /// Whether this is the machine that the doctor plays. At any other time its address is a machine's like every other.
    pub(super) fn is_self_test(&self, id: HostId) -> bool {
        let plays =
            || self.plan.self_test.is_some() || self.self_tested.is_some_and(|end| end.elapsed() < SELF_TEST_ECHOES);
        self.directory.macs(id).first() == Some(&SELF_TEST) && plays()
    }

    /// An address follows whoever was just given it.
    fn bind(&mut self, id: Option<HostId>, kind: &EventKind) {
        match (id, kind) {
            (Some(id), EventKind::DhcpAck { address: Some(address), .. }) => {
                self.directory.bind_ip((*address).into(), id);
            }
            (_, EventKind::DhcpRelease { address } | EventKind::DhcpDecline { address }) => {
                self.directory.release_ip((*address).into());
            }
            _ => {}
        }
    }

    /// A root-path is to iPXE what the script is: a boot epoch begins with it.
    fn given_root_path(&mut self, id: HostId, kind: &EventKind) -> bool {
        let EventKind::DhcpAck { client: ClientKind::Ipxe | ClientKind::Gpxe, root_path: Some(root), address, .. } =
            kind
        else {
            return false;
        };
        // RFC 4173: the target's name is the last part, and has colons itself.
        let given = self.lab.disks.iter().find(|d| root.ends_with(&format!(":{}", d.iqn)));
        let Some((disk, writes)) = given.map(|d| (d.name.clone(), d.writes)) else {
            return false;
        };
        // What its entry, or its network for machines without one, says of this disk holds for this way, too.
        let entry = self.entry(id).and_then(|index| self.lab.hosts.get(index)?.boot.clone());
        let unknown = || Some(self.plan.unknown(self.plan.network_of((*address)?)?));
        let iscsi = entry.or_else(unknown).and_then(|boot| boot.any_iscsi().cloned());
        let mut boot = iscsi.filter(|iscsi| iscsi.disk == disk).unwrap_or(IscsiBoot {
            disk,
            profile: None,
            via: IscsiVia::RootPath,
            writes: None,
        });
        // It holds until the next boot, whatever is edited meanwhile.
        boot.writes.get_or_insert(writes);
        self.boots.begin(id, &Boot::Iscsi(boot), How::default());
        true
    }

    fn engine_event(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::ServiceUp { service, address } => {
                let address = address.to_string();
                let view = self.services.entry(*service).or_insert_with(|| ServiceView {
                    service: *service,
                    address: String::new(),
                    error: None,
                });
                view.error = None;
                if !view.address.split(", ").any(|a| a == address) {
                    if !view.address.is_empty() {
                        view.address.push_str(", ");
                    }
                    view.address.push_str(&address);
                }
            }
            EventKind::ServiceFailed { service, error } => {
                let (service, address, error) = (*service, String::new(), Some(error.clone()));
                self.services.insert(service, ServiceView { service, address, error });
            }
            EventKind::ModeChosen { interface, because, .. } => {
                self.because.insert(interface.clone(), because.clone());
            }
            EventKind::ForeignDhcp { interface, server, .. } => {
                self.rivals.entry(interface.clone()).or_default().heard = Some(Instant::now());
                let seen = self.foreign.entry(interface.clone()).or_default();
                // More than these tell nothing new; how many there are is up to whoever forges them.
                if seen.len() < 16 && !seen.contains(server) {
                    seen.push(*server);
                    return true;
                }
            }
            EventKind::EngineStarted { .. } => self.engine = EngineState::Running { since: event.time },
            EventKind::EngineStopped { error } => {
                self.engine = match error {
                    Some(error) => EngineState::Failed { error: error.clone() },
                    None => EngineState::Stopped,
                };
                // What a failed start said of its services stays on show; what ran does not run any more.
                self.services.retain(|_, s| s.error.is_some() && error.is_some());
                self.foreign.clear();
                self.rivals.clear();
                self.because.clear();
                for tracked in self.hosts.values_mut() {
                    tracked.host.engine_stopped(event.time);
                }
                self.deaf();
                self.views.clear();
            }
            _ => {}
        }
        false
    }

    /// It is `now`. Where the clock was set, what machines did before is told by the new time.
    fn look_at_clock(&mut self, now: Now) {
        let by = self.clock.look(now);
        if !by.is_zero() {
            self.hosts.values_mut().for_each(|tracked| tracked.host.clock_set(by));
            self.views.clear();
        }
    }

    /// Time passes: whether something changed, and whose iPXE is known to run no more.
    pub(super) fn tick(&mut self, now: Now) -> (bool, Vec<MacAddr>) {
        let (mut changed, mut ipxe) = (self.silence(now), Vec::new());
        let now = now.wall;
        for (id, tracked) in &mut self.hosts {
            let before = tracked.host.runs_ipxe();
            // Where something is wrong it is to be seen how far it came.
            if tracked.host.tick(now) || (tracked.findings.is_empty() && tracked.host.fell_silent(now)) {
                if before {
                    ipxe.extend_from_slice(self.directory.macs(*id));
                }
                self.views.remove(id);
                changed = true;
            }
        }
        (changed, ipxe)
    }

    /// When a machine's silence will mean something, by the clock that never jumps.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.alarms.first().map(|at| self.clock.boot(at))
    }

    /// What was not heard means nothing.
    fn deaf(&mut self) {
        for tracked in self.hosts.values_mut() {
            tracked.findings.deaf();
        }
        self.alarms = Alarms::default();
    }

    /// It is `now`: machines whose silence means something by now. True when that told something.
    pub(super) fn silence(&mut self, now: Now) -> bool {
        self.look_at_clock(now);
        let now = self.clock.steady(now.wall);
        let last = self.listened.replace(now);
        if last.is_some_and(|last| now.duration_since(last) > SLEPT) {
            self.deaf();
            return false;
        }
        let mut changed = false;
        for id in self.alarms.due(now) {
            let Some(tracked) = self.hosts.get_mut(&id) else { continue };
            if tracked.findings.due(now, self.lab_findings.around()) {
                self.views.remove(&id);
                changed = true;
            }
            self.alarms.set(id, tracked.findings.deadline());
        }
        changed
    }

    /// Drops a machine that has no entry in lab.toml.
    pub(super) fn forget(&mut self, id: HostId) {
        self.directory.forget(id);
        self.boots.forget(id);
        self.owed.remove(&id);
        self.hosts.remove(&id);
        self.views.remove(&id);
        self.alarms.set(id, None);
    }

    /// The picture of it all, and what is now known of each machine that changed.
    pub(super) fn snapshot(&mut self, folder: &std::path::Path) -> Snapshot {
        let mut ids = self.configured.clone();
        let mut others: Vec<_> =
            self.hosts.keys().copied().filter(|id| !self.configured.contains(id) && !self.is_self_test(*id)).collect();
        others.sort_unstable();
        ids.extend(others);
        let hosts = ids.into_iter().map(|id| self.host_view(id)).collect();
        let held = self.hosts.values().filter_map(|t| t.host.ip);
        let proxy = |interface: &str| {
            self.plan.networks.iter().any(|n| n.interface == interface && n.mode == crate::lab::Mode::Proxy)
        };
        let mut findings = self.own_findings();
        findings.extend(self.lab_findings.list(proxy));
        self.clock.show(&mut findings);
        findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        Snapshot {
            v: VERSION,
            seq: self.seq,
            lab: folder.to_owned(),
            engine: self.engine.clone(),
            interfaces: self.interfaces.iter().map(|i| self.interface_view(i)).collect(),
            networks: views::networks(&self.lab, &self.plan, &self.because, &self.foreign, &self.interfaces, held),
            services: self.services.values().cloned().collect(),
            hosts,
            disks: self.disks.clone(),
            profiles: self.profiles.clone(),
            firmware: self.firmware.clone(),
            findings,
            jobs: self.jobs.clone(),
            recent: self.recent.iter().cloned().collect(),
            unknown: views::unknown(&self.lab, &self.plan),
            settings: self.settings.clone(),
            keeper: self.keeper,
            space: self.space,
        }
    }

    fn own_findings(&self) -> Vec<Finding> {
        let mut list = Vec::new();
        if self.restart_needed {
            list.push(finding("restart-needed", Severity::Warning, &[]));
        }
        if !self.unread.is_empty() {
            let some: Vec<&str> = self.unread.iter().take(UNREAD).map(String::as_str).collect();
            let (count, records) = (self.unread.len(), some.join("; "));
            list.push(finding("lab-not-read", Severity::Warning, &[("count", &count), ("records", &records)]));
        }
        if let Some(problem) = self.storage_problem.as_ref().or(self.not_written.as_ref()) {
            list.push(finding("lab-not-written", Severity::Error, &[("problem", problem)]));
        }
        list
    }

    pub(super) fn host_view(&mut self, id: HostId) -> Arc<HostView> {
        if let Some(view) = self.views.get(&id) {
            return view.clone();
        }
        let entry = self.entry(id);
        let fallback = Tracked::default();
        let tracked = self.hosts.get(&id).unwrap_or(&fallback);
        let mut view =
            views::host_view(id, &tracked.host, &tracked.findings, &self.lab, entry, &self.plan, &self.directory);
        self.clock.show(&mut view.findings);
        let view = Arc::new(view);
        self.views.insert(id, view.clone());
        view
    }

    fn interface_view(&self, interface: &Interface) -> InterfaceView {
        InterfaceView {
            name: interface.name.clone(),
            mac: interface.mac,
            addresses: interface.addresses.iter().map(ToString::to_string).collect(),
            up: interface.up,
            running: interface.running,
            wireless: interface.wireless,
            virtual_link: interface.virtual_link,
            default_route: interface.default_route,
            speed: interface.speed,
            bridge: interface.bridge.clone(),
            confirmed: interface.mac.is_some_and(|mac| self.confirmed.contains(&mac)),
        }
    }
}

/// The token in an answer file's path opens it: it is no matter for events.
fn hide_token(kind: &mut EventKind) {
    if let EventKind::HttpRequest { path, .. } = kind
        && let Some(rest) = path.strip_prefix("/answers/")
    {
        let parts: Vec<&str> = rest.split('/').collect();
        let (mac, leaf) = (parts.first().unwrap_or(&""), parts.get(2).unwrap_or(&""));
        *path = format!("/answers/{mac}/…/{leaf}");
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
