use super::*;
use crate::inspect::troubles::tests::good;
use crate::inspect::{Hypervisor, Partition, PartitionRole};

#[test]
fn the_newest_kernel_is_taken_with_arguments_that_are_its_own() {
    let mut image = good();
    image.linux[0].kernels[0].args =
        "BOOT_IMAGE=/vmlinuz root=LABEL=root ro ISCSI_TARGET_IP=1.2.3.4 ip=ibft console=ttyS0 rd.iscsi.firmware=1 evil;${x}".into();
    let taken = Extraction::choose(&image, &Choice::default()).unwrap();
    assert_eq!(taken.args, "root=LABEL=root ro console=ttyS0");
    assert_eq!((taken.version.as_str(), taken.iscsi_args), ("6.1.0-18-amd64", IscsiArgs::None));
    assert_eq!((taken.pinned, taken.hypervisor.is_some(), taken.size()), (false, false, 2));
    assert_eq!(taken.troubles, [], "it wants an iBFT, and gets one");
    image.linux[0].kernels[0].initramfs.as_mut().unwrap().iscsi_auto = false;
    let taken = Extraction::choose(&image, &Choice::default()).unwrap();
    assert_eq!((taken.iscsi_args, taken.troubles.len()), (IscsiArgs::Debian, 0), "it is told by arguments");
    let plain = image.linux[0].kernels[0].args.clone();
    image.linux[0].kernels[0].args.push_str(" iscsi_auto");
    let taken = Extraction::choose(&image, &Choice::default()).unwrap();
    assert_eq!(taken.args, "root=LABEL=root ro console=ttyS0");
    assert_eq!(
        (taken.iscsi_args, taken.troubles.len()),
        (IscsiArgs::Debian, 0),
        "its boot loader alone asked for the iBFT, and that is not told to it"
    );
    image.linux[0].kernels[0].args = plain;
    image.linux[0].kernels[0].initramfs.as_mut().unwrap().iscsi_auto = true;
    let file = image.linux[0].kernels[0].file.clone();
    image.linux[0].hypervisors = vec![Hypervisor { version: "4.17".into(), file, efi: None, args: String::new() }];
    let taken = Extraction::choose(&image, &Choice::default()).unwrap();
    let ids: Vec<_> = taken.troubles.iter().map(|t| t.id.as_str()).collect();
    assert_eq!((taken.iscsi_args, ids), (IscsiArgs::Debian, vec!["iscsi-auto"]), "Xen hides the iBFT");
    image.linux[0].hypervisors.clear();
    image.linux[0].kernels[0].initramfs.as_mut().unwrap().generator = Some(Generator::Unknown);
    let taken = Extraction::choose(&image, &Choice::default()).unwrap();
    assert_eq!((taken.iscsi_args, taken.troubles.len()), (IscsiArgs::None, 0), "the iBFT is its only way");
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let wanted = Choice { kernel: Some("5.10".into()) };
    let error = Extraction::choose(&good(), &wanted).unwrap_err().to_string();
    assert_eq!(error, "it has no kernel 5.10; there are: 6.1.0-18-amd64");
    let mut image = good();
    image.linux[0].kernels[0].initrd = None;
    assert!(matches!(Extraction::choose(&image, &Choice::default()), Err(ExtractError::NoInitramfs(_))));
    image.linux.clear();
    image.partitions = vec![Partition {
        number: 3,
        start: 0,
        size: 1,
        role: PartitionRole::Lvm,
        file_system: Some(FileSystemKind::Lvm),
        label: None,
        uuid: None,
        problem: None,
    }];
    let error = Extraction::choose(&image, &Choice::default()).unwrap_err().to_string();
    assert!(error.contains("partition 3 holds logical volumes"), "{error}");
}

fn record(image: &Inspection, pinned: bool) -> Record {
    let kernel = &image.linux[0].kernels[0];
    let files = [&kernel.file, kernel.initrd.as_ref().unwrap()];
    Record {
        v: 1,
        disk: "d".into(),
        host: None,
        system: "Debian".into(),
        version: kernel.version.clone(),
        pinned,
        generation: 1,
        taken: Timestamp::UNIX_EPOCH,
        files: files.map(|from| RecordedFile { name: "x".into(), from: from.clone() }).to_vec(),
        words: None,
    }
}

#[test]
fn a_record_is_stale_once_the_image_would_start_something_else() {
    let image = good();
    assert_eq!(record(&image, false).stale(&image), None);
    let mut rebuilt = image.clone();
    rebuilt.linux[0].kernels[0].initrd.as_mut().unwrap().blake3 = "11".into();
    let path = "/boot/initrd.img-6.1.0-18-amd64".to_owned();
    assert_eq!(record(&image, false).stale(&rebuilt), Some(Stale::Changed { path }));
    let mut updated = image.clone();
    let mut newer = image.linux[0].kernels[0].clone();
    newer.version = "6.1.0-20-amd64".into();
    updated.linux[0].kernels.insert(0, newer);
    let version = "6.1.0-20-amd64".to_owned();
    assert_eq!(record(&image, false).stale(&updated), Some(Stale::Newer { version }));
    assert_eq!(record(&image, true).stale(&updated), None, "it was asked for");
    let mut gone = image.clone();
    gone.linux.clear();
    assert!(matches!(record(&image, true).stale(&gone), Some(Stale::Changed { .. })));
    let mut xen = image.clone();
    xen.linux[0].hypervisors = vec![Hypervisor {
        version: "4".into(),
        file: image.linux[0].kernels[0].file.clone(),
        efi: None,
        args: String::new(),
    }];
    assert_eq!(record(&image, false).stale(&xen), None);
}

#[test]
fn names_are_harmless() {
    assert_eq!(name_for("vmlinuz-6.1.0+x~1", false, &[]), "vmlinuz-6.1.0+x~1");
    assert_eq!(name_for("xen-4.17-amd64.gz", true, &[]), "xen-4.17-amd64");
    assert_eq!(name_for("..\n$(x)", false, &[]), "___x_");
    assert_ne!(name_for(RECORD, false, &[]), RECORD);
    let taken = [RecordedFile { name: "a".into(), from: good().linux[0].kernels[0].file.clone() }];
    assert_eq!(name_for("a", false, &taken), "a-1");
}
