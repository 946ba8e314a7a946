//! Commands whose failure says what was run and what it said; waiting with a deadline; where files of a test go.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a command to its end, without stdin.
///
/// # Errors
/// It could not be started; its exit status is not checked.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("could not run {command:?}: is it installed?"))
}

/// Runs a command that must succeed; its standard output.
///
/// # Errors
/// It could not be started, or failed: with what it said.
pub fn stdout(command: &mut Command) -> Result<String> {
    let out = output(command)?;
    if !out.status.success() {
        let said = [out.stdout, out.stderr].concat();
        bail!("{command:?} ended with {}: {}", out.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// [`stdout`] of a program with arguments.
///
/// # Errors
/// As [`stdout`].
pub fn tool(program: &str, args: &[&str]) -> Result<String> {
    stdout(Command::new(program).args(args))
}

/// Asks until the answer is there.
///
/// # Errors
/// It was not there in time (`what` says what was waited for), or asking failed.
pub fn wait_until<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > timeout {
            bail!("waited {} s in vain for {what}", timeout.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for a child's end.
///
/// # Errors
/// It still ran after `timeout`.
pub fn wait_exit(child: &mut std::process::Child, what: &str, timeout: Duration) -> Result<std::process::ExitStatus> {
    wait_until(what, timeout, || Ok(child.try_wait()?))
}

/// Cargo's target folder, found from the test that runs: `target/PROFILE/deps/TEST`.
///
/// # Errors
/// The running program is somewhere else.
pub fn target_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let profile = profile_dir(&exe).with_context(|| format!("{} is not below a target folder", exe.display()))?;
    Ok(profile.parent().context("a profile's folder has a parent")?.to_owned())
}

/// `target/PROFILE`, where cargo puts programs.
pub(crate) fn profile_dir(exe: &Path) -> Option<PathBuf> {
    let dir = exe.parent()?;
    Some(if dir.ends_with("deps") { dir.parent()?.to_owned() } else { dir.to_owned() })
}

/// An empty folder for one test's files, `target/lab/NAME`. It stays after the test, so that a failure can be read.
///
/// # Errors
/// The file system's.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let dir = target_dir()?.join("lab").join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("could not empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
