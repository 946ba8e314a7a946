//! Whether the host's firewall drops what machines send to us: the real rule set is read and walked for each of our ports.
//!
//! [`nft`] and [`iptables`] turn what the system's tools print into [`rules`], where every match is already decided for one packet:
//! yes, no, or not known. firewalld writes nftables rules, so its set is walked like any other, and only the remedy is in its own
//! words. Where a match is not known the answer may be "not sure", and never a wrong one.

mod iptables;
mod nft;
mod remedy;
mod rules;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use self::remedy::Manager;
use self::rules::{Outcome, Probe, Set};
use super::ports::needed;
#[cfg(not(target_os = "linux"))]
use super::row;
use super::{About, Check, Facts, Row, State};

/// Where the system's tools are: a process that may be root takes no other.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

pub(super) struct Firewall;

impl Check for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    #[cfg(target_os = "linux")]
    fn look(&self, facts: &Facts) -> Vec<Row> {
        let read = read();
        facts.places.iter().filter_map(|place| of(facts, place, &read)).collect()
    }

    /// `pfctl -sr` and `netsh advfirewall` would say; nobody has seen them with a boot server yet.
    #[cfg(not(target_os = "linux"))]
    fn look(&self, facts: &Facts) -> Vec<Row> {
        let why = format!("the firewall of {} is not read; this was not verified there", std::env::consts::OS);
        let name = |place: &super::Place| place.network.interface.clone();
        facts
            .places
            .iter()
            .map(|p| row("firewall", &name(p), "unsupported", State::Unsupported(why.clone()), &[]))
            .collect()
    }
}

/// What the tools said.
#[derive(Debug)]
enum Read {
    /// No tool is installed: nobody has set rules.
    NoTools,
    /// They do not tell this user.
    Hidden,
    /// The texts: `nft -j list ruleset`, `iptables-save -t filter`.
    Rules { nft: Option<String>, iptables: Option<String> },
}

fn read() -> Read {
    let (nft, save) = (ask("nft", &["-j", "list", "ruleset"]), ask("iptables-save", &["-t", "filter"]));
    match (nft, save) {
        (None, None) => Read::NoTools,
        // Kernels without nftables have the old tables.
        (Some(Err(())), Some(Ok(text))) if text.contains("*filter") => Read::Rules { nft: None, iptables: Some(text) },
        (Some(Err(())), _) | (None, Some(Err(()))) => Read::Hidden,
        (nft, save) => Read::Rules { nft: nft.and_then(Result::ok), iptables: save.and_then(Result::ok) },
    }
}

/// What a tool prints; `None` where it is not installed, `Err` where it fails.
fn ask(program: &str, args: &[&str]) -> Option<Result<String, ()>> {
    let path = FOLDERS.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists())?;
    let mut command = Command::new(path);
    command.args(args).env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(if output.status.success() { String::from_utf8(output.stdout).map_err(|_| ()) } else { Err(()) })
}

fn of(facts: &Facts, place: &super::Place, read: &Read) -> Option<Row> {
    let name = place.interface.as_ref()?.name.as_str();
    let about = About("firewall", name);
    let (nft, iptables) = match read {
        Read::NoTools => return Some(about.row("none", State::Ok, &[("interface", &name)])),
        Read::Hidden => return Some(about.row("hidden", State::Unknown, &[("interface", &name)])),
        Read::Rules { nft, iptables } => (nft.as_deref(), iptables.as_deref()),
    };
    let address = place.address().map_or(Ipv4Addr::new(192, 0, 2, 1), |a| a.address);
    let neighbour = place.address().map_or(Ipv4Addr::new(192, 0, 2, 2), |a| a.neighbour());
    let mut judged = Vec::new();
    for port in needed(facts) {
        let (from, to) = match port.port {
            67 => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
            _ => (neighbour, address),
        };
        let probe = Probe { interface: name, protocol: port.protocol, port: port.port, from, to, new: true };
        judged.push((format!("{} {}", port.protocol, port.port), port, walk(nft, iptables, &probe)?));
    }
    // A transfer goes on at a port of its own: its packets belong to what we began.
    let transfer = Probe { interface: name, protocol: "UDP", port: 50_069, from: neighbour, to: address, new: false };
    let transfers = walk(nft, iptables, &transfer)?;
    let list = |outcome: Outcome| {
        judged.iter().filter(|(_, _, o)| o.kind() == outcome.kind()).map(|(n, _, _)| n.as_str()).collect::<Vec<_>>()
    };
    let shut = list(Outcome::dropped());
    if let Some((_, _, at)) = judged.iter().find(|(_, _, o)| o.is_dropped()) {
        let (ports, at) = (shut.join(", "), at.to_string());
        let ports_shut: Vec<_> = judged.iter().filter(|(_, _, o)| o.is_dropped()).map(|(_, p, _)| *p).collect();
        let fix = remedy::open(&Manager::find(name), name, &ports_shut, &judged);
        let dropped = about.row("dropped", State::Failed, &[("interface", &name), ("ports", &ports), ("rule", &at)]);
        return Some(dropped.with(fix));
    }
    if let Outcome::Dropped(at) = &transfers {
        let dropped = about.row("transfers", State::Failed, &[("interface", &name), ("rule", at)]);
        return Some(dropped.with(remedy::open_transfers(&Manager::find(name), name, at)));
    }
    let unsure = list(Outcome::Unsure);
    Some(match unsure.is_empty() {
        true => about.row("open", State::Ok, &[("interface", &name)]),
        false => about.row("unsure", State::Unknown, &[("interface", &name), ("ports", &unsure.join(", "))]),
    })
}

/// Walks both rule sets; `None` where what the tools print is not understood at all.
fn walk(nft: Option<&str>, iptables: Option<&str>, probe: &Probe<'_>) -> Option<Outcome> {
    let mut set = Set::default();
    let mut by_save = false;
    if let Some(text) = nft {
        // What iptables wrote into nftables is only partly shown there.
        by_save = nft::add(text, probe, iptables.is_some(), &mut set)?;
    }
    if let Some(text) = iptables.filter(|_| by_save || nft.is_none() || is_legacy()) {
        iptables::add(text, probe, &mut set);
    }
    Some(set.walk())
}

/// Whether `iptables-save` speaks of the kernel's old tables, which `nft` does not show.
fn is_legacy() -> bool {
    FOLDERS.iter().any(|dir| {
        std::fs::canonicalize(Path::new(dir).join("iptables-save"))
            .is_ok_and(|real| real.file_name().is_some_and(|name| name.to_string_lossy().contains("legacy")))
    })
}

#[cfg(test)]
mod tests;
