//! Configurations in the shape of those that people run, each with the lab that it becomes and the lines that are lost.
//!
//! `fixtures/NAME/lab.toml` and `fixtures/NAME/lost` are what is expected; with BOOTYARD_WRITE_FIXTURES set they are written anew, to be
//! read by a person.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::exchange::{Fate, Statement};
use crate::lab::{Boot, Folder, Unknown, check};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exchange/import/fixtures")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(fixtures()).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files that a person would name: those at the top of a fixture.
fn inputs(name: &str) -> Vec<PathBuf> {
    let dir = fixtures().join(name);
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    files.retain(|p| !["lab.toml", "lost", "classes.json"].iter().any(|n| p.ends_with(n)));
    files.sort();
    files
}

fn read(name: &str) -> Import {
    import(&inputs(name), &Options::default()).unwrap()
}

fn place(name: &str, statement: &Statement) -> String {
    let file = statement.file.strip_prefix(fixtures().join(name)).unwrap_or(&statement.file);
    format!("{}:{}", file.display(), statement.line)
}

fn lost(name: &str, import: &Import) -> String {
    let lines = import.statements.iter().filter(|s| s.fate == Fate::Lost);
    lines.map(|s| format!("{}: {} -- {}\n", place(name, s), s.text, s.because)).collect()
}

#[test]
fn every_configuration_becomes_the_lab_that_it_should_and_says_what_is_lost() {
    let names = names();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        let import = read(&name);
        let dir = fixtures().join(&name);
        let (lab, lost) = (import.text.clone(), lost(&name, &import));
        if std::env::var_os("BOOTYARD_WRITE_FIXTURES").is_some() {
            fs::write(dir.join("lab.toml"), &lab).unwrap();
            fs::write(dir.join("lost"), &lost).unwrap();
        }
        let wanted = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        assert_eq!(lab, wanted("lab.toml"), "{name}");
        assert_eq!(lost, wanted("lost"), "{name}");
    }
}

/// With the files that it says are needed, every imported lab is in order.
#[test]
fn every_lab_passes_its_check_once_its_files_are_there() {
    for name in names() {
        let import = read(&name);
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(dir.path()).unwrap();
        folder.write_toml(&import.text).unwrap();
        let errors = |folder: &Folder| -> Vec<String> {
            check(folder, &[]).iter().filter(|p| p.is_error()).map(ToString::to_string).collect()
        };
        let before = errors(&folder).len();
        assert_eq!(before > 0, !import.needs.is_empty(), "{name}: {:?}", errors(&folder));
        for need in &import.needs {
            let path = dir.path().join(&need.path);
            assert!(path.starts_with(dir.path()), "{name}: {path:?}");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [1; 1024]).unwrap();
        }
        assert_eq!(errors(&folder), Vec::<String>::new(), "{name}");
    }
}

/// Whatever the readers make of a file: each of its lines that says anything is in a statement.
#[test]
fn no_line_of_any_file_is_left_out() {
    for name in names() {
        let import = read(&name);
        let files: BTreeSet<PathBuf> = import.statements.iter().map(|s| s.file.to_path_buf()).collect();
        assert!(files.len() >= inputs(&name).len(), "{name}: {files:?}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for (n, line) in text.lines().enumerate() {
                let line = line.trim();
                let says = line.chars().any(|c| !c.is_whitespace() && !"{}[],;".contains(c));
                let comment = line.starts_with('#') && n > 0 || line.starts_with("//") || line.starts_with("# ");
                let number = u32::try_from(n + 1).unwrap();
                let covered =
                    import.statements.iter().any(|s| *s.file == file && (s.line..=s.last_line).contains(&number));
                assert!(!says || comment || covered, "{name}: nothing is said of {}:{number}: {line}", file.display());
            }
        }
        for statement in &import.statements {
            assert!(!statement.because.is_empty() && statement.because != "not understood", "{name}: {statement:?}");
        }
    }
}

#[test]
fn no_secret_is_shown() {
    for (name, secrets) in [
        ("tgt-lab", &["secretpass12", "oursecret1234", "twelve-bytes"][..]),
        ("ipxe-menu", &["never to be seen"]),
        ("kea-campus", &["very secret"]),
        ("dhcpd-office", &["c2VjcmV0LW9mLW9tYXBp"]),
    ] {
        let shown: String = read(name).statements.iter().map(|s| format!("{}\n{}\n", s.text, s.because)).collect();
        for secret in secrets {
            assert!(!shown.contains(secret), "{name}: {secret}");
        }
    }
}

/// An import of files with these names and texts.
fn of(files: &[(&str, &str)], into: Option<&str>) -> Import {
    let dir = tempfile::tempdir().unwrap();
    let write = |(name, text): &(&str, &str)| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().map(write).collect();
    import(&paths, &Options { into, ..Options::default() }).unwrap()
}

fn of_line(import: &Import, line: u32) -> &Statement {
    import.statements.iter().find(|s| s.line == line).unwrap()
}

#[test]
fn no_secret_is_shown_wherever_it_stands() {
    let targets = "default-driver iscsi\nincomingdiscoveryuser me hunter2\noutgoingdiscoveryuser \"us two\" \"hunter 3\"\n\
                   incominguser me hunter4\n<target iqn.2008-09.com.x:a>\nbacking-store /srv/a.raw\nincominguser me hunter5\n</target>\n";
    let script = "#!ipxe\nset  password hunter6\nisset ${a} && set reverse-password:hex hunter7 ||\n\
                  kernel http://me:hunter8@192.0.2.1/linux ISCSI_PASSWORD=hunter9 netroot=iscsi:me:hunter10@192.0.2.2::::iqn.x:y quiet\n";
    let import = of(&[("targets.conf", targets), ("boot.ipxe", script)], None);
    let shown = format!("{:?} {:?} {:?}", import.statements, import.needs, import.notes);
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("incomingdiscoveryuser me …") && shown.contains("quiet"), "{shown}");
    assert!(import.text.contains("ISCSI_PASSWORD=hunter9"), "the kernel still needs it: {}", import.text);
}

/// The credentials of a disk that iPXE is given by DHCP, as its documentation has it: neither shown nor dropped without a word.
#[test]
fn chap_that_dhcp_gives_to_ipxe_is_lost_and_not_shown() {
    let dhcpd = "option space ipxe;\noption ipxe-encap-opts code 175 = encapsulate ipxe;\noption ipxe.username code 190 = string;\n\
                 option ipxe.password code 191 = string;\noption ipxe.no-pxedhcp code 176 = unsigned integer 8;\n\
                 option ipxe.no-pxedhcp 1;\noption ipxe.username \"me\";\noption ipxe.password \"hunter2\";\n\
                 option ipxe.password = concat(\"hunter2\", \"x\");\n";
    let dnsmasq = "port=0\ndhcp-option=encap:175,176,1b\ndhcp-option=encap:175, 190, me\n\
                   dhcp-option=tag:x,encap:175, 191, \"hunter2\"\ndhcp-option-force=encap:175,193,hunter2\n";
    let kea = "{ \"Dhcp4\": { \"option-data\": [\n{ \"space\": \"ipxe\", \"name\": \"no-pxedhcp\", \"data\": \"1\" },\n\
               { \"space\": \"ipxe\", \"name\": \"reverse-password\",\n\"data\": \"hunter2\" },\n\
               { \"space\": \"ipxe\", \"name\": \"secret1\", \"code\": 191,\n\"data\": \"hunter2\" } ] } }\n";
    for (name, text, kept, lost) in [
        ("dhcpd.conf", dhcpd, 6, &[7, 8, 9][..]),
        ("dnsmasq.conf", dnsmasq, 2, &[3, 4, 5]),
        ("kea.json", kea, 2, &[4, 6]),
    ] {
        let import = of(&[(name, text)], None);
        assert!(!format!("{:?}", import.statements).contains("hunter2"), "{name}: {:#?}", import.statements);
        assert_eq!(of_line(&import, kept).fate, Fate::Implied, "{name}: {:?}", of_line(&import, kept));
        for line in lost {
            let said = of_line(&import, *line);
            assert_eq!(said.fate, Fate::Lost, "{name}: {said:?}");
        }
    }
    let said = of(&[("dhcpd.conf", dhcpd)], None);
    assert!(of_line(&said, 8).because.contains("`chap`"), "{:?}", of_line(&said, 8));
}

/// tgt-admin's parser divides a name from its value by blanks or by one `=`.
#[test]
fn a_setting_of_tgt_may_have_an_equals_sign() {
    let targets = "default-driver = iscsi\nincomingdiscoveryuser=me hunter2\n<target iqn.2008-09.com.x:a>\nbacking-store = /srv/a.raw\n\
                   incominguser = me hunter3\noutgoinguser=us hunter4\ninitiator-address =192.0.2.7\n</target>\n";
    let import = of(&[("targets.conf", targets)], None);
    let shown = format!("{:?}", import.statements);
    assert!(!shown.contains("hunter") && shown.contains("incominguser me …"), "{shown}");
    let disk = &crate::lab::parse(&import.text).unwrap().disks[0];
    let chap = disk.chap.as_ref().unwrap();
    assert_eq!((disk.image.to_str(), chap.user.as_str(), chap.secret.expose()), (Some("a.raw"), "me", "hunter3"));
    assert_eq!(chap.mutual.as_ref().map(|(user, secret)| (user.as_str(), secret.expose())), Some(("us", "hunter4")));
    assert_eq!(disk.allow, [crate::lab::Allow::Net("192.0.2.7/32".parse().unwrap())]);
    assert_eq!(import.needs[0].from, "/srv/a.raw");
}

/// A folder for each machine, with files of the same name in all of them.
#[test]
fn stores_of_the_same_name_in_several_folders_are_several_images() {
    let target = |n: u32, store: &str| format!("<target iqn.2008-09.com.x:pc{n}>\nbacking-store {store}\n</target>\n");
    let targets = [
        target(1, "/srv/pc1/disk.img"),
        target(2, "/srv/pc2/disk.img"),
        target(3, "/srv/pc1/disk.img"),
        target(4, "/srv/old/pc5.raw"),
        target(5, "/dev/vg/pc5"),
        target(6, "/srv/pc6/disk.qcow2"),
        target(7, "/srv/pc7/disk.qcow2"),
    ];
    let images = |import: &Import| -> Vec<String> {
        let lab = crate::lab::parse(&import.text).unwrap();
        lab.disks.iter().map(|d| d.image.display().to_string()).collect()
    };
    let import = of(&[("targets.conf", &targets.concat())], None);
    let expected = ["disk.img", "pc2.img", "disk.img", "pc5.raw", "pc5-2.raw", "disk.qcow2", "pc7.qcow2"];
    assert_eq!(images(&import), expected);
    let needs: Vec<(&str, &str)> = import.needs.iter().map(|n| (n.path.to_str().unwrap(), n.from.as_str())).collect();
    let expected = [
        ("disks/disk.img", "/srv/pc1/disk.img"),
        ("disks/pc2.img", "/srv/pc2/disk.img"),
        ("disks/pc5.raw", "/srv/old/pc5.raw"),
        ("disks/pc5-2.raw", "/dev/vg/pc5"),
        ("disks/disk.qcow2", "/srv/pc6/disk.qcow2"),
        ("disks/pc7.qcow2", "/srv/pc7/disk.qcow2"),
    ];
    assert_eq!(needs, expected);
    assert!(of_line(&import, 5).because.contains("pc2.img"), "{:?}", of_line(&import, 5));
    // What a lab has under that name is another disk's, too.
    let there = "version = 1\n[[disk]]\nname = \"old\"\nimage = \"disk.img\"\n";
    let import = of(&[("targets.conf", &target(1, "/srv/pc1/disk.img"))], Some(there));
    assert_eq!(images(&import), ["disk.img", "pc1.img"]);
    // A root-path's disk takes no image of a target's either.
    let conf = "subnet 192.0.2.0 netmask 255.255.255.0 {\nrange 192.0.2.10 192.0.2.20;\n}\nnext-server 192.0.2.1;\nhost two {\n\
                hardware ethernet 02:00:00:00:00:01;\noption root-path \"iscsi:192.0.2.1::::iqn.2008-09.com.y:two\";\n}\n";
    let import = of(&[("dhcpd.conf", conf), ("targets.conf", &target(1, "/srv/old/two.raw"))], None);
    assert_eq!(images(&import), ["two.raw", "two-2.raw"]);
}

#[test]
fn a_target_that_asks_for_address_and_name_is_not_opened_to_more() {
    let target = |lines: &str| {
        let text = format!("<target iqn.2008-09.com.x:a>\nbacking-store /srv/a.raw\n{lines}</target>\n");
        let import = of(&[("targets.conf", &text)], None);
        let allow = crate::lab::parse(&import.text).unwrap().disks[0].allow.clone();
        (allow, of_line(&import, 3).fate, of_line(&import, 4).fate)
    };
    let name = "initiator-name iqn.1998-01.com.x:h\n";
    let by_name = vec![crate::lab::Allow::Initiator("iqn.1998-01.com.x:h".into())];
    let by_address = vec![crate::lab::Allow::Net("192.0.2.7/32".parse().unwrap())];
    assert_eq!(target(&format!("initiator-address 192.0.2.7\n{name}")), (by_address, Fate::Mapped, Fate::Lost));
    assert_eq!(target(&format!("initiator-address ALL\n{name}")), (by_name, Fate::Implied, Fate::Mapped));
}

#[test]
fn a_host_gets_no_other_installer_of_the_same_name() {
    let conf = "subnet 192.0.2.0 netmask 255.255.255.0 {\nrange 192.0.2.10 192.0.2.20;\n}\nhost one {\n\
                hardware ethernet 02:00:00:00:00:01;\nfilename \"http://192.0.2.1/boot.ipxe\";\n}\n";
    let script = "#!ipxe\nkernel http://192.0.2.1/debian/linux auto\ninitrd http://192.0.2.1/debian/initrd\nboot\n";
    let boot = |args: &str| {
        let there = format!(
            "version = 1\n[[profile]]\nname = \"debian\"\nkernel = \"debian/linux\"\nargs = \"{args}\"\n\
             initrd = [\"debian/initrd\"]\n"
        );
        let import = of(&[("dhcpd.conf", conf), ("boot.ipxe", script)], Some(&there));
        let lab = crate::lab::parse(&import.text).unwrap();
        (lab.profiles.len(), lab.hosts[0].boot.as_ref().unwrap().to_string())
    };
    let (same, other) = (boot("auto"), boot("manual"));
    assert!(same.0 == 1 && same.1.contains("debian") && !same.1.contains("debian-2"), "{same:?}");
    assert!(other.0 == 2 && other.1.contains("debian-2"), "{other:?}");
}

#[test]
fn a_system_that_runs_from_the_network_is_no_installer() {
    let conf = "subnet 192.0.2.0 netmask 255.255.255.0 {\nrange 192.0.2.10 192.0.2.20;\n}\nhost one {\n\
                hardware ethernet 02:00:00:00:00:01;\nfilename \"http://192.0.2.1/boot.ipxe\";\n}\n";
    for (args, live) in [
        ("root=live:http://192.0.2.1/x", true),
        ("root=/dev/nfs nfsroot=192.0.2.1:/x", true),
        ("ip=dhcp boot=casper", true),
        ("netroot=iscsi:192.0.2.1::::iqn.x:y", true),
        ("boot=livecd auto", false),
    ] {
        let script = format!("#!ipxe\nkernel http://192.0.2.1/debian/linux {args}\nboot\n");
        let import = of(&[("dhcpd.conf", conf), ("boot.ipxe", &script)], None);
        let lab = crate::lab::parse(&import.text).unwrap();
        assert_eq!((lab.hosts[0].boot.is_none(), lab.profiles.len()), (live, 1), "{args}: {}", import.text);
        let said = of_line(&import, 6);
        assert_eq!(said.because.contains("runs from the network at every boot"), live, "{args}: {said:?}");
        assert_eq!(import.notes.iter().any(|n| n.contains("no installer")), live, "{args}: {:?}", import.notes);
    }
}

/// dnsmasq sets a tag where any one of the lines that name it says so.
#[test]
fn a_tag_that_several_lines_set_is_all_of_theirs() {
    let conf = "dhcp-range=set:low,192.0.2.10,192.0.2.20,255.255.255.0\ndhcp-range=set:low,198.51.100.10,198.51.100.20,255.255.255.0\n\
                dhcp-option=tag:low,option:dns-server,192.0.2.53\n\
                dhcp-match=set:x64,option:client-arch,7\ndhcp-match=set:bios,option:client-arch,0\n\
                dhcp-match=set:script,175\n\
                tag-if=set:rom,tag:x64,tag:!script\ntag-if=set:rom,tag:bios,tag:!script\n\
                tag-if=set:ours,tag:script\ntag-if=set:ours,tag:nobody\n\
                dhcp-boot=tag:rom,grub\ndhcp-boot=tag:ours,http://192.0.2.1/boot.ipxe\n";
    let import = of(&[("dnsmasq.conf", conf), ("boot.ipxe", "#!ipxe\nexit\n")], None);
    let network = &crate::lab::parse(&import.text).unwrap().networks[0];
    let dns: Vec<_> = std::iter::once(&network.dns).chain(network.subnets.iter().map(|s| &s.dns)).collect();
    let expected = vec!["192.0.2.53".parse::<std::net::Ipv4Addr>().unwrap()];
    assert_eq!(dns, [&expected, &expected], "{}", import.text);
    let (grub, script) = (of_line(&import, 11), of_line(&import, 12));
    assert!(grub.because.contains("[[firmware]]"), "it is for ROMs alone: {grub:?}");
    // Who has the second tag is only half known.
    assert!(script.fate == Fate::Lost && network.unknown == Unknown::ByMode, "{script:?}");
    let tags = |text: &str| {
        let source = Source { name: Path::new("/nonexistent/dnsmasq.conf").into(), text: text.to_owned() };
        let (mut sources, mut ledger, mut model) = (Sources::default(), Ledger::default(), Model::default());
        one(Format::Dnsmasq, &source, &mut sources, &mut ledger, &mut model);
        model.rules.iter().map(|r| r.when.iter().count()).collect::<Vec<_>>()
    };
    let of = |more: &str| {
        tags(&format!(
            "dhcp-match=set:x64,option:client-arch,7\ndhcp-match=set:bios,option:client-arch,0\n{more}dhcp-boot=tag:rom,grub\n"
        ))
    };
    let (one, two) = (of("tag-if=set:rom,tag:bios\n"), of("tag-if=set:rom,tag:x64\ntag-if=set:rom,tag:bios\n"));
    assert!(one[0] > 0 && two[0] > one[0], "{one:?} {two:?}");
}

/// Without a range a server gives addresses to machines with an entry alone; a lab without one gives all of the subnet.
#[test]
fn a_subnet_without_a_range_gives_nothing_to_strangers() {
    let host = "host one {\nhardware ethernet 02:00:00:00:00:01;\nfixed-address 192.0.2.7;\n}\n";
    let bare = format!("subnet 192.0.2.0 netmask 255.255.255.0 {{\n}}\n{host}");
    let fixed = "dhcp-range=192.0.2.0,static,255.255.255.0\ndhcp-host=02:00:00:00:00:01,192.0.2.7\n";
    for (name, text) in [("dhcpd.conf", bare.as_str()), ("dnsmasq.conf", fixed)] {
        let import = of(&[(name, text)], None);
        let lab = crate::lab::parse(&import.text).unwrap();
        assert_eq!(lab.networks[0].unknown, Unknown::Boot(Boot::Ignore), "{name}: {}", import.text);
        assert_eq!(lab.hosts[0].boot, Some(Boot::Local), "it is no stranger: {}", import.text);
    }
    let relayed = format!(
        "{bare}subnet 198.51.100.0 netmask 255.255.255.0 {{\nrange 198.51.100.10 198.51.100.20;\n}}\nnext-server 192.0.2.1;\n"
    );
    let import = of(&[("dhcpd.conf", &relayed)], None);
    assert_eq!(crate::lab::parse(&import.text).unwrap().networks[0].unknown, Unknown::ByMode, "{}", import.text);
    assert!(import.notes.iter().any(|n| n.contains("no range of 192.0.2.0/24")), "{:?}", import.notes);
}

#[test]
fn a_group_of_hosts_does_not_take_from_a_subnet_what_stands_around_both() {
    let conf = "shared-network w {\noption routers 192.0.2.1;\nsubnet 192.0.2.0 netmask 255.255.255.0 {\nrange 192.0.2.10 192.0.2.20;\n}\n\
                group {\ndefault-lease-time 900;\nhost one {\nhardware ethernet 02:00:00:00:00:01;\n}\n}\n}\n";
    let import = of(&[("dhcpd.conf", conf)], None);
    let (routers, lease) = (of_line(&import, 2), of_line(&import, 7));
    assert_eq!((routers.fate, lease.fate), (Fate::Mapped, Fate::Lost), "{routers:?} {lease:?}");
}

#[test]
fn a_name_that_a_machine_cannot_have_is_lost_and_said_so() {
    let there = "version = 1\n[[host]]\nmac = \"02:00:00:00:00:09\"\nname = \"one\"\n";
    let conf = "dhcp-range=192.0.2.10,192.0.2.20,255.255.255.0\ndhcp-host=02:00:00:00:00:01,one\ndhcp-host=02:00:00:00:00:02,two\n";
    let import = of(&[("dnsmasq.conf", conf)], Some(there));
    let lab = crate::lab::parse(&import.text).unwrap();
    assert_eq!(lab.hosts.iter().filter(|h| h.name.is_none()).count(), 1, "{}", import.text);
    let (one, two) = (of_line(&import, 2), of_line(&import, 3));
    assert!(one.fate == Fate::Lost && one.because.contains("the name one: another machine"), "{one:?}");
    assert_eq!(two.fate, Fate::Mapped, "{two:?}");
    // In Kea's JSON the name has a line of its own, and the machine stays mapped.
    let kea =
        "{ \"Dhcp4\": { \"reservations\": [ {\n\"hw-address\": \"02:00:00:00:00:01\",\n\"hostname\": \"___\" } ] } }\n";
    let import = of(&[("kea.json", kea)], None);
    assert_eq!(
        (of_line(&import, 2).fate, of_line(&import, 3).fate),
        (Fate::Mapped, Fate::Lost),
        "{:?}",
        import.statements
    );
}

#[test]
fn a_class_of_kea_s_that_drops_clients_is_lost() {
    let kea = |name: &str| {
        format!(
            "{{ \"Dhcp4\": {{ \"client-classes\": [ {{\n\"name\": \"{name}\",\n\"test\": \"option[175].exists\" }} ] }} }}\n"
        )
    };
    let fates = |name| {
        let import = of(&[("kea.json", &kea(name))], None);
        (of_line(&import, 2).fate, of_line(&import, 3).fate)
    };
    assert_eq!((fates("DROP"), fates("other")), ((Fate::Lost, Fate::Lost), (Fate::Implied, Fate::Implied)));
}

/// Each host of a group has the group's rules: thousands of both would be millions.
#[test]
fn a_group_of_many_rules_and_hosts_costs_no_more_than_both() {
    let files: String = (0..900).map(|n| format!("filename \"pxelinux.{n}\";\n")).collect();
    let hosts: String = (0..300)
        .map(|n| format!("host h{n} {{\nhardware ethernet 02:00:00:00:{:02x}:{:02x};\n}}\n", n / 256, n % 256))
        .collect();
    let text = format!("group {{\n{files}{hosts}}}\n");
    let source = Source { name: Path::new("/nonexistent/dhcpd.conf").into(), text };
    let (mut sources, mut ledger, mut model) = (Sources::default(), Ledger::default(), Model::default());
    one(Format::Dhcpd, &source, &mut sources, &mut ledger, &mut model);
    let rules: usize = model.hosts.iter().map(|host| host.rules.len()).sum();
    assert!(model.hosts.len() == 300 && rules <= 300 * 40, "{rules}");
    model.settle();
    assert!(model.hosts.iter().all(|host| host.rules.len() == 1), "the last one counts");
    build(&model, &mut ledger, &Options::default()).unwrap();
    let first = ledger.close().into_iter().find(|s| s.line == 2).unwrap();
    assert!(first.fate == Fate::Lost && first.because.contains("outweigh"), "{first:?}");
}

#[test]
fn a_file_that_includes_itself_is_read_once() {
    for (name, text, include) in [
        ("dhcpd.conf", "authoritative;\ninclude \"dhcpd.conf\";\n", 2),
        ("targets.conf", "default-driver iscsi\ninclude targets.*\n", 2),
        ("dnsmasq.conf", "port=0\nconf-file=dnsmasq.conf\n", 2),
        ("kea.json", "{ \"Dhcp4\": {\n<?include \"kea.json\"?>\n} }\n", 2),
    ] {
        let import = of(&[(name, text)], None);
        let said = of_line(&import, include);
        assert!(said.fate == Fate::Lost && said.because.contains("being read already"), "{name}: {said:?}");
        let most = if name == "kea.json" { 3 } else { 2 };
        assert!(import.statements.len() <= most, "{name}: {:?}", import.statements);
    }
}

#[test]
fn what_is_beyond_the_most_statements_is_said_to_be_unread() {
    let most = super::super::source::MOST_STATEMENTS;
    for (format, line) in
        [(Format::Dhcpd, "a;\n"), (Format::Dnsmasq, "a\n"), (Format::Tgt, "a\n"), (Format::Script, "a\n")]
    {
        let source = Source { name: Path::new("/nonexistent/x.conf").into(), text: line.repeat(most + 7) };
        let (mut sources, mut ledger, mut model) = (Sources::default(), Ledger::default(), Model::default());
        one(format, &source, &mut sources, &mut ledger, &mut model);
        let statements = ledger.close();
        assert_eq!(statements.len(), most + 1, "{format:?}");
        let unread: Vec<&Statement> =
            statements.iter().filter(|s| s.because.starts_with("the rest was not read")).collect();
        let line = u32::try_from(most + 1).unwrap();
        assert!(unread.len() == 1 && unread[0].line == line && unread[0].fate == Fate::Lost, "{format:?}: {unread:?}");
    }
}

/// dnsmasq takes the netmask of the interface on which it serves.
#[test]
fn a_range_without_a_netmask_has_that_of_the_interface_or_a_guess_that_is_told() {
    let read = |text: &str, around: &[(&str, &str)], interface: Option<&str>| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dnsmasq.conf");
        fs::write(&path, format!("{text}port=0\ndhcp-option=3\n")).unwrap();
        let addresses = around.iter().map(|(name, net)| ((*name).to_owned(), net.parse().unwrap())).collect();
        let options = Options { addresses, interface: interface.map(str::to_owned), into: None };
        let import = import(&[path], &options).unwrap();
        let lab = crate::lab::parse(&import.text).unwrap();
        let notes: Vec<String> = import.notes.into_iter().filter(|n| n.contains("says no netmask")).collect();
        (lab.networks[0].address.map(|a| a.to_string()), notes)
    };
    let (small, large) = ("listen-address=10.1.2.3\ndhcp-range=10.1.2.10,10.1.2.99\n", "10.1.2.10,10.1.9.99");
    let large = format!("listen-address=10.1.2.3\ndhcp-range={large}\n");
    let around = [("docker0", "172.17.0.1/16"), ("eth0", "10.1.7.7/19"), ("eth1", "10.1.200.1/16")];
    for (text, around, interface, prefix, said) in [
        (small.to_owned(), &around[..], None, 19, "eth0 on this computer"),
        (small.to_owned(), &around[..], Some("eth1"), 16, "eth1 on this computer"),
        (format!("{small}interface=eth1\n"), &around[..], None, 16, "eth1 on this computer"),
        (large.clone(), &around[..], None, 19, "eth0 on this computer"),
        (format!("{large}dhcp-option=1,255.255.240.0\n"), &around[..1], None, 20, "`dhcp-option`"),
        (small.to_owned(), &around[..1], None, 24, "10.1.2.0/24 is a guess"),
        (large, &[], None, 8, "10.0.0.0/8 is a guess"),
    ] {
        let (address, notes) = read(&text, around, interface);
        assert_eq!(address, Some(format!("10.1.2.3/{prefix}")), "{text} {notes:?}");
        assert!(notes.len() == 1 && notes[0].contains(said), "{text} {notes:?}");
    }
    // A second range of the same subnet is not told of again, and one with a netmask not at all.
    let (address, notes) = read(&format!("{small}dhcp-range=10.1.2.110,10.1.2.120\n"), &[], None);
    assert_eq!((address.as_deref(), notes.len()), (Some("10.1.2.3/24"), 1), "{notes:?}");
    let text = "listen-address=10.1.2.3\ndhcp-range=10.1.2.10,10.1.2.99,255.255.0.0\ndhcp-range=10.1.9.10,10.1.9.99\n";
    let (address, notes) = read(text, &[], None);
    assert_eq!((address.as_deref(), notes), (Some("10.1.2.3/16"), Vec::new()));
}

/// dnsmasq tells machines that it is their router and DNS server wherever its file says nothing of one.
#[test]
fn what_dnsmasq_says_of_itself_unasked_is_written_down_or_told() {
    let range = "dhcp-range=set:a,192.0.2.10,192.0.2.20,255.255.255.0\n";
    let read = |more: &str| {
        let import = of(&[("dnsmasq.conf", &format!("{range}{more}"))], None);
        let network = crate::lab::parse(&import.text).unwrap().networks.remove(0);
        let of_itself = |what: &str| import.notes.iter().filter(|n| n.contains("itself") && n.contains(what)).count();
        let router = network.router.map(|router| router.to_string());
        (router, of_itself("router"), network.dns.len(), of_itself("DNS"))
    };
    let own = "listen-address=192.0.2.1\n";
    let (itself, other) = (Some("192.0.2.1".to_owned()), Some("192.0.2.7".to_owned()));
    assert_eq!(read(own), (itself.clone(), 1, 0, 1));
    assert_eq!(read(""), (None, 1, 0, 1), "which address it has is not known");
    for no_dns in ["port=0\n", "port=5353\n", "dhcp-option=6\n", "dhcp-option=tag:a,option:dns-server\n"] {
        assert_eq!(read(&format!("{own}{no_dns}")), (itself.clone(), 1, 0, 0), "{no_dns}");
    }
    assert_eq!(read(&format!("{own}dhcp-option=6,192.0.2.53\n")), (itself.clone(), 1, 1, 0));
    assert_eq!(read(&format!("{own}port=0\ndhcp-option=3,0.0.0.0\n")), (itself, 1, 0, 0), "its word for itself");
    assert_eq!(read(&format!("{own}port=0\ndhcp-option=3,192.0.2.7\n")), (other, 0, 0, 0));
    for none in ["dhcp-option=3\n", "dhcp-option=option:router\n", "dhcp-option=tag:a,option:router\n"] {
        assert_eq!(read(&format!("{own}port=0\n{none}")), (None, 0, 0, 0), "{none}");
    }
    // Of one subnet something is said, of the other nothing.
    let both = format!(
        "{own}{range}dhcp-range=set:b,198.51.100.10,198.51.100.20,255.255.255.0\ndhcp-option=tag:a,3,192.0.2.7\nport=0\n"
    );
    let import = of(&[("dnsmasq.conf", &both)], None);
    assert!(import.notes.iter().any(|n| n.contains("router of 198.51.100.0/24")), "{:?}", import.notes);
    assert!(!import.notes.iter().any(|n| n.contains("router of 192.0.2.0/24")), "{:?}", import.notes);
    // Beside another server it tells machines nothing of the kind.
    let import = of(&[("dnsmasq.conf", "dhcp-range=192.0.2.0,proxy,255.255.255.0\nlisten-address=192.0.2.1\n")], None);
    assert!(!import.notes.iter().any(|n| n.contains("itself")), "{:?}", import.notes);
}

/// Classes that Kea looks at late hold where they are listed and nowhere else, in the words of old and new versions.
#[test]
fn a_class_that_holds_only_where_it_is_listed_is_no_class_of_everybody() {
    let kea = |flag: &str, pool: &str, shared: &str, subnet: &str| {
        format!(
            "{{ \"Dhcp4\": {{ \"interfaces-config\": {{ \"interfaces\": [ \"eth1/10.8.0.1\" ] }},\n\"client-classes\": [\n\
             {{ \"name\": \"script\", \"test\": \"option[77].hex == 'iPXE'\",\n{flag}\n\
             \"boot-file-name\": \"http://10.8.0.1/menu.ipxe\" }} ],\n\
             \"shared-networks\": [ {{ \"name\": \"n\",\n{shared}\n\"subnet4\": [\n\
             {{ \"id\": 1, \"subnet\": \"10.8.0.0/24\", \"pools\": [ {{\n{pool}\n\
             \"pool\": \"10.8.0.10-10.8.0.20\" }} ],\n{subnet}\n\
             \"boot-file-name\": \"http://10.8.0.1/other.ipxe\" }} ] }} ] }} }}\n"
        )
    };
    let script = |name: &str| format!("#!ipxe\nkernel http://10.8.0.1/{name}/linux\nboot\n");
    let (menu, other) = (script("menu"), script("other"));
    let read = |flag: &str, pool: &str, shared: &str, subnet: &str| {
        let text = kea(flag, pool, shared, subnet);
        of(&[("kea.json", &text), ("menu.ipxe", &menu), ("other.ipxe", &other)], None)
    };
    // What is in force for iPXE is the profile; the other script is lost.
    let in_force = |import: &Import| {
        let file =
            |line: u32| import.statements.iter().find(|s| s.line == line && s.file.ends_with("kea.json")).unwrap();
        let (class, subnet) = (file(5), file(13));
        assert!(class.text.contains("menu.ipxe") && subnet.text.contains("other.ipxe"), "{class:?} {subnet:?}");
        (class.because.contains("[[profile]]"), subnet.because.contains("[[profile]]"))
    };
    let (old, new) = ("\"only-if-required\": true,", "\"only-in-additional-list\": true,");
    let (old_list, new_list) =
        ("\"require-client-classes\": [ \"script\" ],", "\"evaluate-additional-classes\": [ \"script\" ],");
    assert_eq!(in_force(&read("", "", "", "")), (true, false), "a class without the flag");
    assert_eq!(in_force(&read("\"only-if-required\": false,", "", "", "")), (true, false), "the flag's default");
    for flag in [old, new] {
        let import = read(flag, "", "", "");
        assert_eq!(in_force(&import), (false, true), "{flag} {:#?}", import.statements);
        let class = of_line(&import, 5);
        assert!(class.fate == Fate::Lost && class.because.contains("no subnet does"), "{class:?}");
    }
    for (flag, list) in [(old, old_list), (new, new_list)] {
        assert_eq!(in_force(&read(flag, "", "", list)), (true, false), "listed by the subnet");
        assert_eq!(in_force(&read(flag, "", list, "")), (true, false), "listed by the network around it");
        assert_eq!(in_force(&read(flag, list, "", "")), (false, true), "listed by a pool");
    }
    let import = read(new, "", "", "\"evaluate-additional-classes\": [ \"script\", \"lost\" ],");
    let list = import.statements.iter().find(|s| s.text.contains("evaluate-additional-classes")).unwrap();
    assert!(list.fate == Fate::Lost && list.because.contains("`lost`"), "{list:?}");
}

/// The configuration of the issue, whole.
#[test]
fn the_issue_s_dhcpd_conf_becomes_a_lab_that_boots() {
    let import = read("issue");
    let lab = crate::lab::parse(&import.text).unwrap();
    let network = &lab.networks[0];
    assert_eq!(network.address.unwrap().to_string(), "192.168.2.1/24");
    assert_eq!(network.ranges[0].to_string(), "192.168.2.20-192.168.2.200");
    assert_eq!(network.dns, ["192.168.1.10".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!((network.lease.default.as_secs(), network.lease.max.as_secs()), (1800, 86_400));
    assert_eq!(network.unknown, Unknown::ByMode, "import never lets strangers' disks be erased");
    let host = &lab.hosts[0];
    assert_eq!(host.address.unwrap().to_string(), "192.168.2.21");
    assert_eq!(host.boot.as_ref().map(Boot::to_string).as_deref(), Some("iscsi server01"));
    assert_eq!(lab.disks[0].iqn, "iqn.2001-04.com.server:server01.vg00.lun0");
    assert_eq!(lab.disks[0].redirect, None);
    let profile = &lab.profiles[0];
    assert_eq!((profile.kernel.to_str(), profile.args.as_str()), (Some("default/centos5"), "askmethod"));
    assert_eq!(profile.initrds[0].to_str(), Some("default/centos5.img"));
    assert!(!import.text.contains("unknown"), "{}", import.text);
    assert!(import.notes.iter().any(|n| n.contains("unknown-erases-disks")), "{:?}", import.notes);
    let fate = |line: u32| import.statements.iter().find(|s| s.line == line && s.file.ends_with("dhcpd.conf")).unwrap();
    for (line, expected) in [
        (3, Fate::Implied),
        (5, Fate::Implied),
        (9, Fate::Lost),
        (12, Fate::Mapped),
        (20, Fate::Implied),
        (22, Fate::Lost),
        (31, Fate::Mapped),
    ] {
        assert_eq!(fate(line).fate, expected, "{:?}", fate(line));
    }
}

#[test]
fn a_disk_of_another_computer_is_a_redirect_and_says_what_that_means() {
    let import = read("dhcpd-san");
    let lab = crate::lab::parse(&import.text).unwrap();
    let disk = |name: &str| lab.disks.iter().find(|d| d.name.as_str() == name).unwrap();
    assert_eq!(disk("win7-pc").redirect.unwrap().to_string(), "192.168.50.9:3260");
    assert_eq!((disk("linux").redirect, disk("linux").allow.len()), (None, 1));
    assert!(import.notes.iter().any(|n| n.contains("another computer's target")), "{:?}", import.notes);
}

#[test]
fn an_existing_lab_keeps_its_comments_and_entries() {
    let lab = "version = 1 # mine\n\n[network]\ninterface = \"br9\" # the bench\naddress = \"192.168.2.1/24\"\n\n\
               # the first machine\n[[host]]\nmac = \"00:16:3e:00:00:01\"\nname = \"server01\"\n";
    let options = Options { into: Some(lab), ..Options::default() };
    let import = import(&inputs("issue"), &options).unwrap();
    assert!(import.text.starts_with(lab), "{}", import.text);
    let parsed = crate::lab::parse(&import.text).unwrap();
    assert_eq!((parsed.networks.len(), parsed.hosts.len(), parsed.profiles.len()), (1, 1, 1));
    let own = |line: u32| import.statements.iter().find(|s| s.line == line && s.file.ends_with("dhcpd.conf")).unwrap();
    for line in [10, 12, 24] {
        assert_eq!(own(line).fate, Fate::Lost, "{:?}", own(line));
    }
}

#[test]
fn formats_are_told_by_content() {
    let expected = [
        ("issue", vec![Format::Dhcpd, Format::Script]),
        ("dhcpd-san", vec![Format::Dhcpd, Format::Tgt]),
        ("dnsmasq-home", vec![Format::Dnsmasq]),
        ("kea-campus", vec![Format::Kea]),
        ("tgt-lab", vec![Format::Tgt]),
    ];
    for (name, formats) in expected {
        assert_eq!(read(name).files.into_iter().map(|(_, f)| f).collect::<Vec<_>>(), formats, "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("letter.txt");
    fs::write(&path, "Dear Sir,\nall is well.\n").unwrap();
    let error = import(&[path], &Options::default()).unwrap_err();
    assert!(error.to_string().contains("is none of"), "{error}");
}

/// Statements that are known and ones that nobody knows, in any order and depth: each is told of.
fn statement() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        Just("authoritative"),
        Just("default-lease-time 600"),
        Just("option routers 10.0.0.1"),
        Just("option domain-name \"x.example\""),
        Just("filename \"pxelinux.0\""),
        Just("filename \"ipxe.efi\""),
        Just("next-server 10.0.0.2"),
        Just("range 10.0.0.10 10.0.0.20"),
        Just("hardware ethernet 02:00:00:00:00:01"),
        Just("fixed-address 10.0.0.5"),
        Just("deny unknown-clients"),
        Just("option root-path \"iscsi:10.0.0.2::::iqn.2001-04.com.x:y\""),
        Just("weather sunny"),
        Just("option x.y z"),
        Just("option a code 224 = { integer 8, text }"),
        Just("include \"nowhere\""),
    ];
    let block = prop_oneof![
        Just("subnet 10.0.0.0 netmask 255.255.255.0"),
        Just("group"),
        Just("host a"),
        Just("host b"),
        Just("pool"),
        Just("shared-network w"),
        Just("class \"c\""),
        Just("if exists user-class"),
        Just("elsif known"),
        Just("else"),
        Just("on commit"),
        Just("nonsense"),
    ];
    let leaf = simple.prop_map(|s| format!("{s};\n"));
    leaf.prop_recursive(4, 24, 5, move |inner| {
        (block.clone(), proptest::collection::vec(inner, 0..5))
            .prop_map(|(head, body)| format!("{head} {{\n{}}}\n", body.concat()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn each_statement_of_any_dhcpd_conf_is_mapped_implied_or_lost(parts in proptest::collection::vec(statement(), 1..12)) {
        let text = parts.concat();
        let source = Source { name: Path::new("/nonexistent/dhcpd.conf").into(), text: text.clone() };
        let (mut sources, mut ledger, mut model) = (Sources::default(), Ledger::default(), Model::default());
        one(Format::Dhcpd, &source, &mut sources, &mut ledger, &mut model);
        model.settle();
        let built = build(&model, &mut ledger, &Options::default()).unwrap();
        let lines = text.lines().filter(|l| *l != "}").count();
        let statements = ledger.close();
        prop_assert_eq!(statements.len(), lines);
        for (n, line) in text.lines().enumerate().filter(|(_, l)| *l != "}") {
            let number = u32::try_from(n + 1).unwrap();
            let found = statements.iter().find(|s| s.line == number);
            prop_assert!(found.is_some_and(|s| !s.because.is_empty()), "{}: {}", number, line);
        }
        // What is said to stand in the lab changes it; what is lost or implied does not show up by itself.
        let lab = crate::lab::parse(&built.text).unwrap();
        let mapped = statements.iter().any(|s| s.fate == Fate::Mapped);
        prop_assert_eq!(mapped, lab != crate::lab::Lab::default(), "{}\n{:#?}", built.text, statements);
    }

    #[test]
    fn no_text_panics_an_importer(text in "([a-z#!<>{}\\[\\]();=,:'\"./0-9 \\n-]|subnet |host |if |option |\"Dhcp4\": |dhcp-range=|<target |kernel |\\$\\{){0,80}") {
        fuzz(text.as_bytes());
    }

    #[test]
    fn no_damage_to_a_real_file_panics_an_importer(
        which in 0usize..13,
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40, "[{}();\"\\[\\]<>=,#a0 \\n]{0,3}"), 1..6),
    ) {
        let name = names()[which].clone();
        for path in inputs(&name) {
            let mut text = fs::read_to_string(path).unwrap();
            for (at, length, put) in &cuts {
                let at = at.index(text.len() + 1);
                let end = (at + length).min(text.len());
                if text.is_char_boundary(at) && text.is_char_boundary(end) {
                    text.replace_range(at..end, put);
                }
            }
            fuzz(text.as_bytes());
        }
    }
}
