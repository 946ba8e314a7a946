//! Takes connections in and gives each its thread.

use std::io::{self, PipeReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{SockRef, TcpKeepalive};

use super::{Shared, connection};
use crate::iscsi::Gate;

/// Accepts until a byte comes through the pipe.
pub(super) fn accept<G: Gate>(shared: &Arc<Shared<G>>, listener: &TcpListener, asleep: &PipeReader) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(asleep, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !fds[1].revents().is_empty() => return,
            Ok(_) => {}
        }
        match listener.accept() {
            Ok((stream, peer)) => begin(shared, stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The peer is gone again, or descriptors are short: those that are served go on, and this one tries again.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn begin<G: Gate>(shared: &Arc<Shared<G>>, stream: TcpStream, peer: SocketAddr) {
    let mut threads = shared.threads();
    threads.retain(|thread| !thread.is_finished());
    if prepare(&stream).is_err() {
        return;
    }
    let Some(id) = shared.registry.connected(&stream) else { return };
    let served = shared.clone();
    let thread = std::thread::Builder::new()
        .name(format!("iscsi {}", peer.ip()))
        .spawn(move || connection::serve(&served, stream, peer, id));
    match thread {
        Ok(thread) => threads.push(thread),
        // No memory for a thread; the stream was dropped with the closure.
        Err(_) => shared.registry.disconnected(id),
    }
}

/// Replies leave at once; a peer that vanished is noticed within two minutes.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(5);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(90)))?;
    Ok(())
}
