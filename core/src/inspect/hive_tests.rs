use super::maker::NewKey;
use super::*;
use crate::inspect::windows::read_system;

/// A Windows as setup leaves it on a local disk, but for what `change` makes of its services.
pub(in crate::inspect) fn system(change: impl FnOnce(NewKey) -> NewKey) -> Vec<u8> {
    let service = |name: &str, start, flags| NewKey::new(name).number("Start", start).number("BootFlags", flags);
    let services = NewKey::new("Services")
        .with(service("NDIS", 0, 1).number("Type", 1).text("Group", "NDIS Wrapper"))
        .with(service("Tcpip", 0, 1))
        .with(service("iScsiPrt", 3, 1))
        .with(service("disk", 0, 0));
    NewKey::new("ROOT")
        .with(NewKey::new("Select").number("Current", 2).number("Default", 2).number("LastKnownGood", 1))
        .with(NewKey::new("ControlSet001").with(NewKey::new("Services")))
        .with(NewKey::new("ControlSet002").with(change(services)))
        .hive()
}

#[test]
fn keys_and_values_are_found_whatever_their_case() {
    let bytes = system(|s| s);
    let hive = Hive::new(&bytes).unwrap();
    let key = hive.key("controlset002\\SERVICES\\iscsiprt").unwrap();
    assert_eq!((key.number("start"), key.number("BOOTFLAGS"), key.number("Type")), (Some(3), Some(1), None));
    let ndis = hive.key("ControlSet002\\Services\\NDIS").unwrap();
    assert_eq!(ndis.text("Group").as_deref(), Some("NDIS Wrapper"));
    assert_eq!(ndis.text("Start"), None, "a number is no text");
    assert!(hive.key("ControlSet002\\Services\\absent").is_none());
    let names: Vec<String> =
        hive.key("ControlSet002\\Services").unwrap().children().iter().filter_map(Key::name).collect();
    assert_eq!(names, ["disk", "iScsiPrt", "NDIS", "Tcpip"], "more than three are in a list of lists");
}

#[test]
fn the_control_set_in_force_says_what_starts() {
    let card = |name: &str, start, flags| {
        NewKey::new(name).number("Start", start).number("BootFlags", flags).number("Type", 1).text("Group", "NDIS")
    };
    let bytes =
        system(|s| s.with(card("e1dexpress", 3, 1)).with(card("netkvm", 3, 0)).with(card("NdisVirtualBus", 3, 0)));
    let found = read_system(&bytes).unwrap();
    assert_eq!(found.control_set, "ControlSet002");
    let cards: Vec<(&str, bool)> = found.cards.iter().map(|c| (c.name.as_str(), c.at_boot())).collect();
    assert_eq!(cards, [("e1dexpress", true), ("netkvm", false)]);
    assert!(found.service("NDIS").unwrap().at_boot() && found.service("iscsiprt").unwrap().at_boot());
    assert!(found.service("MSiSCSI").is_none());
}

#[test]
fn a_list_that_contains_itself_ends() {
    let mut bytes = system(|s| s);
    let root = bytes.le32(36).unwrap() as usize + BASE + 4;
    // The root's list of keys becomes a list of lists, each of which is the list.
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let list = (bytes.len() - BASE) as u32;
    bytes[root + 28..root + 32].copy_from_slice(&list.to_le_bytes());
    bytes.extend((-(8 + 65_535 * 4_i32)).to_le_bytes());
    bytes.extend(*b"ri\xff\xff");
    bytes.extend(list.to_le_bytes().repeat(65_535));
    assert!(Hive::new(&bytes).unwrap().root().unwrap().children().len() <= MOST_KEYS as usize);
}

proptest::proptest! {
    #[test]
    fn a_damaged_hive_is_told_and_nothing_else(at: Vec<(proptest::sample::Index, u8)>, cut: proptest::sample::Index) {
        let mut bytes = system(|s| s.with(NewKey::new("e1i65x64").number("Start", 0).text("Group", "NDIS")));
        let len = bytes.len();
        for (index, byte) in at {
            bytes[index.index(len)] = byte;
        }
        fuzz(&bytes);
        fuzz(&bytes[..cut.index(len)]);
    }
}
