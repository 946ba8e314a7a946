//! Who gives the machine its address and its boot file: D3 to D6, D12, D13, D17 to D19.

use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};

use super::around::Around;
use super::book::Book;
use super::findings::Rules;
use crate::api::{Certainty, ClientKind, Event, EventKind, FindingAction, Place, ServiceKind, Severity};
use crate::lang::{finding, sentence};

/// A DISCOVER that follows an offer faster than this was on its way before it.
const CROSSED: SignedDuration = SignedDuration::from_millis(900);
/// iPXE has an offer within this time, or it has dropped it.
const TAKEN: SignedDuration = SignedDuration::from_millis(500);
/// Offers that may go unheeded: one can be lost.
const PATIENCE: usize = 2;
/// So many events tell of it; how often it happens is up to the machine.
const MOST_UNHEEDED: usize = 12;
/// ROMs begin with 0 or 4 seconds. What is far above comes from ROMs that do not count seconds.
const LATE: std::ops::RangeInclusive<u16> = 8..=120;
/// Two packets of one DISCOVER, heard on two interfaces, come together; so do a DISCOVER and its quick answer, whichever is told first.
const TOGETHER: SignedDuration = SignedDuration::from_secs(1);

#[derive(Debug, Clone)]
struct Offer {
    seq: u64,
    at: Timestamp,
    xid: u32,
    client: ClientKind,
    address: Option<Ipv4Addr>,
    file: Option<String>,
    server: Ipv4Addr,
}

#[derive(Debug, Clone)]
struct Foreign {
    seq: u64,
    at: Timestamp,
    server: String,
    id: Ipv4Addr,
    address: Option<Ipv4Addr>,
    file: String,
    next: Option<Ipv4Addr>,
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    client: Option<ClientKind>,
    xid: u32,
    relay: Option<Ipv4Addr>,
    offer: Option<Offer>,
    /// The DISCOVERs that followed an offer of ours, with the offers: how often, and the first events.
    unheeded: (usize, Vec<u64>),
    foreign: Option<Foreign>,
    /// Clients whose first DISCOVER of this boot was looked at.
    begun: Vec<ClientKind>,
    /// The last sign of life of any boot.
    heard: Option<Timestamp>,
}

impl Offers {
    fn discover(&mut self, event: &Event, around: &Around, book: &mut Book) {
        let EventKind::DhcpDiscover { client, xid, secs, relay, .. } = &event.kind else { return };
        self.late(event, *client, *secs, around, book);
        if self.client != Some(*client) {
            self.went_on(book);
            self.offer = None;
            // An answer that is quick may be told before what it answers.
            self.foreign = self.foreign.take().filter(|foreign| event.time.duration_since(foreign.at) < TOGETHER);
        }
        (self.client, self.xid, self.relay) = (Some(*client), *xid, *relay);
        let Some(offer) = self.offer.clone().filter(|o| o.client == *client) else { return };
        let since = event.time.duration_since(offer.at);
        if *client == ClientKind::Ipxe && offer.address.is_none() && secs & 3 == 2 {
            if since >= TAKEN {
                let said = finding("proxy-offer-dropped", Severity::Warning, &[("server", &offer.server)]);
                book.raise(event.time, said.sure(Certainty::Likely).proven_by(&[offer.seq, event.seq]));
            }
            return;
        }
        // A system's client may well be a probe, which takes nothing.
        if since >= CROSSED && !matches!(client, ClientKind::Os | ClientKind::Bootp) {
            let (count, events) = &mut self.unheeded;
            *count = count.saturating_add(1);
            if events.len() < MOST_UNHEEDED {
                events.extend([offer.seq, event.seq]);
            }
        }
        if self.unheeded.0 >= PATIENCE {
            self.ignored(event, &offer, book);
        }
    }

    fn ignored(&mut self, event: &Event, offer: &Offer, book: &mut Book) {
        let (count, events) = &self.unheeded;
        let said = match (self.relay, offer.address) {
            (Some(relay), _) => {
                let params: [(&str, &dyn std::fmt::Display); 2] = [("relay", &relay), ("count", &count)];
                finding("relay-no-way-back", Severity::Warning, &params).sure(Certainty::Likely)
            }
            (None, address) => {
                let proxy = address.is_none();
                let way = if proxy { "proxy" } else { "dhcp" };
                let (means, remedy) = (sentence("ignored-means", way), sentence("ignored-remedy", way));
                let params: [(&str, &dyn std::fmt::Display); 3] =
                    [("count", &count), ("means", &means), ("remedy", &remedy)];
                let sure = if proxy && self.foreign.is_none() { Certainty::Possible } else { Certainty::Likely };
                finding("offer-ignored", Severity::Warning, &params).sure(sure)
            }
        };
        book.raise(event.time, said.proven_by(events));
    }

    /// The first packet of a program that is not its first try: what came before did not get here.
    fn late(&mut self, event: &Event, client: ClientKind, secs: u16, around: &Around, book: &mut Book) {
        if self.begun.contains(&client) {
            return;
        }
        self.begun.push(client);
        let (lost, seconds) = match client {
            ClientKind::PxeRom | ClientKind::HttpBoot | ClientKind::Bootp if LATE.contains(&secs) => {
                (1, i64::from(secs))
            }
            // iPXE counts its tries where others count seconds; the first is 1, and the pause between two doubles up to 10 s.
            ClientKind::Ipxe if (2..64).contains(&(secs >> 2)) => {
                let lost = i64::from(secs >> 2) - 1;
                (lost, (1..=lost).map(|n| (1 << (n - 1).min(4)).min(10)).sum())
            }
            _ => return,
        };
        let before = event.time.checked_sub(SignedDuration::from_secs(seconds + 2)).unwrap_or(Timestamp::MIN);
        // iPXE's own count is proof; other firmware may have asked before and been heard.
        let silent = client == ClientKind::Ipxe || self.heard.is_none_or(|heard| heard < before);
        // What came while we did not serve was lost on nobody.
        if !silent || around.started.is_none_or(|started| started > before) {
            return;
        }
        let tree = around.tree;
        let (severity, sure) = match tree {
            Some(_) => (Severity::Warning, Certainty::Likely),
            None => (Severity::Info, Certainty::Possible),
        };
        let what = sentence("late", if client == ClientKind::Ipxe { "tries" } else { "seconds" });
        let (means, n) = (
            sentence("late-means", if tree.is_some() { "tree" } else { "other" }),
            if client == ClientKind::Ipxe { lost } else { seconds },
        );
        let seen = what.replace("{n}", &n.to_string());
        let events: Vec<u64> = tree.map(|(_, seq)| seq).into_iter().chain([event.seq]).collect();
        let said = finding("late-link", severity, &[("seen", &seen), ("means", &means)]);
        book.raise(event.time, said.sure(sure).proven_by(&events));
    }

    fn offered(&mut self, event: &Event, offer: Offer, book: &mut Book) {
        if let Some(other) = self.offer.as_ref().filter(|o| o.xid == offer.xid && o.server != offer.server)
            && event.time.duration_since(other.at) < TOGETHER
        {
            let said = finding("two-interfaces", Severity::Warning, &[("one", &other.server), ("two", &offer.server)]);
            let said = said.proven_by(&[other.seq, event.seq]);
            book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Network }));
        }
        self.offer = Some(offer);
        self.compare(event.time, book);
    }

    /// Our offer and another server's, in whatever order they came.
    fn compare(&self, at: Timestamp, book: &mut Book) {
        let (Some(ours), Some(other)) = (&self.offer, &self.foreign) else { return };
        if other.id == ours.server {
            return;
        }
        let events = [ours.seq.min(other.seq), ours.seq.max(other.seq)];
        if let (Some(_), Some(address)) = (ours.address, other.address) {
            let said = finding("second-dhcp", Severity::Warning, &[("server", &other.server), ("address", &address)]);
            let said = said.sure(Certainty::Certain).proven_by(&events);
            book.raise(at, said.cured_by(FindingAction::Show { place: Place::Network }));
        }
        let leads_here = other.next == Some(ours.server) || other.file.contains(&ours.server.to_string());
        if other.file.is_empty() || leads_here {
            return;
        }
        let ours_file = ours.file.clone().unwrap_or_default();
        let uri = other.file.starts_with("http://") || other.file.starts_with("https://");
        let id = match ours.client {
            ClientKind::HttpBoot if !uri => "http-boot-contract",
            ClientKind::Os | ClientKind::Bootp => return,
            _ => "other-boot-file",
        };
        let said =
            finding(id, Severity::Warning, &[("server", &other.server), ("file", &other.file), ("ours", &ours_file)]);
        book.raise(at, said.sure(Certainty::Likely).proven_by(&events));
    }

    /// It took what it was offered, by us or by somebody.
    fn went_on(&mut self, book: &mut Book) {
        self.unheeded = (0, Vec::new());
        book.cure(&["offer-ignored", "relay-no-way-back"]);
    }
}

impl Rules for Offers {
    fn apply(&mut self, event: &Event, around: &Around, book: &mut Book) {
        match &event.kind {
            EventKind::DhcpDiscover { .. } => self.discover(event, around, book),
            EventKind::DhcpOffer { client, address, file, next_server } => {
                let (client, address, file, server) = (*client, *address, file.clone(), *next_server);
                self.offered(
                    event,
                    Offer { seq: event.seq, at: event.time, xid: self.xid, client, address, file, server },
                    book,
                );
            }
            EventKind::ForeignOffer { server, server_mac: mac, address, file, next_server, .. } => {
                let shown = mac.map_or_else(|| server.to_string(), |mac| format!("{server} ({mac})"));
                let file = file.clone().unwrap_or_default();
                let (address, next) = (*address, *next_server);
                let (seq, at) = (event.seq, event.time);
                self.foreign = Some(Foreign { seq, at, server: shown, id: *server, address, file, next });
                self.compare(event.time, book);
            }
            EventKind::DhcpElsewhere { server, .. } => {
                self.went_on(book);
                if let Some(offer) = self.offer.as_ref().filter(|o| o.address.is_some() && o.server != *server) {
                    let said = finding("took-other-offer", Severity::Error, &[("server", server)]);
                    let said = said.proven_by(&[offer.seq, event.seq]);
                    book.raise(event.time, said.cured_by(FindingAction::Show { place: Place::Network }));
                }
            }
            EventKind::Unheard { service: ServiceKind::Pxe, packets, refused, .. } => {
                let why = sentence("unheard", if *refused { "refused" } else { "dropped" });
                let said = finding("boot-server-unheard", Severity::Error, &[("packets", packets), ("means", &why)]);
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            EventKind::DhcpAck { address, .. } => {
                self.went_on(book);
                book.cure(&["dhcp-nak", "boot-server-unheard", "took-other-offer"]);
                if address.is_some() {
                    book.cure(&["second-dhcp", "no-boot-file"]);
                    self.foreign = None;
                }
            }
            EventKind::TftpRequest { .. } | EventKind::HttpRequest { .. } => {
                self.went_on(book);
                // It came to us for its boot file, whoever else named one.
                self.foreign = None;
                book.cure(&["other-boot-file", "http-boot-contract", "proxy-offer-dropped", "took-other-offer"]);
            }
            EventKind::ScriptServed { .. } => {
                book.cure(&["no-boot-file", "late-link", "two-interfaces", "boot-server-unheard", "took-other-offer"]);
            }
            EventKind::DhcpSilent { reason, .. } => {
                let said = finding("no-boot-file", Severity::Warning, &[("reason", reason)]);
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            EventKind::DhcpNak { address, reason } => {
                let said = finding("dhcp-nak", Severity::Warning, &[("address", address), ("reason", reason)]);
                book.raise(event.time, said.proven_by(&[event.seq]));
            }
            _ => {}
        }
        if !event.kind.is_progress() {
            self.heard = Some(event.time);
        }
    }

    fn new_boot(&mut self) {
        *self = Self { heard: self.heard, foreign: self.foreign.take(), ..Self::default() };
    }
}
