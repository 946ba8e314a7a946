//! A network card that was pulled and put in again is another one to the operating system, as is one with another address: sockets that
//! were opened on the former hear nothing any more. Serving begins again then.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::run::Run;
use super::state::State;
use crate::api::{EventKind, ServiceKind};
use crate::boot::PlanNetwork;
use crate::net::Interface;

/// So long it is tried to begin again where it fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tries are so far apart.
const PAUSE: Duration = Duration::from_secs(5);

/// Serving ended because of a card and is to begin again.
#[derive(Debug)]
pub(super) struct Again {
    next: Instant,
    until: Instant,
    /// Why the last try came to nothing.
    failed: Option<String>,
}

impl Run {
    /// Looks at the cards of the networks in service.
    pub(super) fn follow_cards(&mut self) {
        if self.is_changing() {
            return;
        }
        let now = Instant::now();
        if self.serving.is_some() {
            self.again = None;
            let replaced = replaced(&self.shared.state());
            if let Some(interface) = replaced {
                self.again = Some(Again { next: now, until: now + PATIENCE, failed: None });
                self.hear_nothing(format!(
                    "the network card {interface} was replaced, or its address; serving begins again on it"
                ));
                self.stop(oneshot::channel().0);
            }
        } else if let Some(again) = &mut self.again {
            // While a card is out there is nothing to try: it is waited for.
            let failed = again.failed.take_if(|_| now >= again.until);
            if failed.is_some() {
                // It is no longer tried: that is the end, and whoever watches this program is told.
                self.again = None;
                self.shared.report(None, EventKind::EngineStopped { error: failed });
            } else if now >= again.next && ready(&self.shared.state()) {
                again.next = now + PAUSE;
                self.start(oneshot::channel().0);
            }
        }
    }

    /// A start has failed; whether it is tried again.
    pub(super) fn tried_again(&mut self, error: &str) -> bool {
        let Some(again) = &mut self.again else { return false };
        again.failed = Some(error.to_owned());
        self.hear_nothing(error.to_owned());
        true
    }

    fn hear_nothing(&self, error: String) {
        self.shared.report(None, EventKind::ServiceFailed { service: ServiceKind::Dhcp, error });
    }
}

/// The first interface in service that is not what it was when serving began.
fn replaced(state: &State) -> Option<String> {
    let is_other = |network: &&PlanNetwork| {
        let found = state.interfaces.iter().find(|i| i.name == network.interface && i.running);
        let ours_to_set = state.plan.lab.networks.get(network.index).is_some_and(|n| n.address.is_some());
        found.is_some_and(|found| found.index != network.ifindex || !ours_to_set && has_moved(found, network))
    };
    state.plan.networks.iter().find(is_other).map(|network| network.interface.clone())
}

/// Its own address is another one. While it has none, it may come back.
fn has_moved(found: &Interface, network: &PlanNetwork) -> bool {
    !found.addresses.is_empty() && found.addresses.iter().all(|a| a.address != network.address.address)
}

/// Whether every network of lab.toml has its card.
fn ready(state: &State) -> bool {
    let is_there = |interface: &str| state.interfaces.iter().any(|found| found.name == interface && found.running);
    state.lab.networks.iter().all(|network| is_there(&network.interface))
}
