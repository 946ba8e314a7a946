//! Opens sockets through `bootyard_ports`, and says in this crate's words why one did not open.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use bootyard_ports::capture::TcpPorts;
use bootyard_ports::frame::{self, Purpose};
use bootyard_ports::{Refusal, open, sys};

use super::owner;
use crate::net::{Captured, NetError, PacketSocket, PacketUse, TcpSpec, UdpSpec};

/// What was wanted, for the text of an error.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) enum Wanted<'a> {
    Udp(&'a UdpSpec),
    Tcp(&'a TcpSpec),
    Other,
}

pub(in crate::net) fn udp(spec: &UdpSpec) -> Result<UdpSocket, NetError> {
    open::udp(spec.bind, spec.interface.as_deref(), spec.broadcast, spec.packet_info)
        .map(UdpSocket::from)
        .map_err(|refusal| explain(refusal, Wanted::Udp(spec)))
}

pub(in crate::net) fn tcp(spec: &TcpSpec) -> Result<TcpListener, NetError> {
    open::tcp(spec.bind, spec.interface.as_deref())
        .map(TcpListener::from)
        .map_err(|refusal| explain(refusal, Wanted::Tcp(spec)))
}

pub(in crate::net) fn packet(interface: &str, purpose: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
    let purpose = purpose_of(purpose);
    let fd = open::packet(interface, purpose).map_err(|refusal| explain(refusal, Wanted::Other))?;
    frames(fd, interface, purpose)
}

/// A packet socket from its descriptor, whoever opened it.
pub(in crate::net) fn frames(
    fd: OwnedFd,
    interface: &str,
    purpose: Purpose,
) -> Result<Box<dyn PacketSocket>, NetError> {
    let index = sys::interface_index(interface).ok_or_else(|| NetError::NoInterface(interface.to_owned()))?;
    Ok(Box::new(Frames { fd, index, purpose }))
}

pub(in crate::net) fn purpose_of(purpose: PacketUse) -> Purpose {
    match purpose {
        PacketUse::Ipv4Send => Purpose::Ipv4Send,
        PacketUse::RouterDiscovery => Purpose::RouterDiscovery,
        PacketUse::DhcpListen => Purpose::DhcpListen,
        PacketUse::ArpProbe => Purpose::ArpProbe,
        PacketUse::DhcpReplies => Purpose::DhcpReplies,
        PacketUse::Capture { http, https, iscsi } => Purpose::Capture(TcpPorts { http, https, iscsi }),
        PacketUse::DhcpWatch => Purpose::DhcpWatch,
    }
}

/// A packet socket bound to one interface.
#[derive(Debug)]
struct Frames {
    fd: OwnedFd,
    index: u32,
    purpose: Purpose,
}

impl PacketSocket for Frames {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        if !self.purpose.may_send(frame) {
            let text = format!("this frame is not one that a packet socket for {:?} sends", self.purpose);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        sys::send_link(self.fd.as_fd(), self.index, frame::ethertype(frame), frame)
    }

    fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        sys::recv_packet(self.fd.as_fd(), buf)
    }

    fn recv_captured(&self, buf: &mut [u8]) -> io::Result<Captured> {
        let sys::Captured { len, original, outgoing, time } = sys::recv_captured(self.fd.as_fd(), buf)?;
        Ok(Captured { len, original, outgoing, time })
    }

    fn lost(&self) -> io::Result<u64> {
        sys::packets_lost(self.fd.as_fd()).map(u64::from)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A refusal as the engine and the person see it.
pub(in crate::net) fn explain(refusal: Refusal, wanted: Wanted<'_>) -> NetError {
    match refusal {
        Refusal::NoInterface(name) => NetError::NoInterface(name),
        Refusal::Rule(text) => NetError::Refused(text),
        Refusal::Os { what, source } => match (source.raw_os_error(), wanted) {
            (Some(libc::EADDRINUSE), Wanted::Udp(spec)) => taken("UDP", (*spec.bind.ip()).into(), spec.bind.port()),
            (Some(libc::EADDRINUSE), Wanted::Tcp(spec)) => taken("TCP", spec.bind.ip(), spec.bind.port()),
            // A kernel without packet sockets, or a sandbox that hides them.
            (Some(libc::EAFNOSUPPORT), Wanted::Other) => NetError::Unsupported(what),
            (Some(libc::EPERM | libc::EACCES), _) => NetError::NoPrivilege { what, remedy: remedy() },
            _ => NetError::Io { what: format!("cannot {what}"), source },
        },
    }
}

fn taken(protocol: &'static str, address: IpAddr, port: u16) -> NetError {
    let owner = owner::of_port(protocol, address, port);
    let address = match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    NetError::Taken { protocol, address, port, owner }
}

/// What gives this program its ports.
fn remedy() -> String {
    remedy_for(&std::env::current_exe().unwrap_or_default()).to_owned()
}

/// Who installed a package has no `packaging/run`, and the package brings the program.
fn remedy_for(program: &Path) -> &'static str {
    if ["/usr", "/opt"].iter().any(|folder| program.starts_with(folder)) {
        return "install Bootyard's package again, whose program `bootyard-ports` opens them and is missing here, \
                or start `bootyard serve` with sudo";
    }
    "run `packaging/run` once, which installs the small program `bootyard-ports` that opens them, \
     or start `bootyard serve` with sudo"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_installed_a_package_is_sent_to_it_and_not_to_the_source() {
        for (program, source) in [
            ("/usr/bin/bootyard", false),
            ("/usr/local/bin/bootyard", false),
            ("/opt/bootyard/bootyard", false),
            ("/home/me/bootyard/target/run/bootyard", true),
            ("/var/tmp/bootyard/run/bootyard", true),
        ] {
            let remedy = remedy_for(Path::new(program));
            assert_eq!(remedy.contains("packaging/run"), source, "{program}");
            assert_eq!(remedy.contains("package again"), !source, "{program}");
        }
    }
}
