//! Boots on which nothing may be said: recorded from real firmware, and made up where no emulator has it.

use super::events::*;
use super::recorded;
use super::tale::Tale;
use crate::api::{ClientKind, EventKind};
use crate::boot::Arch;
use crate::lab::{Boot, InstallThen};

/// Recordings of whole-program boots of QEMU's firmware: the events as they were told.
const RECORDED: [(&str, &str); 6] = [
    ("a BIOS with iPXE in its ROM", include_str!("../recorded/boot-times-bios-dhcp.jsonl")),
    ("the same beside dnsmasq", include_str!("../recorded/boot-times-bios-proxy.jsonl")),
    ("UEFI PXE", include_str!("../recorded/boot-times-uefi-dhcp.jsonl")),
    ("UEFI PXE beside dnsmasq", include_str!("../recorded/boot-times-uefi-proxy.jsonl")),
    ("UEFI HTTP Boot", include_str!("../recorded/http-boot.jsonl")),
    ("UEFI HTTP Boot beside dnsmasq", include_str!("../recorded/http-boot-proxy.jsonl")),
];

/// From power-on to the script, with the firmware's size probe.
pub(super) fn to_script(tale: Tale, boot: Boot) -> Tale {
    tale.then(discover(ClientKind::PxeRom, Arch::UefiX64, 0))
        .then(offer(ClientKind::PxeRom, true))
        .then(ack(ClientKind::PxeRom, NBP))
        .then(rrq(NBP))
        .then(EventKind::TftpAborted { file: NBP.into(), sent: 0, probe: true, message: "User aborted".into() })
        .then(rrq(NBP))
        .then(done(NBP, 170_000))
        .wait(2000)
        .then(rrq("autoexec.ipxe"))
        .then(EventKind::TftpFailed { file: "autoexec.ipxe".into(), code: 1, message: "none".into() })
        .then(discover(ClientKind::Ipxe, Arch::UefiX64, 4))
        .then(offer(ClientKind::Ipxe, true))
        .then(ack(ClientKind::Ipxe, URL))
        .then(get("/boot/m/boot.ipxe"))
        .then(inventory(4096))
        .then(served(boot))
        .then(get("/boot/m/script.ipxe"))
}

fn installs(tale: Tale) -> Tale {
    to_script(tale, install())
        .then(get("/media/p/kernel/linux"))
        .then(loaded("/media/p/kernel/linux", 8 << 20))
        .then(get("/media/p/initrd/0/initrd.gz"))
        .then(loaded("/media/p/initrd/0/initrd.gz", 40 << 20))
        .then(step("kernel-start"))
        .wait(20_000)
        .then(discover(ClientKind::Os, Arch::UefiX64, 0))
        .then(ack(ClientKind::Os, ""))
        .then(EventKind::AnswersServed { profile: "p".into() })
        .then(EventKind::InstallConsumed { profile: "p".into(), next: Boot::Local, because: "fetched".into() })
}

fn runs_from_disk(tale: Tale) -> Tale {
    let tale = to_script(tale, iscsi()).then(step("san-start")).then(login(true, 1)).then(moved(1, 30 << 20));
    let tale = tale.wait(9000).then(moved(1, 60 << 20)).wait(30_000).then(discover(ClientKind::Os, Arch::UefiX64, 0));
    // Debian's initramfs and its system log in several times.
    let tale = tale
        .then(ack(ClientKind::Os, ""))
        .wait(3000)
        .then(login(false, 2))
        .then(ended(1, "the operating system took over"));
    let tale = [3, 4, 5].into_iter().fold(tale, |tale, n| {
        tale.wait(5000).then(ended(n - 1, "the same initiator logged in again")).then(login(false, n))
    });
    tale.wait(60_000).then(moved(5, 200 << 20))
}

/// A machine that boots well, whatever was before.
pub(super) fn after(clock: u64) -> Tale {
    let mended = EventKind::Assigned { to: Boot::Wait, by: "window".into() };
    let trouble = EventKind::ImageTrouble { disk: "d".into(), troubles: vec![] };
    to_script(Tale::at(clock).then(mended).then(trouble), Boot::Wait).silence(3_600_000)
}

pub(super) fn all() -> Vec<(&'static str, Tale)> {
    let mut all: Vec<_> = RECORDED.iter().map(|(name, text)| (*name, recorded::tale(text))).collect();
    let t = Tale::new;
    let rom = t()
        .then(discover(ClientKind::PxeRom, Arch::Bios, 4))
        .then(offer(ClientKind::PxeRom, true))
        .then(ack(ClientKind::PxeRom, "undionly.kpxe"))
        .then(rrq("undionly.kpxe"))
        .then(done("undionly.kpxe", 70_000))
        .wait(3000)
        .then(discover(ClientKind::Ipxe, Arch::Bios, 4))
        .then(offer(ClientKind::Ipxe, true))
        .then(ack(ClientKind::Ipxe, URL))
        .then(get("/boot/m/boot.ipxe"))
        .then(served(Boot::Local))
        .then(step("local"));
    all.push(("a plain BIOS ROM, then its local disk", rom.clone().silence(7_200_000)));
    let reboot = rom.wait(90_000).then(discover(ClientKind::Os, Arch::Bios, 0)).then(ack(ClientKind::Os, ""));
    all.push((
        "and its reboot an hour later",
        to_script(reboot.wait(3_600_000), Boot::Local).then(step("local")).silence(3_600_000),
    ));
    all.push(("wait for an hour", to_script(t(), Boot::Wait).silence(3_600_000)));
    all.push(("menu for an hour", to_script(t(), Boot::Menu).silence(3_600_000)));
    all.push(("an installation", installs(t()).silence(7_200_000)));
    let next = to_script(installs(t()).wait(1_200_000), Boot::Local).then(step("local"));
    all.push(("and the boot that follows it", next.silence(7_200_000)));
    all.push(("a system on its disk, with four logins", runs_from_disk(t()).silence(7_200_000)));
    let again = runs_from_disk(runs_from_disk(t()).then(ended(5, "logged out")).wait(40_000));
    all.push(("and its reboot", again.silence(7_200_000)));
    let root = t()
        .then(discover(ClientKind::Ipxe, Arch::Bios, 4))
        .then(offer(ClientKind::Ipxe, true))
        .then(EventKind::DhcpAck {
            client: ClientKind::Ipxe,
            address: Some(ip(20)),
            file: None,
            root_path: Some(ROOT.into()),
            disk: Some("server01".into()),
            lease_seconds: 1800,
        })
        .then(login(true, 1))
        .then(moved(1, 9 << 20));
    all.push(("iPXE in ROM with a root-path, GRUB's menu for an hour", root.silence(3_600_000)));
    let proxy_file = t()
        .then(discover(ClientKind::PxeRom, Arch::Bios, 4))
        .then(offer(ClientKind::PxeRom, false))
        .then(foreign(Some(ip(99)), "", false))
        .then(EventKind::DhcpElsewhere { client: ClientKind::PxeRom, server: ip(2) })
        .then(foreign(Some(ip(99)), "", true))
        .then(rrq(NBP))
        .then(done(NBP, 70_000))
        .then(discover(ClientKind::Ipxe, Arch::Bios, 4))
        .then(offer(ClientKind::Ipxe, false))
        .then(foreign(Some(ip(99)), "", false))
        .then(EventKind::DhcpElsewhere { client: ClientKind::Ipxe, server: ip(2) })
        .then(foreign(Some(ip(99)), "", true))
        .then(get("/boot/m/boot.ipxe"))
        .then(served(Boot::Wait));
    all.push(("ProxyDHCP with the file in the offer", proxy_file.silence(3_600_000)));
    let pointed = t()
        .then(discover(ClientKind::PxeRom, Arch::Bios, 4))
        .then(offer(ClientKind::PxeRom, false))
        .then(EventKind::ForeignOffer {
            server: ip(2),
            server_mac: None,
            ack: false,
            address: Some(ip(99)),
            file: Some(NBP.into()),
            next_server: Some(ip(1)),
        })
        .then(EventKind::DhcpElsewhere { client: ClientKind::PxeRom, server: ip(2) })
        .then(rrq(NBP))
        .then(done(NBP, 70_000));
    all.push(("another server that points to us", pointed.silence(5000)));
    let stopped = to_script(t(), Boot::Wait)
        .wait(1000)
        .then(discover(ClientKind::PxeRom, Arch::UefiX64, 0))
        .then(offer(ClientKind::PxeRom, true))
        .then(ack(ClientKind::PxeRom, NBP));
    let relayed = t()
        .then(EventKind::DhcpDiscover {
            client: ClientKind::PxeRom,
            xid: 9,
            secs: 0,
            arch: Some(Arch::UefiX64),
            vendor: None,
            hostname: None,
            relay: Some([10, 1, 0, 1].into()),
        })
        .then(offer(ClientKind::PxeRom, true))
        .then(ack(ClientKind::PxeRom, NBP))
        .then(rrq(NBP));
    all.push(("through a relay", relayed.silence(60_000)));
    all.push(("asks for its file a little late", stopped.wait(4000).then(rrq(NBP)).silence(60_000)));
    let young = Tale::at(1000).then(EventKind::EngineStarted { interfaces: vec![] }).then(discover(
        ClientKind::PxeRom,
        Arch::UefiX64,
        12,
    ));
    all.push(("asks since before we served", young.silence(1000)));
    let to_disk = Boot::Install(crate::lab::Install {
        profile: "p".parse().unwrap(),
        then: InstallThen::Iscsi(crate::lab::IscsiBoot {
            disk: "d".parse().unwrap(),
            profile: None,
            via: crate::lab::IscsiVia::Script,
            writes: None,
        }),
    });
    let onto = to_script(t(), to_disk)
        .then(login(true, 1))
        .then(loaded("/media/p/initrd/0/initrd.gz", 40 << 20))
        .then(step("kernel-start"))
        .wait(10_000)
        .then(ended(1, "the initiator closed the connection"))
        .then(discover(ClientKind::Os, Arch::UefiX64, 0));
    all.push(("an installation onto its disk", onto.silence(3_600_000)));
    all
}
