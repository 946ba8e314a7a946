//! A lab folder, and the program under test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::netns::Netns;
use crate::run;

/// The program: `BOOTYARD_BIN`, or the one that cargo built beside the tests.
///
/// # Errors
/// It was not built.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BOOTYARD_BIN") {
        return Ok(path.into());
    }
    let exe = std::env::current_exe()?;
    let path = run::profile_dir(&exe).context("a test runs from a target folder")?.join("bootyard");
    if !path.exists() {
        bail!("{} is missing; `tests/run` builds it before the tests", path.display());
    }
    Ok(path)
}

/// An ordinary user who exists everywhere: `nobody`.
pub const NOBODY: u32 = 65534;

/// The program where an ordinary user can run it, as `packaging/run` installs it: the source may be in a home that is closed to others.
/// The folder goes when the test passed.
#[derive(Debug)]
pub struct Installed {
    dir: PathBuf,
}

impl Installed {
    /// Copies the program; with `ports`, the program that opens the ports beside it, for `nobody`'s group.
    ///
    /// # Errors
    /// It was not built, or capabilities cannot be set here.
    pub fn new(tag: &str, ports: bool) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("bootyard-{tag}-{}", std::process::id()));
        fs::create_dir_all(dir.join("user"))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        fs::copy(program()?, dir.join("bootyard"))?;
        let installed = Self { dir };
        if ports {
            let to = installed.dir.join("bootyard-ports");
            fs::copy(program()?.with_file_name("bootyard-ports"), &to)
                .context("bootyard-ports: it is built with the program")?;
            std::os::unix::fs::chown(&to, Some(0), Some(NOBODY))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o750))?;
            let capabilities = "cap_net_bind_service,cap_net_raw,cap_net_admin+ep";
            run::stdout(Command::new("setcap").arg(capabilities).arg(&to))
                .context("setcap: is libcap2-bin installed?")?;
        }
        Ok(installed)
    }

    /// A folder beside it for the user's lab: a program that changes its owner loses its capabilities.
    #[must_use]
    pub fn user_dir(&self) -> PathBuf {
        self.dir.join("user")
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.dir.join("bootyard")
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A lab folder below `target/lab/NAME`, with its own home and runtime folder.
#[derive(Debug)]
pub struct LabDir {
    dir: PathBuf,
    toml: String,
}

impl LabDir {
    /// A lab on `br0`; `network` is the rest of `[network]`, one key a line.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(name: &str, network: &str) -> Result<Self> {
        Self::at(run::scratch(name)?, network)
    }

    /// The same in a folder of the test's choice, which exists.
    ///
    /// # Errors
    /// The file system's.
    pub fn at(dir: PathBuf, network: &str) -> Result<Self> {
        for sub in ["lab/disks", "lab/media", "lab/firmware", "home", "run"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        for private in ["home", "run"] {
            fs::set_permissions(dir.join(private), fs::Permissions::from_mode(0o700))?;
        }
        let mut lab = Self { dir, toml: String::new() };
        lab.add(&format!("version = 1\n\n[network]\ninterface = \"br0\"\n{network}\n"))?;
        Ok(lab)
    }

    /// The lab's folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join("lab")
    }

    /// Where the test's other files go.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.dir
    }

    /// `lab.toml`.
    #[must_use]
    pub fn toml(&self) -> PathBuf {
        self.path().join("lab.toml")
    }

    /// Gives all of it to a user, as if that one had made it.
    ///
    /// # Errors
    /// The file system's.
    pub fn give_to(&self, user: u32) -> Result<()> {
        run::stdout(Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(&self.dir))?;
        Ok(())
    }

    /// Appends to lab.toml.
    ///
    /// # Errors
    /// The file system's.
    pub fn add(&mut self, toml: &str) -> Result<()> {
        self.toml.push_str(toml);
        fs::write(self.toml(), &self.toml)?;
        fs::set_permissions(self.toml(), fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// Replaces a text of lab.toml as it is now, which the program may have edited. Nothing can be added with [`LabDir::add`] after that.
    ///
    /// # Errors
    /// It is not there, or the file system's.
    pub fn replace(&self, from: &str, to: &str) -> Result<()> {
        let toml = fs::read_to_string(self.toml())?;
        ensure!(toml.contains(from), "lab.toml has no `{from}`:\n{toml}");
        fs::write(self.toml(), toml.replacen(from, to, 1))?;
        Ok(())
    }

    /// Adds a `[[host]]` with what it gets (`boot` as TOML).
    ///
    /// # Errors
    /// The file system's.
    pub fn add_host(&mut self, mac: &str, name: &str, boot: &str) -> Result<()> {
        self.add(&format!("\n[[host]]\nmac = \"{mac}\"\nname = \"{name}\"\nboot = {boot}\n"))
    }

    /// Copies an image into `disks/` (sparse, cheap where the file system can share blocks) and adds it as a `[[disk]]`.
    ///
    /// # Errors
    /// The file system's.
    pub fn add_disk(&mut self, name: &str, image: &Path, writes: &str) -> Result<PathBuf> {
        let to = self.path().join("disks").join(format!("{name}.raw"));
        run::stdout(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image).arg(&to))?;
        self.add(&format!("\n[[disk]]\nname = \"{name}\"\nimage = \"{name}.raw\"\nwrites = \"{writes}\"\n"))?;
        Ok(to)
    }

    /// The program with `--lab`, in the bench, with this lab's home and runtime folder.
    ///
    /// # Errors
    /// The program was not built.
    pub fn command(&self, bench: &Netns, args: &[&str]) -> Result<Command> {
        let mut command = bench.command(program()?);
        command.arg("--lab").arg(self.path()).args(args);
        self.environment(&mut command);
        Ok(command)
    }

    /// Sets this lab's home and runtime folder, so that nothing of the person who runs the tests is read or written.
    pub fn environment(&self, command: &mut Command) {
        for home in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(home);
        }
        command.env("HOME", self.dir.join("home")).env("XDG_RUNTIME_DIR", self.dir.join("run")).stdin(Stdio::null());
    }

    /// Runs a one-shot command to its end.
    ///
    /// # Errors
    /// It could not be started.
    pub fn output(&self, bench: &Netns, args: &[&str]) -> Result<Output> {
        run::output(&mut self.command(bench, args)?)
    }

    /// Runs a one-shot command that must succeed and print JSON.
    ///
    /// # Errors
    /// It failed, or what it printed is no JSON.
    pub fn json(&self, bench: &Netns, args: &[&str]) -> Result<Value> {
        let text = run::stdout(&mut self.command(bench, args)?)?;
        serde_json::from_str(&text).with_context(|| format!("{args:?} printed no JSON: {text}"))
    }
}

impl LabDir {
    /// The findings about a machine, as `bootyard hosts --json` has them.
    ///
    /// # Errors
    /// The command failed, or the machine is not in the list.
    pub fn findings(&self, bench: &Netns, mac: &str) -> Result<Vec<Value>> {
        self.maybe_findings(bench, mac)?.with_context(|| format!("no {mac}"))
    }

    fn maybe_findings(&self, bench: &Netns, mac: &str) -> Result<Option<Vec<Value>>> {
        let hosts = self.json(bench, &["hosts", "--json"])?;
        let has = |host: &&Value| {
            let macs = host["macs"].as_array();
            macs.is_some_and(|macs| macs.iter().any(|m| m.as_str().is_some_and(|m| m.eq_ignore_ascii_case(mac))))
        };
        let host = hosts.as_array().and_then(|hosts| hosts.iter().find(has));
        Ok(host.map(|host| host["findings"].as_array().cloned().unwrap_or_default()))
    }

    /// A machine that booted well has no finding: a false alarm is a defect.
    ///
    /// # Errors
    /// It has one: what it says.
    pub fn no_findings(&self, bench: &Netns, mac: &str) -> Result<()> {
        let findings = self.findings(bench, mac)?;
        if !findings.is_empty() {
            bail!("{mac} booted well, and yet: {}", serde_json::to_string_pretty(&findings)?);
        }
        Ok(())
    }

    /// Waits until this finding is there (`true`) or gone, and returns it.
    ///
    /// # Errors
    /// It did not come or go in time: what there is instead.
    pub fn wait_for_finding(&self, bench: &Netns, mac: &str, id: &str, there: bool) -> Result<Value> {
        self.wait_for_finding_within(bench, mac, id, there, Duration::from_secs(40))
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As [`LabDir::wait_for_finding`].
    pub fn wait_for_finding_within(
        &self,
        bench: &Netns,
        mac: &str,
        id: &str,
        there: bool,
        patience: Duration,
    ) -> Result<Value> {
        let deadline = Instant::now() + patience;
        loop {
            // A machine that has not spoken yet may be in no list.
            let findings = self.maybe_findings(bench, mac)?.unwrap_or_default();
            let found = findings.iter().find(|f| f["id"] == id);
            if found.is_some() == there {
                return Ok(found.cloned().unwrap_or_default());
            }
            if Instant::now() >= deadline {
                let word = if there { "came" } else { "went" };
                bail!("the finding `{id}` never {word}: {}", serde_json::to_string_pretty(&findings)?);
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

#[derive(Debug, Default)]
struct Stream {
    events: Mutex<Vec<Value>>,
    more: Condvar,
}

/// `bootyard serve --json`, running. Dropping it kills it.
#[derive(Debug)]
pub struct Serve {
    child: Child,
    stream: Arc<Stream>,
    stderr: PathBuf,
}

impl Serve {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// It ended instead: with what it said.
    pub fn start(bench: &Netns, lab: &LabDir) -> Result<Self> {
        let mut serve = Self::spawn(bench, lab)?;
        serve.wait_for("engine-started", Duration::from_secs(30))?;
        Ok(serve)
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn(bench: &Netns, lab: &LabDir) -> Result<Self> {
        let stderr = lab.scratch().join("serve.stderr");
        let log = fs::OpenOptions::new().create(true).append(true).open(&stderr)?;
        let mut child =
            lab.command(bench, &["serve", "--json"])?.stdout(Stdio::piped()).stderr(log).spawn().context("serve")?;
        let out = child.stdout.take().context("stdout was asked for")?;
        let stream = Arc::new(Stream::default());
        let mut copy = fs::OpenOptions::new().create(true).append(true).open(lab.scratch().join("events.jsonl"))?;
        let sink = Arc::clone(&stream);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = std::io::Write::write_all(&mut copy, format!("{line}\n").as_bytes());
                // A line that is no JSON is kept as a string: a test that looks at it fails with the line itself.
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                sink.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                sink.more.notify_all();
            }
        });
        Ok(Self { child, stream, stderr })
    }

    /// All events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.stream.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first event of this kind.
    ///
    /// # Errors
    /// As [`Serve::wait_for_event`].
    pub fn wait_for(&mut self, kind: &str, timeout: Duration) -> Result<Value> {
        self.wait_for_event(kind, timeout, |e| e["kind"] == kind)
    }

    /// The first event, old ones included, that `wanted` accepts.
    ///
    /// # Errors
    /// None came in time, or the program ended: with the last events and what it said.
    pub fn wait_for_event(&mut self, what: &str, timeout: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + timeout;
        let stream = Arc::clone(&self.stream);
        let mut events = stream.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut read = 0;
        loop {
            if let Some(found) = events.get(read..).unwrap_or_default().iter().find(|e| wanted(e)) {
                return Ok(found.clone());
            }
            read = events.len();
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                let last: Vec<String> = events.iter().rev().take(20).rev().map(ToString::to_string).collect();
                let why =
                    ended.map_or_else(|| format!("after {} s", timeout.as_secs()), |s| format!("and it ended: {s}"));
                bail!("no event `{what}` {why}\nlast events:\n{}\nstderr:\n{}", last.join("\n"), self.stderr());
            }
            let slice = Duration::from_millis(200);
            events = stream.more.wait_timeout(events, slice).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether such an event came.
    #[must_use]
    pub fn saw(&self, wanted: impl Fn(&Value) -> bool) -> bool {
        self.events().iter().any(wanted)
    }

    /// What it said on stderr, over all starts in this lab.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// It still ran after 15 s.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        run::tool("kill", &["-TERM", &self.child.id().to_string()])?;
        run::wait_exit(&mut self.child, "serve to stop after SIGTERM", Duration::from_secs(30))
    }

    /// The power cut: `kill -9`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// It still runs after `timeout`.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        run::wait_exit(&mut self.child, "serve to end by itself", timeout)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.kill9();
    }
}

/// When an event happened.
///
/// # Errors
/// It has no RFC 3339 time.
pub fn time_of(event: &Value) -> Result<Timestamp> {
    let text = event["time"].as_str().with_context(|| format!("an event without a time: {event}"))?;
    Ok(text.parse()?)
}

/// Seconds from one event to another.
///
/// # Errors
/// As [`time_of`].
pub fn seconds_between(from: &Value, to: &Value) -> Result<f64> {
    Ok(time_of(to)?.duration_since(time_of(from)?).as_secs_f64())
}

/// Whether an event is of this kind and of this machine.
#[must_use]
pub fn is(event: &Value, kind: &str, mac: &str) -> bool {
    event["kind"] == kind && event["mac"].as_str().is_some_and(|m| m.eq_ignore_ascii_case(mac))
}
