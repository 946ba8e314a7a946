use proptest::prelude::*;

use super::*;
use crate::lab::schema::{Allow, Chap, Install, InstallThen, IscsiBoot, IscsiVia, ProfileKind, Secret, Writes};

const FULL: &str = include_str!("../../../fuzz/corpus/lab/full.toml");

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn iscsi(disk: &str) -> Boot {
    Boot::Iscsi(IscsiBoot { disk: name(disk), profile: None, via: IscsiVia::Script, writes: None })
}

fn new(mac: &str) -> HostRef {
    HostRef::New { mac: mac.parse().unwrap(), uuid: None }
}

/// The text after one change.
fn changed(text: &str, edit: impl FnOnce(&mut Document) -> Result<(), LabError>) -> String {
    let mut document = Document::parse(text).unwrap();
    assert_eq!(document.text(), text);
    edit(&mut document).unwrap();
    document.text().to_owned()
}

/// The lines that one text has and the other has not.
fn difference<'t>(before: &'t str, after: &'t str) -> (Vec<&'t str>, Vec<&'t str>) {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = (old.len() - same_start).min(new.len() - same_start);
    let same_end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    (old[same_start..old.len() - same_end].to_vec(), new[same_start..new.len() - same_end].to_vec())
}

#[test]
fn an_assignment_changes_its_line_and_no_other() {
    let after = changed(FULL, |d| d.set_boot(HostRef::Entry(0), &Boot::Local));
    let (old, new) = difference(FULL, &after);
    assert_eq!(old.len(), 1);
    assert!(new[0].starts_with("boot = \"local\" ") && new[0].contains("# or {"), "{new:?}");
    let install = Boot::Install(Install { profile: name("debian-12"), then: InstallThen::Local });
    let after = changed(FULL, |d| d.set_boot(HostRef::Entry(1), &install));
    assert_eq!(difference(FULL, &after).1, ["boot = { install = \"debian-12\", then = \"local\" }"]);
}

#[test]
fn a_new_machine_gets_an_entry_at_the_end() {
    let text = "version = 1\n\n# Nothing here yet.\n";
    let after = changed(text, |d| d.set_boot(new("52:54:00:00:00:09"), &Boot::Wait));
    assert_eq!(after, format!("{text}\n[[host]]\nmac = \"52:54:00:00:00:09\"\nboot = \"wait\"\n"));
    let after = changed(&after, |d| d.set_name(new("52:54:00:00:00:0a"), Some(&name("b"))));
    assert!(after.ends_with("boot = \"wait\"\n\n[[host]]\nmac = \"52:54:00:00:00:0a\"\nname = \"b\"\n"), "{after}");
}

#[test]
fn another_group_has_no_seat_for_a_machine_yet() {
    let text = "version = 1\n[[host]]\nmac = \"52:54:00:00:00:01\"\ngroup = \"room-1\" # first floor\nseat = [2, 3]\n";
    let seat = Seat::at(4, 1);
    let after = changed(text, |d| d.set_seats(&[(HostRef::Entry(0), seat)]));
    assert_eq!(after, text.replace("[2, 3]", "[4, 1]"));
    assert_eq!(crate::lab::parse(&after).unwrap().hosts[0].seat, seat);
    assert_eq!(changed(text, |d| d.set_group(HostRef::Entry(0), Some(&name("room-1")))), text, "the same is no change");
    let after = changed(text, |d| d.set_group(HostRef::Entry(0), Some(&name("room-2"))));
    assert_eq!(after, "version = 1\n[[host]]\nmac = \"52:54:00:00:00:01\"\ngroup = \"room-2\" # first floor\n");
    let after = changed(&after, |d| d.set_group(HostRef::Entry(0), None));
    assert_eq!(after, "version = 1\n[[host]]\nmac = \"52:54:00:00:00:01\"\n");
}

#[test]
fn what_would_break_the_lab_is_refused_and_changes_nothing() {
    let mut document = Document::parse(FULL).unwrap();
    let error = document.set_boot(HostRef::Entry(0), &iscsi("server02")).unwrap_err().to_string();
    assert!(error.contains("there is no disk `server02`; did you mean `server01`"), "{error}");
    assert!(matches!(document.set_boot(HostRef::Entry(7), &Boot::Wait), Err(LabError::NoEntry)));
    assert!(matches!(document.set_boot(new("52:54:00:00:00:02"), &Boot::Wait), Err(LabError::Problems(_))));
    assert!(document.set_name(HostRef::Entry(1), Some(&name("server01"))).is_err());
    assert_eq!(document.text(), FULL);
    assert!(Document::parse("version = 1\nfoo = 1").is_err());
}

#[test]
fn whichever_way_boot_is_written_it_is_replaced() {
    let head = "version = 1\n[[disk]]\nname = \"a\"\nimage = \"a\"\n[[host]]\nmac = \"52:54:00:00:00:01\"\n";
    for old in ["boot.iscsi = \"a\"\n", "[host.boot]\niscsi = \"a\"\n", "boot = { iscsi = \"a\" }\n", ""] {
        let after = changed(&format!("{head}{old}"), |d| d.set_boot(HostRef::Entry(0), &Boot::Menu));
        assert_eq!(after, format!("{head}boot = \"menu\"\n"));
    }
    let inline = "version = 1\nhost = [{ mac = \"52:54:00:00:00:01\" }] # one\n";
    let after = changed(inline, |d| d.set_boot(HostRef::Entry(0), &Boot::Menu));
    assert_eq!(after, "version = 1\nhost = [{ mac = \"52:54:00:00:00:01\", boot = \"menu\" }] # one\n");
    let after = changed(&after, |d| d.set_boot(new("52:54:00:00:00:02"), &Boot::Wait));
    assert!(after.contains("}, { mac = \"52:54:00:00:00:02\", boot = \"wait\" }] # one"), "{after}");
}

#[test]
fn a_removed_host_takes_its_own_comment_with_it_and_no_other() {
    let text = "version = 1\n\n# Room 1\n\n# the broken one\n[[host]]\nmac = \"52:54:00:00:00:01\" # x\n\n\
                [[host]]\nmac = \"52:54:00:00:00:02\"\n\n# Room 2\n\n[[host]]\nmac = \"52:54:00:00:00:03\"\n# end\n";
    let after = changed(text, |d| d.remove_host(0));
    assert!(
        after.starts_with("version = 1\n\n# Room 1\n\n[[host]]\nmac = \"52:54:00:00:00:02\"\n\n# Room 2"),
        "{after}"
    );
    let after = changed(text, |d| d.remove_host(2));
    assert!(after.ends_with("mac = \"52:54:00:00:00:02\"\n\n# Room 2\n# end\n"), "{after}");
    let one = changed(&after, |d| d.remove_host(0).and_then(|()| d.remove_host(0)));
    assert!(one.contains("# Room 1") && one.contains("# Room 2") && !one.contains("host"), "{one}");
    assert!(matches!(Document::parse(&one).unwrap().remove_host(0), Err(LabError::NoEntry)));
}

#[test]
fn a_network_is_made_changed_and_joined_by_a_second() {
    let address: Ipv4Cidr = "192.168.7.1/24".parse().unwrap();
    let made = changed("version = 1\n", |d| d.set_network("eth0", Some(address), Mode::Auto));
    assert_eq!(made, "version = 1\n\n[network]\ninterface = \"eth0\"\naddress = \"192.168.7.1/24\"\nmode = \"auto\"\n");
    let proxy = changed(&made, |d| d.set_network("eth0", None, Mode::Proxy));
    assert_eq!(proxy, made.replace("auto", "proxy"));
    let second = changed(FULL, |d| d.set_network("eth1", None, Mode::Dhcp));
    let (old, new) = difference(FULL, &second);
    assert!(old[0].starts_with("[network] ") && new[0].starts_with("[[network]] "), "{old:?} {new:?}");
    assert!(second.ends_with("\n[[network]]\ninterface = \"eth1\"\nmode = \"dhcp\"\n"));
    let lab = parse(&second).unwrap();
    assert_eq!((lab.networks.len(), lab.networks[0].subnets.len()), (2, 1));
    let inline = "version = 1\nnetwork = { interface = \"a\" }\n";
    let both = changed(inline, |d| d.set_network("b", None, Mode::Dhcp));
    assert_eq!(parse(&both).unwrap().networks.len(), 2);
}

#[test]
fn disks_and_profiles_are_read_as_they_were_added() {
    let disk = Disk {
        name: name("win"),
        image: "win.raw".into(),
        iqn: "iqn.2001-04.com.example:win".into(),
        size: None,
        writes: Writes::Fresh,
        chap: Some(Chap {
            user: "u".into(),
            secret: Secret::new("0123456789\"\\".into()),
            mutual: Some(("t".into(), Secret::new("ba9876543210".into()))),
        }),
        allow: vec![Allow::Net("10.0.0.1/32".parse().unwrap()), Allow::Initiator("iqn.x".into())],
        readonly: true,
        removable: false,
        redirect: None,
    };
    let profile = Profile {
        name: name("xen"),
        kernel: "xen/linux".into(),
        initrds: vec!["xen/a".into(), "xen/b".into()],
        args: "console=ttyS0 \"quoted\"".into(),
        answers: Some("xen.cfg".into()),
        kind: Some(ProfileKind::Kickstart),
        arch: vec![crate::boot::Arch::Bios],
        hypervisor: Some("/srv/xen".into()),
        hypervisor_efi: Some("/srv/xen.efi".into()),
        hypervisor_args: "dom0_mem=1G".into(),
        iscsi_args: Some(IscsiArgs::Dracut),
    };
    let mut document = Document::parse(FULL).unwrap();
    document.add_disk(&disk).unwrap();
    document.add_profile(&profile).unwrap();
    assert!(document.text().starts_with(FULL));
    let lab = parse(document.text()).unwrap();
    assert_eq!((lab.disks.last(), lab.profiles.last()), (Some(&disk), Some(&profile)));
    assert!(document.add_disk(&disk).is_err(), "the name is taken");
}

#[test]
fn line_ends_and_byte_order_mark_stay() {
    let text = "\u{feff}version = 1\r\n[[host]]\r\nmac = \"52:54:00:00:00:01\" # dock\r\n";
    let after = changed(text, |d| d.set_boot(HostRef::Entry(0), &Boot::Wait));
    assert_eq!(after, format!("{text}boot = \"wait\"\r\n"));
}

#[test]
fn mixed_line_ends_and_a_missing_last_one_stay() {
    let text = "version = 1\n[[host]]\r\nmac = \"52:54:00:00:00:01\"\nboot = \"menu\"\r\n[[host]]\nmac = \"52:54:00:00:00:02\"";
    let after = changed(text, |d| d.set_boot(HostRef::Entry(0), &Boot::Wait));
    assert_eq!(after, text.replace("\"menu\"\r\n", "\"wait\"\n"));
    let after = changed(text, |d| d.set_boot(HostRef::Entry(1), &Boot::Wait));
    assert_eq!(after, format!("{text}\nboot = \"wait\"\n"));
}

fn word() -> impl Strategy<Value = Boot> {
    prop_oneof![Just(Boot::Local), Just(Boot::Wait), Just(Boot::Menu), Just(iscsi("a"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Lines of a valid file in any order and number: what can still be read can be changed.
    #[test]
    fn whatever_can_be_read_can_be_changed(
        picked in proptest::collection::vec(0usize..200, 0..12),
        dropped in proptest::collection::btree_set(0usize..120, 0..6),
    ) {
        let lines: Vec<&str> = FULL.lines().collect();
        let mut out: Vec<&str> = Vec::new();
        out.extend(lines.iter().enumerate().filter(|(n, _)| !dropped.contains(n)).map(|(_, l)| *l));
        out.extend(picked.iter().filter_map(|n| lines.get(*n)));
        fuzz(out.join("\n").as_bytes());
        fuzz(out.join("\r\n").as_bytes());
    }

    /// However a person spaces and comments a file, one assignment leaves every other line as it was.
    #[test]
    fn one_change_leaves_every_other_line(
        notes in proptest::collection::vec("( {0,3}#[ a-z\\[\\]=\"]{0,12})?", 12),
        assigned in proptest::collection::vec(any::<bool>(), 4),
        which in 0usize..4,
        boot in word(),
    ) {
        let mut text = format!("{}\nversion = 1{}\n", notes[0], notes[1]);
        for (n, assigned) in assigned.iter().enumerate() {
            text += &format!("{}\n[[host]]{}\nmac = \"52:54:00:00:00:0{n}\"  {}\n", notes[2 + n], notes[6], notes[7]);
            if *assigned {
                text += &format!("{}\n\t boot  =   \"ignore\" {}\n", notes[8], notes[9]);
            }
        }
        text += &format!("{}\n[[disk]]\nname='a'{}\nimage='a.raw'\n{}\n", notes[10], notes[11], notes[0]);
        let after = changed(&text, |d| d.set_boot(HostRef::Entry(which), &boot));
        let (old, new) = difference(&text, &after);
        prop_assert!(old.len() <= 1 && new.len() == 1, "{old:?} {new:?}");
        prop_assert_eq!(old.len(), usize::from(assigned[which]));
        prop_assert!(new[0].contains(&boot_value(&boot).to_string().trim().to_owned()));
        let lab = parse(&after).unwrap();
        prop_assert_eq!(lab.hosts[which].boot.as_ref(), Some(&boot));
    }
}

#[test]
fn ports_are_set_where_they_stand_or_in_a_table_of_their_own() {
    let after =
        changed("# mine\nversion = 1\n", |d| d.set_ports([("http", Some(8080)), ("https", None), ("iscsi", None)]));
    assert!(after.starts_with("# mine\nversion = 1\n") && after.contains("[ports]\nhttp = 8080\n"), "{after}");
    let text = "version = 1\n[ports]\nhttp = 81 # moved\niscsi = 3261\n";
    let after = changed(text, |d| d.set_ports([("http", Some(8088)), ("https", Some(8443)), ("iscsi", None)]));
    assert!(after.contains("http = 8088 # moved\niscsi = 3261\nhttps = 8443\n"), "{after}");
    let mut document = Document::parse(text).unwrap();
    let same = document.set_ports([("http", Some(3261)), ("https", None), ("iscsi", None)]);
    assert!(matches!(same, Err(LabError::Problems(_))), "two services on one port");
    assert_eq!(document.text(), text);
}
