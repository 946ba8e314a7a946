//! `[network]` and its subnets.

use super::*;

impl Builder<'_> {
    pub(super) fn networks(&mut self) {
        let model = self.model;
        let Some(local) = self.local() else { return self.no_network() };
        if let Some(first) = self.there.networks.first() {
            let why = format!("the lab has its own [network] on {}, which stays as it is", first.interface);
            let ids: Vec<Id> = model.nets.iter().flat_map(net_ids).chain(model.params.ids()).collect();
            ids.into_iter().for_each(|id| self.ledger.lost(id, why.clone()));
            self.address = first.address;
            return;
        }
        let Some(net) = model.nets.get(local) else { return };
        let mut ids = vec![net.id];
        let interface = self.interface_name();
        let mut network = Network::on(interface);
        self.address = self.own_address(net);
        network.address = self.address;
        let params = net.params.clone().within(&model.params);
        self.ledger.mapped(net.id, format!("[network] on {}", network.interface));
        if let Some(next) = &params.next_server {
            if network.address.is_some_and(|a| a.address == next.value) {
                self.ledger.mapped(next.id, format!("address = \"{}\" of the [network]", next.value));
            } else {
                self.ledger.implied(next.id, "Bootyard itself serves the boot files");
            }
        }
        if net.proxy {
            network.mode = Mode::Proxy;
        }
        let mut plain = self.plain(net, &params, &mut ids);
        self.itself(local, net, &params, &mut plain);
        network.ranges = plain.ranges;
        network.router = plain.router;
        network.dns = plain.dns;
        network.domain = plain.domain;
        network.lease = plain.lease.unwrap_or_default();
        if net.proxy {
            network.ranges.clear();
        }
        if network.address.is_none() && !net.proxy {
            self.notes.push(format!(
                "no file says which address the server has in {}: give the interface one, or add `address` to [network]",
                net.subnet
            ));
        }
        if network.ranges.is_empty() && !net.proxy {
            self.without_range(net);
        }
        self.notes.extend(model.nets.iter().filter_map(|net| net.remark.clone()));
        let mut taken = vec![net.subnet];
        for (index, other) in model.nets.iter().enumerate().filter(|(n, _)| *n != local) {
            let both = |a: &Ipv4Cidr| a.contains(other.subnet.network()) || other.subnet.contains(a.network());
            if taken.iter().any(both) {
                net_ids(other).into_iter().for_each(|id| self.ledger.lost(id, "another subnet has these addresses"));
                continue;
            }
            taken.push(other.subnet);
            self.relayed(index, other, &mut network);
        }
        for other in model.params.ids() {
            if !self.ledger.judged(other) {
                self.ledger.implied(other, "every subnet says its own");
            }
        }
        self.lab.networks.push(network);
        // Where lab.toml refuses the network, all that it would have had is lost.
        ids.extend(
            model
                .nets
                .iter()
                .flat_map(net_ids)
                .chain(model.params.ids())
                .chain(model.strangers_ignored.iter().copied()),
        );
        ids.extend(model.interface.as_ref().map(|said| said.id));
        self.ids.networks.push(ids);
    }

    /// What has no range here is given all of its subnet's free addresses.
    fn without_range(&mut self, net: &Net) {
        if self.model.nets.iter().all(|n| n.ranges.is_empty() && !n.proxy) {
            self.reserved_only = true;
            self.ledger.mapped(
                net.id,
                "unknown = \"ignore\": it has no range, so only machines with an entry are given addresses",
            );
        } else {
            self.notes.push(format!(
                "no range of {} can be used: add a `range` to [network] that nobody else gives, or every free address of it is given",
                net.subnet
            ));
        }
    }

    pub(super) fn no_network(&mut self) {
        for id in self.model.params.ids() {
            self.ledger.lost(id, "there is no subnet for which it holds");
        }
        if let Some(said) = &self.model.interface {
            self.ledger.lost(said.id, "there is no subnet on it");
        }
    }

    /// The subnet that the server is in.
    pub(super) fn local(&self) -> Option<usize> {
        let nets = &self.model.nets;
        let own = |n: &Net| {
            let next = n.params.next_server.as_ref().map(|s| s.value);
            self.model.own.iter().copied().chain(next).any(|a| n.subnet.contains(a)) && !n.relayed
        };
        let served = |n: &&Net| !n.ranges.is_empty() || n.proxy;
        let position = |f: &dyn Fn(&Net) -> bool| nets.iter().position(f);
        position(&|n| own(n) && served(&n))
            .or_else(|| position(&|n| own(n)))
            .or_else(|| position(&|n| served(&n) && !n.relayed))
            .or_else(|| position(&|n| !n.relayed))
            .or_else(|| (!nets.is_empty()).then_some(0))
    }

    pub(super) fn interface_name(&mut self) -> String {
        let said = self.model.interface.as_ref();
        let fits = |n: &str| {
            (1..=15).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_graphic() && b != b'/') && n != "." && n != ".."
        };
        match (&self.interface, said) {
            (Some(name), said) => {
                if let Some(said) = said {
                    self.ledger.implied(said.id, "--interface names another one");
                }
                name.clone()
            }
            (None, Some(said)) if fits(&said.value) => {
                self.ledger.mapped(said.id, format!("interface = \"{}\"", said.value));
                said.value.clone()
            }
            _ => {
                self.notes.push(format!(
                    "no file names the interface that serves: `{SOME_INTERFACE}` stands in lab.toml; --interface names another"
                ));
                SOME_INTERFACE.to_owned()
            }
        }
    }

    /// Our address in a subnet: where clients are sent for boot files.
    pub(super) fn own_address(&self, net: &Net) -> Option<Ipv4Cidr> {
        let model = self.model;
        let urls = model.scripts.iter().flat_map(|s| &s.ends).filter_map(|e| match e {
            End::Kernel(kernel) => url_host(&kernel.kernel),
            _ => None,
        });
        let rules = model
            .rules
            .iter()
            .chain(&model.class_rules)
            .chain(&net.rules)
            .chain(model.hosts.iter().flat_map(|h| &h.rules));
        let told = rules.filter_map(|r| match &r.give {
            crate::exchange::model::Give::File(file) => url_host(file),
            crate::exchange::model::Give::RootPath(path) => root_path(path)?.server.parse().ok(),
        });
        let next = net.params.next_server.as_ref().or(model.params.next_server.as_ref()).map(|s| s.value);
        let inside = |a: &Ipv4Addr| {
            let edge = net.subnet.prefix < 31 && (*a == net.subnet.network() || *a == net.subnet.broadcast());
            net.subnet.contains(*a) && !edge
        };
        let all = next.into_iter().chain(model.own.iter().copied()).chain(told).chain(urls);
        all.into_iter().find(inside).map(|address| Ipv4Cidr { address, prefix: net.subnet.prefix })
    }

    pub(super) fn relayed(&mut self, index: usize, net: &Net, network: &mut Network) {
        if net.ranges.is_empty() {
            for id in net_ids(net) {
                self.ledger.lost(id, "a subnet without a range: nothing is given there");
            }
            return;
        }
        let mut ids = vec![net.id];
        let params = net.params.clone().within(&self.model.params);
        let mut plain = self.plain(net, &params, &mut ids);
        if plain.ranges.is_empty() {
            return self.ledger.lost(net.id, "none of its ranges can be used");
        }
        self.itself(index, net, &params, &mut plain);
        self.ledger.mapped(net.id, "[[network.subnet]]: its machines come through a relay");
        if let Some(next) = &net.params.next_server {
            self.ledger.implied(next.id, "Bootyard itself serves the boot files");
        }
        network.subnets.push(Subnet {
            subnet: net.subnet,
            ranges: plain.ranges,
            router: plain.router,
            dns: plain.dns,
            domain: plain.domain,
            lease: plain.lease,
        });
    }

    /// What the former server told its machines of itself without being asked to: here that is none, unless it is written down.
    fn itself(&mut self, index: usize, net: &Net, params: &Params, plain: &mut Plain) {
        let own = self.own_address(net).map(|own| own.address);
        let subnet = net.subnet;
        if params.router.is_none() && self.model.routes_itself.contains(&index) {
            plain.router = own;
            self.notes.push(match own {
                Some(own) => format!(
                    "dnsmasq names itself as router of {subnet}, as its file names none: it is written as router = \"{own}\""
                ),
                None => format!(
                    "dnsmasq names itself as router of {subnet}, as its file names none, and no file says which address it has there: \
                     add `router`, or machines have no gateway"
                ),
            });
        }
        if params.dns.is_none() && self.model.resolves_itself.contains(&index) {
            let own = own.map(|own| format!(" ({own})")).unwrap_or_default();
            self.notes.push(format!(
                "dnsmasq names itself{own} as DNS server of {subnet}, as its file names none, and Bootyard is none: add `dns`, with that \
                 address if dnsmasq goes on answering names there, or machines find no names"
            ));
        }
    }

    pub(super) fn plain(&mut self, net: &Net, params: &Params, ids: &mut Vec<Id>) -> Plain {
        let mut plain = Plain::default();
        for range in &net.ranges {
            match fitting(range.value, net.subnet) {
                Some(value) if plain.ranges.iter().any(|r| r.first() <= value.last() && value.first() <= r.last()) => {
                    self.ledger.lost(range.id, format!("{value} overlaps another range"));
                }
                Some(value) => {
                    self.ledger.mapped(range.id, format!("range = \"{value}\""));
                    plain.ranges.push(value);
                    ids.push(range.id);
                }
                None => self.ledger.lost(range.id, format!("the range is not inside {}", net.subnet)),
            }
        }
        if let Some(said) = &params.router {
            if net.subnet.contains(said.value) {
                self.ledger.mapped(said.id, format!("router = \"{}\"", said.value));
                plain.router = Some(said.value);
            } else {
                self.ledger.lost(said.id, format!("the router {} is not inside {}", said.value, net.subnet));
            }
        }
        if let Some(said) = &params.dns {
            let list: Vec<Ipv4Addr> = said.value.iter().copied().take(63).collect();
            self.ledger.mapped(said.id, format!("dns = {list:?}"));
            if list.len() < said.value.len() {
                self.ledger.lost(said.id, "a DHCP option holds 63 servers");
            }
            plain.dns = list;
        }
        if let Some(said) = &params.domain {
            if is_domain(&said.value) {
                self.ledger.mapped(said.id, format!("domain = \"{}\"", said.value));
                plain.domain = Some(said.value.clone());
            } else {
                self.ledger.lost(said.id, "not a domain");
            }
        }
        plain.lease = self.lease(params);
        plain
    }

    pub(super) fn lease(&mut self, params: &Params) -> Option<Lease> {
        let standard = Lease::default();
        let top = u64::from(u32::MAX) - 1;
        let seconds = |n: u64| Duration::from_secs(n.clamp(SHORTEST, top));
        let default = params.lease.as_ref().map(|s| seconds(s.value));
        let max = params.lease_max.as_ref().map(|s| seconds(s.value));
        let lease = match (default, max) {
            (None, None) => return None,
            (Some(default), None) => Lease { default, max: standard.max.max(default) },
            (None, Some(max)) => Lease { default: standard.default.min(max), max },
            (Some(default), Some(max)) => Lease { default: default.min(max), max },
        };
        for (said, became, what) in [(&params.lease, lease.default, "default"), (&params.lease_max, lease.max, "max")] {
            let Some(said) = said else { continue };
            self.ledger.mapped(said.id, format!("lease {what} = \"{}s\"", became.as_secs()));
            if became.as_secs() != said.value {
                self.ledger.lost(said.id, format!("{} s becomes {} s", said.value, became.as_secs()));
            }
        }
        Some(lease)
    }
}

#[derive(Debug, Default)]
pub(super) struct Plain {
    ranges: Vec<Ipv4Range>,
    router: Option<Ipv4Addr>,
    dns: Vec<Ipv4Addr>,
    domain: Option<String>,
    lease: Option<Lease>,
}

fn net_ids(net: &Net) -> Vec<Id> {
    std::iter::once(net.id).chain(net.ranges.iter().map(|r| r.id)).chain(net.params.ids()).collect()
}

/// A range without the subnet's first and last address.
fn fitting(range: Ipv4Range, net: Ipv4Cidr) -> Option<Ipv4Range> {
    if !net.contains(range.first()) || !net.contains(range.last()) {
        return None;
    }
    if net.prefix >= 31 {
        return Some(range);
    }
    let first = range.first().max(Ipv4Addr::from(u32::from(net.network()).saturating_add(1)));
    let last = range.last().min(Ipv4Addr::from(u32::from(net.broadcast()).saturating_sub(1)));
    Ipv4Range::new(first, last).ok()
}

fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(label)
}
