//! Whatever clients send, in whatever order, two live leases never share an address and nobody gets what is not to be given.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Discover(u8),
    Select(u8, u8),
    Reboot(u8, u8),
    Renew(u8, u8),
    Release(u8, u8),
    Decline(u8, u8),
    Bootp(u8),
    Wait(u16),
    Bytes(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let pair = || (0..8u8, 15..35u8);
    prop_oneof![
        4 => (0..8u8).prop_map(Step::Discover),
        4 => pair().prop_map(|(c, a)| Step::Select(c, a)),
        1 => pair().prop_map(|(c, a)| Step::Reboot(c, a)),
        1 => pair().prop_map(|(c, a)| Step::Renew(c, a)),
        1 => pair().prop_map(|(c, a)| Step::Release(c, a)),
        1 => pair().prop_map(|(c, a)| Step::Decline(c, a)),
        1 => (0..8u8).prop_map(Step::Bootp),
        1 => (0..700u16).prop_map(Step::Wait),
        1 => prop::collection::vec(any::<u8>(), 0..400).prop_map(Step::Bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_two_machines_hold_one_address(steps in prop::collection::vec(step(), 1..120)) {
        let mut b = Bench::new();
        let mut held: BTreeMap<Ipv4Addr, (MacAddr, Duration)> = BTreeMap::new();
        let mut offered = BTreeMap::new();
        for step in steps {
            let client = |c: u8| MacAddr([2, 0, 0, 0, 0, c]);
            let address = |a: u8| Ipv4Addr::new(192, 168, 2, a);
            let request = match step {
                Step::Wait(seconds) => { b.wait(seconds.into()); continue }
                Step::Bytes(bytes) => {
                    b.input(Input::Packet { network: 0, port: 67, source: "0.0.0.0:68".parse().unwrap(), bytes: &bytes });
                    continue;
                }
                Step::Discover(c) => discover(client(c)),
                Step::Select(c, a) => selecting(client(c), offered.get(&client(c)).copied().unwrap_or(address(a))),
                Step::Reboot(c, a) => rebooting(client(c), address(a)),
                Step::Renew(c, a) => renewing(client(c), address(a)),
                Step::Release(c, a) => Packet { ciaddr: address(a), ..packet(client(c), Some(MessageType::Release)) },
                Step::Decline(c, a) => {
                    let mut decline = packet(client(c), Some(MessageType::Decline));
                    decline.set(code::REQUESTED, address(a).octets());
                    decline
                }
                Step::Bootp(c) => packet(client(c), None),
            };
            let mac = MacAddr(request.chaddr[..6].try_into().unwrap());
            let reply = b.send(&request);
            for record in std::mem::take(&mut b.records) {
                if record.state != LeaseState::Bound && held.get(&record.address).is_some_and(|(m, _)| *m == record.mac) {
                    held.remove(&record.address);
                }
            }
            let Some((_, reply)) = reply else { continue };
            if reply.yiaddr.is_unspecified() {
                continue;
            }
            prop_assert!((20..=29).contains(&reply.yiaddr.octets()[3]));
            let holder = held.get(&reply.yiaddr).filter(|(_, ends)| *ends > b.now.boot);
            prop_assert!(holder.is_none_or(|(m, _)| *m == mac), "{} is {:?}", reply.yiaddr, holder);
            if reply.option(code::MESSAGE_TYPE) == Some(&[MessageType::Offer as u8]) {
                offered.insert(mac, reply.yiaddr);
            } else {
                let seconds = reply.option(code::LEASE_TIME).map_or(86_400, |v| u32::from_be_bytes(v.try_into().unwrap()));
                held.insert(reply.yiaddr, (mac, b.now.boot + Duration::from_secs(seconds.into())));
            }
        }
    }

    #[test]
    fn damaged_packets_are_answered_or_not_and_never_fatal(
        which in 0..6usize, arch in 0..30u16, proxy: bool, boot_port: bool,
        damage in prop::collection::vec((0..400usize, any::<u8>()), 0..8), cut in 200..600usize,
    ) {
        let mode = if proxy { Mode::Proxy } else { Mode::Dhcp };
        let mut b = Bench::with(lab(), mode);
        let mut relayed = Packet { giaddr: SERVER, ..pxe(ALICE, arch) };
        relayed.set(code::RELAY, [5, 4, 192, 168, 2, 1, 11, 4, 1, 2, 3, 4, 19, 0]);
        let base = [
            pxe(ALICE, arch), ipxe(ALICE, arch), relayed, selecting(ALICE, ip("192.168.2.20")),
            Packet { ciaddr: ip("192.168.2.9"), ..packet(ALICE, Some(MessageType::Inform)) }, packet(BOB, None),
        ];
        let mut bytes = base[which].encode(&[], 1472);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut);
        let port = if boot_port { 4011 } else { 67 };
        b.input(Input::Packet { network: 0, port, source: "192.168.2.9:68".parse().unwrap(), bytes: &bytes });
        for (reply, packet) in &b.replies {
            prop_assert!(reply.bytes.len() <= 1472 && packet.op == 2);
            prop_assert!(!proxy || packet.yiaddr.is_unspecified(), "a proxy gives no address");
        }
    }
}
