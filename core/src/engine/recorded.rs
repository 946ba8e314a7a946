//! A recording folded as if it were happening here: the same directory, hosts and findings, fed by the recording's observer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::api::{ClientKind, Event, EventKind, Finding, HostId, Source, Stage, Step, VERSION};
use crate::boot::Arch;
use crate::diagnose::{Around, Findings, LabFindings};
use crate::hosts::{Directory, Host};
use crate::net::MacAddr;
use crate::trace::{Packet, observe};

/// A machine of a recording.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedHost {
    /// Its hardware addresses.
    pub macs: Vec<MacAddr>,
    /// Its UUID, as option 97 told it.
    pub uuid: Option<Uuid>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Its last address.
    pub ip: Option<IpAddr>,
    /// What its firmware is.
    pub arch: Option<Arch>,
    /// Who spoke last.
    pub client: Option<ClientKind>,
    /// How far it came.
    pub stage: Stage,
    /// The steps of its last boot.
    pub timeline: Vec<Step>,
    /// What was wrong with it.
    pub findings: Vec<Finding>,
    /// All of its events.
    pub events: Vec<Arc<Event>>,
}

/// What a recording tells.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recorded {
    /// The machines, in order of first sight.
    pub hosts: Vec<RecordedHost>,
    /// What is wrong with no one machine.
    pub findings: Vec<Finding>,
    /// Events of no one machine.
    pub events: Vec<Arc<Event>>,
    /// Machines that made room for others, quiet as they were: a recording may be of a campus, or of somebody who invents addresses.
    pub left_out: u64,
}

impl Recorded {
    /// What is missing of it, in words.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let left_out = self.left_out;
        (left_out > 0).then(|| format!("{left_out} machines are left out, those that were quiet longest"))
    }
}

/// Folds a recording.
#[must_use]
pub fn fold(packets: &[Packet]) -> Recorded {
    let mut directory = Directory::default();
    let mut tracked: HashMap<HostId, (Host, Findings, Vec<Arc<Event>>)> = HashMap::new();
    let mut order = Vec::new();
    let mut lab = LabFindings::default();
    let mut recorded = Recorded::default();
    // Its end proves nothing: silence is what lasted while packets of anything at all came.
    let last = packets.iter().map(|packet| packet.time).max();
    for (number, (now, observation)) in observe::record(packets).into_iter().enumerate() {
        let who = observation.who.unwrap_or_default();
        let id = directory.resolve(&who);
        for gone in directory.take_gone() {
            recorded.left_out += u64::from(tracked.remove(&gone).is_some());
        }
        bind(&mut directory, id, &observation.kind);
        let event = Arc::new(Event {
            v: VERSION,
            seq: number as u64 + 1,
            time: now.wall,
            host: id,
            mac: id.and_then(|id| directory.macs(id).first().copied()).or(who.mac),
            source: Source::Observed,
            kind: observation.kind,
        });
        lab.apply(&event);
        let Some(id) = id else {
            recorded.events.push(event);
            continue;
        };
        let (host, findings, events) = tracked.entry(id).or_insert_with(|| {
            order.push(id);
            Default::default()
        });
        // Its silence before this may have meant something.
        findings.due(last.unwrap_or(event.time).min(event.time), lab.around());
        if host.apply(&event).new_boot {
            findings.clear();
        }
        findings.apply(&event, lab.around());
        events.push(event);
    }
    recorded.findings = lab.list(|_| false);
    for id in order {
        if let Some((host, mut findings, events)) = tracked.remove(&id) {
            if let Some(last) = last {
                findings.due(last, lab.around());
            }
            recorded.hosts.push(view(&directory, id, host, &findings, events, last));
        }
    }
    recorded
}

/// The last boot in the events of one machine: its steps, and what was wrong. `all` are the last events of anything, oldest first: as
/// long as the engine told some, it heard that the machine was silent.
#[must_use]
pub fn refold(events: &[Event], all: &[Arc<Event>]) -> (Vec<Step>, Vec<Finding>) {
    let (mut host, mut findings, mut around) = (Host::default(), Findings::default(), Around::default());
    for event in events {
        around.apply(event);
        findings.due(event.time, &around);
        if host.apply(event).new_boot {
            findings.clear();
        }
        findings.apply(event, &around);
    }
    if let Some(last) = events.last() {
        findings.due(heard_until(last, all), &around);
    }
    (host.timeline, findings.list())
}

/// Until when the engine that told `last` told something.
fn heard_until(last: &Event, all: &[Arc<Event>]) -> Timestamp {
    let mut until = last.time;
    for event in all.iter().filter(|event| event.seq > last.seq) {
        if matches!(event.kind, EventKind::EngineStarted { .. }) {
            break;
        }
        until = until.max(event.time);
        if matches!(event.kind, EventKind::EngineStopped { .. }) {
            break;
        }
    }
    until
}

fn bind(directory: &mut Directory, id: Option<HostId>, kind: &EventKind) {
    match (id, kind) {
        (Some(id), EventKind::DhcpAck { address: Some(address), .. }) => directory.bind_ip((*address).into(), id),
        (_, EventKind::DhcpRelease { address } | EventKind::DhcpDecline { address }) => {
            directory.release_ip((*address).into());
        }
        _ => {}
    }
}

fn view(
    directory: &Directory,
    id: HostId,
    mut host: Host,
    findings: &Findings,
    events: Vec<Arc<Event>>,
    last: Option<Timestamp>,
) -> RecordedHost {
    if let Some(last) = last {
        host.tick(last);
    }
    RecordedHost {
        macs: directory.macs(id).to_vec(),
        uuid: directory.uuid(id),
        name: host.hostname.clone(),
        ip: host.ip,
        arch: host.arch,
        client: host.client,
        stage: host.stage,
        timeline: host.timeline.clone(),
        findings: findings.list(),
        events,
    }
}

impl RecordedHost {
    /// Whether this is how somebody would call it: by MAC, address or name.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        word.parse::<MacAddr>().is_ok_and(|mac| self.macs.contains(&mac))
            || word.parse::<IpAddr>().is_ok_and(|ip| self.ip == Some(ip))
            || self.name.as_deref() == Some(word)
    }
}

#[cfg(test)]
#[path = "recorded_tests.rs"]
mod tests;
