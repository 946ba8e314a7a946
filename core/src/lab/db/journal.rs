//! Leases in a few bytes each, as the journal of lab.db has them: one row for each write, whatever it holds.
//!
//! The table of leases is a tree by address, in which thirty machines that boot at once touch thirty places; the journal's rows are
//! added at its end. It is folded into the table now and then, so both together are the leases.
//!
//! A record is: what it is (0 to 2 a lease that is bound, released or declined; 3 an address of which nothing is kept), address (4),
//! and for a lease MAC (6), end as seconds (8) and nanoseconds (4), length of the UUID (1) and it, length of the name (1) and it.
//! Numbers are big-endian.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::lab::lease::{LeaseRecord, LeaseState};
use crate::net::MacAddr;

/// What became of addresses; `None`: nothing is kept of it.
pub(super) type Changes = BTreeMap<Ipv4Addr, Option<LeaseRecord>>;

const NOTHING: u8 = 3;

/// A row of the journal is not what this program writes.
#[derive(Debug, thiserror::Error)]
#[error("the journal of leases is damaged")]
pub(super) struct Damaged;

/// All changes as one row; empty for none.
pub(super) fn encode(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::with_capacity(changes.len() * 32);
    for (address, lease) in changes {
        let kind = match lease.as_ref().map(|l| l.state) {
            Some(LeaseState::Bound) => 0,
            Some(LeaseState::Released) => 1,
            Some(LeaseState::Declined) => 2,
            None => NOTHING,
        };
        out.push(kind);
        out.extend(address.octets());
        let Some(lease) = lease else { continue };
        out.extend(lease.mac.0);
        out.extend(lease.expires.as_second().to_be_bytes());
        out.extend(lease.expires.subsec_nanosecond().to_be_bytes());
        put(&mut out, lease.uuid.as_ref().map_or(&[], |u| &u.as_bytes()[..]));
        put(&mut out, lease.hostname.as_deref().map(name).unwrap_or_default());
    }
    out
}

/// A name that fits its length byte; those of clients are far shorter.
fn name(name: &str) -> &[u8] {
    let mut end = name.len().min(usize::from(u8::MAX));
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.as_bytes().get(..end).unwrap_or_default()
}

fn put(out: &mut Vec<u8>, value: &[u8]) {
    out.push(u8::try_from(value.len()).unwrap_or_default());
    out.extend_from_slice(value);
}

/// Adds a row's changes, each in the place of an earlier one for its address.
pub(super) fn decode(row: &[u8], changes: &mut Changes) -> Result<(), Damaged> {
    let mut rest = row;
    while !rest.is_empty() {
        let [kind] = take(&mut rest)?;
        let address = Ipv4Addr::from(take::<4>(&mut rest)?);
        let state = match kind {
            0 => LeaseState::Bound,
            1 => LeaseState::Released,
            2 => LeaseState::Declined,
            NOTHING => {
                changes.insert(address, None);
                continue;
            }
            _ => return Err(Damaged),
        };
        let mac = MacAddr(take(&mut rest)?);
        let (seconds, nanos) = (i64::from_be_bytes(take(&mut rest)?), i32::from_be_bytes(take(&mut rest)?));
        let expires = Timestamp::new(seconds, nanos).map_err(|_| Damaged)?;
        let uuid = match sized(&mut rest)? {
            [] => None,
            uuid => Some(Uuid::from_slice(uuid).map_err(|_| Damaged)?),
        };
        let hostname = match std::str::from_utf8(sized(&mut rest)?).map_err(|_| Damaged)? {
            "" => None,
            name => Some(name.to_owned()),
        };
        changes.insert(address, Some(LeaseRecord { address, mac, uuid, hostname, state, expires }));
    }
    Ok(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (value, tail) = rest.split_first_chunk().ok_or(Damaged)?;
    *rest = tail;
    Ok(*value)
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Damaged> {
    let [len] = take(rest)?;
    let (value, tail) = rest.split_at_checked(usize::from(len)).ok_or(Damaged)?;
    *rest = tail;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::Now;

    fn lease(n: u8, hostname: Option<&str>, state: LeaseState) -> LeaseRecord {
        LeaseRecord {
            address: Ipv4Addr::new(10, 0, 0, n),
            mac: MacAddr([2, 0, 0, 0, 0, n]),
            uuid: n.is_multiple_of(2).then(|| Uuid::from_u128(u128::from(n))),
            hostname: hostname.map(str::to_owned),
            state,
            expires: Now::at(Duration::from_nanos(1_500_000_001)).wall,
        }
    }

    #[test]
    fn a_row_reads_as_it_was_written_and_a_later_one_wins() {
        let first: Changes = [
            lease(1, Some("h\"'ü"), LeaseState::Bound),
            lease(2, None, LeaseState::Released),
            lease(3, Some("c"), LeaseState::Declined),
        ]
        .map(|l| (l.address, Some(l)))
        .into();
        let mut read = Changes::new();
        decode(&encode(&first), &mut read).unwrap();
        assert_eq!(read, first);
        let second: Changes = [
            (Ipv4Addr::new(10, 0, 0, 1), None),
            (Ipv4Addr::new(10, 0, 0, 2), first[&Ipv4Addr::new(10, 0, 0, 2)].clone()),
        ]
        .into();
        decode(&encode(&second), &mut read).unwrap();
        assert_eq!(read[&Ipv4Addr::new(10, 0, 0, 1)], None);
        assert_eq!(read.len(), 3);
        assert!(encode(&Changes::new()).is_empty());
    }

    #[test]
    fn no_cut_or_changed_row_is_taken_for_another() {
        let all: Changes = [lease(1, Some("host"), LeaseState::Bound)].map(|l| (l.address, Some(l))).into();
        let row = encode(&all);
        for len in 1..row.len() {
            assert!(decode(&row[..len], &mut Changes::new()).is_err(), "{len}");
        }
        let mut odd = row.clone();
        odd[0] = 9;
        assert!(decode(&odd, &mut Changes::new()).is_err());
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters() {
        let long = "ü".repeat(200);
        let all: Changes = [lease(1, Some(&long), LeaseState::Bound)].map(|l| (l.address, Some(l))).into();
        let mut read = Changes::new();
        decode(&encode(&all), &mut read).unwrap();
        let read = read.into_values().flatten().next().unwrap().hostname.unwrap();
        assert_eq!(read, "ü".repeat(127));
    }
}
