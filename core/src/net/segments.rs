//! Many datagrams in one send: the kernel, or the network card, cuts a long one (`UDP_SEGMENT`, Linux 4.18 and later).

use std::io;
use std::net::UdpSocket;

/// Most datagrams of one send, so that older kernels take it too (`UDP_MAX_SEGMENTS`).
pub const MOST_SEGMENTS: usize = 64;
/// Most bytes of one send: an IPv4 datagram's, its headers taken off.
pub const MOST_BYTES: usize = 65_507;

/// From now on a send of more than `size` bytes on this socket leaves as datagrams of `size` bytes, the last one shorter; 0 ends it.
/// A send may be refused later nevertheless ([`is_uncut`]): only then does the kernel know the way and its MTU.
///
/// # Errors
/// The operating system's; `Unsupported` where it has nothing of the kind.
pub fn cut_sends(socket: &UdpSocket, size: u16) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsFd;
        bootyard_ports::sys::set_int(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, size.into())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, size);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The send failed because it was to be cut: a datagram would not fit the MTU, or the way out can't do it.
#[must_use]
pub fn is_uncut(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    {
        matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = error;
        false
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_long_send_arrives_as_datagrams_and_one_that_cannot_be_cut_is_told() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        cut_sends(&a, 1000).unwrap();
        a.send_to(&[7; 2500], b.local_addr().unwrap()).unwrap();
        let mut buf = [0; 4000];
        let sizes: Vec<usize> = (0..3).map(|_| b.recv(&mut buf).unwrap()).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
        cut_sends(&a, 8).unwrap();
        let refused = a.send_to(&[7; 65_000], b.local_addr().unwrap()).unwrap_err();
        assert!(is_uncut(&refused), "{refused}");
        cut_sends(&a, 0).unwrap();
        assert_eq!(a.send_to(&[7; 2500], b.local_addr().unwrap()).unwrap(), 2500);
    }
}
