//! Which address is whose. One entry an address; a client has at most one live one in a subnet.
//!
//! Nothing here walks a whole range unless the range is full: an address is looked for from a place that depends on the hardware
//! address alone, so that a machine gets the same one again even if all records are lost.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::because;
use super::scope::{Layout, Scope};
use crate::lab::{LeaseRecord, LeaseState};
use crate::machine::Now;
use crate::net::MacAddr;

/// An offer is kept for its client this long.
const OFFER_HOLD: Duration = Duration::from_secs(60);
/// When all addresses are taken, offers this old and never taken up give way.
const OFFER_YIELDS: Duration = Duration::from_secs(10);
/// A declined address is withheld this long.
const DECLINE_HOLD: Duration = Duration::from_secs(600);
/// Offers held at once; the oldest gives way.
const MAX_OFFERS: usize = 4096;
/// Entries of all kinds.
const MAX_ENTRIES: usize = 65_536;
/// A full range is not searched again for this long.
const FULL_FOR: Duration = Duration::from_secs(1);

/// Who holds a lease: the hardware address whatever the client identifier, and the UUID only where lab.toml tells by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) mac: MacAddr,
    pub(super) uuid: Option<Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Offered,
    Held(LeaseState),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    client: Client,
    state: State,
    /// On the clock that never jumps: a change of wall time ends no lease.
    ends: Duration,
    expires: Timestamp,
    hostname: Option<String>,
    /// It was a lease before it was offered anew.
    was_lease: bool,
    /// Which change of the table made it so; the table counts them.
    change: u64,
}

/// Which change made an entry, and its state.
type Version = (u64, State);

/// Takes a change back that could not be made durable: for each address what was there, and what is there since.
///
/// A write that came later may have succeeded where this one failed. What it made stays, so an address is left as it is unless it is
/// still as this change left it.
#[derive(Debug)]
pub(super) struct Undo(Vec<(Ipv4Addr, Option<Entry>, Option<Version>)>);

/// What a client's wish for an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// Its own, or free for it.
    Good,
    /// Refused, with the reason.
    Wrong(String),
    /// We know nothing of it: RFC 2131 4.3.2 wants silence.
    Unknown,
}

/// In which state a client asks for an address that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// It took our offer.
    Selecting,
    /// It remembers an address from before.
    Rebooting,
    /// It uses the address and wants to go on.
    Extending,
}

/// The table. See the module's text.
#[derive(Debug, Default)]
pub(super) struct Leases {
    entries: HashMap<Ipv4Addr, Entry>,
    by_mac: HashMap<MacAddr, Vec<Ipv4Addr>>,
    offers: VecDeque<(Ipv4Addr, Duration)>,
    full: HashMap<Ipv4Addr, Duration>,
    changes: u64,
}

impl Entry {
    fn version(&self) -> Version {
        (self.change, self.state)
    }

    /// Nobody needs it: given back, or its time is over.
    fn lapsed(&self, now: Now) -> bool {
        self.state == State::Held(LeaseState::Released) || now.boot >= self.ends
    }

    /// Nobody gets it for a while.
    fn withhold(&mut self, now: Now, address: Ipv4Addr) -> LeaseRecord {
        self.state = State::Held(LeaseState::Declined);
        self.was_lease = true;
        self.ends = now.boot + DECLINE_HOLD;
        self.expires = after(now.wall, DECLINE_HOLD);
        record(address, self, LeaseState::Declined)
    }

    fn is_declined(&self) -> bool {
        self.state == State::Held(LeaseState::Declined)
    }
}

impl Leases {
    /// Takes up a record of an earlier run.
    pub(super) fn restore(&mut self, now: Now, record: LeaseRecord) {
        let left = record.expires.duration_since(now.wall);
        let entry = Entry {
            client: Client { mac: record.mac, uuid: record.uuid },
            state: State::Held(record.state),
            ends: now.boot + Duration::try_from(left).unwrap_or_default(),
            expires: record.expires,
            hostname: record.hostname,
            was_lease: true,
            change: 0,
        };
        self.put(record.address, entry);
    }

    /// The client behind a request. Where a MAC has several owners and the request names none (an operating system sends no UUID),
    /// it is the one who holds the address named, or who was here last. Where it has one owner the UUID says nothing; but who was told
    /// apart by it when it got its lease, before lab.toml was changed, still is that client.
    pub(super) fn client(&self, layout: &Layout, mac: MacAddr, uuid: Option<Uuid>, named: Option<Ipv4Addr>) -> Client {
        let mine = || self.of_mac(mac);
        let by_address = || mine().find(|(a, _)| Some(*a) == named);
        let holder = || by_address().or_else(|| mine().max_by_key(|(_, e)| e.ends)).and_then(|(_, e)| e.client.uuid);
        if layout.is_shared(mac) {
            return Client { mac, uuid: uuid.or_else(holder) };
        }
        let known = uuid.filter(|_| mine().any(|(_, e)| e.client.uuid == uuid));
        Client { mac, uuid: known.or_else(holder) }
    }

    /// An address to offer, reserved for the client from now on; the same one for each repetition. Whether somebody else could use it by
    /// now, because the client does not hold it.
    pub(super) fn offer(
        &mut self,
        now: Now,
        layout: &Layout,
        scope: &Scope,
        client: Client,
        wanted: Option<Ipv4Addr>,
        fixed: Option<Ipv4Addr>,
    ) -> Option<(Ipv4Addr, bool)> {
        let fits = |a: &Ipv4Addr| layout.allows(scope, *a, fixed);
        let address = fixed
            .filter(|a| fits(a) && self.is_open(now, *a, client))
            .or_else(|| self.own(client, scope).map(|(a, _)| a).find(fits))
            .or_else(|| wanted.filter(|a| fits(a) && !self.entries.contains_key(a)))
            .or_else(|| self.fresh(now, scope, client, fits))
            .or_else(|| self.reclaim(now, scope, fits))?;
        let new = self.hold_offer(now, client, address);
        Some((address, new))
    }

    /// Whether a client may have the address that it names.
    pub(super) fn claim(
        &self,
        now: Now,
        layout: &Layout,
        scope: &Scope,
        client: Client,
        address: Ipv4Addr,
        (fixed, asking): (Option<Ipv4Addr>, Asking),
    ) -> Claim {
        if !scope.subnet.contains(address) {
            return Claim::Wrong(because("elsewhere", &[("address", &address), ("subnet", &subnet(scope))]));
        }
        let allowed = layout.allows(scope, address, fixed);
        match self.entries.get(&address) {
            Some(e) if e.is_declined() && !e.lapsed(now) => {
                return Claim::Wrong(because("in-use", &[("address", &address)]));
            }
            Some(e) if e.client != client && !e.lapsed(now) => {
                return Claim::Wrong(because("belongs", &[("address", &address), ("mac", &e.client.mac)]));
            }
            // A machine that runs from its disk must not lose its address because lab.toml now names another.
            Some(e) if e.client == client && (allowed || asking == Asking::Extending) => {
                let moved = fixed.filter(|f| *f != address && asking != Asking::Extending);
                return match moved.filter(|f| layout.allows(scope, *f, fixed) && self.is_open(now, *f, client)) {
                    Some(fixed) => Claim::Wrong(because("reserved", &[("address", &fixed)])),
                    None => Claim::Good,
                };
            }
            _ => {}
        }
        let other = self.own(client, scope).find(|(a, e)| *a != address && !e.lapsed(now));
        match (asking, other) {
            _ if fixed == Some(address) && allowed => Claim::Good,
            (Asking::Selecting, _) if allowed => Claim::Good,
            (Asking::Selecting, _) => Claim::Wrong(because("not-to-it", &[("address", &address)])),
            (Asking::Rebooting, Some((other, _))) => Claim::Wrong(because("other", &[("address", &other)])),
            _ => Claim::Unknown,
        }
    }

    /// Gives an address. What must be on disk before the client hears of it, and how to take it back.
    pub(super) fn bind(
        &mut self,
        now: Now,
        scope: &Scope,
        client: Client,
        address: Ipv4Addr,
        (seconds, hostname): (u32, Option<String>),
    ) -> (Vec<LeaseRecord>, Undo) {
        let mut before = vec![(address, self.entries.get(&address).cloned())];
        let mut records = Vec::new();
        // One lease a machine: an older address in the same subnet is given back.
        let older: Vec<_> = self.own(client, scope).filter(|(a, e)| *a != address && !e.is_declined()).collect();
        let older: Vec<_> = older.into_iter().map(|(a, e)| (a, e.clone())).collect();
        for (old, entry) in older {
            before.push((old, Some(entry.clone())));
            if entry.was_lease {
                let released = Entry { state: State::Held(LeaseState::Released), ..entry };
                records.push(record(old, &released, LeaseState::Released));
                self.put(old, released);
            } else {
                self.take(old);
            }
        }
        let hostname = hostname.or_else(|| self.entries.get(&address).and_then(|e| e.hostname.clone()));
        let lease = Duration::from_secs(seconds.into());
        // A shorter lease than the one that it has may fail to be written, however late: then it still has that.
        let has = |e: &&Entry| e.client == client && e.state == State::Held(LeaseState::Bound);
        let had = self.entries.get(&address).filter(has).map(|e| e.ends).unwrap_or_default();
        let entry = Entry {
            client,
            state: State::Held(LeaseState::Bound),
            ends: had.max(now.boot + lease),
            expires: after(now.wall, lease),
            hostname,
            was_lease: true,
            change: 0,
        };
        records.push(record(address, &entry, LeaseState::Bound));
        self.put(address, entry);
        let now_there = |address: &Ipv4Addr| self.entries.get(address).map(Entry::version);
        let undo = before.into_iter().map(|(address, entry)| (address, entry, now_there(&address))).collect();
        (records, Undo(undo))
    }

    /// The client gave its address back; only the holder can.
    pub(super) fn release(&mut self, now: Now, client: Client, address: Ipv4Addr) -> Option<LeaseRecord> {
        let entry = self.entries.get_mut(&address).filter(|e| e.client.mac == client.mac)?;
        if entry.state != State::Held(LeaseState::Bound) {
            return None;
        }
        entry.state = State::Held(LeaseState::Released);
        entry.ends = entry.ends.min(now.boot);
        Some(record(address, entry, LeaseState::Released))
    }

    /// The client found its address in use; only the holder can withhold it.
    pub(super) fn decline(&mut self, now: Now, client: Client, address: Ipv4Addr) -> Option<LeaseRecord> {
        let entry = self.entries.get_mut(&address).filter(|e| e.client.mac == client.mac && !e.is_declined())?;
        Some(entry.withhold(now, address))
    }

    /// A machine answers at an address. If it is offered to another one, it is withheld: what must be on disk. `None`: nobody knows of it,
    /// its owner answered, or its client holds it already; whether the latter is so.
    pub(super) fn conflict(&mut self, now: Now, address: Ipv4Addr, mac: MacAddr) -> Result<LeaseRecord, bool> {
        let Some(entry) = self.entries.get_mut(&address).filter(|e| e.client.mac != mac) else { return Err(false) };
        match entry.state {
            State::Offered => Ok(entry.withhold(now, address)),
            State::Held(LeaseState::Bound) => Err(!entry.lapsed(now)),
            State::Held(_) => Err(false),
        }
    }

    /// The client took another server's offer.
    pub(super) fn withdraw(&mut self, client: Client) {
        let offered: Vec<_> =
            self.of_mac(client.mac).filter(|(_, e)| e.state == State::Offered).map(|(a, _)| a).collect();
        for address in offered {
            self.lapse(address);
        }
    }

    /// Takes back what could not be made durable.
    pub(super) fn undo(&mut self, undo: Undo) {
        for (address, entry, made) in undo.0 {
            if self.entries.get(&address).map(Entry::version) != made {
                continue;
            }
            match entry {
                Some(entry) => self.put(address, entry),
                None => self.take(address),
            }
        }
    }

    /// Whether the client has this address, or our offer of it.
    pub(super) fn knows(&self, client: Client, address: Ipv4Addr) -> bool {
        self.entries.get(&address).is_some_and(|e| e.client == client)
    }

    /// Whether the client was given this address.
    pub(super) fn holds(&self, client: Client, address: Ipv4Addr) -> bool {
        let bound = |e: &Entry| e.client == client && e.state == State::Held(LeaseState::Bound);
        self.entries.get(&address).is_some_and(bound)
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    pub(super) fn forget_lapsed_offers(&mut self, now: Now) {
        while let Some((address, ends)) = self.offers.front().copied() {
            if ends > now.boot && self.offers.len() <= MAX_OFFERS {
                break;
            }
            self.offers.pop_front();
            if self.entries.get(&address).is_some_and(|e| e.state == State::Offered && e.ends == ends) {
                self.lapse(address);
            }
        }
    }

    fn of_mac(&self, mac: MacAddr) -> impl Iterator<Item = (Ipv4Addr, &Entry)> {
        let addresses = self.by_mac.get(&mac).map(Vec::as_slice).unwrap_or_default();
        addresses.iter().filter_map(|a| self.entries.get(a).map(|e| (*a, e)))
    }

    /// The client's entries in a subnet that it could use, live ones first.
    fn own(&self, client: Client, scope: &Scope) -> impl Iterator<Item = (Ipv4Addr, &Entry)> {
        let inside = |(a, e): &(Ipv4Addr, &Entry)| e.client == client && scope.subnet.contains(*a) && !e.is_declined();
        let mut own: Vec<_> = self.of_mac(client.mac).filter(inside).collect();
        own.sort_by_key(|(_, e)| {
            let rank = match e.state {
                State::Held(LeaseState::Bound) => 0,
                State::Offered => 1,
                State::Held(_) => 2,
            };
            (rank, std::cmp::Reverse(e.ends))
        });
        own.into_iter()
    }

    fn is_open(&self, now: Now, address: Ipv4Addr, client: Client) -> bool {
        self.entries.get(&address).is_none_or(|e| e.lapsed(now) || (e.client == client && !e.is_declined()))
    }

    /// An address that nobody ever had.
    fn fresh(&mut self, now: Now, scope: &Scope, client: Client, fits: impl Fn(&Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        self.forget_lapsed_offers(now);
        let count = scope.count();
        if self.entries.len() >= MAX_ENTRIES || count == 0 {
            return None;
        }
        if self.full.get(&scope.subnet.network()).is_some_and(|until| now.boot < *until) {
            return None;
        }
        let start = place(client) % count;
        let found = (0..count)
            .filter_map(|i| scope.nth((start + i) % count))
            .find(|a| !self.entries.contains_key(a) && fits(a));
        if found.is_none() {
            self.full.insert(scope.subnet.network(), now.boot + FULL_FOR);
        }
        found
    }

    /// The address that has been unused for longest, else an offer that nobody took up.
    fn reclaim(&self, now: Now, scope: &Scope, fits: impl Fn(&Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let inside = || self.entries.iter().filter(|(a, _)| scope.subnet.contains(**a) && fits(a));
        let yields = |e: &Entry| e.state == State::Offered && e.ends + OFFER_YIELDS <= now.boot + OFFER_HOLD;
        let oldest = inside().filter(|(_, e)| e.lapsed(now)).min_by_key(|(a, e)| (e.ends, **a));
        oldest.or_else(|| inside().filter(|(_, e)| yields(e)).min_by_key(|(a, e)| (e.ends, **a))).map(|(a, _)| *a)
    }

    fn hold_offer(&mut self, now: Now, client: Client, address: Ipv4Addr) -> bool {
        let ends = now.boot + OFFER_HOLD;
        let before = self.entries.get(&address).filter(|e| e.client == client);
        match before {
            Some(e) if e.state == State::Held(LeaseState::Bound) && !e.lapsed(now) => return false,
            // Not renewed by each repetition, so that repetitions cost no memory.
            Some(e) if e.state == State::Offered && e.ends > now.boot + OFFER_HOLD / 2 => return true,
            _ => {}
        }
        let was_lease = before.is_some_and(|e| e.was_lease);
        let hostname = before.and_then(|e| e.hostname.clone());
        let expires = after(now.wall, OFFER_HOLD);
        self.put(address, Entry { client, state: State::Offered, ends, expires, hostname, was_lease, change: 0 });
        self.offers.push_back((address, ends));
        self.forget_lapsed_offers(now);
        true
    }

    /// An offer ends: what was a lease before stays its client's favourite, the rest is forgotten.
    fn lapse(&mut self, address: Ipv4Addr) {
        match self.entries.get_mut(&address) {
            Some(e) if e.was_lease => e.state = State::Held(LeaseState::Released),
            Some(_) => self.take(address),
            None => {}
        }
    }

    fn put(&mut self, address: Ipv4Addr, mut entry: Entry) {
        self.changes += 1;
        entry.change = self.changes;
        if self.entries.get(&address).is_some_and(|e| e.client.mac != entry.client.mac) {
            self.take(address);
        }
        let mine = self.by_mac.entry(entry.client.mac).or_default();
        if !mine.contains(&address) {
            mine.push(address);
        }
        self.entries.insert(address, entry);
    }

    fn take(&mut self, address: Ipv4Addr) {
        let Some(entry) = self.entries.remove(&address) else { return };
        if let Some(mine) = self.by_mac.get_mut(&entry.client.mac) {
            mine.retain(|a| *a != address);
            if mine.is_empty() {
                self.by_mac.remove(&entry.client.mac);
            }
        }
        self.full.clear();
    }
}

fn record(address: Ipv4Addr, entry: &Entry, state: LeaseState) -> LeaseRecord {
    LeaseRecord {
        address,
        mac: entry.client.mac,
        uuid: entry.client.uuid,
        hostname: entry.hostname.clone(),
        state,
        expires: entry.expires,
    }
}

fn after(wall: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span).ok().and_then(|d| wall.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}

fn subnet(scope: &Scope) -> String {
    format!("{}/{}", scope.subnet.network(), scope.subnet.prefix)
}

/// FNV-1a: where to look first. Not against an adversary; a collision costs a step.
fn place(client: Client) -> u64 {
    let uuid = client.uuid.map(Uuid::into_bytes).unwrap_or_default();
    client
        .mac
        .0
        .iter()
        .chain(&uuid)
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}
