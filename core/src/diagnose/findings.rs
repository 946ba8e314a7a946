//! The folds: one over a host's events, one over the lab's.

use std::collections::BTreeMap;

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
            EventKind::ScriptError { step, code } => self.script_error(step, *code),
            EventKind::IscsiRefused { initiator, target, status, reason } => self.add(Finding {
                id: "iscsi-refused".into(),
                severity: Severity::Error,
                seen: format!("{initiator} asked for {target} and got status {status:04x}."),
                means: refused_means(*status).into(),
                remedy: reason.clone(),
            }),
            EventKind::IscsiLogin { .. } => self.cure(&["iscsi-refused", "script-error"]),
            EventKind::ScriptServed { .. } => self.cure(&["tftp-failed", "no-boot-file"]),
            EventKind::TftpDone { .. } => self.cure(&["tftp-failed"]),
            EventKind::TftpFailed { file, code, message } if !crate::hosts::is_optional(file) => self.add(Finding {
                id: "tftp-failed".into(),
                severity: Severity::Error,
                seen: format!("The machine asked for `{file}` over TFTP; error {code}: {message}."),
                means: "Its firmware did not get the boot file and will give up or try the next boot device.".into(),
                remedy: match code {
                    1 => "Put the file into the lab's firmware folder, or take away the setting that names it.".into(),
                    _ => "Check cable and switch, and that no firewall on the machine's side drops UDP.".into(),
                },
            }),
            EventKind::HttpRequest { path, status, .. } if *status >= 400 => self.add(Finding {
                id: "http-refused".into(),
                severity: Severity::Error,
                seen: format!("The machine asked for `{path}` and got HTTP {status}."),
                means: "A file that its script names is not there, or is not for this machine.".into(),
                remedy:
                    "Look at the profile's kernel, initrds and answer file; `bootyard check` names what is missing."
                        .into(),
            }),
            EventKind::IscsiError { target, lba, message } => self.add(Finding {
                id: "iscsi-error".into(),
                severity: Severity::Error,
                seen: format!("A command to {target} at block {lba} failed: {message}."),
                means: "The machine got an input/output error; what was acknowledged before is kept.".into(),
                remedy: "Free space on the disk that holds the lab, then start the machine again.".into(),
            }),
            EventKind::DhcpSilent { reason, .. } => self.add(Finding {
                id: "no-boot-file".into(),
                severity: Severity::Warning,
                seen: format!("A request of this machine was not answered in full: {reason}."),
                means: "It will not boot from here as it stands.".into(),
                remedy: "Mend what is named, then start the machine again.".into(),
            }),
            EventKind::DhcpNak { address, reason } => self.add(Finding {
                id: "dhcp-nak".into(),
                severity: Severity::Warning,
                seen: format!("The machine wanted {address} and was refused: {reason}."),
                means: "It will ask for another address; a boot goes on after that.".into(),
                remedy: "Nothing, unless it happens at each boot: then another DHCP server gave it that address."
                    .into(),
            }),
            EventKind::DhcpAck { .. } => self.cure(&["dhcp-nak"]),
            _ => {}
        }
    }

    fn script_error(&mut self, step: &str, code: u32) {
        self.add(Finding {
            id: "script-error".into(),
            severity: Severity::Error,
            seen: format!("iPXE reported error {code:08x} in step `{step}`."),
            means: format!("See https://ipxe.org/{code:08x}."),
            remedy: "Mend the cause; the machine tries again by itself.".into(),
        });
    }

    fn add(&mut self, finding: Finding) {
        self.by_id.insert(finding.id.clone(), finding);
    }

    fn cure(&mut self, cured: &[&str]) {
        self.by_id.retain(|id, _| !cured.contains(&id.as_str()));
    }
}

fn refused_means(status: u16) -> &'static str {
    match status {
        0x0201 => "The initiator could not prove who it is: user name or secret differ.",
        0x0202 => "This machine may not use this disk.",
        0x0203 => "There is no disk of that name here.",
        0x0301 => "The disk is there but can't be served now.",
        0x0302 => "The server has no room for another session.",
        _ => "The target refused the login.",
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
            list.push(Finding {
                id: "service-failed".into(),
                severity: Severity::Error,
                seen: format!("{service:?} does not run: {error}."),
                means: "Machines get no answer from it.".into(),
                remedy: "Mend what is named, then press Start again.".into(),
            });
        }
        if !self.broken.is_empty() {
            list.push(Finding {
                id: "lab-broken".into(),
                severity: Severity::Error,
                seen: self.broken.join(" "),
                means: "lab.toml was changed and has problems; what was in force before stays in force.".into(),
                remedy: "Mend the file; `bootyard check` shows each problem with its line.".into(),
            });
        }
        for (interface, server) in &self.foreign {
            if !proxy(interface) {
                list.push(Finding {
                    id: "foreign-dhcp".into(),
                    severity: Severity::Warning,
                    seen: format!("Another DHCP server answers on {interface}: {server}."),
                    means: "Machines may get its address and its boot file; new offers of ours are held back.".into(),
                    remedy: "Choose ProxyDHCP mode for this network, or switch the other server off.".into(),
                });
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
