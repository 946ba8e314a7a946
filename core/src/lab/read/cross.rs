//! What entries say of each other: names, addresses and references that must agree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::path::Path;

use super::fields::Reader;
use super::text::nearest;
use super::{LabLines, Lines};
use crate::lab::problem::Problem;
use crate::lab::schema::{
    Boot, Disk, Install, InstallThen, IscsiArgs, IscsiBoot, IscsiVia, Lab, Name, Network, Unknown, Writes,
};
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

pub(super) fn check(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    unique(reader, "interface", "networks", lab.networks.iter().map(|n| &n.interface).zip(&lines.networks));
    unique(reader, "name", "profiles", lab.profiles.iter().map(|p| &p.name).zip(&lines.profiles));
    unique(reader, "name", "disks", lab.disks.iter().map(|d| &d.name).zip(&lines.disks));
    unique(reader, "iqn", "disks", lab.disks.iter().map(|d| &d.iqn).zip(&lines.disks));
    let hosts = || lab.hosts.iter().zip(&lines.hosts);
    unique(reader, "name", "hosts", hosts().filter_map(|(h, l)| Some((h.name.as_ref()?, l))));
    unique(reader, "uuid", "hosts", hosts().filter_map(|(h, l)| Some((h.uuid.as_ref()?, l))));
    unique(reader, "address", "hosts", hosts().filter_map(|(h, l)| Some((h.address.as_ref()?, l))));
    macs(reader, lab, lines);
    rules(reader, lab, lines);
    seats(reader, lab, lines);
    ports(reader, lab, lines);
    images(reader, lab, lines);
    subnets(reader, lab, lines);
    let named = Named {
        lab,
        disks: lab.disks.iter().map(|disk| (&disk.name, disk)).collect(),
        profiles: lab.profiles.iter().map(|profile| &profile.name).collect(),
    };
    for (network, lines) in lab.networks.iter().zip(&lines.networks) {
        if let Unknown::Boot(boot) = &network.unknown {
            references(reader, &named, boot, lines.of("unknown"));
        }
    }
    for (host, lines) in lab.hosts.iter().zip(&lines.hosts) {
        if let Some(boot) = &host.boot {
            references(reader, &named, boot, lines.of("boot"));
        }
        if let Some(address) = host.address {
            reserved(reader, lab, address, lines.of("address"));
        }
    }
}

fn unique<'l, K: Display + Eq + Ord + Hash>(
    reader: &mut Reader<'_>,
    key: &str,
    kind: &str,
    entries: impl Iterator<Item = (K, &'l Lines)>,
) {
    let mut seen: BTreeMap<K, Option<u32>> = BTreeMap::new();
    for (value, lines) in entries {
        let line = lines.of(key);
        match seen.get(&value) {
            Some(first) => {
                let at = first.map(|l| format!(" (line {l})")).unwrap_or_default();
                reader.error(line, format!("two {kind} have the {key} {value}{at}; each needs its own"));
            }
            None => {
                seen.insert(value, line);
            }
        }
    }
}

/// One MAC may belong to several machines (a dock) only where each has a UUID.
fn macs(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    let mut seen: BTreeMap<MacAddr, (Option<u32>, bool)> = BTreeMap::new();
    for (host, lines) in lab.hosts.iter().zip(&lines.hosts) {
        let line = lines.of("mac");
        for mac in &host.macs {
            match seen.get(mac) {
                Some((first, told_apart)) if !*told_apart || host.uuid.is_none() => {
                    let at = first.map(|l| format!(" (line {l})")).unwrap_or_default();
                    reader.problem(
                        Problem::error(line, format!("two hosts have the MAC address {mac}{at}"))
                            .suggest("remove one, or give each its uuid if they share a dock"),
                    );
                }
                Some(_) => {}
                None => {
                    seen.insert(*mac, (line, host.uuid.is_some()));
                }
            }
        }
    }
}

/// Of two rules for the same machines one is never given, and which is not to be seen.
fn rules(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    let mut seen = BTreeMap::new();
    for (rule, lines) in lab.firmware.iter().zip(&lines.firmware) {
        let line = lines.of(if rule.arch.is_some() { "arch" } else { "mac" });
        let Some(first) = seen.get(&(rule.arch, &rule.mac_prefix)) else {
            seen.insert((rule.arch, &rule.mac_prefix), line);
            continue;
        };
        let at = first.map(|l: u32| format!(" (line {l})")).unwrap_or_default();
        let arch = rule.arch.map(|arch| format!("arch = \"{arch}\""));
        let mac = rule.mac_prefix.as_ref().map(|bytes| {
            let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("mac = \"{}\"", bytes.join(":"))
        });
        let which = arch.into_iter().chain(mac).collect::<Vec<_>>().join(", ");
        reader.problem(
            Problem::error(line, format!("two [[firmware]] rules are for the same machines, {which}{at}"))
                .suggest("remove one of them"),
        );
    }
}

/// The plan shows one machine at a place. Two harm no boot, so that is no error.
fn seats(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    let mut seen = BTreeMap::new();
    for (host, lines) in lab.hosts.iter().zip(&lines.hosts) {
        let Some(seat) = host.seat else { continue };
        let line = lines.of("seat");
        if let Some(first) = seen.insert((host.group.as_ref(), seat), line) {
            let at = first.map(|l: u32| format!(" (line {l})")).unwrap_or_default();
            let (row, column) = (seat.row, seat.column);
            reader.warning(line, format!("two hosts of one group have the seat [{row}, {column}]{at}"));
        }
    }
}

fn ports(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    let ports = [("http", lab.ports.http), ("https", lab.ports.https), ("iscsi", lab.ports.iscsi)];
    for (n, (key, port)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports.iter().take(n).find(|(_, p)| p == port) {
            // The one that is written is the one to change.
            let line = lines.ports.keys.get(*key).or_else(|| lines.ports.keys.get(*other)).copied();
            reader.error(line.or(lines.ports.header), format!("`{other}` and `{key}` both have port {port}"));
        }
    }
}

/// An image that is written to belongs to one disk.
fn images(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    let mut by_image: BTreeMap<&Path, Vec<&Disk>> = BTreeMap::new();
    for (disk, at) in lab.disks.iter().zip(&lines.disks) {
        let written = |d: &Disk| d.writes == Writes::Image && !d.readonly;
        let same = by_image.entry(&disk.image).or_default();
        for other in &*same {
            if written(disk) || written(other) {
                reader.problem(
                    Problem::error(
                        at.of("image"),
                        format!(
                            "the disks {} and {} have the same image {}, and one of them writes into it",
                            other.name,
                            disk.name,
                            disk.image.display()
                        ),
                    )
                    .suggest("copy the image, or let both have writes = \"keep\""),
                );
            }
        }
        same.push(disk);
    }
}

fn overlap(a: Ipv4Cidr, b: Ipv4Cidr) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

fn subnets(reader: &mut Reader<'_>, lab: &Lab, lines: &LabLines) {
    let mut known: Vec<(Ipv4Cidr, Option<u32>)> = Vec::new();
    let mut ranges: Vec<(Ipv4Range, Option<u32>)> = Vec::new();
    let all = lab.networks.iter().zip(&lines.networks).zip(&lines.subnets);
    for ((network, at), subnet_lines) in all {
        if let Some(net) = network.address {
            overlapping(reader, &mut known, net, at.of("address"));
            inside(reader, net, &network.ranges, at.of("range"));
            router(reader, net, network.router, at.of("router"));
        }
        disjoint(reader, &mut ranges, &network.ranges, at.of("range"));
        for (subnet, at) in network.subnets.iter().zip(subnet_lines) {
            overlapping(reader, &mut known, subnet.subnet, at.of("subnet"));
            inside(reader, subnet.subnet, &subnet.ranges, at.of("range"));
            router(reader, subnet.subnet, subnet.router, at.of("router"));
            disjoint(reader, &mut ranges, &subnet.ranges, at.of("range"));
        }
    }
}

fn overlapping(reader: &mut Reader<'_>, known: &mut Vec<(Ipv4Cidr, Option<u32>)>, net: Ipv4Cidr, line: Option<u32>) {
    if let Some((other, first)) = known.iter().find(|(o, _)| overlap(*o, net)) {
        let at = first.map(|l| format!(" (line {l})")).unwrap_or_default();
        let plain = |n: Ipv4Cidr| Ipv4Cidr { address: n.network(), prefix: n.prefix };
        reader.error(line, format!("the subnets {}{at} and {} overlap", plain(*other), plain(net)));
    }
    known.push((net, line));
}

/// Ranges of one entry are compared where they are read.
fn disjoint(
    reader: &mut Reader<'_>,
    known: &mut Vec<(Ipv4Range, Option<u32>)>,
    ranges: &[Ipv4Range],
    line: Option<u32>,
) {
    for range in ranges {
        let hit = known.iter().find(|(o, _)| o.first() <= range.last() && range.first() <= o.last());
        if let Some((other, first)) = hit {
            let at = first.map(|l| format!(" (line {l})")).unwrap_or_default();
            reader.error(line, format!("the ranges {other}{at} and {range} of two networks overlap"));
        }
    }
    known.extend(ranges.iter().map(|r| (*r, line)));
}

/// Problems of ranges with the subnet in which they must be; also used with an interface's real subnet.
pub(in crate::lab) fn range_problems(net: Ipv4Cidr, ranges: &[Ipv4Range], line: Option<u32>) -> Vec<Problem> {
    let plain = Ipv4Cidr { address: net.network(), prefix: net.prefix };
    let mut out = Vec::new();
    for range in ranges {
        if !net.contains(range.first()) || !net.contains(range.last()) {
            out.push(Problem::error(line, format!("the range {range} is not inside {plain}")));
        } else if net.prefix < 31 && (range.first() == net.network() || range.last() == net.broadcast()) {
            out.push(
                Problem::error(line, format!("the range {range} includes the first or last address of {plain}"))
                    .suggest("no machine can have these two; leave them out"),
            );
        }
    }
    out
}

fn inside(reader: &mut Reader<'_>, net: Ipv4Cidr, ranges: &[Ipv4Range], line: Option<u32>) {
    for problem in range_problems(net, ranges, line) {
        reader.problem(problem);
    }
}

fn router(reader: &mut Reader<'_>, net: Ipv4Cidr, router: Option<Ipv4Addr>, line: Option<u32>) {
    if let Some(router) = router.filter(|r| !net.contains(*r)) {
        let plain = Ipv4Cidr { address: net.network(), prefix: net.prefix };
        reader.error(line, format!("the router {router} is not inside {plain}: machines there could not reach it"));
    }
}

/// The subnets that lab.toml itself tells of a network.
fn told(network: &Network) -> impl Iterator<Item = Ipv4Cidr> {
    network.address.into_iter().chain(network.subnets.iter().map(|s| s.subnet))
}

fn reserved(reader: &mut Reader<'_>, lab: &Lab, address: Ipv4Addr, line: Option<u32>) {
    for network in &lab.networks {
        if network.address.is_some_and(|a| a.address == address) {
            reader.error(line, format!("{address} is this computer's own address on {}", network.interface));
            return;
        }
        let routers = network.router.into_iter().chain(network.subnets.iter().filter_map(|s| s.router));
        if routers.into_iter().any(|r| r == address) {
            reader.error(line, format!("{address} is the router of {}", network.interface));
            return;
        }
    }
    let subnets: Vec<Ipv4Cidr> = lab.networks.iter().flat_map(told).collect();
    if let Some(net) = subnets.iter().find(|n| n.contains(address)) {
        if net.prefix < 31 && (address == net.network() || address == net.broadcast()) {
            reader.error(
                line,
                format!("{address} is the first or last address of its subnet, which no machine can have"),
            );
        }
        return;
    }
    // A network without `address` has the interface's own subnet, which only the computer knows.
    let all_told = !lab.networks.is_empty() && lab.networks.iter().all(|n| n.address.is_some());
    if all_told {
        let list: Vec<_> =
            subnets.iter().map(|n| Ipv4Cidr { address: n.network(), prefix: n.prefix }.to_string()).collect();
        reader.error(line, format!("{address} is in none of the lab's subnets ({})", list.join(", ")));
    }
}

/// What boots refer to, by name: a lab may have thousands.
struct Named<'l> {
    lab: &'l Lab,
    disks: HashMap<&'l Name, &'l Disk>,
    profiles: HashSet<&'l Name>,
}

fn references(reader: &mut Reader<'_>, named: &Named<'_>, boot: &Boot, line: Option<u32>) {
    match boot {
        Boot::Iscsi(iscsi) => iscsi_references(reader, named, iscsi, line),
        Boot::Install(Install { profile, then }) => {
            profile_reference(reader, named, profile, line);
            if let InstallThen::Iscsi(iscsi) = then {
                iscsi_references(reader, named, iscsi, line);
            }
        }
        Boot::Local | Boot::Wait | Boot::Menu | Boot::Ignore => {}
    }
}

fn iscsi_references(reader: &mut Reader<'_>, named: &Named<'_>, iscsi: &IscsiBoot, line: Option<u32>) {
    match named.disks.get(&iscsi.disk) {
        None => dangling(reader, "disk", &iscsi.disk, named.lab.disks.iter().map(|d| &d.name), line),
        Some(disk) => secrets(reader, named.lab, disk, iscsi, line),
    }
    if let Some(profile) = &iscsi.profile {
        profile_reference(reader, named, profile, line);
    }
}

/// A CHAP secret has to reach the initiator: DHCP carries none, and a kernel's command line carries no text that means something there.
fn secrets(reader: &mut Reader<'_>, lab: &Lab, disk: &Disk, iscsi: &IscsiBoot, line: Option<u32>) {
    let Some(chap) = &disk.chap else { return };
    if iscsi.profile.is_none() {
        if iscsi.via == IscsiVia::RootPath {
            let problem = Problem::error(
                line,
                format!("by root-path alone the machine never learns {}'s CHAP secret", disk.name),
            );
            reader.problem(problem.suggest("leave out via = \"root-path\""));
        }
        return;
    }
    // An iBFT carries any text.
    let profile = iscsi.profile.as_ref().and_then(|name| lab.profile(name));
    if profile.is_some_and(|p| p.iscsi_args == Some(IscsiArgs::None)) {
        return;
    }
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+=".contains(c));
    let mutual = chap.mutual.iter().all(|(user, secret)| plain(user) && plain(secret.expose()));
    if !(plain(&chap.user) && plain(chap.secret.expose()) && mutual) {
        let problem = Problem::error(
            line,
            format!(
                "{}'s CHAP user and secret would stand on the kernel's command line, which not all of their characters survive",
                disk.name
            ),
        );
        reader
            .problem(problem.suggest("use letters, digits and . _ - + = in them, or boot the disk without `profile`"));
    }
}

fn profile_reference(reader: &mut Reader<'_>, named: &Named<'_>, profile: &Name, line: Option<u32>) {
    if !named.profiles.contains(profile) {
        dangling(reader, "profile", profile, named.lab.profiles.iter().map(|p| &p.name), line);
    }
}

fn dangling<'n>(
    reader: &mut Reader<'_>,
    kind: &str,
    name: &Name,
    known: impl Iterator<Item = &'n Name>,
    line: Option<u32>,
) {
    if reader.is_unreadable(name.as_str()) {
        return;
    }
    let suggestion = match nearest(name.as_str(), known.map(Name::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add a [[{kind}]] of that name"),
    };
    reader.missing(line, format!("there is no {kind} `{name}`"), suggestion);
}
