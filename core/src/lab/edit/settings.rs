//! Changing single keys by their places and names. The reader of the file says whether the values may stand there, and of what it says
//! this finds out which change it is about.

use std::collections::BTreeMap;

use toml_edit::{Array, ArrayOfTables, Document as Spanned, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::tables::{Removed, on_host, place_last, set, tidy, unset, without_entry};
use super::words::boot_value;
use super::{Document, HostRef};
use crate::api::HostId;
use crate::lab::check::check_changed;
use crate::lab::folder::{Folder, LabError};
use crate::lab::problem::Problem;
use crate::lab::read::read;
use crate::lab::settings::{
    NewSecret, SettingChange, SettingPlace, SettingProblem, SettingValue, entries, is_entry, item_of, renamed,
    setting_keys,
};
use crate::net::Interface;

/// What changes are judged by beside the file itself.
#[derive(Debug)]
pub struct SettingSurroundings<'a> {
    /// Where the boot files are.
    pub folder: &'a Folder,
    /// This computer's.
    pub interfaces: &'a [Interface],
    /// The entries of the machines that the changes are about.
    pub hosts: &'a BTreeMap<HostId, HostRef>,
}

impl Document {
    /// Makes these changes, all or none. Told are the problems that they bring; where one is an error nothing has changed.
    ///
    /// # Errors
    /// [`LabError::NoEntry`] where a place is not there any more.
    pub fn change_settings(
        &mut self,
        changes: &[SettingChange],
        around: &SettingSurroundings<'_>,
    ) -> Result<Vec<SettingProblem>, LabError> {
        if let Some(unknown) = unknown_key(changes) {
            return Ok(vec![unknown]);
        }
        let with_files = changes.iter().any(names_file);
        let problems = |text: &str| {
            let mut all = read(text).problems;
            all.extend(check_changed(around.folder, text, around.interfaces, with_files));
            all
        };
        let before = problems(self.text());
        let (mut next, mut hosts) = (self.doc.clone(), around.hosts.clone());
        for (number, change) in changes.iter().enumerate() {
            carry_out(&mut next, changes.get(..number).unwrap_or_default(), change, &hosts)?;
            // One entry for all of a machine's keys.
            if let SettingPlace::Host { host } = change.place()
                && let Some(index) = appended(&next, changes_something(change), hosts.get(host).copied())
            {
                hosts.insert(*host, HostRef::Entry(index));
            }
        }
        let text = super::splice(&self.text, &next.to_string());
        let after = problems(&text);
        let found = attributed(&text, changes, &hosts, &before, &after);
        if !found.iter().any(|problem| problem.error) {
            self.doc = super::checked(&super::plain(&text))?;
            self.text = text;
        }
        Ok(found)
    }
}

/// Whether a change names a boot file, which must be there.
fn names_file(change: &SettingChange) -> bool {
    match change.place() {
        SettingPlace::Firmware { .. } => true,
        SettingPlace::Host { .. } => change.key() == Some("firmware"),
        _ => false,
    }
}

/// Whether it leaves something that was not there: a key that is taken away makes no entry.
fn changes_something(change: &SettingChange) -> bool {
    matches!(change, SettingChange::Set { value: Some(_), .. })
}

/// The number of the entry that a machine without one has just been given.
fn appended(doc: &DocumentMut, written: bool, host: Option<HostRef>) -> Option<usize> {
    let new = written && matches!(host, Some(HostRef::New { .. }));
    new.then(|| entries(doc.get("host")).len().checked_sub(1)).flatten()
}

/// What is identity or a file's business is not changed so.
fn unknown_key(changes: &[SettingChange]) -> Option<SettingProblem> {
    let wrong = |(number, change): (usize, &SettingChange)| {
        let known = setting_keys(change.place());
        let odd = match change {
            SettingChange::Set { key, .. } => Some(key).filter(|key| !known.contains(&key.as_str())),
            SettingChange::Add { keys, .. } => keys.keys().find(|key| !known.contains(&key.as_str())),
            SettingChange::Remove { .. } => None,
        }?;
        let message = format!("`{odd}` cannot be changed here; expected one of {}", known.join(", "));
        Some(SettingProblem { change: Some(number), message, error: true })
    };
    changes.iter().enumerate().find_map(wrong)
}

fn carry_out(
    doc: &mut DocumentMut,
    earlier: &[SettingChange],
    change: &SettingChange,
    hosts: &BTreeMap<HostId, HostRef>,
) -> Result<(), LabError> {
    match change {
        // Nothing is taken away from what is not there.
        SettingChange::Set { place: SettingPlace::Ports, value: None, .. } if doc.get("ports").is_none() => Ok(()),
        SettingChange::Set { place: SettingPlace::Host { host }, value: None, .. }
            if matches!(hosts.get(host), Some(HostRef::New { .. })) =>
        {
            Ok(())
        }
        SettingChange::Set { place, key, value } => {
            on_place(doc, &renamed(earlier, place), hosts, &mut |table| write(table, key, value.as_ref()))
        }
        SettingChange::Add { place, keys } => add(doc, place, keys),
        SettingChange::Remove { place } => remove(doc, place),
    }
}

type Edit<'e> = &'e mut dyn FnMut(&mut dyn TableLike);

fn on_place(
    doc: &mut DocumentMut,
    place: &SettingPlace,
    hosts: &BTreeMap<HostId, HostRef>,
    edit: Edit<'_>,
) -> Result<(), LabError> {
    match place {
        SettingPlace::Network { .. } => on_one(doc.get_mut("network"), place, edit),
        SettingPlace::Subnet { interface, .. } => {
            let mut outcome = Err(LabError::NoEntry);
            let network = SettingPlace::Network { interface: interface.clone() };
            on_one(doc.get_mut("network"), &network, &mut |table| {
                outcome = on_one(table.get_mut("subnet"), place, &mut *edit);
            })?;
            outcome
        }
        SettingPlace::Ports => {
            if doc.get("ports").is_none() {
                let mut table = Table::new();
                place_last(doc, &mut table);
                doc.insert("ports", Item::Table(table));
            }
            on_one(doc.get_mut("ports"), place, edit)
        }
        SettingPlace::Firmware { .. } => on_one(doc.get_mut("firmware"), place, edit),
        SettingPlace::Profile { .. } => on_one(doc.get_mut("profile"), place, edit),
        SettingPlace::Disk { .. } => on_one(doc.get_mut("disk"), place, edit),
        SettingPlace::Host { host } => on_host(doc, *hosts.get(host).ok_or(LabError::NoEntry)?, edit),
    }
}

/// Edits the table of `item` that is known as `place`.
#[allow(clippy::needless_pass_by_value, reason = "the borrow is used up")]
fn on_one(item: Option<&mut Item>, place: &SettingPlace, edit: Edit<'_>) -> Result<(), LabError> {
    match item {
        Some(Item::Table(table)) if is_entry(table, place) => edit(table),
        Some(Item::Value(Value::InlineTable(table))) if is_entry(table, place) => {
            edit(table);
            tidy(table);
        }
        Some(Item::ArrayOfTables(all)) => edit(all.iter_mut().find(|t| is_entry(*t, place)).ok_or(LabError::NoEntry)?),
        Some(Item::Value(Value::Array(all))) => {
            let mut inline = all.iter_mut().filter_map(Value::as_inline_table_mut);
            let table = inline.find(|t| is_entry(*t, place)).ok_or(LabError::NoEntry)?;
            edit(table);
            tidy(table);
        }
        _ => return Err(LabError::NoEntry),
    }
    Ok(())
}

/// Writes a key, or takes it away.
fn write(table: &mut dyn TableLike, key: &str, value: Option<&SettingValue>) {
    let former = item_of(table, key).and_then(Item::as_array).is_some();
    let value = value.and_then(|value| toml_of(value, former));
    match key.split_once('.') {
        Some((outer, inner)) => write_inner(table, outer, inner, value),
        None => write_plain(table, key, value),
    }
}

fn write_plain(table: &mut dyn TableLike, key: &str, value: Option<Value>) {
    match value {
        Some(value) => set(table, key, value),
        None => unset(table, key),
    }
}

fn write_inner(table: &mut dyn TableLike, outer: &str, inner: &str, value: Option<Value>) {
    let within = table.get(outer).is_some_and(Item::is_table_like);
    if !within && inner == "default" {
        // `lease = "30m"` is its `default`.
        return write_plain(table, outer, value);
    }
    if !within {
        let Some(value) = value else { return };
        let mut inline = InlineTable::new();
        if let Some(plain) = table.get(outer).and_then(Item::as_value) {
            inline.insert("default", plain.clone().decorated("", ""));
        }
        inline.insert(inner, value);
        inline.fmt();
        return set(table, outer, inline.into());
    }
    let empty = match table.get_mut(outer) {
        Some(Item::Value(Value::InlineTable(inline))) => {
            write_plain(inline, inner, value);
            tidy(inline);
            inline.is_empty()
        }
        Some(Item::Table(own)) => {
            write_plain(own, inner, value);
            own.is_empty()
        }
        _ => false,
    };
    if empty {
        table.remove(outer);
    }
}

/// `None`: nothing is written. `listed`: a list stood there before.
fn toml_of(value: &SettingValue, listed: bool) -> Option<Value> {
    Some(match value {
        SettingValue::Flag(on) => (*on).into(),
        SettingValue::Number(number) => (*number).into(),
        SettingValue::Text(text) | SettingValue::Secret(NewSecret(Some(text))) => text.as_str().into(),
        SettingValue::List(all) => match all.as_slice() {
            [] => return None,
            [one] if !listed => one.as_str().into(),
            all => all.iter().map(String::as_str).collect::<Array>().into(),
        },
        SettingValue::Numbers(all) => all.iter().copied().collect::<Array>().into(),
        SettingValue::Boot(boot) => boot_value(boot),
        SettingValue::Secret(NewSecret(None)) => return None,
    })
}

fn add(doc: &mut DocumentMut, place: &SettingPlace, keys: &BTreeMap<String, SettingValue>) -> Result<(), LabError> {
    let known_by = match place {
        SettingPlace::Subnet { subnet, .. } => vec![("subnet", Some(subnet.clone()))],
        SettingPlace::Firmware { arch, mac } => vec![("arch", arch.clone()), ("mac", mac.clone())],
        _ => return Err(LabError::NoEntry),
    };
    let fill = |table: &mut dyn TableLike| {
        for (key, text) in known_by {
            write(table, key, text.map(SettingValue::Text).as_ref());
        }
        for (key, value) in keys {
            write(table, key, Some(value));
        }
    };
    match place {
        SettingPlace::Subnet { interface, .. } => {
            let network = SettingPlace::Network { interface: interface.clone() };
            let mut fill = Some(fill);
            on_one(doc.get_mut("network"), &network, &mut |table| {
                if let Some(fill) = fill.take() {
                    append_within(table, "subnet", fill);
                }
            })
        }
        _ => {
            super::append(doc, "firmware", fill);
            Ok(())
        }
    }
}

/// Appends an entry to a list inside a table: behind that table, wherever it stands in the file.
fn append_within(table: &mut dyn TableLike, key: &str, fill: impl FnOnce(&mut dyn TableLike)) {
    // Inside `network = { … }` all is inline.
    if let Some(Item::Value(Value::Array(all))) = table.get_mut(key) {
        let mut inline = InlineTable::new();
        fill(&mut inline);
        inline.fmt();
        all.push(inline);
        return;
    }
    let mut new = Table::new();
    fill(&mut new);
    match table.get_mut(key) {
        Some(Item::ArrayOfTables(all)) => {
            new.set_position(all.iter().last().and_then(Table::position));
            all.push(new);
        }
        // `[network.subnet]` with single brackets.
        Some(item @ Item::Table(_)) => {
            super::tables::to_list(item);
            if let Some(all) = item.as_array_of_tables_mut() {
                new.set_position(all.iter().last().and_then(Table::position));
                all.push(new);
            }
        }
        _ => {
            let mut all = ArrayOfTables::new();
            all.push(new);
            table.insert(key, Item::ArrayOfTables(all));
        }
    }
}

fn remove(doc: &mut DocumentMut, place: &SettingPlace) -> Result<(), LabError> {
    match place {
        SettingPlace::Firmware { .. } => without_entry(doc, "firmware", place),
        SettingPlace::Subnet { interface, .. } => {
            let network = SettingPlace::Network { interface: interface.clone() };
            let mut outcome = Err(LabError::NoEntry);
            on_one(doc.get_mut("network"), &network, &mut |table| outcome = remove_within(table, "subnet", place))?;
            if let Some(removed) = outcome? {
                removed.leave_comment(doc);
            }
            Ok(())
        }
        _ => Err(LabError::NoEntry),
    }
}

/// What it was taken out as, unless it was written inline.
fn remove_within(table: &mut dyn TableLike, key: &str, place: &SettingPlace) -> Result<Option<Removed>, LabError> {
    let (removed, left) = match table.get_mut(key) {
        Some(Item::ArrayOfTables(all)) => {
            let index = all.iter().position(|t| is_entry(t, place)).ok_or(LabError::NoEntry)?;
            let removed = all.get(index).map(Removed::of);
            all.remove(index);
            (removed, all.len())
        }
        Some(Item::Value(Value::Array(all))) => {
            let is = |v: &Value| v.as_inline_table().is_some_and(|t| is_entry(t, place));
            let index = all.iter().position(is).ok_or(LabError::NoEntry)?;
            all.remove(index);
            (None, all.len())
        }
        Some(Item::Table(own)) if is_entry(own, place) => (Some(Removed::of(own)), 0),
        _ => return Err(LabError::NoEntry),
    };
    if left == 0 {
        table.remove(key);
    }
    Ok(removed)
}

/// The problems that are new, each with the change on whose line it is.
fn attributed(
    text: &str,
    changes: &[SettingChange],
    hosts: &BTreeMap<HostId, HostRef>,
    before: &[Problem],
    after: &[Problem],
) -> Vec<SettingProblem> {
    let lines: Vec<Vec<u32>> = lines_of(text, changes, hosts);
    let mut out = Vec::new();
    for problem in after {
        let here = |number: &usize| lines.get(*number).is_some_and(|l| problem.line.is_some_and(|at| l.contains(&at)));
        let on_line: Vec<usize> = (0..changes.len()).filter(here).collect();
        let named = |number: &&usize| {
            let key = changes.get(**number).and_then(SettingChange::key).unwrap_or_default();
            let inner = key.rsplit('.').next().unwrap_or_default();
            !inner.is_empty() && problem.message.contains(&format!("`{inner}`"))
        };
        let change = on_line.iter().find(named).or_else(|| on_line.first()).copied();
        let old = before.iter().any(|b| b.message == problem.message);
        // A warning of something else, and whatever was wrong already, is not these changes' doing.
        if change.is_none() && (old || !problem.is_error()) {
            continue;
        }
        let mut message = problem.message.clone();
        if let Some(suggestion) = &problem.suggestion {
            message = format!("{message}; {suggestion}");
        }
        let said = SettingProblem { change, message, error: problem.is_error() };
        if !out.contains(&said) {
            out.push(said);
        }
    }
    out
}

/// The lines of what each change wrote: of its key, of all of an added entry, and of the header where a key was taken away.
fn lines_of(text: &str, changes: &[SettingChange], hosts: &BTreeMap<HostId, HostRef>) -> Vec<Vec<u32>> {
    let plain = super::plain(text);
    let Ok(document) = Spanned::parse(plain.clone()) else { return vec![Vec::new(); changes.len()] };
    let line_at = |at: usize| {
        let before = plain.get(..at).unwrap_or_default().bytes().filter(|b| *b == b'\n').count();
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    };
    let root = document.as_table();
    let lines = |change: &SettingChange| -> Vec<u32> {
        let Some(table) = table_of(root, &renamed(changes, change.place()), hosts) else { return Vec::new() };
        let of_key = |key: &str| {
            let outer = key.split('.').next().unwrap_or(key);
            let spans = [
                table.get_key_value(outer).and_then(|(key, item)| key.span().or_else(|| item.span())),
                item_of(table, key).and_then(Item::span),
            ];
            spans.into_iter().flatten().map(|span| line_at(span.start)).collect::<Vec<u32>>()
        };
        let mut lines = match change.key() {
            Some(key) => of_key(key),
            None => table.iter().flat_map(|(key, _)| of_key(key)).collect(),
        };
        if lines.is_empty() || change.key().is_none() {
            let first = table.iter().filter_map(|(key, _)| table.get_key_value(key)?.0.span()).map(|s| s.start).min();
            lines.extend(first.and_then(|first| header_above(&plain, line_at(first))));
        }
        lines
    };
    changes.iter().map(lines).collect()
}

/// The line of the header above the line of an entry's first key; that line itself where the entry is written inline.
fn header_above(plain: &str, first: u32) -> Option<u32> {
    let above: Vec<&str> = plain.lines().take(usize::try_from(first).ok()?).collect();
    let at = above.iter().rposition(|line| line.trim_start().starts_with('['));
    at.and_then(|at| u32::try_from(at + 1).ok()).or(Some(first))
}

fn table_of<'d>(
    root: &'d dyn TableLike,
    place: &SettingPlace,
    hosts: &BTreeMap<HostId, HostRef>,
) -> Option<&'d dyn TableLike> {
    let of = |within: &'d dyn TableLike, key: &str, place: &SettingPlace| {
        entries(within.get(key)).into_iter().find(|table| is_entry(*table, place))
    };
    match place {
        SettingPlace::Network { .. } => of(root, "network", place),
        SettingPlace::Subnet { interface, .. } => {
            let network = of(root, "network", &SettingPlace::Network { interface: interface.clone() })?;
            of(network, "subnet", place)
        }
        SettingPlace::Ports => of(root, "ports", place),
        SettingPlace::Firmware { .. } => of(root, "firmware", place),
        SettingPlace::Profile { .. } => of(root, "profile", place),
        SettingPlace::Disk { .. } => of(root, "disk", place),
        SettingPlace::Host { host } => {
            let all = entries(root.get("host"));
            match hosts.get(host)? {
                HostRef::Entry(index) => all.get(*index).copied(),
                // Nothing was written of it.
                HostRef::New { .. } => None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
