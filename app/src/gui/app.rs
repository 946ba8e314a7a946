//! The frame loop. [`App::logic`](eframe::App::logic) takes in what came, [`App::ui`](eframe::App::ui) draws, and what a person
//! wanted is carried out at the frame's end.

mod files;
mod labs;
mod undo;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bootyard_core::api::{Command, EngineHandle, EngineState, HostId, Reply, Snapshot, Stage};
use bootyard_core::doctor::Act;
use bootyard_core::lab::{Boot, SettingChange};
use eframe::egui::{CentralPanel, Context, Key, Modifiers, Panel, Popup, Ui, ViewportCommand};

use self::labs::Moving;
use super::action::{Action, Back, Dialog, DiskForm, ProfileForm, Screen, UiCommand, Undo};
use super::brought::Files;
use super::desktop::{Follower, Telling};
use super::labs::{Own, Way, is_served_elsewhere};
use super::lang::t;
use super::packets::Kept;
use super::prefs::{Keeper, Prefs};
use super::save::Save;
use super::views::boots::Boots;
use super::views::chain::{Chain, question_of};
use super::views::check::Check;
use super::views::events::Events;
use super::views::hosts::Hosts;
use super::views::packets::Packets;
use super::views::serve_form::ServeForm;
use super::views::settings::SettingsForm;
use super::views::{View, brought, dialogs, first, host, images, labs as lab_views, network, top};
use super::widgets::picker::Picker;
use super::widgets::toast::Toasts;
use super::{clock, notice, say, targets, theme};

mod settings;

/// At most this often a newer snapshot repaints the window.
const FRAME: Duration = Duration::from_millis(100);

/// What came of commands, from the task that waited.
#[derive(Debug, Default)]
struct Answer {
    /// What to say when it went well.
    said: String,
    undo: Option<Undo>,
    error: Option<String>,
    quit: bool,
    /// It changed something without a way back: Undo would take back something earlier, which nobody means by it then.
    ends_undo: bool,
    /// Settings that were written.
    written: Vec<SettingChange>,
}

impl Answer {
    /// What went wrong, and nothing else.
    fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

/// The window's state: what a person chose in it, and the way to the engine. Everything else is in the snapshot.
#[derive(Debug)]
pub struct App {
    handle: EngineHandle,
    runtime: tokio::runtime::Handle,
    shot: Arc<Snapshot>,
    /// Counts the snapshots: the last event's number does not tell all of them apart.
    number: u64,
    gone: Arc<AtomicBool>,
    screen: Screen,
    hosts: Hosts,
    events: Events,
    packets: Packets,
    chain: Chain,
    boots: Boots,
    form: ServeForm,
    check: Check,
    settings: SettingsForm,
    dialog: Option<Dialog>,
    toasts: Toasts,
    picker: Picker,
    last_undo: Option<Back>,
    answered: Sender<Answer>,
    answers: Receiver<Answer>,
    quitting: bool,
    /// The first start's screen stays until something is served: what goes wrong with it is said there.
    first: bool,
    /// What a person likes, whatever lab is open.
    prefs: Prefs,
    keeper: Keeper,
    /// What the desktop is told while nobody sees the window, and who tells it.
    telling: Arc<Telling>,
    _follower: Follower,
    /// The engine, where it is this process's own.
    own: Own,
    /// On the way to another lab.
    moving: Option<Moving>,
    /// No lab is open: which could not be, and why.
    shut: Option<(PathBuf, String)>,
    /// The lab that the window's title names.
    entitled: Option<PathBuf>,
    /// Files that hover or were dropped.
    files: Files,
    /// Dialogs that follow when this one is closed.
    next: VecDeque<Dialog>,
    /// The first start looks by itself for what would stop a boot.
    looks: bool,
}

impl App {
    /// The window's state over an engine. Sets the theme of `ctx`, and repaints it when a snapshot is newer.
    #[must_use]
    pub fn new(ctx: &Context, handle: EngineHandle, runtime: tokio::runtime::Handle) -> Self {
        Self::liked(ctx, handle, runtime, Prefs::default())
    }

    /// The same as a person likes it.
    pub(super) fn liked(ctx: &Context, handle: EngineHandle, runtime: tokio::runtime::Handle, prefs: Prefs) -> Self {
        theme::install(ctx);
        prefs.show(ctx);
        // The scale is kept, so its keys are commands like all others.
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        let gone = Arc::new(AtomicBool::new(false));
        let (answered, answers) = channel();
        let telling = Arc::new(Telling::default());
        let app = Self {
            shot: handle.snapshot(),
            number: 0,
            gone: gone.clone(),
            screen: Screen::Hosts,
            hosts: Hosts::default(),
            events: Events::default(),
            packets: Packets::default(),
            chain: Chain::default(),
            boots: Boots::default(),
            form: ServeForm::default(),
            check: Check::default(),
            settings: SettingsForm::default(),
            dialog: None,
            toasts: Toasts::default(),
            picker: Picker::new(),
            last_undo: None,
            answered,
            answers,
            quitting: false,
            first: false,
            prefs,
            keeper: Keeper::default(),
            _follower: Follower::start(&runtime, handle.clone(), telling.clone()),
            telling,
            own: Own::default(),
            moving: None,
            shut: None,
            entitled: None,
            files: Files::default(),
            next: VecDeque::new(),
            looks: true,
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
            self.settings.written(&answer.written);
            if answer.ends_undo && answer.error.is_none() {
                self.last_undo = None;
            }
            match (answer.error, answer.undo) {
                // Shown where it stays, above the screen.
                (Some(error), _) if matches!(&self.shot.engine, EngineState::Failed { error: e } if *e == error) => {}
                (Some(error), _) => self.toasts.say(now, theme::Tone::Bad, say::sentence(&error)),
                (None, Some(undo)) => self.last_undo = Some(self.toasts.undoable(now, answer.said, undo)),
                (None, None) if answer.quit => {
                    self.quitting = true;
                    ctx.send_viewport_cmd(ViewportCommand::Close);
                }
                (None, None) if answer.said.is_empty() => {}
                (None, None) => self.toasts.say(now, theme::Tone::Good, answer.said),
            }
        }
    }

    /// A close asks while machines run from our disks.
    fn guard_close(&mut self, ctx: &Context) {
        if self.quitting || !ctx.input(|i| i.viewport().close_requested()) {
            return;
        }
        let (hosts, jobs) = (targets::running_from_disks(&self.shot), targets::under_way(&self.shot));
        let costs = !hosts.is_empty() || !jobs.is_empty();
        // Another process goes on with all of it.
        if costs && !is_served_elsewhere(&self.shot) && !self.gone.load(Ordering::Relaxed) {
            ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            self.dialog = Some(Dialog::Close { hosts, jobs });
        }
    }

    fn keys(&self, ctx: &Context, out: &mut Vec<Action>) {
        if self.dialog.is_some() || self.moving.is_some() || Popup::is_any_open(ctx) {
            return;
        }
        let text = ctx.text_edit_focused();
        // A key with modifiers first: without them it would match, too.
        let mut commands: Vec<_> = UiCommand::ALL.into_iter().filter_map(|c| Some((c, c.shortcut()?))).collect();
        commands.sort_by_key(|(_, s)| s.modifiers.is_none());
        // Where plus needs Shift, the key without it is meant as well.
        if ctx.input_mut(|i| i.consume_key(Modifiers::COMMAND, Key::Equals)) {
            out.push(Action::Run(UiCommand::Larger));
        }
        for (command, shortcut) in commands {
            if !(text && command.yields_to_text()) && ctx.input_mut(|i| i.consume_shortcut(&shortcut)) {
                out.push(Action::Run(command));
            }
        }
    }

    fn screen_ui(&mut self, ui: &mut Ui, out: &mut Vec<Action>) {
        let (shot, gone) = (self.shot.clone(), self.gone.load(Ordering::Relaxed));
        let mut view = View { shot: &shot, number: self.number, now: clock::now(), out };
        if let Some(to) = self.moving_to() {
            CentralPanel::default().frame(theme::screen_frame(ui)).show(ui, |ui| lab_views::moving_ui(ui, to));
            return;
        }
        let recent = self.recent();
        if let Some(shut) = &self.shut {
            CentralPanel::default()
                .frame(theme::screen_frame(ui))
                .show(ui, |ui| lab_views::shut_ui(ui, &mut view, shut, &recent));
            return;
        }
        if network::is_loading(&shot) && !gone {
            CentralPanel::default().frame(theme::screen_frame(ui)).show(ui, network::loading_ui);
            return;
        }
        let running = matches!(shot.engine, EngineState::Running { .. });
        self.first = !running && (self.first || network::is_first_start(&shot));
        if self.first && self.screen != Screen::Settings {
            first::first_start_ui(ui, &mut view, &mut self.form, &mut self.check, gone, &recent);
            return;
        }
        Panel::top("top")
            .frame(theme::bar_frame(ui))
            .show(ui, |ui| top::top_ui(ui, &mut view, self.screen, gone, &recent));
        CentralPanel::default().frame(theme::screen_frame(ui)).show(ui, |ui| {
            lab_views::elsewhere_ui(ui, &view);
            top::banners_ui(ui, &mut view, gone);
            if self.screen != Screen::Images {
                top::jobs_ui(ui, &shot);
            }
            match self.screen {
                Screen::Hosts => self.hosts.ui(ui, &mut view),
                Screen::Host(id) => {
                    let (packets, chain) = (&mut self.packets, &mut self.chain);
                    host::host_ui(ui, &mut view, id, host::Panes { packets, chain, boots: &self.boots });
                }
                Screen::Chain => self.chain.ui(ui, &mut view),
                Screen::Images => images::images_ui(ui, &mut view),
                Screen::Events => self.events.ui(ui, &mut view),
                Screen::Network => network::network_ui(ui, &mut view, &mut self.form, &self.check),
                Screen::Settings => self.settings.ui(ui, &mut view, &self.prefs),
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
            Action::CloseDialog => self.dialog = self.next.pop_front(),
            Action::Pick(what) => self.picker.open(ctx, what),
            Action::SendAll(commands, said, undo) => {
                self.send(ctx, commands, said, Some(undo).filter(|undo| !undo.is_empty()), false);
            }
            Action::Send(command, said) => self.send(ctx, vec![command], said, None, false),
            Action::ConfirmAndStart { interface, address, mode } => {
                let confirm = Command::Confirm { interface, address, mode };
                self.send(ctx, vec![confirm, Command::Start], String::new(), None, false);
            }
            Action::Assign(hosts, to) => self.assign(ctx, hosts, to),
            Action::AssignNow(hosts, to) => self.assign_now(ctx, hosts, to),
            Action::StartDirectly(hosts, disk) => self.start_directly(ctx, hosts, disk),
            Action::Undo(back) => self.undo(ctx, back, false),
            Action::StopNow => self.send(ctx, vec![Command::Stop], t!("Stopped serving").into(), None, false),
            Action::StopAndQuit => self.send(ctx, vec![Command::Stop], String::new(), None, true),
            Action::KeepServing => ctx.send_viewport_cmd(ViewportCommand::Minimized(true)),
            Action::Look(first) => self.look(ctx, first, false),
            Action::SelfTest => self.look(ctx, None, true),
            Action::Save(save) => self.save(ctx, save),
            Action::Settings(changes, said) => self.change_settings(ctx, changes, said),
            Action::SettingsNow(changes, said) => self.change_settings_now(ctx, changes, said),
            Action::Like(liking) => self.like(ctx, liking),
            Action::OpenLab(to, way) => self.open_lab(ctx, &to, way),
            Action::OpenLabNow(to, way) => self.open_lab_now(ctx, to, way),
            Action::Bring(files) => self.files.bring(ctx, files),
            Action::Run(command) => self.run(ctx, command),
        }
    }

    fn run(&mut self, ctx: &Context, command: UiCommand) {
        let meant = self.meant();
        if self.shut.is_some() && !command.needs_no_lab() {
            self.note(ctx, t!("Open a lab first"));
            return;
        }
        if let Some(why) = command.why_not(&self.shot, &meant) {
            self.note(ctx, why);
            return;
        }
        match command {
            UiCommand::Start => self.send(ctx, vec![Command::Start], String::new(), None, false),
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
            UiCommand::ShowSettings => self.screen = Screen::Settings,
            UiCommand::Larger
            | UiCommand::Smaller
            | UiCommand::ActualSize
            | UiCommand::Light
            | UiCommand::Dark
            | UiCommand::SystemTheme
            | UiCommand::English
            | UiCommand::German
            | UiCommand::SystemLanguage => {
                if let Some(liking) = command.liking(&self.prefs) {
                    self.like(ctx, liking);
                }
            }
            UiCommand::Check => {
                self.screen = Screen::Network;
                self.look(ctx, None, false);
            }
            UiCommand::SelfTest => {
                self.screen = Screen::Network;
                self.look(ctx, None, true);
            }
            UiCommand::Find => {
                self.screen = Screen::Hosts;
                self.hosts.find();
            }
            UiCommand::SeatingPlan => {
                self.screen = Screen::Hosts;
                self.hosts.toggle_plan();
            }
            UiCommand::SelectAll => self.hosts.select_all(&self.shot),
            UiCommand::Undo => match self.last_undo.take() {
                Some(back) => {
                    self.toasts.undone(&back);
                    self.undo(ctx, back, true);
                }
                None => self.note(ctx, t!("Nothing to undo")),
            },
            UiCommand::AddDisk => self.dialog = Some(Dialog::AddDisk(DiskForm::default())),
            UiCommand::AddProfile => self.dialog = Some(Dialog::AddProfile(ProfileForm::default())),
            UiCommand::Reload => {
                self.send(ctx, vec![Command::Reload], t!("lab.toml was read again").into(), None, false);
            }
            UiCommand::AddFiles => self.dialog = Some(Dialog::AddFiles { paths: String::new() }),
            UiCommand::OpenLab => self.ask_lab(Way::Open),
            UiCommand::NewLab => self.ask_lab(Way::New),
            UiCommand::Palette => {
                self.dialog = Some(Dialog::Palette { filter: String::new(), meant, recent: self.recent() });
            }
            UiCommand::Keys => self.dialog = Some(Dialog::Keys),
            UiCommand::Assign => self.dialog = Some(Dialog::Assign { hosts: meant }),
            UiCommand::AssignLocal => self.assign(ctx, meant, Boot::Local),
            UiCommand::AssignWait => self.assign(ctx, meant, Boot::Wait),
            UiCommand::Packets => match (self.screen, meant.as_slice()) {
                (Screen::Host(_), _) => self.packets.toggle(),
                (_, [one]) => {
                    self.screen = Screen::Host(*one);
                    self.packets.show();
                }
                _ => self.note(ctx, t!("Select one machine to see its packets")),
            },
            UiCommand::Explain => {
                let host = meant.first().and_then(|id| targets::host(&self.shot, *id));
                self.chain.about(host, self.screen);
                self.screen = Screen::Chain;
            }
            UiCommand::MachineSettings => {
                if let [host] = meant.as_slice() {
                    self.settings.about(*host);
                    self.screen = Screen::Settings;
                }
            }
            UiCommand::Wake => self.wake(ctx, meant),
            UiCommand::ResetDisks => self.dialog = Some(Dialog::ResetDisks { hosts: meant }),
            UiCommand::Forget => self.dialog = Some(Dialog::Forget { hosts: meant, entry: false }),
            UiCommand::Group => {
                let name = targets::same(&self.shot, &meant, |h| h.group.clone()).flatten().unwrap_or_default();
                self.dialog = Some(Dialog::Group { hosts: meant, name });
            }
            UiCommand::Rename => {
                if let [host] = meant.as_slice() {
                    let name = targets::host(&self.shot, *host).and_then(|h| h.name.clone()).unwrap_or_default();
                    self.dialog = Some(Dialog::Rename { host: *host, name });
                }
            }
        }
    }

    fn note(&mut self, ctx: &Context, text: &str) {
        self.toasts.say(ctx.input(|i| i.time), theme::Tone::Quiet, text);
    }

    fn assign(&mut self, ctx: &Context, hosts: Vec<HostId>, to: Boot) {
        if targets::erases(&to) && hosts.len() > 1 {
            self.dialog = Some(Dialog::Install { hosts, to, as_unknown: false });
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

    /// The engine takes the kernel out first where it must; then there is nothing to be undone yet.
    fn start_directly(&mut self, ctx: &Context, hosts: Vec<HostId>, disk: String) {
        let names = say::names(&targets::names(&self.shot, &hosts), 3);
        let undo = targets::earlier(&self.shot, &hosts);
        let (handle, back, ctx) = (self.handle.clone(), self.answered.clone(), ctx.clone());
        let command = Command::StartDirectly { hosts, disk: disk.clone() };
        self.telling.sent(&command);
        self.runtime.spawn(async move {
            let answer = match handle.call(command).await {
                Ok(Reply::Job { .. }) => Answer {
                    said: t!(
                        "The kernel of {disk} is taken out first; then {names} gets it",
                        disk = disk,
                        names = names
                    ),
                    ends_undo: true,
                    ..Answer::default()
                },
                Ok(_) => Answer {
                    said: t!("{names}: the kernel of {disk} directly", names = names, disk = disk),
                    undo: Some(undo),
                    ..Answer::default()
                },
                Err(refused) => Answer::failed(refused.to_string()),
            };
            let _window_is_gone = back.send(answer);
            ctx.request_repaint();
        });
    }

    fn wake(&mut self, ctx: &Context, hosts: Vec<HostId>) {
        let names = say::names(&targets::names(&self.shot, &hosts), 3);
        let said = t!("{names}: woken; it may take a moment until they are heard", names = names);
        self.send(ctx, vec![Command::Wake { hosts }], said, None, false);
    }

    /// Carries commands out, and says the text when all are done.
    fn send(&self, ctx: &Context, commands: Vec<Command>, said: String, undo: Option<Undo>, quit: bool) {
        let ends_undo = undo.is_none() && commands.iter().any(undo::ends);
        self.carry_out(ctx, commands, Answer { said, undo, quit, ends_undo, ..Answer::default() });
    }

    /// Hands commands to the engine one after the other, on a task: a frame never waits. The first refusal ends it.
    fn carry_out(&self, ctx: &Context, commands: Vec<Command>, well: Answer) {
        commands.iter().for_each(|command| self.telling.sent(command));
        let (handle, back, ctx) = (self.handle.clone(), self.answered.clone(), ctx.clone());
        self.runtime.spawn(async move {
            let (mut error, mut written) = (None, Vec::new());
            for command in commands {
                let settings = match &command {
                    Command::Settings { changes, trial: false } => changes.clone(),
                    _ => Vec::new(),
                };
                if let Err(refused) = handle.call(command).await {
                    error = Some(refused.to_string());
                    break;
                }
                written.extend(settings);
            }
            // The window may have closed meanwhile; then nobody reads it.
            let _window_is_gone = back.send(Answer { error, written, ..well });
            ctx.request_repaint();
        });
    }

    /// Asks for the packets of the machine whose screen is shown, where that is due; they are read on a thread of their own.
    fn ask_packets(&mut self, ctx: &Context) {
        let Screen::Host(id) = self.screen else { return };
        let Some(mac) = targets::host(&self.shot, id).and_then(|host| host.macs.first().copied()) else { return };
        let Some(told) = self.packets.begin(id, ctx.input(|i| i.time), self.shot.seq) else { return };
        let handle = self.handle.clone();
        self.on_task(ctx, told, async move {
            let reply = handle.call(Command::Packets { host: mac.to_string() }).await;
            let read = tokio::task::spawn_blocking(move || Kept::of(reply)).await;
            read.unwrap_or_else(|error| Err(error.to_string()))
        });
    }

    /// Waits for an answer beside the frame loop, and has it taken in.
    fn on_task<T: Send + 'static>(
        &self,
        ctx: &Context,
        told: Sender<T>,
        answer: impl Future<Output = T> + Send + 'static,
    ) {
        let ctx = ctx.clone();
        self.runtime.spawn(async move {
            // The window may have closed meanwhile; then nobody reads it.
            let _window_is_gone = told.send(answer.await);
            ctx.request_repaint();
        });
    }

    /// Asks what the machine on the screen would be given and, on its own screen, for its last boots, where that is due.
    fn ask_chain(&mut self, ctx: &Context) {
        let host = match self.screen {
            Screen::Host(id) => targets::host(&self.shot, id),
            Screen::Chain => None,
            _ => return,
        };
        let question = host.map_or_else(|| self.chain.question(), question_of);
        if host.is_none() && self.screen != Screen::Chain {
            return;
        }
        if let Some(told) = self.chain.begin(question.clone(), ctx.input(|i| i.time), self.shot.seq) {
            let handle = self.handle.clone();
            self.on_task(ctx, told, async move { Chain::read(handle.call(Command::Explain(question)).await) });
        }
        if let Some(mac) = host.and_then(|host| host.macs.first())
            && let Some(told) = host.and_then(|host| self.boots.begin(host))
        {
            let (handle, host) = (self.handle.clone(), mac.to_string());
            self.on_task(ctx, told, async move { Boots::read(handle.call(Command::Boots { host }).await) });
        }
    }

    /// Writes a file on a thread of its own.
    fn save(&self, ctx: &Context, save: Save) {
        let (back, ctx) = (self.answered.clone(), ctx.clone());
        self.runtime.spawn_blocking(move || {
            let (said, error) = match save.write() {
                Ok(said) => (said, None),
                Err(error) => (String::new(), Some(error)),
            };
            let _window_is_gone = back.send(Answer { said, error, ..Answer::default() });
            ctx.request_repaint();
        });
    }

    /// Has the engine look for what would stop a boot; what mends something goes first.
    fn look(&mut self, ctx: &Context, first: Option<Act>, self_test: bool) {
        let interface = self.form.interface(&self.shot);
        let Some(told) = self.check.begin(self_test) else { return };
        let (handle, back, ctx) = (self.handle.clone(), self.answered.clone(), ctx.clone());
        self.runtime.spawn(async move {
            if let Some(act) = first {
                let answer = match handle.call(Command::Mend { act }).await {
                    Ok(_) => Answer { ends_undo: true, ..Answer::default() },
                    Err(refused) => Answer::failed(refused.to_string()),
                };
                let _window_is_gone = back.send(answer);
            }
            let _window_is_gone = told.send(handle.call(Command::Doctor { interface, self_test }).await);
            ctx.request_repaint();
        });
    }

    /// The first start looks by itself at what is chosen there, and again when that changes.
    fn look_first(&mut self, ctx: &Context) {
        let idle = self.shut.is_none() && self.moving.is_none() && !self.gone.load(Ordering::Relaxed);
        let stopped = matches!(self.shot.engine, EngineState::Stopped | EngineState::Failed { .. });
        if self.looks && self.first && idle && stopped && self.check.is_due(self.form.subject(&self.shot)) {
            self.look(ctx, None, false);
        }
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
        let newest = self.handle.snapshot();
        if !Arc::ptr_eq(&self.shot, &newest) {
            for notice::Notice { title, body } in notice::failed_jobs(&self.shot, &newest) {
                self.toasts.say(ctx.input(|i| i.time), theme::Tone::Bad, format!("{title}\n{body}"));
            }
            self.shot = newest;
            self.number += 1;
        }
        self.take_answers(ctx);
        self.check.take();
        self.settings.take(&self.shot);
        self.form.take(&self.shot);
        self.ask_settings(ctx);
        self.events.take(&self.shot);
        self.packets.take();
        self.ask_packets(ctx);
        self.chain.take();
        self.boots.take();
        self.ask_chain(ctx);
        self.take_files(ctx);
        self.take_lab(ctx);
        self.entitle(ctx);
        self.look_first(ctx);
        self.guard_close(ctx);
        self.telling.look(ctx, self.prefs.notify);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        let mut out = Vec::new();
        self.keys(&ctx, &mut out);
        self.screen_ui(ui, &mut out);
        if let Some(mut dialog) = self.dialog.take() {
            let shot = self.shot.clone();
            let mut view = View { shot: &shot, number: self.number, now: clock::now(), out: &mut out };
            dialogs::dialog_ui(&ctx, &mut view, &mut dialog);
            self.dialog = Some(dialog);
        }
        self.toasts.show(&ctx, &mut out);
        if let Some(hint) = self.files.hint() {
            brought::hint_ui(&ctx, hint);
        }
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
