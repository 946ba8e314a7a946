//! The stories of one transfer, driven without a socket.

use super::*;
use crate::tftp::wire::Mode;
use proptest::prelude::*;

fn at(millis: u64) -> Now {
    Now::at(Duration::from_millis(millis))
}

fn request(options: &[(&str, &str)]) -> Request {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Request { file: b"f".to_vec(), mode: Mode::Octet, options }
}

fn transfer(total: u64, options: &[(&str, &str)]) -> Transfer {
    Transfer::new(Who::ip(std::net::Ipv4Addr::LOCALHOST), "f".into(), total, &request(options))
}

fn step(transfer: &mut Transfer, now: Now, input: Input<'_>) -> Vec<Output<Vec<u8>, Blocks>> {
    transfer.handle(now, input);
    std::iter::from_fn(|| transfer.poll()).collect()
}

fn ack(transfer: &mut Transfer, now: Now, block: u16) -> Vec<Output<Vec<u8>, Blocks>> {
    step(transfer, now, Input::Packet(&wire::encode(&Packet::Ack(block))))
}

fn range(outputs: &[Output<Vec<u8>, Blocks>]) -> Option<(u16, u16, u64, u64)> {
    outputs.iter().find_map(|output| match output {
        Output::SendRange { source, offset, len } => Some((source.first, source.count, *offset, *len)),
        _ => None,
    })
}

fn done(outputs: &[Output<Vec<u8>, Blocks>]) -> bool {
    outputs.iter().any(|o| matches!(o, Output::Event(o) if matches!(o.kind, EventKind::TftpDone { .. })))
}

fn oack(outputs: &[Output<Vec<u8>, Blocks>]) -> Vec<(String, String)> {
    match &outputs[0] {
        Output::Send(bytes) => match wire::decode(bytes).unwrap() {
            Packet::Oack(options) => options,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_options_data_comes_at_once_and_a_multiple_ends_with_an_empty_block() {
    let mut t = transfer(512, &[]);
    assert_eq!(range(&step(&mut t, at(0), Input::Start)), Some((1, 1, 0, 512)));
    assert_eq!(range(&ack(&mut t, at(1), 1)), Some((2, 1, 512, 0)));
    assert!(done(&ack(&mut t, at(2), 2)) && t.ended() && t.deadline().is_none());
}

#[test]
fn options_are_granted_lowered_or_left_out_but_never_raised() {
    let mut t =
        transfer(9, &[("windowsize", "65535"), ("blksize", "70000"), ("tsize", "0"), ("timeout", "0"), ("x", "1")]);
    let granted = oack(&step(&mut t, at(0), Input::Start));
    let expected = [("windowsize", "2"), ("blksize", "65464"), ("tsize", "9")];
    assert_eq!(granted, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    // A block size below 8 is not one: 512 it is, and data at once.
    let mut t = transfer(9, &[("blksize", "4")]);
    assert_eq!(range(&step(&mut t, at(0), Input::Start)), Some((1, 1, 0, 9)));
}

#[test]
fn a_firmware_size_probe_is_no_failure() {
    let mut t = transfer(9, &[("tsize", "0")]);
    step(&mut t, at(0), Input::Start);
    let out = step(&mut t, at(1), Input::Packet(&wire::error(8, "User aborted")));
    assert!(matches!(&out[..], [Output::Event(o)] if matches!(o.kind, EventKind::TftpAborted { probe: true, .. })));
    let mut t = transfer(9000, &[("tsize", "0")]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(1), 0);
    ack(&mut t, at(2), 1);
    let out = step(&mut t, at(3), Input::Packet(&wire::error(3, "Disk full")));
    assert!(matches!(&out[..], [Output::Event(o)] if matches!(o.kind, EventKind::TftpAborted { probe: false, .. })));
}

#[test]
fn a_duplicate_ack_never_makes_data_be_sent_again_in_lock_step() {
    let mut t = transfer(5000, &[]);
    step(&mut t, at(0), Input::Start);
    assert_eq!(range(&ack(&mut t, at(10), 1)), Some((2, 1, 512, 512)));
    for late in [10, 20, 100] {
        assert!(ack(&mut t, at(late), 1).is_empty());
    }
}

#[test]
fn an_ack_inside_a_window_resumes_behind_it() {
    let mut t = transfer(512 * 10, &[("windowsize", "4")]);
    step(&mut t, at(0), Input::Start);
    assert_eq!(range(&ack(&mut t, at(10), 0)), Some((1, 4, 0, 2048)));
    assert_eq!(range(&ack(&mut t, at(20), 2)), Some((3, 4, 1024, 2048)));
    // The first block of the window was lost: the client says again what it has. Once is enough.
    assert_eq!(range(&ack(&mut t, at(21), 2)), None, "the client cannot have seen that window yet");
    assert_eq!(range(&ack(&mut t, at(30), 2)), Some((3, 4, 1024, 2048)));
    assert_eq!(range(&ack(&mut t, at(40), 2)), None);
    assert_eq!(range(&ack(&mut t, at(50), 9)), None, "never sent");
}

#[test]
fn silence_is_answered_slower_and_slower_and_then_given_up() {
    let mut t = transfer(5000, &[]);
    step(&mut t, at(0), Input::Start);
    let (mut sent, mut last) = (0, Duration::ZERO);
    let mut waits = Vec::new();
    while let Some(due) = t.deadline() {
        waits.push(due - last);
        last = due;
        assert!(step(&mut t, Now::at(due - Duration::from_millis(1)), Input::Due).is_empty());
        let out = step(&mut t, Now::at(due), Input::Due);
        sent += usize::from(range(&out).is_some());
    }
    assert_eq!(sent, 7);
    assert!(waits.is_sorted() && last < Duration::from_secs(30), "{waits:?}");
    assert!(t.ended());
}

#[test]
fn block_numbers_roll_over() {
    let mut t = transfer(8 * 70_000, &[("blksize", "8"), ("windowsize", "64")]);
    step(&mut t, at(0), Input::Start);
    let mut out = ack(&mut t, at(0), 0);
    let mut now = 0;
    while let Some((first, count, offset, _)) = range(&out) {
        assert_eq!(u64::from(first), (offset / 8 + 1) & 0xffff);
        now += 1;
        out = ack(&mut t, at(now), first.wrapping_add(count - 1));
    }
    assert!(done(&out));
}

#[test]
fn a_client_that_begins_again_is_served_from_the_start_and_a_late_copy_is_not() {
    let mut t = transfer(5000, &[]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(10), 1);
    assert!(step(&mut t, at(20), Input::Again).is_empty());
    assert_eq!(range(&step(&mut t, at(3000), Input::Again)), Some((1, 1, 0, 512)));
}

proptest! {
    /// Over a network that loses either way, a client that follows RFC 7440 gets every byte once and in order, and no packet's loss
    /// lets more than the window be in flight.
    #[test]
    fn every_byte_arrives_over_a_lossy_network(
        total in 0u64..20_000, window in 1u64..20, block in 8u16..2000, losses in prop::collection::vec(prop::bool::weighted(0.2), 400),
    ) {
        let mut t = transfer(total, &[("blksize", &block.to_string()), ("windowsize", &window.to_string())]);
        let mut losses = losses.into_iter();
        let mut lost = move || losses.next().unwrap_or(false);
        let (mut now, mut got, mut next) = (0u64, 0u64, 1u64);
        let mut queue = VecDeque::from(step(&mut t, at(0), Input::Start));
        let mut complete = false;
        while !t.ended() {
            let mut reply = None;
            match queue.pop_front() {
                None => {
                    let due = t.deadline().unwrap();
                    now = now.max(u64::try_from(due.as_millis()).unwrap() + 1);
                    queue.extend(step(&mut t, at(now), Input::Due));
                    continue;
                }
                Some(Output::Send(bytes)) => {
                    let oack = matches!(wire::decode(&bytes), Ok(Packet::Oack(_)));
                    if oack && !lost() { reply = Some(0) }
                }
                Some(Output::SendRange { source, offset, len }) => {
                    prop_assert!(u64::from(source.count) <= window);
                    prop_assert!(offset + len <= total);
                    let mut at = offset;
                    for i in 0..source.count {
                        let size = u64::from(block).min(offset + len - at);
                        if !lost() && source.first.wrapping_add(i) == (next & 0xffff) as u16 {
                            prop_assert_eq!(at, got);
                            got += size;
                            next += 1;
                            complete |= size < u64::from(block);
                        }
                        at += size;
                    }
                    reply = Some(((next - 1) & 0xffff) as u16);
                }
                Some(_) => {}
            }
            now += 1;
            if let Some(block) = reply && !lost() {
                queue.extend(ack(&mut t, at(now), block));
            }
        }
        // Eight losses in a row may end a transfer; nothing else may.
        if complete { prop_assert_eq!(got, total); }
    }

    #[test]
    fn any_packets_are_survived(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..40)) {
        let mut t = transfer(10_000, &[("windowsize", "8"), ("tsize", "0")]);
        step(&mut t, at(0), Input::Start);
        for (i, packet) in packets.iter().enumerate() {
            for output in step(&mut t, at(i as u64), Input::Packet(packet)) {
                if let Output::SendRange { offset, len, .. } = output { prop_assert!(offset + len <= 10_000); }
            }
        }
    }
}
