use super::*;
use crate::inspect::cpio::archive;

fn read(files: &[(&str, &[u8])]) -> Initramfs {
    Initramfs::read(&archive(files)[..], &|_| Ok(())).unwrap()
}

#[test]
fn debians_with_iscsi_says_so() {
    let with: &[(&str, &[u8])] = &[
        ("conf/initramfs.conf", b"MODULES=list\n"),
        ("usr/sbin/iscsistart", b"ELF"),
        ("etc/iscsi.initramfs", b"# comment\nISCSI_AUTO=true\n"),
        ("usr/lib/modules/6.1.0/kernel/drivers/scsi/iscsi_tcp.ko", b""),
        ("usr/lib/modules/6.1.0/kernel/drivers/firmware/iscsi_ibft.ko.xz", b""),
        ("usr/lib/modules/6.1.0/kernel/drivers/net/virtio_net.ko", b""),
        ("usr/lib/modules/6.1.0/kernel/drivers/net/ethernet/intel/e1000/e1000.ko.zst", b""),
        ("usr/lib/modules/6.1.0/kernel/drivers/net/net_failover.ko", b""),
    ];
    let found = read(with);
    assert_eq!(found.generator, Some(Generator::InitramfsTools));
    assert!(found.iscsi_auto && found.iscsi_ibft && found.iscsi_tcp && found.has_iscsi(&[]));
    assert_eq!(found.network_drivers, ["e1000", "virtio_net"]);
    assert_eq!((found.initiator.as_deref(), found.files), (Some("iscsistart"), 8));
    let without: Vec<_> = with.iter().filter(|(n, _)| !n.ends_with("iscsistart")).copied().collect();
    assert!(!read(&without).has_iscsi(&[]));
    let built_in: Vec<_> = with.iter().filter(|(n, _)| !n.contains("iscsi_tcp")).copied().collect();
    assert!(!read(&built_in).has_iscsi(&[]) && read(&built_in).has_iscsi(&["iscsi_tcp".into()]));
    let mut manual = with.to_vec();
    manual[2].1 = b"#ISCSI_AUTO=true\n";
    assert!(!read(&manual).iscsi_auto);
}

#[test]
fn dracuts_has_its_script_and_arguments() {
    let found = read(&[
        ("usr/lib/dracut/hooks/cmdline/90-parse-iscsiroot.sh", b""),
        ("usr/sbin/iscsiroot", b""),
        ("usr/sbin/iscsid", b""),
        ("etc/cmdline.d/20-iscsi.conf", b" rd.iscsi.firmware=1 \n"),
        ("usr/lib/modules/5.14/kernel/drivers/scsi/iscsi_tcp.ko.xz", b""),
    ]);
    assert_eq!((found.generator, found.initiator.as_deref()), (Some(Generator::Dracut), Some("iscsiroot")));
    assert!(found.has_iscsi(&[]) && !found.iscsi_ibft);
    assert_eq!(found.built_in_args, "rd.iscsi.firmware=1");
}

#[test]
fn debians_iscsid_does_not_start_without_the_script_before_it() {
    let unit = b"[Service]\nExecStartPre=/lib/open-iscsi/startup-checks.sh\nExecStart=/sbin/iscsid\n";
    let mut files: Vec<(&str, &[u8])> =
        vec![("usr/lib/systemd/system/iscsid.service", unit), ("usr/sbin/iscsiroot", b"")];
    assert_eq!(read(&files).iscsid_lacks.as_deref(), Some("/lib/open-iscsi/startup-checks.sh"));
    files.push(("usr/lib/open-iscsi/startup-checks.sh", b"#!/bin/sh\n"));
    assert_eq!(read(&files).iscsid_lacks, None, "it is there");
    files[0].1 = b"[Service]\nExecStart=/usr/sbin/iscsid -f\n";
    assert_eq!(read(&files).iscsid_lacks, None, "Fedora's unit begins with the daemon");
}

#[test]
fn arch_and_strangers_are_told_apart() {
    assert_eq!(read(&[("init_functions", b""), ("hooks/udev", b"")]).generator, Some(Generator::Mkinitcpio));
    assert_eq!(read(&[("init", b"")]).generator, Some(Generator::Unknown));
    assert_eq!(module("be2iscsi.ko.gz").as_deref(), Some("be2iscsi"));
    assert_eq!(module("crct10dif-pclmul.ko").as_deref(), Some("crct10dif_pclmul"));
    assert_eq!(module("modules.dep"), None);
    assert_eq!(setting("A=1\nID=\"debian\"\nB=2", "ID").as_deref(), Some("debian"));
}
