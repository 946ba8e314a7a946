//! What was built so far and what is there already, by the keys by which it is looked for: with thousands of machines nothing may be
//! compared with everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::exchange::model::{Give, Model};
use crate::exchange::words::root_path;
use crate::lab::{Disk, Host, Lab, Name};
use crate::net::MacAddr;

/// The keys of a lab's entries.
#[derive(Debug, Default)]
pub(super) struct Keys {
    macs: BTreeSet<MacAddr>,
    hosts: BTreeSet<Name>,
    disks: BTreeSet<Name>,
    /// Of targets' names.
    iqns: BTreeMap<String, Name>,
    images: BTreeSet<PathBuf>,
}

impl Keys {
    pub(super) fn of(lab: &Lab) -> Self {
        let mut keys = Self::default();
        lab.hosts.iter().for_each(|host| keys.host(host));
        lab.disks.iter().for_each(|disk| keys.disk(disk));
        keys
    }

    pub(super) fn host(&mut self, host: &Host) {
        self.macs.extend(&host.macs);
        self.hosts.extend(host.name.clone());
    }

    pub(super) fn disk(&mut self, disk: &Disk) {
        self.disks.insert(disk.name.clone());
        self.images.insert(disk.image.clone());
        self.iqns.entry(disk.iqn.clone()).or_insert_with(|| disk.name.clone());
    }

    pub(super) fn has_mac(&self, mac: MacAddr) -> bool {
        self.macs.contains(&mac)
    }

    pub(super) fn has_host(&self, name: &Name) -> bool {
        self.hosts.contains(name)
    }

    pub(super) fn has_disk(&self, name: &Name) -> bool {
        self.disks.contains(name)
    }

    pub(super) fn has_image(&self, image: &Path) -> bool {
        self.images.contains(image)
    }

    /// The disk with this target's name.
    pub(super) fn disk_of(&self, iqn: &str) -> Option<&Name> {
        self.iqns.get(iqn)
    }
}

/// Whose root-path has a target.
#[derive(Debug)]
enum Owner {
    /// This host's, which may have no name.
    One(Option<String>),
    /// Of several; it is no one's.
    Several,
}

/// What the model says, by what is looked for in it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whose root-path has this target.
    targets: HashMap<String, Owner>,
    /// Scripts by the names of their files.
    scripts: HashMap<String, Vec<usize>>,
    /// Files that were asked for already.
    pub(super) needs: BTreeSet<PathBuf>,
    /// Images that were named already, with what is to be brought there.
    pub(super) images: HashMap<PathBuf, String>,
}

impl Asked {
    pub(super) fn of(model: &Model) -> Self {
        let mut asked = Self::default();
        for host in &model.hosts {
            let own = host.rules.iter().filter_map(|rule| match &rule.give {
                Give::RootPath(path) => Some(root_path(path)?.target.to_lowercase()),
                Give::File(_) => None,
            });
            for iqn in own.collect::<BTreeSet<_>>() {
                let owner = asked.targets.entry(iqn);
                owner.and_modify(|owner| *owner = Owner::Several).or_insert_with(|| Owner::One(host.name.clone()));
            }
        }
        for (at, script) in model.scripts.iter().enumerate() {
            asked.scripts.entry(script.file.clone()).or_default().push(at);
        }
        asked
    }

    /// The name of the only host whose root-path has this target. A disk of many hosts is no one's.
    pub(super) fn host_of(&self, iqn: &str) -> Option<String> {
        match self.targets.get(iqn)? {
            Owner::One(name) => name.clone(),
            Owner::Several => None,
        }
    }

    /// The scripts whose files have this name.
    pub(super) fn scripts(&self, file: &str) -> &[usize] {
        self.scripts.get(file).map(Vec::as_slice).unwrap_or_default()
    }
}
