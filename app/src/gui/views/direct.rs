//! A machine that starts a disk's kernel directly, or could: what is to know of it, and the ways on. The profile behind it is made by the
//! engine, so here is only how far that has come.

use bootyard_core::api::{
    Command, DiskAct, Finding, FindingAction, HostView, JobKind, JobState, JobView, ProfileView, Snapshot,
};
use bootyard_core::lab::{Boot, IscsiBoot};
use eframe::egui::{RichText, Ui};

use super::disk_menu::item_ui;
use super::{View, images};
use crate::gui::action::Action;
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::targets;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::assign;
use crate::gui::widgets::field::weak_ui;
use crate::gui::widgets::{finding, progress};

/// The way back.
fn loader() -> &'static str {
    t!("Start its boot loader instead")
}

/// Takes a kernel out of the disk once more.
fn again() -> &'static str {
    t!("Take its kernel out again")
}

/// The newest job that takes a kernel out of this disk.
fn job_of<'a>(shot: &'a Snapshot, disk: &str) -> Option<&'a JobView> {
    let of =
        |j: &&JobView| j.kind == JobKind::ExtractKernel && j.what.split_once(" to ").is_some_and(|(d, _)| d == disk);
    shot.jobs.iter().filter(of).max_by_key(|j| j.id)
}

/// The item of a machine's menu.
pub(super) fn items_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    if let Some(disk) = targets::directly(&host.boot) {
        let meaning = targets::directly_meaning(view.shot, &disk);
        let busy = job_of(view.shot, &disk).filter(|j| j.state == JobState::Running);
        if item_ui(ui, assign::directly(), &meaning, busy.map(|_| t!("Its kernel is being taken out").to_owned())) {
            view.push(Action::StartDirectly(vec![host.id], disk));
        }
    }
}

/// On the machine's own screen.
pub(super) fn callout_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    let Boot::Iscsi(iscsi) = &host.boot else { return };
    let shot = view.shot;
    let disk = iscsi.disk.as_str();
    let failed = match job_of(shot, disk).map(|job| (job, &job.state)) {
        Some((job, JobState::Running)) => return running_ui(ui, view, disk, job),
        Some((_, JobState::Failed { error })) => Some(error),
        _ => None,
    };
    if let Some(error) = failed {
        failed_ui(ui, view, host, disk, error);
    }
    // Where a finding has the button, or the failure one to try again, another one would be in the way.
    let offered = |f: &Finding| matches!(f.action, Some(FindingAction::StartDirectly { .. }));
    match &iscsi.profile {
        None if failed.is_some() || host.findings.iter().any(offered) => {}
        None => offer_ui(ui, view, host),
        Some(name) => {
            let profile = shot.profiles.iter().find(|p| p.name == name.as_str());
            direct_ui(ui, view, host, iscsi, profile);
        }
    }
}

fn running_ui(ui: &mut Ui, view: &mut View<'_>, disk: &str, job: &JobView) {
    finding::callout_ui(ui, Tone::Busy, &t!("The kernel of {disk} is taken out of the disk", disk = disk), |ui| {
        ui.horizontal(|ui| {
            let cancel =
                ui.button(t!("Cancel")).accessible_name(t!("Cancel: taking the kernel out of {disk}", disk = disk));
            if cancel.on_hover_text(t!("What it has done so far is taken back")).clicked() {
                view.send(Command::CancelJob { job: job.id }, t!("Cancelled: {what}", what = images::about(job)));
            }
            progress::progress_ui(ui, &job.progress, Tone::Busy, &t!("kernel of {disk}", disk = disk));
        });
    });
}

fn failed_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView, disk: &str, error: &str) {
    finding::callout_ui(ui, Tone::Bad, &t!("The kernel of {disk} could not be taken out", disk = disk), |ui| {
        ui.label(say::sentence(error));
        if ui.button(t!("Try again")).accessible_name(t!("Try again: {what}", what = assign::directly())).clicked() {
            view.push(Action::StartDirectly(vec![host.id], disk.to_owned()));
        }
    });
}

fn offer_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView) {
    let Some(disk) = targets::directly(&host.boot) else { return };
    ui.horizontal_wrapped(|ui| {
        if ui.button(assign::directly()).on_hover_text(targets::directly_meaning(view.shot, &disk)).clicked() {
            view.push(Action::StartDirectly(vec![host.id], disk.clone()));
        }
        weak_ui(ui, t!("For a system that does not find its disk again, and faster than its boot loader"));
    });
}

fn direct_ui(ui: &mut Ui, view: &mut View<'_>, host: &HostView, iscsi: &IscsiBoot, profile: Option<&ProfileView>) {
    let disk = iscsi.disk.as_str();
    let stale = profile.and_then(|p| p.stale.as_deref());
    let (tone, text) = match stale {
        Some(stale) => (Tone::Warn, stale.to_owned()),
        None => (Tone::Quiet, t!("The kernel of {disk} is started directly", disk = disk)),
    };
    finding::callout_ui(ui, tone, &text, |ui| {
        if targets::tells_secret(view.shot, disk, profile) {
            ui.label(RichText::new(say::sentence(targets::secret())).color(theme::palette(ui).text));
        }
        ui.horizontal(|ui| {
            if let Some(profile) = profile.filter(|p| p.stale.is_some()) {
                again_ui(ui, view, profile);
            }
            if ui.button(loader()).on_hover_text(t!("{disk} boots as any disk does", disk = disk)).clicked() {
                view.assign(vec![host.id], Boot::Iscsi(IscsiBoot { profile: None, ..iscsi.clone() }));
            }
        });
    });
}

/// The button that renews a profile out of the disk from which it was taken.
pub(super) fn again_ui(ui: &mut Ui, view: &mut View<'_>, profile: &ProfileView) {
    let Some(disk) = &profile.taken_from else { return };
    let meaning =
        t!("{name} gets the kernel, initramfs and arguments that {disk} has now", name = profile.name, disk = disk);
    let button = ui.button(again()).accessible_name(format!("{}: {}", again(), profile.name)).on_hover_text(meaning);
    if button.clicked() {
        let act = DiskAct::Extract { profile: profile.name.clone(), host: None, kernel: None };
        view.send(Command::Disk { disk: disk.clone(), act }, t!("Taking the kernel out of {disk}", disk = disk));
    }
}
