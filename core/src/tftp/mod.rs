//! TFTP (RFC 1350, 2347, 2348, 2349, 7440), read-only.

use std::net::IpAddr;
use std::path::PathBuf;

/// Finds what a requested name means. The engine implements it over the plan's files; this module only passes on the name, with
/// backslashes made slashes, a trailing 0xFF or control byte stripped, and refused if it climbs.
pub trait Root: Send + Sync + 'static {
    /// The file for this name, or `None` if there is none. Lookup is case-insensitive.
    fn find(&self, name: &str, peer: IpAddr) -> Option<PathBuf>;
}
