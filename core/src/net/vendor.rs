//! Who made a network card, by the first half of its hardware address: the IEEE's listing, as `assets/vendors.txt` has it.

use std::sync::LazyLock;

use super::MacAddr;

/// `NAME`, a tab, then the prefixes of its addresses in hexadecimal with spaces between; a line a maker.
const LISTING: &str = include_str!("../../../assets/vendors.txt");

/// What a listing of makers does not tell: the addresses of virtual machines, some of which are nobody's by the IEEE's rules.
const VIRTUAL: [(u32, &str); 4] =
    [(0x52_54_00, "QEMU"), (0x08_00_27, "VirtualBox"), (0x00_15_5d, "Hyper-V"), (0x00_16_3e, "Xen")];

/// Sorted by prefix.
static TABLE: LazyLock<Vec<(u32, &'static str)>> = LazyLock::new(|| {
    let mut table: Vec<_> = LISTING.lines().flat_map(of_line).collect();
    table.sort_unstable_by_key(|(prefix, _)| *prefix);
    table
});

fn of_line(line: &'static str) -> impl Iterator<Item = (u32, &'static str)> {
    let (name, prefixes) = line.split_once('\t').unwrap_or_default();
    prefixes.split(' ').filter_map(move |p| Some((u32::from_str_radix(p, 16).ok()?, name)))
}

/// The maker of this card, or what its virtual machine runs on; `None` where the listing does not say.
#[must_use]
pub fn vendor(mac: MacAddr) -> Option<&'static str> {
    let [a, b, c, ..] = mac.0;
    let prefix = u32::from_be_bytes([0, a, b, c]);
    if let Some((_, name)) = VIRTUAL.iter().find(|(p, _)| *p == prefix) {
        return Some(name);
    }
    let at = TABLE.binary_search_by_key(&prefix, |(p, _)| *p).ok()?;
    TABLE.get(at).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_are_known_by_the_first_half_of_an_address() {
        let of = |mac: &str| vendor(mac.parse().unwrap());
        assert_eq!(of("b8:27:eb:12:34:56"), Some("Raspberry Pi"));
        assert_eq!(of("00:06:5b:00:00:01"), Some("Dell"));
        assert_eq!(of("52:54:00:00:00:01"), Some("QEMU"), "an address of nobody's that everybody knows");
        assert_eq!(of("02:00:00:00:00:01"), None);
    }

    #[test]
    fn every_line_of_the_listing_is_read_and_no_prefix_stands_twice() {
        for line in LISTING.lines() {
            let (name, prefixes) = line.split_once('\t').unwrap();
            assert!(!name.is_empty() && name.len() <= 40, "{line}");
            assert_eq!(of_line(line).count(), prefixes.split(' ').count(), "{line}");
        }
        assert!(TABLE.len() > 10_000);
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
