use super::*;
use crate::boot::xen_config;
use crate::lab::{Chap, Install, IscsiVia, Lab, Secret};
use std::sync::Arc;

fn plan() -> Plan {
    let profile = Profile {
        name: "debian-12".parse().unwrap(),
        kernel: "debian 12/linux".into(),
        initrds: vec!["debian-12/initrd.gz".into()],
        args: "auto=true\n  priority=critical".into(),
        answers: Some("debian-12.cfg".into()),
        kind: Some(ProfileKind::Preseed),
        arch: vec![],
        hypervisor: None,
        hypervisor_efi: None,
        hypervisor_args: String::new(),
        iscsi_args: None,
    };
    let disk = Disk {
        name: "server01".parse().unwrap(),
        image: "server01.raw".into(),
        iqn: "iqn.2001-04.com.server:server01.vg00.lun0".into(),
        size: None,
        writes: Writes::Keep,
        chap: Some(Chap { user: "u".into(), secret: Secret::new("a ${b} || c".into()), mutual: None }),
        allow: vec![],
        readonly: false,
        removable: false,
        redirect: None,
    };
    Plan { lab: Arc::new(Lab { profiles: vec![profile], disks: vec![disk], ..Lab::default() }), ..Plan::default() }
}

fn script<'a>(plan: &'a Plan, dialect: Dialect) -> ScriptFor<'a> {
    ScriptFor {
        plan,
        dialect,
        base: "http://192.168.2.1",
        server: Ipv4Addr::new(192, 168, 2, 1),
        mac: "52:54:00:00:00:01".parse().unwrap(),
        name: "pc-1",
        ip: None,
        arch: None,
        token: Some("0123"),
        menu: false,
    }
}

fn install() -> Boot {
    Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Local })
}

fn iscsi() -> IscsiBoot {
    IscsiBoot { disk: "server01".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None }
}

#[test]
fn an_installer_gets_its_files_and_its_answers() {
    let plan = plan();
    let text = render(&script(&plan, Dialect::Ipxe), &install());
    assert!(text.starts_with("#!ipxe\n"));
    assert!(
        text.contains(
            "kernel http://192.168.2.1/media/debian-12/kernel/linux auto=true priority=critical initrd=initrd.gz \
             url=http://192.168.2.1/answers/52-54-00-00-00-01/0123/preseed.cfg || goto failed\n"
        ),
        "{text}"
    );
    assert!(text.contains("initrd http://192.168.2.1/media/debian-12/initrd/0/initrd.gz || goto failed\n"));
    let gpxe = render(&script(&plan, Dialect::Gpxe), &install());
    assert!(gpxe.starts_with("#!gpxe\nkernel http://192.168.2.1/media/debian-12/kernel/linux"));
    assert!(!gpxe.contains("||") && !gpxe.contains("goto"), "{gpxe}");
}

#[test]
fn what_the_profile_says_itself_is_not_said_again() {
    let mut plan = plan();
    Arc::make_mut(&mut plan.lab).profiles[0].args = "url=http://elsewhere/p.cfg".into();
    assert_eq!(render(&script(&plan, Dialect::Ipxe), &install()).matches("url=").count(), 1);
}

#[test]
fn a_secret_cannot_be_taken_for_a_command() {
    let plan = plan();
    let text = render(&script(&plan, Dialect::Ipxe), &Boot::Iscsi(iscsi()));
    assert!(text.contains("set password:hex 61:20:24:7b:62:7d:20:7c:7c:20:63\n"), "{text}");
    assert!(
        text.contains("sanboot iscsi:192.168.2.1::::iqn.2001-04.com.server:server01.vg00.lun0 || goto failed\n")
            || text
                .contains("sanboot iscsi:192.168.2.1:::0:iqn.2001-04.com.server:server01.vg00.lun0 || goto failed\n")
    );
}

#[test]
fn a_profile_for_another_firmware_is_not_started() {
    let mut plan = plan();
    Arc::make_mut(&mut plan.lab).profiles[0].arch = vec![Arch::Bios];
    let for_arch = |arch| render(&ScriptFor { arch, ..script(&plan, Dialect::Ipxe) }, &install());
    assert!(for_arch(Some(Arch::UefiX64)).contains("The profile debian-12 is not for uefi-x64 machines."));
    assert!(!for_arch(Some(Arch::UefiX64)).contains("kernel http"));
    assert!(for_arch(Some(Arch::BiosHttp)).contains("kernel http"));
    assert!(for_arch(None).contains("kernel http"), "what is not known is not refused");
}

fn on(plan: &Plan, arch: Arch) -> ScriptFor<'_> {
    ScriptFor { arch: Some(arch), token: None, ..script(plan, Dialect::Ipxe) }
}

#[test]
fn xen_is_multiboot_on_bios_and_a_program_with_a_configuration_on_uefi() {
    let mut plan = plan();
    let lab = Arc::make_mut(&mut plan.lab);
    lab.disks[0].chap = Some(Chap { user: "u".into(), secret: Secret::new("s3cret-s3cret".into()), mutual: None });
    let xen = &mut lab.profiles[0];
    (xen.hypervisor, xen.hypervisor_args) = (Some("x/xen".into()), "dom0_mem=1G  console=com1".into());
    let boot = Boot::Iscsi(IscsiBoot { profile: Some("debian-12".parse().unwrap()), ..iscsi() });
    let bios = render(&on(&plan, Arch::Bios), &boot);
    for line in [
        "kernel http://192.168.2.1/media/debian-12/hypervisor/xen dom0_mem=1G console=com1 || goto failed\n",
        "module http://192.168.2.1/media/debian-12/kernel/linux auto=true priority=critical iscsi_initiator=",
        "module http://192.168.2.1/media/debian-12/initrd/0/initrd.gz || goto failed\n",
    ] {
        assert!(bios.contains(line), "{line} is missing in {bios}");
    }
    assert_eq!(xen_config(&on(&plan, Arch::UefiX64), &boot), None);
    let lacking = render(&on(&plan, Arch::UefiX64), &boot);
    assert!(lacking.contains("The profile debian-12 has no Xen for UEFI.") && !lacking.contains("\nboot"), "{lacking}");
    let network = PlanNetwork {
        index: 0,
        interface: "br0".into(),
        ifindex: 1,
        mac: MacAddr::default(),
        address: "192.168.2.1/24".parse().unwrap(),
        mode: Mode::Dhcp,
        foreign: false,
    };
    let lacks =
        |plan: &Plan, arch| flaws(plan, &network, &boot, Some(arch)).iter().any(|(flaw, _)| *flaw == "no-hypervisor");
    assert!(lacks(&plan, Arch::UefiX64) && !lacks(&plan, Arch::Bios));

    Arc::make_mut(&mut plan.lab).profiles[0].hypervisor_efi = Some("x/xen.efi".into());
    assert!(!lacks(&plan, Arch::UefiX64) && !lacks(&plan, Arch::Bios));
    let uefi = render(&on(&plan, Arch::UefiX64Http), &boot);
    for line in [
        "kernel --name xen.efi http://192.168.2.1/media/debian-12/hypervisor/efi/xen.efi -cfg=xen.cfg || goto failed\n",
        "imgfetch --name xen.cfg http://192.168.2.1/boot/52-54-00-00-00-01/xen.cfg || goto failed\n",
        "imgfetch --name dom0-kernel http://192.168.2.1/media/debian-12/kernel/linux || goto failed\n",
        "imgfetch --name dom0-initrd http://192.168.2.1/media/debian-12/initrd/0/initrd.gz || goto failed\n",
        "boot xen.efi || goto failed\n",
    ] {
        assert!(uefi.contains(line), "{line} is missing in {uefi}");
    }
    assert!(!uefi.contains("s3cret"), "{uefi}");
    let config = xen_config(&on(&plan, Arch::UefiX64), &boot).unwrap();
    let (head, dom0) = config.split_once("kernel=dom0-kernel ").unwrap();
    assert_eq!(head, "[global]\ndefault=dom0\n\n[dom0]\noptions=dom0_mem=1G console=com1\n");
    assert!(dom0.starts_with("auto=true priority=critical iscsi_initiator="), "{config}");
    assert!(dom0.ends_with(" iscsi_username=u iscsi_password=s3cret-s3cret\nramdisk=dom0-initrd\n"), "{config}");
    assert!(!dom0.contains("initrd="), "Xen hands it over");
    assert_eq!(xen_config(&on(&plan, Arch::UefiX64), &Boot::Iscsi(iscsi())), None, "the disk boots by itself");
}

#[test]
fn every_jump_has_its_label() {
    let plan = plan();
    let then = InstallThen::Iscsi(iscsi());
    let gone = Boot::Install(Install { profile: "gone".parse().unwrap(), then: InstallThen::Local });
    let with_disk = Boot::Install(Install { profile: "debian-12".parse().unwrap(), then });
    for boot in [Boot::Local, Boot::Wait, Boot::Menu, Boot::Ignore, Boot::Iscsi(iscsi()), install(), gone, with_disk] {
        let text = render(&script(&plan, Dialect::Ipxe), &boot);
        for jump in text.split("goto ").skip(1) {
            let label = jump.split_whitespace().next().unwrap();
            assert!(text.lines().any(|l| l == format!(":{label}")), "{boot}: no :{label} in\n{text}");
        }
    }
    let text = entry("http://192.168.2.1", "52:54:00:00:00:01".parse().unwrap());
    assert!(text.lines().any(|l| l == ":local") && text.lines().any(|l| l == ":again"));
}

#[test]
fn a_direct_kernel_boot_names_its_root_as_the_initramfs_wants_it() {
    let mut plan = plan();
    let boot = Boot::Iscsi(IscsiBoot { profile: Some("debian-12".parse().unwrap()), ..iscsi() });
    let told = |plan: &Plan, dialect| render(&ScriptFor { token: None, ..script(plan, dialect) }, &boot);
    let mutual = Some(("t".to_owned(), Secret::new("other-2.".into())));
    let lab = Arc::make_mut(&mut plan.lab);
    lab.disks[0].chap = Some(Chap { user: "u".into(), secret: Secret::new("secret=1+".into()), mutual });
    let debian = told(&plan, Dialect::Ipxe);
    let args = "iscsi_initiator=iqn.2026-11.org.bootyard:host.52-54-00-00-00-01 \
        iscsi_target_name=iqn.2001-04.com.server:server01.vg00.lun0 iscsi_target_ip=192.168.2.1 iscsi_target_port=3260 \
        ip=dhcp BOOTIF=01-52-54-00-00-00-01 iscsi_username=u iscsi_password=secret=1+ \
        iscsi_in_username=t iscsi_in_password=other-2. || goto failed\n";
    assert!(debian.contains(args), "{debian}");
    assert!(!debian.contains("sanhook"), "the arguments are enough");
    Arc::make_mut(&mut plan.lab).profiles[0].iscsi_args = Some(IscsiArgs::Dracut);
    let dracut = told(&plan, Dialect::Ipxe);
    let args = "rd.iscsi.initiator=iqn.2026-11.org.bootyard:host.52-54-00-00-00-01 \
        netroot=iscsi:192.168.2.1::3260:0:iqn.2001-04.com.server:server01.vg00.lun0 rd.neednet=1 \
        ip=dhcp BOOTIF=01-52-54-00-00-00-01 rd.iscsi.username=u rd.iscsi.password=secret=1+ \
        rd.iscsi.in.username=t rd.iscsi.in.password=other-2. || goto failed\n";
    assert!(dracut.contains(args), "{dracut}");
    let lab = Arc::make_mut(&mut plan.lab);
    lab.profiles[0].args = "ip=192.168.2.7::192.168.2.1:255.255.255.0::eth1:none RD.iscsi.initiator=iqn.x:y".into();
    let own = told(&plan, Dialect::Ipxe);
    assert!(!own.contains("ip=dhcp") && !own.contains("initiator=iqn.2026"), "the profile's own word stands: {own}");
    assert!(own.contains("BOOTIF=01-"), "{own}");
    // The iBFT has the login, and no argument.
    Arc::make_mut(&mut plan.lab).profiles[0].iscsi_args = Some(IscsiArgs::None);
    let ibft = told(&plan, Dialect::Ipxe);
    assert!(
        ibft.contains("sanhook --drive 0x80 iscsi:192.168.2.1") && ibft.contains("set password:hex 73:65"),
        "{ibft}"
    );
    assert!(!ibft.contains("secret=1+") && !ibft.contains("BOOTIF"), "{ibft}");
}

#[test]
fn what_a_machine_is_assigned_says_whether_a_direct_start_begins_anew() {
    let mut plan = plan();
    let profile = Some("debian-12".parse().unwrap());
    let hooks = |plan: &Plan, writes| {
        let boot = Boot::Iscsi(IscsiBoot { profile: profile.clone(), writes, ..iscsi() });
        render(&script(plan, Dialect::Ipxe), &boot).contains("sanhook")
    };
    assert!(!hooks(&plan, None) && hooks(&plan, Some(Writes::Fresh)), "only a login of its firmware makes it new");
    let disk = &mut Arc::make_mut(&mut plan.lab).disks[0];
    disk.writes = Writes::Fresh;
    assert!(hooks(&plan, None) && !hooks(&plan, Some(Writes::Keep)));
    Arc::make_mut(&mut plan.lab).disks[0].readonly = true;
    assert!(!hooks(&plan, None) && !hooks(&plan, Some(Writes::Fresh)), "nobody writes");
}

#[test]
fn a_login_of_another_disk_is_not_left_in_ipxe() {
    let mut plan = plan();
    let told = |plan: &Plan, setting: &str| {
        let text = render(&script(plan, Dialect::Ipxe), &Boot::Iscsi(iscsi()));
        let before = text.split("sanboot").next().unwrap_or_default().to_owned();
        (before.contains(&format!("set {setting}:hex ")), before.contains(&format!("\nclear {setting} ||\n")))
    };
    let (set, cleared) = ((true, false), (false, true));
    for (setting, expected) in [("username", set), ("password", set), ("reverse-username", cleared)] {
        assert_eq!(told(&plan, setting), expected, "{setting}");
    }
    let disk = |plan: &mut Plan, chap| Arc::make_mut(&mut plan.lab).disks[0].chap = chap;
    let mutual = Some(("t".to_owned(), Secret::new("other-2.".into())));
    disk(&mut plan, Some(Chap { user: "u".into(), secret: Secret::new("secret=1+".into()), mutual }));
    assert_eq!((told(&plan, "reverse-username"), told(&plan, "reverse-password")), (set, set));
    disk(&mut plan, None);
    assert_eq!((told(&plan, "username"), told(&plan, "reverse-password")), (cleared, cleared));
}

#[test]
fn no_argument_of_a_kernel_is_taken_for_a_command_of_ipxe() {
    let mut plan = plan();
    let profile = &mut Arc::make_mut(&mut plan.lab).profiles[0];
    profile.args = "dyndbg=\"file a.c +p ; file b.c +p\" #1 x||y ro=#2".into();
    (profile.hypervisor, profile.hypervisor_args) = (Some("x/xen".into()), "a && b".into());
    let text = render(&on(&plan, Arch::Bios), &install());
    let syntax = |word: &&str| matches!(*word, "||" | "&&" | ";") || word.starts_with('#');
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("kernel ") || l.starts_with("module ")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in lines {
        assert_eq!(line.split(' ').filter(syntax).collect::<Vec<_>>(), ["||"], "{line}");
        assert!(line.ends_with(" || goto failed"), "{line}");
    }
    // `;`, `#1` and `&&`, each before the line that names it.
    for (setting, word) in [("word1", "3b"), ("word2", "23:31"), ("word3", "26:26")] {
        let set = text.find(&format!("set {setting}:hex {word}\n")).unwrap_or_else(|| panic!("{setting}: {text}"));
        assert!(text[set..].contains(&format!(" ${{{setting}:string}} ")), "{setting}: {text}");
    }
    assert!(text.contains("+p ${word1:string} file b.c +p\" ${word2:string} x||y ro=#2"), "{text}");
}

#[test]
fn the_local_disk_is_not_the_one_that_was_hooked_in_its_place() {
    let plan = plan();
    let then = InstallThen::Iscsi(iscsi());
    let onto_disk = Boot::Install(Install { profile: "debian-12".parse().unwrap(), then });
    for (boot, hooks) in [(onto_disk, true), (install(), false), (Boot::Local, false)] {
        let text = render(&script(&plan, Dialect::Ipxe), &boot);
        let (before, local) = text.split_once(":local\n").unwrap();
        assert_eq!(before.contains("sanhook --drive 0x80"), hooks);
        let let_go = local.find("sanunhook --drive 0x80").unwrap_or(usize::MAX);
        let boots = local.find("sanboot --no-describe --drive 0x80").unwrap();
        assert_eq!(let_go < boots, hooks, "{boot}: {local}");
    }
}
