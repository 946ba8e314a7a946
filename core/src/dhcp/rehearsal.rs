//! What a client would be told, by the same machine that tells it: a client is played to a copy of it, and nothing is kept.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use super::machine::{DhcpMachine, Input};
use super::wire::{Packet, code};
use crate::api::{ClientKind, EventKind, ProxyStyle};
use crate::boot::{Arch, ClientFacts, Plan};
use crate::lab::LeaseRecord;
use crate::machine::{Machine as _, Now, Output};

/// What a client is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The replies in the order in which they come, as the UDP payload, each with the port that it comes from.
    pub replies: Vec<(u16, Vec<u8>)>,
    /// Why there is none, or less than was asked for.
    pub reason: Option<String>,
}

/// What a client that asks now is told on the network of this index in `plan`. `leases` and `styles` are those that are known.
#[must_use]
pub fn rehearse(
    plan: Arc<Plan>,
    network: usize,
    facts: &ClientFacts,
    leases: Vec<LeaseRecord>,
    styles: HashMap<String, ProxyStyle>,
) -> Told {
    let mut machine = DhcpMachine::new(plan, leases).with_styles(styles);
    let mut told = Told::default();
    let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    let discover = request(facts, 1).encode(&[], usize::MAX);
    machine.handle(Now::read(), Input::Packet { network, port: 67, source: nobody, bytes: &discover });
    collect(&mut machine, &mut told);
    let has_file = |bytes: &[u8]| {
        let packet = Packet::decode(bytes).ok();
        packet.is_some_and(|p| !p.file.is_empty() || p.option(code::BOOT_FILE).is_some())
    };
    let first = told.replies.first().map(|(_, bytes)| (has_file(bytes), offers_address(bytes)));
    if facts.client == ClientKind::PxeRom && first == Some((false, false)) {
        // A ProxyDHCP offer without a file: the client asks the boot server next, from the address that it got elsewhere.
        let mut ask = request(facts, 3);
        let theirs = Ipv4Addr::new(192, 0, 2, 1);
        ask.ciaddr = theirs;
        let bytes = ask.encode(&[], usize::MAX);
        let source = SocketAddrV4::new(theirs, 68);
        machine.handle(Now::read(), Input::Packet { network, port: 4011, source, bytes: &bytes });
        collect(&mut machine, &mut told);
    }
    told
}

fn offers_address(bytes: &[u8]) -> bool {
    Packet::decode(bytes).is_ok_and(|packet| !packet.yiaddr.is_unspecified())
}

fn collect(machine: &mut DhcpMachine, told: &mut Told) {
    while let Some(output) = machine.poll() {
        match output {
            Output::Send(reply) => told.replies.push((reply.from_port, reply.bytes)),
            Output::Event(observation) => {
                if let EventKind::DhcpSilent { reason, .. } | EventKind::DhcpIgnored { reason, .. } = observation.kind {
                    told.reason.get_or_insert(reason);
                }
            }
            _ => {}
        }
    }
}

/// A message of this type as such a client sends it.
fn request(facts: &ClientFacts, message: u8) -> Packet {
    let mut packet = Packet::default();
    for (to, from) in packet.chaddr.iter_mut().zip(facts.mac.0) {
        *to = from;
    }
    if facts.client == ClientKind::Bootp {
        return packet;
    }
    packet.set(code::MESSAGE_TYPE, [message]);
    // What firmware asks for (PXE 2.1, table 2-1), and iPXE, which asks for its own besides.
    let mut wanted =
        vec![code::SUBNET_MASK, code::ROUTER, code::DNS, code::DOMAIN, code::VENDOR, code::CLASS, code::BOOT_FILE];
    wanted.push(code::TFTP_SERVER);
    if facts.client != ClientKind::Os {
        let number = facts.arch.unwrap_or(Arch::Bios).code();
        let class = if facts.client == ClientKind::HttpBoot { "HTTPClient" } else { "PXEClient" };
        packet.set(code::CLASS, format!("{class}:Arch:{number:05}:UNDI:003016"));
        packet.set(code::ARCH, number.to_be_bytes());
        if let Some(uuid) = facts.uuid {
            // Type 0, then the bytes as SMBIOS has them (RFC 4578 2.3).
            packet.set(code::UUID, [&[0], uuid.as_bytes().as_slice()].concat());
        }
    }
    match facts.client {
        ClientKind::Ipxe => {
            packet.set(code::USER_CLASS, *b"iPXE");
            wanted.extend([code::ROOT_PATH, code::IPXE, code::INITIATOR]);
        }
        ClientKind::Gpxe => {
            packet.set(code::USER_CLASS, *b"gPXE");
            wanted.extend([code::ROOT_PATH, code::INITIATOR]);
        }
        _ => {}
    }
    packet.set(code::PARAMETERS, wanted);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{FirmwareFile, PlanNetwork};
    use crate::lab::{Mode, parse};

    fn plan(mode: Mode, foreign: bool) -> Arc<Plan> {
        let toml = "version = 1\n[network]\ninterface = \"br0\"\nunknown = \"wait\"\n[ports]\n";
        let file = |name: &str| FirmwareFile { name: name.into(), path: "/f".into(), size: 7 };
        Arc::new(Plan {
            lab: Arc::new(parse(toml).unwrap()),
            networks: vec![PlanNetwork {
                index: 0,
                interface: "br0".into(),
                ifindex: 1,
                mac: "02:00:00:00:00:01".parse().unwrap(),
                address: "192.168.2.1/24".parse().unwrap(),
                mode,
                foreign,
            }],
            firmware: [(Arch::Bios, file("undionly.kpxe")), (Arch::UefiX64, file("snponly.efi"))].into(),
            ..Plan::default()
        })
    }

    fn told(plan: Arc<Plan>, client: ClientKind, arch: Arch) -> Told {
        let mac = "52:54:00:00:00:01".parse().unwrap();
        rehearse(plan, 0, &ClientFacts { mac, uuid: None, arch: Some(arch), client }, Vec::new(), HashMap::new())
    }

    #[test]
    fn firmware_is_offered_an_address_and_its_file_and_ipxe_its_script() {
        let rom = told(plan(Mode::Dhcp, false), ClientKind::PxeRom, Arch::Bios);
        let [(67, bytes)] = &rom.replies[..] else { panic!("{rom:?}") };
        let offer = Packet::decode(bytes).unwrap();
        assert_eq!((offer.siaddr, offer.file.as_slice()), ([192, 168, 2, 1].into(), b"undionly.kpxe".as_slice()));
        assert!(!offer.yiaddr.is_unspecified() && rom.reason.is_none());
        let ipxe = told(plan(Mode::Dhcp, false), ClientKind::Ipxe, Arch::Bios);
        let offer = Packet::decode(&ipxe.replies[0].1).unwrap();
        let url = String::from_utf8(offer.option(code::BOOT_FILE).unwrap().to_vec()).unwrap();
        assert_eq!(url, "http://192.168.2.1/boot/52-54-00-00-00-01/boot.ipxe");
    }

    #[test]
    fn beside_another_server_uefi_is_sent_to_port_4011_for_its_file() {
        let uefi = told(plan(Mode::Proxy, false), ClientKind::PxeRom, Arch::UefiX64);
        let ports: Vec<u16> = uefi.replies.iter().map(|(port, _)| *port).collect();
        assert_eq!(ports, [67, 4011]);
        assert_eq!(Packet::decode(&uefi.replies[1].1).unwrap().file, b"snponly.efi");
    }

    #[test]
    fn an_offer_that_is_held_back_is_told_with_the_reason() {
        let held = told(plan(Mode::Dhcp, true), ClientKind::PxeRom, Arch::Bios);
        assert!(held.replies.is_empty() && held.reason.unwrap().contains("another DHCP server"));
    }
}
