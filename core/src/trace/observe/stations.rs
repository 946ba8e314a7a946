//! Which stations of a recording boot. A recording from elsewhere has everybody's traffic in it, and a browser that meets a silent server
//! is no boot that fails.

use std::collections::HashMap;

use crate::api::{ClientKind, ServiceKind};
use crate::net::MacAddr;

/// Stations that are remembered.
const MAX: usize = 8192;

/// Who speaks on a station that boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Firmware, or the program that it started.
    Firmware,
    /// An operating system that came after them.
    System,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Stations {
    by_mac: HashMap<MacAddr, Stage>,
}

impl Stations {
    /// A DHCP request.
    pub(super) fn asked(&mut self, mac: MacAddr, client: ClientKind) {
        match client {
            ClientKind::Os => {
                if let Some(stage) = self.by_mac.get_mut(&mac) {
                    *stage = Stage::System;
                }
            }
            _ => self.boots(mac),
        }
    }

    /// It did what only firmware and boot programs do: TFTP, ProxyDHCP's port.
    pub(super) fn boots(&mut self, mac: MacAddr) {
        if self.by_mac.len() >= MAX && !self.by_mac.contains_key(&mac) {
            self.by_mac.clear();
        }
        self.by_mac.insert(mac, Stage::Firmware);
    }

    /// Whether a connection of this station is a step of its boot: a system that runs asks for its disk, and the rest is its own affair.
    pub(super) fn is_step(&self, mac: Option<MacAddr>, service: ServiceKind) -> bool {
        match mac.and_then(|mac| self.by_mac.get(&mac)) {
            Some(Stage::Firmware) => true,
            Some(Stage::System) => service == ServiceKind::Iscsi,
            None => false,
        }
    }
}
