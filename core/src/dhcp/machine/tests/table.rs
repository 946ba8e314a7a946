//! RFC 2131's server as a table: what is known of a client and an address, against what the client sends about that address.

use super::*;

/// What the server knows of ALICE and the address, 192.168.2.20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Offered,
    Bound,
    Expired,
    Released,
    Declined,
    /// BOB holds it.
    Others,
}

/// What ALICE sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    Discover,
    /// REQUEST with our server identifier.
    Selecting,
    /// REQUEST with another server's.
    SelectingOther,
    /// REQUEST without one, of the address.
    InitReboot,
    /// The same, of an address of another network.
    InitRebootElsewhere,
    /// REQUEST with the address in `ciaddr`, from it.
    Renewing,
    /// The same by broadcast, when its server did not answer.
    Rebinding,
    Decline,
    Release,
    Inform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// An offer of the address.
    Offer,
    /// An offer of another one.
    OfferOther,
    Ack,
    /// Without address and lease time.
    AckBare,
    Nak,
    Nothing,
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 20);

fn bench(known: Known) -> Bench {
    let mut b = Bench::new();
    let holder = if known == Known::Others { BOB } else { ALICE };
    let mut wish = discover(holder);
    wish.set(code::REQUESTED, ADDRESS.octets());
    if known != Known::Nothing {
        assert_eq!(b.send(&wish).unwrap().1.yiaddr, ADDRESS);
    }
    if !matches!(known, Known::Nothing | Known::Offered) {
        assert_eq!(message(&b.send(&selecting(holder, ADDRESS)).unwrap().1), MessageType::Ack);
    }
    match known {
        Known::Expired => b.wait(86_401),
        Known::Released => drop(b.send_to(67, "192.168.2.20:68", &request(Sends::Release))),
        Known::Declined => drop(b.send(&request(Sends::Decline))),
        _ => {}
    }
    b
}

fn request(sends: Sends) -> Packet {
    let with_ciaddr = |message| Packet { ciaddr: ADDRESS, ..packet(ALICE, Some(message)) };
    match sends {
        Sends::Discover => discover(ALICE),
        Sends::Selecting => selecting(ALICE, ADDRESS),
        Sends::SelectingOther => {
            let mut other = selecting(ALICE, ADDRESS);
            other.set(code::SERVER_ID, [192, 168, 2, 77]);
            other
        }
        Sends::InitReboot => rebooting(ALICE, ADDRESS),
        Sends::InitRebootElsewhere => rebooting(ALICE, ip("10.77.0.5")),
        Sends::Renewing | Sends::Rebinding => with_ciaddr(MessageType::Request),
        Sends::Decline => {
            let mut decline = packet(ALICE, Some(MessageType::Decline));
            decline.set(code::REQUESTED, ADDRESS.octets());
            decline.set(code::SERVER_ID, SERVER.octets());
            decline
        }
        Sends::Release => {
            let mut release = with_ciaddr(MessageType::Release);
            release.set(code::SERVER_ID, SERVER.octets());
            release
        }
        Sends::Inform => with_ciaddr(MessageType::Inform),
    }
}

fn what(reply: Option<(Reply, Packet)>, sends: Sends) -> Comes {
    let Some((reply, packet)) = reply else { return Comes::Nothing };
    let address = packet.yiaddr == ADDRESS;
    match message(&packet) {
        MessageType::Offer if address => Comes::Offer,
        MessageType::Offer => Comes::OfferOther,
        MessageType::Ack if address => {
            assert!(packet.option(code::LEASE_TIME).is_some(), "table 3: an address has its lease time");
            let at = Destination::Unicast(SocketAddrV4::new(ADDRESS, 68));
            let uses = matches!(sends, Sends::Renewing | Sends::Rebinding);
            assert_eq!(reply.destination == at, uses, "4.1: to ciaddr if there is one");
            Comes::Ack
        }
        MessageType::Ack => {
            assert!(packet.option(code::LEASE_TIME).is_none() && packet.yiaddr.is_unspecified(), "4.3.5");
            Comes::AckBare
        }
        MessageType::Nak => {
            assert_eq!(reply.destination, Destination::Broadcast, "4.1: a NAK is always broadcast");
            assert!(packet.yiaddr.is_unspecified() && packet.ciaddr.is_unspecified(), "table 3");
            Comes::Nak
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_message_in_each_state() {
    use Comes::{Ack, AckBare, Nak, Nothing, Offer, OfferOther};
    use Sends::*;
    let columns =
        [Known::Nothing, Known::Offered, Known::Bound, Known::Expired, Known::Released, Known::Declined, Known::Others];
    // Nothing, Offered, Bound, Expired, Released, Declined, Others.
    let table = [
        // 4.3.1: the current address, the former one, the one asked for, a new one, in this order.
        (Discover, [OfferOther, Offer, Offer, Offer, Offer, OfferOther, OfferOther], "4.3.1"),
        // Ours may be an offer of before a restart; what somebody else has is refused.
        (Selecting, [Ack, Ack, Ack, Ack, Ack, Nak, Nak], "4.3.2, SELECTING"),
        (SelectingOther, [Nothing; 7], "4.3.2: another server was chosen"),
        (InitReboot, [Nothing, Ack, Ack, Ack, Ack, Nak, Nak], "4.3.2, INIT-REBOOT: no record, no answer"),
        (InitRebootElsewhere, [Nak; 7], "4.3.2, INIT-REBOOT: on the wrong network"),
        (Renewing, [Nothing, Ack, Ack, Ack, Ack, Nak, Nak], "4.3.2, RENEWING"),
        (Rebinding, [Nothing, Ack, Ack, Ack, Ack, Nak, Nak], "4.3.2, REBINDING"),
        (Decline, [Nothing; 7], "4.3.3"),
        (Release, [Nothing; 7], "4.3.4"),
        (Inform, [AckBare; 7], "4.3.5"),
    ];
    for (sends, expected, clause) in table {
        for (known, expected) in columns.into_iter().zip(expected) {
            let mut b = bench(known);
            let source = if matches!(sends, Renewing | Release | Inform) { "192.168.2.20:68" } else { "0.0.0.0:68" };
            let came = b.send_to(67, source, &request(sends));
            assert_eq!(what(came, sends), expected, "{known:?}, {sends:?}: {clause}");
        }
    }
}

#[test]
fn what_takes_an_address_back_does_so_for_its_holder_alone() {
    for (sends, then, clause) in [
        (Sends::Decline, LeaseState::Declined, "4.3.3: not available"),
        (Sends::Release, LeaseState::Released, "4.3.4: not allocated"),
    ] {
        for known in [Known::Bound, Known::Others] {
            let mut b = bench(known);
            b.send_to(67, "192.168.2.20:68", &request(sends));
            let expected = if known == Known::Bound { then } else { LeaseState::Bound };
            assert_eq!(state_of(&b, ADDRESS), Some(expected), "{known:?}, {sends:?}: {clause}");
        }
    }
}

#[test]
fn who_takes_another_server_s_offer_is_told() {
    let mut b = bench(Known::Offered);
    b.events.clear();
    b.send_to(67, "0.0.0.0:68", &request(Sends::SelectingOther));
    assert!(matches!(b.events[..], [EventKind::DhcpElsewhere { .. }]), "{:?}", b.events);
}
