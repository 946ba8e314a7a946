//! The directory: hardware addresses, UUIDs and IP addresses to [`HostId`].
//!
//! A configured MAC matches first, except where `uuid` in lab.toml tells sharers of one MAC (docks) apart. An IP address belongs
//! to whoever was last given it or last proved it with a packet that carried its MAC.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use uuid::Uuid;

use crate::api::{HostId, Who};
use crate::lab::Lab;
use crate::net::MacAddr;

/// Strangers beyond this many replace the stranger seen longest ago: a flood of forged MACs must not fill the memory.
const MAX_HOSTS: usize = 4096;

#[derive(Debug, Clone, Default)]
struct Entry {
    macs: Vec<MacAddr>,
    uuid: Option<Uuid>,
    /// lab.toml says the UUID: a machine with another one is another machine behind the same MAC.
    by_uuid: bool,
    configured: bool,
    /// Something bears its number: it makes no room for others.
    held: bool,
    used: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Directory {
    entries: HashMap<HostId, Entry>,
    by_mac: HashMap<MacAddr, Vec<HostId>>,
    by_ip: HashMap<IpAddr, HostId>,
    next: u64,
    clock: u64,
    gone: Vec<HostId>,
}

impl Directory {
    /// Takes in a machine that lab.db knows.
    pub fn restore(&mut self, id: HostId, macs: Vec<MacAddr>, uuid: Option<Uuid>) {
        self.next = self.next.max(id.0 + 1);
        self.insert(id, Entry { macs, uuid, ..Entry::default() });
    }

    /// Numbers up to this one were given: overlays bear them, so that no other machine may get one, forgotten or not.
    pub fn reserve(&mut self, last: HostId) {
        self.next = self.next.max(last.0 + 1);
    }

    /// The machines that made room for others since the last call.
    pub fn take_gone(&mut self) -> Vec<HostId> {
        std::mem::take(&mut self.gone)
    }

    /// Brings the entries of lab.toml in: each gets a [`HostId`] of its own, that of the machine with most of its MACs (and its `uuid`)
    /// where there is one. An entry's MACs are the machine's, and no others: one that was moved to another entry is that one's. Returns
    /// the ids in the order of `lab.hosts`.
    pub fn configure(&mut self, lab: &Lab) -> Vec<HostId> {
        for entry in self.entries.values_mut() {
            (entry.configured, entry.by_uuid) = (false, false);
        }
        let mut ids = Vec::with_capacity(lab.hosts.len());
        for host in &lab.hosts {
            let shared = |mac: &MacAddr| lab.hosts.iter().filter(|h| h.macs.contains(mac)).count() > 1;
            // It booted with its first MAC: whose that is now is that entry's, whatever else it had.
            let anothers = |entry: &Entry| {
                let first = entry.macs.first().filter(|first| !host.macs.contains(first));
                first.is_some_and(|first| lab.hosts.iter().any(|other| other.macs.contains(first)))
            };
            let may_be = |mac: &MacAddr, id: &HostId| {
                let Some(entry) = self.entries.get(id).filter(|_| !ids.contains(id)) else { return false };
                let fits = host.uuid.is_none() || entry.uuid.is_none() || entry.uuid == host.uuid;
                !anothers(entry) && if shared(mac) { entry.uuid == host.uuid } else { fits }
            };
            let mut candidates: Vec<HostId> = Vec::new();
            for mac in &host.macs {
                let of_mac = self.by_mac.get(mac).into_iter().flatten().filter(|id| may_be(mac, id));
                candidates.extend(of_mac);
            }
            let has = |id: &HostId| candidates.iter().filter(|other| *other == id).count();
            // Of several that have as many the first.
            let known = candidates.iter().rev().max_by_key(|id| has(id)).copied();
            let id = known.unwrap_or_else(|| self.fresh_id());
            let macs = host.macs.clone();
            let old = self.entries.get(&id);
            let (uuid, held) = (host.uuid.or_else(|| old.and_then(|e| e.uuid)), old.is_some_and(|e| e.held));
            self.remove_from_macs(id);
            let by_uuid = host.uuid.is_some();
            self.insert(id, Entry { macs, uuid, by_uuid, configured: true, held, used: self.clock });
            ids.push(id);
        }
        ids
    }

    /// The machine that `who` is, if it is known. Its IP address counts only where it names no MAC.
    #[must_use]
    pub fn find(&self, who: &Who) -> Option<HostId> {
        let Some(mac) = who.mac else {
            return self.by_ip.get(&who.ip?).copied();
        };
        let candidates = self.by_mac.get(&mac)?;
        let same = |id: &HostId| who.uuid.is_some() && self.entries.get(id).is_some_and(|e| e.uuid == who.uuid);
        let other = |id: &HostId| who.uuid.is_some() && self.entries.get(id).is_some_and(|e| e.by_uuid) && !same(id);
        let mut may_be = candidates.iter().filter(|id| !other(id));
        let holder = who.ip.and_then(|ip| self.by_ip.get(&ip));
        let told_apart = |id: &&HostId| same(id) && self.entries.get(*id).is_some_and(|e| e.by_uuid);
        let named = |id: &&HostId| self.entries.get(*id).is_some_and(|e| e.configured && !e.by_uuid);
        candidates
            .iter()
            .find(told_apart)
            // An entry of lab.toml owns its MACs, whatever was seen under one of them before.
            .or_else(|| candidates.iter().find(named))
            .or_else(|| candidates.iter().find(|id| same(id)))
            .or_else(|| may_be.clone().find(|id| Some(*id) == holder))
            .or_else(|| may_be.next())
            .copied()
    }

    /// The machines that a person may mean by a MAC alone: the one that has it; of several the entry of lab.toml, if that is one.
    #[must_use]
    pub fn meant(&self, mac: MacAddr) -> Vec<HostId> {
        let all = self.by_mac.get(&mac).cloned().unwrap_or_default();
        let configured = |id: &HostId| self.entries.get(id).is_some_and(|e| e.configured);
        let entries: Vec<HostId> = all.iter().copied().filter(configured).collect();
        if entries.is_empty() { all } else { entries }
    }

    /// The machine that `who` is; a new one for a MAC never seen. Learns its UUID, and its IP address where a MAC comes with it.
    pub fn resolve(&mut self, who: &Who) -> Option<HostId> {
        self.clock += 1;
        let id = match (self.find(who), who.mac) {
            (Some(id), _) => id,
            (None, Some(mac)) if !mac.is_group() => {
                self.make_room();
                let id = self.fresh_id();
                self.insert(id, Entry { macs: vec![mac], uuid: who.uuid, ..Entry::default() });
                id
            }
            _ => return None,
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.used = self.clock;
            if entry.uuid.is_none() {
                entry.uuid = who.uuid;
            }
        }
        if let (Some(ip), Some(_)) = (who.ip, who.mac)
            && !ip.is_unspecified()
        {
            self.by_ip.insert(ip, id);
        }
        Some(id)
    }

    /// `ip` is this machine's from now on.
    pub fn bind_ip(&mut self, ip: IpAddr, id: HostId) {
        self.by_ip.insert(ip, id);
    }

    /// Nobody holds `ip` any more.
    pub fn release_ip(&mut self, ip: IpAddr) {
        self.by_ip.remove(&ip);
    }

    /// Who holds `ip`.
    #[must_use]
    pub fn holder(&self, ip: IpAddr) -> Option<HostId> {
        self.by_ip.get(&ip).copied()
    }

    /// The machine's hardware addresses, the one it booted with first.
    #[must_use]
    pub fn macs(&self, id: HostId) -> &[MacAddr] {
        self.entries.get(&id).map_or(&[], |e| &e.macs)
    }

    /// The machine's UUID.
    #[must_use]
    pub fn uuid(&self, id: HostId) -> Option<Uuid> {
        self.entries.get(&id).and_then(|e| e.uuid)
    }

    /// This machine has an overlay: another number would lead it to another one.
    pub fn hold(&mut self, id: HostId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.held = true;
        }
    }

    /// These machines have overlays, and no others.
    pub fn hold_only(&mut self, owners: &HashSet<HostId>) {
        for (id, entry) in &mut self.entries {
            entry.held = owners.contains(id);
        }
    }

    /// The machine's hardware addresses and UUID are these from now on, since a person says so: with the entry of lab.toml that says the
    /// same it is still this machine, whoever was seen under one of them before.
    pub fn readdress(&mut self, id: HostId, macs: Vec<MacAddr>, uuid: Option<Uuid>) {
        let Some(old) = self.entries.get(&id).cloned() else { return };
        self.remove_from_macs(id);
        for mac in &macs {
            self.by_mac.entry(*mac).or_default().insert(0, id);
        }
        self.entries.insert(id, Entry { macs, uuid, ..old });
    }

    /// Strangers that were seen under no other address than this machine's: what they send is this machine's by now. One with an overlay
    /// is none of them: what it keeps is found by its number.
    #[must_use]
    pub fn doubles(&self, id: HostId) -> Vec<HostId> {
        let Some(own) = self.entries.get(&id) else { return Vec::new() };
        let is_double = |(other, entry): &(&HostId, &Entry)| {
            let apart = own.by_uuid && entry.uuid.is_some() && entry.uuid != own.uuid;
            let within = !entry.macs.is_empty() && entry.macs.iter().all(|mac| own.macs.contains(mac));
            **other != id && !entry.configured && !entry.held && within && !apart
        };
        self.entries.iter().filter(is_double).map(|(other, _)| *other).collect()
    }

    /// Drops a machine that is the same as another one, which has its IP addresses and its UUID from now on.
    pub fn merge(&mut self, from: HostId, into: HostId) {
        self.by_ip.values_mut().filter(|owner| **owner == from).for_each(|owner| *owner = into);
        let uuid = self.uuid(from);
        if let Some(entry) = self.entries.get_mut(&into).filter(|entry| !entry.by_uuid) {
            entry.uuid = uuid.or(entry.uuid);
        }
        self.forget(from);
    }

    /// Drops a machine. A later packet of its MAC makes a new one.
    pub fn forget(&mut self, id: HostId) {
        self.remove_from_macs(id);
        self.entries.remove(&id);
        self.by_ip.retain(|_, owner| *owner != id);
    }

    fn fresh_id(&mut self) -> HostId {
        let id = HostId(self.next.max(1));
        self.next = id.0 + 1;
        id
    }

    fn insert(&mut self, id: HostId, entry: Entry) {
        for mac in &entry.macs {
            let ids = self.by_mac.entry(*mac).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        self.entries.insert(id, entry);
    }

    fn remove_from_macs(&mut self, id: HostId) {
        self.by_mac.retain(|_, ids| {
            ids.retain(|other| *other != id);
            !ids.is_empty()
        });
    }

    fn make_room(&mut self) {
        if self.entries.len() < MAX_HOSTS {
            return;
        }
        let may_go = self.entries.iter().filter(|(_, e)| !e.configured && !e.held);
        let oldest = may_go.min_by_key(|(_, e)| e.used).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.forget(id);
            self.gone.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Host;

    fn mac(last: u8) -> MacAddr {
        MacAddr([0x52, 0x54, 0, 0, 0, last])
    }

    fn host(macs: &[MacAddr], uuid: Option<Uuid>) -> Host {
        Host {
            macs: macs.to_vec(),
            uuid,
            name: None,
            group: None,
            seat: None,
            address: None,
            firmware: None,
            boot: None,
        }
    }

    #[test]
    fn an_address_leads_to_the_machine_that_was_given_it() {
        let mut dir = Directory::default();
        let a = dir.resolve(&Who::mac(mac(1))).unwrap();
        let ip: IpAddr = [192, 168, 2, 20].into();
        assert_eq!(dir.resolve(&Who::ip(ip)), None, "an unknown address makes no machine");
        dir.bind_ip(ip, a);
        assert_eq!(dir.resolve(&Who::ip(ip)), Some(a));
        let b = dir.resolve(&Who::mac(mac(2))).unwrap();
        dir.bind_ip(ip, b);
        assert_eq!(dir.find(&Who::ip(ip)), Some(b), "the newest holder counts");
    }

    #[test]
    fn docks_that_share_a_mac_are_told_apart_by_uuid() {
        let (u1, u2) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let lab = Lab { hosts: vec![host(&[mac(1)], Some(u1)), host(&[mac(1)], Some(u2))], ..Lab::default() };
        let mut dir = Directory::default();
        let ids = dir.configure(&lab);
        assert_ne!(ids[0], ids[1]);
        for (uuid, id) in [(u1, ids[0]), (u2, ids[1])] {
            assert_eq!(dir.resolve(&Who { uuid: Some(uuid), ..Who::mac(mac(1)) }), Some(id));
        }
        assert_eq!(dir.configure(&lab), ids, "reading the same lab again changes no identity");
    }

    #[test]
    fn a_stranger_on_a_configured_dock_is_another_machine() {
        let (ours, strange) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let lab = Lab { hosts: vec![host(&[mac(1)], Some(ours))], ..Lab::default() };
        let mut dir = Directory::default();
        let seen_first = dir.resolve(&Who { uuid: Some(strange), ..Who::mac(mac(1)) }).unwrap();
        let configured = dir.configure(&lab)[0];
        assert_ne!(configured, seen_first);
        assert_eq!(dir.resolve(&Who { uuid: Some(ours), ..Who::mac(mac(1)) }), Some(configured));
        assert_eq!(dir.resolve(&Who { uuid: Some(strange), ..Who::mac(mac(1)) }), Some(seen_first));
        let third = dir.resolve(&Who { uuid: Some(Uuid::from_u128(3)), ..Who::mac(mac(1)) });
        assert_ne!(third, Some(configured));
    }

    #[test]
    fn a_person_who_says_a_mac_means_its_entry_and_of_several_none() {
        let (ours, strange) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut dir = Directory::default();
        assert!(dir.meant(mac(1)).is_empty());
        let seen = dir.resolve(&Who { uuid: Some(strange), ..Who::mac(mac(1)) }).unwrap();
        assert_eq!(dir.meant(mac(1)), [seen]);
        let one = Lab { hosts: vec![host(&[mac(1)], Some(ours))], ..Lab::default() };
        let entry = dir.configure(&one);
        assert_eq!(dir.meant(mac(1)), entry, "not the stranger that was on this dock before");
        let two = Lab { hosts: vec![host(&[mac(1)], Some(ours)), host(&[mac(1)], Some(strange))], ..Lab::default() };
        let mut both = dir.configure(&two);
        both.sort_unstable();
        let mut meant = dir.meant(mac(1));
        meant.sort_unstable();
        assert_eq!((meant.len(), meant), (2, both));
    }

    #[test]
    fn a_mac_that_was_moved_by_hand_is_its_new_machines() {
        let lab = |hosts: &[&[MacAddr]]| Lab { hosts: hosts.iter().map(|m| host(m, None)).collect(), ..Lab::default() };
        let (a, dock, b) = (mac(1), mac(2), mac(3));
        for first in [&[b, dock][..], &[dock, b]] {
            for b_comes_first in [false, true] {
                let mut dir = Directory::default();
                let [of_a, of_b] = dir.configure(&lab(&[&[a, dock], &[b]]))[..] else { panic!("two entries") };
                dir.hold(of_a);
                let moved = if b_comes_first { lab(&[first, &[a]]) } else { lab(&[&[a], first]) };
                let mut ids = dir.configure(&moved);
                if b_comes_first {
                    ids.reverse();
                }
                assert_eq!(ids, [of_a, of_b], "{first:?} {b_comes_first}");
                assert_eq!(dir.find(&Who::mac(dock)), Some(of_b), "or both would have one overlay");
                assert_eq!((dir.macs(of_a), dir.macs(of_b)), (&[a][..], first));
            }
        }
        let mut dir = Directory::default();
        let ids = dir.configure(&lab(&[&[a, dock]]));
        assert_eq!(dir.configure(&lab(&[&[a]])), ids);
        assert_eq!(dir.find(&Who::mac(dock)), None, "it is anybody's");
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let mut dir = Directory::default();
        dir.reserve(HostId(7));
        assert_eq!(dir.resolve(&Who::mac(mac(1))), Some(HostId(8)));
    }

    #[test]
    fn a_machine_seen_before_it_was_configured_stays_the_same() {
        let mut dir = Directory::default();
        let seen = dir.resolve(&Who::mac(mac(1))).unwrap();
        let lab = Lab { hosts: vec![host(&[mac(1), mac(2)], None)], ..Lab::default() };
        assert_eq!(dir.configure(&lab), vec![seen]);
        assert_eq!(dir.resolve(&Who::mac(mac(2))), Some(seen), "its second interface is the same machine");
    }

    #[test]
    fn a_machine_that_gets_another_network_card_stays_the_same() {
        let of = |last| Lab { hosts: vec![host(&[mac(last)], None)], ..Lab::default() };
        let mut dir = Directory::default();
        let entry = dir.configure(&of(1))[0];
        let seen = dir.resolve(&Who::mac(mac(2))).unwrap();
        dir.readdress(entry, vec![mac(2)], None);
        assert_eq!(dir.configure(&of(2)), vec![entry], "its overlays bear its number");
        assert_eq!(dir.find(&Who::mac(mac(2))), Some(entry));
        assert_eq!((dir.macs(entry), dir.find(&Who::mac(mac(1)))), (&[mac(2)][..], None), "the old card is nobody's");
        dir.hold(seen);
        assert!(dir.doubles(entry).is_empty(), "it has an overlay");
        dir.hold_only(&HashSet::new());
        assert_eq!(dir.doubles(entry), vec![seen], "nothing is ever heard of it again");
        let ip = IpAddr::from([192, 168, 2, 22]);
        dir.bind_ip(ip, seen);
        dir.merge(seen, entry);
        assert_eq!((dir.holder(ip), dir.doubles(entry)), (Some(entry), Vec::new()));
        dir.readdress(entry, vec![mac(1)], None);
        assert_eq!(dir.configure(&of(1)), vec![entry], "and back");
        assert_eq!(dir.find(&Who::mac(mac(2))), None);
    }

    #[test]
    fn a_stranger_that_is_told_apart_by_its_uuid_is_no_double() {
        let (ours, strange) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut dir = Directory::default();
        let seen = dir.resolve(&Who { uuid: Some(strange), ..Who::mac(mac(1)) }).unwrap();
        let entry = dir.configure(&Lab { hosts: vec![host(&[mac(1)], Some(ours))], ..Lab::default() })[0];
        assert!(dir.doubles(entry).is_empty());
        let two = Lab { hosts: vec![host(&[mac(2)], None)], ..Lab::default() };
        dir.readdress(entry, vec![mac(1)], None);
        let other = dir.configure(&two)[0];
        assert!(dir.doubles(other).is_empty() && other != seen, "another address is another machine");
    }

    #[test]
    fn an_entry_owns_its_second_mac_whatever_was_seen_under_it() {
        let mut dir = Directory::default();
        let uuid = Some(Uuid::from_u128(7));
        let seen = |last| Who { mac: Some(mac(last)), uuid, ip: None };
        dir.resolve(&seen(1));
        dir.resolve(&seen(2));
        let lab = Lab { hosts: vec![host(&[mac(1), mac(2)], None)], ..Lab::default() };
        let entry = dir.configure(&lab)[0];
        assert_eq!(dir.find(&seen(1)), Some(entry));
        assert_eq!(dir.find(&seen(2)), Some(entry), "it would be installed again through its other interface");
    }

    #[test]
    fn a_flood_of_forged_macs_is_bounded_and_spares_configured_hosts_and_those_with_disks() {
        let mut dir = Directory::default();
        let lab = Lab { hosts: vec![host(&[mac(1)], None)], ..Lab::default() };
        let kept = dir.configure(&lab)[0];
        let [runs, ran] = [2, 3].map(|last| dir.resolve(&Who::mac(mac(last))).unwrap());
        dir.hold(ran);
        dir.hold_only(&[runs].into());
        for i in 0..(MAX_HOSTS as u32 + 100) {
            let [a, b, c, d] = i.to_be_bytes();
            dir.resolve(&Who::mac(MacAddr([2, 1, a, b, c, d])));
        }
        assert!(dir.entries.len() <= MAX_HOSTS);
        assert_eq!(dir.find(&Who::mac(mac(1))), Some(kept));
        assert_eq!(dir.find(&Who::mac(mac(2))), Some(runs), "its overlay bears its number");
        assert_eq!(dir.find(&Who::mac(mac(3))), None, "its overlay was dropped");
    }
}
