//! The window against a fake engine: what a person does, and the command that comes of it. No GPU, no display.

mod brought;
mod chain;
mod check;
mod dialogs;
mod direct;
mod disks;
mod errors;
mod first;
mod fresh;
mod german;
mod idle;
mod labs;
mod machines;
mod packets;
mod picture;
mod pictures;
pub(super) mod sample;
mod settings;
mod tables;
mod top;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use bootyard_core::api::*;
use bootyard_core::lab::{Boot, Mode};
use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, Theme};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::App;
use super::clock::now;
use sample::{bench, fresh, host, install, iscsi};

/// A window and the other end of its handle.
struct Window {
    harness: Harness<'static, App>,
    end: HandleEnd,
    runtime: tokio::runtime::Runtime,
    /// What was looked up.
    looked: Vec<Command>,
}

impl Window {
    fn over(snapshot: Snapshot) -> Self {
        Self::with(snapshot, Theme::Dark, [1280.0, 800.0], 1.0, picture::Textures::default())
    }

    fn with(snapshot: Snapshot, theme: Theme, size: [f32; 2], scale: f32, textures: picture::Textures) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (handle, end) = EngineHandle::channel(snapshot);
        let on = runtime.handle().clone();
        let mut harness = Harness::builder()
            .with_size(size)
            .with_theme(theme)
            .with_pixels_per_point(scale)
            .renderer(textures)
            .build_eframe(move |cc| App::new(&cc.egui_ctx, handle, on));
        harness.run_steps(3);
        Self { harness, end, runtime, looked: Vec::new() }
    }

    fn frames(&mut self) {
        self.harness.run_steps(4);
    }

    fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.frames();
    }

    fn type_into(&mut self, label: &str, text: &str) {
        self.harness.get_by_role_and_label(Role::TextInput, label).focus();
        self.frames();
        self.harness.event(Event::Text(text.into()));
        self.frames();
    }

    fn key(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.frames();
    }

    fn sees(&self, part: &str) -> bool {
        self.harness.query_all_by_label_contains(part).next().is_some()
    }

    /// The next command, answered with `reply`. What only looks something up is answered from the sample on the way.
    #[allow(clippy::needless_pass_by_value, reason = "the answer is given away")]
    fn answer(&mut self, reply: Result<Reply, CommandError>) -> Command {
        let mut patience = 20;
        loop {
            let next = self.end.commands.recv();
            let next = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), next).await });
            let Ok(next) = next else {
                // An answer that it waited for asks for a frame, and the next command comes of that.
                patience -= 1;
                assert!(patience > 0, "no command came");
                self.frames();
                continue;
            };
            let (command, back) = next.expect("the window lives");
            let (told, end) = match self.looked_up(&command) {
                Some(told) => (Ok(told), false),
                None => (reply.clone(), true),
            };
            // A look that another has replaced is waited for by nobody.
            let heard = back.send(told).is_ok();
            if end {
                assert!(heard, "the window waits for the reply");
                return command;
            }
        }
    }

    fn looked_up(&mut self, command: &Command) -> Option<Reply> {
        let told = match command {
            Command::Explain(_) => Reply::Explained { chain: Box::new(sample::chain()) },
            Command::Boots { .. } => Reply::Boots { boots: sample::boots() },
            _ => return None,
        };
        self.looked.push(command.clone());
        Some(told)
    }

    /// Answers what looks something up, at least one question, until no more comes, and draws what came. Returns another command
    /// that was sent.
    fn look(&mut self) -> Option<Command> {
        self.look_for(1)
    }

    /// The same where the window may have all that it shows.
    fn look_if_asked(&mut self) -> Option<Command> {
        self.look_for(0)
    }

    fn look_for(&mut self, least: usize) -> Option<Command> {
        self.frames();
        let mut other = None;
        let least = self.looked.len() + least;
        let (mut quiet, mut patience) = (0, 4000);
        while quiet < 20 || self.looked.len() < least {
            quiet += 1;
            patience -= 1;
            assert!(patience > 0, "nothing was looked up");
            while let Ok((command, back)) = self.end.commands.try_recv() {
                quiet = 0;
                match self.looked_up(&command) {
                    Some(told) => drop(back.send(Ok(told))),
                    None => other = Some(command),
                }
            }
            std::thread::sleep(Duration::from_millis(5));
            self.frames();
        }
        other
    }

    fn done(&mut self) -> Command {
        self.answer(Ok(Reply::Done))
    }

    /// The desktop asks it to close.
    fn close(&mut self) {
        let input = self.harness.input_mut();
        let root = input.viewports.entry(input.viewport_id).or_default();
        root.events.push(eframe::egui::ViewportEvent::Close);
        self.harness.step();
        let input = self.harness.input_mut();
        input.viewports.entry(input.viewport_id).or_default().events.clear();
        self.frames();
    }

    /// Draws frames until this is on the screen.
    fn wait_for(&mut self, part: &str) {
        for _ in 0..2000 {
            self.frames();
            if self.sees(part) {
                // A table that is drawn for the first time only measures itself: nothing of it can be clicked yet.
                self.frames();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("`{part}` never appeared");
    }

    /// The first start looks by itself for what would stop a boot; this is what it finds.
    fn looked(&mut self, rows: Vec<bootyard_core::doctor::Row>) -> Option<String> {
        let report = bootyard_core::doctor::Report::new(rows);
        match self.answer(Ok(Reply::Doctor { report })) {
            Command::Doctor { interface, self_test: false } => interface,
            other => panic!("{other:?}"),
        }
    }

    fn sent_nothing(&mut self) {
        self.frames();
        while let Ok((command, _)) = self.end.commands.try_recv() {
            assert!(self.looked_up(&command).is_some(), "{command:?}");
        }
    }
}

fn one_waiting() -> Snapshot {
    Snapshot { hosts: vec![Arc::new(host(1, Stage::Waiting, Boot::Wait))], ..bench(0) }
}

fn three_waiting() -> Snapshot {
    let hosts = (1..=3).map(|n| Arc::new(host(n, Stage::Waiting, Boot::Wait))).collect();
    Snapshot { hosts, ..bench(0) }
}

#[test]
fn first_start_proposes_the_wired_interface_and_puts_an_address_there_only_with_consent() {
    let mut window = Window::over(fresh());
    assert!(window.sees("Serve network boot"));
    assert_eq!(window.looked(Vec::new()).as_deref(), Some("enp3s0"));
    assert!(window.sees("Agree to the address first"), "why Start can't be pressed");
    window.click("Start");
    window.sent_nothing();
    window.click("Add 192.168.77.1/24 to enp3s0 while serving; it is taken away at the stop");
    window.click("Start");
    let confirm =
        Command::Confirm { interface: "enp3s0".into(), address: Some("192.168.77.1/24".into()), mode: Mode::Auto };
    assert_eq!(window.done(), confirm);
    assert_eq!(window.done(), Command::Start);
}

#[test]
fn a_refused_confirmation_starts_nothing_and_is_said() {
    let eth = sample::interface("eth1", "192.168.2.1/24");
    let mut window = Window::over(Snapshot { interfaces: vec![eth], ..fresh() });
    window.looked(Vec::new());
    window.click("ProxyDHCP");
    window.click("Start");
    let refused = CommandError::new("lab.toml can't be written: the disk is full.");
    let confirm = Command::Confirm { interface: "eth1".into(), address: None, mode: Mode::Proxy };
    assert_eq!(window.answer(Err(refused)), confirm);
    window.wait_for("the disk is full");
    window.sent_nothing();
}

#[test]
fn one_click_gives_a_waiting_machine_an_installer_and_undo_gives_back_what_it_had() {
    let mut window = Window::over(one_waiting());
    window.click("pc-01 gets Wait");
    window.click("Install debian-12");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: install("debian-12") });
    window.wait_for("pc-01: Install debian-12");
    window.click("Undo");
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to: Boot::Wait });
    window.wait_for("Given back to 1 machine");
}

#[test]
fn after_an_installation_a_disk_of_the_lab_can_follow() {
    use bootyard_core::lab::{Install, InstallThen};
    let mut window = Window::over(one_waiting());
    window.click("pc-01 gets Wait");
    window.click("Install debian-12, then a disk of this lab");
    window.click("Install debian-12, then disk room-1");
    let Boot::Iscsi(disk) = iscsi("room-1") else { panic!("not a disk") };
    let to = Boot::Install(Install { profile: "debian-12".parse().unwrap(), then: InstallThen::Iscsi(disk) });
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(1)], to });
    window.wait_for("pc-01: Install debian-12, then disk room-1");
}

#[test]
fn a_machine_without_a_name_shows_its_model_and_its_mac_once() {
    let mut machine = host(1, Stage::Waiting, Boot::Wait);
    machine.name = None;
    machine.manufacturer = Some("QEMU".into());
    machine.product = Some("Standard PC (i440FX + PIIX, 1996)".into());
    let mac = machine.macs[0].to_string();
    let window = Window::over(Snapshot { hosts: vec![Arc::new(machine)], ..bench(0) });
    assert!(window.sees("QEMU Standard PC (i440FX + PIIX, 1996)"));
    assert_eq!(window.harness.query_all_by_label(&mac).count(), 1);
    assert!(window.sees(&format!("{mac}, Waiting, gets Wait")));
    assert!(window.sees(&format!("{mac} gets Wait")));
}

#[test]
fn what_goes_wrong_at_the_first_start_is_said_where_start_was_pressed() {
    let eth = sample::interface("eth1", "192.168.2.1/24");
    let mut window = Window::over(Snapshot { interfaces: vec![eth.clone()], ..fresh() });
    window.looked(Vec::new());
    window.click("Start");
    assert!(matches!(window.done(), Command::Confirm { .. }));
    assert_eq!(window.done(), Command::Start);
    let error = "port 67 is taken by dnsmasq (pid 7); stop it, then start again".to_owned();
    let networks = bench(0).networks.into_iter().map(|n| NetworkView { interface: "eth1".into(), ..n }).collect();
    let confirmed = InterfaceView { confirmed: true, ..eth };
    let failed = Snapshot { engine: EngineState::Failed { error }, interfaces: vec![confirmed], networks, ..fresh() };
    window.end.publish(failed.clone());
    window.frames();
    assert!(window.sees("Port 67 is taken by dnsmasq"));
    assert!(window.sees("Serve network boot"));
    window.end.publish(Snapshot { engine: EngineState::Running { since: jiff::Timestamp::now() }, ..failed });
    window.frames();
    assert!(window.sees("Power on a machine on eth1"));
}

#[test]
fn several_installations_are_asked_for_by_number() {
    let mut window = Window::over(three_waiting());
    window.key(Modifiers::COMMAND, Key::A);
    assert!(window.sees("3 machines selected"));
    window.click("Assign the selected machines");
    window.click("Install xen");
    window.sent_nothing();
    assert!(window.sees("Their disks are erased"));
    window.click("Erase and install 3 machines");
    let hosts = vec![HostId(1), HostId(2), HostId(3)];
    assert_eq!(window.done(), Command::Assign { hosts, to: install("xen") });
}

#[test]
fn a_disk_for_several_is_no_question_and_cancel_sends_nothing() {
    let mut window = Window::over(three_waiting());
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::NONE, Key::A);
    window.key(Modifiers::NONE, Key::Num1);
    assert!(window.sees("Erase and install 3 machines"));
    window.click("Cancel");
    window.sent_nothing();
    window.key(Modifiers::NONE, Key::A);
    window.key(Modifiers::NONE, Key::Num3);
    assert!(matches!(window.done(), Command::Assign { hosts, to } if hosts.len() == 3 && to == iscsi("room-1")));
}

#[test]
fn a_keyboard_alone_finds_a_machine_gives_it_a_disk_and_opens_it() {
    let mut window = Window::over(bench(30));
    window.key(Modifiers::COMMAND, Key::F);
    window.harness.event(Event::Text("pc-17".into()));
    window.frames();
    window.key(Modifiers::NONE, Key::ArrowDown);
    assert!(window.sees("1 machine selected"));
    window.key(Modifiers::NONE, Key::L);
    assert_eq!(window.done(), Command::Assign { hosts: vec![HostId(17)], to: Boot::Local });
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("This boot"));
    window.key(Modifiers::NONE, Key::Escape);
    assert!(!window.sees("This boot"));
}

#[test]
fn letters_typed_into_the_filter_assign_nothing() {
    let mut window = Window::over(three_waiting());
    window.key(Modifiers::COMMAND, Key::A);
    window.key(Modifiers::COMMAND, Key::F);
    window.key(Modifiers::NONE, Key::L);
    window.key(Modifiers::NONE, Key::W);
    window.sent_nothing();
}

#[test]
fn a_machine_is_named_by_keyboard_and_a_bad_name_is_not_sent() {
    let mut window = Window::over(one_waiting());
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::F2);
    window.harness.event(Event::Text("Ä".into()));
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("is not a name"));
    window.sent_nothing();
    window.type_into("Name: a-z, 0-9 and -; empty takes it away", "");
    window.key(Modifiers::NONE, Key::Backspace);
    window.harness.event(Event::Text("x".into()));
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(window.done(), Command::Rename { host: HostId(1), name: "pc-01x".into() });
}

#[test]
fn the_palette_runs_what_is_searched() {
    let mut window = Window::over(bench(1));
    window.key(Modifiers::COMMAND, Key::K);
    window.harness.event(Event::Text("read".into()));
    window.frames();
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(window.done(), Command::Reload);
}

#[test]
fn a_right_click_offers_what_the_keys_do() {
    let mut window = Window::over(three_waiting());
    window.harness.get_by_label("52:54:00:00:00:02").click_secondary();
    window.frames();
    assert!(window.sees("1 machine selected"));
    assert!(window.sees("Copy MAC"));
}

#[test]
fn an_empty_bench_says_what_to_do_next() {
    let mut window = Window::over(bench(0));
    assert!(window.sees("Power on a machine on enp3s0"));
    window.end.publish(Snapshot { engine: EngineState::Stopped, ..bench(0) });
    window.frames();
    window.click("Start serving");
    assert_eq!(window.done(), Command::Start);
    window.end.publish(Snapshot { engine: EngineState::Starting, ..bench(0) });
    window.frames();
    assert!(window.sees("other DHCP servers are looked for"));
}

#[test]
fn a_failed_start_shows_its_reason_and_a_way_on() {
    let error = "Port 67 is taken by dnsmasq. Stop it, then press Start again.".to_owned();
    let mut window = Window::over(Snapshot { engine: EngineState::Failed { error }, ..bench(3) });
    assert!(window.sees("Port 67 is taken by dnsmasq"));
    window.click("Try again");
    assert_eq!(window.done(), Command::Start);
}

#[test]
fn stopping_names_the_machines_that_lose_their_disks() {
    let mut window = Window::over(bench(30));
    window.click("Stop");
    assert!(window.sees("pc-09, pc-10"));
    window.sent_nothing();
    window.click("Stop and cut them off");
    assert_eq!(window.done(), Command::Stop);
}

#[test]
fn closing_asks_too_and_keeps_serving_when_told_so() {
    let mut window = Window::over(bench(30));
    window.close();
    assert!(window.sees("2 machines run from disks"));
    window.click("Keep serving");
    window.sent_nothing();
    assert!(!window.sees("2 machines run from disks"));
    window.close();
    // The sample imports a disk.
    assert!(window.sees("What is not done is cancelled") && window.sees("Importing fedora-41.qcow2"));
    window.click("Stop and close");
    assert_eq!(window.done(), Command::Stop);

    let mut window = Window::over(Snapshot { disks: vec![], ..bench(30) });
    window.close();
    assert!(window.sees("1 task is not done"));
    window.click("Minimise and go on");
    window.sent_nothing();
    let mut window = Window::over(Snapshot { disks: vec![], jobs: vec![], ..bench(30) });
    window.close();
    assert!(!window.sees("is not done"), "nothing is lost");
}

#[test]
fn an_engine_that_went_is_said() {
    let mut window = Window::over(bench(2));
    let (_, other) = EngineHandle::channel(Snapshot::default());
    drop(std::mem::replace(&mut window.end, other));
    window.wait_for("The engine has gone");
}

#[test]
fn unknown_machines_that_get_erased_are_never_forgotten() {
    let mut window = Window::over(Snapshot { unknown: Some(install("debian-12")), ..bench(1) });
    for key in [Key::Num1, Key::Num2, Key::Num3, Key::Num4] {
        window.key(Modifiers::COMMAND, key);
        assert!(window.sees("Every unknown machine is installed with debian-12"), "{key:?}");
    }
}

#[test]
fn a_dropped_image_fills_the_form_and_a_job_can_be_cancelled() {
    let mut window = Window::over(bench(1));
    window.key(Modifiers::COMMAND, Key::D);
    window.click("Make an empty disk");
    window.type_into("Size in GiB", "40");
    window.type_into("Name: a-z, 0-9 and -", "spare");
    window.click("Add disk");
    let disk = NewDisk { name: "spare".into(), from: None, size: Some(40 << 30), writes: Default::default() };
    assert_eq!(window.done(), Command::AddDisk(disk));
    window.key(Modifiers::COMMAND, Key::Num2);
    assert!(window.sees("The image windows.qcow2 is missing"));
    window.click("Cancel: importing fedora-41.qcow2");
    assert_eq!(window.done(), Command::CancelJob { job: 4 });
}

#[test]
fn each_task_that_fails_is_said_with_its_reason_on_every_screen() {
    let with = |state: JobState| {
        let mut shot = bench(1);
        let one = JobView { state, ..shot.jobs[0].clone() };
        let other = JobView { id: one.id + 1, what: "ubuntu.img".into(), ..one.clone() };
        shot.jobs = vec![one, other];
        shot
    };
    let failed = || with(JobState::Failed { error: "no space left on the disk".into() });
    let mut window = Window::over(failed());
    assert!(!window.sees("No space left"), "it was so before");
    window.end.publish(with(JobState::Running));
    window.frames();
    window.end.publish(failed());
    window.frames();
    for what in ["fedora-41.qcow2", "ubuntu.img"] {
        assert!(window.sees(&format!("Failed: Import {what}\nNo space left on the disk.")), "{what}");
    }
}

#[test]
fn what_a_machine_calls_itself_cannot_break_the_window() {
    let mut rude = host(1, Stage::Waiting, Boot::Wait);
    rude.name = Some("\u{202e}\u{1b}[31m\nroot".repeat(50));
    rude.product = Some("\0".repeat(5000));
    let mut window = Window::over(Snapshot { hosts: vec![Arc::new(rude)], ..bench(0) });
    assert!(!window.sees("\u{202e}"));
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    assert!(!window.sees("\0"));
}

#[test]
fn every_screen_draws_with_five_hundred_machines() {
    let mut window = Window::over(bench(500));
    for key in [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::K] {
        window.key(Modifiers::COMMAND, key);
    }
}

fn one_failed() -> (Snapshot, HostId) {
    let mut failed = host(1, Stage::Failed, Boot::Wait);
    failed.findings = vec![sample::trouble()];
    let id = failed.id;
    (Snapshot { hosts: vec![Arc::new(failed)], ..bench(0) }, id)
}

#[test]
fn a_finding_says_how_sure_it_is_and_its_button_does_what_it_says() {
    let (shot, host) = one_failed();
    let mut window = Window::over(shot);
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("Likely") && window.sees("events 41, 44"));
    window.click("Try another build of iPXE");
    assert_eq!(window.done(), Command::OtherFirmware { host });
}

#[test]
fn a_code_from_the_screen_is_explained_beside_the_machine() {
    let mut window = Window::over(one_failed().0);
    window.key(Modifiers::NONE, Key::ArrowDown);
    window.key(Modifiers::NONE, Key::Enter);
    window.type_into("What does this code mean?", "PXE-E53: No boot filename received");
    assert!(window.sees("An address came, and no boot file with it."));
}
