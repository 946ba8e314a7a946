//! What all formats say in the end: subnets, ranges, reservations, who is given which boot file, targets. Each value knows its statement.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::client::When;
use super::ledger::{Id, Said};
use crate::lab::{Chap, Secret};
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// The whole of what was read.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// What holds everywhere.
    pub(super) params: Params,
    /// Boot files that hold everywhere.
    pub(super) rules: Vec<Rule>,
    /// Boot files of classes, which outweigh those of subnets.
    pub(super) class_rules: Vec<Rule>,
    /// Those that others of their own scope outweigh for every client.
    pub(super) outweighed: Vec<Rule>,
    /// Subnets.
    pub(super) nets: Vec<Net>,
    /// Reservations.
    pub(super) hosts: Vec<HostEntry>,
    /// iSCSI targets.
    pub(super) targets: Vec<Target>,
    /// iPXE's and gPXE's scripts.
    pub(super) scripts: Vec<Script>,
    /// The interface that serves.
    pub(super) interface: Option<Said<String>>,
    /// Addresses that are the server's own.
    pub(super) own: Vec<Ipv4Addr>,
    /// This computer's interfaces with their addresses: see [`super::Options::addresses`].
    pub(super) around: Vec<(String, Ipv4Cidr)>,
    /// Machines without a reservation are not answered.
    pub(super) strangers_ignored: Vec<Id>,
    /// The subnets in which the server names itself as router, as nothing is said of one. By their places in `nets`.
    pub(super) routes_itself: BTreeSet<usize>,
    /// The same of DNS.
    pub(super) resolves_itself: BTreeSet<usize>,
}

impl Model {
    /// Leaves each scope only the rules that count.
    pub(super) fn settle(&mut self) {
        let nets = self.nets.iter_mut().map(|net| &mut net.rules);
        let hosts = self.hosts.iter_mut().map(|host| &mut host.rules);
        for rules in [&mut self.rules, &mut self.class_rules].into_iter().chain(nets).chain(hosts) {
            winners(rules, &mut self.outweighed);
        }
    }
}

/// Options and times of a scope.
#[derive(Debug, Clone, Default)]
pub(super) struct Params {
    /// Option 3.
    pub(super) router: Option<Said<Ipv4Addr>>,
    /// Option 6.
    pub(super) dns: Option<Said<Vec<Ipv4Addr>>>,
    /// Option 15.
    pub(super) domain: Option<Said<String>>,
    /// Seconds of a lease.
    pub(super) lease: Option<Said<u64>>,
    /// Seconds of the longest lease.
    pub(super) lease_max: Option<Said<u64>>,
    /// `siaddr`.
    pub(super) next_server: Option<Said<Ipv4Addr>>,
}

impl Params {
    /// The statements that said something.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        let of = [
            self.router.as_ref().map(|s| s.id),
            self.dns.as_ref().map(|s| s.id),
            self.domain.as_ref().map(|s| s.id),
            self.lease.as_ref().map(|s| s.id),
            self.lease_max.as_ref().map(|s| s.id),
            self.next_server.as_ref().map(|s| s.id),
        ];
        of.into_iter().flatten()
    }

    /// These, and what they leave open from around them.
    #[must_use]
    pub(super) fn within(self, outer: &Self) -> Self {
        let outer = outer.clone();
        Self {
            router: self.router.or(outer.router),
            dns: self.dns.or(outer.dns),
            domain: self.domain.or(outer.domain),
            lease: self.lease.or(outer.lease),
            lease_max: self.lease_max.or(outer.lease_max),
            next_server: self.next_server.or(outer.next_server),
        }
    }
}

/// Who is given what.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// For whom.
    pub(super) when: When,
    /// What.
    pub(super) give: Give,
    /// Who says so.
    pub(super) id: Id,
}

/// Takes out what later ones outweigh for every client: of a scope no more are left than there are clients, whatever a file says, and
/// however many hosts are in it.
pub(super) fn winners(rules: &mut Vec<Rule>, outweighed: &mut Vec<Rule>) {
    let (mut files, mut roots) = (When::default(), When::default());
    let mut kept = Vec::new();
    for rule in std::mem::take(rules).into_iter().rev() {
        let taken = match &rule.give {
            Give::File(_) => &mut files,
            Give::RootPath(_) => &mut roots,
        };
        let wins = !rule.when.and(taken.not()).is_never();
        *taken = taken.or(rule.when);
        if wins {
            kept.push(rule);
        } else {
            outweighed.push(rule);
        }
    }
    kept.reverse();
    *rules = kept;
}

/// A part of boot information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Give {
    /// A file name or URL; empty: none.
    File(String),
    /// Option 17.
    RootPath(String),
}

/// A subnet.
#[derive(Debug, Clone)]
pub(super) struct Net {
    /// Its addresses.
    pub(super) subnet: Ipv4Cidr,
    /// Its statement.
    pub(super) id: Id,
    /// Addresses that are given.
    pub(super) ranges: Vec<Said<Ipv4Range>>,
    /// Its options.
    pub(super) params: Params,
    /// Its boot files.
    pub(super) rules: Vec<Rule>,
    /// Another server gives the addresses.
    pub(super) proxy: bool,
    /// Its machines are behind a relay, the file says.
    pub(super) relayed: bool,
    /// How its netmask is known, where its statement says none.
    pub(super) remark: Option<String>,
}

/// A reservation.
#[derive(Debug, Clone)]
pub(super) struct HostEntry {
    /// Its statement.
    pub(super) id: Id,
    /// Its name, as written.
    pub(super) name: Option<String>,
    /// Hardware addresses.
    pub(super) macs: Vec<Said<MacAddr>>,
    /// Its address.
    pub(super) address: Option<Said<Ipv4Addr>>,
    /// Its own boot files and those of its groups, outer ones first.
    pub(super) rules: Vec<Rule>,
    /// It is not answered.
    pub(super) ignored: bool,
    /// Other statements of which it is made, with what they say.
    pub(super) said: Vec<(Id, &'static str)>,
    /// The subnet in which it stands.
    pub(super) net: Option<usize>,
}

/// An iSCSI target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its statement.
    pub(super) id: Id,
    /// Its name.
    pub(super) iqn: String,
    /// What it serves.
    pub(super) luns: Vec<Lun>,
    /// CHAP, the other way included.
    pub(super) chap: Option<Said<Chap>>,
    /// Our own name and secret, where they came before the initiator's.
    pub(super) mutual: Option<Said<(String, Secret)>>,
    /// From where one may log in.
    pub(super) addresses: Vec<Said<Ipv4Cidr>>,
    /// Who may log in.
    pub(super) initiators: Vec<Said<String>>,
}

/// A LUN.
#[derive(Debug, Clone)]
pub(super) struct Lun {
    /// Its statement.
    pub(super) id: Id,
    /// Where its bytes are.
    pub(super) path: String,
    /// Its number, if the file says one.
    pub(super) number: Option<u64>,
    /// No writes.
    pub(super) readonly: bool,
}

/// A script.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The file's name, without folders.
    pub(super) file: String,
    /// The name of its folder.
    pub(super) folder: String,
    /// What its commands come to, in their order.
    pub(super) ends: Vec<End>,
    /// It jumps or asks: which end is reached is not known.
    pub(super) chooses: bool,
    /// A word of lab.toml that our own export wrote: `wait`, `menu`, `local`, `ignore`, or `straight` for a script whose
    /// questions do not matter.
    pub(super) word: Option<String>,
}

/// Where a script leads.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// A kernel.
    Kernel(Kernel),
    /// A disk over iSCSI.
    San(Said<String>),
    /// The machine's own disk.
    Local(Id),
    /// Another script.
    Chain(Said<String>),
}

/// A kernel with what goes with it.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// Its statement.
    pub(super) id: Id,
    /// The label above it, or another name that the script has for it.
    pub(super) label: Option<String>,
    /// Where the kernel is: a URL.
    pub(super) kernel: String,
    /// Its arguments.
    pub(super) args: String,
    /// Where its initrds are.
    pub(super) initrds: Vec<Said<String>>,
    /// A disk over iSCSI that it finds as its first.
    pub(super) hook: Option<Said<String>>,
}
