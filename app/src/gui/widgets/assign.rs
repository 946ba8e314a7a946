//! The list of what a machine can be given, as a menu of one click.

use bootyard_core::api::Snapshot;
use bootyard_core::lab::Boot;
use eframe::egui::containers::menu::MenuButton;
use eframe::egui::{Button, RichText, Ui, vec2};

use super::icon;
use crate::gui::say;
use crate::gui::targets::targets;
use crate::gui::theme;

/// A button named `label` that shows what is assigned (`now` is `None` when it is several things) and opens the list. Returns
/// what was clicked.
pub(crate) fn assign_menu_ui(
    ui: &mut Ui,
    shot: &Snapshot,
    shown: &str,
    now: Option<&Boot>,
    width: f32,
    label: &str,
) -> Option<Boot> {
    let p = theme::palette(ui);
    let size = vec2(width.max(60.0), 24.0);
    let (response, inner) = ui
        .allocate_ui(size, |ui| {
            ui.set_max_width(size.x);
            // The caret is painted over the button's right end, so the text is given less room than the button.
            let button = Button::new(RichText::new(shown)).right_text("  ").truncate().min_size(size);
            MenuButton::from_button(button).ui(ui, |ui| assign_list_ui(ui, shot, now, false))
        })
        .inner;
    icon::paint_caret(ui.painter(), response.rect.right_center() - vec2(12.0, 0.0), p.weak);
    let response = response.accessible_name(label);
    if let Some(boot) = now {
        response.on_hover_text(say::boot_meaning(boot));
    }
    inner.and_then(|i| i.inner)
}

/// The list itself. With `keys`, digits choose the first nine.
pub(crate) fn assign_list_ui(ui: &mut Ui, shot: &Snapshot, now: Option<&Boot>, keys: bool) -> Option<Boot> {
    let p = theme::palette(ui);
    let mut chosen = None;
    if !keys {
        ui.set_width(theme::MENU);
    }
    for (at, target) in targets(shot).iter().enumerate() {
        if target.first {
            ui.separator();
        }
        let here = now == Some(&target.boot);
        let mut button = Button::selectable(here, say::boot(&target.boot)).min_size(vec2(ui.available_width(), 26.0));
        let key = if keys { shortcut(at, &target.boot) } else { None };
        if let Some((_, name)) = key {
            button = button.shortcut_text(RichText::new(name).color(p.weak));
        }
        let enabled = target.problem.is_none();
        let response = ui.add_enabled(enabled, button).on_hover_text(say::boot_meaning(&target.boot));
        if let Some(problem) = &target.problem {
            response.clone().on_disabled_hover_text(say::clean_to(problem, 300));
        }
        let pressed = enabled && key.is_some_and(|(key, _)| ui.input_mut(|i| i.consume_key(Default::default(), key)));
        if response.clicked() || pressed {
            chosen = Some(target.boot.clone());
            ui.close();
        }
    }
    chosen
}

fn shortcut(at: usize, boot: &Boot) -> Option<(eframe::egui::Key, &'static str)> {
    use eframe::egui::Key;
    const DIGITS: [(Key, &str); 9] = [
        (Key::Num1, "1"),
        (Key::Num2, "2"),
        (Key::Num3, "3"),
        (Key::Num4, "4"),
        (Key::Num5, "5"),
        (Key::Num6, "6"),
        (Key::Num7, "7"),
        (Key::Num8, "8"),
        (Key::Num9, "9"),
    ];
    match boot {
        Boot::Local => Some((Key::L, "L")),
        Boot::Wait => Some((Key::W, "W")),
        Boot::Menu => Some((Key::M, "M")),
        Boot::Ignore => Some((Key::I, "I")),
        _ => DIGITS.get(at).copied(),
    }
}
