//! Kea's client classes: those of everybody, those that hold only where a subnet or shared network lists them, and those of one machine.

use std::collections::BTreeSet;

use super::super::expr::when;
use super::super::json::{Entry, Json};
use super::{Reader, To, get};
use crate::exchange::client::When;
use crate::exchange::ledger::Said;
use crate::exchange::model::{HostEntry, Rule, winners};
use crate::net::MacAddr;

/// `… and pkt4.mac == 0x021122334455`: a class of one machine, and the rest of its test.
fn of_machine(test: &str) -> Option<(&str, MacAddr)> {
    let (rest, hex) = test.split_once(" and pkt4.mac == 0x")?;
    let bytes: Option<Vec<u8>> = (0..6).map(|n| u8::from_str_radix(hex.get(n * 2..n * 2 + 2)?, 16).ok()).collect();
    Some((rest, MacAddr(bytes.filter(|_| hex.len() == 12)?.try_into().ok()?)))
}

/// The classes that a subnet or shared network lists to be looked at late, in their order. Before Kea 2.7.4 the key was another.
pub(super) fn listed(map: &[Entry]) -> impl Iterator<Item = &str> {
    map.iter().filter(|e| lists_classes(&e.key)).flat_map(|e| e.value.list()).filter_map(Json::text)
}

pub(super) fn lists_classes(key: &str) -> bool {
    matches!(key, "evaluate-additional-classes" | "require-client-classes")
}

/// Whether a class holds only where it is listed.
fn only_where_listed(class: &[Entry]) -> bool {
    let flag = |e: &Entry| matches!(e.key.as_str(), "only-in-additional-list" | "only-if-required");
    class.iter().any(|e| flag(e) && e.value.is_true())
}

/// All classes that any subnet or shared network lists. What a pool lists holds for some addresses of a subnet only.
pub(super) fn listed_anywhere(dhcp4: &[Entry]) -> BTreeSet<&str> {
    let of = |map, key| get(map, key).map(Json::list).unwrap_or_default();
    let shared = of(dhcp4, "shared-networks");
    let within = shared.iter().flat_map(|network| of(network.map(), "subnet4"));
    of(dhcp4, "subnet4").iter().chain(within).chain(shared).flat_map(|scope| listed(scope.map())).collect()
}

impl Reader<'_> {
    /// `listed`: the classes that subnets and shared networks list.
    pub(super) fn client_classes(&mut self, classes: &[Json], listed: &BTreeSet<&str>) {
        let mut rules = Vec::new();
        for class in classes {
            let map = class.map();
            let name = get(map, "name").and_then(Json::text).unwrap_or_default().to_owned();
            let only = only_where_listed(map);
            if only && !listed.contains(name.as_str()) {
                let why = "the class holds only where `evaluate-additional-classes` lists it, and no subnet does";
                map.iter().for_each(|e| self.lose(e, why));
                self.classes.insert(name, When::of(|_| None));
                continue;
            }
            let test = get(map, "test").and_then(Json::text);
            let machine = test.and_then(of_machine).filter(|_| !only);
            let own = match machine.map(|(rest, _)| rest).or(test) {
                Some(test) => when(test, &self.classes),
                None => When::of(|_| None),
            };
            // A class of one machine is no kind of client; who is in one that is looked at late is not known to those before.
            let kind = if machine.is_some() || only { When::of(|_| None) } else { own };
            self.classes.insert(name.clone(), kind);
            let before = std::mem::take(&mut self.model.class_rules);
            for entry in map {
                let Some(id) = entry.id else { continue };
                match (entry.key.as_str(), own.is_known()) {
                    // Whoever is in this class is not answered at all.
                    ("name" | "test", true) if name == "DROP" => {
                        self.ledger.lost(id, "only a [[host]] can be ignored, not a kind of client");
                    }
                    ("name" | "test", true) => self.ledger.implied(id, "Bootyard tells these clients apart by itself"),
                    ("test", false) => {
                        let why = "depends on what import cannot know of a client; Bootyard tells machines apart by MAC, UUID and \
                                   architecture";
                        self.ledger.lost(id, why);
                    }
                    ("name", false) => self.ledger.lost(id, "there are no classes here"),
                    (_, false) => {
                        self.lose(entry, &format!("belongs to the class `{name}`, whose members import cannot tell"));
                    }
                    ("only-in-additional-list" | "only-if-required", true) => {
                        let why = if only { "the class is taken where it is listed" } else { "it holds everywhere" };
                        self.ledger.implied(id, why);
                    }
                    (_, true) => self.common(entry, To::Class(own)),
                }
            }
            // Of several classes that a client is in, the first one's file is taken: it comes last here, where the last one wins.
            let own = std::mem::replace(&mut self.model.class_rules, before);
            match machine {
                None if only => {
                    // Where no subnet's machines come to them, they are told of all the same.
                    self.model.outweighed.extend(own.iter().cloned());
                    self.additional.insert(name, own);
                }
                Some((_, mac)) => self.of_macs.splice(0..0, own.into_iter().map(|r| (mac, r))).for_each(drop),
                None => rules.splice(0..0, own).for_each(drop),
            }
        }
        self.model.class_rules.extend(rules);
    }

    /// What classes of one machine say is its entry's.
    pub(super) fn machines(&mut self) {
        for (mac, rule) in std::mem::take(&mut self.of_macs) {
            let known = self.model.hosts.iter().position(|h| h.macs.iter().any(|m| m.value == mac));
            let index = known.unwrap_or_else(|| {
                let macs = vec![Said { value: mac, id: rule.id }];
                self.model.hosts.push(HostEntry {
                    id: rule.id,
                    name: None,
                    macs,
                    address: None,
                    rules: Vec::new(),
                    ignored: false,
                    said: Vec::new(),
                    net: None,
                });
                self.model.hosts.len() - 1
            });
            if let Some(host) = self.model.hosts.get_mut(index) {
                host.rules.push(rule);
            }
        }
    }

    /// A list of classes that are looked at late; what they say is placed with the subnets.
    pub(super) fn late_classes(&mut self, entry: &Entry) {
        let Some(id) = entry.id else { return };
        let unknown = entry.value.list().iter().filter_map(Json::text).find(|name| !self.classes.contains_key(*name));
        match unknown {
            None => self.ledger.implied(id, "what its classes say is taken for the machines of this subnet"),
            Some(name) => self.ledger.lost(id, format!("there is no class `{name}`")),
        }
    }

    /// What these classes say, of several the first one listed. No more is left than there are clients, however many subnets list them.
    pub(super) fn late_rules<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Rule> {
        let mut seen = BTreeSet::new();
        let said: Vec<&Vec<Rule>> =
            names.filter(|name| seen.insert(*name)).filter_map(|name| self.additional.get(name)).collect();
        let mut rules: Vec<Rule> = said.into_iter().rev().flatten().cloned().collect();
        winners(&mut rules, &mut Vec::new());
        rules
    }
}
