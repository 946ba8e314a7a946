//! Boot files: which one each kind of machine would get, whether it is signed, and what of `firmware/` is no boot file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use super::{About, Check, Facts, Row, State};
use crate::boot::{Arch, Firmware, find_firmware, firmware_remedy, pe_machine, pe_signed};
use crate::lang::Param;

/// Few boards have the rest: only who names them is told.
const USUAL: [Arch; 4] = [Arch::Bios, Arch::UefiX64, Arch::UefiIa32, Arch::UefiArm64];

pub(super) struct Boot;

impl Check for Boot {
    fn name(&self) -> &'static str {
        "firmware"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let dir = facts.folder.as_ref().map_or_else(|| facts.dir.join("firmware"), |f| f.firmware());
        let found = find_firmware(&dir);
        let mut rows: Vec<Row> = archs(facts).into_iter().map(|arch| of(&found, facts, arch)).collect();
        rows.extend(own_files(&dir, &found));
        rows
    }
}

/// The usual ones, and those that lab.toml names.
fn archs(facts: &Facts) -> BTreeSet<Arch> {
    USUAL.into_iter().chain(named(facts)).collect()
}

fn named(facts: &Facts) -> impl Iterator<Item = Arch> {
    let rules = facts.lab.firmware.iter().filter_map(|rule| rule.arch);
    let profiles = facts.lab.profiles.iter().flat_map(|p| p.arch.iter().copied());
    rules.chain(profiles).map(Arch::without_http)
}

fn of(found: &Firmware, facts: &Facts, arch: Arch) -> Row {
    let about = About("firmware", arch.as_str());
    // A rule for this architecture comes before what was found.
    let rule =
        facts.lab.firmware.iter().find(|r| r.mac_prefix.is_none() && r.arch.map(Arch::without_http) == Some(arch));
    let by_rule = rule.and_then(|r| Some((r.file.clone(), found.files.get(&r.file)?.clone())));
    let Some((name, path)) = by_rule.or_else(|| found.by_arch.get(&arch).map(|f| (f.name.clone(), f.path.clone())))
    else {
        // Without a boot file for either of the two nothing that is common boots.
        let common = [Arch::Bios, Arch::UefiX64];
        let nothing = common.contains(&arch) && !common.iter().any(|a| found.by_arch.contains_key(a));
        let state = if nothing || named(facts).any(|a| a == arch) { State::Failed } else { State::Warning };
        return about.row("missing", state, &[("arch", &arch), ("remedy", &firmware_remedy(arch))]);
    };
    if let Some(made_for) = found.runs_on.get(&name).filter(|made_for| **made_for != arch) {
        return about.row("unfit", State::Failed, &[("arch", &arch), ("file", &name), ("made_for", made_for)]);
    }
    let path = path.display();
    let case = match (arch.is_uefi(), signed(&name, Path::new(&path.to_string()))) {
        (true, true) => "signed",
        (true, false) => "unsigned",
        (false, _) => "found",
    };
    about.row(case, State::Ok, &[("arch", &arch), ("file", &name), ("path", &path)])
}

fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    if let Ok(file) = File::open(path) {
        // What could not be read is short, and told as what it then is.
        let _ = file.take(4096).read_to_end(&mut head);
    }
    head
}

fn signed(name: &str, path: &Path) -> bool {
    name.ends_with(".efi") && pe_signed(&head(path))
}

/// Files below the lab's `firmware/` that hide the system's and boot nothing.
fn own_files(dir: &Path, found: &Firmware) -> Vec<Row> {
    let own = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mut rows = Vec::new();
    for (name, path) in found.files.iter().filter(|(_, path)| path.starts_with(&own)) {
        let about = About("firmware", name);
        let lower = name.to_ascii_lowercase();
        if fs::metadata(path).is_ok_and(|meta| meta.len() == 0) {
            rows.push(about.row("empty", State::Failed, &[("file", name)]));
        } else if lower.ends_with(".efi") {
            match (pe_machine(&head(path)), found.runs_on.get(name), hinted(&lower)) {
                (None, _, _) => rows.push(about.row("not-pe", State::Failed, &[("file", name)])),
                (Some(_), Some(made_for), Some(arch)) if *made_for != arch => {
                    let words: [Param<'_>; 3] = [("file", name), ("made_for", made_for), ("arch", &arch)];
                    rows.push(about.row("wrong-machine", State::Failed, &words));
                }
                _ => {}
            }
        }
    }
    rows
}

/// The architecture that a name speaks of, as those who put the file there understood it.
fn hinted(name: &str) -> Option<Arch> {
    let words = [
        ("arm64", Arch::UefiArm64),
        ("aarch64", Arch::UefiArm64),
        ("aa64", Arch::UefiArm64),
        ("x86_64", Arch::UefiX64),
        ("amd64", Arch::UefiX64),
        ("x64", Arch::UefiX64),
        ("i386", Arch::UefiIa32),
        ("ia32", Arch::UefiIa32),
        ("riscv64", Arch::UefiRiscv64),
        ("loong64", Arch::UefiLoong64),
    ];
    words.iter().find(|(word, _)| name.contains(word)).map(|(_, arch)| *arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_speak_of_its_architecture() {
        assert_eq!(hinted("arm64/snponly.efi"), Some(Arch::UefiArm64));
        assert_eq!(hinted("bootx64.efi"), Some(Arch::UefiX64));
        assert_eq!(hinted("snponly.efi"), None);
    }
}
