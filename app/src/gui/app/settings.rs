//! What the settings' screen wants: lab.toml changed by the engine, and what a person likes applied and kept.

use bootyard_core::api::Command;
use bootyard_core::lab::SettingChange;
use eframe::egui::Context;

use super::{Answer, App};
use crate::gui::action::{Dialog, Liking};
use crate::gui::lang::t;

impl App {
    /// Asks what the reader of lab.toml would say to what is typed.
    pub(super) fn ask_settings(&mut self, ctx: &Context) {
        let Some((changes, told)) = self.settings.begin(&self.shot.settings) else { return };
        let handle = self.handle.clone();
        self.on_task(ctx, told, async move { handle.call(Command::Settings { changes, trial: true }).await });
    }

    /// Changes settings; asks first where machines would be erased that nobody has chosen.
    pub(super) fn change_settings(&mut self, ctx: &Context, changes: Vec<SettingChange>, said: String) {
        if changes.iter().any(SettingChange::installs_unknown) {
            self.dialog = Some(Dialog::EraseUnknown { changes, said });
        } else {
            self.change_settings_now(ctx, changes, said);
        }
    }

    /// The same without a question; Undo sends what stands in the file now.
    pub(super) fn change_settings_now(&mut self, ctx: &Context, changes: Vec<SettingChange>, said: String) {
        let back = self.shot.settings.undo(&changes);
        let whole = back.len() == changes.len();
        let undo = (!back.is_empty()).then(|| vec![Command::Settings { changes: back, trial: false }]);
        let said = if whole { said } else { t!("{said}. Undo does not bring back a secret.", said = said) };
        self.send(ctx, vec![Command::Settings { changes, trial: false }], said, undo, false);
    }

    /// Something is liked from now on: applied at once, and kept.
    pub(super) fn like(&mut self, ctx: &Context, liking: Liking) {
        match liking {
            Liking::Language(language) => {
                self.prefs.language = language;
                self.prefs.speak();
            }
            Liking::Theme(theme) => self.prefs.theme = theme,
            Liking::Scale(scale) => self.prefs.scale = scale,
            Liking::Notify(notify) => self.prefs.notify = notify,
        }
        self.prefs.show(ctx);
        let (keep, back, ctx) = (self.keeper.keeps(self.prefs.clone()), self.answered.clone(), ctx.clone());
        self.runtime.spawn_blocking(move || {
            if let Err(error) = keep() {
                let error = t!("What you like could not be kept: {error}", error = error);
                let _window_is_gone = back.send(Answer::failed(error));
                ctx.request_repaint();
            }
        });
    }
}
