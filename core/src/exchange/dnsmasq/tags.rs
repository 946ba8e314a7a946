//! Tags: who has them. Some are set by what a client sends, some by the subnet or the reservation.

use std::collections::BTreeMap;

use super::lines::Line;
use crate::exchange::client::{Client, Field, When};
use crate::exchange::ledger::Ledger;

/// What a tag stands for.
#[derive(Debug, Clone)]
pub(super) enum Tag {
    /// Some kinds of clients.
    Clients(When),
    /// Numbers of subnets in the model.
    Nets(Vec<usize>),
    /// Machines with reservations.
    Hosts(Vec<usize>),
}

/// All tags by name.
#[derive(Debug, Default)]
pub(super) struct Tags {
    known: BTreeMap<String, Tag>,
}

/// For whom a line with tags holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holds {
    pub(super) when: When,
    /// In these subnets only.
    pub(super) nets: Option<Vec<usize>>,
    /// These hosts only.
    pub(super) hosts: Option<Vec<usize>>,
    /// All but these hosts.
    pub(super) but: Vec<usize>,
}

impl Tags {
    /// A line that sets a tag by what a client sends. `false`: another line.
    pub(super) fn learn(&mut self, line: &Line, ledger: &mut Ledger) -> bool {
        let parts = line.parts();
        let Some(first) = parts.first() else { return false };
        let name = first.strip_prefix("set:").unwrap_or(first);
        let rest = parts.get(1..).unwrap_or_default();
        let when = match line.key.as_str() {
            "dhcp-match" => matched(rest),
            "dhcp-vendorclass" => rest.first().map(|text| contains(60, text)),
            "dhcp-userclass" => rest.first().map(|text| contains(77, text)),
            "tag-if" => return self.tag_if(line, &parts, ledger),
            _ => return false,
        };
        let Some(when) = when.filter(|w| w.is_known()) else {
            ledger.lost(line.id, "depends on what import cannot know of a client; Bootyard tells machines apart by MAC, UUID and architecture");
            self.of_clients(name, When::of(|_| None));
            return true;
        };
        ledger.implied(line.id, "Bootyard tells these clients apart by itself");
        self.of_clients(name, when);
        true
    }

    /// A tag that these have as well as whoever has it by another line.
    fn of_clients(&mut self, name: &str, when: When) {
        let before = match self.known.get(name) {
            Some(Tag::Clients(before)) => *before,
            _ => When::default(),
        };
        self.known.insert(name.to_owned(), Tag::Clients(before.or(when)));
    }

    fn tag_if(&mut self, line: &Line, parts: &[String], ledger: &mut Ledger) -> bool {
        let holds = self.holds(parts);
        let sets: Vec<&str> = parts.iter().filter_map(|p| p.strip_prefix("set:")).collect();
        match holds {
            Ok(Holds { when, nets: None, hosts: None, but }) if when.is_known() && but.is_empty() => {
                sets.iter().for_each(|set| self.of_clients(set, when));
                ledger.implied(line.id, "Bootyard tells these clients apart by itself");
            }
            _ => {
                sets.iter().for_each(|set| self.of_clients(set, When::of(|_| None)));
                ledger.lost(line.id, "it combines what import cannot know of a client");
            }
        }
        true
    }

    /// A tag of a subnet.
    pub(super) fn of_net(&mut self, name: &str, net: usize) {
        match self.known.get_mut(name) {
            Some(Tag::Nets(nets)) if nets.contains(&net) => {}
            Some(Tag::Nets(nets)) => nets.push(net),
            _ => drop(self.known.insert(name.to_owned(), Tag::Nets(vec![net]))),
        }
    }

    /// A tag of a reservation.
    pub(super) fn of_host(&mut self, name: &str, host: usize) {
        match self.known.get_mut(name) {
            Some(Tag::Hosts(hosts)) => hosts.push(host),
            _ => drop(self.known.insert(name.to_owned(), Tag::Hosts(vec![host]))),
        }
    }

    /// For whom a line with these parts holds.
    ///
    /// # Errors
    /// Why that cannot be known.
    pub(super) fn holds(&self, parts: &[String]) -> Result<Holds, String> {
        let mut holds = Holds { when: When::ALWAYS, nets: None, hosts: None, but: Vec::new() };
        for tag in parts.iter().filter_map(|p| p.strip_prefix("tag:").or_else(|| p.strip_prefix("net:"))) {
            let (name, not) =
                tag.strip_prefix('!').or_else(|| tag.strip_prefix('#')).map_or((tag, false), |t| (t, true));
            match (self.known.get(name), not) {
                (Some(Tag::Clients(when)), false) => holds.when = holds.when.and(*when),
                (Some(Tag::Clients(when)), true) => holds.when = holds.when.and(when.not()),
                (Some(Tag::Nets(nets)), false) => holds.nets = Some(both(holds.nets.take(), nets)),
                (Some(Tag::Hosts(hosts)), true) => holds.but.extend(hosts),
                (Some(Tag::Hosts(hosts)), false) => holds.hosts = Some(both(holds.hosts.take(), hosts)),
                (Some(_), true) => {
                    return Err(format!("for all but the tag `{name}`; there is no such set of machines here"));
                }
                (None, _) => return Err(format!("nothing that import understands sets the tag `{name}`")),
            }
        }
        if holds.when.is_known() {
            Ok(holds)
        } else {
            Err("its tags depend on what import cannot know of a client".into())
        }
    }
}

/// Of all, or of these, those that are among the others, too.
fn both(these: Option<Vec<usize>>, others: &[usize]) -> Vec<usize> {
    match these {
        Some(these) => these.into_iter().filter(|n| others.contains(n)).collect(),
        None => others.to_vec(),
    }
}

/// `option:client-arch,7`, `93,7`, `175`, `encap:175,19`: an option with a value, or at all.
fn matched(parts: &[String]) -> Option<When> {
    let what = parts.first()?;
    let value = parts.get(1).filter(|v| !v.is_empty());
    if let Some(outer) = what.strip_prefix("encap:") {
        let (outer, code) = (outer.parse().ok()?, value?.parse().ok()?);
        return Some(When::of(|c| present(&c.encapsulated(outer, code))));
    }
    let code: u16 = match what.strip_prefix("option:") {
        Some("client-arch") => 93,
        Some("vendor-class") => 60,
        Some("user-class") => 77,
        Some("client-machine-id") => 97,
        Some("client-interface-id") => 94,
        Some(other) => other.parse().ok()?,
        None => what.parse().ok()?,
    };
    let Some(value) = value else { return Some(When::of(|c| present(&c.option(code)))) };
    // A number, or bytes such as 00:07.
    let bytes = |text: &str| text.split(':').map(|b| u8::from_str_radix(b, 16).ok()).collect::<Option<Vec<u8>>>();
    if code == 93 {
        let number: u16 = match bytes(value).filter(|_| value.contains(':')) {
            Some(pair) => u16::from_be_bytes(pair.try_into().ok()?),
            None => value.parse().ok()?,
        };
        return Some(When::of(|c| Some(c.arch == Some(number))));
    }
    if let (175, Ok(part)) = (code, value.parse()) {
        return Some(When::of(|c| present(&c.encapsulated(code, part))));
    }
    // Text matches anywhere in the option.
    Some(contains(code, value.trim_end_matches('*')))
}

fn contains(code: u16, text: &str) -> When {
    let text = text.as_bytes();
    When::of(|c: Client| match c.option(code) {
        Field::Absent => Some(false),
        Field::Bytes(b) => Some(!text.is_empty() && b.windows(text.len()).any(|w| w == text)),
        Field::Present | Field::Unknown => None,
    })
}

fn present(field: &Field) -> Option<bool> {
    match field {
        Field::Absent => Some(false),
        Field::Unknown => None,
        Field::Bytes(_) | Field::Present => Some(true),
    }
}
