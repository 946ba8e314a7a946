//! TFTP (RFC 1350, 2347, 2348, 2349, 7440), read-only.
//!
//! [`wire`] turns packets into types and back, [`netascii`] is the text mode's conversion, [`machine`] is one transfer without
//! sockets, and [`service`] listens and gives each client a thread with one machine, which `carrier` runs.

mod ahead;
mod carrier;
pub mod machine;
pub mod netascii;
pub mod service;
mod sizes;
mod source;
mod terms;
mod timer;
pub mod wire;

use std::net::IpAddr;
use std::path::PathBuf;

pub use service::{Config, Service, start};

/// Finds what a requested name means. The engine implements it over the plan's files; this module only passes on the name, with
/// backslashes made slashes, a trailing 0xFF or control byte stripped, and refused if it climbs.
pub trait Root: Send + Sync + 'static {
    /// The file for this name, or `None` if there is none. Lookup is case-insensitive.
    fn find(&self, name: &str, peer: IpAddr) -> Option<PathBuf>;
}
