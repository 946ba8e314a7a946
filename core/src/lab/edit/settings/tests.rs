use super::*;
use crate::lab::settings::settings_of;
use crate::lab::{Boot, Install, InstallThen, SettingEntry, Settings};

const LAB: &str = "version = 1
# The bench in the cellar.
[network]
interface = \"none0\"
address = \"192.168.2.1/24\"   # ours
range = \"192.168.2.20-192.168.2.99\"
lease = \"30m\" # short

# Second floor.
[[network.subnet]]
subnet = \"10.1.0.0/24\" # by the relay
range = \"10.1.0.20-10.1.0.99\"

[[firmware]]
arch = \"uefi-x64\"
file = \"snponly.efi\"

[[profile]]
name = \"debian\"
kernel = \"linux\" # 12.5
args = \"quiet\"

[[disk]]
name = \"gold\"
image = \"gold.raw\"
chap = { user = \"anna\", secret = \"twelve-bytes\" } # told to nobody

[[host]]
mac = \"52:54:00:00:00:01\"
";

struct Bench {
    dir: tempfile::TempDir,
    document: Document,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    Bench { document: Document::parse(LAB).unwrap(), dir }
}

impl Bench {
    fn change(&mut self, changes: &[SettingChange]) -> Result<Vec<SettingProblem>, LabError> {
        let folder = Folder::open_or_create(self.dir.path()).unwrap();
        std::fs::write(folder.firmware().join("snponly.efi"), [1]).unwrap();
        std::fs::write(folder.firmware().join("ipxe.efi"), [1]).unwrap();
        let hosts = [(HostId(1), HostRef::Entry(0))].into();
        let around = SettingSurroundings { folder: &folder, interfaces: &[], hosts: &hosts };
        self.document.change_settings(changes, &around)
    }

    /// What is refused, with the key at fault.
    fn refused(&mut self, changes: &[SettingChange]) -> Vec<(Option<usize>, String)> {
        let before = self.document.text().to_owned();
        let found = self.change(changes).unwrap();
        assert_eq!(self.document.text(), before, "nothing is changed");
        let errors: Vec<_> = found.into_iter().filter(|p| p.error).map(|p| (p.change, p.message)).collect();
        assert!(!errors.is_empty());
        errors
    }

    fn lines(&mut self, changes: &[SettingChange]) -> Vec<String> {
        let before = self.document.text().to_owned();
        let found = self.change(changes).unwrap();
        assert!(!found.iter().any(|p| p.error), "{found:?}");
        let old: Vec<&str> = before.lines().collect();
        self.document.text().lines().filter(|line| !old.contains(line)).map(str::to_owned).collect()
    }

    fn settings(&self) -> Settings {
        let lab = crate::lab::parse(self.document.text()).unwrap();
        settings_of(self.document.text(), &lab, &[HostId(1)])
    }
}

fn network() -> SettingPlace {
    SettingPlace::Network { interface: "none0".into() }
}

fn subnet() -> SettingPlace {
    SettingPlace::Subnet { interface: "none0".into(), subnet: "10.1.0.0/24".into() }
}

fn rule() -> SettingPlace {
    SettingPlace::Firmware { arch: Some("uefi-x64".into()), mac: None }
}

fn disk() -> SettingPlace {
    SettingPlace::Disk { name: "gold".into() }
}

fn set(place: SettingPlace, key: &str, value: SettingValue) -> SettingChange {
    SettingChange::Set { place, key: key.into(), value: Some(value) }
}

fn text(place: SettingPlace, key: &str, value: &str) -> SettingChange {
    set(place, key, SettingValue::text(value))
}

fn clear(place: SettingPlace, key: &str) -> SettingChange {
    SettingChange::Set { place, key: key.into(), value: None }
}

#[test]
fn a_key_changes_its_line_and_no_other() {
    let mut bench = bench();
    assert_eq!(bench.lines(&[text(network(), "lease.default", "10m")]), ["lease = \"10m\" # short"]);
    assert_eq!(
        bench.lines(&[text(network(), "lease.max", "2h")]),
        ["lease = { default = \"10m\", max = \"2h\" } # short"]
    );
    assert_eq!(bench.lines(&[clear(network(), "lease.max")]), ["lease = { default = \"10m\" } # short"]);
    assert_eq!(bench.lines(&[text(network(), "domain", "lab.example.org")]), ["domain = \"lab.example.org\""]);
    let dns = SettingValue::List(vec!["192.168.2.2".into(), "192.168.2.3".into()]);
    assert_eq!(bench.lines(&[set(network(), "dns", dns)]), ["dns = [\"192.168.2.2\", \"192.168.2.3\"]"]);
    assert_eq!(bench.lines(&[text(subnet(), "lease.default", "1h")]), ["lease = \"1h\""]);
    assert_eq!(
        bench.lines(&[set(SettingPlace::Ports, "http", SettingValue::Number(8080))]),
        ["[ports]", "http = 8080"]
    );
    assert_eq!(bench.lines(&[text(rule(), "file", "ipxe.efi")]), ["file = \"ipxe.efi\""]);
    let profile = SettingPlace::Profile { name: "debian".into() };
    assert_eq!(bench.lines(&[text(profile, "args", "quiet splash")]), ["args = \"quiet splash\""]);
    assert_eq!(bench.lines(&[text(disk(), "writes", "fresh")]), ["writes = \"fresh\""]);
    let host = SettingPlace::Host { host: HostId(1) };
    assert_eq!(bench.lines(&[text(host, "address", "192.168.2.7")]), ["address = \"192.168.2.7\""]);
    for comment in ["# The bench in the cellar.", "# ours", "# short", "# Second floor.", "# by the relay", "# 12.5"] {
        assert!(bench.document.text().contains(comment), "{comment}");
    }
}

#[test]
fn what_the_reader_refuses_is_told_for_the_key_at_fault_and_changes_nothing() {
    let mut bench = bench();
    let refused =
        bench.refused(&[text(network(), "domain", "ok.example"), text(network(), "range", "10.0.0.1-10.0.0.9")]);
    assert_eq!(refused[0].0, Some(1));
    assert!(refused[0].1.contains("the range 10.0.0.1-10.0.0.9 is not inside 192.168.2.0/24"), "{refused:?}");
    let refused = bench.refused(&[text(network(), "lease.default", "1s")]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("runs out while a machine boots"), "{refused:?}");
    let refused = bench.refused(&[text(network(), "lease.default", "2h"), text(network(), "lease.max", "1x")]);
    assert!(refused[0].0 == Some(1) && refused[0].1.contains("`max`"), "{refused:?}");
    let refused = bench.refused(&[set(SettingPlace::Ports, "https", SettingValue::Number(80))]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("both have port 80"), "{refused:?}");
    let refused = bench.refused(&[text(SettingPlace::Ports, "http", "eighty")]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("`http` must be a number"), "{refused:?}");
    let refused = bench.refused(&[text(network(), "mode", "sever")]);
    assert!(refused[0].1.contains("it is one of dhcp, proxy, auto"), "{refused:?}");
    let refused = bench.refused(&[clear(subnet(), "range")]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("has no `range`"), "{refused:?}");
    let refused = bench.refused(&[text(rule(), "file", "ipxo.efi")]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("did you mean `ipxe.efi`"), "{refused:?}");
    let refused = bench.refused(&[text(network(), "interface", "eth1")]);
    assert!(refused[0].1.contains("`interface` cannot be changed here"), "{refused:?}");
    let refused = bench.refused(&[clear(disk(), "chap.secret")]);
    assert!(refused[0].1.contains("has no `secret`"), "{refused:?}");
    assert!(matches!(
        bench.change(&[text(SettingPlace::Disk { name: "lead".into() }, "writes", "keep")]),
        Err(LabError::NoEntry)
    ));
}

#[test]
fn all_that_a_person_says_of_a_machine_is_changed_in_its_entry() {
    let mut bench = bench();
    let host = SettingPlace::Host { host: HostId(1) };
    let changes = [
        text(host.clone(), "name", "pc-01"),
        text(host.clone(), "group", "room-1"),
        set(host.clone(), "seat", SettingValue::Numbers(vec![2, 3])),
        set(host.clone(), "mac", SettingValue::List(vec!["52:54:00:00:00:01".into(), "52:54:00:00:00:09".into()])),
        text(host.clone(), "uuid", "4c4c4544-0042-3510-8052-b4c04f4e4e32"),
        text(host.clone(), "firmware", "ipxe.efi"),
    ];
    let undo = bench.settings().undo(&changes);
    let added = bench.lines(&changes);
    assert!(added.contains(&"seat = [2, 3]".to_owned()), "{added:?}");
    assert!(added.contains(&"mac = [\"52:54:00:00:00:01\", \"52:54:00:00:00:09\"]".to_owned()), "{added:?}");
    assert_eq!(bench.settings().value(&host, "seat"), Some(&SettingValue::Numbers(vec![2, 3])));
    assert!(bench.change(&undo).unwrap().is_empty());
    assert_eq!(crate::lab::parse(bench.document.text()), crate::lab::parse(LAB), "undo takes all of it back");
    for (key, value, says) in [
        ("name", "PC 1", "is not a name"),
        ("seat", "2 and 3", "`seat` must be [row, column]"),
        ("mac", "52:54:00", "52:54:00"),
        ("uuid", "4c4c", "is not a UUID"),
        ("address", "192.168.2.1", "this computer's own address"),
        ("firmware", "ipxo.efi", "did you mean `ipxe.efi`"),
    ] {
        let refused = bench.refused(&[text(host.clone(), key, value)]);
        assert!(refused[0].0 == Some(0) && refused[0].1.contains(says), "{key}: {refused:?}");
    }
    bench.lines(&[text(host.clone(), "name", "pc-01")]);
    let refused = bench.refused(&[clear(host, "mac")]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("`mac`"), "{refused:?}");
}

#[test]
fn a_machine_without_an_entry_gets_one_for_all_of_its_keys() {
    let mut bench = bench();
    let folder = Folder::open_or_create(bench.dir.path()).unwrap();
    let mac = "52:54:00:00:00:02".parse().unwrap();
    let hosts = [(HostId(7), HostRef::New { mac, uuid: None })].into();
    let around = SettingSurroundings { folder: &folder, interfaces: &[], hosts: &hosts };
    let host = SettingPlace::Host { host: HostId(7) };
    let nothing = bench.document.change_settings(&[clear(host.clone(), "name")], &around).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(bench.document.text(), LAB, "nothing is taken away from what is not there");
    let wrong = [text(host.clone(), "name", "pc-02"), text(host.clone(), "address", "10.0.0.1")];
    let found = bench.document.change_settings(&wrong, &around).unwrap();
    assert!(found.len() == 1 && found[0].change == Some(1) && found[0].error, "{found:?}");
    let right = [text(host.clone(), "name", "pc-02"), text(host, "address", "192.168.2.7")];
    assert!(bench.document.change_settings(&right, &around).unwrap().is_empty());
    let lab = crate::lab::parse(bench.document.text()).unwrap();
    assert_eq!(lab.hosts.len(), 2, "{}", bench.document.text());
    assert_eq!((lab.hosts[1].macs.clone(), lab.hosts[1].address), (vec![mac], Some([192, 168, 2, 7].into())));
}

#[test]
fn unknown_machines_are_erased_only_where_that_is_said() {
    let mut bench = bench();
    let install = Install { profile: "debian".parse().unwrap(), then: InstallThen::Local };
    let install = set(network(), "unknown", SettingValue::Boot(Boot::Install(install)));
    let refused = bench.refused(std::slice::from_ref(&install));
    assert!(refused[0].1.contains("erasing its disks"), "{refused:?}");
    let agreed = set(network(), "unknown-erases-disks", SettingValue::Flag(true));
    bench.lines(&[install.clone(), agreed]);
    assert_eq!(bench.settings().value(&network(), "unknown"), Some(&install_value(&install)));
}

fn install_value(change: &SettingChange) -> SettingValue {
    let SettingChange::Set { value: Some(value), .. } = change else { panic!("no value") };
    value.clone()
}

#[test]
fn changes_that_need_each_other_are_made_together() {
    let mut bench = bench();
    let moved = [
        text(network(), "address", "10.9.0.1/24"),
        text(network(), "range", "10.9.0.20-10.9.0.99"),
        text(subnet(), "subnet", "10.2.0.0/24"),
        text(subnet(), "range", "10.2.0.20-10.2.0.99"),
    ];
    bench.refused(&moved[..1]);
    let undo = bench.settings().undo(&moved);
    bench.lines(&moved);
    assert!(bench.document.text().contains("address = \"10.9.0.1/24\"   # ours"));
    assert!(bench.change(&undo).unwrap().is_empty());
    assert_eq!(bench.document.text(), LAB, "undo gives the very file back");
}

#[test]
fn entries_are_added_and_removed_and_come_back() {
    let mut bench = bench();
    let place = SettingPlace::Subnet { interface: "none0".into(), subnet: "10.2.0.0/24".into() };
    let range = ("range".to_owned(), SettingValue::text("10.2.0.20-10.2.0.99"));
    let add = SettingChange::Add { place: place.clone(), keys: [range].into() };
    let undo = bench.settings().undo(std::slice::from_ref(&add));
    let added = bench.lines(std::slice::from_ref(&add));
    assert!(added.contains(&"subnet = \"10.2.0.0/24\"".to_owned()), "{}", bench.document.text());
    let lab = crate::lab::parse(bench.document.text()).unwrap();
    assert_eq!((lab.networks[0].subnets.len(), lab.hosts.len(), lab.firmware.len()), (2, 1, 1));
    bench.change(&undo).unwrap();
    assert_eq!(crate::lab::parse(bench.document.text()).unwrap().networks[0].subnets.len(), 1);
    let refused = bench.refused(&[SettingChange::Add { place, keys: [].into() }]);
    assert!(refused[0].0 == Some(0) && refused[0].1.contains("has no `range`"), "{refused:?}");
    let mac = SettingPlace::Firmware { arch: None, mac: Some("b8:27:eb".into()) };
    let keys = [("file".to_owned(), SettingValue::text("ipxe.efi")), ("https".to_owned(), SettingValue::Flag(true))];
    bench.lines(&[SettingChange::Add { place: mac.clone(), keys: keys.into() }]);
    let remove = SettingChange::Remove { place: mac.clone() };
    let undo = bench.settings().undo(std::slice::from_ref(&remove));
    bench.change(&[remove]).unwrap();
    assert!(bench.settings().entry(&mac).is_none());
    bench.change(&undo).unwrap();
    assert_eq!(bench.settings().value(&mac, "https"), Some(&SettingValue::Flag(true)));
}

#[test]
fn a_secret_is_written_and_told_to_nobody() {
    let mut bench = bench();
    let settings = bench.settings();
    assert_eq!(settings.value(&disk(), "chap.user"), Some(&SettingValue::text("anna")));
    assert_eq!(settings.value(&disk(), "chap.secret"), Some(&SettingValue::Secret(NewSecret(None))));
    assert!(!serde_json::to_string(&settings).unwrap().contains("twelve-bytes"));
    let new = set(disk(), "chap.secret", SettingValue::Secret(NewSecret(Some("thirteen-byte".into()))));
    assert!(!format!("{new:?}").contains("thirteen"));
    assert!(settings.undo(std::slice::from_ref(&new)).is_empty(), "the former one is not known");
    assert_eq!(bench.lines(&[new]), ["chap = { user = \"anna\", secret = \"thirteen-byte\" } # told to nobody"]);
    bench.lines(&[clear(disk(), "chap.user"), clear(disk(), "chap.secret")]);
    assert!(!bench.document.text().contains("chap"), "{}", bench.document.text());
}

#[test]
fn whichever_way_a_person_wrote_it_it_is_changed_there() {
    let inline = "version = 1\nports.http = 8080 # dotted\nnetwork = { interface = \"none0\", lease = { max = \"2h\" }, \
                  subnet = [{ subnet = \"10.1.0.0/24\", range = \"10.1.0.20-10.1.0.99\" }] }\n\
                  disk = [{ name = \"gold\", image = \"gold.raw\" }]\n";
    let mut bench = Bench { document: Document::parse(inline).unwrap(), ..bench() };
    bench.lines(&[
        text(network(), "lease.default", "1h"),
        text(subnet(), "domain", "a.example"),
        text(disk(), "writes", "fresh"),
        set(SettingPlace::Ports, "http", SettingValue::Number(81)),
    ]);
    let after = bench.document.text();
    assert!(
        after.contains("ports.http = 81 # dotted") && after.contains("lease = { max = \"2h\", default = \"1h\" }"),
        "{after}"
    );
    let entry = |settings: &Settings, place: &SettingPlace| -> SettingEntry { settings.entry(place).unwrap().clone() };
    assert_eq!(entry(&bench.settings(), &subnet()).keys["domain"], SettingValue::text("a.example"));
}

#[test]
fn a_subnet_takes_its_own_comment_with_it_and_no_other() {
    let mut bench = bench();
    let apart = "# ---- Ask Karl first. ----\n\n# Second floor.";
    bench.document = Document::parse(&LAB.replace("# Second floor.", apart)).unwrap();
    bench.change(&[SettingChange::Remove { place: subnet() }]).unwrap();
    let text = bench.document.text();
    assert!(!text.contains("Second floor") && !text.contains("10.1.0.0"), "{text}");
    assert!(text.contains("# short\n\n# ---- Ask Karl first. ----\n\n[[firmware]]"), "{text}");
}

#[test]
fn a_key_that_is_taken_away_takes_its_own_comment_with_it_and_no_other() {
    let mut bench = bench();
    let lab = LAB.replace("range = \"192", "# Agreed with Karl:\n\n# the free half\nrange = \"192");
    bench.document = Document::parse(&lab).unwrap();
    bench.change(&[clear(network(), "range")]).unwrap();
    let text = bench.document.text();
    assert!(!text.contains("the free half"), "{text}");
    assert!(text.contains("# ours\n# Agreed with Karl:\nlease = \"30m\" # short\n"), "{text}");
    // The last of its table.
    let lab = LAB.replace("lease = \"30m\"", "\n# Agreed with Karl:\n\nlease = \"30m\"");
    bench.document = Document::parse(&lab).unwrap();
    bench.change(&[clear(network(), "lease.default")]).unwrap();
    let text = bench.document.text();
    assert!(text.contains("192.168.2.99\"\n\n# Agreed with Karl:\n\n# Second floor.\n"), "{text}");
}

#[test]
fn comments_between_braces_stay() {
    let mut bench = bench();
    let braces = "chap = {\n    user = \"anna\", # in the cellar\n    secret = \"twelve-bytes\",\n}";
    let lab = LAB.replace("chap = { user = \"anna\", secret = \"twelve-bytes\" }", braces);
    bench.document = Document::parse(&lab).unwrap();
    bench.change(&[text(disk(), "chap.user", "bert")]).unwrap();
    assert_eq!(bench.document.text(), lab.replace("\"anna\"", "\"bert\""));
}
