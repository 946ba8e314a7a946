//! Settings of the kernel that break a computer with several networks: reverse path filtering and a full connection table.

use std::fs;
use std::path::Path;

use super::{About, Check, Facts, Fix, Row, State, row, shell_word};
use crate::lang::Param;

/// Where the settings are, of the network namespace of this process.
const ROOT: &str = "/proc/sys/net";

pub(super) struct Settings;

impl Check for Settings {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        if !cfg!(target_os = "linux") {
            return Vec::new();
        }
        let root = Path::new(ROOT);
        let mut rows: Vec<Row> = facts.places.iter().filter_map(|place| reverse_path(root, place)).collect();
        rows.extend(connections(root));
        rows
    }
}

fn number(root: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(root.join(name)).ok()?.trim().parse().ok()
}

/// A setting of an interface, of which the larger one of its own and of that for all is in force.
fn of_interface(root: &Path, interface: &str, name: &str) -> Option<u64> {
    // A name with a dot or slash is no file's name of its own.
    let own = (!interface.contains('/')).then(|| number(root, &format!("ipv4/conf/{interface}/{name}"))).flatten();
    Some(number(root, &format!("ipv4/conf/all/{name}"))?.max(own.unwrap_or(0)))
}

/// Whether the kernel drops what comes in on it from addresses to which it would answer through another interface.
pub(super) fn is_strict(interface: &str) -> bool {
    of_interface(Path::new(ROOT), interface, "rp_filter") == Some(1)
}

/// Whether the kernel answers on it for the addresses of other interfaces, too (the default); `None` where it does not tell.
pub(super) fn answers_for_others(interface: &str) -> Option<bool> {
    Some(of_interface(Path::new(ROOT), interface, "arp_ignore")? == 0)
}

/// The larger of the interface's value and of that for all is in force (ip-sysctl). Strict filtering drops what comes from machines
/// behind a relay where the way back to them leads elsewhere.
fn reverse_path(root: &Path, place: &super::Place) -> Option<Row> {
    let name = place.interface.as_ref()?.name.as_str();
    let what = format!("rp-filter@{name}");
    let about = About("kernel", &what);
    // A name with a dot or slash is no file's name of its own.
    let own = (!name.contains('/')).then(|| number(root, &format!("ipv4/conf/{name}/rp_filter"))).flatten();
    let all = number(root, "ipv4/conf/all/rp_filter")?;
    let strict = all.max(own.unwrap_or(0)) == 1;
    if !strict {
        return Some(about.row("loose", State::Ok, &[("interface", &name)]));
    }
    if place.network.subnets.is_empty() {
        return Some(about.row("strict", State::Ok, &[("interface", &name)]));
    }
    let command = format!("sudo sysctl -w net.ipv4.conf.{}.rp_filter=2", shell_word(&name.replace('.', "/")));
    let undo = command.replace("=2", &format!("={}", own.unwrap_or(0)));
    let fix = Fix::command("loose", &[("interface", &name)], command).undone_by(undo);
    Some(about.row("strict-relay", State::Warning, &[("interface", &name)]).with(fix))
}

/// A full table drops the first packet of every new connection.
fn connections(root: &Path) -> Option<Row> {
    let count = number(root, "netfilter/nf_conntrack_count")?;
    let max = number(root, "netfilter/nf_conntrack_max").filter(|max| *max > 0)?;
    let words: [Param<'_>; 2] = [("count", &count), ("max", &max)];
    Some(if count.saturating_mul(10) >= max.saturating_mul(9) {
        let command = format!("sudo sysctl -w net.netfilter.nf_conntrack_max={}", max.saturating_mul(4));
        let undo = format!("sudo sysctl -w net.netfilter.nf_conntrack_max={max}");
        let fix = Fix::command("conntrack", &words, command).undone_by(undo);
        row("kernel", "conntrack", "full", State::Failed, &words).with(fix)
    } else {
        row("kernel", "conntrack", "room", State::Ok, &words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_nearly_full_is_told_with_the_command() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("netfilter")).unwrap();
        assert!(connections(dir.path()).is_none(), "there is none");
        let set = |name: &str, value: &str| fs::write(dir.path().join("netfilter").join(name), value).unwrap();
        set("nf_conntrack_max", "1000\n");
        set("nf_conntrack_count", "17\n");
        assert_eq!(connections(dir.path()).unwrap().state, State::Ok);
        set("nf_conntrack_count", "950\n");
        let row = connections(dir.path()).unwrap();
        assert_eq!(row.state, State::Failed);
        assert_eq!(row.fix.unwrap().command.unwrap(), "sudo sysctl -w net.netfilter.nf_conntrack_max=4000");
    }
}
