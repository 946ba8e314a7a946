//! For tests: a network namespace of the test's own, with a wire in it.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace with a veth pair in it, `left` (up, 192.168.77.1/24) and `right` (up, without an address).
pub(crate) struct Bench {
    name: String,
}

impl Bench {
    /// Runs the story in a thread inside a new namespace. Needs root; without it the test says that it did not run.
    pub(crate) fn run(name: &str, story: impl FnOnce() + Send) {
        if !rustix::process::geteuid().is_root() {
            let text = format!("NOT RUN: {name} needs root for a network namespace; run the tests with sudo\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return;
        }
        let bench = Self { name: format!("bynet-{name}-{}", std::process::id()) };
        ip(&["netns", "add", &bench.name]);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", bench.name)).unwrap();
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))
                    .unwrap();
                ip(&["link", "set", "lo", "up"]);
                ip(&["link", "add", "left", "type", "veth", "peer", "name", "right"]);
                ip(&["link", "set", "left", "up"]);
                ip(&["link", "set", "right", "up"]);
                ip(&["addr", "add", "192.168.77.1/24", "dev", "left"]);
                story();
            });
            if let Err(panic) = inside.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs `ip` in the calling thread's namespace; what it printed.
pub(crate) fn ip(args: &[&str]) -> String {
    let out = Command::new("ip").args(args).output().unwrap();
    assert!(out.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
