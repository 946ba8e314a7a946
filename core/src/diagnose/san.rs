//! The disk over the network: D20 to D26.

use jiff::{SignedDuration, Timestamp};

use super::around::Around;
use super::book::{Book, Wait};
use super::findings::Rules;
use crate::api::{Certainty, ClientKind, Event, EventKind, FindingAction, Place, ServiceKind, Severity};
use crate::boot::{Arch, initiator_name};
use crate::lab::{Boot, Name};
use crate::lang::{finding, sentence};
use crate::net::MacAddr;

/// The firmware connects as soon as it is told to.
const CONNECTS_WITHIN: i64 = 20;
/// An operating system that has started is logged in within this time.
const LOGS_IN_WITHIN: i64 = 90;
/// A boot loader alone reads less than this; with a kernel and its initramfs it is more.
const KERNEL_BYTES: u64 = 12 << 20;
/// Sessions that end for another one so often in so short a time are two machines'.
const TAKEN_OVER: (usize, SignedDuration) = (4, SignedDuration::from_secs(60));
/// The status of a login that may not use its target.
const NOT_ALLOWED: u16 = 0x0202;
/// How the target words the end of a session: by the initiator, and by another login of the same one.
const CLOSED: [&str; 2] = ["logged out", "the initiator closed the connection"];
const REINSTATED: &str = "the same initiator logged in again";
/// Troubles of a disk, by what they keep from booting it: images are looked at for these two.
const NO_LOADER: [(&str, Arch); 2] = [("no-uefi-loader", Arch::UefiX64), ("no-bios-loader", Arch::Bios)];
/// The trouble of a disk whose system cannot log in by itself.
const NO_ISCSI: &str = "no-iscsi-initramfs";
/// The trouble of a disk that has Xen, under which no kernel sees an iBFT.
const HAS_XEN: &str = "xen-hides-ibft";
/// What is known of a disk without a kernel that could be started directly.
const WINDOWS: &str = "windows";
/// The image is looked into meanwhile.
const LOOKED_INTO_WITHIN: i64 = 30;

#[derive(Debug, Clone)]
struct Given {
    disk: String,
    /// Its kernel comes over HTTP; the disk is for the system alone.
    direct: bool,
    hypervisor: bool,
}

/// What was told of a system that does not log in, to be told anew once its disk's image was looked into.
#[derive(Debug, Clone)]
struct Wonder {
    until: Timestamp,
    given: Given,
    seen: String,
    sure: Certainty,
    events: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Unfinished {
    given: Given,
    events: Vec<u64>,
}

impl Given {
    /// How its kernel gets to the disk; `xen`: the image is known to have it.
    fn way(&self, xen: bool) -> &'static str {
        match (self.direct, self.hypervisor) {
            (true, true) => "xen-direct",
            (true, false) => "direct",
            _ if xen => "xen",
            _ => "disk",
        }
    }

    /// What a button does about a system that does not log in. One whose initramfs cannot log in at all is not helped by another way of
    /// starting it, nor one that has its kernel directly already.
    fn cure(&self, cannot: bool) -> FindingAction {
        let helps = !cannot && !self.direct;
        // Of a root path of somebody else only the target's name is known, and that is no disk's.
        match self.disk.parse::<Name>() {
            Ok(disk) if helps => FindingAction::StartDirectly { disk: disk.to_string() },
            _ => FindingAction::Show { place: Place::Images },
        }
    }
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct San {
    arch: Option<Arch>,
    given: Option<Given>,
    connects: Option<Wait>,
    /// The firmware's session with the event of its login.
    firmware: Option<(u16, u64)>,
    system: bool,
    /// The system asked for an address after it had logged in.
    readdressed: Option<u64>,
    /// What says that a kernel was started.
    started: Vec<u64>,
    /// The started system has asked for an address.
    asked: bool,
    /// It has started and is not logged in.
    logs_in: Option<Wait>,
    /// The firmware has read as much as a kernel is: the event that told of the last of it.
    loaded: Option<u64>,
    /// And reads no more.
    idle: Option<Wait>,
    /// In the last boot a kernel was read or started, and did not log in.
    unfinished: Option<Unfinished>,
    /// The disk of which it was told that its system does not log in. Lasts from boot to boot.
    told: Option<String>,
    /// Why nobody logs in may be known once the image was looked into. Lasts as long as what was told.
    wonders: Option<Wonder>,
    taken_over: Vec<(Timestamp, u64)>,
}

impl San {
    /// What it gets is said anew.
    fn begin(&mut self, disk: Option<&str>, book: &mut Book) {
        *self = Self { arch: self.arch, told: self.told.take(), wonders: self.wonders.take(), ..Self::default() };
        book.cure(&["san-not-reached", "no-gateway", "disk-not-bootable"]);
        self.is_given(disk, book);
    }

    /// What was told of one disk is nothing against another.
    fn is_given(&mut self, disk: Option<&str>, book: &mut Book) {
        if self.told.as_deref() != disk {
            (self.told, self.wonders) = (None, None);
            book.cure(&["no-system-login"]);
        }
    }

    /// The disk about whose image more should be known.
    pub(super) fn wonders(&self) -> Option<&str> {
        let wonder = self.wonders.as_ref().filter(|wonder| !wonder.given.direct)?;
        Some(&wonder.given.disk)
    }

    fn served(&mut self, event: &Event, boot: &Boot, around: &Around, book: &mut Book) {
        self.begin(disk_of(boot), book);
        let Boot::Iscsi(iscsi) = boot else { return };
        let direct = iscsi.profile.is_some();
        if !direct {
            self.connects = Some(Wait::behind(event, CONNECTS_WITHIN));
            self.bootable(event, iscsi.disk.as_str(), around, book);
        }
        self.given = Some(Given { disk: iscsi.disk.to_string(), direct, hypervisor: false });
    }

    fn bootable(&self, event: &Event, disk: &str, around: &Around, book: &mut Book) {
        let Some(arch) = self.arch else { return };
        for (trouble, kept) in NO_LOADER {
            if arch.without_http() == kept
                && let Some(seq) = around.trouble(disk, trouble)
            {
                let why = sentence("disk-trouble", trouble);
                let said = finding(
                    "disk-not-bootable",
                    Severity::Warning,
                    &[("disk", &disk), ("arch", &arch), ("means", &why)],
                );
                let said = said.proven_by(&[seq, event.seq]);
                book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Images }));
            }
        }
    }

    fn login(&mut self, event: &Event, firmware: bool, session: u16, book: &mut Book) {
        self.connects = None;
        book.cure(&["san-not-reached", "no-gateway", "iscsi-refused", "system-network-reset"]);
        self.taken_over.retain(|(at, _)| event.time.duration_since(*at) < TAKEN_OVER.1);
        if self.taken_over.len() < TAKEN_OVER.0 {
            book.cure(&["same-initiator"]);
        }
        if firmware {
            (self.firmware, self.system) = (Some((session, event.seq)), false);
            (self.idle, self.loaded) = (None, None);
            // A kernel that was started directly asks the BIOS for its disks: it has started all the same.
            let goes_on = self.given.as_ref().is_some_and(|g| g.direct) && !self.started.is_empty();
            if !goes_on {
                self.started.clear();
                (self.logs_in, self.asked) = (None, false);
            }
        } else {
            self.system = true;
            (self.logs_in, self.idle, self.readdressed) = (None, None, None);
            (self.told, self.wonders) = (None, None);
            // It runs, so something did boot the disk.
            book.cure(&["no-system-login", "disk-not-bootable"]);
        }
    }

    /// Something that only a started kernel does.
    fn kernel(&mut self, event: &Event, within: i64) {
        let on_disk = self.given.as_ref().is_some_and(|g| g.direct) || self.firmware.is_some();
        if self.given.is_some() && on_disk && !self.system {
            if self.started.len() < 8 {
                self.started.push(event.seq);
            }
            self.logs_in.get_or_insert(Wait::behind(event, within));
        }
    }

    /// The firmware's program goes on: no kernel runs.
    fn back_in_script(&mut self) {
        (self.connects, self.logs_in, self.idle) = (None, None, None);
        (self.loaded, self.asked) = (None, false);
        self.started.clear();
    }

    /// The firmware reads. It may be a loader's menu that is silent then; what is as large as a kernel is hardly that.
    fn reads(&mut self, event: &Event, session: u16, read: u64) {
        if self.firmware.is_none_or(|(s, _)| s != session) || self.system {
            return;
        }
        if let Some(wait) = &mut self.logs_in {
            // It still reads: the kernel does not run yet.
            wait.until = Wait::behind(event, LOGS_IN_WITHIN).until;
        }
        if read >= KERNEL_BYTES && self.given.as_ref().is_some_and(|given| !given.direct) {
            self.loaded = Some(event.seq);
            self.idle = Some(Wait::behind(event, LOGS_IN_WITHIN));
        }
    }

    /// Its firmware asks again: the kernel that it had read did not get to its disk.
    fn again(&mut self, event: &Event, around: &Around, book: &mut Book) {
        if let Some(Unfinished { given, mut events }) = self.unfinished.take() {
            events.push(event.seq);
            let seen = sentence("no-login-seen", "again").replace("{disk}", &given.disk);
            self.does_not_log_in((event.time, &seen), &given, Certainty::Likely, events, around, book);
        }
    }

    fn refused(event: &Event, book: &mut Book) {
        let EventKind::IscsiRefused { initiator, target, status, reason } = &event.kind else { return };
        let code = format!("{status:04x}");
        let meaning = sentence("iscsi-status", &code);
        let said = finding(
            "iscsi-refused",
            Severity::Error,
            &[
                ("initiator", initiator),
                ("target", target),
                ("status", &code),
                ("meaning", &meaning),
                ("reason", reason),
            ],
        );
        book.raise(event.time, said.proven_by(&[event.seq]));
        let any = initiator_name(MacAddr([0; 6]));
        let prefix = any.strip_suffix(&MacAddr([0; 6]).hyphenated()).unwrap_or(&any);
        let ours = event.mac.map(initiator_name);
        let issued = initiator.strip_prefix(prefix).and_then(|mac| mac.parse::<MacAddr>().ok());
        // A machine has a name for each of its network cards, and only the gate knows all of them: it refuses a name that is none of
        // these, and then says whose it is.
        let disagrees = *status == NOT_ALLOWED && issued.is_some_and(|mac| reason.contains(&mac.to_string()));
        if disagrees && ours.as_ref().is_some_and(|name| name != initiator) {
            let how = sentence("same-initiator", "issued").replace("{initiator}", initiator);
            let said = finding("same-initiator", Severity::Warning, &[("seen", &how)]);
            book.raise(event.time, said.sure(Certainty::Likely).proven_by(&[event.seq]));
        }
    }

    fn ended(&mut self, event: &Event, session: u16, reason: &str, book: &mut Book) {
        if self.firmware.is_some_and(|(s, _)| s == session) && CLOSED.contains(&reason) {
            // UEFI lets go of it when a kernel takes the machine over. That is less than a packet of that kernel, unless one was read.
            let within = if self.loaded.is_some() { LOGS_IN_WITHIN } else { 2 * LOGS_IN_WITHIN };
            self.kernel(event, within);
        }
        if reason != REINSTATED {
            return;
        }
        let (most, within) = TAKEN_OVER;
        self.taken_over.retain(|(at, _)| event.time.duration_since(*at) < within);
        self.taken_over.push((event.time, event.seq));
        if self.taken_over.len() >= most {
            let how = sentence("same-initiator", "taken").replace("{count}", &self.taken_over.len().to_string());
            let events: Vec<u64> = self.taken_over.iter().map(|(_, seq)| *seq).collect();
            let said = finding("same-initiator", Severity::Warning, &[("seen", &how)]);
            book.raise(event.time, said.sure(Certainty::Possible).proven_by(&events));
            self.taken_over.truncate(16);
        }
    }

    /// Nobody logged in, for so long; `started`: a kernel was seen to start.
    fn not_logged_in(&mut self, at: Timestamp, started: bool, around: &Around, book: &mut Book) {
        let Some(given) = self.given.clone().filter(|_| !self.system) else { return };
        let seen = sentence("no-login-seen", if started { "started" } else { "read" });
        let seen = seen.replace("{disk}", &given.disk).replace("{seconds}", &LOGS_IN_WITHIN.to_string());
        let sure = if started { Certainty::Likely } else { Certainty::Possible };
        let events = self.came_so_far();
        self.does_not_log_in((at, &seen), &given, sure, events, around, book);
    }

    /// The events of the firmware's login, of the last that it read, and of the kernel's start.
    fn came_so_far(&self) -> Vec<u64> {
        let login = self.firmware.map(|(_, seq)| seq);
        login.into_iter().chain(self.loaded).chain(self.started.iter().copied()).collect()
    }

    fn unfinished(&self) -> Option<Unfinished> {
        let given =
            self.given.as_ref().filter(|_| !self.system && (self.loaded.is_some() || !self.started.is_empty()))?;
        Some(Unfinished { given: given.clone(), events: self.came_so_far() })
    }

    fn does_not_log_in(
        &mut self,
        (at, seen): (Timestamp, &str),
        given: &Given,
        sure: Certainty,
        mut events: Vec<u64>,
        around: &Around,
        book: &mut Book,
    ) {
        let known = around.trouble(&given.disk, NO_ISCSI);
        let xen = around.trouble(&given.disk, HAS_XEN).filter(|_| known.is_none() && !given.direct);
        let windows = around.trouble(&given.disk, WINDOWS).filter(|_| known.is_none());
        let way = if windows.is_some() { "windows" } else { given.way(xen.is_some()) };
        let (means, remedy) = (sentence("no-login-means", way), sentence("no-login-remedy", way));
        let remedy = remedy.replace("{disk}", &given.disk);
        let said =
            finding("no-system-login", Severity::Error, &[("seen", &seen), ("means", &means), ("remedy", &remedy)]);
        let why = known.or(xen).or(windows);
        if why.is_none() {
            let until = at.checked_add(SignedDuration::from_secs(LOOKED_INTO_WITHIN)).unwrap_or(Timestamp::MAX);
            let (given, seen, events) = (given.clone(), seen.to_owned(), events.clone());
            self.wonders = Some(Wonder { until, given, seen, sure, events });
        }
        events.splice(..0, why);
        let said = said.sure(if known.is_some() { Certainty::Certain } else { sure }).proven_by(&events);
        book.raise(at, said.cured_by(given.cure(known.or(windows).is_some())));
        self.told = Some(given.disk.clone());
    }
}

/// The disk that its firmware boots, or from which a kernel is started directly.
fn disk_of(boot: &Boot) -> Option<&str> {
    match boot {
        Boot::Iscsi(iscsi) => Some(iscsi.disk.as_str()),
        _ => None,
    }
}

impl Rules for San {
    fn apply(&mut self, event: &Event, around: &Around, book: &mut Book) {
        match &event.kind {
            EventKind::DhcpDiscover { client, arch, .. } => {
                if *client == ClientKind::Os {
                    self.readdressed = self.system.then_some(event.seq);
                    if !std::mem::replace(&mut self.asked, true) {
                        // It has come so far, however long its start took; its login is still to come.
                        self.logs_in = None;
                    }
                    self.kernel(event, LOGS_IN_WITHIN);
                } else {
                    self.arch = arch.or(self.arch);
                    self.again(event, around, book);
                }
            }
            EventKind::DhcpAck { client: ClientKind::Ipxe | ClientKind::Gpxe, root_path: Some(root), disk, .. } => {
                // RFC 4173: the target's name is the last part and has colons itself. Of another server's disk only that is known.
                let target = || root.splitn(6, ':').last().unwrap_or(root).to_owned();
                let disk = disk.clone().unwrap_or_else(target);
                self.begin(Some(&disk), book);
                self.bootable(event, &disk, around, book);
                self.given = Some(Given { disk, direct: false, hypervisor: false });
                self.connects = Some(Wait::behind(event, CONNECTS_WITHIN));
            }
            EventKind::DhcpAck { client: ClientKind::Os, .. } => {
                self.readdressed = self.system.then_some(event.seq);
            }
            EventKind::ScriptServed { boot, .. } => self.served(event, boot, around, book),
            EventKind::ScriptStep { step } => match step.as_str() {
                "san-start" => self.connects = Some(Wait::behind(event, CONNECTS_WITHIN)),
                "kernel-start" => self.kernel(event, LOGS_IN_WITHIN),
                "local" => self.back_in_script(),
                _ => {}
            },
            EventKind::HttpRequest { path, .. } if path.starts_with("/media/") && path.contains("/hypervisor/") => {
                if let Some(given) = &mut self.given {
                    given.hypervisor = true;
                }
            }
            EventKind::ScriptError { .. } => self.back_in_script(),
            EventKind::Assigned { to, .. } => self.is_given(disk_of(to), book),
            EventKind::ScriptFlaw { flaw, detail } if flaw == "no-gateway" => {
                let said = finding("no-gateway", Severity::Warning, &[("target", detail)]);
                let said = said.proven_by(&[event.seq]);
                book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Network }));
            }
            EventKind::IscsiLogin { firmware, session, .. } => self.login(event, *firmware, *session, book),
            EventKind::IscsiRedirected { .. } => self.connects = None,
            EventKind::IscsiRefused { .. } => {
                self.connects = None;
                Self::refused(event, book);
            }
            EventKind::IscsiProgress { session, read, .. } => self.reads(event, *session, *read),
            EventKind::IscsiEnded { session, reason, .. } => self.ended(event, *session, reason, book),
            EventKind::IscsiError { target, lba, message } => {
                let params: [(&str, &dyn std::fmt::Display); 3] =
                    [("target", target), ("lba", lba), ("message", message)];
                book.raise(event.time, finding("iscsi-error", Severity::Error, &params).proven_by(&[event.seq]));
            }
            EventKind::TcpRetransmits { service: ServiceKind::Iscsi, packets, .. } => {
                if let Some(asked) = self.readdressed {
                    let said = finding("system-network-reset", Severity::Error, &[("packets", packets)]);
                    book.raise(event.time, said.sure(Certainty::Likely).proven_by(&[asked, event.seq]));
                }
            }
            EventKind::ViaGateway { address, gateway } => {
                let said = finding("via-gateway", Severity::Warning, &[("address", address), ("gateway", gateway)]);
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let wonders = self.wonders.as_ref().map(|wonder| wonder.until);
        [self.connects, self.logs_in, self.idle].into_iter().flatten().map(|wait| wait.until).chain(wonders).min()
    }

    fn due(&mut self, now: Timestamp, around: &Around, book: &mut Book) {
        if let Some(behind) = Wait::over(&mut self.connects, now) {
            let disk = self.given.as_ref().map_or("", |g| g.disk.as_str());
            let said = finding("san-not-reached", Severity::Error, &[("disk", &disk), ("seconds", &CONNECTS_WITHIN)]);
            book.raise(now, said.sure(Certainty::Likely).proven_by(&[behind]));
        }
        if Wait::over(&mut self.logs_in, now).is_some() {
            self.not_logged_in(now, true, around, book);
        }
        // What is known to have started is waited for as that.
        if self.idle.is_some_and(|wait| wait.until <= now) && self.logs_in.is_none() {
            self.not_logged_in(now, false, around, book);
        }
        self.idle = self.idle.filter(|wait| wait.until > now);
        if self.wonders.as_ref().is_some_and(|wonder| wonder.until <= now)
            && let Some(Wonder { given, seen, sure, events, .. }) = self.wonders.take()
            && [NO_ISCSI, HAS_XEN, WINDOWS].iter().any(|trouble| around.trouble(&given.disk, trouble).is_some())
        {
            self.does_not_log_in((now, &seen), &given, sure, events, around, book);
        }
    }

    fn new_boot(&mut self) {
        let taken_over = std::mem::take(&mut self.taken_over);
        let unfinished = self.unfinished();
        let (told, wonders) = (self.told.take(), self.wonders.take());
        *self = Self { arch: self.arch, taken_over, unfinished, told, wonders, ..Self::default() };
    }

    fn deaf(&mut self) {
        (self.connects, self.logs_in, self.idle) = (None, None, None);
        (self.loaded, self.unfinished) = (None, None);
        self.started.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_does_not_log_in_is_started_directly_where_that_helps() {
        let cure =
            |disk: &str, direct, hypervisor, cannot| Given { disk: disk.into(), direct, hypervisor }.cure(cannot);
        let directly = FindingAction::StartDirectly { disk: "room-1".into() };
        let look = FindingAction::Show { place: Place::Images };
        assert_eq!(cure("room-1", false, false, false), directly);
        assert_eq!(cure("room-1", false, true, false), directly, "Xen hid the iBFT");
        assert_eq!(cure("room-1", true, true, false), look, "its profile says how");
        assert_eq!(cure("room-1", true, false, false), look, "it was started directly");
        assert_eq!(cure("room-1", false, false, true), look, "its initramfs has no iSCSI at all");
        assert_eq!(cure("iqn.2001-04.com.server:vg0", false, false, false), look, "a target of another server");
    }
}
