//! What a frame of the window costs the processor with a full bench: 500 machines, 30 of them loading, ten updates a second.
//!
//! `cargo bench -p bootyard --bench window_frames`. A frame is what the window itself does: the frame loop, the layout of every
//! widget, and the triangles made of it; a graphics card or its software would paint them, and is not counted. Each frame has a newer
//! snapshot than the one before, so nothing can be taken from the last one. Rows: the table of machines as it opens, while it is
//! scrolled, with a filter and all machines selected, and with the seating plan beside it. Exits with status 1 where the slowest
//! hundredth of a row's frames takes longer than a screen shows one.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "prints a table, of a scene of its own"
)]

#[allow(dead_code, unreachable_pub, reason = "the tests of the window use all of it")]
#[path = "../src/gui/tests/sample.rs"]
mod sample;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootyard::gui::App;
use bootyard_core::api::{EngineHandle, HandleEnd, HostView, Snapshot, Stage};
use bootyard_core::lab::{Boot, Seat};
use eframe::App as _;
use eframe::egui::{
    Context, Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, Pos2, RawInput, Rect, TouchPhase, Vec2, pos2,
    vec2,
};

const MACHINES: u64 = 500;
const LOADING: u64 = 30;
/// Frames of a row; ten updates a second, so half a minute of a bench's life.
const FRAMES: u64 = 300;
/// At 60 Hz a screen shows one in this time.
const BUDGET: Duration = Duration::from_millis(16);
const SIZE: Vec2 = vec2(1280.0, 800.0);

/// What the sample takes for now.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn main() -> ExitCode {
    let rows = [
        ("as it opens", Scene::plain as fn(&mut Scene)),
        ("scrolled", Scene::scrolled),
        ("filtered, all selected", Scene::selected),
        ("with the seating plan", Scene::planned),
    ];
    println!("{:24} {:>8} {:>8} {:>8} {:>10}", "500 machines", "p50", "p99", "most", "triangles");
    let mut fits = true;
    for (name, prepare) in rows {
        let mut scene = Scene::new();
        prepare(&mut scene);
        let (times, triangles) = scene.measure(name == "scrolled");
        let at = |part: usize| times.get(part.min(times.len() - 1)).copied().unwrap_or_default();
        let (p50, p99, most) = (at(times.len() / 2), at(times.len() * 99 / 100), at(times.len() - 1));
        let ms = |d: Duration| format!("{:.2} ms", d.as_secs_f64() * 1000.0);
        println!("{name:24} {:>8} {:>8} {:>8} {triangles:>10}", ms(p50), ms(p99), ms(most));
        fits &= p99 < BUDGET;
    }
    println!("resident: {} MB, without a graphics driver", resident().map_or("?".to_owned(), |mb| mb.to_string()));
    if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A window without a screen, and the other end of its engine.
struct Scene {
    ctx: Context,
    app: App,
    end: HandleEnd,
    shot: Snapshot,
    frames: u64,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shot = snapshot();
        let (handle, end) = EngineHandle::channel(shot.clone());
        let ctx = Context::default();
        let app = App::new(&ctx, handle, runtime.handle().clone());
        let mut scene = Self { ctx, app, end, shot, frames: 0, _runtime: runtime };
        for _ in 0..5 {
            scene.frame(Vec::new());
        }
        scene
    }

    fn plain(&mut self) {}

    fn scrolled(&mut self) {
        self.frame(vec![Event::PointerMoved(pos2(600.0, 500.0))]);
    }

    fn selected(&mut self) {
        self.key(Modifiers::COMMAND, Key::F);
        self.frame(vec![Event::Text("dell".into())]);
        self.key(Modifiers::NONE, Key::ArrowDown);
        self.key(Modifiers::COMMAND, Key::A);
    }

    fn planned(&mut self) {
        self.key(Modifiers::NONE, Key::S);
    }

    fn key(&mut self, modifiers: Modifiers, key: Key) {
        for pressed in [true, false] {
            let held = Event::ModifiersChanged(if pressed { modifiers } else { Modifiers::NONE });
            self.frame(vec![held, Event::Key { key, physical_key: None, pressed, repeat: false, modifiers }]);
        }
        self.frame(Vec::new());
    }

    /// One frame; how many triangles it has.
    fn frame(&mut self, events: Vec<Event>) -> usize {
        self.frames += 1;
        #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, SIZE)),
            time: Some(self.frames as f64 / 10.0),
            events,
            focused: true,
            ..RawInput::default()
        };
        let mut frame = eframe::Frame::_new_kittest();
        let (ctx, app) = (self.ctx.clone(), &mut self.app);
        let mut output = ctx.run_ui(input, |ui| {
            app.logic(ui.ctx(), &mut frame);
            app.ui(ui, &mut frame);
        });
        // No card takes the glyphs.
        output.textures_delta.clear();
        let triangles = ctx.tessellate(output.shapes, output.pixels_per_point);
        triangles
            .iter()
            .map(|p| match &p.primitive {
                eframe::egui::epaint::Primitive::Mesh(mesh) => mesh.indices.len() / 3,
                eframe::egui::epaint::Primitive::Callback(_) => 0,
            })
            .sum()
    }

    /// The frames' times, the shortest first, and the triangles of the last.
    fn measure(&mut self, scroll: bool) -> (Vec<Duration>, usize) {
        let mut times = Vec::new();
        let mut triangles = 0;
        for n in 0..FRAMES {
            advance(&mut self.shot, n);
            self.end.publish(self.shot.clone());
            let wheel = Event::MouseWheel {
                unit: MouseWheelUnit::Point,
                delta: vec2(0.0, if n % 100 < 50 { -120.0 } else { 120.0 }),
                phase: TouchPhase::Move,
                source: MouseWheelSource::Wheel,
                modifiers: Modifiers::NONE,
            };
            let events = if scroll { vec![wheel] } else { Vec::new() };
            let start = Instant::now();
            triangles = self.frame(events);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        (times, triangles)
    }
}

/// Four rooms, machines at every stage.
fn snapshot() -> Snapshot {
    let mut shot = sample::bench(MACHINES);
    for (at, host) in (0u64..).zip(shot.hosts.iter_mut()) {
        let place = u8::try_from(at / 4).unwrap_or(0);
        let group = Some(format!("room-{}", at % 4 + 1));
        let loading = at < LOADING;
        let stage = if loading { Stage::Loading } else { host.stage };
        let plain = HostView { progress: None, ..HostView::clone(host) };
        let host = Arc::make_mut(host);
        *host = HostView { group, stage, seat: Seat::at(place / 12 + 1, place % 12 + 1), ..plain };
        if stage == Stage::Loading && !loading {
            host.stage = Stage::Running;
        }
        host.boot = if loading { sample::install("debian-12") } else { Boot::Local };
    }
    shot
}

/// A tenth of a second later.
fn advance(shot: &mut Snapshot, n: u64) {
    shot.seq += 1;
    for host in shot.hosts.iter_mut().take(usize::try_from(LOADING).unwrap_or(0)) {
        let host = Arc::make_mut(host);
        let done = (n % 200 + host.id.0) << 19;
        host.progress = Some(bootyard_core::api::Progress { done, total: 340 << 20, rate: (11 << 20) + n });
        host.last_seen = Some(jiff::Timestamp::now());
        host.activity = Some("initrd.gz".into());
    }
}

/// Megabytes that this process has in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
}
