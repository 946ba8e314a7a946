//! Where a client is: the subnets of a plan, and which of their addresses may be given.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::Plan;
use crate::lab::Lease;
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// A subnet whose clients we give addresses.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) subnet: Ipv4Cidr,
    ranges: Vec<Ipv4Range>,
    pub(super) router: Option<Ipv4Addr>,
    pub(super) dns: Vec<Ipv4Addr>,
    pub(super) domain: Option<String>,
    pub(super) lease: Lease,
}

/// What the leases need of a plan, computed once.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// For each network: its own subnet first, then those behind relays.
    networks: Vec<Vec<Arc<Scope>>>,
    /// Ours, routers, DNS servers, and the ends of subnets.
    never: HashSet<Ipv4Addr>,
    /// Addresses of `[[host]]` entries.
    reserved: HashSet<Ipv4Addr>,
    /// MACs whose hosts are told apart by UUID.
    shared: HashSet<MacAddr>,
}

impl Layout {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut layout = Self::default();
        for network in &plan.networks {
            let mut scopes = Vec::new();
            if let Some(lab) = plan.lab.networks.get(network.index) {
                scopes.push(Arc::new(Scope {
                    subnet: network.address,
                    ranges: if lab.ranges.is_empty() { whole(network.address) } else { lab.ranges.clone() },
                    router: lab.router,
                    dns: lab.dns.clone(),
                    domain: lab.domain.clone(),
                    lease: lab.lease,
                }));
                scopes.extend(lab.subnets.iter().map(|s| {
                    Arc::new(Scope {
                        subnet: s.subnet,
                        ranges: s.ranges.clone(),
                        router: s.router,
                        dns: if s.dns.is_empty() { lab.dns.clone() } else { s.dns.clone() },
                        domain: s.domain.clone().or_else(|| lab.domain.clone()),
                        lease: s.lease.unwrap_or(lab.lease),
                    })
                }));
            }
            layout.never.insert(network.address.address);
            for scope in &scopes {
                layout.never.extend(scope.router);
                layout.never.extend(&scope.dns);
                if scope.subnet.prefix < 31 {
                    layout.never.extend([scope.subnet.network(), scope.subnet.broadcast()]);
                }
            }
            layout.networks.push(scopes);
        }
        for host in &plan.lab.hosts {
            if let Some(address) = host.address {
                layout.reserved.insert(address);
            }
            if host.uuid.is_some() {
                layout.shared.extend(&host.macs);
            }
        }
        layout
    }

    /// The subnet of a network in which `link` is.
    pub(super) fn scope(&self, network: usize, link: Ipv4Addr) -> Option<Arc<Scope>> {
        self.networks.get(network)?.iter().find(|s| s.subnet.contains(link)).cloned()
    }

    /// Whether lab.toml tells this MAC's owners apart by UUID.
    pub(super) fn is_shared(&self, mac: MacAddr) -> bool {
        self.shared.contains(&mac)
    }

    /// Whether an address may be given to this client: from a range of the subnet, or reserved for it there.
    pub(super) fn allows(&self, scope: &Scope, address: Ipv4Addr, fixed: Option<Ipv4Addr>) -> bool {
        if !scope.subnet.contains(address) || self.never.contains(&address) {
            return false;
        }
        if fixed == Some(address) {
            return true;
        }
        let others = self.reserved.contains(&address);
        !others && scope.ranges.iter().any(|r| r.contains(address))
    }
}

impl Scope {
    /// How many addresses the ranges have, free or not.
    pub(super) fn count(&self) -> u64 {
        self.ranges.iter().map(|r| r.count()).sum()
    }

    /// The address at a place in the ranges.
    pub(super) fn nth(&self, mut place: u64) -> Option<Ipv4Addr> {
        for range in &self.ranges {
            if place < range.count() {
                return Some(Ipv4Addr::from(u32::from(range.first()).checked_add(u32::try_from(place).ok()?)?));
            }
            place -= range.count();
        }
        None
    }
}

fn whole(subnet: Ipv4Cidr) -> Vec<Ipv4Range> {
    Ipv4Range::new(subnet.network(), subnet.broadcast()).into_iter().collect()
}
