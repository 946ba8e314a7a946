//! Events as our servers and the capture would tell them, and how a boot begins with them.

use std::net::Ipv4Addr;

use super::tale::Tale;
use crate::api::{ClientKind, EventKind, ServiceKind};
use crate::boot::Arch;
use crate::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia};
use crate::net::MacAddr;

pub(super) const NBP: &str = "snponly.efi";
pub(super) const ROOT: &str = "iscsi:192.168.2.1::3260:0:iqn.2001-04.com.server:server01.vg00.lun0";
pub(super) const URL: &str = "http://192.168.2.1/boot/m/boot.ipxe";

pub(super) fn ip(last: u8) -> Ipv4Addr {
    [192, 168, 2, last].into()
}

pub(super) fn discover(client: ClientKind, arch: Arch, secs: u16) -> EventKind {
    EventKind::DhcpDiscover { client, xid: 7, secs, arch: Some(arch), vendor: None, hostname: None, relay: None }
}

pub(super) fn offer(client: ClientKind, address: bool) -> EventKind {
    let ipxe = client == ClientKind::Ipxe;
    let file = Some(if ipxe { URL } else { NBP }.to_owned());
    EventKind::DhcpOffer { client, address: address.then(|| ip(20)), file, next_server: ip(1) }
}

pub(super) fn ack(client: ClientKind, file: &str) -> EventKind {
    let file = Some(file.to_owned()).filter(|f| !f.is_empty());
    EventKind::DhcpAck { client, address: Some(ip(20)), file, root_path: None, disk: None, lease_seconds: 1800 }
}

pub(super) fn foreign(address: Option<Ipv4Addr>, file: &str, ack: bool) -> EventKind {
    let file = Some(file.to_owned()).filter(|f| !f.is_empty());
    EventKind::ForeignOffer {
        server: ip(2),
        server_mac: Some(MacAddr([2, 0, 0, 0, 0, 0x99])),
        ack,
        address,
        file,
        next_server: Some(ip(2)),
    }
}

pub(super) fn rrq(file: &str) -> EventKind {
    EventKind::TftpRequest { file: file.into(), options: vec![] }
}

pub(super) fn done(file: &str, bytes: u64) -> EventKind {
    EventKind::TftpDone { file: file.into(), bytes, millis: 30 }
}

pub(super) fn get(path: &str) -> EventKind {
    EventKind::HttpRequest { method: "GET".into(), path: path.into(), status: 200, agent: None }
}

pub(super) fn loaded(path: &str, bytes: u64) -> EventKind {
    EventKind::HttpDone { path: path.into(), bytes, millis: 100 }
}

pub(super) fn served(boot: Boot) -> EventKind {
    EventKind::ScriptServed { boot, dialect: "ipxe".into(), because: "the entry says so".into() }
}

pub(super) fn step(step: &str) -> EventKind {
    EventKind::ScriptStep { step: step.into() }
}

pub(super) fn install() -> Boot {
    Boot::Install(Install { profile: "p".parse().unwrap(), then: InstallThen::Local })
}

pub(super) fn iscsi() -> Boot {
    Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None })
}

pub(super) fn direct() -> Boot {
    let profile = Some("xen".parse().unwrap());
    Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile, via: IscsiVia::Script, writes: None })
}

pub(super) fn login(firmware: bool, session: u16) -> EventKind {
    EventKind::IscsiLogin { initiator: "i".into(), target: "t".into(), disk: "d".into(), firmware, session }
}

pub(super) fn ended(session: u16, reason: &str) -> EventKind {
    EventKind::IscsiEnded { target: "t".into(), session, reason: reason.into() }
}

pub(super) fn moved(session: u16, read: u64) -> EventKind {
    EventKind::IscsiProgress { target: "t".into(), session, read, written: 0 }
}

pub(super) fn inventory(memory: u64) -> EventKind {
    EventKind::Inventory {
        serial: None,
        manufacturer: None,
        product: None,
        asset: None,
        memory_mib: Some(memory),
        platform: None,
        version: None,
        chip: None,
    }
}

pub(super) fn unheard(service: ServiceKind, port: u16, refused: bool) -> EventKind {
    EventKind::Unheard { service, port, packets: 3, refused }
}

pub(super) fn refused(initiator: &str, status: u16) -> EventKind {
    refused_since(initiator, status, "Set the secret of the disk.")
}

pub(super) fn refused_since(initiator: &str, status: u16, reason: &str) -> EventKind {
    EventKind::IscsiRefused { initiator: initiator.into(), target: "t".into(), status, reason: reason.into() }
}

pub(super) fn http_error(path: &str, status: u16) -> EventKind {
    EventKind::HttpRequest { method: "GET".into(), path: path.into(), status, agent: None }
}

pub(super) fn tree() -> EventKind {
    EventKind::SpanningTree { interface: "br0".into(), bridge: MacAddr([2, 0, 0, 0, 0, 9]), delay_seconds: 15 }
}

pub(super) fn relayed() -> EventKind {
    let EventKind::DhcpDiscover { client, xid, secs, arch, vendor, hostname, .. } = rom(0) else { unreachable!() };
    EventKind::DhcpDiscover { client, xid, secs, arch, vendor, hostname, relay: Some([10, 1, 0, 1].into()) }
}

pub(super) fn rom(secs: u16) -> EventKind {
    discover(ClientKind::PxeRom, Arch::UefiX64, secs)
}

pub(super) fn ipxe(secs: u16) -> EventKind {
    discover(ClientKind::Ipxe, Arch::UefiX64, secs)
}

/// Up to the boot file, delivered.
pub(super) fn delivered(tale: Tale, bytes: u64) -> Tale {
    let tale = tale.then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(ack(ClientKind::PxeRom, NBP));
    tale.then(rrq(NBP)).then(done(NBP, bytes))
}

pub(super) fn to_ipxe(tale: Tale) -> Tale {
    delivered(tale, 170_000).wait(2000).then(ipxe(4)).then(offer(ClientKind::Ipxe, true))
}

pub(super) fn is_served() -> Tale {
    Tale::at(0).then(served(Boot::Wait))
}

pub(super) fn bad_kernel() -> EventKind {
    EventKind::ScriptError { step: "kernel".into(), code: 0x2e00_8081 }
}
