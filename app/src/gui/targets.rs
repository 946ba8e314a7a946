//! What a machine can be given, as menus list it, and questions about hosts that several views ask.

use std::collections::{BTreeMap, HashSet};

use bootyard_core::api::{
    Command, DiskView, HostId, HostView, JobKind, JobState, JobView, OverlayView, ProfileView, Snapshot,
};
use bootyard_core::lab::{
    Boot, Install, InstallThen, IscsiArgs, IscsiBoot, IscsiVia, Name, SettingChange, SettingValue, Writes,
};

use super::lang::t;
use super::say;
use super::views::images;

/// One entry of an assignment menu.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// What is assigned.
    pub(super) boot: Boot,
    /// Why it can't be.
    pub(super) problem: Option<String>,
    /// The first of its kind: a line goes before it.
    pub(super) first: bool,
}

/// All of them: profiles, disks, then the words.
pub(super) fn targets(shot: &Snapshot) -> Vec<Target> {
    // A kernel for a disk's own system installs nothing.
    let installers = shot.profiles.iter().filter(|p| p.taken_from.is_none() && p.iscsi_args.is_none());
    let profiles = installers.filter_map(|p| {
        let profile: Name = p.name.parse().ok()?;
        Some((Boot::Install(Install { profile, then: InstallThen::Local }), p.problem.clone()))
    });
    let disks = shot.disks.iter().filter_map(|d| {
        let disk: Name = d.name.parse().ok()?;
        Some((Boot::Iscsi(IscsiBoot { disk, profile: None, via: IscsiVia::Script, writes: None }), d.problem.clone()))
    });
    let words = [Boot::Local, Boot::Wait, Boot::Menu, Boot::Ignore].map(|b| (b, None));
    let mut list: Vec<Target> = Vec::new();
    for (boot, problem) in profiles.chain(disks).chain(words) {
        let first = list.last().is_some_and(|before| kind(&before.boot) != kind(&boot));
        list.push(Target { boot, problem, first });
    }
    list
}

/// The same installation followed by each disk of the lab in place of the local one.
pub(super) fn afterwards(shot: &Snapshot, boot: &Boot) -> Vec<Boot> {
    let Boot::Install(install) = boot else { return Vec::new() };
    let disks = shot.disks.iter().filter(|d| d.problem.is_none());
    disks
        .filter_map(|d| {
            let disk = IscsiBoot { disk: d.name.parse().ok()?, profile: None, via: IscsiVia::Script, writes: None };
            Some(Boot::Install(Install { profile: install.profile.clone(), then: InstallThen::Iscsi(disk) }))
        })
        .collect()
}

/// The same disk, where the machine keeps what it changes; only of a disk that is otherwise new at each boot.
pub(super) fn maintenance(shot: &Snapshot, boot: &Boot) -> Option<Boot> {
    let Boot::Iscsi(iscsi) = boot else { return None };
    let disk = shot.disks.iter().find(|d| d.name == iscsi.disk.as_str())?;
    let can = disk.writes == Writes::Fresh && !disk.readonly && disk.problem.is_none() && iscsi.writes.is_none();
    can.then(|| Boot::Iscsi(IscsiBoot { writes: Some(Writes::Keep), ..iscsi.clone() }))
}

/// The disk whose kernel could be started in place of its boot loader.
pub(super) fn directly(boot: &Boot) -> Option<String> {
    match boot {
        Boot::Iscsi(iscsi) if iscsi.profile.is_none() && iscsi.via == IscsiVia::Script => Some(iscsi.disk.to_string()),
        _ => None,
    }
}

/// The profile that was made of this disk's kernel.
pub(super) fn kernel_of<'a>(shot: &'a Snapshot, disk: &str) -> Option<&'a ProfileView> {
    shot.profiles.iter().find(|p| p.taken_from.as_deref() == Some(disk))
}

/// What starting this disk's kernel directly does, in sentences without the last full stop.
pub(super) fn directly_meaning(shot: &Snapshot, disk: &str) -> String {
    let mut said =
        vec![t!("Kernel and initramfs come over HTTP, and only the system reads the disk {disk}", disk = disk)];
    if kernel_of(shot, disk).is_none() {
        said.push(t!("They are taken out of the disk first").into());
    }
    if tells_secret(shot, disk, kernel_of(shot, disk)) {
        said.push(secret().into());
    }
    said.join(". ")
}

/// What there is to know where a disk with CHAP is started directly.
pub(super) fn secret() -> &'static str {
    t!("The disk's CHAP secret stands in the kernel's arguments, and every user of that machine can read them")
}

/// Whether a machine that starts the disk with this profile has the disk's secret on its kernel's command line. Of a kernel that was not
/// taken out yet it is not known: then it may.
pub(super) fn tells_secret(shot: &Snapshot, disk: &str, profile: Option<&ProfileView>) -> bool {
    let chap = shot.disks.iter().any(|d| d.name == disk && d.chap);
    chap && profile.is_none_or(|p| p.iscsi_args != Some(IscsiArgs::None))
}

fn kind(boot: &Boot) -> u8 {
    match boot {
        Boot::Install(_) => 0,
        Boot::Iscsi(_) => 1,
        _ => 2,
    }
}

/// Whether this erases the machine's own disk.
pub(super) fn erases(boot: &Boot) -> bool {
    matches!(boot, Boot::Install(_))
}

/// What these changes of settings would install on machines that nobody has assigned anything.
pub(super) fn installed(changes: &[SettingChange]) -> Vec<String> {
    let install = |change: &SettingChange| match change {
        SettingChange::Set { value: Some(SettingValue::Boot(boot @ Boot::Install(_))), .. } => Some(say::boot(boot)),
        _ => None,
    };
    changes.iter().filter_map(install).collect()
}

/// The host of this number.
pub(super) fn host(shot: &Snapshot, id: HostId) -> Option<&HostView> {
    shot.hosts.iter().find(|h| h.id == id).map(AsRef::as_ref)
}

/// What all of these hosts have in common; `None` where they differ.
pub(super) fn same<T: PartialEq>(shot: &Snapshot, ids: &[HostId], of: impl Fn(&HostView) -> T) -> Option<T> {
    let mut values = hosts(shot, ids).map(of);
    let first = values.next()?;
    values.all(|v| v == first).then_some(first)
}

/// These hosts, in the order of the list.
pub(super) fn hosts<'a>(shot: &'a Snapshot, ids: &[HostId]) -> impl Iterator<Item = &'a HostView> + use<'a> {
    let ids: HashSet<HostId> = ids.iter().copied().collect();
    shot.hosts.iter().map(AsRef::as_ref).filter(move |h| ids.contains(&h.id))
}

/// The names of these hosts, in the order of the list.
pub(super) fn names(shot: &Snapshot, ids: &[HostId]) -> Vec<String> {
    hosts(shot, ids).map(say::host_name).collect()
}

/// What is going on that would have to be done again if it were ended.
pub(super) fn under_way(shot: &Snapshot) -> Vec<String> {
    let lost = |job: &&JobView| {
        let again = matches!(job.kind, JobKind::HashImage | JobKind::InspectDisk | JobKind::SelfTest);
        job.state == JobState::Running && !again
    };
    shot.jobs.iter().filter(lost).map(|job| images::doing(job.kind, &images::about(job))).collect()
}

/// Machines that run from our disks now: their names.
pub(super) fn running_from_disks(shot: &Snapshot) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for disk in shot.disks.iter().filter(|d| d.sessions > 0) {
        let open: Vec<&String> = disk.overlays.iter().filter(|o| o.open).map(|o| &o.host).collect();
        if !open.is_empty() {
            list.extend(open.into_iter().map(|n| say::clean(n)));
        } else if disk.assigned.is_empty() {
            list.push(t!("a machine on disk {name}", name = disk.name));
        } else {
            list.extend(disk.assigned.iter().map(|n| say::clean(n)));
        }
    }
    list.sort();
    list.dedup();
    list
}

/// What machines without an assignment would have installed, on whichever network.
pub(super) fn unknown_install(shot: &Snapshot) -> Option<Boot> {
    let written = shot.settings.entries.iter().filter_map(|entry| match entry.keys.get("unknown") {
        Some(SettingValue::Boot(boot)) => Some(boot),
        _ => None,
    });
    shot.unknown.iter().chain(written).find(|boot| erases(boot)).cloned()
}

/// What gives these hosts back what they get now. What is not a machine's own is not written to its entry: it would no longer follow
/// what machines without an assignment get.
pub(super) fn earlier(shot: &Snapshot, ids: &[HostId]) -> super::action::Undo {
    let mut groups: Vec<(Vec<HostId>, Boot)> = Vec::new();
    let unassigned: Vec<HostId> = hosts(shot, ids).filter(|host| !host.assigned).map(|host| host.id).collect();
    for host in hosts(shot, ids).filter(|host| host.assigned) {
        match groups.iter_mut().find(|(_, boot)| *boot == host.boot) {
            Some((hosts, _)) => hosts.push(host.id),
            None => groups.push((vec![host.id], host.boot.clone())),
        }
    }
    let mut undo: Vec<Command> = groups.into_iter().map(|(hosts, to)| Command::Assign { hosts, to }).collect();
    if !unassigned.is_empty() {
        undo.push(Command::Unassign { hosts: unassigned });
    }
    undo
}

/// What gives these hosts their groups and seats back.
pub(super) fn earlier_groups(shot: &Snapshot, ids: &[HostId]) -> super::action::Undo {
    let mut groups: BTreeMap<String, Vec<HostId>> = BTreeMap::new();
    let mut seats = Vec::new();
    for host in hosts(shot, ids) {
        groups.entry(host.group.clone().unwrap_or_default()).or_default().push(host.id);
        seats.extend(host.seat.map(|seat| (host.id, Some(seat))));
    }
    let mut undo: Vec<Command> = groups.into_iter().map(|(group, hosts)| Command::Group { hosts, group }).collect();
    if !seats.is_empty() {
        undo.push(Command::Seats { seats });
    }
    undo
}

/// The overlays of these hosts, each with its disk. A name may be several machines': clones call themselves what their image says.
pub(super) fn overlays<'a>(shot: &'a Snapshot, ids: &[HostId]) -> Vec<(&'a DiskView, &'a OverlayView)> {
    let ids: HashSet<HostId> = ids.iter().copied().collect();
    let of = |d: &'a DiskView| {
        let theirs = d.overlays.iter().filter(|o| o.of.is_some_and(|id| ids.contains(&id)));
        theirs.map(move |o| (d, o)).collect::<Vec<_>>()
    };
    shot.disks.iter().flat_map(of).collect()
}

/// Whether any of these hosts has an overlay.
pub(super) fn keeps(shot: &Snapshot, ids: &[HostId]) -> bool {
    let ids: HashSet<HostId> = ids.iter().copied().collect();
    shot.disks.iter().flat_map(|d| &d.overlays).any(|o| o.of.is_some_and(|id| ids.contains(&id)))
}
