//! Commands that look into images: what is in one, and a kernel taken out of it. Both read for seconds, beside the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::commands::wrong;
use super::judge::Telling;
use super::run::{Answer, Run};
use super::serving::blocking;
use super::shared::{Request, Shared};
use crate::api::{CommandError, DiskView, JobKind, JobState, JobView, ProfileView, Reply};
use crate::disks::{Store, Whose};
use crate::inspect::{
    Choice, Extraction, ImageFile, Inspection, InspectionCache, Of, Record, inspect, record_of, renew_record, take,
    taken_part, write_record,
};
use crate::jobs::JobHandle;
use crate::lab::{Disk, Lab, Name, Profile, ProfileWords, Writes};

/// An image is looked into unasked this often at most.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// What was looked into unasked. Of the whole process: what is in it is about files, whichever engine looks.
static LOOKS: Mutex<Looks> = Mutex::new(Looks(BTreeMap::new()));

/// Which images were looked into unasked, and what they were then, whatever came of it: what was found is not remembered where the folder
/// cannot be written or the image changes all the time. By image and disk: several disks may have one image.
struct Looks(BTreeMap<(PathBuf, String), (Instant, Option<Of>)>);

impl Looks {
    /// Whether to look into this one, which is noted at once.
    fn begin(&mut self, one: &(PathBuf, String), of: &Of, now: Instant) -> bool {
        let known = self.0.get(one);
        if known.is_some_and(|(at, seen)| now.saturating_duration_since(*at) < LOOK_EVERY || seen.as_ref() == Some(of))
        {
            return false;
        }
        self.0.insert(one.clone(), (now, Some(of.clone())));
        true
    }

    /// Somebody stopped it: it is to be done another time.
    fn stopped(&mut self, one: &(PathBuf, String)) {
        if let Some((_, of)) = self.0.get_mut(one) {
            *of = None;
        }
    }
}

/// What is in an image, or in what an overlay makes of it. That of an image is remembered.
pub(super) fn look(
    store: &Store,
    disk: &Disk,
    whose: Option<&Whose>,
    stop: &Arc<AtomicBool>,
) -> Result<Inspection, String> {
    let read = || {
        let device = store.peek(disk, whose).map_err(|e| e.to_string())?;
        inspect(device, stop).map_err(|e| format!("the disk {}: {e}", disk.name))
    };
    if whose.is_some() {
        return read();
    }
    InspectionCache::new(store.dir()).get_or(&disk.name, &store.image_path(disk), store.generation(disk), read)
}

/// Does blocking work that somebody waits for, and tells it to stop once nobody does. `None`: nobody does any more.
async fn while_wanted<T: Send + 'static>(
    answer: &mut Answer,
    work: impl FnOnce(&Arc<AtomicBool>) -> T + Send + 'static,
) -> Option<Result<T, String>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    tokio::select! {
        done = blocking(move || work(&told)) => Some(done),
        () = answer.closed() => {
            stop.store(true, Ordering::Relaxed);
            None
        }
    }
}

/// Why what was taken out of a disk for a profile is no longer what the disk would start, as far as that is known.
pub(super) fn stale(shared: &Shared, lab: &Lab, profile: &Name, record: &Record) -> Option<String> {
    let disk = lab.disks.iter().find(|d| d.name.as_str() == record.disk && record.host.is_none())?;
    let store = &shared.store;
    let cache = InspectionCache::new(store.dir());
    let found = cache.get(&disk.name, &store.image_path(disk), store.generation(disk))?;
    record.stale(&found).map(|stale| stale.said(record, profile))
}

impl Run {
    /// Looks into a disk and answers when it is done. Whoever stops waiting cancels it.
    pub(super) async fn look_into(&mut self, disk: &str, host: Option<String>, mut answer: Answer) {
        self.catch_up().await;
        let (disk, key) = match self.looked_at(disk, host.as_deref()) {
            Ok(found) => found,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let (name, of_image) = (disk.name.clone(), key.is_none());
            let store = shared.store.clone();
            let work = move |stop: &Arc<AtomicBool>| look(&store, &disk, key.as_ref(), stop);
            let Some(found) = while_wanted(&mut answer, work).await else { return };
            let reply = match found {
                Ok(Ok(found)) => {
                    if of_image {
                        shared.judged.tell(&shared.reporter, &name, &found, Telling::Always);
                    }
                    Ok(Reply::Inspected { found: Box::new(found) })
                }
                Ok(Err(error)) | Err(error) => Err(wrong(error)),
            };
            let _nobody_listens = answer.send(reply);
        });
    }

    fn looked_at(&self, disk: &str, host: Option<&str>) -> Result<(Disk, Option<Whose>), CommandError> {
        let name: Name = disk.parse().map_err(wrong)?;
        let lab = self.shared.state().lab.clone();
        let Some(disk) = lab.disk(&name).cloned() else {
            return Err(wrong(format!("there is no disk `{name}` in lab.toml; `bootyard disks list` names them")));
        };
        let key = self.overlay_of(&lab, &disk, host)?;
        Ok((disk, key))
    }

    /// Takes a kernel out of a disk and makes a profile of it, or renews the one that was made so; and then asks the loop for `then`.
    pub(super) fn extract(
        &mut self,
        disk: Disk,
        key: Option<Whose>,
        host: Option<String>,
        profile: &str,
        kernel: Option<String>,
        then: Option<Request>,
    ) -> Result<Reply, CommandError> {
        let name: Name = profile.parse().map_err(wrong)?;
        let media = self.shared.folder.media();
        let known = self.shared.state().lab.profile(&name).is_some();
        let former = record_of(&media, &name);
        let taken = match &former {
            Some(record) if record.disk != disk.name.as_str() => {
                Some(format!("was taken out of the disk {}", record.disk))
            }
            None if known => Some("is there already, and was not taken out of a disk".to_owned()),
            None if media.join(name.as_str()).exists() => Some(format!("would overwrite media/{name}")),
            _ => None,
        };
        if let Some(why) = taken {
            return Err(wrong(format!("the profile {name} {why}; choose another name")));
        }
        let store = self.shared.store.clone();
        let (finish, requests) = (self.finisher(), self.shared.requests.clone());
        let former_words = former.as_ref().and_then(|record| record.words.clone());
        let work = Work { store, media, disk, key, host, name, kernel, former };
        let what = format!("{} to {}", work.disk.name, work.name);
        let id = self.jobs.start(JobKind::ExtractKernel, what, move |job| {
            let (profile, obsolete) = work.run(job)?;
            finish(Box::new(move |document| {
                if known {
                    document.renew_profile(&profile, former_words.as_ref())
                } else {
                    document.add_profile(&profile)
                }
            }))?;
            for file in obsolete {
                let _gone_or_not = fs::remove_file(file);
            }
            if let Some(request) = then {
                // Where nobody takes it the engine is at its end, and what was asked of it with it.
                let _at_its_end = requests.blocking_send(request);
            }
            Ok(())
        });
        Ok(Reply::Job { id })
    }

    /// Images out of which kernels were taken are looked into once they are other ones, and those in which the reason may be why a
    /// machine goes no further.
    pub(super) fn inspect_taken(&self, candidates: Vec<Candidate>) {
        for Candidate { disk, image, of, found, wondered } in candidates {
            let what = disk.name.to_string();
            let running =
                |j: &JobView| j.kind == JobKind::InspectDisk && j.what == what && j.state == JobState::Running;
            if let Some(found) = found {
                if wondered {
                    self.shared.judged.tell(&self.shared.reporter, &disk.name, &found, Telling::News);
                }
                continue;
            }
            let one = (image, what.clone());
            if self.jobs.views().iter().any(running) || !looks().begin(&one, &of, Instant::now()) {
                continue;
            }
            let shared = self.shared.clone();
            self.jobs.start(JobKind::InspectDisk, what, move |job| {
                let lab = shared.state().lab.clone();
                InspectionCache::new(shared.store.dir()).prune(&lab);
                let stop = job.cancel_shared();
                let found = look(&shared.store, &disk, None, &stop);
                if stop.load(Ordering::Relaxed) {
                    looks().stopped(&one);
                }
                found.map(|found| shared.judged.tell(&shared.reporter, &disk.name, &found, Telling::News))
            });
        }
    }
}

/// A profile whose kernel was taken out of an overlay.
#[derive(Debug)]
pub(super) struct OfOverlay {
    profile: Name,
    disk: Disk,
    /// The word of its record for whose that is.
    host: String,
    whose: Whose,
    /// The overlays that it means, with the generation on which they stand.
    overlays: Vec<(Writes, u64)>,
}

impl Run {
    /// The profiles whose kernels were taken out of overlays that are still there. Whom a word means only the loop knows.
    pub(super) fn taken_of_overlays(&self) -> Vec<OfOverlay> {
        let lab = self.shared.state().lab.clone();
        let media = self.shared.folder.media();
        let one = |profile: &Profile| {
            let Record { disk, host, .. } = record_of(&media, &profile.name)?;
            let (disk, host) = (lab.disks.iter().find(|d| d.name.as_str() == disk)?, host?);
            let whose = self.overlay_of(&lab, disk, Some(&host)).ok()??;
            let overlays = meant(&self.shared.store, &lab, disk, &whose);
            let (profile, disk) = (profile.name.clone(), disk.clone());
            (!overlays.is_empty()).then_some(OfOverlay { profile, disk, host, whose, overlays })
        };
        lab.profiles.iter().filter_map(one).collect()
    }
}

fn meant(store: &Store, lab: &Lab, disk: &Disk, whose: &Whose) -> Vec<(Writes, u64)> {
    let all = store.dependents(disk, lab).overlays.into_iter();
    let mine = all.filter(|o| o.key == whose.key && whose.kind.is_none_or(|kind| kind == o.writes));
    mine.map(|o| (o.writes, o.generation)).collect()
}

/// An overlay of this disk was committed: what was taken out of it is the image's by now, and is judged by that from now on.
pub(super) fn are_of_the_image(shared: &Shared, committed: &Name, taken: &[OfOverlay]) {
    let (lab, media) = (shared.state().lab.clone(), shared.folder.media());
    for OfOverlay { profile, disk, host, whose, overlays } in taken.iter().filter(|taken| taken.disk.name == *committed)
    {
        let there = meant(&shared.store, &lab, disk, whose);
        if overlays.iter().all(|overlay| there.contains(overlay)) {
            continue;
        }
        let same = |r: &Record| r.disk == disk.name.as_str() && r.host.as_ref() == Some(host);
        let Some(record) = record_of(&media, profile).filter(same) else { continue };
        let record = Record { host: None, generation: shared.store.generation(disk), ..record };
        // Where it cannot be written it stays the overlay's, which is never stale; the commit is as good.
        let _as_it_was = renew_record(&media.join(profile.as_str()), &record);
    }
}

/// An image that may be worth a look, as it is now.
#[derive(Debug)]
pub(super) struct Candidate {
    disk: Disk,
    image: PathBuf,
    of: Of,
    /// What is known to be in it.
    found: Option<Inspection>,
    /// It may be why a machine goes no further.
    wondered: bool,
}

/// The images of these disks out of which kernels were taken, or in which the reason may be why a machine goes no further. Reads files.
pub(super) fn candidates(shared: &Shared, lab: &Lab, disks: &[DiskView], profiles: &[ProfileView]) -> Vec<Candidate> {
    let wondered: BTreeSet<String> = {
        let state = shared.state();
        state.hosts.values().filter_map(|t| t.findings.wonders()).map(str::to_owned).collect()
    };
    let busy = |name: &str| disks.iter().any(|d| d.name == *name && d.sessions > 0);
    // One that its host is writing to changes with every second.
    let wanted = |d: &&Disk| d.writes != Writes::Image || !busy(d.name.as_str());
    let taken = |d: &Disk| profiles.iter().any(|p| p.taken_from.as_deref() == Some(d.name.as_str()));
    let asked = |d: &&Disk| taken(d) || wondered.contains(d.name.as_str());
    let cache = InspectionCache::new(shared.store.dir());
    let candidate = |disk: &Disk| {
        let (image, generation) = (shared.store.image_path(disk), shared.store.generation(disk));
        let of = InspectionCache::of(&image, generation)?;
        let found = cache.get(&disk.name, &image, generation);
        Some(Candidate { disk: disk.clone(), image, of, found, wondered: wondered.contains(disk.name.as_str()) })
    };
    let candidates = lab.disks.iter().filter(asked).filter(wanted).filter_map(candidate).collect();
    forget_gone();
    candidates
}

/// Forgets what was looked into and is no more. It is looked for with the lock let go: the loop needs that.
fn forget_gone() {
    let known: BTreeSet<PathBuf> = looks().0.keys().map(|(image, _)| image.clone()).collect();
    let gone: BTreeSet<PathBuf> = known.into_iter().filter(|image| !image.exists()).collect();
    looks().0.retain(|(image, _), _| !gone.contains(image));
}

fn looks() -> std::sync::MutexGuard<'static, Looks> {
    // Consistent after every statement.
    LOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The job that takes a kernel out.
struct Work {
    store: Store,
    media: PathBuf,
    disk: Disk,
    key: Option<Whose>,
    host: Option<String>,
    name: Name,
    kernel: Option<String>,
    former: Option<Record>,
}

impl Work {
    /// The profile, and files of the former one that nobody needs any more.
    fn run(self, job: &JobHandle) -> Result<(Profile, Vec<PathBuf>), String> {
        let stop = job.cancel_shared();
        let found = look(&self.store, &self.disk, self.key.as_ref(), &stop)?;
        let of = |error: crate::inspect::ExtractError| format!("the disk {}: {error}", self.disk.name);
        let what = Extraction::choose(&found, &Choice { kernel: self.kernel.clone() }).map_err(of)?;
        let part = taken_part(&self.media, &self.name);
        job.temporary(&part);
        let device = self.store.peek(&self.disk, self.key.as_ref()).map_err(|e| e.to_string())?;
        let files = take(device, &what, &part, &|done, total| job.progress(done, total), &stop).map_err(of)?;
        let record = Record {
            v: 1,
            disk: self.disk.name.to_string(),
            host: self.host.clone(),
            system: what.system.clone(),
            version: what.version.clone(),
            pinned: what.pinned,
            generation: self.store.generation(&self.disk),
            taken: Timestamp::now(),
            files,
            words: Some(ProfileWords {
                args: what.args.clone(),
                hypervisor_args: what.hypervisor_args.clone(),
                iscsi_args: Some(what.iscsi_args),
            }),
        };
        let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        write_record(&part, &record).map_err(|e| fail(&part, e))?;
        let home = self.media.join(self.name.as_str());
        let mut obsolete = Vec::new();
        if home.exists() {
            // Machines may be loading the former ones: each file is replaced as a whole, its record last.
            let (names, record_name) = (record.files.iter().map(|f| f.name.as_str()), crate::inspect::RECORD);
            for name in names.chain([record_name]) {
                fs::rename(part.join(name), home.join(name)).map_err(|e| fail(&home.join(name), e))?;
            }
            let _empty = fs::remove_dir(&part);
            let former = self.former.iter().flat_map(|r| &r.files);
            let gone = former.filter(|old| !record.files.iter().any(|new| new.name == old.name));
            // A record is a file that anybody may have written: only plain names of this folder.
            let plain = gone.filter(|old| !old.name.is_empty() && !old.name.contains('/') && old.name != "..");
            obsolete.extend(plain.map(|old| home.join(&old.name)));
        } else {
            job.temporary(&home);
            fs::rename(&part, &home).map_err(|e| fail(&home, e))?;
        }
        let path = |of: Option<&ImageFile>| {
            let file = record.files.iter().find(|f| Some(&f.from) == of)?;
            Some(Path::new(self.name.as_str()).join(&file.name))
        };
        let profile = Profile {
            kernel: path(Some(&what.kernel)).unwrap_or_default(),
            initrds: path(Some(&what.initrd)).into_iter().collect(),
            args: what.args,
            answers: None,
            kind: None,
            arch: Vec::new(),
            hypervisor: path(what.hypervisor.as_ref()),
            hypervisor_efi: path(what.hypervisor_efi.as_ref()),
            hypervisor_args: what.hypervisor_args,
            iscsi_args: Some(what.iscsi_args),
            name: self.name,
        };
        Ok((profile, obsolete))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_nobody_waits_for_any_more_stops() {
        let (mut answer, asked) = tokio::sync::oneshot::channel();
        let (began, begins) = tokio::sync::oneshot::channel();
        let (ended, ends) = tokio::sync::oneshot::channel();
        let look = tokio::spawn(async move {
            let work = move |stop: &Arc<AtomicBool>| {
                began.send(()).unwrap();
                let start = Instant::now();
                while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                ended.send(stop.load(Ordering::Relaxed)).unwrap();
            };
            while_wanted(&mut answer, work).await
        });
        begins.await.unwrap();
        drop(asked);
        assert_eq!(look.await.unwrap(), None);
        assert!(ends.await.unwrap(), "the work itself was told");
    }

    #[test]
    fn an_image_is_looked_into_once_and_never_more_often_than_every_five_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a.raw");
        fs::write(&image, [0; 512]).unwrap();
        let of = |generation| InspectionCache::of(&image, generation).unwrap();
        let mut looks = Looks(BTreeMap::new());
        let [one, other] = ["a", "b"].map(|disk| (image.clone(), disk.to_owned()));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(looks.begin(&one, &of(1), at(0)));
        assert!(looks.begin(&other, &of(1), at(0)), "another disk of that image");
        assert!(!looks.begin(&one, &of(2), at(299)), "it changes all the time");
        assert!(!looks.begin(&one, &of(1), at(900)), "it is what it was");
        assert!(looks.begin(&one, &of(2), at(900)));
        looks.stopped(&one);
        assert!(!looks.begin(&one, &of(2), at(1199)));
        assert!(looks.begin(&one, &of(2), at(1200)));
    }
}
