//! lab.toml and the files that it names: what `bootyard check` says, as rows.

use super::{Check, Facts, Row, State, row};
use crate::lab;
use crate::lang::{self, Param};

pub(super) struct LabFile;

impl Check for LabFile {
    fn name(&self) -> &'static str {
        "lab"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let Some(folder) = &facts.folder else {
            let dir = facts.dir.display();
            return vec![row("lab", "", "none", State::Warning, &[("dir", &dir)])];
        };
        let problems = lab::check_entries(folder, &facts.interfaces);
        if problems.is_empty() {
            let (disks, profiles, hosts) = (facts.lab.disks.len(), facts.lab.profiles.len(), facts.lab.hosts.len());
            let words: [Param<'_>; 3] = [("disks", &disks), ("profiles", &profiles), ("hosts", &hosts)];
            return vec![row("lab", "", "fine", State::Ok, &words)];
        }
        let mut rows: Vec<Row> = Vec::new();
        for problem in &problems {
            let line = problem.line.map_or_else(|| "file".to_owned(), |line| format!("line-{line}"));
            // Several may be of one line.
            let what = match rows.iter().filter(|r| r.id.starts_with(&format!("lab:{line}"))).count() {
                0 => line,
                n => format!("{line}-{}", n + 1),
            };
            let (case, state) = match problem.is_error() {
                true => ("error", State::Failed),
                false => ("warning", State::Warning),
            };
            let at = problem.line.map_or_else(|| "lab.toml".to_owned(), |line| format!("lab.toml, line {line}"));
            let suggestion =
                problem.suggestion.as_deref().unwrap_or_else(|| lang::sentence("doctor-words", "correct-line"));
            rows.push(row(
                "lab",
                &what,
                case,
                state,
                &[("at", &at), ("problem", &problem.message), ("suggestion", &suggestion)],
            ));
        }
        rows
    }
}
