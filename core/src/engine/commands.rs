//! Commands: what the window and the command line ask for, carried out one after the other.
//!
//! lab.toml is read afresh before each edit, so a person's own edit is never overwritten; an edit of a broken file is refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::Run;
use super::serving::blocking;
use super::shared::Request;
use crate::api::{Command, CommandError, EventKind, HostId, JobKind, NewDisk, NewProfile, Reply, Who};
use crate::boot::{Arch, other_build};
use crate::disks::{DiskFacts, OverlayKey};
use crate::lab::{Boot, Disk, Document, HostRef, Lab, LabError, Mode, Name, Profile, Writes, this_machine};
use crate::media::{Kind, recognise};
use crate::net::{Ipv4Cidr, MacAddr};

type Outcome = Result<Reply, CommandError>;

/// So often the result of a job is tried to be written while somebody else writes the file.
const SAVES: u32 = 20;

pub(super) fn wrong(message: impl std::fmt::Display) -> CommandError {
    CommandError::new(message)
}

impl Run {
    /// Everything but start, stop and what only looks something up.
    pub(super) async fn carry_out(&mut self, command: Command) -> Outcome {
        match command {
            // The loop answers all of these but the last.
            Command::Start
            | Command::Stop
            | Command::Doctor { .. }
            | Command::Packets { .. }
            | Command::History { .. }
            | Command::Explain(_)
            | Command::Boots { .. }
            | Command::AddFirmware { .. }
            | Command::Ping => Ok(Reply::Done),
            Command::Mend { act } => self.mend(act).await,
            Command::Confirm { interface, address, mode } => self.confirm(&interface, address.as_deref(), mode).await,
            Command::Assign { hosts, to } => self.assign(hosts, to, "window").await,
            Command::AssignNamed { hosts, to } => {
                self.catch_up().await;
                let ids = self.named(&hosts)?;
                self.assign(ids, to, "command").await
            }
            Command::Unassign { hosts } => self.unassign(&hosts).await,
            Command::StartDirectly { hosts, disk } => self.start_directly(hosts, &disk).await,
            Command::Rename { host, name } => self.rename(host, &name).await,
            Command::OtherFirmware { host } => self.other_firmware(host).await,
            Command::Group { hosts, group } => self.group(&hosts, &group).await,
            Command::Seats { seats } => self.seats(&seats).await,
            Command::Wake { hosts } => self.wake(&hosts),
            Command::WakeNamed { hosts } => {
                self.catch_up().await;
                let ids = self.named(&hosts)?;
                self.wake(&ids)
            }
            Command::Forget { host, entry } => self.forget(host, entry).await,
            Command::AddDisk(disk) => self.add_disk(disk),
            Command::Disk { disk, act } => self.disk_act(&disk, act).await,
            Command::AddProfile(profile) => self.add_profile(profile),
            Command::Settings { changes, trial } => self.settings(changes, trial).await,
            Command::CancelJob { job } => {
                self.jobs.cancel(job);
                Ok(Reply::Done)
            }
            Command::Reload => {
                self.reload(true).await;
                let broken = self.shared.state().problems.iter().find(|p| p.is_error()).map(ToString::to_string);
                broken.map_or(Ok(Reply::Done), |problem| Err(wrong(problem)))
            }
        }
    }

    /// What a server asked for. What cannot be written now, because lab.toml is broken or its disk full, is tried again: a machine must
    /// not be installed twice.
    pub(super) async fn request(&mut self, request: Request) {
        self.dirty = true;
        let (host, install, because) = match &request {
            Request::Consume { host, install, because } => (host, install, because),
            Request::Direct { hosts, disk, profile } => {
                if let Err(error) = self.give_directly(hosts.clone(), disk, profile, "window").await {
                    let problem =
                        format!("The kernel of {disk} is in the profile {profile}, but nobody got it: {error}");
                    self.shared.state().not_written = Some(problem);
                }
                return;
            }
        };
        self.catch_up().await;
        if self.shared.state().directory.macs(*host).is_empty() {
            // It was forgotten meanwhile: nothing is to be written for it, now or later.
            return;
        }
        // A choice in the machine's menu is no assignment, and what was assigned since stands. A machine that `unknown` erased gets an
        // entry, so that it is not erased again.
        let given = self.given(*host);
        let again = install.unassigned && !self.is_assigned(*host);
        let next = match &given {
            Some(Boot::Install(i)) if i.profile == install.profile => Boot::from(i.then.clone()),
            // Which network gave it is not always to be seen of its address.
            _ if again => Boot::from(install.then.clone()),
            other => other.clone().unwrap_or_default(),
        };
        if (again || given.as_ref() != Some(&next))
            && let Err(error) = self.assign(vec![*host], next.clone(), "install-finished").await
        {
            self.shared.state().not_written =
                Some(format!("A machine installs, but what follows could not be written to lab.toml: {error}"));
            self.shared.state().owed.insert(*host, install.clone());
            self.unwritten.push(request);
            return;
        }
        self.shared.state().owed.remove(host);
        // After lab.toml: were it the other way round, a crash in between would lead to a second installation.
        let epoch = self.shared.state().boots.get(*host).cloned();
        if let Some(epoch) = epoch
            && let Err(error) = self.shared.keep_epoch(*host, &epoch).await
        {
            self.shared.state().not_written = Some(error);
        }
        let profile = install.profile.to_string();
        self.report_of(*host, EventKind::InstallConsumed { profile, next, because: because.clone() });
    }

    /// Tries again what could not be written.
    pub(super) async fn retry(&mut self) {
        let unwritten = std::mem::take(&mut self.unwritten);
        if unwritten.is_empty() {
            return;
        }
        self.shared.state().not_written = None;
        for request in unwritten {
            self.request(request).await;
        }
    }

    /// Whether lab.toml says what this machine is given.
    fn is_assigned(&self, host: HostId) -> bool {
        let state = self.shared.state();
        state.entry(host).and_then(|i| state.lab.hosts.get(i)).is_some_and(|entry| entry.boot.is_some())
    }

    /// What this machine is given as things are.
    pub(super) fn given(&self, host: HostId) -> Option<Boot> {
        let state = self.shared.state();
        let entry = state.entry(host).and_then(|i| state.lab.hosts.get(i)?.boot.clone());
        let ip = state.hosts.get(&host).and_then(|t| t.host.ip);
        entry.or_else(|| Some(super::views::boot_of(&state.plan, &state.directory, host, ip)?.value))
    }

    /// Edits lab.toml and takes it into force. Entries are counted in the file as it was last read: see [`Run::catch_up`].
    pub(super) async fn edit(
        &mut self,
        edit: impl FnOnce(&mut Document) -> Result<(), LabError> + Send + 'static,
    ) -> Result<(), CommandError> {
        let shared = self.shared.clone();
        let stamp = self.stamp;
        let edited = blocking(move || shared.edit(stamp.as_ref(), edit).map_err(|e| e.to_string())).await;
        match edited {
            Ok(Ok(())) => {
                if self.unwritten.is_empty() {
                    self.shared.state().not_written = None;
                }
                self.reload(true).await;
                Ok(())
            }
            Ok(Err(error)) | Err(error) => Err(wrong(error)),
        }
    }

    /// Takes a person's own edit in before entries are counted.
    pub(super) async fn catch_up(&mut self) {
        if self.shared.folder.stamp() != self.stamp {
            self.reload(true).await;
        }
    }

    async fn confirm(&mut self, interface: &str, address: Option<&str>, mode: Mode) -> Outcome {
        let address: Option<Ipv4Cidr> = address.map(str::parse).transpose().map_err(wrong)?;
        let found = self.shared.state().interfaces.iter().find(|i| i.name == interface).cloned();
        let Some(found) = found else {
            return Err(wrong(crate::net::NetError::NoInterface(interface.to_owned())));
        };
        let Some(mac) = found.mac else {
            return Err(wrong(format!("{interface} has no hardware address; machines can't boot through it")));
        };
        self.put_network(interface.to_owned(), address, mode).await?;
        self.shared.db.confirm(mac, this_machine());
        let mut state = self.shared.state();
        if !state.confirmed.contains(&mac) {
            state.confirmed.push(mac);
        }
        Ok(Reply::Done)
    }

    /// Writes that this interface is served, and how.
    pub(super) async fn put_network(
        &mut self,
        interface: String,
        address: Option<Ipv4Cidr>,
        mode: Mode,
    ) -> Result<(), CommandError> {
        self.catch_up().await;
        let moved = moved_network(&self.shared.state().lab, &interface);
        self.edit(move |document| {
            if let Some(from) = moved {
                document.move_network(&from, &interface)?;
            }
            document.set_network(&interface, address, mode)
        })
        .await
    }

    /// The machines that these words name: a MAC, a name, `group:NAME`. A MAC never seen becomes known.
    pub(super) fn named(&self, words: &[String]) -> Result<Vec<HostId>, CommandError> {
        let mut state = self.shared.state();
        let mut ids = Vec::new();
        for word in words {
            let before = ids.len();
            if let Some(group) = word.strip_prefix("group:") {
                let in_group = |i: &usize| state.lab.hosts[*i].group.as_ref().is_some_and(|g| g.as_str() == group);
                ids.extend(
                    (0..state.lab.hosts.len()).filter(in_group).filter_map(|i| state.configured.get(i).copied()),
                );
            } else if let Ok(mac) = word.parse::<MacAddr>() {
                let meant = state.directory.meant(mac);
                if meant.len() > 1 {
                    let names = meant.iter().map(|id| state.shown_name(*id)).collect::<Vec<_>>().join(", ");
                    return Err(wrong(format!(
                        "`{word}` is the address of several machines, which their UUIDs tell apart: {names}; say which by its name in \
                         lab.toml, or choose it in the window"
                    )));
                }
                let id = meant.first().copied().or_else(|| state.directory.resolve(&Who::mac(mac)));
                if let Some(id) = id {
                    state.hosts.entry(id).or_default();
                }
                ids.extend(id);
            } else {
                let of_name = |h: &crate::lab::Host| h.name.as_ref().is_some_and(|n| n.as_str() == word);
                ids.extend(state.lab.hosts.iter().position(of_name).and_then(|i| state.configured.get(i).copied()));
            }
            if ids.len() == before {
                return Err(wrong(format!(
                    "no machine or group is called `{word}`; expected a MAC, a name of lab.toml or group:NAME"
                )));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// How lab.toml refers to this machine.
    pub(super) fn host_ref(&self, id: HostId) -> Option<HostRef> {
        let state = self.shared.state();
        match state.entry(id) {
            Some(index) => Some(HostRef::Entry(index)),
            None => {
                let mac = *state.directory.macs(id).first()?;
                // A second machine behind a MAC that lab.toml knows (a dock) is told apart by its UUID.
                let shared = state.lab.hosts.iter().any(|h| h.macs.contains(&mac));
                Some(HostRef::New { mac, uuid: state.directory.uuid(id).filter(|_| shared) })
            }
        }
    }

    pub(super) async fn assign(&mut self, hosts: Vec<HostId>, to: Boot, by: &str) -> Outcome {
        self.catch_up().await;
        if let Some(missing) = self.shared.plan.borrow().missing(&to) {
            return Err(wrong(format!("there is no disk or profile `{missing}` in lab.toml; add it first")));
        }
        let mut refs = Vec::new();
        for id in &hosts {
            match self.host_ref(*id) {
                Some(host) => refs.push(host),
                None => return Err(wrong("this machine was forgotten meanwhile; select it again")),
            }
        }
        let boot = to.clone();
        self.edit(move |document| refs.into_iter().try_for_each(|host| document.set_boot(host, &boot))).await?;
        for id in &hosts {
            self.report_of(*id, EventKind::Assigned { to: to.clone(), by: by.to_owned() });
        }
        Ok(Reply::Hosts { count: hosts.len() })
    }

    async fn unassign(&mut self, hosts: &[HostId]) -> Outcome {
        self.catch_up().await;
        let mut refs = Vec::new();
        for id in hosts {
            match self.host_ref(*id) {
                Some(host) => refs.push(host),
                None => return Err(wrong("this machine was forgotten meanwhile; select it again")),
            }
        }
        self.edit(move |document| refs.into_iter().try_for_each(|host| document.unset_boot(host))).await?;
        for id in hosts {
            if let Some(to) = self.given(*id) {
                self.report_of(*id, EventKind::Assigned { to, by: "window".to_owned() });
            }
        }
        Ok(Reply::Hosts { count: hosts.len() })
    }

    async fn rename(&mut self, id: HostId, name: &str) -> Outcome {
        let name: Option<Name> = match name {
            "" => None,
            name => Some(name.parse().map_err(wrong)?),
        };
        self.catch_up().await;
        let host = self.host_ref(id).ok_or_else(|| wrong("this machine was forgotten meanwhile; select it again"))?;
        self.edit(move |document| document.set_name(host, name.as_ref())).await?;
        Ok(Reply::Done)
    }

    /// The machine gets the next of the builds of iPXE that its firmware can run.
    async fn other_firmware(&mut self, id: HostId) -> Outcome {
        self.catch_up().await;
        let host = self.host_ref(id).ok_or_else(|| wrong("this machine was forgotten meanwhile; select it again"))?;
        let file = {
            let state = self.shared.state();
            let arch = state.hosts.get(&id).and_then(|tracked| tracked.host.arch).unwrap_or(Arch::Bios);
            let mac = *state.directory.macs(id).first().ok_or_else(|| wrong("this machine has no hardware address"))?;
            other_build(&state.plan, mac, state.directory.uuid(id), arch).ok_or_else(|| {
                wrong(format!("there is one boot file for {arch} here; put another build into firmware/"))
            })?
        };
        self.edit(move |document| document.set_firmware(host, &file)).await?;
        Ok(Reply::Done)
    }

    async fn forget(&mut self, id: HostId, entry: bool) -> Outcome {
        self.catch_up().await;
        self.refuse_if_it_keeps(id).await?;
        let configured = self.shared.state().entry(id);
        match configured {
            Some(index) if entry => self.edit(move |document| document.remove_host(index)).await?,
            Some(_) => {
                let name = self.shared.state().shown_name(id);
                return Err(wrong(format!("{name} has an entry in lab.toml; take that away too to forget it")));
            }
            None => {}
        }
        self.shared.state().forget(id);
        self.shared.db.delete_host(id);
        self.shared.db.delete_epoch(id);
        Ok(Reply::Hosts { count: 1 })
    }

    /// Overlays bear a machine's number, and one that was forgotten gets another: it would begin anew from the image, a running one in the
    /// midst of its work.
    async fn refuse_if_it_keeps(&self, id: HostId) -> Result<(), CommandError> {
        let (shared, lab, name) = {
            let state = self.shared.state();
            (self.shared.clone(), state.lab.clone(), state.shown_name(id))
        };
        let facts = blocking(move || shared.store.views(&lab)).await.map_err(wrong)?;
        let own = |disk: &DiskFacts| disk.overlays.iter().find(|o| o.key == OverlayKey::Host(id)).cloned();
        for (disk, overlay) in facts.iter().filter_map(|disk| Some((&disk.name, own(disk)?))) {
            if overlay.open {
                return Err(wrong(format!("{name} runs from the disk {disk}; shut it down before it is forgotten")));
            }
            if overlay.writes == Writes::Keep {
                return Err(wrong(format!(
                    "{name} would not find what it wrote on the disk {disk} again; commit or reset that first, then forget it"
                )));
            }
        }
        Ok(())
    }

    fn add_disk(&mut self, new: NewDisk) -> Outcome {
        let name: Name = new.name.parse().map_err(wrong)?;
        if self.shared.state().lab.disk(&name).is_some() {
            return Err(wrong(format!("there is a disk `{name}` already; choose another name")));
        }
        self.refuse_if_broken()?;
        let (store, store_of_work) = (self.shared.store.clone(), self.shared.store.clone());
        let writes = new.writes;
        let (kind, what) = match &new.from {
            Some(from) => (JobKind::ImportDisk, format!("{} as {name}", from.display())),
            None => (JobKind::CreateDisk, name.to_string()),
        };
        let size = match (&new.from, new.size) {
            (None, None) => return Err(wrong("an empty disk needs a size, such as 8G")),
            (None, Some(size)) if size == 0 || size % 512 != 0 => {
                return Err(wrong(format!("{size} bytes is no multiple of 512; round it up")));
            }
            (_, size) => size.unwrap_or(0),
        };
        let work = {
            let name = name.clone();
            move |job: &crate::jobs::JobHandle| -> Result<PathBuf, String> {
                let progress = |done, total| job.progress(done, total);
                let image = PathBuf::from(format!("{name}.raw"));
                let made = match &new.from {
                    Some(from) => {
                        job.temporary(&store_of_work.import_part(name.as_str()));
                        store_of_work.import(from, name.as_str(), &progress, job.cancel_flag())
                    }
                    None => store_of_work.create(&image, size).map(|()| image),
                };
                made.map_err(|e| e.to_string())
            }
        };
        let finish = self.finisher();
        let judge = self.judge_afterwards();
        let id = self.jobs.start(kind, what, move |job| {
            let path = work(job)?;
            let image = path.file_name().map(PathBuf::from).unwrap_or(path);
            let disk = Disk::new(name, image, writes);
            let (name, entry) = (disk.name.clone(), disk.clone());
            // Without its entry the image is nobody's, and in the way of the next try.
            finish(Box::new(move |document| document.add_disk(&entry)))
                .inspect(|()| store.entered(&name))
                .inspect_err(|_| store.not_entered(&name))?;
            if kind == JobKind::ImportDisk {
                judge(disk);
            }
            Ok(())
        });
        Ok(Reply::Job { id })
    }

    fn add_profile(&mut self, new: NewProfile) -> Outcome {
        let name: Name = new.name.parse().map_err(wrong)?;
        if self.shared.state().lab.profile(&name).is_some() {
            return Err(wrong(format!("there is a profile `{name}` already; choose another name")));
        }
        self.refuse_if_broken()?;
        let media = self.shared.folder.media();
        let finish = self.finisher();
        let what = name.to_string();
        let id = self.jobs.start(JobKind::ImportProfile, what, move |job| {
            let mut files = vec![&new.kernel];
            files.extend(&new.initrds);
            files.extend(&new.answers);
            files.extend(&new.hypervisors);
            let total = files.iter().map(|f| std::fs::metadata(f).map_or(0, |m| m.len())).sum();
            let mut done = 0;
            let mut copied = Vec::new();
            for file in files {
                // Until the profile is entered all that was brought in is in the way of the next try.
                copied.push(bring(&media, &name, file, &|made| job.temporary(made), &mut |bytes| {
                    done += bytes;
                    job.progress(done, total);
                    !job.cancelled()
                })?);
            }
            let mut copied = copied.into_iter();
            let kernel = copied.next().unwrap_or_default();
            let initrds: Vec<PathBuf> = copied.by_ref().take(new.initrds.len()).collect();
            let answers = new.answers.as_ref().and_then(|_| copied.next());
            // What is no program for UEFI is a multiboot kernel.
            let (efi, bios): (Vec<PathBuf>, Vec<PathBuf>) = copied.partition(|file| is_efi(&media.join(file)));
            let profile = Profile {
                name,
                kernel,
                initrds,
                args: new.args,
                answers,
                kind: None,
                arch: Vec::new(),
                hypervisor: bios.into_iter().next(),
                hypervisor_efi: efi.into_iter().next(),
                hypervisor_args: String::new(),
                iscsi_args: None,
            };
            finish(Box::new(move |document| document.add_profile(&profile)))
        });
        Ok(Reply::Job { id })
    }

    /// A long job whose result could not be written is not begun.
    pub(super) fn refuse_if_broken(&self) -> Result<(), CommandError> {
        let state = self.shared.state();
        state.problems.iter().find(|p| p.is_error()).map_or(Ok(()), |problem| Err(wrong(problem)))
    }

    /// Writes a finished job's result into lab.toml, from the job's own thread.
    pub(super) fn finisher(&self) -> impl FnOnce(Edit) -> Result<(), String> + Send + 'static {
        let shared = self.shared.clone();
        // The loop sees that the file changed and takes it into force.
        move |mut edit| {
            for _ in 0..SAVES {
                match shared.edit(None, &mut edit) {
                    // What a job made in an hour is not lost because a person saves the file in this moment.
                    Err(LabError::Overtaken) => std::thread::sleep(Duration::from_millis(100)),
                    edited => return edited.map_err(|e| e.to_string()),
                }
            }
            Err(LabError::Overtaken.to_string())
        }
    }
}

/// The lone network of a lab is that of whichever interface a person chooses: the one that it names may be another computer's, or was chosen
/// by mistake, and is not served beside it.
fn moved_network(lab: &Lab, interface: &str) -> Option<String> {
    let [network] = &lab.networks[..] else { return None };
    (network.interface != interface).then(|| network.interface.clone())
}

pub(super) type Edit = Box<dyn FnMut(&mut Document) -> Result<(), LabError> + Send>;

/// Whether it is a program for UEFI, by its header.
fn is_efi(file: &Path) -> bool {
    matches!(recognise(file), Ok(Kind::Xen { efi: true } | Kind::Firmware { .. }))
}

/// Brings a file below `media/NAME/`, unless it is below `media/` already; its path as lab.toml writes it. `making` hears of each file
/// and folder before it is made, `going` of each piece, and says whether to go on.
fn bring(
    media: &Path,
    name: &Name,
    file: &Path,
    making: &dyn Fn(&Path),
    going: &mut dyn FnMut(u64) -> bool,
) -> Result<PathBuf, String> {
    use std::io::{Read, Write};
    let fail = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
    let file = file.canonicalize().map_err(|e| fail(file, e))?;
    let home = media.canonicalize().map_err(|e| fail(media, e))?;
    if let Ok(below) = file.strip_prefix(&home) {
        return Ok(below.to_owned());
    }
    let leaf = file.file_name().ok_or_else(|| format!("{} is not a file", file.display()))?;
    let folder = home.join(name.as_str());
    let target = folder.join(leaf);
    if target.exists() {
        return Err(format!("{} is there already; take it away or choose another name", target.display()));
    }
    if !folder.exists() {
        making(&folder);
    }
    std::fs::create_dir_all(&folder).map_err(|e| fail(&folder, e))?;
    let incoming = folder.join(format!(".incoming-{}", uuid::Uuid::new_v4().simple()));
    making(&incoming);
    making(&target);
    let opened = std::fs::File::options().write(true).create_new(true).open(&incoming);
    let mut temporary = (incoming, opened.map_err(|e| fail(&folder, e))?);
    let copied = (|| {
        let mut source = std::fs::File::open(&file).map_err(|e| fail(&file, e))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = source.read(&mut buffer).map_err(|e| fail(&file, e))?;
            if read == 0 {
                break;
            }
            temporary.1.write_all(&buffer[..read]).map_err(|e| fail(&target, e))?;
            if !going(read as u64) {
                return Err("cancelled".to_owned());
            }
        }
        temporary.1.sync_all().map_err(|e| fail(&target, e))?;
        std::fs::rename(&temporary.0, &target).map_err(|e| fail(&target, e))
    })();
    if copied.is_err() {
        let _nothing_is_left_behind = std::fs::remove_file(&temporary.0);
    }
    copied.map(|()| Path::new(name.as_str()).join(leaf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Network;

    #[test]
    fn another_interface_takes_the_place_of_the_one_that_was_chosen_before() {
        let lab = |names: &[&str]| Lab { networks: names.iter().map(|n| Network::on(*n)).collect(), ..Lab::default() };
        assert_eq!(moved_network(&lab(&["eth0"]), "eth1").as_deref(), Some("eth0"), "it would be served, too");
        assert_eq!(moved_network(&lab(&["eth0"]), "eth0"), None);
        assert_eq!(moved_network(&lab(&[]), "eth0"), None);
        assert_eq!(moved_network(&lab(&["eth0", "eth1"]), "eth2"), None, "a person wrote several");
    }

    #[test]
    fn a_file_is_brought_in_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let media = dir.path().join("media");
        std::fs::create_dir(&media).unwrap();
        let name: Name = "debian".parse().unwrap();
        let file = dir.path().join("linux");
        std::fs::write(&file, vec![7; 3 << 20]).unwrap();
        let made = std::cell::RefCell::new(Vec::new());
        let making = |path: &Path| made.borrow_mut().push(path.strip_prefix(&media).unwrap().to_owned());
        let stopped = bring(&media, &name, &file, &making, &mut |_| false);
        assert_eq!(stopped, Err("cancelled".into()));
        assert_eq!(std::fs::read_dir(media.join("debian")).unwrap().count(), 0, "nothing is left behind");
        let named = |path: &str| made.borrow_mut().drain(..).any(|made| made == Path::new(path));
        assert!(named("debian"), "the folder is new, and goes with the rest");
        assert_eq!(bring(&media, &name, &file, &making, &mut |_| true).unwrap(), Path::new("debian/linux"));
        assert!(named("debian/linux"));
        assert!(bring(&media, &name, &file, &making, &mut |_| true).unwrap_err().contains("there already"));
        let below = media.join("debian/linux");
        assert_eq!(bring(&media, &name, &below, &making, &mut |_| true).unwrap(), Path::new("debian/linux"));
        assert!(made.borrow().is_empty(), "what was there before is nobody's to remove");
    }
}
