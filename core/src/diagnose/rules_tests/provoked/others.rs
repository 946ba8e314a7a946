//! Installers, and who the machine is.

use super::super::events::*;
use super::super::healthy::to_script;
use super::super::tale::Tale;
use super::{LONG, Row, quiet, row};
use crate::api::{ClientKind, EventKind};
use crate::boot::Arch;
use crate::lab::Boot;
use crate::net::MacAddr;

pub(super) fn rows() -> Vec<Row> {
    let t = Tale::new;
    let starts = |tale: Tale| {
        to_script(tale, install()).then(loaded("/media/p/kernel/linux", 8 << 20)).then(step("kernel-start"))
    };
    let uuid = uuid::Uuid::from_u128;
    let pi = t().of(MacAddr([0xdc, 0xa6, 0x32, 1, 2, 3])).then(discover(ClientKind::PxeRom, Arch::Bios, 4));
    vec![
        row(
            "D29",
            "the installer starts twice within half an hour, and nothing was consumed",
            &["reinstall-loop"],
            to_script(starts(t()).wait(600_000), install()),
            Tale::at(0).then(EventKind::Assigned { to: Boot::Local, by: "window".into() }),
        )
        .on_firmware(LONG)
        .in_part("diagnosis"),
        row(
            "D29",
            "the same; and its kernel is refused the second time",
            &["reinstall-loop"],
            to_script(starts(t()).wait(600_000), install()),
            Tale::at(0).then(bad_kernel()),
        ),
        quiet(
            "D29",
            "the installer's kernel is refused, and it is given again",
            to_script(starts(t()).then(bad_kernel()).wait(60_000), install()),
        ),
        quiet("D29", "the installation was consumed before its kernel started", {
            let consumed = EventKind::InstallConsumed { profile: "p".into(), next: Boot::Local, because: "x".into() };
            let tale = to_script(t(), install()).then(consumed).then(step("kernel-start"));
            to_script(tale.wait(600_000), install())
        }),
        row(
            "own",
            "a kernel that the script names is not there",
            &["http-refused"],
            to_script(t(), install()).then(http_error("/media/p/kernel/linux", 404)),
            Tale::at(0).then(step("kernel-start")),
        )
        .on_firmware(LONG),
        quiet(
            "own",
            "what no script names is not there; a wrong method; a busy server",
            to_script(t(), install())
                .then(http_error("/favicon.ico", 404))
                .then(http_error("/boot/m/step", 405))
                .then(http_error("/boot/m/step", 503)),
        ),
        row(
            "D30",
            "another UUID asks with the same MAC",
            &["other-uuid"],
            t().then(rom(0)).then(EventKind::OtherUuid { known: uuid(1), seen: uuid(2) }),
            Tale::at(0).then(ack(ClientKind::PxeRom, NBP)).then(rom(0)),
        ),
        row("D31", "a Raspberry Pi calls itself a BIOS", &["pi-says-bios"], pi, Tale::at(0).then(ipxe(4))),
        row(
            "D32",
            "another server gives one machine two addresses in one boot",
            &["two-leases"],
            t().then(rom(0))
                .then(foreign(Some(ip(98)), "", true))
                .then(offer(ClientKind::PxeRom, false))
                .then(ipxe(4))
                .then(foreign(Some(ip(99)), "", true)),
            Tale::at(0).then(ack(ClientKind::PxeRom, NBP)).then(rom(0)),
        ),
    ]
}
