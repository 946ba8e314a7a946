//! How each rule is provoked: an exchange as our servers and the capture would tell it.

use std::net::Ipv4Addr;

use super::Row;
use super::healthy::to_script;
use super::tale::Tale;
use crate::api::{ClientKind, EventKind, HttpsRefusal, ServiceKind};
use crate::boot::Arch;
use crate::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia};
use crate::net::MacAddr;

/// The parts of `tests/run` in which real firmware is provoked.
const SHORT: &str = "firmware-findings";
const LONG: &str = "firmware-findings-all";

pub(super) const NBP: &str = "snponly.efi";
pub(super) const ROOT: &str = "iscsi:192.168.2.1::3260:0:iqn.2001-04.com.server:server01.vg00.lun0";
pub(super) const URL: &str = "http://192.168.2.1/boot/m/boot.ipxe";

pub(super) fn ip(last: u8) -> Ipv4Addr {
    [192, 168, 2, last].into()
}

pub(super) fn discover(client: ClientKind, arch: Arch, secs: u16) -> EventKind {
    EventKind::DhcpDiscover { client, xid: 7, secs, arch: Some(arch), vendor: None, hostname: None, relay: None }
}

pub(super) fn offer(client: ClientKind, address: bool) -> EventKind {
    let ipxe = client == ClientKind::Ipxe;
    let file = Some(if ipxe { URL } else { NBP }.to_owned());
    EventKind::DhcpOffer { client, address: address.then(|| ip(20)), file, next_server: ip(1) }
}

pub(super) fn ack(client: ClientKind, file: &str) -> EventKind {
    let file = Some(file.to_owned()).filter(|f| !f.is_empty());
    EventKind::DhcpAck { client, address: Some(ip(20)), file, root_path: None, disk: None, lease_seconds: 1800 }
}

pub(super) fn foreign(address: Option<Ipv4Addr>, file: &str, ack: bool) -> EventKind {
    let file = Some(file.to_owned()).filter(|f| !f.is_empty());
    EventKind::ForeignOffer {
        server: ip(2),
        server_mac: Some(MacAddr([2, 0, 0, 0, 0, 0x99])),
        ack,
        address,
        file,
        next_server: Some(ip(2)),
    }
}

pub(super) fn rrq(file: &str) -> EventKind {
    EventKind::TftpRequest { file: file.into(), options: vec![] }
}

pub(super) fn done(file: &str, bytes: u64) -> EventKind {
    EventKind::TftpDone { file: file.into(), bytes, millis: 30 }
}

pub(super) fn get(path: &str) -> EventKind {
    EventKind::HttpRequest { method: "GET".into(), path: path.into(), status: 200, agent: None }
}

pub(super) fn loaded(path: &str, bytes: u64) -> EventKind {
    EventKind::HttpDone { path: path.into(), bytes, millis: 100 }
}

pub(super) fn served(boot: Boot) -> EventKind {
    EventKind::ScriptServed { boot, dialect: "ipxe".into(), because: "the entry says so".into() }
}

pub(super) fn step(step: &str) -> EventKind {
    EventKind::ScriptStep { step: step.into() }
}

pub(super) fn install() -> Boot {
    Boot::Install(Install { profile: "p".parse().unwrap(), then: InstallThen::Local })
}

pub(super) fn iscsi() -> Boot {
    Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None })
}

fn direct() -> Boot {
    let profile = Some("xen".parse().unwrap());
    Boot::Iscsi(IscsiBoot { disk: "d".parse().unwrap(), profile, via: IscsiVia::Script, writes: None })
}

pub(super) fn login(firmware: bool, session: u16) -> EventKind {
    EventKind::IscsiLogin { initiator: "i".into(), target: "t".into(), disk: "d".into(), firmware, session }
}

pub(super) fn ended(session: u16, reason: &str) -> EventKind {
    EventKind::IscsiEnded { target: "t".into(), session, reason: reason.into() }
}

pub(super) fn moved(session: u16, read: u64) -> EventKind {
    EventKind::IscsiProgress { target: "t".into(), session, read, written: 0 }
}

pub(super) fn inventory(memory: u64) -> EventKind {
    EventKind::Inventory {
        serial: None,
        manufacturer: None,
        product: None,
        asset: None,
        memory_mib: Some(memory),
        platform: None,
        version: None,
        chip: None,
    }
}

fn unheard(service: ServiceKind, port: u16, refused: bool) -> EventKind {
    EventKind::Unheard { service, port, packets: 3, refused }
}

fn refused(initiator: &str, status: u16) -> EventKind {
    refused_since(initiator, status, "Set the secret of the disk.")
}

fn refused_since(initiator: &str, status: u16, reason: &str) -> EventKind {
    EventKind::IscsiRefused { initiator: initiator.into(), target: "t".into(), status, reason: reason.into() }
}

fn http_error(path: &str, status: u16) -> EventKind {
    EventKind::HttpRequest { method: "GET".into(), path: path.into(), status, agent: None }
}

fn tree() -> EventKind {
    EventKind::SpanningTree { interface: "br0".into(), bridge: MacAddr([2, 0, 0, 0, 0, 9]), delay_seconds: 15 }
}

fn relayed() -> EventKind {
    let EventKind::DhcpDiscover { client, xid, secs, arch, vendor, hostname, .. } = rom(0) else { unreachable!() };
    EventKind::DhcpDiscover { client, xid, secs, arch, vendor, hostname, relay: Some([10, 1, 0, 1].into()) }
}

fn rom(secs: u16) -> EventKind {
    discover(ClientKind::PxeRom, Arch::UefiX64, secs)
}

fn ipxe(secs: u16) -> EventKind {
    discover(ClientKind::Ipxe, Arch::UefiX64, secs)
}

/// Up to the boot file, delivered.
fn delivered(tale: Tale, bytes: u64) -> Tale {
    let tale = tale.then(rom(0)).then(offer(ClientKind::PxeRom, true)).then(ack(ClientKind::PxeRom, NBP));
    tale.then(rrq(NBP)).then(done(NBP, bytes))
}

fn to_ipxe(tale: Tale) -> Tale {
    delivered(tale, 170_000).wait(2000).then(ipxe(4)).then(offer(ClientKind::Ipxe, true))
}

fn is_served() -> Tale {
    Tale::at(0).then(served(Boot::Wait))
}

fn row(rule: &'static str, how: &'static str, says: &'static [&'static str], tale: Tale, cure: Tale) -> Row {
    Row { rule, how, whole_program: None, firmware: None, tale, says, cure: Some(cure) }
}

/// Nothing is said.
fn quiet(rule: &'static str, how: &'static str, tale: Tale) -> Row {
    Row { rule, how, whole_program: None, firmware: None, tale, says: &[], cure: None }
}

fn bad_kernel() -> EventKind {
    EventKind::ScriptError { step: "kernel".into(), code: 0x2e00_8081 }
}

impl Row {
    /// The part of `tests/run` that does it with real programs, too.
    fn in_part(self, part: &'static str) -> Self {
        Self { whole_program: Some(part), ..self }
    }

    /// The part that does it with real firmware, too.
    fn on_firmware(self, part: &'static str) -> Self {
        Self { firmware: Some(part), ..self }
    }
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = offers();
    rows.extend(files());
    rows.extend(scripts());
    rows.extend(disks());
    rows.extend(others());
    rows
}

fn offers() -> Vec<Row> {
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

fn files() -> Vec<Row> {
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

fn scripts() -> Vec<Row> {
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

fn disks() -> Vec<Row> {
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

fn others() -> Vec<Row> {
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
