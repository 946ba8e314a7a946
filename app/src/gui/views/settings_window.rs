//! What a person likes, whatever lab is open: it holds at once and is kept beside the labs.

use bootyard_core::lang::Language;
use eframe::egui::{RichText, Ui};

use super::View;
use super::settings_rows::labelled_ui;
use crate::gui::action::{Action, Liking};
use crate::gui::lang::t;
use crate::gui::prefs::{Prefs, SCALES, Theme};
use crate::gui::theme;

/// The section.
pub(super) fn window_ui(ui: &mut Ui, view: &mut View<'_>, prefs: &Prefs) {
    let weak = theme::palette(ui).weak;
    ui.label(RichText::new(t!("These are yours and not the lab's. They hold at once.")).color(weak));
    ui.add_space(4.0);
    let mut liked = None;
    theme::card_frame(ui).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        labelled_ui(ui, t!("Language"), "", |ui, _| {
            ui.horizontal(|ui| {
                if ui.radio(prefs.language.is_none(), t!("The desktop's language")).clicked() {
                    liked = Some(Liking::Language(None));
                }
                for language in Language::ALL {
                    if ui.radio(prefs.language == Some(language), language.name()).clicked() {
                        liked = Some(Liking::Language(Some(language)));
                    }
                }
            });
        });
        labelled_ui(ui, t!("Theme"), "", |ui, _| {
            ui.horizontal(|ui| {
                for (kind, name) in
                    [(Theme::System, t!("The desktop's theme")), (Theme::Light, t!("Light")), (Theme::Dark, t!("Dark"))]
                {
                    if ui.radio(prefs.theme == kind, name).clicked() {
                        liked = Some(Liking::Theme(kind));
                    }
                }
            });
        });
        labelled_ui(ui, t!("Scale"), t!("Ctrl + and Ctrl - change it, too; Ctrl 0 is 100 %"), |ui, _| {
            ui.horizontal_wrapped(|ui| {
                for scale in SCALES {
                    if ui.radio(prefs.scale == scale, t!("{n} %", n = scale)).clicked() {
                        liked = Some(Liking::Scale(scale));
                    }
                }
            });
        });
        labelled_ui(ui, t!("While the window is hidden"), "", |ui, _| {
            let mut notify = prefs.notify;
            let tip = t!("A machine failed, an import is finished, a whole group is up");
            if ui.checkbox(&mut notify, t!("Tell the desktop what happens")).on_hover_text(tip).changed() {
                liked = Some(Liking::Notify(notify));
            }
        });
    });
    if let Some(liked) = liked {
        view.push(Action::Like(liked));
    }
}
