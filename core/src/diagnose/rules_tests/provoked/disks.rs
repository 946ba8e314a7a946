//! The disk over the network.

use super::super::events::*;
use super::super::healthy::to_script;
use super::super::tale::Tale;
use super::{LONG, Row, SHORT, quiet, row};
use crate::api::{ClientKind, EventKind, ServiceKind};
use crate::boot::Arch;
use crate::lab::Boot;
use crate::net::MacAddr;

pub(super) fn rows() -> Vec<Row> {
    let t = Tale::new;
    let to_disk = || to_script(t(), iscsi()).then(step("san-start")).then(login(true, 1)).then(moved(1, 9 << 20));
    let kernel_read = || to_disk().then(moved(1, 16 << 20));
    let trouble = |trouble: &str| EventKind::ImageTrouble { disk: "d".into(), troubles: vec![trouble.into()] };
    let os = || discover(ClientKind::Os, Arch::UefiX64, 0);
    let system = || Tale::at(0).then(login(false, 9));
    let again =
        |tale: Tale, n| tale.wait(2000).then(ended(n, "the same initiator logged in again")).then(login(false, n + 1));
    let root_path = |tale: Tale, arch, disk: Option<&str>| {
        let (file, disk) = (None, disk.map(str::to_owned));
        tale.then(discover(ClientKind::Ipxe, arch, 4)).then(offer(ClientKind::Ipxe, true)).then(EventKind::DhcpAck {
            client: ClientKind::Ipxe,
            address: Some(ip(20)),
            file,
            root_path: Some(ROOT.into()),
            disk,
            lease_seconds: 1800,
        })
    };
    let others = "iqn.2026-11.org.bootyard:host.52-54-00-00-00-02";
    let disagrees = "192.168.2.20 is pc-1's address, but the initiator name is that of 52:54:00:00:00:02";
    vec![
        row(
            "D20",
            "the script names a disk, and no connection comes",
            &["san-not-reached"],
            to_script(t(), iscsi()).then(step("san-start")).silence(30_000),
            Tale::at(0).then(login(true, 1)),
        ),
        row(
            "D21",
            "the CHAP secret is wrong",
            &["iscsi-refused"],
            to_script(t(), iscsi()).then(refused("i", 0x0201)),
            Tale::at(0).then(login(true, 1)),
        )
        .on_firmware(SHORT)
        .in_part("diagnosis"),
        row(
            "D21",
            "the disk is not for this machine",
            &["iscsi-refused"],
            to_script(t(), iscsi()).then(refused("i", 0x0202)),
            Tale::at(0).then(login(true, 1)),
        )
        .on_firmware(LONG),
        row(
            "D22",
            "the firmware logs in and reads, a kernel asks for an address, nobody logs in again",
            &["no-system-login"],
            to_disk().wait(20_000).then(os()).silence(100_000),
            system(),
        ),
        row(
            "D22",
            "the image is known to have no iSCSI in its initramfs; UEFI's session ends",
            &["no-system-login"],
            Tale::new()
                .then(trouble("no-iscsi-initramfs"))
                .and(&to_disk().wait(9000).then(ended(1, "the initiator closed the connection")).silence(200_000)),
            system(),
        )
        .on_firmware(LONG),
        row(
            "D22",
            "Xen's kernel started directly does not log in",
            &["no-system-login"],
            to_script(t(), direct()).then(get("/media/xen/hypervisor/xen")).then(step("kernel-start")).silence(100_000),
            system(),
        ),
        row(
            "D22",
            "the image has Xen; a BIOS reads it with its kernel and falls silent",
            &["no-system-login"],
            Tale::new().then(trouble("xen-hides-ibft")).and(&kernel_read().silence(100_000)),
            system(),
        ),
        row(
            "D22",
            "a kernel started directly does not log in",
            &["no-system-login"],
            to_script(t(), direct()).then(step("kernel-start")).silence(100_000),
            system(),
        ),
        row(
            "D23",
            "the system logs in, asks for an address, and its session is not acknowledged any more",
            &["system-network-reset"],
            to_disk()
                .wait(9000)
                .then(login(false, 2))
                .wait(9000)
                .then(os())
                .then(ack(ClientKind::Os, ""))
                .then(EventKind::TcpRetransmits { service: ServiceKind::Iscsi, port: 3260, packets: 6, by_us: true }),
            system(),
        ),
        row(
            "D24",
            "the machine's frames come with the router's MAC",
            &["via-gateway"],
            to_disk().then(EventKind::ViaGateway { address: ip(20), gateway: MacAddr([2, 0, 0, 0, 0, 9]) }),
            Tale::at(0).then(rom(0)),
        ),
        row(
            "D25",
            "it logs in with the name that was issued to another machine",
            &["iscsi-refused", "same-initiator"],
            to_script(t(), iscsi()).then(refused_since(others, 0x0202, disagrees)),
            Tale::at(0).then(login(true, 1)),
        ),
        row(
            "D25",
            "it logs in with the name of its second network card, and the disk is not for it",
            &["iscsi-refused"],
            to_script(t(), iscsi()).then(refused_since(others, 0x0202, "pc-1 is not assigned to the disk d")),
            Tale::at(0).then(login(true, 1)),
        ),
        row(
            "D25",
            "a session is taken over again and again",
            &["same-initiator"],
            (2..6).fold(to_disk().then(login(false, 2)), again),
            Tale::at(0).then(moved(9, 1)).wait(70_000).then(login(false, 9)),
        ),
        row(
            "D26",
            "a UEFI machine is given an image without a loader for it",
            &["disk-not-bootable"],
            Tale::new().then(trouble("no-uefi-loader")).and(&to_script(Tale::at(0), iscsi())),
            is_served(),
        ),
        row(
            "D26",
            "the same; and then its system logs in",
            &["disk-not-bootable"],
            Tale::new().then(trouble("no-uefi-loader")).and(&to_script(Tale::at(0), iscsi())),
            system(),
        ),
        row(
            "D22",
            "a BIOS reads a kernel's worth and falls silent: what it started has no network",
            &["no-system-login"],
            kernel_read().silence(100_000),
            system(),
        )
        .on_firmware(LONG),
        row(
            "D22",
            "the same; and it asks anew after its kernel's panic",
            &["no-system-login"],
            kernel_read().wait(50_000).then(discover(ClientKind::Ipxe, Arch::Bios, 4)).then(served(iscsi())),
            system(),
        )
        .on_firmware(LONG),
        row(
            "D22",
            "the same; and something else is assigned",
            &["no-system-login"],
            kernel_read().silence(100_000),
            Tale::at(0).then(EventKind::Assigned { to: Boot::Local, by: "window".into() }),
        ),
        quiet(
            "D22",
            "what was read returns to the script, which goes on with the local disk",
            kernel_read().then(step("local")).silence(100_000),
        ),
        row(
            "D22",
            "the same with a root-path in the place of a script",
            &["no-system-login"],
            root_path(Tale::new().then(trouble("no-iscsi-initramfs")), Arch::UefiX64, Some("d"))
                .then(login(true, 1))
                .then(moved(1, 9 << 20))
                .wait(20_000)
                .then(os())
                .silence(100_000),
            system(),
        ),
        row(
            "D26",
            "a BIOS machine is given the root-path of an image without a loader for it",
            &["disk-not-bootable"],
            root_path(Tale::new().then(trouble("no-bios-loader")), Arch::Bios, Some("d")),
            system(),
        ),
        quiet(
            "D26",
            "the root-path is another server's: nothing is known of its disk",
            root_path(Tale::new().then(trouble("no-bios-loader")), Arch::Bios, None).then(login(true, 1)),
        ),
        quiet(
            "D26",
            "images are looked at for x64's loader; of ARM's nothing is known",
            Tale::new().then(trouble("no-uefi-loader")).and(
                &Tale::at(0)
                    .then(discover(ClientKind::PxeRom, Arch::UefiArm64, 0))
                    .then(discover(ClientKind::Ipxe, Arch::UefiArm64, 4))
                    .then(served(iscsi())),
            ),
        ),
    ]
}
