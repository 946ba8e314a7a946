//! The one answer to iPXE's router solicitation (RFC 4861 6.2).
//!
//! iPXE configures IPv6 beside IPv4 and goes on only when both have ended; on a network without an IPv6 router its solicitations
//! run into time-outs of about 15 s. A router advertisement that offers nothing (lifetime 0, no prefix, no flags) ends that at once.
//! It goes only to a machine in its iPXE stage, by unicast, and never where a real router advertises.

pub mod machine;
pub mod service;
pub mod wire;

pub use machine::{Input, NdpMachine, Output, Reply};
pub use service::{Config, Service, start};
