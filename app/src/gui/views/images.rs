//! What machines can be given: disks with their overlays, profiles, boot firmware; and the jobs that bring them in.

use bootyard_core::api::{Command, FirmwareView, JobKind, JobState, JobView, ProfileView};
use eframe::egui::{Align, Label, Layout, RichText, ScrollArea, Ui, vec2};

use super::{View, direct, disks};
use crate::gui::action::UiCommand;
use crate::gui::lang::{count, inside, t};
use crate::gui::say::{self, bytes, clean};
use crate::gui::targets;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, heading_ui, section_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon, progress};

/// The screen.
pub(crate) fn images_ui(ui: &mut Ui, view: &mut View<'_>) {
    let shot = view.shot;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        jobs_ui(ui, view);
        head_ui(ui, view, t!("Disks"), UiCommand::AddDisk);
        disks::disks_ui(ui, view);
        ui.add_space(theme::GAP);
        head_ui(ui, view, t!("Profiles"), UiCommand::AddProfile);
        if shot.profiles.is_empty() {
            weak_ui(ui, t!("No profile yet. Add one, or drop a kernel and its initrd onto this window."));
        }
        for profile in &shot.profiles {
            profile_ui(ui, view, profile);
        }
        ui.add_space(theme::GAP);
        section_ui(ui, t!("Boot firmware"));
        firmware_ui(ui, &shot.firmware);
        ui.add_space(theme::SECTION);
    });
}

fn head_ui(ui: &mut Ui, view: &mut View<'_>, title: &str, command: UiCommand) {
    ui.add_space(theme::SECTION / 2.0);
    ui.horizontal(|ui| {
        heading_ui(ui, title);
        ui.add_space(theme::GAP);
        if command_button_ui(ui, command).clicked() {
            view.run(command);
        }
    });
}

fn jobs_ui(ui: &mut Ui, view: &mut View<'_>) {
    if view.shot.jobs.is_empty() {
        return;
    }
    section_ui(ui, t!("At work"));
    for job in &view.shot.jobs {
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            job_ui(ui, job, view);
        });
    }
    ui.add_space(theme::GAP);
}

fn job_ui(ui: &mut Ui, job: &JobView, view: &mut View<'_>) {
    let what = about(job);
    match &job.state {
        JobState::Running => {
            ui.horizontal(|ui| {
                icon::tone_ui(ui, Tone::Busy);
                let doing = doing(job.kind, &what);
                ui.label(&doing);
                let cancel = ui.button(t!("Cancel")).accessible_name(t!("Cancel: {doing}", doing = inside(doing)));
                if cancel.on_hover_text(cancel_meaning(job.kind)).clicked() {
                    view.send(Command::CancelJob { job: job.id }, t!("Cancelled: {what}", what = what));
                }
                match job.kind {
                    JobKind::SelfTest => weak_ui(ui, say::job(job)),
                    _ => progress::progress_ui(ui, &job.progress, Tone::Busy, &what),
                };
            });
        }
        JobState::Done => {
            ui.horizontal(|ui| {
                badge::badge_ui(ui, Tone::Good, t!("Done"), "");
                ui.label(done(job.kind, &what));
                weak_ui(ui, t!("{done}, begun {time}", done = say::job_done(job), time = say::clock(job.started)));
            });
        }
        JobState::Cancelled => {
            ui.horizontal(|ui| {
                badge::badge_ui(ui, Tone::Quiet, t!("Cancelled"), "");
                ui.label(act(job.kind, &what));
            });
        }
        JobState::Failed { error } => {
            ui.horizontal(|ui| {
                badge::badge_ui(ui, Tone::Bad, t!("Failed"), "");
                ui.label(act(job.kind, &what));
            });
            ui.label(RichText::new(say::sentence(error)).color(theme::palette(ui).tone(Tone::Bad)));
        }
    }
}

/// What becomes of the work of a cancelled job.
fn cancel_meaning(kind: JobKind) -> &'static str {
    match kind {
        JobKind::SelfTest => t!("What it has found is shown"),
        JobKind::CompactDisk | JobKind::DeleteDisk | JobKind::ResetDisk | JobKind::ResizeDisk => {
            t!("It ends where it is; what is given back stays so")
        }
        _ => t!("What it has done so far is taken back"),
    }
}

/// What a job is about: a disk, or from what to what.
pub(crate) fn about(job: &JobView) -> String {
    let what = clean(&job.what);
    match job.kind {
        JobKind::CopyDisk | JobKind::CommitDisk | JobKind::ExportDisk | JobKind::ExtractKernel => what
            .split_once(" to ")
            .map_or_else(|| what.clone(), |(from, to)| t!("{from} to {to}", from = from, to = to)),
        _ => what,
    }
}

/// A job while it runs.
pub(crate) fn doing(kind: JobKind, what: &str) -> String {
    match kind {
        JobKind::ImportDisk => t!("Importing {what}", what = what),
        JobKind::CreateDisk => t!("Creating {what}", what = what),
        JobKind::HashImage => t!("Checking {what}", what = what),
        JobKind::ImportProfile => t!("Adding {what}", what = what),
        JobKind::CopyDisk => t!("Copying {what}", what = what),
        JobKind::CommitDisk => t!("Committing {what}", what = what),
        JobKind::ExportDisk => t!("Exporting {what}", what = what),
        JobKind::CompactDisk => t!("Compacting {what}", what = what),
        JobKind::DeleteDisk => t!("Deleting {what}", what = what),
        JobKind::ResetDisk => t!("Resetting overlays of {what}", what = what),
        JobKind::ResizeDisk => t!("Enlarging {what}", what = what),
        JobKind::InspectDisk => t!("Looking into {what}", what = what),
        JobKind::SelfTest => t!("Running {what}", what = what),
        JobKind::ExtractKernel => t!("Taking a kernel out of {what}", what = what),
    }
}

/// A job as an act that did not come to its end.
pub(crate) fn act(kind: JobKind, what: &str) -> String {
    match kind {
        JobKind::ImportDisk => t!("Import {what}", what = what),
        JobKind::CreateDisk => t!("Create {what}", what = what),
        JobKind::HashImage => t!("Check {what}", what = what),
        JobKind::ImportProfile => t!("Add {what}", what = what),
        JobKind::CopyDisk => t!("Copy {what}", what = what),
        JobKind::CommitDisk => t!("Commit {what}", what = what),
        JobKind::ExportDisk => t!("Export {what}", what = what),
        JobKind::CompactDisk => t!("Compact {what}", what = what),
        JobKind::DeleteDisk => t!("Delete {what}", what = what),
        JobKind::ResetDisk => t!("Reset overlays of {what}", what = what),
        JobKind::ResizeDisk => t!("Enlarge {what}", what = what),
        JobKind::InspectDisk => t!("Look into {what}", what = what),
        JobKind::SelfTest => t!("Run {what}", what = what),
        JobKind::ExtractKernel => t!("Take a kernel out of {what}", what = what),
    }
}

/// A job when it is done.
pub(crate) fn done(kind: JobKind, what: &str) -> String {
    match kind {
        JobKind::ImportDisk => t!("Imported {what}", what = what),
        JobKind::CreateDisk => t!("Created {what}", what = what),
        JobKind::HashImage => t!("Checked {what}", what = what),
        JobKind::ImportProfile => t!("Added {what}", what = what),
        JobKind::CopyDisk => t!("Copied {what}", what = what),
        JobKind::CommitDisk => t!("Committed {what}", what = what),
        JobKind::ExportDisk => t!("Exported {what}", what = what),
        JobKind::CompactDisk => t!("Compacted {what}", what = what),
        JobKind::DeleteDisk => t!("Deleted {what}", what = what),
        JobKind::ResetDisk => t!("Overlays of {what} were reset", what = what),
        JobKind::ResizeDisk => t!("Enlarged {what}", what = what),
        JobKind::InspectDisk => t!("Looked into {what}", what = what),
        JobKind::SelfTest => t!("Ran {what}", what = what),
        JobKind::ExtractKernel => t!("Took a kernel out of {what}", what = what),
    }
}

pub(super) fn assigned_ui(ui: &mut Ui, assigned: &[String]) {
    let text = match assigned.len() {
        0 => t!("No machine gets it").to_owned(),
        n => {
            let names = say::names(assigned, 6);
            count!(n, "{n} machine gets it: {names}", "{n} machines get it: {names}", names = names)
        }
    };
    weak_ui(ui, text).on_hover_text(say::names(assigned, 60));
}

fn profile_ui(ui: &mut Ui, view: &mut View<'_>, profile: &ProfileView) {
    theme::card_frame(ui).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        ui.horizontal(|ui| {
            icon::tone_ui(ui, if profile.problem.is_some() { Tone::Bad } else { Tone::Quiet });
            ui.label(RichText::new(&profile.name).strong());
            ui.label(bytes(profile.size)).on_hover_text(t!("Kernel and initrds: what each machine loads"));
            ui.separator();
            match (&profile.answers, &profile.taken_from) {
                (Some(answers), _) => {
                    weak_ui(ui, t!("Answers: {answers}", answers = say::clean(&answers.display().to_string())))
                }
                (None, Some(disk)) => weak_ui(ui, t!("Kernel of the disk {disk}", disk = say::clean(disk))),
                (None, None) => weak_ui(ui, t!("No answer file; it asks at the machine")),
            };
        });
        assigned_ui(ui, &profile.assigned);
        let loaded = profile.hypervisor.iter().chain([&profile.kernel]).chain(&profile.initrds);
        let mut files = loaded.map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
        if !profile.args.is_empty() {
            files.push_str(&format!("  ·  {}", profile.args));
        }
        weak_ui(ui, say::clean_to(&files, 240));
        if profile.edited {
            weak_ui(
                ui,
                t!("Its arguments were edited in lab.toml; a kernel that is taken out again leaves them as they are"),
            );
        }
        if let Some(disk) = &profile.taken_from
            && targets::tells_secret(view.shot, disk, Some(profile))
        {
            weak_ui(ui, targets::secret());
        }
        if let Some(problem) = &profile.problem {
            finding::callout_ui(ui, Tone::Bad, problem, |_| {});
        }
        if let Some(stale) = &profile.stale {
            finding::callout_ui(ui, Tone::Warn, stale, |ui| direct::again_ui(ui, view, profile));
        }
    });
}

/// Width of an architecture's name.
const FIRMWARE: f32 = 100.0;

/// The list of boot files; shown on the network screen, too, when one is missing.
pub(crate) fn firmware_ui(ui: &mut Ui, list: &[FirmwareView]) {
    if list.is_empty() {
        weak_ui(ui, t!("Not looked for yet."));
        return;
    }
    for firmware in list {
        ui.horizontal(|ui| {
            ui.allocate_ui_with_layout(vec2(FIRMWARE, 20.0), Layout::left_to_right(Align::Center), |ui| {
                ui.set_min_width(FIRMWARE);
                ui.label(say::arch(firmware.arch));
            });
            match &firmware.path {
                Some(path) => {
                    badge::badge_ui(ui, Tone::Good, t!("Found"), t!("Machines of this kind get it"));
                    weak_ui(ui, say::clean_to(&path.display().to_string(), 300));
                }
                None => {
                    badge::badge_ui(ui, Tone::Warn, t!("Missing"), t!("Machines of this kind get no boot file"));
                }
            }
        });
        if let (None, Some(remedy)) = (&firmware.path, &firmware.remedy) {
            ui.horizontal_top(|ui| {
                ui.add_space(FIRMWARE + ui.spacing().item_spacing.x);
                ui.add(Label::new(say::sentence(remedy)).wrap());
            });
        }
    }
}
