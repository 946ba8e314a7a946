//! The boot file on its way.

use super::super::events::*;
use super::super::healthy::to_script;
use super::super::tale::Tale;
use super::{LONG, Row, SHORT, row};
use crate::api::{ClientKind, EventKind, ServiceKind};
use crate::boot::Arch;

pub(super) fn rows() -> Vec<Row> {
    let t = Tale::new;
    let asked = |tale: Tale| {
        tale.then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(ack(ClientKind::PxeRom, NBP)).then(rrq(NBP))
    };
    let unanswered =
        |block, next| EventKind::TftpUnanswered { file: NBP.into(), block, block_size: 8192, tries: 3, next };
    let unfit = EventKind::BootFileUnfit { file: "ipxe.efi".into(), made_for: Arch::UefiX64, arch: Arch::Bios };
    let mut rows = vec![
        row(
            "D1",
            "iPXE asks for the boot file again that it was itself",
            &["boot-loop"],
            to_ipxe(t())
                .then(foreign(Some(ip(99)), NBP, false))
                .then(EventKind::DhcpElsewhere { client: ClientKind::Os, server: ip(1) })
                .then(ack(ClientKind::Ipxe, URL))
                .then(rrq(NBP)),
            is_served(),
        ),
        row(
            "D2",
            "the boot file is delivered, and the firmware asks anew at once",
            &["nbp-not-started"],
            delivered(t(), 170_000).wait(5000).then(rom(0)),
            Tale::at(0).then(ipxe(4)),
        )
        .in_part("diagnosis"),
        row(
            "D2",
            "the boot file is delivered, and nothing is seen of it",
            &["nbp-not-started"],
            delivered(t(), 170_000).silence(60_000),
            Tale::at(0).then(ipxe(4)),
        )
        .on_firmware(LONG),
        row(
            "D2",
            "another server names our BIOS program, is told of before the DISCOVER, and UEFI does not start it",
            &["nbp-not-started"],
            t().then(foreign(Some(ip(99)), "undionly.kpxe", false))
                .then(rom(0))
                .then(offer(ClientKind::PxeRom, false))
                .then(rrq("undionly.kpxe"))
                .then(done("undionly.kpxe", 74_000))
                .wait(85_000)
                .then(discover(ClientKind::HttpBoot, Arch::UefiX64Http, 0)),
            Tale::at(0).then(ipxe(4)),
        )
        .on_firmware(LONG),
        row(
            "D2",
            "an empty boot file",
            &["nbp-not-started"],
            delivered(t(), 0).wait(50_000).then(rom(0)),
            Tale::at(0).then(ipxe(4)),
        ),
        row(
            "D2",
            "lab.toml names a file for another architecture",
            &["boot-file-unfit"],
            t().then(discover(ClientKind::PxeRom, Arch::Bios, 4)).then(unfit).then(offer(ClientKind::PxeRom, true)),
            is_served(),
        )
        .on_firmware(LONG)
        .in_part("diagnosis"),
        row(
            "D7",
            "an address and a boot file are given, and nothing is asked for",
            &["boot-file-not-asked"],
            t().then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(ack(ClientKind::PxeRom, NBP)).silence(20_000),
            Tale::at(0).then(rrq(NBP)),
        )
        .in_part("diagnosis"),
        row(
            "D8",
            "read requests that the capture sees and our socket does not",
            &["tftp-unheard"],
            t().then(rom(0)).then(ack(ClientKind::PxeRom, NBP)).then(unheard(ServiceKind::Tftp, 69, false)),
            Tale::at(0).then(rrq(NBP)),
        )
        .on_firmware(LONG),
        row(
            "D9",
            "no ACK for blocks of 8192 bytes",
            &["tftp-unanswered"],
            asked(t()).then(unanswered(1, Some(1468))),
            Tale::at(0).then(done(NBP, 9)),
        ),
        row(
            "D9",
            "no ACK for the OACK",
            &["tftp-unanswered"],
            asked(t()).then(unanswered(0, None)),
            Tale::at(0).then(done(NBP, 9)),
        ),
        row(
            "D9",
            "no ACK for the smallest blocks",
            &["tftp-unanswered"],
            asked(t()).then(unanswered(1, None)),
            Tale::at(0).then(done(NBP, 9)),
        ),
        row(
            "D11",
            "a name with 0xFF behind it",
            &["boot-file-tail"],
            t().then(rom(0)).then(rrq(NBP)).then(EventKind::TftpNameTail { file: NBP.into() }),
            Tale::at(0).then(ack(ClientKind::Os, "")).then(rom(0)),
        ),
        row(
            "D16",
            "connections to the HTTP port are refused by this computer",
            &["port-closed"],
            to_ipxe(t()).then(ack(ClientKind::Ipxe, URL)).then(unheard(ServiceKind::Http, 80, true)),
            Tale::at(0).then(get("/boot/m/boot.ipxe")),
        ),
        row(
            "D16",
            "connections to the iSCSI port are dropped",
            &["port-closed"],
            to_script(t(), iscsi()).then(step("san-start")).then(unheard(ServiceKind::Iscsi, 3260, false)),
            Tale::at(0).then(login(true, 1)),
        )
        .on_firmware(SHORT),
    ];
    rows.push(Row {
        rule: "D10",
        how: "a size probe, ended with error 8, then the file: nothing is said",
        whole_program: None,
        firmware: Some("installer-uefi"),
        tale: t()
            .then(rom(0))
            .then(ack(ClientKind::PxeRom, NBP))
            .then(rrq(NBP))
            .then(EventKind::TftpAborted { file: NBP.into(), sent: 0, probe: true, message: "User aborted".into() })
            .then(rrq(NBP))
            .then(done(NBP, 9)),
        says: &[],
        cure: None,
    });
    rows
}
