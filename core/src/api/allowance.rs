//! How many events one client may cause.
//!
//! A state event is never dropped on its way to the engine (see [`super::Reporter`]), so what a client can provoke by asking is
//! bounded where it is asked: each client has a number of events that refills with time, and all clients together have another, for
//! a flood from invented addresses. Both are far above what a rack of machines needs that is switched on at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Clients that are remembered one by one; those above share one allowance until an older one has its full allowance back.
const MAX_CLIENTS: usize = 4096;

/// A bucket's measures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Events at once.
    pub(crate) burst: u32,
    /// Events that come back each second.
    pub(crate) per_second: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of events, so that a bucket that is asked often refills nevertheless.
    left: u64,
    at: Duration,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self { left: u64::from(rate.burst) * 1000, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let millis = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            self.left = millis.saturating_mul(u64::from(rate.per_second)).saturating_add(self.left);
            self.left = self.left.min(u64::from(rate.burst) * 1000);
            self.at = now;
        }
    }

    fn take(&mut self) -> bool {
        let taken = self.left >= 1000;
        if taken {
            self.left -= 1000;
        }
        taken
    }
}

#[derive(Debug)]
struct Table {
    clients: HashMap<IpAddr, Bucket>,
    /// Of those that find no place in the table.
    others: Bucket,
    all: Bucket,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Allowance {
    each: Rate,
    all: Rate,
    table: Mutex<Table>,
}

impl Allowance {
    /// An allowance for each client and one for all together.
    pub(crate) fn new(each: Rate, all: Rate) -> Self {
        let others = Bucket::full(each, Duration::ZERO);
        let table = Table { clients: HashMap::new(), others, all: Bucket::full(all, Duration::ZERO) };
        Self { each, all, table: Mutex::new(table) }
    }

    /// Whether one more event of this client is told at `now` (time since boot).
    pub(crate) fn take(&self, now: Duration, client: IpAddr) -> bool {
        // Every statement leaves the table in order, so a panic elsewhere does no harm.
        let table = &mut *self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.clients.len() >= MAX_CLIENTS && !table.clients.contains_key(&client) {
            let full = u64::from(self.each.burst) * 1000;
            table.clients.retain(|_, bucket| {
                bucket.refill(self.each, now);
                bucket.left < full
            });
        }
        let bucket = if table.clients.len() < MAX_CLIENTS || table.clients.contains_key(&client) {
            table.clients.entry(client).or_insert_with(|| Bucket::full(self.each, now))
        } else {
            &mut table.others
        };
        bucket.refill(self.each, now);
        table.all.refill(self.all, now);
        // A client that has used up its own takes nothing from the others'.
        bucket.left >= 1000 && table.all.take() && bucket.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const EACH: Rate = Rate { burst: 10, per_second: 4 };
    const ALL: Rate = Rate { burst: 100, per_second: 40 };

    fn told(allowance: &Allowance, at: u64, client: u32, times: usize) -> usize {
        let client = Ipv4Addr::from_bits(client).into();
        (0..times).filter(|_| allowance.take(Duration::from_millis(at), client)).count()
    }

    #[test]
    fn a_client_has_a_burst_and_then_what_comes_back() {
        let allowance = Allowance::new(EACH, ALL);
        assert_eq!(told(&allowance, 0, 1, 1000), 10);
        assert_eq!(told(&allowance, 0, 2, 3), 3, "another client does not suffer");
        assert_eq!(told(&allowance, 500, 1, 1000), 2);
        assert_eq!((501..=1500).map(|at| told(&allowance, at, 1, 1)).sum::<usize>(), 4, "asked every millisecond");
        assert_eq!(told(&allowance, 1_000_000, 1, 1000), 10);
    }

    #[test]
    fn invented_addresses_share_what_all_have() {
        let allowance = Allowance::new(EACH, ALL);
        assert_eq!((0..50_000).map(|client| told(&allowance, 0, client, 1)).sum::<usize>(), 100);
        assert!(allowance.table.lock().unwrap().clients.len() <= MAX_CLIENTS);
        assert_eq!(told(&allowance, 10_000, 77, 5), 5, "and all is well when they are gone");
    }
}
