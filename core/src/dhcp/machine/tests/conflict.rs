//! Addresses that somebody uses who did not get them from us.

use super::*;

const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

fn answers(b: &mut Bench, address: Ipv4Addr, mac: MacAddr) {
    b.input(Input::InUse { network: 0, address, mac });
}

fn conflicts(b: &Bench) -> Vec<bool> {
    let withheld = |e: &EventKind| match e {
        EventKind::DhcpConflict { withheld, .. } => Some(*withheld),
        _ => None,
    };
    b.events.iter().filter_map(withheld).collect()
}

#[test]
fn an_offer_is_asked_for_by_arp_and_waits_for_nothing() {
    let mut b = Bench::new();
    let (reply, offer) = b.send(&discover(ALICE)).unwrap();
    assert_eq!(reply.probe, Some(offer.yiaddr));
    assert_eq!(b.send(&discover(ALICE)).unwrap().0.probe, Some(offer.yiaddr), "asked again with each repetition");
    let (reply, _) = b.send(&selecting(ALICE, offer.yiaddr)).unwrap();
    assert_eq!(reply.probe, None);
    assert_eq!(b.send(&discover(ALICE)).unwrap().0.probe, None, "it holds the address");
    let mut relayed = discover(BOB);
    relayed.giaddr = ip("192.168.2.9");
    assert_eq!(b.send(&relayed).unwrap().0.probe, None, "ARP does not pass a relay");
}

#[test]
fn an_address_in_use_is_withheld_and_the_client_gets_another() {
    let mut b = Bench::new();
    let taken = b.send(&discover(ALICE)).unwrap().1.yiaddr;
    answers(&mut b, taken, STRANGER);
    assert_eq!(conflicts(&b), [true]);
    assert_eq!(state_of(&b, taken), Some(LeaseState::Declined), "a restart does not forget it");
    let (_, nak) = b.send(&selecting(ALICE, taken)).unwrap();
    assert_eq!(message(&nak), MessageType::Nak);
    assert_ne!(b.dora(ALICE), taken);
}

#[test]
fn its_own_client_may_answer_and_a_lease_is_never_taken_away() {
    let mut b = Bench::new();
    let address = b.send(&discover(ALICE)).unwrap().1.yiaddr;
    answers(&mut b, address, ALICE);
    assert_eq!(b.dora(ALICE), address);
    for _ in 0..3 {
        answers(&mut b, address, STRANGER);
    }
    assert_eq!(conflicts(&b), [false], "said once");
    let (_, ack) = b.send(&renewing(ALICE, address)).unwrap();
    assert_eq!(message(&ack), MessageType::Ack);
    answers(&mut b, ip("192.168.2.200"), STRANGER);
    answers(&mut b, ip("10.0.0.1"), STRANGER);
    assert_eq!(conflicts(&b).len(), 1, "of addresses that are not ours to give nothing is known");
}

#[test]
fn who_answers_for_everybody_withholds_little() {
    let mut lab = lab();
    lab.networks[0].ranges = vec!["192.168.2.20-192.168.2.99".parse().unwrap()];
    let mut b = Bench::with(lab, Mode::Dhcp);
    for n in 0..40 {
        let Some((_, offer)) = b.send(&discover(MacAddr([2, 0, 0, 0, 3, n]))) else { break };
        answers(&mut b, offer.yiaddr, STRANGER);
    }
    let withheld = b.records.iter().filter(|r| r.state == LeaseState::Declined).count();
    assert!(
        withheld <= super::super::limits::Answered::ADDRESSES,
        "{withheld} addresses withheld because of one proxy"
    );
    b.dora(ALICE);
    // Forged answers for every offer withhold no more than some, in an hour.
    let mut declined = 0;
    for n in 0..60_u8 {
        let Some((_, offer)) = b.send(&discover(MacAddr([2, 0, 0, 1, 3, n]))) else { break };
        for m in 0..200_u8 {
            answers(&mut b, offer.yiaddr, MacAddr([4, 0, 0, n, 0, m]));
        }
        declined = b.records.iter().filter(|r| r.state == LeaseState::Declined).count();
    }
    assert!(
        declined <= super::super::limits::Answered::MACHINES + super::super::limits::Answered::ADDRESSES,
        "{declined}"
    );
}
