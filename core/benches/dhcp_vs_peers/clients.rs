//! PXE clients on the wire, in a closed loop: as soon as one has its lease, the next begins.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bootyard_core::dhcp::wire::{Packet, code};
use bootyard_core::net::PacketSocket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Fallible;
use crate::report::{Offer, Run};
use crate::server::Server;
use crate::wire::Wire;

/// A client that hears nothing for this long has timed out.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;
/// Offsets of the fields that change, in the frame.
const XID: usize = HEADERS + 4;
const CHADDR: usize = HEADERS + 28;
const YIADDR: usize = HEADERS + 16;

/// What the clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// They come again and again until the time is over.
    Returning { clients: u32, outstanding: usize, lasts: Duration },
    /// Each comes once.
    New { clients: u32, outstanding: usize },
}

/// Where a client is in its exchange.
#[derive(Debug, Clone, Copy)]
enum Waits {
    Idle,
    Offer(Instant),
    Ack(Instant),
}

#[derive(Debug, Clone, Copy)]
struct Client {
    xid: u32,
    waits: Waits,
}

/// Whether a server answers a DISCOVER within a moment.
pub(crate) fn answers(wire: &Wire) -> Fallible<bool> {
    let mut crowd = Crowd::new(wire, 1, 0xee)?;
    crowd.begin(0)?;
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        crowd.wait()?;
        if crowd.hear()? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs a load. Several servers in a row know the clients of the first run no more, for each begins without leases.
pub(crate) fn run(wire: &Wire, server: &Server, load: Load) -> Fallible<Run> {
    let (clients, outstanding, until) = match load {
        Load::Returning { clients, outstanding, lasts } => (clients, outstanding, Some(lasts)),
        Load::New { clients, outstanding } => (clients, outstanding, None),
    };
    let mut crowd = Crowd::new(wire, clients, 0)?;
    let before = server.cpu()?;
    let start = Instant::now();
    let mut queue: VecDeque<u32> = (0..clients).collect();
    for client in queue.drain(..outstanding.min(queue.len())) {
        crowd.begin(client)?;
    }
    let mut busy = outstanding;
    let mut swept = start;
    while busy > 0 {
        crowd.wait()?;
        crowd.hear()?;
        if swept.elapsed() > PATIENCE / 4 {
            swept = Instant::now();
            crowd.sweep()?;
        }
        let over = until.is_some_and(|lasts| start.elapsed() >= lasts);
        for done in std::mem::take(&mut crowd.done) {
            busy -= 1;
            if until.is_some() {
                queue.push_back(done);
            }
            if let (false, Some(next)) = (over, queue.pop_front()) {
                crowd.begin(next)?;
                busy += 1;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = server.cpu()?.saturating_sub(before).as_secs_f64();
    let done = f64::from(u32::try_from(crowd.exchanges)?);
    crowd.offers.sort_unstable();
    let p50 = crowd.offers.get(crowd.offers.len() / 2).copied().unwrap_or_default();
    Ok(Run {
        rate: done / seconds,
        most: done / seconds,
        strict: 0.0,
        cpu: cpu / done.max(1.0),
        offer: Offer { p50, naks: crowd.naks, timeouts: crowd.timeouts },
        alone: None,
    })
}

/// The clients and their common socket.
struct Crowd {
    socket: Box<dyn PacketSocket>,
    clients: Vec<Client>,
    family: u8,
    discover: Vec<u8>,
    request: Vec<u8>,
    next_xid: u32,
    done: Vec<u32>,
    offers: Vec<Duration>,
    exchanges: usize,
    naks: usize,
    timeouts: usize,
}

impl Crowd {
    fn new(wire: &Wire, clients: u32, family: u8) -> Fallible<Self> {
        let count = usize::try_from(clients)?;
        Ok(Self {
            socket: wire.client_socket()?,
            clients: vec![Client { xid: 0, waits: Waits::Idle }; count],
            family,
            discover: frame(1),
            request: frame(3),
            next_xid: fastrand::u32(..),
            done: Vec::new(),
            offers: Vec::new(),
            exchanges: 0,
            naks: 0,
            timeouts: 0,
        })
    }

    fn mac(&self, client: u32) -> [u8; 6] {
        let [_, b, c, d] = client.to_be_bytes();
        [0x02, 0x50, self.family, b, c, d]
    }

    fn begin(&mut self, number: u32) -> Fallible<()> {
        self.next_xid = self.next_xid.wrapping_add(1);
        let (xid, mac) = (self.next_xid, self.mac(number));
        if let Some(client) = self.clients.get_mut(usize::try_from(number)?) {
            *client = Client { xid, waits: Waits::Offer(Instant::now()) };
        }
        patch(&mut self.discover, &mac, xid);
        Ok(self.socket.send(&self.discover)?)
    }

    fn wait(&self) -> Fallible<()> {
        let mut ready = [PollFd::from_borrowed_fd(self.socket.fd(), PollFlags::IN)];
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 }))?;
        Ok(())
    }

    /// Takes all replies that are there; how many were for us.
    fn hear(&mut self) -> Fallible<usize> {
        let mut buffer = [0; 2048];
        let mut heard = 0;
        loop {
            let len = match self.socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(heard),
                Err(e) => return Err(e.into()),
            };
            if let Some(reply) = buffer.get(..len) {
                heard += usize::from(self.reply(reply)?);
            }
        }
    }

    /// One reply; whether it was for a client that waits.
    fn reply(&mut self, frame: &[u8]) -> Fallible<bool> {
        let Some(mac) = frame.get(CHADDR..CHADDR + 6) else { return Ok(false) };
        let [0x02, 0x50, family, b, c, d] = *mac else { return Ok(false) };
        let number = u32::from_be_bytes([0, b, c, d]);
        let index = usize::try_from(number)?;
        let Some(client) = self.clients.get(index).copied().filter(|_| family == self.family) else { return Ok(false) };
        if frame.get(XID..XID + 4) != Some(&client.xid.to_be_bytes()) {
            return Ok(false);
        }
        let (kind, server) = (option(frame, code::MESSAGE_TYPE), option(frame, code::SERVER_ID));
        let waits = match (kind, client.waits) {
            (Some([2]), Waits::Offer(since)) => {
                self.offers.push(since.elapsed());
                let mac = self.mac(number);
                patch(&mut self.request, &mac, client.xid);
                let at = self.request.len();
                // The last two options of the request: address and server.
                put(&mut self.request, at - 11, frame.get(YIADDR..YIADDR + 4).unwrap_or_default());
                put(&mut self.request, at - 5, server.unwrap_or_default());
                self.socket.send(&self.request)?;
                Waits::Ack(Instant::now())
            }
            (Some([5]), Waits::Ack(_)) => {
                self.exchanges += 1;
                self.done.push(number);
                Waits::Idle
            }
            (Some([6]), Waits::Ack(_)) => {
                self.naks += 1;
                self.done.push(number);
                Waits::Idle
            }
            _ => return Ok(false),
        };
        if let Some(client) = self.clients.get_mut(index) {
            client.waits = waits;
        }
        Ok(true)
    }

    /// Ends the exchanges that wait for too long.
    fn sweep(&mut self) -> Fallible<()> {
        for (index, client) in self.clients.iter_mut().enumerate() {
            if let Waits::Offer(since) | Waits::Ack(since) = client.waits
                && since.elapsed() > PATIENCE
            {
                client.waits = Waits::Idle;
                self.timeouts += 1;
                self.done.push(u32::try_from(index)?);
            }
        }
        Ok(())
    }
}

/// A PXE ROM's DISCOVER or REQUEST in its broadcast frame; the latter ends with options 50 and 54, of which the values follow.
fn frame(message: u8) -> Vec<u8> {
    let mut packet = Packet { flags: 0x8000, ..Packet::default() };
    packet.set(code::MESSAGE_TYPE, [message]);
    packet.set(code::MAX_SIZE, 1464_u16.to_be_bytes());
    packet.set(code::CLASS, *b"PXEClient:Arch:00000:UNDI:002001");
    packet.set(code::ARCH, [0, 0]);
    packet.set(94, [1, 2, 1]);
    packet.set(code::UUID, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    packet.set(
        code::PARAMETERS,
        [
            1, 2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67,
            128, 129,
        ],
    );
    let mut payload = packet.encode(&[], 1400);
    // Without padding, so that the last options are at the end.
    while payload.last() == Some(&0) {
        payload.pop();
    }
    if message == 3 {
        payload.pop();
        payload.extend([code::REQUESTED, 4, 0, 0, 0, 0, code::SERVER_ID, 4, 0, 0, 0, 0, code::END]);
    }
    let length = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![0xff; 6];
    frame.extend([0x02, 0x50, 0, 0, 0, 1, 0x08, 0x00]);
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    put(&mut ip, 2, &length(28 + payload.len()));
    let mut sum: u32 = ip
        .chunks(2)
        .map(|c| u32::from(c.first().copied().unwrap_or(0)) << 8 | u32::from(c.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    put(&mut ip, 10, &(!u16::try_from(sum).unwrap_or(0)).to_be_bytes());
    frame.extend(ip);
    frame.extend([0, 68, 0, 67]);
    frame.extend(length(8 + payload.len()));
    // RFC 768: no checksum.
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

fn patch(frame: &mut [u8], mac: &[u8; 6], xid: u32) {
    put(frame, 6, mac);
    put(frame, XID, &xid.to_be_bytes());
    put(frame, CHADDR, mac);
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// An option of a reply, without overload.
fn option(frame: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = frame.get(HEADERS + 240..)?;
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [code::END, ..] | [] | [_] => return None,
            [number, len, tail @ ..] => {
                let (value, tail) = tail.split_at_checked(usize::from(*len))?;
                if *number == wanted {
                    return Some(value);
                }
                rest = tail;
            }
        }
    }
}
