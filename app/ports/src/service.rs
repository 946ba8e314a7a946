//! The program's end of the conversation: checks each request against the rules, does it, and at the end of its input takes
//! back whatever it still holds.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::Refusal;
use crate::frame::Purpose;
use crate::hold::{Held, LIFETIME_S, RENEW_EVERY};
use crate::wire::{MAX_MESSAGE, Reply, Request, VERSION};
use crate::{open, sys};

/// DHCP, its client's port for the probe, TFTP, ProxyDHCP.
const UDP_PORTS: [u16; 4] = [67, 68, 69, 4011];

/// HTTP, HTTPS, iSCSI; besides these the ports that need no privilege.
const TCP_PORTS: [u16; 3] = [80, 443, 3260];
const FIRST_UNPRIVILEGED: u16 = 1024;

/// A bench has a handful of interfaces.
const MAX_HOLDS: usize = 16;

/// Answers until the other end closes.
///
/// # Errors
/// The operating system's, of the conversation itself. Everything held is taken back in every case.
pub fn serve(line: BorrowedFd<'_>) -> io::Result<()> {
    let mut holds = Holds::default();
    let mut buf = [0; MAX_MESSAGE];
    loop {
        // Looked at before the line, so that a talkative client can't starve it.
        if holds.renewal_in().is_some_and(|left| left.is_zero()) {
            holds.renew();
        }
        if !sys::wait_readable(line, holds.renewal_in())? {
            continue;
        }
        let message = match sys::recv_with(line, &mut buf) {
            Ok((0, _)) => return Ok(()),
            Ok((len, _)) => buf.get(..len).unwrap_or_default(),
            // Too long to be a request.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => &[],
            Err(e) => return Err(e),
        };
        let (reply, descriptor) = match Request::decode(message).map(|request| answer(request, &mut holds)) {
            Some(Ok(done)) => done,
            Some(Err(refusal)) => (Reply::Refused(refusal), None),
            None => (Reply::Refused(Refusal::Rule("bootyard-ports does not know this request".to_owned())), None),
        };
        let sent = sys::send_with(line, reply.encode().as_bytes(), descriptor.as_ref().map(AsFd::as_fd));
        match sent {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            sent => sent?,
        }
    }
}

fn answer(request: Request, holds: &mut Holds) -> Result<(Reply, Option<OwnedFd>), Refusal> {
    let opened = |fd| (Reply::Opened, Some(fd));
    match request {
        Request::Hello => Ok((Reply::Hello { version: VERSION, privileged: sys::has_port_capabilities() }, None)),
        Request::Udp { bind, broadcast, packet_info, interface } => {
            allowed("UDP", bind.into(), interface.as_deref(), UDP_PORTS.contains(&bind.port()))?;
            open::udp(bind, interface.as_deref(), broadcast, packet_info).map(opened)
        }
        Request::Tcp { bind, interface } => {
            allowed("TCP", bind, interface.as_deref(), is_bench_port(bind.port()))?;
            open::tcp(bind, interface.as_deref()).map(opened)
        }
        Request::Packet { purpose, interface } => {
            if let Purpose::Capture(ports) = purpose {
                for port in ports.all() {
                    may_capture(port)?;
                }
            }
            open::packet(&interface, purpose).map(opened)
        }
        Request::Hold { address, prefix, interface } => {
            let id = holds.add(|| Held::take(&interface, address, prefix, LIFETIME_S))?;
            Ok((Reply::Held { id }, None))
        }
        Request::Release { id } => {
            holds.held.remove(&id);
            Ok((Reply::Released, None))
        }
    }
}

/// A TCP port that a bench serves on.
fn is_bench_port(port: u16) -> bool {
    TCP_PORTS.contains(&port) || port >= FIRST_UNPRIVILEGED
}

/// Only a bench's own traffic is captured.
fn may_capture(port: u16) -> Result<(), Refusal> {
    if is_bench_port(port) {
        return Ok(());
    }
    Err(Refusal::Rule(format!(
        "bootyard-ports does not capture TCP port {port}; choose the standard port in [ports], or one from 1024 up"
    )))
}

/// The port is one that a bench serves on, and it is not opened to every network that this computer is in.
fn allowed(protocol: &str, bind: SocketAddr, interface: Option<&str>, known_port: bool) -> Result<(), Refusal> {
    if !known_port {
        return Err(Refusal::Rule(format!(
            "bootyard-ports does not open {protocol} port {}; choose the standard port in [ports], or a TCP port from 1024 up",
            bind.port()
        )));
    }
    let everywhere = match bind.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.to_ipv4_mapped().is_some(),
    };
    if everywhere && interface.is_none() {
        return Err(Refusal::Rule(format!(
            "bootyard-ports opens {protocol} port {} on one interface or address only, never on all of them",
            bind.port()
        )));
    }
    Ok(())
}

#[derive(Default)]
struct Holds {
    held: BTreeMap<u32, Held>,
    last_id: u32,
    renewed: Option<Instant>,
}

impl Holds {
    fn add(&mut self, take: impl FnOnce() -> Result<Held, Refusal>) -> Result<u32, Refusal> {
        if self.held.len() >= MAX_HOLDS {
            return Err(Refusal::Rule(format!(
                "bootyard-ports holds {MAX_HOLDS} addresses already; stop one bench first"
            )));
        }
        let held = take()?;
        self.last_id = self.last_id.wrapping_add(1);
        self.held.insert(self.last_id, held);
        self.renewed.get_or_insert_with(Instant::now);
        Ok(self.last_id)
    }

    /// How long until the next renewal; `None` without an address.
    fn renewal_in(&self) -> Option<Duration> {
        let passed = self.renewed?.elapsed();
        (!self.held.is_empty()).then(|| RENEW_EVERY.saturating_sub(passed))
    }

    fn renew(&mut self) {
        for held in self.held.values() {
            // An interface that is unplugged may come back; the next round tries again.
            let _ = held.renew();
        }
        self.renewed = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's end of a conversation with a service in a thread.
    struct Client {
        line: OwnedFd,
        service: std::thread::JoinHandle<io::Result<()>>,
    }

    impl Client {
        fn start() -> Self {
            let (line, theirs) = sys::message_pair().unwrap();
            Self { line, service: std::thread::spawn(move || serve(theirs.as_fd())) }
        }

        fn ask(&self, message: &[u8]) -> (Reply, Option<OwnedFd>) {
            sys::send_with(self.line.as_fd(), message, None).unwrap();
            let mut buf = [0; MAX_MESSAGE];
            let (len, fd) = sys::recv_with(self.line.as_fd(), &mut buf).unwrap();
            (Reply::decode(&buf[..len]).unwrap(), fd)
        }

        fn refused(&self, message: &str) -> String {
            match self.ask(message.as_bytes()) {
                (Reply::Refused(refusal), None) => refusal.to_string(),
                other => panic!("{message}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_descriptor_comes_over_and_the_end_of_input_ends_the_service() {
        let client = Client::start();
        let (reply, fd) = client.ask(b"tcp 127.0.0.1:34567");
        assert!(matches!(reply, Reply::Opened));
        let listener = std::net::TcpListener::from(fd.unwrap());
        assert_eq!(listener.local_addr().unwrap().port(), 34567);
        assert!(matches!(client.ask(b"hello").0, Reply::Hello { version: VERSION, .. }));
        drop(client.line);
        client.service.join().unwrap().unwrap();
    }

    #[test]
    fn what_is_outside_the_closed_set_is_refused_with_a_reason() {
        let client = Client::start();
        assert!(client.refused("udp 127.0.0.1:53 0 0").contains("does not open UDP port 53"));
        assert!(client.refused("tcp 127.0.0.1:22").contains("does not open TCP port 22"));
        assert!(client.refused("udp 0.0.0.0:67 1 1").contains("never on all of them"));
        assert!(client.refused("tcp [::]:80").contains("never on all of them"));
        assert!(client.refused("hold 8.8.8.8 24 lo").contains("private"));
        assert!(client.refused("hold 10.99.0.1 24 lo").contains("not an Ethernet interface"));
        assert!(client.refused("packet dhcp-listen nowhere").contains("no network interface `nowhere`"));
        assert!(client.refused("packet capture:80:22:3260 lo").contains("does not capture TCP port 22"));
        assert!(client.refused("exec /bin/sh").contains("does not know"));
        let long = "x".repeat(MAX_MESSAGE + 1);
        assert!(client.refused(&long).contains("does not know"));
        assert!(matches!(client.ask(b"release 99").0, Reply::Released), "it goes on after each");
    }
}
