//! How large a block may be for clients to which larger ones did not get: something on the way, such as a tunnel, does not pass them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::terms::smaller;
use super::wire::Request;
use crate::net::boot_time;

/// Clients that are remembered; more get what they ask for.
const MOST: usize = 4096;
/// So long after it was last lowered a size is forgotten: the machine or what was on its way may be another.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// A client's block size.
#[derive(Debug, Clone, Copy)]
struct Lowered {
    most: u16,
    /// Since boot.
    at: Duration,
}

impl Lowered {
    fn holds(self, now: Duration) -> bool {
        now.saturating_sub(self.at) < KEPT
    }
}

/// See the module's text. It is forgotten when the server ends.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<HashMap<IpAddr, Lowered>>);

impl Sizes {
    fn map(&self) -> MutexGuard<'_, HashMap<IpAddr, Lowered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not one block of this size was acknowledged.
    pub(super) fn too_large(&self, client: IpAddr, block: u16) {
        self.lower(boot_time(), client, block);
    }

    fn lower(&self, at: Duration, client: IpAddr, block: u16) {
        let Some(most) = smaller(block) else { return };
        let mut map = self.map();
        if map.len() >= MOST {
            map.retain(|_, lowered| lowered.holds(at));
        }
        if map.len() < MOST || map.contains_key(&client) {
            map.insert(client, Lowered { most, at });
        }
    }

    /// The request with a block size that gets there.
    pub(super) fn limit(&self, client: IpAddr, request: &Request) -> Request {
        self.limit_at(boot_time(), client, request)
    }

    fn limit_at(&self, now: Duration, client: IpAddr, request: &Request) -> Request {
        let mut request = request.clone();
        let known = self.map().get(&client).copied();
        let Some(Lowered { most, .. }) = known.filter(|lowered| lowered.holds(now)) else { return request };
        for (name, value) in &mut request.options {
            if name == "blksize" && value.trim().parse::<u64>().is_ok_and(|size| size > u64::from(most)) {
                *value = most.to_string();
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tftp::wire::{Packet, decode};

    #[test]
    fn a_client_gets_ever_smaller_blocks_and_no_other_does() {
        let Ok(Packet::Rrq(request)) = decode(b"\0\x01f\0octet\0blksize\x008192\0") else { panic!() };
        let sizes = Sizes::default();
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let size = |client| sizes.limit(client, &request).options[0].1.clone();
        assert_eq!(size(one), "8192");
        sizes.too_large(one, 8192);
        assert_eq!((size(one), size(two)), ("1468".to_owned(), "8192".to_owned()));
        sizes.too_large(one, 1468);
        sizes.too_large(one, 512);
        assert_eq!(size(one), "512");
    }

    #[test]
    fn a_size_is_forgotten_half_an_hour_after_it_was_last_lowered() {
        let Ok(Packet::Rrq(request)) = decode(b"\0\x01f\0octet\0blksize\x008192\0") else { panic!() };
        let sizes = Sizes::default();
        let client = [10, 0, 0, 1].into();
        let minute = |n: u64| Duration::from_secs(n * 60);
        let size = |at| sizes.limit_at(minute(at), client, &request).options[0].1.clone();
        sizes.lower(minute(10), client, 8192);
        sizes.lower(minute(20), client, 1468);
        assert_eq!((size(49), size(50)), ("512".to_owned(), "8192".to_owned()));
        // Those that are forgotten make room.
        for n in 0..5000 {
            sizes.lower(minute(50), std::net::Ipv4Addr::from_bits(n).into(), 8192);
        }
        assert_eq!(sizes.map().len(), MOST);
        sizes.lower(minute(80), client, 8192);
        assert_eq!(sizes.map().len(), 1);
        assert_eq!(size(80), "1468");
    }
}
