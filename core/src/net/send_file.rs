//! A file's bytes on a connection without a copy in this process, and what a connection still holds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Whether [`send_file`] does it here; else the caller reads and writes.
pub const SENDS_FILES: bool = cfg!(target_os = "linux");

/// Sends `len` bytes of `file` from `offset` (both in bytes); how many went. Fewer when the connection's buffer is full or the file
/// ends. Blocks only for bytes that are not in memory. What the buffer holds are the file's own pages: who writes into the file
/// changes what is sent of them.
///
/// # Errors
/// The operating system's; `WouldBlock` when the connection takes none now; `Unsupported` where [`SENDS_FILES`] is false.
#[cfg(target_os = "linux")]
pub fn send_file(to: impl AsFd, file: impl AsFd, offset: u64, len: usize) -> io::Result<usize> {
    let mut at = offset;
    Ok(rustix::fs::sendfile(to, file, Some(&mut at), len)?)
}

/// See the other one.
///
/// # Errors
/// `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn send_file(_: impl AsFd, _: impl AsFd, _: u64, _: usize) -> io::Result<usize> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "files are sent by reading and writing here"))
}

/// Sends bytes; how many went. With `more`, others come at once, and share their packets where the operating system knows how.
///
/// # Errors
/// The operating system's.
#[cfg(target_os = "linux")]
pub fn send(to: impl AsFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    use rustix::net::SendFlags;
    let more = if more { SendFlags::MORE } else { SendFlags::empty() };
    Ok(rustix::net::send(to, bytes, SendFlags::NOSIGNAL | more)?)
}

/// See the other one; here packets are not joined.
///
/// # Errors
/// The operating system's.
#[cfg(not(target_os = "linux"))]
pub fn send(to: impl AsFd, bytes: &[u8], _: bool) -> io::Result<usize> {
    Ok(rustix::net::send(to, bytes, rustix::net::SendFlags::empty())?)
}

/// Bytes that the other end has not acknowledged yet. `None` where it can't be told.
#[cfg(target_os = "linux")]
#[must_use]
pub fn unacknowledged(connection: BorrowedFd<'_>) -> Option<u64> {
    const OUTQ: rustix::ioctl::Opcode = libc::TIOCOUTQ as rustix::ioctl::Opcode;
    // SAFETY: this request, under its name SIOCOUTQ for sockets (tcp(7)), writes one int and reads nothing.
    #[allow(unsafe_code)]
    let got = unsafe { rustix::ioctl::ioctl(connection, rustix::ioctl::Getter::<OUTQ, libc::c_int>::new()) };
    got.ok().and_then(|bytes| u64::try_from(bytes).ok())
}

/// See the other one.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn unacknowledged(_: BorrowedFd<'_>) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_part_of_a_file_follows_its_header_and_the_queue_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(send(&socket, b"head:", true).unwrap(), 5);
        assert_eq!(send_file(&socket, &file, 3, 4).unwrap(), 4);
        assert_eq!(send_file(&socket, &file, 8, 100).unwrap(), 2, "no more than there is");
        assert_eq!(send_file(&socket, &file, 10, 1).unwrap(), 0);
        let mut read = [0; 11];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"head:345689");
        socket.set_nonblocking(true).unwrap();
        let full = vec![1; 1 << 20];
        while (&socket).write(&full).is_ok() {}
        assert!(unacknowledged(socket.as_fd()).unwrap() > 0, "nobody reads");
    }
}
