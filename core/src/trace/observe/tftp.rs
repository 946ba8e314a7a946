//! Transfers of TFTP in a recording.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::api::EventKind;
use crate::tftp::wire::{self, Packet, code};
use crate::trace::decode::text;
use crate::trace::view::Datagram;

/// Transfers that are followed.
const MAX: usize = 4096;
/// A block that was sent so often, without a word from the client, ends its transfer.
const SENT: u32 = 4;
/// And so long nothing was heard of it.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Transfer {
    server: Option<SocketAddr>,
    file: String,
    began: Duration,
    /// The last packet of either side.
    last: Duration,
    block: u64,
    total: u64,
    /// Number of the last block that was seen, whole, and of the last that was acknowledged.
    sent: u64,
    acknowledged: u64,
    bytes: u64,
    /// The block that is shorter than the others.
    end: Option<u64>,
    /// How often the server sent the same since the client's last word.
    repeated: u32,
    asks_size: bool,
}

#[derive(Debug, Default)]
pub(super) struct Transfers {
    by_client: HashMap<SocketAddr, Transfer>,
}

/// An event of a client's.
pub(super) type Told = (IpAddr, EventKind);

impl Transfers {
    /// A datagram; `None` in the first place when it is none of TFTP's.
    pub(super) fn datagram(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
        udp: &Datagram<'_>,
    ) -> Vec<Told> {
        let Ok(packet) = wire::decode(udp.payload) else { return Vec::new() };
        if to.port() == 69 {
            return match packet {
                Packet::Rrq(request) => self.begin(now, from, &request),
                _ => Vec::new(),
            };
        }
        let millis = |since: Duration| u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX);
        if let Some(transfer) = self.by_client.get_mut(&to) {
            // From the server: its port is the one of its first answer.
            if *transfer.server.get_or_insert(from) != from {
                return Vec::new();
            }
            transfer.last = now;
            let (ip, file) = (to.ip(), transfer.file.clone());
            match packet {
                Packet::Oack(options) => {
                    let value = |name: &str| options.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.parse().ok());
                    transfer.block = value("blksize").unwrap_or(transfer.block);
                    transfer.total = value("tsize").unwrap_or(transfer.total);
                    transfer.repeated += 1;
                }
                Packet::Data { block, .. } => {
                    let bytes = (udp.len as u64).saturating_sub(4);
                    transfer.data(block, bytes);
                    let (sent, total) = (transfer.bytes, transfer.total);
                    let progress = EventKind::TftpProgress { file, sent, total };
                    return if transfer.sent.is_multiple_of(256) { vec![(ip, progress)] } else { Vec::new() };
                }
                Packet::Error { code, message } => {
                    self.by_client.remove(&to);
                    return vec![(ip, EventKind::TftpFailed { file, code, message: text(message.as_bytes()) })];
                }
                _ => {}
            }
            return Vec::new();
        }
        let Some(transfer) = self.by_client.get_mut(&from) else { return Vec::new() };
        (transfer.last, transfer.repeated) = (now, 0);
        let (ip, file, sent) = (from.ip(), transfer.file.clone(), transfer.bytes);
        let began = transfer.began;
        match packet {
            Packet::Ack(block) => {
                transfer.acknowledged = transfer.full(block);
                let done = transfer.end.is_some_and(|end| transfer.acknowledged >= end);
                if done {
                    self.by_client.remove(&from);
                    return vec![(ip, EventKind::TftpDone { file, bytes: sent, millis: millis(began) })];
                }
                Vec::new()
            }
            Packet::Error { code: number, message } => {
                let probe = number == code::OPTION || (transfer.asks_size && sent <= transfer.block);
                self.by_client.remove(&from);
                vec![(ip, EventKind::TftpAborted { file, sent, probe, message: text(message.as_bytes()) })]
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration, client: SocketAddr, request: &wire::Request) -> Vec<Told> {
        let file = text(&request.file);
        if let Some(known) = self.by_client.get_mut(&client).filter(|t| t.file == file && t.sent == 0) {
            // The same request once more.
            known.last = now;
            return Vec::new();
        }
        if self.by_client.len() >= MAX
            && let Some(oldest) = self.by_client.iter().min_by_key(|(_, t)| t.last).map(|(client, _)| *client)
        {
            self.by_client.remove(&oldest);
        }
        let shown = |(name, value): &(String, String)| (text(name.as_bytes()), text(value.as_bytes()));
        let options: Vec<(String, String)> = request.options.iter().map(shown).collect();
        let transfer = Transfer {
            server: None,
            file: file.clone(),
            began: now,
            last: now,
            block: 512,
            total: 0,
            sent: 0,
            acknowledged: 0,
            bytes: 0,
            end: None,
            repeated: 0,
            asks_size: request.options.iter().any(|(name, _)| name == "tsize"),
        };
        self.by_client.insert(client, transfer);
        vec![(client.ip(), EventKind::TftpRequest { file, options })]
    }

    /// Transfers that ended without a word.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        self.by_client.retain(|client, transfer| {
            if now < transfer.last + SILENCE || transfer.server.is_none() {
                return now < transfer.last + SILENCE * 6;
            }
            let file = transfer.file.clone();
            let whole = transfer.end == Some(transfer.sent);
            told.extend(match transfer.repeated {
                // The firmware starts what it has got, and never acknowledges its last block.
                _ if whole && transfer.acknowledged + 1 >= transfer.sent => {
                    let millis = u64::try_from((transfer.last - transfer.began).as_millis()).unwrap_or(u64::MAX);
                    Some((client.ip(), EventKind::TftpDone { file, bytes: transfer.bytes, millis }))
                }
                SENT.. => {
                    let message = "the client does not answer".to_owned();
                    Some((client.ip(), EventKind::TftpFailed { file, code: code::UNDEFINED, message }))
                }
                _ => None,
            });
            false
        });
        told
    }
}

impl Transfer {
    /// A block's number without its wrap at 16 bits, near the last one that was sent.
    fn full(&self, block: u16) -> u64 {
        let low = self.sent & 0xffff;
        let base = self.sent - low;
        let number = base + u64::from(block);
        match number {
            n if n > self.sent + 0x8000 && base >= 0x1_0000 => n - 0x1_0000,
            n if n + 0x8000 < self.sent => n + 0x1_0000,
            n => n,
        }
    }

    fn data(&mut self, block: u16, bytes: u64) {
        let number = self.full(block);
        if number <= self.sent {
            self.repeated += 1;
            return;
        }
        self.sent = number;
        self.bytes = self.bytes.saturating_add(bytes);
        if bytes < self.block {
            self.end = Some(number);
        }
    }
}
