//! From one lab to another in the same window.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use bootyard_core::api::{EngineHandle, Snapshot};
use eframe::egui::{Context, ViewportCommand};

use super::App;
use crate::gui::action::Dialog;
use crate::gui::labs::{self, LabForm, Own, Way};
use crate::gui::lang::t;
use crate::gui::prefs::Prefs;
use crate::gui::{targets, theme};

/// On the way to another lab.
#[derive(Debug)]
pub(super) struct Moving {
    to: PathBuf,
    coming: Receiver<Result<EngineHandle, String>>,
}

impl App {
    /// The window that [`crate::gui::run`] opens: over this lab, whose engine is kept in `own` if it is this process's.
    pub(in crate::gui) fn of_lab(
        ctx: &Context,
        handle: EngineHandle,
        runtime: tokio::runtime::Handle,
        prefs: Prefs,
        own: Own,
    ) -> Self {
        let mut app = Self::liked(ctx, handle, runtime, prefs);
        app.own = own;
        app.remember();
        app
    }

    /// A window without a lab, which says why: `why` is about `dir`. Another can be opened in it.
    pub(in crate::gui) fn shut(
        ctx: &Context,
        runtime: tokio::runtime::Handle,
        prefs: Prefs,
        own: Own,
        (dir, why): (PathBuf, String),
    ) -> Self {
        let (handle, _no_engine) = EngineHandle::channel(Snapshot::default());
        let mut app = Self::liked(ctx, handle, runtime, prefs);
        (app.own, app.shut) = (own, Some((dir, why)));
        app
    }

    /// The lab that is open is the first of the recent ones.
    fn remember(&mut self) {
        if self.shot.lab.as_os_str().is_empty() {
            return;
        }
        self.prefs.opened(&self.shot.lab);
        let prefs = self.prefs.clone();
        // Nothing in it is worth telling of a disk that is full.
        self.runtime.spawn_blocking(move || prefs.save());
    }

    /// Asks for a lab's folder.
    pub(super) fn ask_lab(&mut self, way: Way) {
        let form = LabForm { way, path: String::new(), recent: self.recent() };
        self.dialog = Some(Dialog::Lab(form));
    }

    /// The labs opened last, without the one that is open.
    pub(super) fn recent(&self) -> Vec<PathBuf> {
        self.prefs.recent.iter().filter(|lab| **lab != self.shot.lab).cloned().collect()
    }

    /// Goes to another lab; asks first where machines would lose their disks or something is not done, as closing does.
    pub(super) fn open_lab(&mut self, ctx: &Context, to: &Path, way: Way) {
        if to == self.shot.lab {
            self.note(ctx, t!("This lab is open already"));
            return;
        }
        let (hosts, jobs) = (targets::running_from_disks(&self.shot), targets::under_way(&self.shot));
        let free = hosts.is_empty() && jobs.is_empty();
        if self.shut.is_some() || free || labs::is_served_elsewhere(&self.shot) {
            self.open_lab_now(ctx, to.to_owned(), way);
        } else {
            self.dialog = Some(Dialog::Leave { hosts, jobs, to: to.to_owned(), way });
        }
    }

    /// The same without asking again.
    pub(super) fn open_lab_now(&mut self, ctx: &Context, to: PathBuf, way: Way) {
        if self.moving.is_some() {
            return;
        }
        let (told, coming) = channel();
        let (dir, own, ctx) = (to.clone(), self.own.clone(), ctx.clone());
        self.runtime.spawn(async move {
            let _window_is_gone = told.send(labs::move_to(dir, way, own).await);
            ctx.request_repaint();
        });
        self.moving = Some(Moving { to, coming });
        self.dialog = None;
    }

    /// Takes in what came of it.
    pub(super) fn take_lab(&mut self, ctx: &Context) {
        let Some(moving) = &self.moving else { return };
        let moved = match moving.coming.try_recv() {
            Ok(moved) => moved,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(t!("The engine has gone.").to_owned()),
        };
        let Some(Moving { to, .. }) = self.moving.take() else { return };
        match moved {
            Ok(handle) => {
                let mut next = Self::liked(ctx, handle, self.runtime.clone(), self.prefs.clone());
                next.own = self.own.clone();
                // What was done is still said; to take it back would change machines of the new lab that have the same numbers.
                next.toasts = std::mem::take(&mut self.toasts).without_undo();
                next.looks = self.looks;
                *self = next;
                self.remember();
            }
            Err(why) if self.shut.is_some() => self.shut = Some((to, why)),
            Err(why) => self.toasts.say(ctx.input(|i| i.time), theme::Tone::Bad, why),
        }
    }

    /// Where it is going, while it is.
    pub(super) fn moving_to(&self) -> Option<&Path> {
        self.moving.as_ref().map(|moving| moving.to.as_path())
    }

    /// The window is called after its lab.
    pub(super) fn entitle(&mut self, ctx: &Context) {
        if self.entitled.as_ref() == Some(&self.shot.lab) {
            return;
        }
        self.entitled = Some(self.shot.lab.clone());
        let title = match self.shot.lab.as_os_str().is_empty() {
            true => t!("Bootyard").to_owned(),
            false => format!("{} – Bootyard", labs::name(&self.shot.lab)),
        };
        ctx.send_viewport_cmd(ViewportCommand::Title(title));
    }

    /// One that asks nobody's network by itself.
    #[cfg(test)]
    pub(in crate::gui) fn without_looks(mut self) -> Self {
        self.looks = false;
        self
    }

    /// These were opened before.
    #[cfg(test)]
    pub(in crate::gui) fn opened_before(&mut self, labs: &[&str]) {
        self.prefs.recent = labs.iter().map(PathBuf::from).collect();
    }

    /// This lab could not be opened.
    #[cfg(test)]
    pub(in crate::gui) fn shut_out(&mut self, lab: &str, why: &str) {
        self.shut = Some((lab.into(), why.to_owned()));
    }

    /// This was done just now, and this takes it back.
    #[cfg(test)]
    pub(in crate::gui) fn did(&mut self, ctx: &Context, said: &str, undo: crate::gui::action::Undo) {
        self.last_undo = Some(self.toasts.undoable(ctx.input(|i| i.time), said, undo));
    }

    /// The newest of its snapshots.
    #[cfg(test)]
    pub(in crate::gui) fn shot_now(&self) -> std::sync::Arc<Snapshot> {
        self.handle.snapshot()
    }
}
