use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::trace::testing::{Ends, Story, udp};

fn classic(magic: [u8; 4], link: u32, little: bool, parts: u32) -> Vec<u8> {
    let frame = udp(Ends::up(2000, 69), b"\0\x01f\0octet\0");
    let word = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    let len = u32::try_from(frame.len()).unwrap();
    let mut file = magic.to_vec();
    for n in [0x0004_0002, 0, 0, 65535, link, 1_767_225_600, parts, len, len + 9] {
        file.extend(word(n));
    }
    file.extend(frame);
    file
}

#[test]
fn what_is_written_is_read_with_its_comments_and_its_ways() {
    let mut packets = Story::healthy().packets;
    packets[0].comments = vec!["dhcp-discover client=pxe-rom".to_owned(), "ü€".to_owned()];
    packets[3].original += 100;
    packets[4].outgoing = None;
    let about = vec!["bench-1, waiting".to_owned()];
    let recording = read(&write(&packets, &about)).unwrap();
    assert_eq!(recording.packets, packets);
    assert_eq!((recording.comments, recording.cut, recording.skipped), (about, None, 0));
}

#[test]
fn older_files_of_either_order_and_unit_are_read() {
    let cases = [
        ([0xd4, 0xc3, 0xb2, 0xa1], true, 500_000, 500_000_000),
        ([0xa1, 0xb2, 0xc3, 0xd4], false, 500_000, 500_000_000),
        ([0x4d, 0x3c, 0xb2, 0xa1], true, 7, 7),
    ];
    for (magic, little, parts, nanos) in cases {
        let recording = read(&classic(magic, 1, little, parts)).unwrap();
        let [packet] = &recording.packets[..] else { panic!("{recording:?}") };
        assert_eq!(packet.time, Timestamp::new(1_767_225_600, nanos).unwrap());
        assert_eq!(packet.original as usize, packet.data.len() + 9);
        assert_eq!(packet.outgoing, None);
    }
}

/// The variant of old kernels and tools: eight more bytes in the header of each packet.
#[test]
fn files_of_the_variant_with_longer_headers_are_read() {
    for (magic, little) in [([0x34, 0xcd, 0xb2, 0xa1], true), ([0xa1, 0xb2, 0xcd, 0x34], false)] {
        let whole = classic(magic, 1, little, 500_000);
        let (start, record, frame) = (&whole[..24], &whole[24..40], &whole[40..]);
        let mut file = start.to_vec();
        // The packet type is a byte: 4 went out, 1 came in as a broadcast, 3 was another's.
        for kind in [4, 1, 3] {
            file.extend([record, &[2, 0, 0, 0, 0, 8, kind, 0], frame].concat());
        }
        let recording = read(&file).unwrap();
        let ways: Vec<_> = recording.packets.iter().map(|p| p.outgoing).collect();
        assert_eq!((ways, recording.cut), (vec![Some(true), Some(false), None], None));
        for packet in &recording.packets {
            assert_eq!(packet.data, frame);
            assert_eq!(packet.time, Timestamp::new(1_767_225_600, 500_000_000).unwrap());
        }
        file.truncate(24 + 20);
        assert!(read(&file).unwrap().cut.is_some(), "in the middle of a header");
    }
}

#[test]
fn packets_of_all_interfaces_at_once_become_frames() {
    // tcpdump -i any: a header of 16 bytes in the place of Ethernet's.
    let frame = udp(Ends::up(2000, 69), b"\0\x01f\0octet\0");
    let cooked = [&[0, 0, 0, 1, 0, 6][..], &frame[6..12], &[0, 0, 8, 0], &frame[14..]].concat();
    let mut file = classic([0xd4, 0xc3, 0xb2, 0xa1], 113, true, 0);
    let len = u32::try_from(cooked.len()).unwrap().to_le_bytes();
    file.truncate(24 + 8);
    file.extend([len, len].concat());
    file.extend(&cooked);
    let recording = read(&file).unwrap();
    assert_eq!(recording.packets[0].data[6..], frame[6..]);
    let other = read(&classic([0xd4, 0xc3, 0xb2, 0xa1], 147, true, 0)).unwrap();
    assert_eq!((other.packets.len(), other.skipped), (0, 1));
}

#[test]
fn units_of_an_interface_are_its_own() {
    let packets = &Story::healthy().packets[..1];
    let mut file = write(packets, &[]);
    let at = file.windows(5).position(|w| w == [9, 0, 1, 0, 9]).unwrap() + 4;
    let micros = packets[0].time.as_nanosecond() * 1000;
    file[at] = 6;
    assert_eq!(read(&file).unwrap().packets[0].time.as_nanosecond(), micros.min(i128::from(u64::MAX)));
    file[at] = 0x80 | 30;
    let binary = packets[0].time.as_nanosecond() * 1_000_000_000 / (1 << 30);
    assert_eq!(read(&file).unwrap().packets[0].time.as_nanosecond(), binary);
}

#[test]
fn an_interface_s_offset_is_added_to_its_times() {
    let packets = &Story::healthy().packets[..1];
    let file = write(packets, &[]);
    // Its resolution, then the end of its options.
    let at = file.windows(8).position(|w| w == [9, 0, 1, 0, 9, 0, 0, 0]).unwrap() + 8;
    let block = at - 8 - 16;
    let with = |seconds: i64| {
        let option = [&[14, 0, 8, 0][..], &seconds.to_le_bytes()].concat();
        let mut file = [&file[..at], &option, &file[at..]].concat();
        let len = u32::from_le_bytes(file[block + 4..block + 8].try_into().unwrap()) + 12;
        file[block + 4..block + 8].copy_from_slice(&len.to_le_bytes());
        let end = block + len as usize;
        file[end - 4..end].copy_from_slice(&len.to_le_bytes());
        read(&file).unwrap().packets[0].time
    };
    let second = packets[0].time.as_second();
    for seconds in [0, 1_000_000, -1_000_000, -second] {
        assert_eq!(
            with(seconds).as_nanosecond(),
            packets[0].time.as_nanosecond() + i128::from(seconds) * 1_000_000_000
        );
    }
    // A time that no clock has shown is left as it was.
    assert_eq!((with(i64::MAX), with(i64::MIN)), (packets[0].time, packets[0].time));
}

#[test]
fn a_file_that_ends_early_gives_what_it_has_and_nonsense_is_named() {
    let whole = write(&Story::healthy().packets, &[]);
    let count = Story::healthy().packets.len();
    let mut cut_short = 0;
    for len in (0..whole.len()).step_by(37) {
        if let Ok(recording) = read(&whole[..len]) {
            assert!(recording.packets.len() <= count);
            cut_short += usize::from(recording.cut.is_some());
        }
    }
    assert!(cut_short > 50, "{cut_short}");
    assert!(matches!(read(b"#!/bin/sh"), Err(FileError::Unknown)));
    assert!(matches!(read(b""), Err(FileError::Unknown)));
    for lie in [0_u32, 8, 13] {
        let mut file = whole.clone();
        file[4..8].copy_from_slice(&lie.to_le_bytes());
        assert!(matches!(read(&file), Err(FileError::Damaged(_))), "a block of {lie} bytes");
    }
    let mut file = whole;
    file[4..8].copy_from_slice(&0xffff_fffc_u32.to_le_bytes());
    assert!(read(&file).unwrap().cut.is_some(), "a block longer than the file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_file_is_harmless(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..2000, value: u8) {
        crate::trace::fuzz_file(&bytes);
        let mut file = write(&Story::healthy().packets[..6], &["x".to_owned()]);
        let len = file.len();
        file[at % len] = value;
        crate::trace::fuzz_file(&file);
        let mut old = classic([0xd4, 0xc3, 0xb2, 0xa1], 1, true, 0);
        let len = old.len();
        old[at % len] = value;
        crate::trace::fuzz_file(&old);
        old[..4].copy_from_slice(&[0x34, 0xcd, 0xb2, 0xa1]);
        crate::trace::fuzz_file(&old);
    }
}
