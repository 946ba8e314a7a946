//! What a machine gets: the values of `boot`, `unknown` and `then`.

use super::fields::{Fields, Reader};
use super::text::nearest;
use crate::lab::problem::Problem;
use crate::lab::schema::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Name};

const FORMS: &str = "\"local\", \"wait\", \"menu\", \"ignore\", { iscsi = \"DISK\" } or { install = \"PROFILE\" }";
const VIA: &[(&str, IscsiVia)] = &[("script", IscsiVia::Script), ("root-path", IscsiVia::RootPath)];

pub(super) fn boot(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<Boot> {
    let item = fields.item(key)?;
    let line = fields.line(reader, key);
    if let Some(word) = item.as_str() {
        let words = [("local", Boot::Local), ("wait", Boot::Wait), ("menu", Boot::Menu), ("ignore", Boot::Ignore)];
        let near = nearest(word, words.iter().map(|(w, _)| *w));
        let found = words.into_iter().find(|(w, _)| *w == word).map(|(_, boot)| boot);
        if found.is_none() {
            let problem = Problem::error(line, format!("`{key}` cannot be \"{word}\"; it is {FORMS}"));
            reader.problem(match near {
                Some(near) => problem.suggest(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
        return found;
    }
    if !item.is_table_like() {
        reader.error(line, format!("`{key}` is {FORMS}"));
        return None;
    }
    let inner = reader.table(fields, key)?;
    match (inner.has("iscsi"), inner.has("install")) {
        (true, true) => {
            reader.problem(
                Problem::error(line, format!("`{key}` has both `iscsi` and `install`"))
                    .suggest("an installation onto a disk is { install = \"PROFILE\", then = { iscsi = \"DISK\" } }"),
            );
            None
        }
        (true, false) => iscsi(reader, &inner, key).map(Boot::Iscsi),
        (false, true) => {
            reader.only(&inner, &format!("`{key}` with install"), &["install", "then"]);
            let then = then(reader, &inner);
            let profile: Name = reader.parsed(&inner, "install")?;
            Some(Boot::Install(Install { profile, then: then? }))
        }
        (false, false) => {
            reader.only(&inner, &format!("`{key}`"), &["iscsi", "install"]);
            reader.missing(line, format!("`{key}` has neither `iscsi` nor `install`"), format!("it is {FORMS}"));
            None
        }
    }
}

fn iscsi(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<IscsiBoot> {
    reader.only(fields, &format!("`{key}` with iscsi"), &["iscsi", "profile", "via", "writes"]);
    let via = match fields.has("via") {
        true => reader.word(fields, "via", VIA),
        false => Some(IscsiVia::Script),
    };
    let writes = match fields.has("writes") {
        true => Some(reader.word(fields, "writes", super::disk::WRITES)?),
        false => None,
    };
    let profile: Option<Name> = match fields.has("profile") {
        true => Some(reader.parsed(fields, "profile")?),
        false => None,
    };
    let disk: Name = reader.parsed(fields, "iscsi")?;
    let via = via?;
    if via == IscsiVia::RootPath && profile.is_some() {
        let line = fields.line(reader, "via");
        reader.problem(
            Problem::error(line, "with via = \"root-path\" the disk's own loader starts, never a profile's kernel")
                .suggest("remove `profile` or `via`"),
        );
        return None;
    }
    Some(IscsiBoot { disk, profile, via, writes })
}

fn then(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<InstallThen> {
    let Some(item) = fields.item("then") else { return Some(InstallThen::Local) };
    let line = fields.line(reader, "then");
    if item.as_str() == Some("local") {
        return Some(InstallThen::Local);
    }
    if item.is_table_like() {
        let inner = reader.table(fields, "then")?;
        if inner.has("iscsi") {
            return iscsi(reader, &inner, "then").map(InstallThen::Iscsi);
        }
    }
    reader.error(line, "`then` is \"local\" or { iscsi = \"DISK\" }: what the machine gets after its installation");
    None
}
