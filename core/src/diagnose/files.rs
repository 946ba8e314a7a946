//! The boot file on its way: D1, D2, D7 to D11, D16, D17.

use jiff::{SignedDuration, Timestamp};

use super::around::Around;
use super::book::{Book, Wait};
use super::findings::Rules;
use crate::api::{Certainty, ClientKind, Event, EventKind, FindingAction, HttpsRefusal, Place, ServiceKind, Severity};
use crate::lang::{finding, sentence};

/// After an ACK, firmware asks for its file at once; this is far more than it needs.
const ASKS_WITHIN: i64 = 15;
/// iPXE that asks for a boot file within this time was given one.
const LOOPS_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Firmware that begins anew so soon has not been restarted: it has not started what it got.
const REFUSED_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// Later than this nothing can be told. UEFI tries IPv6 first, for a minute and a half.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_secs(180);
/// iPXE speaks within this time, even where it must wait for its link.
const SPEAKS_WITHIN: i64 = 45;
/// What is in the names of iPXE's builds.
const IPXE: [&str; 3] = ["ipxe", "snponly", "undionly"];
/// An answer that is quick may be told before the DISCOVER that it answers.
const QUICK: SignedDuration = SignedDuration::from_secs(1);
/// How names of boot programs end.
const PROGRAMS: [&str; 6] = [".efi", ".kpxe", ".kkpxe", ".kkkpxe", ".pxe", ".0"];

/// Where on our HTTP server the files of a boot are.
const OURS: [&str; 4] = ["/media/", "/firmware/", "/boot/", "/answers/"];

#[derive(Debug, Clone)]
struct Program {
    file: String,
    seq: u64,
    at: Timestamp,
    bytes: u64,
    /// Another server named it; and which file is ours.
    named: Option<(String, String)>,
}

/// A server whose offer names a boot file.
#[derive(Debug, Clone)]
struct Rival {
    server: String,
    file: String,
    at: Timestamp,
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// What was given, and is to be asked for.
    given: Option<(Wait, String, bool)>,
    /// The last boot program that was delivered whole; outlives boots.
    program: Option<Program>,
    /// iPXE has spoken since then.
    ipxe: Option<(Timestamp, u64)>,
    /// It was delivered, and is to be seen at work.
    speaks: Option<Wait>,
    /// What we offered.
    ours: Option<String>,
    /// A file that does not fit was named for it.
    unfit: bool,
    rival: Option<Rival>,
    /// A boot began whose DISCOVER is still to come.
    anew: bool,
}

fn is_program(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    PROGRAMS.iter().any(|end| lower.ends_with(end))
}

/// Only iPXE asks for this, before it asks for an address.
fn is_autoexec(path: &str) -> bool {
    leaf(path).eq_ignore_ascii_case("autoexec.ipxe")
}

/// Whether a file of a boot was asked for that is not there or not for this machine. A wrong method (405) and a server that is busy
/// (503) tell nothing of the file.
fn is_refusal(path: &str, status: u16) -> bool {
    OURS.iter().any(|folder| path.starts_with(folder)) && status >= 400 && !matches!(status, 405 | 503)
}

fn leaf(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Files {
    fn requested(&mut self, event: &Event, file: &str, book: &mut Book) {
        (self.given, self.speaks) = (None, None);
        book.cure(&["boot-file-not-asked", "http-boot-not-asked", "https-refused"]);
        if is_autoexec(file) {
            self.started(book);
            return;
        }
        let Some((spoke, seq)) = self.ipxe else { return };
        let again = self.program.as_ref().filter(|p| p.file == leaf(file));
        if let Some(program) = again.filter(|_| event.time.duration_since(spoke) < LOOPS_WITHIN) {
            let by = self.rival();
            let said = finding("boot-loop", Severity::Error, &[("file", &program.file), ("server", &by)]);
            book.raise(event.time, said.proven_by(&[program.seq, seq, event.seq]));
        }
    }

    /// Who else named a boot file.
    fn rival(&self) -> String {
        match &self.rival {
            Some(rival) => sentence("rival", "server").replace("{server}", &rival.server),
            None => sentence("rival", "none").to_owned(),
        }
    }

    fn delivered(&mut self, event: &Event, file: &str, bytes: u64) {
        let file = leaf(file).to_owned();
        let named =
            self.rival.as_ref().zip(self.ours.as_ref()).filter(|(rival, ours)| rival.file == file && **ours != file);
        let named = named.map(|(rival, ours)| (rival.server.clone(), ours.clone()));
        let lower = file.to_ascii_lowercase();
        let is_ipxe = is_program(&file) && IPXE.iter().any(|word| lower.contains(word));
        self.speaks = is_ipxe.then(|| Wait::behind(event, SPEAKS_WITHIN));
        let program = is_program(&file).then_some(Program { file, seq: event.seq, at: event.time, bytes, named });
        if self.program.as_ref().map(|p| &p.file) != program.as_ref().map(|p| &p.file) {
            self.ipxe = None;
        }
        self.program = program;
    }

    fn started(&mut self, book: &mut Book) {
        self.unfit = false;
        self.speaks = None;
        book.cure(&["nbp-not-started"]);
        if let Some(program) = &mut self.program {
            // Delivered and at work: what the firmware asks later is another start of the machine.
            program.at = Timestamp::MIN;
        }
    }

    /// Firmware asks: if it has just been given a program, that did not start.
    fn begins(&mut self, event: &Event, book: &mut Book) {
        (self.ipxe, self.speaks) = (None, None);
        let Some(program) = self.program.take() else { return };
        let since = event.time.duration_since(program.at);
        if since <= TOLD_WITHIN {
            let sure = if since < REFUSED_WITHIN { Certainty::Likely } else { Certainty::Possible };
            self.not_started(event.time, &program, ("anew", sure), &[program.seq, event.seq], book);
        }
    }

    fn not_started(
        &self,
        at: Timestamp,
        program: &Program,
        (how, sure): (&str, Certainty),
        events: &[u64],
        book: &mut Book,
    ) {
        let (server, ours) = program.named.clone().unwrap_or_default();
        let (why, sure) = match (program.bytes, self.unfit, &program.named) {
            (0, _, _) => ("empty", Certainty::Certain),
            (_, true, _) => ("unfit", sure),
            (_, _, Some(_)) => ("rival", Certainty::Likely),
            _ => ("other", sure),
        };
        let seen = sentence("not-started-seen", how).replace("{seconds}", &SPEAKS_WITHIN.to_string());
        let means = sentence("not-started-means", why).replace("{server}", &server).replace("{ours}", &ours);
        let remedy = sentence("not-started-remedy", why).replace("{server}", &server).replace("{ours}", &ours);
        let said = finding(
            "nbp-not-started",
            Severity::Error,
            &[
                ("file", &program.file),
                ("bytes", &program.bytes),
                ("seen", &seen),
                ("means", &means),
                ("remedy", &remedy),
            ],
        );
        let said = said.sure(sure).proven_by(events);
        // Another build does not help where another server says which it is.
        let said = if why == "rival" { said } else { said.cured_by(FindingAction::OtherFirmware) };
        book.raise(at, said);
    }

    fn unheard(event: &Event, book: &mut Book) {
        let EventKind::Unheard { service, port, packets, refused } = &event.kind else { return };
        let why = sentence("unheard", if *refused { "refused" } else { "dropped" });
        let id = match service {
            ServiceKind::Tftp => "tftp-unheard",
            ServiceKind::Http | ServiceKind::Https | ServiceKind::Iscsi => "port-closed",
            _ => return,
        };
        let name = sentence(
            "service",
            match service {
                ServiceKind::Tftp => "tftp",
                ServiceKind::Iscsi => "iscsi",
                ServiceKind::Https => "https",
                _ => "http",
            },
        );
        let proto = if *service == ServiceKind::Tftp { "udp" } else { "tcp" };
        let said = finding(
            id,
            Severity::Error,
            &[("service", &name), ("port", port), ("protocol", &proto), ("packets", packets), ("means", &why)],
        );
        let said = said.proven_by(&[event.seq]);
        book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Network }));
    }

    fn unanswered(event: &Event, book: &mut Book) {
        let EventKind::TftpUnanswered { file, block, block_size, tries, next } = &event.kind else { return };
        let (means, remedy) = match (block, next) {
            (0, _) => (sentence("unanswered-means", "options"), sentence("unanswered-remedy", "other").to_owned()),
            (_, Some(next)) => (
                sentence("unanswered-means", "size"),
                sentence("unanswered-remedy", "size").replace("{next}", &next.to_string()),
            ),
            (_, None) => (sentence("unanswered-means", "data"), sentence("unanswered-remedy", "other").to_owned()),
        };
        let said = finding(
            "tftp-unanswered",
            Severity::Warning,
            &[("file", file), ("tries", tries), ("size", block_size), ("means", &means), ("remedy", &remedy)],
        );
        book.raise(event.time, said.sure(Certainty::Likely).proven_by(&[event.seq]));
    }
}

impl Rules for Files {
    fn apply(&mut self, event: &Event, _around: &Around, book: &mut Book) {
        if matches!(event.kind, EventKind::DhcpDiscover { .. }) && std::mem::take(&mut self.anew) {
            self.rival = self.rival.take().filter(|rival| event.time.duration_since(rival.at) < QUICK);
        }
        match &event.kind {
            EventKind::DhcpDiscover { client: ClientKind::PxeRom | ClientKind::HttpBoot, .. } => {
                self.given = None;
                self.begins(event, book);
            }
            EventKind::DhcpDiscover { client: ClientKind::Ipxe | ClientKind::Gpxe, .. } => {
                self.started(book);
                self.ipxe = Some((event.time, event.seq));
            }
            EventKind::DhcpDiscover { client: ClientKind::Os, .. } => {
                (self.program, self.given, self.speaks) = (None, None, None);
                book.cure(&["nbp-not-started", "boot-file-not-asked"]);
            }
            EventKind::DhcpOffer { client: ClientKind::PxeRom, file: Some(file), .. } => {
                self.ours = Some(leaf(file).to_owned());
            }
            EventKind::DhcpAck { client, file: Some(file), .. } => {
                let http = *client == ClientKind::HttpBoot;
                if http || *client == ClientKind::PxeRom {
                    self.given = Some((Wait::behind(event, ASKS_WITHIN), leaf(file).to_owned(), http));
                }
            }
            EventKind::ForeignOffer { server, file: Some(file), .. } if !file.is_empty() => {
                let (server, file) = (server.to_string(), leaf(file).to_owned());
                self.rival = Some(Rival { server, file, at: event.time });
            }
            EventKind::BootFileUnfit { file, made_for, arch } => {
                let params: [(&str, &dyn std::fmt::Display); 3] =
                    [("file", file), ("made-for", made_for), ("arch", arch)];
                let said = finding("boot-file-unfit", Severity::Warning, &params);
                self.unfit = true;
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            EventKind::TftpRequest { file, .. } => {
                book.cure(&["tftp-unheard"]);
                self.requested(event, file, book);
            }
            EventKind::TftpProgress { .. } => book.cure(&["tftp-unanswered"]),
            EventKind::TftpDone { file, bytes, .. } => {
                book.cure(&["tftp-failed", "tftp-unanswered"]);
                self.delivered(event, file, *bytes);
            }
            EventKind::HttpDone { path, bytes, .. } if path.starts_with("/firmware/") => {
                self.delivered(event, path, *bytes);
            }
            EventKind::TftpUnanswered { .. } => Self::unanswered(event, book),
            EventKind::TftpNameTail { file } => {
                let by = self.rival();
                let said = finding("boot-file-tail", Severity::Info, &[("file", file), ("server", &by)]);
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            EventKind::TftpFailed { file, code, message } if !crate::hosts::is_optional(file) => {
                let remedy = sentence("tftp-remedy", if *code == 1 { "missing" } else { "other" });
                let params: [(&str, &dyn std::fmt::Display); 4] =
                    [("file", file), ("code", code), ("message", message), ("remedy", &remedy)];
                book.raise(event.time, finding("tftp-failed", Severity::Error, &params).proven_by(&[event.seq]));
                self.given = None;
            }
            EventKind::TftpFailed { file, .. } if is_autoexec(file) => self.started(book),
            EventKind::HttpRequest { path, status, .. } => {
                book.cure(&["port-closed"]);
                self.requested(event, path, book);
                if is_refusal(path, *status) && !crate::hosts::is_optional(path) {
                    let said = finding("http-refused", Severity::Error, &[("path", path), ("status", status)]);
                    book.raise(event.time, said.proven_by(&[event.seq]));
                }
            }
            EventKind::ScriptStep { step } if matches!(step.as_str(), "kernel-start" | "local") => {
                book.cure(&["http-refused"]);
            }
            EventKind::IscsiLogin { .. } => book.cure(&["http-refused", "port-closed"]),
            EventKind::ScriptServed { .. } => {
                self.started(book);
                book.cure(&["tftp-failed", "boot-loop", "tftp-unheard", "boot-file-unfit"]);
            }
            EventKind::Unheard { .. } => Self::unheard(event, book),
            EventKind::HttpsRefused { why, .. } => {
                self.given = None;
                let why = match why {
                    HttpsRefusal::NoCommonMethod => "method",
                    HttpsRefusal::UnknownAuthority => "authority",
                };
                let params: [(&str, &dyn std::fmt::Display); 3] = [
                    ("seen", &sentence("https-seen", why)),
                    ("means", &sentence("https-means", why)),
                    ("remedy", &sentence("https-remedy", why)),
                ];
                let said = finding("https-refused", Severity::Error, &params);
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let given = self.given.as_ref().map(|(wait, ..)| wait.until);
        given.into_iter().chain(self.speaks.map(|wait| wait.until)).min()
    }

    fn due(&mut self, now: Timestamp, _around: &Around, book: &mut Book) {
        if let Some((wait, file, http)) = self.given.take_if(|(wait, ..)| wait.until <= now) {
            let id = if http { "http-boot-not-asked" } else { "boot-file-not-asked" };
            let said = finding(id, Severity::Warning, &[("file", &file), ("seconds", &ASKS_WITHIN)]);
            book.raise(now, said.sure(Certainty::Likely).proven_by(&[wait.behind]));
        }
        if let Some(behind) = Wait::over(&mut self.speaks, now)
            && let Some(program) = &self.program
        {
            self.not_started(now, program, ("silent", Certainty::Possible), &[behind], book);
        }
    }

    fn new_boot(&mut self) {
        (self.given, self.speaks, self.ours) = (None, None, None);
        self.anew = true;
    }

    fn deaf(&mut self) {
        (self.given, self.speaks) = (None, None);
        self.program = None;
    }
}
