//! lab.toml, from text to types, with every problem and its line.
//!
//! [`read`] goes on after each problem: what can be read is in [`Reading::lab`], and `lines` says where it stands so that checks
//! of the folder can point there too. [`parse`] is for those who only take a lab without errors. The order is: syntax
//! ([`syntax`]), then each entry by itself ([`network`], [`profile`], [`disk`], [`host`], by means of [`fields`]), then what
//! entries say of each other ([`cross`]).

mod boot;
mod cross;
mod disk;
mod fields;
mod host;
mod network;
mod profile;
mod syntax;
mod text;

use std::collections::BTreeMap;

use super::problem::Problem;
use super::schema::{Lab, Ports};
use crate::boot::{Part, Setting};
pub(super) use cross::range_problems;
use fields::{Fields, Reader};
pub(super) use text::nearest;
pub use text::{derived_iqn, duration_text, parse_duration, parse_size};

/// What was read, as far as it could be.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whatever was in order.
    pub(super) lab: Lab,
    /// Where the entries of `lab` stand.
    pub(super) lines: LabLines,
    /// What was not, in the order of lines.
    pub(super) problems: Vec<Problem>,
}

/// Lines of one entry: of its header, and of its keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    header: Option<u32>,
    keys: BTreeMap<String, u32>,
}

impl Lines {
    /// The line of a key, else of the entry.
    pub(super) fn of(&self, key: &str) -> Option<u32> {
        self.keys.get(key).copied().or(self.header)
    }

    /// Whether the key is there.
    fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

/// Parallel to the vectors of [`Lab`].
#[derive(Debug, Default)]
pub(super) struct LabLines {
    pub(super) networks: Vec<Lines>,
    pub(super) subnets: Vec<Vec<Lines>>,
    pub(super) ports: Lines,
    pub(super) firmware: Vec<Lines>,
    pub(super) profiles: Vec<Lines>,
    pub(super) disks: Vec<Lines>,
    pub(super) hosts: Vec<Lines>,
}

/// Reads lab.toml.
///
/// # Errors
/// Every problem, warnings included, if at least one of them is an error.
pub fn parse(text: &str) -> Result<Lab, Vec<Problem>> {
    let reading = read(text);
    if reading.problems.iter().any(Problem::is_error) { Err(reading.problems) } else { Ok(reading.lab) }
}

/// Where settings of `lab` stand in this text: their lines, and whether they are there at all. Those whose entry is another one in the
/// text than in `lab` are left as they are.
pub fn locate<'s>(text: &str, lab: &Lab, settings: impl Iterator<Item = &'s mut Setting>) {
    let Reading { lab: written, lines, .. } = read(text);
    for setting in settings {
        let at = setting.index;
        let found = match setting.part {
            Part::Network => same(&written.networks, &lab.networks, at, |n| &n.interface).and(lines.networks.get(at)),
            Part::Firmware => same(&written.firmware, &lab.firmware, at, |f| &f.file).and(lines.firmware.get(at)),
            Part::Profile => same(&written.profiles, &lab.profiles, at, |p| &p.name).and(lines.profiles.get(at)),
            Part::Disk => same(&written.disks, &lab.disks, at, |d| &d.name).and(lines.disks.get(at)),
            Part::Host => same(&written.hosts, &lab.hosts, at, |h| &h.macs).and(lines.hosts.get(at)),
        };
        if let Some(lines) = found {
            setting.line = lines.of(&setting.key);
            setting.absent = Some(!lines.has(&setting.key));
        }
    }
}

/// Whether two lists have the same entry at a place.
fn same<'a, T, K: PartialEq + 'a>(a: &'a [T], b: &'a [T], at: usize, key: impl Fn(&'a T) -> &'a K) -> Option<()> {
    (key(a.get(at)?) == key(b.get(at)?)).then_some(())
}

/// Reads as much of lab.toml as can be read.
pub(super) fn read(text: &str) -> Reading {
    let mut reader = Reader::new(text);
    let Some(document) = syntax::document(text, &mut reader) else {
        return Reading { problems: reader.into_problems(), ..Reading::default() };
    };
    let root = Fields::root(&document);
    let mut lab = Lab::default();
    let mut lines = LabLines::default();

    let known = ["version", "network", "ports", "firmware", "profile", "disk", "host"];
    reader.only(&root, "lab.toml", &known);
    version(&mut reader, &root);
    for (fields, _) in reader.entries(&root, "network", true) {
        if let Some((network, subnets)) = network::network(&mut reader, &fields) {
            lab.networks.push(network);
            lines.networks.push(fields.lines(&reader));
            lines.subnets.push(subnets);
        }
    }
    if let Some(fields) = reader.table(&root, "ports") {
        lab.ports = ports(&mut reader, &fields);
        lines.ports = fields.lines(&reader);
    }
    for (fields, _) in reader.entries(&root, "firmware", false) {
        if let Some(rule) = profile::firmware(&mut reader, &fields) {
            lab.firmware.push(rule);
            lines.firmware.push(fields.lines(&reader));
        }
    }
    for (fields, _) in reader.entries(&root, "profile", false) {
        if let Some(profile) = profile::profile(&mut reader, &fields) {
            lab.profiles.push(profile);
            lines.profiles.push(fields.lines(&reader));
        } else {
            reader.unreadable(&fields);
        }
    }
    for (fields, _) in reader.entries(&root, "disk", false) {
        if let Some(disk) = disk::disk(&mut reader, &fields) {
            lab.disks.push(disk);
            lines.disks.push(fields.lines(&reader));
        } else {
            reader.unreadable(&fields);
        }
    }
    for (fields, _) in reader.entries(&root, "host", false) {
        if let Some(host) = host::host(&mut reader, &fields) {
            lab.hosts.push(host);
            lines.hosts.push(fields.lines(&reader));
        }
    }
    cross::check(&mut reader, &lab, &lines);
    Reading { lab, lines, problems: reader.into_problems() }
}

/// For fuzzing: reading never panics, and what is read without errors is read the same again.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let first = parse(text);
    assert_eq!(first, parse(text));
    for problem in first.err().unwrap_or_default() {
        assert!(!problem.to_string().contains('\u{1b}'));
    }
}

fn version(reader: &mut Reader<'_>, root: &Fields<'_>) {
    match reader.integer(root, "version", i64::MIN..=i64::MAX) {
        Some(1) => {}
        Some(other) => {
            let line = root.line(reader, "version");
            reader.problem(
                Problem::error(line, format!("version {other} is not known; this program reads version 1"))
                    .suggest("use a newer Bootyard, or write `version = 1`"),
            );
        }
        None if root.has("version") => {}
        None => reader.missing(Some(1), "`version` is missing", "write `version = 1` as the first line"),
    }
}

fn ports(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Ports {
    reader.only(fields, "[ports]", &["http", "https", "iscsi"]);
    let standard = Ports::default();
    let mut port =
        |key, standard| reader.integer(fields, key, 1..=65535).and_then(|n| u16::try_from(n).ok()).unwrap_or(standard);
    Ports {
        http: port("http", standard.http),
        https: port("https", standard.https),
        iscsi: port("iscsi", standard.iscsi),
    }
}

#[cfg(test)]
mod tests;
