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
use std::time::Duration;

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

/// A packet of a capture, as the kernel tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// Bytes that were given.
    pub len: usize,
    /// Bytes that it had on the wire.
    pub original: usize,
    /// This computer sent it.
    pub outgoing: bool,
    /// Since 1970, by the wall clock.
    pub time: Duration,
}

/// Room for the control messages of a captured packet, aligned as the kernel writes them.
#[repr(C, align(8))]
struct PacketInfo([u8; 128]);

/// Receives one packet with its time and its length on the wire; what does not fit into `buf` is cut off.
///
/// # Errors
/// The operating system's; `WouldBlock` when there is none.
pub fn recv_captured(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Captured> {
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast::<c_void>(), iov_len: buf.len() };
    let mut control = PacketInfo([0; 128]);
    // SAFETY: all-zero is valid for these structures, which hold integers and null pointers. `buf`, `part`, `from` and `control`
    // live through the call and their sizes are passed with them. The kernel wrote the control messages that CMSG_FIRSTHDR and
    // CMSG_NXTHDR walk over; each is read only if it is as long as what is read from it.
    unsafe {
        let mut from: libc::sockaddr_ll = zeroed();
        let mut header: libc::msghdr = zeroed();
        header.msg_name = (&raw mut from).cast::<c_void>();
        header.msg_namelen = len_of(&from);
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control.0).cast::<c_void>();
        header.msg_controllen = size_of::<PacketInfo>() as _;
        let len = check_size(libc::recvmsg(fd.as_raw_fd(), &raw mut header, 0))?;
        let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
        let mut captured = Captured { len, original: len, outgoing, time: Duration::ZERO };
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            let room = ((*message).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) if room >= size_of::<libc::tpacket_auxdata>() => {
                    let about = ptr::read_unaligned(data.cast::<libc::tpacket_auxdata>());
                    captured.original = (about.tp_len as usize).max(len);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if room >= size_of::<libc::timespec>() => {
                    let time = ptr::read_unaligned(data.cast::<libc::timespec>());
                    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
                    captured.time = Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
        Ok(captured)
    }
}

/// How many packets the kernel had no room for since this was last asked.
///
/// # Errors
/// The operating system's.
pub fn packets_lost(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = len_of(&stats);
    // SAFETY: `stats` and `len` live through the call; `len` is the size of `stats`.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut stats).cast::<c_void>(),
            &raw mut len,
        )
    })?;
    Ok(stats.tp_drops)
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

/// Waits until the descriptor can be read, or its other end has closed; `false` when `timeout` passed first.
///
/// # Errors
/// The operating system's.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    // Rounded up, so that a deadline has passed when this returns for it.
    let millis = timeout.map_or(-1, |t| c_int::try_from(t.as_millis() + 1).unwrap_or(c_int::MAX));
    let mut wanted = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: `wanted` is one pollfd that lives through the call.
        match check(unsafe { libc::poll(&raw mut wanted, 1, millis) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            ready => return Ok(ready? > 0),
        }
    }
}

// linux/capability.h
const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_LAST: libc::c_ulong = 63;
const PORT_CAPABILITIES: u32 = 1 << CAP_NET_BIND_SERVICE | 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// Low and high half of the calling thread's sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn capabilities() -> io::Result<[Capabilities; 2]> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [Capabilities::default(); 2];
    // SAFETY: version 3 reads the header and writes two structures; both live through the call.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(sets) }
}

/// Whether the calling thread may open low ports and packet sockets and change interfaces.
#[must_use]
pub fn has_port_capabilities() -> bool {
    capabilities().is_ok_and(|[low, _]| low.effective & PORT_CAPABILITIES == PORT_CAPABILITIES)
}

/// Leaves this process nothing but what opening ports takes: three capabilities at most, its standard descriptors, no environment,
/// no terminal, no way to gain a privilege. From now on only the end of its input ends it: a key in the parent's terminal or a
/// service manager's signal must not end it before it has cleaned up after its parent.
///
/// Call it before another thread is started.
///
/// # Errors
/// The operating system's; the process must end then.
pub fn confine() -> io::Result<()> {
    let keep = |sets: Capabilities, mask: u32| Capabilities {
        effective: sets.permitted & mask,
        permitted: sets.permitted & mask,
        inheritable: 0,
    };
    let [low, high] = capabilities()?;
    let kept = [keep(low, PORT_CAPABILITIES), keep(high, 0)];
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: the structures live through their calls, `signal` gets only the system's own dispositions, and no other thread
    // exists that could read the environment or use the descriptors that are closed.
    unsafe {
        check(libc::close_range(3, libc::c_uint::MAX, 0))?;
        libc::clearenv();
        // Fails for the leader of a process group, which a child of the window is not.
        libc::setsid();
        for number in 1..=libc::SIGRTMAX() {
            libc::signal(number, libc::SIG_DFL);
        }
        for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE] {
            libc::signal(number, libc::SIG_IGN);
        }
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))?;

        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        check(libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))?;
        for capability in 0..=CAP_LAST {
            // Needs CAP_SETPCAP, which only root has; without it nothing can be gained through the set anyway.
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        if libc::syscall(libc::SYS_capset, &raw const header, kept.as_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Lets the process that this command starts be killed when the thread that starts it ends, with its own process or before.
pub fn end_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec only prctl is called, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(|_| ()));
    }
}

/// Becomes another user for good, in every thread, without supplementary groups.
///
/// # Errors
/// The operating system's; the process may be half way then and must end.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no pointers but an empty list. libc's functions, unlike the system calls, change every thread.
    unsafe {
        check(libc::setgroups(0, ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}
