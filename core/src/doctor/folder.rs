//! The lab's folder: its parts, whether they can be written, and that others cannot read its secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use super::{About, Act, Check, Facts, Fix, Row, State, row, shell_word};
use crate::lang::Param;

pub(super) struct Parts;

impl Check for Parts {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn look(&self, facts: &Facts) -> Vec<Row> {
        let Some(folder) = &facts.folder else { return Vec::new() };
        let dir = folder.dir();
        let mut rows = vec![private(&folder.toml())];
        let parts = [folder.disks(), folder.media(), folder.firmware()];
        let names = |wrong: &dyn Fn(&Path) -> bool| {
            let wrong = parts.iter().filter(|p| wrong(p));
            wrong.filter_map(|p| p.file_name()?.to_str()).collect::<Vec<_>>().join(", ")
        };
        let missing = names(&|p| !p.is_dir());
        // Media and firmware are only read.
        let shut: Vec<String> = [dir.to_owned(), folder.disks(), folder.db(), folder.toml()]
            .iter()
            .filter(|p| p.exists() && access(p.as_path(), Access::WRITE_OK).is_err())
            .map(|p| p.display().to_string())
            .collect();
        let shown = dir.display();
        rows.push(if !missing.is_empty() {
            let words: [Param<'_>; 2] = [("missing", &missing), ("dir", &shown)];
            row("folder", "parts", "missing", State::Failed, &words).with(Fix::act("folders", &words, Act::Folders))
        } else if !shut.is_empty() {
            let words: [Param<'_>; 1] = [("paths", &shut.join(", "))];
            let command = format!("sudo chown -R \"$(id -un)\" {}", shell_word(&dir.display().to_string()));
            let fix = Fix::command("own", &words, command);
            row("folder", "parts", "read-only", State::Failed, &words).with(fix)
        } else {
            row("folder", "parts", "fine", State::Ok, &[("dir", &shown)])
        });
        rows
    }
}

/// lab.toml may hold CHAP secrets, so nobody else reads it, with or without one today.
fn private(toml: &Path) -> Row {
    let about = About("folder", "lab.toml");
    let shown = toml.display();
    let mode = match fs::metadata(toml) {
        Ok(meta) => meta.permissions().mode() & 0o777,
        Err(error) => return about.row("unreadable", State::Failed, &[("path", &shown), ("error", &error)]),
    };
    if mode & 0o077 == 0 {
        return about.row("private", State::Ok, &[]);
    }
    let shown_mode = format!("{mode:04o}");
    let words: [Param<'_>; 2] = [("path", &shown), ("mode", &shown_mode)];
    about.row("open", State::Warning, &words).with(Fix::act("private", &words, Act::Private))
}
