//! The folds: one over a host's events, one over the lab's.

use std::collections::BTreeMap;

use super::lang::{Param, finding, sentence};
use crate::api::{Event, EventKind, Finding, ServiceKind, Severity};

/// The findings about one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    by_id: BTreeMap<String, Finding>,
}

impl Findings {
    /// All of them, worst first.
    #[must_use]
    pub fn list(&self) -> Vec<Finding> {
        let mut list: Vec<_> = self.by_id.values().cloned().collect();
        list.sort_by_key(|f| std::cmp::Reverse(f.severity));
        list
    }

    /// A new boot began: the last one's findings are history.
    pub fn clear(&mut self) {
        self.by_id.clear();
    }

    /// Takes in one event about this host.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::ScriptError { step, code } => {
                let code = format!("{code:08x}");
                let meaning = sentence("ipxe-error", code.get(..2).unwrap_or_default());
                let remedy = sentence("script-remedy", step);
                self.error(
                    "script-error",
                    &[("code", &code), ("step", step), ("meaning", &meaning), ("remedy", &remedy)],
                );
            }
            EventKind::ScriptStep { step } if matches!(step.as_str(), "kernel-start" | "local") => {
                self.cure(&["script-error", "http-refused"]);
            }
            EventKind::IscsiRefused { initiator, target, status, reason } => {
                let status = format!("{status:04x}");
                let meaning = sentence("iscsi-status", &status);
                self.error(
                    "iscsi-refused",
                    &[
                        ("initiator", initiator),
                        ("target", target),
                        ("status", &status),
                        ("meaning", &meaning),
                        ("reason", reason),
                    ],
                );
            }
            EventKind::IscsiLogin { .. } => self.cure(&["iscsi-refused", "script-error", "http-refused"]),
            EventKind::ScriptServed { .. } => self.cure(&["tftp-failed", "no-boot-file"]),
            EventKind::TftpDone { .. } => self.cure(&["tftp-failed"]),
            EventKind::TftpFailed { file, code, message } if !crate::hosts::is_optional(file) => {
                let remedy = sentence("tftp-remedy", if *code == 1 { "missing" } else { "other" });
                self.error("tftp-failed", &[("file", file), ("code", code), ("message", message), ("remedy", &remedy)]);
            }
            EventKind::HttpRequest { path, status, .. } if *status >= 400 && !crate::hosts::is_optional(path) => {
                self.error("http-refused", &[("path", path), ("status", status)]);
            }
            EventKind::IscsiError { target, lba, message } => {
                self.error("iscsi-error", &[("target", target), ("lba", lba), ("message", message)]);
            }
            EventKind::DhcpSilent { reason, .. } => {
                self.add(finding("no-boot-file", Severity::Warning, &[("reason", reason)]));
            }
            EventKind::DhcpNak { address, reason } => {
                self.add(finding("dhcp-nak", Severity::Warning, &[("address", address), ("reason", reason)]));
            }
            EventKind::DhcpAck { .. } => self.cure(&["dhcp-nak"]),
            _ => {}
        }
    }

    fn error(&mut self, id: &str, params: &[Param<'_>]) {
        self.add(finding(id, Severity::Error, params));
    }

    fn add(&mut self, finding: Finding) {
        self.by_id.insert(finding.id.clone(), finding);
    }

    fn cure(&mut self, cured: &[&str]) {
        self.by_id.retain(|id, _| !cured.contains(&id.as_str()));
    }
}

/// The findings about no host in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabFindings {
    services: BTreeMap<ServiceKind, String>,
    foreign: BTreeMap<String, String>,
    broken: Vec<String>,
}

impl LabFindings {
    /// Takes in one event.
    pub fn apply(&mut self, event: &Event) {
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
            EventKind::LabBroken { problems } => self.broken.clone_from(problems),
            EventKind::LabChanged => self.broken.clear(),
            EventKind::EngineStarted { .. } => self.services.clear(),
            EventKind::EngineStopped { .. } => {
                self.services.clear();
                self.foreign.clear();
            }
            _ => {}
        }
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
                list.push(finding("foreign-dhcp", Severity::Warning, &params));
            }
        }
        list.sort_by_key(|f| std::cmp::Reverse(f.severity));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Source, VERSION};
    use jiff::Timestamp;

    fn event(kind: EventKind) -> Event {
        Event { v: VERSION, seq: 1, time: Timestamp::UNIX_EPOCH, host: None, mac: None, source: Source::Served, kind }
    }

    #[test]
    fn a_refused_login_is_explained_until_a_login_succeeds() {
        let mut findings = Findings::default();
        findings.apply(&event(EventKind::IscsiRefused {
            initiator: "i".into(),
            target: "t".into(),
            status: 0x0202,
            reason: "Assign the disk to it.".into(),
        }));
        assert_eq!(findings.list()[0].means, "This machine may not use this disk.");
        findings.apply(&event(EventKind::IscsiLogin {
            initiator: "i".into(),
            target: "t".into(),
            disk: "d".into(),
            firmware: true,
            session: 1,
        }));
        assert_eq!(findings.list(), vec![]);
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
}
