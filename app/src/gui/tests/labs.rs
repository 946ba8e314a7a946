//! Several labs in one window, with real engines: opened, made, refused, attached to, left.

use std::path::{Path, PathBuf};

use bootyard_core::engine::{Engine, Options};
use eframe::egui::{DroppedFile, HoveredFile};

use super::*;
use crate::gui::labs::{self, Opened, Own, Way};
use crate::gui::prefs::Prefs;

/// A window over a real engine, in a folder with room for other labs.
pub(super) struct Real {
    harness: Harness<'static, App>,
    own: Own,
    runtime: tokio::runtime::Runtime,
    pub(super) dir: tempfile::TempDir,
}

impl Drop for Real {
    fn drop(&mut self) {
        self.runtime.block_on(self.own.close());
    }
}

#[derive(Debug)]
struct File(PathBuf);

impl DroppedFile for File {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|e| e.to_string())
    }
}

impl Real {
    /// Over the new lab `first`.
    pub(super) fn new() -> Self {
        Self::over("first")
    }

    /// Over this lab, which another engine may serve, or refused.
    fn over(name: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), name)
    }

    fn within(dir: tempfile::TempDir, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (own, lab) = (Own::default(), dir.path().join(name));
        let opened = runtime.block_on(labs::open(&lab, Way::Any)).map(|Opened { handle, engine }| {
            own.put(engine);
            handle
        });
        let (on, to) = (runtime.handle().clone(), own.clone());
        let prefs = Prefs::load_from(dir.path().join("window.json"));
        let harness = Harness::builder().with_size([1280.0, 900.0]).with_theme(Theme::Dark).build_eframe(move |cc| {
            let app = match opened {
                Ok(handle) => App::of_lab(&cc.egui_ctx, handle, on, prefs, to),
                Err(why) => App::shut(&cc.egui_ctx, on, prefs, to, (lab, why)),
            };
            // Nobody's network is asked from a test.
            app.without_looks()
        });
        let mut real = Self { harness, own, runtime, dir };
        real.frames();
        real
    }

    pub(super) fn frames(&mut self) {
        self.harness.run_steps(4);
    }

    pub(super) fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.frames();
    }

    pub(super) fn key(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.frames();
    }

    pub(super) fn type_(&mut self, text: &str) {
        self.harness.event(Event::Text(text.into()));
        self.frames();
    }

    pub(super) fn sees(&self, part: &str) -> bool {
        self.harness.query_all_by_label_contains(part).next().is_some()
    }

    /// Draws frames until this is so.
    pub(super) fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            self.frames();
            if so(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("`{what}` never came");
    }

    pub(super) fn wait_for(&mut self, part: &str) {
        self.until(part, |real| real.sees(part));
    }

    /// Files hover, as the desktop says it; none: they went.
    pub(super) fn hover(&mut self, files: &[PathBuf]) {
        let hovered = |path: &PathBuf| HoveredFile { path: Some(path.clone()), ..HoveredFile::default() };
        self.harness.input_mut().hovered_files = files.iter().map(hovered).collect();
        self.frames();
    }

    /// They are let go.
    pub(super) fn drop_(&mut self, files: &[PathBuf]) {
        let input = self.harness.input_mut();
        input.hovered_files.clear();
        input.dropped_files = files.iter().map(|path| Arc::new(File(path.clone())) as _).collect();
        self.frames();
    }

    /// A file in the folder beside the labs.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What a text field holds.
    pub(super) fn value(&self, label: &str) -> String {
        let multi = self.harness.query_by_role_and_label(Role::MultilineTextInput, label);
        let field = multi.or_else(|| self.harness.query_by_role_and_label(Role::TextInput, label));
        field.and_then(|field| field.value()).unwrap_or_default()
    }

    /// The last of those that are called so: a dialog's button, not its title.
    pub(super) fn harness_click_last(&mut self, label: &str) {
        self.harness.get_all_by_label(label).last().unwrap().click();
        self.frames();
    }

    /// As the engine has it.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.harness.state().shot_now()
    }

    fn lab(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[test]
fn a_lab_is_made_and_the_old_one_is_a_recent_one() {
    let mut real = Real::new();
    assert!(real.sees("Serve network boot") && real.sees("Lab first"));
    real.key(Modifiers::COMMAND, Key::N);
    let second = real.lab("second");
    real.type_(&second);
    real.key(Modifiers::NONE, Key::Enter);
    real.wait_for("Lab second");
    assert!(Path::new(&second).join("lab.toml").exists());
    // Back, by the palette.
    real.key(Modifiers::COMMAND, Key::K);
    real.type_("lab first");
    real.key(Modifiers::NONE, Key::Enter);
    real.wait_for("Lab first");
    // The one that was left is nobody's now.
    let free = real.runtime.block_on(labs::open(Path::new(&second), Way::Open)).unwrap();
    real.runtime.block_on(free.engine.unwrap().close());
    let file = real.dir.path().join("window.json");
    real.until("window.json", |_| {
        std::fs::read_to_string(&file).is_ok_and(|t| t.contains("second") && t.contains("first"))
    });
}

#[test]
fn what_is_no_lab_is_not_opened_and_the_old_one_stays() {
    let mut real = Real::new();
    std::fs::create_dir(real.lab("empty")).unwrap();
    for (name, why) in [("gone", "There is no folder"), ("empty", "is not a lab")] {
        real.key(Modifiers::COMMAND, Key::O);
        real.type_(&real.lab(name));
        real.key(Modifiers::NONE, Key::Enter);
        real.wait_for(why);
        assert!(real.sees("Lab first"));
    }
    // The engine of the old one lives.
    real.key(Modifiers::COMMAND, Key::R);
    real.wait_for("lab.toml was read again");
}

#[test]
fn a_lab_that_another_window_has_is_refused_with_a_way_on() {
    let mut first = Real::new();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(first.dir.path().join("first"), dir.path().join("same")).unwrap();
    let mut second = Real::within(dir, "same");
    assert!(second.sees("is open in another window"));
    second.click("Try again");
    second.wait_for("is open in another window");
    // It is closed there; here it opens.
    first.frames();
    first.runtime.block_on(first.own.close());
    second.click("Try again");
    second.wait_for("Serve network boot");
    // Another lab in the same window instead.
    let mut third = Real::within(tempfile::tempdir().unwrap(), "x");
    third.key(Modifiers::COMMAND, Key::O);
    third.type_(&second.lab("same"));
    third.key(Modifiers::NONE, Key::Enter);
    third.wait_for("is open in another window");
    assert!(third.sees("Lab x"), "it stays where it was");
}

#[test]
fn a_window_over_a_serve_says_so_and_leaves_it_running() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = Options { keeper: KeeperKind::Serve, control: true, ..Options::default() };
    let serve = runtime.block_on(Engine::open(&dir.path().join("lab"), options)).unwrap();
    let real = Real::within(dir, "lab");
    assert!(real.sees("Served by another process") && real.sees("closing this window leaves it running"));
    drop(real);
    assert_eq!(runtime.block_on(serve.handle().call(Command::Ping)).unwrap(), Reply::Done);
    runtime.block_on(serve.close());
}

#[test]
fn a_lab_whose_disks_are_in_use_is_not_left_without_asking() {
    let mut window = Window::over(Snapshot { lab: "/labs/a".into(), ..bench(30) });
    window.key(Modifiers::COMMAND, Key::O);
    window.harness.event(Event::Text("/labs/b".into()));
    window.frames();
    window.key(Modifiers::NONE, Key::Enter);
    assert!(window.sees("2 machines run from disks of this lab") && window.sees("Stop and open b"));
    window.click("Cancel");
    window.sent_nothing();
    // Closing the window of a lab that a serve has takes nothing from anybody.
    let keeper = Keeper { kind: KeeperKind::Serve, pid: 812 };
    window.end.publish(Snapshot { lab: "/labs/a".into(), keeper, ..bench(30) });
    window.frames();
    assert!(window.sees("process 812"));
    window.key(Modifiers::COMMAND, Key::O);
    window.harness.event(Event::Text("/labs/b".into()));
    window.frames();
    window.key(Modifiers::NONE, Key::Enter);
    window.wait_for("There is no folder /labs/b");
}

#[test]
fn what_was_done_in_one_lab_is_not_taken_back_in_another() {
    let mut real = Real::new();
    real.key(Modifiers::COMMAND, Key::N);
    let second = real.lab("second");
    real.type_(&second);
    real.harness.key_press(Key::Enter);
    real.harness.step();
    for _ in 0..1000 {
        // A note stays for some seconds of the window's clock, which runs faster here.
        let ctx = real.harness.ctx.clone();
        let undo = vec![Command::Assign { hosts: vec![HostId(1)], to: Boot::Local }];
        real.harness.state_mut().did(&ctx, "pc-01: Wait", undo);
        real.harness.step();
        if real.snapshot().lab == Path::new(&second) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(real.snapshot().lab, Path::new(&second));
    real.harness.step();
    assert!(real.sees("pc-01: Wait") && !real.sees("Undo"));
    real.key(Modifiers::COMMAND, Key::Z);
    assert!(real.sees("Nothing to undo"));
}
