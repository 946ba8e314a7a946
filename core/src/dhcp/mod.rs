//! DHCP (RFC 2131, 2132), BOOTP (RFC 951), PXE (RFC 4578) and ProxyDHCP.
//!
//! [`wire`] reads and writes packets, [`machine`] decides what is answered, [`service`] owns the sockets and the group commit of
//! leases, and probes for other servers.

pub mod machine;
pub mod service;
pub mod wire;

use std::pin::Pin;

use crate::lab::LeaseRecord;

pub use machine::{Destination, DhcpMachine, Input, Output, Reply, classify};
pub use service::{Config, ForeignServer, Service, probe, start};

/// Why leases could not be made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the leases could not be written: {0}")]
pub struct StoreError(pub String);

/// Makes leases durable; the engine implements it over lab.db.
pub trait LeaseStore: Send + Sync + 'static {
    /// Writes these records, each in the place of an earlier one for its address; all of them or none. Ready when they are on disk.
    fn commit(&self, records: Vec<LeaseRecord>) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>>;
}
