//! A lab as the engine would show it: thirty machines at every stage.

use std::path::PathBuf;
use std::sync::Arc;

use bootyard_core::api::*;
use bootyard_core::boot::{Arch, Explained, Explanation, Link, Part, Setting, Value};
use bootyard_core::hosts::{BootOutcome, BootRecord, BootStep};
use bootyard_core::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Writes};
use bootyard_core::net::MacAddr;
use jiff::{SignedDuration, Timestamp};

pub(crate) fn install(profile: &str) -> Boot {
    Boot::Install(Install { profile: profile.parse().unwrap(), then: InstallThen::Local })
}

pub(crate) fn iscsi(disk: &str) -> Boot {
    Boot::Iscsi(IscsiBoot { disk: disk.parse().unwrap(), profile: None, via: IscsiVia::Script, writes: None })
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    super::now() - SignedDuration::from_secs(seconds)
}

pub(crate) fn interface(name: &str, address: &str) -> InterfaceView {
    InterfaceView {
        name: name.into(),
        mac: Some(MacAddr([0x02, 0, 0, 0, 0, name.len() as u8])),
        addresses: if address.is_empty() { vec![] } else { vec![address.into()] },
        up: true,
        running: true,
        wireless: false,
        virtual_link: false,
        default_route: false,
        speed: None,
        bridge: None,
        confirmed: false,
    }
}

/// Nothing chosen yet.
pub(crate) fn fresh() -> Snapshot {
    let wifi = InterfaceView { wireless: true, default_route: true, ..interface("wlp2s0", "10.0.4.17/24") };
    let vpn = InterfaceView { virtual_link: true, ..interface("wg0", "10.9.0.2/32") };
    let bare = interface("enp3s0", "");
    Snapshot {
        v: VERSION,
        seq: 1,
        lab: PathBuf::from("/home/anna/.local/share/bootyard/lab"),
        interfaces: vec![bare, wifi, vpn],
        firmware: firmware(),
        unknown: Some(Boot::Wait),
        ..Snapshot::default()
    }
}

fn firmware() -> Vec<FirmwareView> {
    let found = |arch, file: &str| FirmwareView {
        arch,
        file: file.into(),
        path: Some(PathBuf::from(format!("/usr/lib/ipxe/{file}"))),
        remedy: None,
    };
    vec![
        found(Arch::Bios, "undionly.kpxe"),
        found(Arch::UefiX64, "snponly.efi"),
        FirmwareView {
            arch: Arch::UefiArm64,
            file: "snponly-arm64.efi".into(),
            path: None,
            remedy: Some("Put snponly-arm64.efi into the lab's folder firmware/.".into()),
        },
    ]
}

pub(crate) fn host(n: u64, stage: Stage, boot: Boot) -> HostView {
    HostView {
        id: HostId(n),
        macs: vec![MacAddr([0x52, 0x54, 0, 0, (n >> 8) as u8, n as u8])],
        uuid: None,
        name: Some(format!("pc-{n:02}")),
        named: true,
        group: None,
        seat: None,
        vendor: Some("Dell".into()),
        configured: true,
        ip: (stage != Stage::Absent).then(|| [192, 168, 77, (20 + n % 200) as u8].into()),
        arch: (stage != Stage::Absent).then_some(if n.is_multiple_of(4) { Arch::Bios } else { Arch::UefiX64 }),
        client: None,
        manufacturer: Some("Dell Inc.".into()),
        product: Some("OptiPlex 7090".into()),
        serial: Some(format!("5CG13{n:04}")),
        memory_mib: Some(16384),
        boot,
        assigned: true,
        boot_problem: None,
        stage,
        since: Some(ago(7 + n as i64 * 13)),
        progress: None,
        activity: None,
        timeline: vec![],
        findings: vec![],
        first_seen: Some(ago(4000)),
        last_seen: Some(ago(2)),
        woken: None,
    }
}

fn timeline(failed: bool) -> Vec<Step> {
    let step = |stage, start: i64, end: Option<i64>, text: &str, bytes| Step {
        part: None,
        stage,
        start: ago(40) + SignedDuration::from_millis(start),
        end: end.map(|e| ago(40) + SignedDuration::from_millis(e)),
        text: text.into(),
        state: if end.is_some() { StepState::Done } else { StepState::Active },
        bytes,
        ..Step::default()
    };
    let mut steps = vec![
        step(Stage::Seen, 0, Some(900), "PXE firmware asks for an address", 0),
        step(Stage::Addressed, 900, Some(1300), "192.168.77.23", 0),
        step(Stage::Firmware, 1300, Some(2600), "snponly.efi", 1 << 20),
        step(Stage::Ipxe, 2600, Some(4700), "iPXE 1.21.1", 0),
        step(Stage::Script, 4700, Some(4900), "install debian-12", 600),
        step(Stage::Loading, 4900, Some(6400), "linux", 8 << 20),
        step(Stage::Loading, 6400, None, "initrd.gz", 28 << 20),
    ];
    if failed && let Some(last) = steps.last_mut() {
        last.end = Some(ago(31));
        last.state = StepState::Failed;
        last.text = "initrd.gz: connection timed out".into();
    }
    steps
}

/// A kernel that was started directly, from the script to the login to its disk.
pub(crate) fn direct_timeline() -> Vec<Step> {
    let step = |stage, part, start: i64, end: Option<i64>, text: &str, bytes| Step {
        part,
        stage,
        start: ago(40) + SignedDuration::from_millis(start),
        end: end.map(|e| ago(40) + SignedDuration::from_millis(e)),
        text: text.into(),
        state: if end.is_some() { StepState::Done } else { StepState::Active },
        bytes,
        ..Step::default()
    };
    vec![
        step(Stage::Seen, None, 0, Some(900), "PXE firmware asks for an address", 0),
        step(Stage::Firmware, None, 900, Some(2600), "snponly.efi", 1 << 20),
        step(Stage::Script, None, 2600, Some(4900), "iscsi room-1 with room-1", 0),
        step(Stage::Loading, Some(StepPart::Hypervisor), 4900, Some(5300), "xen-4.17-amd64", 3 << 20),
        step(Stage::Loading, Some(StepPart::Kernel), 5300, Some(6400), "vmlinuz-6.1.0-18-amd64", 8 << 20),
        step(Stage::Loading, Some(StepPart::Initrd), 6400, Some(9000), "initrd.img-6.1.0-18-amd64", 34 << 20),
        step(Stage::OsStarted, None, 9000, Some(15_000), "kernel started", 0),
        step(Stage::OsStarted, Some(StepPart::SystemAddress), 15_000, Some(15_300), "192.168.77.23 for the system", 0),
        step(Stage::OsLogin, None, 15_300, None, "iqn.2026-01.org.bootyard:room-1", 61 << 20),
    ]
}

/// The `n`th boot of a machine, which arrived at its disk, with the times of firmware DHCP, boot file, iPXE, kernel and initrd.
pub(crate) fn remembered(n: i64, given: Boot, millis: &[u64]) -> BootRecord {
    let phases = [
        (Stage::Seen, None, "PXE firmware asks", 0),
        (Stage::Firmware, None, "snponly.efi", 1 << 20),
        (Stage::Ipxe, None, "iPXE asks", 0),
        (Stage::Loading, Some(StepPart::Kernel), "linux", 8 << 20),
        (Stage::Loading, Some(StepPart::Initrd), "initrd.gz", 36 << 20),
    ];
    let mut at = 0;
    let mut steps: Vec<BootStep> = Vec::new();
    for ((stage, part, text, bytes), millis) in phases.into_iter().zip(millis) {
        let step = BootStep { stage, part, at, text: text.into(), bytes, ..BootStep::default() };
        steps.push(BootStep { millis: Some(*millis), ..step });
        at += millis;
    }
    steps.push(BootStep { stage: Stage::OsLogin, at, text: "room-1".into(), ..BootStep::default() });
    let began = ago(40_000) + SignedDuration::from_secs(n * 3600);
    BootRecord { began, given: Some(given), outcome: BootOutcome::Arrived, steps }
}

/// Six boots, of which the newest loaded its kernel slowly, one failed, and one was an installation.
pub(crate) fn boots() -> Vec<BootRecord> {
    let usual = |n: i64| remembered(n, iscsi("room-1"), &[900, 1700, 1500, 3100, 6000 + n.unsigned_abs() * 90]);
    let mut failed = remembered(4, iscsi("room-1"), &[880, 1650, 4200]);
    failed.outcome = BootOutcome::Failed;
    if let Some(last) = failed.steps.iter_mut().rev().nth(1) {
        last.failed = true;
    }
    failed.steps.pop();
    let slow = remembered(9, iscsi("room-1"), &[910, 1750, 1480, 12_400, 6100]);
    let mut install = remembered(1, install("debian-12"), &[910, 1750, 1480, 2900, 9900]);
    if let Some(last) = install.steps.last_mut() {
        last.stage = Stage::Installing;
    }
    vec![slow, usual(6), usual(5), failed, usual(2), install]
}

/// What `pc-01` would be given.
pub(crate) fn chain() -> Explanation {
    let setting = |part, entry: &str, key: &str, line, absent| Setting {
        part,
        index: 0,
        entry: entry.into(),
        key: key.into(),
        line: Some(line),
        absent: Some(absent),
    };
    let boot = setting(Part::Host, "pc-01", "boot", 41, false);
    let link = |stage, over: &str, brief: &str, gets: &str, because: &str, setting: Option<Setting>| Explained {
        stage,
        over: over.into(),
        brief: brief.into(),
        gets: gets.into(),
        because: because.into(),
        setting,
        values: Vec::new(),
        ends: false,
    };
    let values = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| Value::new(*n, v)).collect::<Vec<_>>();
    let firmware = Explained {
        values: values(&[
            ("your address", "192.168.77.21"),
            ("next server", "192.168.77.1"),
            ("file", "snponly.efi"),
            ("53 message type", "OFFER"),
            ("60 vendor class", "PXEClient"),
            ("43 vendor options: 6 discovery control", "8"),
        ]),
        ..link(
            Link::Firmware,
            "DHCP",
            "A free address",
            "an address of the free part of the interface's subnet, and the boot file snponly.efi over TFTP from 192.168.77.1",
            "the network has no `range`",
            Some(setting(Part::Network, "enp3s0", "range", 3, true)),
        )
    };
    let script =
        "#!ipxe\nset step san\nsanboot iscsi:192.168.77.1::3260:0:iqn.2026-01.org.bootyard:room-1 || goto failed\n";
    let says = "the entry of pc-01 in lab.toml says so";
    Explanation {
        mac: Some(MacAddr([0x52, 0x54, 0, 0, 0, 1])),
        name: Some("pc-01".into()),
        arch: Arch::UefiX64,
        client: ClientKind::PxeRom,
        interface: "enp3s0".into(),
        server: [192, 168, 77, 1].into(),
        mode: "dhcp".into(),
        serving: true,
        stages: vec![
            firmware,
            link(
                Link::BootFile,
                "TFTP",
                "snponly.efi",
                "snponly.efi (/usr/lib/ipxe/snponly.efi, 312320 bytes)",
                "the best for uefi-x64 in firmware/ and the system's package",
                None,
            ),
            link(
                Link::Ipxe,
                "DHCP",
                "Its script's address",
                "its script's address, http://192.168.77.1/boot/52-54-00-00-00-01/boot.ipxe",
                says,
                Some(boot.clone()),
            ),
            link(Link::Script, "HTTP", "iscsi room-1", script, says, Some(boot.clone())),
            link(
                Link::Disk,
                "iSCSI",
                "room-1",
                "room-1 as iqn.2026-01.org.bootyard:room-1, with an overlay of its own that is kept",
                "`writes` of the disk",
                Some(setting(Part::Disk, "room-1", "writes", 18, false)),
            ),
            link(
                Link::System,
                "",
                "System on its disk",
                "its boot loader and its system from that disk; the system logs in to it by itself",
                says,
                Some(boot),
            ),
        ],
    }
}

pub(crate) fn trouble() -> Finding {
    Finding {
        id: "script-error".into(),
        severity: Severity::Error,
        seen: "iPXE stopped at `initrd`: no answer came in time (error 4c0a6035).".into(),
        means: "The connection timed out: the machine no longer reached this computer.".into(),
        remedy: "Look at the cable and the switch port, then start the machine again.".into(),
        certainty: Certainty::Likely,
        events: vec![41, 44],
        action: Some(FindingAction::OtherFirmware),
        since: Some(ago(31)),
    }
}

fn stage_of(n: u64) -> Stage {
    match n % 15 {
        0 => Stage::Failed,
        1 | 2 => Stage::Waiting,
        3 | 4 => Stage::Loading,
        5 => Stage::Ipxe,
        6 => Stage::Firmware,
        7 | 8 => Stage::Installing,
        9 | 10 => Stage::OsLogin,
        11 => Stage::SanLogin,
        12 => Stage::Local,
        13 => Stage::Absent,
        _ => Stage::Addressed,
    }
}

pub(crate) fn hosts(count: u64) -> Vec<Arc<HostView>> {
    (1..=count)
        .map(|n| {
            let stage = stage_of(n);
            let boot = match stage {
                Stage::Waiting => Boot::Wait,
                Stage::OsLogin | Stage::SanLogin => iscsi("room-1"),
                Stage::Local | Stage::Absent => Boot::Local,
                _ => install("debian-12"),
            };
            let mut host = host(n, stage, boot);
            match stage {
                Stage::Loading | Stage::Installing => {
                    let done = (n * 7 % 30) << 20;
                    host.progress = Some(Progress { done, total: 36 << 20, rate: 11 << 20 });
                    host.activity = Some("initrd.gz".into());
                    host.timeline = timeline(false);
                }
                Stage::OsLogin => {
                    host.progress = Some(Progress { done: 812 << 20, total: 0, rate: 3 << 20 });
                    host.activity = Some("room-1".into());
                }
                Stage::Failed => {
                    host.findings = vec![trouble()];
                    host.timeline = timeline(true);
                }
                Stage::Waiting => {
                    host.activity = Some("waiting for a technician".into());
                    if n.is_multiple_of(2) {
                        host.name = None;
                        host.configured = false;
                    }
                }
                _ => {}
            }
            Arc::new(host)
        })
        .collect()
}

/// A disk of which every machine keeps an overlay.
pub(crate) fn disk(name: &str, sessions: u32, overlays: Vec<OverlayView>) -> DiskView {
    DiskView {
        name: name.into(),
        image: format!("{name}.img").into(),
        iqn: format!("iqn.2026-01.org.bootyard:{name}"),
        size: 32 << 30,
        allocated: 9 << 30,
        writes: Writes::Keep,
        readonly: false,
        chap: false,
        assigned: overlays.iter().map(|o| o.host.clone()).collect(),
        sessions,
        overlays,
        problem: None,
        generation: 3,
        parent: None,
        older: vec![],
    }
}

/// The overlay that pc-`n` keeps.
pub(crate) fn overlay(n: u64, open: bool) -> OverlayView {
    OverlayView {
        id: format!("host-{n}.keep"),
        writes: Writes::Keep,
        generation: 3,
        host: format!("pc-{n:02}"),
        of: Some(HostId(n)),
        bytes: (n * 113) << 20,
        open,
    }
}

/// A room's golden disk, new at each boot, with thirty overlays: pc-03 is in maintenance and at rest, pc-04's stands on
/// generation 2, pc-09 and pc-10 run; two snapshots below it, one of them with one of its own; one disk that is being checked.
pub(crate) fn tree() -> Snapshot {
    let fresh =
        |n: u64| OverlayView { id: format!("host-{n}.fresh"), writes: Writes::Fresh, ..overlay(n, n == 9 || n == 10) };
    let overlays = (1..=30u64)
        .map(|n| match n {
            3 => OverlayView { bytes: 1_288_490_189, ..overlay(3, false) },
            4 => OverlayView { generation: 2, ..overlay(4, false) },
            n => fresh(n),
        })
        .collect();
    let golden = DiskView {
        writes: Writes::Fresh,
        older: vec![GenerationView { generation: 2, allocated: 1_181_116_006 }],
        ..disk("lab", 2, overlays)
    };
    let taken = |name: &str, from: &str, generation| DiskView {
        parent: Some((from.into(), generation)),
        allocated: 1 << 30,
        generation: 1,
        ..disk(name, 0, vec![])
    };
    let scratch = DiskView { readonly: true, ..disk("rescue", 0, vec![]) };
    let checked = DiskView {
        problem: Some("windows.img is still being checked".into()),
        generation: 0,
        ..disk("windows", 0, vec![])
    };
    let missing = DiskView {
        problem: Some("open disks/old.img: No such file or directory".into()),
        size: 0,
        allocated: 0,
        generation: 0,
        ..disk("old", 0, vec![])
    };
    let job = |id, kind, what: &str, state| JobView {
        id,
        kind,
        what: what.into(),
        progress: Progress { done: 3 << 30, total: 8 << 30, rate: 210 << 20 },
        state,
        started: ago(15),
    };
    let mut shot = bench(30);
    shot.disks = vec![
        golden,
        taken("lab-before-update", "lab", 2),
        taken("lab-exam", "lab-before-update", 1),
        taken("lab-pc-03", "lab", 3),
        scratch,
        checked,
        missing,
    ];
    shot.jobs = vec![
        job(7, JobKind::CommitDisk, "pc-03 to lab", JobState::Running),
        job(8, JobKind::HashImage, "windows", JobState::Running),
        job(
            6,
            JobKind::ExportDisk,
            "lab to /mnt/usb/lab.qcow2",
            JobState::Failed { error: "no space left on /mnt/usb".into() },
        ),
    ];
    let Boot::Iscsi(boot) = iscsi("lab") else { return shot };
    for (host, writes) in shot.hosts.iter_mut().take(6).zip([None, None, Some(Writes::Keep), None, None, None]) {
        Arc::make_mut(host).boot = Boot::Iscsi(IscsiBoot { writes, ..boot.clone() });
    }
    shot
}

/// Serving, with this many machines.
pub(crate) fn bench(count: u64) -> Snapshot {
    let service = |service, address: &str| ServiceView { service, address: address.into(), error: None };
    let events = [
        EventKind::EngineStarted { interfaces: vec!["enp3s0".into()] },
        EventKind::DhcpDiscover {
            client: ClientKind::PxeRom,
            xid: 7,
            secs: 0,
            arch: Some(Arch::UefiX64),
            vendor: None,
            hostname: None,
            relay: None,
        },
        EventKind::DhcpNak { address: [192, 168, 1, 9].into(), reason: "not of this network".into() },
        EventKind::TftpDone { file: "snponly.efi".into(), bytes: 1 << 20, millis: 1300 },
        EventKind::ScriptError { step: "initrd".into(), code: 0x4c0a_6035 },
    ];
    Snapshot {
        seq: 2,
        engine: EngineState::Running { since: ago(3600) },
        interfaces: vec![InterfaceView { confirmed: true, ..interface("enp3s0", "192.168.77.1/24") }],
        networks: vec![NetworkView {
            interface: "enp3s0".into(),
            address: Some("192.168.77.1/24".into()),
            configured: "auto".into(),
            mode: Some("dhcp".into()),
            because: Some("no other DHCP server answered within 3 s".into()),
            pool: 180,
            leased: count.min(180),
            foreign: vec![],
        }],
        services: vec![
            service(ServiceKind::Dhcp, "192.168.77.1:67"),
            service(ServiceKind::Tftp, "192.168.77.1:69"),
            service(ServiceKind::Http, "192.168.77.1:80"),
            service(ServiceKind::Iscsi, "192.168.77.1:3260"),
        ],
        hosts: hosts(count),
        disks: vec![
            disk("room-1", 2, vec![overlay(9, true), overlay(10, true), overlay(24, false)]),
            DiskView {
                problem: Some(
                    "The image windows.qcow2 is missing below disks/. Put it back, or take the disk out of lab.toml."
                        .into(),
                ),
                size: 0,
                ..disk("windows", 0, vec![])
            },
        ],
        profiles: ["debian-12", "xen"]
            .map(|name| ProfileView {
                name: name.into(),
                kernel: format!("{name}/linux").into(),
                initrds: vec![format!("{name}/initrd.gz").into()],
                answers: (name == "debian-12").then(|| "debian-12.cfg".into()),
                args: "auto=true priority=critical".into(),
                size: 44 << 20,
                assigned: vec!["pc-03".into(), "pc-04".into()],
                problem: None,
                hypervisor: None,
                iscsi_args: None,
                taken_from: None,
                edited: false,
                stale: None,
            })
            .into(),
        jobs: vec![JobView {
            id: 4,
            kind: JobKind::ImportDisk,
            what: "fedora-41.qcow2".into(),
            progress: Progress { done: 3 << 30, total: 8 << 30, rate: 210 << 20 },
            state: JobState::Running,
            started: ago(15),
        }],
        recent: (0..200u64)
            .filter_map(|n| {
                let kind = events.get(n as usize % events.len())?.clone();
                let (host, mac) = (Some(HostId(n % 9 + 1)), None);
                let time = ago(200 - n as i64);
                Some(Arc::new(Event { v: VERSION, seq: n, time, host, mac, source: Source::Served, kind }))
            })
            .collect(),
        ..fresh()
    }
}
