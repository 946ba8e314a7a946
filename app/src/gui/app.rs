//! The frame loop. [`App::logic`](eframe::App::logic) takes in what came, [`App::ui`](eframe::App::ui) draws, and what a person
//! wanted is carried out at the frame's end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bootyard_core::api::{Command, EngineHandle, EngineState, HostId, Snapshot, Stage};
use bootyard_core::lab::Boot;
use eframe::egui::{CentralPanel, Context, Panel, Popup, Ui, ViewportCommand};
use jiff::Timestamp;

use super::action::{Action, Dialog, DiskForm, FileKind, PickFor, ProfileForm, Screen, UiCommand, Undo};
use super::disk_ask::DiskAsk;
use super::views::events::Events;
use super::views::hosts::Hosts;
use super::views::serve_form::ServeForm;
use super::views::{View, dialogs, host, images, network, top};
use super::widgets::picker::Picker;
use super::widgets::toast::Toasts;
use super::{say, targets, theme};

/// At most this often a newer snapshot repaints the window.
const FRAME: Duration = Duration::from_millis(100);

/// What came of commands, from the task that waited.
#[derive(Debug)]
struct Answer {
    /// What to say when it went well.
    said: String,
    undo: Option<Undo>,
    error: Option<String>,
    quit: bool,
}

/// The window's state: what a person chose in it, and the way to the engine. Everything else is in the snapshot.
#[derive(Debug)]
pub struct App {
    handle: EngineHandle,
    runtime: tokio::runtime::Handle,
    shot: Arc<Snapshot>,
    gone: Arc<AtomicBool>,
    screen: Screen,
    hosts: Hosts,
    events: Events,
    form: ServeForm,
    dialog: Option<Dialog>,
    toasts: Toasts,
    picker: Picker,
    last_undo: Option<Undo>,
    answered: Sender<Answer>,
    answers: Receiver<Answer>,
    quitting: bool,
    /// The first start's screen stays until something is served: what goes wrong with it is said there.
    first: bool,
}

impl App {
    /// The window's state over an engine. Sets the theme of `ctx`, and repaints it when a snapshot is newer.
    #[must_use]
    pub fn new(ctx: &Context, handle: EngineHandle, runtime: tokio::runtime::Handle) -> Self {
        theme::install(ctx);
        let gone = Arc::new(AtomicBool::new(false));
        let (answered, answers) = channel();
        let app = Self {
            shot: handle.snapshot(),
            gone: gone.clone(),
            screen: Screen::Hosts,
            hosts: Hosts::default(),
            events: Events::default(),
            form: ServeForm::default(),
            dialog: None,
            toasts: Toasts::default(),
            picker: Picker::new(),
            last_undo: None,
            answered,
            answers,
            quitting: false,
            first: false,
            handle,
            runtime,
        };
        let (mut changed, ctx) = (app.handle.changed(), ctx.clone());
        app.runtime.spawn(async move {
            while changed.changed().await.is_ok() {
                ctx.request_repaint();
                tokio::time::sleep(FRAME).await;
            }
            gone.store(true, Ordering::Relaxed);
            ctx.request_repaint();
        });
        app
    }

    fn take_answers(&mut self, ctx: &Context) {
        let now = ctx.input(|i| i.time);
        while let Ok(answer) = self.answers.try_recv() {
            match (answer.error, answer.undo) {
                // Shown where it stays, above the screen.
                (Some(error), _) if matches!(&self.shot.engine, EngineState::Failed { error: e } if *e == error) => {}
                (Some(error), _) => self.toasts.say(now, theme::Tone::Bad, say::sentence(&error)),
                (None, Some(undo)) => {
                    self.toasts.undoable(now, answer.said, undo.clone());
                    self.last_undo = Some(undo);
                }
                (None, None) if answer.quit => {
                    self.quitting = true;
                    ctx.send_viewport_cmd(ViewportCommand::Close);
                }
                (None, None) if answer.said.is_empty() => {}
                (None, None) => self.toasts.say(now, theme::Tone::Good, answer.said),
            }
        }
    }

    fn take_files(&mut self, ctx: &Context) {
        if let Some((what, files)) = self.picker.take() {
            self.picked(what, &files);
        }
        let dropped: Vec<PathBuf> = ctx.input(|i| i.raw.dropped_files.iter().map(|f| f.path().to_path_buf()).collect());
        if !dropped.is_empty() {
            self.dropped(&dropped);
        }
    }

    fn picked(&mut self, what: PickFor, files: &[PathBuf]) {
        let Some(first) = files.first() else { return };
        let text = || first.display().to_string();
        match (what, &mut self.dialog) {
            (PickFor::Disk, Some(Dialog::AddDisk(form))) => form.take(first),
            (PickFor::Kernel, Some(Dialog::AddProfile(form))) => form.kernel = text(),
            (PickFor::Answers, Some(Dialog::AddProfile(form))) => form.answers = text(),
            (PickFor::Initrds, Some(Dialog::AddProfile(form))) => {
                let list: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
                form.initrds = list.join("\n");
            }
            (PickFor::Export, Some(Dialog::Disk(DiskAsk::Export { path, .. }))) => *path = text(),
            // The form was closed meanwhile.
            _ => {}
        }
    }

    fn dropped(&mut self, files: &[PathBuf]) {
        match &mut self.dialog {
            Some(Dialog::AddProfile(form)) => form.take(files),
            Some(Dialog::AddDisk(form)) => files.iter().take(1).for_each(|f| form.take(f)),
            // A question is open; it comes first.
            Some(_) => {}
            None => {
                let boots = files.iter().any(|f| matches!(FileKind::of(f), FileKind::Kernel | FileKind::Initrd));
                self.dialog = files.first().map(|first| {
                    if boots {
                        let mut form = ProfileForm::default();
                        form.take(files);
                        Dialog::AddProfile(form)
                    } else {
                        Dialog::AddDisk(DiskForm::of(first))
                    }
                });
            }
        }
    }

    /// A close asks while machines run from our disks.
    fn guard_close(&mut self, ctx: &Context) {
        if self.quitting || !ctx.input(|i| i.viewport().close_requested()) {
            return;
        }
        let hosts = targets::running_from_disks(&self.shot);
        if !hosts.is_empty() && !self.gone.load(Ordering::Relaxed) {
            ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            self.dialog = Some(Dialog::Close { hosts });
        }
    }

    fn keys(&self, ctx: &Context, out: &mut Vec<Action>) {
        if self.dialog.is_some() || Popup::is_any_open(ctx) {
            return;
        }
        let text = ctx.text_edit_focused();
        // A key with modifiers first: without them it would match, too.
        let mut commands: Vec<_> = UiCommand::ALL.into_iter().filter_map(|c| Some((c, c.shortcut()?))).collect();
        commands.sort_by_key(|(_, s)| s.modifiers.is_none());
        for (command, shortcut) in commands {
            if !(text && command.yields_to_text()) && ctx.input_mut(|i| i.consume_shortcut(&shortcut)) {
                out.push(Action::Run(command));
            }
        }
    }

    fn screen_ui(&mut self, ui: &mut Ui, out: &mut Vec<Action>) {
        let (shot, gone) = (self.shot.clone(), self.gone.load(Ordering::Relaxed));
        let mut view = View { shot: &shot, now: Timestamp::now(), out };
        if network::is_loading(&shot) && !gone {
            CentralPanel::default().frame(theme::screen_frame(ui)).show(ui, network::loading_ui);
            return;
        }
        let running = matches!(shot.engine, EngineState::Running { .. });
        self.first = !running && (self.first || network::is_first_start(&shot));
        if self.first {
            CentralPanel::default()
                .frame(theme::screen_frame(ui))
                .show(ui, |ui| network::first_start_ui(ui, &mut view, &mut self.form, gone));
            return;
        }
        Panel::top("top").frame(theme::bar_frame(ui)).show(ui, |ui| top::top_ui(ui, &mut view, self.screen, gone));
        CentralPanel::default().frame(theme::screen_frame(ui)).show(ui, |ui| {
            top::banners_ui(ui, &mut view, gone);
            if self.screen != Screen::Images {
                top::jobs_ui(ui, &shot);
            }
            match self.screen {
                Screen::Hosts => self.hosts.ui(ui, &mut view),
                Screen::Host(id) => host::host_ui(ui, &mut view, id),
                Screen::Images => images::images_ui(ui, &mut view),
                Screen::Events => self.events.ui(ui, &mut view),
                Screen::Network => network::network_ui(ui, &mut view, &mut self.form),
            }
        });
    }

    /// The machines that a command means: the open one, or the selected ones.
    fn meant(&self) -> Vec<HostId> {
        match self.screen {
            Screen::Host(id) => vec![id],
            Screen::Hosts => self.hosts.choice.selected(&self.shot),
            _ => Vec::new(),
        }
    }

    fn perform(&mut self, ctx: &Context, action: Action) {
        match action {
            Action::Show(screen) => self.screen = screen,
            Action::Ask(dialog) => self.dialog = Some(dialog),
            Action::CloseDialog => self.dialog = None,
            Action::Pick(what) => self.picker.open(ctx, what),
            Action::Send(command, said) => self.send(ctx, vec![command], said, None, false),
            Action::ConfirmAndStart { interface, address, mode } => {
                let confirm = Command::Confirm { interface, address, mode };
                self.send(ctx, vec![confirm, Command::Start], String::new(), None, false);
            }
            Action::Assign(hosts, to) => self.assign(ctx, hosts, to),
            Action::AssignNow(hosts, to) => self.assign_now(ctx, hosts, to),
            Action::Undo(undo) => self.undo(ctx, undo),
            Action::StopNow => self.send(ctx, vec![Command::Stop], "Stopped serving".into(), None, false),
            Action::StopAndQuit => self.send(ctx, vec![Command::Stop], String::new(), None, true),
            Action::KeepServing => ctx.send_viewport_cmd(ViewportCommand::Minimized(true)),
            Action::Run(command) => self.run(ctx, command),
        }
    }

    fn run(&mut self, ctx: &Context, command: UiCommand) {
        let meant = self.meant();
        match command {
            UiCommand::Start if matches!(self.shot.engine, EngineState::Running { .. } | EngineState::Starting) => {}
            UiCommand::Start => self.send(ctx, vec![Command::Start], String::new(), None, false),
            UiCommand::Stop if matches!(self.shot.engine, EngineState::Stopped | EngineState::Failed { .. }) => {}
            UiCommand::Stop => {
                let hosts = targets::running_from_disks(&self.shot);
                if hosts.is_empty() {
                    self.perform(ctx, Action::StopNow);
                } else {
                    self.dialog = Some(Dialog::Stop { hosts });
                }
            }
            UiCommand::ShowHosts => self.screen = Screen::Hosts,
            UiCommand::ShowImages => self.screen = Screen::Images,
            UiCommand::ShowEvents => self.screen = Screen::Events,
            UiCommand::ShowNetwork => self.screen = Screen::Network,
            UiCommand::Find => {
                self.screen = Screen::Hosts;
                self.hosts.find();
            }
            UiCommand::SelectAll => self.hosts.select_all(&self.shot),
            UiCommand::Undo => match self.last_undo.take() {
                Some(undo) => self.undo(ctx, undo),
                None => self.note(ctx, "Nothing to undo"),
            },
            UiCommand::AddDisk => self.dialog = Some(Dialog::AddDisk(DiskForm::default())),
            UiCommand::AddProfile => self.dialog = Some(Dialog::AddProfile(ProfileForm::default())),
            UiCommand::Reload => self.send(ctx, vec![Command::Reload], "lab.toml was read again".into(), None, false),
            UiCommand::Palette => self.dialog = Some(Dialog::Palette { filter: String::new() }),
            _ if meant.is_empty() => self.note(ctx, "Select a machine first"),
            UiCommand::Assign => self.dialog = Some(Dialog::Assign { hosts: meant }),
            UiCommand::AssignLocal => self.assign(ctx, meant, Boot::Local),
            UiCommand::AssignWait => self.assign(ctx, meant, Boot::Wait),
            UiCommand::Forget => self.dialog = Some(Dialog::Forget { hosts: meant, entry: false }),
            UiCommand::Rename => {
                if let [host] = meant.as_slice() {
                    let name = targets::host(&self.shot, *host).and_then(|h| h.name.clone()).unwrap_or_default();
                    self.dialog = Some(Dialog::Rename { host: *host, name });
                } else {
                    self.note(ctx, "Select one machine to rename it");
                }
            }
        }
    }

    fn note(&mut self, ctx: &Context, text: &str) {
        self.toasts.say(ctx.input(|i| i.time), theme::Tone::Quiet, text);
    }

    fn assign(&mut self, ctx: &Context, hosts: Vec<HostId>, to: Boot) {
        if targets::erases(&to) && hosts.len() > 1 {
            self.dialog = Some(Dialog::Install { hosts, to });
        } else {
            self.assign_now(ctx, hosts, to);
        }
    }

    fn assign_now(&mut self, ctx: &Context, hosts: Vec<HostId>, to: Boot) {
        let names = targets::names(&self.shot, &hosts);
        let undo = targets::earlier(&self.shot, &hosts);
        let said = format!("{}: {}", say::names(&names, 3), say::boot(&to));
        self.send(ctx, vec![Command::Assign { hosts, to }], said, Some(undo), false);
    }

    /// Gives back what was; an installation of several machines asks here, too.
    fn undo(&mut self, ctx: &Context, undo: Undo) {
        self.last_undo = None;
        let (ask, now): (Undo, Undo) = undo.into_iter().partition(|(hosts, to)| targets::erases(to) && hosts.len() > 1);
        let count = now.iter().map(|(hosts, _)| hosts.len()).sum();
        let said = format!("Given back to {}", say::count(count, "machine", "machines"));
        let commands: Vec<_> = now.into_iter().map(|(hosts, to)| Command::Assign { hosts, to }).collect();
        if !commands.is_empty() {
            self.send(ctx, commands, said, None, false);
        }
        if let Some((hosts, to)) = ask.into_iter().next() {
            self.dialog = Some(Dialog::Install { hosts, to });
        }
    }

    /// Hands commands to the engine one after the other, on a task: a frame never waits. The first refusal ends it.
    fn send(&self, ctx: &Context, commands: Vec<Command>, said: String, undo: Option<Undo>, quit: bool) {
        let (handle, back, ctx) = (self.handle.clone(), self.answered.clone(), ctx.clone());
        self.runtime.spawn(async move {
            let mut error = None;
            for command in commands {
                if let Err(refused) = handle.call(command).await {
                    error = Some(refused.to_string());
                    break;
                }
            }
            // The window may have closed meanwhile; then nobody reads it.
            let _window_is_gone = back.send(Answer { said, undo, error, quit });
            ctx.request_repaint();
        });
    }

    fn watches_time(&self) -> bool {
        match self.screen {
            Screen::Hosts => self.shot.hosts.iter().any(|h| say::is_active(h.stage)),
            Screen::Host(id) => targets::host(&self.shot, id).is_some_and(|h| h.stage != Stage::Absent),
            _ => false,
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.shot = self.handle.snapshot();
        self.take_answers(ctx);
        self.take_files(ctx);
        self.guard_close(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        let mut out = Vec::new();
        self.keys(&ctx, &mut out);
        self.screen_ui(ui, &mut out);
        if let Some(mut dialog) = self.dialog.take() {
            let shot = self.shot.clone();
            let mut view = View { shot: &shot, now: Timestamp::now(), out: &mut out };
            dialogs::dialog_ui(&ctx, &mut view, &mut dialog);
            self.dialog = Some(dialog);
        }
        self.toasts.show(&ctx, &mut out);
        super::widgets::drop_hint::drop_hint_ui(&ctx);
        if !out.is_empty() {
            ctx.request_repaint();
        }
        for action in out {
            self.perform(&ctx, action);
        }
        if self.watches_time() {
            ctx.request_repaint_after(Duration::from_secs(1));
        }
    }

    fn persist_egui_memory(&self) -> bool {
        false
    }
}
