//! The forms that add a disk or a profile. A file comes by the desktop's dialog, by dropping it, or by its path.

use std::path::{Path, PathBuf};

use bootyard_core::api::{Command, NewDisk, NewProfile, Snapshot};
use bootyard_core::lab::{Name, Writes};
use bootyard_core::lang::said;
use eframe::egui::{Response, RichText, TextEdit, Ui, vec2};

use super::View;
use super::dialogs::{buttons_ui, title_ui};
use crate::gui::action::{Action, DiskForm, PickFor, ProfileForm};
use crate::gui::lang::t;
use crate::gui::say;
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{primary_button_ui, text_field_ui, weak_ui};

/// A name of the lab made of a file's name: `Server 01.qcow2` becomes `server-01`.
pub(crate) fn derived_name(path: &Path) -> String {
    let stem = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem = ["qcow2", "vhdx", "vmdk", "raw", "img", "vhd", "iso"]
        .into_iter()
        .find_map(|e| stem.strip_suffix(e)?.strip_suffix('.'))
        .unwrap_or(&stem);
    let mut name = String::new();
    for c in stem.chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == 63 {
            break;
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// The form of a new disk.
pub(super) fn disk_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut DiskForm) {
    title_ui(ui, t!("Add a disk"));
    ui.horizontal(|ui| {
        ui.radio_value(&mut form.empty, false, t!("Import an image"));
        ui.radio_value(&mut form.empty, true, t!("Make an empty disk"));
    });
    ui.add_space(4.0);
    if form.empty {
        let field = text_field_ui(ui, t!("Size in GiB"), &mut form.gib, "32", 120.0);
        focus_first(ui, &field);
    } else {
        let field = path_ui(ui, view, t!("Image file"), &mut form.path, "/path/to/disk.qcow2", PickFor::Disk);
        focus_first(ui, &field);
        weak_ui(ui, t!("Or drop the file onto this window."));
        if !form.named {
            form.name = derived_name(Path::new(form.path.trim()));
        }
    }
    ui.add_space(4.0);
    if text_field_ui(ui, t!("Name: a-z, 0-9 and -"), &mut form.name, "server01", 300.0).changed() {
        form.named = true;
    }
    ui.add_space(4.0);
    ui.label(RichText::new(t!("What machines write")).color(theme::palette(ui).weak));
    for writes in [Writes::Keep, Writes::Fresh, Writes::Image] {
        ui.horizontal(|ui| {
            ui.radio_value(&mut form.writes, writes, say::writes(writes));
            weak_ui(ui, say::writes_meaning(writes));
        });
    }
    let made = new_disk(form, view.shot);
    end_ui(
        ui,
        view,
        t!("Add disk"),
        false,
        made.map(|disk| {
            let said = t!("Adding disk {name}", name = disk.name);
            (Command::AddDisk(disk), said)
        }),
    );
}

/// The disk of a form, or what is still missing.
fn new_disk(form: &DiskForm, shot: &Snapshot) -> Result<NewDisk, String> {
    let mut disk = NewDisk { name: String::new(), from: None, size: None, writes: form.writes };
    if form.empty {
        let gib: u64 = form.gib.trim().parse().map_err(|_| t!("Say the size in whole GiB").to_owned())?;
        let size = gib.checked_mul(1 << 30).filter(|s| *s > 0 && i64::try_from(*s).is_ok());
        disk.size = Some(size.ok_or(t!("That size can't be made; say a number of GiB above 0"))?);
    } else {
        disk.from = Some(file(&form.path, t!("Choose the image file"))?);
    }
    let taken = shot.disks.iter().any(|d| d.name == form.name.trim());
    disk.name = name(&form.name, taken)?;
    Ok(disk)
}

/// The form of a new profile.
pub(super) fn profile_ui(ui: &mut Ui, view: &mut View<'_>, form: &mut ProfileForm) {
    title_ui(ui, t!("Add a profile"));
    ui.label(t!("Something to install or run: a kernel, its initrds, and answers for its installer."));
    ui.add_space(4.0);
    let field = path_ui(ui, view, t!("Kernel"), &mut form.kernel, "/path/to/linux", PickFor::Kernel);
    focus_first(ui, &field);
    let label = ui.label(RichText::new(t!("Initrds, one a line")).color(theme::palette(ui).weak));
    ui.horizontal_top(|ui| {
        let width = ui.available_width() - 100.0;
        let edit = TextEdit::multiline(&mut form.initrds).hint_text("/path/to/initrd.gz").desired_rows(2);
        ui.add(edit.desired_width(width).margin(vec2(8.0, 5.0))).labelled_by(label.id);
        browse_ui(ui, view, t!("Initrds, one a line"), PickFor::Initrds);
    });
    text_field_ui(ui, t!("Kernel arguments"), &mut form.args, "auto=true priority=critical", f32::INFINITY);
    path_ui(
        ui,
        view,
        t!("Answer file, if there is one"),
        &mut form.answers,
        "/path/to/debian-12.cfg",
        PickFor::Answers,
    );
    if !form.hypervisors.trim().is_empty() {
        let label =
            ui.label(RichText::new(t!("Xen, loaded before the kernel, one a line")).color(theme::palette(ui).weak));
        let edit = TextEdit::multiline(&mut form.hypervisors).desired_rows(1).desired_width(f32::INFINITY);
        ui.add(edit.margin(vec2(8.0, 5.0))).labelled_by(label.id);
    }
    weak_ui(ui, t!("Files may be dropped onto this window, too; they are copied into the lab."));
    if !form.named {
        form.name = profile_name(Path::new(form.kernel.trim()));
    }
    ui.add_space(4.0);
    if text_field_ui(ui, t!("Name: a-z, 0-9 and -"), &mut form.name, "debian-12", 300.0).changed() {
        form.named = true;
    }
    let made = new_profile(form, view.shot);
    end_ui(
        ui,
        view,
        t!("Add profile"),
        false,
        made.map(|profile| {
            let said = t!("Adding profile {name}", name = profile.name);
            (Command::AddProfile(profile), said)
        }),
    );
}

/// A kernel is called `linux` everywhere, so its folder names the profile.
fn profile_name(kernel: &Path) -> String {
    kernel.parent().map(derived_name).unwrap_or_default()
}

/// The profile of a form, or what is still missing.
fn new_profile(form: &ProfileForm, shot: &Snapshot) -> Result<NewProfile, String> {
    let kernel = file(&form.kernel, t!("Choose the kernel"))?;
    let initrds = form.initrds.lines().map(str::trim).filter(|l| !l.is_empty());
    let initrds = initrds.map(|l| file(l, t!("Choose the initrds"))).collect::<Result<Vec<_>, _>>()?;
    let answers =
        if form.answers.trim().is_empty() { None } else { Some(file(&form.answers, t!("Choose the answer file"))?) };
    let xen = form.hypervisors.lines().map(str::trim).filter(|l| !l.is_empty());
    let hypervisors = xen.map(|l| file(l, "")).collect::<Result<Vec<_>, _>>()?;
    let taken = shot.profiles.iter().any(|p| p.name == form.name.trim());
    let args = form.args.trim().to_owned();
    Ok(NewProfile { name: name(&form.name, taken)?, kernel, initrds, args, answers, hypervisors })
}

/// An absolute path. Whether the file is there is the engine's to say: it may run elsewhere, and a frame never waits for a disk.
pub(super) fn file(text: &str, missing: &str) -> Result<PathBuf, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(missing.to_owned());
    }
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(t!("Give {text} as a path from /", text = say::clean_to(text, 60))) }
}

/// A name of the lab that is not taken, or what is wrong with it.
pub(super) fn name(text: &str, taken: bool) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(t!("Give it a name").into());
    }
    if taken {
        return Err(t!("{text} is taken; choose another name", text = say::clean_to(text, 63)));
    }
    text.parse::<Name>().map(|n| n.to_string()).map_err(|e| said(&e.to_string()).into_owned())
}

/// The field of a file, with the button that opens the desktop's dialog. Returns the field.
pub(super) fn path_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    label: &str,
    text: &mut String,
    hint: &str,
    pick: PickFor,
) -> Response {
    let name = ui.label(RichText::new(label).color(theme::palette(ui).weak));
    let row = ui.horizontal(|ui| {
        let width = ui.available_width() - 100.0;
        let edit = TextEdit::singleline(text).hint_text(hint.to_owned()).desired_width(width).margin(vec2(8.0, 5.0));
        let field = ui.add(edit).labelled_by(name.id);
        browse_ui(ui, view, label, pick);
        field
    });
    row.inner
}

/// The first field of a form has the focus where nothing else has it.
fn focus_first(ui: &Ui, field: &Response) {
    if ui.memory(|m| m.focused().is_none()) {
        field.request_focus();
    }
}

fn browse_ui(ui: &mut Ui, view: &mut View<'_>, label: &str, pick: PickFor) -> Response {
    let response = ui.button(t!("Browse…")).accessible_name(t!("Browse for: {label}", label = label));
    if response.clicked() {
        view.push(Action::Pick(pick));
    }
    response
}

/// The row at a form's end: what is still missing, the act, Cancel. `enter` is Enter in a field, which does the act.
pub(super) fn end_ui(
    ui: &mut Ui,
    view: &mut View<'_>,
    act: &str,
    enter: bool,
    made: Result<(Command, String), String>,
) {
    end_with_ui(ui, view, act, enter, made.map(|(command, said)| Action::Send(command, said)));
}

/// The same for any act.
pub(super) fn end_with_ui(ui: &mut Ui, view: &mut View<'_>, act: &str, enter: bool, made: Result<Action, String>) {
    if let Err(problem) = &made {
        ui.add_space(4.0);
        ui.label(RichText::new(problem).color(theme::palette(ui).tone(Tone::Warn)));
    }
    buttons_ui(ui, view, |ui, view| {
        let pressed = primary_button_ui(ui, made.is_ok(), act).clicked() || enter;
        if let (true, Ok(action)) = (pressed, made) {
            view.push(action);
            view.push(Action::CloseDialog);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_file() {
        assert_eq!(derived_name(Path::new("/d/Server 01.qcow2")), "server-01");
        assert_eq!(derived_name(Path::new("/d/debian-12.6-amd64.iso")), "debian-12-6-amd64");
        assert_eq!(derived_name(Path::new("/d/___.img")), "");
        assert_eq!(derived_name(Path::new("")), "");
        assert_eq!(profile_name(Path::new("/m/debian-12/linux")), "debian-12");
        for strange in ["/d/ÄÖ-x-.raw", "/d/-a-.img", &format!("/d/{}.img", "a-".repeat(80))] {
            let name = derived_name(Path::new(strange));
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
    }

    #[test]
    fn a_form_says_what_is_missing_before_it_is_sent() {
        let shot = Snapshot::default();
        let mut form = DiskForm { empty: true, name: "a".into(), ..DiskForm::default() };
        for bad in ["", "x", "0", "-1", "99999999999999999999", "18000000000"] {
            form.gib = bad.into();
            assert!(new_disk(&form, &shot).is_err(), "{bad}");
        }
        form.gib = "32".into();
        assert_eq!(new_disk(&form, &shot).unwrap().size, Some(32 << 30));
        let form = DiskForm { path: "disk.img".into(), name: "a".into(), ..DiskForm::default() };
        assert_eq!(new_disk(&form, &shot).unwrap_err(), "Give disk.img as a path from /");
    }
}
