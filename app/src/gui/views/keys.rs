//! Every key of the window: those of commands, and those that are the table's own.

use eframe::egui::{Grid, RichText, Ui};

use super::View;
use super::dialogs::title_ui;
use crate::gui::action::{Action, Kind, UiCommand};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme;
use crate::gui::widgets::field::{heading_ui, weak_ui};

/// Keys that move in what is shown, and do nothing else.
fn moving() -> [(&'static str, &'static str); 7] {
    [
        (t!("Arrows, Page Up, Page Down, Home, End"), t!("Move the selection")),
        (t!("Shift with them"), t!("Extend the selection")),
        (t!("Left, Right"), t!("Close the section, open it")),
        (t!("Alt with arrows"), t!("Move the machine in the seating plan")),
        (t!("Enter"), t!("Open the machine; in a filter, go into the rows")),
        ("Esc", t!("Close what is open, leave a field, select nothing")),
        (t!("Tab, Shift+Tab"), t!("To the next control, to the one before")),
    ]
}

/// Height of a row, in points: nothing in it is clicked.
const ROW: f32 = 18.0;
/// Width of the keys, so that one list stands below the other.
const KEYS: f32 = 110.0;

/// The list.
pub(super) fn keys_ui(ui: &mut Ui, view: &mut View<'_>) {
    title_ui(ui, t!("Keys"));
    for kind in Kind::ALL {
        heading_ui(ui, kind.text());
        Grid::new(kind.text()).num_columns(2).spacing([24.0, 3.0]).min_row_height(ROW).min_col_width(KEYS).show(
            ui,
            |ui| {
                for command in UiCommand::ALL.into_iter().filter(|c| c.kind() == kind) {
                    let Some(shortcut) = command.shortcut() else { continue };
                    let key = say::shortcut(ui.ctx(), &shortcut);
                    row_ui(ui, &key, command.text().trim_end_matches('…'));
                }
            },
        );
        ui.add_space(theme::GAP);
    }
    heading_ui(ui, t!("Moving"));
    Grid::new("moving").num_columns(2).spacing([24.0, 3.0]).min_row_height(ROW).min_col_width(KEYS).show(ui, |ui| {
        for (key, does) in moving() {
            row_ui(ui, key, does);
        }
    });
    ui.add_space(theme::GAP);
    ui.horizontal(|ui| {
        let close = ui.button(t!("Close")).on_hover_text("Esc");
        if ui.memory(|m| m.focused().is_none()) {
            close.request_focus();
        }
        if close.clicked() {
            view.push(Action::CloseDialog);
        }
        if ui.button(t!("All commands")).clicked() {
            view.push(Action::CloseDialog);
            view.run(UiCommand::Palette);
        }
    });
}

fn row_ui(ui: &mut Ui, key: &str, does: &str) {
    ui.label(RichText::new(key).color(theme::palette(ui).strong));
    weak_ui(ui, does);
    ui.end_row();
}
