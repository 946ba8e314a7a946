//! Requests that came to a computer and got no answer: of TFTP (RRQ), of ProxyDHCP's boot server (REQUEST to port 4011), of TCP (SYN).

use std::net::IpAddr;
use std::time::Duration;

use crate::api::{EventKind, ServiceKind};

/// A request is answered within this time, or nobody heard it. Firmware asks again after more than a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait; who forges more is not told of.
const MAX: usize = 512;
/// A request that was told of is remembered so long, so that its repetitions count with it.
const REMEMBERED: Duration = Duration::from_secs(60);
/// A client of a service is told of so often: when it is known, and when the packets have doubled.
const TELLINGS: u32 = 5;

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) service: ServiceKind,
    pub(super) port: u16,
    pub(super) client: IpAddr,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// The client's port in its last request.
    from: u16,
    first: Duration,
    last: Duration,
    packets: u32,
    tellings: u32,
    told_at: u32,
}

#[derive(Debug, Default)]
pub(super) struct Unanswered {
    waiting: Vec<Waiting>,
}

/// A telling.
pub(super) type Told = (IpAddr, EventKind);

impl Unanswered {
    /// A request came from this port of the client's.
    pub(super) fn asked(&mut self, now: Duration, asked: Asked, from: u16) -> Option<Told> {
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.asked == asked) {
            waiting.packets += 1;
            (waiting.last, waiting.from) = (now, from);
            let doubled = waiting.tellings > 0 && waiting.packets >= waiting.told_at.saturating_mul(2);
            return (doubled && waiting.tellings < TELLINGS).then(|| waiting.tell(false));
        }
        if self.waiting.len() < MAX {
            let (first, last) = (now, now);
            self.waiting.push(Waiting { asked, from, first, last, packets: 1, tellings: 0, told_at: 0 });
        }
        None
    }

    /// It was heard: an answer went out, or the server told of it.
    pub(super) fn heard(&mut self, client: IpAddr, service: ServiceKind) {
        self.waiting.retain(|w| w.asked.client != client || w.asked.service != service);
    }

    /// The computer answered that nobody listens there.
    pub(super) fn refused(&mut self, (client, from): (IpAddr, u16), port: u16) -> Option<Told> {
        let of = |w: &&mut Waiting| w.asked.client == client && w.from == from && w.asked.port == port;
        let waiting = self.waiting.iter_mut().find(of)?;
        let new = waiting.tellings == 0 || waiting.packets >= waiting.told_at.saturating_mul(2);
        (new && waiting.tellings < TELLINGS).then(|| waiting.tell(true))
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Told> {
        self.waiting.retain(|w| now < w.last + REMEMBERED);
        let due = |w: &&mut Waiting| w.tellings == 0 && now >= w.first + PATIENCE;
        self.waiting.iter_mut().filter(due).map(|w| w.tell(false)).collect()
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let next = |w: &Waiting| if w.tellings == 0 { w.first + PATIENCE } else { w.last + REMEMBERED };
        self.waiting.iter().map(next).min()
    }
}

impl Waiting {
    fn tell(&mut self, refused: bool) -> Told {
        self.tellings += 1;
        self.told_at = self.packets;
        let Asked { service, port, client } = self.asked;
        (client, EventKind::Unheard { service, port, packets: self.packets, refused })
    }
}
