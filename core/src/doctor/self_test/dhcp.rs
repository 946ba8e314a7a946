//! The DHCP client of the machine that does not exist, as six kinds of firmware would speak.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::MAC;
use crate::boot::{Arch, PlanNetwork};
use crate::dhcp::service::udp_of_frame;
use crate::dhcp::wire::{BROADCAST_FLAG, MessageType, Packet, code};
use crate::net::{NetError, PacketSocket, PacketUse, PortSet, UdpSpec, ready};

/// For each try; the server may ask for the address by ARP first.
const PATIENCE: Duration = Duration::from_millis(1500);
const TRIES: u32 = 3;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A PXE ROM of a BIOS.
    Bios,
    /// UEFI's PXE client, which takes the boot file of the offer.
    Uefi,
    /// The same, which asks the boot server on port 4011.
    UefiBootServer,
    /// UEFI HTTP Boot.
    HttpBoot,
    Gpxe,
    Ipxe,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Bios, Self::Uefi, Self::UefiBootServer, Self::HttpBoot, Self::Gpxe, Self::Ipxe];

    /// In a row's id.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
            Self::UefiBootServer => "uefi-4011",
            Self::HttpBoot => "uefi-http",
            Self::Gpxe => "gpxe",
            Self::Ipxe => "ipxe",
        }
    }

    /// Whose boot file it needs.
    pub(super) fn arch(self) -> Option<Arch> {
        match self {
            Self::Bios => Some(Arch::Bios),
            Self::Uefi | Self::UefiBootServer => Some(Arch::UefiX64),
            Self::HttpBoot => Some(Arch::UefiX64Http),
            Self::Gpxe | Self::Ipxe => None,
        }
    }

    /// It gets a script instead of a program.
    pub(super) fn is_script(self) -> bool {
        self.arch().is_none()
    }

    /// As whom it asks over HTTP.
    pub(super) fn agent(self) -> &'static str {
        match self {
            Self::Gpxe => "gPXE/1.0.1",
            Self::Ipxe => "iPXE/1.21.1",
            _ => "UefiHttpBoot/1.0",
        }
    }

    /// Options 60, 93 and what tells iPXE and gPXE.
    fn put(self, packet: &mut Packet) {
        let (class, arch): (&[u8], u16) = match self {
            Self::Bios | Self::Gpxe => (b"PXEClient:Arch:00000:UNDI:002001", 0),
            Self::Uefi | Self::UefiBootServer | Self::Ipxe => (b"PXEClient:Arch:00007:UNDI:003016", 7),
            Self::HttpBoot => (b"HTTPClient:Arch:00016:UNDI:003016", 16),
        };
        packet.set(code::CLASS, class);
        packet.set(code::ARCH, arch.to_be_bytes());
        match self {
            // A bus-id and nothing else.
            Self::Gpxe => packet.set(code::IPXE, [177, 5, 1, 0x80, 0x86, 0x10, 0x0e]),
            Self::Ipxe => packet.set(code::USER_CLASS, *b"iPXE"),
            _ => {}
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "A BIOS machine",
            Self::Uefi => "A UEFI machine",
            Self::UefiBootServer => "A UEFI machine that asks port 4011",
            Self::HttpBoot => "A UEFI machine with HTTP Boot",
            Self::Gpxe => "gPXE",
            Self::Ipxe => "iPXE",
        })
    }
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) address: Ipv4Addr,
    pub(super) next_server: Option<Ipv4Addr>,
    pub(super) file: Option<String>,
}

impl Told {
    fn of(packet: &Packet) -> Self {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
            (!text.is_empty()).then_some(text)
        };
        let file = text(&packet.file).or_else(|| text(packet.option(code::BOOT_FILE)?));
        Self { address: packet.yiaddr, next_server: Some(packet.siaddr), file }
    }
}

/// The client on one network.
pub(super) struct Client<'a> {
    network: &'a PlanNetwork,
    /// Sends as machines do, from port 68 where that is free.
    udp: UdpSocket,
    /// Sees what leaves on the interface.
    wire: Box<dyn PacketSocket>,
    held: std::cell::Cell<Option<Ipv4Addr>>,
}

impl<'a> Client<'a> {
    pub(super) fn open(ports: &dyn PortSet, network: &'a PlanNetwork) -> Result<Self, NetError> {
        let wire = ports.packet(&network.interface, PacketUse::DhcpWatch)?;
        let open = |port| {
            ports.udp(&UdpSpec {
                bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
                interface: Some(network.interface.clone()),
                broadcast: true,
                packet_info: false,
            })
        };
        // This computer's own DHCP client may have it; the answers are seen on the wire in any case.
        let udp = open(68).or_else(|_| open(0))?;
        let io = |source| NetError::Io { what: "use a UDP socket".to_owned(), source };
        udp.set_nonblocking(true).map_err(io)?;
        Ok(Self { network, udp, wire, held: std::cell::Cell::new(None) })
    }

    /// DISCOVER to OFFER, ours.
    pub(super) fn discover(&self, kind: Kind) -> Result<Told, String> {
        let mut packet = self.packet(kind, MessageType::Discover);
        packet.secs = 4;
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        self.exchange(&packet, to, MessageType::Offer)
    }

    /// REQUEST to ACK.
    pub(super) fn request(&self, kind: Kind, offer: &Told) -> Result<Told, String> {
        let mut packet = self.packet(kind, MessageType::Request);
        packet.set(code::REQUESTED, offer.address.octets());
        packet.set(code::SERVER_ID, self.network.address.address.octets());
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        let told = self.exchange(&packet, to, MessageType::Ack)?;
        self.held.set(Some(told.address));
        Ok(told)
    }

    /// The boot server's answer, which comes to the port from which it was asked.
    pub(super) fn ask_boot_server(&self, kind: Kind) -> Result<Told, String> {
        let packet = self.packet(kind, MessageType::Request);
        self.exchange(&packet, SocketAddrV4::new(self.network.address.address, 4011), MessageType::Ack)
    }

    /// Gives the address back, so that a machine may have it.
    pub(super) fn release(&self) {
        let Some(address) = self.held.take() else { return };
        let mut packet = self.packet(Kind::Bios, MessageType::Release);
        packet.ciaddr = address;
        packet.set(code::SERVER_ID, self.network.address.address.octets());
        // One that is lost costs a lease that ends by itself.
        let _ = self.udp.send_to(&packet.encode(&[], 0), SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
    }

    fn packet(&self, kind: Kind, message: MessageType) -> Packet {
        let mut packet = Packet { xid: fastrand::u32(1..), flags: BROADCAST_FLAG, ..Packet::default() };
        if let Some(place) = packet.chaddr.get_mut(..6) {
            place.copy_from_slice(&MAC.0);
        }
        packet.set(code::MESSAGE_TYPE, [message as u8]);
        packet.set(code::MAX_SIZE, 1472u16.to_be_bytes());
        packet.set(
            code::PARAMETERS,
            [code::SUBNET_MASK, code::ROUTER, code::DNS, code::VENDOR, code::CLASS, code::TFTP_SERVER, code::BOOT_FILE],
        );
        kind.put(&mut packet);
        packet
    }

    fn exchange(&self, packet: &Packet, to: SocketAddrV4, wanted: MessageType) -> Result<Told, String> {
        let bytes = packet.encode(&[], 0);
        let mut refused = None;
        for _ in 0..TRIES {
            self.udp.send_to(&bytes, to).map_err(|e| format!("it could not be sent: {e}"))?;
            let until = Instant::now() + PATIENCE;
            while let Some(heard) = self.hear(packet.xid, until) {
                let ours = heard.address(code::SERVER_ID) == Some(self.network.address.address);
                match heard.option(code::MESSAGE_TYPE) {
                    Some([kind]) if ours && *kind == wanted as u8 => return Ok(Told::of(&heard)),
                    Some([kind]) if ours && *kind == MessageType::Nak as u8 => {
                        let why = heard.option(code::MESSAGE).map(|m| String::from_utf8_lossy(m).into_owned());
                        refused = Some(format!("it was refused: {}", why.unwrap_or_default()));
                    }
                    _ => {}
                }
            }
        }
        Err(refused.unwrap_or_else(|| "no answer came".to_owned()))
    }

    /// The next reply to this transaction, from the wire or to our own port.
    fn hear(&self, xid: u32, until: Instant) -> Option<Packet> {
        let mut buffer = vec![0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let ready = ready::wait(&[self.wire.fd(), self.udp.as_fd()], left);
            for at in ready.iter().enumerate().filter(|(_, ready)| **ready).map(|(at, _)| at) {
                let packet = if at == 0 {
                    let len = self.wire.recv(&mut buffer).unwrap_or(0);
                    buffer.get(..len).and_then(udp_of_frame).and_then(|bytes| Packet::decode(bytes).ok())
                } else {
                    let len = self.udp.recv(&mut buffer).unwrap_or(0);
                    buffer.get(..len).and_then(|bytes| Packet::decode(bytes).ok())
                };
                if let Some(packet) = packet.filter(|p| p.op == 2 && p.xid == xid) {
                    return Some(packet);
                }
            }
        }
    }
}
