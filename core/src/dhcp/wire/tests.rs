//! The codec, alone and against dhcproto as oracle.

use dhcproto::v4;
use dhcproto::{Decodable, Decoder};
use proptest::prelude::*;

use super::*;

fn discover() -> Packet {
    let mut packet = Packet { xid: 7, chaddr: [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], ..Packet::default() };
    packet.set(code::MESSAGE_TYPE, [1]);
    packet
}

/// The fixed header with these option bytes.
fn raw(options: &[u8]) -> Vec<u8> {
    let mut bytes = discover().encode(&[], 0);
    bytes.truncate(240);
    bytes.extend_from_slice(options);
    bytes
}

#[test]
fn what_is_not_dhcp_is_named() {
    assert_eq!(Packet::decode(&[0; 100]), Err(DecodeError::Short(100)));
    let change = |at: usize, value| {
        let mut bytes = raw(&[]);
        bytes[at] = value;
        Packet::decode(&bytes).unwrap_err()
    };
    assert_eq!(change(0, 3), DecodeError::Op(3));
    assert_eq!(change(2, 17), DecodeError::HardwareLength(17));
    assert_eq!(change(236, 0), DecodeError::Cookie);
    for lying in [&[12u8][..], &[12, 5, 1], &[53, 1, 1, 61, 200, 0]] {
        assert!(matches!(Packet::decode(&raw(lying)), Err(DecodeError::Overrun(_))), "{lying:?}");
    }
}

#[test]
fn padding_end_and_a_missing_end_are_understood() {
    let packet = Packet::decode(&raw(&[0, 0, 12, 1, b'a', 255, 12, 1, b'b'])).unwrap();
    assert_eq!(packet.option(12), Some(&b"a"[..]));
    assert!(Packet::decode(&raw(&[12, 1, b'a'])).is_ok());
}

#[test]
fn parts_of_an_option_are_joined_wherever_they_are() {
    let packet = Packet::decode(&raw(&[67, 2, b'a', b'b', 53, 1, 1, 67, 1, b'c', 255])).unwrap();
    assert_eq!(packet.option(67), Some(&b"abc"[..]), "RFC 3396, not adjacent");
    let mut bytes = raw(&[52, 1, 3, 67, 1, b'a', 255]);
    bytes[108..112].copy_from_slice(&[67, 1, b'b', 255]);
    bytes[44..48].copy_from_slice(&[67, 1, b'c', 255]);
    let packet = Packet::decode(&bytes).unwrap();
    assert_eq!(packet.option(67), Some(&b"abc"[..]), "options, then file, then sname");
    assert!(packet.file.is_empty() && packet.sname.is_empty() && packet.option(52).is_none());
    bytes[108..111].copy_from_slice(&[67, 255, b'b']);
    assert_eq!(Packet::decode(&bytes), Err(DecodeError::Overrun(67)), "a length that lies inside file");
}

#[test]
fn one_malformed_option_costs_only_itself() {
    let request =
        Request::parse(&raw(&[53, 1, 1, 50, 3, 1, 2, 3, 93, 1, 7, 97, 3, 0, 1, 2, 12, 2, 0xe9, 0, 255])).unwrap();
    assert_eq!(request.message, Some(MessageType::Discover));
    assert_eq!((request.requested, request.uuid), (None, None));
    assert!(request.arch_codes.is_empty());
    assert_eq!(request.host_name().as_deref(), Some("\u{fffd}"));
}

#[test]
fn the_uuid_reads_as_smbios_and_ipxe_print_it() {
    let wire = [0, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
    let parse = |value: &[u8]| {
        let mut packet = discover();
        packet.set(code::UUID, value);
        Request::parse(&packet.encode(&[], 0)).unwrap().uuid.map(|u| u.to_string())
    };
    assert_eq!(parse(&wire).as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
    let bogus: uuid::Uuid = "03000200-0400-0500-0006-000700080009".parse().unwrap();
    let little = [&[0][..], &bogus.to_bytes_le()].concat();
    for shared in [&[0; 17][..], &[&[0][..], &[0xff; 16]].concat(), &little, &[1; 17]] {
        assert_eq!(parse(shared), None);
    }
}

#[test]
fn a_reply_keeps_the_order_that_firmware_and_relays_rely_on() {
    let mut packet = discover();
    for c in [82, 61, 43, 3, 6, 1, 51, 54] {
        packet.set(c, [c; 4]);
    }
    let bytes = packet.encode(&[6, 1, 99, 3], 0);
    assert_eq!(bytes.len(), 300);
    let order: Vec<u8> = Packet::decode(&bytes).unwrap().options.iter().map(|(c, _)| *c).collect();
    assert_eq!(order, [53, 54, 51, 6, 1, 3, 43, 61, 82]);
}

#[test]
fn what_does_not_fit_goes_to_file_and_sname_and_82_stays_last() {
    let mut packet = discover();
    packet.set(82, [9; 40]);
    for c in 200..207 {
        packet.set(c, [c; 50]);
    }
    let bytes = packet.encode(&[], 0);
    assert!(bytes.len() <= 548, "{}", bytes.len());
    assert_eq!(bytes[240..246], [53, 1, 1, 52, 1, 3], "53 first, then overload");
    let mut read = Packet::decode(&bytes).unwrap();
    assert_eq!(bytes[bytes.len() - 43..][..2], [82, 40]);
    read.sort();
    packet.sort();
    assert_eq!(read, packet);

    packet.file = b"undionly.kpxe".to_vec();
    let read = Packet::decode(&packet.encode(&[], 0)).unwrap();
    assert_eq!(read.file, packet.file, "a file name is not overwritten");
    assert!(read.options.len() < packet.options.len());
}

#[test]
fn a_long_option_is_split_and_a_large_client_gets_it_whole() {
    let mut packet = discover();
    packet.set(67, vec![b'x'; 600]);
    assert!(Packet::decode(&packet.encode(&[], 0)).unwrap().option(67).is_none());
    let bytes = packet.encode(&[], 1472);
    assert_eq!(Packet::decode(&bytes).unwrap().option(67).map(<[u8]>::len), Some(600));
}

#[test]
fn the_corpus_of_the_fuzz_target_is_harmless() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/dhcp")).unwrap() {
        fuzz(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz(&bytes);
        fuzz(&raw(&bytes));
    }

    #[test]
    fn mutated_packets_are_harmless(at in 0usize..300, value: u8, cut in 0usize..300) {
        let mut packet = discover();
        packet.set(code::USER_CLASS, *b"iPXE");
        packet.set(code::RELAY, [1, 2, 3, 4, 5, 4, 10, 0, 0, 1]);
        packet.set(code::UUID, [0; 17]);
        let mut bytes = packet.encode(&[], 0);
        bytes[at] = value;
        fuzz(&bytes);
        fuzz(&bytes[..cut]);
    }

    #[test]
    fn dhcproto_reads_what_we_write(
        options in prop::collection::btree_map(224u8..=254, prop::collection::vec(any::<u8>(), 1..40), 0..6),
        xid: u32, secs: u16, yiaddr: [u8; 4], giaddr: [u8; 4],
    ) {
        let mut packet = discover();
        packet.op = 2;
        (packet.xid, packet.secs) = (xid, secs);
        (packet.yiaddr, packet.giaddr) = (yiaddr.into(), giaddr.into());
        packet.file = b"snponly.efi".to_vec();
        packet.set(code::MESSAGE_TYPE, [2]);
        packet.set(code::SERVER_ID, [192, 168, 2, 1]);
        for (c, v) in &options {
            packet.set(*c, v.clone());
        }
        let bytes = packet.encode(&[250, 230], 1472);
        let read = v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
        prop_assert_eq!((read.xid(), read.secs(), read.yiaddr(), read.giaddr()), (xid, secs, yiaddr.into(), giaddr.into()));
        prop_assert_eq!(read.fname_str().unwrap().unwrap().trim_end_matches('\0'), "snponly.efi");
        prop_assert_eq!(read.opts().msg_type(), Some(v4::MessageType::Offer));
        for (c, v) in &options {
            match read.opts().get(v4::OptionCode::from(*c)) {
                Some(v4::DhcpOption::Unknown(o)) => prop_assert_eq!(o.data(), v.as_slice()),
                other => prop_assert!(false, "{} reads as {:?}", c, other),
            }
        }
    }
}
