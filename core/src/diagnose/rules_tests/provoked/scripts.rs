//! iPXE and its script.

use super::super::events::*;
use super::super::healthy::to_script;
use super::super::tale::Tale;
use super::{Row, row};
use crate::api::{ClientKind, EventKind};

pub(super) fn rows() -> Vec<Row> {
    let t = Tale::new;
    let flaw = |flaw: &str, detail: &str| EventKind::ScriptFlaw { flaw: flaw.into(), detail: detail.into() };
    vec![
        row(
            "D14",
            "iPXE asks once, is offered an address and falls silent",
            &["ipxe-silent"],
            to_ipxe(t()).silence(40_000),
            Tale::at(0).then(get("/boot/m/boot.ipxe")),
        ),
        row(
            "D14",
            "iPXE reports 040ee119",
            &["ipxe-silent", "script-error"],
            to_script(t(), iscsi()).then(EventKind::ScriptError { step: "san".into(), code: 0x040e_e119 }),
            Tale::at(0).then(login(true, 1)),
        ),
        row(
            "D15",
            "iPXE has its script's address and never connects",
            &["script-not-fetched"],
            to_ipxe(t()).then(ack(ClientKind::Ipxe, URL)).silence(20_000),
            Tale::at(0).then(get("/boot/m/boot.ipxe")),
        )
        .in_part("diagnosis"),
        row(
            "D27",
            "an initrd of 600 MiB for a machine with 1 GiB",
            &["memory-small"],
            delivered(t(), 9).then(ipxe(4)).then(inventory(1024)).then(served(install())).then(
                EventKind::HttpProgress { path: "/media/p/initrd/0/initrd.gz".into(), sent: 1 << 20, total: 600 << 20 },
            ),
            is_served(),
        ),
        row(
            "D28",
            "the profile's arguments name an initrd that is not loaded",
            &["initrd-argument"],
            to_script(t(), install()).then(flaw("initrd-argument", "initrd=other.gz")),
            is_served(),
        ),
        row(
            "D28",
            "the profile has Xen for the other firmware only",
            &["no-hypervisor"],
            to_script(t(), direct()).then(flaw("no-hypervisor", "xen")),
            to_script(t(), iscsi()),
        ),
        row(
            "D20",
            "the disk is in another network, and there is no router",
            &["no-gateway"],
            to_script(t(), iscsi()).then(flaw("no-gateway", "10.9.0.1")),
            Tale::at(0).then(login(true, 1)),
        ),
    ]
}
