//! Packet sockets as the runtime watches them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{NetError, PacketSocket};

/// A packet socket whose frames a task can wait for.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<Socket>);

#[derive(Debug)]
struct Socket(Box<dyn PacketSocket>);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd().as_raw_fd()
    }
}

impl Watched {
    /// Watches a packet socket of the interface named. Within the runtime only.
    pub(crate) fn new(socket: Box<dyn PacketSocket>, interface: &str) -> Result<Self, NetError> {
        let what = || format!("watch the packet socket on {interface}");
        // SAFETY: a `PacketSocket` owns one descriptor for as long as it lives; `Socket` neither closes nor replaces it while the
        // `AsyncFd` owns it.
        #[allow(unsafe_code)]
        let watched = unsafe { AsyncFd::register_with_interest(Socket(socket), Interest::READABLE) };
        watched.map(Self).map_err(|e| NetError::Io { what: what(), source: e.into() })
    }

    /// The next frame; its length. What does not fit into `buffer` is cut off.
    pub(crate) async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|socket| socket.get_ref().0.recv(buffer)) {
                return result;
            }
        }
    }

    /// Sends a frame, or fails if the socket's queue is full.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.get_ref().0.send(frame)
    }
}
