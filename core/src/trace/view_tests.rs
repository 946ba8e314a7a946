use super::*;
use crate::trace::testing::{CLIENT, Ends, SERVER, THEM, US, bpdu, tcp, udp, unreachable};

#[test]
fn a_segment_cut_anywhere_keeps_its_length_on_the_wire() {
    let frame = tcp(Ends::up(50000, 80), 7, 9, "A", &[1; 100]);
    for cut in 54..frame.len() {
        let Some(View { body: Body::Ip { transport: Transport::Tcp(tcp), .. }, .. }) = read(&frame[..cut], frame.len())
        else {
            panic!("{cut} bytes are no segment")
        };
        assert_eq!((tcp.len, tcp.payload.len(), tcp.seq, tcp.ack), (100, cut - 54, 7, Some(9)));
    }
    for cut in 0..54 {
        let _any_answer_will_do = read(&frame[..cut], frame.len());
    }
}

#[test]
fn large_send_offload_leaves_no_length_in_the_header() {
    let mut frame = tcp(Ends::down(80, 50000), 7, 9, "A", &[1; 100]);
    frame[16..18].fill(0);
    let Some(View { body: Body::Ip { transport: Transport::Tcp(tcp), .. }, .. }) = read(&frame, 70_000) else {
        panic!()
    };
    assert_eq!(tcp.len, 70_000 - 54);
}

#[test]
fn padding_of_a_short_frame_is_no_payload_and_a_tag_is_looked_through() {
    let mut frame = udp(Ends::up(2000, 69), b"ab");
    frame.resize(60, 0);
    let datagram = |frame: &[u8]| match read(frame, frame.len()) {
        Some(View { vlan, body: Body::Ip { transport: Transport::Udp(udp), .. }, .. }) => {
            (vlan, udp.len, udp.payload.to_vec())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(datagram(&frame), (None, 2, b"ab".to_vec()));
    let tagged = [&frame[..12], &[0x81, 0, 0xe0, 5], &frame[12..]].concat();
    assert_eq!(datagram(&tagged), (Some(5), 2, b"ab".to_vec()));
}

#[test]
fn an_error_names_what_it_is_about_and_a_bridge_is_known() {
    let frame = unreachable(&udp(Ends::up(2000, 69), b"x"));
    let Some(View { body: Body::Ip { transport: Transport::Icmp(icmp), .. }, .. }) = read(&frame, frame.len()) else {
        panic!()
    };
    let quoted = icmp.unreachable().unwrap();
    assert_eq!((quoted.protocol, quoted.from, quoted.to), (17, (CLIENT.into(), 2000), (SERVER.into(), 69)));
    let frame = bpdu(THEM, 15);
    assert!(matches!(read(&frame, 60), Some(View { body: Body::Bpdu(_), from: THEM, .. })));
    assert_eq!(read(&US.0, 6), None);
}
