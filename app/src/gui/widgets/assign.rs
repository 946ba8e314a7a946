//! The list of what a machine can be given, as a menu of one click.

use bootyard_core::api::Snapshot;
use bootyard_core::lab::Boot;
use eframe::egui::containers::menu::{MenuButton, SubMenuButton};
use eframe::egui::{Button, RichText, Ui, vec2};

use super::icon;
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::targets::{self, Target, afterwards, directly_meaning, kernel_of, targets};
use crate::gui::theme;

/// Width of the arrow behind an installer.
const AFTER: f32 = 28.0;

/// A disk on which the machine keeps what it changes, in menus.
pub(crate) fn maintenance() -> &'static str {
    t!("Maintenance: keep what it changes")
}

/// A disk whose kernel the machine starts without its boot loader, in menus and on buttons.
pub(crate) fn directly() -> &'static str {
    t!("Start its kernel directly")
}

/// What was clicked in the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pick {
    /// This.
    Boot(Boot),
    /// The kernel of this disk, which may have to be taken out of it first.
    Directly(String),
}

/// A button named `label` that shows what is assigned (`now` is `None` when it is several things) and opens the list. Returns
/// what was clicked.
pub(crate) fn assign_menu_ui(
    ui: &mut Ui,
    shot: &Snapshot,
    shown: &str,
    now: Option<&Boot>,
    width: f32,
    label: &str,
) -> Option<Pick> {
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
pub(crate) fn assign_list_ui(ui: &mut Ui, shot: &Snapshot, now: Option<&Boot>, keys: bool) -> Option<Pick> {
    let mut chosen = None;
    if !keys {
        ui.set_width(theme::MENU);
    }
    for (at, target) in targets(shot).iter().enumerate() {
        if target.first {
            ui.separator();
        }
        let after = if target.problem.is_some() { Vec::new() } else { variants(shot, &target.boot) };
        if after.is_empty() {
            chosen = target_ui(ui, target, at, now, keys, 0.0).map(Pick::Boot).or(chosen);
        } else {
            ui.horizontal(|ui| {
                chosen = target_ui(ui, target, at, now, keys, AFTER).map(Pick::Boot).or(chosen.take());
                chosen = afterwards_ui(ui, target, &after, shot, now, keys).or(chosen.take());
            });
        }
    }
    chosen
}

/// What an installation may be followed by, and how else a disk may be given; each as its own menu says it.
fn variants(shot: &Snapshot, boot: &Boot) -> Vec<(Pick, String)> {
    let direct = targets::directly(boot).map(|disk| (Pick::Directly(disk), directly().to_owned()));
    let keep = targets::maintenance(shot, boot).map(|b| (Pick::Boot(b), maintenance().to_owned()));
    let then = afterwards(shot, boot).into_iter().map(|b| {
        let text = say::boot(&b);
        (Pick::Boot(b), text)
    });
    direct.into_iter().chain(keep).chain(then).collect()
}

/// Whether this is what the machine gets.
fn is_now(shot: &Snapshot, pick: &Pick, now: Option<&Boot>) -> bool {
    match (pick, now) {
        (Pick::Boot(boot), now) => now == Some(boot),
        (Pick::Directly(disk), Some(Boot::Iscsi(iscsi))) => {
            let of_disk = kernel_of(shot, disk).zip(iscsi.profile.as_ref());
            iscsi.disk.as_str() == disk && of_disk.is_some_and(|(made, given)| made.name == given.as_str())
        }
        _ => false,
    }
}

/// One entry; `spare` is the room to leave at its right.
fn target_ui(ui: &mut Ui, target: &Target, at: usize, now: Option<&Boot>, keys: bool, spare: f32) -> Option<Boot> {
    let p = theme::palette(ui);
    let gap = if spare > 0.0 { ui.spacing().item_spacing.x } else { 0.0 };
    let here = now == Some(&target.boot);
    let size = vec2(ui.available_width() - spare - gap, 26.0);
    let button = Button::selectable(here, say::boot(&target.boot)).min_size(size);
    let key = if keys { shortcut(at, &target.boot) } else { None };
    // The text at the right, even an empty one, keeps the other at the left.
    let right = key.map_or("", |(_, name)| name);
    let button = button.right_text(RichText::new(right).color(p.weak));
    let enabled = target.problem.is_none();
    let response = ui.add_enabled(enabled, button).accessible_name(say::boot(&target.boot));
    let response = response.on_hover_text(say::boot_meaning(&target.boot));
    if let Some(problem) = &target.problem {
        response.clone().on_disabled_hover_text(say::sentence(problem));
    }
    let pressed = enabled && key.is_some_and(|(key, _)| ui.input_mut(|i| i.consume_key(Default::default(), key)));
    (response.clicked() || pressed).then(|| {
        ui.close();
        target.boot.clone()
    })
}

/// What may follow this installation in place of the local disk, or how else this disk may be given.
fn afterwards_ui(
    ui: &mut Ui,
    target: &Target,
    after: &[(Pick, String)],
    shot: &Snapshot,
    now: Option<&Boot>,
    keys: bool,
) -> Option<Pick> {
    let boot = say::boot(&target.boot);
    let label = match target.boot {
        Boot::Iscsi(_) => t!("{boot}, in another way", boot = boot),
        _ => t!("{boot}, then a disk of this lab", boot = boot),
    };
    let mut chosen = None;
    let list = |ui: &mut Ui| {
        for (pick, text) in after {
            let button = Button::selectable(is_now(shot, pick, now), text.as_str()).min_size(vec2(0.0, 26.0));
            let meaning = match pick {
                Pick::Boot(boot) => say::boot_meaning(boot),
                Pick::Directly(disk) => directly_meaning(shot, disk),
            };
            if ui.add(button).on_hover_text(meaning).clicked() {
                chosen = Some(pick.clone());
                ui.close();
            }
        }
    };
    let button = Button::new(SubMenuButton::arrow_atom(None)).min_size(vec2(AFTER, 26.0));
    let response = if keys {
        MenuButton::from_button(button).ui(ui, list).0
    } else {
        SubMenuButton::from_button(button).ui(ui, list).0
    };
    response.accessible_name(&label).on_hover_text(label);
    if chosen.is_some() {
        ui.close();
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
