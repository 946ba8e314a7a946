//! What a machine can be given, as menus list it, and questions about hosts that several views ask.

use bootyard_core::api::{HostId, HostView, Snapshot};
use bootyard_core::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Name, Writes};

use super::say;

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
    let profiles = shot.profiles.iter().filter_map(|p| {
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

/// The host of this number.
pub(super) fn host(shot: &Snapshot, id: HostId) -> Option<&HostView> {
    shot.hosts.iter().find(|h| h.id == id).map(AsRef::as_ref)
}

/// The names of these hosts, in the order of the list.
pub(super) fn names(shot: &Snapshot, ids: &[HostId]) -> Vec<String> {
    shot.hosts.iter().filter(|h| ids.contains(&h.id)).map(|h| say::host_name(h)).collect()
}

/// Machines that run from our disks now: their names.
pub(super) fn running_from_disks(shot: &Snapshot) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for disk in shot.disks.iter().filter(|d| d.sessions > 0) {
        let open: Vec<&String> = disk.overlays.iter().filter(|o| o.open).map(|o| &o.host).collect();
        if !open.is_empty() {
            list.extend(open.into_iter().map(|n| say::clean(n)));
        } else if disk.assigned.is_empty() {
            list.push(format!("a machine on disk {}", disk.name));
        } else {
            list.extend(disk.assigned.iter().map(|n| say::clean(n)));
        }
    }
    list.sort();
    list.dedup();
    list
}

/// Earlier assignments of these hosts, grouped, for an undo.
pub(super) fn earlier(shot: &Snapshot, ids: &[HostId]) -> super::action::Undo {
    let mut groups: super::action::Undo = Vec::new();
    for host in shot.hosts.iter().filter(|h| ids.contains(&h.id)) {
        match groups.iter_mut().find(|(_, boot)| *boot == host.boot) {
            Some((hosts, _)) => hosts.push(host.id),
            None => groups.push((vec![host.id], host.boot.clone())),
        }
    }
    groups
}
