//! What keeps a flood of forged packets from becoming a flood of events, or from withholding every address.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::machine::Now;
use crate::net::MacAddr;

const MINUTE: Duration = Duration::from_secs(60);
/// Keys remembered; beyond it nothing is reported until some are a minute old.
const MOST: usize = 4096;

/// Says the first time in a minute from the others, for each key.
#[derive(Debug)]
pub(crate) struct OncePerMinute<K>(HashMap<K, Duration>);

impl<K> Default for OncePerMinute<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> OncePerMinute<K> {
    pub(crate) fn first(&mut self, now: Now, key: K) -> bool {
        if self.0.get(&key).is_some_and(|at| now.boot < *at + MINUTE) {
            return false;
        }
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.forget(now);
            if self.0.len() >= MOST {
                return false;
            }
        }
        self.0.insert(key, now.boot);
        true
    }

    pub(crate) fn forget(&mut self, now: Now) {
        self.0.retain(|_, at| now.boot < *at + MINUTE);
    }
}

/// A token bucket: [`Budget::BURST`] at once, [`Budget::PER_SECOND`] on average.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    at: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Self::BURST, at: Duration::ZERO }
    }
}

impl Budget {
    const BURST: u64 = 1000;
    const PER_SECOND: u64 = 100;

    pub(crate) fn take(&mut self, now: Now) -> bool {
        let seconds = now.boot.saturating_sub(self.at).as_secs();
        if seconds > 0 {
            self.left = (self.left + seconds.saturating_mul(Self::PER_SECOND)).min(Self::BURST);
            self.at = now.boot;
        }
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}

/// Machines that answered ARP at addresses which are others'. One that answers for many does so for others (proxy ARP), and of many such
/// machines most are forged.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    by: HashMap<MacAddr, HashSet<Ipv4Addr>>,
    since: Duration,
}

impl Answered {
    /// Addresses of one machine that are believed in an hour.
    pub(crate) const ADDRESSES: usize = 8;
    /// Machines that are believed in an hour.
    pub(crate) const MACHINES: usize = 64;
    const KEPT: Duration = Duration::from_secs(3600);

    /// Whether a machine's next answer counts.
    pub(crate) fn believes(&mut self, now: Now, mac: MacAddr) -> bool {
        if now.boot >= self.since + Self::KEPT {
            (self.by, self.since) = (HashMap::new(), now.boot);
        }
        match self.by.get(&mac) {
            Some(addresses) => addresses.len() < Self::ADDRESSES,
            None => self.by.len() < Self::MACHINES,
        }
    }

    /// It answered at this address; whether that is new.
    pub(crate) fn note(&mut self, mac: MacAddr, address: Ipv4Addr) -> bool {
        self.by.entry(mac).or_default().insert(address)
    }
}
