//! Machines that start a disk's own kernel directly: the profile that was made of the disk is given with it, and is made or renewed first
//! where there is none, or where the image has another kernel by now.

use super::commands::wrong;
use super::run::Run;
use super::shared::Request;
use crate::api::{CommandError, HostId, Reply};
use crate::inspect::{InspectionCache, Record, record_of};
use crate::lab::{Boot, Disk, IscsiBoot, IscsiVia, Lab, Name, Writes};
use crate::media;

/// How a disk's kernel is given to machines.
enum Prepared {
    /// By this profile, as it is.
    Ready(Name),
    /// By this profile, once it is made, or renewed with the kernel of this version (`None`: the newest).
    After(Name, Option<String>),
}

impl Run {
    /// These machines start the disk's kernel directly from their next boot on. At once where a profile of it is at hand; else when the job
    /// that takes the kernel out is done.
    pub(super) async fn start_directly(&mut self, hosts: Vec<HostId>, disk: &str) -> Result<Reply, CommandError> {
        let (lab, disk) = self.disk_to_change(disk).await?;
        match self.prepared(&lab, &disk)? {
            Prepared::Ready(profile) => self.give_directly(hosts, &disk.name, &profile, "window").await,
            Prepared::After(profile, kernel) => {
                let then = Request::Direct { hosts, disk: disk.name.clone(), profile: profile.clone() };
                self.extract(disk, None, None, profile.as_str(), kernel, Some(then))
            }
        }
    }

    /// The disk, by a profile of its kernel. A machine that has the disk already keeps what it has of its own.
    pub(super) async fn give_directly(
        &mut self,
        hosts: Vec<HostId>,
        disk: &Name,
        profile: &Name,
        by: &str,
    ) -> Result<Reply, CommandError> {
        let mut alike: Vec<(Option<Writes>, Vec<HostId>)> = Vec::new();
        let count = hosts.len();
        for host in hosts {
            let own = match self.given(host) {
                Some(Boot::Iscsi(iscsi)) if iscsi.disk == *disk => iscsi.writes,
                _ => None,
            };
            match alike.iter_mut().find(|(writes, _)| *writes == own) {
                Some((_, same)) => same.push(host),
                None => alike.push((own, vec![host])),
            }
        }
        for (writes, hosts) in alike {
            let (disk, profile) = (disk.clone(), Some(profile.clone()));
            let to = Boot::Iscsi(IscsiBoot { disk, profile, via: IscsiVia::Script, writes });
            self.assign(hosts, to, by).await?;
        }
        Ok(Reply::Hosts { count })
    }

    fn prepared(&self, lab: &Lab, disk: &Disk) -> Result<Prepared, CommandError> {
        let media = self.shared.folder.media();
        let of_disk = |record: &Record| record.disk == disk.name.as_str() && record.host.is_none();
        let made = lab.profiles.iter().find_map(|p| Some((p, record_of(&media, &p.name).filter(of_disk)?)));
        if let Some((profile, record)) = made {
            let store = &self.shared.store;
            let cache = InspectionCache::new(store.dir());
            let found = cache.get(&disk.name, &store.image_path(disk), store.generation(disk));
            // What is not known to be the image's kernel is taken out anew: it is a matter of seconds.
            let same = found.is_some_and(|found| record.stale(&found).is_none());
            return Ok(match same && media::profile_size(&media, profile).is_ok() {
                true => Prepared::Ready(profile.name.clone()),
                false => Prepared::After(profile.name.clone(), record.pinned.then_some(record.version)),
            });
        }
        let free = |name: &Name| lab.profile(name).is_none() && !media.join(name.as_str()).exists();
        let names = ["", "-kernel"].into_iter().map(|end| format!("{}{end}", disk.name));
        let more = (2..100).map(|n| format!("{}-kernel-{n}", disk.name));
        let name = names.chain(more).filter_map(|name| name.parse().ok()).find(free);
        let name = name.ok_or_else(|| {
            wrong(format!(
                "no name is free for a profile of {0}; `bootyard disks extract {0} --into NAME` makes one",
                disk.name
            ))
        })?;
        Ok(Prepared::After(name, None))
    }
}
