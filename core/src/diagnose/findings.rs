//! The folds: one over a host's events, one over the lab's.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::around::Around;
use super::book::Book;
use super::files::Files;
use super::identity::Identity;
use super::offers::Offers;
use super::san::San;
use super::script::Script;
use super::system::System;
use crate::api::{Event, EventKind, Finding, FindingAction, Place, ServiceKind, Severity};
use crate::lab::Boot;
use crate::lang::{Param, finding};

/// A group of rules over one machine's events.
pub(super) trait Rules {
    /// Takes in one event about the machine.
    fn apply(&mut self, event: &Event, around: &Around, book: &mut Book);

    /// When silence will mean something.
    fn deadline(&self) -> Option<Timestamp> {
        None
    }

    /// It is `now`, and nothing more came.
    fn due(&mut self, _now: Timestamp, _around: &Around, _book: &mut Book) {}

    /// The machine starts over.
    fn new_boot(&mut self);

    /// Nothing more will be seen for a while: silence means nothing.
    fn deaf(&mut self) {}
}

/// What a machine met with what it was given: nothing against something else.
const OF_GIVEN: [&str; 4] = ["script-error", "http-refused", "iscsi-refused", "iscsi-error"];

/// The findings about one host.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    book: Book,
    /// What its last script is for.
    given: Option<Boot>,
    offers: Offers,
    files: Files,
    script: Script,
    san: San,
    system: System,
    identity: Identity,
}

impl Findings {
    /// All of them, worst first.
    #[must_use]
    pub fn list(&self) -> Vec<Finding> {
        self.book.list()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.book.is_empty()
    }

    /// A new boot began: the last one's findings are history.
    pub fn clear(&mut self) {
        self.book.new_boot();
        self.given = None;
        self.each(|rules, _| rules.new_boot());
    }

    /// Takes in one event about this host.
    pub fn apply(&mut self, event: &Event, around: &Around) {
        if let EventKind::ScriptServed { boot, .. } = &event.kind
            && self.given.replace(boot.clone()).is_some_and(|before| before != *boot)
        {
            self.book.cure(&OF_GIVEN);
        }
        self.each(|rules, book| rules.apply(event, around, book));
    }

    /// When [`Findings::due`] wants to be asked even if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let all: [&dyn Rules; 6] = [&self.offers, &self.files, &self.script, &self.san, &self.system, &self.identity];
        all.into_iter().filter_map(Rules::deadline).min()
    }

    /// The disk whose image should be looked into, for what is in it may explain what this machine does.
    #[must_use]
    pub fn wonders(&self) -> Option<&str> {
        self.san.wonders()
    }

    /// It is `now`, and nothing more came. True when that told something.
    pub fn due(&mut self, now: Timestamp, around: &Around) -> bool {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return false;
        }
        let before = self.book.clone();
        self.each(|rules, book| rules.due(now, around, book));
        before != self.book
    }

    /// We stop serving: what is not heard from now on means nothing.
    pub fn deaf(&mut self) {
        self.each(|rules, _| rules.deaf());
    }

    fn each(&mut self, mut visit: impl FnMut(&mut dyn Rules, &mut Book)) {
        let Self { book, offers, files, script, san, system, identity, .. } = self;
        let all: [&mut dyn Rules; 6] = [offers, files, script, san, system, identity];
        for rules in all {
            visit(rules, book);
        }
    }
}

/// The findings about no host in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabFindings {
    services: BTreeMap<ServiceKind, String>,
    foreign: BTreeMap<String, String>,
    broken: Vec<String>,
    around: Around,
    /// When each of these was told first, and by which event.
    told: BTreeMap<&'static str, (Timestamp, u64)>,
}

impl LabFindings {
    /// What a machine's rules must know of the lab.
    #[must_use]
    pub fn around(&self) -> &Around {
        &self.around
    }

    /// Takes in one event.
    pub fn apply(&mut self, event: &Event) {
        self.around.apply(event);
        let id = match &event.kind {
            EventKind::ServiceFailed { .. } => Some("service-failed"),
            EventKind::ForeignDhcp { .. } => Some("foreign-dhcp"),
            EventKind::LabBroken { .. } => Some("lab-broken"),
            _ => None,
        };
        if let Some(id) = id {
            self.told.entry(id).or_insert((event.time, event.seq));
        }
        match &event.kind {
            EventKind::ServiceFailed { service, error } => {
                self.services.insert(*service, error.clone());
            }
            EventKind::ServiceUp { service, .. } => {
                self.services.remove(service);
            }
            EventKind::ForeignDhcp { interface, server, mac } => {
                let by = mac.map(|m| format!(" ({m})")).unwrap_or_default();
                self.foreign.insert(interface.clone(), format!("{server}{by}"));
            }
            EventKind::ForeignDhcpGone { interface, .. } => drop(self.foreign.remove(interface)),
            EventKind::LabBroken { problems } => self.broken.clone_from(problems),
            EventKind::LabChanged => self.broken.clear(),
            EventKind::EngineStarted { .. } => self.services.clear(),
            EventKind::EngineStopped { .. } => {
                self.services.clear();
                self.foreign.clear();
            }
            _ => {}
        }
        self.forget_cured();
    }

    /// All of them, worst first. `proxy` tells of an interface whether ProxyDHCP is in force there, beside which another server is
    /// no trouble.
    #[must_use]
    pub fn list(&self, proxy: impl Fn(&str) -> bool) -> Vec<Finding> {
        let mut list = Vec::new();
        for (service, error) in &self.services {
            let service = format!("{service:?}");
            list.push(finding("service-failed", Severity::Error, &[("service", &service), ("error", error)]));
        }
        if !self.broken.is_empty() {
            list.push(finding("lab-broken", Severity::Error, &[("problems", &self.broken.join(" "))]));
        }
        for (interface, server) in &self.foreign {
            if !proxy(interface) {
                let params: [Param<'_>; 2] = [("interface", interface), ("server", server)];
                let finding = finding("foreign-dhcp", Severity::Warning, &params);
                list.push(finding.cured_by(FindingAction::Show { place: Place::Network }));
            }
        }
        for finding in &mut list {
            if let Some((time, seq)) = self.told.get(finding.id.as_str()) {
                (finding.since, finding.events) = (Some(*time), vec![*seq]);
            }
        }
        list.sort_by_key(|f| std::cmp::Reverse(f.severity));
        list
    }

    /// What is cured begins anew when it comes again.
    fn forget_cured(&mut self) {
        let Self { services, foreign, broken, told, .. } = self;
        told.retain(|id, _| match *id {
            "service-failed" => !services.is_empty(),
            "foreign-dhcp" => !foreign.is_empty(),
            _ => !broken.is_empty(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Source, VERSION};
    use crate::lab::{IscsiBoot, IscsiVia};

    fn event(kind: EventKind) -> Event {
        Event { v: VERSION, seq: 1, time: Timestamp::UNIX_EPOCH, host: None, mac: None, source: Source::Served, kind }
    }

    #[test]
    fn a_refused_login_is_explained_until_a_login_succeeds() {
        let mut findings = Findings::default();
        let around = Around::default();
        let refused = event(EventKind::IscsiRefused {
            initiator: "i".into(),
            target: "t".into(),
            status: 0x0202,
            reason: "Assign the disk to it.".into(),
        });
        findings.apply(&refused, &around);
        assert_eq!(findings.list()[0].means, "This machine may not use this disk.");
        let login = event(EventKind::IscsiLogin {
            initiator: "i".into(),
            target: "t".into(),
            disk: "d".into(),
            firmware: true,
            session: 1,
        });
        findings.apply(&login, &around);
        assert_eq!(findings.list(), vec![]);
    }

    #[test]
    fn what_was_refused_with_one_assignment_is_nothing_against_another() {
        let (mut findings, around) = (Findings::default(), Around::default());
        let iscsi =
            Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None });
        let served = |boot: &Boot| EventKind::ScriptServed {
            boot: boot.clone(),
            dialect: "ipxe".into(),
            because: String::new(),
        };
        let path = "/media/p/kernel/linux".to_owned();
        let stops = [
            served(&iscsi),
            EventKind::IscsiRefused { initiator: "i".into(), target: "t".into(), status: 0x0202, reason: "no".into() },
            EventKind::ScriptError { step: "san".into(), code: 0x2c0d_603b },
            EventKind::HttpRequest { method: "GET".into(), path, status: 404, agent: None },
            EventKind::IscsiError { target: "t".into(), lba: 1, message: "full".into() },
        ];
        stops.map(event).iter().for_each(|event| findings.apply(event, &around));
        let ids = |findings: &Findings| findings.list().into_iter().map(|f| f.id).collect::<Vec<_>>();
        let all = ["http-refused", "iscsi-error", "iscsi-refused", "script-error"];
        assert_eq!(ids(&findings), all);
        findings.apply(&event(served(&iscsi)), &around);
        assert_eq!(ids(&findings), all, "it tries the same again");
        findings.apply(&event(served(&Boot::Wait)), &around);
        assert_eq!(ids(&findings), Vec::<String>::new(), "it waits, and nothing is wrong with that");
    }

    #[test]
    fn another_dhcp_server_is_trouble_only_where_we_give_addresses() {
        let mut findings = LabFindings::default();
        findings.apply(&event(EventKind::ForeignDhcp {
            interface: "br0".into(),
            server: [10, 0, 0, 1].into(),
            mac: None,
        }));
        assert_eq!(findings.list(|_| true), vec![]);
        assert_eq!(findings.list(|_| false)[0].id, "foreign-dhcp");
    }

    #[test]
    fn another_dhcp_server_that_is_gone_is_trouble_no_more() {
        let mut findings = LabFindings::default();
        let heard = |interface: &str| {
            event(EventKind::ForeignDhcp { interface: interface.into(), server: [10, 0, 0, 1].into(), mac: None })
        };
        let chosen = |interface: &str, mode: &str| {
            let (interface, mode, because) = (interface.into(), mode.into(), "why".into());
            event(EventKind::ModeChosen { interface, mode, because })
        };
        for said in [heard("br0"), chosen("br0", "dhcp"), heard("br1"), chosen("br1", "proxy")] {
            findings.apply(&said);
        }
        assert_eq!(findings.list(|_| false).len(), 2, "a start with `force` tells of the server and of the mode");
        let servers = vec![[10, 0, 0, 1].into()];
        findings.apply(&event(EventKind::ForeignDhcpGone { interface: "br1".into(), servers }));
        let left = findings.list(|_| false);
        assert!(left.len() == 1 && left[0].seen.contains("br0"), "{left:?}");
    }
}
