use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::boot::{Arch, FirmwareFile};
use crate::exchange::{Fate, Import, Options, import};

const LAB: &str = r#"version = 1

[network]
interface = "br0"
address = "192.168.77.1/24"
range = "192.168.77.20-192.168.77.40"
router = "192.168.77.254"
dns = ["192.168.77.253", "9.9.9.9"]
domain = "lab.example"
lease = { default = "1h", max = "1h" }
unknown = "wait"

[[network.subnet]]
subnet = "10.1.0.0/24"
range = "10.1.0.20-10.1.0.200"
router = "10.1.0.1"
dns = ["9.9.9.9"]
domain = "far.example"
lease = { default = "30m", max = "30m" }

[[profile]]
name = "debian-12"
kernel = "debian 12/linux"
initrd = ["debian 12/initrd.gz", "more/firmware.cpio.gz"]
args = "auto=true priority=critical"

[[disk]]
name = "server01"
image = "server01.raw"
chap = { user = "u", secret = "twelve-bytes", mutual-user = "t", mutual-secret = "other-twelve" }
allow = ["192.168.77.0/24"]

[[disk]]
name = "server02"
image = "server02.raw"
readonly = true

[[host]]
mac = "52:54:00:00:00:01"
name = "one"
address = "192.168.77.11"
boot = { iscsi = "server01" }

[[host]]
mac = "52:54:00:00:00:02"
name = "two"
address = "192.168.77.12"
boot = { install = "debian-12", then = "local" }

[[host]]
mac = "52:54:00:00:00:03"
name = "three"
address = "10.1.0.11"
boot = "local"

[[host]]
mac = "52:54:00:00:00:04"
name = "four"
boot = "menu"

[[host]]
mac = "52:54:00:00:00:05"
name = "five"
boot = { iscsi = "server02", via = "root-path" }

[[host]]
mac = "52:54:00:00:00:06"
name = "six"
boot = { install = "debian-12", then = { iscsi = "server02" } }

[[host]]
mac = "52:54:00:00:00:07"
name = "seven"
"#;

fn firmware() -> Firmware {
    let mut out = Firmware::default();
    for (arch, name) in
        [(Arch::Bios, "undionly.kpxe"), (Arch::UefiX64, "snponly.efi"), (Arch::UefiArm64, "arm/snponly.efi")]
    {
        let path = PathBuf::from("/nonexistent").join(name);
        out.by_arch.insert(arch, FirmwareFile { name: name.into(), path: path.clone(), size: 1 });
        out.files.insert(name.into(), path);
    }
    out
}

/// With a size for each disk: the images are nowhere.
fn sized(lab: &str) -> String {
    lab.replace("[[disk]]\n", "[[disk]]\nsize = \"64 MiB\"\n")
}

fn exported(lab: &Lab, format: ExportFormat, lun: u8) -> Export {
    let firmware = firmware();
    let subject = Subject {
        lab,
        addresses: lab.networks.iter().map(|n| n.address).collect(),
        firmware: &firmware,
        media: Path::new("/lab/media"),
        disks: Path::new("/lab/disks"),
        server: None,
        lun,
        place: Path::new("/srv/bootyard"),
    };
    export(format, &subject).unwrap()
}

/// Writes the files, and imports what a person would: the configuration, iPXE's scripts and the targets.
fn back(exports: &[Export], lab: &Lab) -> Import {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for file in exports.iter().flat_map(|e| &e.files) {
        let path = dir.path().join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &file.text).unwrap();
        if path.extension().is_none_or(|e| e != "gpxe") {
            files.push(path);
        }
    }
    let interface = Some(lab.networks[0].interface.clone());
    import(&files, &Options { interface, ..Options::default() }).unwrap()
}

fn sorted(mut lab: Lab) -> Lab {
    lab.hosts.sort_by_key(|h| h.macs.clone());
    lab.disks.sort_by_key(|d| d.name.clone());
    // How iPXE is told of a disk is not the same in every format, and leads to the same boot.
    for host in &mut lab.hosts {
        if let Some(crate::lab::Boot::Iscsi(iscsi)) = &mut host.boot {
            iscsi.via = crate::lab::IscsiVia::Script;
        }
    }
    lab
}

#[test]
fn our_own_exports_come_back_as_the_same_lab() {
    let lab = crate::lab::parse(LAB).unwrap();
    for format in [ExportFormat::Dhcpd, ExportFormat::Dnsmasq, ExportFormat::Kea] {
        let exports = [exported(&lab, format, 1), exported(&lab, ExportFormat::Tgt, 1)];
        let import = back(&exports, &lab);
        let lost: Vec<String> = import
            .statements
            .iter()
            .filter(|s| s.fate == Fate::Lost)
            .map(|s| format!("{}:{} {} -- {}", s.file.display(), s.line, s.text, s.because))
            .collect();
        let read = crate::lab::parse(&import.text).unwrap();
        assert_eq!(sorted(read), sorted(lab.clone()), "{format:?}: {lost:#?}");
        // The scripts' own secrets and menus have their place elsewhere.
        let expected =
            ["set username", "set password", "set reverse", "menu ", "item ", "choose ", "203", "initiator-iqn"];
        for line in lost {
            assert!(expected.iter().any(|e| line.contains(e)), "{format:?}: {line}");
        }
    }
}

#[test]
fn what_firmware_and_ipxe_are_given_is_in_each_format() {
    let lab = crate::lab::parse(LAB).unwrap();
    for format in [ExportFormat::Dhcpd, ExportFormat::Dnsmasq, ExportFormat::Kea] {
        let export = exported(&lab, format, 0);
        let text = &export.files[0].text;
        for part in [
            "undionly.kpxe",
            "snponly.efi",
            "arm/snponly.efi",
            "http://192.168.77.1/firmware/snponly.efi",
            "http://192.168.77.1/boot/52-54-00-00-00-01/boot.ipxe",
            "http://192.168.77.1/boot/52-54-00-00-00-01/boot.gpxe",
            "http://192.168.77.1/boot/default/boot.ipxe",
        ] {
            assert!(text.contains(part), "{format:?} lacks {part}:\n{text}");
        }
        // Kea's machines have their disks from scripts alone.
        let root = text.contains("iscsi:192.168.77.1:::0:iqn.2026-11.org.bootyard:server02");
        assert_eq!(root, format != ExportFormat::Kea, "{format:?}:\n{text}");
        assert!(!text.contains("twelve"), "{format:?} shows a secret");
        let copies: BTreeSet<&Path> = export.copies.iter().map(|(_, to)| to.as_path()).collect();
        for name in ["tftp/undionly.kpxe", "http/firmware/snponly.efi", "http/media/debian 12/linux"] {
            assert!(copies.contains(Path::new(name)), "{format:?} lacks {name}: {copies:?}");
        }
    }
}

#[test]
fn secrets_are_in_files_for_their_owner_alone() {
    let lab = crate::lab::parse(&sized(LAB)).unwrap();
    for format in ExportFormat::ALL {
        let hex = "74:77:65:6c:76:65";
        for file in exported(&lab, format, 0).files {
            let holds = file.text.contains("twelve") || file.text.contains(hex);
            assert_eq!(holds, file.secret, "{format:?}: {}", file.path.display());
        }
    }
}

#[test]
fn a_static_script_never_erases_a_disk_by_itself() {
    let lab = crate::lab::parse(LAB).unwrap();
    let export = exported(&lab, ExportFormat::Dhcpd, 0);
    let script = |mac: &str, end: &str| {
        let name = format!("http/boot/{mac}/boot.{end}");
        export.files.iter().find(|f| f.path == Path::new(&name)).unwrap().text.clone()
    };
    let ipxe = script("52-54-00-00-00-02", "ipxe");
    let (before, after) = ipxe.split_once(":install\n").unwrap();
    assert!(before.contains("prompt --key i") && before.trim_end().ends_with("exit"), "{ipxe}");
    assert!(
        !before.contains("kernel") && after.contains("kernel http://192.168.77.1/media/debian%2012/linux auto=true"),
        "{ipxe}"
    );
    assert!(!script("52-54-00-00-00-02", "gpxe").contains("kernel"));
    assert!(script("52-54-00-00-00-06", "ipxe").contains("sanhook --drive 0x80 iscsi:192.168.77.1:::0:"));
}

#[test]
fn machines_that_share_a_dock_have_one_entry() {
    let uuid = |n: u8| format!("uuid = \"00000000-0000-0000-0000-00000000000{n}\"\n");
    let lab = format!(
        "version = 1\n[network]\ninterface = \"br0\"\naddress = \"192.168.77.1/24\"\n\
         [[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"one\"\n{}boot = \"local\"\n\
         [[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"two\"\n{}boot = \"menu\"\n\
         [[host]]\nmac = [\"52:54:00:00:00:02\", \"52:54:00:00:00:03\"]\nname = \"three\"\n\
         [[host]]\nmac = \"52:54:00:00:00:04\"\nname = \"three-2\"\n",
        uuid(1),
        uuid(2)
    );
    let lab = crate::lab::parse(&lab).unwrap();
    let export = exported(&lab, ExportFormat::Dhcpd, 0);
    let text = &export.files[0].text;
    assert_eq!(text.matches("hardware ethernet 52:54:00:00:00:01;").count(), 1, "{text}");
    let names: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("host ")).collect();
    assert_eq!(names, ["one {", "three {", "three-3 {", "three-2 {"]);
    let paths: BTreeSet<&Path> = export.files.iter().map(|f| f.path.as_path()).collect();
    assert_eq!(paths.len(), export.files.len(), "{paths:?}");
    assert!(export.notes.iter().any(|n| n.starts_with("two: ") && n.contains("first entry")), "{:?}", export.notes);
}

#[test]
fn dnsmasq_answers_http_firmware_in_its_class_once() {
    let lab = crate::lab::parse(LAB).unwrap();
    let export = exported(&lab, ExportFormat::Dnsmasq, 0);
    let count = |text: &str| text.matches("dhcp-option-force=tag:http,60,HTTPClient\n").count();
    assert_eq!(count(&export.files[0].text), 1);
    // Machines without an entry are ignored; one machine boots by HTTP.
    let text = LAB.replace("unknown = \"wait\"", "unknown = \"ignore\"");
    let export = exported(&crate::lab::parse(&text).unwrap(), ExportFormat::Dnsmasq, 0);
    let text = &export.files[0].text;
    assert!(text.contains("http://192.168.77.1/firmware/"), "{text}");
    assert_eq!(count(text), 1, "{text}");
}

fn targets(disk: &str, address: &str) -> Export {
    let text = format!(
        "version = 1\n[[disk]]\nname = \"a\"\nimage = \"golden.raw\"\n{disk}\n\
         [[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"one\"\n{address}\nboot = {{ iscsi = \"a\" }}\n"
    );
    exported(&crate::lab::parse(&text).unwrap(), ExportFormat::Tgt, 1)
}

#[test]
fn tgt_takes_plain_chap_names_and_secrets_and_is_closed_with_others() {
    let plain = targets("chap = { user = \"u@x\", secret = \"twelve-b/+=es\" }", "");
    assert!(plain.files[0].text.contains("    incominguser u@x twelve-b/+=es\n"), "{}", plain.files[0].text);
    for secret in ["twelve bytes", "twelve\\\"bytes", "twelve#bytes", "twelve$bytes", "twelve\\u00e4bytes"] {
        let export = targets(&format!("chap = {{ user = \"u\", secret = \"{secret}\" }}"), "");
        let text = &export.files[0].text;
        assert!(!text.contains("incominguser") && !text.contains("bytes") && !export.files[0].secret, "{text}");
        assert!(text.contains("initiator-address 127.0.0.1\n") && !text.contains("initiator-name"), "{text}");
        assert!(export.notes.iter().any(|n| n.contains("CHAP")), "{:?}", export.notes);
    }
}

#[test]
fn allow_does_not_lock_out_the_hosts_that_are_given_the_disk() {
    let allow = "allow = [\"10.9.0.0/24\"]";
    let text = targets(allow, "address = \"10.8.0.5\"").files[0].text.clone();
    assert!(text.contains("initiator-address 10.9.0.0/24\n    initiator-address 10.8.0.5\n"), "{text}");
    assert!(!targets(allow, "address = \"10.9.0.5\"").files[0].text.contains("10.9.0.5"));
    let notes = targets(allow, "").notes;
    assert!(notes.iter().any(|n| n.contains("one is given it and has no `address`")), "{notes:?}");
}

#[test]
fn a_target_writes_into_a_copy_and_not_into_the_golden_image() {
    for (disk, golden) in
        [("", false), ("writes = \"fresh\"", false), ("writes = \"image\"", true), ("readonly = true", true)]
    {
        let export = targets(disk, "");
        let text = &export.files[0].text;
        assert_eq!(text.contains("/lab/disks/golden.raw"), golden, "{disk}: {text}");
        assert_eq!(text.contains("<backing-store /srv/bootyard/a.raw>"), !golden, "{disk}: {text}");
        let told = export.notes.iter().any(|n| n.contains("`bootyard disks export a /srv/bootyard/a.raw`"));
        assert_eq!(told, !golden, "{disk}: {:?}", export.notes);
    }
    let lab = "version = 1\n[[disk]]\nname = \"a\"\nimage = \"/dev/vg/a\"\nsize = \"1 MiB\"\n";
    let lab = crate::lab::parse(lab).unwrap();
    let text = exported(&lab, ExportFormat::Lio, 0).files[0].text.clone();
    assert!(text.contains("/srv/bootyard/a.raw") && text.contains("/backstores/fileio/a"), "{text}");
    assert!(!text.contains("/dev/vg/a"), "{text}");
}

#[test]
fn the_menu_for_everybody_has_no_disk_with_a_secret() {
    let text = LAB.replace("unknown = \"wait\"", "unknown = \"menu\"");
    let export = exported(&crate::lab::parse(&text).unwrap(), ExportFormat::Dhcpd, 0);
    let menu = export.files.iter().find(|f| f.path == Path::new("http/boot/default/boot.ipxe")).unwrap();
    assert!(!menu.secret && menu.text.contains("item iscsi-server02"), "{}", menu.text);
    assert!(!menu.text.contains("server01") && !menu.text.contains("password"), "{}", menu.text);
    assert!(export.notes.iter().any(|n| n.starts_with("server01: ") && n.contains("menu")), "{:?}", export.notes);
}

/// rtslib refuses a store without a size.
#[test]
fn lio_is_given_no_disk_whose_size_nobody_knows() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("there.raw"), [0; 1024]).unwrap();
    fs::write(dir.path().join("empty.raw"), []).unwrap();
    let disk = |name: &str, more: &str| format!("[[disk]]\nname = \"{name}\"\nimage = \"{name}.raw\"\n{more}\n");
    let lab = |disks: &[String]| crate::lab::parse(&format!("version = 1\n{}", disks.concat())).unwrap();
    let firmware = Firmware::default();
    let written = |lab: &Lab| {
        let subject = Subject {
            lab,
            addresses: Vec::new(),
            firmware: &firmware,
            media: Path::new("/lab/media"),
            disks: dir.path(),
            server: None,
            lun: 0,
            place: Path::new("/srv/bootyard"),
        };
        export(ExportFormat::Lio, &subject)
    };
    let all = [disk("there", ""), disk("gone", ""), disk("empty", ""), disk("told", "size = \"1 MiB\"")];
    let out = written(&lab(&all)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&out.files[0].text).unwrap();
    let of = |key: &str| json[key].as_array().unwrap().clone();
    let sizes: Vec<_> = of("storage_objects").iter().map(|s| (s["name"].clone(), s["size"].clone())).collect();
    assert_eq!(sizes, [("there".into(), 1024.into()), ("told".into(), (1 << 20).into())]);
    assert_eq!(of("targets").len(), 2);
    for name in ["gone", "empty"] {
        let told = |n: &&String| n.starts_with(&format!("{name} is left out: ")) && n.contains(&format!("{name}.raw"));
        assert_eq!(out.notes.iter().filter(told).count(), 1, "{:?}", out.notes);
    }
    // Nothing at all would take away what the server has.
    let error = written(&lab(&all[1..2])).unwrap_err().to_string();
    assert!(error.contains("gone.raw") && error.contains("size"), "{error}");
}

/// The form that rtslib's restore reads: every LUN has its store, every mapped LUN its LUN.
#[test]
fn lio_s_json_has_its_form() {
    let lab = crate::lab::parse(&sized(LAB)).unwrap();
    let export = exported(&lab, ExportFormat::Lio, 0);
    let json: serde_json::Value = serde_json::from_str(&export.files[0].text).unwrap();
    let stores: BTreeSet<String> = json["storage_objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| format!("/backstores/{}/{}", s["plugin"].as_str().unwrap(), s["name"].as_str().unwrap()))
        .collect();
    let targets = json["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    for target in targets {
        assert_eq!(target["fabric"], "iscsi");
        let tpg = &target["tpgs"][0];
        let luns: BTreeSet<u64> =
            tpg["luns"].as_array().unwrap().iter().map(|l| l["index"].as_u64().unwrap()).collect();
        for lun in tpg["luns"].as_array().unwrap() {
            assert!(stores.contains(lun["storage_object"].as_str().unwrap()), "{lun}");
        }
        for acl in tpg["node_acls"].as_array().unwrap() {
            assert!(acl["node_wwn"].as_str().unwrap().starts_with("iqn.2026-11.org.bootyard:host."));
            for mapped in acl["mapped_luns"].as_array().unwrap() {
                assert!(luns.contains(&mapped["tpg_lun"].as_u64().unwrap()));
            }
        }
        assert!(tpg["portals"][0]["port"] == 3260);
    }
    let first = &targets[0]["tpgs"][0];
    assert_eq!(first["attributes"]["authentication"], 1);
    assert_eq!(first["node_acls"][0]["chap_password"], "twelve-bytes");
    assert_eq!(targets[1]["tpgs"][0]["node_acls"][0]["mapped_luns"][0]["write_protect"], true);
    // Who has no entry of its own is asked for what the target itself says, where everybody is let in.
    assert!(first.get("chap_userid").is_none(), "{first}");
    let open =
        crate::lab::parse(&sized(LAB).replace(r#"allow = ["192.168.77.0/24"]"#, r#"allow = ["0.0.0.0/0"]"#)).unwrap();
    let export = exported(&open, ExportFormat::Lio, 0);
    let json: serde_json::Value = serde_json::from_str(&export.files[0].text).unwrap();
    let group = &json["targets"][0]["tpgs"][0];
    assert_eq!(group["attributes"]["generate_node_acls"], 1);
    let chap = ["chap_userid", "chap_password", "chap_mutual_userid", "chap_mutual_password"].map(|key| &group[key]);
    assert_eq!(chap, ["u", "twelve-bytes", "t", "other-twelve"]);
}

#[test]
fn a_lab_without_what_a_format_is_about_is_refused() {
    let lab = crate::lab::parse("version = 1\n[network]\ninterface = \"br0\"\n").unwrap();
    let firmware = Firmware::default();
    let subject = |addresses| Subject {
        lab: &lab,
        addresses,
        firmware: &firmware,
        media: Path::new("m"),
        disks: Path::new("d"),
        server: None,
        lun: 0,
        place: Path::new("p"),
    };
    let error = |format, addresses| export(format, &subject(addresses)).unwrap_err().to_string();
    assert!(error(ExportFormat::Dhcpd, vec![None]).contains("br0"));
    assert!(error(ExportFormat::Tgt, vec![None]).contains("[[disk]]"));
    let own = Some("192.168.7.1/29".parse().unwrap());
    let out = export(ExportFormat::Dhcpd, &subject(vec![own])).unwrap();
    assert!(out.files[0].text.contains("range 192.168.7.2 192.168.7.6;"), "{}", out.files[0].text);
}

/// Machines without an entry that are given a disk by root-path, beside one that is ignored and one with a script of its own.
#[test]
fn what_everybody_is_given_does_not_reach_machines_with_an_entry_of_their_own() {
    let text = LAB.replace("unknown = \"wait\"", "unknown = { iscsi = \"server02\", via = \"root-path\" }").replace(
        "name = \"three\"\naddress = \"10.1.0.11\"\nboot = \"local\"",
        "name = \"three\"\naddress = \"10.1.0.11\"\nboot = \"ignore\"",
    );
    let lab = crate::lab::parse(&text).unwrap();
    for format in [ExportFormat::Dhcpd, ExportFormat::Dnsmasq] {
        let export = exported(&lab, format, 0);
        let text = &export.files[0].text;
        // A machine that is not the fifth gets no root-path, and nobody shares an initiator's name.
        let roots: Vec<&str> = text.lines().filter(|l| l.contains("root-path")).collect();
        assert_eq!(roots.len(), if format == ExportFormat::Dhcpd { 2 } else { 1 }, "{format:?}: {roots:?}");
        assert!(!text.contains("02-b0-07-ff-ff-fe"), "{format:?}: {text}");
        let script = export.files.iter().find(|f| f.path == Path::new("http/boot/default/boot.ipxe")).unwrap();
        assert!(script.text.contains("sanboot iscsi:") && !script.text.contains("initiator-iqn"), "{}", script.text);
        // The seventh has no boot of its own: it gets what everybody gets.
        let everybody = "http://192.168.77.1/boot/default/boot.ipxe";
        assert!(text.contains(everybody) && !text.contains("52-54-00-00-00-07/boot"), "{format:?}: {text}");
    }
    // Beside another server iPXE takes no offer without a file, and an ignored machine is offered nothing.
    let text = text.replace("interface = \"br0\"", "interface = \"br0\"\nmode = \"proxy\"");
    let text = &exported(&crate::lab::parse(&text).unwrap(), ExportFormat::Dnsmasq, 0).files[0].text;
    assert!(!text.contains("root-path") && text.contains("52-54-00-00-00-05/boot.ipxe"), "{text}");
    let services: Vec<&str> = text.lines().filter(|l| l.starts_with("pxe-service=")).collect();
    assert!(!services.is_empty() && services.iter().all(|l| l.contains("tag:!quiet,")), "{services:?}");
}

/// dnsmasq has one lease time for each range.
#[test]
fn a_maximum_of_leases_that_dnsmasq_does_not_know_is_told() {
    let told = |lease: &str, format| {
        let lab = LAB.replacen("lease = { default = \"1h\", max = \"1h\" }", lease, 1);
        let export = exported(&crate::lab::parse(&lab).unwrap(), format, 0);
        let notes: Vec<String> = export.notes.into_iter().filter(|n| n.contains("maximum")).collect();
        (notes, export.files[0].text.clone())
    };
    let long = "lease = { default = \"1h\", max = \"1d\" }";
    let (notes, text) = told(long, ExportFormat::Dnsmasq);
    assert!(text.contains(",255.255.255.0,3600s\n"), "{text}");
    assert!(notes.len() == 1 && notes[0].starts_with("192.168.77.0/24: ") && notes[0].contains("1d"), "{notes:?}");
    assert_eq!(told("lease = { default = \"1h\", max = \"1h\" }", ExportFormat::Dnsmasq).0, Vec::<String>::new());
    assert_eq!(told(long, ExportFormat::Dhcpd).0, Vec::<String>::new());
}

/// The boot files that a machine with these tags takes of dnsmasq beside another server: of the services, which come before every dhcp-boot.
fn services(text: &str, tags: &[&str]) -> Vec<String> {
    let holds = |tag: &str| match tag.strip_prefix('!') {
        Some(tag) => !tags.contains(&tag),
        None => tags.contains(&tag),
    };
    let lines = text.lines().filter_map(|l| l.strip_prefix("pxe-service="));
    let parts = lines.map(|l| l.split(',').collect::<Vec<_>>());
    let mine = parts.filter(|parts| parts.iter().filter_map(|p| p.strip_prefix("tag:")).all(holds));
    mine.map(|parts| parts.into_iter().filter(|p| !p.starts_with("tag:")).collect::<Vec<_>>().join(",")).collect()
}

#[test]
fn beside_another_server_a_machine_s_own_file_has_a_service_of_its_own() {
    let lab = |unknown: &str| {
        let text = format!(
            "version = 1\n[network]\ninterface = \"br0\"\naddress = \"192.168.77.1/24\"\nmode = \"proxy\"\n{unknown}\n\
             [[host]]\nmac = \"52:54:00:00:00:01\"\nfirmware = \"arm/snponly.efi\"\nboot = \"local\"\n\
             [[host]]\nmac = \"52:54:00:00:00:02\"\nboot = \"local\"\n\
             [[host]]\nmac = \"52:54:00:00:00:03\"\nboot = \"ignore\"\n"
        );
        crate::lab::parse(&text).unwrap()
    };
    let all = exported(&lab("unknown = \"wait\""), ExportFormat::Dnsmasq, 0);
    let text = &all.files[0].text;
    let tags = |n: usize| {
        let line = text.lines().filter(|l| l.starts_with("dhcp-host=")).nth(n).unwrap();
        line.split(',').filter_map(|p| p.strip_prefix("set:")).collect::<Vec<_>>()
    };
    let own = services(text, &tags(0));
    assert!(own.contains(&"x86-64_EFI,\"Bootyard\",arm/snponly.efi,192.168.77.1".to_owned()), "{text}");
    // UEFI takes none of several.
    let kinds = |all: &[String]| all.iter().map(|s| s.split(',').next().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert!(kinds(&own).len() == own.len() && own.iter().all(|s| s.contains("arm/snponly.efi")), "{own:?}");
    for tags in [tags(1), Vec::new()] {
        let theirs = services(text, &tags);
        assert!(theirs.contains(&"x86-64_EFI,\"Bootyard\",snponly.efi,192.168.77.1".to_owned()), "{tags:?}\n{text}");
        assert!(theirs.contains(&"x86PC,\"Bootyard\",undionly.kpxe,192.168.77.1".to_owned()), "{tags:?}\n{text}");
        assert_eq!(kinds(&theirs).len(), theirs.len(), "{tags:?}\n{text}");
    }
    assert_eq!(services(text, &tags(2)), Vec::<String>::new(), "{text}");
    assert_eq!(services(text, &["scripts"]), Vec::<String>::new(), "iPXE takes its script");
    // An empty answer would keep the machine from what the other server gives it.
    assert!(text.contains("\ndhcp-ignore=tag:quiet\n") && !text.contains("tag:!known"), "{text}");
    assert!(all.notes.iter().any(|n| n == "machines that are ignored are not answered"), "{:?}", all.notes);

    // Machines without an entry are ignored where nothing else is said, as here.
    let own = exported(&lab(""), ExportFormat::Dnsmasq, 0);
    let text = &own.files[0].text;
    assert!(text.contains("\ndhcp-ignore=tag:!known\n") && services(text, &[]).is_empty(), "{text}");
    assert!(!text.contains("boot/default/"), "{text}");
    let lab = lab("unknown = \"ignore\"");
    let import = back(&[exported(&lab, ExportFormat::Dnsmasq, 0)], &lab);
    let mut expected = lab.clone();
    expected.hosts[0].firmware = None;
    assert_eq!(sorted(crate::lab::parse(&import.text).unwrap()), sorted(expected), "{:#?}", import.statements);
}

/// A name that a URL cannot have as it is, over both HTTP and HTTPS.
#[test]
fn boot_files_go_along_under_whatever_url_they_are_asked_for() {
    for (https, base) in [(false, "http://192.168.77.1"), (true, "https://192.168.77.1:8443")] {
        let lab = format!(
            "version = 1\n[network]\ninterface = \"br0\"\naddress = \"192.168.77.1/24\"\n[ports]\nhttps = 8443\n\
             [[firmware]]\narch = \"uefi-x64-http\"\nfile = \"my own/ipxe#1.efi\"\nhttps = {https}\n"
        );
        let lab = crate::lab::parse(&lab).unwrap();
        let mut firmware = firmware();
        firmware.files.insert("my own/ipxe#1.efi".into(), PathBuf::from("/lab/firmware/my own/ipxe#1.efi"));
        let subject = Subject {
            lab: &lab,
            addresses: lab.networks.iter().map(|n| n.address).collect(),
            firmware: &firmware,
            media: Path::new("/lab/media"),
            disks: Path::new("/lab/disks"),
            server: None,
            lun: 0,
            place: Path::new("/srv/bootyard"),
        };
        let export = export(ExportFormat::Kea, &subject).unwrap();
        let url = format!("\"{base}/firmware/my%20own/ipxe%231.efi\"");
        assert!(export.files[0].text.contains(&url), "{}", export.files[0].text);
        let copy = ("/lab/firmware/my own/ipxe#1.efi".into(), "http/firmware/my own/ipxe#1.efi".into());
        assert!(export.copies.contains(&copy), "{:?}", export.copies);
        let told = export.notes.iter().any(|n| n.contains(base) && n.contains("certificate"));
        assert_eq!(told, https, "{:?}", export.notes);
    }
}

/// dnsmasq's dhcp-host takes its words in any order: a number is a lease time, and two words are its own.
#[test]
fn dnsmasq_is_given_no_name_that_it_would_take_for_something_else() {
    for (name, said) in [("101", false), ("12h", false), ("ignore", false), ("infinite", false), ("pc-101", true)] {
        let lab = LAB.replace("name = \"one\"", &format!("name = \"{name}\""));
        let export = exported(&crate::lab::parse(&lab).unwrap(), ExportFormat::Dnsmasq, 0);
        let text = &export.files[0].text;
        let host = text.lines().find(|l| l.starts_with("dhcp-host=52:54:00:00:00:01,")).unwrap();
        assert_eq!(host.ends_with(&format!(",192.168.77.11,{name}")), said, "{host}");
        assert_eq!(host.ends_with(",192.168.77.11"), !said, "{host}");
        assert_eq!(
            export.notes.iter().any(|n| n.starts_with(&format!("{name}: dnsmasq"))),
            !said,
            "{:?}",
            export.notes
        );
    }
}
