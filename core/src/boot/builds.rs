//! The builds of iPXE that stand in for each other: a machine on which one finds no network may well boot with another.

use uuid::Uuid;

use super::decide::{named, unfit};
use super::{Arch, ClientFacts, Plan};
use crate::api::ClientKind;
use crate::net::MacAddr;

/// Names of builds of iPXE, each the counterpart of the other: with the firmware's network driver, and with drivers of its own.
const BUILDS: [(&str, &str); 4] = [
    ("undionly.kpxe", "ipxe.pxe"),
    ("snponly.efi", "ipxe.efi"),
    ("snponly-shim.efi", "ipxe-shim.efi"),
    ("ipxe.kpxe", "undionly.kpxe"),
];

/// Another build of iPXE that runs on this machine: the counterpart of what it gets now, else any other that it can run.
#[must_use]
pub fn other_build(plan: &Plan, mac: MacAddr, uuid: Option<Uuid>, arch: Arch) -> Option<String> {
    // A rule may be for one of the two ways to load a file; what a file runs on is the same for both.
    let client = if arch.is_http() { ClientKind::HttpBoot } else { ClientKind::PxeRom };
    let facts = ClientFacts { mac, uuid, arch: Some(arch), client };
    let arch = arch.without_http();
    let chosen = plan.firmware.get(&arch).map(|f| f.name.clone());
    let now = named(plan, &facts).filter(|name| unfit(plan, &facts, name).is_none()).or_else(|| chosen.clone())?;
    let runs = |name: &&String| **name != now && plan.runs_on.get(*name) == Some(&arch);
    let ours = |name: &&String| BUILDS.iter().any(|(a, b)| [*a, *b].contains(&base(name).as_str()));
    let counterpart = BUILDS.iter().find_map(|(a, b)| match base(&now) {
        name if name == *a => Some(*b),
        name if name == *b => Some(*a),
        _ => None,
    });
    let all = || plan.files.keys().chain(chosen.as_ref()).filter(runs).filter(ours);
    all().find(|name| Some(base(name).as_str()) == counterpart).or_else(|| all().next()).cloned()
}

fn base(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counterpart_comes_first_and_nothing_that_the_machine_cannot_run() {
        let of = |names: &[(&str, Arch)]| Plan {
            files: names.iter().map(|(n, _)| ((*n).to_owned(), (*n).into())).collect(),
            runs_on: names.iter().map(|(n, a)| ((*n).to_owned(), *a)).collect(),
            firmware: [(
                Arch::UefiX64,
                super::super::FirmwareFile { name: "snponly.efi".into(), path: "/".into(), size: 1 },
            )]
            .into(),
            ..Plan::default()
        };
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let x64 = Arch::UefiX64;
        let all =
            of(&[("arm/ipxe.efi", Arch::UefiArm64), ("ipxe-shim.efi", x64), ("ipxe.efi", x64), ("snponly.efi", x64)]);
        assert_eq!(other_build(&all, mac, None, Arch::UefiX64Http).as_deref(), Some("ipxe.efi"));
        let lab = |text: &str| {
            let network = "version = 1\n[network]\ninterface = \"eth0\"\naddress = \"192.168.2.1/24\"\n";
            std::sync::Arc::new(crate::lab::parse(&format!("{network}{text}")).unwrap())
        };
        let rule = |arch: &str| Plan {
            lab: lab(&format!("[[firmware]]\narch = \"{arch}\"\nfile = \"ipxe.efi\"\n")),
            ..all.clone()
        };
        let by_rule = |arch| other_build(&rule(arch), mac, None, x64);
        assert_eq!(by_rule("uefi-x64").as_deref(), Some("snponly.efi"), "it gets ipxe.efi");
        assert_eq!(by_rule("uefi-x64-http").as_deref(), Some("ipxe.efi"), "a rule for others");
        let unfit = "[[host]]\nmac = \"02:00:00:00:00:01\"\nfirmware = \"arm/ipxe.efi\"\n";
        let unfit = Plan { lab: lab(unfit), ..all.clone() };
        assert_eq!(other_build(&unfit, mac, None, x64).as_deref(), Some("ipxe.efi"), "it gets snponly.efi instead");
        assert_eq!(other_build(&of(&[("snponly.efi", x64), ("grubx64.efi", x64)]), mac, None, x64), None);
    }
}
