//! The system calls that std does not offer, each behind a safe function.
//!
//! `unsafe` is here because libc's functions take raw pointers and descriptors. Every block passes pointers to live local
//! values with their true size, and turns a new descriptor into an [`OwnedFd`] at once.
#![allow(unsafe_code, reason = "the one module that calls libc")]

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// A classic BPF instruction.
pub type Instruction = libc::sock_filter;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn len_of<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(value)).unwrap_or(0)
}

/// A new socket, closed on exec.
///
/// # Errors
/// The operating system's.
pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = check(libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A connected pair of local sockets that keep message boundaries, both closed on exec.
///
/// # Errors
/// The operating system's.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors, which are new and owned by nobody else.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

fn set_option<T: Copy>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` lives through the call and its size is passed with it.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(value).cast::<c_void>(), len_of(value))
    })
    .map(drop)
}

/// Sets an integer socket option.
///
/// # Errors
/// The operating system's.
pub fn set_int(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, level, name, &value)
}

/// `SO_BINDTODEVICE`: only this interface's packets.
///
/// # Errors
/// The operating system's; `ENODEV` when there is no such interface.
pub fn bind_to_device(fd: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    let len = libc::socklen_t::try_from(interface.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the text lives through the call and its length is passed with it.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast::<c_void>(),
            len,
        )
    })
    .map(drop)
}

/// Whether the descriptor is a local socket that keeps message boundaries.
#[must_use]
pub fn is_message_socket(fd: BorrowedFd<'_>) -> bool {
    let get = |name| {
        let mut value: c_int = -1;
        let mut len = len_of(&value);
        // SAFETY: `value` and `len` live through the call; `len` is the size of `value`.
        let got = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                name,
                ptr::from_mut(&mut value).cast::<c_void>(),
                &raw mut len,
            )
        };
        (got == 0).then_some(value)
    };
    get(libc::SO_DOMAIN) == Some(libc::AF_UNIX) && get(libc::SO_TYPE) == Some(libc::SOCK_SEQPACKET)
}

/// Binds to an IP address and port.
///
/// # Errors
/// The operating system's.
pub fn bind(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            bind_raw(fd, &raw)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            bind_raw(fd, &raw)
        }
    }
}

fn bind_raw<T>(fd: BorrowedFd<'_>, address: &T) -> io::Result<()> {
    // SAFETY: every caller passes a socket address of the socket's family, which lives through the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(address).cast::<libc::sockaddr>(), len_of(address)) })
        .map(drop)
}

/// Starts to listen.
///
/// # Errors
/// The operating system's.
pub fn listen(fd: BorrowedFd<'_>, backlog: c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

fn link_address(interface: u32, protocol: u16) -> libc::sockaddr_ll {
    // SAFETY: all-zero is a valid sockaddr_ll, which holds only integers.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = c_int::try_from(interface).unwrap_or(0);
    address
}

/// Binds a packet socket to an interface and an Ethernet protocol; protocol 0 receives nothing.
///
/// # Errors
/// The operating system's.
pub fn bind_link(fd: BorrowedFd<'_>, interface: u32, protocol: u16) -> io::Result<()> {
    bind_raw(fd, &link_address(interface, protocol))
}

/// Has the interface's hardware let a group's frames through for as long as the packet socket is open.
///
/// # Errors
/// The operating system's.
pub fn join_link_group(fd: BorrowedFd<'_>, interface: u32, group: [u8; 6]) -> io::Result<()> {
    let mut request = libc::packet_mreq {
        mr_ifindex: c_int::try_from(interface).unwrap_or(0),
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: [0; 8],
    };
    request.mr_address[..6].copy_from_slice(&group);
    set_option(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// Attaches a filter to a socket and locks it, so that whoever gets the descriptor can't replace it.
///
/// # Errors
/// The operating system's.
pub fn attach_filter(fd: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let raw = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // The kernel copies the program; it never writes through the pointer.
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &raw)?;
    set_int(fd, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1)
}

/// Sends one frame out of an interface.
///
/// # Errors
/// The operating system's; `WouldBlock` when its queue is full.
pub fn send_link(fd: BorrowedFd<'_>, interface: u32, protocol: u16, frame: &[u8]) -> io::Result<()> {
    let to = link_address(interface, protocol);
    // SAFETY: `frame` and `to` live through the call and their sizes are passed with them.
    check_size(unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast::<c_void>(),
            frame.len(),
            libc::MSG_NOSIGNAL,
            ptr::from_ref(&to).cast::<libc::sockaddr>(),
            len_of(&to),
        )
    })
    .map(drop)
}

/// Sends one message.
///
/// # Errors
/// The operating system's.
pub fn send(fd: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    // SAFETY: `message` lives through the call and its length is passed with it.
    check_size(unsafe {
        libc::send(fd.as_raw_fd(), message.as_ptr().cast::<c_void>(), message.len(), libc::MSG_NOSIGNAL)
    })
    .map(drop)
}

/// Receives one message; its length. What does not fit is an error, not a shortened message.
///
/// # Errors
/// The operating system's; `InvalidData` for a message that is longer than `buf`.
pub fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buf` lives through the call and its length is passed with it.
    let len = check_size(unsafe {
        libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast::<c_void>(), buf.len(), libc::MSG_TRUNC)
    })?;
    if len > buf.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    Ok(len)
}

/// Receives one packet; what does not fit into `buf` is cut off.
///
/// # Errors
/// The operating system's; `WouldBlock` when there is none.
pub fn recv_packet(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buf` lives through the call and its length is passed with it.
    check_size(unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast::<c_void>(), buf.len(), 0) })
}

/// The number of an interface of the calling thread's network namespace.
#[must_use]
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is terminated and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Room for a control message that carries one descriptor, aligned as the kernel writes it.
#[repr(C, align(8))]
struct OneDescriptor([u8; 64]);

/// Sends a message, with a descriptor if there is one.
///
/// # Errors
/// The operating system's.
pub fn send_with(fd: BorrowedFd<'_>, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: message.as_ptr().cast_mut().cast::<c_void>(), iov_len: message.len() };
    let mut control = OneDescriptor([0; 64]);
    // SAFETY: all-zero is a valid msghdr. `part`, `message` and `control` live through the call. CMSG_SPACE of one
    // descriptor (24 bytes) fits in `control`, so CMSG_FIRSTHDR points into it, with room for the header and the descriptor.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if let Some(descriptor) = descriptor {
            let size = size_of::<c_int>() as u32;
            header.msg_control = (&raw mut control.0).cast::<c_void>();
            header.msg_controllen = libc::CMSG_SPACE(size) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            if !first.is_null() {
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(size) as _;
                ptr::write_unaligned(libc::CMSG_DATA(first).cast::<c_int>(), descriptor.as_raw_fd());
            }
        }
        check_size(libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL)).map(drop)
    }
}

/// Receives a message and the descriptor that came with it; length 0 is the other side's end.
///
/// # Errors
/// The operating system's; `InvalidData` for a message that is longer than `buf`.
pub fn recv_with(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast::<c_void>(), iov_len: buf.len() };
    let mut control = OneDescriptor([0; 64]);
    let mut received = None;
    // SAFETY: all-zero is a valid msghdr. `part`, `buf` and `control` live through the call and their sizes are passed with
    // them. The kernel wrote the control messages that CMSG_FIRSTHDR and CMSG_NXTHDR walk over; cmsg_len bounds the
    // descriptors in one, which are new and owned by nobody else.
    let (len, flags) = unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control.0).cast::<c_void>();
        header.msg_controllen = size_of::<OneDescriptor>() as _;
        let len = check_size(libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC))?;
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET && (*message).cmsg_type == libc::SCM_RIGHTS {
                let bytes = ((*message).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for i in 0..bytes / size_of::<c_int>() {
                    let raw = ptr::read_unaligned(libc::CMSG_DATA(message).cast::<c_int>().add(i));
                    received = Some(OwnedFd::from_raw_fd(raw));
                }
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
        (len, header.msg_flags)
    };
    if flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    Ok((len, received))
}
