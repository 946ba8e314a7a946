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

/// RFC 1350, section 6: a block that is not full ends the transfer, and an empty one is such a block. RFC 2347: without options there
/// is no OACK.
#[test]
fn without_options_data_comes_at_once_and_a_multiple_ends_with_an_empty_block() {
    let mut t = transfer(512, &[]);
    assert_eq!(range(&step(&mut t, at(0), Input::Start)), Some((1, 1, 0, 512)));
    assert_eq!(range(&ack(&mut t, at(1), 1)), Some((2, 1, 512, 0)));
    assert!(done(&ack(&mut t, at(2), 2)) && t.ended() && t.deadline().is_none());
}

/// RFC 2347: a server acknowledges what it takes and leaves out the rest; where nothing is left, data comes at once.
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

/// RFC 2347: a client may end the transfer after the OACK (code 8), and firmware does to learn a file's size.
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

/// RFC 1123, section 4.2.3.1 (the sorcerer's apprentice).
#[test]
fn a_duplicate_ack_never_makes_data_be_sent_again_in_lock_step() {
    let mut t = transfer(5000, &[]);
    step(&mut t, at(0), Input::Start);
    assert_eq!(range(&ack(&mut t, at(10), 1)), Some((2, 1, 512, 512)));
    for late in [10, 20, 100] {
        assert!(ack(&mut t, at(late), 1).is_empty());
    }
}

/// RFC 7440, section 4: an ACK inside the window says what is missing.
#[test]
fn an_ack_inside_a_window_resumes_behind_it() {
    let mut t = transfer(512 * 10, &[("windowsize", "4")]);
    step(&mut t, at(0), Input::Start);
    assert_eq!(range(&ack(&mut t, at(10), 0)), Some((1, 4, 0, 2048)));
    assert_eq!(range(&ack(&mut t, at(20), 2)), Some((3, 4, 1024, 2048)));
    assert_eq!(range(&ack(&mut t, at(21), 2)), None, "3 and 4 were sent twice, so 2 may be acknowledged twice");
    assert_eq!(range(&ack(&mut t, at(30), 6)), Some((7, 4, 3072, 2048)));
    assert_eq!(range(&ack(&mut t, at(40), 10)), Some((11, 1, 5120, 0)));
    assert_eq!(range(&ack(&mut t, at(41), 12)), None, "never sent");
}

/// RFC 7440, section 4: where a window's first block was lost, the client says again what it has.
#[test]
fn a_window_whose_first_block_was_lost_is_sent_again_once() {
    let mut t = transfer(512 * 20, &[("windowsize", "4")]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(10), 0);
    assert_eq!(range(&ack(&mut t, at(20), 4)), Some((5, 4, 2048, 2048)));
    assert_eq!(range(&ack(&mut t, at(21), 4)), None, "the client cannot have seen that window yet");
    assert_eq!(range(&ack(&mut t, at(30), 4)), Some((5, 4, 2048, 2048)));
    for late in [30, 31, 40, 41] {
        assert_eq!(range(&ack(&mut t, at(late), 4)), None, "once is enough; after that the timer is there");
    }
    // Each copy may be acknowledged: the second one must not double the rest of the file.
    assert_eq!(range(&ack(&mut t, at(42), 8)), Some((9, 4, 4096, 2048)));
    assert_eq!(range(&ack(&mut t, at(60), 8)), None);
}

/// RFC 6298, section 5.5 to 5.7, with Karn's rule: a timeout that was too short stays doubled until a round trip is measured.
#[test]
fn a_client_that_becomes_slow_is_not_sent_everything_twice_for_ever() {
    let mut t = transfer(512 * 100, &[]);
    step(&mut t, at(0), Input::Start);
    let (mut now, mut again) = (1, 0);
    ack(&mut t, at(now), 1);
    // From now on it answers after 50 ms.
    for block in 2..60 {
        let answer = now + 50;
        while let Some(due) = t.deadline()
            && due < Duration::from_millis(answer)
        {
            again += usize::from(range(&step(&mut t, Now::at(due), Input::Due)).is_some());
        }
        now = answer;
        assert!(range(&ack(&mut t, at(now), block)).is_some());
    }
    assert!((1..=4).contains(&again), "{again} repetitions");
}

/// The rate and the rest of a transfer are folded from these; four a second are enough for the eye.
#[test]
fn progress_is_told_four_times_a_second_at_most() {
    let mut t = transfer(512 * 1000, &[]);
    let mut told = Vec::new();
    let mut take = |now: u64, outputs: Vec<Output<Vec<u8>, Blocks>>| {
        for output in outputs {
            if let Output::Event(observation) = output
                && let EventKind::TftpProgress { sent, total, .. } = observation.kind
            {
                told.push((now, sent, total));
            }
        }
    };
    take(0, step(&mut t, at(0), Input::Start));
    for block in 1..=200 {
        take(u64::from(block) * 10, ack(&mut t, at(u64::from(block) * 10), block));
    }
    let expected: Vec<_> = (1..=8).map(|nth| (nth * 250, nth * 25 * 512, 512_000)).collect();
    assert_eq!(told, expected);
}

/// Noise at a transfer's port ends nothing; a packet that means something else does (RFC 1350, section 5: illegal operation).
#[test]
fn noise_is_passed_over_and_another_operation_ends_it() {
    let mut t = transfer(5000, &[]);
    step(&mut t, at(0), Input::Start);
    for noise in [&b""[..], b"\0", b"\0\x04\0", b"\0\x09\0\x01", b"\xff\xff\xff\xff"] {
        assert!(step(&mut t, at(1), Input::Packet(noise)).is_empty(), "{noise:?}");
    }
    assert_eq!(range(&ack(&mut t, at(2), 1)), Some((2, 1, 512, 512)));
    let out = step(&mut t, at(3), Input::Packet(b"\0\x03\0\x01data"));
    assert!(matches!(&out[0], Output::Send(bytes) if bytes.starts_with(&[0, 5, 0, 4])) && t.ended());
}

/// RFC 1123, section 4.2.3.1: the timeout adapts; RFC 6298, section 5.5, doubles it.
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
    // 0.5, 1, 2, 4 and then 5 s each.
    assert_eq!(sent, 8);
    assert!(waits[..8].is_sorted() && last == Duration::from_secs(30), "{waits:?}");
    assert!(t.ended());
}

/// Nothing of a first large block comes back: it is told at the third repetition, once, and what the next try gets.
#[test]
fn a_first_block_that_nobody_acknowledges_is_told_with_its_size() {
    for (size, expected) in [("8192", Some(1468)), ("1468", Some(512)), ("512", None)] {
        let mut t = transfer(50_000, &[("blksize", size)]);
        step(&mut t, at(0), Input::Start);
        ack(&mut t, at(1), 0);
        let told = all_told(&mut t);
        let unanswered: Vec<_> = told.iter().filter(|(_, k)| matches!(k, EventKind::TftpUnanswered { .. })).collect();
        let EventKind::TftpUnanswered { block, tries, next, .. } = &unanswered[0].1 else { panic!() };
        assert_eq!((unanswered.len(), *block, *tries, *next), (1, 1, 3, expected), "{told:?}");
        assert_eq!(t.too_large(), Some(size.parse().unwrap()));
    }
    // The options themselves are small: no size is to blame.
    let mut t = transfer(50_000, &[("blksize", "8192")]);
    step(&mut t, at(0), Input::Start);
    let told = all_told(&mut t);
    assert!(told.iter().any(|(_, k)| matches!(k, EventKind::TftpUnanswered { block: 0, next: None, .. })), "{told:?}");
    // One block got there: large ones pass.
    let mut t = transfer(50_000, &[("blksize", "8192")]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(1), 0);
    ack(&mut t, at(2), 1);
    let told = all_told(&mut t);
    assert!(!told.iter().any(|(_, k)| matches!(k, EventKind::TftpUnanswered { .. })), "{told:?}");
    assert_eq!(t.too_large(), None);
}

/// Lets every deadline pass until the transfer ends; what it told, each with its second.
fn all_told(t: &mut Transfer) -> Vec<(u64, EventKind)> {
    let mut told = Vec::new();
    while let Some(due) = t.deadline() {
        for output in step(t, Now::at(due), Input::Due) {
            if let Output::Event(observation) = output {
                told.push((due.as_secs(), observation.kind));
            }
        }
    }
    assert!(t.ended());
    told
}

/// The same without that nothing came back, which is told on the way.
fn silence(t: &mut Transfer) -> Vec<(u64, EventKind)> {
    all_told(t).into_iter().filter(|(_, kind)| !matches!(kind, EventKind::TftpUnanswered { .. })).collect()
}

/// RFC 1350, section 6: the end may be repeated; a client that has gone on is no failure.
#[test]
fn a_lost_last_acknowledgement_is_no_failure_and_is_told_soon() {
    let mut t = transfer(1000, &[]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(10), 1);
    let told = silence(&mut t);
    assert!(matches!(&told[..], [(0..=2, EventKind::TftpDone { bytes: 1000, millis: 10, .. })]), "{told:?}");
    // A client that is done with it may also say so.
    let mut t = transfer(1000, &[]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(10), 1);
    let due = t.deadline().unwrap();
    step(&mut t, Now::at(due), Input::Due);
    let late = at(1000);
    assert!(done(&step(&mut t, late, Input::Packet(&wire::error(code::UNKNOWN_TID, "no such transfer")))));
    // One that acknowledges after all is not told twice.
    let mut t = transfer(1000, &[]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(10), 1);
    while let Some(due) = t.deadline()
        && !done(&step(&mut t, Now::at(due), Input::Due))
    {}
    assert!(ack(&mut t, at(5000), 2).is_empty() && t.ended());
}

#[test]
fn silence_before_the_end_or_from_the_begin_on_is_a_failure() {
    for (total, options) in [(9000, &[][..]), (100, &[]), (100, &[("tsize", "0")]), (1000, &[("windowsize", "4")])] {
        let mut t = transfer(total, options);
        step(&mut t, at(0), Input::Start);
        if options.is_empty() && total > 512 {
            ack(&mut t, at(1), 1);
        } else {
            ack(&mut t, at(1), 0);
        }
        let told = silence(&mut t);
        assert!(matches!(&told[..], [(_, EventKind::TftpFailed { .. })]), "{total} {options:?}: {told:?}");
    }
}

/// RFC 2349: a timeout that is granted is the client's own.
#[test]
fn a_client_is_given_up_within_a_minute_whatever_timeout_it_asked_for() {
    for (asked, granted) in [("1", true), ("20", true), ("21", false), ("255", false)] {
        let mut t = transfer(5000, &[("timeout", asked), ("tsize", "0")]);
        let options = oack(&step(&mut t, at(0), Input::Start));
        assert_eq!(options.iter().any(|(name, value)| name == "timeout" && value == asked), granted, "{asked}");
        let told = silence(&mut t);
        assert!(matches!(&told[..], [(..=60, EventKind::TftpFailed { .. })]), "{asked}: {told:?}");
    }
}

#[test]
fn another_request_from_the_same_port_ends_the_transfer_as_what_it_was() {
    let aborted = |out: &[Output<Vec<u8>, Blocks>], expected: bool| matches!(out, [Output::Event(o)] if matches!(o.kind, EventKind::TftpAborted { probe, .. } if probe == expected));
    let mut t = transfer(5000, &[]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(1), 1);
    assert!(aborted(&step(&mut t, at(2), Input::Replaced), false) && t.ended());
    let mut t = transfer(5000, &[("tsize", "0")]);
    step(&mut t, at(0), Input::Start);
    assert!(aborted(&step(&mut t, at(2), Input::Replaced), true), "a size probe that was not ended");
    let mut t = transfer(1000, &[]);
    step(&mut t, at(0), Input::Start);
    ack(&mut t, at(1), 1);
    assert!(done(&step(&mut t, at(2), Input::Replaced)), "only its last acknowledgement was lost");
}

/// A firmware ends its size probe with one packet, which may be lost, and asks for the file from another port.
#[test]
fn a_size_probe_whose_end_was_lost_is_told_as_one() {
    for (options, elsewhere, acked) in [
        (&[("tsize", "0")][..], true, false),
        (&[("tsize", "0")], false, false),
        (&[("blksize", "1400")], true, false),
        (&[("tsize", "0")], true, true),
    ] {
        let mut t = transfer(5000, options);
        step(&mut t, at(0), Input::Start);
        if elsewhere {
            assert!(step(&mut t, at(1), Input::Elsewhere).is_empty(), "it may be another download");
        }
        if acked {
            assert!(range(&ack(&mut t, at(2), 0)).is_some());
        }
        let told = silence(&mut t);
        let probe = matches!(&told[..], [(..=60, EventKind::TftpAborted { probe: true, .. })]);
        let failed = matches!(&told[..], [(..=60, EventKind::TftpFailed { .. })]);
        let expected = elsewhere && !acked && options[0].0 == "tsize";
        assert_eq!((probe, failed), (expected, !expected), "{options:?}, {elsewhere}, {acked}: {told:?}");
    }
}

/// The RFCs leave open what follows block 65535; every firmware and iPXE take 0.
#[test]
fn block_numbers_roll_over() {
    for window in ["1", "5", "64"] {
        let mut t = transfer(8 * 140_000, &[("blksize", "8"), ("windowsize", window)]);
        step(&mut t, at(0), Input::Start);
        let mut out = ack(&mut t, at(0), 0);
        let (mut now, mut zeroes) = (0, 0);
        while let Some((first, count, offset, _)) = range(&out) {
            assert_eq!(u64::from(first), (offset / 8 + 1) & 0xffff);
            zeroes += u32::from(u32::from(first) + u32::from(count) > 65_536 || first == 0);
            now += 1;
            out = ack(&mut t, at(now), first.wrapping_add(count - 1));
        }
        assert!(done(&out) && zeroes == 2, "{zeroes} blocks have the number 0 in a window of {window}");
    }
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
