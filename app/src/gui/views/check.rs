//! What would stop a boot, as the doctor says it: what is wrong with its way out, what is well in one list below.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use bootyard_core::api::{Command, EngineState, HandleError, InterfaceView, JobKind, JobState, Reply};
use bootyard_core::doctor::{Fix, Report, Row, State};
use eframe::egui::{Align, Button, CollapsingHeader, Label, Layout, RichText, Ui};

use super::View;
use crate::gui::action::{Action, UiCommand};
use crate::gui::lang::{count, t};
use crate::gui::say::{clean_to, quoted, sentence};
use crate::gui::theme::{self, Tone};
use crate::gui::widgets::field::{command_button_ui, section_ui, weak_ui};
use crate::gui::widgets::{badge, finding, icon, progress};

/// Longest command that is shown whole, in characters; it is copied whole in any case.
const COMMAND: usize = 600;

type Told = Result<Reply, HandleError>;

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// One that is going on.
    coming: Option<Receiver<Told>>,
    /// It boots a machine that does not exist, too.
    testing: bool,
    report: Option<Report>,
    error: Option<String>,
    /// What the first start's last look was about.
    looked: Option<Option<InterfaceView>>,
    /// Rows of which a person wants to know more, by their ids.
    open: BTreeSet<String>,
}

impl Check {
    /// A new look, with a self-test or without; its outcome goes into the sender. `None` while one is going on.
    pub(crate) fn begin(&mut self, self_test: bool) -> Option<Sender<Told>> {
        if self.coming.is_some() {
            return None;
        }
        let (told, coming) = channel();
        self.coming = Some(coming);
        self.testing = self_test;
        Some(told)
    }

    /// Takes in what came.
    pub(crate) fn take(&mut self) {
        let Some(told) = self.coming.as_ref().and_then(|coming| coming.try_recv().ok()) else { return };
        self.coming = None;
        self.error = None;
        match told {
            Ok(Reply::Doctor { report }) => self.report = Some(report),
            Ok(_) => self.error = Some(t!("The engine is of another version; start it again.").into()),
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Whether the first start should look: at something else than it did last, and not while it looks. It is taken as looked at.
    pub(crate) fn is_due(&mut self, subject: Option<InterfaceView>) -> bool {
        if self.is_looking() || self.looked.as_ref() == Some(&subject) {
            return false;
        }
        self.looked = Some(subject);
        true
    }

    /// Whether a look is going on.
    pub(crate) fn is_looking(&self) -> bool {
        self.coming.is_some()
    }

    /// What was heard of other DHCP servers on this interface.
    pub(super) fn rivals(&self, interface: &str) -> Option<&Row> {
        let mut rows = self.report.iter().flat_map(|report| &report.rows);
        rows.find(|row| row.id.strip_prefix("other-dhcp:") == Some(interface))
    }

    /// How all of it stands, once it is known.
    pub(super) fn summary(&self) -> Option<(Tone, String)> {
        let report = self.report.as_ref().filter(|_| !self.is_looking())?;
        let count = |wanted: Tone| report.rows.iter().filter(|row| tone(&row.state) == wanted).count();
        Some(match (count(Tone::Bad), count(Tone::Warn)) {
            (0, 0) => (Tone::Good, t!("Nothing would stop a boot").to_owned()),
            (0, warn) => (Tone::Warn, count!(warn, "{n} thing to look at", "{n} things to look at")),
            (bad, _) => (Tone::Bad, count!(bad, "{n} thing would stop a boot", "{n} things would stop a boot")),
        })
    }

    /// The same in little room: a line for each thing that is wrong, the rest as ticks.
    pub(crate) fn compact_ui(&mut self, ui: &mut Ui, view: &mut View<'_>) {
        ui.horizontal(|ui| {
            ui.label(RichText::new(t!("Check")).color(theme::palette(ui).weak));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if self.is_looking() {
                    let doing = t!("Looking at cable, ports, firewall, boot files and space");
                    progress::busy_ui(ui, theme::ICON, doing);
                    weak_ui(ui, doing);
                } else if command_button_ui(ui, UiCommand::Check).clicked() {
                    view.push(Action::Look(None));
                }
            });
        });
        if let Some(error) = &self.error {
            finding::callout_ui(ui, Tone::Bad, error, |_| {});
        }
        let rows = self.report.take();
        for state in [Tone::Bad, Tone::Warn, Tone::Quiet] {
            for row in rows.iter().flat_map(|r| &r.rows).filter(|row| !row.is_ok() && tone(&row.state) == state) {
                self.line_ui(ui, view, row);
            }
        }
        ticks_ui(ui, rows.iter().flat_map(|r| &r.rows).filter(|row| row.is_ok()));
        self.report = rows;
    }

    /// One thing in one line: how it stands, its button; the rest when that is wanted.
    fn line_ui(&mut self, ui: &mut Ui, view: &mut View<'_>, row: &Row) {
        let open = self.open.contains(&row.id);
        let seen = sentence(&row.seen);
        ui.horizontal(|ui| {
            icon::tone_ui(ui, tone(&row.state));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if let Some((act, does)) = row.fix.as_ref().and_then(|fix| Some((fix.act.as_ref()?, &fix.does))) {
                    let button = ui.add_enabled(!self.is_looking(), Button::new(quoted(does, 80)));
                    if button.on_hover_text(t!("Does it, then checks again")).clicked() {
                        view.push(Action::Look(Some(act.clone())));
                    }
                }
                let word = if open { t!("Less") } else { t!("How to mend") };
                if ui.button(word).accessible_name(format!("{word}: {seen}")).clicked() {
                    if open {
                        self.open.remove(&row.id);
                    } else {
                        self.open.insert(row.id.clone());
                    }
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    let text = RichText::new(&seen).color(theme::palette(ui).strong);
                    ui.add(Label::new(text).truncate()).on_hover_text(&seen);
                });
            });
        });
        if open {
            ui.indent(("more", &row.id), |ui| {
                ui.add(Label::new(&seen).wrap());
                self.more_ui(ui, view, row);
            });
        }
    }

    /// The section.
    pub(crate) fn ui(&self, ui: &mut Ui, view: &mut View<'_>) {
        section_ui(ui, t!("Check"));
        ui.horizontal(|ui| {
            if self.coming.is_some() && self.testing {
                testing_ui(ui, view);
            } else if self.coming.is_some() {
                let doing = t!("Looking at cable, ports, firewall, boot files and space");
                progress::busy_ui(ui, theme::ICON, doing);
                ui.label(doing);
            } else {
                if command_button_ui(ui, UiCommand::Check).clicked() {
                    view.push(Action::Look(None));
                }
                let serves = matches!(view.shot.engine, EngineState::Running { .. });
                let test = ui.add_enabled_ui(serves, |ui| command_button_ui(ui, UiCommand::SelfTest)).inner;
                if test.on_disabled_hover_text(t!("The servers must run for it: press Start first")).clicked() {
                    view.push(Action::SelfTest);
                }
                match &self.report {
                    Some(report) => summary_ui(ui, report),
                    None => {
                        weak_ui(ui, t!("Looks for what would stop a boot, before the first machine is switched on"));
                    }
                }
            }
        });
        if let Some(error) = &self.error {
            finding::callout_ui(ui, Tone::Bad, error, |_| {});
        }
        let Some(report) = &self.report else { return };
        for state in [Tone::Bad, Tone::Warn, Tone::Quiet] {
            for row in report.rows.iter().filter(|row| !row.is_ok() && tone(&row.state) == state) {
                ui.add_space(4.0);
                self.row_ui(ui, view, row);
            }
        }
        let fine: Vec<&Row> = report.rows.iter().filter(|row| row.is_ok()).collect();
        if !fine.is_empty() {
            // What a self-test booted is what it was asked for: it stands in the open.
            let (booted, fine): (Vec<&Row>, Vec<&Row>) = fine.into_iter().partition(|row| is_of_self_test(row));
            for row in booted {
                ui.horizontal(|ui| {
                    icon::tone_ui(ui, Tone::Good);
                    ui.add(Label::new(sentence(&row.seen)).wrap());
                });
            }
            if !fine.is_empty() {
                let title = count!(fine.len(), "{n} check is fine", "{n} checks are fine");
                CollapsingHeader::new(title).id_salt("fine").show(ui, |ui| {
                    for row in fine {
                        ui.add(Label::new(sentence(&row.seen)).wrap());
                    }
                });
            }
        }
    }

    fn row_ui(&self, ui: &mut Ui, view: &mut View<'_>, row: &Row) {
        finding::callout_ui(ui, tone(&row.state), &row.seen, |ui| self.more_ui(ui, view, row));
    }

    /// What a row means, and what mends it.
    fn more_ui(&self, ui: &mut Ui, view: &mut View<'_>, row: &Row) {
        for text in [&row.means, &row.remedy].into_iter().filter(|t| !t.is_empty()) {
            ui.add(Label::new(sentence(text)).wrap());
        }
        if let State::Unsupported(why) = &row.state {
            ui.label(sentence(why));
        }
        if let Some(fix) = &row.fix {
            self.fix_ui(ui, view, fix);
        }
    }

    fn fix_ui(&self, ui: &mut Ui, view: &mut View<'_>, fix: &Fix) {
        ui.add_space(2.0);
        if let Some(act) = &fix.act {
            let button = ui.add_enabled(self.coming.is_none(), Button::new(quoted(&fix.does, 80)));
            if button.on_hover_text(t!("Does it, then checks again")).clicked() {
                view.push(Action::Look(Some(act.clone())));
            }
        }
        for (command, name, copy) in [
            (&fix.command, t!("Run this to mend it"), t!("Copy command")),
            (&fix.undo, t!("And this takes it back"), t!("Copy the way back")),
        ] {
            let Some(command) = command else { continue };
            ui.horizontal_wrapped(|ui| {
                let text = RichText::new(clean_to(command, COMMAND)).monospace();
                ui.add(Label::new(text).wrap().selectable(true)).on_hover_text(name);
                let button = ui.button(copy).accessible_name(format!("{copy}: {}", clean_to(command, COMMAND)));
                if button.on_hover_text(name).clicked() {
                    ui.ctx().copy_text(command.clone());
                }
            });
        }
    }
}

/// What is as it should be, by what was looked at: a tick each, the sentences under the pointer.
fn ticks_ui<'a>(ui: &mut Ui, rows: impl Iterator<Item = &'a Row>) {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows {
        let check = row.id.split(':').next().unwrap_or_default();
        match groups.iter_mut().find(|(name, _)| *name == check) {
            Some((_, seen)) => seen.push(sentence(&row.seen)),
            None => groups.push((check, vec![sentence(&row.seen)])),
        }
    }
    ui.horizontal_wrapped(|ui| {
        for (check, seen) in groups {
            badge::badge_ui(ui, Tone::Good, named(check), &seen.join("\n"));
            ui.add_space(4.0);
        }
    });
}

/// What a check looks at, in a word.
fn named(check: &str) -> &'static str {
    match check {
        "lab" => "lab.toml",
        "folder" => t!("Folders"),
        "privileges" => t!("Privileges"),
        "link" => t!("Link"),
        "address" => t!("Address"),
        "other-dhcp" => t!("DHCP servers"),
        "port" => t!("Ports"),
        "firewall" => t!("Firewall"),
        "kernel" => t!("Kernel settings"),
        "reachable" => t!("Reachable"),
        "firmware" => t!("Boot files"),
        "profile" => t!("Profiles"),
        "image" => t!("Images"),
        "space" => t!("Free space"),
        "lab-db" => "lab.db",
        "clock" => t!("Clock"),
        "sleep" => t!("Sleep"),
        _ => t!("More"),
    }
}

fn is_of_self_test(row: &Row) -> bool {
    row.id.starts_with("self-test")
}

/// How far a self-test is, by the job that tells it.
fn testing_ui(ui: &mut Ui, view: &mut View<'_>) {
    progress::busy_ui(ui, theme::ICON, t!("Booting a machine that does not exist"));
    ui.label(t!("Booting a machine that does not exist"));
    let job = view.shot.jobs.iter().find(|j| j.kind == JobKind::SelfTest && j.state == JobState::Running);
    let Some(job) = job else { return };
    let (done, total) = (job.progress.done, job.progress.total);
    if total > 0 {
        weak_ui(ui, t!("{done} of {total} tried", done = done, total = total));
    }
    if ui
        .button(t!("Cancel"))
        .accessible_name(t!("Cancel the self-test"))
        .on_hover_text(t!("What it has found is shown"))
        .clicked()
    {
        view.send(Command::CancelJob { job: job.id }, "");
    }
}

fn tone(state: &State) -> Tone {
    match state {
        State::Ok => Tone::Good,
        State::Warning => Tone::Warn,
        State::Failed => Tone::Bad,
        State::Unknown | State::Unsupported(_) => Tone::Quiet,
    }
}

fn summary_ui(ui: &mut Ui, report: &Report) {
    let count = |wanted: Tone| report.rows.iter().filter(|row| tone(&row.state) == wanted).count();
    let (bad, warn) = (count(Tone::Bad), count(Tone::Warn));
    if bad > 0 {
        let text = count!(bad, "{n} thing would stop a boot", "{n} things would stop a boot");
        badge::badge_ui(ui, Tone::Bad, &text, "");
    }
    if warn > 0 {
        badge::badge_ui(ui, Tone::Warn, &count!(warn, "{n} thing to look at", "{n} things to look at"), "");
    }
    if bad + warn == 0 {
        badge::badge_ui(ui, Tone::Good, t!("Nothing would stop a boot"), "");
    }
}
