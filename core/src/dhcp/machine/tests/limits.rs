//! Floods and large networks cost little.

use super::*;
use crate::machine::Machine;

fn mac(n: u32) -> MacAddr {
    let [a, b, c, d] = n.to_be_bytes();
    MacAddr([2, 9, a, b, c, d])
}

#[test]
fn a_whole_class_a_costs_no_more_than_its_clients() {
    let mut lab = lab();
    lab.networks[0].ranges.clear();
    let mut plan = (*plan_of(lab, Mode::Dhcp)).clone();
    plan.networks[0].address = "10.0.0.1/8".parse().unwrap();
    let mut b = Bench::restored(Arc::new(plan), vec![]);
    let start = std::time::Instant::now();
    for n in 0..1000 {
        let (_, offer) = b.send(&discover(mac(n))).unwrap();
        b.send(&{
            let mut packet = selecting(mac(n), offer.yiaddr);
            packet.set(code::SERVER_ID, [10, 0, 0, 1]);
            packet
        })
        .unwrap();
    }
    // A walk over the range for each would take minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn forged_discovers_leave_bounded_offers_and_events_and_the_leases_alone() {
    let mut lab = lab();
    lab.networks[0].ranges = vec!["192.168.2.20-192.168.2.200".parse().unwrap()];
    let mut plan = (*plan_of(lab, Mode::Dhcp)).clone();
    plan.networks[0].address = "192.168.2.1/16".parse().unwrap();
    Arc::make_mut(&mut plan.lab).networks[0].ranges = vec!["192.168.0.20-192.168.250.0".parse().unwrap()];
    let mut b = Bench::restored(Arc::new(plan), vec![]);
    let address = b.dora(ALICE);
    for n in 0..20_000 {
        b.send(&discover(mac(n)));
    }
    assert!(b.machine.leases.size() <= 4096 + 1, "{}", b.machine.leases.size());
    assert!(b.events.len() < 2000, "{}", b.events.len());
    assert!(b.send(&rebooting(ALICE, address)).is_some());
    b.wait(120);
    b.machine.handle(b.now, Input::Tick);
    assert_eq!(b.machine.leases.size(), 1, "offers that lapsed are forgotten");
}

#[test]
fn a_full_range_gives_way_to_a_client_once_offers_are_ten_seconds_old() {
    let mut b = Bench::new();
    for n in 0..10 {
        assert!(b.send(&discover(mac(n))).is_some());
    }
    assert!(b.send(&discover(ALICE)).is_none());
    b.wait(11);
    assert!(b.send(&discover(ALICE)).is_some());
}

#[test]
fn the_deadline_comes_with_the_first_offer_and_goes_with_the_last() {
    let mut b = Bench::new();
    assert_eq!(b.machine.deadline(), None);
    b.send(&discover(ALICE));
    let deadline = b.machine.deadline().unwrap();
    assert!(deadline > b.now.boot && deadline <= b.now.boot + Duration::from_secs(60));
    b.wait(61);
    b.input(Input::Tick);
    b.wait(61);
    b.input(Input::Tick);
    assert_eq!(b.machine.deadline(), None);
}
