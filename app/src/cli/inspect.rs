//! `bootyard disks inspect` and `bootyard disks extract`: what is in an image, and its kernel for machines that start it directly.

use std::path::Path;

use bootyard_core::api::{Command, DiskAct, Reply};
use bootyard_core::boot::Arch;
use bootyard_core::inspect::{Choice, Extraction, Inspection, LinuxSystem, Trouble, Way, WindowsSystem, troubles};
use bootyard_core::lab::IscsiArgs;
use serde_json::json;

use super::super::session::Session;
use super::super::{Failure, Outcome, output};

/// The ways of booting that are judged, by the name that is shown.
const WAYS: [(&str, Way); 4] = [
    ("BIOS", Way::San { arch: Some(Arch::Bios) }),
    ("UEFI x64", Way::San { arch: Some(Arch::UefiX64) }),
    ("UEFI arm64", Way::San { arch: Some(Arch::UefiArm64) }),
    ("kernel directly", Way::Direct { args: IscsiArgs::Debian, ibft: false, hypervisor: false }),
];

pub(super) fn inspect(lab: &Path, disk: String, host: Option<String>, json: bool) -> Outcome {
    let session = Session::existing(lab)?;
    let found = look(&session, disk, host);
    session.end();
    let found = found?;
    if json {
        let ways: serde_json::Map<String, serde_json::Value> =
            ways(&found).into_iter().map(|(name, all)| (name.to_owned(), all.iter().map(told).collect())).collect();
        output::json(&json!({ "image": found, "troubles": ways }))?;
        return Ok(());
    }
    for text in lines(&found) {
        output::line(&output::safe(&text));
    }
    Ok(())
}

fn look(session: &Session, disk: String, host: Option<String>) -> Result<Inspection, Failure> {
    match session.call(Command::Disk { disk, act: DiskAct::Inspect { host } })? {
        Reply::Inspected { found } => Ok(*found),
        _ => Err(Failure::Failed(anyhow::anyhow!("the engine that runs is another version; restart it"))),
    }
}

/// What stands in each way. An architecture for which there is nothing is not named, unless it is one of the two usual ones.
fn ways(found: &Inspection) -> Vec<(&'static str, Vec<Trouble>)> {
    let arm = found.efi.iter().any(|p| p.arch == Some(Arch::UefiArm64));
    let direct = found.linux.iter().find_map(|s| s.kernels.first());
    let wanted = |name: &str| match name {
        "UEFI arm64" => arm,
        "kernel directly" => direct.is_some(),
        _ => true,
    };
    let way = |(name, way): (&'static str, Way)| {
        let all = match (way, Extraction::choose(found, &Choice::default())) {
            // As the profile would be that is made of it.
            (Way::Direct { .. }, Ok(what)) => what.troubles,
            _ => troubles(found, way),
        };
        (name, all)
    };
    WAYS.into_iter().filter(|(name, _)| wanted(name)).map(way).collect()
}

fn told(trouble: &Trouble) -> serde_json::Value {
    json!({
        "id": trouble.id, "severity": trouble.severity, "params": trouble.params,
        "seen": trouble.seen(), "means": trouble.means(), "remedy": trouble.remedy(),
    })
}

fn lines(found: &Inspection) -> Vec<String> {
    let mut out = Vec::new();
    for part in &found.partitions {
        let kind = part.file_system.map_or_else(|| "unknown".to_owned(), |k| format!("{k:?}").to_lowercase());
        let label = part.label.as_ref().map_or_else(String::new, |l| format!(" `{l}`"));
        let problem = part.problem.as_ref().map_or_else(String::new, |p| format!(": {p}"));
        let name = if part.number == 0 { "the whole disk".to_owned() } else { format!("partition {}", part.number) };
        out.push(format!("{name}: {} MiB, {kind}{label}{problem}", part.size >> 20));
    }
    out.extend(found.linux.iter().flat_map(linux));
    out.extend(found.windows.iter().map(windows));
    for (name, all) in ways(found) {
        if all.is_empty() {
            out.push(format!("boots ({name}): nothing stands in the way"));
        }
        for trouble in all {
            out.push(format!("boots ({name}): {} {} {}", trouble.seen(), trouble.means(), trouble.remedy()));
        }
    }
    out
}

fn linux(system: &LinuxSystem) -> Vec<String> {
    let mut out = vec![format!("{} on partition {}", system.name, system.partition)];
    for kernel in &system.kernels {
        let initramfs = match (&kernel.initramfs, &kernel.initramfs_problem) {
            (Some(i), _) => {
                let iscsi = if i.has_iscsi(&kernel.built_in) { "with iSCSI" } else { "without iSCSI" };
                let by = i.generator.map_or("", |g| g.as_str());
                format!("initramfs by {by}, {iscsi}, {} network drivers", i.network_drivers.len())
            }
            (None, Some(problem)) => format!("initramfs unread: {problem}"),
            (None, None) => "no initramfs".to_owned(),
        };
        out.push(format!("  kernel {}: {initramfs}; {}", kernel.version, kernel.args));
    }
    out.extend(system.hypervisors.iter().map(|xen| format!("  Xen {}", xen.version)));
    out
}

fn windows(system: &WindowsSystem) -> String {
    let at_boot: Vec<&str> = system.cards.iter().filter(|c| c.at_boot()).map(|c| c.name.as_str()).collect();
    format!("Windows on partition {}: network drivers at boot: {}", system.partition, at_boot.join(", "))
}

pub(super) fn extract(
    lab: &Path,
    disk: &str,
    into: &str,
    host: Option<String>,
    kernel: Option<String>,
    json: bool,
) -> Outcome {
    let session = Session::existing(lab)?;
    let done = (|| -> Result<(Extraction, bool), Failure> {
        let found = look(&session, disk.to_owned(), host.clone())?;
        let what = Extraction::choose(&found, &Choice { kernel: kernel.clone() });
        let what = what.map_err(|e| Failure::Failed(anyhow::anyhow!("the disk {disk}: {e}")))?;
        let act = DiskAct::Extract { profile: into.to_owned(), host, kernel };
        let reply = session.call(Command::Disk { disk: disk.to_owned(), act })?;
        super::wait(&session, &reply)?;
        let edited = session.handle().snapshot().profiles.iter().any(|p| p.name == into && p.edited);
        Ok((what, edited))
    })();
    session.end();
    let (what, edited) = done?;
    if json {
        output::json(&json!({
            "profile": into, "system": what.system, "kernel": what.version, "args": what.args,
            "hypervisor": what.hypervisor.map(|x| x.path), "hypervisor-efi": what.hypervisor_efi.map(|x| x.path),
            "hypervisor-args": what.hypervisor_args, "iscsi-args": what.iscsi_args,
            "edited": edited, "troubles": what.troubles.iter().map(told).collect::<Vec<_>>(),
        }))?;
        return Ok(());
    }
    let xen = if what.hypervisor.is_some() { " and Xen" } else { "" };
    output::line(&output::safe(&format!("the profile {into} has the kernel {}{xen} of {}", what.version, what.system)));
    if edited {
        let own = "its arguments in lab.toml were edited and stay as they are; those of the image are now";
        output::line(&output::safe(&format!("{own}: {}", what.args)));
    }
    for trouble in &what.troubles {
        output::line(&output::safe(&format!("{} {} {}", trouble.seen(), trouble.means(), trouble.remedy())));
    }
    Ok(())
}
