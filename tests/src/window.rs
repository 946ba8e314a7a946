//! The window in a real X server, seen and used as assistive technology does: by the names of its elements.
//!
//! All of it runs as an ordinary user, as on a person's desktop.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bootyard::{Installed, LabDir, NOBODY};
use crate::netns::Netns;
use crate::run;

const ATSPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/atspi");
const NOTIFICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/notifications");
const BUS_LAUNCHER: &str = "/usr/libexec/at-spi-bus-launcher";

/// An X server with a session bus and the accessibility bus, in the bench's namespace. Dropping it ends them.
#[derive(Debug)]
pub struct Desktop {
    children: Vec<Child>,
    display: String,
    bus: String,
    home: PathBuf,
}

impl Desktop {
    /// Starts it, `size` as `1280x800`. Logs go to `dir`; `dir/home` is the user's home.
    ///
    /// # Errors
    /// A program is missing.
    pub fn start(bench: &Netns, dir: &Path, size: &str) -> Result<Self> {
        let log = |name: &str| fs::File::create(dir.join(name));
        let mut desktop =
            Self { children: Vec::new(), display: String::new(), bus: String::new(), home: dir.join("home") };
        let mut x = desktop
            .command(bench, "Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &format!("{size}x24"), "-nolisten", "tcp", "-noreset"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log("xvfb.log")?)
            .spawn()
            .context("Xvfb: is it installed?")?;
        desktop.display = format!(":{}", first_line(&mut x, "Xvfb's display")?);
        desktop.children.push(x);

        let mut bus = desktop
            .command(bench, "dbus-daemon")
            .args(["--session", "--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(log("dbus.log")?)
            .spawn()
            .context("dbus-daemon: is dbus installed?")?;
        desktop.bus = first_line(&mut bus, "the session bus's address")?;
        desktop.children.push(bus);

        let launcher = desktop
            .command(bench, BUS_LAUNCHER)
            .arg("--launch-immediately")
            .stdout(Stdio::null())
            .stderr(log("at-spi.log")?)
            .spawn()
            .context("at-spi-bus-launcher: is at-spi2-core installed?")?;
        desktop.children.push(launcher);
        run::wait_until("the accessibility bus", Duration::from_secs(30), || {
            Ok(run::output(desktop.command(bench, ATSPI).arg("enable"))?.status.success().then_some(()))
        })?;
        Ok(desktop)
    }

    /// Takes notifications from now on, and writes each as a line to the file that is returned.
    ///
    /// # Errors
    /// Python is missing.
    pub fn take_notifications(&mut self, bench: &Netns, dir: &Path) -> Result<PathBuf> {
        let to = dir.join("notifications");
        let log = fs::File::create(dir.join("notifications.log"))?;
        let mut command = self.command(bench, NOTIFICATIONS);
        self.children.push(command.stdout(fs::File::create(&to)?).stderr(log).spawn()?);
        Ok(to)
    }

    /// Its display, `:99`.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// A program on this desktop.
    #[must_use]
    pub fn command(&self, bench: &Netns, program: impl AsRef<Path>) -> Command {
        let mut command = bench.command("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]);
        command.arg(program.as_ref());
        command
            .env_remove("XAUTHORITY")
            .env_remove("XDG_RUNTIME_DIR")
            .env("HOME", &self.home)
            .env("DISPLAY", &self.display)
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            .env_remove("WAYLAND_DISPLAY");
        if !self.bus.is_empty() {
            command.env("DBUS_SESSION_BUS_ADDRESS", &self.bus);
        }
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program's window.
#[derive(Debug)]
pub struct Window<'a> {
    bench: &'a Netns,
    desktop: &'a Desktop,
    child: Child,
}

impl<'a> Window<'a> {
    /// Opens the program's window on a lab.
    ///
    /// # Errors
    /// The program was not built.
    pub fn open(bench: &'a Netns, desktop: &'a Desktop, installed: &Installed, lab: &LabDir) -> Result<Self> {
        let log = fs::File::create(lab.scratch().join("window.log"))?;
        let mut command = desktop.command(bench, installed.program());
        lab.environment(&mut command);
        let child = command.arg("--lab").arg(lab.path()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { bench, desktop, child })
    }

    fn atspi(&mut self, args: &[&str]) -> Result<String> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the window's program ended with {status}; see window.log");
        }
        run::stdout(self.desktop.command(self.bench, ATSPI).args(args))
    }

    /// Every named element: role, name and states, separated by tabs, a line each.
    ///
    /// # Errors
    /// The window is gone.
    pub fn tree(&mut self) -> Result<String> {
        self.atspi(&["tree"])
    }

    /// Waits for an element whose name contains `name`.
    ///
    /// # Errors
    /// There was none in time: with all that there was.
    pub fn wait_for(&mut self, name: &str, timeout: Duration) -> Result<String> {
        match self.atspi(&["wait", name, &timeout.as_secs().to_string()]) {
            Ok(found) => Ok(found.trim().to_owned()),
            Err(e) => {
                let tree = self.tree().unwrap_or_default();
                bail!("the window showed no {name:?} within {} s ({e}); it showed:\n{tree}", timeout.as_secs())
            }
        }
    }

    /// Does the action of the element with this name: what a click does.
    ///
    /// # Errors
    /// There is no such element: with all that there is.
    pub fn click(&mut self, name: &str) -> Result<()> {
        if let Err(e) = self.atspi(&["click", name]) {
            let tree = self.tree().unwrap_or_default();
            bail!("{name:?} could not be clicked ({e}); the window shows:\n{tree}");
        }
        Ok(())
    }

    /// A picture of the whole screen.
    ///
    /// # Errors
    /// ImageMagick's `import` is missing.
    pub fn picture(&self, to: &Path) -> Result<()> {
        // The picture comes through a pipe: the user of the desktop may not write there.
        let out = run::output(self.desktop.command(self.bench, "import").args(["-window", "root", "png:-"]))?;
        if !out.status.success() {
            bail!("no picture: {}", String::from_utf8_lossy(&out.stderr));
        }
        fs::write(to, out.stdout)?;
        Ok(())
    }

    /// The process number of the window.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_line(child: &mut Child, what: &str) -> Result<String> {
    let out = child.stdout.take().context("stdout was asked for")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    if line.trim().is_empty() {
        bail!("{what} did not come: the program ended at once");
    }
    Ok(line.trim().to_owned())
}
