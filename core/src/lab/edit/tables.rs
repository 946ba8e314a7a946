//! Finding, adding and removing tables of the document, whichever way a person wrote them: `[x]`, `[[x]]`, `x = [{ … }]`.

use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::HostRef;
use crate::lab::folder::LabError;
use crate::lab::schema::Name;
use crate::lab::settings::{SettingPlace, entries, is_entry};

/// Sets a key; the spaces and the comment around an old value stay.
pub(super) fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
        *value.decor_mut() = old.decor().clone();
        *old = value;
        return;
    }
    table.remove(key);
    table.insert(key, Item::Value(value));
}

/// Takes a key away, with the comment directly above it. What stands apart from that, behind an empty line, is not about it and stays.
pub(super) fn unset(table: &mut dyn TableLike, key: &str) {
    let keys: Vec<String> = table.iter().filter(|(_, item)| item.is_value()).map(|(key, _)| key.to_owned()).collect();
    let at = keys.iter().position(|k| k == key);
    let above = at.and_then(|_| table.get_key_value(key)?.0.leaf_decor().prefix()?.as_str()).unwrap_or_default();
    let apart = apart(above).to_owned();
    table.remove(key);
    let Some(at) = at.filter(|_| !apart.is_empty()) else { return };
    if let Some(mut next) = keys.get(at + 1).and_then(|next| table.key_mut(next)) {
        let own = next.leaf_decor().prefix().and_then(|p| p.as_str()).unwrap_or_default().to_owned();
        next.leaf_decor_mut().set_prefix(apart + &own);
    } else if let Some(last) = at.checked_sub(1).and_then(|at| table.get_mut(keys.get(at)?)?.as_value_mut()) {
        let own = last.decor().suffix().and_then(|s| s.as_str()).unwrap_or_default().to_owned();
        last.decor_mut().set_suffix(format!("{own}\n{}", apart.trim_end()));
    }
}

/// Spaces as they are usual between braces, unless there are comments between them (TOML 1.1), which would go with the old ones.
pub(super) fn tidy(table: &mut InlineTable) {
    let mut inner = table.clone();
    inner.decor_mut().clear();
    if !inner.to_string().contains('#') {
        table.fmt();
    }
}

/// What of the comments above an entry or a key stands apart from it; empty where nothing does.
fn apart(above: &str) -> &str {
    let apart = above.rfind("\n\n").and_then(|n| above.get(..=n)).unwrap_or_default();
    if apart.trim().is_empty() { "" } else { apart }
}

pub(super) fn disk_index(doc: &DocumentMut, name: &Name) -> Result<usize, LabError> {
    entry_index(doc, "disk", name)
}

/// The number of the entry of this name, whichever way the entries are written.
pub(super) fn entry_index(doc: &DocumentMut, kind: &str, name: &Name) -> Result<usize, LabError> {
    let is = |table: &dyn TableLike| table.get("name").and_then(Item::as_str) == Some(name.as_str());
    let item = doc.get(kind).ok_or(LabError::NoEntry)?;
    let found = match (item.as_array_of_tables(), item.as_array()) {
        (Some(tables), _) => tables.iter().position(|t| is(t)),
        (None, Some(inline)) => inline.iter().position(|v| v.as_inline_table().is_some_and(|t| is(t))),
        (None, None) => None,
    };
    found.ok_or(LabError::NoEntry)
}

pub(super) fn on_disk(
    doc: &mut DocumentMut,
    index: usize,
    edit: impl FnOnce(&mut dyn TableLike),
) -> Result<(), LabError> {
    on_entry(doc, "disk", index, edit)
}

pub(super) fn on_entry(
    doc: &mut DocumentMut,
    kind: &str,
    index: usize,
    edit: impl FnOnce(&mut dyn TableLike),
) -> Result<(), LabError> {
    let item = doc.get_mut(kind).ok_or(LabError::NoEntry)?;
    if let Some(tables) = item.as_array_of_tables_mut() {
        edit(tables.get_mut(index).ok_or(LabError::NoEntry)?);
        return Ok(());
    }
    let value = item.as_array_mut().and_then(|array| array.get_mut(index));
    let inline = value.and_then(Value::as_inline_table_mut).ok_or(LabError::NoEntry)?;
    edit(inline);
    tidy(inline);
    Ok(())
}

pub(super) fn on_host(
    doc: &mut DocumentMut,
    host: HostRef,
    edit: impl FnOnce(&mut dyn TableLike),
) -> Result<(), LabError> {
    match host {
        HostRef::Entry(index) => {
            let item = doc.get_mut("host").ok_or(LabError::NoEntry)?;
            if let Some(array) = item.as_array_of_tables_mut() {
                edit(array.get_mut(index).ok_or(LabError::NoEntry)?);
                return Ok(());
            }
            let inline = item
                .as_array_mut()
                .and_then(|a| a.get_mut(index))
                .and_then(Value::as_inline_table_mut)
                .ok_or(LabError::NoEntry)?;
            edit(inline);
            tidy(inline);
        }
        HostRef::New { mac, uuid } => append(doc, "host", |table| {
            set(table, "mac", mac.to_string().into());
            if let Some(uuid) = uuid {
                set(table, "uuid", uuid.to_string().into());
            }
            edit(table);
        }),
    }
    Ok(())
}

pub(super) fn on_network(doc: &mut DocumentMut, interface: &str, edit: impl FnOnce(&mut dyn TableLike)) {
    let is = |table: &dyn TableLike| table.get("interface").and_then(Item::as_str) == Some(interface);
    match doc.get_mut("network") {
        Some(Item::Table(table)) if is(table) => return edit(table),
        Some(Item::Value(Value::InlineTable(table))) if is(table) => {
            edit(table);
            return tidy(table);
        }
        Some(Item::ArrayOfTables(array)) => {
            if let Some(table) = array.iter_mut().find(|t| is(*t)) {
                return edit(table);
            }
        }
        Some(Item::Value(Value::Array(array))) => {
            let inline = array.iter_mut().filter_map(Value::as_inline_table_mut).find(|t| is(*t));
            if let Some(table) = inline {
                edit(table);
                return tidy(table);
            }
        }
        _ => {}
    }
    let fill = |table: &mut dyn TableLike| {
        set(table, "interface", interface.into());
        edit(table);
    };
    match doc.get_mut("network") {
        // The only one is written with single brackets.
        None => {
            let mut table = Table::new();
            fill(&mut table);
            let mut last = last_position(doc);
            place_after(doc, &mut table, &mut last);
            doc.insert("network", Item::Table(table));
        }
        Some(item) => {
            to_list(item);
            append(doc, "network", fill);
        }
    }
}

/// `[network]` becomes `[[network]]`.
pub(super) fn to_list(item: &mut Item) {
    match std::mem::take(item) {
        Item::Table(mut table) => {
            table.set_dotted(false);
            table.set_implicit(false);
            let mut array = ArrayOfTables::new();
            array.push(table);
            *item = Item::ArrayOfTables(array);
        }
        Item::Value(Value::InlineTable(table)) => {
            *item = Item::Value(Value::Array(Array::from_iter([Value::InlineTable(table)])));
        }
        other => *item = other,
    }
}

/// Appends an entry to a list of tables, at the end of the file.
pub(super) fn append(doc: &mut DocumentMut, key: &str, fill: impl FnOnce(&mut dyn TableLike)) {
    let mut last = last_position(doc);
    append_after(doc, key, &mut last, fill);
}

/// The same for one of many: `last` is [`last_position`], and goes on with it.
pub(super) fn append_after(doc: &mut DocumentMut, key: &str, last: &mut isize, fill: impl FnOnce(&mut dyn TableLike)) {
    if let Some(array) = doc.get_mut(key).and_then(Item::as_array_mut) {
        let mut inline = InlineTable::new();
        fill(&mut inline);
        inline.fmt();
        array.push(inline);
        return;
    }
    let mut table = Table::new();
    fill(&mut table);
    place_after(doc, &mut table, last);
    let list = doc.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if let Some(list) = list.as_array_of_tables_mut() {
        list.push(table);
    }
}

/// The place of the table that comes last.
pub(super) fn last_position(doc: &mut DocumentMut) -> isize {
    let mut last = 0;
    each_table(doc, |t| last = last.max(t.position().unwrap_or_default()));
    last
}

/// Places a table behind all else, comments at the end of the file included.
pub(super) fn place_after(doc: &mut DocumentMut, table: &mut Table, last: &mut isize) {
    *last = last.saturating_add(1);
    table.set_position(Some(*last));
    let mut above = doc.trailing().as_str().unwrap_or_default().to_owned();
    if !above.is_empty() && !above.ends_with('\n') {
        above.push('\n');
    }
    if !above.ends_with("\n\n") {
        above.push('\n');
    }
    table.decor_mut().set_prefix(above);
    doc.set_trailing("");
}

/// Places a table behind all else.
pub(super) fn place_last(doc: &mut DocumentMut, table: &mut Table) {
    let mut last = last_position(doc);
    place_after(doc, table, &mut last);
}

/// Removes the entry that is known as `place`.
pub(super) fn without_entry(doc: &mut DocumentMut, key: &str, place: &SettingPlace) -> Result<(), LabError> {
    let index = entries(doc.get(key)).into_iter().position(|table| is_entry(table, place)).ok_or(LabError::NoEntry)?;
    remove_entry(doc, key, index)
}

pub(super) fn remove_entry(doc: &mut DocumentMut, key: &str, index: usize) -> Result<(), LabError> {
    let item = doc.get_mut(key).ok_or(LabError::NoEntry)?;
    if let Some(array) = item.as_array_mut() {
        if index >= array.len() {
            return Err(LabError::NoEntry);
        }
        array.remove(index);
        return Ok(());
    }
    let array = item.as_array_of_tables_mut().ok_or(LabError::NoEntry)?;
    let removed = Removed::of(array.get(index).ok_or(LabError::NoEntry)?);
    array.remove(index);
    if array.is_empty() {
        doc.remove(key);
    }
    removed.leave_comment(doc);
    Ok(())
}

/// A table that was taken out: where it stood, and what stood above it.
pub(super) struct Removed {
    position: Option<isize>,
    above: String,
}

impl Removed {
    pub(super) fn of(table: &Table) -> Self {
        let above = table.decor().prefix().and_then(|p| p.as_str()).unwrap_or_default().to_owned();
        Self { position: table.position(), above }
    }

    /// What stands apart from an entry, behind an empty line, is not about it: the next table gets it.
    pub(super) fn leave_comment(&self, doc: &mut DocumentMut) {
        let Self { position, above } = self;
        let apart = apart(above);
        if apart.is_empty() {
            return;
        }
        let mut next: Option<isize> = None;
        each_table(doc, |t| {
            if t.position() > *position && next.is_none_or(|n| t.position() < Some(n)) {
                next = t.position();
            }
        });
        match next {
            None => {
                let rest = doc.trailing().as_str().unwrap_or_default().to_owned();
                doc.set_trailing(apart.to_owned() + &rest);
            }
            Some(_) => each_table(doc, |t| {
                if t.position() == next {
                    let own = t.decor().prefix().and_then(|p| p.as_str()).unwrap_or_default().to_owned();
                    t.decor_mut().set_prefix(apart.to_owned() + &own);
                }
            }),
        }
    }
}

/// Visits every table that has a header.
pub(super) fn each_table(doc: &mut DocumentMut, visit: impl FnMut(&mut Table)) {
    struct Visitor<F>(F);
    impl<F: FnMut(&mut Table)> VisitMut for Visitor<F> {
        fn visit_table_mut(&mut self, table: &mut Table) {
            if !table.is_implicit() && !table.is_dotted() {
                (self.0)(table);
            }
            visit_mut::visit_table_mut(self, table);
        }
    }
    let mut visitor = Visitor(visit);
    for (_, item) in doc.iter_mut() {
        visitor.visit_item_mut(item);
    }
}
