//! A transfer over a bad network, in virtual time: packets are lost, doubled and overtake one another.

use std::collections::BTreeMap;

use super::*;
use crate::tftp::wire::Mode;
use proptest::prelude::*;

/// What the network does to one packet.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Takes so many microseconds.
    Arrives(u64),
    Lost,
    /// Arrives twice, after so many microseconds each.
    Doubled(u64, u64),
}

fn fate() -> impl Strategy<Value = Fate> {
    let delay = 100u64..3000;
    prop_oneof![
        12 => delay.clone().prop_map(Fate::Arrives),
        2 => Just(Fate::Lost),
        1 => (delay.clone(), delay).prop_map(|(first, second)| Fate::Doubled(first, second)),
    ]
}

/// Loses and doubles, and lets nothing overtake.
fn steady_fate() -> impl Strategy<Value = Fate> {
    let doubled = Fate::Doubled(1000, 1000);
    prop_oneof![12 => Just(Fate::Arrives(1000)), 1 => Just(Fate::Lost), 1 => Just(doubled)]
}

/// Loses nothing.
fn lossless_fate() -> impl Strategy<Value = Fate> {
    let delay = 100u64..3000;
    let doubled = (delay.clone(), delay.clone()).prop_map(|(first, second)| Fate::Doubled(first, second));
    prop_oneof![delay.prop_map(Fate::Arrives), doubled]
}

/// How a client answers a block that is not the next one.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// Once for a gap, as RFC 7440 has it.
    Once,
    /// Each time, as EDK2 does.
    Always,
}

/// A client that puts the file together.
#[derive(Debug)]
struct Client {
    style: Style,
    total: u64,
    block: u64,
    window: u64,
    got: u64,
    acked: u64,
    told: bool,
    complete: bool,
    /// Microseconds at which it says again what it has.
    timer: u64,
}

/// EDK2's timer.
const TIMER: u64 = 4_000_000;

impl Client {
    fn again(&mut self) -> Option<u16> {
        self.acked = self.got;
        Some((self.got & 0xffff) as u16)
    }

    fn take(&mut self, now: u64, number: u16, offset: u64, len: u64) -> Option<u16> {
        self.timer = now + TIMER;
        let ahead = number.wrapping_sub((self.got & 0xffff) as u16);
        if ahead != 1 {
            let gap = (2..0x8000).contains(&ahead);
            let tell = matches!(self.style, Style::Always) || ahead == 0 || (gap && !self.told);
            self.told |= gap;
            return if tell { self.again() } else { None };
        }
        assert_eq!((offset, len), (self.got * self.block, self.block.min(self.total - offset)), "not the next piece");
        self.got += 1;
        self.told = false;
        self.complete = len < self.block;
        if self.complete || self.got - self.acked == self.window { self.again() } else { None }
    }
}

#[derive(Debug, Clone, Copy)]
enum Flying {
    Oack,
    Data { number: u16, offset: u64, len: u64 },
    Ack(u16),
}

/// What came of it.
struct Ended {
    client: Client,
    /// DATA packets that were sent until the client had all.
    data: u64,
    /// Packets that the network lost or doubled.
    disturbed: u64,
    told: Vec<EventKind>,
}

/// Lets a transfer and a client talk over a network whose every next packet has the next of `fates`, and is undisturbed after them.
fn simulate(total: u64, block: u64, window: u64, style: Style, fates: &[Fate]) -> Ended {
    let options =
        [("blksize", block), ("windowsize", window)].map(|(name, value)| (name.to_owned(), value.to_string()));
    let request = Request { file: b"f".to_vec(), mode: Mode::Octet, options: options.to_vec() };
    let mut transfer = Transfer::new(Who::ip(std::net::Ipv4Addr::LOCALHOST), "f".into(), total, &request);
    let client = Client { style, total, block, window, got: 0, acked: 0, told: false, complete: false, timer: TIMER };
    let mut ended = Ended { client, data: 0, disturbed: 0, told: Vec::new() };
    let mut fates = fates.iter().copied();
    let mut air: BTreeMap<(u64, u64), Flying> = BTreeMap::new();
    let (mut now, mut serial) = (0u64, 0u64);
    transfer.handle(Now::at(Duration::ZERO), Input::Start);
    loop {
        let mut fly = Vec::new();
        while let Some(output) = transfer.poll() {
            match output {
                Output::Send(packet) => match wire::decode(&packet).unwrap() {
                    Packet::Oack(_) => fly.push(Flying::Oack),
                    // It is given up, which only a client that has all and has gone may be.
                    Packet::Error { .. } if ended.client.complete => {}
                    other => panic!("{other:?} was sent"),
                },
                Output::SendRange { source, offset, len } => {
                    assert!((1..=window).contains(&source.count.into()), "{source:?} in a window of {window}");
                    assert!(offset + len <= total && u64::from(source.size) == block);
                    for nth in 0..u64::from(source.count) {
                        let at = offset + nth * block;
                        let len = block.min(total - at);
                        fly.push(Flying::Data { number: source.first.wrapping_add(nth as u16), offset: at, len });
                        ended.data += u64::from(!ended.client.complete);
                    }
                }
                Output::Event(observation) => ended.told.push(observation.kind),
                Output::Persist(_, never) => match never {},
            }
        }
        if transfer.ended() {
            return ended;
        }
        let mut depart = |now: u64, packet: Flying, air: &mut BTreeMap<(u64, u64), Flying>| {
            let fate = fates.next().unwrap_or(Fate::Arrives(1000));
            let delays = match fate {
                Fate::Arrives(delay) => vec![delay],
                Fate::Lost => vec![],
                Fate::Doubled(first, second) => vec![first, second],
            };
            ended.disturbed += u64::from(delays.len() != 1);
            for delay in delays {
                serial += 1;
                air.insert((now + delay, serial), packet);
            }
        };
        for packet in fly {
            depart(now, packet, &mut air);
        }
        let due = u64::try_from(transfer.deadline().unwrap().as_micros()).unwrap() + 1;
        let client_due = if ended.client.complete { u64::MAX } else { ended.client.timer };
        let arrives = air.first_key_value().map_or(u64::MAX, |(key, _)| key.0);
        now = now.max(due.min(client_due).min(arrives));
        if arrives <= now {
            let (_, packet) = air.pop_first().unwrap();
            let answer = match packet {
                Flying::Ack(number) => {
                    let ack = wire::encode(&Packet::Ack(number));
                    transfer.handle(Now::at(Duration::from_micros(now)), Input::Packet(&ack));
                    None
                }
                // A client that has the file is gone: its firmware runs what it loaded.
                _ if ended.client.complete => None,
                Flying::Oack if ended.client.got == 0 => {
                    ended.client.timer = now + TIMER;
                    Some(0)
                }
                Flying::Oack => None,
                Flying::Data { number, offset, len } => ended.client.take(now, number, offset, len),
            };
            if let Some(number) = answer {
                depart(now, Flying::Ack(number), &mut air);
            }
        } else if due <= now {
            transfer.handle(Now::at(Duration::from_micros(now)), Input::Due);
        } else {
            ended.client.timer = now + TIMER;
            if let Some(number) = ended.client.again() {
                depart(now, Flying::Ack(number), &mut air);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The file arrives whole, whatever is lost, doubled or overtaken, and the end is told as one. Of the DATA no more is sent than
    /// the file and, for each packet that the network may have disturbed, a window: nothing multiplies (RFC 1123, section 4.2.3.1).
    #[test]
    fn the_file_arrives_whole_and_little_is_sent_twice(
        total in 0u64..60_000, window in 1u64..33, block in 8u64..1500, edk2: bool,
        fates in prop::collection::vec(fate(), 0..600),
    ) {
        let style = if edk2 { Style::Always } else { Style::Once };
        let ended = simulate(total, block, window, style, &fates);
        prop_assert!(ended.client.complete, "{:?} after {:?}", ended.client, ended.told);
        // Of a file of one window a lost last ACK leaves nothing that proves that any of it arrived.
        let done = ended.told.iter().any(|kind| matches!(kind, EventKind::TftpDone { .. }));
        prop_assert!(done || total / block < window, "{:?}", ended.told);
        let (blocks, most) = (total / block + 1, window * fates.len() as u64);
        prop_assert!(ended.data <= blocks + most, "{} packets for {blocks} blocks", ended.data);
    }

    /// The same where nothing is overtaken: then only what was lost or doubled costs a window, and the window behind it at most.
    #[test]
    fn a_disturbed_packet_costs_two_windows_at_most(
        total in 0u64..60_000, window in 1u64..33, block in 8u64..1500, edk2: bool,
        fates in prop::collection::vec(steady_fate(), 0..600),
    ) {
        let style = if edk2 { Style::Always } else { Style::Once };
        let ended = simulate(total, block, window, style, &fates);
        let (blocks, most) = (total / block + 1, 2 * window * ended.disturbed);
        prop_assert!(ended.client.complete);
        prop_assert!(ended.data <= blocks + most, "{} packets for {blocks} blocks", ended.data);
    }

    /// Packets that only take their time are sent once, and one that is doubled costs nothing in lock-step (the sorcerer's apprentice).
    #[test]
    fn in_lock_step_nothing_but_a_loss_makes_a_block_be_sent_again(
        total in 0u64..40_000, edk2: bool,
        fates in prop::collection::vec(lossless_fate(), 0..200),
    ) {
        let style = if edk2 { Style::Always } else { Style::Once };
        let ended = simulate(total, 512, 1, style, &fates);
        prop_assert_eq!(ended.data, total / 512 + 1);
    }
}

/// RFC 7440, section 4: a lost block costs its window once more, from the first block that is missing, without a timeout.
#[test]
fn a_gap_in_a_window_is_filled_at_once() {
    // The OACK, its ACK, then the third of sixteen blocks is lost.
    let mut fates = vec![Fate::Arrives(1000); 4];
    fates.push(Fate::Lost);
    fates.extend([Fate::Arrives(1000); 100]);
    for style in [Style::Once, Style::Always] {
        let ended = simulate(32 * 1000, 1000, 16, style, &fates);
        assert!(ended.client.complete);
        // Of the first window fourteen come again; the 33rd block is the empty one at the end.
        assert_eq!(ended.data, 33 + 14, "{style:?}");
        let EventKind::TftpDone { millis, .. } = ended.told.last().unwrap() else { panic!("{:?}", ended.told) };
        assert_eq!(*millis, 8, "{style:?}: four round trips, no timeout");
    }
}

/// The same at the first block, where the client's answer is a duplicate ACK.
#[test]
fn a_gap_at_the_begin_of_a_window_is_filled_at_once() {
    let mut fates = vec![Fate::Arrives(1000); 19];
    fates.push(Fate::Lost);
    fates.extend([Fate::Arrives(1000); 100]);
    for style in [Style::Once, Style::Always] {
        let ended = simulate(32 * 1000, 1000, 16, style, &fates);
        assert_eq!((ended.client.complete, ended.data), (true, 33 + 16), "{style:?}");
        let EventKind::TftpDone { millis, .. } = ended.told.last().unwrap() else { panic!("{:?}", ended.told) };
        assert_eq!(*millis, 10, "{style:?}: five round trips, no timeout");
    }
}
