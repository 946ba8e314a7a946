//! A lease as lab.db keeps it.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::net::MacAddr;

/// What became of an address that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseState {
    /// The machine may use it until it expires.
    Bound,
    /// Given back; kept for the same machine as long as nobody else needs it.
    Released,
    /// Found in use by somebody else; withheld until it expires.
    Declined,
}

/// One address and who holds it; there is at most one record for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// The machine's hardware address.
    pub mac: MacAddr,
    /// Tells sharers of the MAC apart; set only where lab.toml does so.
    pub uuid: Option<Uuid>,
    /// What it calls itself (option 12), made printable.
    pub hostname: Option<String>,
    /// What became of it.
    pub state: LeaseState,
    /// Wall time of its end. A jump of the clock backwards never ends a lease earlier.
    pub expires: Timestamp,
}
