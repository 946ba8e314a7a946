//! Commands about disks: snapshot, clone, reset, commit, resize, compact, export, delete. What takes long is a job.

use std::path::PathBuf;
use std::sync::Arc;

use super::commands::wrong;
use super::run::Run;
use super::serving::blocking;
use crate::api::{CommandError, DiskAct, EventKind, ExportFormat, JobKind, JobState, JobView, Reply};
use crate::disks::{self, CopyKind, Dependents, DiskError, OverlayKey, Whose};
use crate::lab::{Boot, Disk, Lab, Name, Writes, derived_iqn};

type Outcome = Result<Reply, CommandError>;

impl Run {
    /// A disk by its name, with the lab as it is now, for a command that changes something.
    pub(super) async fn disk_to_change(&mut self, disk: &str) -> Result<(Arc<Lab>, Disk), CommandError> {
        self.catch_up().await;
        let name: Name = disk.parse().map_err(wrong)?;
        let lab = self.shared.state().lab.clone();
        let Some(disk) = lab.disk(&name).cloned() else {
            return Err(wrong(format!("there is no disk `{name}` in lab.toml; `bootyard disks list` names them")));
        };
        self.refuse_if_broken()?;
        Ok((lab, disk))
    }

    /// Something to a disk.
    pub(super) async fn disk_act(&mut self, disk: &str, act: DiskAct) -> Outcome {
        let (lab, disk) = self.disk_to_change(disk).await?;
        match act {
            DiskAct::Snapshot { name, host } => {
                let key = self.overlay_of(&lab, &disk, host.as_deref())?;
                self.copy_disk(disk, key, &name, CopyKind::Snapshot)
            }
            DiskAct::Clone { name } => self.copy_disk(disk, None, &name, CopyKind::Clone),
            DiskAct::Reset { hosts } => self.reset_disk(&lab, disk, &hosts),
            DiskAct::Commit { host } => {
                let key = self.overlay_of(&lab, &disk, Some(&host))?;
                self.commit_disk(disk, key.ok_or_else(|| wrong("name the machine whose overlay is committed"))?)
            }
            DiskAct::Resize { size } => self.resize_disk(disk, size).await,
            DiskAct::Compact => Ok(self.compact_disk(disk)),
            DiskAct::Export { to, format, host } => {
                let key = self.overlay_of(&lab, &disk, host.as_deref())?;
                self.export_disk(disk, key, to, format)
            }
            // Answered by itself: see `look_into`.
            DiskAct::Inspect { .. } => Ok(Reply::Done),
            DiskAct::Extract { profile, host, kernel } => {
                let key = self.overlay_of(&lab, &disk, host.as_deref())?;
                let label = key.as_ref().map(|key| self.label(key));
                self.extract(disk, key, label, &profile, kernel, None)
            }
            DiskAct::Delete { anyway } => self.delete_disk(&lab, disk, anyway).await,
        }
    }

    /// Whose overlay a word means: a MAC, a name, or an overlay's id.
    pub(super) fn overlay_of(&self, lab: &Lab, disk: &Disk, word: Option<&str>) -> Result<Option<Whose>, CommandError> {
        let Some(word) = word else { return Ok(None) };
        if let Some(key) = self.shared.store.key_of(lab, disk, word) {
            return Ok(Some(key));
        }
        match self.named(&[word.to_owned()])?[..] {
            [id] => Ok(Some(OverlayKey::Host(id).into())),
            ref several => Err(wrong(format!("`{word}` means {} machines; name one", several.len()))),
        }
    }

    /// The name shown for an overlay.
    fn label(&self, key: &Whose) -> String {
        match &key.key {
            OverlayKey::Host(id) => self.shared.state().shown_name(*id),
            OverlayKey::Initiator(name) => name.clone(),
        }
    }

    fn copy_disk(&mut self, disk: Disk, key: Option<Whose>, name: &str, kind: CopyKind) -> Outcome {
        let name: Name = name.parse().map_err(wrong)?;
        if self.shared.state().lab.disk(&name).is_some() {
            return Err(wrong(format!("there is a disk `{name}` already; choose another name")));
        }
        let of =
            key.as_ref().map_or_else(|| disk.name.to_string(), |key| format!("{} of {}", self.label(key), disk.name));
        let finish = self.finisher();
        let store = self.shared.store.clone();
        let id = self.jobs.start(JobKind::CopyDisk, format!("{of} to {name}"), move |job| {
            job.temporary(&store.copy_part(name.as_str()));
            let progress = |done, total| job.progress(done, total);
            let copied = store.copy(&disk, key.as_ref(), name.as_str(), kind, &progress, job.cancel_flag());
            let path = copied.map_err(|e| e.to_string())?;
            // Who may log in and with which secret is taken along: a copy must not open what was closed.
            let copy = Disk {
                iqn: derived_iqn(&name),
                image: path.file_name().map(PathBuf::from).unwrap_or(path),
                writes: if disk.writes == Writes::Image { Writes::Keep } else { disk.writes },
                name,
                size: disk.size,
                redirect: None,
                ..disk
            };
            let name = copy.name.clone();
            finish(Box::new(move |document| document.add_disk(&copy)))
                .inspect(|()| store.entered(&name))
                .inspect_err(|_| store.not_entered(&name))
        });
        Ok(Reply::Job { id })
    }

    fn commit_disk(&mut self, disk: Disk, key: Whose) -> Outcome {
        self.shared.store.refuse_if_held(&disk, &key).map_err(wrong)?;
        let label = self.label(&key);
        let (store, shared) = (self.shared.store.clone(), self.shared.clone());
        let judge = self.judge_afterwards();
        let id = self.jobs.start(JobKind::CommitDisk, format!("{label} to {}", disk.name), move |job| {
            job.temporary(&store.commit_part(&disk));
            let progress = |done, total| job.progress(done, total);
            let made = store.commit(&disk, &key, &progress, job.cancel_flag()).map_err(|e| e.to_string())?;
            let kind = EventKind::DiskCommitted { disk: disk.name.to_string(), of: label, generation: made.generation };
            shared.report(None, kind);
            judge(disk);
            Ok(())
        });
        Ok(Reply::Job { id })
    }

    fn reset_disk(&mut self, lab: &Lab, disk: Disk, words: &[String]) -> Outcome {
        let store = self.shared.store.clone();
        let overlays = store.dependents(&disk, lab).overlays;
        let keys: Vec<Whose> = if words.is_empty() {
            let mut keys: Vec<_> = overlays.iter().map(|o| o.key.clone()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().map(Whose::from).collect()
        } else {
            let keys = words.iter().map(|word| self.overlay_of(lab, &disk, Some(word)));
            keys.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
        };
        // All or none: one that is in use stops it before anything is dropped.
        keys.iter().try_for_each(|key| store.refuse_if_held(&disk, key)).map_err(wrong)?;
        let bytes = |whose: &Whose| {
            let meant =
                overlays.iter().filter(|o| o.key == whose.key && whose.kind.is_none_or(|kind| kind == o.writes));
            meant.map(|o| o.bytes).sum::<u64>()
        };
        let todo: Vec<_> = keys.into_iter().map(|key| (self.label(&key), bytes(&key), key)).collect();
        let shared = self.shared.clone();
        let id = self.jobs.start(JobKind::ResetDisk, disk.name.to_string(), move |job| {
            let mut reset = Vec::new();
            let (mut done, all) = (0, todo.iter().map(|(_, bytes, _)| bytes).sum());
            let outcome = todo.into_iter().try_for_each(|(label, bytes, key)| {
                job.progress(done, all);
                if job.cancelled() {
                    return Err(DiskError::Cancelled);
                }
                store.reset(&disk, &key)?;
                done += bytes;
                reset.push(label);
                Ok(())
            });
            if !reset.is_empty() {
                shared.report(None, EventKind::OverlaysReset { disk: disk.name.to_string(), of: reset });
            }
            outcome.map_err(|e| e.to_string())
        });
        Ok(Reply::Job { id })
    }

    async fn resize_disk(&mut self, disk: Disk, size: u64) -> Outcome {
        if disk.readonly {
            return Err(wrong(format!(
                "the disk {} is read-only, and nothing could be written to what is added",
                disk.name
            )));
        }
        let store = self.shared.store.clone();
        store.refuse_to_shrink(&disk, size).map_err(wrong)?;
        if disk.writes != Writes::Image {
            // lab.toml first: what was promised there is kept by every overlay that is opened from now on.
            let name = disk.name.clone();
            self.edit(move |document| document.set_disk_size(&name, size)).await?;
        }
        let shared = self.shared.clone();
        let id = self.jobs.start(JobKind::ResizeDisk, disk.name.to_string(), move |_| {
            store.grow(&disk, size).map_err(|e| e.to_string())?;
            shared.report(None, EventKind::DiskResized { disk: disk.name.to_string(), size });
            Ok(())
        });
        Ok(Reply::Job { id })
    }

    fn compact_disk(&mut self, disk: Disk) -> Reply {
        let store = self.shared.store.clone();
        let id = self.jobs.start(JobKind::CompactDisk, disk.name.to_string(), move |job| {
            let progress = |done, total| job.progress(done, total);
            store.compact(&disk, &progress, job.cancel_flag()).map(|_| ()).map_err(|e| e.to_string())
        });
        Reply::Job { id }
    }

    fn export_disk(&mut self, disk: Disk, key: Option<Whose>, to: PathBuf, format: ExportFormat) -> Outcome {
        if !to.is_absolute() {
            return Err(wrong(format!("{} is no absolute path", to.display())));
        }
        let of =
            key.as_ref().map_or_else(|| disk.name.to_string(), |key| format!("{} of {}", self.label(key), disk.name));
        let there = format!(" to {}", to.display());
        let busy = |job: &JobView| {
            job.kind == JobKind::ExportDisk && job.state == JobState::Running && job.what.ends_with(&there)
        };
        if self.jobs.views().iter().any(busy) {
            return Err(wrong(format!(
                "another export to {} is at work; wait for its end, or cancel it",
                to.display()
            )));
        }
        let store = self.shared.store.clone();
        let id = self.jobs.start(JobKind::ExportDisk, format!("{of}{there}"), move |job| {
            let part = disks::export_part(&to);
            job.temporary(&part);
            let progress = |done, total| job.progress(done, total);
            let source = store.reader(&disk, key.as_ref()).map_err(|e| e.to_string())?;
            disks::export_to(&*source, &to, &part, format, &progress, job.cancel_flag()).map_err(|e| e.to_string())
        });
        Ok(Reply::Job { id })
    }

    async fn delete_disk(&mut self, lab: &Lab, disk: Disk, anyway: bool) -> Outcome {
        let store = self.shared.store.clone();
        store.refuse_if_open(&disk).map_err(wrong)?;
        let depends = store.dependents(&disk, lab);
        let given = self.given_disk(&disk.name);
        if !anyway && let Some(lost) = what_is_lost(&disk, &depends, &given) {
            return Err(wrong(lost));
        }
        let (at_disk, lab) = (disk.clone(), lab.clone());
        let begun = blocking(move || store.begin_deletion(&at_disk, &lab)).await;
        let mut deletion = begun.map_err(wrong)?.map_err(wrong)?;
        // Out of lab.toml first: there is never an entry without its image, and the next start goes on from there after a crash.
        let name = disk.name.clone();
        self.edit(move |document| document.remove_disk(&name)).await?;
        deletion.decided();
        let shared = self.shared.clone();
        let id = self.jobs.start(JobKind::DeleteDisk, disk.name.to_string(), move |_| {
            deletion.carry_out().map_err(|e| e.to_string())?;
            shared.report(None, EventKind::DiskDeleted { disk: disk.name.to_string() });
            Ok(())
        });
        Ok(Reply::Job { id })
    }

    /// Names of the machines that are given this disk, now or after an installation.
    fn given_disk(&self, name: &Name) -> Vec<String> {
        let state = self.shared.state();
        let shown = |index: usize, host: &crate::lab::Host| {
            let id = state.configured.get(index).copied();
            id.map_or_else(|| host.macs.first().map(ToString::to_string).unwrap_or_default(), |id| state.shown_name(id))
        };
        let hosts = state.lab.hosts.iter().enumerate();
        hosts
            .filter(|(_, h)| h.boot.as_ref().and_then(Boot::any_disk) == Some(name))
            .map(|(n, h)| shown(n, h))
            .collect()
    }
}

/// What a deletion would take with it, in a sentence; `None`: nothing that anybody would miss.
fn what_is_lost(disk: &Disk, depends: &Dependents, given: &[String]) -> Option<String> {
    let mut parts = Vec::new();
    if !given.is_empty() {
        parts.push(format!("{} would get nothing and wait", given.join(", ")));
    }
    if !depends.overlays.is_empty() {
        let bytes: u64 = depends.overlays.iter().map(|o| o.bytes).sum();
        let whose: Vec<&str> = depends.overlays.iter().map(|o| o.host.as_str()).collect();
        parts.push(format!("what {} wrote would be lost ({bytes} bytes)", whose.join(", ")));
    }
    if !depends.older.is_empty() {
        parts.push(format!("{} former generations of its image would go with it", depends.older.len()));
    }
    if !depends.snapshots.is_empty() {
        parts.push(format!("{} are snapshots of it and stay", depends.snapshots.join(", ")));
    }
    (!parts.is_empty()).then(|| {
        format!("the disk {} is in use: {}; delete it anyway, or reset and reassign first", disk.name, parts.join("; "))
    })
}
