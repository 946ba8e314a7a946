//! Opens the native window, and says in one sentence why it can't be opened.

use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use eframe::egui::{IconData, ViewportBuilder};
use eframe::{CreationContext, NativeOptions, Renderer};
use tokio::runtime::Runtime;

use super::App;
use super::labs::{self, Opened, Own, Way};
use super::prefs::Prefs;

/// What draws the window, in the order in which it is tried.
const RENDERERS: [Renderer; 2] = [Renderer::Glow, Renderer::Wgpu];

/// Until the window is up, a panic of a library is a reason and no defect.
static OPENING: AtomicBool = AtomicBool::new(false);

/// Opens the lab and shows it until the window is closed; then its engine, if it is this process's, is closed in order.
///
/// # Errors
/// One sentence: the lab can't be opened here and nobody can be asked for another; or no window can be opened, with the missing package
/// and `bootyard serve` as the other way.
pub fn run(lab: &Path, runtime: &Runtime) -> Result<()> {
    let prefs = Prefs::load();
    prefs.speak();
    let own = Own::default();
    let opened = match runtime.block_on(labs::open(lab, Way::Any)) {
        Ok(Opened { handle, engine }) => {
            own.put(engine);
            Ok(handle)
        }
        // Said where it was asked for; who clicked an icon is told in a window.
        Err(why) if std::io::stderr().is_terminal() => return Err(anyhow!(why)),
        Err(why) => Err(why),
    };
    let shown = show(&|cc| {
        let (runtime, prefs, own) = (runtime.handle().clone(), prefs.clone(), own.clone());
        match &opened {
            Ok(handle) => App::of_lab(&cc.egui_ctx, handle.clone(), runtime, prefs, own),
            Err(why) => App::shut(&cc.egui_ctx, runtime, prefs, own, (lab.to_owned(), why.clone())),
        }
    });
    runtime.block_on(own.close());
    match opened {
        // Without a window there is nothing else to say than why.
        Err(why) if shown.is_err() => Err(anyhow!(why)),
        _ => shown.map_err(|said| anyhow!(explain(&said))),
    }
}

/// Shows a window until it is closed, drawn by whichever renderer works here. What the libraries said where none does.
fn show(app: &dyn Fn(&CreationContext<'_>) -> App) -> Result<(), String> {
    quiet_while_opening();
    let mut all = Vec::new();
    for renderer in RENDERERS {
        match show_with(renderer, app) {
            Err(said) if OPENING.load(Ordering::Relaxed) => all.push(said),
            shown => return shown,
        }
        // Another renderer needs the same display and keyboard.
        if all.last().is_some_and(|said| !is_of_renderer(said)) {
            break;
        }
    }
    Err(all.join("; "))
}

/// The same with this one. While [`OPENING`] is still set afterwards, there was no window.
fn show_with(renderer: Renderer, app: &dyn Fn(&CreationContext<'_>) -> App) -> Result<(), String> {
    let options = NativeOptions {
        viewport: ViewportBuilder::default()
            .with_title("Bootyard")
            .with_app_id("bootyard")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([760.0, 480.0])
            .with_icon(icon()),
        renderer,
        ..NativeOptions::default()
    };
    OPENING.store(true, Ordering::Relaxed);
    let shown = catch_unwind(AssertUnwindSafe(|| {
        let made = |cc: &CreationContext<'_>| {
            OPENING.store(false, Ordering::Relaxed);
            Ok(Box::new(app(cc)) as Box<dyn eframe::App>)
        };
        eframe::run_native("bootyard", options, Box::new(made))
    }));
    match shown {
        Ok(shown) => shown.map_err(|error| error.to_string()),
        Err(panic) if OPENING.load(Ordering::Relaxed) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Until the window is up, keeps a library's panic from being printed before the sentence about it.
fn quiet_while_opening() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !OPENING.load(Ordering::Relaxed) {
            before(info);
        }
    }));
}

/// Whether what a library said is about drawing, where another renderer may do better: not about the display or a library that all need.
fn is_of_renderer(said: &str) -> bool {
    let said = said.to_lowercase();
    let common = ["xkbcommon", "libx11", "libxcursor", "libxi.", "xnotsupported", "x server", "wayland_display"];
    !common.iter().any(|word| said.contains(word))
}

/// The sentence for what the window's libraries said.
fn explain(said: &str) -> String {
    let lower = said.to_lowercase();
    let remedy = if lower.contains("xkbcommon") {
        "the library libxkbcommon-x11 is missing; install the package libxkbcommon-x11-0"
    } else if lower.contains("libx11-xcb") {
        "the library libX11-xcb is missing; install the package libx11-xcb1"
    } else if lower.contains("libxcursor") {
        "the library libXcursor is missing; install the package libxcursor1"
    } else if lower.contains("libxi.") {
        "the library libXi is missing; install the package libxi6"
    } else if lower.contains("libx11") || lower.contains("xnotsupported") {
        "the library libX11 is missing; install the packages libx11-6, libx11-xcb1, libxcursor1 and libxi6"
    } else if ["glutin", "wgpu", "opengl", "egl", "glx"].iter().any(|w| lower.contains(w)) {
        "there is neither OpenGL nor Vulkan; install the package libgl1 (or mesa-vulkan-drivers)"
    } else if ["display", "x server", "wayland"].iter().any(|w| lower.contains(w)) {
        "there is no display here; start it in a desktop session"
    } else {
        // The libraries name places in their own source; nobody needs those.
        let said = said.split(" at /").next().unwrap_or(said);
        let said = super::say::clean_to(said, 300);
        return format!(
            "The window can't be opened: {said}; start it in a desktop session, or run `bootyard serve` without a window."
        );
    };
    format!("The window can't be opened: {remedy}, or run `bootyard serve` without a window.")
}

/// Three machines on a wire.
fn icon() -> IconData {
    const SIDE: usize = 32;
    let ground = [0x1f, 0x5f, 0xc8, 0xff];
    let ink = [0xff, 0xff, 0xff, 0xff];
    let mut rgba = Vec::with_capacity(SIDE * SIDE * 4);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let edge = |v| !(3..SIDE - 3).contains(&v);
            let corner = edge(x) && edge(y);
            let wire = (20..22).contains(&y) && (5..27).contains(&x);
            let stem = [7, 15, 23].iter().any(|s| (*s..s + 2).contains(&x)) && (14..26).contains(&y);
            let machine = [5, 13, 21].iter().any(|s| (*s..s + 6).contains(&x)) && (8..14).contains(&y);
            rgba.extend(if corner {
                [0; 4]
            } else if wire || stem || machine {
                ink
            } else {
                ground
            });
        }
    }
    // 32 fits.
    #[allow(clippy::cast_possible_truncation)]
    IconData { rgba, width: SIDE as u32, height: SIDE as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_libraries_say_becomes_one_sentence_with_a_package() {
        for (said, package) in [
            ("WinitEventLoop(Os(\"neither WAYLAND_DISPLAY nor WAYLAND_SOCKET nor DISPLAY is set.\"))", "no display"),
            ("XNotSupported(LibraryOpenError(\"libX11.so.6: cannot open shared object file\"))", "libx11-6"),
            ("Library libxkbcommon-x11.so could not be loaded.", "libxkbcommon-x11-0"),
            ("NoGlutinConfigs(ConfigTemplate)", "libgl1"),
            (
                "NoGlutinConfigs(ConfigTemplate); WGPU error: Failed to create surface for any enabled backend: {}",
                "mesa-vulkan-drivers",
            ),
            ("Found no glutin configs matching the template: ConfigTemplate", "libgl1"),
            ("os error at /x/winit/mod.rs:788: Failed to open connection to X server", "no display"),
            ("something\nelse at /x/y.rs:1", "something?else;"),
        ] {
            let sentence = explain(said);
            assert!(sentence.contains(package), "{sentence}");
            assert!(sentence.contains("`bootyard serve`"), "{sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn the_icon_has_as_many_bytes_as_it_says() {
        let icon = icon();
        assert_eq!(icon.rgba.len(), (icon.width * icon.height * 4) as usize);
    }
}
