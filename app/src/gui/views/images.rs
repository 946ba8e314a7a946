//! What machines can be given: disks with their overlays, profiles, boot firmware; and the jobs that bring them in.

use bootyard_core::api::{Command, FirmwareView, JobKind, JobState, JobView, ProfileView};
use eframe::egui::{Align, Label, Layout, RichText, ScrollArea, Ui, vec2};

use super::{View, disks};
use crate::gui::action::UiCommand;
use crate::gui::say::{self, bytes, clean};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, heading_ui, section_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon, progress};

/// The screen.
pub(crate) fn images_ui(ui: &mut Ui, view: &mut View<'_>) {
    let shot = view.shot;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        jobs_ui(ui, view);
        head_ui(ui, view, "Disks", UiCommand::AddDisk);
        disks::disks_ui(ui, view);
        ui.add_space(theme::GAP);
        head_ui(ui, view, "Profiles", UiCommand::AddProfile);
        if shot.profiles.is_empty() {
            weak_ui(ui, "No profile yet. Add one, or drop a kernel and its initrd onto this window.");
        }
        for profile in &shot.profiles {
            profile_ui(ui, profile);
        }
        ui.add_space(theme::GAP);
        section_ui(ui, "Boot firmware");
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
    section_ui(ui, "At work");
    for job in &view.shot.jobs {
        theme::card_frame(ui).show(ui, |ui| {
            ui.set_min_width(ui.available_width());
            job_ui(ui, job, view);
        });
    }
    ui.add_space(theme::GAP);
}

fn job_ui(ui: &mut Ui, job: &JobView, view: &mut View<'_>) {
    let what = clean(&job.what);
    let (doing, act, done) = job_words(job.kind);
    match &job.state {
        JobState::Running => {
            ui.horizontal(|ui| {
                icon::tone_ui(ui, Tone::Busy);
                ui.label(format!("{doing} {what}"));
                let cancel = ui.button("Cancel").accessible_name(format!("Cancel: {} {what}", doing.to_lowercase()));
                if cancel.on_hover_text(cancel_meaning(job.kind)).clicked() {
                    view.send(Command::CancelJob { job: job.id }, format!("Cancelled: {what}"));
                }
                progress::progress_ui(ui, &job.progress, Tone::Busy, &what);
            });
        }
        JobState::Done => {
            ui.horizontal(|ui| {
                badge::badge_ui(ui, Tone::Good, "Done", "");
                ui.label(format!("{done} {what}"));
                weak_ui(ui, format!("{}, begun {}", bytes(job.progress.done), say::clock(job.started)));
            });
        }
        JobState::Cancelled => {
            ui.horizontal(|ui| {
                badge::badge_ui(ui, Tone::Quiet, "Cancelled", "");
                ui.label(format!("{act} {what}"));
            });
        }
        JobState::Failed { error } => {
            ui.horizontal(|ui| {
                badge::badge_ui(ui, Tone::Bad, "Failed", "");
                ui.label(format!("{act} {what}"));
            });
            ui.label(RichText::new(say::sentence(error)).color(theme::palette(ui).tone(Tone::Bad)));
        }
    }
}

/// What becomes of the work of a cancelled job.
fn cancel_meaning(kind: JobKind) -> &'static str {
    match kind {
        JobKind::CompactDisk | JobKind::DeleteDisk => "It ends where it is; what is given back stays so",
        _ => "What it has done so far is taken back",
    }
}

/// A job's kind while it runs, as an act that did not come to its end, and when it is done.
pub(super) fn job_words(kind: JobKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        JobKind::ImportDisk => ("Importing", "Import", "Imported"),
        JobKind::CreateDisk => ("Creating", "Create", "Created"),
        JobKind::HashImage => ("Checking", "Check", "Checked"),
        JobKind::ImportProfile => ("Adding", "Add", "Added"),
        JobKind::CopyDisk => ("Copying", "Copy", "Copied"),
        JobKind::CommitDisk => ("Committing", "Commit", "Committed"),
        JobKind::ExportDisk => ("Exporting", "Export", "Exported"),
        JobKind::CompactDisk => ("Compacting", "Compact", "Compacted"),
        JobKind::DeleteDisk => ("Deleting", "Delete", "Deleted"),
    }
}

pub(super) fn assigned_ui(ui: &mut Ui, assigned: &[String]) {
    let text = match assigned.len() {
        0 => "No machine gets it".to_owned(),
        n => format!("{}: {}", say::count(n, "machine gets it", "machines get it"), say::names(assigned, 6)),
    };
    weak_ui(ui, text).on_hover_text(say::names(assigned, 60));
}

fn profile_ui(ui: &mut Ui, profile: &ProfileView) {
    theme::card_frame(ui).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        ui.horizontal(|ui| {
            icon::tone_ui(ui, if profile.problem.is_some() { Tone::Bad } else { Tone::Quiet });
            ui.label(RichText::new(&profile.name).strong());
            ui.label(bytes(profile.size)).on_hover_text("Kernel and initrds: what each machine loads");
            ui.separator();
            match &profile.answers {
                Some(answers) => weak_ui(ui, format!("Answers: {}", say::clean(&answers.display().to_string()))),
                None => weak_ui(ui, "No answer file; it asks at the machine"),
            };
        });
        assigned_ui(ui, &profile.assigned);
        let initrds: Vec<String> = profile.initrds.iter().map(|i| i.display().to_string()).collect();
        let mut files = profile.kernel.display().to_string();
        if !initrds.is_empty() {
            files.push_str(&format!(", {}", initrds.join(", ")));
        }
        if !profile.args.is_empty() {
            files.push_str(&format!("  ·  {}", profile.args));
        }
        weak_ui(ui, say::clean_to(&files, 240));
        if let Some(problem) = &profile.problem {
            finding::callout_ui(ui, Tone::Bad, problem, |_| {});
        }
    });
}

/// Width of an architecture's name.
const FIRMWARE: f32 = 100.0;

/// The list of boot files; shown on the network screen, too, when one is missing.
pub(crate) fn firmware_ui(ui: &mut Ui, list: &[FirmwareView]) {
    if list.is_empty() {
        weak_ui(ui, "Not looked for yet.");
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
                    badge::badge_ui(ui, Tone::Good, "Found", "Machines of this kind get it");
                    weak_ui(ui, say::clean_to(&path.display().to_string(), 300));
                }
                None => {
                    badge::badge_ui(ui, Tone::Warn, "Missing", "Machines of this kind get no boot file");
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
