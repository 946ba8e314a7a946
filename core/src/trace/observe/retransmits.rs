//! Segments that are sent again and again because nobody acknowledges them.
//!
//! Only the first byte that is not acknowledged counts: a burst that was lost once is sent again in many segments, and is no trouble.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::trace::view::Segment;

/// Sent so often, the first time included, it is told; and again each time it has doubled.
const MANY: u32 = 4;
/// Tellings of one connection's direction.
const TELLINGS: u32 = 4;
/// Connections that are watched.
const MAX: usize = 4096;

#[derive(Debug)]
struct Half {
    /// Everything before it is acknowledged, once an acknowledgement was seen.
    acknowledged: Option<u32>,
    /// One after the last byte that was sent.
    sent: u32,
    /// How often the first unacknowledged byte was sent since the last acknowledgement.
    times: u32,
    told_at: u32,
    tellings: u32,
    used: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Retransmits {
    halves: HashMap<(SocketAddr, SocketAddr), Half>,
}

/// Whether `a` comes after `b` among sequence numbers (RFC 9293, section 3.4).
pub(super) fn after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

impl Retransmits {
    /// A segment passes; how often it was sent by now when that is worth a word.
    pub(super) fn segment(&mut self, now: Duration, from: IpAddr, to: IpAddr, tcp: &Segment<'_>) -> Option<u32> {
        let flow = (SocketAddr::new(from, tcp.from), SocketAddr::new(to, tcp.to));
        if let Some(ack) = tcp.ack {
            self.acknowledged((flow.1, flow.0), ack);
        }
        if tcp.rst {
            self.halves.remove(&flow);
            self.halves.remove(&(flow.1, flow.0));
            return None;
        }
        let len = u32::try_from(tcp.len).unwrap_or(u32::MAX).wrapping_add(u32::from(tcp.syn));
        if len == 0 {
            return None;
        }
        let end = tcp.seq.wrapping_add(len);
        if tcp.syn && self.halves.get(&flow).is_some_and(|half| half.sent != end) {
            // Another connection between the same ports.
            self.halves.remove(&flow);
        }
        if !self.halves.contains_key(&flow) {
            self.make_room();
            let acknowledged = tcp.syn.then_some(tcp.seq);
            let half = Half { acknowledged, sent: end, times: 1, told_at: 0, tellings: 0, used: now };
            self.halves.insert(flow, half);
            return None;
        }
        let half = self.halves.get_mut(&flow)?;
        half.used = now;
        if after(end, half.sent) {
            let first = half.acknowledged == Some(half.sent);
            half.sent = end;
            half.times = if first { 1 } else { half.times };
            return None;
        }
        let acknowledged = half.acknowledged?;
        // It covers the first byte that is missing; what is acknowledged already is a keep-alive's.
        if after(tcp.seq, acknowledged) || !after(end, acknowledged) {
            return None;
        }
        half.times += 1;
        let worth = half.times >= MANY && half.times >= half.told_at.saturating_mul(2) && half.tellings < TELLINGS;
        worth.then(|| {
            half.told_at = half.times;
            half.tellings += 1;
            half.times
        })
    }

    fn acknowledged(&mut self, flow: (SocketAddr, SocketAddr), ack: u32) {
        let Some(half) = self.halves.get_mut(&flow) else { return };
        if half.acknowledged.is_none_or(|before| after(ack, before)) {
            half.acknowledged = Some(ack);
            (half.times, half.told_at, half.tellings) = (1, 0, 0);
        }
    }

    /// The machine began anew: what it left behind is nobody's.
    pub(super) fn forget(&mut self, client: IpAddr) {
        self.halves.retain(|(from, to), _| from.ip() != client && to.ip() != client);
    }

    /// It made a new connection to this port of ours, from `from`: older ones were left behind.
    pub(super) fn forget_others(&mut self, client: IpAddr, port: u16, from: u16) {
        let other = |theirs: &SocketAddr, ours: &SocketAddr| {
            theirs.ip() == client && ours.port() == port && theirs.port() != from
        };
        self.halves.retain(|(a, b), _| !other(a, b) && !other(b, a));
    }

    fn make_room(&mut self) {
        if self.halves.len() >= MAX
            && let Some(oldest) = self.halves.iter().min_by_key(|(_, half)| half.used).map(|(flow, _)| *flow)
        {
            self.halves.remove(&oldest);
        }
    }
}
