//! DHCP (RFC 2131, 2132), BOOTP (RFC 951), PXE (RFC 4578) and ProxyDHCP.
//!
//! [`wire`] reads and writes packets, [`machine`] decides what is answered, [`service`] owns the sockets and the group commit of
//! leases, and probes for other servers. [`rehearsal`] plays a client to the machine, for explanations.

pub mod machine;
pub mod rehearsal;
pub mod service;
pub mod wire;

use crate::lab::LeaseRecord;

pub use machine::{Destination, DhcpMachine, Input, Output, Reply, classify};
pub use service::{Config, ForeignServer, Service, probe, start};

/// Why leases could not be made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the leases could not be written: {0}")]
pub struct StoreError(pub String);

/// Makes leases durable; the engine implements it over lab.db.
pub trait LeaseStore: Send + Sync + 'static {
    /// Queues these records, each in the place of an earlier one for its address; all of them are written or none. Never waits:
    /// `done` is told from any thread when they are on disk.
    fn commit(&self, records: Vec<LeaseRecord>, done: Done);
}

/// Told once what became of the records; dropped untold, it tells of a failure.
#[expect(missing_debug_implementations, reason = "a function has nothing to show")]
pub struct Done(Option<Tell>);

type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl Done {
    /// Calls `tell` with the result.
    pub fn new(tell: impl FnOnce(Result<(), StoreError>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Says what became of it.
    pub fn tell(mut self, result: Result<(), StoreError>) {
        if let Some(tell) = self.0.take() {
            tell(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(StoreError("the store has ended".to_owned())));
        }
    }
}
