//! Opens sockets: UDP, listening TCP, and packet sockets with their filters. All are non-blocking and closed on exec.

use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

use crate::Refusal;
use crate::frame::Purpose;
use crate::sys;

/// Connections that may wait to be accepted: a room of machines that all start at once.
const BACKLOG: i32 = 1024;

/// A UDP socket. The address is not shared: a second opener gets `EADDRINUSE`, unless both are on different interfaces.
///
/// # Errors
/// [`Refusal`].
pub fn udp(
    bind: SocketAddrV4,
    interface: Option<&str>,
    broadcast: bool,
    packet_info: bool,
) -> Result<OwnedFd, Refusal> {
    let what = || format!("listen on UDP port {} of {}", bind.port(), bind.ip());
    let io = |e| Refusal::Os { what: what(), source: e };
    let fd = sys::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0).map_err(io)?;
    to_device(&fd, interface)?;
    if broadcast {
        sys::set_int(fd.as_fd(), libc::SOL_SOCKET, libc::SO_BROADCAST, 1).map_err(io)?;
    }
    if packet_info {
        sys::set_int(fd.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1).map_err(io)?;
    }
    sys::bind(fd.as_fd(), bind.into()).map_err(io)?;
    Ok(fd)
}

/// A listening TCP socket. Its port may be taken again at once after a restart, but not by two at the same time.
///
/// # Errors
/// [`Refusal`].
pub fn tcp(bind: SocketAddr, interface: Option<&str>) -> Result<OwnedFd, Refusal> {
    let what = || format!("listen on TCP port {} of {}", bind.port(), bind.ip());
    let io = |e| Refusal::Os { what: what(), source: e };
    let domain = if bind.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = sys::socket(domain, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0).map_err(io)?;
    sys::set_int(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).map_err(io)?;
    if bind.is_ipv6() {
        sys::set_int(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).map_err(io)?;
    }
    to_device(&fd, interface)?;
    sys::bind(fd.as_fd(), bind).map_err(io)?;
    sys::listen(fd.as_fd(), BACKLOG).map_err(io)?;
    Ok(fd)
}

/// What may wait in a capture's socket while the reader has no processor. The kernel counts whole segments as they were sent, tens of
/// thousands of bytes each, of which little is copied: this is a tenth of a second of the fastest transfers.
const CAPTURE_BACKLOG: i32 = 16 << 20;

/// A packet socket on one interface that receives its purpose's frames only, and none of this computer's own unless it is there for them.
///
/// # Errors
/// [`Refusal`].
pub fn packet(interface: &str, purpose: Purpose) -> Result<OwnedFd, Refusal> {
    let io = Refusal::os(format!("open a packet socket on {interface}"));
    let index = sys::interface_index(interface).ok_or_else(|| Refusal::NoInterface(interface.to_owned()))?;
    let open = || {
        // Protocol 0 until the filter stands, so that nothing slips in before it.
        let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)?;
        if matches!(purpose, Purpose::Capture(_)) {
            sys::set_int(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
            sys::set_int(fd.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
            // With less room more is lost, which is counted.
            let _ = sys::set_int(fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, CAPTURE_BACKLOG);
        }
        if !purpose.hears_own() {
            sys::set_int(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        }
        sys::attach_filter(fd.as_fd(), &purpose.filter())?;
        for group in purpose.groups() {
            sys::join_link_group(fd.as_fd(), index, *group)?;
        }
        sys::bind_link(fd.as_fd(), index, purpose.protocol())?;
        Ok(fd)
    };
    open().map_err(io)
}

fn to_device(fd: &OwnedFd, interface: Option<&str>) -> Result<(), Refusal> {
    let Some(name) = interface else { return Ok(()) };
    sys::interface_index(name).ok_or_else(|| Refusal::NoInterface(name.to_owned()))?;
    sys::bind_to_device(fd.as_fd(), name).map_err(Refusal::os(format!("use interface {name}")))
}
