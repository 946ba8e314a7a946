use proptest::prelude::*;

use super::*;
use crate::trace::testing::{Ends, ROM, Story, dhcp, dhcp_up, packet, tcp, udp, unreachable};

fn lines(story: &Story) -> Vec<String> {
    story.packets.iter().map(decode).map(|d| format!("{} {}", d.protocol, d.line)).collect()
}

fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find_map(|field| if field.name == name { Some(field) } else { find(&field.fields, name) })
}

#[test]
fn a_boot_reads_as_a_story() {
    let told = lines(&Story::healthy());
    let expected = [
        "DHCP DISCOVER of 52:54:00:00:00:01, PXE firmware uefi-x64",
        "DHCP OFFER to 52:54:00:00:00:01, address 192.168.77.20, next server 192.168.77.1, file snponly.efi",
        "TFTP read snponly.efi tsize=0 blksize=1468",
        "TFTP error 8: User aborted",
        "TFTP agrees to blksize=1468",
        "TFTP block 2, 532 bytes",
        "TFTP acknowledges block 2",
        "TCP asks for a connection",
        "TCP connection accepted",
        "HTTP GET /media/debian/linux",
        "HTTP 200 OK",
        "iSCSI login, operational negotiation, on to full feature phase",
        "iSCSI login accepted, session 7",
        "TCP ends its side of the connection",
    ];
    for line in expected {
        assert!(told.iter().any(|t| t == line), "{line} is not in {told:#?}");
    }
}

#[test]
fn options_have_names_and_words() {
    let mut options = ROM.to_vec();
    options.extend([
        (43, &[6, 1, 8, 9, 7, 0, 0, 4, b'd', b'i', b's', b'k', 255][..]),
        (82, b"\x01\x04eth7\x05\x04\x0a\x00\x00\x00"),
        (175, b"\xb1\x05\x01\x80\x86\x10\x0e\xeb\x03\x01\x15\x01\xbf\x02pw"),
        (51, &[0, 0, 7, 8]),
        (3, &[192, 168, 77, 1, 192, 168, 77, 2]),
    ]);
    let decoded = decode(&packet(0, dhcp_up(&dhcp(1, 1, &options))));
    let value =
        |name: &str| find(&decoded.fields, name).unwrap_or_else(|| panic!("{name}: {decoded:#?}")).value.clone();
    assert_eq!(value("53 message type"), "DISCOVER");
    assert_eq!(value("60 vendor class"), "PXEClient:Arch:00007:UNDI:003016");
    assert_eq!(value("93 client architecture"), "7 (uefi-x64)");
    assert_eq!(value("97 machine UUID"), "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(value("6 discovery control"), "8 (file by name)");
    assert_eq!(value("9 menu"), "0: disk");
    assert_eq!(value("1 circuit"), "eth7");
    assert_eq!(value("5 link"), "10.0.0.0");
    assert_eq!(value("177 bus-id"), "type 1, vendor 8086, device 100e");
    assert_eq!(value("235 version"), "1.21.1");
    assert_eq!(value("191 password"), "(secret)");
    assert_eq!(value("51 lease time"), "1800 s");
    assert_eq!(value("3 router"), "192.168.77.1, 192.168.77.2");
}

#[test]
fn a_machine_s_text_is_made_harmless() {
    let evil = udp(Ends::up(2000, 69), b"\0\x01\x1b[31mred\n\xe2\x80\xae\0octet\0");
    let line = decode(&packet(0, evil)).line;
    assert_eq!(line, "read \u{fffd}[31mred\u{fffd}\u{fffd}");
    let long = [&b"\0\x01"[..], &[b'a'; 300], b"\0octet\0"].concat();
    assert!(decode(&packet(0, udp(Ends::up(2000, 69), &long))).line.chars().count() < 140);
}

#[test]
fn refusals_say_what_they_refuse() {
    let asked = udp(Ends::up(2000, 69), b"\0\x01f\0octet\0");
    assert_eq!(decode(&packet(0, unreachable(&asked))).line, "port unreachable: UDP 69 of 192.168.77.1");
    let reset = tcp(Ends::down(3260, 50000), 0, 1, "RA", &[]);
    assert_eq!(decode(&packet(0, reset)).line, "refuses or ends the connection at once (RST)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_frame_is_harmless(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::trace::fuzz_frame(&bytes);
    }

    #[test]
    fn a_damaged_frame_is_harmless(which in 0usize..60, at in 0usize..400, value: u8, cut in 0usize..1500) {
        let story = Story::healthy();
        let mut bytes = story.packets[which % story.packets.len()].data.clone();
        let len = bytes.len();
        bytes[at % len] = value;
        crate::trace::fuzz_frame(&bytes);
        crate::trace::fuzz_frame(&bytes[..cut.min(len)]);
    }
}
