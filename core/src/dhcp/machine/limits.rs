//! What keeps a flood of forged requests from becoming a flood of events.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::machine::Now;

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
