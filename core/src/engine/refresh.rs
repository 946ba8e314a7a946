//! What is looked at now and then because nothing tells of it: interfaces, boot files, disks and overlays, a profile's files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::inspect::{Candidate, candidates};
use super::run::Run;
use super::serving::blocking;
use super::shared::Shared;
use crate::api::{DiskView, FirmwareView, GenerationView, HostId, JobKind, JobState, OverlayView, ProfileView, Space};
use crate::boot::{Arch, Firmware, find_firmware, firmware_remedy};
use crate::disks::{DiskFacts, OverlayKey, Unidentified};
use crate::inspect::record_of;
use crate::iscsi::service::SessionInfo;
use crate::jobs::Journal;
use crate::lab::{Boot, Lab};
use crate::media;
use crate::net::{self, Interface};

/// What was found.
#[derive(Debug)]
pub(super) struct Refreshed {
    interfaces: Option<Vec<Interface>>,
    files: Firmware,
    disks: Vec<DiskView>,
    profiles: Vec<ProfileView>,
    space: Option<Space>,
    pub(super) answers: AnswerFiles,
    unasked: Unasked,
}

/// The answer files of profiles, and when each was changed last, if it is there.
pub(super) type AnswerFiles = Vec<(PathBuf, Option<SystemTime>)>;

/// What is to be done about disks without anybody having asked for it.
#[derive(Debug, Default)]
pub(super) struct Unasked {
    /// Images whose identity is not known.
    pub(super) hash: Vec<Unidentified>,
    /// Images that may be worth a look.
    pub(super) inspect: Vec<Candidate>,
}

/// Looks. Reads folders and files, so it works beside the loop. `unasked`: also for what is to be done about disks unasked.
pub(super) async fn run(shared: Arc<Shared>, sessions: Vec<SessionInfo>, unasked: bool) -> Result<Refreshed, String> {
    blocking(move || {
        let (lab, assigned) = {
            let state = shared.state();
            let assigned = assignments(&state);
            (state.lab.clone(), assigned)
        };
        let facts = shared.store.views(&lab);
        let found = find_firmware(&shared.folder.firmware());
        let disks = disk_views(&shared, &lab, &facts, &assigned, &sessions);
        let profiles = profile_views(&shared, &lab, &assigned);
        let unasked = match unasked {
            true => {
                Unasked { hash: shared.store.unidentified(&lab), inspect: candidates(&shared, &lab, &disks, &profiles) }
            }
            false => Unasked::default(),
        };
        Refreshed {
            interfaces: net::interfaces().ok(),
            files: found,
            disks,
            profiles,
            answers: answer_files(&shared.folder.media(), &lab),
            space: net::free_space(shared.folder.dir()).ok().map(|(free, total)| Space::of(free, total)),
            unasked,
        }
    })
    .await
}

fn answer_files(media: &Path, lab: &Lab) -> AnswerFiles {
    let files = lab.profiles.iter().filter_map(|profile| profile.answers.as_ref()).map(|file| media.join(file));
    let dated = files.map(|file| {
        let changed = std::fs::metadata(&file).and_then(|meta| meta.modified()).ok();
        (file, changed)
    });
    dated.collect()
}

/// What each machine of lab.toml gets, by its shown name.
fn assignments(state: &super::state::State) -> Vec<(String, Boot)> {
    let boot = |id: &HostId| {
        let entry = state.entry(*id).and_then(|i| state.lab.hosts.get(i))?;
        Some((state.shown_name(*id), entry.boot.clone()?))
    };
    state.configured.iter().filter_map(boot).collect()
}

fn disk_views(
    shared: &Shared,
    lab: &Lab,
    facts: &[DiskFacts],
    assigned: &[(String, Boot)],
    sessions: &[SessionInfo],
) -> Vec<DiskView> {
    let name_of = |uuid| {
        let of = |f: &&DiskFacts| f.identity.as_ref().is_some_and(|i| i.uuid == uuid);
        facts.iter().find(of).map_or_else(|| "an image that is gone".to_owned(), |f| f.name.to_string())
    };
    let view = |disk: &crate::lab::Disk| {
        let facts = facts.iter().find(|f| f.name == disk.name);
        let state = shared.state();
        let overlay = |o: &crate::disks::OverlayFacts| OverlayView {
            id: o.id.clone(),
            writes: o.writes,
            generation: o.generation,
            host: match &o.key {
                OverlayKey::Host(id) if state.hosts.contains_key(id) => state.shown_name(*id),
                _ => o.host.clone(),
            },
            of: match &o.key {
                OverlayKey::Host(id) => Some(*id),
                OverlayKey::Initiator(_) => None,
            },
            bytes: o.bytes,
            open: o.open,
        };
        DiskView {
            name: disk.name.to_string(),
            image: shared.folder.disks().join(&disk.image),
            iqn: disk.iqn.clone(),
            size: facts.map_or(0, |f| f.size),
            allocated: facts.map_or(0, |f| f.allocated),
            writes: disk.writes,
            readonly: disk.readonly,
            chap: disk.chap.is_some(),
            assigned: assigned.iter().filter(|(_, b)| b.disk() == Some(&disk.name)).map(|(n, _)| n.clone()).collect(),
            sessions: u32::try_from(sessions.iter().filter(|s| s.disk == disk.name.as_str()).count())
                .unwrap_or(u32::MAX),
            overlays: facts.map(|f| f.overlays.iter().map(overlay).collect()).unwrap_or_default(),
            problem: facts.and_then(|f| f.problem.clone()),
            generation: facts.and_then(|f| f.identity.as_ref()).map_or(0, |i| i.generation),
            parent: facts.and_then(|f| f.parent).map(|(uuid, generation)| (name_of(uuid), generation)),
            older: facts
                .map(|f| {
                    f.older.iter().map(|&(generation, allocated)| GenerationView { generation, allocated }).collect()
                })
                .unwrap_or_default(),
        }
    };
    lab.disks.iter().map(view).collect()
}

fn profile_views(shared: &Shared, lab: &Lab, assigned: &[(String, Boot)]) -> Vec<ProfileView> {
    let media = shared.folder.media();
    let view = |profile: &crate::lab::Profile| {
        let size = media::profile_size(&media, profile);
        let taken = record_of(&media, &profile.name);
        let gets = |boot: &Boot| match boot {
            Boot::Install(install) => install.profile == profile.name,
            Boot::Iscsi(iscsi) => iscsi.profile.as_ref() == Some(&profile.name),
            _ => false,
        };
        ProfileView {
            name: profile.name.to_string(),
            kernel: profile.kernel.clone(),
            initrds: profile.initrds.clone(),
            answers: profile.answers.clone(),
            args: profile.args.clone(),
            size: *size.as_ref().unwrap_or(&0),
            assigned: assigned.iter().filter(|(_, b)| gets(b)).map(|(n, _)| n.clone()).collect(),
            problem: size.err().map(|e| e.to_string()),
            hypervisor: profile.hypervisor.clone(),
            iscsi_args: profile.iscsi_args,
            taken_from: taken.as_ref().map(|record| record.disk.clone()),
            edited: taken.as_ref().is_some_and(|r| r.words.as_ref().is_some_and(|words| *words != profile.words())),
            stale: taken.and_then(|record| super::inspect::stale(shared, lab, &profile.name, &record)),
        }
    };
    lab.profiles.iter().map(view).collect()
}

fn firmware_views(files: &Firmware) -> Vec<FirmwareView> {
    // What is shown: the architectures that people have; HTTP Boot takes the same files.
    [Arch::Bios, Arch::UefiX64, Arch::UefiIa32, Arch::UefiArm64]
        .into_iter()
        .map(|arch| {
            let file = files.by_arch.get(&arch);
            FirmwareView {
                arch,
                file: file.map(|f| f.name.clone()).unwrap_or_default(),
                path: file.map(|f| f.path.clone()),
                remedy: file.is_none().then(|| firmware_remedy(arch)),
            }
        })
        .collect()
}

/// Takes it into the state. Whether anything changed, the boot files if these did, and what is to be done unasked.
pub(super) fn apply(shared: &Shared, refreshed: Refreshed) -> (bool, Option<Firmware>, Unasked) {
    let Refreshed { interfaces, files, disks, profiles, space, unasked, answers: _ } = refreshed;
    let firmware = firmware_views(&files);
    let changed_files = {
        let plan = shared.plan.borrow();
        plan.firmware != files.by_arch || plan.files != files.files || plan.runs_on != files.runs_on
    };
    let mut state = shared.state();
    let interfaces = interfaces.unwrap_or_else(|| state.interfaces.clone());
    let changed = state.interfaces != interfaces
        || state.disks != disks
        || state.profiles != profiles
        || state.firmware != firmware
        || state.space != space;
    let owners = disks.iter().flat_map(|d| &d.overlays).filter_map(|o| o.of).collect();
    state.directory.hold_only(&owners);
    state.interfaces = interfaces;
    state.disks = disks;
    state.profiles = profiles;
    state.firmware = firmware;
    state.space = space;
    (changed || changed_files, changed_files.then_some(files), unasked)
}

/// The jobs' journal in lab.db.
#[derive(Debug)]
pub(super) struct JobJournal(pub(super) Arc<Shared>);

impl Journal for JobJournal {
    fn put(&self, id: u64, json: &str) {
        self.0.db.put_job(id, json.to_owned());
        // A job that cannot be journalled is undone by a clean end all the same; only a crash would leave its rests.
        let _what_cannot_be_written_shows_elsewhere = self.0.runtime.block_on(self.0.db.flush());
    }

    fn delete(&self, id: u64) {
        self.0.db.delete_job(id);
    }

    fn all(&self) -> Vec<(u64, String)> {
        self.0.db.jobs().unwrap_or_default().into_iter().map(|job| (job.id, job.json)).collect()
    }
}

impl Run {
    /// Images whose identity is not known yet are hashed, each in a job of its own; until then they are not served.
    pub(super) fn identify(&mut self, unknown: Vec<Unidentified>) {
        let views = self.jobs.views();
        self.hashing.retain(|_, (id, _)| views.iter().any(|job| job.id == *id));
        for image in unknown {
            let tried = self.hashing.get(&image.path);
            if let Some((job, before)) = tried.and_then(|(id, at)| Some((views.iter().find(|j| j.id == *id)?, at))) {
                // One that failed is not tried again by itself while that is shown, unless the image is another one since.
                let again = match job.state {
                    JobState::Running => false,
                    JobState::Done => true,
                    JobState::Failed { .. } | JobState::Cancelled => *before != image,
                };
                if !again {
                    continue;
                }
            }
            let (store, path) = (self.shared.store.clone(), image.path.clone());
            let id = self.jobs.start(JobKind::HashImage, image.disk.to_string(), move |job| {
                let progress = |done, total| job.progress(done, total);
                store.identify_image(&path, &progress, job.cancel_flag()).map(drop).map_err(|e| e.to_string())
            });
            self.hashing.insert(image.path.clone(), (id, image));
        }
    }
}
