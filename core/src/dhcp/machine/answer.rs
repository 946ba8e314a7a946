//! The options of a reply: the network's, and what makes each kind of firmware take its boot file.

use std::net::Ipv4Addr;

use super::scope::Scope;
use super::{Context, reply_to};
use crate::api::{ClientKind, ProxyStyle};
use crate::boot::BootFile;
use crate::dhcp::wire::{MessageType, Packet, code};

/// Longest UDP payload in an Ethernet frame.
const ETHERNET_LIMIT: usize = 1500 - 28;
/// Option 43 of PXE 2.1: discovery control 8, "use the boot file of this packet, ask no boot server".
const USE_FILE: [u8; 4] = [6, 1, 8, code::END];
/// iPXE's no-pxedhcp: no ProxyDHCP offer will follow.
const NO_PXEDHCP: [u8; 3] = [0xb0, 1, 1];

impl Context<'_> {
    /// What we call ourselves to this client: RFC 5107's override, else our address.
    pub(super) fn server_id(&self) -> Ipv4Addr {
        self.request.relay.server_id.unwrap_or(self.network.address.address)
    }

    /// A reply of this type with what is copied from the request; BOOTP has none.
    pub(super) fn reply(&self, message: Option<MessageType>) -> Packet {
        let mut reply = reply_to(&self.request.packet);
        if let Some(message) = message {
            reply.set(code::MESSAGE_TYPE, [message as u8]);
            reply.set(code::SERVER_ID, self.server_id().octets());
        }
        // RFC 6842 and RFC 3046 2.2: back as they came.
        for echoed in [code::CLIENT_ID, code::RELAY] {
            if let Some(value) = self.request.packet.option(echoed) {
                reply.set(echoed, value);
            }
        }
        reply
    }

    /// The bytes of a reply for this client.
    pub(super) fn encode(&self, reply: &Packet) -> Vec<u8> {
        let limit = self.request.max_size.map_or(0, |size| usize::from(size).saturating_sub(28));
        reply.encode(self.request.wanted(), limit.min(ETHERNET_LIMIT))
    }

    /// Mask, router, name servers and the like.
    pub(super) fn put_network(&self, reply: &mut Packet, scope: &Scope) {
        reply.set(code::SUBNET_MASK, scope.subnet.mask().octets());
        if let Some(router) = scope.router {
            reply.set(code::ROUTER, router.octets());
        }
        if !scope.dns.is_empty() {
            reply.set(code::DNS, scope.dns.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>());
        }
        if let Some(domain) = &scope.domain {
            reply.set(code::DOMAIN, domain.as_bytes());
        }
        if self.request.wants(code::BROADCAST) {
            reply.set(code::BROADCAST, scope.subnet.broadcast().octets());
        }
        let name = self.plan.host(self.request.mac, self.request.uuid).and_then(|h| h.name.as_ref());
        if let Some(name) = name
            && self.request.wants(code::HOST_NAME)
        {
            reply.set(code::HOST_NAME, name.as_str());
        }
    }

    /// Lease time with T1 and T2 (RFC 2131 4.4.5).
    pub(super) fn put_lease(&self, reply: &mut Packet, seconds: u32) {
        let (half, most) = (seconds / 2, seconds - seconds / 8);
        reply.set(code::LEASE_TIME, seconds.to_be_bytes());
        reply.set(code::RENEWAL, half.to_be_bytes());
        reply.set(code::REBINDING, most.to_be_bytes());
    }

    /// The lease time that a client gets: what it asks for up to the maximum, else the default.
    pub(super) fn lease_seconds(&self, scope: &Scope) -> u32 {
        let seconds = |d: std::time::Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX - 1).max(60);
        let max = seconds(scope.lease.max);
        self.request.lease_seconds.map_or(seconds(scope.lease.default), |wish| wish.max(60)).min(max)
    }

    /// Boot information in an answer of the full server.
    pub(super) fn put_boot(&self, reply: &mut Packet, file: &BootFile) {
        if matches!(file, BootFile::None | BootFile::Silence | BootFile::NoFirmware { .. }) {
            return;
        }
        let server = self.network.address.address;
        reply.siaddr = server;
        match file {
            BootFile::Tftp { file } => {
                self.put_class(reply);
                if self.client == ClientKind::PxeRom {
                    reply.set(code::VENDOR, USE_FILE);
                }
                self.put_file(reply, file.as_bytes());
                if self.asks_for(code::TFTP_SERVER) {
                    reply.set(code::TFTP_SERVER, self.terminated(server.to_string().as_bytes()));
                }
            }
            BootFile::Http { url } => {
                self.put_class(reply);
                put_url(reply, url);
            }
            BootFile::Script { url } => {
                reply.set(code::IPXE, NO_PXEDHCP);
                put_url(reply, url);
            }
            BootFile::RootPath { root_path, initiator } => {
                reply.set(code::IPXE, NO_PXEDHCP);
                put_root_path(reply, root_path, initiator);
            }
            BootFile::None | BootFile::Silence | BootFile::NoFirmware { .. } => {}
        }
    }

    /// Boot information of a ProxyDHCP offer, which has no address.
    pub(super) fn put_proxy(&self, reply: &mut Packet, file: &BootFile, style: ProxyStyle) {
        let server = self.network.address.address;
        reply.siaddr = server;
        self.put_class(reply);
        match file {
            BootFile::Tftp { .. } if style == ProxyStyle::BootServer => {}
            BootFile::Tftp { file } => {
                reply.set(code::VENDOR, USE_FILE);
                self.put_file(reply, file.as_bytes());
            }
            BootFile::Http { url } | BootFile::Script { url } => put_url(reply, url),
            BootFile::RootPath { root_path, initiator } => put_root_path(reply, root_path, initiator),
            BootFile::None | BootFile::Silence | BootFile::NoFirmware { .. } => {}
        }
    }

    /// Boot information of the boot server on port 4011.
    pub(super) fn put_boot_server(&self, reply: &mut Packet, file: &BootFile) {
        let server = self.network.address.address;
        reply.siaddr = server;
        reply.sname = server.to_string().into_bytes();
        self.put_class(reply);
        // Which boot server type was asked for (PXE 2.1, tag 71), layer 0.
        if let Some([high, low, ..]) = self.request.vendor_option(71) {
            reply.set(code::VENDOR, [71, 4, *high, *low, 0, 0, code::END]);
        }
        match file {
            BootFile::Tftp { file } => self.put_file(reply, file.as_bytes()),
            BootFile::Http { url } | BootFile::Script { url } => put_url(reply, url),
            BootFile::RootPath { root_path, initiator } => put_root_path(reply, root_path, initiator),
            BootFile::None | BootFile::Silence | BootFile::NoFirmware { .. } => {}
        }
    }

    /// Option 60 as the client must hear it, and its UUID.
    fn put_class(&self, reply: &mut Packet) {
        if self.request.message.is_none() {
            return;
        }
        let class: &[u8] = if self.client == ClientKind::HttpBoot { b"HTTPClient" } else { b"PXEClient" };
        reply.set(code::CLASS, class);
        if let Some(uuid) = self.request.packet.option(code::UUID) {
            reply.set(code::UUID, uuid);
        }
    }

    fn put_file(&self, reply: &mut Packet, name: &[u8]) {
        // The field needs its NUL for ROMs that do not stop at 128.
        let fits = name.len() < 128;
        if fits {
            reply.file = name.to_vec();
        }
        if !fits || self.asks_for(code::BOOT_FILE) {
            reply.set(code::BOOT_FILE, self.terminated(name));
        }
    }

    /// Some ROMs read one byte too many of options 66 and 67.
    fn terminated(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        if self.client == ClientKind::PxeRom {
            text.push(0);
        }
        text
    }

    /// In the parameter request list; a client without one reads the fields.
    fn asks_for(&self, option: u8) -> bool {
        self.request.wanted().contains(&option)
    }
}

fn put_url(reply: &mut Packet, url: &str) {
    if url.len() < 128 {
        reply.file = url.as_bytes().to_vec();
    }
    reply.set(code::BOOT_FILE, url);
}

fn put_root_path(reply: &mut Packet, root_path: &str, initiator: &str) {
    reply.set(code::ROOT_PATH, root_path);
    reply.set(code::INITIATOR, initiator);
}
