//! `[[disk]]`, of targets and of root-paths.

use super::*;

impl Builder<'_> {
    pub(super) fn targets(&mut self) {
        let model = self.model;
        for target in &model.targets {
            self.target(target);
        }
    }

    pub(super) fn target(&mut self, target: &Target) {
        let iqn = target.iqn.to_lowercase();
        let of_host = own_name(&iqn).or_else(|| self.asked.host_of(&iqn)).and_then(|n| name(&n));
        let Some(wanted) = of_host.or_else(|| name(tail(&iqn))) else {
            return self.ledger.lost(target.id, "its name makes no name of a disk");
        };
        let mut ids = vec![target.id];
        let mut disk = Disk::new(wanted.clone(), PathBuf::new(), Writes::Keep);
        let Some(lun) = target.luns.first() else {
            return self.ledger.lost(target.id, "a target without a store");
        };
        for more in target.luns.iter().skip(1) {
            self.ledger.lost(more.id, "a target has one disk here, LUN 0; make a [[disk]] of its own of it");
        }
        disk.readonly = lun.readonly;
        ids.push(lun.id);
        disk.iqn = iqn;
        disk.chap = self.chap(target, &mut ids);
        // tgt asks for a right address and a right name, where any one of `allow` suffices here.
        let everywhere = target.addresses.iter().any(|said| said.value.prefix == 0);
        let by_name = everywhere && !target.initiators.is_empty();
        let by_address = !everywhere && !target.addresses.is_empty();
        for said in &target.addresses {
            if by_name {
                self.ledger.implied(said.id, "every address is right: the names decide who may log in");
            } else {
                self.ledger.mapped(said.id, "allow of the [[disk]]");
                disk.allow.push(Allow::Net(said.value));
            }
        }
        for said in &target.initiators {
            let lower = said.value.to_lowercase();
            if lower.starts_with(super::super::OWN_INITIATORS) {
                self.ledger.implied(said.id, "a host that is given the disk may log in");
            } else if by_address {
                let why = "any one of `allow` suffices here, where tgt asks for address and name: the addresses are kept, the name \
                           is no further condition";
                self.ledger.lost(said.id, why);
            } else if ["iqn.", "eui.", "naa."].iter().any(|p| lower.starts_with(p)) {
                self.ledger.mapped(said.id, "allow of the [[disk]]");
                disk.allow.push(Allow::Initiator(lower));
            } else {
                self.ledger.lost(said.id, "not the name of an initiator");
            }
        }
        if target.addresses.is_empty() && target.initiators.is_empty() {
            self.notes.push(format!(
                "every machine could log in to {}; here only hosts that are given the disk {wanted} can, and what `allow` names",
                disk.iqn
            ));
        }
        if let Some(made) = self.push_disk(disk, ids) {
            let image = self.image(&lun.path, leaf(&lun.path), &made);
            self.ledger.mapped(target.id, format!("[[disk]] {made}"));
            self.ledger.mapped(lun.id, format!("image = \"{}\"", image.display()));
            self.need(Path::new("disks").join(&image), &lun.path);
            if let Some(disk) = self.lab.disks.last_mut() {
                disk.image = image;
            }
        }
    }

    pub(super) fn chap(&mut self, target: &Target, ids: &mut Vec<Id>) -> Option<Chap> {
        let Some(said) = &target.chap else {
            if let Some(mutual) = &target.mutual {
                self.ledger.lost(mutual.id, "our own name without the initiator's: CHAP goes both ways or one");
            }
            return None;
        };
        let mut chap = said.value.clone();
        self.ledger.mapped(said.id, "chap of the [[disk]]");
        ids.push(said.id);
        if let Some(mutual) = &target.mutual {
            if mutual.value.1 == chap.secret {
                self.ledger.lost(mutual.id, "both secrets are the same, which RFC 7143 forbids");
            } else {
                self.ledger.mapped(mutual.id, "chap of the [[disk]]");
                chap.mutual = Some(mutual.value.clone());
            }
        }
        Some(chap)
    }

    /// The disk of a root-path; made where no target was imported.
    pub(super) fn disk_of(&mut self, path: &str, id: Id, wanted: Option<&Name>) -> Result<Name, String> {
        let Some(path) = root_path(path) else {
            return Err(
                "not an iSCSI root-path; Bootyard gives disks over iSCSI (a root over NFS stands in a profile's args)"
                    .into(),
            );
        };
        let iqn = path.target.to_lowercase();
        let server = path.server.parse::<Ipv4Addr>().ok();
        if let Some(there) = self.keys.disk_of(&iqn).or_else(|| self.known.disk_of(&iqn)) {
            return Ok(there.clone());
        }
        let ours = path.server.is_empty()
            || server.is_some_and(|s| self.model.own.contains(&s) || self.address.is_some_and(|a| a.address == s));
        let own = own_name(&iqn).and_then(|n| name(&n));
        let base =
            own.or_else(|| wanted.cloned()).or_else(|| name(tail(&iqn))).ok_or("its target makes no name of a disk")?;
        let made = self.unique("disk", base).ok_or("there are too many disks of its name")?;
        let image = self.image(&iqn, "", &made);
        let mut disk = Disk::new(made.clone(), image, Writes::Keep);
        disk.iqn = iqn;
        if ours {
            self.need(Path::new("disks").join(&disk.image), &format!("the store of {}, LUN {}", disk.iqn, path.lun));
        } else {
            let Some(server) = server else {
                return Err(format!("{} is a name; import looks none up", path.server));
            };
            let to = SocketAddrV4::new(server, path.port.unwrap_or(3260));
            disk.redirect = Some(to);
            self.notes.push(format!(
                "disk {made} is on another computer's target: Bootyard sends a machine on to {to}, which alone decides who may log in and \
                 keeps what is written; to serve it from here, import its image and take `redirect` out"
            ));
            if path.lun != 0 {
                self.ledger.lost(id, format!("LUN {} of that target; machines are sent to LUN 0", path.lun));
            }
        }
        self.push_disk(disk, vec![id]).ok_or_else(|| "a disk of its name is there".to_owned())
    }

    pub(super) fn push_disk(&mut self, mut disk: Disk, ids: Vec<Id>) -> Option<Name> {
        let there = Some(&disk.name).filter(|name| self.known.has_disk(name));
        if let Some(there) = there.or_else(|| self.known.disk_of(&disk.iqn)) {
            let why = format!("the lab has its own disk {there}, which stays as it is");
            ids.into_iter().for_each(|id| self.ledger.lost(id, why.clone()));
            return None;
        }
        if self.keys.disk_of(&disk.iqn).is_some() {
            ids.into_iter().for_each(|id| self.ledger.lost(id, "another target has the same name"));
            return None;
        }
        if self.keys.has_disk(&disk.name) {
            disk.name = self.unique("disk", disk.name)?;
        }
        self.names.insert(format!("disk:{}", disk.name));
        let made = disk.name.clone();
        self.keys.disk(&disk);
        self.lab.disks.push(disk);
        self.ids.disks.push(ids);
        Some(made)
    }

    /// A name that nothing of its kind has yet.
    pub(super) fn unique(&mut self, kind: &str, base: Name) -> Option<Name> {
        let taken = |names: &BTreeSet<String>, name: &Name| names.contains(&format!("{kind}:{name}"));
        let short: String = base.as_str().chars().take(57).collect();
        let mut candidate = base;
        for n in 2..200 {
            if !taken(&self.names, &candidate) {
                self.names.insert(format!("{kind}:{candidate}"));
                return Some(candidate);
            }
            candidate = format!("{}-{n}", short.trim_end_matches('-')).parse().ok()?;
        }
        None
    }

    /// The image's file below `disks/` for what is at `store`: named `leaf` if that is an image's name. Files of one name from several
    /// folders are several images: the name is left to the first of them, and to a disk of the lab that has it.
    fn image(&mut self, store: &str, leaf: &str, disk: &Name) -> PathBuf {
        let known = image_end(leaf);
        let end = known.unwrap_or("raw");
        let own = std::iter::once(format!("{disk}.{end}")).chain((2u32..).map(|n| format!("{disk}-{n}.{end}")));
        let mut names = known.map(|_| leaf.to_owned()).into_iter().chain(own).map(PathBuf::from);
        let free = |image: &PathBuf| {
            !self.known.has_image(image) && self.asked.images.get(image).is_none_or(|from| from == store)
        };
        let image = names.find(free).unwrap_or_default();
        self.asked.images.insert(image.clone(), store.to_owned());
        image
    }

    pub(super) fn need(&mut self, path: PathBuf, from: &str) {
        if self.asked.needs.insert(path.clone()) {
            self.needs.push(Need { path, from: crate::exchange::ledger::without_secrets(from) });
        }
    }
}

/// The name in a target's name that Bootyard derived from it.
fn own_name(iqn: &str) -> Option<String> {
    iqn.strip_prefix("iqn.2026-11.org.bootyard:").map(str::to_owned)
}

/// What follows the naming authority of a target's name.
fn tail(iqn: &str) -> &str {
    iqn.split_once(':').map_or(iqn, |(_, tail)| tail)
}

/// How the name of an image ends, if this is one that can stay as it is.
fn image_end(leaf: &str) -> Option<&str> {
    let plain = leaf.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !leaf.starts_with('.');
    let (stem, end) = leaf.rsplit_once('.')?;
    let known = !stem.is_empty() && ["raw", "img", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso"].contains(&end);
    (plain && known).then_some(end)
}
