//! Frames of a machine of our network that come through a router: it has a route, or a mask, that sends them there.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::api::EventKind;
use crate::net::{Ipv4Cidr, MacAddr};

/// An address is told again after this time.
const AGAIN: Duration = Duration::from_secs(600);
/// Routers that are known; no network has more.
const MAX_ROUTERS: usize = 16;
const MAX_TOLD: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Gateway {
    routers: HashSet<MacAddr>,
    told: HashMap<Ipv4Addr, Duration>,
}

impl Gateway {
    /// A frame came from `sender` with this source address. `network` is ours; `owner` is whose address it is, as far as is known.
    pub(super) fn frame(
        &mut self,
        now: Duration,
        network: Ipv4Cidr,
        (source, sender): (IpAddr, MacAddr),
        owner: Option<MacAddr>,
    ) -> Option<EventKind> {
        let IpAddr::V4(source) = source else { return None };
        if source.is_unspecified() || source.is_broadcast() || source.is_multicast() || source.is_link_local() {
            return None;
        }
        if !network.contains(source) {
            self.is_router(sender);
            return None;
        }
        let through = owner.is_some_and(|owner| owner != sender) && self.routers.contains(&sender);
        if !through || self.told.get(&source).is_some_and(|at| now < *at + AGAIN) {
            return None;
        }
        if self.told.len() >= MAX_TOLD {
            self.told.clear();
        }
        self.told.insert(source, now);
        Some(EventKind::ViaGateway { address: source, gateway: sender })
    }

    /// This hardware address is a router's.
    pub(super) fn is_router(&mut self, mac: MacAddr) {
        if self.routers.len() < MAX_ROUTERS {
            self.routers.insert(mac);
        }
    }
}
