//! Opens the native window, and says in one sentence why it can't be opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use bootyard_core::api::EngineHandle;
use eframe::egui::{IconData, ViewportBuilder};
use eframe::{NativeOptions, Renderer};

use super::App;

/// What a panic of the keyboard library says; it has no error to return.
const LOADER_PANIC: &str = "could not be loaded";

/// Shows the window until it is closed. `runtime` carries the waiting for the engine.
///
/// # Errors
/// One sentence that names the missing package and offers `bootyard serve`, when no window can be opened.
pub fn run(handle: EngineHandle, runtime: tokio::runtime::Handle) -> Result<()> {
    let options = NativeOptions {
        viewport: ViewportBuilder::default()
            .with_title("Bootyard")
            .with_app_id("bootyard")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([760.0, 480.0])
            .with_icon(icon()),
        renderer: Renderer::Glow,
        ..NativeOptions::default()
    };
    let opening = quiet_loader();
    let opened = catch_unwind(AssertUnwindSafe(|| {
        eframe::run_native(
            "bootyard",
            options,
            Box::new(move |cc| {
                opening.store(false, Ordering::Relaxed);
                Ok(Box::new(App::new(&cc.egui_ctx, handle, runtime)))
            }),
        )
    }));
    match opened {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(anyhow!(explain(&error.to_string()))),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_default();
            if text.contains(LOADER_PANIC) { Err(anyhow!(explain(&text))) } else { std::panic::resume_unwind(panic) }
        }
    }
}

/// Until the window is up, keeps a missing library from printing a panic before the sentence about it.
fn quiet_loader() -> Arc<AtomicBool> {
    let opening = Arc::new(AtomicBool::new(true));
    let (still, before) = (opening.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        let loader = info.payload_as_str().is_some_and(|s| s.contains(LOADER_PANIC));
        if !(loader && still.load(Ordering::Relaxed)) {
            before(info);
        }
    }));
    opening
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
    } else if ["display", "x server", "wayland"].iter().any(|w| lower.contains(w)) {
        "there is no display here; start it in a desktop session"
    } else if ["glutin", "opengl", "egl", "glx"].iter().any(|w| lower.contains(w)) {
        "there is no OpenGL; install the package libgl1"
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
