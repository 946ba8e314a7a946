use proptest::prelude::*;

use super::*;
use crate::lab::schema::{Boot, Install, InstallThen, Mode, Unknown, Writes};

const FULL: &str = include_str!("../../../fuzz/corpus/lab/full.toml");

/// The problems of a text, as lines of output.
fn problems(text: &str) -> Vec<String> {
    read(text).problems.iter().map(ToString::to_string).collect()
}

/// Asserts that a text has exactly one problem, at this line, whose text has these words.
#[track_caller]
fn one(text: &str, line: u32, words: &[&str]) {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let place = format!("lab.toml:{line}: ");
    assert!(problems[0].starts_with(&place), "{problems:?}");
    for word in words {
        assert!(problems[0].contains(word), "{word}: {problems:?}");
    }
}

#[test]
fn every_key_of_the_grammar_is_read() {
    assert_eq!(problems(FULL), Vec::<String>::new());
    let lab = parse(FULL).unwrap();
    let network = &lab.networks[0];
    assert_eq!((network.interface.as_str(), network.mode), ("br0", Mode::Auto));
    assert_eq!(network.unknown, Unknown::Boot(Boot::Wait));
    assert_eq!(network.subnets[0].subnet.to_string(), "10.1.0.0/24");
    assert_eq!(lab.firmware[0].mac_prefix.as_deref(), Some(&[0xb8, 0x27, 0xeb][..]));
    assert_eq!(lab.profiles[0].hypervisor_args, "dom0_mem=1G");
    assert_eq!(lab.disks[0].writes, Writes::Keep);
    assert_eq!(lab.disks[0].chap.as_ref().unwrap().mutual.as_ref().unwrap().1.expose(), "ba9876543210");
    assert_eq!(lab.hosts[0].uuid.unwrap().to_string(), "4c4c4544-0042-3510-8052-b4c04f4e4e32");
    assert_eq!(lab.hosts[1].macs.len(), 2);
    assert!(matches!(&lab.hosts[1].boot, Some(Boot::Install(Install { then: InstallThen::Iscsi(_), .. }))));
}

#[test]
fn a_disk_without_a_target_name_gets_one() {
    let lab = parse("version = 1\n[[disk]]\nname = \"a\"\nimage = \"a.raw\"\n").unwrap();
    assert_eq!(lab.disks[0].iqn, "iqn.2026-11.org.bootyard:a");
}

#[test]
fn a_disk_has_a_size_and_may_have_moved() {
    let disk = |rest: &str| {
        let text = format!("version = 1\n[[disk]]\nname = \"a\"\nimage = \"a.raw\"\n{rest}\n");
        let disk = parse(&text).unwrap().disks.remove(0);
        (disk.size, disk.redirect.map(|to| to.to_string()))
    };
    assert_eq!(disk("size = \"100G\""), (Some(100 << 30), None));
    assert_eq!(disk("size = \"512 MiB\"").0, Some(512 << 20));
    assert_eq!(disk("redirect = \"192.168.2.2\"").1.as_deref(), Some("192.168.2.2:3260"));
    assert_eq!(disk("redirect = \"192.168.2.2:3261\"").1.as_deref(), Some("192.168.2.2:3261"));
    let host = "version = 1\n[[disk]]\nname = \"a\"\nimage = \"a.raw\"\nwrites = \"fresh\"\n[[host]]\nmac = \"52:54:00:00:00:01\"\n\
                boot = { iscsi = \"a\", writes = \"keep\" }\n";
    let Some(Boot::Iscsi(boot)) = &parse(host).unwrap().hosts[0].boot else { panic!("no disk") };
    assert_eq!(boot.writes, Some(Writes::Keep));
}

#[test]
fn every_problem_is_told_with_its_line_and_what_to_write() {
    let host = |rest: &str| format!("version = 1\n[[host]]\nmac = \"52:54:00:00:00:01\"\n{rest}\n");
    let net =
        |rest: &str| format!("version = 1\n[network]\ninterface = \"br0\"\naddress = \"192.168.2.1/24\"\n{rest}\n");
    let disk = |rest: &str| format!("version = 1\n[[disk]]\nname = \"a\"\nimage = \"a.raw\"\n{rest}\n");
    one("", 1, &["`version` is missing", "version = 1"]);
    one("version = 2", 1, &["version 2", "newer"]);
    one("version = 1\nhots = 1", 2, &["unknown key `hots`", "`host`"]);
    one("version = 1\n[[host]]\nmac = 52:54:00:00:00:01", 3, &["not TOML", "quotes", "mac = \"52:54:00:00:00:01\""]);
    one(&host("name = \"Server_1\""), 4, &["not a name", "`server-1`"]);
    one(&host("name = \"52-54-00-00-00-01\""), 4, &["reads as a MAC"]);
    one(&disk("size = \"8X\""), 5, &["`size`", "`8X`", "8G"]);
    one(&disk("size = \"1000\""), 5, &["`size`", "multiple of 512"]);
    one(&disk("redirect = \"elsewhere\""), 5, &["`redirect`", "192.168.2.2:3260"]);
    one(&host("boot = \"instal\""), 4, &["\"local\", \"wait\""]);
    one(&host("boot = \"igonre\""), 4, &["did you mean \"ignore\""]);
    one(&host("boot = { iscsi = \"a\" }"), 4, &["no disk `a`", "[[disk]]"]);
    one(&host("boot = { install = \"x\", than = \"local\" }\n[[profile]]\nname=\"x\"\nkernel=\"k\""), 4, &["`then`"]);
    one(&host("boot = { install = \"x\", iscsi = \"y\" }"), 4, &["both"]);
    one(&host("boot = { iscsi = \"a\", via = \"rootpath\" }\n[[disk]]\nname=\"a\"\nimage=\"a\""), 4, &["`root-path`"]);
    one(&host("address = \"192.168.2.1/24\""), 4, &["not an IPv4 address", "192.168.2.1\""]);
    one(&host("uuid = \"x\""), 4, &["not a UUID"]);
    for seat in ["[0, 1]", "[1]", "[1, 51]", "[1, 2, 3]", "3", "[1, \"2\"]"] {
        one(&host(&format!("seat = {seat}")), 4, &["[row, column]", "from 1 to 50"]);
    }
    one(&host("firmware = \"/boot/x.efi\""), 4, &["absolute", "firmware/"]);
    one(&host("[[host]]\nmac = [\"52:54:00:00:00:02\", \"52-54-00-00-00-01\"]"), 5, &["two hosts", "line 3", "uuid"]);
    one("version = 1\n[[host]]\nname = \"a\"", 2, &["[[host]] has no `mac`"]);
    one("version = 1\n[host]\nmac = \"52:54:00:00:00:01\"", 2, &["[[host]]"]);
    one("version = 1\n[[host]]\nmac = \"01:00:5e:00:00:01\"", 3, &["group address"]);
    one(&net("range = \"192.168.3.1-192.168.3.9\""), 5, &["not inside 192.168.2.0/24"]);
    one(&net("range = \"192.168.2.9-192.168.2.1\""), 5, &["swap"]);
    one(&net("range = \"192.168.2.0-192.168.2.9\""), 5, &["first or last"]);
    one(&net("range = [\"192.168.2.2-192.168.2.9\",\n\"192.168.2.9-192.168.2.12\"]"), 6, &["overlap"]);
    one(&net("router = \"10.0.0.1\""), 5, &["not inside"]);
    one(
        &net("unknown = { install = \"x\" }\n[[profile]]\nname=\"x\"\nkernel=\"k\""),
        5,
        &["unknown-erases-disks = true"],
    );
    one(&net("lease = { default = \"2d\", max = \"1d\" }"), 5, &["longer"]);
    one(&net("lease = 30"), 5, &["\"30s\""]);
    one(&net("[[host]]\nmac=\"52:54:00:00:00:01\"\naddress=\"192.168.3.5\""), 7, &["none of the lab's subnets"]);
    one(&net("[[host]]\nmac=\"52:54:00:00:00:01\"\naddress=\"192.168.2.1\""), 7, &["own address"]);
    one(&net("[[network.subnet]]\nsubnet=\"192.168.0.0/16\"\nrange=\"192.168.9.1-192.168.9.5\""), 6, &["overlap"]);
    one(&net("[[network.subnet]]\nsubnet=\"10.1.0.1/24\"\nrange=\"10.1.0.2-10.1.0.5\""), 6, &["\"10.1.0.0/24\""]);
    one("version = 1\n[network]\ninterface = \"br0\"\naddress = \"192.168.2.0/24\"", 4, &["192.168.2.1/24"]);
    one("version = 1\n[ports]\nhttp = 443", 3, &["both have port 443"]);
    one("version = 1\n[ports]\nhttp = 0", 3, &["1 to 65535"]);
    one("version = 1\n[[firmware]]\nfile = \"x\"", 2, &["which machines"]);
    one("version = 1\n[[firmware]]\narch = \"uefi-x64-http\"\nfile = \"x\"\nhttps = 1", 5, &["https"]);
    one("version = 1\n[[firmware]]\narch = \"uefi-x46\"\nfile = \"x\"", 3, &["`uefi-x64`"]);
    one(&disk("iqn = \"iqn.2001-04.com.Example:a\""), 5, &["lower case", "iqn.2001-04.com.example:a"]);
    one(&disk("writes = \"imgae\""), 5, &["`image`"]);
    one(&disk("chap = { user = \"u\", secret = \"\" }"), 5, &["empty"]);
    one(
        &disk("chap = { user = \"u\", secret = \"0123456789ab\", mutual-user = \"t\" }"),
        5,
        &["without `mutual-secret`"],
    );
    one(&disk("allow = [\"server\"]"), 5, &["neither an address"]);
    one(&disk("writes = \"image\"\n[[disk]]\nname = \"b\"\nimage = \"./a.raw\""), 8, &["same image", "a and b"]);
    one("version = 1\n[[disk]]\nname = \"a\"\nimage = \"../a.raw\"", 4, &["climbs"]);
}

#[test]
fn problems_are_told_all_at_once_and_in_order() {
    let text = "version = 1\nfoo = 1\n[network]\ninterface = br0\nmode = \"proxi\"\n[[host]]\nmac = \"x\"\n";
    let told = problems(text);
    let lines: Vec<_> = told.iter().map(|p| p.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["2", "4", "5", "7"], "{told:#?}");
}

#[test]
fn a_reference_to_an_entry_with_a_problem_is_no_second_problem() {
    let text = "version = 1\n[[host]]\nmac = \"52:54:00:00:00:01\"\nboot = { iscsi = \"a\" }\n\
                [[disk]]\nname = \"a\"\nimage = \"\"\n";
    one(text, 7, &["not a path"]);
}

#[test]
fn machines_that_share_a_dock_are_told_apart_by_uuid() {
    let host = |uuid: &str| format!("[[host]]\nmac = \"52:54:00:00:00:01\"\n{uuid}\n");
    let a = "uuid = \"4c4c4544-0042-3510-8052-b4c04f4e4e32\"";
    let b = "uuid = \"4C4C4544-0042-3510-8052-B4C04F4E4E33\"";
    assert!(parse(&format!("version = 1\n{}{}", host(a), host(b))).is_ok());
    for (first, second) in [(a, ""), ("", b), ("", "")] {
        assert!(parse(&format!("version = 1\n{}{}", host(first), host(second))).is_err());
    }
    let twice = problems(&format!("version = 1\n{}{}", host(a), host(a)));
    assert!(twice.iter().any(|p| p.contains("uuid")), "{twice:?}");
}

#[test]
fn two_rules_for_the_same_machines_are_told_and_others_are_not() {
    let text = |rules: &[&str]| {
        let rules = rules.iter().map(|which| format!("[[firmware]]\nfile = \"snponly.efi\"\n{which}\n"));
        format!("version = 1\n{}", rules.collect::<String>())
    };
    let (arch, mac) = ("arch = \"uefi-x64\"", "mac = \"b8:27:eb\"");
    one(&text(&[arch, arch]), 7, &["two [[firmware]] rules", "arch = \"uefi-x64\" (line 4)", "remove one of them"]);
    one(&text(&[mac, "mac = \"B8-27-EB\""]), 7, &["mac = \"b8:27:eb\" (line 4)"]);
    let both = format!("{mac}\n{arch}");
    one(&text(&[&both, arch, &both]), 12, &["arch = \"uefi-x64\", mac = \"b8:27:eb\" (line 5)"]);
    let apart = text(&[arch, mac, &both, "arch = \"uefi-x64-http\"", "arch = \"bios\"", "mac = \"b8:27\""]);
    assert_eq!(problems(&apart), Vec::<String>::new());
}

#[test]
fn a_secret_shows_in_no_problem() {
    for chap in [
        "{ user = \"u\", secret = \"hunter2\" }",
        "{ user = \"u\", secret = \"hunter2hunter2\", mutual-user = \"t\", mutual-secret = \"hunter2hunter2\" }",
        "{ user = \"u\", secret = [\"hunter2\"] }",
        "{ user = \"u\", secret = hunter2 }",
        "{ user = \"u\", sekret = \"hunter2\" }",
        "{}\n[disk.chap]\nsecret = hunter2",
    ] {
        let told = problems(&format!("version = 1\n[[disk]]\nname = \"a\"\nimage = \"a\"\nchap = {chap}\n"));
        assert!(!told.is_empty() && !told.iter().any(|p| p.contains("hunter2")), "{told:?}");
    }
}

#[test]
fn a_disk_whose_chap_cannot_be_read_is_not_served_without_it() {
    let reading = read("version = 1\n[[disk]]\nname = \"a\"\nimage = \"a\"\nchap = { user = \"u\" }\n");
    assert!(reading.lab.disks.is_empty());
}

#[test]
fn nothing_of_a_file_reaches_the_terminal_unescaped() {
    for problem in problems(include_str!("../../../fuzz/corpus/lab/escape.toml")) {
        assert!(!problem.contains(['\u{1b}', '\u{202e}']), "{problem}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    assert!(parse(include_str!("../../../fuzz/corpus/lab/crlf.toml")).is_ok());
    one("\u{feff}version = 1\r\n\r\nfoo = 1\r\n", 3, &["`foo`"]);
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("version = 1\na = {}", "[".repeat(100_000));
    assert!(!problems(&deep).is_empty());
    let long: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(problems(&long).len(), 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_text_is_answered_and_never_a_panic(text in "\\PC*") {
        fuzz(text.as_bytes());
    }

    #[test]
    fn a_file_with_damage_is_answered_and_never_a_panic(
        cuts in proptest::collection::vec((0..FULL.len(), 0usize..40, "[\\[\\]{}=\"#,.\n0-9a-z-]{0,6}"), 1..5),
    ) {
        let mut text = FULL.to_owned();
        for (at, len, with) in cuts {
            let start = (0..=at.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap();
            let end = (start + len..).find(|n| *n >= text.len() || text.is_char_boundary(*n)).unwrap().min(text.len());
            text.replace_range(start..end, &with);
        }
        fuzz(text.as_bytes());
    }
}

#[test]
fn a_secret_that_cannot_reach_its_machine_is_told_before_the_machine_is() {
    let disk = |secret: &str| {
        format!(
            "version = 1\n[[profile]]\nname = \"p\"\nkernel = \"k\"\n[[disk]]\nname = \"d\"\nimage = \"d.raw\"\nchap = {{ user = \"u\", secret = \"{secret}\" }}\n[[host]]\nmac = \"52:54:00:00:00:01\"\n"
        )
    };
    let by_root_path = disk("0123456789ab") + "boot = { iscsi = \"d\", via = \"root-path\" }\n";
    one(&by_root_path, 11, &["never learns", "leave out via"]);
    one(&(disk("0123 4567 89ab") + "boot = { iscsi = \"d\", profile = \"p\" }\n"), 11, &["command line"]);
    assert_eq!(problems(&(disk("0123456789ab") + "boot = { iscsi = \"d\", profile = \"p\" }\n")), Vec::<String>::new());
    assert_eq!(problems(&(disk("0123 4567 89ab") + "boot = { iscsi = \"d\" }\n")), Vec::<String>::new());
}

#[test]
fn two_machines_at_one_place_of_a_plan_are_told_and_harm_nothing() {
    let host = |mac, group| format!("[[host]]\nmac = \"52:54:00:00:00:{mac}\"\ngroup = \"{group}\"\nseat = [1, 2]\n");
    let text = |second| format!("version = 1\n{}{}", host("01", "a"), host("02", second));
    assert_eq!(parse(&text("b")).unwrap().hosts[1].seat, crate::lab::Seat::at(1, 2));
    assert!(parse(&text("a")).is_ok());
    let told = problems(&text("a"));
    assert!(told.len() == 1 && told[0].contains("(line 5)"), "{told:?}");
}

#[test]
fn a_setting_has_its_line_and_one_that_is_not_there_that_of_its_entry() {
    use crate::boot::{Part, Setting};
    let text =
        "version = 1\n\n[network]\ninterface = \"br0\"\n\n[[host]]\nmac = \"52:54:00:00:00:01\"\n\nboot = \"local\"\n";
    let lab = parse(text).unwrap();
    let setting =
        |part, key: &str| Setting { part, index: 0, entry: String::new(), key: key.into(), line: None, absent: None };
    let mut settings = [setting(Part::Host, "boot"), setting(Part::Network, "unknown"), setting(Part::Disk, "writes")];
    locate(text, &lab, settings.iter_mut());
    let found: Vec<_> = settings.iter().map(|s| (s.line, s.absent)).collect();
    assert_eq!(found, [(Some(9), Some(false)), (Some(3), Some(true)), (None, None)]);
    let other = text.replace("52:54:00:00:00:01", "52:54:00:00:00:02");
    let mut moved = [setting(Part::Host, "boot")];
    locate(&other, &lab, moved.iter_mut());
    assert_eq!(moved[0].line, None, "another machine's entry is there now");
}
