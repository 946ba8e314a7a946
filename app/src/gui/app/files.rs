//! Files that come into the window: picked in the desktop's dialog, dropped, or named.

use std::path::PathBuf;

use eframe::egui::Context;

use super::App;
use crate::gui::action::{Dialog, PickFor};
use crate::gui::brought::{self, Brought, Plan};
use crate::gui::disk_ask::DiskAsk;
use crate::gui::labs::Way;
use crate::gui::lang::t;
use crate::gui::theme;

impl App {
    /// Takes in what was picked and dropped since the last frame, and what was found out about it.
    pub(super) fn take_files(&mut self, ctx: &Context) {
        if let Some((what, files)) = self.picker.take() {
            self.picked(what, &files);
        }
        let (hovering, dropped): (Vec<PathBuf>, Vec<PathBuf>) = ctx.input(|i| {
            let hovering = i.raw.hovered_files.iter().filter_map(|f| f.path.clone()).collect();
            (hovering, i.raw.dropped_files.iter().map(|f| f.path().to_path_buf()).collect())
        });
        if dropped.is_empty() {
            self.files.hover(ctx, &hovering);
        } else {
            self.files.bring(ctx, dropped);
        }
        if let Some((found, left)) = self.files.take() {
            self.brought(ctx, found, left);
        }
        if let Some(recording) = self.files.take_recording() {
            self.ask_next(Dialog::Recording(Box::new(recording)));
        }
    }

    fn picked(&mut self, what: PickFor, files: &[PathBuf]) {
        let Some(first) = files.first() else { return };
        let text = || first.display().to_string();
        let list = || files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join("\n");
        match (what, &mut self.dialog) {
            (PickFor::Disk, Some(Dialog::AddDisk(form))) => form.take(first),
            (PickFor::Kernel, Some(Dialog::AddProfile(form))) => form.kernel = text(),
            (PickFor::Answers, Some(Dialog::AddProfile(form))) => form.answers = text(),
            (PickFor::Initrds, Some(Dialog::AddProfile(form))) => form.initrds = list(),
            (PickFor::SavePackets | PickFor::SaveEvents, Some(Dialog::Save(form))) => {
                form.path = text();
                form.agreed = Some(text());
            }
            (PickFor::Export, Some(Dialog::Disk(DiskAsk::Export { path, .. }))) => *path = text(),
            (PickFor::Lab, Some(Dialog::Lab(form))) => form.path = text(),
            (PickFor::Files, Some(Dialog::AddFiles { paths })) => *paths = list(),
            // The form was closed meanwhile.
            _ => {}
        }
    }

    /// Puts files where they belong. A form that is open takes what it has a place for; another question comes first. `left`: how many
    /// more were dropped with them.
    fn brought(&mut self, ctx: &Context, mut found: Vec<Brought>, left: usize) {
        let profile = match &mut self.dialog {
            Some(Dialog::AddProfile(form)) => Some(std::mem::take(form)),
            Some(Dialog::AddDisk(form)) => {
                let image =
                    found.iter().position(|file| matches!(file.kind, Ok(bootyard_core::media::Kind::Disk { .. })));
                if let Some(at) = image {
                    form.take(&found.remove(at).path);
                }
                None
            }
            _ => None,
        };
        let restore = profile.clone();
        let Plan { mut dialogs, recording, lab } = brought::plan(found, left, profile);
        // Nothing for the form was among them: it stays as it was.
        if let (Some(Dialog::AddProfile(form)), Some(before)) = (&mut self.dialog, restore) {
            match dialogs.pop_front() {
                Some(Dialog::AddProfile(filled)) => *form = filled,
                other => {
                    *form = before;
                    dialogs.extend(other);
                }
            }
        }
        for dialog in dialogs {
            self.ask_next(dialog);
        }
        if let Some(path) = recording {
            self.note(ctx, &t!("Reading {file}", file = brought::shown(&path)));
            self.files.read_recording(ctx, path);
        }
        match lab {
            Some(lab) if self.dialog.is_none() => self.open_lab(ctx, &lab, Way::Open),
            Some(_) => self.toasts.say(
                ctx.input(|i| i.time),
                theme::Tone::Warn,
                t!("Close the dialog first, then drop the lab again"),
            ),
            None => {}
        }
    }

    /// Asks now, or when what is asked now is answered.
    pub(super) fn ask_next(&mut self, dialog: Dialog) {
        if self.dialog.is_none() {
            self.dialog = Some(dialog);
        } else {
            self.next.push_back(dialog);
        }
    }

    /// These were dropped, and it was found out what they are; so many more were left out.
    #[cfg(test)]
    pub(in crate::gui) fn dropped(&mut self, ctx: &Context, found: Vec<Brought>, left: usize) {
        self.brought(ctx, found, left);
    }

    /// A recording was read.
    #[cfg(test)]
    pub(in crate::gui) fn recorded(&mut self, recording: brought::Recording) {
        self.ask_next(Dialog::Recording(Box::new(recording)));
    }
}
