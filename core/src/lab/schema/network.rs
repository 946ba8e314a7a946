//! `[network]`, its subnets, and `[ports]`.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Boot;
use crate::net::{Ipv4Cidr, Ipv4Range};

/// How an interface gives addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Full DHCP server; refuses to start beside another unless `force`.
    Dhcp,
    /// ProxyDHCP: boot information only.
    Proxy,
    /// `proxy` if another DHCP server answers a probe, else `dhcp`.
    #[default]
    Auto,
}

/// What a machine without an assignment gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Unknown {
    /// `wait` in dhcp mode, `ignore` beside another server.
    #[default]
    ByMode,
    /// As written; an `install` only together with `unknown-erases-disks = true`.
    Boot(Boot),
}

/// Lease times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Given when the client asks for none.
    pub default: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { default: Duration::from_secs(30 * 60), max: Duration::from_secs(24 * 3600) }
    }
}

/// One `[network]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Interface name.
    pub interface: String,
    /// Put on the interface while serving, if it is bare.
    pub address: Option<Ipv4Cidr>,
    /// How it gives addresses.
    pub mode: Mode,
    /// Serve in `dhcp` mode even beside another server.
    pub force: bool,
    /// Addresses to give; empty: the free part of the interface's own subnet.
    pub ranges: Vec<Ipv4Range>,
    /// Option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Lease times.
    pub lease: Lease,
    /// What a machine without an assignment gets.
    pub unknown: Unknown,
    /// How long `wait` waits before the local disk follows; zero: for ever.
    pub wait_timeout: Duration,
    /// Subnets behind relays.
    pub subnets: Vec<Subnet>,
}

impl Network {
    /// A network with every default.
    #[must_use]
    pub fn on(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            address: None,
            mode: Mode::Auto,
            force: false,
            ranges: Vec::new(),
            router: None,
            dns: Vec::new(),
            domain: None,
            lease: Lease::default(),
            unknown: Unknown::ByMode,
            wait_timeout: Duration::ZERO,
            subnets: Vec::new(),
        }
    }
}

/// `[[network.subnet]]`: addresses for clients behind a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet.
    pub subnet: Ipv4Cidr,
    /// Addresses to give.
    pub ranges: Vec<Ipv4Range>,
    /// Option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 6; the network's own when empty.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Lease times; the network's own by default.
    pub lease: Option<Lease>,
}

/// `[ports]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
    /// iSCSI.
    pub iscsi: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { http: 80, https: 443, iscsi: 3260 }
    }
}
