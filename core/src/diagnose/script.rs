//! iPXE and its script: D14, D15, D27, D28, and the errors that the script reports.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::around::Around;
use super::book::{Book, Wait};
use super::codes;
use super::findings::Rules;
use crate::api::{Certainty, ClientKind, Event, EventKind, FindingAction, Place, Severity};
use crate::lang::{finding, sentence};

/// iPXE repeats a DISCOVER at least every 10 s; one that is silent for so long hangs.
const HANGS_AFTER: i64 = 30;
/// iPXE asks for its script as soon as it has an address.
const FETCHES_WITHIN: i64 = 15;
/// Files of one boot that are counted.
const MOST_FILES: usize = 64;
/// iPXE's "no configuration method succeeded", without the platform's byte.
const NO_CONFIGURATION: u32 = 0x040e_e100;

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// iPXE asked and was offered something.
    asked: Option<Wait>,
    /// What the last offer to it had.
    offered: Option<String>,
    /// iPXE has an address and the URL of its script.
    url: Option<(Wait, String)>,
    /// Bytes of each file that it loads, with the event that told of them.
    files: BTreeMap<String, (u64, u64)>,
    memory_mib: Option<u64>,
}

impl Script {
    fn loads(&mut self, event: &Event, path: &str, bytes: u64, book: &mut Book) {
        if !path.starts_with("/media/") || (self.files.len() >= MOST_FILES && !self.files.contains_key(path)) {
            return;
        }
        self.files.insert(path.to_owned(), (bytes, event.seq));
        let Some(memory) = self.memory_mib.filter(|m| *m > 0) else { return };
        let all = self.files.values().fold(0_u64, |sum, (bytes, _)| sum.saturating_add(*bytes)) >> 20;
        if all > memory / 2 {
            let said = finding("memory-small", Severity::Warning, &[("size", &all), ("memory", &memory)]);
            let events: Vec<u64> = self.files.values().map(|(_, seq)| *seq).collect();
            let said = said.sure(Certainty::Likely).proven_by(&events);
            book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Images }));
        }
    }

    fn error(event: &Event, step: &str, code: u32, book: &mut Book) {
        let shown = format!("{code:08x}");
        let decoded = codes::ipxe(code);
        let remedy = match decoded.remedy.is_empty() {
            true => sentence("script-remedy", step).to_owned(),
            false => decoded.remedy.clone(),
        };
        let said = finding(
            "script-error",
            Severity::Error,
            &[("code", &shown), ("step", &step), ("meaning", &decoded.meaning), ("remedy", &remedy)],
        );
        book.raise(event.time, said.proven_by(&[event.seq]));
        if code & !0xff == NO_CONFIGURATION {
            Self::hangs(event.time, &[event.seq], "reported", Certainty::Certain, book);
        }
    }

    fn hangs(at: Timestamp, events: &[u64], how: &str, sure: Certainty, book: &mut Book) {
        let seen = sentence("ipxe-silent", how);
        let said = finding("ipxe-silent", Severity::Warning, &[("seen", &seen)]).sure(sure).proven_by(events);
        book.raise(at, said.cured_by(FindingAction::OtherFirmware));
    }

    fn addressed(&mut self, event: &Event, file: Option<&str>) {
        self.asked = None;
        if let Some(url) = file.filter(|f| f.starts_with("http")) {
            self.url = Some((Wait::behind(event, FETCHES_WITHIN), url.to_owned()));
        }
    }

    fn goes_on(&mut self, book: &mut Book) {
        (self.asked, self.url) = (None, None);
        book.cure(&["ipxe-silent", "script-not-fetched"]);
    }
}

fn is_ipxe(client: ClientKind) -> bool {
    matches!(client, ClientKind::Ipxe | ClientKind::Gpxe)
}

impl Rules for Script {
    fn apply(&mut self, event: &Event, _around: &Around, book: &mut Book) {
        match &event.kind {
            EventKind::DhcpOffer { client, file, .. } if is_ipxe(*client) => {
                self.asked = Some(Wait::behind(event, HANGS_AFTER));
                self.offered.clone_from(file);
            }
            EventKind::DhcpDiscover { client, .. } => {
                self.goes_on(book);
                if !is_ipxe(*client) {
                    self.offered = None;
                }
            }
            EventKind::DhcpAck { client, file, .. } if is_ipxe(*client) => self.addressed(event, file.as_deref()),
            EventKind::DhcpElsewhere { client, .. } if is_ipxe(*client) => {
                let offered = self.offered.clone();
                self.addressed(event, offered.as_deref());
            }
            EventKind::HttpRequest { .. } | EventKind::TftpRequest { .. } | EventKind::ScriptServed { .. } => {
                self.goes_on(book);
                if matches!(event.kind, EventKind::ScriptServed { .. }) {
                    self.files.clear();
                    book.cure(&["memory-small", "initrd-argument", "no-hypervisor"]);
                }
            }
            EventKind::IscsiLogin { .. } => {
                self.goes_on(book);
                book.cure(&["script-error"]);
            }
            EventKind::ScriptStep { step } if matches!(step.as_str(), "kernel-start" | "local") => {
                book.cure(&["script-error"]);
            }
            EventKind::Inventory { memory_mib, .. } => self.memory_mib = memory_mib.or(self.memory_mib),
            EventKind::HttpProgress { path, total, .. } => self.loads(event, path, *total, book),
            EventKind::HttpDone { path, bytes, .. } => self.loads(event, path, *bytes, book),
            EventKind::ScriptError { step, code } => Self::error(event, step, *code, book),
            EventKind::ScriptFlaw { flaw, detail } if flaw == "no-hypervisor" => {
                let said = finding("no-hypervisor", Severity::Error, &[("profile", detail)]);
                let said = said.proven_by(&[event.seq]);
                book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Images }));
            }
            EventKind::ScriptFlaw { flaw, detail } if flaw == "initrd-argument" => {
                let said = finding("initrd-argument", Severity::Warning, &[("argument", detail)]);
                let said = said.proven_by(&[event.seq]);
                book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Images }));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let url = self.url.as_ref().map(|(wait, _)| wait.until);
        self.asked.map(|wait| wait.until).into_iter().chain(url).min()
    }

    fn due(&mut self, now: Timestamp, _around: &Around, book: &mut Book) {
        if let Some(behind) = Wait::over(&mut self.asked, now) {
            Self::hangs(now, &[behind], "silent", Certainty::Likely, book);
        }
        if let Some((wait, url)) = self.url.take_if(|(wait, _)| wait.until <= now) {
            let said = finding("script-not-fetched", Severity::Warning, &[("url", &url), ("seconds", &FETCHES_WITHIN)]);
            let said = said.sure(Certainty::Likely).proven_by(&[wait.behind]);
            book.raise(now, said.cured_by(FindingAction::OtherFirmware));
        }
    }

    fn new_boot(&mut self) {
        *self = Self { memory_mib: self.memory_mib, ..Self::default() };
    }

    fn deaf(&mut self) {
        (self.asked, self.url) = (None, None);
    }
}
