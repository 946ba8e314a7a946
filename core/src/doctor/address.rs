//! Our address on each network: that there is one, that the range fits it, and that no other interface has the same network.

use super::{About, Check, Facts, Fix, Place, Row, State, kernel, shell_word};
use crate::lab::Mode;
use crate::lang::Param;
use crate::net::{self, Ipv4Cidr, Ipv4Range};

pub(super) struct Address;

impl Check for Address {
    fn name(&self) -> &'static str {
        "address"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        facts.places.iter().filter_map(|place| of(facts, place)).collect()
    }
}

fn of(facts: &Facts, place: &Place) -> Option<Row> {
    let interface = place.interface.as_ref()?;
    let name = interface.name.as_str();
    let about = About("address", name);
    let Some(address) = place.address() else {
        let command = format!("sudo ip address add 192.168.7.1/24 dev {}", shell_word(name));
        let undo = format!("sudo ip address del 192.168.7.1/24 dev {}", shell_word(name));
        let fix = Fix::command("address", &[("interface", &name)], command).undone_by(undo);
        return Some(about.row("none", State::Failed, &[("interface", &name)]).with(fix));
    };
    let others = facts.interfaces.iter().filter(|i| i.name != name && i.up);
    for other in others {
        if let Some(theirs) = other.addresses.iter().find(|theirs| overlap(address, **theirs)) {
            let words: [Param<'_>; 4] =
                [("interface", &name), ("address", &address), ("other", &other.name), ("theirs", theirs)];
            if address.network() == theirs.network() && address.prefix == theirs.prefix {
                return Some(same_network(&about, name, &other.name, address, &words));
            }
            let command = format!("sudo ip address del {theirs} dev {}", shell_word(&other.name));
            let undo = format!("sudo ip address add {theirs} dev {}", shell_word(&other.name));
            let fix = Fix::command("take-address", &words, command).undone_by(undo);
            return Some(about.row("overlaps", State::Failed, &words).with(fix));
        }
    }
    if place.network.mode == Mode::Proxy {
        return Some(about.row("proxy", State::Ok, &[("interface", &name), ("address", &address)]));
    }
    if let Some(range) = place.network.ranges.iter().find(|range| !fits(address, **range)) {
        let subnet = Ipv4Cidr { address: address.network(), prefix: address.prefix };
        let words: [Param<'_>; 3] = [("interface", &name), ("range", range), ("subnet", &subnet)];
        return Some(about.row("range", State::Failed, &words));
    }
    let size: u64 = match place.network.ranges.is_empty() {
        true => (1u64 << (32 - u32::from(address.prefix.min(32)))).saturating_sub(3),
        false => place.network.ranges.iter().map(|r| r.count()).sum(),
    };
    if size == 0 {
        return Some(about.row("no-room", State::Failed, &[("interface", &name), ("address", &address)]));
    }
    let held = interface.addresses.is_empty() && place.serving.is_none();
    let case = if held { "held" } else { "fits" };
    Some(about.row(case, State::Ok, &[("interface", &name), ("address", &address), ("size", &size)]))
}

/// Two interfaces in one network, as cable and Wi-Fi at one router. Our sockets belong to one interface, so that answers leave through it
/// whatever the routes say; what can go wrong is the kernel's share.
fn same_network(about: &About<'_>, name: &str, other: &str, address: Ipv4Cidr, words: &[Param<'_>]) -> Row {
    let elsewhere = || net::way_to(address).is_some_and(|way| way != name);
    match share(kernel::is_strict(name) && elsewhere(), kernel::answers_for_others(other)) {
        Share::Drops => {
            let command = format!("sudo sysctl -w net.ipv4.conf.{}.rp_filter=2", shell_word(&name.replace('.', "/")));
            let undo = command.replace("=2", "=1");
            let fix = Fix::command("loose", words, command).undone_by(undo);
            about.row("same-network", State::Failed, words).with(fix)
        }
        Share::AnswersWrongly => {
            let key = format!("net.ipv4.conf.{}.arp_ignore", shell_word(&other.replace('.', "/")));
            let command = format!("sudo sysctl -w {key}=1");
            let fix = Fix::command("own-arp", words, command).undone_by(format!("sudo sysctl -w {key}=0"));
            about.row("both-answer", State::Warning, words).with(fix)
        }
        Share::None => about.row("beside-another", State::Ok, words),
    }
}

/// What the kernel does with machines' packets where two interfaces are in one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// It drops what comes in, because its own way back leads through the other.
    Drops,
    /// It may give the other interface's hardware address for ours.
    AnswersWrongly,
    /// Nothing that matters.
    None,
}

fn share(drops: bool, answers_for_others: Option<bool>) -> Share {
    match (drops, answers_for_others) {
        (true, _) => Share::Drops,
        (false, Some(false)) => Share::None,
        // Every system does unless it is told not to.
        (false, _) => Share::AnswersWrongly,
    }
}

fn overlap(a: Ipv4Cidr, b: Ipv4Cidr) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

fn fits(address: Ipv4Cidr, range: Ipv4Range) -> bool {
    address.contains(range.first()) && address.contains(range.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cable_and_wifi_in_one_network_fail_only_where_the_kernel_drops() {
        assert_eq!(share(true, Some(false)), Share::Drops);
        assert_eq!(share(false, Some(true)), Share::AnswersWrongly);
        assert_eq!(share(false, None), Share::AnswersWrongly);
        assert_eq!(share(false, Some(false)), Share::None);
    }

    #[test]
    fn networks_overlap_where_one_holds_the_other() {
        let cidr = |text: &str| text.parse::<Ipv4Cidr>().unwrap();
        assert!(overlap(cidr("192.168.2.1/24"), cidr("192.168.2.130/25")));
        assert!(overlap(cidr("192.168.2.130/25"), cidr("192.168.2.1/24")));
        assert!(overlap(cidr("10.0.0.1/8"), cidr("10.200.0.7/16")));
        assert!(!overlap(cidr("192.168.2.1/24"), cidr("192.168.3.1/24")));
        assert!(fits(cidr("10.0.0.1/24"), "10.0.0.5-10.0.0.9".parse().unwrap()));
        assert!(!fits(cidr("10.0.0.1/24"), "10.0.0.200-10.0.1.9".parse().unwrap()));
    }
}
