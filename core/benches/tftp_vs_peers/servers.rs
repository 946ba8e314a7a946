//! The servers, each as its own manual says it is fastest, each in a process of its own that lives for one run.
//!
//! tftpd-hpa and atftpd can't be installed side by side, so they are also looked for in `target/bench-tools`, where
//! `apt-get download tftpd-hpa atftpd` and `dpkg-deb -x FILE target/bench-tools` put them, and
//! `cargo install tftpd --root target/bench-tools` puts the crate's server.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::Lab;
use crate::{Fallible, ours};

type Arguments = fn(&str, &str) -> Vec<String>;

/// A server that is there.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Arguments,
}

/// Name, program, package, and its arguments for an address and a folder.
const PEERS: &[(&str, &str, &str, Arguments)] = &[
    ("tftpd-hpa", "in.tftpd", "apt-get install tftpd-hpa", |address, folder| {
        words(&["-L", "-u", "root", "--address", &format!("{address}:69"), "-s", folder])
    }),
    ("atftpd", "atftpd", "apt-get install atftpd", |address, folder| {
        let fixed = ["--daemon", "--no-fork", "--user", "root", "--group", "root", "--maxthread", "100"];
        [&words(&fixed)[..], &words(&["--bind-address", address, "--port", "69", folder])].concat()
    }),
    ("dnsmasq", "dnsmasq", "apt-get install dnsmasq-base", |address, folder| {
        let fixed = ["-k", "-C", "/dev/null", "-u", "root", "-p", "0", "--pid-file=", "--bind-interfaces"];
        let tftp = ["--tftp-max=100", "--log-facility=/dev/null", "--enable-tftp"];
        let own = [&format!("--listen-address={address}")[..], &format!("--tftp-root={folder}")];
        [&words(&fixed)[..], &words(&tftp), &words(&own)].concat()
    }),
    ("tftpd", "tftpd", "cargo install tftpd --root target/bench-tools", |address, folder| {
        words(&["-i", address, "-p", "69", "-d", folder, "-r"])
    }),
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Ours and those of the others that are installed; says which are not.
pub(crate) fn present() -> Vec<Server> {
    let mut servers = Vec::new();
    match std::env::current_exe() {
        Ok(program) => servers.push(Server { name: "Bootyard", program, arguments: |_, _| Vec::new() }),
        Err(error) => eprintln!("Bootyard is not measured: {error}"),
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-tools");
    for (name, program, package, arguments) in PEERS {
        let places = [tools.join("bin"), tools.join("usr/sbin"), "/usr/sbin".into(), "/usr/bin".into()];
        match places.iter().map(|place| place.join(program)).find(|path| path.is_file()) {
            Some(program) => servers.push(Server { name, program, arguments: *arguments }),
            None => eprintln!("{name} is not measured: `{program}` is missing: {package}"),
        }
    }
    servers
}

/// A server that runs; dropping it ends it and its children.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// The control group that it runs in.
    group: PathBuf,
}

impl Server {
    pub(crate) fn start(&self, lab: &Lab, address: Ipv4Addr, folder: &Path) -> Fallible<Running> {
        let group = groups()?.join(format!("bytftp-{}", std::process::id()));
        std::fs::create_dir_all(&group)?;
        // The shell joins the group before it becomes the server, so that all of the server is in it. Inside the namespace `ip` hides
        // the file system of the groups.
        let child = Command::new("sh")
            .args(["-c", "echo $$ > \"$0\" && exec ip netns exec \"$@\""])
            .arg(group.join("cgroup.procs"))
            .arg(&lab.server)
            .arg(&self.program)
            .args((self.arguments)(&address.to_string(), &folder.display().to_string()))
            .env(ours::SERVE, folder)
            .env(ours::ADDRESS, address.to_string())
            // Open as long as this process lives: its end is our server's.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Running { child, group })
    }
}

/// Where control groups (version 2) are.
fn groups() -> Fallible<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let of = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?.to_owned();
        (words.next()? == "cgroup2").then(|| place.into())
    };
    mounts.lines().find_map(of).ok_or_else(|| "there is no cgroup2 file system to count CPU time with".into())
}

impl Running {
    /// User and system time so far of all its threads and processes, those that have ended included.
    pub(crate) fn cpu(&self) -> Fallible<Duration> {
        let path = self.group.join("cpu.stat");
        let stat = std::fs::read_to_string(&path)?;
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        Ok(Duration::from_micros(usage.ok_or_else(|| format!("{} is not understood: {stat}", path.display()))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // All of the group at once, forked children included; the folder can be removed when the last is gone.
        let _ = std::fs::write(self.group.join("cgroup.kill"), "1");
        let _ = self.child.kill();
        let _ = self.child.wait();
        for _ in 0..100 {
            if std::fs::remove_dir(&self.group).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
