//! Who gives the machine its address and its boot file.

use super::super::events::*;
use super::super::tale::Tale;
use super::{LONG, Row, row};
use crate::api::{ClientKind, EventKind, HttpsRefusal, ServiceKind};
use crate::boot::Arch;

pub(super) fn rows() -> Vec<Row> {
    let t = Tale::new;
    let unheeded = |address| {
        [4000, 8000].into_iter().fold(t().then(rom(0)).then(offer(ClientKind::PxeRom, address)), |tale, pause| {
            tale.wait(pause).then(rom(4)).then(offer(ClientKind::PxeRom, address))
        })
    };
    let took = || Tale::at(0).then(ack(ClientKind::PxeRom, NBP)).then(rrq(NBP));
    let relay =
        [4000, 8000].into_iter().fold(t().then(relayed()).then(offer(ClientKind::PxeRom, true)), |tale, pause| {
            tale.wait(pause).then(relayed()).then(offer(ClientKind::PxeRom, true))
        });
    let elsewhere = |client| EventKind::DhcpElsewhere { client, server: ip(2) };
    vec![
        row("D3", "UEFI repeats its DISCOVER after two ProxyDHCP offers", &["offer-ignored"], unheeded(false), took())
            .on_firmware(LONG)
            .in_part("diagnosis"),
        row("D3", "the same with addresses of ours", &["offer-ignored"], unheeded(true), took()),
        row(
            "D4",
            "a REQUEST to another server, then packets for port 4011 that our socket never gets",
            &["boot-server-unheard"],
            t().then(rom(0)).then(offer(ClientKind::PxeRom, false)).then(elsewhere(ClientKind::PxeRom)).then(unheard(
                ServiceKind::Pxe,
                4011,
                false,
            )),
            took(),
        )
        .on_firmware(LONG),
        row(
            "D5",
            "another server's OFFER with an address, beside ours",
            &["second-dhcp"],
            t().then(rom(0)).then(foreign(Some(ip(99)), "", false)).then(offer(ClientKind::PxeRom, true)),
            took(),
        )
        .on_firmware(LONG),
        row(
            "D5",
            "the same, told before the DISCOVER that it answers",
            &["second-dhcp"],
            t().then(foreign(Some(ip(99)), "", false)).then(rom(0)).then(offer(ClientKind::PxeRom, true)),
            took(),
        )
        .on_firmware(LONG),
        row(
            "D5",
            "a REQUEST that names another server",
            &["took-other-offer"],
            t().then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(elsewhere(ClientKind::PxeRom)),
            took(),
        )
        .on_firmware(LONG)
        .in_part("diagnosis"),
        row(
            "D5",
            "the same; and it comes to us for its boot file",
            &["took-other-offer"],
            t().then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(elsewhere(ClientKind::PxeRom)),
            Tale::at(0).then(rrq(NBP)),
        ),
        row(
            "D3",
            "UEFI repeats its DISCOVER twenty times",
            &["offer-ignored"],
            (0..20).fold(t().then(rom(0)).then(offer(ClientKind::PxeRom, true)), |tale, _| {
                tale.wait(4000).then(rom(4)).then(offer(ClientKind::PxeRom, true))
            }),
            took(),
        ),
        row(
            "D6",
            "another server's OFFER names a boot file, beside our ProxyDHCP",
            &["other-boot-file"],
            t().then(rom(0)).then(offer(ClientKind::PxeRom, false)).then(foreign(Some(ip(99)), "pxelinux.0", false)),
            took(),
        )
        .on_firmware(LONG),
        row(
            "D12",
            "the first packet says that the firmware has asked for 12 s; the switch speaks STP",
            &["late-link"],
            t().then(tree()).then(rom(12)),
            is_served(),
        ),
        row("D12", "iPXE's first packet is its fourth try", &["late-link"], t().then(ipxe(4 << 2)), is_served()),
        row(
            "D13",
            "iPXE's secs: it holds an address offer and no proxy offer, though ours was sent",
            &["proxy-offer-dropped"],
            t().then(ipxe(4)).then(offer(ClientKind::Ipxe, false)).wait(1000).then(ipxe(8 | 2)),
            Tale::at(0).then(get("/boot/m/boot.ipxe")),
        ),
        row(
            "D17",
            "another server answers HTTP Boot with a bare file name",
            &["http-boot-contract"],
            t().then(discover(ClientKind::HttpBoot, Arch::UefiX64Http, 0))
                .then(EventKind::DhcpOffer {
                    client: ClientKind::HttpBoot,
                    address: None,
                    file: Some("http://192.168.2.1/firmware/snponly.efi".into()),
                    next_server: ip(1),
                })
                .then(foreign(Some(ip(99)), "ipxe.efi", false)),
            Tale::at(0).then(get("/firmware/snponly.efi")),
        ),
        row(
            "D17",
            "HTTP Boot is given a URI and does not ask for it",
            &["http-boot-not-asked"],
            t().then(discover(ClientKind::HttpBoot, Arch::UefiX64Http, 0))
                .then(ack(ClientKind::HttpBoot, "http://192.168.2.1/firmware/snponly.efi"))
                .silence(16_000),
            Tale::at(0).then(get("/firmware/snponly.efi")),
        ),
        row(
            "D17",
            "the firmware's TLS has no elliptic curves",
            &["https-refused"],
            t().then(discover(ClientKind::HttpBoot, Arch::UefiX64Http, 0))
                .then(ack(ClientKind::HttpBoot, "https://192.168.2.1/firmware/snponly.efi"))
                .then(EventKind::HttpsRefused { why: HttpsRefusal::NoCommonMethod, message: "no suites".into() }),
            Tale::at(0).then(get("/firmware/snponly.efi")),
        )
        .on_firmware("http-boot"),
        row(
            "D17",
            "the firmware does not know the lab's authority",
            &["https-refused"],
            t().then(discover(ClientKind::HttpBoot, Arch::UefiX64Http, 0))
                .then(ack(ClientKind::HttpBoot, "https://192.168.2.1/firmware/snponly.efi"))
                .then(EventKind::HttpsRefused { why: HttpsRefusal::UnknownAuthority, message: "unknown CA".into() }),
            Tale::at(0).then(get("/firmware/snponly.efi")),
        ),
        row("D18", "a relay forwards the DISCOVER again after two offers", &["relay-no-way-back"], relay, took()),
        row(
            "D19",
            "one DISCOVER is answered on two interfaces",
            &["two-interfaces"],
            t().then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(EventKind::DhcpOffer {
                client: ClientKind::PxeRom,
                address: Some([192, 168, 7, 20].into()),
                file: Some(NBP.into()),
                next_server: [192, 168, 7, 1].into(),
            }),
            is_served(),
        ),
    ]
}
