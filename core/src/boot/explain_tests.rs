use super::*;
use crate::boot::FirmwareFile;
use crate::lab::parse;

fn plan(toml: &str) -> Plan {
    let lab = parse(toml).unwrap_or_else(|problems| panic!("{problems:?}"));
    let file = |name: &str| FirmwareFile { name: name.into(), path: format!("/f/{name}").into(), size: 7 };
    Plan {
        lab: Arc::new(lab),
        networks: vec![PlanNetwork {
            index: 0,
            interface: "br0".into(),
            ifindex: 1,
            mac: "02:00:00:00:00:01".parse().unwrap(),
            address: "192.168.2.1/24".parse().unwrap(),
            mode: Mode::Dhcp,
            foreign: false,
        }],
        firmware: [(Arch::Bios, file("undionly.kpxe")), (Arch::UefiX64, file("snponly.efi"))].into(),
        files: [("ipxe.efi".to_owned(), "/f/ipxe.efi".into())].into(),
        runs_on: [("ipxe.efi".to_owned(), Arch::UefiX64)].into(),
        self_test: None,
    }
}

const LAB: &str = r#"
    version = 1
    [network]
    interface = "br0"
    range = "192.168.2.20-192.168.2.200"
    unknown = "wait"
    [[disk]]
    name = "d"
    image = "d.raw"
    chap = { user = "u", secret = "hunter2hunter2", mutual-user = "t", mutual-secret = "hunter3hunter3" }
    [[host]]
    mac = "52:54:00:00:00:01"
    address = "192.168.2.21"
    firmware = "ipxe.efi"
    boot = { iscsi = "d" }
"#;

fn told(mac: &str, arch: Arch) -> Vec<Explained> {
    let plan = plan(LAB);
    let facts = ClientFacts { mac: mac.parse().unwrap(), uuid: None, arch: Some(arch), client: ClientKind::PxeRom };
    explain(&plan, &plan.networks[0], &facts)
}

#[test]
fn each_stage_names_the_setting_that_decides() {
    let told = told("52:54:00:00:00:01", Arch::UefiX64);
    let stages: Vec<_> = told.iter().map(|e| e.stage).collect();
    assert_eq!(stages, [Link::Firmware, Link::BootFile, Link::Ipxe, Link::Script, Link::Disk, Link::System]);
    assert!(told[0].gets.contains("192.168.2.21") && told[0].because.contains("`address`"), "{:?}", told[0]);
    assert!(told[1].gets.starts_with("ipxe.efi") && told[1].because.contains("`firmware`"), "{:?}", told[1]);
    assert!(told[3].gets.contains("sanboot"), "{:?}", told[3]);
    assert!(told[4].because.contains("`writes`"), "{:?}", told[4]);
}

#[test]
fn a_file_that_does_not_fit_and_a_machine_without_an_entry_are_explained() {
    let bios = told("52:54:00:00:00:01", Arch::Bios);
    assert!(bios[1].gets.starts_with("undionly.kpxe") && bios[1].because.contains("cannot run"), "{:?}", bios[1]);
    let stranger = told("52:54:00:00:00:09", Arch::UefiX64);
    assert!(stranger[0].gets.contains("192.168.2.20") && stranger[2].because.contains("`unknown`"), "{stranger:?}");
}

#[test]
fn no_secret_is_told() {
    let text = format!("{:?}", told("52:54:00:00:00:01", Arch::UefiX64));
    let hex = |t: &str| t.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
    for secret in ["hunter2hunter2", "hunter3hunter3"] {
        assert!(!text.contains(secret) && !text.contains(&hex(secret)), "{text}");
    }
    assert!(text.contains(MASK));
}

#[test]
fn each_stage_has_its_values_and_the_place_of_its_setting() {
    let told = told("52:54:00:00:00:01", Arch::UefiX64);
    let place = |at: usize| told[at].setting.as_ref().map(|s| (s.part, s.entry.as_str(), s.key.as_str()));
    assert_eq!(place(0), Some((Part::Host, "52:54:00:00:00:01", "address")));
    assert_eq!(place(1), Some((Part::Host, "52:54:00:00:00:01", "firmware")));
    assert_eq!(place(2), Some((Part::Host, "52:54:00:00:00:01", "boot")));
    assert_eq!(place(4), Some((Part::Disk, "d", "writes")));
    let value = |at: usize, name: &str| told[at].values.iter().find(|v| v.name == name).map(|v| v.value.as_str());
    assert_eq!(value(4, "portal"), Some("192.168.2.1:3260"));
    assert_eq!(value(4, "CHAP user"), Some("u"));
    assert_eq!((told[1].over.as_str(), told[4].over.as_str()), ("TFTP", "iSCSI"));
    assert!(told.iter().all(|link| !link.gets.is_empty() && !link.because.is_empty() && !link.brief.is_empty()));
}

#[test]
fn an_ipxe_in_the_card_s_rom_begins_with_its_own_question_and_http_boot_with_a_url() {
    let plan = plan(LAB);
    let told = |client, arch| {
        let mac = "52:54:00:00:00:01".parse().unwrap();
        explain(&plan, &plan.networks[0], &ClientFacts { mac, uuid: None, arch: Some(arch), client })
    };
    let rom = told(ClientKind::Ipxe, Arch::UefiX64);
    assert_eq!(rom[0].stage, Link::Ipxe);
    assert!(rom[0].gets.contains("boot.ipxe"), "{:?}", rom[0]);
    let gpxe = told(ClientKind::Gpxe, Arch::Bios);
    assert!(gpxe[1].gets.starts_with("#!gpxe"), "{:?}", gpxe[1]);
    let http = told(ClientKind::HttpBoot, Arch::UefiX64Http);
    assert_eq!((http[1].stage, http[1].over.as_str()), (Link::BootFile, "HTTP"));
    assert_eq!(http[1].values[0].value, "http://192.168.2.1/firmware/ipxe.efi");
}

/// It is made in English, and a German window says all of it in German.
#[test]
fn a_chain_is_said_in_german() {
    use crate::lang::{Language, made_in, said, speak_here};
    for (mac, arch) in [
        ("52:54:00:00:00:01", Arch::UefiX64),
        ("52:54:00:00:00:02", Arch::Bios),
        ("52:54:00:00:00:09", Arch::Bios),
        ("52:54:00:00:00:09", Arch::UefiArm64),
    ] {
        let (english, german) = (told(mac, arch), made_in(Language::German, || told(mac, arch)));
        speak_here(Language::German);
        for (english, german) in english.iter().zip(&german) {
            assert_eq!(said(&english.brief), german.brief);
            assert_eq!(said(&english.because), german.because);
            if english.stage != Link::Script {
                assert_eq!(said(&english.gets), german.gets);
            }
        }
        speak_here(Language::English);
    }
}

#[test]
fn a_chain_ends_where_nothing_follows() {
    let none = told("52:54:00:00:00:09", Arch::UefiArm64);
    assert_eq!(none.last().map(|l| (l.stage, l.ends)), Some((Link::BootFile, true)), "no boot file for it");
    let toml = LAB.replace(r#"unknown = "wait""#, r#"unknown = "ignore""#);
    let plan = plan(&toml);
    let mac = "52:54:00:00:00:09".parse().unwrap();
    let facts = ClientFacts { mac, uuid: None, arch: Some(Arch::Bios), client: ClientKind::PxeRom };
    let ignored = explain(&plan, &plan.networks[0], &facts);
    assert!(ignored.iter().all(|l| l.ends) && ignored[0].because.contains("`unknown`"), "{ignored:?}");
    let key = |l: &Explained| l.setting.clone().map(|s| (s.part, s.key));
    assert_eq!(key(&ignored[0]), Some((Part::Network, "unknown".into())));
}

#[test]
fn a_kernel_is_told_with_its_files_and_arguments() {
    let toml = format!(
        "{}\n[[profile]]\nname = \"deb\"\nkernel = \"deb/linux\"\ninitrd = [\"deb/initrd.gz\"]\nargs = \"auto=true\"\n",
        LAB.replace(r#"boot = { iscsi = "d" }"#, r#"boot = { install = "deb", then = "local" }"#)
    );
    let plan = plan(&toml);
    let mac = "52:54:00:00:00:01".parse().unwrap();
    let facts = ClientFacts { mac, uuid: None, arch: Some(Arch::UefiX64), client: ClientKind::PxeRom };
    let told = explain(&plan, &plan.networks[0], &facts);
    let kernel = told.iter().find(|l| l.stage == Link::Kernel).unwrap();
    let values: Vec<_> = kernel.values.iter().map(|v| (v.name.as_str(), v.value.as_str())).collect();
    assert_eq!(
        values,
        [
            ("kernel", "http://192.168.2.1/media/deb/kernel/linux"),
            ("initrd", "http://192.168.2.1/media/deb/initrd/0/initrd.gz"),
            ("arguments", "auto=true initrd=initrd.gz"),
        ]
    );
    assert_eq!(told.last().unwrap().stage, Link::System);
}
